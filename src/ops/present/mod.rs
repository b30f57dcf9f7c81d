//! How programs know the items of a snapshot: the name with its ending, the time, the bytes.
//!
//! Most of what people keep is stored as it is wanted: messages as `.eml`, files. The rest is kept as Graph's JSON, and made
//! into what programs read when somebody asks: events and tasks as iCalendar, contacts as vCard, pages as HTML. What reads
//! better as a whole has a face *beside* its items: a chat, a thread of a channel or of a group as one HTML file, a list as
//! one table. Export, mount, WebDAV, `ls` and `cat` all stand on this door and show one and the same.
//!
//! Nothing of a stored JSON is trusted: what is missing or of another type is not there, what is too long is cut or refused,
//! foreign HTML goes through the sanitiser.

pub mod names;

mod calendar;
mod contact;
mod event;
mod html;
mod lines;
mod out;
mod page;
mod repeat;
mod rule;
mod stored;
mod table;
mod task;
#[cfg(test)]
mod tests;
mod thread;
mod zone;

use futures::StreamExt as _;

use crate::error::{Error, Result};
use crate::format::record::{ItemKind, Record};
use crate::format::snapshot::CollectionState;
use crate::ops::read;
use crate::ops::view::View;
use crate::repo::ByteStream;
use stored::Stored;

/// What is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// What programs read.
    #[default]
    Presented,
    /// What is stored: messages and files as they are, Graph's JSON of all else.
    Raw,
}

/// One of the entries that an item has in a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Face {
    /// The item itself; a folder, if it is a container.
    Item,
    /// The folder of what hangs below an item that is no container: attachments, replies, versions.
    Parts,
    /// The file that shows the item with all that is below it.
    Beside,
}

impl Face {
    /// The faces of an item.
    pub fn of(record: &Record, mode: Mode) -> impl Iterator<Item = Self> + use<> {
        let parts = record.has_parts().then_some(Self::Parts);
        let beside = (mode == Mode::Presented && beside(record).is_some()).then_some(Self::Beside);
        parts.into_iter().chain(beside).chain([Self::Item])
    }
}

/// What is made from stored JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Make {
    /// A single event, a series with its exceptions, or one exception: iCalendar (RFC 5545).
    Event,
    /// A task of To Do: iCalendar.
    Task,
    /// A contact with its photo: vCard 4.0 (RFC 6350).
    Contact,
    /// A page of a site: HTML.
    Page,
    /// A chat, a thread of a channel or of a group's mailbox, with its pictures: HTML.
    Thread,
    /// The items of a list: CSV (RFC 4180).
    Table,
}

impl Make {
    /// The ending of its name.
    pub fn ending(self) -> &'static str {
        match self {
            Self::Event | Self::Task => ".ics",
            Self::Contact => ".vcf",
            Self::Page | Self::Thread => ".html",
            Self::Table => ".csv",
        }
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Event | Self::Task => "text/calendar; charset=utf-8",
            Self::Contact => "text/vcard; charset=utf-8",
            Self::Page | Self::Thread => "text/html; charset=utf-8",
            Self::Table => "text/csv; charset=utf-8",
        }
    }
}

/// What an entry is to programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// A folder.
    Folder,
    /// A file whose bytes are the item's main stream ([`read::main_stream`]).
    Stored,
    /// A file whose bytes are made. How many is known when they are made: [`measure`].
    Made(Make),
}

/// What an entry is.
pub fn form(record: &Record, face: Face, mode: Mode) -> Form {
    match (face, mode) {
        (Face::Parts, _) => Form::Folder,
        (Face::Beside, Mode::Presented) => beside(record).map_or(Form::Stored, Form::Made),
        (Face::Beside, Mode::Raw) => Form::Stored,
        (Face::Item, _) if record.kind.is_container() => Form::Folder,
        (Face::Item, Mode::Raw) => Form::Stored,
        (Face::Item, Mode::Presented) => match record.kind {
            ItemKind::Event => Form::Made(Make::Event),
            ItemKind::Contact => Form::Made(Make::Contact),
            // A task of Planner has no status.
            ItemKind::Task if record.fact("status").is_some() => Form::Made(Make::Task),
            ItemKind::Page => Form::Made(Make::Page),
            _ => Form::Stored,
        },
    }
}

