//! The configuration file: tenants, destinations and backup sets, in TOML. `docs/config.toml` shows every key.
//!
//! Reading it has two steps. `raw` says which keys there are; this file turns what was read into values in
//! which contradictions cannot be written down. Every complaint names file, line and key.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::Spanned;

use crate::cli::config::complaint::Complaints;
use crate::cli::config::raw::{RawDestination, RawSet, RawTenant};
use crate::error::{Error, Result};
use crate::snapshot::policy::Policy;
use crate::snapshot::set::{Glob, Selection, SetDefinition, SetOptions, TenantRef, Workload, check_name};

mod complaint;
mod places;
mod raw;
mod secret;
#[cfg(test)]
mod tests;

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
    /// How the app proves who it is.
    pub sign_in: SignIn,
    /// The national cloud: `global`, `usgov`, `usgov-dod` or `china`.
    pub cloud: Cloud,
    /// Graph's address, if not the cloud's.
    pub graph_url: Option<String>,
    /// The sign-in service's address, if not the cloud's.
    pub login_url: Option<String>,
}

/// How an app proves who it is.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum SignIn {
    /// By a client secret.
    Secret(SecretSource),
    /// By a certificate: PEM files of the certificate and of its private key.
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
    /// The destination's name in this configuration; it exists.
    pub destination: String,
    /// What is protected.
    pub selection: Selection,
    /// How it is read.
    pub options: SetOptions,
    /// Which snapshots are kept.
    pub retention: Policy,
    /// The time zone in which retention counts days.
    pub time_zone: jiff::tz::TimeZone,
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
        let mut reader = Reader { complaints, folder: path.parent().unwrap_or(Path::new("")), inline_secrets: Vec::new() };
        let tenants = reader.table(raw.tenants, Reader::tenant)?;
        let destinations = reader.table(raw.destinations, Reader::destination)?;
        let sets = reader.table(raw.sets, |reader, set| reader.set(set, &tenants, &destinations))?;
        Ok(Self { path: path.to_owned(), tenants, destinations, sets, inline_secrets: reader.inline_secrets })
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

    /// Finds a destination by its name.
    ///
    /// # Errors
    /// `NotFound`, with the nearest name.
    pub fn destination(&self, name: &str) -> Result<&Destination> {
        self.destinations.get(name).ok_or_else(|| self.missing("destination", name, self.destinations.keys()))
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
            destinations: vec![set.destination.clone()],
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
                hint: "Move it to a file, a command or the environment: the same key with _file, _command or _env".into(),
            })
            .collect();
        if !self.inline_secrets.is_empty() {
            warnings.extend(secret::readable_by_others(&self.path));
        }
        let of_tenant = |tenant: &Tenant| match &tenant.sign_in {
            SignIn::Secret(source) => source.file().map(Path::to_owned),
            SignIn::Certificate { private_key_file, .. } => Some(private_key_file.clone()),
        };
        let of_destination =
            |d: &Destination| d.credentials.values().chain(&d.password).filter_map(|s| s.file().map(Path::to_owned)).collect();
        let mut files: Vec<PathBuf> = self.tenants.values().filter_map(of_tenant).collect();
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

/// Turns what was read into values that fit together.
struct Reader<'a> {
    complaints: Complaints<'a>,
    folder: &'a Path,
    inline_secrets: Vec<usize>,
}

