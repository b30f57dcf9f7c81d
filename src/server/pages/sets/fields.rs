//! What people type into the five steps, by the names of the fields, as they typed it: the draft of a new set, and a tab of an
//! old one. What comes of it is looked at when they go on.

use std::collections::BTreeMap;

use super::steps::Step;
use crate::error::{Error, Result};
use crate::server::choices::Choices;
use crate::server::contents::{Rules, lines};
use crate::server::db::{ScheduleRow, SetRow};
use crate::server::deeds::sets::SetWanted;
use crate::server::id::Id;
use crate::server::schedule::Timing;
use crate::snapshot::policy::Count;
use crate::snapshot::set::Workload;

/// Schedules of one set.
pub(super) const MOST_TIMES: usize = 20;

/// The counts of the retention: the field, what it counts, and one of it in words.
pub(super) const KEPT: [(&str, &str, &str); 6] = [
    ("keep_last", "last", ""),
    ("keep_hourly", "hours", "hour"),
    ("keep_daily", "days", "day"),
    ("keep_weekly", "weeks", "week"),
    ("keep_monthly", "months", "month"),
    ("keep_yearly", "years", "year"),
];

/// What was typed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Fields(pub(super) BTreeMap<String, String>);

/// When it runs, as a row of the form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Time {
    /// `daily`, `weekdays`, `hourly`, `cron`.
    pub(super) kind: String,
    /// Hour and minute: `22:00`.
    pub(super) time: String,
    /// A rule of one's own.
    pub(super) cron: String,
}

impl Time {
    pub(super) fn daily() -> Self {
        Self { kind: "daily".to_owned(), time: "22:00".to_owned(), cron: String::new() }
    }

    /// The row that a rule is shown as.
    fn of(cron: &str) -> Self {
        let own = || Self { kind: "cron".to_owned(), time: "22:00".to_owned(), cron: cron.to_owned() };
        let parts: Vec<&str> = cron.split_whitespace().collect();
        let [minute, hour, "*", "*", weekday] = parts.as_slice() else { return own() };
        let Ok(minute) = minute.parse::<u8>() else { return own() };
        let (kind, hour) = match (*hour, *weekday) {
            ("*", "*") => ("hourly", 0),
            (hour, weekday) => match (hour.parse::<u8>(), weekday) {
                (Ok(hour), "*") => ("daily", hour),
                (Ok(hour), "1-5") => ("weekdays", hour),
                _ => return own(),
            },
        };
        Self { kind: kind.to_owned(), time: format!("{hour:02}:{minute:02}"), cron: String::new() }
    }

    /// The rule of a row.
    pub(super) fn rule(&self) -> Result<String> {
        if self.kind == "cron" {
            return Ok(self.cron.trim().to_owned());
        }
        let bad = || {
            Error::invalid(format!("'{}' is not a time of day", self.time.escape_debug()))
                .with_hint("Write hour and minute: 22:00")
        };
        let (hour, minute) = self.time.trim().split_once(':').ok_or_else(bad)?;
        // Browsers may add seconds.
        let minute = minute.split(':').next().unwrap_or_default();
        let number = |text: &str, most: u8| text.parse::<u8>().ok().filter(|n| *n <= most).ok_or_else(bad);
        let (hour, minute) = (number(hour, 23)?, number(minute, 59)?);
        match self.kind.as_str() {
            "daily" => Ok(format!("{minute} {hour} * * *")),
            "weekdays" => Ok(format!("{minute} {hour} * * 1-5")),
            "hourly" => Ok(format!("{minute} * * * *")),
            _ => Err(Error::invalid("This is no kind of schedule")),
        }
    }
}

fn count(text: &str) -> Result<Count> {
    match text.trim() {
        "" => Ok(Count(0)),
        "unlimited" => Ok(Count::UNLIMITED),
        number => number.parse().map(Count).map_err(|_| {
            Error::invalid(format!("'{}' is not a number of snapshots", number.escape_debug()))
                .with_hint("Write a number, or unlimited")
        }),
    }
}

