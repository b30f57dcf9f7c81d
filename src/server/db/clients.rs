//! Clients: machines that run backup sets of an account, and store into repositories by way of the server.

use sqlx::any::AnyRow;
use zeroize::Zeroizing;

use super::accounts::check_title;
use super::{Columns as _, Db};
use crate::error::{Error, Result};
use crate::server::id::Id;
use crate::server::vault::Vault;

/// Clients of one account.
const MOST: i64 = 10_000;
/// How often it is noted that a client was seen.
const NOTE_EVERY_US: i64 = 10_000_000;

/// A client of an account.
#[derive(Debug, Clone)]
pub(crate) struct ClientRow {
    /// The row's id.
    pub(crate) id: Id,
    /// The account.
    pub(crate) account: Id,
    /// What people call it.
    pub(crate) name: String,
    /// It has a token.
    pub(crate) enrolled: bool,
    /// Until when its one-time code is good, if there is one.
    pub(crate) code_expires_us: Option<i64>,
    /// When it was added.
    pub(crate) created_us: i64,
    /// When it was heard of last.
    pub(crate) seen_us: Option<i64>,
    /// The version of the program there.
    pub(crate) version: Option<String>,
    /// How much the repositories that it writes to may hold before it may not add to them.
    pub(crate) most_bytes: Option<i64>,
}

/// A client as it is to be.
#[derive(Debug, Clone, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClientToBe {
    /// What people call it.
    #[schema(min_length = 1, max_length = 100, example = "backup-pc")]
    pub(crate) name: String,
    /// How many bytes the repositories that it writes to may hold before it may not add to them; none: no limit of its own.
    #[serde(default)]
    #[schema(minimum = 0)]
    pub(crate) most_bytes: Option<i64>,
}

impl ClientToBe {
    fn check(&self) -> Result<String> {
        if self.most_bytes.is_some_and(|most| most < 0) {
            return Err(Error::invalid("A limit cannot be below zero").with_hint("Leave it empty for no limit"));
        }
        check_title("a client", &self.name)
    }
}

/// A client's key of a repository, as it is kept.
#[derive(Debug, Clone)]
pub(crate) struct ClientKey {
    /// The client.
    pub(crate) client: Id,
    /// The repository.
    pub(crate) repository: Id,
    /// The key slot's id in the repository.
    pub(crate) slot: String,
    secret: String,
}

impl ClientKey {
    /// The key.
    ///
    /// # Errors
    /// `WrongKey` when it does not open with the master key.
    pub(crate) fn open(&self, vault: &Vault) -> Result<Zeroizing<String>> {
        vault.open_sealed(&place(&self.client, &self.repository), &self.secret)
    }
}

fn place(client: &Id, repository: &Id) -> String {
    format!("client_keys/{client}/{repository}")
}

/// A job that a client has in hand: what lets it into a repository.
#[derive(Debug, Clone)]
pub(crate) struct Handed {
    /// The job.
    pub(crate) job: Id,
    /// When it began.
    pub(crate) started_us: i64,
    /// The name of its set.
    pub(crate) set_name: String,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, account_id, name, token, code_expires_us, created_us, seen_us, version, most_bytes FROM clients ",
            $rest
        )
    };
}

fn read(row: &AnyRow) -> Result<ClientRow> {
    Ok(ClientRow {
        id: row.id("id")?,
        account: row.id("account_id")?,
        name: row.text("name")?,
        enrolled: row.maybe_text("token")?.is_some(),
        code_expires_us: row.maybe_number("code_expires_us")?,
        created_us: row.number("created_us")?,
        seen_us: row.maybe_number("seen_us")?,
        version: row.maybe_text("version")?,
        most_bytes: row.maybe_number("most_bytes")?,
    })
}

impl Db {
    /// Adds a client, which is yet to enroll.
    ///
    /// # Errors
    /// `AlreadyExists`, `InvalidInput`.
    pub(crate) async fn add_client(&self, account: &Id, new: &ClientToBe, now_us: i64) -> Result<ClientRow> {
        let (id, name) = (Id::random(), new.check()?);
        let row = sqlx::query("SELECT COUNT(*) AS many FROM clients WHERE account_id = $1")
            .bind(account.as_str())
            .fetch_one(self.pool())
            .await?;
        if row.number("many")? >= MOST {
            return Err(
                Error::invalid(format!("There are {MOST} clients already")).with_hint("Remove those not in use")
            );
        }
        sqlx::query("INSERT INTO clients (id, account_id, name, created_us, most_bytes) VALUES ($1, $2, $3, $4, $5)")
            .bind(id.as_str())
            .bind(account.as_str())
            .bind(&name)
            .bind(now_us)
            .bind(new.most_bytes)
            .execute(self.pool())
            .await
            .map_err(|e| super::taken(e, "client", &name))?;
        self.client(account, &id).await
    }

