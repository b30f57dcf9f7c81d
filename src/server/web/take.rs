//! Takes what a request of the API brings; what cannot be read is answered like any other problem.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;

use crate::error::Error;
use crate::server::error::ApiError;

/// The body of a request, as JSON.
#[derive(Debug)]
pub(crate) struct Wanted<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Wanted<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        match Json::from_request(request, state).await {
            Ok(Json(value)) => Ok(Self(value)),
            Err(e) => {
                let too_long = e.status() == StatusCode::PAYLOAD_TOO_LARGE;
                let text = match e {
                    JsonRejection::JsonDataError(e) => format!("The body does not fit: {}", e.body_text()),
                    JsonRejection::JsonSyntaxError(_) => "The body is not JSON".to_owned(),
                    JsonRejection::MissingJsonContentType(_) => {
                        "The body does not say that it is JSON (Content-Type: application/json)".to_owned()
                    }
                    e if too_long => format!("The body is too long: {}", e.body_text()),
                    _ => "The body cannot be read".to_owned(),
                };
                let mut answer = ApiError(Error::invalid(text)).into_response();
                if too_long {
                    *answer.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
                }
                Err(answer)
            }
        }
    }
}

/// The query of a request.
#[derive(Debug)]
pub(crate) struct Asked<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(value)) => Ok(Self(value)),
            Err(e) => Err(ApiError(Error::invalid(format!("The query does not fit: {}", e.body_text())))),
        }
    }
}
