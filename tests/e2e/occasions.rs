//! When the events of a calendar are: what a month shows is what the tenant itself says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tenantvault::format::record::ItemKind;
use tenantvault::graph::{GraphRequest, Scope};
use tenantvault::monitor::Silent;
use tenantvault::ops::browse::{BrowseOptions, Browser};
use tenantvault::sim::SimOptions;

use crate::support::Setting;

const ALICE: &str = "alice@contoso.com";
/// Summer time begins and ends in it.
const YEAR: (&str, &str) = ("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z");

fn us(text: &str) -> i64 {
    let text = format!("{}Z", text.trim_end_matches('Z'));
    text.parse::<jiff::Timestamp>().unwrap().as_microsecond()
}

/// Titles and begins -> how often.
type Times = BTreeMap<(i64, String), usize>;

async fn told(setting: &Setting) -> (Times, usize) {
    let get =
        async |url: String| setting.client.get_all(GraphRequest::get(Scope::Mailbox(ALICE.into()), url)).await.unwrap();
    let (mut times, mut series) = (Times::new(), 0);
    let mut note = |event: &Value| {
        let begins_us = us(event["start"]["dateTime"].as_str().unwrap());
        if (us(YEAR.0)..us(YEAR.1)).contains(&begins_us) {
            *times.entry((begins_us, event["subject"].as_str().unwrap_or_default().to_owned())).or_default() += 1;
        }
    };
    for calendar in get(format!("users/{ALICE}/calendars")).await {
        if calendar["owner"]["address"] != ALICE {
            continue;
        }
        let encoded = |json: &Value| json["id"].as_str().unwrap().replace('/', "%2F").replace('+', "%2B");
        for event in get(format!("users/{ALICE}/calendars/{}/events", encoded(&calendar))).await {
            if event["type"] == "seriesMaster" {
                let window = format!("startDateTime={}&endDateTime={}", YEAR.0, YEAR.1);
                series += 1;
                get(format!("users/{ALICE}/events/{}/instances?{window}", encoded(&event)))
                    .await
                    .iter()
                    .for_each(&mut note);
            } else {
                note(&event);
            }
        }
    }
    (times, series)
}

async fn shown(browser: &Browser) -> Times {
    let mut open = vec![browser.resolve(&format!("sets/everyone/latest/users/{ALICE}/Calendar")).await.unwrap()];
    let mut times = Times::new();
    while let Some(folder) = open.pop() {
        for entry in browser.list(&folder, 0, usize::MAX).await.unwrap() {
            let record = browser.record(&entry.node).await.unwrap();
            if !entry.node.is_folder() {
                for occasion in browser.occasions(&entry.node, (us(YEAR.0), us(YEAR.1))).await.unwrap() {
                    *times.entry((occasion.begins_us, occasion.title)).or_default() += 1;
                }
            } else if record.is_none_or(|record| record.kind != ItemKind::Event) {
                open.push(entry.node);
            }
        }
    }
    times
}

#[tokio::test(flavor = "multi_thread")]
async fn a_calendar_shows_its_series_on_the_days_that_the_tenant_says() {
    let setting = Setting::new(SimOptions::tiny()).await;
    for _ in 0..2 {
        setting.backup().await.unwrap();
        let options = BrowseOptions { look_again_after: Duration::ZERO };
        let browser = Browser::open(setting.reopen(true).await, options, Arc::new(Silent)).await.unwrap();
        let (told, series) = told(&setting).await;
        assert!(series > 2 && told.len() > 50, "{series} series, {} times", told.len());
        let shown = shown(&browser).await;
        let of = |a: &Times, b: &Times| -> Vec<_> {
            a.iter().filter(|(key, n)| b.get(*key) != Some(*n)).map(|(key, n)| (key.clone(), *n)).collect()
        };
        assert_eq!((of(&told, &shown), of(&shown, &told)), (vec![], vec![]), "told alone, shown alone");
        setting.next_day();
    }
}
