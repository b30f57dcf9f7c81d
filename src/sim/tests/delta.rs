//! Whoever follows the delta links knows on each day what the oracle knows.

use std::collections::BTreeMap;

use serde_json::Value;

use super::client::{Client, Kept, start};
use crate::sim::{ExpectedDrive, ExpectedMailbox, ExpectedUser, ItemKind, Script, SimHandle, SimOptions};

/// What a client keeps of one user.
#[derive(Default)]
struct Copy {
    folders: Kept,
    /// Messages by folder.
    messages: BTreeMap<String, Kept>,
    drive: Kept,
}

const MESSAGE: &str = "$select=id,subject,isRead,changeKey,parentFolderId,receivedDateTime\
&$expand=singleValueExtendedProperties($filter=id%20eq%20'Integer%200x0E08')";

impl Copy {
    async fn refresh(&mut self, client: &Client, user: &ExpectedUser) {
        if user.mailbox.is_some() {
            self.folders.follow(client, &format!("users/{}/mailFolders/delta", user.id)).await;
            let deletions = client.ok(&format!("users/{}/mailFolders/recoverableitemsdeletions", user.id)).await;
            let mut ids: Vec<String> = Vec::new();
            for (id, row) in &self.folders.rows {
                if row["@odata.type"] != "#microsoft.graph.mailSearchFolder" {
                    ids.push(id.clone());
                }
            }
            ids.push(deletions["id"].as_str().expect("an id").to_string());
            self.messages.retain(|id, _| ids.contains(id));
            for id in ids {
                let url = format!("users/{}/mailFolders/{id}/messages/delta?{MESSAGE}", user.id);
                self.messages.entry(id).or_default().follow(client, &url).await;
            }
        }
        if let Some(drive) = &user.drive {
            self.drive.follow(client, &format!("drives/{}/root/delta", drive.id)).await;
        }
    }

    fn check_mail(&self, day: u32, truth: &ExpectedMailbox) {
        let want: BTreeMap<_, _> =
            truth.folders.iter().filter(|f| !f.recoverable).map(|f| (f.id.as_str(), f)).collect();
        assert_eq!(want.keys().copied().collect::<Vec<_>>(), self.folders.rows.keys().collect::<Vec<_>>(), "day {day}");
        for (id, folder) in want {
            let row = &self.folders.rows[id];
            assert_eq!(
                (&row["displayName"], &row["parentFolderId"]),
                (&folder.name.clone().into(), &folder.parent_id.clone().into())
            );
            if !folder.search {
                assert_eq!(row["totalItemCount"], folder.messages, "{} on day {day}", folder.name);
            }
        }
        let mut seen = BTreeMap::new();
        for (folder, kept) in &self.messages {
            for (id, row) in &kept.rows {
                assert_eq!(&row["parentFolderId"], folder.as_str());
                assert!(seen.insert(id.as_str(), row).is_none(), "a message in two folders on day {day}");
            }
        }
        assert_eq!(seen.len(), truth.messages.len(), "messages on day {day}");
        for message in &truth.messages {
            let row = seen[message.id.as_str()];
            assert_eq!(row["parentFolderId"], message.folder_id.as_str());
            assert_eq!(row["subject"], message.subject.as_str());
            assert_eq!(row["isRead"], message.is_read);
            assert_eq!(row["changeKey"], message.change_key.as_str());
            assert_eq!(row["singleValueExtendedProperties"][0]["id"], "Integer 0xe08");
        }
    }

    fn check_drive(&self, day: u32, truth: &ExpectedDrive) {
        let rows = &self.drive.rows;
        let root = rows.values().find(|r| r["root"].is_object()).expect("the root is in the feed");
        assert_eq!(rows.len(), truth.items.len() + 1, "items on day {day}");
        for item in &truth.items {
            let row = &rows[&item.id];
            assert_eq!(path(rows, row, &root["id"]), item.path, "day {day}");
            assert!(row["parentReference"]["path"].is_null() && row["cTag"].is_null(), "delta has neither");
            match item.kind {
                ItemKind::File => assert_eq!(row["size"], item.content.as_ref().expect("bytes").len()),
                ItemKind::Folder => assert!(row["folder"].is_object()),
                ItemKind::Notebook => assert_eq!(row["package"]["type"], "oneNote"),
                ItemKind::Shortcut => assert!(row["remoteItem"]["id"].is_string()),
            }
        }
    }
}

