//! Backup sets: making, changing, running, removing.

use std::sync::Arc;

use serde::{Deserialize, Deserializer};
use serde_json::json;
use utoipa::ToSchema;

use super::repositories::within_bytes;
use super::{contents, note};
use crate::error::{Error, ErrorKind, Result};
use crate::server::auth::Actor;
use crate::server::choices::Choices;
use crate::server::connect;
use crate::server::db::{Protected, SetRow, SetToBe};
use crate::server::id::Id;
use crate::server::jobs;
use crate::server::schedule::{self, Timing};
use crate::server::state::Server;

/// Schedules of one set.
const MOST_SCHEDULES: usize = 20;

/// A backup set as it is to be.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetWanted {
    /// The name, by which its snapshots are found: letters, digits and . _ - +
    #[schema(min_length = 1, max_length = 100, example = "everyone")]
    pub(crate) name: String,
    /// The tenant that it reads.
    pub(crate) tenant: Id,
    /// The repository that it is written to.
    pub(crate) repository: Id,
    /// What it protects, how it is read, how long it is kept.
    #[serde(default)]
    pub(crate) choices: Choices,
    /// When it runs.
    #[serde(default, deserialize_with = "timings")]
    #[schema(max_items = 20, value_type = Vec<TimingWanted>)]
    pub(crate) schedules: Vec<Timing>,
    /// Schedules start it.
    #[serde(default = "yes")]
    pub(crate) enabled: bool,
    /// The client that runs it; left out: the server. It may be another one at any time: the next run goes on from where
    /// the last one ended, whoever made it.
    #[serde(default)]
    pub(crate) client: Option<Id>,
}

fn yes() -> bool {
    true
}

/// When a set is to run.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TimingWanted {
    /// Minute, hour, day of the month, month, day of the week: `0 22 * * *`; or `@daily` and kin.
    #[schema(example = "0 22 * * *", min_length = 1, max_length = 100)]
    cron: String,
    /// The time zone (IANA name) in which it counts.
    #[schema(example = "Europe/Berlin")]
    zone: String,
    /// It begins up to so many seconds later, each time by chance, so that not all sets begin at once.
    #[serde(default)]
    #[schema(maximum = 82_800)]
    jitter_s: u32,
    /// A run that was missed while the server stood still is caught up, once.
    #[serde(default = "yes")]
    catch_up: bool,
}

fn timings<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Vec<Timing>, D::Error> {
    let all = Vec::<TimingWanted>::deserialize(from)?;
    let timing = |TimingWanted { cron, zone, jitter_s, catch_up }| Timing { cron, zone, jitter_s, catch_up };
    Ok(all.into_iter().map(timing).collect())
}

async fn check(server: &Server, account: &Id, wanted: &SetWanted) -> Result<()> {
    wanted.choices.read()?;
    if wanted.schedules.len() > MOST_SCHEDULES {
        return Err(Error::invalid(format!("A backup set has at most {MOST_SCHEDULES} schedules")));
    }
    for timing in &wanted.schedules {
        if schedule::next(timing, server.now_us())?.is_none() {
            let text = format!("The schedule '{}' never comes: no year has such a day", timing.cron);
            return Err(Error::invalid(text).with_hint("Correct its day or month"));
        }
    }
    if wanted.choices.skip_larger_than_bytes == Some(0) {
        return Err(Error::invalid("Everything is larger than 0 bytes: nothing would be backed up")
            .with_hint("Give a size, or leave it out"));
    }
    // Both are the account's own.
    let tenant = server.db.tenant(account, &wanted.tenant).await?;
    server.db.repository(account, &wanted.repository).await?;
    // And so is the client.
    if let Some(client) = &wanted.client {
        server.db.client(account, client).await?;
        if tenant.is_of_user() {
            return Err(connect::of_user_alone());
        }
    }
    Ok(())
}

fn to_be(wanted: &SetWanted) -> SetToBe<'_> {
    SetToBe {
        name: &wanted.name,
        tenant: &wanted.tenant,
        repository: &wanted.repository,
        choices: &wanted.choices,
        client: wanted.client.as_ref(),
        enabled: wanted.enabled,
        timings: &wanted.schedules,
    }
}

/// Makes a set.
///
/// # Errors
/// `InvalidInput`, `AlreadyExists`, `NotFound`; `Permission` when the owner of the key has not proved to have it, or more would be
/// protected than the account may; `Unavailable` while it is being asked how much that is.
pub(crate) async fn add(server: &Arc<Server>, actor: &Actor, account: &Id, wanted: &SetWanted) -> Result<SetRow> {
    check(server, account, wanted).await?;
    within_limits(server, account).await?;
    let meant = room(server, account, &wanted.tenant, &wanted.choices, None).await?;
    within_bytes(server, account).await?;
    let repository = server.db.repository(account, &wanted.repository).await?;
    if !repository.confirmed {
        let text = format!("Nobody has typed back the key of repository '{}'", repository.name);
        return Err(Error::new(ErrorKind::Permission, text)
            .with_hint("Without the key nothing could ever be restored: confirm it first"));
    }
    let set = server.db.add_set(account, &to_be(wanted), server.now_us()).await?;
    keep(server, &set.id, meant).await?;
    note(server, actor, account, "set.add", &set.name, json!({"include": wanted.choices.include})).await?;
    Ok(set)
}

