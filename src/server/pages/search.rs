//! Searching all snapshots.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use maud::{Markup, html};
use serde::Deserialize;

use super::look::{Tab, bar, opened};
use super::{Answer, Chrome, Page, Place, Query, encode, go, page, who, words};
use crate::format::id::SnapshotId;
use crate::format::record::Record;
use crate::ops::browse::Origin;
use crate::ops::find::{Found, QueryError, Report};
use crate::ops::present::{self, Face, Mode};
use crate::server::auth::Actor;
use crate::server::deeds::search;
use crate::server::state::Server;
use crate::server::web::OfRepository;

/// Times are shown in minutes.
const MINUTE_US: i64 = 60_000_000;
/// What is shown.
const MOST: usize = 100;
/// Rows below which the button is in sight.
const MOST_BELOW: usize = 15;

/// What to look for.
#[derive(Debug, Deserialize)]
pub(super) struct Looked {
    #[serde(default)]
    q: String,
}

/// The field and its button.
pub(super) fn form(here: &str, q: &str) -> Markup {
    html! {
        form.line method="get" action={ (here) "/search" } role="search" {
            label for="query" { "Search all snapshots" }
            div.actions {
                input #query name="q" value=(q) maxlength="2000" placeholder="invoice from:dana after:2026-10-01";
                button type="submit" { "Search" }
            }
        }
    }
}

/// The page.
pub(super) async fn show(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    OfRepository { account, row }: OfRepository,
    Query(asked): Query<Looked>,
) -> Answer {
    let chrome = Chrome { actor: &actor, account: Some(&account), place: Place::Look };
    let here = format!("/a/{}/look/{}", account.id, row.id);
    let back = format!("{here}/search?q={}", encode(&asked.q));
    if let Err(locked) = opened(&server, chrome, &row, &back).await? {
        return Ok(*locked);
    }
    let q = asked.q.trim();
    let found = if q.is_empty() { None } else { Some(search::search(&server, &actor, &row, q, None, MOST).await?) };
    let body = html! {
        (bar(&server, &actor, &account, &row, Tab::Search))
        h1 { "Search" }
        (form(&here, q))
        @match &found {
            None => {}
            Some(search::Outcome::Bad(bad)) => { (wrong(q, bad)) }
            Some(search::Outcome::Found(items, report)) => { (results(&here, &back, items, report)) }
        }
        (help())
    };
    Ok(Page(page("Search", chrome, &body)).into_response())
}

/// Points at the spot where a query goes wrong.
fn wrong(q: &str, bad: &QueryError) -> Markup {
    let (before, after): (String, String) = (q.chars().take(bad.at).collect(), q.chars().skip(bad.at).collect());
    let spot: String = after.chars().next().map_or_else(|| "\u{a0}".to_owned(), String::from);
    let rest: String = after.chars().skip(1).collect();
    html! {
        div.notice.bad role="alert" {
            p { (bad.message) ", at character " (bad.at + 1) ":" }
            p { code { (before) mark { (spot) } (rest) } }
            p.hint { (words::sentence(&bad.hint)) }
        }
    }
}

fn results(here: &str, back: &str, items: &[Found], report: &Report) -> Markup {
    html! {
        p role="status" {
            (words::count(usize::try_from(report.matches).unwrap_or(usize::MAX), "item")) " found, in a search of "
            (words::count(usize::try_from(report.searched).unwrap_or(usize::MAX), "snapshot")) "."
            @if report.shown < report.matches {
                " The newest " (report.shown) " are shown: to see others, narrow the search, for example with "
                code { "before:" (older_than(items)) } " or " code { "in:Inbox" } "."
            }
        }
        @for damaged in &report.trouble.damaged { p.notice.warn { "Not searched: " (damaged) } }
        @if items.is_empty() { p.empty { "Nothing matches. A search covers names, subjects and senders, not what is written in mails and files." } } @else {
            form method="post" action={ (here) "/basket" } {
                input type="hidden" name="back" value=(back);
                @if items.len() > MOST_BELOW { (put()) }
                div.scroll tabindex="0" { table {
                    thead { tr {
                        th scope="col" { span.unseen { "Pick" } } th scope="col" { "Name" } th scope="col" { "From" } th scope="col" { "Time" }
                        th.number scope="col" { "Size" } th scope="col" { "Kept" }
                    } }
                    tbody { @for found in items { (one(here, found)) } }
                } }
                (put())
            }
        }
    }
}

