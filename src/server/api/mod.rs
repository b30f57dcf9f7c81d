//! The JSON API, version 1. Each handler's description becomes part of the OpenAPI document ([`description`]), and a test
//! holds the two lists against each other.

pub(crate) mod accounts;
mod adopt;
mod agent;
mod audit;
mod basket;
mod clients;
mod contents;
pub(crate) mod jobs;
mod keys;
mod look;
mod me;
mod people;
mod receivers;
mod repositories;
pub(crate) mod restores;
mod sets;
mod sign_ins;
mod snapshots;
mod tenants;

use axum::Json;
use axum::http::Method;
use serde::{Deserialize, Serialize};
use utoipa::OpenApi;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Content, Ref, RefOr, ResponseBuilder};

use super::auth::Right;
use super::db::Before;
use super::id::Id;
use super::web::{Access, Routes};

/// What every route of the API begins with.
macro_rules! v1 {
    ($path:literal) => {
        concat!("/api/v1", $path)
    };
}

/// A list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct List<T: utoipa::ToSchema> {
    /// What is in it.
    pub(crate) items: Vec<T>,
}

impl<T: utoipa::ToSchema> List<T> {
    pub(crate) fn of(items: impl IntoIterator<Item = T>) -> Json<Self> {
        Json(Self { items: items.into_iter().collect() })
    }
}

/// Where a list goes on.
///
/// # Errors
/// `NotFound` for an id that is none.
fn before(us: Option<i64>, id: Option<&str>) -> crate::error::Result<Before> {
    Ok(Before::of(us, id.map(Id::parse).transpose()?))
}

/// Which part of a list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Span {
    /// How many are passed over.
    from: Option<usize>,
    /// How many at most; as many as may be unless told otherwise.
    #[param(minimum = 1, maximum = 1000)]
    most: Option<usize>,
}

impl Span {
    /// That part of what there is.
    pub(crate) fn of<T>(&self, all: Vec<T>) -> impl Iterator<Item = T> + use<T> {
        all.into_iter().skip(self.from.unwrap_or(0)).take(self.most.unwrap_or(MOST).clamp(1, MOST))
    }
}

/// The longest part of a list.
const MOST: usize = 1_000;

/// A part of a list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct PartOf<T: utoipa::ToSchema> {
    /// What is in it.
    pub(crate) items: Vec<T>,
    /// How many there are in all.
    pub(crate) all: usize,
}

/// The document.
#[derive(OpenApi)]
#[openapi(
    info(title = "Tenantvault", description = "Everything that the pages of the backup server do.", license(name = "Apache-2.0", identifier = "Apache-2.0")),
    security(("token" = [])),
    paths(
        me::who, me::sessions, me::end_session, me::tokens, me::add_token, me::remove_token,
        me::change_password, me::begin_factor, me::confirm_factor, me::end_factor,
        accounts::list, accounts::add, accounts::get, accounts::change, accounts::remove, accounts::growth,
        people::list, people::add, people::change, people::remove, people::invite,
        people::list_administrators, people::add_administrator, people::change_administrator,
        people::remove_administrator, people::invite_administrator,
        tenants::list, tenants::add, tenants::get, tenants::change, tenants::remove, tenants::test,
        sign_ins::begin, sign_ins::consent, sign_ins::get, sign_ins::code,
        contents::list, contents::count, contents::tick,
        repositories::list, repositories::make, repositories::get, repositories::remove, repositories::confirm,
        repositories::add_place, repositories::change_place, repositories::remove_place, repositories::upkeep,
        repositories::retention,
        keys::list, keys::add, keys::remove, keys::renew_of_server, keys::hold, keys::let_go,
        adopt::add,
        sets::list, sets::add, sets::get, sets::change, sets::remove, sets::run,
        jobs::list, jobs::get, jobs::cancel, jobs::events, jobs::runs,
        snapshots::list, snapshots::covered,
        clients::list, clients::add, clients::get, clients::change, clients::remove, clients::give_code,
        agent::enroll, agent::who, agent::take, agent::progress, agent::end,
        look::unlock, look::lock, look::contents, look::origin, look::file,
        basket::list, basket::add, basket::remove, basket::empty, basket::download, basket::find,
        restores::ask, restores::list, restores::get, restores::steps, restores::run, restores::undo, restores::stop,
        receivers::list, receivers::add, receivers::get, receivers::change, receivers::remove, receivers::test,
        receivers::deliveries, receivers::delivery,
        receivers::mail, receivers::keep_mail, receivers::remove_mail, receivers::test_mail,
        audit::of_account, audit::all, audit::verify,
    ),
)]
struct Document;

