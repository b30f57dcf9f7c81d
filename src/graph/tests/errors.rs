//! Reading Graph's errors, over hand-written answers of every documented kind.

use serde_json::Value;

use crate::error::{Error, ErrorKind};
use crate::graph::{Fate, GraphError, fate, graph_error};

const ERRORS: &str = include_str!("../../../tests/fixtures/graph/errors.json");

#[test]
fn every_documented_error_has_its_code_kind_and_fate() {
    let cases: Vec<Value> = serde_json::from_str(ERRORS).unwrap();
    assert!(cases.len() >= 20);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let body = if case["body"].is_null() { Vec::new() } else { case["body"].to_string().into_bytes() };
        let mut parsed = GraphError::parse(u16::try_from(case["status"].as_u64().unwrap()).unwrap(), &body);
        parsed.location = case["location"].as_str().map(str::to_owned);
        assert_eq!(parsed.code, case["code"], "{name}");
        let error = parsed.clone().into_error("GET x").context("Reading a mailbox");
        assert_eq!(format!("{:?}", error.kind()), case["kind"], "{name}");
        assert_eq!(graph_error(&error), Some(&parsed), "{name}: found under context");
        let found = fate(&error);
        assert_eq!(format!("{found:?}").split([' ', '(']).next(), case["fate"].as_str(), "{name}");
        if let Fate::Resync { location } = found {
            assert_eq!(location.as_deref(), case["location"].as_str(), "{name}");
        }
    }
}

#[test]
fn a_request_id_is_found_on_any_level() {
    let body = br#"{"error":{"code":"x","innerError":{"innererror":{"request-id":"r-9","code":"itemNotFound"}}}}"#;
    let error = GraphError::parse(404, body);
    assert_eq!((error.request_id.as_str(), error.code.as_str()), ("r-9", "itemNotFound"));
    assert_eq!(error.codes, ["x", "itemNotFound"]);
}

#[test]
fn odd_bodies_are_no_trouble() {
    let deep = format!("{}{}", r#"{"error":{"innerError":"#, "[".repeat(5000));
    for body in [
        "",
        "<html>Bad Gateway</html>",
        "null",
        "[]",
        "{\"error\":[]}",
        "{\"error\":{\"code\":5}}",
        &deep,
        "\u{0}\u{1}",
    ] {
        let error = GraphError::parse(502, body.as_bytes());
        assert_eq!(error.code, "", "{body:.20}");
    }
    let long = serde_json::json!({"error": {"code": "c", "message": "ü ".repeat(5000)}}).to_string();
    assert!(GraphError::parse(400, long.as_bytes()).message.len() < 500);
    let link = r#"{"error":{"code":"c","message":"see https://x.example/a?token=hidden now\u0007"}}"#;
    assert_eq!(GraphError::parse(400, link.as_bytes()).message, "see a now");
}

#[test]
fn malware_by_header_is_a_gap() {
    let mut error = GraphError::parse(403, b"");
    error.infected = true;
    assert!(matches!(fate(&error.into_error("GET x")), Fate::Gap(reason) if reason.contains("malware")));
}

#[test]
fn what_graph_did_not_say_is_fatal() {
    assert_eq!(fate(&Error::internal("x")), Fate::Fatal);
    assert_eq!(fate(&Error::new(ErrorKind::ResyncRequired, "x")), Fate::Resync { location: None });
}
