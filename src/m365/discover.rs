//! Discovery: which users a selection means, and which collections they have.
//!
//! Licences do not tell who has a mailbox or a drive, so each user is asked. That somebody has none is no error: it is
//! told in the coverage, with the reason.

use std::collections::HashSet;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use serde_json::Value;

use super::door::{Collection, Workload};
use super::drive::Drive;
use super::facts::text;
use super::mail::{Mail, MailOptions};
use crate::error::{Error, Result};
use crate::graph::links::segment;
use crate::graph::{Client, Fate, GraphRequest, Scope, fate};

/// The properties of users that discovery reads.
const USER_PROPERTIES: &str = "id,userPrincipalName,displayName,mail,userType,accountEnabled";
/// How many users are asked at once. Each has a mailbox lane of its own.
const USERS_AT_ONCE: usize = 16;
/// With more users than this named one by one, the whole directory is listed instead.
const ASKED_ONE_BY_ONE: usize = 20;

/// What of a tenant to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// Users by principal name or id, or globs over principal names (`*`, `?`; case does not matter). `*`: all.
    pub users: Vec<String>,
    /// Users to leave out, in the same way.
    pub exclude: Vec<String>,
    /// Read mail.
    pub mail: bool,
    /// Read OneDrive.
    pub onedrive: bool,
    /// How mail is read.
    pub mail_options: MailOptions,
}

impl Default for Selection {
    fn default() -> Self {
        Self {
            users: vec!["*".to_owned()],
            exclude: Vec::new(),
            mail: true,
            onedrive: true,
            mail_options: MailOptions::default(),
        }
    }
}

/// What discovery found.
#[derive(Default)]
pub struct Discovery {
    /// The collections to read, by user.
    pub collections: Vec<Arc<dyn Collection>>,
    /// What was found for every user and workload that the selection means.
    pub coverage: Vec<Coverage>,
}

/// How one user's part of one workload stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    /// The directory's object id; empty for a user that does not exist.
    pub user_id: String,
    /// The user principal name, or what the selection says.
    pub user: String,
    /// Which workload; `None`: all of them.
    pub workload: Option<Workload>,
    /// How it stands.
    pub state: CoverageState,
}

/// How a part of the tenant stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CoverageState {
    /// It is read: so many collections.
    Covered(usize),
    /// There is nothing to read; the reason in words.
    Nothing(String),
    /// There is something that cannot be read now; the reason in words. What earlier snapshots have is to be kept.
    Unreadable(String),
    /// The selection names a user that does not exist.
    NoSuchUser(String),
}

/// A user of the tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The directory's object id.
    pub id: String,
    /// The user principal name.
    pub name: String,
    /// The name to show.
    pub display_name: String,
}

/// Finds the collections that a selection means.
///
/// # Errors
/// What makes the whole tenant unreadable: no sign-in, no connection, no permission to list users.
pub async fn discover(client: &Client, selection: &Selection) -> Result<Discovery> {
    let mut discovery = Discovery::default();
    let users = select_users(client, selection, &mut discovery.coverage).await?;
    let found: Vec<Found> = futures::stream::iter(users)
        .map(|user| async move { look_at(client, selection, &user).await })
        .buffered(USERS_AT_ONCE)
        .try_collect()
        .await?;
    for found in found {
        discovery.collections.extend(found.collections);
        discovery.coverage.extend(found.coverage);
    }
    Ok(discovery)
}

/// Lists all users of the tenant but guests, who have nothing stored here.
///
/// # Errors
/// Graph's; a missing permission says so.
pub async fn all_users(client: &Client) -> Result<Vec<User>> {
    let url = format!("users?$select={USER_PROPERTIES}&$top=999");
    let request = GraphRequest::get(Scope::Directory, url).units(1);
    let rows =
        client.get_all(request).await.map_err(|error| error.context("Listing the users of the tenant failed"))?;
    let mut seen = HashSet::new();
    Ok(rows.iter().filter_map(user).filter(|user| seen.insert(user.id.clone())).collect())
}

