//! Contents are the oracle's byte for byte, and follow from the seed alone.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::client::start;
use crate::sim::quickxor::QuickXor;
use crate::sim::state::World;
use crate::sim::{Expected, ItemKind, Profile, SimOptions, SimTenant};

#[tokio::test]
async fn every_message_and_file_is_served_as_the_oracle_has_it() {
    let (sim, client) = start(SimOptions::tiny()).await;
    sim.advance_day();
    for user in sim.expected().users {
        for message in user.mailbox.iter().flat_map(|m| &m.messages) {
            let answer = client.get(&format!("users/{}/messages/{}/$value", user.id, message.id)).await;
            assert_eq!((answer.status, &answer.bytes), (200, &message.mime.bytes()), "{}", message.subject);
        }
        let Some(drive) = user.drive else { continue };
        for item in drive.items.iter().filter(|i| i.kind == ItemKind::File) {
            let answer = client.content(&drive.id, &item.id).await;
            if item.malware {
                assert_eq!((answer.status, answer.code().as_str()), (403, "malwareDetected"));
                continue;
            }
            let bytes = item.content.as_ref().expect("bytes").bytes();
            assert_eq!((answer.status, &answer.bytes), (200, &bytes), "{}", item.path);
            let row = client.ok(&format!("drives/{}/items/{}", drive.id, item.id)).await;
            let mut hash = QuickXor::new();
            hash.update(&bytes);
            let told = row["file"]["hashes"]["quickXorHash"].as_str().map(str::to_string);
            assert!(told.is_none_or(|h| h == hash.finish()), "{}", item.path);
        }
    }
}

fn digest(expected: &Expected) -> String {
    let mut hasher = blake3::Hasher::new();
    for user in &expected.users {
        hasher.update(user.id.as_bytes());
        for message in user.mailbox.iter().flat_map(|m| &m.messages) {
            hasher.update(message.id.as_bytes()).update(message.folder_id.as_bytes()).update(&message.mime.bytes());
        }
        for item in user.drive.iter().flat_map(|d| &d.items) {
            hasher.update(item.id.as_bytes()).update(item.path.as_bytes());
            item.content.iter().for_each(|c| {
                hasher.update(&c.bytes());
            });
        }
    }
    hasher.finalize().to_hex().to_string()
}

#[tokio::test]
async fn one_seed_makes_one_tenant_byte_for_byte() {
    let days = async |seed| {
        let (sim, _) = start(SimOptions { seed, ..SimOptions::tiny() }).await;
        let mut out = vec![digest(&sim.expected())];
        for _ in 0..3 {
            sim.advance_day();
            out.push(digest(&sim.expected()));
        }
        out
    };
    let first = days(5).await;
    assert_eq!(first, days(5).await);
    assert_ne!(first, days(6).await);
    assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 4, "each day differs");
}

#[tokio::test]
async fn attachments_are_passed_round_and_shapes_vary() {
    let options = SimOptions { users: 4, messages: 300, ..SimOptions::tiny() };
    let (sim, _) = start(options).await;
    let (mut seen, mut kinds, mut sizes) = (BTreeMap::<String, usize>::new(), BTreeSet::new(), Vec::new());
    for message in sim.expected().users.iter().flat_map(|u| u.mailbox.iter().flat_map(|m| &m.messages)) {
        let text = String::from_utf8_lossy(&message.mime.bytes()).into_owned();
        sizes.push(text.len());
        for mark in ["multipart/mixed", "multipart/related", "text/calendar", "message/rfc822", "winmail.dat", "8bit"] {
            if text.contains(mark) {
                kinds.insert(mark);
            }
        }
        // Parts in base64, by their first lines.
        for part in text.split("Content-Disposition: attachment; ").skip(1) {
            let body: String = part.split("\r\n\r\n").nth(1).unwrap_or_default().chars().take(300).collect();
            *seen.entry(body).or_default() += 1;
        }
    }
    assert_eq!(kinds.len(), 6, "{kinds:?}");
    let shared = seen.values().filter(|n| **n > 3).sum::<usize>() as f64 / seen.values().sum::<usize>() as f64;
    assert!((0.2..0.55).contains(&shared), "{shared} of all attachments are passed round");
    let lines = sim.expected().users[0].mailbox.clone().expect("a mailbox").messages[0].mime.bytes();
    assert!(lines.windows(2).filter(|w| w[1] == b'\n').all(|w| w[0] == b'\r'), "line ends are CRLF");
}

/// As in real tenants, most of what others may use is in a shared folder; so a backup is to ask at the folder.
#[tokio::test]
async fn others_may_use_one_file_in_eight_most_for_the_sake_of_its_folder() {
    let few = SimOptions { users: 30, messages: 1, contacts: 1, events: 1, tasks: 1, groups: 0, sites: 1, ..office() };
    let drives: Vec<_> =
        SimTenant::start(few).await.unwrap().expected().users.into_iter().filter_map(|user| user.drive).collect();
    let (mut files, mut by_folder, mut by_itself) = (0usize, 0, 0);
    for drive in &drives {
        let items: HashMap<&str, _> = drive.items.iter().map(|item| (item.id.as_str(), item)).collect();
        for file in drive.items.iter().filter(|item| item.kind == ItemKind::File) {
            let above = std::iter::successors(Some(file), |item| items.get(item.parent_id.as_str()).copied());
            files += 1;
            by_itself += usize::from(!file.permissions.is_empty());
            by_folder +=
                usize::from(file.permissions.is_empty() && above.skip(1).any(|item| !item.permissions.is_empty()));
        }
    }
    let share = f64::from(u32::try_from(by_itself + by_folder).unwrap()) / f64::from(u32::try_from(files).unwrap());
    assert!((0.09..0.17).contains(&share) && by_folder > 2 * by_itself, "{by_itself} + {by_folder} of {files}");
}

fn office() -> SimOptions {
    SimOptions::profile(Profile::Office)
}

/// A tenant of 500 users is to start at once and small: most of it is not looked at for long.
#[test]
fn nothing_of_a_mailbox_or_a_drive_is_made_before_it_is_looked_at() {
    let world = World::new(&office());
    let is_made = |what: &dyn std::fmt::Debug| format!("{what:?}").contains("made");
    for user in &world.users {
        let shelves = [&user.contacts, &user.calendars, &user.settings, &user.tasks];
        assert!(!is_made(&user.mailbox) && !is_made(&user.drive) && !shelves.iter().any(|shelf| is_made(shelf)));
    }
    let mailbox = &world.users[0].mailbox;
    assert!(mailbox.as_ref().is_some_and(|mailbox| !mailbox.messages.is_empty()) && is_made(mailbox));
}