    /// Changes a client's name and limit.
    ///
    /// # Errors
    /// As [`Self::add_client`]; `NotFound`.
    pub(crate) async fn change_client(&self, account: &Id, id: &Id, new: &ClientToBe) -> Result<()> {
        let name = new.check()?;
        let changed = sqlx::query("UPDATE clients SET name = $1, most_bytes = $2 WHERE id = $3 AND account_id = $4")
            .bind(&name)
            .bind(new.most_bytes)
            .bind(id.as_str())
            .bind(account.as_str())
            .execute(self.pool())
            .await
            .map_err(|e| super::taken(e, "client", &name))?;
        super::need_one(changed.rows_affected(), "client")
    }

    /// Gives a client a one-time code in the place of any before. A token that it has stays good until the code is used.
    ///
    /// # Errors
    /// `NotFound`.
    pub(crate) async fn give_code(
        &self,
        vault: &Vault,
        account: &Id,
        id: &Id,
        code: &str,
        expires_us: i64,
    ) -> Result<()> {
        let given = sqlx::query("UPDATE clients SET code = $1, code_expires_us = $2 WHERE id = $3 AND account_id = $4")
            .bind(vault.token_name(code))
            .bind(expires_us)
            .bind(id.as_str())
            .bind(account.as_str())
            .execute(self.pool())
            .await?;
        super::need_one(given.rows_affected(), "client")
    }

