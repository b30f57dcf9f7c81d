//! What a backup set protects, how it is read, how long it is kept: the same keys as in the configuration file.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::{Error, Result};
use crate::server::contents::Rules;
use crate::snapshot::policy::{Count, Policy};
use crate::snapshot::set::{
    Effect, Exclusions, Leavers, Rule, Selection, SetDefinition, SetOptions, Subject, TenantRef, Versions, Workload,
};

/// Rules at most; a set is looked at as a whole.
const MOST_RULES: usize = 1_000;

/// What a set protects, how it is read, how long it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Choices {
    /// Whose data: `*`, user principal names with `*`, `group:`, `site:`, `team:`, `licence:`.
    pub(crate) include: Vec<String>,
    /// What is out, whatever is included.
    pub(crate) exclude: Vec<String>,
    /// Which parts of it; none: all.
    pub(crate) workloads: Vec<String>,
    /// Folders left out, by their paths.
    pub(crate) skip_folders: Vec<String>,
    /// Files left out, by their names.
    pub(crate) skip_files: Vec<String>,
    /// Items larger than so many bytes are left out.
    #[schema(minimum = 1)]
    pub(crate) skip_larger_than_bytes: Option<u64>,
    /// Messages and files older than so many days are left out.
    #[schema(minimum = 1)]
    pub(crate) skip_older_than_days: Option<u32>,
    /// Which versions of files beside the current one: `current`, `all`, or how many of the newest.
    pub(crate) versions: String,
    /// Also retention labels of files.
    pub(crate) retention_labels: bool,
    /// Also the Recoverable Items folders of mailboxes.
    pub(crate) recoverable_items: bool,
    /// What becomes of those who leave: `keep`, `freeze`, `drop after 30 days`.
    pub(crate) leavers: String,
    /// Which snapshots are kept after each run; each rule keeps some, `unlimited` all.
    #[schema(value_type = Object)]
    pub(crate) retention: Policy,
    /// The time zone in which retention counts days (IANA name).
    pub(crate) time_zone: String,
    /// The most bytes a second read from the tenant.
    #[schema(minimum = 1)]
    pub(crate) download_bytes_per_second: Option<u64>,
}

impl Default for Choices {
    fn default() -> Self {
        Self {
            include: vec!["*".to_owned()],
            exclude: Vec::new(),
            workloads: Vec::new(),
            skip_folders: Vec::new(),
            skip_files: Vec::new(),
            skip_larger_than_bytes: None,
            skip_older_than_days: None,
            versions: "current".to_owned(),
            retention_labels: false,
            recoverable_items: false,
            leavers: "keep".to_owned(),
            retention: Policy {
                keep_last: Count(3),
                keep_daily: Count(30),
                keep_weekly: Count(12),
                keep_monthly: Count(24),
                keep_yearly: Count(10),
                ..Policy::default()
            },
            time_zone: "UTC".to_owned(),
            download_bytes_per_second: None,
        }
    }
}

impl Choices {
    /// Reads the words.
    ///
    /// # Errors
    /// `InvalidInput` naming the first that cannot be used.
    pub(crate) fn read(&self) -> Result<(Selection, SetOptions)> {
        let lists = [&self.include, &self.exclude, &self.workloads, &self.skip_folders, &self.skip_files];
        if lists.iter().map(|list| list.len()).sum::<usize>() > MOST_RULES {
            return Err(Error::invalid(format!("A backup set has at most {MOST_RULES} rules")));
        }
        if self.include.is_empty() {
            return Err(Error::invalid("Nothing is included: the backup set would protect nothing")
                .with_hint("Include * for everything, also what is yet to come"));
        }
        let workloads = each::<Workload>(&self.workloads)?;
        let rule = |effect, subject, workloads| Rule { effect, subject, workloads };
        let included = each::<Subject>(&self.include)?.into_iter().map(|s| rule(Effect::Include, s, workloads.clone()));
        let excluded = each::<Subject>(&self.exclude)?.into_iter().map(|s| rule(Effect::Exclude, s, Vec::new()));
        let options = SetOptions {
            recoverable_items: self.recoverable_items,
            versions: self.versions()?,
            retention_labels: self.retention_labels,
            exclusions: Exclusions {
                folders: each(&self.skip_folders)?,
                files: each(&self.skip_files)?,
                larger_than_bytes: self.skip_larger_than_bytes,
                older_than_days: self.skip_older_than_days,
            },
            leavers: self.leavers.parse::<Leavers>()?,
        };
        self.zone()?;
        if self.retention.is_empty() {
            return Err(Error::invalid("The retention keeps nothing").with_hint("Keep at least the last snapshots"));
        }
        Ok((Selection { rules: included.chain(excluded).collect() }, options))
    }

    /// Whose data is in it, and which parts of it.
    pub(crate) fn rules(&self) -> Rules {
        Rules { include: self.include.clone(), exclude: self.exclude.clone(), workloads: self.workloads.clone() }
    }

