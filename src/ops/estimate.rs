//! What a backup would read, and about how long that takes: from the last snapshot, and from Graph's own counts for what
//! is new. Writes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{StreamExt, TryStreamExt};

use crate::error::Result;
use crate::format::snapshot::CollectionState;
use crate::graph::Client;
use crate::m365::discover::{Coverage, Selection, discover};
use crate::m365::estimate::{self, Counted, Pays};
use crate::m365::{CollectionKey, Workload};
use crate::ops::backup::resume::is_part;
use crate::ops::catalog::Catalog;
use crate::repo::Repository;
use crate::snapshot::set::SetDefinition;
use crate::snapshot::store::{self, Snapshot};

/// Collections counted at once.
const AT_ONCE: usize = 16;
/// What a message and a file have, where nothing is known of the tenant's own.
const MESSAGE_BYTES: u64 = 80 << 10;
const FILE_BYTES: u64 = 1 << 20;
/// How long an answer takes, at the least.
const ROUND_TRIP: Duration = Duration::from_millis(150);

/// Why a collection is read, and how much of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Nothing of it is stored.
    New,
    /// It was not read to its end, or its cursors are gone: all is listed, and what is not there is fetched.
    Again,
    /// What changed since it was read last.
    Changes,
}

impl Extent {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Again => "again",
            Self::Changes => "changes",
        }
    }
}

/// What would be read of one collection.
#[derive(Debug, Clone)]
pub struct Part {
    /// The collection's key.
    pub key: CollectionKey,
    /// Its name, as people know it.
    pub name: String,
    /// How much of it is read.
    pub extent: Extent,
    /// Items that it has: counted by Graph, or as stored. `None`: unknown.
    pub items: Option<u64>,
    /// Bytes to be read; `None`: unknown.
    pub bytes: Option<u64>,
    /// Requests, at the least.
    pub requests: u64,
}

/// What a backup would read.
#[derive(Debug, Clone, Default)]
pub struct Estimate {
    /// By collection, in the order of their names.
    pub parts: Vec<Part>,
    /// Items to be read in all.
    pub items: u64,
    /// Bytes to be read in all.
    pub bytes: u64,
    /// Requests in all.
    pub requests: u64,
    /// The shortest time in which Microsoft's limits allow that.
    pub time: Duration,
    /// How the figures were made, in sentences.
    pub how: Vec<String>,
    /// What was found of the tenant.
    pub found: Vec<Coverage>,
}

