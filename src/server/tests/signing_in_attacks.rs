//! Signing in as a user: what comes back to the wrong place, and what others would have taken for theirs.

use std::sync::atomic::Ordering;

use axum::Router;
use axum::routing::post;
use reqwest::{Method, StatusCode, header};
use serde_json::json;

use super::signing_in::{ALICE, MINUTE_US, Yard, browse, with_state};
use super::{PASSWORD, id};
use crate::server::auth::Role;
use crate::sim::{SimHandle, UserKind};

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_back_to_another_session_account_or_time_or_twice_leads_nowhere() {
    let yard = Yard::quiet().await;
    let tenant = yard.connect("Alice", json!({})).await;
    let other = yard.bench.account("Other").await;
    yard.bench.person(Some(&other), Role::Owner, "mallory@example.com").await;
    yard.bench.person(Some(&yard.account), Role::Operator, "operator@contoso.com").await;
    let mallory = yard.bench.sign_in("mallory@example.com", PASSWORD).await.expect("signed in");
    let operator = yard.bench.sign_in("operator@contoso.com", PASSWORD).await.expect("signed in");
    let second = yard.bench.sign_in("owner@contoso.com", PASSWORD).await.expect("signed in");
    let (page, address) = yard.begin(&tenant, "redirect").await;
    let back = browse(&address, ALICE, "").await;

    // Another account, another person, another session of the same person: neither ends it nor sees it.
    for cookie in [&mallory, &operator, &second] {
        assert_eq!(yard.come(cookie, &back).await.status(), StatusCode::FORBIDDEN);
        let status = yard.bench.page(cookie, &page).await.0;
        assert!(matches!(status, StatusCode::NOT_FOUND | StatusCode::FORBIDDEN), "{status}");
    }
    let nobody = yard.bench.client.get(&back).send().await.expect("an answer");
    assert_eq!(nobody.status(), StatusCode::SEE_OTHER, "led to sign in");
    let to = nobody.headers()[header::LOCATION].to_str().expect("text").to_owned();
    assert!(to.starts_with("/sign-in?back=%2Fsign-ins%2Fcallback"), "{to}");
    // The row's name does not do: the mark is of the session, too.
    let own = yard.begin(&tenant, "redirect").await.1;
    let own = browse(&own, ALICE, "").await;
    let state = |back: &str| {
        let url = url::Url::parse(back).expect("an address");
        url.query_pairs().find(|(name, _)| name == "state").expect("a state").1.into_owned()
    };
    let (first, other_state) = (state(&back), state(&own));
    let (first_id, _) = first.split_once('.').expect("two parts");
    let (_, other_mark) = other_state.split_once('.').expect("two parts");
    let forged = [
        String::new(),
        "x".to_owned(),
        first_id.to_owned(),
        format!("{first_id}."),
        format!("{first_id}.{}", "0".repeat(64)),
        format!("{first_id}.{other_mark}"),
        format!("{}.{other_mark}", "0".repeat(32)),
        "../../../etc.passwd".to_owned(),
        "x".repeat(30_000),
    ];
    for state in &forged {
        let status = yard.come(&yard.cookie, &with_state(&back, |_| state.clone())).await.status();
        assert_eq!(status, StatusCode::FORBIDDEN, "{}", &state[..state.len().min(100)]);
    }
    for query in [
        "",
        "?code=abcdefgh",
        &format!("?code=abcdefgh&code=x&state={first}"),
        &format!("?code=abcdefgh&state={first}&state={first}"),
    ] {
        let status = yard.come(&yard.cookie, &yard.bench.url(&format!("/sign-ins/callback{query}"))).await.status();
        assert_eq!(status, StatusCode::FORBIDDEN, "{query}");
    }
    assert_eq!(yard.tenant(&tenant).await["user"], json!(null));

    // It is good once.
    assert_eq!(yard.come(&yard.cookie, &back).await.headers()[header::LOCATION], page.as_str());
    assert_eq!(yard.come(&yard.cookie, &back).await.status(), StatusCode::FORBIDDEN, "twice");
    // And for a quarter of an hour.
    let (late_page, address) = yard.begin(&tenant, "redirect").await;
    let late = browse(&address, ALICE, "").await;
    yard.ahead.fetch_add(16 * MINUTE_US, Ordering::Relaxed);
    assert_eq!(yard.come(&yard.cookie, &late).await.status(), StatusCode::FORBIDDEN, "too late");
    assert!(yard.bench.page(&yard.cookie, &late_page).await.1.contains("Nobody came back in time"));
    let log = yard.good(Method::GET, "audit", None).await.to_string();
    assert!(!log.contains(&first), "{log}");
}

