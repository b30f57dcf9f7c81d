//! The script of changes: what each day brings, from the seed and the day alone.

use super::content::{Blob, Texture};
use super::library::{Drive, Kind, ROOT};
use super::mailbox::{CATEGORIES, DRAFT, FLAGGED, GONE, Mailbox, OUTGOING, READ};
use super::options::{Script, SimOptions};
use super::rng::Rng;
use super::state::{UserKind, World};
use super::{calendar, chats, contacts, groups, populate, settings, sites, tasks, times, words};

/// Moves the tenant on by one day.
pub(super) fn advance_day(world: &mut World, options: &SimOptions) {
    world.day += 1;
    let (day, now, seed) = (world.day, world.now(), world.seed);
    if options.script.staff {
        staff(world, day);
    }
    for (number, user) in world.users.iter_mut().enumerate() {
        if !user.present {
            continue;
        }
        let mut rng = Rng::new(seed, &[0xda7, day.into(), number as u64]);
        if let Some(mailbox) = &mut user.mailbox {
            mail_day(mailbox, &options.script, day, now, &mut rng);
        }
        if user.mailbox.is_some() {
            let mut rng = Rng::new(seed, &[0xc0da, day.into(), number as u64]);
            contacts::day(&mut user.contacts, options, now, &mut rng);
            let mut rng = Rng::new(seed, &[0xca1d, day.into(), number as u64]);
            calendar::day(&mut user.calendars, options, now, &mut rng);
            let mut rng = Rng::new(seed, &[0x5e7d, day.into(), number as u64]);
            settings::day(&mut user.settings, options, now, &mut rng);
            let mut rng = Rng::new(seed, &[0x7a5d, day.into(), number as u64]);
            tasks::day(&mut user.tasks, options, now, &mut rng);
        }
        if let Some(drive) = &mut user.drive {
            drive_day(drive, options, day, now, &mut rng);
        }
    }
    sites::day(world, options);
    for (number, site) in world.sites.iter_mut().enumerate() {
        if site.owner.is_none_or(|user| world.users[user].present) {
            for library in &mut site.libraries {
                let mut rng = Rng::new(seed, &[0x11b, day.into(), number as u64]);
                drive_day(&mut library.drive, options, day, now, &mut rng);
            }
        }
    }
    for (number, group) in world.groups.iter_mut().enumerate().filter(|_| options.script.others > 0) {
        groups::day(group, options, (day, now), &mut Rng::new(seed, &[0x6da7, day.into(), number as u64]));
    }
    if options.script.others > 0 {
        let mut rng = Rng::new(seed, &[0xc4a7, day.into()]);
        chats::day(&mut world.chats, options, options.users, now, &mut rng);
    }
}

/// On day 2 a user comes, on day 3 the last of the first ones leaves (if more than one is there).
fn staff(world: &mut World, day: u32) {
    match day {
        2 => world.users.iter_mut().filter(|u| !u.present).for_each(|u| u.present = true),
        3 => {
            let regulars = world.users.iter().filter(|u| u.kind == UserKind::Regular).count();
            // The newcomer stands last; the one before it goes.
            if regulars > 2
                && let Some(user) = world.users.iter_mut().filter(|u| u.kind == UserKind::Regular).nth(regulars - 2)
            {
                user.present = false;
            }
        }
        _ => {}
    }
}

/// A second within the day.
fn moment(now: i64, rng: &mut Rng) -> i64 {
    now - times::DAY + 1 + rng.below(times::DAY as u64 - 1) as i64
}

