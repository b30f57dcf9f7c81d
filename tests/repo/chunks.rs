//! Chunks: what any run has stored, no later run stores again, whatever lies around it.

use tenantvault::crypto::BlobKind;
use tenantvault::format::header::{FileKind, seal_document};
use tenantvault::format::id::{BlobId, IndexId};
use tenantvault::format::index::IndexFile;
use tenantvault::format::pack::{PackBuilder, PreparedBlob};
use tenantvault::format::record::ExtentList;
use tenantvault::monitor::Silent;
use tenantvault::repo::{ReadData, Segmenter, Writer, WriterOptions, WriterStats};

use crate::support::*;

/// Streams that share segments, each added by itself.
async fn add(repo: &std::sync::Arc<tenantvault::repo::Repository>, streams: &[Vec<u8>]) -> WriterStats {
    let writer = writer(repo);
    let mut segmenter = Segmenter::new(writer.clone());
    for stream in streams {
        segmenter.add(stream).await.unwrap();
    }
    segmenter.settle().await.unwrap();
    writer.finish().await.unwrap()
}

/// A long run remembers no chunk for ever: what it forgot it finds in the index files that it wrote.
#[tokio::test]
async fn what_a_run_forgot_of_its_own_it_finds_again() {
    let (storage, repo) = init_tiny().await;
    let options = WriterOptions { remembered_chunks: 64, ..WriterOptions::default() };
    let writer = Writer::new(repo.clone(), options);
    let first = noise(1, 20_000);
    let again: Vec<Vec<u8>> = vec![first.clone(), noise(2, 3_000_000), first.clone()];
    let doc = put(&writer, &again, &[]).await.unwrap();
    save(&writer, &doc).await.unwrap();
    // All chunks of the second telling but the last, which may be too short to be listed.
    let stats = writer.stats();
    assert!(stats.known_chunks > 5, "{stats:?}");
    assert_eq!(verify(&storage).await, 1);
}

#[tokio::test]
async fn later_runs_find_chunks_in_any_order_also_after_prune_and_repair() {
    let (storage, repo) = init_tiny().await;
    let gone = back_up(&repo, &[noise(1, 9000)], &[]).await.unwrap();
    let kept: Vec<Vec<u8>> = (10..30u64).map(|n| noise(n, 300 + (n as usize * 97) % 1500)).collect();
    let docs = back_up(&repo, &[kept.concat(), noise(2, 20_000)], &[]).await.unwrap();
    let shuffled = |first: u64| -> Vec<Vec<u8>> {
        // News between what is known.
        (0..10u64).flat_map(|n| [noise(first + n, 400), noise(2, 20_000)[..].to_vec()]).collect()
    };
    let stats = add(&reopen(&storage).await, &shuffled(100)).await;
    assert!(stats.new_bytes < 10 * 400 + 6000, "{stats:?}");
    assert!(stats.known_chunks > 100, "{stats:?}");

    forget(&repo, &gone).await;
    for days in [0, 2, 4] {
        prune(&reopen(&storage).await, &options(T0 + days * DAY, DAY)).await.unwrap();
    }
    let index = reopen(&storage).await.index();
    assert_eq!(index.files().count(), 1, "prune wrote the index anew");
    let stats = add(&reopen(&storage).await, &shuffled(200)).await;
    assert!(stats.new_bytes < 10 * 400 + 6000, "{stats:?}");

    reopen(&storage).await.repair_index(false, &Silent).await.unwrap();
    let stats = add(&reopen(&storage).await, &shuffled(300)).await;
    assert!(stats.new_bytes < 10 * 400 + 6000, "{stats:?}");
    assert_eq!(is_sound(&storage).await, 1);
    let _ = docs;
}

