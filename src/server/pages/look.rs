//! Looking into snapshots: the way in, and a file manager.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::part::{Part, Which};
use super::{Answer, Chrome, Form, Page, Place, Query, basket, encode, go, page, shown, who, words};
use crate::error::{Error, ErrorKind};
use crate::format::record::ItemKind;
use crate::ops::browse::{Browser, Node};
use crate::server::auth::{Actor, Password};
use crate::server::db::{Account, RepositoryRow};
use crate::server::deeds::look::{self, Listed, Listing};
use crate::server::id::Id;
use crate::server::state::Server;
use crate::server::web::{OfAccount, OfRepository};

/// Repositories on a page.
const MOST: usize = 200;

/// Where to look.
#[derive(Debug, Deserialize)]
pub(super) struct Where {
    path: Option<String>,
    #[serde(default)]
    from: u64,
    #[serde(default)]
    q: String,
    /// A month of a calendar, as `2026-11`.
    #[serde(default)]
    month: String,
}

impl Where {
    fn path(&self) -> &str {
        self.path.as_deref().unwrap_or_default().trim_matches('/')
    }
}

/// The page: which repository.
pub(super) async fn list(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    OfAccount(account): OfAccount,
    Query(which): Query<Which>,
) -> Answer {
    let all = server.db.repositories(&account.id).await?;
    let part = Part::of(&all, &which, MOST, "repository", |row| &row.name);
    if let [only] = all.as_slice() {
        return Ok(go(&format!("/a/{}/look/{}", account.id, only.id)));
    }
    let chrome = Chrome { actor: &actor, account: Some(&account), place: Place::Look };
    let body = html! {
        h1 { "Find and restore" }
        @if all.is_empty() { p.empty { "There is no repository yet: one is filled by backups, and here you find what they kept. " a href={ "/a/" (account.id) "/storage" } { "Make a repository" } "." } }
        @else {
            h2 { "In which repository?" }
            (part.finder())
            ul { @for row in &part.shown { li { a href={ "/a/" (account.id) "/look/" (row.id) } { (row.name) } } } }
            (part.ways())
        }
        p { a href={ "/a/" (account.id) "/restores" } { "Restores so far" } }
    };
    Ok(Page(page("Find and restore", chrome, &body)).into_response())
}

/// What is open; else the page that asks for the key, and leads back.
pub(super) async fn opened(
    server: &Server,
    chrome: Chrome<'_>,
    row: &RepositoryRow,
    back: &str,
) -> crate::Result<std::result::Result<Browser, Box<Response>>> {
    match server.unlocked.browser(server, chrome.actor, row).await {
        Err(e) if e.kind() == ErrorKind::WrongKey => {
            let body = locked(&row.account, row, back, None);
            Ok(Err(Box::new(Page(page("Unlock", chrome, &body)).into_response())))
        }
        browser => browser.map(Ok),
    }
}

/// A repository that is open, for what makes pages of it.
pub(super) struct Found<'a> {
    pub(super) browser: &'a Browser,
    pub(super) row: &'a RepositoryRow,
    /// The address of its pages.
    pub(super) here: String,
}

/// The tabs of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tab {
    /// Whose, of when, folders and what is in them.
    Browse,
    /// The search.
    Search,
    /// What was picked, and how it is to come back.
    Basket,
}

/// What stands above the pages of a repository: what was picked, the search, what was restored.
pub(super) fn bar(server: &Server, actor: &Actor, account: &Account, row: &RepositoryRow, at: Tab) -> Markup {
    let here = format!("/a/{}/look/{}", account.id, row.id);
    let many = server.baskets.of(actor, &row.id).len();
    let mark = |tab: Tab| (tab == at).then_some("page");
    html! {
        nav.tabs aria-label="Find and restore" { ul {
            li { a href=(here) aria-current=[mark(Tab::Browse)] { "Browse" } }
            li { a href={ (here) "/search" } aria-current=[mark(Tab::Search)] { "Search" } }
            li { a href={ (here) "/basket" } aria-current=[mark(Tab::Basket)] { "Basket" @if many > 0 { " (" (many) ")" } } }
            li { a href={ "/a/" (account.id) "/restores" } { "Restores" } }
        } }
    }
}