fn mail_day(mailbox: &mut Mailbox, script: &Script, day: u32, now: i64, rng: &mut Rng) {
    for i in 0..script.new_messages {
        let folder = [1, 1, 1, 3, 2, 5][(i % 6) as usize];
        let flags = match folder {
            2 => DRAFT | OUTGOING | READ,
            3 => OUTGOING | READ,
            _ => 0,
        };
        mailbox.add_message(folder, moment(now, rng), flags);
    }
    for _ in 0..script.changed_messages {
        let Some(key) = any_message(mailbox, rng) else { break };
        let what = rng.below(3);
        let category = 1 + rng.below(CATEGORIES.len() as u64 - 1) as u8;
        mailbox.change(key, now, |m| match what {
            0 => m.flags ^= READ,
            1 => m.flags ^= FLAGGED,
            _ => m.category = category,
        });
    }
    for _ in 0..script.edited_drafts {
        let drafts: Vec<u32> = mailbox.folders[2].keys.iter().copied().collect();
        if !drafts.is_empty() {
            mailbox.change(drafts[rng.index(drafts.len())], now, |m| m.revision += 1);
        }
    }
    if script.folders {
        folder_day(mailbox, day, now, rng);
    }
    for _ in 0..script.moved_messages {
        let (Some(key), Some(folder)) = (any_message(mailbox, rng), any_folder(mailbox, rng)) else { break };
        mailbox.relocate(key, folder, now);
    }
    for _ in 0..script.deleted_messages {
        let Some(key) = any_message(mailbox, rng) else { break };
        mailbox.relocate(key, 4, now);
    }
    for i in 0..script.purged_messages {
        let Some(key) = any_message(mailbox, rng) else { break };
        let to = if i % 2 == 0 { GONE } else { mailbox.find_folder("recoverableitemsdeletions").unwrap_or(GONE) };
        mailbox.relocate(key, to, now);
    }
}

/// A message in the visible tree, by chance.
fn any_message(mailbox: &Mailbox, rng: &mut Rng) -> Option<u32> {
    (0..200).find_map(|_| {
        let key = rng.index(mailbox.messages.len());
        let folder = mailbox.messages.get(key)?.folder;
        (folder != GONE && mailbox.in_tree(folder)).then_some(key as u32)
    })
}

/// A visible folder that holds messages, by chance.
fn any_folder(mailbox: &Mailbox, rng: &mut Rng) -> Option<u32> {
    (0..200).find_map(|_| {
        let number = rng.index(mailbox.folders.len()) as u32;
        let folder = &mailbox.folders[number as usize];
        (mailbox.in_tree(number) && !folder.search && folder.well_known != Some("outbox")).then_some(number)
    })
}

/// A folder that a user made, by chance.
fn own_folder(mailbox: &Mailbox, rng: &mut Rng) -> Option<u32> {
    (0..200).find_map(|_| {
        let number = rng.index(mailbox.folders.len()) as u32;
        let folder = &mailbox.folders[number as usize];
        (mailbox.in_tree(number) && folder.well_known.is_none() && !folder.search && !folder.hidden).then_some(number)
    })
}

fn folder_day(mailbox: &mut Mailbox, day: u32, now: i64, rng: &mut Rng) {
    let name = format!("{} {day}", words::title(rng, 1));
    if day % 2 == 1 {
        let parent = if rng.chance(0.5) { 0 } else { own_folder(mailbox, rng).unwrap_or(0) };
        let new = mailbox.add_folder(&name, parent, None);
        for _ in 0..3 {
            if let Some(key) = any_message(mailbox, rng) {
                mailbox.relocate(key, new, now);
            }
        }
    }
    let Some(number) = own_folder(mailbox, rng) else { return };
    match day % 4 {
        1 => mailbox.rename_folder(number, name),
        2 => {
            // Into another folder, or (as Outlook's Delete does) into Deleted Items with all it holds.
            let parent = if rng.chance(0.5) { 4 } else { own_folder(mailbox, rng).unwrap_or(0) };
            if !mailbox.is_below(parent, number) {
                mailbox.move_folder(number, parent);
            }
        }
        3 => mailbox.rename_folder(number, "Archive".into()),
        _ => mailbox.delete_folder(number, now),
    }
}

