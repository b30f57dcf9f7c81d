//! Restoring: asking for a plan, running it, taking it back, stopping.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::note;
use crate::error::{Error, ErrorKind, Result};
use crate::ops::restore::{Conflict, Into, Known, Only, RestoreOptions, State, Step, To, is_of_tenant};
use crate::server::auth::{Actor, Password};
use crate::server::basket;
use crate::server::db::{Asking, Job, JobKind, JobState, NewJob, NewRestore, Part, RepositoryRow, RestoreRow, Tenant};
use crate::server::id::Id;
use crate::server::plans;
use crate::server::state::Server;
use crate::snapshot::store::{self, Snapshot};

/// The longest path, and name of whoever takes it.
const LONGEST: usize = 4_096;

/// What becomes of an item where something of the same identity is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum OnConflict {
    /// What is there stays, and the item is left out.
    #[default]
    Skip,
    /// What is there stays, and the item comes beside it.
    Copy,
    /// What is there gets the item's contents.
    Replace,
    /// What is there gets the item's contents if the item was changed later.
    Newer,
}

/// Which items are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Which {
    /// All.
    #[default]
    All,
    /// Those that are not in the tenant any more.
    Deleted,
    /// Those that are in the tenant and differ.
    Changed,
}

/// A restore to plan.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RestoreWanted {
    /// The snapshot's id, or what names one: `latest`, `SET@latest`, `SET@2026-11-20`.
    #[schema(max_length = 200)]
    pub(crate) snapshot: String,
    /// Paths in the snapshot, as the search gives them; an empty one is all of it.
    #[schema(min_items = 1, max_items = 1000)]
    pub(crate) paths: Vec<String>,
    /// The tenant that it goes to. Left out: the one that the snapshot is of.
    #[serde(default)]
    pub(crate) tenant: Option<Id>,
    /// `original`, or who takes it: a user's address, a site's `https://…`, a team's name or address.
    #[serde(default = "original")]
    #[schema(max_length = 4096, example = "original")]
    pub(crate) to: String,
    /// Where it was, in place of a folder of its own.
    #[serde(default)]
    pub(crate) in_place: bool,
    /// The folder that it goes into. Left out: "Restored" and the time.
    #[serde(default)]
    #[schema(max_length = 200)]
    pub(crate) folder: Option<String>,
    /// What becomes of what is there already.
    #[serde(default)]
    pub(crate) conflict: OnConflict,
    /// Which items are taken.
    #[serde(default)]
    pub(crate) only: Which,
    /// Files get back the permissions that people had.
    #[serde(default)]
    pub(crate) permissions: bool,
    /// Files get new sharing links in the place of those they had.
    #[serde(default)]
    pub(crate) links: bool,
    /// Files get back the earlier versions that the snapshot has.
    #[serde(default)]
    pub(crate) versions: bool,
}

fn original() -> String {
    "original".to_owned()
}

/// How a restore stands.
pub(crate) struct Standing {
    /// The restore.
    pub(crate) row: RestoreRow,
    /// The job that plans it.
    pub(crate) plan: Job,
    /// The last job that ran it.
    pub(crate) run: Option<Job>,
    /// The last job that took it back.
    pub(crate) undo: Option<Job>,
    /// Its last run ended, and nothing is there of it, nor may be.
    pub(crate) made_nothing: bool,
}

/// How a restore stands, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Stage {
    /// The plan is being made.
    Planning,
    /// There is no plan: the job says why.
    NotPlanned,
    /// The plan is there, and waits for a word.
    Planned,
    /// It runs.
    Running,
    /// All that the plan says is done.
    Done,
    /// What could be done is done.
    Gaps,
    /// It was stopped, or failed, on the way: it can be gone on with, or taken back.
    Halted,
    /// It is being taken back.
    TakingBack,
    /// It was taken back.
    TakenBack,
    /// It was taken back in part: the job says what was left.
    TakenBackInPart,
}

