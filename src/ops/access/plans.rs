//! Which service plans the users have: a hint at how many have a mailbox or a OneDrive, no proof.

use serde::Serialize;
use serde_json::Value;

use crate::error::Result;
use crate::graph::{Caller, Client, Fate, GraphRequest, Scope, fate};

/// A plan of this id is part of nearly every licence and is no mailbox (EXCHANGE_S_FOUNDATION).
const NO_MAILBOX: &str = "113feb6c-3fe4-4440-bddc-54d774bf0318";

/// How many users have a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Plans {
    /// Users asked about, without guests.
    pub users: u64,
    /// With a mailbox by their plan; shared and room mailboxes need none.
    pub exchange: u64,
    /// With SharePoint and OneDrive.
    pub sharepoint: u64,
    /// With Teams.
    pub teams: u64,
}

/// Counts the plans of all users, or of the one who is signed in; `None`: they are not told.
///
/// # Errors
/// The network's.
pub async fn plans(client: &Client) -> Result<Option<Plans>> {
    let found = match client.caller() {
        Caller::Personal => return Ok(None),
        Caller::Work => client.get_json(get("me?$select=id,userType,assignedPlans")).await.map(|row| vec![row]),
        Caller::App => client.get_all(get("users?$select=id,userType,assignedPlans&$top=999")).await,
    };
    match found {
        Ok(rows) => Ok(Some(count(&rows))),
        Err(error) => match fate(&error) {
            Fate::Fatal => Err(error),
            _ => Ok(None),
        },
    }
}

fn get(url: &str) -> GraphRequest {
    GraphRequest::get(Scope::Directory, url)
}

fn count(users: &[Value]) -> Plans {
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut plans = Plans::default();
    for user in users.iter().filter(|user| !text(user, "userType").eq_ignore_ascii_case("guest")) {
        let assigned = user.get("assignedPlans").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let usable: Vec<&Value> = assigned
            .iter()
            .filter(|plan| matches!(text(plan, "capabilityStatus").as_str(), "Enabled" | "Warning"))
            .collect();
        let has = |service: &str| {
            let of_service = |plan: &&&Value| text(plan, "service").eq_ignore_ascii_case(service);
            usable.iter().filter(of_service).any(|plan| text(plan, "servicePlanId") != NO_MAILBOX)
        };
        plans.users += 1;
        plans.exchange += u64::from(has("exchange"));
        plans.sharepoint += u64::from(has("SharePoint"));
        plans.teams += u64::from(has("TeamspaceAPI"));
    }
    plans
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_plans_that_can_be_used_count_and_the_foundation_is_no_mailbox() {
        let plan = |service: &str, state: &str, id: &str| json!({"service": service, "capabilityStatus": state, "servicePlanId": id});
        let users = [
            json!({"assignedPlans": [plan("exchange", "Enabled", "a"), plan("TeamspaceAPI", "Deleted", "b")]}),
            json!({"assignedPlans": [plan("exchange", "Enabled", NO_MAILBOX), plan("SharePoint", "Warning", "c")], "userType": null}),
            json!({"assignedPlans": [plan("exchange", "Enabled", "a")], "userType": "Guest"}),
            json!({"assignedPlans": "nonsense"}),
        ];
        assert_eq!(count(&users), Plans { users: 3, exchange: 1, sharepoint: 1, teams: 0 });
    }
}
