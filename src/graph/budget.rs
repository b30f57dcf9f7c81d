//! Permits to send: one budget per tenant and app, shared by all who ask.
//!
//! Every scope is a *lane*: a queue served in order (first come, first served, so that no backup set starves another),
//! so many requests at once, windows of units ([`super::window`]), and a pause that a throttled answer puts on the whole
//! lane. Who waits in a queue must be polled, or all behind it wait too: requests run as tasks of their own
//! ([`super::transport`]). While its windows allow it a lane runs at full speed; after an unexpected 429 it spends its allowance evenly for one
//! window, as somebody else spends from it too. What a `RateLimit-Remaining` header leaves is never exceeded before its reset.

mod spent;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::limits::{Limits, WindowLimit};
use super::request::{Scope, TeamsCall};
use super::window::Window;
use crate::monitor::Monitor;

pub use spent::Spent;

/// How many lanes of mailboxes are kept before idle ones are dropped.
const LANES_KEPT: usize = 2048;
/// The kinds of calls to Teams, each with a lane.
const TEAMS_CALLS: [TeamsCall; 5] =
    [TeamsCall::Team, TeamsCall::Channels, TeamsCall::Message, TeamsCall::Export, TeamsCall::Other];
/// Uploads into one mailbox that wait at once; no limit of Microsoft's.
const UPLOADS_AT_ONCE: usize = 64;
/// Waits for a limit on speed that are no farther apart are one.
const PAUSE: Duration = Duration::from_millis(500);
/// A wait shorter than this is not worth words.
const WORTH_WORDS: Duration = Duration::from_secs(1);

/// Hands out permits to send requests: one object per tenant, shared by all clients of it.
pub struct Budget {
    limits: Limits,
    files: Arc<Lane>,
    downloads: Arc<Semaphore>,
    directory: Arc<Lane>,
    mailboxes: Mutex<HashMap<String, Arc<Lane>>>,
    /// Bytes sent into mailboxes, in KiB.
    uploads: Mutex<HashMap<String, Arc<Lane>>>,
    teams: [Arc<Lane>; TEAMS_CALLS.len()],
    /// Of single teams and channels.
    teams_one: Mutex<HashMap<String, Arc<Lane>>>,
    planner: Arc<Lane>,
    names: Mutex<HashMap<String, String>>,
    waits: Arc<Waits>,
    slow: Arc<Mutex<Option<Slow>>>,
}

/// What `RateLimit-*` headers said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Units a window, if said.
    pub limit: Option<u32>,
    /// Units left until the reset.
    pub remaining: u32,
    /// Time until the reset.
    pub reset: Duration,
}

impl Budget {
    /// Starts with unused budgets. `monitor` hears in words what is waited for.
    pub fn new(limits: Limits, monitor: Arc<dyn Monitor>) -> Arc<Self> {
        let files = Lane::new(
            "SharePoint's request budget",
            &[limits.files_minute, limits.files_day],
            limits.files_concurrent,
            limits.share,
        );
        let directory =
            Lane::new("the directory's request budget", &[limits.directory], limits.directory_concurrent, limits.share);
        let teams = TEAMS_CALLS.map(|call| {
            Lane::new("Teams' request budget", &[limits.teams.of(call)], limits.teams_concurrent, limits.share)
        });
        let planner = Lane::new("Planner's request budget", &[limits.planner], limits.planner_concurrent, limits.share);
        Arc::new(Self {
            teams,
            teams_one: Mutex::default(),
            planner,
            downloads: Arc::new(Semaphore::new(limits.downloads_concurrent.max(1))),
            limits,
            files,
            directory,
            mailboxes: Mutex::default(),
            uploads: Mutex::default(),
            names: Mutex::default(),
            waits: Arc::new(Waits { monitor, heads: Mutex::default() }),
            slow: Arc::default(),
        })
    }

    /// Gives a mailbox the name that waiting texts show in place of its id. To be called before its first request.
    pub fn name_mailbox(&self, id: &str, name: &str) {
        lock(&self.names).insert(id.to_owned(), name.to_owned());
    }

