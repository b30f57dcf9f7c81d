//! One structure of every kind, with values that reach every width and case of the encoding, and the same as JSON.

use serde_json::{Value, json};
use tenantvault::crypto::{BlobKind, SealedKey};
use tenantvault::format::collection::{Cursors, Gap};
use tenantvault::format::config::RepoConfig;
use tenantvault::format::id::{BlobId, ChunkId, IndexId, PackId, RepoId, SetId, SnapshotId};
use tenantvault::format::index::{IndexFile, IndexedBlob, IndexedChunk, IndexedPack, Mark};
use tenantvault::format::node::TreeRoot;
use tenantvault::format::record::{Encoding, Extent, ExtentList, ItemKind, Piece, Record, Stream, StreamRole};
use tenantvault::format::snapshot::{CollectionState, CoverageEntry, Protection, RunFile, SnapshotFile, Totals};
use tenantvault::snapshot::policy::{Count, Policy, Within};
use tenantvault::snapshot::set::{
    Effect, Exclusions, Glob, Leavers, Rule, Selection, SetDefinition, SetOptions, Subject, TenantRef, Versions,
    Workload,
};

use super::hex;

fn id(n: u8) -> [u8; 32] {
    std::array::from_fn(|i| n.wrapping_add(i as u8))
}

pub fn config() -> (RepoConfig, Value) {
    let mut config = RepoConfig::new(1_793_599_200_000_001);
    config.id = RepoId(id(1));
    config.chunker_seed = id(2);
    let fields = json!({"id": hex(&id(1)), "made_us": config.created_us, "chunker_seed": hex(&id(2)),
        "smallest_chunk": config.chunk_min_bytes, "average_chunk": config.chunk_avg_bytes, "largest_chunk": config.chunk_max_bytes,
        "small_stream": config.small_stream_bytes, "segment": config.segment_bytes,
        "pack": config.pack_bytes});
    (config, fields)
}

fn root(n: u8, level: u8, count: u64) -> TreeRoot {
    TreeRoot { id: BlobId(id(n)), level, count }
}

fn root_json(root: &TreeRoot) -> Value {
    json!({"id": hex(root.id.as_bytes()), "level": root.level, "records": root.count})
}

fn totals() -> Totals {
    Totals {
        collections: 1,
        items: 250,
        items_added: 251,
        items_changed: 65_535,
        items_removed: 65_536,
        gaps: u64::from(u32::MAX),
        bytes_read: u64::from(u32::MAX) + 1,
        bytes_new: 1 << 53,
        bytes_stored: 0,
        requests: 7,
        throttled: 8,
    }
}

fn totals_json() -> Value {
    let t = totals();
    json!([
        t.collections,
        t.items,
        t.items_added,
        t.items_changed,
        t.items_removed,
        t.gaps,
        t.bytes_read,
        t.bytes_new,
        t.bytes_stored,
        t.requests,
        t.throttled
    ])
}

pub fn snapshot() -> (SnapshotFile, Value) {
    let catalog = root(3, 2, 1_000_000);
    let file = SnapshotFile {
        set: SetId(id(4)),
        set_name: "Büro".into(),
        tenant: "contoso.onmicrosoft.com".into(),
        time_us: 1_793_599_200_000_000,
        ended_us: -1,
        host: "nas".into(),
        program: "tenantvault 0.1.0".into(),
        tags: vec!["audit".into(), "year".into()],
        parent: Some(SnapshotId(id(5))),
        complete: true,
        catalog: Some(catalog),
        gaps: None,
        totals: totals(),
    };
    let fields = json!({"set": hex(&id(4)), "set_name": "Büro", "tenant": "contoso.onmicrosoft.com", "time_us": file.time_us,
        "ended_us": -1, "host": "nas", "program": "tenantvault 0.1.0", "tags": ["audit", "year"], "parent": hex(&id(5)),
        "complete": true, "catalog": root_json(&catalog), "gaps": null, "totals": totals_json()});
    (file, fields)
}

