//! What is another account's, asked for through the door of one's own; and every page as every role.

use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};

use super::{Bench, PASSWORD, id, set_up};
use crate::server::auth::Role;
use crate::server::id::Id;
use crate::server::web::{Access, Door, routes};
use crate::sim::{SimOptions, SimTenant};

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
    let all = [
        ("tenant", id(&tenants["items"][0])),
        ("repository", repository),
        ("set", set),
        ("client", id(&client)),
        ("receiver", id(&receiver["receiver"])),
        ("person", id(&person["person"])),
        ("job", job["job"].as_str().expect("a job").to_owned()),
        ("destination", places[0].id.to_string()),
    ];
    all.into_iter().map(|(name, id)| (format!("{{{name}}}"), id)).collect()
}

/// All that an account lists.
async fn listed(bench: &Bench, token: &str, account: &Id) -> String {
    let mut all = String::new();
    for list in ["tenants", "repositories", "sets", "clients", "receivers", "people", "jobs"] {
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
    let things = one_of_each(&bench, &admin, &other, &sim).await;
    let before = listed(&bench, &admin, &other).await;
    let (mut tried, mut not_there) = (0, 0);
    for route in routes(bench.server()).declared() {
        if !route.path.contains("{account}") || !things.iter().any(|(name, _)| route.path.contains(name)) {
            continue;
        }
        let part = |part: &str| match things.iter().find(|(name, _)| name == part) {
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
