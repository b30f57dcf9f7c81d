//! Restores: planning, running, taking back.
//!
//! The plan and the journal lie in the database, so that any worker goes on where another stopped. What is written to the
//! journal is written only as long as the job is this worker's: one whose lease ran out begins nothing any more.
//!
//! Contents need an owner's key. The job was lent one by whoever asked, sealed, until it ends; or the account lets the
//! server hold it.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::worker::{Ended, Task, patiently};
use crate::crypto::Passphrase;
use crate::error::{Error, ErrorKind, Result};
use crate::ops::backup::Stop;
use crate::ops::restore::{self, Around, Asked, Book, Kept, Plan, RestoreReport, State};
use crate::ops::view::View;
use crate::repo::Repository;
use crate::server::audit::Deed;
use crate::server::connect;
use crate::server::db::{JobState, RestoreRow, Tenant};
use crate::server::id::Id;
use crate::server::state::Server;
use crate::server::unlock::HELD_KEY;
use crate::server::{plans, store};
use crate::snapshot::store as snapshots;

/// What is kept of each list of a report; all of it stands in the steps.
const MOST_TOLD: usize = 200;

/// The repository of a restore, with the key that reads contents; nothing: nobody lent one.
async fn open(server: &Server, task: &Task, restore: &RestoreRow) -> Result<Option<Arc<Repository>>> {
    let row = server.db.repository(&restore.account, &restore.repository).await?;
    let held = row.owner_key(&server.vault)?;
    let is_held = held.is_some();
    let key = match held {
        Some(key) => Some(key),
        None => server.db.lent_key(&server.vault, &task.job.id).await?,
    };
    let Some(key) = key else { return Ok(None) };
    let repo = store::open_with(server, &row, &Passphrase::new(key.as_str())?).await?;
    if is_held {
        let detail = json!({"by": HELD_KEY, "job": task.job.id});
        let deed = Deed { account: Some(&row.account), action: "key.use", object: &row.name, detail };
        // The address stands with the deed that asked for the job.
        server.db.note_as(&task.job.asked_by, "", deed, server.now_us()).await?;
    }
    Ok(Some(repo))
}

async fn view(server: &Server, task: &Task, restore: &RestoreRow) -> Result<View> {
    let repo = open(server, task, restore).await?.ok_or_else(|| {
        Error::new(ErrorKind::WrongKey, "The restore was lent no key that reads contents")
            .with_hint("Unlock the repository, and ask for it again")
    })?;
    let listing = snapshots::list(&repo).await?;
    let snapshot = snapshots::find(&listing.snapshots, &restore.snapshot)?;
    Ok(View::new(repo, snapshot.file.clone()))
}

fn around(server: &Arc<Server>, task: &Task, restore: &RestoreRow) -> Around {
    let (clock, of) = (server.clone(), Arc::new(InDatabase::new(server, task, restore)));
    Around {
        monitor: task.progress.clone(),
        now_us: Arc::new(move || clock.now_us()),
        stop: task.stop.clone(),
        runs: Arc::new(move |_| of.clone()),
    }
}

/// Looks what a restore would do, and keeps that.
pub(super) async fn plan(server: &Arc<Server>, task: &Task) -> Result<Ended> {
    let restore = server.db.restore_of_job(&task.job.id).await?;
    let asking = restore.asking(&server.vault)?;
    let tenant = server.db.tenant(&restore.account, &restore.tenant).await?;
    let view = view(server, task, &restore).await?;
    let client = connect::restore_client(server, &tenant, task.progress.clone())?;
    client.me().await?;
    let asked = Asked {
        view: &view,
        snapshot: restore.snapshot.clone(),
        paths: asking.paths,
        to: asking.to.parse()?,
        tenant: tenant.name.clone(),
        tenant_id: tenant.definition.tenant_id.clone(),
        options: asking.options,
        grantee: grantee(&tenant),
    };
    let made = restore::make(asked, &client, &around(server, task, &restore)).await.map_err(reworded)?;
    plans::keep(server, &restore.id, &made).await?;
    Ok(Ended::done(json!({"counts": made.counts(), "seconds": made.seconds, "keep_rights": made.keep_rights()})))
}

/// Who is to be given a permission that is missing.
fn grantee(tenant: &Tenant) -> String {
    let name = &tenant.name;
    let app = match &tenant.definition.restore {
        Some(_) => "the app that restores",
        None if tenant.is_of_user() => {
            return format!("tenant '{name}': on its page tick that it may restore, and sign in again");
        }
        None => "the app",
    };
    format!("{app} of tenant '{name}' and consent to it; or name another app for restores among the tenant's settings")
}

/// Hints of the command line, in the words of the pages.
fn reworded(e: Error) -> Error {
    let Some(hint) = e.hint() else { return e };
    let words = [
        ("Use it with --to original", "Restore it to whom it came from"),
        ("Name another one with --to USER", "Restore it to somebody else"),
        ("Leave --in-place away", "Restore it into a folder"),
        ("Restore it in place, with --in-place", "Restore it where it was"),
        ("ls shows what is there", "Look at what is there, and pick it again"),
    ];
    match words.iter().find(|(known, _)| *known == hint) {
        Some((_, better)) => e.with_hint(*better),
        None => e,
    }
}

