//! Lines to the server: TLS by files, connections of HTTP/2 that fall silent, and those that break.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum_server::AddrListener as _;
use reqwest::{Certificate, Client, StatusCode, Version, header};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::{Bench, PASSWORD, id};
use crate::error::{Error, ErrorKind};
use crate::server::ProcessRole;
use crate::server::auth::Role;
use crate::server::id::Id;
use crate::server::lines::{Bounds, Line, Lines};
use crate::server::network::Network;
use crate::server::options::{ServerOptions, Tls};
use crate::server::run::start_at;

/// Longer than anything here takes.
const SOON: Duration = Duration::from_secs(20);
/// How long a connection on which nothing is asked is watched.
const WATCHED: Duration = Duration::from_secs(14);

/// A file of `tests/fixtures/tls`.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls").join(name)
}

/// Puts a certificate and its key where the server looks for them.
fn lay(folder: &Path, name: &str) -> Tls {
    let tls = Tls { certificate_file: folder.join("server.pem"), private_key_file: folder.join("server.key") };
    std::fs::copy(fixture(&format!("{name}.pem")), &tls.certificate_file).expect("the certificate");
    std::fs::copy(fixture(&format!("{name}.key")), &tls.private_key_file).expect("the key");
    tls
}

/// A client that trusts one certificate and no other.
fn trusting(name: &str) -> Client {
    let pem = std::fs::read(fixture(&format!("{name}.pem"))).expect("a certificate");
    Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .pool_max_idle_per_host(0)
        .tls_certs_only([Certificate::from_pem(&pem).expect("a certificate")])
        .build()
        .expect("a client")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_a_certificate_by_files_speaks_https_alone_and_has_a_new_one_after_a_start() {
    let files = tempfile::tempdir().expect("a folder");
    let tls = lay(files.path(), "first");
    let mut bench = Bench::with(
        |options| {
            options.role = ProcessRole::Web;
            options.tls = Some(tls);
        },
        None,
    )
    .await;
    bench.client = trusting("first");
    bench.person(None, Role::Administrator, "admin@example.com").await;
    assert!(bench.running.url().starts_with("https://127.0.0.1:"), "{}", bench.running.url());
    let answer = bench.client.get(bench.url("/readyz")).send().await.expect("an answer");
    assert_eq!((answer.status(), answer.version()), (StatusCode::OK, Version::HTTP_2));
    assert!(answer.headers().contains_key(header::STRICT_TRANSPORT_SECURITY));

    // Cookies are bound to this host and to HTTPS; a page of ours is known also by a browser that says its origin alone.
    let form = [("login", "admin@example.com"), ("password", PASSWORD), ("code", "")];
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    for (origin, status) in
        [(bench.running.url(), StatusCode::SEE_OTHER), ("https://example.com".to_owned(), StatusCode::FORBIDDEN)]
    {
        let request = bench.client.post(bench.url("/sign-in")).header(header::ORIGIN, &origin);
        let request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(body.clone());
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), status, "{origin}");
        if status == StatusCode::SEE_OTHER {
            let cookie = answer.headers()[header::SET_COOKIE].to_str().expect("text").to_owned();
            assert!(cookie.starts_with("__Host-tenantvault=") && cookie.ends_with("; Secure"), "{cookie}");
            let (status, page) = bench.page(cookie.split(';').next().unwrap_or_default(), "/accounts").await;
            assert_eq!(status, StatusCode::OK, "{page}");
        }
    }

    // Who writes http:// is told what to do.
    let plain = Client::new().get(bench.url("/readyz").replacen("https", "http", 1)).send().await.expect("an answer");
    assert_eq!(plain.status(), StatusCode::BAD_REQUEST);
    let text = plain.text().await.expect("text");
    assert!(text.contains("write https://"), "{text}");

    // A renewed certificate counts from the next start on.
    lay(files.path(), "second");
    let (old, new) = (trusting("first"), trusting("second"));
    assert!(old.get(bench.url("/healthz")).send().await.is_ok_and(|answer| answer.status() == StatusCode::OK));
    new.get(bench.url("/healthz")).send().await.expect_err("not yet");
    let options =
        ServerOptions { listen: bench.running.address().expect("it listens"), ..bench.server().options.clone() };
    let Bench { running, folder, .. } = bench;
    running.stop().await;
    let again = start_at(options, None).await.expect("it starts");
    let health = format!("{}/healthz", again.url());
    assert!(new.get(&health).send().await.is_ok_and(|answer| answer.status() == StatusCode::OK));
    old.get(&health).send().await.expect_err("no more");
    again.stop().await;
    drop(folder);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_cannot_be_used_is_told_with_its_files() {
    let files = tempfile::tempdir().expect("a folder");
    let tls = lay(files.path(), "first");
    let began = async || -> Error {
        let folder = tempfile::tempdir().expect("a folder");
        let options =
            ServerOptions { tls: Some(tls.clone()), ..ServerOptions::in_folder(folder.path().join("server")) };
        start_at(options, None).await.expect_err("it cannot be used")
    };
    let pem = std::fs::read_to_string(&tls.certificate_file).expect("read");
    let key = std::fs::read_to_string(&tls.private_key_file).expect("read");
    let other = std::fs::read_to_string(fixture("second.key")).expect("read");
    let sealed = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    for (what, certificate, key, kind) in [
        ("another's key", Some(&*pem), Some(&*other), ErrorKind::InvalidInput),
        ("a key with a passphrase", Some(&*pem), Some(&*sealed), ErrorKind::InvalidInput),
        ("the certificate for the key", Some(&*pem), Some(&*pem), ErrorKind::InvalidInput),
        ("the key for the certificate", Some(&*key), Some(&*key), ErrorKind::InvalidInput),
        ("no PEM", Some("no certificate"), Some(&*key), ErrorKind::InvalidInput),
        ("no certificate", None, Some(&*key), ErrorKind::NotFound),
        ("no key", Some(&*pem), None, ErrorKind::NotFound),
    ] {
        for (file, text) in [(&tls.certificate_file, certificate), (&tls.private_key_file, key)] {
            match text {
                Some(text) => std::fs::write(file, text).expect("written"),
                None => std::fs::remove_file(file).expect("removed"),
            }
        }
        let refused = began().await;
        let told = refused.chain();
        assert_eq!(refused.kind(), kind, "{what}: {told}");
        assert!(told.contains("server.pem") && told.contains("server.key"), "{what}: {told}");
        let secret = key.unwrap_or_default().lines().nth(1).unwrap_or("-----");
        assert!(!told.contains(secret), "{what}: {told}");
    }
}

