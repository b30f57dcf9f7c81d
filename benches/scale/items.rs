//! Items of a collection: the product's editor and readers over a repository's own nodes. Ids are of the length of Graph's
//! and ascend, as times do: built in one go, in batches as a backup makes them. The ten edits lie scattered.

use std::time::Instant;

use serde_json::{Value, json};
use tenantvault::error::{Error, Result};
use tenantvault::format::codec;
use tenantvault::format::id::BlobId;
use tenantvault::format::record::{Encoding, Extent, ExtentList, ItemKind, Piece, Record, Stream, StreamRole};
use tenantvault::ops::nodes::{RepoNodes, WriterNodes};
use tenantvault::repo::{Writer, WriterOptions};
use tenantvault::tree::collection::{CollectionEditor, CollectionReader, CollectionRoots};

use crate::{Step, cpu_s, mix, seconds};

/// Folders that the items lie in.
pub const FOLDERS: u64 = 50;
/// Changes are made when they take so much memory, in bytes.
pub const BATCH_BYTES: usize = 16 << 20;
/// Records looked up, and in a page of a listing.
const LOOK_UPS: u64 = 1000;
const PAGE: usize = 100;

fn id(n: u64) -> String {
    format!("AAMkAGVmMDEzMTM4LTZmYWUtNDdkNC1hMDZiLTU1OGY5OTZhYmY4OABGAAAAAADUuTJK1K9aTpCdqXop_4NaBwCd9nJ{n:016x}AAA=")
}

pub fn folder(n: u64) -> String {
    format!("AAMkAGVmMDEzMTM4LTZmYWUtNDdkNC1hMDZiLTU1OGY5OTZhYmY4OAAuAAAAAADUuTJK1K9aTpCdqXop_{:016x}AAA=", n % FOLDERS)
}

pub fn record(n: u64, version: u64) -> Record {
    let (a, b) = (mix(n), mix(n ^ version << 48));
    let blob = BlobId(std::array::from_fn(|i| mix(n / 200 + i as u64 / 8).to_le_bytes()[i % 8]));
    let extent = Extent { blob, offset: (n % 200 * 9000) as u32, length: 2000 + (b % 7000) as u32 };
    let pieces = vec![Piece { encoding: Encoding::Raw, extents: ExtentList { depth: 0, list: vec![extent] } }];
    let time = 1_600_000_000_000_000 + n.cast_signed() * 30_000_000;
    Record {
        id: id(n),
        parent: folder(n),
        name: format!("Re: order {} of {:x}, a question", a % 100_000, a >> 44),
        kind: ItemKind::Message,
        created_us: Some(time),
        modified_us: Some(time + (a % 5_000_000).cast_signed()),
        sort_us: Some(time),
        size_bytes: extent.length.into(),
        version: format!("CQAAABYAAACd{b:016x}"),
        summary: vec![
            ("from".into(), format!("person{}@customer{}.example", a % 3000, a % 400)),
            ("read".into(), "true".into()),
            ("to".into(), "someone@contoso.example".into()),
        ],
        streams: vec![Stream {
            role: StreamRole::Mime,
            size_bytes: extent.length.into(),
            source_hash: String::new(),
            pieces,
        }],
    }
}

fn keep_roots(step: &Step, roots: CollectionRoots) -> Result<()> {
    step.write("roots", &codec::encode(&roots))
}

fn roots(step: &Step) -> Result<CollectionRoots> {
    codec::decode("The roots", &step.read("roots")?)
}

pub async fn build(step: &Step) -> Result<Value> {
    let repo = step.init().await?;
    let start = Instant::now();
    let writer = Writer::new(repo, WriterOptions::default());
    let nodes = WriterNodes(writer.clone());
    let mut editor = CollectionEditor::new(&nodes, CollectionRoots::default());
    for n in 0..step.number {
        editor.put(&record(n, 0))?;
        if editor.pending_bytes() > BATCH_BYTES {
            editor.apply().await?;
        }
    }
    let (roots, _) = editor.finish().await?;
    let stats = writer.finish().await?;
    keep_roots(step, roots)?;
    let wall = seconds(start);
    Ok(json!({
        "s": wall, "us_a_record": wall * 1e6 / step.number as f64,
        "plain_bytes": stats.new_bytes, "stored_bytes": stats.stored_bytes,
    }))
}

/// Ten scattered changes. `s` is what the two trees take; `durable_s` has the packs and the index on disk.
pub async fn edit(step: &Step) -> Result<Value> {
    let roots = roots(step)?;
    let repo = step.open().await?;
    let before = crate::stored_bytes(&step.repository());
    let start = Instant::now();
    let writer = Writer::new(repo, WriterOptions::default());
    let nodes = WriterNodes(writer.clone());
    let mut editor = CollectionEditor::new(&nodes, roots);
    for n in 0..10 {
        editor.put(&record(n * (step.number / 10), 1))?;
    }
    let (new, counts) = editor.finish().await?;
    let wall = seconds(start);
    let stats = writer.finish().await?;
    let durable = seconds(start);
    if counts.changed != 10 || new.count() != step.number {
        return Err(Error::internal(format!("The edits came out as {counts:?}")));
    }
    Ok(json!({
        "s": wall, "durable_s": durable, "plain_bytes": stats.new_bytes, "blobs": stats.new_blobs,
        "written_bytes": crate::stored_bytes(&step.repository()) - before,
    }))
}

/// A page in the middle of a folder, and records by id.
pub async fn look(step: &Step) -> Result<Value> {
    let roots = roots(step)?;
    let repo = step.open().await?;
    let nodes = RepoNodes(repo);
    let reader = CollectionReader::new(&nodes, roots);
    let start = Instant::now();
    let first = reader.children(&folder(7), None, PAGE).await?;
    let first_s = seconds(start);
    let listed = first.records().collect::<Result<Vec<_>>>()?.len();
    let start = Instant::now();
    if let Some(next) = first.next {
        reader.children(&folder(7), Some(next), PAGE).await?;
    }
    let next_s = seconds(start);
    let (start, cpu) = (Instant::now(), cpu_s());
    for n in 0..LOOK_UPS {
        let n = mix(n) % step.number;
        let found = reader.get(&id(n)).await?;
        found.filter(|r| r.id == id(n)).ok_or_else(|| Error::internal(format!("Item {n} is not there")))?;
    }
    let get_us = seconds(start) * 1e6 / LOOK_UPS as f64;
    Ok(
        json!({ "page_s": first_s, "next_page_s": next_s, "listed": listed, "get_us": get_us, "get_cpu_s": cpu_s() - cpu }),
    )
}

/// All records, from the first to the last.
pub async fn walk(step: &Step) -> Result<Value> {
    let roots = roots(step)?;
    let repo = step.open().await?;
    let nodes = RepoNodes(repo);
    let start = Instant::now();
    let mut records = CollectionReader::new(&nodes, roots).records();
    let mut count = 0;
    while records.next().await?.is_some() {
        count += 1;
    }
    if count != step.number {
        return Err(Error::internal(format!("{count} records were read")));
    }
    Ok(json!({ "s": seconds(start), "us_a_record": seconds(start) * 1e6 / count as f64 }))
}
