//! Whose turn it is: what many accounts are to be told, and what lists go on with where rows share a time.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use super::notices::{Hook, bench_at, receiver};
use super::{Bench, PASSWORD, crowd, id, set_up};
use crate::server::auth::Role;
use crate::server::db::{Before, JobKind, NewDelivery, NewJob, Room};
use crate::server::id::Id;
use crate::server::notices::{self, Notice};
use crate::sim::{SimOptions, SimTenant};

/// What takes connections and says nothing. Gives its address, and how many it has.
async fn silent() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let many = Arc::new(AtomicUsize::new(0));
    let counted = many.clone();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            held.push(stream);
        }
    });
    (url, many)
}

/// An account with a webhook at each of some addresses; gives it, and them.
async fn told_at(bench: &Bench, name: &str, urls: &[&str]) -> (Id, Vec<Id>) {
    let account = bench.account(name).await;
    let token = bench.person(Some(&account), Role::Owner, &format!("owner@{name}.com")).await;
    let mut receivers = Vec::new();
    for (number, url) in urls.iter().enumerate() {
        let wanted = json!({"name": number.to_string(), "url": url, "definition": {"kind": "webhook", "runs": "all", "warnings": true}});
        let made = receiver(bench, &token, &account, wanted).await;
        receivers.push(Id::parse(&id(&made["receiver"])).expect("an id"));
    }
    (account, receivers)
}

