//! Disks that are full, read-only or gone. Most need a file system of their own, which only root can mount: without
//! it they say so and are skipped (`tests/repo/faults.rs` does the same with a storage that fails on demand).
#![cfg(target_os = "linux")]

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tenantvault::sim::SimOptions;

use crate::restore_cut::{INBOX, Planned, place, seen, settle};
use crate::support::{Place, collect};

/// A file system in memory, in a folder of a place.
pub struct Disk(PathBuf);

impl Disk {
    /// Mounts it; nothing where that is not allowed.
    pub fn mount(place: &Place, name: &str, size: &str) -> Option<Self> {
        let folder = place.path(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        let options = format!("size={size},mode=700");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&folder).stderr(Stdio::null());
        if mount.status().is_ok_and(|status| status.success()) {
            return Some(Self(folder));
        }
        println!("skipped: nothing can be mounted here; run as root");
        None
    }

    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        assert!(Command::new("mount").args(["-o", &options]).arg(&self.0).status().expect("mount runs").success());
    }

    /// Takes all space that is left.
    pub fn fill(&self) {
        let mut file = std::fs::File::create(self.0.join("filler")).expect("a file");
        let e = std::io::copy(&mut std::io::repeat(0), &mut file).expect_err("it has an end");
        assert_eq!(e.kind(), std::io::ErrorKind::StorageFull);
    }

    /// Gives back so many bytes of what [`Self::fill`] took: whole pages.
    pub fn leave(&self, bytes: u64) {
        let filler = std::fs::File::options().write(true).open(self.0.join("filler")).expect("it opens");
        let length = filler.metadata().expect("it is there").len();
        filler.set_len(length - bytes).expect("it shrinks");
    }

    pub fn make_room(&self) {
        std::fs::remove_file(self.0.join("filler")).expect("it goes");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).stderr(Stdio::null()).status();
    }
}

/// A place whose repository lies on a disk of its own.
fn place_on_a_disk(size: &str) -> Option<(Place, Disk)> {
    let place = Place::with_tenant(SimOptions::tiny());
    let config = place.read("tenantvault.toml").replace("url = \"repository\"", "url = \"disk/repository\"");
    place.write("tenantvault.toml", &config);
    let disk = Disk::mount(&place, "disk", size)?;
    Some((place, disk))
}

#[test]
fn a_full_disk_is_told_and_once_there_is_room_work_goes_on() {
    let Some((place, disk)) = place_on_a_disk("100m") else { return };
    let full = ["disk/repository: no space left", "Hint: Free or add space"];
    disk.fill();
    place.run(&["init", "--generate-key", "--key-file", "repository.key"]).fails(1, &full);
    assert!(!place.path("repository.key").exists(), "a key that opens nothing was left behind");
    disk.make_room();
    place.init();
    disk.fill();
    place.run(&["backup", "everyone"]).fails(1, &full);
    assert_eq!(place.run(&["check"]).code, 0);
    disk.make_room();
    assert_eq!(place.run(&["backup", "everyone"]).code, 3);
    let first = place.run(&["ls", "-R", "latest"]).out;
    place.tenant.as_ref().expect("a tenant").advance_day();
    disk.fill();
    place.run(&["backup", "everyone"]).fails(1, &full);
    assert_eq!(place.run(&["ls", "-R", "latest"]).out, first, "what was there before still reads");
    disk.make_room();
    assert_eq!(place.run(&["backup", "everyone"]).code, 3);
    assert_eq!(place.run(&["check", "--read-data"]).code, 0);
    assert_eq!(place.snapshots().len(), 2);
}

#[test]
fn a_store_that_refuses_writes_is_told_and_still_reads() {
    let Some((place, disk)) = place_on_a_disk("100m") else { return };
    place.init();
    assert_eq!(place.run(&["backup", "everyone"]).code, 3);
    disk.remount("ro");
    let refused = ["disk/repository: not allowed", "Hint: Check whom the folder belongs to"];
    place.tenant.as_ref().expect("a tenant").advance_day();
    place.run(&["backup", "everyone"]).fails(1, &refused);
    place.run(&["repair", "index"]).fails(1, &refused);
    place.run(&["forget", "latest"]).fails(1, &["disk/repository: not allowed", "Hint: "]);
    assert_eq!(place.run(&["check", "--read-data"]).code, 0);
    assert_eq!(place.run(&["ls", "-R", "latest"]).code, 0);
    disk.remount("rw");
    assert_eq!(place.run(&["backup", "everyone"]).code, 3);
}

