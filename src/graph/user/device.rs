//! Device code: the user types a short code into a browser anywhere, and this program asks until it was done.
//!
//! Source: RFC 8628, sections 3.2 to 3.5; Microsoft says `authorization_declined` where the RFC says `access_denied`.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
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

/// What a question for a device code gave.
#[derive(Debug)]
pub enum DeviceAnswer {
    /// The user has signed in.
    SignedIn(Box<SignedIn>),
    /// Not yet: ask again after this wait.
    Pending(Duration),
}

/// A device code that another process is to ask for: to be kept sealed. Does not print.
#[derive(Serialize, Deserialize)]
pub struct KeptDeviceCode {
    user_code: String,
    address: String,
    lifetime_s: u64,
    wait_s: u64,
    code: Zeroizing<String>,
}

impl fmt::Debug for KeptDeviceCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeptDeviceCode(…)")
    }
}

impl From<DeviceCode> for KeptDeviceCode {
    fn from(device: DeviceCode) -> Self {
        let DeviceCode { user_code, address, lifetime, wait, code } = device;
        Self { user_code, address, lifetime_s: lifetime.as_secs(), wait_s: wait.as_secs(), code }
    }
}

impl From<KeptDeviceCode> for DeviceCode {
    fn from(kept: KeptDeviceCode) -> Self {
        let KeptDeviceCode { user_code, address, lifetime_s, wait_s, code } = kept;
        let (lifetime, wait) = (Duration::from_secs(lifetime_s), Duration::from_secs(wait_s));
        Self { user_code, address, lifetime, wait, code }
    }
}

impl DeviceCode {
    /// How long is to be waited before the first question.
    pub fn wait(&self) -> Duration {
        self.wait
    }
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
        let ends = Instant::now() + device.lifetime.min(Duration::from_secs(24 * 3600));
        let mut wait = device.wait;
        loop {
            tokio::time::sleep(wait).await;
            match self.ask_device_code(device, wait).await? {
                DeviceAnswer::SignedIn(signed_in) => return Ok(*signed_in),
                DeviceAnswer::Pending(longer) => wait = longer,
            }
            if Instant::now() >= ends {
                return Err(self.expired());
            }
        }
    }

    /// Asks once whether the user has signed in. `wait` is what was waited since the last question.
    ///
    /// # Errors
    /// As [`Self::finish_device_code`].
    pub async fn ask_device_code(&self, device: &DeviceCode, wait: Duration) -> Result<DeviceAnswer> {
        let fields = || {
            let text = |text: &str| Zeroizing::new(text.to_owned());
            Ok(vec![("grant_type", text(GRANT)), ("device_code", device.code.clone())])
        };
        let refused = match self.endpoint.try_grant(fields).await {
            Ok(granted) => return Ok(DeviceAnswer::SignedIn(Box::new(self.signed_in(granted)?))),
            Err(Failed::Refused(refused)) => refused,
            Err(other) => return Err(self.endpoint.explain(other)),
        };
        match Next::after(&refused.error, wait) {
            Next::Ask(longer) => Ok(DeviceAnswer::Pending(longer)),
            Next::Declined => {
                let error = Error::new(ErrorKind::Permission, "The sign-in was declined in the browser");
                Err(error.with_hint(self.endpoint.asker.begin_anew()))
            }
            Next::Expired => Err(self.expired()),
            Next::Refused => Err(self.endpoint.explain(Failed::Refused(refused))),
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
