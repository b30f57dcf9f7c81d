//! Bytes <-> structs of every file kind of a repository. Pure: no I/O, no async.
//! `format-spec/` describes what is written here; both change together.

pub mod codec;
pub mod collection;
pub mod config;
pub mod header;
pub mod id;
pub mod index;
pub mod node;
pub mod pack;
pub mod pieces;
pub mod record;
pub mod slot;
pub mod snapshot;
