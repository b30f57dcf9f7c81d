//! Replicas that are read where this repository fails: blob by blob, for a replica may have packed them otherwise.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::OnceCell;

use crate::crypto::BlobKind;
use crate::error::{Error, ErrorKind, Result};
use crate::format::id::BlobId;
use crate::repo::documents::{DocumentKind, DocumentName};
use crate::repo::repository::Repository;
use crate::storage::Storage;

/// Failures that are told one by one.
const MOST_TOLD: usize = 100;

/// Hears that something was read from a replica, and why.
pub type Tell = Box<dyn Fn(&str) + Send + Sync>;

/// A replica, opened when it is needed.
pub struct ReadReplica {
    /// Its name, for people.
    pub name: String,
    /// Where it is.
    pub storage: Arc<dyn Storage>,
    /// The folder of its own cache; none: without.
    pub cache_root: Option<PathBuf>,
}

pub(super) struct Elsewhere {
    replicas: Vec<(ReadReplica, OnceCell<Option<Arc<Repository>>>)>,
    tell: Tell,
    told: Mutex<HashSet<String>>,
}

impl Repository {
    /// Reads from these replicas, one after the other, what this repository has lost or cannot be asked for. `tell` hears of
    /// it. To be said once, before anything is read.
    pub fn read_also_from(&self, replicas: Vec<ReadReplica>, tell: Tell) {
        let replicas = replicas.into_iter().map(|replica| (replica, OnceCell::new())).collect();
        self.elsewhere.get_or_init(|| Elsewhere { replicas, tell, told: Mutex::default() });
    }

    pub(super) async fn read_blob_elsewhere(&self, kind: BlobKind, id: &BlobId, error: Error) -> Result<Bytes> {
        self.try_replicas(error, |replica| {
            let id = *id;
            Box::pin(async move { replica.read_blob(kind, &id).await })
        })
        .await
    }

    pub(super) async fn document_bytes_elsewhere(
        &self,
        kind: DocumentKind,
        name: &DocumentName,
        error: Error,
    ) -> Result<Bytes> {
        self.try_replicas(error, |replica| {
            let name = *name;
            Box::pin(async move { replica.document_bytes_here(kind, &name).await })
        })
        .await
    }

    /// Reads from the first replica that has it; else the error stays.
    async fn try_replicas(
        &self,
        error: Error,
        read: impl Fn(Arc<Self>) -> BoxFuture<'static, Result<Bytes>> + Send + Sync,
    ) -> Result<Bytes> {
        let Some(elsewhere) = self.elsewhere.get().filter(|_| may_be_elsewhere(&error)) else { return Err(error) };
        for (replica, open) in &elsewhere.replicas {
            let opened = open.get_or_init(|| async {
                match self.open_replica(replica.storage.clone(), replica.cache_root.clone()).await {
                    Ok(repo) => Some(repo),
                    Err(e) => {
                        elsewhere.tell(format!("Replica '{}' cannot be read: {}", replica.name, e.chain()));
                        None
                    }
                }
            });
            let Some(repo) = opened.await.clone() else { continue };
            if let Ok(bytes) = read(repo).await {
                elsewhere.tell(format!("{}. It was read from '{}' instead", error.chain(), replica.name));
                return Ok(bytes);
            }
        }
        Err(error)
    }
}

impl Elsewhere {
    fn tell(&self, text: String) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < MOST_TOLD && !told.contains(&text) {
            (self.tell)(&text);
            told.insert(text);
        }
    }
}

/// Says whether an error is this place's alone: not that of a key, or of what was asked for.
fn may_be_elsewhere(error: &Error) -> bool {
    use ErrorKind::{Corrupt, Internal, NotFound, Permission, Unavailable};
    matches!(error.kind(), Corrupt | NotFound | Unavailable | Permission | Internal)
}
