//! Fills mailboxes and drives for the first day.

use super::content::{Blob, Texture};
use super::library::{Drive, Kind, ROOT};
use super::mailbox::{DRAFT, FLAGGED, Mailbox, OUTGOING, READ};
use super::options::SimOptions;
use super::rng::{Rng, hash};
use super::{letter, times, words};

/// Well-known folders below the root: name, English, German, share of the messages in percent.
const WELL_KNOWN: &[(&str, &str, &str, u32)] = &[
    ("inbox", "Inbox", "Posteingang", 30),
    ("drafts", "Drafts", "Entwürfe", 1),
    ("sentitems", "Sent Items", "Gesendete Elemente", 18),
    ("deleteditems", "Deleted Items", "Gelöschte Elemente", 5),
    ("junkemail", "Junk Email", "Junk-E-Mail", 3),
    ("outbox", "Outbox", "Postausgang", 0),
    ("archive", "Archive", "Archiv", 8),
    ("conversationhistory", "Conversation History", "Aufgezeichnete Unterhaltungen", 1),
];

/// Folder names that are legal in Exchange and not as a file name, or nearly equal to another.
const HOSTILE: &[&str] = &[
    "CON",
    "../up",
    "a/b\\c",
    "Ünïcödé ☃ 日本",
    "x:y*z?",
    "Trailing dots...",
    " leading space",
    "case",
    "CASE",
    "tab\there",
    "\u{202e}gnp.exe",
];

/// Makes a mailbox.
pub(super) fn mailbox(options: &SimOptions, seed: u64, owner: u32, german: bool, messages: u32) -> Mailbox {
    let mut mailbox = Mailbox::new(hash(seed, &[0x3b]), owner);
    let mut weights = folders(options, &mut mailbox, german, owner == 0);
    let (hidden, recoverable) = special_folders(&mut mailbox);
    weights.push((hidden, 1));
    let total: u32 = weights.iter().map(|(_, w)| w).sum();
    let mut rng = Rng::new(mailbox.seed, &[2]);
    for _ in 0..messages {
        let mut at = rng.below(total.into()) as u32;
        let folder = weights.iter().find(|(_, w)| {
            let hit = at < *w;
            at = at.saturating_sub(*w);
            hit
        });
        first_message(&mut mailbox, folder.map_or(1, |(f, _)| *f), &mut rng);
    }
    for _ in 0..(messages / 50).min(20) + 1 {
        first_message(&mut mailbox, recoverable, &mut rng);
    }
    mailbox.folder_log = Vec::new();
    mailbox.messages.shrink_to_fit();
    mailbox.folders.iter_mut().for_each(|f| f.log = Vec::new());
    mailbox
}

fn first_message(mailbox: &mut Mailbox, folder: u32, rng: &mut Rng) {
    let age = (rng.unit() * rng.unit() * 700.0 * times::DAY as f64) as i64;
    let mut flags = 0;
    match mailbox.folders[folder as usize].well_known {
        Some("drafts") => flags |= DRAFT | OUTGOING | READ,
        Some("sentitems") => flags |= OUTGOING | READ,
        _ if rng.chance(0.9) => flags |= READ,
        _ => {}
    }
    if rng.chance(0.03) {
        flags |= FLAGGED;
    }
    mailbox.add_message(folder, times::EPOCH - 60 - age, flags);
}

/// Adds the visible folders; returns what share of the messages each gets.
fn folders(options: &SimOptions, mailbox: &mut Mailbox, german: bool, hostile: bool) -> Vec<(u32, u32)> {
    let mut rng = Rng::new(mailbox.seed, &[1]);
    mailbox.add_folder("Top of Information Store", 0, Some("msgfolderroot"));
    let mut weights = Vec::new();
    for (well_known, english, local, weight) in WELL_KNOWN {
        let number = mailbox.add_folder(if german { local } else { english }, 0, Some(well_known));
        weights.push((number, *weight));
    }
    if german {
        // A second folder of the same name beside the well-known one, as localised clients make them.
        weights.push((mailbox.add_folder("Archiv", 0, None), 2));
    }
    let user_folders = (options.folders as usize).saturating_sub(weights.len() + 1).max(1);
    let mut parents = vec![0, 1];
    for i in 0..user_folders {
        let name = if hostile && i >= 1 && i <= HOSTILE.len() {
            HOSTILE[i - 1].to_string()
        } else if hostile && i == HOSTILE.len() + 1 {
            "Long ".repeat(51)
        } else {
            let n = 1 + rng.below(2);
            words::title(&mut rng, n)
        };
        let number = mailbox.add_folder(&name, *rng.pick(&parents), None);
        parents.push(number);
        weights.push((number, 1 + rng.below(4) as u32));
    }
    weights
}

