//! Measures the backup server at size: `tv-server schedule DIR SETS`, `tv-server started DIR [SETS] [SECONDS] [TENANTS]` and
//! `tv-server pages DIR PEOPLE SECONDS`.
//!
//! `schedule`: so many sets are due in one instant; how long until each is in the queue, and how much of a core the server takes
//! afterwards, with all of them waiting for their next time. `started`: so many sets (10,000) of so many tenants (100) fall due one
//! after another over so many seconds (600), and a server of all parts, as it is unless told otherwise, starts them: how much later
//! than its time each was begun. A run ends as soon as it is begun, by a failure that is noted as any other: what stands in the place
//! of the server's key to the repository is none. More than two runs of a tenant are not begun at once, and a worker that finds
//! only such looks again half a second later: with few tenants that is what is measured. `pages`: an account of 1,000 sets and 100,000 runs; how long the first
//! byte of each page takes and how large it is; then so many people at once, who look at a page, read for one to five
//! seconds, and go on to the next. Server and people are one process on the same cores. DIR is made and removed. A line of JSON each.
//! With `TV_DATABASE` the rows are in that PostgreSQL database, which must be empty.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::StreamExt as _;
use reqwest::{Client, header, redirect};
use serde_json::json;
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _, Row as _};
use tenantvault::server::{ProcessRole, ServerOptions, start};

#[path = "../common/process.rs"]
mod process;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const ACCOUNT: &str = "0123456789abcdef0123456789abcdef";
const PASSWORD: &str = "three+plain+words";
const USAGE: &str = "tv-server schedule DIR SETS | tv-server started DIR [SETS] [SECONDS] [TENANTS] | \
                     tv-server pages DIR PEOPLE SECONDS";

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |place: usize| -> Result<u64> { Ok(arguments.get(place).ok_or("a number is missing")?.parse()?) };
    let usual = |place: usize, number: u64| -> Result<u64> {
        arguments.get(place).map_or(Ok(number), |text| Ok(text.parse()?))
    };
    let folder = Path::new(arguments.get(2).ok_or("which folder?")?).to_owned();
    std::fs::create_dir_all(&folder)?;
    match arguments.get(1).map(String::as_str) {
        Some("schedule") => schedule(&folder, number(3)?).await?,
        Some("started") => started(&folder, usual(3, 10_000)?, usual(4, 600)?, usual(5, 100)?).await?,
        Some("pages") => pages(&folder, number(3)?, number(4)?).await?,
        _ => return Err(USAGE.into()),
    }
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

fn options(folder: &Path, role: ProcessRole) -> ServerOptions {
    let mut options = ServerOptions::in_folder(folder.to_owned());
    options.role = role;
    options.database_url = database_url();
    options
}

/// `TV_DATABASE`: the address of an empty PostgreSQL database; without it SQLite in DIR.
fn database_url() -> Option<String> {
    std::env::var("TV_DATABASE").ok()
}

fn now_us() -> Result<i64> {
    Ok(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros())?)
}

async fn database(folder: &Path) -> Result<AnyConnection> {
    if let Some(url) = database_url() {
        return Ok(AnyConnection::connect(&url).await?);
    }
    let mut connection = AnyConnection::connect(&format!("sqlite://{}/server.db", folder.display())).await?;
    sqlx::query("PRAGMA busy_timeout = 10000").execute(&mut connection).await?;
    Ok(connection)
}

/// When schedules fall due: the first of them, and over how long all of them.
#[derive(Clone, Copy)]
struct Due {
    first_us: i64,
    over_us: i64,
}

