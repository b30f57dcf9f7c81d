//! One collection's part of a backup: changes in, contents fetched in parallel, records out, in the order of changes.

use std::collections::{HashSet, VecDeque};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Mutex;
use tokio_util::task::AbortOnDropHandle;

use super::contents::{ItemSink, PendingStream, SharedSegmenter};
use super::exclude::{Excluding, Filter};
use super::known::KnownRecords;
use super::logical;
use super::loss::{Loss, Watched};
use super::resume::{self, Checkpoints};
use super::room::Room;
use super::share::{Share, Shares};
use super::stop::Stop;
use super::unread;
use super::unstorable;
use crate::error::{Error, ErrorKind, Result};
use crate::format::collection::{Cursors, Gap};
use crate::format::record::{Record, StreamRole};
use crate::format::snapshot::CollectionState;
use crate::m365::{
    Change, Collection, Contents, Fetched, Known, Previous, Sink, Wanted, Workload, contents::without_contents,
};
use crate::monitor::{Counter, Monitor};
use crate::ops::nodes::WriterNodes;
use crate::ops::repair::LOST;
use crate::repo::{Segmenter, Writer};
use crate::snapshot::set::Exclusions;
use crate::tree::NodeStore;
use crate::tree::collection::{CollectionEditor, CollectionRoots, EditCounts};

/// Contents fetched at once for one collection. The budget's lanes decide how many really run.
const FETCHES_AHEAD: usize = 8;

/// What all collections of a run share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) writer: Writer,
    pub(super) monitor: Arc<dyn Monitor>,
    pub(super) stop: Stop,
    pub(super) room: Arc<Room>,
    pub(super) shares: Arc<Shares>,
    pub(super) exclusions: Arc<Exclusions>,
    pub(super) now_us: i64,
}

/// What became of a collection.
pub(super) struct Outcome {
    pub(super) state: CollectionState,
    pub(super) gaps: Vec<Gap>,
    pub(super) counts: EditCounts,
    pub(super) bytes_read: u64,
    /// The collection's logical bytes, where they are known.
    pub(super) logical: Option<u64>,
    /// It was not read to its end, for the user stopped the run.
    pub(super) stopped: bool,
    /// What the repository had lost of it, in words: it was read from the beginning.
    pub(super) damage: Option<String>,
    /// What was left out so far belongs in: it must be read once more.
    pub(super) again: bool,
}

