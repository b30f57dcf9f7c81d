//! The registrations of both apps, as far as they tell until when the apps' secrets are good.

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
        None => None,
        Some(filter) => {
            let id = filter.strip_prefix("appId eq '").and_then(|rest| rest.strip_suffix('\''));
            let unsupported = || {
                Reply::fail(400, "Request_UnsupportedQuery", "Unsupported or invalid query filter clause specified.")
            };
            Some(id.ok_or_else(unsupported)?)
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
    let registered = |id: u64, client_id: &str, name: &str, secrets: Value| {
        json!({
            "id": guid(id), "appId": client_id, "displayName": name, "signInAudience": "AzureADMyOrg",
            "identifierUris": [], "publisherDomain": super::state::DOMAIN, "keyCredentials": [],
            "passwordCredentials": secrets,
        })
    };
    let hint = |secret: &str| secret.get(..3).unwrap_or_default().to_owned();
    let (older, newer) =
        (secret("an older one", "aaa", now - times::DAY, 1), secret("backup", &hint(&app.auth.secret), ends, 2));
    // Made ten days before the other one.
    let restore = json!([secret("restore", &hint(&app.auth.restore_secret), ends - 10 * times::DAY, 3)]);
    let all = [
        registered(0xa9, &app.auth.client_id, "Tenantvault", json!([older, newer])),
        registered(0xaa, &app.auth.restore_client_id, "Tenantvault restores", restore),
    ];
    let asked = |row: &&Value| wanted.is_none_or(|id| row["appId"] == id);
    let rows: Vec<Value> = all
        .iter()
        .filter(asked)
        .take(request.top()?.unwrap_or(usize::MAX))
        .map(|row| {
            let kept = row.as_object().into_iter().flatten().filter(|(name, _)| fields.wants(name));
            Value::Object(kept.map(|(k, v)| (k.clone(), v.clone())).collect())
        })
        .collect();
    Ok(Reply::json(json!({"@odata.context": format!("{}/v1.0/$metadata#applications", app.base_url), "value": rows})))
}
