//! The token endpoint: sends a grant, reads the answer, repeats what failed on the way, explains what was refused.
//!
//! Every way to sign in ends here, so that Microsoft's `error_codes` reach the user whatever the way was.
//! Source: RFC 6749, sections 4 to 6; Microsoft, "OAuth 2.0 client credentials flow", "OAuth 2.0 authorization code flow".

use std::time::Duration;

use serde::Deserialize;
use url::Url;
use zeroize::Zeroizing;

use super::cloud::Cloud;
use super::http::{CallError, Http};
use super::retry::RetryOptions;
use super::signin::{Asker, SignInError, refusal};
use super::token::AccessToken;
use crate::error::{Error, ErrorKind, Result};

/// What stands in a grant, by name.
pub(crate) type Fields = Vec<(&'static str, Zeroizing<String>)>;

/// Where an app gets its tokens.
#[derive(Clone)]
pub(crate) struct TokenEndpoint {
    pub(crate) http: Http,
    pub(crate) retry: RetryOptions,
    pub(crate) url: Url,
    pub(crate) client_id: String,
    /// Who asks, so that a refusal can say what to do.
    pub(crate) asker: Asker,
}

/// What the endpoint gave.
pub(crate) struct Granted {
    pub(crate) access: AccessToken,
    pub(crate) refresh: Option<Zeroizing<String>>,
}

/// Why there is no token.
pub(crate) enum Failed {
    /// The server refuses, in its own words.
    Refused(Box<SignInError>),
    /// Nothing came, or nothing that can be read.
    Other(Error),
}

/// One try's failure.
enum Tried {
    Final(Failed),
    Again(Option<Duration>, Error),
}

/// An answer with a token; also that of the device code endpoint passes through [`TokenEndpoint::post`].
#[derive(Deserialize)]
struct Answer {
    access_token: String,
    #[serde(default)]
    expires_in: Option<Seconds>,
    #[serde(default)]
    refresh_token: Option<String>,
    #[serde(default)]
    scope: Option<String>,
}

/// A number of seconds; older endpoints write it as text.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Seconds {
    Number(u64),
    Text(String),
}

impl Seconds {
    pub(crate) fn duration(&self, otherwise: u64) -> Duration {
        Duration::from_secs(match self {
            Self::Number(seconds) => *seconds,
            Self::Text(text) => text.trim().parse().unwrap_or(otherwise),
        })
    }
}

impl TokenEndpoint {
    pub(crate) fn new(
        http: Http,
        retry: RetryOptions,
        cloud: &Cloud,
        tenant: &str,
        client_id: &str,
        again: Option<&str>,
    ) -> Result<Self> {
        let url = cloud.token_url(tenant)?;
        let client_id = client_id.trim();
        if client_id.is_empty() {
            return Err(Error::invalid("The client id is empty")
                .with_hint("Give the Application (client) ID of the app registration"));
        }
        let consent = cloud.admin_consent_url(tenant, client_id)?;
        let asker = Asker { tenant: tenant.to_owned(), again: again.map(str::to_owned), consent };
        Ok(Self { http, retry, url, client_id: client_id.to_owned(), asker })
    }

    /// Asks for a token; a refusal is explained. `make` gives the fields beside the client id, anew for each try.
    pub(crate) async fn grant(&self, make: impl Fn() -> Result<Fields>) -> Result<Granted> {
        self.try_grant(make).await.map_err(|failed| self.explain(failed))
    }

    /// The same, with a refusal as it came.
    pub(crate) async fn try_grant(&self, make: impl Fn() -> Result<Fields>) -> Result<Granted, Failed> {
        let body = self.post(&self.url, make).await?;
        let answer: Answer = serde_json::from_slice(&body).map_err(|_| self.unreadable())?;
        if answer.access_token.is_empty() {
            return Err(self.unreadable());
        }
        let lifetime = answer.expires_in.map_or(Duration::from_secs(3600), |seconds| seconds.duration(3600));
        let scopes = answer.scope.map(|text| text.split_whitespace().map(short_scope).collect());
        Ok(Granted {
            access: AccessToken::new(answer.access_token, lifetime).with_scopes(scopes),
            refresh: answer.refresh_token.filter(|token| !token.is_empty()).map(Zeroizing::new),
        })
    }

    /// Posts a form and gives the body of a good answer.
    pub(crate) async fn post(
        &self,
        url: &Url,
        make: impl Fn() -> Result<Fields>,
    ) -> Result<Zeroizing<Vec<u8>>, Failed> {
        let mut attempt = 1;
        loop {
            match self.try_post(url, make().map_err(Failed::Other)?).await {
                Ok(body) => return Ok(body),
                Err(Tried::Final(failed)) => return Err(failed),
                Err(Tried::Again(_, e)) if attempt >= self.retry.attempts => return Err(Failed::Other(e)),
                Err(Tried::Again(asked, _)) => {
                    tokio::time::sleep(self.retry.wait(attempt, asked)).await;
                    attempt += 1;
                }
            }
        }
    }

    async fn try_post(&self, url: &Url, fields: Fields) -> Result<Zeroizing<Vec<u8>>, Tried> {
        let host = url.host_str().unwrap_or_default();
        let (status, body) = match self.http.post_form(url, self.form(&fields), self.retry.timeout).await {
            Ok(answer) => answer,
            Err(CallError::Transport(cause)) => {
                return Err(Tried::Again(None, cause.into_error(&format!("the sign-in at {host}"))));
            }
            Err(CallError::Busy { status, retry_after }) => {
                let text = format!("The sign-in server {host} answers {status}");
                let error = Error::new(ErrorKind::Unavailable, text).with_hint("Run again later");
                return Err(Tried::Again(retry_after, error));
            }
        };
        if status == 200 {
            return Ok(body);
        }
        let refused = serde_json::from_slice::<SignInError>(&body).ok();
        let refused = refused.filter(|refused| !refused.error.is_empty() || !refused.error_codes.is_empty());
        Err(Tried::Final(refused.map_or_else(|| self.unreadable(), |refused| Failed::Refused(Box::new(refused)))))
    }

    fn form(&self, fields: &Fields) -> String {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("client_id", &self.client_id);
        for (name, value) in fields {
            form.append_pair(name, value);
        }
        form.finish()
    }

    /// The body is not told: it may hold a token.
    pub(crate) fn unreadable(&self) -> Failed {
        let host = self.url.host_str().unwrap_or_default();
        Failed::Other(
            Error::new(ErrorKind::Corrupt, format!("The answer of the sign-in server {host} cannot be read"))
                .with_hint("Check the sign-in address and whether a proxy stands in between"),
        )
    }

    /// Makes the crate's error of a failure.
    pub(crate) fn explain(&self, failed: Failed) -> Error {
        match failed {
            Failed::Refused(refused) => refusal(*refused, &self.asker),
            Failed::Other(error) => error,
        }
    }
}

/// A scope without the address of Graph, which some answers have and others leave out.
fn short_scope(scope: &str) -> String {
    scope.rsplit('/').next().unwrap_or(scope).to_owned()
}
