//! Warns of what is to come: secrets that end, quotas that fill up, sets without a good run, storage that cannot be reached.

use std::time::Duration;

use futures::StreamExt as _;

use super::notice::Notice;
use crate::error::{Error, Result};
use crate::server::db::{Account, DestinationRow, NewDelivery, Receiver, SetRow, Tenant, in_time, is_away};
use crate::server::id::Id;
use crate::server::pages::words;
use crate::server::schedule;
use crate::server::state::Server;
use crate::server::store;

const HOUR_US: i64 = 3_600_000_000;
const DAY_US: i64 = 24 * HOUR_US;
/// Days before the end at which is warned.
const BEFORE: [i64; 4] = [30, 14, 7, 1];
/// Growth is looked at over so many days.
const GROWTH_DAYS: i64 = 30;
/// With fewer days nothing is foretold.
const FEWEST_DAYS: i64 = 3;
/// How long a storage may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Storages of one account asked at once.
const AT_ONCE: usize = 4;
/// Accounts looked at at once: what hangs of one holds up no others.
const ACCOUNTS_AT_ONCE: usize = 8;
/// How long is remembered what was told.
const REMEMBERED_US: i64 = 60 * DAY_US;
/// How long a backup set that somebody began to describe waits to be finished.
const UNFINISHED_US: i64 = 14 * DAY_US;

/// A warning: the name of its event, and what is told.
type Warning = (String, Notice);

/// Looks once an hour, in one process.
pub(super) async fn pass(server: &Server) -> Result<()> {
    let now = server.now_us();
    let accounts = in_time(super::LONGEST_PASS, whom(server, now)).await?;
    let mut warned = futures::stream::iter(accounts)
        .map(|account| async move { warn(server, &account, now).await })
        .buffer_unordered(ACCOUNTS_AT_ONCE);
    while let Some(told) = warned.next().await {
        told?;
    }
    Ok(())
}

/// The accounts that are to be warned, when it is time; first takes away what has had its time.
async fn whom(server: &Server, now_us: i64) -> Result<Vec<Id>> {
    if !server.db.take_turn("warnings", HOUR_US, now_us).await? {
        return Ok(Vec::new());
    }
    server.db.keep_stored_of_day(now_us.div_euclid(DAY_US)).await?;
    server.db.forget_deliveries(now_us - REMEMBERED_US).await?;
    server.db.forget_drafts(now_us - UNFINISHED_US).await?;
    server.db.accounts_with_receivers().await
}

/// Warns an account's receivers.
async fn warn(server: &Server, account: &Id, now_us: i64) -> Result<()> {
    let receivers = server.db.receivers(account).await?;
    let wanting: Vec<&Receiver> =
        receivers.iter().filter(|to| to.definition.enabled && to.definition.warnings).collect();
    if wanting.is_empty() {
        return Ok(());
    }
    let gathered = match gather(server, account).await {
        Err(e) if !is_away(&e) => {
            tracing::error!(account = account.as_str(), "Warnings cannot be gathered: {}", e.chain());
            return Ok(());
        }
        gathered => gathered?,
    };
    for (event, notice) in gathered {
        let text =
            serde_json::to_string(&notice).map_err(|e| Error::internal("A notice cannot be kept").with_source(e))?;
        for receiver in &wanting {
            let new = NewDelivery { account, receiver: &receiver.id, event: &event, notice: &text };
            server.db.post(&new, now_us).await?;
        }
    }
    Ok(())
}

