//! What all handlers share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use serde::Serialize;

use super::auth::Auth;
use super::batch::BATCH;
use super::faults::Faults;
use super::groups::Group;
use super::letter::Cast;
use super::login::Logins;
use super::options::SimOptions;
use super::query::Request;
use super::rng::guid;
use super::state::World;
use super::throttle::{GROUP_MAILBOXES, Throttle};
use super::uploads::Uploads;

/// The running tenant.
#[derive(Debug)]
pub(super) struct App {
    pub(super) options: SimOptions,
    pub(super) base_url: String,
    pub(super) cast: Arc<Cast>,
    pub(super) throttle: Arc<Throttle>,
    pub(super) faults: Faults,
    pub(super) auth: Auth,
    pub(super) logins: Logins,
    pub(super) counts: Counts,
    pub(super) uploads: Uploads,
    world: RwLock<World>,
}

/// What was asked for so far.
#[derive(Debug, Default)]
pub(super) struct Counts {
    routes: Mutex<BTreeMap<String, u64>>,
    shares: Mutex<BTreeMap<String, f64>>,
    statuses: Mutex<BTreeMap<u16, u64>>,
    request_ids: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) leaks: AtomicU64,
    /// Mails to attendees that events made the service send.
    pub(super) invitations: AtomicU64,
    given_out: Mutex<BTreeSet<String>>,
}

/// What clients asked for since the start.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SimStats {
    /// The tenant's day.
    pub day: u32,
    /// Requests in all, token requests and downloads included; parts of a batch count one each, the batch itself does not.
    pub requests: u64,
    /// Requests by route: `GET /users/{id}/mailFolders/delta`.
    pub routes: BTreeMap<String, u64>,
    /// Round trips by route: a batch is shared out evenly among its parts.
    pub round_trips: BTreeMap<String, f64>,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Most requests at once that each mailbox saw, by user principal name.
    pub most_at_once: BTreeMap<String, u32>,
    /// Where requests of mailboxes are limited: how many each was let through in each stretch of the limit's window, from
    /// its first request on, by user principal name.
    pub spent: BTreeMap<String, Vec<u32>>,
    /// Resource units of SharePoint and OneDrive used.
    pub file_units: u64,
    /// Bytes of answers.
    pub bytes: u64,
    /// Downloads from pre-authenticated URLs that carried the bearer token, which must not happen.
    pub token_leaks: u64,
    /// Mails to attendees that were sent as events were made, changed or deleted.
    pub invitations: u64,
    /// Faults that struck.
    pub faults: u64,
}

impl SimStats {
    /// Answers with status 429.
    pub fn throttled(&self) -> u64 {
        self.statuses.get(&429).copied().unwrap_or(0)
    }

    /// Round trips in all, token requests and downloads included.
    pub fn all_round_trips(&self) -> u64 {
        self.round_trips.values().sum::<f64>().round() as u64
    }

    /// Requests to routes that contain the text.
    pub fn requests_to(&self, text: &str) -> u64 {
        self.routes.iter().filter(|(route, _)| route.contains(text)).map(|(_, n)| n).sum()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Counts {
    pub(super) fn route(&self, method: &str, template: &str) {
        self.count(format!("{method} {template}"), 1.0);
    }

    /// Counts a request to Graph, or a part of a batch.
    pub(super) fn route_of(&self, request: &Request, template: &str) {
        // The batch itself is counted by its parts.
        let share = if template == BATCH { 0.0 } else { 1.0 / request.parts.max(1) as f64 };
        self.count(format!("{} {template}", request.method), share);
    }

    fn count(&self, route: String, share: f64) {
        *lock(&self.shares).entry(route.clone()).or_insert(0.0) += share;
        *lock(&self.routes).entry(route).or_insert(0) += 1;
    }

    pub(super) fn status(&self, status: u16) {
        *lock(&self.statuses).entry(status).or_insert(0) += 1;
    }

    /// Keeps a token or a permission that a client gets.
    pub(super) fn gives_out(&self, secret: &str) {
        lock(&self.given_out).insert(secret.to_owned());
    }

    /// What clients got so far.
    pub(super) fn given_out(&self) -> BTreeSet<String> {
        lock(&self.given_out).clone()
    }

    /// A fresh request id.
    pub(super) fn request_id(&self) -> String {
        guid(self.request_ids.fetch_add(1, Ordering::Relaxed) ^ 0x5e9d_0000_0000)
    }

    fn clear(&self) {
        lock(&self.routes).clear();
        lock(&self.shares).clear();
        lock(&self.statuses).clear();
        self.bytes.store(0, Ordering::Relaxed);
    }
}

impl App {
    pub(super) fn new(options: SimOptions, base_url: String, world: World) -> Self {
        Self {
            cast: world.cast.clone(),
            throttle: Arc::new(Throttle::new(options.limits.clone())),
            faults: Faults::new(options.seed),
            auth: Auth::new(&options, &base_url, &world.tenant_id),
            logins: Logins::default(),
            counts: Counts::default(),
            uploads: Uploads::default(),
            world: RwLock::new(world),
            options,
            base_url,
        }
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, World> {
        self.world.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, World> {
        self.world.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets the counts of requests, answers and bytes.
    pub(super) fn clear_counts(&self) {
        self.counts.clear();
    }

    pub(super) fn stats(&self) -> SimStats {
        let world = self.read();
        let routes = lock(&self.counts.routes).clone();
        let group = |n: usize| world.groups.get(n.checked_sub(GROUP_MAILBOXES)?).map(Group::mail);
        let name = |n: usize| world.users.get(n).map(|user| user.upn.clone()).or_else(|| group(n));
        let most = self.throttle.most_at_once().into_iter();
        let spent = self.throttle.spent().into_iter();
        SimStats {
            day: world.day,
            requests: routes.iter().filter(|(route, _)| !route.ends_with(BATCH)).map(|(_, count)| count).sum(),
            routes,
            round_trips: lock(&self.counts.shares).clone(),
            statuses: lock(&self.counts.statuses).clone(),
            most_at_once: most.filter_map(|(n, most)| Some((name(n)?, most))).collect(),
            spent: spent.filter_map(|(n, spent)| Some((name(n)?, spent))).collect(),
            file_units: self.throttle.units(),
            bytes: self.counts.bytes.load(Ordering::Relaxed),
            token_leaks: self.counts.leaks.load(Ordering::Relaxed),
            invitations: self.counts.invitations.load(Ordering::Relaxed),
            faults: self.faults.struck(),
        }
    }
}
