//! What goes out by the clock: the digest of a day, and pings of a fixed beat.

use jiff::Timestamp;

use super::notice::Notice;
use super::send;
use crate::error::{Error, Result};
use crate::server::choices::zone;
use crate::server::db::{DigestTime, NewDelivery, Receiver, ReceiverDefinition, ReceiverKind, is_away};
use crate::server::pages::words;
use crate::server::schedule::{self, Timing};
use crate::server::state::Server;

const PAGE: i64 = 100;
const MINUTE_US: i64 = 60_000_000;
/// Sets named in a digest.
const MOST_SETS: usize = 50;

/// When a receiver's digest or ping is due first after a time.
///
/// # Errors
/// `InvalidInput` for an hour or a zone that is none.
pub(crate) fn first(definition: &ReceiverDefinition, after_us: i64) -> Result<Option<i64>> {
    if !definition.enabled {
        return Ok(None);
    }
    match (definition.kind, &definition.digest, definition.beat_minutes) {
        (ReceiverKind::Ping, _, Some(minutes)) => Ok(Some(after_us + i64::from(minutes.max(1)) * MINUTE_US)),
        (ReceiverKind::Mail | ReceiverKind::Webhook, Some(at), _) => schedule::next(&timing(at)?, after_us),
        _ => Ok(None),
    }
}

fn timing(at: &DigestTime) -> Result<Timing> {
    if at.hour > 23 {
        return Err(Error::invalid(format!("A day has no hour {}", at.hour)).with_hint("Write 0 to 23"));
    }
    zone(&at.zone)?;
    Ok(Timing { cron: format!("0 {} * * *", at.hour), zone: at.zone.clone(), jitter_s: 0, catch_up: true })
}

/// Moves back what waits for a time too late: the clock was ahead when it was moved on, and it would wait until it is so late
/// again.
pub(super) async fn put_right(server: &Server) -> Result<()> {
    let now = server.now_us();
    server.db.put_deliveries_right(now, send::LONGEST_PAUSE_US).await?;
    let mut after = String::new();
    loop {
        let waiting = server.db.waiting_receivers(&after, now, PAGE).await?;
        for receiver in &waiting {
            let expected = first(&receiver.definition, now).unwrap_or_default();
            if let (Some(expected), Some(next_us)) = (expected, receiver.next_us)
                && expected < next_us
            {
                tracing::warn!(receiver = receiver.id.as_str(), "A digest or ping waited for a time that is too late");
                server.db.put_receiver_right(&receiver.id, next_us, expected, now).await?;
            }
        }
        match waiting.last() {
            Some(last) if waiting.len() == PAGE as usize => after = last.id.to_string(),
            _ => return Ok(()),
        }
    }
}

/// Puts what is due into the outbox.
pub(super) async fn pass(server: &Server) -> Result<()> {
    loop {
        let now = server.now_us();
        let due = server.db.due_receivers(now, PAGE).await?;
        let many = due.len();
        for receiver in due {
            let Some(due_us) = receiver.next_us else { continue };
            // What stood still for a day tells once, not once for each hour that it missed.
            let next = first(&receiver.definition, now).unwrap_or_default();
            if let Err(e) = put(server, &receiver, due_us, next, now).await {
                if is_away(&e) {
                    return Err(e);
                }
                // What is wrong with one keeps nothing from others; it comes again at its next time.
                tracing::error!(receiver = receiver.id.as_str(), "A notice cannot be made: {}", e.chain());
                server.db.skip_notice(&receiver.id, due_us, next).await?;
            }
        }
        if many < PAGE as usize {
            return Ok(());
        }
    }
}

/// Puts what a receiver is to hear into the outbox.
async fn put(server: &Server, receiver: &Receiver, due_us: i64, next: Option<i64>, now: i64) -> Result<()> {
    let notice = if receiver.definition.kind == ReceiverKind::Ping {
        let account = server.db.account(&receiver.account).await?;
        Notice::new("beat", now, &account.name, "The backup server works".to_owned())
    } else {
        digest(server, receiver, receiver.told_us, now).await?
    };
    let text = serde_json::to_string(&notice).map_err(|e| Error::internal("A notice cannot be kept").with_source(e))?;
    let event = format!("due {due_us}");
    let new = NewDelivery { account: &receiver.account, receiver: &receiver.id, event: &event, notice: &text };
    server.db.tell_on_time(due_us, next, &new, now).await
}

/// What was done since the digest before, and how things stand.
pub(super) async fn digest(server: &Server, receiver: &Receiver, from_us: i64, until_us: i64) -> Result<Notice> {
    let account = server.db.account(&receiver.account).await?;
    let done = server.db.done_between(&account.id, from_us, until_us).await?;
    let sets = server.db.sets(&account.id).await?;
    let stored: i64 = server.db.repositories(&account.id).await?.iter().map(|row| row.stored_bytes).sum();
    let trouble = done.gaps + done.interrupted + done.failed + done.missed;
    let title = match (done.complete + trouble, trouble) {
        (0, _) => "No backup ran".to_owned(),
        (all, 0) => format!("{} ran, all whole", words::count(usize::try_from(all).unwrap_or(0), "backup")),
        (all, some) => {
            format!(
                "{} of {} not whole",
                words::number(some),
                words::count(usize::try_from(all).unwrap_or(0), "backup")
            )
        }
    };
    let local = |us: i64| -> Result<String> {
        let at = receiver.definition.digest.as_ref().map_or("UTC", |at| at.zone.as_str());
        let stamp = Timestamp::from_microsecond(us).map_err(|_| Error::internal("The clock is out of range"))?;
        Ok(stamp.to_zoned_datetime(zone(at)?).strftime("%Y-%m-%d %H:%M %Z").to_string())
    };
    let bytes = |n: i64| words::size(u64::try_from(n).unwrap_or(0));
    let mut notice = Notice::new("digest", until_us, &account.name, title)
        .fact("From", local(from_us)?)
        .fact("To", local(until_us)?)
        .fact("Whole", words::number(done.complete))
        .fact("With gaps", words::number(done.gaps))
        .fact("Stopped", words::number(done.interrupted))
        .fact("Failed", words::number(done.failed))
        .fact("Missed", words::number(done.missed))
        .fact("New items", words::number(done.items_added))
        .fact("Stored by these", bytes(done.bytes_stored))
        .fact("Stored in all", bytes(stored))
        .page(format!("/a/{}", account.id));
    let bad = |state: Option<&str>| matches!(state, Some("failed" | "gaps" | "interrupted"));
    for set in sets.iter().filter(|set| set.enabled && bad(set.last_state.as_deref())).take(MOST_SETS) {
        let word = match set.last_state.as_deref() {
            Some("failed") => "failed",
            Some("gaps") => "had gaps",
            _ => "was stopped",
        };
        notice = notice.detail(format!("The last run of '{}' {word}", set.name));
    }
    Ok(notice)
}
