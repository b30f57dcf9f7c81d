//! `test`: signs in to a tenant and tells which permissions are there.

use serde_json::json;

use crate::cli::app::App;
use crate::cli::config::Config;
use crate::cli::exit::Outcome;
use crate::cli::{output, tenant};
use crate::error::{Error, ErrorKind, Result};
use crate::ops::access::{self, State};
use crate::snapshot::set::Workload;

const EXAMPLES: &str = "\
Examples:
  tenantvault test everyone      what this backup set needs
  tenantvault test contoso       all that this program can need
  tenantvault test               every tenant of the configuration";

/// Sign in to a tenant and tell which permissions are granted or missing
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A backup set or a tenant, by its name in the configuration; without one: every tenant
    #[arg(value_name = "SET|TENANT")]
    name: Option<String>,
}

/// Looks at one tenant, or all; a missing permission makes it fail.
pub(crate) async fn run(args: Args, app: &App) -> Result<Outcome> {
    let config = app.need_config()?;
    let wanted = wanted(config, args.name.as_deref())?;
    let mut missing = 0;
    for (name, workloads) in &wanted {
        missing += look_at(app, config, name, workloads).await?;
    }
    app.screen.summary(&json!({"tenants": wanted.len(), "missing": missing}))?;
    if missing == 0 {
        return Ok(Outcome::Done);
    }
    let count = output::count(missing, "permission is", "permissions are");
    Err(Error::new(ErrorKind::Permission, format!("{count} missing")).with_hint(
        "Entra admin center, App registrations, this app, API permissions: add them as application permissions of \
         Microsoft Graph, then 'Grant admin consent'",
    ))
}

fn wanted(config: &Config, name: Option<&str>) -> Result<Vec<(String, Vec<Workload>)>> {
    let all = || Workload::ALL.to_vec();
    let Some(name) = name else {
        if config.tenants.is_empty() {
            return Err(Error::not_found(format!("There is no tenant in {}", config.path.display())));
        }
        return Ok(config.tenants.keys().map(|tenant| (tenant.clone(), all())).collect());
    };
    if let Some(set) = config.sets.get(name) {
        let reads = Workload::ALL.iter().copied().filter(|w| set.selection.reads(*w)).collect();
        return Ok(vec![(set.tenant.clone(), reads)]);
    }
    if config.tenants.contains_key(name) {
        return Ok(vec![(name.to_owned(), all())]);
    }
    // Neither: the complaint about sets has the nearest name, unless there are none.
    let complaint = if config.sets.is_empty() { config.tenant(name).err() } else { config.set(name).err() };
    Err(complaint.unwrap_or_else(|| Error::not_found(format!("There is no set or tenant '{name}'"))))
}

async fn look_at(app: &App, config: &Config, name: &str, workloads: &[Workload]) -> Result<u64> {
    let monitor = app.progress(false);
    let client = tenant::client(config, name, None, &[], monitor.clone())?;
    let result = access::look(&client, workloads).await;
    monitor.finish();
    let found = result?;
    app.screen.line(format!("Tenant {name}: signed in"))?;
    let mut missing = 0;
    for (permission, state) in found {
        let (word, text) = match &state {
            State::Granted => ("granted", format!("to {}", permission.purpose)),
            State::Missing => ("missing", format!("without it {}", permission.cost)),
            State::Refused(reason) => {
                ("refused", format!("granted, but Graph refuses everybody asked ({reason}): {}", permission.cost))
            }
            State::Unknown => ("unknown", format!("nobody could be asked; without it {}", permission.cost)),
        };
        if matches!(state, State::Missing | State::Refused(_)) {
            missing += 1;
        }
        app.screen.line(format!("  {word:8} {:16} {}", permission.name, output::plain(&text)))?;
        app.screen.record(
            "permission",
            &json!({"tenant": name, "permission": permission.name, "state": word, "message": text}),
        )?;
    }
    Ok(missing)
}
