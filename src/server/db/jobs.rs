//! The queue of jobs. A worker holds a job by a lease that it renews; a lease that ran out is another worker's.
//!
//! Why not a job library: `docs/dependencies.md`.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::any::AnyRow;
use utoipa::ToSchema;

use super::{Before, Columns as _, Db, Engine};
use crate::error::{Error, Result};
use crate::server::id::Id;

/// The number of PostgreSQL's lock under which one worker at a time takes a job: limits on what runs at once are counted.
const LOCK: i64 = 0x6a6f_6273;
/// A lease that ends later than this from now was given by a clock that was ahead; who still works has renewed it since.
const TOO_LATE_US: i64 = 3_600_000_000;
/// How often a job is begun before it is given up.
const MOST_ATTEMPTS: i64 = 5;

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum JobKind {
    /// Reads what changed and writes a snapshot.
    Backup,
    /// Takes snapshots out by the set's retention.
    Retention,
    /// Gives back the space that nothing refers to.
    Prune,
    /// Looks whether everything is there.
    Check,
    /// Brings replicas up to date.
    Mirror,
    /// Looks what a restore would do.
    Plan,
    /// Brings items of a snapshot back into a tenant.
    Restore,
    /// Takes back what a restore made.
    Undo,
    /// Sends what was picked as an archive. Whoever sends it does it, while it is read.
    Export,
}

impl JobKind {
    /// The word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Retention => "retention",
            Self::Prune => "prune",
            Self::Check => "check",
            Self::Mirror => "mirror",
            Self::Plan => "plan",
            Self::Restore => "restore",
            Self::Undo => "undo",
            Self::Export => "export",
        }
    }

    /// It keeps a repository in order, whoever asks for it and however often.
    pub(crate) fn is_upkeep(self) -> bool {
        matches!(self, Self::Prune | Self::Check | Self::Mirror)
    }
}

/// How a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum JobState {
    /// It waits for its time and for a worker.
    Queued,
    /// A worker does it.
    Running,
    /// It did all of it.
    Done,
    /// It did what could be done.
    Gaps,
    /// It did not work.
    Failed,
    /// Somebody stopped it.
    Cancelled,
    /// Its time came while nothing ran, and it is not caught up.
    Missed,
}

impl JobState {
    /// The word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Gaps => "gaps",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Missed => "missed",
        }
    }

    /// It will not change any more.
    pub(crate) fn has_ended(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

/// A job.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    /// The row's id.
    pub(crate) id: Id,
    /// The account.
    pub(crate) account: Id,
    /// What it does.
    pub(crate) kind: JobKind,
    /// The set, if it is about one.
    pub(crate) set: Option<Id>,
    /// The repository.
    pub(crate) repository: Option<Id>,
    /// The client that is to do it; none: a worker of the server.
    pub(crate) client: Option<Id>,
    /// How it stands.
    pub(crate) state: JobState,
    /// Who asked: "schedule", or a login.
    pub(crate) asked_by: String,
    /// When it was asked for.
    pub(crate) created_us: i64,
    /// When it may begin.
    pub(crate) run_after_us: i64,
    /// When it began last.
    pub(crate) started_us: Option<i64>,
    /// When it ended.
    pub(crate) ended_us: Option<i64>,
    /// How often it was begun.
    pub(crate) attempts: i64,
    /// Who does it.
    pub(crate) worker: Option<String>,
    /// Somebody asked it to stop.
    pub(crate) cancel: bool,
    /// What the kind needs.
    pub(crate) arguments: Value,
    /// How far it is.
    pub(crate) progress: Option<Value>,
    /// What came of it.
    pub(crate) outcome: Option<Value>,
    /// Why it failed.
    pub(crate) error: Option<String>,
}

