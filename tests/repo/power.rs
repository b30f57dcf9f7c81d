//! A storage on which the power goes at the n-th call: what was not durable then may be lost, or not, in any mixture.
//!
//! What is durable is what `Storage` promises: a put and a delete that have returned. A put that has not returned may
//! be there, whole, or not; a delete too; and a file that was discarded may be back.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tenantvault::error::{Error, ErrorKind, Result};
use tenantvault::storage::{Entry, Storage};
use tokio::sync::Mutex;

use crate::support::Dice;

/// What becomes of that which was not durable.
#[derive(Debug, Clone, Copy)]
pub enum Loss {
    /// It is as it was before the calls.
    All,
    /// Each call by itself, by dice with this seed.
    Some(u64),
}

#[derive(Debug)]
pub struct Powered {
    inner: Arc<dyn Storage>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    calls: u64,
    cut_at: u64,
    loss: Loss,
    off: bool,
    /// Calls that have begun and not returned.
    under_way: Vec<(u64, Change)>,
    discarded: Vec<(String, Bytes)>,
}

#[derive(Debug, Clone)]
enum Change {
    Put(String, Vec<Bytes>),
    Delete(String),
}

impl Powered {
    pub fn new(inner: Arc<dyn Storage>, cut_at: u64, loss: Loss) -> Self {
        let (under_way, discarded) = (Vec::new(), Vec::new());
        Self { inner, state: Mutex::new(State { calls: 0, cut_at, loss, off: false, under_way, discarded }) }
    }

    pub async fn is_off(&self) -> bool {
        self.state.lock().await.off
    }

    /// Counts a call; the power may go with it.
    async fn begin(&self, change: Option<Change>) -> Result<u64> {
        let mut state = self.state.lock().await;
        on(&state)?;
        state.calls += 1;
        let number = state.calls;
        state.under_way.extend(change.map(|change| (number, change)));
        if number == state.cut_at {
            self.cut(&mut state).await;
        }
        on(&state).map(|()| number)
    }

    async fn cut(&self, state: &mut State) {
        state.off = true;
        let loss = state.loss;
        let mut dice = Dice(if let Loss::Some(seed) = loss { seed << 32 | state.calls } else { 0 });
        let mut is_lost = || match loss {
            Loss::All => true,
            Loss::Some(_) => dice.roll(2) == 0,
        };
        for (_, change) in std::mem::take(&mut state.under_way) {
            if !is_lost() {
                // A put of a name that is there changes nothing.
                self.apply(change).await.ok();
            }
        }
        for (path, bytes) in std::mem::take(&mut state.discarded) {
            if is_lost() {
                self.inner.put(&path, vec![bytes]).await.ok();
            }
        }
    }

    async fn apply(&self, change: Change) -> Result<()> {
        match change {
            Change::Put(path, data) => self.inner.put(&path, data).await,
            Change::Delete(path) => self.inner.delete(&path).await,
        }
    }

    async fn change(&self, change: Change) -> Result<()> {
        let number = self.begin(Some(change.clone())).await?;
        // So that others begin before this one ends.
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
        let mut state = self.state.lock().await;
        on(&state)?;
        state.under_way.retain(|(n, _)| *n != number);
        self.apply(change).await
    }
}

fn on(state: &State) -> Result<()> {
    if state.off { Err(Error::new(ErrorKind::Unavailable, "The power is off (planned)")) } else { Ok(()) }
}

#[async_trait]
impl Storage for Powered {
    async fn put(&self, path: &str, data: Vec<Bytes>) -> Result<()> {
        self.change(Change::Put(path.to_owned(), data)).await
    }

    async fn get(&self, path: &str, limit_bytes: u64) -> Result<Bytes> {
        self.begin(None).await?;
        self.inner.get(path, limit_bytes).await
    }

    async fn get_range(&self, path: &str, offset: u64, length: u64) -> Result<Bytes> {
        self.begin(None).await?;
        self.inner.get_range(path, offset, length).await
    }

    async fn list(&self, folder: &str) -> Result<Vec<Entry>> {
        self.begin(None).await?;
        self.inner.list(folder).await
    }

    async fn stat(&self, path: &str) -> Result<Entry> {
        self.begin(None).await?;
        self.inner.stat(path).await
    }

    async fn delete(&self, path: &str) -> Result<()> {
        self.change(Change::Delete(path.to_owned())).await
    }

    async fn discard(&self, path: &str) -> Result<()> {
        self.begin(None).await?;
        let mut state = self.state.lock().await;
        on(&state)?;
        if let Ok(bytes) = self.inner.get(path, u64::MAX).await {
            state.discarded.push((path.to_owned(), bytes));
        }
        self.inner.delete(path).await
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }
}
