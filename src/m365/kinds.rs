//! What of Microsoft 365 is read, and what no application can read: the table of the README is made of this.

use super::door::{Owner, Workload};

/// How a kind of data stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// It is read; what people should know about it, or nothing.
    Read(&'static str),
    /// Some of it is read; what is not, and why.
    Partly(&'static str),
    /// It cannot be read by an application, and why.
    Impossible(&'static str),
}

/// A kind of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// The part of Microsoft 365, as its backup products name them.
    pub part: &'static str,
    /// What it is.
    pub what: &'static str,
    /// The workload that a set names for it; empty: none does.
    pub workload: &'static str,
    /// How it stands.
    pub reading: Reading,
}

/// Why public folders are not read.
pub const NO_PUBLIC_FOLDERS: &str = "Microsoft Graph has no access to public folders, and Exchange Web Services, the last \
way to their contents, ends on 1 April 2027: move them to shared mailboxes, which are backed up";

const fn kind(part: &'static str, what: &'static str, workload: &'static str, reading: Reading) -> Kind {
    Kind { part, what, workload, reading }
}

use Reading::{Impossible, Partly, Read};

/// All kinds, part by part.
pub const KINDS: &[Kind] = &[
    kind("Outlook", "Mail of user, shared, room and equipment mailboxes", "mail", Read("every message byte for byte")),
    kind("Outlook", "Recoverable Items", "mail", Read("with `recoverable_items = true`")),
    kind("Outlook", "Calendars: series, exceptions, attachments, sharing", "calendar", Read("")),
    kind("Outlook", "Contacts with photos", "contacts", Partly(NO_DISTRIBUTION_LISTS)),
    kind("Outlook", "To Do: lists, tasks, steps, attachments", "tasks", Read("")),
    kind("Outlook", "Mailbox settings, inbox rules, categories", "settings", Read("")),
    kind("Outlook", "Archive mailboxes", "", Impossible("Graph v1.0 does not show them")),
    kind(
        "Outlook",
        "Group mailboxes: conversations, posts, attachments",
        "groups",
        Read(
            "what lies in the group's inbox; that a single post was taken out is noticed when its thread changes next",
        ),
    ),
    kind("Outlook", "Group calendars", "calendar", Partly(NO_GROUP_CALENDARS)),
    kind("OneDrive", "Files, folders, notebooks, shortcuts", "onedrive", Read("infected files: their facts alone")),
    kind("Personal Site", "Other libraries, lists, pages", "personal-site", Read("")),
    kind("Public Folders", "All", "", Impossible(NO_PUBLIC_FOLDERS)),
    kind("Site Collections", "Sites and subsites: libraries, pages with web parts", "sites", Read("")),
    kind(
        "Site Collections",
        "Lists: columns, content types, permissions, items, versions",
        "sites",
        Partly(NO_LIST_PARTS),
    ),
    kind("Site Collections", "Site columns, content types, grants of apps", "sites", Partly(NO_PEOPLE_OF_SITES)),
    kind("Site Collections", "Term store: groups, sets, terms", "sites", Read("")),
    kind("Teams", "Teams: settings, members, channels, tabs, apps, tags", "teams", Read("")),
    kind(
        "Teams",
        "Messages of standard, private and shared channels, replies, pictures",
        "teams",
        Partly("channels that another organisation shares are its own"),
    ),
    kind("Teams", "Files of channels", "sites", Read("they lie in the site of the team or channel")),
    kind("Teams", "Chats: one to one, group, meeting", "chats", Read("")),
    kind("Teams", "Planner: plans, buckets, tasks", "groups", Read("")),
    kind("Teams", "Recordings and transcripts of meetings", "onedrive", Read("they are files")),
];

const NO_DISTRIBUTION_LISTS: &str = "personal distribution lists are not in Graph v1.0";
const NO_LIST_PARTS: &str = "views, and attachments of list items, are not in Graph; permissions of single items are not asked for; of those of lists \
Microsoft promises what apps were granted, and no more";
const NO_GROUP_CALENDARS: &str = "Microsoft gives no application access to them; of those of groups that who signs in is a member of, \
attachments and changed occurrences of series are not read";
const NO_PARTS_OF_GROUP_EVENTS: &str =
    "attachments of events, and which occurrences of series were changed, are not told of a group";
/// What lists lack whose items have attachments.
pub const NO_ATTACHMENTS_OF_ITEMS: &str = "attachments of some items are not in Graph; that they have some is kept";
const NO_POSTS_TAKEN_OUT: &str = "that a single post was taken out of a thread is noticed when the thread changes next";
const NO_LIST_PARTS_AT_ALL: &str = "views of lists are not in Graph; who may use single items of a list, and galleries and caches that SharePoint makes \
for itself, are not read";
const NO_PEOPLE_OF_SITES: &str = "what people may do with a site is not in Graph";

/// What Microsoft Graph does not tell of a workload of which all else is read; empty: nothing that is known.
pub fn not_told(owner: &Owner, workload: Workload) -> &'static str {
    match (owner, workload) {
        (Owner::Group(_), Workload::Calendar) => NO_PARTS_OF_GROUP_EVENTS,
        (_, Workload::Contacts) => NO_DISTRIBUTION_LISTS,
        (_, Workload::Conversations) => NO_POSTS_TAKEN_OUT,
        (_, Workload::List) => NO_LIST_PARTS_AT_ALL,
        (_, Workload::Site) => NO_PEOPLE_OF_SITES,
        _ => "",
    }
}

/// The table in Markdown.
pub fn table() -> String {
    let mut out = String::from("| part | what | workload | read |\n|---|---|---|---|\n");
    for kind in KINDS {
        let read = match kind.reading {
            Read("") => "yes".to_owned(),
            Read(note) => format!("yes: {note}"),
            Partly(note) => format!("partly: {note}"),
            Impossible(note) => format!("no: {note}"),
        };
        let workload = if kind.workload.is_empty() { String::new() } else { format!("`{}`", kind.workload) };
        out.push_str(&format!("| {} | {} | {workload} | {read} |\n", kind.part, kind.what));
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::snapshot::set::Workload;

    #[test]
    fn every_workload_is_in_the_table_and_no_other() {
        let told: BTreeSet<&str> = KINDS.iter().map(|kind| kind.workload).filter(|word| !word.is_empty()).collect();
        assert_eq!(told, Workload::ALL.iter().map(|workload| workload.word()).collect());
    }

    #[test]
    fn the_readme_has_the_table() {
        let readme = include_str!("../../README.md");
        assert!(readme.contains(&table()), "Put this into README.md:\n{}", table());
    }
}
