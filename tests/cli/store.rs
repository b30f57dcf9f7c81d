//! A small object store that speaks S3, for what the program does with keys and signatures.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};

use crate::support::runtime;

type Files = Arc<Mutex<BTreeMap<String, Bytes>>>;
type Answer = (StatusCode, HeaderMap, Bytes);

/// Starts a store that lives as long as the tests, with any bucket; gives its address.
pub fn start() -> String {
    runtime().block_on(async {
        let app = Router::new().fallback(answer).with_state(Files::default());
        let app = app.layer(axum::extract::DefaultBodyLimit::disable());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, app).await });
        format!("http://{address}")
    })
}

async fn answer(State(files): State<Files>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Answer {
    let mut files = files.lock().expect("no test panicked");
    let path = uri.path().to_owned();
    let reply = |status, body: Bytes| (status, HeaderMap::new(), body);
    let signed = headers.get("authorization").is_some_and(|value| value.as_bytes().starts_with(b"AWS4-HMAC-SHA256"));
    match method {
        _ if !signed => reply(StatusCode::UNAUTHORIZED, Bytes::new()),
        Method::GET if uri.query().is_some_and(|query| query.contains("list-type=2")) => {
            reply(StatusCode::OK, listing(&files, &path, uri.query().unwrap_or_default()).into())
        }
        Method::PUT if headers.contains_key("if-none-match") && files.contains_key(&path) => {
            reply(StatusCode::PRECONDITION_FAILED, Bytes::new())
        }
        Method::PUT => {
            files.insert(path, body);
            reply(StatusCode::OK, Bytes::new())
        }
        Method::DELETE => {
            files.remove(&path);
            reply(StatusCode::NO_CONTENT, Bytes::new())
        }
        Method::GET | Method::HEAD => match files.get(&path) {
            Some(file) => part(file, &headers, method == Method::HEAD),
            None => reply(StatusCode::NOT_FOUND, Bytes::new()),
        },
        _ => reply(StatusCode::METHOD_NOT_ALLOWED, Bytes::new()),
    }
}

fn part(file: &Bytes, headers: &HeaderMap, bare: bool) -> Answer {
    let range = headers.get("range").and_then(|value| value.to_str().ok()?.strip_prefix("bytes="));
    let ends = range.and_then(|range| {
        let (from, to) = range.split_once('-')?;
        Some((from.parse::<usize>().ok()?, to.parse::<usize>().map_or(file.len(), |to| (to + 1).min(file.len()))))
    });
    let body = match ends {
        Some((from, to)) if from <= to => file.slice(from..to),
        Some(_) => return (StatusCode::RANGE_NOT_SATISFIABLE, HeaderMap::new(), Bytes::new()),
        None => file.clone(),
    };
    let mut sent = HeaderMap::new();
    sent.insert("content-length", body.len().into());
    let status = if ends.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    (status, sent, if bare { Bytes::new() } else { body })
}

fn listing(files: &BTreeMap<String, Bytes>, bucket: &str, query: &str) -> String {
    let asked: BTreeMap<_, _> = url::form_urlencoded::parse(query.as_bytes()).collect();
    let bucket = format!("{}/", bucket.trim_end_matches('/'));
    let prefix = format!("{bucket}{}", asked.get("prefix").map_or("", |prefix| prefix));
    let mut xml = "<ListBucketResult><IsTruncated>false</IsTruncated>".to_owned();
    for (path, file) in files.iter().filter(|(path, _)| path.starts_with(&prefix)) {
        let (key, size) = (&path[bucket.len()..], file.len());
        let when = "2026-01-01T00:00:00.000Z";
        let _ = write!(
            xml,
            "<Contents><Key>{key}</Key><Size>{size}</Size><LastModified>{when}</LastModified><ETag>\"e\"</ETag></Contents>"
        );
    }
    xml + "</ListBucketResult>"
}
