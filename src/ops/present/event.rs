//! Events as iCalendar (RFC 5545): a single one, a series with its exceptions, or one exception.
//!
//! A backup asks for times in UTC, and a series repeats by the clock of the zone that it was made in: so its times are written
//! in that zone. What was cancelled of a series is an `EXDATE`, what was changed an event of its own with the `UID` of the
//! series and a `RECURRENCE-ID`. Events of whole days have no zone.

use jiff::civil::{Date, DateTime};
use jiff::{Timestamp, ToSpan as _};
use serde_json::Value;

use super::Occasion;
use super::calendar::{self, When};
use super::lines::{Lines, mailto};
use super::out::Out;
use super::repeat::Repeat;
use super::rule::{self, Until};
use super::stored::{Attached, Stored, is, list, texts, word};
use super::zone::Zone;
use crate::error::Result;
use crate::format::record::{ItemKind, Record};
use crate::m365::facts::{at, text};

/// Writes an event as a calendar of its own.
pub(super) async fn write(stored: &Stored, record: &Record, out: &mut Out) -> Result<()> {
    let json = stored.json(record).await?;
    let master = match text(&json, &["type"]) == Some("exception") {
        true => stored.view.record(&stored.state, &record.parent).await?.filter(|r| r.kind == ItemKind::Event),
        false => None,
    };
    let series = match &master {
        Some(master) => Some(Series::of(&stored.json(master).await?, &master.id)),
        None => None,
    };
    let own = Series::of(&json, &record.id);
    let mut lines = Lines::default();
    calendar::begin(&mut lines);
    let series = series.unwrap_or(own);
    series.write_zone(&mut lines, &json);
    event(&mut lines, &json, &series, master.is_some(), &stored.attached(record).await?);
    out.push(lines.finish()).await;
    if master.is_none() && record.has_parts() {
        let mut below = stored.below(&record.id);
        while let Some(part) = below.next().await? {
            if part.kind == ItemKind::Event {
                let mut lines = Lines::default();
                let json = stored.json(&part).await?;
                event(&mut lines, &json, &series, true, &stored.attached(&part).await?);
                out.push(lines.finish()).await;
            }
        }
    }
    let mut lines = Lines::default();
    lines.end("VCALENDAR");
    out.push(lines.finish()).await;
    Ok(())
}

/// When an event begins, from one time to before another.
pub(super) async fn occasions(stored: &Stored, record: &Record, (from_us, to_us): (i64, i64)) -> Result<Vec<Occasion>> {
    let occasion = |record: &Record, begins_us| {
        let is_within = (from_us..to_us).contains(&begins_us);
        let all_day = record.fact("all_day").is_some();
        is_within.then(|| Occasion { title: record.name.clone(), begins_us, all_day })
    };
    let alone = |record: &Record| record.sort_us.and_then(|begins_us| occasion(record, begins_us));
    let series = match super::comes_again(record) {
        true => Series::stored(stored, record, (from_us, to_us)).await?,
        false => None,
    };
    let Some((series, mut planned)) = series else { return Ok(alone(record).into_iter().collect()) };
    let mut found = Vec::new();
    let mut below = stored.below(&record.id);
    while let Some(part) = if record.has_parts() { below.next().await? } else { None } {
        if part.kind == ItemKind::Event {
            match stored.json(&part).await {
                Ok(json) => planned.retain(|(day, _)| Some(*day) != series.planned_for(&json).0),
                Err(e) if e.is_loss() => {}
                Err(e) => return Err(e),
            }
            found.extend(alone(&part));
        }
    }
    found.extend(planned.into_iter().filter_map(|(_, begins_us)| occasion(record, begins_us)));
    Ok(found)
}

/// What the events of a series have in common.
#[derive(Debug)]
struct Series {
    uid: String,
    zone: Zone,
    all_day: bool,
    start: Option<Timestamp>,
}

