//! `backup`: reads what changed in a tenant and writes a snapshot.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::json;
use tokio_util::task::AbortOnDropHandle;

use crate::cli::app::App;
use crate::cli::config::{Config, Hours, Set};
use crate::cli::coverage::{self, Absent};
use crate::cli::environment::now_us;
use crate::cli::exit::{self, Outcome};
use crate::cli::{destinations, estimate, interrupt, output, tenant};
use crate::error::{Error, ErrorKind, Result};
use crate::graph::{Budget, SpeedLimit};
use crate::m365::discover::CoverageState;
use crate::monitor::Monitor;
use crate::ops::backup::{BackupOptions, BackupReport, Stop, Surroundings, backup, selection};
use crate::ops::estimate::estimate as estimate_backup;
use crate::ops::replicas::{Lagging, Replicas};
use crate::repo::{Repository, WriterOptions};

const EXAMPLES: &str = "\
Examples:
  tenantvault backup everyone
  tenantvault backup everyone mail-offsite --tag before-migration
  tenantvault backup everyone --dry-run     what would be read, and how long it takes
Ctrl-C finishes what is under way and writes an incomplete snapshot; the next
run goes on from it. A second Ctrl-C stops at once; nothing stored is lost.";

/// How often the clock is looked at.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_secs(30);

/// How many gaps are told one by one.
const GAPS_TOLD: usize = 20;

/// Back up sets: read what changed, write a snapshot
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The backup sets, by their names in the configuration
    #[arg(required = true, value_name = "SET")]
    sets: Vec<String>,
    /// Mark the snapshots; may be given several times
    #[arg(long, value_name = "TAG", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    tag: Vec<String>,
    /// The machine's name to write into the snapshots
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// Read and write nothing: show what would be read, with an estimate of items, bytes, requests and time
    #[arg(long)]
    dry_run: bool,
    /// Run whatever the hours of the sets are, and as long as it takes
    #[arg(long)]
    now: bool,
}

/// What the sets of one run share.
struct Run<'a> {
    app: &'a App,
    config: &'a Config,
    args: &'a Args,
    stop: Stop,
    budgets: HashMap<String, Arc<Budget>>,
    /// The limits of tenants on bytes a second.
    speeds: HashMap<String, Arc<SpeedLimit>>,
    repositories: HashMap<String, Arc<Repository>>,
}

/// Backs up one set after the other. One that fails does not keep the others from their turn.
pub(crate) async fn run(args: Args, app: &App) -> Result<Outcome> {
    let config = app.need_config()?;
    // A name that is wrong is told before anything begins.
    for name in &args.sets {
        config.set(name)?;
    }
    // Named twice is backed up once.
    let mut named = HashSet::new();
    let sets: Vec<&String> = args.sets.iter().filter(|name| named.insert(*name)).collect();
    let stop = Stop::new();
    if !app.screen.captured {
        interrupt::watch(&stop, "Stopping: finishing what is under way, then writing an incomplete snapshot.");
    }
    let mut run = Run {
        app,
        config,
        args: &args,
        stop,
        budgets: HashMap::new(),
        speeds: HashMap::new(),
        repositories: HashMap::new(),
    };
    let (mut outcome, mut failed) = (Outcome::Done, None);
    for (number, name) in sets.iter().enumerate() {
        match run.set(name).await {
            Ok(ended) => outcome = outcome.and(ended),
            Err(e) if number + 1 == sets.len() && failed.is_none() => return Err(e),
            Err(e) => {
                let e = e.context(format!("Backup of set '{name}' failed"));
                exit::report(&e, app.global.json);
                failed.get_or_insert(((*name).clone(), e.kind()));
            }
        }
        if outcome == Outcome::Interrupted {
            return Ok(outcome);
        }
    }
    match failed {
        Some((name, kind)) => Err(Error::new(kind, format!("Not all sets were backed up: '{name}' failed"))),
        None => Ok(outcome),
    }
}

