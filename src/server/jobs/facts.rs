//! What came of a run of a backup set, wherever it ran: told by whoever did it, noted by the server.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::of_set;
use super::progress::MOST_WAITS;
use super::worker::Ended;
use crate::error::{Error, ErrorKind, Result};
use crate::format::collection::Gap;
use crate::format::snapshot::{CoverageEntry, Totals};
use crate::ops::backup::BackupReport;
use crate::server::db::{JobKind, JobState, NewRun, Protected, SetRow};
use crate::server::error::told;
use crate::server::id::Id;
use crate::server::state::Server;

/// Gaps that are kept in the database; all of them stand in the snapshot.
const MOST_GAPS: usize = 100;
/// The longest text that is kept of a run, in characters.
const LONGEST: usize = 4_000;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RunOutcome {
    /// All of it is in the snapshot.
    Complete,
    /// Some of it could not be read.
    Gaps,
    /// Somebody stopped it.
    Interrupted,
    /// It did not work.
    Failed,
}

impl RunOutcome {
    fn word(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Gaps => "gaps",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
        }
    }

    fn state(self) -> JobState {
        match self {
            Self::Complete => JobState::Done,
            Self::Gaps => JobState::Gaps,
            Self::Interrupted => JobState::Cancelled,
            Self::Failed => JobState::Failed,
        }
    }
}

/// What could not be read: an item, or a whole collection.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct GapTold {
    name: String,
    message: String,
    since_us: i64,
    /// Whose item it is, and of which workload; empty where nobody said so.
    #[serde(default)]
    of: String,
    /// It is a whole collection: all of somebody's mail, a drive, a chat. Null: nobody said so.
    #[serde(default)]
    whole: Option<bool>,
}

/// Whose the items of a collection are, and of which workload.
fn owner(collection: &str, coverage: &[CoverageEntry]) -> String {
    let found = coverage.iter().find(|entry| {
        let rest = collection.strip_prefix(entry.owner.as_str()).and_then(|rest| rest.strip_prefix('/'));
        rest.is_some_and(|rest| rest.split('/').next() == Some(entry.workload.as_str()))
    });
    found.map(|entry| format!("{}, {}", entry.name, entry.workload)).unwrap_or_default()
}

/// The facts of a run.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct Facts {
    /// How it ended.
    pub(crate) outcome: RunOutcome,
    /// Why it failed.
    pub(crate) error: Option<String>,
    /// The snapshot that it wrote.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub(crate) snapshot: Option<String>,
    /// Counts.
    #[schema(value_type = Object)]
    pub(crate) totals: Totals,
    /// How long all contents of the snapshot are together, where that was counted.
    #[serde(default)]
    pub(crate) bytes_logical: Option<u64>,
    /// The first gaps, whole collections before items.
    #[schema(max_items = 100)]
    pub(crate) gaps: Vec<GapTold>,
    /// How long it waited, by what for: microseconds.
    #[serde(default)]
    pub(crate) waits: BTreeMap<String, i64>,
    /// How much the snapshot protects.
    pub(crate) protected: Option<Protected>,
}

impl Facts {
    /// The facts of what a run gave.
    pub(crate) fn of(result: &Result<BackupReport>) -> Self {
        let report = match result {
            Ok(report) => report,
            Err(e) => {
                let interrupted = e.kind() == ErrorKind::Interrupted;
                return Self {
                    outcome: if interrupted { RunOutcome::Interrupted } else { RunOutcome::Failed },
                    error: (!interrupted).then(|| told(e)),
                    snapshot: None,
                    totals: Totals::default(),
                    bytes_logical: None,
                    gaps: Vec::new(),
                    waits: BTreeMap::new(),
                    protected: None,
                };
            }
        };
        let (whole, items): (Vec<&Gap>, Vec<&Gap>) = report.gaps.iter().partition(|gap| gap.id.is_empty());
        let gap = |gap: &Gap| GapTold {
            name: gap.name.clone(),
            message: gap.text.clone(),
            since_us: gap.since_us,
            of: if gap.id.is_empty() { String::new() } else { owner(&gap.collection, &report.coverage) },
            whole: Some(gap.id.is_empty()),
        };
        Self {
            outcome: match report {
                report if report.stopped => RunOutcome::Interrupted,
                report if report.complete && report.gaps.is_empty() => RunOutcome::Complete,
                _ => RunOutcome::Gaps,
            },
            error: None,
            snapshot: Some(report.snapshot.to_string()),
            totals: report.totals,
            bytes_logical: report.bytes_logical,
            gaps: whole.into_iter().chain(items).take(MOST_GAPS).map(gap).collect(),
            waits: BTreeMap::new(),
            protected: Some(Protected::of(&report.coverage)),
        }
    }

