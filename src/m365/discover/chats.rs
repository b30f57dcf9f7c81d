//! Which users have chats.

use std::sync::Arc;

use super::{Coverage, CoverageState, Found, Selection, User, without};
use crate::error::Result;
use crate::graph::links::segment;
use crate::graph::{Client, GraphRequest, Scope, TeamsCall};
use crate::m365::chats::chats;
use crate::m365::door::{Owner, Workload};
use crate::snapshot::set::OwnerKind;

/// Looks at the chats of a user.
pub(super) async fn look(client: &Client, selection: &Selection, user: &User, found: &mut Found) -> Result<()> {
    if !selection.selects(&user.facts(), Workload::Chats) {
        found.note(Owner::User(user.id.clone()), &user.name, Workload::Chats, CoverageState::NotSelected);
        return Ok(());
    }
    let url = format!("users/{}/chats?$top=1", segment(&user.id));
    match client.ask_page(GraphRequest::get(Scope::chats(TeamsCall::Other), url)).await {
        Ok(_) => found.read(Arc::new(chats(client.clone(), &user.id, &user.name)), &user.name),
        Err(error) => {
            let state = without(error, "no Teams")?;
            found.note(Owner::User(user.id.clone()), &user.name, Workload::Chats, state);
        }
    }
    Ok(())
}

/// Tells where that is which people look for among chats.
pub(super) fn elsewhere(selection: &Selection) -> Option<Coverage> {
    let reason = "recordings and transcripts of meetings are files: they are read with the OneDrive of whoever recorded, or \
                  with the library of the channel";
    selection.rules.reads_of(OwnerKind::User, Workload::Chats.part()).then(|| Coverage {
        owner: Owner::Tenant,
        name: "meetings".to_owned(),
        workload: Some(Workload::Chats),
        state: CoverageState::Nothing(reason.to_owned()),
    })
}
