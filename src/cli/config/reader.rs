//! From the keys of a configuration to values that fit together.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;

use crate::cli::config::complaint::{self, Complaints};
use crate::cli::config::raw::{self, RawDestination, RawSet, RawTenant};
use crate::cli::config::{Destination, SecretSource, Set, Tenant};
use crate::cli::output;
use crate::error::{Error, Result};
use crate::snapshot::set::{
    Effect, Exclusions, Leavers, Rule, Selection, SetOptions, Subject, Versions, Workload, check_name,
};

/// Turns what was read into values that fit together.
pub(super) struct Reader<'a> {
    pub(super) complaints: Complaints<'a>,
    pub(super) folder: &'a Path,
    /// The lines of secrets that stand in the file.
    pub(super) inline_secrets: Vec<usize>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(complaints: Complaints<'a>, folder: &'a Path) -> Self {
        Self { complaints, folder, inline_secrets: Vec::new() }
    }

    /// Reads a table of named things.
    pub(super) fn table<R, T>(
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

    pub(super) fn tenant(&mut self, raw: Spanned<RawTenant>) -> Result<Tenant> {
        let span = raw.span();
        let mut raw = raw.into_inner();
        let tenant_id = self.tenant_id(span.clone(), raw.account, raw.tenant_id.take())?;
        let sign_in = self.sign_in(span, &mut raw)?;
        Ok(Tenant {
            tenant_id,
            client_id: self.filled("client_id", raw.client_id)?,
            account: raw.account,
            sign_in,
            restore: self.restore_app(raw.restore)?,
            cloud: raw.cloud.unwrap_or_default(),
            graph_url: self.web_address("graph_url", raw.graph_url)?,
            login_url: self.web_address("login_url", raw.login_url)?,
            download_bytes_per_second: self.speed(raw.download_limit)?,
        })
    }

    pub(super) fn destination(&mut self, raw: Spanned<RawDestination>) -> Result<Destination> {
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
    pub(super) fn secret(&mut self, name: &str, forms: [Option<Spanned<String>>; 4]) -> Result<Option<SecretSource>> {
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
            return Err(self.complaints.at(
                span,
                &format!("'{}' is empty", raw::form_key(name, form)),
                "Fill it in or remove it",
            ));
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

    pub(super) fn set(
        &mut self,
        raw: Spanned<RawSet>,
        tenants: &BTreeMap<String, Tenant>,
        destinations: &BTreeMap<String, Destination>,
    ) -> Result<Set> {
        let span = raw.span();
        let mut raw = raw.into_inner();
        let named = self.destinations(span, &mut raw, destinations)?;
        let selection = self.selection(&mut raw)?;
        let options = self.options(&mut raw)?;
        let time_zone = match raw.time_zone {
            None => jiff::tz::TimeZone::UTC,
            Some(name) => jiff::tz::TimeZone::get(name.get_ref()).map_err(|_| {
                let text = format!("'{}' is not a time zone", name.get_ref().escape_debug());
                self.complaints.at(name.span(), &text, "Use an IANA name such as Europe/Berlin")
            })?,
        };
        let hours = match raw.hours {
            None => None,
            Some(text) => Some(text.get_ref().parse().map_err(|e| self.complaints.wrap(text.span(), &e))?),
        };
        Ok(Set {
            tenant: self.reference("tenant", raw.tenant, tenants.keys())?,
            destinations: named,
            selection,
            options,
            retention: raw.retention,
            time_zone,
            hours,
            download_bytes_per_second: self.speed(raw.download_limit)?,
        })
    }

    /// Reads `destination`, or `destinations`: at least one, none twice.
    fn destinations(
        &self,
        span: Range<usize>,
        raw: &mut RawSet,
        known: &BTreeMap<String, Destination>,
    ) -> Result<Vec<String>> {
        let (names, span) = match (raw.destination.take(), raw.destinations.take()) {
            (Some(one), None) => (vec![one], span),
            (None, Some(list)) => {
                let span = list.span();
                (list.into_inner(), span)
            }
            (Some(_), Some(list)) => {
                let text = "'destinations' is given beside 'destination'";
                return Err(self.complaints.at(list.span(), text, "Keep one of them"));
            }
            (None, None) => {
                let hint = "Write destination = \"NAME\", or destinations = [\"NAME\", \"NAME\"]";
                return Err(self.complaints.at(span, "'destination' is missing", hint));
            }
        };
        let mut found: Vec<String> = Vec::new();
        for name in names {
            let at = name.span();
            let name = self.reference("destination", name, known.keys())?;
            if found.contains(&name) {
                return Err(self.complaints.at(at, &format!("'{name}' is named twice"), "Keep one of them"));
            }
            found.push(name);
        }
        if found.is_empty() {
            return Err(self.complaints.at(span, "'destinations' is empty", "Name at least one"));
        }
        Ok(found)
    }

    fn selection(&self, raw: &mut RawSet) -> Result<Selection> {
        let workloads = match raw.workloads.take() {
            Some(list) if list.get_ref().is_empty() => {
                return Err(self.complaints.at(
                    list.span(),
                    "'workloads' is empty: the set would protect nothing",
                    "Name a workload, or leave the key out for all",
                ));
            }
            Some(list) => self.each(list.into_inner())?,
            None => Vec::<Workload>::new(),
        };
        let rules = std::mem::take(&mut raw.rules);
        let include = match raw.include.take() {
            Some(list) if list.get_ref().is_empty() => {
                return Err(self.complaints.at(
                    list.span(),
                    "'include' is empty: the set would protect nothing",
                    "Write include = [\"*\"] for everything, or leave the key out",
                ));
            }
            Some(list) => self.each(list.into_inner())?,
            // Who writes rules that include something means just that.
            None if rules.iter().any(|rule| !rule.include.is_empty()) => Vec::new(),
            None => vec![Subject::Everything],
        };
        let exclude = self.each(raw.exclude.take().unwrap_or_default())?;
        let mut selection = Selection::of(include, exclude, &workloads);
        for rule in rules {
            let workloads: Vec<Workload> = self.each(rule.workloads)?;
            let further = |effect, subject| Rule { effect, subject, workloads: workloads.clone() };
            let (include, exclude) = (self.each(rule.include)?, self.each(rule.exclude)?);
            selection.rules.extend(include.into_iter().map(|subject| further(Effect::Include, subject)));
            selection.rules.extend(exclude.into_iter().map(|subject| further(Effect::Exclude, subject)));
        }
        Ok(selection)
    }

    fn options(&self, raw: &mut RawSet) -> Result<SetOptions> {
        let skip = std::mem::take(&mut raw.skip);
        let exclusions = Exclusions {
            folders: self.each(skip.folders)?,
            files: self.each(skip.files)?,
            larger_than_bytes: self.speed(skip.larger_than)?,
            older_than_days: skip.older_than_days,
        };
        let versions = match raw.versions.take() {
            None => Versions::Current,
            Some(value) => match value.get_ref() {
                toml::Value::String(word) if word == "all" => Versions::All,
                toml::Value::String(word) if word == "current" => Versions::Current,
                toml::Value::Integer(number) if u32::try_from(*number).is_ok() => {
                    Versions::Newest(u32::try_from(*number).unwrap_or_default())
                }
                other => {
                    let text = format!("'versions' cannot be {other}");
                    let hint = "Write \"all\", \"current\", or how many of the newest are kept";
                    return Err(self.complaints.at(value.span(), &text, hint));
                }
            },
        };
        let leavers = match raw.leavers.take() {
            None => Leavers::default(),
            Some(text) => text.get_ref().parse().map_err(|e| self.complaints.wrap(text.span(), &e))?,
        };
        let (recoverable_items, retention_labels) = (raw.recoverable_items, raw.retention_labels);
        Ok(SetOptions { recoverable_items, versions, retention_labels, exclusions, leavers })
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

    pub(super) fn filled(&self, key: &str, value: Spanned<String>) -> Result<String> {
        if value.get_ref().trim().is_empty() {
            return Err(self.complaints.at(value.span(), &format!("'{key}' is empty"), "Fill it in"));
        }
        Ok(value.into_inner())
    }

    fn web_address(&self, key: &str, value: Option<Spanned<String>>) -> Result<Option<String>> {
        let Some(value) = value else { return Ok(None) };
        let is_web = url::Url::parse(value.get_ref()).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        if !is_web {
            return Err(self.complaints.at(
                value.span(),
                &format!("'{key}' is not a web address"),
                "Write it like https://graph.microsoft.com",
            ));
        }
        Ok(Some(value.into_inner()))
    }

    fn speed(&self, value: Option<Spanned<String>>) -> Result<Option<u64>> {
        let read = |value: Spanned<String>| {
            output::parse_size(value.get_ref()).map_err(|e| self.complaints.wrap(value.span(), &e))
        };
        value.map(read).transpose()
    }
}
