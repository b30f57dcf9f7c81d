//! How many of a tenant are chosen.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;
use utoipa::ToSchema;

use super::{Contents, Kind, Named, Read};
use crate::server::db::Protected;
use crate::snapshot::set::{Selection, Workload};

/// How long counting may take: names times rules have no bound that people would wait for.
const PATIENCE: Duration = Duration::from_secs(4);
/// The clock is looked at once for so many names.
const BETWEEN: usize = 256;

/// How many of a kind are chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Tally {
    /// Of what.
    pub(crate) kind: Kind,
    /// How many there are.
    pub(crate) all: usize,
    /// How many are chosen; of licences: the users who have one.
    pub(crate) chosen: usize,
    /// Those yet to come are chosen by themselves, if rules mean them.
    pub(crate) new_ones: bool,
}

/// How many are chosen.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, ToSchema)]
pub(crate) struct Counts {
    /// By kind.
    pub(crate) kinds: Vec<Tally>,
    /// Users by licence: how many have it, and how many of them are chosen.
    #[schema(value_type = Object)]
    pub(crate) licences: BTreeMap<String, (usize, usize)>,
    /// It in words.
    pub(crate) sentence: String,
    /// What has to be known beside.
    pub(crate) notes: Vec<String>,
}

impl Counts {
    /// The tally of a kind.
    pub(crate) fn of(&self, kind: Kind) -> Option<&Tally> {
        self.kinds.iter().find(|tally| tally.kind == kind)
    }
}

/// Counts, by the selection that a backup uses. It may take seconds.
pub(crate) fn count(contents: &Contents, read: &Read, named: &Named) -> Counts {
    let (began, selection) = (Instant::now(), read.selection());
    let mut counts = Counts { notes: named.notes.clone(), ..Counts::default() };
    counts.notes.extend(read.wrong.iter().cloned());
    for kind in [Kind::Users, Kind::Groups, Kind::Sites, Kind::Teams] {
        let Some(tally) = tally(contents, kind, read.part(kind), &selection, named, began, &mut counts.licences) else {
            counts.kinds.clear();
            counts.licences.clear();
            counts.sentence =
                "There are too many names and rules to count here; a run goes by the rules all the same.".to_owned();
            return counts;
        };
        counts.kinds.push(Tally { new_ones: read.takes_new(kind), ..tally });
    }
    if contents.cut > 0 {
        counts.notes.push(format!(
            "{} more are in the tenant than are kept in memory here: they are not counted, and rules mean them all the same",
            contents.cut
        ));
    }
    counts.sentence = sentence(&counts.kinds);
    counts
}

fn tally(
    contents: &Contents,
    kind: Kind,
    part: Option<Workload>,
    selection: &Selection,
    named: &Named,
    began: Instant,
    licences: &mut BTreeMap<String, (usize, usize)>,
) -> Option<Tally> {
    let mut tally = Tally { kind, all: 0, chosen: 0, new_ones: false };
    for item in contents.items(kind).filter(super::Item::owns) {
        if tally.all.is_multiple_of(BETWEEN) && began.elapsed() > PATIENCE {
            return None;
        }
        let chosen = part.is_some_and(|part| selection.selects(&item.facts(named), part));
        tally.all += 1;
        tally.chosen += usize::from(chosen);
        for licence in item.licences() {
            let known = licences.entry(licence.clone()).or_default();
            known.0 += 1;
            known.1 += usize::from(chosen);
        }
    }
    Some(tally)
}

/// How much rules mean of what accounts have limits for; none: there is too much to count here. A user without a licence counts as
/// nothing: few of them have a mailbox or a drive, and who has counts as soon as a run has read it.
pub(crate) fn meant(contents: &Contents, read: &Read, named: &Named) -> Option<Protected> {
    let (began, selection) = (Instant::now(), read.selection());
    let many = |kind: Kind, part: Workload| {
        let mut sum = 0_i64;
        for (place, item) in contents.items(kind).filter(super::Item::owns).enumerate() {
            if place.is_multiple_of(BETWEEN) && began.elapsed() > PATIENCE {
                return None;
            }
            let counts = kind != Kind::Users || !item.licences().is_empty();
            sum += i64::from(counts && selection.selects(&item.facts(named), part));
        }
        Some(sum)
    };
    Some(Protected {
        mailboxes: many(Kind::Users, Workload::Mail)? + many(Kind::Groups, Workload::Groups)?,
        drives: many(Kind::Users, Workload::OneDrive)?,
        sites: many(Kind::Sites, Workload::Sites)?,
    })
}

