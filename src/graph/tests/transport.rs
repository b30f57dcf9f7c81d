//! Requests: what they carry, when they are repeated, and where they never go.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::server::{Reply, Server, files, mail, noise};
use crate::error::ErrorKind;
use crate::graph::{Client, ClientOptions, Credential, Fate, GraphRequest, IMMUTABLE_IDS, Scope, fate};
use crate::monitor::{Counter, Monitor};

#[tokio::test]
async fn every_request_is_decorated() {
    let server = Server::graph(|_, _| Reply::json(200, &json!({}))).await;
    let client = server.client();
    let request = mail("users/a%2Fb?$top=5")
        .prefer(IMMUTABLE_IDS)
        .prefer("return=minimal")
        .header("ConsistencyLevel", "eventual");
    client.get_json(request.clone()).await.unwrap();
    client.get_json(request).await.unwrap();
    let seen = server.seen("/v1.0/");
    assert_eq!((seen[0].path.as_str(), seen[0].query.as_str()), ("/v1.0/users/a%2Fb", "$top=5"));
    assert_eq!(seen[0].header("authorization"), Some("Bearer token-0"));
    assert_eq!(seen[0].header("user-agent"), Some(concat!("ISV|Tenantvault|Tenantvault/", env!("CARGO_PKG_VERSION"))));
    assert_eq!(seen[0].header("prefer"), Some("IdType=\"ImmutableId\", return=minimal"));
    assert_eq!(seen[0].header("consistencylevel"), Some("eventual"));
    assert!(seen[0].header("accept-encoding").unwrap().contains("gzip"));
    let ids: Vec<_> = seen.iter().map(|s| s.header("client-request-id").unwrap()).collect();
    assert_eq!(ids[0].len(), 36);
    assert_ne!(ids[0], ids[1]);
}

#[derive(Default)]
struct Counts {
    requests: AtomicUsize,
    throttled: AtomicUsize,
}

impl Monitor for Counts {
    fn add(&self, counter: Counter, _by: i64) {
        match counter {
            Counter::Requests => self.requests.fetch_add(1, Ordering::Relaxed),
            Counter::Throttled => self.throttled.fetch_add(1, Ordering::Relaxed),
            _ => 0,
        };
    }
}

#[tokio::test]
async fn retry_after_is_obeyed_to_the_fraction_and_counted() {
    let server = Server::graph(|_, n| match n {
        0 => Reply::error(429, "TooManyRequests").header("retry-after", "0.128"),
        1 => Reply::error(503, "serviceNotAvailable").header("retry-after", "Mon, 01 Jan 2024 00:00:00 GMT"),
        _ => Reply::json(200, &json!({"fine": true})),
    })
    .await;
    let counts = Arc::new(Counts::default());
    let mut options = server.options();
    options.monitor = counts.clone();
    let client = Client::new(options, "contoso", "app", Credential::secret("x")).unwrap();
    let from = Instant::now();
    client.get_json(mail("a")).await.unwrap();
    assert!(from.elapsed() >= Duration::from_millis(128));
    let stats = client.stats();
    assert_eq!((stats.requests, stats.throttled, stats.retried), (3, 2, 2));
    assert!(stats.waited >= Duration::from_millis(128) && stats.bytes > 0, "{stats:?}");
    assert_eq!((counts.requests.load(Ordering::Relaxed), counts.throttled.load(Ordering::Relaxed)), (3, 2));
}

