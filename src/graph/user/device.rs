//! Device code: the user types a short code into a browser anywhere, and this program asks until it was done.
//!
//! Source: RFC 8628, sections 3.2 to 3.5; Microsoft says `authorization_declined` where the RFC says `access_denied`.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::{SignedIn, UserSignIn};
use crate::error::{Error, ErrorKind, Result};
use crate::graph::endpoint::{Failed, Seconds};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// What the server's `slow_down` adds to the wait (RFC 8628, section 3.5).
const SLOWER: Duration = Duration::from_secs(5);
/// The wait between two questions where the server names none, and the longest that it may name.
const USUAL_WAIT: u64 = 5;
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A sign-in that waits for the user. The device code does not print.
pub struct DeviceCode {
    /// What the user types.
    pub user_code: String,
    /// Where the user types it.
    pub address: String,
    /// How long the code is good for.
    pub lifetime: Duration,
    wait: Duration,
    code: Zeroizing<String>,
}

#[derive(Deserialize)]
struct Answer {
    device_code: String,
    user_code: String,
    verification_uri: String,
    #[serde(default)]
    expires_in: Option<Seconds>,
    #[serde(default)]
    interval: Option<Seconds>,
}

/// What follows from the answer to a question.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// Ask again after this wait.
    Ask(Duration),
    Declined,
    Expired,
    Refused,
}

impl Next {
    fn after(error: &str, wait: Duration) -> Self {
        match error {
            "authorization_pending" => Self::Ask(wait),
            "slow_down" => Self::Ask((wait + SLOWER).min(LONGEST_WAIT)),
            "authorization_declined" | "access_denied" => Self::Declined,
            "expired_token" => Self::Expired,
            _ => Self::Refused,
        }
    }
}

impl UserSignIn {
    /// Asks for a code that the user is to type.
    ///
    /// # Errors
    /// A refusal, explained; failures of the network.
    pub async fn begin_device_code(&self) -> Result<DeviceCode> {
        let url = self.cloud.sign_in_url(&self.tenant, "oauth2/v2.0/devicecode")?;
        let fields = || Ok(vec![("scope", self.scope(&self.scopes))]);
        let body = self.endpoint.post(&url, fields).await.map_err(|failed| self.endpoint.explain(failed))?;
        let answer: Answer =
            serde_json::from_slice(&body).map_err(|_| self.endpoint.explain(self.endpoint.unreadable()))?;
        let seconds = |field: Option<Seconds>, otherwise| {
            field.map_or(Duration::from_secs(otherwise), |seconds| seconds.duration(otherwise))
        };
        Ok(DeviceCode {
            user_code: answer.user_code,
            address: answer.verification_uri,
            lifetime: seconds(answer.expires_in, 900),
            wait: seconds(answer.interval, USUAL_WAIT).min(LONGEST_WAIT),
            code: Zeroizing::new(answer.device_code),
        })
    }

    /// Waits until the user has signed in, has declined, or the code has expired.
    ///
    /// # Errors
    /// [`ErrorKind::Permission`] if the user declined or was too slow, or the server refuses, explained.
    pub async fn finish_device_code(&self, device: &DeviceCode) -> Result<SignedIn> {
        let fields = || {
            let text = |text: &str| Zeroizing::new(text.to_owned());
            Ok(vec![("grant_type", text(GRANT)), ("device_code", device.code.clone())])
        };
        let ends = Instant::now() + device.lifetime.min(Duration::from_secs(24 * 3600));
        let mut wait = device.wait;
        loop {
            tokio::time::sleep(wait).await;
            let refused = match self.endpoint.try_grant(fields).await {
                Ok(granted) => return self.signed_in(granted),
                Err(Failed::Refused(refused)) => refused,
                Err(other) => return Err(self.endpoint.explain(other)),
            };
            match Next::after(&refused.error, wait) {
                Next::Ask(longer) => wait = longer,
                Next::Declined => {
                    let error = Error::new(ErrorKind::Permission, "The sign-in was declined in the browser");
                    return Err(error.with_hint(self.endpoint.asker.begin_anew()));
                }
                Next::Expired => return Err(self.expired()),
                Next::Refused => return Err(self.endpoint.explain(Failed::Refused(refused))),
            }
            if Instant::now() >= ends {
                return Err(self.expired());
            }
        }
    }

    fn expired(&self) -> Error {
        let error = Error::new(ErrorKind::Permission, "The code expired before it was typed into the browser");
        error.with_hint(self.endpoint.asker.begin_anew())
    }
}

impl fmt::Debug for DeviceCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceCode").field("address", &self.address).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_asked_too_often_is_asked_more_slowly_from_then_on() {
        let seconds = Duration::from_secs;
        let Next::Ask(wait) = Next::after("authorization_pending", seconds(5)) else { panic!("pending") };
        let Next::Ask(wait) = Next::after("slow_down", wait) else { panic!("slow down") };
        assert_eq!(wait, seconds(10));
        assert_eq!(Next::after("slow_down", seconds(58)), Next::Ask(LONGEST_WAIT));
        assert_eq!(Next::after("authorization_declined", wait), Next::Declined);
        assert_eq!(Next::after("access_denied", wait), Next::Declined);
        assert_eq!(Next::after("expired_token", wait), Next::Expired);
        assert_eq!(Next::after("bad_verification_code", wait), Next::Refused);
    }
}
