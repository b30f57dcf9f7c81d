//! The Microsoft 365 groups of a tenant, and the teams among them.
//!
//! A group may have a mailbox (conversations), plans, a team with its channels, and a site ([`super`] finds sites by
//! themselves). What an app is not let at, or what belongs to another tenant, is told in the coverage.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use serde_json::Value;

use super::{Coverage, CoverageState, Found, Selection, without};
use crate::error::Result;
use crate::graph::links::segment;
use crate::graph::{Caller, Client, Fate, GraphRequest, Scope, TeamsCall, fate};
use crate::m365::calendar::group::{events_request, group_calendar};
use crate::m365::channel::channel;
use crate::m365::conversations::conversations;
use crate::m365::door::{Owner, Workload};
use crate::m365::facts::{at, text};
use crate::m365::messages::ALL_MEMBERS;
use crate::m365::planner::planner;
use crate::m365::team::{channels_request, team};
use crate::snapshot::set::{Facts, OwnerKind};

const GROUP_PROPERTIES: &str = "id,displayName,mail,mailNickname,resourceProvisioningOptions";
/// What is read of groups.
pub(super) const OF_GROUPS: &[Workload] = &[Workload::Conversations, Workload::Planner];
/// What is read of teams.
pub(super) const OF_TEAMS: &[Workload] = &[Workload::Team, Workload::Channel];
/// How many groups are asked at once.
const GROUPS_AT_ONCE: usize = 20;

/// A Microsoft 365 group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) id: String,
    /// Its address, which no other group has.
    pub(super) name: String,
    /// The name to show.
    pub(super) display_name: String,
    pub(super) is_team: bool,
}

impl Group {
    /// What rules are held against.
    fn facts(&self, kind: OwnerKind) -> Facts<'_> {
        Facts { kind, names: vec![&self.name, &self.display_name, &self.id], ..Facts::default() }
    }
}

/// Looks at all groups and teams.
pub(super) async fn look(client: &Client, selection: &Selection) -> Result<Found> {
    let mut found = Found::default();
    let wanted = |kind: OwnerKind, of: &[Workload]| {
        of.iter().copied().filter(|w| selection.rules.reads_of(kind, w.part())).collect::<Vec<_>>()
    };
    let (of_groups, of_teams) = (wanted(OwnerKind::Group, OF_GROUPS), wanted(OwnerKind::Team, OF_TEAMS));
    if of_groups.is_empty() && of_teams.is_empty() {
        return Ok(found);
    }
    let groups = match list(client).await {
        Ok(groups) => groups,
        Err(error) => match fate(&error) {
            Fate::Denied(reason) | Fate::Gap(reason) | Fate::NotProvisioned(reason) => {
                nothing_listed(&mut found, &of_groups, &of_teams, &reason);
                return Ok(found);
            }
            _ => return Err(error.context("Listing the groups of the tenant failed")),
        },
    };
    let teams = team_names(&groups);
    let each = futures::stream::iter(&groups).map(|group| {
        let team = teams.get(&group.id).cloned();
        async move { look_at(client, selection, group, team).await }
    });
    for part in each.buffered(GROUPS_AT_ONCE).try_collect::<Vec<Found>>().await? {
        found.collections.extend(part.collections);
        found.coverage.extend(part.coverage);
    }
    Ok(found)
}

/// Nobody may list groups: whatever earlier snapshots have of them stays.
fn nothing_listed(found: &mut Found, of_groups: &[Workload], of_teams: &[Workload], reason: &str) {
    let mut note = |owner: Owner, name: &str, workload: Workload| {
        let state = CoverageState::Unreadable(format!("the groups of the tenant cannot be listed: {reason}"));
        found.coverage.push(Coverage { owner, name: name.to_owned(), workload: Some(workload), state });
    };
    of_groups.iter().for_each(|workload| note(Owner::Group(String::new()), "all groups", *workload));
    of_teams.iter().for_each(|workload| note(Owner::Team(String::new()), "all teams", *workload));
}

