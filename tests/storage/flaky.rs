//! A road to a server on which requests and answers get lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Passes requests on. Stops when dropped.
pub struct Proxy {
    pub port: u16,
    task: JoinHandle<()>,
}

struct Road {
    server: String,
    client: reqwest::Client,
    seen: AtomicUsize,
    every: usize,
}

impl Proxy {
    /// Passes requests on to a port; of `every` of them, one does not arrive, and the answer to one is lost.
    pub async fn start(port: u16, every: usize) -> Self {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let road = Road { server: format!("http://127.0.0.1:{port}"), client, seen: AtomicUsize::new(0), every };
        let app = Router::new().fallback(pass).with_state(Arc::new(road));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { port, task }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lost() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
}

async fn pass(State(road): State<Arc<Road>>, request: Request) -> Response {
    let turn = road.seen.fetch_add(1, Ordering::Relaxed) % road.every;
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, usize::MAX).await else { return lost() };
    if turn == road.every / 2 {
        return lost();
    }
    let url = format!("{}{}", road.server, parts.uri);
    let sent = road.client.request(parts.method, url).headers(parts.headers).body(body).send().await;
    let Ok(answer) = sent else { return lost() };
    if turn == road.every - 1 {
        return lost();
    }
    let mut response = Response::new(Body::empty());
    (*response.status_mut(), *response.headers_mut()) = (answer.status(), answer.headers().clone());
    match answer.bytes().await {
        Ok(body) => *response.body_mut() = body.into(),
        Err(_) => return lost(),
    }
    response
}

/// Passes connections on to a port, but hangs up on the first ones. Gives the port to connect to.
pub async fn hanging_up(port: u16, mut refused: u32) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut here, _)) = listener.accept().await {
            if refused > 0 {
                refused -= 1;
                continue;
            }
            tokio::spawn(async move {
                let mut there = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut here, &mut there).await;
            });
        }
    });
    own
}
