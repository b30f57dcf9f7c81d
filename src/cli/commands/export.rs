//! `export`: writes items of a snapshot to a folder.

use std::path::PathBuf;

use serde_json::json;

use crate::cli::app::App;
use crate::cli::commands::ls::find;
use crate::cli::exit::Outcome;
use crate::cli::values::{Target, absolute, parser};
use crate::cli::{interrupt, output};
use crate::error::{Error, Result};
use crate::ops::backup::Stop;
use crate::ops::export::{ArchiveKind, ArchiveTarget, ExportOptions, MailFormat, export, export_archive};
use crate::ops::present::Mode;
use crate::ops::view::View;

const EXAMPLES: &str = "\
Examples:
  tenantvault export latest:users/alice@contoso.com restored/
  tenantvault export everyone@2026-11-20:users/alice@contoso.com/Mail/Inbox inbox/
  tenantvault export latest:users/alice@contoso.com/Mail mail/ --format maildir
  tenantvault export latest --zip tenant.zip
  tenantvault export latest --tar - | zstd > tenant.tar.zst
Messages become .eml files, calendars and tasks .ics, contacts .vcf, lists .csv,
pages, chats and threads .html; files stay files. All get their times. Names that
no disk takes are changed. An export to a folder that was stopped goes on where
it was; an archive is named FILE.part till it is whole.";

/// Write what is in a snapshot to a folder or an archive, as files that other programs read
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The snapshot, and a path in it; without a path all of it
    #[arg(value_name = "SNAPSHOT[:PATH]", value_parser = parser::<Target>)]
    target: Target,
    /// The folder to write to; made if it is not there
    #[arg(required_unless_present_any = ["zip", "tar"], conflicts_with_all = ["zip", "tar"])]
    dir: Option<PathBuf>,
    /// Write one ZIP archive in place of a folder; - is standard output
    #[arg(long, value_name = "FILE", conflicts_with = "tar")]
    zip: Option<PathBuf>,
    /// Write one tar archive in place of a folder; - is standard output
    #[arg(long, value_name = "FILE")]
    tar: Option<PathBuf>,
    /// What messages become: a file each, a file for each folder, or Maildirs
    #[arg(long, value_name = "FORMAT", default_value = "eml")]
    format: Format,
    /// Write what is stored: Graph's JSON in place of .ics, .vcf, .html and .csv
    #[arg(long)]
    raw: bool,
    /// Replace files that are there with other contents, or an archive that is there
    #[arg(long)]
    overwrite: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    Eml,
    Mbox,
    Maildir,
}

impl From<Format> for MailFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Eml => Self::Eml,
            Format::Mbox => Self::Mbox,
            Format::Maildir => Self::Maildir,
        }
    }
}

/// Where an export goes.
enum Goal {
    Folder(PathBuf),
    Archive(ArchiveKind, PathBuf),
    Stdout(ArchiveKind),
}

impl Goal {
    fn of(args: &Args, app: &App) -> Result<Self> {
        let at = |path: &PathBuf| absolute(&app.environment.working_folder, path);
        let (kind, path) = match (&args.dir, &args.zip, &args.tar) {
            (_, Some(path), _) => (ArchiveKind::Zip, path),
            (_, _, Some(path)) => (ArchiveKind::Tar, path),
            (dir, ..) => return Ok(Self::Folder(dir.as_ref().map(at).unwrap_or_default())),
        };
        if path.as_os_str() != "-" {
            return Ok(Self::Archive(kind, at(path)));
        }
        if app.screen.json {
            return Err(Error::invalid("An archive and JSON cannot both go to standard output")
                .with_hint("Name a file in place of -"));
        }
        if app.screen.is_terminal() {
            return Err(Error::invalid("An archive is no text: it would upset the terminal")
                .with_hint("Send it to a file or program: tenantvault export … > FILE"));
        }
        Ok(Self::Stdout(kind))
    }
}

/// Writes what lies at a path, and below it.
pub(crate) async fn run(args: Args, app: &App) -> Result<Outcome> {
    let repo = app.open_to_read().await?;
    let listing = app.snapshots(&repo).await?;
    let snapshot = find(&listing.snapshots, &args.target)?;
    let view = View::new(repo, snapshot.file.clone());
    let place = view.resolve(&args.target.path).await?;
    let view = if args.raw { view.shown(Mode::Raw) } else { view };
    let goal = Goal::of(&args, app)?;
    if !matches!(goal, Goal::Folder(_)) {
        view.repository().keep_little();
    }
    let stop = Stop::new();
    if !app.screen.captured {
        interrupt::watch(&stop, "Stopping: files under way are finished or taken away.");
    }
    let monitor = app.progress(true);
    let options = ExportOptions { overwrite: args.overwrite, mail: args.format.into() };
    let result = match &goal {
        Goal::Folder(dir) => export(&view, &place, dir, options, &*monitor, &stop).await,
        Goal::Archive(kind, file) => {
            let target = (*kind, ArchiveTarget::File(file.clone()));
            export_archive(&view, &place, target, options, &*monitor, &stop).await
        }
        Goal::Stdout(kind) => {
            let target = (*kind, ArchiveTarget::Stream(Box::new(std::io::stdout())));
            export_archive(&view, &place, target, options, &*monitor, &stop).await
        }
    };
    monitor.finish();
    let report = result?;
    let skipped =
        if report.skipped > 0 { format!("; {} there already", output::number(report.skipped)) } else { String::new() };
    let (what, named) = match &goal {
        Goal::Folder(dir) => ("folder", args.dir.as_ref().unwrap_or(dir)),
        Goal::Archive(ArchiveKind::Zip, file) => ("zip", args.zip.as_ref().unwrap_or(file)),
        Goal::Archive(ArchiveKind::Tar, file) => ("tar", args.tar.as_ref().unwrap_or(file)),
        Goal::Stdout(_) => ("", &PathBuf::from("standard output")),
    };
    let text = format!(
        "Exported {} and {}, {}, to {}{skipped}",
        output::count(report.files, "file", "files"),
        output::count(report.folders, "folder", "folders"),
        output::size(report.bytes),
        named.display(),
    );
    // Nothing else may stand where the archive does.
    if what.is_empty() {
        app.screen.note(text);
    } else {
        app.screen.report(text)?;
    }
    if !report.problems.is_empty() {
        let count = output::count(report.problems.len() as u64, "item was", "items were");
        app.screen.note(format!("{count} not written"));
        if report.damaged > 0 {
            app.screen.note("Hint: contents are lost or damaged; run check --read-data, and try an earlier snapshot");
        }
    }
    let mut summary = json!({
        "snapshot": snapshot.id.to_string(),
        "files": report.files,
        "folders": report.folders,
        "bytes": report.bytes,
        "skipped": report.skipped,
        "problems": report.problems.len(),
        "damaged": report.damaged,
    });
    if let (Some(summary), Goal::Folder(path) | Goal::Archive(_, path)) = (summary.as_object_mut(), &goal) {
        summary.insert(what.to_owned(), path.display().to_string().into());
    }
    app.screen.summary(&summary)?;
    Ok(if report.problems.is_empty() { Outcome::Done } else { Outcome::Gaps })
}
