//! Export into an archive. Its bytes are written in order and never gone back to, so that it can go down a pipe.
//!
//! Files are read a little ahead of the writing, each to its first part: what turns out to be lost before the first byte leaves
//! no trace. A tar must be told the length of a file before its bytes: what is made is made twice, if it is long.

use std::collections::VecDeque;
use std::io::Write;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::walk::{Found, Source, walk};
use super::writer::{self, Order};
use super::{ArchiveKind, ArchiveTarget, ExportOptions, ExportReport, Tally, Target, Told, mail};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::ItemKind;
use crate::ops::backup::Stop;
use crate::ops::files::Made;
use crate::ops::read;
use crate::ops::view::{Place, View};
use crate::repo::ByteStream;

/// Files that are read ahead, and how far, in bytes.
const FILES_AHEAD: usize = 4;
const AHEAD_BYTES: usize = 1 << 20;
/// Parts that wait to be written.
const PARTS_AHEAD: usize = 4;

/// The file that tells what is not in an archive.
const MISSING: &str = "NOT IN THIS ARCHIVE.txt";

/// Something that goes into an archive, and where in it.
pub(super) struct Placed {
    pub(super) view: View,
    pub(super) place: Place,
    pub(super) at: At,
}

/// Where in the archive something goes.
#[derive(Clone)]
pub(super) enum At {
    /// Below a folder (empty: the top).
    Below(PathBuf),
    /// A single file: under this very path.
    File(PathBuf),
}

impl At {
    fn of(&self, path: &Path) -> PathBuf {
        match self {
            Self::Below(folder) => folder.join(path),
            Self::File(whole) => whole.clone(),
        }
    }
}

/// Where the archive is made.
enum Out {
    File { part: PathBuf, whole: PathBuf },
    Stream,
}

pub(super) async fn export(
    places: &[Placed],
    (kind, target): (ArchiveKind, ArchiveTarget),
    options: ExportOptions,
    (told, tells): (Told<'_>, bool),
    stop: &Stop,
) -> Result<ExportReport> {
    let (out, sink) = open(target, options).await?;
    let (orders, receive) = mpsc::channel(PARTS_AHEAD);
    let writing = tokio::task::spawn_blocking(move || writer::run(kind, sink, receive));
    let first = places.first().ok_or_else(|| Error::invalid("There is nothing to export"))?;
    let (view, at, ahead) = (first.view.clone(), first.at.clone(), VecDeque::new());
    let mut archive = Archive { view, at, kind, told, tells, ahead, orders, stop: stop.clone() };
    let walked = archive.fill(places, options).await;
    let Archive { told, orders, .. } = archive;
    drop(orders);
    let written = writing.await.map_err(|e| Error::internal("A worker thread ended early").with_source(e));
    let ended = how_it_ended(walked, written, &out);
    publish(out, ended).await?;
    Ok(told.report)
}

/// What is told of an archive: why it was not walked to its end, or why the disk did not take it.
fn how_it_ended(walked: Result<()>, written: Result<std::io::Result<bool>>, out: &Out) -> Result<()> {
    match (walked, written) {
        // Whoever gave the orders went away in the middle of a file: the disk has no part in it.
        (Err(e), Ok(Err(cut))) if cut.kind() == std::io::ErrorKind::UnexpectedEof => Err(e),
        // Else the disk's own word comes before that of who could not go on.
        (_, Ok(Err(e))) => Err(refused(out, e)),
        (Err(e), _) | (Ok(()), Err(e)) => Err(e),
        (Ok(()), Ok(Ok(true))) => Ok(()),
        (Ok(()), Ok(Ok(false))) => Err(Error::internal("The archive ended early")),
    }
}

async fn open(target: ArchiveTarget, options: ExportOptions) -> Result<(Out, Box<dyn Write + Send>)> {
    let whole = match target {
        ArchiveTarget::Stream(out) => return Ok((Out::Stream, out)),
        ArchiveTarget::File(whole) => whole,
    };
    let there = tokio::fs::symlink_metadata(&whole).await;
    if there.as_ref().is_ok_and(std::fs::Metadata::is_dir) {
        let text = format!("{} is a folder", whole.display());
        return Err(Error::invalid(text).with_hint("name the archive, as a file in it"));
    }
    if there.is_ok() && !options.overwrite {
        let text = format!("{} is there already", whole.display());
        return Err(Error::new(ErrorKind::AlreadyExists, text).with_hint("--overwrite replaces it"));
    }
    let mut name = whole.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = whole.with_file_name(name);
    let file = tokio::fs::File::create(&part).await;
    let file = file.map_err(|e| Error::io(format!("{} cannot be made", part.display()), e))?;
    Ok((Out::File { part, whole }, Box::new(file.into_std().await)))
}

fn refused(out: &Out, e: std::io::Error) -> Error {
    match out {
        Out::File { whole, .. } => Error::io(format!("{} cannot be written", whole.display()), e)
            .with_hint("make room or choose another place; what was written of it is taken away"),
        Out::Stream => {
            let went = e.kind() == std::io::ErrorKind::BrokenPipe;
            let hint = if went { "who reads it went away" } else { "what stands there of it is not whole" };
            Error::io("The archive cannot be written", e).with_hint(hint)
        }
    }
}

/// Gives the archive its name, or takes away what there is of it.
async fn publish(out: Out, ended: Result<()>) -> Result<()> {
    let Out::File { part, whole } = out else { return ended };
    let published = match ended {
        Ok(()) => {
            let from = part.clone();
            let rename = move || {
                // On the disk before it bears the name of something whole.
                std::fs::OpenOptions::new().write(true).open(&from)?.sync_all()?;
                std::fs::rename(&from, &whole)
            };
            let renamed = tokio::task::spawn_blocking(rename).await;
            match renamed.map_err(|e| Error::internal("A worker thread ended early").with_source(e))? {
                Ok(()) => return Ok(()),
                Err(e) => Err(Error::io(format!("{} cannot be finished", part.display()), e)),
            }
        }
        Err(e) => Err(e),
    };
    drop(tokio::fs::remove_file(&part).await);
    published
}

/// A file of which the first part was read.
struct Begun {
    begin: Vec<u8>,
    /// What comes after it; `None`: it is whole, or broken.
    rest: Option<ByteStream>,
    broken: Option<Error>,
}

struct Archive<'a> {
    view: View,
    at: At,
    kind: ArchiveKind,
    told: Told<'a>,
    /// What is not in the archive is told in it.
    tells: bool,
    ahead: VecDeque<(Found, AbortOnDropHandle<Begun>)>,
    orders: mpsc::Sender<Order>,
    stop: Stop,
}

