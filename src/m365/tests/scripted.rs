//! Answers that the service may give and the simulated tenant does not: in an order of our choosing, by hand.

mod again;
mod by_half;
mod left;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::extract::{Request, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::error::Result;
use crate::format::record::StreamRole;
use crate::graph::{AccessToken, Client, ClientOptions, Cloud, TokenSource};
use crate::m365::contacts::contacts;
use crate::m365::contents::gap_of;
use crate::m365::conversations::conversations;
use crate::m365::drive::Drive;
use crate::m365::mail::{Mail, MailOptions};
use crate::m365::tasks::tasks;
use crate::m365::testing::State;

struct Anybody;

#[async_trait]
impl TokenSource for Anybody {
    async fn fetch(&self, _: Option<&str>) -> Result<AccessToken> {
        Ok(AccessToken::new("token", Duration::from_secs(3600)))
    }
}

/// Answers by path; delta links are `…/delta?round`, so that every round of a list has the same path.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<HashMap<String, Value>>>);

impl Script {
    /// From now on a path is answered so; null: as if it had never been set.
    fn set(&self, path: &str, answer: Value) {
        self.0.lock().unwrap().insert(path.to_owned(), answer);
    }

    /// From now on a list tells these rows, in one page.
    fn tell(&self, path: &str, rows: &[Value]) {
        self.set(path, json!({"value": rows, "@odata.deltaLink": format!("{{base}}/v1.0/{path}?round")}));
    }
}

async fn answer(Shared((base, script)): Shared<(String, Script)>, request: Request) -> Response {
    let path = request.uri().path().trim_start_matches("/v1.0").trim_start_matches('/').to_owned();
    let told = script.0.lock().unwrap().get(&path).filter(|answer| !answer.is_null()).cloned();
    if told.is_none() && (path.ends_with("$value") || path.ends_with("/content") || path.starts_with("bytes/")) {
        return match path.strip_suffix("/content") {
            Some(item) => (StatusCode::FOUND, [("Location", format!("{base}/bytes/{item}"))]).into_response(),
            None => "contents".into_response(),
        };
    }
    match told {
        Some(answer) if answer.get("status").is_some() => {
            let status = answer["status"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap();
            let refused = json!({"error": {"code": "accessDenied", "message": "no"}});
            let location = answer["location"].as_str().map(|link| [("Location", link.replace("{base}", &base))]);
            (StatusCode::from_u16(status).unwrap(), location, axum::Json(refused)).into_response()
        }
        Some(answer) => {
            axum::Json::<Value>(serde_json::from_str(&answer.to_string().replace("{base}", &base)).unwrap())
                .into_response()
        }
        None => (StatusCode::NOT_FOUND, axum::Json(json!({"error": {"code": "itemNotFound", "message": "no"}})))
            .into_response(),
    }
}

async fn serve() -> (Client, Script) {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let script = Script::default();
    let router = axum::Router::new().fallback(answer).with_state((base.clone(), script.clone()));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let options = ClientOptions::new(Cloud::custom(&base, &base).unwrap());
    (Client::with_tokens(options, Arc::new(Anybody)).unwrap(), script)
}

fn file(id: &str, parent: &str, hash: &str) -> Value {
    json!({"id": id, "name": id, "size": 8, "file": {"hashes": {"sha256Hash": hash}}, "parentReference": {"id": parent}})
}

fn folder(id: &str, parent: &str) -> Value {
    json!({"id": id, "name": id, "folder": {}, "parentReference": {"id": parent}})
}

fn deleted(id: &str) -> Value {
    json!({"id": id, "deleted": {"state": "deleted"}})
}

/// SHA-256 of what every file of the script holds.
const HASH: &str = "D1B2A59FBEA7E20077AF9F91B27E95E865061B270BE03FF539AB3B73587882E8";
const ITEMS: &str = "drives/d/root/delta";

async fn drive() -> (Drive, Script, State) {
    let (client, script) = serve().await;
    script.set("drives/d/root", json!({"id": "root"}));
    (Drive::new(client, "u", "u@x", "d", None), script, State::default())
}

fn paths(state: &State) -> Vec<String> {
    let paths = state.paths();
    paths.keys().map(|path| path.split('#').next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn what_was_in_a_deleted_folder_goes_with_it_unless_it_was_moved() {
    let (drive, script, mut state) = drive().await;
    let top = json!({"id": "root", "root": {}, "folder": {}});
    // Children before their parents.
    let rows =
        [file("1", "b", HASH), file("2", "b", HASH), folder("b", "a"), top, folder("a", "root"), folder("c", "root")];
    script.tell(ITEMS, &rows);
    state.run(&drive).await.unwrap();
    assert_eq!(paths(&state), ["a", "a/b", "a/b/1", "a/b/2", "c"]);
    assert_eq!(state.gaps, []);
    // The service tells neither b nor 1, and tells 3 as made in b before b went.
    script.tell(ITEMS, &[file("3", "b", HASH), file("2", "c", HASH), deleted("a")]);
    let run = state.run(&drive).await.unwrap();
    assert_eq!(paths(&state), ["c", "c/2"]);
    assert!(!run.fetched.contains(&"2".to_owned()), "moved");
}

#[tokio::test]
async fn the_last_telling_of_an_item_counts() {
    let (drive, script, mut state) = drive().await;
    script.tell(ITEMS, &[file("1", "root", HASH), file("1", "root", HASH), deleted("2"), file("2", "root", HASH)]);
    let run = state.run(&drive).await.unwrap();
    assert_eq!(paths(&state), ["1", "2"]);
    assert_eq!(run.fetched, ["1", "2"], "told twice alike is fetched once");
    let version = state.items["1"].record.version.clone();
    script.tell(
        ITEMS,
        &[file("1", "root", "AB"), deleted("1"), file("1", "root", HASH), file("2", "root", HASH), deleted("2")],
    );
    state.run(&drive).await.unwrap();
    assert_eq!(paths(&state), ["1"]);
    assert_eq!(state.items["1"].record.version, version);
}

#[tokio::test]
async fn a_parent_that_is_never_listed_is_told() {
    let (drive, script, mut state) = drive().await;
    script.tell(ITEMS, &[file("1", "lost", HASH)]);
    state.run(&drive).await.unwrap();
    assert_eq!(
        state.gaps.iter().map(|g| (g.id.as_str(), g.reason.as_str())).collect::<Vec<_>>(),
        [("lost", "not-listed")]
    );
    script.set("drives/d/items/lost", folder("lost", "root"));
    script.tell(ITEMS, &[]);
    state.run(&drive).await.unwrap();
    assert_eq!((paths(&state), state.gaps.len()), (vec!["lost".to_owned(), "lost/1".to_owned()], 0));
}

fn shared(mut item: Value, facet: Value) -> Value {
    item["shared"] = facet;
    item
}

fn top(facet: Value) -> Value {
    shared(json!({"id": "root", "root": {}, "folder": {}}), facet)
}

fn users() -> Value {
    json!({"scope": "users"})
}

/// From now on these permissions of an item are told.
fn permit(script: &Script, item: &str, ids: &[&str]) {
    let grant = |id: &&str| json!({"id": id, "roles": ["read"], "grantedToV2": {"user": {"displayName": id}}});
    let rows = ids.iter().map(grant).collect::<Vec<_>>();
    script.set(&format!("drives/d/items/{item}/permissions"), json!({"value": rows}));
}

fn ids(state: &State) -> Vec<&str> {
    state.items.keys().map(String::as_str).collect()
}

/// Microsoft tells of sharing where it begins; what lies below a shared folder carries nothing of it.
#[tokio::test]
async fn who_may_use_something_stands_where_its_sharing_begins() {
    let (drive, script, mut state) = drive().await;
    ["a", "1", "2"].iter().for_each(|item| permit(&script, item, &["p"]));
    permit(&script, "root", &[]);
    let rows = [top(json!({})), shared(folder("a", "root"), users()), file("1", "a", HASH), file("2", "root", HASH)];
    script.tell(ITEMS, &rows);
    state.run(&drive).await.unwrap();
    assert_eq!(ids(&state), ["1", "2", "a", "a/p"], "what is in the folder inherits");
    // One moves out, one in: neither has rights of its own.
    script.tell(ITEMS, &[file("1", "root", HASH), file("2", "a", HASH)]);
    state.run(&drive).await.unwrap();
    assert_eq!(ids(&state), ["1", "2", "a", "a/p"]);
    // In the shared folder it is shared with others too, and then with nobody at all.
    script.tell(ITEMS, &[shared(file("2", "a", HASH), users())]);
    state.run(&drive).await.unwrap();
    assert_eq!(ids(&state), ["1", "2", "2/p", "a", "a/p"]);
    permit(&script, "2", &["own"]);
    script.tell(ITEMS, &[shared(file("2", "a", HASH), json!({}))]);
    state.run(&drive).await.unwrap();
    assert_eq!(ids(&state), ["1", "2", "2/own", "a", "a/p"]);
    assert_eq!(state.items["2"].record.fact("unique"), Some("true"), "it does not inherit");
    // The sharing of the folder ends, and begins again.
    permit(&script, "a", &["own"]);
    script.tell(ITEMS, &[shared(folder("a", "root"), json!({}))]);
    state.run(&drive).await.unwrap();
    assert_eq!(ids(&state), ["1", "2", "2/own", "a", "a/own"]);
    // Without the facet it inherits.
    script.tell(ITEMS, &[folder("a", "root"), file("2", "a", HASH)]);
    state.run(&drive).await.unwrap();
    assert_eq!(ids(&state), ["1", "2", "a"]);
    permit(&script, "a", &["q"]);
    script.tell(ITEMS, &[shared(folder("a", "root"), users())]);
    state.run(&drive).await.unwrap();
    assert_eq!(ids(&state), ["1", "2", "a", "a/q"]);
    assert_eq!(state.gaps, []);
}

/// All that is in the drive inherits from its root, which is no item.
#[tokio::test]
async fn who_may_use_a_whole_drive_is_kept_at_its_top() {
    let (drive, script, mut state) = drive().await;
    permit(&script, "root", &["p", "q"]);
    script.tell(ITEMS, &[top(users()), file("1", "root", HASH)]);
    state.run(&drive).await.unwrap();
    assert_eq!(ids(&state), ["1", "root/p", "root/q"]);
    assert_eq!(state.items["root/p"].record.parent, "");
    // It is told with whatever changes, and asked for only if its sharing did.
    permit(&script, "root", &["r"]);
    script.tell(ITEMS, &[top(users())]);
    state.run(&drive).await.unwrap();
    assert_eq!(ids(&state), ["1", "root/p", "root/q"]);
    let mut changed = top(users());
    changed["@microsoft.graph.sharedChanged"] = json!("True");
    script.tell(ITEMS, &[changed]);
    state.run(&drive).await.unwrap();
    assert_eq!(ids(&state), ["1", "root/r"]);
    // A facet that is empty: the rights are its own all the same.
    permit(&script, "root", &["own"]);
    script.tell(ITEMS, &[top(json!({}))]);
    state.run(&drive).await.unwrap();
    assert_eq!(ids(&state), ["1", "root/own"]);
    let mut bare = top(json!({}));
    bare.as_object_mut().unwrap().remove("shared");
    script.tell(ITEMS, &[bare]);
    state.run(&drive).await.unwrap();
    assert_eq!(ids(&state), ["1"]);
    permit(&script, "root", &["r"]);
    // A snapshot from before this was kept: the root is asked for, though no delta tells it.
    state.cursors.as_mut().unwrap().set("shared", "");
    script.set("drives/d/items/root", top(users()));
    script.tell(ITEMS, &[]);
    state.run(&drive).await.unwrap();
    assert_eq!(ids(&state), ["1", "root/r"]);
}

#[tokio::test]
async fn the_rights_to_a_drive_that_cannot_be_read_are_a_gap_and_tried_again() {
    // Asked for alone, a root that is shared with nobody carries no facet.
    let bare = json!({"id": "root", "root": {}, "folder": {}});
    for (listed, alone) in [(top(users()), top(users())), (top(json!({})), bare)] {
        let (drive, script, mut state) = drive().await;
        script.set("drives/d/items/root", alone);
        script.set("drives/d/items/root/permissions", json!({"status": 403}));
        script.tell(ITEMS, &[listed, file("1", "root", HASH)]);
        state.run(&drive).await.unwrap();
        assert_eq!((ids(&state), state.gaps.len()), (vec!["1"], 1));
        permit(&script, "root", &["p"]);
        script.tell(ITEMS, &[]);
        state.run(&drive).await.unwrap();
        assert_eq!((ids(&state), state.gaps.len()), (vec!["1", "root/p"], 0));
    }
}

/// An item that is asked for alone carries the facet where it inherits too.
#[tokio::test]
async fn what_an_item_inherits_is_not_taken_for_its_own_where_it_is_asked_for_alone() {
    let (drive, script, mut state) = drive().await;
    ["a", "1"].iter().for_each(|item| permit(&script, item, &["p"]));
    permit(&script, "root", &[]);
    let mut bare = file("1", "a", HASH);
    bare["file"] = json!({});
    script.set("drives/d/items/1", shared(file("1", "a", HASH), users()));
    script.tell(ITEMS, &[top(json!({})), shared(folder("a", "root"), users()), bare.clone()]);
    state.run(&drive).await.unwrap();
    assert_eq!(ids(&state), ["1", "a", "a/p"]);
    state.gaps.push(gap_of(&state.items["1"].record, "drive", "access-denied", "no"));
    script.tell(ITEMS, &[]);
    state.run(&drive).await.unwrap();
    assert_eq!((ids(&state), state.gaps.len()), (vec!["1", "a", "a/p"], 0));
}

/// What was expanded may be more than a page.
#[tokio::test]
async fn what_is_expanded_in_an_item_is_read_to_its_last_page() {
    let (client, script) = serve().await;
    let tasks = tasks(client, "u", "u@x");
    let mut state = State::default();
    let step = |id: &str| json!({"id": id, "displayName": id});
    let more = |page: &str| format!("{{base}}/v1.0/users/u/todo/lists/a/tasks/t/checklistItems{page}");
    let task = json!({"id": "t", "title": "t", "@odata.etag": "1", "checklistItems": [step("1")],
        "checklistItems@odata.nextLink": more("2")});
    script.tell("users/u/todo/lists/delta", &[json!({"id": "a", "displayName": "a"})]);
    script.tell("users/u/todo/lists/a/tasks/delta", &[json!({"id": "t", "title": "t"})]);
    script.set("users/u/todo/lists/a/tasks", json!({"value": [task.clone()]}));
    script.set("users/u/todo/lists/a/tasks/t", task);
    let pages = "users/u/todo/lists/a/tasks/t/checklistItems";
    script.set(&format!("{pages}2"), json!({"value": [step("2")], "@odata.nextLink": more("3")}));
    // One page is refused: the task is a gap.
    script.set(&format!("{pages}3"), json!({"status": 403}));
    state.run(&tasks).await.unwrap();
    assert_eq!(gaps(&state), ["t"]);
    script.set(&format!("{pages}3"), json!({"value": [step("3")]}));
    state.run(&tasks).await.unwrap();
    let kept = properties(&state, "t");
    assert_eq!(kept["checklistItems"], json!([step("1"), step("2"), step("3")]));
    assert_eq!((kept.get("checklistItems@odata.nextLink"), state.gaps.len()), (None, 0));
}

fn gaps(state: &State) -> Vec<&str> {
    state.gaps.iter().map(|gap| gap.id.as_str()).collect()
}

fn properties(state: &State, id: &str) -> Value {
    serde_json::from_slice(&state.items[id].streams[&StreamRole::Properties]).unwrap()
}

fn message(id: &str, key: &str, read: bool) -> Value {
    json!({"id": id, "changeKey": key, "subject": id, "isRead": read,
        "singleValueExtendedProperties": [{"id": "Integer 0xe08", "value": "8"}]})
}

fn removed(id: &str) -> Value {
    json!({"id": id, "@removed": {"reason": "deleted"}})
}

fn messages(folder: &str) -> String {
    format!("users/u/mailFolders/{folder}/messages/delta")
}

async fn mailbox() -> (Mail, Script, State) {
    let (client, script) = serve().await;
    let mail_folder = |id: &str| json!({"id": id, "displayName": id, "parentFolderId": "top"});
    script.tell("users/u/mailFolders/delta", &[mail_folder("f"), mail_folder("g")]);
    script.tell(&messages("f"), &[message("1", "k1", false), message("2", "k1", false)]);
    script.tell(&messages("g"), &[message("3", "k1", false)]);
    let mail = Mail::new(client, "u", "u@x", MailOptions::default());
    let mut state = State::default();
    state.run(&mail).await.unwrap();
    assert_eq!(paths(&state), ["f", "f/1", "f/2", "g", "g/3"]);
    for list in ["users/u/mailFolders/delta", &messages("f"), &messages("g")] {
        script.tell(list, &[]);
    }
    (mail, script, state)
}

#[tokio::test]
async fn a_message_that_two_folders_claim_is_asked_where_it_is() {
    let (mail, script, mut state) = mailbox().await;
    // It moved from g to f and back to g while the folders were read.
    script.tell(&messages("f"), &[message("3", "k2", false)]);
    script.tell(&messages("g"), &[message("3", "k3", false)]);
    let mut now = message("3", "k4", false);
    now["parentFolderId"] = json!("f");
    script.set("users/u/messages/3", now);
    let run = state.run(&mail).await.unwrap();
    assert_eq!(paths(&state), ["f", "f/1", "f/2", "f/3", "g"]);
    assert_eq!(state.items["3"].record.version, "k4");
    assert!(run.fetched.len() <= 2);
}

#[tokio::test]
async fn replays_and_old_removals_do_no_harm() {
    let (mail, script, mut state) = mailbox().await;
    // Moved to g, and the removal in f is told again in a later round.
    script.tell(&messages("f"), &[message("1", "k1", false), removed("1")]);
    script.tell(&messages("g"), &[message("1", "k2", true), message("1", "k2", true)]);
    script.set(
        "users/u/messages/1",
        json!({"id": "1", "changeKey": "k2", "subject": "1", "isRead": true, "parentFolderId": "g",
        "singleValueExtendedProperties": [{"id": "Integer 0xe08", "value": "8"}]}),
    );
    let run = state.run(&mail).await.unwrap();
    assert_eq!(paths(&state), ["f", "f/2", "g", "g/1", "g/3"]);
    assert_eq!(run.fetched, Vec::<String>::new());
    script.tell(&messages("f"), &[removed("1"), removed("never seen")]);
    script.tell(&messages("g"), &[message("3", "k2", true), removed("3")]);
    state.run(&mail).await.unwrap();
    assert_eq!(paths(&state), ["f", "f/2", "g", "g/1"]);
}

#[tokio::test]
async fn a_folder_that_is_gone_takes_its_messages_along() {
    let (mail, script, mut state) = mailbox().await;
    script.tell("users/u/mailFolders/delta", &[removed("f")]);
    script.tell(&messages("g"), &[message("2", "k2", false)]);
    let run = state.run(&mail).await.unwrap();
    assert_eq!(paths(&state), ["g", "g/2", "g/3"]);
    assert_eq!(run.fetched, Vec::<String>::new(), "moved out in time");
}

/// Of one folder the messages are not found though it is there, the other is gone.
#[tokio::test]
async fn a_folder_that_is_there_and_whose_messages_are_not_found_is_a_gap() {
    let (mail, script, mut state) = mailbox().await;
    script.set("users/u/mailFolders/f", json!({"id": "f", "displayName": "f"}));
    ["f", "g"].iter().for_each(|folder| script.set(&messages(folder), json!({"status": 404})));
    for _ in 0..2 {
        state.run(&mail).await.unwrap();
        assert_eq!((paths(&state).join(" "), gaps(&state)), ("f f/1 f/2".to_owned(), vec!["f"]));
    }
    script.tell(&messages("f"), &[message("4", "k1", false)]);
    state.run(&mail).await.unwrap();
    assert_eq!((paths(&state).join(" "), gaps(&state)), ("f f/1 f/2 f/4".to_owned(), vec![]));
}

/// The simulated tenant tells of exceptions by their masters only.
#[tokio::test]
async fn an_exception_that_is_told_as_gone_is_asked_after_at_its_series() {
    let (client, script) = serve().await;
    let calendar = crate::m365::calendar::calendar(client, "u", "alice", Default::default());
    let place = json!({"id": "c", "name": "Calendar", "isDefaultCalendar": true, "canShare": false});
    script.set("users/u/calendars", json!({"value": [place]}));
    script.set("users/u/calendarGroups", json!({"value": [{"id": "g", "name": "Mine"}]}));
    let event = |id: &str, kind: &str, master: Value| {
        let now = json!({"dateTime": "2026-11-02T06:00:00.0000000", "timeZone": "UTC"});
        json!({"id": id, "type": kind, "seriesMasterId": master, "subject": id, "changeKey": "k", "start": now, "end": now})
    };
    let series = |exceptions: &[Value]| {
        let mut master = event("m", "seriesMaster", Value::Null);
        master["exceptionOccurrences"] = exceptions.into();
        script.set("users/u/events/m", master);
    };
    let events = "users/u/calendars/c/events/delta";
    script.tell(events, &[event("m", "seriesMaster", Value::Null)]);
    series(&[event("x", "exception", json!("m")), event("y", "exception", json!("m"))]);
    let mut state = State::default();
    state.run(&calendar).await.unwrap();
    assert_eq!(state.items.keys().collect::<Vec<_>>(), ["c", "g", "m", "x", "y"]);
    script.tell(events, &[removed("x")]);
    series(&[event("y", "exception", json!("m"))]);
    state.run(&calendar).await.unwrap();
    assert_eq!(state.items.keys().collect::<Vec<_>>(), ["c", "g", "m", "y"]);
}

/// A mailbox that is full tells its folders plainly, a level at a time.
#[tokio::test]
async fn folders_of_contacts_within_folders_are_listed_where_delta_is_refused() {
    let (client, script) = serve().await;
    let (contacts, mut state) = (contacts(client, "u", "u@x"), State::default());
    let folder = |id: &str, parent: &str| json!({"id": id, "displayName": id, "parentFolderId": parent});
    script.set("users/u/contactFolders/delta", json!({"status": 507}));
    script.set("users/u/contactFolders/contacts", folder("c", "top"));
    script.set("users/u/contactFolders", json!({"value": [folder("a", "top")]}));
    script.set("users/u/contactFolders/a/childFolders", json!({"value": [folder("b", "a")]}));
    script.set("users/u/contactFolders/b/childFolders", json!({"value": []}));
    for id in ["a", "b", "c"] {
        let contact = json!({"id": format!("{id}1"), "displayName": format!("{id}1"), "changeKey": "1"});
        script.tell(&format!("users/u/contactFolders/{id}/contacts/delta"), &[contact]);
    }
    for _ in 0..2 {
        state.run(&contacts).await.unwrap();
        assert_eq!((paths(&state).join(" "), gaps(&state)), ("a a/a1 a/b a/b/b1 c c/c1".to_owned(), vec![]));
    }
}

/// The pages of a list that grows meanwhile overlap.
#[tokio::test]
async fn a_post_that_is_gone_goes_where_its_thread_is_listed_twice() {
    let (client, script) = serve().await;
    let (conversations, mut state) = (conversations(client, "g", "g@x"), State::default());
    let thread =
        |day: u32| json!({"id": "t", "topic": "t", "lastDeliveredDateTime": format!("2026-11-0{day}T06:00:00Z")});
    for (day, posts, there) in [(1, ["1", "2"], vec!["1", "2", "t"]), (2, ["1", "3"], vec!["1", "3", "t"])] {
        let posts = posts.map(|id| json!({"id": id, "body": {"content": id}}));
        script.set("groups/g/threads", json!({"value": [thread(day), thread(day)]}));
        script.set("groups/g/threads/t/posts", json!({"value": posts}));
        state.run(&conversations).await.unwrap();
        assert_eq!((ids(&state), gaps(&state)), (there, vec![]));
    }
}

/// A task moves to a list that is read before its old one, and loses an attachment on the way; the old list still tells it.
#[tokio::test]
async fn a_task_that_moved_is_as_its_new_list_has_it() {
    let (client, script) = serve().await;
    let (tasks, mut state) = (tasks(client, "u", "u@x"), State::default());
    let list = |id: &str| json!({"id": id, "displayName": id});
    let task = |etag: &str| json!({"id": "t", "title": "t", "hasAttachments": true, "@odata.etag": etag});
    let files =
        |names: &[&str]| json!({"value": names.iter().map(|id| json!({"id": id, "name": id})).collect::<Vec<_>>()});
    script.tell("users/u/todo/lists/delta", &[list("a"), list("b")]);
    for (id, rows) in [("a", vec![]), ("b", vec![task("1")])] {
        script.tell(&format!("users/u/todo/lists/{id}/tasks/delta"), &rows);
        script.set(&format!("users/u/todo/lists/{id}/tasks"), json!({"value": rows}));
    }
    script.set("users/u/todo/lists/b/tasks/t/attachments", files(&["x", "y"]));
    state.run(&tasks).await.unwrap();
    assert_eq!(state.items.keys().collect::<Vec<_>>(), ["a", "b", "t", "t/x", "t/y"]);

    script.tell("users/u/todo/lists/delta", &[]);
    script.tell("users/u/todo/lists/a/tasks/delta", &[task("2")]);
    script.tell("users/u/todo/lists/b/tasks/delta", &[task("1")]);
    script.set("users/u/todo/lists/a/tasks/t", task("2"));
    script.set("users/u/todo/lists/a/tasks/t/attachments", files(&["y"]));
    state.run(&tasks).await.unwrap();
    assert_eq!(state.items.keys().collect::<Vec<_>>(), ["a", "b", "t", "t/y"]);
    assert_eq!((state.items["t"].record.parent.as_str(), state.gaps.as_slice()), ("a", [].as_slice()));
}