/// All that an account is to be warned of.
async fn gather(server: &Server, account: &Id) -> Result<Vec<Warning>> {
    let now = server.now_us();
    let account = server.db.account(account).await?;
    let mut all = Vec::new();
    for tenant in server.db.tenants(&account.id).await? {
        all.extend(PROOFS.iter().filter_map(|proof| secret(&account, &tenant, proof, now)));
        all.extend(signed_out(&account, &tenant, now));
    }
    let timings = server.db.timings(&account.id).await?;
    for set in server.db.sets(&account.id).await? {
        let timings = timings.get(&set.id).map_or(&[][..], Vec::as_slice);
        if set.enabled && schedule::is_overdue(timings, set.good_since(), now) {
            all.push(overdue(&account, &set, now));
        }
    }
    let days = server.db.stored_since(&account.id, now.div_euclid(DAY_US) - GROWTH_DAYS).await?;
    all.extend(quota(&account, &days, now));
    let mut places = Vec::new();
    for repository in server.db.repositories(&account.id).await? {
        places.extend(server.db.destinations(&repository.id).await?);
    }
    let mut asked = futures::stream::iter(places)
        .map(|place| {
            let account = &account;
            async move { unreachable(server, account, &place, now).await }
        })
        .buffer_unordered(AT_ONCE);
    while let Some(found) = asked.next().await {
        all.extend(found);
    }
    Ok(all)
}

/// The smallest of the marks that so many days have come down to.
fn mark(days: i64) -> Option<i64> {
    if days < 0 {
        return Some(-1);
    }
    BEFORE.iter().copied().filter(|mark| days <= *mark).min()
}

/// What proves an app of a tenant.
struct Proof {
    /// Its end in what the last test found.
    end: &'static str,
    /// What its warnings are told apart by.
    event: &'static str,
    /// What people call it.
    name: &'static str,
    /// What cannot be done without it.
    without: &'static str,
}

/// That of the app that backs up, and of the one that restores, where there is one.
const PROOFS: [Proof; 2] = [
    Proof { end: "secret_end_us", event: "secret", name: "secret", without: "backed up" },
    Proof { end: "restore_secret_end_us", event: "restore-secret", name: "secret for restores", without: "restored" },
];

fn secret(account: &Account, tenant: &Tenant, proof: &Proof, now_us: i64) -> Option<Warning> {
    let state: serde_json::Value = serde_json::from_str(tenant.state.as_deref()?).ok()?;
    let end = state.get(proof.end)?.as_i64()?;
    let days = (end - now_us).div_euclid(DAY_US);
    let mark = mark(days)?;
    let of = format!("The {} of tenant '{}'", proof.name, tenant.name);
    let title = match days {
        i64::MIN..0 => format!("{of} has ended: nothing can be {}", proof.without),
        0 => format!("{of} ends within a day"),
        1 => format!("{of} ends in 1 day"),
        days => format!("{of} ends in {days} days"),
    };
    let notice = Notice::new("secret.ends", now_us, &account.name, title)
        .fact("Directory", tenant.definition.tenant_id.clone())
        .detail("Make a new one in the app registration, enter it at the tenant, and test it")
        .page(format!("/a/{}/tenants/{}", account.id, tenant.id));
    Some((format!("{} {} {end} {mark}", proof.event, tenant.id), notice))
}

/// A user's sign-in that is no longer honoured: told once, for each time that it came to that.
fn signed_out(account: &Account, tenant: &Tenant, now_us: i64) -> Option<Warning> {
    let refused = tenant.refused.as_ref()?;
    let who = tenant.user.as_ref().map_or_else(|| "Somebody".to_owned(), |user| user.name.clone());
    let title = format!("{who} must sign in to tenant '{}' again: nothing of it can be backed up", tenant.name);
    let mut notice = Notice::new("sign-in.ended", now_us, &account.name, title).fact("Why", refused.error.clone());
    if let Some(hint) = &refused.hint {
        notice = notice.detail(hint.clone());
    }
    let notice = notice.page(format!("/a/{}/tenants/{}", account.id, tenant.id));
    Some((format!("sign-in {} {}", tenant.id, refused.since_us), notice))
}

