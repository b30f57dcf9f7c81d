//! Holds a request against what its route needs.

use std::sync::Arc;

use axum::extract::{RawPathParams, Request, State};
use axum::http::uri::{Authority, PathAndQuery};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use bytes::Bytes;
use futures::StreamExt as _;
use url::{Position, Url};

use super::room::Share;
use super::{Access, Door, Peer};
use crate::error::{Error, ErrorKind, Result};
use crate::server::auth::{Actor, Right, place_of};
use crate::server::db::ClientRow;
use crate::server::error::ApiError;
use crate::server::id::Id;
use crate::server::pages::{self, Chrome, Place, Posted, Way};
use crate::server::state::Server;

/// The name of the cookie of a session. Over HTTPS it is bound to this very host (`__Host-`).
pub(crate) const COOKIE: &str = "tenantvault";

/// What a route needs, at hand when a request comes.
#[derive(Clone)]
pub(super) struct Guard {
    pub(super) server: Arc<Server>,
    pub(super) access: Access,
    pub(super) door: Door,
    /// Its handler takes the body as it comes, and stores all of it or nothing.
    pub(super) streams: bool,
}

/// Lets a request through, with its [`Actor`], or answers why not.
pub(super) async fn hold(
    State(guard): State<Guard>,
    params: RawPathParams,
    peer: Peer,
    mut request: Request,
    next: Next,
) -> Response {
    let account = params.iter().find(|(name, _)| *name == "account").map(|(_, value)| value.to_owned());
    let (headers, uri) = (request.headers(), request.uri());
    // By HTTP/2 the host stands beside the path.
    let host = uri.authority().map(Authority::as_str).or_else(|| headers.get(header::HOST)?.to_str().ok());
    let is_get = request.method() == Method::GET;
    // Pages elsewhere may be about an account, and are none of its own.
    let within = account.clone().filter(|_| uri.path().starts_with("/a/"));
    let sends = !request.method().is_safe();
    let mut way = Way { back: came_from(&guard.server, &request, host), sends, posted: None };
    let above = uri.path().rsplit_once('/').map_or("", |(above, _)| above).to_owned();
    match guard.admit(request.method(), headers, host, account.as_deref(), &peer).await {
        Ok(admitted) => {
            let whose = match &admitted {
                Admitted::Anybody => place_of(&peer.address),
                Admitted::Person(actor) => actor.person.to_string(),
                Admitted::Client(client) => client.id.to_string(),
            };
            let person = match admitted {
                Admitted::Anybody => None,
                Admitted::Person(actor) => {
                    request.extensions_mut().insert(actor.clone());
                    Some(actor)
                }
                Admitted::Client(client) => {
                    request.extensions_mut().insert(client);
                    None
                }
            };
            // What a page shows in a frame has that page around it.
            let is_inside = request.headers().get("sec-fetch-dest").is_some_and(|to| to == "iframe");
            let answer = if request.method().is_safe() || guard.streams {
                next.run(request).await
            } else {
                let form = is_form(&request).then(|| request.uri().path().to_owned());
                match guard.whole(request, &whose).await {
                    Ok((request, fields)) => {
                        way.posted = form.map(|path| Posted { path, fields });
                        guard.see_through(next, request).await
                    }
                    Err(answer) => answer,
                }
            };
            if guard.door == Door::Page && is_get && answer.status() == StatusCode::METHOD_NOT_ALLOWED {
                // What a form is sent to is no page: whoever opens it is led to the one above.
                return Redirect::to(if above.is_empty() { "/" } else { &above }).into_response();
            }
            if is_inside { answer } else { guard.framed(answer, person.as_ref(), within.as_deref(), &way).await }
        }
        Err(Refused::SignIn) if guard.door == Door::Page => {
            let uri = request.uri();
            let back =
                if request.method() == Method::GET { uri.path_and_query().map_or("/", |p| p.as_str()) } else { "/" };
            Redirect::to(&format!("/sign-in?back={}", pages::encode(back))).into_response()
        }
        Err(Refused::SignIn) => {
            let mut answer = ApiError(
                Error::new(ErrorKind::Permission, "This needs a sign-in")
                    .with_hint("Send a token: Authorization: Bearer …"),
            )
            .into_response();
            *answer.status_mut() = StatusCode::UNAUTHORIZED;
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
            answer
        }
        Err(Refused::Because(e, _)) if guard.door == Door::Api => ApiError(e).into_response(),
        Err(Refused::Because(e, actor)) => {
            guard.framed(pages::refusal(&e), actor.as_deref(), within.as_deref(), &way).await
        }
    }
}

