//! Calendars go back: groups, calendars, events with their attachments, series with their exceptions.
//!
//! **Nobody is invited.** Whoever posts an event with attendees makes Exchange send them mail, and v1.0 has no way to say
//! otherwise: attendees are noted at the end of the text instead. An event of the target that has attendees is neither changed
//! nor deleted, which would send mail as well.
//!
//! Times are kept in UTC and sent in the event's own zone, so that a series goes with its clocks. Source: Microsoft Graph,
//! "Create event", "List instances", "Update event", "Delete event", "Create calendar".

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{body, model, series};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{ItemKind, PARTS, Record};
use crate::graph::Scope;
use crate::graph::links::segment;
use crate::m365::door::Workload;
use crate::m365::facts::{at, text};
use crate::m365::restore::attachments::{self, ATTACHMENTS, Form, attach};
use crate::m365::restore::mailbox::Mailbox;
use crate::m365::restore::{Cost, Extras, Fit, Found, Made, Order, Present, Since, Source, Target, Undo, rows};
use crate::m365::walk::id_of;

/// The calendars of a mailbox.
pub(in crate::m365) struct Calendars(pub(in crate::m365) Mailbox);

/// The part of an event that tells in which calendar it was made.
const CALENDAR: &str = "calendar";
/// How often another name is tried for a calendar whose name is taken.
const NAMES: u32 = 20;

#[async_trait]
impl Target for Calendars {
    fn workload(&self) -> Workload {
        Workload::Calendar
    }

    fn path(&self) -> &str {
        self.0.path()
    }

    fn scope(&self) -> Scope {
        self.0.scope()
    }

