//! API tokens: for programs. Each acts as the person who made it.

use super::{Actor, random_token};
use crate::error::{Error, Result};
use crate::server::db::{Columns as _, Db};
use crate::server::id::Id;
use crate::server::vault::Vault;

/// What tokens begin with, so that a leaked one is found by those who look for such.
pub(crate) const PREFIX: &str = "tvt_";
const NOTE_EVERY_US: i64 = 60_000_000;
const MOST: i64 = 100;

/// A token, without itself.
#[derive(Debug, Clone)]
pub(crate) struct ApiToken {
    /// The row's id.
    pub(crate) id: Id,
    /// What it is for, in words.
    pub(crate) label: String,
    /// When it was made.
    pub(crate) created_us: i64,
    /// When it was last used, to the minute.
    pub(crate) used_us: Option<i64>,
    /// When it ends.
    pub(crate) expires_us: Option<i64>,
}

/// A token that was made: the one time that it can be read.
pub(crate) struct NewToken {
    /// The row's id.
    pub(crate) id: Id,
    /// The token.
    pub(crate) token: String,
}

impl Db {
    /// Makes a token for a person.
    ///
    /// # Errors
    /// `InvalidInput` for a label that is none, or when there are too many.
    pub(crate) async fn add_token(
        &self,
        vault: &Vault,
        person: &Id,
        label: &str,
        expires_us: Option<i64>,
        now_us: i64,
    ) -> Result<NewToken> {
        let label = label.trim();
        if label.is_empty() || label.chars().count() > 100 || label.chars().any(char::is_control) {
            return Err(
                Error::invalid("A token needs a label of at most 100 characters").with_hint("Say what it is for")
            );
        }
        let row = sqlx::query("SELECT COUNT(*) AS many FROM tokens WHERE person_id = $1")
            .bind(person.as_str())
            .fetch_one(self.pool())
            .await?;
        if row.number("many")? >= MOST {
            return Err(Error::invalid(format!("There are {MOST} tokens already")).with_hint("Remove those not in use"));
        }
        let new = NewToken { id: Id::random(), token: format!("{PREFIX}{}", random_token()) };
        sqlx::query(
            "INSERT INTO tokens (id, name, person_id, label, created_us, expires_us) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(new.id.as_str())
        .bind(vault.token_name(&new.token))
        .bind(person.as_str())
        .bind(label)
        .bind(now_us)
        .bind(expires_us)
        .execute(self.pool())
        .await?;
        Ok(new)
    }

    /// Who comes with a token; nobody if it ended.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn token_actor(
        &self,
        vault: &Vault,
        token: &str,
        address: &str,
        now_us: i64,
    ) -> Result<Option<Actor>> {
        let row = sqlx::query(
            "SELECT t.id AS token_id, COALESCE(t.used_us, 0) AS used_us, p.id AS id, p.login AS login, p.role AS role, \
             p.account_id AS account_id FROM tokens t JOIN people p ON p.id = t.person_id \
             WHERE t.name = $1 AND (t.expires_us IS NULL OR t.expires_us > $2) AND p.disabled = 0",
        )
        .bind(vault.token_name(token))
        .bind(now_us)
        .fetch_optional(self.pool())
        .await?;
        let Some(row) = row else { return Ok(None) };
        if row.number("used_us")? < now_us - NOTE_EVERY_US {
            sqlx::query("UPDATE tokens SET used_us = $1 WHERE id = $2")
                .bind(now_us)
                .bind(row.text("token_id")?)
                .execute(self.pool())
                .await?;
        }
        Ok(Some(Actor {
            person: row.id("id")?,
            login: row.text("login")?,
            role: row.text("role")?.parse()?,
            account: row.maybe_id("account_id")?,
            session: None,
            way: super::way_of_token(&row.id("token_id")?),
            address: address.to_owned(),
        }))
    }

    /// The tokens of a person.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn tokens(&self, person: &Id) -> Result<Vec<ApiToken>> {
        let rows = sqlx::query(
            "SELECT id, label, created_us, used_us, expires_us FROM tokens WHERE person_id = $1 ORDER BY created_us",
        )
        .bind(person.as_str())
        .fetch_all(self.pool())
        .await?;
        let read = |row: &sqlx::any::AnyRow| {
            Ok(ApiToken {
                id: row.id("id")?,
                label: row.text("label")?,
                created_us: row.number("created_us")?,
                used_us: row.maybe_number("used_us")?,
                expires_us: row.maybe_number("expires_us")?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// Ends a token of a person.
    ///
    /// # Errors
    /// `NotFound`.
    pub(crate) async fn remove_token(&self, person: &Id, token: &Id) -> Result<()> {
        let ended = sqlx::query("DELETE FROM tokens WHERE id = $1 AND person_id = $2")
            .bind(token.as_str())
            .bind(person.as_str())
            .execute(self.pool())
            .await?;
        if ended.rows_affected() == 0 {
            return Err(Error::not_found("There is no such token"));
        }
        Ok(())
    }
}
