//! Which keys a configuration has.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use crate::cli::config::{Account, Cloud, Way};
use crate::graph::user::Place;
use crate::snapshot::policy::Policy;

type Text = Option<Spanned<String>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConfig {
    #[serde(default)]
    pub(super) tenants: BTreeMap<Spanned<String>, Spanned<RawTenant>>,
    #[serde(default)]
    pub(super) destinations: BTreeMap<Spanned<String>, Spanned<RawDestination>>,
    #[serde(default)]
    pub(super) sets: BTreeMap<Spanned<String>, Spanned<RawSet>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTenant {
    pub(super) tenant_id: Text,
    pub(super) client_id: Spanned<String>,
    #[serde(rename = "type", default)]
    pub(super) account: Account,
    pub(super) sign_in: Option<Spanned<Way>>,
    pub(super) user: Text,
    pub(super) password: Text,
    pub(super) password_file: Text,
    pub(super) password_command: Text,
    pub(super) password_env: Text,
    pub(super) keep_tokens: Option<Spanned<Place>>,
    pub(super) client_secret: Text,
    pub(super) client_secret_file: Text,
    pub(super) client_secret_command: Text,
    pub(super) client_secret_env: Text,
    pub(super) certificate_file: Text,
    pub(super) private_key_file: Text,
    pub(super) cloud: Option<Cloud>,
    pub(super) graph_url: Text,
    pub(super) login_url: Text,
    pub(super) download_limit: Text,
    pub(super) restore: Option<Spanned<RawRestore>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRestore {
    pub(super) client_id: Spanned<String>,
    pub(super) client_secret: Text,
    pub(super) client_secret_file: Text,
    pub(super) client_secret_command: Text,
    pub(super) client_secret_env: Text,
    pub(super) certificate_file: Text,
    pub(super) private_key_file: Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDestination {
    pub(super) url: Spanned<String>,
    #[serde(default)]
    pub(super) credentials: BTreeMap<Spanned<String>, Spanned<String>>,
    pub(super) password: Text,
    pub(super) password_file: Text,
    pub(super) password_command: Text,
    pub(super) password_env: Text,
    pub(super) upload_limit: Text,
    pub(super) download_limit: Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSet {
    pub(super) tenant: Spanned<String>,
    pub(super) destination: Text,
    pub(super) destinations: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) include: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) exclude: Option<Vec<Spanned<String>>>,
    pub(super) workloads: Option<Spanned<Vec<Spanned<String>>>>,
    #[serde(default)]
    pub(super) rules: Vec<RawRule>,
    #[serde(default)]
    pub(super) skip: RawSkip,
    #[serde(default)]
    pub(super) recoverable_items: bool,
    #[serde(default)]
    pub(super) retention_labels: bool,
    pub(super) versions: Option<Spanned<toml::Value>>,
    pub(super) leavers: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) retention: Policy,
    pub(super) time_zone: Text,
    pub(super) hours: Text,
    pub(super) download_limit: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRule {
    #[serde(default)]
    pub(super) include: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) exclude: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) workloads: Vec<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSkip {
    #[serde(default)]
    pub(super) folders: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) files: Vec<Spanned<String>>,
    pub(super) larger_than: Option<Spanned<String>>,
    pub(super) older_than_days: Option<u32>,
}

/// What storages ask for, and whether it is secret.
const CREDENTIALS: &[(&str, bool)] = &[
    ("access_key_id", false),
    ("account_key", true),
    ("credential", true),
    ("password", true),
    ("sas_token", true),
    ("secret_access_key", true),
    ("session_token", true),
    ("token", true),
    ("user", false),
    ("username", false),
];

/// What a key's name ends in: inline, file, command, environment.
const FORMS: [&str; 4] = ["", "_file", "_command", "_env"];

/// The key of a secret in one of its four forms.
pub(super) fn form_key(name: &str, form: usize) -> String {
    format!("{name}{}", FORMS.get(form).unwrap_or(&""))
}

/// Splits a key of a `credentials` table into the name and the number of the form.
pub(super) fn credential(key: &str) -> Option<(&'static str, usize)> {
    CREDENTIALS.iter().find_map(|&(name, _)| {
        let ending = key.strip_prefix(name)?;
        FORMS.iter().position(|form| *form == ending).map(|form| (name, form))
    })
}

/// All keys that a `credentials` table may have.
pub(super) fn credential_keys() -> Vec<String> {
    CREDENTIALS.iter().flat_map(|&(name, _)| (0..FORMS.len()).map(move |form| form_key(name, form))).collect()
}

/// Says whether what goes by this name must not be seen.
pub(super) fn is_secret(name: &str) -> bool {
    CREDENTIALS.iter().any(|&(known, secret)| known == name && secret)
}
