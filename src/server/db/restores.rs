//! Restores: what was asked for, the plan, the jobs, the journal. Names, paths and what was overwritten lie sealed: they are the
//! account's, not the database's.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::any::AnyRow;

use super::jobs::insert;
use super::{Before, Columns as _, Db, JobState, NewJob};
use crate::error::{Error, ErrorKind, Result};
use crate::ops::restore::{Conflict, Into, Only, RestoreOptions};
use crate::server::id::Id;
use crate::server::vault::Vault;

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Asking {
    /// Paths in the snapshot; an empty one is all of it.
    pub(crate) paths: Vec<String>,
    /// `original`, or who takes it.
    pub(crate) to: String,
    /// How.
    pub(crate) options: RestoreOptions,
}

impl Asking {
    /// The options in words, for pages.
    pub(crate) fn sentence(&self) -> String {
        let place = match &self.options.into {
            Into::Folder(name) => format!("into the folder '{name}'"),
            Into::Place => "where it was".to_owned(),
        };
        let conflict = match self.options.conflict {
            Conflict::Skip => "what is there stays",
            Conflict::Copy => "what is there stays, copies come beside it",
            Conflict::Replace => "what is there is overwritten",
            Conflict::Newer => "what is there is overwritten where it is older",
        };
        let only = match self.options.only {
            Only::All => "",
            Only::Deleted => ", only what is gone",
            Only::Changed => ", only what is different",
        };
        format!("{place}; {conflict}{only}")
    }
}

/// A restore of an account.
#[derive(Debug, Clone)]
pub(crate) struct RestoreRow {
    /// The row's id.
    pub(crate) id: Id,
    /// The account.
    pub(crate) account: Id,
    /// The repository that it takes from.
    pub(crate) repository: Id,
    /// The tenant that it goes to.
    pub(crate) tenant: Id,
    /// The snapshot's id.
    pub(crate) snapshot: String,
    /// Who asked.
    pub(crate) asked_by: String,
    /// When.
    pub(crate) created_us: i64,
    /// The job that makes the plan.
    pub(crate) plan_job: Id,
    /// The last job that runs it.
    pub(crate) run_job: Option<Id>,
    /// The last job that takes it back.
    pub(crate) undo_job: Option<Id>,
    /// The run's name; none: there is no plan.
    pub(crate) run: Option<String>,
    /// How many steps of each kind, and what they cost: JSON.
    pub(crate) counts: Option<Value>,
    asked: String,
    head: Option<String>,
}

fn place(id: &Id, what: &str) -> String {
    format!("restores/{id}/{what}")
}

fn lines_place(restore: &Id, number: i64) -> String {
    place(restore, &format!("journal/{number}"))
}

/// Lines of a journal. Those of earlier versions do not lie sealed.
fn open_lines(vault: &Vault, restore: &Id, number: i64, lines: String) -> Result<zeroize::Zeroizing<String>> {
    if lines.is_empty() || lines.starts_with('{') {
        return Ok(zeroize::Zeroizing::new(lines));
    }
    vault.open_sealed(&lines_place(restore, number), &lines)
}

fn key_place(job: &Id) -> String {
    format!("job_keys/{job}/sealed")
}

impl RestoreRow {
    /// What was asked for.
    ///
    /// # Errors
    /// `WrongKey` when it does not open with the master key.
    pub(crate) fn asking(&self, vault: &Vault) -> Result<Asking> {
        super::from_json(&vault.open_sealed(&place(&self.id, "asked"), &self.asked)?)
    }

    /// The plan without its steps: JSON.
    ///
    /// # Errors
    /// As [`Self::asking`].
    pub(crate) fn head(&self, vault: &Vault) -> Result<Option<Value>> {
        let open = |sealed: &String| super::from_json(&vault.open_sealed(&place(&self.id, "head"), sealed)?);
        self.head.as_ref().map(open).transpose()
    }
}

/// A restore to note, with the job that plans it.
pub(crate) struct NewRestore<'a> {
    /// The tenant that it goes to.
    pub(crate) tenant: &'a Id,
    /// The repository that it takes from.
    pub(crate) repository: &'a Id,
    /// The snapshot's id.
    pub(crate) snapshot: &'a str,
    /// What is asked for.
    pub(crate) asking: &'a Asking,
}

/// Which job of a restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Running it.
    Run,
    /// Taking it back.
    Undo,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, account_id, repository_id, tenant_id, snapshot, asked, asked_by, created_us, plan_job, run_job, \
             undo_job, run, head, counts FROM restores ",
            $rest
        )
    };
}

