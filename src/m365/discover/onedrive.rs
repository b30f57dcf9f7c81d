//! The drives of users, and what their personal sites hold beside.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::Value;

use super::sites::{DRIVE_PROPERTIES, Listed, count, libraries, lists, one_of};
use super::{CoverageState, Found, Selection, User, without};
use crate::error::Result;
use crate::graph::links::segment;
use crate::graph::{Client, GraphRequest, Scope};
use crate::m365::door::{Collection, Owner, Workload};
use crate::m365::drive::{Drive, DriveOptions};
use crate::m365::facts::text;
use crate::m365::sites::{self, ListSharing};

/// Looks at the drives and the personal site of a user.
pub(super) async fn look(
    client: &Client,
    selection: &Selection,
    user: &User,
    sharing: &ListSharing,
    found: &mut Found,
) -> Result<()> {
    let (wanted, left_out): (Vec<Workload>, Vec<Workload>) = [Workload::OneDrive, Workload::PersonalSite]
        .into_iter()
        .partition(|workload| selection.selects(&user.facts(), *workload));
    for workload in left_out {
        found.note(Owner::User(user.id.clone()), &user.name, workload, CoverageState::NotSelected);
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let url = format!("users/{}/drives?$select={DRIVE_PROPERTIES}", segment(&user.id));
    let rows = match client.ask_all(GraphRequest::get(Scope::Files, url).units(2)).await {
        Ok(rows) => rows,
        Err(error) => {
            let state = without(error, "no OneDrive")?;
            for workload in wanted {
                found.note(Owner::User(user.id.clone()), &user.name, workload, state.clone());
            }
            return Ok(());
        }
    };
    let mut seen = HashSet::new();
    let mut drives: Vec<Value> = rows
        .into_iter()
        .filter(|row| text(row, &["id"]).is_some_and(|id| !id.is_empty() && seen.insert(id.to_owned())))
        .collect();
    let own = default_drive(client, user, &mut drives).await?;
    found.sites.extend(drives.iter().filter_map(site_of));
    let own = match own {
        Ok(own) => own,
        // Which of them is not known now: what is known of all stays.
        Err(state) => {
            for workload in wanted {
                found.note(Owner::User(user.id.clone()), &user.name, workload, state.clone());
            }
            return Ok(());
        }
    };
    for workload in wanted {
        let state = match workload {
            Workload::OneDrive => onedrive((client, selection.drive_options), user, drives.get(own), found),
            _ => {
                let of = (client, selection.drive_options, sharing);
                personal_site(of, user, (&drives, own), found).await?
            }
        };
        found.note(Owner::User(user.id.clone()), &user.name, workload, state);
    }
    Ok(())
}

/// Finds the user's default drive among all of theirs. Where there are several, Graph is asked which it is: neither their order nor
/// their type says so. If it says that there is none, it is the first that is no library; if it does not answer, none is
/// taken, for a library that is taken for the OneDrive would stand in its place.
async fn default_drive(client: &Client, user: &User, drives: &mut Vec<Value>) -> Result<Result<usize, CoverageState>> {
    let guess = drives.iter().position(|row| text(row, &["driveType"]) != Some("documentLibrary")).unwrap_or(0);
    if drives.len() < 2 {
        return Ok(Ok(guess));
    }
    let url = format!("users/{}/drive?$select={DRIVE_PROPERTIES}", segment(&user.id));
    let told = match client.ask(GraphRequest::get(Scope::Files, url).units(1)).await {
        Ok(told) => told,
        Err(error) => {
            return without(error, "no OneDrive").map(|state| match state {
                CoverageState::Nothing(_) => Ok(guess),
                state => Err(state),
            });
        }
    };
    let Some(id) = text(&told, &["id"]).filter(|id| !id.is_empty()) else { return Ok(Ok(guess)) };
    Ok(Ok(match drives.iter().position(|row| text(row, &["id"]) == Some(id)) {
        Some(place) => place,
        None => {
            drives.push(told);
            drives.len() - 1
        }
    }))
}

fn onedrive(
    (client, options): (&Client, DriveOptions),
    user: &User,
    row: Option<&Value>,
    found: &mut Found,
) -> CoverageState {
    let Some(id) = row.and_then(|row| text(row, &["id"])) else {
        return CoverageState::Nothing("no OneDrive".to_owned());
    };
    found.collections.push(Arc::new(Drive::new(client.clone(), &user.id, &user.name, id, None).with_options(options)));
    CoverageState::Covered(1)
}

async fn personal_site(
    (client, options, sharing): (&Client, DriveOptions, &ListSharing),
    user: &User,
    (drives, own): (&[Value], usize),
    found: &mut Found,
) -> Result<CoverageState> {
    let owner = || Owner::User(user.id.clone());
    let Some(site) = drives.get(own).and_then(site_of) else {
        return Ok(match drives.is_empty() {
            true => CoverageState::Nothing("no OneDrive".to_owned()),
            false => CoverageState::Unreadable("Graph does not say which site the OneDrive lies in".to_owned()),
        });
    };
    // The pages have that name.
    let mut taken = HashSet::from(["Pages".to_owned()]);
    let others = drives.iter().enumerate().filter(|(place, _)| *place != own).map(|(_, row)| row);
    let workload = Workload::PersonalSite;
    let mut all: Vec<Arc<dyn Collection>> =
        libraries((client, options), (owner(), &user.name), workload, others, &mut taken);
    all.push(Arc::new(sites::pages(client.clone(), owner(), &user.name, &site)));
    match lists(client, &site, drives, &mut taken).await {
        Ok(lists) => {
            sharing.look(client, &site, one_of(&lists)).await?;
            for Listed { row, title } in lists {
                let list = sites::list(client.clone(), (owner(), &user.name), workload, &site, (row, &title), sharing);
                all.push(Arc::new(list));
            }
            let state = count(all.len(), "nothing beside the OneDrive");
            found.collections.extend(all);
            Ok(state)
        }
        Err(error) => {
            // The rest is read, and what is known of the lists stays.
            found.collections.extend(all);
            without(error, "no personal site")
        }
    }
}

/// The id of the site that a drive lies in: host, collection, site.
pub(in crate::m365) fn site_of(drive: &Value) -> Option<String> {
    let host = text(drive, &["webUrl"])?.split_once("://")?.1.split('/').next()?;
    let (collection, web) = (text(drive, &["sharePointIds", "siteId"])?, text(drive, &["sharePointIds", "webId"])?);
    Some(format!("{host},{collection},{web}"))
}
