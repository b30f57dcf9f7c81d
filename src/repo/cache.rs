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
use crate::repo::table::{self, Table};
use crate::storage::read_exact_at;

/// More tables than this are merged into one, so that a look-up asks few.
const MAX_TABLES: usize = 8;
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
        for part in ["index", "packs", "documents"] {
            let path = folder.join(part);
            std::fs::create_dir_all(&path).map_err(|e| {
                Error::io(format!("Cache folder {} cannot be made", path.display()), e)
                    .with_hint("choose another with --cache-dir, or --no-cache")
            })?;
        }
        Ok(Self { folder, open: Arc::default() })
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

    /// Keeps the tables that are not in the cache yet; with too many, merges all of them into one. Tables that cover
    /// nothing else than these do are removed. What cannot be written stays in memory.
    pub(crate) fn keep(&self, tables: Vec<Arc<Table>>) -> Vec<Arc<Table>> {
        if tables.iter().all(|t| t.is_mapped()) && tables.len() <= MAX_TABLES {
            return tables;
        }
        let kept: Vec<Arc<Table>> = if tables.len() > MAX_TABLES {
            let parts: Vec<&Table> = tables.iter().map(|t| &**t).collect();
            self.write(&parts).map_or(tables, |merged| vec![Arc::new(merged)])
        } else {
            let write = |t: Arc<Table>| if t.is_mapped() { t } else { self.write(&[&t]).map_or(t, Arc::new) };
            tables.into_iter().map(write).collect()
        };
        self.sweep_tables(&kept);
        kept
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

    fn write(&self, parts: &[&Table]) -> Result<Table> {
        let name = table_name(parts.iter().flat_map(|t| &t.meta.covers));
        let path = self.folder.join("index").join(format!("{name}.{TABLE}"));
        table::write_merged(parts, &self.temporary("index"), &path)?;
        Table::open(&path)
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

fn table_name<'a>(covers: impl Iterator<Item = &'a IndexId>) -> String {
    IndexId(crypto::hash_buffers(covers.map(|id| &id.0[..]))).to_string()
}

/// Says whether a file in the making is so old that its process must have ended.
fn is_abandoned(entry: &DirEntry) -> bool {
    let old = || entry.metadata().ok()?.modified().ok()?.elapsed().ok().map(|age| age > ABANDONED_AFTER);
    entry.file_name().to_str().is_some_and(|n| n.starts_with(TEMPORARY)) && old() == Some(true)
}
