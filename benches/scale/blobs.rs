//! Blobs of a repository: index files as writers make them, listing packs that are not there. Half of the blobs are tree
//! nodes, 256 a pack; half are segments, 16 a pack, each with two chunks. What an index file holds is `BLOBS_PER_INDEX` of
//! `repo::upload`.

use std::hint::black_box;
use std::time::Instant;

use serde_json::{Value, json};
use tenantvault::crypto::{BlobKind, SealedKey};
use tenantvault::error::{Error, Result};
use tenantvault::format::header::{FileKind, seal_document};
use tenantvault::format::id::{BlobId, ChunkId, IndexId, PackId};
use tenantvault::format::index::{ChunkPlace, IndexFile, IndexedBlob, IndexedPack};

use crate::{Step, cpu_s, memory_mib, mix, seconds};

const BLOBS_PER_INDEX: u64 = 65_536;
const CHUNKS_PER_SEGMENT: u64 = 2;
/// Look-ups of each sort.
const LOOK_UPS: u64 = 1_000_000;

fn id(kind: u64, n: u64) -> [u8; 32] {
    let mut id = [0; 32];
    for (word, slot) in (0..).zip(id.chunks_exact_mut(8)) {
        slot.copy_from_slice(&mix(kind << 56 ^ n << 2 ^ word).to_le_bytes());
    }
    id
}

fn blob_id(n: u64) -> BlobId {
    BlobId(id(1, n))
}

fn chunk_id(n: u64) -> ChunkId {
    let bytes = id(2, n);
    ChunkId(std::array::from_fn(|i| bytes[i]))
}

/// Says of what kind a blob is: runs of 4096 by turns.
fn kind(n: u64) -> BlobKind {
    if n >> 12 & 1 == 0 { BlobKind::Content } else { BlobKind::Tree }
}

fn pack(kind: BlobKind, n: u64) -> IndexedPack {
    let is_content = kind == BlobKind::Content;
    let mut key = [0; 80];
    key[..32].copy_from_slice(&id(4, n));
    key[32..64].copy_from_slice(&id(5, n));
    let keys = if is_content { vec![SealedKey(key)] } else { Vec::new() };
    IndexedPack { id: PackId(id(3, n)), kind, size_bytes: 16 << 20, salt: id(6, n), keys }
}

fn index_file(from: u64, to: u64) -> IndexFile {
    let (mut packs, mut chunks): (Vec<(IndexedPack, Vec<IndexedBlob>)>, Vec<ChunkPlace>) = (Vec::new(), Vec::new());
    for n in from..to {
        let kind = kind(n);
        let per_pack = if kind == BlobKind::Content { 16 } else { 256 };
        if n % per_pack == 0 || n == from {
            packs.push((pack(kind, n), Vec::new()));
        }
        let stored_bytes = if kind == BlobKind::Content { 900_000 + (mix(n) % 100_000) as u32 } else { 6000 };
        let place = (n % per_pack) as u32;
        let blob = IndexedBlob {
            id: blob_id(n),
            pack: 0,
            offset: 100 + place * if kind == BlobKind::Content { 1_000_000 } else { 6000 },
            stored_bytes,
            plain_bytes: 2_000_000,
            key: 0,
            nonce: place.into(),
        };
        if kind == BlobKind::Content {
            chunks.extend((0..CHUNKS_PER_SEGMENT).map(|c| ChunkPlace {
                id: chunk_id(n * CHUNKS_PER_SEGMENT + c),
                segment: blob.id,
                offset: (c * 65_000) as u32,
                length: 65_000,
            }));
        }
        if let Some((_, blobs)) = packs.last_mut() {
            blobs.push(blob);
        }
    }
    IndexFile::of(packs, chunks)
}

pub async fn make(step: &Step) -> Result<Value> {
    let repo = step.init().await?;
    let start = Instant::now();
    let (mut files, mut bytes_all) = (0, 0);
    let mut from = 0;
    while from < step.number {
        let to = (from + BLOBS_PER_INDEX).min(step.number);
        let bytes = seal_document(repo.keys(), FileKind::Index, &index_file(from, to));
        bytes_all += bytes.len();
        let name = IndexId(tenantvault::crypto::hash_buffers([&bytes[..]]));
        repo.storage().put(&format!("index/{name}"), vec![bytes.into()]).await?;
        files += 1;
        from = to;
    }
    Ok(json!({ "s": seconds(start), "index_files": files, "index_bytes": bytes_all }))
}

/// Opens the repository: the first time there is no cache yet, afterwards there is.
pub async fn open(step: &Step) -> Result<Value> {
    let start = Instant::now();
    let repo = step.open().await?;
    let wall = seconds(start);
    black_box(&repo);
    Ok(json!({ "s": wall, "mib": memory_mib("VmRSS"), "cache_bytes": crate::stored_bytes(&step.cache()) }))
}

/// Opens and looks up, all on one thread: blobs and chunks that are there, and that are not.
pub async fn look(step: &Step) -> Result<Value> {
    let start = Instant::now();
    let repo = step.open().await?;
    let open_s = seconds(start);
    let index = repo.index();
    let mut facts = json!({ "open_s": open_s, "open_mib": memory_mib("VmHWM") });
    // Once as it comes, with what of the tables the page cache has; then measured.
    for name in ["first", "blob", "absent", "chunk", "absent_chunk"] {
        let (start, cpu) = (Instant::now(), cpu_s());
        let mut found = 0u64;
        for n in 0..LOOK_UPS {
            let salted = mix(n ^ if name == "first" { 0 } else { 1 << 40 });
            let here = salted % step.number;
            let is_there = match name {
                "first" | "blob" => index.has_live(&blob_id(here)),
                "absent" => index.has_live(&blob_id(salted | 1 << 53)),
                "chunk" => {
                    let segment = if kind(here) == BlobKind::Content { here } else { here & !(1 << 12) };
                    index.find_chunk(&chunk_id(segment * CHUNKS_PER_SEGMENT)).is_some()
                }
                _ => index.find_chunk(&chunk_id(salted | 1 << 53)).is_some(),
            };
            found += u64::from(is_there);
        }
        let wanted = if name.starts_with("absent") { 0 } else { LOOK_UPS };
        if found != wanted {
            return Err(Error::internal(format!("{found} of {wanted} look-ups found something ({name})")));
        }
        facts[format!("{name}_a_second")] = json!((LOOK_UPS as f64 / seconds(start)).round());
        facts[format!("{name}_cpu_s")] = json!(cpu_s() - cpu);
    }
    facts["mib"] = json!(memory_mib("VmRSS"));
    facts["anon_mib"] = json!(memory_mib("RssAnon"));
    Ok(facts)
}
