//! For tests: a storage that fails, dies or tarries on plan, and remembers every call.
//!
//! Everything is decided by counting calls, so that a run repeats exactly. "Kill before and after every write" is:
//!
//! ```
//! # use std::sync::Arc;
//! # use tenantvault::storage::{StorageOptions, fault::{Fault, FaultPlan, FaultStorage, Which}, open};
//! # let inner = open("memory:", &StorageOptions::default())?;
//! for n in 1..=3 {
//!     for fault in [Fault::DieBefore, Fault::DieAfter, Fault::Tear] {
//!         let storage = FaultStorage::new(Arc::clone(&inner), FaultPlan::new().at(Which::Write, n, fault));
//!         // … run, see it fail, then open `inner` again and look.
//!     }
//! }
//! # Ok::<(), tenantvault::Error>(())
//! ```

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Entry, Storage};
use crate::error::{Error, ErrorKind, Result};

/// The kinds of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Call {
    Put,
    Get,
    GetRange,
    List,
    Stat,
    Delete,
}

/// Which calls a rule of a plan counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// Every call.
    Any,
    /// Every call that changes something: put and delete.
    Write,
    /// Every call of one kind.
    Kind(Call),
    /// Every call of one kind at paths that begin so: `Under(Call::Put, "index/")`.
    Under(Call, &'static str),
}

impl Which {
    fn counts(&self, call: Call, path: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Write => matches!(call, Call::Put | Call::Delete),
            Self::Kind(kind) => *kind == call,
            Self::Under(kind, prefix) => *kind == call && path.starts_with(prefix),
        }
    }
}

/// What happens at a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is done and the call fails so; later calls work.
    Fail(ErrorKind),
    /// The process dies, or the store vanishes, before the call has any effect: it and every later call fail.
    DieBefore,
    /// The call takes effect, but the caller does not hear of it: it and every later call fail.
    DieAfter,
    /// Dies in the middle of the call. Nothing of a torn put is visible, as the contract has it; a call that changes
    /// nothing dies as with [`Fault::DieBefore`].
    Tear,
    /// Dies in the middle of a put on a store that breaks the contract: half of the file is visible under its name.
    TearVisibly,
    /// The call takes this much longer.
    Delay(Duration),
}

/// Which calls get which fault. The first rule that fits a call decides; the others count it too.
#[derive(Debug, Clone, Default)]
pub struct FaultPlan {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    which: Which,
    /// None: every call.
    nth: Option<u64>,
    fault: Fault,
    seen: u64,
}

impl FaultPlan {
    /// Makes a plan under which nothing goes wrong.
    pub fn new() -> Self {
        Self::default()
    }

    /// Plans a fault for the `nth` call (1 is the first) of those that `which` counts.
    #[must_use]
    pub fn at(mut self, which: Which, nth: u64, fault: Fault) -> Self {
        self.rules.push(Rule { which, nth: Some(nth), fault, seen: 0 });
        self
    }

    /// Plans a fault for every call that `which` counts.
    #[must_use]
    pub fn every(mut self, which: Which, fault: Fault) -> Self {
        self.rules.push(Rule { which, nth: None, fault, seen: 0 });
        self
    }

    fn next(&mut self, call: Call, path: &str) -> Option<Fault> {
        let mut decided = None;
        for rule in self.rules.iter_mut().filter(|rule| rule.which.counts(call, path)) {
            rule.seen += 1;
            if rule.nth.is_none_or(|nth| nth == rule.seen) && decided.is_none() {
                decided = Some(rule.fault);
            }
        }
        decided
    }
}

/// One call as it was made, whatever became of it. Calls after the death are not recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Its kind.
    pub call: Call,
    /// The file or folder.
    pub path: String,
    /// Bytes offered by a put, or returned by a get; 0 otherwise.
    pub bytes: u64,
}

/// Remembers calls, for tests of cost ("a run without changes makes at most 40 calls").
#[derive(Debug, Default)]
pub struct Recorder {
    calls: Mutex<Vec<Recorded>>,
}

impl Recorder {
    /// Returns all calls in the order in which they began.
    pub fn calls(&self) -> Vec<Recorded> {
        self.lock().clone()
    }

    /// Counts the calls that `which` counts.
    pub fn count(&self, which: &Which) -> u64 {
        self.lock().iter().filter(|recorded| which.counts(recorded.call, &recorded.path)).count() as u64
    }

    /// Adds up the bytes of the calls that `which` counts.
    pub fn bytes(&self, which: &Which) -> u64 {
        self.lock().iter().filter(|r| which.counts(r.call, &r.path)).map(|r| r.bytes).sum()
    }

