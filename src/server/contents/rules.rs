//! Rules as people write them, which of them means something of a tenant, and what ticking it makes of them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Contents, Item, Kind, Named};
use crate::error::{Error, Result};
use crate::snapshot::set::{Effect, Facts, Rule, Selection, Subject, Workload};

/// What is included, what is left out, and which parts of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rules {
    /// Whose data: `*`, user principal names with `*`, `group:`, `site:`, `team:`, `licence:`.
    #[serde(default)]
    #[schema(max_items = 1000)]
    pub(crate) include: Vec<String>,
    /// What is out, whatever is included.
    #[serde(default)]
    #[schema(max_items = 1000)]
    pub(crate) exclude: Vec<String>,
    /// Which parts of it; none: all.
    #[serde(default)]
    pub(crate) workloads: Vec<String>,
}

/// Rules that were read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Read {
    include: Vec<(String, Subject)>,
    exclude: Vec<(String, Subject)>,
    workloads: Vec<Workload>,
    /// Lines that are no rules, with why.
    pub(crate) wrong: Vec<String>,
}

/// How something stands with the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// A rule for it alone takes it in.
    Own,
    /// A rule takes it in that means more than it.
    By(String),
    /// No rule names it.
    Unnamed,
    /// A rule names it, but none of its parts is to be read.
    NoPart,
    /// A rule for it alone leaves it out.
    OwnOut,
    /// A rule leaves it out that means more than it.
    OutBy(String),
}

impl State {
    /// Whether it is protected.
    pub(crate) fn is_in(&self) -> bool {
        matches!(self, Self::Own | Self::By(_))
    }

    /// It in words.
    pub(crate) fn words(&self) -> String {
        match self {
            Self::Own => "included".to_owned(),
            Self::By(rule) => format!("by rule {rule}"),
            Self::Unnamed => "not named".to_owned(),
            Self::NoPart => "none of its parts".to_owned(),
            Self::OwnOut => "left out".to_owned(),
            Self::OutBy(rule) => format!("left out by {rule}"),
        }
    }
}

/// Rules, one a line. Names of users may also stand side by side with commas; names of others may have commas in them.
pub(crate) fn lines(text: &str) -> Vec<String> {
    let split = |line: &str| -> Vec<String> {
        let parts: Vec<&str> = if line.contains(':') { vec![line] } else { line.split(',').collect() };
        parts.into_iter().map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
    };
    text.lines().flat_map(split).collect()
}

impl Rules {
    /// Reads them; what is none is set aside.
    pub(crate) fn read(&self) -> Read {
        let mut read = Read::default();
        let mut each = |texts: &[String]| -> Vec<(String, Subject)> {
            let parsed = texts.iter().map(|text| (text.trim().to_owned(), text.trim().parse::<Subject>()));
            let mut good = Vec::new();
            for (text, subject) in parsed {
                match subject {
                    Ok(subject) => good.push((text, subject)),
                    Err(e) => read.wrong.push(e.to_string()),
                }
            }
            good
        };
        let (include, exclude) = (each(&self.include), each(&self.exclude));
        (read.include, read.exclude) = (include, exclude);
        read.workloads = self.workloads.iter().filter_map(|word| word.trim().parse().ok()).collect();
        read
    }

    /// Takes something in, or leaves it out, by as little as it needs: a rule for it alone is taken away or added.
    ///
    /// # Errors
    /// `InvalidInput` when a rule that means more than it leaves it out: people decide about that one.
    pub(crate) fn tick(&mut self, contents: &Contents, item: &Item<'_>, named: &Named, chosen: bool) -> Result<()> {
        let (rule, kind) = (item.rule(contents), item.kind);
        let names_it_alone = |text: &String| {
            let subject = text.trim().parse::<Subject>();
            subject.is_ok_and(|subject| is_own(kind, &subject) && names(&subject, item, named))
        };
        let opposite = if chosen { &mut self.exclude } else { &mut self.include };
        opposite.retain(|text| !names_it_alone(text));
        match (self.read().state(item, named), chosen) {
            (State::OutBy(by), true) => {
                return Err(Error::invalid(format!("The rule '{by}' leaves out '{}'", item.name()))
                    .with_hint("Change or remove that rule first"));
            }
            (State::NoPart, true) => {
                return Err(Error::invalid(format!("None of the parts of '{}' is to be read", item.name()))
                    .with_hint("Tick more parts first"));
            }
            (State::Unnamed, true) => self.include.push(rule),
            (state, false) if state.is_in() || state == State::NoPart => self.exclude.push(rule),
            _ => {}
        }
        Ok(())
    }

