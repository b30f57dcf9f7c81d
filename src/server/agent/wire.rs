//! What a client and the server say to each other: the client's side of the API.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::server::choices::Choices;
use crate::server::db::TenantDefinition;
use crate::server::id::Id;
use crate::server::jobs::facts::Facts;

/// A client that comes with its one-time code.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Enrolling {
    /// The code, with or without signs between its letters.
    #[schema(value_type = String, min_length = 1, max_length = 100)]
    pub(crate) code: Zeroizing<String>,
    /// The version of the program there.
    #[serde(default)]
    #[schema(max_length = 100)]
    pub(crate) version: String,
}

/// What it gets for it, once.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct Enrolled {
    /// The client's id.
    pub(crate) id: Id,
    /// What the account calls it.
    pub(crate) name: String,
    /// What it shows from now on: `Authorization: Bearer …`.
    #[schema(value_type = String)]
    pub(crate) token: Zeroizing<String>,
}

/// A client, as it knows itself.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Known {
    /// The client's id.
    pub(crate) id: Id,
    /// What the account calls it.
    pub(crate) name: String,
}

/// A client that asks for work.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asking {
    /// The version of the program there.
    #[serde(default)]
    #[schema(max_length = 100)]
    pub(crate) version: String,
}

/// What there is to do for a client.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct Offer {
    /// The next job; left out: there is none that may begin.
    pub(crate) handout: Option<Handout>,
    /// A job is due all the same, and waits for what else is done to its set, its repository or its tenant: ask again soon.
    pub(crate) waits: bool,
}

/// A job with all that it takes: secrets too, for as long as it lasts.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct Handout {
    /// The job.
    pub(crate) job: Id,
    /// What shows that it is still this client's: a job that was given to somebody else has another.
    pub(crate) lease: String,
    /// The server's time: microseconds since 1970 UTC. What the run notes is in it.
    pub(crate) now_us: i64,
    /// The name of the set.
    pub(crate) set: String,
    /// What it protects, how it is read.
    pub(crate) choices: Choices,
    /// The names of the repository's places.
    pub(crate) destinations: Vec<String>,
    /// The tenant.
    pub(crate) tenant: TenantHandout,
    /// The repository.
    pub(crate) repository: RepositoryHandout,
}

/// The tenant of a job.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct TenantHandout {
    /// Its name.
    pub(crate) name: String,
    /// How to reach it.
    pub(crate) definition: TenantDefinition,
    /// The app's secret or private key: the client signs in itself.
    #[schema(value_type = String)]
    pub(crate) secret: Zeroizing<String>,
}

/// The repository of a job.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct RepositoryHandout {
    /// The path of its root at this server, for WebDAV.
    pub(crate) path: String,
    /// The id that stands in it.
    pub(crate) id: String,
    /// The client's own key: it adds, and opens no contents.
    #[schema(value_type = String)]
    pub(crate) key: Zeroizing<String>,
}

/// How far a job is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Word {
    /// The job's lease.
    #[schema(max_length = 100)]
    pub(crate) lease: String,
    /// Counts, phase, what it waits for, problems.
    #[schema(value_type = Object)]
    pub(crate) progress: Value,
}

/// What the server says to that.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Reply {
    /// Somebody asked it to stop; what it has is kept.
    pub(crate) cancel: bool,
}

/// The end of a job.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ending {
    /// The job's lease.
    #[schema(max_length = 100)]
    pub(crate) lease: String,
    /// What came of it; left out: the client goes away, and the job is to be begun anew.
    #[serde(default)]
    pub(crate) facts: Option<Facts>,
}
