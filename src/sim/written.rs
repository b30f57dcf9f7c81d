//! Messages that clients wrote: what came in, and the same as Graph and MIME show it.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::letter::Person;
use super::mime::{Out, address_list, header_text};
use super::reply::Reply;
use super::times;

/// The bit of the message flags that says "not sent yet".
const UNSENT: i64 = 8;
/// Properties that may be set when a message is made.
const SETTABLE: &[&str] = &[
    "subject",
    "body",
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
    "isRead",
    "categories",
    "flag",
    "internetMessageHeaders",
    "attachments",
    "singleValueExtendedProperties",
    "@odata.type",
];
/// Largest attachment that comes inside a JSON request.
const INLINE_BYTES: usize = 3 << 20;

/// A message as it was written.
#[derive(Debug, Clone, Default)]
pub(super) struct Written {
    /// Its properties, by Graph's names.
    pub(super) properties: Map<String, Value>,
    pub(super) draft: bool,
    pub(super) sent: i64,
    pub(super) attachments: Vec<Enclosure>,
    /// Extended properties, by their ids in lower case.
    pub(super) extended: BTreeMap<String, String>,
}

/// A file that hangs at a written message.
#[derive(Debug, Clone)]
pub(super) struct Enclosure {
    pub(super) name: String,
    pub(super) mime: String,
    pub(super) bytes: Bytes,
    pub(super) inline: bool,
    pub(super) content_id: Option<String>,
}

/// What came in: the message, when it was received, and its state.
pub(super) struct Posted {
    pub(super) written: Written,
    pub(super) received: i64,
    pub(super) read: bool,
}

fn bad(text: &str) -> Reply {
    Reply::fail(400, "UnableToDeserializePostBody", text)
}

/// Reads a request's JSON.
pub(super) fn object(body: &[u8]) -> Result<Map<String, Value>, Reply> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(map)) => Ok(map),
        _ => Err(bad("were unable to deserialize")),
    }
}

/// Refuses properties that are not among those named.
pub(super) fn only(map: &Map<String, Value>, known: &[&str], kind: &str) -> Result<(), Reply> {
    match map.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => {
            let text = format!("The property '{key}' does not exist on type 'microsoft.graph.{kind}' or is read-only.");
            Err(Reply::fail(400, "RequestBodyRead", &text))
        }
        None => Ok(()),
    }
}

/// Reads the body of a request that makes a message.
pub(super) fn posted(body: &[u8], now: i64) -> Result<Posted, Reply> {
    let mut map = object(body)?;
    only(&map, SETTABLE, "message")?;
    let mut written = Written { draft: true, sent: now, ..Written::default() };
    let mut received = now;
    let mut flags = None;
    for property in rows(map.shift_remove("singleValueExtendedProperties"))? {
        let text = |name: &str| property.get(name).and_then(Value::as_str).map(str::to_owned);
        let (Some(id), Some(value)) = (text("id"), text("value")) else { return Err(bad("id and value are needed")) };
        let time = || times::parse(&value).ok_or_else(|| bad("not a time"));
        match id.to_ascii_lowercase().replace("0x0e", "0xe").as_str() {
            "integer 0xe07" => flags = Some(value.parse::<i64>().map_err(|_| bad("not a number"))?),
            "systemtime 0xe06" => received = time()?,
            "systemtime 0x0039" | "systemtime 0x39" => written.sent = time()?,
            other if other.starts_with("string {") => drop(written.extended.insert(other.to_owned(), value)),
            _ => return Err(bad("an extended property that this simulation does not know")),
        }
    }
    if let Some(flags) = flags {
        written.draft = flags & UNSENT != 0;
    }
    let headers = rows(map.get("internetMessageHeaders").cloned())?;
    let custom = |row: &Value| row["name"].as_str().is_some_and(|name| name.to_ascii_lowercase().starts_with("x-"));
    if headers.len() > 5 || !headers.iter().all(custom) {
        return Err(Reply::fail(400, "InvalidInternetMessageHeader", "Only up to 5 headers beginning with 'x-'."));
    }
    for row in rows(map.shift_remove("attachments"))? {
        written.attachments.push(enclosure(&row)?);
    }
    let read = map.shift_remove("isRead").and_then(|v| v.as_bool()).unwrap_or(true);
    map.shift_remove("@odata.type");
    written.properties = map;
    Ok(Posted { written, received, read })
}

fn rows(value: Option<Value>) -> Result<Vec<Value>, Reply> {
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(rows)) => Ok(rows),
        Some(_) => Err(bad("an array is expected")),
    }
}

/// Reads an attachment.
pub(super) fn enclosure(row: &Value) -> Result<Enclosure, Reply> {
    let map = row.as_object().ok_or_else(|| bad("an attachment is an object"))?;
    let known = ["@odata.type", "name", "contentType", "contentBytes", "isInline", "contentId", "contentLocation"];
    only(map, &known, "fileAttachment")?;
    if row["@odata.type"] != "#microsoft.graph.fileAttachment" {
        return Err(bad("only file attachments are simulated"));
    }
    let text = |name: &str| row.get(name).and_then(Value::as_str).map(str::to_owned);
    let bytes = text("contentBytes").and_then(|text| STANDARD.decode(text).ok()).ok_or_else(|| bad("contentBytes"))?;
    if bytes.len() >= INLINE_BYTES {
        return Err(Reply::fail(
            413,
            "ErrorMessageSizeExceeded",
            "The attachment is too large: use an upload session.",
        ));
    }
    Ok(Enclosure {
        name: text("name").ok_or_else(|| bad("an attachment needs a name"))?,
        mime: text("contentType").unwrap_or_else(|| "application/octet-stream".into()),
        bytes: bytes.into(),
        inline: row["isInline"] == true,
        content_id: text("contentId"),
    })
}

