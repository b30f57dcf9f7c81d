//! A server that stores a file and whose answer is lost: the second try is refused, and yet all is well.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use tenantvault::ErrorKind;
use tenantvault::storage::{Credentials, Storage, StorageOptions, open};

#[derive(Default)]
struct Server {
    files: HashMap<String, Bytes>,
    requests: Vec<String>,
    /// Answers to PUTs to lose, after the file was stored.
    lose: usize,
    /// What someone else stores just before a lost answer.
    intruder: Option<Bytes>,
}

type Shared = Arc<Mutex<Server>>;

async fn answer(
    State(server): State<Shared>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, HeaderMap, Bytes) {
    let mut server = server.lock().unwrap();
    let path = uri.path().to_owned();
    server.requests.push(format!("{method} {path}"));
    let reply = |status| (status, HeaderMap::new(), Bytes::new());
    match method {
        Method::PUT if headers.contains_key("if-none-match") && server.files.contains_key(&path) => {
            reply(StatusCode::PRECONDITION_FAILED)
        }
        Method::PUT => {
            let lost = server.lose > 0;
            let body = server.intruder.take().unwrap_or(body);
            server.files.insert(path, body);
            server.lose = server.lose.saturating_sub(1);
            reply(if lost { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK })
        }
        Method::HEAD | Method::GET => match server.files.get(&path) {
            Some(file) => {
                let mut headers = HeaderMap::new();
                headers.insert("content-length", file.len().into());
                (StatusCode::OK, headers, if method == Method::GET { file.clone() } else { Bytes::new() })
            }
            None => reply(StatusCode::NOT_FOUND),
        },
        _ => reply(StatusCode::METHOD_NOT_ALLOWED),
    }
}

async fn serve(server: Server) -> (Shared, Arc<dyn Storage>) {
    let shared = Arc::new(Mutex::new(server));
    let app = Router::new().fallback(answer).with_state(Arc::clone(&shared));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    let credentials = Credentials::new().with("access_key_id", "k").with("secret_access_key", "hunter2");
    let options = StorageOptions { credentials, retries: 2, ..StorageOptions::default() };
    (shared, open(&format!("s3://bucket/repo?endpoint=http://{address}"), &options).unwrap())
}

#[tokio::test]
async fn a_put_whose_answer_was_lost_succeeds_when_tried_again() {
    let (server, storage) = serve(Server { lose: 1, ..Server::default() }).await;
    storage.put("packs/a", vec![Bytes::from_static(b"mine")]).await.unwrap();
    let requests = server.lock().unwrap().requests.clone();
    assert_eq!(requests.iter().filter(|request| request.starts_with("PUT")).count(), 2, "{requests:?}");
}

#[tokio::test]
async fn a_put_refused_because_of_other_bytes_stays_refused() {
    let server = Server { lose: 1, intruder: Some(Bytes::from_static(b"else")), ..Server::default() };
    let (_server, storage) = serve(server).await;
    let error = storage.put("packs/a", vec![Bytes::from_static(b"mine")]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
}

#[tokio::test]
async fn an_ordinary_put_is_one_request_and_a_second_one_is_refused() {
    let (server, storage) = serve(Server::default()).await;
    storage.put("packs/a", vec![Bytes::from_static(b"mine")]).await.unwrap();
    assert_eq!(server.lock().unwrap().requests, ["PUT /bucket/repo/packs/a"]);
    let error = storage.put("packs/a", vec![Bytes::from_static(b"mine")]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_unavailable_and_no_secret_is_told() {
    let credentials = Credentials::new().with("access_key_id", "k").with("secret_access_key", "hunter2");
    let options = StorageOptions { credentials, retries: 0, ..StorageOptions::default() };
    // Nothing listens on port 1.
    let storage = open("s3://bucket?endpoint=http://127.0.0.1:1", &options).unwrap();
    let error = storage.put("packs/a", vec![Bytes::from_static(b"mine")]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    let shown = format!("{error} {error:?} {:?} {storage:?}", error.hint());
    assert!(shown.contains("packs/a") && shown.contains("s3://bucket") && !shown.contains("hunter2"), "{shown}");
}