/// What the face beside an item is made as, if it has one.
pub fn beside(record: &Record) -> Option<Make> {
    match record.kind {
        ItemKind::Chat | ItemKind::Thread => Some(Make::Thread),
        // The first message of a thread of a channel; in a chat, messages hang below the chat.
        ItemKind::ChatMessage if record.parent.is_empty() => Some(Make::Thread),
        ItemKind::List => Some(Make::Table),
        _ => None,
    }
}

/// Foreign HTML without what could run, load or look like something else; pictures that it would fetch are left out.
pub fn safe_html(text: &str) -> String {
    html::clean(text, &html::Pictures::default())
}

/// The time that a file of the item gets, in microseconds since 1970 UTC: a message's reception, else the last change.
pub fn time_us(record: &Record) -> Option<i64> {
    match record.kind {
        ItemKind::Message | ItemKind::Post => record.sort_us.or(record.modified_us),
        _ => record.modified_us.or(record.created_us).or(record.sort_us),
    }
}

/// The size of an entry's bytes, where it is known without making them.
pub fn size_bytes(record: &Record, face: Face, mode: Mode) -> Option<u64> {
    match form(record, face, mode) {
        Form::Folder => Some(0),
        Form::Stored => Some(read::main_stream(record).map_or(record.size_bytes, |stream| stream.size_bytes)),
        Form::Made(_) => None,
    }
}

/// Opens the bytes of an entry that is no folder, as the view shows it. Making them takes little memory, whatever their
/// length; a stream that ends in an error is not whole.
///
/// # Errors
/// `NotFound` when its contents are not in this snapshot, `InvalidInput` for a folder; the repository's.
pub async fn open(view: &View, state: &CollectionState, record: &Record, face: Face) -> Result<ByteStream> {
    match form(record, face, view.mode()) {
        Form::Folder => {
            Err(Error::invalid(format!("'{}' is a folder", record.name)).with_hint("ls lists it, export writes it out"))
        }
        Form::Stored => Ok(read::read_stream(view.repository(), read::main_stream(record)?)),
        Form::Made(make) => Ok(make_bytes(view, state, record, make)),
    }
}

fn make_bytes(view: &View, state: &CollectionState, record: &Record, make: Make) -> ByteStream {
    let stored = Stored { view: view.clone(), state: state.clone() };
    let record = record.clone();
    out::made(move |out| {
        Box::pin(async move {
            match make {
                Make::Event => event::write(&stored, &record, out).await,
                Make::Task => task::write(&stored, &record, out).await,
                Make::Contact => contact::write(&stored, &record, out).await,
                Make::Page => page::write(&stored, &record, out).await,
                Make::Thread => thread::write(&stored, &record, out).await,
                Make::Table => table::write(&stored, &record, out).await,
            }
        })
    })
}

/// When an event is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occasion {
    /// What it is called then.
    pub title: String,
    /// When it begins: microseconds since 1970 UTC.
    pub begins_us: i64,
    /// It takes whole days; the first begins with UTC's.
    pub all_day: bool,
}

/// Says whether an event may be there more often than its record says.
pub fn comes_again(record: &Record) -> bool {
    crate::m365::is_series(record)
}

/// When an event begins, from one time to before another, in microseconds since 1970 UTC: once, or as often as its series
/// comes again. What was cancelled of a series is left out, what was changed stands where it was put.
///
/// # Errors
/// The repository's.
pub async fn occasions(
    view: &View,
    state: &CollectionState,
    record: &Record,
    between: (i64, i64),
) -> Result<Vec<Occasion>> {
    event::occasions(&Stored { view: view.clone(), state: state.clone() }, record, between).await
}

/// Counts the bytes of an entry; makes them, if they are made.
///
/// # Errors
/// As [`open`], and what reading them meets.
pub async fn measure(view: &View, state: &CollectionState, record: &Record, face: Face) -> Result<u64> {
    if let Some(size) = size_bytes(record, face, view.mode()) {
        return Ok(size);
    }
    let (mut bytes, mut size) = (open(view, state, record, face).await?, 0u64);
    while let Some(part) = bytes.next().await {
        size = size.saturating_add(part?.len() as u64);
    }
    Ok(size)
}
