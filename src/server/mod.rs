//! The backup server: accounts, backup sets that run on schedule, jobs, and the doors to them: pages and an API.
//!
//! Knows nothing of argument parsing. What has to be trusted: whoever asks is known ([`auth`]) before a handler runs, and
//! whose account the request is about stands in its path, where one place compares the two (`web::guard`); below that,
//! every query names the account. Secrets lie in the database only as the [`vault`] seals them, and of a repository's keys
//! the server keeps a write-only one.

pub mod agent;
mod api;
mod audit;
mod auth;
mod basket;
mod choices;
mod connect;
mod contents;
mod db;
mod deeds;
mod demo;
mod endpoint;
mod error;
mod id;
mod jobs;
mod lines;
mod network;
mod notices;
mod options;
mod pages;
mod plans;
mod pulse;
mod run;
mod schedule;
mod setup;
mod state;
mod store;
mod targets;
mod tls;
mod turns;
mod unlock;
mod vault;
mod web;

#[cfg(test)]
mod tests;

pub use api::description;
pub use audit::{AuditFound, look_through as look_through_audit, look_through_exported as look_through_exported_audit};
pub use demo::{Demo, PASSWORD as DEMO_PASSWORD, start_demo};
pub use network::Network;
pub use options::{Role as ProcessRole, ServerOptions, Tls};
pub use run::{Running, start};
pub use setup::new_link;
