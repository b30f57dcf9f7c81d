//! Which drive of an owner is meant.

use serde_json::Value;

use crate::error::{Error, Result};
use crate::graph::links::segment;
use crate::graph::{Client, GraphRequest, Scope};
use crate::m365::door::Owner;
use crate::m365::facts::{at, text};

/// The drive of an owner: a user's OneDrive; of a site or group the library of that name, else the first.
pub(super) async fn drive_of(client: &Client, owner: &Owner, name: &str, title: &str) -> Result<String> {
    let get = |url: String| client.get_json(GraphRequest::get(Scope::Files, url));
    let no_drive = || Error::not_found(format!("{name} has no library to restore into"));
    let id = segment(owner.id());
    let drives = match owner {
        Owner::User(_) => {
            let drive = get(format!("users/{id}/drive?$select=id")).await?;
            return text(&drive, &["id"]).map(str::to_owned).ok_or_else(no_drive);
        }
        Owner::Site(_) => get(format!("sites/{id}/drives?$select=id,name")).await?,
        Owner::Group(_) | Owner::Team(_) => get(format!("groups/{id}/drives?$select=id,name")).await?,
        Owner::Tenant => return Err(no_drive()),
    };
    let rows = at(&drives, &["value"]).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let same = rows.iter().find(|drive| text(drive, &["name"]) == Some(title));
    same.or(rows.first()).and_then(|drive| text(drive, &["id"])).map(str::to_owned).ok_or_else(no_drive)
}
