//! Snapshots of a repository: listing, finding by what people type, writing, deleting.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::error::{Error, ErrorKind, Result};
use crate::format::id::{SetId, SnapshotId};
use crate::format::snapshot::{RunFile, SnapshotFile};
use crate::repo::{DocumentKind, DocumentName, Repository};
use crate::snapshot::memory;
use crate::snapshot::set::SetDefinition;

/// A snapshot with its id.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The id; the file's name.
    pub id: SnapshotId,
    /// The document.
    pub file: SnapshotFile,
}

impl Snapshot {
    fn name(&self) -> DocumentName {
        DocumentName { set: Some(self.file.set), id: self.id.0 }
    }
}

/// Snapshots, and those files that should be snapshots and cannot be read.
#[derive(Debug, Default)]
pub struct Listing {
    /// By time, the oldest first.
    pub snapshots: Vec<Snapshot>,
    /// What could not be read, with the reason.
    pub broken: Vec<Broken>,
    /// When listing began, by this machine's clock: microseconds since 1970 UTC.
    pub(super) began_us: i64,
}

/// A file that should be a snapshot and cannot be read.
#[derive(Debug)]
pub struct Broken {
    /// The id; the file's name.
    pub id: SnapshotId,
    /// Why it cannot be read.
    pub error: Error,
    name: DocumentName,
}

impl Broken {
    /// What is wrong, beginning with the snapshot's name.
    pub fn text(&self) -> String {
        let (name, text) = (format!("Snapshot {}", self.id), self.error.chain());
        if text.starts_with(&name) { text } else { format!("{name} cannot be read: {text}") }
    }
}

/// Lists all snapshots.
///
/// # Errors
/// The storage's. Damaged snapshots come in [`Listing::broken`].
pub async fn list(repo: &Repository) -> Result<Listing> {
    let mut listing = Listing { began_us: memory::now_us(), ..Listing::default() };
    for name in repo.list_documents(DocumentKind::Snapshot).await? {
        let id = SnapshotId(name.id);
        match repo.get_document::<SnapshotFile>(DocumentKind::Snapshot, &name).await {
            Ok(file) if Some(file.set) == name.set => listing.snapshots.push(Snapshot { id, file }),
            Ok(_) => {
                let error = Error::corrupt(format!("Snapshot {id} lies in another set's folder"));
                listing.broken.push(Broken { id, error, name });
            }
            // Forgotten since it was listed.
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) if matches!(e.kind(), ErrorKind::Corrupt | ErrorKind::UnsupportedVersion) => {
                listing.broken.push(Broken { id, error: e, name });
            }
            Err(e) => return Err(e),
        }
    }
    listing.snapshots.sort_by_key(|s| (s.file.time_us, s.id));
    Ok(listing)
}

/// Says whether the files of all of these are there: none was forgotten.
///
/// # Errors
/// The storage's.
pub async fn are_there(repo: &Repository, ids: &[SnapshotId]) -> Result<bool> {
    let names = repo.list_documents(DocumentKind::Snapshot).await?;
    let there: HashSet<SnapshotId> = names.iter().map(|name| SnapshotId(name.id)).collect();
    Ok(ids.iter().all(|id| there.contains(id)))
}

/// Writes a snapshot, durable when it returns. All that it names must be durable already.
///
/// # Errors
/// The storage's.
pub async fn save(repo: &Repository, file: &SnapshotFile) -> Result<SnapshotId> {
    let name = repo.put_document(DocumentKind::Snapshot, Some(file.set), file).await?;
    let id = SnapshotId(name.id);
    memory::note_written(repo, &Snapshot { id, file: file.clone() });
    Ok(id)
}

/// Deletes snapshots. Their contents stay till prune.
///
/// # Errors
/// The storage's; what was deleted before stays deleted.
pub async fn delete(repo: &Repository, snapshots: &[&Snapshot]) -> Result<()> {
    for snapshot in snapshots {
        delete_named(repo, snapshot.id, &snapshot.name()).await?;
    }
    Ok(())
}

async fn delete_named(repo: &Repository, id: SnapshotId, name: &DocumentName) -> Result<()> {
    memory::note_forgetting(repo, id);
    let deleted = repo.delete_document(DocumentKind::Snapshot, name).await;
    match &deleted {
        Ok(()) => memory::note_forgotten(repo, id),
        Err(_) => memory::note_kept(repo, id),
    }
    deleted
}

/// Finds an unreadable snapshot by its id or the beginning of it; nothing if several fit.
pub fn find_broken<'a>(broken: &'a [Broken], text: &str) -> Option<&'a Broken> {
    let wanted = text.to_ascii_lowercase();
    let mut found = broken.iter().filter(|b| !wanted.is_empty() && b.id.to_string().starts_with(&wanted));
    found.next().filter(|_| found.next().is_none())
}

/// Deletes an unreadable snapshot: it is given up.
///
/// # Errors
/// The storage's.
pub async fn delete_broken(repo: &Repository, broken: &Broken) -> Result<()> {
    delete_named(repo, broken.id, &broken.name).await
}

/// Writes the facts of a run.
///
/// # Errors
/// The storage's.
pub async fn save_run(repo: &Repository, run: &RunFile) -> Result<()> {
    repo.put_document(DocumentKind::Run, Some(run.set), run).await.map(drop)
}

/// Lists the runs that can be read, the oldest first.
///
/// # Errors
/// The storage's.
pub async fn list_runs(repo: &Repository) -> Result<Vec<RunFile>> {
    let mut runs = Vec::new();
    for name in repo.list_documents(DocumentKind::Run).await? {
        match repo.get_document::<RunFile>(DocumentKind::Run, &name).await {
            Ok(run) => runs.push(run),
            Err(e) if e.is_loss() => {}
            Err(e) => return Err(e),
        }
    }
    runs.sort_by_key(|r| r.started_us);
    Ok(runs)
}

