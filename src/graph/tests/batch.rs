//! Several questions in one round trip.

use serde_json::{Value, json};

use super::server::{Reply, Seen, Server, mail};
use crate::error::ErrorKind;
use crate::graph::{Fate, GraphRequest, fate};

/// Answers the parts of a batch, the last one first.
fn answers(seen: &Seen, answer: impl Fn(&str) -> Option<(u16, Value)>) -> Reply {
    let body: Value = serde_json::from_str(&seen.body).unwrap();
    let part = |part: &Value| {
        let (status, body) = answer(part["url"].as_str().unwrap())?;
        Some(json!({"id": part["id"], "status": status, "headers": {"Retry-After": "0.01"}, "body": body}))
    };
    let responses: Vec<Value> = body["requests"].as_array().unwrap().iter().rev().filter_map(part).collect();
    Reply::json(200, &json!({ "responses": responses }))
}

fn ask(names: &[&str]) -> Vec<GraphRequest> {
    names.iter().map(|name| mail(&format!("users/alice/{name}")).prefer("IdType=\"ImmutableId\"")).collect()
}

#[tokio::test]
async fn many_questions_take_few_round_trips_and_keep_their_order() {
    let server = Server::graph(|seen, _| answers(seen, |url| Some((200, json!({ "asked": url }))))).await;
    let names = ["a", "b?$top=1", "c%2Fd", "e", "f", "g"];
    let told = server.client().get_together(ask(&names)).await;
    let told: Vec<Value> = told.into_iter().map(Result::unwrap).collect();
    let meant: Vec<Value> = names.iter().map(|name| json!({ "asked": format!("/users/alice/{name}") })).collect();
    assert_eq!(told, meant);
    let batches = server.seen("/v1.0/$batch");
    assert_eq!(batches.len(), 2, "four at once is all that a mailbox answers");
    assert_eq!(server.seen("/v1.0/").len(), 2);
    for batch in batches {
        let body: Value = serde_json::from_str(&batch.body).unwrap();
        for part in body["requests"].as_array().unwrap() {
            assert_eq!(part["headers"]["Prefer"], "IdType=\"ImmutableId\"");
            assert_eq!(part["method"], "GET");
        }
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
    let mut told = client.get_together(ask(&["busy", "gone", "left-out", "odd"])).await;
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
    let told = server.client().get_together(ask(&["a", "b"])).await;
    assert!(told.iter().all(Result::is_ok), "{told:?}");
    assert_eq!((server.seen("$batch").len(), server.seen("/alice/").len()), (1, 2));
    // One question is no batch.
    assert!(server.client().get_together(ask(&["c"])).await.remove(0).is_ok());
    assert_eq!(server.seen("$batch").len(), 1);
}
