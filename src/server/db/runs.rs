//! Runs of backup sets: their facts, as the repositories keep them too.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::Value;
use sqlx::any::AnyRow;
use utoipa::ToSchema;

use super::{Before, Columns as _, Db, days, logical};
use crate::error::Result;
use crate::format::snapshot::Totals;
use crate::server::id::Id;

/// A run that ended.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct RunRow {
    /// The row's id.
    pub(crate) id: Id,
    /// The set.
    pub(crate) set: Id,
    /// The job that it was.
    pub(crate) job: Option<Id>,
    /// When it began: microseconds since 1970 UTC.
    pub(crate) started_us: i64,
    /// When it ended.
    pub(crate) ended_us: i64,
    /// `complete`, `gaps`, `interrupted` or `failed`.
    pub(crate) outcome: String,
    /// Why it failed.
    pub(crate) error: Option<String>,
    /// The snapshot that it wrote.
    pub(crate) snapshot: Option<String>,
    /// Items in the snapshot.
    pub(crate) items: i64,
    /// Items that were not in the snapshot before.
    pub(crate) items_added: i64,
    /// Items that changed.
    pub(crate) items_changed: i64,
    /// Items that are gone since.
    pub(crate) items_removed: i64,
    /// Collections in the snapshot.
    pub(crate) collections: i64,
    /// Items, and whole collections, that could not be read.
    pub(crate) gaps: i64,
    /// How long all contents of the snapshot are together; null: nobody counted.
    pub(crate) bytes_logical: Option<i64>,
    /// Bytes of contents read from the tenant.
    pub(crate) bytes_read: i64,
    /// Bytes that were new to the repository.
    pub(crate) bytes_new: i64,
    /// Bytes written.
    pub(crate) bytes_stored: i64,
    /// Requests sent.
    pub(crate) requests: i64,
    /// Requests answered 429 or 503.
    pub(crate) throttled: i64,
    /// How long it waited, by what for: microseconds.
    #[schema(value_type = Object)]
    pub(crate) waits: Value,
    /// The first gaps, whole collections before items: name and reason of each, whose item it is, and whether it is a whole
    /// collection.
    #[schema(value_type = Vec<Object>)]
    pub(crate) gap_list: Value,
}

/// What the newest snapshots of all sets come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Newest {
    /// Items in them.
    pub(crate) items: i64,
    /// Items, and whole collections, that could not be read.
    pub(crate) gaps: i64,
}

/// A run to note.
#[derive(Debug)]
pub(crate) struct NewRun<'a> {
    /// The account.
    pub(crate) account: &'a Id,
    /// The set.
    pub(crate) set: &'a Id,
    /// The job.
    pub(crate) job: &'a Id,
    /// When it began.
    pub(crate) started_us: i64,
    /// When it ended.
    pub(crate) ended_us: i64,
    /// `complete`, `gaps`, `interrupted` or `failed`.
    pub(crate) outcome: &'static str,
    /// Why it failed.
    pub(crate) error: Option<&'a str>,
    /// The snapshot that it wrote.
    pub(crate) snapshot: Option<&'a str>,
    /// Counts.
    pub(crate) totals: Totals,
    /// How long all contents of the snapshot are together, where that was counted.
    pub(crate) bytes_logical: Option<u64>,
    /// How long it waited, by what for: microseconds.
    pub(crate) waits: Value,
    /// The first gaps.
    pub(crate) gap_list: Value,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, set_id, job_id, started_us, ended_us, outcome, error, snapshot, items, items_added, items_changed, \
             items_removed, collections, gaps, logical_bytes, bytes_read, bytes_new, bytes_stored, requests, throttled, waits, \
             gap_list FROM runs ",
            $rest
        )
    };
}

fn read(row: &AnyRow) -> Result<RunRow> {
    Ok(RunRow {
        id: row.id("id")?,
        set: row.id("set_id")?,
        job: row.maybe_id("job_id")?,
        started_us: row.number("started_us")?,
        ended_us: row.number("ended_us")?,
        outcome: row.text("outcome")?,
        error: row.maybe_text("error")?,
        snapshot: row.maybe_text("snapshot")?,
        items: row.number("items")?,
        items_added: row.number("items_added")?,
        items_changed: row.number("items_changed")?,
        items_removed: row.number("items_removed")?,
        collections: row.number("collections")?,
        gaps: row.number("gaps")?,
        bytes_logical: row.maybe_number("logical_bytes")?,
        bytes_read: row.number("bytes_read")?,
        bytes_new: row.number("bytes_new")?,
        bytes_stored: row.number("bytes_stored")?,
        requests: row.number("requests")?,
        throttled: row.number("throttled")?,
        waits: super::from_json(&row.text("waits")?)?,
        gap_list: super::from_json(&row.text("gap_list")?)?,
    })
}

/// The most that is kept of a count: what is summed over all runs stays in range, whatever a client or a repository says of one.
const MOST_COUNTED: u64 = 1 << 46;

/// A count as it is kept.
pub(super) fn count(n: u64) -> i64 {
    i64::try_from(n.min(MOST_COUNTED)).unwrap_or(0)
}

