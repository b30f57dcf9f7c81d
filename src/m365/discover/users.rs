//! Which users a selection means.

use std::collections::HashSet;

use serde_json::Value;

use super::{Coverage, CoverageState, Selection};
use crate::error::Result;
use crate::graph::links::segment;
use crate::graph::{Client, Fate, GraphRequest, Scope, fate};
use crate::m365::door::Owner;
use crate::m365::facts::{at, text};
use crate::snapshot::set::{Effect, Facts, OwnerKind, Selection as Rules, Subject};

/// The properties of users that discovery reads.
const USER_PROPERTIES: &str =
    "id,userPrincipalName,displayName,mail,proxyAddresses,userType,accountEnabled,assignedLicenses";
/// With more users than this named one by one, the whole directory is listed instead.
const ASKED_ONE_BY_ONE: usize = 20;

/// A user of the tenant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct User {
    /// The directory's object id.
    pub id: String,
    /// The user principal name.
    pub name: String,
    /// The name to show.
    pub display_name: String,
    /// The address of the mailbox; empty: the directory tells none.
    pub mail: String,
    /// All its addresses, as far as the directory tells them.
    pub addresses: Vec<String>,
    /// Names, addresses and ids of groups that the user is in, as far as the selection asks for them.
    pub groups: Vec<String>,
    /// The licences: ids, and part numbers where the selection asks for them.
    pub licences: Vec<String>,
}

impl User {
    /// What rules are held against.
    pub fn facts(&self) -> Facts<'_> {
        Facts {
            kind: OwnerKind::User,
            names: vec![&self.name, &self.id],
            groups: self.groups.iter().map(String::as_str).collect(),
            licences: self.licences.iter().map(String::as_str).collect(),
        }
    }
}

/// Lists all users of the tenant but guests, who have nothing stored here. The client's budget learns how many have a licence.
///
/// # Errors
/// Graph's; a missing permission says so.
pub async fn all_users(client: &Client) -> Result<Vec<User>> {
    let url = format!("users?$select={USER_PROPERTIES}&$top=999");
    let request = GraphRequest::get(Scope::Directory, url).units(1);
    let rows =
        client.get_all(request).await.map_err(|error| error.context("Listing the users of the tenant failed"))?;
    let mut seen = HashSet::new();
    let users: Vec<User> = rows.iter().filter_map(user).filter(|user| seen.insert(user.id.clone())).collect();
    client.budget().learn_licences(users.iter().filter(|user| !user.licences.is_empty()).count());
    Ok(users)
}

/// Reads a user; `None`: a guest, or no user at all.
fn user(value: &Value) -> Option<User> {
    if text(value, &["userType"]).is_some_and(|kind| kind.eq_ignore_ascii_case("guest")) {
        return None;
    }
    let id = text(value, &["id"])?.to_owned();
    let name = text(value, &["userPrincipalName"]).unwrap_or(&id).to_owned();
    let display_name = text(value, &["displayName"]).unwrap_or_default().to_owned();
    let licences = at(value, &["assignedLicenses"]).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let licences = licences.iter().filter_map(|licence| text(licence, &["skuId"])).map(str::to_owned).collect();
    let mail = text(value, &["mail"]).unwrap_or_default().to_owned();
    let proxies = value.get("proxyAddresses").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    // `SMTP:` is the main one, `smtp:` another; the rest are no mail addresses.
    let mails = proxies.filter_map(|proxy| proxy.split_once(':').filter(|(kind, _)| kind.eq_ignore_ascii_case("smtp")));
    let addresses = mails.map(|(_, address)| address.to_owned()).collect();
    Some(User { id, name, display_name, mail, addresses, groups: Vec::new(), licences })
}

/// Finds the users that a selection means; names that mean nobody, and users whom it leaves out, are told in the
/// coverage.
pub(super) async fn select(client: &Client, selection: &Selection, coverage: &mut Vec<Coverage>) -> Result<Vec<User>> {
    let rules = &selection.rules;
    let mut users = match rules.only_named_users() {
        Some(names) if names.len() <= ASKED_ONE_BY_ONE => ask_one_by_one(client, &names, coverage).await?,
        _ => {
            let all = all_users(client).await?;
            let is_there = |name: &str| all.iter().any(|user| user.is_called(name));
            let named = rules.rules.iter().filter(|rule| rule.effect == Effect::Include);
            let named = named.filter_map(|rule| match &rule.subject {
                Subject::User(glob) if !glob.is_pattern() => Some(glob.as_str()),
                _ => None,
            });
            coverage.extend(named.filter(|name| !is_there(name)).map(no_such_user));
            all
        }
    };
    if rules.asks_for_groups() {
        add_groups(client, rules, &mut users).await?;
    }
    if rules.asks_for_licences() {
        add_licence_names(client, &mut users).await?;
    }
    let (selected, left_out): (Vec<User>, Vec<User>) =
        users.into_iter().partition(|user| rules.selects_any(&user.facts()));
    coverage.extend(left_out.into_iter().map(|user| Coverage {
        owner: Owner::User(user.id),
        name: user.name,
        workload: None,
        state: CoverageState::NotSelected,
    }));
    Ok(selected)
}