/// A job to ask for.
#[derive(Debug, Clone)]
pub(crate) struct NewJob<'a> {
    /// The account.
    pub(crate) account: &'a Id,
    /// What it does.
    pub(crate) kind: JobKind,
    /// The set, if it is about one.
    pub(crate) set: Option<&'a Id>,
    /// The tenant that it asks, whose limits it shares.
    pub(crate) tenant: Option<&'a Id>,
    /// The repository.
    pub(crate) repository: Option<&'a Id>,
    /// The client that is to do it; none: a worker of the server.
    pub(crate) client: Option<&'a Id>,
    /// What the kind needs.
    pub(crate) arguments: Value,
    /// Who asks.
    pub(crate) asked_by: &'a str,
    /// When it may begin.
    pub(crate) run_after_us: i64,
}

/// What runs at once at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AtOnce {
    /// Backups of one tenant, at all workers together: they share its limits.
    pub(crate) of_tenant: i64,
    /// Jobs of one account at the worker that asks, as long as there is another account: what hangs or is many leaves others a
    /// place.
    pub(crate) of_account: i64,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, account_id, kind, set_id, repository_id, client_id, state, asked_by, created_us, \
             run_after_us, started_us, ended_us, attempts, worker, cancel, arguments, progress, outcome, error FROM jobs ",
            $rest
        )
    };
}

fn read(row: &AnyRow) -> Result<Job> {
    let json = |text: Option<String>| text.as_deref().map(super::from_json).transpose();
    let word = |text: String| super::from_json(&format!("\"{text}\""));
    Ok(Job {
        id: row.id("id")?,
        account: row.id("account_id")?,
        kind: serde_json::from_value(word(row.text("kind")?)?)
            .map_err(|_| Error::corrupt("A job of an unknown kind"))?,
        set: row.maybe_id("set_id")?,
        repository: row.maybe_id("repository_id")?,
        client: row.maybe_id("client_id")?,
        state: serde_json::from_value(word(row.text("state")?)?)
            .map_err(|_| Error::corrupt("A job in an unknown state"))?,
        asked_by: row.text("asked_by")?,
        created_us: row.number("created_us")?,
        run_after_us: row.number("run_after_us")?,
        started_us: row.maybe_number("started_us")?,
        ended_us: row.maybe_number("ended_us")?,
        attempts: row.number("attempts")?,
        worker: row.maybe_text("worker")?,
        cancel: row.flag("cancel")?,
        arguments: super::from_json(&row.text("arguments")?)?,
        progress: json(row.maybe_text("progress")?)?,
        outcome: json(row.maybe_text("outcome")?)?,
        error: row.maybe_text("error")?,
    })
}