    /// Says whether more owners or parts of them may be protected than by the choices before.
    pub(crate) fn widens(&self, before: &Self) -> bool {
        let (Ok((after, _)), Ok((before, _))) = (self.read(), before.read()) else { return true };
        let subjects = |selection: &Selection, effect| -> Vec<Subject> {
            selection.rules.iter().filter(|rule| rule.effect == effect).map(|rule| rule.subject.clone()).collect()
        };
        let parts = |selection: &Selection| {
            let rule = selection.rules.iter().find(|rule| rule.effect == Effect::Include);
            rule.map(|rule| rule.workloads.clone()).unwrap_or_default()
        };
        let (had, has) = (subjects(&before, Effect::Include), subjects(&after, Effect::Include));
        let (out, outside) = (subjects(&before, Effect::Exclude), subjects(&after, Effect::Exclude));
        let (read, reads) = (parts(&before), parts(&after));
        let same_owners = had.contains(&Subject::Everything) || has.iter().all(|subject| had.contains(subject));
        let same_parts = read.is_empty() || (!reads.is_empty() && reads.iter().all(|part| read.contains(part)));
        !(same_owners && same_parts && out.iter().all(|subject| outside.contains(subject)))
    }

    fn versions(&self) -> Result<Versions> {
        match self.versions.as_str() {
            "current" => Ok(Versions::Current),
            "all" => Ok(Versions::All),
            number => number.parse().map(Versions::Newest).map_err(|_| {
                Error::invalid(format!("'{}' says nothing about versions", number.escape_debug()))
                    .with_hint("Write current, all, or how many of the newest are kept")
            }),
        }
    }

    /// The time zone.
    ///
    /// # Errors
    /// `InvalidInput` when it is none.
    pub(crate) fn zone(&self) -> Result<jiff::tz::TimeZone> {
        zone(&self.time_zone)
    }

    /// The definition as it is kept in the repository.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(crate) fn definition(&self, name: &str, tenant: TenantRef, destinations: Vec<String>) -> Result<SetDefinition> {
        let (selection, options) = self.read()?;
        Ok(SetDefinition {
            name: name.to_owned(),
            tenant,
            selection,
            options,
            destinations,
            retention: self.retention.clone(),
            time_zone: self.time_zone.clone(),
        })
    }
}

/// A time zone by its IANA name.
///
/// # Errors
/// `InvalidInput`.
pub(crate) fn zone(name: &str) -> Result<jiff::tz::TimeZone> {
    jiff::tz::TimeZone::get(name).map_err(|_| {
        Error::invalid(format!("'{}' is not a time zone", name.escape_debug()))
            .with_hint("Use an IANA name such as Europe/Berlin")
    })
}

fn each<T: std::str::FromStr<Err = Error>>(list: &[String]) -> Result<Vec<T>> {
    list.iter().map(|text| text.trim().parse()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_used_is_named() {
        let good = Choices::default();
        good.read().expect("the default");
        assert!(!good.retention.is_empty(), "retention is on by default");
        for (bad, word) in [
            (Choices { include: vec![], ..good.clone() }, "include"),
            (Choices { include: vec!["nobody:x".into()], ..good.clone() }, "nobody"),
            (Choices { workloads: vec!["faxes".into()], ..good.clone() }, "faxes"),
            (Choices { versions: "some".into(), ..good.clone() }, "some"),
            (Choices { leavers: "shrug".into(), ..good.clone() }, "shrug"),
            (Choices { time_zone: "Mars/Olympus".into(), ..good.clone() }, "Mars"),
            (Choices { retention: Policy::default(), ..good.clone() }, "retention"),
            (Choices { exclude: vec!["x".into(); 2_000], ..good.clone() }, "rules"),
        ] {
            let error = bad.read().expect_err(word);
            assert!(error.to_string().contains(word), "{error}");
        }
    }

    #[test]
    fn more_owners_more_parts_and_fewer_exceptions_widen() {
        let chosen = |include: &[&str], exclude: &[&str], workloads: &[&str]| {
            let all = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
            Choices { include: all(include), exclude: all(exclude), workloads: all(workloads), ..Choices::default() }
        };
        let some = chosen(&["a@b.c", "group:Sales"], &["x@b.c"], &["mail", "onedrive"]);
        for (after, widens) in [
            (some.clone(), false),
            (Choices { leavers: "freeze".to_owned(), ..some.clone() }, false),
            (chosen(&["group:Sales"], &["x@b.c", "y@b.c"], &["mail"]), false),
            (chosen(&["a@b.c", "d@b.c"], &["x@b.c"], &["mail"]), true),
            (chosen(&["*"], &["x@b.c"], &["mail"]), true),
            (chosen(&["a@b.c"], &[], &["mail"]), true),
            (chosen(&["a@b.c"], &["x@b.c"], &["mail", "sites"]), true),
            (chosen(&["a@b.c"], &["x@b.c"], &[]), true),
        ] {
            assert_eq!(after.widens(&some), widens, "{after:?}");
        }
        assert!(!some.widens(&Choices::default()), "all of it was protected before");
    }

    #[test]
    fn choices_survive_the_database() {
        let choices = Choices { exclude: vec!["test-*@contoso.com".into()], ..Choices::default() };
        let text = serde_json::to_string(&choices).expect("written");
        assert_eq!(serde_json::from_str::<Choices>(&text).expect("read"), choices);
        assert_eq!(serde_json::from_str::<Choices>("{}").expect("read"), Choices::default());
    }
}
