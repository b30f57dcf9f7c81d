//! Where a secret comes from, and who else could read it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use zeroize::Zeroizing;

use crate::cli::config::Warning;
use crate::error::{Error, ErrorKind, Result};

/// The longest secret that is read, in bytes (a service account's JSON key is the largest kind).
const MAX_SECRET: usize = 1 << 20;

/// Where a secret comes from. `Debug` shows no secret.
#[derive(Clone)]
pub enum SecretSource {
    /// It stood in the configuration.
    Inline(Zeroizing<String>),
    /// A file holds it; line ends at its end do not count.
    File(PathBuf),
    /// A command prints it: program and arguments, split at blanks, with quotes; no shell.
    Command(String),
    /// An environment variable holds it.
    Environment(String),
}

impl SecretSource {
    pub(super) fn inline(text: String) -> Self {
        Self::Inline(Zeroizing::new(text))
    }

    /// The file that holds the secret, if one does.
    pub fn file(&self) -> Option<&Path> {
        if let Self::File(path) = self { Some(path) } else { None }
    }

    /// Fetches the secret. `what` names it in errors ("client secret of tenant 'contoso'"). Runs the command, which
    /// may ask the user something.
    ///
    /// # Errors
    /// If the file cannot be read, the command fails, the variable is not set, or the secret is empty. No error
    /// holds the secret, nor the command's arguments.
    pub fn resolve(&self, what: &str) -> Result<Zeroizing<String>> {
        let secret = match self {
            Self::Inline(secret) => secret.clone(),
            Self::File(path) => {
                let bytes = std::fs::read(path)
                    .map_err(|e| Error::io(format!("File {} for the {what} cannot be read", path.display()), e))
                    .map_err(|e| e.with_hint("Check its name, and whether you may read it"))?;
                text(bytes, what)?
            }
            Self::Command(command) => run(command, what)?,
            Self::Environment(name) => Zeroizing::new(std::env::var(name).map_err(|_| {
                Error::not_found(format!("The environment variable {name} for the {what} is not set"))
                    .with_hint("Set it, or give the secret by file or command")
            })?),
        };
        let trimmed = secret.trim_end_matches(['\r', '\n']);
        if trimmed.is_empty() {
            let hint = match self {
                Self::Inline(_) => "Write it into the configuration, or give it by file, command or environment".into(),
                Self::File(path) => format!("{} must hold it", path.display()),
                Self::Command(_) => "The command must print it".into(),
                Self::Environment(name) => format!("The environment variable {name} must hold it"),
            };
            return Err(Error::invalid(format!("The {what} is empty")).with_hint(hint));
        }
        Ok(Zeroizing::new(trimmed.to_owned()))
    }
}

impl fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline(_) => f.write_str("Inline(***)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Command(_) => f.write_str("Command(***)"),
            Self::Environment(name) => f.debug_tuple("Environment").field(name).finish(),
        }
    }
}

fn text(bytes: Vec<u8>, what: &str) -> Result<Zeroizing<String>> {
    if bytes.len() > MAX_SECRET {
        return Err(Error::invalid(format!("The {what} is longer than {MAX_SECRET} bytes")));
    }
    String::from_utf8(bytes).map(Zeroizing::new).map_err(|e| {
        drop(Zeroizing::new(e.into_bytes()));
        Error::invalid(format!("The {what} is not UTF-8 text"))
    })
}

fn run(command: &str, what: &str) -> Result<Zeroizing<String>> {
    let words = split_words(command)
        .ok_or_else(|| Error::invalid(format!("The command for the {what} has a quote that is not closed")))?;
    let Some((program, arguments)) = words.split_first() else {
        return Err(Error::invalid(format!("The command for the {what} is empty")));
    };
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::inherit())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|e| Error::io(format!("The command '{program}' for the {what} cannot be run"), e))
        .map_err(|e| e.with_hint("Check its name and the PATH; no shell is involved"))?;
    if !output.status.success() {
        return Err(Error::new(
            ErrorKind::Permission,
            format!("The command '{program}' for the {what} failed: {}", output.status),
        )
        .with_hint("Run it by hand to see why"));
    }
    text(output.stdout, what)
}

/// Splits at blanks. Single quotes take everything up to the next one as it is; in double quotes and outside a
/// backslash takes the next character as it is.
fn split_words(command: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = command.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => word.get_or_insert_default().push(chars.next()?),
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

/// Warns about a file that other users of this machine can read or change.
#[cfg(unix)]
pub(super) fn readable_by_others(path: &Path) -> Option<Warning> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o006 != 0).then(|| Warning {
        text: format!("{} holds a secret and is open to other users of this machine (mode {mode:o})", path.display()),
        hint: format!("chmod 600 {}", path.display()),
    })
}

/// Warns about nothing: this system has no file modes.
#[cfg(not(unix))]
pub(super) fn readable_by_others(_path: &Path) -> Option<Warning> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_split_as_people_expect() {
        let words = |text: &str| split_words(text).map(|w| w.join("|"));
        assert_eq!(words("pass show  tenants/contoso").as_deref(), Some("pass|show|tenants/contoso"));
        assert_eq!(words(r#"a 'b c' "d \"e" f\ g ''"#).as_deref(), Some("a|b c|d \"e|f g|"));
        assert_eq!(words(r"'a\b'").as_deref(), Some(r"a\b"));
        assert_eq!(words("").as_deref(), Some(""));
        assert!(split_words("a 'b").is_none() && split_words("a \\").is_none());
    }

    #[cfg(unix)]
    #[test]
    fn secrets_come_from_files_commands_and_the_environment() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("secret");
        std::fs::write(&file, "s3cr3t \r\n\n").expect("it writes");
        assert_eq!(*SecretSource::File(file).resolve("x").expect("file"), "s3cr3t ");
        assert_eq!(*SecretSource::Command("echo 's3 cr3t'".into()).resolve("x").expect("command"), "s3 cr3t");
        assert!(!SecretSource::Environment("PATH".into()).resolve("x").expect("environment").is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn what_does_not_come_is_named() {
        let message = |source: SecretSource| {
            let error = source.resolve("client secret of tenant 'contoso'").expect_err("nothing there");
            assert!(error.to_string().contains("client secret of tenant 'contoso'"), "{error}");
            format!("{error} {:?}", error.kind())
        };
        assert!(message(SecretSource::File("/nowhere/secret".into())).contains("/nowhere/secret"));
        assert!(message(SecretSource::Environment("TENANTVAULT_NOT_SET".into())).contains("TENANTVAULT_NOT_SET"));
        let failed = message(SecretSource::Command("false hunter2".into()));
        assert!(failed.contains("'false'") && !failed.contains("hunter2"), "{failed}");
        assert!(message(SecretSource::Command("true".into())).contains("empty"));
        assert!(message(SecretSource::Command("/nowhere/program x".into())).contains("/nowhere/program"));
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown =
            format!("{:?} {:?}", SecretSource::inline("hunter2".into()), SecretSource::Command("echo hunter2".into()));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