/// Reads one collection. An error of the source becomes a gap of the collection; errors of the destination end the run.
/// `loss` learns of tree nodes that the repository lost.
pub(super) async fn read(
    shared: &Shared,
    source: Arc<dyn Collection>,
    previous: Option<CollectionState>,
    previous_gaps: Vec<Gap>,
    loss: &Loss,
) -> Result<Outcome> {
    shared.monitor.phase(&format!("Reading {}", source.path()));
    let before = previous.as_ref().map(roots).unwrap_or_default();
    let nodes = Watched { nodes: WriterNodes(shared.writer.clone()), loss: loss.clone() };
    let known = KnownRecords::new(&shared.writer, before, loss);
    let asked = previous_gaps.iter().filter(|gap| !gap.id.is_empty() && !unstorable::is(gap));
    let mut retry: Vec<String> = asked.map(|gap| gap.id.clone()).collect();
    let cursors = previous.as_ref().and_then(|p| p.cursors.clone());
    let from_start = is_to_compare(&source, &previous_gaps, &known).await?;
    let mut going_on = cursors.clone().filter(|_| !from_start);
    let doubtful = going_on.as_mut().and_then(resume::take);
    let is_part = doubtful.is_some();
    going_on.iter_mut().for_each(|cursors| {
        unread::take(cursors);
        logical::take(cursors);
    });
    let (mut excluding, going_on) =
        Excluding::begin(&shared.exclusions, shared.now_us, previous.as_ref(), going_on, is_part);
    let is_first = before == CollectionRoots::default() || (is_part && going_on.is_some());
    let is_anew = going_on.as_ref().is_none_or(|cursors| cursors.links.is_empty());
    let doubtful = doubtful.unwrap_or_default();
    retry.extend(doubtful.iter().cloned());
    let mut intake = Intake::new(shared, source.clone(), &nodes, before);
    if is_first {
        intake.checkpoints = Checkpoints::going_on(going_on.as_ref().filter(|_| is_part));
    }
    let busy = intake.busy.clone();
    let reading = async {
        let previous = Previous { cursors: going_on.as_ref(), retry: &retry, now_us: shared.now_us };
        let Some(excluding) = &mut excluding else { return source.changes(previous, &known, &mut intake).await };
        let mut filter = Filter::new(excluding, &known, &mut intake);
        let end = source.changes(previous, &known, &mut filter).await?;
        filter.finish().await.map(|()| end)
    };
    let end = until_stopped(reading, &shared.stop, &busy).await;
    let done = intake.finish(excluding.as_mut().filter(|_| end.is_ok())).await?;
    // The cursors that came at the end of the reading stand for items that are not there.
    let end = done.broken_off.map_or(end, Err);
    let (cursors, complete, stopped, trouble) = conclude(end, cursors, shared, &source)?;
    // Cursors stand for exactly the items they came with: what a broken reading left must be compared.
    let mut cursors = cursors.filter(|_| complete || done.roots == before);
    if let (true, Some(excluding), Some(cursors)) = (complete, &excluding, &mut cursors) {
        excluding.note(cursors);
    }
    if let (true, Some(mark), Some(cursors)) = (complete, source.mark_of_unread(), &mut cursors) {
        unread::note(&nodes, mark, previous.as_ref(), done.roots, cursors).await?;
    }
    match done.checkpoint.filter(|_| !complete) {
        Some((mut at, Some(mut since))) => {
            let is_settled = excluding.as_ref().is_none_or(Excluding::is_settled);
            since.extend(doubtful);
            since.sort_unstable();
            since.dedup();
            if is_settled && since.len() <= 2 * resume::MOST {
                resume::put(&mut at, &since);
                excluding.iter().for_each(|excluding| excluding.note(&mut at));
                cursors = Some(at);
            }
        }
        // Only at its end a reading with exclusions takes out what it found to be left out.
        Some((at, None)) if excluding.is_none() => cursors = Some(at),
        _ => {}
    }
    let logical = logical::after(previous.as_ref(), &done.counts);
    if let (Some(bytes), Some(cursors)) = (logical, &mut cursors) {
        logical::note(cursors, done.roots.items, bytes);
    }
    let mut gaps = done.gaps;
    gaps.extend(trouble);
    // What was not looked at again is still missing.
    let told: HashSet<String> = gaps.iter().map(|g| g.id.clone()).collect();
    let stays = |gap: &&Gap| !complete || (unstorable::is(gap) && !is_anew);
    gaps.extend(previous_gaps.iter().filter(|g| !g.id.is_empty() && !told.contains(&g.id)).filter(stays).cloned());
    date_gaps(&mut gaps, &previous_gaps, shared.now_us);
    shared.monitor.add(Counter::Gaps, gaps.len() as i64);
    let state = CollectionState {
        key: source.key().to_string(),
        name: source.path().to_owned(),
        items: done.roots.items,
        children: done.roots.children,
        cursors,
        read_us: if complete { shared.now_us } else { previous.map_or(0, |p| p.read_us) },
        complete,
    };
    let again = complete && excluding.is_some_and(|excluding| excluding.again);
    let (counts, bytes_read) = (done.counts, done.bytes_read);
    Ok(Outcome { state, gaps, counts, bytes_read, logical, stopped, damage: None, again })
}

