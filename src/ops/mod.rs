//! What users do: backup, forget, prune, check, list, read, export, restore, compare, find.
//!
//! Knows nothing of argument parsing or printing.

pub mod access;
pub mod backup;
pub mod browse;
pub mod catalog;
pub mod check;
pub mod coverage;
pub mod diff;
pub mod estimate;
pub mod export;
pub mod files;
pub mod find;
pub mod forget;
pub mod heal;
pub mod history;
pub mod mirror;
pub mod mount;
pub mod names;
pub mod nodes;
pub mod present;
pub mod prune;
pub mod read;
pub mod repair;
pub mod replicas;
pub mod restore;
pub mod stats;
pub mod used;
pub mod view;
pub mod webdav;
