//! From a kept message (Graph's JSON and the MIME form) to what is sent to make it again.
//!
//! The MIME form itself would become a draft dated now, so the message is made from JSON, with extended properties that say
//! that it was sent, and when. What JSON cannot hold is kept as an attachment: a forwarded message as `.eml`, a meeting
//! request's calendar as `.ics`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use mail_parser::decoders::base64::base64_decode;
use mail_parser::decoders::quoted_printable::quoted_printable_decode;
use mail_parser::{Encoding, Message, MessageParser, MessagePart, MimeHeaders, PartType};
use serde_json::{Map, Value, json};

use crate::m365::facts::{at, flag, text};

/// The extended property that carries a restore's mark: a named property in a set of its own.
pub(super) const MARK_PROPERTY: &str = "String {7b8f4d1e-52c3-4a9b-9d0e-6f1c2a3b4c5d} Name TenantvaultRestore";
/// PidTagMessageFlags: without the bit "unsent" the message is no draft.
const FLAGS_PROPERTY: &str = "Integer 0x0E07";
/// PidTagMessageDeliveryTime.
const RECEIVED_PROPERTY: &str = "SystemTime 0x0E06";
/// PidTagClientSubmitTime.
const SENT_PROPERTY: &str = "SystemTime 0x0039";

/// A request's JSON is at most 4 MB; attachments in it are Base64.
const INLINE_BYTES: usize = 2_500_000;
/// From this size on an attachment needs an upload session.
pub(super) const SESSION_BYTES: usize = 3_000_000;
/// Names longer than this are cut.
const NAME_CHARACTERS: usize = 200;

/// What is sent as it was kept.
const KEPT: [&str; 13] = [
    "subject",
    "from",
    "sender",
    "toRecipients",
    "ccRecipients",
    "bccRecipients",
    "replyTo",
    "importance",
    "internetMessageId",
    "inferenceClassification",
    "isDeliveryReceiptRequested",
    "isReadReceiptRequested",
    "flag",
];

/// What is sent to make a message.
pub(super) struct Composed {
    /// The message, with its small attachments.
    pub(super) json: Value,
    /// Attachments that are added afterwards.
    pub(super) later: Vec<Enclosure>,
    /// What does not come back as it was.
    pub(super) notes: Vec<String>,
}

/// A file that hangs at a message.
pub(super) struct Enclosure {
    pub(super) name: String,
    pub(super) content_type: String,
    pub(super) inline: bool,
    pub(super) content_id: Option<String>,
    pub(super) bytes: Bytes,
}

impl Enclosure {
    /// As it stands in a request.
    pub(super) fn json(&self) -> Value {
        json!({
            "@odata.type": "#microsoft.graph.fileAttachment",
            "name": self.name,
            "contentType": self.content_type,
            "isInline": self.inline,
            "contentId": self.content_id,
            "contentBytes": STANDARD.encode(&self.bytes),
        })
    }

    /// As an upload session wants it.
    pub(super) fn item(&self) -> Value {
        let mut item = json!({
            "attachmentType": "file",
            "name": self.name,
            "size": self.bytes.len(),
            "contentType": self.content_type,
            "isInline": self.inline,
        });
        if let (Some(id), Some(map)) = (&self.content_id, item.as_object_mut()) {
            map.insert("contentId".into(), id.clone().into());
        }
        json!({"AttachmentItem": item})
    }
}

/// The state of a message that may be set at any time.
pub(super) fn state(properties: &Value) -> Map<String, Value> {
    let names = ["isRead", "categories", "flag", "importance", "inferenceClassification"];
    let given = names.iter().filter_map(|name| Some(((*name).to_owned(), at(properties, &[name])?.clone())));
    given.collect()
}

