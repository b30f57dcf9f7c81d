//! What a tenant has, and what rules choose of it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::server::contents::{Counts, Kind, Rules};
use crate::server::deeds::contents;
use crate::server::error::{ApiError, Problem};
use crate::server::id::Id;
use crate::server::state::Server;
use crate::server::web::{Asked, At, Wanted};

type Answer<T> = Result<T, ApiError>;

/// The most of an answer.
const MOST: usize = 200;

/// Which part of a tenant.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Which {
    /// What of it.
    kind: Kind,
    /// A part of the name.
    #[serde(default)]
    #[param(required = false, max_length = 200)]
    q: String,
    /// How many are passed over.
    #[serde(default)]
    #[param(required = false)]
    from: usize,
}

/// One of a tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ContentsItem {
    /// Graph's id; of a licence empty.
    id: String,
    /// A user principal name, a group's or team's name, a site's address, a licence's part number.
    name: String,
    /// The name to show; a group's address.
    title: String,
    /// The rule that means it and nothing else.
    rule: String,
    /// What is to be known of it beside the names.
    remark: String,
}

/// A list that could not be had.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Unlisted {
    /// Of what.
    what: String,
    /// Why.
    reason: String,
}

/// A part of what a tenant has.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ContentsPage {
    /// When Microsoft was asked: microseconds since 1970 UTC.
    read_us: i64,
    /// How many there are of the kind.
    all: usize,
    /// How many of them fit.
    found: usize,
    /// At most 200 of these, by name.
    items: Vec<ContentsItem>,
    /// From where the next ones are had; none: these are the last.
    next: Option<usize>,
    /// What could not be listed.
    unlisted: Vec<Unlisted>,
    /// So many of the tenant are left out here, for they are too many to keep.
    left_out: usize,
}

/// What a tenant has, as Microsoft told within the last minutes
#[utoipa::path(get, path = "/api/v1/accounts/{account}/tenants/{tenant}/contents", tag = "tenants",
    params(("account" = Id, Path), ("tenant" = Id, Path), Which), responses(
    (status = 200, body = ContentsPage), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn list(
    State(server): State<Arc<Server>>,
    At((account, tenant)): At<(Id, Id)>,
    Asked(which): Asked<Which>,
) -> Answer<Json<ContentsPage>> {
    let (_, contents) = contents::of_tenant(&server, &account, &tenant).await?;
    let mut found = 0;
    let mut items = Vec::new();
    for item in contents.find(which.kind, &which.q) {
        found += 1;
        if found > which.from && items.len() < MOST {
            items.push(ContentsItem {
                id: item.id().to_owned(),
                name: item.name().to_owned(),
                title: item.title().to_owned(),
                rule: item.rule(&contents),
                remark: item.remark(),
            });
        }
    }
    let until = which.from.saturating_add(items.len());
    let unlisted = contents.unlisted.iter();
    Ok(Json(ContentsPage {
        read_us: contents.read_us,
        all: contents.many(which.kind),
        found,
        items,
        next: (until < found).then_some(until),
        unlisted: unlisted.map(|(what, why)| Unlisted { what: what.clone(), reason: why.clone() }).collect(),
        left_out: contents.cut,
    }))
}

/// Count what rules choose of a tenant, by the code that a backup goes by
#[utoipa::path(post, path = "/api/v1/accounts/{account}/tenants/{tenant}/choice/count", tag = "tenants",
    params(("account" = Id, Path), ("tenant" = Id, Path)), request_body = Rules, responses(
    (status = 200, body = Counts), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn count(
    State(server): State<Arc<Server>>,
    At((account, tenant)): At<(Id, Id)>,
    Wanted(rules): Wanted<Rules>,
) -> Answer<Json<Counts>> {
    Ok(Json(contents::count(&server, &account, &tenant, &rules).await?))
}

/// Something to take in or to leave out.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tick {
    /// The rules as they are.
    rules: Rules,
    /// The rule that means it alone, as the contents tell.
    #[schema(max_length = 2000)]
    rule: String,
    /// It is to be taken in.
    chosen: bool,
}

/// What came of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Ticked {
    /// The rules as they are now.
    rules: Rules,
    /// What they choose.
    counts: Counts,
}

/// Take something in or leave it out: gives the rules with as little changed as it needs. Nothing is kept
#[utoipa::path(post, path = "/api/v1/accounts/{account}/tenants/{tenant}/choice/tick", tag = "tenants",
    params(("account" = Id, Path), ("tenant" = Id, Path)), request_body = Tick, responses(
    (status = 200, body = Ticked), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn tick(
    State(server): State<Arc<Server>>,
    At((account, tenant)): At<(Id, Id)>,
    Wanted(tick): Wanted<Tick>,
) -> Answer<Json<Ticked>> {
    let mut rules = tick.rules;
    let counts = contents::tick(&server, &account, &tenant, &mut rules, (&tick.rule, tick.chosen)).await?;
    Ok(Json(Ticked { rules, counts }))
}
