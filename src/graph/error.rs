//! Graph's errors: read from any body, kept as the cause inside [`crate::Error`], and what a workload does about each.
//!
//! Shape: `{"error":{"code","message","innerError":{"code"?,"innerError"?…}}}`; `innererror` occurs too, and the
//! telling code is often the innermost one. Codes are compared without regard to case. Bodies may be empty or HTML.
//! Source: Microsoft, "Microsoft Graph error responses and resource types".

use std::fmt;

use serde_json::Value;

use super::links;
use crate::error::{Error, ErrorKind};

/// An error that Graph answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphError {
    /// The HTTP status.
    pub status: u16,
    /// The code that says most: the deepest one that is known, else the outermost. Empty if the body held none.
    pub code: String,
    /// All codes, from the outermost in.
    pub codes: Vec<String>,
    /// Graph's message, cut to a sensible length; empty if there was none.
    pub message: String,
    /// Graph's id of the request, for Microsoft's support; empty if it gave none.
    pub request_id: String,
    /// The `Location` header: after a 410 the link that starts again.
    pub location: Option<String>,
    /// The `X-Virus-Infected` header was there.
    pub infected: bool,
}

/// What a workload does about an error.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fate {
    /// The item went away between listing and reading: treat it as deleted.
    Gone,
    /// The item is there and cannot be read: record a gap with this reason, go on, try again next run.
    Gap(String),
    /// The delta token is no longer honoured: enumerate again (from `location` if given) and compare by id.
    Resync {
        /// The link Graph gave to start again.
        location: Option<String>,
    },
    /// There is no such mailbox, OneDrive or service for this user; the reason in words.
    NotProvisioned(String),
    /// Graph refuses: a permission or a policy; the reason in words.
    Denied(String),
    /// Nothing of the above: end the collection (or the run) with this error.
    Fatal,
}

/// The next step where Graph refuses for what was not granted.
pub(crate) const ASK_TEST: &str = "Run 'tenantvault test': it says which permission is missing and how to grant it";

/// How many bytes of a foreign message are kept.
const MESSAGE_LIMIT: usize = 400;
/// How deep `innerError` is followed.
const DEPTH_LIMIT: usize = 16;

const RESYNC: &[&str] = &[
    "resyncrequired",
    "syncstatenotfound",
    "syncstateinvalid",
    "resyncchangesapplydifferences",
    "resyncchangesuploaddifferences",
];
const GONE: &[&str] = &[
    "itemnotfound",
    "erroritemnotfound",
    "request_resourcenotfound",
    "resourcenotfound",
    "notfound",
    "errorsyncfoldernotfound",
    "errorfoldernotfound",
];
const NO_MAILBOX: &[&str] = &[
    "mailboxnotenabledforrestapi",
    "mailboxnothostedinexchangeonline",
    "errorinvaliduser",
    "errornonexistentmailbox",
    "extensionerror",
];
const DAMAGED: &[&str] = &["errorcorruptdata", "errorcannotopenfileattachment", "errorinvalidrecipients"];
const LOCKED: &[&str] = &["resourcelocked", "locked", "notallowed"];
const MALWARE: &str = "malwaredetected";
const DENIED: &[&str] = &["authorization_requestdenied", "erroraccessdenied", "accessdenied", "forbidden"];
const TOKEN: &[&str] = &["invalidauthenticationtoken", "unauthenticated"];
const OTHER_KNOWN: &[&str] = &[
    "invalidrequest",
    "badrequest",
    "erroridmalformed",
    "authenticationerror",
    "paymentrequired",
    "sharingdisabled",
    "notsupported",
    "notimplemented",
    "namealreadyexists",
    "errorfolderexists",
    "conflict",
    "resourcemodified",
    "errorirresolvableconflict",
    "requestentitytoolarge",
    "invalidrange",
    "toomanyrequests",
    "applicationthrottled",
    "activitylimitreached",
    "errortoomanyobjectsopened",
    "errorinternalservererror",
    "generalexception",
    "servicenotavailable",
    "errormailboxstoreunavailable",
    "errorserverbusy",
    "quotalimitreached",
    "errorquotaexceeded",
];

fn is_known(code: &str) -> bool {
    let code = code.to_ascii_lowercase();
    [RESYNC, GONE, NO_MAILBOX, DAMAGED, LOCKED, DENIED, TOKEN, OTHER_KNOWN, &[MALWARE]]
        .iter()
        .any(|list| list.contains(&code.as_str()))
}

