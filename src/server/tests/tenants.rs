//! The app that restores to a tenant: watched as the other one is, and left as it signs in.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::notices::{bench_at, pass, receiver};
use super::{Bench, PASSWORD, connect, id};
use crate::server::auth::Role;
use crate::server::id::Id;
use crate::sim::{SimOptions, SimTenant};

const DAY_US: i64 = 86_400_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn the_secret_for_restores_is_found_out_shown_and_warned_of() {
    let (bench, _) = bench_at("2026-11-26T10:00:00Z").await;
    let account = bench.account("Contoso").await;
    let token = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let mut options = SimOptions::tiny();
    options.roles.push("Application.Read.All".to_owned());
    let sim = SimTenant::start(options).await.expect("a tenant");
    let tenant = connect(&bench, &token, &account, &sim, "Contoso").await;
    let path = format!("/accounts/{account}/tenants/{tenant}");
    bench.good(&token, Method::POST, &format!("{path}/test"), None).await;
    let state = bench.good(&token, Method::GET, &path, None).await["state"].clone();
    let end = |name: &str| state[name].as_i64().expect(name);
    let between = end("secret_end_us") - end("restore_secret_end_us");
    // Each is told from when it is asked for.
    assert!((between - 10 * DAY_US).abs() < DAY_US / 24, "{state}");

    let now = bench.server().now_us();
    let wanted =
        json!({"name": "w", "url": "http://127.0.0.1:1/", "definition": {"kind": "webhook", "warnings": true}});
    receiver(&bench, &token, &account, wanted).await;
    let told = async || bench.good(&token, Method::GET, &format!("/accounts/{account}/deliveries"), None).await;
    for (days, title, pages) in [
        (5, "The secret for restores of tenant 'Contoso' ends in 5 days", ["5 days left", "is good for 5 more days"]),
        (
            -2,
            "for restores of tenant 'Contoso' has ended: nothing can be restored",
            ["ended", "that restores has ended"],
        ),
    ] {
        let state = json!({
            "secret_end_us": now + 300 * DAY_US, "restore_secret_end_us": now + days * DAY_US, "missing": 0,
        });
        let id = Id::parse(&tenant).expect("an id");
        bench.server().db.keep_tenant_state(&id, &state.to_string(), now).await.expect("kept");
        // One pass an hour.
        bench.server().db.set("turn warnings", None).await.expect("set");
        pass(&bench).await;
        let all = told().await;
        assert!(all["items"].as_array().expect("a list").iter().any(|one| is_titled(one, title)), "{all}");
        let cookie = bench.sign_in("owner@contoso.com", PASSWORD).await.expect("signed in");
        let home = bench.page(&cookie, &format!("/a/{account}")).await.1;
        assert!(home.contains("The secret for restores of tenant"), "{home}");
        for (path, words) in ["/tenants".to_owned(), format!("/tenants/{tenant}")].iter().zip(pages) {
            let (_, page) = bench.page(&cookie, &format!("/a/{account}{path}")).await;
            assert!(page.contains(words), "{path}: {words}: {page}");
        }
    }
}

fn is_titled(delivery: &Value, title: &str) -> bool {
    delivery["title"].as_str().is_some_and(|told| told.contains(title))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_the_app_that_restores_outlives_the_form() {
    let bench = Bench::quiet().await;
    let account = bench.account("Contoso").await;
    let token = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let sim = SimTenant::start(SimOptions::tiny()).await.expect("a tenant");
    let certificate = include_str!("../../../tests/fixtures/graph/app-cert.pem");
    let key = include_str!("../../../tests/fixtures/graph/app-key.pem");
    let restore = json!({"client_id": "restorer", "sign_in": "certificate", "certificate": certificate});
    let wanted = json!({
        "name": "Contoso", "secret": "x", "restore_secret": key,
        "definition": {
            "tenant_id": sim.tenant_id(), "client_id": sim.client_id(), "sign_in": "secret", "restore": restore,
            "graph_url": sim.graph_url(), "login_url": sim.login_url(),
        },
    });
    let tenant = id(&bench.good(&token, Method::POST, &format!("/accounts/{account}/tenants"), Some(wanted)).await);
    let cookie = bench.sign_in("owner@contoso.com", PASSWORD).await.expect("signed in");
    let (path, form) = (format!("/accounts/{account}/tenants/{tenant}"), format!("/a/{account}/tenants/{tenant}"));
    let (_, page) = bench.page(&cookie, &form).await;
    assert!(page.contains("It signs in by a certificate"), "{page}");
    let send = async |fields: &str| {
        let answer = bench.send_form(&format!("{form}/restore-app"), Some(&cookie), fields.to_owned()).await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER, "{fields}");
        bench.good(&token, Method::GET, &path, None).await["definition"]["restore"].clone()
    };
    assert_eq!(send("restore_client_id=restorer&restore_secret=").await, restore);
    let by_secret = json!({"client_id": "restorer", "sign_in": "secret"});
    assert_eq!(send("restore_client_id=restorer&restore_secret=hush").await, by_secret);
    assert_eq!(send("restore_client_id=restorer&restore_secret=").await, by_secret);
    assert_eq!(send("restore_client_id=&restore_secret=").await, Value::Null);
}
