//! Calendars: what a mailbox has of them, and what a day brings.

use super::content::{Blob, Texture};
use super::letter::Cast;
use super::options::SimOptions;
use super::rng::{Rng, hash};
use super::shelf::{self, Kind, Shelf, TOP};
use super::{calendar_json, times};

/// A group of calendars.
pub(super) static GROUP: Kind =
    Kind { name: "calendarGroup", id: shelf::exchange_id, json: calendar_json::group, content: shelf::nothing };
/// A calendar.
pub(super) static CALENDAR: Kind =
    Kind { name: "calendar", id: shelf::exchange_id, json: calendar_json::calendar, content: shelf::nothing };
/// Somebody a calendar is shared with.
pub(super) static PERMISSION: Kind = Kind {
    name: "calendarPermission",
    id: calendar_json::permission_id,
    json: calendar_json::permission,
    content: shelf::nothing,
};
/// A single event or the master of a series; below a master: an exception.
pub(super) static EVENT: Kind =
    Kind { name: "event", id: calendar_json::event_id, json: calendar_json::event, content: shelf::nothing };
/// An attachment of an event.
pub(super) static ATTACHMENT: Kind =
    Kind { name: "attachment", id: shelf::exchange_id, json: calendar_json::attachment, content: bytes };

/// What a calendar is, in the low bits of its mark; its owner (a person of the cast) above them.
pub(super) mod calendars {
    pub(in crate::sim) const DEFAULT: u32 = 0;
    pub(in crate::sim) const OWN: u32 = 1;
    /// Made by the service; cannot be shared.
    pub(in crate::sim) const BIRTHDAYS: u32 = 2;
    /// Somebody else's.
    pub(in crate::sim) const SHARED: u32 = 3;
}

/// What an event is, in the low bits of its mark. Above them: of a series, how many occurrences are cancelled; of an
/// exception, which occurrence it is.
pub(super) mod events {
    pub(in crate::sim) const SINGLE: u32 = 0;
    pub(in crate::sim) const SERIES: u32 = 1;
    pub(in crate::sim) const ENDLESS: u32 = 2;
    pub(in crate::sim) const ALL_DAY: u32 = 3;
    pub(in crate::sim) const NOBODY: u32 = 4;
    pub(in crate::sim) const ANCIENT: u32 = 5;
    pub(in crate::sim) const CANCELLED: u32 = 6;
    pub(in crate::sim) const EXCEPTION: u32 = 7;
}

/// What an attachment is.
pub(super) mod attachments {
    pub(in crate::sim) const FILE: u32 = 0;
    pub(in crate::sim) const ITEM: u32 = 1;
    pub(in crate::sim) const REFERENCE: u32 = 2;
    pub(in crate::sim) const INLINE: u32 = 3;
    pub(in crate::sim) const EMPTY: u32 = 4;
}

pub(super) fn kind_of(mark: u32) -> u32 {
    mark & 0xff
}

pub(super) fn above(mark: u32) -> u32 {
    mark >> 8
}

pub(super) fn is_series(shelf: &Shelf, number: u32) -> bool {
    matches!(kind_of(shelf.thing(number).mark), events::SERIES | events::ENDLESS)
}

