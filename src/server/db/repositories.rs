//! Repositories and where they lie.

use sqlx::any::AnyRow;
use zeroize::Zeroizing;

use super::accounts::check_title;
use super::{Columns as _, Db, GoneKeys, LeftBehind, left_behind};
use crate::error::{Error, ErrorKind, Result};
use crate::server::id::Id;
use crate::server::vault::Vault;

/// A repository of an account.
#[derive(Debug, Clone)]
pub(crate) struct RepositoryRow {
    /// The row's id.
    pub(crate) id: Id,
    /// The account.
    pub(crate) account: Id,
    /// What people call it.
    pub(crate) name: String,
    /// The id that stands in the repository itself.
    pub(crate) repository: String,
    /// When it was made.
    pub(crate) created_us: i64,
    /// The owner has typed back a part of the key.
    pub(crate) confirmed: bool,
    /// Bytes stored, as last counted.
    pub(crate) stored_bytes: i64,
    /// The account lets the server hold the owner's key.
    pub(crate) holds_owner_key: bool,
    /// The slot of the server's own key, where that was noted.
    pub(crate) own_slot: Option<String>,
    /// Keys that were removed.
    pub(crate) gone: GoneKeys,
    write_key: String,
    owner_key: Option<String>,
}

impl RepositoryRow {
    /// The key that adds and prunes, and opens no contents.
    ///
    /// # Errors
    /// `WrongKey` when it does not open with the master key.
    pub(crate) fn write_key(&self, vault: &Vault) -> Result<Zeroizing<String>> {
        vault.open_sealed(&place(&self.id, "write_key"), &self.write_key)
    }

    /// That key as the row has it.
    pub(super) fn sealed_write_key(&self) -> &str {
        &self.write_key
    }

    /// The owner's key, where the account chose that the server holds it.
    ///
    /// # Errors
    /// As [`Self::write_key`].
    pub(crate) fn owner_key(&self, vault: &Vault) -> Result<Option<Zeroizing<String>>> {
        let open = |sealed: &String| vault.open_sealed(&place(&self.id, "owner_key"), sealed);
        self.owner_key.as_ref().map(open).transpose()
    }
}

/// A repository to note.
#[derive(Debug)]
pub(crate) struct NewRepository<'a> {
    /// The row's id, which its own storage is named by.
    pub(crate) id: Id,
    /// What people call it.
    pub(crate) name: &'a str,
    /// The id that stands in it.
    pub(crate) repository: String,
    /// The write-only key.
    pub(crate) write_key: &'a str,
    /// Its slot.
    pub(crate) own_slot: &'a str,
    /// Where it lies.
    pub(crate) destination: NewDestination<'a>,
}

/// A place to note.
#[derive(Debug)]
pub(crate) struct NewDestination<'a> {
    /// What people call it.
    pub(crate) name: &'a str,
    /// `server:` for the server's own storage, else as `storage::open` takes it.
    pub(crate) url: &'a str,
    /// JSON: name to secret.
    pub(crate) credentials: Option<&'a str>,
}

/// A place that holds a repository or a replica of it.
#[derive(Debug, Clone)]
pub(crate) struct DestinationRow {
    /// The row's id.
    pub(crate) id: Id,
    /// The repository.
    pub(crate) repository: Id,
    /// What people call it.
    pub(crate) name: String,
    /// Where it is.
    pub(crate) url: String,
    /// The first one leads; the others are replicas.
    pub(crate) position: i64,
    /// When it was added.
    pub(crate) created_us: i64,
    /// Why it lags behind the first one, if it does.
    pub(crate) lag: Option<String>,
    credentials: Option<String>,
}

impl DestinationRow {
    /// The storage's secrets: JSON, name to secret.
    ///
    /// # Errors
    /// `WrongKey` when they do not open with the master key.
    pub(crate) fn credentials(&self, vault: &Vault) -> Result<Option<Zeroizing<String>>> {
        let open = |sealed: &String| vault.open_sealed(&credentials_place(&self.id), sealed);
        self.credentials.as_ref().map(open).transpose()
    }

