//! Backs up simulated tenants and prints what it cost, one JSON line a run.
//!
//! `tv-tenant idle [MESSAGES] [FOLDERS] [MAILBOXES]`: one mailbox, or some, without limits or latency: first run, idle run,
//! ten new and ten changed messages in each. `tv-tenant changed [MESSAGES] [FOLDERS] [MAILBOXES]`: the same tenants, and
//! one message in a hundred changed, as many new as others. `tv-tenant budget [MAILBOXES] [MESSAGES] [LATENCY_MS] [WINDOW_S]`: many
//! mailboxes under Microsoft's limits. `tv-tenant profile office|campus [SCALE] [LATENCY_MS] [USERS] [MESSAGES]`: a whole tenant, all
//! workloads, under Microsoft's limits, first run and idle run; its clock runs SCALE times as fast for all limits but those of mailboxes,
//! whose rate stays Microsoft's. `tv-tenant idle-mailboxes [MAILBOXES] [LATENCY_MS]`: the mailbox workloads of many users who do nothing, limits as they are.
//!
//! The tenant is simulated in this process; each run is a process of its own (this program again), so that CPU time and
//! peak memory are those of the backup alone. `TV_UNDER` holds a command to put before it (`perf record -g -o /tmp/p`).
//! With `TV_FORGET_CONTENTS=1` packs of contents are deleted soon after they are listed, which no backup minds: so a tenant may be larger than
//! the disk.
//!
//! The repository goes to `TV_REPO` (a folder that does not exist yet) and stays there, the cache (`.cache`) and the
//! passphrase (`.passphrase`) beside it: `benches/tenant/look.sh` reads it with the real binary.
//!
//! What `budget` measures. A mailbox may be sent so many requests in each window (Microsoft: 10,000 in 10 minutes, four
//! at once). The window is made shorter and the number smaller by the same factor, so that the rate stays Microsoft's,
//! 16.7 a second and mailbox, and a run of a minute has ten windows: the gap between two windows, which hardly counts in
//! ten minutes, counts a hundredfold here. For each mailbox the simulated tenant counts what it let through in each stretch of a
//! window's length from the mailbox's first request on. The last stretch is the one in which the mailbox ran out of
//! work; in all others there was work from end to end.
//! - `share_of_budget`: let through in these stretches / allowed in them, over all mailboxes. Whatever keeps requests from being
//!   sent counts as loss: pages that must come first, edits of the trees, the writer, slow CPUs, pauses after a 429.
//! - `share_of_worst`: the same of the mailbox that did worst.
//! - `share_of_run`: all requests / (the allowed rate of all mailboxes x the run's wall time): sign-in, discovery, the last
//!   stretches and the snapshot included.
//! - `throttled_share`: answers 429 / all answers.

#[path = "../common/process.rs"]
mod process;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tenantvault::crypto::{BlobKind, Passphrase};
use tenantvault::error::{Error, Result};
use tenantvault::graph::{Client, ClientOptions, Cloud, Credential, Limits, WindowLimit};
use tenantvault::monitor::Silent;
use tenantvault::ops::backup::{BackupOptions, Stop, Surroundings, backup};
use tenantvault::repo::{Repository, WriterOptions};
use tenantvault::sim::{self, Contents, Profile, Script, SimHandle, SimOptions, SimStats, SimTenant};
use tenantvault::snapshot::policy::Policy;
use tenantvault::snapshot::set::{Selection, SetDefinition, SetOptions, TenantRef, Workload};
use tenantvault::storage::StorageOptions;

use process::{cpu_s, memory_mib, stored_bytes};

fn now_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

