//! What whoever runs a server relies on: one server a folder, figures, proxies, the audit log, answers that are as described.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::sleep;

use super::{Bench, id, set_up};
use crate::error::ErrorKind;
use crate::server::ProcessRole;
use crate::server::audit::look_through_exported;
use crate::server::auth::Role;
use crate::server::db::{Columns as _, Engine};
use crate::server::options::ServerOptions;
use crate::server::run::start_at;
use crate::sim::{SimOptions, SimTenant};

#[tokio::test(flavor = "multi_thread")]
async fn one_server_works_in_a_folder() {
    let bench = Bench::new().await;
    let mut options = bench.server().options.clone();
    if options.database_url.is_some() {
        return;
    }
    for role in [ProcessRole::All, ProcessRole::Web, ProcessRole::Worker] {
        options.role = role;
        let refused = start_at(options.clone(), None).await.expect_err("another one works there");
        assert_eq!(refused.kind(), ErrorKind::Unavailable);
        assert!(refused.to_string().contains("Another backup server works in"), "{refused}");
    }
    bench.running.stop().await;
    // Parts of one server share it.
    let worker = start_at(options.clone(), None).await.expect("it is free");
    options.role = ProcessRole::Web;
    let web = start_at(options.clone(), None).await.expect("a part");
    options.role = ProcessRole::All;
    start_at(options, None).await.expect_err("parts work there");
    web.stop().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_says_whether_its_background_works_and_since_when_not() {
    let options = |options: &mut ServerOptions| {
        options.role = ProcessRole::Worker;
        options.health_listen = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    };
    let bench = Bench::with(options, None).await;
    assert!(bench.running.address().is_none(), "it serves no pages");
    let at = bench.running.health_address().expect("it tells of itself");
    let ask = async |path: &str| {
        let answer = bench.client.get(format!("http://{at}{path}")).send().await.expect("an answer");
        (answer.status(), answer.text().await.expect("text"))
    };
    for path in ["/healthz", "/readyz"] {
        assert_eq!(ask(path).await.0, StatusCode::OK, "{path}");
    }
    let (_, figures) = ask("/metrics").await;
    assert!(figures.contains("\ntenantvault_silence_seconds{part=\"worker\"} "), "{figures}");
    assert!(!figures.contains("part=\"scheduler\""), "{figures}");
    for path in ["/", "/sign-in", "/api/v1/me", "/api/v1/openapi.json"] {
        assert_eq!(ask(path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    // Each look into the queue counts.
    let (server, long) = (bench.server(), Duration::from_secs(400));
    server.pulse.worker.set_back(long);
    while ask("/readyz").await.0 != StatusCode::OK {
        sleep(Duration::from_millis(20)).await;
    }
    bench.running.pause_workers().await;
    server.pulse.worker.set_back(long);
    server.pulse.scheduler.set_back(long);
    let (status, problem) = ask("/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(problem.contains("The worker last did its work 40"), "{problem}");
    assert_eq!(ask("/healthz").await.0, StatusCode::OK);

    // So does each pass of a scheduler.
    let bench = Bench::new().await;
    let pulse = &bench.server().pulse;
    assert!(pulse.check(ProcessRole::All, 0).is_ok());
    pulse.scheduler.set_back(long);
    while pulse.check(ProcessRole::Scheduler, 0).is_err() {
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_that_never_ran_waits_since_it_was_made() {
    let clock = Arc::new(AtomicI64::new(1_700_000_000_000_000));
    let now = clock.clone();
    let bench =
        Bench::with(|options| options.role = ProcessRole::Web, Some(Arc::new(move || now.load(Ordering::Relaxed))))
            .await;
    let account = bench.account("Contoso").await;
    let token = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let sim = SimTenant::start(SimOptions::tiny()).await.expect("a tenant");
    set_up(&bench, &token, &account, &sim, json!([])).await;
    clock.fetch_add(86_400_000_000, Ordering::Relaxed);
    let figures = bench.client.get(bench.url("/metrics")).send().await.expect("an answer").text().await.expect("text");
    assert!(figures.contains("\ntenantvault_oldest_good_run_seconds 1700000000\n"), "{figures}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_has_who_asked_and_not_the_proxies_between() {
    let networks = ["172.16.0.0/12".parse().expect("a network")];
    let bench = Bench::with(
        |options| {
            options.role = ProcessRole::Web;
            options.trusted_proxies = networks.to_vec();
        },
        None,
    )
    .await;
    let admin = bench.person(None, Role::Administrator, "admin@example.com").await;
    let request = bench.client.post(bench.url("/api/v1/accounts")).bearer_auth(&admin);
    let request = request.header("x-forwarded-for", "10.9.9.9, 203.0.113.9, 172.18.0.5");
    let request =
        request.header(header::CONTENT_TYPE, "application/json").body(json!({"name": "Fabrikam"}).to_string());
    assert!(request.send().await.expect("an answer").status().is_success());
    let log = bench.good(&admin, Method::GET, "/audit", None).await;
    assert_eq!(log["items"][0]["address"], "203.0.113.9", "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exported_audit_log_can_be_held_against_its_hashes_by_who_got_it() {
    let bench = Bench::quiet().await;
    let admin = bench.person(None, Role::Administrator, "admin@example.com").await;
    let mut accounts = Vec::new();
    for name in ["Contoso", "Fabrikam"] {
        accounts.push(id(&bench.good(&admin, Method::POST, "/accounts", Some(json!({"name": name}))).await));
    }
    for (name, account) in [("Contoso 2", &accounts[0]), ("Fabrikam 2", &accounts[1]), ("Contoso 3", &accounts[0])] {
        let wanted = json!({"name": name, "limits": {"bytes": 1_000}});
        bench.good(&admin, Method::PUT, &format!("/accounts/{account}"), Some(wanted)).await;
    }
    let whole = bench.good(&admin, Method::GET, "/audit", None).await;
    let items = whole["items"].as_array().expect("a list").clone();
    let look = |texts: &[String], known: Option<&str>| {
        let texts: Vec<_> = texts.iter().map(|text| ("export".to_owned(), text.clone())).collect();
        look_through_exported(&texts, known)
    };
    let last = items[0]["hash"].as_str().expect("a hash");
    let found = look(&[whole.to_string()], Some(last)).expect("whole");
    assert_eq!((found.entries, found.others, &*found.hash), (items.len() as u64, 0, last));
    // Page by page, pages that overlap, and a line an entry.
    let lines = items.iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
    assert_eq!(look(&[json!({"items": items[2..]}).to_string(), lines], None).expect("whole"), found);
    assert_eq!(look(&[whole.to_string()], Some("0")).expect_err("not there").kind(), ErrorKind::Corrupt);

    let own = bench.good(&admin, Method::GET, &format!("/accounts/{}/audit", accounts[0]), None).await;
    let found = look(&[own.to_string()], None).expect("an account's");
    assert!(found.others >= 2 && found.entries >= 3, "{found:?}");

    for spoil in 0..4 {
        let mut spoilt = items.clone();
        match spoil {
            0 => spoilt[1]["actor"] = json!("mallory"),
            1 => spoilt[1]["detail"] = json!({"limits": {}}),
            2 => drop(spoilt.remove(1)),
            _ => spoilt[1]["previous"] = spoilt[0]["hash"].clone(),
        }
        let refused = look(&[json!({"items": spoilt}).to_string()], None).expect_err("spoilt");
        assert_eq!(refused.kind(), ErrorKind::Corrupt, "{spoil}: {refused}");
    }
    assert_eq!(look(&["{\"items\": 3}".to_owned()], None).expect_err("no export").kind(), ErrorKind::InvalidInput);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_microsofts_place_and_answers_oddly_breaks_nothing() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let odd = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 8192];
            let _ = stream.read(&mut head).await;
            let page = "<html>Please pay for the network</html>";
            let answer =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{page}", page.len());
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    let bench = Bench::quiet().await;
    let account = bench.account("Contoso").await;
    let owner = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let path = format!("/accounts/{account}/tenants");
    for (name, sign_in, secret, ask) in [("app", "secret", Some("secret"), "test"), ("user", "user", None, "sign-ins")]
    {
        let wanted = json!({"name": name, "secret": secret, "definition": {
            "tenant_id": "contoso.com", "client_id": "11111111-1111-4111-8111-111111111111", "sign_in": sign_in,
            "graph_url": odd, "login_url": odd}});
        let tenant = id(&bench.good(&owner, Method::POST, &path, Some(wanted)).await);
        let body = (ask == "sign-ins").then(|| json!({"way": "device-code"}));
        let (status, problem) = bench.ask(&owner, Method::POST, &format!("{path}/{tenant}/{ask}"), body).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{name}: {problem}");
        assert!(problem["message"].as_str().expect("a message").contains("cannot be read"), "{name}: {problem}");
    }
}

/// A schema of the description, or what it refers to.
fn referred<'a>(described: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(name) => described.pointer(name.trim_start_matches('#')).expect("a schema"),
        None => schema,
    }
}

/// Every object in a schema, with its names.
fn lax(described: &Value, schema: &Value, place: &str, found: &mut Vec<String>) {
    let schema = referred(described, schema);
    for way in ["oneOf", "anyOf", "allOf"] {
        for part in schema[way].as_array().into_iter().flatten() {
            lax(described, part, place, found);
        }
    }
    if let Some(items) = schema.get("items") {
        lax(described, items, place, found);
    }
    let Some(fields) = schema["properties"].as_object() else { return };
    if schema["additionalProperties"] != json!(false) {
        found.push(place.to_owned());
    }
    for (name, field) in fields {
        lax(described, field, &format!("{place}.{name}"), found);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_body_may_have_fields_that_are_not_known() {
    let described: Value = serde_json::from_str(&crate::server::description()).expect("JSON");
    let (mut found, mut many) = (Vec::new(), 0);
    for (path, methods) in described["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            // A client may be newer than its server, and tell more of a run.
            if !schema.is_null() && !path.starts_with("/api/v1/agent/") {
                many += 1;
                lax(&described, schema, &format!("{method} {path}"), &mut found);
            }
        }
    }
    assert!(found.is_empty() && many > 20, "{many}: {found:?}");
    let bench = Bench::quiet().await;
    let account = bench.account("Contoso").await;
    let owner = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let none = "0".repeat(32);
    let wanted = json!({"name": "x", "tenant": none, "repository": none,
        "schedules": [{"cron": "@daily", "zone": "UTC", "jitter": 5}]});
    let (status, problem) = bench.ask(&owner, Method::POST, &format!("/accounts/{account}/sets"), Some(wanted)).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(problem["message"].as_str().expect("a message").contains("jitter"), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_waits_for_what_goes_on_beside() {
    let bench = Bench::quiet().await;
    let server = bench.server().clone();
    let (db, done) = (server.db.clone(), Arc::new(AtomicI64::new(0)));
    let noted = done.clone();
    server.aside.spawn(async move {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        noted.store(if db.ping().await.is_ok() { 1 } else { 2 }, Ordering::SeqCst);
    });
    bench.running.stop().await;
    assert_eq!(done.load(Ordering::SeqCst), 1, "the database is there until the last task ends");
}

#[tokio::test]
async fn a_folder_may_have_any_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let odd = folder.path().join("Büro #1 100%25?");
    std::fs::create_dir(&odd).expect("made");
    let db = crate::server::db::Db::open(None, &odd).await.expect("opened");
    db.ping().await.expect("it answers");
    assert!(odd.join("server.db").is_file());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_nobody_waits_for_any_more_ends() {
    let bench = Bench::quiet().await;
    let db = &bench.server().db;
    // Let go of a little later each time, so that some are while they begin.
    for number in 0..40 {
        let (until, mut begins) = (Instant::now() + Duration::from_micros(40 * number), Box::pin(db.write()));
        while begins.as_mut().now_or_never().is_none() && Instant::now() < until {
            tokio::task::yield_now().await;
        }
    }
    sleep(Duration::from_millis(500)).await;
    let open = async || {
        let open = "SELECT COUNT(*) AS many FROM pg_stat_activity \
            WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
        match db.engine() {
            Engine::Sqlite => 0,
            Engine::Postgres => {
                sqlx::query(open).fetch_one(db.pool()).await.expect("an answer").number("many").expect("a number")
            }
        }
    };
    for _ in 0..100 {
        if open().await == 0 {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(open().await, 0);
    // What is written now stays.
    let mut tx = db.write().await.expect("begun");
    sqlx::query("INSERT INTO settings (name, value) VALUES ('a test', '1')").execute(&mut *tx).await.expect("written");
    tx.commit().await.expect("durable");
    assert_eq!(db.setting("a test").await.expect("read").as_deref(), Some("1"));
}