/// The path of an item, built from the ids alone.
fn path(rows: &BTreeMap<String, Value>, row: &Value, root: &Value) -> String {
    let name = row["name"].as_str().expect("a name");
    match &row["parentReference"]["id"] {
        above if above == root => name.to_string(),
        above => format!("{}/{name}", path(rows, &rows[above.as_str().expect("an id")], root)),
    }
}

async fn compare_day(sim: &SimHandle, client: &Client, copies: &mut BTreeMap<String, Copy>) {
    let truth = sim.expected();
    let listed = client.all("users?$select=id,userPrincipalName&$top=2").await;
    let ids: Vec<&str> = listed.iter().filter_map(|u| u["id"].as_str()).collect();
    assert_eq!(ids, truth.users.iter().map(|u| u.id.as_str()).collect::<Vec<_>>());
    for user in &truth.users {
        let copy = copies.entry(user.id.clone()).or_default();
        copy.refresh(client, user).await;
        if let Some(mailbox) = &user.mailbox {
            copy.check_mail(truth.day, mailbox);
        }
        if let Some(drive) = &user.drive {
            copy.check_drive(truth.day, drive);
        }
    }
}

#[tokio::test]
async fn delta_followed_day_by_day_tells_the_whole_truth() {
    let (sim, client) = start(SimOptions { users: 3, ..SimOptions::tiny() }).await;
    let mut copies = BTreeMap::new();
    let mut truths = Vec::new();
    for day in 0..9 {
        compare_day(&sim, &client, &mut copies).await;
        truths.push(sim.expected());
        assert_eq!(sim.day(), day);
        sim.advance_day();
    }
    assert!(
        truths.windows(2).all(|w| w[0].users[0].mailbox.as_ref().map(|m| m.messages.clone())
            != w[1].users[0].mailbox.as_ref().map(|m| m.messages.clone())),
        "every day brings changes"
    );
    let names = |day: usize| truths[day].users.iter().map(|u| u.upn.clone()).collect::<Vec<_>>();
    assert!(names(2).len() == names(1).len() + 1 && names(3).len() == names(1).len(), "one comes, one goes");
}

#[tokio::test]
async fn days_skipped_by_the_client_come_in_one_round() {
    let (sim, client) = start(SimOptions::tiny()).await;
    let mut copies = BTreeMap::new();
    compare_day(&sim, &client, &mut copies).await;
    (0..5).for_each(|_| sim.advance_day());
    compare_day(&sim, &client, &mut copies).await;
}

#[tokio::test]
async fn a_day_without_changes_costs_one_request_a_collection() {
    let (sim, client) = start(SimOptions { awkward: false, ..SimOptions::tiny() }).await;
    let mut copies = BTreeMap::new();
    compare_day(&sim, &client, &mut copies).await;
    sim.clear_stats();
    sim.advance_day_by(&Script::nothing());
    compare_day(&sim, &client, &mut copies).await;
    let truth = sim.expected();
    let folders: usize = copies.values().map(|c| c.messages.len()).sum();
    let stats = sim.stats();
    assert_eq!(stats.requests_to("messages/delta"), folders as u64);
    assert_eq!(stats.requests_to("root/delta"), truth.users.iter().filter(|u| u.drive.is_some()).count() as u64);
}