/// Who was let in.
enum Admitted {
    Anybody,
    Person(Actor),
    Client(ClientRow),
}

enum Refused {
    /// Nobody is signed in.
    SignIn,
    /// Why not, and who it was, as far as that is known.
    Because(Error, Option<Box<Actor>>),
}

impl From<Error> for Refused {
    fn from(e: Error) -> Self {
        Self::Because(e, None)
    }
}

impl Guard {
    /// A request with all of its body, and that body: what is begun with it then needs nobody at the other end.
    async fn whole(&self, request: Request, whose: &str) -> std::result::Result<(Request, Bytes), Response> {
        let (mut parts, body) = request.into_parts();
        let (mut body, mut bytes, mut too_long) = (body.into_data_stream(), Vec::new(), false);
        let (most, mut share) = self.server.bodies.share(self.access, whose);
        let e = loop {
            match body.next().await {
                None => {
                    // Its room is given back when it is done with.
                    parts.extensions.insert(Arc::new(share));
                    let bytes = Bytes::from(bytes);
                    return Ok((Request::from_parts(parts, bytes.clone().into()), bytes));
                }
                Some(Ok(more)) if bytes.len() + more.len() > most => {
                    too_long = true;
                    break Error::invalid("The body is too long");
                }
                Some(Ok(more)) if share.grow(more.len()) => bytes.extend_from_slice(&more),
                Some(Ok(_)) => {
                    let text = "The server has too many requests in hand";
                    break Error::new(ErrorKind::Unavailable, text).with_hint("Try again");
                }
                Some(Err(_)) => break Error::invalid("The body cannot be read"),
            }
        };
        let mut answer = match self.door {
            Door::Page => pages::refusal(&e),
            Door::Api => ApiError(e).into_response(),
        };
        if too_long {
            *answer.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
        }
        Err(answer)
    }

    /// Does what a request asks for to its end, also when whoever asks goes away or no answer comes in time: what is done and not
    /// noted, or half done, would stay so.
    async fn see_through(&self, next: Next, request: Request) -> Response {
        let share = request.extensions().get::<Arc<Share>>().cloned();
        let answering = next.run(request);
        let answering = async move {
            let answer = answering.await;
            drop(share);
            answer
        };
        match self.server.aside.spawn(answering).await {
            Ok(answer) => answer,
            Err(e) => match e.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(e) => ApiError(Error::internal("A request was cut off").with_source(e)).into_response(),
            },
        }
    }

    async fn admit(
        &self,
        method: &Method,
        headers: &HeaderMap,
        host: Option<&str>,
        account: Option<&str>,
        peer: &Peer,
    ) -> std::result::Result<Admitted, Refused> {
        let by_token = bearer(headers);
        // What anybody may ask of the API takes no cookie into account.
        let by_cookie = match self.access {
            Access::Anybody => self.door == Door::Page,
            Access::Client => false,
            Access::Needs(_) => true,
        };
        if !method.is_safe() && by_token.is_none() && by_cookie {
            same_origin(&self.server, headers, host)?;
        }
        let (server, now) = (&self.server, self.server.now_us());
        let right = match self.access {
            Access::Anybody => return Ok(Admitted::Anybody),
            Access::Client => {
                // Neither a person's token nor a session lets in here, nor a client's anywhere else.
                let token = by_token.ok_or(Refused::SignIn)?;
                let client = server.db.client_of_token(&server.vault, token, now).await?;
                return client.map(Admitted::Client).ok_or(Refused::SignIn);
            }
            Access::Needs(right) => right,
        };
        let actor = match (by_token, cookie(server, headers)) {
            (Some(token), _) => server.db.token_actor(&server.vault, token, &peer.address, now).await?,
            (None, Some(token)) => server.db.session_actor(&server.vault, &token, &peer.address, now).await?,
            (None, None) => None,
        };
        let actor = actor.ok_or(Refused::SignIn)?;
        match self.may(&actor, right, account).await {
            Ok(()) => Ok(Admitted::Person(actor)),
            Err(e) => Err(Refused::Because(e, Some(Box::new(actor)))),
        }
    }

    async fn may(&self, actor: &Actor, right: Right, account: Option<&str>) -> Result<()> {
        let account = account.map(Id::parse).transpose()?;
        if let Some(account) = &account
            && !is_at_home(actor, account)
        {
            // Another account is not there.
            return Err(Error::not_found("There is no such account"));
        }
        if !actor.may(right, account.as_ref()) {
            let text = format!("The role '{}' may not do this", actor.role);
            return Err(Error::new(ErrorKind::Permission, text).with_hint("Ask an owner of the account"));
        }
        if let Some(account) = &account {
            self.server.db.account(account).await?;
        }
        Ok(())
    }

    /// Puts around the page of an error what the person who sees it knows from others: those of the account that it is within, else
    /// of their own.
    async fn framed(&self, answer: Response, actor: Option<&Actor>, within: Option<&str>, way: &Way) -> Response {
        if !pages::is_refusal(&answer) {
            return answer;
        }
        let Some(actor) = actor else { return pages::around(answer, None, way) };
        let id = within.and_then(|id| Id::parse(id).ok()).filter(|id| is_at_home(actor, id));
        let account = match id.or_else(|| actor.account.clone()) {
            Some(id) => self.server.db.account(&id).await.ok(),
            None => None,
        };
        let chrome = Chrome { actor, account: account.as_ref(), place: Place::Nowhere };
        pages::around(answer, Some(chrome), way)
    }
}