/// Reads a user; `None`: a guest, or no user at all.
fn user(value: &Value) -> Option<User> {
    if text(value, &["userType"]).is_some_and(|kind| kind.eq_ignore_ascii_case("guest")) {
        return None;
    }
    let id = text(value, &["id"])?.to_owned();
    let name = text(value, &["userPrincipalName"]).unwrap_or(&id).to_owned();
    let display_name = text(value, &["displayName"]).unwrap_or_default().to_owned();
    Some(User { id, name, display_name })
}

async fn select_users(client: &Client, selection: &Selection, coverage: &mut Vec<Coverage>) -> Result<Vec<User>> {
    let named_only = !selection.users.iter().any(|pattern| is_glob(pattern));
    let mut users = if named_only && selection.users.len() <= ASKED_ONE_BY_ONE {
        ask_one_by_one(client, &selection.users, coverage).await?
    } else {
        let all = all_users(client).await?;
        for name in selection.users.iter().filter(|pattern| !is_glob(pattern)) {
            if !all.iter().any(|user| means(name, user)) {
                coverage.push(no_such_user(name));
            }
        }
        all.into_iter().filter(|user| selection.users.iter().any(|pattern| means(pattern, user))).collect()
    };
    users.retain(|user| !selection.exclude.iter().any(|pattern| means(pattern, user)));
    Ok(users)
}

async fn ask_one_by_one(client: &Client, names: &[String], coverage: &mut Vec<Coverage>) -> Result<Vec<User>> {
    let mut users: Vec<User> = Vec::new();
    for name in names {
        let url = format!("users/{}?$select={USER_PROPERTIES}", segment(name));
        match client.get_json(GraphRequest::get(Scope::Directory, url)).await {
            Ok(value) => match user(&value) {
                Some(user) if users.iter().any(|other| other.id == user.id) => (),
                Some(user) => users.push(user),
                None => coverage.push(Coverage {
                    user_id: text(&value, &["id"]).unwrap_or_default().to_owned(),
                    user: name.clone(),
                    workload: None,
                    state: CoverageState::Nothing("a guest: the data is in the home tenant".to_owned()),
                }),
            },
            Err(error) => match fate(&error) {
                Fate::Gone | Fate::NotProvisioned(_) => coverage.push(no_such_user(name)),
                _ => return Err(error.context(format!("Looking up the user {name} failed"))),
            },
        }
    }
    Ok(users)
}

fn no_such_user(name: &str) -> Coverage {
    Coverage {
        user_id: String::new(),
        user: name.to_owned(),
        workload: None,
        state: CoverageState::NoSuchUser(format!(
            "the selection names '{name}', and the tenant has no such user: correct the name or take it out"
        )),
    }
}

fn is_glob(pattern: &str) -> bool {
    pattern.contains(['*', '?'])
}

fn means(pattern: &str, user: &User) -> bool {
    user.id.eq_ignore_ascii_case(pattern) || glob_matches(pattern, &user.name)
}

/// Says whether a glob (`*`: any characters, `?`: one) matches a text, without regard to case.
fn glob_matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.to_lowercase().chars().collect();
    let text: Vec<char> = text.to_lowercase().chars().collect();
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || text.get(t) == Some(c) => {
                p += 1;
                t += 1;
            }
            _ => match star {
                // Let the last star swallow one character more.
                Some((place, from)) => {
                    star = Some((place, from + 1));
                    p = place + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|c| *c == '*')
}

#[derive(Default)]
struct Found {
    collections: Vec<Arc<dyn Collection>>,
    coverage: Vec<Coverage>,
}

impl Found {
    fn note(&mut self, user: &User, workload: Workload, state: CoverageState) {
        let (user_id, user) = (user.id.clone(), user.name.clone());
        self.coverage.push(Coverage { user_id, user, workload: Some(workload), state });
    }
}

