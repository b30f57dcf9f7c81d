//! All accounts, for administrators.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use maud::html;
use serde::Deserialize;
use serde_json::json;

use super::{Answer, Chrome, Form, Page, Place, go, page, words};
use crate::server::audit::Deed;
use crate::server::auth::Actor;
use crate::server::db::Entitlements;
use crate::server::state::Server;

/// What the form sends.
#[derive(Debug, Deserialize)]
pub(super) struct Typed {
    name: String,
}

/// The page.
pub(super) async fn list(State(server): State<Arc<Server>>, Extension(actor): Extension<Actor>) -> Answer {
    let accounts = server.db.accounts().await?;
    let chrome = Chrome { actor: &actor, account: None, place: Place::Accounts };
    let body = html! {
        h1 { "Accounts" }
        @if accounts.is_empty() {
            p.empty { "There is no account yet. Add the first one: whose tenants and backup sets are to be kept apart from others'." }
        } @else {
            div.scroll tabindex="0" { table {
                thead { tr { th scope="col" { "Account" } th scope="col" { "Since" } } }
                tbody {
                    @for account in &accounts {
                        tr {
                            th scope="row" { a href={ "/a/" (account.id) } { (account.name) } }
                            td { (words::time(account.created_us)) }
                        }
                    }
                }
            } }
        }
        h2 { "Add an account" }
        form.card method="post" action="/accounts" {
            label for="name" { "Name" }
            input #name name="name" required maxlength="100";
            button type="submit" { "Add" }
        }
    };
    Ok(Page(page("Accounts", chrome, &body)).into_response())
}

/// Takes the form.
pub(super) async fn add(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    Form(typed): Form<Typed>,
) -> Answer {
    let now = server.now_us();
    let account = server.db.add_account(&typed.name, Entitlements::default(), now).await?;
    let deed = Deed { account: Some(&account.id), action: "account.add", object: &account.name, detail: json!({}) };
    server.db.note(&actor, deed, now).await?;
    Ok(go(&format!("/a/{}", account.id)))
}
