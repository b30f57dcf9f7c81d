//! What a backup would read, and about how long that takes: from the last snapshot, and from Graph's own counts for what
//! is new. Writes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{StreamExt, TryStreamExt};

use crate::error::Result;
use crate::format::snapshot::CollectionState;
use crate::graph::{Client, TeamsCall, WindowLimit};
use crate::m365::discover::{Coverage, Selection, discover};
use crate::m365::estimate::{self, Cost, Counted, Pays};
use crate::m365::{CollectionKey, Workload};
use crate::ops::backup::resume::is_part;
use crate::ops::catalog::Catalog;
use crate::repo::Repository;
use crate::snapshot::set::SetDefinition;
use crate::snapshot::store::{self, Snapshot};

/// Collections counted at once.
const AT_ONCE: usize = 64;
/// What a message and a file have, where nothing is known of the tenant's own.
const MESSAGE_BYTES: u64 = 80 << 10;
const FILE_BYTES: u64 = 1 << 20;
/// The same of a conversation, an event and a contact.
const CONVERSATION_BYTES: u64 = 40 << 10;
const EVENT_BYTES: u64 = 4 << 10;
const CONTACT_BYTES: u64 = 4 << 10;
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

/// Where a figure comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CountedBy {
    /// Graph counts it.
    Graph,
    /// The last snapshot has so much of it.
    Snapshot,
    /// Those of other owners in the last snapshot have so much on average.
    Others,
    /// It is not known before it is read.
    Nobody,
}

