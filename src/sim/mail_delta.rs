//! Delta of mail: the folder tree flat, and the messages of one folder.

use serde_json::{Map, Value};

use super::app::App;
use super::mail::{Admits, expanded, filter, folder, mailbox};
use super::mail_json;
use super::mailbox::Mailbox;
use super::properties;
use super::query::{Fields, Request};
use super::reply::{Answer, Reply};
use super::token::{self, Logged, Stand, Token};

struct FolderLog<'a>(&'a Mailbox);

impl Logged for FolderLog<'_> {
    type Row = u32;

    fn log_len(&self) -> u64 {
        self.0.folder_log.len() as u64
    }

    fn walk(&self, next: u64, n: usize) -> (Vec<u32>, Option<u64>) {
        let mut rows = (next as u32..self.0.folders.len() as u32).filter(|f| self.0.in_tree(*f));
        (rows.by_ref().take(n).collect(), rows.next().map(u64::from))
    }

    fn entry(&self, at: u64) -> Option<u32> {
        let number = *self.0.folder_log.get(at as usize)?;
        let folder = self.0.folders.get(number as usize)?;
        (number != 0 && !folder.recoverable).then_some(number)
    }
}

struct MessageLog<'a> {
    mailbox: &'a Mailbox,
    folder: u32,
    immutable: bool,
    admits: Admits,
    /// The newest first, in the first walk.
    newest_first: bool,
}

impl MessageLog<'_> {
    fn row(&self, key: u32) -> (u32, u16) {
        (key, if self.immutable { 0 } else { self.mailbox.messages[key as usize].moves })
    }

    /// The number of a message in the first walk: in the order of creation, or from the newest on.
    fn number(&self, key: u32) -> u64 {
        let age = u32::MAX - self.mailbox.messages[key as usize].received;
        u64::from(key) | if self.newest_first { u64::from(age) << 32 } else { 0 }
    }
}

impl Logged for MessageLog<'_> {
    type Row = (u32, u16);

    fn log_len(&self) -> u64 {
        self.mailbox.folders[self.folder as usize].log.len() as u64
    }

    fn walk(&self, next: u64, n: usize) -> (Vec<(u32, u16)>, Option<u64>) {
        let from = if self.newest_first { 0 } else { next as u32 };
        let keys = self.mailbox.folders[self.folder as usize].keys.range(from..).copied();
        let admitted = keys.filter(|key| (self.admits)(self.mailbox, *key)).map(|key| self.number(key));
        let mut numbers: Vec<u64> = if self.newest_first {
            admitted.filter(|number| *number >= next).collect()
        } else {
            admitted.take(n + 1).collect()
        };
        if numbers.len() > n {
            numbers.select_nth_unstable(n);
            numbers.truncate(n + 1);
        }
        numbers.sort_unstable();
        let then = numbers.get(n).copied();
        (numbers.into_iter().take(n).map(|number| self.row(number as u32)).collect(), then)
    }

    fn entry(&self, at: u64) -> Option<(u32, u16)> {
        let entry = self.mailbox.folders[self.folder as usize].log.get(at as usize)?;
        Some((entry.key, if self.immutable { 0 } else { entry.moves }))
    }
}

/// Says whether the newest message is to come first: the only order there is.
fn newest_first(orderby: &str) -> Result<bool, Reply> {
    match orderby.trim() {
        "" => Ok(false),
        "receivedDateTime desc" => Ok(true),
        _ => Err(Reply::fail(400, "ErrorInvalidUrlQuery", "The only order is 'receivedDateTime desc'.")),
    }
}

fn sync_state_not_found() -> Reply {
    Reply::fail(410, "SyncStateNotFound", "The sync state generation is not found.")
}

/// Where the client stands, by its token; without one at the start. Gives the frozen options too.
pub(super) fn stand(
    app: &App,
    request: &Request,
    scope: u64,
    generation: u32,
    fresh: (u64, String),
) -> Result<(Stand, String), Reply> {
    let token = request.option("$skiptoken").or_else(|| request.option("$deltatoken"));
    let Some(token) = token.filter(|t| !t.is_empty()) else {
        return Ok((Stand::Walk { since: fresh.0, next: 0, paused: false }, fresh.1));
    };
    let Some(token) = Token::open(&app.auth.key, token).filter(|t| t.scope == scope) else {
        return Err(Reply::fail(400, "BadRequest", "Badly formed token."));
    };
    if token.generation != generation {
        return Err(sync_state_not_found());
    }
    Ok((token.stand, token.options))
}

