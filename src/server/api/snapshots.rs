//! Snapshots of a repository and what they cover: what a write-only key sees.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::List;
use crate::format::snapshot::CoverageEntry;
use crate::ops::coverage;
use crate::server::error::{ApiError, Problem};
use crate::server::id::Id;
use crate::server::state::Server;
use crate::server::web::At;
use crate::snapshot::store;

type Answer<T> = Result<T, ApiError>;

/// A snapshot.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SnapshotView {
    /// The snapshot's id.
    id: String,
    /// The set's name.
    set: String,
    /// When the run began: microseconds since 1970 UTC.
    time_us: i64,
    /// When it ended.
    ended_us: i64,
    host: String,
    tags: Vec<String>,
    /// Every collection was read to its end.
    complete: bool,
    /// Counts.
    #[schema(value_type = Object)]
    totals: Value,
}

/// Snapshots of a repository, the newest first
#[utoipa::path(get, path = "/api/v1/accounts/{account}/repositories/{repository}/snapshots", tag = "snapshots",
    params(("account" = Id, Path), ("repository" = Id, Path)), responses(
    (status = 200, body = List<SnapshotView>), (status = 401, body = Problem), (status = 404, body = Problem),
    (status = 503, body = Problem)))]
pub(crate) async fn list(
    State(server): State<Arc<Server>>,
    At((account, repository)): At<(Id, Id)>,
) -> Answer<Json<List<SnapshotView>>> {
    let row = server.db.repository(&account, &repository).await?;
    let repo = server.stores.open(&server, &row).await?;
    let listing = store::list(&repo).await?;
    Ok(List::of(listing.snapshots.into_iter().rev().map(|snapshot| SnapshotView {
        id: snapshot.id.to_string(),
        set: snapshot.file.set_name,
        time_us: snapshot.file.time_us,
        ended_us: snapshot.file.ended_us,
        host: snapshot.file.host,
        tags: snapshot.file.tags,
        complete: snapshot.file.complete,
        totals: serde_json::to_value(snapshot.file.totals).unwrap_or_default(),
    })))
}

/// How one owner's part of one workload stands in a snapshot.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CoverageView {
    /// The owner's name.
    name: String,
    /// The workload; empty: all of the owner's.
    workload: String,
    /// `protected`, `partly`, `impossible`, `nothing`, `not selected`.
    state: String,
    /// Why, where it is not protected whole.
    reason: String,
    items: u64,
    gaps: u64,
    /// Since when it stands so: microseconds since 1970 UTC.
    since_us: i64,
}

impl From<CoverageEntry> for CoverageView {
    fn from(entry: CoverageEntry) -> Self {
        Self {
            name: entry.name,
            workload: entry.workload,
            state: entry.state.word().to_owned(),
            reason: entry.reason,
            items: entry.items,
            gaps: entry.gaps,
            since_us: entry.since_us,
        }
    }
}

/// What a snapshot covers
#[utoipa::path(get, path = "/api/v1/accounts/{account}/repositories/{repository}/snapshots/{snapshot}/coverage",
    tag = "snapshots", params(("account" = Id, Path), ("repository" = Id, Path), ("snapshot" = String, Path)), responses(
    (status = 200, body = List<CoverageView>), (status = 401, body = Problem), (status = 404, body = Problem),
    (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn covered(
    State(server): State<Arc<Server>>,
    At((account, repository, snapshot)): At<(Id, Id, String)>,
) -> Answer<Json<List<CoverageView>>> {
    let row = server.db.repository(&account, &repository).await?;
    let repo = server.stores.open(&server, &row).await?;
    let listing = store::list(&repo).await?;
    let found = store::find(&listing.snapshots, &snapshot)?;
    let entries = coverage::of(&repo, found).await?;
    Ok(List::of(entries.into_iter().map(CoverageView::from)))
}
