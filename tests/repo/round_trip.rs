//! What is written reads back, equal, once.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use futures::{FutureExt, StreamExt};
use tenantvault::crypto::BlobKind;
use tenantvault::error::{Error, ErrorKind};
use tenantvault::format::config::RepoConfig;
use tenantvault::format::id::BlobId;
use tenantvault::format::record::{Extent, ExtentList};
use tenantvault::repo::{Repository, Segmenter, Writer, WriterOptions};
use tenantvault::storage::Storage;
use tenantvault::storage::fault::{Call, Fault, FaultPlan, FaultStorage, Which};

use crate::support::*;

#[tokio::test]
async fn streams_of_all_sizes_read_back() {
    let (storage, repo) = init_tiny().await;
    let lengths = [0, 1, 2, 511, 512, 513, 1023, 1024, 1025, 4095, 4096, 4097, 8192, 8193, 100_000];
    let streams: Vec<Vec<u8>> = lengths.iter().map(|&n| noise(n as u64, n)).collect();
    let mut compressible = b"the same line again and again\n".repeat(3000);
    compressible.truncate(77_777);
    let streams: Vec<Vec<u8>> = streams.into_iter().chain([compressible, vec![0; 50_000]]).collect();
    back_up(&repo, &streams, &[Vec::new(), vec![7], noise(9, 100_000)]).await.unwrap();
    assert_eq!(is_sound(&storage).await, 1);
}

#[tokio::test]
async fn blobs_of_all_sizes_read_back() {
    let (storage, repo) = init_tiny().await;
    let writer = writer(&repo);
    let mut ids = Vec::new();
    for n in [0usize, 1, 15, 16, 17, 65_535, 65_536, 300_000] {
        for kind in [BlobKind::Content, BlobKind::Tree] {
            ids.push((kind, n, writer.put_blob(kind, noise(n as u64, n).into()).await.unwrap()));
        }
    }
    writer.finish().await.unwrap();
    let repo = reopen(&storage).await;
    for (kind, n, id) in ids {
        let other = if kind == BlobKind::Tree { BlobKind::Content } else { BlobKind::Tree };
        assert_eq!(kind_of(repo.read_blob(other, &id).await), ErrorKind::NotFound, "the worlds are apart");
        assert_eq!(repo.read_blob(kind, &id).await.unwrap(), noise(n as u64, n));
    }
}

#[tokio::test]
async fn megabytes_read_back_under_the_usual_settings() {
    let storage = memory();
    let repo = Repository::init(storage.clone(), &pass(), "x", T0, None).await.unwrap();
    let data = noise(1, 18 << 20);
    back_up(&repo, std::slice::from_ref(&data), &[]).await.unwrap();
    assert_eq!(verify(&storage).await, 1);
    assert!(files(&storage, "packs").await.len() >= 2);
}

#[tokio::test]
async fn a_long_list_of_extents_goes_into_blobs() {
    let (storage, repo) = init_tiny().await;
    let name = back_up(&repo, &[noise(3, 600_000)], &[]).await.unwrap();
    let (_, doc) = documents(&repo).await.unwrap().into_iter().find(|(n, _)| *n == name).unwrap();
    assert_eq!(doc.0[0].1.depth, 1);
    assert!(doc.0[0].1.list.len() <= 64);
    assert_eq!(verify(&storage).await, 1);
}

#[tokio::test]
async fn very_long_lists_nest_and_expand_in_order() {
    let (storage, repo) = init_tiny().await;
    let writer = writer(&repo);
    let extents: Vec<Extent> =
        (0..300_000u32).map(|n| Extent { blob: BlobId([n as u8; 32]), offset: n, length: n ^ 1 }).collect();
    let list = writer.put_extents(extents.clone()).await.unwrap();
    assert_eq!(list.depth, 2);
    writer.finish().await.unwrap();
    let repo = reopen(&storage).await;
    let mut seen = Vec::new();
    let mut lists = 0;
    let mut visit = |e| {
        seen.push(e);
        Ok(())
    };
    repo.expand_extents(&list, &mut visit, &mut |_| lists += 1).await.unwrap();
    assert_eq!(seen, extents);
    assert_eq!(lists, 75);
    let deep = ExtentList { depth: 6, list: Vec::new() };
    let mut visit = |_| Ok(());
    assert_eq!(kind_of(repo.expand_extents(&deep, &mut visit, &mut |_| {}).await), ErrorKind::Corrupt);
}