impl Run<'_> {
    async fn set(&mut self, name: &str) -> Result<Outcome> {
        let definition = self.config.definition(name)?;
        let set = self.config.set(name)?;
        let hours = set.hours.filter(|_| !self.args.now && !self.args.dry_run);
        let hours = hours.map(|hours| (hours, set.time_zone.clone()));
        if let Some((hours, zone)) = &hours {
            within(name, *hours, zone)?;
        }
        let monitor = self.app.progress(false);
        let replicas = self.replicas(set, &*monitor).await?;
        let repo = match (&replicas, set.destinations.first()) {
            (Some(replicas), _) => replicas.repository().clone(),
            (None, Some(destination)) => self.repository(destination).await?,
            (None, None) => return Err(Error::internal("A set without a destination")),
        };
        let budget = self.budgets.get(&set.tenant).cloned();
        let speed = self.speed(set)?;
        let client = tenant::client(self.config, &set.tenant, budget, &speed, monitor.clone())?;
        self.budgets.entry(set.tenant.clone()).or_insert_with(|| client.budget().clone());
        if self.args.dry_run {
            let found = estimate_backup(&repo, &client, &definition, &selection(&definition), now_us()).await;
            monitor.finish();
            let found = found?;
            let absent = coverage::absent(&found.found, &definition, found.parts.len() as u64);
            estimate::show(self.app, name, &found, &absent)?;
            return Ok(Outcome::Done);
        }
        let options = BackupOptions {
            set: definition,
            host: self.args.host.clone().unwrap_or_else(host_name),
            program: concat!("tenantvault ", env!("CARGO_PKG_VERSION")).to_owned(),
            tags: self.args.tag.clone(),
            writer: WriterOptions::default(),
            collections_at_once: 0,
        };
        let around = Surroundings { monitor: monitor.clone(), now_us: Arc::new(now_us), stop: self.stop.part() };
        let clock = hours
            .map(|(hours, zone)| AbortOnDropHandle::new(tokio::spawn(at_the_end(hours, zone, around.stop.clone()))));
        let began = std::time::Instant::now();
        let result = backup(&repo, &client, &options, &around).await;
        let lagging = match replicas {
            Some(replicas) => replicas.finish(&*monitor).await,
            None => Vec::new(),
        };
        monitor.finish();
        self.tell(&lagging, set)?;
        // The user did not stop it: its hours are over.
        let over = clock.is_some_and(|clock| clock.is_finished()) && !self.stop.is_stopped();
        if over {
            self.app
                .screen
                .warn(format!("Set '{name}' was stopped at the end of its hours; the next run goes on from there"));
        }
        let report = match result {
            Err(e) if e.kind() == ErrorKind::Interrupted && over => return Ok(Outcome::Gaps),
            Err(e) if e.kind() == ErrorKind::Interrupted => {
                self.app.screen.note("Stopped before there was anything to keep: no snapshot was written");
                return Ok(Outcome::Interrupted);
            }
            other => other?,
        };
        let absent = coverage::absent(&report.found, &options.set, report.totals.collections);
        show(self.app, name, &report, &absent, &lagging, began.elapsed())?;
        let whole = if over || !lagging.is_empty() { Outcome::Gaps } else { Outcome::Done };
        Ok(whole.and(outcome_of(&report, &absent)))
    }

    /// Joins the destinations of a set that has several, unless the options name one.
    async fn replicas(&mut self, set: &Set, monitor: &dyn Monitor) -> Result<Option<Replicas>> {
        if set.destinations.len() < 2 || self.app.names_a_repository() || self.args.dry_run {
            return Ok(None);
        }
        let (opened, away) = destinations::open(self.app, &set.destinations, &mut self.repositories).await?;
        let leader = opened.first().map(|leader| self.app.named_place(&leader.name)).transpose()?;
        let cache_root = leader.map(|place| self.app.cache_root_of(&place)).transpose()?.flatten();
        Replicas::join(opened, away, cache_root, monitor).await.map(Some)
    }

    /// Tells which destinations lag behind.
    fn tell(&self, lagging: &[Lagging], set: &Set) -> Result<()> {
        for lag in lagging {
            let name = output::plain(&lag.destination);
            let other = set.destinations.iter().find(|other| !lagging.iter().any(|lag| lag.destination == **other));
            let mirror = other.map(|other| format!("; at once: tenantvault mirror {other} {name}")).unwrap_or_default();
            let hint = lag.hint.clone().unwrap_or_else(|| format!("the next backup catches it up{mirror}"));
            let text = format!("Destination '{name}' lags behind: {}", output::plain(&lag.message));
            self.app.screen.warn(format!("{text}\nHint: {}", output::plain(&hint)));
            self.app.screen.record("lagging", lag)?;
        }
        Ok(())
    }

    /// The limits on bytes a second that hold for a set: its tenant's, which all sets share, and its own.
    fn speed(&mut self, set: &Set) -> Result<Vec<Arc<SpeedLimit>>> {
        let mut all: Vec<Arc<SpeedLimit>> =
            set.download_bytes_per_second.map(SpeedLimit::new).map(Arc::new).into_iter().collect();
        if let Some(limit) = self.config.tenant(&set.tenant)?.download_bytes_per_second {
            let shared = self.speeds.entry(set.tenant.clone()).or_insert_with(|| Arc::new(SpeedLimit::new(limit)));
            all.push(shared.clone());
        }
        Ok(all)
    }

    async fn repository(&mut self, destination: &str) -> Result<Arc<Repository>> {
        let place = self.app.place(Some(destination))?;
        if let Some(open) = self.repositories.get(&place.url) {
            return Ok(open.clone());
        }
        let repo = self.app.open_at(&place).await?;
        self.repositories.insert(place.url, repo.clone());
        Ok(repo)
    }
}

