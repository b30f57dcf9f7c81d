//! `repair`: makes anew what can be made from the rest.

use clap::Subcommand;
use serde_json::json;

use crate::cli::app::App;
use crate::cli::environment::now_us;
use crate::cli::exit::Outcome;
use crate::cli::output;
use crate::error::{Error, Result};
use crate::ops::heal::heal;
use crate::ops::repair::{RepairReport, RepairedSnapshot, repair_snapshots};
use crate::repo::ReadReplica;

const EXAMPLES: &str = "\
Examples:
  tenantvault check --read-data            what is damaged
  tenantvault repair packs --from cloud    bring back what a replica has whole
  tenantvault repair index --read-data     save what is whole of damaged packs
  tenantvault repair snapshots             turn what is lost into gaps
  tenantvault backup everyone              fetch again what the tenant still has";

/// Make anew what can be made from the rest
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Make the index anew from the packs; what is whole of damaged ones is copied into new packs
    Index {
        /// Read every byte: damage within packs is found, too
        #[arg(long)]
        read_data: bool,
    },
    /// Copy back from a replica what is damaged or lost here: packs, index files, key slots, snapshots
    Packs {
        /// The replica: a destination's name, a path or a URL
        #[arg(long, value_name = "DESTINATION")]
        from: String,
        /// Read every byte: damage within packs is found, too
        #[arg(long)]
        read_data: bool,
    },
    /// Write snapshots anew without what is lost of them; the next backup fetches it again
    Snapshots {
        /// Only say what would be done
        #[arg(short = 'n', long)]
        dry_run: bool,
    },
}

/// Repairs.
pub(crate) async fn run(args: Args, app: &App) -> Result<Outcome> {
    match args.what {
        What::Index { read_data } => index(app, read_data).await,
        What::Packs { from, read_data } => packs(app, &from, read_data).await,
        What::Snapshots { dry_run } => snapshots(app, dry_run).await,
    }
}

async fn index(app: &App, read_data: bool) -> Result<Outcome> {
    let repo = app.open().await?;
    let monitor = app.progress(true);
    let result = repo.repair_index(read_data, &*monitor).await;
    monitor.finish();
    let (packs, findings) = result?;
    for finding in &findings {
        app.screen.line(output::plain(&finding.sentence()))?;
        app.screen
            .record("finding", &json!({"error": finding.error, "object": finding.object, "message": finding.text}))?;
    }
    app.screen.report(format!("The index is made anew: {}", output::count(packs as u64, "pack", "packs")))?;
    let lost = findings.iter().any(|f| f.error);
    if lost {
        app.screen.note("Hint: repair snapshots turns what is lost into gaps, and the next backup fetches it again");
    }
    app.screen.summary(&json!({"packs": packs, "findings": findings.len()}))?;
    Ok(if lost { Outcome::Gaps } else { Outcome::Done })
}

async fn packs(app: &App, from: &str, read_data: bool) -> Result<Outcome> {
    let place = app.named_place(from)?;
    if place.url == app.place(None)?.url {
        return Err(Error::invalid("A repository is no replica of itself").with_hint("Name another with --from"));
    }
    let repo = app.open().await?;
    let replica = repo.open_replica(app.storage(&place)?, app.replica_cache_root(&place)?).await?;
    let (storage, cache_root) = (replica.storage().clone(), app.replica_cache_root(&place)?);
    // What is told of it here is told by the report.
    repo.read_also_from(vec![ReadReplica { name: from.to_owned(), storage, cache_root }], Box::new(|_| {}));
    let monitor = app.progress(true);
    let result = heal(&repo, &replica, read_data, &*monitor).await;
    monitor.finish();
    let report = result?;
    for finding in &report.findings {
        let word = if finding.error { "Error" } else { "Note" };
        app.screen.line(format!("{word}: {}", output::plain(&finding.sentence())))?;
        app.screen
            .record("finding", &json!({"error": finding.error, "object": finding.object, "message": finding.text}))?;
    }
    app.screen.report(format!(
        "Brought back: {} of {}, {}",
        output::count(report.packs as u64, "pack", "packs"),
        output::size(report.bytes),
        output::count(report.files as u64, "other file", "other files"),
    ))?;
    let lost = report.findings.iter().any(|f| f.error);
    if lost {
        app.screen
            .note("Hint: another replica may have the rest; else repair index and repair snapshots go on without");
    }
    app.screen.summary(&json!({
        "packs": report.packs,
        "bytes": report.bytes,
        "files": report.files,
        "lost_blobs": report.lost,
        "findings": report.findings.len(),
    }))?;
    Ok(if lost { Outcome::Gaps } else { Outcome::Done })
}

async fn snapshots(app: &App, dry_run: bool) -> Result<Outcome> {
    let repo = app.open().await?;
    let monitor = app.progress(true);
    let result = repair_snapshots(&repo, dry_run, now_us(), &*monitor).await;
    monitor.finish();
    let report = result?;
    for text in &report.unreadable {
        app.screen.warn(format!("{}\nHint: forget with its id gives it up", output::plain(text)));
    }
    for snapshot in &report.repaired {
        show(app, snapshot)?;
    }
    conclude(app, &report, dry_run)
}

fn show(app: &App, snapshot: &RepairedSnapshot) -> Result<()> {
    let screen = &app.screen;
    let count = output::count(snapshot.lost_count as u64, "thing is lost", "things are lost");
    let (old, set) = (snapshot.old.short(), output::plain(&snapshot.set_name));
    screen.line(match &snapshot.new {
        Some(new) => format!("Snapshot {old} of set '{set}' is now {}: {count}", new.short()),
        None => format!("Snapshot {old} of set '{set}' would be written anew: {count}"),
    })?;
    for gap in &snapshot.lost {
        screen.line(format!("  '{}': {}", output::plain(&gap.name), gap.text))?;
    }
    let more = snapshot.lost_count - snapshot.lost.len();
    if more > 0 {
        screen.line(format!("  … and {} more", output::number(more as u64)))?;
    }
    screen.record(
        "snapshot",
        &json!({
            "old": snapshot.old.to_string(),
            "new": snapshot.new.map(|id| id.to_string()),
            "set": snapshot.set_name,
            "lost": snapshot.lost_count,
        }),
    )
}

fn conclude(app: &App, report: &RepairReport, dry_run: bool) -> Result<Outcome> {
    let looked_at = output::count(report.snapshots as u64, "snapshot", "snapshots");
    let done = match (report.repaired.len() as u64, dry_run) {
        (0, _) => "nothing is lost of them".to_owned(),
        (n, true) => format!("{} would be written anew", output::number(n)),
        (n, false) => format!("{} written anew", output::number(n)),
    };
    app.screen.report(format!("{looked_at} looked at: {done}"))?;
    app.screen.summary(&json!({
        "snapshots": report.snapshots,
        "repaired": report.repaired.len(),
        "lost": report.repaired.iter().map(|s| s.lost_count).sum::<usize>(),
        "unreadable": report.unreadable.len(),
        "dry_run": dry_run,
    }))?;
    let whole = report.repaired.is_empty() && report.unreadable.is_empty();
    Ok(if whole { Outcome::Done } else { Outcome::Gaps })
}
