//! Fetching a file's contents, and comparing them with the hash that the source gives.

use super::api::Api;
use super::model::{Row, Told, keep_facet, mark_differing, row};
use super::parts::keep_listed;
use crate::error::{Error, Result};
use crate::format::collection::Gap;
use crate::format::record::{ItemKind, Record, StreamRole};
use crate::m365::contents::{NOT_FOUND, Seen, SourceHasher, Trouble, Watch, gap_of, trouble, trouble_with_contents};
use crate::m365::door::{ContentSink, Fetched, Wanted};
use crate::m365::walk::id_of;

/// How a transfer ended that the sink had no part in failing.
enum Transfer {
    Whole(Seen),
    Failed(Error, Trouble),
}

/// Reads the contents of a file into `contents`.
///
/// Bytes that differ from their hash are fetched once more, after a look whether the file changed meanwhile. If they
/// still differ, what came is kept and the gap says so: the bytes of a complete transfer are the truth.
pub(super) async fn file(
    api: &Api,
    collection: &str,
    wanted: &Wanted,
    contents: &mut dyn ContentSink,
) -> Result<Fetched> {
    let record = &wanted.record;
    if record.kind == ItemKind::Version {
        return match transfer(api, record, None, "", contents).await? {
            Transfer::Whole(_) => Ok(Fetched::Stored { source_hash: String::new(), newer: None, gap: None }),
            Transfer::Failed(error, what) => end_of(api, error, what, record, collection).await,
        };
    }
    let first = transfer(api, record, wanted.download_url.as_deref(), &wanted.source_hash, contents).await?;
    let seen = match first {
        Transfer::Whole(seen) => seen,
        Transfer::Failed(error, what) => return end_of(api, error, what, record, collection).await,
    };
    if matches(&seen, &wanted.source_hash) {
        return Ok(Fetched::Stored { source_hash: seen.hash.unwrap_or_default(), newer: None, gap: None });
    }
    let now = match api.item(&record.id).await {
        Ok(mut value) => {
            keep_facet(&mut value, record);
            row(value, "")
        }
        Err(error) => {
            let what = trouble(&error);
            return end_of(api, error, what, record, collection).await;
        }
    };
    let mut now = match now {
        Some(Row::There(told)) if told.record.kind == ItemKind::File => *told,
        _ => return Ok(Fetched::Gone),
    };
    // Where the item lies is for the listing to say: it alone knows the root.
    now.record.parent.clone_from(&record.parent);
    keep_listed(&mut now.record, record);
    once_more(api, collection, now, contents).await
}

async fn once_more(api: &Api, collection: &str, now: Told, contents: &mut dyn ContentSink) -> Result<Fetched> {
    let Told { mut record, properties, download_url, source_hash, .. } = now;
    let seen = match transfer(api, &record, download_url.as_deref(), &source_hash, contents).await? {
        Transfer::Whole(seen) => seen,
        Transfer::Failed(error, what) => return end_of(api, error, what, &record, collection).await,
    };
    if matches(&seen, &source_hash) {
        let newer = Some((Box::new(record), properties));
        return Ok(Fetched::Stored { source_hash: seen.hash.unwrap_or_default(), newer, gap: None });
    }
    mark_differing(&mut record);
    let gap = hash_gap(&record, collection);
    Ok(Fetched::Stored { source_hash: String::new(), newer: Some((Box::new(record), properties)), gap: Some(gap) })
}

/// The gap of a file whose stored contents differ from their hash.
pub(super) fn hash_gap(record: &Record, collection: &str) -> Gap {
    let text = "The contents differ from the hash that Microsoft gives for them; they are kept as they came";
    gap_of(record, collection, "hash-differs", text)
}

fn matches(seen: &Seen, expected: &str) -> bool {
    seen.hash.as_deref().is_none_or(|hash| hash == expected)
}

async fn transfer(
    api: &Api,
    record: &Record,
    url: Option<&str>,
    source_hash: &str,
    contents: &mut dyn ContentSink,
) -> Result<Transfer> {
    let opened = match (record.kind, record.fact("number")) {
        (ItemKind::Version, Some(number)) => api.version_content(&record.parent, number).await,
        _ => api.content(&record.id, url).await,
    };
    let download = match opened {
        Ok(download) => download,
        Err(error) => {
            let what = trouble_with_contents(&error);
            return Ok(Transfer::Failed(error, what));
        }
    };
    let watch = Watch::default();
    let expected = download.length_bytes().or(Some(record.size_bytes));
    let stream = watch.over(download.into_stream(), SourceHasher::for_hash(source_hash));
    match contents.store(StreamRole::Content, expected, stream).await {
        Ok(()) => Ok(Transfer::Whole(watch.take())),
        Err(error) => match watch.take().trouble {
            Some(what) => Ok(Transfer::Failed(error, what)),
            None => Err(error),
        },
    }
}

async fn end_of(api: &Api, error: Error, what: Trouble, record: &Record, collection: &str) -> Result<Fetched> {
    match what {
        Trouble::Gone | Trouble::Resync { .. } if is_there(api, record).await? => {
            Ok(Fetched::Unreadable(gap_of(record, collection, "refused", NOT_FOUND)))
        }
        Trouble::Gone | Trouble::Resync { .. } => Ok(Fetched::Gone),
        Trouble::Gap { reason, text } => Ok(Fetched::Unreadable(gap_of(record, collection, reason, text))),
        Trouble::Fatal => Err(error.context(format!("Reading a file of {collection} failed"))),
    }
}

/// Says whether that is there of which the contents are not found.
async fn is_there(api: &Api, record: &Record) -> Result<bool> {
    let answer = match record.kind {
        ItemKind::Version => {
            let number = record.fact("number");
            api.versions(&record.parent).await.map(|all| all.iter().any(|row| id_of(row) == number))
        }
        _ => api.item(&record.id).await.map(|_| true),
    };
    match answer {
        Err(error) if trouble(&error) == Trouble::Fatal => Err(error),
        answer => Ok(answer.unwrap_or(false)),
    }
}
