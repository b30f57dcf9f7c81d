//! Discovery: what of a tenant a selection means, and which collections there are.
//!
//! Licences do not tell who has a mailbox or a drive, so each user is asked. That somebody has none is no error: it is
//! told in the coverage, with the reason.

mod chats;
mod groups;
mod mailboxes;
mod onedrive;
mod signed_in;
mod sites;
mod tenant;
mod users;

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};

use super::calendar::Addresses;
use super::door::{Collection, CollectionKey, Owner, Workload};
use super::drive::DriveOptions;
use super::mail::MailOptions;
use super::sites::ListSharing;
use crate::error::{Error, Result};
use crate::graph::links::segment;
use crate::graph::{Caller, Client, Fate, GraphRequest, Scope, fate, graph_error};
use crate::snapshot::set::{Facts, OwnerKind, Selection as Rules, Subject, Workload as Part};
pub(in crate::m365) use onedrive::site_of;
pub use signed_in::{GLOBAL_ADMINISTRATOR, PERSONAL_PARTS, directory_roles};
pub use tenant::{Listed, Tenant, list as list_tenant, list_names};
pub use users::{User, all_users, members_of};

/// How many users are asked at once. Each has a mailbox lane of its own.
const USERS_AT_ONCE: usize = 20;

/// What of a tenant to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// Whose what is read.
    pub rules: Rules,
    /// How mail is read.
    pub mail_options: MailOptions,
    /// How drives are read.
    pub drive_options: DriveOptions,
}

impl Selection {
    /// Says whether anybody's part of a workload may be read.
    pub fn reads(&self, workload: Workload) -> bool {
        self.rules.reads(workload.part())
    }

    /// Says whether an owner's part of a workload is read.
    pub fn selects(&self, owner: &Facts<'_>, workload: Workload) -> bool {
        self.rules.selects(owner, workload.part())
    }
}

impl Default for Selection {
    /// Everything that this version reads.
    fn default() -> Self {
        let rules = Rules::of(vec![Subject::Everything], Vec::new(), Part::ALL);
        Self { rules, mail_options: MailOptions::default(), drive_options: DriveOptions::default() }
    }
}

/// What discovery found.
#[derive(Default)]
pub struct Discovery {
    /// The collections to read, by user.
    pub collections: Vec<Arc<dyn Collection>>,
    /// What was found for every owner and workload that the selection means.
    pub coverage: Vec<Coverage>,
    /// Whom to ask about an owner.
    client: Option<Client>,
    /// What was to be found.
    pub(crate) rules: Option<Rules>,
}

impl Discovery {
    /// Says whether a collection is of those that were to be found in a list of all sites, groups or teams.
    pub(crate) fn lists(&self, key: &CollectionKey) -> bool {
        let kinds: &[OwnerKind] = match key.owner {
            Owner::Site(_) => &[OwnerKind::Site, OwnerKind::Tenant],
            Owner::Group(_) => &[OwnerKind::Group],
            Owner::Team(_) => &[OwnerKind::Team],
            _ => &[],
        };
        let reads = |rules: &Rules| kinds.iter().any(|kind| rules.reads_of(*kind, key.workload.part()));
        self.rules.as_ref().is_some_and(reads)
    }

    /// Asks whether an owner is no longer in the tenant.
    ///
    /// # Errors
    /// Graph's: it is not known. That the answer is refused means that the owner is there.
    pub async fn has_left(&self, owner: &Owner) -> Result<bool> {
        let Some(client) = &self.client else { return Ok(false) };
        let id = segment(owner.id());
        let request = match owner {
            Owner::User(_) => GraphRequest::get(Scope::Directory, format!("users/{id}?$select=id")),
            Owner::Group(_) => GraphRequest::get(Scope::Directory, format!("groups/{id}?$select=id")),
            Owner::Team(_) => GraphRequest::get(Scope::Directory, format!("groups/{id}?$select=id")),
            Owner::Site(_) => GraphRequest::get(Scope::Files, format!("sites/{id}?$select=id")),
            Owner::Tenant => return Ok(false),
        };
        match client.ask(request).await {
            Ok(_) => Ok(false),
            Err(error) => match fate(&error) {
                Fate::Gone | Fate::NotProvisioned(_) => Ok(true),
                Fate::Denied(_) => Ok(false),
                _ => Err(error.context(format!("Asking whether {owner} left the tenant failed"))),
            },
        }
    }
}

