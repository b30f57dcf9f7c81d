//! The way through a snapshot: which files and folders there are to be, by which names.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::error::Result;
use crate::format::id::BlobId;
use crate::format::record::{ItemKind, Record};
use crate::format::snapshot::CollectionState;
use crate::ops::backup::Stop;
use crate::ops::export::{MailFormat, Target, mail, modified};
use crate::ops::names::FolderNames;
use crate::ops::present::{self, Face, Form};
use crate::ops::read;
use crate::ops::view::{Entry, Listing, Place, View};
use crate::repo::ByteStream;

/// Entries of a folder that are in memory at once, at up to 5 KB each. The more, the seldomer a segment is read from again.
const AT_ONCE: usize = 4096;

/// What is told of items that a file was to hold, and does not.
pub(super) type Losses = Arc<Mutex<Vec<(String, String)>>>;

/// A file that there is to be.
pub(super) struct Found {
    /// The collection that it is of.
    pub(super) state: Arc<CollectionState>,
    pub(super) source: Source,
    /// Its path from the top of the target.
    pub(super) at: PathBuf,
    /// Its path in the snapshot.
    pub(super) path: String,
}

/// What a file holds.
pub(super) enum Source {
    /// An entry of the view.
    Entry(Box<Record>, Face),
    /// The messages of a folder, one after another, with the time of the newest; which of them could not be read is told there.
    Mbox(Box<Place>, Option<SystemTime>, Losses),
}

impl Found {
    /// Says whether the bytes are made, so that nobody knows yet how many there will be.
    pub(super) fn is_made(&self, view: &View) -> bool {
        match &self.source {
            Source::Entry(record, face) => matches!(present::form(record, *face, view.mode()), Form::Made(_)),
            Source::Mbox(..) => true,
        }
    }

    /// The time that the file gets.
    pub(super) fn modified(&self) -> Option<SystemTime> {
        match &self.source {
            Source::Entry(record, _) => modified(record),
            Source::Mbox(_, newest, _) => *newest,
        }
    }

    /// Its bytes, which are made when they are asked for.
    pub(super) fn bytes(&self, view: &View) -> ByteStream {
        let (view, state) = (view.clone(), self.state.clone());
        match &self.source {
            Source::Entry(record, face) => {
                let (record, face) = (record.clone(), *face);
                stream::once(async move { present::open(&view, &state, &record, face).await }).try_flatten().boxed()
            }
            Source::Mbox(place, _, losses) => mail::mbox(view, self.path.clone(), (**place).clone(), losses.clone()),
        }
    }

