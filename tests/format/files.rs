//! Files: documents, packs, and the structures in them.

use serde_json::{Value, json};
use tenantvault::crypto::{BlobKind, MasterKeys};
use tenantvault::format::codec;
use tenantvault::format::header::{FileKind, SALTED_BYTES, open_document, seal_document_with_salt};
use tenantvault::format::id::{BlobId, PackId};
use tenantvault::format::index::{IndexedBlob, IndexedPack};
use tenantvault::format::pack::{self, FinishedPack, PackBuilder, PreparedBlob};
use tenantvault::snapshot::set::SetDefinition;

use super::{array, hex, list, master_keys, samples, unhex, vectors};

fn salt(kind: FileKind) -> [u8; 32] {
    [0xa0 + kind as u8; 32]
}

/// A structure, its encoding, and the document it makes. Compression may differ between versions of Zstandard, so the
/// file is kept as it was written first.
fn document<T: bincode::Encode>(kind: FileKind, value: &T, fields: Value, old: Option<&Value>) -> Value {
    let file = seal_document_with_salt(&master_keys(), kind, value, salt(kind));
    let file = old.map_or_else(|| json!(hex(&file)), |old| old["file"].clone());
    json!({"kind": kind as u8, "salt": hex(&salt(kind)), "fields": fields, "structure": hex(&codec::encode(value)), "file": file})
}

fn documents(old: Option<&Value>) -> Value {
    let old = |n: usize| old.map(|old| &old[n]).filter(|old| !old.is_null());
    let (config, index, snapshot, run, set) =
        (samples::config(), samples::index(), samples::snapshot(), samples::run(), samples::set());
    json!([
        document(FileKind::Config, &config.0, config.1, old(0)),
        document(FileKind::Index, &index.0, index.1, old(1)),
        document(FileKind::Snapshot, &snapshot.0, snapshot.1, old(2)),
        // A definition of version 1, which nobody writes any more.
        old(3).cloned().expect("it is stored"),
        document(FileKind::Run, &run.0, run.1, old(4)),
        document(FileKind::Set, &set.0.encode(), set.1, old(5)),
    ])
}

fn structures() -> Value {
    let (record, state, gap) = (samples::record(), samples::state(), samples::gap());
    let coverage = samples::coverage();
    json!([
        {"what": "record", "fields": record.1, "structure": hex(&codec::encode(&record.0))},
        {"what": "state of a collection", "fields": state.1, "structure": hex(&codec::encode(&state.0))},
        {"what": "gap", "fields": gap.1, "structure": hex(&codec::encode(&gap.0))},
        {"what": "coverage", "fields": coverage.1, "structure": hex(&codec::encode(&coverage.0))},
    ])
}

/// Two blobs: one that is worth compressing, one that is not.
fn plains() -> [Vec<u8>; 2] {
    ["Dear all, the meeting is moved. ".repeat(20).into_bytes(), b"short".to_vec()]
}

fn prepared(keys: &MasterKeys, kind: BlobKind, plain: &[u8]) -> PreparedBlob {
    let frame = zstd::bulk::compress(plain, 3).expect("it compresses");
    let body = if frame.len() < plain.len() { frame } else { plain.to_vec() };
    PreparedBlob { id: BlobId(keys.blob_id(kind, plain)), plain_bytes: plain.len() as u32, body }
}

fn fresh_pack(keys: &MasterKeys, kind: BlobKind) -> FinishedPack {
    let mut builder = PackBuilder::new(keys, kind, 4096).expect("the public key is valid");
    for plain in plains() {
        builder.append(&prepared(keys, kind, &plain)).expect("there is room");
    }
    builder.finish().expect("it is small")
}

/// A pack as prune makes it: one blob each of two others.
fn moved_pack(keys: &MasterKeys) -> FinishedPack {
    let mut builder = PackBuilder::for_moving(keys, 4096);
    for at in 0..2 {
        let from = fresh_pack(keys, BlobKind::Content);
        let blob = from.blobs[at];
        let start = blob.offset as usize;
        let ciphertext = &from.bytes[start..start + blob.stored_bytes as usize];
        builder.append_sealed(&from.pack.keys[0], &blob, ciphertext).expect("there is room");
    }
    builder.finish().expect("it is small")
}

fn new_packs() -> Value {
    let keys = master_keys();
    let packs = [
        ("content", "written by a backup", fresh_pack(&keys, BlobKind::Content)),
        ("tree", "written by a backup", fresh_pack(&keys, BlobKind::Tree)),
        ("content", "moved by prune: two sealed keys", moved_pack(&keys)),
    ];
    let made = packs.map(|(kind, what, pack)| {
        let word = if kind == "tree" { BlobKind::Tree } else { BlobKind::Content };
        let blobs = plains().map(|plain| json!({"id": hex(&keys.blob_id(word, &plain)), "plain": hex(&plain)}));
        json!({"kind": kind, "what": what, "id": hex(&pack.pack.id.0), "file": hex(&pack.bytes), "keys": pack.pack.keys.len(), "blobs": blobs})
    });
    Value::from(made.to_vec())
}

