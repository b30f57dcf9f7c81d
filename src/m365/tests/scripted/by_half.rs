//! Things of which one question is answered, and another is not.

use serde_json::{Value, json};

use super::{
    HASH, ITEMS, Script, deleted, file, gaps, ids, mailbox, message, messages, paths, permit, properties, serve,
    shared, top, users,
};
use crate::format::record::StreamRole;
use crate::graph::Client;
use crate::m365::calendar::calendar;
use crate::m365::door::{Collection, Owner};
use crate::m365::drive::{Drive, DriveOptions, Versions};
use crate::m365::planner::planner;
use crate::m365::sites;
use crate::m365::tasks::tasks;
use crate::m365::testing::State;

/// From now on there are these tasks in the one list, and delta tells them.
fn tell_tasks(script: &Script, tasks: &[Value]) {
    let of_list = "users/u/todo/lists/a/tasks";
    script.tell("users/u/todo/lists/delta", &[json!({"id": "a", "displayName": "a"})]);
    script.tell(&format!("{of_list}/delta"), tasks);
    script.set(of_list, json!({"value": tasks}));
    tasks.iter().for_each(|task| script.set(&format!("{of_list}/{}", task["id"].as_str().unwrap()), task.clone()));
}

/// A task with a step, and further ones at another address.
fn long_task(id: &str) -> Value {
    json!({"id": id, "title": id, "checklistItems": [{"id": "1"}],
        "checklistItems@odata.nextLink": format!("{{base}}/v1.0/more/{id}")})
}

/// Delta tells it once: what is not known of it then would never be asked for.
#[tokio::test]
async fn a_new_task_of_which_a_page_fails_is_kept_with_a_gap_and_asked_for_again() {
    let (client, script) = serve().await;
    let (tasks, mut state) = (tasks(client, "u", "u@x"), State::default());
    let steps = |state: &State, id: &str| properties(state, id)["checklistItems"].as_array().unwrap().len();
    // In the first reading and in a later one; a page that is refused, and one that is not found.
    for (id, status) in [("first", 403), ("second", 404)] {
        let page = format!("more/{id}");
        script.set(&page, json!({"status": status}));
        tell_tasks(&script, &[long_task(id)]);
        for delta in ["users/u/todo/lists/delta", "users/u/todo/lists/a/tasks/delta"] {
            state.run(&tasks).await.unwrap();
            assert_eq!((steps(&state, id), gaps(&state)), (1, vec![id]));
            script.tell(delta, &[]);
        }
        state.run(&tasks).await.unwrap();
        assert_eq!((steps(&state, id), gaps(&state)), (1, vec![id]));
        script.set(&page, json!({"value": [{"id": "2"}]}));
        state.run(&tasks).await.unwrap();
        assert_eq!((steps(&state, id), gaps(&state)), (2, vec![]));
        // Not found, of one that is known: it is there all the same.
        script.set(&page, json!({"status": 404}));
        tell_tasks(&script, &[long_task(id)]);
        state.run(&tasks).await.unwrap();
        assert_eq!((steps(&state, id), gaps(&state)), (2, vec![id]));
        script.set(&page, json!({"value": [{"id": "2"}]}));
        state.run(&tasks).await.unwrap();
    }
}

#[tokio::test]
async fn an_expansion_that_is_told_oddly_is_a_gap_of_its_item_alone() {
    let (client, script) = serve().await;
    let (tasks, mut state) = (tasks(client, "u", "u@x"), State::default());
    let mut lost = long_task("lost");
    lost.as_object_mut().unwrap().remove("checklistItems");
    script.set("more/lost", json!({"value": [{"id": "2"}]}));
    script.set("more/circle", json!({"value": [{"id": "2"}], "@odata.nextLink": "{base}/v1.0/more/circle"}));
    script.set("more/sound", json!({"value": [{"id": "2"}]}));
    for _ in 0..2 {
        tell_tasks(&script, &[long_task("circle"), lost.clone(), long_task("sound")]);
        state.run(&tasks).await.unwrap();
        assert_eq!((ids(&state), gaps(&state)), (vec!["a", "circle", "lost", "sound"], vec!["circle", "lost"]));
    }
}

fn with(client: Client, options: DriveOptions) -> Drive {
    Drive::new(client, "u", "u@x", "d", None).with_options(options)
}