impl Fields {
    /// Those of a set that nobody described yet.
    pub(super) fn fresh() -> Self {
        let mut fields = Self::default();
        fields.set("name", "everyone");
        fields.fill(&Choices::default());
        fields.set_times(&[Time::daily()]);
        fields.set("jitter", "0");
        for name in ["catch_up", "enabled"] {
            fields.set(name, "on");
        }
        fields.set("new_name", "Main");
        fields.set("new_kind", "server");
        fields
    }

    /// Those of a set that is there.
    pub(super) fn of(set: &SetRow, schedules: &[ScheduleRow]) -> Self {
        let mut fields = Self::default();
        fields.set("name", &set.name);
        fields.set("tenant", set.tenant.as_str());
        fields.fill(&set.choices);
        fields.set_times(&schedules.iter().map(|row| Time::of(&row.timing.cron)).collect::<Vec<_>>());
        let first = schedules.first().map(|row| &row.timing);
        fields.set("zone", first.map_or(&set.choices.time_zone, |timing| &timing.zone));
        fields.set("jitter", &first.map_or(0, |timing| timing.jitter_s / 60).to_string());
        if first.is_none_or(|timing| timing.catch_up) {
            fields.set("catch_up", "on");
        }
        if set.enabled {
            fields.set("enabled", "on");
        }
        fields.set("repository", set.repository.as_str());
        fields.set("client", set.client.as_ref().map_or("", Id::as_str));
        fields
    }

    fn fill(&mut self, choices: &Choices) {
        self.set("include", &choices.include.join("\n"));
        self.set("exclude", &choices.exclude.join("\n"));
        self.set("parts", if choices.workloads.is_empty() { "all" } else { "some" });
        self.set("part", &choices.workloads.join("\n"));
        self.set("skip_folders", &choices.skip_folders.join("\n"));
        self.set("skip_files", &choices.skip_files.join("\n"));
        self.set("versions", &choices.versions);
        self.set("leavers", &choices.leavers);
        self.set("zone", &choices.time_zone);
        let kept = &choices.retention;
        let counts =
            [kept.keep_last, kept.keep_hourly, kept.keep_daily, kept.keep_weekly, kept.keep_monthly, kept.keep_yearly];
        for ((name, ..), count) in KEPT.iter().zip(counts) {
            self.set(name, &count.to_string());
        }
    }

    /// What was typed into a field.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// What was typed into fields of one name, or chosen of several.
    pub(super) fn list(&self, name: &str) -> Vec<&str> {
        self.0.get(name).filter(|text| !text.is_empty()).map(|text| text.split('\n').collect()).unwrap_or_default()
    }

