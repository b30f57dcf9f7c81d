//! Export: what a snapshot holds, as files that other programs read; in a folder, or in one archive.
//!
//! Nothing is written outside the target, whatever the tenant's names say; a file, and an archive, appears under its name only
//! when it is whole; nothing that is there already is overwritten unless that is asked for.

mod archive;
mod disk;
mod mail;
mod several;
mod walk;
mod writer;
mod zip;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use crate::error::Result;
use crate::format::record::Record;
use crate::monitor::{Counter, Monitor};
use crate::ops::backup::Stop;
use crate::ops::files::Made;
use crate::ops::present;
use crate::ops::view::{Place, View};
use archive::{At, Placed};
use walk::Found;

pub use several::Wanted;

/// What becomes of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MailFormat {
    /// A file for each.
    #[default]
    Eml,
    /// A file for each folder, in which the messages follow each other (mboxrd).
    Mbox,
    /// Each folder is a Maildir: a file for each message in `cur`, whose name tells its flags.
    Maildir,
}

/// How to export. Whether what is stored or what programs read is written, the view says ([`View::shown`]).
#[derive(Debug, Clone, Copy, Default)]
pub struct ExportOptions {
    /// Replace files that are there already with other contents.
    pub overwrite: bool,
    /// What becomes of messages.
    pub mail: MailFormat,
}

/// The kind of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveKind {
    /// ZIP (PKWARE's APPNOTE), with ZIP64 where it must be; deflated.
    Zip,
    /// tar, in GNU's form; not compressed.
    Tar,
}

/// Where an archive goes.
pub enum ArchiveTarget {
    /// A file; till it is whole, it is named `….part`.
    File(PathBuf),
    /// Somewhere that takes bytes as they come.
    Stream(Box<dyn Write + Send>),
}

/// What export did.
#[derive(Debug, Clone, Default)]
pub struct ExportReport {
    /// Files written.
    pub files: u64,
    /// Folders made.
    pub folders: u64,
    /// Bytes written; in an archive, before it compresses them.
    pub bytes: u64,
    /// Files that were there already, with the same contents.
    pub skipped: u64,
    /// Files whose contents are lost or damaged; they are problems too.
    pub damaged: u64,
    /// What could not be written: path and reason.
    pub problems: Vec<(String, String)>,
}

/// Writes what lies at a place, and below it, into a folder.
///
/// # Errors
/// What ends the export as a whole: the target disk, the repository's storage. An item without contents is a problem in the report.
pub async fn export(
    view: &View,
    place: &Place,
    target: &Path,
    options: ExportOptions,
    monitor: &dyn Monitor,
    stop: &Stop,
) -> Result<ExportReport> {
    disk::export(view, place, target, options, Told::new(monitor), stop).await
}

/// Writes what lies at a place, and below it, into an archive, without ever going back in it.
///
/// # Errors
/// As [`export`]; `AlreadyExists` when there is such a file and it is not to be overwritten. The archive is taken away then.
pub async fn export_archive(
    view: &View,
    place: &Place,
    (kind, target): (ArchiveKind, ArchiveTarget),
    options: ExportOptions,
    monitor: &dyn Monitor,
    stop: &Stop,
) -> Result<ExportReport> {
    let placed = Placed { view: view.clone(), place: place.clone(), at: At::Below(PathBuf::new()) };
    archive::export(&[placed], (kind, target), options, (Told::new(monitor), false), stop).await
}

/// Writes what lies at several places, of one snapshot or several, into an archive: each under its path in the snapshot. What
/// could not be written is told in a file at the end of it.
///
/// # Errors
/// As [`export_archive`]; `InvalidInput` when there is nothing.
pub async fn export_several(
    wanted: Vec<Wanted>,
    (kind, target): (ArchiveKind, ArchiveTarget),
    options: ExportOptions,
    monitor: &dyn Monitor,
    stop: &Stop,
) -> Result<ExportReport> {
    archive::export(&several::placed(wanted), (kind, target), options, (Told::new(monitor), true), stop).await
}

/// What files and folders go to. Paths are from its top, and safe on any disk.
#[async_trait]
trait Target: Send {
    /// Makes a folder. The one that holds it was made before.
    async fn folder(&mut self, at: &Path) -> Result<()>;

    /// Takes a file in hand.
    async fn file(&mut self, found: Found) -> Result<()>;

    /// What stands before the flags in the name of a message of a Maildir.
    fn before_flags(&self) -> char {
        mail::BEFORE_FLAGS
    }

    /// Where what became of each is told.
    fn told(&mut self) -> &mut dyn Tally;
}

/// What a walk tells.
trait Tally: Send {
    fn folder(&mut self);
    fn expect(&mut self, items: usize);
}

/// Keeps the count.
struct Told<'a> {
    monitor: &'a dyn Monitor,
    report: ExportReport,
}

impl Tally for Told<'_> {
    fn folder(&mut self) {
        self.report.folders += 1;
        self.monitor.add(Counter::Items, 1);
    }

    fn expect(&mut self, items: usize) {
        self.monitor.add(Counter::ItemsTotal, items as i64);
    }
}

impl<'a> Told<'a> {
    fn new(monitor: &'a dyn Monitor) -> Self {
        Self { monitor, report: ExportReport::default() }
    }

    // One shape with what it is called through.
    #[allow(clippy::unnecessary_wraps)]
    fn tell(&mut self, path: String, made: Made) -> Result<()> {
        match made {
            Made::Whole(bytes) => {
                self.report.files += 1;
                self.report.bytes += bytes;
                self.monitor.add(Counter::BytesRead, bytes as i64);
            }
            Made::Lost(e) => {
                self.report.damaged += 1;
                self.problem(path, e.chain());
            }
        }
        self.monitor.add(Counter::Items, 1);
        Ok(())
    }

    fn problem(&mut self, path: String, text: String) {
        self.monitor.problem(&path, &text);
        self.report.problems.push((path, text));
    }
}

fn system_time(us: i64) -> Option<SystemTime> {
    let micros = Duration::from_micros(us.unsigned_abs());
    if us >= 0 { SystemTime::UNIX_EPOCH.checked_add(micros) } else { SystemTime::UNIX_EPOCH.checked_sub(micros) }
}

/// The time that a file of the item gets.
fn modified(record: &Record) -> Option<SystemTime> {
    present::time_us(record).and_then(system_time)
}
