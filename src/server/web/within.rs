//! Takes what a path names: the account (the guard has seen that it is the asker's), and what in it the path leads to.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Path, RawPathParams};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};

use crate::error::{Error, Result};
use crate::server::db::{Account, RepositoryRow, RestoreRow};
use crate::server::error::ApiError;
use crate::server::id::Id;
use crate::server::pages;
use crate::server::state::Server;

/// What stands in a path, one thing or several in a tuple. What is no id leads nowhere.
pub(crate) struct At<T>(pub(crate) T);

impl<T: serde::de::DeserializeOwned + Send> FromRequestParts<Arc<Server>> for At<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, server: &Arc<Server>) -> std::result::Result<Self, Response> {
        let found = Path::<T>::from_request_parts(parts, server).await;
        found.map(|Path(found)| Self(found)).map_err(|_| refused(parts, nowhere()))
    }
}

fn nowhere() -> Error {
    Error::not_found("There is nothing at this address")
}

/// The account of a path.
pub(crate) struct OfAccount(pub(crate) Account);

/// The account and the repository of a path.
pub(crate) struct OfRepository {
    /// The account.
    pub(crate) account: Account,
    /// The repository.
    pub(crate) row: RepositoryRow,
}

/// The account and the restore of a path.
pub(crate) struct OfRestore {
    /// The account.
    pub(crate) account: Account,
    /// The restore.
    pub(crate) restore: RestoreRow,
}

/// An id that stands in the path under a name.
async fn named(parts: &mut Parts, server: &Arc<Server>, name: &str) -> Result<Id> {
    let params = RawPathParams::from_request_parts(parts, server).await.map_err(|_| nowhere())?;
    let found = params.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_owned());
    Id::parse(&found.ok_or_else(nowhere)?)
}

async fn account(parts: &mut Parts, server: &Arc<Server>) -> Result<Account> {
    let id = named(parts, server, "account").await?;
    server.db.account(&id).await
}

/// Tells a failure at the door at which was asked.
fn refused(parts: &Parts, e: Error) -> Response {
    if parts.uri.path().starts_with("/api/") { ApiError(e).into_response() } else { pages::refusal(&e) }
}

impl FromRequestParts<Arc<Server>> for OfAccount {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, server: &Arc<Server>) -> std::result::Result<Self, Response> {
        account(parts, server).await.map(Self).map_err(|e| refused(parts, e))
    }
}

impl FromRequestParts<Arc<Server>> for OfRepository {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, server: &Arc<Server>) -> std::result::Result<Self, Response> {
        let found = async {
            let account = account(parts, server).await?;
            let id = named(parts, server, "repository").await?;
            let row = server.db.repository(&account.id, &id).await?;
            Ok(Self { account, row })
        };
        found.await.map_err(|e| refused(parts, e))
    }
}

impl FromRequestParts<Arc<Server>> for OfRestore {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, server: &Arc<Server>) -> std::result::Result<Self, Response> {
        let found = async {
            let account = account(parts, server).await?;
            let id = named(parts, server, "restore").await?;
            let restore = server.db.restore(&account.id, &id).await?;
            Ok(Self { account, restore })
        };
        found.await.map_err(|e| refused(parts, e))
    }
}
