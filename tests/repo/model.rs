//! Random histories of writing, forgetting, pruning, dying and reopening, against a plain map.

use std::collections::BTreeMap;
use std::sync::Arc;

use tenantvault::crypto::{KeyRight, Passphrase};
use tenantvault::repo::{Clock, DocumentName, PruneOptions, Repository};
use tenantvault::storage::Storage;
use tenantvault::storage::fault::{Fault, FaultPlan, FaultStorage, Which};

use crate::support::*;

struct History {
    dice: Dice,
    storage: Arc<dyn Storage>,
    repo: Arc<Repository>,
    cache: tempfile::TempDir,
    writer_key: Passphrase,
    now: i64,
    /// What must be there: each document with the seeds of its contents.
    model: BTreeMap<DocumentName, Vec<u64>>,
    log: Vec<String>,
}

impl History {
    async fn new(seed: u64) -> Self {
        let (storage, repo) = init_tiny().await;
        let writer_key = Passphrase::generate();
        repo.add_slot(&writer_key, KeyRight::WriteOnly, "server", T0).await.unwrap();
        let cache = tempfile::tempdir().unwrap();
        Self {
            dice: Dice(seed << 32),
            storage,
            repo,
            cache,
            writer_key,
            now: T0,
            model: BTreeMap::new(),
            log: Vec::new(),
        }
    }

    fn contents(seeds: &[u64]) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let length = |seed: u64, most: u64| (Dice(seed * 31).roll(most) + 1) as usize;
        let streams = seeds.iter().map(|&s| noise(s, length(s, 14_000))).collect();
        (streams, seeds.iter().map(|&s| noise(s + 9000, length(s, 900))).collect())
    }

    async fn storage_with_fault(&mut self) -> Arc<dyn Storage> {
        let n = self.dice.roll(40) + 1;
        let fault = [Fault::DieBefore, Fault::DieAfter, Fault::Tear][self.dice.roll(3) as usize];
        self.log.push(format!("dies at {n} {fault:?}"));
        Arc::new(FaultStorage::new(self.storage.clone(), FaultPlan::new().at(Which::Any, n, fault)))
    }

    async fn step(&mut self) {
        self.now += self.dice.roll(20) as i64 * HOUR;
        match self.dice.roll(10) {
            0..=3 => self.write().await,
            4..=5 => self.forget().await,
            6..=7 => self.prune().await,
            8 => self.reopen().await,
            _ => {
                self.log.push("repair".into());
                self.repo.repair_index(false, &tenantvault::monitor::Silent).await.unwrap();
            }
        }
    }

    async fn write(&mut self) {
        let seeds: Vec<u64> = (0..self.dice.roll(4) + 1).map(|_| self.dice.roll(25)).collect();
        let (streams, trees) = Self::contents(&seeds);
        self.log.push(format!("write {seeds:?}"));
        if self.dice.roll(4) == 0 {
            let dying = self.storage_with_fault().await;
            if let Ok(repo) = Repository::open(dying, &pass(), None).await {
                back_up(&repo, &streams, &trees).await.ok();
            }
            // It may be there or not; if it is, it must be whole.
            for (name, _) in documents(&reopen(&self.storage).await).await.unwrap() {
                self.model.entry(name).or_insert_with(|| seeds.clone());
            }
            return;
        }
        let name = back_up(&self.repo, &streams, &trees).await.unwrap();
        self.model.insert(name, seeds);
    }

    async fn forget(&mut self) {
        let Some(name) = self.model.keys().nth(self.dice.roll(self.model.len().max(1) as u64) as usize).copied() else {
            return;
        };
        self.log.push(format!("forget {:?}", self.model[&name]));
        forget(&self.repo, &name).await;
        self.model.remove(&name);
    }

    async fn prune(&mut self) {
        let grace_us = [0, HOUR, DAY][self.dice.roll(3) as usize];
        let max_unused_percent = [0.0, 10.0][self.dice.roll(2) as usize];
        let options = PruneOptions { grace_us, max_unused_percent, now_us: self.now, clock: Clock::still(self.now) };
        self.log.push(format!("prune {grace_us}"));
        match self.dice.roll(3) {
            0 => {
                let dying = self.storage_with_fault().await;
                if let Ok(repo) = Repository::open(dying, &self.writer_key, None).await {
                    prune(&repo, &options).await.ok();
                }
            }
            1 => {
                let server = Repository::open(self.storage.clone(), &self.writer_key, None).await.unwrap();
                prune(&server, &options).await.map(drop).unwrap();
            }
            _ => prune(&self.repo, &options).await.map(drop).unwrap(),
        }
    }

    async fn reopen(&mut self) {
        self.log.push("reopen".into());
        self.repo = if self.dice.roll(2) == 0 {
            reopen(&self.storage).await
        } else {
            reopen_with(&self.storage, self.cache.path()).await
        };
    }

    async fn compare(&self, repo: &Arc<Repository>) {
        let found: BTreeMap<_, _> = documents(repo).await.unwrap().into_iter().collect();
        assert_eq!(found.keys().collect::<Vec<_>>(), self.model.keys().collect::<Vec<_>>());
        for (name, seeds) in &self.model {
            let (streams, _) = Self::contents(seeds);
            assert_eq!(found[name].0.len(), streams.len());
            for (bytes, (wanted, _)) in streams.iter().zip(&found[name].0) {
                assert_eq!(hash(bytes), *wanted);
            }
            if let Err(e) = verify_doc(repo, &found[name]).await {
                panic!("{e:?} after {:#?}", self.log);
            }
        }
    }
}

#[tokio::test]
async fn every_history_keeps_what_was_saved_and_nothing_forgotten() {
    for seed in 1..=8 {
        let mut history = History::new(seed).await;
        for step in 0..40 {
            history.step().await;
            if step % 5 == 4 {
                history.compare(&history.repo.clone()).await;
                let fresh = reopen(&history.storage).await;
                history.compare(&fresh).await;
                assert_eq!(errors(&fresh).await, [], "{:#?}", history.log);
            }
        }
        // In the end nothing is left but what is needed.
        for name in history.model.keys() {
            forget(&history.repo, name).await;
        }
        history.model.clear();
        let repo = reopen(&history.storage).await;
        for n in 1..4 {
            prune(&repo, &options(history.now + n * 40 * DAY, DAY)).await.unwrap();
        }
        assert_eq!(files(&history.storage, "packs").await.len(), 0);
        assert_eq!(repo.index().packs().count(), 0);
    }
}
