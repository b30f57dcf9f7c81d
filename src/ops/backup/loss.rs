//! When the repository has lost what the last snapshot keeps of a collection: it is read anew from the tenant. One
//! damaged file must not end every backup from then on.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use bytes::Bytes;

use super::collection::{Outcome, Shared};
use super::passes;
use crate::error::Result;
use crate::format::collection::Gap;
use crate::format::id::BlobId;
use crate::format::snapshot::CollectionState;
use crate::m365::Collection;
use crate::tree::NodeStore;
use crate::tree::collection::EditCounts;

/// Remembers the first tree node that was needed and is lost. Clones are one memory.
#[derive(Debug, Clone, Default)]
pub(super) struct Loss(Arc<OnceLock<String>>);

/// Nodes of a store, with a memory of those that are lost.
pub(super) struct Watched<N> {
    pub(super) nodes: N,
    pub(super) loss: Loss,
}

#[async_trait]
impl<N: NodeStore> NodeStore for Watched<N> {
    async fn get(&self, id: &BlobId) -> Result<Bytes> {
        let result = self.nodes.get(id).await;
        if let Err(e) = &result
            && e.is_loss()
        {
            self.loss.0.get_or_init(|| e.chain());
        }
        result
    }

    async fn put(&self, bytes: Vec<u8>) -> Result<BlobId> {
        self.nodes.put(bytes).await
    }
}

/// Reads one collection; if what the last snapshot keeps of it turns out to be damaged, from the beginning.
///
/// # Errors
/// The destination's.
pub(super) async fn read_collection(
    shared: &Shared,
    source: Arc<dyn Collection>,
    previous: Option<CollectionState>,
    gaps: Vec<Gap>,
) -> Result<Outcome> {
    let loss = Loss::default();
    let first = passes::read(shared, source.clone(), previous.clone(), gaps.clone(), &loss).await;
    let (Some(why), Some(previous)) = (loss.0.get(), previous) else { return first };
    if shared.writer.is_broken() {
        return first;
    }
    let text =
        format!("{}: what the last snapshot keeps of it is damaged, so all was read again: {why}", source.path());
    let anew = passes::read(shared, source, None, gaps, &Loss::default()).await?;
    // A part read anew is no better than what is left of the whole.
    let (state, logical, counts) = match anew.state.complete {
        true => (anew.state, anew.logical, anew.counts),
        false => (CollectionState { complete: false, ..previous }, None, EditCounts::default()),
    };
    Ok(Outcome { state, logical, counts, damage: Some(text), ..anew })
}