async fn look_at(client: &Client, selection: &Selection, user: &User) -> Result<Found> {
    let mut found = Found::default();
    if selection.mail {
        let state = match probe_mailbox(client, user).await? {
            None => {
                found.collections.push(Arc::new(Mail::new(
                    client.clone(),
                    &user.id,
                    &user.name,
                    selection.mail_options,
                )));
                CoverageState::Covered(1)
            }
            Some(state) => state,
        };
        found.note(user, Workload::Mail, state);
    }
    if selection.onedrive {
        let state = match list_drives(client, user).await? {
            Ok(drives) => {
                let count = drives.len();
                found.collections.extend(drives.into_iter().map(|drive| Arc::new(drive) as Arc<dyn Collection>));
                CoverageState::Covered(count)
            }
            Err(state) => state,
        };
        found.note(user, Workload::OneDrive, state);
    }
    Ok(found)
}

/// Asks whether a user has a mailbox; `None`: yes.
async fn probe_mailbox(client: &Client, user: &User) -> Result<Option<CoverageState>> {
    let url = format!("users/{}/mailFolders/inbox?$select=id", segment(&user.id));
    let request = GraphRequest::get(Scope::Mailbox(user.id.clone()), url);
    match client.get_json(request).await {
        Ok(_) => Ok(None),
        Err(error) => without(error, "no mailbox").map(Some),
    }
}

async fn list_drives(client: &Client, user: &User) -> Result<Result<Vec<Drive>, CoverageState>> {
    let url = format!("users/{}/drives?$select=id,name,driveType", segment(&user.id));
    let rows = match client.get_all(GraphRequest::get(Scope::Files, url).units(2)).await {
        Ok(rows) => rows,
        Err(error) => return without(error, "no OneDrive").map(Err),
    };
    let mut seen = HashSet::new();
    let drives: Vec<(&str, &str, bool)> = rows
        .iter()
        .filter_map(|row| {
            let id = text(row, &["id"]).filter(|id| seen.insert(*id))?;
            let library = text(row, &["driveType"]) == Some("documentLibrary");
            Some((id, text(row, &["name"]).unwrap_or_default(), library))
        })
        .collect();
    // The user's own drive comes first where the service says which it is.
    let own = drives.iter().position(|(_, _, library)| !library).unwrap_or(0);
    let mut titles = HashSet::new();
    let named = drives.iter().enumerate().map(|(place, (id, name, _))| {
        let further = (place != own).then(|| {
            let name: String = name.chars().map(|c| if c.is_control() || c == '/' { '_' } else { c }).collect();
            if name.is_empty() || !titles.insert(name.clone()) { format!("{name} ~{id}") } else { name }
        });
        Drive::new(client.clone(), &user.id, &user.name, id, further.as_deref())
    });
    let named: Vec<Drive> = named.collect();
    Ok(if named.is_empty() { Err(CoverageState::Nothing("no OneDrive".to_owned())) } else { Ok(named) })
}

/// Says what an error of looking at one user means for the coverage.
fn without(error: Error, nothing: &str) -> Result<CoverageState> {
    match fate(&error) {
        Fate::Gone => Ok(CoverageState::Nothing(nothing.to_owned())),
        Fate::NotProvisioned(reason) => Ok(CoverageState::Nothing(reason)),
        Fate::Denied(reason) | Fate::Gap(reason) => Ok(CoverageState::Unreadable(reason)),
        Fate::Resync { .. } => Ok(CoverageState::Unreadable(error.to_string())),
        Fate::Fatal => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_principal_names() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*", "alice@contoso.com", true),
            ("ALICE@contoso.com", "alice@Contoso.com", true),
            ("*@contoso.com", "alice@contoso.com", true),
            ("*@contoso.com", "alice@contoso.com.evil.org", false),
            ("a*e@*", "alice@contoso.com", true),
            ("a*b*c", "a1b2b3c", true),
            ("?lice@*", "alice@x", true),
            ("?lice@*", "lice@x", false),
            ("alice", "alice@contoso.com", false),
            ("", "", true),
            ("**a", "bca", true),
        ] {
            assert_eq!(glob_matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn guests_are_no_users_and_a_missing_type_is_no_guest() {
        assert!(user(&serde_json::json!({"id": "1", "userPrincipalName": "a", "userType": "Guest"})).is_none());
        for kind in [serde_json::json!(null), serde_json::json!("Member")] {
            assert!(user(&serde_json::json!({"id": "1", "userPrincipalName": "a", "userType": kind})).is_some());
        }
    }
}
