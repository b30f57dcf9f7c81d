//! A server on SQLite whose backup set was made by its pages: it begins by its schedule, the server is killed in the middle, and
//! started again.
#![cfg(unix)]

use reqwest::Method;
use serde_json::json;
use tenantvault::sim::SimHandle;

use crate::server::Server;
use crate::server_http::{Http, Made};
use crate::server_postgres::{ended, place, wait};
use crate::support::{Place, runtime};

/// Sends forms as a browser does that goes from page to page: an account, a tenant, the five steps to a set with a schedule.
fn by_pages(http: &Http, sim: &SimHandle) -> Made {
    let led = |path: &str, fields: &[(&str, &str)]| {
        let (status, to, page) = http.form(path, fields);
        assert_eq!(status, 303, "{path}: {page}");
        to.rsplit('/').next().unwrap_or_default().to_owned()
    };
    let only = |path: &str| {
        let list = http.good(Method::GET, path, None);
        list["items"][0]["id"].as_str().expect("one").to_owned()
    };
    let account = led("/accounts", &[("name", "Contoso")]);
    let app = [
        ("name", "Contoso"),
        ("tenant_id", sim.tenant_id()),
        ("client_id", sim.client_id()),
        ("sign_in", "secret"),
        ("secret", sim.client_secret()),
        ("address", sim.base_url()),
        ("restore_client_id", sim.restore_client_id()),
        ("restore_secret", sim.restore_client_secret()),
    ];
    led(&format!("/a/{account}/tenants"), &app);
    let tenant = only(&format!("/accounts/{account}/tenants"));
    let at = |step: &str| format!("/a/{account}/sets/new/{step}");
    let choice = [
        ("include", "*"),
        ("parts", "some"),
        ("part", "mail"),
        ("part", "onedrive"),
        ("versions", "current"),
        ("leavers", "keep"),
        ("do", "next"),
    ];
    // Once a year: by itself it does not come while this runs.
    let times = [
        ("when_kind", "cron"),
        ("when_time", ""),
        ("when_cron", "0 4 1 1 *"),
        ("zone", "UTC"),
        ("jitter", "0"),
        ("enabled", "on"),
        ("keep_last", "3"),
        ("do", "next"),
    ];
    led(&at("connect"), &[("name", "everyone"), ("tenant", &tenant), ("do", "next")]);
    led(&at("choose"), &choice);
    led(&at("when"), &times);
    let place = [("repository", "new"), ("client", ""), ("new_name", "Main"), ("new_kind", "server"), ("do", "next")];
    let (status, _, page) = http.form(&at("where"), &place);
    assert_eq!(status, 200, "{page}");
    let shown = page.split_once("<code id=\"key\">").expect("the key is shown").1;
    let key = shown.split_once("</code>").expect("its end").0.to_owned();
    let typed_back = [("key", key.as_str()), ("last_four", &key[key.len() - 4..]), ("do", "confirm")];
    let (status, _, page) = http.form(&at("key"), &typed_back);
    assert_eq!(status, 200, "{page}");
    let set = led(&at("key"), &[("do", "make")]);
    let repository = only(&format!("/accounts/{account}/repositories"));
    Made { account, repository, set, key }
}

/// Lets the time of the one schedule come.
fn let_it_be_due(place: &Place) {
    let now_us = jiff::Timestamp::now().as_microsecond();
    let url = format!("sqlite://{}", place.path("vault/server.db").display());
    runtime().block_on(async {
        sqlx::any::install_default_drivers();
        let mut database = <sqlx::AnyConnection as sqlx::Connection>::connect(&url).await.expect("its database");
        let moved = sqlx::query("UPDATE schedules SET next_us = $1 WHERE next_us > $2").bind(now_us).bind(now_us);
        let moved = moved.execute(&mut database).await.expect("moved");
        assert_eq!(moved.rows_affected(), 1, "the set has a schedule that waits");
    });
}

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
    let made = by_pages(&http, sim);
    assert!(http.backups(&made).is_empty(), "nobody asked for a run");
    let_it_be_due(&place);
    let running = wait("the schedule begins nothing", || {
        let job = http.backups(&made).first()?.clone();
        (job["progress"]["counts"]["requests"].as_i64()? > 3).then_some(job)
    });
    assert_eq!(running["asked_by"], "schedule", "{running}");
    assert_eq!(running["set"], json!(made.set), "{running}");
    doomed.kill();

    let (server, url, _) = start();
    let http = http.at(&url);
    let job = ended(&http, &made);
    assert!(matches!(job["state"].as_str(), Some("done" | "gaps")), "{job}");
    assert_eq!((&job["id"], &job["attempts"]), (&running["id"], &json!(2)), "the same job, taken up again: {job}");
    assert_eq!(http.backups(&made).len(), 1, "its time does not come twice");
    let snapshots = http.snapshots(&made);
    assert!(snapshots.len() == 1 && snapshots[0]["complete"] == true, "{snapshots:?}");
    http.restore(&made, sim);
    assert_eq!(server.interrupt(), Some(0));
}