/// A set that runs once a week is late after a week, not before.
fn overdue(account: &Account, set: &SetRow, now_us: i64) -> Warning {
    let since = set.good_since();
    let title = format!("'{}' has had no good run for {}", set.name, words::duration(now_us - since));
    let notice =
        Notice::new("set.overdue", now_us, &account.name, title).page(format!("/a/{}/sets/{}", account.id, set.id));
    (format!("overdue {} {since}", set.id), notice)
}

/// In how many days an account is full, by how much it grew: `days` are days and what was stored on them.
fn full_in(days: &[(i64, i64)], most: i64) -> Option<i64> {
    let ((first, before), (last, now)) = (*days.first()?, *days.last()?);
    if now >= most {
        return Some(0);
    }
    let (span, grown) = (last - first, now - before);
    if span < FEWEST_DAYS || grown <= 0 {
        return None;
    }
    i64::try_from(i128::from(most - now) * i128::from(span) / i128::from(grown)).ok()
}

fn quota(account: &Account, days: &[(i64, i64)], now_us: i64) -> Option<Warning> {
    let most = account.limits.bytes?;
    let left = full_in(days, most)?;
    let mark = mark(left)?;
    let stored = days.last().map_or(0, |(_, bytes)| *bytes);
    let bytes = |n: i64| words::size(u64::try_from(n).unwrap_or(0));
    let title = match left {
        0 => "The account stores as much as it may".to_owned(),
        1 => "The account is full in 1 day".to_owned(),
        days => format!("The account is full in {days} days"),
    };
    let notice = Notice::new("quota.fills", now_us, &account.name, title)
        .fact("Stored", bytes(stored))
        .fact("At most", bytes(most))
        .detail("Over the limit nothing can be added; backups and restores go on")
        .page(format!("/a/{}/storage", account.id));
    Some((format!("quota {most} {mark}"), notice))
}

async fn unreachable(server: &Server, account: &Account, place: &DestinationRow, now_us: i64) -> Option<Warning> {
    let ask = async {
        let storage = store::storage_of_row(server, &account.id, place)?;
        storage.stat("config").await.map(drop)
    };
    let why = match tokio::time::timeout(PATIENCE, ask).await {
        Ok(Ok(())) => return None,
        // A replica that was not filled yet is no storage that cannot be reached.
        Ok(Err(e)) if e.kind() == crate::ErrorKind::NotFound && place.position > 0 => return None,
        Ok(Err(e)) => e.chain(),
        Err(_) => format!("No answer within {} s", PATIENCE.as_secs()),
    };
    let title = format!("The storage '{}' cannot be reached", place.name);
    let notice = Notice::new("storage.unreachable", now_us, &account.name, title)
        .fact("Why", why)
        .page(format!("/a/{}/storage/{}", account.id, place.repository));
    // Once a day, as long as it stays so.
    Some((format!("storage {} {}", place.id, now_us.div_euclid(DAY_US)), notice))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mark_is_told_of_once_and_the_nearest_counts() {
        let marks: Vec<_> = [40, 31, 30, 15, 14, 8, 7, 2, 1, 0, -1, -9].map(mark).to_vec();
        let all = [
            None,
            None,
            Some(30),
            Some(30),
            Some(14),
            Some(14),
            Some(7),
            Some(7),
            Some(1),
            Some(1),
            Some(-1),
            Some(-1),
        ];
        assert_eq!(marks, all);
    }

    #[test]
    fn growth_says_when_an_account_is_full() {
        assert_eq!(full_in(&[], 100), None);
        assert_eq!(full_in(&[(0, 10), (2, 50)], 100), None, "two days say nothing");
        assert_eq!(full_in(&[(0, 10), (10, 60)], 100), Some(8));
        assert_eq!(full_in(&[(0, 60), (10, 10)], 100), None, "it shrinks");
        assert_eq!(full_in(&[(0, 60), (10, 60)], 100), None, "it stays");
        assert_eq!(full_in(&[(0, 100)], 100), Some(0));
        assert_eq!(full_in(&[(0, 0), (30, i64::MAX / 2)], i64::MAX), Some(30));
    }
}
