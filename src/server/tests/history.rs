//! What is remembered for how long, and who looks after the server.

use reqwest::{Method, StatusCode};
use serde_json::json;
use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;

use super::{Bench, PASSWORD};
use crate::server::auth::Role;
use crate::server::db::Columns as _;
use crate::server::id::Id;

const DAY_US: i64 = 86_400_000_000;
/// 2026-11-20.
const NOW_US: i64 = 1_795_132_800_000_000;

async fn write(bench: &Bench, sql: String) {
    sqlx::query(AssertSqlSafe(sql)).execute(bench.server().db.pool()).await.expect("written");
}

async fn ids(bench: &Bench, table: &str) -> Vec<String> {
    let sql = AssertSqlSafe(format!("SELECT id FROM {table} ORDER BY id"));
    let rows = sqlx::query(sql).fetch_all(bench.server().db.pool()).await.expect("read");
    // A letter and zeros.
    rows.iter().map(|row| row.text("id").expect("an id").trim_end_matches('0').to_owned()).collect()
}

/// Holds what is kept of days against the runs that are remembered; gives how many days there are.
pub(super) async fn days_are_those_of_their_runs(bench: &Bench) -> usize {
    let read = async |sql: &'static str| -> Vec<(String, String, Vec<i64>)> {
        let rows = sqlx::query(sql).fetch_all(bench.server().db.pool()).await.expect("read");
        let numbers = ["day", "many", "bytes_read", "bytes_stored", "grown"];
        let number = |row: &AnyRow| numbers.iter().map(|name| row.number(name).expect("a number")).collect();
        let text = |row: &AnyRow, name| row.text(name).expect("a text");
        rows.iter().map(|row| (text(row, "account_id"), text(row, "outcome"), number(row))).collect()
    };
    let kept = read(
        "SELECT account_id, day, outcome, many, bytes_read, bytes_stored, COALESCE(logical_grown, -1) AS grown FROM run_days \
         ORDER BY account_id, day, outcome",
    );
    let counted = read(
        "SELECT account_id, started_us / 86400000000 AS day, outcome, COUNT(*) AS many, \
         CAST(SUM(bytes_read) AS BIGINT) AS bytes_read, CAST(SUM(bytes_stored) AS BIGINT) AS bytes_stored, \
         CAST(COALESCE(SUM(logical_grown), -1) AS BIGINT) AS grown FROM runs \
         GROUP BY account_id, started_us / 86400000000, outcome ORDER BY account_id, 2, outcome",
    );
    let kept = kept.await;
    assert_eq!(kept, counted.await);
    kept.len()
}

fn long(id: &str) -> String {
    format!("{id:0<32}")
}

