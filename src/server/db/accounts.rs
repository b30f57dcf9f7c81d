//! Accounts and what each may protect.

use sqlx::any::AnyRow;

use super::{Columns as _, Db};
use crate::error::{Error, ErrorKind, Result};
use crate::server::id::Id;

/// A customer.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    /// The row's id.
    pub(crate) id: Id,
    /// What people call it.
    pub(crate) name: String,
    /// When it was made.
    pub(crate) created_us: i64,
    /// What it may protect.
    pub(crate) limits: Entitlements,
}

/// What an account may protect; none: as much as there is. Beyond it nothing is added; runs and restores go on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entitlements {
    /// Mailboxes, those of groups among them.
    #[serde(default)]
    #[schema(minimum = 0)]
    pub(crate) mailboxes: Option<i64>,
    /// Drives of users.
    #[serde(default)]
    #[schema(minimum = 0)]
    pub(crate) drives: Option<i64>,
    /// Sites.
    #[serde(default)]
    #[schema(minimum = 0)]
    pub(crate) sites: Option<i64>,
    /// Bytes stored.
    #[serde(default)]
    #[schema(minimum = 0)]
    pub(crate) bytes: Option<i64>,
}

impl Entitlements {
    fn check(self) -> Result<Self> {
        let all = [self.mailboxes, self.drives, self.sites, self.bytes];
        if all.iter().flatten().any(|limit| *limit < 0) {
            return Err(Error::invalid("A limit cannot be below zero").with_hint("Leave it empty for no limit"));
        }
        Ok(self)
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, name, created_us, most_mailboxes, most_drives, most_sites, most_bytes FROM accounts ",
            $rest
        )
    };
}

fn read(row: &AnyRow) -> Result<Account> {
    Ok(Account {
        id: row.id("id")?,
        name: row.text("name")?,
        created_us: row.number("created_us")?,
        limits: Entitlements {
            mailboxes: row.maybe_number("most_mailboxes")?,
            drives: row.maybe_number("most_drives")?,
            sites: row.maybe_number("most_sites")?,
            bytes: row.maybe_number("most_bytes")?,
        },
    })
}

/// Checks what people call an account, tenant, set, …: any words, on one line.
///
/// # Errors
/// `InvalidInput`.
pub(crate) fn check_title(what: &str, name: &str) -> Result<String> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > 100 || name.chars().any(char::is_control) {
        return Err(Error::invalid(format!("The name of {what} needs 1 to 100 characters on one line")));
    }
    Ok(name.to_owned())
}

impl Db {
    /// Adds an account.
    ///
    /// # Errors
    /// `AlreadyExists` for a name that is taken; `InvalidInput`.
    pub(crate) async fn add_account(&self, name: &str, limits: Entitlements, now_us: i64) -> Result<Account> {
        let (id, name, limits) = (Id::random(), check_title("an account", name)?, limits.check()?);
        sqlx::query(
            "INSERT INTO accounts (id, name, created_us, most_mailboxes, most_drives, most_sites, most_bytes) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(id.as_str())
        .bind(&name)
        .bind(now_us)
        .bind(limits.mailboxes)
        .bind(limits.drives)
        .bind(limits.sites)
        .bind(limits.bytes)
        .execute(self.pool())
        .await
        .map_err(|e| taken(e.into(), &name))?;
        self.account(&id).await
    }

    /// Changes an account's name and limits.
    ///
    /// # Errors
    /// As [`Self::add_account`].
    pub(crate) async fn change_account(&self, id: &Id, name: &str, limits: Entitlements) -> Result<()> {
        let (name, limits) = (check_title("an account", name)?, limits.check()?);
        sqlx::query(
            "UPDATE accounts SET name = $1, most_mailboxes = $2, most_drives = $3, most_sites = $4, most_bytes = $5 \
             WHERE id = $6",
        )
        .bind(&name)
        .bind(limits.mailboxes)
        .bind(limits.drives)
        .bind(limits.sites)
        .bind(limits.bytes)
        .bind(id.as_str())
        .execute(self.pool())
        .await
        .map_err(|e| taken(e.into(), &name))?;
        Ok(())
    }

    /// An account.
    ///
    /// # Errors
    /// `NotFound`.
    pub(crate) async fn account(&self, id: &Id) -> Result<Account> {
        let row = sqlx::query(select!("WHERE id = $1")).bind(id.as_str()).fetch_optional(self.pool()).await?;
        read(&row.ok_or_else(|| Error::not_found("There is no such account"))?)
    }

    /// All accounts, by name.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn accounts(&self) -> Result<Vec<Account>> {
        sqlx::query(select!("ORDER BY name")).fetch_all(self.pool()).await?.iter().map(read).collect()
    }

