//! `restore`: gives items of a snapshot back to a tenant; `restore run`, `restore undo`, `restore runs`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Subcommand, ValueEnum};
use serde_json::json;

use crate::cli::app::App;
use crate::cli::commands::ls::find;
use crate::cli::config::Config;
use crate::cli::environment::now_us;
use crate::cli::exit::Outcome;
use crate::cli::progress::ProgressMonitor;
use crate::cli::values::{Target, absolute, parser};
use crate::cli::{interrupt, output, tenant};
use crate::error::{Error, ErrorKind, Result};
use crate::graph::{ASK_TEST, Client};
use crate::ops::backup::Stop;
use crate::ops::restore::{
    self, Action, Around, Asked, Conflict, Into, Only, Plan, RestoreOptions, RestoreReport, RunFolder, To,
};
use crate::ops::view::View;
use crate::snapshot::store::{self, Snapshot};

const EXAMPLES: &str = "\
Examples:
  tenantvault restore latest:users/alice@contoso.com/Mail/Inbox --to original --plan
  tenantvault restore run 20261126-101500-1f2e3a07c
  tenantvault restore latest:users/alice@contoso.com --to bob@contoso.com
  tenantvault restore everyone@2026-11-20:users/alice@contoso.com/OneDrive \\
      --to original --in-place --only deleted
  tenantvault restore undo 20261126-101500-1f2e3a07c
Without --in-place all goes into a folder of its own, which can be deleted as a
whole. A run that was interrupted goes on with 'restore run', and makes nothing
twice. Nobody is sent a mail, but Planner may tell people of tasks that are
assigned to them.";

/// A restore may have an app of its own.
const ASK_TEST_OF_RESTORES: &str =
    "Run 'tenantvault test --restore': it says which permission is missing and how to grant it";

/// What the first Ctrl-C says, and what it says while a run is taken back.
const STOPPING: &str = "Stopping: what is under way is finished. 'restore run' goes on with what was begun.";
const STOPPING_UNDO: &str = "Stopping: what is under way is finished. 'restore undo' goes on with it.";

/// Give items of a snapshot back to a tenant, with a plan before and an undo after
#[derive(clap::Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Option<Verb>,
    /// The snapshot, and a path in it; several of one snapshot
    #[arg(value_name = "SNAPSHOT[:PATH]", value_parser = parser::<Target>, required = true)]
    targets: Vec<Target>,
    /// Who takes it: original, a user (bob@contoso.com), a site (https://…) or a team
    #[arg(long, value_name = "WHO", value_parser = parser::<To>, required = true)]
    to: Option<To>,
    /// The tenant, by its name in the configuration [default: that of the snapshot's set]
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// Put items where they were
    #[arg(long)]
    in_place: bool,
    /// Put items into a folder of this name [default: Restored and the time]
    #[arg(long, value_name = "NAME", conflicts_with = "in_place")]
    folder: Option<String>,
    /// What becomes of items that are there already
    #[arg(long, value_enum, default_value_t = OnConflict::Skip)]
    conflict: OnConflict,
    /// Only items that are gone from the tenant, or that differ in it
    #[arg(long, value_enum)]
    only: Option<Which>,
    /// Also give people the rights to files that they had; no mail is sent
    #[arg(long)]
    permissions: bool,
    /// Also make new sharing links like those that files had; their addresses are new, no mail is sent
    #[arg(long)]
    links: bool,
    /// Also the earlier versions of files that the snapshot has
    #[arg(long)]
    versions: bool,
    /// Print the plan and keep it, and do nothing else
    #[arg(long)]
    plan: bool,
}

/// What becomes of items that are there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OnConflict {
    /// They stay, and the snapshot's is left out
    Skip,
    /// They stay, and the snapshot's comes beside them
    Copy,
    /// They get the snapshot's contents
    Replace,
    /// They get the snapshot's contents if those are newer
    Newer,
}

/// Which items are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    /// What is not in the tenant any more
    Deleted,
    /// What is in the tenant and differs
    Changed,
}

#[derive(Subcommand)]
enum Verb {
    /// Run a plan, or go on with a run that was interrupted
    Run {
        /// The run's name (latest: the newest), or the file of a plan
        #[arg(value_name = "RUN|FILE")]
        run: String,
    },
    /// Take back what a run made
    Undo {
        /// The run's name (latest: the newest)
        run: String,
    },
    /// List the runs of this machine
    Runs,
}

