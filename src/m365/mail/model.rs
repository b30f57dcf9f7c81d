//! From Graph's JSON to records, and what a changed version of a message means for its contents.

use bytes::Bytes;
use serde_json::Value;

use crate::format::record::{ItemKind, Record, StreamRole};
use crate::m365::facts::{CONTENT_FACT, Summary, at, flag, number, properties, same_facts, short_hash, text, time_us};
use crate::m365::walk::id_of;

/// The extended property that holds a message's size (PidTagMessageSize).
pub(super) const SIZE_PROPERTY: &str = "Integer 0x0E08";

/// The properties of a message that are read with each change. The body is in the MIME stream.
pub(super) const MESSAGE_PROPERTIES: &str = "id,changeKey,createdDateTime,lastModifiedDateTime,receivedDateTime,\
sentDateTime,subject,bodyPreview,from,sender,toRecipients,ccRecipients,bccRecipients,replyTo,parentFolderId,\
conversationId,conversationIndex,internetMessageId,hasAttachments,importance,inferenceClassification,isRead,isDraft,\
isDeliveryReceiptRequested,isReadReceiptRequested,flag,categories,webLink";

/// How many addresses of a kind a record names; all of them are in the properties stream.
const ADDRESSES_NAMED: usize = 20;

/// What changes whenever a message's contents do.
const CONTENT_PROPERTIES: [&str; 11] = [
    "subject",
    "bodyPreview",
    "sentDateTime",
    "internetMessageId",
    "hasAttachments",
    "from",
    "sender",
    "toRecipients",
    "ccRecipients",
    "bccRecipients",
    "replyTo",
];

/// What people and clients change about a message without touching its contents.
const STATE_PROPERTIES: [&str; 5] = ["isRead", "flag", "categories", "importance", "inferenceClassification"];

/// The fact that tells whether the state changed.
const STATE: &str = "state";

/// An item of a mailbox as a page tells it.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) record: Record,
    pub(super) properties: Bytes,
}

/// Reads a folder. `None`: it has no id. The parent is as Graph gives it.
pub(super) fn folder(value: &Value) -> Option<Told> {
    let search = text(value, &["@odata.type"]).is_some_and(|kind| kind.ends_with("mailSearchFolder"));
    let mut summary = Summary::default();
    summary.mark("hidden", flag(value, &["isHidden"]).unwrap_or(false));
    summary.add("well_known", text(value, &["wellKnownName"]).unwrap_or_default());
    if search {
        // The definition is all there is of it; its properties are stored when this changes.
        let definition = ["filterQuery", "sourceFolderIds", "includeNestedFolders"].map(|name| value.get(name));
        summary.add("definition", short_hash(definition));
    }
    let kind = if search { ItemKind::MailSearchFolder } else { ItemKind::MailFolder };
    let parent = text(value, &["parentFolderId"]).unwrap_or_default();
    let name = text(value, &["displayName"]).unwrap_or_default();
    let record = Record { summary: summary.finish(), ..Record::new(kind, id_of(value)?, parent, name) };
    Some(Told { record, properties: properties(value) })
}

/// Reads a message that lies in `folder`. `None`: it has no id.
pub(super) fn message(value: &Value, folder: &str) -> Option<Told> {
    let size = size_bytes(value);
    let received = time_us(value, &["receivedDateTime"]);
    let created = time_us(value, &["createdDateTime"]);
    let record = Record {
        id: id_of(value)?.to_owned(),
        parent: folder.to_owned(),
        name: text(value, &["subject"]).unwrap_or_default().to_owned(),
        kind: ItemKind::Message,
        created_us: created,
        modified_us: time_us(value, &["lastModifiedDateTime"]),
        sort_us: received.or_else(|| time_us(value, &["sentDateTime"])).or(created),
        size_bytes: size.unwrap_or(0),
        version: version(value),
        summary: message_facts(value, size),
        streams: Vec::new(),
    };
    Some(Told { record, properties: properties(value) })
}

