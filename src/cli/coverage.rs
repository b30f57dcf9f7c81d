//! What a backup says of users of whom there is nothing to read: who is asked for by name and has nothing is told as a
//! warning, the others in a line each reason.

use std::collections::{BTreeMap, BTreeSet};

use crate::m365::Owner;
use crate::m365::discover::{Coverage, CoverageState};
use crate::snapshot::set::{Effect, SetDefinition, Subject};

/// Users named in one line.
const NAMED: usize = 4;

/// What is to be said.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Absent {
    /// The selection asks for something that is not there: the run ends with gaps.
    pub(crate) warnings: Vec<String>,
    /// A line each reason.
    pub(crate) notes: Vec<String>,
}

/// Looks through what was found for every user. `collections`: how many the snapshot has.
pub(crate) fn absent(coverage: &[Coverage], set: &SetDefinition, collections: u64) -> Absent {
    let mut absent = Absent::default();
    let mut by_reason: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut with_something: BTreeSet<&str> = BTreeSet::new();
    let mut without: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for found in coverage {
        match &found.state {
            CoverageState::NoSuchUser(text) => absent.warnings.push(text.clone()),
            CoverageState::Nothing(reason) => {
                by_reason.entry(reason).or_default().insert(&found.name);
                let reasons = without.entry(&found.name).or_default();
                if !reasons.contains(&reason.as_str()) {
                    reasons.push(reason);
                }
            }
            CoverageState::Vanished(reason) => {
                by_reason.entry(reason).or_default().insert(&found.name);
                with_something.insert(&found.name);
            }
            CoverageState::NotSelected => {}
            // What is so for every tenant is said by the coverage, not by every run.
            CoverageState::Impossible(_) if found.owner == Owner::Tenant => {}
            CoverageState::Impossible(reason) => drop(by_reason.entry(reason).or_default().insert(&found.name)),
            _ => drop(with_something.insert(&found.name)),
        }
    }
    let is_named = |user: &str| {
        set.selection.rules.iter().any(|rule| {
            let Subject::User(name) = &rule.subject else { return false };
            rule.effect == Effect::Include && name.as_str().eq_ignore_ascii_case(user)
        })
    };
    for (user, reasons) in without.iter().filter(|(user, _)| !with_something.contains(*user) && is_named(user)) {
        absent.warnings.push(format!(
            "the selection names '{user}', of whom there is nothing to back up ({}): give a licence, or take the name out",
            reasons.join("; ")
        ));
    }
    if collections == 0 && absent.warnings.is_empty() {
        let text = "nobody that the selection fits has anything to back up: correct 'include' and 'exclude' of the set";
        absent.warnings.push(text.to_owned());
    }
    for (reason, users) in by_reason {
        let more = users.len().saturating_sub(NAMED);
        let named = users.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        absent.notes.push(format!("{named}{more}: {reason}"));
    }
    absent
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::m365::Workload;
    use crate::snapshot::policy::Policy;
    use crate::snapshot::set::{Selection, SetOptions, TenantRef, Workload as Selected};

    fn set(include: &str) -> SetDefinition {
        SetDefinition {
            name: "x".into(),
            tenant: TenantRef { name: "x".into(), id: "x".into() },
            selection: Selection::of_users(vec![include.parse().expect("a glob")], vec![], Selected::ALL),
            options: SetOptions::default(),
            destinations: vec![],
            retention: Policy::default(),
            time_zone: "UTC".into(),
        }
    }

    fn found(user: &str, workload: Workload, state: CoverageState) -> Coverage {
        Coverage { owner: Owner::User(user.into()), name: user.into(), workload: Some(workload), state }
    }

    fn nothing(text: &str) -> CoverageState {
        CoverageState::Nothing(text.into())
    }

    #[test]
    fn who_is_named_and_has_nothing_is_a_warning() {
        let coverage = [
            found("Ann@x", Workload::Mail, nothing("on premises")),
            found("Ann@x", Workload::OneDrive, nothing("no OneDrive")),
        ];
        let named = absent(&coverage, &set("ann@x"), 3);
        assert_eq!(named.warnings.len(), 1);
        assert!(named.warnings[0].contains("'Ann@x'") && named.warnings[0].contains("on premises; no OneDrive"));
        assert_eq!(absent(&coverage, &set("*"), 3).warnings, [""; 0]);
        let half = [coverage[0].clone(), found("Ann@x", Workload::OneDrive, CoverageState::Covered(1))];
        assert_eq!(absent(&half, &set("ann@x"), 3).warnings, [""; 0]);
    }

    #[test]
    fn a_selection_that_fits_nobody_is_a_warning() {
        assert_eq!(absent(&[], &set("*"), 0).warnings.len(), 1);
        assert_eq!(absent(&[], &set("*"), 1), Absent::default());
    }

    #[test]
    fn others_are_told_in_a_line_a_reason() {
        let coverage: Vec<Coverage> =
            ["a", "b", "c", "d", "e", "f"].map(|user| found(user, Workload::Mail, nothing("no mailbox"))).into();
        assert_eq!(absent(&coverage, &set("*"), 1).notes, ["a, b, c, d and 2 more: no mailbox"]);
        // Nobody is named for each part, nor a reason.
        let parts: Vec<Coverage> = [Workload::Mail, Workload::Calendar, Workload::Tasks]
            .map(|workload| found("a", workload, nothing("no mailbox")))
            .into();
        assert_eq!(absent(&parts, &set("*"), 1).notes, ["a: no mailbox"]);
        assert_eq!(absent(&parts, &set("a"), 1).warnings[0].matches("no mailbox").count(), 1);
    }
}
