//! Several storages as one: what is written goes to all of them, what is read comes from the first that has it.
//!
//! Among the members that work there is a leader, the first. A member that cannot be written to, or a leader that cannot
//! be listed, is left out from then on and remembered with the reason; the next one leads. So a run goes on while one is
//! left, and whoever began it can tell what lags behind.

use std::fmt;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};

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
/// succeeds if one member is left that took it.
pub struct ReplicatedStorage {
    members: Vec<Member>,
    /// Says which files go to all members; the others are the leader's alone.
    shared: fn(&str) -> bool,
}

impl fmt::Debug for ReplicatedStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReplicatedStorage").field(&self.members).finish()
    }
}

impl ReplicatedStorage {
    /// Joins storages, each with a name for people; the first one leads.
    pub fn new(members: Vec<(String, Arc<dyn Storage>)>, shared: fn(&str) -> bool) -> Self {
        let member = |(name, storage)| Member { name, storage, failure: OnceLock::new() };
        Self { members: members.into_iter().map(member).collect(), shared }
    }

    /// The members that were left out, with the reasons.
    pub fn failures(&self) -> Vec<(String, String)> {
        self.members.iter().filter_map(|m| Some((m.name.clone(), m.failure.get()?.clone()))).collect()
    }

    fn none_left(&self) -> Error {
        let reasons: Vec<String> = self.failures().into_iter().map(|(name, why)| format!("{name}: {why}")).collect();
        Error::new(ErrorKind::Unavailable, format!("No destination is left ({})", reasons.join("; ")))
    }

    /// Asks the members one after the other till one answers; the error of the first is told.
    async fn read<T>(
        &self,
        ask: impl Fn(Arc<dyn Storage>) -> BoxFuture<'static, Result<T>> + Send + Sync,
    ) -> Result<T> {
        let mut first = None;
        for member in self.members.iter().filter(|m| m.works()) {
            match ask(member.storage.clone()).await {
                Err(e) if e.kind() != ErrorKind::InvalidInput => first = first.or(Some(e)),
                answered => return answered,
            }
        }
        Err(first.unwrap_or_else(|| self.none_left()))
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
