//! Users, licences and the organisation.

use serde_json::{Map, Value, json};

use super::app::App;
use super::properties;
use super::query::{Fields, Request};
use super::reply::{Answer, Reply};
use super::rng::{guid, hash};
use super::state::{DOMAIN, User, UserKind, World};
use super::times;

/// Service plans of the one licence in use (Microsoft 365 E3): name, service, plan id.
const PLANS: &[(&str, &str, &str)] = &[
    ("EXCHANGE_S_ENTERPRISE", "exchange", "efb87545-963c-4e0d-99df-69c6916d9eb0"),
    ("SHAREPOINTENTERPRISE", "SharePoint", "5dbe027f-2339-4123-9542-606e4d348a72"),
    ("TEAMS1", "TeamspaceAPI", "57ff2da0-773e-42df-b2af-ffb7a2317929"),
    ("EXCHANGE_S_FOUNDATION", "exchange", "113feb6c-3fe4-4440-bddc-54d774bf0318"),
];
const SKU: &str = "05e9a617-0261-4cee-bb44-138d3ef5d965";
const SKU_NAME: &str = "SPE_E3";
/// Properties that `/users` gives when none are selected.
const USUAL: &[&str] = &[
    "businessPhones",
    "displayName",
    "givenName",
    "jobTitle",
    "mail",
    "mobilePhone",
    "officeLocation",
    "preferredLanguage",
    "surname",
    "userPrincipalName",
    "id",
];

/// Finds a user for a directory request.
pub(super) fn find(world: &World, name: &str) -> Result<usize, Reply> {
    world.user(name).ok_or_else(|| {
        let message = format!(
            "Resource '{name}' does not exist or one of its queried reference-property objects are not present."
        );
        Reply::fail(404, "Request_ResourceNotFound", &message)
    })
}

/// `GET /users`
pub(super) fn users(app: &App, request: &Request) -> Answer {
    request.allow(&["$select", "$top", "$filter", "$count", "$orderby", "$skiptoken", "$search"])?;
    let fields = request.select("user", properties::USER)?;
    let top = request.top()?;
    if top.is_some_and(|t| t == 0 || t > 999) {
        let message = "Invalid page size specified: must be between 1 and 999 inclusive.";
        return Err(Reply::fail(400, "Request_BadRequest", message));
    }
    let n = top.unwrap_or(app.options.pages.users);
    let filter = request.option("$filter").map(Filter::parse).transpose()?;
    let start = match request.option("$skiptoken") {
        Some(token) => token.strip_prefix("RFNwdAIAAQ").and_then(|t| t.parse().ok()).ok_or_else(|| {
            Reply::fail(400, "Directory_ExpiredPageToken", "The specified page token value has expired.")
        })?,
        None => 0usize,
    };
    let world = app.read();
    let listed = world.users.iter().filter(|u| u.present && filter.as_ref().is_none_or(|f| f.admits(u)));
    let rows: Vec<&User> = listed.skip(start).take(n + 1).collect();
    let mut body = Map::new();
    body.insert("@odata.context".into(), format!("{}/v1.0/$metadata#users", app.base_url).into());
    if request.option("$count") == Some("true") {
        body.insert("@odata.count".into(), world.users.iter().filter(|u| u.present).count().into());
    }
    if rows.len() > n {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for name in ["$select", "$top", "$filter"] {
            if let Some(value) = request.option(name) {
                query.append_pair(name, value);
            }
        }
        query.append_pair("$skiptoken", &format!("RFNwdAIAAQ{}", start + n));
        body.insert("@odata.nextLink".into(), format!("{}/v1.0/users?{}", app.base_url, query.finish()).into());
    }
    let rows: Vec<Value> = rows.into_iter().take(n).map(|u| user_json(u, &fields)).collect();
    body.insert("value".into(), rows.into());
    Ok(Reply::json(body.into()))
}

/// The filters that tenants are commonly listed with.
enum Filter {
    Type(String),
    Enabled(bool),
    Name(String, String),
}

impl Filter {
    fn parse(text: &str) -> Result<Self, Reply> {
        let parts: Vec<&str> = text.splitn(3, ' ').collect();
        match parts[..] {
            ["userType", "eq", v] => Ok(Self::Type(v.trim_matches('\'').into())),
            ["accountEnabled", "eq", v] => Ok(Self::Enabled(v == "true")),
            [name @ ("userPrincipalName" | "mail" | "id" | "displayName"), "eq", v] => {
                Ok(Self::Name(name.into(), v.trim_matches('\'').into()))
            }
            _ => Err(Reply::fail(
                400,
                "Request_UnsupportedQuery",
                "Unsupported or invalid query filter clause specified.",
            )),
        }
    }

    fn admits(&self, user: &User) -> bool {
        match self {
            Self::Type(wanted) => user_type(user) == wanted,
            Self::Enabled(wanted) => enabled(user) == *wanted,
            Self::Name(property, wanted) => value(user, property).as_str() == Some(wanted.as_str()),
        }
    }
}

/// `GET /users/{id}`
pub(super) fn user(app: &App, request: &Request, index: usize) -> Answer {
    request.allow(&["$select", "$expand"])?;
    let fields = request.select("user", properties::USER)?;
    let world = app.read();
    let mut body = user_json(&world.users[index], &fields);
    if let Some(map) = body.as_object_mut() {
        map.shift_insert(0, "@odata.context".into(), format!("{}/v1.0/$metadata#users/$entity", app.base_url).into());
    }
    Ok(Reply::json(body))
}

fn user_type(user: &User) -> &'static str {
    if user.kind == UserKind::Guest { "Guest" } else { "Member" }
}

fn enabled(user: &User) -> bool {
    !matches!(user.kind, UserKind::Shared | UserKind::Room)
}

