//! Attachments of events and tasks go back: small ones in one request, larger ones through an upload session.
//!
//! Source: Microsoft Graph, "Add attachment", "Attach large files to Outlook messages or events", "Create
//! taskFileAttachment", "Attach files to a To Do task".

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use serde_json::{Map, Value, json};

use super::door::{Cost, Made, Source};
use super::mailbox::Mailbox;
use super::rows;
use crate::error::{Error, Result};
use crate::format::record::{ItemKind, PARTS, Record, StreamRole};
use crate::graph::{Upload, UploadKind, UploadSource, Uploaded};
use crate::m365::facts::{at, flag, text};

/// Longest attachment that goes inside JSON: with Base64 a request stays below 4 MB.
const INLINE_BYTES: u64 = 2_900_000;
/// What a part of an upload session holds.
const FRAGMENT_BYTES: u64 = 12 * 320 * 1024;

/// What the attachments hang on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::m365) enum Form {
    Event,
    Task,
}

/// The part of an event or task that is its attachments.
pub(in crate::m365) const ATTACHMENTS: &str = "attachments";
/// What is looked at of attachments before what they hang on is taken back.
const STATE: &[&str] = &["lastModifiedDateTime", "name", "size"];

/// What hangs on what is at `url` now.
///
/// # Errors
/// Graph's.
pub(in crate::m365) async fn state(mailbox: &Mailbox, url: &str, form: Form) -> Result<String> {
    // Those of events come with their bytes if nothing else is asked for.
    let chosen = if form == Form::Event { "?$select=id,name,size,lastModifiedDateTime" } else { "" };
    let rows = mailbox.client.get_all(mailbox.get(&format!("{url}/attachments{chosen}"))).await?;
    Ok(rows::state_of_all(&rows, STATE))
}

/// What hangs on something without attachments.
pub(in crate::m365) fn no_state() -> String {
    rows::state_of_all(&[], STATE)
}

struct Stored<'a>(&'a dyn Source, &'a Record);

#[async_trait]
impl UploadSource for Stored<'_> {
    async fn open(&self, from: u64) -> Result<BoxStream<'static, Result<Bytes>>> {
        let opened = self.0.open(self.1, StreamRole::Content, from).await?;
        opened.map(|opened| opened.bytes).ok_or_else(|| Error::corrupt("The contents of an attachment are gone"))
    }
}

/// Attaches a stored attachment to what is at `url`; what cannot be attached as it was is noted.
///
/// # Errors
/// Graph's; the source's.
pub(in crate::m365) async fn attach(
    mailbox: &Mailbox,
    url: &str,
    form: Form,
    part: &Record,
    source: &dyn Source,
    made: &mut Made,
) -> Result<()> {
    let json = source.properties(part).await?;
    let size = rows::content_bytes(part);
    let kind = text(&json, &["@odata.type"]).unwrap_or_default().to_owned();
    if kind.ends_with("referenceAttachment") {
        made.notes.push(format!("the attached link '{}' is left out: Graph v1.0 makes none", part.name));
        return Ok(());
    }
    if part.streams.iter().all(|stream| stream.role != StreamRole::Content) {
        made.notes.push(format!("the attachment '{}' is left out: its contents are not in the snapshot", part.name));
        return Ok(());
    }
    let mut facts = facts(&json, part, form);
    if kind.ends_with("itemAttachment") {
        let name = item_name(source, part).await?;
        made.notes.push(format!("the attached item '{}' came back as the file '{name}'", part.name));
        facts.insert("name".into(), name.into());
    }
    // Its bytes, and in Base64 and in the request; of a larger one a part at a time.
    let _held = source.room(size.min(INLINE_BYTES).saturating_mul(3)).await?;
    if size <= INLINE_BYTES {
        let bytes = rows::bytes_of(source, part, INLINE_BYTES).await?.unwrap_or_default();
        let kind = if form == Form::Event { "fileAttachment" } else { "taskFileAttachment" };
        facts.insert("@odata.type".into(), format!("#microsoft.graph.{kind}").into());
        facts.insert("contentBytes".into(), rows::base64(&bytes));
        return mailbox.client.send(mailbox.post(&format!("{url}/attachments"), &facts.into())).await.map(drop);
    }
    if form == Form::Task {
        made.notes.push(format!(
            "the attachment '{}' is left out: Graph takes 3 MB and more for a task from its owner alone",
            part.name
        ));
        return Ok(());
    }
    facts.insert("attachmentType".into(), "file".into());
    facts.insert("size".into(), size.into());
    let session = mailbox.post(&format!("{url}/attachments/createUploadSession"), &json!({"AttachmentItem": facts}));
    let contents = Stored(source, part);
    let upload = Upload { session, kind: UploadKind::Attachment, size_bytes: size, source: &contents };
    match mailbox.client.upload(upload).await? {
        Uploaded::Done(..) => {}
        Uploaded::Doubtful => made.notes.push(format!("whether the attachment '{}' arrived is not known", part.name)),
    }
    Ok(())
}