    fn permission(&self) -> &'static str {
        "Calendars.ReadWrite"
    }

    async fn probe(&self) -> Result<()> {
        self.0.client.get_page(self.0.get("calendars?$top=1")).await.map(drop)
    }

    fn fit(&self, record: &Record) -> Fit {
        match record.kind {
            ItemKind::Calendar if record.fact("shared_by").is_some() => {
                Fit::Cannot("it is somebody else's calendar, and is restored at its owner".to_owned())
            }
            ItemKind::CalendarGroup | ItemKind::Calendar => Fit::Takes(Cost { requests: 1, units: 1, bytes: 200 }),
            ItemKind::Event => {
                let parts = record.fact(PARTS).and_then(|parts| parts.parse().ok()).unwrap_or(0u64);
                let requests = 1 + 2 * parts;
                Fit::Takes(Cost { requests, units: requests, bytes: 3_000 })
            }
            ItemKind::Permission => {
                Fit::Cannot("whom a calendar is shared with is not restored: sharing it sends mail".to_owned())
            }
            kind => Fit::Cannot(format!("a {} goes with its event", kind.word())),
        }
    }

    async fn further(&self, record: &Record, _: Extras, source: &dyn Source) -> Result<Cost> {
        attachments::cost(record, Form::Event, source).await
    }

    fn melts(&self, kind: ItemKind) -> bool {
        kind == ItemKind::CalendarGroup
    }

    fn names_of(&self, kind: ItemKind, name: &str) -> Vec<String> {
        let last = if kind == ItemKind::Calendar { NAMES } else { 1 };
        (1..=last).map(|n| numbered(name, n)).collect()
    }

    fn stays(&self, record: &Record) -> Option<&'static str> {
        model::is_series(record).then_some("it is there already: the exceptions of a series cannot be put back")
    }

    fn identity(&self, record: &Record) -> String {
        match record.kind {
            ItemKind::Calendar if record.fact("default").is_some() => "\ndefault".to_owned(),
            ItemKind::Event => format!("{}\n{}", record.name, record.sort_us.unwrap_or_default()),
            _ => record.name.to_lowercase(),
        }
    }

    fn state(&self, _: &Record) -> String {
        String::new()
    }

    async fn present(&self, parent: &str) -> Result<Vec<Present>> {
        let client = &self.0.client;
        let told: Vec<_> = if parent.is_empty() {
            let groups = client.get_all(self.0.get("calendarGroups?$top=250")).await?;
            groups.into_iter().filter_map(model::group).collect()
        } else {
            match self.calendars_in(parent).await {
                Ok(calendars) => calendars.into_iter().filter_map(|row| calendar(row, parent)).collect(),
                Err(error) if rows::is_gone(&error) => {
                    let url = format!("calendars/{}/events?$top=100", segment(parent));
                    let events = client.get_all(series::in_utc(self.0.get(&url))).await?;
                    events.into_iter().filter_map(|row| model::event(row, parent, 0)).collect()
                }
                Err(error) => return Err(error),
            }
        };
        Ok(told.into_iter().map(|told| rows::present(self, told)).collect())
    }

    async fn create_top(&self, name: &str) -> Result<Made> {
        let answer = self.0.client.send(self.0.post("calendarGroups", &json!({"name": name}))).await?;
        Ok(Made::new(ItemKind::CalendarGroup, rows::new_id(&answer)?, ""))
    }

    async fn find_top(&self, name: &str) -> Result<Option<Made>> {
        let found = self.present("").await?.into_iter().find(|group| group.identity == name.to_lowercase());
        Ok(found.map(|group| Made::new(ItemKind::CalendarGroup, group.id, "")))
    }

    async fn create(&self, order: Order<'_>, source: &dyn Source) -> Result<Made> {
        match order.record.kind {
            // Groups do not nest: what was in one comes into the one that is there.
            ItemKind::CalendarGroup if !order.parent.is_empty() => {
                Ok(Made { id: order.parent.to_owned(), ..Made::default() })
            }
            ItemKind::CalendarGroup => self.create_top(order.name).await,
            ItemKind::Calendar => self.create_calendar(order, source).await,
            ItemKind::Event => self.create_event(order, source).await,
            kind => Err(rows::no_place(kind)),
        }
    }

    async fn overwrite(&self, present: &str, order: Order<'_>, source: &dyn Source) -> Result<Made> {
        if order.record.kind != ItemKind::Event {
            return Ok(Made { id: present.to_owned(), ..Made::default() });
        }
        let url = format!("events/{}", segment(present));
        let there = self.0.client.get_json(series::in_utc(self.0.get(&url))).await?;
        let cannot = |why: &str| {
            let text = format!("The event '{}' is not overwritten: {why}", order.record.name);
            Error::invalid(text).with_hint("Restore it as a copy, or into a calendar of its own")
        };
        if has_attendees(&there) {
            return Err(cannot("it has attendees, who would get mail"));
        }
        if at(&there, &["recurrence"]).is_some() || model::is_series(order.record) {
            return Err(cannot("the exceptions of a series cannot be put back"));
        }
        let before = Value::Object(body::whole(&there));
        let json = source.properties(order.record).await?;
        let undo = Undo::Values { kind: ItemKind::Event, id: present.to_owned(), before };
        let undo = order.log.note(undo).await?;
        let request = series::in_utc(self.0.patch(&url, &body::whole(&json).into()));
        let answer = self.0.client.send(request).await?;
        let mut made = Made { state: held(&answer), ..Made::over(present, undo) };
        let spare = self.match_attachments(&url, (order.record, true), source, &mut made).await?;
        // Nobody could put them back.
        let names = spare.iter().filter_map(|row| text(row, &["name"]));
        made.notes.extend(names.map(|name| format!("the attachment '{name}' is not in the snapshot, and stays")));
        Ok(made)
    }

    async fn changed_us(&self, present: &str, _: &str) -> Result<Option<i64>> {
        rows::changed_us(&self.0.client, self.0.get(&format!("events/{}", segment(present)))).await
    }

    async fn find(&self, order: Order<'_>, _: &dyn Source) -> Result<Found> {
        match order.record.kind {
            ItemKind::CalendarGroup if !order.parent.is_empty() => {
                Ok(Found::Whole(Made { id: order.parent.to_owned(), ..Made::default() }))
            }
            ItemKind::CalendarGroup => Ok(self.find_top(order.name).await?.map_or(Found::Nothing, Found::Whole)),
            ItemKind::Calendar => {
                let names = self.names_of(ItemKind::Calendar, order.name);
                let there = self.present(order.parent).await?;
                let same = |name: &String| there.iter().find(|calendar| calendar.identity == name.to_lowercase());
                let found = names.iter().find_map(same);
                Ok(found.map_or(Found::Nothing, |calendar| {
                    Found::Whole(Made::new(ItemKind::Calendar, calendar.id.clone(), order.parent))
                }))
            }
            _ => {
                let made = |id| Found::Part(Made::new(ItemKind::Event, id, order.parent));
                let mut calendars = vec![order.parent.to_owned()];
                if let Ok(rows) = self.calendars_in(order.parent).await {
                    calendars = rows.iter().filter_map(id_of).map(str::to_owned).collect();
                }
                for calendar in calendars {
                    let list = format!("calendars/{}/events", segment(&calendar));
                    if let Some(id) = self.0.marked_in(&list, order.mark).await? {
                        return Ok(made(id));
                    }
                }
                Ok(Found::Nothing)
            }
        }
    }

    async fn was_changed(&self, undo: &Undo, since: Since<'_>) -> Result<bool> {
        let (Undo::Delete { kind: ItemKind::Event, id, .. } | Undo::Values { id, .. }) = undo else { return Ok(false) };
        let request = series::in_utc(self.0.get(&format!("events/{}", segment(id))));
        let differs = rows::differs(&self.0.client, request, since, held).await?;
        // Undo gives back values wherever the event lies, and leaves attachments.
        if differs || matches!(undo, Undo::Values { .. }) {
            return Ok(differs);
        }
        let url = format!("events/{}", segment(id));
        let attached = attachments::state(&self.0, &url, Form::Event);
        Ok(rows::part_differs(since.of(CALENDAR), self.lies_in(&url)).await?
            || rows::part_differs(since.of(ATTACHMENTS), attached).await?)
    }

    async fn undo(&self, undo: &Undo) -> Result<Option<String>> {
        match undo {
            Undo::Delete { kind, id, .. } => self.remove(*kind, id).await,
            Undo::Values { id, before, .. } => {
                let url = format!("events/{}", segment(id));
                match self.attended(&url).await? {
                    Some(why) => Ok(Some(why)),
                    None => rows::delete(&self.0.client, self.0.patch(&url, before)).await,
                }
            }
            other => Ok(rows::left(other)),
        }
    }
}

