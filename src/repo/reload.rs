//! Loading the index: which index files count, what the cache has of them, and which are damaged.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{StreamExt, TryStreamExt};

use crate::error::{Error, ErrorKind, Result};
use crate::format::header::{FileKind, open_document, seal_document};
use crate::format::id::IndexId;
use crate::format::index::IndexFile;
use crate::repo::cache;
use crate::repo::index::{DamagedIndex, Index};
use crate::repo::repository::{DOCUMENT_FILE_LIMIT, Repository, index_path, run_blocking};
use crate::repo::table::Table;

/// Index files read at once. One that prune wrote takes some 100 MiB while it is decoded.
const READS_AT_ONCE: usize = 4;
/// How often a listing is made anew when files of it are gone before they are read: several prunes, one after another,
/// replace them.
const LISTINGS: u32 = 20;
/// How much longer is waited before each listing that is made anew.
const LONGER: Duration = Duration::from_millis(10);

/// What a reload may take from before.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Tables in memory and in the local cache.
    Tables,
    /// Nothing: every index file is read from the storage.
    Nothing,
}

impl Repository {
    /// Reads index files that are new since the index was loaded last, and drops those that went. Damaged index files
    /// are left out and noted in [`Index::damaged`].
    ///
    /// # Errors
    /// The storage's.
    pub async fn reload_index(&self) -> Result<()> {
        self.reload_index_from(Trust::Tables).await
    }

    pub(crate) async fn reload_index_from(&self, trust: Trust) -> Result<()> {
        let _one_at_a_time = self.reloading.lock().await;
        // A prune in another process may replace index files between listing and reading: list again then.
        let mut last = None;
        for time in 0..LISTINGS {
            if time > 0 {
                tokio::time::sleep(LONGER * time).await;
            }
            match self.try_reload_index(trust).await {
                Err(e) if e.kind() == ErrorKind::NotFound => last = Some(e),
                other => return other,
            }
        }
        Err(last.unwrap_or_else(|| Error::internal("The index kept changing")))
    }

    /// The index files that are in the storage. Files with foreign names are none.
    pub(crate) async fn stored_index_files(&self) -> Result<HashSet<IndexId>> {
        let entries = self.storage.list("index").await?;
        Ok(entries.iter().filter_map(|e| e.path.rsplit('/').next()?.parse().ok()).collect())
    }

    async fn try_reload_index(&self, trust: Trust) -> Result<()> {
        let present = self.stored_index_files().await?;
        let held = self.index();
        let mut tables: Vec<Arc<Table>> = match trust {
            Trust::Tables => {
                held.tables.iter().filter(|t| t.meta.covers.iter().all(|id| present.contains(id))).cloned().collect()
            }
            Trust::Nothing => Vec::new(),
        };
        if let (true, Some(cache)) = (held.tables.is_empty() && trust == Trust::Tables, &self.cache) {
            tables = cache.tables(&present).into_iter().map(Arc::new).collect();
        }
        let covered: HashSet<IndexId> = tables.iter().flat_map(|t| t.meta.covers.iter().copied()).collect();
        let mut damaged = Vec::new();
        self.read_tables(present.difference(&covered).copied().collect(), &mut tables, &mut damaged).await?;
        // An index file stands in for those that it replaces, even while they can still be seen.
        let replaced: HashSet<IndexId> = tables.iter().flat_map(|t| t.meta.replaces.iter().copied()).collect();
        let stale = |t: &Arc<Table>| t.meta.covers.iter().any(|id| replaced.contains(id));
        // A merged table may hold both kinds: read the parts that count again, apart.
        let parts = tables.iter().filter(|t| stale(t)).flat_map(|t| t.meta.covers.iter().copied());
        let parts: Vec<IndexId> = parts.filter(|id| !replaced.contains(id)).collect();
        tables.retain(|t| !stale(t));
        self.read_tables(parts, &mut tables, &mut damaged).await?;
        damaged.retain(|d| !replaced.contains(&d.id));
        if let Some(cache) = self.cache.clone() {
            tables = run_blocking(move || cache.keep(tables)).await?;
        }
        if let Ok(mut slot) = self.index.write() {
            // What this process wrote since the listing stays.
            let known: HashSet<IndexId> = held.files().chain(present).collect();
            let newer = slot.tables.iter().filter(|t| t.meta.covers.iter().all(|id| !known.contains(id))).cloned();
            tables.extend(newer.collect::<Vec<_>>());
            *slot = Arc::new(Index::new(tables, damaged));
        }
        Ok(())
    }

