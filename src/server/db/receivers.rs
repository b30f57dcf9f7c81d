//! Where reports and notices of an account go.

use std::fmt;

use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::accounts::check_title;
use super::{Columns as _, Db};
use crate::error::{Error, Result};
use crate::server::id::Id;
use crate::server::vault::Vault;

/// How a receiver is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ReceiverKind {
    /// By mail, through the server's mail settings.
    Mail,
    /// A web address that JSON is posted to, signed.
    Webhook,
    /// A web address that is called as long as all goes well, so that a monitor elsewhere notices when it is not.
    Ping,
}

impl ReceiverKind {
    /// The word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Mail => "mail",
            Self::Webhook => "webhook",
            Self::Ping => "ping",
        }
    }
}

/// Of which runs a receiver is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RunsTold {
    /// Of none.
    #[default]
    None,
    /// Of those that failed, had gaps, were stopped or missed.
    Trouble,
    /// Of each.
    All,
}

/// When a digest of the day goes out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DigestTime {
    /// The hour, 0 to 23.
    #[schema(maximum = 23)]
    pub(crate) hour: u8,
    /// The time zone (IANA name) in which it counts.
    #[schema(example = "Europe/Berlin")]
    pub(crate) zone: String,
}

/// What a receiver is told of. Nothing secret is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReceiverDefinition {
    /// How it is reached.
    pub(crate) kind: ReceiverKind,
    /// Mail addresses; for mail alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 20, example = json!(["it@example.com"]))]
    pub(crate) to: Vec<String>,
    /// Of which runs it is told.
    #[serde(default)]
    pub(crate) runs: RunsTold,
    /// Only of runs of this backup set; left out: of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) set: Option<Id>,
    /// It is warned: secrets that end, quotas that fill up, sets without a good run, storage that cannot be reached.
    #[serde(default)]
    pub(crate) warnings: bool,
    /// A digest of each day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) digest: Option<DigestTime>,
    /// For a ping alone: it is sent every so many minutes while the server works; left out: after each good run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 10_080)]
    pub(crate) beat_minutes: Option<u32>,
    /// Something is sent at all.
    #[serde(default = "yes")]
    pub(crate) enabled: bool,
}

fn yes() -> bool {
    true
}

/// What of a receiver is secret.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct ReceiverSecret {
    /// The address that is called. Such addresses often are secrets themselves.
    pub(crate) url: Zeroizing<String>,
    /// What posts are signed with.
    pub(crate) key: Zeroizing<String>,
}

impl fmt::Debug for ReceiverSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReceiverSecret(…)")
    }
}

/// A receiver to add, or as one is to be.
#[derive(Debug)]
pub(crate) struct NewReceiver<'a> {
    /// What people call it.
    pub(crate) name: &'a str,
    /// What it is told of.
    pub(crate) definition: &'a ReceiverDefinition,
    /// What of it is secret.
    pub(crate) secret: &'a ReceiverSecret,
    /// When its digest or ping is due.
    pub(crate) next_us: Option<i64>,
}

/// A receiver of an account.
#[derive(Debug, Clone)]
pub(crate) struct Receiver {
    /// The row's id.
    pub(crate) id: Id,
    /// The account.
    pub(crate) account: Id,
    /// What people call it.
    pub(crate) name: String,
    /// What it is told of.
    pub(crate) definition: ReceiverDefinition,
    /// When it was made.
    pub(crate) created_us: i64,
    /// When its digest or ping is due.
    pub(crate) next_us: Option<i64>,
    /// Until when the last digest told.
    pub(crate) told_us: i64,
    secret: Option<String>,
}

impl Receiver {
    /// The address that is called, and what is signed with.
    ///
    /// # Errors
    /// `WrongKey` when they do not open with the master key.
    pub(crate) fn secret(&self, vault: &Vault) -> Result<ReceiverSecret> {
        match &self.secret {
            None => Ok(ReceiverSecret::default()),
            Some(sealed) => super::from_json(&vault.open_sealed(&place(&self.id), sealed)?),
        }
    }
}

fn place(receiver: &Id) -> String {
    format!("receivers/{receiver}/secret")
}

fn seal(vault: &Vault, id: &Id, secret: &ReceiverSecret) -> Result<Option<String>> {
    if *secret == ReceiverSecret::default() {
        return Ok(None);
    }
    let text = Zeroizing::new(super::to_json(secret)?);
    Ok(Some(vault.seal(&place(id), &text)))
}

macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT id, account_id, name, definition, secret, created_us, next_us, told_us FROM receivers ", $rest)
    };
}

fn read(row: &AnyRow) -> Result<Receiver> {
    Ok(Receiver {
        id: row.id("id")?,
        account: row.id("account_id")?,
        name: row.text("name")?,
        definition: super::from_json(&row.text("definition")?)?,
        created_us: row.number("created_us")?,
        next_us: row.maybe_number("next_us")?,
        told_us: row.number("told_us")?,
        secret: row.maybe_text("secret")?,
    })
}

