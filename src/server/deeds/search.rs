//! Searching all snapshots of a repository.

use jiff::tz::TimeZone;

use crate::error::{Error, Result};
use crate::ops::find::{self, Found, Here, Query, QueryError, Report};
use crate::server::auth::Actor;
use crate::server::db::RepositoryRow;
use crate::server::state::Server;
use crate::snapshot::store;

/// The longest query.
const LONGEST: usize = 2_000;
/// The most that is shown of what was found.
pub(crate) const MOST: usize = 500;

/// What was asked for, and what was found.
pub(crate) enum Outcome {
    /// The query cannot be read.
    Bad(QueryError),
    /// What was found, the newest first.
    Found(Vec<Found>, Report),
}

/// Searches. `set`: only the snapshots of this one.
///
/// # Errors
/// `WrongKey` when the repository is locked; `InvalidInput` for a query that is too long; the storage's.
pub(crate) async fn search(
    server: &Server,
    actor: &Actor,
    row: &RepositoryRow,
    text: &str,
    set: Option<&str>,
    most: usize,
) -> Result<Outcome> {
    let browser = server.unlocked.browser(server, actor, row).await?;
    if text.len() > LONGEST {
        return Err(Error::invalid("The query is too long").with_hint("Look for less at once"));
    }
    let query = match Query::parse(text, &Here { now_us: server.now_us(), zone: TimeZone::UTC }) {
        Ok(query) => query,
        Err(bad) => return Ok(Outcome::Bad(bad)),
    };
    let listing = store::list(browser.repository()).await?;
    let wanted = |snapshot: &store::Snapshot| set.is_none_or(|name| snapshot.file.set_name == name);
    let mut all = Vec::new();
    let mut keep = |found| {
        all.push(found);
        Ok(())
    };
    let most = most.clamp(1, MOST);
    let report = find::find(browser.repository(), &listing.snapshots, &wanted, &query, most, &mut keep).await?;
    Ok(Outcome::Found(all, report))
}
