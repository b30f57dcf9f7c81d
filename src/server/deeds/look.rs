//! Looking into snapshots: unlocking, listing, taking a file out.

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream::{self, StreamExt as _};
use serde_json::json;

use super::note;
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{ItemKind, Record};
use crate::ops::browse::{self, Browser, Node, Origin};
use crate::ops::present::{Occasion, comes_again, time_us};
use crate::server::auth::{Actor, Password};
use crate::server::db::RepositoryRow;
use crate::server::id::Id;
use crate::server::state::Server;

/// Entries of a page of a folder.
pub(crate) const PAGE: usize = 200;
/// Bytes of a file that are read at a time.
const STEP: usize = 1 << 20;
/// The longest path.
const LONGEST: usize = 4_096;
/// Entries of a calendar that are looked at for a month.
const MOST_EVENTS: u64 = 20_000;
/// Series of it that are read, and how many at once.
const MOST_SERIES: usize = 2_000;
const SERIES_AT_ONCE: usize = 16;
/// Sets, and owners of each kind, that are looked through for a name.
const MOST_SETS: usize = 50;
const MOST_OWNERS: usize = 100_000;

/// Opens a repository for whoever asks.
///
/// # Errors
/// `WrongKey` for another key, or a write-only one.
pub(crate) async fn unlock(server: &Server, actor: &Actor, account: &Id, id: &Id, key: &Password) -> Result<()> {
    let row = server.db.repository(account, id).await?;
    let opened = server.unlocked.unlock(server, actor, &row, key).await;
    let action = if opened.is_ok() { "repository.unlock" } else { "repository.unlock-refused" };
    note(server, actor, account, action, &row.name, json!({})).await?;
    opened
}

/// Lets go of it.
///
/// # Errors
/// `NotFound`.
pub(crate) async fn lock(server: &Server, actor: &Actor, account: &Id, id: &Id) -> Result<()> {
    let row = server.db.repository(account, id).await?;
    server.unlocked.lock(actor, Some(id));
    note(server, actor, account, "repository.lock", &row.name, json!({})).await
}

/// Something in a folder.
pub(crate) struct Listed {
    /// Its name.
    pub(crate) name: String,
    /// It can be listed.
    pub(crate) is_folder: bool,
    /// Its size, where that is known without making it.
    pub(crate) size_bytes: Option<u64>,
    /// When it was changed last: microseconds since 1970 UTC; 0 where nothing tells.
    pub(crate) modified_us: i64,
    /// What kind of item it is, if it is one.
    pub(crate) kind: Option<ItemKind>,
    /// Who sent, organised or made it.
    pub(crate) from: Option<String>,
}

/// A page of a folder, and what comes after it.
pub(crate) struct Listing {
    /// The entries.
    pub(crate) entries: Vec<Listed>,
    /// The number of the first entry of the next page; none: there is none.
    pub(crate) next: Option<u64>,
}

/// What a path names.
///
/// # Errors
/// `WrongKey` when the repository is locked; `NotFound`.
pub(crate) async fn find(server: &Server, actor: &Actor, row: &RepositoryRow, path: &str) -> Result<(Browser, Node)> {
    if path.len() > LONGEST {
        return Err(Error::not_found("There is no path as long as this"));
    }
    let browser = server.unlocked.browser(server, actor, row).await?;
    let node = browser.resolve(path).await?;
    Ok((browser, node))
}

/// Where what a path names comes from: what a restore and an archive take.
///
/// # Errors
/// `InvalidInput` above the snapshots; as [`find`].
pub(crate) async fn origin(server: &Server, actor: &Actor, row: &RepositoryRow, path: &str) -> Result<Origin> {
    let (browser, node) = find(server, actor, row, path).await?;
    browser.origin(&node).await?.ok_or_else(|| {
        Error::invalid("This is above the snapshots").with_hint("Open a snapshot, and pick what is in it")
    })
}

/// An event at one of its times.
pub(crate) struct Dated {
    /// The file's name.
    pub(crate) name: String,
    /// When it is, and what it is called then.
    pub(crate) occasion: Occasion,
}

