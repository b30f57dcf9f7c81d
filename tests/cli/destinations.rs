//! Several destinations: replicas are made, written to at once, caught up, read instead, and heal what is damaged.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tenantvault::sim::SimOptions;

use crate::support::{Place, collect};

/// A tenant, a repository `local`, and a destination `cloud` of the same set that is not there yet.
fn two() -> Place {
    let place = Place::with_tenant(SimOptions::tiny());
    place.init();
    let config = place.read("tenantvault.toml");
    let config = config.replace("destination = \"local\"", "destinations = [\"local\", \"cloud\"]");
    let cloud = "[destinations.cloud]\nurl = \"cloud\"\npassword_file = \"repository.key\"\n";
    place.write("tenantvault.toml", &format!("{config}\n{cloud}"));
    place
}

/// The same, each with a snapshot.
fn two_in_use() -> Place {
    let place = two();
    let done = place.run(&["mirror", "local", "cloud"]);
    assert_eq!(done.code, 0, "{}", done.err);
    backup(&place, &[]);
    place
}

/// Backs up, a day later; gives the summary.
fn backup(place: &Place, lagging: &[&str]) -> Value {
    place.tenant.as_ref().expect("a tenant").advance_day();
    let (code, lines) = place.json(&["backup", "everyone"]);
    // The tenant has a user whose mailbox cannot be read.
    assert_eq!(code, 3);
    let summary = lines.last().expect("a summary").clone();
    let told: Vec<&str> =
        summary["lagging"].as_array().expect("a list").iter().filter_map(|l| l["destination"].as_str()).collect();
    assert_eq!(told, lagging, "{summary}");
    summary
}

fn snapshots(place: &Place, destination: &str) -> Vec<String> {
    let (code, lines) = place.json(&["snapshots", "-r", destination]);
    assert_eq!(code, 0);
    let mut ids: Vec<String> = lines.iter().filter_map(|line| Some(line.get("id")?.as_str()?.to_owned())).collect();
    ids.sort();
    ids
}

#[track_caller]
fn is_whole(place: &Place, destination: &str) {
    let done = place.run(&["check", "--read-data", "--no-cache", "-r", destination]);
    assert_eq!(done.code, 0, "{destination}: {}{}", done.out, done.err);
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    collect(folder, &mut files);
    files.sort();
    files
}

fn move_away(place: &Place, folder: &str) {
    std::fs::rename(place.path(folder), place.path("away")).expect("it moves");
}

fn bring_back(place: &Place, folder: &str) {
    std::fs::rename(place.path("away"), place.path(folder)).expect("it moves");
}

#[test]
fn a_backup_writes_to_all_destinations_and_reads_the_tenant_once() {
    let place = two_in_use();
    assert_eq!(snapshots(&place, "local").len(), 1);
    assert_eq!(snapshots(&place, "local"), snapshots(&place, "cloud"));
    let names = |folder: &str| -> Vec<_> {
        files(&place.path(folder)).iter().map(|f| f.file_name().map(ToOwned::to_owned)).collect()
    };
    for folder in ["packs", "snapshots", "sets", "runs"] {
        assert_eq!(names(&format!("repository/{folder}")), names(&format!("cloud/{folder}")), "{folder}");
    }
    is_whole(&place, "local");
    is_whole(&place, "cloud");
    let (once, both) = (Place::with_tenant(SimOptions::tiny()), two());
    once.init();
    assert_eq!(both.run(&["mirror", "local", "cloud"]).code, 0);
    let requests = |summary: &Value| summary["totals"]["requests"].as_u64();
    once.tenant.as_ref().expect("a tenant").advance_day();
    let (_, lines) = once.json(&["backup", "everyone"]);
    assert_eq!(requests(lines.last().expect("a summary")), requests(&backup(&both, &[])));
    // With -r, it is written to one alone.
    both.tenant.as_ref().expect("a tenant").advance_day();
    assert_eq!(both.run(&["backup", "everyone", "-r", "cloud"]).code, 3);
    assert_eq!((snapshots(&both, "local").len(), snapshots(&both, "cloud").len()), (1, 2));
}

