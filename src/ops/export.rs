//! Export: items of a snapshot as files on a disk. Messages as `.eml`, files as files, with their times.
//!
//! Nothing is written outside the target folder, whatever the tenant's names say; a file appears under its name only
//! when it is whole; nothing that is there already is overwritten unless that is asked for.

use std::fs::FileTimes;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::stream::StreamExt;
use tokio::task::JoinSet;

use crate::error::{Error, Result};
use crate::format::record::{ItemKind, Record, Stream};
use crate::monitor::{Counter, Monitor};
use crate::ops::backup::Stop;
use crate::ops::names::FolderNames;
use crate::ops::read;
use crate::ops::view::{Entry, Place, View};
use crate::repo::Repository;

/// Files written at once.
const FILES_AT_ONCE: usize = 4;
/// The longest contents that are compared with a file, where no time tells whether it is the same.
const COMPARED_BYTES: u64 = 16 << 20;

/// How to export.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExportOptions {
    /// Replace files that are there already with other contents.
    pub overwrite: bool,
}

/// What export did.
#[derive(Debug, Clone, Default)]
pub struct ExportReport {
    /// Files written.
    pub files: u64,
    /// Folders made.
    pub folders: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Files that were there already, the same size.
    pub skipped: u64,
    /// Files whose contents are lost or damaged; they are problems too.
    pub damaged: u64,
    /// What could not be written: path and reason.
    pub problems: Vec<(String, String)>,
}

/// Writes what lies at a place, and below it, into a folder.
///
/// # Errors
/// What ends the export as a whole: the target disk, the repository's storage. An item without contents is a problem in the report.
pub async fn export(
    view: &View,
    place: &Place,
    target: &Path,
    options: ExportOptions,
    monitor: &dyn Monitor,
    stop: &Stop,
) -> Result<ExportReport> {
    make_folder(target).await?;
    let mut exporter = Exporter {
        repo: view.repository().clone(),
        options,
        monitor,
        running: JoinSet::new(),
        report: ExportReport::default(),
    };
    let walked = exporter.walk(view, place, target, stop).await;
    // Whatever ended the walk, files under way are finished, or taken away by what ends them.
    let finished = exporter.finish().await;
    walked?;
    finished
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") }
}

enum Written {
    File(u64),
    Skipped,
    Problem(String, String),
    Damaged(String, String),
}

struct Exporter<'a> {
    repo: Arc<Repository>,
    options: ExportOptions,
    monitor: &'a dyn Monitor,
    /// Files being written: tasks, which go on while the next folder is listed.
    running: JoinSet<Result<Written>>,
    report: ExportReport,
}

impl Exporter<'_> {
    /// Goes through what lies at a place and below it. A folder's names are given out before what lies in it, so that
    /// the same snapshot always gives the same names.
    async fn walk(&mut self, view: &View, place: &Place, target: &Path, stop: &Stop) -> Result<()> {
        if let Place::Item(_, record, path) = place
            && !record.kind.is_container()
        {
            let name = FolderNames::new().allocate(path.rsplit('/').next().unwrap_or_default());
            return self.file((**record).clone(), target.join(name), path.clone()).await;
        }
        let mut open: Vec<(Place, PathBuf, String)> = vec![(place.clone(), target.to_owned(), place.path().to_owned())];
        while let Some((place, folder, path)) = open.pop() {
            stop.check()?;
            let mut entries: Vec<Entry> = Vec::new();
            let mut collect = |entry| {
                entries.push(entry);
                Ok(())
            };
            view.list(&place, &mut collect).await?;
            self.monitor.add(Counter::ItemsTotal, entries.len() as i64);
            let mut names = FolderNames::new();
            for entry in entries {
                stop.check()?;
                let name = names.allocate(&entry.name);
                let (to, item_path) = (folder.join(&name), join(&path, &entry.name));
                if entry.is_container() {
                    make_folder(&to).await?;
                    self.report.folders += 1;
                    self.monitor.add(Counter::Items, 1);
                    open.push((entry.place(&path), to, item_path));
                } else if let Some(record) = entry.record {
                    self.file(record, to, item_path).await?;
                }
            }
        }
        Ok(())
    }

    async fn file(&mut self, record: Record, to: PathBuf, path: String) -> Result<()> {
        while self.running.len() >= FILES_AT_ONCE {
            self.take_one().await?;
        }
        let (repo, options) = (self.repo.clone(), self.options);
        self.running.spawn(async move { write_item(&repo, &record, &to, path, options).await });
        Ok(())
    }

    async fn take_one(&mut self) -> Result<()> {
        let Some(done) = self.running.join_next().await else { return Ok(()) };
        match done.map_err(|e| Error::internal("Writing a file ended early").with_source(e))?? {
            Written::File(bytes) => {
                self.report.files += 1;
                self.report.bytes += bytes;
                self.monitor.add(Counter::BytesRead, bytes as i64);
            }
            Written::Skipped => self.report.skipped += 1,
            Written::Problem(path, text) => self.problem(path, text),
            Written::Damaged(path, text) => {
                self.report.damaged += 1;
                self.problem(path, text);
            }
        }
        self.monitor.add(Counter::Items, 1);
        Ok(())
    }

    fn problem(&mut self, path: String, text: String) {
        self.monitor.problem(&path, &text);
        self.report.problems.push((path, text));
    }

    /// Waits for the files under way; the first error counts.
    async fn finish(mut self) -> Result<ExportReport> {
        let mut failed = None;
        while !self.running.is_empty() {
            if let Err(e) = self.take_one().await {
                failed = failed.or(Some(e));
            }
        }
        failed.map_or(Ok(self.report), Err)
    }
}