impl Standing {
    /// How it stands.
    pub(crate) fn stage(&self) -> Stage {
        if let Some(undo) = &self.undo {
            return match undo.state {
                JobState::Queued | JobState::Running => Stage::TakingBack,
                JobState::Done => Stage::TakenBack,
                _ => Stage::TakenBackInPart,
            };
        }
        match (&self.run, self.plan.state) {
            (Some(run), _) => match run.state {
                JobState::Queued | JobState::Running => Stage::Running,
                JobState::Done => Stage::Done,
                JobState::Gaps => Stage::Gaps,
                _ => Stage::Halted,
            },
            (None, JobState::Queued | JobState::Running) => Stage::Planning,
            (None, _) if self.row.run.is_some() => Stage::Planned,
            (None, _) => Stage::NotPlanned,
        }
    }

    /// It can be run, or gone on with.
    pub(crate) fn can_run(&self) -> bool {
        matches!(self.stage(), Stage::Planned | Stage::Gaps | Stage::Halted)
    }

    /// It can be taken back.
    pub(crate) fn can_undo(&self) -> bool {
        !self.made_nothing && matches!(self.stage(), Stage::Done | Stage::Gaps | Stage::Halted | Stage::TakenBackInPart)
    }

    /// How many items and containers the last run made or overwrote; none: it did not come to tell.
    pub(crate) fn made(&self) -> Option<i64> {
        self.run.as_ref().and_then(made)
    }

    /// The job that counts now.
    pub(crate) fn job(&self) -> &Job {
        self.undo.as_ref().or(self.run.as_ref()).unwrap_or(&self.plan)
    }
}

/// Asks for the plan of a restore.
///
/// # Errors
/// `WrongKey` when the repository is locked; `InvalidInput`; `NotFound` for the snapshot or the tenant.
pub(crate) async fn ask(
    server: &Server,
    actor: &Actor,
    row: &RepositoryRow,
    wanted: &RestoreWanted,
) -> Result<Standing> {
    let now = server.now_us();
    let key = server.unlocked.lendable(actor, row, now)?;
    let repo = server.stores.open(server, row).await?;
    let listing = store::list(&repo).await?;
    let snapshot = store::find(&listing.snapshots, &wanted.snapshot)?;
    let tenant = tenant_for(server, &row.account, snapshot, wanted).await?;
    let asking = asking(wanted, now)?;
    let id = Id::random();
    let snapshot = snapshot.id.to_string();
    let new = NewRestore { tenant: &tenant.id, repository: &row.id, snapshot: &snapshot, asking: &asking };
    let job = job(&row.account, JobKind::Plan, &tenant.id, &row.id, &actor.login, now);
    let planning =
        server.db.add_restore(&server.vault, &id, &new, &job, key.as_ref().map(Password::expose), now).await?;
    let detail = json!({
        "restore": id, "tenant": tenant.name, "to": asking.to, "snapshot": snapshot, "paths": asking.paths.len(),
        "how": asking.sentence(),
    });
    note(server, actor, &row.account, "restore.plan", &row.name, detail).await?;
    lent(server, actor, row, key.is_some(), &planning).await?;
    standing(server, server.db.restore(&row.account, &id).await?).await
}

/// Notes that a job was lent a key.
async fn lent(server: &Server, actor: &Actor, row: &RepositoryRow, is_lent: bool, job: &Id) -> Result<()> {
    if !is_lent {
        return Ok(());
    }
    note(server, actor, &row.account, "key.lend-to-job", &row.name, json!({"job": job, "until": "the job ends"})).await
}

fn job<'a>(
    account: &'a Id,
    kind: JobKind,
    tenant: &'a Id,
    repository: &'a Id,
    asked_by: &'a str,
    now_us: i64,
) -> NewJob<'a> {
    NewJob {
        account,
        kind,
        set: None,
        tenant: Some(tenant),
        repository: Some(repository),
        client: None,
        arguments: json!({}),
        asked_by,
        run_after_us: now_us,
    }
}

