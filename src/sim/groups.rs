//! Groups of the directory: Microsoft 365 groups, some with a team, and a security group that is none.

use serde_json::{Map, Value, json};

use super::app::App;
use super::contacts::object;
use super::directory;
use super::options::SimOptions;
use super::query::Request;
use super::reply::{Answer, Reply};
use super::rng::{Rng, guid, hash};
use super::row_lists::{self, List};
use super::shelf::Shelf;
use super::state::{DOMAIN, User, UserKind, World};
use super::team::{self, Team};
use super::{calendar, conversations, planner, times};

/// A group.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) alias: String,
    /// A Microsoft 365 group; otherwise a security group.
    pub(super) unified: bool,
    /// Numbers of users; some may have left.
    pub(super) members: Vec<usize>,
    pub(super) owners: Vec<usize>,
    /// In the directory now.
    pub(super) present: bool,
    /// How often its description was changed.
    pub(super) revision: u32,
    /// Its conversations.
    pub(super) mail: Shelf,
    /// The events of its calendar.
    pub(super) events: Shelf,
    /// Its plans.
    pub(super) plans: Shelf,
    /// Its team, if it has one.
    pub(super) team: Option<Team>,
}

/// Names of groups, one of them twice, one that is no file name.
const NAMES: &[(&str, &str)] = &[
    ("Sales", "sales"),
    ("Golf Discussion", "golf"),
    ("Projekt Übersicht / 2026", "projekt"),
    ("Sales", "sales2"),
    ("Facility Management", "facility"),
];

/// Properties that come only when they are selected.
const SELECTABLE: &[&str] = &[
    "accessType",
    "allowExternalSenders",
    "assignedLabels",
    "assignedLicenses",
    "autoSubscribeNewMembers",
    "hasMembersWithLicenseErrors",
    "hideFromAddressLists",
    "hideFromOutlookClients",
    "infoCatalogs",
    "isArchived",
    "isFavorite",
    "isManagementRestricted",
    "isSubscribedByMail",
    "licenseProcessingState",
    "onPremisesDomainName",
    "onPremisesNetBiosName",
    "onPremisesSamAccountName",
    "organizationId",
    "securityIdentifier",
    "serviceProvisioningErrors",
    "uniqueName",
    "unseenConversationsCount",
    "unseenCount",
    "unseenMessagesCount",
    "welcomeMessageEnabled",
];

impl Group {
    /// Its address, which is unique in the tenant.
    pub(super) fn mail(&self) -> String {
        format!("{}@{DOMAIN}", self.alias)
    }
}

/// Makes the groups of the first day.
pub(super) fn populate(options: &SimOptions, users: &[User]) -> Vec<Group> {
    let people: Vec<usize> = (0..users.len()).filter(|n| users[*n].kind == UserKind::Regular).collect();
    let group = |number: u32, name: &str, alias: &str, unified: bool| {
        let seed = hash(options.seed, &[0x6409, number.into()]);
        let mut rng = Rng::new(seed, &[1]);
        let first = rng.index(people.len().max(1));
        let count = 2 + rng.index(6);
        let chosen = (0..count.min(people.len())).map(|i| people[(first + i) % people.len()]);
        let members: Vec<usize> = chosen.collect();
        let is_team = unified && number % 3 != 1;
        Group {
            id: guid(hash(seed, &[0x1d])),
            name: name.to_owned(),
            alias: alias.to_owned(),
            unified,
            team: is_team.then(|| team::populate(options, seed, name, &members)),
            owners: members.iter().copied().take(2).collect(),
            members,
            present: true,
            revision: 0,
            mail: if unified { conversations::populate(options, seed) } else { Shelf::default() },
            events: if unified { calendar::of_group(seed) } else { Shelf::default() },
            plans: if unified { planner::populate(options, seed) } else { Shelf::default() },
        }
    };
    let named = (0..options.groups).map(|number| match NAMES.get(number as usize) {
        Some((name, alias)) => group(number, name, alias, true),
        None => group(number, &format!("Project {number}"), &format!("project{number}"), true),
    });
    let mut groups: Vec<Group> = named.collect();
    if options.groups > 0 {
        groups.push(group(options.groups, "All Employees", "employees", false));
    }
    groups
}

/// What a day brings to a group, and to all that is its.
pub(super) fn day(group: &mut Group, options: &SimOptions, (day, now): (u32, i64), rng: &mut Rng) {
    if rng.chance(0.4) {
        group.revision += 1;
    }
    // Who was last becomes first.
    if rng.chance(0.3) {
        group.members.rotate_right(1);
    }
    if group.unified {
        conversations::day(&mut group.mail, options, now, rng);
        planner::day(&mut group.plans, options, now, rng);
    }
    if let Some(team) = &mut group.team {
        team::day(team, options, (day, now), rng);
    }
}