fn options() -> Result<BackupOptions> {
    Ok(BackupOptions {
        set: SetDefinition {
            name: "bench".into(),
            tenant: TenantRef { name: "sim".into(), id: "sim".into() },
            selection: Selection::of_users(vec!["*".parse()?], vec![], &workloads()),
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

/// The workloads that are read: the mail alone, unless a run is told otherwise.
fn workloads() -> Vec<Workload> {
    match std::env::var("TV_RUN_WORKLOADS").as_deref() {
        Ok("all") => Workload::ALL.to_vec(),
        Ok("mailboxes") => {
            vec![Workload::Mail, Workload::Calendar, Workload::Contacts, Workload::Tasks, Workload::Settings]
        }
        _ => vec![Workload::Mail],
    }
}

/// What a run is told by the process that simulates the tenant: the repository, the tenant, the limits, the workloads.
const TOLD: [&str; 10] =
    ["PLACE", "GRAPH", "LOGIN", "TENANT", "CLIENT", "SECRET", "UNITS", "WINDOW_US", "SCALE", "WORKLOADS"];

/// The run itself: opens the repository anew and backs up. Prints a JSON line.
async fn run_here() -> Result<()> {
    let start = Instant::now();
    let told = TOLD.map(|name| std::env::var(format!("TV_RUN_{name}")).unwrap_or_default());
    let [place, graph, login, tenant, client_id, secret, units, window_us, scale, _] = told;
    let passphrase = Passphrase::new(&read(&format!("{place}.passphrase"))?)?;
    let storage = tenantvault::storage::open(&place, &StorageOptions::default())?;
    let repo = Repository::open(storage, &passphrase, Some(PathBuf::from(format!("{place}.cache")))).await?;
    let around = Surroundings { monitor: Arc::new(Silent), now_us: Arc::new(now_us), stop: Stop::new() };
    let window = Duration::from_micros(window_us.parse().unwrap_or(1));
    let mailbox = WindowLimit { units: units.parse().unwrap_or(u32::MAX), window };
    let limits = Limits { mailbox, ..Limits::for_licences(100).scaled(scale.parse().unwrap_or(1.0)) };
    let options_of_client = ClientOptions { limits, http2: true, ..ClientOptions::new(Cloud::custom(&graph, &login)?) };
    let client = Client::new(options_of_client, &tenant, &client_id, Credential::secret(&secret))?;
    let forgetting = std::env::var_os("TV_FORGET_CONTENTS").map(|_| tokio::spawn(forget_contents(repo.clone())));
    let report = backup(&repo, &client, &options()?, &around).await?;
    if let Some(task) = forgetting {
        task.abort();
    }
    let totals = report.totals;
    println!(
        "{}",
        json!({
            "wall_s": start.elapsed().as_secs_f64(), "cpu_s": cpu_s(), "peak_rss_mib": memory_mib("VmHWM"),
            "items": totals.items, "changed": totals.items_changed, "added": totals.items_added,
            "bytes_read": totals.bytes_read, "gaps": report.gaps.len(),
        })
    );
    Ok(())
}

/// Deletes packs of contents that are listed, again and again.
async fn forget_contents(repo: Arc<Repository>) {
    let mut forgotten = HashSet::new();
    loop {
        tokio::time::sleep(Duration::from_secs(2)).await;
        for pack in repo.index().packs().filter(|pack| pack.kind == BlobKind::Content) {
            if forgotten.insert(pack.id) {
                let name = pack.id.to_string();
                let path = format!("packs/{}/{name}", name.get(..2).unwrap_or_default());
                drop(repo.storage().delete(&path).await);
            }
        }
    }
}

/// A simulated tenant and the repository that it is backed up into.
struct Bench {
    runtime: tokio::runtime::Runtime,
    sim: SimHandle,
    place: String,
    limit: WindowLimit,
    scale: f64,
    workloads: &'static str,
}

impl Bench {
    fn start(options: SimOptions, limit: WindowLimit) -> Result<Self> {
        let scale = options.limits.time_scale;
        let place = std::env::var("TV_REPO").unwrap_or_else(|_| {
            let folder = std::env::temp_dir().join(format!("tv-tenant-{}", std::process::id()));
            folder.to_string_lossy().into_owned()
        });
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.map_err(|e| Error::io("Threads cannot be started", e))?;
        let passphrase = Passphrase::generate();
        let file = format!("{place}.passphrase");
        std::fs::write(&file, passphrase.expose()).map_err(|e| Error::io(format!("{file} cannot be written"), e))?;
        let sim = runtime.block_on(async {
            let storage = tenantvault::storage::open(&place, &StorageOptions::default())?;
            Repository::init(storage, &passphrase, "bench", now_us(), None).await?;
            SimTenant::start(options).await
        })?;
        Ok(Self { runtime, sim, place, limit, scale, workloads: "mail" })
    }

    /// Backs up in a process of its own and prints what it cost.
    fn run(&self, label: &str) -> Result<(Value, SimStats)> {
        self.sim.clear_stats();
        let before = stored_bytes(self.place.as_ref());
        let program = std::env::current_exe().map_err(|e| Error::io("This program's own file", e))?;
        let under = std::env::var("TV_UNDER").unwrap_or_default();
        let mut words = under.split_whitespace().map(PathBuf::from).chain([program]);
        let mut command = std::process::Command::new(words.next().unwrap_or_default());
        command.args(words).arg("run");
        let (units, window_us) = (self.limit.units.to_string(), self.limit.window.as_micros().to_string());
        let sim = &self.sim;
        let told =
            [&self.place, sim.graph_url(), sim.login_url(), sim.tenant_id(), sim.client_id(), sim.client_secret()];
        let scale = self.scale.to_string();
        let limits = [units.as_str(), window_us.as_str(), scale.as_str(), self.workloads];
        for (name, value) in TOLD.iter().zip(told.into_iter().chain(limits)) {
            command.env(format!("TV_RUN_{name}"), value);
        }
        let output = command.stderr(std::process::Stdio::inherit()).output();
        let output = output.map_err(|e| Error::io("A run cannot be started", e))?;
        let line = String::from_utf8_lossy(&output.stdout).lines().find(|l| l.starts_with('{')).map(str::to_owned);
        let Some(mut line) = line.and_then(|l| serde_json::from_str::<Value>(&l).ok()) else {
            return Err(Error::internal(format!("The run '{label}' came to no end ({})", output.status)));
        };
        let stats = self.sim.stats();
        line["run"] = label.into();
        line["requests"] = stats.requests.into();
        line["round_trips"] = stats.all_round_trips().into();
        line["throttled"] = stats.throttled().into();
        line["bytes_written"] = (stored_bytes(self.place.as_ref()) - before).into();
        println!("{line}");
        Ok((line, stats))
    }
}

fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(path).map_err(|e| Error::io(format!("{path} cannot be read"), e))
}

fn number(n: usize, usual: u32) -> u32 {
    std::env::args().nth(n).and_then(|a| a.parse().ok()).unwrap_or(usual)
}

/// Mailboxes without limits or latency, after their first run.
fn backed_up(messages: u32, mailboxes: u32) -> Result<Bench> {
    let options = SimOptions {
        users: mailboxes,
        shared_mailboxes: 0,
        awkward: false,
        messages,
        folders: number(3, 30),
        drive_items: 0,
        contents: Contents { body_words: 60.0, ..Contents::tiny() },
        limits: sim::Limits::unlimited(),
        quirks: false,
        ..SimOptions::default()
    };
    let bench = Bench::start(options, WindowLimit { units: u32::MAX, window: Duration::from_millis(1) })?;
    bench.run("first")?;
    Ok(bench)
}

fn changed() -> Result<()> {
    let messages = number(2, 100_000);
    let bench = backed_up(messages, number(4, 10))?;
    let half = messages / 200;
    bench.sim.advance_day_by(&Script { new_messages: half, changed_messages: half, ..Script::nothing() });
    bench.run("one in a hundred changed")?;
    bench.run("idle")?;
    eprintln!("The repository is at {}", bench.place);
    bench.runtime.shutdown_background();
    Ok(())
}

fn idle() -> Result<()> {
    let bench = backed_up(number(2, 100_000), number(4, 1))?;
    bench.run("idle")?;
    bench.sim.advance_day_by(&Script { new_messages: 10, ..Script::nothing() });
    bench.run("ten new messages")?;
    bench.sim.advance_day_by(&Script { changed_messages: 10, ..Script::nothing() });
    bench.run("ten changed messages")?;
    eprintln!("The repository is at {}", bench.place);
    bench.runtime.shutdown_background();
    Ok(())
}

fn budget() -> Result<()> {
    let (mailboxes, messages, window_s) = (number(2, 32), number(3, 950), number(5, 6));
    let (window, scale) = (Duration::from_secs(window_s.into()), 600.0 / f64::from(window_s));
    let limit = WindowLimit { units: (10_000.0 / scale) as u32, window };
    let options = SimOptions {
        users: mailboxes,
        shared_mailboxes: 0,
        awkward: false,
        messages,
        folders: 12,
        drive_items: 0,
        contents: Contents { body_words: 60.0, ..Contents::tiny() },
        limits: sim::Limits { mailbox_requests: Some(limit.units), time_scale: scale, ..sim::Limits::microsoft() },
        latency: Duration::from_millis(number(4, 100).into()),
        ..SimOptions::default()
    };
    let bench = Bench::start(options, limit)?;
    let (line, stats) = bench.run("budget")?;
    println!("{}", shares(&line, &stats, mailboxes, limit));
    bench.runtime.shutdown_background();
    Ok(())
}

/// How much of the mailboxes' budget was used.
fn shares(line: &Value, stats: &SimStats, mailboxes: u32, limit: WindowLimit) -> Value {
    let (allowed, window) = (f64::from(limit.units), limit.window);
    // The last stretch of each mailbox is the one in which its work ended.
    let whole: Vec<&[u32]> = stats.spent.values().filter_map(|spent| Some(spent.split_last()?.1)).collect();
    let share = |spent: &[u32]| spent.iter().copied().map(f64::from).sum::<f64>() / (allowed * spent.len() as f64);
    let answers: u64 = stats.statuses.values().sum();
    let wall_s = line["wall_s"].as_f64().unwrap_or(f64::NAN);
    json!({
            "share_of_budget": share(&whole.concat()),
            "share_of_worst": whole.iter().map(|spent| share(spent)).fold(f64::INFINITY, f64::min),
            "share_of_run": answers as f64 / (f64::from(mailboxes) * allowed * wall_s / window.as_secs_f64()),
            "throttled_share": stats.throttled() as f64 / answers as f64,
            "windows_of_each": whole.iter().map(|spent| spent.len()).min(),
            "requests_per_1000_items": answers as f64 * 1000.0 / line["items"].as_f64().unwrap_or(f64::NAN),
            "most_at_once": stats.most_at_once.values().max(),
            "let_through": stats.spent.values().next(),
    })
}

/// What went where, in requests; and how much of SharePoint's units brought contents.
fn by_route(stats: &SimStats) -> Value {
    let mut routes: Vec<(&String, &u64)> = stats.routes.iter().collect();
    routes.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let contents: u64 = stats.routes.iter().map(|(route, count)| units_of_contents(route) * count).sum();
    json!({
        "file_units": stats.file_units, "contents": contents,
        "contents_share": contents as f64 / stats.file_units as f64,
        "statuses": stats.statuses, "routes": routes.into_iter().take(60).collect::<Vec<_>>(),
    })
}

/// The units that a request for contents of SharePoint costs: files, versions of list items, what is on pages; 0: it is for something else.
fn units_of_contents(route: &str) -> u64 {
    match route {
        "GET /_layouts/15/download.aspx" | "GET /sites/{id}/pages/{id}/microsoft.graph.sitePage" => 1,
        "GET /sites/{id}/lists/{id}/items/{id}/versions" => 2,
        _ => 0,
    }
}

/// A kind: its name, what its routes contain and do not contain, and the routes that are asked once for each of it.
type Kind = (&'static str, &'static [&'static str], &'static [&'static str], &'static [&'static str]);

/// What is asked again and again, by kind: what its routes contain and do not contain, and the route that is asked once for each of it.
const KINDS: [Kind; 7] = [
    ("mail folder", &["/mailFolders"], &["messageRules"], &["/mailFolders/{id}/messages/delta"]),
    ("contact folder", &["/contactFolders"], &[], &["/contactFolders/{id}/contacts/delta"]),
    ("task list", &["/todo/"], &[], &["/todo/lists/{id}/tasks/delta"]),
    ("calendar", &["/calendar"], &[], &["/calendars/{id}/events/delta"]),
    ("drive", &["/drives"], &[], &["/drives/{id}/root/delta"]),
    ("list", &["/lists"], &["/todo/"], &["/lists/{id}/items/delta"]),
    (
        "channel",
        &["/teams"],
        &[],
        &["/teams/{id}/channels/{id}/messages/delta", "GET /teams/{id}/channels/{id}/messages"],
    ),
];

/// Requests and round trips of an idle run for each folder, list, calendar, drive or channel.
fn by_kind(stats: &SimStats) -> Value {
    let mut told = serde_json::Map::new();
    for (kind, with, without, once) in KINDS {
        let is_of = |route: &str| with.iter().any(|w| route.contains(w)) && !without.iter().any(|w| route.contains(w));
        let there: u64 = stats.routes.iter().filter(|(r, _)| once.iter().any(|w| r.ends_with(w))).map(|(_, n)| n).sum();
        let requests: u64 = stats.routes.iter().filter(|(route, _)| is_of(route)).map(|(_, n)| n).sum();
        let round_trips: f64 = stats.round_trips.iter().filter(|(route, _)| is_of(route)).map(|(_, n)| n).sum();
        let each = |n: f64| (n / there as f64 * 100.0).round() / 100.0;
        told.insert(
            kind.to_owned(),
            json!({"there": there, "requests": each(requests as f64), "round_trips": each(round_trips)}),
        );
    }
    told.into()
}

fn profile() -> Result<()> {
    let profile = match std::env::args().nth(2).as_deref() {
        Some("office") => Profile::Office,
        Some("campus") => Profile::Campus,
        _ => return Err(Error::invalid("say office or campus")),
    };
    let (scale, usual) = (f64::from(number(3, 20)), SimOptions::profile(profile));
    let window = Duration::from_secs_f64(600.0 / scale);
    let limit = WindowLimit { units: (10_000.0 / scale) as u32, window };
    let options = SimOptions {
        users: number(5, usual.users),
        messages: number(6, usual.messages),
        limits: sim::Limits { mailbox_requests: Some(limit.units), time_scale: scale, ..sim::Limits::microsoft() },
        latency: Duration::from_millis(number(4, 100).into()),
        ..usual
    };
    let mailboxes = options.users + options.shared_mailboxes;
    let mut bench = Bench::start(options, limit)?;
    bench.workloads = "all";
    let (line, stats) = bench.run("first")?;
    println!("{}", shares(&line, &stats, mailboxes, limit));
    println!("{}", by_route(&stats));
    let (_, stats) = bench.run("idle")?;
    println!("{}", by_route(&stats));
    println!("{}", by_kind(&stats));
    bench.runtime.shutdown_background();
    Ok(())
}

fn idle_mailboxes() -> Result<()> {
    let mailboxes = number(2, 500);
    let options = SimOptions {
        users: mailboxes,
        shared_mailboxes: 0,
        awkward: false,
        messages: 40,
        folders: 24,
        contacts: 5,
        events: 5,
        tasks: 5,
        drive_items: 0,
        sites: 0,
        groups: 0,
        contents: Contents::tiny(),
        latency: Duration::from_millis(number(3, 100).into()),
        ..SimOptions::profile(Profile::Campus)
    };
    let mut bench = Bench::start(options, WindowLimit { units: 10_000, window: Duration::from_secs(600) })?;
    bench.workloads = "mailboxes";
    bench.run("first")?;
    let (_, stats) = bench.run("idle")?;
    println!("{}", by_route(&stats));
    bench.runtime.shutdown_background();
    Ok(())
}

fn main() {
    tenantvault::cli::keep_memory_small();
    let result = match std::env::args().nth(1).as_deref() {
        Some("idle") => idle(),
        Some("changed") => changed(),
        Some("budget") => budget(),
        Some("profile") => profile(),
        Some("idle-mailboxes") => idle_mailboxes(),
        Some("run") => match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(run_here()),
            Err(e) => Err(Error::io("Threads cannot be started", e)),
        },
        _ => Err(Error::invalid("say idle, changed, budget, profile or idle-mailboxes")),
    };
    if let Err(e) = result {
        eprintln!("{}", e.chain());
        std::process::exit(1);
    }
}
