//! Repositories: where they lie, how large they are, what is in them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use maud::{Markup, html};
use serde::Deserialize;

use super::part::{Part, Which};
use super::{Answer, Chrome, Form, Page, Place, Query, charts, go, keys as key_pages, page, places, words};
use crate::format::snapshot::SnapshotFile;
use crate::server::api::accounts::GROWTH_US;
use crate::server::auth::{Actor, Password, Right};
use crate::server::db::{Account, JobKind, RepositoryRow};
use crate::server::deeds::repositories::{self, PlaceToBe, RepositoryToMake};
use crate::server::deeds::retention::{self, NextRetention};
use crate::server::deeds::{keys, own_storage};
use crate::server::error::problem;
use crate::server::id::Id;
use crate::server::state::Server;
use crate::server::store::{TYPED_BACK, checksum, is_chosen};
use crate::server::targets::OWN;
use crate::server::web::At;
use crate::snapshot::store as snapshots;

/// Repositories on a page.
const MOST_REPOSITORIES: usize = 100;
/// Repositories off the list on a page: each has a form.
const MOST_OFF: usize = 25;
/// Snapshots on a page.
const MOST: usize = 100;
/// Snapshots that are named of those that retention takes out.
const MOST_TO_GO: usize = 20;
/// What can be asked for: the kind of job, whether every byte is read, and what the button says.
const UPKEEP: [(&str, &str, &str); 4] = [
    ("check", "", "Check that everything is there"),
    ("check", "on", "Check every byte"),
    ("prune", "", "Give back space"),
    ("mirror", "", "Bring replicas up to date"),
];

/// What the form sends.
#[derive(Debug, Deserialize)]
pub(super) struct Typed {
    name: String,
    #[serde(default)]
    url: String,
    #[serde(default)]
    credentials: String,
    #[serde(default)]
    passphrase: String,
}

/// Which of those off the list.
#[derive(Debug, Deserialize)]
pub(super) struct Off {
    /// How many are passed over.
    #[serde(default)]
    off: usize,
}

/// The page.
pub(super) async fn list(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At(account): At<Id>,
    Query(which): Query<Which>,
    Query(off): Query<Off>,
) -> Answer {
    let account = server.db.account(&account).await?;
    let all = server.db.repositories(&account.id).await?;
    let part = Part::of(&all, &which, MOST_REPOSITORIES, "repository", |row| &row.name);
    let may = actor.may(Right::Keys, Some(&account.id));
    let chrome = Chrome { actor: &actor, account: Some(&account), place: Place::Storage };
    let body = html! {
        h1 { "Storage" }
        (super::sets::way_back(&server, &actor, &account.id).await?)
        @if all.is_empty() { p.empty { "There is no repository yet: the encrypted place that snapshots are kept in." } } @else {
            (part.finder())
            div.scroll tabindex="0" { table {
                thead { tr { th scope="col" { "Repository" } th.number scope="col" { "Stored" } th scope="col" { "Key" } th scope="col" { "Since" } } }
                tbody { @for row in &part.shown { tr {
                    th scope="row" { a href={ "/a/" (account.id) "/storage/" (row.id) } { (row.name) } }
                    td.number { (words::size(u64::try_from(row.stored_bytes).unwrap_or(0))) }
                    td { (key_mark(row)) }
                    td { (words::time(row.created_us)) }
                } } }
            } }
            (part.ways())
        }
        @if !all.is_empty() { (growth(&server, &account, &all).await?) }
        (off_list(&server, &account, may, off.off).await?)
        @if may { (form(&account)) (super::adopt::form(&account)) }
    };
    Ok(Page(page("Storage", chrome, &body)).into_response())
}

