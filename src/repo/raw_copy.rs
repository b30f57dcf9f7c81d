//! Makes a replica without any key: every file as it is, verified by its name.
//!
//! Which index files stand in for which can be read with a key only. A replica with snapshots that is given some of them,
//! and then no more for the copy is cut off, could lack what its snapshots need: so that takes a key (`mirror`). A replica
//! without snapshots needs nothing; it gets them last, when all packs and index files are there.

use std::collections::{HashMap, HashSet};

use futures::stream::{StreamExt, TryStreamExt};
use tokio::sync::Semaphore;

use crate::crypto;
use crate::error::{Error, ErrorKind, Result};
use crate::format::id::BlobId;
use crate::monitor::{Counter, Monitor};
use crate::repo::check::Finding;
use crate::repo::mirror::{MEMORY_KIB, PACKS_AT_ONCE, ROUNDS, kib};
use crate::repo::replica::{Kinship, kinship, make_replica};
use crate::repo::repository::DOCUMENT_FILE_LIMIT;
use crate::storage::Storage;

/// What was copied without a key.
#[derive(Debug, Default)]
pub struct RawCopy {
    /// Files copied, by their folder: `packs`, `index`, `snapshots`, `sets`, `runs`.
    pub files: HashMap<&'static str, usize>,
    /// Bytes of packs.
    pub bytes: u64,
    /// Files of the source that are not as their names say. Snapshots are not copied then.
    pub findings: Vec<Finding>,
}

/// What became of a file.
enum Outcome {
    Copied(u64),
    /// Deleted since it was listed.
    Gone,
    Damaged(Finding),
}

/// Copies a repository to an empty place, or goes on with that, without a key. Also brings a replica new snapshots, if it
/// has all index files. What the source's index lists and its packs lack cannot be noticed without a key.
///
/// # Errors
/// As [`kinship`]; `InvalidInput` for a replica that only a mirror with a key can bring up to date; the storages'.
pub async fn copy_without_key(
    from: &dyn Storage,
    to: &dyn Storage,
    dry_run: bool,
    monitor: &dyn Monitor,
) -> Result<RawCopy> {
    if kinship(from, to).await? != Kinship::Replica && !dry_run {
        make_replica(from, to).await?;
    }
    let mut copy =
        Copy { from, to, dry_run, monitor, room: Semaphore::new(MEMORY_KIB as usize), report: RawCopy::default() };
    for _ in 0..ROUNDS {
        // Runs before snapshots, these before the index, the index before packs: what the one names is in the next listing.
        let runs = files(from, "runs").await?;
        let snapshots = files(from, "snapshots").await?;
        let (sets, index) = (files(from, "sets").await?, files(from, "index").await?);
        let new_index = !files(to, "index").await?.keys().collect::<HashSet<_>>().is_superset(&index.keys().collect());
        if new_index && !files(to, "snapshots").await?.is_empty() {
            let text = format!(
                "{} has snapshots and lacks index files, which cannot be told apart without a key",
                to.describe()
            );
            return Err(Error::invalid(text).with_hint("mirror with a key: that of any slot, also a write-only one"));
        }
        let packs = files(from, "packs").await?;
        // A prune that deleted some wrote other index files first.
        if !(copy.all("packs", packs).await? && copy.all("index", index).await?) {
            continue;
        }
        if copy.report.findings.is_empty() {
            copy.all("snapshots", snapshots).await?;
            copy.all("sets", sets).await?;
            copy.all("runs", runs).await?;
        }
        return Ok(copy.report);
    }
    Err(Error::new(ErrorKind::Unavailable, "Other programs kept changing the source")
        .with_hint("run it again when prune and repair are done"))
}

/// The files of a folder that are named by a hash, with their sizes.
async fn files(storage: &dyn Storage, folder: &'static str) -> Result<HashMap<String, u64>> {
    let named = |path: &str| path.rsplit('/').next().is_some_and(|name| name.parse::<BlobId>().is_ok());
    let entries = storage.list(folder).await?;
    Ok(entries.into_iter().filter(|e| named(&e.path)).map(|e| (e.path, e.size_bytes)).collect())
}

struct Copy<'a> {
    from: &'a dyn Storage,
    to: &'a dyn Storage,
    dry_run: bool,
    monitor: &'a dyn Monitor,
    room: Semaphore,
    report: RawCopy,
}

impl Copy<'_> {
    /// Copies the files of a folder that the replica lacks; says whether none of them went away.
    async fn all(&mut self, folder: &'static str, mut wanted: HashMap<String, u64>) -> Result<bool> {
        let there = files(self.to, folder).await?;
        wanted.retain(|path, size| there.get(path) != Some(size));
        let total: u64 = wanted.values().sum();
        self.monitor.phase(&format!("Copying {folder}"));
        self.monitor.add(Counter::BytesTotal, i64::try_from(total).unwrap_or(i64::MAX));
        let this = &*self;
        let copies = futures::stream::iter(&wanted);
        let copies = copies.map(|(path, size)| this.one(path, *size, there.contains_key(path)));
        let copies: Vec<Outcome> = copies.buffer_unordered(PACKS_AT_ONCE).try_collect().await?;
        let mut none_went = true;
        for outcome in copies {
            match outcome {
                Outcome::Copied(bytes) => {
                    *self.report.files.entry(folder).or_default() += 1;
                    self.report.bytes += if folder == "packs" { bytes } else { 0 };
                }
                // A snapshot that was forgotten meanwhile is no reason to begin again.
                Outcome::Gone => none_went = false,
                Outcome::Damaged(finding) => self.report.findings.push(finding),
            }
        }
        Ok(none_went)
    }

    async fn one(&self, path: &str, size: u64, broken: bool) -> Result<Outcome> {
        let permit = self.room.acquire_many(kib(size)).await;
        let _room = permit.map_err(|e| Error::internal("Semaphore is closed").with_source(e))?;
        if self.dry_run {
            return Ok(Outcome::Copied(size));
        }
        let limit = size.max(if path.starts_with("packs/") { 0 } else { DOCUMENT_FILE_LIMIT });
        let damaged =
            |text: String| Outcome::Damaged(Finding { object: path.to_owned(), pack: None, text, error: true });
        let bytes = match self.from.get(path, limit).await {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Outcome::Gone),
            Err(e) if e.kind() == ErrorKind::Corrupt => return Ok(damaged(format!("cannot be copied: {e}"))),
            Err(e) => return Err(e),
        };
        let sent = bytes.len() as u64;
        self.monitor.add(Counter::BytesRead, i64::try_from(sent).unwrap_or(i64::MAX));
        let name = path.rsplit('/').next().unwrap_or_default();
        if BlobId(crypto::hash_buffers([&bytes[..]])).to_string() != name {
            return Ok(damaged("is damaged: its contents do not match its name".to_owned()));
        }
        if broken {
            self.to.delete(path).await?;
        }
        match self.to.put(path, vec![bytes]).await {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            other => other?,
        }
        self.monitor.add(Counter::BytesStored, i64::try_from(sent).unwrap_or(i64::MAX));
        Ok(Outcome::Copied(sent))
    }
}