impl Db {
    /// Puts a job into the queue. One that waits already for the same set and kind, or to keep the same repository in order in
    /// the same way, is given instead.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn ask_for(&self, new: &NewJob<'_>, now_us: i64) -> Result<Id> {
        let mut tx = self.write().await?;
        let id = ask_in(&mut tx, new, now_us).await?;
        tx.commit().await?;
        Ok(id)
    }

    /// Begins a job that whoever asks does at once: no worker takes it from the queue.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn begin_job(&self, new: &NewJob<'_>, worker: &str, lease_us: i64, now_us: i64) -> Result<Id> {
        let mut tx = self.write().await?;
        let id = insert(&mut tx, new, JobState::Running, now_us).await?;
        sqlx::query("UPDATE jobs SET worker = $1, lease_until_us = $2, started_us = $3, attempts = 1 WHERE id = $4")
            .bind(worker)
            .bind(now_us + lease_us)
            .bind(now_us)
            .bind(id.as_str())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(id)
    }

    /// Notes a run that was missed and is not caught up.
    ///
    /// # Errors
    /// As any query.
    #[cfg(test)]
    pub(crate) async fn note_missed(&self, new: &NewJob<'_>, now_us: i64) -> Result<Id> {
        let mut tx = self.write().await?;
        let id = insert(&mut tx, new, JobState::Missed, now_us).await?;
        tx.commit().await?;
        Ok(id)
    }

    /// Takes the job that waited longest and may run: its time has come, nothing else of its set runs, and its tenant,
    /// repository and account are not busy with too much. `of` is a client that asks for its own; without, a worker of the server.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn take_job(
        &self,
        worker: &str,
        of: Option<&Id>,
        at_once: AtOnce,
        lease_us: i64,
        now_us: i64,
    ) -> Result<Option<Job>> {
        let mut tx = self.write().await?;
        if self.engine() == Engine::Postgres {
            sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *tx).await?;
        }
        let row = sqlx::query(
            "UPDATE jobs SET state = 'running', worker = $1, lease_until_us = $2, started_us = $3, attempts = attempts + 1, \
             progress = NULL WHERE id = (\
               SELECT j.id FROM jobs j WHERE j.state = 'queued' AND j.run_after_us <= $3 \
               AND COALESCE(j.client_id, '') = $4 \
               AND ((SELECT COUNT(*) FROM (SELECT a.id FROM accounts a LIMIT 2) b) < 2 OR j.account_id NOT IN \
                 (SELECT r.account_id FROM jobs r WHERE r.state = 'running' AND r.worker = $1 \
                  GROUP BY r.account_id HAVING COUNT(*) >= $6)) \
               AND NOT EXISTS (SELECT 1 FROM jobs r WHERE r.state = 'running' AND r.set_id = j.set_id) \
               AND NOT EXISTS (SELECT 1 FROM jobs r WHERE r.state = 'running' AND r.repository_id = j.repository_id \
                 AND r.kind = j.kind AND j.kind IN ('prune', 'check', 'mirror')) \
               AND NOT EXISTS (SELECT 1 FROM jobs r WHERE r.state = 'running' AND r.tenant_id = j.tenant_id \
                 AND r.kind IN ('restore', 'undo') AND j.kind IN ('restore', 'undo')) \
               AND (j.kind <> 'backup' OR \
                 (SELECT COUNT(*) FROM jobs r WHERE r.state = 'running' AND r.kind = 'backup' AND r.tenant_id = j.tenant_id) < $5) \
               ORDER BY j.run_after_us, j.id LIMIT 1) \
             RETURNING id",
        )
        .bind(worker)
        .bind(now_us + lease_us)
        .bind(now_us)
        .bind(of.map_or("", Id::as_str))
        .bind(at_once.of_tenant)
        .bind(at_once.of_account)
        .fetch_optional(&mut *tx)
        .await?;
        let job = match row {
            Some(row) => {
                let row = sqlx::query(select!("WHERE id = $1")).bind(row.text("id")?).fetch_one(&mut *tx).await?;
                Some(read(&row)?)
            }
            None => None,
        };
        tx.commit().await?;
        Ok(job)
    }

    /// Renews the lease of a job, with how far it is. Gives whether it is to stop; nothing when it is another's now.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn renew(
        &self,
        job: &Id,
        worker: &str,
        progress: &Value,
        lease_us: i64,
        now_us: i64,
    ) -> Result<Option<bool>> {
        let row = sqlx::query(
            "UPDATE jobs SET lease_until_us = $1, progress = $2 WHERE id = $3 AND worker = $4 AND state = 'running' \
             RETURNING cancel",
        )
        .bind(now_us + lease_us)
        .bind(progress.to_string())
        .bind(job.as_str())
        .bind(worker)
        .fetch_optional(self.pool())
        .await?;
        row.map(|row| row.flag("cancel")).transpose()
    }

    /// Ends a job. Says whether it was still the worker's.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn end_job(
        &self,
        job: &Id,
        worker: &str,
        state: JobState,
        outcome: &Value,
        error: Option<&str>,
        now_us: i64,
    ) -> Result<bool> {
        let mut tx = self.write().await?;
        let ended = sqlx::query(
            "UPDATE jobs SET state = $1, outcome = $2, error = $3, ended_us = $4, lease_until_us = NULL \
             WHERE id = $5 AND worker = $6 AND state = 'running'",
        )
        .bind(state.word())
        .bind(outcome.to_string())
        .bind(error)
        .bind(now_us)
        .bind(job.as_str())
        .bind(worker)
        .execute(&mut *tx)
        .await?;
        if ended.rows_affected() == 1 {
            // The key that it was lent goes in the same step.
            sqlx::query("DELETE FROM job_keys WHERE job_id = $1").bind(job.as_str()).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(ended.rows_affected() == 1)
    }

    /// Puts a job back that its worker cannot go on with, for another: it shuts down, or the try is to come later.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn put_back(&self, job: &Id, worker: &str, run_after_us: i64) -> Result<()> {
        sqlx::query(
            "UPDATE jobs SET state = 'queued', worker = NULL, lease_until_us = NULL, run_after_us = $1, \
             attempts = attempts - 1 WHERE id = $2 AND worker = $3 AND state = 'running'",
        )
        .bind(run_after_us)
        .bind(job.as_str())
        .bind(worker)
        .execute(self.pool())
        .await?;
        Ok(())
    }

    /// Puts jobs back whose workers are gone; those that were begun too often fail. Gives how many were put back.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn take_over(&self, now_us: i64) -> Result<u64> {
        let given_up = sqlx::query(
            "UPDATE jobs SET state = 'failed', ended_us = $1, lease_until_us = NULL, \
             error = 'Every worker that began it was gone before it ended' \
             WHERE state = 'running' AND (lease_until_us < $1 OR lease_until_us > $3) AND attempts >= $2",
        )
        .bind(now_us)
        .bind(MOST_ATTEMPTS)
        .bind(now_us + TOO_LATE_US)
        .execute(self.pool())
        .await?;
        if given_up.rows_affected() > 0 {
            self.forget_lent_keys().await?;
        }
        let back = sqlx::query(
            "UPDATE jobs SET state = 'queued', worker = NULL, lease_until_us = NULL \
             WHERE state = 'running' AND (lease_until_us < $1 OR lease_until_us > $2)",
        )
        .bind(now_us)
        .bind(now_us + TOO_LATE_US)
        .execute(self.pool())
        .await?;
        Ok(back.rows_affected())
    }

    /// Asks a job to stop; one that waits ends at once.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` when it has ended.
    pub(crate) async fn cancel_job(&self, account: &Id, job: &Id, now_us: i64) -> Result<()> {
        let ended = sqlx::query(
            "UPDATE jobs SET state = 'cancelled', ended_us = $1 WHERE id = $2 AND account_id = $3 AND state = 'queued'",
        )
        .bind(now_us)
        .bind(job.as_str())
        .bind(account.as_str())
        .execute(self.pool())
        .await?;
        let asked = sqlx::query("UPDATE jobs SET cancel = 1 WHERE id = $1 AND account_id = $2 AND state = 'running'")
            .bind(job.as_str())
            .bind(account.as_str())
            .execute(self.pool())
            .await?;
        self.forget_lent_keys().await?;
        if ended.rows_affected() + asked.rows_affected() == 0 {
            let job = self.job(account, job).await?;
            return Err(Error::invalid(format!("The job has ended already: {}", job.state.word())));
        }
        Ok(())
    }

    /// A job of an account.
    ///
    /// # Errors
    /// `NotFound`.
    pub(crate) async fn job(&self, account: &Id, id: &Id) -> Result<Job> {
        let row = sqlx::query(select!("WHERE id = $1 AND account_id = $2"))
            .bind(id.as_str())
            .bind(account.as_str())
            .fetch_optional(self.pool())
            .await?;
        read(&row.ok_or_else(|| Error::not_found("There is no such job"))?)
    }

    /// Jobs of an account, the newest first.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn jobs(&self, account: &Id, before: &Before, most: i64) -> Result<Vec<Job>> {
        let rows = sqlx::query(select!(
            "WHERE account_id = $1 AND created_us <= $2 AND (created_us < $2 OR id < $3) \
             ORDER BY created_us DESC, id DESC LIMIT $4"
        ))
        .bind(account.as_str())
        .bind(before.us)
        .bind(before.id())
        .bind(most)
        .fetch_all(self.pool())
        .await?;
        rows.iter().map(read).collect()
    }

    /// Jobs of an account that wait or run.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn open_jobs(&self, account: &Id) -> Result<Vec<Job>> {
        let rows = sqlx::query(select!(
            "WHERE account_id = $1 AND state IN ('queued', 'running') ORDER BY state DESC, run_after_us LIMIT 200"
        ))
        .bind(account.as_str())
        .fetch_all(self.pool())
        .await?;
        rows.iter().map(read).collect()
    }
}

