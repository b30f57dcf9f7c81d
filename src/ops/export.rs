//! Export: items of a snapshot as files on a disk. Messages as `.eml`, files as files, with their times.
//!
//! Nothing is written outside the target folder, whatever the tenant's names say; a file appears under its name only
//! when it is whole; nothing that is there already is overwritten unless that is asked for.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::io::AsyncReadExt as _;

use crate::error::{Error, Result};
use crate::format::record::{ItemKind, Record};
use crate::format::snapshot::CollectionState;
use crate::monitor::{Counter, Monitor};
use crate::ops::backup::Stop;
use crate::ops::files::{FileMaker, Made, NewFile, PoolLimits, Tell};
use crate::ops::names::FolderNames;
use crate::ops::present::{self, Face, Form, Mode};
use crate::ops::read;
use crate::ops::view::{Entry, Place, View};
use crate::repo::ByteStream;

/// Items looked for on the disk at once.
const LOOKED_FOR_AT_ONCE: usize = 512;

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
    let files = FileMaker::new(view.repository().clone(), target, PoolLimits::default(), stop.clone());
    let told = Told { monitor, report: ExportReport::default() };
    let mut exporter = Exporter { view: view.clone(), files, options, waiting: Vec::new(), told };
    let walked = exporter.walk(place, target, stop).await;
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
    /// Its bytes are made; is a file of its name there?
    Made(Box<Waiting>, bool),
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

/// An entry that is to be looked for on the disk.
struct Waiting {
    state: Arc<CollectionState>,
    record: Record,
    face: Face,
    /// The path on the disk.
    to: PathBuf,
    /// The path in the snapshot.
    path: String,
}

struct Exporter<'a> {
    view: View,
    files: FileMaker<String>,
    options: ExportOptions,
    waiting: Vec<Waiting>,
    told: Told<'a>,
}

impl Exporter<'_> {
    /// Goes through what lies at a place and below it. A folder's names are given out before what lies in it, so that
    /// the same snapshot always gives the same names.
    async fn walk(&mut self, place: &Place, target: &Path, stop: &Stop) -> Result<()> {
        if let Some((state, record, face)) = place.item().filter(|_| !place.is_container()) {
            let path = place.path().to_owned();
            let name = FolderNames::new().allocate(path.rsplit('/').next().unwrap_or_default());
            let (state, record) = (Arc::new(state.clone()), record.clone());
            self.waiting.push(Waiting { state, record, face, to: target.join(name), path });
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
            self.view.list(&place, &mut collect).await?;
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
                } else if let (Some(record), Some(state)) = (entry.record, entry.state) {
                    self.waiting.push(Waiting { state, record, face: entry.face, to, path: item_path });
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
        let (waiting, options, mode) = (std::mem::take(&mut self.waiting), self.options, self.view.mode());
        let look = move || waiting.into_iter().map(|one| look_for(one, options, mode)).collect::<Vec<_>>();
        let looked = tokio::task::spawn_blocking(look).await;
        for (looked, path) in looked.map_err(|e| Error::internal("Looking for files ended early").with_source(e))? {
            let told = &mut self.told;
            match looked {
                Looked::Made(one, is_there) => {
                    self.make(*one, is_there).await?;
                    continue;
                }
                Looked::Alike(file)
                    if holds(read::read_stream(self.view.repository(), &file.contents), &file.path).await =>
                {
                    told.report.skipped += 1;
                }
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

    /// Takes an entry in hand whose bytes are made.
    async fn make(&mut self, one: Waiting, is_there: bool) -> Result<()> {
        let Waiting { state, record, face, to, path } = one;
        let modified = modified(&record);
        let bytes = || {
            let (view, state, record) = (self.view.clone(), state.clone(), record.clone());
            stream::once(async move { present::open(&view, &state, &record, face).await }).try_flatten().boxed()
        };
        let told = &mut self.told;
        if is_there && holds(bytes(), &to).await {
            told.report.skipped += 1;
        } else if is_there && !self.options.overwrite {
            told.problem(path, format!("{} is there already; --overwrite replaces it", to.display()));
        } else {
            let tell: Tell<'_, String> = &mut |path, made| told.tell(path, made);
            return self.files.add_made((to, modified), bytes(), path, tell).await;
        }
        told.monitor.add(Counter::Items, 1);
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

fn look_for(one: Waiting, options: ExportOptions, mode: Mode) -> (Looked, String) {
    if matches!(present::form(&one.record, one.face, mode), Form::Made(_)) {
        let (path, is_there) = (one.path.clone(), std::fs::symlink_metadata(&one.to).is_ok());
        return (Looked::Made(Box::new(one), is_there), path);
    }
    (look_for_stored(one.record, one.to, options), one.path)
}

fn look_for_stored(mut record: Record, to: PathBuf, options: ExportOptions) -> Looked {
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

/// The time that a file of the item gets.
fn modified(record: &Record) -> Option<SystemTime> {
    present::time_us(record).and_then(system_time)
}

fn times_match(there: &std::fs::Metadata, time: SystemTime) -> bool {
    there.modified().is_ok_and(|there| {
        there.duration_since(time).or_else(|_| time.duration_since(there)).is_ok_and(|d| d < Duration::from_secs(2))
    })
}

/// Says whether a file holds these bytes and no more.
async fn holds(mut bytes: ByteStream, file: &Path) -> bool {
    let Ok(mut file) = tokio::fs::File::open(file).await else { return false };
    let mut there = Vec::new();
    while let Some(part) = bytes.next().await {
        let Ok(part) = part else { return false };
        there.resize(part.len(), 0);
        if file.read_exact(&mut there).await.is_err() || there != part {
            return false;
        }
    }
    matches!(file.read(&mut [0]).await, Ok(0))
}
