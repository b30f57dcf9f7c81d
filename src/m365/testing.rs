//! Small fakes for tests: what is known, a sink that keeps what it takes, contents in memory.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

use super::door::{Change, Collection, ContentSink, Contents, Fetched, Known, Previous, Sink};
use crate::error::Result;
use crate::format::collection::{Cursors, Gap};
use crate::format::record::{ItemKind, Record, Stream, StreamRole};
use crate::m365::contents::without_contents;

/// A record with nothing in it but its names.
pub(crate) fn record(id: &str, parent: &str, name: &str, kind: ItemKind) -> Record {
    Record::new(kind, id, parent, name)
}

/// The record with an (empty) stream of a role.
pub(crate) fn with_stream(mut record: Record, role: StreamRole) -> Record {
    record.streams.push(Stream { role, size_bytes: 0, source_hash: String::new(), pieces: Vec::new() });
    record
}

/// An item as a snapshot would hold it: the record, and the bytes of its streams.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Item {
    pub(crate) record: Record,
    pub(crate) streams: BTreeMap<StreamRole, Bytes>,
}

/// The state of one collection: what a backup would keep of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    pub(crate) items: BTreeMap<String, Item>,
    pub(crate) cursors: Option<Cursors>,
    pub(crate) gaps: Vec<Gap>,
    /// When the next run begins.
    pub(crate) now_us: i64,
    /// How often the records of all that is known were walked.
    pub(crate) walks: Arc<AtomicU32>,
}

/// What one run did.
#[derive(Debug, Default)]
pub(crate) struct Run {
    pub(crate) changes: Vec<Change>,
    pub(crate) fetched: Vec<String>,
    pub(crate) resynced: bool,
}

#[async_trait]
impl Known for State {
    async fn record(&self, id: &str) -> Result<Option<Record>> {
        Ok(self.items.get(id).map(|item| item.record.clone()))
    }

    async fn children(&self, parent: &str) -> Result<BoxStream<'_, Result<String>>> {
        let ids: Vec<_> = self
            .items
            .values()
            .filter(|item| item.record.parent == parent)
            .map(|item| item.record.id.clone())
            .collect();
        Ok(futures::stream::iter(ids).map(Ok).boxed())
    }

    async fn ids(&self) -> Result<BoxStream<'_, Result<String>>> {
        Ok(futures::stream::iter(self.items.keys().cloned()).map(Ok).boxed())
    }

    async fn records(&self) -> Result<BoxStream<'_, Result<Record>>> {
        self.walks.fetch_add(1, Ordering::Relaxed);
        Ok(futures::stream::iter(self.items.values().map(|item| Ok(item.record.clone()))).boxed())
    }

    async fn parts(&self, item: &str) -> Result<BoxStream<'_, Result<Record>>> {
        let beginning = format!("{item}/");
        let parts = self.items.values().filter(|item| item.record.id.starts_with(&beginning));
        let parts: Vec<_> = parts.map(|item| Ok(item.record.clone())).collect();
        Ok(futures::stream::iter(parts).boxed())
    }
}

/// A sink that keeps what it is told, and after how many changes all was told, with which cursors.
#[derive(Default)]
pub(crate) struct Changes(Mutex<Vec<Change>>, Option<(usize, Cursors)>);

impl Changes {
    /// The ids of what is there in the end, and of what is not.
    pub(crate) fn ends(self) -> (Vec<String>, Vec<String>) {
        let mut there = BTreeMap::new();
        for change in self.0.into_inner().unwrap() {
            match change {
                Change::Put { record, .. } => drop(there.insert(record.id, true)),
                Change::Remove { id } => drop(there.insert(id, false)),
                Change::Gap(_) => {}
            }
        }
        let of = |what: bool| there.iter().filter(|(_, is)| **is == what).map(|(id, _)| id.clone()).collect();
        (of(true), of(false))
    }
}

#[async_trait]
impl Sink for Changes {
    async fn change(&mut self, change: Change) -> Result<()> {
        self.0.get_mut().unwrap().push(change);
        Ok(())
    }

    async fn settled(&mut self, cursors: Cursors) -> Result<()> {
        self.1 = Some((self.0.get_mut().unwrap().len(), cursors));
        Ok(())
    }
}

#[derive(Default)]
struct InMemory(BTreeMap<StreamRole, Bytes>);

#[async_trait]
impl ContentSink for InMemory {
    async fn store(
        &mut self,
        role: StreamRole,
        _: Option<u64>,
        bytes: BoxStream<'static, Result<Bytes>>,
    ) -> Result<()> {
        self.0.remove(&role);
        let chunks: Vec<Bytes> = bytes.try_collect().await?;
        self.0.insert(role, Bytes::from(chunks.concat()));
        Ok(())
    }
}

impl State {
    /// Takes over what a sink was told, without contents.
    pub(crate) fn take(&mut self, changes: Changes) {
        for change in changes.0.into_inner().unwrap() {
            if let Change::Put { record, .. } = change {
                self.items.insert(record.id.clone(), Item { record: *record, streams: BTreeMap::new() });
            }
        }
    }