#[tokio::test]
async fn nothing_is_built_upon_a_chunk_in_a_marked_pack() {
    let (storage, repo) = init_tiny().await;
    let doc = back_up(&repo, &[noise(2, 20_000)], &[]).await.unwrap();
    forget(&repo, &doc).await;
    prune(&reopen(&storage).await, &options(T0, DAY)).await.unwrap();
    let repo = reopen(&storage).await;
    assert!(repo.index().marks().count() > 0);
    let stats = add(&repo, &[noise(2, 20_000)]).await;
    assert!(stats.new_bytes >= 20_000, "{stats:?}");
}

#[tokio::test]
async fn a_chunk_that_is_not_where_the_index_says_is_found_by_check() {
    let (storage, repo) = init_tiny().await;
    back_up(&repo, &[noise(2, 20_000)], &[]).await.unwrap();
    let path = files(&storage, "index").await.remove(0);
    let id = path.rsplit('/').next().unwrap().parse().unwrap();
    let mut file = repo.read_index_file(&id).await.unwrap();
    let (a, b) = (file.chunks[0], file.chunks[1]);
    (file.chunks[0].blob, file.chunks[0].offset, file.chunks[0].length) = (b.blob, b.offset, b.length);
    (file.chunks[1].blob, file.chunks[1].offset, file.chunks[1].length) = (a.blob, a.offset, a.length);
    let bytes = seal_document(repo.keys(), FileKind::Index, &file);
    let lying = format!("index/{}", IndexId(hash(&bytes)));
    storage.put(&lying, vec![bytes.into()]).await.unwrap();
    storage.delete(&path).await.unwrap();
    let found = reopen(&storage).await.check_packs(ReadData::All, &Silent).await.unwrap();
    assert!(found.iter().any(|f| f.error && f.text.contains("chunk")), "{found:?}");
}

/// Who waits for a chunk that lies in another's open segment closes it.
#[tokio::test]
async fn a_segment_that_another_closed_takes_nothing_more() {
    let (storage, repo) = init_tiny().await;
    let writer = writer(&repo);
    let (mut one, mut two) = (Segmenter::new(writer.clone()), Segmenter::new(writer.clone()));
    let (shared, later) = (noise(1, 600), noise(2, 600));
    let first = one.add(&shared).await.unwrap();
    let same = two.add(&shared).await.unwrap();
    two.settle().await.unwrap();
    let second = one.add(&later).await.unwrap();
    one.settle().await.unwrap();
    let stream = |bytes: &Vec<u8>, list| (hash(bytes), ExtentList { depth: 0, list: one.resolve_all(list).unwrap() });
    let doc = (vec![stream(&shared, &first), stream(&shared, &same), stream(&later, &second)], vec![]);
    save(&writer, &doc).await.unwrap();
    assert_eq!(is_sound(&storage).await, 1);
}

/// Who has a write-only key can store other bytes under the id of a content that it knows (`format-spec/threat-model.md`).
#[tokio::test]
async fn other_bytes_under_the_id_of_a_content_are_found_by_check() {
    for kind in [BlobKind::Content, BlobKind::Tree] {
        let (storage, repo) = init_tiny().await;
        let id = BlobId(repo.keys().blob_id(kind, b"what was meant"));
        let mut builder = PackBuilder::new(repo.keys(), kind, 1000).unwrap();
        builder.append(&PreparedBlob { id, plain_bytes: 10, body: b"other data".to_vec() }).unwrap();
        let forged = builder.finish().unwrap();
        let name = forged.pack.id.to_string();
        storage.put(&format!("packs/{}/{name}", &name[..2]), vec![forged.bytes.into()]).await.unwrap();
        let index = seal_document(repo.keys(), FileKind::Index, &IndexFile::of([(forged.pack, forged.blobs)], vec![]));
        storage.put(&format!("index/{}", IndexId(hash(&index))), vec![index.into()]).await.unwrap();
        let found = errors(&reopen(&storage).await).await;
        assert!(
            matches!(&found[..], [f] if f.object.contains(&name) && f.text.contains("other contents")),
            "{found:?}"
        );
    }
}
