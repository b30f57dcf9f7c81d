//! Finding among items in 30 snapshots: from one to the next a thousandth of the items changes, scattered, and as many are
//! new. Every figure of a query is that of a command: opening, listing, finding, reading what is shown (the newest 100).

use std::path::PathBuf;
use std::time::Instant;

use serde_json::{Map, Value, json};
use tenantvault::error::{Error, Result};
use tenantvault::format::record::{ItemKind, Record};
use tenantvault::ops::find::{self, Here, Query};
use tenantvault::ops::nodes::WriterNodes;
use tenantvault::repo::{Repository, Writer, WriterOptions};
use tenantvault::snapshot::store;
use tenantvault::tree::collection::{CollectionEditor, CollectionRoots};

use crate::{Step, items, mix, now_us, seconds, snapshots};

const SNAPSHOTS: u64 = 30;

/// What is looked for, by the name of its figure.
const QUERIES: &[(&str, &str)] = &[
    ("none", "zebra"),
    ("word", "order 4711"),
    ("sender", "from:person7@customer7"),
    ("many", "re"),
    ("folder", "in:\"Folder 7\" subject:\"order 12\""),
    ("recent", "kind:message after:2020-10-01 -from:customer3"),
];

fn folder(n: u64) -> Record {
    Record::new(ItemKind::MailFolder, items::folder(n), "", format!("Folder {n}"))
}

pub async fn make(step: &Step) -> Result<Value> {
    let repo = step.init().await?;
    let start = Instant::now();
    let (mut roots, mut parent) = (CollectionRoots::default(), None);
    let (mut count, few) = (step.number, (step.number / 1000).max(1));
    for n in 0..SNAPSHOTS {
        let writer = Writer::new(repo.clone(), WriterOptions::default());
        let nodes = WriterNodes(writer.clone());
        let mut editor = CollectionEditor::new(&nodes, roots);
        let new = if n == 0 { 0..count } else { count..count + few };
        let changed = (0..if n == 0 { 0 } else { few }).map(|i| mix(n * few + i) % step.number);
        count = new.end;
        if n == 0 {
            (0..items::FOLDERS).try_for_each(|n| editor.put(&folder(n)))?;
        }
        for (item, version) in new.map(|item| (item, 0)).chain(changed.map(|item| (item, n))) {
            editor.put(&items::record(item, version))?;
            if editor.pending_bytes() > items::BATCH_BYTES {
                editor.apply().await?;
            }
        }
        roots = editor.finish().await?.0;
        let time_us = 1_700_000_000_000_000 + n.cast_signed() * 86_400_000_000;
        parent = Some(snapshots::save(writer, roots, time_us, parent).await?);
    }
    Ok(
        json!({ "s": seconds(start), "items": roots.count(), "repository_bytes": crate::stored_bytes(&step.repository()) }),
    )
}

async fn one(repo: &std::sync::Arc<Repository>, text: &str) -> Result<u64> {
    let here = Here { now_us: now_us(), zone: jiff::tz::TimeZone::UTC };
    let query = Query::parse(text, &here).map_err(find::QueryError::into_error)?;
    let all = store::list(repo).await?.snapshots;
    if all.len() as u64 != SNAPSHOTS {
        return Err(Error::internal(format!("{} snapshots were listed", all.len())));
    }
    Ok(find::find(repo, &all, &|_| true, &query, 100, &mut |_| Ok(())).await?.matches)
}

pub async fn find(step: &Step) -> Result<Value> {
    let mut facts = Map::new();
    for (name, query) in QUERIES {
        let start = Instant::now();
        let matches = one(&step.open().await?, query).await?;
        facts.insert(format!("{name}_s"), seconds(start).into());
        facts.insert(format!("{name}_matches"), matches.into());
    }
    facts.insert("log_bytes".into(), folder_bytes(step.cache(), "search").into());
    facts.insert("cache_bytes".into(), crate::stored_bytes(&step.cache()).into());
    Ok(Value::Object(facts))
}

/// Without a local cache: nothing is kept of it.
pub async fn uncached(step: &Step) -> Result<Value> {
    let start = Instant::now();
    let matches = one(&step.open_uncached().await?, QUERIES[1].1).await?;
    Ok(json!({ "s": seconds(start), "matches": matches }))
}

/// The bytes in folders of a name.
fn folder_bytes(root: PathBuf, name: &str) -> u64 {
    let repositories = std::fs::read_dir(root).into_iter().flatten().flatten();
    repositories.map(|repository| crate::stored_bytes(&repository.path().join(name))).sum()
}
