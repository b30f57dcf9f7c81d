//! Access: signs in to a tenant and finds out which permissions the app has, by asking for what each is needed for.
//!
//! What stands in the token is a hint; what Graph answers counts. A user without mailbox or OneDrive says nothing about
//! a permission, so several are asked.

mod delegated;
mod plans;
mod restore;
mod secret;
mod table;

use serde_json::Value;

use crate::error::Result;
use crate::graph::links::segment;
use crate::graph::{Caller, Client, Fate, GraphRequest, Scope, TeamsCall, fate};
use crate::m365::discover::PERSONAL_PARTS;
use crate::snapshot::set::Workload;

pub use delegated::{DIRECTORY, restore_scopes, scope_of, scopes};
pub use plans::{Plans, plans};
pub use restore::{RESTORE_PERMISSIONS, look_restore};
pub use secret::{SecretEnd, secret_end};
pub use table::table;

/// How many users are asked before a permission is judged by the token alone.
const USERS_ASKED: usize = 10;

/// A permission that this program needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permission {
    /// Its name in Entra: `Mail.Read`.
    pub name: &'static str,
    /// Other permissions that contain it.
    pub contained_in: &'static [&'static str],
    /// What it is needed for.
    pub purpose: &'static str,
    /// What its lack costs.
    pub cost: &'static str,
    /// The workload that needs it; `None`: all.
    pub workload: Option<Workload>,
}

/// The permissions, as application permissions of Microsoft Graph; `delegated` has their names for users.
pub const PERMISSIONS: &[Permission] = &[
    Permission {
        name: "User.Read.All",
        contained_in: &["User.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All"],
        purpose: "find the users",
        cost: "nobody is found: nothing can be backed up",
        workload: None,
    },
    Permission {
        name: "Mail.Read",
        contained_in: &["Mail.ReadWrite"],
        purpose: "read mail",
        cost: "no mail is backed up",
        workload: Some(Workload::Mail),
    },
    Permission {
        name: "Files.Read.All",
        contained_in: &["Files.ReadWrite.All", "Sites.Read.All", "Sites.ReadWrite.All", "Sites.FullControl.All"],
        purpose: "read OneDrive",
        cost: "no OneDrive is backed up",
        workload: Some(Workload::OneDrive),
    },
    Permission {
        name: "Contacts.Read",
        contained_in: &["Contacts.ReadWrite"],
        purpose: "read contacts",
        cost: "no contacts are backed up",
        workload: Some(Workload::Contacts),
    },
    Permission {
        name: "Group.Read.All",
        contained_in: &["Group.ReadWrite.All"],
        purpose: "find the groups and teams, and read conversations",
        cost: "no group and no team is found: nothing of them is backed up",
        workload: Some(Workload::Groups),
    },
    Permission {
        name: "Tasks.Read.All",
        contained_in: &["Tasks.ReadWrite.All"],
        purpose: "read the plans of groups",
        cost: "no plans are backed up",
        workload: Some(Workload::Groups),
    },
    Permission {
        name: "Calendars.Read",
        contained_in: &["Calendars.ReadWrite"],
        purpose: "read calendars",
        cost: "no calendars are backed up",
        workload: Some(Workload::Calendar),
    },
    Permission {
        name: "MailboxSettings.Read",
        contained_in: &["MailboxSettings.ReadWrite"],
        purpose: "read settings, rules and categories",
        cost: "no settings of mailboxes are backed up",
        workload: Some(Workload::Settings),
    },
    Permission {
        name: "Tasks.Read.All",
        contained_in: &["Tasks.ReadWrite.All"],
        purpose: "read To Do",
        cost: "no tasks are backed up",
        workload: Some(Workload::Tasks),
    },
    Permission {
        name: "Sites.Read.All",
        contained_in: &["Sites.ReadWrite.All", "Sites.Manage.All", "Sites.FullControl.All"],
        purpose: "read personal sites",
        cost: "of personal sites no more than the OneDrive is backed up",
        workload: Some(Workload::PersonalSite),
    },
    Permission {
        name: "Sites.Read.All",
        contained_in: &["Sites.ReadWrite.All", "Sites.Manage.All", "Sites.FullControl.All"],
        purpose: "read sites",
        cost: "no site is backed up",
        workload: Some(Workload::Sites),
    },
    Permission {
        name: "TermStore.Read.All",
        contained_in: &["TermStore.ReadWrite.All"],
        purpose: "read the term store",
        cost: "the term store is not backed up",
        workload: Some(Workload::Sites),
    },
    of_teams("TeamSettings.Read.All", &["Group.Read.All", "TeamSettings.ReadWrite.All"], "read the settings of teams"),
    of_teams("TeamMember.Read.All", &["TeamMember.ReadWrite.All"], "read the members of teams"),
    of_teams("Channel.ReadBasic.All", &["ChannelSettings.Read.All"], "list the channels of teams"),
    of_teams("TeamsAppInstallation.ReadForTeam.All", &["Group.Read.All"], "read the apps of teams"),
    of_teams("TeamworkTag.Read.All", &["TeamworkTag.ReadWrite.All"], "read the tags of teams"),
    of_teams("ChannelMember.Read.All", &["ChannelMember.ReadWrite.All"], "read the members of channels"),
    of_teams("TeamsTab.Read.All", &["Group.Read.All"], "read the tabs of channels"),
    of_teams("ChannelMessage.Read.All", &["Group.Read.All"], "read the messages of channels"),
    Permission {
        name: "Chat.Read.All",
        contained_in: &["Chat.ReadWrite.All"],
        purpose: "read chats",
        cost: "no chats are backed up",
        workload: Some(Workload::Chats),
    },
];

