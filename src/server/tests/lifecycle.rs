//! A backup set from the first connection to a snapshot, by the API; and what the server can and cannot read of it.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::json;

use super::{Bench, PASSWORD, set_up};
use crate::crypto::KeyRight;
use crate::server::auth::Role;
use crate::server::db::{Entitlements, Protected};
use crate::server::id::Id;
use crate::sim::{SimOptions, SimTenant};

#[tokio::test(flavor = "multi_thread")]
async fn a_set_made_by_the_api_runs_and_its_snapshots_can_be_seen() {
    let bench = Bench::new().await;
    let account = bench.account("Contoso").await;
    let token = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let sim = SimTenant::start(SimOptions::default()).await.expect("a tenant");
    let (repository, set, key) = set_up(&bench, &token, &account, &sim, json!([])).await;

    let path = format!("/accounts/{account}/tenants");
    let tenant = super::id(&bench.good(&token, Method::GET, &path, None).await["items"][0]);
    let tested = bench.good(&token, Method::POST, &format!("{path}/{tenant}/test"), None).await;
    assert_eq!(tested["missing"], 0, "{tested}");

    let asked = bench.good(&token, Method::POST, &format!("/accounts/{account}/sets/{set}/runs"), None).await;
    let job = asked["job"].as_str().expect("a job").to_owned();
    let ended = bench.ended(&token, &account, &job).await;
    assert!(matches!(ended["state"].as_str(), Some("done" | "gaps")), "{ended}");
    assert!(ended["outcome"]["totals"]["items"].as_u64().expect("a count") > 10, "{ended}");

    let runs = bench.good(&token, Method::GET, &format!("/accounts/{account}/runs?set={set}"), None).await;
    assert_eq!(runs["items"].as_array().expect("a list").len(), 1, "{runs}");
    let path = format!("/accounts/{account}/repositories/{repository}/snapshots");
    let snapshots = bench.good(&token, Method::GET, &path, None).await;
    let snapshot = super::id(&snapshots["items"][0]);
    let coverage = bench.good(&token, Method::GET, &format!("{path}/{snapshot}/coverage"), None).await;
    let states: Vec<&str> =
        coverage["items"].as_array().expect("a list").iter().filter_map(|entry| entry["state"].as_str()).collect();
    assert!(states.contains(&"protected"), "{coverage}");

    // What follows upon a run: retention, and a prune.
    let mut kinds = Vec::new();
    while kinds.len() < 3 {
        let jobs = bench.good(&token, Method::GET, &format!("/accounts/{account}/jobs"), None).await;
        let ended = |job: &&serde_json::Value| job["state"] == "done" || job["state"] == "gaps";
        kinds = jobs["items"]
            .as_array()
            .expect("a list")
            .iter()
            .filter(ended)
            .filter_map(|j| j["kind"].as_str().map(str::to_owned))
            .collect();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    kinds.sort();
    assert_eq!(kinds, ["backup", "prune", "retention"]);

    let cookie = bench.sign_in("owner@contoso.com", PASSWORD).await.expect("signed in");
    for (path, word) in [
        (String::new(), if ended["outcome"]["totals"]["gaps"] == 0 { "All is well" } else { "Not all could be read" }),
        ("/sets".to_owned(), "everyone"),
        (format!("/sets/{set}"), "Back up now"),
        (format!("/sets/{set}/change/when"), "Save"),
        (format!("/jobs/{job}"), "What came of it"),
        ("/coverage".to_owned(), "mail"),
        ("/tenants".to_owned(), "all granted"),
        (format!("/tenants/{tenant}"), "everything that is needed is granted"),
        ("/storage".to_owned(), "only owners' keys read contents"),
        (format!("/storage/{repository}"), "1 snapshot"),
        ("/people".to_owned(), "owner@contoso.com"),
        ("/activity".to_owned(), "set.add"),
    ] {
        let (status, page) = bench.page(&cookie, &format!("/a/{account}{path}")).await;
        assert!(status.is_success() && page.contains(word), "{path}: {status}\n{page}");
    }
    within_limits(&bench, &token, &account, &set).await;
    look_inside(&bench, &token, &cookie, &account, &repository, &key).await;
    bench.running.stop().await;
}

/// Over a limit nothing is added, neither as a set nor to one; runs go on.
async fn within_limits(bench: &Bench, token: &str, account: &Id, set: &str) {
    let admin = bench.person(None, Role::Administrator, "admin@example.com").await;
    let path = format!("/accounts/{account}/sets");
    let mut again = bench.good(token, Method::GET, &format!("{path}/{set}"), None).await;
    let wanted = json!({"name": "more", "tenant": again["tenant"].take(), "repository": again["repository"].take()});
    let limit = |mailboxes: u32| {
        let body = json!({"name": "Contoso", "limits": {"mailboxes": mailboxes}});
        let (bench, admin, account) = (&bench, &admin, account.clone());
        async move { bench.good(admin, Method::PUT, &format!("/accounts/{account}"), Some(body)).await }
    };
    limit(1).await;
    let (status, problem) = bench.ask(token, Method::POST, &path, Some(wanted.clone())).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{problem}");
    assert!(problem["message"].as_str().expect("a message").contains("mailboxes"), "{problem}");
    for (choices, allowed) in [
        (json!({"workloads": ["mail", "onedrive"], "leavers": "freeze"}), true),
        (json!({"workloads": ["mail"]}), true),
        (json!({"workloads": ["mail", "onedrive"]}), false),
        (json!({"workloads": ["mail"], "exclude": ["nobody@contoso.com"]}), true),
        (json!({"workloads": ["mail"]}), false),
        (json!({}), false),
    ] {
        let mut changed = wanted.clone();
        (changed["name"], changed["choices"]) = (json!("everyone"), choices);
        let (status, problem) = bench.ask(token, Method::PUT, &format!("{path}/{set}"), Some(changed.clone())).await;
        let expected = if allowed { StatusCode::OK } else { StatusCode::FORBIDDEN };
        assert_eq!(status, expected, "{changed}: {problem}");
    }
    let asked = bench.good(token, Method::POST, &format!("{path}/{set}/runs"), None).await;
    let ended = bench.ended(token, account, asked["job"].as_str().expect("a job")).await;
    assert!(matches!(ended["state"].as_str(), Some("done" | "gaps")), "{ended}");
    limit(1_000).await;
    let made = bench.good(token, Method::POST, &path, Some(wanted)).await;
    bench.good(token, Method::DELETE, &format!("{path}/{}", super::id(&made)), None).await;
}

/// Contents open with the owner's key, for who brought it, and for nobody else.
async fn look_inside(bench: &Bench, token: &str, cookie: &str, account: &Id, repository: &str, key: &str) {
    let base = format!("/accounts/{account}/repositories/{repository}");
    let at = |path: &str| {
        format!("{base}/contents?path={}", url::form_urlencoded::byte_serialize(path.as_bytes()).collect::<String>())
    };
    assert_eq!(bench.ask(token, Method::GET, &at(""), None).await.0, StatusCode::FORBIDDEN, "locked");
    let wrong = json!({"key": "x".repeat(44)});
    assert_eq!(bench.ask(token, Method::POST, &format!("{base}/unlock"), Some(wrong)).await.0, StatusCode::FORBIDDEN);
    bench.good(token, Method::POST, &format!("{base}/unlock"), Some(json!({"key": key}))).await;
    // Down the first folders, to a mail.
    let mut path = "sets/everyone/latest/users".to_owned();
    let mut steps = 0;
    while !path.ends_with(".eml") {
        let listed = bench.good(token, Method::GET, &at(&path), None).await;
        let items = listed["items"].as_array().expect("a list");
        let mail = |item: &&serde_json::Value| item["name"].as_str().is_some_and(|name| name.ends_with(".eml"));
        let wanted = |item: &&serde_json::Value| matches!(item["name"].as_str(), Some("Mail" | "Inbox"));
        let next =
            items.iter().find(mail).or_else(|| items.iter().find(wanted)).or_else(|| items.first()).expect("something");
        path = format!("{path}/{}", next["name"].as_str().expect("a name"));
        steps += 1;
        assert!(steps < 10, "{path}");
    }
    let query: String = url::form_urlencoded::byte_serialize(path.as_bytes()).collect();
    let answer = bench
        .client
        .get(bench.url(&format!("/api/v1{base}/file?path={query}")))
        .bearer_auth(token)
        .send()
        .await
        .expect("an answer");
    let text = answer.text().await.expect("text");
    assert!(text.contains("Subject:"), "{text}");

    let pages = format!("/a/{account}/look/{repository}");
    let (_, page) = bench.page(cookie, &pages).await;
    assert!(page.contains("Unlock 'Main'"), "what the token opened is closed to the session: {page}");
    let body = format!("key={}", url::form_urlencoded::byte_serialize(key.as_bytes()).collect::<String>());
    assert_eq!(
        bench.send_form(&format!("{pages}/unlock"), Some(cookie), "key=wrong".into()).await.status(),
        StatusCode::FORBIDDEN
    );
    assert_eq!(bench.send_form(&format!("{pages}/unlock"), Some(cookie), body).await.status(), StatusCode::SEE_OTHER);
    let (status, page) = bench.page(cookie, &format!("{pages}?path={query}")).await;
    assert!(status.is_success() && page.contains("<iframe") && page.contains("sandbox"), "{page}");
    let (status, text) = bench.page(cookie, &format!("{pages}/mail?path={query}")).await;
    assert!(status.is_success() && text.contains("<body>"), "{text}");
    bench.send_form(&format!("{pages}/lock"), Some(cookie), String::new()).await;
    assert!(bench.page(cookie, &pages).await.1.contains("Unlock 'Main'"));
    let log = bench.good(token, Method::GET, &format!("/accounts/{account}/audit"), None).await.to_string();
    for word in ["repository.unlock", "repository.unlock-refused", "item.download", "repository.lock"] {
        assert!(log.contains(word), "{word}");
    }
    assert!(!log.contains(key));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_keeps_no_key_that_reads_contents_and_shows_none() {
    let bench = Bench::quiet().await;
    let account = bench.account("Contoso").await;
    let token = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let made = bench
        .good(
            &token,
            Method::POST,
            &format!("/accounts/{account}/repositories"),
            Some(json!({"name": "Main", "destination": {"name": "here", "url": "server:"}})),
        )
        .await;
    let key = made["key"].as_str().expect("a key").to_owned();
    assert_eq!(key.len(), 44);
    let repository = Id::parse(&super::id(&made["repository"])).expect("an id");
    let row = bench.server().db.repository(&account, &repository).await.expect("there");
    let held = bench.server().stores.open(bench.server(), &row).await.expect("it opens");
    assert_eq!(held.right(), KeyRight::WriteOnly);

    // Neither key stands in any answer, page or file of the server.
    let write_key = row.write_key(&bench.server().vault).expect("it opens");
    let cookie = bench.sign_in("owner@contoso.com", PASSWORD).await.expect("signed in");
    let mut shown = String::new();
    for path in ["", "/storage", &format!("/storage/{repository}"), "/activity"] {
        shown += &bench.page(&cookie, &format!("/a/{account}{path}")).await.1;
    }
    for path in [
        "repositories",
        &format!("repositories/{repository}"),
        &format!("repositories/{repository}/keys"),
        "audit",
        "jobs",
    ] {
        shown += &bench.good(&token, Method::GET, &format!("/accounts/{account}/{path}"), None).await.to_string();
    }
    if let Ok(file) = std::fs::read(bench.folder.path().join("server/server.db")) {
        shown += &String::from_utf8_lossy(&file);
    }
    if let Ok(log) = std::fs::read(bench.folder.path().join("server/server.db-wal")) {
        shown += &String::from_utf8_lossy(&log);
    }
    assert!(!shown.contains(&key) && !shown.contains(write_key.as_str()));

    // A set cannot be made before the key was typed back, and a wrong end is refused.
    let path = format!("/accounts/{account}/repositories/{repository}/confirmation");
    let wrong = json!({"key": key, "last_four": "0000"});
    let (status, _) = bench.ask(&token, Method::POST, &path, Some(wrong)).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_come_and_go_and_the_servers_own_stays() {
    let bench = Bench::quiet().await;
    let account = bench.account("Contoso").await;
    let token = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let wanted = json!({
        "name": "Main", "destination": {"name": "here", "url": "server:"}, "passphrase": "a passphrase of mine",
    });
    let made = bench.good(&token, Method::POST, &format!("/accounts/{account}/repositories"), Some(wanted)).await;
    assert_eq!(made["key"], json!(null), "a passphrase that was chosen is not shown");
    let base = format!("/accounts/{account}/repositories/{}", super::id(&made["repository"]));
    let mine = "a passphrase of mine";
    let added =
        bench.good(&token, Method::POST, &format!("{base}/keys"), Some(json!({"key": mine, "label": "second"}))).await;
    let second = added["key"].as_str().expect("a key").to_owned();
    let keys = bench.good(&token, Method::GET, &format!("{base}/keys"), None).await;
    let slot = |find: &dyn Fn(&serde_json::Value) -> bool| {
        let all = keys["items"].as_array().expect("a list");
        all.iter().find(|slot| find(slot)).expect("there")["id"].as_str().expect("an id").to_owned()
    };
    let (own, first) = (slot(&|s| s["of_server"] == true), slot(&|s| s["label"] == "owner"));
    let remove = |slot: String, key: String| {
        let path = format!("{base}/keys/{slot}/removal");
        let (bench, token) = (&bench, &token);
        async move { bench.ask(token, Method::POST, &path, Some(json!({"key": key}))).await.0 }
    };
    assert_eq!(remove(own, second.clone()).await, StatusCode::UNPROCESSABLE_ENTITY, "the server's own");
    assert_eq!(remove(first.clone(), "not the key at all".into()).await, StatusCode::FORBIDDEN);
    assert_eq!(remove(first, second.clone()).await, StatusCode::NO_CONTENT);
    assert_eq!(remove("0".repeat(64), second.clone()).await, StatusCode::NOT_FOUND);
    let held = json!({"key": mine});
    assert_eq!(
        bench.ask(&token, Method::PUT, &format!("{base}/held-key"), Some(held)).await.0,
        StatusCode::FORBIDDEN,
        "it is gone"
    );
    bench.good(&token, Method::PUT, &format!("{base}/held-key"), Some(json!({"key": second}))).await;
    assert_eq!(bench.good(&token, Method::GET, &base, None).await["holds_owner_key"], true);
    bench.good(&token, Method::DELETE, &format!("{base}/held-key"), None).await;
    assert_eq!(bench.good(&token, Method::GET, &base, None).await["holds_owner_key"], false);
    // Whoever tries keys is seen: here two that did not fit.
    let log = bench.good(&token, Method::GET, &format!("/accounts/{account}/audit"), None).await.to_string();
    assert_eq!(log.matches("key.refused").count(), 2, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_do_not_reach_into_the_servers_machine_or_network() {
    let bench = Bench::with(
        |options| {
            options.role = crate::server::ProcessRole::Web;
            options.allow_private_targets = false;
        },
        None,
    )
    .await;
    let account = bench.account("Contoso").await;
    let token = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    for url in [
        "/etc",
        "fs:/etc",
        "file:///etc",
        "webdav+http://127.0.0.1/x",
        "webdav://10.0.0.1/x",
        "sftp://root@192.168.0.1/x",
        "s3://bucket/x?endpoint=http://169.254.169.254&region=x",
        "s3://bucket/x?instance_metadata=true",
        "gcs://bucket/x?key_file=/etc/passwd",
        "memory:",
        "http://example.com",
        "gopher://x",
    ] {
        let wanted = json!({"name": "x", "destination": {"name": "x", "url": url}});
        let (status, answer) =
            bench.ask(&token, Method::POST, &format!("/accounts/{account}/repositories"), Some(wanted)).await;
        assert!(matches!(status.as_u16(), 403 | 422), "{url}: {status} {answer}");
    }
    for url in ["http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1", "ftp://example.com", "not an address"] {
        let wanted = json!({"name": "x", "secret": "x", "definition": {
            "tenant_id": "x", "client_id": "x", "sign_in": "secret", "graph_url": url}});
        let (status, answer) =
            bench.ask(&token, Method::POST, &format!("/accounts/{account}/tenants"), Some(wanted)).await;
        assert!(matches!(status.as_u16(), 403 | 422), "{url}: {status} {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lends_the_servers_machine_is_named_by_administrators_and_a_folder_whole() {
    let bench = Bench::quiet().await;
    let account = bench.account("Contoso").await;
    let owner = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let admin = bench.person(None, Role::Administrator, "admin@example.com").await;
    let path = format!("/accounts/{account}/repositories");
    let wanted = |url: &str| Some(json!({"name": "Main", "destination": {"name": "there", "url": url}}));
    for url in ["0", "backup", "../backup", "fs:backup", "file:backup", "./x"] {
        let (status, answer) = bench.ask(&admin, Method::POST, &path, wanted(url)).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{url}: {answer}");
    }
    let whole = bench.folder.path().join("elsewhere").to_string_lossy().into_owned();
    assert_eq!(bench.ask(&owner, Method::POST, &path, wanted(&whole)).await.0, StatusCode::FORBIDDEN);
    // Wherever it leads: ssh takes the keys that the server's user has.
    let far = "sftp://backup@nas.example.com/any/path";
    let (status, answer) = bench.ask(&owner, Method::POST, &path, wanted(far)).await;
    assert!(status == StatusCode::FORBIDDEN && answer.to_string().contains("may use sftp:"), "{status} {answer}");
    bench.good(&admin, Method::POST, &path, wanted(&whole)).await;
    assert!(bench.folder.path().join("elsewhere/config").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_read_counts_on_when_a_change_is_known_to_mean_less() {
    let bench = Bench::quiet().await;
    let account = bench.account("Contoso").await;
    let token = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let sim = SimTenant::start(SimOptions { users: 8, ..SimOptions::tiny() }).await.expect("a tenant");
    let (repository, set, _) = set_up(&bench, &token, &account, &sim, json!([])).await;
    let tenants = bench.good(&token, Method::GET, &format!("/accounts/{account}/tenants"), None).await;
    let tenant = super::id(&tenants["items"][0]);
    let users = format!("/accounts/{account}/tenants/{tenant}/contents?kind=users");
    bench.good(&token, Method::GET, &users, None).await;
    // Of the mailboxes that a run read, some belong to nobody who has a licence.
    let (db, read) = (&bench.server().db, Protected { mailboxes: 19, drives: 0, sites: 0 });
    db.keep_protected(&Id::parse(&set).expect("an id"), read).await.expect("kept");
    let limits = Entitlements { mailboxes: Some(30), ..Default::default() };
    db.change_account(&account, "Contoso", limits).await.expect("changed");
    let wider = json!({
        "name": "everyone", "tenant": tenant, "repository": repository,
        "choices": {"workloads": ["mail", "onedrive", "calendar"]},
    });
    bench.good(&token, Method::PUT, &format!("/accounts/{account}/sets/{set}"), Some(wider)).await;
    let used = bench.good(&token, Method::GET, &format!("/accounts/{account}"), None).await["used"].clone();
    assert_eq!(used["mailboxes"], 19, "{used}");
    assert!(used["drives"].as_i64() > Some(0), "what is meant counts too: {used}");
}
