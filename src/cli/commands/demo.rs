//! `demo`: the main job on a simulated tenant. Every step is a command line that is printed, read by the same parser as
//! the user's, and done by the same functions.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Parser as _;
use serde_json::json;

use crate::cli::app::App;
use crate::cli::args::Cli;
use crate::cli::commands;
use crate::cli::commands::sim::{Size, TenantArgs, write_config};
use crate::cli::environment::Environment;
use crate::cli::exit::Outcome;
use crate::cli::output;
use crate::cli::screen::Screen;
use crate::cli::values::absolute;
use crate::error::{Error, ErrorKind, Result};
use crate::sim::{SimHandle, SimOptions, SimTenant};

const EXAMPLES: &str = "\
Examples:
  tenantvault demo
  tenantvault demo ~/tenantvault-demo --users 8 --messages 500";

/// Lines of a step's result that are shown.
const LINES: usize = 12;
/// How wide a step's result is drawn, and what stands before it.
const WIDTH: u16 = 80;
const INDENT: &str = "   ";
/// Days that go by.
const DAYS: u32 = 3;

/// See the main job done, on a simulated tenant in a fresh folder
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The folder to work in, new or empty [default: a new one among the temporary files]
    dir: Option<PathBuf>,
    /// Users of the tenant
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    users: u32,
    /// Messages of each mailbox
    #[arg(long, value_name = "N", default_value_t = 120)]
    messages: u32,
    /// Files and folders of each OneDrive
    #[arg(long, value_name = "N", default_value_t = 40)]
    files: u32,
    /// What the tenant's data follow from
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// Runs the demonstration.
pub(crate) async fn run(args: Args, app: &App) -> Result<Outcome> {
    let began = Instant::now();
    let dir = folder(&args, app)?;
    let handle = SimTenant::start(options(&args)).await?;
    let config = dir.join("tenantvault.toml");
    write_config(&handle, &config)?;
    let environment = Environment::in_folder(dir.clone())
        .with("CONFIG", config.to_string_lossy())
        .with("CACHE_DIR", dir.join("cache").to_string_lossy());
    let mut demo = Demo { app, environment, handle, dir, number: 0 };
    demo.introduce()?;
    demo.steps().await?;
    demo.conclude(&args, began)?;
    Ok(Outcome::Done)
}

/// Makes the folder, or takes an empty one.
fn folder(args: &Args, app: &App) -> Result<PathBuf> {
    let cannot = |dir: &Path, e| Error::io(format!("Folder {} cannot be used", dir.display()), e);
    let Some(dir) = &args.dir else {
        let made = tempfile::Builder::new().prefix("tenantvault-demo-").tempdir();
        return made.map(tempfile::TempDir::keep).map_err(|e| cannot(&std::env::temp_dir(), e));
    };
    let dir = absolute(&app.environment.working_folder, dir);
    std::fs::create_dir_all(&dir).map_err(|e| cannot(&dir, e))?;
    if std::fs::read_dir(&dir).map_err(|e| cannot(&dir, e))?.next().is_some() {
        return Err(Error::new(ErrorKind::AlreadyExists, format!("Folder {} is not empty", dir.display()))
            .with_hint("Name a new or empty folder, or none for a temporary one"));
    }
    Ok(dir)
}

fn options(args: &Args) -> SimOptions {
    let tenant = TenantArgs {
        profile: Size::Small,
        seed: args.seed,
        users: Some(args.users),
        messages: Some(args.messages),
        files: Some(args.files),
        no_limits: false,
        latency: 0,
    };
    tenant.options(0)
}

struct Demo<'a> {
    app: &'a App,
    environment: Environment,
    handle: SimHandle,
    dir: PathBuf,
    number: u32,
}

