//! A run of a backup set.

use std::sync::Arc;

use serde_json::{Value, json};

use super::of_set;
use super::worker::{Ended, Task};
use crate::error::{Error, ErrorKind, Result};
use crate::format::snapshot::Totals;
use crate::ops::backup::{BackupOptions, BackupReport, Surroundings, backup};
use crate::repo::WriterOptions;
use crate::server::connect;
use crate::server::db::{JobKind, JobState, NewRun, Protected, SetRow};
use crate::server::state::Server;
use crate::snapshot::set::TenantRef;

/// Gaps that are kept in the database; all of them stand in the snapshot.
const MOST_GAPS: usize = 100;

/// Backs up the set of a job, notes the run, and asks for what follows upon it.
pub(super) async fn run(server: &Arc<Server>, task: &Task) -> Result<Ended> {
    let job = &task.job;
    let set = job.set.as_ref().ok_or_else(|| Error::internal("A backup without a set"))?;
    let set = server.db.backup_set(&job.account, set).await?;
    let started_us = server.now_us();
    let result = read(server, task, &set).await;
    let (outcome, error, report) = match &result {
        Ok(report) if report.stopped => ("interrupted", None, Some(report)),
        Ok(report) if report.complete && report.gaps.is_empty() => ("complete", None, Some(report)),
        Ok(report) => ("gaps", None, Some(report)),
        Err(e) if e.kind() == ErrorKind::Interrupted => ("interrupted", None, None),
        Err(e) => ("failed", Some(e.chain()), None),
    };
    let new = NewRun {
        account: &set.account,
        set: &set.id,
        job: &job.id,
        started_us,
        ended_us: server.now_us(),
        outcome,
        error: error.as_deref(),
        snapshot: report.map(|report| report.snapshot.to_string()),
        totals: report.map_or_else(Totals::default, |report| report.totals),
        gap_list: report.map_or_else(|| json!([]), gaps),
    };
    server.db.note_run(&new).await?;
    let report = result?;
    let protected = Protected::of(&report.coverage);
    server.db.keep_protected(&set.id, protected).await?;
    if !report.stopped {
        let now = server.now_us();
        server.db.ask_for(&of_set(&set, JobKind::Retention, "schedule", now), now).await?;
        if server.db.destinations(&set.repository).await?.len() > 1 {
            server.db.ask_for(&of_set(&set, JobKind::Mirror, "schedule", now), now).await?;
        }
    }
    let state = match outcome {
        "complete" => JobState::Done,
        "interrupted" => JobState::Cancelled,
        _ => JobState::Gaps,
    };
    let facts = json!({"snapshot": report.snapshot.to_string(), "totals": report.totals, "outcome": outcome});
    Ok(Ended { state, outcome: facts })
}

fn gaps(report: &BackupReport) -> Value {
    let gaps = report.gaps.iter().take(MOST_GAPS);
    gaps.map(|gap| json!({"name": gap.name, "message": gap.text, "since_us": gap.since_us})).collect()
}

async fn read(server: &Arc<Server>, task: &Task, set: &SetRow) -> Result<BackupReport> {
    let tenant = server.db.tenant(&set.account, &set.tenant).await?;
    let row = server.db.repository(&set.account, &set.repository).await?;
    let places = server.db.destinations(&row.id).await?;
    let repo = server.stores.open(server, &row).await?;
    let monitor = task.progress.clone();
    let client = connect::client(server, &tenant, set.choices.download_bytes_per_second, monitor.clone())?;
    let named = TenantRef { name: tenant.name.clone(), id: tenant.definition.tenant_id.clone() };
    let definition = set.choices.definition(&set.name, named, places.into_iter().map(|place| place.name).collect())?;
    let options = BackupOptions {
        set: definition,
        host: task.job.worker.clone().unwrap_or_default(),
        program: concat!("tenantvault ", env!("CARGO_PKG_VERSION")).to_owned(),
        tags: Vec::new(),
        writer: WriterOptions::default(),
        collections_at_once: 0,
    };
    let clock = server.clone();
    let around = Surroundings { monitor, now_us: Arc::new(move || clock.now_us()), stop: task.stop.clone() };
    backup(&repo, &client, &options, &around).await
}