    /// Takes in all of a kind, and what is yet to come of it, or nothing of it.
    pub(crate) fn tick_all(&mut self, kind: Kind, chosen: bool) {
        let everything = |text: &String| text.trim() == "*";
        let of_kind =
            |text: &String| text.trim().parse::<Subject>().is_ok_and(|subject| kind_of(&subject) == Some(kind));
        let is_wide = |text: &String| text.trim().parse::<Subject>().is_ok_and(|subject| is_wide(kind, &subject));
        if chosen {
            self.exclude.retain(|text| !is_wide(text));
            if !self.include.iter().any(|text| everything(text) || is_wide(text)) {
                self.include.push(kind.wide().to_owned());
            }
        } else {
            self.include.retain(|text| !of_kind(text));
            if self.include.iter().any(everything) && !self.exclude.iter().any(is_wide) {
                self.exclude.push(kind.wide().to_owned());
            }
        }
    }
}

/// What a rule names.
fn kind_of(subject: &Subject) -> Option<Kind> {
    match subject {
        Subject::User(_) => Some(Kind::Users),
        Subject::Group(_) => Some(Kind::Groups),
        Subject::Site(_) => Some(Kind::Sites),
        Subject::Team(_) => Some(Kind::Teams),
        Subject::Licence(_) => Some(Kind::Licences),
        Subject::Everything => None,
    }
}

fn pattern(subject: &Subject) -> Option<&str> {
    match subject {
        Subject::User(glob)
        | Subject::Group(glob)
        | Subject::Site(glob)
        | Subject::Team(glob)
        | Subject::Licence(glob) => Some(glob.as_str()),
        Subject::Everything => None,
    }
}

fn is_wide(kind: Kind, subject: &Subject) -> bool {
    kind_of(subject) == Some(kind) && pattern(subject).is_some_and(|pattern| pattern.chars().all(|c| c == '*'))
}

/// Whether a rule is for one of a kind alone.
fn is_own(kind: Kind, subject: &Subject) -> bool {
    kind_of(subject) == Some(kind) && pattern(subject).is_some_and(|pattern| !pattern.contains(['*', '?']))
}

fn names(subject: &Subject, item: &Item<'_>, named: &Named) -> bool {
    subject.applies_to(&item.facts(named))
}

impl Read {
    /// The rules as a backup goes by them.
    pub(crate) fn selection(&self) -> Selection {
        let rule = |effect, (_, subject): &(String, Subject), workloads: &[Workload]| Rule {
            effect,
            subject: subject.clone(),
            workloads: workloads.to_vec(),
        };
        let included = self.include.iter().map(|found| rule(Effect::Include, found, &self.workloads));
        let excluded = self.exclude.iter().map(|found| rule(Effect::Exclude, found, &[]));
        Selection { rules: included.chain(excluded).collect() }
    }

    /// A part of those of a kind that is read; none: no part is. All rules here mean the same parts, so one speaks for all.
    pub(super) fn part(&self, kind: Kind) -> Option<Workload> {
        kind.parts().iter().copied().find(|part| self.workloads.is_empty() || self.workloads.contains(part))
    }

    /// Whether what is yet to come of a kind comes in by itself.
    pub(super) fn takes_new(&self, kind: Kind) -> bool {
        let takes = |subject: &Subject| match subject {
            Subject::Everything => true,
            Subject::Group(_) if kind == Kind::Users => true,
            Subject::Licence(_) => kind == Kind::Users,
            subject => kind_of(subject) == Some(kind) && !is_own(kind, subject),
        };
        let shut = |subject: &Subject| *subject == Subject::Everything || is_wide(kind, subject);
        self.part(kind).is_some()
            && self.include.iter().any(|(_, subject)| takes(subject))
            && !self.exclude.iter().any(|(_, subject)| shut(subject))
    }

    /// What groups are named.
    pub(super) fn groups(&self) -> impl Iterator<Item = &Subject> {
        let all = self.include.iter().chain(&self.exclude).map(|(_, subject)| subject);
        all.filter(|subject| matches!(subject, Subject::Group(_)))
    }

