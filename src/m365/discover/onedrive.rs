//! The drives of users.

use std::collections::HashSet;
use std::sync::Arc;

use super::{CoverageState, Found, Selection, User, without};
use crate::error::Result;
use crate::graph::links::segment;
use crate::graph::{Client, GraphRequest, Scope};
use crate::m365::door::{Collection, Owner, Workload};
use crate::m365::drive::Drive;
use crate::m365::facts::text;

/// Looks at the drives of a user.
pub(super) async fn look(client: &Client, selection: &Selection, user: &User, found: &mut Found) -> Result<()> {
    if !selection.selects(&user.facts(), Workload::OneDrive) {
        found.note(Owner::User(user.id.clone()), &user.name, Workload::OneDrive, CoverageState::NotSelected);
        return Ok(());
    }
    let state = match list_drives(client, user).await? {
        Ok(drives) => {
            let count = drives.len();
            found.collections.extend(drives.into_iter().map(|drive| Arc::new(drive) as Arc<dyn Collection>));
            CoverageState::Covered(count)
        }
        Err(state) => state,
    };
    found.note(Owner::User(user.id.clone()), &user.name, Workload::OneDrive, state);
    Ok(())
}

async fn list_drives(client: &Client, user: &User) -> Result<Result<Vec<Drive>, CoverageState>> {
    let url = format!("users/{}/drives?$select=id,name,driveType", segment(&user.id));
    let rows = match client.get_all(GraphRequest::get(Scope::Files, url).units(2)).await {
        Ok(rows) => rows,
        Err(error) => return without(error, "no OneDrive").map(Err),
    };
    let mut seen = HashSet::new();
    let drives: Vec<(&str, &str, bool)> = rows
        .iter()
        .filter_map(|row| {
            let id = text(row, &["id"]).filter(|id| seen.insert(*id))?;
            let library = text(row, &["driveType"]) == Some("documentLibrary");
            Some((id, text(row, &["name"]).unwrap_or_default(), library))
        })
        .collect();
    // The user's own drive comes first where the service says which it is.
    let own = drives.iter().position(|(_, _, library)| !library).unwrap_or(0);
    let mut titles = HashSet::new();
    let named = drives.iter().enumerate().map(|(place, (id, name, _))| {
        let further = (place != own).then(|| {
            let name: String = name.chars().map(|c| if c.is_control() || c == '/' { '_' } else { c }).collect();
            if name.is_empty() || !titles.insert(name.clone()) { format!("{name} ~{id}") } else { name }
        });
        Drive::new(client.clone(), &user.id, &user.name, id, further.as_deref())
    });
    let named: Vec<Drive> = named.collect();
    Ok(if named.is_empty() { Err(CoverageState::Nothing("no OneDrive".to_owned())) } else { Ok(named) })
}
