//! Backup sets and their schedules.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use utoipa::ToSchema;

use super::{Columns as _, Db};
use crate::error::{Error, ErrorKind, Result};
use crate::server::choices::Choices;
use crate::server::id::Id;
use crate::server::schedule::{self, Timing};

/// A backup set of an account.
#[derive(Debug, Clone)]
pub(crate) struct SetRow {
    /// The row's id.
    pub(crate) id: Id,
    /// The account.
    pub(crate) account: Id,
    /// The tenant that it reads.
    pub(crate) tenant: Id,
    /// The repository that it is written to.
    pub(crate) repository: Id,
    /// Its name, by which snapshots are marked.
    pub(crate) name: String,
    /// What is protected, how it is read, how long it is kept.
    pub(crate) choices: Choices,
    /// The client that runs it; none: the server.
    pub(crate) client: Option<Id>,
    /// Schedules start it.
    pub(crate) enabled: bool,
    /// When it was made.
    pub(crate) created_us: i64,
    /// How the last run ended, if there was one.
    pub(crate) last_state: Option<String>,
    /// When it ended.
    pub(crate) last_us: Option<i64>,
    /// When the last one that was whole, or had gaps only, ended.
    pub(crate) last_good_us: Option<i64>,
}

impl SetRow {
    /// Since when it waits for a good run.
    pub(crate) fn good_since(&self) -> i64 {
        self.last_good_us.unwrap_or(self.created_us)
    }
}

/// A set to make or to change.
#[derive(Debug, Clone)]
pub(crate) struct SetToBe<'a> {
    /// The name.
    pub(crate) name: &'a str,
    /// The tenant.
    pub(crate) tenant: &'a Id,
    /// The repository.
    pub(crate) repository: &'a Id,
    /// The choices.
    pub(crate) choices: &'a Choices,
    /// The client that runs it; none: the server.
    pub(crate) client: Option<&'a Id>,
    /// Schedules start it.
    pub(crate) enabled: bool,
    /// When it runs.
    pub(crate) timings: &'a [Timing],
}

/// When a set runs.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct ScheduleRow {
    /// The row's id.
    pub(crate) id: Id,
    /// The rule.
    #[serde(flatten)]
    pub(crate) timing: Timing,
    /// When it is due next: microseconds since 1970 UTC.
    pub(crate) next_us: Option<i64>,
}

/// A schedule whose time has come.
#[derive(Debug, Clone)]
pub(crate) struct Due {
    /// The schedule.
    pub(crate) schedule: Id,
    /// Its set.
    pub(crate) set: SetRow,
    /// The rule.
    pub(crate) timing: Timing,
    /// When it was due.
    pub(crate) due_us: i64,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT s.id AS id, s.account_id AS account_id, s.tenant_id AS tenant_id, s.repository_id AS repository_id, \
             s.name AS name, s.definition AS definition, s.client_id AS client_id, s.enabled AS enabled, \
             s.created_us AS created_us, s.last_state AS last_state, s.last_us AS last_us, \
             s.last_good_us AS last_good_us ",
            $rest
        )
    };
}

fn read(row: &AnyRow) -> Result<SetRow> {
    Ok(SetRow {
        id: row.id("id")?,
        account: row.id("account_id")?,
        tenant: row.id("tenant_id")?,
        repository: row.id("repository_id")?,
        name: row.text("name")?,
        choices: super::from_json(&row.text("definition")?)?,
        client: row.maybe_id("client_id")?,
        enabled: row.flag("enabled")?,
        created_us: row.number("created_us")?,
        last_state: row.maybe_text("last_state")?,
        last_us: row.maybe_number("last_us")?,
        last_good_us: row.maybe_number("last_good_us")?,
    })
}

fn read_timing(row: &AnyRow) -> Result<Timing> {
    Ok(Timing {
        cron: row.text("cron")?,
        zone: row.text("zone")?,
        jitter_s: u32::try_from(row.number("jitter_s")?).unwrap_or_default(),
        catch_up: row.flag("catch_up")?,
    })
}

