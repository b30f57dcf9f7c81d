//! The audit log of an account.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Query, State};
use axum::response::IntoResponse;
use maud::html;
use serde::Deserialize;

use super::{Answer, Chrome, Page, Place, page, words};
use crate::server::auth::Actor;
use crate::server::id::Id;
use crate::server::state::Server;
use crate::server::web::At;

const MOST: i64 = 100;

/// Which page.
#[derive(Debug, Deserialize)]
pub(super) struct Which {
    before: Option<i64>,
}

/// The page.
pub(super) async fn show(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At(account): At<Id>,
    Query(which): Query<Which>,
) -> Answer {
    let account = server.db.account(&account).await?;
    let all = server.db.audit(Some(&account.id), which.before.unwrap_or(i64::MAX), MOST).await?;
    let chrome = Chrome { actor: &actor, account: Some(&account), place: Place::Activity };
    let body = html! {
        h1 { "Activity" }
        p.quiet { "Who did what. Each entry is chained to the one before it by its hash, so that a change shows; the API exports the log and verifies it." }
        @if all.is_empty() { p.empty { "Nothing has been done yet." } } @else {
            div.scroll tabindex="0" { table {
                thead { tr { th.number scope="col" { "No." } th scope="col" { "When" } th scope="col" { "Who" } th scope="col" { "From" } th scope="col" { "What" } th scope="col" { "To what" } } }
                tbody { @for entry in &all { tr {
                    td.number { (entry.number) } td { (words::time(entry.at_us)) } td { (entry.actor) } td { (entry.address) }
                    td { code { (entry.action) } } td { (entry.object) }
                } } }
            } }
            @if let Some(last) = all.last().filter(|_| all.len() as i64 == MOST) {
                p { a.button.plain href={ "?before=" (last.number) } { "Earlier" } }
            }
        }
    };
    Ok(Page(page("Activity", chrome, &body)).into_response())
}