/// How one owner's part of one workload stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    /// Whose it is; the id is empty for a user that does not exist, and where all groups or all teams are meant.
    pub owner: Owner,
    /// The owner's name as people know it (a user principal name, a site's address), or what the selection says.
    pub name: String,
    /// Which workload; `None`: all of them.
    pub workload: Option<Workload>,
    /// How it stands.
    pub state: CoverageState,
}

/// How a part of the tenant stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CoverageState {
    /// It is read: so many collections.
    Covered(usize),
    /// There is nothing to read; the reason in words.
    Nothing(String),
    /// There is something that Microsoft lets no app read, or that is not this tenant's; the reason in words.
    Impossible(String),
    /// There is something that cannot be read now; the reason in words. What earlier snapshots have is to be kept.
    Unreadable(String),
    /// There is nothing, where there was something before: that is believed after a while. The reason in words. What earlier
    /// snapshots have is to be kept.
    Doubted(String),
    /// There is nothing any more, and what was there is kept as it was read last; the reason in words.
    Vanished(String),
    /// The selection names a user that does not exist.
    NoSuchUser(String),
    /// The selection leaves it out.
    NotSelected,
}

/// Finds the collections that a selection means.
///
/// # Errors
/// What makes the whole tenant unreadable: no sign-in, no connection, no permission to list users.
pub async fn discover(client: &Client, selection: &Selection) -> Result<Discovery> {
    let mut discovery = Discovery { client: Some(client.clone()), ..Discovery::default() };
    let narrowed = signed_in::narrow(client, selection, &mut discovery.coverage).await?;
    let selection = &narrowed.selection;
    let users = match narrowed.users {
        Some(users) => users,
        None => {
            discovery.coverage.extend(unmeant(selection));
            users::select(client, selection, &mut discovery.coverage).await?
        }
    };
    let addresses = mailboxes::addresses(&users);
    let at_owners = &Addresses::default();
    let sharing = &ListSharing::default();
    let found: Vec<Found> = futures::stream::iter(users)
        .map(|user| async move { look_at((client, selection), &user, at_owners, sharing).await })
        .buffered(USERS_AT_ONCE)
        .try_collect()
        .await?;
    mailboxes::note_owners(at_owners, addresses, &found);
    let mut claimed = sites::Claimed::default();
    for found in found {
        claimed.sites.extend(found.sites.iter().cloned());
        discovery.take(found);
    }
    discovery.coverage.extend(not_shared(sharing, Workload::PersonalSite).await);
    // A personal account has neither sites nor groups, and Graph refuses the questions.
    if client.caller() == Caller::Personal {
        return Ok(discovery);
    }
    discovery.rules = Some(selection.rules.clone());
    if sites::are_meant(selection) {
        claimed.drives.extend(discovery.collections.iter().map(|collection| collection.key().id.clone()));
        discovery.take(sites::look(client, selection, &claimed).await?);
    }
    discovery.take(groups::look(client, selection).await?);
    discovery.coverage.extend(chats::elsewhere(selection));
    discovery.coverage.extend(public_folders(selection));
    Ok(discovery)
}

impl Discovery {
    fn take(&mut self, found: Found) {
        self.collections.extend(found.collections);
        self.coverage.extend(found.coverage);
    }
}

/// What was found of one owner.
#[derive(Default)]
struct Found {
    collections: Vec<Arc<dyn Collection>>,
    coverage: Vec<Coverage>,
    /// The ids of the sites that belong to the owner.
    sites: Vec<String>,
}