/// Rows by the number: ids are its digits after a letter.
async fn fill(db: &mut AnyConnection, tenants: u64, sets: u64, runs: u64, due: Option<Due>) -> Result<()> {
    let now = now_us()?;
    let hex = |column: &str, mark: &str| {
        format!(
            "substr('{mark}0000000000000000000000000000000', 1, 32 - length(CAST({column} AS TEXT))) || CAST({column} AS TEXT)"
        )
    };
    let from = |many: u64| {
        format!(
            "WITH RECURSIVE n(i) AS (SELECT CAST(0 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < {}) ",
            many - 1
        )
    };
    let (set, run, job) = (hex("i", "a"), hex("i", "b"), hex("i", "c"));
    let of_run = hex(&format!("i % {sets}"), "a");
    let of_tenant = format!("i % {tenants}");
    let (tenant, repository) = (hex(&of_tenant, "d"), hex(&of_tenant, "e"));
    let mut statements = vec![
        format!("INSERT INTO accounts (id, name, created_us) VALUES ('{ACCOUNT}', 'Contoso', {now})"),
        format!(
            "{} INSERT INTO tenants (id, account_id, name, definition, created_us) SELECT {tenant}, '{ACCOUNT}', \
             'T' || CAST(i AS TEXT), '{{\"tenant_id\": \"t\", \"client_id\": \"c\", \"sign_in\": \"secret\"}}', 0 FROM n",
            from(tenants)
        ),
        format!(
            "{} INSERT INTO repositories (id, account_id, name, repository, write_key, created_us, confirmed) \
             SELECT {repository}, '{ACCOUNT}', 'R' || CAST(i AS TEXT), 'x', 'x', 0, 1 FROM n",
            from(tenants)
        ),
        format!(
            "{} INSERT INTO sets (id, account_id, tenant_id, repository_id, name, definition, created_us, last_state, last_us, \
             last_good_us) SELECT {set}, '{ACCOUNT}', {tenant}, {repository}, 'backup-set-' || CAST(i AS TEXT), '{{}}', {now}, \
             'complete', {now}, {now} FROM n",
            from(sets)
        ),
    ];
    if let Some(Due { first_us, over_us }) = due {
        statements.push(format!(
            "{} INSERT INTO schedules (id, account_id, set_id, cron, zone, jitter_s, catch_up, next_us) \
             SELECT {set}, '{ACCOUNT}', {set}, '0 0 1 1 *', 'Europe/Berlin', 0, 1, \
             {first_us} + i * {over_us} / {sets} FROM n",
            from(sets)
        ));
    }
    if runs > 0 {
        statements.push(format!(
            "{} INSERT INTO jobs (id, account_id, kind, set_id, tenant_id, repository_id, arguments, state, asked_by, created_us, \
             run_after_us, started_us, ended_us, noticed) SELECT {job}, '{ACCOUNT}', 'backup', {of_run}, {tenant}, {repository}, \
             '{{}}', 'done', 'schedule', {now} - i * 100000000, {now}, {now}, {now} - i * 100000000, 1 FROM n",
            from(runs)
        ));
        statements.push(format!(
            "{} INSERT INTO runs (id, account_id, set_id, job_id, started_us, ended_us, outcome, items, items_added, items_changed, \
             items_removed, collections, gaps, bytes_read, bytes_new, bytes_stored, requests, throttled, waits, \
             gap_list) SELECT {run}, '{ACCOUNT}', {of_run}, {job}, {now} - i * 100000000, {now} - i * 100000000, 'complete', 1000000, \
             1, 1, 1, 1, 0, 1, 1, 1, 1, 1, '{{}}', '[]' FROM n",
            from(runs)
        ));
    }
    // As noting each run does.
    statements.push(
        "INSERT INTO run_days (account_id, day, outcome, many, bytes_read, bytes_stored) SELECT account_id, \
         started_us / 86400000000, outcome, COUNT(*), SUM(bytes_read), SUM(bytes_stored) FROM runs \
         GROUP BY account_id, started_us / 86400000000, outcome"
            .to_owned(),
    );
    statements.push("UPDATE sets SET items = 1000000, gaps = 0".to_owned());
    for statement in statements {
        sqlx::query(AssertSqlSafe(statement)).execute(&mut *db).await?;
    }
    sqlx::query("ANALYZE").execute(&mut *db).await?;
    Ok(())
}

