use jiff::civil::DateTime;
use proptest::prelude::*;

use super::*;

const SET: SetId = SetId([7; 32]);

fn id(number: usize) -> SnapshotId {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
    SnapshotId(bytes)
}

/// Snapshots at these UTC times.
fn at(times: &[&str]) -> Vec<SnapshotFacts> {
    let time = |text: &str| text.parse::<DateTime>().expect(text).to_zoned_datetime(TimeZone::UTC).expect(text);
    times
        .iter()
        .enumerate()
        .map(|(number, text)| SnapshotFacts {
            id: id(number),
            set: SET,
            time_us: time(text).timestamp().as_microsecond(),
            tags: Vec::new(),
            complete: true,
        })
        .collect()
}

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).expect(name)
}

fn policy(text: &str) -> Policy {
    toml::from_str(text).expect(text)
}

fn later() -> Timestamp {
    "2100-01-01T00:00:00Z".parse().expect("a time")
}

/// The kept, newest first, as "time: reason, reason".
fn kept(rules: &str, zone: &TimeZone, snapshots: &[SnapshotFacts]) -> Vec<String> {
    let plan = plan(&policy(rules), snapshots, zone, later());
    assert_eq!(plan.keep.len() + plan.remove.len(), snapshots.len());
    let text = |(facts, reasons): &(SnapshotFacts, Vec<String>)| {
        let time = local(facts.time_us, &TimeZone::UTC).strftime("%Y-%m-%dT%H:%M").to_string();
        format!("{time}: {}", reasons.join(", "))
    };
    plan.keep.iter().map(text).collect()
}

#[test]
fn days_keep_the_newest_of_each_day_and_the_oldest_of_all() {
    let list =
        at(&["2026-11-01T08:00", "2026-11-01T20:00", "2026-11-02T08:00", "2026-11-02T20:00", "2026-11-03T08:00"]);
    assert_eq!(kept("keep-daily = 2", &TimeZone::UTC, &list), ["2026-11-03T08:00: daily", "2026-11-02T20:00: daily"]);
    // Three days are there; the fourth of the count goes to the oldest snapshot.
    assert_eq!(
        kept("keep-daily = 4", &TimeZone::UTC, &list),
        [
            "2026-11-03T08:00: daily",
            "2026-11-02T20:00: daily",
            "2026-11-01T20:00: daily",
            "2026-11-01T08:00: oldest daily"
        ]
    );
    assert_eq!(
        kept("keep-daily = 3", &TimeZone::UTC, &list),
        ["2026-11-03T08:00: daily", "2026-11-02T20:00: daily", "2026-11-01T20:00: daily"]
    );
}

#[test]
fn the_zone_decides_where_a_day_ends() {
    let list = at(&["2026-11-01T22:30", "2026-11-01T23:30", "2026-11-02T00:30"]);
    assert_eq!(kept("keep-daily = 2", &TimeZone::UTC, &list), ["2026-11-02T00:30: daily", "2026-11-01T23:30: daily"]);
    // In Berlin 23:30 UTC is half past midnight of the 2nd.
    assert_eq!(
        kept("keep-daily = 2", &zone("Europe/Berlin"), &list),
        ["2026-11-02T00:30: daily", "2026-11-01T22:30: daily"]
    );
}

#[test]
fn the_hour_that_a_clock_change_repeats_counts_twice() {
    // Berlin, 25 October 2026: 02:30 CEST is 00:30 UTC, 02:30 CET is 01:30 UTC.
    let list =
        at(&["2026-10-24T23:30", "2026-10-25T00:30", "2026-10-25T01:30", "2026-10-25T01:40", "2026-10-25T02:30"]);
    assert_eq!(
        kept("keep-hourly = 3", &zone("Europe/Berlin"), &list),
        ["2026-10-25T02:30: hourly", "2026-10-25T01:40: hourly", "2026-10-25T00:30: hourly"]
    );
    // The day of the change has 25 hours and is one day: 22:00 UTC of the 24th to 23:00 UTC of the 25th.
    let day = at(&["2026-10-24T21:59", "2026-10-24T22:00", "2026-10-25T22:59", "2026-10-25T23:00"]);
    assert_eq!(
        kept("keep-daily = 2", &zone("Europe/Berlin"), &day),
        ["2026-10-25T23:00: daily", "2026-10-25T22:59: daily"]
    );
}