#[tokio::test]
async fn a_429_holds_the_whole_mailbox_and_no_other() {
    let server = Server::graph(|_, _| Reply::error(429, "ApplicationThrottled").header("retry-after", "30")).await;
    let mut options = server.options();
    options.retry.attempts_throttled = 1;
    let client = Client::new(options, "contoso", "app", Credential::secret("x")).unwrap();
    let error = client.get_json(mail("a")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(matches!(fate(&error), Fate::Gap(_)));
    assert!(client.budget().would_wait(&Scope::Mailbox("alice".into())));
    assert!(!client.budget().would_wait(&Scope::Mailbox("bob".into())));
    assert!(!client.budget().would_wait(&Scope::Files));
}

#[tokio::test]
async fn a_rate_limit_warning_on_a_good_answer_steers() {
    let server = Server::graph(|_, _| {
        let reply = Reply::json(200, &json!({}));
        reply.header("ratelimit-limit", "1200").header("ratelimit-remaining", "0").header("ratelimit-reset", "30")
    })
    .await;
    let client = server.client();
    client.get_json(files("a")).await.unwrap();
    assert!(client.budget().would_wait(&Scope::Files));
}

#[tokio::test]
async fn a_mailbox_sees_four_requests_at_once_and_no_more() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (n, m) = (now.clone(), most.clone());
    let server = Server::graph(move |_, _| {
        m.fetch_max(n.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let n = n.clone();
        let mut reply = Reply::json(200, &json!({}));
        reply.delay = Duration::from_millis(10);
        // Counted down a little before the answer leaves: more at once than allowed would still be seen.
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            n.fetch_sub(1, Ordering::SeqCst);
        });
        reply
    })
    .await;
    let client = server.client();
    let all = (0..40).map(|n| client.get_json(mail(&format!("x{n}"))));
    futures::future::try_join_all(all).await.unwrap();
    assert!((2..=4).contains(&most.load(Ordering::SeqCst)), "{most:?}");
}

#[tokio::test]
async fn answers_that_break_off_are_asked_for_again_whole() {
    let body = noise(200_000);
    let expected = body.clone();
    let server = Server::graph(move |seen, n| {
        let reply = if seen.path.ends_with("json") {
            Reply::json(200, &json!({"long": "x".repeat(50_000)}))
        } else {
            Reply::bytes(200, body.clone())
        };
        if n < 2 { reply.cut(40_000) } else { reply }
    })
    .await;
    let client = server.client();
    assert_eq!(client.get_bytes(mail("users/a/messages/m/$value"), 1 << 20).await.unwrap(), expected);
    assert_eq!(client.get_json(mail("json")).await.unwrap()["long"].as_str().unwrap().len(), 50_000);
    assert_eq!(client.stats().retried, 4);
}

#[tokio::test]
async fn attempts_are_bounded_by_the_kind_of_failure() {
    let server = Server::graph(|seen, _| {
        let status = seen.path.rsplit('/').next().unwrap().parse().unwrap();
        Reply::error(status, "invalidRequest")
    })
    .await;
    let client = server.client();
    for (status, attempts, kind) in [
        (500, 3, ErrorKind::Unavailable),
        (502, 5, ErrorKind::Unavailable),
        (503, 5, ErrorKind::Unavailable),
        (504, 5, ErrorKind::Unavailable),
        (509, 5, ErrorKind::Unavailable),
        (403, 1, ErrorKind::Permission),
        (404, 1, ErrorKind::NotFound),
        (409, 1, ErrorKind::AlreadyExists),
        (410, 1, ErrorKind::ResyncRequired),
        (423, 1, ErrorKind::Unavailable),
        (507, 1, ErrorKind::StorageFull),
    ] {
        let error = client.get_json(mail(&status.to_string())).await.unwrap_err();
        assert_eq!((error.kind(), server.seen(&format!("/{status}")).len()), (kind, attempts), "{status}");
    }
    client.get_json(mail("400")).await.unwrap_err();
    assert_eq!(server.seen("/400").len(), 1);
    client.get_json(files("400")).await.unwrap_err();
    assert_eq!(server.seen("/400").len(), 3, "on drives a bad request is tried twice");
}

#[tokio::test]
async fn a_damaged_item_is_not_asked_for_again() {
    let server = Server::graph(|_, _| Reply::error(500, "ErrorCorruptData")).await;
    let error = server.client().get_bytes(mail("m"), 100).await.unwrap_err();
    assert!(matches!(fate(&error), Fate::Gap(_)));
    assert_eq!(server.seen("/v1.0/m").len(), 1);
}

