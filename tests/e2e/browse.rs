//! The snapshots as a file system, without a mount: what is listed resolves, sizes are what reading gives, and the files
//! are those of an export.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tenantvault::crypto::KeyRight;
use tenantvault::error::ErrorKind;
use tenantvault::format::record::{Encoding, ExtentList, ItemKind, Piece, Record, Stream, StreamRole};
use tenantvault::format::snapshot::{CollectionState, SnapshotFile, Totals};
use tenantvault::monitor::Silent;
use tenantvault::ops::backup::Stop;
use tenantvault::ops::browse::{BrowseOptions, Browser, Node};
use tenantvault::ops::catalog::{self, Catalog};
use tenantvault::ops::export::{ExportOptions, export};
use tenantvault::ops::nodes::WriterNodes;
use tenantvault::ops::prune;
use tenantvault::ops::view::View;
use tenantvault::repo::{Clock, PruneOptions, Repository, Segmenter, Writer, WriterOptions};
use tenantvault::sim::SimOptions;
use tenantvault::snapshot::store;
use tenantvault::storage::StorageOptions;
use tenantvault::storage::fault::{Call, FaultPlan, FaultStorage};
use tenantvault::tree::collection::{CollectionEditor, CollectionRoots};

use crate::support::{START_US, Setting, passphrase};

/// The list of snapshots is never known for long.
const AT_ONCE: BrowseOptions = BrowseOptions { look_again_after: Duration::ZERO };

async fn open(repo: Arc<Repository>) -> tenantvault::Result<Browser> {
    Browser::open(repo, AT_ONCE, Arc::new(Silent)).await
}

async fn list(browser: &Browser, folder: &Node, page: usize) -> Vec<(String, Node)> {
    let mut all = Vec::new();
    loop {
        let listed = browser.list(folder, all.len() as u64, page).await.unwrap();
        if listed.is_empty() {
            return all;
        }
        assert!(listed.len() <= page);
        all.extend(listed.into_iter().map(|entry| (entry.name.to_string(), entry.node)));
    }
}

async fn read(browser: &Browser, node: &Node, step: usize) -> tenantvault::Result<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let bytes = browser.read(node, all.len() as u64, step).await?;
        if bytes.is_empty() {
            return Ok(all);
        }
        assert!(bytes.len() <= step);
        all.extend_from_slice(&bytes);
    }
}

/// Files below a folder: path from there -> contents, `None` where they cannot be read.
async fn files(browser: &Browser, from: &str) -> BTreeMap<String, Option<Vec<u8>>> {
    let mut open = vec![(String::new(), browser.resolve(from).await.unwrap())];
    let mut files = BTreeMap::new();
    while let Some((path, folder)) = open.pop() {
        for (name, node) in list(browser, &folder, 1000).await {
            let path = if path.is_empty() { name } else { format!("{path}/{name}") };
            if node.is_folder() {
                open.push((path, node));
            } else {
                files.insert(path, read(browser, &node, 1 << 20).await.ok());
            }
        }
    }
    files
}

/// The same, holding each folder and file to what the model says of it.
async fn walk(browser: &Browser, from: &str) -> BTreeMap<String, Option<Vec<u8>>> {
    let mut open = vec![(String::new(), browser.resolve(from).await.unwrap())];
    let (mut files, mut numbers) = (BTreeMap::new(), BTreeSet::new());
    while let Some((path, folder)) = open.pop() {
        let whole = list(browser, &folder, 1000).await;
        let names: BTreeSet<&str> = whole.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names.len(), whole.len(), "two entries of {path} have one name");
        for page in [3, 10] {
            let paged = list(browser, &folder, page).await;
            let told = |entries: &[(String, Node)]| -> Vec<(String, u64)> {
                entries.iter().map(|(name, node)| (name.clone(), node.number())).collect()
            };
            assert_eq!(told(&paged), told(&whole), "{path} in pages of {page}");
        }
        for (name, node) in whole {
            assert!(!name.contains(['/', '\0', '\\', ':']) && !["", ".", ".."].contains(&&*name), "{name:?}");
            let path = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
            let found = browser.resolve(&format!("{from}/{path}")).await.unwrap();
            assert_eq!(found.number(), node.number(), "{path} is another one when it is looked up");
            assert!(numbers.insert(node.number()), "{path} has the number of another");
            let meta = browser.meta(&node).await.unwrap();
            assert_eq!((meta.is_folder, meta.modified_us), (node.is_folder(), node.modified_us()));
            if node.is_folder() {
                open.push((path, node));
                continue;
            }
            let contents = match read(browser, &node, 100_000).await {
                Ok(bytes) => {
                    assert_eq!(meta.size_bytes, bytes.len() as u64, "{path}");
                    slices(browser, &node, &bytes).await;
                    Some(bytes)
                }
                Err(e) => {
                    assert_eq!(e.kind(), ErrorKind::NotFound, "{path}: {e}");
                    assert!(meta.size_bytes > 0, "{path} looks empty, but its contents are not there");
                    None
                }
            };
            files.insert(path, contents);
        }
    }
    files
}

