//! One's own sign-in: password, second factor, sessions, tokens.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::{Markup, PreEscaped, html};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Chrome, Form, Page, Place, go, page, words};
use crate::error::{Error, ErrorKind, Result};
use crate::server::audit::Deed;
use crate::server::auth::{Actor, Password, to_scan, way_of_session, way_of_token};
use crate::server::deeds::me as deeds;
use crate::server::id::Id;
use crate::server::state::Server;
use crate::server::web::At;

/// What stands above the rest of the page.
enum Above {
    Nothing,
    /// Something that is shown this once.
    Shown(Markup),
    /// A second factor is being set up: nobody begins another one meanwhile.
    SetUp(Markup),
}

async fn render(server: &Server, actor: &Actor, above: Above) -> Result<Response> {
    let now = server.now_us();
    let person = server.db.person(&actor.person).await?;
    let sessions = server.db.sessions(&person.id, now).await?;
    let tokens = server.db.tokens(&person.id).await?;
    let account = match &actor.account {
        Some(account) => Some(server.db.account(account).await?),
        None => None,
    };
    let setting_up = matches!(above, Above::SetUp(_));
    let body = html! {
        h1 { "Your sign-in" }
        p { "You are signed in as " strong { (person.login) } ". Your role is " strong { (person.role.word()) } ". " (person.role.sentence()) "." }
        @match &above { Above::Nothing => {} Above::Shown(markup) | Above::SetUp(markup) => { (markup) } }
        h2 { "Password" }
        form.card method="post" action="/me/password" {
            label for="old" { "Present password" } input #old name="old" type="password" autocomplete="current-password" required;
            label for="password" { "New password, " span.quiet { "at least 12 characters" } } input #password name="password" type="password" autocomplete="new-password" minlength="12" required;
            p.quiet { "All your sessions end; sign in again with the new one." }
            button type="submit" { "Change" }
        }
        @if !setting_up { h2 { "Second factor" } }
        @if setting_up {} @else if person.second_factor {
            p { span.state.good { "on" } " A code of your authenticator app is asked for at every sign-in." }
            form.card method="post" action="/me/factor/removal" {
                label for="off" { "Password, to turn it off" } input #off name="old" type="password" autocomplete="current-password" required;
                button.danger type="submit" { "Turn off" }
            }
        } @else {
            p { span.state.calm { "off" } " With a second factor, a stolen password alone is of no use." }
            form.card method="post" action="/me/factor" {
                label for="on" { "Password, to set it up" } input #on name="old" type="password" autocomplete="current-password" required;
                button type="submit" { "Set up" }
            }
        }
        h2 { "Sessions" }
        div.scroll tabindex="0" { table {
            thead { tr { th scope="col" { "Since" } th scope="col" { "Last seen" } th scope="col" { "From" } th scope="col" { "Browser" } th scope="col" { span.unseen { "End" } } } }
            tbody { @for session in &sessions { tr {
                td { (words::time(session.created_us)) } td { (words::time(session.seen_us)) } td { (session.address) } td { span title=(session.agent) { (browser(&session.agent)) } }
                td { @if actor.session.as_ref() == Some(&session.id) { "this session" } @else {
                    form method="post" action={ "/me/sessions/" (session.id) "/end" } { button.plain type="submit" { "Sign it out" } }
                } }
            } } }
        } }
        h2 { "API tokens" }
        @if tokens.is_empty() { p.empty { "None. A token lets a program act as you." } } @else {
            div.scroll tabindex="0" { table {
                thead { tr { th scope="col" { "For" } th scope="col" { "Since" } th scope="col" { "Last used" } th scope="col" { "Expires" } th scope="col" { span.unseen { "Revoke" } } } }
                tbody { @for token in &tokens { tr {
                    th scope="row" { (token.label) } td { (words::time(token.created_us)) }
                    td { @if let Some(at) = token.used_us { (words::time(at)) } @else { "never" } }
                    td { @if let Some(at) = token.expires_us { (words::time(at)) } @else { "never" } }
                    td { form method="post" action={ "/me/tokens/" (token.id) "/removal" } { button.danger type="submit" { "Revoke" } } }
                } } }
            } }
        }
        form.card method="post" action="/me/tokens" {
            label for="label" { "A new token for" } input #label name="label" required maxlength="100" placeholder="monitoring";
            label for="days" { "Valid for how many days, " span.quiet { "empty: it does not expire" } } input #days name="days" type="number" min="1" max="3650";
            button type="submit" { "Make a token" }
        }
    };
    let chrome = Chrome { actor, account: account.as_ref(), place: Place::Me };
    Ok(Page(page("Your sign-in", chrome, &body)).into_response())
}

