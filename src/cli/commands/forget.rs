//! `forget`: takes snapshots out, by name or by a retention policy.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::json;

use crate::cli::app::App;
use crate::cli::commands::prune;
use crate::cli::exit::Outcome;
use crate::cli::output::{self, Column};
use crate::cli::values::parser;
use crate::error::{Error, Result};
use crate::ops::forget::{self, SetPlan};
use crate::repo::Repository;
use crate::snapshot::policy::{Count, Policy, SnapshotFacts, Within};
use crate::snapshot::set::SetDefinition;
use crate::snapshot::store::{self, Broken, Listing, Snapshot};

const EXAMPLES: &str = "\
Examples:
  tenantvault forget --dry-run                     by each set's own policy
  tenantvault forget --keep-daily 14 --keep-monthly 24 --prune
  tenantvault forget --set everyone --keep-within 1y6m
  tenantvault forget 3f9a12cd                      this one, whatever policies say
What is forgotten takes up space until prune.";

/// Take snapshots out, by a retention policy or by name
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Forget just these snapshots
    #[arg(value_name = "SNAPSHOT", conflicts_with_all = ["keep", "set"])]
    snapshots: Vec<String>,
    #[command(flatten)]
    keep: Keep,
    /// Only look at this backup set; may be given several times
    #[arg(long, value_name = "SET")]
    set: Vec<String>,
    /// Prune afterwards
    #[arg(long)]
    prune: bool,
    #[command(flatten)]
    options: prune::Options,
    /// Only say what would be done
    #[arg(short = 'n', long)]
    dry_run: bool,
}

/// A policy as options. Without any, each set's own policy counts: the configuration's, else the repository's.
#[derive(clap::Args)]
#[group(id = "keep", multiple = true)]
#[command(next_help_heading = "What to keep (without any of these: what each set's own policy says)")]
struct Keep {
    /// Keep the newest N
    #[arg(short = 'l', long, value_name = "N", value_parser = parser::<Count>)]
    keep_last: Option<Count>,
    /// Keep the newest of each of the last N hours that have snapshots
    #[arg(short = 'H', long, value_name = "N", value_parser = parser::<Count>)]
    keep_hourly: Option<Count>,
    /// The same by days
    #[arg(short = 'd', long, value_name = "N", value_parser = parser::<Count>)]
    keep_daily: Option<Count>,
    /// The same by weeks
    #[arg(short = 'w', long, value_name = "N", value_parser = parser::<Count>)]
    keep_weekly: Option<Count>,
    /// The same by months
    #[arg(short = 'm', long, value_name = "N", value_parser = parser::<Count>)]
    keep_monthly: Option<Count>,
    /// The same by quarters
    #[arg(long, value_name = "N", value_parser = parser::<Count>)]
    keep_quarterly: Option<Count>,
    /// The same by years; N may be 'unlimited' everywhere
    #[arg(short = 'y', long, value_name = "N", value_parser = parser::<Count>)]
    keep_yearly: Option<Count>,
    /// Keep everything of this time before the newest: 1y5m7d2h
    #[arg(long, value_name = "TIME", value_parser = parser::<Within>)]
    keep_within: Option<Within>,
    /// Keep everything with this tag; a,b: with both
    #[arg(long, value_name = "TAG")]
    keep_tag: Vec<String>,
}

impl Keep {
    fn policy(&self) -> Option<Policy> {
        let count = |given: Option<Count>| given.unwrap_or_default();
        let counts = [
            self.keep_last,
            self.keep_hourly,
            self.keep_daily,
            self.keep_weekly,
            self.keep_monthly,
            self.keep_quarterly,
            self.keep_yearly,
        ];
        let given = counts.iter().any(Option::is_some) || self.keep_within.is_some() || !self.keep_tag.is_empty();
        given.then(|| Policy {
            keep_last: count(self.keep_last),
            keep_hourly: count(self.keep_hourly),
            keep_daily: count(self.keep_daily),
            keep_weekly: count(self.keep_weekly),
            keep_monthly: count(self.keep_monthly),
            keep_quarterly: count(self.keep_quarterly),
            keep_yearly: count(self.keep_yearly),
            keep_within: self.keep_within,
            keep_tags: self.keep_tag.clone(),
        })
    }
}

/// Forgets, and prunes if that is asked for.
pub(crate) async fn run(args: Args, app: &App) -> Result<Outcome> {
    let repo = app.open().await?;
    let listing = app.snapshots(&repo).await?;
    if args.snapshots.is_empty() {
        by_policy(&args, app, &repo, &listing.snapshots).await?;
    } else {
        by_name(&args, app, &repo, &listing).await?;
    }
    if args.prune {
        prune::prune(app, &repo, &args.options, args.dry_run).await?;
    }
    Ok(Outcome::Done)
}

