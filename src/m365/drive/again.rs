//! What is sent to make an item again as it was: its times, links like those that were, and the rights of people.
//!
//! Source: Microsoft Graph, "driveItem: createLink", "driveItem: invite".

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::format::record::Record;
use crate::m365::facts::{at, text};

/// The times that people see, as they are sent.
pub(super) fn times(record: &Record) -> Value {
    let mut times = Map::new();
    for (name, us) in [("createdDateTime", record.created_us), ("lastModifiedDateTime", record.modified_us)] {
        if let Some(time) = us.and_then(|us| Timestamp::from_microsecond(us).ok()) {
            times.insert(name.to_owned(), time.to_string().into());
        }
    }
    times.into()
}

/// What is sent to make a link like one that was.
pub(super) fn link(permission: &Value) -> Value {
    let of_link = |name: &str| at(permission, &["link", name]).cloned();
    let mut body = Map::new();
    for (name, value) in [("type", of_link("type")), ("scope", of_link("scope"))] {
        body.extend(value.filter(Value::is_string).map(|value| (name.to_owned(), value)));
    }
    body.extend(
        at(permission, &["expirationDateTime"])
            .filter(|time| time.is_string())
            .map(|time| ("expirationDateTime".to_owned(), time.clone())),
    );
    let people = at(permission, &["grantedToIdentitiesV2"]).and_then(Value::as_array).into_iter().flatten();
    let emails: Vec<Value> = people
        .filter_map(|one| text(one, &["user", "email"]).or_else(|| text(one, &["siteUser", "email"])))
        .map(|email| json!({"email": email}))
        .collect();
    if !emails.is_empty() {
        body.insert("recipients".to_owned(), emails.into());
    }
    body.insert("sendNotification".to_owned(), false.into());
    body.into()
}

/// What is sent to give a right again; `None`: there is nothing to give (the owner has it).
pub(super) fn invitation(permission: &Value) -> Result<Option<Value>, &'static str> {
    let roles: Vec<&str> =
        at(permission, &["roles"]).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    if roles.contains(&"owner") {
        return Ok(None);
    }
    if at(permission, &["link"]).is_some() {
        return Err("a sharing link is not made again: its address would be another one (--links makes a new one)");
    }
    let recipient =
        match (text(permission, &["grantedToV2", "user", "id"]), text(permission, &["grantedToV2", "user", "email"])) {
            (_, Some(email)) => json!({"email": email}),
            (Some(id), None) => json!({"objectId": id}),
            (None, None) => match text(permission, &["grantedToV2", "group", "id"]) {
                Some(id) => json!({"objectId": id}),
                None => return Err("a permission of a SharePoint group cannot be given through Graph"),
            },
        };
    let roles: Vec<&str> = roles.into_iter().filter(|role| ["read", "write"].contains(role)).collect();
    if roles.is_empty() {
        return Err("a permission with a role of its own cannot be given through Graph");
    }
    let body = json!({"recipients": [recipient], "roles": roles, "requireSignIn": true, "sendInvitation": false});
    Ok(Some(body))
}
