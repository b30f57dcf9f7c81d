//! What a file of a snapshot shows: a mail, an event, a contact, a conversation, a table; and the month of a calendar.
//!
//! Nothing of what people wrote runs or fetches: mails and conversations stand in a frame of their own, made safe, and told to
//! the browser to be.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use jiff::civil::Date;
use mail_parser::{Message, MessageParser};
use maud::{Markup, html};
use serde::Deserialize;

use super::look::{Found, crumbs, whole};
use super::{Answer, Query, encode, who, words};
use crate::error::{Error, Result};
use crate::format::record::{ItemKind, Record};
use crate::ops::browse::Node;
use crate::ops::present::{self, safe_html};
use crate::server::auth::Actor;
use crate::server::deeds::look;
use crate::server::state::Server;
use crate::server::web::OfRepository;

/// The largest mail that is shown.
const MOST_MAIL: u64 = 32 << 20;
/// The longest text of a mail that is shown as such.
const MOST_TEXT: usize = 1 << 20;
/// The largest card, table and conversation that is shown.
const MOST_CARD: u64 = 1 << 20;
const MOST_TABLE: u64 = 16 << 20;
/// Rows and columns of a table that are shown.
const MOST_ROWS: usize = 500;
const MOST_COLUMNS: usize = 40;
/// What a frame with foreign text may do: show it.
const FRAMED: &str = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox; frame-ancestors 'self'";

/// The page of a file.
pub(super) async fn file(found: &Found<'_>, node: &Node, path: &str) -> Result<Markup> {
    let (browser, here) = (found.browser, &found.here);
    let meta = browser.meta(node).await?;
    let record = browser.record(node).await?;
    let read = |most: u64| look::whole(browser, node, most);
    let inside = match record.as_deref() {
        _ if path.ends_with(".eml") && meta.size_bytes <= MOST_MAIL => mail(here, path, &read(MOST_MAIL).await?),
        Some(record) if record.kind == ItemKind::Event => event(record),
        Some(record) if record.kind == ItemKind::Contact && meta.size_bytes <= MOST_CARD => {
            card(&read(MOST_CARD).await?)
        }
        Some(record) if record.kind == ItemKind::List && path.ends_with(".csv") => table(&read(MOST_TABLE).await?),
        Some(record) if path.ends_with(".html") && is_made(record) => html! {
            iframe.mail.tall sandbox="" title="Conversation" src={ (here) "/frame?path=" (encode(path)) } {}
        },
        _ => html! {},
    };
    Ok(html! {
        (crumbs(here, found.row, path))
        // An event and a contact have other times than that of their last change.
        @let is_change = record.as_deref().is_some_and(|one| matches!(one.kind, ItemKind::Event | ItemKind::Contact));
        @let changed_us = look::changed_us(record.as_deref(), meta.modified_us);
        p { (words::size(meta.size_bytes)) @if changed_us != 0 { ", " @if is_change { "changed " } (words::time(changed_us)) } }
        div.actions {
            a.button.plain href={ (here) "/file?path=" (encode(path)) } { "Download" }
            (whole(here, path, "item"))
        }
        (inside)
    })
}

/// Its HTML is ours, made from what is stored: no file of somebody's.
fn is_made(record: &Record) -> bool {
    record.kind == ItemKind::Page || present::beside(record) == Some(present::Make::Thread)
}

fn event(record: &Record) -> Markup {
    let has = |name: &str| record.fact(name) == Some("true");
    html! {
        section.card {
            h2 { (record.name) }
            dl.facts {
                @if let Some(us) = record.sort_us { div { dt { "Begins" } dd { (words::time(us)) @if has("all_day") { ", all day" } } } }
                @if let Some(who) = record.fact("organizer") { div { dt { "Organised by" } dd { (who) } } }
                @if has("cancelled") { div { dt { "State" } dd { "cancelled" } } }
            }
            p.quiet { "All of it (place, people, text, recurrence) is in the calendar file: download it, or open it in a calendar." }
        }
    }
}

/// A contact: the lines of its card.
fn card(bytes: &[u8]) -> Markup {
    let text = String::from_utf8_lossy(bytes).replace("\r\n ", "").replace("\r\n\t", "");
    let lines = text.lines().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        let (name, parameters) = name.split_once(';').unwrap_or((name, ""));
        let name = name.rsplit('.').next().unwrap_or(name);
        let kind = parameters.split(';').find_map(|one| one.strip_prefix("TYPE=")).unwrap_or_default();
        let label = match name.to_ascii_uppercase().as_str() {
            "FN" => "Name",
            "EMAIL" => "Mail",
            "TEL" => "Telephone",
            "ORG" => "Company",
            "TITLE" => "Position",
            "ADR" => "Address",
            "BDAY" => "Birthday",
            "URL" => "Web page",
            "NOTE" => "Note",
            _ => return None,
        };
        let plain = value.replace("\\n", "\n").replace("\\,", ",").replace("\\;", ";").replace("\\\\", "\\");
        let parts: Vec<&str> = plain.split(';').map(str::trim).filter(|part| !part.is_empty()).collect();
        let label = if kind.is_empty() { label.to_owned() } else { format!("{label} ({})", kind.to_ascii_lowercase()) };
        Some((label, parts.join(", "))).filter(|(_, value)| !value.is_empty())
    });
    html! { section.card { dl.facts { @for (label, value) in lines.take(100) { div { dt { (label) } dd { (value) } } } } } }
}

