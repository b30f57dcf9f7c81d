//! What fuzzing runs: one function for every decoder of foreign bytes, which must neither panic nor take memory beyond
//! its input's worth, and must keep what its text promises. cargo-fuzz runs them on end (`cargo +nightly fuzz run NAME`,
//! in this folder); `tests/fuzz_stable` runs the same a fixed number of times on stable.
//!
//! Bytes behind authenticated encryption are changed as plaintext and sealed afterwards with fixed keys: otherwise every
//! change would end at the tag.

use std::path::Path;

use bytes::Bytes;
use tenantvault::ErrorKind;
use tenantvault::crypto::{self, BlobKind, KdfParams, KeyRight, MasterKeys, Passphrase, SEALED_KEY_BYTES};
use tenantvault::crypto::{SealedKey, Secret, SlotSecrets};
use tenantvault::format::collection::{Cursors, Gap};
use tenantvault::format::config::RepoConfig;
use tenantvault::format::header::{FileKind, open_document, prefix};
use tenantvault::format::id::{BlobId, ChunkId, IndexId, PackId, RepoId, SetId};
use tenantvault::format::index::{IndexFile, IndexedBlob, IndexedChunk, IndexedPack, Mark};
use tenantvault::format::node::{FlatLeaf, Item, Node, TreeRoot};
use tenantvault::format::pack::{self, PackHeader, PackedBlob};
use tenantvault::format::record::{Encoding, Extent, ExtentList, ItemKind, Piece, Record, Stream, StreamRole};
use tenantvault::format::slot::{SlotFacts, open_slot, read_slot};
use tenantvault::format::snapshot::{CollectionState, RunFile, SnapshotFile, Totals};
use tenantvault::format::{codec, pieces};