impl Demo<'_> {
    fn introduce(&self) -> Result<()> {
        let expected = self.handle.expected();
        let messages: usize = expected.users.iter().filter_map(|u| u.mailbox.as_ref()).map(|m| m.messages.len()).sum();
        let screen = &self.app.screen;
        screen.line("Tenantvault backs up Microsoft 365. Here is its main job, on a simulated tenant")?;
        screen.line(format!(
            "of {} accounts and {} messages that answers like Microsoft Graph.",
            expected.users.len(),
            output::number(messages as u64)
        ))?;
        screen.line(format!("All of it lies in {}", self.dir.display()))?;
        screen.flush()
    }

    async fn steps(&mut self) -> Result<()> {
        self.step("Make an encrypted repository", "init --generate-key --key-file repository.key").await?;
        self.step("Sign in, and look at the permissions", "test everyone").await?;
        self.step("The first backup reads everything, and lists what it cannot read", "backup everyone").await?;
        for day in 1..=DAYS {
            self.handle.advance_day();
            self.step(&format!("Day {day}: mail comes, files change; only that is read"), "backup everyone").await?;
        }
        self.step("What there is now", "snapshots").await?;
        let user = self.user()?;
        let inbox = format!("users/{user}/Mail/Inbox");
        let listed = self.step("Look around", &format!("ls latest:{inbox}")).await?;
        let easy = |line: &&str| line.ends_with(".eml") && !line.contains(['\'', '\\']);
        let message = listed.lines().filter(easy).min_by_key(|line| line.len()).map(str::to_owned);
        let message = message.ok_or_else(|| Error::internal("The demonstration's inbox is empty"))?;
        self.step("Read one mail", &format!("cat {}", quoted(&format!("latest:{inbox}/{message}")))).await?;
        self.step("Take a folder out", &format!("export latest:{inbox} restored")).await?;
        let snapshots = self.ids().await?;
        if let [.., before, last] = snapshots.as_slice() {
            self.step("What changed on the last day", &format!("diff {before} {last}")).await?;
        }
        self.step("Keep the last two snapshots", "forget --keep-last 2").await?;
        self.step("Give the space back", "prune --grace 0 --max-unused 0").await?;
        self.step("Verify every byte that is left", "check --read-data").await?;
        Ok(())
    }

    /// Prints a command, does it, and prints its result.
    async fn step(&mut self, title: &str, line: &str) -> Result<String> {
        self.number += 1;
        let screen = &self.app.screen;
        screen.line(format!("\n{}. {title}", self.number))?;
        let command = format!("{INDENT}$ tenantvault {line}");
        match line.split_once(' ') {
            Some((verb, rest)) if command.chars().count() > usize::from(WIDTH) => {
                screen.line(format!("{INDENT}$ tenantvault {verb} \\\n{INDENT}{rest}"))?;
            }
            _ => screen.line(command)?,
        }
        screen.flush()?;
        let text = self.result(line).await?;
        let lines: Vec<&str> = text.lines().collect();
        for shown in lines.iter().take(LINES) {
            screen.line(format!("{INDENT}{}", cut(shown, usize::from(WIDTH) - INDENT.len())).trim_end())?;
        }
        if lines.len() > LINES {
            screen.line(format!("{INDENT}… {} lines more", lines.len() - LINES))?;
        }
        screen.record("step", &json!({"number": self.number, "title": title, "command": line, "output": text}))?;
        screen.flush()?;
        Ok(text)
    }

    /// Does a command as if the user had typed it, and gives what it prints.
    async fn result(&self, line: &str) -> Result<String> {
        let words = std::iter::once("tenantvault".to_owned()).chain(split(line));
        let mut cli = Cli::try_parse_from(words)
            .map_err(|e| Error::internal("The demonstration types a wrong command").with_source(e))?;
        cli.global.quiet = false;
        let (screen, paper) = Screen::captured(WIDTH - INDENT.len() as u16);
        let inner = App::new(cli.global, self.environment.clone(), screen);
        // Boxed: a command within a command.
        let done = Box::pin(commands::run(cli.command, &inner)).await;
        done.map_err(|e| e.context(format!("The demonstration's step 'tenantvault {line}' failed")))?;
        Ok(paper.text())
    }

    async fn ids(&self) -> Result<Vec<String>> {
        let listed = self.result("snapshots").await?;
        let id = |line: &str| {
            let word = line.split_whitespace().next()?;
            (word.len() == 8 && word.bytes().all(|b| b.is_ascii_hexdigit())).then(|| word.to_owned())
        };
        Ok(listed.lines().filter_map(id).collect())
    }

    /// The first user with mail.
    fn user(&self) -> Result<String> {
        let users = self.handle.expected().users;
        let mailbox = users.into_iter().find(|user| user.mailbox.is_some());
        mailbox
            .map(|user| user.upn)
            .ok_or_else(|| Error::invalid("The tenant has no mailbox").with_hint("Use --users 1 or more"))
    }

    fn conclude(&self, args: &Args, began: Instant) -> Result<()> {
        let screen = &self.app.screen;
        let (dir, program) = (self.dir.display(), program());
        let user = self.user()?;
        let port = self.handle.base_url().rsplit(':').next().unwrap_or("0").to_owned();
        screen.line(format!("\nDone in {:.1} s.", began.elapsed().as_secs_f64()))?;
        screen.line(format!("  {dir}/repository        the encrypted repository"))?;
        screen.line(format!("  {dir}/repository.key    what opens it"))?;
        screen.line(format!("  {dir}/tenantvault.toml  tenant, destination, backup set"))?;
        screen.line(format!("  {dir}/restored          the folder taken out"))?;
        screen.line("\nTry next:")?;
        screen.line(format!("  export TENANTVAULT_CONFIG={dir}/tenantvault.toml"))?;
        screen.line(format!("  {program} snapshots"))?;
        screen.line(format!("  {program} ls -l latest:users/{user}/OneDrive"))?;
        screen.line(format!("  {program} stats"))?;
        screen.line("The simulated tenant has stopped. To back it up again, serve it:")?;
        screen.line(format!(
            "  {program} sim --port {port} --days {DAYS} --seed {} --users {} --messages {} --files {}",
            args.seed, args.users, args.messages, args.files
        ))?;
        screen.line("Your own tenant: the README's quick start, then tenantvault test.")?;
        let seconds = began.elapsed().as_secs_f64();
        screen.summary(&json!({"folder": self.dir.display().to_string(), "steps": self.number, "seconds": seconds}))
    }
}