impl Series {
    fn of(json: &Value, id: &str) -> Self {
        let names = [&["recurrence", "range", "recurrenceTimeZone"][..], &["originalStartTimeZone"]];
        let zone = names.iter().find_map(|path| text(json, path).and_then(Zone::of)).unwrap_or_else(Zone::utc);
        let uid = text(json, &["iCalUId"]).filter(|uid| !uid.is_empty()).unwrap_or(id).to_owned();
        Self { uid, zone, all_day: is(json, "isAllDay"), start: calendar::instant(json, "start") }
    }

    fn write_zone(&self, lines: &mut Lines, json: &Value) {
        if self.all_day && is(json, "isAllDay") || self.zone.is_utc() {
            return;
        }
        let of = |at: Option<Timestamp>| at.map(|at| self.zone.local(at));
        let starts = [of(self.start), of(calendar::instant(json, "start"))];
        let from = starts.iter().flatten().min().copied().unwrap_or(DateTime::constant(1970, 1, 1, 0, 0, 0, 0));
        let last = calendar::recurrence(json).and_then(rule::last_day).map(|day| day.at(0, 0, 0, 0));
        let to = starts.into_iter().chain([last]).flatten().max().unwrap_or(from);
        self.zone.write(lines, from, to);
    }

    /// Reads one, and on which days it comes again about between two times, with the begin of each; `None`: what says so is
    /// lost, or does not read.
    async fn stored(stored: &Stored, record: &Record, between: (i64, i64)) -> Result<Option<(Self, Vec<(Date, i64)>)>> {
        let json = match stored.json(record).await {
            Ok(json) => json,
            Err(e) if e.is_loss() => return Ok(None),
            Err(e) => return Err(e),
        };
        let series = Self::of(&json, &record.id);
        Ok(series.planned(&json, between).map(|planned| (series, planned)))
    }

    /// The days on which it comes again, with the begin of each, about between two times; none that was cancelled.
    fn planned(&self, json: &Value, (from_us, to_us): (i64, i64)) -> Option<Vec<(Date, i64)>> {
        let day = |us| self.day(Timestamp::from_microsecond(us).unwrap_or_default());
        let days = Repeat::read(calendar::recurrence(json)?)?.days_between(day(from_us), day(to_us));
        let cancelled: Vec<Date> = texts(json, "cancelledOccurrences").into_iter().filter_map(day_of).collect();
        let begin = |day: Date| match self.occurrence(day)? {
            When::Day(day) => Zone::utc().instant(day.at(0, 0, 0, 0)),
            When::At(at) => Some(at),
        };
        let left = days.into_iter().filter(|day| !cancelled.contains(day));
        Some(left.filter_map(|day| Some((day, begin(day)?.as_microsecond()))).collect())
    }

    /// The day of an instant, as the series counts.
    fn day(&self, at: Timestamp) -> Date {
        if self.all_day { calendar::day_of(at) } else { self.zone.local(at).date() }
    }

    /// The day that an exception was planned for, and when on it, if that is told.
    fn planned_for(&self, json: &Value) -> (Option<Date>, Option<Timestamp>) {
        let at = calendar::stamp(json, "originalStart");
        let told = text(json, &["occurrenceId"]).and_then(day_of);
        (told.or_else(|| at.map(|at| self.day(at))), at)
    }

    /// When an occurrence of this day begins.
    fn occurrence(&self, day: Date) -> Option<When> {
        match self.start {
            _ if self.all_day => Some(When::Day(day)),
            Some(start) => {
                let time = self.zone.local(start).time();
                self.zone.instant(day.to_datetime(time)).map(When::At)
            }
            None => None,
        }
    }
}

/// The day in the id of an occurrence: `OID.<id of the series>.2026-11-02`.
fn day_of(occurrence: &str) -> Option<Date> {
    occurrence.rsplit('.').next()?.parse().ok()
}

