//! Sends what waits in the outbox. What does not work is tried again with growing pauses, and given up after a day.

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

use super::notice::Notice;
use super::{LONGEST_ANSWER, mail, webhook};
use crate::error::{Error, ErrorKind, Result};
use crate::server::db::{Delivery, DeliveryState, ReceiverKind, Room, in_time, is_away};
use crate::server::error::told;
use crate::server::state::Server;

const MINUTE_US: i64 = 60_000_000;
/// How long a try may take, before another process may begin one.
const HOLD_US: i64 = 5 * MINUTE_US;
/// And how long this one waits for it.
const LONGEST_TRY: Duration = Duration::from_secs(120);
/// The longest pause between two tries.
pub(super) const LONGEST_PAUSE_US: i64 = 120 * MINUTE_US;
/// After this long it is given up.
const MOST_WAIT_US: i64 = 24 * 60 * MINUTE_US;
/// A ping that comes this late would say what is no longer so.
const MOST_WAIT_OF_PING_US: i64 = 60 * MINUTE_US;
/// Sent at once; of one account; to one receiver.
const AT_ONCE: usize = 16;
const OF_ACCOUNT: usize = 4;
const TO_RECEIVER: usize = 2;

/// Sends all that is due. What takes its time holds up neither other receivers nor, but for a few places, other accounts.
pub(super) async fn pass(server: &Server) -> Result<()> {
    let (mut sending, mut taken, mut trouble) = (FuturesUnordered::new(), Vec::new(), None);
    let mut looked = None::<Instant>;
    loop {
        let is_free = taken.len() <= AT_ONCE / 2 || looked.is_none_or(|at| at.elapsed() >= super::LOOK_EVERY);
        if is_free && trouble.is_none() && !server.ending.is_cancelled() {
            looked = Some(Instant::now());
            let room = Room { most: AT_ONCE, of_account: OF_ACCOUNT, of_receiver: TO_RECEIVER, taken: &taken };
            let due = server.db.take_deliveries(server.now_us(), HOLD_US, &room);
            match in_time(LONGEST_ANSWER, due).await {
                Ok(due) => {
                    for delivery in due {
                        taken.push((delivery.account.clone(), delivery.receiver.clone()));
                        sending.push(async move { (attempt(server, &delivery).await, delivery) });
                    }
                }
                // What is being sent comes to its end: begun anew, it would come twice.
                Err(e) => trouble = Some(e),
            }
        }
        // What comes up meanwhile is looked for too.
        match tokio::time::timeout(super::LOOK_EVERY, sending.next()).await {
            Ok(Some((noted, delivery))) => {
                if let Some(place) = taken.iter().position(|(_, receiver)| *receiver == delivery.receiver) {
                    taken.swap_remove(place);
                }
                match noted {
                    Err(e) if is_away(&e) => trouble = Some(e),
                    Err(e) => tracing::error!("A notice cannot be noted: {}", e.chain()),
                    Ok(()) => {}
                }
            }
            Ok(None) => return trouble.map_or(Ok(()), Err),
            Err(_) => {}
        }
    }
}

/// The pause after so many tries: a minute, two, four, …
fn pause_us(attempts: i64) -> i64 {
    (MINUTE_US << attempts.saturating_sub(1).clamp(0, 10)).min(LONGEST_PAUSE_US)
}

/// Tries once, and notes what came of it.
async fn attempt(server: &Server, delivery: &Delivery) -> Result<()> {
    let receiver = in_time(LONGEST_ANSWER, server.db.receiver(&delivery.account, &delivery.receiver)).await?;
    let patience = if receiver.definition.kind == ReceiverKind::Ping { MOST_WAIT_OF_PING_US } else { MOST_WAIT_US };
    let sent = async {
        let notice: Notice = serde_json::from_str(&delivery.notice)
            .map_err(|e| Error::corrupt("A notice in the database cannot be read").with_source(e))?;
        let definition = &receiver.definition;
        match definition.kind {
            ReceiverKind::Mail => mail::send(server, &definition.to, &notice, &delivery.id).await,
            ReceiverKind::Webhook => {
                let secret = receiver.secret(&server.vault)?;
                webhook::post(server, &secret, receiver.account.as_str(), &notice, delivery).await
            }
            ReceiverKind::Ping => webhook::ping(server, &receiver.secret(&server.vault)?).await,
        }
    };
    let sent = match tokio::time::timeout(LONGEST_TRY, sent).await {
        Ok(sent) => sent,
        Err(_) => Err(Error::new(ErrorKind::Unavailable, "It takes too long")),
    };
    let now = server.now_us();
    let (state, error) = match sent {
        Ok(()) => (DeliveryState::Sent, None),
        Err(e) if now - delivery.created_us >= patience => (DeliveryState::GivenUp, Some(told(&e))),
        Err(e) => (DeliveryState::Waiting, Some(told(&e))),
    };
    if let Some(error) = &error {
        tracing::warn!(delivery = delivery.id.as_str(), attempts = delivery.attempts, "A notice was not sent: {error}");
    }
    let ended = server.db.end_delivery(delivery, state, error.as_deref(), now + pause_us(delivery.attempts), now);
    in_time(LONGEST_ANSWER, ended).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_two_hours() {
        let minutes: Vec<i64> = (1..12).map(|n| pause_us(n) / MINUTE_US).collect();
        assert_eq!(minutes, [1, 2, 4, 8, 16, 32, 64, 120, 120, 120, 120]);
        assert_eq!(pause_us(i64::MAX), LONGEST_PAUSE_US);
    }
}
