//! Killed at any moment, and several at once: what was stored before still reads, and the next run works.
#![cfg(unix)]

use std::process::Stdio;
use std::time::{Duration, Instant};

use tenantvault::sim::SimOptions;

use crate::support::Place;

/// How many files a repository has, finished or not.
fn files(place: &Place) -> usize {
    place.stored("").len()
}

/// Starts a command and kills it once the repository has so many files more, or after a while; says whether it was killed.
fn kill_at(place: &Place, arguments: &[&str], more: usize, at_the_latest: Duration) -> bool {
    let (before, began) = (files(place), Instant::now());
    let mut child = place.process(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    loop {
        if child.try_wait().expect("it can be asked").is_some() {
            return false;
        }
        if files(place) >= before + more || began.elapsed() >= at_the_latest {
            child.kill().expect("it can be killed");
            child.wait().expect("it ends");
            return true;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_backup_killed_at_any_moment_harms_nothing() {
    let place = Place::with_snapshots(1);
    let tenant = place.tenant.as_ref().expect("a tenant");
    let first = place.snapshots()[0].clone();
    let before = place.run(&["ls", "-R", &first]).out;
    let mut killed = 0;
    for round in 0..10usize {
        tenant.advance_day();
        // At files, and between them: after so many milliseconds.
        let latest = Duration::from_millis(if round % 2 == 0 { 5000 } else { 60 * round as u64 });
        killed += usize::from(kill_at(&place, &["backup", "everyone"], 1 + round / 2, latest));
        let done = place.run(&["check", "--read-data"]);
        assert_eq!(done.code, 0, "round {round}: {}{}", done.out, done.err);
        if round == 5 {
            // Prune deletes what the killed runs left, and may itself be killed.
            kill_at(&place, &["prune", "--grace", "0", "--max-unused", "0"], 1, Duration::from_millis(100));
            let done = place.run(&["check", "--read-data"]);
            assert_eq!(done.code, 0, "{}{}", done.out, done.err);
        }
    }
    assert!(killed > 1, "only {killed} of the runs were alive when they were to be killed");
    assert_eq!(place.run(&["backup", "everyone"]).code, 3);
    assert_eq!(place.run(&["check", "--read-data"]).code, 0);
    assert_eq!(place.run(&["ls", "-R", &first]).out, before);
}

#[test]
fn an_init_that_was_killed_can_be_done_again() {
    let place = Place::with_tenant(SimOptions::tiny());
    for more in 1..4 {
        drop(std::fs::remove_dir_all(place.path("repository")));
        drop(std::fs::remove_file(place.path("repository.key")));
        let init = ["init", "--generate-key", "--key-file", "repository.key"];
        kill_at(&place, &init, more, Duration::from_secs(5));
        match place.run(&["snapshots"]).code {
            0 => {}
            10 => {
                // A key file that opens nothing is in the way, and is told.
                if place.path("repository.key").exists() {
                    place.run(&init).fails(1, &["repository.key"]);
                    std::fs::remove_file(place.path("repository.key")).expect("it goes");
                }
                place.init();
            }
            code => panic!("after {more} files: {code}"),
        }
        assert_eq!(place.run(&["snapshots"]).code, 0);
    }
}

#[test]
fn two_backups_and_a_prune_at_once_lose_nothing() {
    let place = Place::with_snapshots(1);
    place.tenant.as_ref().expect("a tenant").advance_day();
    let start = || {
        place.process(&["backup", "everyone"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts")
    };
    let mut both = [start(), start()];
    while both.iter_mut().any(|child| child.try_wait().expect("it can be asked").is_none()) {
        let done = place.run(&["prune"]);
        assert_eq!(done.code, 0, "{}", done.err);
    }
    for child in &mut both {
        assert_eq!(child.wait().expect("it ends").code(), Some(3));
    }
    assert_eq!(place.snapshots().len(), 3);
    assert_eq!(place.run(&["check", "--read-data"]).code, 0);
    for id in place.snapshots() {
        assert_eq!(place.run(&["export", &id, &format!("out/{id}")]).code, 3);
    }
}