/// What was taken off the list and lies in the server's own storage still.
async fn off_list(server: &Server, account: &Account, may: bool, from: usize) -> crate::Result<Markup> {
    let all = own_storage::left_behind(server, &account.id).await?;
    let shown: Vec<_> = all.iter().skip(from).take(MOST_OFF).collect();
    Ok(html! {
        @if !all.is_empty() {
            h2 { "Off the list" }
            p.quiet { "These were taken off the list and lie in this server's own storage still: they count towards what the account may store. Whoever has a key takes one over again; whoever runs the server deletes its folder." }
            div.scroll tabindex="0" { table {
                thead { tr { th scope="col" { "Repository" } th.number scope="col" { "Stored" } th scope="col" { "Since" } th scope="col" { "Lies at" } } }
                tbody { @for left in &shown { tr {
                    th scope="row" { (left.name) }
                    td.number { (words::size(u64::try_from(left.stored_bytes).unwrap_or(0))) }
                    td { (words::time(left.removed_us)) }
                    td { code { (OWN) (left.id) } }
                } } }
            } }
            @if all.len() > MOST_OFF { div.actions {
                @if from > 0 { a.button.plain href={ "?off=" (from.saturating_sub(MOST_OFF)) } { "Before" } }
                @if all.len() > from.saturating_add(MOST_OFF) { a.button.plain href={ "?off=" (from + MOST_OFF) } { "More off the list" } }
            } }
            @if may { @for left in &shown { (super::adopt::again(account, left)) } }
        }
    })
}

/// How what is stored grew.
async fn growth(server: &Server, account: &Account, all: &[RepositoryRow]) -> crate::Result<Markup> {
    let now_us = server.now_us();
    let days = server.db.growth(&account.id, now_us - GROWTH_US, now_us).await?;
    let (read, written) = days.iter().fold((0, 0), |(read, written), day| (read + day.read, written + day.written));
    let stored: i64 = all.iter().map(|row| row.stored_bytes).sum();
    let size = |bytes: i64| words::size(u64::try_from(bytes).unwrap_or(0));
    Ok(html! {
        h2 { "Growth" }
        @if days.is_empty() { p.empty { "Nothing has been stored yet." } } @else {
            p { "All repositories hold " (size(stored)) " now. In the last 26 weeks runs read " (size(read)) ", of which " (size(written)) " had to be written, after deduplication and compression." }
            div.scroll tabindex="0" { (charts::growth(&days, now_us, GROWTH_US)) }
            (charts::growth_key())
        }
        p.quiet { "What retention takes out next stands on each repository's page." }
    })
}

pub(super) fn key_mark(row: &RepositoryRow) -> Markup {
    html! {
        @if row.holds_owner_key { span.state.warn { "the server can read contents" } }
        @else if row.confirmed { span.state.good { "only owners' keys read contents" } }
        @else { span.state.bad { "key not confirmed" } }
    }
}

/// The form of a new one.
fn form(account: &Account) -> Markup {
    html! {
        h2 { "Make a repository" }
        form.card method="post" action={ "/a/" (account.id) "/storage" } {
            p.quiet { "A key is made for it and shown once. The server keeps a key of its own with which it adds snapshots and cannot read what is in them: without your key nobody can restore, not even whoever runs this server." }
            label for="name" { "Name" }
            input #name name="name" required maxlength="100" placeholder="Main";
            label for="url" { "Where it lies, " span.quiet { "empty: this server's own storage" } }
            input #url name="url" maxlength="2000" spellcheck="false" placeholder="s3://bucket/folder?endpoint=https://…&region=…";
            label for="credentials" { "The storage's secrets, " span.quiet { "one per line: name = secret" } }
            textarea #credentials name="credentials" spellcheck="false" autocomplete="off" placeholder="access_key_id = …" {}
            details { summary { "A passphrase of your own instead of a key" }
                label for="passphrase" { "Passphrase, " span.quiet { "at least 12 characters" } }
                input #passphrase name="passphrase" type="password" autocomplete="new-password";
            }
            button type="submit" { "Make the repository" }
        }
    }
}

