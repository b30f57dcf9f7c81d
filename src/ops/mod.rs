//! What users do: backup, forget, prune, check, list, read, export, compare.
//!
//! Knows nothing of argument parsing or printing.

pub mod nodes;