impl Db {
    /// Makes a set with its schedules.
    ///
    /// # Errors
    /// `AlreadyExists`, `InvalidInput`.
    pub(crate) async fn add_set(&self, account: &Id, new: &SetToBe<'_>, now_us: i64) -> Result<SetRow> {
        crate::snapshot::set::check_name(new.name)?;
        let id = Id::random();
        let mut tx = self.write().await?;
        sqlx::query(
            "INSERT INTO sets (id, account_id, tenant_id, repository_id, name, definition, client_id, enabled, created_us) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(id.as_str())
        .bind(account.as_str())
        .bind(new.tenant.as_str())
        .bind(new.repository.as_str())
        .bind(new.name)
        .bind(super::to_json(new.choices)?)
        .bind(new.client.map(Id::as_str))
        .bind(i64::from(new.enabled))
        .bind(now_us)
        .execute(&mut *tx)
        .await
        .map_err(|e| super::taken(e, "backup set", new.name))?;
        write_schedules(&mut tx, account, &id, new, now_us).await?;
        tx.commit().await?;
        self.backup_set(account, &id).await
    }

    /// Changes a set and its schedules. What was stored stays, whoever runs it from now on.
    ///
    /// # Errors
    /// As [`Self::add_set`]; `InvalidInput` for another name, tenant or repository, by which its snapshots are found.
    pub(crate) async fn change_set(&self, set: &SetRow, new: &SetToBe<'_>, now_us: i64) -> Result<SetRow> {
        if new.name != set.name || *new.tenant != set.tenant || *new.repository != set.repository {
            return Err(Error::invalid("A backup set keeps its name, its tenant and its repository")
                .with_hint("Its snapshots are found by them. Make another set"));
        }
        let mut tx = self.write().await?;
        sqlx::query("UPDATE sets SET definition = $1, client_id = $2, enabled = $3 WHERE id = $4 AND account_id = $5")
            .bind(super::to_json(new.choices)?)
            .bind(new.client.map(Id::as_str))
            .bind(i64::from(new.enabled))
            .bind(set.id.as_str())
            .bind(set.account.as_str())
            .execute(&mut *tx)
            .await?;
        sqlx::query("DELETE FROM schedules WHERE set_id = $1").bind(set.id.as_str()).execute(&mut *tx).await?;
        write_schedules(&mut tx, &set.account, &set.id, new, now_us).await?;
        tx.commit().await?;
        self.backup_set(&set.account, &set.id).await
    }

    /// Removes a set. Its snapshots stay in the repository.
    ///
    /// # Errors
    /// `AlreadyExists` while a job of it runs; `NotFound`.
    pub(crate) async fn remove_set(&self, account: &Id, id: &Id) -> Result<()> {
        let mut tx = self.write().await?;
        let row = sqlx::query("SELECT COUNT(*) AS many FROM jobs WHERE set_id = $1 AND state = 'running'")
            .bind(id.as_str())
            .fetch_one(&mut *tx)
            .await?;
        if row.number("many")? > 0 {
            return Err(
                Error::new(ErrorKind::AlreadyExists, "The backup set is running").with_hint("Stop the run first")
            );
        }
        for sql in [
            "DELETE FROM schedules WHERE set_id = $1 AND account_id = $2",
            "DELETE FROM runs WHERE set_id = $1 AND account_id = $2",
            "DELETE FROM jobs WHERE set_id = $1 AND account_id = $2",
        ] {
            sqlx::query(sql).bind(id.as_str()).bind(account.as_str()).execute(&mut *tx).await?;
        }
        super::days::recount(&mut tx, account).await?;
        let removed = sqlx::query("DELETE FROM sets WHERE id = $1 AND account_id = $2")
            .bind(id.as_str())
            .bind(account.as_str())
            .execute(&mut *tx)
            .await?;
        super::need_one(removed.rows_affected(), "backup set")?;
        tx.commit().await?;
        Ok(())
    }

    /// A set of an account.
    ///
    /// # Errors
    /// `NotFound`.
    pub(crate) async fn backup_set(&self, account: &Id, id: &Id) -> Result<SetRow> {
        let row = sqlx::query(select!("FROM sets s WHERE s.id = $1 AND s.account_id = $2"))
            .bind(id.as_str())
            .bind(account.as_str())
            .fetch_optional(self.pool())
            .await?;
        read(&row.ok_or_else(|| Error::not_found("There is no such backup set"))?)
    }

    /// The sets of an account, by name.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn sets(&self, account: &Id) -> Result<Vec<SetRow>> {
        let rows = sqlx::query(select!("FROM sets s WHERE s.account_id = $1 ORDER BY s.name"))
            .bind(account.as_str())
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(read).collect()
    }