/// How the program is called: by its name if the path finds it, else in full.
fn program() -> String {
    let this = std::env::current_exe().ok();
    let same = |found: PathBuf| found.canonicalize().ok() == this.as_deref().and_then(|p| p.canonicalize().ok());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path =
        std::env::split_paths(&path).map(|dir| dir.join("tenantvault")).find(|p| p.is_file()).is_some_and(same);
    match this {
        Some(this) if !in_path => this.display().to_string(),
        _ => "tenantvault".to_owned(),
    }
}

/// Splits a command line as a shell would, as far as [`quoted`] needs it.
fn split(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut inside = false;
    for c in line.chars() {
        match c {
            '\'' => inside = !inside,
            ' ' if !inside => words.push(String::new()),
            c => {
                if let Some(word) = words.last_mut() {
                    word.push(c);
                }
            }
        }
    }
    words
}

/// Quotes a word for a shell, if need be. `'` cannot be in it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@:/._-+,=".contains(c);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{word}'") }
}

/// Cuts a line that is too long.
fn cut(line: &str, width: usize) -> String {
    if line.chars().count() <= width {
        return line.to_owned();
    }
    line.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quoted_is_one_word_again() {
        for word in ["plain", "two words.eml", "a$b (c)"] {
            assert_eq!(split(&format!("cat {}", quoted(word))), ["cat", word]);
        }
    }

    #[test]
    fn long_lines_are_cut_to_the_width() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("äbcdefg", 6), "äbcde…");
    }
}
