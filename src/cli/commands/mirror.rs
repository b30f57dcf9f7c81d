//! `mirror`: brings a replica of a repository up to date.

use std::sync::Arc;

use serde_json::json;

use crate::cli::app::{App, Place};
use crate::cli::exit::Outcome;
use crate::cli::output;
use crate::error::{Error, Result};
use crate::ops::mirror::{MirrorOptions, MirrorReport, mirror};
use crate::repo::{self, Finding, Kinship, Repository};
use crate::storage::{self, Storage, StorageOptions};

const EXAMPLES: &str = "\
Examples:
  tenantvault mirror nas cloud               copy what 'cloud' lacks; make it a replica if it is empty
  tenantvault mirror nas cloud --dry-run
  tenantvault mirror nas cloud --delete      also forget there what was forgotten here
A replica is a repository of its own, with the same keys: read it, check it,
forget and prune it with -r. Nothing that the source lost is deleted there.";

/// Bring a replica of a repository up to date, or make one
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The repository that is read: a destination's name, a path or a URL
    from: String,
    /// The replica: a destination's name, a path or a URL. An empty place is made a replica
    to: String,
    /// Delete at the replica the snapshots and key slots that were deleted at the source
    #[arg(long)]
    delete: bool,
    /// Also copy snapshots that the replica had once, and forgot or lost
    #[arg(long)]
    forgotten: bool,
    /// Use no key: makes a replica, or goes on with that. To bring a replica with snapshots up to date takes a key
    #[arg(long, conflicts_with_all = ["delete", "forgotten"])]
    without_key: bool,
    /// Only say what would be done
    #[arg(short = 'n', long)]
    dry_run: bool,
}

/// Mirrors.
pub(crate) async fn run(args: Args, app: &App) -> Result<Outcome> {
    if app.global.repo.is_some() {
        return Err(Error::invalid("mirror takes no --repo").with_hint("Write: tenantvault mirror FROM TO"));
    }
    let (from, to) = (app.named_place(&args.from)?, app.named_place(&args.to)?);
    if from.url == to.url {
        return Err(Error::invalid("Both places are the same").with_hint("Write: tenantvault mirror FROM TO"));
    }
    if args.without_key {
        return without_key(app, &args, &from, &to).await;
    }
    let source = app.open_at(&from).await?;
    let (target, made) = replica(app, &args, &source, &to).await?;
    if made {
        let verb = if args.dry_run { "would be made" } else { "is made" };
        app.screen.report(format!(
            "{} {verb} a replica of {}",
            app.storage(&to)?.describe(),
            source.storage().describe()
        ))?;
    }
    let options =
        MirrorOptions { delete: args.delete, forgotten: args.forgotten, keys: true, sets: true, dry_run: args.dry_run };
    let monitor = app.progress(true);
    let result = mirror(&source, &target, options, &*monitor).await;
    monitor.finish();
    show(app, &args, made, &result?)
}

async fn without_key(app: &App, args: &Args, from: &Place, to: &Place) -> Result<Outcome> {
    let (source, target) = (app.storage(from)?, app.storage(to)?);
    let monitor = app.progress(true);
    let result = repo::copy_without_key(&*source, &*target, args.dry_run, &*monitor).await;
    monitor.finish();
    let report = result?;
    findings(app, &report.findings)?;
    let copied = if args.dry_run { "Would copy" } else { "Copied" };
    let of = |folder: &str| report.files.get(folder).copied().unwrap_or_default();
    app.screen.report(format!(
        "{copied} {} of {}, {}",
        output::count(of("packs") as u64, "pack", "packs"),
        output::size(report.bytes),
        output::count(of("snapshots") as u64, "snapshot", "snapshots"),
    ))?;
    if !report.findings.is_empty() {
        app.screen.warn(
            "Snapshots are not copied as long as the source has damaged files\nHint: check names what they touch",
        );
    }
    app.screen.summary(&json!({
        "packs": of("packs"),
        "bytes": report.bytes,
        "index_files": of("index"),
        "snapshots": of("snapshots"),
        "sets": of("sets"),
        "runs": of("runs"),
        "dry_run": args.dry_run,
        "complete": report.findings.is_empty(),
    }))?;
    Ok(if report.findings.is_empty() { Outcome::Done } else { Outcome::Gaps })
}

