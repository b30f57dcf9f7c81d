//! Brings a database's tables up to date.

use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;

use super::{Columns as _, Db, Engine};
use crate::error::{Error, ErrorKind, Result};

/// What was added to the tables, by number. What stands here is never changed: a later change is a new line. A database that
/// has a later one and lacks an earlier one gets that one too: two that were made side by side do not build upon each other.
const MIGRATIONS: &[(i64, &str)] = &[
    (1, include_str!("migrations/0001-begin.sql")),
    (2, include_str!("migrations/0002-clients.sql")),
    (3, include_str!("migrations/0003-restore.sql")),
    (4, include_str!("migrations/0004-notices.sql")),
    (5, include_str!("migrations/0005-drafts.sql")),
    (6, include_str!("migrations/0006-user-sign-in.sql")),
    (7, include_str!("migrations/0007-history.sql")),
    (8, include_str!("migrations/0008-days.sql")),
    (9, include_str!("migrations/0009-keys.sql")),
    (11, include_str!("migrations/0011-trouble.sql")),
    (12, include_str!("migrations/0012-logical.sql")),
    (13, include_str!("migrations/0013-run-days.sql")),
    (14, include_str!("migrations/0014-no-dead-column.sql")),
];

/// The number of PostgreSQL's lock under which one process at a time brings the tables up to date.
const LOCK: i64 = 0x7461_626c;

impl Db {
    /// Adds what the database lacks, in one transaction.
    pub(super) async fn migrate(&self) -> Result<()> {
        self.migrate_by(MIGRATIONS).await
    }

    /// Looks whether a database that is only read is one of a server's, and of no newer version.
    pub(super) async fn check_readable(&self) -> Result<()> {
        let rows = sqlx::query("SELECT number FROM migrations ORDER BY number").fetch_all(&self.pool).await;
        let rows = rows.map_err(|e| match Error::from(e) {
            e if e.kind() == ErrorKind::Internal => Error::not_found("This is no database of a server").with_source(e),
            e => e,
        })?;
        numbers(&rows, MIGRATIONS).map(drop)
    }

    async fn migrate_by(&self, known: &[(i64, &str)]) -> Result<()> {
        let mut tx = self.write().await?;
        if self.engine == Engine::Postgres {
            sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *tx).await?;
        }
        sqlx::query("CREATE TABLE IF NOT EXISTS migrations (number BIGINT PRIMARY KEY)").execute(&mut *tx).await?;
        let rows = sqlx::query("SELECT number FROM migrations ORDER BY number").fetch_all(&mut *tx).await?;
        let done = numbers(&rows, known)?;
        for (number, text) in known.iter().filter(|(number, _)| !done.contains(number)) {
            for statement in statements(text) {
                sqlx::query(AssertSqlSafe(statement)).execute(&mut *tx).await?;
            }
            sqlx::query("INSERT INTO migrations (number) VALUES ($1)").bind(*number).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}

/// The numbers of what was done to a database.
fn numbers(rows: &[AnyRow], known: &[(i64, &str)]) -> Result<Vec<i64>> {
    let done = rows.iter().map(|row| row.number("number")).collect::<Result<Vec<_>>>()?;
    if let Some(newer) = done.iter().rev().find(|number| !known.iter().any(|(known, _)| known == *number)) {
        let newest = known.last().map_or(0, |(number, _)| *number);
        let text = format!("The database is of a newer version ({newer}; this program knows up to {newest})");
        return Err(Error::new(ErrorKind::UnsupportedVersion, text)
            .with_hint("Use the version of tenantvault that wrote it, or a newer one"));
    }
    Ok(done)
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
    use super::super::Use;
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

    #[tokio::test]
    async fn runs_stay_when_a_column_that_nobody_counted_goes() {
        let folder = tempfile::tempdir().expect("a folder");
        let db = Db::connect(None, folder.path(), Use::All).await.expect("made");
        let older: Vec<_> = MIGRATIONS.iter().filter(|(number, _)| *number < 14).copied().collect();
        db.migrate_by(&older).await.expect("as it was");
        for row in [
            "accounts (id, name, created_us) VALUES ('a', 'A', 0)",
            "tenants (id, account_id, name, definition, created_us) VALUES ('t', 'a', 'T', '{}', 0)",
            "repositories (id, account_id, name, repository, write_key, created_us, confirmed) \
             VALUES ('r', 'a', 'R', 'x', 'x', 0, 1)",
            "sets (id, account_id, tenant_id, repository_id, name, definition, created_us) \
             VALUES ('s', 'a', 't', 'r', 'S', '{}', 0)",
            "runs (id, account_id, set_id, started_us, ended_us, outcome, items, items_added, items_changed, items_removed, \
             collections, gaps, bytes_logical, bytes_read, bytes_new, bytes_stored, requests, throttled, waits, gap_list) \
             VALUES ('u', 'a', 's', 1, 2, 'complete', 3, 4, 5, 6, 7, 8, 0, 9, 10, 11, 12, 13, '{}', '[]')",
        ] {
            let insert = AssertSqlSafe(format!("INSERT INTO {row}"));
            sqlx::query(insert).execute(db.pool()).await.expect(row);
        }
        db.migrate().await.expect("brought up to date");
        let row =
            sqlx::query("SELECT gaps, bytes_read, throttled FROM runs").fetch_one(db.pool()).await.expect("a run");
        let told = ["gaps", "bytes_read", "throttled"].map(|name| row.number(name).expect(name));
        assert_eq!(told, [8, 9, 13]);
        let gone = sqlx::query("SELECT bytes_logical FROM runs").fetch_one(db.pool()).await;
        assert!(gone.is_err(), "it is still there");
    }

    #[tokio::test]
    async fn what_was_made_side_by_side_lands_in_either_order() {
        let (first, second) = ((901, "CREATE TABLE one (a TEXT)"), (902, "CREATE TABLE two (a TEXT)"));
        for between in [first, second] {
            let folder = tempfile::tempdir().expect("a folder");
            let db = Db::open(None, folder.path()).await.expect("made");
            db.migrate_by(&[MIGRATIONS, &[between]].concat()).await.expect("one of them");
            db.migrate_by(&[MIGRATIONS, &[first, second]].concat()).await.expect("the other");
            db.migrate_by(&[MIGRATIONS, &[first, second]].concat()).await.expect("nothing to do");
            for table in ["one", "two"] {
                let sql = format!("INSERT INTO {table} (a) VALUES ('x')");
                sqlx::query(AssertSqlSafe(sql)).execute(db.pool()).await.expect(table);
            }
            let error = db.migrate().await.expect_err("newer");
            assert_eq!(error.kind(), ErrorKind::UnsupportedVersion);
        }
    }
}
