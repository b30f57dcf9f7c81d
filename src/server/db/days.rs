//! What the runs of each day came to, kept beside them: a year is read off a few rows, however many runs there were.

use serde::Serialize;
use sqlx::{Any, Transaction};

use super::{Columns as _, Db};
use crate::error::Result;
use crate::server::id::Id;

const DAY_US: i64 = 86_400_000_000;

/// What a day's runs came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Day {
    /// Days since 1970-01-01 UTC.
    pub(crate) day: i64,
    /// Runs that were whole.
    pub(crate) complete: i64,
    /// Runs with gaps, or stopped.
    pub(crate) partly: i64,
    /// Runs that failed.
    pub(crate) failed: i64,
    /// Bytes written.
    pub(crate) stored: i64,
}

/// How many jobs ran in a stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ran {
    /// All of them.
    pub(crate) many: i64,
    /// Those that failed.
    pub(crate) failed: i64,
}

/// What is counted of a run.
#[derive(Debug)]
pub(super) struct Counted<'a> {
    pub(super) started_us: i64,
    pub(super) outcome: &'a str,
    pub(super) bytes_read: i64,
    pub(super) bytes_stored: i64,
    pub(super) logical_grown: Option<i64>,
}

/// Adds a run to the day on which it began.
pub(super) async fn note(tx: &mut Transaction<'static, Any>, account: &Id, run: &Counted<'_>) -> Result<()> {
    sqlx::query(
        "INSERT INTO run_days (account_id, day, outcome, many, bytes_read, bytes_stored, logical_grown) \
         VALUES ($1, $2, $3, 1, $4, $5, $6) ON CONFLICT (account_id, day, outcome) DO UPDATE SET many = run_days.many + 1, \
         bytes_read = run_days.bytes_read + excluded.bytes_read, bytes_stored = run_days.bytes_stored + excluded.bytes_stored, \
         logical_grown = CASE WHEN excluded.logical_grown IS NULL THEN run_days.logical_grown \
         ELSE COALESCE(run_days.logical_grown, 0) + excluded.logical_grown END",
    )
    .bind(account.as_str())
    .bind(run.started_us / DAY_US)
    .bind(run.outcome)
    .bind(run.bytes_read)
    .bind(run.bytes_stored)
    .bind(run.logical_grown)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Counts an account's days anew, where runs came or went otherwise. Days older than any run that is remembered go.
pub(super) async fn recount(tx: &mut Transaction<'static, Any>, account: &Id) -> Result<()> {
    for sql in [
        "DELETE FROM run_days WHERE account_id = $1",
        "INSERT INTO run_days (account_id, day, outcome, many, bytes_read, bytes_stored, logical_grown) \
         SELECT account_id, started_us / 86400000000, outcome, COUNT(*), SUM(bytes_read), SUM(bytes_stored), \
         SUM(logical_grown) FROM runs WHERE account_id = $1 GROUP BY account_id, started_us / 86400000000, outcome",
    ] {
        sqlx::query(sql).bind(account.as_str()).execute(&mut **tx).await?;
    }
    Ok(())
}

impl Db {
    /// What the days since that of a time came to, by UTC days.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn days(&self, account: &Id, since_us: i64) -> Result<Vec<Day>> {
        let rows = sqlx::query(
            "SELECT day, outcome, many, bytes_stored FROM run_days WHERE account_id = $1 AND day >= $2 ORDER BY day, outcome",
        )
        .bind(account.as_str())
        .bind(since_us / DAY_US)
        .fetch_all(self.pool())
        .await?;
        let mut days: Vec<Day> = Vec::new();
        for row in &rows {
            let (day, many) = (row.number("day")?, row.number("many")?);
            if days.last().is_none_or(|last| last.day != day) {
                days.push(Day { day, complete: 0, partly: 0, failed: 0, stored: 0 });
            }
            let Some(last) = days.last_mut() else { continue };
            match row.text("outcome")?.as_str() {
                "complete" => last.complete += many,
                "failed" => last.failed += many,
                _ => last.partly += many,
            }
            last.stored += row.number("bytes_stored")?;
        }
        Ok(days)
    }

    /// How many jobs of an account ran between two times. What was asked for more than a month before is not looked at.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn ran(&self, account: &Id, from_us: i64, to_us: i64) -> Result<Ran> {
        let row = sqlx::query(
            "SELECT COUNT(*) AS many, COUNT(CASE WHEN state = 'failed' THEN 1 END) AS failed FROM jobs \
             WHERE account_id = $1 AND created_us >= $2 AND started_us <= $3 AND COALESCE(ended_us, $3) >= $4",
        )
        .bind(account.as_str())
        .bind(from_us - 31 * DAY_US)
        .bind(to_us)
        .bind(from_us)
        .fetch_one(self.pool())
        .await?;
        Ok(Ran { many: row.number("many")?, failed: row.number("failed")? })
    }

    /// Forgets the days before that of a time.
    pub(super) async fn forget_days(&self, before_us: i64) -> Result<()> {
        let query = sqlx::query("DELETE FROM run_days WHERE day < $1").bind(before_us / DAY_US);
        query.execute(self.pool()).await?;
        Ok(())
    }
}
