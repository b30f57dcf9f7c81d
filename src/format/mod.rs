//! Bytes <-> structs of every file kind of a repository. Pure: no I/O, no async.
//! `format-spec/` describes what is written here; both change together.

pub mod codec;
pub mod collection;
pub mod id;
pub mod record;