#[test]
fn a_destination_that_is_away_is_told_and_caught_up_by_the_next_backup() {
    let place = two_in_use();
    for away in ["cloud", "repository"] {
        let name = if away == "cloud" { "cloud" } else { "local" };
        move_away(&place, away);
        place.tenant.as_ref().expect("a tenant").advance_day();
        let done = place.run(&["backup", "everyone"]);
        done.fails(3, &[&format!("Destination '{name}' lags behind"), "Hint:"]);
        assert!(done.out.contains("Snapshot"), "{}", done.out);
        assert!(!place.path(away).exists(), "nothing is written where it was");
        backup(&place, &[name]);
        bring_back(&place, away);
        let other = if name == "cloud" { "local" } else { "cloud" };
        assert_eq!(snapshots(&place, name).len() + 2, snapshots(&place, other).len());
        backup(&place, &[]);
        assert_eq!(snapshots(&place, "local"), snapshots(&place, "cloud"));
        is_whole(&place, "local");
        is_whole(&place, "cloud");
    }
    assert_eq!(snapshots(&place, "local").len(), 7);
}

#[test]
fn what_is_no_replica_is_refused_or_told_with_how_to_make_one() {
    let place = two();
    place.tenant.as_ref().expect("a tenant").advance_day();
    let done = place.run(&["backup", "everyone"]);
    done.fails(3, &["Destination 'cloud' lags behind", "There is no repository", "tenantvault mirror local cloud"]);
    let init = ["init", "-r", "cloud", "--generate-key", "--key-file", "other.key"];
    assert_eq!(place.run(&init).code, 0);
    let before = files(&place.path("cloud"));
    place.run(&["backup", "everyone"]).fails(2, &["'cloud'", "another repository", "mirror"]);
    place.run(&["mirror", "local", "cloud"]).fails(2, &["another repository", "empty place"]);
    place.run(&["mirror", "local", "repository"]).fails(2, &["the same"]);
    place.run(&["mirror", "nowhere", "cloud"]).fails(10, &["There is no repository"]);
    place.run(&["mirror", "local", "cloud", "-r", "local"]).fails(2, &["mirror FROM TO"]);
    assert_eq!(files(&place.path("cloud")), before);
    // Without a key a replica can be made.
    assert_eq!(place.run(&["mirror", "repository", "copy", "--without-key"]).code, 0);
    let done = place.run(&["check", "--read-data", "-r", "copy", "-p", "repository.key"]);
    assert!(done.code == 0 && done.out.contains("1 snapshot"), "{}{}", done.out, done.err);
    // A dry run makes nothing.
    let done = place.run(&["mirror", "local", "replica", "--dry-run"]);
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.out.contains("Would copy") && !place.path("replica").exists(), "{}", done.out);
}

#[test]
fn reading_falls_over_to_a_replica_and_says_so() {
    let place = two_in_use();
    let export = |to: &str| place.run(&["export", "--no-cache", "latest", to]);
    assert_eq!(export("before").code, 3);
    for pack in place.stored("packs") {
        let mut bytes = std::fs::read(&pack).expect("it reads");
        let middle = bytes.len() / 3;
        bytes[38..middle].fill(0);
        std::fs::write(&pack, bytes).expect("it writes");
    }
    let one = place.stored("snapshots").remove(0);
    std::fs::write(one, "damaged").expect("it writes");
    let done = export("after");
    done.fails(3, &["Warning: Snapshot", "Warning: Blob", "It was read from 'cloud' instead"]);
    let contents = |folder: &str| -> Vec<_> {
        let files = files(&place.path(folder));
        files
            .iter()
            .map(|f| {
                (f.strip_prefix(place.path(folder)).expect("below").to_owned(), std::fs::read(f).expect("it reads"))
            })
            .collect()
    };
    assert!(contents("before") == contents("after"));
    // With no index file at all; and with nothing.
    for index in place.stored("index") {
        std::fs::remove_file(index).expect("it goes");
    }
    assert_eq!(export("without").code, 3);
    assert!(contents("before") == contents("without"));
    move_away(&place, "repository");
    export("alone").fails(3, &["'cloud' is read instead"]);
    assert!(contents("before") == contents("alone"));
    // Who checks wants to know of this one.
    bring_back(&place, "repository");
    assert_eq!(place.run(&["check", "--no-cache", "--read-data", "-r", "local"]).code, 1);
}

