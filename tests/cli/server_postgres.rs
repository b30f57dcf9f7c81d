//! Several processes on one PostgreSQL database: what a worker that is killed leaves, and a database that goes away. Without a
//! server named by `TENANTVAULT_TEST_POSTGRES` (`.ci/postgres` starts one) they say so and are skipped.
#![cfg(unix)]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tenantvault::sim::SimOptions;

use crate::server::Server;
use crate::server_http::{Http, Made};
use crate::support::{Place, close, runtime};

const DATABASE: &str = "TENANTVAULT_SERVER_DATABASE_URL";

/// A database of its own.
fn database(name: &str) -> Option<String> {
    let Ok(server) = std::env::var("TENANTVAULT_TEST_POSTGRES") else {
        println!("skipped: TENANTVAULT_TEST_POSTGRES names no PostgreSQL server");
        return None;
    };
    let name = format!("cli_{name}_{}", std::process::id());
    runtime().block_on(async {
        sqlx::any::install_default_drivers();
        let mut connection =
            <sqlx::AnyConnection as sqlx::Connection>::connect(&server).await.expect("PostgreSQL answers");
        let make = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
        sqlx::query(make).execute(&mut connection).await.expect("a database");
    });
    Some(format!("{}/{name}", server.rsplit_once('/').expect("a database").0))
}

/// A tenant whose runs take some seconds.
pub fn place() -> Place {
    Place::with_tenant(SimOptions { latency: Duration::from_millis(200), ..SimOptions::default() })
}

pub fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(900), "{what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

pub fn ended(http: &Http, made: &Made) -> Value {
    wait("the run does not end", || {
        let all = http.backups(made);
        let last = all.first()?.clone();
        (!matches!(last["state"].as_str(), Some("queued" | "running"))).then_some(last)
    })
}

#[test]
fn what_a_killed_worker_had_in_hand_another_does_once() {
    let Some(database) = database("kill") else { return };
    let place = place();
    let start = |role: &str| {
        let arguments = ["server", "--dir", "vault", "--listen", "127.0.0.1:0", "--role", role, "--json"];
        let mut server = Server::start_with(&place, &arguments, &[(DATABASE, &database)]);
        let status = server.status();
        (server, status)
    };
    let (web, status) = start("web");
    let (scheduler, _) = start("scheduler");
    let (doomed, _) = start("worker");
    let http =
        Http::sign_in(status["url"].as_str().expect("an address"), status["first_link"].as_str().expect("a link"));
    let every_minute = json!([{"cron": "* * * * *", "zone": "UTC"}]);
    let made = http.set_up(place.tenant.as_ref().expect("a tenant"), every_minute);

    let running = wait("nothing runs", || {
        let all = http.backups(&made);
        let job = all.iter().find(|job| job["state"] == "running")?;
        (job["progress"]["counts"]["requests"].as_i64()? > 3).then(|| job.clone())
    });
    assert_eq!(running["asked_by"], "schedule", "{running}");
    doomed.kill();
    // No further run comes in between.
    let path = format!("/accounts/{}/sets/{}", made.account, made.set);
    let mut set = http.good(Method::GET, &path, None);
    let wanted = json!({
        "name": "everyone", "tenant": set["tenant"].take(), "repository": set["repository"].take(),
        "choices": set["choices"].take(), "schedules": [], "enabled": false,
    });
    http.good(Method::PUT, &path, Some(wanted));
    let (other, _) = start("worker");
    let job = ended(&http, &made);
    assert!(matches!(job["state"].as_str(), Some("done" | "gaps")), "{job}");
    assert_eq!((&job["id"], &job["attempts"]), (&running["id"], &json!(2)), "the same job, taken over: {job}");
    assert_ne!(job["worker"], running["worker"]);
    let snapshots = http.snapshots(&made);
    assert_eq!(snapshots.len(), 1, "{snapshots:?}");
    assert_eq!(snapshots[0]["complete"], true, "{snapshots:?}");

    // And it is whole, also for who knows nothing of the server.
    place.write("owner.key", &made.key);
    close(&place.path("owner.key"));
    let repository = format!("vault/storage/{}/{}", made.account, made.repository);
    let checked = place.run(&["-r", &repository, "-p", "owner.key", "check", "--read-data"]);
    assert_eq!(checked.code, 0, "{}", checked.err);
    http.restore(&made, place.tenant.as_ref().expect("a tenant"));
    for process in [web, scheduler, other] {
        assert_eq!(process.interrupt(), Some(0));
    }
}