/// A calendar that is there.
fn calendar(row: Value, group: &str) -> Option<crate::m365::walk::Told> {
    let id = id_of(&row)?.to_owned();
    Some(model::calendar(row, &id, group, ""))
}

/// What an event holds; nothing, if nothing of it was told.
fn held(event: &Value) -> String {
    if id_of(event).is_none() { String::new() } else { rows::state_of(&body::event(event).into()) }
}

fn has_attendees(event: &Value) -> bool {
    at(event, &["attendees"]).and_then(Value::as_array).is_some_and(|all| !all.is_empty())
}

/// The n-th name that is tried.
fn numbered(name: &str, n: u32) -> String {
    if n == 1 { name.to_owned() } else { format!("{name} ({n})") }
}

impl Calendars {
    async fn calendars_in(&self, group: &str) -> Result<Vec<Value>> {
        let url = format!("calendarGroups/{}/calendars?$top=250", segment(group));
        self.0.client.get_all(self.0.get(&url)).await
    }

    /// The calendar that a group has for single events: one of its own name.
    async fn calendar_of(&self, group: &str) -> Result<Made> {
        let groups = self.0.client.get_all(self.0.get("calendarGroups?$top=250")).await?;
        let gone = || Error::not_found(format!("The group of calendars that was made in {} is gone", self.path()));
        let name = groups.iter().find(|row| id_of(row) == Some(group)).and_then(|row| text(row, &["name"]));
        let name = name.ok_or_else(gone)?;
        let mut tries = 0;
        loop {
            let there = self.calendars_in(group).await?;
            let found = there.iter().find(|row| text(row, &["name"]) == Some(name)).and_then(id_of);
            if let Some(id) = found {
                return Ok(Made { id: id.to_owned(), ..Made::default() });
            }
            let url = format!("calendarGroups/{}/calendars", segment(group));
            match self.0.client.send(self.0.post(&url, &json!({"name": name}))).await {
                Ok(answer) => return Ok(Made::new(ItemKind::Calendar, rows::new_id(&answer)?, group)),
                // Another event made it meanwhile.
                Err(error) if error.kind() == ErrorKind::AlreadyExists && tries < 2 => tries += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Makes a calendar; where its name is taken in the mailbox, with a number.
    async fn create_calendar(&self, order: Order<'_>, source: &dyn Source) -> Result<Made> {
        let json = source.properties(order.record).await?;
        let url = match order.parent {
            "" => "calendars".to_owned(),
            group => format!("calendarGroups/{}/calendars", segment(group)),
        };
        let mut n = 1;
        loop {
            let mut body = rows::settable(&json, &["color"]);
            body.insert("name".into(), numbered(order.name, n).into());
            match self.0.client.send(self.0.post(&url, &body.into())).await {
                Ok(answer) => return Ok(Made::new(ItemKind::Calendar, rows::new_id(&answer)?, order.parent)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists && n < NAMES => n += 1,
                Err(error) => return Err(error),
            }
        }
    }

    async fn create_event(&self, order: Order<'_>, source: &dyn Source) -> Result<Made> {
        let json = source.properties(order.record).await?;
        let mut body = body::event(&json);
        body.insert("subject".into(), order.name.into());
        body.insert("transactionId".into(), order.mark.into());
        let body = Mailbox::marked(body, order.mark);
        let list = |calendar: &str| format!("calendars/{}/events", segment(calendar));
        let (mut undo, mut made_in) = (Vec::new(), order.parent.to_owned());
        let below = source.below(order.record).await?;
        let post = |calendar: &str| series::in_utc(self.0.post(&list(calendar), &body));
        let answer = match self.0.client.send(post(order.parent)).await {
            // Events that are restored by themselves go to the top of a group, which holds calendars only.
            Err(error) if rows::is_gone(&error) => {
                let calendar = self.calendar_of(order.parent).await?;
                undo.extend(calendar.undo);
                made_in = calendar.id;
                self.0.client.send(post(&made_in)).await?
            }
            other => other?,
        };
        let id = rows::new_id(&answer)?;
        let mut made = Made::new(ItemKind::Event, id.clone(), order.parent);
        made.undo.splice(..0, undo);
        made.state = held(&answer);
        made.tell(CALENDAR, &made_in);
        if !below.is_empty() || model::is_series(order.record) {
            rows::note(&made, order).await?;
        }
        let url = format!("events/{}", segment(&id));
        for part in below.iter().filter(|part| part.kind == ItemKind::Attachment) {
            attach(&self.0, &url, Form::Event, part, source, &mut made).await?;
        }
        let exceptions: Vec<&Record> = below.iter().filter(|part| part.kind == ItemKind::Event).collect();
        self.differences(&url, &json, &exceptions, source, &mut made).await?;
        let attached = match below.iter().any(|part| part.kind == ItemKind::Attachment) {
            true => attachments::state(&self.0, &url, Form::Event).await.unwrap_or_default(),
            false => attachments::no_state(),
        };
        made.tell(ATTACHMENTS, &attached);
        Ok(made)
    }

    /// The id of the calendar that an event lies in now.
    async fn lies_in(&self, event: &str) -> Result<String> {
        let calendar = self.0.client.get_json(self.0.get(&format!("{event}/calendar?$select=id"))).await?;
        Ok(id_of(&calendar).unwrap_or_default().to_owned())
    }

    /// Changes and cancels the occurrences of a series that were changed and cancelled.
    async fn differences(
        &self,
        url: &str,
        master: &Value,
        exceptions: &[&Record],
        source: &dyn Source,
        made: &mut Made,
    ) -> Result<()> {
        let mut changed = Vec::new();
        for record in exceptions {
            let json = source.properties(record).await?;
            match series::original_start(&json) {
                Some(at) => changed.push((at, *record, json)),
                None => made.notes.push(format!("the changed occurrence '{}' says not which it is", record.name)),
            }
        }
        let cancelled = series::cancelled(master);
        let Some(window) = series::window(changed.iter().map(|(at, ..)| *at), &cancelled) else { return Ok(()) };
        let list = format!("{url}/instances?{window}&$select=id,start,isAllDay&$top=250");
        let instances = self.0.client.get_all(series::in_utc(self.0.get(&list))).await?;
        let instances = series::Instances::of(&instances, master);
        for (at, record, json) in changed {
            let Some(instance) = instances.beginning(at) else {
                made.notes.push(format!("the changed occurrence '{}' has no place in the series", record.name));
                continue;
            };
            let place = format!("events/{}", segment(instance));
            let answer = self.0.client.send(self.0.patch(&place, &body::exception(&json).into())).await?;
            let place = format!("events/{}", segment(&rows::new_id(&answer)?));
            for id in self.match_attachments(&place, (record, false), source, made).await?.iter().filter_map(id_of) {
                let request = self.0.delete(&format!("{place}/attachments/{}", segment(id)));
                rows::delete(&self.0.client, request).await?;
            }
        }
        for date in cancelled {
            match instances.on(&date) {
                Some(instance) => {
                    let request = self.0.delete(&format!("events/{}", segment(instance)));
                    rows::delete(&self.0.client, request).await?;
                }
                None => made.notes.push(format!("the cancelled occurrence of {date} has no place in the series")),
            }
        }
        Ok(())
    }

    /// Gives an event the attachments that it should have, by their names: an exception has those of its series. Tells which it
    /// has besides; `is_old`: what it has may be another of the same name.
    async fn match_attachments(
        &self,
        url: &str,
        (record, is_old): (&Record, bool),
        source: &dyn Source,
        made: &mut Made,
    ) -> Result<Vec<Value>> {
        let below = source.below(record).await?;
        let wanted: Vec<&Record> = below.iter().filter(|part| part.kind == ItemKind::Attachment).collect();
        let list = format!("{url}/attachments?$select=id,name,size");
        let mut there = self.0.client.get_all(self.0.get(&list)).await?;
        for part in wanted {
            let same = |row: &Value| text(row, &["name"]) == Some(part.name.as_str());
            match there.iter().position(same) {
                Some(place) => {
                    let (row, json) = (there.swap_remove(place), source.properties(part).await?);
                    if is_old && at(&row, &["size"]) != at(&json, &["size"]) {
                        made.notes.push(format!("the attachment '{}' is there in another size, and stays", part.name));
                    }
                }
                None => attach(&self.0, url, Form::Event, part, source, made).await?,
            }
        }
        Ok(there)
    }

    /// The reason to leave an event alone: it has attendees by now. `None` if it is gone, too.
    async fn attended(&self, url: &str) -> Result<Option<String>> {
        match self.0.client.get_json(self.0.get(&format!("{url}?$select=id,attendees"))).await {
            Ok(event) if has_attendees(&event) => Ok(Some("it has attendees by now, who would get mail".to_owned())),
            Ok(_) => Ok(None),
            Err(error) if rows::is_gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes what was made: an event without attendees, a calendar or group with nothing in it.
    async fn remove(&self, kind: ItemKind, id: &str) -> Result<Option<String>> {
        let (url, list) = match kind {
            ItemKind::Event => (format!("events/{}", segment(id)), None),
            ItemKind::Calendar => (format!("calendars/{}", segment(id)), Some("events")),
            _ => (format!("calendarGroups/{}", segment(id)), Some("calendars")),
        };
        if let Some(list) = list {
            match self.0.is_empty(&format!("{url}/{list}")).await {
                Ok(true) => {}
                Ok(false) => return Ok(Some(rows::NOT_EMPTY.to_owned())),
                Err(error) if rows::is_gone(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
        } else if let Some(why) = self.attended(&url).await? {
            return Ok(Some(why));
        }
        rows::delete(&self.0.client, self.0.delete(&url)).await
    }
}