    /// How it is reached: where it is, and its secrets as they are sealed. Others, when somebody entered others.
    pub(crate) fn reached(&self) -> (String, Option<String>) {
        (self.url.clone(), self.credentials.clone())
    }
}

pub(super) fn place(repository: &Id, key: &str) -> String {
    format!("repositories/{repository}/{key}")
}

fn credentials_place(destination: &Id) -> String {
    format!("destinations/{destination}/credentials")
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, account_id, name, repository, write_key, owner_key, created_us, confirmed, stored_bytes, \
             own_slot, gone_keys FROM repositories ",
            $rest
        )
    };
}

macro_rules! select_destination {
    ($rest:literal) => {
        concat!("SELECT id, repository_id, name, url, credentials, position, created_us, lag FROM destinations ", $rest)
    };
}

/// The keys that were removed, as a row has them.
pub(super) fn gone_keys(row: &AnyRow) -> Result<GoneKeys> {
    row.maybe_text("gone_keys")?.map_or_else(|| Ok(GoneKeys::default()), |text| super::from_json(&text))
}

fn read(row: &AnyRow) -> Result<RepositoryRow> {
    let owner_key = row.maybe_text("owner_key")?;
    Ok(RepositoryRow {
        id: row.id("id")?,
        account: row.id("account_id")?,
        name: row.text("name")?,
        repository: row.text("repository")?,
        created_us: row.number("created_us")?,
        confirmed: row.flag("confirmed")?,
        stored_bytes: row.number("stored_bytes")?,
        holds_owner_key: owner_key.is_some(),
        own_slot: row.maybe_text("own_slot")?,
        gone: gone_keys(row)?,
        write_key: row.text("write_key")?,
        owner_key,
    })
}

fn read_destination(row: &AnyRow) -> Result<DestinationRow> {
    Ok(DestinationRow {
        id: row.id("id")?,
        repository: row.id("repository_id")?,
        name: row.text("name")?,
        url: row.text("url")?,
        position: row.number("position")?,
        created_us: row.number("created_us")?,
        lag: row.maybe_text("lag")?,
        credentials: row.maybe_text("credentials")?,
    })
}

