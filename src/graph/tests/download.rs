//! Downloads: byte equality through cuts, ignored ranges, expired URLs; and no token on the way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::TryStreamExt as _;

use super::server::{Reply, Seen, Server, files, mail, noise};
use crate::error::{ErrorKind, Result};
use crate::graph::{
    Client, ClientOptions, Credential, Download, DownloadSource, Fate, GraphRequest, Renewal, Scope, UrlSource, fate,
};

async fn read(download: Download) -> Result<Vec<u8>> {
    let parts: Vec<_> = download.into_stream().try_collect().await?;
    Ok(parts.concat())
}

fn from(seen: &Seen) -> usize {
    let range = seen.header("range").map(|r| r.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap());
    range.map_or(0, |r| r.parse().unwrap())
}

/// Answers with the rest of the contents from where the range begins.
fn ranged(seen: &Seen, data: &[u8]) -> Reply {
    match from(seen) {
        0 => Reply::bytes(200, data.to_vec()),
        at => Reply::bytes(206, data[at..].to_vec())
            .header("content-range", format!("bytes {at}-{}/{}", data.len() - 1, data.len())),
    }
}

fn redirect(seen: &Seen, n: usize) -> Reply {
    Reply::bytes(302, "")
        .header("location", format!("http://{}/download/{n}?sig=private", seen.header("host").unwrap()))
}

async fn content(server: &Server) -> Result<Download> {
    server.client().download(DownloadSource::content(files("drives/d/items/i/content"))).await
}

#[tokio::test]
async fn a_cut_download_goes_on_at_the_byte_it_stopped() {
    let data = noise(500_000);
    let expected = data.clone();
    let server = Server::graph(move |seen, n| match (seen.path.contains("/content"), n) {
        (true, n) => redirect(seen, n),
        (false, 0..3) => ranged(seen, &data).cut(100_000),
        _ => ranged(seen, &data),
    })
    .await;
    let download = content(&server).await.unwrap();
    assert_eq!(download.length_bytes(), Some(500_000));
    assert!(read(download).await.unwrap() == expected);
    let asked = server.seen("/download/");
    assert_eq!(asked[0].header("range"), None);
    assert_eq!(asked[0].header("accept"), Some("*/*"));
    assert!(asked.len() >= 4, "cut three times");
    // A cut may lose what was on its way; what came is never asked for again.
    assert!(asked.windows(2).all(|pair| from(&pair[0]) <= from(&pair[1])));
    assert_eq!(server.seen("/content").len(), 1);
}

#[tokio::test]
async fn the_token_never_goes_to_a_download_url() {
    let server = Server::graph(|seen, n| match seen.path.as_str() {
        "/download/0" => Reply::bytes(302, "").header("location", "/moved"),
        "/moved" => Reply::bytes(200, "contents"),
        _ => redirect(seen, n),
    })
    .await;
    assert_eq!(read(content(&server).await.unwrap()).await.unwrap(), b"contents");
    assert!(server.seen("/content")[0].header("authorization").is_some());
    for path in ["/download/0", "/moved"] {
        let seen = server.seen(path);
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].header("authorization"), None);
        assert_eq!(seen[0].header("client-request-id"), None);
    }
}

#[tokio::test]
async fn a_server_that_ignores_ranges_is_skipped_through() {
    let data = noise(300_000);
    let expected = data.clone();
    let server = Server::graph(move |seen, n| match (seen.path.contains("/content"), n) {
        (true, n) => redirect(seen, n),
        (false, 0) => Reply::bytes(200, data.clone()).cut(120_000),
        (false, 1) => Reply::bytes(200, data.clone()).cut(60_000),
        _ => Reply::bytes(200, data.clone()),
    })
    .await;
    assert!(read(content(&server).await.unwrap()).await.unwrap() == expected);
}

