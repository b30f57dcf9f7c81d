//! What users do: backup, restore, export, find. Knows nothing of argument parsing or pages.

pub mod names;