    /// Takes a one-time code, once, and a token in its place. Nothing: the code is not good, or not any more.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn enroll(
        &self,
        vault: &Vault,
        code: &str,
        token: &str,
        version: &str,
        now_us: i64,
    ) -> Result<Option<ClientRow>> {
        let row = sqlx::query(
            "UPDATE clients SET token = $1, code = NULL, code_expires_us = NULL, version = $2, seen_us = $3 \
             WHERE code = $4 AND code_expires_us > $3 RETURNING id",
        )
        .bind(vault.token_name(token))
        .bind(version)
        .bind(now_us)
        .bind(vault.token_name(code))
        .fetch_optional(self.pool())
        .await?;
        let Some(row) = row else { return Ok(None) };
        let row = sqlx::query(select!("WHERE id = $1")).bind(row.text("id")?).fetch_one(self.pool()).await?;
        read(&row).map(Some)
    }

    /// Which client comes with a token; none if it ended.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn client_of_token(&self, vault: &Vault, token: &str, now_us: i64) -> Result<Option<ClientRow>> {
        let row =
            sqlx::query(select!("WHERE token = $1")).bind(vault.token_name(token)).fetch_optional(self.pool()).await?;
        let Some(client) = row.as_ref().map(read).transpose()? else { return Ok(None) };
        if client.seen_us.unwrap_or_default() < now_us - NOTE_EVERY_US {
            sqlx::query("UPDATE clients SET seen_us = $1 WHERE id = $2")
                .bind(now_us)
                .bind(client.id.as_str())
                .execute(self.pool())
                .await?;
        }
        Ok(Some(client))
    }

    /// Notes the version of a client's program.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn note_version(&self, id: &Id, version: &str) -> Result<()> {
        sqlx::query("UPDATE clients SET version = $1 WHERE id = $2")
            .bind(version)
            .bind(id.as_str())
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// A client of an account.
    ///
    /// # Errors
    /// `NotFound`.
    pub(crate) async fn client(&self, account: &Id, id: &Id) -> Result<ClientRow> {
        let row = sqlx::query(select!("WHERE id = $1 AND account_id = $2"))
            .bind(id.as_str())
            .bind(account.as_str())
            .fetch_optional(self.pool())
            .await?;
        read(&row.ok_or_else(|| Error::not_found("There is no such client"))?)
    }

    /// The clients of an account, by name.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn clients(&self, account: &Id) -> Result<Vec<ClientRow>> {
        let rows = sqlx::query(select!("WHERE account_id = $1 ORDER BY name"))
            .bind(account.as_str())
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(read).collect()
    }

    /// Lets a client in no more: its token and its code end. Its sets are the server's from now on, and so are its jobs,
    /// those that it had in hand too.
    ///
    /// # Errors
    /// `NotFound`.
    pub(crate) async fn shut_out_client(&self, account: &Id, id: &Id) -> Result<()> {
        let mut tx = self.write().await?;
        let ended = sqlx::query(
            "UPDATE clients SET token = NULL, code = NULL, code_expires_us = NULL WHERE id = $1 AND account_id = $2",
        )
        .bind(id.as_str())
        .bind(account.as_str())
        .execute(&mut *tx)
        .await?;
        super::need_one(ended.rows_affected(), "client")?;
        for sql in [
            "UPDATE sets SET client_id = NULL WHERE client_id = $1",
            "UPDATE jobs SET state = 'queued', worker = NULL, lease_until_us = NULL \
             WHERE client_id = $1 AND state = 'running'",
            "UPDATE jobs SET client_id = NULL WHERE client_id = $1",
        ] {
            sqlx::query(sql).bind(id.as_str()).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Takes a client that was shut out off the list.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn remove_client(&self, id: &Id) -> Result<()> {
        sqlx::query("DELETE FROM clients WHERE id = $1").bind(id.as_str()).execute(self.pool()).await?;
        Ok(())
    }

    /// The keys of a client.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn client_keys(&self, client: &Id) -> Result<Vec<ClientKey>> {
        let rows = sqlx::query("SELECT client_id, repository_id, slot, secret FROM client_keys WHERE client_id = $1")
            .bind(client.as_str())
            .fetch_all(self.pool())
            .await?;
        let read = |row: &AnyRow| {
            Ok(ClientKey {
                client: row.id("client_id")?,
                repository: row.id("repository_id")?,
                slot: row.text("slot")?,
                secret: row.text("secret")?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// Keeps the key of a client.
    ///
    /// # Errors
    /// `AlreadyExists` when there is one.
    pub(crate) async fn keep_client_key(
        &self,
        vault: &Vault,
        client: &Id,
        repository: &Id,
        slot: &str,
        key: &str,
    ) -> Result<()> {
        sqlx::query("INSERT INTO client_keys (client_id, repository_id, slot, secret) VALUES ($1, $2, $3, $4)")
            .bind(client.as_str())
            .bind(repository.as_str())
            .bind(slot)
            .bind(vault.seal(&place(client, repository), key))
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// Forgets the key of a client.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn forget_client_key(&self, client: &Id, repository: &Id) -> Result<()> {
        sqlx::query("DELETE FROM client_keys WHERE client_id = $1 AND repository_id = $2")
            .bind(client.as_str())
            .bind(repository.as_str())
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// The job that a client has in hand in a repository, if it has one.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn handed(&self, client: &Id, repository: &Id) -> Result<Option<Handed>> {
        let row = sqlx::query(
            "SELECT j.id AS id, j.started_us AS started_us, s.name AS name FROM jobs j JOIN sets s ON s.id = j.set_id \
             WHERE j.client_id = $1 AND j.repository_id = $2 AND j.state = 'running' ORDER BY j.started_us DESC LIMIT 1",
        )
        .bind(client.as_str())
        .bind(repository.as_str())
        .fetch_optional(self.pool())
        .await?;
        let read = |row: AnyRow| {
            Ok(Handed { job: row.id("id")?, started_us: row.number("started_us")?, set_name: row.text("name")? })
        };
        row.map(read).transpose()
    }

    /// Says whether a job of a client is due and was not taken yet.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn has_due(&self, client: &Id, now_us: i64) -> Result<bool> {
        let row =
            sqlx::query("SELECT id FROM jobs WHERE client_id = $1 AND state = 'queued' AND run_after_us <= $2 LIMIT 1")
                .bind(client.as_str())
                .bind(now_us)
                .fetch_optional(self.pool())
                .await?;
        Ok(row.is_some())
    }

    /// How much the repositories hold that a client's sets are written to.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn stored_for_client(&self, client: &Id) -> Result<i64> {
        let row = sqlx::query(
            "SELECT CAST(COALESCE(SUM(stored_bytes), 0) AS BIGINT) AS bytes FROM repositories \
             WHERE id IN (SELECT repository_id FROM sets WHERE client_id = $1)",
        )
        .bind(client.as_str())
        .fetch_one(self.pool())
        .await?;
        row.number("bytes")
    }

    /// Hands the jobs of a set that wait to whoever runs it from now on.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn hand_over_waiting(&self, set: &Id, client: Option<&Id>) -> Result<()> {
        sqlx::query("UPDATE jobs SET client_id = $1 WHERE set_id = $2 AND kind = 'backup' AND state = 'queued'")
            .bind(client.map(Id::as_str))
            .bind(set.as_str())
            .execute(self.pool())
            .await?;
        Ok(())
    }
}