/// One answer says that the file is gone, and the file is there.
#[tokio::test]
async fn what_one_question_does_not_find_is_a_gap_and_asked_again_and_what_others_told_is_kept() {
    let (client, script) = serve().await;
    script.set("drives/d/root", json!({"id": "root"}));
    let drive = with(client, DriveOptions { versions: Versions::All, labels: false });
    let mut state = State::default();
    let versions = |id: &str| {
        script
            .set(&format!("drives/d/items/{id}/versions"), json!({"value": [{"id": "2.0"}, {"id": "1.0", "size": 8}]}));
    };
    permit(&script, "root", &[]);
    permit(&script, "1", &["p"]);
    versions("2");
    let shared = |id: &str| shared(file(id, "root", HASH), users());
    // Of the third nothing is found, for it goes.
    script.tell(ITEMS, &[top(json!({})), shared("1"), shared("2"), shared("3")]);
    state.run(&drive).await.unwrap();
    assert_eq!(ids(&state), ["1", "1/p", "2", "2/1.0", "3"]);
    assert_eq!(state.gaps.iter().map(|gap| &*gap.reason).collect::<Vec<_>>(), ["vanished"; 3]);
    versions("1");
    permit(&script, "2", &["p"]);
    ["1", "2"].iter().for_each(|id| script.set(&format!("drives/d/items/{id}"), shared(id)));
    script.tell(ITEMS, &[deleted("3")]);
    state.run(&drive).await.unwrap();
    assert_eq!((ids(&state), gaps(&state)), (vec!["1", "1/1.0", "1/p", "2", "2/1.0", "2/p"], vec![]));
}

/// Taken for gone, nothing would tell of it again.
#[tokio::test]
async fn what_is_there_and_whose_contents_are_not_found_is_a_gap_and_asked_for_again() {
    let (client, script) = serve().await;
    script.set("drives/d/root", json!({"id": "root"}));
    permit(&script, "root", &[]);
    let not_found = |path: &str| script.set(path, json!({"status": 404}));
    // The second is gone, and the third has an earlier version without contents.
    for (id, versions) in [("1", vec!["1.0"]), ("2", vec!["1.0"]), ("3", vec!["2.0", "1.0"])] {
        let rows: Vec<Value> = versions.iter().map(|id| json!({"id": id, "size": 8})).collect();
        script.set(&format!("drives/d/items/{id}/versions"), json!({"value": rows}));
    }
    ["1", "3"].iter().for_each(|id| script.set(&format!("drives/d/items/{id}"), file(id, "root", HASH)));
    let lost = ["drives/d/items/1/content", "drives/d/items/3/versions/1.0/content"];
    lost.iter().chain(&["drives/d/items/2/content"]).for_each(|path| not_found(path));
    let rows = ["1", "2", "3"].map(|id| file(id, "root", HASH));
    script.tell(ITEMS, &[vec![top(json!({}))], rows.to_vec()].concat());
    let (drive, mut state) = (with(client, DriveOptions { versions: Versions::All, labels: false }), State::default());
    for _ in 0..2 {
        state.run(&drive).await.unwrap();
        assert_eq!((ids(&state), gaps(&state)), (vec!["1", "3", "3/1.0"], vec!["1", "3/1.0"]));
        let without = |id: &&str| !state.items[*id].streams.contains_key(&StreamRole::Content);
        assert_eq!(ids(&state).into_iter().filter(without).collect::<Vec<_>>(), ["1", "3/1.0"]);
        script.tell(ITEMS, &[]);
    }
    lost.iter().for_each(|path| script.set(path, Value::Null));
    state.run(&drive).await.unwrap();
    assert!(
        gaps(&state).is_empty() && state.items.values().all(|item| item.streams.contains_key(&StreamRole::Content))
    );
}

#[tokio::test]
async fn a_message_that_is_there_and_cannot_be_fetched_as_it_is_not_found_is_a_gap() {
    let (mail, script, mut state) = mailbox().await;
    let mut row = message("4", "k1", false);
    row["parentFolderId"] = json!("g");
    script.set("users/u/messages/4", row);
    ["4", "5"].iter().for_each(|id| script.set(&format!("users/u/messages/{id}/$value"), json!({"status": 404})));
    script.tell(&messages("g"), &[message("4", "k1", false), message("5", "k1", false)]);
    state.run(&mail).await.unwrap();
    assert_eq!(
        (paths(&state), gaps(&state)),
        (["f", "f/1", "f/2", "g", "g/3", "g/4"].map(str::to_owned).into(), vec!["4"])
    );
    script.tell(&messages("g"), &[]);
    script.set("users/u/messages/4/$value", Value::Null);
    state.run(&mail).await.unwrap();
    assert_eq!((state.items["4"].streams.contains_key(&StreamRole::Mime), gaps(&state)), (true, vec![]));
}