/// Says whether a collection must be compared from the start, as the repository lost something of it: mail and drives ask for
/// lost items one by one, other workloads tell them again in a whole walk, which fetches no contents that are there. So do drives
/// if a whole item was lost: whether it has rights of its own is told by a listing alone.
async fn is_to_compare(source: &Arc<dyn Collection>, gaps: &[Gap], known: &KnownRecords) -> Result<bool> {
    let mut lost = gaps.iter().filter(|gap| gap.reason == LOST);
    match source.key().workload {
        Workload::Mail => Ok(false),
        Workload::OneDrive | Workload::Files => {
            for gap in lost {
                if known.record(&gap.id).await?.is_none() {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        _ => Ok(lost.next().is_some()),
    }
}

/// Lets a reading go on till it ends or the run is stopped: it may be waiting for a budget, for minutes. It is never broken off
/// while the intake has a change in hand.
async fn until_stopped<T>(reading: impl Future<Output = Result<T>>, stop: &Stop, busy: &AtomicBool) -> Result<T> {
    let (mut reading, mut stopped) = (pin!(reading), pin!(stop.stopped()));
    let step = |cx: &mut Context<'_>| {
        let polled = reading.as_mut().poll(cx);
        let is_over = stop.is_stopped() || stopped.as_mut().poll(cx).is_ready();
        if polled.is_pending() && is_over && !busy.load(Ordering::Relaxed) {
            return Poll::Ready(Err(Stop::error()));
        }
        polled
    };
    poll_fn(step).await
}

pub(super) fn roots(state: &CollectionState) -> CollectionRoots {
    CollectionRoots { items: state.items, children: state.children }
}

type Conclusion = (Option<Cursors>, bool, bool, Option<Gap>);

/// What the end of reading means: new cursors, complete or not, stopped or not, a gap.
fn conclude(
    end: Result<crate::m365::ChangesEnd>,
    before: Option<Cursors>,
    shared: &Shared,
    source: &Arc<dyn Collection>,
) -> Result<Conclusion> {
    match end {
        Ok(end) => Ok((Some(end.cursors), true, false, None)),
        Err(e) if e.kind() == ErrorKind::Interrupted => Ok((before, false, true, None)),
        Err(e) if shared.writer.is_broken() => Err(e),
        Err(e) => {
            shared.monitor.problem(source.path(), &e.chain());
            let gap = Gap {
                collection: source.key().to_string(),
                id: String::new(),
                name: source.path().to_owned(),
                kind: None,
                reason: "unreadable".to_owned(),
                text: e.chain(),
                since_us: 0,
            };
            Ok((before, false, false, Some(gap)))
        }
    }
}

/// A gap keeps the date on which it was found first.
fn date_gaps(gaps: &mut [Gap], previous: &[Gap], now_us: i64) {
    for gap in gaps {
        if gap.since_us == 0 {
            gap.since_us = previous.iter().find(|p| p.id == gap.id).map_or(now_us, |p| p.since_us);
        }
    }
}

/// A change on its way to the trees.
enum Step {
    Remove(String),
    Checkpoint(Cursors, Vec<String>),
    Settled(Cursors),
    Put { record: Box<Record>, streams: Vec<PendingStream>, source_hash: String },
    Fetching { record: Box<Record>, properties: Bytes, job: AbortOnDropHandle<Result<(Fetched, ItemSink)>> },
}

/// Takes the changes of one collection in order.
struct Intake<'a> {
    shared: &'a Shared,
    source: Arc<dyn Collection>,
    nodes: &'a dyn NodeStore,
    editor: CollectionEditor<'a>,
    segmenter: SharedSegmenter,
    queue: VecDeque<Step>,
    /// Records whose small streams have provisional places.
    unsettled: Vec<Record>,
    unsettled_ids: HashSet<String>,
    share: Share,
    gaps: Vec<Gap>,
    checkpoints: Checkpoints,
    bytes_read: u64,
    /// Items of which a part could not be stored: they stay as they were, for what they say of their parts is not so.
    unplaced: HashSet<String>,
    /// A change is being taken.
    busy: Arc<AtomicBool>,
    /// Why changes are missing: the run was stopped, or the source failed as a whole while contents were fetched.
    broken_off: Option<Error>,
}

struct Done {
    roots: CollectionRoots,
    counts: EditCounts,
    gaps: Vec<Gap>,
    /// Where a reading that was broken off may go on.
    checkpoint: Option<(Cursors, Option<Vec<String>>)>,
    bytes_read: u64,
    broken_off: Option<Error>,
}

impl<'a> Intake<'a> {
    fn new(shared: &'a Shared, source: Arc<dyn Collection>, nodes: &'a dyn NodeStore, before: CollectionRoots) -> Self {
        Self {
            shared,
            source,
            nodes,
            editor: CollectionEditor::new(nodes, before),
            segmenter: Arc::new(Mutex::new(Segmenter::new(shared.writer.clone()))),
            queue: VecDeque::new(),
            unsettled: Vec::new(),
            unsettled_ids: HashSet::new(),
            share: shared.shares.join(),
            gaps: Vec::new(),
            checkpoints: Checkpoints::default(),
            bytes_read: 0,
            unplaced: HashSet::new(),
            busy: Arc::default(),
            broken_off: None,
        }
    }

    async fn put(&mut self, record: Box<Record>, properties: Bytes, contents: Contents) -> Result<()> {
        let of_properties = |properties| vec![PendingStream::small(StreamRole::Properties, properties)];
        let step = match contents {
            Contents::Fetch(wanted) => {
                let (source, shared, segmenter) = (self.source.clone(), self.shared.clone(), self.segmenter.clone());
                let job = AbortOnDropHandle::new(tokio::spawn(async move {
                    let mut sink = ItemSink::new(shared.writer.clone(), segmenter, shared.room.clone());
                    tokio::select! {
                        fetched = source.fetch(&wanted, &mut sink) => Ok((fetched?, sink)),
                        () = shared.stop.stopped() => Err(Stop::error()),
                    }
                }));
                Step::Fetching { record, properties, job }
            }
            Contents::Unreadable(gap) => {
                let old = self.current(&record.id).await?;
                self.gaps.push(gap);
                let record = Box::new(without_contents(*record, old.as_ref()));
                Step::Put { record, streams: of_properties(properties), source_hash: String::new() }
            }
            Contents::Keep => {
                let mut record = record;
                let Some(old) = self.current(&record.id).await? else {
                    // It was taken away in this same reading: what is to be kept is not there any more.
                    let wanted = Box::new(Wanted::of((*record).clone()));
                    return Box::pin(self.put(record, properties, Contents::Fetch(wanted))).await;
                };
                let streams = old.streams;
                record.streams = streams.into_iter().filter(|s| s.role != StreamRole::Properties).collect();
                Step::Put { record, streams: of_properties(properties), source_hash: String::new() }
            }
            _ => Step::Put { record, streams: of_properties(properties), source_hash: String::new() },
        };
        self.push(step).await
    }

    /// The record of an id as it is after all changes taken so far.
    async fn current(&mut self, id: &str) -> Result<Option<Record>> {
        let waiting = self.queue.iter().any(|s| match s {
            Step::Remove(other) => other == id,
            Step::Checkpoint(..) | Step::Settled(_) => false,
            Step::Put { record, .. } | Step::Fetching { record, .. } => record.id == id,
        });
        if waiting {
            self.drain(0).await?;
        }
        if self.unsettled_ids.contains(id) {
            self.settle().await?;
        }
        self.editor.get(id).await
    }

    async fn push(&mut self, step: Step) -> Result<()> {
        self.queue.push_back(step);
        self.drain(FETCHES_AHEAD).await
    }

    /// Takes steps off the queue till at most `leave` are left.
    async fn drain(&mut self, leave: usize) -> Result<()> {
        while self.queue.len() > leave {
            let Some(step) = self.queue.pop_front() else { break };
            self.take(step).await?;
        }
        Ok(())
    }

    async fn take(&mut self, step: Step) -> Result<()> {
        match step {
            Step::Remove(id) => {
                if self.unsettled_ids.contains(&id) {
                    self.settle().await?;
                }
                self.editor.remove(&id);
                Ok(())
            }
            // What comes after a failure is no longer whole.
            Step::Checkpoint(..) | Step::Settled(_) if self.broken_off.is_some() => Ok(()),
            Step::Checkpoint(cursors, doubtful) => {
                self.checkpoints.take(cursors, doubtful);
                Ok(())
            }
            Step::Settled(cursors) => {
                self.checkpoints.settle(cursors);
                Ok(())
            }
            Step::Put { record, .. } | Step::Fetching { record, .. } if self.unplaced.contains(&record.id) => Ok(()),
            Step::Put { record, streams, source_hash } => self.place(*record, streams, &source_hash).await,
            Step::Fetching { record, properties, job } => {
                match job.await.map_err(|e| Error::internal("A fetch ended early").with_source(e))? {
                    Ok((fetched, sink)) => self.take_fetched(record, properties, fetched, sink).await,
                    Err(e) if self.shared.writer.is_broken() => Err(e),
                    // The item stays as it was.
                    Err(e) => {
                        self.unplaced.extend(resume::part_of(&record).map(str::to_owned));
                        self.broken_off.get_or_insert(e);
                        Ok(())
                    }
                }
            }
        }
    }

    async fn take_fetched(
        &mut self,
        mut record: Box<Record>,
        mut properties: Bytes,
        fetched: Fetched,
        mut sink: ItemSink,
    ) -> Result<()> {
        self.bytes_read += sink.bytes_read;
        self.shared.monitor.add(Counter::BytesRead, sink.bytes_read as i64);
        if !matches!(fetched, Fetched::Stored { .. }) && self.unsettled_ids.contains(&record.id) {
            // Told twice: what was stored the first time comes before what becomes of it now.
            self.settle().await?;
        }
        match fetched {
            Fetched::Stored { source_hash, newer, gap } => {
                self.gaps.extend(gap);
                if let Some((newer, newer_properties)) = newer {
                    (record, properties) = (newer, newer_properties);
                }
                sink.streams.insert(0, PendingStream::small(StreamRole::Properties, properties));
                self.place(*record, sink.streams, &source_hash).await
            }
            Fetched::Unreadable(gap) => {
                let old = self.editor.get(&record.id).await?;
                self.shared.monitor.problem(&gap.name, &gap.text);
                self.gaps.push(gap);
                let record = without_contents(*record, old.as_ref());
                self.place(record, vec![PendingStream::small(StreamRole::Properties, properties)], "").await
            }
            Fetched::Gone => {
                self.editor.remove(&record.id);
                Ok(())
            }
        }
    }

    /// Lays a record's small streams into segments; the record waits for their ids.
    async fn place(&mut self, mut record: Record, streams: Vec<PendingStream>, source_hash: &str) -> Result<()> {
        let mut placed = Vec::with_capacity(streams.len() + record.streams.len());
        let mut segmenter = self.segmenter.lock().await;
        for stream in streams {
            let mut stream = stream.place(&mut segmenter, source_hash).await?;
            if stream.role == StreamRole::Properties {
                stream.source_hash.clear();
            }
            placed.push(stream);
        }
        drop(segmenter);
        placed.append(&mut record.streams);
        placed.sort_by_key(|s| s.role);
        record.streams = placed;
        self.checkpoints.put(&record);
        self.unsettled_ids.insert(record.id.clone());
        self.unsettled.push(record);
        self.shared.monitor.add(Counter::Items, 1);
        if self.unsettled.len() >= self.share.records() {
            self.settle().await?;
        }
        Ok(())
    }

    async fn settle(&mut self) -> Result<()> {
        let mut segmenter = self.segmenter.lock().await;
        segmenter.settle().await?;
        for mut record in std::mem::take(&mut self.unsettled) {
            for extents in record.streams.iter_mut().flat_map(|s| &mut s.pieces).map(|p| &mut p.extents) {
                extents.list = segmenter.resolve_all(&extents.list)?;
            }
            if let Err(refused) = self.editor.put(&record) {
                let gap = unstorable::gap(&record, &self.source.key().to_string(), &refused);
                self.shared.monitor.problem(&gap.name, &gap.text);
                self.gaps.push(gap);
            }
        }
        drop(segmenter);
        self.unsettled_ids.clear();
        if self.share.is_used_up(self.editor.pending_bytes()) {
            let turn = self.share.turn().await?;
            self.editor.apply().await?;
            drop(turn);
            self.share.hold(0);
        }
        Ok(())
    }

    /// Makes the changes left. With exclusions, also takes out what the reading showed to be left out.
    async fn finish(mut self, excluding: Option<&mut Excluding>) -> Result<Done> {
        self.drain(0).await?;
        self.settle().await?;
        let turn = self.share.turn().await?;
        if let Some(excluding) = excluding.filter(|_| self.broken_off.is_none()) {
            let roots = self.editor.apply().await?;
            let out = excluding.sweep(self.nodes, roots).await?;
            out.iter().for_each(|id| self.editor.remove(id));
            self.gaps.retain(|gap| !out.contains(&gap.id));
        }
        let (roots, counts) = self.editor.finish().await?;
        drop(turn);
        let checkpoint = self.checkpoints.finish();
        Ok(Done {
            roots,
            counts,
            gaps: self.gaps,
            checkpoint,
            bytes_read: self.bytes_read,
            broken_off: self.broken_off,
        })
    }
}

#[async_trait]
impl Sink for Intake<'_> {
    async fn change(&mut self, change: Change) -> Result<()> {
        self.shared.stop.check()?;
        if self.broken_off.is_some() {
            // Ends the reading; the reason is told when the intake is done.
            return Err(Stop::error());
        }
        self.busy.store(true, Ordering::Relaxed);
        let taken = self.take_change(change).await;
        self.busy.store(false, Ordering::Relaxed);
        taken
    }

    async fn checkpoint(&mut self, cursors: Cursors, doubtful: Vec<String>) -> Result<()> {
        self.shared.stop.check()?;
        match self.checkpoints.allowed {
            // It is no fetch that could be waited for ahead.
            true => {
                self.queue.pop_back_if(|last| matches!(last, Step::Checkpoint(..)));
                // It is no fetch that could be waited for ahead.
                self.queue.push_back(Step::Checkpoint(cursors, doubtful));
                Ok(())
            }
            false => Ok(()),
        }
    }

    async fn settled(&mut self, cursors: Cursors) -> Result<()> {
        self.shared.stop.check()?;
        self.queue.push_back(Step::Settled(cursors));
        Ok(())
    }
}

impl Intake<'_> {
    async fn take_change(&mut self, change: Change) -> Result<()> {
        match change {
            Change::Put { record, properties, contents } => {
                self.shared.monitor.add(Counter::ItemsTotal, 1);
                self.put(record, properties, contents).await
            }
            Change::Remove { id } => self.push(Step::Remove(id)).await,
            Change::Gap(gap) => {
                self.shared.monitor.problem(&gap.name, &gap.text);
                self.gaps.push(gap);
                Ok(())
            }
        }
    }
}
