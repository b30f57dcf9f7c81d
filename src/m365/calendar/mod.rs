//! Calendars of a mailbox: their groups, who they are shared with, events with exceptions and attachments.
//!
//! How events are read. `calendars/{id}/events/delta` tells what changed of a whole calendar: single events and masters
//! of series. It is asked in v1.0; where that does not know it, in beta; where it fails with 503 at any size of page, or as
//! the mailbox is full, the calendar is listed plainly. What worked is remembered for some readings. `calendarView/delta` was not
//! taken: its window is frozen into the link, so that a series without end never fits, it calls an event `@removed` that
//! merely left the window, and it tells every occurrence of a series, each as long as its master.
//!
//! Occurrences are computed by whoever shows a calendar; what is kept of a series is the master, the occurrences that were
//! changed (each an event of its own below the master) and the list of those that were cancelled. The last two come from
//! asking for the master by itself, which is done when its change key is new: in Exchange an exception is a part of the
//! master's item, so that none changes without it.
//!
//! Calendars of others that the user may see are read at their owners, if the backup can read these; here only the entry of the
//! calendar is kept then. Those of anybody else are read here, as far as the user may see them. Which
//! group a calendar is in, and whom it is shared with, hang on no delta: they are read when the entry of the calendar or
//! group changed, and at every seventh reading in any case.
//!
//! Source: Microsoft Graph, "List calendars", "List calendarGroups", "event: delta", "Get event" (exceptions), "List
//! attachments", "List calendarPermissions".

mod api;
mod body;
mod events;
pub(super) mod group;
mod model;
pub(super) mod restore;
mod series;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use serde_json::Value;

use super::door::{Owner, Workload};
use super::facts::{flag, short_hash, text};
use super::walk::{Source, Walk, Walked, id_of};
use crate::error::Result;
use crate::format::record::{ItemKind, Record};
use crate::graph::{Client, GraphRequest};
use api::Api;
pub(crate) use model::is_series;

/// The cursor that counts readings.
const TURN: &str = "turn";
/// The cursor that tells whether calendars and groups are those of last time.
const PLACES: &str = "places";
/// What hangs on no delta is read at every so many readings.
const LOOK_AGAIN: u32 = 7;
/// A way of reading that is second best is given up after so many readings, and the best tried again.
const TRY_AGAIN: u32 = 28;

/// Addresses of people whose calendars are read at themselves, in small letters, and whose each is. Known once all people were
/// looked at: of whom nothing can be read, others' views are read.
pub(super) type Addresses = Arc<OnceLock<HashMap<String, String>>>;

/// Names the calendars of a user; `at_owners`: whose calendars are not read here, though the user may see them.
pub(super) fn calendar(client: Client, user_id: &str, user_name: &str, at_owners: Addresses) -> Walked<Calendar> {
    let source = Calendar { api: Api::new(client.clone(), user_id), user: user_id.to_owned(), at_owners };
    Walked::new(client, Owner::User(user_id.to_owned()), user_name, Workload::Calendar, source)
}

/// The ids of a user's own calendars.
///
/// # Errors
/// Graph's.
pub(super) async fn own_calendars(client: &Client, user: &str) -> Result<Vec<String>> {
    let rows = Api::new(client.clone(), user).calendars().await?;
    let address = address_of(&rows);
    let own = rows.iter().filter(|row| model::owner_if_other(row, &address).is_none());
    Ok(own.filter_map(id_of).map(str::to_owned).collect())
}

/// The address of the mailbox, as calendars spell it.
fn address_of(calendars: &[Value]) -> String {
    let default = calendars.iter().find(|row| flag(row, &["isDefaultCalendar"]) == Some(true));
    default.and_then(|row| text(row, &["owner", "address"])).unwrap_or_default().to_owned()
}

/// The calendars of one mailbox.
pub(super) struct Calendar {
    api: Api,
    user: String,
    at_owners: Addresses,
}

/// A calendar of the mailbox.
struct Place {
    id: String,
    name: String,
    /// Its events are read here.
    here: bool,
    can_share: bool,
    /// Its entry is new or changed, or it could not be read last time.
    changed: bool,
}

#[async_trait]
impl Source for Calendar {
    async fn walk(&self, walk: &mut Walk<'_>) -> Result<()> {
        let turn: u32 = walk.before.get(TURN).and_then(|turn| turn.parse().ok()).unwrap_or(0);
        walk.cursors.set(TURN, (turn.wrapping_add(1) % TRY_AGAIN).to_string());
        for place in self.places(walk, turn).await?.iter().filter(|place| place.here) {
            let incremental = self.events(walk, place, turn == 0).await?;
            let due = place.changed || !incremental || turn.is_multiple_of(LOOK_AGAIN);
            if due || walk.must_list(&model::sharing_of(&place.id)) {
                self.sharing(walk, place, incremental).await?;
            }
        }
        self.left_over(walk).await
    }

    fn contents(&self, record: &Record) -> Option<GraphRequest> {
        let attachment = model::attachment_in(record)?;
        Some(self.api.contents(&record.parent, attachment))
    }
}

