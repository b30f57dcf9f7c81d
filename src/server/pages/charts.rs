//! Charts: SVG drawn here, with text for who does not see them.

use jiff::Timestamp;
use maud::{Markup, html};

use super::words;
use crate::server::db::{Day, Grown, Job, JobState};

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

/// What was done in the last 24 hours: a bar for each job, backups above, what keeps repositories in order below them, restores last.
pub(super) fn timeline(jobs: &[Job], now_us: i64) -> Markup {
    const HOUR_US: i64 = 3_600_000_000;
    const LANE: i64 = 22;
    let (width, from) = (724_i64, now_us - 24 * HOUR_US);
    let x = |us: i64| (us.clamp(from, now_us) - from) / 60_000_000 / 2 + 2;
    let began = |job: &Job| job.started_us.filter(|began| job.ended_us.unwrap_or(now_us) >= from && *began <= now_us);
    let shown: Vec<(&Job, i64)> = jobs.iter().filter_map(|job| began(job).map(|began| (job, began))).collect();
    let bad = shown.iter().filter(|(job, _)| job.state == JobState::Failed).count();
    let label = format!("The last 24 hours: {}, {bad} of them failed", words::count(shown.len(), "job"));
    html! {
        svg.calendar role="img" aria-label=(label) viewBox={ "0 0 " (width) " " (3 * LANE + 18) } width=(width) height=(3 * LANE + 18) {
            @for (job, began) in &shown {
                @let lane = if job.kind.is_upkeep() { 1 } else if job.set.is_some() { 0 } else { 2 };
                @let class = match job.state {
                    JobState::Done => "good",
                    JobState::Failed => "bad",
                    JobState::Queued | JobState::Running => "none",
                    JobState::Gaps | JobState::Cancelled | JobState::Missed => "warn",
                };
                @let ended = job.ended_us.unwrap_or(now_us);
                rect class=(class) x=(x(*began)) y=(lane * LANE + 2) width=((x(ended) - x(*began)).max(3)) height=(LANE - 6) {
                    title { (job.kind.word()) ", " (job.state.word()) ", " (words::duration(ended - began)) }
                }
            }
            text x="2" y=(3 * LANE + 14) { "24 hours ago" }
            text x=(width - 2) y=(3 * LANE + 14) text-anchor="end" { "now" }
        }
    }
}

/// The lines of growth, as they are called.
const LINES: [&str; 4] = ["read", "written", "contents", "stored"];

/// What each line of growth stands for.
pub(super) fn growth_key() -> Markup {
    let words = ["read, in sum", "written, in sum", "contents of the newest snapshots", "stored in all"];
    html! {
        p.quiet { @for (class, words) in LINES.iter().zip(words) { span class={ "line " (class) } {} " " (words) " " } }
    }
}

