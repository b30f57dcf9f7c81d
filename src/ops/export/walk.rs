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
use crate::ops::view::{Entry, Place, View};
use crate::repo::ByteStream;

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
    /// Messages that follow each other; which of them could not be read is told there.
    Mbox(Arc<Vec<Record>>, Losses),
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
            Source::Mbox(records, _) => records.iter().filter_map(modified).max(),
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
            Source::Mbox(records, losses) => mail::mbox(view, self.path.clone(), records.clone(), losses.clone()),
        }
    }

    /// What could not be read of what it holds.
    pub(super) fn losses(&self) -> Vec<(String, String)> {
        match &self.source {
            Source::Entry(..) => Vec::new(),
            Source::Mbox(_, losses) => std::mem::take(&mut *losses.lock().unwrap_or_else(PoisonError::into_inner)),
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
    let mut open: Vec<(Place, PathBuf, String)> = vec![(place.clone(), PathBuf::new(), place.path().to_owned())];
    while let Some((place, folder, path)) = open.pop() {
        stop.check()?;
        let mut entries: Vec<Entry> = Vec::new();
        let mut collect = |entry| {
            entries.push(entry);
            Ok(())
        };
        view.list(&place, &mut collect).await?;
        target.told().expect(entries.len());
        let mut names = FolderNames::new();
        let holds_mail = is_of_mail(&place) || entries.iter().any(is_message);
        if mail == MailFormat::Maildir && holds_mail {
            for part in ["cur", "new", "tmp"] {
                make_folder(target, &folder.join(names.allocate(part))).await?;
            }
        }
        let (mut messages, mut of, mut items) = (Vec::new(), None, Vec::new());
        for entry in entries {
            stop.check()?;
            let item_path = join(&path, &entry.name);
            if mail == MailFormat::Mbox && is_message(&entry) {
                of = of.or(entry.state);
                messages.extend(entry.record);
                continue;
            }
            let at = match &entry.record {
                Some(record) if mail == MailFormat::Maildir && is_message(&entry) => {
                    folder.join("cur").join(mail::maildir_name(record))
                }
                _ => folder.join(names.allocate(&entry.name)),
            };
            if entry.is_container() {
                make_folder(target, &at).await?;
                open.push((entry.place(&path), at, item_path));
            } else {
                items.push((place_of(&entry), entry, at, item_path));
            }
        }
        // What lies in one segment comes one after another, so that each is opened once.
        items.sort_by_key(|(place, ..)| *place);
        for (_, entry, at, item_path) in items {
            stop.check()?;
            take(target, entry, at, item_path).await?;
        }
        if let Some(state) = of {
            let name = path.rsplit('/').next().unwrap_or_default();
            let at = folder.join(names.allocate_file(name, "mbox"));
            let source = Source::Mbox(Arc::new(messages), Losses::default());
            target.file(Found { state, source, at, path }).await?;
        }
    }
    Ok(())
}

/// Where the contents of an item begin.
fn place_of(entry: &Entry) -> Option<(BlobId, u32)> {
    let record = entry.record.as_ref()?;
    let stream = read::main_stream(record).ok().or_else(|| record.streams.first())?;
    let first = stream.pieces.first()?.extents.list.first()?;
    Some((first.blob, first.offset))
}

fn is_message(entry: &Entry) -> bool {
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
