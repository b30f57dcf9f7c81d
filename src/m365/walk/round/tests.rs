//! What a walk makes of what was told, and of what was not.

use serde_json::json;

use super::*;
use crate::m365::testing::{Changes, State};

fn task(etag: u32, list: &str, parts: usize) -> Told {
    Told::new(ItemKind::Task, "t", list, "a task", json!({"etag": etag})).with_parts(parts)
}

fn attachment(id: &str, task: &str) -> Told {
    let json = json!({"id": id});
    Told::new(ItemKind::Attachment, format!("{task}/{id}"), task, id, json).with_contents("1")
}

async fn ends(tell: impl AsyncFnOnce(&mut Walk<'_>)) -> (Vec<String>, Vec<String>) {
    let (known, mut sink) = (State::default(), Changes::default());
    let mut walk = Walk::new("c".to_owned(), Previous::default(), &known, &mut sink).await.unwrap();
    tell(&mut walk).await;
    walk.finish().await.unwrap();
    sink.ends()
}

#[tokio::test]
async fn what_an_item_that_is_told_again_has_no_more_is_gone() {
    let (there, gone) = ends(async |walk| {
        walk.put(task(1, "l", 2)).await.unwrap();
        walk.put(attachment("a", "t")).await.unwrap();
        walk.put(attachment("b", "t")).await.unwrap();
        // It moved to another list while they were read, and lost one.
        walk.put(task(2, "l2", 1)).await.unwrap();
        walk.put(attachment("b", "t")).await.unwrap();
        walk.removed_from("l", "t").await.unwrap();
    })
    .await;
    assert_eq!((there, gone), (vec!["t".into(), "t/b".into()], vec!["t/a".into()]));
}

#[tokio::test]
async fn what_is_told_and_then_gone_goes_with_all_that_was_told_below_it() {
    let (there, gone) = ends(async |walk| {
        walk.put(task(1, "l", 1)).await.unwrap();
        walk.put(attachment("a", "t")).await.unwrap();
        walk.removed_from("l", "t").await.unwrap();
    })
    .await;
    assert_eq!((there, gone), (vec![], vec!["t".into(), "t/a".into()]));
}

#[tokio::test]
async fn what_is_as_it_was_and_then_changes_in_one_reading_is_as_it_is_then() {
    let mut known = State::default();
    let mut sink = Changes::default();
    let mut walk = Walk::new("c".to_owned(), Previous::default(), &known, &mut sink).await.unwrap();
    for told in [task(1, "l", 1), attachment("a", "t")] {
        walk.put(told).await.unwrap();
    }
    walk.finish().await.unwrap();
    known.take(sink);
    let mut sink = Changes::default();
    let mut walk = Walk::new("c".to_owned(), Previous::default(), &known, &mut sink).await.unwrap();
    walk.put(task(1, "l", 1)).await.unwrap();
    walk.unchanged_below("t");
    walk.put(task(2, "l2", 1)).await.unwrap();
    walk.put(attachment("b", "t")).await.unwrap();
    walk.finish().await.unwrap();
    assert_eq!(sink.ends(), (vec!["t".into(), "t/b".into()], vec!["t/a".into()]));
}

#[tokio::test]
async fn a_part_that_was_stored_without_its_item_goes_with_it() {
    let (mut known, mut sink) = (State::default(), Changes::default());
    let mut walk = Walk::new("c".to_owned(), Previous::default(), &known, &mut sink).await.unwrap();
    walk.put(attachment("a", "t")).await.unwrap();
    walk.finish().await.unwrap();
    known.take(sink);
    let doubtful = ["t".to_owned()];
    let previous = || Previous { retry: &doubtful, ..Previous::default() };
    let mut sink = Changes::default();
    let mut walk = Walk::new("c".to_owned(), previous(), &known, &mut sink).await.unwrap();
    walk.put(task(1, "l", 1)).await.unwrap();
    walk.put(attachment("a", "t")).await.unwrap();
    walk.finish().await.unwrap();
    assert_eq!(sink.ends().1, Vec::<String>::new());
    // It vanished while nobody looked.
    let mut sink = Changes::default();
    let walk = Walk::new("c".to_owned(), previous(), &known, &mut sink).await.unwrap();
    walk.finish().await.unwrap();
    assert_eq!(sink.ends(), (vec![], vec!["t/a".into()]));
}

#[tokio::test]
async fn what_a_reading_that_broke_off_left_without_its_item_is_gone() {
    let (mut known, mut sink) = (State::default(), Changes::default());
    let mut walk = Walk::new("c".to_owned(), Previous::default(), &known, &mut sink).await.unwrap();
    walk.put(task(1, "", 1)).await.unwrap();
    for (id, task) in [("a", "t"), ("a", "u"), ("b", "u"), ("a", "v")] {
        walk.put(attachment(id, task)).await.unwrap();
    }
    walk.finish().await.unwrap();
    known.take(sink);
    // Everything is read from the beginning, and nobody tells of `u` any more. `t` is as it was; what `v` has could not be
    // read.
    let mut sink = Changes::default();
    let mut walk = Walk::new("c".to_owned(), Previous::default(), &known, &mut sink).await.unwrap();
    walk.put(task(1, "", 1)).await.unwrap();
    walk.unchanged_below("t");
    walk.put(Told::new(ItemKind::Task, "v", "", "another", json!({"etag": 1})).with_parts(1)).await.unwrap();
    walk.unchanged_below("v");
    walk.finish().await.unwrap();
    assert_eq!(sink.ends(), (vec!["v".into()], vec!["u/a".into(), "u/b".into()]));
    // No task could be read: what is known stays, with its part.
    let mut sink = Changes::default();
    let mut walk = Walk::new("c".to_owned(), Previous::default(), &known, &mut sink).await.unwrap();
    walk.unchanged_below("");
    walk.finish().await.unwrap();
    assert_eq!(sink.ends(), (vec![], vec!["u/a".into(), "u/b".into(), "v/a".into()]));
}

#[tokio::test]
async fn what_a_reading_left_behind_goes_also_where_the_next_goes_on_in_the_middle() {
    let (mut known, mut sink) = (State::default(), Changes::default());
    let mut walk = Walk::new("c".to_owned(), Previous::default(), &known, &mut sink).await.unwrap();
    walk.put(task(1, "", 0)).await.unwrap();
    for (id, task) in [("a", "t"), ("a", "u")] {
        walk.put(attachment(id, task)).await.unwrap();
    }
    walk.finish().await.unwrap();
    known.take(sink);
    // `t` was told before the page; of `u` only a part is left.
    let mut page = Cursors::default();
    page.set("tasks", format!("{PAGE}https://next"));
    let mut sink = Changes::default();
    let previous = Previous { cursors: Some(&page), ..Previous::default() };
    let mut walk = Walk::new("c".to_owned(), previous, &known, &mut sink).await.unwrap();
    walk.unchanged_below("");
    walk.finish().await.unwrap();
    assert_eq!(sink.ends(), (vec![], vec!["u/a".into()]));
    // `t` is told again, from the beginning, and has nothing any more.
    let mut sink = Changes::default();
    let mut walk = Walk::new("c".to_owned(), Previous::default(), &known, &mut sink).await.unwrap();
    walk.put(task(1, "", 0)).await.unwrap();
    walk.finish().await.unwrap();
    assert_eq!(sink.ends(), (vec![], vec!["t/a".into(), "u/a".into()]));
}

#[tokio::test]
async fn what_could_not_be_listed_the_second_time_stays() {
    let (there, gone) = ends(async |walk| {
        walk.put(task(1, "l", 1)).await.unwrap();
        walk.put(attachment("a", "t")).await.unwrap();
        walk.put(task(2, "l", 1)).await.unwrap();
        walk.unchanged_below("t");
    })
    .await;
    assert_eq!((there, gone), (vec!["t".into(), "t/a".into()], vec![]));
}