/// Lines of what was read and written, in sum, of how large the contents of the newest snapshots are, and of what is held: from
/// the first of `days`, but a fortnight ago at the latest and `span_us` ago at the earliest, up to now.
pub(super) fn growth(days: &[Grown], now_us: i64, span_us: i64) -> Markup {
    const DAY_US: i64 = 86_400_000_000;
    const LEAST_DAYS: i64 = 14;
    let (width, height, axis) = (720_i64, 180_i64, 20_i64);
    let today = now_us / DAY_US;
    let age = days.first().map_or(0, |day| today - day.day);
    let many = age.clamp(LEAST_DAYS, (span_us / DAY_US).max(LEAST_DAYS));
    let (mut read, mut written) = (0, 0);
    let mut lines: [Vec<(i64, i64)>; 4] = Default::default();
    for day in days {
        (read, written) = (read + day.read, written + day.written);
        let [of_read, of_written, of_contents, of_stored] = &mut lines;
        of_read.push((day.day, read));
        of_written.push((day.day, written));
        of_contents.extend(day.logical.map(|bytes| (day.day, bytes)));
        of_stored.extend(day.stored.map(|stored| (day.day, stored)));
    }
    let most = lines.iter().flatten().map(|(_, bytes)| *bytes).max().unwrap_or(0).max(1);
    let x = |day: i64| (day - today + many).clamp(0, many) * (width - 8) / many + 4;
    let y = |bytes: i64| height - 4 - (i128::from(bytes.max(0)) * i128::from(height - 8) / i128::from(most)) as i64;
    let size = |bytes: i64| words::size(u64::try_from(bytes).unwrap_or(0));
    // A single point is a line to today.
    let points = |line: &[(i64, i64)]| {
        let last = line.last().map(|(_, bytes)| (today, *bytes));
        let all = line.iter().copied().chain(last).map(|(day, bytes)| format!("{},{}", x(day), y(bytes)));
        all.collect::<Vec<_>>().join(" ")
    };
    let told = |line: &[(i64, i64)], what: &str, verb: &str, unknown: &str| match line {
        [(from, first), .., (_, last)] => {
            format!("{what} {verb} {} on {} and {} at last", size(*first), date(*from), size(*last))
        }
        [(_, only)] => format!("{what} {verb} {}", size(*only)),
        [] => format!("{unknown} was not counted yet"),
    };
    let [_, _, of_contents, of_stored] = &lines;
    let contents = told(of_contents, "The contents of the newest snapshots", "were", "How large all contents are");
    let held = told(of_stored, "All repositories", "held", "What all repositories hold");
    let (read_all, written_all) = (size(read), size(written));
    let label = format!("Growth in the last {many} days: {read_all} read, {written_all} written. {contents}. {held}");
    html! {
        svg.growth role="img" aria-label=(label) viewBox={ "0 0 " (width) " " (height + axis) } width=(width) height=(height + axis) {
            text x="4" y=(height + 14) { (date(today - many)) }
            text x=(width - 4) y=(height + 14) text-anchor="end" { (date(today)) }
            text x="8" y="16" { (size(most)) }
            line.ground x1="4" x2=(width - 4) y1=(height - 4) y2=(height - 4) {}
            @for (line, class) in lines.iter().zip(LINES) {
                @if !line.is_empty() { polyline class=(class) points=(points(line)) { title { (class) ": " (size(line.last().map_or(0, |(_, bytes)| *bytes))) } } }
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
        let grown =
            |day, mib: i64, stored| Grown { day, read: mib << 20, written: mib << 19, stored, ..Grown::default() };
        let days = [grown(19_990, 2, None), grown(20_000, 6, Some(3 << 20)), grown(20_001, 0, Some(5 << 20))];
        let text = growth(&days, 20_001 * 86_400_000_000, 26 * 7 * 86_400_000_000).into_string();
        for words in [
            "8.0 MiB read, 4.0 MiB written. How large all contents are was not counted yet. All repositories held 3.0 MiB",
            "held 3.0 MiB on 2024-10-04 and 5.0 MiB at last",
            "2024-09-21<",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
        assert_eq!(text.matches("<polyline").count(), 3);
        let contents = |day, mib: i64| Grown { day, logical: Some(mib << 20), ..Grown::default() };
        let text = growth(&[contents(20_000, 1), contents(20_001, 9)], 20_001 * 86_400_000_000, 0).into_string();
        assert!(text.contains("The contents of the newest snapshots were 1.0 MiB on 2024-10-04 and 9.0 MiB at last"));
        assert!(text.contains("<polyline class=\"contents\""), "{text}");
        // What is older than a fortnight has the whole width; what is older than the stretch is not looked at.
        for (first, from) in [(19_950, "2024-08-15<"), (19_700, "2024-04-06<")] {
            let text = growth(&[grown(first, 2, None)], 20_001 * 86_400_000_000, 26 * 7 * 86_400_000_000).into_string();
            assert!(text.contains(from), "{from}: {text}");
        }
    }
}
