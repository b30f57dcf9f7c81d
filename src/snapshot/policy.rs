//! Retention: which snapshots to keep, and why. Pure: it plans over facts, and somebody else removes.
//!
//! The rules mean what they mean in restic's `forget`, so that people need not learn them again.
//! Differences: snapshots are always grouped by backup set; the hour that a clock change repeats counts as
//! two hours; incomplete snapshots never use up a count.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use bincode::{Decode, Encode};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ZonedDateTime};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::format::id::{SetId, SnapshotId};

#[cfg(test)]
mod tests;

/// How many snapshots a rule keeps. 0 switches the rule off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Encode, Decode)]
pub struct Count(pub u32);

impl Count {
    /// Keeps every snapshot that the rule can name. As text: `unlimited`.
    pub const UNLIMITED: Self = Self(u32::MAX);
}

impl FromStr for Count {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "unlimited" {
            return Ok(Self::UNLIMITED);
        }
        text.parse().map(Self).map_err(|_| {
            Error::invalid(format!("'{text}' is not a number of snapshots")).with_hint("Give 0, 1, 2, … or 'unlimited'")
        })
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::UNLIMITED { f.write_str("unlimited") } else { self.0.fmt(f) }
    }
}

impl Serialize for Count {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if *self == Self::UNLIMITED { serializer.serialize_str("unlimited") } else { serializer.serialize_u32(self.0) }
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Count;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of snapshots or \"unlimited\"")
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Count, E> {
                u32::try_from(number).map(Count).map_err(|_| E::custom("the number of snapshots is too large"))
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Count, E> {
                let number = u64::try_from(number).map_err(|_| E::custom("a number of snapshots is not negative"))?;
                self.visit_u64(number)
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Count, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// A stretch of calendar time before the newest snapshot, as restic writes it: `1y5m7d2h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct Within {
    /// Years.
    pub years: u16,
    /// Months.
    pub months: u16,
    /// Days.
    pub days: u16,
    /// Hours.
    pub hours: u16,
}

impl Within {
    /// Says whether it is no time at all: the rule is off.
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }

    /// The time this long before `newest`, by the calendar of `newest`'s zone; a day that a month lacks
    /// becomes the month's last.
    fn before(&self, newest: &ZonedDateTime) -> ZonedDateTime {
        let span = Span::new()
            .try_years(self.years)
            .and_then(|s| s.try_months(self.months))
            .and_then(|s| s.try_days(self.days))
            .and_then(|s| s.try_hours(self.hours));
        let earliest = || Timestamp::MIN.to_zoned_datetime(newest.time_zone().clone());
        span.map_or_else(|_| earliest(), |span| newest.checked_sub(span).unwrap_or_else(|_| earliest()))
    }
}

impl FromStr for Within {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || {
            Error::invalid(format!("'{text}' is not a duration"))
                .with_hint("Write years, months, days and hours like 1y5m7d2h")
        };
        let mut within = Self::default();
        let mut rest = text;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
            let (number, tail) = rest.split_at(digits);
            let number: u16 = number.parse().map_err(|_| bad())?;
            let mut units = tail.chars();
            let slot = match units.next() {
                Some('y') => &mut within.years,
                Some('m') => &mut within.months,
                Some('d') => &mut within.days,
                Some('h') => &mut within.hours,
                _ => return Err(bad()),
            };
            if *slot != 0 {
                return Err(bad());
            }
            *slot = number;
            rest = units.as_str();
        }
        if within.is_zero() { Err(bad()) } else { Ok(within) }
    }
}

impl fmt::Display for Within {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, unit) in [(self.years, 'y'), (self.months, 'm'), (self.days, 'd'), (self.hours, 'h')] {
            if number > 0 {
                write!(f, "{number}{unit}")?;
            }
        }
        if self.is_zero() { f.write_str("0h") } else { Ok(()) }
    }
}

impl Serialize for Within {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Within {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What to keep. Each rule keeps some snapshots; one that no rule keeps is removed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Policy {
    /// The newest so many.
    pub keep_last: Count,
    /// The newest of each of the last so many hours that have any.
    pub keep_hourly: Count,
    /// The same by days.
    pub keep_daily: Count,
    /// The same by ISO weeks (Monday to Sunday).
    pub keep_weekly: Count,
    /// The same by months.
    pub keep_monthly: Count,
    /// The same by quarters of a year.
    pub keep_quarterly: Count,
    /// The same by years.
    pub keep_yearly: Count,
    /// All made within this time before the newest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_within: Option<Within>,
    /// All that have every tag of one of these lists; a list is written `a,b`.
    #[serde(rename = "keep-tag", skip_serializing_if = "Vec::is_empty")]
    pub keep_tags: Vec<String>,
}

impl Policy {
    /// Says whether no rule is on. Such a policy keeps everything; a caller that was told to forget refuses it.
    pub fn is_empty(&self) -> bool {
        let counts = self.buckets().iter().all(|bucket| bucket.left == Count(0));
        counts && self.keep_within.is_none_or(|within| within.is_zero()) && self.keep_tags.is_empty()
    }

