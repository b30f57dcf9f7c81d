//! `$batch`: small questions of any budget, gathered into few round trips.
//!
//! Who asks ([`Client::ask`]) first gets the permit that the question needs alone: its place in the lane of its mailbox, its
//! units, its turn at Teams. Then it waits a moment for others who ask, and up to twenty go together. So no budget is spent otherwise
//! than by questions sent one by one, and Exchange, which runs four parts of a batch at once in a mailbox, never has more to run. Nobody
//! who holds a permit here waits for somebody else's.
//!
//! A batch is tried once: what it does not answer for good (throttled, broken, missing) is asked for again alone, with all that
//! belongs to that. Source: Microsoft Graph, "Combine multiple HTTP requests using JSON batching".

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, LOCATION};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;

use super::budget::Permit;
use super::client::{Client, JSON, JSON_LIMIT_BYTES};
use super::error::GraphError;
use super::http::read_body;
use super::page::Page;
use super::request::GraphRequest;
use super::retry::{rate_limit, text};
use super::transport::Tries;
use crate::error::Result;

/// Parts of a batch at most.
const PARTS: usize = 20;
/// So long a question waits for others: little beside a round trip.
const LINGER: Duration = Duration::from_millis(10);

/// Questions that wait to be sent together.
#[derive(Default)]
pub(crate) struct Gathering {
    waiting: Mutex<Vec<Asked>>,
}

/// A question, and who waits for its answer.
struct Asked {
    request: GraphRequest,
    /// Relative to the version.
    url: String,
    permit: Permit,
    tell: oneshot::Sender<Answered>,
}

/// The answer to a part.
#[derive(Deserialize)]
struct Answered {
    id: String,
    status: u16,
    #[serde(default)]
    headers: Map<String, Value>,
    #[serde(default)]
    body: Option<Box<RawValue>>,
}

/// What follows from a question that was added.
enum Added {
    /// It is the first: who added it sends all that wait, a moment later.
    First,
    /// Another sends it.
    Between,
    /// These are as many as go together.
    Full(Vec<Asked>),
}

impl Gathering {
    fn add(&self, asked: Asked) -> Added {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push(asked);
        match waiting.len() {
            1 => Added::First,
            PARTS => Added::Full(std::mem::take(&mut waiting)),
            _ => Added::Between,
        }
    }

    fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Client {
    /// Asks for JSON as [`Client::get_json`] does, in one round trip with what others ask at the same time. For GETs with small answers.
    pub async fn ask(&self, request: GraphRequest) -> Result<Value> {
        let told = self.gathered(&request).await.transpose()?;
        match told.and_then(|body| if body.is_empty() { Some(Value::Null) } else { serde_json::from_slice(&body).ok() })
        {
            Some(value) => Ok(value),
            None => self.get_json(request).await,
        }
    }

    /// Asks for a page as [`Client::get_page`] does, in one round trip with what others ask at the same time.
    pub async fn ask_page(&self, request: GraphRequest) -> Result<Page> {
        let told = self.gathered(&request).await.transpose()?;
        match told.and_then(|body| Page::read(body).ok()) {
            Some(page) => Ok(page),
            None => self.get_page(request).await,
        }
    }

    /// Asks for all rows as [`Client::get_all`] does, the first page in one round trip with what others ask at the same time.
    pub async fn ask_all(&self, request: GraphRequest) -> Result<Vec<Value>> {
        let first = self.ask_page(request.clone()).await?;
        self.all_from(&request, first).await
    }

    /// Asks several questions at once, as [`Client::ask_all`] does each; answers come in their order.
    pub async fn ask_all_of(&self, requests: impl IntoIterator<Item = GraphRequest>) -> Vec<Result<Vec<Value>>> {
        futures::future::join_all(requests.into_iter().map(|request| self.ask_all(request))).await
    }

    /// The body of the answer to a part; `None`: to be asked for alone.
    async fn gathered(&self, request: &GraphRequest) -> Option<Result<Bytes>> {
        let url = self.part_url(request)?;
        // A task of its own, as every request is: its permit waits for nobody who is not polled.
        let (client, asked) = (self.clone(), request.clone());
        let task = tokio::spawn(async move { client.gather(asked, url).await });
        let answer = AbortOnDropHandle::new(task).await.ok().flatten()?;
        self.settle(request, answer)
    }

    async fn gather(&self, request: GraphRequest, url: String) -> Option<Answered> {
        let transport = &self.transport;
        let permit = transport.permit(transport.budget.acquire(&request.scope, request.units)).await;
        let (tell, told) = oneshot::channel();
        let client = self.clone();
        // Who asked may no longer wait; the others of the batch do.
        match transport.gathering.add(Asked { request, url, permit, tell }) {
            Added::First => drop(tokio::spawn(async move {
                tokio::time::sleep(LINGER).await;
                client.send_together(client.transport.gathering.take()).await
            })),
            Added::Between => {}
            Added::Full(parts) => drop(tokio::spawn(async move { client.send_together(parts).await })),
        }
        told.await.ok()
    }

    /// The URL of a request as a batch takes it, relative to the version; `None`: it cannot be part of one.
    fn part_url(&self, request: &GraphRequest) -> Option<String> {
        let is_get = request.method == reqwest::Method::GET;
        let url = self.transport.graph_url(&request.url).ok().filter(|_| is_get)?;
        let root = format!("{}v1.0", self.transport.root);
        url.as_str().strip_prefix(&root).filter(|rest| rest.starts_with('/')).map(str::to_owned)
    }

    /// Sends questions; those that are not answered learn it from their channel's end.
    async fn send_together(&self, mut parts: Vec<Asked>) -> Option<()> {
        #[derive(Deserialize)]
        struct Body {
            responses: Vec<Answered>,
        }
        let transport = &self.transport;
        let scope = parts.first()?.request.scope.clone();
        let told: Vec<Value> = parts.iter().enumerate().map(|(number, asked)| asked.as_part(number)).collect();
        let outer = GraphRequest::post(scope, "$batch", &json!({ "requests": told }));
        let url = transport.graph_url(&outer.url).ok()?;
        let token = transport.tokens.get().await.ok()?;
        let sent = transport.send(&outer, &url, JSON, &token).await;
        parts.iter_mut().for_each(|asked| asked.permit.answered());
        let mut response = sent.ok().filter(|response| response.status().is_success())?;
        let body = read_body(&mut response, JSON_LIMIT_BYTES, transport.retry.timeout).await.ok()?;
        transport.count_parts(parts.len());
        let body: Body = serde_json::from_slice(&body).ok()?;
        let mut answers: HashMap<String, Answered> =
            body.responses.into_iter().map(|answer| (answer.id.clone(), answer)).collect();
        for (number, asked) in parts.into_iter().enumerate() {
            drop(asked.permit);
            if let Some(answer) = answers.remove(&number.to_string()) {
                // Who asked may be gone.
                let _ = asked.tell.send(answer);
            }
        }
        Some(())
    }

    /// What an answer means; `None`: ask again alone.
    fn settle(&self, request: &GraphRequest, answer: Answered) -> Option<Result<Bytes>> {
        let headers = headers(&answer.headers);
        if let Some(seen) = rate_limit(&headers) {
            self.transport.budget.observe(&request.scope, seen);
        }
        let body = answer.body.map(|body| Bytes::from(String::from(Box::<str>::from(body)))).unwrap_or_default();
        match answer.status {
            204 => Some(Ok(Bytes::new())),
            // A body that is no JSON comes as text in Base64.
            200..300 => body.starts_with(b"{").then_some(Ok(body)),
            status @ (403 | 404 | 410) => {
                let mut error = GraphError::parse(status, &body);
                error.location = text(&headers, LOCATION.as_str()).map(str::to_owned);
                Some(Err(error.into_error(&request.shown())))
            }
            status => {
                if matches!(status, 429 | 503) {
                    let error = GraphError::parse(status, &body);
                    // The scope pauses as long as the part asks; then the request goes alone.
                    self.transport.judge_busy(&request.scope, &error, &headers, &mut Tries::default());
                }
                None
            }
        }
    }
}

impl Asked {
    fn as_part(&self, number: usize) -> Value {
        let mut headers = Map::new();
        if !self.request.prefer.is_empty() {
            headers.insert("Prefer".to_owned(), self.request.prefer.join(", ").into());
        }
        headers.extend(self.request.headers.iter().map(|(name, value)| (name.to_string(), value.clone().into())));
        json!({ "id": number.to_string(), "method": "GET", "url": self.url, "headers": headers })
    }
}

fn headers(told: &Map<String, Value>) -> HeaderMap {
    let read = |(name, value): (&String, &Value)| {
        let value = HeaderValue::try_from(value.as_str()?).ok()?;
        Some((HeaderName::try_from(name.as_str()).ok()?, value))
    };
    told.iter().filter_map(read).collect()
}
