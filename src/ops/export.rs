//! Export: items of a snapshot as files on a disk. Messages as `.eml`, files as files, with their times.
//!
//! Nothing is written outside the target folder, whatever the tenant's names say; a file appears under its name only
//! when it is whole; nothing that is there already is overwritten unless that is asked for.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::error::{Error, Result};
use crate::format::record::{ItemKind, Record, Stream};
use crate::monitor::{Counter, Monitor};
use crate::ops::backup::Stop;
use crate::ops::files::{FileMaker, Made, NewFile, PoolLimits};
use crate::ops::names::FolderNames;
use crate::ops::read;
use crate::ops::view::{Entry, Place, View};
use crate::repo::Repository;

/// Items looked for on the disk at once.
const LOOKED_FOR_AT_ONCE: usize = 512;

/// The longest stream that is compared with a file byte by byte.
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
    let repo = view.repository().clone();
    let files = FileMaker::new(repo.clone(), target, PoolLimits::default(), stop.clone());
    let mut exporter =
        Exporter { repo, files, options, waiting: Vec::new(), told: Told { monitor, report: ExportReport::default() } };
    let walked = exporter.walk(view, place, target, stop).await;
    let Exporter { files, mut told, .. } = exporter;
    let mut tell = |path, made| told.tell(path, made);
    // Whatever ended the walk, files under way are finished, or taken away by what ends them.
    let finished = if walked.is_ok() { files.finish(&mut tell).await } else { files.abandon(&mut tell).await };
    walked.and(finished)?;
    Ok(told.report)
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") }
}

/// What is known of an item before its contents are read.
enum Looked {
    New(Box<NewFile>),
    /// A file of its name and length is there; only its bytes can tell.
    Alike(Box<NewFile>),
    There,
    Problem(String),
}

/// Keeps the count.
struct Told<'a> {
    monitor: &'a dyn Monitor,
    report: ExportReport,
}

impl Told<'_> {
    // One shape with what it is called through.
    #[allow(clippy::unnecessary_wraps)]
    fn tell(&mut self, path: String, made: Made) -> Result<()> {
        match made {
            Made::Whole(bytes) => {
                self.report.files += 1;
                self.report.bytes += bytes;
                self.monitor.add(Counter::BytesRead, bytes as i64);
            }
            Made::Lost(e) => {
                self.report.damaged += 1;
                self.problem(path, e.chain());
            }
        }
        self.monitor.add(Counter::Items, 1);
        Ok(())
    }

    fn problem(&mut self, path: String, text: String) {
        self.monitor.problem(&path, &text);
        self.report.problems.push((path, text));
    }
}

struct Exporter<'a> {
    repo: Arc<Repository>,
    files: FileMaker<String>,
    options: ExportOptions,
    /// Items that are to be looked for on the disk, with their paths there and in the snapshot.
    waiting: Vec<(Record, PathBuf, String)>,
    told: Told<'a>,
}

