//! A snapshot beside the truth of its day.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;
use tenantvault::format::record::{ItemKind, Record, StreamRole};
use tenantvault::format::snapshot::{CollectionState, SnapshotFile};
use tenantvault::ops::catalog::Catalog;
use tenantvault::ops::nodes::RepoNodes;
use tenantvault::ops::read;
use tenantvault::repo::Repository;
use tenantvault::sim::{Expected, ExpectedDrive, ExpectedMailbox, ExpectedThing};
use tenantvault::tree::collection::{CollectionReader, CollectionRoots};

async fn records(repo: &Arc<Repository>, state: &CollectionState) -> BTreeMap<String, Record> {
    let nodes = RepoNodes(repo.clone());
    let reader = CollectionReader::new(&nodes, CollectionRoots { items: state.items, children: state.children });
    let mut out = BTreeMap::new();
    let mut cursor = reader.records();
    while let Some(record) = cursor.next().await.unwrap() {
        out.insert(record.id.clone(), record);
    }
    // Both trees tell the same items.
    let mut listed = BTreeSet::new();
    let mut open = vec![String::new()];
    while let Some(parent) = open.pop() {
        let mut after = None;
        loop {
            let page = reader.children(&parent, after, 50).await.unwrap();
            for record in page.records().map(Result::unwrap) {
                assert!(listed.insert(record.id.clone()), "{} is listed twice", record.id);
                open.push(record.id);
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    assert_eq!(listed, out.keys().cloned().collect(), "{}: children and items disagree", state.name);
    out
}

/// Reads every byte of a snapshot and compares it with what the tenant held. `skip` names items whose contents are known gaps.
pub async fn assert_equal(repo: &Arc<Repository>, file: &SnapshotFile, truth: &Expected, recoverable: bool) {
    let catalog = Catalog::load(repo, Some(file)).await.unwrap();
    let gaps: BTreeSet<&str> = catalog.gaps.iter().map(|g| g.id.as_str()).collect();
    let mut expected = BTreeSet::new();
    for user in &truth.users {
        if let Some(mailbox) = &user.mailbox {
            let key = format!("users/{}/mail", user.id);
            let state = catalog.states.get(&key).unwrap_or_else(|| panic!("{} has no mail in the snapshot", user.upn));
            assert_eq!(state.name, format!("users/{}/Mail", user.upn));
            assert_mailbox(repo, &records(repo, state).await, mailbox, recoverable, &gaps, &user.upn).await;
            expected.insert(key);
        }
        if let Some(drive) = &user.drive {
            let key = format!("users/{}/onedrive/{}", user.id, drive.id);
            let state = catalog.states.get(&key).unwrap_or_else(|| panic!("{} has no drive in the snapshot", user.upn));
            assert_drive(repo, &records(repo, state).await, drive, &gaps, &user.upn).await;
            expected.insert(key);
        }
    }
    for (key, truth) in &truth.collections {
        let state = catalog.states.get(key).unwrap_or_else(|| panic!("{} is not in the snapshot", truth.name));
        assert_eq!(state.name, truth.name);
        assert_things(repo, &records(repo, state).await, &truth.things, &gaps, &truth.name).await;
        expected.insert(key.clone());
    }
    for library in &truth.libraries {
        let state =
            catalog.states.get(&library.key).unwrap_or_else(|| panic!("{} is not in the snapshot", library.name));
        assert_eq!(state.name, library.name);
        assert_drive(repo, &records(repo, state).await, &library.drive, &gaps, &library.name).await;
        expected.insert(library.key.clone());
    }
    assert_eq!(catalog.states.keys().cloned().collect::<BTreeSet<_>>(), expected, "day {}", truth.day);
}

/// What Graph says of something beside what it is.
fn without_annotations(json: &Value) -> Value {
    let fields = json.as_object().unwrap().iter().filter(|(name, _)| !name.starts_with('@'));
    fields.map(|(name, value)| (name.clone(), value.clone())).collect::<serde_json::Map<_, _>>().into()
}

/// Things that are known by their JSON: each is there with all that Graph tells of it, below the right parent, with its bytes.
async fn assert_things(
    repo: &Arc<Repository>,
    records: &BTreeMap<String, Record>,
    truth: &[ExpectedThing],
    gaps: &BTreeSet<&str>,
    who: &str,
) {
    let wanted: BTreeMap<&str, _> = truth.iter().map(|thing| (thing.id.as_str(), thing)).collect();
    for (id, record) in records {
        assert!(wanted.contains_key(id.as_str()), "{who}: {} '{}' is too many", record.kind.word(), record.name);
    }
    for (id, thing) in wanted {
        let record = records.get(id).unwrap_or_else(|| panic!("{who}: missing is {} {}", thing.kind, thing.json));
        assert_eq!(record.parent, thing.parent, "{who}: {} lies elsewhere", record.name);
        let properties = read::read_whole(repo, record.stream(StreamRole::Properties).unwrap(), 1 << 24).await.unwrap();
        let json: Value = serde_json::from_slice(&properties).unwrap();
        assert_eq!(without_annotations(&json), without_annotations(&thing.json), "{who}: {}", thing.kind);
        if gaps.contains(id) {
            continue;
        }
        let content = record.stream(StreamRole::Content);
        assert_eq!(content.is_some(), thing.content.is_some(), "{who}: contents of {} '{}'", thing.kind, record.name);
        if let (Some(stream), Some(content)) = (content, &thing.content) {
            let bytes = read::read_whole(repo, stream, 1 << 30).await.unwrap();
            assert!(bytes == content.bytes(), "{who}: {} '{}' has other bytes", thing.kind, record.name);
        }
    }
}

async fn assert_mailbox(
    repo: &Arc<Repository>,
    records: &BTreeMap<String, Record>,
    truth: &ExpectedMailbox,
    recoverable: bool,
    gaps: &BTreeSet<&str>,
    who: &str,
) {
    let wanted = truth.messages.iter().filter(|m| recoverable || !m.recoverable);
    let wanted: BTreeMap<&str, _> = wanted.map(|m| (m.id.as_str(), m)).collect();
    let got: BTreeMap<&str, &Record> =
        records.iter().filter(|(_, r)| r.kind == ItemKind::Message).map(|(id, r)| (id.as_str(), r)).collect();
    let (a, b): (BTreeSet<_>, BTreeSet<_>) = (wanted.keys().collect(), got.keys().collect());
    assert_eq!(a, b, "{who}: the messages differ");
    for (id, message) in wanted {
        let record = got[id];
        assert_eq!(record.name, message.subject, "{who}");
        assert_eq!(record.parent, message.folder_id, "{who}: '{}' lies in another folder", message.subject);
        assert_eq!(record.sort_us, Some(message.received * 1_000_000), "{who}");
        if gaps.contains(id) {
            continue;
        }
        let stream =
            record.stream(StreamRole::Mime).unwrap_or_else(|| panic!("{who}: '{}' has no contents", record.name));
        let bytes = read::read_whole(repo, stream, 1 << 30).await.unwrap();
        assert!(bytes == message.mime.bytes(), "{who}: '{}' has other bytes", record.name);
        let properties = read::read_whole(repo, record.stream(StreamRole::Properties).unwrap(), 1 << 24).await.unwrap();
        let json: Value = serde_json::from_slice(&properties).unwrap();
        assert_eq!(json["isRead"].as_bool(), Some(message.is_read), "{who}: '{}'", record.name);
        assert_eq!(json["changeKey"].as_str(), Some(message.change_key.as_str()), "{who}: '{}'", record.name);
    }
    let folders = truth.folders.iter().filter(|f| recoverable || !f.recoverable);
    let folders: BTreeMap<&str, _> = folders.map(|f| (f.id.as_str(), f)).collect();
    let got: BTreeMap<&str, &Record> =
        records.iter().filter(|(_, r)| r.kind.is_container()).map(|(id, r)| (id.as_str(), r)).collect();
    let (a, b): (BTreeSet<_>, BTreeSet<_>) = (folders.keys().collect(), got.keys().collect());
    assert_eq!(a, b, "{who}: the folders differ");
    for (id, folder) in &folders {
        let record = got[id];
        assert_eq!(record.name, folder.name, "{who}");
        assert_eq!(record.kind == ItemKind::MailSearchFolder, folder.search, "{who}: {}", folder.name);
        let top = !folders.contains_key(folder.parent_id.as_str());
        assert_eq!(record.parent, if top { "" } else { folder.parent_id.as_str() }, "{who}: {}", folder.name);
    }
}

async fn assert_drive(
    repo: &Arc<Repository>,
    records: &BTreeMap<String, Record>,
    truth: &ExpectedDrive,
    gaps: &BTreeSet<&str>,
    who: &str,
) {
    let wanted: BTreeMap<&str, _> = truth.items.iter().map(|i| (i.id.as_str(), i)).collect();
    let own = records.keys().map(String::as_str).filter(|id| !id.contains('/'));
    let (a, b): (BTreeSet<&str>, BTreeSet<&str>) = (wanted.keys().copied().collect(), own.collect());
    assert_eq!(a, b, "{who}: the files differ");
    let permission = |item: &str, told: &Value| (format!("{item}/{}", told["id"].as_str().unwrap()), told.clone());
    let permissions = truth.items.iter().flat_map(|i| i.permissions.iter().map(|told| permission(&i.id, told)));
    let permissions = permissions.chain(truth.root_permissions.iter().map(|told| permission(&truth.root_id, told)));
    let permissions: BTreeMap<String, Value> = permissions.collect();
    let is_version = |id: &String| records[id].kind == ItemKind::Version;
    let (versions, parts): (BTreeSet<&String>, BTreeSet<&String>) =
        records.keys().filter(|id| id.contains('/')).partition(|id| is_version(id));
    if records.values().any(|record| record.fact("versions_read") == Some("all")) {
        let mut older = BTreeMap::new();
        for item in truth.items.iter().filter(|item| !gaps.contains(item.id.as_str())) {
            older.extend(item.older.iter().enumerate().map(|(n, blob)| (format!("{}/{}.0", item.id, n + 1), blob)));
        }
        let told = versions.iter().filter(|id| !gaps.contains(id.split('/').next().unwrap()));
        assert_eq!(
            told.copied().collect::<BTreeSet<_>>(),
            older.keys().collect(),
            "{who}: the earlier versions differ"
        );
        for (id, blob) in older {
            let stream = records[&id].stream(StreamRole::Content).unwrap();
            let bytes = read::read_whole(repo, stream, 1 << 30).await.unwrap();
            assert!(bytes[..] == blob.bytes()[..], "{who}: {id} has other bytes");
        }
    }
    assert_eq!(parts, permissions.keys().collect(), "{who}: who may use the files differs");
    for (id, told) in &permissions {
        let properties = records[id].stream(StreamRole::Properties).unwrap();
        let json = read::read_whole(repo, properties, 1 << 24).await.unwrap();
        assert_eq!(&serde_json::from_slice::<Value>(&json).unwrap(), told, "{who}");
        let holder = id.split_once('/').unwrap().0;
        assert_eq!(records[id].parent, if holder == truth.root_id { "" } else { holder }, "{who}");
    }
    for (id, item) in &wanted {
        let record = &records[*id];
        assert_eq!(record.name, item.name, "{who}");
        let top = !wanted.contains_key(item.parent_id.as_str());
        assert_eq!(record.parent, if top { "" } else { item.parent_id.as_str() }, "{who}: {}", item.path);
        assert_eq!(record.modified_us, Some(item.modified * 1_000_000), "{who}: {}", item.path);
        assert_eq!(record.created_us, Some(item.created * 1_000_000), "{who}: {}", item.path);
        let Some(content) = &item.content else { continue };
        if item.malware {
            assert!(gaps.contains(id), "{who}: {} is malware and no gap says so", item.path);
            continue;
        }
        if gaps.contains(id) {
            continue;
        }
        let stream =
            record.stream(StreamRole::Content).unwrap_or_else(|| panic!("{who}: {} has no contents", item.path));
        let bytes = read::read_whole(repo, stream, 1 << 30).await.unwrap();
        assert!(bytes == content.bytes(), "{who}: {} has other bytes", item.path);
    }
}
