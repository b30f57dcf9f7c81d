//! What a form of a page does, a program does by the API.

use std::collections::BTreeSet;

use reqwest::{Method, StatusCode};
use serde_json::json;

use super::{Bench, PASSWORD};
use crate::server::auth::{Role, code_at};
use crate::server::db::{JobKind, NewJob};
use crate::server::web::{Door, routes};

/// What makes a session of a password: programs have tokens.
const OF_BROWSERS: [&str; 2] = ["/sign-in", "/welcome/{token}"];

/// Where a form is sent to, and what does the same in the API.
const TWINS: &[(&str, &str)] = &[
    ("/sign-out", "DELETE /api/v1/me/sessions/{session}"),
    ("/accounts", "POST /api/v1/accounts"),
    ("/accounts/{account}", "PUT /api/v1/accounts/{account}"),
    ("/accounts/{account}/removal", "DELETE /api/v1/accounts/{account}"),
    ("/a/{account}/tenants", "POST /api/v1/accounts/{account}/tenants"),
    ("/a/{account}/tenants/of-user", "POST /api/v1/accounts/{account}/tenants"),
    ("/a/{account}/tenants/{tenant}/test", "POST /api/v1/accounts/{account}/tenants/{tenant}/test"),
    ("/a/{account}/tenants/{tenant}/restore-app", "PUT /api/v1/accounts/{account}/tenants/{tenant}"),
    ("/a/{account}/tenants/{tenant}/secret", "PUT /api/v1/accounts/{account}/tenants/{tenant}"),
    ("/a/{account}/tenants/{tenant}/parts", "PUT /api/v1/accounts/{account}/tenants/{tenant}"),
    ("/a/{account}/tenants/{tenant}/removal", "DELETE /api/v1/accounts/{account}/tenants/{tenant}"),
    ("/a/{account}/tenants/{tenant}/sign-ins", "POST /api/v1/accounts/{account}/tenants/{tenant}/sign-ins"),
    ("/a/{account}/tenants/{tenant}/consent", "POST /api/v1/accounts/{account}/consents"),
    ("/a/{account}/consents", "POST /api/v1/accounts/{account}/consents"),
    ("/a/{account}/sign-ins/{sign_in}/code", "POST /api/v1/accounts/{account}/sign-ins/{sign_in}/code"),
    ("/a/{account}/storage", "POST /api/v1/accounts/{account}/repositories"),
    (
        "/a/{account}/storage/{repository}/confirmation",
        "POST /api/v1/accounts/{account}/repositories/{repository}/confirmation",
    ),
    ("/a/{account}/adoption", "POST /api/v1/accounts/{account}/adoptions"),
    ("/a/{account}/destinations/{destination}", "PUT /api/v1/accounts/{account}/destinations/{destination}"),
    ("/a/{account}/storage/{repository}/upkeep", "POST /api/v1/accounts/{account}/repositories/{repository}/upkeep"),
    ("/a/{account}/storage/{repository}/removal", "DELETE /api/v1/accounts/{account}/repositories/{repository}"),
    ("/a/{account}/keys/{repository}/new", "POST /api/v1/accounts/{account}/repositories/{repository}/keys"),
    ("/a/{account}/keys/{repository}/confirmation", "POST /api/v1/accounts/{account}/repositories/{repository}/keys"),
    (
        "/a/{account}/keys/{repository}/removal",
        "POST /api/v1/accounts/{account}/repositories/{repository}/keys/{slot}/removal",
    ),
    (
        "/a/{account}/keys/{repository}/server-key",
        "POST /api/v1/accounts/{account}/repositories/{repository}/server-key",
    ),
    ("/a/{account}/keys/{repository}/held-key", "PUT /api/v1/accounts/{account}/repositories/{repository}/held-key"),
    (
        "/a/{account}/keys/{repository}/held-key/removal",
        "DELETE /api/v1/accounts/{account}/repositories/{repository}/held-key",
    ),
    ("/a/{account}/sets/new/{step}", "POST /api/v1/accounts/{account}/sets"),
    ("/a/{account}/sets/{set}/change/{step}", "PUT /api/v1/accounts/{account}/sets/{set}"),
    ("/a/{account}/sets/{set}/runs", "POST /api/v1/accounts/{account}/sets/{set}/runs"),
    ("/a/{account}/sets/{set}/removal", "DELETE /api/v1/accounts/{account}/sets/{set}"),
    ("/a/{account}/jobs/{job}/stop", "DELETE /api/v1/accounts/{account}/jobs/{job}"),
    ("/a/{account}/look/{repository}/unlock", "POST /api/v1/accounts/{account}/repositories/{repository}/unlock"),
    ("/a/{account}/look/{repository}/lock", "DELETE /api/v1/accounts/{account}/repositories/{repository}/unlock"),
    ("/a/{account}/look/{repository}/basket", "POST /api/v1/accounts/{account}/repositories/{repository}/basket"),
    (
        "/a/{account}/look/{repository}/basket/removal",
        "POST /api/v1/accounts/{account}/repositories/{repository}/basket/removal",
    ),
    (
        "/a/{account}/look/{repository}/basket/emptying",
        "DELETE /api/v1/accounts/{account}/repositories/{repository}/basket",
    ),
    ("/a/{account}/look/{repository}/basket/zip", "POST /api/v1/accounts/{account}/repositories/{repository}/archive"),
    ("/a/{account}/look/{repository}/restore", "POST /api/v1/accounts/{account}/repositories/{repository}/restores"),
    ("/a/{account}/restores/{restore}/run", "POST /api/v1/accounts/{account}/restores/{restore}/run"),
    ("/a/{account}/restores/{restore}/undo", "POST /api/v1/accounts/{account}/restores/{restore}/undo"),
    ("/a/{account}/restores/{restore}/stop", "POST /api/v1/accounts/{account}/restores/{restore}/stop"),
    ("/a/{account}/clients", "POST /api/v1/accounts/{account}/clients"),
    ("/a/{account}/clients/{client}", "PUT /api/v1/accounts/{account}/clients/{client}"),
    ("/a/{account}/people", "POST /api/v1/accounts/{account}/people"),
    ("/a/{account}/people/{person}", "PUT /api/v1/accounts/{account}/people/{person}"),
    ("/a/{account}/notices", "POST /api/v1/accounts/{account}/receivers"),
    ("/a/{account}/notices/{receiver}", "PUT /api/v1/accounts/{account}/receivers/{receiver}"),
    ("/a/{account}/notices/{receiver}/test", "POST /api/v1/accounts/{account}/receivers/{receiver}/test"),
    ("/a/{account}/notices/{receiver}/removal", "DELETE /api/v1/accounts/{account}/receivers/{receiver}"),
    ("/administrators", "POST /api/v1/administrators"),
    ("/administrators/{person}", "PUT /api/v1/administrators/{person}"),
    ("/activity/verification", "GET /api/v1/audit/verification"),
    ("/settings/mail", "PUT /api/v1/settings/mail"),
    ("/settings/mail/test", "POST /api/v1/settings/mail/test"),
    ("/me/password", "PUT /api/v1/me/password"),
    ("/me/factor", "POST /api/v1/me/factor"),
    ("/me/factor/confirmation", "POST /api/v1/me/factor/confirmation"),
    ("/me/factor/removal", "POST /api/v1/me/factor/removal"),
    ("/me/sessions/{session}/end", "DELETE /api/v1/me/sessions/{session}"),
    ("/me/tokens", "POST /api/v1/me/tokens"),
    ("/me/tokens/{token}/removal", "DELETE /api/v1/me/tokens/{token}"),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_api_does_what_every_form_of_a_page_does() {
    let bench = Bench::quiet().await;
    let (mut forms, mut api) = (BTreeSet::new(), BTreeSet::new());
    for route in routes(bench.server()).declared() {
        if route.door == Door::Api {
            api.insert(format!("{} {}", route.method, route.path));
        } else if route.method == Method::POST {
            forms.insert(route.path);
        }
    }
    for form in forms.iter().filter(|form| !OF_BROWSERS.contains(form)) {
        assert!(TWINS.iter().any(|(known, _)| known == form), "{form} has no twin in the API");
    }
    for (form, twin) in TWINS {
        assert!(forms.contains(form), "{form} is no form");
        assert!(api.contains(*twin), "{form}: {twin} is not in the API");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_sets_up_a_second_factor_and_changes_the_password() {
    let bench = Bench::quiet().await;
    let token = bench.person(None, Role::Administrator, "admin@example.com").await;
    let begun = bench.good(&token, Method::POST, "/me/factor", Some(json!({"old": PASSWORD}))).await;
    let secret = begun["secret"].as_str().expect("a secret");
    assert!(begun["address"].as_str().expect("an address").starts_with("otpauth://"), "{begun}");
    let wrong = json!({"old": PASSWORD, "code": "x"});
    let (status, _) = bench.ask(&token, Method::POST, "/me/factor/confirmation", Some(wrong)).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let code = json!({"old": PASSWORD, "code": code_at(secret, bench.server().now_us()).expect("a code")});
    bench.good(&token, Method::POST, "/me/factor/confirmation", Some(code)).await;
    bench.sign_in("admin@example.com", PASSWORD).await.expect_err("no code");
    let (status, _) = bench.ask(&token, Method::POST, "/me/factor/removal", Some(json!({"old": "wrong"}))).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    bench.good(&token, Method::POST, "/me/factor/removal", Some(json!({"old": PASSWORD}))).await;
    let wanted = json!({"old": PASSWORD, "password": "four other plain words"});
    bench.good(&token, Method::PUT, "/me/password", Some(wanted)).await;
    bench.sign_in("admin@example.com", "four other plain words").await.expect("signed in");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_is_changed_and_an_account_removed_on_pages_and_by_the_api() {
    let bench = Bench::quiet().await;
    let admin = bench.person(None, Role::Administrator, "admin@example.com").await;
    let (one, two) = (bench.account("Contoso").await, bench.account("Fabrikam").await);
    bench.person(Some(&one), Role::Auditor, "dana@contoso.com").await;
    let cookie = bench.sign_in("admin@example.com", PASSWORD).await.expect("signed in");
    let path = format!("/accounts/{one}/people");
    let dana = super::id(&bench.good(&admin, Method::GET, &path, None).await["items"][0]);
    let form = format!("/a/{one}/people/{dana}");
    let (_, page) = bench.page(&cookie, &format!("/a/{one}/people")).await;
    for words in ["<option value=\"auditor\" selected>", "<option value=\"operator\">", "Save the role"] {
        assert!(page.contains(words), "{words}: {page}");
    }
    assert!(!page.contains("<option value=\"administrator\""), "{page}");
    let answer = bench.send_form(&form, Some(&cookie), "role=operator".into()).await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    assert_eq!(bench.good(&admin, Method::GET, &path, None).await["items"][0]["role"], "operator");
    for bad in ["role=administrator", "role=king", ""] {
        let answer = bench.send_form(&form, Some(&cookie), bad.into()).await;
        assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY, "{bad}");
    }

    let form = format!("/accounts/{one}/removal");
    let answer = bench.send_form(&form, Some(&cookie), "typed=Fabrikam".into()).await;
    assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let answer = bench.send_form(&form, Some(&cookie), "typed=Contoso".into()).await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    // What it did once keeps no account.
    let job = NewJob {
        account: &two,
        kind: JobKind::Check,
        set: None,
        tenant: None,
        repository: None,
        client: None,
        arguments: json!({}),
        asked_by: "test",
        run_after_us: i64::MAX,
    };
    bench.server().db.ask_for(&job, 0).await.expect("asked");
    let (status, _) = bench.ask(&admin, Method::DELETE, &format!("/accounts/{two}"), None).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert!(bench.server().db.accounts().await.expect("read").is_empty());
    bench.sign_in("dana@contoso.com", PASSWORD).await.expect_err("gone with the account");
    let log = bench.good(&admin, Method::GET, "/audit", None).await.to_string();
    assert_eq!(log.matches("account.remove").count(), 2, "{log}");
}
