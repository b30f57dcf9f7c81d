//! The client: all that a workload sees of the network.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::LOCATION;
use serde_json::Value;

use super::auth::{ClientCredentials, Credential};
use super::batch::Gathering;
use super::budget::Budget;
use super::cloud::Cloud;
use super::delta::DeltaPages;
use super::download::{Download, DownloadSource};
use super::endpoint::TokenEndpoint;
use super::http::Http;
use super::limits::Limits;
use super::links;
use super::me::{Caller, Me};
use super::page::Page;
use super::request::{GraphRequest, Scope};
use super::retry::{RetryOptions, text};
use super::speed::SpeedLimit;
use super::stats::{GraphStats, StatsCells};
use super::token::{TokenCache, TokenSource};
use super::transport::{Transport, Tries, Whole, unreadable};
use super::user::Account;
use crate::error::{Error, Result};
use crate::monitor::{Monitor, Silent};
use crate::reach::Reach;

/// The longest JSON answer that is taken.
pub(super) const JSON_LIMIT_BYTES: u64 = 64 * 1024 * 1024;
pub(super) const JSON: &str = "application/json";

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
    /// Limits on the bytes a second that come from Graph; all of them hold.
    pub speed: Vec<Arc<SpeedLimit>>,
    /// Which machines it may connect to, if not all.
    pub reach: Option<Reach>,
    /// Whether HTTP/2 is spoken without asking (RFC 9113, section 3.3). With TLS both sides agree on it by themselves, as
    /// Microsoft's do; the simulated tenant, which has none, takes it so.
    pub http2: bool,
}

impl ClientOptions {
    /// Options with Microsoft's limits of the smallest tenants, a budget of its own and no monitor.
    pub fn new(cloud: Cloud) -> Self {
        Self {
            cloud,
            limits: Limits::default(),
            budget: None,
            retry: RetryOptions::default(),
            monitor: Arc::new(Silent),
            speed: Vec::new(),
            reach: None,
            http2: false,
        }
    }
}

/// A Graph client; cheap to clone.
#[derive(Clone)]
pub struct Client {
    pub(crate) transport: Arc<Transport>,
}

impl Client {
    /// Makes a client that signs in with client credentials; nothing is sent yet.
    ///
    /// [`crate::ErrorKind::InvalidInput`] if tenant, client id, secret or certificate cannot be used.
    pub fn new(options: ClientOptions, tenant: &str, client_id: &str, credential: Credential) -> Result<Self> {
        let http = Http::new(options.reach.as_ref(), options.http2)?;
        let retry = options.retry.clone();
        let endpoint = TokenEndpoint::new(http.clone(), retry, &options.cloud, tenant, client_id, None)?;
        let source = ClientCredentials::new(endpoint, &options.cloud, credential)?;
        Ok(Self::assemble(options, http, Arc::new(source), Caller::App))
    }

    /// Makes a client that takes an app's tokens from any source.
    pub fn with_tokens(options: ClientOptions, tokens: Arc<dyn TokenSource>) -> Result<Self> {
        let http = Http::new(options.reach.as_ref(), options.http2)?;
        Ok(Self::assemble(options, http, tokens, Caller::App))
    }

    /// Makes a client that takes a user's tokens from a source; `caller`: of which kind the account is.
    pub fn for_user(options: ClientOptions, tokens: Arc<dyn TokenSource>, caller: Caller) -> Result<Self> {
        let http = Http::new(options.reach.as_ref(), options.http2)?;
        Ok(Self::assemble(options, http, tokens, caller))
    }

    fn assemble(options: ClientOptions, http: Http, tokens: Arc<dyn TokenSource>, caller: Caller) -> Self {
        let budget = options.budget.unwrap_or_else(|| Budget::new(options.limits, options.monitor.clone()));
        let transport = Transport {
            http,
            root: options.cloud.graph_root().clone(),
            tokens: TokenCache::new(tokens),
            budget,
            retry: options.retry,
            monitor: options.monitor,
            speed: options.speed,
            stats: StatsCells::default(),
            me: Me::new(caller),
            gathering: Gathering::default(),
        };
        Self { transport: Arc::new(transport) }
    }

    /// Signs in if need be and lists what the token is good for: the application roles of an app, the scopes of a user;
    /// `None` if that cannot be told. A hint only: see [`super::AccessToken::granted`]. Refusals come as
    /// [`crate::ErrorKind::Permission`], explained.
    pub async fn sign_in(&self) -> Result<Option<Vec<String>>> {
        Ok(self.transport.tokens.get().await?.granted())
    }

    /// Who is signed in by this client's tokens.
    pub fn caller(&self) -> Caller {
        self.transport.me.caller
    }

    /// Asks who the signed-in user is; `None` for an app. From then on everything of that user is asked for by `me`, the
    /// one name that works for personal accounts too.
    pub async fn me(&self) -> Result<Option<Account>> {
        if self.caller() == Caller::App {
            return Ok(None);
        }
        if let Some(known) = self.transport.me.account.get() {
            return Ok(Some(known.clone()));
        }
        let request = GraphRequest::get(Scope::Directory, "me?$select=id,userPrincipalName,displayName,mail");
        let row = self.get_json(request).await?;
        let text = |key: &str| row.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        let Some(id) = text("id") else { return Err(Error::corrupt("Graph does not say who is signed in")) };
        let name = text("userPrincipalName").or_else(|| text("mail")).unwrap_or(id);
        let account = Account { id: id.to_owned(), name: name.to_owned() };
        Ok(Some(self.transport.me.account.get_or_init(|| account).clone()))
    }

