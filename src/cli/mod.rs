//! The command line: arguments, configuration and printing, and no logic beyond them.

pub mod config;
pub mod output;
pub mod progress;
