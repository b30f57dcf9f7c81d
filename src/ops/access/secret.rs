//! Until when the app's client secret is good. The registration knows, and tells those who may read it.

use jiff::Timestamp;
use serde_json::Value;

use crate::error::Result;
use crate::graph::links::odata_string;
use crate::graph::{Client, Fate, GraphRequest, Scope, fate};

/// When a secret ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretEnd {
    /// Then.
    At(Timestamp),
    /// Nobody says; the reason in words.
    Unknown(String),
}

/// Asks the registration when the secret that begins with `hint` (three characters) ends.
///
/// # Errors
/// The network's.
pub async fn secret_end(client: &Client, client_id: &str, hint: &str) -> Result<SecretEnd> {
    let filter = format!("appId%20eq%20{}", odata_string(client_id));
    let url = format!("applications?$filter={filter}&$select=id,appId,passwordCredentials");
    let unknown = |why: &str| Ok(SecretEnd::Unknown(why.to_owned()));
    let rows = match client.get_all(GraphRequest::get(Scope::Directory, url)).await {
        Ok(rows) => rows,
        Err(error) => {
            return match fate(&error) {
                Fate::Fatal => Err(error),
                Fate::Denied(_) => unknown("the app may not read its own registration (Application.Read.All)"),
                _ => unknown("the registration cannot be read"),
            };
        }
    };
    let Some(app) = rows.first() else { return unknown("the app is registered in another tenant") };
    let secrets = app.get("passwordCredentials").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let of_ours = secrets.iter().filter(|secret| secret.get("hint").and_then(Value::as_str) == Some(hint));
    let ends = of_ours.filter_map(|secret| secret.get("endDateTime")?.as_str()?.parse::<Timestamp>().ok());
    // Of several that begin alike, the first to end.
    ends.min().map_or_else(|| unknown("the registration does not list this secret"), |end| Ok(SecretEnd::At(end)))
}
