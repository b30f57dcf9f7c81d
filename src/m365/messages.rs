//! Messages of Teams, as channels and chats share them: what is kept of a message, and the pictures in it.
//!
//! A message that its author took away stays, with `deletedDateTime` and without text: what it said is in earlier snapshots.
//! Message ids are numbers that other channels and chats have too. Pictures (`hostedContents`) are found by their addresses
//! in the text and in cards: the list of them (`/hostedContents`) says no more.
//! Source: Microsoft Graph, "chatMessage resource type", "List hostedContents".

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::excerpt::first_words;
use super::facts::{at, text, time_us};
use super::walk::{Told, id_of};
use crate::format::record::{ItemKind, Record};
use crate::graph::links::segment;

/// Without this, newer members of enumerations (system messages, shared channels) come as `unknownFutureValue`.
pub(super) const ALL_MEMBERS: &str = "include-unknown-enum-members";
/// What stands before and after the id of a picture in its address.
const HOSTED: (&str, &str) = ("/hostedContents/", "/$value");
/// Bytes of a picture's id at most: anybody may write what looks like one, and Graph's have some hundreds.
const LONGEST_HOSTED: usize = 1024;

/// A message, and the pictures in it. `id` is the message's in the collection, `parent` what it hangs below; `replies` hang
/// below it.
pub(super) fn message(row: Value, id: &str, parent: &str, replies: usize) -> (Told, Vec<Told>) {
    let created = time_us(&row, &["createdDateTime"]);
    let pictures: Vec<Told> = hosted(&row)
        .into_iter()
        .map(|picture| {
            let json = json!({"id": picture});
            let mut told = Told::new(ItemKind::HostedContent, format!("{id}/{picture}"), id, "picture", json);
            told.record.modified_us = created;
            // What is behind an address never changes.
            told.with_contents("1")
        })
        .collect();
    let deleted = text(&row, &["deletedDateTime"]).unwrap_or_default().to_owned();
    let from = author(&row).to_owned();
    let kind = text(&row, &["messageType"]).filter(|kind| *kind != "message").unwrap_or_default().to_owned();
    let name = name(&row);
    let told = Told::new(ItemKind::ChatMessage, id, parent, &name, row).dated().sorted_by(created);
    let told = told.fact("from", &from).fact("type", &kind).fact("deleted", &deleted);
    let parts = pictures.len() + replies;
    (told.with_parts(parts), pictures)
}

/// The path of a picture below the path of its message.
pub(super) fn picture_path(of_message: &str, record: &Record) -> Option<String> {
    let id = record.id.strip_prefix(&record.parent)?.strip_prefix('/')?;
    Some(format!("{of_message}/hostedContents/{}/$value", segment(id)))
}

fn author(row: &Value) -> &str {
    let who = ["user", "application", "device"].iter().find_map(|who| at(row, &["from", who]));
    who.and_then(|who| text(who, &["displayName"]).or_else(|| id_of(who))).unwrap_or_default()
}

fn name(row: &Value) -> String {
    let filled = |text: &&str| !text.trim().is_empty();
    if let Some(subject) = ["subject", "summary"].iter().find_map(|key| text(row, &[key]).filter(filled)) {
        return subject.to_owned();
    }
    if text(row, &["deletedDateTime"]).is_some() {
        return "(deleted)".to_owned();
    }
    let words = first_words(text(row, &["body", "content"]).unwrap_or_default());
    if !words.is_empty() {
        return words;
    }
    let event = text(row, &["eventDetail", "@odata.type"]).unwrap_or_default();
    let event = event.trim_start_matches("#microsoft.graph.").trim_end_matches("EventMessageDetail");
    let file = at(row, &["attachments"]).and_then(|all| text(all.get(0)?, &["name"])).unwrap_or_default();
    [event, file].into_iter().find(|name| !name.is_empty()).unwrap_or("(no text)").to_owned()
}

/// The ids of the pictures that a message shows.
fn hosted(row: &Value) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    let attachments = at(row, &["attachments"]).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let cards = attachments.iter().filter_map(|attachment| text(attachment, &["content"]));
    for told in cards.chain(text(row, &["body", "content"])) {
        // In a card, which is JSON inside a text, a slash may be escaped.
        let told = told.replace("\\/", "/");
        for rest in told.split(HOSTED.0).skip(1) {
            if let Some((id, _)) = rest.split_once(HOSTED.1)
                && (1..=LONGEST_HOSTED).contains(&id.len())
                && !id.contains(|c: char| c.is_whitespace() || matches!(c, '"' | '<' | '>'))
            {
                ids.insert(decoded(id));
            }
        }
    }
    ids
}

