//! An answer, and Graph's error body.

use bytes::Bytes;
use serde_json::{Value, json};

use super::content::Blob;

/// The bytes of an answer.
#[derive(Debug, Clone)]
pub(super) enum Payload {
    Empty,
    Json(Value),
    Bytes(&'static str, Bytes),
    /// A range of a blob, streamed: offset and length.
    Blob(Blob, u64, u64),
}

/// An answer before it goes out.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) payload: Payload,
}

/// What a handler gives; both sides are answers.
pub(super) type Answer<T = Reply> = Result<T, Reply>;

impl Reply {
    /// An answer without a body.
    pub(super) fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), payload: Payload::Empty }
    }

    /// 200 with JSON.
    pub(super) fn json(body: Value) -> Self {
        Self { status: 200, headers: Vec::new(), payload: Payload::Json(body) }
    }

    /// 200 with bytes.
    pub(super) fn bytes(mime: &'static str, bytes: Vec<u8>) -> Self {
        Self { status: 200, headers: Vec::new(), payload: Payload::Bytes(mime, bytes.into()) }
    }

    /// Graph's error body; date and ids are filled in when the answer goes out.
    pub(super) fn fail(status: u16, code: &str, message: &str) -> Self {
        let body = json!({"error": {"code": code, "message": message, "innerError": {}}});
        Self { status, headers: Vec::new(), payload: Payload::Json(body) }
    }

    /// The same with a code in `innerError`, as SharePoint gives it.
    pub(super) fn fail_inner(status: u16, code: &str, message: &str, inner: &str) -> Self {
        let body = json!({"error": {"code": code, "message": message, "innerError": {"code": inner}}});
        Self { status, headers: Vec::new(), payload: Payload::Json(body) }
    }

    /// Adds a header.
    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Puts date and ids into an error body.
    pub(super) fn sign(&mut self, request_id: &str, client_request_id: &str, date: &str) {
        if let Payload::Json(body) = &mut self.payload
            && let Some(inner) = body.pointer_mut("/error/innerError").and_then(Value::as_object_mut)
        {
            inner.insert("date".into(), date.into());
            inner.insert("request-id".into(), request_id.into());
            inner.insert("client-request-id".into(), client_request_id.into());
        }
    }

    /// 404 of SharePoint and OneDrive.
    pub(super) fn item_not_found() -> Self {
        Self::fail(404, "itemNotFound", "The resource could not be found.")
    }

    /// 404 of Exchange.
    pub(super) fn mail_not_found() -> Self {
        Self::fail(404, "ErrorItemNotFound", "The specified object was not found in the store.")
    }

    /// 400 for a path that Graph does not know.
    pub(super) fn no_segment(segment: &str) -> Self {
        Self::fail(400, "BadRequest", &format!("Resource not found for the segment '{segment}'."))
    }
}