pub fn run() -> (RunFile, Value) {
    let file = RunFile {
        set: SetId(id(4)),
        started_us: 1,
        ended_us: 200,
        outcome: "failed".into(),
        error: "Microsoft refuses the sign-in".into(),
        snapshot: None,
        totals: Totals::default(),
        waits: vec![("mailbox".into(), 70_000)],
    };
    let fields = json!({"set": hex(&id(4)), "began_us": 1, "ended_us": 200, "outcome": "failed",
        "error": "Microsoft refuses the sign-in", "snapshot": null, "totals": [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        "waits": [["mailbox", 70_000]]});
    (file, fields)
}

pub fn index() -> (IndexFile, Value) {
    let pack = |n: u8, kind, keys| IndexedPack { id: PackId(id(n)), kind, size_bytes: 16 << 20, salt: id(n + 1), keys };
    let blob = |n: u8, pack: u32, nonce: u64| IndexedBlob {
        id: BlobId(id(n)),
        pack,
        offset: 38 + u32::from(n),
        stored_bytes: 1000,
        plain_bytes: 70_000,
        key: 0,
        nonce,
    };
    let sealed = SealedKey(std::array::from_fn(|i| i as u8));
    let file = IndexFile {
        packs: vec![pack(10, BlobKind::Content, vec![sealed]), pack(20, BlobKind::Tree, Vec::new())],
        blobs: vec![blob(30, 1, 0), blob(31, 0, 300)],
        chunks: vec![IndexedChunk {
            id: ChunkId(std::array::from_fn(|i| 50 + i as u8)),
            blob: 1,
            offset: 300,
            length: 69_000,
        }],
        marks: vec![Mark { pack: PackId(id(20)), marked_us: 5 }],
        replaces: vec![IndexId(id(40))],
    };
    let packs: Vec<Value> = file
        .packs
        .iter()
        .map(|p| {
            let keys: Vec<String> = p.keys.iter().map(|k| hex(&k.0)).collect();
            let kind = if p.kind == BlobKind::Content { "content" } else { "tree" };
            json!({"id": hex(&p.id.0), "kind": kind, "size": p.size_bytes, "salt": hex(&p.salt), "keys": keys})
        })
        .collect();
    let blobs: Vec<Value> = file
        .blobs
        .iter()
        .map(|b| {
            json!({"id": hex(&b.id.0), "pack": b.pack, "offset": b.offset, "stored": b.stored_bytes, "plain": b.plain_bytes,
                "key": b.key, "nonce": b.nonce})
        })
        .collect();
    let chunks: Vec<Value> = file.chunks.iter().map(|c| json!([hex(&c.id.0), c.blob, c.offset, c.length])).collect();
    let fields = json!({"packs": packs, "blobs": blobs, "chunks": chunks, "marks": [[hex(&id(20)), 5]], "replaces": [hex(&id(40))]});
    (file, fields)
}

pub fn set() -> (SetDefinition, Value) {
    let glob = |text: &str| text.parse::<Glob>().expect("a pattern");
    let rule =
        |effect, text: &str, workloads: Vec<Workload>| Rule { effect, subject: Subject::User(glob(text)), workloads };
    let set = SetDefinition {
        name: "Büro".into(),
        tenant: TenantRef { name: "contoso".into(), id: "contoso.onmicrosoft.com".into() },
        selection: Selection {
            rules: vec![
                rule(Effect::Include, "*", vec![Workload::Mail, Workload::OneDrive]),
                rule(Effect::Exclude, "test-*@contoso.com", Vec::new()),
                Rule {
                    effect: Effect::Include,
                    subject: Subject::Group(glob("Sales*")),
                    workloads: vec![Workload::Contacts],
                },
                Rule { effect: Effect::Include, subject: Subject::Everything, workloads: vec![Workload::Sites] },
            ],
        },
        options: SetOptions {
            recoverable_items: true,
            versions: Versions::Newest(5),
            retention_labels: true,
            exclusions: Exclusions {
                folders: vec![glob("Inbox/News*")],
                files: vec![glob("*.iso")],
                larger_than_bytes: Some(1 << 33),
                older_than_days: None,
            },
            leavers: Leavers::DropAfterDays(30),
        },
        destinations: vec!["nas".into()],
        retention: Policy {
            keep_last: Count(3),
            keep_daily: Count(14),
            keep_yearly: Count::UNLIMITED,
            keep_within: Some(Within { years: 0, months: 1, days: 300, hours: 12 }),
            keep_tags: vec!["a,b".into()],
            ..Policy::default()
        },
        time_zone: "Europe/Berlin".into(),
    };
    let fields = json!({"version": 2, "name": "Büro", "tenant": ["contoso", "contoso.onmicrosoft.com"],
        "rules": [["include", ["users", "*"], ["mail", "onedrive"]], ["exclude", ["users", "test-*@contoso.com"], []],
            ["include", ["groups", "Sales*"], ["contacts"]], ["include", ["everything", null], ["sites"]]],
        "recoverable_items": true, "versions": ["newest", 5], "retention_labels": true,
        "skip": [["Inbox/News*"], ["*.iso"], 1u64 << 33, null], "leavers": ["drop after days", 30],
        "destinations": ["nas"], "keep": [3, 0, 14, 0, 0, 0, u32::MAX], "within": [0, 1, 300, 12], "tags": ["a,b"],
        "time_zone": "Europe/Berlin"});
    (set, fields)
}

pub fn record() -> (Record, Value) {
    let extent = |n: u8, offset, length| Extent { blob: BlobId(id(n)), offset, length };
    let record = Record {
        id: "AAMkAGI2".into(),
        parent: "AQMkAD".into(),
        name: "Straße ☃".into(),
        kind: ItemKind::Message,
        created_us: Some(1_793_599_200_000_000),
        modified_us: None,
        sort_us: Some(-300),
        size_bytes: 70_300,
        version: "CQAAABYAAAD".into(),
        summary: vec![("from".into(), "Dana <dana@contoso.com>".into()), ("read".into(), "true".into())],
        streams: vec![
            Stream {
                role: StreamRole::Properties,
                size_bytes: 900,
                source_hash: String::new(),
                pieces: vec![Piece {
                    encoding: Encoding::Raw,
                    extents: ExtentList { depth: 0, list: vec![extent(50, 0, 900)] },
                }],
            },
            Stream {
                role: StreamRole::Mime,
                size_bytes: 95_000,
                source_hash: "quickXorHash:AAAAAAAAAAAAAAAAAAAAAAAAAAA=".into(),
                pieces: vec![Piece {
                    encoding: Encoding::Base64 { line: 76, crlf: true },
                    extents: ExtentList { depth: 1, list: vec![extent(51, 300, 40), extent(52, 0, 70_000)] },
                }],
            },
        ],
    };
    let fields = json!({"id": "AAMkAGI2", "parent": "AQMkAD", "name": "Straße ☃", "kind": "message",
    "created_us": 1_793_599_200_000_000i64, "modified_us": null, "sort_us": -300, "size": 70_300, "version": "CQAAABYAAAD",
    "summary": [["from", "Dana <dana@contoso.com>"], ["read", "true"]],
    "streams": [
        {"role": "properties", "size": 900, "source_hash": "",
         "pieces": [{"encoding": "raw", "depth": 0, "extents": [[hex(&id(50)), 0, 900]]}]},
        {"role": "mime", "size": 95_000, "source_hash": "quickXorHash:AAAAAAAAAAAAAAAAAAAAAAAAAAA=",
         "pieces": [{"encoding": {"base64": {"line": 76, "crlf": true}}, "depth": 1,
                     "extents": [[hex(&id(51)), 300, 40], [hex(&id(52)), 0, 70_000]]}]},
    ]});
    (record, fields)
}

pub fn state() -> (CollectionState, Value) {
    let (items, children) = (root(60, 1, 70_000), root(61, 0, 3));
    let state = CollectionState {
        key: "users/1/mail".into(),
        name: "users/alice@contoso.com/Mail".into(),
        items: Some(items),
        children: Some(children),
        cursors: Some(Cursors { links: vec![("inbox".into(), "https://graph.microsoft.com/v1.0/x".into())] }),
        read_us: 4,
        complete: false,
    };
    let fields = json!({"key": "users/1/mail", "name": "users/alice@contoso.com/Mail", "items": root_json(&items),
        "children": root_json(&children), "cursors": [["inbox", "https://graph.microsoft.com/v1.0/x"]], "read_us": 4, "complete": false});
    (state, fields)
}

pub fn gap() -> (Gap, Value) {
    let gap = Gap {
        collection: "users/1/drives/2".into(),
        id: "01ABC".into(),
        name: "Invoice.pdf.exe".into(),
        kind: Some(ItemKind::File),
        reason: "malware".into(),
        text: "Microsoft says that it is malware".into(),
        since_us: 6,
    };
    let fields = json!({"collection": "users/1/drives/2", "id": "01ABC", "name": "Invoice.pdf.exe", "kind": "file",
        "reason": "malware", "text": "Microsoft says that it is malware", "since_us": 6});
    (gap, fields)
}

pub fn coverage() -> (CoverageEntry, Value) {
    let entry = CoverageEntry {
        owner: "users/1".into(),
        name: "alice@contoso.com".into(),
        workload: "mail".into(),
        state: Protection::Partly,
        reason: "Access is denied".into(),
        items: 300,
        gaps: 2,
        since_us: 7,
    };
    let fields = json!({"owner": "users/1", "name": "alice@contoso.com", "workload": "mail", "state": "partly",
        "reason": "Access is denied", "items": 300, "gaps": 2, "since_us": 7});
    (entry, fields)
}
