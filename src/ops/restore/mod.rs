//! Restore: items of a snapshot go back into a tenant. Resolve and probe -> plan -> run with a journal -> undo.
//!
//! Three arguments make it trustworthy. Nothing is written before the plan, which is a value: it is printed, saved and run, and says
//! what is created, overwritten and left. Every making is written to the journal before it is asked for ([`journal`]), and one
//! whose result is not there is looked up in the target before it is made again, so that no interruption makes two of one; what
//! ends halfway is taken back, by what it said on the way ([`log`]). And undo takes back what the journal says was made, nothing
//! else, and nothing that somebody changed since.

mod folders;
mod journal;
mod known;
mod log;
mod open;
mod place;
mod plan;
mod refused;
mod run;
mod siblings;
mod source;
mod stale;
mod steps;
mod time;
mod undo;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::crypto::KeyRight;
use crate::error::{Error, ErrorKind, Result};
use crate::m365::restore::{Cost, Extras};
use crate::m365::{CollectionKey, Workload};
use crate::monitor::Monitor;
use crate::ops::backup::Stop;
use crate::repo::Repository;

pub use journal::{Book, Keeper, Kept, Known, RunFolder, State, list, runs_in};
pub use place::{To, is_of_tenant};
pub use plan::{Asked, make};
pub use run::{RestoreReport, run};
pub use steps::Steps;
pub use undo::{UndoReport, undo};

/// What becomes of an item where something of the same identity is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Conflict {
    /// What is there stays, and the item is left out.
    #[default]
    Skip,
    /// What is there stays, and the item comes beside it.
    Copy,
    /// What is there gets the item's contents.
    Replace,
    /// What is there gets the item's contents if the item was changed later.
    Newer,
}

/// Which items are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Only {
    /// All.
    #[default]
    All,
    /// Those that are not in the tenant any more.
    Deleted,
    /// Those that are in the tenant and differ.
    Changed,
}

/// Where in the target the items go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Into {
    /// Into a folder of this name at the top.
    Folder(String),
    /// Where they were.
    Place,
}

/// How a restore is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreOptions {
    /// Where in the target the items go.
    pub into: Into,
    /// What becomes of items that are there.
    pub conflict: Conflict,
    /// Which items are taken.
    pub only: Only,
    /// Files get back the permissions that people had.
    pub permissions: bool,
    /// Files get new sharing links in the place of those they had.
    #[serde(default)]
    pub links: bool,
    /// Files get back the earlier versions that the snapshot has.
    pub versions: bool,
}

impl RestoreOptions {
    fn extras(&self) -> Extras {
        Extras { permissions: self.permissions, links: self.links, versions: self.versions }
    }
}

/// What is done with an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It is made.
    Create,
    /// It is made beside something of the same name.
    Copy,
    /// What has this id gets its contents.
    Overwrite(String),
    /// A container: what has this id is used.
    Use(String),
    /// It is left out; the reason in words.
    Skip(String),
    /// It cannot be made; the reason in words.
    Cannot(String),
    /// Whether it is to be made is not known, and so it is not; the reason in words.
    Unknown(String),
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Where it is done: a number among the plan's targets.
    pub target: usize,
    /// The item's id in the snapshot; empty: the container at the top that the restore makes for itself.
    pub item: String,
    /// The id in the snapshot of what holds it; empty: the top.
    pub parent: String,
    /// The name that it gets.
    pub name: String,
    /// Where people find it in the snapshot.
    pub path: String,
    /// It holds others.
    pub container: bool,
    /// What is done.
    pub action: Action,
    /// What that costs.
    pub cost: Cost,
}

/// A target of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedTarget {
    /// The key of the collection that the items come from.
    pub from: String,
    /// The key word and id of who takes them: `users/<id>`.
    pub owner: String,
    /// The owner's name.
    pub name: String,
    /// The last part of the collection's path.
    pub title: String,
    /// The items go back to whom they came from.
    pub original: bool,
    /// Where that is, for people.
    pub path: String,
    /// The permission that it takes.
    pub permission: String,
}