/// Refuses to begin outside the hours of a set.
fn within(set: &str, hours: Hours, zone: &jiff::tz::TimeZone) -> Result<()> {
    let now = jiff::Timestamp::now();
    if hours.left(now, zone).is_some() {
        return Ok(());
    }
    let time = now.to_zoned_datetime(zone.clone()).strftime("%H:%M %Z").to_string();
    Err(Error::new(ErrorKind::Unavailable, format!("Set '{set}' is read from {hours} only, and it is {time}"))
        .with_hint("Run it in these hours, or with --now"))
}

/// Waits for the end of the hours, then stops the run. Clocks may be set meanwhile, and machines sleep.
async fn at_the_end(hours: Hours, zone: jiff::tz::TimeZone, stop: Stop) {
    while let Some(left) = hours.left(jiff::Timestamp::now(), &zone) {
        tokio::time::sleep(left.min(LOOK_EVERY)).await;
    }
    stop.stop();
}

fn outcome_of(report: &BackupReport, absent: &Absent) -> Outcome {
    if report.stopped {
        Outcome::Interrupted
    } else if !report.complete || !report.gaps.is_empty() || !absent.warnings.is_empty() {
        Outcome::Gaps
    } else {
        Outcome::Done
    }
}

fn show(
    app: &App,
    set: &str,
    report: &BackupReport,
    absent: &Absent,
    lagging: &[Lagging],
    took: std::time::Duration,
) -> Result<()> {
    let (screen, totals) = (&app.screen, &report.totals);
    let state = if report.stopped {
        " (incomplete: stopped)"
    } else if report.complete {
        ""
    } else {
        " (incomplete)"
    };
    screen.report(format!(
        "Snapshot {} of set '{set}'{state}: {} in {}",
        report.snapshot.short(),
        output::count(totals.items, "item", "items"),
        output::count(totals.collections, "collection", "collections"),
    ))?;
    screen.report(format!(
        "  {} added, {} changed, {} removed; {}",
        output::number(totals.items_added),
        output::number(totals.items_changed),
        output::number(totals.items_removed),
        output::count(totals.gaps, "gap", "gaps"),
    ))?;
    screen.report(format!(
        "  read {}, new {}, stored {}; {} in {}",
        output::size(totals.bytes_read),
        output::size(totals.bytes_new),
        output::size(totals.bytes_stored),
        output::count(totals.requests, "request", "requests"),
        output::duration(took),
    ))?;
    if !report.left_out.is_empty() {
        screen.report(format!("  {}", report.left_out))?;
    }
    show_absent(app, report, absent)?;
    show_gaps(app, report)?;
    screen.summary(&json!({
        "set": set,
        "snapshot": report.snapshot.to_string(),
        "parent": report.parent.map(|id| id.to_string()),
        "complete": report.complete,
        "stopped": report.stopped,
        "left_out": report.left_out,
        "lagging": lagging,
        "seconds": took.as_secs_f64(),
        "totals": totals,
    }))
}

