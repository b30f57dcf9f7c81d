//! What comes in crowds, and clocks that jump.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use reqwest::{Method, StatusCode, header};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::{Bench, PASSWORD, connect, set_up};
use crate::server::auth::Role;
use crate::server::db::Columns as _;
use crate::sim::{SimOptions, SimTenant};

const MINUTE_US: i64 = 60_000_000;
const DAY_US: i64 = 24 * 60 * MINUTE_US;
/// 2026-11-26 00:00 UTC.
const BEGIN_US: i64 = 1_795_651_200_000_000;

/// Tries to sign in; gives the status.
async fn attempt(bench: &Bench, login: &str, password: &str, from: &str) -> StatusCode {
    let body = format!("login={login}&password={}&code=", password.replace(' ', "+"));
    let request = bench
        .client
        .post(bench.url("/sign-in"))
        .header("sec-fetch-site", "same-origin")
        .header("x-forwarded-for", from)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(body);
    request.send().await.expect("an answer").status()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_shown_at_no_other_address_than_it_was_given_for() {
    let bench = Bench::quiet().await;
    let account = bench.account("Contoso").await;
    let owner = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let sim = SimTenant::start(SimOptions::tiny()).await.expect("a tenant");
    let tenant = connect(&bench, &owner, &account, &sim, "Contoso").await;
    let path = format!("/accounts/{account}/tenants/{tenant}");
    let definition = bench.good(&owner, Method::GET, &path, None).await["definition"].clone();
    let change = async |name: &str, field: &str, value: &str, (secret, restoring): (Option<&str>, Option<&str>)| {
        let mut wanted = json!({"name": name, "definition": definition, "secret": secret, "restore_secret": restoring});
        wanted["definition"][field] = json!(value);
        bench.ask(&owner, Method::PUT, &path, Some(wanted)).await
    };
    let elsewhere = format!("{}/elsewhere", sim.login_url());
    for (field, value) in [("login_url", &*elsewhere), ("graph_url", &elsewhere), ("tenant_id", "another")] {
        // Neither the one that reads nor the one that restores, where the other one is given anew.
        for (secrets, whose) in
            [((None, Some("new")), "The app's secret"), ((Some("new"), None), "the app that restores")]
        {
            let (status, problem) = change("Contoso", field, value, secrets).await;
            let words = problem["message"].as_str().expect("a message");
            assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{field}: {problem}");
            assert!(words.contains("is missing") && words.contains(whose), "{field}: {words}");
        }
    }
    let (status, problem) = change("Contoso", "client_id", "another", (None, Some("new"))).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
    // A name of its own loses nothing, also where it is taken.
    let (status, problem) = change("Contoso Ltd", "tenant_id", sim.tenant_id(), (None, None)).await;
    assert_eq!(status, StatusCode::OK, "{problem}");
    connect(&bench, &owner, &account, &sim, "Taken").await;
    let wanted = json!({"name": "Taken", "secret": "new", "restore_secret": "new", "definition": {
        "tenant_id": "another", "client_id": "another", "sign_in": "secret", "graph_url": sim.graph_url(),
        "login_url": sim.login_url(), "restore": {"client_id": "another", "sign_in": "secret"}}});
    assert_eq!(bench.ask(&owner, Method::PUT, &path, Some(wanted)).await.0, StatusCode::CONFLICT);
    let tested = bench.good(&owner, Method::POST, &format!("{path}/test"), None).await;
    assert_eq!(tested["missing"], 0, "{tested}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_sign_in_attempts_cost_little_and_lock_nobody_else_out() {
    let bench = Bench::quiet().await;
    let account = bench.account("Contoso").await;
    for login in ["attacked@contoso.com", "other@contoso.com"] {
        bench.person(Some(&account), Role::Owner, login).await;
    }
    let began = Instant::now();
    // One address tries many logins; then many addresses try one.
    let attempts = (0..10_000_u32).map(|number| {
        let bench = &bench;
        async move {
            if number < 5_000 {
                attempt(bench, &format!("user{number}@contoso.com"), "guess guess guess", "198.51.100.1").await
            } else {
                let from = format!("10.{}.{}.1", number / 256, number % 256);
                attempt(bench, "attacked@contoso.com", "guess guess guess", &from).await
            }
        }
    });
    let answers: Vec<StatusCode> = futures::stream::iter(attempts).buffer_unordered(200).collect().await;
    let looked_at = answers.iter().filter(|status| **status != StatusCode::TOO_MANY_REQUESTS).count();
    assert_eq!(answers.len(), 10_000);
    assert!(answers.iter().all(StatusCode::is_client_error));
    // Each password that is looked at costs 19 MiB and a core: those of the first few, and of who came beside them.
    assert!(looked_at < 160, "{looked_at}");
    println!("10,000 attempts: {looked_at} passwords looked at, {:?}", began.elapsed());
    let row = sqlx::query("SELECT COUNT(*) AS many FROM throttle").fetch_one(bench.server().db.pool()).await;
    let rows = row.expect("counted").number("many").expect("a number");
    assert!(rows < 400, "what is kept of it is bounded: {rows}");
    assert_eq!(attempt(&bench, "other@contoso.com", PASSWORD, "203.0.113.5").await, StatusCode::SEE_OTHER);
}

/// Begins to sign in, and sends all of a long form but its last byte; gives the connection.
async fn half_sent(bench: &Bench, from: &str) -> TcpStream {
    let address = bench.running.address().expect("it listens");
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let long = 16 * 1024;
    let head = format!(
        "POST /sign-in HTTP/1.1\r\nhost: {address}\r\nsec-fetch-site: same-origin\r\nx-forwarded-for: {from}\r\n\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: {long}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    stream.write_all(&vec![b'x'; long - 1]).await.expect("sent");
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_before_a_sign_in_is_short_and_of_one_address_takes_a_share_of_the_room() {
    let bench = Bench::quiet().await;
    let admin = bench.person(None, Role::Administrator, "boss").await;
    let long = "x".repeat(17 * 1024);
    for path in ["/sign-in", "/welcome/x", "/api/v1/agent/enrolment"] {
        let answer = bench.send_form(path, None, long.clone()).await;
        assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE, "{path}");
    }
    let (status, problem) = bench.ask(&admin, Method::POST, "/accounts", Some(json!({"name": long}))).await;
    assert_ne!(status, StatusCode::PAYLOAD_TOO_LARGE, "who is let in may send more: {problem}");
    // Under test an address has room for four of the longest.
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(half_sent(&bench, "198.51.100.1").await);
    }
    let again = async || attempt(&bench, "nobody", "guess guess guess", "198.51.100.1").await;
    let refused = async |held: &mut Vec<TcpStream>| {
        while again().await != StatusCode::SERVICE_UNAVAILABLE {
            // Who came before the last of them had its room, and it was refused.
            held.push(half_sent(&bench, "198.51.100.1").await);
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(60), refused(&mut held)).await.expect("one address has a share alone");
    assert_eq!(attempt(&bench, "boss", PASSWORD, "203.0.113.5").await, StatusCode::SEE_OTHER, "others have theirs");
    bench.good(&admin, Method::GET, "/me", None).await;
    drop(held);
    let let_in = async {
        while again().await == StatusCode::SERVICE_UNAVAILABLE {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(60), let_in).await.expect("the room is given back");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_fails_at_a_login_from_elsewhere_keeps_nobody_out() {
    let bench = Bench::quiet().await;
    bench.person(None, Role::Administrator, "boss").await;
    let (home, new) = ("203.0.113.5", "203.0.113.6");
    for from in ["198.51.100.1", "198.51.100.2", "2001:db8::1"] {
        for _ in 0..7 {
            attempt(&bench, "boss", "guess guess guess", from).await;
        }
        assert_eq!(attempt(&bench, "boss", PASSWORD, from).await, StatusCode::TOO_MANY_REQUESTS, "{from}");
    }
    // Who has one address of a network has them all.
    assert_eq!(attempt(&bench, "boss", PASSWORD, "2001:db8::ffff").await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(attempt(&bench, "boss", PASSWORD, home).await, StatusCode::SEE_OTHER);
    // From very many addresses: whoever comes from where they signed in lately comes in all the same.
    for number in 0..110 {
        attempt(&bench, "boss", "guess guess guess", &format!("10.0.{number}.1")).await;
    }
    assert_eq!(attempt(&bench, "boss", PASSWORD, new).await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(attempt(&bench, "boss", PASSWORD, home).await, StatusCode::SEE_OTHER);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_ahead_and_back_neither_floods_nor_stops_the_runs() {
    let now = Arc::new(AtomicI64::new(BEGIN_US));
    let clock = {
        let now = now.clone();
        Arc::new(move || now.load(Ordering::Relaxed))
    };
    let bench = Bench::with(|_| {}, Some(clock)).await;
    let account = bench.account("Contoso").await;
    let token = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let sim = SimTenant::start(SimOptions::tiny()).await.expect("a tenant");
    let rule = json!([{"cron": "0 * * * *", "zone": "UTC", "catch_up": true}]);
    let (_, set, _) = set_up(&bench, &token, &account, &sim, rule).await;
    let backups = async || {
        let jobs = bench.good(&token, Method::GET, &format!("/accounts/{account}/jobs?most=1000"), None).await;
        let all = jobs["items"].as_array().expect("a list").clone();
        all.into_iter().filter(|job| job["kind"] == "backup").collect::<Vec<_>>()
    };
    let wait = async |many: usize| {
        let began = Instant::now();
        loop {
            let all = backups().await;
            let ended = all.iter().filter(|job| !matches!(job["state"].as_str(), Some("queued" | "running"))).count();
            if ended >= many {
                return all;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "{all:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    // A battery that is empty: a year ahead. One run, not 8,760.
    now.fetch_add(365 * DAY_US, Ordering::Relaxed);
    wait(1).await;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(backups().await.len(), 1);
    // Put right again: the next hour has its run, not only the one in a year.
    now.store(BEGIN_US + 10 * MINUTE_US, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let set_now = bench.good(&token, Method::GET, &format!("/accounts/{account}/sets/{set}"), None).await;
    assert_eq!(set_now["schedules"][0]["next_us"], BEGIN_US + 60 * MINUTE_US, "{set_now}");
    now.store(BEGIN_US + 61 * MINUTE_US, Ordering::Relaxed);
    wait(2).await;
    bench.running.stop().await;
}