/// An account is a person's own, or the person looks after the server.
fn is_at_home(actor: &Actor, account: &Id) -> bool {
    actor.account.as_ref().is_none_or(|own| own == account)
}

/// The token that a program sends.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (way, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    way.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// The value of the session's cookie.
pub(crate) fn cookie(server: &Server, headers: &HeaderMap) -> Option<String> {
    let name = cookie_name(server);
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = all.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(found, _)| *found == name).map(|(_, value)| value.to_owned())
}

/// The name of the session's cookie.
pub(crate) fn cookie_name(server: &Server) -> String {
    if server.is_secure() { format!("__Host-{COOKIE}") } else { COOKIE.to_owned() }
}

/// Says whether an origin is this server's, which was asked for under a host.
fn is_own(server: &Server, origin: &str, host: Option<&str>) -> bool {
    server.options.public_url.as_deref().is_some_and(|url| url.trim_end_matches('/') == origin)
        || origin.split_once("://").is_some_and(|(_, own)| Some(own) == host)
}

/// Says whether a request brings what a form of a page sends.
fn is_form(request: &Request) -> bool {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.starts_with("application/x-www-form-urlencoded")
}

/// The page of this server that a request came from, as an address within it; none where it is the one that is asked for.
fn came_from(server: &Server, request: &Request, host: Option<&str>) -> Option<String> {
    let (asked, is_safe) = (request.uri(), request.method().is_safe());
    if let Some(page) = asked.query().filter(|_| !is_safe).and_then(pages::noted) {
        // Whatever host it names is not asked.
        return within(&Url::parse("http://here").ok()?.join(&page).ok()?).map(str::to_owned);
    }
    let from = Url::parse(request.headers().get(header::REFERER)?.to_str().ok()?).ok()?;
    let page = within(&from)?;
    let is_itself = is_safe && asked.path_and_query().map(PathAndQuery::as_str) == Some(page);
    let leads_here = is_own(server, &from.origin().ascii_serialization(), host);
    (leads_here && !is_itself).then(|| page.to_owned())
}

/// Where an address leads within its host; none where a browser would take that for another host.
fn within(url: &Url) -> Option<&str> {
    let within = &url[Position::BeforePath..Position::AfterQuery];
    (within.starts_with('/') && !within.starts_with("//")).then_some(within)
}

/// Refuses what another site's page made a browser send. Browsers say where a request comes from in `Sec-Fetch-Site`, or
/// at least in `Origin`; what says neither is no browser, and has no business with cookies.
fn same_origin(server: &Server, headers: &HeaderMap, host: Option<&str>) -> Result<()> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let refused = || Error::new(ErrorKind::Permission, "The request comes from another site's page");
    match (text("sec-fetch-site"), text("origin")) {
        (Some("same-origin" | "none"), _) => Ok(()),
        (Some(_), _) => Err(refused()),
        (None, Some(origin)) => {
            if is_own(server, origin, host) {
                Ok(())
            } else {
                Err(refused())
            }
        }
        (None, None) => Err(Error::new(ErrorKind::Permission, "The request says neither its origin nor a token")
            .with_hint("Programs send a token: Authorization: Bearer …")),
    }
}
