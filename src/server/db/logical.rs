//! How long all contents of the sets' newest snapshots are together, and by how much that grew from run to run.

use std::collections::BTreeMap;

use sqlx::{Any, Transaction};

use super::{Columns as _, Db, Grown};
use crate::error::Result;
use crate::server::id::Id;

/// The most that is kept of a set (1 PiB): what is summed of all of a day stays in range, whatever a client says of its own.
const MOST: u64 = 1 << 50;

/// Logical bytes as they are kept.
pub(super) fn bounded(bytes: u64) -> i64 {
    i64::try_from(bytes.min(MOST)).unwrap_or(0)
}

/// By how much a set grew with a run that counted so many bytes. A set that had snapshots when nobody counted was as large then
/// as it is counted first; a new one grew by all that it has.
pub(super) async fn grown(tx: &mut Transaction<'static, Any>, set: &Id, counted: Option<i64>) -> Result<Option<i64>> {
    let Some(counted) = counted else { return Ok(None) };
    let row = sqlx::query(
        "SELECT logical_bytes, CASE WHEN EXISTS (SELECT 1 FROM runs WHERE set_id = $1 AND snapshot IS NOT NULL) \
         THEN CAST(1 AS BIGINT) ELSE 0 END AS known FROM sets WHERE id = $1",
    )
    .bind(set.as_str())
    .fetch_optional(&mut **tx)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(by(row.maybe_number("logical_bytes")?, row.number("known")? != 0, counted)))
}

/// By how much a set grew that was so large, where that was counted, and `known`: had snapshots already.
pub(super) fn by(before: Option<i64>, known: bool, counted: i64) -> i64 {
    match before {
        Some(before) => counted - before,
        None if known => 0,
        None => counted,
    }
}

/// Puts to each day on which a run counted what all was at its end: now it is `now`.
pub(super) fn put(days: &mut BTreeMap<i64, Grown>, by_day: &[(i64, Option<i64>)], now: i64) {
    let mut at_end = now;
    for (day, grown) in by_day.iter().rev() {
        let Some(grown) = grown else { continue };
        days.entry(*day).or_insert(Grown { day: *day, ..Grown::default() }).logical = Some(at_end.max(0));
        at_end -= grown;
    }
}

impl Db {
    /// How long all contents of the newest snapshots of an account's sets are together; `None`: nobody counted yet.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn logical(&self, account: &Id) -> Result<Option<i64>> {
        let row = sqlx::query("SELECT CAST(SUM(logical_bytes) AS BIGINT) AS bytes FROM sets WHERE account_id = $1");
        row.bind(account.as_str()).fetch_one(self.pool()).await?.maybe_number("bytes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_counted_before_grew_by_nothing_unless_it_is_new() {
        assert_eq!((by(Some(7), true, 5), by(None, true, 5), by(None, false, 5)), (-2, 0, 5));
        assert_eq!((bounded(9), bounded(u64::MAX)), (9, 1 << 50));
    }

    #[test]
    fn what_all_was_at_the_end_of_each_day_is_told_from_what_it_is_now() {
        let mut days = BTreeMap::from([(7, Grown { day: 7, read: 1, ..Grown::default() })]);
        put(&mut days, &[(5, Some(30)), (7, None), (8, Some(-5)), (9, Some(20))], 50);
        let told: Vec<_> = days.values().map(|day| (day.day, day.logical)).collect();
        assert_eq!(told, [(5, Some(35)), (7, None), (8, Some(30)), (9, Some(50))]);
    }
}
