//! Keys: who can open the repositories of an account, and who holds what.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::part::{Part, Which};
use super::storage::{KitOf, key_mark, kit_facts, typed_back};
use super::{Answer, Chrome, Form, Page, Place, Query, go, page, words};
use crate::error::{Error, Result};
use crate::server::auth::{Actor, Password, Right};
use crate::server::db::{Account, ClientRow, RepositoryRow};
use crate::server::deeds::keys::{self, KeySlot};
use crate::server::deeds::own_storage;
use crate::server::error::problem;
use crate::server::id::Id;
use crate::server::state::Server;
use crate::server::store::{self, checksum};
use crate::server::web::{At, OfAccount, OfRepository};

/// Repositories on a page. All are asked at once, so that some that do not answer cost the page no more time than one.
const MOST: usize = 25;

async fn slots(server: &Server, row: &RepositoryRow) -> Result<Vec<KeySlot>> {
    store::soon(&row.name, keys::slots(server, row)).await
}

/// The page of all keys.
pub(super) async fn list(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    OfAccount(account): OfAccount,
    Query(which): Query<Which>,
) -> Answer {
    let clients = server.db.clients(&account.id).await?;
    let may = actor.may(Right::Keys, Some(&account.id));
    let rows = server.db.repositories(&account.id).await?;
    let part = Part::of(&rows, &which, MOST, "repository", |row| &row.name);
    let asked = part.shown.iter().map(|row| {
        let server = &server;
        async move { (slots(server, row).await, *row) }
    });
    let all = futures::future::join_all(asked).await;
    let chrome = Chrome { actor: &actor, account: Some(&account), place: Place::Keys };
    let body = html! {
        h1 { "Keys" }
        @if rows.is_empty() {
            p.empty { "There is no key yet: one is made with the first repository. " a href={ "/a/" (account.id) "/storage" } { "Make a repository" } "." }
        } @else {
            p.quiet { "An owner's key reads everything. A write-only key adds snapshots and cannot read what is in them. This server has one for each repository, with which it also forgets and prunes; each client has one of its own, with which it deletes nothing." }
            (part.finder())
        }
        @for (slots, row) in &all {
            section {
                h2 { (row.name) " " (key_mark(row)) }
                @match slots {
                    Ok(slots) => { (table(slots, &clients)) }
                    Err(e) => { (trouble(e)) }
                }
                @if may { p { a.button.plain href={ "/a/" (account.id) "/keys/" (row.id) } aria-label={ "Change keys of " (row.name) } { "Change keys" } } }
            }
        }
        @if !rows.is_empty() { (part.ways()) }
    };
    Ok(Page(page("Keys", chrome, &body)).into_response())
}

fn trouble(e: &Error) -> Markup {
    html! { p.notice.bad role="alert" { "It cannot be opened now: " (e.to_string()) "." @if let Some(hint) = e.hint() { " " (words::sentence(hint)) } } }
}

/// What a key is called, with the beginning of its id.
fn called(slot: &KeySlot) -> String {
    let id = slot.id.get(..8).unwrap_or_default();
    if slot.label.is_empty() { id.to_owned() } else { format!("{} ({id})", slot.label) }
}

/// The keys of a repository.
pub(super) fn table(slots: &[KeySlot], clients: &[ClientRow]) -> Markup {
    html! {
        div.scroll tabindex="0" { table.keys {
            thead { tr {
                th scope="col" { "Key" } th scope="col" { "Can" } th scope="col" { "Held by" } th scope="col" { "Made" }
                th scope="col" { "Last used" } th scope="col" { "Checksum in the kit" }
            } }
            tbody { @for slot in slots { tr {
                th scope="row" { (called(slot)) }
                td { (rights(slot)) }
                td { (holder(slot, clients)) }
                td { (words::time(slot.created_us)) }
                td { @if let Some(at) = slot.used_us { (words::time(at)) } @else if slot.of_server { "by each run" } @else { span.quiet { "not known" } } }
                td { @if let Some(checksum) = &slot.checksum { code { (checksum) } } }
            } } }
        } }
    }
}

