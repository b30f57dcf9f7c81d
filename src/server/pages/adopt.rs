//! Taking over a repository that is there already.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use maud::{Markup, html};
use serde::Deserialize;

use super::storage::pairs;
use super::{Answer, Chrome, Form, Page, Place, page, words};
use crate::server::auth::{Actor, Password};
use crate::server::db::{Account, LeftBehind};
use crate::server::deeds::adopt::{self, RepositoryToAdopt};
use crate::server::deeds::repositories::PlaceToBe;
use crate::server::id::Id;
use crate::server::state::Server;
use crate::server::targets::OWN;
use crate::server::web::At;

/// What the form sends.
#[derive(Debug, Deserialize)]
pub(super) struct Typed {
    name: String,
    url: String,
    #[serde(default)]
    credentials: String,
    key: Password,
}

/// The form.
pub(super) fn form(account: &Account) -> Markup {
    html! {
        details {
            summary { "Take over a repository that is there already" }
            form.card method="post" action={ "/a/" (account.id) "/adoption" } {
                p.quiet { "From another server, or from one whose database is lost. Its backup sets, their history and the snapshots are read back from it. The key is used for that and not kept: the server makes a write-only key of its own." }
                label for="adopt_name" { "Name" }
                input #adopt_name name="name" required maxlength="100";
                label for="adopt_url" { "Where it lies, " span.quiet { "an administrator may name a folder of this server's machine, or, of a lost server's own storage, server:ACCOUNT/REPOSITORY" } }
                input #adopt_url name="url" required maxlength="2000" spellcheck="false" placeholder="s3://bucket/folder?endpoint=https://…&region=…";
                label for="adopt_credentials" { "The storage's secrets, " span.quiet { "one a line: name = secret" } }
                textarea #adopt_credentials name="credentials" spellcheck="false" autocomplete="off" {}
                label for="adopt_key" { "Its key, or passphrase" }
                input #adopt_key name="key" type="password" required autocomplete="off";
                button type="submit" { "Take it over" }
            }
        }
    }
}

/// The form for one that was taken off the list.
pub(super) fn again(account: &Account, left: &LeftBehind) -> Markup {
    let (name, key) = (format!("name_{}", left.id), format!("key_{}", left.id));
    html! {
        details {
            summary { "Take '" (left.name) "' over again" }
            form.card method="post" action={ "/a/" (account.id) "/adoption" } {
                input type="hidden" name="url" value={ (OWN) (left.id) };
                label for=(name) { "Name" }
                input id=(name) name="name" required maxlength="100" value=(left.name);
                label for=(key) { "Its key, or passphrase" }
                input id=(key) name="key" type="password" required autocomplete="off";
                button type="submit" { "Take it over" }
            }
        }
    }
}

/// Takes the form; says what was taken over, and what is to be entered again.
pub(super) async fn add(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At(account): At<Id>,
    Form(typed): Form<Typed>,
) -> Answer {
    let account = server.db.account(&account).await?;
    let wanted = RepositoryToAdopt {
        destination: PlaceToBe {
            name: format!("{} (first)", typed.name.trim()),
            url: typed.url.trim().to_owned(),
            credentials: pairs(&typed.credentials),
        },
        name: typed.name,
        key: typed.key,
    };
    let adopted = adopt::adopt(&server, &actor, &account.id, &wanted).await?;
    let base = format!("/a/{}", account.id);
    let chrome = Chrome { actor: &actor, account: Some(&account), place: Place::Storage };
    let body = html! {
        h1 { (adopted.row.name) }
        p.notice.good { "Taken over: " (words::count(adopted.sets.len(), "backup set")) ", " (words::count(adopted.snapshots, "snapshot")) "." }
        @if !adopted.sets.is_empty() {
            h2 { "To be entered again" }
            ul {
                @for tenant in adopted.tenants.iter().filter(|tenant| tenant.needs_secret) {
                    li { "The app and the secret of tenant " a href={ (base) "/tenants/" (tenant.id) } { (tenant.name) } ": secrets lie in no repository" }
                }
                @for set in &adopted.sets {
                    li { "When " a href={ (base) "/sets/" (set.id) "/change" } { (set.name) } " runs; its history has " (words::count(set.runs, "run")) }
                }
            }
        }
        @if !adopted.remarks.is_empty() {
            section.notice.warn { h2 { "Different from before" } ul { @for remark in &adopted.remarks { li { (remark) } } } }
        }
        p { a.button href={ (base) "/storage/" (adopted.row.id) } { "To the repository" } }
    };
    Ok(Page(page(&adopted.row.name, chrome, &body)).into_response())
}