/// Lists the Microsoft 365 groups.
async fn list(client: &Client) -> Result<Vec<Group>> {
    let url = format!("groups?$filter=groupTypes/any(c:c%20eq%20'Unified')&$select={GROUP_PROPERTIES}&$top=999");
    let rows = client.get_all(GraphRequest::get(Scope::Directory, url).units(1)).await?;
    let mut groups: Vec<Group> = rows.iter().filter_map(group).collect();
    groups.sort_by(|a, b| a.id.cmp(&b.id));
    groups.dedup_by(|a, b| a.id == b.id);
    Ok(groups)
}

fn group(row: &Value) -> Option<Group> {
    let id = text(row, &["id"]).filter(|id| !id.is_empty())?.to_owned();
    let name = ["mail", "mailNickname", "displayName"].iter().find_map(|key| text(row, &[key]));
    let name = name.unwrap_or(&id).to_owned();
    let display_name = text(row, &["displayName"]).unwrap_or(&name).to_owned();
    let options = at(row, &["resourceProvisioningOptions"]).and_then(Value::as_array);
    let is_team = options.is_some_and(|all| {
        all.iter().any(|option| option.as_str().is_some_and(|option| option.eq_ignore_ascii_case("team")))
    });
    Some(Group { id, name, display_name, is_team })
}

/// The names of teams as people know them; of those that share one, with the address.
fn team_names(groups: &[Group]) -> HashMap<String, String> {
    let teams: Vec<&Group> = groups.iter().filter(|group| group.is_team).collect();
    let mut times: HashMap<String, usize> = HashMap::new();
    for team in &teams {
        *times.entry(team.display_name.to_lowercase()).or_default() += 1;
    }
    let name = |team: &&Group| match times.get(&team.display_name.to_lowercase()) {
        Some(1) => team.display_name.clone(),
        _ => format!("{} ({})", team.display_name, team.name),
    };
    teams.iter().map(|team| (team.id.clone(), name(team))).collect()
}

async fn look_at(client: &Client, selection: &Selection, group: &Group, team: Option<String>) -> Result<Found> {
    let mut found = Found::default();
    let owner = || Owner::Group(group.id.clone());
    let facts = group.facts(OwnerKind::Group);
    if ![Workload::Conversations, Workload::Planner].iter().any(|workload| selection.selects(&facts, *workload)) {
        found.note(owner(), &group.name, Workload::Conversations, CoverageState::NotSelected);
        found.note(owner(), &group.name, Workload::Planner, CoverageState::NotSelected);
    }
    if selection.selects(&facts, Workload::Conversations) {
        found.read(Arc::new(conversations(client.clone(), &group.id, &group.name)), &group.name);
    }
    if selection.selects(&facts, Workload::Planner) {
        found.read(Arc::new(planner(client.clone(), &group.id, &group.name)), &group.name);
    }
    if selection.selects(&facts, Workload::Calendar) {
        look_at_calendar(client, group, &mut found).await?;
    }
    if let Some(name) = &team {
        let facts = group.facts(OwnerKind::Team);
        let reads =
            OF_TEAMS.iter().copied().filter(|workload| selection.selects(&facts, *workload)).collect::<Vec<_>>();
        if reads.is_empty() {
            let state = CoverageState::NotSelected;
            let owner = Owner::Team(group.id.clone());
            found.coverage.push(Coverage { owner, name: name.clone(), workload: None, state });
        }
        look_at_team(client, &reads, (&group.id, name), &mut found).await?;
    }
    Ok(found)
}

/// The calendar of a group is told to members who sign in, and to nobody else.
async fn look_at_calendar(client: &Client, group: &Group, found: &mut Found) -> Result<()> {
    let impossible = |reason: &str| CoverageState::Impossible(reason.to_owned());
    let state = match client.caller() {
        Caller::App => {
            impossible("Microsoft gives no app access to the calendars of groups, only to members who sign in")
        }
        _ => match client.ask_page(events_request(&group.id, "$select=id&$top=1")).await {
            Ok(_) => {
                found.read(Arc::new(group_calendar(client.clone(), &group.id, &group.name)), &group.name);
                return Ok(());
            }
            Err(error) if matches!(fate(&error), Fate::Denied(_)) => {
                impossible("the calendar of a group is told to its members alone, and who is signed in is none")
            }
            Err(error) => without(error, "no calendar")?,
        },
    };
    found.note(Owner::Group(group.id.clone()), &group.name, Workload::Calendar, state);
    Ok(())
}

