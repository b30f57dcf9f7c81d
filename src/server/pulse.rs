//! Whether what this process does in the background goes well, and since when not: a database that is gone without a word answers
//! nothing, and nothing ends for that.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::options::Role;
use crate::error::{Error, ErrorKind, Result};

/// How long nothing may go well before the process is said to be of no use.
pub(crate) const LONGEST_SILENCE: Duration = Duration::from_secs(300);

/// When each part last did what it is there for.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    /// A pass of the scheduler.
    pub(crate) scheduler: Beat,
    /// The queue was read, or word was given of a job.
    pub(crate) worker: Beat,
}

/// When something last went well; at first, when the process began.
#[derive(Debug)]
pub(crate) struct Beat(Mutex<Instant>);

impl Default for Beat {
    fn default() -> Self {
        Self(Mutex::new(Instant::now()))
    }
}

impl Beat {
    /// It goes well now.
    pub(crate) fn note(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn silence(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// Has it so that it went well so long ago.
    #[cfg(test)]
    pub(crate) fn set_back(&self, by: Duration) {
        let mut at = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *at = at.checked_sub(by).expect("the machine runs for longer");
    }
}

impl Pulse {
    /// The parts that a role has, and how long ago each of them went well.
    pub(crate) fn parts(&self, role: Role) -> Vec<(&'static str, Duration)> {
        let parts = [("scheduler", role.schedules(), &self.scheduler), ("worker", role.works(), &self.worker)];
        parts.into_iter().filter(|(_, is_here, _)| *is_here).map(|(name, _, beat)| (name, beat.silence())).collect()
    }

    /// Looks whether all parts of a role do what they are there for.
    ///
    /// # Errors
    /// `Unavailable` naming the one that did not for long, and since when.
    pub(crate) fn check(&self, role: Role, now_us: i64) -> Result<()> {
        for (name, silence) in self.parts(role) {
            if silence > LONGEST_SILENCE {
                let seconds = i64::try_from(silence.as_secs()).unwrap_or(i64::MAX);
                let since = Timestamp::from_second((now_us / 1_000_000).saturating_sub(seconds));
                let since = since.map(|since| format!(", at {since}")).unwrap_or_default();
                let text = format!("The {name} last did its work {seconds} s ago{since}");
                return Err(Error::new(ErrorKind::Unavailable, text)
                    .with_hint("The server's log says why; most likely the database does not answer"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_does_nothing_for_long_is_named_with_since_when() {
        let (pulse, now_us) = (Pulse::default(), 1_795_651_200_000_000);
        let roles = [Role::All, Role::Web, Role::Scheduler, Role::Worker];
        assert!(roles.iter().all(|role| pulse.check(*role, now_us).is_ok()), "they begin");
        pulse.scheduler.set_back(LONGEST_SILENCE + Duration::from_secs(60));
        let told = roles.map(|role| pulse.check(role, now_us).err().map(|e| e.to_string()).unwrap_or_default());
        assert!(told[0].starts_with("The scheduler last did its work 36"), "{told:?}");
        assert!(told[0].contains(" s ago, at 2026-11-25T23:5"), "{told:?}");
        assert!(told[1].is_empty() && told[2] == told[0] && told[3].is_empty(), "{told:?}");
        pulse.worker.set_back(LONGEST_SILENCE + Duration::from_secs(1));
        assert!(pulse.check(Role::Worker, now_us).is_err());
        pulse.scheduler.note();
        pulse.worker.note();
        assert!(roles.iter().all(|role| pulse.check(*role, now_us).is_ok()), "it went well again");
    }
}