fn version(value: &Value) -> String {
    text(value, &["changeKey"]).or_else(|| text(value, &["@odata.etag"])).unwrap_or_default().to_owned()
}

fn message_facts(value: &Value, size: Option<u64>) -> Vec<(String, String)> {
    let mut summary = Summary::default();
    summary.mark("attachments", flag(value, &["hasAttachments"]).unwrap_or(false));
    summary.mark("draft", flag(value, &["isDraft"]).unwrap_or(false));
    summary.mark("read", flag(value, &["isRead"]).unwrap_or(false));
    summary
        .add("flag", text(value, &["flag", "flagStatus"]).filter(|status| *status != "notFlagged").unwrap_or_default());
    summary.add("importance", text(value, &["importance"]).filter(|word| *word != "normal").unwrap_or_default());
    summary.add("message_id", text(value, &["internetMessageId"]).unwrap_or_default());
    summary.add("from", at(value, &["from"]).or_else(|| at(value, &["sender"])).and_then(address).unwrap_or_default());
    summary.add("to", addresses(at(value, &["toRecipients"])));
    summary.add("cc", addresses(at(value, &["ccRecipients"])));
    let categories = at(value, &["categories"]).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    summary.add("categories", categories.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("; "));
    summary.add(STATE, short_hash(STATE_PROPERTIES.map(|name| value.get(name))));
    // Without a size the facts cannot vouch for the contents: then there is no such fact.
    if let Some(size) = size {
        let size = Value::from(size);
        let told = CONTENT_PROPERTIES.iter().map(|name| value.get(name)).chain([Some(&size)]);
        summary.add(CONTENT_FACT, short_hash(told));
    }
    summary.finish()
}

/// The size that the extended property tells.
fn size_bytes(value: &Value) -> Option<u64> {
    let extended = at(value, &["singleValueExtendedProperties"])?.as_array()?;
    let is_size = |id: &str| {
        id.rsplit(' ').next().is_some_and(|tag| tag.eq_ignore_ascii_case("0xe08") || tag.eq_ignore_ascii_case("0x0e08"))
    };
    extended.iter().find(|property| text(property, &["id"]).is_some_and(is_size)).and_then(|p| number(p, &["value"]))
}

fn address(value: &Value) -> Option<String> {
    let name = text(value, &["emailAddress", "name"]).unwrap_or_default();
    let address = text(value, &["emailAddress", "address"]).unwrap_or_default();
    match (name, address) {
        ("", "") => None,
        (name, "") => Some(name.to_owned()),
        (name, address) if name.is_empty() || name == address => Some(address.to_owned()),
        (name, address) => Some(format!("{name} <{address}>")),
    }
}

fn addresses(value: Option<&Value>) -> String {
    let all = value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut named = all.iter().take(ADDRESSES_NAMED).filter_map(address).collect::<Vec<_>>().join("; ");
    if let Some(more @ 1..) = all.len().checked_sub(ADDRESSES_NAMED) {
        named.push_str(&format!("; and {more} more"));
    }
    named
}

/// What a message that was told means for what is stored of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plan {
    /// Nothing changed.
    Nothing,
    /// Its facts changed, its contents did not.
    Keep,
    /// Its contents are new or may have changed.
    Fetch,
}