    /// Whether a box is ticked.
    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name) == "on"
    }

    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_owned(), value.to_owned());
    }

    /// Takes what a form sent, as far as it belongs to a step; all that is of other steps stays.
    pub(super) fn take(&mut self, step: Step, sent: &[(String, String)]) {
        for name in step.fields() {
            let mut values = sent.iter().filter(|(found, _)| found == name).map(|(_, value)| value.replace('\r', ""));
            // Fields of one name make a list; an empty box is not sent.
            let joined = values.by_ref().take(1_000).collect::<Vec<_>>().join("\n");
            self.0.insert((*name).to_owned(), joined);
        }
    }

    /// The rules of the choice.
    pub(super) fn rules(&self) -> Rules {
        let parts = if self.get("parts") == "some" { self.list("part") } else { Vec::new() };
        Rules {
            include: lines(self.get("include")),
            exclude: lines(self.get("exclude")),
            workloads: parts.into_iter().map(str::to_owned).collect(),
        }
    }

    pub(super) fn set_rules(&mut self, rules: &Rules) {
        self.set("include", &rules.include.join("\n"));
        self.set("exclude", &rules.exclude.join("\n"));
    }

    /// When it runs, row by row.
    pub(super) fn times(&self) -> Vec<Time> {
        let (times, crons) = (self.0.get("when_time"), self.0.get("when_cron"));
        let nth = |text: Option<&String>, n: usize| {
            text.and_then(|text| text.split('\n').nth(n)).unwrap_or_default().to_owned()
        };
        let kinds = self.list("when_kind").into_iter().take(MOST_TIMES).enumerate();
        kinds.map(|(n, kind)| Time { kind: kind.to_owned(), time: nth(times, n), cron: nth(crons, n) }).collect()
    }

    pub(super) fn set_times(&mut self, times: &[Time]) {
        let join = |text: fn(&Time) -> &str| times.iter().map(text).collect::<Vec<_>>().join("\n");
        let (kinds, hours, crons) = (join(|time| &time.kind), join(|time| &time.time), join(|time| &time.cron));
        self.set("when_kind", &kinds);
        self.set("when_time", &hours);
        self.set("when_cron", &crons);
    }

    /// The rules of all rows.
    pub(super) fn timings(&self) -> Result<Vec<Timing>> {
        let jitter = match self.get("jitter").trim() {
            "" => 0,
            text => text.parse::<u32>().map_err(|_| {
                Error::invalid(format!("'{}' is not a number of minutes", text.escape_debug()))
                    .with_hint("Write how many minutes later it may begin, or 0")
            })?,
        };
        let timing = |time: Time| {
            Ok(Timing {
                cron: time.rule()?,
                zone: self.get("zone").trim().to_owned(),
                jitter_s: jitter.saturating_mul(60),
                catch_up: self.has("catch_up"),
            })
        };
        self.times().into_iter().map(timing).collect()
    }

    /// The same of a set that is there: what the form has once for all schedules, and nobody changed in it, stays as each had it.
    pub(super) fn timings_after(&self, shown: &Self, schedules: &[ScheduleRow]) -> Result<Vec<Timing>> {
        let same = |name: &str| self.get(name).trim() == shown.get(name);
        let mut left: Vec<&Timing> = schedules.iter().map(|row| &row.timing).collect();
        let mut timings = self.timings()?;
        for timing in &mut timings {
            let Some(at) = left.iter().position(|old| old.cron == timing.cron) else { continue };
            let old = left.remove(at);
            if same("zone") {
                timing.zone.clone_from(&old.zone);
            }
            if same("jitter") {
                timing.jitter_s = old.jitter_s;
            }
            if same("catch_up") {
                timing.catch_up = old.catch_up;
            }
        }
        Ok(timings)
    }

    /// Puts what was chosen into the choices.
    pub(super) fn put_choice(&self, choices: &mut Choices) -> Result<()> {
        let rules = self.rules();
        if self.get("parts") == "some" && rules.workloads.is_empty() {
            let all: Vec<&str> = Workload::ALL.iter().map(|workload| workload.word()).collect();
            return Err(Error::invalid("No part is ticked: the backup set would protect nothing")
                .with_hint(format!("Tick at least one of {}, or take all", all.join(", "))));
        }
        (choices.include, choices.exclude, choices.workloads) = (rules.include, rules.exclude, rules.workloads);
        let whole = |name: &str| {
            let lines = self.get(name).lines().map(str::trim).filter(|line| !line.is_empty());
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        choices.skip_folders = whole("skip_folders");
        choices.skip_files = whole("skip_files");
        choices.versions = self.get("versions").trim().to_owned();
        choices.leavers = self.get("leavers").trim().to_owned();
        Ok(())
    }

    /// Puts how long snapshots are kept into the choices.
    pub(super) fn put_kept(&self, choices: &mut Choices) -> Result<()> {
        choices.time_zone = self.get("zone").trim().to_owned();
        let kept = &mut choices.retention;
        let counts = [
            &mut kept.keep_last,
            &mut kept.keep_hourly,
            &mut kept.keep_daily,
            &mut kept.keep_weekly,
            &mut kept.keep_monthly,
            &mut kept.keep_yearly,
        ];
        for ((name, ..), place) in KEPT.iter().zip(counts) {
            *place = count(self.get(name))?;
        }
        Ok(())
    }

    /// The whole set.
    pub(super) fn wanted(&self, before: &Choices) -> Result<SetWanted> {
        let mut choices = before.clone();
        self.put_choice(&mut choices)?;
        self.put_kept(&mut choices)?;
        Ok(SetWanted {
            name: self.get("name").trim().to_owned(),
            tenant: self.id("tenant", "a tenant")?,
            repository: self.id("repository", "a repository")?,
            choices,
            schedules: self.timings()?,
            enabled: self.has("enabled"),
            client: self.client()?,
        })
    }

    /// The client that runs it; none: the server.
    pub(super) fn client(&self) -> Result<Option<Id>> {
        Some(self.get("client")).filter(|id| !id.is_empty()).map(Id::parse).transpose()
    }

    /// The id in a field.
    pub(super) fn id(&self, name: &str, what: &str) -> Result<Id> {
        Id::parse(self.get(name)).map_err(|_| Error::invalid(format!("Choose {what} first")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_are_shown_as_the_preset_that_they_are_and_stay_what_they_were() {
        for (cron, kind) in [
            ("0 22 * * *", "daily"),
            ("5 7 * * 1-5", "weekdays"),
            ("30 * * * *", "hourly"),
            ("0 0 1 * *", "cron"),
            ("*/5 * * * *", "cron"),
            ("@daily", "cron"),
            ("0 22 * * 1,3", "cron"),
        ] {
            let row = Time::of(cron);
            assert_eq!((row.kind.as_str(), row.rule().expect("a rule").as_str()), (kind, cron));
        }
        for bad in ["", "22", "24:00", "12:60", "x:y"] {
            Time { time: bad.into(), ..Time::daily() }.rule().expect_err(bad);
        }
        assert_eq!(Time { time: "22:05:00".into(), ..Time::daily() }.rule().expect("a rule"), "5 22 * * *");
    }

    #[test]
    fn what_is_fresh_is_the_default_and_a_step_takes_its_own_fields_alone() {
        let mut fields = Fields::fresh();
        fields.set("tenant", &"a".repeat(32));
        fields.set("repository", &"b".repeat(32));
        let wanted = fields.wanted(&Choices::default()).expect("good");
        assert_eq!(wanted.choices, Choices::default());
        assert_eq!(
            (wanted.schedules.len(), wanted.schedules[0].cron.as_str(), wanted.enabled),
            (1, "0 22 * * *", true)
        );
        let sent = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>()
        };
        let all = sent(&[
            ("when_kind", "daily"),
            ("when_time", "06:00"),
            ("when_cron", ""),
            ("when_kind", "cron"),
            ("when_time", ""),
            ("when_cron", "0 0 1 * *"),
            ("zone", "Europe/Berlin"),
            ("keep_last", "5"),
            ("name", "other"),
            ("include", "nobody@x"),
        ]);
        fields.take(Step::When, &all);
        let wanted = fields.wanted(&Choices::default()).expect("good");
        assert_eq!(wanted.schedules.iter().map(|t| t.cron.as_str()).collect::<Vec<_>>(), ["0 6 * * *", "0 0 1 * *"]);
        assert!(!wanted.enabled && !wanted.schedules[0].catch_up, "boxes that are not ticked are not sent");
        assert_eq!((wanted.name.as_str(), wanted.choices.include.join(",").as_str()), ("everyone", "*"));
        fields.take(Step::Choose, &sent(&[("include", "a@x\r\nb@x"), ("parts", "some")]));
        fields.wanted(&Choices::default()).expect_err("no part");
        fields.take(
            Step::Choose,
            &sent(&[
                ("include", "a@x\r\nb@x"),
                ("parts", "some"),
                ("part", "mail"),
                ("part", "chats"),
                ("versions", "all"),
                ("leavers", "keep"),
            ]),
        );
        let wanted = fields.wanted(&Choices::default()).expect("good");
        assert_eq!((wanted.choices.include.len(), wanted.choices.workloads.join(",").as_str()), (2, "mail,chats"));
    }
}
