//! The events of a calendar: what changed, then what hangs below it.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt;
use serde_json::Value;

use super::api::is_unknown_here;
use super::{Calendar, Place, model};
use crate::error::{Error, Result};
use crate::format::record::ItemKind;
use crate::graph::graph_error;
use crate::m365::facts::{short_hash, text};
use crate::m365::walk::{Row, Rows, Walk, bare, id_of};

/// Cursors of the events of a calendar begin with this, and end in the calendar's id.
const IN_CALENDAR: &str = "calendar:";
/// How those events were read last time.
const WAY: &str = "way:";
/// Requests at once for what hangs below events; the mailbox has four lanes for all.
const AT_ONCE: usize = 4;
/// What is to be asked for is kept in memory up to so many events.
const MOST_WAITING: usize = 200;

/// How the events of a calendar are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// By delta.
    Delta,
    /// By delta, as v1.0 does not know it.
    Beta,
    /// By delta, as larger pages fail.
    SmallPages,
    /// All of them, each time.
    Plain,
}

impl Way {
    const ALL: [(Self, &'static str); 4] =
        [(Self::Delta, "delta"), (Self::Beta, "beta"), (Self::SmallPages, "small"), (Self::Plain, "plain")];

    fn word(self) -> &'static str {
        Self::ALL.iter().find(|(way, _)| *way == self).map_or("", |(_, word)| word)
    }

    fn of(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, w)| *w == word).map(|(way, _)| *way)
    }

    /// The way to try after one that failed; `None`: another would fail as well.
    fn after(self, error: &Error) -> Option<Self> {
        let overloaded = graph_error(error).is_some_and(|answer| answer.status == 503 && answer.code.is_empty());
        match self {
            Self::Plain => None,
            _ if Rows::needs_plain_list(error) => Some(Self::Plain),
            Self::Delta if is_unknown_here(error) => Some(Self::Beta),
            Self::Delta | Self::Beta if overloaded => Some(Self::SmallPages),
            Self::Beta | Self::SmallPages if is_unknown_here(error) || overloaded => Some(Self::Plain),
            _ => None,
        }
    }
}

/// What is still to be asked for about the events of a calendar.
#[derive(Default)]
struct Waiting {
    /// Masters of series, with their row if one was told.
    series: BTreeMap<String, Option<Value>>,
    /// Events whose attachments are to be listed.
    attachments: BTreeSet<String>,
    /// Events whose attachments were listed, or are known and as they were.
    listed: BTreeSet<String>,
    unlisted: BTreeSet<String>,
    /// Everything is to be listed: nobody knows how far the last reading came.
    thorough: bool,
}

impl Waiting {
    /// Notes an event that was told.
    fn note(&mut self, id: &str, has_attachments: bool, changed: bool) {
        if has_attachments && (changed || self.thorough) {
            self.attachments.insert(id.to_owned());
        } else if has_attachments {
            self.unlisted.insert(id.to_owned());
        }
    }
}

impl Calendar {
    /// Tells the events of a calendar; says whether only what changed was told. `anew`: the best way is tried again.
    pub(super) async fn events(&self, walk: &mut Walk<'_>, place: &Place, anew: bool) -> Result<bool> {
        let (cursor, way_cursor) = (format!("{IN_CALENDAR}{}", place.id), format!("{WAY}{}", place.id));
        let way_before = walk.before.get(&way_cursor).and_then(Way::of);
        let linked = walk.before.get(&cursor).is_some_and(|link| !link.is_empty());
        let mut waiting = Waiting { thorough: !linked && way_before != Some(Way::Plain), ..Waiting::default() };
        let mut way = way_before.filter(|_| !anew).unwrap_or(Way::Delta);
        let told = self.changes(walk, place, &cursor, &mut way, &mut waiting).await;
        let broke_off = match told {
            Ok(rows) => match self.below(walk, &place.id, &mut waiting).await {
                Ok(()) => {
                    let incremental = rows.is_incremental();
                    rows.close(walk, &place.id);
                    walk.cursors.set(way_cursor, way.word());
                    return Ok(incremental);
                }
                Err(error) => error,
            },
            Err(error) => error,
        };
        walk.keep_cursor(&cursor);
        walk.keep_cursor(&way_cursor);
        walk.gap(&place.id, &place.name, ItemKind::Calendar, broke_off).await?;
        // What was told is in the snapshot, and will not be told as new again.
        self.below(walk, &place.id, &mut waiting).await?;
        Ok(true)
    }