#[tokio::test]
async fn an_extent_beyond_its_blob_is_an_error() {
    let (_, repo) = init_tiny().await;
    let writer = writer(&repo);
    let blob = writer.put_blob(BlobKind::Content, noise(1, 100).into()).await.unwrap();
    writer.finish().await.unwrap();
    for (offset, length) in [(0, 101), (100, 1), (u32::MAX, u32::MAX)] {
        let list = ExtentList { depth: 0, list: vec![Extent { blob, offset, length }] };
        assert_eq!(kind_of(read_all(&repo, &list).await), ErrorKind::Corrupt);
    }
}

#[tokio::test]
async fn the_same_contents_are_stored_once() {
    let (storage, repo) = init_tiny().await;
    let (a, b) = (noise(1, 60_000), noise(2, 60_000));
    back_up(&repo, &[a.clone(), a.clone()], &[noise(3, 100)]).await.unwrap();
    let packs = files(&storage, "packs").await;
    for repo in [repo, reopen(&storage).await] {
        let writer = writer(&repo);
        put(&writer, std::slice::from_ref(&a), &[noise(3, 100)]).await.unwrap();
        let stats = writer.finish().await.unwrap();
        assert_eq!((stats.new_blobs, stats.packs), (0, 0));
        assert!(stats.known_blobs > 0);
    }
    assert_eq!(files(&storage, "packs").await, packs);
    assert_eq!(files(&storage, "index").await.len(), 1, "a run without news writes no index file");
    // One changed byte: little is new.
    let repo = reopen(&storage).await;
    let writer = writer(&repo);
    let mut changed = a.clone();
    changed[30_000] ^= 1;
    put(&writer, &[changed, b], &[]).await.unwrap();
    let stats = writer.finish().await.unwrap();
    assert!(stats.new_bytes < 60_000 + 12_000, "{stats:?}");
}

#[tokio::test]
async fn small_streams_share_segments_and_equal_ones_are_kept_once() {
    let (storage, repo) = init_tiny().await;
    let writer = writer(&repo);
    let streams: Vec<Vec<u8>> = (0..200u64).map(|n| noise(n % 120, (n % 120 * 17) as usize)).collect();
    let mut segmenter = Segmenter::new(writer.clone());
    let mut extents = Vec::new();
    for stream in &streams {
        extents.push(segmenter.add(stream).await.unwrap());
    }
    assert_eq!(extents[20], extents[140], "a stream added before is not added again");
    assert_eq!(kind_of(segmenter.resolve_all(&extents[119])), ErrorKind::Internal, "no id before the end");
    // A second segmenter of the run knows what the first one has in hand, and closes it if it must.
    let mut second = Segmenter::new(writer.clone());
    let again = second.add(&streams[119]).await.unwrap();
    let empty = second.add(b"").await.unwrap();
    second.settle().await.unwrap();
    let again = second.resolve_all(&again).unwrap();
    assert_eq!(second.resolve_all(&empty).unwrap()[0].length, 0);
    let later = segmenter.add(&noise(1000, 1000)).await.unwrap();
    segmenter.settle().await.unwrap();
    // It may be cut in two, for where chunks end depends on the repository's secret.
    let later = segmenter.resolve_all(&later).unwrap();
    let mut extents: Vec<Vec<Extent>> = extents.iter().map(|e| segmenter.resolve_all(e).unwrap()).collect();
    let mut streams = streams;
    streams.extend([streams[119].clone(), noise(1000, 1000)]);
    extents.extend([again, later]);
    let stats = writer.finish().await.unwrap();
    assert!(stats.new_blobs < 60, "{stats:?}");
    let repo = reopen(&storage).await;
    for (stream, list) in streams.iter().zip(extents) {
        assert_eq!(read_all(&repo, &ExtentList { depth: 0, list }).await.unwrap(), *stream);
    }
}

