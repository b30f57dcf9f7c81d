//! Takes over a repository that is there already: from another server, or from one whose database is lost. The repository
//! explains itself: its sets, their runs and snapshots are read back from it. What it does not hold, since it must not, has to
//! be entered again: the tenant's secret, and when sets run.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::repositories::{PlaceToBe, check_credentials, within_bytes};
use super::{is_administrator, note, own_storage, sets};
use crate::crypto::Passphrase;
use crate::error::{ErrorKind, Result};
use crate::format::snapshot::RunFile;
use crate::ops::backup::logical;
use crate::repo::Repository;
use crate::server::auth::{Actor, Password};
use crate::server::choices::Choices;
use crate::server::db::{RepositoryRow, SetToBe, TenantDefinition};
use crate::server::id::Id;
use crate::server::state::Server;
use crate::server::{store, targets};
use crate::snapshot::set::{Effect, SetDefinition, TenantRef, Workload};
use crate::snapshot::store as snapshots;

/// Snapshots of a set of which the logical bytes are looked up, the newest: each costs a look at its list of collections.
const MOST_COUNTED: usize = 200;

/// A repository to take over.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RepositoryToAdopt {
    /// What people are to call it.
    #[schema(min_length = 1, max_length = 100)]
    pub(crate) name: String,
    /// Where it lies; in the server's own storage: `server:` and the id of what was taken off the account's list. Of a server
    /// whose database is lost an administrator names `server:ACCOUNT/REPOSITORY`, as its folders are called.
    pub(crate) destination: PlaceToBe,
    /// An owner's key of it.
    pub(crate) key: Password,
}

impl fmt::Debug for RepositoryToAdopt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RepositoryToAdopt({:?})", self.name)
    }
}

/// A tenant that a set of the repository reads.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct AdoptedTenant {
    /// The tenant.
    pub(crate) id: Id,
    /// Its name.
    pub(crate) name: String,
    /// It was not there before: its app and the secret have to be entered.
    pub(crate) needs_secret: bool,
}

/// A set that was made anew from its definition.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct AdoptedSet {
    /// The set.
    pub(crate) id: Id,
    /// Its name.
    pub(crate) name: String,
    /// Runs that are known of it.
    pub(crate) runs: usize,
}

/// What was taken over.
#[derive(Debug)]
pub(crate) struct Adopted {
    /// The repository.
    pub(crate) row: RepositoryRow,
    /// Its sets.
    pub(crate) sets: Vec<AdoptedSet>,
    /// The tenants that they read.
    pub(crate) tenants: Vec<AdoptedTenant>,
    /// Snapshots in it.
    pub(crate) snapshots: usize,
    /// What could not be taken over as it was, in words.
    pub(crate) remarks: Vec<String>,
}

/// Takes over a repository.
///
/// # Errors
/// `WrongKey` for a key that is none of an owner's; `AlreadyExists` when it is on the list; `NoRepository` when there is none;
/// `InvalidInput`, `Permission`; what the storage brings.
pub(crate) async fn adopt(server: &Server, actor: &Actor, account: &Id, wanted: &RepositoryToAdopt) -> Result<Adopted> {
    let place = &wanted.destination;
    check_credentials(&place.credentials)?;
    let (row, repo) = match own_storage::read(actor, account, &place.url)? {
        // It counts already, and whoever is over a limit gets at it all the same.
        Some(own) => from_own(server, account, wanted, &own).await?,
        None => {
            targets::destination(server, &place.url, is_administrator(actor)).await?;
            within_bytes(server, account).await?;
            take(server, account, wanted, &place.url).await?
        }
    };
    let mut adopted = Adopted { row, sets: Vec::new(), tenants: Vec::new(), snapshots: 0, remarks: Vec::new() };
    rebuild(server, account, &repo, &mut adopted).await?;
    let detail = json!({
        "repository": adopted.row.repository, "sets": adopted.sets, "snapshots": adopted.snapshots,
    });
    note(server, actor, account, "repository.adopt", &adopted.row.name, detail).await?;
    Ok(adopted)
}

async fn take(
    server: &Server,
    account: &Id,
    wanted: &RepositoryToAdopt,
    url: &str,
) -> Result<(RepositoryRow, Arc<Repository>)> {
    let place = &wanted.destination;
    let at = store::Where { name: &place.name, url, credentials: Some(&place.credentials) };
    store::adopt(server, account, &wanted.name, &at, &Passphrase::new(wanted.key.expose())?).await
}

