//! Writers, a forgetter, two prunes, a checker and readers, all at once on one storage, at random, against a plain map of
//! what each snapshot must give. The prunes' grace is short and the clock is ours, so that packs are marked, rescued,
//! copied and deleted under everybody's feet; that this was so is asserted.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tenantvault::monitor::Silent;
use tenantvault::repo::{Clock, DocumentKind, DocumentName, PruneOptions, ReadData, Repository};
use tenantvault::storage::Storage;
use tenantvault::storage::fault::{Call, Fault, FaultPlan, FaultStorage, Which};

use crate::support::*;

const GRACE: i64 = HOUR;
const WRITERS: usize = 3;
/// What must have happened before the test may end, and after how many runs it must have.
const LEAST_RUNS: usize = 60;
const MOST_RUNS: usize = 1500;

/// How often each road was taken.
#[derive(Debug, Default)]
struct Roads {
    saved: AtomicUsize,
    forgotten: AtomicUsize,
    rescued: AtomicUsize,
    told: AtomicUsize,
    marked: AtomicUsize,
    /// Marked packs of which something was used after all.
    used_again: AtomicUsize,
    repacked: AtomicUsize,
    deleted: AtomicUsize,
    pruned: AtomicUsize,
    /// Prunes that another was beside.
    overlapped: AtomicUsize,
    /// Prunes that stopped since another took what they were about to copy.
    beaten: AtomicUsize,
    checked: AtomicUsize,
    read: AtomicUsize,
}

impl Roads {
    fn all_taken(&self) -> bool {
        let roads = [&self.rescued, &self.used_again, &self.repacked, &self.deleted, &self.overlapped];
        let roads = roads.into_iter().chain([&self.forgotten, &self.checked, &self.read]);
        self.saved.load(SeqCst) >= LEAST_RUNS && roads.into_iter().all(|road| road.load(SeqCst) >= 3)
    }
}

/// What everybody shares.
struct World {
    seed: u64,
    storage: Arc<dyn Storage>,
    clock: AtomicI64,
    /// When each writer that is at work began.
    began: [AtomicI64; WRITERS],
    /// What each snapshot must give.
    truth: Mutex<BTreeMap<DocumentName, Vec<u64>>>,
    roads: Roads,
    /// How many prunes are at work.
    pruning: AtomicUsize,
    over: AtomicBool,
}

impl World {
    /// The storage as one of many sees it: each call takes a moment, so that others come between.
    async fn open(&self) -> Arc<Repository> {
        let plan = FaultPlan::new()
            .every(Which::Kind(Call::Put), Fault::Delay(Duration::from_millis(1)))
            .every(Which::Kind(Call::List), Fault::Delay(Duration::from_millis(1)));
        reopen(&(Arc::new(FaultStorage::new(self.storage.clone(), plan)) as Arc<dyn Storage>)).await
    }

    fn dice(&self, who: u64) -> Dice {
        Dice(self.seed << 40 | who << 32)
    }

    fn is_over(&self) -> bool {
        self.over.load(SeqCst)
    }

    fn pick(&self, dice: &mut Dice) -> Option<(DocumentName, Vec<u64>)> {
        let truth = self.truth.lock().unwrap();
        let n = dice.roll(truth.len().max(1) as u64) as usize;
        truth.iter().nth(n).map(|(name, seeds)| (*name, seeds.clone()))
    }
}

fn contents(seeds: &[u64]) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let streams = seeds.iter().map(|&s| noise(s, 500 + (s as usize * 977) % 9000)).collect();
    (streams, seeds.iter().map(|&s| noise(s + 9000, 60 + s as usize * 7)).collect())
}

async fn pause(dice: &mut Dice) {
    tokio::time::sleep(Duration::from_millis(dice.roll(6))).await;
}

/// Saves runs of contents from a small pool: most of them are stored already, by a snapshot that may just be forgotten.
async fn write(world: Arc<World>, who: usize) {
    let mut dice = world.dice(who as u64);
    let mut repo = world.open().await;
    while !world.is_over() && world.roads.saved.load(SeqCst) < MOST_RUNS {
        if dice.roll(4) == 0 {
            repo = world.open().await;
        }
        let seeds: Vec<u64> = (0..1 + dice.roll(3)).map(|_| dice.roll(12)).collect();
        world.began[who].store(world.clock.load(SeqCst), SeqCst);
        if let Some(name) = run(&world, &repo, &mut dice, &seeds).await {
            world.truth.lock().unwrap().insert(name, seeds);
            world.roads.saved.fetch_add(1, SeqCst);
        }
        world.began[who].store(i64::MAX, SeqCst);
        pause(&mut dice).await;
    }
}

