//! Restores into a simulated tenant under Microsoft's limits, and says how much of what is allowed was used.
//!
//! `tv-restore mail [MESSAGES] [LATENCY_MS] [WINDOW_S]`: a mailbox. As in `tv-tenant budget`, the window of a mailbox's limit is made
//! shorter and its number smaller by the same factor: the rate stays Microsoft's, 16.7 requests a second.
//! `tv-restore files [FILES] [KIB_EACH] [SCALE]`: a OneDrive. The clock of SharePoint's limits runs SCALE times as fast.
//!
//! The items come from another simulated tenant, without limits, that is backed up first. All is in this process.
//! - `share_of_budget` (mail): requests let through / allowed, over the stretches of a window's length in which there was work.
//! - `share_of_budget` (files): resource units used / those that the minute's limit allows in the time that the restore took.

#[path = "../common/process.rs"]
#[allow(dead_code)]
mod process;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tenantvault::crypto::Passphrase;
use tenantvault::error::{Error, Result};
use tenantvault::graph::{Client, ClientOptions, Cloud, Credential, Limits, WindowLimit};
use tenantvault::monitor::Silent;
use tenantvault::ops::backup::{BackupOptions, Stop, Surroundings, backup};
use tenantvault::ops::restore::{
    Around, Asked, Conflict, Into, Only, Plan, RestoreOptions, RestoreReport, make, run, runs_in,
};
use tenantvault::ops::view::View;
use tenantvault::repo::{Repository, WriterOptions};
use tenantvault::sim::{self, Contents, SimHandle, SimOptions, SimTenant};
use tenantvault::snapshot::policy::Policy;
use tenantvault::snapshot::set::{Selection, SetDefinition, SetOptions, TenantRef, Workload};
use tenantvault::snapshot::store;
use tenantvault::storage::StorageOptions;

use process::{cpu_s, memory_mib};

const WHO: &str = "alice@contoso.com";
/// Licences of which the limits of SharePoint are taken.
const LICENCES: u32 = 100;

fn now_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

fn number(n: usize, usual: u32) -> u32 {
    std::env::args().nth(n).and_then(|a| a.parse().ok()).unwrap_or(usual)
}

fn client(sim: &SimHandle, limits: Limits, restores: bool) -> Result<Client> {
    let options =
        ClientOptions { limits, http2: true, ..ClientOptions::new(Cloud::custom(sim.graph_url(), sim.login_url())?) };
    let (id, secret) = match restores {
        true => (sim.restore_client_id(), sim.restore_client_secret()),
        false => (sim.client_id(), sim.client_secret()),
    };
    Client::new(options, sim.tenant_id(), id, Credential::secret(secret))
}

/// Backs up one workload of a tenant without limits.
async fn saved(options: SimOptions, workload: Workload, place: &std::path::Path) -> Result<View> {
    let sim = SimTenant::start(SimOptions { limits: sim::Limits::unlimited(), ..options }).await?;
    let passphrase = Passphrase::generate();
    let storage = tenantvault::storage::open(&place.join("repo").to_string_lossy(), &StorageOptions::default())?;
    Repository::init(storage.clone(), &passphrase, "bench", now_us(), None).await?;
    let repo = Repository::open(storage, &passphrase, Some(place.join("cache"))).await?;
    let options = BackupOptions {
        set: SetDefinition {
            name: "bench".into(),
            tenant: TenantRef { name: "sim".into(), id: "sim".into() },
            selection: Selection::of_users(vec!["*".parse()?], vec![], &[workload]),
            options: SetOptions::default(),
            destinations: vec![],
            retention: Policy::default(),
            time_zone: "UTC".into(),
        },
        host: "bench".into(),
        program: "tv-restore".into(),
        tags: vec![],
        writer: WriterOptions::default(),
        collections_at_once: 0,
    };
    let around = Surroundings { monitor: Arc::new(Silent), now_us: Arc::new(now_us), stop: Stop::new() };
    backup(&repo, &client(&sim, Limits::for_licences(LICENCES).scaled(1e6), false)?, &options, &around).await?;
    let snapshot = store::list(&repo).await?.snapshots.pop().ok_or_else(|| Error::internal("No snapshot"))?;
    Ok(View::new(repo, snapshot.file))
}

/// Plans and runs a restore; how long each took.
async fn restored(
    view: &View,
    path: &str,
    client: &Client,
    place: &std::path::Path,
) -> Result<(Plan, RestoreReport, [f64; 2])> {
    let around = Around {
        monitor: Arc::new(Silent),
        now_us: Arc::new(now_us),
        stop: Stop::new(),
        runs: runs_in(place.join("runs")),
    };
    let options = RestoreOptions {
        into: Into::Folder("Restored".into()),
        conflict: Conflict::Skip,
        only: Only::All,
        permissions: false,
        links: false,
        versions: false,
    };
    let asked = Asked {
        view,
        snapshot: "bench".into(),
        paths: vec![path.to_owned()],
        to: WHO.parse()?,
        tenant: "sim".into(),
        tenant_id: String::new(),
        options,
        grantee: String::new(),
    };
    let start = Instant::now();
    let plan = make(asked, client, &around).await?;
    let planned_s = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let report = run(&plan, view, client, &around).await?;
    Ok((plan, report, [planned_s, start.elapsed().as_secs_f64()]))
}

