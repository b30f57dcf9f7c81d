//! Clients: machines that run backup sets.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use maud::{Markup, html};
use serde::Deserialize;

use super::part::{Part, Which};
use super::{Answer, Chrome, Form, Page, Place, Query, go, page, words};
use crate::error::{Error, Result};
use crate::server::auth::{Actor, Right};
use crate::server::db::{Account, ClientRow, ClientToBe, SetRow};
use crate::server::deeds::clients::{self, NewCode};
use crate::server::id::Id;
use crate::server::state::Server;
use crate::server::web::At;

const GIB: i64 = 1 << 30;
/// Clients on a page: each has a form.
const MOST: usize = 40;
/// Backup sets of a client that are named.
const MOST_SETS: usize = 5;

/// What the form of a new one sends.
#[derive(Debug, Deserialize)]
pub(super) struct Typed {
    name: String,
    #[serde(default)]
    most_gib: String,
}

impl Typed {
    fn wanted(self) -> Result<ClientToBe> {
        let most_bytes = match self.most_gib.trim() {
            "" => None,
            text => {
                let gib = text.parse::<u32>().map_err(|_| {
                    Error::invalid("The limit is not a whole number of GiB").with_hint("Leave it empty for no limit")
                })?;
                Some(i64::from(gib) * GIB)
            }
        };
        Ok(ClientToBe { name: self.name, most_bytes })
    }
}

/// The page.
pub(super) async fn list(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At(account): At<Id>,
    Query(which): Query<Which>,
) -> Answer {
    let account = server.db.account(&account).await?;
    Ok(Page(show(&server, &actor, &account, &which, None).await?).into_response())
}

async fn show(
    server: &Server,
    actor: &Actor,
    account: &Account,
    which: &Which,
    new: Option<(&str, &NewCode)>,
) -> Result<Markup> {
    let (all, sets) = (server.db.clients(&account.id).await?, server.db.sets(&account.id).await?);
    let part = Part::of(&all, which, MOST, "client", |client| &client.name);
    let may = actor.may(Right::Change, Some(&account.id));
    let body = html! {
        h1 { "Clients" }
        p { "A client is a machine of yours that runs backup sets in place of the server: where the server should not sign in to the tenant, or "
            "where another network is closer. It writes to the repositories here; the server still applies retention and gives back space." }
        @if new.is_some() && !server.is_secure() {
            p.notice.warn { "This server has no TLS of its own, and clients refuse its address from any other machine, since secrets would travel in the clear. Set up its public https address first, or run the client on this machine." }
        }
        @if let Some((name, code)) = new {
            section.notice.good role="status" {
                p { "The one-time code of " strong { (name) } ", shown only this once. It is good until " (words::time(code.expires_us)) ":" }
                p { code.key { (code.code) } }
                p { "On that machine, run this and enter the code when it asks:" }
                pre { "tenantvault agent enroll " (server.link("")) }
                p { "Then " code { "tenantvault agent run" } " does its work; a systemd unit comes with the program." }
            }
        }
        @if all.is_empty() { p.empty { "There is no client yet: the server runs all backup sets itself." } } @else {
            (part.finder())
            div.scroll tabindex="0" { table {
                thead { tr { th scope="col" { "Client" } th scope="col" { "State" } th scope="col" { "Last seen" } th scope="col" { "Backup sets" } th scope="col" { "Limit" } @if may { th scope="col" { "Change" } } } }
                tbody { @for client in &part.shown { (row(server, account, client, &sets, may)) } }
            } }
            (part.ways())
        }
        @if may {
            h2 { "Add a client" }
            form.card method="post" action={ "/a/" (account.id) "/clients" } {
                label for="name" { "Name, " span.quiet { "as you call the machine" } }
                input #name name="name" required maxlength="100" spellcheck="false";
                label for="most_gib" { "Limit in GiB, " span.quiet { "how much the repositories that it writes to may hold before it adds no more; empty: no limit" } }
                input #most_gib name="most_gib" inputmode="numeric";
                button type="submit" { "Add and make a one-time code" }
            }
            h2 { "What a client can do" }
            ul {
                li { "It adds to the repository of a backup set while it runs that set. It cannot change or delete anything that is stored, and at other times it has no access." }
                li { "It reads the tenant itself, so for each run it is handed the app's secret. It is also handed a key of its own, which shows names, subjects, addresses, dates and sizes in that repository, but no mail, file or chat." }
                li { "Removing it here ends its token at once and takes its key out. If the machine was stolen while it ran, change the app's secret too." }
                li { "Whoever steals a client can write false data while a run is its own. Give machines that you trust less a repository of their own." }
            }
        }
    };
    let chrome = Chrome { actor, account: Some(account), place: Place::Clients };
    Ok(page("Clients", chrome, &body))
}

