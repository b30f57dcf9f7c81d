//! What was written in a channel goes back as posts, by whom and at which time it was written, where the restore makes the channel.
//!
//! Teams lets an app import posts into a channel that is in migration mode: its members see a banner and write nothing until the
//! app says that it is done, which it does at the end here, and where anything stops it. Channels that are in use and chats are
//! left alone for that reason. No two posts of a channel have one millisecond: one that is there already is refused, so that none
//! comes twice, however often it is sent. The times are made different in an order that follows from the snapshot alone.
//! Source: Microsoft Graph, "Import messages into Microsoft Teams chats and channels", "Create channel", "channel:
//! completeMigration", "channel: startMigration", "Send chatMessage in a channel or a chat".

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::door::{Cost, Source};
use super::rows;
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{ItemKind, Record};
use crate::graph::links::segment;
use crate::graph::{Caller, Client, GraphRequest, Scope, Seen, TeamsCall};
use crate::m365::facts::{at, text, time_us};
use crate::m365::messages::{ALL_MEMBERS, with_pictures};
use crate::m365::walk::id_of;

/// What an app needs for it.
pub(super) const PERMISSION: &str = "Teamwork.Migrate.All";
/// How a body that makes a channel says so, and the value.
pub(super) const MODE: (&str, &str) = ("@microsoft.graph.channelCreationMode", "migration");
/// How a channel tells it.
pub(super) const TOLD: &str = "migrationMode";
const IN_PROGRESS: &str = "inProgress";
/// So many bytes of pictures go with a post: as Base64 they are a third more, and a request has 4 MB.
const PICTURES_BYTES: u64 = 2_900_000;
/// Messages that a page holds at most.
const PAGE: u64 = 50;

/// What is said where the channel could not be opened.
const SHUT: &str = "The channel is still closed to its members: going on with the run opens it";
const NOT_OF_USERS: &str = "posts that do not come back, as none of the organisation's people wrote them";
const TAKEN_AWAY: &str = "posts that do not come back, as somebody took them away";
const UNREADABLE: &str = "posts that do not come back, as they are damaged in the repository";
const REFUSED: &str = "posts that Teams refuses";
const HEADLESS: &str = "threads that begin with a reply, as what it answers does not come back";
const REACTIONS: &str = "posts that come back without their reactions";
const EDITED: &str = "posts that come back as they were last, not marked as edited";
const MENTIONS: &str = "posts that name people in words alone";
const CARDS: &str = "posts that come back without cards and the like";
const PICTURES: &str = "posts that come back without some of their pictures";

/// Says whether whoever calls may import posts. People never may.
///
/// # Errors
/// The sign-in's.
pub(super) async fn may_import(client: &Client) -> Result<bool> {
    if client.caller() != Caller::App {
        return Ok(false);
    }
    Ok(client.sign_in().await?.is_some_and(|granted| granted.iter().any(|have| have == PERMISSION)))
}

/// Says whether there is anything to import.
///
/// # Errors
/// The source's.
pub(super) async fn has_any(source: &dyn Source) -> Result<bool> {
    Ok(!below(source, &top()).await?.is_empty())
}

/// What importing costs: a request for each post, with its text and pictures, and a few more.
///
/// # Errors
/// The source's.
pub(super) async fn cost(source: &dyn Source) -> Result<Cost> {
    let (mut posts, mut bytes) = (0u64, 0u64);
    for root in below(source, &top()).await? {
        let replies = below(source, &root).await?;
        for post in std::iter::once(&root).chain(&replies).filter(|post| why_not(post).is_none()) {
            let size_bytes = size_of(&pictures(source, post).await?);
            posts += 1;
            bytes = bytes.saturating_add(post.size_bytes).saturating_add(size_bytes.div_ceil(3).saturating_mul(4));
        }
    }
    // Saying that it is done, and looking at what is there then.
    let requests = posts + 2 + posts.div_ceil(PAGE);
    Ok(Cost { requests, units: requests, bytes })
}

/// When a channel is to have begun: before all that was written in it.
///
/// # Errors
/// The source's.
pub(super) async fn begin(channel: &Value, source: &dyn Source) -> Result<String> {
    let first = below(source, &top()).await?.first().and_then(|first| first.created_us).map(ms_of);
    let own = time_us(channel, &["createdDateTime"]).map(ms_of);
    let before = [own, first.map(|first| first - 1)].into_iter().flatten().min().unwrap_or_default();
    Ok(time(before))
}