/// What it costs to attach what hangs below an item, and below the exceptions of a series.
///
/// # Errors
/// The source's.
pub(in crate::m365) async fn cost(record: &Record, form: Form, source: &dyn Source) -> Result<Cost> {
    let (mut cost, mut all) = (Cost::default(), vec![record.clone()]);
    while let Some(one) = all.pop() {
        let below = if one.fact(PARTS).is_some() { source.below(&one).await? } else { Vec::new() };
        for part in below {
            match part.kind {
                ItemKind::Attachment => {
                    let attached = part.stream(StreamRole::Content).map(|stream| cost_of(stream.size_bytes, form));
                    cost = cost.and(attached.unwrap_or_default());
                }
                // An exception, which has none below it.
                ItemKind::Event if one.id == record.id => all.push(part),
                _ => {}
            }
        }
    }
    Ok(cost)
}

/// What one attachment of so many bytes costs.
fn cost_of(size_bytes: u64, form: Form) -> Cost {
    match size_bytes {
        // In Base64.
        0..=INLINE_BYTES => Cost { requests: 1, units: 1, bytes: size_bytes.div_ceil(3) * 4 },
        _ if form == Form::Task => Cost::default(),
        _ => {
            let requests = 1 + size_bytes.div_ceil(FRAGMENT_BYTES);
            Cost { requests, units: requests, bytes: size_bytes }
        }
    }
}

/// What is sent of an attachment beside its bytes.
fn facts(json: &Value, part: &Record, form: Form) -> Map<String, Value> {
    let mut facts = Map::new();
    facts.insert("name".into(), part.name.clone().into());
    for key in ["contentType", "contentId"] {
        if let Some(value) = at(json, &[key]).filter(|_| form == Form::Event || key == "contentType") {
            facts.insert(key.into(), value.clone());
        }
    }
    if form == Form::Event {
        facts.insert("isInline".into(), (flag(json, &["isInline"]) == Some(true)).into());
    }
    facts
}

/// The name of the file that an attached item becomes: by the form in which it is kept.
async fn item_name(source: &dyn Source, part: &Record) -> Result<String> {
    use futures::StreamExt as _;
    let mut begin = Vec::new();
    if let Some(mut opened) = source.open(part, StreamRole::Content, 0).await? {
        while let Some(bytes) = opened.bytes.next().await {
            begin.extend_from_slice(&bytes?);
            if begin.len() >= 15 {
                break;
            }
        }
    }
    let ending = if begin.starts_with(b"BEGIN:VCALENDAR") {
        "ics"
    } else if begin.starts_with(b"BEGIN:VCARD") {
        "vcf"
    } else {
        "eml"
    };
    Ok(format!("{}.{ending}", part.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_attached_is_counted_as_it_is_sent() {
        let cost = |requests: u64, bytes: u64| Cost { requests, units: requests, bytes };
        for (size_bytes, event, task) in [
            (0, cost(1, 0), cost(1, 0)),
            (300, cost(1, 400), cost(1, 400)),
            (INLINE_BYTES, cost(1, 3_866_668), cost(1, 3_866_668)),
            (10 << 20, cost(4, 10 << 20), cost(0, 0)),
        ] {
            assert_eq!((cost_of(size_bytes, Form::Event), cost_of(size_bytes, Form::Task)), (event, task));
        }
    }
}
