//! A server whose disk is full says so, and goes on when there is room again.
#![cfg(target_os = "linux")]

use reqwest::Method;
use serde_json::json;

use crate::disk::Disk;
use crate::server::Server;
use crate::server_http::Http;
use crate::support::Place;

#[test]
fn a_server_on_a_full_disk_says_so_and_goes_on_when_there_is_room() {
    let place = Place::empty();
    let Some(disk) = Disk::mount(&place, "vault", "6m") else { return };
    let mut server = Server::start(&place, &["server", "--dir", "vault", "--listen", "127.0.0.1:0", "--json"]);
    let status = server.status();
    let (url, link) = (status["url"].as_str().expect("an address"), status["first_link"].as_str().expect("a link"));
    let http = Http::sign_in(url, link);
    let add = |number: usize| {
        http.ask(Method::POST, "/accounts", Some(json!({"name": format!("{number} {}", "x".repeat(80))})))
    };
    assert_eq!(add(0).0, 201);
    disk.fill();
    // What the log of the database has set aside already still fits.
    let full = (1..20_000).map(add).find(|(status, _)| *status != 201).expect("it is full");
    assert_eq!(full.0, 507, "{}", full.1);
    assert_eq!(full.1["kind"], "storage-full", "{}", full.1);
    assert!(full.1["message"].as_str().expect("a message").contains("disk is full"), "{}", full.1);
    disk.make_room();
    assert_eq!(add(30_000).0, 201, "it goes on");
    let names = http.good(Method::GET, "/accounts", None);
    assert!(names["items"].as_array().expect("a list").len() >= 2);
    assert_eq!(http.good(Method::GET, "/audit/verification", None)["whole"], true);
    assert_eq!(server.interrupt(), Some(0));
}
