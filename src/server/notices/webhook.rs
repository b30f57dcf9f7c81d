//! Webhooks and pings: web addresses that people of accounts enter, and that the server calls.
//!
//! A post carries `Tenantvault-Signature: t=SECONDS,v1=HEX`: HMAC-SHA256 (RFC 2104), under the receiver's key, over the
//! seconds since 1970, a dot and the body. Whoever checks it refuses what is old.

use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::{Client, header};
use serde_json::json;
use sha2::Sha256;
use url::Url;

use super::notice::Notice;
use crate::error::{Error, ErrorKind, Result};
use crate::server::db::{Delivery, ReceiverSecret};
use crate::server::id::hex;
use crate::server::state::Server;
use crate::server::targets;

/// How long a call may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// The header of the signature.
const SIGNATURE: &str = "tenantvault-signature";

/// The signature of a body.
pub(super) fn sign(key: &str, seconds: i64, body: &[u8]) -> Result<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes())
        .map_err(|e| Error::internal("A signature cannot be made").with_source(e))?;
    mac.update(format!("{seconds}.").as_bytes());
    mac.update(body);
    Ok(format!("t={seconds},v1={}", hex(&mac.finalize().into_bytes())))
}

/// A client that connects to where the address was looked at, and is led nowhere else.
async fn client(server: &Server, address: &str) -> Result<(Client, Url)> {
    let found = targets::resolve(server, address).await?;
    let url = Url::parse(address).map_err(|_| Error::invalid("This is not a web address"))?;
    let mut builder = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(PATIENCE)
        .user_agent(concat!("tenantvault/", env!("CARGO_PKG_VERSION")));
    if !server.options.allow_private_targets {
        builder = builder.no_proxy();
    }
    if let (Some(host), false) = (url.host_str(), found.is_empty()) {
        builder = builder.resolve_to_addrs(host, &found);
    }
    let client = builder.build().map_err(|e| Error::internal("No client can be made").with_source(e))?;
    Ok((client, url))
}

/// What came of a call. Of the answer nothing is read but its status; of the error nothing is told but its kind: the address
/// may be a secret.
fn outcome(answer: reqwest::Result<reqwest::Response>) -> Result<()> {
    let unavailable = |text: String| Error::new(ErrorKind::Unavailable, text);
    match answer {
        Ok(answer) if answer.status().is_success() => Ok(()),
        Ok(answer) if answer.status().is_redirection() => Err(unavailable(format!(
            "It answers {}, which leads elsewhere; that is not followed",
            answer.status().as_u16()
        ))),
        Ok(answer) => Err(unavailable(format!("It answers {}", answer.status().as_u16()))),
        Err(e) if e.is_timeout() => Err(unavailable(format!("It does not answer within {} s", PATIENCE.as_secs()))),
        Err(e) if e.is_connect() => Err(unavailable("It cannot be reached".to_owned())),
        Err(_) => Err(unavailable("The call does not work".to_owned())),
    }
}

/// Posts a notice.
///
/// # Errors
/// When it cannot be reached, answers with anything but success, or must not be reached.
pub(super) async fn post(
    server: &Server,
    secret: &ReceiverSecret,
    account: &str,
    notice: &Notice,
    delivery: &Delivery,
) -> Result<()> {
    let (client, url) = client(server, &secret.url).await?;
    let facts: serde_json::Map<String, serde_json::Value> =
        notice.facts.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    let body = json!({
        "delivery": delivery.id,
        "event": notice.event,
        "at_us": notice.at_us,
        "account": {"id": account, "name": notice.account},
        "title": notice.title,
        "facts": facts,
        "details": notice.details,
        "link": if notice.path.is_empty() { String::new() } else { server.link(&notice.path) },
    })
    .to_string();
    let signature = sign(&secret.key, server.now_us().div_euclid(1_000_000), body.as_bytes())?;
    let request = client.post(url).header(header::CONTENT_TYPE, "application/json").header(SIGNATURE, signature);
    outcome(request.body(body).send().await)
}

/// Calls an address.
///
/// # Errors
/// As [`post`].
pub(super) async fn ping(server: &Server, secret: &ReceiverSecret) -> Result<()> {
    let (client, url) = client(server, &secret.url).await?;
    outcome(client.get(url).send().await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_what_others_compute() {
        // Made with: printf '5.{}' | openssl dgst -sha256 -hmac key
        let signature = sign("key", 5, b"{}").expect("signed");
        assert_eq!(signature, "t=5,v1=9be615aec64f0d044b5ad6854ab1d893ec88617fb728d2149dcd3a3428e8c45d");
        assert_ne!(sign("other", 5, b"{}").expect("signed"), signature);
        assert_ne!(sign("key", 6, b"{}").expect("signed"), signature);
    }
}