#[test]
fn repair_brings_back_from_a_replica_whatever_is_damaged_or_lost() {
    let place = two_in_use();
    backup(&place, &[]);
    let packs = place.stored("packs");
    for (n, pack) in packs.iter().enumerate() {
        let mut bytes = std::fs::read(pack).expect("it reads");
        match n % 3 {
            0 => std::fs::remove_file(pack).expect("it goes"),
            1 => {
                bytes[40] ^= 1;
                std::fs::write(pack, bytes).expect("it writes");
            }
            _ => {}
        }
    }
    for folder in ["index", "snapshots", "runs"] {
        std::fs::write(place.stored(folder).remove(0), "damaged").expect("it writes");
    }
    let repair = |arguments: &[&str]| {
        let all = [&["repair", "packs", "-r", "local", "--from", "cloud", "--no-cache"][..], arguments].concat();
        place.json(&all)
    };
    assert_eq!(place.run(&["check", "--no-cache", "--read-data", "-r", "local"]).code, 1);
    let (code, lines) = repair(&["--read-data"]);
    assert_eq!(code, 0, "{lines:?}");
    assert_eq!(lines.last().expect("a summary")["files"], 3);
    is_whole(&place, "local");
    assert_eq!(snapshots(&place, "local"), snapshots(&place, "cloud"));
    // What the replica lost too is told; the rest comes back.
    let pack = place.stored("packs").remove(0);
    let name = pack.file_name().expect("a name");
    std::fs::remove_file(&pack).expect("it goes");
    let copy =
        files(&place.path("cloud/packs")).into_iter().find(|f| f.file_name() == Some(name)).expect("it is there");
    std::fs::remove_file(copy).expect("it goes");
    let (code, lines) = repair(&[]);
    assert_eq!(code, 3);
    assert!(lines.last().expect("a summary")["lost_blobs"].as_u64() > Some(0), "{lines:?}");
    place.run(&["repair", "packs", "-r", "local", "--from", "local"]).fails(2, &["no replica of itself"]);
}

#[test]
fn what_was_forgotten_goes_at_the_replica_when_that_is_said() {
    let place = two_in_use();
    backup(&place, &[]);
    backup(&place, &[]);
    assert_eq!(place.run(&["forget", "-r", "local", "--keep-last", "1", "--prune", "--grace", "0"]).code, 0);
    assert_eq!((snapshots(&place, "local").len(), snapshots(&place, "cloud").len()), (1, 3));
    // A backup neither brings back what one destination forgot nor takes it from the others.
    backup(&place, &[]);
    assert_eq!((snapshots(&place, "local").len(), snapshots(&place, "cloud").len()), (2, 4));
    let (code, lines) = place.json(&["mirror", "local", "cloud"]);
    assert_eq!((code, lines.last().expect("a summary")["snapshots_kept"].as_u64()), (0, Some(2)));
    is_whole(&place, "cloud");
    // A source that lost all its snapshots takes none with it.
    move_away(&place, "repository/snapshots");
    let (code, lines) = place.json(&["mirror", "local", "cloud", "--delete"]);
    assert_eq!((code, lines.last().expect("a summary")["snapshots_deleted"].as_u64()), (0, Some(0)));
    bring_back(&place, "repository/snapshots");
    let (code, lines) = place.json(&["mirror", "local", "cloud", "--delete"]);
    assert_eq!((code, lines.last().expect("a summary")["snapshots_deleted"].as_u64()), (0, Some(2)));
    assert_eq!(snapshots(&place, "local"), snapshots(&place, "cloud"));
    assert_eq!(place.run(&["prune", "-r", "cloud", "--grace", "0"]).code, 0);
    is_whole(&place, "local");
    is_whole(&place, "cloud");
    backup(&place, &[]);
    is_whole(&place, "cloud");
}