/// Plans, runs, takes back or lists.
pub(crate) async fn run(args: Args, app: &App) -> Result<Outcome> {
    let done = match &args.action {
        None => begin(&args, app).await,
        Some(Verb::Run { run }) => go_on(run, app).await,
        Some(Verb::Undo { run }) => undo(run, app).await,
        Some(Verb::Runs) => runs(app),
    };
    done.map_err(|e| if e.hint() == Some(ASK_TEST) { e.with_hint(ASK_TEST_OF_RESTORES) } else { e })
}

/// What a command needs of the outside.
struct Work {
    monitor: Arc<ProgressMonitor>,
    around: Around,
    /// Where this machine keeps its runs.
    runs: PathBuf,
    client: Client,
}

impl Work {
    fn new(app: &App, config: &Config, name: &str, stopping: &'static str) -> Result<Self> {
        let stop = Stop::new();
        if !app.screen.captured {
            interrupt::watch(&stop, stopping);
        }
        let monitor = app.progress(true);
        let client = tenant::restore_client(config, name, monitor.clone())?;
        let now = Arc::new(now_us);
        let runs = app.restores()?;
        let around = Around { monitor: monitor.clone(), now_us: now, stop, runs: restore::runs_in(runs.clone()) };
        Ok(Self { monitor, around, runs, client })
    }
}

fn options(args: &Args) -> RestoreOptions {
    let named = || {
        let time = jiff::Timestamp::from_microsecond(now_us()).unwrap_or_default();
        format!("Restored {}", time.strftime("%Y-%m-%d %H%M%S"))
    };
    RestoreOptions {
        into: if args.in_place { Into::Place } else { Into::Folder(args.folder.clone().unwrap_or_else(named)) },
        conflict: match args.conflict {
            OnConflict::Skip => Conflict::Skip,
            OnConflict::Copy => Conflict::Copy,
            OnConflict::Replace => Conflict::Replace,
            OnConflict::Newer => Conflict::Newer,
        },
        only: match args.only {
            None => Only::All,
            Some(Which::Deleted) => Only::Deleted,
            Some(Which::Changed) => Only::Changed,
        },
        permissions: args.permissions,
        links: args.links,
        versions: args.versions,
    }
}

/// The tenant that a restore goes to.
fn tenant_of<'a>(args: &'a Args, config: &'a Config, snapshot: &'a Snapshot) -> Result<&'a str> {
    if let Some(name) = &args.tenant {
        let other = config.tenant(name)?;
        let of = &snapshot.file.tenant;
        let is_other = !of.is_empty() && !other.tenant_id.eq_ignore_ascii_case(of);
        let is_own = args.targets.iter().all(|target| restore::is_of_tenant(&target.path));
        if is_other && args.to == Some(To::Original) && !is_own {
            return Err(Error::invalid(format!(
                "Tenant '{name}' is another one than the snapshot's: nobody is the original there"
            ))
            .with_hint("Name who takes it: --to USER"));
        }
        return Ok(name);
    }
    if let Some(set) = config.sets.get(&snapshot.file.set_name) {
        return Ok(&set.tenant);
    }
    match config.tenants.keys().collect::<Vec<_>>().as_slice() {
        [only] => Ok(only),
        _ => Err(Error::invalid(format!(
            "The configuration has no set '{}' any more",
            output::plain(&snapshot.file.set_name)
        ))
        .with_hint("Name the tenant with --tenant")),
    }
}

async fn begin(args: &Args, app: &App) -> Result<Outcome> {
    let config = app.need_config()?;
    let repo = app.open_to_read().await?;
    restore::need_contents(&repo)?;
    let listing = app.snapshots(&repo).await?;
    let mut snapshot: Option<&Snapshot> = None;
    for target in &args.targets {
        let found = find(&listing.snapshots, target)?;
        if snapshot.is_some_and(|before| before.id != found.id) {
            return Err(Error::invalid("A restore takes from one snapshot").with_hint("Restore from each by itself"));
        }
        snapshot = Some(found);
    }
    let snapshot = snapshot.ok_or_else(|| Error::invalid("Nothing to restore is named"))?;
    let name = tenant_of(args, config, snapshot)?;
    let view = View::new(repo, snapshot.file.clone());
    let work = Work::new(app, config, name, STOPPING)?;
    let asked = Asked {
        view: &view,
        snapshot: snapshot.id.to_string(),
        paths: args.targets.iter().map(|target| target.path.clone()).collect(),
        to: args.to.clone().unwrap_or(To::Original),
        tenant: name.to_owned(),
        tenant_id: config.tenant(name)?.tenant_id.clone(),
        options: options(args),
        grantee: format!(
            "the app of [tenants.{name}.restore] (or of [tenants.{name}]) and consent to it; \
             'tenantvault test --restore {name}' tells what is missing"
        ),
    };
    let made = restore::make(asked, &work.client, &work.around).await;
    if made.is_err() || args.plan {
        work.monitor.finish();
    }
    let plan = made.map_err(unplanned)?;
    if args.plan {
        RunFolder::new(&work.runs, &plan.run).save(&plan)?;
        return print_plan(app, &plan, &work.runs);
    }
    execute(app, &plan, &view, &work).await
}