/// The page of a folder or a file, or, without a path, the beginning of the way; a question for the key where it is locked.
pub(super) async fn show(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    OfRepository { account, row }: OfRepository,
    Query(at): Query<Where>,
) -> Answer {
    let chrome = Chrome { actor: &actor, account: Some(&account), place: Place::Look };
    let (path, here) = (at.path(), format!("/a/{}/look/{}", account.id, row.id));
    let back = if path.is_empty() { here.clone() } else { format!("{here}?path={}", encode(path)) };
    let browser = match opened(&server, chrome, &row, &back).await? {
        Ok(browser) => browser,
        Err(locked) => return Ok(*locked),
    };
    let found = Found { browser: &browser, row: &row, here: here.clone() };
    let contents = if at.path.is_none() {
        who::whose(&found, &at.q).await?
    } else {
        let (_, node) = look::find(&server, &actor, &row, path).await?;
        if node.is_folder() { folder_page(&found, &node, &at).await? } else { shown::file(&found, &node, path).await? }
    };
    // What the server opens by the key that it holds would be open again at once.
    let open = !row.holds_owner_key && server.unlocked.is_open(&actor, &row, server.now_us());
    let body = html! {
        (bar(&server, &actor, &account, &row, Tab::Browse))
        (contents)
        @if open { form method="post" action={ (here) "/lock" } {
            p.quiet { "You have unlocked '" (row.name) "'. The server forgets your key when you have not looked for half an hour, when you sign out, or now:" }
            button.plain type="submit" { "Lock again" }
        } }
    };
    Ok(Page(page("Find and restore", chrome, &body)).into_response())
}

async fn folder_page(found: &Found<'_>, node: &Node, at: &Where) -> crate::Result<Markup> {
    let (path, here) = (at.path(), &found.here);
    if !at.month.is_empty() {
        return shown::month(found, node, path, &at.month).await;
    }
    let listing = look::list(found.browser, node, at.from).await?;
    Ok(html! {
        (crumbs(here, found.row, path))
        @if listing.entries.iter().any(|entry| entry.kind == Some(ItemKind::Event)) {
            p { a.button.plain href={ (here) "?path=" (encode(path)) "&month=newest" } { "As a month" } }
        }
        (folder(here, path, at.from, &listing, node.is_in_snapshot()))
    })
}

fn locked(account: &Id, row: &RepositoryRow, back: &str, wrong: Option<&Error>) -> Markup {
    html! {
        h1 { "Unlock '" (row.name) "'" }
        p { "The server cannot read what is in the snapshots. Your key opens them for this sign-in only: it is kept in memory, and forgotten when you have not looked for half an hour. The activity log notes that it was used." }
        p { "A restore that you start keeps a sealed copy of the key until it ends, so that it survives a restart of the server." }
        @if let Some(e) = wrong { p.notice.bad role="alert" { (refused(e, &row.name)) @if let Some(hint) = e.hint() { " " (words::sentence(hint)) } } }
        form.card method="post" action={ "/a/" (account) "/look/" (row.id) "/unlock" } {
            @if !back.is_empty() { input type="hidden" name="back" value=(back); }
            label for="key" { "Key, or passphrase" }
            input #key name="key" type="password" autocomplete="off" required autofocus;
            button type="submit" { "Unlock" }
        }
    }
}

/// Why a key was not taken, in the words of the form.
fn refused(e: &Error, name: &str) -> String {
    let text = e.to_string();
    if text.starts_with("Wrong passphrase") {
        return format!("This key or passphrase does not open '{name}'.");
    }
    format!("{text}.")
}

pub(super) fn crumbs(here: &str, row: &RepositoryRow, path: &str) -> Markup {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let to = |many: usize| format!("{here}?path={}", encode(&parts.get(..many).unwrap_or_default().join("/")));
    html! {
        nav.crumbs aria-label="Path" { ol {
            li { a href={ (here) "?path=" } { (row.name) } }
            @for (number, part) in parts.iter().enumerate() {
                li { @if number + 1 == parts.len() { span aria-current="page" { (part) } } @else { a href=(to(number + 1)) { (part) } } }
            }
        } }
        h1 { (parts.last().unwrap_or(&"All snapshots")) }
    }
}

/// The buttons that pick all of what a page shows.
pub(super) fn whole(here: &str, path: &str, what: &str) -> Markup {
    html! {
        form.actions method="post" action={ (here) "/basket" } {
            input type="hidden" name="path" value=(path);
            input type="hidden" name="whole" value="1";
            button.plain type="submit" { "Put this " (what) " into the basket" }
            button type="submit" name="then" value="restore" { "Restore this " (what) "…" }
        }
    }
}

