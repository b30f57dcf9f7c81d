//! The app's registration, as far as it tells until when the app's secret is good.

use serde_json::{Value, json};

use super::app::App;
use super::query::Request;
use super::reply::{Answer, Reply};
use super::rng::guid;
use super::times;

const APPLICATION: &[&str] = &[
    "id",
    "appId",
    "displayName",
    "signInAudience",
    "identifierUris",
    "publisherDomain",
    "passwordCredentials",
    "keyCredentials",
];

/// `GET /applications`
pub(super) fn applications(app: &App, request: &Request) -> Answer {
    request.allow(&["$select", "$filter", "$top"])?;
    let fields = request.select("application", APPLICATION)?;
    let wanted = match request.option("$filter") {
        None => true,
        Some(filter) => {
            let id = filter.strip_prefix("appId eq '").and_then(|rest| rest.strip_suffix('\''));
            let unsupported = || {
                Reply::fail(400, "Request_UnsupportedQuery", "Unsupported or invalid query filter clause specified.")
            };
            id.ok_or_else(unsupported)? == app.auth.client_id
        }
    };
    let now = app.auth.now().as_secs() as i64;
    let ends = now + i64::from(app.options.secret_days) * times::DAY + times::DAY / 2;
    let secret = |name: &str, hint: &str, ends: i64, number: u64| {
        json!({
            "customKeyIdentifier": null, "displayName": name, "endDateTime": times::graph(ends), "hint": hint,
            "keyId": guid(number), "secretText": null, "startDateTime": times::graph(ends - 180 * times::DAY),
        })
    };
    let all = json!({
        "id": guid(0xa9), "appId": app.auth.client_id, "displayName": "Tenantvault", "signInAudience": "AzureADMyOrg",
        "identifierUris": [], "publisherDomain": super::state::DOMAIN, "keyCredentials": [],
        "passwordCredentials": [
            secret("an older one", "aaa", now - times::DAY, 1),
            secret("backup", app.auth.secret.get(..3).unwrap_or_default(), ends, 2),
        ],
    });
    let row: serde_json::Map<String, Value> = all
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| fields.wants(name))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    let rows: Vec<Value> = wanted.then_some(row.into()).into_iter().collect();
    Ok(Reply::json(json!({"@odata.context": format!("{}/v1.0/$metadata#applications", app.base_url), "value": rows})))
}
