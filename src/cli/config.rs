//! The configuration file: tenants, destinations and backup sets, in TOML. `docs/config.toml` shows every key.
//!
//! Reading it has two steps. `raw` says which keys there are; `reader` turns what was read into values in which
//! contradictions cannot be written down. Every complaint names file, line and key.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub(in crate::cli) use crate::cli::config::complaint::Complaints;
use crate::cli::config::reader::Reader;
use crate::error::{Error, Result};
use crate::snapshot::policy::Policy;
use crate::snapshot::set::{Selection, SetDefinition, SetOptions, TenantRef, Workload};

mod complaint;
mod hours;
mod places;
mod raw;
mod reader;
mod secret;
mod sign_in;
#[cfg(test)]
mod tests;

pub use hours::Hours;
pub use places::{FILE_NAME, Places};
pub use secret::SecretSource;

/// A configuration that was read and checked.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// The file that it was read from.
    pub path: PathBuf,
    /// Tenants by name.
    pub tenants: BTreeMap<String, Tenant>,
    /// Destinations by name.
    pub destinations: BTreeMap<String, Destination>,
    /// Backup sets by name.
    pub sets: BTreeMap<String, Set>,
    /// Where this program keeps what is to last between its runs; the reader does not know.
    pub data_folder: Option<PathBuf>,
    /// Inline secrets: the line of each.
    inline_secrets: Vec<usize>,
}

/// A tenant and how to sign in to it.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// The directory's id or one of its domains.
    pub tenant_id: String,
    /// The app registration's (client) id.
    pub client_id: String,
    /// Whether it is a company's or a person's.
    pub account: Account,
    /// Who signs in, and how.
    pub sign_in: SignIn,
    /// The app registration that restores, if it is another one than the backup's.
    pub restore: Option<RestoreApp>,
    /// The national cloud: `global`, `usgov`, `usgov-dod` or `china`.
    pub cloud: Cloud,
    /// Graph's address, if not the cloud's.
    pub graph_url: Option<String>,
    /// The sign-in service's address, if not the cloud's.
    pub login_url: Option<String>,
    /// The most bytes a second read from it, by all runs of a process together.
    pub download_bytes_per_second: Option<u64>,
}

/// An app registration that restores, so that the backup's can only read.
#[derive(Debug, Clone)]
pub struct RestoreApp {
    /// The app registration's (client) id.
    pub client_id: String,
    /// How it signs in: by secret or certificate.
    pub sign_in: SignIn,
}

/// What kind of account is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Account {
    /// A tenant of a company or school.
    #[default]
    Work,
    /// A personal account: Microsoft 365 Personal or Family, Outlook.com.
    Personal,
}

/// The ways in which a user signs in, by the words that configurations use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// In a browser of this machine.
    Browser,
    /// By a code that is typed into a browser anywhere.
    DeviceCode,
    /// By user name and password.
    Password,
}

/// The same, with what each needs.
#[derive(Debug, Clone)]
pub enum UserWay {
    /// In a browser of this machine.
    Browser,
    /// By a code that is typed into a browser anywhere.
    DeviceCode,
    /// By user name and password.
    Password(SecretSource),
}

/// Who signs in, and how.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum SignIn {
    /// A user.
    User {
        /// How.
        way: UserWay,
        /// Who, if only this one is to.
        user: Option<String>,
        /// Where the sign-in is kept.
        keep: crate::graph::user::Place,
    },
    /// An app, by a client secret.
    Secret(SecretSource),
    /// An app, by a certificate: PEM files of the certificate and of its private key.
    Certificate {
        /// The certificate.
        certificate_file: PathBuf,
        /// Its private key.
        private_key_file: PathBuf,
    },
}

/// A national cloud, by the name that configurations use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cloud {
    /// Microsoft's worldwide cloud.
    #[default]
    Global,
    /// US Government L4 (GCC High).
    Usgov,
    /// US Government L5 (DoD).
    UsgovDod,
    /// China, operated by 21Vianet.
    China,
}