/// Takes over what lies in the server's own storage; where that fails, it lies where it did.
async fn from_own(
    server: &Server,
    account: &Id,
    wanted: &RepositoryToAdopt,
    own: &own_storage::Wanted,
) -> Result<(RepositoryRow, Arc<Repository>)> {
    let moved = own.bring(server, account).await?;
    let taken = take(server, account, wanted, &own.url()).await;
    if let (Err(_), Some(moved)) = (&taken, moved) {
        own.put_back(server, account, &moved).await;
    }
    taken
}

/// Makes sets and history from what the repository says.
async fn rebuild(server: &Server, account: &Id, repo: &Arc<Repository>, adopted: &mut Adopted) -> Result<()> {
    let stored = repo.stored_packs().await?.values().sum::<u64>();
    server.db.keep_stored_bytes(&adopted.row.id, i64::try_from(stored).unwrap_or(i64::MAX)).await?;
    let enabled = within_limits(server, account, &mut adopted.remarks).await?;
    let listing = snapshots::list(repo).await?;
    adopted.snapshots = listing.snapshots.len();
    if !listing.broken.is_empty() {
        adopted.remarks.push(format!("{} snapshots cannot be read: check names them", listing.broken.len()));
    }
    let runs = snapshots::list_runs(repo).await?;
    for definition in snapshots::list_sets(repo).await? {
        let tenant = tenant(server, account, &definition.tenant, adopted).await?;
        let choices = choices(&definition, &mut adopted.remarks);
        let to_be = SetToBe {
            name: &definition.name,
            tenant: &tenant,
            repository: &adopted.row.id,
            choices: &choices,
            client: None,
            enabled,
            timings: &[],
        };
        let set = match server.db.add_set(account, &to_be, server.now_us()).await {
            Ok(set) => set,
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {
                let text =
                    format!("There is a backup set '{}' already; the repository's was left alone", definition.name);
                adopted.remarks.push(text);
                continue;
            }
            Err(e) => return Err(e),
        };
        let id = definition.id(&repo.config().id);
        let own: Vec<&RunFile> = runs.iter().filter(|run| run.set == id).collect();
        let own = with_logical(repo, &listing, own).await;
        server.db.take_over_runs(account, &set.id, &own, server.now_us()).await?;
        adopted.sets.push(AdoptedSet { id: set.id, name: set.name, runs: own.len() });
    }
    adopted.row = server.db.repository(account, &adopted.row.id).await?;
    Ok(())
}

/// Runs, each with the logical bytes of its snapshot: of the newest, as far as they are there and tell.
async fn with_logical<'a>(
    repo: &Arc<Repository>,
    listing: &snapshots::Listing,
    runs: Vec<&'a RunFile>,
) -> Vec<(&'a RunFile, Option<u64>)> {
    let files: HashMap<_, _> = listing.snapshots.iter().map(|snapshot| (snapshot.id, &snapshot.file)).collect();
    let mut left = MOST_COUNTED;
    let mut all = Vec::with_capacity(runs.len());
    for run in runs.into_iter().rev() {
        let file = run.snapshot.and_then(|id| files.get(&id)).filter(|_| left > 0);
        let logical_bytes = match file {
            // What cannot be read a check tells.
            Some(file) => logical::of_snapshot(repo, file).await.ok().flatten(),
            None => None,
        };
        left -= usize::from(file.is_some());
        all.push((run, logical_bytes));
    }
    all.reverse();
    all
}

/// Says whether backup sets may be added: where a limit is reached they come back, and run when there is room.
async fn within_limits(server: &Server, account: &Id, remarks: &mut Vec<String>) -> Result<bool> {
    match sets::within_limits(server, account).await {
        Err(e) if e.kind() == ErrorKind::Permission => {
            remarks
                .push(format!("{e}: no backup set of the repository runs, unless you switch it on when there is room"));
            Ok(false)
        }
        within => within.map(|()| true),
    }
}

/// The account's tenant with this directory; one without a secret is added where there is none.
async fn tenant(server: &Server, account: &Id, named: &TenantRef, adopted: &mut Adopted) -> Result<Id> {
    let all = server.db.tenants(account).await?;
    if let Some(known) = all.iter().find(|tenant| tenant.definition.tenant_id == named.id) {
        if !adopted.tenants.iter().any(|tenant| tenant.id == known.id) {
            let (id, name) = (known.id.clone(), known.name.clone());
            adopted.tenants.push(AdoptedTenant { id, name, needs_secret: !known.has_secret() });
        }
        return Ok(known.id.clone());
    }
    let definition =
        TenantDefinition { tenant_id: named.id.clone(), cloud: "global".to_owned(), ..TenantDefinition::default() };
    let taken = all.iter().any(|tenant| tenant.name == named.name) || named.name.trim().is_empty();
    let name = if taken { format!("{} ({})", named.name, named.id) } else { named.name.clone() };
    let name: String = name.trim().chars().filter(|c| !c.is_control()).take(100).collect();
    let added = server.db.add_tenant(&server.vault, account, &name, &definition, None, server.now_us()).await?;
    adopted.tenants.push(AdoptedTenant { id: added.id.clone(), name, needs_secret: true });
    Ok(added.id)
}