async fn look_at_team(client: &Client, reads: &[Workload], of: (&str, &str), found: &mut Found) -> Result<()> {
    let (id, name) = of;
    if reads.contains(&Workload::Team) {
        found.read(Arc::new(team(client.clone(), id, name)), name);
    }
    if !reads.contains(&Workload::Channel) {
        return Ok(());
    }
    let owner = || Owner::Team(id.to_owned());
    let (own, all) = futures::join!(client.ask_all(channels_request(id)), client.ask_all(all_channels_request(id)));
    let own = match own {
        Ok(rows) => rows,
        Err(error) => {
            let state = without(error, "the team is not there yet, or no longer")?;
            found.note(owner(), name, Workload::Channel, state);
            return Ok(());
        }
    };
    let mut count = 0;
    for row in &own {
        let Some(channel_id) = text(row, &["id"]).filter(|id| !id.is_empty()) else { continue };
        let title = text(row, &["displayName"]).unwrap_or(channel_id);
        found.collections.push(Arc::new(channel(client.clone(), of, (channel_id, title))));
        count += 1;
    }
    found.note(owner(), name, Workload::Channel, CoverageState::Covered(count));
    incoming(of, &own, all, found)
}

/// The request for the channels that a team has itself, and those that others share with it.
fn all_channels_request(team: &str) -> GraphRequest {
    let url = format!("teams/{}/allChannels", segment(team));
    GraphRequest::get(Scope::teams(TeamsCall::Channels, team), url).prefer(ALL_MEMBERS)
}

/// Tells of the channels that another organisation shares with a team: what is said there is that organisation's. What
/// another team of this tenant shares is read at that team.
fn incoming((id, name): (&str, &str), own: &[Value], all: Result<Vec<Value>>, found: &mut Found) -> Result<()> {
    let owner = || Owner::Team(id.to_owned());
    let all = match all {
        Ok(rows) => rows,
        Err(error) => {
            if let CoverageState::Unreadable(reason) = without(error, "no channels")? {
                let reason = format!("channels that others share with the team cannot be listed: {reason}");
                found.note(owner(), name, Workload::Channel, CoverageState::Impossible(reason));
            }
            return Ok(());
        }
    };
    let tenant = own.iter().find_map(|row| text(row, &["tenantId"]));
    let ids: HashSet<&str> = own.iter().filter_map(|row| text(row, &["id"])).collect();
    for row in all.iter().filter(|row| text(row, &["id"]).is_some_and(|id| !ids.contains(id))) {
        let foreign = text(row, &["tenantId"]);
        if foreign.is_some() && foreign != tenant {
            let shown = format!("{name}/{}", text(row, &["displayName"]).unwrap_or_default());
            let reason = "a channel that another organisation shares with the team: it belongs to that organisation";
            found.note(owner(), &shown, Workload::Channel, CoverageState::Impossible(reason.to_owned()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn teams_of_the_same_name_are_told_apart() {
        let rows = [
            json!({"id": "1", "displayName": "Sales", "mail": "a@x", "resourceProvisioningOptions": ["Team"]}),
            json!({"id": "2", "displayName": "SALES", "mail": "b@x", "resourceProvisioningOptions": ["team"]}),
            json!({"id": "3", "displayName": "Sales", "mail": "c@x", "resourceProvisioningOptions": []}),
            json!({"id": "4", "displayName": null, "mail": null, "resourceProvisioningOptions": ["Team"]}),
            json!({"displayName": "no id"}),
        ];
        let groups: Vec<Group> = rows.iter().filter_map(group).collect();
        let names = team_names(&groups);
        assert_eq!((names["1"].as_str(), names["2"].as_str()), ("Sales (a@x)", "SALES (b@x)"));
        assert_eq!((groups.len(), names.len(), names["4"].as_str()), (4, 3, "4"));
    }
}
