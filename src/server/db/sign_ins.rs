//! Sign-ins and consents that wait for somebody at Microsoft.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::any::AnyRow;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::{Columns as _, Db};
use crate::error::{Error, Result};
use crate::server::id::Id;
use crate::server::vault::Vault;

/// How long one that ended can still be seen.
const SEEN_US: i64 = 24 * 3_600_000_000;
/// Those of an account that wait at once.
const MOST_OPEN: i64 = 50;

/// The ways to sign in, and what else leads to Microsoft and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SignInKind {
    /// The browser is led to Microsoft and back to this server.
    Redirect,
    /// A code is typed at Microsoft, in any browser.
    DeviceCode,
    /// The address of the last page is pasted here.
    Paste,
    /// An administrator consents to an app.
    Consent,
}

impl SignInKind {
    fn word(self) -> &'static str {
        match self {
            Self::Redirect => "redirect",
            Self::DeviceCode => "device-code",
            Self::Paste => "paste",
            Self::Consent => "consent",
        }
    }

    /// Whether Microsoft leads the browser back here.
    pub(crate) fn comes_back(self) -> bool {
        matches!(self, Self::Redirect | Self::Consent)
    }
}

/// How one stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SignInState {
    /// It waits for somebody.
    Open,
    /// It is being ended.
    Taken,
    /// It was done.
    Done,
    /// It did not work, or its time is over.
    Failed,
}

/// A sign-in that began.
#[derive(Clone)]
pub(crate) struct SignInRow {
    /// The row's id.
    pub(crate) id: Id,
    /// The account.
    pub(crate) account: Id,
    /// The tenant; none: a consent for one that is yet to be connected.
    pub(crate) tenant: Option<Id>,
    /// Which way.
    pub(crate) kind: SignInKind,
    /// The session or token that began it.
    pub(crate) way: String,
    /// How it stands.
    pub(crate) state: SignInState,
    /// What came of it.
    pub(crate) outcome: Option<Value>,
    /// Until when it is good.
    pub(crate) expires_us: i64,
    /// How long is waited between two questions whether it was done.
    pub(crate) wait_us: i64,
    secret: String,
}

impl std::fmt::Debug for SignInRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SignInRow({}, {:?}, {:?})", self.id, self.kind, self.state)
    }
}

impl SignInRow {
    /// One that begins now.
    pub(crate) fn new(
        id: Id,
        account: &Id,
        tenant: Option<&Id>,
        (kind, way): (SignInKind, &str),
        expires_us: i64,
        wait_us: i64,
    ) -> Self {
        Self {
            id,
            account: account.clone(),
            tenant: tenant.cloned(),
            kind,
            way: way.to_owned(),
            state: SignInState::Open,
            outcome: None,
            expires_us,
            wait_us,
            secret: String::new(),
        }
    }

    fn place(&self) -> String {
        // What it belongs to is sealed with it: a row that was put under another account or session does not open.
        format!("sign_ins/{}/{}/{}", self.id, self.account, self.way)
    }

    /// What is needed to end it: JSON.
    ///
    /// # Errors
    /// `WrongKey` when it does not open.
    pub(crate) fn secret(&self, vault: &Vault) -> Result<Zeroizing<String>> {
        vault.open_sealed(&self.place(), &self.secret)
    }
}

fn word<T: serde::de::DeserializeOwned>(text: String) -> Result<T> {
    serde_json::from_value(Value::String(text))
        .map_err(|e| Error::corrupt("The database holds a word that is not known").with_source(e))
}

fn read(row: &AnyRow) -> Result<SignInRow> {
    Ok(SignInRow {
        id: row.id("id")?,
        account: row.id("account_id")?,
        tenant: row.maybe_id("tenant_id")?,
        kind: word(row.text("kind")?)?,
        way: row.text("way")?,
        state: word(row.text("state")?)?,
        outcome: row.maybe_text("outcome")?.map(|text| super::from_json(&text)).transpose()?,
        expires_us: row.number("expires_us")?,
        wait_us: row.number("wait_us")?,
        secret: row.text("secret")?,
    })
}