/// Events of a folder that begin between two times, a series as often as it comes again there. Says too whether the folder
/// has more than is looked at.
///
/// # Errors
/// As [`list`].
pub(crate) async fn events(browser: &Browser, node: &Node, between: (i64, i64)) -> Result<(Vec<Dated>, bool)> {
    const STRIDE: usize = 1_000;
    let (mut found, mut series, mut at) = (Vec::new(), Vec::new(), 0u64);
    let more = loop {
        let listed = stretch(browser, node, at, STRIDE).await?;
        let is_last = listed.len() < STRIDE;
        // What hangs below an event is a folder of the same item.
        for entry in listed.into_iter().filter(|entry| !entry.node.is_folder()) {
            let Some(record) = browser.record(&entry.node).await?.filter(|r| r.kind == ItemKind::Event) else {
                continue;
            };
            if comes_again(&record) {
                series.push(entry);
            } else {
                let told = browser.occasions(&entry.node, between).await?;
                found.extend(told.into_iter().map(|occasion| Dated { name: entry.name.to_string(), occasion }));
            }
        }
        at += STRIDE as u64;
        if is_last || at >= MOST_EVENTS {
            break !is_last;
        }
    };
    let too_many = series.len() > MOST_SERIES;
    series.truncate(MOST_SERIES);
    let asked = series.into_iter().map(|entry| {
        let browser = browser.clone();
        async move {
            let told = browser.occasions(&entry.node, between).await?;
            Ok::<_, Error>(told.into_iter().map(move |occasion| Dated { name: entry.name.to_string(), occasion }))
        }
    });
    let mut asked = stream::iter(asked).buffered(SERIES_AT_ONCE);
    while let Some(told) = asked.next().await {
        found.extend(told?);
    }
    found.sort_by_key(|event| event.occasion.begins_us);
    Ok((found, more || too_many))
}

/// When the events of a folder begin first, in no order, as far as [`events`] looks.
///
/// # Errors
/// As [`list`].
pub(crate) async fn begins(browser: &Browser, node: &Node) -> Result<Vec<i64>> {
    let mut begins = Vec::new();
    for entry in stretch(browser, node, 0, usize::try_from(MOST_EVENTS).unwrap_or(usize::MAX)).await? {
        let record = browser.record(&entry.node).await?.filter(|record| record.kind == ItemKind::Event);
        begins.extend(record.and_then(|record| record.sort_us));
    }
    Ok(begins)
}

/// Somebody or something of whom a set has data.
pub(crate) struct Owner {
    /// The folder of the set below `sets`.
    pub(crate) set: String,
    /// `users`, `sites`, `teams`, …
    pub(crate) word: String,
    /// The name.
    pub(crate) name: String,
}

/// Whose data the latest snapshots hold: those with a text in their name, at most so many. Says too whether there are more.
///
/// # Errors
/// As [`list`].
pub(crate) async fn owners(browser: &Browser, text: &str, most: usize) -> Result<(Vec<Owner>, bool)> {
    let text = text.to_lowercase();
    let mut found = Vec::new();
    let Some(sets) = browser.find(&browser.root(), "sets").await? else { return Ok((found, false)) };
    for set in browser.list(&sets, 0, MOST_SETS).await? {
        let Some(latest) = browser.find(&set.node, "latest").await? else { continue };
        for word in browser.list(&latest, 0, PAGE).await? {
            for owner in browser.list(&word.node, 0, MOST_OWNERS).await? {
                if !owner.name.to_lowercase().contains(&text) {
                    continue;
                }
                if found.len() == most {
                    return Ok((found, true));
                }
                let (set, word, name) = (set.name.to_string(), word.name.to_string(), owner.name.to_string());
                found.push(Owner { set, word, name });
            }
        }
    }
    Ok((found, false))
}

/// The snapshots of a set, as folders, the newest first, each with its time.
///
/// # Errors
/// `NotFound`; as [`list`].
pub(crate) async fn times(browser: &Browser, set: &str) -> Result<Vec<(String, i64)>> {
    let node = browser.resolve(&format!("sets/{set}")).await.map_err(|e| match e.kind() {
        ErrorKind::NotFound => Error::not_found(format!("There is no backup set '{set}' in the snapshots")),
        _ => e,
    })?;
    let listed = browser.list(&node, 0, usize::MAX).await?;
    let is_time = |name: &str| name != "latest";
    Ok(listed
        .into_iter()
        .filter(|l| is_time(&l.name))
        .rev()
        .map(|l| (l.name.to_string(), l.node.modified_us()))
        .collect())
}

/// Entries of a folder from a number on: as many as are asked for, if there are as many. A browser gives what it has at hand,
/// which may be less.
async fn stretch(browser: &Browser, node: &Node, from: u64, most: usize) -> Result<Vec<browse::Listed>> {
    let mut found = Vec::new();
    while found.len() < most {
        let (at, left) = (from + found.len() as u64, most - found.len());
        let more = match most {
            ..=PAGE => browser.list_page(node, at, left).await?,
            _ => browser.list(node, at, left).await?,
        };
        if more.is_empty() {
            break;
        }
        found.extend(more);
    }
    Ok(found)
}