/// What a restore will do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The version of this form.
    pub version: u32,
    /// The run's name.
    pub run: String,
    /// The snapshot's id.
    pub snapshot: String,
    /// The tenant's name in the configuration.
    pub tenant: String,
    /// The tenant's id, as the configuration had it; empty in plans of before it was kept.
    #[serde(default)]
    pub tenant_id: String,
    /// How it is to be done.
    pub options: RestoreOptions,
    /// Where to.
    pub targets: Vec<PlannedTarget>,
    /// What, in order: a container comes before what goes into it.
    pub steps: Steps,
    /// How long it takes at least under Microsoft's limits, in seconds.
    pub seconds: u64,
    /// What was asked for as a part of something larger and has no way back here: path and reason.
    #[serde(default)]
    pub left_out: Vec<(String, String)>,
    /// What was asked for as a part of something larger and would come back, if its target did not refuse it: path and reason.
    #[serde(default)]
    pub refused: Vec<(String, String)>,
}

/// The permission that targets in drives take.
const FILES: &str = "Files.ReadWrite.All";

/// The version of plans that this program writes.
pub const PLAN_VERSION: u32 = 1;

/// How many steps of each kind a plan has, and what they cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct PlanCounts {
    /// Items and containers that are made.
    pub create: u64,
    /// Items that get other contents.
    pub overwrite: u64,
    /// Items that are left out.
    pub skip: u64,
    /// Items that cannot be made, or of which is not known whether they are to be.
    pub cannot: u64,
    /// Requests.
    pub requests: u64,
    /// Bytes sent.
    pub bytes: u64,
}

impl Plan {
    /// Counts.
    pub fn counts(&self) -> PlanCounts {
        let mut counts = PlanCounts::default();
        for step in self.steps.iter() {
            match step.action {
                Action::Create | Action::Copy => counts.create += 1,
                Action::Overwrite(_) => counts.overwrite += 1,
                Action::Skip(_) => counts.skip += 1,
                Action::Cannot(_) | Action::Unknown(_) => counts.cannot += 1,
                Action::Use(_) => {}
            }
            counts.requests += step.cost.requests;
            counts.bytes += step.cost.bytes;
        }
        counts
    }

    /// Says whether a step is one in a drive.
    fn is_drive(&self, step: &Step) -> bool {
        self.targets.get(step.target).is_some_and(|target| target.permission == FILES)
    }

    /// What its numbers leave out, in words: what an item lacks that is overwritten is known only when that is done.
    pub fn not_counted(&self) -> Vec<&'static str> {
        let of = |target: &PlannedTarget, workload: Workload| {
            target.from.parse().is_ok_and(|key: CollectionKey| key.workload == workload)
        };
        let overwrites = |workload| {
            let goes: Vec<bool> = self.targets.iter().map(|target| of(target, workload)).collect();
            let is_of = |step: &Step| goes.get(step.target) == Some(&true);
            let is_over = |step: Step| is_of(&step) && matches!(step.action, Action::Overwrite(_));
            goes.contains(&true) && self.steps.iter().any(is_over)
        };
        let (tasks, events) = (overwrites(Workload::Tasks), overwrites(Workload::Calendar));
        let all = [
            (tasks, "steps and links of tasks that are overwritten"),
            (tasks || events, "attachments of what is overwritten"),
        ];
        all.into_iter().filter(|(is_so, _)| *is_so).map(|(_, what)| what).collect()
    }

    /// How many files get no earlier versions, though these are asked for: those that are there already and get other contents.
    pub fn keep_versions(&self) -> u64 {
        let asked = self.options.versions;
        let over = |step: &Step| matches!(step.action, Action::Overwrite(_)) && self.is_drive(step);
        self.steps.iter().filter(|step| asked && over(step)).count() as u64
    }

    /// How many files and folders keep the rights that they have, though rights are asked for: those that are there already.
    pub fn keep_rights(&self) -> u64 {
        let stays = |step: &Step| matches!(step.action, Action::Skip(_) | Action::Use(_) | Action::Overwrite(_));
        let asked = self.options.permissions || self.options.links;
        let keep =
            self.steps.iter().filter(|step| asked && !step.item.is_empty() && stays(step) && self.is_drive(step));
        keep.count() as u64
    }

    /// Reads a plan that was saved.
    ///
    /// # Errors
    /// `InvalidInput` if it is none, or of another version.
    pub fn read(text: impl std::io::Read) -> Result<Self> {
        let plan: Self = serde_json::from_reader(text)
            .map_err(|e| Error::invalid("The file is not a plan of a restore").with_source(e))?;
        if plan.version != PLAN_VERSION {
            let text = format!("The plan is of version {}, this program reads version {PLAN_VERSION}", plan.version);
            return Err(Error::new(ErrorKind::UnsupportedVersion, text).with_hint("Make the plan anew with --plan"));
        }
        let wild = plan.steps.iter().any(|step| step.target >= plan.targets.len());
        if wild || plan.run.is_empty() || plan.run.contains(|c: char| !c.is_ascii_alphanumeric() && c != '-') {
            return Err(Error::invalid("The plan contradicts itself").with_hint("Make it anew with --plan"));
        }
        Ok(plan)
    }
}

