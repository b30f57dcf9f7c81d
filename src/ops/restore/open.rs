//! The targets of a plan, open again.

use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream;

use super::place::{Taker, destination};
use super::refused::may_write;
use super::{Plan, PlannedTarget};
use crate::error::{Error, Result};
use crate::graph::Client;
use crate::m365::restore::{self, Target};
use crate::m365::{CollectionKey, Owner};
use crate::ops::backup::Stop;

/// Opens the target of a plan again.
pub(super) async fn open(client: &Client, planned: &PlannedTarget) -> Result<Box<dyn Target>> {
    let key: CollectionKey = planned.from.parse()?;
    let wrong = || Error::invalid(format!("The plan names no owner: '{}'", planned.owner));
    // A collection of any kind has an owner that reads the same way.
    let owner: CollectionKey = format!("{}/mail", planned.owner).parse().map_err(|_| wrong())?;
    let taker = (!planned.original).then(|| Taker { owner: owner.owner.clone(), name: planned.name.clone() });
    let path = format!("{}/{}/{}", Owner::word(&owner.owner), planned.name, planned.title);
    restore::open(client, &destination(&key, &path, taker.as_ref())).await
}

/// Opens all targets of a plan, so many at once, and sees that each may be written to: before anything is written to one. Those that
/// it does not come to before the run is stopped are not asked.
pub(super) async fn open_all(
    plan: &Plan,
    client: &Client,
    at_once: usize,
    stop: &Stop,
) -> Vec<Option<Result<Box<dyn Target>>>> {
    let granted = Arc::new(client.sign_in().await.ok().flatten());
    let probed = |planned: PlannedTarget| probed(client.clone(), planned, granted.clone(), stop.clone());
    stream::iter(plan.targets.clone()).map(probed).buffered(at_once).map(Some).collect().await
}

async fn probed(
    client: Client,
    planned: PlannedTarget,
    granted: Arc<Option<Vec<String>>>,
    stop: Stop,
) -> Result<Box<dyn Target>> {
    stop.check()?;
    let target = open(&client, &planned).await?;
    stop.check()?;
    target.probe().await?;
    may_write(target.permission(), (granted.as_deref(), client.caller()), "the app that restores")?;
    Ok(target)
}
