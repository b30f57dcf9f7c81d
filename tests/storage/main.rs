//! The contract of `Storage`, kept by every implementation and wrapper; and what single ones promise beyond it.
//!
//! To add a storage: write a function that opens a new, empty one, and name it in a `contract!` line below.

mod contract;
mod fault;
#[cfg(unix)]
mod flaky;
mod lost_answer;
mod read_only;
mod replicated;
#[cfg(unix)]
mod servers;
#[cfg(unix)]
mod services;
#[cfg(target_os = "linux")]
mod strace;
#[cfg(unix)]
mod tenant;

#[cfg(unix)]
#[path = "../e2e/compare.rs"]
mod compare;
#[cfg(unix)]
#[allow(dead_code)]
#[path = "../e2e/support.rs"]
mod tenant_support;

use std::any::Any;
use std::sync::Arc;

use tenantvault::storage::fault::{FaultPlan, FaultStorage};
use tenantvault::storage::{Storage, StorageOptions, open};

/// A new, empty storage, and what must live as long as it does.
pub struct Place {
    pub storage: Arc<dyn Storage>,
    /// Whether of two puts of one name at the same instant exactly one succeeds.
    pub refuses_races: bool,
    /// How many files make more than one page of a listing.
    pub listed: u32,
    pub keep: Box<dyn Any + Send>,
}

contract!(memory, memory());
contract!(fs, folder(&StorageOptions::default()));
contract!(fs_throttled, folder(&throttled()));
contract!(memory_throttled, memory_with(&throttled()));
contract!(fault_without_faults, without_faults());
contract!(three_as_one, replicated::three());
contract!(one_of_three_left, replicated::one_of_three_is_left().await);

fn memory() -> Place {
    memory_with(&StorageOptions::default())
}

fn memory_with(options: &StorageOptions) -> Place {
    Place { storage: open("memory:", options).unwrap(), refuses_races: true, listed: 2000, keep: Box::new(()) }
}

fn folder(options: &StorageOptions) -> Place {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(&format!("fs:{}/new/repo", dir.path().display()), options).unwrap();
    Place { storage, refuses_races: true, listed: 2000, keep: Box::new(dir) }
}

fn without_faults() -> Place {
    let place = memory();
    let storage = Arc::new(FaultStorage::new(place.storage, FaultPlan::new()));
    Place { storage, ..place }
}

/// Limits far above what the suite moves, but on: pieces are small and every byte is counted.
fn throttled() -> StorageOptions {
    StorageOptions {
        upload_bytes_per_second: Some(1 << 31),
        download_bytes_per_second: Some(1 << 40),
        concurrency: 2,
        ..StorageOptions::default()
    }
}
