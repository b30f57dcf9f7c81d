//! What a tenant has, for people who decide what a set selects: users, groups, teams and sites.
//!
//! What Graph does not let list is told with the reason; without the users there is nothing to tell.

use std::collections::HashMap;

use futures::StreamExt;
use serde_json::Value;

use super::USERS_AT_ONCE;
use super::signed_in::alone;
use crate::error::Result;
use crate::graph::links::segment;
use crate::graph::{Caller, Client, Fate, GraphRequest, Scope, fate};
use crate::m365::facts::{at, flag, text};
use crate::snapshot::set::{Facts, OwnerKind};

/// Something that owns data.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listed {
    /// `user`, `guest`, `shared`, `room`, `equipment`, `unlicensed`; `group`, `team`, `site`, `personal-site`.
    pub kind: String,
    /// Graph's id of it.
    pub id: String,
    /// The name that rules go by: a user principal name, a group's name, a site's address.
    pub name: String,
    /// The name to show.
    pub title: String,
    /// Part numbers of a user's licences; ids where Graph does not tell their names.
    pub licences: Vec<String>,
    /// The user may not sign in.
    pub blocked: bool,
    /// What rules know it by beside these: ids of a user's licences, the nickname of a group without an address, the short
    /// name of a site.
    pub also: Vec<String>,
}

impl Listed {
    /// What rules are held against, of an owner of this kind; `groups`: names, addresses and ids of the groups that a user is
    /// in. They are the facts that a backup's discovery holds rules against.
    pub fn facts<'a>(&'a self, kind: OwnerKind, groups: Vec<&'a str>) -> Facts<'a> {
        let also = self.also.iter().map(String::as_str);
        let mut facts = Facts { kind, names: vec![&self.name, &self.id], groups, licences: Vec::new() };
        if kind == OwnerKind::User {
            facts.licences = self.licences.iter().map(String::as_str).chain(also).collect();
        } else {
            facts.names.extend(also.chain([self.title.as_str()]).filter(|name| !name.is_empty()));
        }
        facts
    }
}