/// Keeps a set's definition in the repository, unless the same is there; older definitions of the set go.
///
/// # Errors
/// The storage's.
pub async fn save_set(repo: &Repository, set: &SetDefinition) -> Result<()> {
    let mut older = Vec::new();
    for name in repo.list_documents(DocumentKind::Set).await? {
        match read_set(repo, &name).await {
            Ok(found) if found == *set => return Ok(()),
            Ok(found) if found.name == set.name => older.push(name),
            // Written by a newer program, or damaged: not ours to remove.
            _ => {}
        }
    }
    repo.put_document(DocumentKind::Set, None, &set.encode()).await?;
    for name in older {
        match repo.delete_document(DocumentKind::Set, &name).await {
            // Where this machine may only add, whoever may delete sees to it.
            Err(e) if e.kind() == ErrorKind::Permission => {}
            other => other?,
        }
    }
    Ok(())
}

async fn read_set(repo: &Repository, name: &DocumentName) -> Result<SetDefinition> {
    SetDefinition::decode(&repo.get_document::<Vec<u8>>(DocumentKind::Set, name).await?)
}

/// The names of the sets that some definitions are of; those that cannot be read are left out.
///
/// # Errors
/// The storage's.
pub async fn named_sets(repo: &Repository, names: &HashSet<DocumentName>) -> Result<HashMap<DocumentName, String>> {
    let mut found = HashMap::new();
    for name in names {
        match read_set(repo, name).await {
            Ok(set) => drop(found.insert(*name, set.name)),
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::Corrupt | ErrorKind::UnsupportedVersion) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(found)
}

/// The set definitions that the repository keeps.
///
/// # Errors
/// The storage's.
pub async fn list_sets(repo: &Repository) -> Result<Vec<SetDefinition>> {
    let mut sets = Vec::new();
    for name in repo.list_documents(DocumentKind::Set).await? {
        match read_set(repo, &name).await {
            Ok(set) => sets.push(set),
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::Corrupt | ErrorKind::UnsupportedVersion) => {}
            Err(e) => return Err(e),
        }
    }
    sets.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(sets)
}

/// Refuses the name of a set that has no snapshot.
///
/// # Errors
/// `NotFound`, saying which sets have some.
pub fn need_set(snapshots: &[Snapshot], name: &str) -> Result<()> {
    let sets: BTreeSet<&str> = snapshots.iter().map(|s| s.file.set_name.as_str()).collect();
    if sets.contains(name) {
        return Ok(());
    }
    let sets: Vec<&str> = sets.into_iter().collect();
    let sets = if sets.is_empty() { "none".into() } else { sets.join(", ") };
    Err(Error::not_found(format!("There is no snapshot of a set named '{name}'"))
        .with_hint(format!("sets with snapshots: {sets}")))
}

/// Finds the snapshot that people mean: an id or the beginning of one, `latest`, `SET@latest`, `SET@2026-11-20`
/// (the last one of that day, by UTC). `latest` means complete snapshots first.
///
/// # Errors
/// `NotFound` or `InvalidInput`, saying what there is.
pub fn find<'a>(snapshots: &'a [Snapshot], text: &str) -> Result<&'a Snapshot> {
    let (set, when) = match text.rsplit_once('@') {
        Some((set, when)) => (Some(set), when),
        None => (None, text),
    };
    let of_set: Vec<&Snapshot> = snapshots.iter().filter(|s| set.is_none_or(|n| s.file.set_name == n)).collect();
    if let (Some(name), true) = (set, of_set.is_empty()) {
        need_set(snapshots, name)?;
    }
    let nothing =
        || Error::not_found(format!("There is no snapshot '{text}'")).with_hint("the command snapshots lists them");
    if when == "latest" {
        let complete = of_set.iter().rev().find(|s| s.file.complete);
        return complete.or(of_set.last()).copied().ok_or_else(nothing);
    }
    if let Ok(day) = when.parse::<Date>() {
        let (from, to) = day_bounds(day)?;
        return of_set.into_iter().rev().find(|s| (from..to).contains(&s.file.time_us)).ok_or_else(nothing);
    }
    if set.is_some() {
        return Err(Error::invalid(format!("'{when}' is neither 'latest' nor a day like 2026-11-20")));
    }
    by_prefix(snapshots, text)
}

fn day_bounds(day: Date) -> Result<(i64, i64)> {
    let wrong = |e: jiff::Error| Error::invalid(format!("{day} is no day that can be looked up")).with_source(e);
    let from = day.to_zoned_datetime(TimeZone::UTC).map_err(wrong)?.timestamp().as_microsecond();
    Ok((from, from + 86_400_000_000))
}

fn by_prefix<'a>(snapshots: &'a [Snapshot], text: &str) -> Result<&'a Snapshot> {
    let hex = !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit());
    let wanted = text.to_ascii_lowercase();
    let mut found = snapshots.iter().filter(|s| hex && s.id.to_string().starts_with(&wanted));
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (Some(a), Some(b)) => Err(Error::invalid(format!("'{text}' begins several snapshots' ids"))
            .with_hint(format!("give more digits: {} and {} both fit", a.id.short(), b.id.short()))),
        _ => Err(Error::not_found(format!("There is no snapshot '{text}'"))
            .with_hint("give the beginning of an id, 'latest', SET@latest or SET@2026-11-20; snapshots lists them")),
    }
}

/// The id of a set in a repository.
pub fn set_id(repo: &Arc<Repository>, name: &str) -> SetId {
    crate::snapshot::set::set_id(&repo.config().id, name)
}