#[tokio::test]
async fn contents_that_change_on_the_way_are_not_mixed() {
    for (name, second) in [("length", noise(299_999)), ("bytes", vec![7; 300_000])] {
        let data = noise(300_000);
        let server = Server::graph(move |seen, n| match (seen.path.contains("/content"), n) {
            (true, n) => redirect(seen, n),
            (false, 0) => Reply::bytes(200, data.clone()).cut(120_000),
            _ => Reply::bytes(200, second.clone()),
        })
        .await;
        let error = read(content(&server).await.unwrap()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{name}");
        assert!(matches!(fate(&error), Fate::Gap(reason) if reason.contains("changed")), "{name}");
    }
}

#[tokio::test]
async fn another_entity_tag_means_changed() {
    let data = noise(300_000);
    let server = Server::graph(move |seen, n| match (seen.path.contains("/content"), n) {
        (true, n) => redirect(seen, n),
        (false, n) => {
            let reply = ranged(seen, &data).header("etag", format!("\"{n}\""));
            if n == 0 { reply.cut(120_000) } else { reply }
        }
    })
    .await;
    let error = read(content(&server).await.unwrap()).await.unwrap_err();
    assert!(error.to_string().contains("changed"), "{error}");
}

#[tokio::test]
async fn an_expired_url_is_renewed_at_the_start_and_in_the_middle() {
    let data = noise(300_000);
    let expected = data.clone();
    let server = Server::graph(move |seen, n| match (seen.path.as_str(), n) {
        (path, n) if path.contains("/content") => redirect(seen, n),
        ("/download/old", _) => Reply::bytes(403, "expired"),
        ("/download/0", 0) => ranged(seen, &data).cut(120_000),
        ("/download/0", _) => Reply::bytes(401, ""),
        _ => ranged(seen, &data),
    })
    .await;
    let source =
        DownloadSource::content(files("drives/d/items/i/content")).with_url(format!("{}/download/old", server.root));
    let download = server.client().download(source).await.unwrap();
    assert!(read(download).await.unwrap() == expected);
    assert_eq!(server.seen("/content").len(), 2);
    assert!(from(&server.seen("/download/1")[0]) > 0);
}

struct Fresh(String, AtomicUsize);

#[async_trait]
impl UrlSource for Fresh {
    async fn fresh_url(&self) -> Result<String> {
        self.1.fetch_add(1, Ordering::SeqCst);
        Ok(self.0.clone())
    }
}

#[tokio::test]
async fn renewing_without_progress_ends() {
    let server = Server::graph(|_, _| Reply::bytes(404, "")).await;
    let fresh = Arc::new(Fresh(format!("{}/download", server.root), AtomicUsize::new(0)));
    let source = DownloadSource { url: None, renewal: Renewal::By(fresh.clone()) };
    let error = server.client().download(source).await.err().unwrap();
    assert_eq!((error.kind(), fate(&error)), (ErrorKind::NotFound, Fate::Gone));
    assert_eq!(fresh.1.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn an_infected_file_is_a_gap_and_its_url_is_not_renewed() {
    let server = Server::graph(|seen, n| match seen.path.contains("/content") {
        true => redirect(seen, n),
        false => Reply::bytes(403, "").header("x-virus-infected", "true"),
    })
    .await;
    let error = content(&server).await.err().unwrap();
    assert!(matches!(fate(&error), Fate::Gap(reason) if reason.contains("malware")));
    assert_eq!(server.seen("/content").len(), 1);
}

#[tokio::test]
async fn a_throttled_download_waits_and_a_broken_one_gives_up() {
    let server = Server::graph(|seen, n| match (seen.path.contains("/content"), n) {
        (true, n) => redirect(seen, n),
        (false, 0) => Reply::bytes(429, "").header("retry-after", "0.01"),
        (false, 1) => Reply::bytes(503, ""),
        _ => Reply::bytes(200, "fine"),
    })
    .await;
    let client = server.client();
    let download = client.download(DownloadSource::content(files("drives/d/items/i/content"))).await.unwrap();
    assert_eq!(read(download).await.unwrap(), b"fine");
    assert_eq!(client.stats().throttled, 2);

    let server = Server::graph(|seen, n| match seen.path.contains("/content") {
        true => redirect(seen, n),
        false => Reply::bytes(200, noise(1000)).cut(0),
    })
    .await;
    let error = read(content(&server).await.unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(server.seen("/download/").len(), 5);
}

#[tokio::test]
async fn an_empty_file_is_an_empty_download() {
    let server = Server::graph(|seen, n| match seen.path.contains("/content") {
        true => redirect(seen, n),
        false => Reply::bytes(200, ""),
    })
    .await;
    assert!(read(content(&server).await.unwrap()).await.unwrap().is_empty());
}

#[tokio::test]
async fn download_urls_must_be_safe() {
    let server = Server::graph(|_, _| Reply::bytes(302, "").header("location", "http://files.example.com/x")).await;
    assert_eq!(content(&server).await.err().unwrap().kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn contents_that_nobody_reads_yet_keep_no_others_of_the_same_connection() {
    let data = noise(3 << 20);
    let expected = data.clone();
    let server = Server::graph(move |_, _| Reply::bytes(200, data.clone())).await;
    let options = ClientOptions { http2: true, ..server.options() };
    let client = Client::new(options, "contoso", "app", Credential::secret("x")).unwrap();
    let message = |user: usize| {
        GraphRequest::get(Scope::Mailbox(format!("user{user}")), format!("users/user{user}/messages/m/$value"))
    };
    let mut waiting = Vec::new();
    for user in 0..40 {
        waiting.push(client.get_stream(message(user)).await.unwrap());
    }
    let last = async { read(client.get_stream(message(40)).await?).await };
    let last = tokio::time::timeout(Duration::from_secs(60), last).await.expect("it is kept by those that wait");
    assert!(last.unwrap() == expected);
    for stream in waiting {
        assert!(read(stream).await.unwrap() == expected);
    }
}

#[tokio::test]
async fn a_message_as_a_stream_survives_a_cut() {
    let data = noise(300_000);
    let expected = data.clone();
    let server = Server::graph(move |_, n| {
        let reply = Reply::bytes(200, data.clone());
        if n < 2 { reply.cut(120_000) } else { reply }
    })
    .await;
    let stream = server.client().get_stream(mail("users/a/messages/m/$value")).await.unwrap();
    assert!(read(stream).await.unwrap() == expected);
    let seen = server.seen("/$value");
    assert!(seen.iter().all(|s| s.header("range").is_none() && s.header("authorization").is_some()));
}