/// What any operation may be answered, beside what its own description says.
const OF_ALL: [(&str, &str); 3] = [
    ("500", "Something is wrong in the server, or with what is stored"),
    ("503", "The database or a storage does not answer, or not in time: try again later"),
    ("507", "The disk under the database is full"),
];

/// What any that is no reading may be answered: its body is taken whole before anything is done, also where none is needed.
const OF_BODIES: [(&str, &str); 2] = [("413", "The body is too long"), ("422", "The body cannot be read")];

/// Adds answers to an operation, each a problem; what it says of them itself stays.
fn may_answer(operation: &mut Operation, answers: &[(&str, &str)]) {
    for (status, why) in answers {
        let problem = Content::new(Some(Ref::from_schema_name("Problem")));
        let answer = ResponseBuilder::new().description(*why).content("application/json", problem).build();
        operation.responses.responses.entry((*status).to_owned()).or_insert(RefOr::T(answer));
    }
}

/// The OpenAPI description of the API, as JSON.
pub fn description() -> String {
    let mut document = Document::openapi();
    for item in document.paths.paths.values_mut() {
        for operation in [&mut item.get, &mut item.put, &mut item.post, &mut item.delete].into_iter().flatten() {
            may_answer(operation, &OF_ALL);
        }
        for operation in [&mut item.put, &mut item.post, &mut item.delete].into_iter().flatten() {
            may_answer(operation, &OF_BODIES);
        }
    }
    let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    document.components.get_or_insert_with(Default::default).add_security_scheme("token", scheme);
    document.to_pretty_json().unwrap_or_default()
}

/// Adds the routes.
pub(crate) fn add(routes: Routes) -> Routes {
    use Access::{Anybody, Needs};
    let routes = routes
        .api(Method::GET, v1!("/openapi.json"), Anybody, || async {
            ([(axum::http::header::CONTENT_TYPE, "application/json")], description())
        })
        .api(Method::GET, v1!("/me"), Needs(Right::SignedIn), me::who)
        .api(Method::GET, v1!("/me/sessions"), Needs(Right::SignedIn), me::sessions)
        .api(Method::DELETE, v1!("/me/sessions/{session}"), Needs(Right::SignedIn), me::end_session)
        .api(Method::GET, v1!("/me/tokens"), Needs(Right::SignedIn), me::tokens)
        .api(Method::POST, v1!("/me/tokens"), Needs(Right::SignedIn), me::add_token)
        .api(Method::DELETE, v1!("/me/tokens/{token}"), Needs(Right::SignedIn), me::remove_token)
        .api(Method::PUT, v1!("/me/password"), Needs(Right::SignedIn), me::change_password)
        .api(Method::POST, v1!("/me/factor"), Needs(Right::SignedIn), me::begin_factor)
        .api(Method::POST, v1!("/me/factor/confirmation"), Needs(Right::SignedIn), me::confirm_factor)
        .api(Method::POST, v1!("/me/factor/removal"), Needs(Right::SignedIn), me::end_factor);
    let routes = routes
        .api(Method::GET, v1!("/accounts"), Needs(Right::SignedIn), accounts::list)
        .api(Method::POST, v1!("/accounts"), Needs(Right::Server), accounts::add)
        .api(Method::GET, v1!("/accounts/{account}"), Needs(Right::See), accounts::get)
        .api(Method::PUT, v1!("/accounts/{account}"), Needs(Right::Server), accounts::change)
        .api(Method::DELETE, v1!("/accounts/{account}"), Needs(Right::Server), accounts::remove)
        .api(Method::GET, v1!("/accounts/{account}/growth"), Needs(Right::See), accounts::growth);
    let routes = routes
        .api(Method::GET, v1!("/accounts/{account}/people"), Needs(Right::See), people::list)
        .api(Method::POST, v1!("/accounts/{account}/people"), Needs(Right::People), people::add)
        .api(Method::PUT, v1!("/accounts/{account}/people/{person}"), Needs(Right::People), people::change)
        .api(Method::DELETE, v1!("/accounts/{account}/people/{person}"), Needs(Right::People), people::remove)
        .api(Method::POST, v1!("/accounts/{account}/people/{person}/invitation"), Needs(Right::People), people::invite)
        .api(Method::GET, v1!("/administrators"), Needs(Right::Server), people::list_administrators)
        .api(Method::POST, v1!("/administrators"), Needs(Right::Server), people::add_administrator)
        .api(Method::PUT, v1!("/administrators/{person}"), Needs(Right::Server), people::change_administrator)
        .api(Method::DELETE, v1!("/administrators/{person}"), Needs(Right::Server), people::remove_administrator)
        .api(
            Method::POST,
            v1!("/administrators/{person}/invitation"),
            Needs(Right::Server),
            people::invite_administrator,
        );
    of_notices(of_restores(of_clients(of_sets(of_repositories(of_tenants(routes))))))
        .api(Method::GET, v1!("/accounts/{account}/audit"), Needs(Right::Audit), audit::of_account)
        .api(Method::GET, v1!("/audit"), Needs(Right::Server), audit::all)
        .api(Method::GET, v1!("/audit/verification"), Needs(Right::Server), audit::verify)
}