/// A user as a member of something.
pub(super) fn member_json(request: &Request, user: &User) -> Answer<Value> {
    let mut row = user_json(user, &request.select("user", properties::USER)?);
    if let Some(map) = row.as_object_mut() {
        map.shift_insert(0, "@odata.type".into(), "#microsoft.graph.user".into());
    }
    Ok(row)
}

fn user_json(user: &User, fields: &Fields) -> Value {
    let mut map = Map::new();
    let names: Vec<&str> = match &fields.0 {
        Some(names) => names.iter().map(String::as_str).collect(),
        None => USUAL.to_vec(),
    };
    for name in names {
        map.insert(name.into(), value(user, name));
    }
    // `id` comes along whatever is selected.
    if !map.contains_key("id") {
        map.insert("id".into(), user.id.clone().into());
    }
    map.into()
}

fn value(user: &User, name: &str) -> Value {
    let licensed = user.kind.licensed();
    let (given, family) = user.person.name.split_once(' ').unwrap_or((&user.person.name, ""));
    match name {
        "id" => user.id.clone().into(),
        "userPrincipalName" => user.upn.clone().into(),
        "displayName" => user.person.name.clone().into(),
        "givenName" => given.into(),
        "surname" => family.into(),
        "mail" => user.person.address.clone().into(),
        "mailNickname" => user.person.address.split('@').next().unwrap_or_default().into(),
        "userType" => user_type(user).into(),
        "accountEnabled" => enabled(user).into(),
        "businessPhones" | "otherMails" | "imAddresses" => json!([]),
        "proxyAddresses" => {
            json!([format!("SMTP:{}", user.person.address), format!("smtp:aka.{}", user.person.address)])
        }
        "preferredLanguage" => if user.german { "de-DE" } else { "en-GB" }.into(),
        "jobTitle" => if licensed { "Clerk".into() } else { Value::Null },
        "department" => if licensed { "Sales".into() } else { Value::Null },
        "usageLocation" => if licensed { "DE".into() } else { Value::Null },
        "createdDateTime" => times::graph(times::EPOCH - 700 * times::DAY).into(),
        "onPremisesSyncEnabled" => if user.kind == UserKind::WithoutMailbox { true.into() } else { Value::Null },
        "assignedLicenses" if licensed => json!([{"disabledPlans": [], "skuId": SKU}]),
        "assignedPlans" if licensed => PLANS.iter().map(|(_, service, id)| json!({
            "assignedDateTime": "2025-01-07T10:00:00Z", "capabilityStatus": "Enabled", "service": service, "servicePlanId": id,
        })).collect(),
        "assignedLicenses" | "assignedPlans" | "provisionedPlans" => json!([]),
        _ => Value::Null,
    }
}

fn service_plans() -> Value {
    PLANS
        .iter()
        .map(|(name, _, id)| {
            json!({
                "servicePlanId": id, "servicePlanName": name, "provisioningStatus": "Success", "appliesTo": "User",
            })
        })
        .collect()
}

/// `GET /users/{id}/licenseDetails`
pub(super) fn license_details(app: &App, request: &Request, index: usize) -> Answer {
    request.allow(&["$select"])?;
    request.select("licenseDetails", properties::LICENSE_DETAILS)?;
    let world = app.read();
    let user = &world.users[index];
    let row = json!({"id": guid(hash(7, &[index as u64])), "skuId": SKU, "skuPartNumber": SKU_NAME, "servicePlans": service_plans()});
    let rows = if user.kind.licensed() { json!([row]) } else { json!([]) };
    let context = format!("{}/v1.0/$metadata#users('{}')/licenseDetails", app.base_url, user.id);
    Ok(Reply::json(json!({"@odata.context": context, "value": rows})))
}

/// `GET /subscribedSkus`
pub(super) fn subscribed_skus(app: &App, request: &Request) -> Answer {
    request.allow(&["$select"])?;
    request.select("subscribedSku", properties::SUBSCRIBED_SKU)?;
    let world = app.read();
    Ok(Reply::json(json!({
        "@odata.context": format!("{}/v1.0/$metadata#subscribedSkus", app.base_url),
        "value": [{
            "capabilityStatus": "Enabled",
            "consumedUnits": world.licences(),
            "id": format!("{}_{SKU}", world.tenant_id),
            "prepaidUnits": {"enabled": world.licences() + 3, "suspended": 0, "warning": 0},
            "servicePlans": service_plans(),
            "skuId": SKU,
            "skuPartNumber": SKU_NAME,
            "appliesTo": "User",
        }],
    })))
}

/// `GET /organization`
pub(super) fn organization(app: &App, request: &Request) -> Answer {
    request.allow(&["$select", "$top"])?;
    request.select("organization", properties::ORGANIZATION)?;
    let world = app.read();
    Ok(Reply::json(json!({
        "@odata.context": format!("{}/v1.0/$metadata#organization", app.base_url),
        "value": [{
            "id": world.tenant_id,
            "displayName": "Contoso",
            "countryLetterCode": "DE",
            "createdDateTime": "2020-01-01T00:00:00Z",
            "tenantType": "AAD",
            "businessPhones": ["8006427676"],
            "assignedPlans": PLANS.iter().map(|(_, service, id)| json!({
                "assignedDateTime": "2025-01-07T10:00:00Z", "capabilityStatus": "Enabled", "service": service, "servicePlanId": id,
            })).collect::<Vec<_>>(),
            "verifiedDomains": [
                {"capabilities": "Email, OfficeCommunicationsOnline", "isDefault": true, "isInitial": false, "name": DOMAIN, "type": "Managed"},
                {"capabilities": "Email", "isDefault": false, "isInitial": true, "name": "contoso.onmicrosoft.com", "type": "Managed"},
            ],
        }],
    })))
}