impl GraphError {
    /// Reads an error from a response's status and body, whatever the body is.
    pub fn parse(status: u16, body: &[u8]) -> Self {
        let root = serde_json::from_slice::<Value>(body).unwrap_or(Value::Null);
        let mut codes = Vec::new();
        let mut request_id = String::new();
        let mut level = root.get("error");
        let message = level.and_then(|e| text(e, &["message"])).unwrap_or_default();
        for _ in 0..DEPTH_LIMIT {
            let Some(object) = level else { break };
            if let Some(code) = text(object, &["code"]).filter(|c| !c.is_empty()) {
                codes.push(code);
            }
            if let Some(id) = text(object, &["request-id", "requestId"]) {
                request_id = id;
            }
            level = object.get("innerError").or_else(|| object.get("innererror"));
        }
        let code = codes.iter().rev().find(|c| is_known(c)).or(codes.first()).cloned().unwrap_or_default();
        Self { status, code, codes, message, request_id, location: None, infected: false }
    }

    /// Says whether one of the codes, on any level, is this one, without regard to case.
    pub fn has_code(&self, code: &str) -> bool {
        self.codes.iter().any(|c| c.eq_ignore_ascii_case(code))
    }

    fn has_any(&self, codes: &[&str]) -> bool {
        codes.iter().any(|c| self.has_code(c))
    }

    /// Says whether the delta token is no longer honoured.
    pub fn is_resync(&self) -> bool {
        self.status == 410 || ((400..500).contains(&self.status) && self.has_any(RESYNC))
    }

    fn is_no_mailbox(&self) -> bool {
        self.has_any(NO_MAILBOX)
    }

    pub(crate) fn is_damaged_item(&self) -> bool {
        self.has_any(DAMAGED)
    }

    fn kind(&self) -> ErrorKind {
        if self.is_resync() {
            return ErrorKind::ResyncRequired;
        }
        match self.status {
            404 => ErrorKind::NotFound,
            409 => ErrorKind::AlreadyExists,
            401..=403 => ErrorKind::Permission,
            507 => ErrorKind::StorageFull,
            400..=499 if !matches!(self.status, 408 | 423 | 429) => ErrorKind::InvalidInput,
            _ => ErrorKind::Unavailable,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self.status {
            403 if self.infected || self.has_code(MALWARE) => {
                Some("Microsoft found malware in the file and does not hand it out")
            }
            403 if self.has_any(LOCKED) => {
                Some("The site is locked or archived; unlock it in the SharePoint admin center")
            }
            401 | 403 => Some(ASK_TEST),
            423 => Some("The site or file is locked; it is tried again at the next run"),
            402 => Some("This request is metered: an Azure subscription must be linked to the app"),
            429 | 503 => Some("Microsoft limits this app at the moment; run again later"),
            507 => Some("The target is full"),
            _ => None,
        }
    }

    /// Makes the crate's error of it; `what` names the request, without query.
    pub fn into_error(self, what: &str) -> Error {
        let mut text = format!("Graph answered {} to {what}", self.status);
        if !self.code.is_empty() {
            text.push_str(&format!(": {}", self.code));
        }
        let hint = self.hint();
        let error = Error::new(self.kind(), text).with_source(self);
        match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }

    /// Says in a short sentence why something could not be read.
    fn reason(&self, why: &str) -> String {
        if self.code.is_empty() { format!("{why} (HTTP {})", self.status) } else { format!("{why} ({})", self.code) }
    }
}

impl fmt::Display for GraphError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = if self.message.is_empty() { "no message" } else { &self.message };
        f.write_str(message)?;
        if !self.request_id.is_empty() {
            write!(f, " [request-id {}]", self.request_id)?;
        }
        Ok(())
    }
}

impl std::error::Error for GraphError {}

/// The network failed, or the answer was not what HTTP promises: no error of Graph's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransportError {
    /// No connection came about at all.
    pub connect: bool,
    /// What happened, without URLs.
    pub text: String,
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for TransportError {}

impl TransportError {
    pub(crate) fn cut(text: impl Into<String>) -> Self {
        Self { connect: false, text: text.into() }
    }

    /// Takes over what reqwest says, without the URL, which may hold tokens.
    pub(crate) fn from_reqwest(error: reqwest::Error) -> Self {
        let error = error.without_url();
        let connect = error.is_connect();
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(inner) = cause {
            text = format!("{text}: {inner}");
            cause = inner.source();
        }
        Self { connect, text }
    }

    pub(crate) fn into_error(self, what: &str) -> Error {
        let text =
            if self.connect { format!("No connection for {what}") } else { format!("The answer to {what} broke off") };
        Error::new(ErrorKind::Unavailable, text)
            .with_hint("Check the network and proxy settings, then run again")
            .with_source(self)
    }
}