fn asking(wanted: &RestoreWanted, now_us: i64) -> Result<Asking> {
    if wanted.paths.is_empty() {
        return Err(Error::invalid("Nothing to restore is named").with_hint("Pick something first"));
    }
    if wanted.paths.len() > basket::MOST || wanted.paths.iter().any(|path| path.len() > LONGEST) {
        return Err(Error::invalid(format!("At most {} things at once", basket::MOST)).with_hint("Pick the folder"));
    }
    if wanted.to.len() > LONGEST {
        return Err(Error::invalid("The name of whoever takes it is too long"));
    }
    let to: To = wanted.to.parse()?;
    let only = match wanted.only {
        Which::All => Only::All,
        Which::Deleted => Only::Deleted,
        Which::Changed => Only::Changed,
    };
    if only != Only::All && to != To::Original {
        return Err(Error::invalid("What is gone or different can be told only where it came from")
            .with_hint("Restore it to whom it came from, or take all"));
    }
    let folder = wanted.folder.as_deref().map(str::trim).filter(|name| !name.is_empty());
    if folder.is_some_and(|name| name.len() > 200 || name.contains(['/', '\\']) || name.chars().any(char::is_control)) {
        return Err(
            Error::invalid("This cannot be the name of a folder").with_hint("Take up to 200 letters, without /")
        );
    }
    let named = || {
        let time = Timestamp::from_microsecond(now_us).unwrap_or_default();
        format!("Restored {}", time.strftime("%Y-%m-%d %H%M%S"))
    };
    let into = if wanted.in_place { Into::Place } else { Into::Folder(folder.map_or_else(named, str::to_owned)) };
    let options = RestoreOptions {
        into,
        conflict: match wanted.conflict {
            OnConflict::Skip => Conflict::Skip,
            OnConflict::Copy => Conflict::Copy,
            OnConflict::Replace => Conflict::Replace,
            OnConflict::Newer => Conflict::Newer,
        },
        only,
        permissions: wanted.permissions,
        links: wanted.links,
        versions: wanted.versions,
    };
    Ok(Asking { paths: wanted.paths.clone(), to: to.to_string(), options })
}

/// The tenant that a restore goes to: the one that was named, else the one that the snapshot is of.
async fn tenant_for(server: &Server, account: &Id, snapshot: &Snapshot, wanted: &RestoreWanted) -> Result<Tenant> {
    let is_of = |tenant: &Tenant| tenant.definition.tenant_id.eq_ignore_ascii_case(&snapshot.file.tenant);
    if let Some(id) = &wanted.tenant {
        let tenant = server.db.tenant(account, id).await?;
        let is_own = wanted.paths.iter().all(|path| is_of_tenant(path));
        if !snapshot.file.tenant.is_empty() && !is_of(&tenant) && wanted.to.trim() == "original" && !is_own {
            let text =
                format!("Tenant '{}' is another one than the snapshot's: nobody is the original there", tenant.name);
            return Err(Error::invalid(text).with_hint("Name who takes it"));
        }
        return Ok(tenant);
    }
    let all = server.db.tenants(account).await?;
    let sets = server.db.sets(account).await?;
    let of_set = sets.iter().find(|set| set.name == snapshot.file.set_name).map(|set| &set.tenant);
    let reads = |tenant: &&Tenant| Some(&tenant.id) == of_set;
    // One directory may be connected more than once: by the way by which it is read; else by an app, which may more than a user.
    let found = all
        .iter()
        .filter(|tenant| is_of(tenant))
        .min_by_key(|tenant| (!reads(tenant), tenant.is_of_user()))
        .or_else(|| all.iter().find(reads));
    found.cloned().ok_or_else(|| {
        Error::not_found("The tenant that the snapshot is of is not connected")
            .with_hint("Connect it, or name another one")
    })
}

fn made(run: &Job) -> Option<i64> {
    let of = |name: &str| run.outcome.as_ref()?.get(name)?.as_i64();
    Some(of("created")? + of("overwritten")?)
}

/// How a restore stands.
///
/// # Errors
/// As any query.
pub(crate) async fn standing(server: &Server, row: RestoreRow) -> Result<Standing> {
    let plan = server.db.job(&row.account, &row.plan_job).await?;
    let run = match &row.run_job {
        Some(job) => Some(server.db.job(&row.account, job).await?),
        None => None,
    };
    let undo = match &row.undo_job {
        Some(job) => Some(server.db.job(&row.account, job).await?),
        None => None,
    };
    let made_nothing = match &run {
        // What is in doubt, or was left halfway, stands in the journal alone.
        Some(run) if run.state.has_ended() && made(run) == Some(0) => {
            !State::of(server.db.journal(&server.vault, &row.id).await?.0.as_bytes()).can_be_undone()
        }
        _ => false,
    };
    Ok(Standing { row, plan, run, undo, made_nothing })
}

