//! Brings a database's tables up to date.

use sqlx::AssertSqlSafe;

use super::{Columns as _, Db, Engine};
use crate::error::{Error, ErrorKind, Result};

/// What was added to the tables, in order. What stands here is never changed: a later change is a new line.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001-begin.sql"),
    include_str!("migrations/0002-clients.sql"),
    include_str!("migrations/0003-restore.sql"),
    include_str!("migrations/0004-notices.sql"),
    include_str!("migrations/0005-drafts.sql"),
];

/// The number of PostgreSQL's lock under which one process at a time brings the tables up to date.
const LOCK: i64 = 0x7461_626c;

impl Db {
    /// Adds what the database lacks, in one transaction.
    pub(super) async fn migrate(&self) -> Result<()> {
        let mut tx = self.write().await?;
        if self.engine == Engine::Postgres {
            sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *tx).await?;
        }
        sqlx::query("CREATE TABLE IF NOT EXISTS migrations (number BIGINT PRIMARY KEY)").execute(&mut *tx).await?;
        let row = sqlx::query("SELECT COALESCE(MAX(number), 0) AS newest FROM migrations").fetch_one(&mut *tx).await?;
        let done = usize::try_from(row.number("newest")?).unwrap_or_default();
        if done > MIGRATIONS.len() {
            let text = format!("The database is of a newer version ({done}; this program knows {})", MIGRATIONS.len());
            return Err(Error::new(ErrorKind::UnsupportedVersion, text)
                .with_hint("Use the version of tenantvault that wrote it, or a newer one"));
        }
        for (number, text) in (1i64..).zip(MIGRATIONS).skip(done) {
            for statement in statements(text) {
                sqlx::query(AssertSqlSafe(statement)).execute(&mut *tx).await?;
            }
            sqlx::query("INSERT INTO migrations (number) VALUES ($1)").bind(number).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}

/// The statements of a migration, without comments.
fn statements(text: &str) -> Vec<String> {
    let plain: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("--"))
        .fold(String::new(), |all, line| all + line + "\n");
    plain.split(';').map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_database_is_made_once_and_one_of_a_newer_version_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let db = Db::open(None, folder.path()).await.expect("made");
        db.migrate().await.expect("nothing to do");
        sqlx::query("INSERT INTO migrations (number) VALUES (99)").execute(db.pool()).await.expect("written");
        db.close().await;
        let error = Db::open(None, folder.path()).await.expect_err("newer");
        assert_eq!(error.kind(), ErrorKind::UnsupportedVersion);
    }
}
