//! Looks at an index file that somebody else wrote, before it is let in. Whoever holds a write-only key can write index
//! files, and they are believed: one that marks packs, stands in for others, or says of blobs which are there that they lie
//! in a pack of its own could make a prune delete what is good. A backup needs none of the three.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::error::{Error, ErrorKind, Result};
use crate::format::id::{IndexId, PackId};
use crate::format::index::{IndexFile, IndexedBlob, IndexedPack};
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
        let mut held: Vec<(PackId, u64)> = Vec::new();
        for blob in known {
            held.extend(now.find_all(&blob.id).filter(|p| !p.marked).map(|p| (p.pack.id, p.pack.size_bytes)));
        }
        held.sort_unstable();
        held.dedup();
        for (pack, size_bytes) in held {
            match self.storage().stat(&pack_path(&pack)).await {
                Ok(there) if there.size_bytes == size_bytes => {
                    return Err(refused(id, "it lists what lay in another pack before its run began"));
                }
                Ok(_) => {}
                // What is lost may be stored again.
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Holds what is listed against the packs' own headers.
    async fn vet_packs(self: &Arc<Self>, id: &IndexId, file: &IndexFile) -> Result<()> {
        let mut by_pack: HashMap<u32, Vec<IndexedBlob>> = HashMap::new();
        for blob in &file.blobs {
            by_pack.entry(blob.pack).or_default().push(IndexedBlob { pack: 0, ..*blob });
        }
        for (first, packs) in (0u32..).step_by(READS_AT_ONCE).zip(file.packs.chunks(READS_AT_ONCE)) {
            let mut reads = JoinSet::new();
            for (n, pack) in (first..).zip(packs) {
                let (repo, pack) = (self.clone(), pack.clone());
                let mut blobs = by_pack.remove(&n).unwrap_or_default();
                blobs.sort_by_key(|blob| blob.offset);
                reads.spawn(async move { repo.says_so_itself(&pack, &blobs).await });
            }
            while let Some(read) = reads.join_next().await {
                match read.map_err(|e| Error::internal("A look at a pack ended early").with_source(e))? {
                    Ok(true) => {}
                    Ok(false) => return Err(refused(id, "it says other things of a pack than the pack itself")),
                    Err(e) if e.is_loss() => {
                        return Err(refused(id, "a pack that it lists is not there, or is another").with_source(e));
                    }
                    Err(e) => return Err(e),
                }
            }
        }
        Ok(())
    }

    /// Says whether a pack's own header lists just this.
    async fn says_so_itself(&self, pack: &IndexedPack, blobs: &[IndexedBlob]) -> Result<bool> {
        let (found, mut inside) = self.fetch_pack_header(pack.id, pack.size_bytes).await?;
        inside.iter_mut().for_each(|blob| blob.pack = 0);
        inside.sort_by_key(|blob| blob.offset);
        Ok(found == *pack && inside == blobs)
    }
}

fn refused(id: &IndexId, why: &str) -> Error {
    Error::invalid(format!("Index file {} is refused: {why}", id.short()))
}