impl Calendar {
    /// Tells the groups and the calendars.
    async fn places(&self, walk: &mut Walk<'_>, turn: u32) -> Result<Vec<Place>> {
        let mut seen = HashSet::new();
        let (calendars, groups) = futures::join!(self.api.calendars(), self.api.groups());
        let mut calendars = calendars?;
        calendars.retain(|row| id_of(row).is_some_and(|id| seen.insert(id.to_owned())));
        let groups = self.groups(walk, groups).await?;
        let parents = self.parents(walk, turn, &calendars, &groups).await?;
        let address = address_of(&calendars);
        let mut places = Vec::new();
        for row in calendars {
            let id = id_of(&row).unwrap_or_default().to_owned();
            let of_user = |address: &str| self.at_owners.get()?.get(&address.to_lowercase()).map(String::as_str);
            let other =
                model::owner_if_other(&row, &address).filter(|owner| of_user(owner) != Some(self.user.as_str()));
            let other = other.map(str::to_owned);
            // Whom others share a calendar with is their affair.
            let can_share = other.is_none() && flag(&row, &["canShare"]) != Some(false);
            let here = other.as_ref().is_none_or(|owner| of_user(owner).is_none());
            let parent = parents.get(&id).map_or("", String::as_str);
            let told = model::calendar(row, &id, parent, other.as_deref().unwrap_or_default());
            let name = told.record.name.clone();
            let changed = walk.put(told).await?;
            places.push(Place { id, name, here, can_share, changed });
        }
        Ok(places)
    }

    /// Tells the groups of calendars; those that cannot be listed stay as they are known.
    async fn groups(&self, walk: &mut Walk<'_>, groups: Result<Vec<Value>>) -> Result<Vec<Value>> {
        let rows = match groups {
            Ok(rows) => rows,
            Err(error) => {
                for id in walk.known_below("").await? {
                    if walk.known(&id).await?.is_some_and(|known| known.kind == ItemKind::CalendarGroup) {
                        walk.keep(&id).await?;
                        walk.unchanged_below(&id);
                    }
                }
                walk.gap(model::GROUPS, "Groups of calendars", ItemKind::CalendarGroup, error).await?;
                return Ok(Vec::new());
            }
        };
        walk.was_read(model::GROUPS);
        for row in &rows {
            if let Some(told) = model::group(row.clone()) {
                walk.put(told).await?;
            }
        }
        Ok(rows)
    }

    /// Finds out which group each calendar is in: as known, unless something about either is new.
    async fn parents(
        &self,
        walk: &mut Walk<'_>,
        turn: u32,
        calendars: &[Value],
        groups: &[Value],
    ) -> Result<HashMap<String, String>> {
        let marks = calendars.iter().chain(groups).flat_map(|row| [row.get("id"), row.get("changeKey")]);
        let print = short_hash(marks);
        let mut parents = HashMap::new();
        for id in calendars.iter().filter_map(id_of) {
            if let Some(known) = walk.known(id).await? {
                parents.insert(id.to_owned(), known.parent);
            }
        }
        if let [group] = groups {
            let group = id_of(group).unwrap_or_default();
            return Ok(calendars.iter().filter_map(id_of).map(|id| (id.to_owned(), group.to_owned())).collect());
        }
        if walk.before.get(PLACES) == Some(&print) && !turn.is_multiple_of(LOOK_AGAIN) {
            walk.cursors.set(PLACES, print);
            return Ok(parents);
        }
        let mut all_told = !groups.is_empty();
        for group in groups.iter().filter_map(id_of) {
            match self.api.calendars_in(group).await {
                Ok(rows) => {
                    let inside = rows.iter().filter_map(id_of);
                    parents.extend(inside.map(|id| (id.to_owned(), group.to_owned())));
                }
                Err(error) => {
                    all_told = false;
                    let name = walk.known(group).await?.map(|known| known.name).unwrap_or_default();
                    walk.gap(group, &name, ItemKind::CalendarGroup, error).await?;
                }
            }
        }
        if all_told {
            let there: BTreeSet<&str> = groups.iter().filter_map(id_of).collect();
            parents.retain(|_, parent| there.contains(parent.as_str()));
            walk.cursors.set(PLACES, print);
        }
        Ok(parents)
    }

    /// Tells whom a calendar is shared with. Where the events told only what changed, who is no longer there must be found
    /// by comparing.
    async fn sharing(&self, walk: &mut Walk<'_>, place: &Place, incremental: bool) -> Result<()> {
        let whole = model::sharing_of(&place.id);
        let rows = if place.can_share { self.api.permissions(&place.id).await } else { Ok(Vec::new()) };
        let rows = match rows {
            Ok(rows) => rows,
            Err(error) => {
                let name = format!("Sharing of {}", place.name);
                return walk.gap_of_list(&place.id, &whole, &name, ItemKind::Permission, error).await;
            }
        };
        let mut told = HashSet::new();
        for permission in rows.into_iter().filter_map(|row| model::permission(row, &place.id)) {
            told.insert(permission.record.id.clone());
            walk.put(permission).await?;
        }
        walk.was_read(&whole);
        if incremental {
            let known = walk.known_below(&place.id).await?;
            known.iter().filter(|id| id.starts_with(&whole) && !told.contains(*id)).for_each(|id| walk.removed(id));
        }
        Ok(())
    }
}