    /// Asks for JSON. An empty answer (204) is null.
    pub async fn get_json(&self, request: GraphRequest) -> Result<Value> {
        let whole = self.transport.whole(&request, JSON, JSON_LIMIT_BYTES).await?;
        parse(&request, &whole)
    }

    /// Asks for one page; follows nothing. Pages may be empty and still have a next link.
    pub async fn get_page(&self, request: GraphRequest) -> Result<Page> {
        let whole = self.transport.whole(&request, JSON, JSON_LIMIT_BYTES).await?;
        Page::read(whole.body.clone()).map_err(|e| unreadable_json(&request, &whole, &e))
    }

    /// Asks for all pages from this request on and puts their rows together: for lists known to be short.
    pub async fn get_all(&self, request: GraphRequest) -> Result<Vec<Value>> {
        let first = self.get_page(request.clone()).await?;
        self.all_from(&request, first).await
    }

    /// The rows of a page, and of all that follow it.
    pub(super) async fn all_from(&self, request: &GraphRequest, first: Page) -> Result<Vec<Value>> {
        let mut rows = first.rows.values().collect::<Result<Vec<_>>>()?;
        let mut seen = super::delta::Seen::default();
        seen.check(&request.url)?;
        let mut next = first.next_link;
        while let Some(url) = next {
            seen.check(&url)?;
            let page = self.get_page(request.with_url(url)).await?;
            for row in page.rows.values() {
                rows.push(row?);
            }
            next = page.next_link;
        }
        Ok(rows)
    }

    /// Asks for bytes, at most `limit_bytes`. An answer that broke off is asked for again, whole.
    pub async fn get_bytes(&self, request: GraphRequest, limit_bytes: u64) -> Result<Bytes> {
        Ok(self.transport.whole(&request, "*/*", limit_bytes).await?.body)
    }

    /// Asks for bytes of any length as a stream (a message's `$value`), paid by the request's scope.
    ///
    /// An answer that broke off is asked for again; what was handed out already is skipped and must be the same.
    pub async fn get_stream(&self, request: GraphRequest) -> Result<Download> {
        Download::from_graph(self.clone(), request).await
    }

    /// Sends a request that writes and gives the answer's JSON, null if it was empty.
    ///
    /// A POST is repeated only where the server surely did nothing (429, 503, 401, no connection), as it is not
    /// idempotent: where an answer was lost the error is one of [`super::is_doubtful`], and the caller has to look.
    pub async fn send(&self, request: GraphRequest) -> Result<Value> {
        if request.method == Method::GET {
            return Err(Error::internal("A request that writes is a GET"));
        }
        let whole = self.transport.whole(&request, JSON, JSON_LIMIT_BYTES).await?;
        parse(&request, &whole)
    }

    /// Asks `…/content` for the pre-authenticated URL it redirects to, without following it.
    pub async fn content_url(&self, request: GraphRequest) -> Result<String> {
        let answer = self.transport.open(&request, "*/*", &mut Tries::default()).await?;
        let target = text(answer.response.headers(), LOCATION.as_str()).and_then(|link| answer.url.join(link).ok());
        match target {
            Some(url) if answer.response.status().is_redirection() => {
                self.transport.plain_url(url.as_str()).map(String::from)
            }
            _ => Err(Error::corrupt(format!("{} gave no download URL", links::shown(&request.url)))),
        }
    }

    /// Opens a download; its first answer has come when this returns, so that what cannot be read fails here.
    pub async fn download(&self, source: DownloadSource) -> Result<Download> {
        Download::from_source(self.clone(), source).await
    }

    /// Reads what changed: from `start` on if `saved` is `None`, else from the saved delta link on, with the
    /// preferences and headers of `start`.
    pub fn delta(&self, start: GraphRequest, saved: Option<&str>) -> DeltaPages {
        DeltaPages::new(self.clone(), start, saved)
    }

    /// What was done so far.
    pub fn stats(&self) -> GraphStats {
        self.transport.stats.snapshot()
    }

    /// The budget that pays.
    pub fn budget(&self) -> &Arc<Budget> {
        &self.transport.budget
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.transport.root)
    }
}

fn parse(request: &GraphRequest, whole: &Whole) -> Result<Value> {
    if whole.body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&whole.body).map_err(|e| unreadable_json(request, whole, &e))
}

fn unreadable_json(request: &GraphRequest, whole: &Whole, e: &serde_json::Error) -> Error {
    let kind = text(&whole.headers, "content-type").unwrap_or("no content type").to_owned();
    // Only where and of what type: the text itself may hold mail.
    unreadable(request).context(format!(
        "{} cannot be read ({kind}, line {}, column {})",
        links::shown(&request.url),
        e.line(),
        e.column()
    ))
}