    /// Waits for its turn and gives the permit to send one request of so many units.
    pub async fn acquire(&self, scope: &Scope, units: u32) -> Permit {
        // The narrower lane first: who waits in it takes no place of the wider one.
        let narrow = match self.narrow_lane(scope) {
            Some(lane) => Some(Box::new(self.acquire_in(lane, units).await)),
            None => None,
        };
        let mut permit = self.acquire_in(self.lane(scope), units).await;
        permit.narrow = narrow;
        permit
    }

    /// Like [`Budget::acquire`] for a request that sends so many bytes: a mailbox takes only so many in five minutes.
    pub async fn acquire_upload(&self, scope: &Scope, units: u32, bytes: usize) -> Permit {
        let Scope::Mailbox(id) = scope else { return self.acquire(scope, units).await };
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        if kib == 0 {
            return self.acquire(scope, units).await;
        }
        let lane = kept_lane(&self.uploads, id, || {
            let label = format!("the upload budget of mailbox {}", self.name_of(id));
            Lane::new(&label, &[self.limits.mailbox_upload_kib], UPLOADS_AT_ONCE, self.limits.share)
        });
        let narrow = Box::new(self.acquire_in(lane, kib).await);
        let mut permit = self.acquire(scope, units).await;
        permit.narrow = Some(narrow);
        permit
    }

    fn name_of(&self, id: &str) -> String {
        lock(&self.names).get(id).cloned().unwrap_or_else(|| id.to_owned())
    }

    async fn acquire_in(&self, lane: Arc<Lane>, units: u32) -> Permit {
        let slot = Semaphore::acquire_owned(lane.slots.clone()).await.ok();
        self.admit(lane, slot, units).await
    }

    /// Like [`Budget::acquire`] for contents of files: they have places of their own, as a download takes long.
    pub async fn acquire_download(&self, units: u32) -> Permit {
        let slot = Semaphore::acquire_owned(self.downloads.clone()).await.ok();
        self.admit(self.files.clone(), slot, units).await
    }

    /// Pauses the whole scope, as the server asked. `concurrency`: too many at once, not too many in all.
    pub fn throttled(&self, scope: &Scope, pause: Duration, concurrency: bool) {
        let now = Instant::now();
        self.lane(scope).state().pause(pause, concurrency, now);
        if let Some(lane) = self.narrow_lane(scope) {
            lane.state().pause(pause, concurrency, now);
        }
    }

    /// Takes note of what the server said is left.
    pub fn observe(&self, scope: &Scope, seen: RateLimit) {
        self.lane(scope).state().observe(seen, Instant::now());
    }

    /// Waits because more bytes came than a limit lets through, and says so if that takes long.
    pub(crate) async fn wait_for_speed(&self, bytes_per_second: u64, until: Instant) {
        self.note_slow(bytes_per_second, until);
        tokio::time::sleep_until(until).await;
    }

    fn note_slow(&self, bytes_per_second: u64, until: Instant) {
        let now = Instant::now();
        let mut slow = lock(&self.slow);
        let slow = match &mut *slow {
            Some(slow) if now <= slow.until + PAUSE => slow,
            other => other.insert(Slow { since: now, until, said: None }),
        };
        slow.until = slow.until.max(until);
        match &slow.said {
            Some(said) => said.goes_on(until),
            None if slow.until.saturating_duration_since(slow.since) >= WORTH_WORDS => {
                let label = format!("the download limit of {} KiB/s", bytes_per_second >> 10);
                slow.said = Some(Waits::say(&self.waits, &label, "", until));
                tokio::spawn(end_of(self.slow.clone()));
            }
            None => {}
        }
    }

    /// Says in words what is waited for; empty if nothing is.
    pub fn waiting_text(&self) -> String {
        self.waits.text()
    }

    /// Says whether a request of this scope would have to wait now.
    pub fn would_wait(&self, scope: &Scope) -> bool {
        let lane = self.lane(scope);
        lane.slots.available_permits() == 0 || lane.state().next_at(1, Instant::now()).is_some()
    }

