//! Access tokens: where they come from, keeping one in memory, what stands in it.
//!
//! A [`TokenSource`] asks the sign-in server; [`TokenCache`] keeps what it gave and asks again shortly before it ends, once for
//! all who wait. Apps sign in by themselves (`auth`); users' sign-ins are further sources (`user`).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind, Result};

/// An access token and when it ends. Does not print; zeroised on drop.
pub struct AccessToken {
    secret: Zeroizing<String>,
    expires_at: Instant,
    renew_at: Instant,
    scopes: Option<Vec<String>>,
}

impl AccessToken {
    /// Takes a token that is good for `lifetime` from now on. It is renewed a margin before its end: five minutes,
    /// or a tenth of short lifetimes.
    pub fn new(secret: impl Into<String>, lifetime: Duration) -> Self {
        let now = Instant::now();
        // An absurd lifetime from the network must not overflow the clock.
        let lifetime = lifetime.min(Duration::from_secs(7 * 24 * 3600));
        let margin = (lifetime / 10).min(Duration::from_secs(300));
        let (expires_at, renew_at) = (now + lifetime, now + lifetime - margin);
        Self { secret: Zeroizing::new(secret.into()), expires_at, renew_at, scopes: None }
    }

    /// Notes what the sign-in server says that the token is good for, beside what may stand in it.
    #[must_use]
    pub fn with_scopes(mut self, scopes: Option<Vec<String>>) -> Self {
        self.scopes = scopes;
        self
    }

    /// What the token is good for, as far as it can be told: the application roles of an app, the scopes of a user.
    /// `None`: neither the server said so, nor can the token be read (those of personal accounts cannot).
    pub fn granted(&self) -> Option<Vec<String>> {
        let told = || self.scopes.clone().filter(|scopes| scopes.iter().any(|scope| scope != ".default"));
        match claims(&self.secret) {
            Some(claims) if claims.get("scp").is_some() => {
                Some(claims["scp"].as_str()?.split_whitespace().map(str::to_owned).collect())
            }
            Some(_) => granted_roles(&self.secret),
            None => told(),
        }
    }

    /// The token itself. Keep it out of messages.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// When the token ends.
    pub fn expires_at(&self) -> Instant {
        self.expires_at
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken(…)")
    }
}

/// Gets fresh access tokens from a sign-in server.
#[async_trait]
pub trait TokenSource: Send + Sync {
    /// Signs in. `claims` is what a 401's `WWW-Authenticate` asked to pass on, as JSON text. Called by one task at a
    /// time. Refusals come as [`ErrorKind::Permission`], failures of the network as [`ErrorKind::Unavailable`].
    async fn fetch(&self, claims: Option<&str>) -> Result<AccessToken>;
}

/// For how long a refusal is repeated to callers without asking again: the sign-in server locks out those who loop.
const REFUSAL_KEPT: Duration = Duration::from_secs(10);

/// Keeps one token in memory.
pub struct TokenCache {
    source: Arc<dyn TokenSource>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    token: Option<Arc<AccessToken>>,
    refusal: Option<(Instant, String, Option<String>)>,
}

impl TokenCache {
    /// Starts without a token.
    pub fn new(source: Arc<dyn TokenSource>) -> Self {
        Self { source, state: Mutex::default() }
    }

    /// Gives the token, a fresh one if there is none or it is about to end.
    pub async fn get(&self) -> Result<Arc<AccessToken>> {
        let mut state = self.state.lock().await;
        if let Some(token) = state.token.as_ref().filter(|t| Instant::now() < t.renew_at) {
            return Ok(token.clone());
        }
        let old = state.token.clone();
        match self.fetch(&mut state, None).await {
            // The margin is there to be used: a sign-in server that is away for a moment does no harm yet.
            Err(e) if e.is_retryable() => old.filter(|t| Instant::now() < t.expires_at).ok_or(e),
            other => other,
        }
    }

    /// Gives a token in place of one that Graph refused; asks the server only if nobody did so meanwhile.
    pub async fn replace(&self, refused: &Arc<AccessToken>, claims: Option<&str>) -> Result<Arc<AccessToken>> {
        let mut state = self.state.lock().await;
        match &state.token {
            Some(token) if !Arc::ptr_eq(token, refused) => Ok(token.clone()),
            _ => {
                state.token = None;
                self.fetch(&mut state, claims).await
            }
        }
    }

    async fn fetch(&self, state: &mut State, claims: Option<&str>) -> Result<Arc<AccessToken>> {
        let fresh = |(since, ..): &&(Instant, String, Option<String>)| since.elapsed() < REFUSAL_KEPT;
        if let Some((_, message, hint)) = state.refusal.as_ref().filter(fresh) {
            let error = Error::new(ErrorKind::Permission, message.clone());
            return Err(match hint {
                Some(hint) => error.with_hint(hint.clone()),
                None => error,
            });
        }
        match self.source.fetch(claims).await {
            Ok(token) => {
                let token = Arc::new(token);
                *state = State { token: Some(token.clone()), refusal: None };
                Ok(token)
            }
            Err(e) => {
                if e.kind() == ErrorKind::Permission {
                    state.refusal = Some((Instant::now(), e.to_string(), e.hint().map(str::to_owned)));
                }
                Err(e)
            }
        }
    }
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenCache(…)")
    }
}

/// Lists the application roles that stand in a token (`Mail.Read`, …): empty if nothing was consented, `None` if the
/// token cannot be read. A hint only: Microsoft does not promise the format; the authority is a probing call.
pub fn granted_roles(token: &str) -> Option<Vec<String>> {
    let claims = claims(token)?;
    let Some(roles) = claims.get("roles") else { return Some(Vec::new()) };
    Some(roles.as_array()?.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

/// Reads the payload of a JWT without verifying it.
fn claims(token: &str) -> Option<Value> {
    let payload = token.split('.').nth(1)?;
    let bytes = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    serde_json::from_slice::<Value>(&bytes).ok().filter(Value::is_object)
}