/// Decides whether the contents of a message must be fetched, from what the previous snapshot knew of it.
///
/// A new change key alone does not say what changed: marking a message as read makes one too. It is taken as explained
/// when the message's state or folder changed and everything that follows its contents (size, preview, addresses, …) did
/// not. Drafts are edited in place and never taken as explained. In doubt the contents are fetched.
pub(super) fn plan(known: Option<&Record>, now: &Record) -> Plan {
    let Some(known) = known.filter(|known| known.stream(StreamRole::Mime).is_some()) else { return Plan::Fetch };
    if !now.version.is_empty() && known.version == now.version {
        return if same_facts(known, now) { Plan::Nothing } else { Plan::Keep };
    }
    let content_same =
        matches!((known.fact(CONTENT_FACT), now.fact(CONTENT_FACT)), (Some(then), Some(now)) if then == now);
    let explained = known.fact(STATE) != now.fact(STATE) || known.parent != now.parent;
    let draft = known.fact("draft").is_some() || now.fact("draft").is_some();
    if content_same && explained && !draft { Plan::Keep } else { Plan::Fetch }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::m365::testing::with_stream;

    fn sample() -> Value {
        json!({"id": "m1", "changeKey": "k1", "subject": "Plan", "bodyPreview": "Dear all", "isRead": false,
            "from": {"emailAddress": {"name": "Dana", "address": "dana@contoso.com"}},
            "toRecipients": [{"emailAddress": {"name": "a@b.c", "address": "a@b.c"}}],
            "flag": {"flagStatus": "notFlagged"}, "receivedDateTime": "2026-11-01T09:14:00Z",
            "singleValueExtendedProperties": [{"id": "Integer 0xe08", "value": "4711"}]})
    }

    fn known() -> Record {
        with_stream(message(&sample(), "inbox").unwrap().record, StreamRole::Mime)
    }

    fn planned(edit: impl FnOnce(&mut Value), folder: &str) -> Plan {
        let mut value = sample();
        edit(&mut value);
        plan(Some(&known()), &message(&value, folder).unwrap().record)
    }

    #[test]
    fn facts_of_a_message_are_read() {
        let record = known();
        assert_eq!(record.fact("from"), Some("Dana <dana@contoso.com>"));
        assert_eq!(record.fact("to"), Some("a@b.c"));
        assert_eq!((record.size_bytes, record.fact("read"), record.fact("flag")), (4711, None, None));
        assert!(record.summary.is_sorted());
        assert!(!format!("{record:?}").contains("Dear all"), "the preview is contents");
    }

    #[test]
    fn state_changes_and_moves_keep_the_contents() {
        assert_eq!(planned(|_| (), "inbox"), Plan::Nothing);
        assert_eq!(planned(|m| m["isRead"] = json!(true), "inbox"), Plan::Keep);
        let next = |m: &mut Value| m["changeKey"] = json!("k2");
        assert_eq!(planned(next, "archive"), Plan::Keep);
        for (name, value) in [
            ("isRead", json!(true)),
            ("flag", json!({"flagStatus": "flagged"})),
            ("categories", json!(["Red"])),
            ("importance", json!("high")),
            ("inferenceClassification", json!("other")),
        ] {
            let edit = |m: &mut Value| {
                m["changeKey"] = json!("k2");
                m[name] = value;
            };
            assert_eq!(planned(edit, "inbox"), Plan::Keep, "{name}");
        }
    }

    #[test]
    fn what_may_have_changed_contents_is_fetched() {
        assert_eq!(plan(None, &known()), Plan::Fetch);
        assert_eq!(planned(|m| m["changeKey"] = json!("k2"), "inbox"), Plan::Fetch, "unexplained");
        let mut names: Vec<&str> = CONTENT_PROPERTIES.to_vec();
        names.push("size");
        for name in names {
            let edit = |m: &mut Value| {
                m["changeKey"] = json!("k2");
                m["isRead"] = json!(true);
                match name {
                    "size" => m["singleValueExtendedProperties"][0]["value"] = json!("4712"),
                    _ => m[name] = json!("other"),
                }
            };
            assert_eq!(planned(edit, "inbox"), Plan::Fetch, "{name}");
        }
        let sizeless = |m: &mut Value| {
            m["changeKey"] = json!("k2");
            m["isRead"] = json!(true);
            m["singleValueExtendedProperties"] = Value::Null;
        };
        assert_eq!(planned(sizeless, "inbox"), Plan::Fetch, "no size, no proof");
        let draft = |m: &mut Value| {
            m["changeKey"] = json!("k2");
            m["isRead"] = json!(true);
            m["isDraft"] = json!(true);
        };
        assert_eq!(planned(draft, "inbox"), Plan::Fetch, "drafts");
        let without = Record { streams: Vec::new(), ..known() };
        assert_eq!(plan(Some(&without), &known()), Plan::Fetch, "nothing stored yet");
    }
}
