//! Work for clients: handing out jobs, hearing how far they are and what came of them.

use serde_json::json;

use super::clients;
use crate::error::{Error, Result};
use crate::server::agent::wire::{Ending, Handout, RepositoryHandout, TenantHandout, Word};
use crate::server::auth::random_token;
use crate::server::connect;
use crate::server::db::{AtOnce, ClientRow, Job, JobKind, JobState};
use crate::server::endpoint;
use crate::server::id::Id;
use crate::server::jobs::facts::{self, Facts};
use crate::server::jobs::worker::BACKUPS_OF_TENANT;
use crate::server::state::Server;
use crate::snapshot::set::TenantRef;
use crate::snapshot::store as snapshots;

/// How long a job is a client's without a word: its network may be away for a while.
const LEASE_US: i64 = 90_000_000;
/// What is kept of how far a job is, in bytes of JSON.
const MOST_PROGRESS: usize = 64 << 10;
/// Digits of a lease.
const LEASE_DIGITS: usize = 16;
/// When a job that could not be handed out is tried again.
const AGAIN_US: i64 = 60_000_000;

/// The name of a client in the queue: with what shows that a job is still its own, and tells nobody who sees it the lease.
fn worker(server: &Server, client: &ClientRow, lease: &str) -> String {
    let shown: String = server.vault.token_name(lease).chars().take(LEASE_DIGITS).collect();
    format!("client {} ({shown})", client.id)
}

/// Hands out the next job of a client, if one is due.
///
/// # Errors
/// As opening the repository: the job is put back then.
pub(crate) async fn take(server: &Server, client: &ClientRow) -> Result<Option<Handout>> {
    let lease: String = random_token().chars().take(LEASE_DIGITS).collect();
    let (worker, now) = (worker(server, client, &lease), server.now_us());
    let at_once = AtOnce { of_tenant: BACKUPS_OF_TENANT, of_account: i64::MAX };
    let job = server.db.take_job(&worker, Some(&client.id), at_once, LEASE_US, now).await?;
    let Some(job) = job else { return Ok(None) };
    server.endpoint.only(&client.id, &job.id);
    match handout(server, client, &job, lease).await {
        Ok(handout) => Ok(Some(handout)),
        Err(e) => {
            tracing::warn!(job = job.id.as_str(), client = client.name, "A job cannot be handed out: {}", e.chain());
            if e.is_retryable() {
                server.db.put_back(&job.id, &worker, server.now_us() + AGAIN_US).await?;
            } else {
                let text = e.chain();
                server.db.end_job(&job.id, &worker, JobState::Failed, &json!({}), Some(&text), server.now_us()).await?;
            }
            Err(e)
        }
    }
}

async fn handout(server: &Server, client: &ClientRow, job: &Job, lease: String) -> Result<Handout> {
    let set = job.set.as_ref().filter(|_| job.kind == JobKind::Backup);
    let set = set.ok_or_else(|| Error::internal("A job for a client that is no backup"))?;
    let set = server.db.backup_set(&job.account, set).await?;
    let tenant = server.db.tenant(&set.account, &set.tenant).await?;
    if tenant.is_of_user() {
        return Err(connect::of_user_alone());
    }
    let row = server.db.repository(&set.account, &set.repository).await?;
    let destinations: Vec<String> =
        server.db.destinations(&row.id).await?.into_iter().map(|place| place.name).collect();
    let key = clients::key_of(server, client, &row).await?;
    // What the set is stands in the repository before the run: a client adds, and takes nothing back that is out of date.
    let named = TenantRef { name: tenant.name.clone(), id: tenant.definition.tenant_id.clone() };
    let definition = set.choices.definition(&set.name, named, destinations.clone())?;
    let repo = server.stores.open(server, &row).await?;
    snapshots::save_set(&repo, &definition).await?;
    let secret = tenant.secret(&server.vault)?;
    Ok(Handout {
        job: job.id.clone(),
        lease,
        now_us: server.now_us(),
        set: set.name,
        choices: set.choices,
        destinations,
        tenant: TenantHandout { name: tenant.name, definition: tenant.definition, secret },
        repository: RepositoryHandout {
            path: endpoint::root(&row.id),
            id: row.repository,
            key: key.expose_text().to_owned().into(),
        },
    })
}

/// Renews a client's job. Gives whether it is to stop; nothing when it is not the client's.
///
/// # Errors
/// `InvalidInput` for too many words; as any query.
pub(crate) async fn renew(server: &Server, client: &ClientRow, job: &Id, word: &Word) -> Result<Option<bool>> {
    if word.progress.to_string().len() > MOST_PROGRESS {
        return Err(Error::invalid("This is too much to say of a job"));
    }
    let worker = worker(server, client, &word.lease);
    let renewed = server.db.renew(job, &worker, &word.progress, LEASE_US, server.now_us()).await?;
    if renewed.is_some() {
        if let Some(spent) = word.progress.get("budget").filter(|spent| spent.is_array()) {
            server.db.keep_budget(job, spent, server.now_us()).await?;
        }
        server.endpoint.settle(server, job).await?;
    }
    Ok(renewed)
}

/// Ends a client's job. Says whether it was the client's.
///
/// # Errors
/// `InvalidInput`; as any query.
pub(crate) async fn end(server: &Server, client: &ClientRow, id: &Id, ending: Ending) -> Result<bool> {
    let worker = worker(server, client, &ending.lease);
    let facts = ending.facts.map(Facts::checked).transpose()?;
    let Ok(job) = server.db.job(&client.account, id).await else { return Ok(false) };
    if job.worker.as_deref() != Some(worker.as_str()) || job.state != JobState::Running {
        return Ok(false);
    }
    server.endpoint.settle(server, id).await?;
    server.endpoint.leave(id);
    let Some(facts) = facts else {
        server.db.put_back(id, &worker, server.now_us()).await?;
        return Ok(true);
    };
    let set = job.set.as_ref().ok_or_else(|| Error::internal("A backup without a set"))?;
    let set = server.db.backup_set(&client.account, set).await?;
    let started_us = job.started_us.unwrap_or(job.created_us);
    let ended = facts::note(server, &set, id, started_us, &facts).await?;
    server.db.end_job(id, &worker, ended.state, &ended.outcome, facts.error.as_deref(), server.now_us()).await
}