impl Db {
    /// Notes a repository that was made, or that comes back, with its first place.
    ///
    /// # Errors
    /// `AlreadyExists`, `InvalidInput`.
    pub(crate) async fn add_repository(
        &self,
        vault: &Vault,
        account: &Id,
        new: &NewRepository<'_>,
        now_us: i64,
    ) -> Result<RepositoryRow> {
        let name = check_title("a repository", new.name)?;
        let mut tx = self.write().await?;
        sqlx::query(
            "INSERT INTO repositories (id, account_id, name, repository, write_key, own_slot, created_us) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(new.id.as_str())
        .bind(account.as_str())
        .bind(&name)
        .bind(&new.repository)
        .bind(vault.seal(&place(&new.id, "write_key"), new.write_key))
        .bind(new.own_slot)
        .bind(now_us)
        .execute(&mut *tx)
        .await
        .map_err(|e| super::taken(e, "repository", &name))?;
        left_behind::bring_back(&mut tx, &new.id).await?;
        insert_destination(&mut tx, vault, account, &new.id, &new.destination, 0, now_us).await?;
        tx.commit().await?;
        self.repository(account, &new.id).await
    }

    /// Adds a further place to a repository.
    ///
    /// # Errors
    /// `AlreadyExists`, `InvalidInput`.
    pub(crate) async fn add_destination(
        &self,
        vault: &Vault,
        repository: &RepositoryRow,
        new: &NewDestination<'_>,
        now_us: i64,
    ) -> Result<DestinationRow> {
        let mut tx = self.write().await?;
        let row = sqlx::query("SELECT COALESCE(MAX(position), 0) AS last FROM destinations WHERE repository_id = $1")
            .bind(repository.id.as_str())
            .fetch_one(&mut *tx)
            .await?;
        let position = row.number("last")? + 1;
        let id = insert_destination(&mut tx, vault, &repository.account, &repository.id, new, position, now_us).await?;
        tx.commit().await?;
        let row = sqlx::query(select_destination!("WHERE id = $1")).bind(id.as_str()).fetch_one(self.pool()).await?;
        read_destination(&row)
    }

    /// Lets go of a further place. What lies there stays.
    ///
    /// # Errors
    /// `InvalidInput` for the first place of a repository; `NotFound`.
    pub(crate) async fn remove_destination(&self, account: &Id, id: &Id) -> Result<()> {
        let row = sqlx::query("SELECT position FROM destinations WHERE id = $1 AND account_id = $2")
            .bind(id.as_str())
            .bind(account.as_str())
            .fetch_optional(self.pool())
            .await?;
        let position = row.ok_or_else(|| Error::not_found("There is no such destination"))?.number("position")?;
        if position == 0 {
            return Err(Error::invalid("A repository's first destination stays as long as the repository")
                .with_hint("Remove the repository from the list instead; what is stored stays where it is"));
        }
        sqlx::query("DELETE FROM destinations WHERE id = $1").bind(id.as_str()).execute(self.pool()).await?;
        Ok(())
    }

    /// A repository of an account.
    ///
    /// # Errors
    /// `NotFound`.
    pub(crate) async fn repository(&self, account: &Id, id: &Id) -> Result<RepositoryRow> {
        let row = sqlx::query(select!("WHERE id = $1 AND account_id = $2"))
            .bind(id.as_str())
            .bind(account.as_str())
            .fetch_optional(self.pool())
            .await?;
        read(&row.ok_or_else(|| Error::not_found("There is no such repository"))?)
    }

    /// The repositories of an account, by name.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn repositories(&self, account: &Id) -> Result<Vec<RepositoryRow>> {
        let rows = sqlx::query(select!("WHERE account_id = $1 ORDER BY name"))
            .bind(account.as_str())
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(read).collect()
    }