/// Runs a restore by its plan, or goes on with it.
pub(super) async fn run(server: &Arc<Server>, task: &Task) -> Result<Ended> {
    let restore = server.db.restore_of_job(&task.job.id).await?;
    let tenant = server.db.tenant(&restore.account, &restore.tenant).await?;
    let plan = plans::read(server, &restore).await?;
    let view = view(server, task, &restore).await?;
    is_same_tenant(&plan, &tenant.definition.tenant_id)?;
    let client = connect::restore_client(server, &tenant, task.progress.clone())?;
    client.me().await?;
    let report = restore::run(&plan, &view, &client, &around(server, task, &restore)).await?;
    let state = match &report {
        report if report.interrupted => JobState::Cancelled,
        report if report.problems.is_empty() && report.stopped.is_empty() && plan.refused.is_empty() => JobState::Done,
        _ => JobState::Gaps,
    };
    Ok(Ended { state, outcome: outcome(&report) })
}

/// A tenant may have been connected anew, as another one.
fn is_same_tenant(plan: &Plan, now: &str) -> Result<()> {
    if plan.tenant_id.eq_ignore_ascii_case(now) {
        return Ok(());
    }
    Err(Error::invalid(format!("The plan is of tenant {}, and '{}' is now another one", plan.tenant_id, plan.tenant))
        .with_hint("Make a new plan"))
}

fn outcome(report: &RestoreReport) -> Value {
    json!({
        "created": report.created,
        "overwritten": report.overwritten,
        "skipped": report.skipped,
        "bytes": report.bytes,
        "not_restored": report.problems.len(),
        "problems": told(&report.problems),
        "came_back_otherwise": report.notes.len(),
        "notes": told(&report.notes),
        "stopped": told(&report.stopped),
    })
}

fn told(all: &[(String, String)]) -> Vec<Value> {
    all.iter().take(MOST_TOLD).map(|(path, text)| json!({"path": path, "message": text})).collect()
}

/// Takes back what a restore made.
pub(super) async fn undo(server: &Arc<Server>, task: &Task) -> Result<Ended> {
    let restore = server.db.restore_of_job(&task.job.id).await?;
    let tenant = server.db.tenant(&restore.account, &restore.tenant).await?;
    let plan = plans::read(server, &restore).await?;
    is_same_tenant(&plan, &tenant.definition.tenant_id)?;
    // What was begun and has no result can be looked for with the snapshot alone; all else needs no key.
    let state = State::of(server.db.journal(&server.vault, &restore.id).await?.0.as_bytes());
    let view = match state.has_doubt() {
        false => None,
        true => match view(server, task, &restore).await {
            Ok(view) => Some(view),
            // The snapshot was forgotten. All else can be taken back all the same, and what is left is told.
            Err(e) if e.kind() == ErrorKind::NotFound => None,
            Err(e) => return Err(e),
        },
    };
    let client = connect::restore_client(server, &tenant, task.progress.clone())?;
    client.me().await?;
    let report = restore::undo(&plan.run, view.as_ref(), &client, &around(server, task, &restore)).await?;
    let state = match &report {
        report if report.interrupted => JobState::Cancelled,
        report if report.left.is_empty() => JobState::Done,
        _ => JobState::Gaps,
    };
    let outcome = json!({"undone": report.undone, "not_taken_back": report.left.len(), "left": told(&report.left)});
    Ok(Ended { state, outcome })
}

/// The plan and the journal of a restore, in the database.
struct InDatabase {
    server: Arc<Server>,
    restore: RestoreRow,
    job: Id,
    worker: String,
    attempts: i64,
    stop: Stop,
}

impl InDatabase {
    fn new(server: &Arc<Server>, task: &Task, restore: &RestoreRow) -> Self {
        let job = &task.job;
        Self {
            server: server.clone(),
            restore: restore.clone(),
            job: job.id.clone(),
            worker: job.worker.clone().unwrap_or_default(),
            attempts: job.attempts,
            stop: task.stop.clone(),
        }
    }
}

#[async_trait]
impl Kept for InDatabase {
    async fn save(&self, plan: &Plan) -> Result<()> {
        plans::keep(&self.server, &self.restore.id, plan).await
    }

    async fn plan(&self) -> Result<Option<Plan>> {
        plans::read(&self.server, &self.restore).await.map(Some)
    }

    async fn open(&self) -> Result<(Box<dyn Book>, State)> {
        let (text, next) = self.server.db.journal(&self.server.vault, &self.restore.id).await?;
        let book = DatabaseBook {
            server: self.server.clone(),
            restore: self.restore.id.clone(),
            holder: (self.job.clone(), self.worker.clone(), self.attempts),
            next,
            stop: self.stop.clone(),
        };
        Ok((Box::new(book), State::of(text.as_bytes())))
    }
}

/// The journal, open for going on.
struct DatabaseBook {
    server: Arc<Server>,
    restore: Id,
    holder: (Id, String, i64),
    next: i64,
    stop: Stop,
}

#[async_trait]
impl Book for DatabaseBook {
    async fn append(&mut self, lines: Vec<u8>) -> Result<()> {
        let text = String::from_utf8(lines).map_err(|_| Error::internal("A line of a journal is no text"))?;
        let (job, worker, attempts) = (&self.holder.0, self.holder.1.as_str(), self.holder.2);
        let (server, restore, next) = (&self.server, &self.restore, self.next);
        let add = || server.db.add_to_journal(&server.vault, restore, next, &text, (job, worker, attempts));
        patiently(&self.stop, add).await?;
        self.next += 1;
        Ok(())
    }
}