/// Runs a restore by its plan, or goes on with it where it stopped.
///
/// # Errors
/// `WrongKey` when the repository is locked; `InvalidInput` when there is nothing to run; `AlreadyExists` when it runs.
pub(crate) async fn run(server: &Server, actor: &Actor, restore: RestoreRow) -> Result<Id> {
    let now = server.now_us();
    let row = server.db.repository(&restore.account, &restore.repository).await?;
    let standing = standing(server, restore).await?;
    if !standing.can_run() {
        return Err(refused(&standing, "run"));
    }
    let key = server.unlocked.lendable(actor, &row, now)?;
    begin(server, actor, &standing.row, (Part::Run, JobKind::Restore), key, &row.name).await
}

/// Takes back what a restore made.
///
/// # Errors
/// `WrongKey` when what came of a step must be looked for, and the repository is locked; as [`run`].
pub(crate) async fn undo(server: &Server, actor: &Actor, restore: RestoreRow) -> Result<Id> {
    let row = server.db.repository(&restore.account, &restore.repository).await?;
    let standing = standing(server, restore).await?;
    if !standing.can_undo() {
        return Err(refused(&standing, "take back"));
    }
    let state = State::of(server.db.journal(&server.vault, &standing.row.id).await?.0.as_bytes());
    if !state.can_be_undone() {
        return Err(Error::invalid("There is nothing of this restore to take back"));
    }
    let key = match server.unlocked.lendable(actor, &row, server.now_us()) {
        Err(_) if !state.has_doubt() => None,
        key => key?,
    };
    begin(server, actor, &standing.row, (Part::Undo, JobKind::Undo), key, &row.name).await
}

fn refused(standing: &Standing, what: &str) -> Error {
    match standing.stage() {
        Stage::Planning | Stage::Running | Stage::TakingBack => {
            Error::new(ErrorKind::AlreadyExists, "A job of this restore is under way")
                .with_hint("Wait until it ends, or stop it")
        }
        _ => Error::invalid(format!("There is nothing of this restore to {what}")).with_hint("Make a new plan"),
    }
}

async fn begin(
    server: &Server,
    actor: &Actor,
    restore: &RestoreRow,
    (part, kind): (Part, JobKind),
    key: Option<Password>,
    name: &str,
) -> Result<Id> {
    let now = server.now_us();
    let new = job(&restore.account, kind, &restore.tenant, &restore.repository, &actor.login, now);
    let lent_key = key.as_ref().map(Password::expose);
    let job = server.db.begin_restore(&server.vault, restore, part, &new, lent_key, now).await?;
    let action = if part == Part::Run { "restore.run" } else { "restore.undo" };
    note(server, actor, &restore.account, action, name, json!({"restore": restore.id, "job": job})).await?;
    let row = server.db.repository(&restore.account, &restore.repository).await?;
    lent(server, actor, &row, key.is_some(), &job).await?;
    Ok(job)
}

/// Stops what is under way of a restore; what it has done stays.
///
/// # Errors
/// `InvalidInput` when nothing is.
pub(crate) async fn stop(server: &Server, actor: &Actor, restore: RestoreRow) -> Result<()> {
    let standing = standing(server, restore).await?;
    let job = standing.job();
    server.db.cancel_job(&job.account, &job.id, server.now_us()).await?;
    note(server, actor, &job.account, "restore.stop", standing.row.id.as_str(), json!({"job": job.id})).await
}

/// A step of a plan, and what came of it.
pub(crate) struct StepTold {
    /// Its number.
    pub(crate) number: usize,
    /// The step.
    pub(crate) step: Step,
    /// What the journal says of it.
    pub(crate) known: Option<Known>,
}

/// Steps of a plan, from a number on, with what came of each.
///
/// # Errors
/// As any query.
pub(crate) async fn steps(server: &Server, restore: &RestoreRow, from: usize, most: usize) -> Result<Vec<StepTold>> {
    let steps = plans::steps(server, &restore.id, from, most).await?;
    let mut state = State::default();
    if restore.run_job.is_some() {
        state = State::of(server.db.journal(&server.vault, &restore.id).await?.0.as_bytes());
    }
    let told = |(number, step)| StepTold { number, step, known: state.steps.get(&number).cloned() };
    Ok(steps.into_iter().map(told).collect())
}