fn findings(app: &App, findings: &[Finding]) -> Result<()> {
    for finding in findings {
        let word = if finding.error { "Error" } else { "Note" };
        app.screen.line(format!("{word}: {}", output::plain(&finding.sentence())))?;
        let value = json!({"error": finding.error, "object": finding.object, "message": finding.text});
        app.screen.record("finding", &value)?;
    }
    Ok(())
}

/// Opens the replica; makes it first, if nothing is there. A dry run makes it in memory.
async fn replica(app: &App, args: &Args, source: &Arc<Repository>, to: &Place) -> Result<(Arc<Repository>, bool)> {
    let storage = app.storage(to)?;
    let kinship = repo::kinship(&**source.storage(), &*storage).await?;
    let cache_root = app.replica_cache_root(to)?;
    if kinship == Kinship::Replica {
        return Ok((source.open_replica(storage, cache_root).await?, false));
    }
    let (storage, cache_root): (Arc<dyn Storage>, _) = match args.dry_run {
        true => (storage::open("memory:", &StorageOptions::default())?, None),
        false => (storage, cache_root),
    };
    repo::make_replica(&**source.storage(), &*storage).await?;
    Ok((source.open_replica(storage, cache_root).await?, kinship == Kinship::Empty))
}

fn show(app: &App, args: &Args, made: bool, report: &MirrorReport) -> Result<Outcome> {
    let screen = &app.screen;
    findings(app, &report.findings)?;
    let (copied, deleted) = if args.dry_run { ("Would copy", "Would delete") } else { ("Copied", "Deleted") };
    let count = |n: usize, one: &str, many: &str| output::count(n as u64, one, many);
    screen.report(format!(
        "{copied} {} of {}, {}, {}",
        count(report.packs, "pack", "packs"),
        output::size(report.bytes),
        count(report.snapshots, "snapshot", "snapshots"),
        count(report.keys, "key slot", "key slots"),
    ))?;
    if report.snapshots_deleted + report.keys_deleted > 0 {
        let snapshots = count(report.snapshots_deleted, "snapshot", "snapshots");
        screen.report(format!("{deleted} {snapshots}, {}", count(report.keys_deleted, "key slot", "key slots")))?;
        screen.note(format!("Hint: prune -r {} gives back their space", args.to));
    }
    if report.snapshots_kept > 0 {
        let kept = count(report.snapshots_kept, "snapshot", "snapshots");
        screen.report(format!("The replica keeps {kept} that the source has not"))?;
    }
    if report.snapshots_forgotten > 0 {
        let forgotten = count(report.snapshots_forgotten, "snapshot was", "snapshots were");
        screen.report(format!("{forgotten} forgotten at the replica and not copied again; --forgotten copies them"))?;
    }
    if report.keys_kept > 0 {
        let kept = count(report.keys_kept, "key slot opens", "key slots open");
        screen.warn(format!("{kept} the replica and not the source any more\nHint: --delete removes them"));
    }
    if report.snapshots_held_back > 0 {
        let held = count(report.snapshots_held_back, "snapshot was", "snapshots were");
        screen.warn(format!(
            "{held} not copied, for the source has lost something that they may need\n\
             Hint: repair packs --from the replica; what it lacks too: repair index, then repair snapshots"
        ));
    }
    let mut summary = serde_json::to_value(report).unwrap_or_default();
    if let Some(fields) = summary.as_object_mut() {
        fields.insert("made".into(), made.into());
        fields.insert("dry_run".into(), args.dry_run.into());
        fields.insert("complete".into(), report.is_complete().into());
    }
    screen.summary(&summary)?;
    Ok(if report.is_complete() { Outcome::Done } else { Outcome::Gaps })
}
