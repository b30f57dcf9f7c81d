//! A server whose database is lost: another takes its repositories over, and goes on where it stood.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::history::days_are_those_of_their_runs;
use super::{Bench, PASSWORD, id, set_up};
use crate::server::ProcessRole;
use crate::server::auth::Role;
use crate::server::db::Entitlements;
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
    assert!(before.1.iter().all(|run| run["bytes_logical"].as_u64() > Some(1_000)), "{before:?}");
    let newest = before.1[0]["bytes_logical"].clone();
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
    let grown = bench.good(&token, Method::GET, &format!("/accounts/{account}/growth"), None).await;
    let last = grown["items"].as_array().and_then(|days| days.iter().rev().find(|day| !day["logical"].is_null()));
    assert_eq!(last.map(|day| &day["logical"]), Some(&newest), "{grown}");
    assert!(days_are_those_of_their_runs(&bench).await > 0);
    let cookie = bench.sign_in("owner@contoso.com", PASSWORD).await.expect("signed in");
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

/// Removes a set as soon as what follows upon its run has ended.
async fn remove_set(bench: &Bench, token: &str, path: &str) {
    while bench.ask(token, Method::DELETE, path, None).await.0 == StatusCode::CONFLICT {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

async fn limit(bench: &Bench, account: &Id, mailboxes: Option<i64>, bytes: Option<i64>) {
    let limits = Entitlements { mailboxes, bytes, ..Entitlements::default() };
    bench.server().db.change_account(account, "Contoso", limits).await.expect("changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_off_the_list_counts_where_it_lies_and_comes_back_within_the_limits() {
    let sim = SimTenant::start(SimOptions::tiny()).await.expect("a tenant");
    let bench = Bench::new().await;
    let account = bench.account("Contoso").await;
    let token = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let (repository, set, key) = set_up(&bench, &token, &account, &sim, json!([])).await;
    run(&bench, &token, &account, &set).await;
    let before = snapshots(&bench, &token, &account, &repository).await;
    let at = |path: &str| format!("/accounts/{account}/{path}");
    assert!(days_are_those_of_their_runs(&bench).await > 0);
    remove_set(&bench, &token, &at(&format!("sets/{set}"))).await;
    assert_eq!(days_are_those_of_their_runs(&bench).await, 0);
    // As if the retention that counts what is stored had not come to its turn.
    let row = Id::parse(&repository).expect("an id");
    bench.server().db.keep_stored_bytes(&row, 0).await.expect("kept");
    bench.good(&token, Method::DELETE, &at(&format!("repositories/{repository}")), None).await;
    let used = bench.good(&token, Method::GET, &format!("/accounts/{account}"), None).await["used"]["bytes"].clone();
    assert!(used.as_i64() > Some(10_000), "{used}");
    let listed = bench.good(&token, Method::GET, &at("repositories"), None).await;
    assert_eq!((&listed["items"], &listed["left_behind"][0]["id"]), (&json!([]), &json!(repository)), "{listed}");
    assert_eq!(listed["left_behind"][0]["stored_bytes"], used, "{listed}");
    let cookie = bench.sign_in("owner@contoso.com", PASSWORD).await.expect("signed in");
    let (_, page) = bench.page(&cookie, &format!("/a/{account}/storage")).await;
    assert!(page.contains("Off the list") && page.contains("over again"), "{page}");

    // It fills the account as before.
    limit(&bench, &account, Some(0), Some(5_000)).await;
    let place = json!({"name": "there", "url": "server:"});
    let wanted = Some(json!({"name": "More", "destination": place}));
    assert_eq!(bench.ask(&token, Method::POST, &at("repositories"), wanted).await.0, StatusCode::FORBIDDEN);

    // Nobody else takes it over, nor anybody without the key.
    let stranger = bench.account("Fabrikam").await;
    let theirs = bench.person(Some(&stranger), Role::Owner, "owner@fabrikam.com").await;
    let admin = bench.person(None, Role::Administrator, "admin@example.com").await;
    let adopt = async |who: &str, account: &Id, url: &str, key: &str| {
        let wanted = json!({"name": "Main", "destination": {"name": "again", "url": url}, "key": key});
        bench.ask(who, Method::POST, &format!("/accounts/{account}/adoptions"), Some(wanted)).await
    };
    let (own, whole) = (format!("server:{repository}"), format!("server:{account}/{repository}"));
    for (who, account, url, key, status) in [
        (&theirs, &stranger, &own, &key, StatusCode::NOT_FOUND),
        (&theirs, &stranger, &whole, &key, StatusCode::FORBIDDEN),
        (&admin, &stranger, &whole, &key, StatusCode::UNPROCESSABLE_ENTITY),
        (&token, &account, &own, &"x".repeat(44), StatusCode::FORBIDDEN),
        (&token, &account, &"server:../x".to_owned(), &key, StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        let (found, problem) = adopt(who, account, url, key).await;
        assert_eq!(found, status, "{url}: {problem}");
    }
    let listed = bench.good(&token, Method::GET, &at("repositories"), None).await;
    assert_eq!(listed["left_behind"].as_array().map(Vec::len), Some(1), "{listed}");

    // Over the limits its owner gets at it all the same; its sets protect nothing until there is room.
    let (status, adopted) = adopt(&token, &account, &own, &key).await;
    assert_eq!(status, StatusCode::CREATED, "{adopted}");
    assert_eq!((&adopted["repository"]["id"], &adopted["snapshots"]), (&json!(repository), &json!(1)), "{adopted}");
    assert!(adopted["remarks"][0].as_str().is_some_and(|text| text.contains("mailboxes")), "{adopted}");
    assert_eq!(snapshots(&bench, &token, &account, &repository).await, before);
    let listed = bench.good(&token, Method::GET, &at("repositories"), None).await;
    assert_eq!(listed["left_behind"], json!([]), "{listed}");
    assert_eq!(listed["items"][0]["destinations"][0]["url"], "server:", "{listed}");
    let path = at(&format!("sets/{}", id(&adopted["sets"][0])));
    let mut set = bench.good(&token, Method::GET, &path, None).await;
    assert_eq!(set["enabled"], false, "{set}");
    let runs = format!("{path}/runs");
    assert_eq!(bench.ask(&token, Method::POST, &runs, None).await.0, StatusCode::FORBIDDEN);
    let wanted = json!({"name": set["name"].take(), "tenant": set["tenant"].take(), "repository": repository,
        "choices": set["choices"].take(), "enabled": true});
    assert_eq!(bench.ask(&token, Method::PUT, &path, Some(wanted.clone())).await.0, StatusCode::FORBIDDEN);
    limit(&bench, &account, None, None).await;
    bench.good(&token, Method::PUT, &path, Some(wanted)).await;
    run(&bench, &token, &account, &id(&adopted["sets"][0])).await;

    // What whoever runs the server deleted counts no more.
    remove_set(&bench, &token, &path).await;
    bench.good(&token, Method::DELETE, &at(&format!("repositories/{repository}")), None).await;
    let folder = bench.server().storage_folder(&account).join(&repository);
    std::fs::remove_dir_all(folder).expect("deleted");
    let listed = bench.good(&token, Method::GET, &at("repositories"), None).await;
    assert_eq!(listed["left_behind"], json!([]), "{listed}");
    bench.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_lost_server_kept_itself_is_an_administrators_to_give_also_with_public_targets_only() {
    let lost = Bench::quiet().await;
    let account = lost.account("Contoso").await;
    let token = lost.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let wanted = json!({"name": "Main", "destination": {"name": "here", "url": "server:"}});
    let made = lost.good(&token, Method::POST, &format!("/accounts/{account}/repositories"), Some(wanted)).await;
    let (repository, key) = (id(&made["repository"]), made["key"].as_str().expect("a key").to_owned());
    let Bench { running, folder, .. } = lost;
    running.stop().await;

    let change = |options: &mut crate::server::ServerOptions| {
        options.role = ProcessRole::Web;
        options.allow_private_targets = false;
    };
    let bench = Bench::with(change, None).await;
    let storage = bench.folder.path().join("server/storage");
    std::fs::create_dir_all(&storage).expect("made");
    let there = storage.join(account.as_str());
    std::fs::rename(folder.path().join("server/storage").join(account.as_str()), &there).expect("moved");
    let again = bench.account("Contoso again").await;
    let admin = bench.person(None, Role::Administrator, "admin@example.com").await;
    let owner = bench.person(Some(&again), Role::Owner, "owner@contoso.com").await;
    let adopt = async |who: &str, key: &str| {
        let url = format!("server:{account}/{repository}");
        let wanted = json!({"name": "Main", "destination": {"name": "again", "url": url}, "key": key});
        bench.ask(who, Method::POST, &format!("/accounts/{again}/adoptions"), Some(wanted)).await
    };
    assert_eq!(adopt(&owner, &key).await.0, StatusCode::FORBIDDEN);
    assert_eq!(adopt(&admin, &"x".repeat(44)).await.0, StatusCode::FORBIDDEN);
    assert!(there.join(&repository).is_dir(), "it is where it was");
    let (status, adopted) = adopt(&admin, &key).await;
    assert_eq!(status, StatusCode::CREATED, "{adopted}");
    assert_eq!(adopted["repository"]["destinations"][0]["url"], "server:", "{adopted}");
    assert!(bench.server().storage_folder(&again).join(&repository).is_dir());
    let path = format!("/accounts/{again}/repositories/{repository}/keys");
    let keys = bench.good(&owner, Method::GET, &path, None).await;
    let servers = keys["items"].as_array().expect("a list").iter().filter(|slot| slot["of_server"] == true).count();
    assert_eq!(servers, 1, "the lost server's is none of this one's: {keys}");
}

#[tokio::test(flavor = "multi_thread")]
async fn over_its_bytes_an_account_takes_nothing_over_from_elsewhere() {
    let bench = Bench::quiet().await;
    let account = bench.account("Contoso").await;
    let admin = bench.person(None, Role::Administrator, "admin@example.com").await;
    limit(&bench, &account, None, Some(0)).await;
    let url = bench.folder.path().join("elsewhere").to_string_lossy().into_owned();
    let wanted = json!({"name": "Main", "destination": {"name": "there", "url": url}, "key": "x".repeat(44)});
    let (status, problem) =
        bench.ask(&admin, Method::POST, &format!("/accounts/{account}/adoptions"), Some(wanted)).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{problem}");
    assert!(problem["message"].as_str().expect("a message").contains("as much as it may"), "{problem}");
}
