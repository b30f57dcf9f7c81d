//! Signing in: a login, a password, and a code where there is a second factor.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::password::nobody;
use super::{Password, Person};
use crate::error::{Error, ErrorKind, Result};
use crate::server::db::{Db, in_time};
use crate::server::vault::Vault;

/// Passwords checked at once in a line: each takes memory and a core.
const AT_ONCE: usize = 2;
/// How many may wait in a line: some seconds. Who comes then is told to come again.
const LONGEST_LINE: usize = 64;
/// How long a turn may be held: one of a database that is gone without a word is somebody else's then.
const LONGEST_TURN: Duration = Duration::from_secs(30);

/// Checks sign-ins.
#[derive(Debug, Clone)]
pub(crate) struct SignIn {
    db: Db,
    vault: Vault,
    lines: Arc<Lines>,
}

/// Where attempts wait for their turn. Of strangers come as many as somebody sends: who is known waits behind none of them.
#[derive(Debug, Default)]
struct Lines {
    strangers: Line,
    /// Who signed in by this login from there lately, or is signed in.
    known: Line,
}

#[derive(Debug)]
struct Line {
    turns: Semaphore,
    /// Those of who waits, too.
    places: Semaphore,
}

impl Default for Line {
    fn default() -> Self {
        Self { turns: Semaphore::new(AT_ONCE), places: Semaphore::new(AT_ONCE + LONGEST_LINE) }
    }
}

/// A turn in a line, until it is dropped.
struct Turn<'a> {
    _turn: SemaphorePermit<'a>,
    _place: SemaphorePermit<'a>,
}

impl Line {
    /// Waits for a turn.
    ///
    /// # Errors
    /// `Unavailable` when as many wait as may.
    async fn turn(&self) -> Result<Turn<'_>> {
        let place = self.places.try_acquire().map_err(|_| {
            Error::new(ErrorKind::Unavailable, "Too many sign in at once").with_hint("Try again in some seconds")
        })?;
        let turn = self.turns.acquire().await.map_err(|e| Error::internal("The gate is closed").with_source(e))?;
        Ok(Turn { _turn: turn, _place: place })
    }
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
        Self { db, vault, lines: Arc::default() }
    }

    /// Signs somebody in: a new session, whatever the browser held before.
    ///
    /// # Errors
    /// `Permission` when login, password or code are wrong, and it does not say which; `InvalidInput` when only a code is
    /// missing; `Unavailable` when there were too many attempts, or are too many at once.
    pub(crate) async fn sign_in(&self, attempt: &Attempt<'_>, now_us: i64) -> Result<SignedIn> {
        let login = super::person::normal(attempt.login);
        let line = match self.db.is_known(&login, attempt.address, now_us).await? {
            true => &self.lines.known,
            false => &self.lines.strangers,
        };
        self.db.may_try(&login, attempt.address, now_us).await?;
        let _turn = line.turn().await?;
        in_time(LONGEST_TURN, self.let_in(attempt, &login, now_us)).await
    }

    /// Lets somebody in whose turn it is, to be held until this has ended: so each knows what came of those before.
    async fn let_in(&self, attempt: &Attempt<'_>, login: &str, now_us: i64) -> Result<SignedIn> {
        self.db.may_try(login, attempt.address, now_us).await?;
        let found = self.db.person_by_login(login).await?;
        let good = self.fits(attempt.password, found.as_ref()).await?;
        let Some(person) = found.filter(|person| good && !person.disabled) else {
            self.db.note_failure(login, attempt.address, now_us).await?;
            return Err(refused());
        };
        if person.second_factor {
            if attempt.code.trim().is_empty() {
                return Err(Error::invalid("A code of your authenticator app is needed too"));
            }
            if !self.db.check_code(&self.vault, &person, attempt.code, now_us).await? {
                self.db.note_failure(login, attempt.address, now_us).await?;
                return Err(refused());
            }
        }
        self.db.forget_failures(login, attempt.address, now_us).await?;
        let cookie = self.db.begin_session(&self.vault, &person, attempt.address, attempt.agent, now_us).await?;
        Ok(SignedIn { person, cookie })
    }

    /// Says whether a password is a person's, for who is signed in and must prove it once more. Counts as an attempt.
    ///
    /// # Errors
    /// `Permission` when not; `Unavailable` when there were too many attempts.
    pub(crate) async fn prove(&self, person: &Person, password: &Password, address: &str, now_us: i64) -> Result<()> {
        self.db.may_try(&person.login, address, now_us).await?;
        let _turn = self.lines.known.turn().await?;
        let proved = async {
            self.db.may_try(&person.login, address, now_us).await?;
            if self.fits(password, Some(person)).await? {
                return Ok(());
            }
            self.db.note_failure(&person.login, address, now_us).await?;
            Err(Error::new(ErrorKind::Permission, "The password is not right"))
        };
        in_time(LONGEST_TURN, proved).await
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::auth::{NewPerson, Role};

    #[tokio::test]
    async fn too_many_strangers_at_once_are_told_to_come_again_and_who_is_known_waits_behind_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let db = Db::open(None, folder.path()).await.expect("opened");
        let vault = Vault::open(&folder.path().join("master.key"), false).expect("a key");
        let (sign_in, now) = (SignIn::new(db.clone(), vault.clone()), 1_000_000);
        let password = Password::new("three plain words");
        let new = NewPerson { account: None, login: "boss", role: Role::Administrator };
        let (person, invitation) = db.add_person(&vault, &new, now).await.expect("added");
        db.accept(&vault, &invitation.token, &password, now).await.expect("accepted");
        let person = db.person(&person.id).await.expect("there");
        let from = |address| Attempt { login: "Boss", password: &password, code: "", address, agent: "" };
        let (home, new) = (from("203.0.113.5"), from("203.0.113.6"));
        sign_in.sign_in(&home, now).await.expect("signed in");

        // All turns are taken, and all places of who waits for one.
        let line = &sign_in.lines.strangers;
        let many = |many: usize| u32::try_from(many).expect("few");
        let turns = line.turns.try_acquire_many(many(AT_ONCE)).expect("free");
        let places = line.places.try_acquire_many(many(AT_ONCE + LONGEST_LINE)).expect("free");
        assert_eq!(sign_in.sign_in(&new, now).await.expect_err("no place").kind(), ErrorKind::Unavailable);
        sign_in.sign_in(&home, now).await.expect("known there");
        sign_in.prove(&person, &password, "203.0.113.7", now).await.expect("who is signed in is known");
        drop((turns, places));
        sign_in.sign_in(&new, now).await.expect("there is a place again");
    }
}
