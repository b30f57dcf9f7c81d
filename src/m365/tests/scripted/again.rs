//! What is looked at again though nothing tells of it: who may use something, and whole drives.

use serde_json::{Value, json};

use super::{HASH, ITEMS, Script, deleted, drive, file, gaps, ids, permit, serve, shared, top, users};
use crate::format::record::StreamRole;
use crate::m365::drive::{Drive, DriveOptions, Versions};
use crate::m365::testing::State;

const DAY_US: i64 = 86_400_000_000;
/// What changed since a listing, and since the listing that a test makes.
const CHANGED: &str = "drives/d/changed";
const SINCE_LISTED: &str = "drives/d/listed";

/// Nobody may use it, the list says, though delta tells that it is shared.
#[tokio::test]
async fn what_nobody_may_use_is_asked_again_within_a_week_as_what_somebody_may() {
    let (drive, script, mut state) = drive().await;
    state.now_us = 20_000 * DAY_US;
    ["root", "1"].iter().for_each(|item| permit(&script, item, &[]));
    let item = shared(file("1", "root", HASH), users());
    script.set("drives/d/items/1", item.clone());
    script.tell(ITEMS, &[top(json!({})), item]);
    state.run(&drive).await.unwrap();
    script.tell(ITEMS, &[]);
    for (who, there) in [(vec!["p"], vec!["1", "1/p"]), (vec![], vec!["1"]), (vec!["q"], vec!["1", "1/q"])] {
        let before: Vec<String> = ids(&state).into_iter().map(str::to_owned).collect();
        permit(&script, "1", &who);
        let mut seen_on = Vec::new();
        for day in 0..7 {
            state.now_us += DAY_US;
            state.run(&drive).await.unwrap();
            seen_on.extend((seen_on.is_empty() && ids(&state) != before).then_some(day));
        }
        assert_eq!((ids(&state), seen_on.len(), gaps(&state)), (there, 1, vec![]));
    }
}

/// From now on a list tells these rows, and what comes after is told elsewhere.
fn list(script: &Script, path: &str, rows: &[Value], after: &str) {
    script.set(path, json!({"value": rows, "@odata.deltaLink": format!("{{base}}/v1.0/{after}")}));
}

/// The top of the drive, and the one file that is in it from the beginning.
fn rows() -> Vec<Value> {
    vec![top(json!({})), shared(file("1", "root", HASH), users())]
}

/// A drive on the morning of the day on which it is listed anew.
async fn morning() -> (Drive, Script, State) {
    let (drive, script, mut state) = drive().await;
    state.now_us = 20_000 * DAY_US;
    permit(&script, "root", &[]);
    permit(&script, "1", &["p"]);
    list(&script, ITEMS, &rows(), CHANGED);
    list(&script, CHANGED, &[], CHANGED);
    state.run(&drive).await.unwrap();
    list(&script, ITEMS, &[rows(), vec![file("listed", "root", HASH)]].concat(), CHANGED);
    for _ in 0..40 {
        state.now_us += DAY_US;
        let before = state.clone();
        state.run(&drive).await.unwrap();
        if state.items.contains_key("listed") {
            return (drive, script, before);
        }
    }
    panic!("it is never listed");
}

fn goes_on_at(state: &State, path: &str) -> bool {
    state.cursors.as_ref().unwrap().get("items").unwrap().ends_with(path)
}

