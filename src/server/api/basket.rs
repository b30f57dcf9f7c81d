//! Picking and downloading, and the search that finds what to pick.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::List;
use crate::error::Error;
use crate::format::id::SnapshotId;
use crate::ops::browse::Origin;
use crate::ops::export::MailFormat;
use crate::ops::find::{Found, Seen};
use crate::ops::present::{self, Face, Mode};
use crate::server::auth::Actor;
use crate::server::deeds::{archive, search};
use crate::server::error::{ApiError, Problem};
use crate::server::id::Id;
use crate::server::state::Server;
use crate::server::web::{Asked, OfRepository, Wanted};

type Answer<T> = Result<T, ApiError>;

/// Something in a snapshot.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Picked {
    /// The snapshot's id.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    snapshot: String,
    /// The path in it, as the search gives it; empty: all of it.
    #[schema(max_length = 4096)]
    path: String,
}

impl Picked {
    fn origin(&self) -> Result<Origin, ApiError> {
        if self.path.len() > 4_096 {
            return Err(Error::invalid("The path is too long").into());
        }
        let snapshot: SnapshotId = self.snapshot.parse()?;
        Ok(Origin { snapshot, path: self.path.clone() })
    }
}

impl From<Origin> for Picked {
    fn from(origin: Origin) -> Self {
        Self { snapshot: origin.snapshot.to_string(), path: origin.path }
    }
}

/// Things to pick.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ToPick {
    /// What.
    #[schema(max_items = 1000)]
    items: Vec<Picked>,
}

/// What this session or token has picked from the snapshots of a repository
#[utoipa::path(get, path = "/api/v1/accounts/{account}/repositories/{repository}/basket", tag = "restore",
    params(("account" = Id, Path), ("repository" = Id, Path)), responses(
    (status = 200, body = List<Picked>), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem)))]
pub(crate) async fn list(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    OfRepository { row, .. }: OfRepository,
) -> Answer<Json<List<Picked>>> {
    Ok(List::of(server.baskets.of(&actor, &row.id).into_iter().map(Picked::from)))
}

/// Pick something
#[utoipa::path(post, path = "/api/v1/accounts/{account}/repositories/{repository}/basket", tag = "restore",
    params(("account" = Id, Path), ("repository" = Id, Path)), request_body = ToPick, responses(
    (status = 200, body = List<Picked>), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 413, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn add(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    OfRepository { row, .. }: OfRepository,
    Wanted(wanted): Wanted<ToPick>,
) -> Answer<Json<List<Picked>>> {
    let new = wanted.items.iter().map(Picked::origin).collect::<Result<Vec<_>, _>>()?;
    server.baskets.add(&actor, &row.id, new, server.now_us())?;
    Ok(List::of(server.baskets.of(&actor, &row.id).into_iter().map(Picked::from)))
}

/// Take something out of the basket
#[utoipa::path(post, path = "/api/v1/accounts/{account}/repositories/{repository}/basket/removal", tag = "restore",
    params(("account" = Id, Path), ("repository" = Id, Path)), request_body = Picked, responses(
    (status = 200, body = List<Picked>), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 413, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn remove(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    OfRepository { row, .. }: OfRepository,
    Wanted(wanted): Wanted<Picked>,
) -> Answer<Json<List<Picked>>> {
    server.baskets.remove(&actor, &row.id, &wanted.origin()?);
    Ok(List::of(server.baskets.of(&actor, &row.id).into_iter().map(Picked::from)))
}

/// Empty the basket
#[utoipa::path(delete, path = "/api/v1/accounts/{account}/repositories/{repository}/basket", tag = "restore",
    params(("account" = Id, Path), ("repository" = Id, Path)), responses(
    (status = 204), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem)))]
pub(crate) async fn empty(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    OfRepository { row, .. }: OfRepository,
) -> Answer<StatusCode> {
    server.baskets.empty(&actor, &row.id);
    Ok(StatusCode::NO_CONTENT)
}

/// What becomes of mails in an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mails {
    /// A file for each.
    #[default]
    Eml,
    /// A file for each folder.
    Mbox,
    /// Each folder is a Maildir.
    Maildir,
}

