//! Tasks of To Do as iCalendar (RFC 5545, VTODO). Steps have no place of their own there: they stand in the description.

use jiff::civil::Time;
use serde_json::Value;

use super::calendar::{self, When};
use super::lines::Lines;
use super::out::Out;
use super::rule::{self, Until};
use super::stored::{Attached, Stored, is, list, word};
use super::zone::Zone;
use crate::error::Result;
use crate::format::record::Record;

/// Writes a task as a calendar of its own.
pub(super) async fn write(stored: &Stored, record: &Record, out: &mut Out) -> Result<()> {
    let json = stored.json(record).await?;
    let mut lines = Lines::default();
    calendar::begin(&mut lines);
    todo(&mut lines, &json, &record.id, &stored.attached(record).await?);
    lines.end("VCALENDAR");
    out.push(lines.finish()).await;
    Ok(())
}

fn todo(lines: &mut Lines, json: &Value, id: &str, attached: &[Attached]) {
    let title = word(json, &["title"]);
    lines.begin("VTODO");
    calendar::common(lines, json, id, title);
    let (mut start, due) = (when(json, "startDateTime"), when(json, "dueDateTime"));
    let rule = calendar::recurrence(json);
    if rule.is_some() {
        // A rule needs a start (RFC 5545, section 3.8.5.3).
        start = start.or(due);
    }
    // Both are days or both are times.
    if let (Some(When::At(_)), Some(When::Day(day))) = (due, start) {
        start = Zone::utc().instant(day.to_datetime(Time::midnight())).map(When::At);
    }
    if let (Some(When::Day(_)), Some(When::At(at))) = (due, start) {
        start = Some(When::Day(calendar::day_of(at)));
    }
    for (name, time) in [("DTSTART", start), ("DUE", due)] {
        if let Some(time) = time {
            calendar::when(lines, name, time, &Zone::utc());
        }
    }
    let utc = Zone::utc();
    let until = if matches!(start, Some(When::Day(_))) { Until::Day } else { Until::In(&utc) };
    if let Some(rule) = rule.filter(|_| start.is_some()).and_then(|rule| rule::rrule(rule, until)) {
        lines.raw("RRULE", &[], &rule);
    }
    let (status, percent) = match word(json, &["status"]) {
        "completed" => ("COMPLETED", Some("100")),
        "inProgress" => ("IN-PROCESS", None),
        _ => ("NEEDS-ACTION", None),
    };
    lines.raw("STATUS", &[], status);
    if let Some(percent) = percent {
        lines.raw("PERCENT-COMPLETE", &[], percent);
    }
    if let Some(at) = calendar::instant(json, "completedDateTime") {
        lines.raw("COMPLETED", &[], &calendar::utc(at));
    }
    calendar::body(lines, json, &more(json));
    if let Some(link) = list(json, "linkedResources").iter().map(|l| word(l, &["webUrl"])).find(|l| !l.is_empty()) {
        lines.uri("URL", &[], link);
    }
    calendar::attach(lines, attached);
    if let Some(at) = calendar::instant(json, "reminderDateTime").filter(|_| is(json, "isReminderOn")) {
        calendar::alarm(lines, title, |lines| {
            lines.raw("TRIGGER", &[("VALUE", "DATE-TIME")], &calendar::utc(at));
        });
    }
    lines.end("VTODO");
}

/// To Do knows days; it tells them as midnight.
fn when(json: &Value, key: &str) -> Option<When> {
    let civil = calendar::civil(json, key)?;
    if civil.time() == Time::midnight() {
        return Some(When::Day(civil.date()));
    }
    calendar::instant(json, key).map(When::At)
}

/// The steps and links of a task, as text.
fn more(json: &Value) -> String {
    let steps = list(json, "checklistItems").iter().map(|step| {
        let mark = if is(step, "isChecked") { "x" } else { " " };
        format!("[{mark}] {}", word(step, &["displayName"]))
    });
    let links = list(json, "linkedResources").iter().map(|link| {
        let parts = [word(link, &["applicationName"]), word(link, &["displayName"]), word(link, &["webUrl"])];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
    });
    steps.chain(links).filter(|line| !line.trim().is_empty()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
pub(super) fn written(json: &Value) -> String {
    let mut lines = Lines::default();
    todo(&mut lines, json, "id", &[]);
    String::from_utf8_lossy(&lines.finish()).into_owned()
}
