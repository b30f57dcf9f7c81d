//! Where a passphrase comes from: an option, the environment, the configuration, the user. Never an argument, which
//! other users of the machine could read.

use std::io::{BufRead as _, Write as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::cli::app::{App, Place};
use crate::cli::config::SecretSource;
use crate::cli::values::absolute;
use crate::crypto::Passphrase;
use crate::error::{Error, Result};

/// How many characters of a new key are to be typed back.
const TYPED_BACK: usize = 6;
const TRIES: usize = 3;

/// The passphrase of a repository, if an option, the environment or the configuration gives one.
///
/// # Errors
/// When one of them is there and does not.
pub(crate) fn given(app: &App, place: &Place) -> Result<Option<Passphrase>> {
    let what = "repository's passphrase";
    let file = |path: &Path| SecretSource::File(absolute(&app.environment.working_folder, path));
    let environment = |name| app.environment.variable(name);
    let source = if let Some(path) = &app.global.password_file {
        file(path)
    } else if let Some(command) = &app.global.password_command {
        SecretSource::Command(command.clone())
    } else if let Some(text) = environment("PASSWORD") {
        return Passphrase::new(text).map(Some);
    } else if let Some(path) = environment("PASSWORD_FILE") {
        file(Path::new(path))
    } else if let Some(command) = environment("PASSWORD_COMMAND") {
        SecretSource::Command(command.to_owned())
    } else if let Some(source) = place.destination.as_ref().and_then(|d| d.password.as_ref()) {
        source.clone()
    } else {
        return Ok(None);
    };
    Passphrase::new(&source.resolve(what)?).map(Some)
}

/// Asks the user for the passphrase of a repository.
///
/// # Errors
/// `InvalidInput` when nobody can be asked.
pub(crate) fn ask(app: &App, place: &str) -> Result<Passphrase> {
    if !app.environment.interactive {
        return Err(Error::invalid(format!("No passphrase is given for the repository at {place}")).with_hint(
            "Set TENANTVAULT_PASSWORD, use --password-file or --password-command, or put password_file into the configuration",
        ));
    }
    read(&format!("Passphrase of {place}: "))
}

fn read(prompt: &str) -> Result<Passphrase> {
    let text = rpassword::prompt_password(prompt).map_err(|e| Error::io("The passphrase cannot be read", e))?;
    Passphrase::new(&Zeroizing::new(text))
}

/// How a new passphrase is chosen.
#[derive(clap::Args, Default)]
#[command(next_help_heading = "New passphrase")]
pub(crate) struct NewKey {
    /// Make a key of 44 random characters and show it once
    #[arg(long)]
    pub(crate) generate_key: bool,
    /// Write the generated key to a file that is not there yet, readable by you alone, instead of showing it
    #[arg(long, value_name = "FILE", requires = "generate_key")]
    pub(crate) key_file: Option<PathBuf>,
    /// Do not ask to type back a part of the generated key: for scripts
    #[arg(long, requires = "generate_key")]
    pub(crate) yes: bool,
}

/// A new passphrase, and what of it is to be shown at the end.
pub(crate) struct Chosen {
    /// The passphrase.
    pub(crate) passphrase: Passphrase,
    /// It was generated, and is to be shown: nobody has it yet.
    pub(crate) to_show: bool,
}

impl NewKey {
    /// Makes the key. One that is shown is typed back in part before anything is built upon it.
    ///
    /// # Errors
    /// When the file cannot be written, nobody is there to type, or what is typed is wrong.
    pub(crate) fn generate(&self, app: &App) -> Result<Chosen> {
        let passphrase = Passphrase::generate();
        if let Some(path) = &self.key_file {
            write_new(&absolute(&app.environment.working_folder, path), passphrase.expose())?;
            return Ok(Chosen { passphrase, to_show: false });
        }
        if !self.yes {
            confirm(app, &passphrase)?;
            return Ok(Chosen { passphrase, to_show: false });
        }
        Ok(Chosen { passphrase, to_show: true })
    }

    /// Takes the key file away again, after what it was made for failed.
    pub(crate) fn withdraw(&self, app: &App) {
        if let Some(path) = &self.key_file {
            // Left behind it is a file that opens nothing.
            let _ = std::fs::remove_file(absolute(&app.environment.working_folder, path));
        }
    }
}

/// A new passphrase for a repository that is to be made: as for opening one, but typed twice.
///
/// # Errors
/// As [`ask`], and when the two differ.
pub(crate) fn for_init(app: &App, place: &Place) -> Result<Passphrase> {
    match given(app, place)? {
        Some(passphrase) => Ok(passphrase),
        None => ask_twice(app, "Set TENANTVAULT_PASSWORD, use --password-file, or --generate-key"),
    }
}

/// A new passphrase for a key slot: `--new-password-file`, `TENANTVAULT_NEW_PASSWORD`, or typed twice.
///
/// # Errors
/// As [`ask`], and when the two differ.
pub(crate) fn for_slot(app: &App, file: Option<&Path>) -> Result<Passphrase> {
    if let Some(path) = file {
        let source = SecretSource::File(absolute(&app.environment.working_folder, path));
        return Passphrase::new(&source.resolve("new passphrase")?);
    }
    match app.environment.variable("NEW_PASSWORD") {
        Some(text) => Passphrase::new(text),
        None => ask_twice(app, "Set TENANTVAULT_NEW_PASSWORD, use --new-password-file, or --generate-key"),
    }
}

fn ask_twice(app: &App, hint: &str) -> Result<Passphrase> {
    if !app.environment.interactive {
        return Err(Error::invalid("No new passphrase is given").with_hint(hint));
    }
    for _ in 0..TRIES {
        let first = read("New passphrase: ")?;
        if first.expose() == read("The same again: ")?.expose() {
            return Ok(first);
        }
        app.screen.note("The two differ, try again");
    }
    Err(Error::invalid("The two passphrases differ"))
}

/// Shows a key and has a part of it typed back.
fn confirm(app: &App, passphrase: &Passphrase) -> Result<()> {
    if !app.environment.interactive {
        return Err(Error::invalid("Nobody is there to type back a part of the generated key")
            .with_hint("In scripts add --yes, or --key-file FILE"));
    }
    let cannot = |e| Error::io("The terminal does not answer", e);
    let mut stderr = std::io::stderr();
    writeln!(stderr, "{}", show(passphrase)).map_err(cannot)?;
    let key = passphrase.expose_text();
    let wanted = key.get(key.len().saturating_sub(TYPED_BACK)..).unwrap_or_default();
    for _ in 0..TRIES {
        write!(stderr, "Type its last {TYPED_BACK} characters, to show that you have kept it: ").map_err(cannot)?;
        stderr.flush().map_err(cannot)?;
        let mut typed = Zeroizing::new(String::new());
        let read = std::io::stdin().lock().read_line(&mut typed).map_err(cannot)?;
        if typed.trim() == wanted {
            return Ok(());
        }
        if read == 0 {
            break;
        }
        writeln!(stderr, "That is not it.").map_err(cannot)?;
    }
    Err(Error::invalid("The key was not typed back: nothing was made")
        .with_hint("Begin again; there will be another key"))
}

/// The text that shows a key, once.
pub(crate) fn show(passphrase: &Passphrase) -> String {
    format!(
        "The key, shown only this once:\n\n    {}\n\nKeep it in a password manager and on paper: it cannot be shown again, and\n\
         without any key nobody can read the repository.\n",
        passphrase.expose_text()
    )
}

/// Writes a secret to a new file that other users cannot read.
///
/// # Errors
/// `AlreadyExists` and other kinds of I/O.
pub(crate) fn write_new(path: &Path, secret: &[u8]) -> Result<()> {
    let failed = |e| Error::io(format!("The file {} cannot be written", path.display()), e);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let mut file = options.open(path).map_err(failed)?;
    file.write_all(secret).and_then(|()| file.write_all(b"\n")).and_then(|()| file.sync_all()).map_err(failed)
}
