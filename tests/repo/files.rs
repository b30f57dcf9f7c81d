//! Files made from streams of a repository: whole or not at all, and no segment read more often than need be.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use tenantvault::error::{ErrorKind, Result};
use tenantvault::format::config::RepoConfig;
use tenantvault::format::id::BlobId;
use tenantvault::format::record::{Encoding, ExtentList, Piece, Stream, StreamRole};
use tenantvault::ops::backup::Stop;
use tenantvault::ops::files::{FileMaker, Made, NewFile, PoolLimits};
use tenantvault::repo::{Repository, Segmenter};
use tenantvault::storage::Storage;
use tenantvault::storage::fault::{Call, FaultPlan, FaultStorage, Which};

use crate::support::{T0, init_tiny, memory, noise, pass, reopen, replace, source, tiny, writer};

const PACKS: Which = Which::Under(Call::GetRange, "packs/");

fn stream(pieces: Vec<Piece>, bytes: &[u8]) -> Stream {
    Stream { role: StreamRole::Mime, size_bytes: bytes.len() as u64, source_hash: String::new(), pieces }
}

fn lines(bytes: &[u8]) -> Vec<u8> {
    let text = |line: &[u8]| base64::engine::general_purpose::STANDARD.encode(line) + "\r\n";
    bytes.chunks(57).map(text).collect::<String>().into_bytes()
}

/// Messages with a body of their own, some with attachments that were stored long before, whole segments apart.
async fn mailbox(repo: &Arc<Repository>, messages: usize) -> Vec<(Stream, Vec<u8>)> {
    let writer = writer(repo);
    let mut segmenter = Segmenter::new(writer.clone());
    let mut attachments = Vec::new();
    for n in 0..40u64 {
        let bytes = noise(1000 + n, 1800);
        attachments.push((segmenter.add(&bytes).await.unwrap(), bytes));
    }
    let mut laid = Vec::new();
    for n in 0..messages {
        let body = noise(5000 + n as u64, 150);
        laid.push((segmenter.append(&body).await.unwrap(), body));
    }
    segmenter.settle().await.unwrap();
    let piece = |encoding, list| Piece { encoding, extents: ExtentList { depth: 0, list } };
    let mut all = Vec::new();
    for (n, (extent, mut bytes)) in laid.into_iter().enumerate() {
        let mut pieces = vec![piece(Encoding::Raw, vec![segmenter.resolve(extent).unwrap()])];
        // Every third has one, every ninth a second.
        for k in 0..usize::from(n % 3 == 0) + usize::from(n % 9 == 0) {
            let (extents, attachment) = &attachments[(n * 7 + k * 13) % attachments.len()];
            let extents = segmenter.resolve_all(extents).unwrap();
            pieces.push(piece(Encoding::Base64 { line: 76, crlf: true }, extents));
            bytes.extend(lines(attachment));
        }
        all.push((stream(pieces, &bytes), bytes));
    }
    writer.finish().await.unwrap();
    all
}

/// Makes a file of each stream; says the numbers of those that are lost.
async fn make(
    repo: &Arc<Repository>,
    streams: &[(Stream, Vec<u8>)],
    folder: &Path,
    limits: PoolLimits,
    stop: &Stop,
) -> Result<BTreeSet<usize>> {
    let mut files = FileMaker::new(repo.clone(), folder, limits, stop.clone());
    let (mut lost, mut told) = (BTreeSet::new(), 0);
    let mut tell = |n: usize, made| {
        told += 1;
        match made {
            Made::Whole(size) => assert_eq!(size, streams[n].1.len() as u64),
            Made::Lost(e) => {
                assert!(e.is_loss() && lost.insert(n), "{n}: {e:?}");
            }
        }
        Ok(())
    };
    for (n, (contents, _)) in streams.iter().enumerate() {
        let modified = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + n as u64));
        let file = NewFile { path: folder.join(n.to_string()), modified, contents: contents.clone() };
        files.add(file, n, &mut tell).await?;
    }
    files.finish(&mut tell).await?;
    assert_eq!(told, streams.len(), "each is told of once");
    Ok(lost)
}

fn written(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries.map(|e| (e.file_name().into_string().unwrap(), std::fs::read(e.path()).unwrap())).collect()
}

