//! What all workloads share about contents: what an error of one item means, and watching a stream go by.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use sha2::{Digest, Sha256};

use super::door::{ContentSink, Fetched, Wanted};
use super::facts::{CONTENT_FACT, set_fact};
use crate::error::{Error, Result};
use crate::format::collection::Gap;
use crate::format::record::{Record, StreamRole};
use crate::graph::{Client, Fate, GraphRequest, QuickXor, fate, graph_error};

/// Makes the record of an item whose contents could not be read.
///
/// It tells the item as it is now, and has the streams of the previous record, if there is one: older contents are
/// better than none. Its version is empty, which never equals a version of the source, so that the contents are
/// fetched at the next occasion. The properties stream is left to the caller, as in every record.
pub fn without_contents(mut record: Record, previous: Option<&Record>) -> Record {
    record.version.clear();
    set_fact(&mut record, CONTENT_FACT, None);
    let kept = previous.map(|previous| previous.streams.as_slice()).unwrap_or_default();
    record.streams = kept.iter().filter(|stream| stream.role != StreamRole::Properties).cloned().collect();
    record
}

/// What an error of one item or folder means for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It is no longer there.
    Gone,
    /// It cannot be read now: a stable reason and the reason in words.
    Gap { reason: &'static str, text: String },
    /// Its delta token is no longer honoured.
    Resync { location: Option<String> },
    /// No matter of this item: the sign-in, the network, the whole mailbox.
    Fatal,
}

/// Says what an error of one item or folder means for it. One item never ends a run.
pub(super) fn trouble(error: &Error) -> Trouble {
    let gap = |text: String| Trouble::Gap { reason: reason(error), text };
    match fate(error) {
        Fate::Gone => Trouble::Gone,
        Fate::Gap(text) | Fate::Denied(text) => gap(text),
        Fate::Resync { location } => Trouble::Resync { location },
        Fate::NotProvisioned(_) => Trouble::Fatal,
        Fate::Fatal => match graph_error(error) {
            Some(answer) if answer.status != 401 => gap(format!("Graph refuses the request ({})", answer.code)),
            _ => Trouble::Fatal,
        },
    }
}

/// Says what an error of reading contents means for the item: an address that refuses is no matter of the sign-in.
pub(super) fn trouble_with_contents(error: &Error) -> Trouble {
    let signed_out = |codes: &[&str]| {
        graph_error(error).is_none_or(|a| a.status != 401 || codes.iter().any(|code| a.has_code(code)))
    };
    match trouble(error) {
        Trouble::Fatal if !signed_out(&["InvalidAuthenticationToken", "unauthenticated"]) => {
            Trouble::Gap { reason: reason(error), text: "The address of the contents refuses to give them".to_owned() }
        }
        other => other,
    }
}

/// Says whether delta failed as the mailbox is full: a plain listing still works then.
pub(super) fn is_over_quota(error: &Error) -> bool {
    graph_error(error).is_some_and(|answer| answer.status == 507 || answer.has_code("ErrorQuotaExceeded"))
}

/// Says whether an error tells that the owner of what was asked for is gone, and not the thing alone.
fn is_owner_gone(error: &Error) -> bool {
    const CODES: [&str; 4] =
        ["ErrorInvalidUser", "Request_ResourceNotFound", "ResourceNotFound", "ErrorNonExistentMailbox"];
    graph_error(error).is_some_and(|answer| CODES.iter().any(|code| answer.has_code(code)))
}

fn reason(error: &Error) -> &'static str {
    let Some(answer) = graph_error(error) else { return "broke-off" };
    let any = |codes: &[&str]| codes.iter().any(|code| answer.has_code(code));
    if answer.infected || any(&["malwareDetected"]) {
        "malware"
    } else if any(&["ErrorCorruptData", "ErrorCannotOpenFileAttachment", "ErrorInvalidRecipients"]) {
        "damaged-at-source"
    } else if answer.status == 423 || any(&["resourceLocked", "notAllowed", "locked"]) {
        "locked"
    } else {
        match answer.status {
            401..=403 => "access-denied",
            405 | 501 => "not-supported",
            507 => "over-quota",
            429 | 500..=599 => "service-failing",
            _ => "refused",
        }
    }
}

/// Makes the gap of an item.
pub(super) fn gap_of(record: &Record, collection: &str, reason: &str, text: impl Into<String>) -> Gap {
    Gap {
        collection: collection.to_owned(),
        id: record.id.clone(),
        name: record.name.clone(),
        kind: Some(record.kind),
        reason: reason.to_owned(),
        text: text.into(),
        since_us: 0,
    }
}

/// Reads one stream of an item into `contents`, asking with `request`.
pub(super) async fn fetch_stream(
    client: &Client,
    request: GraphRequest,
    role: StreamRole,
    collection: &str,
    wanted: &Wanted,
    contents: &mut dyn ContentSink,
) -> Result<Fetched> {
    fetch_if_there(client, request, (role, false), collection, wanted, contents).await
}

