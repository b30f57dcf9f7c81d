//! Export into a folder, by many hands at once ([`crate::ops::files`]). What is there already and the same is left alone, so
//! that an export that was stopped goes on where it was.

use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures::StreamExt as _;
use tokio::io::AsyncReadExt as _;

use super::walk::{Found, Losses, Source, walk};
use super::{ExportOptions, ExportReport, Tally, Target, Told, modified};
use crate::error::{Error, Result};
use crate::format::record::{ItemKind, Record};
use crate::monitor::Counter;
use crate::ops::backup::Stop;
use crate::ops::files::{FileMaker, Made, NewFile, PoolLimits, Tell};
use crate::ops::read;
use crate::ops::view::{Place, View};
use crate::repo::ByteStream;

/// Items looked for on the disk at once.
const LOOKED_FOR_AT_ONCE: usize = 512;

/// What is told of an item that only names another.
pub(super) const SHORTCUT: &str = "a shortcut into another drive: it is kept as a reference, there are no contents";

pub(super) async fn export(
    view: &View,
    place: &Place,
    target: &Path,
    options: ExportOptions,
    told: Told<'_>,
    stop: &Stop,
) -> Result<ExportReport> {
    make_folder(target).await?;
    let files = FileMaker::new(view.repository().clone(), target, PoolLimits::default(), stop.clone());
    let (view, root) = (view.clone(), target.to_owned());
    let mut disk = Disk { view: view.clone(), root, files, options, waiting: Vec::new(), told };
    let walked = match walk(&view, place, options.mail, &mut disk, stop).await {
        Ok(()) => disk.look().await,
        Err(e) => Err(e),
    };
    let Disk { files, mut told, .. } = disk;
    let mut tell = |known: Known, made| known.tell(&mut told, made);
    // Whatever ended the walk, files under way are finished, or taken away by what ends them.
    let finished = if walked.is_ok() { files.finish(&mut tell).await } else { files.abandon(&mut tell).await };
    walked.and(finished)?;
    Ok(told.report)
}

/// What a file is known by while it is made.
struct Known {
    path: String,
    losses: Losses,
}

impl Known {
    fn tell(self, told: &mut Told<'_>, made: Made) -> Result<()> {
        for (path, text) in std::mem::take(&mut *self.losses.lock().unwrap_or_else(PoisonError::into_inner)) {
            told.report.damaged += 1;
            told.problem(path, text);
        }
        told.tell(self.path, made)
    }
}

/// What is known of an item before its contents are read.
enum Looked {
    New(Box<NewFile>),
    /// A file of its name and length is there; only its bytes can tell.
    Alike(Box<NewFile>),
    /// Its bytes are made; is a file of its name there?
    Made(Box<Found>, bool),
    There,
    Problem(String),
}

struct Disk<'a> {
    view: View,
    root: PathBuf,
    files: FileMaker<Known>,
    options: ExportOptions,
    /// Files that are to be looked for on the disk.
    waiting: Vec<Found>,
    told: Told<'a>,
}

#[async_trait]
impl Target for Disk<'_> {
    async fn folder(&mut self, at: &Path) -> Result<()> {
        make_folder(&self.root.join(at)).await
    }

    async fn file(&mut self, mut found: Found) -> Result<()> {
        found.at = self.root.join(&found.at);
        self.waiting.push(found);
        if self.waiting.len() >= LOOKED_FOR_AT_ONCE { self.look().await } else { Ok(()) }
    }

    fn told(&mut self) -> &mut dyn Tally {
        &mut self.told
    }
}

impl Disk<'_> {
    /// Sees which items are on the disk already, and takes the others in hand.
    async fn look(&mut self) -> Result<()> {
        let (waiting, options, view) = (std::mem::take(&mut self.waiting), self.options, self.view.clone());
        let look = move || waiting.into_iter().map(|found| look_for(found, options, &view)).collect::<Vec<_>>();
        let looked = tokio::task::spawn_blocking(look).await;
        for (looked, path) in looked.map_err(|e| Error::internal("Looking for files ended early").with_source(e))? {
            let told = &mut self.told;
            match looked {
                Looked::Made(found, is_there) => {
                    self.make(*found, is_there).await?;
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
                    let known = Known { path, losses: Losses::default() };
                    self.files.add(*file, known, &mut |known, made| known.tell(told, made)).await?;
                    continue;
                }
                Looked::There => told.report.skipped += 1,
                Looked::Problem(text) => told.problem(path, text),
            }
            told.monitor.add(Counter::Items, 1);
        }
        Ok(())
    }

    /// Takes a file in hand whose bytes are made.
    async fn make(&mut self, found: Found, is_there: bool) -> Result<()> {
        let told = &mut self.told;
        if is_there && holds(found.bytes(&self.view), &found.at).await {
            told.report.skipped += 1;
        } else if is_there && !self.options.overwrite {
            told.problem(
                found.path.clone(),
                format!("{} is there already; --overwrite replaces it", found.at.display()),
            );
        } else {
            // Told anew by this making.
            drop(found.losses());
            let losses = match &found.source {
                Source::Mbox(_, _, losses) => losses.clone(),
                Source::Entry(..) => Losses::default(),
            };
            let (bytes, modified) = (found.bytes(&self.view), found.modified());
            let known = Known { path: found.path, losses };
            let tell: Tell<'_, Known> = &mut |known, made| known.tell(told, made);
            return self.files.add_made((found.at, modified), bytes, known, tell).await;
        }
        for (path, text) in found.losses() {
            told.report.damaged += 1;
            told.problem(path, text);
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

fn look_for(found: Found, options: ExportOptions, view: &View) -> (Looked, String) {
    let (path, is_made) = (found.path.clone(), found.is_made(view));
    match found.source {
        Source::Entry(record, _) if !is_made => (look_for_stored(*record, found.at, options), path),
        _ => {
            let is_there = std::fs::symlink_metadata(&found.at).is_ok();
            (Looked::Made(Box::new(found), is_there), path)
        }
    }
}

fn look_for_stored(mut record: Record, to: PathBuf, options: ExportOptions) -> Looked {
    let stream = match read::main_stream(&record) {
        Ok(stream) => stream,
        Err(_) if record.kind == ItemKind::Shortcut => {
            return Looked::Problem(SHORTCUT.into());
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
