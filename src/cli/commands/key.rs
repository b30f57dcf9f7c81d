//! `key`: adds, lists and removes key slots, and changes a passphrase.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Subcommand;
use serde_json::json;

use crate::cli::app::App;
use crate::cli::environment::now_us;
use crate::cli::exit::Outcome;
use crate::cli::output::{self, Column};
use crate::cli::passphrase::{self, Chosen, NewKey};
use crate::crypto::KeyRight;
use crate::error::{Error, Result};
use crate::format::id::KeyId;
use crate::repo::{Repository, Slot};

const EXAMPLES: &str = "\
Examples:
  tenantvault key list
  tenantvault key add --label alice@laptop
  tenantvault key add --write-only --generate-key --key-file server.key
  tenantvault key remove 3f9a12cd
A write-only key adds snapshots, lists and prunes, but cannot read contents:
the key for a backup server.";

/// Add, list and remove keys, change a passphrase
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Add a key
    Add(Add),
    /// List the keys
    List,
    /// Remove a key
    Remove {
        /// Its id, or the beginning of it
        id: String,
    },
    /// Give the key in use a new passphrase
    Passwd(New),
}

#[derive(clap::Args)]
struct Add {
    /// The key adds snapshots and cannot read contents
    #[arg(long)]
    write_only: bool,
    /// A name for the key, for people
    #[arg(long, default_value = "")]
    label: String,
    #[command(flatten)]
    new: New,
}

#[derive(clap::Args)]
struct New {
    /// Read the new passphrase from a file [env: TENANTVAULT_NEW_PASSWORD, the passphrase itself]
    #[arg(long, value_name = "FILE", conflicts_with = "generate_key")]
    new_password_file: Option<PathBuf>,
    #[command(flatten)]
    key: NewKey,
}

impl New {
    fn choose(&self, app: &App) -> Result<Chosen> {
        if self.key.generate_key {
            return self.key.generate(app);
        }
        Ok(Chosen { passphrase: passphrase::for_slot(app, self.new_password_file.as_deref())?, to_show: false })
    }

    fn show(&self, app: &App, chosen: &Chosen, id: KeyId) -> Result<()> {
        if chosen.to_show {
            app.screen.line(passphrase::show(&chosen.passphrase))?;
        } else if let Some(path) = &self.key.key_file {
            app.screen.report(format!("It is in {}.", path.display()))?;
        }
        let key = chosen.to_show.then(|| chosen.passphrase.expose_text());
        app.screen.summary(&json!({"key_slot": id.to_string(), "key": key}))
    }
}

/// Does what is to be done with keys.
pub(crate) async fn run(args: Args, app: &App) -> Result<Outcome> {
    let repo = app.open().await?;
    match args.action {
        Action::List => list(app, &repo).await?,
        Action::Add(args) => add(app, &repo, &args).await?,
        Action::Remove { id } => {
            let slots = repo.slots().await?;
            let slot = find(&slots, &id)?;
            repo.remove_slot(&slot.id).await?;
            app.screen.report(format!("Key {} removed", slot.id.short()))?;
            app.screen.summary(&json!({"removed": slot.id.to_string()}))?;
        }
        Action::Passwd(new) => {
            let chosen = new.choose(app)?;
            let made = repo.change_passphrase(&chosen.passphrase, now_us()).await;
            let id = made.inspect_err(|_| new.key.withdraw(app))?;
            app.screen.report(format!("The passphrase is changed; the key is {} now", id.short()))?;
            new.show(app, &chosen, id)?;
        }
    }
    Ok(Outcome::Done)
}

async fn add(app: &App, repo: &Arc<Repository>, args: &Add) -> Result<()> {
    let right = if args.write_only { KeyRight::WriteOnly } else { KeyRight::Owner };
    let chosen = args.new.choose(app)?;
    let made = repo.add_slot(&chosen.passphrase, right, &args.label, now_us()).await;
    let id = made.inspect_err(|_| args.new.key.withdraw(app))?;
    app.screen.report(format!("Key {} added ({})", id.short(), word(right)))?;
    args.new.show(app, &chosen, id)
}

async fn list(app: &App, repo: &Arc<Repository>) -> Result<()> {
    let slots = repo.slots().await?;
    let mut rows = Vec::new();
    for slot in &slots {
        let in_use = slot.id == repo.slot();
        rows.push(vec![
            slot.id.short(),
            word(slot.facts.right).to_owned(),
            app.screen.time(slot.facts.created_us),
            output::plain(&slot.facts.label),
            if in_use { "in use".to_owned() } else { String::new() },
        ]);
        app.screen.record(
            "key",
            &json!({
                "id": slot.id.to_string(),
                "right": word(slot.facts.right),
                "label": slot.facts.label,
                "created_us": slot.facts.created_us,
                "in_use": in_use,
            }),
        )?;
    }
    let columns =
        [Column::Fixed("ID"), Column::Text("Right"), Column::Fixed("Made"), Column::Text("Label"), Column::Text("")];
    app.screen.table(&columns, &rows)?;
    app.screen.summary(&json!({"keys": slots.len()}))
}

fn word(right: KeyRight) -> &'static str {
    match right {
        KeyRight::Owner => "owner",
        KeyRight::WriteOnly => "write-only",
    }
}

fn find<'a>(slots: &'a [Slot], text: &str) -> Result<&'a Slot> {
    let wanted = text.to_ascii_lowercase();
    let mut found = slots.iter().filter(|s| !wanted.is_empty() && s.id.to_string().starts_with(&wanted));
    match (found.next(), found.next()) {
        (Some(slot), None) => Ok(slot),
        (Some(a), Some(b)) => Err(Error::invalid(format!("'{text}' begins several keys' ids")).with_hint(format!(
            "Give more digits: {} and {} both fit",
            a.id.short(),
            b.id.short()
        ))),
        _ => Err(Error::not_found(format!("There is no key '{text}'")).with_hint("key list shows them")),
    }
}
