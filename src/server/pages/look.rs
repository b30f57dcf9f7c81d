//! Looking into snapshots: a file manager, and a reader of mails.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::IntoResponse;
use axum::{Extension, Form};
use mail_parser::{Message, MessageParser};
use maud::{Markup, html};
use serde::Deserialize;

use super::{Answer, Chrome, Page, Place, encode, go, page, words};
use crate::error::{Error, ErrorKind};
use crate::ops::present::safe_html;
use crate::server::auth::{Actor, Password};
use crate::server::db::{Account, RepositoryRow};
use crate::server::deeds::look::{self, Listing};
use crate::server::id::Id;
use crate::server::state::Server;

/// The largest mail that is shown.
const MOST_MAIL: u64 = 32 << 20;
/// The longest text of a mail that is shown as such.
const MOST_TEXT: usize = 1 << 20;

/// Where to look.
#[derive(Debug, Deserialize)]
pub(super) struct Where {
    #[serde(default)]
    path: String,
    #[serde(default)]
    from: u64,
}

/// The page: which repository.
pub(super) async fn list(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    Path(account): Path<String>,
) -> Answer {
    let account = server.db.account(&Id::parse(&account)?).await?;
    let all = server.db.repositories(&account.id).await?;
    if let [only] = all.as_slice() {
        return Ok(go(&format!("/a/{}/look/{}", account.id, only.id)));
    }
    let chrome = Chrome { actor: &actor, account: Some(&account), place: Place::Look };
    let body = html! {
        h1 { "Find and restore" }
        @if all.is_empty() { p.empty { "There is no repository yet, so there is nothing to look at." } }
        ul { @for row in &all { li { a href={ "/a/" (account.id) "/look/" (row.id) } { (row.name) } } } }
    };
    Ok(Page(page("Find and restore", chrome, &body)).into_response())
}

/// The page of a folder or a file; a question for the key where it is locked.
pub(super) async fn show(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    Path((account, repository)): Path<(String, String)>,
    Query(at): Query<Where>,
) -> Answer {
    let account = server.db.account(&Id::parse(&account)?).await?;
    let row = server.db.repository(&account.id, &Id::parse(&repository)?).await?;
    let chrome = Chrome { actor: &actor, account: Some(&account), place: Place::Look };
    let path = at.path.trim_matches('/');
    let (browser, node) = match look::find(&server, &actor, &row, path).await {
        Err(e) if e.kind() == ErrorKind::WrongKey => {
            let body = locked(&account, &row, None);
            return Ok(Page(page("Unlock", chrome, &body)).into_response());
        }
        found => found?,
    };
    let here = format!("/a/{}/look/{}", account.id, row.id);
    let body = if node.is_folder() {
        let listing = look::list(&browser, &node, at.from).await?;
        html! { (crumbs(&here, &row, path)) (folder(&here, path, at.from, &listing)) }
    } else {
        let meta = browser.meta(&node).await?;
        html! {
            (crumbs(&here, &row, path))
            p { (words::size(meta.size_bytes)) ", " (words::time(meta.modified_us)) }
            p { a.button href={ (here) "/file?path=" (encode(path)) } { "Download" } }
            @if path.ends_with(".eml") && meta.size_bytes <= MOST_MAIL {
                (mail(&here, path, &look::whole(&browser, &node, MOST_MAIL).await?))
            }
        }
    };
    let open = server.unlocked.is_open(&actor, &row.id, server.now_us());
    let body = html! {
        (body)
        @if open { form method="post" action={ (here) "/lock" } { button.plain type="submit" { "Lock again" } } }
    };
    Ok(Page(page("Find and restore", chrome, &body)).into_response())
}

fn locked(account: &Account, row: &RepositoryRow, wrong: Option<&Error>) -> Markup {
    html! {
        h1 { "Unlock '" (row.name) "'" }
        p { "The server cannot read what is in the snapshots. Your key opens them for this sign-in, in memory, until half an hour after the last look. That it was used stands in the activity log." }
        @if let Some(e) = wrong { p.notice.bad role="alert" { (e) "." } }
        form.card method="post" action={ "/a/" (account.id) "/look/" (row.id) "/unlock" } {
            label for="key" { "Key, or passphrase" }
            input #key name="key" type="password" autocomplete="off" required autofocus;
            button type="submit" { "Unlock" }
        }
    }
}