/// Random slices are those of the whole.
async fn slices(browser: &Browser, node: &Node, whole: &[u8]) {
    for n in 0..4u64 {
        let dice = blake3::hash(&[&n.to_le_bytes()[..], &node.number().to_le_bytes()].concat());
        let dice = |at: usize| u32::from_le_bytes(dice.as_bytes()[at..at + 4].try_into().unwrap()) as usize;
        let from = dice(0) % (whole.len() + 10);
        let length = dice(4) % 5000 + 1;
        let wanted = &whole[from.min(whole.len())..(from + length).min(whole.len())];
        assert_eq!(browser.read(node, from as u64, length).await.unwrap(), wanted, "{from} {length}");
    }
}

fn collect(folder: &Path, prefix: &str, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().into_string().unwrap());
        if entry.file_type().unwrap().is_dir() {
            collect(&entry.path(), &format!("{name}/"), files);
        } else {
            files.insert(name, std::fs::read(entry.path()).unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_seen_is_what_an_export_writes() {
    let setting = Setting::new(SimOptions::tiny()).await;
    setting.backup().await.unwrap();
    let repo = setting.reopen(true).await;
    let browser = open(repo.clone()).await.unwrap();
    let snapshot = setting.snapshots().await.pop().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let view = View::new(repo, snapshot.file.clone());
    let place = view.resolve("").await.unwrap();
    let report = export(&view, &place, folder.path(), ExportOptions::default(), &Silent, &Stop::new()).await.unwrap();
    let mut exported = BTreeMap::new();
    collect(folder.path(), "", &mut exported);
    let seen = walk(&browser, "sets/everyone/latest").await;
    // What an export cannot write, a shortcut and what is infected, stands in no listing: whatever does can be read.
    let lost = seen.values().filter(|contents| contents.is_none()).count();
    assert!(lost == 0 && !report.problems.is_empty(), "{lost} {:?}", report.problems);
    let seen: BTreeMap<String, Vec<u8>> = seen.into_iter().filter_map(|(path, c)| Some((path, c?))).collect();
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&seen), names(&exported));
    assert!(seen == exported, "contents differ");
    assert!(seen.len() > 100, "{} files", seen.len());
    for ending in [".eml", ".ics", ".vcf", ".html"] {
        assert!(seen.keys().any(|path| path.ends_with(ending)), "there is no {ending}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_three_doors_to_a_snapshot_show_the_same() {
    let setting = Setting::new(SimOptions::tiny()).await;
    setting.backup().await.unwrap();
    let browser = open(setting.repo.clone()).await.unwrap();
    let names = async |path: &str| -> Vec<String> {
        list(&browser, &browser.resolve(path).await.unwrap(), 10).await.into_iter().map(|(name, _)| name).collect()
    };
    assert_eq!(names("").await, ["sets", "snapshots"]);
    assert_eq!(names("sets").await, ["everyone"]);
    assert_eq!(names("sets/everyone").await, ["2026-11-20T090000Z", "latest"]);
    let listed = names("snapshots").await;
    let [snapshot] = &listed[..] else { panic!("one snapshot") };
    assert!(snapshot.starts_with("2026-11-20T090000Z-"), "{snapshot}");
    let one = files(&browser, "sets/everyone/latest").await;
    assert!(one == files(&browser, "sets/everyone/2026-11-20T090000Z").await);
    assert!(one == files(&browser, &format!("snapshots/{snapshot}")).await);
    for path in ["nothing", "sets/nobody", "sets/everyone/2026-11-21T090000Z", "sets/everyone/latest/users/nobody"] {
        assert_eq!(browser.resolve(path).await.unwrap_err().kind(), ErrorKind::NotFound, "{path}");
    }
    // A path is names alone: nothing leads up, and a file holds nothing.
    let file = one.keys().next().unwrap();
    for path in ["..", "sets/../snapshots", ".", &format!("sets/everyone/latest/{file}/x")] {
        assert_eq!(browser.resolve(path).await.unwrap_err().kind(), ErrorKind::NotFound, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn latest_follows_and_what_is_pruned_is_said_to_be_no_more() {
    let setting = Setting::new(SimOptions::tiny()).await;
    setting.backup().await.unwrap();
    // No cache, and not the repository that prunes: as another machine sees it.
    let browser = open(setting.reopen(false).await).await.unwrap();
    let before = browser.resolve("sets/everyone/latest").await.unwrap();
    let old = files(&browser, "sets/everyone/2026-11-20T090000Z").await;
    setting.next_day();
    setting.backup().await.unwrap();
    let after = browser.resolve("sets/everyone/latest").await.unwrap();
    assert_ne!(before.number(), after.number());
    let new = files(&browser, "sets/everyone/latest").await;
    assert!(old != new);
    assert!(old == files(&browser, "sets/everyone/2026-11-20T090000Z").await, "the older one changed");

    // All is forgotten and pruned while somebody looks.
    let fresh = open(setting.reopen(false).await).await.unwrap();
    let path = new.iter().find(|(path, c)| path.ends_with(".eml") && c.is_some()).expect("a message").0;
    let file = fresh.resolve(&format!("sets/everyone/latest/{path}")).await.unwrap();
    let unread = fresh.resolve("snapshots").await.unwrap();
    let unread = list(&fresh, &unread, 10).await.remove(0).1;
    let snapshots = setting.snapshots().await;
    store::delete(&setting.repo, &snapshots.iter().collect::<Vec<_>>()).await.unwrap();
    for days in [2, 4] {
        let now_us = START_US + days * 86_400_000_000;
        let options = PruneOptions { grace_us: 0, max_unused_percent: 0.0, now_us, clock: Clock::still(now_us) };
        prune::plan(&setting.repo, &options, &Silent).await.unwrap().execute(&setting.repo, &Silent).await.unwrap();
    }
    let unread_fails = fresh.list(&unread, 0, 10).await.err();
    for error in [Some(fresh.read(&file, 0, 10).await.unwrap_err()), unread_fails].into_iter().flatten() {
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("is no more"), "{error:?}");
    }
    for path in [format!("sets/everyone/latest/{path}"), "sets/everyone".into(), "sets/everyone/latest".into()] {
        assert_eq!(fresh.resolve(&path).await.unwrap_err().kind(), ErrorKind::NotFound, "{path}");
    }
    assert_eq!(list(&fresh, &fresh.resolve("snapshots").await.unwrap(), 10).await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_only_key_is_told_which_key_is_needed() {
    let setting = Setting::new(SimOptions::tiny()).await;
    let other = tenantvault::crypto::Passphrase::new("HxseHRwbGhkYFxYVFBMSERAPDg0MCwoJCAcGBQQDAgE=").unwrap();
    setting.repo.add_slot(&other, KeyRight::WriteOnly, "writer", START_US).await.unwrap();
    let writer = Repository::open(setting.storage.clone(), &other, None).await.unwrap();
    let error = open(writer).await.err().expect("it may not read");
    assert_eq!(error.kind(), ErrorKind::WrongKey);
    assert!(error.hint().unwrap().contains("owner's key"), "{error:?}");
}

/// A snapshot with one collection, `users/a/Mail`, of these records.
async fn snapshot_of(records: &[Record]) -> Arc<Repository> {
    let storage = tenantvault::storage::open("memory:", &StorageOptions::default()).unwrap();
    let repo = Repository::init(storage, &passphrase(), "test", START_US, None).await.unwrap();
    add_snapshot(&repo, records).await;
    repo
}

async fn add_snapshot(repo: &Arc<Repository>, records: &[Record]) {
    let writer = Writer::new(repo.clone(), WriterOptions::default());
    let nodes = WriterNodes(writer.clone());
    let mut editor = CollectionEditor::new(&nodes, CollectionRoots::default());
    for record in records {
        editor.put(record).unwrap();
    }
    let (CollectionRoots { items, children }, _) = editor.finish().await.unwrap();
    let (key, name) = ("users/1/mail".to_owned(), "users/a/Mail".to_owned());
    let state =
        CollectionState { key: key.clone(), name, items, children, cursors: None, read_us: START_US, complete: true };
    let states = HashMap::from([(key, state)]);
    let (catalog, gaps) = catalog::write(&writer, &Catalog::default(), &states, &[], &[]).await.unwrap();
    writer.finish().await.unwrap();
    let file = SnapshotFile {
        set: store::set_id(repo, "everyone"),
        set_name: "everyone".into(),
        tenant: "t".into(),
        time_us: START_US,
        ended_us: START_US,
        host: "test".into(),
        program: "test".into(),
        tags: vec![],
        parent: None,
        complete: true,
        catalog,
        gaps,
        totals: Totals::default(),
    };
    store::save(repo, &file).await.unwrap();
}

/// Names of the kinds that meet: equal ones, ones that differ by case or an accent, ones that are equal once they are safe,
/// folders and files and messages of one name; in a folder of many pages.
fn crowd() -> Vec<Record> {
    let mut records = vec![Record::new(ItemKind::MailFolder, "inbox", "", "Inbox")];
    for n in 0..3000u32 {
        let mut record = Record::new(ItemKind::Message, format!("m{n:05}"), "inbox", format!("Subject {}", n / 3));
        record.sort_us = Some(START_US + i64::from(n / 5) * 60_000_000);
        records.push(record);
    }
    let odd =
        ["Plan.docx", "plan.docx", "Plan.docx", "a:b", "a?b", "a_b", "Café", "Cafe\u{301}", "CON", "x. ", "x", ""];
    for (n, name) in odd.iter().enumerate() {
        records.push(Record::new(ItemKind::File, format!("f{n}"), "inbox", *name));
        records.push(Record::new(ItemKind::Folder, format!("d{n}"), "inbox", *name));
    }
    let like = Record::new(ItemKind::File, "like", "inbox", "2026-11-20 0900 Subject 0.eml");
    records.push(like);
    // What has no contents is not shown.
    for record in &mut records {
        let role = match record.kind {
            ItemKind::Message => StreamRole::Mime,
            ItemKind::File => StreamRole::Content,
            _ => continue,
        };
        record.streams = vec![Stream { role, size_bytes: 0, source_hash: String::new(), pieces: Vec::new() }];
    }
    records
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowded_folder_lists_from_anywhere_and_gives_the_same_names_each_time() {
    let repo = snapshot_of(&crowd()).await;
    let path = "sets/everyone/latest/users/a/Mail/Inbox";
    let browser = open(repo.clone()).await.unwrap();
    let folder = browser.resolve(path).await.unwrap();
    let whole = list(&browser, &folder, 100_000).await;
    assert_eq!(whole.len(), crowd().len() - 1);
    let folded: BTreeSet<String> = whole.iter().map(|(name, _)| name.to_lowercase()).collect();
    assert_eq!(folded.len(), whole.len(), "names differ by case alone");
    // Whoever comes first asks for the middle, the end, or a name.
    for from in [0usize, 1, 511, 512, 513, 1700, whole.len() - 1, whole.len(), whole.len() + 5] {
        let fresh = open(repo.clone()).await.unwrap();
        let listed = fresh.list(&folder, from as u64, 40).await.unwrap();
        let wanted = whole.iter().skip(from);
        assert!(
            listed.iter().zip(wanted).all(|(a, (name, node))| *a.name == **name && a.node.number() == node.number())
        );
        assert_eq!(listed.is_empty(), from >= whole.len());
    }
    // Page by page, now and then beside somebody who goes through all of it.
    let paged = open(repo.clone()).await.unwrap();
    let mut at = 0;
    loop {
        let page = paged.list_page(&folder, at as u64, 200).await.unwrap();
        let wanted = &whole[at..at + page.len()];
        let numbers = page.iter().map(|entry| entry.node.number());
        assert!(numbers.eq(wanted.iter().map(|(_, node)| node.number())), "{at}");
        if page.is_empty() {
            break;
        }
        at += page.len();
        if at > 1_000 {
            assert!(!paged.list(&folder, at as u64 + 500, 1).await.unwrap().is_empty() || at + 500 >= whole.len());
        }
    }
    assert_eq!(at, whole.len());
    for (name, node) in whole.iter().rev().step_by(97).chain(&whole[..40]) {
        let fresh = open(repo.clone()).await.unwrap();
        let found = fresh.find(&folder, name).await.unwrap().unwrap_or_else(|| panic!("{name} is not found"));
        assert_eq!(found.number(), node.number(), "{name}");
        let upper = name.to_uppercase();
        assert!(upper == *name || fresh.find(&folder, &upper).await.unwrap().is_none(), "{upper}");
    }
    let several = futures::future::join_all((0..8).map(|n| {
        let (browser, folder) = (browser.clone(), folder.clone());
        async move { list(&browser, &folder, 100 + n).await.len() }
    }));
    assert_eq!(several.await, vec![whole.len(); 8]);
}

/// How often segments were read from a storage.
fn reads(storage: &FaultStorage, segments: &[String]) -> usize {
    let is_one = |path: &str| segments.iter().any(|pack| path.ends_with(pack.as_str()));
    storage.recorder().calls().iter().filter(|made| made.call == Call::GetRange && is_one(&made.path)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_file_after_file_finds_the_next_segment_opened_and_none_is_read_twice() {
    let inner = tenantvault::storage::open("memory:", &StorageOptions::default()).unwrap();
    let storage = Arc::new(FaultStorage::new(inner, FaultPlan::new()));
    let repo = Repository::init(storage.clone(), &passphrase(), "test", START_US, None).await.unwrap();
    let writer = Writer::new(repo.clone(), WriterOptions::default());
    let mut segmenter = Segmenter::new(writer.clone());
    let letter = |n: usize| {
        let mut bytes = vec![0; 20_000];
        blake3::Hasher::new().update(&n.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    };
    let mut lists = Vec::new();
    for n in 0..300 {
        lists.push(segmenter.add(&letter(n)).await.unwrap());
    }
    segmenter.settle().await.unwrap();
    let mut files = Vec::new();
    for (n, list) in lists.iter_mut().enumerate() {
        *list = segmenter.resolve_all(list).unwrap();
        let pieces = vec![Piece { encoding: Encoding::Raw, extents: ExtentList { depth: 0, list: list.clone() } }];
        let stream = Stream { role: StreamRole::Content, size_bytes: 20_000, source_hash: String::new(), pieces };
        let name = format!("f{n:05}");
        files.push(Record { streams: vec![stream], ..Record::new(ItemKind::File, &name, "", &name) });
    }
    writer.finish().await.unwrap();
    add_snapshot(&repo, &files).await;

    // Another one, which has nothing in memory.
    let repo = Repository::open(storage.clone(), &passphrase(), None).await.unwrap();
    let blobs: BTreeSet<_> = lists.iter().flatten().map(|extent| extent.blob.0).collect();
    let places = lists.iter().flatten().map(|extent| repo.content_place(&extent.blob).expect("it is there"));
    let packs: BTreeSet<String> = places.map(|place| place.pack.to_string()).collect();
    let packs: Vec<String> = packs.into_iter().collect();
    let first = lists[0][0].blob;
    let in_first = lists.iter().take_while(|list| list.iter().all(|extent| extent.blob == first)).count();
    assert!(blobs.len() > 2 && in_first > 80, "{} {in_first}", blobs.len());

    let browser = open(repo.clone()).await.unwrap();
    let folder = browser.resolve("sets/everyone/latest/users/a/Mail").await.unwrap();
    let listed = list(&browser, &folder, 1000).await;
    assert_eq!(listed.len(), 300);
    // Who jumps about has nothing read ahead.
    for n in [0, 40, 20, 60] {
        assert!(read(&browser, &listed[n].1, 1 << 20).await.unwrap() == letter(n), "{n}");
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(reads(&storage, &packs), 1);
    for (n, (_, file)) in listed.iter().enumerate().take(in_first - 8).skip(61) {
        assert!(read(&browser, file, 1 << 20).await.unwrap() == letter(n), "{n}");
    }
    // The reader is in the first segment still.
    let ahead = async {
        while reads(&storage, &packs) < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), ahead).await.expect("the next is read");
    for (n, (_, file)) in listed.iter().enumerate().skip(in_first - 8) {
        assert!(read(&browser, file, 1 << 20).await.unwrap() == letter(n), "{n}");
    }
    assert_eq!(reads(&storage, &packs), blobs.len(), "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn long_lists_of_extents_and_base64_read_from_anywhere() {
    let storage = tenantvault::storage::open("memory:", &StorageOptions::default()).unwrap();
    let repo = Repository::init(storage, &passphrase(), "test", START_US, None).await.unwrap();
    let writer = Writer::new(repo.clone(), WriterOptions::default());
    let mut noise = vec![0; 1_000_003];
    blake3::Hasher::new().update(b"noise").finalize_xof().fill(&mut noise);
    let (stored, length) = writer.put_stream(BytesMut::from(&noise[..]), None).await.unwrap();
    assert_eq!((length, stored.depth), (noise.len() as u64, 0));
    // The same stretches many times over: more than a record keeps itself.
    let many = writer.put_extents((0..200).flat_map(|_| stored.list.clone()).collect()).await.unwrap();
    assert!(many.depth > 0);
    writer.finish().await.unwrap();
    let raw = |extents| Piece { encoding: Encoding::Raw, extents };
    let coded = |line, crlf, extents| Piece { encoding: Encoding::Base64 { line, crlf }, extents };
    let encode = |line: usize, end: &str| {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.encode(&noise);
        let lines = text.as_bytes().chunks(line).map(|line| [line, end.as_bytes()].concat());
        lines.collect::<Vec<_>>().concat()
    };
    let mixed = [noise.clone(), encode(76, "\r\n"), noise.clone(), encode(4, "\n")].concat();
    let pieces =
        vec![raw(stored.clone()), coded(76, true, stored.clone()), raw(stored.clone()), coded(4, false, stored)];
    let stream =
        |pieces, size_bytes| Stream { role: StreamRole::Content, size_bytes, source_hash: String::new(), pieces };
    let long = noise.len() as u64 * 200;
    let mut files = Vec::new();
    for (name, stream) in [
        ("mixed", stream(pieces, mixed.len() as u64)),
        ("long", stream(vec![raw(many.clone())], long)),
        ("short", stream(vec![raw(many.clone())], long + 1)),
        ("wrong", stream(vec![raw(many.clone()), raw(many)], long)),
        ("bad", stream(vec![coded(6, false, Default::default())], 0)),
    ] {
        files.push(Record { streams: vec![stream], ..Record::new(ItemKind::File, name, "", name) });
    }
    add_snapshot(&repo, &files).await;
    let browser = open(repo).await.unwrap();
    let file = async |name: &str| browser.resolve(&format!("sets/everyone/latest/users/a/Mail/{name}")).await.unwrap();
    assert!(read(&browser, &file("mixed").await, 300_000).await.unwrap() == mixed);
    slices(&browser, &file("mixed").await, &mixed).await;
    let node = file("long").await;
    for (from, length) in [(long - 5, 100), (0, 10), (77_777_777, 2_500_000), (1_000_000, 10), (long, 5), (u64::MAX, 1)]
    {
        let end = from.saturating_add(length).min(long);
        let wanted: Vec<u8> = (from..end).map(|at| noise[(at % noise.len() as u64) as usize]).collect();
        assert!(browser.read(&node, from, length as usize).await.unwrap() == wanted, "{from}");
    }
    let error = browser.read(&file("short").await, long - 3, 100).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    for name in ["wrong", "bad"] {
        assert_eq!(browser.read(&file(name).await, 0, 10).await.unwrap_err().kind(), ErrorKind::Corrupt, "{name}");
    }
}
