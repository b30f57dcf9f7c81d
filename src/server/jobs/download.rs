//! A download as a job: it stands in the account's history, tells how far it is, and can be stopped, as any other. The process
//! that sends it does it, and nothing of it is kept: what breaks off is downloaded again.

use std::io::{self, Write};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::progress::Progress;
use super::worker::{LEASE_US, RENEW_EVERY};
use crate::error::{Error, ErrorKind, Result};
use crate::monitor::{Counter, Monitor};
use crate::ops::backup::Stop;
use crate::server::db::{Db, JobKind, JobState, NewJob, RepositoryRow};
use crate::server::id::Id;
use crate::server::state::{Clock, Server};
use crate::server::turns::Turns;

/// Downloads that a process sends at once, and those of one account: each holds a thread for as long as it lasts.
const MOST: usize = 32;
const MOST_OF_ACCOUNT: usize = 4;
/// Parts that wait to be sent: whoever reads slowly makes the archive wait.
const AHEAD: usize = 4;
/// How long nobody may take a part that waits.
const UNREAD: Duration = Duration::from_secs(60);

/// The places of downloads.
#[derive(Debug)]
pub(crate) struct Downloads {
    all: Arc<Semaphore>,
    of: Turns<Id>,
}

impl Default for Downloads {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(MOST)), of: Turns::of(MOST_OF_ACCOUNT) }
    }
}

impl Downloads {
    /// Takes a place.
    ///
    /// # Errors
    /// `Unavailable` when all are taken, or those of the account.
    fn place(&self, account: &Id) -> Result<[OwnedSemaphorePermit; 2]> {
        let taken = |who: &str, most: usize| {
            let text = format!("{who} {most} downloads under way, which is the most");
            Error::new(ErrorKind::Unavailable, text).with_hint("Wait until one has ended, or stop one")
        };
        let of = self.of.gate(account).try_acquire_owned().map_err(|_| taken("The account has", MOST_OF_ACCOUNT))?;
        let all = self.all.clone().try_acquire_owned().map_err(|_| taken("The server has", MOST))?;
        Ok([of, all])
    }
}

/// A download under way.
pub(crate) struct Download {
    db: Db,
    clock: Clock,
    job: Id,
    worker: String,
    progress: Arc<Progress>,
    stop: Stop,
    line: Line,
    whole: Arc<AtomicBool>,
    _place: [OwnedSemaphorePermit; 2],
}

/// Where the parts go.
#[derive(Clone)]
struct Line {
    parts: mpsc::Sender<Bytes>,
    sent: Arc<AtomicU64>,
}

impl Download {
    /// Begins one, of a repository's contents. Gives it, and what is to be sent: a stream that ends with an error unless all of it
    /// was sent.
    ///
    /// # Errors
    /// `Unavailable` when too many are under way; as any query.
    pub(crate) async fn begin(
        server: &Server,
        row: &RepositoryRow,
        asked_by: &str,
    ) -> Result<(Self, BoxStream<'static, io::Result<Bytes>>)> {
        let place = server.downloads.place(&row.account)?;
        let (worker, now) = (format!("download {}", Id::random()), server.now_us());
        let new = NewJob {
            account: &row.account,
            kind: JobKind::Export,
            set: None,
            tenant: None,
            repository: Some(&row.id),
            client: None,
            arguments: json!({}),
            asked_by,
            run_after_us: now,
        };
        let job = server.db.begin_job(&new, &worker, LEASE_US, now).await?;
        let (parts, receive) = mpsc::channel(AHEAD);
        let whole = Arc::new(AtomicBool::new(false));
        let download = Self {
            db: server.db.clone(),
            clock: server.clock(),
            job,
            worker,
            progress: Arc::default(),
            stop: Stop::new(),
            line: Line { parts, sent: Arc::default() },
            whole: whole.clone(),
            _place: place,
        };
        Ok((download, body(receive, whole)))
    }

    /// The job.
    pub(crate) fn job(&self) -> &Id {
        &self.job
    }

    /// What takes the bytes, on a thread that may block.
    pub(crate) fn out(&self) -> Box<dyn Write + Send> {
        Box::new(Parts { line: self.line.clone(), stop: self.stop.clone(), runtime: Handle::current() })
    }

