//! Sessions: what a sign-in on the pages leads to. The cookie's value is kept nowhere, only a name made of it.

use sqlx::any::AnyRow;

use super::{Actor, Person, random_token};
use crate::error::{Error, Result};
use crate::server::db::{Columns as _, Db};
use crate::server::id::Id;
use crate::server::vault::Vault;

/// How long a session lasts at most.
pub(crate) const SESSION_LASTS_US: i64 = 12 * 3_600_000_000;
/// How long it lasts when nothing is done.
const IDLE_US: i64 = 2 * 3_600_000_000;
/// How often it is noted that somebody is still there.
const NOTE_EVERY_US: i64 = 60_000_000;
const LONGEST_AGENT: usize = 200;

/// A sign-in that lasts.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    /// The row's id, which is no secret.
    pub(crate) id: Id,
    /// When it began.
    pub(crate) created_us: i64,
    /// When something was last done in it.
    pub(crate) seen_us: i64,
    /// Where from.
    pub(crate) address: String,
    /// The browser, as it calls itself.
    pub(crate) agent: String,
}

fn read(row: &AnyRow) -> Result<Session> {
    Ok(Session {
        id: row.id("id")?,
        created_us: row.number("created_us")?,
        seen_us: row.number("seen_us")?,
        address: row.text("address")?,
        agent: row.text("agent")?,
    })
}

impl Db {
    /// Begins a session. Gives the value of its cookie.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn begin_session(
        &self,
        vault: &Vault,
        person: &Person,
        address: &str,
        agent: &str,
        now_us: i64,
    ) -> Result<String> {
        let (id, token) = (Id::random(), random_token());
        let agent: String = agent.chars().filter(|c| !c.is_control()).take(LONGEST_AGENT).collect();
        sqlx::query("DELETE FROM sessions WHERE expires_us < $1 OR seen_us < $2")
            .bind(now_us)
            .bind(now_us - IDLE_US)
            .execute(self.pool())
            .await?;
        sqlx::query(
            "INSERT INTO sessions (id, name, person_id, created_us, seen_us, expires_us, address, agent) \
             VALUES ($1, $2, $3, $4, $4, $5, $6, $7)",
        )
        .bind(id.as_str())
        .bind(vault.token_name(&token))
        .bind(person.id.as_str())
        .bind(now_us)
        .bind(now_us + SESSION_LASTS_US)
        .bind(address)
        .bind(agent)
        .execute(self.pool())
        .await?;
        Ok(token)
    }

    /// Who comes with a cookie; nobody if its session ended.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn session_actor(
        &self,
        vault: &Vault,
        token: &str,
        address: &str,
        now_us: i64,
    ) -> Result<Option<Actor>> {
        let row = sqlx::query(
            "SELECT s.id AS session_id, s.seen_us AS seen_us, p.id AS id, p.login AS login, p.role AS role, \
             p.account_id AS account_id FROM sessions s JOIN people p ON p.id = s.person_id \
             WHERE s.name = $1 AND s.expires_us > $2 AND s.seen_us > $3 AND p.disabled = 0",
        )
        .bind(vault.token_name(token))
        .bind(now_us)
        .bind(now_us - IDLE_US)
        .fetch_optional(self.pool())
        .await?;
        let Some(row) = row else { return Ok(None) };
        let session = row.id("session_id")?;
        if row.number("seen_us")? < now_us - NOTE_EVERY_US {
            sqlx::query("UPDATE sessions SET seen_us = $1 WHERE id = $2")
                .bind(now_us)
                .bind(session.as_str())
                .execute(self.pool())
                .await?;
        }
        Ok(Some(Actor {
            person: row.id("id")?,
            login: row.text("login")?,
            role: row.text("role")?.parse()?,
            account: row.maybe_id("account_id")?,
            way: super::way_of_session(&session),
            session: Some(session),
            address: address.to_owned(),
        }))
    }

    /// The sessions of a person, the newest first.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn sessions(&self, person: &Id, now_us: i64) -> Result<Vec<Session>> {
        let rows = sqlx::query(
            "SELECT id, created_us, seen_us, address, agent FROM sessions \
             WHERE person_id = $1 AND expires_us > $2 AND seen_us > $3 ORDER BY seen_us DESC",
        )
        .bind(person.as_str())
        .bind(now_us)
        .bind(now_us - IDLE_US)
        .fetch_all(self.pool())
        .await?;
        rows.iter().map(read).collect()
    }

    /// Ends a session of a person.
    ///
    /// # Errors
    /// `NotFound` when the person has no such session.
    pub(crate) async fn end_session(&self, person: &Id, session: &Id) -> Result<()> {
        let ended = sqlx::query("DELETE FROM sessions WHERE id = $1 AND person_id = $2")
            .bind(session.as_str())
            .bind(person.as_str())
            .execute(self.pool())
            .await?;
        if ended.rows_affected() == 0 {
            return Err(Error::not_found("There is no such session"));
        }
        Ok(())
    }
}