/// Puts a page together: context, the link to go on with, rows.
pub(super) fn page_body(app: &App, path: &str, what: &str, token: &Token, rows: Vec<Value>) -> Reply {
    let sealed = token.seal(&app.auth.key);
    let (name, option) = match token.stand {
        Stand::Synced { .. } => ("@odata.deltaLink", "$deltatoken"),
        _ => ("@odata.nextLink", "$skiptoken"),
    };
    let mut body = Map::new();
    body.insert("@odata.context".into(), format!("{}/v1.0/$metadata#Collection({what})", app.base_url).into());
    body.insert(name.into(), format!("{}/v1.0/{path}?{option}={sealed}", app.base_url).into());
    body.insert("value".into(), rows.into());
    Reply::json(body.into())
}

/// `GET /users/{id}/mailFolders/delta`: the whole tree, flat.
pub(super) fn folders_delta(app: &App, request: &Request, index: usize) -> Answer {
    request.allow(&["$select", "$skiptoken", "$deltatoken"])?;
    let world = app.read();
    let mailbox = mailbox(&world, index)?;
    let log = FolderLog(mailbox);
    let scope = token::scope(mailbox.seed, "folders");
    let asked = request.option("$select").unwrap_or_default().to_string();
    let (stand, options) = stand(app, request, scope, world.mail_generation, (log.log_len(), asked))?;
    let fields = Fields::parse(Some(&options), "mailFolder", properties::MAIL_FOLDER)?;
    let n = request.page_size(app.options.pages.folders, 500);
    let (rows, stand) = token::page(&log, &stand, n, app.options.quirks);
    let rows = rows.into_iter().map(|number| {
        if mailbox.folders[number as usize].exists {
            return mail_json::folder(mailbox, number, &fields);
        }
        serde_json::json!({"id": mailbox.folder_id(number), "@removed": {"reason": "deleted"}})
    });
    let token = Token { scope, generation: world.mail_generation, stand, options };
    let path = format!("users/{}/mailFolders/delta", world.users[index].id);
    Ok(page_body(app, &path, "mailFolder", &token, rows.collect()))
}

/// `GET /users/{id}/mailFolders/{id}/messages/delta`
pub(super) fn messages_delta(app: &App, request: &Request, index: usize, id: &str) -> Answer {
    request.allow(&["$select", "$expand", "$filter", "$orderby", "$top", "$skiptoken", "$deltatoken"])?;
    request.top()?;
    let world = app.read();
    let mailbox = mailbox(&world, index)?;
    let named = folder(mailbox, id)?;
    let number = if mailbox.folders[named as usize].search { 1 } else { named };
    let scope = token::scope(mailbox.seed, &format!("messages {named}"));
    let option = |name| request.option(name).unwrap_or_default();
    let asked = [option("$select"), option("$expand"), option("$filter"), option("$orderby")].join("|");
    let since = mailbox.folders[number as usize].log.len() as u64;
    let (stand, options) = stand(app, request, scope, world.mail_generation, (since, asked))?;
    let parts: Vec<&str> = options.split('|').collect();
    let part = |i: usize| parts.get(i).copied().filter(|p| !p.is_empty());
    let immutable = request.immutable_ids();
    let fields = Fields::parse(part(0), "message", properties::MESSAGE)?;
    let view = expanded(fields, part(1).unwrap_or_default(), immutable)?;
    let newest_first = newest_first(part(3).unwrap_or_default())?;
    let log = MessageLog { mailbox, folder: number, immutable, admits: filter(part(2))?, newest_first };
    let n = request.page_size(app.options.pages.messages, app.options.largest_page);
    let (rows, stand) = token::page(&log, &stand, n, app.options.quirks);
    let rows = rows.into_iter().map(|(key, moves)| {
        let message = &mailbox.messages[key as usize];
        if message.folder == number && (immutable || message.moves == moves) {
            mail_json::message(&app.cast, mailbox, key, &view)
        } else {
            mail_json::removed(mailbox, key, moves, immutable)
        }
    });
    let token = Token { scope, generation: world.mail_generation, stand, options };
    let path = format!("users/{}/mailFolders/{}/messages/delta", world.users[index].id, mailbox.folder_id(named));
    Ok(page_body(app, &path, "message", &token, rows.collect()))
}
