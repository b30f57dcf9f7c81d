//! A storage that goes back in time, or holds something back, is noticed by who saw more of it.

use std::path::Path;
use std::process::Command;

use crate::support::Place;

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp").success());
}

fn set_back(place: &Place, to: &str) {
    std::fs::remove_dir_all(place.path("repository")).expect("it goes");
    copy(&place.path(to), &place.path("repository"));
}

#[test]
fn a_repository_set_back_to_an_older_state_is_noticed_till_check_has_told_it() {
    let place = Place::with_snapshots(1);
    let first = place.snapshots();
    copy(&place.path("repository"), &place.path("older"));
    place.tenant.as_ref().expect("a tenant").advance_day();
    assert_eq!(place.run(&["backup", "everyone"]).code, 3);
    let newest = place.snapshots().into_iter().find(|id| !first.contains(id)).expect("a second one");
    assert!(!place.run(&["snapshots"]).err.contains("Warning"), "nothing is strange yet");
    set_back(&place, "older");
    let warning = ["Warning: Snapshot", newest.as_str(), "is gone", "set back to an older state"];
    for command in [&["snapshots"][..], &["ls", "latest"], &["snapshots"]] {
        place.run(command).fails(0, &warning);
    }
    place.run(&["backup", "everyone"]).fails(3, &warning);
    place.run(&["snapshots"]).fails(0, &warning);
    let check = place.run(&["check"]);
    assert!(check.code == 1 && check.out.contains(&newest) && check.out.contains("is gone"), "{}", check.out);
    assert_eq!(place.run(&["check"]).code, 0, "told once, it is taken as it is");
    assert!(!place.run(&["snapshots"]).err.contains("Warning"));
}

#[test]
fn a_snapshot_that_was_forgotten_and_is_back_is_noticed() {
    let place = Place::with_snapshots(2);
    let ids = place.snapshots();
    copy(&place.path("repository"), &place.path("older"));
    assert_eq!(place.run(&["forget", &ids[1]]).code, 0);
    assert!(!place.run(&["snapshots"]).err.contains("Warning"), "who forgets knows of it");
    set_back(&place, "older");
    place.run(&["snapshots"]).fails(0, &["Warning: Snapshot", &ids[1], "was forgotten by this machine and is back"]);
    assert_eq!(place.run(&["check"]).code, 1);
    assert_eq!(place.run(&["check"]).code, 0);
}

#[test]
fn who_only_backs_up_notices_that_the_last_run_is_gone() {
    let place = Place::with_snapshots(1);
    copy(&place.path("repository"), &place.path("older"));
    let done = place.run(&["backup", "everyone", "--json"]);
    let newest = done.json().last().and_then(|v| v["snapshot"].as_str().map(str::to_owned)).expect("a snapshot");
    set_back(&place, "older");
    place.run(&["backup", "everyone"]).fails(3, &["Warning: Snapshot", newest.as_str(), "is gone"]);
}