impl Cloud {
    /// The name: `global`, `usgov`, `usgov-dod` or `china`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Usgov => "usgov",
            Self::UsgovDod => "usgov-dod",
            Self::China => "china",
        }
    }
}

/// A place that holds a repository, and what opens it.
#[derive(Debug, Clone)]
pub struct Destination {
    /// Where it is: a path, or a URL as `storage::open` reads it. Relative paths are made absolute here.
    pub url: String,
    /// The storage's secrets by name (`secret_access_key`, `password`, …).
    pub credentials: BTreeMap<String, SecretSource>,
    /// The repository's passphrase; none: from the environment, or asked for.
    pub password: Option<SecretSource>,
    /// The most bytes a second written.
    pub upload_bytes_per_second: Option<u64>,
    /// The most bytes a second read.
    pub download_bytes_per_second: Option<u64>,
}

/// A backup set: what of a tenant goes where.
#[derive(Debug, Clone)]
pub struct Set {
    /// The tenant's name in this configuration; it exists.
    pub tenant: String,
    /// The destinations' names in this configuration, at least one; they exist. Several are replicas of one repository.
    pub destinations: Vec<String>,
    /// What is protected.
    pub selection: Selection,
    /// How it is read.
    pub options: SetOptions,
    /// Which snapshots are kept.
    pub retention: Policy,
    /// The time zone in which retention counts days.
    pub time_zone: jiff::tz::TimeZone,
    /// The hours of a day, in that zone, in which it may be read; none: all.
    pub hours: Option<Hours>,
    /// The most bytes a second read for it.
    pub download_bytes_per_second: Option<u64>,
}

/// Something a user should know about a configuration that works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// What is wrong, naming file and line.
    pub text: String,
    /// What to do about it.
    pub hint: String,
}

