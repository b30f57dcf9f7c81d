//! Backs up simulated tenants and prints what it cost, one JSON line a run.
//!
//! `tv-tenant idle [MESSAGES] [FOLDERS]`: one mailbox without limits or latency: first run, idle run, ten new messages.
//! `tv-tenant budget [MAILBOXES] [MESSAGES]`: many mailboxes at Microsoft's rate per mailbox, with windows of six seconds in
//! place of ten minutes and 100 ms latency; prints the share of the allowed requests that was used. The repository goes
//! to `TV_REPO` (a folder that does not exist yet), the cache beside it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tenantvault::crypto::Passphrase;
use tenantvault::error::{Error, Result};
use tenantvault::graph::{Client, ClientOptions, Cloud, Credential, Limits};
use tenantvault::monitor::Silent;
use tenantvault::ops::backup::{BackupOptions, BackupReport, Stop, Surroundings, backup};
use tenantvault::repo::{Repository, WriterOptions};
use tenantvault::sim::{self, Contents, Script, SimHandle, SimOptions, SimTenant};
use tenantvault::snapshot::policy::Policy;
use tenantvault::snapshot::set::{Selection, SetDefinition, SetOptions, TenantRef, Workload};
use tenantvault::storage::StorageOptions;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn now_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

fn options() -> Result<BackupOptions> {
    Ok(BackupOptions {
        set: SetDefinition {
            name: "bench".into(),
            tenant: TenantRef { name: "sim".into(), id: "sim".into() },
            selection: Selection::of_users(vec!["*".parse()?], vec![], &[Workload::Mail]),
            options: SetOptions::default(),
            destinations: vec![],
            retention: Policy::default(),
            time_zone: "UTC".into(),
        },
        host: "bench".into(),
        program: "tv-tenant".into(),
        tags: vec![],
        writer: WriterOptions::default(),
        collections_at_once: 0,
    })
}

fn client(sim: &SimHandle, limits: Limits) -> Result<Client> {
    let cloud = Cloud::custom(sim.graph_url(), sim.login_url())?;
    let options = ClientOptions { limits, ..ClientOptions::new(cloud) };
    Client::new(options, sim.tenant_id(), sim.client_id(), Credential::secret(sim.client_secret()))
}

/// Opens the repository anew, backs up and prints what it cost.
async fn run(label: &str, place: &str, sim: &SimHandle, limits: &Limits) -> Result<(BackupReport, Duration)> {
    let start = Instant::now();
    sim.clear_stats();
    let passphrase = Passphrase::new("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")?;
    let storage = tenantvault::storage::open(place, &StorageOptions::default())?;
    let before = stored(place);
    let repo = Repository::open(storage, &passphrase, Some(PathBuf::from(format!("{place}.cache")))).await?;
    let around = Surroundings { monitor: Arc::new(Silent), now_us: Arc::new(now_us), stop: Stop::new() };
    let client = client(sim, limits.clone())?;
    let report = backup(&repo, &client, &options()?, &around).await?;
    let wall = start.elapsed();
    let stats = sim.stats();
    println!(
        "{}",
        json!({
            "run": label, "wall_s": wall.as_secs_f64(), "requests": stats.requests, "throttled": stats.throttled(),
            "items": report.totals.items, "changed": report.totals.items_changed, "added": report.totals.items_added,
            "bytes_read": report.totals.bytes_read, "bytes_written": stored(place) - before, "gaps": report.gaps.len(),
            "peak_rss_mib": peak_rss_mib(),
        })
    );
    Ok((report, wall))
}

/// Bytes of all files below a folder.
fn stored(folder: &str) -> u64 {
    let mut total = 0;
    let mut open = vec![PathBuf::from(folder)];
    while let Some(path) = open.pop() {
        for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => open.push(entry.path()),
                Ok(meta) => total += meta.len(),
                Err(_) => {}
            }
        }
    }
    total
}

fn peak_rss_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmHWM")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) / 1024
}

async fn init(place: &str) -> Result<()> {
    let passphrase = Passphrase::new("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")?;
    let storage = tenantvault::storage::open(place, &StorageOptions::default())?;
    Repository::init(storage, &passphrase, "bench", now_us(), None).await.map(drop)
}

fn number(n: usize, usual: u32) -> u32 {
    std::env::args().nth(n).and_then(|a| a.parse().ok()).unwrap_or(usual)
}

async fn idle(place: &str) -> Result<()> {
    let sim = SimTenant::start(SimOptions {
        users: 1,
        shared_mailboxes: 0,
        awkward: false,
        messages: number(2, 100_000),
        folders: number(3, 30),
        drive_items: 0,
        contents: Contents { body_words: 60.0, ..Contents::tiny() },
        limits: sim::Limits::unlimited(),
        quirks: false,
        ..SimOptions::default()
    })
    .await?;
    let limits = Limits::for_licences(100).scaled(1e6);
    run("first", place, &sim, &limits).await?;
    run("idle", place, &sim, &limits).await?;
    sim.advance_day_by(&Script { new_messages: 10, ..Script::nothing() });
    run("ten new messages", place, &sim, &limits).await?;
    sim.advance_day_by(&Script { changed_messages: 10, ..Script::nothing() });
    run("ten changed messages", place, &sim, &limits).await?;
    Ok(())
}

async fn budget(place: &str) -> Result<()> {
    let (mailboxes, window, allowed) = (number(2, 32), Duration::from_secs(6), 100u32);
    let sim = SimTenant::start(SimOptions {
        users: mailboxes,
        shared_mailboxes: 0,
        awkward: false,
        messages: number(3, 950),
        folders: 12,
        drive_items: 0,
        contents: Contents { body_words: 60.0, ..Contents::tiny() },
        limits: sim::Limits { mailbox_requests: Some(allowed), time_scale: 100.0, ..sim::Limits::microsoft() },
        latency: Duration::from_millis(100),
        ..SimOptions::default()
    })
    .await?;
    let mut limits = Limits::for_licences(100);
    limits.mailbox.units = allowed;
    limits.mailbox.window = window;
    let (_, wall) = run("budget", place, &sim, &limits).await?;
    let stats = sim.stats();
    // Windows are counted as they come round: every started one allows its whole number.
    let possible = f64::from(mailboxes) * f64::from(allowed) * (wall.as_secs_f64() / window.as_secs_f64());
    println!(
        "{}",
        json!({
            "share_of_budget": stats.requests as f64 / possible,
            "throttled_share": stats.throttled() as f64 / stats.requests.max(1) as f64,
            "requests_per_1000_items": stats.requests as f64 * 1000.0 / (f64::from(mailboxes) * f64::from(number(3, 950))),
            "most_at_once": stats.most_at_once.values().max(),
        })
    );
    Ok(())
}

#[tokio::main]
async fn main() {
    let place = std::env::var("TV_REPO").unwrap_or_else(|_| {
        let folder = std::env::temp_dir().join(format!("tv-tenant-{}", std::process::id()));
        folder.to_string_lossy().into_owned()
    });
    let result = async {
        init(&place).await?;
        match std::env::args().nth(1).as_deref() {
            Some("idle") => idle(&place).await,
            Some("budget") => budget(&place).await,
            _ => Err(Error::invalid("say idle or budget")),
        }
    }
    .await;
    if let Err(e) = result {
        eprintln!("{}", e.chain());
        std::process::exit(1);
    }
}