#[test]
fn the_hour_that_a_clock_change_skips_is_not_missed() {
    // Berlin, 29 March 2026: 01:59 CET is followed by 03:00 CEST.
    let list = at(&["2026-03-28T23:30", "2026-03-29T00:30", "2026-03-29T01:30"]);
    assert_eq!(
        kept("keep-hourly = 2", &zone("Europe/Berlin"), &list),
        ["2026-03-29T01:30: hourly", "2026-03-29T00:30: hourly"]
    );
}

#[test]
fn iso_weeks_run_across_the_turn_of_the_year() {
    // 2020 has a week 53: Monday 28 December 2020 to Sunday 3 January 2021. 4 January is week 1 of 2021.
    let list =
        at(&["2020-12-27T12:00", "2020-12-28T12:00", "2020-12-31T12:00", "2021-01-03T12:00", "2021-01-04T12:00"]);
    assert_eq!(
        kept("keep-weekly = 3", &TimeZone::UTC, &list),
        ["2021-01-04T12:00: weekly", "2021-01-03T12:00: weekly", "2020-12-27T12:00: weekly"]
    );
    // Monday 30 December 2024 belongs to week 1 of 2025, so week 1 of both years is never mixed up.
    let list = at(&["2024-01-02T12:00", "2024-12-29T12:00", "2024-12-30T12:00", "2025-01-02T12:00"]);
    assert_eq!(
        kept("keep-weekly = 2", &TimeZone::UTC, &list),
        ["2025-01-02T12:00: weekly", "2024-12-29T12:00: weekly"]
    );
}

#[test]
fn months_quarters_and_years_take_the_last_of_each() {
    let list = at(&[
        "2024-02-29T12:00",
        "2024-03-01T12:00",
        "2024-12-31T23:59",
        "2025-01-01T00:00",
        "2025-03-31T12:00",
        "2025-04-01T12:00",
    ]);
    assert_eq!(
        kept("keep-monthly = 4", &TimeZone::UTC, &list),
        [
            "2025-04-01T12:00: monthly",
            "2025-03-31T12:00: monthly",
            "2025-01-01T00:00: monthly",
            "2024-12-31T23:59: monthly"
        ]
    );
    assert_eq!(
        kept("keep-quarterly = 4", &TimeZone::UTC, &list),
        [
            "2025-04-01T12:00: quarterly",
            "2025-03-31T12:00: quarterly",
            "2024-12-31T23:59: quarterly",
            "2024-03-01T12:00: quarterly"
        ]
    );
    assert_eq!(
        kept("keep-yearly = 3", &TimeZone::UTC, &list),
        ["2025-04-01T12:00: yearly", "2024-12-31T23:59: yearly", "2024-02-29T12:00: oldest yearly"]
    );
}

#[test]
fn rules_add_up_and_say_so() {
    let list = at(&["2025-12-31T12:00", "2026-01-30T12:00", "2026-01-31T12:00", "2026-02-01T12:00"]);
    assert_eq!(
        kept("keep-last = 1\nkeep-daily = 2\nkeep-yearly = 2", &TimeZone::UTC, &list),
        ["2026-02-01T12:00: last, daily, yearly", "2026-01-31T12:00: daily", "2025-12-31T12:00: yearly"]
    );
    assert_eq!(kept("keep-monthly = \"unlimited\"", &TimeZone::UTC, &list).len(), 3);
}

#[test]
fn within_counts_back_from_the_newest_by_the_calendar() {
    let list =
        at(&["2024-01-31T11:00", "2024-02-28T12:00", "2024-02-29T12:00", "2024-02-29T13:00", "2024-03-31T12:00"]);
    // A month before 31 March 2024 is 29 February, its last day; what is exactly as old goes.
    assert_eq!(
        kept("keep-within = \"1m\"", &TimeZone::UTC, &list),
        ["2024-03-31T12:00: within 1m", "2024-02-29T13:00: within 1m"]
    );
    assert_eq!(kept("keep-within = \"2m1h\"", &TimeZone::UTC, &list).len(), 4);
    assert_eq!(kept("keep-within = \"2m2h\"", &TimeZone::UTC, &list).len(), 5);
    assert_eq!(kept("keep-within = \"9999y\"", &TimeZone::UTC, &list).len(), 5);
    // A day by the calendar of Berlin: 24 hours before noon of the day of the change would be 13:00.
    let change = at(&["2026-10-24T10:30", "2026-10-25T11:00"]);
    assert_eq!(kept("keep-within = \"1d\"", &zone("Europe/Berlin"), &change).len(), 2);
    assert_eq!(kept("keep-within = \"24h\"", &zone("Europe/Berlin"), &change).len(), 1);
}

