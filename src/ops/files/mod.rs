//! Files on a disk, made from streams of a snapshot: many at once, in the order in which their contents are stored.
//!
//! Contents lie in segments, which are opened whole, and one stretch of a segment may belong to many items: a message's
//! body lies beside other bodies, its attachment where it was sent first. So items wait in a pool till the segments that
//! they need are opened, each about once ([`pool`]). A file appears under its name only when it is whole.

mod job;
mod large;
mod pool;
mod sink;
mod small;
mod spool;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use tokio::task::JoinSet;

use crate::error::{Error, Result};
use crate::format::record::Stream;
use crate::ops::backup::Stop;
use crate::repo::{ByteStream, Repository};
use job::Job;
use pool::{Item, Pool};
use spool::Spool;

/// What is under way at once: enough for two cores while others wait for the storage or the disk.
const AT_ONCE: usize = 3;
/// Items of more stored bytes are not held in the pool; they are written as they are read.
const LARGE_BYTES: u64 = 4 << 20;
/// Small items in hand at once that need no segment, or have all they need.
const WRITTEN_TOGETHER: usize = 64;

/// A file to be made.
#[derive(Debug, Clone)]
pub struct NewFile {
    /// Where; what is there is replaced. Its folder is there.
    pub path: PathBuf,
    /// The time it gets, if one is known.
    pub modified: Option<SystemTime>,
    /// What it holds.
    pub contents: Stream,
}

/// What became of a file.
#[derive(Debug)]
pub enum Made {
    /// It is there; its length in bytes.
    Whole(u64),
    /// Its contents are lost or damaged. What was there under its name is there still.
    Lost(Error),
}

/// How much waits at once.
#[derive(Debug, Clone, Copy)]
pub struct PoolLimits {
    /// Items that wait for their contents. The more, the fewer segments are opened twice.
    pub items: usize,
    /// Stretches of contents that wait in memory for the rest of their items, in bytes. More goes to the disk that the files
    /// are on.
    pub held_bytes: usize,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self { items: 32_768, held_bytes: 16 << 20 }
    }
}

/// Makes files. `T` is what the caller knows each by.
#[derive(Debug)]
pub struct FileMaker<T> {
    repo: Arc<Repository>,
    limits: PoolLimits,
    stop: Stop,
    pool: Pool<T>,
    spool: Arc<Spool>,
    running: JoinSet<Result<job::Done<T>>>,
}

/// Is told what became of each file, in no order; what it returns ends the work.
pub type Tell<'a, T> = &'a mut (dyn FnMut(T, Made) -> Result<()> + Send);

