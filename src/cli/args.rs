//! What can be typed: the global options and the commands.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};

use crate::cli::commands::{
    agent, audit, backup, cat, check, completions, config, coverage, demo, diff, discover, export, find, forget,
    history, init, key, login, logout, ls, man, mirror, mount, prune, repair, restore, serve, server, sim, snapshots,
    stats, test,
};

const EXAMPLES: &str = "\
Examples:
  tenantvault demo                              see it work, without a tenant
  tenantvault init -r /srv/backup --generate-key
  tenantvault test everyone                     sign in, look at the permissions
  tenantvault backup everyone
  tenantvault ls latest:users/alice@contoso.com/Mail/Inbox
  tenantvault find 'from:dana invoice'
  tenantvault export latest:users/alice@contoso.com restored/

A SNAPSHOT is an id or the beginning of one, 'latest', SET@latest, or
SET@2026-11-20 (the last one of that day, UTC).

Exit codes: 0 done, 1 failed, 2 usage, 3 finished with gaps, 10 no repository
there, 12 wrong passphrase, 130 interrupted.";

/// Keeps snapshots of a Microsoft 365 tenant in an encrypted, deduplicated repository, and gives any item back
#[derive(Parser)]
#[command(name = "tenantvault", version, about, after_help = EXAMPLES, disable_help_subcommand = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The options that every command has.
#[derive(Args, Clone, Default)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The repository: a path, a URL (s3:, azblob:, gcs:, webdav:, sftp:), or a destination's name in the
    /// configuration [env: TENANTVAULT_REPOSITORY]
    #[arg(short, long, global = true, value_name = "REPO")]
    pub(crate) repo: Option<String>,
    /// Read the passphrase from a file [env: TENANTVAULT_PASSWORD_FILE, or TENANTVAULT_PASSWORD itself]
    #[arg(short, long, global = true, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// Read the passphrase from what a command prints [env: TENANTVAULT_PASSWORD_COMMAND]
    #[arg(long, global = true, value_name = "COMMAND", conflicts_with = "password_file")]
    pub(crate) password_command: Option<String>,
    /// The configuration file [env: TENANTVAULT_CONFIG] [default: ./tenantvault.toml, then the user's]; of server its settings [env:
    /// TENANTVAULT_SERVER_CONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The folder of the local cache [env: TENANTVAULT_CACHE_DIR]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) cache_dir: Option<PathBuf>,
    /// Use no local cache
    #[arg(long, global = true, conflicts_with = "cache_dir")]
    pub(crate) no_cache: bool,
    /// Print JSON: a line an object, the last one of type "summary"
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print results and errors only
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Say more on stderr; -vv and -vvv still more [env: TENANTVAULT_LOG, as a filter]
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// The commands.
#[derive(Subcommand)]
pub(crate) enum Command {
    Init(init::Args),
    Key(key::Args),
    Login(login::Args),
    Logout(logout::Args),
    Test(test::Args),
    Discover(discover::Args),
    Backup(backup::Args),
    Snapshots(snapshots::Args),
    Coverage(coverage::Args),
    Ls(ls::Args),
    Cat(cat::Args),
    Export(export::Args),
    Mount(mount::Args),
    Restore(restore::Args),
    Serve(serve::Args),
    Server(server::Args),
    Audit(audit::Args),
    Agent(agent::Args),
    Diff(diff::Args),
    Find(find::Args),
    History(history::Args),
    Forget(forget::Args),
    Prune(prune::Args),
    Check(check::Args),
    Repair(repair::Args),
    Mirror(mirror::Args),
    Stats(stats::Args),
    Config(config::Args),
    Demo(demo::Args),
    Sim(sim::Args),
    Completions(completions::Args),
    Man(man::Args),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_arguments_do_not_contradict_each_other() {
        Cli::command().debug_assert();
    }

    // Other users of a machine can read the arguments of every process.
    #[test]
    fn no_argument_takes_a_secret() {
        let mut command = Cli::command();
        command.build();
        let mut open = vec![command];
        let mut sources = 0;
        while let Some(command) = open.pop() {
            for argument in command.get_arguments().filter(|a| a.get_action().takes_values()) {
                let name = argument.get_id().as_str();
                let names_a_secret = ["pass", "secret", "token", "credential"].iter().any(|word| name.contains(word));
                let names_its_source = name.ends_with("_file") || name.ends_with("_command");
                assert!(!names_a_secret || names_its_source, "{} --{name}", command.get_name());
                sources += usize::from(names_a_secret);
            }
            open.extend(command.get_subcommands().cloned());
        }
        assert!(sources >= 2, "{sources}");
    }

    #[test]
    fn every_command_and_option_is_explained() {
        let mut command = Cli::command();
        command.build();
        let mut open = vec![command];
        let mut seen = 0;
        while let Some(command) = open.pop() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
            }
            seen += 1;
            open.extend(command.get_subcommands().cloned());
        }
        assert!(seen > 20, "{seen}");
    }
}
