//! Tenantvault keeps snapshots of a Microsoft 365 tenant in a content-addressed, deduplicated,
//! encrypted repository, and gives any item of any snapshot back.
//!
//! The rooms, from the ground up; each knows only the ones before it (`tests/architecture.rs`
//! holds that): [`crypto`], [`format`](mod@format), [`storage`], [`repo`], [`tree`], [`snapshot`], [`graph`],
//! [`m365`], [`ops`], [`sim`], [`server`], [`cli`]. Beneath them all lie [`error`], [`monitor`] and
//! [`reach`].

#![warn(missing_docs, unreachable_pub)]
// The library runs for many tenants and users: it does not print.
#![warn(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

// Its modules are private and say `pub` for short.
#[allow(unreachable_pub)]
pub mod cli;
pub mod crypto;
pub mod error;
pub mod format;
pub mod graph;
pub mod m365;
pub mod monitor;
pub mod ops;
pub mod reach;
pub mod repo;
pub mod server;
pub mod sim;
pub mod snapshot;
pub mod storage;
pub mod tree;

pub use error::{Error, ErrorKind, Result};
