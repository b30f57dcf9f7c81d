//! Going on with a sign-in: from the refresh token that is kept, or from a password.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use zeroize::Zeroizing;

use super::{RefreshToken, UserSignIn};
use crate::error::{Error, ErrorKind, Result};
use crate::graph::endpoint::Failed;
use crate::graph::token::{AccessToken, TokenSource};

/// Who signed in.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Account {
    /// The id of the user in the directory, or of the personal account.
    pub id: String,
    /// The user principal name, or the address.
    pub name: String,
}

/// What is kept of a sign-in.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Who signed in.
    pub account: Account,
    /// What was asked for, by names.
    pub scopes: Vec<String>,
    /// Gets the next access token.
    pub refresh: RefreshToken,
    /// What the server asked for when it last refused, to be passed on at the next sign-in.
    pub claims: Option<String>,
    /// When the user signed in: microseconds since 1970 UTC.
    pub signed_in_us: i64,
}

/// Keeps the sign-in of one user to one app.
#[async_trait]
pub trait Keeper: Send + Sync {
    /// Waits until no other process holds the sign-in, and holds it until the value is dropped.
    async fn hold(&self) -> Result<Box<dyn Held>>;
}

/// A kept sign-in that no other process touches.
#[async_trait]
pub trait Held: Send + Sync {
    /// Reads it; `None`: nobody signed in.
    async fn load(&self) -> Result<Option<Kept>>;
    /// Puts another in its place. It is durable when this returns; a failure leaves the old one.
    async fn save(&self, kept: &Kept) -> Result<()>;
    /// Removes it; says whether there was one.
    async fn remove(&self) -> Result<bool>;
}

/// Gets access tokens by a kept refresh token. Every refresh reads the kept token and puts the new one in its place while
/// no other process can, so that none works with one that was replaced.
pub struct KeptSignIn {
    sign_in: UserSignIn,
    keeper: Arc<dyn Keeper>,
}

impl KeptSignIn {
    /// Goes on with what a keeper has.
    pub fn new(sign_in: UserSignIn, keeper: Arc<dyn Keeper>) -> Self {
        Self { sign_in, keeper }
    }
}

#[async_trait]
impl TokenSource for KeptSignIn {
    async fn fetch(&self, claims: Option<&str>) -> Result<AccessToken> {
        let asker = &self.sign_in.endpoint.asker;
        let held = self.keeper.hold().await?;
        let Some(mut kept) = held.load().await? else {
            let text = format!("Nobody is signed in to tenant {}", asker.tenant);
            return Err(Error::new(ErrorKind::Permission, text).with_hint(asker.begin_anew()));
        };
        match self.sign_in.refresh(&kept.refresh, &kept.scopes, claims).await {
            Ok(fresh) => {
                kept.refresh = fresh.refresh;
                held.save(&kept).await?;
                Ok(fresh.access)
            }
            Err(failed) => {
                if let (Failed::Refused(_), Some(claims)) = (&failed, claims) {
                    kept.claims = Some(claims.to_owned());
                    held.save(&kept).await?;
                }
                Err(self.sign_in.endpoint.explain(failed))
            }
        }
    }
}

impl fmt::Debug for KeptSignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeptSignIn({:?})", self.sign_in)
    }
}

/// Gets access tokens by user name and password.
pub struct PasswordSignIn {
    sign_in: UserSignIn,
    user: String,
    password: Zeroizing<String>,
}

impl PasswordSignIn {
    /// Takes a user's name and password.
    pub fn new(sign_in: UserSignIn, user: &str, password: Zeroizing<String>) -> Self {
        Self { sign_in, user: user.to_owned(), password }
    }
}

#[async_trait]
impl TokenSource for PasswordSignIn {
    async fn fetch(&self, claims: Option<&str>) -> Result<AccessToken> {
        self.sign_in.password(&self.user, &self.password, claims).await
    }
}

impl fmt::Debug for PasswordSignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PasswordSignIn({:?})", self.sign_in)
    }
}
