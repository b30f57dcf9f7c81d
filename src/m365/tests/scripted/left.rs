//! What a reading left behind that broke off between the parts of an item and the item.

use serde_json::json;

use super::{HASH, ITEMS, Script, deleted, drive, file, folder, gaps, ids, permit, shared, top, users};
use crate::m365::drive::Drive;
use crate::m365::testing::State;

const DAY_US: i64 = 86_400_000_000;

/// Its item is as the last whole reading knew it.
#[tokio::test]
async fn a_right_that_was_taken_back_before_its_item_was_stored_goes_with_the_next_reading() {
    for item in [file("1", "root", HASH), folder("1", "root")] {
        let (drive, script, mut state) = drive().await;
        permit(&script, "root", &[]);
        permit(&script, "1", &["p"]);
        script.tell(ITEMS, &[top(json!({})), item.clone()]);
        state.run(&drive).await.unwrap();
        script.tell(ITEMS, &[shared(item.clone(), users())]);
        state.run_part(&drive, 1).await.unwrap();
        assert_eq!((ids(&state), state.cursors.is_none()), (vec!["1", "1/p"], true));
        script.tell(ITEMS, &[top(json!({})), item]);
        state.run(&drive).await.unwrap();
        assert_eq!((ids(&state), gaps(&state)), (vec!["1"], vec![]));
        script.tell(ITEMS, &[]);
        assert_eq!(state.run(&drive).await.unwrap().changes, []);
    }
}

/// A drive with a right too many, that an earlier version left below a file that nobody shares.
async fn with_a_right_too_many() -> (Drive, Script, State) {
    let (drive, script, mut state) = drive().await;
    state.now_us = 20_000 * DAY_US;
    permit(&script, "root", &[]);
    permit(&script, "1", &[]);
    permit(&script, "2", &["q"]);
    let (plain, common) = (file("1", "root", HASH), shared(file("2", "root", HASH), users()));
    script.set("drives/d/items/1", plain.clone());
    script.tell(ITEMS, &[top(json!({})), plain, common]);
    state.run(&drive).await.unwrap();
    let mut left = state.items["2/q"].clone();
    (left.record.id, left.record.parent) = ("1/q".to_owned(), "1".to_owned());
    state.items.insert("1/q".to_owned(), left);
    script.tell(ITEMS, &[]);
    (drive, script, state)
}

#[tokio::test]
async fn a_right_that_is_left_below_what_nobody_shares_goes_when_it_is_looked_at_again() {
    let (drive, _, mut state) = with_a_right_too_many().await;
    for _ in 0..7 {
        state.now_us += DAY_US;
        state.run(&drive).await.unwrap();
    }
    assert_eq!((ids(&state), gaps(&state)), (vec!["1", "2", "2/q"], vec![]));
}

#[tokio::test]
async fn a_right_that_is_left_below_a_file_goes_with_the_file() {
    let (drive, script, mut state) = with_a_right_too_many().await;
    script.tell(ITEMS, &[deleted("1")]);
    state.run(&drive).await.unwrap();
    assert_eq!((ids(&state), gaps(&state)), (vec!["2", "2/q"], vec![]));
}
