//! Restores that somebody stops, and does not go on with: what is done is told, and taken back, which can be stopped as well.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::id;
use super::restoring::{ALICE, Place};
use crate::sim::{Fault, FaultKind, SimOptions};

/// Each request to such addresses takes so long: a worker hears of a stop after two seconds, and is to be on its way then.
fn slow(place: &Place, path: &str, millis: u64) {
    place.sim.clear_faults();
    place.sim.inject(Fault { kind: FaultKind::Slow { millis }, path: path.into(), probability: 1.0, count: None });
}

/// Begins a part of a restore, and stops it when Alice has so many mails.
async fn stopped(place: &Place, restore: &str, part: &str, is_so: impl Fn(usize) -> bool) -> Value {
    let job = place.begin(restore, part).await;
    while !is_so(place.subjects().len()) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    place.bench.good(&place.restorer, Method::POST, &place.at(&format!("restores/{restore}/stop")), None).await;
    let ended = place.bench.ended(&place.restorer, &place.account, &job).await;
    assert_eq!(ended["state"], "cancelled", "{ended}");
    place.restore(restore).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_was_stopped_is_taken_back_in_two_goes_without_going_on() {
    // So many that the stop comes before the last of them.
    let place = Place::with(SimOptions { messages: 100, ..SimOptions::tiny() }).await;
    place.unlock(&place.restorer).await;
    let planned =
        place.planned(json!({"snapshot": "latest", "paths": [format!("users/{ALICE}/Mail")], "folder": "Back"})).await;
    let (restore, before) = (id(&planned), place.subjects().len());
    let stands = |now: &Value| {
        let stage = now["stage"].as_str().expect("a stage").to_owned();
        (stage, now["can_run"].as_bool(), now["can_undo"].as_bool())
    };

    // It makes four at once.
    slow(&place, "/messages ", 800);
    let now = stopped(&place, &restore, "run", |there| there >= before + 8).await;
    assert_eq!(stands(&now), ("halted".to_owned(), Some(true), Some(true)), "{now}");
    let made = place.subjects().len() - before;
    let told = now["outcome"]["created"].as_u64().expect("a count");
    let planned = planned["counts"]["counts"]["create"].as_u64().expect("a count");
    assert!(told >= made as u64 && told < planned, "{made} mails of {planned}: {now}");

    // One after the other.
    slow(&place, "/messages/", 1000);
    let now = stopped(&place, &restore, "undo", |there| there < before + made).await;
    assert_eq!(stands(&now), ("taken-back-in-part".to_owned(), Some(false), Some(true)), "{now}");
    let left = place.subjects().len() - before;
    assert!(left > 0 && left < made, "{left} of {made}");
    assert!(now["outcome"]["undone"].as_u64() > Some(0), "{now}");

    place.sim.clear_faults();
    let ended = place.bench.ended(&place.restorer, &place.account, &place.begin(&restore, "undo").await).await;
    assert_eq!(ended["state"], "done", "{ended}");
    let now = place.restore(&restore).await;
    assert_eq!(stands(&now), ("taken-back".to_owned(), Some(false), Some(false)), "{now}");
    assert_eq!(place.subjects().len(), before, "all of it");
}