/// A decoder to be fuzzed.
pub struct Target {
    /// Its name, also that of the cargo-fuzz target.
    pub name: &'static str,
    /// Decodes; says whether the bytes were taken. Panics when a promise is broken.
    pub run: fn(&[u8]) -> bool,
    /// Bytes that are taken, to begin from.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
#[allow(dead_code)]
pub const ALL: &[Target] = &[
    Target { name: "pack_header", run: pack_header, seeds: pack_header_seeds },
    Target { name: "index_file", run: index_file, seeds: index_file_seeds },
    Target { name: "document", run: document, seeds: document_seeds },
    Target { name: "slot", run: slot, seeds: slot_seeds },
    Target { name: "tree_node", run: tree_node, seeds: tree_node_seeds },
    Target { name: "record", run: record, seeds: record_seeds },
    Target { name: "pieces_split", run: pieces_split, seeds: pieces_seeds },
    Target { name: "config_toml", run: config_toml, seeds: config_seeds },
    Target { name: "export_name", run: export_name, seeds: export_name_seeds },
    Target { name: "graph_error", run: graph_error, seeds: graph_error_seeds },
];

const SALT: [u8; 32] = [7; 32];

fn keys() -> MasterKeys {
    MasterKeys::new(SlotSecrets {
        content_private: Some(Secret::new([1; 32])),
        content_public: [9; 32],
        psk: Secret::new([2; 32]),
        state: Secret::new([3; 32]),
        id: Secret::new([4; 32]),
    })
}

/// A sealed document around a plaintext, packing byte included.
fn sealed(kind: FileKind, plain: &[u8]) -> Vec<u8> {
    let mut out = prefix(kind).to_vec();
    out.extend_from_slice(&SALT);
    let head = out.clone();
    out.extend_from_slice(plain);
    crypto::seal_in_place(&keys().state_sub_key(kind as u8, &SALT), 0, &head, &mut out, head.len());
    out
}

fn as_it_is(plain: Vec<u8>) -> Vec<u8> {
    [vec![0], plain].concat()
}

/// A pack's header: `data` is the plaintext; the first byte tells the kind of pack.
pub fn pack_header(data: &[u8]) -> bool {
    let Some((first, plain)) = data.split_first() else { return false };
    let kind = if first & 1 == 0 { BlobKind::Content } else { BlobKind::Tree };
    let (file_kind, keys) = (pack::file_kind(kind), keys());
    let mut file = prefix(file_kind).to_vec();
    file.extend_from_slice(&SALT);
    let head = file.clone();
    file.extend_from_slice(&[0x55; 200]);
    let start = file.len();
    file.extend_from_slice(plain);
    crypto::seal_in_place(&keys.state_sub_key(file_kind as u8, &SALT), u64::MAX, &head, &mut file, start);
    let length = (file.len() - start) as u32;
    file.extend_from_slice(&length.to_le_bytes());
    let size = file.len() as u64;
    let tail = pack::header_bytes("pack", size, &file[file.len() - 4..]).expect("the length fits");
    let tail = &file[file.len() - tail as usize..];
    assert_eq!(pack::pack_kind("pack", &head).ok(), Some(kind));
    let Ok((indexed, blobs)) = pack::read_header("pack", &keys, kind, PackId([0; 32]), size, &head, tail) else {
        return false;
    };
    for blob in &blobs {
        assert!(u64::from(blob.offset) + u64::from(blob.stored_bytes) <= size, "a blob beyond its pack");
        assert!(kind == BlobKind::Tree || (blob.key as usize) < indexed.keys.len(), "a blob without a key");
    }
    // Length fields that anybody may have written.
    for last_four in plain.chunks_exact(4) {
        let _ = pack::header_bytes("pack", u64::from(*first), last_four);
    }
    true
}

fn pack_header_seeds() -> Vec<Vec<u8>> {
    let blob = |n: u8| PackedBlob { id: BlobId([n; 32]), stored_bytes: 40, plain_bytes: 24, key: 0, nonce: n.into() };
    let tree = PackHeader { keys: Vec::new(), blobs: vec![blob(1), blob(2)] };
    let content = PackHeader { keys: vec![SealedKey([5; SEALED_KEY_BYTES])], blobs: vec![blob(1), blob(2), blob(3)] };
    vec![[vec![1], codec::encode(&tree)].concat(), [vec![0], codec::encode(&content)].concat()]
}

/// An index file: `data` is the structure.
pub fn index_file(data: &[u8]) -> bool {
    let file = sealed(FileKind::Index, &as_it_is(data.to_vec()));
    let opened = open_document::<IndexFile>("index", &keys(), FileKind::Index, &file).and_then(|f| f.check("index"));
    let Ok(index) = opened else { return false };
    for blob in &index.blobs {
        let pack = &index.packs[blob.pack as usize];
        assert!(u64::from(blob.offset) + u64::from(blob.stored_bytes) <= pack.size_bytes);
    }
    for chunk in &index.chunks {
        let blob = &index.blobs[chunk.blob as usize];
        assert!(u64::from(chunk.offset) + u64::from(chunk.length) <= u64::from(blob.plain_bytes));
    }
    assert_eq!(codec::decode::<IndexFile>("index", &codec::encode(&index)).ok(), Some(index));
    true
}

fn index_file_seeds() -> Vec<Vec<u8>> {
    let pack = |n: u8, kind, keys| IndexedPack { id: PackId([n; 32]), kind, size_bytes: 1 << 20, salt: SALT, keys };
    let blob = |n: u8, pack| IndexedBlob {
        id: BlobId([n; 32]),
        pack,
        offset: 38 + u32::from(n) * 100,
        stored_bytes: 100,
        plain_bytes: 300,
        key: 0,
        nonce: n.into(),
    };
    let full = IndexFile {
        packs: vec![
            pack(1, BlobKind::Tree, Vec::new()),
            pack(2, BlobKind::Content, vec![SealedKey([6; SEALED_KEY_BYTES])]),
        ],
        blobs: vec![blob(1, 0), blob(2, 1), blob(9, 0)],
        chunks: vec![IndexedChunk { id: ChunkId([4; 16]), blob: 1, offset: 100, length: 200 }],
        marks: vec![Mark { pack: PackId([1; 32]), marked_us: -5 }],
        replaces: vec![IndexId([3; 32])],
    };
    vec![codec::encode(&IndexFile::default()), codec::encode(&full)]
}

/// Documents: `data` is a whole file, and a plaintext with its packing byte, of every kind.
pub fn document(data: &[u8]) -> bool {
    let keys = keys();
    let mut taken = false;
    for file in [data.to_vec(), sealed(FileKind::Config, data)] {
        let opened = open_document::<RepoConfig>("config", &keys, FileKind::Config, &file).and_then(RepoConfig::check);
        if let Ok(config) = opened {
            // What is accepted must be fit for use.
            let chunker = tenantvault::repo::Chunker::new(&config);
            assert!(chunker.max_bytes() <= 16 << 20);
            taken = true;
        }
    }
    let snapshot = sealed(FileKind::Snapshot, data);
    taken |= open_document::<SnapshotFile>("snapshot", &keys, FileKind::Snapshot, &snapshot).is_ok();
    taken |= open_document::<RunFile>("run", &keys, FileKind::Run, &sealed(FileKind::Run, data)).is_ok();
    let set = open_document::<Vec<u8>>("set", &keys, FileKind::Set, &sealed(FileKind::Set, data));
    taken |= set.is_ok_and(|set| tenantvault::snapshot::set::SetDefinition::decode(&set).is_ok());
    taken |= codec::decode::<CollectionState>("state", data).is_ok() || codec::decode::<Gap>("gap", data).is_ok();
    taken
}

fn document_seeds() -> Vec<Vec<u8>> {
    let root = Some(TreeRoot { id: BlobId([8; 32]), level: 1, count: 77 });
    let snapshot = SnapshotFile {
        set: SetId([1; 32]),
        set_name: "everyone".into(),
        tenant: "contoso.com".into(),
        time_us: 1,
        ended_us: 2,
        host: "h".into(),
        program: "p".into(),
        tags: vec!["a".into()],
        parent: None,
        complete: true,
        catalog: root,
        gaps: None,
        totals: Totals { items: 300, ..Totals::default() },
    };
    let run = RunFile {
        set: SetId([1; 32]),
        started_us: 1,
        ended_us: 70_000,
        outcome: "gaps".into(),
        error: String::new(),
        snapshot: None,
        totals: Totals::default(),
        waits: vec![("mailbox".into(), 5)],
    };
    let state = CollectionState {
        key: "users/1/mail".into(),
        name: "users/a@b/Mail".into(),
        items: root,
        children: root,
        cursors: Some(Cursors { links: vec![("inbox".into(), "https://x".into())] }),
        read_us: 3,
        complete: false,
    };
    let gap = Gap {
        collection: "users/1/mail".into(),
        id: "i".into(),
        name: "n".into(),
        kind: Some(ItemKind::File),
        reason: "malware".into(),
        text: "t".into(),
        since_us: 4,
    };
    // A frame that is what it says, for the road through decompression.
    let frame = zstd_frame(&codec::encode(&snapshot));
    vec![
        as_it_is(codec::encode(&RepoConfig::new(1))),
        as_it_is(codec::encode(&snapshot)),
        as_it_is(codec::encode(&run)),
        [vec![1], frame].concat(),
        codec::encode(&state),
        codec::encode(&gap),
    ]
}

/// A Zstandard frame with one raw block (RFC 8878, section 3.1.1): no compressor needed. For up to 255 bytes.
fn zstd_frame(plain: &[u8]) -> Vec<u8> {
    let length = u8::try_from(plain.len()).expect("a short plaintext");
    let block = (u32::from(length) << 3) | 1;
    let head = [0x28, 0xb5, 0x2f, 0xfd, 0x20, length];
    [&head[..], &block.to_le_bytes()[..3], plain].concat()
}

/// Key slots: `data` is a whole file, and the plaintext that a slot wraps.
pub fn slot(data: &[u8]) -> bool {
    let read = read_slot("slot", data).is_ok();
    let pass = Passphrase::new("correct horse").expect("it is not empty");
    let kdf = KdfParams { memory_kib: 8, passes: 1, lanes: 1 };
    let right = KeyRight::Owner;
    let facts = SlotFacts { repo: RepoId([1; 32]), right, label: "x".into(), created_us: 5, kdf, salt: [9; 16] };
    let kek = crypto::derive_kek(&pass, &facts.salt, kdf).expect("the cost is within bounds");
    let mut wrapped = data.to_vec();
    crypto::seal_in_place(&kek, 0, &codec::encode(&facts), &mut wrapped, 0);
    let mut file = prefix(FileKind::Key).to_vec();
    file.extend_from_slice(&codec::encode(&(facts, wrapped)));
    match open_slot("slot", &file, &pass) {
        Ok((facts, secrets)) => {
            assert_eq!(facts.right, secrets.right());
            true
        }
        Err(e) => {
            assert_eq!(e.kind(), ErrorKind::Corrupt, "the passphrase is right");
            read
        }
    }
}

fn slot_seeds() -> Vec<Vec<u8>> {
    let wrapped = [&[1u8][..], &[1; 32], &[2; 32], &[3; 32], &[4; 32], &[5; 32]].concat();
    let kdf = KdfParams { memory_kib: 65_536, passes: 3, lanes: 1 };
    let facts = SlotFacts {
        repo: RepoId([1; 32]),
        right: KeyRight::WriteOnly,
        label: "server".into(),
        created_us: 5,
        kdf,
        salt: [9; 16],
    };
    let file = [&prefix(FileKind::Key)[..], &codec::encode(&(facts, vec![7u8; 177]))].concat();
    vec![wrapped, file]
}

/// A tree node: what is accepted encodes to the same bytes.
pub fn tree_node(data: &[u8]) -> bool {
    let bytes = Bytes::copy_from_slice(data);
    let (node, flat) = (Node::decode(&"fuzzed", &bytes), FlatLeaf::decode(&"fuzzed", &bytes));
    match (&node, flat) {
        (Ok(Node::Leaf(items)), Ok(flat)) => {
            assert!(flat.count() == items.len() as u64 && flat.last_key() == items.last().map(|i| &i.key[..]));
            assert!(items.iter().all(|i| flat.find(&i.key).as_ref() == Some(&i.value)), "a record is not found");
        }
        (Ok(Node::Leaf(_)), Err(_)) | (Err(_) | Ok(Node::Inner { .. }), Ok(_)) => panic!("two minds about a leaf"),
        (_, Err(_)) => {}
    }
    let Ok(node) = node else { return false };
    assert!(node.encode().is_ok_and(|again| again == data), "a node with two encodings");
    true
}

fn tree_node_seeds() -> Vec<Vec<u8>> {
    let item = |key: &str, value: &'static [u8]| Item { key: key.into(), value: Bytes::from_static(value) };
    let leaf =
        Node::Leaf(vec![item("", b""), item("item-000001", b"x"), item("item-000002", b"yy"), item("j", &[0; 300])]);
    let child = |key: &str, n: u8| tenantvault::format::node::Child {
        key: key.into(),
        id: BlobId([n; 32]),
        count: u64::from(n) * 1000,
        bytes: 70_000,
    };
    let inner = Node::Inner { level: 1, children: vec![child("item-0", 1), child("item-1", 2)] };
    [leaf, inner].iter().map(|node| node.encode().expect("it is valid")).collect()
}

/// A record: what is accepted survives encoding, and has a place in a listing.
pub fn record(data: &[u8]) -> bool {
    let Ok(record) = codec::decode::<Record>("record", data) else { return false };
    assert_eq!(codec::decode::<Record>("record", &codec::encode(&record)).ok().as_ref(), Some(&record));
    assert!(tenantvault::tree::children_key(&record).len() < 8_192 + record.id.len());
    true
}

fn record_seeds() -> Vec<Vec<u8>> {
    let extent = Extent { blob: BlobId([5; 32]), offset: 300, length: 70_000 };
    let piece = |encoding| Piece { encoding, extents: ExtentList { depth: 0, list: vec![extent] } };
    let record = Record {
        id: "AAMkAG".into(),
        parent: "folder".into(),
        name: "Straße ☃".into(),
        kind: ItemKind::Message,
        created_us: Some(1),
        modified_us: None,
        sort_us: Some(-1),
        size_bytes: 70_300,
        version: "CQAAAA==".into(),
        summary: vec![("from".into(), "a@b.c".into())],
        streams: vec![Stream {
            role: StreamRole::Mime,
            size_bytes: 95_000,
            source_hash: String::new(),
            pieces: vec![piece(Encoding::Raw), piece(Encoding::Base64 { line: 76, crlf: true })],
        }],
    };
    vec![codec::encode(&record)]
}

/// Taking streams apart: joined again they are the same bytes, and lengths are as told.
pub fn pieces_split(data: &[u8]) -> bool {
    let mut apart = false;
    for min_decoded in [0, 24, 1024] {
        let parts = pieces::split(data, min_decoded);
        assert!(pieces::join(&parts) == data, "parts that do not join to the source");
        for part in &parts {
            if let pieces::Part::Base64 { decoded, line, crlf, source_len } = part {
                apart = true;
                assert!(decoded.len() >= min_decoded);
                assert_eq!(pieces::encoded_len(decoded.len() as u64, *line, *crlf), *source_len as u64);
            }
        }
    }
    // Any line length that a record may hold, also those that no writer makes.
    if let [a, b, rest @ ..] = data {
        let mut encoder = pieces::LineEncoder::new(u16::from_le_bytes([*a, *b]), a & 1 == 0);
        let mut out = Vec::new();
        rest.chunks(7).for_each(|part| encoder.push(part, &mut out));
        encoder.finish(&mut out);
        assert!(out.len() >= rest.len());
    }
    apart
}

fn pieces_seeds() -> Vec<Vec<u8>> {
    let full = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejAxMjM0\r\n".repeat(6);
    let letter = format!("Subject: x\r\nContent-Transfer-Encoding: base64\r\n\r\n{full}QUJD\r\n\r\n--end--\r\n");
    let unix = full.replace("\r\n", "\n") + "QQ==\nQQ==\n";
    vec![letter.into_bytes(), unix.into_bytes()]
}

/// The configuration.
pub fn config_toml(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    tenantvault::cli::config::Config::parse(text, Path::new("/home/x/tenantvault.toml")).is_ok()
}

fn config_seeds() -> Vec<Vec<u8>> {
    vec![include_bytes!("../docs/config.toml").to_vec(), b"[tenants]\n".to_vec()]
}

/// Names on export: one safe path component, whatever the tenant calls a thing.
pub fn export_name(data: &[u8]) -> bool {
    use tenantvault::ops::names::{FolderNames, MAX_NAME_BYTES, safe_file_name, safe_name};
    let text = String::from_utf8_lossy(data);
    let mut folder = FolderNames::new();
    let mut seen = std::collections::HashSet::new();
    for name in text.split('\n') {
        assert_safe(&safe_name(name), MAX_NAME_BYTES);
        assert_safe(&safe_file_name(name, "eml"), MAX_NAME_BYTES);
        assert_eq!(safe_name(&safe_name(name)), safe_name(name), "a safe name changes");
        for allocated in [folder.allocate(name), folder.allocate_file(name, "eml")] {
            assert_safe(&allocated, 255);
            assert!(seen.insert(allocated.to_lowercase()), "two of one name: {allocated:?}");
        }
    }
    true
}

fn assert_safe(name: &str, most: usize) {
    assert!(!name.is_empty() && name.len() <= most && name != "." && name != "..", "{name:?}");
    assert!(
        !name.contains(['/', '\\', ':', '*', '?', '"', '<', '>', '|']) && !name.chars().any(char::is_control),
        "{name:?}"
    );
    assert!(!name.ends_with(['.', ' ']), "{name:?}");
}

fn export_name_seeds() -> Vec<Vec<u8>> {
    vec![
        "../../etc/passwd\nCON\ncon.txt\na\nA\ne\u{301}\né\nstra\u{df}e\n\u{202e}fdp.exe\n".into(),
        "n".repeat(300).into(),
    ]
}

/// Graph's errors, from any status and body.
pub fn graph_error(data: &[u8]) -> bool {
    let status = data.first().map_or(500, |byte| 400 + u16::from(*byte) % 200);
    let error =
        tenantvault::graph::GraphError::parse(status, data.get(1..).unwrap_or_default()).into_error("GET users");
    // Shown to people: neither without words nor without end.
    assert!(!error.chain().is_empty() && error.chain().len() < 20_000);
    tenantvault::graph::graph_error(&error).is_some()
}

fn graph_error_seeds() -> Vec<Vec<u8>> {
    let nested = r#"+{"error":{"code":"generalException","message":"Nope","innerError":{"code":"itemNotFound","innererror":{"code":"x","request-id":"1-2"}}}}"#;
    let sign_in = r#"!{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided.","error_codes":[7000215]}"#;
    vec![nested.into(), sign_in.into(), b"\0<html>".to_vec()]
}
