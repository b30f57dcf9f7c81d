//! How fast the stages of the repository are: cutting, ids, compression, encryption, packing, look-up. One core each.

use std::hint::black_box;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tenantvault::crypto::{BlobKind, MasterKeys, Passphrase, Secret, SlotSecrets, seal_in_place};
use tenantvault::format::config::RepoConfig;
use tenantvault::format::header::{FileKind, seal_document};
use tenantvault::format::id::{BlobId, PackId};
use tenantvault::format::index::{IndexFile, IndexedBlob, IndexedPack};
use tenantvault::format::pack::{PackBuilder, PreparedBlob, open_blob};
use tenantvault::repo::{Chunker, Repository};
use tenantvault::storage::{self, Storage, StorageOptions};

const SIZE: usize = 16 << 20;
const CHUNK: usize = 256 << 10;

fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(b"noise").finalize_xof().fill(&mut bytes);
    bytes
}

/// Text that compresses about as mail does.
fn prose(length: usize) -> Vec<u8> {
    let words =
        ["the", "meeting", "of", "Tuesday", "is", "moved", "please", "bring", "your", "notes", "regards", "invoice"];
    let picks = noise(length / 3);
    let mut text: Vec<u8> =
        picks.iter().flat_map(|n| format!("{} ", words[usize::from(*n) % words.len()]).into_bytes()).collect();
    text.truncate(length);
    text
}

fn keys() -> MasterKeys {
    MasterKeys::new(SlotSecrets::generate())
}

fn chunking(c: &mut Criterion) {
    let data = noise(SIZE);
    let chunker = Chunker::new(&RepoConfig::new(0));
    let mut group = c.benchmark_group("chunking");
    group.throughput(Throughput::Bytes(SIZE as u64));
    // A copy of the data is made in each round: take its time off, it has a bench of its own.
    group.bench_function("cut", |b| b.iter(|| chunker.cut(&mut BytesMut::from(black_box(&data[..])), true).len()));
    group.bench_function("copy alone", |b| b.iter(|| BytesMut::from(black_box(&data[..])).len()));
    group.finish();
}

fn ids(c: &mut Criterion) {
    let (data, keys) = (noise(SIZE), keys());
    let mut group = c.benchmark_group("ids");
    for size in [4 << 10, CHUNK, 2 << 20] {
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_with_input(BenchmarkId::from_parameter(size), &size, |b, &size| {
            b.iter(|| keys.blob_id(BlobKind::Content, black_box(&data[..size])));
        });
    }
    group.finish();
}

fn sealing(c: &mut Criterion) {
    let key = Secret::random();
    let mut group = c.benchmark_group("sealing");
    for size in [4 << 10, CHUNK, 2 << 20] {
        let mut buffer = Vec::with_capacity(size + 16);
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_with_input(BenchmarkId::new("ChaCha20-Poly1305", size), &size, |b, &size| {
            // The same nonce again and again: the key seals nothing else.
            b.iter(|| {
                buffer.resize(size, 0);
                seal_in_place(&key, 0, b"id", &mut buffer, 0);
                buffer.len()
            });
        });
    }
    group.throughput(Throughput::Elements(1));
    let (keys, pack_key) = (keys(), Secret::random());
    group.bench_function("a pack key (HPKE)", |b| b.iter(|| keys.seal_pack_key(&pack_key)));
    let sealed = keys.seal_pack_key(&pack_key).expect("it seals");
    group.bench_function("open a pack key (HPKE)", |b| b.iter(|| keys.open_pack_key(&sealed)));
    group.finish();
}

fn prepare(keys: &MasterKeys, plain: &[u8], compressor: &mut zstd::bulk::Compressor<'_>) -> PreparedBlob {
    let id = BlobId(keys.blob_id(BlobKind::Content, plain));
    PreparedBlob { id, plain_bytes: plain.len() as u32, body: compressor.compress(plain).expect("it compresses") }
}

