//! What is asked of Graph: which budget pays, which URL, which preferences.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use reqwest::Method;
use serde_json::Value;

use super::links;

/// Which budget pays for a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// One mailbox (a user's or a group's), by its user id: Exchange counts per app and mailbox.
    Mailbox(String),
    /// SharePoint and OneDrive: resource units per app and tenant.
    Files,
    /// Users, groups and everything else of the directory.
    Directory,
    /// Teams and chats: requests a second per app and tenant, and of any one team or channel besides.
    Teams(TeamsCall, String),
    /// Plans and tasks of Planner.
    Planner,
}

/// What a request asks of Teams: each kind has a limit of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TeamsCall {
    /// A team, a channel, tabs, installed apps.
    Team,
    /// Lists of channels and members.
    Channels,
    /// Messages of channels and chats.
    Message,
    /// The export of all messages of a user's chats.
    Export,
    /// Everything else.
    Other,
}

impl Scope {
    /// A call to Teams about a team or channel, by its id.
    pub fn teams(call: TeamsCall, of: &str) -> Self {
        Self::Teams(call, of.to_owned())
    }

    /// A call to Teams about no one team or channel: chats.
    pub fn chats(call: TeamsCall) -> Self {
        Self::Teams(call, String::new())
    }
}

/// The `Prefer` value that makes Outlook ids stable; it must stand on every Outlook request.
pub const IMMUTABLE_IDS: &str = "IdType=\"ImmutableId\"";

/// A request to Graph. Cheap to clone, so that it can be sent again.
#[derive(Clone)]
pub struct GraphRequest {
    /// Which budget pays.
    pub scope: Scope,
    /// Relative to `/v1.0/` (`users/delta?$top=5`; ids encoded by [`links::segment`]), or with `/beta/` before it where v1.0
    /// lacks something, or an absolute link that Graph gave.
    pub url: String,
    /// What it costs, in the scope's units: 1 for mailboxes, resource units for files and directory.
    pub units: u32,
    /// `Prefer` values; joined into one header.
    pub prefer: Vec<Cow<'static, str>>,
    /// Further headers (`ConsistencyLevel`, `If-Match`, …): name and value.
    pub headers: Vec<(Cow<'static, str>, String)>,
    /// What is asked for: reading is a GET.
    pub method: Method,
    /// What is sent along.
    pub body: Option<Payload>,
    /// It may be sent again although an earlier sending may have been carried out: a POST that makes nothing lasting.
    pub repeatable: bool,
}

/// What is sent along with a request.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload {
    /// Its type.
    pub content_type: &'static str,
    /// The bytes.
    pub bytes: Bytes,
}

impl Payload {
    /// A value as JSON.
    pub fn json(value: &Value) -> Self {
        Self { content_type: "application/json", bytes: value.to_string().into() }
    }

    /// Bytes as they are.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self { content_type: "application/octet-stream", bytes: bytes.into() }
    }
}

impl GraphRequest {
    /// A GET that costs one unit.
    pub fn get(scope: Scope, url: impl Into<String>) -> Self {
        Self {
            scope,
            url: url.into(),
            units: 1,
            prefer: Vec::new(),
            headers: Vec::new(),
            method: Method::GET,
            body: None,
            repeatable: false,
        }
    }

    fn sending(method: Method, scope: Scope, url: impl Into<String>, body: Option<Payload>) -> Self {
        Self { method, body, ..Self::get(scope, url) }
    }

    /// A POST of JSON that costs one unit.
    pub fn post(scope: Scope, url: impl Into<String>, body: &Value) -> Self {
        Self::sending(Method::POST, scope, url, Some(Payload::json(body)))
    }

    /// A POST with nothing in it that costs one unit.
    pub fn post_empty(scope: Scope, url: impl Into<String>) -> Self {
        Self::sending(Method::POST, scope, url, None)
    }

    /// A PATCH of JSON that costs one unit.
    pub fn patch(scope: Scope, url: impl Into<String>, body: &Value) -> Self {
        Self::sending(Method::PATCH, scope, url, Some(Payload::json(body)))
    }

    /// A PUT that costs one unit.
    pub fn put(scope: Scope, url: impl Into<String>, body: Payload) -> Self {
        Self::sending(Method::PUT, scope, url, Some(body))
    }

    /// A DELETE that costs one unit.
    pub fn delete(scope: Scope, url: impl Into<String>) -> Self {
        Self::sending(Method::DELETE, scope, url, None)
    }

    /// Says that it may be sent again although it may have been carried out.
    #[must_use]
    pub fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    /// Says whether sending it twice does the same as once (RFC 9110, section 9.2.2). A PATCH here sets values, which is.
    pub(crate) fn is_idempotent(&self) -> bool {
        self.repeatable || self.method != Method::POST
    }

    /// Bytes that are sent along.
    pub(crate) fn body_bytes(&self) -> usize {
        self.body.as_ref().map_or(0, |body| body.bytes.len())
    }

    /// Sets what it costs.
    #[must_use]
    pub fn units(mut self, units: u32) -> Self {
        self.units = units;
        self
    }

    /// Adds a `Prefer` value.
    #[must_use]
    pub fn prefer(mut self, value: impl Into<Cow<'static, str>>) -> Self {
        self.prefer.push(value.into());
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The same request for another URL: a next page, a saved delta link.
    #[must_use]
    pub fn with_url(&self, url: impl Into<String>) -> Self {
        Self { url: url.into(), ..self.clone() }
    }

    /// What may be shown of the request in messages: method and path, never the query.
    pub fn shown(&self) -> String {
        format!("{} {}", self.method, links::shown(&self.url))
    }
}

impl fmt::Debug for GraphRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GraphRequest({}, {:?}, {} units)", self.shown(), self.scope, self.units)
    }
}
