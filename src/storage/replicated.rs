//! Several storages as one: what is written goes to all of them, what is read comes from the first that has it.
//!
//! Among the members that work there is a leader, the first. A member that cannot be written to, or cannot be asked for what
//! no other has, or a leader that cannot be listed, is left out from then on and remembered with the reason; the next one leads. So a run goes on while one is
//! left, and whoever began it can tell what lags behind.

use std::fmt;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::Mutex;

use super::{Entry, Storage};
use crate::error::{Error, ErrorKind, Result};

/// One of several storages.
#[derive(Debug)]
struct Member {
    name: String,
    storage: Arc<dyn Storage>,
    /// Why it is left out.
    failure: OnceLock<String>,
}

/// Writes to several storages and reads from the first that answers.
///
/// A put goes to the leader first, so that of two puts of one name one wins everywhere; then to the others at once. It
/// succeeds if one member is left that took it. Who comes to lead is first given what the one before had been given alone:
/// so their order holds at every member.
pub struct ReplicatedStorage {
    members: Vec<Member>,
    /// Says which files go to all members; the others are the leader's alone.
    shared: fn(&str) -> bool,
    /// What the leader alone was given, in this order, and which member that is.
    given: Mutex<Given>,
}

/// A member, by its number, and the files that it alone was given, in order.
type Given = (Option<usize>, Vec<(String, Vec<Bytes>)>);

impl fmt::Debug for ReplicatedStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReplicatedStorage").field(&self.members).finish()
    }
}

impl ReplicatedStorage {
    /// Joins storages, each with a name for people; the first one leads.
    pub fn new(members: Vec<(String, Arc<dyn Storage>)>, shared: fn(&str) -> bool) -> Self {
        let member = |(name, storage)| Member { name, storage, failure: OnceLock::new() };
        Self { members: members.into_iter().map(member).collect(), shared, given: Mutex::default() }
    }

    /// The members that were left out, with the reasons.
    pub fn failures(&self) -> Vec<(String, String)> {
        self.members.iter().filter_map(|m| Some((m.name.clone(), m.failure.get()?.clone()))).collect()
    }

    fn none_left(&self) -> Error {
        let reasons: Vec<String> = self.failures().into_iter().map(|(name, why)| format!("{name}: {why}")).collect();
        Error::new(ErrorKind::Unavailable, format!("No destination is left ({})", reasons.join("; ")))
    }

    /// Asks the members one after the other till one has it. Who cannot be asked for what the others have not is left
    /// out: what is listed there is not to be had, and who lists again sees what the next leader has.
    async fn read<T>(
        &self,
        ask: impl Fn(Arc<dyn Storage>) -> BoxFuture<'static, Result<T>> + Send + Sync,
    ) -> Result<T> {
        let (mut lacking, mut away) = (None, Vec::new());
        for member in self.members.iter().filter(|m| m.works()) {
            match ask(member.storage.clone()).await {
                Ok(found) => return Ok(found),
                Err(e) if e.kind() == ErrorKind::InvalidInput => return Err(e),
                Err(e) if e.is_loss() => lacking = lacking.or(Some(e)),
                Err(e) => away.push((member, e)),
            }
        }
        match (lacking, away.is_empty()) {
            (Some(e), _) => {
                away.iter().for_each(|(member, why)| member.fail(why));
                Err(e)
            }
            (None, false) => Err(away.swap_remove(0).1),
            (None, true) => Err(self.none_left()),
        }
    }

    /// Does something at the leader; one that fails leads no more.
    async fn lead<T>(
        &self,
        act: impl Fn(Arc<dyn Storage>) -> BoxFuture<'static, Result<T>> + Send + Sync,
    ) -> Result<(usize, T)> {
        let mut last = None;
        for (number, member) in self.members.iter().enumerate().filter(|(_, m)| m.works()) {
            match act(member.storage.clone()).await {
                Ok(done) => return Ok((number, done)),
                Err(e) if matches!(e.kind(), ErrorKind::InvalidInput | ErrorKind::AlreadyExists) => return Err(e),
                Err(e) => {
                    member.fail(&e);
                    last = Some(e);
                }
            }
        }
        Err(last.unwrap_or_else(|| self.none_left()))
    }