/// Puts a job into the queue, unless one waits already for the same, which is given instead.
pub(super) async fn ask_in(
    tx: &mut sqlx::Transaction<'static, sqlx::Any>,
    new: &NewJob<'_>,
    now_us: i64,
) -> Result<Id> {
    let same = match (new.set, new.repository) {
        (Some(set), _) => Some(("SELECT id FROM jobs WHERE set_id = $1 AND kind = $2 AND state = 'queued'", set)),
        (None, Some(repository)) if new.kind.is_upkeep() => Some((
            "SELECT id FROM jobs WHERE repository_id = $1 AND kind = $2 AND state = 'queued' AND set_id IS NULL \
             AND arguments = $3",
            repository,
        )),
        _ => None,
    };
    if let Some((query, about)) = same {
        let mut waiting = sqlx::query(query).bind(about.as_str()).bind(new.kind.word());
        if new.set.is_none() {
            // A check of every byte is another one than a check.
            waiting = waiting.bind(new.arguments.to_string());
        }
        let waiting = waiting.fetch_optional(&mut **tx).await?;
        if let Some(row) = waiting {
            sqlx::query("UPDATE jobs SET run_after_us = $1 WHERE id = $2 AND run_after_us > $1")
                .bind(new.run_after_us)
                .bind(row.text("id")?)
                .execute(&mut **tx)
                .await?;
            return row.id("id");
        }
    }
    insert(tx, new, JobState::Queued, now_us).await
}

