//! Drives targets as a restore does, without a repository, and compares what came back.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use serde_json::Value;

use crate::error::Result;
use crate::format::record::{ItemKind, Record, StreamRole};
use crate::m365::restore::lost::{lost_of, take_lost};
use crate::m365::restore::{
    Extras, Fit, Found, Held as Place, Made, Opened, Order, Room, Source, Target, Undo, Unlogged,
};
use crate::m365::testing::{Item, State};

/// What a backup holds, as a source of a restore.
pub(super) struct Held<'a> {
    pub(super) state: &'a State,
    made: Mutex<HashMap<String, String>>,
    pub(super) room: Room,
    /// The most that room was asked for at once, in bytes.
    pub(super) most: AtomicU64,
    /// How often contents were opened while nobody had room.
    pub(super) unheld: AtomicUsize,
}

impl<'a> Held<'a> {
    pub(super) fn new(state: &'a State) -> Self {
        let (most, unheld) = (AtomicU64::default(), AtomicUsize::default());
        Self { state, made: Mutex::default(), room: Room::of(64 << 10, 0), most, unheld }
    }
}

#[async_trait]
impl Source for Held<'_> {
    async fn properties(&self, record: &Record) -> Result<Value> {
        Ok(json(&self.state.items[&record.id]))
    }

    async fn open(&self, record: &Record, role: StreamRole, from: u64) -> Result<Option<Opened>> {
        if self.room.take(u64::MAX).now_or_never().is_some() {
            self.unheld.fetch_add(1, Ordering::Relaxed);
        }
        let bytes = self.state.items[&record.id].streams.get(&role).cloned();
        Ok(bytes.map(|bytes| {
            let size_bytes = bytes.len() as u64;
            let rest = bytes.slice(usize::try_from(from).unwrap()..);
            Opened { size_bytes, bytes: futures::stream::iter([Ok(rest)]).boxed() }
        }))
    }

    async fn below(&self, record: &Record) -> Result<Vec<Record>> {
        Ok(below(self.state, &record.id))
    }

    async fn parts(&self, item: &str) -> Result<Vec<Record>> {
        let prefix = format!("{item}/");
        let all = self.state.items.values().map(|item| &item.record);
        Ok(all.filter(|record| record.id.starts_with(&prefix)).cloned().collect())
    }

    async fn record(&self, id: &str) -> Result<Option<Record>> {
        Ok(self.state.items.get(id).map(|item| item.record.clone()))
    }

    async fn room(&self, bytes: u64) -> Result<Place> {
        self.most.fetch_max(bytes, Ordering::Relaxed);
        self.room.take(bytes.max(1)).await
    }

    fn made_as(&self, id: &str) -> Option<String> {
        self.made.lock().unwrap().get(id).cloned()
    }
}

fn below(state: &State, parent: &str) -> Vec<Record> {
    state.items.values().map(|item| &item.record).filter(|record| record.parent == parent).cloned().collect()
}

pub(super) fn json(item: &Item) -> Value {
    serde_json::from_slice(&item.streams[&StreamRole::Properties]).unwrap()
}

/// What a run did.
#[derive(Default)]
pub(super) struct Done {
    pub(super) undo: Vec<Undo>,
    pub(super) notes: Vec<String>,
    pub(super) refused: Vec<(ItemKind, String)>,
    pub(super) made: usize,
    pub(super) skipped: usize,
}

/// Restores all of a backup: in place, or into a container of its own.
pub(super) async fn restore(target: &dyn Target, held: &Held<'_>, folder: Option<&str>) -> Done {
    let mut done = Done::default();
    target.probe().await.unwrap();
    let mut top = String::new();
    if let Some(name) = folder {
        let made = target.create_top(name).await.unwrap();
        assert_eq!(target.find_top(name).await.unwrap().map(|found| found.id), Some(made.id.clone()));
        done.undo.extend(made.undo);
        top = made.id;
    }
    level(target, held, ("", &top), &mut done).await;
    done
}

fn level<'a>(
    target: &'a dyn Target,
    held: &'a Held<'_>,
    (from, to): (&'a str, &'a str),
    done: &'a mut Done,
) -> BoxFuture<'a, ()> {
    Box::pin(async move {
        let mut records = below(held.state, from);
        records.sort_by_key(|record| target.rank(record.kind));
        let present = target.present(to).await.unwrap();
        for record in records {
            if let Fit::Cannot(why) = target.fit(&record) {
                done.refused.push((record.kind, why));
                continue;
            }
            let identity = target.identity(&record);
            let there = present.iter().find(|there| there.identity == identity && there.kind == record.kind);
            let there = there.filter(|_| !target.adds(record.kind));
            let mark = format!("run-{}", done.made);
            let order = Order {
                record: &record,
                parent: to,
                name: &record.name,
                mark: &mark,
                extras: Extras { permissions: true, links: false, versions: true },
                log: &Unlogged,
                only_looks: false,
            };
            let id = match there {
                Some(there) if record.id == "mailboxSettings" => {
                    let made = target.overwrite(&there.id, order, held).await.unwrap();
                    done.undo.extend(made.undo);
                    continue;
                }
                Some(there) => {
                    done.skipped += 1;
                    there.id.clone()
                }
                None => {
                    let made: Made = match target.create(order, held).await {
                        Ok(made) => made,
                        Err(error) => panic!("{:?} '{}': {}", record.kind, record.name, error.chain()),
                    };
                    // What was made is found again by who lost the answer.
                    let found = target.find(order, held).await.unwrap();
                    match found {
                        Found::Whole(found) | Found::Part(found) => {
                            assert!(
                                found.id == made.id || found.undo.is_empty(),
                                "{:?} '{}'",
                                record.kind,
                                record.name
                            );
                        }
                        Found::Nothing => panic!("{:?} '{}' is not found", record.kind, record.name),
                    }
                    done.made += 1;
                    done.undo.extend(made.undo);
                    done.notes.extend(made.notes);
                    made.id
                }
            };
            held.made.lock().unwrap().insert(record.id.clone(), id.clone());
            if record.kind.is_container() {
                level(target, held, (&record.id, &id), done).await;
            }
        }
    })
}

/// Takes back all that was done, from the last to the first.
pub(super) async fn take_back(target: &dyn Target, done: &Done) -> Vec<String> {
    let mut left = Vec::new();
    for undo in done.undo.iter().rev() {
        left.extend(target.undo(undo).await.unwrap());
        // What is gone already counts as taken back.
        target.undo(undo).await.unwrap();
    }
    left
}

/// What is told of items, by their place and name: all that a restore promises to bring back.
pub(super) fn told(state: &State) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for item in state.items.values() {
        let record = &item.record;
        let mut path = format!("{} {}", record.name, record.kind.word());
        let mut above = record.parent.as_str();
        while let Some(item) = state.items.get(above) {
            path = format!("{}/{path}", item.record.name);
            above = &item.record.parent;
        }
        let kind = record.kind.word();
        let mut value = json(item);
        match value["@odata.type"].as_str().unwrap_or_default() {
            // A link does not come back, an item as a file.
            "#microsoft.graph.referenceAttachment" => continue,
            "#microsoft.graph.itemAttachment" => path = path.replace(" attachment", ".eml attachment"),
            _ => {}
        }
        if lost_of(kind).contains(&"*") {
            continue;
        }
        take_lost(kind, &mut value);
        let contents = item.streams.get(&StreamRole::Content).map(|bytes| blake3::hash(bytes).to_hex().to_string());
        all.entry(path).or_default().push(format!("{value} {contents:?}"));
    }
    for values in all.values_mut() {
        values.sort();
    }
    all
}