    /// Takes over what Microsoft allows a tenant with so many licences, where that is more than was known.
    pub fn learn_licences(&self, licences: usize) {
        let known = Limits::for_licences(u32::try_from(licences).unwrap_or(u32::MAX));
        self.files.raise([known.files_minute, known.files_day]);
        self.directory.raise([known.directory]);
    }

    /// How many units of SharePoint and OneDrive each window allows, as far as is known: of a minute and of a day.
    pub fn files_units(&self) -> Vec<u32> {
        self.files.state().windows.iter().map(Window::units).collect()
    }

    /// What this budget allowed at first.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    async fn admit(&self, lane: Arc<Lane>, slot: Option<OwnedSemaphorePermit>, units: u32) -> Permit {
        let gate = lane.gate.lock().await;
        let mut said = None;
        loop {
            let (at, why) = {
                let now = Instant::now();
                let mut state = lane.state();
                let Some(found) = state.next_at(units, now) else {
                    state.take(units, now);
                    break;
                };
                found
            };
            // What was said before is taken back first: both stand under the same label.
            drop(said.take());
            if at.saturating_duration_since(Instant::now()) >= WORTH_WORDS {
                said = Some(Waits::say(&self.waits, &lane.label, why, at));
            }
            tokio::time::sleep_until(at).await;
        }
        drop(said);
        drop(gate);
        Permit { lane, units: Some(units), slot, narrow: None }
    }

    /// Pays for one more request in the place of an earlier one, which is never let go in between.
    ///
    /// Who holds something that others wait for in their places (memory, say) has to repeat a request this way: were
    /// the place given up first, those others could take it and wait for what is held here.
    pub(crate) async fn acquire_again(&self, mut permit: Permit, units: u32) -> Permit {
        permit.answered();
        let narrow = match permit.narrow.take() {
            Some(narrow) => Some(Box::new(Box::pin(self.acquire_again(*narrow, units)).await)),
            None => None,
        };
        let (lane, slot) = (permit.lane.clone(), permit.slot.take());
        let mut permit = self.admit(lane, slot, units).await;
        permit.narrow = narrow;
        permit
    }

    fn lane(&self, scope: &Scope) -> Arc<Lane> {
        match scope {
            Scope::Files => self.files.clone(),
            Scope::Directory => self.directory.clone(),
            Scope::Planner => self.planner.clone(),
            Scope::Teams(call, _) => {
                let [team, channels, message, export, other] = &self.teams;
                let lane = match call {
                    TeamsCall::Team => team,
                    TeamsCall::Channels => channels,
                    TeamsCall::Message => message,
                    TeamsCall::Export => export,
                    TeamsCall::Other => other,
                };
                lane.clone()
            }
            Scope::Mailbox(id) => kept_lane(&self.mailboxes, id, || {
                let label = format!("the request budget of mailbox {}", self.name_of(id));
                Lane::new(&label, &[self.limits.mailbox], self.limits.mailbox_concurrent, self.limits.share)
            }),
        }
    }

    /// The lane of the one team or channel that a request is about.
    fn narrow_lane(&self, scope: &Scope) -> Option<Arc<Lane>> {
        let Scope::Teams(_, id) = scope else { return None };
        let one = self.limits.teams.one;
        let at_once = usize::try_from(one.units).unwrap_or(usize::MAX);
        // A share of four would be three.
        let make = || Lane::new("the request budget of one team or channel", &[one], at_once, 1.0);
        (!id.is_empty()).then(|| kept_lane(&self.teams_one, id, make))
    }
}

/// The lane of an id. Idle ones are dropped when there are many.
fn kept_lane(lanes: &Mutex<HashMap<String, Arc<Lane>>>, id: &str, make: impl FnOnce() -> Arc<Lane>) -> Arc<Lane> {
    let mut lanes = lock(lanes);
    if let Some(lane) = lanes.get(id) {
        return lane.clone();
    }
    if lanes.len() >= LANES_KEPT {
        let now = Instant::now();
        lanes.retain(|_, lane| Arc::strong_count(lane) > 1 || !lane.is_idle(now));
    }
    let lane = make();
    lanes.insert(id.to_owned(), lane.clone());
    lane
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget").field("limits", &self.limits).field("waiting", &self.waiting_text()).finish()
    }
}