fn of_tenants(routes: Routes) -> Routes {
    use Access::Needs;
    routes
        .api(Method::GET, v1!("/accounts/{account}/tenants"), Needs(Right::See), tenants::list)
        .api(Method::POST, v1!("/accounts/{account}/tenants"), Needs(Right::Change), tenants::add)
        .api(Method::GET, v1!("/accounts/{account}/tenants/{tenant}"), Needs(Right::See), tenants::get)
        .api(Method::PUT, v1!("/accounts/{account}/tenants/{tenant}"), Needs(Right::Change), tenants::change)
        .api(Method::DELETE, v1!("/accounts/{account}/tenants/{tenant}"), Needs(Right::Change), tenants::remove)
        .api(Method::POST, v1!("/accounts/{account}/tenants/{tenant}/test"), Needs(Right::Run), tenants::test)
        .api(Method::POST, v1!("/accounts/{account}/tenants/{tenant}/sign-ins"), Needs(Right::Change), sign_ins::begin)
        .api(Method::POST, v1!("/accounts/{account}/consents"), Needs(Right::Change), sign_ins::consent)
        .api(Method::GET, v1!("/accounts/{account}/sign-ins/{sign_in}"), Needs(Right::Change), sign_ins::get)
        .api(Method::POST, v1!("/accounts/{account}/sign-ins/{sign_in}/code"), Needs(Right::Change), sign_ins::code)
        .api(Method::GET, v1!("/accounts/{account}/tenants/{tenant}/contents"), Needs(Right::Change), contents::list)
        .api(
            Method::POST,
            v1!("/accounts/{account}/tenants/{tenant}/choice/count"),
            Needs(Right::Change),
            contents::count,
        )
        .api(
            Method::POST,
            v1!("/accounts/{account}/tenants/{tenant}/choice/tick"),
            Needs(Right::Change),
            contents::tick,
        )
}

/// The paths of a repository.
macro_rules! repository {
    ($path:literal) => {
        concat!("/api/v1/accounts/{account}/repositories/{repository}", $path)
    };
}

