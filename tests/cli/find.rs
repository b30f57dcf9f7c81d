//! `find` and `history` at the shell: what is wrong with a query, what is printed, which keys will do.

use crate::support::{Place, shared};

#[test]
fn a_broken_query_is_pointed_at() {
    let place = shared();
    for (query, line, caret, says) in [
        ("from:dana (invoice", "  from:dana (invoice", "            ^", "never closed, at character 11"),
        ("form:dana", "  form:dana", "  ^", "There is no filter 'form:'"),
        ("a foo(", "  a foo(", "       ^", "This parenthesis is never closed, at character 6"),
        ("a before:soon", "  a before:soon", "           ^", "'before:' does not take 'soon'"),
    ] {
        let done = place.run(&["find", query]);
        done.fails(2, &[&format!("{line}\n{caret}\nError: "), says, "Hint: "]);
        assert_eq!(done.out, "");
    }
    let done = place.run(&["find", "a OR", "--json"]);
    let error: serde_json::Value = serde_json::from_str(&done.err).expect("one line of JSON");
    assert_eq!((done.code, error["code"].as_i64()), (2, Some(2)));
    assert!(error["message"].as_str().is_some_and(|text| text.contains("at character 3")), "{error}");
    place.run(&["find", ""]).fails(2, &["The query is empty", "Hint: "]);
    place.run(&["find", "x", "--set", "nobody"]).fails(1, &["'nobody'", "everyone"]);
    place.run(&["find", "x", "--snapshot", "nothing"]).fails(1, &["There is no snapshot 'nothing'"]);
}

#[test]
fn what_is_found_can_be_taken_back() {
    let place = shared();
    let (code, lines) = place.json(&["find", "kind:file OR kind:message", "--limit", "0"]);
    assert_eq!(code, 0);
    let (summary, items) = lines.split_last().expect("a summary");
    assert_eq!((summary["matches"].as_u64(), summary["snapshots"].as_u64()), (Some(items.len() as u64), Some(2)));
    let times: Vec<i64> = items
        .iter()
        .map(|item| item["sort_us"].as_i64().or(item["modified_us"].as_i64()).unwrap_or(i64::MIN))
        .collect();
    assert!(times.is_sorted_by(|a, b| a >= b) && items.iter().any(|item| item["in_latest"] == false));
    for kind in ["file", "message"] {
        let item = items.iter().find(|item| item["kind"] == kind && item["facts"]["malware"].is_null()).expect(kind);
        let take = item["take"].as_str().expect("where to take it from");
        let done = place.command(&["cat", take]).output().expect("it runs");
        assert_eq!(Some(done.stdout.len() as u64), item["size_bytes"].as_u64(), "{take}");
        let (code, versions) = place.json(&["history", take]);
        assert_eq!((code, versions[0]["message_type"].as_str()), (0, Some("version")), "{take}");
        let days: u64 = versions.iter().filter(|v| v["state"] == "there").filter_map(|v| v["snapshots"].as_u64()).sum();
        assert_eq!(Some(days), item["snapshots"].as_u64(), "{take}");
    }
    let done = place.run(&["find", "kind:file", "--limit", "2"]);
    assert!(done.out.contains("; the newest 2 are shown"), "{}", done.out);
    assert_eq!(done.out.lines().count(), 4, "{}", done.out);
    let none = place.run(&["find", "no such thing anywhere"]);
    assert_eq!((none.code, none.out.as_str()), (0, "0 items in 2 snapshots\n"));
    // A list without a cache is the same.
    let (_, uncached) = place.json(&["find", "kind:file OR kind:message", "--limit", "0", "--no-cache"]);
    assert_eq!(uncached, lines);
    place.run(&["history", "latest:users"]).fails(2, &["'users' is no item", "Hint: "]);
}

#[test]
fn a_write_only_key_finds_and_tells_the_history() {
    let place = Place::with_snapshots(1);
    let add = ["key", "add", "--write-only", "--generate-key", "--key-file", "server.key"];
    assert_eq!(place.run(&add).code, 0);
    let (code, lines) = place.json(&["find", "kind:message", "-p", "server.key"]);
    assert!(code == 0 && lines.len() > 1, "{lines:?}");
    let take = lines[0]["take"].as_str().expect("where to take it from");
    assert_eq!(place.run(&["history", take, "-p", "server.key"]).code, 0);
    place.run(&["cat", take, "-p", "server.key"]).fails(12, &["not read contents"]);
}