/// Who stops before there is a plan is told that nothing is left of it.
fn unplanned(e: Error) -> Error {
    match e.kind() {
        ErrorKind::Interrupted => e.with_hint("Nothing was made, and no plan is kept: restore again"),
        _ => e,
    }
}

/// Prints a plan, step by step.
fn print_plan(app: &App, plan: &Plan, folder: &Path) -> Result<Outcome> {
    for step in plan.steps.iter() {
        let (word, why) = match &step.action {
            Action::Create => ("create", None),
            Action::Copy => ("copy", Some(&step.name)),
            Action::Overwrite(_) => ("overwrite", None),
            Action::Use(_) => ("use", None),
            Action::Skip(why) => ("skip", Some(why)),
            Action::Cannot(why) | Action::Unknown(why) => ("cannot", Some(why)),
        };
        let more = why.map(|why| format!(": {}", output::plain(why))).unwrap_or_default();
        app.screen.line(format!("{word:9} {}{more}", output::plain(&step.path)))?;
        app.screen.record("step", &json!({"action": word, "path": step.path, "message": why, "cost": step.cost}))?;
    }
    tell_left_out(app, plan)?;
    let counts = plan.counts();
    let targets: Vec<&str> = plan.targets.iter().map(|target| target.path.as_str()).collect();
    app.screen.report(format!(
        "To {}: create {}, overwrite {}, skip {}, cannot {}",
        output::plain(&targets.join(", ")),
        output::number(counts.create),
        output::number(counts.overwrite),
        output::number(counts.skip),
        output::number(counts.cannot),
    ))?;
    app.screen.report(format!(
        "About {}, {} sent; at least {} under Microsoft's limits (a mailbox takes 150 MB in 5 minutes)",
        output::count(counts.requests, "request", "requests"),
        output::size(counts.bytes),
        duration(plan.seconds),
    ))?;
    let not_counted = plan.not_counted();
    if !not_counted.is_empty() {
        app.screen.report(format!("Not counted: {}", not_counted.join(", ")))?;
    }
    app.screen.report(format!("Run it: tenantvault restore run {}", plan.run))?;
    app.screen.summary(&json!({
        "run": plan.run, "snapshot": plan.snapshot, "tenant": plan.tenant, "targets": plan.targets, "counts": counts,
        "seconds": plan.seconds, "not_counted": not_counted, "keep_rights": plan.keep_rights(),
        "keep_versions": plan.keep_versions(), "plan": RunFolder::new(folder, &plan.run).plan_path().display().to_string(),
    }))?;
    Ok(Outcome::Done)
}

/// Names what has no way back here though it was asked for, as a part of something larger, and what refuses to take it.
fn tell_left_out(app: &App, plan: &Plan) -> Result<()> {
    for (path, why) in &plan.refused {
        app.screen.note(format!("Refused: {} ({})", output::plain(path), output::plain(why)));
        app.screen.record("refused", &json!({"path": path, "message": why}))?;
    }
    for (path, why) in &plan.left_out {
        app.screen.note(format!("Left out: {} ({})", output::plain(path), output::plain(why)));
        app.screen.record("left_out", &json!({"path": path, "message": why}))?;
    }
    let keep = plan.keep_versions();
    if keep > 0 {
        app.screen.note(format!(
            "{} already there: --versions goes with what is made, and what is overwritten has its own versions",
            output::count(keep, "file is", "files are")
        ));
    }
    let keep = plan.keep_rights();
    if keep > 0 {
        let (what, keeps) =
            (output::count(keep, "file or folder", "files and folders"), if keep == 1 { "keeps" } else { "keep" });
        app.screen.note(format!(
            "{what} that {} there already {keeps} the rights of now: --permissions and --links go with what is made",
            if keep == 1 { "is" } else { "are" }
        ));
    }
    Ok(())
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..7200 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h", seconds.div_ceil(3600)),
    }
}

