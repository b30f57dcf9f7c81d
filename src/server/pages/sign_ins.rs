//! What leads to Microsoft and back: a sign-in, or an administrator's consent, that somebody began.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::json;

use super::connect::{self, Fields};
use super::tenants::given;
use super::{Answer, Chrome, Form, Page, Place, go, page, words};
use crate::error::{Error, ErrorKind, Result};
use crate::server::auth::{Actor, Password};
use crate::server::db::{SignInKind, SignInState};
use crate::server::deeds::consent::{self, ConsentWanted};
use crate::server::deeds::sign_in::{self, SignInView};
use crate::server::id::Id;
use crate::server::state::Server;
use crate::server::web::At;

/// Begins to sign in to a tenant.
pub(super) async fn begin(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, tenant)): At<(Id, Id)>,
    Form(fields): Form<Fields>,
) -> Answer {
    begun(&server, &actor, &account, &tenant, connect::way(&fields)?).await
}

/// Leads on to a sign-in that begins, or to the tenant's page, which says why it does not.
pub(super) async fn begun(server: &Server, actor: &Actor, account: &Id, tenant: &Id, way: SignInKind) -> Answer {
    match sign_in::begin(server, actor, account, tenant, way).await {
        Ok(begun) => Ok(go(&format!("/a/{account}/sign-ins/{}", begun.id))),
        Err(e) if matches!(e.kind(), ErrorKind::Permission | ErrorKind::InvalidInput | ErrorKind::Unavailable) => {
            let state = json!({"error": e.chain(), "hint": e.hint()});
            server.db.keep_tenant_state(tenant, &state.to_string(), server.now_us()).await?;
            Ok(go(&format!("/a/{account}/tenants/{tenant}")))
        }
        Err(e) => Err(e.into()),
    }
}

/// What the form of a consent sends.
#[derive(Debug, Deserialize)]
pub(super) struct TypedConsent {
    client_id: String,
    #[serde(default)]
    tenant_id: String,
    #[serde(default)]
    cloud: String,
    #[serde(default)]
    address: String,
}

/// Asks for an administrator's consent to an app.
pub(super) async fn ask_consent(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At(account): At<Id>,
    Form(typed): Form<TypedConsent>,
) -> Answer {
    let wanted = ConsentWanted {
        client_id: typed.client_id,
        tenant_id: given(&typed.tenant_id),
        cloud: given(&typed.cloud).unwrap_or_else(|| "global".to_owned()),
        address: given(&typed.address),
    };
    let begun = consent::begin(&server, &actor, &account, &wanted).await?;
    Ok(go(&format!("/a/{account}/sign-ins/{}", begun.id)))
}

/// Asks for an administrator's consent to the app of a tenant.
pub(super) async fn ask_consent_of(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, tenant)): At<(Id, Id)>,
) -> Answer {
    let begun = consent::begin_of(&server, &actor, &account, &tenant).await?;
    Ok(go(&format!("/a/{account}/sign-ins/{}", begun.id)))
}

/// Where Microsoft leads browsers back to. What the address holds is taken, and the browser led on at once, so that it stands in no
/// history and on no page.
pub(super) async fn come_back(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    RawQuery(query): RawQuery,
) -> Answer {
    let row = sign_in::come_back(&server, &actor, &query.unwrap_or_default()).await?;
    Ok(go(&format!("/a/{}/sign-ins/{}", row.account, row.id)))
}

/// What was pasted.
#[derive(Debug, Deserialize)]
pub(super) struct Pasted {
    code: Password,
}

/// Takes it.
pub(super) async fn paste(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, id)): At<(Id, Id)>,
    Form(typed): Form<Pasted>,
) -> Answer {
    match sign_in::paste(&server, &actor, &account, &id, &typed.code).await {
        // What was pasted is not it: another try may be.
        Err(e) if e.kind() == ErrorKind::InvalidInput => {
            let page = shown(&server, &actor, &account, &id, Some(&e)).await?;
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
        }
        Err(e) => Err(e.into()),
        Ok(_) => Ok(go(&format!("/a/{account}/sign-ins/{id}"))),
    }
}

/// The page of one.
pub(super) async fn show(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, id)): At<(Id, Id)>,
) -> Answer {
    Ok(shown(&server, &actor, &account, &id, None).await?.into_response())
}