async fn make_folder(path: &Path) -> Result<()> {
    tokio::fs::create_dir_all(path).await.map_err(|e| {
        let in_the_way = path.ancestors().find(|p| p.exists()).filter(|p| !p.is_dir());
        let hint = in_the_way.map(|p| format!("{} is a file: name a folder", p.display()));
        let e = Error::io(format!("Folder {} cannot be made", path.display()), e);
        match hint {
            Some(hint) => e.with_hint(hint),
            None => e,
        }
    })
}

async fn write_item(
    repo: &Arc<Repository>,
    record: &Record,
    to: &Path,
    path: String,
    options: ExportOptions,
) -> Result<Written> {
    let stream = match read::main_stream(record) {
        Ok(stream) => stream,
        Err(e) if record.kind == ItemKind::Shortcut => {
            drop(e);
            return Ok(Written::Problem(
                path,
                "a shortcut into another drive: it is kept as a reference, there are no contents".into(),
            ));
        }
        Err(e) => return Ok(Written::Problem(path, e.to_string())),
    };
    if let Ok(there) = tokio::fs::symlink_metadata(to).await {
        if there.is_file() && there.len() == stream.size_bytes && is_same(repo, &there, to, record, stream).await {
            return Ok(Written::Skipped);
        }
        if !options.overwrite {
            return Ok(Written::Problem(path, format!("{} is there already; --overwrite replaces it", to.display())));
        }
    }
    match write_file(repo, stream, record, to).await {
        Ok(bytes) => Ok(Written::File(bytes)),
        Err(e) if e.is_loss() => Ok(Written::Damaged(path, e.chain())),
        Err(e) => Err(e),
    }
}

async fn write_file(
    repo: &Arc<Repository>,
    of: &crate::format::record::Stream,
    record: &Record,
    to: &Path,
) -> Result<u64> {
    use tokio::io::AsyncWriteExt;
    let failed = |e| {
        let text = format!("{} cannot be written", to.display());
        Error::io(text, e).with_hint("make room or choose another folder, then export again: what is whole is skipped")
    };
    let temporary = temporary_name(to);
    let mut file = tokio::fs::File::create(&temporary).await.map_err(failed)?;
    let mut stream = read::read_stream(repo, of);
    let mut total = 0u64;
    let copied = async {
        while let Some(bytes) = stream.next().await {
            let bytes = bytes?;
            total += bytes.len() as u64;
            file.write_all(&bytes).await.map_err(failed)?;
        }
        file.flush().await.map_err(failed)?;
        if total != of.size_bytes {
            return Err(Error::corrupt(format!("{} bytes were expected and {total} came", of.size_bytes)));
        }
        Ok(())
    }
    .await;
    let file = file.into_std().await;
    if let Err(e) = copied {
        drop(tokio::fs::remove_file(&temporary).await);
        return Err(e);
    }
    // Times are a courtesy: a disk that does not keep them still gets the contents.
    drop(file.set_times(times(record)));
    drop(file);
    tokio::fs::rename(&temporary, to).await.map_err(failed)?;
    Ok(total)
}

/// A name beside the target that no item can have: safe names never begin with a dot and end in `.part`.
fn temporary_name(to: &Path) -> PathBuf {
    let name = to.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let short = crate::format::id::PackId(crate::crypto::hash_buffers([name.as_bytes()])).short();
    to.with_file_name(format!(".tenantvault-{short}.part"))
}

fn system_time(us: i64) -> Option<SystemTime> {
    let micros = Duration::from_micros(us.unsigned_abs());
    if us >= 0 { SystemTime::UNIX_EPOCH.checked_add(micros) } else { SystemTime::UNIX_EPOCH.checked_sub(micros) }
}

/// The time that a file of the item gets: a message's reception, a file's last change.
fn modified(record: &Record) -> Option<SystemTime> {
    record.sort_us.or(record.modified_us).and_then(system_time)
}

fn times(record: &Record) -> FileTimes {
    let times = FileTimes::new();
    match modified(record) {
        Some(time) => times.set_modified(time).set_accessed(time),
        None => times,
    }
}

/// Says whether a file of the right length is what would be written: by its time, or, where the item has none, by its bytes.
async fn is_same(
    repo: &Arc<Repository>,
    there: &std::fs::Metadata,
    to: &Path,
    record: &Record,
    stream: &Stream,
) -> bool {
    if modified(record).is_some() {
        return times_match(there, record);
    }
    let Ok(bytes) = read::read_whole(repo, stream, COMPARED_BYTES).await else { return false };
    tokio::fs::read(to).await.is_ok_and(|file| file == bytes)
}

fn times_match(there: &std::fs::Metadata, record: &Record) -> bool {
    match (there.modified().ok(), modified(record)) {
        (Some(a), Some(b)) => {
            a.duration_since(b).or_else(|_| b.duration_since(a)).is_ok_and(|d| d < Duration::from_secs(2))
        }
        _ => false,
    }
}