/// Refuses to protect more than the account may.
pub(super) async fn within_limits(server: &Server, account: &Id) -> Result<()> {
    server.db.protected(account).await?.within(server.db.account(account).await?.limits)
}

/// Refuses choices that mean more than the account may protect beside its other sets, as far as Microsoft tells what the tenant
/// has. What it does not tell counts when a run has read it. Gives how much they mean, where there are limits.
///
/// # Errors
/// `Permission` naming the limit; `Unavailable` while Microsoft is being asked.
pub(crate) async fn room(
    server: &Arc<Server>,
    account: &Id,
    tenant: &Id,
    choices: &Choices,
    set: Option<&Id>,
) -> Result<Option<Protected>> {
    let limits = server.db.account(account).await?.limits;
    if [limits.mailboxes, limits.drives, limits.sites].iter().all(Option::is_none) {
        return Ok(None);
    }
    let tenant = server.db.tenant(account, tenant).await?;
    let meant = contents::meant(server, &tenant, &choices.rules()).await?;
    if let Some(meant) = meant {
        server.db.protected_beside(account, set).await?.takes(meant, limits)?;
    }
    Ok(meant)
}

/// What a set means counts until a run has read it: the next one is held against the rest.
async fn keep(server: &Server, set: &Id, meant: Option<Protected>) -> Result<()> {
    match meant {
        Some(meant) => server.db.keep_meant(set, meant).await,
        None => Ok(()),
    }
}

/// A set that is switched off and never ran here, such as one that came with a repository, protects nothing yet.
async fn waits_for_room(server: &Server, set: &SetRow) -> Result<bool> {
    Ok(!set.enabled && !server.db.protects_something(&set.id).await?)
}

/// Changes a set. Beyond the account's limits it may protect less or the same, not more.
///
/// # Errors
/// As [`add`].
pub(crate) async fn change(
    server: &Arc<Server>,
    actor: &Actor,
    account: &Id,
    id: &Id,
    wanted: &SetWanted,
) -> Result<SetRow> {
    let set = server.db.backup_set(account, id).await?;
    check(server, account, wanted).await?;
    let mut meant = None;
    if wanted.choices.widens(&set.choices) || (wanted.enabled && waits_for_room(server, &set).await?) {
        within_limits(server, account).await?;
        meant = room(server, account, &set.tenant, &wanted.choices, Some(id)).await?;
    }
    let changed = server.db.change_set(&set, &to_be(wanted), server.now_us()).await?;
    keep(server, id, meant).await?;
    let detail = json!({"before": set.choices, "after": changed.choices, "enabled": changed.enabled});
    note(server, actor, account, "set.change", &set.name, detail).await?;
    if changed.client != set.client {
        server.db.hand_over_waiting(id, changed.client.as_ref()).await?;
        let (from, to) = (runner(server, &set).await?, runner(server, &changed).await?);
        note(server, actor, account, "set.move", &set.name, json!({"from": from, "to": to})).await?;
    }
    Ok(changed)
}

/// Who runs a set, in words.
async fn runner(server: &Server, set: &SetRow) -> Result<String> {
    Ok(match &set.client {
        Some(client) => format!("client {}", server.db.client(&set.account, client).await?.name),
        None => "the server".to_owned(),
    })
}

/// Asks for a run now.
///
/// # Errors
/// `Permission` where that would protect more than the account may: of a set that is switched off and never ran; `NotFound`.
pub(crate) async fn run(server: &Arc<Server>, actor: &Actor, account: &Id, id: &Id) -> Result<Id> {
    let set = server.db.backup_set(account, id).await?;
    if waits_for_room(server, &set).await? {
        within_limits(server, account).await?;
        room(server, account, &set.tenant, &set.choices, Some(id)).await?;
    }
    let job = jobs::back_up(server, &set, &actor.login, server.now_us()).await?;
    note(server, actor, account, "set.run", &set.name, json!({"job": job})).await?;
    Ok(job)
}

/// Removes a set. Its snapshots stay.
///
/// # Errors
/// `AlreadyExists` while it runs; `NotFound`.
pub(crate) async fn remove(server: &Server, actor: &Actor, account: &Id, id: &Id) -> Result<()> {
    let set = server.db.backup_set(account, id).await?;
    server.db.remove_set(account, id).await?;
    note(server, actor, account, "set.remove", &set.name, json!({"snapshots": "stay"})).await
}
