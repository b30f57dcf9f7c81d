//! What is taken over from a repository that another server wrote: its history.

use super::logical::{bounded, by};
use super::runs::count;
use super::{Db, days};
use crate::error::Result;
use crate::format::snapshot::RunFile;
use crate::server::id::Id;

/// A run, and the logical bytes of its snapshot.
pub(crate) type TakenRun<'a> = (&'a RunFile, Option<u64>);

impl Db {
    /// Notes the runs of a set as its repository tells them, the oldest first, each with the logical bytes of its snapshot where
    /// they are known, and how the set stands since. None was later than now.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn take_over_runs(
        &self,
        account: &Id,
        set: &Id,
        runs: &[TakenRun<'_>],
        now_us: i64,
    ) -> Result<()> {
        let time = |us: i64| us.clamp(0, now_us);
        let mut tx = self.write().await?;
        let (mut before, mut known) = (None, false);
        for (run, logical) in runs {
            let t = &run.totals;
            let logical = logical.map(bounded);
            let grown = logical.map(|now| by(before, known, now));
            (before, known) = (logical.or(before), known || run.snapshot.is_some());
            sqlx::query(
                "INSERT INTO runs (id, account_id, set_id, started_us, ended_us, outcome, error, snapshot, items, \
                 items_added, items_changed, items_removed, collections, gaps, bytes_read, bytes_new, \
                 bytes_stored, requests, throttled, waits, gap_list, logical_bytes, logical_grown) VALUES ($1, $2, $3, $4, \
                 $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, '{}', '[]', $20, $21)",
            )
            .bind(Id::random().as_str().to_owned())
            .bind(account.as_str())
            .bind(set.as_str())
            .bind(time(run.started_us))
            .bind(time(run.ended_us))
            .bind(&run.outcome)
            .bind(Some(run.error.as_str()).filter(|text| !text.is_empty()))
            .bind(run.snapshot.map(|snapshot| snapshot.to_string()))
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
            .bind(logical)
            .bind(grown)
            .execute(&mut *tx)
            .await?;
        }
        days::recount(&mut tx, account).await?;
        let good = |(run, _): &&TakenRun<'_>| matches!(run.outcome.as_str(), "complete" | "gaps");
        if let Some((last, _)) = runs.last() {
            let stands = runs.iter().rev().find(|(run, _)| run.outcome != "failed").map(|(run, _)| &run.totals);
            let sql = "UPDATE sets SET last_state = $1, last_us = $2, last_good_us = $3, logical_bytes = $4, items = $5, gaps = $6 \
                       WHERE id = $7";
            sqlx::query(sql)
                .bind(&last.outcome)
                .bind(time(last.ended_us))
                .bind(runs.iter().rev().find(good).map(|(run, _)| time(run.ended_us)))
                .bind(before)
                .bind(stands.map(|totals| count(totals.items)))
                .bind(stands.map(|totals| count(totals.gaps)))
                .bind(set.as_str())
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(())
    }
}