/// Puts events of some numbers into the outbox.
async fn post(bench: &Bench, account: &Id, receiver: &Id, numbers: Range<usize>) {
    let (db, now) = (&bench.server().db, bench.server().now_us());
    let notice = serde_json::to_string(&Notice::new("run.complete", now, "x", "A backup ended".into())).expect("JSON");
    for number in numbers {
        let event = format!("job {number}");
        let new = NewDelivery { account, receiver, event: &event, notice: &notice };
        db.post(&new, now).await.expect("posted").expect("new");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_many_wait_for_at_a_dead_receiver_keeps_nothing_from_others() {
    let bench = Bench::quiet().await;
    let (dead, connections) = silent().await;
    let (beside, other) = (Hook::default(), Hook::default());
    let (beside_url, other_url) = (beside.start().await, other.start().await);
    let (busy, of_busy) = told_at(&bench, "busy", &[&dead, &beside_url]).await;
    let (quiet, of_quiet) = told_at(&bench, "quiet", &[&other_url]).await;
    post(&bench, &busy, &of_busy[0], 0..300).await;
    post(&bench, &busy, &of_busy[1], 0..20).await;
    post(&bench, &quiet, &of_quiet[0], 0..1).await;
    let server = bench.server().clone();
    let passing = tokio::spawn(async move { notices::pass(&server).await });
    let told = async {
        while other.many() < 1 || beside.many() < 20 {
            sleep(Duration::from_millis(20)).await;
        }
        // What comes up while others are waited for goes out too.
        post(&bench, &quiet, &of_quiet[0], 1..3).await;
        while other.many() < 3 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    // A call that is not answered takes twenty seconds.
    timeout(Duration::from_secs(15), told).await.expect("told meanwhile");
    assert!(!passing.is_finished());
    passing.abort();
    assert_eq!((other.many(), beside.many(), connections.load(Ordering::SeqCst)), (3, 20, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn storages_that_do_not_answer_keep_no_warning_from_other_accounts() {
    let bench = Bench::quiet().await;
    for name in ["one", "two", "three"] {
        let (account, _) = told_at(&bench, name, &["http://127.0.0.1:1/"]).await;
        crowd::silent(&bench, &account).await;
    }
    let (account, _) = told_at(&bench, "contoso", &["http://127.0.0.1:1/"]).await;
    let token = bench.person(Some(&account), Role::Owner, "second@contoso.com").await;
    let wanted = json!({"name": "Contoso", "secret": "x", "definition": {"tenant_id": "t", "client_id": "c", "sign_in": "secret"}});
    let tenant = bench.good(&token, Method::POST, &format!("/accounts/{account}/tenants"), Some(wanted)).await;
    let state = json!({"secret_end_us": bench.server().now_us() + 5 * 86_400_000_000, "missing": 0}).to_string();
    bench.server().db.keep_tenant_state(&Id::parse(&id(&tenant)).expect("an id"), &state, 0).await.expect("kept");
    let server = bench.server().clone();
    let passing = tokio::spawn(async move { notices::pass(&server).await });
    let warned = async {
        let path = format!("/accounts/{account}/deliveries");
        while bench.good(&token, Method::GET, &path, None).await["items"].as_array().is_none_or(Vec::is_empty) {
            sleep(Duration::from_millis(50)).await;
        }
    };
    // A storage may take thirty seconds to answer.
    timeout(Duration::from_secs(15), warned).await.expect("warned meanwhile");
    assert!(!passing.is_finished());
    passing.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_each_account_and_receiver_so_many_are_sent_at_once() {
    let bench = Bench::quiet().await;
    let url = "http://127.0.0.1:1/";
    let (busy, of_busy) = told_at(&bench, "busy", &[url, url, url]).await;
    let (quiet, of_quiet) = told_at(&bench, "quiet", &[url]).await;
    for (receiver, numbers) in of_busy.iter().zip([0..300, 0..300, 0..1]) {
        post(&bench, &busy, receiver, numbers).await;
    }
    post(&bench, &quiet, &of_quiet[0], 0..3).await;
    let (db, now) = (&bench.server().db, bench.server().now_us());
    let take = async |most: usize, taken: &[(Id, Id)]| {
        let room = Room { most, of_account: 4, of_receiver: 2, taken };
        let due = db.take_deliveries(now, 300_000_000, &room).await.expect("taken");
        due.into_iter().map(|delivery| (delivery.account, delivery.receiver)).collect::<Vec<_>>()
    };
    let many = |taken: &[(Id, Id)], receiver: &Id| taken.iter().filter(|(_, to)| to == receiver).count();
    // Turn about between the accounts, and within one between its receivers.
    let mut taken = take(2, &[]).await;
    assert_eq!(taken.iter().map(|(account, _)| account).collect::<HashSet<_>>(), HashSet::from([&busy, &quiet]));
    taken.extend(take(16, &taken).await);
    let counts: Vec<usize> = of_busy.iter().map(|to| many(&taken, to)).collect();
    assert!(counts.iter().sum::<usize>() == 4 && counts.iter().all(|many| *many >= 1), "{counts:?}");
    assert_eq!(many(&taken, &of_quiet[0]), 2);
    // Nothing has room until something has ended.
    assert!(take(16, &taken).await.is_empty());
    taken.retain(|(account, _)| *account == busy);
    assert_eq!(take(16, &taken).await, [(quiet, of_quiet[0].clone())]);
}

/// Asks for a list page by page, two at a time; gives the ids in their order.
async fn listed(bench: &Bench, token: &str, path: &str, time: &str) -> Vec<String> {
    let (mut seen, mut from) = (Vec::new(), String::new());
    loop {
        let page = bench.good(token, Method::GET, &format!("{path}?most=2{from}"), None).await;
        let items = page["items"].as_array().expect("a list");
        let Some(last) = items.last() else { return seen };
        from = format!("&before_us={}&before_id={}", last[time], id(last));
        seen.extend(items.iter().map(id));
        assert!(seen.len() < 200, "{path} goes round in a circle");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_one_time_come_once_each_page_by_page() {
    let (bench, _) = bench_at("2026-11-26T10:00:00Z").await;
    let (account, receivers) = told_at(&bench, "contoso", &["http://127.0.0.1:1/"]).await;
    let token = bench.person(Some(&account), Role::Owner, "second@contoso.com").await;
    let sim = SimTenant::start(SimOptions::tiny()).await.expect("a tenant");
    let (repository, set, _) = set_up(&bench, &token, &account, &sim, json!([])).await;
    let (db, now) = (&bench.server().db, bench.server().now_us());
    post(&bench, &account, &receivers[0], 0..5).await;
    let job = NewJob {
        account: &account,
        kind: JobKind::Backup,
        set: None,
        tenant: None,
        repository: None,
        client: None,
        arguments: json!({}),
        asked_by: "test",
        run_after_us: now,
    };
    for _ in 0..103 {
        db.ask_for(&job, now).await.expect("asked");
    }
    let run = "INSERT INTO runs (id, account_id, set_id, started_us, ended_us, outcome, items, items_added, items_changed, \
        items_removed, collections, gaps, bytes_logical, bytes_read, bytes_new, bytes_stored, requests, throttled, waits, gap_list) \
        VALUES ($1, $2, $3, $4, $4, 'complete', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, '{}', '[]')";
    let restore = "INSERT INTO restores (id, account_id, repository_id, tenant_id, snapshot, asked, asked_by, created_us, plan_job) \
        VALUES ($1, $2, $3, $3, 'x', 'x', 'test', $4, $3)";
    for (sql, about) in [(run, &set), (restore, &repository)] {
        for _ in 0..5 {
            let row = sqlx::query(sql).bind(Id::random().to_string()).bind(account.to_string());
            row.bind(about.as_str()).bind(now).execute(db.pool()).await.expect(sql);
        }
    }

    let path = |list: &str| format!("/accounts/{account}/{list}");
    for (list, time, many) in [("deliveries", "created_us", 5), ("jobs", "created_us", 103), ("runs", "started_us", 5)]
    {
        let seen = listed(&bench, &token, &path(list), time).await;
        assert_eq!((seen.len(), seen.iter().collect::<HashSet<_>>().len()), (many, many), "{list}");
        // A time alone means what it meant.
        for (before_us, expected) in [(now, 0), (now + 1, many.min(100))] {
            let page = bench.good(&token, Method::GET, &path(&format!("{list}?before_us={before_us}")), None).await;
            assert_eq!(page["items"].as_array().map(Vec::len), Some(expected), "{list}");
        }
        let odd = bench.ask(&token, Method::GET, &path(&format!("{list}?before_us=5&before_id=x")), None).await;
        assert_eq!(odd.0.as_u16(), 404, "{list}: {}", odd.1);
    }
    let of_set = listed(&bench, &token, &path("runs"), "started_us").await;
    let of_set_alone = db.runs(&account, Some(&Id::parse(&set).expect("an id")), &Before::NOTHING, 100).await;
    let of_set_alone: Vec<String> = of_set_alone.expect("runs").into_iter().map(|run| run.id.to_string()).collect();
    assert_eq!(of_set, of_set_alone);
    let (mut seen, mut before) = (HashSet::new(), Before::NOTHING);
    loop {
        let rows = db.restores(&account, &before, 2).await.expect("restores");
        let Some(last) = rows.last() else { break };
        before = Before { us: last.created_us, id: Some(last.id.clone()) };
        assert!(rows.iter().all(|row| seen.insert(row.id.clone())), "one comes twice");
    }
    assert_eq!(seen.len(), 5);

    // The page goes on where it ended.
    let cookie = bench.sign_in("second@contoso.com", PASSWORD).await.expect("signed in");
    let page = async |query: &str| {
        let (status, page) = bench.page(&cookie, &format!("/a/{account}/activity{query}")).await;
        assert!(status.is_success(), "{query}: {page}");
        page
    };
    let first = page("?of=jobs").await;
    let (_, from) = first.split_once("href=\"?of=jobs&amp;before=").expect("there is more");
    let from = from.split('"').next().unwrap_or_default().replace("&amp;", "&");
    let rows = |page: &str| page.matches(">Backup</a>").count();
    assert_eq!((rows(&first), rows(&page(&format!("?of=jobs&before={from}")).await)), (100, 3));
}