    /// What stops it.
    pub(crate) fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// What hears how far it is. What items are called is no part of a job.
    pub(crate) fn counts(&self) -> Counts {
        Counts(self.progress.clone())
    }

    /// Gives word while it is made, stops it when somebody asks for that or nobody reads it, and notes how it ended.
    pub(crate) async fn hold(self, making: impl Future<Output = Result<Value>>) {
        let mut making = pin!(making);
        let (mut why, mut unread, mut before) = (None, Duration::ZERO, 0);
        let result = loop {
            tokio::select! {
                ended = &mut making => break ended,
                () = self.line.parts.closed(), if why.is_none() => {
                    why = Some("Who read it went away");
                    self.stop.stop();
                    continue;
                }
                () = tokio::time::sleep(RENEW_EVERY) => {}
            }
            let sent = self.line.sent.load(Ordering::Relaxed);
            let waits = self.line.parts.capacity() == 0 && sent == before;
            (unread, before) = (if waits { unread + RENEW_EVERY } else { Duration::ZERO }, sent);
            if unread >= UNREAD {
                why = why.or(Some("Nobody read it for a minute"));
                self.stop.stop();
            }
            match self.db.renew(&self.job, &self.worker, &self.progress.as_json(), LEASE_US, (self.clock)()).await {
                Ok(Some(false)) => {}
                Ok(Some(true)) => {
                    why = why.or(Some("Somebody stopped it"));
                    self.stop.stop();
                }
                Ok(None) => self.stop.stop(),
                Err(e) => tracing::warn!("No word can be given of a download: {}", e.chain()),
            }
        };
        self.whole.store(result.is_ok(), Ordering::Release);
        let (state, outcome, error) = match (result, why) {
            (Ok(outcome), _) => (JobState::Done, outcome, None),
            (Err(_), Some(why)) => {
                (JobState::Cancelled, json!({"progress": self.progress.as_json()}), Some(why.to_owned()))
            }
            (Err(e), None) => {
                tracing::warn!("An archive ended early: {}", e.chain());
                (JobState::Failed, json!({"progress": self.progress.as_json()}), Some(e.to_string()))
            }
        };
        let ended = self.db.end_job(&self.job, &self.worker, state, &outcome, error.as_deref(), (self.clock)()).await;
        if let Err(e) = ended {
            tracing::error!("The end of a download cannot be noted: {}", e.chain());
        }
    }
}

/// What is sent. Unless all of it was, the connection breaks, so that nobody takes the half for the whole.
fn body(receive: mpsc::Receiver<Bytes>, whole: Arc<AtomicBool>) -> BoxStream<'static, io::Result<Bytes>> {
    futures::stream::unfold(Some((receive, whole)), |line| async move {
        let (mut receive, whole) = line?;
        match receive.recv().await {
            Some(part) => Some((Ok(part), Some((receive, whole)))),
            None if whole.load(Ordering::Acquire) => None,
            None => Some((Err(io::Error::other("The archive ended early")), None)),
        }
    })
    .boxed()
}

/// Hands bytes to whoever sends them, and waits for that no longer than it is to go on.
struct Parts {
    line: Line,
    stop: Stop,
    runtime: Handle,
}

impl Write for Parts {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let part = Bytes::copy_from_slice(bytes);
        let sent = self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = self.stop.stopped() => false,
                sent = self.line.parts.send(part) => sent.is_ok(),
            }
        });
        if !sent {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.line.sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Counts, and tells nothing else.
pub(crate) struct Counts(Arc<Progress>);

impl Monitor for Counts {
    fn add(&self, counter: Counter, by: i64) {
        self.0.add(counter, by);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_has_some_of_the_places_and_no_more() {
        let (downloads, busy, other) = (Downloads::default(), Id::random(), Id::random());
        let held: Vec<_> = (0..MOST_OF_ACCOUNT).map(|_| downloads.place(&busy).expect("a place")).collect();
        let refused = downloads.place(&busy).expect_err("no place is left");
        assert_eq!(refused.kind(), ErrorKind::Unavailable);
        drop(downloads.place(&other).expect("others have theirs"));
        drop(held);
        drop(downloads.place(&busy).expect("a place again"));
        let held: Vec<_> = (0..MOST).map(|_| downloads.place(&Id::random()).expect("a place")).collect();
        assert!(downloads.place(&other).is_err(), "{} in all", held.len());
    }
}