/// A plan of which the details are not found, a page that is not found by itself, and a series: known, and new.
#[tokio::test]
async fn what_a_list_tells_is_not_gone_where_a_further_question_does_not_find_it() {
    let (client, script) = serve().await;
    let not_found = |path: &str| script.set(path, json!({"status": 404}));
    let plans = planner(client.clone(), "g", "g@x");
    let pages = sites::pages(client.clone(), Owner::Site("s".to_owned()), "s", "s");
    let calendar = calendar(client, "u", "alice", Default::default());
    let place = json!({"id": "c", "name": "Calendar", "isDefaultCalendar": true, "canShare": false});
    script.set("users/u/calendars", json!({"value": [place]}));
    script.set("users/u/calendarGroups", json!({"value": [{"id": "g", "name": "Mine"}]}));
    let series = |id: &str, key: &str| {
        let now = json!({"dateTime": "2026-11-02T06:00:00.0000000", "timeZone": "UTC"});
        json!({"id": id, "type": "seriesMaster", "subject": id, "changeKey": key, "start": now, "end": now})
    };
    let tell = |all: &[&str], title: &str| {
        let rows: Vec<Value> = all.iter().map(|id| json!({"id": id, "title": title})).collect();
        script.set("groups/g/planner/plans", json!({"value": rows}));
        script.set("sites/s/pages", json!({"value": rows}));
        let events: Vec<Value> = all.iter().map(|id| series(id, title)).collect();
        script.tell("users/u/calendars/c/events/delta", &events);
        for id in all {
            for list in ["buckets", "tasks"] {
                script.set(&format!("planner/plans/{id}/{list}"), json!({"value": []}));
            }
        }
    };
    let further = |id: &str| {
        [
            format!("planner/plans/{id}/details"),
            format!("sites/s/pages/{id}/microsoft.graph.sitePage"),
            format!("users/u/events/{id}"),
        ]
    };
    let answer = |id: &str, title: &str| {
        let [details, page, event] = further(id);
        script.set(&details, json!({"description": title}));
        script.set(&page, json!({"id": id, "title": title}));
        script.set(&event, series(id, title));
    };
    tell(&["a"], "1");
    answer("a", "1");
    let all: [&dyn Collection; 3] = [&plans, &pages, &calendar];
    let mut states = vec![State::default(); 3];
    let has = |state: &State, id: &str| state.items.contains_key(id);
    for (collection, state) in all.iter().zip(&mut states) {
        state.run(*collection).await.unwrap();
        assert!(has(state, "a") && state.gaps.is_empty(), "{}", collection.path());
    }
    tell(&["a", "b"], "2");
    ["a", "b"].iter().for_each(|id| further(id).iter().for_each(|path| not_found(path)));
    for (collection, state) in all.iter().zip(&mut states) {
        state.run(*collection).await.unwrap();
        assert_eq!(
            (has(state, "a"), has(state, "b"), gaps(state)),
            (true, true, vec!["a", "b"]),
            "{}",
            collection.path()
        );
    }
    ["a", "b"].iter().for_each(|id| answer(id, "2"));
    script.tell("users/u/calendars/c/events/delta", &[]);
    for (collection, state) in all.iter().zip(&mut states) {
        state.run(*collection).await.unwrap();
        assert_eq!((has(state, "a"), has(state, "b"), gaps(state)), (true, true, vec![]), "{}", collection.path());
    }
}

/// A drive of these files, of which some refuse their labels.
async fn labelled(files: &[&str], refuse: &[&str]) -> (Drive, Script, State) {
    let (client, script) = serve().await;
    script.set("drives/d/root", json!({"id": "root"}));
    permit(&script, "root", &[]);
    for id in files {
        script.set(&format!("drives/d/items/{id}"), file(id, "root", HASH));
        label(&script, id, !refuse.contains(id));
    }
    let rows: Vec<_> = files.iter().map(|id| file(id, "root", HASH)).collect();
    script.tell(ITEMS, &[vec![top(json!({}))], rows].concat());
    let mut state = State::default();
    let drive = with(client, DriveOptions { versions: Versions::default(), labels: true });
    state.run(&drive).await.unwrap();
    (drive, script, state)
}

/// From now on the label of a file is told, or refused.
fn label(script: &Script, id: &str, told: bool) {
    let answer = if told { json!({"name": "Keep"}) } else { json!({"status": 403}) };
    script.set(&format!("drives/d/items/{id}/retentionLabel"), answer);
}

