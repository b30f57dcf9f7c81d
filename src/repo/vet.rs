//! Looks at an index file that somebody else wrote, before it is let in. Whoever holds a write-only key can write index
//! files, and they are believed: one that marks packs, stands in for others, or says of blobs which are there that they lie
//! in a pack of its own could make a prune delete what is good. A backup needs none of the three.

use std::collections::HashMap;
use std::sync::Arc;

use futures::stream::{StreamExt, TryStreamExt};

use crate::error::{Error, ErrorKind, Result};
use crate::format::id::IndexId;
use crate::format::index::{IndexFile, IndexedBlob};
use crate::repo::index::Index;
use crate::repo::repository::{Repository, pack_path};

/// Headers of packs that are read at once.
const READS_AT_ONCE: usize = 8;

impl Repository {
    /// Refuses an index file that does more than to list new blobs in packs which are there. `before`: the index as its writer
    /// could know it when it began.
    ///
    /// # Errors
    /// `InvalidInput` for one that is refused, or cannot be read; the storage's.
    pub(crate) async fn vet_index_file(self: &Arc<Self>, id: &IndexId, bytes: &[u8], before: &Index) -> Result<()> {
        let file = self.decode_index_file(id, bytes).map_err(|e| refused(id, "it cannot be read").with_source(e))?;
        if !file.marks.is_empty() || !file.replaces.is_empty() {
            return Err(refused(id, "it marks packs, or stands in for other index files"));
        }
        self.vet_packs(id, &file).await?;
        let known: Vec<&IndexedBlob> = file.blobs.iter().filter(|blob| before.has_live(&blob.id)).collect();
        if known.is_empty() {
            return Ok(());
        }
        // A prune may have marked their packs meanwhile: then they had to be stored again.
        self.reload_index().await?;
        let now = self.index();
        for blob in known {
            for place in now.find_all(&blob.id).filter(|place| !place.marked) {
                let path = pack_path(&place.pack.id);
                match self.storage().stat(&path).await {
                    Ok(there) if there.size_bytes == place.pack.size_bytes => {
                        return Err(refused(id, "it lists what lay in another pack before its run began"));
                    }
                    Ok(_) => {}
                    // What is lost may be stored again.
                    Err(e) if e.kind() == ErrorKind::NotFound => {}
                    Err(e) => return Err(e),
                }
            }
        }
        Ok(())
    }

    /// Holds what is listed against the packs' own headers.
    async fn vet_packs(&self, id: &IndexId, file: &IndexFile) -> Result<()> {
        let mut by_pack: HashMap<u32, Vec<IndexedBlob>> = HashMap::new();
        for blob in &file.blobs {
            by_pack.entry(blob.pack).or_default().push(IndexedBlob { pack: 0, ..*blob });
        }
        let listed = (0u32..).zip(&file.packs).map(|(n, pack)| {
            let mut blobs = by_pack.remove(&n).unwrap_or_default();
            blobs.sort_by_key(|blob| blob.offset);
            (pack.clone(), blobs)
        });
        futures::stream::iter(listed)
            .map(|(pack, blobs)| async move {
                let header = self.fetch_pack_header(pack.id, pack.size_bytes).await;
                let (found, mut inside) = match header {
                    Err(e) if e.is_loss() => {
                        return Err(refused(id, "a pack that it lists is not there, or is another").with_source(e));
                    }
                    header => header?,
                };
                inside.iter_mut().for_each(|blob| blob.pack = 0);
                inside.sort_by_key(|blob| blob.offset);
                if found != pack || inside != blobs {
                    return Err(refused(id, "it says other things of a pack than the pack itself"));
                }
                Ok(())
            })
            .buffer_unordered(READS_AT_ONCE)
            .try_collect()
            .await
    }
}

fn refused(id: &IndexId, why: &str) -> Error {
    Error::invalid(format!("Index file {} is refused: {why}", id.short()))
}
