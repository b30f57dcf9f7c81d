//! `sim`: serves a simulated tenant, with the configuration that fits it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use serde_json::json;

use crate::cli::app::App;
use crate::cli::exit::Outcome;
use crate::cli::values::absolute;
use crate::cli::{interrupt, passphrase};
use crate::error::{Error, ErrorKind, Result};
use crate::sim::{Limits, Profile, SimHandle, SimOptions, SimTenant};

const EXAMPLES: &str = "\
Examples:
  tenantvault sim --config-out sim/tenantvault.toml
  tenantvault sim --profile office --no-limits
While it runs, from another terminal:
  curl -X POST http://127.0.0.1:8365/sim/advance?days=1    a day goes by
  curl http://127.0.0.1:8365/sim/stats                     what was asked for
The same options give the same tenant, so a configuration stays good.";

/// The port that is used unless another is named.
const PORT: u16 = 8365;

/// Serve a simulated tenant until interrupted
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The port on this machine; 0: any that is free
    #[arg(long, default_value_t = PORT)]
    port: u16,
    /// Write the matching configuration to this file, and the app's secret beside it, instead of printing it
    #[arg(long, value_name = "FILE")]
    config_out: Option<PathBuf>,
    /// Days that have gone by already
    #[arg(long, value_name = "N", default_value_t = 0)]
    days: u32,
    #[command(flatten)]
    tenant: TenantArgs,
}

/// What the tenant is made of.
#[derive(clap::Args, Clone)]
#[command(next_help_heading = "The tenant")]
pub(crate) struct TenantArgs {
    /// Its size: 4, 60 or 500 users
    #[arg(long, value_enum, default_value_t = Size::Small)]
    pub(crate) profile: Size,
    /// What all data follow from
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Users with a mailbox and a OneDrive
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) users: Option<u32>,
    /// Messages of a mailbox
    #[arg(long, value_name = "N")]
    pub(crate) messages: Option<u32>,
    /// Files and folders of a OneDrive
    #[arg(long, value_name = "N")]
    pub(crate) files: Option<u32>,
    /// Lift Microsoft's limits
    #[arg(long)]
    pub(crate) no_limits: bool,
    /// Milliseconds that every answer takes longer
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub(crate) latency: u64,
}

/// A ready-made size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Size {
    /// 4 users, 120 messages and 40 files each
    Small,
    /// 60 users, about 2,000 messages and 400 files each
    Office,
    /// 500 users, sizes by distribution
    Campus,
}

impl TenantArgs {
    /// The options of the simulation.
    pub(crate) fn options(&self, port: u16) -> SimOptions {
        let profile = match self.profile {
            Size::Small => Profile::Small,
            Size::Office => Profile::Office,
            Size::Campus => Profile::Campus,
        };
        let usual = SimOptions::profile(profile);
        SimOptions {
            port,
            seed: self.seed,
            users: self.users.unwrap_or(usual.users),
            messages: self.messages.unwrap_or(usual.messages),
            drive_items: self.files.unwrap_or(usual.drive_items),
            limits: if self.no_limits { Limits::unlimited() } else { usual.limits.clone() },
            latency: Duration::from_millis(self.latency),
            ..usual
        }
    }
}

/// Serves until Ctrl-C.
pub(crate) async fn run(args: Args, app: &App) -> Result<Outcome> {
    let started = SimTenant::start(args.tenant.options(args.port)).await;
    let handle = started.map_err(|e| {
        let text = format!("The simulated tenant cannot be served on port {}", args.port);
        Error::new(ErrorKind::Unavailable, text).with_hint("Choose another with --port, or 0 for any").with_source(e)
    })?;
    (0..args.days).for_each(|_| handle.advance_day());
    let screen = &app.screen;
    screen.note(format!("The simulated tenant answers at {} until Ctrl-C", handle.base_url()));
    let config = match &args.config_out {
        Some(path) => {
            let path = absolute(&app.environment.working_folder, path);
            write_config(&handle, &path)?;
            screen.note(format!("Configuration: {}", path.display()));
            screen.note(format!("Try: tenantvault --config {} test", path.display()));
            Some(path)
        }
        None => {
            screen.line(config_text(
                &handle,
                &format!("client_secret = \"{}\"", handle.client_secret()),
                &format!("client_secret = \"{}\"", handle.restore_client_secret()),
            ))?;
            None
        }
    };
    screen.record(
        "status",
        &json!({
            "url": handle.base_url(),
            "tenant_id": handle.tenant_id(),
            "client_id": handle.client_id(),
            "config": config.map(|path| path.display().to_string()),
        }),
    )?;
    screen.flush()?;
    interrupt::signalled().await?;
    let stats = handle.stats();
    screen.note(format!("Stopped after {} requests", stats.requests));
    screen.summary(&serde_json::to_value(&stats).unwrap_or_default())?;
    Ok(Outcome::Done)
}

/// Writes the configuration, and the secret beside it.
///
/// # Errors
/// When a file cannot be written. A configuration that is there is not replaced.
pub(crate) fn write_config(handle: &SimHandle, path: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let failed = |path: &Path| {
        let text = format!("{} cannot be written", path.display());
        move |e| Error::io(text, e)
    };
    std::fs::create_dir_all(folder).map_err(failed(folder))?;
    let restore = "client_secret_file = \"sim-restore.secret\"";
    let text = config_text(handle, "client_secret_file = \"sim.secret\"", restore);
    if std::fs::read_to_string(path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    if path.exists() {
        return Err(Error::new(ErrorKind::AlreadyExists, format!("{} is there already", path.display()))
            .with_hint("Name another file with --config-out, or remove it"));
    }
    for (name, text) in [("sim.secret", handle.client_secret()), ("sim-restore.secret", handle.restore_client_secret())]
    {
        let secret = folder.join(name);
        if std::fs::read_to_string(&secret).is_err() {
            passphrase::write_new(&secret, text.as_bytes())?;
        }
    }
    std::fs::write(path, text).map_err(failed(path))
}

/// The configuration of the tenant with a repository and a set; `secret` and `restore` are the lines that give
/// the apps' secrets.
fn config_text(handle: &SimHandle, secret: &str, restore: &str) -> String {
    let in_file = "client_secret_file = \"sim.secret\"";
    format!(
        "# A simulated tenant, and a repository beside this file.\n\
         {}\n\
         [tenants.sim.restore]\n\
         client_id = \"{}\"\n\
         {restore}\n\
         \n\
         [destinations.local]\n\
         url = \"repository\"\n\
         password_file = \"repository.key\"\n\
         \n\
         [sets.everyone]\n\
         tenant = \"sim\"\n\
         destination = \"local\"\n\
         \n\
         [sets.everyone.retention]\n\
         keep-last = 3\n\
         keep-daily = 14\n\
         keep-monthly = 12\n",
        handle.config_toml("sim.secret").replace(in_file, secret),
        handle.restore_client_id(),
    )
}