    async fn read_tables(
        &self,
        wanted: Vec<IndexId>,
        tables: &mut Vec<Arc<Table>>,
        damaged: &mut Vec<DamagedIndex>,
    ) -> Result<()> {
        let mut reads = futures::stream::iter(wanted)
            .map(|id| async move {
                match self.read_table(id).await {
                    Ok(table) => Ok((id, Ok(table))),
                    Err(e) if e.kind() == ErrorKind::Corrupt => Ok((id, Err(e))),
                    Err(e) => Err(e),
                }
            })
            .buffer_unordered(READS_AT_ONCE);
        while let Some((id, table)) = reads.try_next().await? {
            match table {
                Ok(table) => tables.push(Arc::new(table)),
                Err(e) => damaged.push(DamagedIndex { id, text: e.to_string() }),
            }
            if let (true, Some(cache)) = (cache::is_much(tables), self.cache.clone()) {
                let much = std::mem::take(tables);
                *tables = run_blocking(move || cache.spill(much)).await?;
            }
        }
        Ok(())
    }

    async fn read_table(&self, id: IndexId) -> Result<Table> {
        let bytes = self.storage.get(&index_path(&id), DOCUMENT_FILE_LIMIT).await?;
        let repo = self.me.upgrade().ok_or_else(|| Error::internal("The repository is closed"))?;
        run_blocking(move || Ok(Table::from_index(id, repo.decode_index_file(&id, &bytes)?))).await?
    }

    /// Adds an index file that this process has just written to the index in memory; what of it has become much goes to
    /// the local cache.
    pub(crate) async fn add_index_file(&self, id: IndexId, file: IndexFile) -> Result<()> {
        let table = run_blocking(move || Table::from_index(id, file)).await?;
        if let Ok(mut slot) = self.index.write() {
            *slot = Arc::new(slot.with(table));
        }
        // While the index is being loaded anew, that sees to it.
        let (Some(cache), Ok(_alone)) = (self.cache.clone(), self.reloading.try_lock()) else { return Ok(()) };
        let held = self.index().tables.clone();
        if !cache::is_much(&held) {
            return Ok(());
        }
        let much = held.clone();
        let kept = run_blocking(move || cache.spill(much)).await?;
        if let Ok(mut slot) = self.index.write() {
            *slot = Arc::new(slot.with_instead(&held, kept));
        }
        Ok(())
    }

    /// Refuses to go on where an index file cannot be read: what must know every blob and every mark asks first.
    ///
    /// # Errors
    /// `Corrupt`, naming the index file.
    pub(crate) fn whole_index(&self) -> Result<Arc<Index>> {
        let index = self.index();
        match index.damaged().first() {
            Some(damaged) => Err(Error::corrupt(damaged.text.clone()).with_hint(REPAIR_HINT)),
            None => Ok(index),
        }
    }

    /// Reads and decodes one index file.
    ///
    /// # Errors
    /// `Corrupt`, naming it; the storage's.
    pub async fn read_index_file(&self, id: &IndexId) -> Result<IndexFile> {
        let bytes = self.storage.get(&index_path(id), DOCUMENT_FILE_LIMIT).await?;
        self.decode_index_file(id, &bytes)
    }

    pub(super) fn decode_index_file(&self, id: &IndexId, bytes: &[u8]) -> Result<IndexFile> {
        let what = format!("Index file {id}");
        if crate::crypto::hash_buffers([bytes]) != id.0 {
            return Err(
                Error::corrupt(format!("{what} is damaged: its contents do not match its name")).with_hint(REPAIR_HINT)
            );
        }
        open_document::<IndexFile>(&what, &self.keys, FileKind::Index, bytes)?
            .check(&what)
            .map_err(|e| e.with_hint(REPAIR_HINT))
    }

    /// Stores an index file; its name is its hash.
    ///
    /// # Errors
    /// The storage's.
    pub(crate) async fn write_index_file(&self, file: &IndexFile) -> Result<IndexId> {
        let bytes = seal_document(&self.keys, FileKind::Index, file);
        let id = IndexId(crate::crypto::hash_buffers([&bytes[..]]));
        self.storage.put(&index_path(&id), vec![bytes.into()]).await?;
        Ok(id)
    }
}

const REPAIR_HINT: &str = "repair index makes it anew from the packs";