fn row(server: &Server, account: &Account, client: &ClientRow, sets: &[SetRow], may: bool) -> Markup {
    let own: Vec<&SetRow> = sets.iter().filter(|set| set.client.as_ref() == Some(&client.id)).collect();
    let waits = client.code_expires_us.is_some_and(|until| until > server.now_us());
    html! { tr {
        th scope="row" { (client.name) @if let Some(version) = &client.version { br; span.quiet { "version " (version) } } }
        td { @if client.enrolled { span.state.good { "enrolled" } } @else if waits { span.state.warn { "waits for its code" } } @else { span.state.bad { "not enrolled" } } }
        td { @match client.seen_us { Some(at) => (words::time(at)), None => { span.quiet { "never" } } } }
        td { @if own.is_empty() { span.quiet { "none" } } @for (number, set) in own.iter().take(MOST_SETS).enumerate() {
            @if number > 0 { ", " } a href={ "/a/" (account.id) "/sets/" (set.id) } { (set.name) }
        } @if own.len() > MOST_SETS { " and " (own.len() - MOST_SETS) " more" } }
        td { @match client.most_bytes { Some(most) => (words::size(u64::try_from(most).unwrap_or_default())), None => { span.quiet { "none" } } } }
        @if may { td {
            form method="post" action={ "/a/" (account.id) "/clients/" (client.id) } {
                details { summary { "Name and limit" }
                    label for={ "name-" (client.id) } { "Name" }
                    input id={ "name-" (client.id) } name="name" maxlength="100" value=(client.name) spellcheck="false";
                    label for={ "most-" (client.id) } { "Limit in GiB" }
                    input id={ "most-" (client.id) } name="most_gib" inputmode="numeric" value=(client.most_bytes.map(|most| (most / GIB).to_string()).unwrap_or_default());
                    button.plain type="submit" name="what" value="save" { "Save" }
                }
                div.actions {
                    button.plain type="submit" name="what" value="code" { "New code" }
                    button.danger type="submit" name="what" value="remove" { "Remove" }
                }
            }
        } }
    } }
}

/// Takes the form of a new one.
pub(super) async fn add(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At(account): At<Id>,
    Form(typed): Form<Typed>,
) -> Answer {
    let account = server.db.account(&account).await?;
    let (client, code) = clients::add(&server, &actor, &account.id, &typed.wanted()?).await?;
    Ok(Page(show(&server, &actor, &account, &Which::default(), Some((&client.name, &code))).await?).into_response())
}

/// What is to be done.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum What {
    Save,
    Code,
    Remove,
}

/// What the form of a row sends.
#[derive(Debug, Deserialize)]
pub(super) struct Change {
    what: What,
    #[serde(default)]
    name: String,
    #[serde(default)]
    most_gib: String,
}

/// Changes one.
pub(super) async fn change(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, client)): At<(Id, Id)>,
    Form(change): Form<Change>,
) -> Answer {
    let account = server.db.account(&account).await?;
    let id = client;
    match change.what {
        What::Save => {
            let wanted = Typed { name: change.name, most_gib: change.most_gib }.wanted()?;
            clients::change(&server, &actor, &account.id, &id, &wanted).await?;
        }
        What::Code => {
            let client = server.db.client(&account.id, &id).await?;
            let code = clients::give_code(&server, &actor, &account.id, &id).await?;
            return Ok(Page(show(&server, &actor, &account, &Which::default(), Some((&client.name, &code))).await?)
                .into_response());
        }
        What::Remove => clients::remove(&server, &actor, &account.id, &id).await?,
    }
    Ok(go(&format!("/a/{}/clients", account.id)))
}