/// The outside world of a restore.
#[derive(Clone)]
pub struct Around {
    /// Hears what happens.
    pub monitor: Arc<dyn Monitor>,
    /// Tells the time: microseconds since 1970 UTC.
    pub now_us: Arc<dyn Fn() -> i64 + Send + Sync>,
    /// Asks the run to come to an end.
    pub stop: Stop,
    /// Says where runs are kept: [`runs_in`], or a server's database.
    pub runs: Keeper,
}

/// Fails if the repository was opened with a key that cannot read contents.
///
/// # Errors
/// `WrongKey`, saying which key is needed.
pub fn need_contents(repo: &Repository) -> Result<()> {
    if repo.right() == KeyRight::Owner {
        return Ok(());
    }
    let text = "A restore reads contents, and the key that was given is write-only";
    Err(Error::new(ErrorKind::WrongKey, text)
        .with_hint("Give the passphrase of an owner's key; key list shows which there are"))
}

/// Looks at the name of a folder that a restore is to have for itself.
fn check_folder(name: &str) -> Result<()> {
    let is_refused = |c: char| c.is_control() || r#"/\:*?"<>|"#.contains(c);
    if name.trim().is_empty()
        || name.trim() != name
        || name.ends_with('.')
        || name.len() > 200
        || name.contains(is_refused)
    {
        let text = format!("{name:?} cannot be the name of a folder");
        return Err(Error::invalid(text).with_hint(
            r#"Take up to 200 bytes without / \ : * ? " < > |, with no space around them and no full stop at the end"#,
        ));
    }
    Ok(())
}

/// Makes a name for a run: the second, its microsecond as five hexadecimal digits, and four that tell it from others of the
/// same microsecond. Names sort by time.
pub fn run_name(now_us: i64) -> String {
    let time = jiff::Timestamp::from_microsecond(now_us).unwrap_or_default();
    let (second, chance) = (time.strftime("%Y%m%d-%H%M%S"), rand::random::<u16>());
    format!("{second}-{:05x}{chance:04x}", now_us.rem_euclid(1_000_000))
}

/// The second that the name of a run tells, in microseconds since 1970 UTC.
fn time_of_run(name: &str) -> Option<i64> {
    let second = jiff::civil::DateTime::strptime("%Y%m%d-%H%M%S", name.get(..15)?).ok()?;
    Some(jiff::tz::TimeZone::UTC.to_timestamp(second).ok()?.as_microsecond())
}

#[cfg(test)]
mod tests {
    use super::{run_name, time_of_run};

    #[test]
    fn the_name_of_a_run_tells_its_second() {
        let now_us = 1_795_795_200_123_456;
        assert_eq!(time_of_run(&run_name(now_us)), Some(now_us - 123_456));
        assert_eq!(["", "nightly", "20261127-1612"].map(time_of_run), [None; 3]);
    }

    #[test]
    fn names_of_runs_sort_by_time() {
        let start = 1_795_000_000_000_000;
        let times = [0, 1, 15, 16, 255, 4_096, 65_536, 999_999, 1_000_000, 1_000_001, 86_400_000_000];
        let names: Vec<String> = times.iter().map(|after| run_name(start + after)).collect();
        assert!(names.is_sorted() && names.iter().all(|name| name.len() == names[0].len()), "{names:?}");
        assert_ne!(run_name(start), run_name(start));
    }
}
