//! A thousand sets and a hundred thousand runs; a thousand tenants, repositories, clients, people and receivers: pages stay small, and queries find their way by indexes. How fast it is,
//! `docs/performance.md` tells; here is counted, not timed.

use reqwest::{Method, StatusCode};
use sqlx::AssertSqlSafe;

use super::{Bench, PASSWORD};
use crate::server::auth::Role;
use crate::server::db::{Columns as _, Db, Engine};
use crate::server::id::Id;

const SETS: usize = 1_000;
const RUNS: usize = 100_000;
const MOST_BYTES: usize = 100 * 1000;

/// An account with much history.
async fn fill(bench: &Bench, account: &Id) {
    let (db, now) = (&bench.server().db, bench.server().now_us());
    let hex = |column: &str, mark: &str| {
        format!(
            "substr('{mark}0000000000000000000000000000000', 1, 32 - length(CAST({column} AS TEXT))) || CAST({column} AS TEXT)"
        )
    };
    let (set, run, job) = (hex("i % 1000", "a"), hex("i", "b"), hex("i", "c"));
    let count = |many: usize| {
        format!(
            "WITH RECURSIVE n(i) AS (SELECT CAST(0 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < {}) ",
            many - 1
        )
    };
    let (tenant, repository) = ("d".repeat(32), "e".repeat(32));
    let mut statements = vec![
        format!(
            "INSERT INTO tenants (id, account_id, name, definition, created_us) VALUES ('{tenant}', '{account}', 'T', '{{\"tenant_id\": \"t\", \"client_id\": \"c\", \"sign_in\": \"secret\"}}', 0)"
        ),
        format!(
            "INSERT INTO repositories (id, account_id, name, repository, write_key, created_us, confirmed) VALUES ('{repository}', '{account}', 'R', 'x', 'x', 0, 1)"
        ),
    ];
    statements.push(format!(
        "{} INSERT INTO sets (id, account_id, tenant_id, repository_id, name, definition, created_us, last_state, last_us, last_good_us) \
         SELECT {set}, '{account}', '{tenant}', '{repository}', 'a set with a name of some length ' || CAST(i AS TEXT), '{{}}', {now}, 'failed', {now}, {now} FROM n",
        count(SETS)
    ));
    statements.push(format!(
        "{} INSERT INTO jobs (id, account_id, kind, set_id, tenant_id, repository_id, arguments, state, asked_by, created_us, run_after_us, started_us, ended_us, noticed) \
         SELECT {job}, '{account}', 'backup', {set}, '{tenant}', '{repository}', '{{}}', 'done', 'schedule', {now} - i * 1000000, {now} - i * 1000000, {now} - i * 1000000, {now} - i * 1000000, 1 FROM n",
        count(RUNS)
    ));
    statements.push(format!(
        "{} INSERT INTO runs (id, account_id, set_id, job_id, started_us, ended_us, outcome, items, items_added, items_changed, items_removed, \
         collections, gaps, bytes_read, bytes_new, bytes_stored, requests, throttled, waits, gap_list) \
         SELECT {run}, '{account}', {set}, {job}, {now} - i * 1000000, {now} - i * 1000000, 'gaps', 1000000, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, '{{}}', '[]' FROM n",
        count(RUNS)
    ));
    // As noting each run does.
    statements.push(
        "INSERT INTO run_days (account_id, day, outcome, many, bytes_read, bytes_stored) SELECT account_id, \
         started_us / 86400000000, outcome, COUNT(*), SUM(bytes_read), SUM(bytes_stored) FROM runs \
         GROUP BY account_id, started_us / 86400000000, outcome"
            .to_owned(),
    );
    statements.push("UPDATE sets SET items = 1000000, gaps = 1".to_owned());
    for statement in statements {
        sqlx::query(AssertSqlSafe(statement)).execute(db.pool()).await.expect("filled");
    }
    sqlx::query("ANALYZE").execute(db.pool()).await.expect("counted");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_stay_small_with_a_thousand_sets_and_a_hundred_thousand_runs() {
    let bench = Bench::quiet().await;
    let account = bench.account("Contoso").await;
    bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let receiver = serde_json::json!({"name": "x", "definition": {"kind": "mail", "to": ["a@b.c"], "runs": "all", "warnings": true}});
    let token = bench.person(Some(&account), Role::Owner, "second@contoso.com").await;
    bench.good(&token, Method::POST, &format!("/accounts/{account}/receivers"), Some(receiver)).await;
    fill(&bench, &account).await;
    let cookie = bench.sign_in("owner@contoso.com", PASSWORD).await.expect("signed in");
    let set = format!("a{}", "0".repeat(31));
    let job = format!("c{}", "0".repeat(31));
    for path in [
        "",
        "/sets",
        "/sets?from=900",
        "/sets?q=99",
        &format!("/sets/{set}"),
        &format!("/sets/{set}/change/choose"),
        &format!("/sets/{set}/change/when"),
        &format!("/sets/{set}/change/where"),
        "/sets/new",
        "/coverage",
        "/tenants",
        "/storage",
        "/people",
        "/activity",
        "/activity?of=jobs",
        "/notices",
        &format!("/jobs/{job}"),
    ] {
        let began = std::time::Instant::now();
        let (status, page) = bench.page(&cookie, &format!("/a/{account}{path}")).await;
        println!("{path:40} {:6} bytes {:?}", page.len(), began.elapsed());
        assert_eq!(status, StatusCode::OK, "{path}: {page}");
        assert!(page.len() < MOST_BYTES, "{path}: {} bytes", page.len());
        if path.is_empty() {
            assert!(page.contains("1,000,000,000"), "the newest runs of all sets count, not only the last ones");
        }
    }
    // Of which set a receiver is told stays chosen in its form, wherever that stands in the list.
    let last = format!("a{}999", "0".repeat(28));
    let wanted = serde_json::json!({"name": "y", "definition": {"kind": "mail", "to": ["a@b.c"], "set": last}});
    let made = bench.good(&token, Method::POST, &format!("/accounts/{account}/receivers"), Some(wanted)).await;
    let receiver = super::id(&made["receiver"]);
    let (status, page) = bench.page(&cookie, &format!("/a/{account}/notices/{receiver}")).await;
    assert_eq!(status, StatusCode::OK, "{page}");
    assert!(page.len() < MOST_BYTES && page.contains(&format!("value=\"{last}\" selected")), "{page}");
}

/// An account with long lists.
async fn fill_lists(bench: &Bench, account: &Id) {
    let (db, now) = (&bench.server().db, bench.server().now_us());
    let id = |mark: &str| {
        format!("substr('{mark}0000000000000000000000000000000', 1, 32 - length(CAST(i AS TEXT))) || CAST(i AS TEXT)")
    };
    let name = |what: &str| format!("'a {what} with a name of some length ' || CAST(i AS TEXT)");
    let (tenants, repositories, clients, people, left) = (id("d"), id("e"), id("f"), id("9"), id("8"));
    let (receivers, receiver) = (id("7"), name("receiver"));
    let (tenant, repository, client, gone) = (name("tenant"), name("repository"), name("client"), name("lost one"));
    for insert in [
        format!(
            "tenants (id, account_id, name, definition, created_us) SELECT {tenants}, '{account}', {tenant}, \
             '{{\"tenant_id\": \"3f9a6c1e-0000-4000-8000-000000000000\", \"client_id\": \"c\", \"sign_in\": \"secret\"}}', {now}"
        ),
        format!(
            "repositories (id, account_id, name, repository, write_key, created_us, confirmed) \
             SELECT {repositories}, '{account}', {repository}, {repositories}, 'x', {now}, 1"
        ),
        format!("clients (id, account_id, name, created_us) SELECT {clients}, '{account}', {client}, {now}"),
        format!(
            "people (id, account_id, login, role, created_us) \
             SELECT {people}, '{account}', 'person-' || CAST(i AS TEXT) || '@customer.example.com', 'operator', {now}"
        ),
        format!(
            "receivers (id, account_id, name, definition, created_us, told_us) \
             SELECT {receivers}, '{account}', {receiver}, '{{\"kind\": \"mail\", \"to\": [\"it@contoso.com\"]}}', {now}, {now}"
        ),
        format!(
            "left_behind (id, account_id, name, repository, stored_bytes, removed_us) \
             SELECT {left}, '{account}', {gone}, {left}, 1, {now}"
        ),
    ] {
        let rows = "WITH RECURSIVE n(i) AS (SELECT CAST(0 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < 999)";
        let statement = format!("{rows} INSERT INTO {insert} FROM n");
        sqlx::query(AssertSqlSafe(statement)).execute(db.pool()).await.expect("filled");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_stay_small_with_a_thousand_tenants_repositories_clients_people_and_receivers() {
    let bench = Bench::quiet().await;
    let account = bench.account("Contoso").await;
    let token = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    fill_lists(&bench, &account).await;
    let cookie = bench.sign_in("owner@contoso.com", PASSWORD).await.expect("signed in");
    let page = async |path: &str| {
        let (status, page) = bench.page(&cookie, &format!("/a/{account}{path}")).await;
        println!("{path:40} {:6} bytes", page.len());
        assert_eq!(status, StatusCode::OK, "{path}: {page}");
        assert!(page.len() < MOST_BYTES, "{path}: {} bytes", page.len());
        page
    };
    for path in ["", "/sets/new", "/sets/new/connect", "/activity", "/restores", "/coverage", "/notices"] {
        page(path).await;
    }
    // By pages, and by a part of the name that ten have.
    for (path, mark, most) in [
        ("/tenants", "a tenant with a name of some length ", 100),
        ("/storage", "a repository with a name of some length ", 100),
        ("/clients", "<th scope=\"row\">a client with a name of some length ", 40),
        ("/people", "<th scope=\"row\">person-", 50),
        ("/notices", "a receiver with a name of some length ", 20),
        ("/keys", "<h2>a repository with a name of some length ", 25),
        ("/look", "a repository with a name of some length ", 200),
    ] {
        let many = async |query: &str| page(&format!("{path}{query}")).await.matches(mark).count();
        // The owner is the first of the people.
        assert_eq!(many("").await, most - usize::from(path == "/people"), "{path}");
        assert_eq!(many("?from=995").await, 5 + usize::from(path == "/people"), "{path}");
        let found = many("?q=99").await;
        assert!((19..=20).contains(&found), "{path}: {found}");
    }
    for (path, most) in [("/storage", 25), ("/storage?off=990", 10)] {
        assert_eq!(page(path).await.matches("<summary>Take 'a lost one").count(), most, "{path}");
    }
    let find = "name=x&find_tenant=length+99&do=find".to_owned();
    let found = bench.send_form(&format!("/a/{account}/sets/new/connect"), Some(&cookie), find).await;
    let found = found.text().await.expect("a page");
    assert!(found.contains("some length 990<") && !found.contains("some length 500<"), "{found}");
    for (list, more) in [("tenants", 0), ("repositories", 0), ("clients", 0), ("people", 1), ("receivers", 0)] {
        let part = bench.good(&token, Method::GET, &format!("/accounts/{account}/{list}?from=990&most=7"), None).await;
        let items = part["items"].as_array().expect("a list").len();
        assert_eq!((items, part["all"].as_u64()), (7, Some(1_000 + more)), "{list}");
        let rest = bench.good(&token, Method::GET, &format!("/accounts/{account}/{list}?from=997"), None).await;
        assert_eq!(rest["items"].as_array().map(Vec::len), Some(3 + more as usize), "{list}");
    }
    let (status, _) = bench.ask(&token, Method::GET, &format!("/accounts/{account}/tenants?from=x"), None).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_pages_and_queues_ask_for_is_found_by_indexes() {
    let bench = Bench::quiet().await;
    let db = &bench.server().db;
    if db.engine() != Engine::Sqlite {
        println!("skipped: PostgreSQL plans by what is in the tables");
        return;
    }
    let account = bench.account("Contoso").await;
    fill(&bench, &account).await;
    // The conditions of the queries in `db`.
    for (query, index) in [
        (
            "SELECT day, outcome, many, bytes_stored FROM run_days WHERE account_id = 'x' AND day >= 5 ORDER BY day, outcome",
            "INDEX sqlite_autoindex_run_days_1",
        ),
        (
            "SELECT day, SUM(bytes_read) FROM run_days WHERE account_id = 'x' AND day >= 5 GROUP BY day ORDER BY 1",
            "INDEX sqlite_autoindex_run_days_1",
        ),
    ] {
        let steps = plan(db, query).await;
        // In the order of the index: nothing is sorted.
        assert!(steps.len() == 1 && steps[0].starts_with("SEARCH") && steps[0].contains(index), "{query}\n{steps:?}");
    }
    for query in [
        // What shares a time is sorted, and nothing else.
        "SELECT * FROM runs WHERE account_id = 'x' AND started_us <= 5 AND (started_us < 5 OR id < 'x') \
         ORDER BY started_us DESC, id DESC LIMIT 10",
        "SELECT * FROM runs WHERE account_id = 'x' AND started_us <= 5 AND (started_us < 5 OR id < 'x') AND set_id = 'x' \
         ORDER BY started_us DESC, id DESC LIMIT 10",
        "SELECT * FROM runs WHERE set_id = 'x' AND account_id = 'x' AND job_id = 'x' ORDER BY started_us DESC LIMIT 1",
        "SELECT * FROM jobs WHERE account_id = 'x' AND created_us <= 5 AND (created_us < 5 OR id < 'x') \
         ORDER BY created_us DESC, id DESC LIMIT 10",
        "SELECT * FROM jobs WHERE account_id = 'x' AND state IN ('queued', 'running') ORDER BY state DESC, run_after_us LIMIT 200",
        "SELECT * FROM jobs WHERE noticed = 0 AND ended_us IS NOT NULL ORDER BY ended_us LIMIT 10",
        "SELECT s.id, (SELECT r.started_us FROM runs r WHERE r.set_id = s.id AND r.snapshot IS NOT NULL \
         ORDER BY r.started_us DESC LIMIT 1) FROM sets s WHERE s.account_id = 'x'",
        "SELECT id FROM jobs WHERE set_id = 'x' AND kind = 'backup' AND state = 'queued'",
        "SELECT set_id FROM jobs WHERE kind = 'backup' AND state = 'queued' AND set_id IN ('x', 'y')",
        "UPDATE schedules SET next_us = 9 WHERE id IN ('x', 'y') AND next_us = CASE id WHEN 'x' THEN 5 WHEN 'y' THEN 6 END",
        "UPDATE jobs SET state = 'queued' WHERE state = 'running' AND (lease_until_us < 5 OR lease_until_us > 9)",
        "SELECT * FROM schedules c CROSS JOIN sets s WHERE s.id = c.set_id AND c.next_us <= 5 ORDER BY c.next_us, c.id LIMIT 10",
        "SELECT * FROM sets s CROSS JOIN schedules c WHERE s.account_id = 'x' AND c.set_id = s.id ORDER BY c.id",
        "SELECT id FROM jobs WHERE repository_id = 'x' AND kind = 'prune' AND state = 'queued' AND set_id IS NULL",
        "SELECT r.account_id FROM jobs r WHERE r.state = 'running' AND r.worker = 'x' GROUP BY r.account_id HAVING COUNT(*) >= 3",
        "SELECT * FROM receivers WHERE next_us <= 5 ORDER BY next_us LIMIT 10",
        "SELECT * FROM outbox WHERE state = 'waiting' AND next_us <= 5 ORDER BY next_us LIMIT 10",
        "SELECT * FROM outbox WHERE account_id = 'x' AND created_us <= 5 AND (created_us < 5 OR id < 'x') \
         ORDER BY created_us DESC, id DESC LIMIT 10",
        "SELECT * FROM audit WHERE account_id = 'x' AND number < 5 ORDER BY number DESC LIMIT 10",
        "SELECT id FROM jobs WHERE account_id = 'x' AND state = 'failed' AND kind IN ('backup', 'check') \
         AND repository_id IS NOT NULL ORDER BY ended_us DESC LIMIT 500",
        "SELECT 1 FROM jobs n WHERE n.repository_id = 'x' AND n.kind = 'check' AND n.kind IN ('prune', 'check', 'mirror') \
         AND n.created_us > 5 AND n.state IN ('done', 'gaps', 'failed')",
        "SELECT repository_id, name FROM destinations WHERE account_id = 'x' AND lag IS NOT NULL ORDER BY name",
    ] {
        for step in plan(db, query).await {
            assert!(!step.starts_with("SCAN") || step.contains("INDEX"), "{query}\n{step}");
            assert!(
                !query.contains("id DESC") || step.contains("INDEX") || step.contains("LAST TERM"),
                "{query}\n{step}"
            );
        }
    }
}

async fn plan(db: &Db, query: &str) -> Vec<String> {
    let rows =
        sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {query}"))).fetch_all(db.pool()).await.expect(query);
    rows.iter().map(|row| row.text("detail").expect("text")).collect()
}