#[async_trait]
impl Target for Archive<'_> {
    async fn folder(&mut self, at: &Path) -> Result<()> {
        self.order(Order::Folder(name(&self.at.of(at)))).await
    }

    async fn file(&mut self, mut found: Found) -> Result<()> {
        found.at = self.at.of(&found.at);
        if let Source::Entry(record, _) = &found.source
            && !found.is_made(&self.view)
            && let Err(e) = read::main_stream(record)
        {
            let text = if record.kind == ItemKind::Shortcut { super::disk::SHORTCUT.to_owned() } else { e.to_string() };
            self.told.problem(found.path, text);
            return Ok(());
        }
        let bytes = found.bytes(&self.view);
        self.ahead.push_back((found, AbortOnDropHandle::new(tokio::spawn(begin(bytes)))));
        while self.ahead.len() >= FILES_AHEAD {
            self.write_next().await?;
        }
        Ok(())
    }

    fn before_flags(&self) -> char {
        match self.kind {
            // Windows itself unpacks a ZIP, and makes no file of a name with a colon; what unpacks a tar there makes it another one.
            ArchiveKind::Zip => mail::FOR_WINDOWS,
            ArchiveKind::Tar => mail::BEFORE_FLAGS,
        }
    }

    fn told(&mut self) -> &mut dyn Tally {
        &mut self.told
    }
}

async fn begin(mut bytes: ByteStream) -> Begun {
    let mut begin = Vec::new();
    while begin.len() < AHEAD_BYTES {
        match bytes.next().await {
            Some(Ok(part)) => begin.extend_from_slice(&part),
            Some(Err(e)) => return Begun { begin, rest: None, broken: Some(e) },
            None => return Begun { begin, rest: None, broken: None },
        }
    }
    Begun { begin, rest: Some(bytes), broken: None }
}

fn name(at: &Path) -> String {
    at.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/")
}

