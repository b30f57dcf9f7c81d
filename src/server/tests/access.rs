//! Every route as everybody: nobody reaches into another account, and nobody does what their role may not.

use std::collections::BTreeSet;

use reqwest::{Method, StatusCode, header};
use serde_json::Value;

use super::{Bench, PASSWORD};
use crate::server::auth::{Right, Role};
use crate::server::web::{Access, Door, routes};

/// A path with ids put in for its names.
fn filled(path: &str, account: &str) -> String {
    let parts = path.split('/').map(|part| match part {
        "{account}" => account.to_owned(),
        part if part.starts_with('{') => "0".repeat(32),
        part => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("/")
}

/// What whoever signed in may do without an account: more would have to be thought about here.
const OF_EVERYBODY: [&str; 22] = [
    "GET /",
    // The state names the account, and the handler looks at the right in it.
    "GET /sign-ins/callback",
    "POST /sign-out",
    "GET /api/v1/me",
    "GET /api/v1/me/sessions",
    "DELETE /api/v1/me/sessions/{session}",
    "GET /api/v1/me/tokens",
    "POST /api/v1/me/tokens",
    "DELETE /api/v1/me/tokens/{token}",
    "PUT /api/v1/me/password",
    "POST /api/v1/me/factor",
    "POST /api/v1/me/factor/confirmation",
    "POST /api/v1/me/factor/removal",
    "GET /api/v1/accounts",
    "GET /me",
    "POST /me/password",
    "POST /me/factor",
    "POST /me/factor/confirmation",
    "POST /me/factor/removal",
    "POST /me/sessions/{session}/end",
    "POST /me/tokens",
    "POST /me/tokens/{token}/removal",
];

/// What needs no sign-in at all.
const OPEN: [&str; 12] = [
    "GET /healthz",
    "GET /readyz",
    "GET /metrics",
    "GET /api/v1/openapi.json",
    "POST /api/v1/agent/enrolment",
    "GET /assets/style.css",
    "GET /assets/script.js",
    "GET /assets/icon.svg",
    "GET /sign-in",
    "POST /sign-in",
    "GET /welcome/{token}",
    "POST /welcome/{token}",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_route_names_its_right_and_an_account_or_stands_on_a_list() {
    let bench = Bench::quiet().await;
    for route in routes(bench.server()).declared() {
        let name = format!("{} {}", route.method, route.path);
        match route.access {
            Access::Anybody => assert!(OPEN.contains(&name.as_str()), "{name} is open to anybody"),
            Access::Needs(Right::SignedIn) => {
                assert!(OF_EVERYBODY.contains(&name.as_str()), "{name} is open to all roles");
            }
            Access::Needs(Right::Server) => {}
            Access::Needs(_) => assert!(route.path.contains("{account}"), "{name} names no account"),
            // No account in them: whose they are follows from the token.
            Access::Client => {
                let files = route.path.starts_with("/storage/{repository}");
                assert!(files || route.path.starts_with("/api/v1/agent"), "{name} is a client's");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_into_another_account_by_any_route() {
    let bench = Bench::quiet().await;
    bench.person(None, Role::Administrator, "admin@example.com").await;
    let (own, other) = (bench.account("Own").await, bench.account("Other").await);
    let mut tried = 0;
    for role in Role::ALL.iter().copied().filter(|role| *role != Role::Administrator) {
        let login = format!("{role}@example.com");
        let token = bench.person(Some(&own), role, &login).await;
        let cookie = bench.sign_in(&login, PASSWORD).await.expect("signed in");
        for route in routes(bench.server()).declared() {
            let path = filled(route.path, other.as_str());
            let request = bench.client.request(route.method.clone(), bench.url(&path));
            let request = match route.door {
                Door::Api => request.bearer_auth(&token),
                Door::Page => request.header(header::COOKIE, &cookie).header("sec-fetch-site", "same-origin"),
            };
            let request = match route.door {
                Door::Api => request.header(header::CONTENT_TYPE, "application/json").body("{}"),
                Door::Page => request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded"),
            };
            if !matches!(route.access, Access::Needs(right) if right != Right::SignedIn) {
                continue;
            }
            let status = request.send().await.expect("an answer").status();
            let expected = if route.path.contains("{account}") { StatusCode::NOT_FOUND } else { StatusCode::FORBIDDEN };
            assert_eq!(status, expected, "{role}: {} {}", route.method, route.path);
            tried += 1;
        }
    }
    assert!(tried > 150, "{tried}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_role_does_what_it_may_not_and_nobody_unknown_does_anything() {
    let bench = Bench::quiet().await;
    bench.person(None, Role::Administrator, "admin@example.com").await;
    let own = bench.account("Own").await;
    let mut tokens = Vec::new();
    for role in Role::ALL.iter().copied() {
        let account = (role != Role::Administrator).then_some(&own);
        tokens.push((role, bench.person(account, role, &format!("{role}2@example.com")).await));
    }
    let (mut refused, mut let_in) = (0, 0);
    for route in routes(bench.server()).declared().iter().filter(|route| route.door == Door::Api) {
        if route.access == Access::Client {
            // No person's token is one of a client.
            for (_, token) in &tokens {
                let path = filled(route.path, own.as_str());
                let request = bench.client.request(route.method.clone(), bench.url(&path)).bearer_auth(token);
                let status = request.send().await.expect("an answer").status();
                assert_eq!(status, StatusCode::UNAUTHORIZED, "{} {}", route.method, route.path);
            }
        }
        let Access::Needs(right) = route.access else { continue };
        let path = filled(route.path, own.as_str());
        let send = |token: Option<&String>| {
            let request = bench.client.request(route.method.clone(), bench.url(&path));
            let request = request.header(header::CONTENT_TYPE, "application/json").body("[]");
            match token {
                Some(token) => request.bearer_auth(token),
                None => request.header("sec-fetch-site", "same-origin"),
            }
        };
        let name = format!("{} {}", route.method, route.path);
        assert_eq!(send(None).send().await.expect("an answer").status(), StatusCode::UNAUTHORIZED, "{name}");
        let bad = "tvt_wrong".to_owned();
        assert_eq!(send(Some(&bad)).send().await.expect("an answer").status(), StatusCode::UNAUTHORIZED, "{name}");
        for (role, token) in &tokens {
            // What it may do it does: here that would end the account.
            if role.has(right) && name == "DELETE /api/v1/accounts/{account}" {
                continue;
            }
            let status = send(Some(token)).send().await.expect("an answer").status();
            if role.has(right) {
                assert!(
                    status != StatusCode::FORBIDDEN && status != StatusCode::UNAUTHORIZED,
                    "{role}: {name}: {status}"
                );
                assert!(!status.is_server_error(), "{role}: {name}: {status}");
                let_in += 1;
            } else {
                assert_eq!(status, StatusCode::FORBIDDEN, "{role}: {name}");
                refused += 1;
            }
        }
    }
    assert!(refused > 30 && let_in > 50, "{refused} refused, {let_in} let in");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_has_every_route_of_the_api_and_no_other() {
    let bench = Bench::quiet().await;
    let described: Value = serde_json::from_str(&crate::server::description()).expect("JSON");
    let mut listed = BTreeSet::new();
    for (path, methods) in described["paths"].as_object().expect("paths") {
        for method in methods.as_object().expect("methods").keys() {
            listed.insert(format!("{} {path}", method.to_uppercase()));
        }
    }
    let declared: BTreeSet<String> = routes(bench.server())
        .declared()
        .iter()
        .filter(|route| route.path.starts_with("/api/") && !route.path.ends_with("openapi.json"))
        .map(|route| format!("{} {}", route.method, route.path))
        .collect();
    assert_eq!(listed, declared);
    assert!(declared.len() > 40, "{}", declared.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_has_the_answers_that_any_operation_may_get() {
    let bench = Bench::quiet().await;
    let token = bench.person(None, Role::Administrator, "admin@example.com").await;
    let own = bench.account("Own").await;
    let described: Value = serde_json::from_str(&crate::server::description()).expect("JSON");
    let mut long = 0;
    for route in routes(bench.server()).declared() {
        let method = route.method.as_str().to_lowercase();
        let operation = &described["paths"][route.path][&method];
        if operation.is_null() {
            continue;
        }
        let name = format!("{} {}", route.method, route.path);
        let is_told = |status: &str| {
            let content = &operation["responses"][status]["content"]["application/json"];
            content["schema"]["$ref"] == "#/components/schemas/Problem"
        };
        assert!(["500", "503", "507"].into_iter().all(is_told), "{name}: {operation}");
        if route.method == Method::GET {
            continue;
        }
        assert!(["413", "422"].into_iter().all(is_told), "{name}: {operation}");
        if !matches!(route.access, Access::Needs(_)) {
            continue;
        }
        let request = bench.client.request(route.method.clone(), bench.url(&filled(route.path, own.as_str())));
        let request = request.bearer_auth(&token).header(header::CONTENT_TYPE, "application/json");
        let answer = request.body("x".repeat((1 << 20) + 1)).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE, "{name}");
        let problem: Value = serde_json::from_str(&answer.text().await.expect("text")).expect("JSON");
        assert!(problem["message"].is_string() && problem["kind"].is_string(), "{name}: {problem}");
        long += 1;
    }
    assert!(long > 40, "{long}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_told_and_nothing_breaks() {
    let bench = Bench::quiet().await;
    let token = bench.person(None, Role::Administrator, "admin@example.com").await;
    let account = bench.account("Own").await;
    for (body, word) in [
        ("", "JSON"),
        ("{", "JSON"),
        ("{\"name\": 1}", "fit"),
        ("{\"name\": \"x\", \"more\": 1}", "more"),
        ("{\"name\": \"\", \"limits\": {}}", "name"),
        ("{\"name\": \"x\", \"limits\": {\"bytes\": -1}}", "limit"),
    ] {
        let request = bench.client.post(bench.url("/api/v1/accounts")).bearer_auth(&token);
        let request = request.header(header::CONTENT_TYPE, "application/json").body(body);
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        let problem: Value = serde_json::from_str(&answer.text().await.expect("text")).expect("JSON");
        assert!(problem["message"].as_str().expect("a message").contains(word), "{body}: {problem}");
    }
    let long = format!("{{\"name\": \"{}\"}}", "x".repeat(2 << 20));
    let request = bench.client.post(bench.url("/api/v1/accounts")).bearer_auth(&token);
    let answer = request.header(header::CONTENT_TYPE, "application/json").body(long).send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    for path in
        ["/accounts/zzz", "/accounts/../accounts", "/nothing", &format!("/accounts/{account}/sets/{}", "0".repeat(32))]
    {
        let (status, answer) = bench.ask(&token, Method::GET, path, None).await;
        assert!(status == StatusCode::NOT_FOUND || status == StatusCode::OK, "{path}: {status} {answer}");
    }
    let (status, _) = bench.ask(&token, Method::GET, &format!("/accounts/{account}/jobs?most=many"), None).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
}