/// Fills the calendars of a mailbox; `owner` and `people` by their places in the cast.
pub(super) fn populate(options: &SimOptions, seed: u64, owner: u32, people: u32) -> Shelf {
    let mut shelf = Shelf::new(hash(seed, &[0xca1]));
    let mut rng = Rng::new(shelf.seed, &[1]);
    let born = times::EPOCH - 700 * times::DAY;
    let groups: Vec<u32> = (0..3).map(|i| shelf.add(&GROUP, TOP, born + i, 0)).collect();
    let mut add = |kind: u32, group: usize, owner: u32| shelf.add(&CALENDAR, groups[group], born, owner << 8 | kind);
    let mut own = vec![add(calendars::DEFAULT, 0, owner)];
    own.push(add(calendars::OWN, 0, owner));
    own.push(add(calendars::OWN, 1, owner));
    add(calendars::BIRTHDAYS, 1, owner);
    let shared = add(calendars::SHARED, 2, (owner + 1) % people.max(1));
    for calendar in &own {
        for _ in 0..1 + rng.below(3) {
            shelf.add(&PERMISSION, *calendar, born, 0);
        }
    }
    for n in 0..options.events {
        let calendar = if rng.chance(0.6) { own[0] } else { own[rng.index(own.len())] };
        let age = (rng.unit() * 400.0 * times::DAY as f64) as i64;
        // One of each kind at first.
        let kind = if n < 7 { n } else { common_kind(&mut rng) };
        let event = shelf.add(&EVENT, calendar, times::EPOCH - 60 - age, kind);
        if n < 5 {
            attach(&mut shelf, event, n);
        } else if rng.chance(0.15) {
            attach(&mut shelf, event, rng.below(5) as u32);
        }
        if is_series(&shelf, event) && rng.chance(0.8) {
            cancel(&mut shelf, event);
            let exception = except(&mut shelf, event, times::EPOCH - 60);
            if rng.chance(0.5) || n < 7 {
                attach(&mut shelf, exception, attachments::FILE);
            }
        }
    }
    for n in 0..options.shared_events {
        shelf.add(&EVENT, shared, times::EPOCH - 3_600 * i64::from(n + 1), 0);
    }
    shelf.begin();
    shelf
}

/// Fills the calendar of a group: a few events, one of them a series.
pub(super) fn of_group(seed: u64) -> Shelf {
    let mut shelf = Shelf::new(hash(seed, &[0xca1, 0x6709]));
    let born = times::EPOCH - 90 * times::DAY;
    let calendar = shelf.add(&CALENDAR, TOP, born, calendars::DEFAULT);
    for kind in [events::SINGLE, events::SERIES, events::ALL_DAY] {
        shelf.add(&EVENT, calendar, born + i64::from(kind), kind);
    }
    shelf.begin();
    shelf
}

fn common_kind(rng: &mut Rng) -> u32 {
    match rng.below(10) {
        0 => events::ALL_DAY,
        1 => events::SERIES,
        2 => events::ENDLESS,
        3 => events::CANCELLED,
        _ => events::SINGLE,
    }
}

fn attach(shelf: &mut Shelf, event: u32, kind: u32) {
    let created = shelf.thing(event).changed;
    shelf.add(&ATTACHMENT, event, created, kind);
}

/// Cancels the next occurrence of a series.
fn cancel(shelf: &mut Shelf, series: u32) {
    shelf.things[series as usize].mark += 1 << 8;
}

/// Changes an occurrence of a series that is as planned so far.
fn except(shelf: &mut Shelf, series: u32, now: i64) -> u32 {
    let all = shelf.things.iter().filter(|thing| thing.kind.name == EVENT.name && thing.parent == series);
    // Exceptions are even occurrences, cancelled ones odd.
    let index = 2 + 2 * all.count() as u32;
    shelf.add(&EVENT, series, now, index << 8 | events::EXCEPTION)
}

/// Edits an event; what is changed of an exception is changed of its series.
fn edit(shelf: &mut Shelf, event: u32, now: i64) {
    shelf.edit(event, now);
    if kind_of(shelf.thing(event).mark) == events::EXCEPTION {
        shelf.edit(shelf.thing(event).parent, now);
    }
}