async fn fill(bench: &Bench, account: &Id) {
    let (tenant, repository, set) = (long("a1"), long("a2"), long("a3"));
    write(bench, format!("INSERT INTO tenants (id, account_id, name, definition, created_us) VALUES ('{tenant}', '{account}', 'T', '{{}}', 0)")).await;
    write(bench, format!("INSERT INTO repositories (id, account_id, name, repository, write_key, created_us, confirmed) VALUES ('{repository}', '{account}', 'R', 'x', 'x', 0, 1)")).await;
    write(bench, format!("INSERT INTO sets (id, account_id, tenant_id, repository_id, name, definition, created_us) VALUES ('{set}', '{account}', '{tenant}', '{repository}', 'everyone', '{{}}', 0)")).await;
    for (id, kind, state, days) in [
        ("b1", "prune", "done", 100),
        ("b2", "prune", "failed", 80),
        ("b3", "check", "running", 100),
        ("b4", "backup", "done", 100),
        ("b5", "backup", "done", 1_200),
        ("b6", "backup", "missed", 1_200),
        ("b7", "plan", "done", 1_200),
        ("b8", "restore", "done", 1_200),
        ("b9", "plan", "done", 1_000),
    ] {
        let at = NOW_US - days * DAY_US;
        write(bench, format!("INSERT INTO jobs (id, account_id, kind, set_id, arguments, state, asked_by, created_us, run_after_us, ended_us, noticed) VALUES ('{}', '{account}', '{kind}', '{set}', '{{}}', '{state}', 'test', {at}, {at}, {at}, 1)", long(id))).await;
    }
    for (id, job, days) in [("c1", "b4", 100), ("c2", "b5", 1_200)] {
        let at = NOW_US - days * DAY_US;
        write(bench, format!("INSERT INTO runs (id, account_id, set_id, job_id, started_us, ended_us, outcome, items, items_added, items_changed, items_removed, collections, gaps, bytes_read, bytes_new, bytes_stored, requests, throttled, waits, gap_list) VALUES ('{}', '{account}', '{set}', '{}', {at}, {at}, 'complete', 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, '{{}}', '[]')", long(id), long(job))).await;
    }
    write(bench, "INSERT INTO run_days (account_id, day, outcome, many, bytes_read, bytes_stored) SELECT account_id, started_us / 86400000000, outcome, 1, 1, 1 FROM runs".to_owned()).await;
    for (id, plan, run, days) in [("d1", "b7", "b8", 1_200), ("d2", "b9", "b9", 1_000)] {
        let (at, id) = (NOW_US - days * DAY_US, long(id));
        write(bench, format!("INSERT INTO restores (id, account_id, repository_id, tenant_id, snapshot, asked, asked_by, created_us, plan_job, run_job) VALUES ('{id}', '{account}', '{repository}', '{tenant}', 'x', 'x', 'test', {at}, '{}', '{}')", long(plan), long(run))).await;
        write(bench, format!("INSERT INTO restore_steps (restore_id, number, steps) VALUES ('{id}', 0, 'x')")).await;
        write(
            bench,
            format!("INSERT INTO restore_journal (restore_id, number, lines, written_by) VALUES ('{id}', 0, 'x', 'x')"),
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_more_jobs_than_are_drawn_home_tells_how_many_ran_and_failed() {
    let bench = Bench::quiet().await;
    let account = bench.account("Contoso").await;
    bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let cookie = bench.sign_in("owner@contoso.com", PASSWORD).await.expect("signed in");
    let now = bench.server().now_us();
    // Eighty in the last hours, of which the oldest failed; one that ended before; one that waits.
    for n in 0..82_i64 {
        let (state, began) = match n {
            0 => ("queued", None),
            81 => ("failed", Some(now - 2 * DAY_US)),
            n => (if n > 70 { "failed" } else { "done" }, Some(now - n * 600_000_000)),
        };
        let at = began.unwrap_or(now);
        let (started, ended) = match began {
            Some(us) => (us.to_string(), (us + 60_000_000).to_string()),
            None => ("NULL".to_owned(), "NULL".to_owned()),
        };
        write(&bench, format!("INSERT INTO jobs (id, account_id, kind, arguments, state, asked_by, created_us, run_after_us, started_us, ended_us, noticed) VALUES ('{n:032x}', '{account}', 'backup', '{{}}', '{state}', 'test', {at}, {at}, {started}, {ended}, 1)")).await;
    }
    let (status, page) = bench.page(&cookie, &format!("/a/{account}")).await;
    assert_eq!(status, StatusCode::OK, "{page}");
    for words in
        ["The last 24 hours: 80 jobs, 10 of them failed", "The newest 59 of 80 jobs are drawn; 10 of all failed."]
    {
        assert!(page.contains(words), "{words}: {page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn history_goes_when_it_is_old_and_not_because_a_clock_was_ahead() {
    let bench = Bench::quiet().await;
    let account = bench.account("Contoso").await;
    fill(&bench, &account).await;
    let db = &bench.server().db;
    let everything = ids(&bench, "jobs").await;
    assert_eq!(days_are_those_of_their_runs(&bench).await, 2);
    for (now, what) in [
        (NOW_US, "nobody looked before"),
        (NOW_US + 3_600_000_000, "once a day is enough"),
        (NOW_US + 4_000 * DAY_US, "the clock was set ahead"),
        (NOW_US + DAY_US, "and back"),
    ] {
        assert_eq!(db.forget_history(now).await.expect("looked"), 0, "{what}");
        assert_eq!(ids(&bench, "jobs").await, everything, "{what}");
    }
    assert!(db.forget_history(NOW_US + 2 * DAY_US).await.expect("looked") > 0);
    assert_eq!(ids(&bench, "jobs").await, ["b2", "b3", "b4", "b9"]);
    assert_eq!(ids(&bench, "runs").await, ["c1"]);
    assert_eq!(ids(&bench, "restores").await, ["d2"]);
    assert_eq!(days_are_those_of_their_runs(&bench).await, 1);
    for table in ["restore_steps", "restore_journal"] {
        let sql = AssertSqlSafe(format!("SELECT COUNT(*) AS many FROM {table}"));
        let row = sqlx::query(sql).fetch_one(db.pool()).await.expect("read");
        assert_eq!(row.number("many").expect("a count"), 1, "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn administrators_come_and_go_and_one_always_stays() {
    let bench = Bench::quiet().await;
    let token = bench.person(None, Role::Administrator, "first@example.com").await;
    let account = bench.account("Contoso").await;
    let owner = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let wanted = json!({"login": "second@example.com", "role": "administrator"});
    let added = bench.good(&token, Method::POST, "/administrators", Some(wanted)).await;
    let (second, link) =
        (super::id(&added["person"]), added["invitation"]["path"].as_str().expect("a path").to_owned());
    let path = format!("/administrators/{second}");
    let again = bench.good(&token, Method::POST, &format!("{path}/invitation"), None).await;
    let newer = again["path"].as_str().expect("a path").to_owned();
    let choose = format!("password={0}&again={0}", PASSWORD.replace(' ', "+"));
    assert_ne!(
        bench.send_form(&link, None, choose.clone()).await.status(),
        StatusCode::SEE_OTHER,
        "the old link is over"
    );
    assert_eq!(bench.send_form(&newer, None, choose).await.status(), StatusCode::SEE_OTHER);
    let cookie = bench.sign_in("second@example.com", PASSWORD).await.expect("signed in");
    let (status, page) = bench.page(&cookie, "/administrators").await;
    assert!(status == StatusCode::OK && page.contains("first@example.com") && page.contains("(you)"), "{page}");

    // Not oneself, not through an account's door, and not by an owner.
    let people = bench.good(&token, Method::GET, "/administrators", None).await;
    let first = super::id(
        people["items"].as_array().expect("a list").iter().find(|p| p["login"] == "first@example.com").expect("there"),
    );
    let (status, _) = bench.ask(&token, Method::DELETE, &format!("/administrators/{first}"), None).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let disable = json!({"role": "administrator", "disabled": true});
    let (status, _) = bench.ask(&token, Method::PUT, &format!("/administrators/{first}"), Some(disable.clone())).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let (status, _) = bench.ask(&token, Method::DELETE, &format!("/accounts/{account}/people/{second}"), None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, _) = bench.ask(&owner, Method::DELETE, &path, None).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let people = bench.good(&token, Method::GET, &format!("/accounts/{account}/people"), None).await;
    let (status, _) =
        bench.ask(&token, Method::DELETE, &format!("/administrators/{}", super::id(&people["items"][0])), None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);

    bench.good(&token, Method::PUT, &path, Some(disable)).await;
    let (status, page) = bench.page(&cookie, "/administrators").await;
    assert!(status != StatusCode::OK, "the session ended: {page}");
    bench.sign_in("second@example.com", PASSWORD).await.expect_err("disabled");
    let (status, _) = bench.ask(&token, Method::DELETE, &path, None).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let people = bench.good(&token, Method::GET, "/administrators", None).await;
    assert!(!people.to_string().contains("second@example.com"), "{people}");
    let form = format!("/administrators/{first}");
    let cookie = bench.sign_in("first@example.com", PASSWORD).await.expect("signed in");
    let answer = bench.send_form(&form, Some(&cookie), "what=remove".into()).await;
    assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY, "the last one stays");

    // All of it is in the log of the whole server, which only administrators see.
    let (status, log) = bench.page(&cookie, "/activity").await;
    assert!(status == StatusCode::OK && log.contains("person.remove") && log.contains("second@example.com"), "{log}");
    let answer = bench.send_form("/activity/verification", Some(&cookie), String::new()).await;
    assert!(answer.text().await.expect("text").contains("The log is whole"));
    write(&bench, "UPDATE audit SET object = 'third@example.com' WHERE action = 'person.remove'".into()).await;
    let answer = bench.send_form("/activity/verification", Some(&cookie), String::new()).await;
    assert!(answer.text().await.expect("text").contains("is not as it was written"));
    let cookie = bench.sign_in("owner@contoso.com", PASSWORD).await.expect("signed in");
    assert_eq!(bench.page(&cookie, "/activity").await.0, StatusCode::FORBIDDEN);
}
