//! What the program takes from around it: variables, folders, the terminal, the clock. Read once, here, so that the
//! demonstration can run commands in an environment of its own.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::PathBuf;

use jiff::Timestamp;

/// The beginning of the names of all variables that are read.
const PREFIX: &str = "TENANTVAULT_";

/// What is around the program. Holds secrets: no `Debug`.
#[derive(Clone, Default)]
pub(crate) struct Environment {
    variables: BTreeMap<String, String>,
    /// The folder that the program was started in.
    pub(crate) working_folder: PathBuf,
    /// The user's folder for this program's configuration.
    pub(crate) config_folder: Option<PathBuf>,
    /// The user's folder for this program's cache.
    pub(crate) cache_folder: Option<PathBuf>,
    /// The user's folder for what this program keeps.
    pub(crate) data_folder: Option<PathBuf>,
    /// Somebody can be asked.
    pub(crate) interactive: bool,
}

impl Environment {
    /// Takes everything from the process.
    pub(crate) fn of_process() -> Self {
        let folders = directories::ProjectDirs::from("", "", "tenantvault");
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        let own = |(name, value): &(String, String)| name.starts_with(PREFIX) && !value.is_empty();
        Self {
            variables: std::env::vars_os().filter_map(text).filter(own).collect(),
            working_folder: std::env::current_dir().unwrap_or_default(),
            config_folder: folders.as_ref().map(|f| f.config_dir().to_owned()),
            cache_folder: folders.as_ref().map(|f| f.cache_dir().to_owned()),
            data_folder: folders.as_ref().map(|f| f.data_local_dir().to_owned()),
            interactive: std::io::stdin().is_terminal() && std::io::stderr().is_terminal(),
        }
    }

    /// An environment in a folder, with nothing but what is added.
    pub(crate) fn in_folder(working_folder: PathBuf) -> Self {
        Self { working_folder, ..Self::default() }
    }

    /// Adds a variable, by its name without `TENANTVAULT_`.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.insert(format!("{PREFIX}{name}"), value.into());
        self
    }

    /// A variable by its name without `TENANTVAULT_`; one that is empty is not set.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(&format!("{PREFIX}{name}")).map(String::as_str)
    }
}

/// The time now: microseconds since 1970 UTC.
pub(crate) fn now_us() -> i64 {
    Timestamp::now().as_microsecond()
}