fn of_repositories(routes: Routes) -> Routes {
    use Access::Needs;
    use repositories as r;
    routes
        .api(Method::GET, v1!("/accounts/{account}/repositories"), Needs(Right::See), r::list)
        .api(Method::POST, v1!("/accounts/{account}/repositories"), Needs(Right::Keys), r::make)
        .api(Method::POST, v1!("/accounts/{account}/adoptions"), Needs(Right::Keys), adopt::add)
        .api(Method::GET, repository!(""), Needs(Right::See), r::get)
        .api(Method::DELETE, repository!(""), Needs(Right::Change), r::remove)
        .api(Method::POST, repository!("/confirmation"), Needs(Right::Keys), r::confirm)
        .api(Method::GET, repository!("/keys"), Needs(Right::See), keys::list)
        .api(Method::POST, repository!("/keys"), Needs(Right::Keys), keys::add)
        .api(Method::POST, repository!("/keys/{slot}/removal"), Needs(Right::Keys), keys::remove)
        .api(Method::POST, repository!("/server-key"), Needs(Right::Keys), keys::renew_of_server)
        .api(Method::PUT, repository!("/held-key"), Needs(Right::Keys), keys::hold)
        .api(Method::DELETE, repository!("/held-key"), Needs(Right::Keys), keys::let_go)
        .api(Method::POST, repository!("/destinations"), Needs(Right::Change), r::add_place)
        .api(Method::PUT, v1!("/accounts/{account}/destinations/{destination}"), Needs(Right::Change), r::change_place)
        .api(
            Method::DELETE,
            v1!("/accounts/{account}/destinations/{destination}"),
            Needs(Right::Change),
            r::remove_place,
        )
        .api(Method::POST, repository!("/upkeep"), Needs(Right::Run), r::upkeep)
        .api(Method::GET, repository!("/retention"), Needs(Right::See), r::retention)
        .api(Method::POST, repository!("/unlock"), Needs(Right::Restore), look::unlock)
        .api(Method::DELETE, repository!("/unlock"), Needs(Right::Restore), look::lock)
        .api(Method::GET, repository!("/contents"), Needs(Right::Restore), look::contents)
        .api(Method::GET, repository!("/origin"), Needs(Right::Restore), look::origin)
        .api(Method::GET, repository!("/file"), Needs(Right::Restore), look::file)
        .api(Method::GET, repository!("/snapshots"), Needs(Right::See), snapshots::list)
        .api(Method::GET, repository!("/snapshots/{snapshot}/coverage"), Needs(Right::See), snapshots::covered)
}

fn of_restores(routes: Routes) -> Routes {
    use Access::Needs;
    use restores as r;
    routes
        .api(Method::GET, repository!("/search"), Needs(Right::Restore), basket::find)
        .api(Method::GET, repository!("/basket"), Needs(Right::Restore), basket::list)
        .api(Method::POST, repository!("/basket"), Needs(Right::Restore), basket::add)
        .api(Method::POST, repository!("/basket/removal"), Needs(Right::Restore), basket::remove)
        .api(Method::DELETE, repository!("/basket"), Needs(Right::Restore), basket::empty)
        .api(Method::POST, repository!("/archive"), Needs(Right::Restore), basket::download)
        .api(Method::POST, repository!("/restores"), Needs(Right::Restore), r::ask)
        .api(Method::GET, v1!("/accounts/{account}/restores"), Needs(Right::See), r::list)
        .api(Method::GET, v1!("/accounts/{account}/restores/{restore}"), Needs(Right::See), r::get)
        .api(Method::GET, v1!("/accounts/{account}/restores/{restore}/steps"), Needs(Right::Restore), r::steps)
        .api(Method::POST, v1!("/accounts/{account}/restores/{restore}/run"), Needs(Right::Restore), r::run)
        .api(Method::POST, v1!("/accounts/{account}/restores/{restore}/undo"), Needs(Right::Restore), r::undo)
        .api(Method::POST, v1!("/accounts/{account}/restores/{restore}/stop"), Needs(Right::Restore), r::stop)
}