/// Finds what a backup of a set would read now.
///
/// # Errors
/// As a backup's discovery; the storage's.
pub async fn estimate(
    repo: &Arc<Repository>,
    client: &Client,
    set: &SetDefinition,
    selection: &Selection,
    now_us: i64,
) -> Result<Estimate> {
    let discovery = discover(client, selection).await?;
    let id = set.id(&repo.config().id);
    let last = store::list(repo).await?.snapshots.into_iter().rfind(|s| s.file.set == id);
    let before = Catalog::load(repo, last.as_ref().map(|s| &s.file)).await?;
    let named: Vec<(CollectionKey, String)> =
        discovery.collections.iter().map(|c| (c.key().clone(), c.path().to_owned())).collect();
    let mut parts: Vec<Part> = futures::stream::iter(named)
        .map(|(key, name)| {
            let state = before.states.get(&key.to_string());
            async move { part(client, key, name, state).await }
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    parts.sort_by(|a, b| a.name.cmp(&b.name));
    let mut whole = Estimate { parts, found: discovery.coverage, ..Estimate::default() };
    whole.add_up(set);
    whole.add_usual_changes(last.as_ref(), now_us);
    whole.time = whole.shortest(client);
    Ok(whole)
}

async fn part(client: &Client, key: CollectionKey, name: String, state: Option<&CollectionState>) -> Result<Part> {
    let stored = state.and_then(|state| state.items).map(|tree| tree.count);
    let extent = match state {
        None => Extent::New,
        Some(state) if state.cursors.as_ref().is_some_and(|cursors| !is_part(cursors)) => Extent::Changes,
        Some(_) => Extent::Again,
    };
    if let (Extent::Changes, Some(state)) = (extent, state) {
        // A request a cursor, whatever changed.
        let requests = state
            .cursors
            .as_ref()
            .map_or(1, |c| c.links.iter().filter(|(name, _)| !name.starts_with('!')).count() as u64)
            .max(1);
        return Ok(Part { key, name, extent, items: stored.or(Some(0)), bytes: Some(0), requests });
    }
    let Counted { items, bytes, lists } = estimate::count(client, &key).await?;
    let (items, bytes) = match key.workload {
        Workload::Mail => (items, items.map(|items| items * MESSAGE_BYTES)),
        Workload::OneDrive | Workload::Files => (bytes.map(|bytes| bytes.div_ceil(FILE_BYTES)), bytes),
        _ => (items, bytes),
    };
    let missing = items.unwrap_or(0).saturating_sub(stored.unwrap_or(0));
    let share = |bytes: u64| bytes.checked_mul(missing).map_or(bytes, |b| b / items.unwrap_or(1).max(1));
    let requests = match extent {
        Extent::New => estimate::requests(key.workload, items.unwrap_or(0), lists),
        _ => estimate::requests(key.workload, items.unwrap_or(0), lists) - stored.unwrap_or(0).min(items.unwrap_or(0)),
    };
    Ok(Part { key, name, extent, items, bytes: bytes.map(share), requests })
}

impl Estimate {
    fn add_up(&mut self, set: &SetDefinition) {
        let to_read = |part: &&Part| part.extent != Extent::Changes;
        self.items = self.parts.iter().filter(to_read).filter_map(|p| p.items).sum();
        self.bytes = self.parts.iter().filter(to_read).filter_map(|p| p.bytes).sum();
        self.requests = self.parts.iter().map(|p| p.requests).sum();
        if self.parts.iter().any(|part| part.extent != Extent::Changes) {
            self.how.push(format!(
                "What is new is counted by Graph: messages by its folders' counts, taken for {} KiB each; files by the \
                 space that their drive uses, taken for {} MiB each",
                MESSAGE_BYTES >> 10,
                FILE_BYTES >> 20
            ));
        }
        let unknown = self.parts.iter().filter(to_read).filter(|part| part.items.is_none()).count();
        if unknown > 0 {
            self.how.push(format!("Of {unknown} collections Graph keeps no count: they are not in the sums"));
        }
        if !set.options.exclusions.is_empty() {
            self.how.push("What the set's exclusions leave out is still in the figures of what is new".to_owned());
        }
    }

    /// What changes between two snapshots is taken to go on as it did between the last two.
    fn add_usual_changes(&mut self, last: Option<&Snapshot>, now_us: i64) {
        let Some(last) = last.filter(|_| self.parts.iter().any(|p| p.extent == Extent::Changes)) else { return };
        let totals = &last.file.totals;
        if last.file.parent.is_none() || !last.file.complete {
            self.how.push("How much changes is not known before the second complete snapshot".to_owned());
            return;
        }
        let (items, bytes) = (totals.items_added + totals.items_changed, totals.bytes_read);
        self.items += items;
        self.bytes += bytes;
        self.requests += items;
        let days = (now_us - last.file.time_us).max(0) as f64 / 86_400e6;
        self.how.push(format!(
            "The last run, {days:.1} days ago, read {items} items that had changed; as many are expected again"
        ));
    }

    /// The shortest time: every mailbox by itself, all drives and sites together.
    fn shortest(&mut self, client: &Client) -> Duration {
        let limits = client.budget().limits().clone();
        let mut mailboxes: BTreeMap<String, u64> = BTreeMap::new();
        let (mut files, mut directory) = (0u64, 0u64);
        for part in &self.parts {
            match estimate::pays(part.key.workload) {
                Pays::Mailbox => *mailboxes.entry(part.key.owner.to_string()).or_default() += part.requests,
                Pays::Files => files += part.requests,
                Pays::Directory => directory += part.requests,
            }
        }
        let windows = |requests: u64, limit: crate::graph::WindowLimit| {
            // The first window's allowance is there at once.
            limit.window.mul_f64((requests / u64::from(limit.units.max(1))) as f64)
        };
        let turns = |requests: u64, at_once: usize| ROUND_TRIP.mul_f64(requests as f64 / at_once.max(1) as f64);
        let of_mailbox =
            |requests: &u64| windows(*requests, limits.mailbox).max(turns(*requests, limits.mailbox_concurrent));
        let slowest = mailboxes.values().map(of_mailbox).max().unwrap_or_default();
        let files = windows(files, limits.files_minute)
            .max(windows(files, limits.files_day))
            .max(turns(files, limits.files_concurrent));
        let directory = windows(directory, limits.directory).max(turns(directory, limits.directory_concurrent));
        self.how.push(
            "The time is the shortest that Microsoft's limits allow: mailboxes side by side, drives and sites from one \
             budget of the tenant; your network may need longer"
                .to_owned(),
        );
        slowest.max(files).max(directory)
    }
}
