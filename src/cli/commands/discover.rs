//! `discover`: lists what a tenant has, and what of that a set selects.

use serde_json::json;

use crate::cli::app::App;
use crate::cli::exit::Outcome;
use crate::cli::output::{self, Column};
use crate::cli::tenant;
use crate::error::{Error, Result};
use crate::m365::discover::{Coverage, CoverageState, discover, list_tenant};
use crate::m365::kinds::{KINDS, Reading};
use crate::ops::backup::selection;

const EXAMPLES: &str = "\
Examples:
  tenantvault discover                 what the tenant has: users, groups, teams, sites
  tenantvault discover contoso --json
  tenantvault discover everyone        what this backup set selects of it, and why not the rest";

/// List what a tenant has, or what of it a backup set selects
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A tenant or a backup set, by its name in the configuration; without one: the only tenant
    #[arg(value_name = "TENANT|SET")]
    name: Option<String>,
}

/// Looks at the tenant; writes nothing.
pub(crate) async fn run(args: Args, app: &App) -> Result<Outcome> {
    let config = app.need_config()?;
    let Some(name) = args.name.as_deref() else {
        let tenants: Vec<&String> = config.tenants.keys().collect();
        let [only] = tenants[..] else {
            return Err(Error::invalid("Which tenant? The configuration has none or several")
                .with_hint("Name a tenant or a backup set of the configuration"));
        };
        return whole(app, only).await;
    };
    if config.tenants.contains_key(name) {
        return whole(app, name).await;
    }
    config.set(name)?;
    selected(app, name).await
}

/// Lists the whole tenant.
async fn whole(app: &App, tenant: &str) -> Result<Outcome> {
    let monitor = app.progress(false);
    let client = tenant::client(app.need_config()?, tenant, None, &[], monitor.clone())?;
    let found = list_tenant(&client).await;
    monitor.finish();
    let found = found?;
    let screen = &app.screen;
    let mut rows = Vec::new();
    for owner in &found.owners {
        screen.record(
            "owner",
            &json!({
                "kind": owner.kind,
                "id": owner.id,
                "name": owner.name,
                "title": owner.title,
                "licences": owner.licences,
                "blocked": owner.blocked,
            }),
        )?;
        let kind = if owner.blocked { format!("{}, blocked", owner.kind) } else { owner.kind.clone() };
        rows.push(vec![
            output::plain(&kind),
            output::plain(&owner.name),
            output::plain(&owner.title),
            output::plain(&owner.licences.join(" ")),
        ]);
    }
    let columns = [Column::Fixed("Kind"), Column::Text("Name"), Column::Text("Title"), Column::Text("Licences")];
    screen.table(&columns, &rows)?;
    for (what, reason) in &found.unlisted {
        screen.record("unlisted", &json!({"what": what, "message": reason}))?;
        screen.line(format!("Not listed: {what} ({})", output::plain(reason)))?;
    }
    for kind in KINDS {
        let Reading::Impossible(reason) = kind.reading else { continue };
        let what = if kind.what == "All" { kind.part.to_owned() } else { format!("{}: {}", kind.part, kind.what) };
        screen.record("impossible", &json!({"what": what, "message": reason}))?;
        screen.grey(format!("Cannot be chosen: {what} ({reason})"))?;
    }
    screen.summary(&json!({"tenant": tenant, "owners": found.owners.len(), "unlisted": found.unlisted.len()}))?;
    Ok(Outcome::Done)
}

/// Lists what a set selects.
async fn selected(app: &App, name: &str) -> Result<Outcome> {
    let config = app.need_config()?;
    let (set, definition) = (config.set(name)?, config.definition(name)?);
    let monitor = app.progress(false);
    let client = tenant::client(config, &set.tenant, None, &[], monitor.clone())?;
    let found = discover(&client, &selection(&definition)).await;
    monitor.finish();
    let found = found?;
    let screen = &app.screen;
    let mut rows = Vec::new();
    for found in &found.coverage {
        let workload = found.workload.map_or("all", crate::m365::Workload::word);
        let (state, why) = state_of(found);
        screen.record(
            "selected",
            &json!({
                "owner": found.owner.to_string(),
                "name": found.name,
                "workload": found.workload.map(crate::m365::Workload::word),
                "state": state,
                "message": why,
            }),
        )?;
        rows.push(vec![output::plain(&found.name), workload.to_owned(), state.to_owned(), output::plain(&why)]);
    }
    let columns = [Column::Text("Whose"), Column::Fixed("What"), Column::Fixed("State"), Column::Text("Why")];
    screen.table(&columns, &rows)?;
    let collections = found.collections.len() as u64;
    screen.line(format!("Set '{name}' reads {}", output::count(collections, "collection", "collections")))?;
    screen.summary(&json!({"set": name, "collections": collections, "parts": found.coverage.len()}))?;
    Ok(Outcome::Done)
}

fn state_of(found: &Coverage) -> (&'static str, String) {
    match &found.state {
        CoverageState::Covered(1) => ("selected", String::new()),
        CoverageState::Covered(many) => ("selected", format!("{many} collections")),
        CoverageState::Nothing(why) => ("nothing", why.clone()),
        CoverageState::Unreadable(why) | CoverageState::Doubted(why) | CoverageState::Vanished(why) => {
            ("unreadable", why.clone())
        }
        CoverageState::NoSuchUser(why) => ("unknown", why.clone()),
        CoverageState::Impossible(why) => ("impossible", why.clone()),
        CoverageState::NotSelected => ("not-selected", String::new()),
    }
}
