//! Which users have a mailbox, and what is read of it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{CoverageState, Found, Selection, User, without};
use crate::error::Result;
use crate::graph::links::segment;
use crate::graph::{Client, GraphRequest, Scope};
use crate::m365::calendar::{Addresses, calendar};
use crate::m365::contacts::contacts;
use crate::m365::door::{Collection, Owner, Workload};
use crate::m365::mail::Mail;
use crate::m365::settings::settings;
use crate::m365::tasks::tasks;

/// The workloads of a mailbox.
const IN_MAILBOXES: &[Workload] =
    &[Workload::Mail, Workload::Contacts, Workload::Calendar, Workload::Settings, Workload::Tasks];

/// What is asked for to learn whether there is a mailbox.
const MAIL: &str = "mailFolders/inbox?$select=id";

/// Looks at the mailbox of a user.
pub(super) async fn look(
    (client, selection): (&Client, &Selection),
    user: &User,
    at_owners: &Addresses,
    found: &mut Found,
) -> Result<()> {
    let (wanted, left_out): (Vec<Workload>, Vec<Workload>) =
        IN_MAILBOXES.iter().partition(|workload| selection.selects(&user.facts(), **workload));
    for workload in left_out {
        found.note(Owner::User(user.id.clone()), &user.name, workload, CoverageState::NotSelected);
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let missing = probe(client, user, MAIL).await?;
    for workload in wanted {
        let missing = match &missing {
            // One permission may be missing and another be there.
            Some(CoverageState::Unreadable(_)) if workload != Workload::Mail => {
                probe(client, user, probe_of(workload)).await?
            }
            missing => missing.clone(),
        };
        if missing.is_none() {
            found.collections.push(collection((client, selection), user, workload, at_owners));
        }
        let state = missing.unwrap_or(CoverageState::Covered(1));
        found.note(Owner::User(user.id.clone()), &user.name, workload, state);
    }
    Ok(())
}

/// What asks for little and needs the permission of a workload.
fn probe_of(workload: Workload) -> &'static str {
    match workload {
        Workload::Contacts => "contactFolders/contacts?$select=id",
        Workload::Calendar => "calendars?$select=id&$top=1",
        Workload::Settings => "mailboxSettings?$select=timeZone",
        Workload::Tasks => "todo/lists?$top=1",
        _ => MAIL,
    }
}

/// All addresses of users, in small letters, and whose each is.
pub(super) fn addresses(users: &[User]) -> HashMap<String, String> {
    let of = |user: &User| {
        let all = [&user.name, &user.mail].into_iter().chain(&user.addresses).filter(|address| !address.is_empty());
        all.map(|address| (address.to_lowercase(), user.id.clone())).collect::<Vec<_>>()
    };
    users.iter().flat_map(of).collect()
}

/// Notes whose calendars are read at themselves: only those of whom there is something to read.
pub(super) fn note_owners(at_owners: &Addresses, mut addresses: HashMap<String, String>, found: &[Found]) {
    let collections = found.iter().flat_map(|found| &found.collections).map(|collection| collection.key());
    let read: HashSet<&str> =
        collections.filter(|key| key.workload == Workload::Calendar).map(|key| key.owner.id()).collect();
    addresses.retain(|_, id| read.contains(id.as_str()));
    // Nobody else sets them.
    let _ = at_owners.set(addresses);
}

fn collection(
    (client, selection): (&Client, &Selection),
    user: &User,
    workload: Workload,
    at_owners: &Addresses,
) -> Arc<dyn Collection> {
    let client = client.clone();
    match workload {
        Workload::Contacts => Arc::new(contacts(client, &user.id, &user.name)),
        Workload::Calendar => Arc::new(calendar(client, &user.id, &user.name, at_owners.clone())),
        Workload::Settings => Arc::new(settings(client, &user.id, &user.name)),
        Workload::Tasks => Arc::new(tasks(client, &user.id, &user.name)),
        _ => Arc::new(Mail::new(client, &user.id, &user.name, selection.mail_options)),
    }
}

/// Asks whether something of a user's mailbox can be read; `None`: yes.
async fn probe(client: &Client, user: &User, what: &str) -> Result<Option<CoverageState>> {
    let url = format!("users/{}/{what}", segment(&user.id));
    let request = GraphRequest::get(Scope::Mailbox(user.id.clone()), url);
    match client.ask(request).await {
        Ok(_) => Ok(None),
        Err(error) => without(error, "no mailbox").map(Some),
    }
}
