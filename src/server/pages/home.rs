//! How an account stands.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use maud::html;

use super::{Answer, Chrome, Page, Place, go, page};
use crate::server::auth::Actor;
use crate::server::id::Id;
use crate::server::state::Server;

/// Leads to where whoever signed in begins.
pub(super) async fn start(Extension(actor): Extension<Actor>) -> Answer {
    Ok(match &actor.account {
        Some(account) => go(&format!("/a/{account}")),
        None => go("/accounts"),
    })
}

/// The page.
pub(super) async fn show(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    Path(account): Path<String>,
) -> Answer {
    let account = server.db.account(&Id::parse(&account)?).await?;
    let chrome = Chrome { actor: &actor, account: Some(&account), place: Place::Home };
    Ok(Page(page("Home", chrome, &html! { h1 { (account.name) } })).into_response())
}
