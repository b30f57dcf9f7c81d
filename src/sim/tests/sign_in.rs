//! The sign-in gives tokens to the right application and says what is wrong to all others.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use serde_json::{Value, json};

use super::client::{Client, Got, got, plain_http, sign_in, start};
use crate::sim::{SimHandle, SimOptions};

const SCOPE: &str = "https://graph.microsoft.com/.default";

async fn with(sim: &SimHandle, client: &str, secret: &str, scope: &str) -> Got {
    let form =
        [("grant_type", "client_credentials"), ("client_id", client), ("client_secret", secret), ("scope", scope)];
    sign_in(sim, &form).await
}

fn code(answer: &Got) -> u64 {
    let body = answer.json();
    for key in ["error", "error_description", "error_codes", "timestamp", "trace_id", "correlation_id", "error_uri"] {
        assert!(!body[key].is_null(), "{key}");
    }
    body["error_codes"][0].as_u64().unwrap_or(0)
}

#[tokio::test]
async fn refusals_carry_microsofts_codes() {
    let (sim, _) = start(SimOptions::tiny()).await;
    let (id, secret) = (sim.client_id().to_string(), sim.client_secret().to_string());
    assert_eq!(code(&with(&sim, &id, "wrong", SCOPE).await), 7_000_215);
    assert_eq!(code(&with(&sim, "6731de76-14a6-49ae-97bc-6eba6914391e", &secret, SCOPE).await), 700_016);
    assert_eq!(code(&with(&sim, &id, &secret, "Mail.Read").await), 70_011);
    assert_eq!(code(&with(&sim, &id, &secret, "https://example.com/.default").await), 500_011);
    let form = [("grant_type", "client_credentials"), ("client_id", id.as_str()), ("scope", SCOPE)];
    assert_eq!(code(&sign_in(&sim, &form).await), 7_000_218);
    let url = format!("{}/fabrikam.com/oauth2/v2.0/token", sim.login_url());
    let answer = got(plain_http().post(url).form(&form).send().await.expect("answers")).await;
    assert_eq!((answer.status, code(&answer)), (400, 90_002));
    sim.expire_secret();
    let answer = with(&sim, &id, &secret, SCOPE).await;
    assert_eq!((answer.status, code(&answer)), (401, 7_000_222));
}

#[tokio::test]
async fn a_token_carries_its_roles_and_ends() {
    let (sim, _) = start(SimOptions { token_lifetime: Duration::ZERO, ..SimOptions::tiny() }).await;
    let answer = with(&sim, sim.client_id(), sim.client_secret(), SCOPE).await.json();
    let token = answer["access_token"].as_str().expect("a token").to_string();
    let claims = B64.decode(token.split('.').nth(1).expect("claims")).expect("base64");
    let claims: Value = serde_json::from_slice(&claims).expect("JSON");
    assert!(claims["roles"].as_array().is_some_and(|r| r.contains(&"Mail.Read".into())));
    let client = Client::new(&sim).await;
    let refused = client.get("users").await;
    assert_eq!((refused.status, refused.code().as_str()), (401, "InvalidAuthenticationToken"));
    let answer = plain_http().get(format!("{}/v1.0/users", sim.graph_url())).send().await.expect("answers");
    assert_eq!(answer.status().as_u16(), 401);
}

#[tokio::test]
async fn a_missing_role_closes_its_workload_alone() {
    let roles = vec!["User.Read.All".to_string(), "Files.Read.All".to_string()];
    let (sim, client) = start(SimOptions { roles, ..SimOptions::tiny() }).await;
    client.ok("users").await;
    let refused = client.get("users/alice@contoso.com/mailFolders").await;
    assert_eq!((refused.status, refused.code().as_str()), (403, "ErrorAccessDenied"));
    assert_eq!(client.get("users/alice@contoso.com/drive").await.status, 200);
    sim.revoke_tokens();
    assert_eq!(client.get("users").await.status, 401);
}

#[tokio::test]
async fn assertions_are_checked_claim_by_claim() {
    let (sim, _) = start(SimOptions::tiny()).await;
    let id = sim.client_id().to_string();
    let url = format!("{}/{}/oauth2/v2.0/token", sim.login_url(), sim.tenant_id());
    let now = jiff::Timestamp::now().as_second();
    let good = json!({"aud": url, "iss": id, "sub": id, "jti": "1", "nbf": now, "exp": now + 300});
    let ask = async |claims: Value| {
        let header = json!({"alg": "PS256", "typ": "JWT", "x5t#S256": "AA"});
        let jwt = format!("{}.{}.AA", B64.encode(header.to_string()), B64.encode(claims.to_string()));
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", id.as_str()),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", jwt.as_str()),
            ("scope", SCOPE),
        ];
        sign_in(&sim, &form).await
    };
    assert_eq!(ask(good.clone()).await.status, 200);
    for (claim, value, want) in [
        ("aud", json!("https://example.com"), 700_023),
        ("iss", json!("other"), 700_021),
        ("exp", json!(now - 60), 700_024),
    ] {
        let mut bad = good.clone();
        bad[claim] = value;
        assert_eq!(code(&ask(bad).await), want, "{claim}");
    }
}

#[tokio::test]
async fn a_registered_certificate_must_have_signed_the_assertion() {
    use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
    let certificate_pem = Some(include_str!("certificate.pem").to_string());
    let (sim, _) = start(SimOptions { certificate_pem, ..SimOptions::tiny() }).await;
    let id = sim.client_id().to_string();
    let now = jiff::Timestamp::now().as_second();
    let url = format!("{}/{}/oauth2/v2.0/token", sim.login_url(), sim.tenant_id());
    let claims = json!({"aud": url, "iss": id, "sub": id, "jti": "1", "nbf": now, "exp": now + 300});
    let key = EncodingKey::from_rsa_pem(include_bytes!("key.pem")).expect("a key");
    let header = Header { x5t_s256: Some("AA".into()), ..Header::new(Algorithm::PS256) };
    let jwt = encode(&header, &claims, &key).expect("signed");
    let forged = format!("{}.{}", jwt.rsplit_once('.').expect("parts").0, B64.encode([7; 256]));
    for (assertion, status) in [(jwt, 200), (forged, 401)] {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", id.as_str()),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", assertion.as_str()),
            ("scope", SCOPE),
        ];
        assert_eq!(sign_in(&sim, &form).await.status, status);
    }
}
