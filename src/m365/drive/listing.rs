//! How long what delta tells of a drive is trusted alone.
//!
//! That a sharing began is told only to who has all rights, and what delta once left out it never tells. So a drive is
//! listed anew after four weeks: what changed untold is seen then, and no contents are read again that are the same.
//! Drives take turns, and one whose listing does not come to its end that day has other days before the next attempt, on
//! which what changed is read as ever.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

const DAY_US: i64 = 86_400_000_000;
/// For so many days the changes alone are read.
const TRUSTED_DAYS: i64 = 28;
/// Every so many days it is the turn of a drive. A prime: sets that run every second day, or once a week, come to each.
const TURN_DAYS: i64 = 11;

/// The day on which a drive was listed from one end to the other, and the present day.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listing {
    listed: i64,
    today: i64,
    known: bool,
}

impl Listing {
    /// `saved` is the word of the last reading; where there is none the four weeks begin now.
    pub(super) fn of(saved: Option<&str>, now_us: i64) -> Self {
        let today = now_us.div_euclid(DAY_US);
        let listed = saved.and_then(|saved| saved.parse::<i64>().ok()).filter(|_| now_us > 0);
        // A clock that was ahead puts nothing off for longer.
        Self { listed: listed.unwrap_or(today).min(today), today, known: listed.is_some() }
    }

    /// Says whether the drive of this id is to be listed anew.
    pub(super) fn is_due(self, drive: &str) -> bool {
        let spread = BuildHasherDefault::<DefaultHasher>::default().hash_one(drive) % TURN_DAYS.unsigned_abs();
        let is_turn = (self.today + spread.cast_signed()).rem_euclid(TURN_DAYS) == 0;
        self.known && self.today - self.listed >= TRUSTED_DAYS && is_turn
    }

    /// What is to be saved after a reading; `listed`: it came from one end to the other.
    pub(super) fn word(self, listed: bool) -> String {
        if listed { self.today } else { self.listed }.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The days on which a drive is listed anew, of a set that runs every so many days.
    fn listings(drive: &str, every: usize) -> Vec<i64> {
        let mut saved = None;
        let mut days = Vec::new();
        for day in (0..700).step_by(every) {
            let now = Listing::of(saved.as_deref(), (20_000 + day) * DAY_US + 5);
            let listed = saved.is_none() || now.is_due(drive);
            if listed {
                days.push(day);
            }
            saved = Some(now.word(listed));
        }
        days
    }

    #[test]
    fn a_drive_is_listed_anew_after_four_weeks_whenever_its_set_runs() {
        for drive in (0..50).map(|n| format!("b!drive-{n}")) {
            for (every, longest) in [(1, 39), (2, 50), (7, 105), (30, 360)] {
                let days = listings(&drive, every);
                let apart: Vec<i64> = days.windows(2).map(|two| two[1] - two[0]).collect();
                assert!(!apart.is_empty(), "{drive}: every {every} days: {days:?}");
                assert!(apart.iter().all(|n| (28..=longest).contains(n)), "{drive}: every {every} days: {apart:?}");
            }
        }
    }

    #[test]
    fn drives_take_turns_and_have_days_between_attempts() {
        let now = |day: i64| Listing::of(Some("20000"), day * DAY_US);
        let drives: Vec<String> = (0..800).map(|n| format!("b!drive-{n}")).collect();
        for day in 20_028..20_060 {
            let due = drives.iter().filter(|drive| now(day).is_due(drive));
            let of_day = due.clone().count();
            assert!((40..110).contains(&of_day), "{of_day} on day {day}");
            for drive in due {
                assert!((1..11).all(|later| !now(day + later).is_due(drive)));
            }
        }
    }

    #[test]
    fn a_clock_that_was_ahead_puts_nothing_off() {
        let later = Listing::of(Some("30000"), 20_000 * DAY_US);
        assert_eq!(later.word(false), "20000");
        assert!(!Listing::of(None, 20_000 * DAY_US).is_due("b!drive"));
    }
}
