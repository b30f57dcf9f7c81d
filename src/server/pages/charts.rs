//! Charts: SVG drawn here, with text for who does not see them.

use jiff::Timestamp;
use maud::{Markup, html};

use super::words;
use crate::server::db::{Day, Grown, Job, JobKind, JobState, Ran};

const CELL: i64 = 13;
const GAP: i64 = 3;

/// A square for each of the last weeks' days: how its runs ended.
pub(super) fn calendar(days: &[Day], today: i64, weeks: i64) -> Markup {
    // The last column ends with this week; rows are Monday to Sunday (1970-01-01 was a Thursday).
    let weekday = |day: i64| (day + 3).rem_euclid(7);
    let first = today - weekday(today) - (weeks - 1) * 7;
    let (left, above) = (34, 18);
    let (width, height) = (left + weeks * (CELL + GAP) + 2, above + 7 * (CELL + GAP) + 2);
    let (x, y) = (|day: i64| left + (day - first) / 7 * (CELL + GAP) + 1, |row: i64| above + row * (CELL + GAP) + 1);
    let (good, bad) = days.iter().fold((0, 0), |(g, b), d| (g + i64::from(d.failed == 0), b + i64::from(d.failed > 0)));
    let label = format!("Runs of the last {weeks} weeks: {good} days without a failed run, {bad} with one");
    html! {
        svg.calendar role="img" aria-label=(label) viewBox={ "0 0 " (width) " " (height) } width=(width) height=(height) {
            @for (row, name) in [(0, "Mon"), (2, "Wed"), (4, "Fri")] { text x="0" y=(y(row) + CELL - 2) { (name) } }
            // A month is named above the week in which it begins, but not where its name would be cut.
            @for day in (first..=today - 14).filter(|day| written(*day, "%-d") == "1") { text x=(x(day)) y="12" { (written(day, "%b")) } }
            @for day in first..=today {
                @let found = days.iter().find(|d| d.day == day);
                @let class = match found {
                    None => "none",
                    Some(d) if d.failed > 0 => "bad",
                    Some(d) if d.partly > 0 => "warn",
                    Some(_) => "good",
                };
                rect class=(class) x=(x(day)) y=(y(weekday(day))) width=(CELL) height=(CELL) rx="2" {
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
    written(day, "%-d %b %Y")
}

fn written(day: i64, format: &str) -> String {
    let stamp = Timestamp::from_second(day * 86_400).unwrap_or(Timestamp::UNIX_EPOCH);
    stamp.strftime(format).to_string()
}

/// A bar for each day: what was written.
pub(super) fn stored(days: &[Day], today: i64, many: i64) -> Markup {
    const HEIGHT: i64 = 90;
    const ABOVE: i64 = 18;
    let most = days.iter().map(|d| d.stored).max().unwrap_or(0).max(1);
    let total: i64 = days.iter().map(|d| d.stored).sum();
    let width = many * 9 + 2;
    let size = |bytes: i64| words::size(u64::try_from(bytes).unwrap_or(0));
    let label = format!("Stored in the last {many} days: {}", size(total));
    let (bottom, first) = (ABOVE + HEIGHT, today - many + 1);
    html! {
        svg.bars role="img" aria-label=(label) viewBox={ "0 0 " (width) " " (bottom + 20) } width=(width) height=(bottom + 20) {
            text x="1" y="12" { "most on a day: " (size(if total > 0 { most } else { 0 })) }
            @for day in first..=today {
                @let found = days.iter().find(|d| d.day == day).map_or(0, |d| d.stored);
                @let height = (i128::from(found) * i128::from(HEIGHT) / i128::from(most)) as i64;
                @let height = if found > 0 { height.max(2) } else { 1 };
                rect x=((day - first) * 9 + 1) y=(bottom - height + 1) width="7" height=(height) {
                    title { (date(day)) ": " (size(found)) }
                }
            }
            text x="1" y=(bottom + 16) { (date(first)) }
            text x=(width - 1) y=(bottom + 16) text-anchor="end" { (date(today)) }
        }
    }
}

/// What was done in the last 24 hours: a bar for each job, backups above, what keeps repositories in order below them, restores last.
/// `jobs` are the newest; `ran` counts all, and where that is more, it is said that the rest is not drawn.
pub(super) fn timeline(jobs: &[Job], ran: Ran, now_us: i64) -> Markup {
    const HOUR_US: i64 = 3_600_000_000;
    const LANE: i64 = 22;
    // A bar is as long as its job took: two minutes are one unit.
    let (left, from) = (72_i64, now_us - 24 * HOUR_US);
    let (width, height) = (left + 724, 3 * LANE + 18);
    let x = |us: i64| left + (us.clamp(from, now_us) - from) / 60_000_000 / 2 + 2;
    let began = |job: &Job| job.started_us.filter(|began| job.ended_us.unwrap_or(now_us) >= from && *began <= now_us);
    let shown: Vec<(&Job, i64)> = jobs.iter().filter_map(|job| began(job).map(|began| (job, began))).collect();
    let many = usize::try_from(ran.many).unwrap_or(0).max(shown.len());
    let bad = words::number(ran.failed);
    let label = format!("The last 24 hours: {}, {bad} of them failed", words::count(many, "job"));
    html! {
        @if many > shown.len() { p.quiet { "The newest " (shown.len()) " of " (words::count(many, "job")) " are drawn; " (bad) " of all failed." } }
        svg.calendar.lately role="img" aria-label=(label) viewBox={ "0 0 " (width) " " (height) } width=(width) height=(height) {
            @for (lane, name) in [(0, "Backups"), (1, "Upkeep"), (2, "Restores")] { text x="0" y=(lane * LANE + 14) { (name) } }
            @for (job, began) in &shown {
                @let class = match job.state {
                    JobState::Done => "good",
                    JobState::Failed => "bad",
                    JobState::Queued | JobState::Running => "none",
                    JobState::Gaps | JobState::Cancelled | JobState::Missed => "warn",
                };
                @let ended = job.ended_us.unwrap_or(now_us);
                rect class=(class) x=(x(*began)) y=(lane(job.kind) * LANE + 2) width=((x(ended) - x(*began)).max(3)) height=(LANE - 6) {
                    title { (job.kind.word()) ", " (job.state.word()) ", " (words::duration(ended - began)) }
                }
            }
            @for hours in [24, 18, 12, 6, 0] {
                text x=(x(now_us - hours * HOUR_US)) y=(3 * LANE + 14) text-anchor=(match hours { 24 => "start", 0 => "end", _ => "middle" }) {
                    @if hours == 0 { "now" } @else { (hours) " hours ago" }
                }
            }
        }
    }
}

/// The lane of a job: backups, upkeep, restores.
fn lane(kind: JobKind) -> i64 {
    match kind {
        JobKind::Backup => 0,
        JobKind::Retention | JobKind::Prune | JobKind::Check | JobKind::Mirror => 1,
        JobKind::Plan | JobKind::Restore | JobKind::Undo | JobKind::Export => 2,
    }
}

/// The lines of growth, as they are called.
const LINES: [&str; 4] = ["read", "written", "contents", "stored"];

/// What each line of growth stands for.
pub(super) fn growth_key() -> Markup {
    let words = ["read in total", "written in total", "contents of the newest snapshots", "stored now"];
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
            text x="8" y=(height - 8) { "0" }
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
            "held 3.0 MiB on 4 Oct 2024 and 5.0 MiB at last",
            "21 Sep 2024<",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
        assert_eq!(text.matches("<polyline").count(), 3);
        let contents = |day, mib: i64| Grown { day, logical: Some(mib << 20), ..Grown::default() };
        let text = growth(&[contents(20_000, 1), contents(20_001, 9)], 20_001 * 86_400_000_000, 0).into_string();
        assert!(text.contains("The contents of the newest snapshots were 1.0 MiB on 4 Oct 2024 and 9.0 MiB at last"));
        assert!(text.contains("<polyline class=\"contents\""), "{text}");
        // What is older than a fortnight has the whole width; what is older than the stretch is not looked at.
        for (first, from) in [(19_950, "15 Aug 2024<"), (19_700, "6 Apr 2024<")] {
            let text = growth(&[grown(first, 2, None)], 20_001 * 86_400_000_000, 26 * 7 * 86_400_000_000).into_string();
            assert!(text.contains(from), "{from}: {text}");
        }
    }
}
