use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::storage::Credentials;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// Here the second address of loopback is the internet, and the first this machine.
const PUBLIC: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const PRIVATE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A server that answers every request alike; gives its port, and how many connections came.
async fn server(ip: IpAddr, port: u16, answer: String) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((ip, port)).await.expect("a port");
    let (port, many) = (listener.local_addr().expect("an address").port(), Arc::new(AtomicUsize::new(0)));
    let counted = many.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (port, many)
}

const FOUND: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello";

fn s3(endpoint: &str, reach: Reach) -> Result<Arc<dyn Storage>> {
    let credentials = Credentials::new().with("access_key_id", "id").with("secret_access_key", "key");
    let options = StorageOptions { credentials, retries: 0, reach: Some(reach), ..StorageOptions::default() };
    open(&format!("s3://bucket/x?endpoint={endpoint}"), &options)
}

fn is_public(ip: IpAddr) -> bool {
    ip == PUBLIC
}

#[tokio::test]
async fn a_name_is_looked_at_again_at_each_connection() {
    let (port, outside) = server(PUBLIC, 0, FOUND.to_owned()).await;
    let (_, inside) = server(PRIVATE, port, FOUND.to_owned()).await;
    let asked = AtomicUsize::new(0);
    let turns =
        Reach::of_test(is_public, move |_| if asked.fetch_add(1, Ordering::SeqCst) == 0 { PUBLIC } else { PRIVATE });
    let storage = s3(&format!("http://store.example:{port}"), turns).expect("a storage");
    assert_eq!(&storage.get("a", 100).await.expect("the first answer")[..], b"hello");
    let refused = storage.get("a", 100).await.expect_err("the name leads inside by now");
    assert_eq!(refused.kind(), ErrorKind::Permission, "{}", refused.chain());
    assert!(refused.chain().contains("private network"), "{}", refused.chain());
    assert_eq!((outside.load(Ordering::SeqCst), inside.load(Ordering::SeqCst)), (1, 0));
}

#[tokio::test]
async fn an_answer_leads_nowhere_inside() {
    let (port, inside) = server(PRIVATE, 0, FOUND.to_owned()).await;
    for to in [format!("http://127.0.0.1:{port}/a"), format!("http://inside.example:{port}/a")] {
        let away = format!("HTTP/1.1 307 x\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        let (port, outside) = server(PUBLIC, 0, away).await;
        let reach = Reach::of_test(is_public, |name| if name == "inside.example" { PRIVATE } else { PUBLIC });
        let storage = s3(&format!("http://store.example:{port}"), reach).expect("a storage");
        let refused = storage.get("a", 100).await.expect_err("it leads inside");
        assert_eq!(refused.kind(), ErrorKind::Permission, "{to}: {}", refused.chain());
        assert_eq!((outside.load(Ordering::SeqCst), inside.load(Ordering::SeqCst)), (1, 0), "{to}");
    }
}

#[tokio::test]
async fn an_address_inside_is_refused_in_whatever_way_it_is_written() {
    for endpoint in ["http://127.0.0.1:1", "127.0.0.1:1", "http://0x7f.1", "http://[::1]:1", "https://2130706433"] {
        let refused = s3(endpoint, Reach::public()).expect_err(endpoint);
        assert_eq!(refused.kind(), ErrorKind::Permission, "{endpoint}: {}", refused.chain());
    }
}

#[tokio::test]
async fn ssh_is_not_started_for_a_host_inside() {
    let (port, inside) = server(PRIVATE, 0, String::new()).await;
    let reach = Reach::of_test(is_public, |_| PRIVATE);
    let options = StorageOptions { retries: 0, reach: Some(reach), ..StorageOptions::default() };
    for host in ["inside.example", "127.0.0.1"] {
        let refused = match open(&format!("sftp://me@{host}:{port}/x"), &options) {
            Ok(storage) => storage.get("a", 100).await.expect_err("a host inside"),
            Err(e) => e,
        };
        assert_eq!(refused.kind(), ErrorKind::Permission, "{}", refused.chain());
    }
    assert_eq!(inside.load(Ordering::SeqCst), 0);
}
