//! Which users have a mailbox, and what is read of it.

use std::sync::Arc;

use super::{CoverageState, Found, Selection, User, without};
use crate::error::Result;
use crate::graph::links::segment;
use crate::graph::{Client, GraphRequest, Scope};
use crate::m365::calendar::calendar;
use crate::m365::contacts::contacts;
use crate::m365::door::{Collection, Owner, Workload};
use crate::m365::mail::Mail;

/// The workloads of a mailbox.
const IN_MAILBOXES: &[Workload] = &[Workload::Mail, Workload::Contacts, Workload::Calendar];

/// Looks at the mailbox of a user.
pub(super) async fn look(client: &Client, selection: &Selection, user: &User, found: &mut Found) -> Result<()> {
    let wanted: Vec<Workload> = IN_MAILBOXES.iter().copied().filter(|workload| selection.reads(*workload)).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let missing = probe_mailbox(client, user).await?;
    for workload in wanted {
        if missing.is_none() {
            found.collections.push(collection(client, selection, user, workload));
        }
        let state = missing.clone().unwrap_or(CoverageState::Covered(1));
        found.note(Owner::User(user.id.clone()), &user.name, workload, state);
    }
    Ok(())
}

fn collection(client: &Client, selection: &Selection, user: &User, workload: Workload) -> Arc<dyn Collection> {
    let client = client.clone();
    match workload {
        Workload::Contacts => Arc::new(contacts(client, &user.id, &user.name)),
        Workload::Calendar => Arc::new(calendar(client, &user.id, &user.name)),
        _ => Arc::new(Mail::new(client, &user.id, &user.name, selection.mail_options)),
    }
}

/// Asks whether a user has a mailbox; `None`: yes.
async fn probe_mailbox(client: &Client, user: &User) -> Result<Option<CoverageState>> {
    let url = format!("users/{}/mailFolders/inbox?$select=id", segment(&user.id));
    let request = GraphRequest::get(Scope::Mailbox(user.id.clone()), url);
    match client.get_json(request).await {
        Ok(_) => Ok(None),
        Err(error) => without(error, "no mailbox").map(Some),
    }
}