/// Finds Graph's error in an error's chain of causes.
pub fn graph_error(error: &Error) -> Option<&GraphError> {
    find(error)
}

pub(crate) fn transport_error(error: &Error) -> Option<&TransportError> {
    find(error)
}

/// Says whether a request may have been carried out although it failed: its answer was lost, or the service broke off.
pub fn is_doubtful(error: &Error) -> bool {
    match (graph_error(error), transport_error(error)) {
        (Some(answer), _) => matches!(answer.status, 408 | 500 | 502 | 504 | 509),
        (_, Some(cause)) => !cause.connect,
        _ => false,
    }
}

/// Says whether an error tells that the target has no room left.
pub fn is_full(error: &Error) -> bool {
    graph_error(error).is_some_and(|answer| {
        answer.status == 507 || ["ErrorQuotaExceeded", "quotaLimitReached"].iter().any(|code| answer.has_code(code))
    })
}

fn find<T: std::error::Error + 'static>(error: &Error) -> Option<&T> {
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if let Some(found) = inner.downcast_ref() {
            return Some(found);
        }
        cause = inner.source();
    }
    None
}

/// Says what a workload does about an error.
///
/// An item that still fails after all attempts is a gap; a network that gives no connection at all is fatal, as is
/// everything that Graph did not say.
pub fn fate(error: &Error) -> Fate {
    if let Some(graph) = graph_error(error) {
        return graph_fate(graph);
    }
    match (error.kind(), transport_error(error)) {
        (ErrorKind::ResyncRequired, _) => Fate::Resync { location: None },
        (_, Some(TransportError { connect: false, .. })) => Fate::Gap(error.to_string()),
        _ => Fate::Fatal,
    }
}

fn graph_fate(e: &GraphError) -> Fate {
    if e.is_resync() {
        return Fate::Resync { location: e.location.clone() };
    }
    if e.infected || e.has_code(MALWARE) {
        return Fate::Gap(e.reason("Microsoft found malware in it"));
    }
    if e.is_no_mailbox() {
        return Fate::NotProvisioned(
            e.reason("no mailbox in Exchange Online: unlicensed, inactive, deleted or on premises"),
        );
    }
    let lower = e.message.to_ascii_lowercase();
    if e.status == 404 && lower.contains("mysite not found") {
        return Fate::NotProvisioned(e.reason("no OneDrive"));
    }
    if e.status == 400 && lower.contains("spo license") {
        return Fate::NotProvisioned(e.reason("the tenant has no SharePoint licence"));
    }
    if e.is_damaged_item() {
        return Fate::Gap(e.reason("Microsoft cannot read it: the item is damaged"));
    }
    if e.status == 423 || (e.status == 403 && e.has_any(LOCKED)) {
        return Fate::Gap(e.reason("locked, read-only or archived"));
    }
    match e.status {
        404 => Fate::Gone,
        401 if e.has_code("AuthenticationError") => Fate::NotProvisioned(e.reason("unlicensed user")),
        401 => Fate::Fatal,
        402 => Fate::Denied(e.reason("metered")),
        403 => Fate::Denied(e.reason("access denied")),
        507 => Fate::Gap(e.reason("over quota")),
        405 | 501 => Fate::Gap(e.reason("not supported here")),
        429 | 500..=599 => Fate::Gap(e.reason("the service failed at every attempt")),
        _ if e.has_any(GONE) => Fate::Gone,
        _ => Fate::Fatal,
    }
}

fn text(object: &Value, keys: &[&str]) -> Option<String> {
    let value = keys.iter().find_map(|key| object.get(*key))?;
    let text = match value {
        Value::String(text) => text.as_str(),
        _ => return None,
    };
    Some(tidy(text))
}

/// Makes foreign text fit for a message: one line, no control characters, cut, no URL queries.
pub(crate) fn tidy(text: &str) -> String {
    let mut out = String::new();
    for word in text.split_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        if word.contains("://") {
            let end = word.split(['?', '#']).next().unwrap_or_default();
            out.push_str(if end.len() < word.len() { links::shown(word) } else { word });
        } else {
            out.extend(word.chars().filter(|c| !c.is_control()));
        }
        if out.len() > MESSAGE_LIMIT {
            let mut end = MESSAGE_LIMIT;
            while !out.is_char_boundary(end) {
                end -= 1;
            }
            out.truncate(end);
            out.push('…');
            break;
        }
    }
    out
}
