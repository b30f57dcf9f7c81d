//! Healing from a replica: files that are damaged here are replaced by the replica's, under the same names.
//!
//! A file's name is the hash of its contents, so what a replica has under the name of a damaged file and is whole is that
//! file. It is read and verified before the damaged one goes.

use std::collections::HashSet;
use std::sync::Arc;

use futures::stream::StreamExt;

use crate::crypto;
use crate::error::{Error, ErrorKind, Result};
use crate::format::id::{BlobId, PackId};
use crate::monitor::{Counter, Monitor};
use crate::repo::check::Finding;
use crate::repo::documents::DocumentKind;
use crate::repo::repair::PACKS_AT_ONCE;
use crate::repo::repository::{DOCUMENT_FILE_LIMIT, Repository, index_path, run_blocking};
use crate::repo::slots::{key_path, read_slots, slot_name};

/// What became of damaged files other than packs.
#[derive(Debug, Default)]
pub struct HealedFiles {
    /// Index files, key slots, snapshots, set definitions and runs that are whole again.
    pub healed: usize,
    /// Those that the replica has not, or not whole.
    pub findings: Vec<Finding>,
}

/// Packs that are not as the index says.
#[derive(Debug, Default)]
pub struct DamagedPacks {
    /// There, and not whole.
    pub damaged: HashSet<PackId>,
    /// Listed and not there; marked ones, which prune deleted, are none of these.
    pub missing: HashSet<PackId>,
}

impl Repository {
    /// Replaces damaged index files, key slots and documents by those of a replica.
    ///
    /// # Errors
    /// The storages'.
    pub async fn heal_files(&self, replica: &Self) -> Result<HealedFiles> {
        let mut report = HealedFiles::default();
        for id in self.stored_index_files().await? {
            let (object, path) = (format!("Index file {id}"), index_path(&id));
            self.heal(replica, object, &path, id.0, "repair index makes it anew", &mut report).await?;
        }
        for (id, bytes) in read_slots(&*self.storage).await? {
            if bytes.is_err() {
                let hint = "key remove removes it";
                self.heal(replica, slot_name(&id), &key_path(&id), id.0, hint, &mut report).await?;
            }
        }
        for kind in [DocumentKind::Snapshot, DocumentKind::Set, DocumentKind::Run] {
            for name in self.list_documents(kind).await? {
                let object = format!("{} {}", kind.noun(), BlobId(name.id));
                self.heal(replica, object, &name.path(kind), name.id, "it is lost", &mut report).await?;
            }
        }
        self.reload_index().await?;
        Ok(report)
    }

    async fn heal(
        &self,
        replica: &Self,
        object: String,
        path: &str,
        hash: [u8; 32],
        otherwise: &str,
        report: &mut HealedFiles,
    ) -> Result<()> {
        match self.storage.get(path, DOCUMENT_FILE_LIMIT).await {
            Ok(bytes) if crypto::hash_buffers([&bytes[..]]) == hash => return Ok(()),
            // Deleted since it was listed.
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            Err(e) if e.kind() != ErrorKind::Corrupt => return Err(e),
            _ => {}
        }
        let whole = match replica.storage.get(path, DOCUMENT_FILE_LIMIT).await {
            Ok(bytes) if crypto::hash_buffers([&bytes[..]]) == hash => Some(bytes),
            Err(e) if !e.is_loss() => return Err(e),
            _ => None,
        };
        let Some(bytes) = whole else {
            let text = format!("is damaged, and {} has it not: {otherwise}", replica.storage.describe());
            report.findings.push(Finding { object, pack: None, text, error: true });
            return Ok(());
        };
        self.storage.delete(path).await?;
        self.storage.put(path, vec![bytes]).await?;
        report.healed += 1;
        Ok(())
    }

    /// Finds packs that are not as the index says: by names and sizes, or by every byte.
    ///
    /// # Errors
    /// The storage's.
    pub async fn damaged_packs(self: &Arc<Self>, read_data: bool, monitor: &dyn Monitor) -> Result<DamagedPacks> {
        self.reload_index().await?;
        let (index, stored) = (self.index(), self.stored_packs().await?);
        let (mut found, mut whole) = (DamagedPacks::default(), Vec::new());
        for pack in index.packs() {
            match stored.get(&pack.id) {
                Some(size) if *size == pack.size_bytes => whole.push((pack.id, pack.size_bytes)),
                Some(_) => drop(found.damaged.insert(pack.id)),
                None if index.is_marked(&pack.id) => {}
                None => drop(found.missing.insert(pack.id)),
            }
        }
        index.intact()?;
        if !read_data {
            return Ok(found);
        }
        monitor.add(Counter::ItemsTotal, whole.len() as i64);
        let read = |(id, size)| async move { (id, self.read_pack(id, size).await) };
        let mut reads = futures::stream::iter(whole).map(read).buffer_unordered(PACKS_AT_ONCE);
        while let Some((id, read)) = reads.next().await {
            monitor.add(Counter::Items, 1);
            match read {
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) if e.kind() == ErrorKind::Corrupt => drop(found.damaged.insert(id)),
                Err(e) => return Err(e),
            }
        }
        Ok(found)
    }

    /// Those of some blobs that no pack holds but these, or none at all.
    ///
    /// # Errors
    /// The storage's.
    pub async fn lacks(&self, blobs: HashSet<BlobId>, bad: HashSet<PackId>) -> Result<HashSet<BlobId>> {
        self.reload_index().await?;
        let (index, stored) = (self.index(), self.stored_packs().await?);
        let lacked = run_blocking(move || {
            let good = |id: &PackId, size: u64| stored.get(id) == Some(&size) && !bad.contains(id);
            let mut lacked = blobs;
            lacked.retain(|blob| !index.find_all(blob).any(|place| good(&place.pack.id, place.pack.size_bytes)));
            index.intact()?;
            Ok::<_, Error>(lacked)
        });
        lacked.await?
    }
}
