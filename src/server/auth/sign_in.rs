//! Signing in: a login, a password, and a code where there is a second factor.

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::password::nobody;
use super::{Password, Person};
use crate::error::{Error, ErrorKind, Result};
use crate::server::db::Db;
use crate::server::vault::Vault;

/// Passwords checked at once: each takes memory and a core.
const AT_ONCE: usize = 2;

/// Checks sign-ins.
#[derive(Debug, Clone)]
pub(crate) struct SignIn {
    db: Db,
    vault: Vault,
    gate: Arc<Semaphore>,
}

/// What somebody typed.
#[derive(Debug, Clone)]
pub(crate) struct Attempt<'a> {
    /// The login.
    pub(crate) login: &'a str,
    /// The password.
    pub(crate) password: &'a Password,
    /// The code of the second factor; empty: none.
    pub(crate) code: &'a str,
    /// Where from.
    pub(crate) address: &'a str,
    /// The browser, as it calls itself.
    pub(crate) agent: &'a str,
}

/// A sign-in that worked.
#[derive(Debug)]
pub(crate) struct SignedIn {
    /// Who.
    pub(crate) person: Person,
    /// The value of its cookie.
    pub(crate) cookie: String,
}

impl SignIn {
    /// Makes one.
    pub(crate) fn new(db: Db, vault: Vault) -> Self {
        Self { db, vault, gate: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Signs somebody in: a new session, whatever the browser held before.
    ///
    /// # Errors
    /// `Permission` when login, password or code are wrong, and it does not say which; `InvalidInput` when only a code is
    /// missing; `Unavailable` when there were too many attempts.
    pub(crate) async fn sign_in(&self, attempt: &Attempt<'_>, now_us: i64) -> Result<SignedIn> {
        let login = super::person::normal(attempt.login);
        let _turn = self.turn(&login, attempt.address, now_us).await?;
        let found = self.db.person_by_login(&login).await?;
        let good = self.fits(attempt.password, found.as_ref()).await?;
        let Some(person) = found.filter(|person| good && !person.disabled) else {
            self.db.note_failure(&login, attempt.address, now_us).await?;
            return Err(refused());
        };
        if person.second_factor {
            if attempt.code.trim().is_empty() {
                return Err(Error::invalid("A code of your authenticator app is needed too"));
            }
            if !self.db.check_code(&self.vault, &person, attempt.code, now_us).await? {
                self.db.note_failure(&login, attempt.address, now_us).await?;
                return Err(refused());
            }
        }
        self.db.forget_failures(&login, attempt.address, now_us).await?;
        let cookie = self.db.begin_session(&self.vault, &person, attempt.address, attempt.agent, now_us).await?;
        Ok(SignedIn { person, cookie })
    }

    /// Says whether a password is a person's, for who is signed in and must prove it once more. Counts as an attempt.
    ///
    /// # Errors
    /// `Permission` when not; `Unavailable` when there were too many attempts.
    pub(crate) async fn prove(&self, person: &Person, password: &Password, address: &str, now_us: i64) -> Result<()> {
        let _turn = self.turn(&person.login, address, now_us).await?;
        if self.fits(password, Some(person)).await? {
            return Ok(());
        }
        self.db.note_failure(&person.login, address, now_us).await?;
        Err(Error::new(ErrorKind::Permission, "The password is not right"))
    }

    /// Waits until it is somebody's turn, to be held until the attempt has ended: so each knows what came of those before.
    async fn turn(&self, login: &str, address: &str, now_us: i64) -> Result<SemaphorePermit<'_>> {
        self.db.may_try(login, address, now_us).await?;
        let turn = self.gate.acquire().await.map_err(|e| Error::internal("The gate is closed").with_source(e))?;
        self.db.may_try(login, address, now_us).await?;
        Ok(turn)
    }

    async fn fits(&self, password: &Password, person: Option<&Person>) -> Result<bool> {
        let (password, kept) = (password.clone(), person.and_then(|person| person.password.clone()));
        tokio::task::spawn_blocking(move || match kept {
            Some(kept) => password.fits(&kept),
            None => {
                password.fits(nobody());
                false
            }
        })
        .await
        .map_err(|e| Error::internal("A worker thread ended early").with_source(e))
    }
}

fn refused() -> Error {
    Error::new(ErrorKind::Permission, "Login, password or code are not right")
}