impl Found {
    /// Adds the one collection that an owner has of a workload.
    fn read(&mut self, collection: Arc<dyn Collection>, name: &str) {
        let key = collection.key().clone();
        self.collections.push(collection);
        self.note(key.owner, name, key.workload, CoverageState::Covered(1));
    }

    fn note(&mut self, owner: Owner, name: &str, workload: Workload, state: CoverageState) {
        self.coverage.push(Coverage { owner, name: name.to_owned(), workload: Some(workload), state });
    }
}

/// Tells that who may use lists is not told, of those of a workload.
async fn not_shared(sharing: &ListSharing, workload: Workload) -> Option<Coverage> {
    let why = sharing.refused().await?;
    let state = CoverageState::Nothing(format!("who may use lists is not read: Graph does not tell ({why})"));
    Some(Coverage { owner: Owner::Tenant, name: "tenant".to_owned(), workload: Some(workload), state })
}

async fn look_at(
    (client, selection): (&Client, &Selection),
    user: &User,
    at_owners: &Addresses,
    sharing: &ListSharing,
) -> Result<Found> {
    let mut found = Found::default();
    mailboxes::look((client, selection), user, at_owners, &mut found).await?;
    onedrive::look(client, selection, user, sharing, &mut found).await?;
    chats::look(client, selection, user, &mut found).await?;
    Ok(found)
}

/// Tells which kinds a selection takes nothing of, so that nobody is listed for them.
fn unmeant(selection: &Selection) -> impl Iterator<Item = Coverage> {
    let rules = &selection.rules;
    let only_named = rules.only_named_users().is_some();
    let each = Workload::ALL.iter().map(move |workload| {
        let (kind, name) = match workload {
            Workload::TermStore => (OwnerKind::Tenant, "tenant"),
            of if groups::OF_GROUPS.contains(of) => (OwnerKind::Group, "groups"),
            of if groups::OF_TEAMS.contains(of) => (OwnerKind::Team, "teams"),
            of if sites::OF_SITES.contains(of) => (OwnerKind::Site, "sites"),
            _ => (OwnerKind::User, if only_named { "other users" } else { "users" }),
        };
        (kind, *workload, name)
    });
    let left_out = each.filter(move |(kind, workload, _)| {
        (*kind == OwnerKind::User && only_named) || !rules.reads_of(*kind, workload.part())
    });
    left_out.map(|(_, workload, name)| Coverage {
        owner: Owner::Tenant,
        name: name.to_owned(),
        workload: Some(workload),
        state: CoverageState::NotSelected,
    })
}

/// Tells that public folders are not read, to those who want everything.
fn public_folders(selection: &Selection) -> Option<Coverage> {
    selection.rules.reads_of(OwnerKind::Tenant, Part::Mail).then(|| Coverage {
        owner: Owner::Tenant,
        name: "public folders".to_owned(),
        workload: None,
        state: CoverageState::Impossible(super::kinds::NO_PUBLIC_FOLDERS.to_owned()),
    })
}

/// Says what an error of looking at one user means for the coverage.
fn without(error: Error, nothing: &str) -> Result<CoverageState> {
    match fate(&error) {
        Fate::Gone => Ok(CoverageState::Nothing(nothing.to_owned())),
        Fate::NotProvisioned(reason) => Ok(CoverageState::Nothing(reason)),
        Fate::Denied(reason) | Fate::Gap(reason) => Ok(CoverageState::Unreadable(reason)),
        Fate::Resync { .. } => Ok(CoverageState::Unreadable(error.to_string())),
        // A question about one owner that Graph refuses for a reason that nobody knows is no matter of the others.
        Fate::Fatal => match graph_error(&error) {
            Some(answer) if answer.status != 401 => {
                Ok(CoverageState::Unreadable(format!("Graph refuses the request ({})", answer.code)))
            }
            _ => Err(error),
        },
    }
}