    /// Forgets all calls. The counters of a plan go on.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn begin(&self, call: Call, path: &str, bytes: u64) -> usize {
        let mut calls = self.lock();
        calls.push(Recorded { call, path: path.to_owned(), bytes });
        calls.len() - 1
    }

    fn end(&self, index: usize, bytes: u64) {
        if let Some(recorded) = self.lock().get_mut(index) {
            recorded.bytes = bytes;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Recorded>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Passes calls to another storage, with the faults of a plan.
#[derive(Debug)]
pub struct FaultStorage {
    inner: Arc<dyn Storage>,
    state: Mutex<State>,
    recorder: Recorder,
}

#[derive(Debug)]
struct State {
    plan: FaultPlan,
    dead: bool,
}

impl FaultStorage {
    /// Wraps a storage.
    pub fn new(inner: Arc<dyn Storage>, plan: FaultPlan) -> Self {
        Self { inner, state: Mutex::new(State { plan, dead: false }), recorder: Recorder::default() }
    }

    /// Returns what was called.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Says whether a planned death has come.
    pub fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// Brings it back to life with a new plan, as after a restart.
    pub fn revive(&self, plan: FaultPlan) {
        *self.state() = State { plan, dead: false };
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn died(&self, path: &str) -> Error {
        Error::new(ErrorKind::Unavailable, format!("{} died before {path} was done (planned)", self.inner.describe()))
    }

    /// Decides what becomes of a call; fails it if it must not reach the inner storage.
    async fn before(&self, call: Call, path: &str, bytes: u64) -> Result<Passage> {
        let (index, fault) = {
            let mut state = self.state();
            if state.dead {
                return Err(self.died(path));
            }
            let index = self.recorder.begin(call, path, bytes);
            let fault = state.plan.next(call, path);
            let dies = match fault {
                Some(Fault::DieBefore | Fault::DieAfter | Fault::Tear) => true,
                Some(Fault::TearVisibly) => true,
                Some(Fault::Fail(_) | Fault::Delay(_)) | None => false,
            };
            state.dead |= dies;
            (index, fault)
        };
        let end = match fault {
            None => End::Normal,
            Some(Fault::Delay(time)) => {
                tokio::time::sleep(time).await;
                End::Normal
            }
            Some(Fault::Fail(kind)) => {
                return Err(Error::new(kind, format!("{path} in {} failed (planned)", self.inner.describe())));
            }
            Some(Fault::DieAfter) => End::Unheard,
            Some(Fault::TearVisibly) if call == Call::Put => End::Torn,
            Some(Fault::DieBefore | Fault::Tear | Fault::TearVisibly) => return Err(self.died(path)),
        };
        Ok(Passage { index, end })
    }

    fn after<T>(&self, passage: &Passage, path: &str, result: Result<T>) -> Result<T> {
        match passage.end {
            End::Normal => result,
            End::Unheard | End::Torn => Err(self.died(path)),
        }
    }

    fn read(&self, passage: &Passage, path: &str, result: Result<Bytes>) -> Result<Bytes> {
        if let Ok(bytes) = &result {
            self.recorder.end(passage.index, bytes.len() as u64);
        }
        self.after(passage, path, result)
    }
}

/// A call on its way through.
struct Passage {
    index: usize,
    end: End,
}

#[derive(PartialEq, Eq)]
enum End {
    Normal,
    /// Done, but the caller gets an error.
    Unheard,
    /// Half done.
    Torn,
}

#[async_trait]
impl Storage for FaultStorage {
    async fn put(&self, path: &str, data: Vec<Bytes>) -> Result<()> {
        let size = data.iter().map(Bytes::len).sum::<usize>();
        let passage = self.before(Call::Put, path, size as u64).await?;
        let data = if passage.end == End::Torn {
            let mut half = data.concat();
            half.truncate(size / 2);
            vec![Bytes::from(half)]
        } else {
            data
        };
        let result = self.inner.put(path, data).await;
        self.after(&passage, path, result)
    }

    async fn get(&self, path: &str, limit_bytes: u64) -> Result<Bytes> {
        let passage = self.before(Call::Get, path, 0).await?;
        let result = self.inner.get(path, limit_bytes).await;
        self.read(&passage, path, result)
    }

    async fn get_range(&self, path: &str, offset: u64, length: u64) -> Result<Bytes> {
        let passage = self.before(Call::GetRange, path, 0).await?;
        let result = self.inner.get_range(path, offset, length).await;
        self.read(&passage, path, result)
    }

    async fn list(&self, folder: &str) -> Result<Vec<Entry>> {
        let passage = self.before(Call::List, folder, 0).await?;
        let result = self.inner.list(folder).await;
        self.after(&passage, folder, result)
    }

    async fn stat(&self, path: &str) -> Result<Entry> {
        let passage = self.before(Call::Stat, path, 0).await?;
        let result = self.inner.stat(path).await;
        self.after(&passage, path, result)
    }

    async fn delete(&self, path: &str) -> Result<()> {
        let passage = self.before(Call::Delete, path, 0).await?;
        let result = self.inner.delete(path).await;
        self.after(&passage, path, result)
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }
}