impl Written {
    pub(super) fn text(&self, name: &str) -> &str {
        self.properties.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// A property, or what stands for one that was not given.
    pub(super) fn get(&self, name: &str, usual: Value) -> Value {
        self.properties.get(name).filter(|v| !v.is_null()).cloned().unwrap_or(usual)
    }

    fn body(&self) -> (&str, &str) {
        let body = self.properties.get("body");
        let text = |name: &str| body.and_then(|b| b.get(name)).and_then(Value::as_str).unwrap_or_default();
        (text("contentType"), text("content"))
    }

    /// The first characters of the body.
    pub(super) fn preview(&self) -> String {
        let (_, content) = self.body();
        let mut inside = false;
        let visible = content.chars().filter(|c| {
            let was = inside;
            inside = *c == '<' || (inside && *c != '>');
            // The sign that ends a tag belongs to it.
            !(inside || (was && *c == '>'))
        });
        visible.take(255).collect()
    }

    /// About the size Exchange keeps the message in.
    pub(super) fn store_size(&self) -> usize {
        4_000 + self.body().1.len() + self.attachments.iter().map(|a| a.bytes.len() + 300).sum::<usize>()
    }

    /// What `hasAttachments` says.
    pub(super) fn has_attachments(&self) -> bool {
        self.attachments.iter().any(|a| !a.inline)
    }

    fn people(&self, name: &str) -> Vec<Person> {
        let one = |row: &Value| {
            let text = |key: &str| row["emailAddress"][key].as_str().unwrap_or_default().to_owned();
            Person { name: text("name"), address: text("address") }
        };
        match self.properties.get(name) {
            Some(Value::Array(rows)) => rows.iter().map(one).collect(),
            Some(row @ Value::Object(_)) => vec![one(row)],
            _ => Vec::new(),
        }
    }

    /// The MIME stream that Exchange makes of it.
    pub(super) fn mime(&self) -> Vec<u8> {
        let mut out = Out { bytes: Vec::new(), columns: 76 };
        for (header, name) in [
            ("From", "from"),
            ("Sender", "sender"),
            ("To", "toRecipients"),
            ("CC", "ccRecipients"),
            ("BCC", "bccRecipients"),
            ("Reply-To", "replyTo"),
        ] {
            let people = self.people(name);
            let same = header == "Sender" && people == self.people("from");
            if !people.is_empty() && !same {
                address_list(header, &people, &mut out);
            }
        }
        header_text("Subject", self.text("subject"), &mut out);
        out.line(&format!("Date: {}", times::rfc5322(self.sent)));
        out.line(&format!("Message-ID: {}", self.text("internetMessageId")));
        if self.text("importance").eq_ignore_ascii_case("high") {
            out.line("Importance: high");
        }
        out.line("MIME-Version: 1.0");
        let boundary = "_000_written_";
        if !self.attachments.is_empty() {
            out.line(&format!("Content-Type: multipart/mixed; boundary=\"{boundary}\""));
            out.line("");
            out.line(&format!("--{boundary}"));
        }
        let (kind, content) = self.body();
        let kind = if kind.eq_ignore_ascii_case("html") { "html" } else { "plain" };
        out.line(&format!("Content-Type: text/{kind}; charset=\"utf-8\""));
        out.line("Content-Transfer-Encoding: base64");
        out.line("");
        out.base64(content.as_bytes());
        for file in &self.attachments {
            out.line("");
            out.line(&format!("--{boundary}"));
            out.line(&format!("Content-Type: {}", file.mime));
            let how = if file.inline { "inline" } else { "attachment" };
            out.line(&format!("Content-Disposition: {how};\r\n filename*=utf-8''{}", percent(&file.name)));
            if let Some(id) = &file.content_id {
                out.line(&format!("Content-ID: <{id}>"));
            }
            out.line("Content-Transfer-Encoding: base64");
            out.line("");
            out.base64(&file.bytes);
        }
        if !self.attachments.is_empty() {
            out.line(&format!("--{boundary}--"));
        }
        out.bytes
    }

    /// An attachment as Graph shows it, without its id.
    pub(super) fn attachment_json(file: &Enclosure, at: &str) -> Map<String, Value> {
        let all = json!({
            "@odata.type": "#microsoft.graph.fileAttachment", "lastModifiedDateTime": at, "name": file.name,
            "contentType": file.mime, "size": file.bytes.len() + 250, "isInline": file.inline,
            "contentId": file.content_id, "contentLocation": null, "contentBytes": STANDARD.encode(&file.bytes),
        });
        all.as_object().cloned().unwrap_or_default()
    }
}

/// RFC 5987.
fn percent(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}
