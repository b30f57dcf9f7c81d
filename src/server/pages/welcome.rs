//! Choosing a password, by an invitation's link.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use maud::html;
use serde::Deserialize;
use serde_json::json;

use super::{Answer, Form, Page, go, layout};
use crate::error::{Error, ErrorKind};
use crate::server::audit::Deed;
use crate::server::auth::Password;
use crate::server::state::Server;
use crate::server::web::Peer;

/// What the form sends.
#[derive(Debug, Deserialize)]
pub(super) struct Chosen {
    password: Password,
    again: Password,
}

/// The page.
pub(super) async fn show(State(server): State<Arc<Server>>, Path(token): Path<String>) -> Answer {
    let person = server.db.invited(&server.vault, &token, server.now_us()).await?;
    Ok(form(&person.login, None).into_response())
}

fn form(login: &str, error: Option<&Error>) -> Page {
    Page(layout::bare(
        "Welcome",
        &html! {
            h1 { "Welcome" }
            p { "Choose a password for " strong { (login) } ", which is your login." }
            @if let Some(error) = error {
                p.notice.bad role="alert" { (error) "." @if let Some(hint) = error.hint() { " " (hint) "." } }
            }
            form.card method="post" {
                input type="hidden" name="login" value=(login) autocomplete="username";
                label for="password" { "Password, " span.quiet { "at least 12 characters" } }
                input #password name="password" type="password" autocomplete="new-password" minlength="12" required autofocus;
                label for="again" { "The same once more" }
                input #again name="again" type="password" autocomplete="new-password" minlength="12" required;
                button type="submit" { "Set password" }
            }
        },
    ))
}

/// Takes the form.
pub(super) async fn accept(
    State(server): State<Arc<Server>>,
    Path(token): Path<String>,
    peer: Peer,
    Form(chosen): Form<Chosen>,
) -> Answer {
    let now = server.now_us();
    let person = server.db.invited(&server.vault, &token, now).await?;
    let had_factor = person.second_factor;
    let same = chosen.password.expose() == chosen.again.expose();
    let accepted = match same {
        true => server.db.accept(&server.vault, &token, &chosen.password, now).await,
        false => Err(Error::invalid("The two passwords are not the same")),
    };
    match accepted {
        Ok(person) => {
            // All their sessions and tokens have ended, if there were any.
            server.unlocked.lock_person(&person.id);
            let account = person.account.as_ref();
            let detail = json!({"second_factor_ended": had_factor});
            let deed = Deed { account, action: "password.set", object: &person.login, detail };
            server.db.note_as(&person.login, &peer.address, deed, now).await?;
            Ok(go("/sign-in"))
        }
        Err(e) if e.kind() == ErrorKind::InvalidInput => {
            Ok((StatusCode::UNPROCESSABLE_ENTITY, form(&person.login, Some(&e))).into_response())
        }
        Err(e) => Err(e.into()),
    }
}
