//! Which users a selection means.

use std::collections::HashSet;

use serde_json::Value;

use super::{Coverage, CoverageState, Selection};
use crate::error::Result;
use crate::graph::links::segment;
use crate::graph::{Client, Fate, GraphRequest, Scope, fate};
use crate::m365::door::Owner;
use crate::m365::facts::text;

/// The properties of users that discovery reads.
const USER_PROPERTIES: &str = "id,userPrincipalName,displayName,mail,userType,accountEnabled";
/// With more users than this named one by one, the whole directory is listed instead.
const ASKED_ONE_BY_ONE: usize = 20;

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

/// Finds the users that a selection means; names that mean nobody are told in the coverage.
pub(super) async fn select(client: &Client, selection: &Selection, coverage: &mut Vec<Coverage>) -> Result<Vec<User>> {
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
                    owner: Owner::User(text(&value, &["id"]).unwrap_or_default().to_owned()),
                    name: name.clone(),
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
        owner: Owner::User(String::new()),
        name: name.to_owned(),
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
