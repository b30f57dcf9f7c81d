//! All accounts, for administrators, with what each may and how much of it is used.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::json;

use super::part::{Part, Which};
use super::{Answer, Chrome, Form, Page, Place, Query, go, page, words};
use crate::error::{Error, Result};
use crate::server::audit::Deed;
use crate::server::auth::Actor;
use crate::server::db::{Account, Entitlements, Used};
use crate::server::id::Id;
use crate::server::state::Server;
use crate::server::web::OfAccount;

const GIB: i64 = 1 << 30;
/// Accounts on a page.
const MOST: usize = 100;

/// What the forms send.
#[derive(Debug, Deserialize)]
pub(super) struct Typed {
    name: String,
    #[serde(default)]
    mailboxes: String,
    #[serde(default)]
    drives: String,
    #[serde(default)]
    sites: String,
    #[serde(default)]
    gib: String,
}

impl Typed {
    /// The limits; `before` is what they were: one in bytes that is no whole number of GiB stays where it was not changed.
    fn limits(&self, before: Entitlements) -> Result<Entitlements> {
        let bytes = match number("GiB", &self.gib)? {
            gib if before.bytes.is_some() && gib == before.bytes.map(whole_gib) => before.bytes,
            gib => gib.map(|gib| gib.saturating_mul(GIB)),
        };
        Ok(Entitlements {
            mailboxes: number("mailboxes", &self.mailboxes)?,
            drives: number("drives", &self.drives)?,
            sites: number("sites", &self.sites)?,
            bytes,
        })
    }
}

fn whole_gib(bytes: i64) -> i64 {
    bytes / GIB + i64::from(bytes % GIB > 0)
}

fn number(what: &str, text: &str) -> Result<Option<i64>> {
    match text.trim() {
        "" => Ok(None),
        text => text.parse::<u32>().map(|number| Some(i64::from(number))).map_err(|_| {
            Error::invalid(format!("The limit of {what} is not a whole number"))
                .with_hint("Leave it empty for no limit")
        }),
    }
}

fn size(bytes: i64) -> String {
    words::size(u64::try_from(bytes).unwrap_or(0))
}

/// How much is used of what there may be: "12 of 50".
fn of(used: i64, most: Option<i64>, word: impl Fn(i64) -> String) -> Markup {
    html! {
        (word(used))
        @if let Some(most) = most {
            " of " (word(most))
            @if used >= most { " " span.state.warn { "full" } }
        }
    }
}

/// What an account may, and how much of it is used.
pub(super) fn limits(limits: Entitlements, used: Used) -> Markup {
    html! {
        dl.facts {
            div { dt { "Mailboxes" } dd { (of(used.mailboxes, limits.mailboxes, words::number)) } }
            div { dt { "Drives" } dd { (of(used.drives, limits.drives, words::number)) } }
            div { dt { "Sites" } dd { (of(used.sites, limits.sites, words::number)) } }
            div { dt { "Stored" } dd { (of(used.bytes, limits.bytes, size)) } }
        }
    }
}

/// The page.
pub(super) async fn list(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    Query(which): Query<Which>,
) -> Answer {
    let (accounts, used) = (server.db.accounts().await?, server.db.used(None).await?);
    let part = Part::of(&accounts, &which, MOST, "account", |account| &account.name);
    let chrome = Chrome { actor: &actor, account: None, place: Place::Accounts };
    let body = html! {
        h1 { "Accounts" }
        @if accounts.is_empty() {
            p.empty { "There is no account yet. Add the first one: whose tenants and backup sets are to be kept apart from others'." }
        } @else {
            p.quiet { "What is used, and of how much where there is a limit. Over a limit nothing is added; runs and restores go on." }
            (part.finder())
            div.scroll tabindex="0" { table {
                thead { tr {
                    th scope="col" { "Account" } th.number scope="col" { "Mailboxes" } th.number scope="col" { "Drives" }
                    th.number scope="col" { "Sites" } th.number scope="col" { "Stored" } th scope="col" { "Since" } th scope="col" { span.unseen { "Change" } }
                } }
                tbody {
                    @for account in &part.shown {
                        @let (may, used) = (account.limits, used.get(&account.id).copied().unwrap_or_default());
                        tr {
                            th scope="row" { a href={ "/a/" (account.id) } { (account.name) } }
                            td.number { (of(used.mailboxes, may.mailboxes, words::number)) }
                            td.number { (of(used.drives, may.drives, words::number)) }
                            td.number { (of(used.sites, may.sites, words::number)) }
                            td.number { (of(used.bytes, may.bytes, size)) }
                            td { (words::time(account.created_us)) }
                            td { a href={ "/accounts/" (account.id) } aria-label={ "Settings of " (account.name) } { "Settings" } }
                        }
                    }
                }
            } }
            (part.ways())
        }
        h2 { "Add an account" }
        form.card method="post" action="/accounts" {
            label for="name" { "Name" }
            input #name name="name" required maxlength="100";
            details { summary { "Limits" } (fields(Entitlements::default())) }
            button type="submit" { "Add" }
        }
    };
    Ok(Page(page("Accounts", chrome, &body)).into_response())
}

