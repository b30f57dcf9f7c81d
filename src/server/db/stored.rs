//! How much an account stored on each day, and what it did in a stretch of time: for forecasts and digests.

use sqlx::any::AnyRow;

use super::{Columns as _, Db};
use crate::error::Result;
use crate::server::id::Id;

/// What was done in an account in a stretch of time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Done {
    /// Runs that were whole.
    pub(crate) complete: i64,
    /// Runs with gaps.
    pub(crate) gaps: i64,
    /// Runs that were stopped.
    pub(crate) interrupted: i64,
    /// Runs that failed.
    pub(crate) failed: i64,
    /// Runs that were missed and not caught up.
    pub(crate) missed: i64,
    /// Items that were new.
    pub(crate) items_added: i64,
    /// Bytes written.
    pub(crate) bytes_stored: i64,
}

impl Db {
    /// What was done from one time to another.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn done_between(&self, account: &Id, from_us: i64, until_us: i64) -> Result<Done> {
        // A run of more than thirty days is not looked for: the index is by its beginning.
        let row = sqlx::query(
            "SELECT CAST(COALESCE(SUM(CASE WHEN outcome = 'complete' THEN 1 ELSE 0 END), 0) AS BIGINT) AS complete, \
             CAST(COALESCE(SUM(CASE WHEN outcome = 'gaps' THEN 1 ELSE 0 END), 0) AS BIGINT) AS gaps, \
             CAST(COALESCE(SUM(CASE WHEN outcome = 'interrupted' THEN 1 ELSE 0 END), 0) AS BIGINT) AS interrupted, \
             CAST(COALESCE(SUM(CASE WHEN outcome = 'failed' THEN 1 ELSE 0 END), 0) AS BIGINT) AS failed, \
             CAST(COALESCE(SUM(items_added), 0) AS BIGINT) AS items_added, \
             CAST(COALESCE(SUM(bytes_stored), 0) AS BIGINT) AS bytes_stored \
             FROM runs WHERE account_id = $1 AND started_us >= $2 AND started_us < $4 AND ended_us >= $3 AND ended_us < $4",
        )
        .bind(account.as_str())
        .bind(from_us - 30 * 86_400_000_000)
        .bind(from_us)
        .bind(until_us)
        .fetch_one(self.pool())
        .await?;
        let missed = sqlx::query(
            "SELECT COUNT(*) AS many FROM jobs WHERE account_id = $1 AND created_us >= $2 AND created_us < $3 \
             AND state = 'missed'",
        )
        .bind(account.as_str())
        .bind(from_us)
        .bind(until_us)
        .fetch_one(self.pool())
        .await?;
        Ok(Done {
            complete: row.number("complete")?,
            gaps: row.number("gaps")?,
            interrupted: row.number("interrupted")?,
            failed: row.number("failed")?,
            missed: missed.number("many")?,
            items_added: row.number("items_added")?,
            bytes_stored: row.number("bytes_stored")?,
        })
    }

    /// Notes what every account stores on a day (since 1970 UTC).
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn keep_stored_of_day(&self, day: i64) -> Result<()> {
        sqlx::query(
            "INSERT INTO stored_days (account_id, day, stored_bytes) \
             SELECT account_id, $1, CAST(SUM(stored_bytes) AS BIGINT) FROM \
             (SELECT account_id, stored_bytes FROM repositories \
             UNION ALL SELECT account_id, stored_bytes FROM left_behind) AS held \
             WHERE stored_bytes >= 0 GROUP BY account_id \
             ON CONFLICT (account_id, day) DO UPDATE SET stored_bytes = excluded.stored_bytes",
        )
        .bind(day)
        .execute(self.pool())
        .await?;
        Ok(())
    }

    /// Bytes that an account stores now, as last counted: in its repositories, and in what it left behind.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn stored_now(&self, account: &Id) -> Result<i64> {
        let row = sqlx::query(
            "SELECT CAST(COALESCE(SUM(stored_bytes), 0) AS BIGINT) AS bytes FROM \
             (SELECT stored_bytes FROM repositories WHERE account_id = $1 \
             UNION ALL SELECT stored_bytes FROM left_behind WHERE account_id = $1) AS held WHERE stored_bytes >= 0",
        )
        .bind(account.as_str())
        .fetch_one(self.pool())
        .await?;
        row.number("bytes")
    }

    /// What an account stored on the days since one, in order: day, bytes.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn stored_since(&self, account: &Id, day: i64) -> Result<Vec<(i64, i64)>> {
        let rows =
            sqlx::query("SELECT day, stored_bytes FROM stored_days WHERE account_id = $1 AND day >= $2 ORDER BY day")
                .bind(account.as_str())
                .bind(day)
                .fetch_all(self.pool())
                .await?;
        rows.iter().map(|row: &AnyRow| Ok((row.number("day")?, row.number("stored_bytes")?))).collect()
    }

    /// Takes a turn at something that one process at a time does every so often. Says whether it is one's turn.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn take_turn(&self, name: &str, every_us: i64, now_us: i64) -> Result<bool> {
        // A clock that was set back does not make it wait until the old time comes again.
        let taken = sqlx::query(
            "INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value \
             WHERE CAST(settings.value AS BIGINT) <= $3 OR CAST(settings.value AS BIGINT) > $4",
        )
        .bind(format!("turn {name}"))
        .bind(now_us.to_string())
        .bind(now_us - every_us)
        .bind(now_us)
        .execute(self.pool())
        .await?;
        Ok(taken.rows_affected() == 1)
    }
}