impl From<Mails> for MailFormat {
    fn from(mails: Mails) -> Self {
        match mails {
            Mails::Eml => Self::Eml,
            Mails::Mbox => Self::Mbox,
            Mails::Maildir => Self::Maildir,
        }
    }
}

/// An archive to download.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ArchiveWanted {
    /// What goes into it.
    #[schema(min_items = 1, max_items = 1000)]
    items: Vec<Picked>,
    /// What becomes of mails.
    #[serde(default)]
    mails: Mails,
}

/// Download things of an unlocked repository as a ZIP, which is written while it is sent
#[utoipa::path(post, path = "/api/v1/accounts/{account}/repositories/{repository}/archive", tag = "restore",
    params(("account" = Id, Path), ("repository" = Id, Path)), request_body = ArchiveWanted, responses(
    (status = 200, content_type = "application/zip", body = Vec<u8>), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 404, body = Problem), (status = 413, body = Problem),
    (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn download(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    OfRepository { row, .. }: OfRepository,
    Wanted(wanted): Wanted<ArchiveWanted>,
) -> Answer<Response> {
    let items = wanted.items.iter().map(Picked::origin).collect::<Result<Vec<_>, _>>()?;
    Ok(archive::download(&server, &actor, &row, &items, wanted.mails.into()).await?)
}

/// What to look for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Looked {
    /// The query, as `tenantvault find` takes it: `invoice from:dana after:2026-10-01 -in:Archive`.
    #[param(max_length = 2000)]
    q: String,
    /// Only in the snapshots of this set.
    set: Option<String>,
    /// How many at most.
    #[param(minimum = 1, maximum = 500)]
    most: Option<usize>,
}

/// A snapshot in which an item is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SeenView {
    id: String,
    time_us: i64,
}

impl From<Seen> for SeenView {
    fn from(seen: Seen) -> Self {
        Self { id: seen.snapshot.to_string(), time_us: seen.time_us }
    }
}

/// An item that was found.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FoundView {
    /// The newest snapshot in which it matches.
    snapshot: String,
    /// Its path there: with the snapshot, what a restore and an archive take.
    path: String,
    set: String,
    kind: &'static str,
    name: String,
    from: Option<String>,
    time_us: Option<i64>,
    size_bytes: Option<u64>,
    /// The first and the last snapshot that hold it.
    first: SeenView,
    last: SeenView,
    /// How many hold it.
    snapshots: u32,
    /// The latest one does.
    in_latest: bool,
}

impl From<Found> for FoundView {
    fn from(found: Found) -> Self {
        Self {
            snapshot: found.newest.snapshot.to_string(),
            path: found.path,
            set: found.set,
            kind: found.record.kind.word(),
            from: found.record.fact("from").or_else(|| found.record.fact("organizer")).map(str::to_owned),
            time_us: found.record.sort_us.or(found.record.modified_us).or(found.record.created_us),
            size_bytes: present::size_bytes(&found.record, Face::Item, Mode::Presented),
            name: found.record.name,
            first: found.first.into(),
            last: found.last.into(),
            snapshots: found.snapshots,
            in_latest: found.in_latest,
        }
    }
}

/// What was found.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SearchView {
    /// The newest first.
    items: Vec<FoundView>,
    /// How many match in all.
    matches: u64,
    /// Snapshots that were searched.
    searched: u64,
    /// What could not be searched.
    damaged: Vec<String>,
}

/// Search all snapshots of an unlocked repository: each item once, with the first and the last snapshot of it
#[utoipa::path(get, path = "/api/v1/accounts/{account}/repositories/{repository}/search", tag = "restore",
    params(("account" = Id, Path), ("repository" = Id, Path), Looked), responses(
    (status = 200, body = SearchView), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn find(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    OfRepository { row, .. }: OfRepository,
    Asked(asked): Asked<Looked>,
) -> Answer<Json<SearchView>> {
    let most = asked.most.unwrap_or(100);
    match search::search(&server, &actor, &row, &asked.q, asked.set.as_deref(), most).await? {
        search::Outcome::Bad(bad) => Err(bad.into_error().into()),
        search::Outcome::Found(items, report) => Ok(Json(SearchView {
            items: items.into_iter().map(FoundView::from).collect(),
            matches: report.matches,
            searched: report.searched,
            damaged: report.trouble.damaged,
        })),
    }
}