impl CountedBy {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Graph => "graph",
            Self::Snapshot => "snapshot",
            Self::Others => "others",
            Self::Nobody => "nobody",
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
    /// Items that it has. `None`: it is not known before it is read.
    pub items: Option<u64>,
    /// Who counted them.
    pub counted_by: CountedBy,
    /// Bytes to be read; `None`: unknown.
    pub bytes: Option<u64>,
    /// What reading costs, at the least.
    pub cost: Cost,
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
    /// Resource units of SharePoint and OneDrive in all.
    pub file_units: u64,
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
    let alike = alike(before.states.values());
    let mut parts: Vec<Part> = futures::stream::iter(named)
        .map(|(key, name)| {
            let state = before.states.get(&key.to_string());
            let alike = alike.get(&key.workload).copied();
            async move { part(client, (key, name), state, alike).await }
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

/// How many items collections of each workload have on average.
fn alike<'a>(states: impl Iterator<Item = &'a CollectionState>) -> BTreeMap<Workload, u64> {
    let mut sums: BTreeMap<Workload, (u64, u64)> = BTreeMap::new();
    for state in states {
        if let Ok(key) = state.key.parse::<CollectionKey>() {
            let sum = sums.entry(key.workload).or_default();
            *sum = (sum.0 + state.items.map_or(0, |tree| tree.count), sum.1 + 1);
        }
    }
    sums.into_iter().map(|(workload, (items, number))| (workload, items.div_ceil(number.max(1)))).collect()
}

async fn part(
    client: &Client,
    (key, name): (CollectionKey, String),
    state: Option<&CollectionState>,
    alike: Option<u64>,
) -> Result<Part> {
    let stored = state.and_then(|state| state.items).map(|tree| tree.count);
    let extent = match state {
        None => Extent::New,
        Some(state) if state.cursors.as_ref().is_some_and(|cursors| !is_part(cursors)) => Extent::Changes,
        Some(_) => Extent::Again,
    };
    if let (Extent::Changes, Some(state)) = (extent, state) {
        // A request a cursor, whatever changed.
        let cursors = state.cursors.iter().flat_map(|cursors| &cursors.links);
        let cursors = cursors.filter(|(name, _)| !name.starts_with('!')).count() as u64;
        let cost = estimate::cost_of_changes(key.workload, cursors.max(1));
        let counted_by = CountedBy::Snapshot;
        return Ok(Part { key, name, extent, items: stored.or(Some(0)), counted_by, bytes: Some(0), cost });
    }
    let Counted { items, bytes, lists } = estimate::count(client, &key).await?;
    let items = items.or(bytes.map(|bytes| bytes.div_ceil(FILE_BYTES)));
    let stored_whole = stored.filter(|_| extent == Extent::Again && items.is_none());
    let (items, counted_by) = match (items, stored_whole, alike) {
        (Some(items), ..) => (Some(items), CountedBy::Graph),
        (None, Some(items), _) => (Some(items), CountedBy::Snapshot),
        (None, None, Some(items)) => (Some(items), CountedBy::Others),
        (None, None, None) => (None, CountedBy::Nobody),
    };
    let bytes = bytes.or_else(|| items?.checked_mul(bytes_each(key.workload)?));
    let (all, stored) = (items.unwrap_or(0), stored.unwrap_or(0));
    let missing = all.saturating_sub(stored);
    let share = |bytes: u64| bytes.checked_mul(missing).map_or(bytes, |b| b / all.max(1));
    let mut cost = estimate::cost(key.workload, all, lists);
    if extent == Extent::Again {
        // What is there is listed, and not fetched.
        let known = stored.min(all);
        let fetched = estimate::cost(key.workload, known, 1).requests - estimate::cost(key.workload, 0, 1).requests;
        cost.requests = cost.requests.saturating_sub(fetched).max(lists.max(1));
        cost.units = cost.units.saturating_sub(fetched).max(lists.max(1));
    }
    Ok(Part { key, name, extent, items, counted_by, bytes: bytes.map(share), cost })
}

/// What an item has, where nothing is known of the tenant's own; `None`: that differs too much.
fn bytes_each(workload: Workload) -> Option<u64> {
    match workload {
        Workload::Mail => Some(MESSAGE_BYTES),
        Workload::Conversations => Some(CONVERSATION_BYTES),
        Workload::Calendar => Some(EVENT_BYTES),
        Workload::Contacts => Some(CONTACT_BYTES),
        _ => None,
    }
}

impl Estimate {
    fn add_up(&mut self, set: &SetDefinition) {
        let to_read = |part: &&Part| part.extent != Extent::Changes;
        self.items = self.parts.iter().filter(to_read).filter_map(|p| p.items).sum();
        self.bytes = self.parts.iter().filter(to_read).filter_map(|p| p.bytes).sum();
        self.requests = self.parts.iter().map(|p| p.cost.requests).sum();
        let of_files = self.parts.iter().filter(|part| estimate::pays(part.key.workload) == Pays::Files);
        self.file_units = of_files.map(|part| part.cost.units).sum();
        if self.parts.iter().any(|part| part.extent != Extent::Changes) {
            self.how.push(format!(
                "What is new is counted by Graph: messages, contacts, events and conversations, a message taken for {} KiB; \
                 files by the space that their drive uses, taken for {} MiB each",
                MESSAGE_BYTES >> 10,
                FILE_BYTES >> 20
            ));
        }
        let counted_by = |by: CountedBy| self.parts.iter().filter(to_read).filter(move |part| part.counted_by == by);
        let others = counted_by(CountedBy::Others).count();
        let unknown: BTreeSet<&str> = counted_by(CountedBy::Nobody).map(|part| part.key.workload.title()).collect();
        let (number, unknown) =
            (counted_by(CountedBy::Nobody).count(), unknown.into_iter().collect::<Vec<_>>().join(", "));
        if others > 0 {
            self.how.push(format!(
                "{others} of which Graph keeps no count are taken for as large as others of their kind in the last snapshot"
            ));
        }
        if number > 0 {
            self.how.push(format!(
                "How much {number} of them hold is not known before they are read, for Graph keeps no count ({unknown}): \
                 they are not in the sums"
            ));
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

    /// The shortest time: that of the budget which lasts longest.
    fn shortest(&mut self, client: &Client) -> Duration {
        let budgets = Budgets::of(&self.parts, client);
        let slowest = budgets.0.iter().max_by_key(|(_, time)| *time).copied().unwrap_or_default();
        self.how.push(format!(
            "The time is the shortest that Microsoft's limits allow, here of {}: every mailbox has its own, drives and sites \
             share the tenant's units of a minute and of a day, Teams and Planner answer so many requests a second; your \
             network may need longer",
            if slowest.0.is_empty() { "no budget" } else { slowest.0 }
        ));
        slowest.1
    }
}

/// How long each of Microsoft's budgets takes.
struct Budgets(Vec<(&'static str, Duration)>);

impl Budgets {
    fn of(parts: &[Part], client: &Client) -> Self {
        let limits = client.budget().limits();
        let mut mailboxes: BTreeMap<String, u64> = BTreeMap::new();
        let mut teams: Vec<(TeamsCall, u64)> = Vec::new();
        // The most that any one team or channel is asked.
        let (mut files, mut planner, mut one) = (Cost::default(), 0, 0);
        for Part { key, cost, .. } in parts {
            match estimate::pays(key.workload) {
                Pays::Mailbox => *mailboxes.entry(key.owner.to_string()).or_default() += cost.requests,
                Pays::Files => {
                    files.requests += cost.requests;
                    files.units += cost.units;
                }
                Pays::Teams(call) => {
                    one = one.max(if key.workload == Workload::Chats { 0 } else { cost.requests });
                    match teams.iter_mut().find(|(other, _)| *other == call) {
                        Some((_, requests)) => *requests += cost.requests,
                        None => teams.push((call, cost.requests)),
                    }
                }
                Pays::Planner => planner += cost.requests,
            }
        }
        let of_mailbox = |n: &u64| windows(*n, limits.mailbox).max(turns(*n, limits.mailbox_concurrent));
        let slowest = mailboxes.values().map(of_mailbox).max().unwrap_or_default();
        // As much as the tenant's licences allow.
        let units = client.budget().files_units();
        let limit =
            |n: usize, usual: WindowLimit| WindowLimit { units: units.get(n).copied().unwrap_or(usual.units), ..usual };
        let minute = windows(files.units, limit(0, limits.files_minute));
        let day = windows(files.units, limit(1, limits.files_day));
        let of_files = minute.max(day).max(turns(files.requests, limits.files_concurrent));
        let of_call =
            |(call, n): &(TeamsCall, u64)| windows(*n, limits.teams.of(*call)).max(turns(*n, limits.teams_concurrent));
        let of_teams = teams.iter().map(of_call).max().unwrap_or_default().max(windows(one, limits.teams.one));
        let of_planner = windows(planner, limits.planner).max(turns(planner, limits.planner_concurrent));
        Self(vec![
            ("the mailbox with most to read", slowest),
            ("drives and sites", of_files),
            ("Teams", of_teams),
            ("Planner", of_planner),
        ])
    }
}

/// The first window's allowance is there at once.
fn windows(units: u64, limit: WindowLimit) -> Duration {
    limit.window.mul_f64((units / u64::from(limit.units.max(1))) as f64)
}

fn turns(requests: u64, at_once: usize) -> Duration {
    ROUND_TRIP.mul_f64(requests as f64 / at_once.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::id::BlobId;
    use crate::graph::{ClientOptions, Cloud, Credential};
    use crate::tree::TreeRoot;

    fn part(key: &str, requests: u64, units: u64) -> Part {
        let key: CollectionKey = key.parse().unwrap();
        let cost = Cost { requests, units };
        let (items, bytes) = (Some(0), Some(0));
        Part { key, name: String::new(), extent: Extent::New, items, counted_by: CountedBy::Graph, bytes, cost }
    }

    #[test]
    fn the_time_is_that_of_the_slowest_budget() {
        let options = ClientOptions::new(Cloud::custom("http://127.0.0.1:1", "http://127.0.0.1:1").unwrap());
        let client = Client::new(options, "contoso.onmicrosoft.com", "app", Credential::secret("s")).unwrap();
        let time = |parts: Vec<Part>, client: &Client| {
            let mut whole = Estimate { parts, ..Estimate::default() };
            (whole.shortest(client).as_secs(), whole.how.pop().unwrap())
        };
        let mail = |user: &str| part(&format!("users/{user}/mail"), 25_000, 25_000);
        // Two windows of ten minutes, whoever else reads beside it.
        assert_eq!(time(vec![mail("a"), mail("b")], &client).0, 1200);
        // A hundred minutes of SharePoint's units; requests would take a minute or two.
        let drive = part("users/a/onedrive/d", 10_000, 125_000);
        let (seconds, how) = time(vec![mail("a"), drive.clone()], &client);
        assert!(seconds == 6000 && how.contains("of drives and sites"), "{seconds} {how}");
        // Three days of them.
        assert_eq!(time(vec![part("users/a/onedrive/d", 1, 3_600_000)], &client).0, 3 * 86_400);
        // More licences allow more.
        client.budget().learn_licences(60_000);
        assert_eq!(time(vec![drive], &client).0, 1200);
        // Any one channel answers four times a second, all together twenty times.
        let channel = |id: u32| part(&format!("teams/t/channel/{id}"), 400, 400);
        assert_eq!(time(vec![channel(1)], &client).0, 100);
        assert_eq!(time((0..20).map(channel).collect(), &client).0, 400);
    }

    #[test]
    fn what_nobody_counts_is_taken_for_as_large_as_others() {
        let state = |key: &str, count: u64| CollectionState {
            key: key.to_owned(),
            name: String::new(),
            items: Some(TreeRoot { id: BlobId([0; 32]), level: 0, count }),
            children: None,
            cursors: None,
            read_us: 0,
            complete: true,
        };
        let states = [state("users/a/tasks", 10), state("users/b/tasks", 21), state("users/a/chats", 7)];
        let alike = alike(states.iter());
        assert_eq!(
            (alike.get(&Workload::Tasks), alike.get(&Workload::Chats), alike.get(&Workload::Planner)),
            (Some(&16), Some(&7), None)
        );
    }
}
