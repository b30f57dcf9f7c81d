//! Signing in and out.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use maud::html;
use serde::Deserialize;
use serde_json::json;

use super::{Answer, Form, Page, Query, encode, go, layout};
use crate::error::{Error, ErrorKind};
use crate::server::audit::Deed;
use crate::server::auth::{Actor, Attempt, Password, SESSION_LASTS_US};
use crate::server::state::Server;
use crate::server::web::{Peer, cookie, cookie_name};

/// Where to go afterwards.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Back {
    #[serde(default)]
    back: String,
}

/// What the form sends.
#[derive(Debug, Deserialize)]
pub(super) struct Typed {
    login: String,
    password: Password,
    #[serde(default)]
    code: String,
}

/// The page.
pub(super) async fn show(Query(back): Query<Back>) -> Page {
    form(&back.back, "", None)
}

fn form(back: &str, login: &str, error: Option<&Error>) -> Page {
    let action = format!("/sign-in?back={}", encode(&own_page(back)));
    Page(layout::bare(
        "Sign in",
        &html! {
            h1 { "Sign in" }
            @if let Some(error) = error {
                p.notice.bad role="alert" { (error) "." @if let Some(hint) = error.hint() { " " (hint) "." } }
            }
            form.card method="post" action=(action) {
                label for="login" { "Login" }
                input #login name="login" value=(login) autocomplete="username" required autofocus autocapitalize="none" spellcheck="false";
                label for="password" { "Password" }
                input #password name="password" type="password" autocomplete="current-password" required;
                label for="code" { "Code of your authenticator app, " span.quiet { "if you have set one up" } }
                input #code name="code" inputmode="numeric" autocomplete="one-time-code" pattern="[0-9 ]*";
                button type="submit" { "Sign in" }
            }
            p.quiet { "Forgot the password? An administrator, or an owner of your account, can make a new link for you." }
        },
    ))
}

/// Takes the form.
pub(super) async fn sign_in(
    State(server): State<Arc<Server>>,
    Query(back): Query<Back>,
    peer: Peer,
    headers: HeaderMap,
    Form(typed): Form<Typed>,
) -> Answer {
    let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let attempt =
        Attempt { login: &typed.login, password: &typed.password, code: &typed.code, address: &peer.address, agent };
    let now = server.now_us();
    let signed_in = match server.sign_in.sign_in(&attempt, now).await {
        Ok(signed_in) => signed_in,
        Err(e) if matches!(e.kind(), ErrorKind::Permission | ErrorKind::Unavailable | ErrorKind::InvalidInput) => {
            if e.kind() == ErrorKind::Permission {
                let object: String = typed.login.chars().filter(|c| !c.is_control()).take(254).collect();
                let deed = Deed { account: None, action: "sign-in.refused", object: &object, detail: json!({}) };
                server.db.note_as("nobody", &peer.address, deed, now).await?;
            }
            let status = match e.kind() {
                ErrorKind::Unavailable => StatusCode::TOO_MANY_REQUESTS,
                _ => StatusCode::FORBIDDEN,
            };
            return Ok((status, form(&back.back, &typed.login, Some(&e))).into_response());
        }
        Err(e) => return Err(e.into()),
    };
    let person = &signed_in.person;
    let deed = Deed { account: person.account.as_ref(), action: "sign-in", object: &person.login, detail: json!({}) };
    server.db.note_as(&person.login, &peer.address, deed, now).await?;
    let mut answer = go(&own_page(&back.back));
    set_cookie(&server, &mut answer, &signed_in.cookie, SESSION_LASTS_US / 1_000_000);
    Ok(answer)
}

/// Ends the session.
pub(super) async fn sign_out(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    headers: HeaderMap,
) -> Answer {
    server.unlocked.lock(&actor, None);
    if let Some(session) = &actor.session {
        server.db.end_session(&actor.person, session).await?;
        let deed =
            Deed { account: actor.account.as_ref(), action: "sign-out", object: &actor.login, detail: json!({}) };
        server.db.note(&actor, deed, server.now_us()).await?;
    }
    let mut answer = go("/sign-in");
    if cookie(&server, &headers).is_some() {
        set_cookie(&server, &mut answer, "", 0);
    }
    Ok(answer)
}

fn set_cookie(server: &Server, answer: &mut Response, value: &str, seconds: i64) {
    let secure = if server.is_secure() { "; Secure" } else { "" };
    let name = cookie_name(server);
    let text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}");
    if let Ok(value) = HeaderValue::from_str(&text) {
        answer.headers_mut().insert(header::SET_COOKIE, value);
    }
}

/// A page of ours to go back to; the beginning, if it is none.
fn own_page(back: &str) -> String {
    let ours = back.starts_with('/')
        && !back.starts_with("//")
        && !back.contains(['\\', '\r', '\n', '\t'])
        && back.bytes().all(|b| b.is_ascii_graphic());
    if ours { back.to_owned() } else { "/".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_led_to_another_site() {
        assert_eq!(own_page("/a/1?x=2"), "/a/1?x=2");
        for bad in [
            "",
            "//evil.example",
            "https://evil.example",
            "/\\evil.example",
            "/\t/evil.example",
            "javascript:x",
            "/a\r\nX: y",
        ] {
            assert_eq!(own_page(bad), "/", "{bad}");
        }
    }
}
