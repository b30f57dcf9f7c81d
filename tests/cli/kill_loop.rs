//! The program killed with SIGKILL again and again, in the middle of whatever it does: each time, what was reported done
//! is there byte for byte, check is clean, and work goes on.
#![cfg(unix)]

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tenantvault::crypto::Passphrase;
use tenantvault::monitor::Silent;
use tenantvault::ops::check;
use tenantvault::repo::{ReadData, Repository};
use tenantvault::storage::{StorageOptions, open};

use crate::support::{Place, collect, runtime};

const KEPT: usize = 3;
/// What is done, how often, and with which exit code when nobody kills it.
const WORK: [(&str, u64, i32); 6] = [
    ("backup everyone", 4, 3),
    ("forget --keep-last 3 --prune --grace 0 --max-unused 0", 3, 0),
    ("prune --grace 0 --max-unused 0", 2, 0),
    ("check --read-data", 1, 0),
    ("key add --write-only --generate-key --label new", 1, 0),
    ("key remove", 1, 0),
];

struct KillLoop {
    place: Place,
    seed: u64,
    rolls: u64,
    /// Each snapshot that was seen, with the hash of all that it gives.
    truth: BTreeMap<String, blake3::Hash>,
    /// How long each kind of work takes undisturbed.
    takes: [Duration; WORK.len()],
    killed: [usize; WORK.len()],
    done: [usize; WORK.len()],
}

impl KillLoop {
    fn new(seed: u64) -> Self {
        let place = Place::with_snapshots(2);
        let takes = [Duration::ZERO; WORK.len()];
        let (killed, done) = Default::default();
        let mut new = Self { place, seed, rolls: 0, truth: BTreeMap::new(), takes, killed, done };
        for id in new.place.snapshots() {
            let hash = new.give(&id);
            new.truth.insert(id, hash);
        }
        new
    }