async fn mail(place: &std::path::Path) -> Result<Value> {
    let (messages, window_s) = (number(2, 10_000), number(4, 6));
    let (window, scale) = (Duration::from_secs(window_s.into()), 600.0 / f64::from(window_s));
    let units = (10_000.0 / scale) as u32;
    let from = SimOptions {
        users: 1,
        shared_mailboxes: 0,
        awkward: false,
        messages,
        folders: 12,
        drive_items: 0,
        sites: 0,
        groups: 0,
        contents: Contents { body_words: 60.0, ..Contents::tiny() },
        ..SimOptions::default()
    };
    let view = saved(from.clone(), Workload::Mail, place).await?;
    let into = SimTenant::start(SimOptions {
        messages: 1,
        limits: sim::Limits { mailbox_requests: Some(units), time_scale: scale, ..sim::Limits::microsoft() },
        latency: Duration::from_millis(number(3, 100).into()),
        ..from
    })
    .await?;
    let limits = Limits { mailbox: WindowLimit { units, window }, ..Limits::for_licences(LICENCES) };
    let client = client(&into, limits, true)?;
    let (plan, report, [planned_s, wall_s]) = restored(&view, &format!("users/{WHO}/Mail"), &client, place).await?;
    let stats = into.stats();
    // The last stretch is the one in which the work ended.
    let whole: Vec<u32> =
        stats.spent.values().flat_map(|spent| spent.split_last().map_or(&[][..], |(_, all)| all)).copied().collect();
    let share = whole.iter().copied().map(f64::from).sum::<f64>() / (f64::from(units) * whole.len() as f64);
    Ok(json!({
        "steps": plan.steps.len(), "created": report.created, "problems": report.problems.len(), "planned_s": planned_s,
        "wall_s": wall_s, "requests": stats.requests, "throttled": stats.throttled(), "share_of_budget": share,
        "stretches": whole.len(),
    }))
}

async fn files(place: &std::path::Path) -> Result<Value> {
    let (files, kib, scale) = (number(2, 1_000), number(3, 4_096), f64::from(number(4, 20)));
    let bytes = u64::from(kib) << 10;
    let from = SimOptions {
        users: 1,
        shared_mailboxes: 0,
        awkward: false,
        messages: 1,
        drive_items: files,
        sites: 0,
        groups: 0,
        contents: Contents {
            file_bytes: bytes as f64,
            file_max_bytes: bytes,
            large_file_bytes: bytes,
            ..Contents::tiny()
        },
        ..SimOptions::default()
    };
    let view = saved(from.clone(), Workload::OneDrive, place).await?;
    let into = SimTenant::start(SimOptions {
        drive_items: 1,
        limits: sim::Limits { time_scale: scale, licences: Some(LICENCES), ..sim::Limits::microsoft() },
        ..from
    })
    .await?;
    let limits = Limits::for_licences(LICENCES).scaled(scale);
    let client = client(&into, limits.clone(), true)?;
    let (plan, report, [planned_s, wall_s]) = restored(&view, &format!("users/{WHO}/OneDrive"), &client, place).await?;
    let stats = into.stats();
    let allowed = f64::from(limits.files_minute.units) / limits.files_minute.window.as_secs_f64() * wall_s;
    let sent: u64 = plan.steps.iter().map(|step| step.cost.bytes).sum();
    Ok(json!({
        "steps": plan.steps.len(), "created": report.created, "problems": report.problems.len(), "planned_s": planned_s,
        "wall_s": wall_s, "requests": stats.requests, "throttled": stats.throttled(), "units": stats.file_units,
        "share_of_budget": stats.file_units as f64 / allowed, "mib": sent >> 20, "mib_per_s": (sent >> 20) as f64 / wall_s,
    }))
}

fn main() {
    tenantvault::cli::keep_memory_small();
    let place = std::env::temp_dir().join(format!("tv-restore-{}", std::process::id()));
    let work = async {
        match std::env::args().nth(1).as_deref() {
            Some("mail") => mail(&place).await,
            Some("files") => files(&place).await,
            _ => Err(Error::invalid("say mail or files")),
        }
    };
    let done = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(work),
        Err(e) => Err(Error::io("Threads cannot be started", e)),
    };
    // What could not be removed lies in the folder for temporary files.
    drop(std::fs::remove_dir_all(&place));
    match done {
        Ok(mut line) => {
            line["cpu_s"] = cpu_s().into();
            line["peak_rss_mib"] = memory_mib("VmHWM").into();
            println!("{line}");
        }
        Err(e) => {
            eprintln!("{}", e.chain());
            std::process::exit(1);
        }
    }
}
