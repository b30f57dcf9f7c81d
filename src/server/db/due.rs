//! Starts what is due: many schedules at a time.

use std::collections::{HashMap, HashSet};

use sqlx::{Any, AssertSqlSafe, Transaction};

use super::jobs::{ask_in, insert_all};
use super::{Columns as _, Db, JobState, NewJob};
use crate::error::Result;
use crate::server::id::Id;

/// Schedules of which one statement tells: a database is asked over a network, and each statement is a way there and back.
const TOGETHER: usize = 100;

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
        let mut at_us = now_us;
        for starts in starts.chunks(TOGETHER) {
            let moved = move_on(&mut tx, starts).await?;
            let mut waiting = sets_that_wait(&mut tx, starts).await?;
            let mut to_make = Vec::new();
            for start in starts {
                // Each has a time of its own, by which lists go on.
                at_us += 1;
                let Some(job) = start.job.as_ref().filter(|_| moved.contains(start.schedule.as_str())) else {
                    continue;
                };
                if start.missed {
                    to_make.push((job, JobState::Missed, at_us));
                } else if job.set.is_some_and(|set| waiting.insert((set.to_string(), job.kind.word()))) {
                    to_make.push((job, JobState::Queued, at_us));
                } else {
                    // The one that waits may be among those before.
                    insert_all(&mut tx, &std::mem::take(&mut to_make)).await?;
                    ask_in(&mut tx, job, at_us).await?;
                }
            }
            insert_all(&mut tx, &to_make).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}

/// Moves schedules on; gives those that nobody moved before.
async fn move_on(tx: &mut Transaction<'static, Any>, starts: &[Start<'_>]) -> Result<HashSet<String>> {
    if starts.is_empty() {
        return Ok(HashSet::new());
    }
    let place = |number: usize, of: usize| format!("${}", number * 3 + of);
    let (mut next, mut due, mut ids) = (String::new(), String::new(), Vec::new());
    for number in 0..starts.len() {
        let id = place(number, 1);
        next += &format!(" WHEN {id} THEN {}", place(number, 2));
        due += &format!(" WHEN {id} THEN {}", place(number, 3));
        ids.push(id);
    }
    let sql = format!(
        "UPDATE schedules SET next_us = CASE id{next} END WHERE id IN ({}) AND next_us = CASE id{due} END RETURNING id",
        ids.join(", ")
    );
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for start in starts {
        query = query.bind(start.schedule.as_str()).bind(start.next_us).bind(start.due_us);
    }
    query.fetch_all(&mut **tx).await?.iter().map(|row| row.text("id")).collect()
}

/// Of the sets of these jobs, those for which one of the kind waits already.
async fn sets_that_wait(
    tx: &mut Transaction<'static, Any>,
    starts: &[Start<'_>],
) -> Result<HashSet<(String, &'static str)>> {
    let mut by_kind: HashMap<&'static str, Vec<&Id>> = HashMap::new();
    for job in starts.iter().filter_map(|start| start.job.as_ref()) {
        by_kind.entry(job.kind.word()).or_default().extend(job.set);
    }
    let mut waiting = HashSet::new();
    for (kind, sets) in by_kind.into_iter().filter(|(_, sets)| !sets.is_empty()) {
        let ids: Vec<String> = (2..sets.len() + 2).map(|number| format!("${number}")).collect();
        let sql =
            format!("SELECT set_id FROM jobs WHERE kind = $1 AND state = 'queued' AND set_id IN ({})", ids.join(", "));
        let mut query = sqlx::query(AssertSqlSafe(sql)).bind(kind);
        for set in sets {
            query = query.bind(set.as_str());
        }
        for row in &query.fetch_all(&mut **tx).await? {
            waiting.insert((row.text("set_id")?, kind));
        }
    }
    Ok(waiting)
}
