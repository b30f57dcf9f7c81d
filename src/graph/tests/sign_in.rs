//! Signing in: proofs, keeping the token, refusals, secrets.

use base64::Engine as _;
use serde_json::{Value, json};

use super::server::{Reply, SECRET, Server, mail, token};
use crate::error::ErrorKind;
use crate::graph::{Client, ClientOptions, Cloud, Credential, granted_roles};

fn form(body: &str, key: &str) -> Option<String> {
    url::form_urlencoded::parse(body.as_bytes()).find(|(k, _)| k == key).map(|(_, v)| v.into_owned())
}

#[tokio::test]
async fn one_sign_in_serves_all_requests_even_at_once() {
    let server = Server::graph(|_, _| Reply::json(200, &json!({}))).await;
    let client = server.client();
    let all = (0..12).map(|n| client.get_json(mail(&format!("users/alice/x{n}"))));
    futures::future::try_join_all(all).await.unwrap();
    let sign_ins = server.seen("/token");
    assert_eq!(sign_ins.len(), 1);
    assert_eq!(sign_ins[0].path, "/contoso.onmicrosoft.com/oauth2/v2.0/token");
    let body = &sign_ins[0].body;
    assert_eq!(form(body, "grant_type").as_deref(), Some("client_credentials"));
    assert_eq!(form(body, "client_id").as_deref(), Some("app-1"));
    assert_eq!(form(body, "client_secret").as_deref(), Some(SECRET));
    assert_eq!(form(body, "scope"), Some(format!("{}/.default", server.root)));
    assert_eq!(sign_ins[0].header("authorization"), None);
}

#[tokio::test]
async fn a_token_at_its_end_is_renewed() {
    let server =
        Server::start(|seen, n| if seen.path.ends_with("/token") { token(n, 0) } else { Reply::json(200, &json!({})) })
            .await;
    let client = server.client();
    client.get_json(mail("a")).await.unwrap();
    client.get_json(mail("b")).await.unwrap();
    assert_eq!(server.seen("/token").len(), 2);
    assert_eq!(server.seen("/v1.0/b")[0].header("authorization"), Some("Bearer token-1"));
}

#[tokio::test]
async fn a_refused_token_is_replaced_once_and_the_claims_are_passed_on() {
    let claims = r#"{"access_token":{"nbf":{"essential":true,"value":"1"}}}"#;
    let challenge = base64::engine::general_purpose::STANDARD.encode(claims);
    let server = Server::graph(move |seen, _| match seen.header("authorization") {
        Some("Bearer token-0") => Reply::error(401, "InvalidAuthenticationToken").header(
            "www-authenticate",
            format!("Bearer realm=\"\", error=\"insufficient_claims\", claims=\"{challenge}\""),
        ),
        _ => Reply::json(200, &json!({"fine": true})),
    })
    .await;
    let client = server.client();
    assert_eq!(client.get_json(mail("a")).await.unwrap()["fine"], true);
    assert_eq!(server.seen("/v1.0/a").len(), 2);
    assert_eq!(form(&server.seen("/token")[1].body, "claims").as_deref(), Some(claims));
}

#[tokio::test]
async fn a_second_refusal_of_the_token_is_final() {
    let server = Server::graph(|_, _| Reply::error(401, "InvalidAuthenticationToken")).await;
    let error = server.client().get_json(mail("a")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Permission);
    assert_eq!(server.seen("/v1.0/a").len(), 2);
}

#[tokio::test]
async fn a_refused_sign_in_is_explained_and_not_asked_again_in_a_loop() {
    let server = Server::start(|_, _| {
        let text = format!("AADSTS7000215: Invalid client secret provided {SECRET}.\r\nTrace ID: t");
        Reply::json(401, &json!({"error": "invalid_client", "error_description": text, "error_codes": [7_000_215]}))
    })
    .await;
    let client = server.client();
    for _ in 0..3 {
        let error = client.sign_in().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Permission);
        assert!(error.to_string().contains("the client secret is wrong (AADSTS7000215)"), "{error}");
        assert!(error.hint().unwrap().contains("Value"));
    }
    assert_eq!(server.seen("/token").len(), 1);
}

#[tokio::test]
async fn a_busy_sign_in_server_is_asked_again() {
    let server = Server::start(|_, n| match n {
        0 => Reply::bytes(503, ""),
        1 => Reply::bytes(429, "").header("retry-after", "0.01"),
        _ => token(n, 3600),
    })
    .await;
    server.client().sign_in().await.unwrap();
    assert_eq!(server.seen("/token").len(), 3);
}

#[tokio::test]
async fn what_is_no_token_answer_is_named_without_its_text() {
    let server =
        Server::start(|_, _| Reply::bytes(200, "<html>private page</html>").header("content-type", "text/html")).await;
    let error = server.client().sign_in().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(!format!("{error:?}").contains("private"));
}