fn crumbs(here: &str, row: &RepositoryRow, path: &str) -> Markup {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let to = |many: usize| format!("{here}?path={}", encode(&parts.get(..many).unwrap_or_default().join("/")));
    html! {
        nav.crumbs aria-label="Path" { ol {
            li { a href=(here) { (row.name) } }
            @for (number, part) in parts.iter().enumerate() {
                li { @if number + 1 == parts.len() { span aria-current="page" { (part) } } @else { a href=(to(number + 1)) { (part) } } }
            }
        } }
        h1 { (parts.last().unwrap_or(&"All snapshots")) }
    }
}

fn folder(here: &str, path: &str, from: u64, listing: &Listing) -> Markup {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
    html! {
        @if listing.entries.is_empty() { p.empty { "Nothing is here." } } @else {
            div.scroll tabindex="0" { table {
                thead { tr { th scope="col" { "Name" } th.number scope="col" { "Size" } th scope="col" { "Time" } } }
                tbody { @for entry in &listing.entries { tr {
                    th scope="row" {
                        a href={ (here) "?path=" (encode(&below(&entry.name))) } { (entry.name) @if entry.is_folder { "/" } }
                    }
                    td.number { @if let Some(bytes) = entry.size_bytes { (words::size(bytes)) } }
                    td { @if entry.modified_us != 0 { (words::time(entry.modified_us)) } }
                } } }
            } }
        }
        div.actions {
            @if from > 0 { a.button.plain href={ (here) "?path=" (encode(path)) "&from=" (from.saturating_sub(look::PAGE as u64)) } { "Before" } }
            @if let Some(next) = listing.next { a.button.plain href={ (here) "?path=" (encode(path)) "&from=" (next) } { "More" } }
        }
    }
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
                @if let Some(date) = message.date() { div { dt { "Date" } dd { (date.to_rfc3339()) } } }
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
    Path((account, repository)): Path<(String, String)>,
    Query(at): Query<Where>,
) -> Answer {
    let row = server.db.repository(&Id::parse(&account)?, &Id::parse(&repository)?).await?;
    let (browser, node) = look::find(&server, &actor, &row, at.path.trim_matches('/')).await?;
    let bytes = look::whole(&browser, &node, MOST_MAIL).await?;
    let message = MessageParser::default().parse(&bytes).ok_or_else(|| Error::invalid("This is no mail"))?;
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox; frame-ancestors 'self'",
        ),
    ];
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

/// What the form sends.
#[derive(Debug, Deserialize)]
pub(super) struct Typed {
    key: Password,
}

/// Unlocks.
pub(super) async fn unlock(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    Path((account, repository)): Path<(String, String)>,
    Form(typed): Form<Typed>,
) -> Answer {
    let account = server.db.account(&Id::parse(&account)?).await?;
    let row = server.db.repository(&account.id, &Id::parse(&repository)?).await?;
    match look::unlock(&server, &actor, &account.id, &row.id, &typed.key).await {
        Ok(()) => Ok(go(&format!("/a/{}/look/{}", account.id, row.id))),
        Err(e) if e.kind() == ErrorKind::WrongKey || e.kind() == ErrorKind::InvalidInput => {
            let chrome = Chrome { actor: &actor, account: Some(&account), place: Place::Look };
            let body = locked(&account, &row, Some(&e));
            Ok((axum::http::StatusCode::FORBIDDEN, Page(page("Unlock", chrome, &body))).into_response())
        }
        Err(e) => Err(e.into()),
    }
}

/// Locks again.
pub(super) async fn lock(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    Path((account, repository)): Path<(String, String)>,
) -> Answer {
    let account = Id::parse(&account)?;
    look::lock(&server, &actor, &account, &Id::parse(&repository)?).await?;
    Ok(go(&format!("/a/{account}")))
}

/// Sends a file.
pub(super) async fn file(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    Path((account, repository)): Path<(String, String)>,
    Query(at): Query<Where>,
) -> Answer {
    let (account, repository) = (Id::parse(&account)?, Id::parse(&repository)?);
    Ok(look::download(&server, &actor, &account, &repository, at.path.trim_matches('/')).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

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
