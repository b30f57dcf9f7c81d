use bytes::BytesMut;
use futures::StreamExt as _;

use super::*;
use crate::crypto::Passphrase;
use crate::format::record::ExtentList;
use crate::repo::{Recent, Segmenter, StoredBytes, Writer, WriterOptions};

fn segment(n: u8, length: usize) -> (BlobId, Bytes) {
    (BlobId([n; 32]), (0..length).map(|at| (at / 3) as u8 ^ n).collect::<Vec<u8>>().into())
}

fn put(opened: &OpenedSegments, id: BlobId, plain: &[u8]) -> bool {
    let place = opened.ring().reserve(id, plain.len());
    place.is_some_and(|place| {
        opened.write(id, place, plain);
        true
    })
}

#[test]
fn any_stretch_of_what_is_laid_aside_reads_and_nothing_beyond_it() {
    let dir = tempfile::tempdir().unwrap();
    let opened = OpenedSegments::new(dir.path(), 1 << 20).unwrap();
    for (n, length) in [(1, 0), (2, 1), (3, PAGE_BYTES), (4, PAGE_BYTES + 1), (5, 5 * PAGE_BYTES - 7)] {
        let (id, plain) = segment(n, length);
        assert!(opened.read(&id, 0, 0).is_none());
        assert!(put(&opened, id, &plain) && opened.has(&id));
        assert!(!put(&opened, id, &plain), "it is there");
        for from in [0, 1, PAGE_BYTES - 1, PAGE_BYTES, 2 * PAGE_BYTES + 5, length] {
            for take in [0, 1, 100, PAGE_BYTES, 3 * PAGE_BYTES + 9, length] {
                let wanted = (from + take <= length).then(|| plain.slice(from..from + take));
                assert!(opened.read(&id, from, take) == wanted, "{length} {from} {take}");
            }
        }
        assert!(opened.read(&id, usize::MAX, 2).is_none());
    }
}

#[test]
fn the_oldest_are_overwritten_and_the_file_stays_as_long_as_it_may_be() {
    let dir = tempfile::tempdir().unwrap();
    let limit = 5 * 2 * SEALED_PAGE_BYTES as u64 + 3;
    let opened = OpenedSegments::new(dir.path(), limit).unwrap();
    for n in 0..60u8 {
        // Lengths differ, so that where they begin does from lap to lap.
        let (id, plain) = segment(n, PAGE_BYTES + usize::from(n % 7) * 2000);
        assert!(put(&opened, id, &plain));
        let there: Vec<u8> = (0..=n).filter(|n| opened.has(&BlobId([*n; 32]))).collect();
        assert!(there.len() >= 4.min(usize::from(n) + 1) && there.is_sorted(), "{there:?}");
        assert_eq!(there.last(), Some(&n));
        assert_eq!(usize::from(n - there[0]) + 1, there.len(), "the newest without a hole");
        for n in there {
            let (id, plain) = segment(n, PAGE_BYTES + usize::from(n % 7) * 2000);
            assert_eq!(opened.read(&id, 0, plain.len()).unwrap(), plain);
        }
    }
    assert!(opened.file.metadata().unwrap().len() <= limit);
    let (id, plain) = segment(99, limit as usize);
    assert!(!put(&opened, id, &plain), "longer than all");
}

#[test]
fn nothing_can_be_read_off_the_disk_and_what_changed_there_counts_as_absent() {
    let dir = tempfile::tempdir().unwrap();
    let opened = OpenedSegments::new(dir.path(), 1 << 20).unwrap();
    let (id, _) = segment(1, 0);
    let plain = b"a letter that nobody else is to read ".repeat(2000);
    assert!(put(&opened, id, &plain));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the file has no name");
    let mut bytes = vec![0; opened.file.metadata().unwrap().len() as usize];
    read_exact_at(&opened.file, &mut bytes, 0).unwrap();
    assert!(!bytes.windows(8).any(|w| w == b"a letter" || w == b"nobody e"));
    write_all_at(&opened.file, &[bytes[PAGE_BYTES + 50] ^ 1], PAGE_BYTES as u64 + 50).unwrap();
    assert!(opened.read(&id, 0, 100).is_some(), "the page before");
    assert!(opened.read(&id, PAGE_BYTES, 100).is_none());
    assert!(put(&opened, id, &plain), "it is laid aside again");
    assert_eq!(opened.read(&id, PAGE_BYTES, 100).unwrap(), plain[PAGE_BYTES..PAGE_BYTES + 100]);
}

fn letter(n: u32) -> Vec<u8> {
    let mut out = vec![0; 20_000];
    blake3::Hasher::new().update(&n.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}

async fn read(repo: &Arc<Repository>, list: &ExtentList) -> Result<Vec<u8>> {
    Ok(StoredBytes::open(repo, list).await?.read(repo, 0, usize::MAX).await?.concat())
}

#[tokio::test]
async fn who_reads_small_streams_in_any_order_opens_each_segment_once() {
    let (dir, storage) = (tempfile::tempdir().unwrap(), crate::storage::open("memory:", &Default::default()).unwrap());
    let passphrase = Passphrase::new("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap();
    let cache = Some(dir.path().to_owned());
    let repo = Repository::init(storage.clone(), &passphrase, "test", 1_790_000_000_000_000, cache).await.unwrap();
    let writer = Writer::new(repo.clone(), WriterOptions::default());
    let mut segmenter = Segmenter::new(writer.clone());
    let mut lists = Vec::new();
    for n in 0..400 {
        lists.push(ExtentList { depth: 0, list: segmenter.add(&letter(n)).await.unwrap() });
    }
    segmenter.settle().await.unwrap();
    lists.iter_mut().for_each(|list| list.list = segmenter.resolve_all(&list.list).unwrap());
    let long: Vec<u8> = (1000..1200).flat_map(letter).collect();
    let parts = futures::stream::iter([Ok(Bytes::from(long.clone()))]).boxed();
    let (long_list, _) = writer.put_stream(BytesMut::new(), Some(parts)).await.unwrap();
    writer.finish().await.unwrap();
    repo.reload_index().await.unwrap();
    let segments: std::collections::HashSet<BlobId> = lists.iter().flat_map(|l| &l.list).map(|e| e.blob).collect();
    assert!(segments.len() > 2, "{}", segments.len());
    // Nothing stays in memory.
    *repo.contents.lock().unwrap() = Recent::new(0);
    for n in 0..400 {
        let n = n * 97 % 400;
        assert_eq!(read(&repo, &lists[n]).await.unwrap(), letter(n as u32));
    }
    assert!(read(&repo, &long_list).await.unwrap() == long);
    let opened = repo.opened_segments().unwrap();
    drop(opened.writers.acquire_many(WRITERS as u32).await.unwrap());
    for entry in storage.list("packs").await.unwrap() {
        storage.delete(&entry.path).await.unwrap();
    }
    for n in 0..400 {
        let n = n * 31 % 400;
        assert_eq!(read(&repo, &lists[n]).await.unwrap(), letter(n as u32), "it is not asked for again");
    }
    assert!(read(&repo, &long_list).await.is_err(), "a long stream has segments of its own, which are not laid aside");
}
