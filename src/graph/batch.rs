//! `$batch`: several small questions of one budget in one round trip.
//!
//! Each part counts against its budget as if it had been sent alone, so a batch saves round trips and nothing else. Exchange
//! runs four parts at once in a mailbox, which are all it has; so a batch takes the places of its parts. A batch is tried once: what it does
//! not answer for good (throttled, broken, missing) is asked for again alone, with all that belongs to that.
//! Source: Microsoft Graph, "Combine multiple HTTP requests using JSON batching".

use std::collections::HashMap;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio_util::task::AbortOnDropHandle;

use super::client::{Client, JSON, JSON_LIMIT_BYTES};
use super::error::GraphError;
use super::http::read_body;
use super::request::{GraphRequest, Scope};
use super::retry::rate_limit;
use super::transport::Tries;
use crate::error::{Error, Result};

/// Parts of a batch at most.
const PARTS: usize = 20;
/// Parts at most of one mailbox or team.
const PARTS_OF_ONE: usize = 4;

/// The answer to a part.
#[derive(Deserialize)]
struct Answered {
    id: String,
    status: u16,
    #[serde(default)]
    headers: Map<String, Value>,
    #[serde(default)]
    body: Value,
}

impl Client {
    /// Asks for JSON, as [`Client::get_json`] does for each, in as few round trips as can be. Answers come in the order of the requests.
    ///
    /// For GETs of one scope whose answers are small; others are sent alone.
    pub async fn get_together(&self, requests: Vec<GraphRequest>) -> Vec<Result<Value>> {
        let mut answers = Vec::with_capacity(requests.len());
        let mut rest = requests.as_slice();
        while let Some(first) = rest.first() {
            // Four at once is all that a mailbox answers, and four a second all that a team does.
            let most = if matches!(first.scope, Scope::Mailbox(_) | Scope::Teams(..)) { PARTS_OF_ONE } else { PARTS };
            let fits = |request: &GraphRequest| request.scope == first.scope && self.part_url(request).is_some();
            let together = rest.iter().take(most).take_while(|request| fits(request)).count();
            let (part, tail) = rest.split_at(together.max(1));
            rest = tail;
            let mut told = if together > 1 { self.batch(part).await } else { HashMap::new() };
            for (number, request) in part.iter().enumerate() {
                let known = told.remove(&number.to_string()).and_then(|answer| self.settle(request, answer));
                answers.push(match known {
                    Some(known) => known,
                    None => self.get_json(request.clone()).await,
                });
            }
        }
        answers
    }

    /// The rows of a list whose first page has come.
    ///
    /// # Errors
    /// Graph's, for the other pages; `Corrupt` for what is no page.
    pub async fn rest_of(&self, request: &GraphRequest, mut page: Value) -> Result<Vec<Value>> {
        let Some(Value::Array(mut rows)) = page.get_mut("value").map(Value::take) else {
            return Err(Error::corrupt(format!("The answer to {} is no list", request.shown())));
        };
        let next = page.get("@odata.nextLink").and_then(Value::as_str).filter(|link| !link.is_empty());
        if let Some(link) = next {
            rows.extend(self.get_all(request.with_url(link)).await?);
        }
        Ok(rows)
    }

    /// The URL of a request as a batch takes it, relative to the version; `None`: it cannot be part of one.
    fn part_url(&self, request: &GraphRequest) -> Option<String> {
        let is_get = request.method == reqwest::Method::GET;
        let url = self.transport.graph_url(&request.url).ok().filter(|_| is_get)?;
        let root = format!("{}v1.0", self.transport.root);
        url.as_str().strip_prefix(&root).filter(|rest| rest.starts_with('/')).map(str::to_owned)
    }

    /// Sends a batch; answers by number. Empty if it failed as a whole.
    async fn batch(&self, requests: &[GraphRequest]) -> HashMap<String, Answered> {
        // A task of its own, as every request is: it goes on while the caller is busy.
        let (client, requests) = (self.clone(), requests.to_vec());
        let task = tokio::spawn(async move { client.batch_here(&requests).await.unwrap_or_default() });
        AbortOnDropHandle::new(task).await.unwrap_or_default()
    }

    async fn batch_here(&self, requests: &[GraphRequest]) -> Option<HashMap<String, Answered>> {
        #[derive(Deserialize)]
        struct Body {
            responses: Vec<Answered>,
        }
        let transport = &self.transport;
        let scope = requests.first()?.scope.clone();
        let parts: Option<Vec<Value>> =
            requests.iter().enumerate().map(|(number, request)| self.part(number, request)).collect();
        let outer = GraphRequest::post(scope.clone(), "$batch", &json!({ "requests": parts? }));
        let url = transport.graph_url(&outer.url).ok()?;
        let units = requests.iter().map(|request| request.units).sum();
        let places = u32::try_from(requests.len()).ok()?;
        let mut permit = transport.permit(transport.budget.acquire_together(&scope, units, places)).await;
        let token = transport.tokens.get().await.ok()?;
        let sent = transport.send(&outer, &url, JSON, &token).await;
        permit.answered();
        let mut response = sent.ok().filter(|response| response.status().is_success())?;
        let body = read_body(&mut response, JSON_LIMIT_BYTES, transport.retry.timeout).await.ok()?;
        drop(permit);
        transport.take_bytes(body.len()).await;
        transport.count_requests(requests.len().saturating_sub(1));
        let body: Body = serde_json::from_slice(&body).ok()?;
        Some(body.responses.into_iter().map(|answer| (answer.id.clone(), answer)).collect())
    }

    fn part(&self, number: usize, request: &GraphRequest) -> Option<Value> {
        let mut headers = Map::new();
        if !request.prefer.is_empty() {
            headers.insert("Prefer".to_owned(), request.prefer.join(", ").into());
        }
        headers.extend(request.headers.iter().map(|(name, value)| (name.to_string(), value.clone().into())));
        let url = self.part_url(request)?;
        Some(json!({ "id": number.to_string(), "method": "GET", "url": url, "headers": headers }))
    }

    /// What an answer means; `None`: ask again alone.
    fn settle(&self, request: &GraphRequest, answer: Answered) -> Option<Result<Value>> {
        let headers = headers(&answer.headers);
        if let Some(seen) = rate_limit(&headers) {
            self.transport.budget.observe(&request.scope, seen);
        }
        match answer.status {
            204 => Some(Ok(Value::Null)),
            // A body that is no JSON comes as text in Base64, and would be taken for a string.
            200..300 => answer.body.is_object().then_some(Ok(answer.body)),
            status @ (403 | 404 | 410) => {
                let error = GraphError::parse(status, answer.body.to_string().as_bytes());
                Some(Err(error.into_error(&request.shown())))
            }
            status => {
                if matches!(status, 429 | 503) {
                    let error = GraphError::parse(status, answer.body.to_string().as_bytes());
                    // The scope pauses as long as the part asks; then the request goes alone.
                    self.transport.judge_busy(&request.scope, &error, &headers, &mut Tries::default());
                }
                None
            }
        }
    }
}

fn headers(told: &Map<String, Value>) -> HeaderMap {
    let read = |(name, value): (&String, &Value)| {
        let value = HeaderValue::try_from(value.as_str()?).ok()?;
        Some((HeaderName::try_from(name.as_str()).ok()?, value))
    };
    told.iter().filter_map(read).collect()
}