    /// How something stands.
    pub(crate) fn state(&self, item: &Item<'_>, named: &Named) -> State {
        let facts = item.facts(named);
        // A group that owns nothing, and a licence, stand for users.
        let of = if item.owns() { item.kind } else { Kind::Users };
        let first = |rules: &[(String, Subject)], facts: &Facts<'_>| {
            let naming: Vec<&(String, Subject)> = rules.iter().filter(|(_, s)| s.applies_to(facts)).collect();
            let own = naming.iter().any(|(_, subject)| is_own(item.kind, subject));
            naming.first().map(|(text, _)| (own, text.clone()))
        };
        if let Some((own, by)) = first(&self.exclude, &facts) {
            return if own { State::OwnOut } else { State::OutBy(by) };
        }
        match first(&self.include, &facts) {
            None => State::Unnamed,
            Some(_) if self.part(of).is_none() => State::NoPart,
            Some((true, _)) => State::Own,
            Some((false, by)) => State::By(by),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::tenant;
    use super::*;

    fn rules(include: &[&str], exclude: &[&str]) -> Rules {
        let all = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
        Rules { include: all(include), exclude: all(exclude), workloads: Vec::new() }
    }

    fn some() -> Contents {
        tenant(&[
            ("user", "ann@x", "Ann", &["E3"]),
            ("user", "bob@x", "Bob", &[]),
            ("user", "test-1@x", "Test", &[]),
            ("team", "Sales", "sales@x", &[]),
            ("members", "Security", "", &[]),
            ("site", "https://x/sites/a", "A", &[]),
        ])
    }

    #[test]
    fn ticking_writes_the_smallest_rule_and_undoes_itself() {
        let (found, named) = (some(), Named::default());
        for rule in ["ann@x", "group:Sales", "team:Sales", "group:Security", "site:https://x/sites/a", "licence:E3"] {
            let item = found.by_rule(rule).expect(rule);
            for (include, exclude) in [(vec!["*"], vec![]), (vec!["other@x"], vec![]), (vec!["*"], vec!["bob@x"])] {
                let before = rules(&include, &exclude);
                let was = before.read().state(&item, &named).is_in();
                let mut now = before.clone();
                now.tick(&found, &item, &named, !was).expect("it can be");
                assert_eq!(now.read().state(&item, &named).is_in(), !was, "{rule} {now:?}");
                assert_eq!(now.include.len() + now.exclude.len(), before.include.len() + before.exclude.len() + 1);
                now.tick(&found, &item, &named, !was).expect("again");
                now.tick(&found, &item, &named, was).expect("and back");
                assert_eq!(now, before, "{rule}");
            }
        }
    }

    #[test]
    fn a_rule_that_means_more_is_left_to_people() {
        let (found, named) = (some(), Named::default());
        let item = found.by_rule("test-1@x").expect("there");
        let mut now = rules(&["*"], &["test-*"]);
        assert_eq!(now.read().state(&item, &named), State::OutBy("test-*".to_owned()));
        let error = now.tick(&found, &item, &named, true).expect_err("a pattern");
        assert!(error.to_string().contains("test-*"), "{error}");
        assert_eq!(now, rules(&["*"], &["test-*"]));
        let mut now = Rules { workloads: vec!["sites".into()], ..rules(&["*"], &[]) };
        assert_eq!(now.read().state(&item, &named), State::NoPart);
        now.tick(&found, &item, &named, true).expect_err("no part of it");
        // By whichever name the rule was written.
        let mut now = rules(&["id-0"], &[]);
        now.tick(&found, &found.by_rule("ann@x").expect("there"), &named, false).expect("out");
        assert_eq!(now, rules(&[], &[]));
    }

    #[test]
    fn all_of_a_kind_is_one_rule() {
        for kind in Kind::ALL {
            let mut now = rules(&["*", "x@y"], &[]);
            now.tick_all(kind, false);
            assert_eq!(now.exclude, [kind.wide()]);
            now.tick_all(kind, true);
            assert!(now.exclude.is_empty() && now.include.contains(&"*".to_owned()));
            let mut now = rules(&[], &[]);
            now.tick_all(kind, true);
            now.tick_all(kind, true);
            assert_eq!(now.include, [kind.wide()]);
            assert!(now.read().takes_new(kind) || kind == Kind::Licences);
            now.tick_all(kind, false);
            assert_eq!(now, rules(&[], &[]));
        }
    }

    #[test]
    fn lines_are_rules_and_what_is_none_is_set_aside() {
        assert_eq!(lines("a@x, b@x\n\n group:Sales, EMEA \r\n*"), ["a@x", "b@x", "group:Sales, EMEA", "*"]);
        let read = rules(&["*", "plan:x"], &["group:"]).read();
        assert_eq!((read.include.len(), read.wrong.len()), (1, 2));
    }
}
