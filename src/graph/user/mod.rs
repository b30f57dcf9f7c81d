//! Signing in as a user: device code, browser, password; and going on with the token that such a sign-in leaves behind.
//!
//! A sign-in gives two tokens. The *access token* is good for about an hour and stays in memory. The *refresh token* gets the next
//! one, and each answer brings a new one, which takes the old one's place: a [`Keeper`] holds it, for one process at a
//! time. What was granted is good for what the user may do, and no more.
//! Source: RFC 6749, RFC 7636 (PKCE), RFC 8252 (native apps), RFC 8628 (device code); Microsoft, "OAuth 2.0 device
//! authorization grant flow", "OAuth 2.0 authorization code flow", "OAuth 2.0 Resource Owner Password Credentials".

mod browser;
mod device;
mod file;
mod kept;
mod loopback;
mod system;
mod who;

use std::fmt;

use zeroize::Zeroizing;

use super::cloud::Cloud;
use super::endpoint::{Failed, Fields, Granted, TokenEndpoint};
use super::http::Http;
use super::retry::RetryOptions;
use super::token::AccessToken;
use crate::error::{Error, Result};
use crate::reach::Reach;

pub use browser::{AuthorizationCode, CodeRequest, KeptRequest};
pub use device::{DeviceAnswer, DeviceCode, KeptDeviceCode};
pub use file::{FileKeeper, KeptIn, Place};
pub use kept::{Account, Held, Keeper, Kept, KeptSignIn, PasswordSignIn};
pub use loopback::Loopback;
pub use who::who;

/// The tenant of personal accounts.
pub const PERSONAL: &str = "consumers";

/// The permission to get refresh tokens.
const OFFLINE: &str = "offline_access";

/// What a user signs in with: an app of a tenant, and what it asks for.
#[derive(Debug, Clone)]
pub struct UserOptions {
    /// Which Microsoft cloud.
    pub cloud: Cloud,
    /// The tenant's id or domain; [`PERSONAL`] for personal accounts.
    pub tenant: String,
    /// The app's id.
    pub client_id: String,
    /// The delegated permissions to ask for, by their names: `Mail.Read`.
    pub scopes: Vec<String>,
    /// What is said to do when the user must sign in again: `tenantvault login contoso`.
    pub again: String,
    /// How often failed attempts are repeated.
    pub retry: RetryOptions,
    /// Which machines it may connect to, if not all.
    pub reach: Option<Reach>,
}

/// The ways in which a user signs in.
#[derive(Clone)]
pub struct UserSignIn {
    endpoint: TokenEndpoint,
    cloud: Cloud,
    tenant: String,
    scopes: Vec<String>,
}

/// What a sign-in gave.
#[derive(Debug)]
pub struct SignedIn {
    /// Good for about an hour.
    pub access: AccessToken,
    /// Gets the next one. Does not print.
    pub refresh: RefreshToken,
}

/// A refresh token. Does not print; zeroised on drop.
#[derive(Clone, PartialEq, Eq)]
pub struct RefreshToken(pub(crate) Zeroizing<String>);

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RefreshToken(…)")
    }
}

impl UserSignIn {
    /// Takes what is to be signed in to; nothing is sent yet.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidInput`] if tenant or client id cannot be used.
    pub fn new(options: UserOptions) -> Result<Self> {
        let UserOptions { cloud, tenant, client_id, scopes, again, retry, reach } = options;
        let endpoint =
            TokenEndpoint::new(Http::new(reach.as_ref(), false)?, retry, &cloud, &tenant, &client_id, Some(&again))?;
        Ok(Self { endpoint, cloud, tenant, scopes })
    }

    /// The permissions that are asked for, by their names.
    pub fn scopes(&self) -> &[String] {
        &self.scopes
    }

    /// The permissions as sign-ins ask for them, with that to get refresh tokens.
    fn scope(&self, scopes: &[String]) -> Zeroizing<String> {
        let all = scopes.iter().map(|name| self.cloud.scope(name)).chain([OFFLINE.to_owned()]);
        Zeroizing::new(all.collect::<Vec<_>>().join(" "))
    }

    /// Signs in by user name and password: no second factor, no personal accounts. The last resort.
    ///
    /// # Errors
    /// A refusal, explained.
    pub async fn password(&self, user: &str, password: &str, claims: Option<&str>) -> Result<AccessToken> {
        let fields = || {
            let mut fields = self.fields("password", &self.scopes, claims);
            fields.push(("username", Zeroizing::new(user.to_owned())));
            fields.push(("password", Zeroizing::new(password.to_owned())));
            Ok(fields)
        };
        Ok(self.endpoint.grant(fields).await?.access)
    }

    /// Gets the next access token, and the refresh token that takes the old one's place.
    async fn refresh(&self, old: &RefreshToken, scopes: &[String], claims: Option<&str>) -> Result<SignedIn, Failed> {
        let fields = || {
            let mut fields = self.fields("refresh_token", scopes, claims);
            fields.push(("refresh_token", old.0.clone()));
            Ok(fields)
        };
        let granted = self.endpoint.try_grant(fields).await?;
        // A server that gives no new one means the old one to be used further (RFC 6749, section 6).
        let refresh = granted.refresh.map_or_else(|| old.clone(), RefreshToken);
        Ok(SignedIn { access: granted.access, refresh })
    }

    fn fields(&self, grant: &str, scopes: &[String], claims: Option<&str>) -> Fields {
        let text = |text: &str| Zeroizing::new(text.to_owned());
        let mut fields = vec![("grant_type", text(grant)), ("scope", self.scope(scopes))];
        fields.extend(claims.map(|claims| ("claims", text(claims))));
        fields
    }

    /// What a first sign-in must have given.
    fn signed_in(&self, granted: Granted) -> Result<SignedIn> {
        match granted.refresh {
            Some(refresh) => Ok(SignedIn { access: granted.access, refresh: RefreshToken(refresh) }),
            None => Err(Error::corrupt("The sign-in server gave no refresh token: the sign-in could not be kept")
                .with_hint("Check that the app registration allows the permission offline_access")),
        }
    }
}

impl fmt::Debug for UserSignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserSignIn({}, {})", self.endpoint.url, self.endpoint.client_id)
    }
}