/// Takes the form; shows the key.
pub(super) async fn make(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At(account): At<Id>,
    Form(typed): Form<Typed>,
) -> Answer {
    let account = server.db.account(&account).await?;
    let url = if typed.url.trim().is_empty() { OWN } else { typed.url.trim() };
    let wanted = RepositoryToMake {
        destination: PlaceToBe {
            name: format!("{} ({})", typed.name.trim(), if url == OWN { "server" } else { "first" }),
            url: url.to_owned(),
            credentials: pairs(&typed.credentials),
        },
        name: typed.name,
        passphrase: Some(&typed.passphrase).filter(|text| !text.is_empty()).map(Password::new),
    };
    let made = repositories::make(&server, &actor, &account.id, &wanted).await?;
    let chrome = Chrome { actor: &actor, account: Some(&account), place: Place::Storage };
    let of = KitOf::First { own: wanted.passphrase.is_some() };
    let body = kit(&server, &account, &made.row, made.key.expose_text(), of, None).await;
    Ok(Page(page("Your key", chrome, &body)).into_response())
}

pub(super) fn pairs(text: &str) -> BTreeMap<String, String> {
    let pair = |line: &str| line.split_once('=').map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()));
    text.lines().filter_map(pair).filter(|(name, value)| !name.is_empty() && !value.is_empty()).collect()
}

/// The key with all that it takes to restore without this server, to be printed; and the question for its end.
async fn kit(
    server: &Server,
    account: &Account,
    row: &RepositoryRow,
    key: &str,
    of: KitOf,
    wrong: Option<&str>,
) -> Markup {
    let facts = kit_facts(server, account, row, key, of).await;
    html! {
        h1 { "The key of '" (row.name) "'" }
        (facts)
        h2 { "Do you have it?" }
        @if let Some(wrong) = wrong { p.notice.bad role="alert" { (words::sentence(wrong)) } }
        form.card method="post" action={ "/a/" (account.id) "/storage/" (row.id) "/confirmation" } {
            (typed_back(key))
            button type="submit" { "I have kept it" }
        }
    }
}

/// The fields that ask for the key's end.
pub(super) fn typed_back(key: &str) -> Markup {
    html! {
        input type="hidden" name="key" value=(key);
        label for="last_four" { "Type its last " (TYPED_BACK) " characters" }
        input #last_four name="last_four" required minlength=(TYPED_BACK) maxlength=(TYPED_BACK) autocomplete="off" autocapitalize="none" spellcheck="false";
    }
}

/// Which key of a repository a kit is of.
#[derive(Clone, Copy)]
pub(super) enum KitOf {
    /// The only one, made with the repository; `own`: a passphrase that its owner chose.
    First { own: bool },
    /// One beside others, and when it was made, where that is known.
    Further { made_us: Option<i64> },
}

/// The key itself, with what belongs beside it on paper.
pub(super) async fn kit_facts(server: &Server, account: &Account, row: &RepositoryRow, key: &str, of: KitOf) -> Markup {
    // Whatever goes wrong here, the key is shown: it is shown once.
    let places = server.db.destinations(&row.id).await.unwrap_or_default();
    let place = places.first();
    let own = matches!(of, KitOf::First { own: true });
    // Who needs it may stand elsewhere than where the server was started.
    let folder = server.storage_folder(&account.id).join(row.id.as_str());
    let folder = std::path::absolute(&folder).unwrap_or(folder).display().to_string();
    let made_us = match of {
        KitOf::First { .. } => Some(row.created_us),
        KitOf::Further { made_us } => made_us,
    };
    html! {
        @match of {
            KitOf::First { .. } => { p.notice.warn { "This is shown once. Without it nobody can ever read what will be stored: not you, not whoever runs this server." } }
            KitOf::Further { .. } => { p.notice.warn { "This key is shown once. Whoever has it can read everything in the repository, as with the other owners' keys: keep it safe." } }
        }
        @if own { p { "It is the passphrase that you chose." } } @else { p.key { code #key { (key) } } }
        section.card {
            h2 { "Recovery kit" }
            dl.facts {
                div { dt { "Account" } dd { (account.name) } }
                div { dt { "Repository" } dd { (row.name) " " code { (row.repository) } } }
                div { dt { "Checksum of the key" } dd { code { (checksum(key)) } } }
                @if let Some(at) = made_us { div { dt { "Key made" } dd { (words::time(at)) } } }
                @if let Some(place) = place { div.wide { dt { "Place" } dd {
                    @if place.url == OWN { "this server's own storage, folder " code { (folder) } }
                    @else { code { (place.url) } }
                } } }
            }
            p { "To restore without this server: install tenantvault, put the key into a file, then run " code { "tenantvault -r PLACE -p FILE snapshots" } ", with the place above or the path of a copy of its folder. " code { "export" } " and " code { "restore" } " take it from there." }
            p.quiet { "Print this page, or keep it in a password manager." }
        }
    }
}

/// What the form sends.
#[derive(Debug, Deserialize)]
pub(super) struct Proof {
    key: Password,
    last_four: String,
}

/// Takes the end of the key.
pub(super) async fn confirm(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, repository)): At<(Id, Id)>,
    Form(proof): Form<Proof>,
) -> Answer {
    let account = server.db.account(&account).await?;
    let id = repository;
    let row = server.db.repository(&account.id, &id).await?;
    if let Err(e) = keys::confirm(&server, &actor, &account.id, &id, &proof.key, &proof.last_four).await {
        let (status, problem) = problem(&e);
        let chrome = Chrome { actor: &actor, account: Some(&account), place: Place::Storage };
        let of = KitOf::First { own: is_chosen(proof.key.expose()) };
        let body = kit(&server, &account, &row, proof.key.expose(), of, Some(&problem.message)).await;
        return Ok((status, Page(page("Your key", chrome, &body))).into_response());
    }
    Ok(go(&format!("/a/{}/storage/{id}", account.id)))
}

