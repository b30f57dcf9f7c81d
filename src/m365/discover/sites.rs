//! The sites of the tenant, and its term store.
//!
//! Sites are no user's: they are read where a rule takes in everything, or names them. Personal sites are listed among the others and
//! are read with their users. What cannot be looked at is told for the whole site collection, so that what earlier snapshots
//! have of it, and of the sites below it, is kept.

use std::collections::HashSet;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use serde_json::Value;

use super::{Coverage, CoverageState, Found, Selection, not_shared, without};
use crate::error::Result;
use crate::graph::links::segment;
use crate::graph::{Caller, Client, Fate, GraphRequest, Scope, fate, graph_error};
use crate::m365::door::{Collection, Owner, Workload};
use crate::m365::drive::{Drive, DriveOptions};
use crate::m365::facts::{at, flag, text};
use crate::m365::sites::{self, LIST_PROPERTIES, ListSharing, SITE_PROPERTIES};
use crate::snapshot::set::{Facts, OwnerKind};

/// The workloads of a site.
pub(super) const OF_SITES: &[Workload] = &[Workload::Site, Workload::Files, Workload::List, Workload::Pages];
/// How many site collections are looked at at once.
const AT_ONCE: usize = 20;
/// What is asked for of drives.
pub(super) const DRIVE_PROPERTIES: &str = "id,name,driveType,webUrl,sharePointIds";
/// Lists that SharePoint makes for itself and that say something of the others: people and terms as items name them.
const SYSTEM_LISTS: [&str; 3] = ["users", "User Information List", "TaxonomyHiddenList"];

const NO_GRANTS: &str = "which apps may use a site is not read: that takes the permission Sites.FullControl.All";

/// What is read already with users.
#[derive(Default)]
pub(super) struct Claimed {
    pub(super) drives: HashSet<String>,
    pub(super) sites: HashSet<String>,
}

/// A list of a site, with the name that it has beside the others.
pub(super) struct Listed {
    pub(super) row: Value,
    pub(super) title: String,
}

fn get(site: &str, url: &str) -> GraphRequest {
    GraphRequest::get(Scope::Files, format!("sites/{}/{url}", segment(site))).units(2)
}

/// Says whether a selection takes in sites at all.
pub(super) fn are_meant(selection: &Selection) -> bool {
    [OwnerKind::Site, OwnerKind::Tenant].iter().any(|kind| selection.rules.reads_of(*kind, Workload::Site.part()))
}

/// What rules are held against.
fn facts<'a>(row: &'a Value, address: &'a str) -> Facts<'a> {
    let names = ["id", "displayName", "name", "webUrl"].iter().filter_map(|key| text(row, &[key]));
    Facts { kind: OwnerKind::Site, names: names.chain([address]).collect(), ..Facts::default() }
}

/// The list of the tenant's sites. Only apps are told all; people find those that they may see.
pub(super) fn listing(client: &Client, properties: &str) -> String {
    match client.caller() {
        Caller::App => format!("sites/getAllSites?$select={properties}"),
        _ => format!("sites?search=*&$select={properties}"),
    }
}

/// Looks at all sites of the tenant.
pub(super) async fn look(client: &Client, selection: &Selection, claimed: &Claimed) -> Result<Found> {
    let mut found = Found::default();
    let tenant = Facts { kind: OwnerKind::Tenant, ..Facts::default() };
    let terms = match selection.selects(&tenant, Workload::TermStore) {
        true => term_store(client, &mut found).await?,
        false => selection.reads(Workload::TermStore),
    };
    let wanted: Vec<Workload> = OF_SITES.iter().copied().filter(|workload| selection.reads(*workload)).collect();
    let url = listing(client, SITE_PROPERTIES);
    let rows = match client.get_all(GraphRequest::get(Scope::Files, url).units(2)).await {
        Ok(rows) => rows,
        Err(error) => {
            let state = without(error, "no SharePoint")?;
            for workload in wanted.into_iter().chain(terms.then_some(Workload::TermStore)) {
                found.note(Owner::Tenant, "tenant", workload, state.clone());
            }
            return Ok(found);
        }
    };
    let mut seen = HashSet::new();
    let mut plain = Vec::new();
    for row in rows {
        let Some(id) = text(&row, &["id"]).filter(|id| !id.is_empty() && seen.insert((*id).to_owned())) else {
            continue;
        };
        if !is_personal(&row) {
            plain.push(row);
        } else if !claimed.sites.contains(id) {
            let reason = "a personal site: it is read with its user, and nobody whom the selection takes in has it";
            let state = CoverageState::Nothing(reason.to_owned());
            found.coverage.push(Coverage {
                owner: Owner::Site(id.to_owned()),
                name: address(&row),
                workload: None,
                state,
            });
        }
    }
    let grants = wanted.contains(&Workload::Site) && grants(client, &mut found).await?;
    let sharing = ListSharing::default();
    let options = selection.drive_options;
    let look = Look { client, selection, claimed, grants, sharing, terms, options };
    let look = &look;
    let each: Vec<Found> = futures::stream::iter(plain)
        .map(|row| async move { look.collection(row).await })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    for one in each {
        found.collections.extend(one.collections);
        found.coverage.extend(one.coverage);
    }
    found.coverage.extend(not_shared(&look.sharing, Workload::List).await);
    Ok(found)
}