pub(super) async fn insert(
    tx: &mut sqlx::Transaction<'static, sqlx::Any>,
    new: &NewJob<'_>,
    state: JobState,
    now_us: i64,
) -> Result<Id> {
    insert_all(tx, &[(new, state, now_us)]).await?.pop().ok_or_else(|| Error::internal("No job was made"))
}

/// Makes jobs in one statement, each with its state and its time; gives their ids. What was missed has ended then.
pub(super) async fn insert_all(
    tx: &mut sqlx::Transaction<'static, sqlx::Any>,
    jobs: &[(&NewJob<'_>, JobState, i64)],
) -> Result<Vec<Id>> {
    const COLUMNS: usize = 13;
    if jobs.is_empty() {
        return Ok(Vec::new());
    }
    let row = |number: usize| {
        let places: Vec<String> = (1..=COLUMNS).map(|of| format!("${}", number * COLUMNS + of)).collect();
        format!("({})", places.join(", "))
    };
    let rows: Vec<String> = (0..jobs.len()).map(row).collect();
    let sql = format!(
        "INSERT INTO jobs (id, account_id, kind, set_id, tenant_id, repository_id, client_id, arguments, state, asked_by, \
         created_us, run_after_us, ended_us) VALUES {}",
        rows.join(", ")
    );
    let ids: Vec<Id> = jobs.iter().map(|_| Id::random()).collect();
    let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
    for ((new, state, now_us), id) in jobs.iter().zip(&ids) {
        query = query
            .bind(id.as_str())
            .bind(new.account.as_str())
            .bind(new.kind.word())
            .bind(new.set.map(Id::as_str))
            .bind(new.tenant.map(Id::as_str))
            .bind(new.repository.map(Id::as_str))
            .bind(new.client.map(Id::as_str))
            .bind(new.arguments.to_string())
            .bind(state.word())
            .bind(new.asked_by)
            .bind(*now_us)
            .bind(new.run_after_us)
            .bind((*state == JobState::Missed).then_some(*now_us));
    }
    query.execute(&mut **tx).await?;
    Ok(ids)
}