#[test]
fn a_snapshot_from_the_future_does_not_push_the_others_out() {
    let list = at(&["2026-11-01T12:00", "2026-11-02T12:00", "2036-01-01T00:00"]);
    let now = "2026-11-02T13:00:00Z".parse().expect("a time");
    let plan = plan(&policy("keep-within = \"3d\""), &list, &TimeZone::UTC, now);
    assert_eq!(plan.keep.len(), 3);
}

#[test]
fn durations_are_read_as_restic_writes_them() {
    let within: Within = "1y5m7d2h".parse().expect("restic's own example");
    assert_eq!(within, Within { years: 1, months: 5, days: 7, hours: 2 });
    assert_eq!(within.to_string(), "1y5m7d2h");
    assert_eq!("36h".parse::<Within>().expect("hours").to_string(), "36h");
    for bad in ["", "5", "d", "3w", "-3d", "3d3d", "1y 2m", "70000d", "0d", "3é"] {
        assert!(bad.parse::<Within>().is_err(), "{bad}");
    }
}

#[test]
fn tags_keep_snapshots_whatever_their_age() {
    let mut list = at(&["2020-01-01T12:00", "2021-01-01T12:00", "2022-01-01T12:00", "2026-01-01T12:00"]);
    list[0].tags = vec!["audit".into(), "year".into()];
    list[1].tags = vec!["year".into()];
    assert_eq!(
        kept("keep-last = 1\nkeep-tag = [\"audit,year\"]", &TimeZone::UTC, &list),
        ["2026-01-01T12:00: last", "2020-01-01T12:00: tagged audit,year"]
    );
    assert_eq!(kept("keep-tag = [\"year\"]", &TimeZone::UTC, &list).len(), 2);
}

#[test]
fn an_incomplete_snapshot_stays_only_while_it_is_the_newest() {
    let times = ["2026-01-01T12:00", "2026-01-02T12:00", "2026-01-03T12:00", "2026-01-04T12:00"];
    let mut list = at(&times);
    list[2].complete = false;
    list[3].complete = false;
    // The newest complete one is kept although an incomplete one is newer: the count is not used up by it.
    assert_eq!(
        kept("keep-last = 1", &TimeZone::UTC, &list),
        ["2026-01-04T12:00: newest, incomplete", "2026-01-02T12:00: last"]
    );
    list[3].complete = true;
    assert_eq!(kept("keep-within = \"10d\"", &TimeZone::UTC, &list).len(), 3);
    assert_eq!(kept("keep-last = 2", &TimeZone::UTC, &list), ["2026-01-04T12:00: last", "2026-01-02T12:00: last"]);
    list[2].tags = vec!["keep".into()];
    assert_eq!(kept("keep-last = 1\nkeep-tag = [\"keep\"]", &TimeZone::UTC, &list).len(), 2);
}

#[test]
fn sets_do_not_count_against_each_other() {
    let mut list = at(&["2026-01-01T12:00", "2026-01-02T12:00", "2026-01-03T12:00"]);
    list[0].set = SetId([8; 32]);
    assert_eq!(kept("keep-last = 1", &TimeZone::UTC, &list).len(), 2);
}

#[test]
fn an_empty_policy_keeps_everything_and_says_that_it_is_empty() {
    assert!(Policy::default().is_empty());
    assert!(!policy("keep-tag = [\"x\"]").is_empty());
    assert!(!policy("keep-quarterly = 1").is_empty());
    let list = at(&["2026-01-01T12:00", "2026-01-01T12:00"]);
    assert_eq!(kept("", &TimeZone::UTC, &list).len(), 2);
    assert!(plan(&policy("keep-last = 1"), &[], &TimeZone::UTC, later()).keep.is_empty());
}