fn group_json(group: &Group) -> Map<String, Value> {
    let list = |yes: bool, word: &str| if yes { json!([word]) } else { json!([]) };
    object(json!({
        "id": group.id,
        "deletedDateTime": null,
        "classification": null,
        "createdDateTime": times::graph(times::EPOCH - 400 * times::DAY),
        "description": format!("Everything about {} ({})", group.name, group.revision),
        "displayName": group.name,
        "expirationDateTime": null,
        "groupTypes": list(group.unified, "Unified"),
        "isAssignableToRole": null,
        "mail": if group.unified { json!(group.mail()) } else { json!(null) },
        "mailEnabled": group.unified,
        "mailNickname": group.alias,
        "membershipRule": null,
        "membershipRuleProcessingState": null,
        "onPremisesLastSyncDateTime": null,
        "onPremisesSecurityIdentifier": null,
        "onPremisesSyncEnabled": null,
        "preferredDataLocation": null,
        "preferredLanguage": null,
        "proxyAddresses": [format!("SMTP:{}", group.mail())],
        "renewedDateTime": times::graph(times::EPOCH - 400 * times::DAY),
        "resourceBehaviorOptions": [],
        "resourceProvisioningOptions": list(group.team.is_some(), "Team"),
        "securityEnabled": !group.unified,
        "theme": null,
        "visibility": "Private",
        "onPremisesProvisioningErrors": [],
    }))
}

/// The group with that id, if it is in the directory now.
pub(super) fn find(world: &World, id: &str) -> Answer<usize> {
    let found = world.groups.iter().position(|group| group.present && group.id.eq_ignore_ascii_case(id));
    found.ok_or_else(|| {
        let message =
            format!("Resource '{id}' does not exist or one of its queried reference-property objects are not present.");
        Reply::fail(404, "Request_ResourceNotFound", &message)
    })
}

/// What a filter of groups says; clauses joined by `and`.
fn admits(filter: &str, group: &Group) -> Answer<bool> {
    let mut all = true;
    for clause in filter.split(" and ") {
        let plain: String = clause.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_lowercase();
        let inner = |property: &str| {
            let (head, value) = plain.split_once("eq'")?;
            let (name, variable) = head.strip_prefix(property)?.strip_prefix("/any(")?.split_once(':')?;
            (name == variable).then(|| value.trim_end_matches(')').trim_end_matches('\'').to_owned())
        };
        // The whole of a property: names and addresses differ in no letter's case.
        let whole = |property: &str, value: &str| {
            let (name, wanted) = clause.trim().split_once(" eq ")?;
            let wanted = wanted.trim().strip_prefix('\'')?.strip_suffix('\'')?.replace("''", "'");
            (name.trim() == property).then(|| wanted.eq_ignore_ascii_case(value))
        };
        if let Some(same) = whole("displayName", &group.name).or_else(|| whole("mail", &group.mail())) {
            all &= same;
            continue;
        }
        let (types, options) = (inner("grouptypes"), inner("resourceprovisioningoptions"));
        all &= match (types.as_deref(), options.as_deref()) {
            (Some(word), _) => group.unified && word == "unified",
            (_, Some(word)) => group.team.is_some() && word == "team",
            _ => {
                let text = "Unsupported or invalid query filter clause specified.";
                return Err(Reply::fail(400, "Request_UnsupportedQuery", text));
            }
        };
    }
    Ok(all)
}

/// `GET /groups`
pub(super) fn groups(app: &App, request: &Request) -> Answer {
    request.allow(&["$select", "$top", "$filter", "$count", "$orderby", "$skiptoken"])?;
    let world = app.read();
    let mut rows = Vec::new();
    for group in world.groups.iter().filter(|group| group.present) {
        if request.option("$filter").map_or(Ok(true), |filter| admits(filter, group))? {
            rows.push(row_lists::selected(request, "group", group_json(group), SELECTABLE)?);
        }
    }
    let list = List { entity: "group", page: (app.options.pages.users, 999), context: "groups", path: "" };
    row_lists::page(app, request, &list, rows)
}

/// `GET /groups/{id}`
pub(super) fn group(app: &App, request: &Request, index: usize) -> Answer {
    request.allow(&["$select", "$expand"])?;
    let world = app.read();
    let row = row_lists::selected(request, "group", group_json(&world.groups[index]), SELECTABLE)?;
    Ok(row_lists::single(app, "groups/$entity", row))
}

/// `GET /groups/{id}/members`, `…/transitiveMembers` and `…/owners`
pub(super) fn people(app: &App, request: &Request, index: usize, owners: bool) -> Answer {
    request.allow(&["$select", "$top", "$count", "$skiptoken"])?;
    let world = app.read();
    let group = &world.groups[index];
    let numbers = if owners { &group.owners } else { &group.members };
    let mut rows = Vec::new();
    for user in numbers.iter().map(|number| &world.users[*number]).filter(|user| user.present) {
        rows.push(directory::member_json(request, user)?);
    }
    let list = List { entity: "directoryObject", page: (100, 999), context: "directoryObjects", path: "" };
    row_lists::page(app, request, &list, rows)
}