/// Adds the hidden folders, a search folder and Recoverable Items; returns a hidden and a recoverable one.
fn special_folders(mailbox: &mut Mailbox) -> (u32, u32) {
    let hidden = mailbox.add_folder("Conversation Action Settings", 0, None);
    mailbox.folders[hidden as usize].hidden = true;
    let search = mailbox.add_folder("Weekly digests", 0, None);
    mailbox.folders[search as usize].search = true;
    let root = mailbox.add_folder("Recoverable Items", 0, Some("recoverableitemsroot"));
    mailbox.folders[root as usize].recoverable = true;
    mailbox.folders[root as usize].hidden = true;
    let deletions = mailbox.add_folder("Deletions", root, Some("recoverableitemsdeletions"));
    mailbox.add_folder("Purges", root, Some("recoverableitemspurges"));
    mailbox.add_folder("Versions", root, Some("recoverableitemsversions"));
    (hidden, deletions)
}

/// Names that SharePoint allows and that trouble other file systems.
const HOSTILE_NAMES: &[&str] = &[
    "Ünïcödé ☃ 日本語.txt",
    "e\u{301}.txt",
    "é.txt",
    "%2e%2e%2fpercent.txt",
    "nul.txt",
    "it's & co; $(x) `y`.txt",
    "\u{202e}txt.exe",
    "😀😀😀.txt",
    "-rf.txt",
    ".hidden",
    "COM1.txt",
];

/// What the ids of a user's drive follow from.
pub(super) fn drive_seed(seed: u64) -> u64 {
    hash(seed, &[0xd0])
}

/// Makes a drive.
pub(super) fn drive(options: &SimOptions, seed: u64, owner: u32, items: u32) -> Drive {
    let mut rng = Rng::new(seed, &[3]);
    let born = times::EPOCH - 600 * times::DAY;
    let mut drive = Drive::new(drive_seed(seed), born);
    let documents = drive.add(ROOT, "Documents", Kind::Folder, "", born);
    let pictures = drive.add(ROOT, "Pictures", Kind::Folder, "", born + 5);
    let mut folders = vec![ROOT, documents, documents, documents, pictures];
    notebook(&mut drive, documents, &mut rng);
    special_files(options, &mut drive, documents, owner, &mut rng);
    shared_folder(&mut drive, documents);
    if owner == 0 {
        hostile(&mut drive, &mut folders);
    }
    while (drive.items.len() as u32) < items {
        let parent = *rng.pick(&folders);
        let now = born + rng.below(590 * times::DAY as u64) as i64;
        if rng.chance(0.12) {
            let n = 1 + rng.below(3);
            let name = drive.free_name(parent, &words::title(&mut rng, n));
            folders.push(drive.add(parent, &name, Kind::Folder, "", now));
        } else {
            new_file(options, &mut drive, parent, now, &mut rng);
        }
    }
    drive.shrink();
    drive
}

/// Adds an ordinary file; one in eight has older versions.
pub(super) fn new_file(options: &SimOptions, drive: &mut Drive, parent: u32, now: i64, rng: &mut Rng) -> u32 {
    let (name, mime, texture) = letter::file_kind(rng);
    let len = rng.lognormal(options.contents.file_bytes, 1.9).min(options.contents.file_max_bytes);
    let number = drive.add_file(parent, &name, mime, Blob::new(texture, rng.next(), len), now);
    if rng.chance(0.125) {
        for i in 1..=1 + rng.below(3) as i64 {
            let blob = Blob::new(texture, rng.next(), len + rng.below(500));
            drive.edit(number, blob, now + i * 3_600);
        }
    }
    number
}