/// It went between the two, or will be in the list later.
#[tokio::test]
async fn what_is_told_as_changed_and_not_listed_is_followed_and_all_is_listed_again_soon() {
    let (drive, script, mut state) = morning().await;
    list(&script, CHANGED, &[file("2", "root", HASH)], CHANGED);
    list(&script, ITEMS, &[rows(), vec![file("3", "root", HASH)]].concat(), SINCE_LISTED);
    state.run(&drive).await.unwrap();
    assert_eq!((ids(&state), goes_on_at(&state, CHANGED)), (vec!["1", "1/p", "2", "3"], true));
    list(&script, CHANGED, &[deleted("2")], CHANGED);
    state.now_us += DAY_US;
    state.run(&drive).await.unwrap();
    assert_eq!(ids(&state), ["1", "1/p", "3"]);
    list(&script, CHANGED, &[], CHANGED);
    list(&script, SINCE_LISTED, &[], SINCE_LISTED);
    let mut days = 1;
    while !goes_on_at(&state, SINCE_LISTED) {
        assert!(days < 12, "not listed");
        (state.now_us, days) = (state.now_us + DAY_US, days + 1);
        state.run(&drive).await.unwrap();
    }
    assert_eq!((ids(&state), gaps(&state)), (vec!["1", "1/p", "3"], vec![]));
}

/// No link tells what became of it.
#[tokio::test]
async fn what_a_list_told_that_was_given_up_is_compared_by_the_next_reading() {
    let (drive, script, mut state) = morning().await;
    let first = [rows(), vec![file("2", "root", HASH)]].concat();
    script.set(ITEMS, json!({"value": first, "@odata.nextLink": "{base}/v1.0/drives/d/more"}));
    script.set("drives/d/more", json!({"status": 410, "location": "{base}/v1.0/drives/d/anew"}));
    list(&script, "drives/d/anew", &rows(), SINCE_LISTED);
    state.run(&drive).await.unwrap();
    assert_eq!(ids(&state), ["1", "1/p", "2"]);
    list(&script, ITEMS, &rows(), SINCE_LISTED);
    list(&script, SINCE_LISTED, &[], SINCE_LISTED);
    state.now_us += DAY_US;
    state.run(&drive).await.unwrap();
    assert_eq!((ids(&state), goes_on_at(&state, SINCE_LISTED)), (vec!["1", "1/p"], true));
}

#[tokio::test]
async fn what_is_told_as_gone_and_is_back_in_the_list_is_there_with_all_that_it_has() {
    let (drive, script, mut state) = morning().await;
    list(&script, CHANGED, &[deleted("1")], CHANGED);
    list(&script, ITEMS, &rows(), SINCE_LISTED);
    state.run(&drive).await.unwrap();
    assert_eq!((ids(&state), gaps(&state)), (vec!["1", "1/p"], vec![]));
    assert_eq!(state.items["1"].streams[&StreamRole::Content].as_ref(), b"contents");
}

/// Somebody saved something else, and then took the version before back.
#[tokio::test]
async fn versions_between_contents_that_are_the_same_are_read() {
    let (client, script) = serve().await;
    script.set("drives/d/root", json!({"id": "root"}));
    permit(&script, "root", &[]);
    let options = DriveOptions { versions: Versions::All, labels: false };
    let (drive, mut state) = (Drive::new(client, "u", "u@x", "d", None).with_options(options), State::default());
    let tagged = |tag: &str| {
        let mut item = file("1", "root", HASH);
        item["eTag"] = tag.into();
        item
    };
    let versions = "drives/d/items/1/versions";
    script.set(versions, json!({"value": [{"id": "1.0", "size": 8}]}));
    script.tell(ITEMS, &[top(json!({})), tagged("a")]);
    state.run(&drive).await.unwrap();
    assert_eq!(ids(&state), ["1"]);
    let all = ["3.0", "2.0", "1.0"].map(|id| json!({"id": id, "size": 8}));
    script.set(versions, json!({"value": all}));
    script.tell(ITEMS, &[tagged("c")]);
    let run = state.run(&drive).await.unwrap();
    assert_eq!((ids(&state), run.fetched.len()), (vec!["1", "1/1.0", "1/2.0"], 2), "{:?}", run.fetched);
    // As it is known: nothing is asked.
    script.set(versions, json!({"status": 403}));
    assert_eq!((state.run(&drive).await.unwrap().changes, gaps(&state)), (vec![], vec![]));
}