fn put() -> Markup {
    html! { div.actions { button type="submit" { "Put what is ticked into the basket" } } }
}

/// The time that is shown of an item.
fn time_of(record: &Record) -> Option<i64> {
    record.sort_us.or(record.modified_us).or(record.created_us)
}

/// What leads on to what is older than what is shown: the day after the oldest, as of one day there may be more.
fn older_than(items: &[Found]) -> String {
    let oldest = items.iter().filter_map(|found| time_of(&found.record)).min();
    oldest.map_or_else(|| "30d".to_owned(), |us| who::clock(us.saturating_add(86_400_000_000), "%Y-%m-%d"))
}

fn one(here: &str, found: &Found) -> Markup {
    let (record, snapshot) = (&found.record, found.newest.snapshot);
    let folder = found.path.rsplit_once('/').map_or("", |(above, _)| above);
    let time = time_of(record);
    let named = if record.name.is_empty() { "(no name)" } else { record.name.as_str() };
    html! { tr {
        td { input type="checkbox" name="item" value={ (snapshot) ":" (found.path) } aria-label={ "Pick " (named) }; }
        th scope="row" {
            a href={ (here) "/item?snapshot=" (snapshot) "&path=" (encode(&found.path)) } { (named) }
            div.quiet { (record.kind.word().replace('_', " ")) " in " (folder) }
        }
        td.long { (record.fact("from").or_else(|| record.fact("organizer")).unwrap_or_default()) }
        td { @if let Some(us) = time { (words::time(us)) } }
        td.number { @if let Some(bytes) = present::size_bytes(record, Face::Item, Mode::Presented) { (words::size(bytes)) } }
        td {
            "in " (words::count(found.snapshots as usize, "snapshot"))
            @if !found.in_latest { " " span.state.warn { "gone" } }
            @if found.first.time_us / MINUTE_US != found.last.time_us / MINUTE_US { div.quiet { (words::time(found.first.time_us)) " –" } }
            div.quiet { (words::time(found.last.time_us)) }
        }
    } }
}

fn help() -> Markup {
    html! {
        details { summary { "Search syntax" }
            dl.facts {
                @for (ask, means) in [
                    ("invoice \"two words\"", "in the name, the subject or the sender"),
                    ("from:dana to:bob subject:plan", "a part of it; to: are all who got it"),
                    ("name:*.xlsx", "a part of a name, or a pattern for all of it"),
                    ("in:Inbox in:alice@contoso.com", "below a folder, or of somebody"),
                    ("kind:message kind:file kind:event", "what it is"),
                    ("has:attachment size:>10MB", "with attachments; larger than"),
                    ("after:2026-10-01 before:30d", "by its time"),
                    ("a OR b, -a, (a b) OR c", "either, not, together"),
                ] { div { dt { code { (ask) } } dd { (means) } } }
            }
        }
    }
}

/// What lies where.
#[derive(Debug, Deserialize)]
pub(super) struct At {
    snapshot: String,
    #[serde(default)]
    path: String,
}

/// Leads to an item that was found.
pub(super) async fn item(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    OfRepository { account, row }: OfRepository,
    Query(at): Query<At>,
) -> Answer {
    let here = format!("/a/{}/look/{}", account.id, row.id);
    let chrome = Chrome { actor: &actor, account: Some(&account), place: Place::Look };
    let browser = match opened(&server, chrome, &row, "").await? {
        Ok(browser) => browser,
        Err(locked) => return Ok(*locked),
    };
    let snapshot: SnapshotId = at.snapshot.parse()?;
    let path = browser.path_of(&Origin { snapshot, path: at.path }).await?;
    Ok(go(&format!("{here}?path={}", encode(&path))))
}