#[tokio::test]
async fn who_gives_up_waiting_takes_no_segment_along() {
    let (storage, repo) = init_tiny().await;
    // So small a budget that a full segment waits for the one before it.
    let writer = Writer::new(repo.clone(), WriterOptions { budget_bytes: 4 << 10, ..Default::default() });
    let mut segmenter = Segmenter::new(writer.clone());
    let (mut kept, mut given_up) = (Vec::new(), 0);
    for n in 0..40u64 {
        let stream = noise(n, 1500);
        match segmenter.add(&stream).now_or_never() {
            Some(extents) => kept.push((stream, extents.unwrap())),
            None => given_up += 1,
        }
    }
    assert!(given_up > 2 && kept.len() > 10, "{given_up} given up, {} kept", kept.len());
    segmenter.settle().await.unwrap();
    let kept: Vec<_> = kept.into_iter().map(|(stream, e)| (stream, segmenter.resolve_all(&e).unwrap())).collect();
    writer.finish().await.unwrap();
    let repo = reopen(&storage).await;
    for (stream, list) in kept {
        assert_eq!(read_all(&repo, &ExtentList { depth: 0, list }).await.unwrap(), stream);
    }
}

#[tokio::test]
async fn what_came_of_a_stream_that_broke_off_is_stored_and_found_by_the_next_try() {
    let storage = memory();
    // All of it in one segment, which is still open when the stream breaks off.
    let config = RepoConfig { segment_bytes: 4 << 20, ..tiny() };
    Repository::init_with(storage.clone(), &pass(), "test", config, None).await.unwrap();
    let data = noise(1, 1_300_000);
    let first = writer(&reopen(&storage).await);
    let broken = || Err(Error::new(ErrorKind::Unavailable, "the line is cut"));
    let source = futures::stream::iter([Ok(Bytes::from(data[..1_200_000].to_vec())), broken()]).boxed();
    let e = first.put_stream(BytesMut::new(), Some(source)).await.err().unwrap();
    assert_eq!(e.kind(), ErrorKind::Unavailable);
    first.finish().await.unwrap();
    let second = writer(&reopen(&storage).await);
    put(&second, &[data], &[]).await.unwrap();
    let stats = second.finish().await.unwrap();
    assert!(stats.known_chunks > 500 && stats.new_bytes < 120_000, "{stats:?}");
}

#[tokio::test]
async fn a_segmenter_with_nothing_but_an_empty_stream_settles() {
    let (storage, repo) = init_tiny().await;
    let writer = writer(&repo);
    let mut segmenter = Segmenter::new(writer.clone());
    let list = segmenter.add(b"").await.unwrap();
    segmenter.settle().await.unwrap();
    let list = segmenter.resolve_all(&list).unwrap();
    writer.finish().await.unwrap();
    let list = ExtentList { depth: 0, list };
    assert_eq!(read_all(&reopen(&storage).await, &list).await.unwrap(), b"");
}

#[tokio::test]
async fn a_cache_makes_no_difference_whatever_becomes_of_it() {
    let (storage, repo) = init_tiny().await;
    for n in 0..4u64 {
        back_up(&repo, &[noise(n, 20_000)], &[noise(n + 10, 3000), noise(n + 20, 100)]).await.unwrap();
    }
    let cache = tempfile::tempdir().unwrap();
    let check = async || {
        let repo = reopen_with(&storage, cache.path()).await;
        for (_, doc) in documents(&repo).await.unwrap() {
            verify_doc(&repo, &doc).await.unwrap();
        }
    };
    check().await;
    let mut seen = 0;
    let mut damage = async |change: &dyn Fn(&mut Vec<u8>)| {
        let mut folders = vec![cache.path().to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let mut bytes = std::fs::read(&path).unwrap();
                change(&mut bytes);
                std::fs::remove_file(&path).unwrap();
                std::fs::write(&path, bytes).unwrap();
                seen += 1;
            }
        }
        check().await;
    };
    for part in 0..8 {
        damage(&|bytes| {
            let at = bytes.len() * part / 8;
            if let Some(b) = bytes.get_mut(at) {
                *b ^= 0x10;
            }
        })
        .await;
    }
    // Every record of every table points elsewhere.
    damage(&|bytes| bytes.iter_mut().rev().step_by(16).for_each(|b| *b ^= 1)).await;
    damage(&|bytes| bytes.truncate(bytes.len() / 2)).await;
    damage(&|bytes| bytes.clear()).await;
    assert!(seen > 50);
    std::fs::remove_dir_all(cache.path()).unwrap();
    check().await;
    let repo = reopen_with(&storage, cache.path()).await;
    std::fs::remove_dir_all(cache.path()).unwrap();
    back_up(&repo, &[noise(99, 20_000)], &[noise(98, 3000)]).await.unwrap();
    for (_, doc) in documents(&repo).await.unwrap() {
        verify_doc(&repo, &doc).await.unwrap();
    }
}