/// Looks for the tenant's term store; says whether sites can be asked for theirs.
async fn term_store(client: &Client, found: &mut Found) -> Result<bool> {
    let state = match client.get_json(get("root", "termStore").units(1)).await {
        Ok(_) => {
            found.collections.push(Arc::new(sites::terms(client.clone(), Owner::Tenant, "tenant")));
            CoverageState::Covered(1)
        }
        Err(error) => without(error, "no term store")?,
    };
    let readable = matches!(state, CoverageState::Covered(_));
    found.note(Owner::Tenant, "tenant", Workload::TermStore, state);
    Ok(readable)
}

/// Says whether the grants of apps can be read, and what cannot.
async fn grants(client: &Client, found: &mut Found) -> Result<bool> {
    let readable = match client.get_page(get("root", "permissions").units(5)).await {
        Ok(_) => true,
        Err(error) => match fate(&error) {
            Fate::Denied(_) => false,
            Fate::Fatal if graph_error(&error).is_none_or(|answer| answer.status == 401) => {
                return Err(error.context("Looking up the permissions of the root site failed"));
            }
            // A matter of that site.
            _ => true,
        },
    };
    if !readable {
        found.note(Owner::Tenant, "tenant", Workload::Site, CoverageState::Nothing(NO_GRANTS.to_owned()));
    }
    Ok(readable)
}

/// What looking at a site needs to know.
struct Look<'a> {
    client: &'a Client,
    selection: &'a Selection,
    claimed: &'a Claimed,
    grants: bool,
    sharing: ListSharing,
    terms: bool,
    options: DriveOptions,
}

