//! How much of what accounts may they use, and how what they store grew.

use std::collections::HashMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::{Columns as _, Db, Entitlements, Protected, logical};
use crate::error::Result;
use crate::server::id::Id;

const DAY_US: i64 = 86_400_000_000;

/// How much an account uses of what it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ToSchema)]
pub(crate) struct Used {
    /// Mailboxes, those of groups among them, in the newest snapshots; where there are limits also what was chosen since.
    pub(crate) mailboxes: i64,
    /// Drives of users.
    pub(crate) drives: i64,
    /// Sites.
    pub(crate) sites: i64,
    /// Bytes stored, as last counted; those of repositories that were taken off the list and lie in the server's own storage
    /// among them.
    pub(crate) bytes: i64,
}

impl Used {
    /// What has reached its limit, in words: `mailboxes`, …
    pub(crate) fn full(self, limits: Entitlements) -> Vec<&'static str> {
        let all = [
            ("mailboxes", self.mailboxes, limits.mailboxes),
            ("drives", self.drives, limits.drives),
            ("sites", self.sites, limits.sites),
            ("bytes", self.bytes, limits.bytes),
        ];
        all.into_iter()
            .filter(|(_, used, most)| most.is_some_and(|most| *used >= most))
            .map(|(what, ..)| what)
            .collect()
    }
}

/// What a day added, and what was stored at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ToSchema)]
pub(crate) struct Grown {
    /// The day: days since 1970-01-01 UTC.
    pub(crate) day: i64,
    /// Bytes of contents that runs read.
    pub(crate) read: i64,
    /// Bytes that they wrote, after deduplication and compression.
    pub(crate) written: i64,
    /// How long all contents of the newest snapshots were together then, where a run counted; of the backup sets that there are
    /// now.
    pub(crate) logical: Option<i64>,
    /// Bytes that were stored then, where that was counted; those that count though they are off the list among them.
    pub(crate) stored: Option<i64>,
}

impl Db {
    /// How much an account uses, or all of them.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn used(&self, account: Option<&Id>) -> Result<HashMap<Id, Used>> {
        let asked = account.map_or("", Id::as_str);
        let mut all: HashMap<Id, Used> = HashMap::new();
        let rows = sqlx::query(
            "SELECT s.account_id AS account_id, t.value AS value FROM sets s JOIN settings t \
             ON t.name = 'protected ' || s.id WHERE $1 = '' OR s.account_id = $1",
        );
        for row in &rows.bind(asked).fetch_all(self.pool()).await? {
            let of_set: Protected = super::from_json(&row.text("value")?)?;
            let used = all.entry(row.id("account_id")?).or_default();
            used.mailboxes += of_set.mailboxes;
            used.drives += of_set.drives;
            used.sites += of_set.sites;
        }
        let rows = sqlx::query(
            "SELECT account_id, CAST(SUM(stored_bytes) AS BIGINT) AS bytes FROM \
             (SELECT account_id, stored_bytes FROM repositories \
             UNION ALL SELECT account_id, stored_bytes FROM left_behind) AS held \
             WHERE stored_bytes > 0 AND ($1 = '' OR account_id = $1) GROUP BY account_id",
        );
        for row in &rows.bind(asked).fetch_all(self.pool()).await? {
            all.entry(row.id("account_id")?).or_default().bytes = row.number("bytes")?;
        }
        Ok(all)
    }

    /// How an account grew from the day of a time until now, in order; days on which nothing happened are left out.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn growth(&self, account: &Id, since_us: i64, now_us: i64) -> Result<Vec<Grown>> {
        let logical = self.logical(account).await?;
        self.growth_to(account, (since_us, now_us), logical).await
    }

    /// As [`Self::growth`], for who has asked already how long all contents are together ([`Self::logical`]).
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn growth_to(
        &self,
        account: &Id,
        (since_us, now_us): (i64, i64),
        logical: Option<i64>,
    ) -> Result<Vec<Grown>> {
        let (first, today) = (since_us / DAY_US, now_us / DAY_US);
        let rows = sqlx::query(
            "SELECT day, CAST(SUM(bytes_read) AS BIGINT) AS bytes_read, CAST(SUM(bytes_stored) AS BIGINT) AS bytes_stored, \
             CAST(SUM(logical_grown) AS BIGINT) AS logical_grown FROM run_days WHERE account_id = $1 AND day >= $2 \
             GROUP BY day ORDER BY 1",
        )
        .bind(account.as_str())
        .bind(first)
        .fetch_all(self.pool())
        .await?;
        let mut days = std::collections::BTreeMap::<i64, Grown>::new();
        let mut by_day = Vec::with_capacity(rows.len());
        for row in &rows {
            let (day, read, written) = (row.number("day")?, row.number("bytes_read")?, row.number("bytes_stored")?);
            days.insert(day, Grown { day, read, written, ..Grown::default() });
            by_day.push((day, row.maybe_number("logical_grown")?));
        }
        logical::put(&mut days, &by_day, logical.unwrap_or_default());
        for (day, stored) in self.stored_since(account, first).await? {
            let grown = days.entry(day).or_insert(Grown { day, ..Grown::default() });
            grown.stored = Some(stored);
        }
        // Days are noted once an hour; what is stored now is known. Where nothing ever was, there is nothing to show.
        let was_counted = days.values().any(|day| day.stored.is_some());
        let stored = self.stored_now(account).await?;
        if stored > 0 || was_counted {
            days.entry(today).or_insert(Grown { day: today, ..Grown::default() }).stored = Some(stored);
        }
        Ok(days.into_values().collect())
    }
}
