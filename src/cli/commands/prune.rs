//! `prune`: gives back the space that no snapshot needs.

use std::sync::Arc;

use serde_json::json;

use crate::cli::app::App;
use crate::cli::environment::now_us;
use crate::cli::exit::Outcome;
use crate::cli::output;
use crate::cli::values::{Percent, Span, parser};
use crate::error::Result;
use crate::ops::prune;
use crate::repo::{Clock, PruneOptions, PrunePlan, Repository};

const EXAMPLES: &str = "\
Examples:
  tenantvault prune --dry-run
  tenantvault prune
  tenantvault prune --grace 0      only when no backup can be running
Packs that nothing needs are marked first and deleted by a later prune, when
the grace period has passed: so backups may run at the same time.";

/// Give back the space that no snapshot needs
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) options: Options,
    /// Only say what would be done
    #[arg(short = 'n', long)]
    dry_run: bool,
}

/// How prune decides; `forget --prune` has these too.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How long a pack that nothing needs waits before it is deleted
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parser::<Span>)]
    grace: Span,
    /// How much of the repository may stay unused, rather than be copied together
    #[arg(long, value_name = "PERCENT", default_value = "5%", value_parser = parser::<Percent>)]
    max_unused: Percent,
}

/// Prunes.
pub(crate) async fn run(args: Args, app: &App) -> Result<Outcome> {
    let repo = app.open().await?;
    prune(app, &repo, &args.options, args.dry_run).await?;
    Ok(Outcome::Done)
}

/// Plans, tells, and unless it is a dry run, does.
pub(crate) async fn prune(app: &App, repo: &Arc<Repository>, options: &Options, dry_run: bool) -> Result<()> {
    let options = PruneOptions {
        grace_us: options.grace.us,
        max_unused_percent: options.max_unused.0,
        now_us: now_us(),
        clock: Clock::new(now_us),
    };
    let monitor = app.progress(true);
    let work = async {
        let plan = prune::plan(repo, &options, &*monitor).await?;
        let stay = if dry_run { Vec::new() } else { plan.execute(repo, &*monitor).await? };
        Ok((plan, stay.len()))
    };
    let planned: Result<_> = work.await;
    monitor.finish();
    let (plan, stay) = planned?;
    show(app, &plan, stay, dry_run)
}

/// `stay`: how many of the packs to delete were not.
fn show(app: &App, plan: &PrunePlan, stay: usize, dry_run: bool) -> Result<()> {
    let (screen, sizes) = (&app.screen, &plan.sizes);
    let packs = |count: usize| output::count(count as u64, "pack", "packs");
    let [copied, deleted] =
        if dry_run { ["Would be copied together", "Would be deleted"] } else { ["Copied together", "Deleted"] };
    screen.report(format!("In use: {} of {}", output::size(sizes.used), output::size(sizes.total)))?;
    if plan.is_empty() && plan.waiting.is_empty() {
        screen.report("Nothing to prune")?;
    }
    if !plan.repack.is_empty() {
        screen.report(format!("{copied}: {}, {}", packs(plan.repack.len()), output::size(sizes.repacked)))?;
    }
    if !plan.delete.is_empty() {
        screen.report(format!("{deleted}: {}, {}", packs(plan.delete.len()), output::size(sizes.deleted)))?;
    }
    if stay > 0 {
        let text = "not deleted, for another prune is at work. A later prune deletes them";
        screen.report(format!("Of these, {}: {text}", packs(stay)))?;
    }
    if !plan.waiting.is_empty() {
        let text = "waiting for their grace period, then a later prune deletes them";
        screen.report(format!("{}, {}: {text}", packs(plan.waiting.len()), output::size(sizes.waiting)))?;
    }
    if !plan.missing.is_empty() {
        let count = output::count(plan.missing.len() as u64, "blob", "blobs");
        screen.warn(format!("{count} that snapshots need are in no pack: prune would refuse. Run check"));
    }
    screen.summary(&json!({
        "dry_run": dry_run,
        "repacked_packs": plan.repack.len(),
        "marked_packs": plan.mark.len(),
        "deleted_packs": plan.delete.len() - stay,
        "waiting_packs": plan.waiting.len(),
        "missing_blobs": plan.missing.len(),
        "sizes": sizes,
    }))
}