impl User {
    fn is_called(&self, name: &str) -> bool {
        self.id.eq_ignore_ascii_case(name) || self.name.to_lowercase() == name.to_lowercase()
    }
}

/// Notes with each user the groups that rules name and that the user is in, now.
async fn add_groups(client: &Client, rules: &Rules, users: &mut [User]) -> Result<()> {
    let url = "groups?$select=id,displayName,mail&$top=999";
    let groups = client.get_all(GraphRequest::get(Scope::Directory, url)).await;
    let groups = groups.map_err(|error| error.context("Listing the groups of the tenant failed"))?;
    for group in &groups {
        let Some(id) = text(group, &["id"]) else { continue };
        let names: Vec<&str> =
            ["displayName", "mail"].iter().filter_map(|key| text(group, &[key])).chain([id]).collect();
        let is_named = rules.rules.iter().any(|rule| match &rule.subject {
            Subject::Group(glob) => names.iter().any(|name| glob.matches(name)),
            _ => false,
        });
        if !is_named {
            continue;
        }
        let members: HashSet<String> = members_of(client, id).await?.into_iter().collect();
        for user in users.iter_mut().filter(|user| members.contains(&user.id)) {
            user.groups.extend(names.iter().map(ToString::to_string));
        }
    }
    Ok(())
}

/// The ids of all that are in a group; members of groups that are members count too.
///
/// # Errors
/// Graph's.
pub async fn members_of(client: &Client, group: &str) -> Result<Vec<String>> {
    let url = format!("groups/{}/transitiveMembers?$select=id&$top=999", segment(group));
    let members = client.get_all(GraphRequest::get(Scope::Directory, url).units(4)).await;
    let members = members.map_err(|error| error.context(format!("Listing the members of group {group} failed")))?;
    Ok(members.iter().filter_map(|member| text(member, &["id"])).map(str::to_owned).collect())
}

/// Adds the part number of each licence to its id.
async fn add_licence_names(client: &Client, users: &mut [User]) -> Result<()> {
    let request = GraphRequest::get(Scope::Directory, "subscribedSkus?$select=skuId,skuPartNumber").units(2);
    let rows = client.get_all(request).await;
    let rows = rows.map_err(|error| error.context("Listing the licences of the tenant failed"))?;
    for user in users {
        let has = |row: &&Value| text(row, &["skuId"]).is_some_and(|id| user.licences.iter().any(|has| has == id));
        let names: Vec<String> =
            rows.iter().filter(has).filter_map(|row| text(row, &["skuPartNumber"])).map(str::to_owned).collect();
        user.licences.extend(names);
    }
    Ok(())
}

async fn ask_one_by_one(client: &Client, names: &[&str], coverage: &mut Vec<Coverage>) -> Result<Vec<User>> {
    let mut users: Vec<User> = Vec::new();
    for name in names {
        let url = format!("users/{}?$select={USER_PROPERTIES}", segment(name));
        match client.get_json(GraphRequest::get(Scope::Directory, url)).await {
            Ok(value) => match user(&value) {
                Some(user) if users.iter().any(|other| other.id == user.id) => (),
                Some(user) => users.push(user),
                None => coverage.push(Coverage {
                    owner: Owner::User(text(&value, &["id"]).unwrap_or_default().to_owned()),
                    name: (*name).to_owned(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_are_no_users_and_a_missing_type_is_no_guest() {
        assert!(user(&serde_json::json!({"id": "1", "userPrincipalName": "a", "userType": "Guest"})).is_none());
        for kind in [serde_json::json!(null), serde_json::json!("Member")] {
            assert!(user(&serde_json::json!({"id": "1", "userPrincipalName": "a", "userType": kind})).is_some());
        }
    }
}
