//! Microsoft's limits bite when they should, and say how long to wait.

use futures::future::join_all;

use super::client::start;
use crate::sim::{Limits, SimOptions};

#[tokio::test]
async fn the_fifth_request_at_once_to_a_mailbox_is_refused() {
    let limits = Limits { mailbox_concurrency: Some(4), ..Limits::unlimited() };
    let latency = std::time::Duration::from_millis(200);
    let (sim, client) = start(SimOptions { limits, latency, ..SimOptions::tiny() }).await;
    let users = sim.expected().users;
    let url = |n: usize| format!("users/{}/mailFolders/inbox", users[n].id);
    let answers = join_all((0..6).map(|i| {
        client.get(if i < 5 {
            "users/alice@contoso.com/mailFolders/inbox"
        } else {
            "users/bob@contoso.com/mailFolders/inbox"
        })
    }))
    .await;
    let refused: Vec<_> = answers.iter().filter(|a| a.status == 429).collect();
    assert_eq!(
        (refused.len(), refused[0].code().as_str(), refused[0].header("retry-after")),
        (1, "ApplicationThrottled", "1")
    );
    assert!(refused[0].json().to_string().contains("MailboxConcurrency"));
    assert_eq!(answers[5].status, 200, "another mailbox has lanes of its own");
    assert_eq!(client.get(&url(0)).await.status, 200, "the lanes are free again");
    assert_eq!(sim.stats().most_at_once["alice@contoso.com"], 5);
}

#[tokio::test]
async fn requests_per_mailbox_are_counted_in_a_window_that_scales() {
    let limits = Limits { mailbox_requests: Some(5), time_scale: 60.0, ..Limits::unlimited() };
    let (sim, client) = start(SimOptions { limits, ..SimOptions::tiny() }).await;
    for _ in 0..5 {
        client.ok("users/alice@contoso.com/mailFolders").await;
    }
    let refused = client.get("users/alice@contoso.com/mailFolders").await;
    let wait: f64 = refused.header("retry-after").parse().expect("seconds");
    assert!(refused.status == 429 && wait > 0.0 && wait <= 10.0, "{wait}");
    assert_eq!(sim.stats().spent["alice@contoso.com"].iter().sum::<u32>(), 5, "the refused one is not counted");
    client.ok("users/bob@contoso.com/mailFolders").await;
}

#[tokio::test]
async fn resource_units_run_out_after_a_warning() {
    let limits = Limits { files: true, files_minute_units: Some(10), ..Limits::unlimited() };
    let (sim, client) = start(SimOptions { limits, ..SimOptions::tiny() }).await;
    let drive = sim.expected().users[0].drive.clone().expect("a drive").id;
    let url = format!("drives/{drive}/root/children?$top=1");
    let answers = [client.get(&url).await, client.get(&url).await, client.get(&url).await];
    assert!(answers.iter().all(|a| a.status == 200 && a.header("ratelimit-limit").is_empty()));
    let warned = client.get(&url).await;
    assert_eq!(
        (warned.status, warned.header("ratelimit-limit"), warned.header("ratelimit-remaining")),
        (200, "10", "2")
    );
    assert_eq!(client.get(&format!("drives/{drive}")).await.status, 200);
    let refused = client.get(&url).await;
    assert_eq!((refused.status, refused.bytes.len(), refused.header("ratelimit-remaining")), (429, 0, "0"));
    assert!(refused.header("retry-after").parse::<f64>().is_ok_and(|s| s > 0.0));
    assert_eq!(sim.stats().file_units, 11);
    client.ok("users/alice@contoso.com/mailFolders").await;
}

#[tokio::test]
async fn one_team_or_channel_takes_four_requests_a_second_and_others_go_on() {
    // A second takes a minute here.
    let limits = Limits { teams: true, time_scale: 1.0 / 60.0, ..Limits::unlimited() };
    let (_sim, client) = start(SimOptions { limits, groups: 3, ..SimOptions::tiny() }).await;
    let teams = client.all("groups?$filter=resourceProvisioningOptions/Any(x:x eq 'Team')&$select=id").await;
    let of = |n: usize| format!("teams/{}", teams[n]["id"].as_str().expect("an id"));
    let channel = client.ok(&format!("{}/channels", of(0))).await["value"][0]["id"].as_str().expect("an id").to_owned();
    for _ in 0..3 {
        client.ok(&format!("{}/tags", of(0))).await;
    }
    let refused = client.get(&of(0)).await;
    assert_eq!((refused.status, refused.code().as_str()), (429, "TooManyRequests"));
    assert!(refused.header("retry-after").parse::<f64>().is_ok_and(|s| s > 0.0));
    client.ok(&of(1)).await;
    let of_channel = format!("{}/channels/{channel}/messages", of(0));
    for n in 0..5 {
        assert_eq!(client.get(&of_channel).await.status, if n < 4 { 200 } else { 429 });
    }
}