impl Reader<'_> {
    /// Reads a table of named things.
    fn table<R, T>(
        &mut self,
        raw: BTreeMap<Spanned<String>, Spanned<R>>,
        read: impl Fn(&mut Self, Spanned<R>) -> Result<T>,
    ) -> Result<BTreeMap<String, T>> {
        let mut table = BTreeMap::new();
        for (name, value) in raw {
            check_name(name.get_ref()).map_err(|e| self.complaints.wrap(name.span(), &e))?;
            table.insert(name.into_inner(), read(self, value)?);
        }
        Ok(table)
    }

    fn tenant(&mut self, raw: Spanned<RawTenant>) -> Result<Tenant> {
        let span = raw.span();
        let raw = raw.into_inner();
        let secret = self.secret(
            "client_secret",
            [raw.client_secret, raw.client_secret_file, raw.client_secret_command, raw.client_secret_env],
        )?;
        let sign_in = match (secret, raw.certificate_file, raw.private_key_file) {
            (Some(secret), None, None) => SignIn::Secret(secret),
            (None, Some(certificate), Some(key)) => SignIn::Certificate {
                certificate_file: self.folder.join(certificate.into_inner()),
                private_key_file: self.folder.join(key.into_inner()),
            },
            (Some(_), Some(other), _) | (Some(_), None, Some(other)) => {
                return Err(self.complaints.at(
                    other.span(),
                    "the tenant has both a client secret and a certificate",
                    "Keep one of them",
                ));
            }
            (None, Some(alone), None) => {
                return Err(self.complaints.at(alone.span(), "certificate_file stands without private_key_file", "Add private_key_file"));
            }
            (None, None, Some(alone)) => {
                return Err(self.complaints.at(alone.span(), "private_key_file stands without certificate_file", "Add certificate_file"));
            }
            (None, None, None) => {
                return Err(self.complaints.at(
                    span,
                    "the tenant has no way to sign in",
                    "Add client_secret_file, client_secret_command or client_secret_env, or certificate_file and private_key_file",
                ));
            }
        };
        Ok(Tenant {
            tenant_id: self.filled("tenant_id", raw.tenant_id)?,
            client_id: self.filled("client_id", raw.client_id)?,
            sign_in,
            cloud: raw.cloud.unwrap_or_default(),
            graph_url: self.web_address("graph_url", raw.graph_url)?,
            login_url: self.web_address("login_url", raw.login_url)?,
        })
    }

    fn destination(&mut self, raw: Spanned<RawDestination>) -> Result<Destination> {
        let raw = raw.into_inner();
        let url = self.filled("url", raw.url)?;
        let is_path = !url.contains(':');
        let password =
            self.secret("password", [raw.password, raw.password_file, raw.password_command, raw.password_env])?;
        Ok(Destination {
            url: if is_path { self.folder.join(url).to_string_lossy().into_owned() } else { url },
            credentials: self.credentials(raw.credentials)?,
            password,
            upload_bytes_per_second: self.speed(raw.upload_limit)?,
            download_bytes_per_second: self.speed(raw.download_limit)?,
        })
    }

    /// Reads `name`, `name_file`, `name_command` and `name_env` of each secret that a storage may ask for.
    fn credentials(
        &mut self,
        raw: BTreeMap<Spanned<String>, Spanned<String>>,
    ) -> Result<BTreeMap<String, SecretSource>> {
        let mut sources: BTreeMap<&str, [Option<Spanned<String>>; 4]> = BTreeMap::new();
        for (key, value) in raw {
            let Some((name, form)) = raw::credential(key.get_ref()) else {
                let known = raw::credential_keys();
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                return Err(self.complaints.unknown_key(key.span(), key.get_ref(), &known));
            };
            if let Some(slot) = sources.entry(name).or_default().get_mut(form) {
                *slot = Some(value);
            }
        }
        let mut credentials = BTreeMap::new();
        for (name, forms) in sources {
            // A name or id beside a secret is no secret itself.
            let before = self.inline_secrets.len();
            if let Some(source) = self.secret(name, forms)? {
                credentials.insert(name.to_owned(), source);
            }
            if !raw::is_secret(name) {
                self.inline_secrets.truncate(before);
            }
        }
        Ok(credentials)
    }

    /// Makes one source of the four forms of a secret: inline, file, command, environment.
    fn secret(&mut self, name: &str, forms: [Option<Spanned<String>>; 4]) -> Result<Option<SecretSource>> {
        let mut given: Vec<(usize, Spanned<String>)> =
            forms.into_iter().enumerate().filter_map(|(form, value)| Some((form, value?))).collect();
        given.sort_by_key(|(_, value)| value.span().start);
        if let [(first, _), (second, value), ..] = given.as_slice() {
            let key = |form: &usize| raw::form_key(name, *form);
            return Err(self.complaints.at(
                value.span(),
                &format!("'{}' is given beside '{}'", key(second), key(first)),
                "Keep one of them",
            ));
        }
        let Some((form, value)) = given.pop() else { return Ok(None) };
        let span = value.span();
        let text = value.into_inner();
        if text.trim().is_empty() {
            return Err(self.complaints.at(span, &format!("'{}' is empty", raw::form_key(name, form)), "Fill it in or remove it"));
        }
        Ok(Some(match form {
            0 => {
                self.inline_secrets.push(self.complaints.line(span.start));
                SecretSource::inline(text)
            }
            1 => SecretSource::File(self.folder.join(text)),
            2 => SecretSource::Command(text),
            _ => SecretSource::Environment(text),
        }))
    }

    fn set(
        &mut self,
        raw: Spanned<RawSet>,
        tenants: &BTreeMap<String, Tenant>,
        destinations: &BTreeMap<String, Destination>,
    ) -> Result<Set> {
        let raw = raw.into_inner();
        let workloads = match raw.workloads {
            Some(list) if list.get_ref().is_empty() => {
                return Err(self.complaints.at(list.span(), "'workloads' is empty: the set would protect nothing", "Name a workload, or leave the key out for all"));
            }
            Some(list) => self.each(list.into_inner())?,
            None => Vec::<Workload>::new(),
        };
        let include = match raw.include {
            Some(list) if list.get_ref().is_empty() => {
                return Err(self.complaints.at(list.span(), "'include' is empty: the set would protect nothing", "Write include = [\"*\"] for everyone, or leave the key out"));
            }
            Some(list) => self.each(list.into_inner())?,
            None => vec!["*".parse::<Glob>()?],
        };
        let exclude = self.each(raw.exclude.unwrap_or_default())?;
        let time_zone = match raw.time_zone {
            None => jiff::tz::TimeZone::UTC,
            Some(name) => jiff::tz::TimeZone::get(name.get_ref()).map_err(|_| {
                let text = format!("'{}' is not a time zone", name.get_ref().escape_debug());
                self.complaints.at(name.span(), &text, "Use an IANA name such as Europe/Berlin")
            })?,
        };
        Ok(Set {
            tenant: self.reference("tenant", raw.tenant, tenants.keys())?,
            destination: self.reference("destination", raw.destination, destinations.keys())?,
            selection: Selection::of_users(include, exclude, &workloads),
            options: SetOptions { recoverable_items: raw.recoverable_items },
            retention: raw.retention,
            time_zone,
        })
    }

    fn each<T: std::str::FromStr<Err = Error>>(&self, list: Vec<Spanned<String>>) -> Result<Vec<T>> {
        list.iter().map(|text| text.get_ref().parse().map_err(|e| self.complaints.wrap(text.span(), &e))).collect()
    }

    fn reference<'k>(
        &self,
        what: &str,
        name: Spanned<String>,
        known: impl Iterator<Item = &'k String>,
    ) -> Result<String> {
        let known: Vec<&str> = known.map(String::as_str).collect();
        if known.contains(&name.get_ref().as_str()) {
            return Ok(name.into_inner());
        }
        let text = format!("there is no {what} '{}' in this file", name.get_ref().escape_debug());
        Err(self.complaints.at(name.span(), &text, &complaint::suggestion(name.get_ref(), &known)))
    }

    fn filled(&self, key: &str, value: Spanned<String>) -> Result<String> {
        if value.get_ref().trim().is_empty() {
            return Err(self.complaints.at(value.span(), &format!("'{key}' is empty"), "Fill it in"));
        }
        Ok(value.into_inner())
    }

    fn web_address(&self, key: &str, value: Option<Spanned<String>>) -> Result<Option<String>> {
        let Some(value) = value else { return Ok(None) };
        let is_web = url::Url::parse(value.get_ref()).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        if !is_web {
            return Err(self.complaints.at(value.span(), &format!("'{key}' is not a web address"), "Write it like https://graph.microsoft.com"));
        }
        Ok(Some(value.into_inner()))
    }

    fn speed(&self, value: Option<Spanned<String>>) -> Result<Option<u64>> {
        let read = |value: Spanned<String>| {
            crate::cli::output::parse_size(value.get_ref()).map_err(|e| self.complaints.wrap(value.span(), &e))
        };
        value.map(read).transpose()
    }
}