/// What a key can do. The storage lets a client add and nothing else, whatever its key could do elsewhere.
fn rights(slot: &KeySlot) -> &'static str {
    if slot.is_owner() {
        "read and write everything"
    } else if slot.of_client.is_some() {
        "add snapshots; not read contents, not delete"
    } else {
        "add snapshots, forget and prune; not read contents"
    }
}

fn holder(slot: &KeySlot, clients: &[ClientRow]) -> Markup {
    let client = slot.of_client.as_ref().and_then(|id| clients.iter().find(|client| client.id == *id));
    html! {
        @if slot.of_server { "this server" }
        @else if let Some(client) = client { "client " (client.name) }
        @else if slot.held_by_server { span.state.warn { "its owner, and this server" } }
        @else if slot.is_owner() { "its owner" }
        @else { "whoever it was made for" }
    }
}

/// The page of a repository's keys.
pub(super) async fn show(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    OfRepository { account, row }: OfRepository,
) -> Answer {
    let slots = slots(&server, &row).await;
    let clients = server.db.clients(&account.id).await?;
    let chrome = Chrome { actor: &actor, account: Some(&account), place: Place::Keys };
    let open = server.unlocked.is_open(&actor, &row, server.now_us());
    let here = format!("/a/{}/keys/{}", account.id, row.id);
    let forms = Forms { here: &here, open: open || row.holds_owner_key };
    let none = Vec::new();
    let all = slots.as_ref().unwrap_or(&none);
    let body = html! {
        h1 { "Keys of '" (row.name) "'" }
        p { (key_mark(&row)) " Repository " code { (row.repository) } }
        @match &slots {
            Ok(slots) => { (table(slots, &clients)) }
            Err(e) => { (trouble(e)) }
        }
        @if open {
            form method="post" action={ "/a/" (account.id) "/look/" (row.id) "/lock" } {
                p { "You have unlocked it: what you do here needs no key again." }
                button.plain type="submit" { "Lock it again" }
            }
        } @else if !row.holds_owner_key {
            p { "To change keys you need an owner's key: enter it below each time, or "
                a href={ "/a/" (account.id) "/look/" (row.id) "/unlock?back=" (super::encode(&here)) } { "unlock the repository" } " once." }
        }
        div.cards {
            (forms.add()) (forms.replace(&row, all)) (forms.remove(all)) (forms.of_server())
        }
        (forms.hold(&row))
        @if actor.may(Right::Change, Some(&account.id)) { h2 { "The repository" } (super::storage::removal(&row, own_storage::is_own(&server, &row).await?)) }
    };
    Ok(Page(page("Keys", chrome, &body)).into_response())
}

/// The forms of the page.
struct Forms<'a> {
    here: &'a str,
    /// The repository is open for who looks: no key is asked for.
    open: bool,
}

