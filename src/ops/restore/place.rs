//! Where a restore goes: the original place, or a user, site or team by the name that people know.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};
use crate::graph::links::{odata_string, segment};
use crate::graph::{Client, Fate, GraphRequest, Scope, fate};
use crate::m365::restore::Destination;
use crate::m365::{CollectionKey, Owner};

/// Where to, as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum To {
    /// To whom the items came from.
    Original,
    /// To a user (`bob@contoso.com`), a site (its address), or a team or group (its name or address).
    Named(String),
}

impl FromStr for To {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.trim() {
            "" => Err(Error::invalid("There is nothing to restore to").with_hint("Say --to original or --to USER")),
            "original" => Ok(Self::Original),
            name => Ok(Self::Named(name.to_owned())),
        }
    }
}

impl fmt::Display for To {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Original => "original",
            Self::Named(name) => name,
        })
    }
}

/// Says whether a path leads to what is the tenant's own, as its term store: in another tenant, too, nobody has to be named who
/// takes it.
pub fn is_of_tenant(path: &str) -> bool {
    path.trim_start_matches('/').split('/').next() == Some(Owner::Tenant.word())
}

/// Who takes what is restored.
#[derive(Debug, Clone)]
pub(super) struct Taker {
    pub(super) owner: Owner,
    pub(super) name: String,
}

/// Finds who is meant.
///
/// # Errors
/// `NotFound`; Graph's.
pub(super) async fn taker(client: &Client, to: &To) -> Result<Option<Taker>> {
    let To::Named(name) = to else { return Ok(None) };
    let found = match name.strip_prefix("https://") {
        Some(address) => site(client, address).await?,
        None => match user(client, name).await? {
            Some(user) => Some(user),
            None => group(client, name).await?,
        },
    };
    let missing = || {
        Error::not_found(format!("There is no user, site or team '{name}' in the tenant"))
            .with_hint("Users are named by their address, sites by https://…, teams by name or address")
    };
    found.map(Some).ok_or_else(missing)
}

fn id_of(row: &Value) -> Option<String> {
    row.get("id").and_then(Value::as_str).map(str::to_owned)
}

/// Asks for one thing; `None`: there is none.
async fn one(client: &Client, scope: Scope, url: String) -> Result<Option<Value>> {
    match client.get_json(GraphRequest::get(scope, url)).await {
        Ok(row) => Ok(Some(row)),
        Err(e) if fate(&e) == Fate::Gone || e.kind() == ErrorKind::InvalidInput => Ok(None),
        Err(e) => Err(e),
    }
}

async fn user(client: &Client, name: &str) -> Result<Option<Taker>> {
    let url = format!("users/{}?$select=id,userPrincipalName", segment(name));
    let Some(row) = one(client, Scope::Directory, url).await? else { return Ok(None) };
    let upn = row.get("userPrincipalName").and_then(Value::as_str).unwrap_or(name).to_owned();
    Ok(id_of(&row).map(|id| Taker { owner: Owner::User(id), name: upn }))
}

async fn site(client: &Client, address: &str) -> Result<Option<Taker>> {
    let (host, path) = address.trim_end_matches('/').split_once('/').unwrap_or((address, ""));
    let path: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(segment).collect();
    let url = match path.is_empty() {
        true => format!("sites/{host}?$select=id"),
        false => format!("sites/{host}:/{}?$select=id", path.join("/")),
    };
    let row = one(client, Scope::Files, url).await?;
    let name = address.trim_end_matches('/').to_owned();
    Ok(row.and_then(|row| id_of(&row)).map(|id| Taker { owner: Owner::Site(id), name }))
}

async fn group(client: &Client, name: &str) -> Result<Option<Taker>> {
    let by = if name.contains('@') { "mail" } else { "displayName" };
    let filter = format!("{by}%20eq%20{}", odata_string(name));
    let url = format!("groups?$select=id,displayName&$filter={filter}");
    let Some(page) = one(client, Scope::Directory, url).await? else { return Ok(None) };
    let rows = page.get("value").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    match rows {
        [] => Ok(None),
        [row] => Ok(id_of(row).map(|id| Taker { owner: Owner::Team(id), name: name.to_owned() })),
        _ => Err(Error::invalid(format!("Several teams are called '{name}'")).with_hint("Name it by its address")),
    }
}

/// Where the items of a collection go. The path of a collection begins with the word for its owner and the owner's name.
pub(super) fn destination(key: &CollectionKey, path: &str, taker: Option<&Taker>) -> Destination {
    let parts: Vec<&str> = path.split('/').collect();
    let title = parts.last().copied().unwrap_or_default().to_owned();
    let original_name = parts.get(1).copied().unwrap_or_default().to_owned();
    match taker {
        Some(taker) => Destination {
            original: taker.owner == key.owner,
            owner: taker.owner.clone(),
            name: taker.name.clone(),
            from: key.clone(),
            title,
        },
        None => Destination { owner: key.owner.clone(), name: original_name, from: key.clone(), title, original: true },
    }
}

#[cfg(test)]
mod tests {
    use super::is_of_tenant;

    #[test]
    fn only_the_term_store_is_the_tenants_own() {
        for path in ["tenant", "tenant/Term Store/People", "/tenant/terms"] {
            assert!(is_of_tenant(path), "{path}");
        }
        for path in ["", "/", "tenants/x", "users/tenant/Mail", "sites/contoso.sharepoint.com/Term Store"] {
            assert!(!is_of_tenant(path), "{path}");
        }
    }
}