    /// Says whether there is more than one account.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn has_several_accounts(&self) -> Result<bool> {
        Ok(sqlx::query("SELECT id FROM accounts LIMIT 2").fetch_all(self.pool()).await?.len() > 1)
    }

    /// Removes an account that holds nothing: its people go with it.
    ///
    /// # Errors
    /// `AlreadyExists` when it still has tenants, sets or repositories.
    pub(crate) async fn remove_account(&self, id: &Id) -> Result<()> {
        let people = self.people(Some(id)).await?;
        let mut tx = self.write().await?;
        for person in people {
            for table in ["sessions", "tokens", "invitations"] {
                let sql = format!("DELETE FROM {table} WHERE person_id = $1");
                sqlx::query(sqlx::AssertSqlSafe(sql)).bind(person.id.as_str()).execute(&mut *tx).await?;
            }
        }
        for table in ["tenants", "sets", "clients", "repositories"] {
            let sql = format!("SELECT id FROM {table} WHERE account_id = $1 LIMIT 1");
            let one = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(id.as_str()).fetch_optional(&mut *tx).await?;
            if one.is_some() {
                return Err(holds_something());
            }
        }
        // What it did goes with it; the audit log stays.
        for (table, of) in [("restore_steps", "restores"), ("restore_journal", "restores"), ("job_keys", "jobs")] {
            let key = if of == "jobs" { "job_id" } else { "restore_id" };
            let sql = format!("DELETE FROM {table} WHERE {key} IN (SELECT id FROM {of} WHERE account_id = $1)");
            sqlx::query(sqlx::AssertSqlSafe(sql)).bind(id.as_str()).execute(&mut *tx).await?;
        }
        let mine = [
            "outbox",
            "receivers",
            "stored_days",
            "sign_ins",
            "drafts",
            "left_behind",
            "restores",
            "run_days",
            "runs",
            "jobs",
        ];
        for table in mine {
            let sql = format!("DELETE FROM {table} WHERE account_id = $1");
            sqlx::query(sqlx::AssertSqlSafe(sql)).bind(id.as_str()).execute(&mut *tx).await?;
        }
        sqlx::query("DELETE FROM people WHERE account_id = $1").bind(id.as_str()).execute(&mut *tx).await?;
        sqlx::query("DELETE FROM accounts WHERE id = $1").bind(id.as_str()).execute(&mut *tx).await.map_err(|e| {
            match Error::from(e) {
                e if e.kind() == ErrorKind::AlreadyExists => holds_something(),
                e => e,
            }
        })?;
        tx.commit().await?;
        Ok(())
    }
}

fn holds_something() -> Error {
    Error::new(ErrorKind::AlreadyExists, "The account still has tenants, backup sets, clients or repositories")
        .with_hint("Remove them first; what is stored stays where it is")
}

fn taken(e: Error, name: &str) -> Error {
    match e.kind() {
        ErrorKind::AlreadyExists => {
            Error::new(ErrorKind::AlreadyExists, format!("There is an account '{name}' already"))
        }
        _ => e,
    }
}
