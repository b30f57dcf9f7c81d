//! Ctrl-C: the run ends in order, with what it has.
#![cfg(unix)]

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use tenantvault::sim::SimOptions;

use crate::support::Place;

#[test]
fn a_second_interruption_ends_at_once_and_loses_nothing_stored() {
    let options = SimOptions { latency: Duration::from_millis(30), messages: 300, ..SimOptions::tiny() };
    let place = Place::with_tenant(options);
    place.init();
    let mut child =
        place.process(&["backup", "everyone"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut lines = BufReader::new(child.stderr.take().expect("stderr")).lines();
    let interrupt = || {
        let id = child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().expect("kill runs").success());
    };
    // Of hundreds of requests, some were answered: it is in the middle.
    while place.tenant.as_ref().expect("a tenant").stats().requests < 100 {
        std::thread::sleep(Duration::from_millis(5));
    }
    interrupt();
    assert!(lines.any(|line| line.expect("a line").contains("Ctrl-C again")), "the first is not told");
    interrupt();
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert_eq!(place.run(&["check", "--read-data"]).code, 0);
    assert_eq!(place.run(&["backup", "everyone"]).code, 3);
    let (_, listed) = place.json(&["snapshots"]);
    assert_eq!(listed[listed.len() - 2]["complete"], true, "{listed:?}");
}

#[test]
fn an_interrupted_backup_keeps_what_it_has_and_is_exit_130() {
    let options = SimOptions { latency: Duration::from_millis(30), messages: 300, ..SimOptions::tiny() };
    let place = Place::with_tenant(options);
    place.init();
    let mut child = place
        .process(&["backup", "everyone", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
    // Once items come, the run is in the middle.
    let busy =
        |line: &str| serde_json::from_str::<serde_json::Value>(line).is_ok_and(|l| l["items"].as_u64() > Some(0));
    assert!(lines.any(|line| busy(&line.expect("a line"))), "it ended before it began");
    let signalled = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    assert!(signalled.success());
    let rest: Vec<String> = lines.map(|line| line.expect("a line")).collect();
    assert_eq!(child.wait().expect("it ends").code(), Some(130), "{rest:?}");
    let (_, listed) = place.json(&["snapshots"]);
    assert_eq!(listed[0]["complete"], false, "{listed:?}");
    assert_eq!(place.run(&["check", "--read-data"]).code, 0);
    // The next run goes on from it.
    place.run(&["backup", "everyone"]);
    let (_, listed) = place.json(&["snapshots"]);
    assert_eq!(listed[1]["parent"], listed[0]["id"]);
}