    /// Cuts what another machine told to what is kept, and refuses what cannot be.
    ///
    /// # Errors
    /// `InvalidInput`.
    pub(crate) fn checked(mut self) -> Result<Self> {
        if self.snapshot.as_ref().is_some_and(|id| id.parse::<crate::format::id::SnapshotId>().is_err()) {
            return Err(Error::invalid("This is not the id of a snapshot"));
        }
        cut(self.error.as_mut());
        self.gaps.truncate(MOST_GAPS);
        for gap in &mut self.gaps {
            cut(Some(&mut gap.name));
            cut(Some(&mut gap.message));
            cut(Some(&mut gap.of));
        }
        let waits = std::mem::take(&mut self.waits).into_iter().take(MOST_WAITS);
        self.waits = waits
            .map(|(mut reason, us)| {
                cut(Some(&mut reason));
                (reason, us.clamp(0, 1 << 53))
            })
            .collect();
        if let Some(p) = &mut self.protected {
            let most = i64::from(u32::MAX);
            (p.mailboxes, p.drives, p.sites) =
                (p.mailboxes.clamp(0, most), p.drives.clamp(0, most), p.sites.clamp(0, most));
        }
        Ok(self)
    }
}

fn cut(text: Option<&mut String>) {
    if let Some(text) = text
        && let Some((at, _)) = text.char_indices().nth(LONGEST)
    {
        text.truncate(at);
    }
}

/// Notes a run of a set, and asks for what follows upon it. What it gives is how the job ends.
///
/// # Errors
/// As any query.
pub(crate) async fn note(server: &Server, set: &SetRow, job: &Id, started_us: i64, facts: &Facts) -> Result<Ended> {
    let outcome = facts.outcome.word();
    let new = NewRun {
        account: &set.account,
        set: &set.id,
        job,
        started_us,
        ended_us: server.now_us(),
        outcome,
        error: facts.error.as_deref(),
        snapshot: facts.snapshot.as_deref(),
        totals: facts.totals,
        bytes_logical: facts.snapshot.as_ref().and(facts.bytes_logical),
        waits: json!(facts.waits),
        gap_list: json!(facts.gaps),
    };
    server.db.note_run(&new).await?;
    if let Some(protected) = facts.protected {
        server.db.keep_protected(&set.id, protected).await?;
    }
    if matches!(facts.outcome, RunOutcome::Complete | RunOutcome::Gaps) {
        let now = server.now_us();
        server.db.ask_for(&of_set(set, JobKind::Retention, "schedule", now), now).await?;
        if server.db.destinations(&set.repository).await?.len() > 1 {
            server.db.ask_for(&of_set(set, JobKind::Mirror, "schedule", now), now).await?;
        }
    }
    let mut told = json!({"snapshot": facts.snapshot, "totals": facts.totals, "outcome": outcome});
    if let (Some(bytes), Some(fields)) = (new.bytes_logical, told.as_object_mut()) {
        fields.insert("bytes_logical".to_owned(), json!(bytes));
    }
    Ok(Ended { state: facts.outcome.state(), outcome: told })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::snapshot::Protection;

    #[test]
    fn an_item_that_is_missing_is_said_to_be_somebodys() {
        let entry = |owner: &str, name: &str, workload: &str| CoverageEntry {
            owner: owner.to_owned(),
            name: name.to_owned(),
            workload: workload.to_owned(),
            state: Protection::Partly,
            reason: String::new(),
            items: 1,
            gaps: 1,
            since_us: 0,
        };
        let all = [
            entry("users/1", "alice", "mail"),
            entry("users/12", "bob", "calendar"),
            entry("users/12", "bob", "mail"),
            entry("sites/a,b", "Sales", "list"),
        ];
        for (collection, whose) in [
            ("users/12/mail", "bob, mail"),
            ("users/1/mail", "alice, mail"),
            ("sites/a,b/list/7", "Sales, list"),
            ("users/12/tasks", ""),
            ("users/123/mail", ""),
        ] {
            assert_eq!(owner(collection, &all), whose, "{collection}");
        }
    }
}