    /// The schedules of a set.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn schedules(&self, set: &Id) -> Result<Vec<ScheduleRow>> {
        let rows = sqlx::query(
            "SELECT id, cron, zone, jitter_s, catch_up, next_us FROM schedules WHERE set_id = $1 ORDER BY id",
        )
        .bind(set.as_str())
        .fetch_all(self.pool())
        .await?;
        let read = |row: &AnyRow| {
            Ok(ScheduleRow { id: row.id("id")?, timing: read_timing(row)?, next_us: row.maybe_number("next_us")? })
        };
        rows.iter().map(read).collect()
    }

    /// The rules of all sets of an account, by set.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn timings(&self, account: &Id) -> Result<HashMap<Id, Vec<Timing>>> {
        let rows = sqlx::query(
            "SELECT c.set_id AS set_id, c.cron AS cron, c.zone AS zone, c.jitter_s AS jitter_s, c.catch_up AS catch_up \
             FROM sets s CROSS JOIN schedules c WHERE s.account_id = $1 AND c.set_id = s.id ORDER BY c.id",
        )
        .bind(account.as_str())
        .fetch_all(self.pool())
        .await?;
        let mut all: HashMap<Id, Vec<Timing>> = HashMap::new();
        for row in &rows {
            all.entry(row.id("set_id")?).or_default().push(read_timing(row)?);
        }
        Ok(all)
    }

    /// Schedules whose time has come, the longest due first.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn due(&self, now_us: i64, most: i64) -> Result<Vec<Due>> {
        let rows = sqlx::query(select!(
            ", c.id AS schedule_id, c.cron AS cron, c.zone AS zone, c.jitter_s AS jitter_s, c.catch_up AS catch_up, \
             c.next_us AS next_us FROM schedules c CROSS JOIN sets s WHERE s.id = c.set_id \
             AND c.next_us <= $1 ORDER BY c.next_us, c.id LIMIT $2"
        ))
        .bind(now_us)
        .bind(most)
        .fetch_all(self.pool())
        .await?;
        let read_due = |row: &AnyRow| {
            Ok(Due {
                schedule: row.id("schedule_id")?,
                set: read(row)?,
                timing: read_timing(row)?,
                due_us: row.number("next_us")?,
            })
        };
        rows.iter().map(read_due).collect()
    }

    /// Schedules whose time is yet to come, after one by its id.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn waiting_schedules(
        &self,
        after: &str,
        now_us: i64,
        most: i64,
    ) -> Result<Vec<(Id, Timing, i64)>> {
        let rows = sqlx::query(
            "SELECT id, cron, zone, jitter_s, catch_up, next_us FROM schedules WHERE id > $1 AND next_us > $2 \
             ORDER BY id LIMIT $3",
        )
        .bind(after)
        .bind(now_us)
        .bind(most)
        .fetch_all(self.pool())
        .await?;
        rows.iter().map(|row| Ok((row.id("id")?, read_timing(row)?, row.number("next_us")?))).collect()
    }

    /// Moves a schedule to an earlier time, unless it was moved meanwhile.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn put_schedule_right(&self, id: &Id, from_us: i64, to_us: i64) -> Result<()> {
        sqlx::query("UPDATE schedules SET next_us = $1 WHERE id = $2 AND next_us = $3")
            .bind(to_us)
            .bind(id.as_str())
            .bind(from_us)
            .execute(self.pool())
            .await?;
        Ok(())
    }
}

async fn write_schedules(
    tx: &mut sqlx::Transaction<'static, sqlx::Any>,
    account: &Id,
    set: &Id,
    new: &SetToBe<'_>,
    now_us: i64,
) -> Result<()> {
    for timing in new.timings {
        let next = if new.enabled { schedule::next(timing, now_us)? } else { None };
        sqlx::query(
            "INSERT INTO schedules (id, account_id, set_id, cron, zone, jitter_s, catch_up, next_us) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(Id::random().as_str().to_owned())
        .bind(account.as_str())
        .bind(set.as_str())
        .bind(&timing.cron)
        .bind(&timing.zone)
        .bind(i64::from(timing.jitter_s))
        .bind(i64::from(timing.catch_up))
        .bind(next)
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}