impl<T: Send + 'static> FileMaker<T> {
    /// Starts with nothing to do. `folder` is on the disk that the files go to: what waits there has no name.
    pub fn new(repo: Arc<Repository>, folder: &Path, limits: PoolLimits, stop: Stop) -> Self {
        let spool = Arc::new(Spool::new(folder.to_owned()));
        Self { repo, limits, stop, pool: Pool::new(), spool, running: JoinSet::new() }
    }

    /// Takes a file in hand; works while too many wait.
    ///
    /// # Errors
    /// The disk's, the storage's; `Interrupted`; what `tell` returns. A loss is none.
    pub async fn add(&mut self, file: NewFile, known_by: T, tell: Tell<'_, T>) -> Result<()> {
        let stored =
            file.contents.pieces.iter().flat_map(|p| &p.extents.list).map(|e| u64::from(e.length)).sum::<u64>();
        let is_large = stored > LARGE_BYTES || file.contents.pieces.iter().any(|p| p.extents.depth > 0);
        if is_large {
            let repo = self.repo.clone();
            return self
                .start(tell, async move {
                    let made = large::make(&repo, file).await?;
                    Ok(job::Done { told: vec![(known_by, made)], arrived: Vec::new() })
                })
                .await;
        }
        self.pool.add(Item::new(file, known_by), |blob| self.repo.content_place(blob));
        if self.pool.ready() >= WRITTEN_TOGETHER {
            self.write_ready(tell).await?;
        }
        if self.pool.len() > self.limits.items {
            self.work(self.limits.items / 4 * 3, tell).await?;
        }
        Ok(())
    }

    /// Takes a file in hand whose bytes are made while they are read. A stream that ends in a loss makes no file.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub async fn add_made(
        &mut self,
        (path, modified): (PathBuf, Option<SystemTime>),
        bytes: ByteStream,
        known_by: T,
        tell: Tell<'_, T>,
    ) -> Result<()> {
        self.start(tell, async move {
            let made = large::make_of(path, modified, bytes).await?;
            Ok(job::Done { told: vec![(known_by, made)], arrived: Vec::new() })
        })
        .await
    }

    /// Bytes that wait in memory for the rest of their items.
    pub fn held_bytes(&self) -> usize {
        self.pool.held_bytes()
    }

    /// Makes all files that wait.
    ///
    /// # Errors
    /// As [`Self::add`]; what is under way is finished all the same.
    pub async fn finish(mut self, tell: Tell<'_, T>) -> Result<()> {
        let worked = self.work(0, tell).await;
        let finished = self.abandon(tell).await;
        worked.and(finished)
    }

    /// Finishes what is under way, and no more.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub async fn abandon(mut self, tell: Tell<'_, T>) -> Result<()> {
        let mut ended = Ok(());
        while !self.running.is_empty() {
            ended = ended.and(self.take_one(tell).await);
        }
        ended
    }

    /// Opens segments till no more than so many items wait, and little of their contents is held.
    async fn work(&mut self, down_to: usize, tell: Tell<'_, T>) -> Result<()> {
        let (mut pressed, mut plan) = (false, Vec::new());
        loop {
            self.stop.check()?;
            if self.pool.ready() > 0 {
                self.write_ready(tell).await?;
                continue;
            }
            let bound = if pressed { self.limits.held_bytes / 2 } else { self.limits.held_bytes };
            let was_pressed = std::mem::replace(&mut pressed, self.pool.held_bytes() > bound);
            if self.pool.len() <= down_to && !pressed {
                return Ok(());
            }
            let is_new = plan.is_empty() || pressed != was_pressed;
            if is_new {
                plan = self.pool.plan(pressed);
            }
            let aside = self.pool.held_bytes() >= self.limits.held_bytes / 2 && self.spool.has_room();
            let orders = self.pool.next_orders(&mut plan, aside);
            if !orders.is_empty() {
                let job = Job { repo: self.repo.clone(), spool: self.spool.clone(), orders };
                self.start(tell, job.run()).await?;
            } else if is_new && !self.running.is_empty() {
                // All that is left waits for what is under way.
                self.take_one(tell).await?;
            } else if is_new && self.pool.ready() == 0 {
                return Err(Error::internal("Files wait for contents that nobody reads"));
            }
        }
    }

    async fn write_ready(&mut self, tell: Tell<'_, T>) -> Result<()> {
        let items = self.pool.take_ready();
        self.start(tell, job::write(items)).await
    }

    async fn start(
        &mut self,
        tell: Tell<'_, T>,
        work: impl Future<Output = Result<job::Done<T>>> + Send + 'static,
    ) -> Result<()> {
        while self.running.len() >= AT_ONCE {
            self.take_one(tell).await?;
        }
        self.running.spawn(work);
        Ok(())
    }

    async fn take_one(&mut self, tell: Tell<'_, T>) -> Result<()> {
        let Some(done) = self.running.join_next().await else { return Ok(()) };
        let done = done.map_err(|e| Error::internal("Writing files ended early").with_source(e))??;
        for (known_by, made) in done.told {
            tell(known_by, made)?;
        }
        for (number, arrived) in done.arrived {
            if let Some((known_by, lost)) = self.pool.arrive(number, arrived) {
                tell(known_by, Made::Lost(lost))?;
            }
        }
        Ok(())
    }
}