/// The page of one.
pub(super) async fn show(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, repository)): At<(Id, Id)>,
) -> Answer {
    let account = server.db.account(&account).await?;
    let row = server.db.repository(&account.id, &repository).await?;
    let at = server.db.destinations(&row.id).await?;
    let looked = look(&server, &row).await;
    let chrome = Chrome { actor: &actor, account: Some(&account), place: Place::Storage };
    let body = html! {
        h1 { (row.name) }
        p { (key_mark(&row)) " Stored: " (words::size(u64::try_from(row.stored_bytes).unwrap_or(0))) ". Id " code { (row.repository) } }
        h2 { "Where it lies" }
        (places::list(&row, &at, actor.may(Right::Change, Some(&account.id))))
        @match &looked {
            Ok(markup) => { (markup) }
            Err(e) => { p.notice.bad role="alert" { "It cannot be opened now: " (e.to_string()) "." @if let Some(hint) = e.hint() { " " (words::sentence(hint)) } } }
        }
        @if actor.may(Right::Run, Some(&account.id)) {
            h2 { "Upkeep" }
            p.quiet { "Checking every byte reads all that is stored, and can take hours. Giving back space removes data that no snapshot needs any more; snapshots stay." }
            div.actions { @for (kind, every, words) in UPKEEP.iter().filter(|(kind, ..)| *kind != "mirror" || at.len() > 1) {
                form method="post" action={ "/a/" (account.id) "/storage/" (row.id) "/upkeep" } {
                    input type="hidden" name="kind" value=(kind);
                    @if !every.is_empty() { input type="hidden" name="read_data" value=(every); }
                    button.plain type="submit" { (words) }
                }
            } }
        }
    };
    Ok(Page(page(&row.name, chrome, &body)).into_response())
}

async fn look(server: &Server, row: &RepositoryRow) -> crate::Result<Markup> {
    let (slots, clients) = (keys::slots(server, row).await?, server.db.clients(&row.account).await?);
    let repo = server.stores.open(server, row).await?;
    let listing = snapshots::list(&repo).await?;
    let many = listing.snapshots.len();
    let retained = retention::next(server, row).await?;
    Ok(html! {
        h2 { "Keys" }
        (key_pages::table(&slots, &clients))
        p { a href={ "/a/" (row.account) "/keys" } { "All keys of the account" } }
        (next_to_go(row, &retained))
        h2 { @if many == 0 { "Snapshots" } @else { (words::count(many, "snapshot")) } }
        @if many == 0 { p.empty { "The first run of a " a href={ "/a/" (row.account) "/sets" } { "backup set" } " makes the first one." } } @else {
            div.scroll tabindex="0" { table {
                thead { tr { th scope="col" { "Snapshot" } th scope="col" { "Backup set" } th scope="col" { "Time" } th.number scope="col" { "Items" } th scope="col" { "State" } } }
                tbody { @for snapshot in listing.snapshots.iter().rev().take(MOST) { tr {
                    th scope="row" { code { (snapshot.id.short()) } }
                    td { (snapshot.file.set_name) }
                    td { (words::time(snapshot.file.time_us)) }
                    td.number { (words::number(i64::try_from(snapshot.file.totals.items).unwrap_or(i64::MAX))) }
                    td { (state(&snapshot.file)) }
                } } }
            } }
        }
    })
}