#[tokio::test]
async fn a_node_of_a_large_tree_pack_comes_before_the_pack_does() {
    let storage = memory();
    let repo = Repository::init(storage.clone(), &pass(), "test", T0, None).await.unwrap();
    let writer = writer(&repo);
    let mut ids = Vec::new();
    for n in 0..32u64 {
        ids.push(writer.put_blob(BlobKind::Tree, noise(n, 30_000).into()).await.unwrap());
    }
    writer.finish().await.unwrap();
    let read_all = async |repo: &Arc<Repository>| {
        for (n, id) in ids.iter().enumerate() {
            assert_eq!(repo.read_blob(BlobKind::Tree, id).await.unwrap(), noise(n as u64, 30_000));
        }
    };
    let packs = |cache: &Path| {
        let found = std::fs::read_dir(cache).unwrap().map(|repo| repo.unwrap().path().join("packs"));
        let names = found.flat_map(|packs| std::fs::read_dir(packs).unwrap()).map(|entry| entry.unwrap().file_name());
        names.filter(|name| !name.to_string_lossy().starts_with("tmp-")).count()
    };
    // Whoever reads does not wait for the pack: it does not come at all here.
    let cache = tempfile::tempdir().unwrap();
    let plan = FaultPlan::new().every(Which::Under(Call::Get, "packs/"), Fault::Fail(ErrorKind::Unavailable));
    let broken: Arc<dyn Storage> = Arc::new(FaultStorage::new(storage.clone(), plan));
    read_all(&reopen_with(&broken, cache.path()).await).await;
    assert_eq!(packs(cache.path()), 0);
    // It comes behind, once.
    let repo = reopen_with(&storage, cache.path()).await;
    read_all(&repo).await;
    while packs(cache.path()) == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let plan = FaultPlan::new().every(Which::Under(Call::GetRange, "packs/"), Fault::Fail(ErrorKind::Unavailable));
    let broken: Arc<dyn Storage> = Arc::new(FaultStorage::new(storage.clone(), plan));
    read_all(&reopen_with(&broken, cache.path()).await).await;
}