/// The right to send one request. Its place among the requests at once is free again when it is dropped.
pub struct Permit {
    lane: Arc<Lane>,
    units: Option<u32>,
    slot: Option<OwnedSemaphorePermit>,
    /// The right in the lane of the one team or channel.
    narrow: Option<Box<Self>>,
}

impl Permit {
    /// Says that the answer began to come: from now on the units age. Dropping says it too.
    pub fn answered(&mut self) {
        if let Some(units) = self.units.take() {
            self.lane.state().settle(units, Instant::now());
        }
        if let Some(narrow) = &mut self.narrow {
            narrow.answered();
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.answered();
    }
}

struct Lane {
    label: String,
    slots: Arc<Semaphore>,
    /// Held by the head of the queue while it waits; Tokio's mutex serves in order.
    gate: tokio::sync::Mutex<()>,
    state: Mutex<LaneState>,
}

struct LaneState {
    windows: Vec<Window>,
    paused_until: Option<Instant>,
    pace: Option<Pace>,
    steer: Option<Steer>,
    pending: u32,
}

/// Even spending for a while, after a 429.
struct Pace {
    fraction: f64,
    next: Instant,
    until: Instant,
}

/// What the server said is left.
struct Steer {
    left: u32,
    until: Instant,
}

impl Lane {
    fn new(label: &str, limits: &[WindowLimit], concurrent: usize, share: f64) -> Arc<Self> {
        Arc::new(Self {
            label: label.to_owned(),
            slots: Arc::new(Semaphore::new(concurrent.max(1))),
            gate: tokio::sync::Mutex::default(),
            state: Mutex::new(LaneState::new(limits, share, Instant::now())),
        })
    }

    fn state(&self) -> MutexGuard<'_, LaneState> {
        lock(&self.state)
    }

    /// How much of its windows is used, under these names; of the first at least what the server said.
    fn spent(&self, names: &[&'static str]) -> Vec<Spent> {
        let (now, mut state) = (Instant::now(), self.state());
        let told = state.steer.as_ref().filter(|steer| steer.until > now).map(|steer| steer.left);
        let mut all = Vec::new();
        for (&what, window) in names.iter().zip(&mut state.windows) {
            all.push(Spent { what, used: window.used(now), limit: window.cap() });
        }
        if let (Some(first), Some(left)) = (all.first_mut(), told) {
            first.used = first.used.max(first.limit.saturating_sub(left));
        }
        all
    }

    fn raise(&self, limits: impl IntoIterator<Item = WindowLimit>) {
        self.state().windows.iter_mut().zip(limits).for_each(|(window, limit)| window.raise(limit.units));
    }

    fn is_idle(&self, now: Instant) -> bool {
        let mut state = self.state();
        state.paused_until.is_none_or(|at| at <= now)
            && state.pace.as_ref().is_none_or(|pace| pace.until <= now)
            && state.windows.iter_mut().all(|w| w.is_idle(now))
    }
}

impl LaneState {
    fn new(limits: &[WindowLimit], share: f64, now: Instant) -> Self {
        let windows = limits.iter().map(|limit| Window::new(*limit, share, now)).collect();
        Self { windows, paused_until: None, pace: None, steer: None, pending: 0 }
    }

    fn pause(&mut self, pause: Duration, concurrency: bool, now: Instant) {
        let already = self.paused_until.is_some_and(|at| at > now);
        let until = now + pause;
        self.paused_until = Some(self.paused_until.map_or(until, |at| at.max(until)));
        // One overrun brings a handful of 429s, one for each request under way: they count once.
        if already || concurrency {
            return;
        }
        let width = self.windows.first().map_or(Duration::ZERO, Window::width);
        let fraction = match &self.pace {
            Some(pace) if pace.until > now => (pace.fraction * 0.95).max(0.8),
            _ => 1.0,
        };
        self.pace = Some(Pace { fraction, next: until, until: until + width });
    }