/// What retention labels take, which only those sets read that ask for them.
pub const LABELS: Permission = Permission {
    name: "RecordsManagement.Read.All",
    contained_in: &["RecordsManagement.ReadWrite.All"],
    purpose: "read retention labels of files",
    cost: "no retention label is backed up, though a set asks for them (`retention_labels`)",
    workload: Some(Workload::OneDrive),
};

const fn of_teams(name: &'static str, contained_in: &'static [&'static str], purpose: &'static str) -> Permission {
    let cost = "teams are backed up without what it is needed for";
    Permission { name, contained_in, purpose, cost, workload: Some(Workload::Teams) }
}

impl Permission {
    /// Says whether it is about channels, one by one.
    fn is_of_channels(&self) -> bool {
        ["ChannelMember.Read.All", "TeamsTab.Read.All", "ChannelMessage.Read.All"].contains(&self.name)
    }
}

/// How a permission stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Graph answers.
    Granted,
    /// Graph refuses.
    Missing,
    /// The token has it, and Graph refuses all users asked; the reason in words.
    Refused(String),
    /// Nothing could be asked, and the token cannot be read.
    Unknown,
}

/// Signs in and looks at every permission that one of the workloads needs.
///
/// # Errors
/// When the sign-in is refused, or the network fails.
pub async fn look(client: &Client, workloads: &[Workload]) -> Result<Vec<(Permission, State)>> {
    let roles = client.sign_in().await?;
    let caller = client.caller();
    let in_token = |permission: &Permission| is_among(roles.as_deref(), caller, permission);
    let mut found = Vec::new();
    let mut users = Vec::new();
    for permission in PERMISSIONS {
        if permission.workload.is_some_and(|w| !workloads.contains(&w) || !can_have(caller, w)) {
            continue;
        }
        let answer = match permission.workload {
            None => list_users(client).await?.map(|list| {
                users = list;
                true
            }),
            Some(_) => match subjects(client, permission, &users).await? {
                Ok(subjects) => probe(client, permission, &subjects).await?,
                Err(reason) => Err(reason),
            },
        };
        let state = match (answer, in_token(permission)) {
            (Ok(true), _) | (Ok(false), Some(true)) => State::Granted,
            (Ok(false) | Err(_), Some(false)) | (Err(_), None) => State::Missing,
            (Err(reason), Some(true)) => State::Refused(reason),
            (Ok(false), None) => State::Unknown,
        };
        found.push((*permission, state));
    }
    Ok(found)
}

