//! How a set is read: what is left out of what is selected, versions, people who leave.

use std::fmt;
use std::str::FromStr;

use bincode::{Decode, Encode};

use crate::error::{Error, Result};
use crate::snapshot::set::Glob;

/// How a set is read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct SetOptions {
    /// Mail also takes in the Recoverable Items folders.
    pub recoverable_items: bool,
    /// Which versions of files are kept beside the current one.
    pub versions: Versions,
    /// Retention labels of files are read: a request more for each file that is new or changed.
    pub retention_labels: bool,
    /// What of the selection is left out.
    pub exclusions: Exclusions,
    /// What becomes of the data of owners who leave the tenant.
    pub leavers: Leavers,
}

/// Which versions of a file are kept beside the current one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub enum Versions {
    /// None.
    #[default]
    Current,
    /// The newest so many.
    Newest(u32),
    /// All.
    All,
}

/// What of the selection is left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Exclusions {
    /// Folders by their path in the collection (`Inbox/Newsletters`), with all below them.
    pub folders: Vec<Glob>,
    /// Files by their names (`*.mp4`).
    pub files: Vec<Glob>,
    /// Items larger than so many bytes.
    pub larger_than_bytes: Option<u64>,
    /// Messages and files older than so many days at the time of the run.
    pub older_than_days: Option<u32>,
}

impl Exclusions {
    /// Says whether anything is left out.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What becomes of the data of owners (users, groups, sites, teams) who are no longer in the tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Leavers {
    /// They stay in every new snapshot as they were last read; who comes back is read on.
    Keep,
    /// They stay as they were last read, also when the owner comes back.
    Freeze,
    /// They stay for so many days after they were last read, then new snapshots lack them.
    DropAfterDays(u32),
}

impl Default for Leavers {
    /// New snapshots show the tenant as it is.
    fn default() -> Self {
        Self::DropAfterDays(0)
    }
}

impl fmt::Display for Leavers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keep => f.write_str("keep"),
            Self::Freeze => f.write_str("freeze"),
            Self::DropAfterDays(days) => write!(f, "drop after {days} days"),
        }
    }
}

impl FromStr for Leavers {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let words: Vec<&str> = text.split_whitespace().collect();
        match words[..] {
            ["keep"] => Ok(Self::Keep),
            ["freeze"] => Ok(Self::Freeze),
            ["drop"] => Ok(Self::DropAfterDays(0)),
            ["drop", "after", days, "days" | "day"] if days.parse::<u32>().is_ok() => {
                Ok(Self::DropAfterDays(days.parse().unwrap_or_default()))
            }
            _ => Err(Error::invalid(format!("'{}' says nothing about leavers", text.escape_debug()))
                .with_hint("Write \"keep\", \"freeze\", or \"drop after 30 days\"")),
        }
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Current => f.write_str("current"),
            Self::Newest(number) => write!(f, "{number}"),
            Self::All => f.write_str("all"),
        }
    }
}