fn assert_whole(folder: &Path, streams: &[(Stream, Vec<u8>)], lost: &BTreeSet<usize>) {
    let expected = streams.iter().enumerate().filter(|(n, _)| !lost.contains(n));
    let expected: BTreeMap<String, Vec<u8>> = expected.map(|(n, (_, bytes))| (n.to_string(), bytes.clone())).collect();
    let written = written(folder);
    assert_eq!(written.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (name, bytes) in &expected {
        assert!(written[name] == *bytes, "{name} differs");
        let modified = std::fs::metadata(folder.join(name)).unwrap().modified().unwrap();
        let since = modified.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        assert_eq!(since, 1_000_000 + name.parse::<u64>().unwrap());
    }
}

async fn recorded() -> (Arc<FaultStorage>, Arc<Repository>) {
    let storage = Arc::new(FaultStorage::new(memory(), FaultPlan::new()));
    let watched: Arc<dyn Storage> = storage.clone();
    let repo = Repository::init_with(watched, &pass(), "test", tiny(), None).await.unwrap();
    (storage, repo)
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_share_attachments_open_each_segment_about_once() {
    let (storage, repo) = recorded().await;
    let streams = mailbox(&repo, 900).await;
    let stored: u64 = repo.stored_packs().await.unwrap().values().sum();
    // All may wait; few may wait; few and with little in hand.
    for (items, held_bytes, times) in [(10_000, 10 << 20, 1), (300, 100 << 10, 6), (100, 8 << 10, 16)] {
        let folder = tempfile::tempdir().unwrap();
        storage.recorder().clear();
        let lost = make(&repo, &streams, folder.path(), PoolLimits { items, held_bytes }, &Stop::new()).await.unwrap();
        assert!(lost.is_empty());
        assert_whole(folder.path(), &streams, &lost);
        let (bytes, requests) = (storage.recorder().bytes(&PACKS), storage.recorder().count(&PACKS));
        assert!(bytes <= stored * times, "{items} items: {bytes} of {stored} bytes were read");
        let blobs = repo.index().blobs().count() as u64;
        assert!(times > 1 || requests < blobs / 2, "{requests} requests for {blobs} blobs");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_in_a_damaged_segment_is_lost_and_nothing_else() {
    let (storage, repo) = init_tiny().await;
    let mut streams = mailbox(&repo, 300).await;
    // A segment of attachments: bodies of those who need it are read before.
    let blob = streams[3].0.pieces[1].extents.list[0].blob;
    flip(&storage, &repo, &blob).await;
    let needs = |s: &Stream, blob: &BlobId| s.pieces.iter().flat_map(|p| &p.extents.list).any(|e| e.blob == *blob);
    let mut hit: BTreeSet<usize> = (0..streams.len()).filter(|n| needs(&streams[*n].0, &blob)).collect();
    assert!(!hit.is_empty() && hit.len() < 100, "{hit:?}");
    // And one that says of itself that it is longer.
    let longer = (0..streams.len()).find(|n| !hit.contains(n)).unwrap();
    streams[longer].0.size_bytes += 1;
    hit.insert(longer);
    for items in [10_000, 40] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("3"), "mine").unwrap();
        let limits = PoolLimits { items, held_bytes: 20 << 10 };
        let lost = make(&repo, &streams, folder.path(), limits, &Stop::new()).await.unwrap();
        assert_eq!(lost, hit);
        assert_eq!(std::fs::read(folder.path().join("3")).unwrap(), b"mine", "what is lost replaces nothing");
        std::fs::remove_file(folder.path().join("3")).unwrap();
        assert_whole(folder.path(), &streams, &lost);
    }
}

/// Damages a blob in the pack that it is read from first.
async fn flip(storage: &Arc<dyn Storage>, repo: &Arc<Repository>, blob: &BlobId) {
    let place = repo.content_place(blob).unwrap();
    let path = format!("packs/{}/{}", &place.pack.to_string()[..2], place.pack);
    let mut bytes = storage.get(&path, u64::MAX).await.unwrap().to_vec();
    bytes[place.offset as usize + 5] ^= 1;
    replace(storage, &path, bytes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_pack_holds_whole_is_not_lost() {
    let (storage, repo) = init_tiny().await;
    // Neither knows of the other: all is stored twice.
    let beside = reopen(&storage).await;
    let streams = mailbox(&repo, 100).await;
    assert!(mailbox(&beside, 100).await == streams);
    let repo = reopen(&storage).await;
    flip(&storage, &repo, &streams[3].0.pieces[1].extents.list[0].blob).await;
    let folder = tempfile::tempdir().unwrap();
    let lost = make(&repo, &streams, folder.path(), PoolLimits::default(), &Stop::new()).await.unwrap();
    assert!(lost.is_empty(), "{lost:?}");
    assert_whole(folder.path(), &streams, &lost);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_can_be_laid_aside_little_is_held_all_the_same() {
    let (_, repo) = init_tiny().await;
    let streams = mailbox(&repo, 900).await;
    let folder = tempfile::tempdir().unwrap();
    let limits = PoolLimits { items: 600, held_bytes: 16 << 10 };
    let mut files = FileMaker::new(repo, &folder.path().join("nowhere"), limits, Stop::new());
    let mut tell = |_: usize, made| {
        assert!(matches!(made, Made::Whole(_)), "{made:?}");
        Ok(())
    };
    for (n, (contents, _)) in streams.iter().enumerate() {
        let modified = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + n as u64));
        let file = NewFile { path: folder.path().join(n.to_string()), modified, contents: contents.clone() };
        files.add(file, n, &mut tell).await.unwrap();
        assert!(files.held_bytes() <= limits.held_bytes, "{} bytes", files.held_bytes());
    }
    files.finish(&mut tell).await.unwrap();
    assert_whole(folder.path(), &streams, &BTreeSet::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stops_finds_whole_files_only() {
    let (_, repo) = init_tiny().await;
    let streams = mailbox(&repo, 600).await;
    let folder = tempfile::tempdir().unwrap();
    let stop = Stop::new();
    let mut files =
        FileMaker::new(repo.clone(), folder.path(), PoolLimits { items: 50, held_bytes: 1 << 20 }, stop.clone());
    let mut ended = Ok(());
    let mut tell = |_: usize, _: Made| {
        stop.stop();
        Ok(())
    };
    for (n, (contents, _)) in streams.iter().enumerate() {
        let file = NewFile { path: folder.path().join(n.to_string()), modified: None, contents: contents.clone() };
        ended = files.add(file, n, &mut tell).await;
        if ended.is_err() {
            break;
        }
    }
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::Interrupted);
    files.abandon(&mut tell).await.unwrap();
    let written = written(folder.path());
    assert!(!written.is_empty() && written.len() < 500, "{}", written.len());
    for (name, bytes) in written {
        assert!(bytes == streams[name.parse::<usize>().unwrap()].1, "{name} is not whole");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn long_files_are_whole_or_not_there() {
    let storage = memory();
    let repo = Repository::init_with(storage.clone(), &pass(), "test", RepoConfig::new(T0), None).await.unwrap();
    let writer = writer(&repo);
    let mut streams = Vec::new();
    for (n, length) in [0, 1, 3 << 20, (4 << 20) - 1, 4 << 20, (9 << 20) + 4097].into_iter().enumerate() {
        let bytes = noise(n as u64, length);
        let (extents, _) = writer.put_stream(Default::default(), Some(source(bytes.clone(), 70_001))).await.unwrap();
        streams.push((stream(vec![Piece { encoding: Encoding::Raw, extents }], &bytes), bytes));
    }
    writer.finish().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let target: PathBuf = folder.path().join("files");
    std::fs::create_dir(&target).unwrap();
    let lost = make(&repo, &streams, &target, PoolLimits::default(), &Stop::new()).await.unwrap();
    assert!(lost.is_empty());
    assert_whole(&target, &streams, &lost);
    // The longest and a short one say of themselves that they are longer, one loses the pack of its end.
    streams[5].0.size_bytes += 1;
    streams[1].0.size_bytes += 1;
    let last = streams[4].0.pieces[0].extents.list.last().unwrap().blob;
    let pack = repo.content_place(&last).unwrap().pack;
    storage.delete(&format!("packs/{}/{pack}", &pack.to_string()[..2])).await.unwrap();
    let again = folder.path().join("again");
    std::fs::create_dir(&again).unwrap();
    std::fs::write(again.join("5"), "mine").unwrap();
    let repo = reopen(&storage).await;
    let lost = make(&repo, &streams, &again, PoolLimits::default(), &Stop::new()).await.unwrap();
    assert!([1, 4, 5].iter().all(|n| lost.contains(n)), "{lost:?}");
    assert_eq!(std::fs::read(again.join("5")).unwrap(), b"mine", "what is lost replaces nothing");
    std::fs::remove_file(again.join("5")).unwrap();
    assert_whole(&again, &streams, &lost);
}
