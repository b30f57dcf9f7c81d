//! Several questions in one round trip.

use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};

use super::server::{Reply, Seen, Server, files, mail};
use crate::error::{ErrorKind, Result};
use crate::graph::{Client, Fate, GraphRequest, Scope, TeamsCall, fate};

/// Answers the parts of a batch, the last one first.
fn answers(seen: &Seen, answer: impl Fn(&str) -> Option<(u16, Value)>) -> Reply {
    let part = |part: &Value| {
        let (status, body) = answer(part["url"].as_str().unwrap())?;
        Some(
            json!({"id": part["id"], "status": status, "headers": {"Retry-After": "0.01", "Location": "again"}, "body": body}),
        )
    };
    let responses: Vec<Value> = parts(seen).iter().rev().filter_map(part).collect();
    Reply::json(200, &json!({ "responses": responses }))
}

fn parts(batch: &Seen) -> Vec<Value> {
    let body: Value = serde_json::from_str(&batch.body).unwrap();
    body["requests"].as_array().unwrap().clone()
}

fn of_mailbox(names: &[&str]) -> Vec<GraphRequest> {
    names.iter().map(|name| mail(&format!("users/alice/{name}")).prefer("IdType=\"ImmutableId\"")).collect()
}

async fn ask(client: &Client, requests: Vec<GraphRequest>) -> Vec<Result<Value>> {
    join_all(requests.into_iter().map(|request| client.ask(request))).await
}

#[tokio::test]
async fn many_questions_take_few_round_trips_and_keep_their_order() {
    let server = Server::graph(|seen, _| answers(seen, |url| Some((200, json!({ "asked": url }))))).await;
    let client = server.client();
    let of = |n: usize| match n % 3 {
        0 => GraphRequest::get(Scope::Mailbox(n.to_string()), format!("users/{n}/calendars?$top=1")),
        1 => files(&format!("sites/{n}%2Fa/drives")).units(2),
        _ => GraphRequest::get(Scope::teams(TeamsCall::Team, &n.to_string()), format!("teams/{n}")),
    };
    let told = ask(&client, (0..30).map(of).collect()).await;
    let told: Vec<Value> = told.into_iter().map(Result::unwrap).collect();
    let meant: Vec<Value> = (0..30).map(|n| json!({ "asked": format!("/{}", of(n).url) })).collect();
    assert_eq!(told, meant);
    let sizes: Vec<usize> = server.seen("/v1.0/$batch").iter().map(|batch| parts(batch).len()).collect();
    assert_eq!(sizes, [20, 10]);
    let stats = client.stats();
    assert_eq!((stats.requests, stats.round_trips, server.seen("/v1.0/").len()), (30, 2, 2));
}

#[tokio::test]
async fn a_mailbox_has_four_questions_under_way_and_the_others_wait_for_their_places() {
    let server = Server::graph(|seen, _| answers(seen, |url| Some((200, json!({ "asked": url }))))).await;
    let told = ask(&server.client(), of_mailbox(&["a", "b?$top=1", "c%2Fd", "e", "f", "g"])).await;
    assert!(told.iter().all(Result::is_ok));
    let batches = server.seen("/v1.0/$batch");
    let sizes: Vec<usize> = batches.iter().map(|batch| parts(batch).len()).collect();
    assert_eq!(sizes, [4, 2]);
    for part in batches.iter().flat_map(parts) {
        assert_eq!(part["headers"]["Prefer"], "IdType=\"ImmutableId\"");
        assert_eq!(part["method"], "GET");
    }
}

#[tokio::test]
async fn what_a_batch_does_not_answer_is_asked_for_alone() {
    let server = Server::graph(|seen, _| match seen.path.as_str() {
        "/v1.0/$batch" => answers(seen, |url| match url {
            "/users/alice/busy" => Some((429, json!({"error": {"code": "ApplicationThrottled", "message": ""}}))),
            "/users/alice/gone" => Some((404, json!({"error": {"code": "ErrorItemNotFound", "message": ""}}))),
            "/users/alice/odd" => Some((200, json!("PGh0bWw+"))),
            _ => None,
        }),
        path => Reply::json(200, &json!({ "alone": path })),
    })
    .await;
    let client = server.client();
    let mut told = ask(&client, of_mailbox(&["busy", "gone", "left-out", "odd"])).await;
    let error = told.remove(1).unwrap_err();
    assert_eq!((error.kind(), fate(&error)), (ErrorKind::NotFound, Fate::Gone));
    let alone: Vec<Value> = told.into_iter().map(Result::unwrap).collect();
    let path = |name: &str| json!({ "alone": format!("/v1.0/users/alice/{name}") });
    assert_eq!(alone, [path("busy"), path("left-out"), path("odd")]);
    assert_eq!(server.seen("/gone").len(), 0, "what is gone is not asked for again");
    assert_eq!(client.stats().throttled, 1);
}

#[tokio::test]
async fn a_batch_that_fails_is_no_failure_of_its_parts() {
    let server = Server::graph(|seen, _| match seen.path.as_str() {
        "/v1.0/$batch" => Reply::error(500, "internalServerError"),
        path => Reply::json(200, &json!({ "alone": path })),
    })
    .await;
    let told = ask(&server.client(), of_mailbox(&["a", "b"])).await;
    assert!(told.iter().all(Result::is_ok), "{told:?}");
    assert_eq!((server.seen("$batch").len(), server.seen("/alice/").len()), (1, 2));
}

#[tokio::test]
async fn the_first_page_of_a_list_comes_in_a_batch_and_the_others_follow_it() {
    let server = Server::graph(|seen, _| match seen.path.as_str() {
        "/v1.0/$batch" => {
            let next = format!("http://{}/v1.0/users/alice/page2", seen.header("host").unwrap());
            answers(seen, move |url| match url.ends_with("/delta") {
                true => Some((410, json!({"error": {"code": "syncStateNotFound", "message": ""}}))),
                false => Some((200, json!({"value": [{"id": "1"}], "@odata.nextLink": next}))),
            })
        }
        _ => Reply::json(200, &json!({"value": [{"id": "2"}]})),
    })
    .await;
    let client = server.client();
    assert_eq!(client.ask_all(mail("users/alice/list")).await.unwrap(), [json!({"id": "1"}), json!({"id": "2"})]);
    let mut pages = client.delta(mail("users/alice/delta"), None).together();
    let error = pages.next().await.unwrap_err();
    assert_eq!(fate(&error), Fate::Resync { location: Some("again".to_owned()) });
    assert_eq!((server.seen("page2").len(), server.seen("/alice/delta").len()), (1, 0));
}

#[tokio::test]
async fn who_no_longer_waits_for_an_answer_holds_up_nobody() {
    let server = Server::graph(|seen, _| answers(seen, |url| Some((200, json!({ "asked": url }))))).await;
    let client = server.client();
    for _ in 0..3 {
        let given_up = ask(&client, of_mailbox(&["a", "b", "c", "d"]));
        assert!(tokio::time::timeout(Duration::from_millis(1), given_up).await.is_err());
    }
    assert!(ask(&client, of_mailbox(&["e"])).await.remove(0).is_ok());
}