/// Composes a message. `mark` tells this making apart from others.
pub(super) fn compose(properties: &Value, mime: &[u8], mark: &str) -> Composed {
    let mut notes = Vec::new();
    let mut map = Map::new();
    for name in KEPT {
        if let Some(value) = at(properties, &[name]) {
            map.insert(name.to_owned(), value.clone());
        }
    }
    for name in ["isRead", "categories"] {
        map.insert(name.to_owned(), at(properties, &[name]).cloned().unwrap_or_else(|| json!([])));
    }
    map.insert("isRead".into(), flag(properties, &["isRead"]).unwrap_or(true).into());
    map.insert("singleValueExtendedProperties".into(), extended(properties, mark));
    let parsed = MessageParser::default().parse(mime);
    let (body, mut files) = match &parsed {
        Some(message) => (body(message), enclosures(message, &mut notes)),
        None => (json!({"contentType": "text", "content": ""}), Vec::new()),
    };
    if body["content"].as_str().is_some_and(|content| content.len() > INLINE_BYTES) {
        notes.push("its text is too long for a request: it is kept as the attachment 'message.eml'".to_owned());
        map.insert("body".into(), json!({"contentType": "text", "content": "The text is in message.eml"}));
        files = vec![Enclosure {
            name: "message.eml".into(),
            content_type: "message/rfc822".into(),
            inline: false,
            content_id: None,
            bytes: Bytes::copy_from_slice(mime),
        }];
    } else {
        map.insert("body".into(), body);
    }
    if text(properties, &["@odata.type"]).is_some_and(|kind| kind.contains("eventMessage")) {
        notes.push("a meeting request comes back as an ordinary message, its calendar as an attachment".to_owned());
    }
    let body_bytes = map["body"]["content"].as_str().map_or(0, str::len);
    let mut room = INLINE_BYTES.saturating_sub(body_bytes);
    let (mut now, mut later) = (Vec::new(), Vec::new());
    for file in files {
        if later.is_empty() && file.bytes.len() <= room {
            room -= file.bytes.len();
            now.push(file.json());
        } else {
            later.push(file);
        }
    }
    if !now.is_empty() {
        map.insert("attachments".into(), now.into());
    }
    Composed { json: map.into(), later, notes }
}

fn extended(properties: &Value, mark: &str) -> Value {
    let mut rows = vec![json!({"id": MARK_PROPERTY, "value": mark})];
    if !flag(properties, &["isDraft"]).unwrap_or(false) {
        let is_read = flag(properties, &["isRead"]).unwrap_or(true);
        rows.push(json!({"id": FLAGS_PROPERTY, "value": if is_read { "1" } else { "4" }}));
        for (property, name) in [(RECEIVED_PROPERTY, "receivedDateTime"), (SENT_PROPERTY, "sentDateTime")] {
            if let Some(time) = text(properties, &[name]) {
                rows.push(json!({"id": property, "value": time}));
            }
        }
    }
    rows.into()
}

/// The text of a message: HTML if there is any.
fn body(message: &Message<'_>) -> Value {
    let is_body = |part: &&MessagePart<'_>| {
        part.content_type().is_none_or(|kind| {
            kind.ctype().eq_ignore_ascii_case("text")
                && kind
                    .subtype()
                    .is_none_or(|sub| sub.eq_ignore_ascii_case("plain") || sub.eq_ignore_ascii_case("html"))
        })
    };
    let html: Vec<&str> = message
        .html_bodies()
        .filter(is_body)
        .filter_map(|part| match &part.body {
            PartType::Html(text) => Some(text.as_ref()),
            _ => None,
        })
        .collect();
    if !html.is_empty() {
        return json!({"contentType": "html", "content": html.join("\r\n")});
    }
    let plain: Vec<&str> = message
        .text_bodies()
        .filter(is_body)
        .filter_map(|part| match &part.body {
            PartType::Text(text) => Some(text.as_ref()),
            _ => None,
        })
        .collect();
    json!({"contentType": "text", "content": plain.join("\r\n")})
}

fn enclosures(message: &Message<'_>, notes: &mut Vec<String>) -> Vec<Enclosure> {
    let parts = message.attachments().enumerate();
    parts.map(|(number, part)| enclosure(message, number, part, notes)).collect()
}

fn enclosure(message: &Message<'_>, number: usize, part: &MessagePart<'_>, notes: &mut Vec<String>) -> Enclosure {
    let kind = part.content_type().map(|kind| match kind.subtype() {
        Some(sub) => format!("{}/{sub}", kind.ctype()).to_ascii_lowercase(),
        None => kind.ctype().to_ascii_lowercase(),
    });
    let content_id = part.content_id().map(|id| id.trim_matches(['<', '>']).to_owned());
    let inline = part.content_disposition().is_some_and(mail_parser::ContentType::is_inline) && content_id.is_some();
    let (usual_name, usual_kind) = match &part.body {
        PartType::Message(inner) => {
            notes.push("a forwarded message comes back as an .eml attachment".to_owned());
            (format!("{}.eml", inner.subject().filter(|s| !s.is_empty()).unwrap_or("message")), "message/rfc822")
        }
        _ if kind.as_deref() == Some("text/calendar") => ("meeting.ics".to_owned(), "text/calendar"),
        PartType::Html(_) => (format!("part-{}.html", number + 1), "text/html"),
        PartType::Text(_) => (format!("part-{}.txt", number + 1), "text/plain"),
        _ => (format!("part-{}", number + 1), "application/octet-stream"),
    };
    let name = part.attachment_name().map(str::to_owned).filter(|name| !name.trim().is_empty()).unwrap_or(usual_name);
    Enclosure {
        name: name.chars().filter(|c| !c.is_control()).take(NAME_CHARACTERS).collect(),
        content_type: kind.unwrap_or_else(|| usual_kind.to_owned()),
        inline,
        content_id,
        bytes: bytes_of(message, part),
    }
}