/// Lists a page of a folder.
///
/// # Errors
/// `InvalidInput` for a file; as [`find`].
pub(crate) async fn list(browser: &Browser, node: &Node, from: u64) -> Result<Listing> {
    let found = stretch(browser, node, from, PAGE).await?;
    let next = (found.len() == PAGE).then(|| from + PAGE as u64);
    let mut entries = Vec::with_capacity(found.len());
    for listed in found {
        // What was just listed is known still, nearly always.
        let record = if listed.node.is_folder() { None } else { browser.record(&listed.node).await? };
        let from = record.as_ref().and_then(|record| record.fact("from").or_else(|| record.fact("organizer")));
        entries.push(Listed {
            name: listed.name.to_string(),
            is_folder: listed.node.is_folder(),
            size_bytes: browser.known_size(&listed.node).filter(|_| !listed.node.is_folder()),
            modified_us: changed_us(record.as_deref(), listed.node.modified_us()),
            kind: record.as_ref().map(|record| record.kind),
            from: from.map(str::to_owned),
        });
    }
    Ok(Listing { entries, next })
}

/// When an item was changed last, where it tells: one that does not is as old as its snapshot to file systems alone.
pub(crate) fn changed_us(record: Option<&Record>, as_file_us: i64) -> i64 {
    if record.is_some_and(|record| time_us(record).is_none()) { 0 } else { as_file_us }
}

/// Reads a file whole, if it is not larger than `most`.
///
/// # Errors
/// `InvalidInput` for a larger one, or a folder; as reading.
pub(crate) async fn whole(browser: &Browser, node: &Node, most: u64) -> Result<Vec<u8>> {
    let meta = browser.meta(node).await?;
    if meta.is_folder || meta.size_bytes > most {
        return Err(Error::invalid("This is too large to be shown").with_hint("Download it"));
    }
    let mut all = Vec::new();
    loop {
        let piece = browser.read(node, all.len() as u64, STEP).await?;
        if piece.is_empty() {
            return Ok(all);
        }
        all.extend_from_slice(&piece);
        if all.len() as u64 > most {
            return Err(Error::invalid("This is too large to be shown").with_hint("Download it"));
        }
    }
}

/// Sends a file, noted in the audit log. Whatever it is, a browser stores it and runs nothing of it.
///
/// # Errors
/// `InvalidInput` for a folder; as [`find`].
pub(crate) async fn download(server: &Server, actor: &Actor, account: &Id, id: &Id, path: &str) -> Result<Response> {
    let row = server.db.repository(account, id).await?;
    let (browser, node) = find(server, actor, &row, path).await?;
    if node.is_folder() {
        return Err(Error::invalid("This is a folder").with_hint("Download what is in it"));
    }
    let meta = browser.meta(&node).await?;
    // What cannot be read is told as an error, not as half a file.
    let first = browser.read(&node, 0, STEP).await?;
    note(server, actor, account, "item.download", path, json!({"repository": row.name, "bytes": meta.size_bytes}))
        .await?;
    let steps = stream::unfold(Some((browser, node, 0u64, Some(first))), |state| async move {
        let (browser, node, at, first) = state?;
        let piece = match first {
            Some(first) => Ok(first),
            None => browser.read(&node, at, STEP).await,
        };
        match piece {
            Ok(piece) if piece.is_empty() => None,
            Ok(piece) => {
                let next = at + piece.len() as u64;
                Some((Ok(piece), Some((browser, node, next, None))))
            }
            Err(e) => Some((Err::<Bytes, _>(std::io::Error::other(e.to_string())), None)),
        }
    });
    let name = path.rsplit('/').next().unwrap_or("file");
    let plain: String =
        name.chars().map(|c| if c.is_ascii_graphic() && !"\"\\%;".contains(c) { c } else { '_' }).collect();
    let full: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect::<String>().replace('+', "%20");
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, meta.size_bytes.to_string()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{full}")),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox".to_owned()),
    ];
    Ok((headers, Body::from_stream(steps.fuse())).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tells_no_time_is_not_said_to_be_changed_when_its_snapshot_was_made() {
        let mut one = Record::new(ItemKind::Permission, "1", "", "Info Desk");
        assert_eq!((changed_us(Some(&one), 7), changed_us(None, 7)), (0, 7));
        one.created_us = Some(5);
        assert_eq!(changed_us(Some(&one), 5), 5);
    }
}
