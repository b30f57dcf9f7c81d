//! The delta loop.

use serde_json::{Value, json};

use super::server::{Reply, Seen, Server, files, mail};
use crate::error::ErrorKind;
use crate::graph::{DeltaPages, Fate, fate};

fn page(rows: &[&str], link: &str, target: String) -> Reply {
    Reply::json(200, &json!({"value": rows, link: target}))
}

fn base(seen: &Seen) -> String {
    format!("http://{}/v1.0", seen.header("host").unwrap())
}

async fn rows(pages: &mut DeltaPages) -> Vec<Value> {
    let mut rows = Vec::new();
    while let Some(page) = pages.next().await.unwrap() {
        rows.extend(page.rows.values().map(Result::unwrap));
    }
    rows
}

#[tokio::test]
async fn pages_are_followed_to_the_delta_link_and_preferences_stay() {
    let server = Server::graph(|seen, _| match seen.query.as_str() {
        "$select=id" => page(&["a", "b"], "@odata.nextLink", format!("{}/users/alice/delta?t=1%2B", base(seen))),
        "t=1%2B" => page(&[], "@odata.nextLink", format!("{}/users/alice/delta?t=2", base(seen))),
        "t=2" => page(&["c"], "@odata.deltaLink", format!("{}/users/alice/delta?d=1", base(seen))),
        "d=1" => page(&[], "@odata.deltaLink", format!("{}/users/alice/delta?d=2", base(seen))),
        other => panic!("{other}"),
    })
    .await;
    let client = server.client();
    let start = mail("users/alice/delta?$select=id").prefer("odata.maxpagesize=2").prefer("IdType=\"ImmutableId\"");
    let mut first = client.delta(start.clone(), None);
    assert_eq!(rows(&mut first).await, ["a", "b", "c"]);
    let saved = first.delta_link().unwrap().to_owned();
    let mut second = client.delta(start, Some(&saved));
    assert!(rows(&mut second).await.is_empty());
    assert!(second.delta_link().unwrap().ends_with("d=2"));
    for seen in server.seen("/delta") {
        assert_eq!(seen.header("prefer"), Some("odata.maxpagesize=2, IdType=\"ImmutableId\""));
    }
}

#[tokio::test]
async fn links_that_run_in_a_circle_end_with_an_error() {
    let server = Server::graph(|seen, _| {
        let next = if seen.query == "t=1" { "t=2" } else { "t=1" };
        page(&["x"], "@odata.nextLink", format!("{}/delta?{next}", base(seen)))
    })
    .await;
    let client = server.client();
    let mut pages = client.delta(files("delta"), None);
    let error = loop {
        match pages.next().await {
            Ok(page) => assert!(page.is_some()),
            Err(e) => break e,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(server.seen("/delta").len() <= 5);
    let error = client.get_all(files("delta")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn a_round_without_a_delta_link_is_no_round() {
    let server = Server::graph(|_, _| Reply::json(200, &json!({"value": []}))).await;
    let mut pages = server.client().delta(files("delta"), None);
    assert_eq!(pages.next().await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(pages.delta_link(), None);
}

#[tokio::test]
async fn an_expired_token_asks_for_a_resync_with_the_link_given() {
    let server =
        Server::graph(|_, _| Reply::error(410, "resyncRequired").header("location", "https://graph/new?token=")).await;
    let saved = format!("{}/v1.0/delta?token=old", server.root);
    let error = server.client().delta(files("delta"), Some(&saved)).next().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResyncRequired);
    assert_eq!(fate(&error), Fate::Resync { location: Some("https://graph/new?token=".into()) });
    assert_eq!(server.seen("/delta").len(), 1);
}

#[tokio::test]
async fn a_saved_link_of_another_address_asks_for_a_resync_and_is_not_followed() {
    let other = Server::graph(|_, _| Reply::json(200, &json!({}))).await;
    let server = Server::graph(|_, _| Reply::json(200, &json!({}))).await;
    let saved = format!("{}/v1.0/delta?token=old", other.root);
    let error = server.client().delta(files("delta"), Some(&saved)).next().await.unwrap_err();
    assert_eq!(fate(&error), Fate::Resync { location: None });
    assert!(other.seen("/").is_empty());
}

#[tokio::test]
async fn a_page_that_failed_can_be_asked_for_again() {
    let server = Server::graph(|seen, n| match n {
        0..5 => Reply::bytes(502, ""),
        _ => page(&["a"], "@odata.deltaLink", format!("{}/delta?d=1", base(seen))),
    })
    .await;
    let client = server.client();
    let mut pages = client.delta(files("delta"), None);
    assert_eq!(pages.next().await.unwrap_err().kind(), ErrorKind::Unavailable);
    let page = pages.next().await.unwrap().unwrap();
    assert_eq!(page.rows.values().map(Result::unwrap).collect::<Vec<_>>(), ["a"]);
}