    async fn changes(
        &self,
        walk: &mut Walk<'_>,
        place: &Place,
        cursor: &str,
        way: &mut Way,
        waiting: &mut Waiting,
    ) -> Result<Rows> {
        let mut rows = self.api.events(walk, *way, cursor, &place.id);
        loop {
            match rows.next(walk).await {
                Ok(Some(Row::There(row))) => self.tell(walk, row, &place.id, waiting).await?,
                Ok(Some(Row::Gone(id))) => gone(walk, &id, &place.id, waiting).await?,
                Ok(None) => return Ok(rows),
                Err(error) => {
                    *way = way.after(&error).ok_or(error)?;
                    rows = self.api.events(walk, *way, cursor, &place.id);
                }
            }
            if waiting.series.len() + waiting.attachments.len() > MOST_WAITING {
                self.ask(walk, &place.id, waiting).await?;
            }
        }
    }

    /// Tells one event of a calendar.
    async fn tell(&self, walk: &mut Walk<'_>, row: Value, calendar: &str, waiting: &mut Waiting) -> Result<()> {
        let Some(id) = id_of(&row).map(str::to_owned) else { return Ok(()) };
        match text(&row, &["type"]) {
            Some("occurrence" | "exception") => {
                // Told with its master, unless it is known as it is.
                let master = text(&row, &["seriesMasterId"]).map(str::to_owned);
                let version = short_hash([Some(&bare(row))]);
                let same = walk.known(&id).await?.is_some_and(|known| known.version == version);
                if let Some(master) = master.filter(|_| !same || waiting.thorough || walk.must_list(&id)) {
                    waiting.series.entry(master).or_default();
                }
            }
            Some(model::MASTER) => {
                let known = walk.known(&id).await?;
                let same = known.is_some_and(|known| {
                    known.parent == calendar && known.fact(model::CHANGE_KEY) == text(&row, &["changeKey"])
                });
                if same && !waiting.thorough && !walk.must_list(&id) {
                    walk.keep(&id).await?;
                    waiting.unlisted.insert(id);
                } else {
                    waiting.series.insert(id, Some(row));
                }
            }
            _ => {
                let has = model::has_attachments(&row);
                let Some(told) = model::event(row, calendar, usize::from(has)) else { return Ok(()) };
                let changed = walk.put(told).await?;
                waiting.note(&id, has, changed);
            }
        }
        Ok(())
    }

    /// Asks for all that is still to be asked for, to the end of a calendar.
    async fn below(&self, walk: &mut Walk<'_>, calendar: &str, waiting: &mut Waiting) -> Result<()> {
        self.ask(walk, calendar, waiting).await?;
        for id in waiting.unlisted.difference(&waiting.listed) {
            walk.unchanged_below(id);
        }
        Ok(())
    }

    async fn ask(&self, walk: &mut Walk<'_>, calendar: &str, waiting: &mut Waiting) -> Result<()> {
        let ids: Vec<String> = waiting.series.keys().cloned().collect();
        let mut answers = futures::stream::iter(ids)
            .map(|id| async move {
                let answer = self.api.series(&id).await;
                (id, answer)
            })
            .buffered(AT_ONCE);
        while let Some((id, answer)) = answers.next().await {
            let row = waiting.series.remove(&id).flatten();
            match answer {
                Ok(series) => self.tell_series(walk, series, calendar, waiting).await?,
                Err(error) => self.without_series(walk, &id, row, calendar, error).await?,
            }
        }
        let ids: Vec<String> = std::mem::take(&mut waiting.attachments).into_iter().collect();
        waiting.listed.extend(ids.iter().cloned());
        let mut answers = futures::stream::iter(ids)
            .map(|id| async move {
                let answer = self.api.attachments(&id).await;
                (id, answer)
            })
            .buffered(AT_ONCE);
        while let Some((id, answer)) = answers.next().await {
            match answer {
                Ok(rows) => {
                    for attachment in rows.into_iter().filter_map(|row| model::attachment(row, &id)) {
                        walk.put(attachment).await?;
                    }
                }
                Err(error) => walk.gap(&id, "An event and its attachments", ItemKind::Event, error).await?,
            }
        }
        Ok(())
    }

