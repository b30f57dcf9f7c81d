//! The local cache: index tables and tree packs, in a folder outside the repository. Safe to delete at any time.

use std::collections::HashSet;
use std::fs::{DirEntry, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::crypto;
use crate::error::{Error, Result};
use crate::format::id::{IndexId, PackId, RepoId};
use crate::repo::merge;
use crate::repo::sealed;
use crate::repo::table::Table;
use crate::storage::read_exact_at;

/// A table stays as it is while it is more than so many times as large as all smaller ones together; otherwise they are
/// merged. So there are few tables, and a blob is written anew few times, however much comes after it.
const TABLE_GROWTH: u64 = 4;
/// Smaller ones together count as so large, in bytes.
const SMALL_TABLE: u64 = 1 << 20;
/// Larger tables than this are not made, in bytes: while tables are merged, the disk holds both.
const LARGEST_TABLE: u64 = 4 << 30;
/// Tables in memory are written to the cache when they have so many bytes.
const TABLES_IN_MEMORY: u64 = 24 << 20;
/// So many tables are merged even while an index is being read: each is an open file.
const MANY_TABLES: usize = 64;
/// How the names of tables end.
const TABLE: &str = "tbl";
/// How the names of files in the making begin.
const TEMPORARY: &str = "tmp-";
/// When a file in the making is nobody's any more.
const ABANDONED_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// Tree packs that are kept open.
const OPEN_PACKS: usize = 64;

type OpenPack = (PackId, Arc<File>);

/// The cache folder of one repository.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    folder: PathBuf,
    /// Tree packs that were read lately, the last one last: a node is a few KiB, and opening costs more than reading it.
    open: Arc<Mutex<Vec<OpenPack>>>,
}

impl Cache {
    /// Makes the folder if it is not there.
    ///
    /// # Errors
    /// An I/O kind.
    pub(crate) fn open(root: &Path, repo: &RepoId) -> Result<Self> {
        let folder = root.join(repo.to_string());
        for part in ["index", "packs", "documents", sealed::FOLDER] {
            let path = folder.join(part);
            std::fs::create_dir_all(&path).map_err(|e| {
                Error::io(format!("Cache folder {} cannot be made", path.display()), e)
                    .with_hint("choose another with --cache-dir, or --no-cache")
            })?;
        }
        Ok(Self { folder, open: Arc::default() })
    }

    /// Where it is.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Opens the tables that cover only index files in `present`, none covering the same. Broken ones are removed.
    pub(crate) fn tables(&self, present: &HashSet<IndexId>) -> Vec<Table> {
        let mut found: Vec<Table> = Vec::new();
        for entry in self.entries("index") {
            let path = entry.path();
            if path.extension().is_none_or(|e| e != TABLE) {
                continue;
            }
            match Table::open(&path) {
                Ok(table) if table.meta.covers.iter().all(|id| present.contains(id)) => found.push(table),
                // Made by a process that sees another state: its own business. What is left over, `keep` sweeps.
                Ok(_) => {}
                Err(_) => drop(std::fs::remove_file(&path)),
            }
        }
        found.sort_by_key(|table| std::cmp::Reverse(table.meta.covers.len()));
        let mut covered = HashSet::new();
        found.retain(|table| {
            let new = !table.meta.covers.iter().any(|id| covered.contains(id));
            if new {
                covered.extend(table.meta.covers.iter().copied());
            }
            new
        });
        found
    }

    /// Keeps the tables that are not in the cache yet, and merges those that have become many. Tables that cover nothing
    /// else than these do are removed. What cannot be written stays in memory.
    pub(crate) fn keep(&self, tables: Vec<Arc<Table>>) -> Vec<Arc<Table>> {
        if tables.iter().all(|t| t.is_kept()) && mergeable(&by_size(&tables)) < 2 {
            return tables;
        }
        let kept = self.write_new(self.merge(tables));
        self.sweep_tables(&kept);
        kept
    }

    /// Writes the tables in memory to the cache when they have become large, so that memory does not grow with the index.
    pub(crate) fn spill(&self, tables: Vec<Arc<Table>>) -> Vec<Arc<Table>> {
        if !is_much(&tables) {
            return tables;
        }
        let tables = self.write_new(tables);
        if tables.len() < MANY_TABLES { tables } else { self.merge(tables) }
    }

