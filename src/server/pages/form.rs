//! What a form, or the query of a page's address, sends. What does not fit is answered by a page, as everything else that
//! cannot be done.

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::response::Response;
use serde::de::DeserializeOwned;

use super::refusal;
use crate::error::Error;

/// The fields of a form.
#[derive(Debug)]
pub(crate) struct Form<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Form<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        match axum::Form::<T>::from_request(request, state).await {
            Ok(axum::Form(fields)) => Ok(Self(fields)),
            Err(e) => {
                let text = e.body_text();
                let why = text.split_once("form body: ").map_or(text.as_str(), |(_, why)| why);
                let mut answer = refusal(&Error::invalid(format!("The form cannot be taken as it is: {why}")));
                // Too long is told as such.
                *answer.status_mut() = e.status();
                Err(answer)
            }
        }
    }
}

/// The query of a page's address.
#[derive(Debug)]
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(fields)) => Ok(Self(fields)),
            Err(e) => {
                let text = e.body_text();
                let why = text.split_once("query string: ").map_or(text.as_str(), |(_, why)| why);
                Err(refusal(&Error::invalid(format!("The page's address cannot be read: {why}"))))
            }
        }
    }
}