fn with_labels(state: &State) -> Vec<&str> {
    let has = |id: &&str| state.items[*id].record.fact("label") == Some("Keep");
    ids(state).into_iter().filter(has).collect()
}

#[tokio::test]
async fn a_file_that_refuses_its_label_is_a_gap_of_its_own_and_the_labels_of_others_are_read() {
    let (drive, script, mut state) = labelled(&["1", "2", "3"], &["1", "2"]).await;
    assert_eq!((with_labels(&state), gaps(&state)), (vec!["3"], vec!["1", "2"]));
    // In later readings it may be the only one that is asked, and more may refuse.
    script.tell(ITEMS, &[]);
    state.run(&drive).await.unwrap();
    assert_eq!(gaps(&state), ["1", "2"]);
    let refusing: Vec<_> = (4..9).map(|n| n.to_string()).collect();
    for id in &refusing {
        label(&script, id, false);
        script.set(&format!("drives/d/items/{id}"), file(id, "root", HASH));
    }
    let rows: Vec<_> = refusing.iter().map(|id| file(id, "root", HASH)).collect();
    script.tell(ITEMS, &rows);
    state.run(&drive).await.unwrap();
    assert_eq!(gaps(&state), ["4", "5", "6", "7", "8", "1", "2"]);
    label(&script, "9", true);
    script.tell(ITEMS, &[file("9", "root", HASH)]);
    state.run(&drive).await.unwrap();
    assert_eq!(with_labels(&state), ["3", "9"]);
}

/// Of two files, then of so many that the drive is taken for one that refuses.
#[tokio::test]
async fn a_label_that_cannot_be_asked_for_stays_as_it_was_with_a_gap() {
    let files: Vec<String> = (100..220).map(|n| n.to_string()).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let (drive, script, mut state) = labelled(&files, &[]).await;
    let labels =
        |state: &State, is: &str| state.items.values().filter(|item| item.record.fact("label") == Some(is)).count();
    assert_eq!(labels(&state, "Keep"), 120);
    for (changed, told, label) in [(&files[..2], &files[..2], "Seal"), (&files[..], &["labels"][..], "Drop")] {
        let rows: Vec<Value> = changed.iter().map(|id| with_tag(file(id, "root", HASH), label)).collect();
        let last = changed.last().unwrap();
        let before = state.items[*last].record.fact("label").unwrap().to_owned();
        let count = labels(&state, &before);
        for (id, row) in changed.iter().zip(&rows) {
            self::label(&script, id, false);
            script.set(&format!("drives/d/items/{id}"), row.clone());
        }
        script.tell(ITEMS, &rows);
        for _ in 0..2 {
            state.run(&drive).await.unwrap();
            assert_eq!((labels(&state, &before), gaps(&state)), (count, told.to_vec()));
        }
        let answer = json!({"name": label});
        changed.iter().for_each(|id| script.set(&format!("drives/d/items/{id}/retentionLabel"), answer.clone()));
        // Told as it is known.
        state.run(&drive).await.unwrap();
        assert_eq!((labels(&state, label), gaps(&state)), (changed.len(), vec![]));
    }
}

fn with_tag(mut item: Value, tag: &str) -> Value {
    item["eTag"] = tag.into();
    item
}

#[tokio::test]
async fn where_a_drive_refuses_labels_another_file_is_asked_each_time_and_one_that_is_gone_says_nothing() {
    let files = ["1", "2", "3", "4"];
    let (drive, script, mut state) = labelled(&files, &files).await;
    assert_eq!((with_labels(&state), gaps(&state)), (vec![""; 0], vec!["labels"]));
    let saved = |state: &State| state.cursors.as_ref().unwrap().get("labels-refused").unwrap().to_owned();
    assert_eq!(saved(&state), "4", "none that was asked");
    for gone in ["items/4", "items/4/retentionLabel"] {
        script.set(&format!("drives/d/{gone}"), json!({"status": 404}));
    }
    script.tell(ITEMS, &[deleted("4")]);
    state.run(&drive).await.unwrap();
    assert_eq!((ids(&state), gaps(&state), &*saved(&state)), (vec!["1", "2", "3"], vec!["labels"], "1"));
    // One is told: all are asked.
    ["1", "2"].iter().for_each(|id| label(&script, id, true));
    let rows: Vec<_> = files[..3].iter().map(|id| file(id, "root", HASH)).collect();
    script.tell(ITEMS, &rows);
    state.run(&drive).await.unwrap();
    assert_eq!((with_labels(&state), gaps(&state)), (vec!["1", "2"], vec!["3"]));
}