impl Forms<'_> {
    /// The field for an owner's key.
    fn key(&self, id: &str) -> Markup {
        html! { @if !self.open {
            label for=(id) { "An owner's key that you have, " span.quiet { "as proof" } }
            input id=(id) name="key" type="password" required autocomplete="off" spellcheck="false";
        } }
    }

    fn add(&self) -> Markup {
        html! {
            form.card method="post" action={ (self.here) "/new" } {
                h2 { "Add an owner's key" }
                p.quiet { "For a second person, or for a safe. It is made here and shown once." }
                label for="label" { "Whose it is, or where it is kept" }
                input #label name="label" required maxlength="100";
                (self.key("add_key"))
                button type="submit" { "Make the key" }
            }
        }
    }

    fn replace(&self, row: &RepositoryRow, slots: &[KeySlot]) -> Markup {
        html! {
            form.card method="post" action={ (self.here) "/new" } {
                h2 { "Replace an owner's key" }
                p.quiet { "A new one is made and shown once. The old one is removed when you have typed back the end of the new one." }
                @if row.holds_owner_key { p.quiet { "Where this server holds the old one, it holds the new one in its place from then on." } }
                label for="old" { "Which" }
                select #old name="old" required { @for slot in slots.iter().filter(|slot| slot.is_owner()) {
                    option value=(slot.id) { (called(slot)) }
                } }
                (self.key("replace_key"))
                button type="submit" { "Make the new key" }
            }
        }
    }

    fn remove(&self, slots: &[KeySlot]) -> Markup {
        let owners = slots.iter().filter(|slot| slot.is_owner()).count();
        let may_go = |slot: &&KeySlot| {
            let needed = slot.of_server || slot.held_by_server || slot.of_client.is_some();
            !needed && (!slot.is_owner() || owners > 1)
        };
        let candidates: Vec<&KeySlot> = slots.iter().filter(may_go).collect();
        html! {
            form.card method="post" action={ (self.here) "/removal" } {
                h2 { "Remove a key" }
                @if candidates.is_empty() {
                    p { "There is none that could go. The last owner's key stays, for without one nothing could ever be read again; a client's key goes with the client; one that this server holds is taken back from it first." }
                } @else {
                    p.quiet { "It opens the repository no longer. Who copied the repository's files before can still open that copy with it. A key cannot remove itself." }
                    label for="slot" { "Which" }
                    select #slot name="slot" required { @for slot in &candidates { option value=(slot.id) { (called(slot)) } } }
                    (self.key("remove_key"))
                    button.danger type="submit" { "Remove the key" }
                }
            }
        }
    }

    fn of_server(&self) -> Markup {
        html! {
            form.card method="post" action={ (self.here) "/server-key" } {
                h2 { "Renew this server's key" }
                p.quiet { "The server makes itself a new write-only key, and its old one is removed. Do this if a copy of its database and master key got into the wrong hands. Runs go on meanwhile." }
                (self.key("server_key"))
                button type="submit" { "Renew the key" }
            }
        }
    }

    fn hold(&self, row: &RepositoryRow) -> Markup {
        html! {
            section {
                h2 { "Who can read what is stored" }
                @if row.holds_owner_key {
                    p { "The account lets this server hold an owner's key. It restores, and owners change keys here, without anybody unlocking; it, whoever runs it, and whoever gets hold of its database together with its master key can read everything in this repository." }
                    form method="post" action={ (self.here) "/held-key/removal" } {
                        button.danger type="submit" { "Take the key back" }
                        p.quiet { "The server deletes its copy at once, and what it has open with it is locked. From then on only owners' keys read contents: make sure that you have one. What was read before stays known to whoever read it." }
                    }
                } @else {
                    p { "Only whoever has an owner's key. The server has none, and none of its pages or programs can read contents without one." }
                    details {
                        summary { "Let the server hold an owner's key" }
                        form.card method="post" action={ (self.here) "/held-key" } {
                            p.notice.warn { "The server can read everything in this repository then: mails, files, chats. So can whoever runs it, and whoever steals its database together with its master key." }
                            p { "In return nobody has to unlock for a restore, and a key that you lose is not the end. You can take it back at any time." }
                            (self.key("held_key"))
                            label { input type="checkbox" name="understood" value="yes" required; " I know that whoever runs this server can read everything then" }
                            button.danger type="submit" { "Let the server hold it" }
                        }
                    }
                }
            }
        }
    }
}

/// What the forms send.
#[derive(Debug, Deserialize)]
pub(super) struct Typed {
    key: Option<Password>,
    #[serde(default)]
    label: String,
    /// The key that is replaced.
    #[serde(default)]
    old: String,
    /// The key that is removed.
    #[serde(default)]
    slot: String,
    #[serde(default)]
    understood: String,
}

impl Typed {
    /// The key, where one was entered.
    fn key(&self) -> Option<&Password> {
        self.key.as_ref().filter(|key| !key.expose().is_empty())
    }
}

/// Makes a key and shows it.
pub(super) async fn add(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    OfRepository { account, row }: OfRepository,
    Form(typed): Form<Typed>,
) -> Answer {
    let old = match typed.old.as_str() {
        "" => None,
        old => {
            let all = keys::slots(&server, &row).await?;
            let found = all.into_iter().find(|slot| slot.id == old && slot.is_owner());
            Some(found.ok_or_else(|| Error::not_found("There is no such key"))?)
        }
    };
    let label = old.as_ref().map_or(typed.label.as_str(), |old| old.label.as_str());
    let made = keys::add(&server, &actor, &account.id, &row.id, typed.key(), label).await?;
    let made_us = Some(server.now_us());
    let kit = kit(&server, (&account, &row), (made.key.expose_text(), made_us), &typed.old, None).await;
    Ok(shown(&actor, &account, &kit))
}

