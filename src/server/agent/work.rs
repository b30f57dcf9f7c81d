//! One job in a client's hands.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::link::Link;
use super::wire::{Ending, Handout};
use crate::crypto::Passphrase;
use crate::error::{Error, ErrorKind, Result};
use crate::ops::backup::{BackupReport, Stop};
use crate::repo::Repository;
use crate::server::connect;
use crate::server::id::Id;
use crate::server::jobs::backup::Run;
use crate::server::jobs::facts::{Facts, RunOutcome};
use crate::server::jobs::progress::Progress;
use crate::snapshot::set::TenantRef;
use crate::storage::{self, Credentials, StorageOptions};

/// How often word is given of a job.
const RENEW_EVERY: Duration = Duration::from_secs(2);
/// How often a request of the storage is sent again: with growing pauses, long enough for a server that is started anew.
const RETRIES: usize = 10;
/// How often a client that is stopped tries to say so.
const LAST_TRIES: usize = 3;

/// What came of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Done {
    /// The snapshot is whole.
    Complete,
    /// It has gaps.
    Gaps,
    /// Why it failed.
    Failed(String),
    /// It was stopped; what it has is kept.
    Stopped,
    /// Somebody else has the job.
    Gone,
}

impl Done {
    pub(super) fn words(&self) -> String {
        match self {
            Self::Complete => "done".to_owned(),
            Self::Gaps => "done, with gaps".to_owned(),
            Self::Failed(why) => format!("failed: {why}"),
            Self::Stopped => "stopped; what it has is kept".to_owned(),
            Self::Gone => "the server gave the job to somebody else".to_owned(),
        }
    }
}

/// Does a job, gives word while it lasts, and tells the server what came of it.
pub(super) async fn hold(link: &Link, handout: Handout, name: &str, cache: Option<PathBuf>, closing: &Stop) -> Done {
    let (job, lease) = (handout.job.clone(), handout.lease.clone());
    let (progress, stop) = (Arc::<Progress>::default(), Stop::new());
    let mut doing = {
        let url = link.storage_url(&handout.repository.path);
        let credentials = Credentials::new().with("token", link.token.as_str());
        let place = Place { url, credentials, cache };
        let (name, progress, stop) = (name.to_owned(), progress.clone(), stop.clone());
        // It is CPU and storage work as much as network: it drives itself on a thread of its own.
        let runtime = tokio::runtime::Handle::current();
        tokio::task::spawn_blocking(move || runtime.block_on(back_up(handout, place, name, progress, stop)))
    };
    let mut cancelled = false;
    let result = loop {
        tokio::select! {
            ended = &mut doing => break ended,
            () = tokio::time::sleep(RENEW_EVERY) => {}
            () = closing.stopped(), if !stop.is_stopped() => stop.stop(),
        }
        match link.renew(&job, &lease, progress.as_json()).await {
            Ok(Some(cancel)) => {
                if cancel && !cancelled {
                    cancelled = true;
                    stop.stop();
                }
            }
            // What a client that was removed does is refused anyway.
            Ok(None) => {
                stop.stop();
                drop(doing.await);
                return Done::Gone;
            }
            Err(e) if e.kind() == ErrorKind::Permission => {
                stop.stop();
                drop(doing.await);
                return Done::Gone;
            }
            Err(e) => tracing::warn!(job = job.as_str(), "No word can be given of a job: {}", e.chain()),
        }
    };
    let result = result.unwrap_or_else(|e| Err(Error::internal("A run ended by a panic").with_source(e)));
    let mut facts = Facts::of(&result);
    facts.waits = progress.waits();
    let done = match facts.outcome {
        RunOutcome::Complete => Done::Complete,
        RunOutcome::Gaps => Done::Gaps,
        RunOutcome::Interrupted => Done::Stopped,
        RunOutcome::Failed => Done::Failed(facts.error.clone().unwrap_or_default()),
    };
    // A client that goes away leaves the job to be gone on with; one that somebody stopped is at its end.
    let back = done == Done::Stopped && closing.is_stopped() && !cancelled;
    let ending = Ending { lease, facts: (!back).then_some(facts) };
    if tell_end(link, &job, &ending, closing).await { done } else { Done::Gone }
}

/// Tells the server what came of a job, till it hears. Says whether the job was ours to the end.
async fn tell_end(link: &Link, job: &Id, ending: &Ending, closing: &Stop) -> bool {
    let mut tries = 0;
    loop {
        match link.end(job, ending).await {
            Ok(ours) => return ours,
            Err(e) if !e.is_retryable() => {
                tracing::error!(job = job.as_str(), "The end of a job is refused: {}", e.chain());
                return false;
            }
            Err(e) => tracing::warn!(job = job.as_str(), "The end of a job cannot be told: {}", e.chain()),
        }
        tries += 1;
        if closing.is_stopped() && tries >= LAST_TRIES {
            return false;
        }
        tokio::time::sleep(RENEW_EVERY).await;
    }
}

/// Where a run is stored.
struct Place {
    url: String,
    credentials: Credentials,
    cache: Option<PathBuf>,
}

async fn back_up(
    handout: Handout,
    place: Place,
    name: String,
    progress: Arc<Progress>,
    stop: Stop,
) -> Result<BackupReport> {
    let options = StorageOptions { credentials: place.credentials, retries: RETRIES, ..StorageOptions::default() };
    let storage = storage::open(&place.url, &options)?;
    let key = Passphrase::new(&handout.repository.key)?;
    let repo = Repository::open(storage, &key, place.cache).await?;
    if repo.config().id.to_string() != handout.repository.id {
        return Err(Error::corrupt("The server's storage holds another repository than the job is for"));
    }
    let tenant = &handout.tenant;
    let speed = handout.choices.download_bytes_per_second;
    let client = connect::signed_in(&tenant.definition, &tenant.secret, None, None, speed, progress.clone())?;
    progress.watch(client.budget());
    let named = TenantRef { name: tenant.name.clone(), id: tenant.definition.tenant_id.clone() };
    let definition = handout.choices.definition(&handout.set, named, handout.destinations)?;
    // The server's clock, gone on from the time of the handing out: this machine's may be wrong.
    let (then, began) = (handout.now_us, Instant::now());
    let clock = move || then.saturating_add(i64::try_from(began.elapsed().as_micros()).unwrap_or_default());
    let run = Run { definition, host: name, progress, stop, clock: Arc::new(clock) };
    run.perform(&repo, &client).await
}
