//! Sends what waits in the outbox. What does not work is tried again with growing pauses, and given up after a day.

use std::time::Duration;

use futures::StreamExt as _;

use super::notice::Notice;
use super::{mail, webhook};
use crate::error::{Error, ErrorKind, Result};
use crate::server::db::{Delivery, DeliveryState, ReceiverKind, is_away};
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
/// Sent at once.
const AT_ONCE: usize = 8;
const PAGE: i64 = 32;

/// Sends all that is due.
pub(super) async fn pass(server: &Server) -> Result<()> {
    loop {
        let due = server.db.take_deliveries(server.now_us(), HOLD_US, PAGE).await?;
        let many = due.len();
        let mut sending = futures::stream::iter(due)
            .map(|delivery| async move { attempt(server, &delivery).await })
            .buffer_unordered(AT_ONCE);
        while let Some(noted) = sending.next().await {
            match noted {
                Err(e) if !is_away(&e) => tracing::error!("A notice cannot be noted: {}", e.chain()),
                noted => noted?,
            }
        }
        if many < PAGE as usize {
            return Ok(());
        }
    }
}

/// The pause after so many tries: a minute, two, four, …
fn pause_us(attempts: i64) -> i64 {
    (MINUTE_US << attempts.saturating_sub(1).clamp(0, 10)).min(LONGEST_PAUSE_US)
}

/// Tries once, and notes what came of it.
async fn attempt(server: &Server, delivery: &Delivery) -> Result<()> {
    let receiver = server.db.receiver(&delivery.account, &delivery.receiver).await?;
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
    server.db.end_delivery(delivery, state, error.as_deref(), now + pause_us(delivery.attempts), now).await
}

fn told(e: &Error) -> String {
    match e.hint() {
        Some(hint) => format!("{} ({hint})", e.chain()),
        None => e.chain(),
    }
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
