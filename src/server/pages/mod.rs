//! The pages: rendered here, whole, readable without a script. What the scripts add is comfort (progress that moves, trees
//! that open in place).
//!
//! A page asks the same functions as the API. Text from outside is escaped by `maud` wherever it stands.

mod account;
mod activity;
mod adopt;
mod again;
mod assets;
mod basket;
mod charts;
mod clients;
mod connect;
mod coverage;
mod form;
mod home;
mod job;
mod keys;
mod labels;
mod layout;
mod look;
mod me;
mod notices;
mod part;
mod people;
mod places;
mod restore;
mod search;
mod sets;
mod settings;
mod shown;
mod sign_in;
mod sign_ins;
mod storage;
mod tenants;
mod welcome;
mod who;
pub(crate) mod words;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::auth::Right;
use super::connect::user;
use super::error::problem;
use super::web::{Access, Routes};
use crate::error::{Error, ErrorKind};

pub(crate) use again::{Posted, Refused, filled, noted};
pub(crate) use form::{Form, Query};
pub(crate) use layout::{Chrome, Place, page};

/// A page on its way to a browser.
#[derive(Debug)]
pub(crate) struct Page(pub(crate) Markup);

/// Beside an answer that is a page.
#[derive(Clone, Copy)]
struct OfOurs;

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let kind = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
        (axum::Extension(OfOurs), kind, self.0.into_string()).into_response()
    }
}

/// Says whether an answer is a page of ours, and no file or foreign text.
pub(crate) fn is_page(answer: &Response) -> bool {
    answer.extensions().get::<OfOurs>().is_some()
}

/// An error on its way to a browser.
#[derive(Debug)]
pub(crate) struct PageError(Error);

impl From<Error> for PageError {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        refusal(&self.0)
    }
}

/// What a page's handler gives.
pub(crate) type Answer = std::result::Result<Response, PageError>;