fn event(lines: &mut Lines, json: &Value, series: &Series, is_exception: bool, attached: &[Attached]) {
    let zone = &series.zone;
    lines.begin("VEVENT");
    let title = word(json, &["subject"]);
    calendar::common(lines, json, &series.uid, title);
    times(lines, json, zone);
    if is_exception {
        recurrence_id(lines, json, series);
    } else {
        recurrence(lines, json, series);
    }
    state(lines, json);
    places(lines, json);
    people(lines, json);
    calendar::body(lines, json, "");
    calendar::attach(lines, attached);
    if is(json, "isReminderOn")
        && let Some(minutes) = json.get("reminderMinutesBeforeStart").and_then(Value::as_i64)
    {
        let sign = if minutes > 0 { "-" } else { "" };
        calendar::alarm(lines, title, |lines| {
            lines.raw("TRIGGER", &[], &format!("{sign}PT{}M", minutes.unsigned_abs().min(10_000_000)));
        });
    }
    lines.end("VEVENT");
}

fn times(lines: &mut Lines, json: &Value, zone: &Zone) {
    let (start, end) = if is(json, "isAllDay") {
        let day = |key| calendar::civil(json, key).map(DateTime::date);
        let start = day("start");
        let next = start.and_then(|start| start.checked_add(1.day()).ok());
        let end = day("end").filter(|end| Some(*end) > start).or(next);
        (start.map(When::Day), end.map(When::Day))
    } else {
        let (start, end) = (calendar::instant(json, "start"), calendar::instant(json, "end"));
        (start.map(When::At), end.filter(|end| Some(*end) > start).map(When::At))
    };
    // RFC 5545 wants a start.
    calendar::when(lines, "DTSTART", start.unwrap_or(When::At(Timestamp::UNIX_EPOCH)), zone);
    if let Some(end) = end {
        calendar::when(lines, "DTEND", end, zone);
    }
}

fn recurrence(lines: &mut Lines, json: &Value, series: &Series) {
    let Some(recurrence) = calendar::recurrence(json) else { return };
    let until = if series.all_day { Until::Day } else { Until::In(&series.zone) };
    if let Some(rule) = rule::rrule(recurrence, until) {
        lines.raw("RRULE", &[], &rule);
    }
    for day in texts(json, "cancelledOccurrences").into_iter().filter_map(day_of) {
        if let Some(when) = series.occurrence(day) {
            calendar::when(lines, "EXDATE", when, &series.zone);
        }
    }
}

fn recurrence_id(lines: &mut Lines, json: &Value, series: &Series) {
    let when = match series.planned_for(json) {
        (Some(day), _) if series.all_day => Some(When::Day(day)),
        (_, Some(at)) => Some(When::At(at)),
        (Some(day), None) => series.occurrence(day),
        (None, None) => calendar::instant(json, "start").map(When::At),
    };
    if let Some(when) = when {
        calendar::when(lines, "RECURRENCE-ID", when, &series.zone);
    }
}

fn state(lines: &mut Lines, json: &Value) {
    let show = word(json, &["showAs"]);
    let status = match show {
        _ if is(json, "isCancelled") => "CANCELLED",
        "tentative" => "TENTATIVE",
        _ => "CONFIRMED",
    };
    lines.raw("STATUS", &[], status);
    lines.raw("TRANSP", &[], if show == "free" { "TRANSPARENT" } else { "OPAQUE" });
    let busy = match show {
        "free" => "FREE",
        "tentative" => "TENTATIVE",
        "oof" => "OOF",
        "workingElsewhere" => "WORKINGELSEWHERE",
        _ => "BUSY",
    };
    lines.raw("X-MICROSOFT-CDO-BUSYSTATUS", &[], busy);
    match word(json, &["sensitivity"]) {
        "private" | "personal" => lines.raw("CLASS", &[], "PRIVATE"),
        "confidential" => lines.raw("CLASS", &[], "CONFIDENTIAL"),
        _ => {}
    }
}