impl Archive<'_> {
    async fn fill(&mut self, places: &[Placed], options: ExportOptions) -> Result<()> {
        let stop = self.stop.clone();
        for placed in places {
            (self.view, self.at) = (placed.view.clone(), placed.at.clone());
            walk(&placed.view, &placed.place, options.mail, self, &stop).await?;
            // What was read ahead is of this view.
            while !self.ahead.is_empty() {
                self.write_next().await?;
            }
        }
        if self.tells && !self.told.report.problems.is_empty() {
            self.tell_missing().await?;
        }
        self.order(Order::Finish).await
    }

    /// Who gets nothing but the archive reads there what is not in it.
    async fn tell_missing(&mut self) -> Result<()> {
        let mut text = String::new();
        for (path, why) in &self.told.report.problems {
            text.push_str(&format!("{path}: {why}\n"));
        }
        let size_bytes = Some(text.len() as u64);
        self.order(Order::File { name: MISSING.to_owned(), modified: None, size_bytes }).await?;
        self.order(Order::Bytes(text.into())).await?;
        self.order(Order::End).await
    }

    async fn order(&self, order: Order) -> Result<()> {
        // The writer has said why it takes no more.
        self.orders.send(order).await.map_err(|_| Error::internal("The archive takes no more"))
    }

    async fn write_next(&mut self) -> Result<()> {
        let Some((found, begun)) = self.ahead.pop_front() else { return Ok(()) };
        self.stop.check()?;
        let begun = begun.await.map_err(|e| Error::internal("Reading a file ended early").with_source(e))?;
        let made = match begun {
            Begun { broken: Some(e), .. } if e.is_loss() => Made::Lost(e),
            Begun { broken: Some(e), .. } => return Err(e),
            Begun { begin, rest, .. } => self.write(&found, begin, rest).await?,
        };
        for (path, text) in found.losses() {
            self.told.report.damaged += 1;
            self.told.problem(path, text);
        }
        self.told.tell(found.path, made)
    }

    async fn write(&mut self, found: &Found, begin: Vec<u8>, mut rest: Option<ByteStream>) -> Result<Made> {
        let mut size = match (&found.source, &rest) {
            (_, None) => Some(begin.len() as u64),
            (Source::Entry(record, _), Some(_)) if !found.is_made(&self.view) => {
                read::main_stream(record).ok().map(|stream| stream.size_bytes)
            }
            _ => None,
        };
        let mut begin = Bytes::from(begin);
        if size.is_none() && self.kind == ArchiveKind::Tar {
            let mut counted = begin.len() as u64;
            while let Some(stream) = &mut rest
                && let Some(part) = stream.next().await
            {
                counted = counted.saturating_add(part?.len() as u64);
                self.stop.check()?;
            }
            // Told again by the second making.
            drop(found.losses());
            (size, begin, rest) = (Some(counted), Bytes::new(), Some(found.bytes(&self.view)));
        }
        let file = Order::File { name: name(&found.at), modified: found.modified(), size_bytes: size };
        self.order(file).await?;
        let mut written = begin.len() as u64;
        self.order(Order::Bytes(begin)).await?;
        let mut cut_short = None;
        while let Some(stream) = &mut rest
            && let Some(part) = stream.next().await
        {
            self.stop.check()?;
            match part {
                Ok(part) => {
                    written = written.saturating_add(part.len() as u64);
                    self.order(Order::Bytes(part)).await?;
                }
                Err(e) if e.is_loss() => {
                    cut_short = Some(e.context("What stands in the archive of this file is not whole"));
                    break;
                }
                Err(e) => return Err(e),
            }
        }
        self.order(Order::End).await?;
        Ok(match cut_short {
            Some(e) => Made::Lost(e),
            None if size.is_some_and(|size| size != written) => {
                Made::Lost(Error::corrupt(format!("{written} bytes came, {} were told", size.unwrap_or_default())))
            }
            None => Made::Whole(written),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_that_is_stopped_in_the_middle_of_a_file_does_not_accuse_the_disk() {
        for kind in [ArchiveKind::Zip, ArchiveKind::Tar] {
            let (orders, receive) = mpsc::channel(PARTS_AHEAD);
            orders.try_send(Order::File { name: "a".into(), modified: None, size_bytes: Some(10) }).unwrap();
            orders.try_send(Order::Bytes(Bytes::from_static(b"half"))).unwrap();
            drop(orders);
            let written = writer::run(kind, Box::new(std::io::sink()), receive);
            let stop = Stop::new();
            stop.stop();
            let ended = how_it_ended(stop.check(), Ok(written), &Out::Stream);
            assert_eq!(ended.unwrap_err().kind(), ErrorKind::Interrupted, "{kind:?}");
        }
        let full = || Ok(Err(std::io::ErrorKind::StorageFull.into()));
        let ended = how_it_ended(Err(Error::internal("The archive takes no more")), full(), &Out::Stream);
        assert_eq!(ended.unwrap_err().kind(), ErrorKind::StorageFull);
    }
}