fn of_sets(routes: Routes) -> Routes {
    use Access::Needs;
    routes
        .api(Method::GET, v1!("/accounts/{account}/sets"), Needs(Right::See), sets::list)
        .api(Method::POST, v1!("/accounts/{account}/sets"), Needs(Right::Change), sets::add)
        .api(Method::GET, v1!("/accounts/{account}/sets/{set}"), Needs(Right::See), sets::get)
        .api(Method::PUT, v1!("/accounts/{account}/sets/{set}"), Needs(Right::Change), sets::change)
        .api(Method::DELETE, v1!("/accounts/{account}/sets/{set}"), Needs(Right::Change), sets::remove)
        .api(Method::POST, v1!("/accounts/{account}/sets/{set}/runs"), Needs(Right::Run), sets::run)
        .api(Method::GET, v1!("/accounts/{account}/jobs"), Needs(Right::See), jobs::list)
        .api(Method::GET, v1!("/accounts/{account}/jobs/{job}"), Needs(Right::See), jobs::get)
        .api(Method::DELETE, v1!("/accounts/{account}/jobs/{job}"), Needs(Right::Run), jobs::cancel)
        .api(Method::GET, v1!("/accounts/{account}/jobs/{job}/events"), Needs(Right::See), jobs::events)
        .api(Method::GET, v1!("/accounts/{account}/runs"), Needs(Right::See), jobs::runs)
}

fn of_clients(routes: Routes) -> Routes {
    use Access::{Anybody, Client, Needs};
    routes
        .api(Method::GET, v1!("/accounts/{account}/clients"), Needs(Right::See), clients::list)
        .api(Method::POST, v1!("/accounts/{account}/clients"), Needs(Right::Change), clients::add)
        .api(Method::GET, v1!("/accounts/{account}/clients/{client}"), Needs(Right::See), clients::get)
        .api(Method::PUT, v1!("/accounts/{account}/clients/{client}"), Needs(Right::Change), clients::change)
        .api(Method::DELETE, v1!("/accounts/{account}/clients/{client}"), Needs(Right::Change), clients::remove)
        .api(Method::POST, v1!("/accounts/{account}/clients/{client}/code"), Needs(Right::Change), clients::give_code)
        .api(Method::POST, v1!("/agent/enrolment"), Anybody, agent::enroll)
        .api(Method::GET, v1!("/agent"), Client, agent::who)
        .api(Method::POST, v1!("/agent/jobs"), Client, agent::take)
        .api(Method::POST, v1!("/agent/jobs/{job}/progress"), Client, agent::progress)
        .api(Method::POST, v1!("/agent/jobs/{job}/end"), Client, agent::end)
}

fn of_notices(routes: Routes) -> Routes {
    use Access::Needs;
    use receivers as r;
    routes
        .api(Method::GET, v1!("/accounts/{account}/receivers"), Needs(Right::See), r::list)
        .api(Method::POST, v1!("/accounts/{account}/receivers"), Needs(Right::Change), r::add)
        .api(Method::GET, v1!("/accounts/{account}/receivers/{receiver}"), Needs(Right::See), r::get)
        .api(Method::PUT, v1!("/accounts/{account}/receivers/{receiver}"), Needs(Right::Change), r::change)
        .api(Method::DELETE, v1!("/accounts/{account}/receivers/{receiver}"), Needs(Right::Change), r::remove)
        .api(Method::POST, v1!("/accounts/{account}/receivers/{receiver}/test"), Needs(Right::Change), r::test)
        .api(Method::GET, v1!("/accounts/{account}/deliveries"), Needs(Right::See), r::deliveries)
        .api(Method::GET, v1!("/accounts/{account}/deliveries/{delivery}"), Needs(Right::See), r::delivery)
        .api(Method::GET, v1!("/settings/mail"), Needs(Right::Server), r::mail)
        .api(Method::PUT, v1!("/settings/mail"), Needs(Right::Server), r::keep_mail)
        .api(Method::DELETE, v1!("/settings/mail"), Needs(Right::Server), r::remove_mail)
        .api(Method::POST, v1!("/settings/mail/test"), Needs(Right::Server), r::test_mail)
}