    fn buckets(&self) -> [Bucket; 7] {
        let bucket = |left, name: Name, reason| Bucket { left, name, reason, last: None };
        [
            bucket(self.keep_last, |_, number| [0, 0, 0, 0, i64::try_from(number).unwrap_or(i64::MAX)], "last"),
            bucket(
                self.keep_hourly,
                |t, _| {
                    [t.year().into(), t.month().into(), t.day().into(), t.hour().into(), t.offset().seconds().into()]
                },
                "hourly",
            ),
            bucket(self.keep_daily, |t, _| [t.year().into(), t.month().into(), t.day().into(), 0, 0], "daily"),
            bucket(
                self.keep_weekly,
                |t, _| {
                    let week = t.date().iso_week_date();
                    [week.year().into(), week.week().into(), 0, 0, 0]
                },
                "weekly",
            ),
            bucket(self.keep_monthly, |t, _| [t.year().into(), t.month().into(), 0, 0, 0], "monthly"),
            bucket(self.keep_quarterly, |t, _| [t.year().into(), (i64::from(t.month()) - 1) / 3, 0, 0, 0], "quarterly"),
            bucket(self.keep_yearly, |t, _| [t.year().into(), 0, 0, 0, 0], "yearly"),
        ]
    }
}

/// What tells one stretch of time of a rule from another.
type Name = fn(&ZonedDateTime, usize) -> [i64; 5];

/// A rule that keeps the newest snapshot of each stretch of time, while its count lasts.
struct Bucket {
    left: Count,
    name: Name,
    reason: &'static str,
    last: Option<[i64; 5]>,
}

impl Bucket {
    /// Says why this rule keeps a snapshot, given that it saw all newer ones.
    fn keeps(&mut self, time: &ZonedDateTime, number: usize, is_oldest: bool) -> Option<String> {
        if self.left == Count(0) {
            return None;
        }
        let name = (self.name)(time, number);
        let is_new = self.last != Some(name);
        // While the count lasts, the oldest is kept, so that history reaches back as far as it can.
        if !is_new && !is_oldest {
            return None;
        }
        self.last = Some(name);
        if self.left != Count::UNLIMITED {
            self.left.0 -= 1;
        }
        Some(if is_new { self.reason.to_owned() } else { format!("oldest {}", self.reason) })
    }
}

/// What the policy must know of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotFacts {
    /// The snapshot.
    pub id: SnapshotId,
    /// The backup set that it belongs to.
    pub set: SetId,
    /// When it was made: microseconds since 1970 UTC.
    pub time_us: i64,
    /// Its tags.
    pub tags: Vec<String>,
    /// The run was not interrupted.
    pub complete: bool,
}

/// What a policy comes to: set by set, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ForgetPlan {
    /// Snapshots that stay, each with the rules that keep it; there is always one.
    pub keep: Vec<(SnapshotFacts, Vec<String>)>,
    /// Snapshots to remove.
    pub remove: Vec<SnapshotFacts>,
}

/// Says which snapshots to keep and which to remove. Each backup set is looked at by itself.
///
/// `zone` decides where days and hours begin. `keep_within` counts back from the set's newest snapshot that is
/// not later than `now`, so that one made under a wrong clock does not push all others out.
/// An incomplete snapshot is kept while it is the newest of its set, and by its tags.
pub fn plan(policy: &Policy, snapshots: &[SnapshotFacts], zone: &TimeZone, now: Timestamp) -> ForgetPlan {
    let mut sets: BTreeMap<SetId, Vec<&SnapshotFacts>> = BTreeMap::new();
    for facts in snapshots {
        sets.entry(facts.set).or_default().push(facts);
    }
    let mut plan = ForgetPlan::default();
    for list in sets.values_mut() {
        list.sort_by_key(|facts| (Reverse(facts.time_us), facts.id));
        plan_set(policy, list, zone, now, &mut plan);
    }
    plan
}

fn plan_set(policy: &Policy, list: &[&SnapshotFacts], zone: &TimeZone, now: Timestamp, plan: &mut ForgetPlan) {
    if policy.is_empty() {
        plan.keep.extend(list.iter().map(|facts| ((*facts).clone(), vec!["policy is empty".to_owned()])));
        return;
    }
    let mut buckets = policy.buckets();
    let now_us = now.as_microsecond();
    let newest = list.iter().map(|facts| facts.time_us).find(|&time| time <= now_us).unwrap_or(now_us);
    let within = policy.keep_within.filter(|within| !within.is_zero());
    let horizon = within.map(|within| (within, within.before(&local(newest, zone))));
    let oldest = list.iter().rposition(|facts| facts.complete);
    let mut number = 0;
    for (index, facts) in list.iter().enumerate() {
        let time = local(facts.time_us, zone);
        let mut reasons = tag_reasons(policy, facts);
        if let Some((within, horizon)) = &horizon
            && time > *horizon
            && (facts.complete || index == 0)
        {
            reasons.push(format!("within {within}"));
        }
        if facts.complete {
            let is_oldest = Some(index) == oldest;
            reasons.extend(buckets.iter_mut().filter_map(|bucket| bucket.keeps(&time, number, is_oldest)));
            number += 1;
        } else if index == 0 {
            reasons.push("newest, incomplete".to_owned());
        }
        if reasons.is_empty() {
            plan.remove.push((*facts).clone());
        } else {
            plan.keep.push(((*facts).clone(), reasons));
        }
    }
}

fn tag_reasons(policy: &Policy, facts: &SnapshotFacts) -> Vec<String> {
    let has_all = |list: &&String| list.split(',').all(|tag| facts.tags.iter().any(|have| have == tag.trim()));
    policy.keep_tags.iter().filter(has_all).map(|list| format!("tagged {list}")).collect()
}

/// The local time of a moment; moments beyond what the calendar knows become its ends.
fn local(time_us: i64, zone: &TimeZone) -> ZonedDateTime {
    let end = if time_us < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_microsecond(time_us).unwrap_or(end).to_zoned_datetime(zone.clone())
}