fn drive_day(drive: &mut Drive, options: &SimOptions, day: u32, now: i64, rng: &mut Rng) {
    let script = &options.script;
    let folder = |drive: &Drive, rng: &mut Rng| drive.any(rng, |i| i.kind == Kind::Folder).unwrap_or(ROOT);
    let plain = |drive: &Drive, rng: &mut Rng| drive.any(rng, |i| i.kind == Kind::File && !i.malware);
    for _ in 0..script.new_files {
        let parent = folder(drive, rng);
        populate::new_file(options, drive, parent, moment(now, rng), rng);
    }
    for i in 0..script.edited_files {
        let large = drive.items.iter().position(|i| i.alive && i.name.starts_with("Large database"));
        let target = if i == 0 { large.map(|n| n as u32) } else { plain(drive, rng) };
        if let Some(number) = target {
            edit(drive, number, now, rng);
        }
    }
    for i in 0..script.moved_files {
        let Some(number) = plain(drive, rng) else { break };
        let extension = drive.items[number as usize].name.rsplit_once('.').map_or("bin", |(_, e)| e).to_string();
        let same = (drive.items[number as usize].parent, format!("Renamed {day}-{i}.{extension}"));
        let other = (folder(drive, rng), drive.items[number as usize].name.clone());
        let (parent, name) = if i % 2 == 0 { same } else { other };
        drive.relocate(number, parent, &name, now);
    }
    if script.moved_files > 0 {
        folder_moves(drive, day, now, rng);
        if let Some(number) = plain(drive, rng) {
            copy(drive, number, now);
        }
    }
    if script.others > 0 {
        if drive.items[ROOT as usize].has_own_rights() {
            drive.share(ROOT, day % 3, now);
        }
        if let Some(number) = drive.any(rng, |i| i.shared > 0) {
            drive.share(number, day % 3, now);
        }
        if let Some(number) = drive.any(rng, |i| i.shared == 0) {
            drive.share(number, 2, now);
        }
    }
    for _ in 0..script.deleted_files {
        if let Some(number) = plain(drive, rng) {
            drive.delete(number, now);
        }
    }
    if script.deleted_files > 0
        && day.is_multiple_of(3)
        && let Some(number) = drive.any(rng, |i| i.kind == Kind::Folder && i.parent != ROOT)
    {
        drive.delete(number, now);
    }
}

/// Large files get an insertion in their middle, small ones new contents.
fn edit(drive: &mut Drive, number: u32, now: i64, rng: &mut Rng) {
    let Some(body) = drive.items[number as usize].bodies.last().cloned() else { return };
    let len = body.blob.len();
    let blob = if len > 50_000 {
        body.blob.insert(len / 3 + rng.below(1_000), Texture::Text, rng.next(), 10 + rng.below(5_000))
    } else {
        Blob::new(Texture::Mixed, rng.next(), len + rng.below(2_000))
    };
    drive.edit(number, blob, now);
}

fn folder_moves(drive: &mut Drive, day: u32, now: i64, rng: &mut Rng) {
    let Some(number) = drive.any(rng, |i| i.kind == Kind::Folder && i.parent != ROOT) else { return };
    if day % 2 == 1 {
        let parent = drive.items[number as usize].parent;
        return drive.relocate(number, parent, &format!("Renamed folder {day}"), now);
    }
    let to = drive.any(rng, |i| i.kind == Kind::Folder).unwrap_or(ROOT);
    if !drive.is_below(to, number) {
        let name = drive.items[number as usize].name.clone();
        drive.relocate(number, to, &name, now);
    }
}

/// Copies a file into the root: a new id with the same bytes.
fn copy(drive: &mut Drive, number: u32, now: i64) {
    let item = drive.items[number as usize].clone();
    if let Some(body) = item.bodies.last() {
        drive.add_file(ROOT, &format!("Copy of {}", item.name), item.mime, body.blob.clone(), now);
    }
}