    /// Writes the tables in memory to the cache, all as one.
    fn write_new(&self, tables: Vec<Arc<Table>>) -> Vec<Arc<Table>> {
        let (mut kept, new): (Vec<_>, Vec<_>) = tables.into_iter().partition(|t| t.is_kept());
        match self.write(&new) {
            Ok(Some(written)) => kept.push(Arc::new(written)),
            _ => kept.extend(new),
        }
        kept
    }

    fn merge(&self, tables: Vec<Arc<Table>>) -> Vec<Arc<Table>> {
        let mut tables = by_size(&tables);
        loop {
            let count = mergeable(&tables);
            if count < 2 {
                return tables;
            }
            let Ok(Some(merged)) = self.write(tables.get(..count).unwrap_or_default()) else { return tables };
            // At once: the disk need not hold all parts until the last merge. Who has one open keeps it.
            tables.splice(..count, [Arc::new(merged)]).for_each(|part| part.remove());
            tables = by_size(&tables);
        }
    }

    /// Removes tables that are not in use, and what killed processes left. Another process that has one open keeps it.
    fn sweep_tables(&self, used: &[Arc<Table>]) {
        let used: HashSet<String> = used.iter().map(|t| table_name(t.meta.covers.iter())).collect();
        for entry in self.entries("index") {
            let name = entry.file_name();
            let name = name.to_str().unwrap_or_default();
            let stale = !name.starts_with(TEMPORARY) && !used.contains(name.trim_end_matches(".tbl"));
            if stale || is_abandoned(&entry) {
                drop(std::fs::remove_file(entry.path()));
            }
        }
    }

    fn entries(&self, part: &str) -> impl Iterator<Item = DirEntry> + use<> {
        std::fs::read_dir(self.folder.join(part)).into_iter().flatten().flatten()
    }

    /// Writes tables as one; nothing for none.
    fn write(&self, parts: &[Arc<Table>]) -> Result<Option<Table>> {
        if parts.is_empty() {
            return Ok(None);
        }
        let parts: Vec<&Table> = parts.iter().map(|t| &**t).collect();
        let name = table_name(parts.iter().flat_map(|t| &t.meta.covers));
        let path = self.folder.join("index").join(format!("{name}.{TABLE}"));
        merge::write_merged(&parts, &self.temporary("index"), &path)?;
        Table::open(&path).map(Some)
    }

    /// A name that nobody else uses: for a file in the making.
    fn temporary(&self, part: &str) -> PathBuf {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        self.folder.join(part).join(format!("{TEMPORARY}{}-{number}", std::process::id()))
    }

    /// Keeps a file, whole or not at all. That it cannot be kept is no failure.
    fn write_file(&self, part: &str, path: &Path, bytes: &[u8]) {
        let temporary = self.temporary(part);
        if std::fs::write(&temporary, bytes).and_then(|()| std::fs::rename(&temporary, path)).is_err() {
            drop(std::fs::remove_file(&temporary));
        }
    }

    fn pack_path(&self, id: &PackId) -> PathBuf {
        self.folder.join("packs").join(id.to_string())
    }

    /// Reads a stretch of a cached tree pack; `None` when it is not (wholly) there.
    pub(crate) fn read_pack(&self, id: &PackId, offset: u64, length: usize) -> Option<Vec<u8>> {
        let file = self.open_pack(id)?;
        let mut out = vec![0; length];
        read_exact_at(&file, &mut out, offset).ok()?;
        Some(out)
    }

    /// Reads a cached tree pack whole; `None` when it is not there or not as its name says.
    pub(crate) fn read_whole_pack(&self, id: &PackId) -> Option<Vec<u8>> {
        let bytes = std::fs::read(self.pack_path(id)).ok()?;
        (crypto::hash_buffers([&bytes[..]]) == id.0).then_some(bytes)
    }

