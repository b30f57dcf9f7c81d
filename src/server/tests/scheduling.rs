//! Schedules: what is due runs, what was missed is caught up once or told.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::{Bench, set_up};
use crate::server::auth::Role;
use crate::server::id::Id;
use crate::sim::{SimOptions, SimTenant};

const HOUR_US: i64 = 3_600_000_000;
/// 2026-11-26 00:00 UTC.
const BEGIN_US: i64 = 1_795_651_200_000_000;

async fn states(bench: &Bench, token: &str, account: &Id) -> Vec<(String, String)> {
    let jobs = bench.good(token, Method::GET, &format!("/accounts/{account}/jobs"), None).await;
    let word = |job: &Value, name: &str| job[name].as_str().unwrap_or_default().to_owned();
    let of_backups = jobs["items"].as_array().expect("a list").iter().filter(|job| job["kind"] == "backup");
    of_backups.map(|job| (word(job, "state"), word(job, "asked_by"))).collect()
}

/// Waits until so many backups have ended.
async fn backups(bench: &Bench, token: &str, account: &Id, many: usize) -> Vec<(String, String)> {
    loop {
        let all = states(bench, token, account).await;
        if all.iter().filter(|(state, _)| !matches!(state.as_str(), "queued" | "running")).count() >= many {
            return all;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_runs_and_what_was_missed_is_caught_up_once_or_told() {
    let now = Arc::new(AtomicI64::new(BEGIN_US));
    let clock = {
        let now = now.clone();
        Arc::new(move || now.load(Ordering::Relaxed))
    };
    let bench = Bench::with(|_| {}, Some(clock)).await;
    let account = bench.account("Contoso").await;
    let token = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let sim = SimTenant::start(SimOptions::default()).await.expect("a tenant");
    let rule = json!([{"cron": "0 * * * *", "zone": "Europe/Berlin", "catch_up": true}]);
    let (_, set, _) = set_up(&bench, &token, &account, &sim, rule).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(states(&bench, &token, &account).await.is_empty(), "nothing is due");

    now.store(BEGIN_US + HOUR_US, Ordering::Relaxed);
    let all = backups(&bench, &token, &account, 1).await;
    assert!(matches!(all[0].0.as_str(), "done" | "gaps") && all[0].1 == "schedule", "{all:?}");

    // Five hours in which nothing ran: one run, not five.
    now.store(BEGIN_US + 6 * HOUR_US + 60_000_000, Ordering::Relaxed);
    let all = backups(&bench, &token, &account, 2).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(states(&bench, &token, &account).await.len(), 2, "{all:?}");

    // Not to be caught up: told.
    let path = format!("/accounts/{account}/sets/{set}");
    let mut wanted = bench.good(&token, Method::GET, &path, None).await;
    let wanted = json!({
        "name": "everyone", "tenant": wanted["tenant"].take(), "repository": wanted["repository"].take(),
        "choices": wanted["choices"].take(), "schedules": [{"cron": "0 * * * *", "zone": "UTC", "catch_up": false}],
    });
    bench.good(&token, Method::PUT, &path, Some(wanted)).await;
    now.store(BEGIN_US + 12 * HOUR_US + 30 * 60_000_000, Ordering::Relaxed);
    let all = backups(&bench, &token, &account, 3).await;
    assert_eq!(all[0], ("missed".to_owned(), "schedule".to_owned()), "{all:?}");
    bench.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_in_the_middle_of_a_run_goes_on_with_it_later() {
    let bench = Bench::new().await;
    let account = bench.account("Contoso").await;
    let token = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let options = SimOptions { latency: Duration::from_millis(150), ..SimOptions::default() };
    let sim = SimTenant::start(options).await.expect("a tenant");
    let (_, set, _) = set_up(&bench, &token, &account, &sim, json!([])).await;
    let asked = bench.good(&token, Method::POST, &format!("/accounts/{account}/sets/{set}/runs"), None).await;
    let job = asked["job"].as_str().expect("a job").to_owned();
    while bench.good(&token, Method::GET, &format!("/accounts/{account}/jobs/{job}"), None).await["state"] != "running"
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let Bench { running, folder, client } = bench;
    let database_url = running.server().options.database_url.clone();
    running.stop().await;

    let mut options = crate::server::ServerOptions::in_folder(folder.path().join("server"));
    options.database_url = database_url;
    let running = crate::server::run::start_at(options, None).await.expect("it starts again");
    let bench = Bench { running, folder, client };
    let ended = bench.ended(&token, &account, &job).await;
    assert!(matches!(ended["state"].as_str(), Some("done" | "gaps")), "{ended}");
    bench.running.stop().await;
}
