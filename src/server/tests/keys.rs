//! Keys of repositories, by the API and by the page: who may, with which key, and what never goes.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::restoring::Place;
use super::{Bench, PASSWORD, id, set_up};
use crate::crypto::Passphrase;
use crate::server::auth::Role;
use crate::server::id::Id;
use crate::server::run::start_at;
use crate::sim::{SimOptions, SimTenant};

/// Makes a repository; gives its id and its key.
async fn make(bench: &Bench, token: &str, account: &Id) -> (String, String) {
    let wanted = json!({"name": "Main", "destination": {"name": "here", "url": "server:"}});
    let made = bench.good(token, Method::POST, &format!("/accounts/{account}/repositories"), Some(wanted)).await;
    (id(&made["repository"]), made["key"].as_str().expect("a key").to_owned())
}

async fn keys(bench: &Bench, token: &str, base: &str) -> Vec<Value> {
    bench.good(token, Method::GET, &format!("{base}/keys"), None).await["items"].as_array().expect("a list").clone()
}

/// The slot of which something is true.
async fn slot(bench: &Bench, token: &str, base: &str, of: impl Fn(&Value) -> bool) -> Value {
    keys(bench, token, base).await.into_iter().find(|slot| of(slot)).expect("such a key")
}

fn checksum(key: &str) -> String {
    blake3::hash(key.as_bytes()).to_hex()[..8].to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_unlocked_changes_keys_without_bringing_one_until_its_key_is_removed() {
    let bench = Bench::quiet().await;
    let account = bench.account("Contoso").await;
    let token = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let (repository, first) = make(&bench, &token, &account).await;
    let base = format!("/accounts/{account}/repositories/{repository}");
    let add = async || bench.ask(&token, Method::POST, &format!("{base}/keys"), Some(json!({"label": "safe"}))).await;
    let remove = async |slot: &Value, body: Value| {
        let path = format!("{base}/keys/{}/removal", slot["id"].as_str().expect("an id"));
        bench.ask(&token, Method::POST, &path, Some(body)).await
    };
    assert_eq!(add().await.0, StatusCode::FORBIDDEN, "it is locked");
    let of_first = slot(&bench, &token, &base, |slot| slot["label"] == "owner").await;
    assert_eq!((&of_first["checksum"], &of_first["used_us"]), (&json!(checksum(&first)), &Value::Null));

    bench.good(&token, Method::POST, &format!("{base}/unlock"), Some(json!({"key": first}))).await;
    let (status, made) = add().await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let second = made["key"].as_str().expect("a key").to_owned();
    assert_eq!(made["checksum"], checksum(&second));
    let of_second = slot(&bench, &token, &base, |slot| slot["id"] == made["id"]).await;
    assert_eq!((&of_second["label"], &of_second["right"]), (&json!("safe"), &json!("owner")));
    assert!(slot(&bench, &token, &base, |s| s["id"] == of_first["id"]).await["used_us"].is_i64());

    let (status, problem) = remove(&of_first, json!({})).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
    assert!(problem["message"].as_str().expect("a message").contains("cannot remove itself"), "{problem}");
    assert_eq!(remove(&of_first, json!({"key": second})).await.0, StatusCode::NO_CONTENT);
    // What was open by the key that is gone is locked.
    assert_eq!(add().await.0, StatusCode::FORBIDDEN);
    let contents = format!("{base}/contents?path=");
    assert_eq!(bench.ask(&token, Method::GET, &contents, None).await.0, StatusCode::FORBIDDEN);
    let (status, problem) = remove(&of_second, json!({"key": second})).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
    assert!(problem["message"].as_str().expect("a message").contains("last owner's key"), "{problem}");
    assert_eq!(keys(&bench, &token, &base).await.len(), 2, "one of the owner, one of the server");

    let log = bench.good(&token, Method::GET, &format!("/accounts/{account}/audit"), None).await.to_string();
    for word in ["key.add", "key.remove", "repository.unlock"] {
        assert!(log.contains(word), "{word}: {log}");
    }
    assert!(!log.contains(&second) && !log.contains(&first));

    // Who brings a key that is no owner's changes nothing, nor who unlocked with one that was removed elsewhere.
    bench.good(&token, Method::POST, &format!("{base}/unlock"), Some(json!({"key": second}))).await;
    let third = Passphrase::new(add().await.1["key"].as_str().expect("a key")).expect("a key");
    let (server, id) = (bench.server(), Id::parse(&repository).expect("an id"));
    let row = server.db.repository(&account, &id).await.expect("a repository");
    let own = row.write_key(&server.vault).expect("the server's own");
    assert_eq!(remove(&of_second, json!({"key": own.as_str()})).await.0, StatusCode::FORBIDDEN);
    let repo = crate::server::store::open_with(server, &row, &third).await.expect("open");
    repo.remove_slot(&of_second["id"].as_str().expect("an id").parse().expect("an id")).await.expect("removed");
    assert_eq!(add().await.0, StatusCode::FORBIDDEN, "its key is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_server_holds_is_named_stays_and_locks_what_it_opened_when_it_is_taken_back() {
    let bench = Bench::quiet().await;
    let account = bench.account("Contoso").await;
    let token = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let restorer = bench.person(Some(&account), Role::Restore, "restorer@contoso.com").await;
    let (repository, first) = make(&bench, &token, &account).await;
    let base = format!("/accounts/{account}/repositories/{repository}");
    let (contents, held) = (format!("{base}/contents?path="), format!("{base}/held-key"));
    assert_eq!(bench.ask(&token, Method::PUT, &held, Some(json!({}))).await.0, StatusCode::FORBIDDEN, "it is locked");
    bench.good(&token, Method::POST, &format!("{base}/unlock"), Some(json!({"key": first}))).await;
    bench.good(&token, Method::PUT, &held, Some(json!({}))).await;
    let of_first = slot(&bench, &token, &base, |slot| slot["held_by_server"] == true).await;
    assert_eq!(of_first["label"], "owner");
    // Nobody has to unlock.
    bench.good(&restorer, Method::GET, &contents, None).await;

    let added = Some(json!({"key": first, "label": "safe"}));
    let second = bench.good(&token, Method::POST, &format!("{base}/keys"), added).await["key"].clone();
    let removal = format!("{base}/keys/{}/removal", of_first["id"].as_str().expect("an id"));
    // Also where it was handed over before it was noted which one it is.
    bench.server().db.keep_held_slot(&Id::parse(&repository).expect("an id"), None).await.expect("taken away");
    let (status, problem) = bench.ask(&token, Method::POST, &removal, Some(json!({"key": second}))).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
    assert!(problem["message"].as_str().expect("a message").contains("server holds"), "{problem}");

    bench.good(&token, Method::DELETE, &held, None).await;
    assert_eq!(bench.ask(&restorer, Method::GET, &contents, None).await.0, StatusCode::FORBIDDEN, "locked again");
    // Who brought a key has it open still.
    bench.good(&token, Method::GET, &contents, None).await;
    assert!(keys(&bench, &token, &base).await.iter().all(|slot| slot["held_by_server"] == false));
    bench.good(&token, Method::POST, &removal, Some(json!({"key": second}))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_servers_own_key_is_renewed_by_an_owner_and_runs_go_on() {
    let bench = Bench::new().await;
    let account = bench.account("Contoso").await;
    let token = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let operator = bench.person(Some(&account), Role::Operator, "operator@contoso.com").await;
    let sim = SimTenant::start(SimOptions::tiny()).await.expect("a tenant");
    let (repository, set, key) = set_up(&bench, &token, &account, &sim, json!([])).await;
    let base = format!("/accounts/{account}/repositories/{repository}");
    let run = async || {
        let asked = bench.good(&token, Method::POST, &format!("/accounts/{account}/sets/{set}/runs"), None).await;
        let ended = bench.ended(&token, &account, asked["job"].as_str().expect("a job")).await;
        assert!(matches!(ended["state"].as_str(), Some("done" | "gaps")), "{ended}");
    };
    run().await;
    let old = slot(&bench, &token, &base, |slot| slot["of_server"] == true).await;
    let before = bench.server().db.repository(&account, &Id::parse(&repository).expect("an id")).await.expect("a row");
    let renew =
        async |who: &str, body: Value| bench.ask(who, Method::POST, &format!("{base}/server-key"), Some(body)).await.0;
    assert_eq!(renew(&operator, json!({"key": key})).await, StatusCode::FORBIDDEN);
    assert_eq!(renew(&token, json!({})).await, StatusCode::FORBIDDEN, "it is locked");
    assert_eq!(renew(&token, json!({"key": "x".repeat(44)})).await, StatusCode::FORBIDDEN);
    assert_eq!(slot(&bench, &token, &base, |slot| slot["of_server"] == true).await["id"], old["id"]);

    assert_eq!(renew(&token, json!({"key": key})).await, StatusCode::NO_CONTENT);
    let new = slot(&bench, &token, &base, |slot| slot["of_server"] == true).await;
    assert!(new["id"] != old["id"] && new["right"] == "write-only", "{new}");
    let all = keys(&bench, &token, &base).await;
    assert!(all.len() == 2 && all.iter().all(|slot| slot["id"] != old["id"]), "the old one is gone: {all:?}");
    // Whoever read the row before the change opens it all the same.
    bench.server().stores.forget(&before.id);
    bench.server().stores.open(bench.server(), &before).await.expect("opened by the new key");
    run().await;
    let log = bench.good(&token, Method::GET, &format!("/accounts/{account}/audit"), None).await.to_string();
    assert!(log.contains("key.renew-server"), "{log}");
    bench.running.stop().await;
}

/// As a form sends it.
fn encode(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// The key that a page shows.
fn shown(page: &str) -> String {
    let (_, rest) = page.split_once("<code id=\"key\">").unwrap_or_else(|| panic!("no key: {page}"));
    rest.split('<').next().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_keys_lists_adds_replaces_removes_renews_and_hands_over() {
    let bench = Bench::quiet().await;
    let account = bench.account("Contoso").await;
    let token = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let cookie = bench.sign_in("owner@contoso.com", PASSWORD).await.expect("signed in");
    let (_, page) = bench.page(&cookie, &format!("/a/{account}/keys")).await;
    assert!(page.contains("There is no key yet"), "{page}");
    let (repository, first) = make(&bench, &token, &account).await;
    let (base, here) =
        (format!("/accounts/{account}/repositories/{repository}"), format!("/a/{account}/keys/{repository}"));
    let send = async |path: &str, body: String| {
        let answer = bench.send_form(&format!("{here}/{path}"), Some(&cookie), body).await;
        (answer.status(), answer.text().await.expect("text"))
    };
    let by_first = format!("key={}", encode(&first));
    let slots = async || keys(&bench, &token, &base).await;

    // Another key, typed back wrongly first.
    assert_eq!(send("new", "label=safe&key=nonsense".into()).await.0, StatusCode::FORBIDDEN);
    let (status, page) = send("new", format!("label=safe&{by_first}")).await;
    assert_eq!(status, StatusCode::OK, "{page}");
    let second = shown(&page);
    // It is one beside others, and younger than the repository.
    let old = format!("UPDATE repositories SET created_us = 1 WHERE id = '{repository}'");
    sqlx::query(sqlx::AssertSqlSafe(old)).execute(bench.server().db.pool()).await.expect("written");
    for wrong in ["Without it nobody", "1970-01-01"] {
        assert!(!page.contains(wrong), "{wrong}: {page}");
    }
    assert!(page.contains("Whoever has it can read everything") && page.contains("Key made"), "{page}");
    let folder = bench.folder.path().join(format!("server/storage/{account}/{repository}"));
    assert!(page.contains(&format!("<code>{}</code>", folder.display())), "the whole path of where it lies: {page}");
    let typed = |key: &str, end: &str, old: &str| format!("key={}&last_four={}&old={old}", encode(key), encode(end));
    let (status, page) = send("confirmation", typed(&second, "0000", "")).await;
    assert!(status == StatusCode::FORBIDDEN && shown(&page) == second, "it is not lost for that: {status}");
    assert!(page.contains("Key made") && !page.contains("1970-01-01"), "the key's time, not the repository's: {page}");
    assert_eq!(send("confirmation", typed(&second, &second[40..], "")).await.0, StatusCode::SEE_OTHER);
    let (_, page) = bench.page(&cookie, &format!("/a/{account}/keys")).await;
    for word in ["safe (", "this server", "its owner", &checksum(&second), "only owners' keys read contents"] {
        assert!(page.contains(word), "{word}: {page}");
    }

    // The first is replaced: it goes when the end of the new one is typed back, not before.
    let old =
        slot(&bench, &token, &base, |slot| slot["label"] == "owner").await["id"].as_str().expect("an id").to_owned();
    let (_, page) = send("new", format!("old={old}&{by_first}")).await;
    let third = shown(&page);
    assert!(slots().await.iter().any(|slot| slot["id"] == old.as_str()));
    assert_eq!(send("confirmation", typed(&third, &third[40..], &old)).await.0, StatusCode::SEE_OTHER);
    assert!(slots().await.iter().all(|slot| slot["id"] != old.as_str()));

    // The one for the safe is removed, by who unlocked.
    bench
        .send_form(&format!("/a/{account}/look/{repository}/unlock"), Some(&cookie), format!("key={}", encode(&third)))
        .await;
    let safe =
        slot(&bench, &token, &base, |slot| slot["label"] == "safe").await["id"].as_str().expect("an id").to_owned();
    assert_eq!(send("removal", format!("slot={safe}")).await.0, StatusCode::SEE_OTHER);
    let (_, page) = bench.page(&cookie, &here).await;
    assert!(page.contains("You have unlocked it") && page.contains("There is none that could go"), "{page}");

    // The server's own; then the server holds the owner's, when the consequence was read, and gives it back.
    let own = slot(&bench, &token, &base, |slot| slot["of_server"] == true).await["id"].clone();
    assert_eq!(send("server-key", String::new()).await.0, StatusCode::SEE_OTHER);
    assert!(slot(&bench, &token, &base, |slot| slot["of_server"] == true).await["id"] != own);
    assert_eq!(send("held-key", String::new()).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(send("held-key", "understood=yes".into()).await.0, StatusCode::SEE_OTHER);
    let (_, page) = bench.page(&cookie, &here).await;
    assert!(page.contains("Take the key back") && page.contains("its owner, and this server"), "{page}");
    // A successor of the one that it holds is held in its place.
    let old = slot(&bench, &token, &base, |slot| slot["held_by_server"] == true).await["id"].clone();
    let (status, page) = send("new", format!("old={}", old.as_str().expect("an id"))).await;
    assert_eq!(status, StatusCode::OK, "{page}");
    let fourth = shown(&page);
    let proof = typed(&fourth, &fourth[40..], old.as_str().expect("an id"));
    assert_eq!(send("confirmation", proof).await.0, StatusCode::SEE_OTHER);
    let held = slot(&bench, &token, &base, |slot| slot["held_by_server"] == true).await;
    assert!(held["checksum"] == checksum(&fourth) && slots().await.iter().all(|slot| slot["id"] != old), "{held}");
    assert_eq!(send("held-key/removal", String::new()).await.0, StatusCode::SEE_OTHER);
    assert_eq!(bench.good(&token, Method::GET, &base, None).await["holds_owner_key"], false);

    // What the server keeps is dropped with the repository's entry.
    let removal = format!("/a/{account}/storage/{repository}/removal");
    assert_eq!(bench.send_form(&removal, Some(&cookie), String::new()).await.status(), StatusCode::SEE_OTHER);
    assert_eq!(bench.ask(&token, Method::GET, &base, None).await.0, StatusCode::NOT_FOUND);
}

/// The entries of the log with an action: who did it, and what is said of it.
async fn noted(bench: &Bench, token: &str, account: &Id, action: &str) -> Vec<(String, Value)> {
    let log = bench.good(token, Method::GET, &format!("/accounts/{account}/audit?most=1000"), None).await;
    let all = log["items"].as_array().expect("a list").iter().filter(|entry| entry["action"] == action);
    all.map(|entry| (entry["actor"].as_str().expect("a name").to_owned(), entry["detail"].clone())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_by_a_key_that_the_server_holds_is_noted() {
    let place = Place::new().await;
    let (bench, account) = (&place.bench, &place.account);
    place.unlock(&place.owner).await;
    bench.good(&place.owner, Method::PUT, &place.of_repository("held-key"), Some(json!({}))).await;
    let unlocks = async || noted(bench, &place.owner, account, "repository.unlock").await;
    assert_eq!(unlocks().await.len(), 1, "the owner's own");
    for _ in 0..2 {
        bench.good(&place.restorer, Method::GET, &place.of_repository("contents?path="), None).await;
    }
    let all = unlocks().await;
    assert_eq!(all.len(), 2, "once for as long as it is open: {all:?}");
    assert_eq!(all[0], ("restorer@contoso.com".to_owned(), json!({"by": "the key that the server holds"})));

    assert!(noted(bench, &place.owner, account, "key.use").await.is_empty());
    let wanted = json!({"snapshot": "latest", "paths": ["users/alice@contoso.com/Mail"], "folder": "Back"});
    let planned = place.planned(wanted).await;
    let used = noted(bench, &place.owner, account, "key.use").await;
    assert_eq!(used.len(), 1, "{used:?}");
    assert_eq!((&*used[0].0, &used[0].1["job"]), ("restorer@contoso.com", &planned["plan_job"]), "{planned}");
}

/// Another process of the same server.
async fn beside(bench: &Bench) -> Bench {
    let running = start_at(bench.server().options.clone(), None).await.expect("a part of the server");
    Bench { running, folder: tempfile::tempdir().expect("a folder"), client: bench.client.clone() }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_process_changes_of_keys_holds_in_the_others() {
    let bench = Bench::quiet().await;
    let account = bench.account("Contoso").await;
    let token = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let (repository, first) = make(&bench, &token, &account).await;
    let base = format!("/accounts/{account}/repositories/{repository}");
    let other = beside(&bench).await;
    let contents = format!("{base}/contents?path=");
    let added = Some(json!({"key": first, "label": "safe"}));
    let second = bench.good(&token, Method::POST, &format!("{base}/keys"), added).await;
    let of_first = slot(&bench, &token, &base, |slot| slot["label"] == "owner").await;

    // The first key goes on one; what is open by it on the other is locked, what is open by the second is not.
    let colleague = bench.person(Some(&account), Role::Owner, "colleague@contoso.com").await;
    for (who, key) in [(&token, json!(first)), (&colleague, second["key"].clone())] {
        other.good(who, Method::POST, &format!("{base}/unlock"), Some(json!({"key": key}))).await;
        other.good(who, Method::GET, &contents, None).await;
    }
    let removal = format!("{base}/keys/{}/removal", of_first["id"].as_str().expect("an id"));
    bench.good(&token, Method::POST, &removal, Some(json!({"key": second["key"]}))).await;
    assert_eq!(other.ask(&token, Method::GET, &contents, None).await.0, StatusCode::FORBIDDEN);
    other.good(&colleague, Method::GET, &contents, None).await;

    // The server's own is renewed on both, one after the other: each time the one before goes, and which it is all know. Both
    // have the repository open while that is done.
    let id = Id::parse(&repository).expect("an id");
    let row = bench.server().db.repository(&account, &id).await.expect("a row");
    let open = (
        bench.server().stores.open(bench.server(), &row).await.expect("opened"),
        other.server().stores.open(other.server(), &row).await.expect("opened"),
    );
    let proof = || Some(json!({"key": second["key"]}));
    for by in [&bench, &other, &bench] {
        by.good(&token, Method::POST, &format!("{base}/server-key"), proof()).await;
        for seen in [&bench, &other] {
            let all = keys(seen, &token, &base).await;
            let own: Vec<&Value> = all.iter().filter(|slot| slot["of_server"] == true).collect();
            assert!(all.len() == 2 && own.len() == 1 && own[0]["right"] == "write-only", "{all:?}");
            let removal = format!("{base}/keys/{}/removal", own[0]["id"].as_str().expect("an id"));
            let (status, problem) = seen.ask(&token, Method::POST, &removal, proof()).await;
            assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
        }
    }
    drop(open);
    let row = bench.server().db.repository(&account, &id).await.expect("a row");
    other.server().stores.open(other.server(), &row).await.expect("the newest opens it");
    // Several at once leave one as well.
    let renewals = [&bench, &other, &bench, &other].map(|by| {
        let path = format!("{base}/server-key");
        let (token, proof) = (&token, proof());
        async move { by.ask(token, Method::POST, &path, proof).await.0 }
    });
    let answers = futures::future::join_all(renewals).await;
    assert!(answers.iter().all(StatusCode::is_success), "{answers:?}");
    assert_eq!(keys(&bench, &token, &base).await.len(), 2);
    other.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_owners_who_remove_each_others_key_at_once_one_keeps_theirs() {
    let bench = Bench::quiet().await;
    let account = bench.account("Contoso").await;
    let token = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let (repository, mut first) = make(&bench, &token, &account).await;
    let base = format!("/accounts/{account}/repositories/{repository}");
    let other = beside(&bench).await;
    for _ in 0..3 {
        let of_first = slot(&bench, &token, &base, |slot| slot["right"] == "owner").await;
        let added = Some(json!({"key": first, "label": "safe"}));
        let second = bench.good(&token, Method::POST, &format!("{base}/keys"), added).await;
        let remove = async |by: &Bench, slot: &Value, key: &str| {
            let path = format!("{base}/keys/{}/removal", slot.as_str().expect("an id"));
            by.ask(&token, Method::POST, &path, Some(json!({"key": key}))).await.0
        };
        let new = second["key"].as_str().expect("a key").to_owned();
        let (one, two) = tokio::join!(remove(&bench, &of_first["id"], &new), remove(&other, &second["id"], &first));
        let done = [one, two].iter().filter(|status| **status == StatusCode::NO_CONTENT).count();
        assert_eq!(done, 1, "{one} {two}");
        let left = keys(&bench, &token, &base).await;
        assert_eq!(left.iter().filter(|slot| slot["right"] == "owner").count(), 1, "{left:?}");
        if one == StatusCode::NO_CONTENT {
            first = new;
        }
    }
    // Who takes the keys into hand and dies holds nobody up for long.
    let (db, id) = (&bench.server().db, Id::parse(&repository).expect("an id"));
    assert!(db.take_keys(&id, 1_000, 500).await.expect("asked"));
    assert!(!db.take_keys(&id, 1_499, 500).await.expect("asked"));
    assert!(db.take_keys(&id, 1_500, 500).await.expect("asked"));
    db.release_keys(&id, 1_000, 500).await.expect("not this one's any more");
    assert!(!db.take_keys(&id, 1_600, 500).await.expect("asked"));
    assert!(db.take_keys(&id, 100, 500).await.expect("asked"), "a clock that was ahead");
    // Who finds them in another's hand waits.
    let (now_us, longest_us) = (bench.server().now_us(), 60_000_000);
    assert!(db.take_keys(&id, now_us, longest_us).await.expect("asked"));
    let path = format!("{base}/server-key");
    let renew = async || other.ask(&token, Method::POST, &path, Some(json!({"key": first}))).await.0;
    tokio::time::timeout(std::time::Duration::from_secs(5), renew()).await.expect_err("it waits");
    db.release_keys(&id, now_us, longest_us).await.expect("let go of");
    assert_eq!(renew().await, StatusCode::NO_CONTENT);
    other.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_keys_is_read_by_all_and_changed_by_owners() {
    let bench = Bench::quiet().await;
    let account = bench.account("Contoso").await;
    let token = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let (repository, key) = make(&bench, &token, &account).await;
    let here = format!("/a/{account}/keys/{repository}");
    for role in [Role::Operator, Role::Restore, Role::Auditor] {
        let login = format!("{role}@contoso.com");
        bench.person(Some(&account), role, &login).await;
        let cookie = bench.sign_in(&login, PASSWORD).await.expect("signed in");
        let (status, page) = bench.page(&cookie, &format!("/a/{account}/keys")).await;
        assert!(status.is_success() && page.contains("this server") && !page.contains(&here), "{role}: {page}");
        assert_eq!(bench.page(&cookie, &here).await.0, StatusCode::FORBIDDEN, "{role}");
        for path in ["new", "confirmation", "removal", "server-key", "held-key", "held-key/removal"] {
            let body = format!("key={}&label=x&understood=yes", encode(&key));
            let answer = bench.send_form(&format!("{here}/{path}"), Some(&cookie), body).await;
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{role}: {path}");
        }
    }
    let base = format!("/accounts/{account}/repositories/{repository}");
    assert_eq!(keys(&bench, &token, &base).await.len(), 2);
}