/// "37 of 40 users, 12 of 12 sites and 3 of 5 teams are chosen. New users and sites come in by themselves."
fn sentence(kinds: &[Tally]) -> String {
    let there: Vec<&Tally> = kinds.iter().filter(|tally| tally.all > 0).collect();
    if there.is_empty() {
        return "There is nothing in the tenant that could be chosen.".to_owned();
    }
    let parts: Vec<String> =
        there.iter().map(|tally| format!("{} of {} {}", tally.chosen, tally.all, noun(tally))).collect();
    let new: Vec<String> =
        kinds.iter().filter(|tally| tally.new_ones).map(|tally| tally.kind.word().to_owned()).collect();
    let verb = if let [only] = there.as_slice()
        && only.chosen == 1
    {
        "is"
    } else {
        "are"
    };
    match new.is_empty() {
        true => format!("{} {verb} chosen. Nothing new comes in by itself.", joined(&parts)),
        false => format!("{} {verb} chosen. New {} come in by themselves.", joined(&parts), joined(&new)),
    }
}

fn noun(tally: &Tally) -> &'static str {
    match (tally.kind, tally.all) {
        (Kind::Users, 1) => "user",
        (Kind::Groups, 1) => "group",
        (Kind::Sites, 1) => "site",
        (Kind::Teams, 1) => "team",
        (kind, _) => kind.word(),
    }
}

fn joined(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::tenant;
    use super::super::{Contents, Rules};
    use super::*;

    fn some() -> Contents {
        tenant(&[
            ("user", "ann@x", "Ann", &["E3"]),
            ("user", "bob@x", "Bob", &["E3", "F1"]),
            ("user", "test-1@x", "Test", &[]),
            ("team", "Sales", "sales@x", &[]),
            ("group", "Press", "press@x", &[]),
            ("members", "Security", "", &[]),
            ("site", "https://x/sites/a", "A", &[]),
            ("site", "https://x/sites/b", "B", &[]),
        ])
    }

    fn counted(include: &[&str], exclude: &[&str], workloads: &[&str], named: &Named) -> Counts {
        let all = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
        let rules = Rules { include: all(include), exclude: all(exclude), workloads: all(workloads) };
        count(&some(), &rules.read(), named)
    }

    #[test]
    fn what_is_chosen_is_counted_and_told_in_a_sentence() {
        let named = Named::default();
        let counts = counted(&["*"], &["test-*", "site:*/b"], &[], &named);
        assert_eq!(
            counts.sentence,
            "2 of 3 users, 2 of 2 groups, 1 of 2 sites and 1 of 1 team are chosen. New users, groups, sites and teams come in by themselves."
        );
        assert_eq!(counts.licences.get("E3"), Some(&(2, 2)));
        let counts = counted(&["ann@x", "team:Sales"], &[], &[], &named);
        assert_eq!(
            counts.sentence,
            "1 of 3 users, 0 of 2 groups, 0 of 2 sites and 1 of 1 team are chosen. Nothing new comes in by itself."
        );
        let counts = counted(&["*"], &[], &["sites"], &named);
        assert_eq!(counts.kinds.iter().map(|tally| tally.chosen).collect::<Vec<_>>(), [0, 0, 2, 0]);
        let counts = counted(&["licence:F1", "nonsense:x"], &[], &[], &named);
        assert_eq!((counts.of(Kind::Users).map(|t| (t.chosen, t.new_ones)), counts.notes.len()), (Some((1, true)), 1));
        assert_eq!(
            count(&Contents::default(), &Read::default(), &named).sentence,
            "There is nothing in the tenant that could be chosen."
        );
    }

    #[test]
    fn what_limits_are_for_is_counted_of_users_with_a_licence() {
        let sums = |include: &[&str], exclude: &[&str], workloads: &[&str]| {
            let all = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
            let rules = Rules { include: all(include), exclude: all(exclude), workloads: all(workloads) };
            let found = meant(&some(), &rules.read(), &Named::default()).expect("counted");
            [found.mailboxes, found.drives, found.sites]
        };
        // Two users and two groups; the third user has no licence, and the security group owns nothing.
        assert_eq!(sums(&["*"], &[], &[]), [4, 2, 2]);
        assert_eq!(sums(&["*"], &["bob@x", "site:*/b"], &[]), [3, 1, 1]);
        assert_eq!(sums(&["*"], &[], &["mail"]), [2, 0, 0]);
        assert_eq!(sums(&["test-1@x", "site:*"], &[], &[]), [0, 0, 2]);
    }

    #[test]
    fn members_of_a_group_that_rules_name_are_chosen_by_it() {
        let found = some();
        let group = found.by_rule("group:Security").expect("there");
        let named = Named::of_one(&group, &[0, 2]);
        assert_eq!(counted(&["group:Security"], &[], &[], &named).kinds[0].chosen, 2);
        assert_eq!(counted(&["*"], &["group:Security"], &[], &named).kinds[0].chosen, 1);
    }
}