async fn schedule(folder: &Path, sets: u64) -> Result<()> {
    start(options(folder, ProcessRole::Web)).await?.stop().await;
    let mut db = database(folder).await?;
    let due = now_us()? + 60_000_000;
    fill(&mut db, 1, sets, 0, Some(Due { first_us: due, over_us: 0 })).await?;
    let running = start(options(folder, ProcessRole::Scheduler)).await?;
    let mut first = None;
    let last = loop {
        let queued: i64 = sqlx::query("SELECT COUNT(*) FROM jobs").fetch_one(&mut db).await?.try_get(0)?;
        if queued > 0 && first.is_none() {
            first = Some(now_us()?);
        }
        if queued >= i64::try_from(sets)? {
            break now_us()?;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let seconds = |at: i64| (at - due) as f64 / 1e6;
    // Let it come to rest.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (before, began) = (process::cpu_s(), Instant::now());
    tokio::time::sleep(Duration::from_secs(30)).await;
    let idle = (process::cpu_s() - before) / began.elapsed().as_secs_f64();
    let line = json!({
        "sets": sets, "first_late_s": first.map(seconds), "last_late_s": seconds(last), "idle_core_percent": idle * 100.0,
    });
    println!("{line}");
    running.stop().await;
    Ok(())
}

/// How long after the last set's time is waited for runs that are late.
const PATIENCE_US: i64 = 300_000_000;

async fn started(folder: &Path, sets: u64, seconds: u64, tenants: u64) -> Result<()> {
    start(options(folder, ProcessRole::Web)).await?.stop().await;
    let mut db = database(folder).await?;
    let due = Due { first_us: now_us()? + 60_000_000, over_us: i64::try_from(seconds)? * 1_000_000 };
    fill(&mut db, tenants, sets, 0, Some(due)).await?;
    let running = start(options(folder, ProcessRole::All)).await?;
    if now_us()? > due.first_us {
        return Err("The first set was due before the server had started".into());
    }
    let (all, before) = (i64::try_from(sets)?, process::cpu_s());
    loop {
        tokio::time::sleep(Duration::from_secs(10)).await;
        let counts = "SELECT COUNT(*), COUNT(started_us), COUNT(ended_us) FROM jobs WHERE kind = 'backup'";
        let row = sqlx::query(counts).fetch_one(&mut db).await?;
        let (asked, begun, ended): (i64, i64, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let past = now_us()? - due.first_us;
        eprintln!("{}", json!({"second": past / 1_000_000, "asked_for": asked, "begun": begun, "ended": ended}));
        if ended >= all || past > due.over_us + PATIENCE_US {
            break;
        }
    }
    let cpu = process::cpu_s() - before;
    let begun = "SELECT set_id, started_us FROM jobs WHERE kind = 'backup' AND started_us IS NOT NULL";
    let mut late = Vec::new();
    for row in sqlx::query(begun).fetch_all(&mut db).await? {
        let (set, at): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
        let number: i64 = set.trim_start_matches('a').parse()?;
        let after = at - (due.first_us + number * due.over_us / all);
        late.push(Duration::from_micros(u64::try_from(after).unwrap_or_default()));
    }
    let how = "SELECT COUNT(*), MIN(error) FROM jobs WHERE kind = 'backup' AND state = 'failed'";
    let row = sqlx::query(how).fetch_one(&mut db).await?;
    let (failed, error): (i64, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
    let line = json!({
        "sets": sets, "seconds": seconds, "tenants": tenants, "begun": late.len(),
        "median_s": milliseconds(&mut late, 0.5) / 1e3, "p99_s": milliseconds(&mut late, 0.99) / 1e3,
        "longest_s": milliseconds(&mut late, 1.0) / 1e3,
        "over_5_s": late.iter().filter(|time| **time > Duration::from_secs(5)).count(),
        "cpu_s": cpu, "memory_mib": process::memory_mib("VmRSS"), "ended_by_failure": failed, "error": error,
    });
    println!("{line}");
    running.stop().await;
    Ok(())
}

async fn sign_in(url: &str, link: &str) -> Result<(Client, String)> {
    let client = Client::builder().no_proxy().redirect(redirect::Policy::none()).build()?;
    let form = |address: String, body: String| {
        let request = client.post(address).header("sec-fetch-site", "same-origin");
        request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(body).send()
    };
    form(link.to_owned(), format!("password={PASSWORD}&again={PASSWORD}")).await?;
    let answer = form(format!("{url}/sign-in"), format!("login=admin&password={PASSWORD}&code=")).await?;
    let cookie = answer.headers().get(header::SET_COOKIE).ok_or("nobody is signed in")?.to_str()?;
    Ok((client.clone(), cookie.split(';').next().unwrap_or_default().to_owned()))
}

/// Looks at a page; gives the time to the first byte, and how long it is.
async fn look(client: &Client, url: &str, cookie: &str) -> Result<(Duration, usize)> {
    let began = Instant::now();
    let answer = client.get(url).header(header::COOKIE, cookie).send().await?;
    let first = began.elapsed();
    let status = answer.status();
    let bytes = answer.bytes().await?.len();
    if !status.is_success() {
        return Err(format!("{url}: {status}").into());
    }
    Ok((first, bytes))
}

fn milliseconds(times: &mut [Duration], share: f64) -> f64 {
    times.sort_unstable();
    let place = ((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1));
    times.get(place).map_or(0.0, |time| time.as_secs_f64() * 1e3)
}

async fn pages(folder: &Path, people: u64, seconds: u64) -> Result<()> {
    let options = options(folder, ProcessRole::Web);
    start(options.clone()).await?.stop().await;
    let mut db = database(folder).await?;
    fill(&mut db, 1, 1_000, 100_000, None).await?;
    drop(db);
    println!("{}", json!({"database_mib": process::stored_bytes(folder) >> 20}));
    let running = start(options).await?;
    let (url, link) = (running.url(), running.first_link().ok_or("no link")?.to_owned());
    let (client, cookie) = sign_in(&url, &link).await?;
    let set = format!("a{}", "0".repeat(31));
    let job = format!("c{}", "0".repeat(31));
    let base = format!("{url}/a/{ACCOUNT}");
    let paths = [
        String::new(),
        "/sets".to_owned(),
        format!("/sets/{set}"),
        format!("/jobs/{job}"),
        "/tenants".to_owned(),
        "/storage".to_owned(),
        "/people".to_owned(),
        "/activity".to_owned(),
        "/notices".to_owned(),
        format!("/sets/{set}/change/when"),
        "/sets/new".to_owned(),
        format!("/tenants/d{}", "0".repeat(31)),
        format!("/storage/e{}", "0".repeat(31)),
        "/coverage".to_owned(),
        "/keys".to_owned(),
        "/clients".to_owned(),
        "/restores".to_owned(),
    ];
    for path in &paths {
        let (mut times, mut bytes) = (Vec::new(), 0);
        for _ in 0..20 {
            let (first, long) = look(&client, &format!("{base}{path}"), &cookie).await?;
            times.push(first);
            bytes = long;
        }
        let (middle, worst) = (milliseconds(&mut times, 0.5), milliseconds(&mut times, 1.0));
        println!("{}", json!({"page": path, "first_byte_ms": middle, "worst_ms": worst, "bytes": bytes}));
    }
    let end = Instant::now() + Duration::from_secs(seconds);
    let before = process::cpu_s();
    let looking = (0..people).map(|person| {
        let (client, base, cookie, paths) = (&client, &base, &cookie, &paths);
        async move {
            let (mut times, mut turn) = (Vec::new(), person);
            while Instant::now() < end {
                turn = turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                tokio::time::sleep(Duration::from_millis(1_000 + (turn >> 33) % 4_000)).await;
                let path = &paths[(turn >> 40) as usize % paths.len()];
                times.push(look(client, &format!("{base}{path}"), cookie).await?.0);
            }
            Ok(times)
        }
    });
    let looked: Vec<Result<Vec<Duration>>> =
        futures::stream::iter(looking).buffer_unordered(people as usize).collect().await;
    let mut times: Vec<Duration> = looked.into_iter().collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
    let line = json!({
        "people": people, "pages": times.len(), "p50_ms": milliseconds(&mut times, 0.5), "p99_ms": milliseconds(&mut times, 0.99),
        "worst_ms": milliseconds(&mut times, 1.0), "cores": (process::cpu_s() - before) / seconds as f64,
        "memory_mib": process::memory_mib("VmRSS"),
    });
    println!("{line}");
    running.stop().await;
    Ok(())
}