/// Makes the file; random parts are those of `old`.
pub fn make(old: Option<Value>) -> Value {
    json!({
        "about": "Vectors of format-spec/files.md, sections 5 to 9, under the secrets of crypto.json. documents: fields, their encoding (structure) and a whole file that holds it; the structure of a set is the bytes of any length that hold version and definition. structures: values of trees. packs: whole files and the plaintexts of their blobs, in order.",
        "documents": documents(old.as_ref().map(|old| &old["documents"])),
        "structures": structures(),
        "packs": old.map_or_else(new_packs, |old| old["packs"].clone()),
    })
}

#[test]
fn structures_encode_to_the_vectors() {
    let stored = vectors("files.json");
    assert_eq!(make(Some(stored.clone())), stored);
}

fn opened<T: bincode::Decode<()>>(vector: &Value, kind: FileKind) -> T {
    let file = unhex(&vector["file"]);
    assert_eq!((file[5], &file[6..SALTED_BYTES]), (kind as u8, &unhex(&vector["salt"])[..]));
    open_document("Vector", &master_keys(), kind, &file).expect("it opens")
}

#[test]
fn documents_of_the_vectors_open() {
    let stored = vectors("files.json");
    let [config, index, snapshot, first, run, set] = list(&stored["documents"]) else { panic!("six documents") };
    assert!(opened::<tenantvault::format::config::RepoConfig>(config, FileKind::Config) == samples::config().0);
    let read: tenantvault::format::index::IndexFile = opened(index, FileKind::Index);
    assert_eq!(read.check("Vector").expect("it is sound"), samples::index().0);
    assert_eq!(
        opened::<tenantvault::format::snapshot::SnapshotFile>(snapshot, FileKind::Snapshot),
        samples::snapshot().0
    );
    let bytes: Vec<u8> = opened(first, FileKind::Set);
    let read = SetDefinition::decode(&bytes).expect("it decodes");
    assert_eq!((read.selection.rules.len(), read.options.recoverable_items), (2, true));
    let bytes: Vec<u8> = opened(set, FileKind::Set);
    assert_eq!(SetDefinition::decode(&bytes).expect("it decodes"), samples::set().0);
    assert_eq!(opened::<tenantvault::format::snapshot::RunFile>(run, FileKind::Run), samples::run().0);
}

#[test]
fn structures_of_the_vectors_decode() {
    let stored = vectors("files.json");
    let [record, state, gap, coverage] = list(&stored["structures"]) else { panic!("four structures") };
    let bytes = |vector: &Value| unhex(&vector["structure"]);
    assert_eq!(
        codec::decode::<tenantvault::format::record::Record>("Vector", &bytes(record)).expect("it decodes"),
        samples::record().0
    );
    assert_eq!(
        codec::decode::<tenantvault::format::snapshot::CollectionState>("Vector", &bytes(state)).expect("it decodes"),
        samples::state().0
    );
    assert_eq!(
        codec::decode::<tenantvault::format::collection::Gap>("Vector", &bytes(gap)).expect("it decodes"),
        samples::gap().0
    );
    assert_eq!(
        codec::decode::<tenantvault::format::snapshot::CoverageEntry>("Vector", &bytes(coverage)).expect("it decodes"),
        samples::coverage().0
    );
}

fn read_pack(keys: &MasterKeys, vector: &Value) -> (Vec<u8>, IndexedPack, Vec<IndexedBlob>) {
    let file = unhex(&vector["file"]);
    let kind = pack::pack_kind("Vector", &file).expect("it is a pack");
    assert_eq!(kind == BlobKind::Tree, vector["kind"] == "tree");
    let size = file.len() as u64;
    let tail = pack::header_bytes("Vector", size, &file[file.len() - 4..]).expect("a length") as usize;
    let (head, tail) = (&file[..SALTED_BYTES], &file[file.len() - tail..]);
    let id = PackId(*blake3::hash(&file).as_bytes());
    let (indexed, blobs) = pack::read_header("Vector", keys, kind, id, size, head, tail).expect("the header opens");
    (file.clone(), indexed, blobs)
}

#[test]
fn packs_of_the_vectors_are_read() {
    let keys = master_keys();
    for vector in list(&vectors("files.json")["packs"]) {
        let (file, indexed, blobs) = read_pack(&keys, vector);
        assert_eq!(indexed.id, PackId(array(&vector["id"])));
        assert_eq!(Some(indexed.keys.len() as u64), vector["keys"].as_u64());
        assert_eq!(blobs.len(), list(&vector["blobs"]).len());
        for (blob, expected) in blobs.iter().zip(list(&vector["blobs"])) {
            let key = match indexed.kind {
                BlobKind::Tree => keys.state_sub_key(FileKind::TreePack as u8, &indexed.salt),
                BlobKind::Content => keys.open_pack_key(&indexed.keys[blob.key as usize]).expect("it opens"),
            };
            let start = blob.offset as usize;
            let ciphertext = file[start..start + blob.stored_bytes as usize].to_vec();
            let plain = pack::open_blob("Vector", &key, blob, ciphertext).expect("it opens");
            assert_eq!(plain, unhex(&expected["plain"]));
            assert_eq!(blob.id, BlobId(array(&expected["id"])));
            assert_eq!(keys.blob_id(indexed.kind, &plain), blob.id.0);
        }
    }
}