#[tokio::test]
async fn a_small_tree_pack_comes_once_for_all_who_read_of_it_at_once() {
    let storage = memory();
    let repo = Repository::init(storage.clone(), &pass(), "test", T0, None).await.unwrap();
    let writer = writer(&repo);
    let mut ids = Vec::new();
    for n in 0..12u64 {
        ids.push(writer.put_blob(BlobKind::Tree, noise(n, 3000).into()).await.unwrap());
    }
    writer.finish().await.unwrap();
    let slow =
        FaultPlan::new().every(Which::Under(Call::Get, "packs/"), Fault::Delay(std::time::Duration::from_millis(20)));
    let counted = Arc::new(FaultStorage::new(storage, slow));
    let cache = tempfile::tempdir().unwrap();
    let repo = reopen_with(&(counted.clone() as Arc<dyn Storage>), cache.path()).await;
    counted.recorder().clear();
    let reading = ids.iter().map(|id| repo.read_blob(BlobKind::Tree, id));
    for (n, read) in futures::future::join_all(reading).await.into_iter().enumerate() {
        assert_eq!(read.unwrap(), noise(n as u64, 3000));
    }
    assert_eq!(counted.recorder().count(&Which::Under(Call::Get, "packs/")), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_stream_flows_through_a_bounded_space() {
    // A store slower than the source: what cannot be stored must wait where it comes from.
    let slow = FaultPlan::new().every(Which::Kind(Call::Put), Fault::Delay(std::time::Duration::from_millis(4)));
    let storage: Arc<dyn Storage> = Arc::new(FaultStorage::new(memory(), slow));
    let mut config = tiny();
    (config.chunk_min_bytes, config.chunk_avg_bytes, config.chunk_max_bytes) = (4 << 10, 16 << 10, 64 << 10);
    (config.segment_bytes, config.pack_bytes) = (128 << 10, 256 << 10);
    let repo = Repository::init_with(storage, &pass(), "x", config, None).await.unwrap();
    let options = WriterOptions { budget_bytes: 512 << 10, workers: 2, ..WriterOptions::default() };
    let writer = Writer::new(repo.clone(), options);
    let (read, most) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (stats, counted, peak) = (writer.clone(), read.clone(), most.clone());
    const PART: usize = 64 << 10;
    const PARTS: u64 = 256;
    let parts = (0..PARTS).map(move |n| {
        let total = counted.fetch_add(PART as u64, Ordering::Relaxed);
        peak.fetch_max(total.saturating_sub(stats.stats().stored_bytes), Ordering::Relaxed);
        Ok(Bytes::from(noise(n, PART)))
    });
    let (list, length) = writer.put_stream(BytesMut::new(), Some(futures::stream::iter(parts).boxed())).await.unwrap();
    writer.finish().await.unwrap();
    assert_eq!(length, PARTS * PART as u64);
    assert!(most.load(Ordering::Relaxed) < 4 << 20, "{} bytes were on their way", most.load(Ordering::Relaxed));
    let mut stream = repo.read_extents(list);
    let mut hasher = blake3::Hasher::new();
    while let Some(part) = stream.next().await {
        hasher.update(&part.unwrap());
    }
    let mut wanted = blake3::Hasher::new();
    for n in 0..PARTS {
        wanted.update(&noise(n, PART));
    }
    assert_eq!(hasher.finalize(), wanted.finalize());
}

#[tokio::test]
async fn a_budget_smaller_than_anything_still_moves() {
    let (storage, repo) = init_tiny().await;
    let options = WriterOptions { budget_bytes: 0, workers: 1, uploads: 0, ..WriterOptions::default() };
    let writer = Writer::new(repo.clone(), options);
    let doc = put(&writer, &[noise(1, 100_000)], &[noise(2, 100_000)]).await.unwrap();
    save(&writer, &doc).await.unwrap();
    assert_eq!(verify(&storage).await, 1);
}

#[tokio::test]
async fn a_source_that_fails_fails_the_stream_alone() {
    let (storage, repo) = init_tiny().await;
    let writer = writer(&repo);
    let broken =
        futures::stream::iter([Ok(Bytes::from(noise(1, 50_000))), Err(Error::new(ErrorKind::Unavailable, "cut"))]);
    assert_eq!(kind_of(writer.put_stream(BytesMut::new(), Some(broken.boxed())).await), ErrorKind::Unavailable);
    // The same contents again: those of its chunks that came through are not stored twice, the others are stored.
    let doc = put(&writer, &[noise(1, 50_000)], &[]).await.unwrap();
    save(&writer, &doc).await.unwrap();
    assert_eq!(is_sound(&storage).await, 1);
}

#[tokio::test]
async fn a_writer_finishes_once_and_takes_nothing_afterwards() {
    let (_, repo) = init_tiny().await;
    let writer = writer(&repo);
    put(&writer, &[noise(1, 10_000)], &[]).await.unwrap();
    let first = writer.finish().await.unwrap();
    assert_eq!(writer.finish().await.unwrap(), first);
    assert!(writer.put_blob(BlobKind::Content, noise(9, 10).into()).await.is_err(), "it would never be stored");
    assert_eq!(writer.finish().await.unwrap(), first);
}

#[tokio::test]
async fn a_failed_finish_does_not_turn_into_success() {
    for which in [Which::Under(Call::Put, "packs"), Which::Under(Call::Put, "index")] {
        let (storage, _) = init_tiny().await;
        let fault = Arc::new(FaultStorage::new(storage.clone(), FaultPlan::new()));
        let repo = reopen(&(fault.clone() as Arc<dyn Storage>)).await;
        fault.revive(FaultPlan::new().every(which, Fault::Fail(ErrorKind::StorageFull)));
        let writer = writer(&repo);
        writer.put_blob(BlobKind::Content, noise(1, 100).into()).await.unwrap();
        for _ in 0..3 {
            assert_eq!(kind_of(writer.finish().await), ErrorKind::StorageFull);
        }
        assert!(writer.is_broken());
    }
}

#[tokio::test]
async fn a_store_that_dies_fails_every_put_and_hangs_none() {
    let (storage, _) = init_tiny().await;
    let fault = Arc::new(FaultStorage::new(storage.clone(), FaultPlan::new()));
    let repo = reopen(&(fault.clone() as Arc<dyn Storage>)).await;
    fault.revive(FaultPlan::new().at(Which::Under(Call::Put, "packs"), 2, Fault::DieBefore));
    let writer = writer(&repo);
    let mut puts = tokio::task::JoinSet::new();
    for n in 0..200u64 {
        let writer = writer.clone();
        puts.spawn(async move { writer.put_blob(BlobKind::Content, noise(n, 4000).into()).await });
    }
    let results = puts.join_all().await;
    assert!(results.iter().any(Result::is_err));
    assert!(writer.finish().await.is_err());
}

#[tokio::test]
async fn a_writer_that_is_dropped_leaves_nothing_running_and_what_is_full_is_listed() {
    let (storage, repo) = init_tiny().await;
    let writer = writer(&repo);
    for n in 0..20u64 {
        writer.put_blob(BlobKind::Content, noise(n, 4000).into()).await.unwrap();
    }
    drop(writer);
    while Arc::strong_count(&repo) > 1 {
        tokio::task::yield_now().await;
    }
    assert!(!files(&storage, "packs").await.is_empty());
    assert_eq!(files(&storage, "index").await.len(), 1);
    assert_eq!(is_sound(&storage).await, 0);
}

#[tokio::test]
async fn a_tree_blob_reads_back_before_it_is_stored() {
    let (_, repo) = init_tiny().await;
    let writer = writer(&repo);
    let mut ids = Vec::new();
    for n in 0..100u64 {
        ids.push(writer.put_blob(BlobKind::Tree, noise(n, 1000).into()).await.unwrap());
        for (n, id) in ids.iter().enumerate().step_by(7) {
            assert_eq!(writer.read_tree(id).await.unwrap(), noise(n as u64, 1000));
        }
    }
    writer.finish().await.unwrap();
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(writer.read_tree(id).await.unwrap(), noise(n as u64, 1000));
    }
}

#[tokio::test]
async fn a_reader_that_is_not_listened_to_holds_up_no_other() {
    // An export once hung for ever: a file half read waited for its turn, held what the listing of the next folder
    // needed, and got its turn only after that listing.
    let (storage, repo) = init_tiny().await;
    let id = put(&writer(&repo), &[], &[noise(1, 5000)]).await.unwrap().1[0].1;
    back_up(&repo, &[], &[noise(1, 5000)]).await.unwrap();
    let delay = Fault::Delay(std::time::Duration::from_millis(50));
    let slow = FaultStorage::new(storage, FaultPlan::new().every(Which::Kind(Call::GetRange), delay));
    let repo = reopen(&(Arc::new(slow) as Arc<dyn Storage>)).await;
    let mut forgotten = std::pin::pin!(repo.read_blob(BlobKind::Tree, &id));
    assert!(futures::poll!(&mut forgotten).is_pending());
    // Time enough that whoever is served in turn has been given the turn.
    let read = tokio::time::timeout(std::time::Duration::from_secs(60), repo.read_blob(BlobKind::Tree, &id)).await;
    assert_eq!(read.expect("it hangs").unwrap(), noise(1, 5000));
    assert_eq!(forgotten.await.unwrap(), noise(1, 5000));
}
