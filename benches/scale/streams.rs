//! Bytes into a repository: many writers at once, and one long stream. The bytes are made here: every other four are
//! random, so that they compress to half. Of the long stream seven MiB in eight are holes (zeros), as in a sparse image; none of
//! the others comes twice.

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use serde_json::{Map, Value, json};
use tenantvault::error::{Error, Result};
use tenantvault::repo::{ByteStream, Writer, WriterOptions};

use crate::{Step, cpu_s, memory_mib, mix, seconds};

const BLOCK: usize = 1 << 20;
/// What each of many writers stores, in MiB.
const EACH_MIB: u64 = 256;
/// Of so many blocks of the long stream one holds bytes.
const SPARSE: u64 = 8;

fn block(seed: u64, n: u64) -> Bytes {
    let mut bytes = vec![0; BLOCK];
    let first = mix(seed << 40 ^ n) << 20;
    for (word, slot) in (first..).zip(bytes.chunks_exact_mut(8)) {
        slot[..4].copy_from_slice(&(mix(word) as u32).to_le_bytes());
    }
    bytes.into()
}

/// So many blocks, made when they are asked for.
fn source(seed: u64, blocks: u64, sparse: u64) -> ByteStream {
    let hole = Bytes::from(vec![0; BLOCK]);
    let make = move |n: u64| Ok(if n.is_multiple_of(sparse) { block(seed, n) } else { hole.clone() });
    futures::stream::iter((0..blocks).map(make)).boxed()
}

async fn put(writer: Writer, seed: u64, blocks: u64, sparse: u64) -> Result<(u64, u64)> {
    let (_, bytes) = writer.put_stream(BytesMut::new(), Some(source(seed, blocks, sparse))).await?;
    Ok((bytes, writer.finish().await?.stored_bytes))
}

pub async fn init(step: &Step) -> Result<Value> {
    step.init().await?;
    Ok(json!({}))
}

/// So many writers in this process. Seeds follow from the process, so that no two store the same.
pub async fn writers(step: &Step, count: u64) -> Result<Value> {
    let repo = step.open().await?;
    let start = Instant::now();
    let running: Vec<_> = (0..count)
        .map(|n| {
            let writer = Writer::new(repo.clone(), WriterOptions::default());
            tokio::spawn(put(writer, u64::from(std::process::id()) * 16 + n, EACH_MIB, 1))
        })
        .collect();
    let (mut bytes, mut stored) = (0, 0);
    for task in running {
        let done = task.await.map_err(|e| Error::internal("A writer ended early").with_source(e))??;
        bytes += done.0;
        stored += done.1;
    }
    let wall = seconds(start);
    Ok(json!({ "s": wall, "bytes": bytes, "stored_bytes": stored, "mb_a_second": bytes as f64 / wall / 1e6 }))
}

/// The same with a process for each writer.
pub fn processes(step: &Step, point: &mut Map<String, Value>) -> Result<()> {
    let start = Instant::now();
    let started = (0..step.number).map(|_| crate::start(step, "writers-one")).collect::<Result<Vec<_>>>()?;
    let facts = started.into_iter().map(|c| crate::finish(c, "writers-one")).collect::<Result<Vec<_>>>()?;
    let wall = seconds(start);
    let sum = |key: &str| facts.iter().filter_map(|f| f.get(key)?.as_f64()).sum::<f64>();
    let most = facts.iter().filter_map(|f| f.get("peak_mib")?.as_f64()).fold(0.0, f64::max);
    point.insert("processes_s".into(), wall.into());
    point.insert("processes_mb_a_second".into(), (sum("bytes") / wall / 1e6).into());
    point.insert("processes_cpu_s".into(), sum("cpu_s").into());
    point.insert("processes_peak_mib".into(), most.into());
    Ok(())
}

/// One stream of so many GiB.
pub async fn stream(step: &Step) -> Result<Value> {
    let repo = step.open().await?;
    let (start, before) = (Instant::now(), cpu_s());
    let writer = Writer::new(repo, WriterOptions::default());
    let (bytes, stored) = put(writer, 1, step.number << 10, SPARSE).await?;
    let wall = seconds(start);
    Ok(json!({
        "s": wall, "bytes": bytes, "stored_bytes": stored, "mb_a_second": bytes as f64 / wall / 1e6,
        "mib": memory_mib("VmRSS"), "own_cpu_s": cpu_s() - before,
    }))
}
