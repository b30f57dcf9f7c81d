//! A server on SQLite that is killed in the middle of a run, and started again.
#![cfg(unix)]

use reqwest::Method;
use serde_json::json;

use crate::server::Server;
use crate::server_http::Http;
use crate::server_postgres::{ended, place, wait};

#[test]
fn a_run_of_a_server_that_was_killed_ends_after_a_new_start_and_comes_back() {
    let place = place();
    let start = || {
        let mut server = Server::start(&place, &["server", "--dir", "vault", "--listen", "127.0.0.1:0", "--json"]);
        let status = server.status();
        let url = status["url"].as_str().expect("an address").to_owned();
        (server, url, status["first_link"].as_str().map(str::to_owned))
    };
    let (doomed, url, link) = start();
    let http = Http::sign_in(&url, &link.expect("nobody is there yet"));
    let sim = place.tenant.as_ref().expect("a tenant");
    let made = http.set_up(sim, json!([]));
    http.good(Method::POST, &format!("/accounts/{}/sets/{}/runs", made.account, made.set), None);
    let running = wait("nothing runs", || {
        let job = http.backups(&made).first()?.clone();
        (job["progress"]["counts"]["requests"].as_i64()? > 3).then_some(job)
    });
    doomed.kill();

    let (server, url, _) = start();
    let http = http.at(&url);
    let job = ended(&http, &made);
    assert!(matches!(job["state"].as_str(), Some("done" | "gaps")), "{job}");
    assert_eq!((&job["id"], &job["attempts"]), (&running["id"], &json!(2)), "the same job, taken up again: {job}");
    let snapshots = http.snapshots(&made);
    assert!(snapshots.len() == 1 && snapshots[0]["complete"] == true, "{snapshots:?}");
    http.restore(&made, sim);
    assert_eq!(server.interrupt(), Some(0));
}
