//! The audit log: who did what, from where. Each entry's hash covers the entry before it, so that one that was changed,
//! taken out or put in between shows. [`exported`] looks through what somebody was given of it.

mod exported;

use serde_json::{Value, json};
use sqlx::any::AnyRow;

use super::auth::Actor;
use super::db::{Columns as _, Db, Engine};
use super::id::Id;
use super::options::ServerOptions;
use crate::error::{Error, Result};
pub use exported::{AuditFound, look_through_exported};

/// What the first entry follows upon.
const BEGINNING: &str = "";
/// The number of PostgreSQL's lock under which one entry at a time is added.
const LOCK: i64 = 0x6175_6469;

/// Something that was done.
#[derive(Debug, Clone)]
pub(crate) struct Deed<'a> {
    /// The account that it concerns; none: the server.
    pub(crate) account: Option<&'a Id>,
    /// What was done: "set.change".
    pub(crate) action: &'static str,
    /// To what, for people.
    pub(crate) object: &'a str,
    /// More of it. Never a secret.
    pub(crate) detail: Value,
}

/// An entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Entries are numbered from 1 without a gap.
    pub(crate) number: i64,
    /// When.
    pub(crate) at_us: i64,
    /// The account that it concerns.
    pub(crate) account: Option<String>,
    /// Who: a login, "scheduler", "client NAME".
    pub(crate) actor: String,
    /// From where.
    pub(crate) address: String,
    /// What was done.
    pub(crate) action: String,
    /// To what.
    pub(crate) object: String,
    /// JSON.
    pub(crate) detail: String,
    /// The hash of the entry before.
    pub(crate) previous: String,
    /// The hash of this one.
    pub(crate) hash: String,
}

impl Entry {
    /// BLAKE3 over every field, each preceded by its length, so that no two entries read alike.
    fn digest(&self) -> String {
        let (number, at) = (self.number.to_string(), self.at_us.to_string());
        let account = self.account.as_deref().unwrap_or_default();
        let mut hasher = blake3::Hasher::new();
        for field in [
            &number,
            &at,
            account,
            &self.actor,
            &self.address,
            &self.action,
            &self.object,
            &self.detail,
            &self.previous,
        ] {
            hasher.update(&(field.len() as u64).to_le_bytes());
            hasher.update(field.as_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }
}

/// What looking through the log found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verified {
    /// Every entry follows upon the one before.
    Whole {
        /// How many there are.
        entries: u64,
        /// The hash of the last: who keeps it elsewhere sees later whether the end was cut off.
        last: String,
    },
    /// An entry is not as it was written, or the one before it is missing.
    Broken {
        /// The first such.
        number: i64,
    },
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT number, at_us, account_id, actor, address, action, object, detail, previous, hash FROM audit ",
            $rest
        )
    };
}

fn read(row: &AnyRow) -> Result<Entry> {
    Ok(Entry {
        number: row.number("number")?,
        at_us: row.number("at_us")?,
        account: row.maybe_text("account_id")?,
        actor: row.text("actor")?,
        address: row.text("address")?,
        action: row.text("action")?,
        object: row.text("object")?,
        detail: row.text("detail")?,
        previous: row.text("previous")?,
        hash: row.text("hash")?,
    })
}

impl Db {
    /// Adds an entry for somebody's deed.
    ///
    /// # Errors
    /// As any query. A deed that cannot be noted must not look done: callers pass the error on.
    pub(crate) async fn note(&self, actor: &Actor, deed: Deed<'_>, now_us: i64) -> Result<()> {
        self.note_as(&actor.login, &actor.address, deed, now_us).await
    }

    /// As [`Self::note`], for who is no person.
    ///
    /// # Errors
    /// As [`Self::note`].
    pub(crate) async fn note_as(&self, actor: &str, address: &str, deed: Deed<'_>, now_us: i64) -> Result<()> {
        let mut tx = self.write().await?;
        if self.engine() == Engine::Postgres {
            sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *tx).await?;
        }
        let last =
            sqlx::query("SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1").fetch_optional(&mut *tx).await?;
        let (number, previous) = match last {
            Some(row) => (row.number("number")? + 1, row.text("hash")?),
            None => (1, BEGINNING.to_owned()),
        };
        let detail = if deed.detail.is_null() { json!({}) } else { deed.detail };
        let mut entry = Entry {
            number,
            at_us: now_us,
            account: deed.account.map(ToString::to_string),
            actor: actor.to_owned(),
            address: address.to_owned(),
            action: deed.action.to_owned(),
            object: deed.object.to_owned(),
            detail: detail.to_string(),
            previous,
            hash: String::new(),
        };
        entry.hash = entry.digest();
        sqlx::query(
            "INSERT INTO audit (number, at_us, account_id, actor, address, action, object, detail, previous, hash) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(entry.number)
        .bind(entry.at_us)
        .bind(entry.account)
        .bind(entry.actor)
        .bind(entry.address)
        .bind(entry.action)
        .bind(entry.object)
        .bind(entry.detail)
        .bind(entry.previous)
        .bind(entry.hash)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Entries before a number, the newest first: those of an account, or all.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn audit(&self, account: Option<&Id>, before: i64, most: i64) -> Result<Vec<Entry>> {
        let rows = match account {
            Some(account) => {
                sqlx::query(select!("WHERE account_id = $3 AND number < $1 ORDER BY number DESC LIMIT $2"))
                    .bind(before)
                    .bind(most)
                    .bind(account.as_str())
                    .fetch_all(self.pool())
                    .await?
            }
            None => {
                sqlx::query(select!("WHERE number < $1 ORDER BY number DESC LIMIT $2"))
                    .bind(before)
                    .bind(most)
                    .fetch_all(self.pool())
                    .await?
            }
        };
        rows.iter().map(read).collect()
    }

    /// Looks through the whole log.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn verify_audit(&self) -> Result<Verified> {
        const PAGE: i64 = 1_000;
        let (mut number, mut previous, mut entries) = (0, BEGINNING.to_owned(), 0);
        loop {
            let rows = sqlx::query(select!("WHERE number > $1 ORDER BY number LIMIT $2"))
                .bind(number)
                .bind(PAGE)
                .fetch_all(self.pool())
                .await?;
            if rows.is_empty() {
                return Ok(Verified::Whole { entries, last: previous });
            }
            for row in &rows {
                let entry = read(row)?;
                if entry.number != number + 1 || entry.previous != previous || entry.hash != entry.digest() {
                    return Ok(Verified::Broken { number: number + 1 });
                }
                (number, previous, entries) = (entry.number, entry.hash, entries + 1);
            }
        }
    }
}