#[test]
fn an_export_onto_a_full_disk_names_the_file_and_goes_on_later() {
    let place = Place::with_snapshots(1);
    let Some(disk) = Disk::mount(&place, "target", "64k") else { return };
    place.run(&["export", "latest", "target/out"]).fails(1, &["target/out/", "cannot be written", "Hint: "]);
    let mut files = Vec::new();
    collect(&disk.0, &mut files);
    assert!(files.iter().all(|file| file.extension().is_none_or(|e| e != "part")), "{files:?}");
    disk.remount("size=100m");
    assert!([0, 3].contains(&place.run(&["export", "latest", "target/out"]).code));
}

#[test]
fn an_archive_onto_a_full_disk_is_taken_away_again() {
    let place = Place::with_snapshots(1);
    let Some(disk) = Disk::mount(&place, "target", "64k") else { return };
    for (option, name) in [("--zip", "target/all.zip"), ("--tar", "target/all.tar")] {
        place.run(&["export", "latest", option, name]).fails(1, &[name, "cannot be written", "Hint: make room"]);
        assert_eq!(std::fs::read_dir(&disk.0).expect("it lists").count(), 0, "something was left behind");
    }
    disk.remount("size=100m");
    assert!([0, 3].contains(&place.run(&["export", "latest", "--zip", "target/all.zip"]).code));
}

#[test]
fn a_store_that_vanishes_during_a_backup_is_told_and_not_made_again() {
    let options = SimOptions { latency: Duration::from_millis(20), messages: 200, ..SimOptions::tiny() };
    let place = Place::with_tenant(options);
    place.init();
    let mut backup = place.process(&["backup", "everyone", "--json"]);
    let mut child = backup.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let (here, away) = (place.path("repository"), place.path("away"));
    // Once items come, the run is in the middle.
    let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
    let busy = |line: &str| serde_json::from_str::<Value>(line).is_ok_and(|l| l["items"].as_u64() > Some(0));
    assert!(lines.any(|line| busy(&line.expect("a line"))), "it ended before it began");
    std::fs::rename(&here, &away).expect("it moves");
    lines.for_each(drop);
    let output = child.wait_with_output().expect("it ends");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("moved, removed or unmounted") && errors.contains("Bring it back"), "{errors}");
    assert!(!here.exists(), "it was made again");
    std::fs::rename(&away, &here).expect("it moves");
    assert_eq!(place.run(&["backup", "everyone"]).code, 3);
    assert_eq!(place.run(&["check", "--read-data"]).code, 0);
}

#[test]
fn a_restore_whose_plan_or_journal_finds_no_room_is_told_and_goes_on_later_making_nothing_twice() {
    let place = place();
    let Some(disk) = Disk::mount(&place, ".local/share/tenantvault/restores", "4m") else { return };
    let before = seen(&place);
    disk.fill();
    let none = ["plan.json cannot be written", "No space left"];
    place.run(&["restore", INBOX, "--to", "original", "--folder", "None"]).fails(1, &none);
    assert_eq!(seen(&place), before, "without its plan nothing is made");
    disk.make_room();
    let planned = Planned::new(place);
    disk.fill();
    // Room for some steps, and for a part of an entry.
    disk.leave(8 << 10);
    let on = format!("Go on with: tenantvault restore run {}", planned.run);
    let full = ["journal.jsonl cannot be written", "No space left", &on];
    planned.place.run(&["restore", "run", &planned.run]).fails(1, &full);
    settle(planned.tenant());
    let made = planned.made("");
    assert!(made > 0 && made < planned.create, "{made} of {}", planned.create);
    // Whoever tries all the same leaves no more in doubt than the journal says.
    planned.place.run(&["restore", "run", &planned.run]).fails(1, &full);
    settle(planned.tenant());
    disk.make_room();
    planned.goes_on();
    planned.goes_back();
    // Before the folder that it lies in.
    drop(disk);
}
