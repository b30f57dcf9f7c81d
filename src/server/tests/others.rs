//! What is another account's, asked for through the door of one's own; and every page as every role.

use std::collections::BTreeSet;

use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};

use super::{Bench, PASSWORD, id, set_up};
use crate::ops::restore;
use crate::server::auth::Role;
use crate::server::db::{Asking, JobKind, NewJob, NewRestore, SignInKind, SignInRow};
use crate::server::id::Id;
use crate::server::web::{Access, Door, routes};
use crate::sim::{SimOptions, SimTenant};

/// Names in paths that stand for nothing that others could have, and why. Each other name needs a thing of another's to be
/// tried with.
const NOBODYS: [(&str, &str); 5] = [
    ("{account}", "`access` tries it"),
    ("{step}", "a word: a step of the wizard, or a tab"),
    ("{slot}", "looked for in the repository before it alone"),
    ("{snapshot}", "looked for in the repository before it alone"),
    ("{*path}", "a file in the repository before it, by the token of a client"),
];

/// One of each kind of thing in an account, by the name that paths have for it.
async fn one_of_each(bench: &Bench, token: &str, account: &Id, sim: &crate::sim::SimHandle) -> Vec<(String, String)> {
    let (repository, set, _) = set_up(bench, token, account, sim, json!([])).await;
    let base = format!("/accounts/{account}");
    let post =
        async |path: &str, body: Option<Value>| bench.good(token, Method::POST, &format!("{base}/{path}"), body).await;
    let client = post("clients", Some(json!({"name": "backup-pc"}))).await["client"].clone();
    let receiver =
        json!({"name": "w", "url": "http://127.0.0.1:9/", "definition": {"kind": "webhook", "warnings": true}});
    let receiver = post("receivers", Some(receiver)).await;
    let person = post("people", Some(json!({"login": "other@example.com", "role": "auditor"}))).await;
    let job = post(&format!("sets/{set}/runs"), None).await;
    let tenants = bench.good(token, Method::GET, &format!("{base}/tenants"), None).await;
    let row = bench.server().db.repository(account, &Id::parse(&repository).expect("an id")).await.expect("there");
    let places = bench.server().db.destinations(&row.id).await.expect("read");
    let receiver = id(&receiver["receiver"]);
    let tested = post(&format!("receivers/{receiver}/test"), None).await;
    let tenant = id(&tenants["items"][0]);
    let restore = restore_of(bench, account, &Id::parse(&tenant).expect("an id"), &row.id).await;
    let sessions = bench.good(token, Method::GET, "/me/sessions", None).await;
    let tokens = bench.good(token, Method::GET, "/me/tokens", None).await;
    let all = [
        ("session", id(&sessions["items"][0])),
        ("token", id(&tokens["items"][0])),
        ("delivery", tested["delivery"].as_str().expect("a delivery").to_owned()),
        ("restore", restore.to_string()),
        ("tenant", tenant),
        ("repository", repository),
        ("set", set),
        ("client", id(&client)),
        ("receiver", receiver),
        ("person", id(&person["person"])),
        ("job", job["job"].as_str().expect("a job").to_owned()),
        ("destination", places[0].id.to_string()),
    ];
    all.into_iter().map(|(name, id)| (format!("{{{name}}}"), id)).collect()
}

/// A restore that is asked for in an account.
async fn restore_of(bench: &Bench, account: &Id, tenant: &Id, repository: &Id) -> Id {
    let (server, id) = (bench.server(), Id::random());
    let options = restore::RestoreOptions {
        into: restore::Into::Place,
        conflict: restore::Conflict::Skip,
        only: restore::Only::All,
        permissions: false,
        links: false,
        versions: false,
    };
    let asking = Asking { paths: vec!["users".to_owned()], to: "original".to_owned(), options };
    let job = NewJob {
        account,
        kind: JobKind::Plan,
        set: None,
        tenant: Some(tenant),
        repository: Some(repository),
        client: None,
        arguments: json!({}),
        asked_by: "other@example.com",
        run_after_us: server.now_us(),
    };
    let new = NewRestore { tenant, repository, snapshot: "none", asking: &asking };
    server.db.add_restore(&server.vault, &id, &new, &job, None, server.now_us()).await.expect("asked for");
    id
}

/// A sign-in at Microsoft that waits in an account: begun by whoever comes by a session or token.
async fn sign_in_of(bench: &Bench, account: &Id, way: &str) -> String {
    let (server, id) = (bench.server(), Id::random());
    let until_us = server.now_us() + 900_000_000;
    let row = SignInRow::new(id.clone(), account, None, (SignInKind::Paste, way), until_us, 0);
    server.db.begin_sign_in(&server.vault, &row, "{}", server.now_us()).await.expect("begun");
    id.to_string()
}