#[tokio::test]
async fn a_move_keeps_the_immutable_id_and_changes_the_other() {
    let script = Script { moved_messages: 6, ..Script::nothing() };
    let (sim, client) = start(SimOptions { users: 1, script, awkward: false, ..SimOptions::tiny() }).await;
    let before = sim.expected().users[0].clone();
    let mailbox = before.mailbox.as_ref().expect("a mailbox");
    let plain = |id: String| client.request(&id).send();
    let mut old = BTreeMap::new();
    for message in &mailbox.messages {
        let url = format!("users/{}/messages/{}?$select=id", before.id, message.id);
        let answer: Value = plain(url).await.expect("answers").json().await.expect("JSON");
        old.insert(message.id.clone(), answer["id"].as_str().expect("an id").to_string());
    }
    sim.advance_day();
    let after = sim.expected().users[0].clone();
    let mut moved = 0;
    for (was, is) in mailbox.messages.iter().zip(&after.mailbox.as_ref().expect("a mailbox").messages) {
        let url = format!("users/{}/messages/{}", before.id, old[&was.id]);
        let status = plain(url).await.expect("answers").status().as_u16();
        assert_eq!(status, if was.folder_id == is.folder_id { 200 } else { 404 });
        assert_eq!(client.get(&format!("users/{}/messages/{}", before.id, was.id)).await.status, 200);
        moved += usize::from(was.folder_id != is.folder_id);
    }
    assert!(moved > 2, "{moved} messages moved");
}

#[tokio::test]
async fn expired_tokens_are_answered_410_as_documented() {
    let (sim, client) = start(SimOptions::tiny()).await;
    let user = sim.expected().users[0].clone();
    let (_, mail) = client.round(&format!("users/{}/mailFolders/inbox/messages/delta", user.id)).await;
    let (_, folders) = client.round(&format!("users/{}/mailFolders/delta", user.id)).await;
    let drive = user.drive.expect("a drive").id;
    let (rows, files) = client.round(&format!("drives/{drive}/root/delta")).await;
    sim.expire_mail_deltas();
    sim.expire_drive_deltas();
    for link in [&mail, &folders] {
        let answer = client.get(link).await;
        assert_eq!((answer.status, answer.code().as_str()), (410, "SyncStateNotFound"));
    }
    let answer = client.get(&files).await;
    let body = answer.json().to_string();
    assert!(answer.status == 410 && body.contains("resyncChanges"), "{body}");
    let fresh = client.round(answer.header("location")).await.0;
    let ids = |rows: &[Value]| rows.iter().map(|r| r["id"].to_string()).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(ids(&rows), ids(&fresh));
    assert_eq!(client.get(&mail.replace("deltatoken=", "deltatoken=A")).await.status, 400);
}

#[tokio::test]
async fn messages_come_newest_first_if_asked_for() {
    let (sim, client) = start(SimOptions { messages: 300, quirks: false, ..SimOptions::tiny() }).await;
    let user = sim.expected().users[0].clone();
    let url = format!("users/{}/mailFolders/inbox/messages/delta?$select=receivedDateTime", user.id);
    let ordered = format!("{url}&$orderby=receivedDateTime%20desc");
    let times = |rows: &[Value]| rows.iter().map(|row| row["receivedDateTime"].to_string()).collect::<Vec<_>>();
    let (plain, _) = client.round(&url).await;
    let (rows, link) = client.round(&ordered).await;
    let mut wanted = times(&plain);
    wanted.sort_by(|a, b| b.cmp(a));
    assert!(rows.len() > 20 && times(&plain) != wanted);
    assert_eq!(times(&rows), wanted);
    sim.advance_day();
    assert!(!client.round(&link).await.0.is_empty());
    assert_eq!(client.get(&ordered.replace("desc", "asc")).await.status, 400);
}

#[tokio::test]
async fn latest_and_a_time_serve_as_drive_tokens() {
    let (sim, client) = start(SimOptions::tiny()).await;
    let drive = sim.expected().users[0].drive.clone().expect("a drive").id;
    let (rows, link) = client.round(&format!("drives/{drive}/root/delta?token=latest")).await;
    assert!(rows.is_empty());
    sim.advance_day();
    assert!(!client.round(&link).await.0.is_empty());
    let by_time = client.round(&format!("drives/{drive}/root/delta?token=2026-11-02T06:00:00Z")).await.0;
    assert!(!by_time.is_empty() && by_time.iter().any(|r| r["deleted"]["state"] == "deleted" && r["name"].is_null()));
}