    /// Runs a backup of the collection: reads changes, fetches contents, applies both.
    pub(crate) async fn run(&mut self, collection: &dyn Collection) -> Result<Run> {
        self.run_part(collection, usize::MAX).await
    }

    /// The same while the source changes: `meanwhile` happens after the reading of changes, before that of contents.
    pub(crate) async fn run_while(&mut self, collection: &dyn Collection, meanwhile: impl FnOnce()) -> Result<Run> {
        self.run_of(collection, usize::MAX, meanwhile).await
    }

    /// Runs a backup that breaks off after so many changes; what was applied stays, with cursors if all had been told.
    pub(crate) async fn run_part(&mut self, collection: &dyn Collection, most: usize) -> Result<Run> {
        self.run_of(collection, most, || ()).await
    }

    async fn run_of(&mut self, collection: &dyn Collection, most: usize, meanwhile: impl FnOnce()) -> Result<Run> {
        let retry: Vec<String> = self.gaps.iter().map(|gap| gap.id.clone()).collect();
        let mut sink = Changes::default();
        let previous = Previous { cursors: self.cursors.as_ref(), retry: &retry, now_us: self.now_us };
        let end = collection.changes(previous, self, &mut sink).await?;
        meanwhile();
        let settled = sink.1.take();
        let mut changes = sink.0.into_inner().unwrap();
        let whole = changes.len() <= most;
        changes.truncate(most);
        let before = std::mem::take(&mut self.gaps);
        let mut run = Run { changes: changes.clone(), resynced: end.resynced, ..Run::default() };
        let mut last: BTreeMap<String, usize> = BTreeMap::new();
        for (place, change) in changes.iter().enumerate() {
            match change {
                Change::Put { record, .. } => drop(last.insert(record.id.clone(), place)),
                Change::Remove { id } => drop(last.insert(id.clone(), place)),
                Change::Gap(gap) => self.gaps.push(gap.clone()),
            }
        }
        for (place, change) in changes.into_iter().enumerate() {
            match change {
                Change::Put { record, properties, contents } if last.get(&record.id) == Some(&place) => {
                    self.apply(collection, *record, properties, contents, &mut run).await?;
                }
                Change::Remove { id } if last.get(&id) == Some(&place) => drop(self.items.remove(&id)),
                _ => (),
            }
        }
        for gap in &mut self.gaps {
            gap.since_us = before.iter().find(|b| b.id == gap.id).map_or(1, |b| b.since_us + 1);
        }
        self.cursors = match whole {
            true => Some(end.cursors),
            false => settled.filter(|(at, _)| *at <= most).map(|(_, cursors)| cursors),
        };
        Ok(run)
    }

    async fn apply(
        &mut self,
        collection: &dyn Collection,
        mut record: Record,
        mut properties: Bytes,
        contents: Contents,
        run: &mut Run,
    ) -> Result<()> {
        assert!(record.streams.is_empty(), "streams are the taker's to fill in");
        let previous = self.items.remove(&record.id);
        let kept = |previous: &Option<Item>| previous.as_ref().map(|item| item.streams.clone()).unwrap_or_default();
        let mut streams = match contents {
            Contents::None => BTreeMap::new(),
            Contents::Keep => {
                assert!(previous.is_some(), "nothing to keep for {}", record.id);
                kept(&previous)
            }
            Contents::Unreadable(gap) => {
                self.gaps.push(gap);
                record = without_contents(record, previous.as_ref().map(|item| &item.record));
                kept(&previous)
            }
            Contents::Fetch(wanted) => {
                let mut sink = InMemory::default();
                run.fetched.push(record.id.clone());
                match collection.fetch(&wanted, &mut sink).await? {
                    Fetched::Stored { newer, gap, .. } => {
                        self.gaps.extend(gap);
                        if let Some((newer, told)) = newer {
                            (record, properties) = (*newer, told);
                        }
                        sink.0
                    }
                    Fetched::Gone => return Ok(()),
                    Fetched::Unreadable(gap) => {
                        self.gaps.push(gap);
                        record = without_contents(record, previous.as_ref().map(|item| &item.record));
                        kept(&previous)
                    }
                }
            }
        };
        streams.insert(StreamRole::Properties, properties);
        record.streams.clear();
        for (role, bytes) in &streams {
            let size_bytes = bytes.len() as u64;
            record.streams.push(Stream { role: *role, size_bytes, source_hash: String::new(), pieces: Vec::new() });
        }
        self.items.insert(record.id.clone(), Item { record, streams });
        Ok(())
    }

    /// The path of every item that can be reached from the top, by the names of records.
    pub(crate) fn paths(&self) -> BTreeMap<String, &Item> {
        let mut paths = BTreeMap::new();
        for item in self.items.values() {
            let mut path = item.record.name.clone();
            let mut at = item.record.parent.as_str();
            while let Some(parent) = self.items.get(at) {
                path = format!("{}/{path}", parent.record.name);
                at = &parent.record.parent;
            }
            assert_eq!(at, "", "{path} hangs in the air");
            paths.insert(format!("{path}#{}", item.record.id), item);
        }
        paths
    }
}
