//! Starts what is due: many schedules at a time.

use super::Db;
use super::jobs::{ask_in, insert};
use super::{JobState, NewJob};
use crate::error::Result;
use crate::server::id::Id;

/// What becomes of a schedule whose time has come.
#[derive(Debug)]
pub(crate) struct Start<'a> {
    /// The schedule.
    pub(crate) schedule: &'a Id,
    /// When it was due.
    pub(crate) due_us: i64,
    /// When it is due next.
    pub(crate) next_us: Option<i64>,
    /// What is asked for; none: nothing.
    pub(crate) job: Option<NewJob<'a>>,
    /// It was missed, and is not caught up: that alone is noted.
    pub(crate) missed: bool,
}

impl Db {
    /// Moves schedules on and asks for their jobs, in one. A schedule that another scheduler moved on is left to it.
    ///
    /// # Errors
    /// As any query; then nothing was done.
    pub(crate) async fn start_due(&self, starts: &[Start<'_>], now_us: i64) -> Result<()> {
        let mut tx = self.write().await?;
        // Each has a time of its own, by which lists go on.
        for (now_us, start) in (now_us..).zip(starts) {
            let moved = sqlx::query("UPDATE schedules SET next_us = $1 WHERE id = $2 AND next_us = $3")
                .bind(start.next_us)
                .bind(start.schedule.as_str())
                .bind(start.due_us)
                .execute(&mut *tx)
                .await?;
            let Some(job) = start.job.as_ref().filter(|_| moved.rows_affected() == 1) else { continue };
            if start.missed {
                let id = insert(&mut tx, job, JobState::Missed, now_us).await?;
                sqlx::query("UPDATE jobs SET ended_us = $1 WHERE id = $2")
                    .bind(now_us)
                    .bind(id.as_str())
                    .execute(&mut *tx)
                    .await?;
            } else {
                ask_in(&mut tx, job, now_us).await?;
            }
        }
        tx.commit().await?;
        Ok(())
    }
}