/// The beginning of a table.
fn table(bytes: &[u8]) -> Markup {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
    let mut rows = reader.byte_records().map_while(std::result::Result::ok);
    let cell = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let head: Vec<String> =
        rows.next().map(|row| row.iter().take(MOST_COLUMNS).map(cell).collect()).unwrap_or_default();
    let shown: Vec<_> = rows.by_ref().take(MOST_ROWS).collect();
    let left = rows.count();
    html! {
        div.scroll tabindex="0" { table {
            thead { tr { @for name in &head { th scope="col" { (name) } } } }
            tbody { @for row in &shown { tr { @for value in row.iter().take(MOST_COLUMNS) { td { (cell(value)) } } } } }
        } }
        @if shown.is_empty() { p.empty { "The list is empty." } }
        @if left > 0 { p.quiet { (left) " more rows are in the file." } }
    }
}

/// A month of a calendar, and its events one after another.
pub(super) async fn month(found: &Found<'_>, node: &Node, path: &str, wanted: &str) -> Result<Markup> {
    let of_month = |first: Date| {
        let end = first.checked_add(jiff::ToSpan::months(1)).unwrap_or(first);
        look::events(found.browser, node, (who::begin_us(first), who::begin_us(end)))
    };
    let (first, (events, more)) = match who::first_of_month(wanted) {
        Some(first) => (first, of_month(first).await?),
        None => {
            let listing = look::list(found.browser, node, 0).await?;
            let newest =
                listing.entries.iter().filter(|entry| entry.kind == Some(ItemKind::Event)).map(|e| e.modified_us).max();
            // Events stand in other months than they were made in: that month if something is in it, else the last one before,
            // or the next.
            let at = newest.unwrap_or(node.modified_us());
            let first = who::day(at).first_of_month();
            let shown = of_month(first).await?;
            let begins = if shown.0.is_empty() { look::begins(found.browser, node).await? } else { Vec::new() };
            match begins.iter().filter(|us| **us <= at).max().or_else(|| begins.iter().min()) {
                Some(us) => {
                    let first = who::day(*us).first_of_month();
                    (first, of_month(first).await?)
                }
                None => (first, shown),
            }
        }
    };
    let here = &found.here;
    let to = |name: &str| format!("{here}?path={}", encode(&format!("{path}/{name}")));
    let again = format!("{here}?path={}", encode(path));
    Ok(html! {
        (crumbs(here, found.row, path))
        p { a.button.plain href=(again) { "As a folder" } }
        (who::table(first, &again, &|date| {
            let (from, until) = (who::begin_us(date), who::begin_us(date) + 86_400_000_000);
            let of_day = events.iter().filter(|event| (from..until).contains(&event.occasion.begins_us));
            html! { @for event in of_day { a href=(to(&event.name)) {
                @if !event.occasion.all_day { (who::clock(event.occasion.begins_us, "%H:%M")) " " }
                (event.occasion.title)
            } } }
        }))
        p.quiet { (who::OF_WHICH_ZONE) @if more { " The calendar has more than are looked at: some may be missing here." } }
        h2 { "Events of this month" }
        @if events.is_empty() { p.empty { "Nothing begins in this month." } }
        ul.plain { @for event in &events { li {
            @if event.occasion.all_day { (who::clock(event.occasion.begins_us, "%Y-%m-%d")) } @else { (words::time(event.occasion.begins_us)) }
            " " a href=(to(&event.name)) { (event.occasion.title) }
        } } }
    })
}

/// What to show in a frame.
#[derive(Debug, Deserialize)]
pub(super) struct At {
    #[serde(default)]
    path: String,
}

/// A conversation or a page, for its frame.
pub(super) async fn frame(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    OfRepository { row, .. }: OfRepository,
    Query(at): Query<At>,
) -> Answer {
    let (browser, node) = look::find(&server, &actor, &row, at.path.trim_matches('/')).await?;
    let record = browser.record(&node).await?;
    if !at.path.ends_with(".html") || !record.is_some_and(|record| is_made(&record)) {
        return Err(Error::invalid("This is no conversation").with_hint("Download it").into());
    }
    let bytes = look::whole(&browser, &node, MOST_TABLE).await?;
    let headers = [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CONTENT_SECURITY_POLICY, FRAMED)];
    Ok((headers, bytes).into_response())
}