/// Adds the routes.
pub(crate) fn add(routes: Routes) -> Routes {
    use Access::{Anybody, Needs};
    let routes = assets::add(routes)
        .page("/sign-in", Anybody, sign_in::show)
        .form("/sign-in", Anybody, sign_in::sign_in)
        .form("/sign-out", Needs(Right::SignedIn), sign_in::sign_out)
        .page("/welcome/{token}", Anybody, welcome::show)
        .form("/welcome/{token}", Anybody, welcome::accept)
        .page("/", Needs(Right::SignedIn), home::start)
        .page("/accounts", Needs(Right::Server), account::list)
        .form("/accounts", Needs(Right::Server), account::add)
        .page("/accounts/{account}", Needs(Right::Server), account::show)
        .form("/accounts/{account}", Needs(Right::Server), account::change)
        .form("/accounts/{account}/removal", Needs(Right::Server), account::remove);
    let routes = routes
        .page("/a/{account}", Needs(Right::See), home::show)
        .page("/a/{account}/tenants", Needs(Right::See), tenants::list)
        .form("/a/{account}/tenants", Needs(Right::Change), connect::add)
        .page("/a/{account}/tenants/{tenant}", Needs(Right::See), tenants::show)
        .form("/a/{account}/tenants/{tenant}/test", Needs(Right::Run), tenants::test)
        .form("/a/{account}/tenants/{tenant}/restore-app", Needs(Right::Change), tenants::set_restore_app)
        .form("/a/{account}/tenants/{tenant}/secret", Needs(Right::Change), tenants::secret)
        .form("/a/{account}/tenants/{tenant}/removal", Needs(Right::Change), tenants::remove)
        .page("/a/{account}/storage", Needs(Right::See), storage::list)
        .form("/a/{account}/storage", Needs(Right::Keys), storage::make)
        .form("/a/{account}/storage/{repository}/confirmation", Needs(Right::Keys), storage::confirm)
        .form("/a/{account}/adoption", Needs(Right::Keys), adopt::add)
        .form("/a/{account}/destinations/{destination}", Needs(Right::Change), places::change)
        .page("/a/{account}/storage/{repository}", Needs(Right::See), storage::show)
        .form("/a/{account}/storage/{repository}/upkeep", Needs(Right::Run), storage::upkeep)
        .form("/a/{account}/storage/{repository}/removal", Needs(Right::Change), storage::remove);
    let routes = routes
        .page("/a/{account}/keys", Needs(Right::See), keys::list)
        .page("/a/{account}/keys/{repository}", Needs(Right::Keys), keys::show)
        .form("/a/{account}/keys/{repository}/new", Needs(Right::Keys), keys::add)
        .form("/a/{account}/keys/{repository}/confirmation", Needs(Right::Keys), keys::confirm)
        .form("/a/{account}/keys/{repository}/removal", Needs(Right::Keys), keys::remove)
        .form("/a/{account}/keys/{repository}/server-key", Needs(Right::Keys), keys::renew_of_server)
        .form("/a/{account}/keys/{repository}/held-key", Needs(Right::Keys), keys::hold)
        .form("/a/{account}/keys/{repository}/held-key/removal", Needs(Right::Keys), keys::let_go);
    let routes = routes
        .page("/a/{account}/sets", Needs(Right::See), sets::list)
        .page("/a/{account}/sets/new", Needs(Right::Change), sets::wizard::first)
        .page("/a/{account}/sets/new/{step}", Needs(Right::Change), sets::wizard::show)
        .form("/a/{account}/sets/new/{step}", Needs(Right::Change), sets::wizard::take)
        .page("/a/{account}/sets/{set}", Needs(Right::See), sets::show)
        .page("/a/{account}/sets/{set}/change", Needs(Right::Change), sets::tabs::first)
        .page("/a/{account}/sets/{set}/change/{step}", Needs(Right::Change), sets::tabs::show)
        .form("/a/{account}/sets/{set}/change/{step}", Needs(Right::Change), sets::tabs::take)
        .form("/a/{account}/sets/{set}/runs", Needs(Right::Run), sets::run)
        .form("/a/{account}/sets/{set}/removal", Needs(Right::Change), sets::remove)
        .page("/a/{account}/jobs/{job}", Needs(Right::See), job::show)
        .form("/a/{account}/jobs/{job}/stop", Needs(Right::Run), job::stop);
    sign_ins(restores(routes))
        .page("/a/{account}/coverage", Needs(Right::See), coverage::show)
        .page("/a/{account}/look", Needs(Right::Restore), look::list)
        .page("/a/{account}/look/{repository}", Needs(Right::Restore), look::show)
        .page("/a/{account}/look/{repository}/file", Needs(Right::Restore), look::file)
        .page("/a/{account}/look/{repository}/mail", Needs(Right::Restore), shown::text)
        .page("/a/{account}/look/{repository}/frame", Needs(Right::Restore), shown::frame)
        .page("/a/{account}/look/{repository}/unlock", Needs(Right::Restore), look::ask_key)
        .form("/a/{account}/look/{repository}/unlock", Needs(Right::Restore), look::unlock)
        .form("/a/{account}/look/{repository}/lock", Needs(Right::Restore), look::lock)
        .page("/a/{account}/clients", Needs(Right::See), clients::list)
        .form("/a/{account}/clients", Needs(Right::Change), clients::add)
        .form("/a/{account}/clients/{client}", Needs(Right::Change), clients::change)
        .page("/a/{account}/people", Needs(Right::See), people::list)
        .form("/a/{account}/people", Needs(Right::People), people::add)
        .form("/a/{account}/people/{person}", Needs(Right::People), people::change)
        .page("/a/{account}/activity", Needs(Right::Audit), activity::show)
        .page("/a/{account}/notices", Needs(Right::See), notices::list)
        .form("/a/{account}/notices", Needs(Right::Change), notices::add)
        .page("/a/{account}/notices/{receiver}", Needs(Right::See), notices::show)
        .form("/a/{account}/notices/{receiver}", Needs(Right::Change), notices::change)
        .form("/a/{account}/notices/{receiver}/test", Needs(Right::Change), notices::test)
        .form("/a/{account}/notices/{receiver}/removal", Needs(Right::Change), notices::remove)
        .page("/administrators", Needs(Right::Server), people::list_administrators)
        .form("/administrators", Needs(Right::Server), people::add_administrator)
        .form("/administrators/{person}", Needs(Right::Server), people::change_administrator)
        .page("/activity", Needs(Right::Server), activity::show_all)
        .form("/activity/verification", Needs(Right::Server), activity::verify)
        .page("/settings", Needs(Right::Server), settings::show)
        .form("/settings/mail", Needs(Right::Server), settings::keep_mail)
        .form("/settings/mail/test", Needs(Right::Server), settings::test_mail)
        .page("/me", Needs(Right::SignedIn), me::show)
        .form("/me/password", Needs(Right::SignedIn), me::password)
        .form("/me/factor", Needs(Right::SignedIn), me::begin_factor)
        .form("/me/factor/confirmation", Needs(Right::SignedIn), me::confirm_factor)
        .form("/me/factor/removal", Needs(Right::SignedIn), me::end_factor)
        .form("/me/sessions/{session}/end", Needs(Right::SignedIn), me::end_session)
        .form("/me/tokens", Needs(Right::SignedIn), me::add_token)
        .form("/me/tokens/{token}/removal", Needs(Right::SignedIn), me::remove_token)
}

