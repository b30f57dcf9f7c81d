//! The third step: when it runs, and how long snapshots are kept.

use maud::{Markup, html};

use super::desk::{Desk, Done};
use super::fields::{Fields, KEPT, MOST_TIMES, Time};
use crate::error::{Error, Result};
use crate::server::choices::Choices;
use crate::server::pages::words;
use crate::server::schedule::{self, Timing};
use crate::snapshot::policy::{Count, Policy};

/// The presets: the word, and what it is called.
const PRESETS: [(&str, &str); 4] = [
    ("daily", "every day"),
    ("weekdays", "Monday to Friday"),
    ("hourly", "every hour"),
    ("cron", "by a rule of my own"),
];

/// The zones that are offered.
fn zones() -> Vec<String> {
    let named = |name: &String| {
        name == "UTC"
            || (name.contains('/')
                && !["Etc/", "posix/", "right/", "SystemV/"].iter().any(|skip| name.starts_with(skip)))
    };
    let mut all: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).filter(named).collect();
    all.sort();
    all.dedup();
    all
}

/// What is typed.
pub(super) fn part(desk: &Desk) -> Markup {
    let fields = &desk.fields;
    let times = fields.times();
    html! {
        fieldset { legend { "When it runs" }
            @if times.is_empty() { p.empty { "It has no schedule: it runs only when somebody asks." } }
            @for (n, time) in times.iter().enumerate() { (row(desk, n, time)) }
            @if times.len() < MOST_TIMES { button.plain #add-time type="submit" name="do" value="add-time" data-inplace { "Add a schedule" } }
            label { input type="checkbox" name="enabled" value="on" checked[fields.has("enabled")]; " Run on schedule" }
            label { input type="checkbox" name="catch_up" value="on" checked[fields.has("catch_up")]; " Catch up once on a run that was missed while the server was down" }
            label for="zone" { "Time zone, " span.quiet { "for the schedules, and for the days of what is kept" } }
            input #zone name="zone" required list="zones" value=(fields.get("zone")) placeholder="Europe/Berlin" spellcheck="false" autocomplete="off" data-zone[desk.set.is_none()];
            datalist #zones { @for zone in zones() { option value=(zone) {} } }
            label for="jitter" { "Start up to this many minutes later, at random, " span.quiet { "so that not all start at once" } }
            input #jitter name="jitter" type="number" min="0" max="1380" value=(fields.get("jitter"));
            @if desk.set.is_some() { p.quiet { "Schedules made over the API can have their own time zone, delay and catching up. They keep them unless you change these fields or their rule." } }
        }
        fieldset { legend { "How long snapshots are kept" }
            (kept_words(desk))
            div.row { @for (name, label, _) in KEPT {
                div { label for=(name) { (label) } input id=(name) name=(name) value=(fields.get(name)) inputmode="numeric" autocomplete="off" data-typed; }
            } }
            p.quiet { "Each number keeps the newest snapshot of so many days, weeks and so on in which there is one; " code { "unlimited" } " keeps all, 0 switches it off. What no number keeps is taken out after each run." }
        }
    }
}

fn row(desk: &Desk, n: usize, time: &Time) -> Markup {
    let id = |name: &str| format!("{name}-{n}");
    html! {
        fieldset.time {
            legend { "Schedule " (n + 1) }
            div.row.wide {
                div { label for=(id("kind")) { "It runs" }
                    select id=(id("kind")) name="when_kind" data-stay { @for (word, label) in PRESETS { option value=(word) selected[time.kind == word] { (label) } } } }
                div.preset { label for=(id("time")) { @if time.kind == "hourly" { "At the minute of" } @else { "At" } }
                    input id=(id("time")) name="when_time" type="time" value=(time.time) data-typed; }
                div.rule { label for=(id("cron")) { "Your own rule" }
                    input id=(id("cron")) name="when_cron" value=(time.cron) maxlength="100" placeholder="0 22 * * *" spellcheck="false" autocomplete="off" data-typed; }
            }
            p.quiet { (told(desk, time)) }
            button.plain id=(id("remove-time")) type="submit" name="do" value={ "remove-time:" (n) } data-inplace { "Remove schedule " (n + 1) }
        }
    }
}

/// A row in words, with when it would run next.
fn told(desk: &Desk, time: &Time) -> Markup {
    let zone = desk.fields.get("zone").trim();
    let timing = |cron| Timing { cron, zone: zone.to_owned(), jitter_s: 0, catch_up: true };
    let next = time.rule().map(timing).and_then(|timing| Ok((schedule::next(&timing, desk.server.now_us())?, timing)));
    html! {
        @match next {
            Ok((Some(at), timing)) => { (schedule::sentence(&timing)) "; next " (words::time(at)) "." }
            Ok((None, _)) => { "It never comes to this time." }
            Err(_) if time.kind == "cron" && time.cron.trim().is_empty() => {
                "Write minute, hour, day of the month, month, day of the week: " code { "0 22 * * *" } " is every day at 22:00."
            }
            Err(e) => { (e.to_string()) }
        }
    }
}

fn kept_words(desk: &Desk) -> Markup {
    let mut choices: Choices = desk.before();
    html! {
        p role="status" { @match desk.fields.put_kept(&mut choices) {
            Ok(()) => (kept(&choices.retention)),
            Err(e) => (e.to_string()),
        } }
    }
}

/// What a retention keeps, in a sentence.
pub(super) fn kept(policy: &Policy) -> String {
    let counts = [
        policy.keep_last,
        policy.keep_hourly,
        policy.keep_daily,
        policy.keep_weekly,
        policy.keep_monthly,
        policy.keep_yearly,
    ];
    let mut parts = Vec::new();
    for ((_, many, one), count) in KEPT.iter().zip(counts) {
        match (one.is_empty(), count) {
            (_, Count(0)) => {}
            (true, Count::UNLIMITED) => return "Every snapshot is kept, for ever.".to_owned(),
            (true, Count(1)) => parts.push("the last one".to_owned()),
            (true, count) => parts.push(format!("the last {count}")),
            (false, Count::UNLIMITED) => parts.push(format!("one of every {one}, for ever")),
            (false, Count(1)) => parts.push(format!("one of the last {one}")),
            (false, count) => parts.push(format!("one of each of the last {count} {many}")),
        }
    }
    if let Some(within) = policy.keep_within.filter(|within| !within.is_zero()) {
        parts.push(format!("all within {within}"));
    }
    if !policy.keep_tags.is_empty() || policy.keep_quarterly != Count(0) {
        parts.push("what further rules of the API keep".to_owned());
    }
    match parts.as_slice() {
        [] => "Nothing would be kept.".to_owned(),
        [one] => format!("After each run is kept: {one}. The rest is taken out."),
        [first @ .., last] => {
            format!("After each run are kept: {}, and {last}. The rest is taken out.", first.join(", "))
        }
    }
}

/// What the buttons do.
pub(super) fn press(desk: &mut Desk, button: &str) -> Result<Done> {
    let mut times = desk.fields.times();
    match button.split_once(':') {
        None if button == "add-time" => {
            if times.len() >= MOST_TIMES {
                return Err(Error::invalid(format!("A backup set has at most {MOST_TIMES} schedules")));
            }
            times.push(Time::daily());
        }
        Some(("remove-time", n)) => {
            let n = n.parse::<usize>().ok().filter(|n| *n < times.len());
            times.remove(n.ok_or_else(|| Error::invalid("There is no such schedule"))?);
        }
        _ => return Ok(Done::Stay),
    }
    desk.fields.set_times(&times);
    Ok(Done::Stay)
}

/// Whether it runs by itself, in words.
pub(super) fn summary(fields: &Fields) -> String {
    if !fields.has("enabled") || fields.times().is_empty() {
        return "only when somebody asks".to_owned();
    }
    match fields.timings() {
        Ok(timings) => timings.iter().map(schedule::sentence).collect::<Vec<_>>().join("; "),
        Err(e) => e.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_one_sentence() {
        assert_eq!(
            kept(&Choices::default().retention),
            "After each run are kept: the last 3, one of each of the last 30 days, one of each of the last 12 weeks, \
             one of each of the last 24 months, and one of each of the last 10 years. The rest is taken out."
        );
        assert_eq!(kept(&Policy::default()), "Nothing would be kept.");
        assert_eq!(
            kept(&Policy { keep_last: Count::UNLIMITED, ..Policy::default() }),
            "Every snapshot is kept, for ever."
        );
        assert!(
            kept(&Policy { keep_daily: Count::UNLIMITED, ..Policy::default() }).contains("one of every day, for ever")
        );
    }

    #[test]
    fn there_are_zones_to_choose_from() {
        let all = zones();
        assert!(
            all.len() > 300 && all.iter().any(|zone| zone == "Europe/Berlin") && all.iter().any(|zone| zone == "UTC")
        );
        assert!(all.iter().map(|zone| zone.len() + 30).sum::<usize>() < 60_000);
    }
}
