//! `logout`: forgets a user's sign-in.

use serde_json::json;

use crate::cli::app::App;
use crate::cli::config::SignIn;
use crate::cli::exit::Outcome;
use crate::cli::tenant;
use crate::error::Result;
use crate::graph::user::Keeper as _;

const EXAMPLES: &str = "\
Examples:
  tenantvault logout contoso
What Microsoft's servers know of the sign-in ends at https://myaccount.microsoft.com
(Sign out everywhere), or by an administrator's hand.";

/// Forget the sign-in of a tenant's user on this machine
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The tenant, by its name in the configuration
    #[arg(value_name = "TENANT")]
    tenant: String,
}

/// Removes what is kept. That there is nothing is no error.
pub(crate) async fn run(args: Args, app: &App) -> Result<Outcome> {
    let config = app.need_config()?;
    let name = &args.tenant;
    let keep = match &config.tenant(name)?.sign_in {
        SignIn::User { keep, .. } => *keep,
        _ => Default::default(),
    };
    let removed = tenant::keeper(config, name, keep)?.hold().await?.remove().await?;
    app.screen.report(match removed {
        true => format!("Tenant {name}: signed out"),
        false => format!("Tenant {name}: nobody was signed in"),
    })?;
    app.screen.summary(&json!({"tenant": name, "removed": removed}))?;
    Ok(Outcome::Done)
}
