//! `init`: makes a repository.

use serde_json::json;

use crate::cli::app::App;
use crate::cli::environment::now_us;
use crate::cli::exit::Outcome;
use crate::cli::passphrase::{self, Chosen, NewKey};
use crate::error::Result;
use crate::repo::Repository;

const EXAMPLES: &str = "\
Examples:
  tenantvault init -r /srv/backup                   asks for a passphrase, twice
  tenantvault init -r /srv/backup --generate-key    makes a key, shows it once
  tenantvault init -r offsite --generate-key --key-file offsite.key
The passphrase never stands on the command line; see -p, --password-command.";

/// Make a repository
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A name for the first key, for people
    #[arg(long, default_value = "owner")]
    label: String,
    #[command(flatten)]
    key: NewKey,
}

/// Makes a repository.
pub(crate) async fn run(args: Args, app: &App) -> Result<Outcome> {
    let place = app.place(None)?;
    let storage = app.storage(&place)?;
    let where_it_is = storage.describe();
    let chosen = if args.key.generate_key {
        args.key.generate(app)?
    } else {
        Chosen { passphrase: passphrase::for_init(app, &place)?, to_show: false }
    };
    let made = Repository::init(storage, &chosen.passphrase, &args.label, now_us(), app.cache_root()).await;
    let repo = made.inspect_err(|_| args.key.withdraw(app))?;
    let id = repo.config().id;
    app.screen.report(format!("Repository {} made at {where_it_is}", id.short()))?;
    if chosen.to_show {
        app.screen.line(passphrase::show(&chosen.passphrase))?;
    } else if let Some(path) = &args.key.key_file {
        app.screen.report(format!("Its key is in {}. Keep a copy of it elsewhere.", path.display()))?;
    } else {
        app.screen.report("Without its passphrase nobody can read it: keep it safe.")?;
    }
    let key = chosen.to_show.then(|| chosen.passphrase.expose_text());
    app.screen.summary(
        &json!({"repository": id.to_string(), "place": where_it_is, "key_slot": repo.slot().to_string(), "key": key}),
    )?;
    Ok(Outcome::Done)
}