/// The choices that a definition stands for. Where the server cannot say the same, it protects more, never less.
fn choices(definition: &SetDefinition, remarks: &mut Vec<String>) -> Choices {
    let rules = &definition.selection.rules;
    let of = |effect: Effect| rules.iter().filter(move |rule| rule.effect == effect);
    let first = of(Effect::Include).next().map(|rule| rule.workloads.clone()).unwrap_or_default();
    let mut workloads: Vec<Workload> = first.clone();
    if of(Effect::Include).any(|rule| rule.workloads != first) {
        remarks.push(format!(
            "The rules of '{}' name different parts each: all of them are read of all now",
            definition.name
        ));
        workloads = Workload::ALL
            .iter()
            .copied()
            .filter(|part| of(Effect::Include).any(|rule| rule.workloads.is_empty() || rule.workloads.contains(part)))
            .collect();
    }
    if of(Effect::Exclude).any(|rule| !rule.workloads.is_empty()) {
        remarks.push(format!("'{}' left out single parts of some owners: they are read now", definition.name));
    }
    let (options, exclusions) = (&definition.options, &definition.options.exclusions);
    let globs = |all: &[crate::snapshot::set::Glob]| all.iter().map(|glob| glob.as_str().to_owned()).collect();
    Choices {
        include: of(Effect::Include).map(|rule| rule.subject.to_string()).collect(),
        exclude: of(Effect::Exclude)
            .filter(|rule| rule.workloads.is_empty())
            .map(|rule| rule.subject.to_string())
            .collect(),
        workloads: workloads.iter().map(|workload| workload.word().to_owned()).collect(),
        skip_folders: globs(&exclusions.folders),
        skip_files: globs(&exclusions.files),
        skip_larger_than_bytes: exclusions.larger_than_bytes,
        skip_older_than_days: exclusions.older_than_days,
        versions: options.versions.to_string(),
        retention_labels: options.retention_labels,
        recoverable_items: options.recoverable_items,
        leavers: options.leavers.to_string(),
        retention: definition.retention.clone(),
        time_zone: definition.time_zone.clone(),
        download_bytes_per_second: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::policy::{Count, Policy};
    use crate::snapshot::set::{Rule, Subject};

    #[test]
    fn choices_come_back_as_they_were_and_what_cannot_be_said_protects_more() {
        let chosen = Choices {
            include: vec!["*@contoso.com".into(), "group:Sales*".into()],
            exclude: vec!["test@contoso.com".into()],
            workloads: vec!["mail".into(), "onedrive".into()],
            skip_folders: vec!["Inbox/News".into()],
            skip_files: vec!["*.iso".into()],
            skip_larger_than_bytes: Some(5),
            skip_older_than_days: Some(7),
            versions: "3".into(),
            retention_labels: true,
            recoverable_items: true,
            leavers: "drop after 30 days".into(),
            retention: Policy { keep_last: Count(3), keep_yearly: Count(2), ..Policy::default() },
            time_zone: "Europe/Berlin".into(),
            ..Choices::default()
        };
        let tenant = TenantRef { name: "Contoso".into(), id: "t".into() };
        let mut definition = chosen.definition("everyone", tenant, vec!["here".into()]).expect("a definition");
        let mut remarks = Vec::new();
        assert_eq!(choices(&definition, &mut remarks), chosen);
        assert!(remarks.is_empty());
        let rule = |effect, workloads| Rule { effect, subject: Subject::Everything, workloads };
        definition.selection.rules = vec![
            rule(Effect::Include, vec![Workload::Mail]),
            rule(Effect::Include, vec![Workload::Sites]),
            rule(Effect::Exclude, vec![Workload::Mail]),
        ];
        let more = choices(&definition, &mut remarks);
        assert_eq!((more.workloads, more.exclude), (vec!["mail".to_owned(), "sites".to_owned()], vec![]));
        assert_eq!(remarks.len(), 2);
    }
}
