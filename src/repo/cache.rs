//! The local cache: index tables and tree packs, in a folder outside the repository. Safe to delete at any time.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::crypto;
use crate::error::{Error, Result};
use crate::format::id::{IndexId, PackId, RepoId};
use crate::repo::table::{self, Table};

/// More tables than this are merged into one, so that a look-up asks few.
const MAX_TABLES: usize = 8;

/// The cache folder of one repository.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    folder: PathBuf,
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
        Ok(Self { folder })
    }

    /// Opens the tables that cover only index files in `present`. Broken ones and those that cover anything
    /// else are removed.
    pub(crate) fn tables(&self, present: &HashSet<IndexId>) -> Vec<Table> {
        let mut found: Vec<(PathBuf, Table)> = Vec::new();
        for entry in std::fs::read_dir(self.folder.join("index")).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_none_or(|e| e != "tbl") {
                continue;
            }
            match Table::open(&path) {
                Ok(table) if table.meta.covers.iter().all(|id| present.contains(id)) => found.push((path, table)),
                // Tables made by a process that sees another state are its own business: only a table that
                // nobody can use goes.
                _ => drop(std::fs::remove_file(&path)),
            }
        }
        found.sort_by_key(|(_, table)| std::cmp::Reverse(table.meta.covers.len()));
        let mut covered = HashSet::new();
        let mut tables = Vec::new();
        for (path, table) in found {
            if table.meta.covers.iter().any(|id| covered.contains(id)) {
                drop(std::fs::remove_file(path));
                continue;
            }
            covered.extend(table.meta.covers.iter().copied());
            tables.push(table);
        }
        tables
    }

    /// Keeps a table; with too many, merges all of them into one. What cannot be written stays in memory.
    pub(crate) fn keep(&self, fresh: Vec<Table>, kept: Vec<Table>) -> Vec<Table> {
        let merge_all = fresh.len() + kept.len() > MAX_TABLES;
        let (old, mut tables): (Vec<Table>, Vec<Table>) =
            if merge_all { (kept, Vec::new()) } else { (Vec::new(), kept) };
        if fresh.is_empty() && !merge_all {
            return tables;
        }
        if merge_all {
            let parts: Vec<&Table> = old.iter().chain(&fresh).collect();
            match self.write(&parts) {
                Ok(merged) => tables.push(merged),
                Err(_) => tables.extend(old.into_iter().chain(fresh)),
            }
            return tables;
        }
        for table in fresh {
            let written = self.write(&[&table]);
            tables.push(written.unwrap_or(table));
        }
        tables
    }

    fn write(&self, parts: &[&Table]) -> Result<Table> {
        let covers: Vec<&[u8]> = parts.iter().flat_map(|t| &t.meta.covers).map(|id| &id.0[..]).collect();
        let name = IndexId(crypto::hash_buffers(covers)).to_string();
        let path = self.folder.join("index").join(format!("{name}.tbl"));
        table::write_merged(parts, &path)?;
        Table::open(&path)
    }

    fn pack_path(&self, id: &PackId) -> PathBuf {
        self.folder.join("packs").join(id.to_string())
    }

    /// Reads a stretch of a cached tree pack; `None` when it is not (wholly) there.
    pub(crate) fn read_pack(&self, id: &PackId, offset: u64, length: usize) -> Option<Vec<u8>> {
        use std::io::{Read, Seek, SeekFrom};
        let mut file = std::fs::File::open(self.pack_path(id)).ok()?;
        file.seek(SeekFrom::Start(offset)).ok()?;
        let mut out = vec![0; length];
        file.read_exact(&mut out).ok()?;
        Some(out)
    }

    /// Says whether a tree pack is there.
    pub(crate) fn has_pack(&self, id: &PackId) -> bool {
        self.pack_path(id).exists()
    }

    /// Keeps a tree pack. That it cannot be kept is no failure.
    pub(crate) fn write_pack(&self, id: &PackId, bytes: &[u8]) {
        let path = self.pack_path(id);
        let temporary = path.with_extension(format!("tmp{}", std::process::id()));
        if std::fs::write(&temporary, bytes).and_then(|()| std::fs::rename(&temporary, &path)).is_err() {
            drop(std::fs::remove_file(&temporary));
        }
    }

    /// Removes a tree pack.
    pub(crate) fn remove_pack(&self, id: &PackId) {
        drop(std::fs::remove_file(self.pack_path(id)));
    }

    /// Reads a cached document.
    pub(crate) fn read_document(&self, name: &str) -> Option<Vec<u8>> {
        std::fs::read(self.folder.join("documents").join(name)).ok()
    }

    /// Keeps a document. That it cannot be kept is no failure.
    pub(crate) fn write_document(&self, name: &str, bytes: &[u8]) {
        let path = self.folder.join("documents").join(name);
        let temporary = path.with_extension(format!("tmp{}", std::process::id()));
        if std::fs::write(&temporary, bytes).and_then(|()| std::fs::rename(&temporary, &path)).is_err() {
            drop(std::fs::remove_file(&temporary));
        }
    }

    /// Removes a document.
    pub(crate) fn remove_document(&self, name: &str) {
        drop(std::fs::remove_file(self.folder.join("documents").join(name)));
    }

    /// Removes the tree packs that the index no longer lists.
    pub(crate) fn sweep_packs(&self, listed: &HashSet<PackId>) {
        for entry in std::fs::read_dir(self.folder.join("packs")).into_iter().flatten().flatten() {
            let known = entry.file_name().to_str().and_then(|n| n.parse().ok()).is_some_and(|id| listed.contains(&id));
            if !known {
                drop(std::fs::remove_file(entry.path()));
            }
        }
    }
}