impl Db {
    /// Keeps a sign-in that begins; those that ended long ago go.
    ///
    /// # Errors
    /// `Unavailable` when too many wait.
    pub(crate) async fn begin_sign_in(&self, vault: &Vault, new: &SignInRow, secret: &str, now_us: i64) -> Result<()> {
        sqlx::query("DELETE FROM sign_ins WHERE expires_us < $1").bind(now_us - SEEN_US).execute(self.pool()).await?;
        let open = "SELECT COUNT(*) AS many FROM sign_ins WHERE account_id = $1 AND state = 'open' AND expires_us > $2";
        let row = sqlx::query(open).bind(new.account.as_str()).bind(now_us).fetch_one(self.pool()).await?;
        if row.number("many")? >= MOST_OPEN {
            return Err(Error::new(crate::error::ErrorKind::Unavailable, "Too many sign-ins wait for somebody")
                .with_hint("Try again in a quarter of an hour"));
        }
        sqlx::query(
            "INSERT INTO sign_ins (id, account_id, tenant_id, kind, way, secret, state, created_us, expires_us, \
             ask_us, wait_us) VALUES ($1, $2, $3, $4, $5, $6, 'open', $7, $8, $9, $10)",
        )
        .bind(new.id.as_str())
        .bind(new.account.as_str())
        .bind(new.tenant.as_ref().map(Id::as_str))
        .bind(new.kind.word())
        .bind(&new.way)
        .bind(vault.seal(&new.place(), secret))
        .bind(now_us)
        .bind(new.expires_us)
        .bind(now_us + new.wait_us)
        .bind(new.wait_us)
        .execute(self.pool())
        .await?;
        Ok(())
    }

    /// A sign-in that a session or token began, whatever the account.
    ///
    /// # Errors
    /// `NotFound`: also for one that another began.
    pub(crate) async fn sign_in_of(&self, id: &Id, way: &str) -> Result<SignInRow> {
        let row = sqlx::query("SELECT * FROM sign_ins WHERE id = $1 AND way = $2")
            .bind(id.as_str())
            .bind(way)
            .fetch_optional(self.pool())
            .await?;
        read(&row.ok_or_else(|| Error::not_found("There is no such sign-in"))?)
    }

    /// Takes a sign-in in hand, to end it: of several who try, one does, and only while it is good.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn take_sign_in(&self, id: &Id, now_us: i64) -> Result<bool> {
        let taken =
            sqlx::query("UPDATE sign_ins SET state = 'taken' WHERE id = $1 AND state = 'open' AND expires_us > $2")
                .bind(id.as_str())
                .bind(now_us)
                .execute(self.pool())
                .await?;
        Ok(taken.rows_affected() == 1)
    }

    /// Takes the turn to ask Microsoft about one; the next comes after its wait.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn may_ask(&self, id: &Id, now_us: i64) -> Result<bool> {
        let taken = sqlx::query(
            "UPDATE sign_ins SET ask_us = $1 + wait_us \
             WHERE id = $2 AND state = 'open' AND ask_us <= $1 AND expires_us > $1",
        )
        .bind(now_us)
        .bind(id.as_str())
        .execute(self.pool())
        .await?;
        Ok(taken.rows_affected() == 1)
    }

    /// Waits longer between two questions from now on.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn ask_more_slowly(&self, id: &Id, wait_us: i64, now_us: i64) -> Result<()> {
        sqlx::query("UPDATE sign_ins SET wait_us = $1, ask_us = $2 WHERE id = $3")
            .bind(wait_us)
            .bind(now_us + wait_us)
            .bind(id.as_str())
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// Notes what came of one. What it took to end it goes.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn end_sign_in(&self, id: &Id, done: bool, outcome: &Value) -> Result<()> {
        let state = if done { "done" } else { "failed" };
        sqlx::query(
            "UPDATE sign_ins SET state = $1, outcome = $2, secret = '' WHERE id = $3 AND state IN ('open', 'taken')",
        )
        .bind(state)
        .bind(super::to_json(outcome)?)
        .bind(id.as_str())
        .execute(self.pool())
        .await?;
        Ok(())
    }
}
