//! Checks what the repository promises of its packs.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{StreamExt, TryStreamExt};

use crate::crypto::{self, BlobKind, KeyRight};
use crate::error::{Error, ErrorKind, Result};
use crate::format::header::SALTED_BYTES;
use crate::format::id::PackId;
use crate::format::index::{IndexedBlob, IndexedPack};
use crate::format::pack;
use crate::monitor::{Counter, Monitor};
use crate::repo::index::{ChunksBySegment, DamagedIndex, Index};
use crate::repo::repository::{Repository, pack_path, run_blocking};

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The object: "Pack 3f9a…".
    pub object: String,
    /// The pack concerned, if it is one: what lies in it may be lost.
    pub pack: Option<PackId>,
    /// What is wrong, and what to do.
    pub text: String,
    /// Contents are at risk. False: untidy only.
    pub error: bool,
}

impl Finding {
    /// Object and text as one sentence that names the object once.
    pub fn sentence(&self) -> String {
        format!("{} {}", self.object, self.text.replace(&format!("{} ", self.object), ""))
    }
}

/// How much of the packs' contents is read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ReadData {
    /// Nothing: names and sizes only.
    No,
    /// Every pack.
    All,
    /// So many packs in a hundred, chosen by their names and a seed.
    Percent(f64, u64),
}

impl ReadData {
    fn takes(self, id: &PackId) -> bool {
        match self {
            Self::No => false,
            Self::All => true,
            Self::Percent(percent, seed) => {
                let hash = crypto::hash_buffers([&id.0[..], &seed.to_le_bytes()]);
                let [a, b, c, d, ..] = hash;
                f64::from(u32::from_le_bytes([a, b, c, d])) < percent / 100.0 * f64::from(u32::MAX)
            }
        }
    }
}

/// Packs read at once by a check.
const PACKS_AT_ONCE: usize = 3;

impl Repository {
    /// Checks that every pack of the index is there with its size and, where `read` says so, that its bytes are what
    /// its name says and every blob in it opens. Under a write-only key, contents are checked by the pack's hash alone.
    ///
    /// # Errors
    /// The storage's; damage comes as findings.
    pub async fn check_packs(self: &Arc<Self>, read: ReadData, monitor: &dyn Monitor) -> Result<Vec<Finding>> {
        self.reload_index().await?;
        let stored = self.stored_packs().await?;
        let index = self.index();
        let damaged = |d: &DamagedIndex| Finding {
            object: format!("Index file {}", d.id),
            pack: None,
            text: d.text.clone(),
            error: true,
        };
        let mut findings: Vec<Finding> = index.damaged().iter().map(damaged).collect();
        let mut to_read = Vec::new();
        let listed: HashSet<PackId> = index.packs().map(|p| p.id).collect();
        for indexed in index.packs() {
            match stored.get(&indexed.id) {
                // Written since the packs were listed.
                None if self.storage.stat(&pack_path(&indexed.id)).await.is_ok() => {}
                None => {
                    findings.push(pack_error(indexed.id, "is missing: what lies in it is lost unless a copy has it"));
                }
                Some(size) if *size != indexed.size_bytes => {
                    let text = format!("has {size} bytes, the index expects {}", indexed.size_bytes);
                    findings.push(pack_error(indexed.id, text));
                }
                Some(_) if read.takes(&indexed.id) => to_read.push(indexed),
                Some(_) => {}
            }
        }
        for id in stored.keys().filter(|id| !listed.contains(*id)) {
            let text = "is in no index file: left by a run that was cut off; prune removes it".to_owned();
            findings.push(Finding { object: format!("Pack {id}"), pack: None, text, error: false });
        }
        monitor.add(Counter::BytesTotal, to_read.iter().map(|p| p.size_bytes as i64).sum());
        let blobs = blobs_by_pack(&index, to_read.iter().map(|p| p.id).collect());
        let listed = Arc::new((blobs, ChunksBySegment::new(index.clone())));
        let results: Vec<Vec<Finding>> = futures::stream::iter(to_read)
            .map(|indexed| self.clone().check_pack_data(indexed, listed.clone(), monitor))
            .buffer_unordered(PACKS_AT_ONCE)
            .try_collect()
            .await?;
        index.intact()?;
        findings.extend(results.into_iter().flatten());
        self.drop_what_prunes_took(&mut findings).await?;
        findings.sort_by(|a, b| a.object.cmp(&b.object));
        Ok(findings)
    }