    /// Stores a file at the leader alone.
    async fn give(&self, path: &str, data: Vec<Bytes>) -> Result<()> {
        let mut given = self.given.lock().await;
        let mut last = None;
        for (number, member) in self.members.iter().enumerate().filter(|(_, m)| m.works()) {
            let is_new = given.0.is_some_and(|leader| leader != number);
            let mut stored = Ok(());
            for (path, data) in given.1.iter().filter(|_| is_new) {
                match member.storage.put(path, data.clone()).await {
                    Err(e) if e.kind() != ErrorKind::AlreadyExists => stored = Err(e),
                    _ => continue,
                }
                break;
            }
            if stored.is_ok() {
                stored = member.storage.put(path, data.clone()).await;
            }
            match stored {
                Ok(()) => {
                    given.0 = Some(number);
                    given.1.push((path.to_owned(), data));
                    return Ok(());
                }
                Err(e) if matches!(e.kind(), ErrorKind::InvalidInput | ErrorKind::AlreadyExists) => return Err(e),
                Err(e) => {
                    member.fail(&e);
                    last = Some(e);
                }
            }
        }
        Err(last.unwrap_or_else(|| self.none_left()))
    }

    /// Does something at the leader, and where the file is all members', then at the others.
    async fn change(
        &self,
        path: &str,
        act: impl Fn(Arc<dyn Storage>) -> BoxFuture<'static, Result<()>> + Send + Sync,
    ) -> Result<()> {
        let (leader, ()) = self.lead(&act).await?;
        if !(self.shared)(path) {
            return Ok(());
        }
        let mut others: FuturesUnordered<_> = FuturesUnordered::new();
        for (number, member) in self.members.iter().enumerate().filter(|(_, m)| m.works()) {
            if number > leader {
                let acting = act(member.storage.clone());
                others.push(acting.map(move |done| (number, done)));
            }
        }
        while let Some((number, done)) = others.next().await {
            match (done, self.members.get(number)) {
                // It was copied there before.
                (Err(e), Some(member)) if e.kind() != ErrorKind::AlreadyExists => member.fail(&e),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Member {
    fn works(&self) -> bool {
        self.failure.get().is_none()
    }

    fn fail(&self, error: &Error) {
        tracing::warn!(destination = %self.name, "left out: {}", error.chain());
        self.failure.get_or_init(|| error.chain());
    }
}

#[async_trait]
impl Storage for ReplicatedStorage {
    async fn put(&self, path: &str, data: Vec<Bytes>) -> Result<()> {
        if !(self.shared)(path) {
            return self.give(path, data).await;
        }
        let name = path.to_owned();
        self.change(path, move |storage| {
            let (name, data) = (name.clone(), data.clone());
            Box::pin(async move { storage.put(&name, data).await })
        })
        .await
    }

    async fn get(&self, path: &str, limit_bytes: u64) -> Result<Bytes> {
        let name = path.to_owned();
        self.read(move |storage| {
            let name = name.clone();
            Box::pin(async move { storage.get(&name, limit_bytes).await })
        })
        .await
    }

    async fn get_range(&self, path: &str, offset: u64, length: u64) -> Result<Bytes> {
        let name = path.to_owned();
        self.read(move |storage| {
            let name = name.clone();
            Box::pin(async move { storage.get_range(&name, offset, length).await })
        })
        .await
    }

    async fn list(&self, folder: &str) -> Result<Vec<Entry>> {
        let folder = folder.to_owned();
        let listed = self.lead(move |storage| {
            let folder = folder.clone();
            Box::pin(async move { storage.list(&folder).await })
        });
        listed.await.map(|(_, entries)| entries)
    }

    async fn stat(&self, path: &str) -> Result<Entry> {
        let name = path.to_owned();
        self.read(move |storage| {
            let name = name.clone();
            Box::pin(async move { storage.stat(&name).await })
        })
        .await
    }

    async fn delete(&self, path: &str) -> Result<()> {
        let name = path.to_owned();
        self.change(path, move |storage| {
            let name = name.clone();
            Box::pin(async move { storage.delete(&name).await })
        })
        .await
    }

    async fn discard(&self, path: &str) -> Result<()> {
        let name = path.to_owned();
        self.change(path, move |storage| {
            let name = name.clone();
            Box::pin(async move { storage.discard(&name).await })
        })
        .await
    }

    fn describe(&self) -> String {
        let leader = self.members.iter().find(|m| m.works());
        leader.map_or_else(|| "no destination".to_owned(), |m| m.storage.describe())
    }
}