impl Exporter<'_> {
    /// Goes through what lies at a place and below it. A folder's names are given out before what lies in it, so that
    /// the same snapshot always gives the same names.
    async fn walk(&mut self, view: &View, place: &Place, target: &Path, stop: &Stop) -> Result<()> {
        if let Place::Item(_, record, path) = place
            && !record.kind.is_container()
        {
            let name = FolderNames::new().allocate(path.rsplit('/').next().unwrap_or_default());
            self.waiting.push(((**record).clone(), target.join(name), path.clone()));
            return self.look().await;
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
            self.told.monitor.add(Counter::ItemsTotal, entries.len() as i64);
            let mut names = FolderNames::new();
            for entry in entries {
                stop.check()?;
                let name = names.allocate(&entry.name);
                let (to, item_path) = (folder.join(&name), join(&path, &entry.name));
                if entry.is_container() {
                    make_folder(&to).await?;
                    self.told.report.folders += 1;
                    self.told.monitor.add(Counter::Items, 1);
                    open.push((entry.place(&path), to, item_path));
                } else if let Some(record) = entry.record {
                    self.waiting.push((record, to, item_path));
                    if self.waiting.len() >= LOOKED_FOR_AT_ONCE {
                        self.look().await?;
                    }
                }
            }
        }
        self.look().await
    }

    /// Sees which items are on the disk already, and takes the others in hand.
    async fn look(&mut self) -> Result<()> {
        let (waiting, options) = (std::mem::take(&mut self.waiting), self.options);
        let look = move || {
            let looked = |(record, to, path): (Record, PathBuf, String)| (look_for(record, to, options), path);
            waiting.into_iter().map(looked).collect::<Vec<_>>()
        };
        let looked = tokio::task::spawn_blocking(look).await;
        for (looked, path) in looked.map_err(|e| Error::internal("Looking for files ended early").with_source(e))? {
            let told = &mut self.told;
            match looked {
                Looked::Alike(file) if holds(&self.repo, &file.contents, &file.path).await => told.report.skipped += 1,
                Looked::Alike(file) if !self.options.overwrite => {
                    let text = format!("{} is there already; --overwrite replaces it", file.path.display());
                    told.problem(path, text);
                }
                Looked::New(file) | Looked::Alike(file) => {
                    self.files.add(*file, path, &mut |path, made| told.tell(path, made)).await?;
                    continue;
                }
                Looked::There => told.report.skipped += 1,
                Looked::Problem(text) => told.problem(path, text),
            }
            told.monitor.add(Counter::Items, 1);
        }
        Ok(())
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

fn look_for(mut record: Record, to: PathBuf, options: ExportOptions) -> Looked {
    let stream = match read::main_stream(&record) {
        Ok(stream) => stream,
        Err(_) if record.kind == ItemKind::Shortcut => {
            let text = "a shortcut into another drive: it is kept as a reference, there are no contents";
            return Looked::Problem(text.into());
        }
        Err(e) => return Looked::Problem(e.to_string()),
    };
    let mut is_same = false;
    if let Ok(there) = std::fs::symlink_metadata(&to) {
        if there.is_file() && there.len() == stream.size_bytes {
            if modified(&record).is_some_and(|time| times_match(&there, time)) {
                return Looked::There;
            }
            // Some items have no time, and some a time that the disk does not keep.
            is_same = true;
        }
        if !options.overwrite && !is_same {
            return Looked::Problem(format!("{} is there already; --overwrite replaces it", to.display()));
        }
    }
    let (role, modified) = (stream.role, modified(&record));
    match record.streams.iter().position(|stream| stream.role == role) {
        Some(at) => {
            let file = Box::new(NewFile { path: to, modified, contents: record.streams.swap_remove(at) });
            if is_same { Looked::Alike(file) } else { Looked::New(file) }
        }
        None => Looked::Problem("its contents are not in this snapshot".into()),
    }
}

fn system_time(us: i64) -> Option<SystemTime> {
    let micros = Duration::from_micros(us.unsigned_abs());
    if us >= 0 { SystemTime::UNIX_EPOCH.checked_add(micros) } else { SystemTime::UNIX_EPOCH.checked_sub(micros) }
}

/// The time that a file of the item gets: a message's reception, a file's last change.
fn modified(record: &Record) -> Option<SystemTime> {
    record.sort_us.or(record.modified_us).and_then(system_time)
}

fn times_match(there: &std::fs::Metadata, time: SystemTime) -> bool {
    there.modified().is_ok_and(|there| {
        there.duration_since(time).or_else(|_| time.duration_since(there)).is_ok_and(|d| d < Duration::from_secs(2))
    })
}

/// Says whether a file holds a stream's bytes.
async fn holds(repo: &Arc<Repository>, stream: &Stream, file: &Path) -> bool {
    match (read::read_whole(repo, stream, COMPARED_BYTES).await, tokio::fs::read(file).await) {
        (Ok(stored), Ok(there)) => stored == there,
        _ => false,
    }
}