/// A text with other addresses of its pictures: what `new` gives for the id of one. Those of which it gives none stay.
pub(super) fn with_pictures(html: &str, new: impl Fn(&str) -> Option<String>) -> String {
    let (mut out, mut rest) = (String::with_capacity(html.len()), html);
    while let Some((before, after)) = rest.split_once(HOSTED.0) {
        let known = after.split_once(HOSTED.1).and_then(|(id, tail)| Some((new(&decoded(id))?, tail)));
        match known {
            Some((address, tail)) => {
                // The old one begins after a quotation mark, or whatever no address has in it.
                let begin = before.rfind(['"', '\'', '<', '>', ' ', '=']).map_or(0, |at| at + 1);
                out.push_str(before.get(..begin).unwrap_or_default());
                out.push_str(&address);
                rest = tail;
            }
            None => {
                out.push_str(before);
                out.push_str(HOSTED.0);
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

/// An id as it is, where its address has it percent-encoded.
fn decoded(id: &str) -> String {
    let mut pairs = url::form_urlencoded::parse(id.as_bytes());
    match id.contains('%') && !id.contains(['+', '&']) {
        true => {
            pairs.next().map(|(key, value)| if value.is_empty() { key.into_owned() } else { format!("{key}={value}") })
        }
        false => None,
    }
    .unwrap_or_else(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_found_in_texts_and_cards_and_nowhere_else() {
        let url = |id: &str| format!("https://graph.microsoft.com/v1.0/chats/1/messages/2/hostedContents/{id}/$value");
        let row = json!({
            "body": {"content": format!("<img src=\"{}\"><a href=\"{}\">x</a> /hostedContents/cut off", url("aWQ9/b=="), url("aWQ9%3D"))},
            "attachments": [
                {"content": json!({"url": url("card")}).to_string().replace('/', "\\/")},
                {"content": null},
                7,
            ],
        });
        let found: Vec<String> = hosted(&row).into_iter().collect();
        assert_eq!(found, ["aWQ9/b==", "aWQ9=", "card"]);
        for odd in [
            json!(null),
            json!({"attachments": 7, "body": "x"}),
            json!({"body": {"content": url("<x>")}}),
            json!({"body": {"content": url(&"x".repeat(1025))}}),
        ] {
            assert!(hosted(&odd).is_empty());
        }
    }

    #[test]
    fn pictures_get_other_addresses_and_nothing_else_changes() {
        let url = |id: &str| format!("https://graph.microsoft.com/v1.0/chats/1/messages/2/hostedContents/{id}/$value");
        let (b, c, d) = (url("b%3D%3D"), url("c"), url("d"));
        let html = format!("<img alt=\"x\" src=\"{b}\"> a <img src='{c}'> b <img src={d}>");
        let new = |id: &str| (id != "c").then(|| format!("new/{id}"));
        let wanted = format!("<img alt=\"x\" src=\"new/b==\"> a <img src='{c}'> b <img src=new/d>");
        assert_eq!(with_pictures(&html, new), wanted);
        for odd in ["", "/hostedContents/", "/hostedContents/x", "ä/hostedContents//$value", "/$value"] {
            assert_eq!(with_pictures(odd, |_| None), odd);
        }
        assert_eq!(with_pictures("ä/hostedContents/x/$value", |_| Some(String::new())), "");
    }

    #[test]
    fn a_message_is_named_by_what_it_says() {
        for (row, wanted) in [
            (json!({"subject": "Plan", "body": {"content": "x"}}), "Plan"),
            (json!({"subject": " ", "body": {"content": "<p>Hello <b>all</b></p>"}}), "Hello all"),
            (json!({"deletedDateTime": "2026-01-01T00:00:00Z", "body": {"content": ""}}), "(deleted)"),
            (json!({"eventDetail": {"@odata.type": "#microsoft.graph.callEndedEventMessageDetail"}}), "callEnded"),
            (
                json!({"attachments": [{"name": "Budget.docx"}], "body": {"content": "<attachment id=\"1\"></attachment>"}}),
                "Budget.docx",
            ),
            (json!({}), "(no text)"),
        ] {
            assert_eq!(name(&row), wanted);
        }
    }

    #[test]
    fn nobody_a_bot_and_a_person_may_be_the_author() {
        assert_eq!(author(&json!({"from": null})), "");
        assert_eq!(author(&json!({"from": {"user": null, "application": {"displayName": "Bot"}}})), "Bot");
        assert_eq!(author(&json!({"from": {"user": {"displayName": null, "id": "7"}}})), "7");
    }
}
