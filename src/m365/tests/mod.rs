//! The workloads against the simulated tenant: what a backup keeps equals the tenant's truth of the day.

mod discovery;
mod drives;
mod groups;
mod mails;
mod outlook;
mod permissions;
mod restoring;
mod scripted;
mod sites;
mod walked;

use std::sync::Arc;
use std::time::Duration;

use crate::graph::{Client, ClientOptions, Cloud, Credential, Limits};
use crate::m365::Collection;
use crate::m365::discover::{Discovery, Selection, discover};
use crate::sim::{Fault, FaultKind, SimHandle, SimOptions, SimTenant};

/// A simulated tenant, and a client that is signed in to it.
struct Tenant {
    sim: SimHandle,
    client: Client,
}

impl Tenant {
    async fn start(options: SimOptions) -> Self {
        let sim = SimTenant::start(options).await.unwrap();
        let cloud = Cloud::custom(sim.graph_url(), sim.login_url()).unwrap();
        let mut options = ClientOptions::new(cloud);
        options.limits = Limits::default().scaled(100_000.0);
        options.retry.base = Duration::from_millis(1);
        options.retry.longest = Duration::from_millis(4);
        options.retry.attempts = 6;
        let secret = Credential::secret(sim.client_secret());
        let client = Client::new(options, sim.tenant_id(), sim.client_id(), secret).unwrap();
        Self { sim, client }
    }

    /// A small tenant that nobody joins and nobody leaves.
    async fn tiny() -> Self {
        Self::start(steady(1)).await
    }

    async fn discover(&self, selection: &Selection) -> Discovery {
        discover(&self.client, selection).await.unwrap()
    }

    /// The collections of the tenant whose key ends in a word.
    async fn collections(&self, ending: &str) -> Vec<Arc<dyn Collection>> {
        let all = self.discover(&Selection::default()).await.collections;
        all.into_iter().filter(|collection| collection.key().to_string().contains(ending)).collect()
    }

    fn inject(&self, kind: FaultKind, path: &str, probability: f64) {
        self.sim.inject(Fault { kind, path: path.to_owned(), probability, count: None });
    }

    /// Arms what may happen to any request and be over at the next attempt.
    fn stormy(&self) {
        self.inject(FaultKind::Status { status: 503 }, "", 0.05);
        self.inject(FaultKind::Drop, "", 0.05);
        self.inject(FaultKind::Truncate, "", 0.05);
        self.inject(FaultKind::TooManyRequests { retry_after: 0.01 }, "", 0.05);
    }
}

/// A small tenant from a seed, that nobody joins and nobody leaves.
fn steady(seed: u64) -> SimOptions {
    let mut options = SimOptions { seed, messages: 90, groups: 3, ..SimOptions::tiny() };
    options.script.staff = false;
    options
}

/// The user's id in a collection's key.
fn user_of(collection: &dyn Collection) -> String {
    collection.key().owner.id().to_owned()
}