#[test]
fn a_mirror_that_is_killed_leaves_a_whole_replica_and_the_next_one_goes_on() {
    let place = two();
    place.tenant.as_ref().expect("a tenant").advance_day();
    assert_eq!(place.run(&["backup", "everyone", "-r", "local"]).code, 3);
    let mirror = ["mirror", "local", "cloud"];
    let (mut killed, mut more) = (0, 0);
    for _ in 0..200 {
        if killed == 8 {
            break;
        }
        let before = files(&place.path("cloud")).len();
        let mut child = place.process(&mirror).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        let finished = loop {
            if child.try_wait().expect("it can be asked").is_some() {
                break true;
            }
            if files(&place.path("cloud")).len() > before + more {
                child.kill().expect("it can be killed");
                break false;
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        child.wait().expect("it ends");
        if place.path("cloud/config").exists() {
            is_whole(&place, "cloud");
        }
        if finished {
            // It was faster than this: once more, from nothing.
            std::fs::remove_dir_all(place.path("cloud")).expect("it goes");
            more = 0;
        } else {
            (killed, more) = (killed + 1, more + 1);
        }
    }
    assert_eq!(killed, 8);
    let done = place.run(&mirror);
    assert_eq!(done.code, 0, "{}", done.err);
    assert_eq!(snapshots(&place, "local"), snapshots(&place, "cloud"));
    is_whole(&place, "cloud");
}

#[test]
fn mirrors_beside_backups_and_prunes_on_both_sides_lose_nothing() {
    let place = two_in_use();
    let start = |arguments: &[&str]| {
        place.process(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts")
    };
    for round in 0..2 {
        place.tenant.as_ref().expect("a tenant").advance_day();
        let mut running = [start(&["backup", "everyone", "-r", "local"]), start(&["backup", "everyone"])];
        while running.iter_mut().any(|child| child.try_wait().expect("it can be asked").is_none()) {
            let mut prunes = [start(&["prune", "-r", "local"]), start(&["prune", "-r", "cloud"])];
            let done = place.run(&["mirror", "local", "cloud"]);
            assert_eq!(done.code, 0, "round {round}: {}{}", done.out, done.err);
            for prune in &mut prunes {
                assert!(prune.wait().expect("it ends").success());
            }
        }
        for mut child in running {
            assert_eq!(child.wait().expect("it ends").code(), Some(3), "round {round}");
        }
        assert_eq!(place.run(&["forget", "-r", "local", "--keep-last", "2"]).code, 0);
    }
    assert_eq!(place.run(&["mirror", "local", "cloud"]).code, 0);
    is_whole(&place, "local");
    is_whole(&place, "cloud");
    assert_eq!(snapshots(&place, "cloud").len(), 5);
}

#[test]
fn a_machine_without_ssh_is_told_what_to_install() {
    let place = Place::empty();
    let mut process = place.process(&["snapshots", "-r", "sftp://me@127.0.0.1:1/backup"]);
    let ended = process.env("PATH", place.path("nothing")).env("TENANTVAULT_PASSWORD", "x").output().expect("it runs");
    let told = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{told}");
    for word in ["the program ssh is not there", "openssh-client"] {
        assert!(told.contains(word), "{told}");
    }
}