/// A run as `ops::backup` makes it, with pauses where others may come in. Nothing if it is told that a blob is gone: time
/// goes on while a prune stores its marks, so that they may be old when they can be seen. Rather no snapshot than a hole.
async fn run(world: &World, repo: &Arc<Repository>, dice: &mut Dice, seeds: &[u64]) -> Option<DocumentName> {
    repo.reload_index().await.unwrap();
    let writer = writer(repo);
    let (streams, trees) = contents(seeds);
    let doc = put(&writer, &streams, &trees).await.unwrap();
    pause(dice).await;
    writer.finish().await.unwrap();
    if writer.has_lost_ground() {
        let mut used = HashSet::new();
        add_used(repo, &doc, &mut used).await.unwrap();
        let index = repo.index();
        used.retain(|id| !index.has_live(id));
        let rescued = match repo.rescue(&used).await {
            Ok(rescued) => rescued,
            Err(e) if e.to_string().contains("was deleted while this run was building upon it") => {
                world.roads.told.fetch_add(1, SeqCst);
                return None;
            }
            Err(e) => panic!("seed {}: {e:?}", world.seed),
        };
        world.roads.rescued.fetch_add(rescued.min(1), SeqCst);
    }
    pause(dice).await;
    Some(repo.put_document(DocumentKind::Snapshot, Some(SET), &doc).await.unwrap())
}

async fn forget_some(world: Arc<World>) {
    let (mut dice, repo) = (world.dice(100), world.open().await);
    while !world.is_over() {
        pause(&mut dice).await;
        let few = world.truth.lock().unwrap().len() < 2 + dice.roll(4) as usize;
        let Some((name, _)) = world.pick(&mut dice).filter(|_| !few) else { continue };
        world.truth.lock().unwrap().remove(&name);
        forget(&repo, &name).await;
        world.roads.forgotten.fetch_add(1, SeqCst);
    }
}

async fn prune_often(world: Arc<World>, who: u64) {
    let mut dice = world.dice(200 + who);
    while !world.is_over() {
        let repo = world.open().await;
        let at = world.clone();
        let options = PruneOptions {
            grace_us: GRACE,
            max_unused_percent: [0.0, 20.0][dice.roll(2) as usize],
            now_us: world.clock.load(SeqCst),
            clock: Clock::new(move || at.clock.load(SeqCst)),
        };
        let roads = &world.roads;
        let others = world.pruning.fetch_add(1, SeqCst);
        roads.overlapped.fetch_add(others.min(1), SeqCst);
        roads.pruned.fetch_add(1, SeqCst);
        let done = prune(&repo, &options).await;
        world.pruning.fetch_sub(1, SeqCst);
        let plan = match done {
            Ok(plan) => plan,
            Err(e) if e.to_string().contains("went away while prune was at work") => {
                roads.beaten.fetch_add(1, SeqCst);
                continue;
            }
            Err(e) => panic!("seed {}: {e:?}", world.seed),
        };
        let marks: HashSet<_> = plan.mark.iter().collect();
        let used_again = plan.repack.iter().filter(|id| !marks.contains(id)).count();
        roads.used_again.fetch_add(used_again, SeqCst);
        for (road, packs) in
            [(&roads.marked, &plan.mark), (&roads.repacked, &plan.repack), (&roads.deleted, &plan.delete)]
        {
            road.fetch_add(packs.len(), SeqCst);
        }
        pause(&mut dice).await;
    }
}

async fn check_often(world: Arc<World>) {
    let mut dice = world.dice(300);
    while !world.is_over() {
        let repo = world.open().await;
        let read = if dice.roll(2) == 0 { ReadData::No } else { ReadData::All };
        let mut found = repo.check_packs(read, &Silent).await.unwrap();
        found.retain(|f| f.error);
        assert_eq!(found, [], "seed {}", world.seed);
        world.roads.checked.fetch_add(1, SeqCst);
        pause(&mut dice).await;
    }
}

/// Reads snapshots with a repository that was opened long before.
async fn read_often(world: Arc<World>, who: u64) {
    let (mut dice, mut repo) = (world.dice(400 + who), world.open().await);
    while !world.is_over() {
        tokio::task::yield_now().await;
        let Some((name, seeds)) = world.pick(&mut dice) else { continue };
        if let Err(e) = compare(&repo, &name, &seeds).await {
            let is_there = world.truth.lock().unwrap().contains_key(&name);
            assert!(!is_there, "seed {}: {e:?}\n{:?}", world.seed, world.roads);
        }
        world.roads.read.fetch_add(1, SeqCst);
        if dice.roll(10) == 0 {
            repo = world.open().await;
        }
    }
}