/// What a tenant has.
#[derive(Debug, Clone, Default)]
pub struct Tenant {
    /// Users, then groups and teams, then sites.
    pub owners: Vec<Listed>,
    /// What could not be listed, and why.
    pub unlisted: Vec<(&'static str, String)>,
}

/// Lists what a tenant has, as far as permissions allow, and asks what each mailbox without a licence is for.
///
/// # Errors
/// When the users cannot be listed.
pub async fn list(client: &Client) -> Result<Tenant> {
    let mut tenant = list_names(client).await?;
    tenant.owners = futures::stream::iter(tenant.owners)
        .map(|owner| async move { with_purpose(client, owner).await })
        .buffered(USERS_AT_ONCE)
        .collect()
        .await;
    Ok(tenant)
}

/// As [`list`], in a request for a thousand of a kind: shared mailboxes, rooms and equipment are `user`, as everybody without a
/// licence is.
///
/// # Errors
/// As [`list`].
pub async fn list_names(client: &Client) -> Result<Tenant> {
    let mut tenant = Tenant::default();
    if let Some(me) = alone(client).await? {
        tenant.owners.push(Listed { kind: "user".to_owned(), id: me.id, name: me.name, ..Listed::default() });
    } else {
        tenant.owners = users(client, &mut tenant).await?;
    }
    // A personal account has neither sites nor groups, and Graph refuses the questions.
    if client.caller() == Caller::Personal {
        return Ok(tenant);
    }
    let url = "groups?$select=id,displayName,mail,mailNickname,groupTypes,resourceProvisioningOptions&$top=999";
    let groups = tenant.rows(client, "groups and teams", url, Scope::Directory).await?;
    tenant.owners.extend(groups.iter().filter_map(group));
    let url = super::sites::listing(client, "id,name,displayName,webUrl,isPersonalSite");
    let sites = tenant.rows(client, "sites", &url, Scope::Files).await?;
    tenant.owners.extend(sites.iter().filter_map(site));
    Ok(tenant)
}

/// All users, with the names of their licences.
async fn users(client: &Client, tenant: &mut Tenant) -> Result<Vec<Listed>> {
    let url = "users?$select=id,userPrincipalName,displayName,userType,accountEnabled,assignedLicenses&$top=999";
    let users = client.get_all(GraphRequest::get(Scope::Directory, url)).await;
    let users = users.map_err(|error| error.context("Listing the users of the tenant failed"))?;
    let names = tenant.rows(client, "licences", "subscribedSkus?$select=skuId,skuPartNumber", Scope::Directory).await?;
    let names: HashMap<&str, &str> =
        names.iter().filter_map(|row| Some((text(row, &["skuId"])?, text(row, &["skuPartNumber"])?))).collect();
    Ok(users.iter().filter_map(|row| user(row, &names)).collect())
}

impl Tenant {
    /// Asks for a list that may be refused.
    async fn rows(&mut self, client: &Client, what: &'static str, url: &str, scope: Scope) -> Result<Vec<Value>> {
        let error = match client.get_all(GraphRequest::get(scope, url)).await {
            Ok(rows) => return Ok(rows),
            Err(error) => error,
        };
        let reason = match fate(&error) {
            Fate::Denied(reason) | Fate::Gap(reason) | Fate::NotProvisioned(reason) => reason,
            _ if crate::graph::graph_error(&error).is_some_and(|answer| answer.status != 401) => error.to_string(),
            Fate::Gone | Fate::Resync { .. } => error.to_string(),
            Fate::Fatal => return Err(error.context(format!("Listing the {what} of the tenant failed"))),
        };
        self.unlisted.push((what, reason));
        Ok(Vec::new())
    }
}

fn user(row: &Value, names: &HashMap<&str, &str>) -> Option<Listed> {
    let id = text(row, &["id"])?;
    let is_guest = text(row, &["userType"]).is_some_and(|kind| kind.eq_ignore_ascii_case("guest"));
    let licences = at(row, &["assignedLicenses"]).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let licences: Vec<&str> = licences.iter().filter_map(|licence| text(licence, &["skuId"])).collect();
    Some(Listed {
        kind: if is_guest { "guest" } else { "user" }.to_owned(),
        id: id.to_owned(),
        name: text(row, &["userPrincipalName"]).unwrap_or(id).to_owned(),
        title: text(row, &["displayName"]).unwrap_or_default().to_owned(),
        licences: licences.iter().map(|id| names.get(id).copied().unwrap_or(id).to_owned()).collect(),
        blocked: flag(row, &["accountEnabled"]) == Some(false),
        also: licences.iter().filter(|id| names.contains_key(*id)).map(ToString::to_string).collect(),
    })
}

/// Asks what the mailbox of somebody without a licence is for: shared ones, rooms and equipment need none.
async fn with_purpose(client: &Client, mut user: Listed) -> Listed {
    if user.kind != "user" || !user.licences.is_empty() {
        return user;
    }
    let url = format!("users/{}/mailboxSettings?$select=userPurpose", segment(&user.id));
    let asked = client.ask(GraphRequest::get(Scope::Mailbox(user.id.clone()), url)).await;
    let purpose = asked.ok().and_then(|settings| text(&settings, &["userPurpose"]).map(str::to_owned));
    user.kind = purpose.filter(|purpose| purpose != "user").unwrap_or_else(|| "unlicensed".to_owned());
    user
}

fn group(row: &Value) -> Option<Listed> {
    let has = |key: &str, word: &str| {
        let words = at(row, &[key]).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        words.iter().any(|w| w.as_str() == Some(word))
    };
    let id = text(row, &["id"])?;
    let name = text(row, &["displayName"]).unwrap_or(id);
    let kind = if has("resourceProvisioningOptions", "Team") {
        "team"
    } else if has("groupTypes", "Unified") {
        "group"
    } else {
        // It owns nothing; rules can go by its members.
        "members"
    };
    Some(Listed {
        kind: kind.to_owned(),
        id: id.to_owned(),
        name: name.to_owned(),
        title: text(row, &["mail"]).unwrap_or_default().to_owned(),
        // A group with an address is not known by its nickname.
        also: text(row, &["mailNickname"])
            .filter(|_| text(row, &["mail"]).is_none())
            .map(str::to_owned)
            .into_iter()
            .collect(),
        ..Listed::default()
    })
}

fn site(row: &Value) -> Option<Listed> {
    let id = text(row, &["id"])?;
    let kind = if flag(row, &["isPersonalSite"]) == Some(true) { "personal-site" } else { "site" };
    Some(Listed {
        kind: kind.to_owned(),
        id: id.to_owned(),
        name: text(row, &["webUrl"]).unwrap_or(id).to_owned(),
        title: text(row, &["displayName"]).or_else(|| text(row, &["name"])).unwrap_or_default().to_owned(),
        also: text(row, &["name"]).map(str::to_owned).into_iter().collect(),
        ..Listed::default()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn kinds_follow_from_what_graph_tells() {
        let kind_of = |row: Value| group(&row).unwrap().kind;
        assert_eq!(
            kind_of(json!({"id": "1", "resourceProvisioningOptions": ["Team"], "groupTypes": ["Unified"]})),
            "team"
        );
        assert_eq!(kind_of(json!({"id": "1", "groupTypes": ["Unified"]})), "group");
        assert_eq!(kind_of(json!({"id": "1", "groupTypes": null})), "members");
        let names = HashMap::from([("s", "SPE_E3")]);
        let row = json!({"id": "1", "userType": "Guest", "accountEnabled": false, "assignedLicenses": [{"skuId": "s"}, {"skuId": "t"}, 7]});
        let guest = user(&row, &names).unwrap();
        assert_eq!((guest.kind.as_str(), guest.name.as_str(), guest.blocked), ("guest", "1", true));
        assert_eq!(
            (guest.licences.len(), guest.facts(OwnerKind::User, vec![]).licences),
            (2, vec!["SPE_E3", "t", "s"])
        );
        assert!(user(&json!({"userPrincipalName": "x"}), &names).is_none() && site(&json!({})).is_none());
        assert_eq!(site(&json!({"id": "1", "isPersonalSite": true, "webUrl": "u"})).unwrap().kind, "personal-site");
    }
}