#[tokio::test]
async fn a_post_is_repeated_only_where_nothing_was_done() {
    let server = Server::graph(|seen, n| match (seen.path.as_str(), n) {
        ("/v1.0/busy", 0) => Reply::error(429, "TooManyRequests").header("retry-after", "0.01"),
        ("/v1.0/cut", _) => Reply::json(201, &json!({"id": 1})).cut(3),
        ("/v1.0/bad", _) => Reply::error(504, "x"),
        _ => Reply::json(201, &json!({"id": 1})),
    })
    .await;
    let client = server.client();
    let post = |path| GraphRequest::post(Scope::Directory, path, &json!({"name": "x"}));
    assert_eq!(client.send(post("busy")).await.unwrap()["id"], 1);
    assert_eq!(server.seen("/busy")[1].body, r#"{"name":"x"}"#);
    client.send(post("cut")).await.unwrap_err();
    client.send(post("bad")).await.unwrap_err();
    assert_eq!((server.seen("/cut").len(), server.seen("/bad").len()), (1, 1));
}

#[tokio::test]
async fn the_token_goes_to_no_other_origin() {
    let other = Server::graph(|_, _| Reply::json(200, &json!({"value": []}))).await;
    let there = other.root.clone();
    let server = Server::graph(move |_, _| {
        Reply::json(200, &json!({"value": [], "@odata.nextLink": format!("{there}/v1.0/x")}))
    })
    .await;
    let client = server.client();
    assert_eq!(client.get_all(mail("list")).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    let host = server.root.strip_prefix("http://").unwrap();
    for link in [
        format!("{}/v1.0/x", other.root),
        format!("https://{host}/v1.0/x"),
        format!("http://user@{host}.example.com/x"),
        "https://graph.microsoft.com.example.com/v1.0/x".to_owned(),
        "ftp://x/y".to_owned(),
    ] {
        assert_eq!(client.get_json(mail(&link)).await.unwrap_err().kind(), ErrorKind::InvalidInput, "{link}");
    }
    assert!(other.seen("/").is_empty());
    // A URL inside a query is no absolute link.
    client.get_json(mail("x?$filter=a eq 'http://b'")).await.unwrap();
}

#[tokio::test]
async fn a_redirect_is_not_followed_with_the_token() {
    let other = Server::graph(|_, _| Reply::json(200, &json!({}))).await;
    let there = format!("{}/elsewhere", other.root);
    let server = Server::graph(move |_, _| Reply::bytes(302, "").header("location", there.clone())).await;
    assert_eq!(server.client().get_json(mail("a")).await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert!(other.seen("/").is_empty());
}

#[tokio::test]
async fn answers_that_are_too_long_or_no_json_are_refused() {
    let server = Server::graph(|_, _| Reply::bytes(200, "private text that is no JSON")).await;
    let client = server.client();
    assert_eq!(client.get_bytes(mail("a"), 10).await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(client.get_bytes(mail("a"), 28).await.unwrap().len(), 28);
    let error = client.get_json(mail("a")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(!format!("{error:?}").contains("private"));
    assert_eq!(client.get_page(mail("a")).await.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_fatal_after_all_attempts() {
    let server = Server::graph(|_, _| Reply::json(200, &json!({}))).await;
    let mut options = server.options();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    options.cloud = crate::graph::Cloud::custom(&gone, &server.root).unwrap();
    let client = Client::new(options, "contoso", "app", Credential::secret("x")).unwrap();
    let error = client.get_json(mail("a")).await.unwrap_err();
    assert_eq!((error.kind(), fate(&error)), (ErrorKind::Unavailable, Fate::Fatal));
    assert_eq!(client.stats().requests, 5);
}

#[tokio::test]
async fn more_is_under_way_at_once_than_one_connection_carries() {
    // None of these is answered before the test is over; a server takes 200 by one connection.
    const ASKED: usize = 300;
    let server = Server::graph(|_, _| {
        let mut late = Reply::json(200, &json!({}));
        late.delay = Duration::from_secs(600);
        late
    })
    .await;
    let options = ClientOptions { http2: true, ..server.options() };
    let client = Client::new(options, "contoso", "app", Credential::secret("x")).unwrap();
    let mut asking = tokio::task::JoinSet::new();
    for user in 0..ASKED {
        let client = client.clone();
        let request = GraphRequest::get(Scope::Mailbox(format!("user{user}")), format!("users/{user}/messages"));
        asking.spawn(async move { client.get_json(request).await });
    }
    let all = async {
        while server.seen("/messages").len() < ASKED {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let all_came = tokio::time::timeout(Duration::from_secs(60), all).await;
    assert!(all_came.is_ok(), "only {} of {ASKED} came", server.seen("/messages").len());
}