/// The same; with `true`, an item that has no such stream is stored without one.
pub(super) async fn fetch_if_there(
    client: &Client,
    request: GraphRequest,
    (role, may_lack): (StreamRole, bool),
    collection: &str,
    wanted: &Wanted,
    contents: &mut dyn ContentSink,
) -> Result<Fetched> {
    let record = &wanted.record;
    let own = own_of(&request).filter(|_| !may_lack);
    let (error, what) = match client.get_stream(request).await {
        Err(error) => {
            let what = trouble(&error);
            (error, what)
        }
        Ok(download) => {
            let watch = Watch::default();
            let expected = download.length_bytes().or((record.size_bytes > 0).then_some(record.size_bytes));
            match contents.store(role, expected, watch.over(download.into_stream(), None)).await {
                Ok(()) => return Ok(Fetched::Stored { source_hash: String::new(), newer: None, gap: None }),
                Err(error) => match watch.take().trouble {
                    Some(what) => (error, what),
                    None => return Err(error),
                },
            }
        }
    };
    match what {
        Trouble::Gone if may_lack && !is_owner_gone(&error) => {
            Ok(Fetched::Stored { source_hash: String::new(), newer: None, gap: None })
        }
        Trouble::Gone if may_lack => {
            let text = "The mailbox vanished while it was read";
            Ok(Fetched::Unreadable(gap_of(record, collection, "vanished", text)))
        }
        Trouble::Gone | Trouble::Resync { .. } if is_there(client, own.as_ref()).await? => {
            Ok(Fetched::Unreadable(gap_of(record, collection, "refused", NOT_FOUND)))
        }
        Trouble::Gone | Trouble::Resync { .. } => Ok(Fetched::Gone),
        Trouble::Gap { reason, text } => Ok(Fetched::Unreadable(gap_of(record, collection, reason, text))),
        Trouble::Fatal => Err(error.context(format!("Reading a {} of {collection} failed", record.kind.word()))),
    }
}

/// Why something that is there is a gap all the same: taken for gone, no delta would tell of it again.
pub(super) const NOT_FOUND: &str = "It is there, but the service does not find its contents";

/// The request for the thing itself, by that for its contents.
fn own_of(contents: &GraphRequest) -> Option<GraphRequest> {
    contents.url.strip_suffix("/$value").map(|own| contents.with_url(format!("{own}?$select=id")))
}

/// Says whether that is there of which the contents are not found. Not everything with contents can be asked for itself.
async fn is_there(client: &Client, own: Option<&GraphRequest>) -> Result<bool> {
    let Some(own) = own else { return Ok(false) };
    match client.get_json(own.clone()).await {
        Ok(_) => Ok(true),
        Err(error) if trouble(&error) == Trouble::Fatal => Err(error),
        Err(_) => Ok(false),
    }
}

/// Computes the hash that a source gives for its contents.
pub(super) enum SourceHasher {
    /// Microsoft's QuickXorHash, told in Base64.
    QuickXor(QuickXor),
    /// SHA-256, told in upper-case hexadecimal.
    Sha256(Sha256),
}

impl SourceHasher {
    /// Finds the hasher for a hash like `quickXorHash:BASE64`; `None` if it is none that can be computed.
    pub(super) fn for_hash(hash: &str) -> Option<Self> {
        match hash.split_once(':')?.0 {
            "quickXorHash" => Some(Self::QuickXor(QuickXor::new())),
            "sha256Hash" => Some(Self::Sha256(Sha256::new())),
            _ => None,
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::QuickXor(hasher) => hasher.update(bytes),
            Self::Sha256(hasher) => hasher.update(bytes),
        }
    }

    fn finish(self) -> String {
        match self {
            Self::QuickXor(hasher) => format!("quickXorHash:{}", hasher.finish_base64()),
            Self::Sha256(hasher) => {
                let hex: String = hasher.finalize().iter().map(|byte| format!("{byte:02X}")).collect();
                format!("sha256Hash:{hex}")
            }
        }
    }
}

/// What was seen of a stream that went by.
#[derive(Default)]
pub(super) struct Seen {
    /// How many bytes came.
    pub(super) received_bytes: u64,
    /// The hash of all bytes, once the stream came to its end.
    pub(super) hash: Option<String>,
    /// What went wrong at the source.
    pub(super) trouble: Option<Trouble>,
}

/// Watches a stream of contents: who takes it may fail too, and then it must be known whose error it was.
#[derive(Clone, Default)]
pub(super) struct Watch(Arc<Mutex<Seen>>);

impl Watch {
    /// Wraps a stream.
    pub(super) fn over(
        &self,
        stream: impl futures::Stream<Item = Result<Bytes>> + Send + 'static,
        hasher: Option<SourceHasher>,
    ) -> BoxStream<'static, Result<Bytes>> {
        let watch = self.clone();
        let start = (stream.boxed(), hasher, watch);
        let steps = futures::stream::unfold(Some(start), |state| async move {
            let (mut stream, mut hasher, watch) = state?;
            match stream.next().await {
                Some(Ok(bytes)) => {
                    if let Some(hasher) = &mut hasher {
                        hasher.update(&bytes);
                    }
                    watch.note(|seen| seen.received_bytes += bytes.len() as u64);
                    Some((Ok(bytes), Some((stream, hasher, watch))))
                }
                Some(Err(error)) => {
                    let what = trouble_with_contents(&error);
                    watch.note(|seen| seen.trouble = Some(what));
                    Some((Err(error), None))
                }
                None => {
                    watch.note(|seen| seen.hash = hasher.map(SourceHasher::finish));
                    None
                }
            }
        });
        steps.boxed()
    }

    /// Takes what was seen.
    pub(super) fn take(&self) -> Seen {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