    /// Packs that prunes deleted since the index was loaded are no damage: the index has let go of them by now, or lists
    /// them again with a mark.
    async fn drop_what_prunes_took(&self, findings: &mut Vec<Finding>) -> Result<()> {
        let mut gone = HashSet::new();
        for id in findings.iter().filter(|f| f.error).filter_map(|f| f.pack) {
            let is_gone = |e: Error| e.kind() == ErrorKind::NotFound;
            if self.storage.stat(&pack_path(&id)).await.is_err_and(is_gone) {
                gone.insert(id);
            }
        }
        if gone.is_empty() {
            return Ok(());
        }
        self.reload_index().await?;
        let index = self.index();
        let listed: HashSet<PackId> = index.pack_ids().collect();
        findings.retain_mut(|finding| match finding.pack.filter(|id| gone.contains(id)) {
            Some(id) if listed.contains(&id) && index.is_marked(&id) => {
                // Should anything need what lay in it, that is noticed where it is needed.
                finding.text =
                    "was deleted and is listed again: by one of several prunes at once; prune removes it".to_owned();
                finding.error = false;
                true
            }
            Some(id) => listed.contains(&id),
            None => true,
        });
        Ok(())
    }

    async fn check_pack_data(
        self: Arc<Self>,
        indexed: IndexedPack,
        listed: Arc<(HashMap<PackId, Vec<IndexedBlob>>, ChunksBySegment)>,
        monitor: &dyn Monitor,
    ) -> Result<Vec<Finding>> {
        let bytes = match self.storage.get(&pack_path(&indexed.id), indexed.size_bytes).await {
            Ok(bytes) => bytes,
            Err(e) if e.is_loss() => {
                return Ok(vec![pack_error(indexed.id, format!("cannot be read: {e}"))]);
            }
            Err(e) => return Err(e),
        };
        monitor.add(Counter::BytesRead, bytes.len() as i64);
        run_blocking(move || {
            let (none, (blobs, chunks)) = (Vec::new(), &*listed);
            self.check_pack_bytes(&indexed, blobs.get(&indexed.id).unwrap_or(&none), chunks, &bytes)
        })
        .await
    }

    fn check_pack_bytes(
        &self,
        indexed: &IndexedPack,
        blobs: &[IndexedBlob],
        chunks: &ChunksBySegment,
        bytes: &Bytes,
    ) -> Vec<Finding> {
        let id = indexed.id;
        if crypto::hash_buffers([&bytes[..]]) != id.0 {
            return vec![pack_error(id, "is damaged: its contents do not match its name")];
        }
        let what = format!("Pack {id}");
        let header = self.read_pack_header(&what, id, bytes);
        let (header_pack, mut header_blobs) = match header {
            Ok(header) => header,
            Err(e) => return vec![pack_error(id, format!("has a broken header: {e}"))],
        };
        let mut findings = Vec::new();
        header_blobs.sort_by_key(|b| (b.id, b.offset));
        let mut listed = blobs.to_vec();
        listed.iter_mut().for_each(|b| b.pack = 0);
        listed.sort_by_key(|b| (b.id, b.offset));
        if listed != header_blobs || header_pack != *indexed {
            findings.push(pack_error(id, "and the index disagree on what it holds: run repair index"));
        }
        if indexed.kind == BlobKind::Content && self.right() == KeyRight::WriteOnly {
            return findings;
        }
        for blob in &header_blobs {
            if let Err(e) = self.check_blob(&header_pack, blob, chunks, bytes) {
                findings.push(pack_error(id, e.to_string()));
            }
        }
        findings
    }