impl Db {
    /// Notes a run, and how its set stands since.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn note_run(&self, run: &NewRun<'_>) -> Result<Id> {
        let id = Id::random();
        let t = &run.totals;
        let logical = run.bytes_logical.map(logical::bounded);
        let mut tx = self.write().await?;
        // Told twice when the answer to the first telling was lost.
        let noted = sqlx::query("SELECT id FROM runs WHERE job_id = $1 AND set_id = $2 AND started_us = $3")
            .bind(run.job.as_str())
            .bind(run.set.as_str())
            .bind(run.started_us)
            .fetch_optional(&mut *tx)
            .await?;
        if let Some(row) = noted {
            return row.id("id");
        }
        let grown = logical::grown(&mut tx, run.set, logical).await?;
        sqlx::query(
            "INSERT INTO runs (id, account_id, set_id, job_id, started_us, ended_us, outcome, error, snapshot, items, \
             items_added, items_changed, items_removed, collections, gaps, bytes_read, bytes_new, \
             bytes_stored, requests, throttled, waits, gap_list, logical_bytes, logical_grown) VALUES ($1, $2, $3, $4, $5, \
             $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24)",
        )
        .bind(id.as_str())
        .bind(run.account.as_str())
        .bind(run.set.as_str())
        .bind(run.job.as_str())
        .bind(run.started_us)
        .bind(run.ended_us)
        .bind(run.outcome)
        .bind(run.error)
        .bind(run.snapshot)
        .bind(count(t.items))
        .bind(count(t.items_added))
        .bind(count(t.items_changed))
        .bind(count(t.items_removed))
        .bind(count(t.collections))
        .bind(count(t.gaps))
        .bind(count(t.bytes_read))
        .bind(count(t.bytes_new))
        .bind(count(t.bytes_stored))
        .bind(count(t.requests))
        .bind(count(t.throttled))
        .bind(run.waits.to_string())
        .bind(run.gap_list.to_string())
        .bind(logical)
        .bind(grown)
        .execute(&mut *tx)
        .await?;
        let of_day = days::Counted {
            started_us: run.started_us,
            outcome: run.outcome,
            bytes_read: count(t.bytes_read),
            bytes_stored: count(t.bytes_stored),
            logical_grown: grown,
        };
        days::note(&mut tx, run.account, &of_day).await?;
        let good = matches!(run.outcome, "complete" | "gaps").then_some(run.ended_us);
        let stands = run.outcome != "failed";
        sqlx::query(
            "UPDATE sets SET last_state = $1, last_us = $2, last_good_us = COALESCE($3, last_good_us), \
             logical_bytes = COALESCE($4, logical_bytes), items = COALESCE($5, items), gaps = COALESCE($6, gaps) WHERE id = $7",
        )
        .bind(run.outcome)
        .bind(run.ended_us)
        .bind(good)
        .bind(logical)
        .bind(stands.then_some(count(t.items)))
        .bind(stands.then_some(count(t.gaps)))
        .bind(run.set.as_str())
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(id)
    }

    /// Runs of a set, or of an account, the newest first.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn runs(&self, account: &Id, set: Option<&Id>, before: &Before, most: i64) -> Result<Vec<RunRow>> {
        let rows = match set {
            Some(set) => sqlx::query(select!(
                "WHERE account_id = $1 AND started_us <= $2 AND (started_us < $2 OR id < $3) AND set_id = $5 \
                 ORDER BY started_us DESC, id DESC LIMIT $4"
            ))
            .bind(account.as_str())
            .bind(before.us)
            .bind(before.id())
            .bind(most)
            .bind(set.as_str()),
            None => sqlx::query(select!(
                "WHERE account_id = $1 AND started_us <= $2 AND (started_us < $2 OR id < $3) \
                 ORDER BY started_us DESC, id DESC LIMIT $4"
            ))
            .bind(account.as_str())
            .bind(before.us)
            .bind(before.id())
            .bind(most),
        };
        let rows = rows.fetch_all(self.pool()).await?;
        rows.iter().map(read).collect()
    }

    /// The time of the newest snapshot of each of an account's sets, which is when its run began: microseconds since 1970 UTC.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn last_snapshots(&self, account: &Id) -> Result<HashMap<Id, i64>> {
        let rows = sqlx::query(
            "SELECT s.id AS id, (SELECT r.started_us FROM runs r WHERE r.set_id = s.id AND r.snapshot IS NOT NULL \
             ORDER BY r.started_us DESC LIMIT 1) AS taken_us FROM sets s WHERE s.account_id = $1",
        )
        .bind(account.as_str())
        .fetch_all(self.pool())
        .await?;
        let mut all = HashMap::with_capacity(rows.len());
        for row in &rows {
            if let Some(taken_us) = row.maybe_number("taken_us")? {
                all.insert(row.id("id")?, taken_us);
            }
        }
        Ok(all)
    }

    /// The last run that a job made.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn run_of_job(&self, account: &Id, set: &Id, job: &Id) -> Result<Option<RunRow>> {
        let row = sqlx::query(select!(
            "WHERE set_id = $1 AND account_id = $2 AND job_id = $3 ORDER BY started_us DESC LIMIT 1"
        ))
        .bind(set.as_str())
        .bind(account.as_str())
        .bind(job.as_str())
        .fetch_optional(self.pool())
        .await?;
        row.as_ref().map(read).transpose()
    }

    /// How many items are in the newest snapshots of an account's sets, and how many are missing from them. A run that failed
    /// made none: the one before still stands.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn newest(&self, account: &Id) -> Result<Newest> {
        let row = sqlx::query(
            "SELECT CAST(COALESCE(SUM(items), 0) AS BIGINT) AS items, CAST(COALESCE(SUM(gaps), 0) AS BIGINT) AS gaps \
             FROM sets WHERE account_id = $1",
        )
        .bind(account.as_str())
        .fetch_one(self.pool())
        .await?;
        Ok(Newest { items: row.number("items")?, gaps: row.number("gaps")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_run_is_said_to_have_counted_can_be_summed() {
        assert_eq!((count(0), count(7)), (0, 7));
        assert!(count(u64::MAX).checked_mul(100_000).is_some());
    }
}