async fn shown(server: &Server, actor: &Actor, account: &Id, id: &Id, error: Option<&Error>) -> Result<Page> {
    let account = server.db.account(account).await?;
    let view = sign_in::look(server, actor, &account.id, id).await?;
    let chrome = Chrome { actor, account: Some(&account), place: Place::Tenants };
    let base = format!("/a/{}", account.id);
    let title = if view.kind == SignInKind::Consent { "Consent at Microsoft" } else { "Sign in at Microsoft" };
    let body = html! {
        h1 { (title) }
        @if let Some(error) = error {
            section.notice.bad role="alert" { p { (error) "." } @if let Some(hint) = error.hint() { p.hint { (words::sentence(hint)) } } }
        }
        @match view.state {
            SignInState::Open => { (open(server, &base, &view)) p { a href=(back(&base, &view)) { @if view.tenant.is_some() { "Back to the tenant" } @else { "Back to the tenants" } } } }
            SignInState::Taken => { p { "The sign-in is being finished." } p { a.button href={ (base) "/sign-ins/" (view.id) } { "Look again" } } }
            SignInState::Done => { (done(&base, &view)) }
            SignInState::Failed => {
                section.notice.bad role="alert" {
                    p { (view.error.as_deref().unwrap_or("It did not work")) "." }
                    @if let Some(hint) = &view.hint { p.hint { (words::sentence(hint)) } }
                }
                p { a.button href=(back(&base, &view)) { "Begin again" } }
            }
        }
    };
    Ok(Page(page(title, chrome, &body)))
}

fn back(base: &str, view: &SignInView) -> String {
    match &view.tenant {
        Some(tenant) => format!("{base}/tenants/{tenant}"),
        None => format!("{base}/tenants"),
    }
}

fn done(base: &str, view: &SignInView) -> Markup {
    html! {
        @match (&view.user, &view.tenant_id, &view.tenant) {
            (Some(user), ..) => { p.notice.good role="status" { (user) " is signed in." } }
            (None, Some(tenant), _) => { p.notice.good role="status" { "An administrator of directory " code { (tenant) } " consented." } }
            _ => {}
        }
        @match (&view.kind, &view.tenant) {
            (SignInKind::Consent, None) => { p { a.button href={ (base) "/tenants?consent=" (view.id) "#connect" } { "Go on: how the app signs in" } } }
            _ => { p { a.button href=(back(base, view)) { "To the tenant" } } }
        }
    }
}

fn open(server: &Server, base: &str, view: &SignInView) -> Markup {
    let address = view.address.as_deref().unwrap_or_default();
    let here = format!("{base}/sign-ins/{}", view.id);
    html! {
        @match view.kind {
            SignInKind::Redirect | SignInKind::Consent => {
                @if view.kind == SignInKind::Consent {
                    p { "Microsoft asks an administrator for all permissions that the app registration lists, and leads back here." }
                } @else {
                    p { "Microsoft asks who you are and whether the app may read what it needs, and leads back here." }
                }
                (connect::told_redirect(server))
                p { a.button href=(address) rel="noreferrer" { "Go to Microsoft" } }
                p.quiet { "It waits for a quarter of an hour, and for this browser alone." }
            }
            SignInKind::DeviceCode => {
                p { "Open this page in any browser, on any machine: " a href=(address) rel="noreferrer" target="_blank" { (address) } }
                p { "and type this code there:" }
                p.key { (view.user_code.as_deref().unwrap_or_default()) }
                p #sign-in role="status" data-poll={ "/api/v1" (api(base)) "/sign-ins/" (view.id) } data-wait=(view.wait_s) { "Waiting for the code to be typed. It is good until " (words::time(view.expires_us)) "." }
                form method="get" action=(here) { button.plain type="submit" { "I have typed it: look now" } }
                p.quiet { "Type it only if you began this sign-in yourself." }
            }
            SignInKind::Paste => {
                ol {
                    li { a href=(address) rel="noreferrer" target="_blank" { "Open Microsoft's sign-in" } " in a new tab, and sign in." }
                    li { "It ends on an empty page. Copy the whole address of that page." }
                    li { "Paste it here, within a quarter of an hour." }
                }
                form.card method="post" action={ (here) "/code" } {
                    label for="code" { "The address of the last page, " span.quiet { "or the code in it" } }
                    textarea #code name="code" required spellcheck="false" autocomplete="off" {}
                    button type="submit" { "Sign in" }
                }
            }
        }
    }
}

/// The path of an account in the API.
fn api(base: &str) -> String {
    base.replacen("/a/", "/accounts/", 1)
}
