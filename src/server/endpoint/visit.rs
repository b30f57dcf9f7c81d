//! What a client may see of a repository: as long as it has a job in hand there, its own part.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use crate::error::{Error, ErrorKind, Result};
use crate::repo::{Index, Repository};
use crate::server::db::{ClientRow, Handed};
use crate::server::id::Id;
use crate::server::state::Server;
use crate::snapshot::set::set_id;
use crate::storage::Storage;

/// Memory for files under way, in KiB: of all clients together, and of one.
const ROOM_KIB: usize = 256 << 10;
const ROOM_OF_ONE_KIB: usize = 128 << 10;

/// The endpoint's state.
#[derive(Debug)]
pub(crate) struct Endpoint {
    visits: Mutex<HashMap<Id, Arc<Visit>>>,
    opening: tokio::sync::Mutex<()>,
    pub(super) room: Arc<Semaphore>,
}

impl Default for Endpoint {
    fn default() -> Self {
        Self {
            visits: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
            room: Arc::new(Semaphore::new(ROOM_KIB)),
        }
    }
}

/// A client in a repository, for the time of one job.
#[derive(Debug)]
pub(super) struct Visit {
    client: Id,
    job: Id,
    /// When the job began: microseconds since 1970 UTC.
    pub(super) started_us: i64,
    /// The repository's row.
    pub(super) row: Id,
    /// The repository, opened with the server's key.
    pub(super) repo: Arc<Repository>,
    /// The name of the job's set.
    pub(super) set_name: String,
    /// Its id, by which folders are called.
    pub(super) set: String,
    /// The client's own key slot.
    pub(super) slot: Option<String>,
    /// The index as it was when the visit began.
    pub(super) before: Arc<Index>,
    /// Memory for files of this client under way, in KiB.
    pub(super) room: Arc<Semaphore>,
    /// Bytes stored that are not in the database's count yet.
    uncounted: AtomicI64,
}

impl Visit {
    /// The storage of the repository's first place.
    pub(super) fn storage(&self) -> &Arc<dyn Storage> {
        self.repo.storage()
    }

    /// Counts bytes that were stored.
    pub(super) fn count(&self, bytes: usize) {
        self.uncounted.fetch_add(i64::try_from(bytes).unwrap_or_default(), Ordering::Relaxed);
    }

    /// Bytes stored that are not in the database's count yet.
    pub(super) fn uncounted(&self) -> i64 {
        self.uncounted.load(Ordering::Relaxed)
    }
}

/// The answer to a client that has no business there now. A repository of others looks like one that is none.
fn no_job() -> Error {
    Error::new(ErrorKind::Interrupted, "This client has no job in hand that is written there")
        .with_hint("It gets into a repository only for the time of a job")
}

impl Endpoint {
    fn visits(&self) -> std::sync::MutexGuard<'_, HashMap<Id, Arc<Visit>>> {
        self.visits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a client into a repository.
    ///
    /// # Errors
    /// `Interrupted` when it has no job in hand there; as opening.
    pub(super) async fn enter(&self, server: &Server, client: &ClientRow, repository: &str) -> Result<Arc<Visit>> {
        let repository = Id::parse(repository).map_err(|_| no_job())?;
        let handed = server.db.handed(&client.id, &repository).await?.ok_or_else(no_job)?;
        if let Some(visit) = self.known(&handed) {
            return Ok(visit);
        }
        let _turn = self.opening.lock().await;
        if let Some(visit) = self.known(&handed) {
            return Ok(visit);
        }
        let row = server.db.repository(&client.account, &repository).await.map_err(|_| no_job())?;
        let repo = server.stores.open(server, &row).await?;
        let keys = server.db.client_keys(&client.id).await?;
        let visit = Arc::new(Visit {
            client: client.id.clone(),
            job: handed.job.clone(),
            started_us: handed.started_us,
            row: row.id,
            before: repo.index(),
            set: set_id(&repo.config().id, &handed.set_name).to_string(),
            set_name: handed.set_name,
            slot: keys.into_iter().find(|key| key.repository == repository).map(|key| key.slot),
            repo,
            room: Arc::new(Semaphore::new(ROOM_OF_ONE_KIB)),
            uncounted: AtomicI64::new(0),
        });
        self.visits().insert(handed.job, visit.clone());
        Ok(visit)
    }

    /// A job that was begun anew is another visit: its client has looked at the index again.
    fn known(&self, handed: &Handed) -> Option<Arc<Visit>> {
        self.visits().get(&handed.job).filter(|visit| visit.started_us == handed.started_us).cloned()
    }

    /// Brings what a job stored into the database's count.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn settle(&self, server: &Server, job: &Id) -> Result<()> {
        let Some(visit) = self.visits().get(job).cloned() else { return Ok(()) };
        let bytes = visit.uncounted.swap(0, Ordering::Relaxed);
        if bytes == 0 {
            return Ok(());
        }
        let added = server.db.add_stored_bytes(&visit.row, bytes).await;
        if added.is_err() {
            visit.uncounted.fetch_add(bytes, Ordering::Relaxed);
        }
        added
    }

    /// Ends the visit of a job.
    pub(crate) fn leave(&self, job: &Id) {
        self.visits().remove(job);
    }

    /// Ends all visits of a client, and those of jobs that went to others meanwhile.
    pub(crate) fn forget_client(&self, client: &Id) {
        self.visits().retain(|_, visit| visit.client != *client);
    }

    /// Ends the visits of a client for other jobs than this one.
    pub(crate) fn only(&self, client: &Id, job: &Id) {
        self.visits().retain(|_, visit| visit.client != *client || visit.job == *job);
    }
}
