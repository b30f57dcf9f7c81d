//! The repository engine, from the outside: what is written reads back, whatever fails, dies or is damaged.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod basics;
#[path = "../support/between.rs"]
mod between;
mod chunks;
mod concurrency;
mod damage;
mod decoders;
mod destinations;
mod faults;
mod files;
mod mirror;
mod model;
mod nonces;
mod overlap;
mod power;
mod prune;
mod prune_model;
mod round_trip;
#[path = "../support/mod.rs"]
mod support;
mod tables;
mod turmoil;