/// Looks at what retention labels take. Which file has one is not known, so nothing is asked: the token says it.
///
/// # Errors
/// When the sign-in is refused, or the network fails.
pub async fn look_labels(client: &Client) -> Result<(Permission, State)> {
    let roles = client.sign_in().await?;
    let state = match is_among(roles.as_deref(), client.caller(), &LABELS) {
        Some(true) => State::Granted,
        Some(false) => State::Missing,
        None => State::Unknown,
    };
    Ok((LABELS, state))
}

/// Says whether what a token tells has a permission; `None`: it tells nothing.
fn is_among(roles: Option<&[String]>, caller: Caller, p: &Permission) -> Option<bool> {
    let fits = |role: &String| {
        let by_user = caller != Caller::App
            && (role == scope_of(p.name) || p.contained_in.iter().any(|more| role == scope_of(more)));
        by_user || role == p.name || p.contained_in.contains(&role.as_str())
    };
    roles.map(|roles| roles.iter().any(fits))
}

/// Says whether an account of this kind can have anything of a workload.
pub fn can_have(caller: Caller, workload: Workload) -> bool {
    caller != Caller::Personal || PERSONAL_PARTS.contains(&workload)
}

/// Lists some users, or the one who is signed in; the inner error: Graph refuses, for this reason.
async fn list_users(client: &Client) -> Result<Result<Vec<String>, String>> {
    if let Some(me) = client.me().await? {
        return Ok(Ok(vec![me.id]));
    }
    let url = format!("users?$select=id,userType&$top={USERS_ASKED}");
    match client.get_page(GraphRequest::get(Scope::Directory, url)).await {
        Ok(page) => {
            let users = page.rows.values().collect::<Result<Vec<_>>>()?;
            let members = users.iter().filter(|user| user["userType"] != "Guest");
            Ok(Ok(members.filter_map(|user| user["id"].as_str().map(str::to_owned)).collect()))
        }
        Err(e) => match fate(&e) {
            Fate::Denied(reason) => Ok(Err(reason)),
            _ => Err(e),
        },
    }
}

/// Lists some of those who are asked for what a permission is needed for; the inner error: Graph refuses.
async fn subjects(client: &Client, permission: &Permission, users: &[String]) -> Result<Result<Vec<String>, String>> {
    match permission.workload {
        Some(Workload::PersonalSite | Workload::Sites) => Ok(Ok(vec!["root".to_owned()])),
        Some(Workload::Groups) => list_groups(client, "groupTypes/any(c:c%20eq%20'Unified')").await,
        Some(Workload::Teams) => {
            let teams = list_groups(client, "resourceProvisioningOptions/Any(x:x%20eq%20'Team')").await?;
            match teams {
                Ok(teams) if permission.is_of_channels() => list_channels(client, &teams).await,
                teams => Ok(teams),
            }
        }
        _ => Ok(Ok(users.to_vec())),
    }
}

/// Lists some groups that a filter admits.
async fn list_groups(client: &Client, filter: &str) -> Result<Result<Vec<String>, String>> {
    let url = format!("groups?$filter={filter}&$select=id&$top={USERS_ASKED}");
    rows(client, GraphRequest::get(Scope::Directory, url)).await
}

/// Lists the channels of the first team that has some, as their paths.
async fn list_channels(client: &Client, teams: &[String]) -> Result<Result<Vec<String>, String>> {
    for team in teams {
        let url = format!("teams/{}/channels", segment(team));
        match rows(client, GraphRequest::get(Scope::teams(TeamsCall::Channels, team), url.clone())).await? {
            Ok(channels) if channels.is_empty() => {}
            Ok(channels) => return Ok(Ok(channels.iter().map(|id| format!("{url}/{}", segment(id))).collect())),
            Err(reason) => return Ok(Err(reason)),
        }
    }
    Ok(Ok(Vec::new()))
}

