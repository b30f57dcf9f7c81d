//! Asks Microsoft what a tenant has, once for all who look, and keeps the answer for some minutes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};

use super::{Contents, Counts, Named, Read, count, meant};
use crate::error::{Error, Result};
use crate::m365::discover::list_names;
use crate::monitor::Silent;
use crate::server::connect;
use crate::server::db::{Protected, Tenant};
use crate::server::id::Id;
use crate::server::state::Server;

/// How long an answer is good.
const GOOD_US: i64 = 10 * 60_000_000;
/// How long it is before what failed is tried again.
const AGAIN_US: i64 = 20_000_000;
/// How long Microsoft may take.
const PATIENCE: Duration = Duration::from_secs(300);
/// Tenants that are known at once; the one that nobody looked at for longest goes.
const MOST_TENANTS: usize = 32;
/// What is kept of one tenant: some 150,000 owners.
const MOST_BYTES: usize = 80 << 20;
/// Tenants listed at the same time: while one is, its answers lie in memory as they came.
const LISTED_AT_ONCE: usize = 4;
/// Counts at the same time: each may take a core for seconds.
const COUNTED_AT_ONCE: usize = 2;
/// What is kept of all tenants together.
const MOST_BYTES_IN_ALL: usize = 200 << 20;

/// Why it is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// What went wrong.
    pub(crate) message: String,
    /// What to do next.
    pub(crate) hint: Option<String>,
}

impl From<Error> for Trouble {
    fn from(e: Error) -> Self {
        Self { message: e.chain(), hint: e.hint().map(str::to_owned) }
    }
}

type Found = std::result::Result<Arc<Contents>, Trouble>;

/// What is known of a tenant.
#[derive(Debug, Clone)]
pub(crate) enum Looked {
    /// Microsoft is being asked.
    Asking,
    /// This is there.
    Have(Arc<Contents>),
    /// It cannot be told.
    Failed(Trouble),
}

/// What was asked of tenants.
#[derive(Debug)]
pub(crate) struct Asked {
    all: Mutex<HashMap<Id, Slot>>,
    listing: Semaphore,
    counting: Semaphore,
}

impl Default for Asked {
    fn default() -> Self {
        Self {
            all: Mutex::default(),
            listing: Semaphore::new(LISTED_AT_ONCE),
            counting: Semaphore::new(COUNTED_AT_ONCE),
        }
    }
}

#[derive(Debug)]
struct Slot {
    found: watch::Receiver<Option<Found>>,
    asked_us: i64,
    seen_us: i64,
}

impl Slot {
    fn is_good(&self, now_us: i64) -> bool {
        let good_us = match &*self.found.borrow() {
            None => i64::MAX,
            Some(Ok(_)) => GOOD_US,
            Some(Err(_)) => AGAIN_US,
        };
        // A clock that was set back makes nothing good for longer.
        now_us >= self.asked_us && now_us - self.asked_us <= good_us
    }

    fn bytes(&self) -> usize {
        match &*self.found.borrow() {
            Some(Ok(contents)) => contents.bytes(),
            _ => 0,
        }
    }
}

impl Asked {
    /// What a tenant has; waits so long for Microsoft. `anew`: what is known already does not do.
    pub(crate) async fn look(&self, server: &Arc<Server>, tenant: &Tenant, anew: bool, wait: Duration) -> Looked {
        let mut found = self.slot(server, tenant, anew);
        let known = match tokio::time::timeout(wait, found.wait_for(Option::is_some)).await {
            Ok(Ok(known)) => known.clone(),
            // What asked ended without a word.
            Ok(Err(_)) => Some(Err(Trouble::from(Error::internal("Asking for what the tenant has broke off")))),
            Err(_) => None,
        };
        match known {
            None => Looked::Asking,
            Some(Ok(contents)) => Looked::Have(contents),
            Some(Err(trouble)) => Looked::Failed(trouble),
        }
    }

    fn slot(&self, server: &Arc<Server>, tenant: &Tenant, anew: bool) -> watch::Receiver<Option<Found>> {
        let now = server.now_us();
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = all.get_mut(&tenant.id) {
            let known = slot.found.borrow().is_some();
            let asking = !known && slot.found.has_changed().is_ok();
            let too_old = anew && now - slot.asked_us > AGAIN_US;
            if asking || (known && !too_old && slot.is_good(now)) {
                slot.seen_us = now;
                return slot.found.clone();
            }
        }
        make_room(&mut all, &tenant.id);
        let (tell, found) = watch::channel(None);
        server.aside.spawn(ask(server.clone(), tenant.clone(), tell));
        all.insert(tenant.id.clone(), Slot { found: found.clone(), asked_us: now, seen_us: now });
        found
    }

    /// Lets go of what is known of a tenant that was changed.
    pub(crate) fn forget(&self, tenant: &Id) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(tenant);
    }

    /// Counts what rules choose, aside from what answers people.
    ///
    /// # Errors
    /// `Internal` when counting broke off.
    pub(crate) async fn count(&self, contents: &Arc<Contents>, read: &Read, named: &Named) -> Result<Counts> {
        self.aside(contents, read, named, count).await
    }

    /// Counts what rules mean of what accounts have limits for, likewise.
    ///
    /// # Errors
    /// As [`Self::count`].
    pub(crate) async fn meant(
        &self,
        contents: &Arc<Contents>,
        read: &Read,
        named: &Named,
    ) -> Result<Option<Protected>> {
        self.aside(contents, read, named, meant).await
    }

    async fn aside<T: Send + 'static>(
        &self,
        contents: &Arc<Contents>,
        read: &Read,
        named: &Named,
        counting: fn(&Contents, &Read, &Named) -> T,
    ) -> Result<T> {
        let gone = || Error::internal("Counting broke off");
        let _turn = self.counting.acquire().await.map_err(|_| gone())?;
        let (contents, read, named) = (contents.clone(), read.clone(), named.clone());
        tokio::task::spawn_blocking(move || counting(&contents, &read, &named)).await.map_err(|_| gone())
    }
}

/// Lets go of those that nobody looked at for longest.
fn make_room(all: &mut HashMap<Id, Slot>, but: &Id) {
    all.remove(but);
    while all.len() >= MOST_TENANTS || all.values().map(Slot::bytes).sum::<usize>() + MOST_BYTES > MOST_BYTES_IN_ALL {
        let oldest = all.iter().min_by_key(|(_, slot)| slot.seen_us).map(|(id, _)| id.clone());
        let Some(oldest) = oldest else { break };
        all.remove(&oldest);
    }
}

async fn ask(server: Arc<Server>, tenant: Tenant, tell: watch::Sender<Option<Found>>) {
    let asked = async {
        let _turn = server.contents.listing.acquire().await.map_err(|_| Error::internal("The server ends"))?;
        let client = connect::client(&server, &tenant, None, Arc::new(Silent))?;
        list_names(&client).await
    };
    // Nobody waits any more: what was asked for is let go of.
    let found = tokio::select! {
        found = tokio::time::timeout(PATIENCE, asked) => found,
        () = tell.closed() => return,
        () = server.ending.cancelled() => return,
    };
    let found = match found {
        Ok(Ok(listed)) => Ok(Arc::new(Contents::arrange(listed, server.now_us(), MOST_BYTES))),
        Ok(Err(e)) => Err(e.into()),
        Err(_) => Err(Trouble {
            message: "Microsoft did not answer within five minutes".to_owned(),
            hint: Some("Try again later; rules can be written all the same".to_owned()),
        }),
    };
    tell.send_replace(Some(found));
}
