//! Charts: SVG drawn here, with text for who does not see them.

use jiff::Timestamp;
use maud::{Markup, html};

use super::words;
use crate::server::db::Day;

const CELL: i64 = 13;
const GAP: i64 = 3;

/// A square for each of the last weeks' days: how its runs ended.
pub(super) fn calendar(days: &[Day], today: i64, weeks: i64) -> Markup {
    // The last column ends with this week; rows are Monday to Sunday (1970-01-01 was a Thursday).
    let weekday = |day: i64| (day + 3).rem_euclid(7);
    let first = today - weekday(today) - (weeks - 1) * 7;
    let (width, height) = (weeks * (CELL + GAP) + 2, 7 * (CELL + GAP) + 2);
    let (good, bad) = days.iter().fold((0, 0), |(g, b), d| (g + i64::from(d.failed == 0), b + i64::from(d.failed > 0)));
    let label = format!("Runs of the last {weeks} weeks: {good} days without a failed run, {bad} with one");
    html! {
        svg.calendar role="img" aria-label=(label) viewBox={ "0 0 " (width) " " (height) } width=(width) height=(height) {
            @for day in first..=today {
                @let found = days.iter().find(|d| d.day == day);
                @let class = match found {
                    None => "none",
                    Some(d) if d.failed > 0 => "bad",
                    Some(d) if d.partly > 0 => "warn",
                    Some(_) => "good",
                };
                rect class=(class) x=((day - first) / 7 * (CELL + GAP) + 1) y=(weekday(day) * (CELL + GAP) + 1)
                    width=(CELL) height=(CELL) rx="2" {
                    title { (describe(day, found)) }
                }
            }
        }
    }
}

fn describe(day: i64, found: Option<&Day>) -> String {
    let date = date(day);
    match found {
        None => format!("{date}: no run"),
        Some(d) => format!("{date}: {} whole, {} with gaps, {} failed", d.complete, d.partly, d.failed),
    }
}

fn date(day: i64) -> String {
    let stamp = Timestamp::from_second(day * 86_400).unwrap_or(Timestamp::UNIX_EPOCH);
    stamp.strftime("%Y-%m-%d").to_string()
}

/// A bar for each day: what was written.
pub(super) fn stored(days: &[Day], today: i64, many: i64) -> Markup {
    const HEIGHT: i64 = 90;
    let most = days.iter().map(|d| d.stored).max().unwrap_or(0).max(1);
    let total: i64 = days.iter().map(|d| d.stored).sum();
    let width = many * 9 + 2;
    let label = format!("Stored in the last {many} days: {}", words::size(u64::try_from(total).unwrap_or(0)));
    html! {
        svg.bars role="img" aria-label=(label) viewBox={ "0 0 " (width) " " (HEIGHT + 4) } width=(width) height=(HEIGHT + 4) {
            @for day in (today - many + 1)..=today {
                @let found = days.iter().find(|d| d.day == day).map_or(0, |d| d.stored);
                @let height = (i128::from(found) * i128::from(HEIGHT) / i128::from(most)) as i64;
                @let height = if found > 0 { height.max(2) } else { 1 };
                rect x=((day - today + many - 1) * 9 + 1) y=(HEIGHT - height + 1) width="7" height=(height) {
                    title { (date(day)) ": " (words::size(u64::try_from(found).unwrap_or(0))) }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_says_in_words_what_it_shows() {
        let day = |day, complete, failed| Day { day, complete, partly: 0, failed, stored: 1 << 20 };
        let days = [day(20_000, 1, 0), day(20_001, 0, 1)];
        let text = calendar(&days, 20_001, 4).into_string();
        assert!(text.contains("1 days without a failed run, 1 with one"), "{text}");
        assert_eq!(text.matches("class=\"bad\"").count(), 1);
        assert!(stored(&days, 20_001, 30).into_string().contains("2.0 MiB"));
        assert!(calendar(&[], 20_001, 4).into_string().contains("role=\"img\""));
    }
}
