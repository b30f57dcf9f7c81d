//! `POST /$batch`: up to 20 requests in one; each is counted, throttled and answered for itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use base64::Engine as _;
use bytes::Bytes;
use futures::StreamExt as _;
use serde_json::{Map, Value, json};

use super::app::App;
use super::http;
use super::query::Request;
use super::reply::{Payload, Reply};

/// The route of batches.
pub(super) const BATCH: &str = "/$batch";
/// Parts of a batch at most.
const PARTS: usize = 20;
/// Parts of one mailbox that run at once (REFERENCE section 3.4).
const OF_A_MAILBOX: usize = 4;

/// Answers a batch; the outer status is 200 even where parts fail.
pub(super) async fn answer(app: &Arc<App>, request: &Request) -> Reply {
    let bad = |text: &str| Reply::fail(400, "BadRequest", text);
    let Ok(body) = serde_json::from_slice::<Value>(&request.body) else {
        return bad("Invalid batch payload format.");
    };
    let Some(parts) = body["requests"].as_array() else {
        return bad("Invalid batch payload format.");
    };
    if parts.len() > PARTS {
        return bad(&format!("Number of batch request steps exceeds the maximum value of {PARTS}."));
    }
    let Some(inner) = parts.iter().map(|part| part_request(request, part, parts.len())).collect::<Option<Vec<_>>>()
    else {
        return bad("A batch request step lacks id, method or url.");
    };
    let mut responses = match parts.iter().any(|part| part["dependsOn"].is_array()) {
        true => one_by_one(app, parts, inner).await,
        false => at_once(app, parts, inner).await,
    };
    // The order of the answers is not that of the requests.
    responses.reverse();
    Reply::json(json!({ "responses": responses }))
}

/// Runs parts of which some wait for others.
async fn one_by_one(app: &Arc<App>, parts: &[Value], inner: Vec<Request>) -> Vec<Value> {
    let mut responses: Vec<Value> = Vec::new();
    for (part, inner) in parts.iter().zip(inner) {
        let failed = |id: &Value| responses.iter().any(|r| &r["id"] == id && r["status"].as_u64() >= Some(400));
        if part["dependsOn"].as_array().into_iter().flatten().any(failed) {
            responses.push(json!({"id": part["id"], "status": 424, "headers": {}, "body": null}));
            continue;
        }
        responses.push(run(app, &part["id"], inner).await);
    }
    responses
}

/// Runs parts beside each other, those of one mailbox four at a time.
async fn at_once(app: &Arc<App>, parts: &[Value], inner: Vec<Request>) -> Vec<Value> {
    let mut lanes: BTreeMap<Vec<String>, Vec<(usize, Request)>> = BTreeMap::new();
    for (number, inner) in inner.into_iter().enumerate() {
        let lane = match inner.segments.first().map(String::as_str) {
            Some("users" | "groups" | "me") => inner.segments.iter().take(2).cloned().collect(),
            _ => vec![number.to_string()],
        };
        lanes.entry(lane).or_default().push((number, inner));
    }
    let lanes = lanes.into_values().map(|lane| {
        let each = lane
            .into_iter()
            .map(|(number, inner)| async move { (number, run(app, &parts[number]["id"], inner).await) });
        futures::stream::iter(each).buffer_unordered(OF_A_MAILBOX).collect::<Vec<_>>()
    });
    let mut answered: Vec<(usize, Value)> = futures::future::join_all(lanes).await.concat();
    answered.sort_by_key(|(number, _)| *number);
    answered.into_iter().map(|(_, response)| response).collect()
}

async fn run(app: &Arc<App>, id: &Value, inner: Request) -> Value {
    let (mut reply, _) = Box::pin(http::graph_request(app, inner)).await;
    let request_id = app.counts.request_id();
    reply.sign(&request_id, &request_id, "2026-11-02T06:00:00");
    app.counts.status(reply.status);
    part_response(id, reply)
}

fn part_request(outer: &Request, part: &Value, parts: usize) -> Option<Request> {
    part["id"].as_str()?;
    let (method, url) = (part["method"].as_str()?, part["url"].as_str()?);
    // The Graph SDK for Python gives whole addresses.
    let url = url.split_once("/v1.0/").filter(|(host, _)| host.starts_with("http")).map_or(url, |(_, path)| path);
    let url = url.trim_start_matches('/');
    let mut headers = HeaderMap::new();
    for (name, value) in part["headers"].as_object().into_iter().flatten() {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        headers.insert(name, HeaderValue::from_str(value.as_str()?).ok()?);
    }
    if let Some(token) = outer.headers.get("authorization") {
        headers.insert("authorization", token.clone());
    }
    let body = if part["body"].is_null() { Bytes::new() } else { Bytes::from(part["body"].to_string()) };
    let mut request = Request::new(method, &format!("/v1.0/{url}"), url, headers, body);
    request.parts = parts;
    Some(request)
}

fn part_response(id: &Value, reply: Reply) -> Value {
    let mut headers = Map::new();
    let kind = match &reply.payload {
        Payload::Empty => None,
        Payload::Json(_) => Some("application/json"),
        Payload::Bytes(kind, _) => Some(*kind),
        Payload::Blob(..) => Some("application/octet-stream"),
    };
    headers.extend(kind.map(|kind| ("Content-Type".to_owned(), kind.into())));
    for (name, value) in reply.headers {
        headers.insert(name.into(), value.into());
    }
    let encoded = |bytes: &[u8]| Value::from(base64::engine::general_purpose::STANDARD.encode(bytes));
    let body = match reply.payload {
        Payload::Empty => Value::Null,
        Payload::Json(value) => value,
        Payload::Bytes(_, bytes) => encoded(&bytes),
        Payload::Blob(blob, from, len) => encoded(&blob.read_at(from, len as usize)),
    };
    json!({"id": id, "status": reply.status, "headers": headers, "body": body})
}
