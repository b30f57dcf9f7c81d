//! Several processes at once on one repository: backups, forget, two prunes, check and export, till packs were deleted.
#![cfg(unix)]

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use tenantvault::sim::{Script, SimOptions};

use crate::kill_loop::hash_of;
use crate::support::{Done, Place};

/// Longer than a backup of this tenant takes on a busy machine.
const GRACE: &str = "5s";

struct World {
    place: Place,
    saved: AtomicUsize,
    outlasted: AtomicUsize,
    deleted: AtomicUsize,
    marked: AtomicUsize,
    exported: AtomicUsize,
    checked: AtomicUsize,
    over: AtomicBool,
    /// What each snapshot gave when it was exported first.
    truth: Mutex<BTreeMap<String, blake3::Hash>>,
}

impl World {
    fn go_on(&self) -> bool {
        !self.over.load(SeqCst)
    }

    fn run(&self, arguments: &[&str]) -> Done {
        let done = self.place.run(arguments);
        assert!(!done.err.contains("panicked"), "{}", done.err);
        done
    }

    fn back_up(&self) {
        while self.go_on() {
            let done = self.run(&["backup", "everyone"]);
            match done.code {
                3 => {
                    self.saved.fetch_add(1, SeqCst);
                    // By the backup, and not by a clock: a tenant that grows while a slow run reads it makes it slower still.
                    self.place.tenant.as_ref().expect("a tenant").advance_day();
                }
                // Told, and nothing was saved: the machine was so busy that the run outlasted the grace period.
                _ if done.err.contains("give prune a longer --grace") => drop(self.outlasted.fetch_add(1, SeqCst)),
                _ => panic!("backup: {} {}", done.code, done.err),
            }
            let enough =
                self.saved.load(SeqCst) >= 6 && self.deleted.load(SeqCst) > 0 && self.exported.load(SeqCst) > 1;
            if enough || self.saved.load(SeqCst) > 200 {
                self.over.store(true, SeqCst);
            }
        }
    }

    fn forget(&self) {
        while self.go_on() {
            let done = self.run(&["forget", "--keep-last", "2"]);
            assert_eq!(done.code, 0, "forget: {}", done.err);
        }
    }

    fn prune(&self) {
        while self.go_on() {
            let (code, lines) = self.place.json(&["prune", "--grace", GRACE, "--max-unused", "0"]);
            // Told, and nothing was deleted: the other prune took what this one was about to copy.
            if code != 0 && format!("{lines:?}").contains("went away while prune was at work") {
                continue;
            }
            assert_eq!(code, 0, "prune: {lines:?}");
            let count = |name: &str| lines.iter().filter_map(|line| line[name].as_u64()).sum::<u64>() as usize;
            self.deleted.fetch_add(count("deleted_packs"), SeqCst);
            self.marked.fetch_add(count("marked_packs"), SeqCst);
        }
    }

    fn check(&self) {
        while self.go_on() {
            let done = self.run(&["check"]);
            assert_eq!(done.code, 0, "check: {}{}", done.out, done.err);
            self.checked.fetch_add(1, SeqCst);
        }
    }

    fn export(&self) {
        while self.go_on() {
            let Some(id) = self.place.snapshots().pop() else { continue };
            let done = self.run(&["export", &id, "given"]);
            if done.code == 3 {
                let hash = hash_of(&self.place, "given");
                let first = *self.truth.lock().expect("a lock").entry(id.clone()).or_insert(hash);
                assert_eq!(hash, first, "{id} gives something else");
                self.exported.fetch_add(1, SeqCst);
                continue;
            }
            assert!(!self.place.snapshots().contains(&id), "export of {id}: {} {}", done.code, done.err);
            drop(std::fs::remove_dir_all(self.place.path("given")));
        }
    }

    /// Ends the others too when one of them fails.
    fn guarded(&self, work: fn(&Self)) {
        struct Over<'a>(&'a AtomicBool);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.store(true, SeqCst);
            }
        }
        let _over = Over(&self.over);
        work(self);
    }
}

#[test]
fn processes_at_once_lose_nothing() {
    // Nobody leaves while a run reads: that is another matter. Days pass in seconds here, and what grows by the day in
    // sites would soon want more than a minute's requests.
    let script = Script { staff: false, others: 0, ..Script::default() };
    let place = Place::with_tenant(SimOptions { script, sites: 0, list_items: 2, ..SimOptions::tiny() });
    place.init();
    let world = World {
        place,
        saved: AtomicUsize::new(0),
        outlasted: AtomicUsize::new(0),
        deleted: AtomicUsize::new(0),
        marked: AtomicUsize::new(0),
        exported: AtomicUsize::new(0),
        checked: AtomicUsize::new(0),
        over: AtomicBool::new(false),
        truth: Mutex::default(),
    };
    std::thread::scope(|scope| {
        for work in
            [World::back_up, World::back_up, World::forget, World::prune, World::prune, World::check, World::export]
        {
            let world = &world;
            scope.spawn(move || world.guarded(work));
        }
    });
    let count = |n: &AtomicUsize| n.load(SeqCst);
    println!(
        "{} saved, {} outlasted the grace period, {} marked, {} deleted, {} checks, {} exports",
        count(&world.saved),
        count(&world.outlasted),
        count(&world.marked),
        count(&world.deleted),
        count(&world.checked),
        count(&world.exported),
    );
    assert!(count(&world.saved) >= 6 && count(&world.deleted) > 0 && count(&world.marked) > 0);
    let done = world.run(&["check", "--read-data"]);
    assert_eq!(done.code, 0, "{}{}", done.out, done.err);
    for id in world.place.snapshots() {
        let done = world.run(&["export", &id, "given"]);
        assert_eq!(done.code, 3, "{}", done.err);
        let hash = hash_of(&world.place, "given");
        assert!(world.truth.lock().expect("a lock").get(&id).is_none_or(|first| *first == hash), "{id}");
    }
}
