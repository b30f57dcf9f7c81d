//! WebDAV: a repository as a network folder for Windows, macOS and whatever else speaks it (RFC 4918, class 1), read-only.
//!
//! What is shown is [`crate::ops::browse`]; here is only how WebDAV asks for it. `files` answers for single files and
//! folders, `server` is the HTTP around it: the password, and what is refused.

mod files;
mod server;

pub use server::{Password, Serving, serve};