#[test]
fn a_policy_survives_toml_and_bincode() {
    let text = "keep-last = 1\nkeep-hourly = 2\nkeep-daily = 3\nkeep-weekly = 4\nkeep-monthly = 5\nkeep-quarterly = 6\n\
                keep-yearly = \"unlimited\"\nkeep-within = \"1y2d\"\nkeep-tag = [\"a\", \"b,c\"]\n";
    let policy = policy(text);
    assert_eq!(toml::to_string(&policy).expect("it serialises"), text);
    let bytes = crate::format::codec::encode(&policy);
    assert_eq!(crate::format::codec::decode::<Policy>("policy", &bytes).expect("it decodes"), policy);
    assert!(toml::from_str::<Policy>("keep-dayly = 1").is_err());
    assert!(toml::from_str::<Policy>("keep-daily = -1").is_err());
}

#[test]
fn times_beyond_the_calendar_do_no_harm() {
    let mut list = at(&["2026-01-01T12:00"; 2]);
    list[0].time_us = i64::MIN;
    list[1].time_us = i64::MAX;
    assert_eq!(kept("keep-daily = 5\nkeep-within = \"1y\"", &zone("Europe/Berlin"), &list).len(), 2);
}

fn snapshots() -> impl Strategy<Value = Vec<SnapshotFacts>> {
    proptest::collection::vec((0i64..4_000_000, prop::bool::weighted(0.9)), 0..60).prop_map(|list| {
        let minute = 60_000_000;
        let facts = |(number, (time, complete)): (usize, (i64, bool))| SnapshotFacts {
            id: id(number),
            set: SET,
            time_us: 1_600_000_000_000_000 + time * minute,
            tags: Vec::new(),
            complete,
        };
        list.into_iter().enumerate().map(facts).collect()
    })
}

fn rules() -> impl Strategy<Value = Policy> {
    proptest::array::uniform7(0u32..6).prop_map(|[last, hourly, daily, weekly, monthly, quarterly, yearly]| Policy {
        keep_last: Count(last + 1),
        keep_hourly: Count(hourly),
        keep_daily: Count(daily),
        keep_weekly: Count(weekly),
        keep_monthly: Count(monthly),
        keep_quarterly: Count(quarterly),
        keep_yearly: Count(yearly),
        ..Policy::default()
    })
}

proptest! {
    #[test]
    fn larger_counts_keep_all_that_smaller_ones_keep(
        list in snapshots(), small in rules(), more in proptest::array::uniform7(0u32..4)
    ) {
        let mut large = small.clone();
        let slots = [
            &mut large.keep_last, &mut large.keep_hourly, &mut large.keep_daily, &mut large.keep_weekly,
            &mut large.keep_monthly, &mut large.keep_quarterly, &mut large.keep_yearly,
        ];
        for (slot, more) in slots.into_iter().zip(more) {
            slot.0 += more;
        }
        let zone = zone("America/New_York");
        let large = plan(&large, &list, &zone, later());
        for (facts, _) in plan(&small, &list, &zone, later()).keep {
            prop_assert!(large.keep.iter().any(|(other, _)| *other == facts));
        }
    }

    #[test]
    fn keep_last_keeps_exactly_that_many(list in snapshots(), count in 1u32..70) {
        let policy = Policy { keep_last: Count(count), ..Policy::default() };
        let plan = plan(&policy, &list, &TimeZone::UTC, later());
        let complete = list.iter().filter(|facts| facts.complete).count();
        let kept = plan.keep.iter().filter(|(facts, _)| facts.complete).count();
        prop_assert_eq!(kept, complete.min(count as usize));
        prop_assert_eq!(plan.keep.len() + plan.remove.len(), list.len());
        prop_assert!(plan.keep.iter().all(|(_, reasons)| !reasons.is_empty()));
    }

    #[test]
    fn the_order_of_the_list_does_not_matter(list in snapshots(), rules in rules()) {
        let mut turned = list.clone();
        turned.reverse();
        prop_assert_eq!(plan(&rules, &list, &TimeZone::UTC, later()), plan(&rules, &turned, &TimeZone::UTC, later()));
    }
}
