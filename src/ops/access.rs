//! Access: signs in to a tenant and finds out which permissions the app has, by asking for what each is needed for.
//!
//! What stands in the token is a hint; what Graph answers counts. A user without mailbox or OneDrive says nothing about
//! a permission, so several are asked.

mod delegated;
mod plans;
mod secret;

use serde_json::Value;

use crate::error::Result;
use crate::graph::links::segment;
use crate::graph::{Caller, Client, Fate, GraphRequest, Scope, fate};
use crate::m365::discover::PERSONAL_PARTS;
use crate::snapshot::set::Workload;

pub use delegated::{DIRECTORY, scope_of, scopes};
pub use plans::{Plans, plans};
pub use secret::{SecretEnd, secret_end};

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
];

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
    let in_token = |p: &Permission| {
        let fits = |role: &String| {
            let by_user = caller != Caller::App
                && (role == scope_of(p.name) || p.contained_in.iter().any(|more| role == scope_of(more)));
            by_user || role == p.name || p.contained_in.contains(&role.as_str())
        };
        roles.as_ref().map(|roles| roles.iter().any(fits))
    };
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
            Some(workload) => probe(client, workload, &users).await?,
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

/// Asks users for something that the permission is needed for, till one has it; `Ok(false)`: nobody has.
async fn probe(client: &Client, workload: Workload, users: &[String]) -> Result<Result<bool, String>> {
    let mut refused = None;
    for user in users {
        let of_mailbox = |url: &str| {
            let url = format!("users/{}/{url}", segment(user));
            GraphRequest::get(Scope::Mailbox(user.clone()), url)
        };
        let request = match workload {
            Workload::Mail => of_mailbox("mailFolders/inbox?$select=id"),
            Workload::Contacts => of_mailbox("contactFolders/contacts?$select=id"),
            Workload::OneDrive => {
                GraphRequest::get(Scope::Files, format!("users/{}/drive?$select=id", segment(user))).units(1)
            }
            // Not read yet.
            _ => return Ok(Ok(false)),
        };
        match client.get_json(request).await {
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
