//! Conversations as one page: a chat, a thread of a channel with its replies, a thread of a group's mailbox. Reactions, edits
//! and deletions are shown; pictures stand in the page.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::html::{self, Pictures};
use super::out::Out;
use super::stored::{Stored, list, word};
use crate::error::{Error, Result};
use crate::format::record::{ItemKind, Record};
use crate::m365::facts::{at, text};

/// The longest picture that is put into the page, and of one message all together, in bytes.
const PICTURE_BYTES: u64 = 4 << 20;
const PICTURES_BYTES: u64 = 16 << 20;

/// Writes the page beside a chat, a thread or the first message of one.
pub(super) async fn write(stored: &Stored, record: &Record, out: &mut Out) -> Result<()> {
    out.push(html::head(if record.name.trim().is_empty() { "Conversation" } else { &record.name })).await;
    if record.kind == ItemKind::ChatMessage {
        message(stored, record, out, true).await?;
    } else {
        match stored.json(record).await {
            Ok(json) => out.push(about(&json)).await,
            Err(e) if e.is_loss() => out.push(missing(&e)).await,
            Err(e) => return Err(e),
        }
        let mut below = stored.below(&record.id);
        while let Some(part) = below.next().await? {
            if matches!(part.kind, ItemKind::ChatMessage | ItemKind::Post) {
                message(stored, &part, out, false).await?;
            }
        }
    }
    out.push(html::TAIL).await;
    Ok(())
}

/// What stands in place of a message that is lost: the page goes on.
fn missing(e: &Error) -> String {
    format!("<p class=\"note\">[{}]</p>\n", html::escape(&e.to_string()))
}

/// Who takes part, since when.
fn about(json: &Value) -> String {
    let member = |member: &Value| {
        let (name, mail) = (word(member, &["displayName"]), word(member, &["email"]));
        if mail.is_empty() { name.to_owned() } else { format!("{name} <{mail}>") }
    };
    let mut people: Vec<String> = list(json, "members").iter().map(member).collect();
    people.extend(list(json, "uniqueSenders").iter().filter_map(Value::as_str).map(str::to_owned));
    let since = word(json, &["createdDateTime"]);
    let mut out = String::new();
    for line in [people.join(", "), moment(since)] {
        if !line.trim().is_empty() {
            out.push_str(&format!("<p class=\"note\">{}</p>\n", html::escape(&line)));
        }
    }
    out
}

/// A time as people read it, in UTC.
fn moment(time: &str) -> String {
    let parsed = time.parse::<jiff::Timestamp>().ok();
    parsed.map_or_else(|| time.to_owned(), |at| at.strftime("%Y-%m-%d %H:%M UTC").to_string())
}

/// Writes a message with its pictures and, if asked for, the replies below it.
async fn message(stored: &Stored, record: &Record, out: &mut Out, with_replies: bool) -> Result<()> {
    let json = match stored.json(record).await {
        Ok(json) => json,
        Err(e) if e.is_loss() => {
            out.push(format!("<article>\n{}</article>\n", missing(&e))).await;
            return Ok(());
        }
        Err(e) => return Err(e),
    };
    let (mut pictures, mut files, mut room) = (HashMap::new(), Vec::new(), PICTURES_BYTES);
    let mut below = record.has_parts().then(|| stored.below(&record.id));
    let mut reply = None;
    while let Some(below) = &mut below
        && let Some(part) = below.next().await?
    {
        match part.kind {
            // What has a time comes after what has none: no picture is behind the first reply.
            ItemKind::ChatMessage => {
                reply = Some(part);
                break;
            }
            ItemKind::HostedContent | ItemKind::Attachment => {
                let key = picture_key(stored, &part).await?;
                let bytes = stored.contents(&part, PICTURE_BYTES.min(room)).await?;
                match bytes.as_deref().and_then(html::data_address) {
                    Some(data) => {
                        room = room.saturating_sub(data.len() as u64);
                        // A picture that the text does not show is a file like others.
                        if part.kind == ItemKind::Attachment && !(shows(&json, &key)) {
                            files.push(part.name);
                        }
                        pictures.insert(key, data);
                    }
                    None => files.push(part.name),
                }
            }
            _ => {}
        }
    }
    out.push(format!("<article>\n{}", shown(&json, &Arc::new(pictures), &files))).await;
    while let (true, Some(below), Some(part)) = (with_replies, &mut below, reply.take()) {
        if part.kind == ItemKind::ChatMessage {
            // Replies have none of their own.
            Box::pin(message(stored, &part, out, false)).await?;
        }
        reply = below.next().await?;
    }
    out.push("</article>\n").await;
    Ok(())
}

fn shows(json: &Value, content_id: &str) -> bool {
    !content_id.is_empty() && word(json, &["body", "content"]).contains(&format!("cid:{content_id}"))
}

/// What a picture is named by in the text of its message.
async fn picture_key(stored: &Stored, part: &Record) -> Result<String> {
    if part.kind == ItemKind::HostedContent {
        let id = part.id.strip_prefix(&part.parent).and_then(|id| id.strip_prefix('/'));
        return Ok(id.unwrap_or(&part.id).to_owned());
    }
    match stored.json(part).await {
        Ok(json) => Ok(word(&json, &["contentId"]).to_owned()),
        Err(e) if e.is_loss() => Ok(String::new()),
        Err(e) => Err(e),
    }
}