/// Somebody else of the tenant.
fn other(sim: &SimHandle) -> String {
    let expected = sim.expected();
    let other = expected.users.iter().find(|user| user.kind == UserKind::Regular && user.upn != ALICE);
    other.expect("another user").upn.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_or_account_of_somebody_else_is_not_taken() {
    let yard = Yard::quiet().await;
    let tenant = yard.connect("Alice", json!({})).await;
    // A code of another sign-in, put into the way back of this one: the verifier does not fit.
    let (_, address) = yard.begin(&tenant, "redirect").await;
    let bob = other(&yard.sim);
    let injected = browse(&address, &bob, "").await;
    let code = url::Url::parse(&injected).expect("an address");
    let code = code.query_pairs().find(|(name, _)| name == "code").expect("a code").1.into_owned();
    let (page, address) = yard.begin(&tenant, "redirect").await;
    let mut back = url::Url::parse(&browse(&address, ALICE, "").await).expect("an address");
    let pairs: Vec<(String, String)> = back.query_pairs().into_owned().collect();
    let changed = pairs.iter().map(|(name, value)| (name, if name == "code" { &code } else { value }));
    back.query_pairs_mut().clear().extend_pairs(changed);
    yard.come(&yard.cookie, back.as_str()).await;
    let (_, text) = yard.bench.page(&yard.cookie, &page).await;
    assert!(text.contains("AADSTS501481") && yard.tenant(&tenant).await["user"].is_null(), "{text}");

    // Declined at Microsoft: in words.
    let (page, address) = yard.begin(&tenant, "redirect").await;
    let back = browse(&address, ALICE, "&sim_answer=decline").await;
    yard.come(&yard.cookie, &back).await;
    let (_, text) = yard.bench.page(&yard.cookie, &page).await;
    assert!(text.contains("declined"), "{text}");

    // The tenant is another one by the time that the browser comes back.
    let (page, address) = yard.begin(&tenant, "redirect").await;
    let back = browse(&address, ALICE, "").await;
    let wanted = json!({"name": "Alice", "definition": yard.definition(json!({"tenant_id": "contoso.com"}))});
    yard.good(Method::PUT, &format!("tenants/{tenant}"), Some(wanted)).await;
    assert_eq!(yard.come(&yard.cookie, &back).await.status(), StatusCode::UNPROCESSABLE_ENTITY, "{page}");
    assert!(yard.tenant(&tenant).await["user"].is_null());

    // Once it is Alice's, it stays hers.
    yard.sign_in(&tenant).await;
    let begun =
        yard.good(Method::POST, &format!("tenants/{tenant}/sign-ins"), Some(json!({"way": "device-code"}))).await;
    assert!(yard.sim.answer_device(begun["user_code"].as_str().expect("a code"), &bob, true));
    let failed = yard.good(Method::GET, &format!("sign-ins/{}", id(&begun)), None).await;
    assert!(failed["hint"].as_str().expect("a hint").contains("nothing was kept"), "{failed}");
    assert_eq!(yard.tenant(&tenant).await["user"]["name"], ALICE);
    // Another app: what was kept is good for nothing there, and goes.
    let wanted = json!({"name": "Alice", "definition": yard.definition(json!({"client_id": "another"}))});
    let changed = yard.good(Method::PUT, &format!("tenants/{tenant}"), Some(wanted)).await;
    assert!(changed["user"].is_null(), "{changed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_signed_in_to_so_is_refused_in_words() {
    let yard = Yard::quiet().await;
    let tenant = yard.connect("Alice", json!({})).await;
    let begin = |tenant: String, way: &'static str| {
        let path = yard.at(&format!("tenants/{tenant}/sign-ins"));
        let yard = &yard;
        async move { yard.bench.ask(&yard.owner, Method::POST, &path, Some(json!({"way": way}))).await }
    };
    let (status, problem) = begin(tenant.clone(), "redirect").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
    assert!(problem["message"].as_str().expect("a message").contains("session"), "{problem}");
    assert_eq!(begin(tenant.clone(), "consent").await.0, StatusCode::UNPROCESSABLE_ENTITY);
    // Another sign-in server than Microsoft's does not lead browsers about.
    let far = json!({"login_url": "https://login.example.com", "graph_url": "https://graph.example.com"});
    let far = yard.connect("Far", far).await;
    let led = yard.form(&format!("tenants/{far}/sign-ins"), "way=redirect").await;
    assert_eq!(led, format!("/a/{}/tenants/{far}", yard.account), "to the tenant's page, which says why");
    assert!(yard.bench.page(&yard.cookie, &led).await.1.contains("own sign-in only"));
    for (definition, word) in [
        (json!({"tenant_id": "common"}), "any directory"),
        (json!({"certificate": "x"}), "certificate"),
        (json!({"parts": ["faxes"]}), "faxes"),
        (json!({"tenant_id": "consumers", "parts": ["teams"]}), "Nothing"),
        (json!({"restore": {"client_id": "x", "sign_in": "user"}}), "app that restores"),
        (json!({"sign_in": "secret", "parts": []}), "secret"),
        (json!({"login_url": "http://login.example.com"}), "not safe"),
    ] {
        let wanted = json!({"name": "x", "definition": yard.definition(definition.clone())});
        let (status, problem) = yard.bench.ask(&yard.owner, Method::POST, &yard.at("tenants"), Some(wanted)).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{definition}: {problem}");
        assert!(problem["message"].as_str().expect("a message").contains(word), "{definition}: {problem}");
    }
    // A client elsewhere does not get a sign-in that changes with each use.
    let client = yard.good(Method::POST, "clients", Some(json!({"name": "pc"}))).await;
    let made = json!({"name": "Main", "destination": {"name": "here", "url": "server:"}});
    let made = yard.good(Method::POST, "repositories", Some(made)).await;
    let key = made["key"].as_str().expect("a key");
    let proof = json!({"key": key, "last_four": &key[key.len() - 4..]});
    let repository = id(&made["repository"]);
    yard.good(Method::POST, &format!("repositories/{repository}/confirmation"), Some(proof)).await;
    let set = json!({"name": "x", "tenant": tenant, "repository": repository, "client": id(&client["client"])});
    let (status, problem) = yard.bench.ask(&yard.owner, Method::POST, &yard.at("sets"), Some(set)).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
    assert!(problem["message"].as_str().expect("a message").contains("not on a client"), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_server_that_lies_shows_nobody_a_trap() {
    let yard = Yard::quiet().await;
    let answers = [
        json!({"device_code": "d", "user_code": "ABC", "verification_uri": "javascript:alert(1)"}).to_string(),
        json!({"device_code": "d", "user_code": "ABC", "verification_uri": "http://example.com/"}).to_string(),
        json!({"device_code": "d", "user_code": "A".repeat(500), "verification_uri": "https://example.com/"}).to_string(),
        json!({"device_code": "d", "user_code": "ABC", "verification_uri": format!("https://example.com/{}", "x".repeat(600))}).to_string(),
        "x".repeat(1 << 20),
    ];
    for answer in answers {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let router = Router::new().route("/{tenant}/oauth2/v2.0/devicecode", post(move || async move { answer }));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let tenant = yard.connect(&address, json!({"login_url": address, "graph_url": address})).await;
        let path = yard.at(&format!("tenants/{tenant}/sign-ins"));
        let (status, problem) =
            yard.bench.ask(&yard.owner, Method::POST, &path, Some(json!({"way": "device-code"}))).await;
        assert!(matches!(status.as_u16(), 500 | 503), "{status} {problem}");
        assert!(!problem.to_string().contains("example.com") && problem.to_string().len() < 1_000, "{problem}");
    }
}
