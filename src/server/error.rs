//! What a request that failed is answered with. The client reads what it can act upon; causes of the server's own errors stand in
//! the log, under the same number.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::id::Id;
use super::pages::words;
use crate::error::{Error, ErrorKind};

/// An answer that says what went wrong.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Problem {
    /// What kind of trouble: `not-found`, `permission`, `invalid-input`, …
    pub(crate) kind: &'static str,
    /// What failed, on which object.
    pub(crate) message: String,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
    /// The request's number: of an error of the server's own the log says more under it, of others only at the level debug.
    pub(crate) request: String,
}

/// An error on its way to a client of the API.
#[derive(Debug)]
pub(crate) struct ApiError(pub(crate) Error);

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

/// The status of an answer, and the word for it.
pub(crate) fn status(kind: ErrorKind) -> (StatusCode, &'static str) {
    match kind {
        ErrorKind::NotFound | ErrorKind::NoRepository => (StatusCode::NOT_FOUND, "not-found"),
        ErrorKind::AlreadyExists => (StatusCode::CONFLICT, "already-exists"),
        ErrorKind::Permission => (StatusCode::FORBIDDEN, "permission"),
        ErrorKind::WrongKey => (StatusCode::FORBIDDEN, "wrong-key"),
        ErrorKind::InvalidInput => (StatusCode::UNPROCESSABLE_ENTITY, "invalid-input"),
        ErrorKind::Unavailable | ErrorKind::ResyncRequired => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        ErrorKind::StorageFull => (StatusCode::INSUFFICIENT_STORAGE, "storage-full"),
        ErrorKind::Interrupted => (StatusCode::CONFLICT, "interrupted"),
        ErrorKind::Corrupt => (StatusCode::INTERNAL_SERVER_ERROR, "corrupt"),
        ErrorKind::UnsupportedVersion => (StatusCode::INTERNAL_SERVER_ERROR, "unsupported-version"),
        ErrorKind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
    }
}

/// What a client is told of an error, and what the log keeps.
pub(crate) fn problem(error: &Error) -> (StatusCode, Problem) {
    let (status, kind) = status(error.kind());
    let request = Id::random().to_string();
    if status.is_server_error() {
        tracing::error!(request, kind, "{}", error.chain());
    } else {
        tracing::debug!(request, kind, "{}", error.chain());
    }
    let message = match error.kind() {
        // What is inside is of no use outside.
        ErrorKind::Internal => "Something went wrong in the server".to_owned(),
        _ => error.to_string(),
    };
    let hint = error.hint().map(str::to_owned);
    (status, Problem { kind, message, hint, request })
}

/// An error in a line, for who reads of it later: what failed and why, and what to do as a sentence of its own.
pub(crate) fn told(error: &Error) -> String {
    match error.hint() {
        Some(hint) => format!("{}. {}", error.chain(), words::sentence(hint)),
        None => error.chain(),
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, problem) = problem(&self.0);
        (status, Json(problem)).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_is_a_sentence_of_its_own() {
        let error = Error::invalid("The secret is wrong");
        assert_eq!(told(&error), "The secret is wrong");
        assert_eq!(told(&error.with_hint("enter a new one")), "The secret is wrong. Enter a new one.");
    }
}
