//! A tenant through an administrator: consent by redirect, recorded, or refused in words.

use reqwest::{Method, StatusCode, header};
use serde_json::json;

use super::signing_in::{Yard, browse, microsoft, options};
use crate::server::ProcessRole;
use crate::sim::SimOptions;

const ADMIN: &str = "alice@contoso.com";

async fn yard() -> Yard {
    let sim = SimOptions { admins: vec![ADMIN.to_owned()], roles: Vec::new(), ..options() };
    Yard::with(sim, ProcessRole::Web).await
}

/// Asks for consent on the page; gives the page, and where at Microsoft it goes on.
async fn ask(yard: &Yard, tenant_id: &str) -> (String, String) {
    let (client, address) = (yard.sim.client_id(), yard.sim.login_url());
    let body = format!("client_id={client}&tenant_id={tenant_id}&cloud=global&address={address}");
    let page = yard.form("consents", &body).await;
    let (_, text) = yard.bench.page(&yard.cookie, &page).await;
    (page, microsoft(&yard.sim, &text))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrators_consent_comes_back_with_the_tenant_and_is_recorded() {
    let yard = yard().await;
    let (page, address) = ask(&yard, "").await;
    assert!(address.contains("/organizations/v2.0/adminconsent?"), "{address}");
    let back = browse(&address, ADMIN, "").await;
    assert_eq!(yard.come(&yard.cookie, &back).await.headers()[header::LOCATION], page.as_str());
    assert_eq!(yard.come(&yard.cookie, &back).await.status(), StatusCode::FORBIDDEN, "once");
    let (_, text) = yard.bench.page(&yard.cookie, &page).await;
    assert!(text.contains("consented") && text.contains(yard.sim.tenant_id()), "{text}");
    let consent = page.rsplit('/').next().expect("an id");
    let (_, form) = yard.bench.page(&yard.cookie, &format!("/a/{}/tenants?consent={consent}", yard.account)).await;
    let filled = format!(
        "name=\"tenant_id\" required maxlength=\"200\" spellcheck=\"false\" value=\"{}\"",
        yard.sim.tenant_id()
    );
    assert!(form.contains(&filled), "{form}");

    // To another app or directory it does not belong.
    let secret: String = url::form_urlencoded::byte_serialize(yard.sim.client_secret().as_bytes()).collect();
    let body = |client: &str, tenant: &str| {
        let address = yard.sim.login_url();
        format!(
            "name=Contoso&tenant_id={tenant}&client_id={client}&sign_in=secret&secret={secret}&address={address}&consent={consent}"
        )
    };
    for (client, tenant) in [("another", yard.sim.tenant_id()), (yard.sim.client_id(), "contoso.com")] {
        let path = format!("/a/{}/tenants", yard.account);
        let answer = yard.bench.send_form(&path, Some(&yard.cookie), body(client, tenant)).await;
        assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY);
    }
    let made = yard.form("tenants", &body(yard.sim.client_id(), yard.sim.tenant_id())).await;
    let (_, text) = yard.bench.page(&yard.cookie, &made).await;
    assert!(
        text.contains("An administrator consented") && text.contains("everything that is needed is granted"),
        "{text}"
    );
    let log = yard.good(Method::GET, "audit", None).await.to_string();
    assert!(log.contains("tenant.consent\"") && log.contains("owner@contoso.com"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consent_that_is_refused_or_of_another_directory_is_told_in_words() {
    let yard = yard().await;
    for (user, more, words) in
        [(ADMIN, "&sim_answer=decline", "declined to consent"), ("bob@contoso.com", "", "AADSTS90094")]
    {
        let (page, address) = ask(&yard, yard.sim.tenant_id()).await;
        let back = browse(&address, user, more).await;
        yard.come(&yard.cookie, &back).await;
        let (_, text) = yard.bench.page(&yard.cookie, &page).await;
        assert!(text.contains(words) && text.contains("Begin again"), "{text}");
    }
    for change in ["tenant=00000000-0000-0000-0000-000000000000", "tenant=evil", "admin_consent=False"] {
        let (page, address) = ask(&yard, yard.sim.tenant_id()).await;
        let back = browse(&address, ADMIN, "").await;
        let (name, _) = change.split_once('=').expect("a pair");
        let from = back
            .split('&')
            .map(|pair| pair.rsplit('?').next().expect("a pair"))
            .find(|pair| pair.starts_with(&format!("{name}=")));
        let back = back.replace(from.expect("there"), change);
        yard.come(&yard.cookie, &back).await;
        let (_, text) = yard.bench.page(&yard.cookie, &page).await;
        assert!(text.contains("another directory") || text.contains("neither that consent"), "{change}: {text}");
    }
    // A program has no browser that could come back.
    let wanted = json!({"client_id": yard.sim.client_id(), "address": yard.sim.login_url()});
    let (status, problem) = yard.bench.ask(&yard.owner, Method::POST, &yard.at("consents"), Some(wanted)).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connected_tenant_gets_its_consent_and_is_tested_anew() {
    let yard = yard().await;
    let wanted = json!({"name": "Contoso", "secret": yard.sim.client_secret(), "definition": {
        "tenant_id": yard.sim.tenant_id(), "client_id": yard.sim.client_id(), "sign_in": "secret",
        "graph_url": yard.sim.graph_url(), "login_url": yard.sim.login_url()}});
    let tenant = super::id(&yard.good(Method::POST, "tenants", Some(wanted.clone())).await);
    let tested = yard.good(Method::POST, &format!("tenants/{tenant}/test"), None).await;
    assert!(tested["missing"].as_u64() > Some(0), "{tested}");
    let page = yard.form(&format!("tenants/{tenant}/consent"), "").await;
    let (_, text) = yard.bench.page(&yard.cookie, &page).await;
    let back = browse(&microsoft(&yard.sim, &text), ADMIN, "").await;
    yard.come(&yard.cookie, &back).await;
    let found = yard.good(Method::GET, &format!("tenants/{tenant}"), None).await;
    assert!(found["consented_us"].is_i64(), "{found}");

    // Consent to an app that is the tenant's no more, when the browser comes back, is none.
    let page = yard.form(&format!("tenants/{tenant}/consent"), "").await;
    let (_, text) = yard.bench.page(&yard.cookie, &page).await;
    let mut another = wanted;
    another["definition"]["client_id"] = json!("another");
    let changed = yard.good(Method::PUT, &format!("tenants/{tenant}"), Some(another)).await;
    assert!(changed["consented_us"].is_null(), "{changed}");
    let back = browse(&microsoft(&yard.sim, &text), ADMIN, "").await;
    yard.come(&yard.cookie, &back).await;
    let (_, text) = yard.bench.page(&yard.cookie, &page).await;
    assert!(text.contains("was changed while consent was asked for"), "{text}");
    let found = yard.good(Method::GET, &format!("tenants/{tenant}"), None).await;
    assert!(found["consented_us"].is_null(), "{found}");
}