    fn observe(&mut self, seen: RateLimit, now: Instant) {
        if let (Some(limit), Some(window)) = (seen.limit, self.windows.first_mut()) {
            window.set_units(limit.max(1));
        }
        // What is under way was not counted yet when the server wrote this.
        let left = seen.remaining.saturating_sub(self.pending);
        self.steer = Some(Steer { left, until: now + seen.reset.min(Duration::from_secs(24 * 3600)) });
    }

    /// Says when so many units may go and what they wait for; `None`: now.
    fn next_at(&mut self, units: u32, now: Instant) -> Option<(Instant, &'static str)> {
        if let Some(at) = self.paused_until.filter(|at| *at > now) {
            return Some((at, " (Microsoft asked to wait)"));
        }
        if let Some(steer) = self.steer.as_ref().filter(|s| s.until > now && s.left < units) {
            return Some((steer.until, ""));
        }
        if let Some(pace) = self.pace.as_ref().filter(|p| p.until > now && p.next > now) {
            return Some((pace.next, ""));
        }
        self.windows.iter_mut().filter_map(|w| w.next_at(units, now)).max().map(|at| (at, ""))
    }

    fn take(&mut self, units: u32, now: Instant) {
        self.windows.iter_mut().for_each(|w| w.take(units));
        self.pending = self.pending.saturating_add(units);
        if let Some(steer) = &mut self.steer {
            steer.left = steer.left.saturating_sub(units);
        }
        let rate = self.windows.first().map_or(1.0, Window::even_rate);
        if let Some(pace) = &mut self.pace {
            let gap = Duration::try_from_secs_f64(f64::from(units) / (rate * pace.fraction)).unwrap_or_default();
            // A pace that lost time to waiting makes up for it, but only for a moment.
            pace.next = pace.next.max(now.checked_sub(Duration::from_millis(100)).unwrap_or(now)) + gap;
        }
    }

    fn settle(&mut self, units: u32, now: Instant) {
        self.pending = self.pending.saturating_sub(units);
        self.windows.iter_mut().for_each(|w| w.settle(units, now));
    }
}

/// The heads of the queues that wait, for words.
struct Waits {
    monitor: Arc<dyn Monitor>,
    heads: Mutex<BTreeMap<String, (Instant, &'static str)>>,
}

/// A limit on speed that is waited for, in many short waits: what comes by HTTP/2 comes in small parts.
struct Slow {
    since: Instant,
    until: Instant,
    said: Option<Said>,
}

/// Forgets it when nobody has waited for a while.
async fn end_of(slow: Arc<Mutex<Option<Slow>>>) {
    loop {
        let Some(until) = lock(&slow).as_ref().map(|slow| slow.until) else { return };
        tokio::time::sleep_until(until + PAUSE).await;
        let mut slow = lock(&slow);
        if slow.as_ref().is_none_or(|slow| slow.until == until) {
            *slow = None;
            return;
        }
    }
}

struct Said {
    waits: Arc<Waits>,
    label: String,
}

impl Waits {
    fn say(this: &Arc<Self>, label: &str, why: &'static str, until: Instant) -> Said {
        lock(&this.heads).insert(label.to_owned(), (until, why));
        this.monitor.waiting(&this.text());
        Said { waits: this.clone(), label: label.to_owned() }
    }

    fn text(&self) -> String {
        let heads = lock(&self.heads);
        let Some((label, (until, why))) = heads.iter().min_by_key(|(_, (until, _))| *until) else {
            return String::new();
        };
        let seconds = until.saturating_duration_since(Instant::now()).as_secs_f64().ceil();
        let more = match heads.len() {
            1 => String::new(),
            n => format!(" (and {} more)", n - 1),
        };
        format!("{label}{why}, {seconds:.0} s{more}")
    }
}

impl Said {
    /// Says that it lasts longer, with the next words.
    fn goes_on(&self, until: Instant) {
        if let Some(head) = lock(&self.waits.heads).get_mut(&self.label) {
            head.0 = until;
        }
    }
}

impl Drop for Said {
    fn drop(&mut self) {
        lock(&self.waits.heads).remove(&self.label);
        self.waits.monitor.waiting(&self.waits.text());
    }
}

/// A panic elsewhere leaves counts that are still good.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
