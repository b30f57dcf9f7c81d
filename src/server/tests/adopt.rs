//! A server whose database is lost: another takes its repositories over, and goes on where it stood.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Bench, id, set_up};
use crate::server::auth::Role;
use crate::server::id::Id;
use crate::sim::{SimOptions, SimTenant};

async fn run(bench: &Bench, token: &str, account: &Id, set: &str) -> Value {
    let asked = bench.good(token, Method::POST, &format!("/accounts/{account}/sets/{set}/runs"), None).await;
    let ended = bench.ended(token, account, asked["job"].as_str().expect("a job")).await;
    assert!(matches!(ended["state"].as_str(), Some("done" | "gaps")), "{ended}");
    ended
}

/// The runs of a set, the newest first, without what only the lost database knew.
async fn history(bench: &Bench, token: &str, account: &Id, set: &str) -> Vec<Value> {
    let runs = bench.good(token, Method::GET, &format!("/accounts/{account}/runs?set={set}"), None).await;
    let mut all = runs["items"].as_array().expect("a list").clone();
    for run in &mut all {
        let facts = run.as_object_mut().expect("an object");
        for own in ["id", "set", "job", "gap_list", "started_us", "ended_us"] {
            facts.remove(own);
        }
    }
    all
}

async fn snapshots(bench: &Bench, token: &str, account: &Id, repository: &str) -> Value {
    bench.good(token, Method::GET, &format!("/accounts/{account}/repositories/{repository}/snapshots"), None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_gives_sets_history_and_snapshots_back_to_a_server_that_lost_its_database() {
    let sim = SimTenant::start(SimOptions::default()).await.expect("a tenant");
    let lost = Bench::new().await;
    let account = lost.account("Contoso").await;
    let token = lost.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let (repository, set, key) = set_up(&lost, &token, &account, &sim, json!([])).await;
    for _ in 0..2 {
        run(&lost, &token, &account, &set).await;
    }
    let before = (
        lost.good(&token, Method::GET, &format!("/accounts/{account}/sets/{set}"), None).await["choices"].take(),
        history(&lost, &token, &account, &set).await,
        snapshots(&lost, &token, &account, &repository).await,
    );
    assert_eq!(before.1.len(), 2);
    let Bench { running, folder, .. } = lost;
    running.stop().await;
    let place = folder.path().join("server/storage").join(account.as_str()).join(&repository);

    let bench = Bench::new().await;
    let account = bench.account("Contoso again").await;
    let admin = bench.person(None, Role::Administrator, "admin@example.com").await;
    let token = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let path = format!("/accounts/{account}/adoptions");
    let wanted = |url: &str, key: &str| {
        Some(json!({"name": "Main", "destination": {"name": "old place", "url": url}, "key": key}))
    };
    let url = place.to_str().expect("a path");
    assert_eq!(bench.ask(&token, Method::POST, &path, wanted(url, &key)).await.0, StatusCode::FORBIDDEN, "a folder");
    let wrong = "x".repeat(44);
    assert_eq!(bench.ask(&admin, Method::POST, &path, wanted(url, &wrong)).await.0, StatusCode::FORBIDDEN);
    let nothing = folder.path().join("nothing");
    let nothing = wanted(nothing.to_str().expect("a path"), &key);
    assert_eq!(bench.ask(&admin, Method::POST, &path, nothing).await.0, StatusCode::NOT_FOUND);
    let server = wanted("server:", &key);
    assert_eq!(bench.ask(&admin, Method::POST, &path, server).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    let adopted = bench.good(&admin, Method::POST, &path, wanted(url, &key)).await;
    assert_eq!(bench.ask(&admin, Method::POST, &path, wanted(url, &key)).await.0, StatusCode::CONFLICT, "twice");
    assert_eq!((&adopted["remarks"], &adopted["snapshots"]), (&json!([]), &json!(2)), "{adopted}");
    assert_eq!(adopted["tenants"][0]["needs_secret"], true, "{adopted}");
    let (set, repository) = (id(&adopted["sets"][0]), id(&adopted["repository"]));

    let mut now = bench.good(&token, Method::GET, &format!("/accounts/{account}/sets/{set}"), None).await;
    assert_eq!(now["name"], "everyone");
    assert_eq!(now["choices"].take(), before.0);
    assert_eq!(history(&bench, &token, &account, &set).await, before.1);
    assert_eq!(snapshots(&bench, &token, &account, &repository).await, before.2);
    let cookie = bench.sign_in("owner@contoso.com", super::PASSWORD).await.expect("signed in");
    let tenant = adopted["tenants"][0]["id"].as_str().expect("an id");
    let (_, page) = bench.page(&cookie, &format!("/a/{account}/tenants/{tenant}")).await;
    assert!(page.contains("have to be entered"), "{page}");

    // With the secret entered again it goes on where it stood.
    let form = format!("client_id={}&secret={}&address={}", sim.client_id(), sim.client_secret(), sim.graph_url());
    let answer = bench.send_form(&format!("/a/{account}/tenants/{tenant}/secret"), Some(&cookie), form).await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    let ended = run(&bench, &token, &account, &set).await;
    assert_eq!(ended["outcome"]["totals"]["items_added"], 0, "{ended}");
    let held = bench.good(&token, Method::GET, &format!("/accounts/{account}/repositories/{repository}"), None).await;
    assert_eq!(held["holds_owner_key"], false);
    bench.running.stop().await;
}
