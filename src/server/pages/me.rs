//! One's own sign-in: password, second factor, sessions, tokens.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use maud::{Markup, PreEscaped, html};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Chrome, Form, Page, Place, go, page, words};
use crate::error::{Error, Result};
use crate::server::audit::Deed;
use crate::server::auth::{Actor, Password, to_scan, way_of_session, way_of_token};
use crate::server::deeds::me as deeds;
use crate::server::id::Id;
use crate::server::state::Server;
use crate::server::web::At;

async fn render(server: &Server, actor: &Actor, before: Option<Markup>) -> Result<Response> {
    let now = server.now_us();
    let person = server.db.person(&actor.person).await?;
    let sessions = server.db.sessions(&person.id, now).await?;
    let tokens = server.db.tokens(&person.id).await?;
    let account = match &actor.account {
        Some(account) => Some(server.db.account(account).await?),
        None => None,
    };
    let body = html! {
        h1 { "Your sign-in" }
        p { "You are " strong { (person.login) } ": " (person.role.sentence()) "." }
        @if let Some(before) = before { (before) }
        h2 { "Password" }
        form.card method="post" action="/me/password" {
            label for="old" { "Password now" } input #old name="old" type="password" autocomplete="current-password" required;
            label for="password" { "New password, " span.quiet { "at least 12 characters" } } input #password name="password" type="password" autocomplete="new-password" minlength="12" required;
            p.quiet { "All your sessions end; sign in again with the new one." }
            button type="submit" { "Change" }
        }
        h2 { "Second factor" }
        @if person.second_factor {
            p { span.state.good { "on" } " A code of your authenticator app is asked for at every sign-in." }
            form.card method="post" action="/me/factor/removal" {
                label for="off" { "Password, to turn it off" } input #off name="old" type="password" autocomplete="current-password" required;
                button.danger type="submit" { "Turn off" }
            }
        } @else {
            p { span.state.calm { "off" } " With it, a stolen password alone is of no use." }
            form method="post" action="/me/factor" { button type="submit" { "Set up" } }
        }
        h2 { "Sessions" }
        div.scroll tabindex="0" { table {
            thead { tr { th scope="col" { "Since" } th scope="col" { "Last seen" } th scope="col" { "From" } th scope="col" { "Browser" } th scope="col" { "End" } } }
            tbody { @for session in &sessions { tr {
                td { (words::time(session.created_us)) } td { (words::time(session.seen_us)) } td { (session.address) } td { (session.agent) }
                td { @if actor.session.as_ref() == Some(&session.id) { "this one" } @else {
                    form method="post" action={ "/me/sessions/" (session.id) "/end" } { button.plain type="submit" { "End" } }
                } }
            } } }
        } }
        h2 { "API tokens" }
        @if tokens.is_empty() { p.empty { "None. A token lets a program act as you." } } @else {
            div.scroll tabindex="0" { table {
                thead { tr { th scope="col" { "For" } th scope="col" { "Since" } th scope="col" { "Last used" } th scope="col" { "Ends" } th scope="col" { "End" } } }
                tbody { @for token in &tokens { tr {
                    th scope="row" { (token.label) } td { (words::time(token.created_us)) }
                    td { @if let Some(at) = token.used_us { (words::time(at)) } @else { "never" } }
                    td { @if let Some(at) = token.expires_us { (words::time(at)) } @else { "never" } }
                    td { form method="post" action={ "/me/tokens/" (token.id) "/removal" } { button.danger type="submit" { "End" } } }
                } } }
            } }
        }
        form.card method="post" action="/me/tokens" {
            label for="label" { "A new token for" } input #label name="label" required maxlength="100" placeholder="monitoring";
            label for="days" { "Good for so many days, " span.quiet { "empty: without end" } } input #days name="days" type="number" min="1" max="3650";
            button type="submit" { "Make a token" }
        }
    };
    let chrome = Chrome { actor, account: account.as_ref(), place: Place::Me };
    Ok(Page(page("Your sign-in", chrome, &body)).into_response())
}