fn sign_ins(routes: Routes) -> Routes {
    use Access::Needs;
    routes
        .form("/a/{account}/tenants/of-user", Needs(Right::Change), connect::add_of_user)
        .form("/a/{account}/tenants/{tenant}/parts", Needs(Right::Change), connect::set_parts)
        .form("/a/{account}/tenants/{tenant}/sign-ins", Needs(Right::Change), sign_ins::begin)
        .form("/a/{account}/tenants/{tenant}/consent", Needs(Right::Change), sign_ins::ask_consent_of)
        .form("/a/{account}/consents", Needs(Right::Change), sign_ins::ask_consent)
        .page("/a/{account}/sign-ins/{sign_in}", Needs(Right::Change), sign_ins::show)
        .form("/a/{account}/sign-ins/{sign_in}/code", Needs(Right::Change), sign_ins::paste)
        // The one address of which Microsoft is told: whose account it is about stands in the state.
        .page(user::CALLBACK, Needs(Right::SignedIn), sign_ins::come_back)
}

fn restores(routes: Routes) -> Routes {
    use Access::Needs;
    routes
        .page("/a/{account}/look/{repository}/when", Needs(Right::Restore), who::when)
        .page("/a/{account}/look/{repository}/search", Needs(Right::Restore), search::show)
        .page("/a/{account}/look/{repository}/item", Needs(Right::Restore), search::item)
        .page("/a/{account}/look/{repository}/basket", Needs(Right::Restore), basket::show)
        .form("/a/{account}/look/{repository}/basket", Needs(Right::Restore), basket::add)
        .form("/a/{account}/look/{repository}/basket/removal", Needs(Right::Restore), basket::remove)
        .form("/a/{account}/look/{repository}/basket/emptying", Needs(Right::Restore), basket::empty)
        .form("/a/{account}/look/{repository}/basket/zip", Needs(Right::Restore), basket::zip)
        .page("/a/{account}/look/{repository}/restore", Needs(Right::Restore), restore::ask)
        .form("/a/{account}/look/{repository}/restore", Needs(Right::Restore), restore::make)
        .page("/a/{account}/restores", Needs(Right::See), restore::list)
        .page("/a/{account}/restores/{restore}", Needs(Right::See), restore::show)
        .form("/a/{account}/restores/{restore}/run", Needs(Right::Restore), restore::run)
        .form("/a/{account}/restores/{restore}/undo", Needs(Right::Restore), restore::undo)
        .form("/a/{account}/restores/{restore}/stop", Needs(Right::Restore), restore::stop)
}

/// What the page of an error says, beside it on its way through [`around`].
#[derive(Clone)]
struct Refusal {
    title: &'static str,
    told: Markup,
}