fn show_absent(app: &App, report: &BackupReport, absent: &Absent) -> Result<()> {
    let screen = &app.screen;
    for text in &report.damage {
        screen.warn(format!("{}\nHint: check --read-data says what else is damaged", output::plain(text)));
    }
    for text in &absent.warnings {
        screen.warn(output::plain(text));
    }
    for (number, text) in absent.notes.iter().enumerate() {
        let before = if number == 0 { "  Nothing to read:\n" } else { "" };
        screen.report(format!("{before}    {}", output::plain(text)))?;
    }
    for found in &report.found {
        let (word, reason) = match &found.state {
            CoverageState::Nothing(reason) => ("nothing", reason),
            CoverageState::Impossible(reason) => ("impossible", reason),
            _ => continue,
        };
        let workload = found.workload.map(crate::m365::Workload::word);
        screen.record(word, &json!({"user": found.name, "workload": workload, "message": reason}))?;
    }
    Ok(())
}

fn show_gaps(app: &App, report: &BackupReport) -> Result<()> {
    let screen = &app.screen;
    if report.gaps.is_empty() {
        return Ok(());
    }
    screen.report("  Missing from the snapshot, to be tried again by the next run:")?;
    for (number, gap) in report.gaps.iter().enumerate() {
        screen.record(
            "gap",
            &json!({
                "collection": gap.collection,
                "id": gap.id,
                "name": gap.name,
                "reason": gap.reason,
                "message": gap.text,
                "since_us": gap.since_us,
            }),
        )?;
        if number < GAPS_TOLD {
            screen.report(format!("    {}: {}", output::plain(&gap.name), output::plain(&gap.text)))?;
        }
    }
    if report.gaps.len() > GAPS_TOLD {
        let more = report.gaps.len() - GAPS_TOLD;
        screen.report(format!("    … and {more} more; with --json all are listed"))?;
    }
    Ok(())
}

/// The machine's name, for people.
fn host_name() -> String {
    let from_file = |path: &str| std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let named = from_file("/proc/sys/kernel/hostname").or_else(|| from_file("/etc/hostname"));
    let named = named.or_else(|| std::env::var("COMPUTERNAME").or_else(|_| std::env::var("HOSTNAME")).ok());
    named.filter(|name| !name.is_empty()).unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_run_is_refused_outside_its_hours_and_stopped_at_their_end() {
        let zone = jiff::tz::TimeZone::UTC;
        let now = jiff::Timestamp::now().to_zoned_datetime(zone.clone());
        let at = |minutes: i64| {
            now.checked_add(jiff::Span::new().minutes(minutes)).expect("a time").strftime("%H:%M").to_string()
        };
        let over: Hours = format!("{}-{}", at(-180), at(-120)).parse().expect("hours");
        let e = within("x", over, &zone).expect_err("outside");
        assert!(e.hint().is_some_and(|hint| hint.contains("--now")), "{e}");
        let (all, part) = (Stop::new(), Stop::new());
        at_the_end(over, zone.clone(), part.clone()).await;
        assert!(part.is_stopped() && !all.is_stopped());
        within("x", format!("{}-{}", at(-120), at(120)).parse().expect("hours"), &zone).expect("inside");
        let part = all.part();
        all.stop();
        assert!(part.is_stopped());
    }
}