impl Look<'_> {
    /// Looks at a site and all below it.
    async fn collection(&self, root: Value) -> Result<Found> {
        let mut found = Found::default();
        let (mut open, mut seen) = (vec![root], HashSet::new());
        while let Some(row) = open.pop() {
            let Some(id) = text(&row, &["id"]).map(str::to_owned).filter(|id| seen.insert(id.clone())) else {
                continue;
            };
            let name = address(&row);
            match self.client.ask_all(get(&id, &format!("sites?$select={SITE_PROPERTIES}"))).await {
                Ok(below) => open.extend(below),
                Err(error) => {
                    let state = without(error, "no such site any more")?;
                    let is_there = !matches!(state, CoverageState::Nothing(_));
                    // Which sites lie below is not known now: all of the collection counts as not read.
                    let owner = if is_there { Owner::Site(collection_of(&id)) } else { Owner::Site(id.clone()) };
                    found.coverage.push(Coverage { owner, name, workload: None, state });
                    continue;
                }
            }
            let wanted: Vec<Workload> = {
                let facts = facts(&row, &name);
                OF_SITES.iter().copied().filter(|workload| self.selection.selects(&facts, *workload)).collect()
            };
            if wanted.is_empty() {
                let (owner, state) = (Owner::Site(id), CoverageState::NotSelected);
                found.coverage.push(Coverage { owner, name, workload: None, state });
                continue;
            }
            self.site(row, (&id, &name), &wanted, &mut found).await?;
        }
        Ok(found)
    }

    async fn site(&self, row: Value, (id, name): (&str, &str), wanted: &[Workload], found: &mut Found) -> Result<()> {
        let owner = || Owner::Site(id.to_owned());
        let client = || self.client.clone();
        let reads = |workload| wanted.contains(&workload);
        if reads(Workload::Site) {
            found.collections.push(Arc::new(sites::site(client(), name, row, self.grants)));
            found.note(owner(), name, Workload::Site, CoverageState::Covered(1));
        }
        if reads(Workload::Pages) {
            found.collections.push(Arc::new(sites::pages(client(), owner(), name, id)));
            found.note(owner(), name, Workload::Pages, CoverageState::Covered(1));
        }
        if reads(Workload::Files) || reads(Workload::List) {
            self.drives_and_lists(id, name, wanted, found).await?;
        }
        if self.terms {
            let state = match self.client.ask_all(get(id, sites::GROUPS)).await {
                Ok(groups) if groups.iter().any(sites::is_own) => {
                    found.collections.push(Arc::new(sites::terms(client(), owner(), name)));
                    CoverageState::Covered(1)
                }
                Ok(_) => return Ok(()),
                Err(error) => without(error, "no term store")?,
            };
            found.note(owner(), name, Workload::TermStore, state);
        }
        Ok(())
    }

    async fn drives_and_lists(&self, id: &str, name: &str, wanted: &[Workload], found: &mut Found) -> Result<()> {
        let owner = || Owner::Site(id.to_owned());
        let drives = match self.client.ask_all(get(id, &format!("drives?$select={DRIVE_PROPERTIES}"))).await {
            Ok(drives) => drives,
            Err(error) => {
                // Without them nobody knows which lists are libraries.
                let state = without(error, "no libraries")?;
                for workload in [Workload::Files, Workload::List].into_iter().filter(|w| wanted.contains(w)) {
                    found.note(owner(), name, workload, state.clone());
                }
                return Ok(());
            }
        };
        if wanted.contains(&Workload::Files) {
            let own =
                drives.iter().filter(|row| text(row, &["id"]).is_some_and(|id| !self.claimed.drives.contains(id)));
            let libraries =
                libraries((self.client, self.options), (owner(), name), Workload::Files, own, &mut HashSet::new());
            found.note(owner(), name, Workload::Files, count(libraries.len(), "no libraries"));
            found.collections.extend(libraries);
        }
        if wanted.contains(&Workload::List) {
            let state = match lists(self.client, id, &drives, &mut HashSet::new()).await {
                Ok(lists) => {
                    let count = count(lists.len(), "no lists");
                    let sharing = &self.sharing;
                    sharing.look(self.client, id, one_of(&lists)).await?;
                    for Listed { row, title } in lists {
                        let client = self.client.clone();
                        let list = sites::list(client, (owner(), name), Workload::List, id, (row, &title), sharing);
                        found.collections.push(Arc::new(list));
                    }
                    count
                }
                Err(error) => without(error, "no lists")?,
            };
            found.note(owner(), name, Workload::List, state);
        }
        Ok(())
    }
}

pub(super) fn count(number: usize, nothing: &str) -> CoverageState {
    if number == 0 { CoverageState::Nothing(nothing.to_owned()) } else { CoverageState::Covered(number) }
}

/// Makes collections of libraries. `taken`: names that others have.
pub(super) fn libraries<'a>(
    (client, options): (&Client, DriveOptions),
    (owner, owner_name): (Owner, &str),
    workload: Workload,
    rows: impl Iterator<Item = &'a Value>,
    taken: &mut HashSet<String>,
) -> Vec<Arc<dyn Collection>> {
    let mut seen = HashSet::new();
    let mut all: Vec<Arc<dyn Collection>> = Vec::new();
    for row in rows {
        let Some(id) = text(row, &["id"]).filter(|id| !id.is_empty() && seen.insert((*id).to_owned())) else {
            continue;
        };
        let title = title(text(row, &["name"]).unwrap_or_default(), id, taken);
        let drive = Drive::library(client.clone(), (owner.clone(), owner_name), workload, id, &title);
        all.push(Arc::new(drive.with_options(options)));
    }
    all
}

