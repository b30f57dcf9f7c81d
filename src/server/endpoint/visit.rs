//! What a client may see of a repository: as long as it has a job in hand there, its own part.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use super::names::Kind;
use crate::error::{Error, ErrorKind, Result};
use crate::repo::{Index, Repository};
use crate::server::db::{ClientRow, Handed};
use crate::server::id::Id;
use crate::server::state::Server;
use crate::server::turns::Turns;
use crate::snapshot::set::set_id;
use crate::storage::Storage;

/// Memory for files under way, in KiB: of all clients together, and of one.
const ROOM_KIB: usize = 256 << 10;
const ROOM_OF_ONE_KIB: usize = 128 << 10;
/// Snapshots, runs and definitions that a job stores, of each: one, and one more for an answer that was lost.
const MOST_DOCUMENTS: u32 = 2;

/// The endpoint's state.
#[derive(Debug)]
pub(crate) struct Endpoint {
    visits: Mutex<HashMap<Id, Arc<Visit>>>,
    /// By job.
    opening: Turns<Id>,
    pub(super) room: Arc<Semaphore>,
}

impl Default for Endpoint {
    fn default() -> Self {
        Self { visits: Mutex::default(), opening: Turns::default(), room: Arc::new(Semaphore::new(ROOM_KIB)) }
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
    /// Bytes of what is no pack that this job stored or stores.
    beside: AtomicI64,
    /// Snapshots, runs and definitions that this job stored or stores.
    documents: [AtomicU32; 3],
}

/// What a job was let in with: goes back if it is not stored after all.
pub(super) struct Entry<'a> {
    bytes: i64,
    visit: &'a Visit,
    document: Option<&'a AtomicU32>,
    is_stored: bool,
}

impl Entry<'_> {
    /// It is stored: it counts.
    pub(super) fn stored(mut self) {
        self.is_stored = true;
        self.visit.uncounted.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        if self.is_stored {
            return;
        }
        self.visit.beside.fetch_sub(self.bytes, Ordering::Relaxed);
        if let Some(document) = self.document {
            document.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Visit {
    /// The storage of the repository's first place.
    pub(super) fn storage(&self) -> &Arc<dyn Storage> {
        self.repo.storage()
    }

    /// Counts bytes of a pack that were stored.
    pub(super) fn count(&self, bytes: usize) {
        self.uncounted.fetch_add(i64::try_from(bytes).unwrap_or_default(), Ordering::Relaxed);
    }

    /// Lets in what is no pack; nothing: the job has stored as many documents of this kind as a run does.
    pub(super) fn let_in(&self, kind: Kind, length: u64) -> Option<Entry<'_>> {
        let document = match kind {
            Kind::Snapshot => self.documents.first(),
            Kind::Run => self.documents.get(1),
            Kind::Set => self.documents.get(2),
            Kind::Key | Kind::Index | Kind::Pack => None,
        };
        let bytes = i64::try_from(length).unwrap_or(i64::MAX);
        self.beside.fetch_add(bytes, Ordering::Relaxed);
        let many = document.map_or(0, |document| document.fetch_add(1, Ordering::Relaxed));
        // What goes back if it is one too many.
        let entry = Entry { bytes, visit: self, document, is_stored: false };
        (many < MOST_DOCUMENTS).then_some(entry)
    }

    /// Bytes of what is no pack that this job stored or stores.
    pub(super) fn beside(&self) -> i64 {
        self.beside.load(Ordering::Relaxed)
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
        let _turn = self.opening.take(&handed.job).await?;
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
            beside: AtomicI64::new(0),
            documents: Default::default(),
        });
        // A job that begins anew: what its visit before stored counts too.
        self.settle(server, &handed.job).await?;
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