fn packing(c: &mut Criterion) {
    let keys = keys();
    let mut compressor = zstd::bulk::Compressor::new(3).expect("there is memory");
    let data = prose(SIZE);
    let mut group = c.benchmark_group("packing");
    group.throughput(Throughput::Bytes(SIZE as u64));
    group.sample_size(20);
    group.bench_function("a pack, compressed before", |b| {
        let blobs: Vec<_> = data.chunks(CHUNK).map(|part| prepare(&keys, part, &mut compressor)).collect();
        b.iter(|| pack(&keys, &blobs));
    });
    group.bench_function("id, compress and pack", |b| {
        b.iter(|| {
            let blobs: Vec<_> = data.chunks(CHUNK).map(|part| prepare(&keys, part, &mut compressor)).collect();
            pack(&keys, &blobs)
        });
    });
    let blobs: Vec<_> = data.chunks(CHUNK).map(|part| prepare(&keys, part, &mut compressor)).collect();
    let mut builder = PackBuilder::new(&keys, BlobKind::Content, SIZE).expect("the key is valid");
    blobs.iter().for_each(|blob| builder.append(blob).expect("there is room"));
    let pack = builder.finish().expect("it is small");
    let key = keys.open_pack_key(&pack.pack.keys[0]).expect("it opens");
    group.bench_function("read", |b| {
        b.iter(|| {
            let read = pack.blobs.iter().map(|blob| {
                let start = blob.offset as usize;
                open_blob("x", &key, blob, pack.bytes[start..start + blob.stored_bytes as usize].to_vec())
                    .map_or(0, |p| p.len())
            });
            assert_eq!(read.sum::<usize>(), SIZE);
        });
    });
    group.finish();
}

fn pack(keys: &MasterKeys, blobs: &[PreparedBlob]) -> usize {
    let mut builder = PackBuilder::new(keys, BlobKind::Content, SIZE).expect("the key is valid");
    blobs.iter().for_each(|blob| builder.append(blob).expect("there is room"));
    builder.finish().map_or(0, |pack| pack.bytes.len())
}

fn index_file(first: u64, count: u64) -> IndexFile {
    let pack =
        IndexedPack { id: PackId([1; 32]), kind: BlobKind::Tree, size_bytes: 1 << 40, salt: [0; 32], keys: Vec::new() };
    let mut blobs: Vec<_> = (first..first + count)
        .map(|n| IndexedBlob { id: id(n), pack: 0, offset: 38, stored_bytes: 20, plain_bytes: 4, key: 0, nonce: n })
        .collect();
    blobs.sort_by_key(|b| b.id);
    IndexFile { packs: vec![pack], blobs, ..IndexFile::default() }
}

fn id(n: u64) -> BlobId {
    BlobId(*blake3::hash(&n.to_le_bytes()).as_bytes())
}

/// A repository in memory whose index lists `count` blobs, with its cache in `folder`.
async fn repository(count: u64, folder: &std::path::Path) -> Arc<Repository> {
    let storage: Arc<dyn Storage> = storage::open("memory:", &StorageOptions::default()).expect("memory is there");
    let pass = Passphrase::generate();
    let repo = Repository::init(storage.clone(), &pass, "", 0, Some(folder.to_owned())).await.expect("it is empty");
    for first in (0..count).step_by(100_000) {
        let bytes = seal_document(repo.keys(), FileKind::Index, &index_file(first, 100_000));
        let path = format!("index/{}", blake3::hash(&bytes));
        storage.put(&path, vec![Bytes::from(bytes)]).await.expect("there is room");
    }
    repo.reload_index().await.expect("it is whole");
    repo
}

fn look_up(c: &mut Criterion) {
    const COUNT: u64 = 1_000_000;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("it starts");
    let folder = tempfile::tempdir().expect("a folder");
    let index = runtime.block_on(repository(COUNT, folder.path())).index();
    let mut group = c.benchmark_group("index, a million blobs");
    group.throughput(Throughput::Elements(1));
    let mut n = 0;
    group.bench_function("find one that is there", |b| {
        b.iter(|| {
            n = (n + 7919) % COUNT;
            assert!(index.has_live(black_box(&id(n))));
        });
    });
    group.bench_function("miss one that is not", |b| {
        b.iter(|| {
            n += 1;
            assert!(!index.has_live(black_box(&id(COUNT + n))));
        });
    });
    group.finish();
}

criterion_group!(benches, chunking, ids, sealing, packing, look_up);
criterion_main!(benches);
