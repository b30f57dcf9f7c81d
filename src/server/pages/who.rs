//! Finding the way to something in the snapshots: whose it is, then of when.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use jiff::civil::Date;
use jiff::{Timestamp, ToSpan as _};
use maud::{Markup, html};
use serde::Deserialize;

use super::look::{Found, Tab, bar, opened};
use super::{Answer, Chrome, Page, Place, Query, encode, page, words};
use crate::server::auth::Actor;
use crate::server::deeds::look::{self, Owner};
use crate::server::state::Server;
use crate::server::web::OfRepository;

/// The most owners on the page: who has more looks by name.
const MOST: usize = 200;
/// The most times in the list.
const MOST_TIMES: usize = 60;
/// What is said below a month: its cells are days of UTC, and the list after it is in times that scripts turn into the reader's.
pub(super) const OF_WHICH_ZONE: &str =
    "Days and times in the table are in UTC. In the list below, times are in your own time zone, or marked as UTC.";

/// What kind of owner a folder's word means.
fn kind(word: &str) -> &str {
    match word {
        "users" => "People",
        "sites" => "Sites",
        "groups" => "Groups",
        "teams" => "Teams",
        "tenant" => "The tenant",
        other => other,
    }
}

/// What the page of the way begins with.
pub(super) async fn whose(found: &Found<'_>, q: &str) -> crate::Result<Markup> {
    let (owners, more) = look::owners(found.browser, q, MOST).await?;
    let here = &found.here;
    let none = found.browser.snapshots().await.is_empty();
    let several = owners.iter().any(|owner| Some(&owner.set) != owners.first().map(|first| &first.set));
    let mut words: Vec<&str> = Vec::new();
    for owner in &owners {
        if !words.contains(&owner.word.as_str()) {
            words.push(&owner.word);
        }
    }
    // People first: they are asked for most.
    words.sort_by_key(|word| *word != "users");
    Ok(html! {
        h1 { "Find and restore" }
        p.quiet { "From the snapshots in '" (found.row.name) "'." }
        @if none { p.empty { "There is no snapshot yet: back up first. " a href={ "/a/" (found.row.account) "/sets" } { "Backup sets" } "." } }
        @else {
            (super::search::form(here, ""))
            h2 { "Whose data?" }
            form.line method="get" action=(here) role="search" {
                label for="q" { "Name or address" }
                div.actions { input #q name="q" value=(q) maxlength="200"; button.plain type="submit" { "Show" } }
            }
            @if owners.is_empty() { p.empty { @if q.is_empty() { "The latest snapshots hold nobody's data." } @else { "Nobody in the latest snapshots is called so." } " Who left is in earlier ones: search for their name above, or look through all snapshots." } }
        }
        @for word in words {
            h3 { (kind(word)) }
            ul.plain.columns { @for owner in owners.iter().filter(|owner| owner.word == word) { (link(here, owner, several)) } }
        }
        @if more { p.quiet { "There are more than " (MOST) ": enter a part of the name." } }
        @if !none { p { a href={ (here) "?path=" } { "All snapshots and folders" } } }
    })
}

fn link(here: &str, owner: &Owner, of_several: bool) -> Markup {
    let path = format!("{}/{}", owner.word, owner.name);
    html! { li {
        a href={ (here) "/when?set=" (encode(&owner.set)) "&owner=" (encode(&path)) } { (owner.name) }
        @if of_several { " " span.quiet { "in set " (owner.set) } }
    } }
}

/// Of when.
#[derive(Debug, Deserialize)]
pub(super) struct When {
    #[serde(default)]
    set: String,
    #[serde(default)]
    owner: String,
    #[serde(default)]
    month: String,
}

/// The page of the times at which somebody's data was kept.
pub(super) async fn when(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    OfRepository { account, row }: OfRepository,
    Query(asked): Query<When>,
) -> Answer {
    let chrome = Chrome { actor: &actor, account: Some(&account), place: Place::Look };
    let browser = match opened(&server, chrome, &row, "").await? {
        Ok(browser) => browser,
        Err(locked) => return Ok(*locked),
    };
    let set = asked.set.trim_matches('/');
    if set.is_empty() || set.contains('/') {
        return Err(crate::Error::not_found("There is no such backup set").into());
    }
    let times = look::times(&browser, set).await?;
    let here = format!("/a/{}/look/{}", account.id, row.id);
    let owner = asked.owner.trim_matches('/');
    let to = |name: &str| format!("{here}?path={}", encode(&format!("sets/{set}/{name}/{owner}")));
    let newest = times.first().map_or(server.now_us(), |(_, us)| *us);
    let first = first_of_month(&asked.month).unwrap_or_else(|| day(newest).first_of_month());
    let name = owner.rsplit('/').next().unwrap_or(owner);
    let again = format!("{here}/when?set={}&owner={}", encode(set), encode(owner));
    let body = html! {
        (bar(&server, &actor, &account, &row, Tab::Browse))
        h1 { "Snapshots of " (name) }
        p { a.button href=(to("latest")) { "As it is in the latest snapshot" } }
        @if times.is_empty() { p.empty { "There is no snapshot of this set." } } @else {
            h2 { "Timeline" }
            (timeline(&times))
            @if let (Some((_, last)), Some((_, first))) = (times.first(), times.last()) {
                p.quiet { @if first != last { (words::time(*first)) " to " } (words::time(*last)) }
            }
            h2 { "By the day" }
            (month(first, &times, &again, &to))
            p.quiet { (OF_WHICH_ZONE) }
            h2 { "The last " (times.len().min(MOST_TIMES)) " snapshots" }
            ol.plain.columns { @for (name, us) in times.iter().take(MOST_TIMES) { li { a href=(to(name)) { (words::time(*us)) } } } }
        }
    };
    Ok(Page(page("Snapshots", chrome, &body)).into_response())
}

/// The day of a time, in UTC.
pub(super) fn day(us: i64) -> Date {
    let stamp = Timestamp::from_microsecond(us).unwrap_or(Timestamp::UNIX_EPOCH);
    stamp.to_zoned_datetime(jiff::tz::TimeZone::UTC).date()
}

/// The first day of a month that is written `2026-11`.
pub(super) fn first_of_month(text: &str) -> Option<Date> {
    format!("{text}-01").parse::<Date>().ok().filter(|date| (1_970..=2_200).contains(&date.year()))
}

/// The bounds of a day in microseconds since 1970 UTC.
pub(super) fn begin_us(date: Date) -> i64 {
    date.to_zoned_datetime(jiff::tz::TimeZone::UTC).map_or(0, |zoned| zoned.timestamp().as_microsecond())
}

/// The weeks of a month, Monday first; days of other months are none.
pub(super) fn weeks(first: Date) -> Vec<[Option<Date>; 7]> {
    let before = usize::try_from(first.weekday().to_monday_zero_offset()).unwrap_or(0);
    let (mut weeks, mut week, mut at) = (Vec::new(), [None; 7], before);
    let mut date = first;
    while date.month() == first.month() {
        if let Some(slot) = week.get_mut(at) {
            *slot = Some(date);
        }
        at += 1;
        if at == 7 {
            weeks.push(std::mem::take(&mut week));
            at = 0;
        }
        match date.tomorrow() {
            Ok(next) => date = next,
            Err(_) => break,
        }
    }
    if at > 0 {
        weeks.push(week);
    }
    weeks
}

/// A month as a table; `cell` shows what a day has.
pub(super) fn table(first: Date, again: &str, cell: &dyn Fn(Date) -> Markup) -> Markup {
    let to = |months: i64| {
        let other = first.checked_add(months.months()).unwrap_or(first);
        format!("{again}&month={}", other.strftime("%Y-%m"))
    };
    html! {
        div.actions {
            a.button.plain href=(to(-1)) aria-label="Earlier month" { "Earlier" }
            strong { (first.strftime("%B %Y").to_string()) }
            a.button.plain href=(to(1)) aria-label="Later month" { "Later" }
        }
        div.scroll tabindex="0" { table.month {
            thead { tr { @for name in ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"] { th scope="col" { (name) } } } }
            tbody { @for week in weeks(first) { tr { @for day in week { td { @if let Some(day) = day {
                span.day { (day.day()) } (cell(day))
            } } } } } }
        } }
    }
}

fn month(first: Date, times: &[(String, i64)], again: &str, to: &dyn Fn(&str) -> String) -> Markup {
    table(first, again, &|date| {
        let (from, end) = (begin_us(date), begin_us(date) + 86_400_000_000);
        let of_day = times.iter().filter(|(_, us)| (from..end).contains(us));
        html! { @for (name, us) in of_day {
            a href=(to(name)) aria-label={ "Snapshot of " (clock(*us, "%Y-%m-%d %H:%M UTC")) } { (clock(*us, "%H:%M")) }
        } }
    })
}

/// A time of day, in UTC.
pub(super) fn clock(us: i64, form: &str) -> String {
    Timestamp::from_microsecond(us).unwrap_or(Timestamp::UNIX_EPOCH).strftime(form).to_string()
}

/// Snapshots along a line, the oldest at the left; for who sees it not, the list below says the same.
fn timeline(times: &[(String, i64)]) -> Markup {
    const WIDTH: i64 = 900;
    let (first, last) = (times.last().map_or(0, |(_, us)| *us), times.first().map_or(0, |(_, us)| *us));
    let span = (last - first).max(1);
    let at =
        |us: i64| 12 + i64::try_from(i128::from(us - first) * i128::from(WIDTH - 24) / i128::from(span)).unwrap_or(0);
    html! {
        svg.timeline viewBox={ "0 0 " (WIDTH) " 44" } width=(WIDTH) height="44" role="img"
            aria-label={ (times.len()) " snapshots from " (clock(first, "%Y-%m-%d")) " to " (clock(last, "%Y-%m-%d")) } {
            line x1="8" x2=(WIDTH - 8) y1="22" y2="22" {}
            @for (_, us) in times.iter().take(500) {
                circle cx=(at(*us)) cy="22" r="7" { title { (clock(*us, "%Y-%m-%d %H:%M UTC")) } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_has_its_days_under_their_weekdays() {
        let first = first_of_month("2026-11").expect("a month");
        let weeks = weeks(first);
        assert_eq!(weeks.len(), 6, "it begins on a Sunday and has 30 days");
        assert_eq!(weeks[0].iter().flatten().count(), 1);
        assert!(weeks[0][6].is_some_and(|day| day.day() == 1));
        assert_eq!(weeks.iter().flatten().flatten().count(), 30);
        for bad in ["", "2026", "2026-13", "9999-12", "-1-01", "2026-11-01"] {
            assert_eq!(first_of_month(bad), None, "{bad}");
        }
    }
}