    /// Tells the master of a series, and its exceptions.
    async fn tell_series(
        &self,
        walk: &mut Walk<'_>,
        mut series: Value,
        calendar: &str,
        waiting: &mut Waiting,
    ) -> Result<()> {
        let Some(id) = id_of(&series).map(str::to_owned) else { return Ok(()) };
        let exceptions = model::take_exceptions(&mut series);
        let has = model::has_attachments(&series);
        let change_key = text(&series, &["changeKey"]).unwrap_or_default().to_owned();
        let Some(told) = model::event(series, calendar, usize::from(has) + exceptions.len()) else { return Ok(()) };
        walk.put(told.fact(model::CHANGE_KEY, &change_key)).await?;
        waiting.note(&id, has, true);
        for exception in exceptions {
            let has = model::has_attachments(&exception);
            let Some(told) = model::event(exception, &id, usize::from(has)) else { continue };
            let exception = told.record.id.clone();
            let changed = walk.put(told).await?;
            waiting.note(&exception, has, changed);
        }
        Ok(())
    }

    /// A master could not be asked for: what a list told of it is kept, and what hangs below it stays.
    async fn without_series(
        &self,
        walk: &mut Walk<'_>,
        id: &str,
        row: Option<Value>,
        calendar: &str,
        error: Error,
    ) -> Result<()> {
        let known = walk.known(id).await?;
        if row.is_none() && known.is_none() {
            return Err(error);
        }
        let name = row.as_ref().and_then(|row| text(row, &["subject"])).map(str::to_owned);
        let name = name.or_else(|| known.as_ref().map(|known| known.name.clone())).unwrap_or_default();
        let is_listed = row.is_some();
        if let (Some(told), None) = (row.and_then(|row| model::event(row, calendar, 1)), known) {
            walk.put(told).await?;
        }
        match is_listed {
            true => walk.gap_of_listed(id, &name, ItemKind::Event, error).await,
            false => walk.gap(id, &name, ItemKind::Event, error).await,
        }
    }

    /// Asks for the events of which something is a gap, and that nobody mentioned so far.
    pub(super) async fn left_over(&self, walk: &mut Walk<'_>) -> Result<()> {
        let mut asked = BTreeSet::new();
        for id in walk.left_to_list() {
            let Some((id, calendar, in_series)) = home(walk, id).await? else { continue };
            if walk.was_told(&id) || !asked.insert(id.clone()) {
                continue;
            }
            let mut waiting = Waiting::default();
            let answer = if in_series { self.api.series(&id).await } else { self.api.event(&id).await };
            match answer {
                Ok(row) if in_series => self.tell_series(walk, row, &calendar, &mut waiting).await?,
                Ok(row) => {
                    waiting.thorough = true;
                    self.tell(walk, row, &calendar, &mut waiting).await?;
                }
                Err(error) => {
                    let name = walk.known(&id).await?.map(|known| known.name).unwrap_or_default();
                    walk.gap(&id, &name, ItemKind::Event, error).await?;
                }
            }
            self.below(walk, &calendar, &mut waiting).await?;
        }
        Ok(())
    }
}

/// Finds the single event or master that an event or attachment belongs to, the calendar that it is in, and whether it is a
/// master.
async fn home(walk: &Walk<'_>, mut id: String) -> Result<Option<(String, String, bool)>> {
    // An attachment of an exception is three steps away from its calendar.
    for _ in 0..3 {
        let Some(known) = walk.known(&id).await? else { return Ok(None) };
        match known.kind {
            ItemKind::Attachment => id = known.parent,
            ItemKind::Event if known.fact(model::TYPE) == Some("exception") => id = known.parent,
            ItemKind::Event => {
                let in_series = model::is_series(&known);
                return Ok(Some((id, known.parent, in_series)));
            }
            _ => return Ok(None),
        }
    }
    Ok(None)
}

/// Takes that an event is no longer in a calendar. That of an exception is told by its master.
async fn gone(walk: &mut Walk<'_>, id: &str, calendar: &str, waiting: &mut Waiting) -> Result<()> {
    waiting.series.remove(id);
    match walk.known(id).await?.filter(|known| known.fact(model::TYPE) == Some("exception")) {
        Some(exception) => {
            waiting.series.entry(exception.parent).or_default();
            Ok(())
        }
        None => walk.removed_from(calendar, id).await,
    }
}