impl Refusal {
    fn shown(&self, way: &Way) -> Markup {
        html! {
            section.notice.bad role="alert" { h1 { (self.title) } (self.told) }
            (way.shown())
        }
    }
}

/// The way on from the page of an error.
#[derive(Debug, Default)]
pub(crate) struct Way {
    /// The page of this server that led here, as an address within it.
    pub(crate) back: Option<String>,
    /// Something was sent: perhaps what somebody typed.
    pub(crate) sends: bool,
    /// What a form sent.
    pub(crate) posted: Option<Posted>,
}

impl Way {
    fn shown(&self) -> Markup {
        html! {
            @if self.sends {
                p.hint {
                    @if self.back.is_some() { "Back opens the page before again, with what is stored. " }
                    "Your browser's own Back button may still have what you typed, but not passwords and keys."
                }
            }
            div.actions {
                @if let Some(back) = &self.back { a.button href=(back) { "Back" } " " a.button.plain href="/" { "Home" } } @else { a.button href="/" { "Home" } }
            }
        }
    }
}

/// Puts the navigation around the page of an error, for whoever is signed in, and the way on below it; other answers pass as they
/// are. Beside it goes what it takes to show the form again that was refused, where whoever sent it can mend it.
pub(crate) fn around(mut answer: Response, chrome: Option<Chrome<'_>>, way: &Way) -> Response {
    let Some(refusal) = answer.extensions_mut().remove::<Refusal>() else { return answer };
    let (title, body) = (refusal.title, refusal.shown(way));
    let whole = match chrome {
        Some(chrome) => page(title, chrome, &body),
        None => layout::bare(title, &body),
    };
    let (mut parts, _) = answer.into_parts();
    if let (Some(_), Some(page), Some(posted)) = (chrome, &way.back, &way.posted)
        && can_be_mended(parts.status)
    {
        let (page, posted) = (page.clone(), posted.clone());
        parts.extensions.insert(Refused { page, posted, title, told: refusal.told });
    }
    Response::from_parts(parts, whole.into_string().into())
}

/// Says whether what was refused may go well when it is sent otherwise, or later.
fn can_be_mended(status: StatusCode) -> bool {
    let later = [StatusCode::SERVICE_UNAVAILABLE, StatusCode::INSUFFICIENT_STORAGE];
    status.is_client_error() || later.contains(&status)
}

/// Says whether an answer is the page of an error that has nothing around it yet.
pub(crate) fn is_refusal(answer: &Response) -> bool {
    answer.extensions().get::<Refusal>().is_some()
}

/// The page of an error.
pub(crate) fn refusal(error: &Error) -> Response {
    let (status, problem) = problem(error);
    let title = match error.kind() {
        ErrorKind::NotFound => "Not found",
        ErrorKind::Permission => "Not allowed",
        _ if status.is_server_error() => "That did not work",
        _ => "That cannot be done",
    };
    let has_cause = std::error::Error::source(error).is_some();
    let has_more = status.is_server_error() && (status != StatusCode::SERVICE_UNAVAILABLE || has_cause);
    let told = html! {
        p { (problem.message) "." }
        @if let Some(hint) = &problem.hint { p.hint { (words::sentence(hint)) } }
        // Of other errors the log says nothing more.
        @if has_more { p.quiet { "The server's log says more under this number: " code { (problem.request) } } }
    };
    let refusal = Refusal { title, told };
    let page = Page(layout::bare(title, &refusal.shown(&Way::default())));
    (status, axum::Extension(refusal), page).into_response()
}

/// The page of an address that is none.
pub(crate) async fn not_found(uri: axum::http::Uri) -> Response {
    let error = Error::not_found("There is nothing at this address");
    if uri.path().starts_with("/api/") {
        return super::error::ApiError(error).into_response();
    }
    refusal(&error)
}

/// Leads to another page, after a form.
pub(crate) fn go(to: &str) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, to.to_owned())]).into_response()
}

/// Text for a part of an address.
pub(crate) fn encode(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
