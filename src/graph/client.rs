//! The client: all that a workload sees of the network.
use super::auth::Credential;
use super::budget::Budget;
use super::cloud::Cloud;
use super::delta::DeltaPages;
use super::download::{Download, DownloadSource};
use super::limits::Limits;
use super::request::{GraphRequest, Page};
use super::retry::RetryOptions;
use super::stats::GraphStats;
use super::token::TokenSource;
use crate::error::Result;
use crate::monitor::Monitor;
use bytes::Bytes;
use serde_json::Value;
use std::sync::Arc;

/// What a client is made of besides its sign-in.
pub struct ClientOptions {
    /// Which Microsoft cloud.
    pub cloud: Cloud,
    /// What Microsoft allows; not looked at when `budget` is given.
    pub limits: Limits,
    /// A budget shared with other clients of the same tenant and app; `None` makes one of its own.
    pub budget: Option<Arc<Budget>>,
    /// How often failed attempts are repeated.
    pub retry: RetryOptions,
    /// Hears of requests, throttling and waits.
    pub monitor: Arc<dyn Monitor>,
}
impl ClientOptions {
    /// Options with Microsoft's limits of the smallest tenants, own budget and no monitor.
    pub fn new(cloud: Cloud) -> Self {
        Self {
            cloud,
            limits: Limits::default(),
            budget: None,
            retry: RetryOptions::default(),
            monitor: Arc::new(crate::monitor::Silent),
        }
    }
}
/// A Graph client; cheap to clone.
#[derive(Clone)]
pub struct Client {
    _inner: Arc<()>,
}
impl Client {
    /// Makes a client that signs in with client credentials; nothing is sent yet.
    pub fn new(_options: ClientOptions, _tenant: &str, _client_id: &str, _credential: Credential) -> Result<Self> {
        todo!()
    }
    /// Makes a client that takes its tokens from any source.
    pub fn with_tokens(_options: ClientOptions, _tokens: Arc<dyn TokenSource>) -> Result<Self> {
        todo!()
    }
    /// Signs in if need be and lists the application roles that stand in the token; `None` if it cannot be read (a hint only).
    pub async fn sign_in(&self) -> Result<Option<Vec<String>>> {
        todo!()
    }
    /// Asks for JSON.
    pub async fn get_json(&self, _request: GraphRequest) -> Result<Value> {
        todo!()
    }
    /// Asks for one page; follows nothing.
    pub async fn get_page(&self, _request: GraphRequest) -> Result<Page> {
        todo!()
    }
    /// Asks for all pages from this request on and puts their rows together.
    pub async fn get_all(&self, _request: GraphRequest) -> Result<Vec<Value>> {
        todo!()
    }
    /// Asks for bytes, at most `limit_bytes`. An answer that broke off is asked for again whole.
    pub async fn get_bytes(&self, _request: GraphRequest, _limit_bytes: u64) -> Result<Bytes> {
        todo!()
    }
    /// Asks for bytes of any length as a stream (a message's `$value`), paid by the request's scope.
    pub async fn get_stream(&self, _request: GraphRequest) -> Result<Download> {
        todo!()
    }
    /// Posts JSON; the answer's JSON, or null if it was empty. Repeated only where the server surely did nothing.
    pub async fn post(&self, _request: GraphRequest) -> Result<Value> {
        todo!()
    }
    /// Asks `…/content` for the pre-authenticated URL it redirects to, without following it.
    pub async fn content_url(&self, _request: GraphRequest) -> Result<String> {
        todo!()
    }
    /// Opens a download; the first answer has come when this returns.
    pub async fn download(&self, _source: DownloadSource) -> Result<Download> {
        todo!()
    }
    /// Reads what changed: from `start` if `saved` is `None`, else from the saved delta link.
    pub fn delta(&self, _start: GraphRequest, _saved: Option<&str>) -> DeltaPages {
        todo!()
    }
    /// What was done so far.
    pub fn stats(&self) -> GraphStats {
        todo!()
    }
    /// The budget that pays.
    pub fn budget(&self) -> &Arc<Budget> {
        todo!()
    }
}