fn folder(here: &str, path: &str, from: u64, listing: &Listing, can_pick: bool) -> Markup {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
    let any = |is_so: fn(&Listed) -> bool| listing.entries.iter().any(is_so);
    let has_from = any(|entry| entry.from.is_some());
    let (has_size, has_time) = (any(|entry| entry.size_bytes.is_some()), any(|entry| entry.modified_us != 0));
    // Of an event and a contact it is not the time that one looks for.
    let is_change = any(|entry| matches!(entry.kind, Some(ItemKind::Event | ItemKind::Contact)));
    html! {
        @if path.is_empty() { p.quiet { code { "sets" } " lists each backup set's snapshots by time, " code { "snapshots" } " all of them by id." } }
        @if can_pick { (whole(here, path, "folder")) }
        @if listing.entries.is_empty() { p.empty { "Nothing is here." } } @else {
            form method="post" action={ (here) "/basket" } {
                input type="hidden" name="path" value=(path);
                input type="hidden" name="back" value={ (here) "?path=" (encode(path)) "&from=" (from) };
                div.scroll tabindex="0" { table {
                    thead { tr {
                        @if can_pick { th scope="col" { span.unseen { "Pick" } } }
                        th scope="col" { "Name" } @if has_from { th scope="col" { "From" } }
                        @if has_size { th.number scope="col" { "Size" } }
                        @if has_time { th scope="col" { @if is_change { "Changed" } @else { "Time" } } }
                    } }
                    tbody { @for entry in &listing.entries { tr {
                        @if can_pick { td { input type="checkbox" name="pick" value=(entry.name) aria-label={ "Pick " (entry.name) }; } }
                        th scope="row" {
                            a href={ (here) "?path=" (encode(&below(&entry.name))) } { (entry.name) @if entry.is_folder { "/" } }
                        }
                        @if has_from { td.long { (entry.from.as_deref().unwrap_or_default()) } }
                        @if has_size { td.number { @if let Some(bytes) = entry.size_bytes { (words::size(bytes)) } } }
                        // Of a folder it is the snapshot's time, mostly.
                        @if has_time { td { @if entry.modified_us != 0 && !(is_change && entry.is_folder) { (words::time(entry.modified_us)) } } }
                    } } }
                } }
                @if can_pick { div.actions { button type="submit" { "Put what is ticked into the basket" } } }
            }
        }
        div.actions {
            @if from > 0 { a.button.plain href={ (here) "?path=" (encode(path)) "&from=" (from.saturating_sub(look::PAGE as u64)) } { "Before" } }
            @if let Some(next) = listing.next { a.button.plain href={ (here) "?path=" (encode(path)) "&from=" (next) } { "More" } }
        }
    }
}

/// What the form sends.
#[derive(Debug, Deserialize)]
pub(super) struct Typed {
    key: Password,
    #[serde(default)]
    back: String,
}

/// Where to go once it is unlocked.
#[derive(Debug, Deserialize)]
pub(super) struct Back {
    #[serde(default)]
    back: String,
}

/// The page that asks for the key.
pub(super) async fn ask_key(
    Extension(actor): Extension<Actor>,
    OfRepository { account, row }: OfRepository,
    Query(to): Query<Back>,
) -> Answer {
    let chrome = Chrome { actor: &actor, account: Some(&account), place: Place::Look };
    Ok(Page(page("Unlock", chrome, &locked(&account.id, &row, &to.back, None))).into_response())
}

/// Unlocks.
pub(super) async fn unlock(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    OfRepository { account, row }: OfRepository,
    Form(typed): Form<Typed>,
) -> Answer {
    match look::unlock(&server, &actor, &account.id, &row.id, &typed.key).await {
        Ok(()) => Ok(go(&basket::back(&account.id, &typed.back, format!("/a/{}/look/{}", account.id, row.id)))),
        Err(e) if e.kind() == ErrorKind::WrongKey || e.kind() == ErrorKind::InvalidInput => {
            let chrome = Chrome { actor: &actor, account: Some(&account), place: Place::Look };
            let body = locked(&account.id, &row, &typed.back, Some(&e));
            Ok((axum::http::StatusCode::FORBIDDEN, Page(page("Unlock", chrome, &body))).into_response())
        }
        Err(e) => Err(e.into()),
    }
}

/// Locks again, and leads to the page that unlocks.
pub(super) async fn lock(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    OfRepository { account, row }: OfRepository,
) -> Answer {
    look::lock(&server, &actor, &account.id, &row.id).await?;
    Ok(go(&format!("/a/{}/look/{}/unlock", account.id, row.id)))
}

/// Sends a file.
pub(super) async fn file(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    OfRepository { account, row }: OfRepository,
    Query(at): Query<Where>,
) -> Answer {
    Ok(look::download(&server, &actor, &account.id, &row.id, at.path()).await?)
}