/// A message as HTML.
pub(super) fn shown(json: &Value, pictures: &Pictures, files: &[String]) -> String {
    let time = ["createdDateTime", "receivedDateTime"].iter().find_map(|key| text(json, &[key])).unwrap_or_default();
    let mut out = format!(
        "<p><span class=\"who\">{}</span> <time datetime=\"{}\">{}</time>",
        html::escape(author(json)),
        html::escape(time),
        html::escape(&moment(time))
    );
    let deleted = word(json, &["deletedDateTime"]);
    for (mark, at) in [("edited", word(json, &["lastEditedDateTime"])), ("deleted", deleted)] {
        if !at.is_empty() {
            out.push_str(&format!(" <span class=\"note\">{mark} {}</span>", html::escape(&moment(at))));
        }
    }
    if let Some(importance) = text(json, &["importance"]).filter(|word| matches!(*word, "high" | "urgent")) {
        out.push_str(&format!(" <span class=\"note\">{importance}</span>"));
    }
    out.push_str("</p>\n");
    let subject = word(json, &["subject"]);
    if !subject.is_empty() {
        out.push_str(&format!("<p><b>{}</b></p>\n", html::escape(subject)));
    }
    let content = word(json, &["body", "content"]);
    if word(json, &["body", "contentType"]).eq_ignore_ascii_case("html") {
        out.push_str(&format!("<div>{}</div>\n", html::clean(content, pictures)));
    } else if !content.is_empty() {
        out.push_str(&format!("<pre>{}</pre>\n", html::escape(content)));
    }
    if let Some(event) = text(json, &["eventDetail", "@odata.type"]) {
        let event = event.trim_start_matches("#microsoft.graph.").trim_end_matches("EventMessageDetail");
        out.push_str(&format!("<p class=\"note\">[{}]</p>\n", html::escape(event)));
    }
    for attachment in list(json, "attachments") {
        let (name, address) = (word(attachment, &["name"]), word(attachment, &["contentUrl"]));
        if !name.is_empty() || !address.is_empty() {
            out.push_str(&format!("<p>📎 {}</p>\n", html::link(address, name)));
        }
    }
    for file in files {
        out.push_str(&format!("<p>📎 {}</p>\n", html::escape(file)));
    }
    reactions(json, &mut out);
    out
}

fn author(json: &Value) -> &str {
    let sender = ["user", "application", "device"].iter().find_map(|who| at(json, &["from", who]));
    let mail = ["from", "sender"].iter().find_map(|who| at(json, &[who, "emailAddress"]));
    let of_sender = sender.and_then(|who| text(who, &["displayName"]).or_else(|| text(who, &["id"])));
    let of_mail =
        mail.and_then(|who| text(who, &["name"]).filter(|n| !n.is_empty()).or_else(|| text(who, &["address"])));
    of_sender.or(of_mail).unwrap_or("—")
}

fn reactions(json: &Value, out: &mut String) {
    let one = |reaction: &Value| {
        let kind = word(reaction, &["reactionType"]);
        let shown = match kind {
            "like" => "👍",
            "heart" => "❤️",
            "laugh" => "😆",
            "surprised" => "😮",
            "sad" => "🙁",
            "angry" => "😡",
            "custom" => word(reaction, &["displayName"]),
            other => other,
        };
        let who = word(reaction, &["user", "user", "displayName"]);
        html::escape(&if who.is_empty() { shown.to_owned() } else { format!("{shown} {who}") })
    };
    let all: Vec<String> = list(json, "reactions").iter().map(one).filter(|text| !text.is_empty()).collect();
    if !all.is_empty() {
        out.push_str(&format!("<p class=\"note\">{}</p>\n", all.join(" · ")));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reactions_edits_deletions_and_files_are_shown() {
        let json = json!({
            "from": {"user": {"displayName": "Robin <Kline>"}},
            "createdDateTime": "2026-11-01T09:14:00Z",
            "lastEditedDateTime": "2026-11-01T09:20:00Z",
            "deletedDateTime": "2026-11-02T10:00:00Z",
            "importance": "urgent",
            "subject": "A & B",
            "body": {"contentType": "html", "content": "<p>Hello<script>x</script></p>"},
            "attachments": [{"name": "Plan.docx", "contentUrl": "https://contoso.sharepoint.com/Plan.docx"}, {"name": "card"}],
            "reactions": [{"reactionType": "like", "user": {"user": {"displayName": "Ada"}}}, {"reactionType": "💘"}],
        });
        let html = shown(&json, &Pictures::default(), &["photo.png".to_owned()]);
        for part in [
            "Robin &lt;Kline&gt;",
            "2026-11-01 09:14 UTC",
            "edited 2026-11-01 09:20 UTC",
            "deleted 2026-11-02 10:00 UTC",
            "urgent",
            "A &amp; B",
            "<p>Hello</p>",
            "href=\"https://contoso.sharepoint.com/Plan.docx\"",
            "📎 card",
            "📎 photo.png",
            "👍 Ada · 💘",
        ] {
            assert!(html.contains(part), "no {part} in {html}");
        }
        let post = json!({"from": {"emailAddress": {"name": "", "address": "a@x.org"}}, "receivedDateTime": "soon", "body": {"content": "a\n<b"}});
        let html = shown(&post, &Pictures::default(), &[]);
        assert!(html.contains("a@x.org") && html.contains("<pre>a\n&lt;b</pre>") && html.contains("soon"), "{html}");
    }
}