async fn execute(app: &App, plan: &Plan, view: &View, work: &Work) -> Result<Outcome> {
    let result = restore::run(plan, view, &work.client, &work.around).await;
    work.monitor.finish();
    let report = result.inspect_err(|e| {
        // What was given is of no use once more, either.
        let is_kept = RunFolder::new(&work.runs, &plan.run).plan_path().exists();
        if is_kept && e.kind() != ErrorKind::InvalidInput {
            app.screen.note(format!("Go on with: tenantvault restore run {}", plan.run));
            // The error is what counts where nobody reads this.
            let _ = app.screen.record("run", &json!({"run": plan.run, "state": "interrupted"}));
        }
    })?;
    tell(app, plan, &report)
}

fn tell(app: &App, plan: &Plan, report: &RestoreReport) -> Result<Outcome> {
    let overwritten = match report.overwritten {
        0 => String::new(),
        n => format!(", {} overwritten", output::number(n)),
    };
    let skipped = match report.skipped {
        0 => String::new(),
        n => format!(", {} left out", output::number(n)),
    };
    app.screen.report(format!(
        "Restored {}, {}{overwritten}{skipped}",
        output::count(report.created, "item", "items"),
        output::size(report.bytes)
    ))?;
    tell_left_out(app, plan)?;
    for (path, note) in &report.notes {
        app.screen.record("note", &json!({"path": path, "message": note}))?;
    }
    if !report.notes.is_empty() {
        let count = output::count(report.notes.len() as u64, "item came", "items came");
        app.screen.note(format!("{count} back in another form; --json lists them, docs/restore.md explains them"));
    }
    for (path, why) in &report.stopped {
        app.screen.note(format!("{} takes nothing more: {}", output::plain(path), output::plain(why)));
    }
    if !report.problems.is_empty() {
        let count = output::count(report.problems.len() as u64, "item was", "items were");
        app.screen.note(format!("{count} not restored"));
    }
    if report.interrupted || !report.stopped.is_empty() {
        app.screen.note(format!("Go on with: tenantvault restore run {}", plan.run));
    }
    if report.created + report.overwritten > 0 {
        app.screen.note(format!("Take it back with: tenantvault restore undo {}", plan.run));
    }
    app.screen.summary(&json!({
        "run": plan.run, "created": report.created, "overwritten": report.overwritten, "skipped": report.skipped,
        "bytes": report.bytes, "problems": report.problems, "notes": report.notes.len(), "stopped": report.stopped,
        "interrupted": report.interrupted, "keep_rights": plan.keep_rights(),
    }))?;
    Ok(match report {
        report if report.interrupted => Outcome::Interrupted,
        report if report.problems.is_empty() && report.stopped.is_empty() && plan.refused.is_empty() => Outcome::Done,
        _ => Outcome::Gaps,
    })
}

async fn go_on(name: &str, app: &App) -> Result<Outcome> {
    let config = app.need_config()?;
    let folder = app.restores()?;
    let file: PathBuf = absolute(&app.environment.working_folder, name.as_ref());
    let plan = if file.is_file() {
        let failed = |e| Error::io(format!("The plan {} cannot be read", file.display()), e);
        Plan::read(std::io::BufReader::new(std::fs::File::open(&file).map_err(failed)?))?
    } else {
        RunFolder::new(&folder, &named(&folder, name)?).plan()?
    };
    is_same_tenant(config, &plan)?;
    let view = opened(app, &plan).await?;
    let work = Work::new(app, config, &plan.tenant, STOPPING)?;
    execute(app, &plan, &view, &work).await
}

/// Opens the snapshot of a plan.
async fn opened(app: &App, plan: &Plan) -> Result<View> {
    let repo = app.open_to_read().await?;
    let listing = app.snapshots(&repo).await?;
    let snapshot = store::find(&listing.snapshots, &plan.snapshot)?;
    Ok(View::new(repo, snapshot.file.clone()))
}