fn fields(limits: Entitlements) -> Markup {
    let field = |name: &str, label: &str, most: Option<i64>| {
        let value = most.map(|most| most.to_string()).unwrap_or_default();
        html! {
            label for=(name) { (label) ", " span.quiet { "empty: no limit" } }
            input id=(name) name=(name) inputmode="numeric" maxlength="10" value=(value);
        }
    };
    html! {
        (field("mailboxes", "Mailboxes", limits.mailboxes))
        (field("drives", "Drives", limits.drives))
        (field("sites", "Sites", limits.sites))
        (field("gib", "Stored, in GiB", limits.bytes.map(whole_gib)))
    }
}

/// What keeps an account from being removed, counted.
async fn held(server: &Server, account: &Id) -> Result<Vec<String>> {
    let db = &server.db;
    let all = [
        (db.tenants(account).await?.len(), "tenant"),
        (db.sets(account).await?.len(), "backup set"),
        (db.repositories(account).await?.len(), "repository"),
        (db.clients(account).await?.len(), "client"),
    ];
    Ok(all.iter().filter(|(many, _)| *many > 0).map(|(many, what)| words::count(*many, what)).collect())
}

/// The page of one.
pub(super) async fn show(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    OfAccount(account): OfAccount,
) -> Answer {
    let used = server.db.used(Some(&account.id)).await?.remove(&account.id).unwrap_or_default();
    let held = held(&server, &account.id).await?;
    let chrome = Chrome { actor: &actor, account: None, place: Place::Accounts };
    let body = html! {
        h1 { (account.name) }
        h2 { "Used" }
        (limits(account.limits, used))
        h2 { "Name and limits" }
        form.card method="post" action={ "/accounts/" (account.id) } {
            p.quiet { "Over a limit nothing is added; runs and restores go on. What a backup set chooses counts from when it is made: users where they have a licence, until a run has read what they have." }
            label for="name" { "Name" }
            input #name name="name" required maxlength="100" value=(account.name);
            (fields(account.limits))
            button type="submit" { "Save" }
        }
        p { a href={ "/a/" (account.id) } { "To the account" } }
        h2 { "Remove" }
        p { "An account can be removed once it has no tenant, backup set, repository or client. Its people, the history of its runs and its notices are deleted; the audit log stays, and so does what is stored elsewhere." }
        @if held.is_empty() {
            form.card method="post" action={ "/accounts/" (account.id) "/removal" } {
                label for="typed" { "Type the account's name" }
                input #typed name="typed" required autocomplete="off";
                button.danger type="submit" { "Remove the account" }
            }
        } @else {
            p { "It still has " (held.join(", ")) "." }
        }
    };
    Ok(Page(page(&account.name, chrome, &body)).into_response())
}

/// Takes the form of a new one.
pub(super) async fn add(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    Form(typed): Form<Typed>,
) -> Answer {
    let limits = typed.limits(Entitlements::default())?;
    let account = server.db.add_account(&typed.name, limits, server.now_us()).await?;
    note(&server, &actor, &account, "account.add").await?;
    Ok(go(&format!("/a/{}", account.id)))
}

/// Takes the form of one.
pub(super) async fn change(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    OfAccount(account): OfAccount,
    Form(typed): Form<Typed>,
) -> Answer {
    let limits = typed.limits(account.limits)?;
    server.db.change_account(&account.id, &typed.name, limits).await?;
    note(&server, &actor, &server.db.account(&account.id).await?, "account.change").await?;
    Ok(go(&format!("/accounts/{}", account.id)))
}

/// What the form sends.
#[derive(Debug, Deserialize)]
pub(super) struct Removal {
    typed: String,
}

/// Removes one that has nothing any more.
pub(super) async fn remove(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    OfAccount(account): OfAccount,
    Form(removal): Form<Removal>,
) -> Answer {
    if removal.typed.trim() != account.name {
        return Err(Error::invalid("What was typed is not the account's name").into());
    }
    server.db.remove_account(&account.id).await?;
    note(&server, &actor, &account, "account.remove").await?;
    Ok(go("/accounts"))
}

async fn note(server: &Server, actor: &Actor, account: &Account, action: &'static str) -> Result<()> {
    let detail = json!({"limits": account.limits});
    let deed = Deed { account: Some(&account.id), action, object: &account.name, detail };
    server.db.note(actor, deed, server.now_us()).await
}