    fn open_pack(&self, id: &PackId) -> Option<Arc<File>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let known = open.iter().position(|(known, _)| known == id).map(|at| open.remove(at));
        let (id, file) = match known {
            Some(known) => known,
            None => (*id, Arc::new(File::open(self.pack_path(id)).ok()?)),
        };
        if open.len() >= OPEN_PACKS {
            open.remove(0);
        }
        open.push((id, file.clone()));
        Some(file)
    }

    fn close_pack(&self, id: &PackId) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).retain(|(open, _)| open != id);
    }

    /// Says whether a tree pack is there.
    pub(crate) fn has_pack(&self, id: &PackId) -> bool {
        let is_open = || self.open.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|(open, _)| open == id);
        is_open() || self.pack_path(id).exists()
    }

    /// Keeps a tree pack. That it cannot be kept is no failure.
    pub(crate) fn write_pack(&self, id: &PackId, bytes: &[u8]) {
        self.write_file("packs", &self.pack_path(id), bytes);
    }

    /// Removes a tree pack.
    pub(crate) fn remove_pack(&self, id: &PackId) {
        self.close_pack(id);
        drop(std::fs::remove_file(self.pack_path(id)));
    }

    /// Reads a note that was kept beside the cache.
    pub(crate) fn read_note(&self, name: &str) -> Option<Vec<u8>> {
        std::fs::read(self.folder.join(name)).ok()
    }

    /// Keeps a note. That it cannot be kept is no failure.
    pub(crate) fn write_note(&self, name: &str, bytes: &[u8]) {
        self.write_file("documents", &self.folder.join(name), bytes);
    }

    /// Lets no other process change notes until the file is dropped; `None`: this disk has no locks.
    pub(crate) fn lock_notes(&self) -> Option<std::fs::File> {
        let file = std::fs::File::create(self.folder.join("notes.lock")).ok()?;
        file.lock().ok().map(|()| file)
    }

    /// Reads a cached document.
    pub(crate) fn read_document(&self, name: &str) -> Option<Vec<u8>> {
        std::fs::read(self.folder.join("documents").join(name)).ok()
    }

    /// Keeps a document. That it cannot be kept is no failure.
    pub(crate) fn write_document(&self, name: &str, bytes: &[u8]) {
        self.write_file("documents", &self.folder.join("documents").join(name), bytes);
    }

    /// Removes a document.
    pub(crate) fn remove_document(&self, name: &str) {
        drop(std::fs::remove_file(self.folder.join("documents").join(name)));
    }

    /// Removes the tree packs that the index no longer lists.
    pub(crate) fn sweep_packs(&self, listed: &HashSet<PackId>) {
        for entry in self.entries("packs") {
            let name = entry.file_name();
            let id = name.to_str().and_then(|n| n.parse().ok());
            if id.is_some_and(|id| !listed.contains(&id)) || is_abandoned(&entry) {
                id.iter().for_each(|id| self.close_pack(id));
                drop(std::fs::remove_file(entry.path()));
            }
        }
    }
}

/// The tables, the smallest first.
fn by_size(tables: &[Arc<Table>]) -> Vec<Arc<Table>> {
    let mut tables = tables.to_vec();
    tables.sort_by_key(|t| t.len());
    tables
}

/// How many of these tables, which come by size, are to become one.
fn mergeable(tables: &[Arc<Table>]) -> usize {
    let mut together = 0;
    let fits = |table: &&Arc<Table>| {
        let size = table.len();
        let is_near = size <= TABLE_GROWTH * together.max(SMALL_TABLE);
        let joins = together == 0 || (is_near && together + size <= LARGEST_TABLE);
        together += size;
        joins
    };
    tables.iter().take_while(fits).count()
}

/// Says whether the tables in memory have many bytes.
pub(crate) fn is_much(tables: &[Arc<Table>]) -> bool {
    tables.iter().filter(|t| !t.is_kept()).map(|t| t.len()).sum::<u64>() > TABLES_IN_MEMORY
}

fn table_name<'a>(covers: impl Iterator<Item = &'a IndexId>) -> String {
    IndexId(crypto::hash_buffers(covers.map(|id| &id.0[..]))).to_string()
}

/// Says whether a file in the making is so old that its process must have ended.
fn is_abandoned(entry: &DirEntry) -> bool {
    let old = || entry.metadata().ok()?.modified().ok()?.elapsed().ok().map(|age| age > ABANDONED_AFTER);
    entry.file_name().to_str().is_some_and(|n| n.starts_with(TEMPORARY)) && old() == Some(true)
}

#[cfg(test)]
mod tests;