async fn compare(repo: &Arc<Repository>, name: &DocumentName, seeds: &[u64]) -> tenantvault::error::Result<()> {
    let doc = repo.get_document::<Doc>(DocumentKind::Snapshot, name).await?;
    let (streams, trees) = contents(seeds);
    assert_eq!((doc.0.len(), doc.1.len()), (streams.len(), trees.len()));
    for ((hashed, list), bytes) in doc.0.iter().zip(&streams) {
        assert_eq!(*hashed, hash(bytes));
        assert!(read_all(repo, list).await? == *bytes, "a stream of {name:?} reads back other bytes");
    }
    verify_doc(repo, &doc).await
}

/// Time goes on, but never so that a backup would outlast the grace period: that is what prune asks of people.
async fn tick(world: Arc<World>) {
    while !world.is_over() {
        tokio::time::sleep(Duration::from_millis(2)).await;
        let next = world.clock.load(SeqCst) + GRACE / 4;
        if world.began.iter().all(|began| next.saturating_sub(began.load(SeqCst)) < GRACE) {
            world.clock.store(next, SeqCst);
        }
        let saved = world.roads.saved.load(SeqCst);
        world.over.store(world.roads.all_taken() || saved >= MOST_RUNS, SeqCst);
    }
}

async fn turmoil(seed: u64) {
    let (storage, _) = init_tiny().await;
    let began = std::array::from_fn(|_| AtomicI64::new(i64::MAX));
    let (truth, roads, over) = (Mutex::default(), Roads::default(), AtomicBool::new(false));
    let (clock, pruning) = (AtomicI64::new(T0), AtomicUsize::new(0));
    let world = Arc::new(World { seed, storage, clock, began, truth, roads, pruning, over });
    let mut tasks = tokio::task::JoinSet::new();
    for who in 0..WRITERS {
        tasks.spawn(write(world.clone(), who));
    }
    tasks.spawn(forget_some(world.clone()));
    tasks.spawn(prune_often(world.clone(), 0));
    tasks.spawn(prune_often(world.clone(), 1));
    tasks.spawn(check_often(world.clone()));
    tasks.spawn(read_often(world.clone(), 0));
    tasks.spawn(read_often(world.clone(), 1));
    tasks.spawn(tick(world.clone()));
    while let Some(ended) = tasks.join_next().await {
        if let Err(e) = ended {
            world.over.store(true, SeqCst);
            panic!("seed {seed}: {e}\n{:?}", world.roads);
        }
    }
    println!("seed {seed}: {:?}", world.roads);
    assert!(world.roads.all_taken(), "seed {seed}: a road was not taken: {:?}", world.roads);
    let (told, saved) = (world.roads.told.load(SeqCst), world.roads.saved.load(SeqCst));
    assert!(told * 10 <= saved, "seed {seed}: {told} runs were told of a loss, {saved} were saved");
    let (beaten, pruned) = (world.roads.beaten.load(SeqCst), world.roads.pruned.load(SeqCst));
    assert!(beaten * 4 <= pruned, "seed {seed}: {beaten} of {pruned} prunes were beaten");
    // All that is said to be there is there, and nothing else once nothing is needed.
    let repo = reopen(&world.storage).await;
    let truth = world.truth.lock().unwrap().clone();
    let found: HashSet<_> = documents(&repo).await.unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(found, truth.keys().copied().collect(), "seed {seed}");
    for (name, seeds) in &truth {
        compare(&repo, name, seeds).await.unwrap();
    }
    assert_eq!(errors(&repo).await, [], "seed {seed}");
    for name in truth.keys() {
        forget(&repo, name).await;
    }
    for n in 1..3 {
        prune(&repo, &options(world.clock.load(SeqCst) + n * DAY, GRACE)).await.unwrap();
    }
    assert_eq!(files(&world.storage, "packs").await, Vec::<String>::new(), "seed {seed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn all_at_once_lose_nothing() {
    for seed in 1..=2 {
        turmoil(seed).await;
    }
}

/// `SEED=7 cargo test --test repo turmoil -- --ignored --nocapture`: twenty seeds from there on.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "long; see docs/testing.md"]
async fn all_at_once_lose_nothing_with_many_seeds() {
    let first: u64 = std::env::var("SEED").map_or(1, |text| text.parse().unwrap());
    for seed in first..first + 20 {
        turmoil(seed).await;
    }
}