/// The page.
pub(super) async fn show(State(server): State<Arc<Server>>, Extension(actor): Extension<Actor>) -> Answer {
    Ok(render(&server, &actor, Above::Nothing).await?)
}

/// The browser and the system that somebody came by, as far as what the browser says of itself tells.
fn browser(agent: &str) -> String {
    let first =
        |known: &[(&str, &'static str)]| known.iter().find(|(mark, _)| agent.contains(mark)).map(|(_, name)| *name);
    // Browsers call themselves by their forebears' names too: the youngest comes first.
    let name = first(&[
        ("Edg", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("CriOS/", "Chrome"),
        ("FxiOS/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
    ]);
    let system = first(&[
        ("Android", "Android"),
        ("iPhone", "iOS"),
        ("iPad", "iOS"),
        ("Windows", "Windows"),
        ("Mac OS", "macOS"),
        ("Linux", "Linux"),
    ]);
    match (name, system) {
        (Some(name), Some(system)) => format!("{name} on {system}"),
        (Some(name), None) => name.to_owned(),
        _ => agent.to_owned(),
    }
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
pub(super) async fn begin_factor(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    Form(typed): Form<OldPassword>,
) -> Answer {
    let secret = deeds::begin_factor(&server, &actor, &typed.old).await?;
    Ok(render(&server, &actor, Above::SetUp(set_up(&secret, &actor.login, None)?)).await?)
}

/// What the app scans, and the question for the code that it shows; with what was wrong about the last one.
fn set_up(secret: &str, login: &str, wrong: Option<&Error>) -> Result<Markup> {
    let (_, picture) = to_scan(secret, login)?;
    let picture = picture.split_once("?>").map_or(picture.as_str(), |(_, svg)| svg).to_owned();
    Ok(html! {
        form.card method="post" action="/me/factor/confirmation" {
            h2 { "Scan this with your authenticator app" }
            @if let Some(wrong) = wrong {
                p.notice.bad #wrong role="alert" { (wrong) "." @if let Some(hint) = wrong.hint() { " " (words::sentence(hint)) } }
            }
            div.scan role="img" aria-label="The secret as a picture to scan; it stands below as text" { (PreEscaped(picture)) }
            p { "Or type this into it: " code { (secret) } }
            label for="code" { "The code that it shows now" }
            input #code name="code" required inputmode="numeric" autocomplete="one-time-code" pattern="[0-9 ]*" aria-describedby=[wrong.map(|_| "wrong")];
            label for="proof" { "Your password" }
            input #proof name="old" type="password" autocomplete="current-password" required;
            button type="submit" { "Turn on" }
        }
    })
}

/// What the form sends.
#[derive(Debug, Deserialize)]
pub(super) struct Code {
    old: Password,
    code: String,
}

/// Turns the second factor on. After a mistyped code the same secret is shown again: who scanned it need not do so anew.
pub(super) async fn confirm_factor(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    Form(typed): Form<Code>,
) -> Answer {
    let wrong = match deeds::confirm_factor(&server, &actor, &typed.old, &typed.code).await {
        Ok(()) => return Ok(go("/me")),
        Err(e) if e.kind() == ErrorKind::InvalidInput => e,
        Err(e) => return Err(e.into()),
    };
    let Some(secret) = deeds::begun_factor(&server, &actor).await? else { return Err(wrong.into()) };
    let above = Above::SetUp(set_up(&secret, &actor.login, Some(&wrong))?);
    Ok((StatusCode::UNPROCESSABLE_ENTITY, render(&server, &actor, above).await?).into_response())
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
        section.notice.good role="status" { p { "Copy the token now: it is not shown again." } p { code.key { (made.token) } } }
    };
    Ok(render(&server, &actor, Above::Shown(shown)).await?)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_called_by_what_people_call_them() {
        let chrome =
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36";
        for (agent, called) in [
            (chrome, "Chrome on Linux"),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/140 Safari/537.36 Edg/140",
                "Edge on Windows",
            ),
            ("Mozilla/5.0 (Macintosh; Intel Mac OS X 15_1) AppleWebKit/605 Version/18.1 Safari/605", "Safari on macOS"),
            ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) Version/18.1 Mobile Safari/604", "Safari on iOS"),
            ("Mozilla/5.0 (Android 15; Mobile; rv:140.0) Gecko/140.0 Firefox/140.0", "Firefox on Android"),
            ("curl/8.5", "curl/8.5"),
            ("", ""),
        ] {
            assert_eq!(browser(agent), called);
        }
    }
}