/// The name of a run, where `latest` is the newest. It is no way out of the folder of runs.
fn named(folder: &Path, name: &str) -> Result<String> {
    if name == "latest" {
        let newest = restore::list(folder)?.pop();
        return newest.ok_or_else(|| Error::not_found("There is no restore run on this machine"));
    }
    let fine = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let hint = "restore runs lists those of this machine";
    if fine {
        Ok(name.to_owned())
    } else {
        Err(Error::new(ErrorKind::NotFound, "There is no such restore run").with_hint(hint))
    }
}

/// The newest run of which there is something to take back.
fn newest_done(folder: &Path) -> Result<String> {
    for name in restore::list(folder)?.into_iter().rev() {
        if RunFolder::new(folder, &name).state()?.can_be_undone() {
            return Ok(name);
        }
    }
    Err(Error::not_found("There is no restore run on this machine of which anything could be taken back"))
}

/// A name of the configuration may have got another tenant since.
fn is_same_tenant(config: &Config, plan: &Plan) -> Result<()> {
    let now = &config.tenant(&plan.tenant)?.tenant_id;
    if plan.tenant_id.is_empty() || plan.tenant_id.eq_ignore_ascii_case(now) {
        return Ok(());
    }
    let text = format!("Run {} is of tenant {}, and '{}' is now another one", plan.run, plan.tenant_id, plan.tenant);
    Err(Error::invalid(text).with_hint("Use the configuration with which the plan was made"))
}

async fn undo(name: &str, app: &App) -> Result<Outcome> {
    let config = app.need_config()?;
    let runs = app.restores()?;
    let name = &if name == "latest" { newest_done(&runs)? } else { named(&runs, name)? };
    let folder = RunFolder::new(&runs, name);
    let plan = folder.plan()?;
    is_same_tenant(config, &plan)?;
    // The snapshot tells what a step of which no result is known may have left.
    let view = match folder.state()?.has_doubt() {
        false => None,
        true => match opened(app, &plan).await {
            Ok(view) => Some(view),
            // All else can be taken back all the same.
            Err(e) if e.kind() == ErrorKind::NotFound => {
                app.screen.warn(format!("{e}: what was under way when the run broke off stays as it is"));
                None
            }
            Err(e) => return Err(e),
        },
    };
    let work = Work::new(app, config, &plan.tenant, STOPPING_UNDO)?;
    let result = restore::undo(name, view.as_ref(), &work.client, &work.around).await;
    work.monitor.finish();
    let report = result?;
    let targets: Vec<String> = plan.targets.iter().map(|target| output::plain(&target.path)).collect();
    app.screen.report(format!(
        "Took back {} of run {name}, to {}",
        output::count(report.undone, "item", "items"),
        targets.join(", ")
    ))?;
    for (path, why) in &report.left {
        app.screen.note(format!("Left {}: {}", output::plain(path), output::plain(why)));
    }
    if report.interrupted {
        app.screen.note(format!("Go on with: tenantvault restore undo {name}"));
    }
    app.screen.summary(&json!({
        "run": name, "undone": report.undone, "left": report.left, "interrupted": report.interrupted,
    }))?;
    Ok(match report {
        report if report.interrupted => Outcome::Interrupted,
        report if report.left.is_empty() => Outcome::Done,
        _ => Outcome::Gaps,
    })
}

fn runs(app: &App) -> Result<Outcome> {
    let folder = app.restores()?;
    let names = restore::list(&folder)?;
    for name in &names {
        let run = RunFolder::new(&folder, name);
        let (plan, state) = match (run.plan(), run.state()) {
            (Ok(plan), Ok(state)) => (plan, state),
            (Err(e), _) | (_, Err(e)) => {
                app.screen.note(format!("{name}: {e}"));
                continue;
            }
        };
        let word = match (state.was_undone(), state.ended) {
            _ if state.steps.is_empty() => "planned",
            (true, _) if state.can_be_undone() => "undone in part",
            (true, _) => "undone",
            (_, true) => "done",
            _ => "interrupted",
        };
        let targets: Vec<&str> = plan.targets.iter().map(|target| target.path.as_str()).collect();
        app.screen.line(format!("{name}  {word:14}  {}", output::plain(&targets.join(", "))))?;
        app.screen.record("run", &json!({"run": name, "state": word, "targets": targets, "counts": plan.counts()}))?;
    }
    app.screen.summary(&json!({"runs": names.len()}))?;
    Ok(Outcome::Done)
}