fn places(lines: &mut Lines, json: &Value) {
    let name = |place: &Value| word(place, &["displayName"]).trim().to_owned();
    let mut names: Vec<String> = list(json, "locations").iter().map(name).filter(|name| !name.is_empty()).collect();
    if names.is_empty() {
        names.extend(at(json, &["location"]).map(name));
    }
    lines.text("LOCATION", &names.join("; "));
    let coordinate =
        |key| at(json, &["location", "coordinates", key]).and_then(Value::as_f64).filter(|n| n.is_finite());
    if let (Some(latitude), Some(longitude)) = (coordinate("latitude"), coordinate("longitude")) {
        lines.raw("GEO", &[], &format!("{latitude:.6};{longitude:.6}"));
    }
    lines.uri("URL", &[], word(json, &["webLink"]));
    let meeting = [&["onlineMeeting", "joinUrl"][..], &["onlineMeetingUrl"]];
    if let Some(meeting) = meeting.iter().find_map(|path| text(json, path)).filter(|url| !url.is_empty()) {
        lines.uri("CONFERENCE", &[("VALUE", "URI"), ("FEATURE", "AUDIO,VIDEO")], meeting);
        lines.uri("X-MICROSOFT-SKYPETEAMSMEETINGURL", &[], meeting);
    }
}

fn people(lines: &mut Lines, json: &Value) {
    let organizer = word(json, &["organizer", "emailAddress", "address"]);
    let attendees = list(json, "attendees");
    // What nobody was asked to has no organiser (RFC 5545, section 3.8.4.3).
    if !organizer.is_empty() && !attendees.is_empty() {
        let name = word(json, &["organizer", "emailAddress", "name"]);
        lines.raw("ORGANIZER", &[("CN", if name.is_empty() { organizer } else { name })], &mailto(organizer));
    }
    let rsvp = if is(json, "responseRequested") { "TRUE" } else { "FALSE" };
    for attendee in attendees {
        let address = word(attendee, &["emailAddress", "address"]);
        let name = word(attendee, &["emailAddress", "name"]);
        if address.is_empty() && name.is_empty() {
            continue;
        }
        let (kind, role) = match word(attendee, &["type"]) {
            "optional" => ("INDIVIDUAL", "OPT-PARTICIPANT"),
            "resource" => ("RESOURCE", "NON-PARTICIPANT"),
            _ => ("INDIVIDUAL", "REQ-PARTICIPANT"),
        };
        let answer = match word(attendee, &["status", "response"]) {
            "accepted" | "organizer" => "ACCEPTED",
            "declined" => "DECLINED",
            "tentativelyAccepted" => "TENTATIVE",
            _ => "NEEDS-ACTION",
        };
        let shown = if name.is_empty() { address } else { name };
        let address = if address.is_empty() { "invalid:nomail".to_owned() } else { mailto(address) };
        let params = [("CN", shown), ("CUTYPE", kind), ("ROLE", role), ("PARTSTAT", answer), ("RSVP", rsvp)];
        lines.raw("ATTENDEE", &params, &address);
    }
}

#[cfg(test)]
pub(super) fn planned(json: &Value, between: (Timestamp, Timestamp)) -> Vec<Timestamp> {
    let between = (between.0.as_microsecond(), between.1.as_microsecond());
    let planned = Series::of(json, "id").planned(json, between).unwrap_or_default();
    planned.into_iter().filter_map(|(_, us)| Timestamp::from_microsecond(us).ok()).collect()
}

#[cfg(test)]
pub(super) fn written(json: &Value, exceptions: &[Value]) -> String {
    let series = Series::of(json, "id");
    let mut lines = Lines::default();
    calendar::begin(&mut lines);
    series.write_zone(&mut lines, json);
    event(&mut lines, json, &series, false, &[]);
    exceptions.iter().for_each(|exception| event(&mut lines, exception, &series, true, &[]));
    lines.end("VCALENDAR");
    String::from_utf8_lossy(&lines.finish()).into_owned()
}