/// What a day brings.
pub(super) fn day(shelf: &mut Shelf, options: &SimOptions, now: i64, rng: &mut Rng) {
    let number = options.script.others;
    if number == 0 {
        return;
    }
    let own = |shelf: &Shelf, rng: &mut Rng| {
        let all = shelf.all(&CALENDAR).filter(|n| kind_of(shelf.thing(*n).mark) <= calendars::OWN);
        let all: Vec<u32> = all.collect();
        all[rng.index(all.len())]
    };
    for _ in 0..number {
        let calendar = own(shelf, rng);
        let kind = common_kind(rng);
        let new = shelf.add(&EVENT, calendar, now - 60, kind);
        if rng.chance(0.4) {
            attach(shelf, new, rng.below(5) as u32);
        }
        if let Some(event) = shelf.any(&EVENT, rng) {
            edit(shelf, event, now);
        }
        if let Some(event) = shelf.any(&EVENT, rng) {
            attach(shelf, event, rng.below(5) as u32);
            edit(shelf, event, now);
        }
    }
    for _ in 0..number.div_ceil(2) {
        series_day(shelf, now, rng);
        let plain = |shelf: &Shelf, number: u32| kind_of(shelf.thing(number).mark) != events::EXCEPTION;
        if let Some(event) = shelf.any(&EVENT, rng).filter(|event| plain(shelf, *event)) {
            let calendar = own(shelf, rng);
            shelf.relocate(event, calendar, now);
        }
        if let Some(event) = shelf.any(&EVENT, rng) {
            if plain(shelf, event) {
                shelf.delete(event);
            } else {
                // An exception that is cancelled.
                let series = shelf.thing(event).parent;
                shelf.delete(event);
                cancel(shelf, series);
                shelf.edit(series, now);
            }
        }
        if let Some(attachment) = shelf.any(&ATTACHMENT, rng) {
            let event = shelf.thing(attachment).parent;
            shelf.delete(attachment);
            edit(shelf, event, now);
        }
        calendars_day(shelf, own(shelf, rng), now, rng);
    }
}

fn series_day(shelf: &mut Shelf, now: i64, rng: &mut Rng) {
    let all: Vec<u32> = shelf.all(&EVENT).filter(|number| is_series(shelf, *number)).collect();
    if all.is_empty() {
        return;
    }
    let series = all[rng.index(all.len())];
    if rng.chance(0.5) {
        cancel(shelf, series);
    } else {
        let exception = except(shelf, series, now);
        attach(shelf, exception, rng.below(5) as u32);
    }
    shelf.edit(series, now);
}

/// A calendar is shared, renamed, moved to another group, made or deleted.
fn calendars_day(shelf: &mut Shelf, calendar: u32, now: i64, rng: &mut Rng) {
    match rng.below(5) {
        0 => {
            shelf.add(&PERMISSION, calendar, now, 0);
            shelf.edit(calendar, now);
        }
        1 => {
            if let Some(permission) = shelf.any(&PERMISSION, rng) {
                let calendar = shelf.thing(permission).parent;
                shelf.delete(permission);
                shelf.edit(calendar, now);
            }
        }
        2 => {
            if let Some(group) = shelf.any(&GROUP, rng) {
                shelf.relocate(calendar, group, now);
            }
        }
        3 => {
            let group = shelf.thing(calendar).parent;
            let owner = above(shelf.thing(calendar).mark);
            let new = shelf.add(&CALENDAR, group, now, owner << 8 | calendars::OWN);
            shelf.add(&EVENT, new, now, events::SINGLE);
            shelf.add(&PERMISSION, new, now, 0);
        }
        _ if kind_of(shelf.thing(calendar).mark) == calendars::OWN && rng.chance(0.5) => shelf.delete(calendar),
        _ => shelf.edit(calendar, now),
    }
}

fn bytes(_: &Cast, shelf: &Shelf, number: u32) -> Option<Blob> {
    let thing = shelf.thing(number);
    match thing.mark {
        attachments::REFERENCE => None,
        attachments::EMPTY => Some(Blob::new(Texture::Text, 0, 0)),
        attachments::ITEM => Some(Blob::new(Texture::Text, thing.seed, 900 + thing.seed % 2_000)),
        _ => Some(Blob::new(Texture::Mixed, thing.seed, 300 + thing.seed % 9_000)),
    }
}