/// Another collection that comes back with a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brought {
    /// Its key.
    pub from: String,
    /// Why it does not, in words.
    pub lacks: Option<String>,
}

/// A channel into which posts are imported.
pub(super) struct Import<'a> {
    pub(super) client: &'a Client,
    pub(super) team: &'a str,
    pub(super) channel: &'a str,
}

impl Import<'_> {
    fn url(&self, rest: &str) -> String {
        format!("teams/{}/channels/{}{rest}", segment(self.team), segment(self.channel))
    }

    fn scope(&self) -> Scope {
        Scope::teams(TeamsCall::Message, self.channel)
    }

    /// Imports what is not there yet and opens the channel to its members, which it does also where something stops it. `found`:
    /// the channel as it is, where an earlier try made it. Gives what does not come back as it was, in words.
    ///
    /// # Errors
    /// Graph's, the source's. The same again goes on with it.
    pub(super) async fn run(&self, source: &dyn Source, found: Option<&Value>) -> Result<Vec<String>> {
        let posted = self.posts(source, found).await;
        match (posted, self.open().await) {
            (posted, Ok(())) => posted,
            // That a run was stopped it knows itself.
            (Err(e), Err(_)) if e.kind() != ErrorKind::Interrupted => Err(e.context(SHUT)),
            (_, Err(e)) => Err(e.context(SHUT)),
        }
    }

    async fn posts(&self, source: &dyn Source, found: Option<&Value>) -> Result<Vec<String>> {
        let there = if found.is_some() { self.there_if_told().await? } else { HashMap::new() };
        // One that was opened to its members already.
        let mut shut = found.filter(|channel| text(channel, &[TOLD]) != Some(IN_PROGRESS));
        let (mut used, mut left, mut again) = (HashSet::new(), Left::default(), None);
        for root in below(source, &top()).await? {
            let mut thread: Option<String> = None;
            let replies = below(source, &root).await?;
            for record in std::iter::once(&root).chain(&replies) {
                source.go_on()?;
                let Some(post) = Post::read(record, source, &mut used, &mut left).await? else { continue };
                let id = match there.get(&post.ms) {
                    Some(id) => Some(id.clone()),
                    None => {
                        if let Some(channel) = shut.take() {
                            self.start(channel).await?;
                        }
                        self.send(thread.as_deref(), &post, source, (&mut left, &mut again)).await?
                    }
                };
                if thread.is_none() && id.is_some() {
                    left.count(HEADLESS, !record.parent.is_empty());
                    thread = id;
                }
            }
        }
        Ok(left.notes())
    }

    /// Sends a post, as a reply to what begins its thread; gives its id. `None`: Teams refuses it. `again`: what is there, once that was
    /// asked for.
    async fn send(
        &self,
        thread: Option<&str>,
        post: &Post<'_>,
        source: &dyn Source,
        (left, again): (&mut Left, &mut Option<HashMap<i64, String>>),
    ) -> Result<Option<String>> {
        let rest = match thread {
            Some(id) => format!("/messages/{}/replies", segment(id)),
            None => "/messages".to_owned(),
        };
        let pictures = pictures(source, post.record).await?;
        let _held = source.room(size_of(&pictures).min(PICTURES_BYTES).saturating_mul(3)).await?;
        let body = post.body(&pictures, source, left).await?;
        // Sent twice it comes once.
        let request = GraphRequest::post(self.scope(), self.url(&rest), &body).repeatable();
        match self.client.send(request).await {
            Ok(answer) => rows::new_id(&answer).map(Some),
            // It is there, and nobody heard of that: an id is its time, should Graph not tell.
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {
                if thread.is_none() && again.is_none() {
                    *again = Some(self.there_if_told().await?);
                }
                let told = again.as_ref().and_then(|again| again.get(&post.ms)).cloned();
                Ok(Some(told.unwrap_or_else(|| post.ms.to_string())))
            }
            Err(e) if e.kind() == ErrorKind::InvalidInput || rows::is_gone(&e) => {
                left.refused(&e);
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    /// The ids of all that people wrote there, by time in milliseconds. No more of it is held.
    ///
    /// # Errors
    /// Graph's.
    pub(super) async fn there(&self) -> Result<HashMap<i64, String>> {
        let url = self.url(&format!("/messages?$top={PAGE}&$expand=replies"));
        let list = GraphRequest::get(self.scope(), url).prefer(ALL_MEMBERS);
        let mut there = HashMap::new();
        for link in self.read(&list, &mut there).await? {
            self.read(&list.with_url(link), &mut there).await?;
        }
        Ok(there)
    }

    /// The same; nothing where the app may not read: Teams refuses what is there.
    async fn there_if_told(&self) -> Result<HashMap<i64, String>> {
        match self.there().await {
            Err(e) if e.kind() == ErrorKind::Permission => Ok(HashMap::new()),
            other => other,
        }
    }

    /// Reads a list page by page; gives where threads go on of which a page holds not all replies.
    async fn read(&self, list: &GraphRequest, there: &mut HashMap<i64, String>) -> Result<Vec<String>> {
        let told = |row: &Value| {
            let is_post = text(row, &["messageType"]).is_none_or(|kind| kind == "message");
            let us = time_us(row, &["createdDateTime"]).filter(|_| is_post)?;
            Some((ms_of(us), id_of(row)?.to_owned()))
        };
        let (mut next, mut seen, mut more) = (Some(list.clone()), Seen::default(), Vec::new());
        while let Some(request) = next.take() {
            let page = self.client.get_page(request).await?;
            for row in page.rows.values() {
                let row = row?;
                more.extend(text(&row, &["replies@odata.nextLink"]).map(str::to_owned));
                let replies = at(&row, &["replies"]).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
                there.extend(replies.iter().chain([&row]).filter_map(told));
            }
            if let Some(link) = page.next_link {
                seen.check(&link)?;
                next = Some(list.with_url(link));
            }
        }
        Ok(more)
    }

    /// Takes a channel that was opened to its members for posts again.
    async fn start(&self, channel: &Value) -> Result<()> {
        let mut body = Map::new();
        // It can only be moved back, and is now if nothing is said.
        if let Some(us) = time_us(channel, &["createdDateTime"]) {
            body.insert("conversationCreationDateTime".into(), time(ms_of(us) - 1).into());
        }
        let request = GraphRequest::post(self.scope(), self.url("/startMigration"), &body.into());
        self.client.send(request).await.map(drop)
    }

    /// Opens the channel to its members.
    ///
    /// # Errors
    /// Graph's.
    pub(super) async fn open(&self) -> Result<()> {
        let request = GraphRequest::post_empty(self.scope(), self.url("/completeMigration")).repeatable();
        match self.client.send(request).await {
            Ok(_) => Ok(()),
            // It may have been said before.
            Err(e) => match self.is_shut().await {
                Ok(false) => Ok(()),
                _ => Err(e),
            },
        }
    }

    async fn is_shut(&self) -> Result<bool> {
        let url = format!("teams/{}/channels", segment(self.team));
        let list = GraphRequest::get(Scope::teams(TeamsCall::Channels, self.team), url).prefer(ALL_MEMBERS);
        let all = self.client.get_all(list).await?;
        let own = all.iter().find(|row| id_of(row) == Some(self.channel));
        Ok(own.is_some_and(|row| text(row, &[TOLD]) == Some(IN_PROGRESS)))
    }
}

/// Something that a person wrote.
struct Post<'a> {
    record: &'a Record,
    json: Value,
    from: Value,
    /// Its time in the channel, which no other one has: milliseconds since 1970 UTC.
    ms: i64,
}

impl<'a> Post<'a> {
    /// Reads one; `None`: it does not come back, which is counted.
    async fn read(
        record: &'a Record,
        source: &dyn Source,
        used: &mut HashSet<i64>,
        left: &mut Left,
    ) -> Result<Option<Self>> {
        if let Some(why) = why_not(record) {
            left.count(why, true);
            return Ok(None);
        }
        let json = match source.properties(record).await {
            Err(e) if matches!(e.kind(), ErrorKind::Corrupt | ErrorKind::NotFound) => {
                left.count(UNREADABLE, true);
                return Ok(None);
            }
            read => read?,
        };
        let (Some(from), Some(us)) = (author(&json), time_us(&json, &["createdDateTime"])) else {
            left.count(NOT_OF_USERS, true);
            return Ok(None);
        };
        let mut ms = ms_of(us);
        while !used.insert(ms) {
            ms += 1;
        }
        let has = |key: &str| at(&json, &[key]).and_then(Value::as_array).is_some_and(|all| !all.is_empty());
        left.count(REACTIONS, has("reactions"));
        left.count(EDITED, at(&json, &["lastEditedDateTime"]).is_some());
        left.count(MENTIONS, has("mentions"));
        left.count(CARDS, attachments(&json).iter().any(|attachment| !is_file(attachment)));
        Ok(Some(Self { record, json, from, ms }))
    }

    /// What is sent of it.
    async fn body(&self, pictures: &[Record], source: &dyn Source, left: &mut Left) -> Result<Value> {
        let mut body = Map::new();
        body.insert("createdDateTime".into(), time(self.ms).into());
        body.insert("from".into(), self.from.clone());
        body.extend(rows::settable(&self.json, &["subject", "importance"]));
        let (hosted, addresses) = hosted(pictures, source, left).await?;
        let content = text(&self.json, &["body", "content"]).unwrap_or_default();
        let is_html = text(&self.json, &["body", "contentType"]) != Some("text");
        let content = match is_html {
            true => without_tags(&with_pictures(content, |id| addresses.get(id).cloned()), &["attachment", "at"]),
            false => escaped(content).replace('\n', "<br>"),
        };
        let content = content + &files(&self.json);
        body.insert("body".into(), json!({"contentType": "html", "content": content}));
        if !hosted.is_empty() {
            body.insert("hostedContents".into(), hosted.into());
        }
        Ok(body.into())
    }
}

/// The pictures in a message.
async fn pictures(source: &dyn Source, message: &Record) -> Result<Vec<Record>> {
    let mut parts = source.below(message).await?;
    parts.retain(|part| part.kind == ItemKind::HostedContent);
    Ok(parts)
}

/// How large they are together.
fn size_of(pictures: &[Record]) -> u64 {
    pictures.iter().map(rows::content_bytes).fold(0, u64::saturating_add)
}

/// Pictures as they are sent with a message, and the address of each in its text, by the picture's id.
async fn hosted(
    pictures: &[Record],
    source: &dyn Source,
    left: &mut Left,
) -> Result<(Vec<Value>, HashMap<String, String>)> {
    let (mut hosted, mut addresses, mut bytes, mut lacks) = (Vec::new(), HashMap::new(), 0u64, false);
    for part in pictures {
        let size_bytes = rows::content_bytes(part);
        let id = part.id.strip_prefix(&part.parent).and_then(|rest| rest.strip_prefix('/'));
        let Some(id) = id.filter(|_| bytes.saturating_add(size_bytes) <= PICTURES_BYTES) else {
            lacks = true;
            continue;
        };
        let read = rows::bytes_of(source, part, PICTURES_BYTES).await;
        let Some(picture) = rows::unless_damaged(read)?.filter(|picture| !picture.is_empty()) else {
            lacks = true;
            continue;
        };
        bytes += size_bytes;
        let number = (hosted.len() + 1).to_string();
        addresses.insert(id.to_owned(), format!("../hostedContents/{number}/$value"));
        hosted.push(json!({
            "@microsoft.graph.temporaryId": number,
            "contentBytes": rows::base64(&picture),
            "contentType": picture_type(&picture),
        }));
    }
    left.count(PICTURES, lacks);
    Ok((hosted, addresses))
}

/// What does not come back, or not as it was: how often.
#[derive(Default)]
struct Left {
    counts: BTreeMap<&'static str, u64>,
    /// Why Teams refuses the first one that it refuses.
    why: String,
}

impl Left {
    fn count(&mut self, what: &'static str, is_so: bool) {
        if is_so {
            *self.counts.entry(what).or_default() += 1;
        }
    }

    fn refused(&mut self, e: &Error) {
        self.count(REFUSED, true);
        if self.why.is_empty() {
            self.why = format!(" ({e})");
        }
    }

    fn notes(self) -> Vec<String> {
        let why = |what: &str| if what == REFUSED { self.why.as_str() } else { "" };
        self.counts.iter().map(|(&what, count)| format!("{what}: {count}{}", why(what))).collect()
    }
}

/// What stands above the posts that begin threads.
fn top() -> Record {
    Record::new(ItemKind::ChatMessage, "", "", "")
}

/// The posts right below one, the oldest first.
async fn below(source: &dyn Source, above: &Record) -> Result<Vec<Record>> {
    let mut posts = source.below(above).await?;
    posts.retain(|part| part.kind == ItemKind::ChatMessage);
    posts.sort_by(|a, b| (a.created_us, &a.id).cmp(&(b.created_us, &b.id)));
    Ok(posts)
}

/// Why a message does not come back, as far as its record tells.
fn why_not(record: &Record) -> Option<&'static str> {
    match (record.fact("type"), record.fact("deleted")) {
        // The service wrote it.
        (Some(_), _) => Some(NOT_OF_USERS),
        (_, Some(_)) => Some(TAKEN_AWAY),
        _ => None,
    }
}