/// Says whether a snapshot has all that was there.
fn state(file: &SnapshotFile) -> Markup {
    let (class, word) = match (file.complete, file.totals.gaps) {
        (true, 0) => ("good", "whole"),
        (true, _) => ("warn", "with gaps"),
        (false, _) => ("warn", "incomplete"),
    };
    html! { span class={ "state " (class) } { (word) } }
}

/// What retention takes out after the next run of each set.
fn next_to_go(row: &RepositoryRow, all: &[NextRetention]) -> Markup {
    html! {
        @if !all.is_empty() {
            h2 #retention { "What retention removes next" }
            p.quiet { "After each run the snapshots that the set's rules do not keep are taken out. A prune gives their space back, as far as no other snapshot needs it." }
            div.scroll tabindex="0" { table {
                thead { tr { th scope="col" { "Backup set" } th scope="col" { "After the next run" } th scope="col" { "Snapshots that go" } th.number scope="col" { "Kept then, with the new one" } } }
                tbody { @for next in all { tr {
                    th scope="row" { a href={ "/a/" (row.account) "/sets/" (next.set) } { (next.name) } }
                    td { @if let Some(at) = next.next_us { (words::time(at)) } @else { "when somebody asks for it" } }
                    td { @if next.forgotten.is_empty() { span.quiet { "none" } } @else {
                        @for (place, gone) in next.forgotten.iter().take(MOST_TO_GO).enumerate() { @if place > 0 { ", " } (words::time(gone.time_us)) }
                        @if next.forgotten.len() > MOST_TO_GO { " and " (next.forgotten.len() - MOST_TO_GO) " more" }
                    } }
                    td.number { (next.left) }
                } } }
            } }
        }
    }
}

/// The form that takes a repository off the list; `own`: it lies in the server's own storage.
pub(super) fn removal(row: &RepositoryRow, own: bool) -> Markup {
    html! {
        details {
            summary { "Take this repository off the list" }
            p { "This server drops what it keeps of it: its own key, an owner's key if it holds one, and the secrets of the storage. What is stored stays where it is, and your key opens it; who has the key can take it over again on the page Storage. Backup sets that write to it are removed first." }
            @if own { p { "It lies in this server's own storage, where it counts towards what the account may store as before, until whoever runs the server deletes its folder." } }
            form method="post" action={ "/a/" (row.account) "/storage/" (row.id) "/removal" } { button.danger type="submit" { "Take it off the list" } }
        }
    }
}

/// Takes one off the list.
pub(super) async fn remove(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, repository)): At<(Id, Id)>,
) -> Answer {
    repositories::remove(&server, &actor, &account, &repository).await?;
    Ok(go(&format!("/a/{account}/storage")))
}

/// What the form sends.
#[derive(Debug, Deserialize)]
pub(super) struct Upkeep {
    kind: JobKind,
    #[serde(default)]
    read_data: String,
}

/// Asks for upkeep.
pub(super) async fn upkeep(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, repository)): At<(Id, Id)>,
    Form(wanted): Form<Upkeep>,
) -> Answer {
    let every_byte = wanted.read_data == "on";
    let job = repositories::upkeep(&server, &actor, &account, &repository, wanted.kind, every_byte).await?;
    Ok(go(&format!("/a/{account}/jobs/{job}")))
}