/// Looks through the audit log in a server's database, also while the server runs, and changes nothing there. `known`: a hash that was kept elsewhere, which
/// one of the entries must have.
///
/// # Errors
/// `NotFound` when there is no database; `Corrupt` naming the first entry that is not as it was written; as opening.
pub async fn look_through(options: &ServerOptions, known: Option<&str>) -> Result<AuditFound> {
    let folder = &options.folder;
    if options.database_url.is_none() && !folder.join("server.db").is_file() {
        return Err(Error::not_found(format!("There is no server's database in {}", folder.display()))
            .with_hint("Name the server's folder, or the database as the server is told it"));
    }
    let db = Db::open_to_read(options.database_url.as_deref(), folder).await?;
    let found = match db.verify_audit().await? {
        Verified::Whole { entries, last } => {
            let number = i64::try_from(entries).unwrap_or(i64::MAX);
            AuditFound { entries, first: number.min(1), last: number, hash: last, others: 0 }
        }
        Verified::Broken { number } => return Err(exported::broken(number)),
    };
    if let Some(known) = known {
        let row = sqlx::query("SELECT number FROM audit WHERE hash = $1").bind(known).fetch_optional(db.pool()).await?;
        row.ok_or_else(exported::cut)?;
    }
    db.close().await;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deed(object: &str) -> Deed<'_> {
        Deed { account: None, action: "test", object, detail: Value::Null }
    }

    #[tokio::test]
    async fn what_was_changed_taken_out_or_put_in_shows() {
        for (spoil, first) in [
            ("UPDATE audit SET actor = 'mallory' WHERE number = 3", 3),
            ("DELETE FROM audit WHERE number = 2", 2),
            ("UPDATE audit SET previous = 'x' WHERE number = 4", 4),
            ("UPDATE audit SET account_id = 'x' WHERE number = 1", 1),
        ] {
            let folder = tempfile::tempdir().expect("a folder");
            let db = Db::open(None, folder.path()).await.expect("open");
            assert_eq!(db.verify_audit().await.expect("read"), Verified::Whole { entries: 0, last: String::new() });
            for number in 0..5 {
                db.note_as("alice", "127.0.0.1", deed(&format!("object {number}")), number).await.expect("noted");
            }
            assert!(matches!(db.verify_audit().await.expect("read"), Verified::Whole { entries: 5, .. }));
            sqlx::query(spoil).execute(db.pool()).await.expect("spoilt");
            assert_eq!(db.verify_audit().await.expect("read"), Verified::Broken { number: first }, "{spoil}");
        }
    }

    #[tokio::test]
    async fn looking_through_it_changes_nothing_in_a_database_of_whatever_version() {
        let folder = tempfile::tempdir().expect("a folder");
        let db = Db::open(None, folder.path()).await.expect("open");
        for number in 0..3 {
            db.note_as("alice", "127.0.0.1", deed("an object"), number).await.expect("noted");
        }
        let options = ServerOptions::in_folder(folder.path().to_owned());
        assert_eq!(look_through(&options, None).await.expect("while it is open").entries, 3);
        // As a program left it that knew one migration less.
        let older = "DELETE FROM migrations WHERE number = (SELECT MAX(number) FROM migrations)";
        sqlx::query(older).execute(db.pool()).await.expect("written");
        db.close().await;
        let file = folder.path().join("server.db");
        let before = std::fs::read(&file).expect("read");
        assert_eq!(look_through(&options, None).await.expect("an older one").entries, 3);
        assert!(std::fs::read(&file).expect("read") == before);
        let reading = Db::open_to_read(None, folder.path()).await.expect("open");
        reading.note_as("mallory", "127.0.0.1", deed("an object"), 9).await.expect_err("nothing is written");
        reading.close().await;
        std::fs::write(&file, []).expect("emptied");
        let refused = look_through(&options, None).await.expect_err("no database of a server");
        assert_eq!(refused.kind(), crate::error::ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn many_at_once_make_one_chain() {
        let folder = tempfile::tempdir().expect("a folder");
        let db = Db::open(None, folder.path()).await.expect("open");
        let noting = (0..40).map(|n| {
            let db = db.clone();
            async move { db.note_as("a", "b", deed("c"), n).await }
        });
        for noted in futures::future::join_all(noting).await {
            noted.expect("noted");
        }
        assert!(matches!(db.verify_audit().await.expect("read"), Verified::Whole { entries: 40, .. }));
    }
}