/// A frame of HTTP/2 (RFC 9113, 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Asks once by HTTP/2, and then for nothing more; answers pings or does not. Gives whether it was answered, and how long the
/// connection was kept.
async fn ask_once(address: std::net::SocketAddr, answers_pings: bool) -> std::io::Result<(bool, Duration)> {
    let mut line = TcpStream::connect(address).await?;
    let mut head = vec![0x82, 0x86, 0x04, 8];
    head.extend_from_slice(b"/healthz");
    head.extend_from_slice(&[0x01, 1, b'x']);
    line.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await?;
    line.write_all(&frame(4, 0, 0, &[])).await?;
    line.write_all(&frame(1, 0x5, 1, &head)).await?;
    let (began, mut answered) = (Instant::now(), false);
    let reading = async {
        loop {
            let mut start = [0; 9];
            if line.read_exact(&mut start).await.is_err() {
                return;
            }
            let length = u32::from_be_bytes([0, start[0], start[1], start[2]]);
            let mut payload = vec![0; length as usize];
            if line.read_exact(&mut payload).await.is_err() {
                return;
            }
            match (start[3], start[4]) {
                // Headers.
                (1, _) => answered = true,
                (6, 0) if answers_pings && line.write_all(&frame(6, 1, 0, &payload)).await.is_err() => return,
                // The server says farewell.
                (7, _) => return,
                _ => {}
            }
        }
    };
    let _ = timeout(WATCHED, reading).await;
    Ok((answered, began.elapsed()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_of_http_2_that_falls_silent_is_let_go_and_one_that_answers_is_kept() {
    let bench = Bench::quiet().await;
    let address = bench.running.address().expect("it listens");
    let (silent, lively) = tokio::join!(ask_once(address, false), ask_once(address, true));
    let (answered, kept) = silent.expect("a line");
    assert!(answered && (Duration::from_secs(6)..Duration::from_secs(12)).contains(&kept), "{answered}, {kept:?}");
    let (answered, kept) = lively.expect("a line");
    assert!(answered && kept >= WATCHED, "{answered}, {kept:?}");
}

/// Waits until so many connections are open.
async fn open(bench: &Bench, many: usize) {
    let are_open = || bench.server().connections.connection_count();
    let waited = async {
        while are_open() != many {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let in_time = timeout(2 * SOON, waited).await;
    assert!(in_time.is_ok(), "{} are open, not {many}", are_open());
}

/// A connection on which something is written.
async fn line(address: std::net::SocketAddr, written: &str) -> TcpStream {
    let mut line = TcpStream::connect(address).await.expect("a line");
    line.write_all(written.as_bytes()).await.expect("sent");
    line
}

/// Asks once, by a connection of its own; gives the whole answer.
async fn answered(address: std::net::SocketAddr, path: &'static str) -> String {
    let mut line = line(address, &format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await;
    let mut answer = String::new();
    line.read_to_string(&mut answer).await.expect("an answer");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_when_all_places_are_taken_waits_and_is_answered_when_one_goes() {
    let change = |options: &mut ServerOptions| {
        options.role = ProcessRole::Web;
        options.connections_at_once = 3;
    };
    let bench = Bench::with(change, None).await;
    let address = bench.running.address().expect("it listens");
    // A body that does not come holds its place for a minute.
    let begun = "POST /sign-in HTTP/1.1\r\nhost: x\r\nsec-fetch-site: same-origin\r\n\
                 content-type: application/x-www-form-urlencoded\r\ncontent-length: 9\r\n\r\n";
    let mut held = vec![line(address, begun).await, line(address, begun).await];
    open(&bench, 2).await;
    let figures = timeout(SOON, answered(address, "/metrics")).await.expect("in time");
    assert!(figures.contains("\ntenantvault_connections 3\n"), "{figures}");
    open(&bench, 2).await;
    held.push(line(address, begun).await);
    open(&bench, 3).await;
    let waiting: Vec<_> = (0..6).map(|_| tokio::spawn(answered(address, "/healthz"))).collect();
    sleep(Duration::from_secs(1)).await;
    assert!(!waiting.iter().any(tokio::task::JoinHandle::is_finished), "no place is free");
    assert_eq!(bench.server().connections.connection_count(), 3);
    // One place is enough for all of them, and none is lost.
    drop(held.pop());
    for one in waiting {
        let answer = timeout(SOON, one).await.expect("in time").expect("it ran");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    // Those that say nothing go by themselves.
    drop(held);
    open(&bench, 0).await;
    let silent = [line(address, "").await, line(address, "").await, line(address, "GET /").await];
    open(&bench, 3).await;
    let answer = timeout(SOON, answered(address, "/healthz")).await.expect("in time");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    drop(silent);
}

/// Lines of a listener of its own, two of each address; where it listens, and how many were turned away.
fn two_of_each(spared: &[Network]) -> (Lines, SocketAddr, Arc<AtomicU64>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("set");
    let (address, turned_away) = (listener.local_addr().expect("an address"), Arc::<AtomicU64>::default());
    let bounds = Bounds { at_once: 16, per_address: 2, spared: spared.to_vec(), turned_away: turned_away.clone() };
    (Lines::of(listener, bounds).expect("lines"), address, turned_away)
}

/// A connection from one of this machine's own addresses. Beside 127.0.0.1 Linux has all of 127.0.0.0/8 without being told; others
/// do not.
async fn dialled(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from((from, 0))).expect("bound");
    socket.connect(to).await.expect("a line")
}

/// Takes the next connection that is kept.
async fn taken(lines: &Lines) -> Line {
    timeout(SOON, lines.accept_stream()).await.expect("in time").expect("a line").0
}

/// Says whether the other end closes a connection.
async fn is_closed(line: &mut TcpStream) -> bool {
    matches!(timeout(SOON, line.read(&mut [0])).await, Ok(Ok(0) | Err(_)))
}

#[tokio::test(flavor = "multi_thread")]
async fn of_one_address_so_many_lines_are_open_and_of_who_speaks_for_many_more() {
    const ONE: [u8; 4] = [127, 0, 0, 1];
    const OTHER: [u8; 4] = [127, 0, 0, 2];
    let (lines, address, turned_away) = two_of_each(&[]);
    let mut ends = Vec::new();
    for from in [ONE, ONE, ONE, OTHER] {
        ends.push(dialled(from, address).await);
    }
    let mut held = vec![taken(&lines).await, taken(&lines).await, taken(&lines).await];
    assert!(is_closed(&mut ends[2]).await, "the third of one address");
    assert_eq!(turned_away.load(Ordering::Relaxed), 1);
    // When one goes, there is room for another.
    drop(held.remove(0));
    ends.push(dialled(ONE, address).await);
    held.push(taken(&lines).await);
    assert_eq!(turned_away.load(Ordering::Relaxed), 1);
    drop(held);

    let (lines, address, turned_away) = two_of_each(&Network::LOOPBACK);
    let mut held = Vec::new();
    for _ in 0..4 {
        ends.push(dialled(ONE, address).await);
        held.push(taken(&lines).await);
    }
    assert_eq!((held.len(), turned_away.load(Ordering::Relaxed)), (4, 0));
}

/// An address of this machine at which others reach it, if it has one. Nothing is sent for it.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_address_wants_over_its_share_is_closed_and_counted() {
    // All of loopback is spared: a machine without a network cannot tell.
    let Some(own) = own_address() else { return };
    let served = async |trusted_proxies: Vec<Network>| {
        let change = |options: &mut ServerOptions| {
            options.role = ProcessRole::Web;
            options.listen = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
            options.connections_per_address = 2;
            options.trusted_proxies = trusted_proxies;
        };
        let bench = Bench::with(change, None).await;
        let port = bench.running.address().expect("it listens").port();
        (bench, SocketAddr::from((own, port)), SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    };
    let (bench, far, near) = served(Vec::new()).await;
    let held = [line(far, "").await, line(far, "").await];
    open(&bench, 2).await;
    assert!(is_closed(&mut TcpStream::connect(far).await.expect("a line")).await);
    let more = [line(near, "").await, line(near, "").await, line(near, "").await];
    open(&bench, 5).await;
    let figures = timeout(SOON, answered(near, "/metrics")).await.expect("in time");
    assert!(figures.contains("\ntenantvault_connections_turned_away_total 1\n"), "{figures}");
    drop((held, more));
    bench.running.stop().await;

    let trusted = own.to_string().parse().expect("an address");
    let (bench, far, _) = served(vec![trusted]).await;
    let held = [line(far, "").await, line(far, "").await, line(far, "").await];
    open(&bench, 3).await;
    drop(held);
    bench.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_nothing_of_an_answer_is_let_go() {
    let bench = Bench::quiet().await;
    let address = bench.running.address().expect("it listens");
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small one");
    let mut line = socket.connect(address).await.expect("a line");
    // More than lies between the two.
    let asked = "GET /assets/style.css HTTP/1.1\r\nhost: x\r\n\r\n".repeat(1_500);
    timeout(SOON, line.write_all(asked.as_bytes())).await.expect("in time").expect("sent");
    open(&bench, 1).await;
    open(&bench, 0).await;
    drop(line);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_begun_is_done_and_noted_though_who_asked_went_away() {
    let bench = Bench::quiet().await;
    let account = bench.account("Contoso").await;
    let owner = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let cookie = bench.sign_in("owner@contoso.com", PASSWORD).await.expect("signed in");
    // In Microsoft's place stands who answers when it is told to.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let slow = format!("http://{}", listener.local_addr().expect("an address"));
    let (asked, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (was_asked, goes) = (asked.clone(), go.clone());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 8192];
            let _ = stream.read(&mut head).await;
            was_asked.notify_one();
            goes.notified().await;
            goes.notify_one();
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nodd!").await;
        }
    });
    let wanted = json!({"name": "Contoso", "secret": "secret", "definition": {
        "tenant_id": "contoso.com", "client_id": "11111111-1111-4111-8111-111111111111", "sign_in": "secret",
        "graph_url": slow, "login_url": slow}});
    let path = format!("/accounts/{account}/tenants");
    let tenant = id(&bench.good(&owner, reqwest::Method::POST, &path, Some(wanted)).await);
    let tenant_id = Id::parse(&tenant).expect("an id");

    let address = bench.running.address().expect("it listens");
    let mut line = TcpStream::connect(address).await.expect("a line");
    let request = format!(
        "POST /a/{account}/tenants/{tenant}/test HTTP/1.1\r\nhost: {address}\r\ncookie: {cookie}\r\n\
         sec-fetch-site: same-origin\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: 0\r\n\r\n"
    );
    line.write_all(request.as_bytes()).await.expect("sent");
    timeout(SOON, asked.notified()).await.expect("Microsoft is asked");
    drop(line);
    // Long enough for the server to see that nobody is there any more.
    sleep(Duration::from_millis(500)).await;
    let state = async || bench.server().db.tenant(&account, &tenant_id).await.expect("a tenant").state;
    assert_eq!(state().await, None);
    go.notify_one();
    let noted = async {
        loop {
            match state().await {
                Some(state) => break state,
                None => sleep(Duration::from_millis(50)).await,
            }
        }
    };
    let noted = timeout(SOON, noted).await.expect("what came of it is noted");
    assert!(noted.contains("cannot be read"), "{noted}");
}
