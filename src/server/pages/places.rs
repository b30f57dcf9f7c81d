//! Where a repository lies, and the forms that change it: a secret that was renewed, an address that is another one by now.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use maud::{Markup, html};
use serde::Deserialize;

use super::storage::pairs;
use super::tenants::given;
use super::{Answer, Form, go};
use crate::server::auth::Actor;
use crate::server::db::{DestinationRow, RepositoryRow};
use crate::server::deeds::repositories::{self, PlaceAnew};
use crate::server::id::Id;
use crate::server::state::Server;
use crate::server::targets::OWN;
use crate::server::web::At;

/// What the form sends.
#[derive(Debug, Deserialize)]
pub(super) struct Typed {
    name: String,
    #[serde(default)]
    url: String,
    #[serde(default)]
    credentials: String,
}

/// The places of a repository; `may`: each with the form that changes it.
pub(super) fn list(row: &RepositoryRow, places: &[DestinationRow], may: bool) -> Markup {
    html! {
        ul { @for place in places { li {
            strong { (place.name) } " " @if place.url == OWN { "this server's own storage" } @else { code { (place.url) } }
            @if place.position > 0 { " (replica)" }
            @if let Some(lag) = &place.lag { p.notice.warn { "Lags behind: " (lag) } }
            @if may { (form(row, place)) }
        } } }
    }
}

fn form(row: &RepositoryRow, place: &DestinationRow) -> Markup {
    let id = |field: &str| format!("{field}-{}", place.id);
    html! {
        details { summary { @if place.url == OWN { "Change its name" } @else { "Change its secrets, address or name" } span.unseen { ": " (place.name) } }
            form.card method="post" action={ "/a/" (row.account) "/destinations/" (place.id) } {
                label for=(id("name")) { "Name" }
                input id=(id("name")) name="name" required maxlength="100" value=(place.name);
                @if place.url != OWN {
                    p.quiet { "The same repository must be found there. The next run uses what is entered here." }
                    label for=(id("url")) { "Where it lies" }
                    input id=(id("url")) name="url" required maxlength="2000" spellcheck="false" autocomplete="off" value=(place.url);
                    label for=(id("credentials")) { "The storage's secrets, " span.quiet { "all of them, one per line: name = secret; empty: those that are kept" } }
                    textarea id=(id("credentials")) name="credentials" spellcheck="false" autocomplete="off" placeholder="access_key_id = …" {}
                }
                button type="submit" { "Save" }
            }
        }
    }
}

/// Takes the form.
pub(super) async fn change(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, destination)): At<(Id, Id)>,
    Form(typed): Form<Typed>,
) -> Answer {
    let credentials = pairs(&typed.credentials);
    let wanted = PlaceAnew {
        name: typed.name,
        url: given(&typed.url),
        credentials: (!credentials.is_empty()).then_some(credentials),
    };
    let place = repositories::change_place(&server, &actor, &account, &destination, &wanted).await?;
    Ok(go(&format!("/a/{account}/storage/{}", place.repository)))
}
