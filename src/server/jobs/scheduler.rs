//! Puts what is due into the queue. Several schedulers may run on one database: each schedule is moved on by one of them.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::of_set;
use crate::crypto::random_bytes;
use crate::error::Result;
use crate::server::db::{Due, JobKind};
use crate::server::schedule;
use crate::server::state::Server;

/// How often is looked.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How many at a time.
const PAGE: i64 = 500;
/// A run later than this was missed, not merely a little late.
const LATE_US: i64 = 10 * 60_000_000;

/// Runs until `stop`.
pub(super) async fn run(server: Arc<Server>, stop: CancellationToken) {
    let mut waits = LOOK_EVERY;
    while stop.run_until_cancelled(tokio::time::sleep(waits)).await.is_some() {
        match pass(&server).await {
            Ok(()) => waits = LOOK_EVERY,
            Err(e) => {
                tracing::error!("The scheduler cannot work: {}", e.chain());
                waits = (waits * 2).min(Duration::from_secs(30));
            }
        }
    }
}

/// Asks for all that is due now, and takes back what workers left.
pub(super) async fn pass(server: &Server) -> Result<()> {
    let now = server.now_us();
    let taken = server.db.take_over(now).await?;
    if taken > 0 {
        tracing::warn!(taken, "Jobs of workers that are gone wait for others");
    }
    loop {
        let due = server.db.due(now, PAGE).await?;
        let many = due.len();
        for due in due {
            begin(server, &due, now).await?;
        }
        if many < PAGE as usize {
            return Ok(());
        }
    }
}

async fn begin(server: &Server, due: &Due, now_us: i64) -> Result<()> {
    // A rule that cannot be read any more, or never comes again, is not looked at again.
    let next = schedule::next(&due.timing, now_us).unwrap_or_default();
    if !server.db.move_schedule(due, next.filter(|_| due.set.enabled)).await? || !due.set.enabled {
        return Ok(());
    }
    let after = now_us + i64::from(jitter(due.timing.jitter_s)) * 1_000_000;
    let job = of_set(&due.set, JobKind::Backup, "schedule", after);
    if now_us - due.due_us > LATE_US && !due.timing.catch_up {
        tracing::warn!(set = due.set.name, "A run was missed, and is not caught up");
        server.db.note_missed(&job, now_us).await?;
        return Ok(());
    }
    server.db.ask_for(&job, now_us).await?;
    Ok(())
}

/// A time by chance, up to the longest, in seconds.
fn jitter(longest_s: u32) -> u32 {
    match longest_s.checked_add(1) {
        Some(many) if longest_s > 0 => u32::from_le_bytes(random_bytes()) % many,
        _ => 0,
    }
}
