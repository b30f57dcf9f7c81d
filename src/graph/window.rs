//! Counts units in a sliding window, so that no stretch of time of the window's length ever holds more than allowed.
//!
//! Microsoft does not say whether its windows slide, stand fixed or refill; what keeps to a sliding window keeps to all
//! three. A request counts from the moment it is sent until a whole window after its *answer*: the server counted it at
//! some time in between, so the network's delay can never let two windows overlap. Units are kept in 100 slots rather
//! than one by one, which costs one part in a hundred of the window and makes a mailbox cheap.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::limits::WindowLimit;

const SLOTS: u32 = 100;

#[derive(Debug)]
pub(crate) struct Window {
    cap: u32,
    share: f64,
    limit: WindowLimit,
    slot: Duration,
    epoch: Instant,
    /// Answered requests: slot number and units, oldest first.
    slots: VecDeque<(u64, u32)>,
    /// The sum of `slots`.
    settled: u32,
    /// Sent, not answered yet.
    pending: u32,
}

impl Window {
    pub(crate) fn new(limit: WindowLimit, share: f64, now: Instant) -> Self {
        let slot = (limit.window / SLOTS).max(Duration::from_micros(1));
        let mut window =
            Self { cap: 1, share, limit, slot, epoch: now, slots: VecDeque::new(), settled: 0, pending: 0 };
        window.set_units(limit.units);
        window
    }

    /// Takes over a limit that the server told.
    pub(crate) fn set_units(&mut self, units: u32) {
        let units = units.min(self.limit.units);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a float-to-integer cast saturates"
        )]
        let cap = (f64::from(units) * self.share.clamp(0.01, 1.0)) as u32;
        self.cap = cap.max(1);
    }

    /// Takes over a larger limit than was known.
    pub(crate) fn raise(&mut self, units: u32) {
        if units > self.limit.units {
            self.limit.units = units;
            self.set_units(units);
        }
    }

    /// The limit that is known.
    pub(crate) fn units(&self) -> u32 {
        self.limit.units
    }

    /// How much of it may be spent.
    pub(crate) fn cap(&self) -> u32 {
        self.cap
    }

    /// How much is spent now.
    pub(crate) fn used(&mut self, now: Instant) -> u32 {
        self.expire(now);
        self.settled.saturating_add(self.pending)
    }

    pub(crate) fn width(&self) -> Duration {
        self.limit.window
    }

    /// Units a second when the whole allowance is spent evenly.
    pub(crate) fn even_rate(&self) -> f64 {
        f64::from(self.cap) / self.limit.window.as_secs_f64()
    }

    /// Says when so many units may go; `None`: now.
    pub(crate) fn next_at(&mut self, units: u32, now: Instant) -> Option<Instant> {
        self.expire(now);
        let units = units.min(self.cap);
        let used = self.settled.saturating_add(self.pending).saturating_add(units);
        let mut over = used.checked_sub(self.cap).filter(|over| *over > 0)?;
        for (slot, count) in &self.slots {
            if *count >= over {
                return Some(self.expires_at(*slot));
            }
            over -= count;
        }
        // The rest hangs on requests without an answer yet.
        Some(now + self.slot.min(Duration::from_millis(200)))
    }

    /// Counts units that are sent now.
    pub(crate) fn take(&mut self, units: u32) {
        self.pending = self.pending.saturating_add(units);
    }

    /// Counts units as answered now.
    pub(crate) fn settle(&mut self, units: u32, now: Instant) {
        self.pending = self.pending.saturating_sub(units);
        self.settled = self.settled.saturating_add(units);
        let number = self.slot_number(now);
        match self.slots.back_mut() {
            Some((last, count)) if *last >= number => *count = count.saturating_add(units),
            _ => self.slots.push_back((number, units)),
        }
    }

    /// Says whether nothing is counted any more.
    pub(crate) fn is_idle(&mut self, now: Instant) -> bool {
        self.expire(now);
        self.settled == 0 && self.pending == 0
    }

    fn slot_number(&self, now: Instant) -> u64 {
        let number = now.saturating_duration_since(self.epoch).as_micros() / self.slot.as_micros().max(1);
        u64::try_from(number).unwrap_or(u64::MAX)
    }

    /// A slot goes when its youngest possible unit is a whole window old.
    fn expires_at(&self, slot: u64) -> Instant {
        let end = self.slot.as_micros().saturating_mul(u128::from(slot) + 1);
        self.epoch + Duration::from_micros(u64::try_from(end).unwrap_or(u64::MAX / 2)) + self.limit.window
    }

    fn expire(&mut self, now: Instant) {
        while let Some((slot, count)) = self.slots.front().copied() {
            if self.expires_at(slot) > now {
                break;
            }
            self.settled = self.settled.saturating_sub(count);
            self.slots.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_comes_back_a_window_after_the_answer() {
        let start = Instant::now();
        let limit = WindowLimit { units: 10, window: Duration::from_secs(100) };
        let mut window = Window::new(limit, 1.0, start);
        for _ in 0..10 {
            assert_eq!(window.next_at(1, start), None);
            window.take(1);
        }
        assert!(window.next_at(1, start).is_some(), "nothing is left while requests are under way");
        let answered = start + Duration::from_secs(7);
        window.settle(10, answered);
        let at = window.next_at(1, answered).unwrap();
        assert!(at > answered + limit.window, "{:?}", at - answered);
        assert!(at <= answered + limit.window + Duration::from_secs(1));
        assert_eq!(window.next_at(10, at), None);
        assert!(window.is_idle(at));
    }

    #[test]
    fn a_request_dearer_than_the_allowance_goes_alone() {
        let now = Instant::now();
        let mut window = Window::new(WindowLimit { units: 3, window: Duration::from_secs(1) }, 0.98, now);
        assert_eq!(window.next_at(5, now), None);
        window.take(5);
        assert!(window.next_at(1, now).is_some());
    }
}