async fn by_name(args: &Args, app: &App, repo: &Repository, listing: &Listing) -> Result<()> {
    let snapshots = &listing.snapshots;
    let mut chosen: Vec<&Snapshot> = Vec::new();
    let mut given_up: Vec<&Broken> = Vec::new();
    for text in &args.snapshots {
        match (store::find(snapshots, text), store::find_broken(&listing.broken, text)) {
            (Ok(found), _) if chosen.iter().all(|s| s.id != found.id) => chosen.push(found),
            (Ok(_), _) => {}
            (Err(_), Some(broken)) if given_up.iter().all(|b| b.id != broken.id) => given_up.push(broken),
            (Err(_), Some(_)) => {}
            (Err(e), None) => return Err(e),
        }
    }
    let word = if args.dry_run { "Would forget" } else { "Forgot" };
    for broken in &given_up {
        if !args.dry_run {
            store::delete_broken(repo, broken).await?;
        }
        app.screen.report(format!("{word} snapshot {}, which cannot be read", broken.id.short()))?;
        app.screen.record("snapshot", &json!({"action": "remove", "id": broken.id.to_string(), "set": null}))?;
    }
    for snapshot in &chosen {
        if !args.dry_run {
            store::delete(repo, &[snapshot]).await?;
        }
        let (id, time) = (snapshot.id.short(), app.screen.time(snapshot.file.time_us));
        app.screen.report(format!("{word} snapshot {id} of set '{}', {time}", snapshot.file.set_name))?;
        app.screen.record(
            "snapshot",
            &json!({"action": "remove", "id": snapshot.id.to_string(), "set": snapshot.file.set_name}),
        )?;
    }
    summary(args, app, chosen.len() + given_up.len(), snapshots.len() - chosen.len())
}

async fn by_policy(args: &Args, app: &App, repo: &Repository, snapshots: &[Snapshot]) -> Result<()> {
    let stored = store::list_sets(repo).await?;
    let given = args.keep.policy();
    args.set.iter().try_for_each(|name| store::need_set(snapshots, name))?;
    let mut without = BTreeSet::new();
    let policy_of = |name: &str| {
        if !args.set.is_empty() && !args.set.iter().any(|set| set == name) {
            return Ok(None);
        }
        let (policy, zone) = match (own_policy(app, &stored, name)?, &given) {
            (Some((_, zone)), Some(given)) => (given.clone(), zone),
            (None, Some(given)) => (given.clone(), TimeZone::UTC),
            (Some((policy, zone)), None) if !policy.is_empty() => (policy, zone),
            _ => {
                without.insert(name.to_owned());
                return Ok(None);
            }
        };
        Ok(Some((policy, zone)))
    };
    let plans = forget::plan(snapshots, policy_of, Timestamp::now())?;
    for name in &without {
        app.screen.note(format!("Set '{name}' has no retention policy: all its snapshots stay"));
    }
    if plans.is_empty() && !without.is_empty() {
        return Err(Error::invalid("No set has a retention policy: nothing is forgotten")
            .with_hint("Give --keep options, or a retention table in the configuration"));
    }
    for plan in &plans {
        show(app, plan, args.dry_run)?;
    }
    let removed = if args.dry_run {
        plans.iter().map(|p| p.plan.remove.len()).sum()
    } else {
        forget::execute(repo, snapshots, &plans).await?
    };
    summary(args, app, removed, snapshots.len() - removed)
}

/// The policy of a set: the configuration's, else the one that the repository keeps.
fn own_policy(app: &App, stored: &[SetDefinition], name: &str) -> Result<Option<(Policy, TimeZone)>> {
    if let Some(set) = app.config()?.and_then(|config| config.sets.get(name)) {
        return Ok(Some((set.retention.clone(), set.time_zone.clone())));
    }
    let zone = |set: &SetDefinition| TimeZone::get(&set.time_zone).unwrap_or(TimeZone::UTC);
    Ok(stored.iter().find(|set| set.name == name).map(|set| (set.retention.clone(), zone(set))))
}

fn show(app: &App, plan: &SetPlan, dry_run: bool) -> Result<()> {
    let screen = &app.screen;
    let mut rows: Vec<(i64, Vec<String>)> = Vec::new();
    let mut push = |facts: &SnapshotFacts, action: &str, why: &[String]| {
        let cells =
            vec![action.to_owned(), facts.id.short(), screen.time(facts.time_us), output::plain(&why.join(", "))];
        rows.push((facts.time_us, cells));
        let line = json!({"action": action, "id": facts.id.to_string(), "set": plan.set_name, "time_us": facts.time_us, "reasons": why});
        screen.record("snapshot", &line)
    };
    for (facts, reasons) in &plan.plan.keep {
        push(facts, "keep", reasons)?;
    }
    for facts in &plan.plan.remove {
        push(facts, "remove", &[])?;
    }
    rows.sort_by_key(|(time, _)| *time);
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(_, cells)| cells).collect();
    if screen.quiet {
        return Ok(());
    }
    let (keep, remove) = (plan.plan.keep.len(), plan.plan.remove.len());
    let would = if dry_run { "would " } else { "" };
    screen.report(format!("Set '{}': {would}keep {keep}, {would}remove {remove}", output::plain(&plan.set_name)))?;
    screen.table(&[Column::Text(""), Column::Fixed("ID"), Column::Fixed("Time"), Column::Text("Kept by")], &rows)
}

fn summary(args: &Args, app: &App, removed: usize, kept: usize) -> Result<()> {
    if removed > 0 && !args.prune && !args.dry_run {
        app.screen.report("The space comes back with prune")?;
    }
    // With --prune, prune's summary is the last line.
    let message_type = if args.prune { "forget" } else { "summary" };
    app.screen.record(message_type, &json!({"dry_run": args.dry_run, "removed": removed, "kept": kept}))
}
