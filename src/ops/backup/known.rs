//! What the previous snapshot knows of a collection, for the workload to look up.

use async_trait::async_trait;
use futures::stream::{BoxStream, Stream, StreamExt, TryStreamExt};

use super::loss::{Loss, Watched};
use crate::error::Result;
use crate::format::record::Record;
use crate::m365::Known;
use crate::ops::nodes::WriterNodes;
use crate::repo::Writer;
use crate::tree::collection::{CollectionReader, CollectionRoots, RecordCursor};

/// Looks into the previous snapshot for the workload.
pub(super) struct KnownRecords {
    /// What is known may be of a reading in this same run.
    nodes: Watched<WriterNodes>,
    roots: CollectionRoots,
}

impl KnownRecords {
    /// Looks from these roots on; `loss` learns of tree nodes that the repository lost.
    pub(super) fn new(writer: &Writer, roots: CollectionRoots, loss: &Loss) -> Self {
        Self { nodes: Watched { nodes: WriterNodes(writer.clone()), loss: loss.clone() }, roots }
    }
}

#[async_trait]
impl Known for KnownRecords {
    async fn record(&self, id: &str) -> Result<Option<Record>> {
        CollectionReader::new(&self.nodes, self.roots).get(id).await
    }

    async fn children(&self, parent: &str) -> Result<BoxStream<'_, Result<String>>> {
        let ids = CollectionReader::new(&self.nodes, self.roots).child_ids(parent);
        let ids = futures::stream::try_unfold(ids, |mut ids| async move { Ok(ids.next().await?.map(|id| (id, ids))) });
        Ok(ids.boxed())
    }

    async fn ids(&self) -> Result<BoxStream<'_, Result<String>>> {
        Ok(stream_of(CollectionReader::new(&self.nodes, self.roots).records()).map_ok(|record| record.id).boxed())
    }

    async fn records(&self) -> Result<BoxStream<'_, Result<Record>>> {
        Ok(stream_of(CollectionReader::new(&self.nodes, self.roots).records()).boxed())
    }

    async fn parts(&self, item: &str) -> Result<BoxStream<'_, Result<Record>>> {
        let parts = CollectionReader::new(&self.nodes, self.roots).records_of(&format!("{item}/"));
        Ok(stream_of(parts).boxed())
    }
}

fn stream_of(records: RecordCursor<'_>) -> impl Stream<Item = Result<Record>> + Send {
    futures::stream::try_unfold(records, |mut records| async move {
        Ok(records.next().await?.map(|record| (record, records)))
    })
}