const CERTIFICATE: &str = include_str!("../../../tests/fixtures/graph/app-cert.pem");
const KEY: &str = include_str!("../../../tests/fixtures/graph/app-key.pem");
const PUBLIC: &str = include_str!("../../../tests/fixtures/graph/app-public.pem");
/// By `openssl dgst -sha256` over the DER.
const THUMBPRINT: &str = "IFwmTD2sMumHIf0yPurfc-J_dT8o-y5-4xPFc6QnBjM";

#[tokio::test]
async fn a_certificate_signs_an_assertion_for_the_token_endpoint() {
    let server = Server::graph(|_, _| Reply::json(200, &json!({}))).await;
    // One file may hold both.
    let both = format!("{CERTIFICATE}\n{KEY}");
    let client = Client::new(server.options(), "contoso", "app-1", Credential::certificate(&both, &both)).unwrap();
    client.sign_in().await.unwrap();
    let body = &server.seen("/token")[0].body;
    assert_eq!(form(body, "client_secret"), None);
    assert_eq!(form(body, "client_id").as_deref(), Some("app-1"));
    let kind = form(body, "client_assertion_type").unwrap();
    assert_eq!(kind, "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    let assertion = form(body, "client_assertion").unwrap();
    let header = jsonwebtoken::decode_header(&assertion).unwrap();
    assert_eq!((header.alg, header.typ.as_deref()), (jsonwebtoken::Algorithm::PS256, Some("JWT")));
    assert_eq!(header.x5t_s256.as_deref(), Some(THUMBPRINT));
    let mut rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::PS256);
    rules.set_audience(&[format!("{}/contoso/oauth2/v2.0/token", server.root)]);
    let key = jsonwebtoken::DecodingKey::from_rsa_pem(PUBLIC.as_bytes()).unwrap();
    let claims = jsonwebtoken::decode::<Value>(&assertion, &key, &rules).unwrap().claims;
    assert_eq!((&claims["iss"], &claims["sub"]), (&json!("app-1"), &json!("app-1")));
    assert!(claims["exp"].as_u64().unwrap() - claims["nbf"].as_u64().unwrap() <= 600);
}

#[test]
fn what_cannot_sign_in_is_refused_before_anything_is_sent() {
    let make = |tenant: &str, id: &str, credential| {
        Client::new(ClientOptions::new(Cloud::default()), tenant, id, credential).unwrap_err()
    };
    for error in [
        make("contoso", "", Credential::secret("x")),
        make("contoso", "app", Credential::secret("")),
        make("", "app", Credential::secret("x")),
        make("a b", "app", Credential::secret("x")),
        make("contoso", "app", Credential::certificate("no pem", KEY)),
        make("contoso", "app", Credential::certificate(CERTIFICATE, "no pem")),
        make("contoso", "app", Credential::certificate(CERTIFICATE, CERTIFICATE)),
        make("contoso", "app", Credential::certificate(CERTIFICATE, "-----BEGIN ENCRYPTED PRIVATE KEY-----")),
        make(
            "contoso",
            "app",
            Credential::certificate(CERTIFICATE, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"),
        ),
    ] {
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
}

#[tokio::test]
async fn secrets_stand_in_no_debug_text_and_no_error() {
    let server = Server::graph(|_, _| Reply::error(403, "accessDenied")).await;
    let client = server.client();
    let error = client.get_json(mail("users/alice/messages/delta?$deltatoken=private-token")).await.unwrap_err();
    let token = client.transport.tokens.get().await.unwrap();
    let texts = [
        format!("{error:?} {error} {:?}", error.hint()),
        format!("{client:?} {token:?} {:?}", client.transport.tokens),
        format!("{:?}", Credential::secret(SECRET)),
        format!("{:?}", Credential::certificate(CERTIFICATE, KEY)),
        format!("{:?}", mail("users/alice/messages/delta?$deltatoken=private-token")),
    ];
    for text in texts {
        for secret in [SECRET, "token-0", "private-token", "PRIVATE KEY"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}

#[test]
fn roles_are_read_from_a_token_as_a_hint() {
    let jwt = |payload: &str| {
        let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.sig", encode("{}"), encode(payload))
    };
    assert_eq!(
        granted_roles(&jwt(r#"{"roles":["Mail.Read","Files.Read.All"]}"#)).unwrap(),
        ["Mail.Read", "Files.Read.All"]
    );
    assert_eq!(granted_roles(&jwt("{}")), Some(Vec::new()));
    assert_eq!(granted_roles("opaque"), None);
    assert_eq!(granted_roles(&jwt("not json")), None);
}
