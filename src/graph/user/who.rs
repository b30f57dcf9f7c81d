//! Who signed in, by the token that was just given: asked before anything is kept.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::Account;
use crate::error::{Error, ErrorKind, Result};
use crate::graph::{AccessToken, Caller, Client, ClientOptions, TokenSource};

/// Asks Graph who signed in.
///
/// # Errors
/// When Graph refuses the token, or does not answer.
pub async fn who(options: ClientOptions, caller: Caller, access: AccessToken) -> Result<Account> {
    let tokens = Arc::new(Once(Mutex::new(Some(access))));
    let client = Client::for_user(options, tokens, caller)?;
    client.me().await?.ok_or_else(|| Error::internal("A user is no app"))
}

/// One token, and none after it.
struct Once(Mutex<Option<AccessToken>>);

#[async_trait]
impl TokenSource for Once {
    async fn fetch(&self, _: Option<&str>) -> Result<AccessToken> {
        let token = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        token.ok_or_else(|| {
            Error::new(ErrorKind::Permission, "Graph refuses the sign-in that was just made")
                .with_hint("Check Graph's address and the cloud, and sign in again")
        })
    }
}