impl Db {
    /// Adds a receiver.
    ///
    /// # Errors
    /// `AlreadyExists`, `InvalidInput`.
    pub(crate) async fn add_receiver(
        &self,
        vault: &Vault,
        account: &Id,
        new: &NewReceiver<'_>,
        now_us: i64,
    ) -> Result<Receiver> {
        let (id, name) = (Id::random(), check_title("a receiver", new.name)?);
        sqlx::query(
            "INSERT INTO receivers (id, account_id, name, definition, secret, created_us, next_us, told_us) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $6)",
        )
        .bind(id.as_str())
        .bind(account.as_str())
        .bind(&name)
        .bind(super::to_json(new.definition)?)
        .bind(seal(vault, &id, new.secret)?)
        .bind(now_us)
        .bind(new.next_us)
        .execute(self.pool())
        .await
        .map_err(|e| super::taken(e, "receiver", &name))?;
        self.receiver(account, &id).await
    }

    /// Changes a receiver.
    ///
    /// # Errors
    /// As [`Self::add_receiver`].
    pub(crate) async fn change_receiver(
        &self,
        vault: &Vault,
        receiver: &Receiver,
        new: &NewReceiver<'_>,
    ) -> Result<Receiver> {
        let name = check_title("a receiver", new.name)?;
        sqlx::query(
            "UPDATE receivers SET name = $1, definition = $2, secret = $3, next_us = $4 WHERE id = $5 AND account_id = $6",
        )
        .bind(&name)
        .bind(super::to_json(new.definition)?)
        .bind(seal(vault, &receiver.id, new.secret)?)
        .bind(new.next_us)
        .bind(receiver.id.as_str())
        .bind(receiver.account.as_str())
        .execute(self.pool())
        .await
        .map_err(|e| super::taken(e, "receiver", &name))?;
        self.receiver(&receiver.account, &receiver.id).await
    }

    /// A receiver of an account.
    ///
    /// # Errors
    /// `NotFound`.
    pub(crate) async fn receiver(&self, account: &Id, id: &Id) -> Result<Receiver> {
        let row = sqlx::query(select!("WHERE id = $1 AND account_id = $2"))
            .bind(id.as_str())
            .bind(account.as_str())
            .fetch_optional(self.pool())
            .await?;
        read(&row.ok_or_else(|| Error::not_found("There is no such receiver"))?)
    }

    /// The receivers of an account, by name.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn receivers(&self, account: &Id) -> Result<Vec<Receiver>> {
        let rows = sqlx::query(select!("WHERE account_id = $1 ORDER BY name"))
            .bind(account.as_str())
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(read).collect()
    }

    /// Accounts that have receivers.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn accounts_with_receivers(&self) -> Result<Vec<Id>> {
        let rows = sqlx::query("SELECT DISTINCT account_id FROM receivers").fetch_all(self.pool()).await?;
        rows.iter().map(|row| row.id("account_id")).collect()
    }

    /// Receivers whose digest or ping is due.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn due_receivers(&self, now_us: i64, most: i64) -> Result<Vec<Receiver>> {
        let rows = sqlx::query(select!("WHERE next_us <= $1 ORDER BY next_us LIMIT $2"))
            .bind(now_us)
            .bind(most)
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(read).collect()
    }

    /// Receivers whose digest or ping is yet to come, in the order of their ids.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn waiting_receivers(&self, after: &str, now_us: i64, most: i64) -> Result<Vec<Receiver>> {
        let rows = sqlx::query(select!("WHERE id > $1 AND next_us > $2 ORDER BY id LIMIT $3"))
            .bind(after)
            .bind(now_us)
            .bind(most)
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(read).collect()
    }

    /// Moves a digest or ping from a time that is too late; what it told of last was not later than now either.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn put_receiver_right(&self, id: &Id, from_us: i64, to_us: i64, now_us: i64) -> Result<()> {
        sqlx::query(
            "UPDATE receivers SET next_us = $1, told_us = CASE WHEN told_us > $2 THEN $2 ELSE told_us END \
             WHERE id = $3 AND next_us = $4",
        )
        .bind(to_us)
        .bind(now_us)
        .bind(id.as_str())
        .bind(from_us)
        .execute(self.pool())
        .await?;
        Ok(())
    }

    /// Removes a receiver, with what still waits for it.
    ///
    /// # Errors
    /// `NotFound`.
    pub(crate) async fn remove_receiver(&self, account: &Id, id: &Id) -> Result<()> {
        let mut tx = self.write().await?;
        sqlx::query("DELETE FROM outbox WHERE receiver_id = $1 AND account_id = $2")
            .bind(id.as_str())
            .bind(account.as_str())
            .execute(&mut *tx)
            .await?;
        let removed = sqlx::query("DELETE FROM receivers WHERE id = $1 AND account_id = $2")
            .bind(id.as_str())
            .bind(account.as_str())
            .execute(&mut *tx)
            .await?;
        super::need_one(removed.rows_affected(), "receiver")?;
        tx.commit().await?;
        Ok(())
    }
}