    fn check_blob(
        &self,
        indexed: &IndexedPack,
        blob: &IndexedBlob,
        chunks: &ChunksBySegment,
        bytes: &Bytes,
    ) -> Result<()> {
        let what = format!("Blob {}", blob.id);
        let plain = self.open_checked(&what, indexed, blob, bytes)?;
        for chunk in chunks.of(blob.id).filter(|_| indexed.kind == BlobKind::Content) {
            let start = chunk.offset as usize;
            let found = plain.get(start..start + chunk.length as usize).map(|bytes| self.keys.chunk_id(bytes));
            if found != Some(chunk.id.0) {
                return Err(Error::corrupt(format!("{what} does not hold the chunk that the index lists in it"))
                    .with_hint("whoever wrote that index file lied: do not trust snapshots made after it, make a new repository"));
            }
        }
        Ok(())
    }

    /// Opens a blob of a pack that is in memory, and holds it against its id.
    pub(super) fn open_checked(
        &self,
        what: &str,
        indexed: &IndexedPack,
        blob: &IndexedBlob,
        bytes: &Bytes,
    ) -> Result<Vec<u8>> {
        let start = blob.offset as usize;
        let ciphertext = bytes.get(start..start + blob.stored_bytes as usize).unwrap_or_default().to_vec();
        let plain = pack::open_blob(what, &self.blob_key(indexed, blob)?, blob, ciphertext)?;
        if self.keys.blob_id(indexed.kind, &plain) == blob.id.0 {
            Ok(plain)
        } else {
            Err(Error::corrupt(format!("{what} holds other contents than its id says")))
        }
    }

    pub(super) fn read_pack_header(
        &self,
        what: &str,
        id: PackId,
        bytes: &[u8],
    ) -> Result<(IndexedPack, Vec<IndexedBlob>)> {
        let size = bytes.len() as u64;
        let last_four = bytes.len().checked_sub(4).and_then(|at| bytes.get(at..)).unwrap_or_default();
        let tail = pack::header_bytes(what, size, last_four)?;
        let head = bytes.get(..SALTED_BYTES).unwrap_or_default();
        let tail = usize::try_from(size - tail).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
        pack::read_header(what, &self.keys, pack::pack_kind(what, head)?, id, size, head, tail)
    }

    /// Reads a stored pack's header without the rest of it.
    pub(super) async fn fetch_pack_header(&self, id: PackId, size: u64) -> Result<(IndexedPack, Vec<IndexedBlob>)> {
        let (what, path) = (format!("Pack {id}"), pack_path(&id));
        if size < SALTED_BYTES as u64 + 4 {
            return Err(Error::corrupt(format!("{what} is too short: {size} bytes")));
        }
        let head = self.storage.get_range(&path, 0, SALTED_BYTES as u64).await?;
        let last_four = self.storage.get_range(&path, size - 4, 4).await?;
        let tail = pack::header_bytes(&what, size, &last_four)?;
        let tail = self.storage.get_range(&path, size - tail, tail).await?;
        pack::read_header(&what, &self.keys, pack::pack_kind(&what, &head)?, id, size, &head, &tail)
    }
}

pub(super) fn pack_error(id: PackId, text: impl Into<String>) -> Finding {
    Finding { object: format!("Pack {id}"), pack: Some(id), text: text.into(), error: true }
}

pub(super) fn blobs_by_pack(index: &Index, wanted: HashSet<PackId>) -> HashMap<PackId, Vec<IndexedBlob>> {
    let mut out: HashMap<PackId, Vec<IndexedBlob>> = HashMap::new();
    let mut seen = HashSet::new();
    for (pack, blob) in index.blobs() {
        if wanted.contains(&pack.id) && seen.insert((pack.id, blob.offset)) {
            out.entry(pack.id).or_default().push(blob);
        }
    }
    out
}
