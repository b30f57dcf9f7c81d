//! The workloads of Microsoft 365: which collections a tenant has, what changed in them, and their contents.
//!
//! A [`Collection`] is the unit of incremental reading: the mail of a mailbox, one drive. It *streams changes* into a
//! [`Sink`], looks up what the previous snapshot knew through [`Known`], and *fetches contents* into a
//! [`ContentSink`]. This room knows Graph, records and what a set selects; it knows nothing of repositories
//! and trees.
//!
//! Two rules carry the promise that nothing is lost silently: a cursor is returned only with the changes it stands
//! for, and what cannot be read is a [`Gap`], a value, never the end of a run.

pub mod contents;
pub mod discover;
pub mod drive;
pub mod estimate;
pub mod kinds;
pub mod mail;
pub mod restore;

mod calendar;
mod channel;
mod chats;
mod contacts;
mod conversations;
mod door;
mod excerpt;
pub(crate) mod facts;
mod messages;
mod planner;
mod rounds;
mod settings;
mod sites;
mod tasks;
mod team;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod walk;
pub(crate) mod zones;

pub(crate) use calendar::is_series;

pub use crate::format::collection::{Cursors, Gap};
pub use door::{
    Change, ChangesEnd, Collection, CollectionKey, ContentSink, Contents, Fetched, Known, Owner, Previous, Sink,
    Wanted, Workload,
};
