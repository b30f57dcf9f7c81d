//! A run of a backup set.

use std::sync::Arc;

use super::facts::{self, Facts};
use super::worker::{Ended, Task, patiently};
use crate::error::{Error, Result};
use crate::graph::Client;
use crate::ops::backup::{BackupOptions, BackupReport, Stop, Surroundings, backup};
use crate::repo::{Repository, WriterOptions};
use crate::server::connect;
use crate::server::db::SetRow;
use crate::server::state::{Clock, Server};
use crate::snapshot::set::{SetDefinition, TenantRef};

use super::progress::Progress;

/// Backs up the set of a job, notes the run, and asks for what follows upon it.
pub(super) async fn run(server: &Arc<Server>, task: &Task) -> Result<Ended> {
    let job = &task.job;
    let set = job.set.as_ref().ok_or_else(|| Error::internal("A backup without a set"))?;
    let set = patiently(&task.stop, || server.db.backup_set(&job.account, set)).await?;
    let started_us = server.now_us();
    let result = patiently(&task.stop, || read(server, task, &set)).await;
    // The time of the run is that of its snapshot.
    let started_us = result.as_ref().map_or(started_us, |report| report.time_us);
    let mut facts = Facts::of(&result);
    facts.waits = task.progress.waits();
    let ended = patiently(&task.stop, || facts::note(server, &set, &job.id, started_us, &facts)).await?;
    result.map(|_| ended)
}

async fn read(server: &Arc<Server>, task: &Task, set: &SetRow) -> Result<BackupReport> {
    let tenant = server.db.tenant(&set.account, &set.tenant).await?;
    let row = server.db.repository(&set.account, &set.repository).await?;
    let places = server.db.destinations(&row.id).await?;
    let repo = server.stores.open(server, &row).await?;
    let monitor = task.progress.clone();
    let client = connect::client(server, &tenant, set.choices.download_bytes_per_second, monitor)?;
    task.progress.watch(client.budget());
    let named = TenantRef { name: tenant.name.clone(), id: tenant.definition.tenant_id.clone() };
    let definition = set.choices.definition(&set.name, named, places.into_iter().map(|place| place.name).collect())?;
    let clock = server.clone();
    let run = Run {
        definition,
        host: task.job.worker.clone().unwrap_or_default(),
        progress: task.progress.clone(),
        stop: task.stop.clone(),
        clock: Arc::new(move || clock.now_us()),
    };
    run.perform(&repo, &client).await
}

/// A run of a set, on the server or on a client.
pub(crate) struct Run {
    /// The set.
    pub(crate) definition: SetDefinition,
    /// The machine that does it, for people.
    pub(crate) host: String,
    /// Hears how far it is.
    pub(crate) progress: Arc<Progress>,
    /// Brings it to an end.
    pub(crate) stop: Stop,
    /// Tells the time.
    pub(crate) clock: Clock,
}

impl Run {
    /// Backs up.
    ///
    /// # Errors
    /// As [`backup`].
    pub(crate) async fn perform(self, repo: &Arc<Repository>, client: &Client) -> Result<BackupReport> {
        let options = BackupOptions {
            set: self.definition,
            host: self.host,
            program: concat!("tenantvault ", env!("CARGO_PKG_VERSION")).to_owned(),
            tags: Vec::new(),
            writer: WriterOptions::default(),
            collections_at_once: 0,
        };
        let around = Surroundings { monitor: self.progress, now_us: self.clock, stop: self.stop };
        backup(repo, client, &options, &around).await
    }
}
