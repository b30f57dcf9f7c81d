//! `config`: shows what the configuration comes to.

use clap::Subcommand;
use serde_json::{Value, json};

use crate::cli::app::App;
use crate::cli::config::{Account, Config, SecretSource, SignIn, UserWay};
use crate::cli::exit::Outcome;
use crate::cli::output;
use crate::error::Result;
use crate::snapshot::set::{Effect, Glob, Selection, Workload};

const EXAMPLES: &str = "\
Examples:
  tenantvault config show
  tenantvault config show --json | jq .sets";

/// Show what the configuration comes to
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Show tenants, destinations and sets, without secrets
    Show,
}

/// Shows the configuration.
pub(crate) fn run(args: Args, app: &App) -> Result<Outcome> {
    let Action::Show = args.action;
    let config = app.need_config()?;
    let value = value(config);
    app.screen.line(format!("# {}", config.path.display()))?;
    for table in ["tenants", "destinations", "sets"] {
        for (name, fields) in value.get(table).and_then(Value::as_object).into_iter().flatten() {
            app.screen.line(format!("\n{} {name}", table.trim_end_matches('s')))?;
            for (key, value) in fields.as_object().into_iter().flatten().filter(|(_, value)| !is_empty(value)) {
                app.screen.line(format!("  {key:18} {}", text(value)))?;
            }
        }
    }
    app.screen.summary(&value)?;
    Ok(Outcome::Done)
}

/// Says whether there is nothing to show.
fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_array().is_some_and(Vec::is_empty)
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => output::plain(text),
        Value::Array(list) => list.iter().map(text).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// Where a secret comes from, not the secret.
fn source(source: &SecretSource) -> String {
    match source {
        SecretSource::Inline(_) => "in the configuration".to_owned(),
        SecretSource::File(path) => format!("file {}", path.display()),
        SecretSource::Command(_) => "a command".to_owned(),
        SecretSource::Environment(name) => format!("environment {name}"),
    }
}

fn value(config: &Config) -> Value {
    let mut out = json!({"path": config.path.display().to_string(), "tenants": {}, "destinations": {}, "sets": {}});
    for (name, tenant) in &config.tenants {
        let sign_in = match &tenant.sign_in {
            SignIn::Secret(secret) => format!("secret: {}", source(secret)),
            SignIn::Certificate { certificate_file, .. } => format!("certificate: {}", certificate_file.display()),
            SignIn::User { way, user, .. } => {
                let who = user.as_deref().unwrap_or("a user");
                match way {
                    UserWay::Browser => format!("{who}, in a browser"),
                    UserWay::DeviceCode => format!("{who}, by device code"),
                    UserWay::Password(password) => format!("{who}, by password: {}", source(password)),
                }
            }
        };
        out["tenants"][name] = json!({
            "tenant_id": tenant.tenant_id,
            "client_id": tenant.client_id,
            "type": (tenant.account == Account::Personal).then_some("personal"),
            "sign_in": sign_in,
            "restore_client_id": tenant.restore.as_ref().map(|app| &app.client_id),
            "cloud": tenant.cloud.as_str(),
            "graph_url": tenant.graph_url,
            "login_url": tenant.login_url,
            "download_bytes_per_second": tenant.download_bytes_per_second,
        });
    }
    for (name, destination) in &config.destinations {
        let credentials: Vec<String> =
            destination.credentials.iter().map(|(k, s)| format!("{k}: {}", source(s))).collect();
        out["destinations"][name] = json!({
            "url": destination.url,
            "password": destination.password.as_ref().map(source),
            "credentials": credentials,
            "upload_limit": destination.upload_bytes_per_second.map(output::size),
            "download_limit": destination.download_bytes_per_second.map(output::size),
        });
    }
    for (name, set) in &config.sets {
        let workloads: Vec<&str> =
            Workload::ALL.iter().filter(|w| set.selection.reads(**w)).map(|w| w.word()).collect();
        let retention = serde_json::to_value(&set.retention).unwrap_or(Value::Null);
        let retention: Vec<String> = retention
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(_, value)| **value != json!(0))
            .map(|(key, value)| format!("{key} {}", text(value)))
            .collect();
        out["sets"][name] = json!({
            "tenant": set.tenant,
            "destinations": set.destinations,
            "include": subjects(&set.selection, Effect::Include),
            "exclude": subjects(&set.selection, Effect::Exclude),
            "workloads": workloads,
            "recoverable_items": set.options.recoverable_items,
            "versions": set.options.versions.to_string(),
            "retention_labels": set.options.retention_labels,
            "leavers": set.options.leavers.to_string(),
            "skip": {
                "folders": patterns(&set.options.exclusions.folders),
                "files": patterns(&set.options.exclusions.files),
                "larger_than": set.options.exclusions.larger_than_bytes.map(output::size),
                "older_than_days": set.options.exclusions.older_than_days,
            },
            "retention": retention,
            "time_zone": set.time_zone.iana_name().unwrap_or("UTC"),
            "hours": set.hours.map(|hours| hours.to_string()),
            "download_bytes_per_second": set.download_bytes_per_second,
        });
    }
    out
}

fn subjects(selection: &Selection, effect: Effect) -> Vec<String> {
    let rules = selection.rules.iter().filter(|rule| rule.effect == effect);
    rules
        .map(|rule| {
            let words: Vec<&str> = rule.workloads.iter().map(|workload| workload.word()).collect();
            match words.len() {
                0 => rule.subject.to_string(),
                _ => format!("{} ({})", rule.subject, words.join(", ")),
            }
        })
        .collect()
}

fn patterns(globs: &[Glob]) -> Vec<&str> {
    globs.iter().map(Glob::as_str).collect()
}