    /// The places of a repository, the leading one first.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn destinations(&self, repository: &Id) -> Result<Vec<DestinationRow>> {
        let rows = sqlx::query(select_destination!("WHERE repository_id = $1 ORDER BY position"))
            .bind(repository.as_str())
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(read_destination).collect()
    }

    /// A place of a repository of an account.
    ///
    /// # Errors
    /// `NotFound`.
    pub(crate) async fn destination(&self, account: &Id, id: &Id) -> Result<DestinationRow> {
        let row = sqlx::query(select_destination!("WHERE id = $1 AND account_id = $2"))
            .bind(id.as_str())
            .bind(account.as_str())
            .fetch_optional(self.pool())
            .await?;
        read_destination(&row.ok_or_else(|| Error::not_found("There is no such destination"))?)
    }

    /// Changes a place: what it is called, where it is, and all of its secrets.
    ///
    /// # Errors
    /// `AlreadyExists`, `InvalidInput`; `NotFound` when it was let go of meanwhile.
    pub(crate) async fn change_destination(&self, vault: &Vault, id: &Id, new: &NewDestination<'_>) -> Result<()> {
        let name = check_title("a destination", new.name)?;
        let changed = sqlx::query("UPDATE destinations SET name = $1, url = $2, credentials = $3 WHERE id = $4")
            .bind(&name)
            .bind(new.url)
            .bind(new.credentials.map(|text| vault.seal(&credentials_place(id), text)))
            .bind(id.as_str())
            .execute(self.pool())
            .await
            .map_err(|e| super::taken(e, "destination", &name))?;
        super::need_one(changed.rows_affected(), "destination")
    }

    /// Notes why a place lags behind, or that it does not.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn keep_lag(&self, id: &Id, lag: Option<&str>) -> Result<()> {
        sqlx::query("UPDATE destinations SET lag = $1 WHERE id = $2")
            .bind(lag)
            .bind(id.as_str())
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// Notes that the owner has the key.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn confirm_repository(&self, id: &Id) -> Result<()> {
        sqlx::query("UPDATE repositories SET confirmed = 1 WHERE id = $1")
            .bind(id.as_str())
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// Keeps the owner's key, or lets go of it.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn hold_owner_key(&self, vault: &Vault, id: &Id, key: Option<&str>) -> Result<()> {
        sqlx::query("UPDATE repositories SET owner_key = $1 WHERE id = $2")
            .bind(key.map(|key| vault.seal(&place(id, "owner_key"), key)))
            .bind(id.as_str())
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// Notes how much a repository takes.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn keep_stored_bytes(&self, id: &Id, bytes: i64) -> Result<()> {
        sqlx::query("UPDATE repositories SET stored_bytes = $1 WHERE id = $2")
            .bind(bytes)
            .bind(id.as_str())
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// Adds to how much a repository takes, between two counts.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn add_stored_bytes(&self, id: &Id, bytes: i64) -> Result<()> {
        sqlx::query("UPDATE repositories SET stored_bytes = stored_bytes + $1 WHERE id = $2")
            .bind(bytes)
            .bind(id.as_str())
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// Takes a repository off the list. What is stored stays where it is; `left`: in the server's own storage.
    ///
    /// # Errors
    /// `AlreadyExists` when backup sets use it; `NotFound`.
    pub(crate) async fn remove_repository(&self, account: &Id, id: &Id, left: Option<&LeftBehind>) -> Result<()> {
        let mut tx = self.write().await?;
        sqlx::query("DELETE FROM destinations WHERE repository_id = $1 AND account_id = $2")
            .bind(id.as_str())
            .bind(account.as_str())
            .execute(&mut *tx)
            .await?;
        sqlx::query("DELETE FROM client_keys WHERE repository_id = $1").bind(id.as_str()).execute(&mut *tx).await?;
        sqlx::query(
            "UPDATE jobs SET repository_id = NULL WHERE repository_id = $1 AND account_id = $2 AND set_id IS NULL",
        )
        .bind(id.as_str())
        .bind(account.as_str())
        .execute(&mut *tx)
        .await?;
        let removed = sqlx::query("DELETE FROM repositories WHERE id = $1 AND account_id = $2")
            .bind(id.as_str())
            .bind(account.as_str())
            .execute(&mut *tx)
            .await
            .map_err(|e| match Error::from(e) {
                e if e.kind() == ErrorKind::AlreadyExists => {
                    Error::new(ErrorKind::AlreadyExists, "Backup sets still write to this repository")
                        .with_hint("Remove them first")
                }
                e => e,
            })?;
        super::need_one(removed.rows_affected(), "repository")?;
        if let Some(left) = left {
            left_behind::insert(&mut tx, account, left).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}

async fn insert_destination(
    tx: &mut sqlx::Transaction<'static, sqlx::Any>,
    vault: &Vault,
    account: &Id,
    repository: &Id,
    new: &NewDestination<'_>,
    position: i64,
    now_us: i64,
) -> Result<Id> {
    let (id, name) = (Id::random(), check_title("a destination", new.name)?);
    sqlx::query(
        "INSERT INTO destinations (id, account_id, repository_id, name, url, credentials, position, created_us) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(id.as_str())
    .bind(account.as_str())
    .bind(repository.as_str())
    .bind(&name)
    .bind(new.url)
    .bind(new.credentials.map(|text| vault.seal(&credentials_place(&id), text)))
    .bind(position)
    .bind(now_us)
    .execute(&mut **tx)
    .await
    .map_err(|e| super::taken(e, "destination", &name))?;
    Ok(id)
}