fn read(row: &AnyRow) -> Result<RestoreRow> {
    Ok(RestoreRow {
        id: row.id("id")?,
        account: row.id("account_id")?,
        repository: row.id("repository_id")?,
        tenant: row.id("tenant_id")?,
        snapshot: row.text("snapshot")?,
        asked_by: row.text("asked_by")?,
        created_us: row.number("created_us")?,
        plan_job: row.id("plan_job")?,
        run_job: row.maybe_id("run_job")?,
        undo_job: row.maybe_id("undo_job")?,
        run: row.maybe_text("run")?,
        counts: row.maybe_text("counts")?.as_deref().map(super::from_json).transpose()?,
        asked: row.text("asked")?,
        head: row.maybe_text("head")?,
    })
}

impl Db {
    /// Notes a restore and asks for the job that plans it, lending it the key.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn add_restore(
        &self,
        vault: &Vault,
        id: &Id,
        new: &NewRestore<'_>,
        job: &NewJob<'_>,
        key: Option<&str>,
        now_us: i64,
    ) -> Result<Id> {
        let asked = vault.seal(&place(id, "asked"), &super::to_json(new.asking)?);
        let mut tx = self.write().await?;
        let planning = insert(&mut tx, job, JobState::Queued, now_us).await?;
        lend(&mut tx, vault, &planning, key).await?;
        sqlx::query(
            "INSERT INTO restores (id, account_id, repository_id, tenant_id, snapshot, asked, asked_by, created_us, plan_job) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(id.as_str())
        .bind(job.account.as_str())
        .bind(new.repository.as_str())
        .bind(new.tenant.as_str())
        .bind(new.snapshot)
        .bind(asked)
        .bind(job.asked_by)
        .bind(now_us)
        .bind(planning.as_str())
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(planning)
    }

    /// Asks for a job of a restore, lending it the key. No other job of it may wait or run.
    ///
    /// # Errors
    /// `AlreadyExists` when one does.
    pub(crate) async fn begin_restore(
        &self,
        vault: &Vault,
        restore: &RestoreRow,
        part: Part,
        job: &NewJob<'_>,
        key: Option<&str>,
        now_us: i64,
    ) -> Result<Id> {
        let mut tx = self.write().await?;
        let new = insert(&mut tx, job, JobState::Queued, now_us).await?;
        lend(&mut tx, vault, &new, key).await?;
        let column = match part {
            Part::Run => "UPDATE restores SET run_job = $1",
            Part::Undo => "UPDATE restores SET undo_job = $1",
        };
        let sql = format!(
            "{column} WHERE id = $2 AND account_id = $3 AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.state IN \
             ('queued', 'running') AND j.id IN (restores.plan_job, restores.run_job, restores.undo_job))"
        );
        let changed = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(new.as_str())
            .bind(restore.id.as_str())
            .bind(restore.account.as_str())
            .execute(&mut *tx)
            .await?;
        if changed.rows_affected() == 0 {
            return Err(Error::new(ErrorKind::AlreadyExists, "A job of this restore is under way")
                .with_hint("Wait until it ends, or stop it"));
        }
        tx.commit().await?;
        Ok(new)
    }

    /// A restore of an account.
    ///
    /// # Errors
    /// `NotFound`.
    pub(crate) async fn restore(&self, account: &Id, id: &Id) -> Result<RestoreRow> {
        let row = sqlx::query(select!("WHERE id = $1 AND account_id = $2"))
            .bind(id.as_str())
            .bind(account.as_str())
            .fetch_optional(self.pool())
            .await?;
        read(&row.ok_or_else(|| Error::not_found("There is no such restore"))?)
    }

    /// The restore that a job is of.
    ///
    /// # Errors
    /// `NotFound`.
    pub(crate) async fn restore_of_job(&self, job: &Id) -> Result<RestoreRow> {
        let row = sqlx::query(select!("WHERE plan_job = $1 OR run_job = $1 OR undo_job = $1"))
            .bind(job.as_str())
            .fetch_optional(self.pool())
            .await?;
        read(&row.ok_or_else(|| Error::not_found("There is no restore of this job"))?)
    }

    /// Restores of an account, the newest first.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn restores(&self, account: &Id, before: &Before, most: i64) -> Result<Vec<RestoreRow>> {
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

    /// Keeps the plan of a restore, whole, in one transaction.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn keep_plan(
        &self,
        vault: &Vault,
        restore: &Id,
        (run, head, counts): (&str, &Value, &Value),
        parts: &[String],
    ) -> Result<()> {
        let mut tx = self.write().await?;
        sqlx::query("DELETE FROM restore_steps WHERE restore_id = $1").bind(restore.as_str()).execute(&mut *tx).await?;
        for (number, part) in (0i64..).zip(parts) {
            sqlx::query("INSERT INTO restore_steps (restore_id, number, steps) VALUES ($1, $2, $3)")
                .bind(restore.as_str())
                .bind(number)
                .bind(vault.seal(&place(restore, &format!("steps/{number}")), part))
                .execute(&mut *tx)
                .await?;
        }
        sqlx::query("UPDATE restores SET run = $1, head = $2, counts = $3 WHERE id = $4")
            .bind(run)
            .bind(vault.seal(&place(restore, "head"), &head.to_string()))
            .bind(counts.to_string())
            .bind(restore.as_str())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// A part of a plan's steps; none: there is no such part.
    ///
    /// # Errors
    /// `WrongKey` when it does not open with the master key.
    pub(crate) async fn plan_part(&self, vault: &Vault, restore: &Id, number: i64) -> Result<Option<String>> {
        let row = sqlx::query("SELECT steps FROM restore_steps WHERE restore_id = $1 AND number = $2")
            .bind(restore.as_str())
            .bind(number)
            .fetch_optional(self.pool())
            .await?;
        let Some(row) = row else { return Ok(None) };
        let part = vault.open_sealed(&place(restore, &format!("steps/{number}")), &row.text("steps")?)?;
        Ok(Some(part.as_str().to_owned()))
    }

    /// What stands in the journal of a restore, and the number that comes next.
    ///
    /// # Errors
    /// `WrongKey` when it does not open with the master key.
    pub(crate) async fn journal(&self, vault: &Vault, restore: &Id) -> Result<(String, i64)> {
        let rows = sqlx::query("SELECT number, lines FROM restore_journal WHERE restore_id = $1 ORDER BY number")
            .bind(restore.as_str())
            .fetch_all(self.pool())
            .await?;
        let (mut all, mut next) = (String::new(), 0);
        for row in rows {
            let number = row.number("number")?;
            all.push_str(&open_lines(vault, restore, number, row.text("lines")?)?);
            next = number + 1;
        }
        Ok((all, next))
    }

    /// Adds lines to a journal: only as long as the job is this worker's, begun for this time.
    ///
    /// # Errors
    /// `Interrupted` when it is another's now; as any query.
    pub(crate) async fn add_to_journal(
        &self,
        vault: &Vault,
        restore: &Id,
        number: i64,
        lines: &str,
        (job, worker, attempts): (&Id, &str, i64),
    ) -> Result<()> {
        let by = format!("{job} {worker} {attempts}");
        let added = sqlx::query(
            "INSERT INTO restore_journal (restore_id, number, lines, written_by) \
             SELECT CAST($1 AS TEXT), CAST($2 AS BIGINT), CAST($3 AS TEXT), CAST($7 AS TEXT) \
             WHERE EXISTS (SELECT 1 FROM jobs WHERE id = $4 AND worker = $5 AND attempts = $6 AND state = 'running')",
        )
        .bind(restore.as_str())
        .bind(number)
        .bind(vault.seal(&lines_place(restore, number), lines))
        .bind(job.as_str())
        .bind(worker)
        .bind(attempts)
        .bind(&by)
        .execute(self.pool())
        .await;
        let another = || Error::new(ErrorKind::Interrupted, "The restore is another worker's now");
        match added.map_err(Error::from) {
            Ok(added) if added.rows_affected() == 1 => Ok(()),
            Ok(_) => Err(another()),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {
                // Either somebody else goes on with it, or an answer was lost on the way.
                let row =
                    sqlx::query("SELECT lines, written_by FROM restore_journal WHERE restore_id = $1 AND number = $2")
                        .bind(restore.as_str())
                        .bind(number)
                        .fetch_one(self.pool())
                        .await?;
                let known = open_lines(vault, restore, number, row.text("lines")?)?;
                if known.as_str() == lines && row.text("written_by")? == by { Ok(()) } else { Err(another()) }
            }
            Err(e) => Err(e),
        }
    }

    /// The key that a job was lent.
    ///
    /// # Errors
    /// `WrongKey` when it does not open with the master key.
    pub(crate) async fn lent_key(&self, vault: &Vault, job: &Id) -> Result<Option<zeroize::Zeroizing<String>>> {
        let row = sqlx::query("SELECT sealed FROM job_keys WHERE job_id = $1")
            .bind(job.as_str())
            .fetch_optional(self.pool())
            .await?;
        let open = |row: AnyRow| vault.open_sealed(&key_place(job), &row.text("sealed")?);
        row.map(open).transpose()
    }

    /// Forgets the keys of jobs that have ended.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn forget_lent_keys(&self) -> Result<()> {
        sqlx::query(
            "DELETE FROM job_keys WHERE job_id IN (SELECT id FROM jobs WHERE state NOT IN ('queued', 'running'))",
        )
        .execute(self.pool())
        .await?;
        Ok(())
    }
}

async fn lend(
    tx: &mut sqlx::Transaction<'static, sqlx::Any>,
    vault: &Vault,
    job: &Id,
    key: Option<&str>,
) -> Result<()> {
    if let Some(key) = key {
        sqlx::query("INSERT INTO job_keys (job_id, sealed) VALUES ($1, $2)")
            .bind(job.as_str())
            .bind(vault.seal(&key_place(job), key))
            .execute(&mut **tx)
            .await?;
    }
    Ok(())
}