/// The bytes that a part stands for: of texts those before a character set was applied.
fn bytes_of(message: &Message<'_>, part: &MessagePart<'_>) -> Bytes {
    let range =
        usize::try_from(part.offset_body).unwrap_or(usize::MAX)..usize::try_from(part.offset_end).unwrap_or(usize::MAX);
    let raw = message.raw_message.get(range).unwrap_or_default();
    match &part.body {
        PartType::Binary(bytes) | PartType::InlineBinary(bytes) => Bytes::copy_from_slice(bytes),
        _ => match part.encoding {
            Encoding::None => Bytes::copy_from_slice(raw),
            Encoding::QuotedPrintable => quoted_printable_decode(raw).unwrap_or_else(|| raw.to_vec()).into(),
            Encoding::Base64 => base64_decode(raw).unwrap_or_else(|| raw.to_vec()).into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties() -> Value {
        json!({"subject": "Plan", "isRead": false, "isDraft": false, "receivedDateTime": "2026-11-01T09:14:00Z",
            "sentDateTime": "2026-11-01T09:13:56Z", "categories": ["Red"], "flag": {"flagStatus": "flagged"},
            "internetMessageId": "<a@b>", "id": "m", "changeKey": "k", "webLink": "x", "bodyPreview": "p"})
    }

    #[test]
    fn a_sent_message_is_made_as_sent_and_dated() {
        let made = compose(&properties(), b"Subject: Plan\r\nContent-Type: text/html\r\n\r\n<b>hi</b>", "r-1");
        let rows = made.json["singleValueExtendedProperties"].as_array().unwrap();
        let value = |id: &str| rows.iter().find(|row| row["id"] == id).map(|row| row["value"].clone());
        assert_eq!(value(FLAGS_PROPERTY), Some(json!("4")));
        assert_eq!(value(RECEIVED_PROPERTY), Some(json!("2026-11-01T09:14:00Z")));
        assert_eq!(value(SENT_PROPERTY), Some(json!("2026-11-01T09:13:56Z")));
        assert_eq!(value(MARK_PROPERTY), Some(json!("r-1")));
        assert_eq!(made.json["body"], json!({"contentType": "html", "content": "<b>hi</b>"}));
        for name in ["id", "changeKey", "webLink", "bodyPreview", "isDraft", "receivedDateTime"] {
            assert!(made.json.get(name).is_none(), "{name} cannot be set");
        }
        let draft = Value::from(
            properties()
                .as_object()
                .unwrap()
                .clone()
                .into_iter()
                .filter(|(k, _)| k != "isDraft")
                .collect::<Map<_, _>>(),
        );
        let mut draft = draft;
        draft["isDraft"] = json!(true);
        let made = compose(&draft, b"Subject: Plan\r\n\r\nhi", "r-2");
        assert!(!made.json.to_string().contains(FLAGS_PROPERTY), "a draft stays one");
    }

    #[test]
    fn attachments_keep_their_bytes_and_large_ones_come_later() {
        let large = "A".repeat(4_000_000);
        let mime = format!(
            "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n\
             --b\r\nContent-Type: text/csv; charset=iso-8859-1; name=a.csv\r\nContent-Disposition: attachment\r\n\
             Content-Transfer-Encoding: base64\r\n\r\n/+QK\r\n\
             --b\r\nContent-Type: message/rfc822\r\n\r\nSubject: Inner\r\n\r\ninner text\r\n\
             --b\r\nContent-Type: application/zip\r\nContent-Disposition: attachment; filename=z.zip\r\n\r\n{large}\r\n--b--\r\n"
        );
        let made = compose(&properties(), mime.as_bytes(), "r-1");
        assert_eq!(made.json["body"]["content"], "hello");
        let small = made.json["attachments"].as_array().unwrap();
        assert_eq!(small.len(), 2, "{small:?}");
        assert_eq!(small[0]["contentBytes"], "/+QK", "bytes, not text in another character set");
        assert_eq!(small[1]["name"], "Inner.eml");
        assert_eq!(
            STANDARD.decode(small[1]["contentBytes"].as_str().unwrap()).unwrap(),
            b"Subject: Inner\r\n\r\ninner text"
        );
        assert_eq!((made.later.len(), made.later[0].bytes.len()), (1, 4_000_000));
        assert_eq!(made.notes.len(), 1);
    }

    #[test]
    fn any_bytes_compose() {
        for mime in [&b""[..], b"\0\xff", b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b", b"\r\n\r\n"] {
            compose(&Value::Null, mime, "m");
        }
    }
}
