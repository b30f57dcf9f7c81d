//! How long what happened is remembered. Snapshots, and the runs that their repositories tell of, are not touched by this.

use super::{Columns as _, Db};
use crate::error::Result;
use crate::server::id::Id;

const DAY_US: i64 = 86_400_000_000;
/// Upkeep that ended: retention, prune, check, mirror.
const UPKEEP_KEPT_US: i64 = 90 * DAY_US;
/// Runs and their jobs; restores with their journals, by which they can be undone.
const RUNS_KEPT_US: i64 = 3 * 366 * DAY_US;
/// Rows in one transaction: others write in between.
const PAGE: i64 = 1_000;
/// Who looked longer ago than this stood still, or its clock was set: what time it is shows the next day.
const LONGEST_PAUSE_US: i64 = 3 * DAY_US;
const TURN: &str = "history";

/// Ended, and nothing points to it.
const DONE_WITH: &str = "j.state NOT IN ('queued', 'running') AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.job_id = j.id) \
     AND NOT EXISTS (SELECT 1 FROM job_keys k WHERE k.job_id = j.id)";

impl Db {
    /// Once a day, in one process: removes history that is older than it is kept. Gives how many rows went. A clock that was
    /// set ahead removes nothing unless it is still ahead a day later.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn forget_history(&self, now_us: i64) -> Result<u64> {
        let before = self.setting(&format!("turn {TURN}")).await?.and_then(|text| text.parse::<i64>().ok());
        if !self.take_turn(TURN, DAY_US, now_us).await? {
            return Ok(0);
        }
        let pause = before.map_or(i64::MAX, |before| now_us.saturating_sub(before));
        if !(0..=LONGEST_PAUSE_US).contains(&pause) {
            return Ok(0);
        }
        let mut gone = 0;
        while let restores @ 1.. = self.forget_restores(now_us - RUNS_KEPT_US).await? {
            gone += restores;
        }
        let runs = "DELETE FROM runs WHERE id IN (SELECT id FROM runs WHERE started_us < $1 LIMIT $2)".to_owned();
        gone += self.forget_rows(&runs, now_us - RUNS_KEPT_US).await?;
        self.forget_days(now_us - RUNS_KEPT_US).await?;
        let jobs = |which: &str| {
            format!(
                "DELETE FROM jobs WHERE id IN (SELECT j.id FROM jobs j WHERE j.created_us < $1 AND {which} AND {DONE_WITH} LIMIT $2)"
            )
        };
        let upkeep = jobs("j.kind IN ('retention', 'prune', 'check', 'mirror')");
        gone += self.forget_rows(&upkeep, now_us - UPKEEP_KEPT_US).await?;
        let others = jobs(
            "NOT EXISTS (SELECT 1 FROM restores s WHERE s.plan_job = j.id OR s.run_job = j.id OR s.undo_job = j.id)",
        );
        gone += self.forget_rows(&others, now_us - RUNS_KEPT_US).await?;
        Ok(gone)
    }

    async fn forget_rows(&self, sql: &str, before_us: i64) -> Result<u64> {
        let mut gone = 0;
        loop {
            let query = sqlx::query(sqlx::AssertSqlSafe(sql.to_owned())).bind(before_us).bind(PAGE);
            let many = query.execute(self.pool()).await?.rows_affected();
            gone += many;
            if many < PAGE as u64 {
                return Ok(gone);
            }
        }
    }

    /// A few at a time: each may have many steps. One of whose jobs has not ended stays.
    async fn forget_restores(&self, before_us: i64) -> Result<u64> {
        let found = sqlx::query(
            "SELECT id FROM restores WHERE created_us < $1 AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.state IN \
             ('queued', 'running') AND j.id IN (restores.plan_job, restores.run_job, restores.undo_job)) LIMIT 20",
        );
        let found = found.bind(before_us).fetch_all(self.pool()).await?;
        for row in &found {
            let id: Id = row.id("id")?;
            let mut tx = self.write().await?;
            for sql in [
                "DELETE FROM restore_steps WHERE restore_id = $1",
                "DELETE FROM restore_journal WHERE restore_id = $1",
                "DELETE FROM restores WHERE id = $1",
            ] {
                sqlx::query(sql).bind(id.as_str()).execute(&mut *tx).await?;
            }
            tx.commit().await?;
        }
        Ok(found.len() as u64)
    }
}