/// The page.
pub(super) async fn show(State(server): State<Arc<Server>>, Extension(actor): Extension<Actor>) -> Answer {
    Ok(render(&server, &actor, None).await?)
}

async fn note(server: &Server, actor: &Actor, action: &'static str, detail: Value) -> Result<()> {
    let deed = Deed { account: actor.account.as_ref(), action, object: &actor.login, detail };
    server.db.note(actor, deed, server.now_us()).await
}

/// What the form sends.
#[derive(Debug, Deserialize)]
pub(super) struct NewPassword {
    old: Password,
    password: Password,
}

/// Changes the password.
pub(super) async fn password(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    Form(typed): Form<NewPassword>,
) -> Answer {
    deeds::change_password(&server, &actor, &typed.old, &typed.password).await?;
    Ok(go("/sign-in"))
}

/// Begins to set up the second factor: shows what the app scans.
pub(super) async fn begin_factor(State(server): State<Arc<Server>>, Extension(actor): Extension<Actor>) -> Answer {
    let secret = deeds::begin_factor(&server, &actor).await?;
    let (_, picture) = to_scan(&secret, &actor.login)?;
    let picture = picture.split_once("?>").map_or(picture.as_str(), |(_, svg)| svg).to_owned();
    let setup = html! {
        section.card {
            h2 { "Scan this with your authenticator app" }
            div.scan role="img" aria-label="The secret as a picture to scan; it stands below as text" { (PreEscaped(picture)) }
            p { "Or type this into it: " code { (secret.as_str()) } }
            form method="post" action="/me/factor/confirmation" {
                label for="code" { "The code that it shows now" }
                input #code name="code" required inputmode="numeric" autocomplete="one-time-code" pattern="[0-9 ]*";
                button type="submit" { "Turn on" }
            }
        }
    };
    Ok(render(&server, &actor, Some(setup)).await?)
}

/// What the form sends.
#[derive(Debug, Deserialize)]
pub(super) struct Code {
    code: String,
}

/// Turns the second factor on.
pub(super) async fn confirm_factor(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    Form(typed): Form<Code>,
) -> Answer {
    deeds::confirm_factor(&server, &actor, &typed.code).await?;
    Ok(go("/me"))
}

/// What the form sends.
#[derive(Debug, Deserialize)]
pub(super) struct OldPassword {
    old: Password,
}

/// Turns the second factor off.
pub(super) async fn end_factor(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    Form(typed): Form<OldPassword>,
) -> Answer {
    deeds::end_factor(&server, &actor, &typed.old).await?;
    Ok(go("/me"))
}

/// Ends another session.
pub(super) async fn end_session(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At(session): At<Id>,
) -> Answer {
    server.db.end_session(&actor.person, &session).await?;
    server.unlocked.lock_way(&way_of_session(&session));
    note(&server, &actor, "session.end", json!({"session": session})).await?;
    Ok(go("/me"))
}

/// What the form sends.
#[derive(Debug, Deserialize)]
pub(super) struct TokenTyped {
    label: String,
    #[serde(default)]
    days: String,
}

/// Makes a token and shows it.
pub(super) async fn add_token(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    Form(typed): Form<TokenTyped>,
) -> Answer {
    let now = server.now_us();
    let expires = match typed.days.trim() {
        "" => None,
        days => {
            let days: u16 = days.parse().map_err(|_| Error::invalid("This is not a number of days"))?;
            Some(now + i64::from(days) * 86_400_000_000)
        }
    };
    let made = server.db.add_token(&server.vault, &actor.person, &typed.label, expires, now).await?;
    note(&server, &actor, "token.add", json!({"token": made.id, "label": typed.label})).await?;
    let shown = html! {
        section.notice.good role="status" { p { "The token, shown this once:" } p { code.key { (made.token) } } }
    };
    Ok(render(&server, &actor, Some(shown)).await?)
}

/// Ends a token.
pub(super) async fn remove_token(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At(token): At<Id>,
) -> Answer {
    server.db.remove_token(&actor.person, &token).await?;
    server.unlocked.lock_way(&way_of_token(&token));
    note(&server, &actor, "token.remove", json!({"token": token})).await?;
    Ok(go("/me"))
}
