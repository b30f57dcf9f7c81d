//! Contents for a restore: from the repository, as the workloads ask for them.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::format::record::{Record, StreamRole};
use crate::format::snapshot::CollectionState;
use crate::m365::restore::{Held, Opened, Room, Source};
use crate::m365::{CollectionKey, Workload};
use crate::ops::backup::Stop;
use crate::ops::nodes::RepoNodes;
use crate::ops::present::{self, Face, Make, Mode};
use crate::ops::read;
use crate::ops::view::View;
use crate::repo::{ByteStream, Repository};
use crate::tree::collection::{CollectionReader, CollectionRoots};

/// Graph's JSON of one item is no longer than this.
const PROPERTIES_BYTES: u64 = 16 << 20;
/// Parts of one item at most: no service keeps as many versions, rights or members.
const PARTS: usize = 100_000;

/// One collection of a snapshot, with what became of its containers in the target.
pub(super) struct RepoSource {
    repo: Arc<Repository>,
    view: View,
    state: CollectionState,
    nodes: RepoNodes,
    roots: CollectionRoots,
    made: Mutex<HashMap<String, String>>,
    /// What steps of the run have there, by id and container: known from before it went on, made or found since.
    taken: Mutex<HashSet<(String, String)>>,
    /// What all of a run may hold in memory.
    room: Room,
    /// Asks the run to come to an end.
    stop: Stop,
}

impl RepoSource {
    pub(super) fn new(view: &View, state: &CollectionState) -> Self {
        let roots = CollectionRoots { items: state.items, children: state.children };
        let (repo, view) = (view.repository().clone(), view.clone().shown(Mode::Presented));
        let (made, taken) = (Mutex::default(), Mutex::default());
        let (nodes, room, stop) = (RepoNodes(repo.clone()), Room::default(), Stop::new());
        Self { nodes, repo, view, state: state.clone(), roots, made, taken, room, stop }
    }

    /// The same for a run, which shares its room in memory and may be stopped.
    pub(super) fn of_run(self, room: Room, stop: Stop) -> Self {
        Self { room, stop, ..self }
    }

    pub(super) fn reader(&self) -> CollectionReader<'_> {
        CollectionReader::new(&self.nodes, self.roots)
    }

    /// Takes note of what a step made or found; says whether no other did.
    pub(super) fn take(&self, id: &str, parent: &str) -> bool {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.insert((id.to_owned(), parent.to_owned()))
    }

    /// Takes note of what a container became.
    pub(super) fn note(&self, item: &str, made: &str) {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).insert(item.to_owned(), made.to_owned());
    }
}

#[async_trait]
impl Source for RepoSource {
    async fn properties(&self, record: &Record) -> Result<Value> {
        let Some(stream) = record.stream(StreamRole::Properties) else { return Ok(Value::Null) };
        let bytes = read::read_whole(&self.repo, stream, PROPERTIES_BYTES).await?;
        let wrong =
            |e| Error::corrupt(format!("The properties of a {} are no JSON", record.kind.word())).with_source(e);
        serde_json::from_slice(&bytes).map_err(wrong)
    }

    async fn open(&self, record: &Record, role: StreamRole, from: u64) -> Result<Option<Opened>> {
        let Some(stream) = record.stream(role) else { return Ok(None) };
        let bytes = from_byte(read::read_stream(&self.repo, stream), from);
        Ok(Some(Opened { size_bytes: stream.size_bytes, bytes }))
    }

    async fn page_bytes(&self, record: &Record) -> Result<Option<u64>> {
        if present::beside(record) != Some(Make::Thread) {
            return Ok(None);
        }
        present::measure(&self.view, &self.state, record, Face::Beside).await.map(Some)
    }

    async fn open_page(&self, record: &Record, from: u64) -> Result<Option<ByteStream>> {
        if present::beside(record) != Some(Make::Thread) {
            return Ok(None);
        }
        let bytes = present::open(&self.view, &self.state, record, Face::Beside).await?;
        Ok(Some(from_byte(bytes, from)))
    }

    async fn below(&self, record: &Record) -> Result<Vec<Record>> {
        let page = self.reader().children(&record.id, None, PARTS).await?;
        if page.next.is_some() {
            return Err(too_many(&record.name));
        }
        page.records().collect()
    }

    async fn parts(&self, item: &str) -> Result<Vec<Record>> {
        let (mut parts, mut cursor) = (Vec::new(), self.reader().records_of(&format!("{item}/")));
        while let Some(part) = cursor.next().await? {
            if parts.len() == PARTS {
                return Err(too_many(item));
            }
            parts.push(part);
        }
        Ok(parts)
    }

    async fn record(&self, id: &str) -> Result<Option<Record>> {
        self.reader().get(id).await
    }

    async fn beside(&self, workload: Workload, id: &str) -> Result<Option<Box<dyn Source>>> {
        let CollectionKey { owner, .. } = self.state.key.parse()?;
        let key = CollectionKey { owner, workload, id: id.to_owned() };
        let Some(state) = self.view.state(&key.to_string()).await? else { return Ok(None) };
        let other = Self::new(&self.view, &state).of_run(self.room.clone(), self.stop.clone());
        Ok(Some(Box::new(other)))
    }

    fn go_on(&self) -> Result<()> {
        self.stop.check()
    }

    fn is_taken(&self, id: &str, parent: &str) -> bool {
        !self.take(id, parent)
    }

    async fn room(&self, bytes: u64) -> Result<Held> {
        self.room.take(bytes).await
    }

    fn made_as(&self, id: &str) -> Option<String> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }
}

fn too_many(name: &str) -> Error {
    Error::invalid(format!("More than {PARTS} parts hang below '{name}'"))
}

/// Reads over what was sent before: a stream's pieces have no index by bytes.
fn from_byte(bytes: ByteStream, from: u64) -> ByteStream {
    let rest = futures::stream::unfold((bytes, from), |(mut bytes, mut skip)| async move {
        loop {
            match bytes.next().await? {
                Err(e) => return Some((Err(e), (bytes, 0))),
                Ok(mut part) => {
                    let known = usize::try_from(skip).unwrap_or(usize::MAX).min(part.len());
                    skip -= known as u64;
                    let part: Bytes = part.split_off(known);
                    if !part.is_empty() {
                        return Some((Ok(part), (bytes, skip)));
                    }
                }
            }
        }
    });
    rest.boxed()
}