/// A mail: who wrote it, to whom, when; its text in a frame of its own, in which nothing runs and nothing is fetched.
fn mail(here: &str, path: &str, bytes: &[u8]) -> Markup {
    let Some(message) = MessageParser::default().parse(bytes) else {
        return html! { p.notice.warn { "This mail cannot be taken apart; download it." } };
    };
    let people = |list: Option<&mail_parser::Address<'_>>| {
        let all = list.into_iter().flat_map(|list| list.clone().into_list());
        let text = |a: mail_parser::Addr<'_>| match (a.name(), a.address()) {
            (Some(name), Some(address)) => format!("{name} <{address}>"),
            (Some(one), None) | (None, Some(one)) => one.to_owned(),
            (None, None) => String::new(),
        };
        all.map(text).collect::<Vec<_>>().join(", ")
    };
    html! {
        section.card {
            h2 { (message.subject().unwrap_or("(no subject)")) }
            dl.facts {
                div { dt { "From" } dd { (people(message.from())) } }
                div { dt { "To" } dd { (people(message.to())) } }
                @if message.cc().is_some() { div { dt { "Cc" } dd { (people(message.cc())) } } }
                @if let Some(date) = message.date() { div { dt { "Date" } dd { (words::time(date.to_timestamp().saturating_mul(1_000_000))) } } }
                @let attached: Vec<&str> = message.attachments().filter_map(|part| mail_parser::MimeHeaders::attachment_name(part)).collect();
                @if !attached.is_empty() { div { dt { "Attachments" } dd { (attached.join(", ")) } } }
            }
            iframe.mail sandbox="" title="Text of the mail" src={ (here) "/mail?path=" (encode(path)) } {}
        }
    }
}

/// The text of a mail, for its frame: made safe, and told to the browser to be.
pub(super) async fn text(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    OfRepository { row, .. }: OfRepository,
    Query(at): Query<At>,
) -> Answer {
    let (browser, node) = look::find(&server, &actor, &row, at.path.trim_matches('/')).await?;
    let bytes = look::whole(&browser, &node, MOST_MAIL).await?;
    let message = MessageParser::default().parse(&bytes).ok_or_else(|| Error::invalid("This is no mail"))?;
    let headers = [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CONTENT_SECURITY_POLICY, FRAMED)];
    Ok((headers, framed(&message)).into_response())
}

fn framed(message: &Message<'_>) -> String {
    let of_html = message.html_body.first().and_then(|_| message.body_html(0));
    let inner = match of_html {
        Some(text) => safe_html(cut(&text)),
        None => {
            let text = message.body_text(0).unwrap_or_default();
            html! { pre { (cut(&text)) } }.into_string()
        }
    };
    format!(
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Mail</title><style>body{{font:1rem/1.5 \
         system-ui,sans-serif;margin:1rem;background:#fff;color:#111;overflow-wrap:anywhere}}pre{{white-space:pre-wrap}}\
         img{{max-width:100%}}</style></head><body>{inner}</body></html>"
    )
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(MOST_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_and_a_table_show_what_they_hold_and_nothing_runs() {
        let text = card(b"BEGIN:VCARD\r\nFN:Dana <b>\r\n Novak\r\nitem1.TEL;TYPE=cell:+49 1\r\nADR:;;High St\\, 1;Town;;;\r\nX:y\r\n").into_string();
        assert!(
            text.contains("Dana &lt;b&gt;Novak")
                && text.contains("Telephone (cell)</dt><dd>+49 1")
                && text.contains("High St, 1, Town"),
            "{text}"
        );
        let text = table(b"\xef\xbb\xbfTitle,More\r\n\"a, <i>b\",c\r\n\xff,x,y,z\r\n").into_string();
        assert!(text.contains("<th scope=\"col\">Title</th>") && text.contains("a, &lt;i&gt;b"), "{text}");
        assert!(table(b"").into_string().contains("empty"));
        assert!(table(b"a\n\"never ends").into_string().contains("never ends"));
    }

    #[test]
    fn nothing_of_a_mail_runs_or_fetches() {
        let mail = "From: a@b.c\r\nSubject: x\r\nContent-Type: text/html\r\n\r\n<p onclick=\"x()\">Hello <script>evil()</script>\
                    <img src=\"https://track.example/1.png\"><a href=\"javascript:x()\">y</a><iframe src=\"https://evil.example\"></iframe></p>";
        let message = MessageParser::default().parse(mail.as_bytes()).expect("a mail");
        let text = framed(&message);
        assert!(text.contains("Hello"), "{text}");
        for bad in ["<script", "onclick", "track.example", "javascript:", "<iframe"] {
            assert!(!text.contains(bad), "{bad}: {text}");
        }
    }
}
