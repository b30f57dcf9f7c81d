//! A thin Microsoft Graph client: sign-in, transport, budgets, paging, delta, batches, downloads.
//!
//! It knows Graph's protocol and nothing of repositories or workloads. [`Client`] is all a workload sees of the
//! network: each request names the [`Scope`] whose budget pays, and comes back as JSON, a [`Page`], bytes or a
//! [`Download`]; an error says through [`fate`] what to do about it. Two arguments make it trustworthy: the bearer
//! token is attached in one place only (`transport`), after the URL's origin was compared with Graph's; and a
//! request is sent only with a permit of the [`Budget`] in hand.

pub mod auth;
mod batch;
pub mod budget;
pub mod certificate;
pub mod client;
pub mod cloud;
pub mod delta;
pub mod download;
mod endpoint;
pub mod error;
mod http;
pub mod limits;
pub mod links;
pub mod me;
pub mod page;
mod quickxor;
pub mod request;
mod retry;
mod signin;
pub mod speed;
pub mod stats;
pub mod token;
mod transport;
pub mod upload;
pub mod user;
mod window;

#[cfg(test)]
mod tests;

pub use auth::{ClientCredentials, Credential};
pub use budget::{Budget, Spent};
pub use certificate::certificate_end;
pub use client::{Client, ClientOptions};
pub use cloud::Cloud;
pub use delta::DeltaPages;
pub(crate) use delta::Seen;
pub use download::{Download, DownloadSource, Renewal, UrlSource};
pub(crate) use error::ASK_TEST;
pub use error::{Fate, GraphError, fate, graph_error, is_doubtful, is_full};
pub use limits::{Limits, TeamsLimits, WindowLimit};
pub use me::Caller;
pub use page::{Page, Rows};
pub use quickxor::QuickXor;
pub use request::{GraphRequest, IMMUTABLE_IDS, Payload, Scope, TeamsCall};
pub use retry::RetryOptions;
pub use signin::consent_refused;
pub use speed::SpeedLimit;
pub use stats::GraphStats;
pub use token::{AccessToken, TokenSource, granted_roles};
pub use upload::{Upload, UploadKind, UploadSource, Uploaded};
pub use user::{Account, UserOptions, UserSignIn};