    fn roll(&mut self, below: u64) -> u64 {
        self.rolls += 1;
        let hash = blake3::hash(&[self.seed.to_le_bytes(), self.rolls.to_le_bytes()].concat());
        u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("8 bytes")) % below
    }

    /// All that a snapshot gives: names and bytes of its export.
    fn give(&self, id: &str) -> blake3::Hash {
        let done = self.place.run(&["export", id, "given"]);
        assert_eq!(done.code, 3, "seed {}: {}", self.seed, done.err);
        hash_of(&self.place, "given")
    }

    fn arguments(&mut self, work: usize) -> Vec<String> {
        let mut arguments: Vec<String> = WORK[work].0.split(' ').map(str::to_owned).collect();
        match arguments[..] {
            [ref key, ref add, ..] if key == "key" && add == "add" => {
                arguments.extend(["--key-file".to_owned(), format!("new-{}.key", self.rolls)]);
            }
            [ref key, _] if key == "key" => arguments.push(self.removable().unwrap_or_else(|| "none".to_owned())),
            _ => {}
        }
        arguments
    }

    /// A key that may go.
    fn removable(&self) -> Option<String> {
        let (code, lines) = self.place.json(&["key", "list"]);
        assert_eq!(code, 0);
        let new = lines.iter().find(|line| line["label"] == "new")?;
        Some(new["id"].as_str()?.to_owned())
    }

    /// One round: some work, killed at some moment of it or not.
    fn round(&mut self) {
        let mut which = self.roll(WORK.iter().map(|work| work.1).sum());
        let work = WORK.iter().position(|work| {
            let here = which < work.1;
            which = which.saturating_sub(if here { 0 } else { work.1 });
            here
        });
        let mut work = work.expect("one of them");
        if WORK[work].0 == "key remove" && self.removable().is_none() {
            work = 0;
        }
        if self.roll(2) == 0 {
            self.place.tenant.as_ref().expect("a tenant").advance_day();
        }
        let arguments = self.arguments(work);
        let mut command = self.place.process(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        let began = Instant::now();
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        // The first of each kind ends by itself, to see how long it takes, and later one of eight.
        let share = self.roll(1000) as u32;
        let takes = self.takes[work];
        let limit = if takes.is_zero() || self.roll(8) == 0 { Duration::MAX } else { takes * share / 900 };
        let code = loop {
            if let Some(status) = child.try_wait().expect("it can be asked") {
                self.takes[work] = if takes.is_zero() { began.elapsed() } else { (takes * 3 + began.elapsed()) / 4 };
                break status.code();
            }
            if began.elapsed() >= limit {
                child.kill().expect("it can be killed");
                break child.wait().expect("it ends").code();
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        match code {
            None => self.killed[work] += 1,
            Some(code) => {
                assert_eq!(code, WORK[work].2, "seed {}: {arguments:?}", self.seed);
                self.done[work] += 1;
            }
        }
        self.look(work, code.is_some(), &arguments);
    }

    /// What must hold after each round.
    fn look(&mut self, work: usize, done: bool, arguments: &[String]) {
        let context = format!("seed {}, after {arguments:?} ({})", self.seed, if done { "done" } else { "killed" });
        let there = self.place.snapshots();
        let forgets = WORK[work].0.starts_with("forget");
        let gone: Vec<String> = self.truth.keys().filter(|id| !there.contains(id)).cloned().collect();
        assert!(forgets || gone.is_empty(), "{context}: {gone:?} are gone");
        assert!(there.len() >= KEPT.min(self.truth.len()), "{context}: too many are gone");
        assert!(!(forgets && done) || there.len() <= KEPT, "{context}: {there:?} are left");
        self.truth.retain(|id, _| !gone.contains(id));
        let new: Vec<&String> = there.iter().filter(|id| !self.truth.contains_key(*id)).collect();
        let is_backup = WORK[work].0.starts_with("backup");
        assert!(new.len() <= usize::from(is_backup), "{context}: {new:?} came from nowhere");
        assert!(!(is_backup && done) || new.len() == 1, "{context}: the snapshot is not there");
        for id in new {
            let hash = self.give(id);
            self.truth.insert(id.clone(), hash);
        }
        let report = self.check();
        assert!(!report.has_errors(), "{context}: {report:?}");
    }

    fn check(&self) -> check::CheckReport {
        let url = format!("fs:{}", self.place.path("repository").display());
        let passphrase = Passphrase::new(self.place.read("repository.key").trim()).expect("a passphrase");
        runtime().block_on(async {
            let storage = open(&url, &StorageOptions::default()).expect("a storage");
            let repo = Repository::open(storage, &passphrase, None).await.expect("it opens");
            check::check(&repo, ReadData::All, &Silent).await.expect("it reads")
        })
    }

    fn compare_all(&self) {
        for (id, hash) in &self.truth {
            assert_eq!(self.give(id), *hash, "seed {}: {id} gives something else", self.seed);
        }
    }

    fn end(&self) {
        assert_eq!(self.place.run(&["backup", "everyone"]).code, 3);
        self.compare_all();
        let pruned = self.place.run(&["prune", "--grace", "0", "--max-unused", "0"]);
        assert_eq!(pruned.code, 0, "{}", pruned.err);
        let report = self.check();
        assert!(report.findings.is_empty() && report.items_touched == 0, "seed {}: {report:?}", self.seed);
        self.compare_all();
    }
}

/// Names and bytes of all files below a folder, which is removed.
pub fn hash_of(place: &Place, folder: &str) -> blake3::Hash {
    let root = place.path(folder);
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    assert!(!files.is_empty());
    let mut hasher = blake3::Hasher::new();
    for file in files {
        let name = file.strip_prefix(&root).expect("below").to_string_lossy().into_owned();
        let bytes = std::fs::read(&file).expect("it reads");
        hasher.update(name.as_bytes()).update(&[0]).update(&(bytes.len() as u64).to_le_bytes()).update(&bytes);
    }
    std::fs::remove_dir_all(&root).expect("it goes");
    hasher.finalize()
}

fn run(seed: u64, rounds: usize) {
    let mut kills = KillLoop::new(seed);
    for round in 1..=rounds {
        kills.round();
        if round % 20 == 0 {
            kills.compare_all();
            println!("round {round}: killed {:?}, done {:?}, takes {:?}", kills.killed, kills.done, kills.takes);
        }
    }
    kills.end();
    let killed: usize = kills.killed.iter().sum();
    println!(
        "seed {seed}: {rounds} rounds, {killed} killed {:?}, {:?} done {:?}",
        kills.killed,
        WORK.map(|w| w.0),
        kills.done
    );
    assert!(killed * 4 >= rounds, "only {killed} of {rounds} were killed");
}

#[test]
fn killed_dozens_of_times_it_loses_nothing() {
    run(1, 30);
}

/// `ROUNDS=3000 cargo test --release --test cli killed_thousands -- --ignored --nocapture`, `SEED=2` for others.
#[test]
#[ignore = "long; see docs/testing.md"]
fn killed_thousands_of_times_it_loses_nothing() {
    let number = |name: &str, usual: u64| std::env::var(name).map_or(usual, |text| text.parse().expect("a number"));
    run(number("SEED", 1), number("ROUNDS", 1000) as usize);
}
