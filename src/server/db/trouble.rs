//! What does not go as it should and stays so until somebody looks: jobs that failed last, checks that found damage, replicas
//! that lag.

use super::{Columns as _, Db, JobKind};
use crate::error::Result;
use crate::server::id::Id;

/// The last job of its kind, of a set or a repository, and it did not go well.
#[derive(Debug, Clone)]
pub(crate) struct Trouble {
    /// The job.
    pub(crate) job: Id,
    /// What it was to do.
    pub(crate) kind: JobKind,
    /// It failed; else it found something.
    pub(crate) failed: bool,
    /// The set, if it was about one.
    pub(crate) set: Option<Id>,
    /// The repository.
    pub(crate) repository: Option<Id>,
}

/// A replica that is not up to date.
#[derive(Debug, Clone)]
pub(crate) struct Lagging {
    /// Of which repository.
    pub(crate) repository: Id,
    /// What people call it.
    pub(crate) name: String,
}

// What failed long ago is looked at only as far as it is among the last five hundred: a page waits for this.
macro_rules! last {
    ($which:literal) => {
        concat!(
            "SELECT j.id AS id, j.kind AS kind, j.set_id AS set_id, j.repository_id AS repository_id FROM \
             (SELECT id, kind, set_id, repository_id, created_us, ended_us FROM jobs WHERE account_id = $1 AND ",
            $which,
            " AND repository_id IS NOT NULL ORDER BY ended_us DESC LIMIT 500) j \
             WHERE NOT EXISTS (SELECT 1 FROM jobs n WHERE n.repository_id = j.repository_id AND n.kind = j.kind \
               AND n.kind IN ('prune', 'check', 'mirror') AND n.created_us > j.created_us \
               AND n.state IN ('done', 'gaps', 'failed')) \
             AND NOT EXISTS (SELECT 1 FROM jobs n WHERE n.set_id = j.set_id AND n.kind = j.kind \
               AND n.created_us > j.created_us AND n.state IN ('done', 'gaps', 'failed')) \
             ORDER BY j.ended_us DESC"
        )
    };
}

impl Db {
    /// Of each kind of job of a set or repository the last, where it failed, or where a check found damage; the newest first.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn trouble(&self, account: &Id) -> Result<Vec<Trouble>> {
        let failed = last!("state = 'failed' AND kind IN ('backup', 'retention', 'prune', 'check', 'mirror')");
        let found = last!("state = 'gaps' AND kind = 'check'");
        let mut all = Vec::new();
        for (sql, failed) in [(failed, true), (found, false)] {
            for row in &sqlx::query(sql).bind(account.as_str()).fetch_all(self.pool()).await? {
                all.push(Trouble {
                    job: row.id("id")?,
                    kind: super::from_json(&format!("\"{}\"", row.text("kind")?))?,
                    failed,
                    set: row.maybe_id("set_id")?,
                    repository: row.maybe_id("repository_id")?,
                });
            }
        }
        Ok(all)
    }

    /// The replicas of an account that lag, by name.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn lagging(&self, account: &Id) -> Result<Vec<Lagging>> {
        let rows = sqlx::query(
            "SELECT repository_id, name FROM destinations WHERE account_id = $1 AND lag IS NOT NULL ORDER BY name",
        )
        .bind(account.as_str())
        .fetch_all(self.pool())
        .await?;
        rows.iter().map(|row| Ok(Lagging { repository: row.id("repository_id")?, name: row.text("name")? })).collect()
    }
}