/// Stands between a server and its database, and can take it away.
struct Line {
    port: u16,
    down: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Line {
    fn to(host: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
        let port = listener.local_addr().expect("an address").port();
        let (down, open) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (is_down, all) = (down.clone(), open.clone());
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let far = TcpStream::connect(&host);
                let (false, Ok(far)) = (is_down.load(Ordering::SeqCst), far) else { continue };
                for (mut from, mut to) in [(&near, &far), (&far, &near)]
                    .map(|(from, to)| (from.try_clone().expect("a socket"), to.try_clone().expect("a socket")))
                {
                    std::thread::spawn(move || copy(&mut from, &mut to));
                }
                all.lock().expect("free").extend([near, far]);
            }
        });
        Self { port, down, open }
    }

    fn take_away(&self) {
        self.down.store(true, Ordering::SeqCst);
        for stream in self.open.lock().expect("free").drain(..) {
            drop(stream.shutdown(Shutdown::Both));
        }
    }

    fn bring_back(&self) {
        self.down.store(false, Ordering::SeqCst);
    }
}

fn copy(from: &mut TcpStream, to: &mut TcpStream) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(many @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..many]).is_err() {
            break;
        }
    }
    drop(to.shutdown(Shutdown::Both));
}

#[test]
fn a_database_that_goes_away_and_comes_back_costs_no_run() {
    let Some(database) = database("away") else { return };
    let mut address = url::Url::parse(&database).expect("an address");
    let host = format!("{}:{}", address.host_str().expect("a host"), address.port().unwrap_or(5432));
    let line = Line::to(host);
    address.set_host(Some("127.0.0.1")).expect("a host");
    address.set_port(Some(line.port)).expect("a port");
    let place = place();
    let arguments = ["server", "--dir", "vault", "--listen", "127.0.0.1:0", "--json"];
    let mut server = Server::start_with(&place, &arguments, &[(DATABASE, address.as_str())]);
    let status = server.status();
    let url = status["url"].as_str().expect("an address").to_owned();
    let http = Http::sign_in(&url, status["first_link"].as_str().expect("a link"));
    let made = http.set_up(place.tenant.as_ref().expect("a tenant"), json!([]));
    http.good(Method::POST, &format!("/accounts/{}/sets/{}/runs", made.account, made.set), None);
    wait("nothing runs", || http.backups(&made).iter().any(|job| job["state"] == "running").then_some(()));

    line.take_away();
    let plain = |path: &str| crate::server::get(&url, path);
    assert!(plain("/healthz").starts_with("HTTP/1.1 200"), "the process is there");
    assert!(plain("/readyz").starts_with("HTTP/1.1 503"), "{}", plain("/readyz"));
    let (code, problem) = http.ask(Method::GET, "/accounts", None);
    assert_eq!((code, &problem["kind"]), (503, &json!("unavailable")), "{problem}");
    line.bring_back();

    let job = ended(&http, &made);
    assert!(matches!(job["state"].as_str(), Some("done" | "gaps")), "{job}");
    assert_eq!(job["attempts"], 1, "{job}");
    assert_eq!(http.snapshots(&made).len(), 1);
    assert!(plain("/readyz").starts_with("HTTP/1.1 200"));
    assert_eq!(server.interrupt(), Some(0));
}