/// The ids of the rows of a page; the inner error: Graph refuses.
async fn rows(client: &Client, request: GraphRequest) -> Result<Result<Vec<String>, String>> {
    match client.get_page(request).await {
        Ok(page) => {
            let rows = page.rows.values().collect::<Result<Vec<_>>>()?;
            Ok(Ok(rows.iter().filter_map(|row| row["id"].as_str().map(str::to_owned)).collect()))
        }
        Err(e) => match fate(&e) {
            Fate::Denied(reason) => Ok(Err(reason)),
            Fate::Fatal => Err(e),
            _ => Ok(Ok(Vec::new())),
        },
    }
}

/// What is asked of a user, group, … to learn whether a permission is there.
fn question(permission: &Permission, id: &str, caller: Caller) -> GraphRequest {
    let of_mailbox = |url: String| GraphRequest::get(Scope::Mailbox(id.to_owned()), url);
    let segment = segment(id);
    match permission.workload {
        Some(Workload::Contacts) => of_mailbox(format!("users/{segment}/contactFolders/contacts?$select=id")),
        Some(Workload::OneDrive) => {
            GraphRequest::get(Scope::Files, format!("users/{segment}/drive?$select=id")).units(1)
        }
        Some(Workload::Calendar) => of_mailbox(format!("users/{segment}/calendars?$select=id&$top=1")),
        Some(Workload::Settings) => of_mailbox(format!("users/{segment}/mailboxSettings?$select=timeZone")),
        Some(Workload::Tasks) => of_mailbox(format!("users/{segment}/todo/lists?$top=1")),
        Some(Workload::PersonalSite | Workload::Sites) => {
            let what = if permission.name.starts_with("TermStore") { "termStore" } else { "?$select=id" };
            GraphRequest::get(Scope::Files, format!("sites/{segment}/{what}").replace("/?", "?"))
        }
        Some(Workload::Groups) if permission.name.starts_with("Tasks") => {
            GraphRequest::get(Scope::Planner, format!("groups/{segment}/planner/plans"))
        }
        Some(Workload::Groups) => of_mailbox(format!("groups/{segment}/threads?$top=1")),
        // The export is for apps alone.
        Some(Workload::Chats) if caller != Caller::App => {
            let url = format!("users/{segment}/chats?$expand=lastMessagePreview&$top=1");
            GraphRequest::get(Scope::chats(TeamsCall::Other), url)
        }
        Some(Workload::Chats) => {
            GraphRequest::get(Scope::chats(TeamsCall::Export), format!("users/{segment}/chats/getAllMessages?$top=1"))
        }
        Some(Workload::Teams) if permission.is_of_channels() => {
            let what = match permission.name {
                "ChannelMember.Read.All" => "members",
                "TeamsTab.Read.All" => "tabs",
                _ => "messages?$top=1",
            };
            GraphRequest::get(Scope::teams(TeamsCall::Other, id), format!("{id}/{what}"))
        }
        Some(Workload::Teams) => {
            let what = match permission.name {
                "TeamMember.Read.All" => "/members",
                "Channel.ReadBasic.All" => "/allChannels",
                "TeamsAppInstallation.ReadForTeam.All" => "/installedApps",
                "TeamworkTag.Read.All" => "/tags",
                _ => "",
            };
            GraphRequest::get(Scope::teams(TeamsCall::Other, id), format!("teams/{segment}{what}"))
        }
        Some(Workload::Mail) | None => of_mailbox(format!("users/{segment}/mailFolders/inbox?$select=id")),
    }
}

/// Asks for something that the permission is needed for, till one has it; `Ok(false)`: nobody has.
async fn probe(client: &Client, permission: &Permission, subjects: &[String]) -> Result<Result<bool, String>> {
    let mut refused = None;
    for id in subjects {
        match client.get_json(question(permission, id, client.caller())).await {
            Ok(Value::Null) => {}
            Ok(_) => return Ok(Ok(true)),
            Err(e) => match fate(&e) {
                Fate::Denied(reason) => refused = Some(reason),
                Fate::Fatal => return Err(e),
                _ => {}
            },
        }
    }
    Ok(refused.map_or(Ok(false), Err))
}
