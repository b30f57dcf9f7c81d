//! A repository that an earlier program made opens with today's, and every byte of it is what was read then.
//!
//! `tests/fixtures/make_repository_v1.sh` made it and tells what is in it. It is never made anew and never edited: if a
//! test here fails, the program broke, not the repository. Items are found by their ids; how their paths read is not part
//! of the format and may change.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tenantvault::crypto::{KeyRight, Passphrase};
use tenantvault::error::ErrorKind;
use tenantvault::format::record::{Record, Stream, StreamRole};
use tenantvault::format::snapshot::SnapshotFile;
use tenantvault::monitor::Silent;
use tenantvault::ops::catalog::Catalog;
use tenantvault::ops::check::check;
use tenantvault::ops::nodes::RepoNodes;
use tenantvault::ops::read;
use tenantvault::repo::{ReadData, Repository};
use tenantvault::snapshot::store;
use tenantvault::storage::{StorageOptions, open};
use tenantvault::tree::collection::{CollectionReader, CollectionRoots};

/// The BLAKE3 hash of the names and bytes of all files in the folder.
const STORED_V1: &str = "f064c22a697976bf6fafff76e13b0cecad2508976db283658db3e2b0669c5018";

fn stored() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/repository-v1")
}

/// Paths of all files below a folder, sorted.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Opens a copy of the stored repository with one of its keys.
async fn open_copy(key: &str) -> (TempDir, Arc<Repository>) {
    let copy = TempDir::new().expect("a folder");
    for path in files(&stored().join("repository")) {
        let target = copy.path().join(path.strip_prefix(stored().join("repository")).expect("it lies there"));
        fs::create_dir_all(target.parent().expect("a parent")).expect("a folder");
        fs::copy(&path, &target).expect("it copies");
    }
    let url = copy.path().to_str().expect("text");
    let storage = open(url, &StorageOptions::default()).expect("a storage");
    let passphrase = Passphrase::new(&fs::read_to_string(stored().join(key)).expect("a key")).expect("a passphrase");
    let repo = Repository::open(storage, &passphrase, None).await.unwrap_or_else(|e| panic!("{key}: {e}"));
    (copy, repo)
}

fn expected() -> BTreeMap<String, Vec<Value>> {
    let text = fs::read(stored().join("expected.json")).expect("expected.json");
    serde_json::from_slice(&text).expect("snapshots with their items")
}

#[test]
fn the_stored_repository_is_as_it_was_made() {
    let mut hasher = blake3::Hasher::new();
    for path in files(&stored()) {
        let name = path.strip_prefix(stored()).expect("it lies there").to_str().expect("text").to_owned();
        let bytes = fs::read(&path).expect("it reads");
        hasher.update(format!("{name}\n{}\n", bytes.len()).as_bytes()).update(&bytes);
    }
    assert_eq!(hasher.finalize().to_hex().as_str(), STORED_V1, "take the change back");
}

#[tokio::test]
async fn every_item_of_every_snapshot_reads_as_it_did() {
    let (_copy, repo) = open_copy("repository.key").await;
    let listing = store::list(&repo).await.expect("snapshots");
    assert!(listing.broken.is_empty(), "{:?}", listing.broken);
    let mut expected = expected();
    for snapshot in &listing.snapshots {
        let wanted = expected.remove(&snapshot.id.to_string()).expect("a snapshot that was there");
        let found = items(&repo, &snapshot.file).await;
        assert!(found.len() > 20 && found.len() == wanted.len(), "{} items of {}", found.len(), wanted.len());
        for item in wanted {
            let id = item["id"].as_str().expect("an id");
            let mut item = item.as_object().expect("an item").clone();
            item.retain(|name, _| name != "id" && name != "path");
            assert_eq!(found.get(id), Some(&Value::from(item)), "{id} in snapshot {}", snapshot.id);
        }
    }
    assert!(expected.is_empty(), "snapshots are missing: {:?}", expected.keys());
}

/// What expected.json says of the items of a snapshot, by id.
async fn items(repo: &Arc<Repository>, file: &SnapshotFile) -> BTreeMap<String, Value> {
    let catalog = Catalog::load(repo, Some(file)).await.expect("a catalog");
    let nodes = RepoNodes(repo.clone());
    let mut found = BTreeMap::new();
    for state in catalog.states.values() {
        let reader = CollectionReader::new(&nodes, CollectionRoots { items: state.items, children: state.children });
        let mut records = reader.records();
        while let Some(record) = records.next().await.expect("a record") {
            found.insert(record.id.clone(), item(repo, &record).await);
        }
    }
    found
}

async fn item(repo: &Arc<Repository>, record: &Record) -> Value {
    let kind = match format!("{:?}", record.kind).as_str() {
        "MailFolder" => "mail_folder".to_owned(),
        "MailSearchFolder" => "mail_search_folder".to_owned(),
        other => other.to_lowercase(),
    };
    let mut item = json!({ "kind": kind });
    if let Ok(contents) = read::main_stream(record) {
        item["contents"] = size_and_hash(repo, contents).await;
    }
    if let Some(properties) = record.stream(StreamRole::Properties) {
        item["properties"] = size_and_hash(repo, properties).await;
    }
    item
}

async fn size_and_hash(repo: &Arc<Repository>, stream: &Stream) -> Value {
    let bytes = read::read_whole(repo, stream, u64::MAX).await.expect("a stream");
    assert_eq!(bytes.len() as u64, stream.size_bytes);
    let hash: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    json!([bytes.len(), hash])
}

#[tokio::test]
async fn a_check_of_all_data_finds_nothing() {
    let (_copy, repo) = open_copy("chosen.key").await;
    let report = check(&repo, ReadData::All, &Silent).await.expect("a check");
    assert!(report.findings.is_empty() && report.items_touched == 0, "{report:?}");
    assert_eq!(report.snapshots, expected().len());
    // What makes it worth keeping: packs that prune made of others, packs that are marked, a set's definition, runs.
    let index = repo.index();
    assert!(index.packs().any(|pack| pack.keys.len() > 1) && index.marks().next().is_some());
    assert_eq!(store::list_sets(&repo).await.expect("sets").len(), 2);
    assert_eq!(store::list_runs(&repo).await.expect("runs").len(), 9);
}

#[tokio::test]
async fn a_write_only_key_lists_and_does_not_read() {
    let (_copy, repo) = open_copy("write-only.key").await;
    assert_eq!(repo.right(), KeyRight::WriteOnly);
    let listing = store::list(&repo).await.expect("snapshots");
    let file = &listing.snapshots.last().expect("a snapshot").file;
    let catalog = Catalog::load(&repo, Some(file)).await.expect("a catalog");
    let state = catalog.states.values().next().expect("a collection");
    let nodes = RepoNodes(repo.clone());
    let reader = CollectionReader::new(&nodes, CollectionRoots { items: state.items, children: state.children });
    let mut records = reader.records();
    let mut refused = 0;
    while let Some(record) = records.next().await.expect("a record") {
        if let Ok(contents) = read::main_stream(&record)
            && contents.size_bytes > 0
        {
            let e = read::read_whole(&repo, contents, u64::MAX).await.expect_err("contents open for owners only");
            assert_eq!(e.kind(), ErrorKind::WrongKey);
            refused += 1;
        }
    }
    assert!(refused > 5);
}
