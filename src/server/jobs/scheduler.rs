//! Puts what is due into the queue. Several schedulers may run on one database: each schedule is moved on by one of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::of_set;
use crate::crypto::random_bytes;
use crate::error::Result;
use crate::server::db::{Due, JobKind, Start, in_time};
use crate::server::schedule;
use crate::server::state::Server;

/// How often is looked.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A clock that goes back by more than this was set.
const JUMP_US: i64 = 60_000_000;
/// How many at a time.
const PAGE: i64 = 500;
/// A run later than this was missed, not merely a little late.
const LATE_US: i64 = 10 * 60_000_000;

/// How long a pass may take; what it did stays done, and the next one goes on.
const LONGEST_PASS: Duration = Duration::from_secs(60);

/// How often is looked whether history is to be removed.
const TIDY_EVERY: Duration = Duration::from_secs(600);
/// How long removing it may take: the rest goes the next day.
const LONGEST_TIDYING: Duration = Duration::from_secs(60);

/// Runs until `stop`.
pub(super) async fn run(server: Arc<Server>, stop: CancellationToken) {
    let mut waits = LOOK_EVERY;
    let mut tidied: Option<Instant> = None;
    let mut last = i64::MAX;
    while stop.run_until_cancelled(tokio::time::sleep(waits)).await.is_some() {
        let now = server.now_us();
        // At the start, and whenever the clock was set back.
        let jumped = now < last.saturating_sub(JUMP_US);
        let passed = match jumped {
            true => in_time(LONGEST_PASS, put_right(&server)).await,
            false => Ok(()),
        };
        if passed.is_ok() {
            last = now;
        }
        if tidied.is_none_or(|at| at.elapsed() > TIDY_EVERY) {
            tidied = Some(Instant::now());
            let forgotten = in_time(LONGEST_TIDYING, server.db.forget_history(now)).await;
            if forgotten.is_ok() {
                server.pulse.scheduler.note();
            }
            match forgotten {
                Ok(0) => {}
                Ok(gone) => tracing::info!(gone, "Old history was removed"),
                Err(e) => tracing::error!("Old history cannot be removed: {}", e.chain()),
            }
        }
        match passed.and(in_time(LONGEST_PASS, pass(&server)).await) {
            Ok(()) => {
                server.pulse.scheduler.note();
                waits = LOOK_EVERY;
            }
            Err(e) => {
                tracing::error!("The scheduler cannot work: {}", e.chain());
                waits = (waits * 2).min(Duration::from_secs(30));
            }
        }
    }
}

/// Moves schedules back that wait for a time too late: the clock was ahead when they were moved on, and would make them wait
/// until it is so late again.
async fn put_right(server: &Server) -> Result<()> {
    let now = server.now_us();
    let mut after = String::new();
    loop {
        let waiting = server.db.waiting_schedules(&after, now, PAGE).await?;
        for (id, timing, next_us) in &waiting {
            let expected = schedule::next(timing, now).unwrap_or_default();
            if let Some(expected) = expected.filter(|expected| expected < next_us) {
                tracing::warn!(schedule = id.as_str(), "A schedule waited for a time that is too late");
                server.db.put_schedule_right(id, *next_us, expected).await?;
            }
        }
        match waiting.last() {
            Some((id, ..)) if waiting.len() == PAGE as usize => after = id.to_string(),
            _ => return Ok(()),
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
        let plans: Vec<Plan> = due.into_iter().map(|due| plan(due, now)).collect();
        let starts: Vec<Start<'_>> = plans.iter().map(|plan| start(plan, now)).collect();
        // All of a page in one: ten thousand sets of one minute are in the queue within seconds.
        server.db.start_due(&starts, now).await?;
        if many < PAGE as usize {
            return Ok(());
        }
    }
}

/// What becomes of a schedule whose time has come.
struct Plan {
    due: Due,
    next_us: Option<i64>,
    after_us: i64,
}

fn plan(due: Due, now_us: i64) -> Plan {
    // A rule that cannot be read any more, or never comes again, is not looked at again.
    let next_us = schedule::next(&due.timing, now_us).unwrap_or_default().filter(|_| due.set.enabled);
    let after_us = now_us + i64::from(jitter(due.timing.jitter_s)) * 1_000_000;
    Plan { due, next_us, after_us }
}

fn start(plan: &Plan, now_us: i64) -> Start<'_> {
    let (due, set) = (&plan.due, &plan.due.set);
    let missed = now_us - due.due_us > LATE_US && !due.timing.catch_up;
    if missed && set.enabled {
        tracing::info!(set = set.name, "A run was missed, and is not caught up");
    }
    let job = set.enabled.then(|| of_set(set, JobKind::Backup, "schedule", plan.after_us));
    Start { schedule: &due.schedule, due_us: due.due_us, next_us: plan.next_us, job, missed }
}

/// A time by chance, up to the longest, in seconds.
fn jitter(longest_s: u32) -> u32 {
    match longest_s.checked_add(1) {
        Some(many) if longest_s > 0 => u32::from_le_bytes(random_bytes()) % many,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::pulse::LONGEST_SILENCE;

    #[test]
    fn a_round_that_hangs_at_each_thing_is_over_before_the_process_is_said_to_be_of_no_use() {
        assert!(2 * LONGEST_PASS + LONGEST_TIDYING < LONGEST_SILENCE);
    }
}
