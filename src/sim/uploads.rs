//! Upload sessions: bytes in order, in fragments, to pre-authenticated URLs that must never be sent the bearer token.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use serde_json::json;

use super::app::App;
use super::calendar_write;
use super::drive_write::{self, Place};
use super::mail_write;
use super::query::Request;
use super::reply::{Answer, Reply};
use super::rng::mix;
use super::throttle::Charge;
use super::written::Enclosure;

/// Where the URLs of sessions lead.
pub(super) const PATH: &str = "/_api/upload/";
/// What all fragments of a file but the last are a multiple of.
const MULTIPLE: u64 = 320 << 10;
/// A fragment of a file is shorter than this.
const FILE_FRAGMENT: usize = 60 << 20;
/// A fragment of an attachment is no longer than this.
const ATTACHMENT_FRAGMENT: usize = 4 << 20;

/// What becomes of the bytes.
#[derive(Debug, Clone)]
pub(super) enum Into {
    Message {
        index: usize,
        key: u32,
        file: Enclosure,
    },
    Drive {
        index: usize,
        place: Place,
    },
    /// An attachment of an event, with what is given of it.
    Event {
        index: usize,
        event: u32,
        given: serde_json::Map<String, serde_json::Value>,
    },
}

/// A session.
#[derive(Debug)]
pub(super) struct Session {
    size: u64,
    into: Into,
    bytes: Vec<u8>,
}

impl Session {
    pub(super) fn new(size: u64, into: Into) -> Self {
        Self { size, into, bytes: Vec::new() }
    }
}

/// The sessions under way.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    open: Mutex<HashMap<String, Session>>,
    next: AtomicU64,
}

impl Uploads {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Session>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a session and gives its URL.
    pub(super) fn begin(&self, app: &App, session: Session) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let key = u64::from_le_bytes(*app.auth.key.first_chunk().unwrap_or(&[0; 8]));
        let token = format!("{number:x}-{:016x}", mix(number ^ key));
        if app.options.remembers {
            app.counts.gives_out(&token);
        }
        self.lock().insert(token.clone(), session);
        format!("{}{PATH}{token}", app.base_url)
    }

    /// Forgets all sessions, as if they had expired.
    pub(super) fn expire(&self) {
        self.lock().clear();
    }

    /// What the session with this token is counted against.
    pub(super) fn charge(&self, token: &str) -> Charge {
        match self.lock().get(token).map(|session| &session.into) {
            Some(Into::Message { index, .. } | Into::Event { index, .. }) => Charge::Mailbox(*index),
            _ => Charge::Files(1),
        }
    }
}

fn gone() -> Reply {
    Reply::fail(404, "itemNotFound", "The upload session was not found")
}

/// Answers a request to a session's URL.
pub(super) fn answer(app: &App, request: &Request, token: &str) -> Answer {
    if request.headers.contains_key("authorization") {
        app.counts.leaks.fetch_add(1, Ordering::Relaxed);
        return Err(Reply::fail(401, "unauthenticated", "The bearer token does not belong here."));
    }
    match request.method.as_str() {
        "GET" => {
            let open = app.uploads.lock();
            let session = open.get(token).ok_or_else(gone)?;
            Ok(Reply::json(status(session)))
        }
        "DELETE" => app.uploads.lock().remove(token).map(|_| Reply::status(204)).ok_or_else(gone),
        "PUT" => put(app, request, token),
        _ => Err(Reply::status(405)),
    }
}

fn status(session: &Session) -> serde_json::Value {
    let next = session.bytes.len();
    match session.into {
        Into::Message { .. } | Into::Event { .. } => {
            json!({"ExpirationDateTime": "2099-01-01T00:00:00Z", "NextExpectedRanges": [next.to_string()]})
        }
        Into::Drive { .. } => {
            json!({"expirationDateTime": "2099-01-01T00:00:00Z", "nextExpectedRanges": [format!("{next}-")]})
        }
    }
}

fn put(app: &App, request: &Request, token: &str) -> Answer {
    let bad = |text: &str| Reply::fail(400, "invalidRequest", text);
    let range = request.header("content-range").and_then(parse).ok_or_else(|| bad("Content-Range"))?;
    let (from, to, total) = range;
    let done = {
        let mut open = app.uploads.lock();
        let session = open.get_mut(token).ok_or_else(gone)?;
        let length = request.body.len() as u64;
        if total != session.size || to < from || length != to - from + 1 || to >= total {
            return Err(bad("The range does not fit the contents"));
        }
        let (is_file, last) = (matches!(session.into, Into::Drive { .. }), to + 1 == total);
        if is_file && ((!last && !length.is_multiple_of(MULTIPLE)) || request.body.len() >= FILE_FRAGMENT) {
            return Err(bad("A fragment must be a multiple of 320 KiB and shorter than 60 MiB"));
        }
        if !is_file && request.body.len() > ATTACHMENT_FRAGMENT {
            return Err(bad("A fragment must not be longer than 4 MB"));
        }
        if from != session.bytes.len() as u64 {
            return Err(Reply::fail(416, "invalidRange", "The fragment is there already or does not follow."));
        }
        session.bytes.extend_from_slice(&request.body);
        if !last {
            let http = if is_file { 202 } else { 200 };
            return Ok(Reply { status: http, ..Reply::json(status(session)) });
        }
        open.remove(token).ok_or_else(gone)?
    };
    let bytes = Bytes::from(done.bytes);
    match done.into {
        Into::Message { index, key, file } => {
            mail_write::attach(app, index, key, Enclosure { bytes, ..file })?;
            Ok(Reply::status(201).header("Location", format!("{}/api/v2.0/Attachments('x')", app.base_url)))
        }
        Into::Drive { index, place } => drive_write::put_file(app, index, place, bytes),
        Into::Event { index, event, given } => {
            let mut world = app.write();
            let now = world.now();
            drop(calendar_write::attach(app, &mut world.users[index], event, given, bytes, now));
            Ok(Reply::status(201).header("Location", format!("{}/api/v2.0/Attachments('x')", app.base_url)))
        }
    }
}

/// Reads `bytes a-b/total`.
fn parse(text: &str) -> Option<(u64, u64, u64)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (from, to) = range.split_once('-')?;
    Some((from.parse().ok()?, to.parse().ok()?, total.parse().ok()?))
}