/// Lists the lists of a site that are no libraries. `taken`: names that others have.
///
/// # Errors
/// Graph's.
pub(super) async fn lists(
    client: &Client,
    site: &str,
    drives: &[Value],
    taken: &mut HashSet<String>,
) -> Result<Vec<Listed>> {
    let rows = client.ask_all(get(site, &format!("lists?$select={LIST_PROPERTIES}"))).await?;
    let of_drives: HashSet<&str> =
        drives.iter().filter_map(|drive| text(drive, &["sharePointIds", "listId"])).collect();
    let addresses: HashSet<&str> = drives.iter().filter_map(|drive| text(drive, &["webUrl"])).collect();
    let mut seen = HashSet::new();
    let mut all = Vec::new();
    for row in rows {
        let Some(id) = text(&row, &["id"]).filter(|id| !id.is_empty() && seen.insert((*id).to_owned())) else {
            continue;
        };
        let is_library = of_drives.contains(id) || text(&row, &["webUrl"]).is_some_and(|url| addresses.contains(url));
        let names = [text(&row, &["name"]), text(&row, &["displayName"])];
        let is_told = names.iter().flatten().any(|name| SYSTEM_LISTS.contains(name));
        if is_library || (at(&row, &["system"]).is_some() && !is_told) {
            continue;
        }
        let title = title(names[1].or(names[0]).unwrap_or_default(), id, taken);
        all.push(Listed { row, title });
    }
    Ok(all)
}

/// One of the lists, and none that SharePoint made for itself: those may have rules of their own.
pub(super) fn one_of(lists: &[Listed]) -> Option<&str> {
    lists.iter().find(|list| at(&list.row, &["system"]).is_none()).and_then(|list| text(&list.row, &["id"]))
}

/// A name that no other has.
fn title(name: &str, id: &str, taken: &mut HashSet<String>) -> String {
    let name: String = name.chars().map(|c| if c.is_control() || c == '/' { '_' } else { c }).collect();
    if name.trim().is_empty() || !taken.insert(name.clone()) { format!("{name} ~{id}") } else { name }
}

/// What people call a site: its address, without what all have.
fn address(row: &Value) -> String {
    let url = text(row, &["webUrl"]).or_else(|| text(row, &["displayName"])).or_else(|| text(row, &["id"]));
    let url = url.unwrap_or_default();
    let url = url.split_once("://").map_or(url, |(_, rest)| rest);
    url.chars().map(|c| if c.is_control() { '_' } else { c }).collect()
}

/// The part of a site's id that all sites of its collection have.
fn collection_of(id: &str) -> String {
    let parts: Vec<&str> = id.splitn(3, ',').take(2).collect();
    parts.join(",")
}

fn is_personal(row: &Value) -> bool {
    let host = text(row, &["id"]).and_then(|id| id.split(',').next()).unwrap_or_default();
    flag(row, &["isPersonalSite"]).unwrap_or(false) || host.split('.').next().is_some_and(|name| name.ends_with("-my"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_personal_site_is_known_by_its_mark_or_its_host() {
        for (row, personal) in [
            (json!({"id": "contoso.sharepoint.com,1,2"}), false),
            (json!({"id": "contoso.sharepoint.com,1,2", "isPersonalSite": true}), true),
            (json!({"id": "contoso-my.sharepoint.com,1,2"}), true),
            (json!({"id": "contoso-my.sharepoint.com,1,2", "isPersonalSite": false}), true),
            (json!({"id": "my.sharepoint.com,1,2"}), false),
            (json!({}), false),
        ] {
            assert_eq!(is_personal(&row), personal, "{row}");
        }
    }

    #[test]
    fn names_that_are_alike_or_empty_are_told_apart() {
        let mut taken = HashSet::new();
        assert_eq!(title("Plans", "1", &mut taken), "Plans");
        assert_eq!(title("Plans", "2", &mut taken), "Plans ~2");
        assert_eq!(title("", "3", &mut taken), " ~3");
        assert_eq!(title("a/b\n", "4", &mut taken), "a_b_");
    }

    #[test]
    fn sites_below_share_the_id_of_their_collection() {
        assert_eq!(collection_of("contoso.sharepoint.com,1,2"), "contoso.sharepoint.com,1");
    }
}
