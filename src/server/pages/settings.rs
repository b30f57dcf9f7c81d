//! Settings of the server, for administrators: the mail server.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use maud::html;
use serde::Deserialize;

use super::{Answer, Chrome, Form, Page, Place, go, page, words};
use crate::error::Result;
use crate::server::auth::{Actor, Password};
use crate::server::deeds::receivers;
use crate::server::error::problem;
use crate::server::notices::{self, MailSecurity, MailSettings};
use crate::server::state::Server;

/// What the form sends.
#[derive(Debug, Deserialize)]
pub(super) struct Typed {
    host: String,
    port: u16,
    security: MailSecurity,
    #[serde(default)]
    login: String,
    password: Password,
    from: String,
}

/// The page; `said`: what came of a test, and where it was to go.
async fn render(server: &Server, actor: &Actor, said: Option<(&str, String, &str)>) -> Result<Response> {
    let settings = notices::settings(server).await?;
    let known = settings.as_ref();
    let security = known.map_or(MailSecurity::Starttls, |s| s.security);
    let reaches_inside = server.options.allow_private_targets && server.db.has_several_accounts().await?;
    let chrome = Chrome { actor, account: None, place: Place::Settings };
    let body = html! {
        h1 { "Settings" }
        @if reaches_inside {
            p.notice.warn {
                "There are several accounts, and the server reaches into its own network and machine for all of them: destinations, tenants' addresses and \
                 webhooks may lie there. If somebody else's people are in one, start it with " code { "--public-targets-only" } " or "
                code { "TENANTVAULT_SERVER_PUBLIC_TARGETS_ONLY=true" } ", each of its processes: what lies inside is refused then."
            }
        }
        h2 { "Mail" }
        @if let Some((kind, text, _)) = &said { p class={ "notice " (kind) } role="status" { (text) } }
        @if known.is_none() { p.empty { "No mail server is known yet: reports and notices by mail wait until one is." } }
        form.card method="post" action="/settings/mail" {
            label for="host" { "Mail server" }
            input #host name="host" required maxlength="253" spellcheck="false" placeholder="smtp.example.com" value=[known.map(|s| s.host.as_str())];
            label for="port" { "Port" }
            input #port name="port" type="number" required min="1" max="65535" value=(known.map_or(587, |s| s.port));
            label for="security" { "Encryption" }
            select #security name="security" {
                option value="starttls" selected[security == MailSecurity::Starttls] { "STARTTLS (usually port 587)" }
                option value="tls" selected[security == MailSecurity::Tls] { "TLS (usually port 465)" }
                option value="none" selected[security == MailSecurity::None] { "None (a mail server on this machine)" }
            }
            label for="login" { "Login, " span.quiet { "if it needs one" } }
            input #login name="login" maxlength="320" autocomplete="off" spellcheck="false" value=[known.and_then(|s| s.login.as_deref())];
            label for="password" { "Password" @if known.is_some_and(|s| s.login.is_some()) { ", " span.quiet { "empty: the present one stays" } } }
            input #password name="password" type="password" autocomplete="new-password";
            label for="from" { "Mails come from" }
            input #from name="from" required maxlength="320" spellcheck="false" placeholder="backup@example.com" value=[known.map(|s| s.from.as_str())];
            button type="submit" { "Save" }
        }
        @if known.is_some() {
            form.card method="post" action="/settings/mail/test" {
                label for="to_test" { "Send a test to" }
                input #to_test name="to" type="email" required maxlength="320" placeholder="you@example.com" value=[said.as_ref().map(|(_, _, to)| to)];
                button type="submit" { "Send a test" }
            }
        }
    };
    Ok(Page(page("Settings", chrome, &body)).into_response())
}

/// The page.
pub(super) async fn show(State(server): State<Arc<Server>>, Extension(actor): Extension<Actor>) -> Answer {
    Ok(render(&server, &actor, None).await?)
}

/// Takes the form.
pub(super) async fn keep_mail(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    Form(typed): Form<Typed>,
) -> Answer {
    let wanted = MailSettings {
        host: typed.host.trim().to_owned(),
        port: typed.port,
        security: typed.security,
        login: Some(typed.login.trim().to_owned()).filter(|login| !login.is_empty()),
        from: typed.from.trim().to_owned(),
    };
    let password = Some(typed.password).filter(|password| !password.expose().is_empty());
    receivers::keep_mail(&server, &actor, Some(&wanted), password.as_ref()).await?;
    Ok(go("/settings"))
}

/// What the form sends.
#[derive(Debug, Deserialize)]
pub(super) struct TestTo {
    to: String,
}

/// Sends a test; says what came of it.
pub(super) async fn test_mail(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    Form(typed): Form<TestTo>,
) -> Answer {
    let (kind, text) = match receivers::test_mail(&server, &actor, &typed.to).await {
        Ok(None) => ("good", format!("A test is on its way to {}.", typed.to)),
        Ok(Some(why)) if why.starts_with("The mail server refuses") => {
            ("bad", format!("{why}. Check the login, the password and the addresses."))
        }
        Ok(Some(why)) => ("bad", format!("{why}. Check the server, the port and the encryption.")),
        Err(e) => {
            let (_, problem) = problem(&e);
            let hint = problem.hint.map(|hint| format!(" {}", words::sentence(&hint))).unwrap_or_default();
            ("bad", format!("{}.{hint}", problem.message))
        }
    };
    Ok(render(&server, &actor, Some((kind, text, typed.to.as_str()))).await?)
}
