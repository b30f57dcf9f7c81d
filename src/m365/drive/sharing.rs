//! Which items' permissions are asked for again although nothing tells that they changed.
//!
//! That somebody was taken out of a sharing is told by delta only with all rights, and not of every folder. So whatever has
//! rights of its own is asked for them again a week after its last turn at the latest. The ids of items spread them over the
//! days of a week, and a day's items are asked once a day: no run has much to ask, and most runs of a day have nothing.

use std::collections::BTreeSet;

use futures::TryStreamExt;

use super::model::has_own_rights;
use super::parts::item_of;
use crate::error::Result;
use crate::format::record::ItemKind;
use crate::m365::door::Known;

const DAY_US: i64 = 86_400_000_000;
/// Within so many days all have had their turn.
const DAYS: u64 = 7;

/// The days whose turn it is: after the one up to which all had theirs, up to today.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::m365) struct Turns {
    after: i64,
    today: i64,
}

impl Turns {
    /// `saved` is the word of the last reading; without one everything was just read, or nothing is known of that, and from now
    /// on each day has its turn. A time of 0 is none.
    pub(in crate::m365) fn of(saved: Option<&str>, now_us: i64) -> Self {
        let today = now_us.div_euclid(DAY_US);
        let after = saved.and_then(|saved| saved.parse().ok()).filter(|_| now_us > 0).unwrap_or(today);
        Self { after, today }
    }

    /// What is to be saved once all had their turn.
    pub(in crate::m365) fn word(self) -> String {
        self.today.to_string()
    }

    /// What is to be saved before that.
    pub(super) fn word_before(self) -> String {
        self.after.to_string()
    }

    /// Says whether it is anybody's turn.
    pub(in crate::m365) fn any(self) -> bool {
        self.after < self.today
    }

    /// Says whether it is the turn of an id.
    pub(in crate::m365) fn has(self, id: &str) -> bool {
        let mixed = id.bytes().fold(0_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        // The low digits of the sum depend on the last bytes alone.
        let of_week = i64::try_from((mixed ^ (mixed >> 32)) % DAYS).unwrap_or_default();
        let days = i64::try_from(DAYS).unwrap_or_default();
        let next = self.after + 1 + (of_week - self.after - 1).rem_euclid(days);
        next <= self.today
    }

    /// Finds the items of a drive whose turn it is, among those that have rights of their own, but the root: also where nobody
    /// was told who has them. Says also whether there are none.
    ///
    /// # Errors
    /// As reading what is known.
    pub(super) async fn items(self, known: &dyn Known, root: &str) -> Result<(BTreeSet<String>, bool)> {
        let (mut items, mut none) = (BTreeSet::new(), true);
        let mut all = known.records().await?;
        while let Some(record) = all.try_next().await? {
            let item = match record.kind {
                ItemKind::Permission => item_of(&record.id),
                _ => Some(record.id.as_str()).filter(|_| has_own_rights(&record)),
            };
            let Some(item) = item.filter(|item| *item != root) else { continue };
            none = false;
            if self.has(item) && !items.contains(item) {
                items.insert(item.to_owned());
            }
        }
        Ok((items, none))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The days of a fortnight on which it is an id's turn, with a run each of `days`.
    fn turns(id: &str, days: &[i64]) -> Vec<i64> {
        let mut saved = None;
        let mut turns = Vec::new();
        for day in days {
            let now = Turns::of(saved.as_deref(), (20_000 + day) * DAY_US + 5);
            if now.has(id) {
                turns.push(*day);
            }
            saved = Some(now.word());
        }
        turns
    }

    #[test]
    fn everything_has_its_turn_once_a_week_and_not_all_on_one_day() {
        let ids: Vec<String> = (0..700).map(|n| format!("01ABCDEFGH{n}")).collect();
        let daily: Vec<i64> = (0..15).collect();
        let mut of_day = [0; 15];
        for id in &ids {
            let turns = turns(id, &daily);
            assert_eq!((turns.len(), turns[1] - turns[0]), (2, 7), "{id}");
            turns.iter().for_each(|day| of_day[usize::try_from(*day).unwrap()] += 1);
            // Hourly runs ask no more; after a pause of a week all are due; a clock that was wrong harms nothing.
            assert_eq!(super::tests::turns(id, &[1, 1, 1]), Vec::<i64>::new());
            assert_eq!(super::tests::turns(id, &[0, 7]), [7]);
            assert!(super::tests::turns(id, &[0, 900, 1, 2]).len() < 3);
        }
        assert_eq!(of_day[0], 0, "all was read on the first day");
        assert!(of_day[1..8].iter().all(|n| (50..150).contains(n)), "{of_day:?}");
    }
}