/// Who wrote a message; `None`: no user of the organisation.
fn author(json: &Value) -> Option<Value> {
    let user = at(json, &["from", "user"])?;
    let kind = text(user, &["userIdentityType"]).unwrap_or("aadUser");
    let id = id_of(user).filter(|_| kind == "aadUser")?;
    let name = text(user, &["displayName"]).unwrap_or_default();
    Some(json!({"user": {"id": id, "displayName": name, "userIdentityType": kind}}))
}

fn attachments(json: &Value) -> &[Value] {
    at(json, &["attachments"]).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// Says whether an attachment is a file, which lies elsewhere.
fn is_file(attachment: &Value) -> bool {
    text(attachment, &["contentType"]) == Some("reference")
}

/// The files of a message, as links in its text.
fn files(json: &Value) -> String {
    let link = |file: &Value| {
        let address = text(file, &["contentUrl"]).filter(|address| address.starts_with("https://"))?;
        let name = text(file, &["name"]).unwrap_or(address);
        Some(format!("<div><a href=\"{}\">{}</a></div>", escaped(address), escaped(name)))
    };
    attachments(json).iter().filter(|attachment| is_file(attachment)).filter_map(link).collect()
}

/// Takes the tags of these names out of a text, and leaves what stands between them.
fn without_tags(html: &str, names: &[&str]) -> String {
    let (mut out, mut rest) = (String::with_capacity(html.len()), html);
    while let Some((before, after)) = rest.split_once('<') {
        out.push_str(before);
        let name = after.strip_prefix('/').unwrap_or(after);
        let name = name.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
        let is_one = names.iter().any(|one| one.eq_ignore_ascii_case(name));
        match after.split_once('>').filter(|_| is_one) {
            Some((_, tail)) => rest = tail,
            None => {
                out.push('<');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn picture_type(bytes: &[u8]) -> &'static str {
    match bytes {
        [0xff, 0xd8, ..] => "image/jpeg",
        [b'G', b'I', b'F', ..] => "image/gif",
        _ => "image/png",
    }
}

fn ms_of(us: i64) -> i64 {
    us.div_euclid(1_000)
}

/// A time as Graph has it.
fn time(ms: i64) -> String {
    let second = Timestamp::from_second(ms.div_euclid(1_000)).unwrap_or_default();
    format!("{}.{:03}Z", second.strftime("%Y-%m-%dT%H:%M:%S"), ms.rem_euclid(1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_text_the_words_and_pictures_stay() {
        let html = "<p>Hi <at id=\"0\">Ada</at> &lt;3</p><attachment id=\"1\"></attachment><ATTACHMENT a < b <at";
        assert_eq!(without_tags(html, &["attachment", "at"]), "<p>Hi Ada &lt;3</p><ATTACHMENT a < b <at");
        let json = json!({"attachments": [
            {"contentType": "reference", "contentUrl": "https://x/a\"b", "name": "<a>"},
            {"contentType": "reference", "contentUrl": "javascript:x", "name": "b"},
            {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": "https://x"},
        ]});
        assert_eq!(files(&json), "<div><a href=\"https://x/a&quot;b\">&lt;a&gt;</a></div>");
    }

    #[test]
    fn none_but_people_of_the_organisation_are_authors() {
        let of = |user: Value| author(&json!({"from": {"user": user}})).map(|from| from["user"]["id"].clone());
        assert_eq!(of(json!({"id": "1", "displayName": null})), Some("1".into()));
        assert_eq!(of(json!({"id": "1", "userIdentityType": "emailUser"})), None);
        assert_eq!(of(json!({"displayName": "Ada"})), None);
        assert_eq!(author(&json!({"from": {"user": null, "application": {"id": "2"}}})), None);
    }

    #[test]
    fn times_are_told_to_the_millisecond() {
        let us = 1_549_310_295_511_999;
        assert_eq!(time(ms_of(us)), "2019-02-04T19:58:15.511Z");
        assert_eq!(time(-1), "1969-12-31T23:59:59.999Z");
    }
}