fn shown(actor: &Actor, account: &Account, body: &Markup) -> Response {
    let chrome = Chrome { actor, account: Some(account), place: Place::Keys };
    Page(page("Your key", chrome, body)).into_response()
}

/// The new key, with when it was made, and the question for its end.
async fn kit(
    server: &Server,
    (account, row): (&Account, &RepositoryRow),
    (key, made_us): (&str, Option<i64>),
    old: &str,
    wrong: Option<&str>,
) -> Markup {
    let facts = kit_facts(server, account, row, key, KitOf::Further { made_us }).await;
    html! {
        h1 { "A new key of '" (row.name) "'" }
        (facts)
        h2 { "Do you have it?" }
        @if let Some(wrong) = wrong { p.notice.bad role="alert" { (words::sentence(wrong)) } }
        form.card method="post" action={ "/a/" (account.id) "/keys/" (row.id) "/confirmation" } {
            (typed_back(key))
            input type="hidden" name="old" value=(old);
            @if old.is_empty() { button type="submit" { "I have kept it" } }
            @else {
                p.quiet { "The old key is removed then. Until you have done this, both open the repository." }
                button type="submit" { "I have kept it; remove the old one" }
            }
        }
    }
}

/// What the form sends.
#[derive(Debug, Deserialize)]
pub(super) struct Proof {
    key: Password,
    last_four: String,
    #[serde(default)]
    old: String,
}

/// Takes the end of a new key; removes the one that it replaces.
pub(super) async fn confirm(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    OfRepository { account, row }: OfRepository,
    Form(proof): Form<Proof>,
) -> Answer {
    let (id, key) = (&row.id, &proof.key);
    if let Err(e) = keys::confirm(&server, &actor, &account.id, id, key, &proof.last_four).await {
        let (status, problem) = problem(&e);
        let made_us = made_us(&server, &row, key.expose()).await;
        let message = Some(problem.message.as_str());
        let kit = kit(&server, (&account, &row), (key.expose(), made_us), &proof.old, message).await;
        return Ok((status, shown(&actor, &account, &kit)).into_response());
    }
    if !proof.old.is_empty() {
        keys::replace(&server, &actor, &account.id, id, key, &proof.old).await?;
    }
    Ok(back(&account.id, id))
}

/// When a key that this server made was made; none where that cannot be told now.
async fn made_us(server: &Server, row: &RepositoryRow, key: &str) -> Option<i64> {
    let all = slots(server, row).await.ok()?;
    let checksum = Some(checksum(key));
    all.iter().find(|slot| slot.checksum == checksum).map(|slot| slot.created_us)
}

fn back(account: &Id, repository: &Id) -> Response {
    go(&format!("/a/{account}/keys/{repository}"))
}

/// Removes a key.
pub(super) async fn remove(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, repository)): At<(Id, Id)>,
    Form(typed): Form<Typed>,
) -> Answer {
    keys::remove(&server, &actor, &account, &repository, typed.key(), &typed.slot).await?;
    Ok(back(&account, &repository))
}

/// Renews the server's own key.
pub(super) async fn renew_of_server(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, repository)): At<(Id, Id)>,
    Form(typed): Form<Typed>,
) -> Answer {
    keys::renew_of_server(&server, &actor, &account, &repository, typed.key()).await?;
    Ok(back(&account, &repository))
}

/// Lets the server hold an owner's key.
pub(super) async fn hold(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, repository)): At<(Id, Id)>,
    Form(typed): Form<Typed>,
) -> Answer {
    if typed.understood != "yes" {
        return Err(Error::invalid("The box that says what follows from it is not ticked")
            .with_hint("Read it, and tick it if you want that")
            .into());
    }
    keys::hold(&server, &actor, &account, &repository, typed.key()).await?;
    Ok(back(&account, &repository))
}

/// Takes it back.
pub(super) async fn let_go(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, repository)): At<(Id, Id)>,
) -> Answer {
    keys::let_go(&server, &actor, &account, &repository).await?;
    Ok(back(&account, &repository))
}