    /// What could not be read of what it holds.
    pub(super) fn losses(&self) -> Vec<(String, String)> {
        match &self.source {
            Source::Entry(..) => Vec::new(),
            Source::Mbox(_, _, losses) => std::mem::take(&mut *losses.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") }
}

/// Goes through what lies at a place and below it. A folder's names are given out before what lies in it, so that the same
/// snapshot always gives the same names.
pub(super) async fn walk(
    view: &View,
    place: &Place,
    mail: MailFormat,
    target: &mut dyn Target,
    stop: &Stop,
) -> Result<()> {
    if let Some((state, record, face)) = place.item().filter(|_| !place.is_container()) {
        let path = place.path().to_owned();
        let at = PathBuf::from(FolderNames::new().allocate(path.rsplit('/').next().unwrap_or_default()));
        let (state, source) = (Arc::new(state.clone()), Source::Entry(Box::new(record.clone()), face));
        return target.file(Found { state, source, at, path }).await;
    }
    let mut open = vec![Folder { place: place.clone(), at: PathBuf::new(), path: place.path().to_owned() }];
    while let Some(folder) = open.pop() {
        stop.check()?;
        let mut walked = Walked { view, mail, names: FolderNames::new(), maildir: None, mbox: None, open: &mut open };
        walked.walk(&folder, target, stop).await?;
    }
    Ok(())
}

/// A folder that is to be walked: where it is, where it goes, and its path in the snapshot.
struct Folder {
    place: Place,
    at: PathBuf,
    path: String,
}

/// What is known of a folder while it is walked. It is read stretch by stretch, and nothing of an item stays but a hash of
/// its name.
struct Walked<'a> {
    view: &'a View,
    mail: MailFormat,
    names: FolderNames,
    /// Where messages go, once that was made.
    maildir: Option<PathBuf>,
    /// Messages were seen, which go into one file: their collection, and the time of the newest.
    mbox: Option<(Arc<CollectionState>, Option<SystemTime>)>,
    /// Folders that are walked later.
    open: &'a mut Vec<Folder>,
}

impl Walked<'_> {
    async fn walk(&mut self, folder: &Folder, target: &mut dyn Target, stop: &Stop) -> Result<()> {
        let mut listing = Listing::default();
        let mut more = true;
        if self.mail == MailFormat::Maildir && is_of_mail(&folder.place) {
            self.make_maildir(folder, target).await?;
        }
        while more {
            let mut entries: Vec<Entry> = Vec::new();
            let mut collect = |entry| {
                entries.push(entry);
                Ok(())
            };
            more = self.view.list_on(&folder.place, &mut listing, AT_ONCE, &mut collect).await?;
            target.told().expect(entries.len());
            if self.mail == MailFormat::Maildir && self.maildir.is_none() && entries.iter().any(is_message) {
                self.make_maildir(folder, target).await?;
            }
            self.take(folder, entries, target, stop).await?;
        }
        let Some((state, newest)) = self.mbox.take() else { return Ok(()) };
        let at = folder.at.join(self.names.allocate_file(folder.path.rsplit('/').next().unwrap_or_default(), "mbox"));
        let source = Source::Mbox(Box::new(folder.place.clone()), newest, Losses::default());
        target.file(Found { state, source, at, path: folder.path.clone() }).await
    }

    async fn make_maildir(&mut self, folder: &Folder, target: &mut dyn Target) -> Result<()> {
        for part in ["new", "tmp", "cur"] {
            let at = folder.at.join(self.names.allocate(part));
            make_folder(target, &at).await?;
            self.maildir = Some(at);
        }
        Ok(())
    }

    /// Takes a stretch of a folder's entries.
    async fn take(&mut self, folder: &Folder, entries: Vec<Entry>, target: &mut dyn Target, stop: &Stop) -> Result<()> {
        let mut items = Vec::new();
        for entry in entries {
            stop.check()?;
            if let (MailFormat::Mbox, true, Some(state)) = (self.mail, is_message(&entry), &entry.state) {
                let newest = self.mbox.take().and_then(|(_, newest)| newest);
                self.mbox = Some((state.clone(), newest.max(entry.record.as_ref().and_then(modified))));
                continue;
            }
            let path = join(&folder.path, &entry.name);
            let at = match (&entry.record, &self.maildir) {
                (Some(record), Some(cur)) if is_message(&entry) => {
                    cur.join(mail::maildir_name(record, target.before_flags()))
                }
                _ => folder.at.join(self.names.allocate(&entry.name)),
            };
            if entry.is_container() {
                make_folder(target, &at).await?;
                self.open.push(Folder { place: entry.place(&folder.path), at, path });
            } else {
                items.push((place_of(&entry), entry, at, path));
            }
        }
        // What lies in one segment comes one after another, so that each is opened once.
        items.sort_by_key(|(place, ..)| *place);
        for (_, entry, at, path) in items {
            stop.check()?;
            take(target, entry, at, path).await?;
        }
        Ok(())
    }
}

/// Where the contents of an item begin.
fn place_of(entry: &Entry) -> Option<(BlobId, u32)> {
    let record = entry.record.as_ref()?;
    let stream = read::main_stream(record).ok().or_else(|| record.streams.first())?;
    let first = stream.pieces.first()?.extents.list.first()?;
    Some((first.blob, first.offset))
}

pub(super) fn is_message(entry: &Entry) -> bool {
    entry.record.as_ref().is_some_and(|record| record.kind == ItemKind::Message)
}

fn is_of_mail(place: &Place) -> bool {
    place.item().is_some_and(|(_, record, _)| record.kind == ItemKind::MailFolder)
}

async fn make_folder(target: &mut dyn Target, at: &Path) -> Result<()> {
    target.folder(at).await?;
    target.told().folder();
    Ok(())
}

async fn take(target: &mut dyn Target, entry: Entry, at: PathBuf, path: String) -> Result<()> {
    let (Some(record), Some(state)) = (entry.record, entry.state) else { return Ok(()) };
    target.file(Found { state, source: Source::Entry(Box::new(record), entry.face), at, path }).await
}