/// All that an account lists.
async fn listed(bench: &Bench, token: &str, account: &Id) -> String {
    let mut all = String::new();
    let lists = ["tenants", "repositories", "sets", "clients", "receivers", "people", "jobs", "restores", "deliveries"];
    for list in lists {
        all += &bench.good(token, Method::GET, &format!("/accounts/{account}/{list}"), None).await.to_string();
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_anothers_is_not_there_through_the_door_of_ones_own_account() {
    let sim = SimTenant::start(SimOptions::default()).await.expect("a tenant");
    let bench = Bench::quiet().await;
    let admin = bench.person(None, Role::Administrator, "admin@example.com").await;
    let (own, other) = (bench.account("Own").await, bench.account("Other").await);
    let token = bench.person(Some(&own), Role::Owner, "owner@example.com").await;
    let cookie = bench.sign_in("owner@example.com", PASSWORD).await.expect("signed in");
    let cookie_of_admin = bench.sign_in("admin@example.com", PASSWORD).await.expect("signed in");
    let mut things = one_of_each(&bench, &admin, &other, &sim).await;
    // Whoever begins a sign-in is looked at too: these are begun by who asks, in the other account.
    let (db, vault, now) = (&bench.server().db, &bench.server().vault, bench.server().now_us());
    let by_token = db.token_actor(vault, &token, "127.0.0.1", now).await.expect("read").expect("known");
    let value = cookie.split_once('=').expect("a cookie").1;
    let by_session = db.session_actor(vault, value, "127.0.0.1", now).await.expect("read").expect("known");
    things.push(("{sign_in}".to_owned(), sign_in_of(&bench, &other, &by_token.way).await));
    let of_session = sign_in_of(&bench, &other, &by_session.way).await;
    let before = listed(&bench, &admin, &other).await;
    let (mut tried, mut not_there) = (0, 0);
    for route in routes(bench.server()).declared() {
        for name in route.path.split('/').filter(|part| part.starts_with('{')) {
            let known = things.iter().any(|(thing, _)| thing == name) || NOBODYS.iter().any(|(word, _)| *word == name);
            assert!(known, "{} {}: {name} is tried by nothing here", route.method, route.path);
        }
        let is_owned = route.path.contains("{account}") || route.path.contains("/me/");
        if !is_owned || !things.iter().any(|(name, _)| route.path.contains(name)) {
            continue;
        }
        let part = |part: &str| match things.iter().find(|(name, _)| name == part) {
            Some(_) if part == "{sign_in}" && route.door == Door::Page => of_session.clone(),
            Some((_, id)) => id.clone(),
            None if part == "{account}" => own.to_string(),
            None if part.starts_with('{') => "0".repeat(32),
            None => part.to_owned(),
        };
        let path = route.path.split('/').map(part).collect::<Vec<_>>().join("/");
        let request = bench.client.request(route.method.clone(), bench.url(&path));
        let request = match route.door {
            Door::Api => request.bearer_auth(&token).header(header::CONTENT_TYPE, "application/json").body("{}"),
            Door::Page => request
                .header(header::COOKIE, &cookie)
                .header("sec-fetch-site", "same-origin")
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded"),
        };
        let status = request.send().await.expect("an answer").status();
        tried += 1;
        if status == StatusCode::NOT_FOUND {
            not_there += 1;
            continue;
        }
        // It leads on to the first tab, which is not there.
        if route.path == "/a/{account}/sets/{set}/change" && status == StatusCode::SEE_OTHER {
            continue;
        }
        // What lacks a body or a query may be told so first.
        let refused = matches!(status.as_u16(), 400 | 403 | 415 | 422);
        assert!(refused, "{} {}: {status}", route.method, route.path);
        assert!(
            route.door == Door::Page || route.method != Method::DELETE,
            "{} {}: {status}",
            route.method,
            route.path
        );
    }
    assert!(tried > 70 && not_there > 35, "{tried} tried, {not_there} not there");
    // With bodies that are good.
    let id_of = |name: &str| things.iter().find(|(known, _)| known == name).map(|(_, id)| id.clone()).expect("there");
    let (set, person, repository) = (id_of("{set}"), id_of("{person}"), id_of("{repository}"));
    let wanted = json!({"name": "x", "tenant": id_of("{tenant}"), "repository": repository});
    for (method, path, body) in [
        (Method::PUT, format!("sets/{set}"), wanted.clone()),
        (Method::POST, "sets".to_owned(), wanted),
        (Method::PUT, format!("people/{person}"), json!({"role": "owner", "disabled": false})),
        (Method::POST, format!("repositories/{repository}/upkeep"), json!({"kind": "check"})),
        (Method::POST, format!("repositories/{repository}/basket"), json!({"items": []})),
        (Method::POST, format!("repositories/{repository}/unlock"), json!({"key": "x"})),
    ] {
        let (status, answer) = bench.ask(&token, method, &format!("/accounts/{own}/{path}"), Some(body)).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}: {answer}");
    }
    assert_eq!(listed(&bench, &admin, &other).await, before, "nothing of it changed");
    assert_eq!(bench.page(&cookie_of_admin, "/accounts").await.0, StatusCode::OK, "nor did a session end");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_role_gets_a_page_or_sends_a_form_that_it_may_not() {
    let bench = Bench::quiet().await;
    bench.person(None, Role::Administrator, "admin@example.com").await;
    let own = bench.account("Own").await;
    let (mut refused, mut seen) = (0, 0);
    for role in Role::ALL.iter().copied() {
        let login = format!("{role}2@example.com");
        bench.person((role != Role::Administrator).then_some(&own), role, &login).await;
        let cookie = bench.sign_in(&login, PASSWORD).await.expect("signed in");
        for route in routes(bench.server()).declared().iter().filter(|route| route.door == Door::Page) {
            let Access::Needs(right) = route.access else { continue };
            // What it may send it does, and more than one could be wished.
            if role.has(right) && (route.method != Method::GET || route.path.starts_with("/sign-ins/")) {
                continue;
            }
            let part = |part: &str| match part {
                "{account}" => own.to_string(),
                part if part.starts_with('{') => "0".repeat(32),
                part => part.to_owned(),
            };
            let path = route.path.split('/').map(part).collect::<Vec<_>>().join("/");
            let request = bench.client.request(route.method.clone(), bench.url(&path));
            let request = request.header(header::COOKIE, &cookie).header("sec-fetch-site", "same-origin");
            let request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
            let status = request.send().await.expect("an answer").status();
            let name = format!("{role}: {} {}: {status}", route.method, route.path);
            if role.has(right) {
                assert!(status != StatusCode::FORBIDDEN && !status.is_server_error(), "{name}");
                seen += 1;
            } else {
                assert_eq!(status, StatusCode::FORBIDDEN, "{name}");
                refused += 1;
            }
        }
    }
    assert!(refused > 100 && seen > 100, "{refused} refused, {seen} seen");
}

/// Where the forms of a page send what is typed, without queries.
fn forms(page: &str) -> Vec<String> {
    let tags = page.split("<form").skip(1).filter_map(|rest| rest.split('>').next());
    let sent = tags.filter(|tag| tag.contains("method=\"post\""));
    let to = sent.filter_map(|tag| tag.split_once("action=\"")?.1.split(['"', '?']).next());
    to.map(str::to_owned).collect()
}

/// Of a path that is one of a route's, how many of its parts the route has word by word.
fn fits(route: &str, path: &str) -> Option<usize> {
    let (route, path): (Vec<&str>, Vec<&str>) = (route.split('/').collect(), path.split('/').collect());
    let is_one = |(part, found): (&&str, &&str)| part == found || part.starts_with('{');
    let is_its = route.len() == path.len() && route.iter().zip(&path).all(is_one);
    is_its.then(|| route.iter().filter(|part| !part.starts_with('{')).count())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_shows_no_form_that_who_sees_it_may_not_send() {
    let sim = SimTenant::start(SimOptions::tiny()).await.expect("a tenant");
    let bench = Bench::quiet().await;
    let admin = bench.person(None, Role::Administrator, "admin@example.com").await;
    bench.sign_in("admin@example.com", PASSWORD).await.expect("signed in");
    let own = bench.account("Own").await;
    let things = one_of_each(&bench, &admin, &own, &sim).await;
    let all = routes(bench.server());
    let pages = || all.declared().iter().filter(|route| route.door == Door::Page);
    let mut seen = Vec::new();
    for role in Role::ALL.iter().copied() {
        let login = format!("{role}3@example.com");
        bench.person((role != Role::Administrator).then_some(&own), role, &login).await;
        let cookie = bench.sign_in(&login, PASSWORD).await.expect("signed in");
        let mut shown = BTreeSet::new();
        for route in pages().filter(|route| route.method == Method::GET && !route.path.starts_with("/sign-ins/")) {
            if !matches!(route.access, Access::Needs(right) if role.has(right)) {
                continue;
            }
            let part = |part: &str| match things.iter().find(|(name, _)| name == part) {
                Some((_, id)) => id.clone(),
                None if part == "{account}" => own.to_string(),
                None if part == "{step}" => "connect".to_owned(),
                None if part.starts_with('{') => "0".repeat(32),
                None => part.to_owned(),
            };
            let path = route.path.split('/').map(part).collect::<Vec<_>>().join("/");
            for form in forms(&bench.page(&cookie, &path).await.1) {
                let taking = pages().filter(|route| route.method == Method::POST);
                let taking = taking.filter_map(|route| Some((fits(route.path, &form)?, route)));
                let (_, to) =
                    taking.max_by_key(|(same, _)| *same).unwrap_or_else(|| panic!("{path}: {form} is nowhere"));
                let may = matches!(to.access, Access::Needs(right) if role.has(right));
                assert!(may, "{role}: {path} has a form for {}", to.path);
                shown.insert(to.path);
            }
        }
        seen.push((role, shown.len()));
    }
    let many = |role: Role| seen.iter().find(|(known, _)| *known == role).map_or(0, |(_, many)| *many);
    assert!(many(Role::Administrator) > 25 && many(Role::Owner) > 20, "{seen:?}");
    assert!(many(Role::Owner) > many(Role::Operator) && many(Role::Operator) > many(Role::Auditor), "{seen:?}");
}
