//! With `--json` every command that reports prints lines of JSON, one summary last.

use std::io::Write as _;

use crate::support::{Place, shared};

#[test]
fn every_report_is_lines_of_json_with_one_summary_last() {
    let place = Place::with_snapshots(2);
    let ids = place.snapshots();
    for (arguments, code, kinds) in [
        (&["snapshots"][..], 0, "snapshot"),
        (&["test", "everyone"], 0, "permission"),
        (&["discover"], 0, "owner"),
        (&["discover", "everyone"], 0, "selected"),
        (&["backup", "everyone", "--dry-run"], 0, "collection"),
        (&["backup", "everyone"], 3, "gap"),
        (&["ls", "latest:users"], 0, "item"),
        (&["ls", "-R", "latest"], 0, "item"),
        (&["diff", &ids[0], &ids[1]], 0, "change"),
        (&["find", "kind:message"], 0, "item"),
        (&["check", "--read-data"], 0, "summary"),
        (&["stats"], 0, "summary"),
        (&["key", "list"], 0, "key"),
        (&["config", "show"], 0, "summary"),
        (&["forget", "--keep-last", "1", "--dry-run"], 0, "snapshot"),
        (&["prune", "--dry-run"], 0, "summary"),
        (&["export", "latest:users", "out"], 0, "summary"),
        (&["forget", "--keep-last", "1", "--prune"], 0, "forget"),
        (&["forget", &ids[1]], 1, ""),
        (&["prune", "--grace", "0"], 0, "summary"),
        (&["repair", "index"], 0, "summary"),
    ] {
        let done = place.run(&[arguments, &["--json"]].concat());
        let ended = if arguments[0] == "export" { done.code == 0 || done.code == 3 } else { done.code == code };
        assert!(ended, "{arguments:?}: {} {}", done.code, done.err);
        if code == 1 {
            continue;
        }
        let lines = done.json();
        let kind = |n: usize| lines[n]["message_type"].as_str().unwrap_or_default().to_owned();
        assert_eq!(kind(lines.len() - 1), "summary", "{arguments:?}");
        let summaries = (0..lines.len()).filter(|n| kind(*n) == "summary").count();
        assert_eq!(summaries, 1, "{arguments:?}");
        assert!((0..lines.len()).any(|n| kind(n) == kinds), "{arguments:?} has no {kinds}");
    }
}

#[test]
fn the_summary_of_a_backup_says_what_people_read() {
    let place = Place::with_snapshots(1);
    place.tenant.as_ref().expect("a tenant").advance_day();
    let (code, lines) = place.json(&["backup", "everyone", "--tag", "audit"]);
    let summary = lines.last().expect("a summary");
    assert_eq!(code, 3);
    assert_eq!(summary["parent"].as_str(), Some(place.snapshots()[0].as_str()));
    assert_eq!(summary["snapshot"].as_str(), Some(place.snapshots()[1].as_str()));
    assert!(summary["totals"]["items_added"].as_u64().is_some_and(|n| n > 0), "{summary}");
    assert!(summary["totals"]["gaps"].as_u64().is_some_and(|n| n > 0), "{summary}");
    let gaps = lines.iter().filter(|line| line["message_type"] == "gap").count() as u64;
    assert_eq!(summary["totals"]["gaps"].as_u64(), Some(gaps));
    let (_, tagged) = place.json(&["snapshots", "--tag", "audit"]);
    assert_eq!(tagged.len(), 2);
}

#[test]
fn a_path_of_ls_is_one_that_cat_takes() {
    let place = shared();
    let (_, lines) = place.json(&["ls", "-R", "latest"]);
    let readable = |kind: &str| {
        lines.iter().filter(|line| line["kind"] == kind).find_map(|line| {
            let path = line["path"].as_str()?;
            let done = place.command(&["cat", &format!("latest:{path}")]).output().expect("it runs");
            done.status.success().then(|| (line["size_bytes"].as_u64(), done.stdout))
        })
    };
    for kind in ["message", "file"] {
        let (size, bytes) = readable(kind).expect(kind);
        assert_eq!(size, Some(bytes.len() as u64), "{kind}");
    }
    let message =
        lines.iter().find(|line| line["kind"] == "message").and_then(|line| line["path"].as_str()).expect("a message");
    let done = place.run(&["cat", "--properties", &format!("latest:{message}")]);
    let properties: serde_json::Value = serde_json::from_str(&done.out).expect("JSON");
    assert!(properties.is_object());
    // A folder has properties, and no contents.
    let folder = message.rsplit_once('/').expect("a folder").0;
    let done = place.run(&["cat", "--properties", &format!("latest:{folder}")]);
    assert!(serde_json::from_str::<serde_json::Value>(&done.out).is_ok_and(|json| json.is_object()), "{}", done.err);
    place.run(&["cat", &format!("latest:{folder}")]).fails(2, &["is a folder"]);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let place = shared();
    for arguments in [&["ls", "-R", "latest"][..], &["ls", "-R", "latest", "--json"], &["man"], &["snapshots"]] {
        let mut command = place.process(arguments);
        let mut child = command
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("it starts");
        // Before the program can have printed anything: every write of it fails.
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("it ends");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), errors.as_ref()), (Some(0), ""), "{arguments:?}");
    }
    std::io::stdout().flush().expect("ours is there");
}