impl Config {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// `NotFound` and kin if the file cannot be read; `InvalidInput` naming file, line and key for what cannot
    /// be used. No secret is in a message.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| Error::io(format!("Configuration {} cannot be read", path.display()), e))?;
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Self::parse(&text, &path)
    }

    /// Reads a configuration from text. Relative paths in it begin at the folder of `path`.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let complaints = Complaints::new(text, path);
        let raw: raw::RawConfig = toml::from_str(text).map_err(|e| complaints.explain(&e))?;
        let mut reader = Reader::new(complaints, path.parent().unwrap_or(Path::new("")));
        let tenants = reader.table(raw.tenants, Reader::tenant)?;
        let destinations = reader.table(raw.destinations, Reader::destination)?;
        let sets = reader.table(raw.sets, |reader, set| reader.set(set, &tenants, &destinations))?;
        Ok(Self {
            path: path.to_owned(),
            tenants,
            destinations,
            sets,
            data_folder: None,
            inline_secrets: reader.inline_secrets,
        })
    }

    /// Finds a set by its name.
    ///
    /// # Errors
    /// `NotFound`, with the nearest name.
    pub fn set(&self, name: &str) -> Result<&Set> {
        self.sets.get(name).ok_or_else(|| self.missing("backup set", name, self.sets.keys()))
    }

    /// Finds a tenant by its name.
    ///
    /// # Errors
    /// `NotFound`, with the nearest name.
    pub fn tenant(&self, name: &str) -> Result<&Tenant> {
        self.tenants.get(name).ok_or_else(|| self.missing("tenant", name, self.tenants.keys()))
    }

    /// The workloads that the sets of a tenant read.
    pub fn workloads(&self, tenant: &str) -> Vec<Workload> {
        let sets: Vec<&Set> = self.sets.values().filter(|set| set.tenant == tenant).collect();
        let read = |workload: &&Workload| sets.is_empty() || sets.iter().any(|set| set.selection.reads(**workload));
        Workload::ALL.iter().filter(read).copied().collect()
    }

    /// Finds a destination by its name.
    ///
    /// # Errors
    /// `NotFound`, with the nearest name.
    pub fn destination(&self, name: &str) -> Result<&Destination> {
        self.destinations.get(name).ok_or_else(|| self.missing("destination", name, self.destinations.keys()))
    }

    /// The destinations that hold replicas of the same repository as this one, in the order in which sets name them.
    pub fn replicas(&self, destination: &str) -> Vec<&str> {
        let with = self.sets.values().filter(|set| set.destinations.iter().any(|d| d == destination));
        let mut found: Vec<&str> = Vec::new();
        for name in with.flat_map(|set| &set.destinations) {
            if name != destination && !found.contains(&name.as_str()) {
                found.push(name);
            }
        }
        found
    }

    /// Says whether a destination is a further one of some set, and no set's first.
    pub fn is_further(&self, destination: &str) -> bool {
        let further = self.sets.values().any(|set| set.destinations.iter().skip(1).any(|d| d == destination));
        further && !self.sets.values().any(|set| set.destinations.first().is_some_and(|d| d == destination))
    }

    /// Makes the definition of a set that is kept in its repository.
    ///
    /// # Errors
    /// As [`Config::set`].
    pub fn definition(&self, name: &str) -> Result<SetDefinition> {
        let set = self.set(name)?;
        let tenant = self.tenant(&set.tenant)?;
        Ok(SetDefinition {
            name: name.to_owned(),
            tenant: TenantRef { name: set.tenant.clone(), id: tenant.tenant_id.clone() },
            selection: set.selection.clone(),
            options: set.options.clone(),
            destinations: set.destinations.clone(),
            retention: set.retention.clone(),
            time_zone: set.time_zone.iana_name().unwrap_or("UTC").to_owned(),
        })
    }

    /// Says what is careless: secrets in the file itself, and secrets that other users of this machine can read.
    pub fn warnings(&self) -> Vec<Warning> {
        let mut warnings: Vec<_> = self
            .inline_secrets
            .iter()
            .map(|line| Warning {
                text: format!("{}, line {line}: the secret stands in the configuration itself", self.path.display()),
                hint: "Move it to a file, a command or the environment: the same key with _file, _command or _env"
                    .into(),
            })
            .collect();
        if !self.inline_secrets.is_empty() {
            warnings.extend(secret::readable_by_others(&self.path));
        }
        let by_password = |tenant: &Tenant| matches!(&tenant.sign_in, SignIn::User { way: UserWay::Password(_), .. });
        warnings.extend(self.tenants.iter().filter(|(_, tenant)| by_password(tenant)).map(|(name, _)| Warning {
            text: format!("Tenant '{name}' signs in by password: without a second factor, and until Microsoft ends it"),
            hint: "Better: an app, or sign_in = \"device-code\" and login".into(),
        }));
        let of_sign_in = |sign_in: &SignIn| match sign_in {
            SignIn::User { way: UserWay::Password(source), .. } => source.file().map(Path::to_owned),
            SignIn::User { .. } => None,
            SignIn::Secret(source) => source.file().map(Path::to_owned),
            SignIn::Certificate { private_key_file, .. } => Some(private_key_file.clone()),
        };
        let of_tenant = |tenant: &Tenant| {
            let restore = tenant.restore.as_ref().and_then(|app| of_sign_in(&app.sign_in));
            of_sign_in(&tenant.sign_in).into_iter().chain(restore).collect::<Vec<_>>()
        };
        let of_destination = |d: &Destination| {
            d.credentials.values().chain(&d.password).filter_map(|s| s.file().map(Path::to_owned)).collect()
        };
        let mut files: Vec<PathBuf> = self.tenants.values().flat_map(of_tenant).collect();
        files.extend(self.destinations.values().flat_map::<Vec<PathBuf>, _>(of_destination));
        files.sort();
        files.dedup();
        warnings.extend(files.iter().filter_map(|file| secret::readable_by_others(file)));
        warnings
    }

    fn missing<'a>(&self, what: &str, name: &str, known: impl Iterator<Item = &'a String>) -> Error {
        let known: Vec<&str> = known.map(String::as_str).collect();
        Error::not_found(format!("There is no {what} '{}' in {}", name.escape_debug(), self.path.display()))
            .with_hint(complaint::suggestion(name, &known))
    }
}