fn notebook(drive: &mut Drive, parent: u32, rng: &mut Rng) {
    let at = times::EPOCH - 90 * times::DAY;
    let book = drive.add(parent, "Notebook", Kind::Notebook, "", at);
    for name in ["Meetings.one", "Ideas.one"] {
        drive.add_file(book, name, "application/msonenote", Blob::new(Texture::Mixed, rng.next(), 8_000), at);
    }
    let table = Blob::new(Texture::Random, rng.next(), 1_200);
    drive.add_file(book, "Open Notebook.onetoc2", "application/msonenote", table, at);
}

fn special_files(options: &SimOptions, drive: &mut Drive, parent: u32, owner: u32, rng: &mut Rng) {
    let at = times::EPOCH - 30 * times::DAY;
    let contents = &options.contents;
    let large = Blob::new(Texture::Mixed, rng.next(), contents.large_file_bytes);
    drive.add_file(parent, "Large database.accdb", "application/msaccess", large, at);
    drive.add_file(parent, "Empty.txt", "text/plain", Blob::new(Texture::Text, 0, 0), at);
    let bare = drive.add_file(
        ROOT,
        "No hash.bin",
        "application/octet-stream",
        Blob::new(Texture::Random, rng.next(), 3_000),
        at,
    );
    drive.items[bare as usize].without_hash = true;
    // The same bytes in everybody's drive.
    let handbook = Blob::new(Texture::Mixed, 0xc0de ^ options.seed, contents.file_bytes as u64 * 3);
    drive.add_file(parent, "Company handbook.pdf", "application/pdf", handbook, at);
    drive.add(ROOT, "Shared by others", Kind::Shortcut, "", at);
    if owner == 0 {
        let bad = drive.add_file(
            ROOT,
            "Invoice.pdf.exe",
            "application/x-msdownload",
            Blob::new(Texture::Random, 66, 2_000),
            at,
        );
        drive.items[bad as usize].malware = true;
        if contents.huge_file_bytes > 0 {
            let beyond = contents.huge_file_bytes > 4 << 30;
            let texture = if beyond { Texture::Alike } else { Texture::Random };
            let huge = Blob::new(texture, rng.next(), contents.huge_file_bytes);
            let number = drive.add_file(parent, "Huge disk image.vhdx", "application/octet-stream", huge, at);
            drive.items[number as usize].without_hash = beyond;
        }
    }
}

/// A folder that others may use, with what inherits that, near and far, and a file that is shared with more people.
fn shared_folder(drive: &mut Drive, parent: u32) {
    let at = times::EPOCH - 60 * times::DAY;
    let folder = drive.add(parent, "Committee", Kind::Folder, "", at);
    let below = drive.add(folder, "Minutes", Kind::Folder, "", at);
    let mut file = |parent: u32, name: &str, seed: u64| {
        drive.add_file(parent, name, "text/plain", Blob::new(Texture::Text, seed, 300 + seed), at)
    };
    let files =
        [file(folder, "Agenda.txt", 51), file(below, "Minutes of May.txt", 52), file(below, "Guest list.txt", 53)];
    for (number, with) in [(folder, 2), (below, 0), (files[0], 0), (files[1], 0), (files[2], 1)] {
        drive.items[number as usize].shared = with;
    }
}

fn hostile(drive: &mut Drive, folders: &mut Vec<u32>) {
    let at = times::EPOCH - 200 * times::DAY;
    let con = drive.add(ROOT, "CON", Kind::Folder, "", at);
    let lower = drive.add(ROOT, "Projects", Kind::Folder, "", at);
    let upper = drive.add(lower, "PROJECTS", Kind::Folder, "", at);
    drive.add(ROOT, "Empty folder", Kind::Folder, "", at);
    for (i, name) in HOSTILE_NAMES.iter().enumerate() {
        drive.add_file(con, name, "text/plain", Blob::new(Texture::Text, i as u64, 100 + i as u64), at);
    }
    let long = format!("{}.txt", "n".repeat(246));
    drive.add_file(con, &long, "text/plain", Blob::new(Texture::Text, 99, 5), at);
    drive.add_file(lower, "Plan.docx", "application/octet-stream", Blob::new(Texture::Mixed, 41, 700), at);
    drive.add_file(upper, "PLAN.DOCX", "application/octet-stream", Blob::new(Texture::Mixed, 42, 700), at);
    folders.extend([lower, upper]);
}
