//! A team: settings, members, channels with members, tabs and files folder, apps, tags. What is said in its channels is
//! [`super::channels`]'s.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as B64;
use serde_json::{Map, Value, json};

use super::app::App;
use super::channels;
use super::contacts::object;
use super::drive;
use super::groups::Group;
use super::letter::Cast;
use super::library::ROOT;
use super::migration;
use super::options::SimOptions;
use super::query::Request;
use super::reply::{Answer, Reply};
use super::rng::{Rng, guid, hash};
use super::row_lists::{self, List};
use super::shelf::{self, Kind, Shelf, TOP};
use super::state::{World, user_id};
use super::{times, words};

/// The team itself; its mark: archived or not.
pub(super) static TEAM: Kind =
    Kind { name: "team", id: |seed, _| guid(hash(seed, &[0x1d])), json: team_json, content: shelf::nothing };
/// A member of a team or channel; its mark is the user's number, with [`OWNER`] for an owner.
pub(super) static MEMBER: Kind = Kind {
    name: "aadUserConversationMember",
    id: |seed, number| B64.encode(format!("{}##{}", guid(seed), guid(number.into()))),
    json: member_json,
    content: shelf::nothing,
};
/// A channel; its mark: one of the kinds below.
pub(super) static CHANNEL: Kind = Kind { name: "channel", id: channel_id, json: channel_json, content: shelf::nothing };
/// A tab of a channel.
pub(super) static TAB: Kind = Kind { name: "teamsTab", id: any_guid, json: tab_json, content: shelf::nothing };
/// An app that is installed.
pub(super) static APP: Kind = Kind {
    name: "teamsAppInstallation",
    id: |seed, number| B64.encode(format!("{}##{}", guid(hash(seed, &[0x1d])), any_guid(seed, number))),
    json: app_json,
    content: shelf::nothing,
};
/// A tag.
pub(super) static TAG: Kind = Kind {
    name: "teamworkTag",
    id: |seed, number| B64.encode(format!("{}##tag##{number}", guid(seed))),
    json: tag_json,
    content: shelf::nothing,
};
/// Somebody with a tag.
pub(super) static TAG_MEMBER: Kind = Kind {
    name: "teamworkTagMember",
    id: |seed, number| B64.encode(format!("{}##{number}", guid(seed))),
    json: tag_member_json,
    content: shelf::nothing,
};

pub(super) const OWNER: u32 = 1 << 16;
pub(super) const STANDARD: u32 = 0;
pub(super) const PRIVATE: u32 = 1;
pub(super) const SHARED: u32 = 2;
/// Another organisation, which shares a channel with the first team.
const FOREIGN_TENANT: &str = "4dc1fe35-8ac6-4f0d-904a-7ebcd364bea1";

/// A team of a group.
#[derive(Debug)]
pub(super) struct Team {
    /// All but messages; the team itself is its first thing.
    pub(super) parts: Shelf,
    /// Messages, by the number of the channel.
    pub(super) channels: BTreeMap<u32, Shelf>,
}

fn any_guid(seed: u64, number: u32) -> String {
    guid(hash(seed, &[0x7ab, number.into()]))
}

fn channel_id(seed: u64, number: u32) -> String {
    let two = [hash(seed, &[1, number.into()]), hash(seed, &[2, number.into()])];
    format!("19:{:016x}{:016x}@thread.tacv2", two[0], two[1])
}

/// Makes the team of a group.
pub(super) fn populate(options: &SimOptions, seed: u64, name: &str, members: &[usize]) -> Team {
    let mut parts = Shelf::named(seed, name.to_owned());
    let old = times::EPOCH - 390 * times::DAY;
    let team = parts.add(&TEAM, TOP, old, 0);
    for (place, member) in members.iter().enumerate() {
        parts.add(&MEMBER, team, old, *member as u32 | if place == 0 { OWNER } else { 0 });
    }
    for _ in 0..3 {
        parts.add(&APP, team, old, 0);
    }
    let mut team = Team { parts, channels: BTreeMap::new() };
    for number in 0..2 {
        add_tag(&mut team.parts, members, old, number);
    }
    for kind in [STANDARD, STANDARD, PRIVATE, SHARED] {
        add_channel(&mut team, options, kind, (old, options.messages / 8), members);
    }
    // Nobody ever wrote here.
    add_channel(&mut team, options, STANDARD, (old, 0), members);
    team.parts.begin();
    team.channels.values_mut().for_each(Shelf::begin);
    team
}

fn add_tag(parts: &mut Shelf, members: &[usize], time: i64, number: usize) {
    let tag = parts.add(&TAG, 0, time, 0);
    for member in members.iter().skip(number) {
        parts.add(&TAG_MEMBER, tag, time, *member as u32);
    }
}

fn add_channel(team: &mut Team, options: &SimOptions, kind: u32, (time, messages): (i64, u32), members: &[usize]) {
    let channel = team.parts.add(&CHANNEL, TOP, time, kind);
    for number in 0..1 + kind {
        team.parts.add(&TAB, channel, time, number);
    }
    if kind != STANDARD {
        for (place, member) in members.iter().take(2).enumerate() {
            team.parts.add(&MEMBER, channel, time, *member as u32 | if place == 0 { OWNER } else { 0 });
        }
    }
    let path = format!("teams/{}/channels/{}", team.parts.id(0), team.parts.id(channel));
    let seed = hash(team.parts.seed, &[0x4e55, channel.into()]);
    team.channels.insert(channel, channels::populate(options, seed, path, messages));
}

/// What a day brings.
pub(super) fn day(team: &mut Team, options: &SimOptions, (day, now): (u32, i64), rng: &mut Rng) {
    for (channel, messages) in &mut team.channels {
        if team.parts.thing(*channel).alive && migration::is_open(&team.parts, *channel) {
            channels::day(messages, options, now, rng);
        }
    }
    let parts = &mut team.parts;
    // Archived on the second day, taken up again on the fourth.
    let archived = u32::from(matches!(day, 2 | 3));
    if parts.thing(0).mark != archived {
        parts.things[0].mark = archived;
        parts.edit(0, now);
    }
    for kind in [&TAB, &APP, &TAG] {
        if let Some(number) = parts.any(kind, rng).filter(|_| rng.chance(0.5)) {
            parts.edit(number, now);
        }
    }
    let channel = parts.any(&CHANNEL, rng).unwrap_or(0);
    parts.edit(channel, now);
    parts.add(&TAB, channel, now, 0);
    if let Some(tab) = parts.any(&TAB, rng) {
        parts.delete(tab);
    }
    if let Some(member) = parts.any(&MEMBER, rng) {
        parts.things[member as usize].mark ^= OWNER;
    }
    if let Some(member) = parts.any(&TAG_MEMBER, rng).filter(|_| rng.chance(0.3)) {
        parts.delete(member);
    }
    if day.is_multiple_of(2) {
        let app = parts.add(&APP, 0, now, 0);
        if day.is_multiple_of(4) {
            parts.delete(app);
        }
        add_channel(team, options, day % 3, (now, 3), &[0, 1]);
    }
    if day == 5 {
        let newest = team.channels.keys().next_back().copied();
        if let Some(channel) = newest {
            team.parts.delete(channel);
        }
    }
}

fn team_json(_: &Cast, shelf: &Shelf, number: u32) -> Map<String, Value> {
    let thing = shelf.thing(number);
    let yes = shelf.rng(number).chance(0.5);
    object(json!({
        "id": shelf.id(number),
        "createdDateTime": times::graph(thing.created),
        "displayName": shelf.name,
        "description": format!("The team {}", shelf.name),
        "internalId": channel_id(shelf.seed, 0),
        "classification": null,
        "specialization": "none",
        "visibility": "private",
        "webUrl": format!("https://teams.microsoft.com/l/team/{}", guid(shelf.seed)),
        "tenantId": null,
        "isArchived": thing.mark == 1,
        "memberSettings": {"allowCreateUpdateChannels": yes, "allowDeleteChannels": true, "allowAddRemoveApps": true, "allowCreateUpdateRemoveTabs": true, "allowCreateUpdateRemoveConnectors": true},
        "guestSettings": {"allowCreateUpdateChannels": false, "allowDeleteChannels": false},
        "messagingSettings": {"allowUserEditMessages": true, "allowUserDeleteMessages": true, "allowOwnerDeleteMessages": true, "allowTeamMentions": true, "allowChannelMentions": true},
        "funSettings": {"allowGiphy": true, "giphyContentRating": "strict", "allowStickersAndMemes": true, "allowCustomMemes": true},
    }))
}

fn member_json(cast: &Cast, shelf: &Shelf, number: u32) -> Map<String, Value> {
    let mark = shelf.thing(number).mark;
    let user = (mark & !OWNER) as usize;
    let person = cast.people.get(user);
    object(json!({
        "@odata.type": "#microsoft.graph.aadUserConversationMember",
        "id": shelf.id(number),
        "roles": if mark & OWNER != 0 { json!(["owner"]) } else { json!([]) },
        "displayName": person.map(|person| person.name.clone()),
        "visibleHistoryStartDateTime": "0001-01-01T00:00:00Z",
        "userId": user_id(cast.seed, user as u32),
        "email": person.map(|person| person.address.clone()),
        "tenantId": super::state::tenant_id(cast.seed),
    }))
}

/// As it is told to who asks for unknown members of enumerations.
fn channel_json(cast: &Cast, shelf: &Shelf, number: u32) -> Map<String, Value> {
    let thing = shelf.thing(number);
    let general = shelf.all(&CHANNEL).next() == Some(number);
    let name = match general {
        true => "General".to_owned(),
        false => format!("{} / {}", words::title(&mut shelf.rng(number), 2), number),
    };
    object(json!({
        "id": shelf.id(number),
        "createdDateTime": times::graph(thing.created),
        "displayName": name,
        "description": null,
        "isFavoriteByDefault": null,
        "email": "",
        "tenantId": super::state::tenant_id(cast.seed),
        "webUrl": format!("https://teams.microsoft.com/l/channel/{}", shelf.id(number)),
        "membershipType": (["standard", "private", "shared"][thing.mark as usize % 3]),
        "isArchived": false,
    }))
}

fn tab_json(_: &Cast, shelf: &Shelf, number: u32) -> Map<String, Value> {
    let mut rng = shelf.rng(number);
    let name = words::title(&mut rng, 2);
    let configuration = match rng.below(3) {
        0 => Value::Null,
        _ => {
            json!({"entityId": guid(rng.next()), "contentUrl": "https://www.contoso.com/tab", "websiteUrl": null, "removeUrl": null})
        }
    };
    object(json!({
        "id": shelf.id(number),
        "displayName": name,
        "webUrl": format!("https://teams.microsoft.com/l/channel/x/tab%3a%3a{}", shelf.id(number)),
        "configuration": configuration,
        "teamsApp": {"id": guid(rng.next()), "externalId": null, "displayName": "Contoso", "distributionMethod": "store"},
    }))
}

fn app_json(_: &Cast, shelf: &Shelf, number: u32) -> Map<String, Value> {
    let mut rng = shelf.rng(number);
    let app = any_guid(shelf.seed, number);
    object(json!({
        "id": shelf.id(number),
        "teamsAppDefinition": {
            "id": B64.encode(format!("{app}##1.0.{}", shelf.thing(number).revision)),
            "teamsAppId": app,
            "displayName": words::title(&mut rng, 2),
            "version": format!("1.0.{}", shelf.thing(number).revision),
            "publishingState": "published",
            "shortDescription": words::title(&mut rng, 5),
            "description": null,
            "lastModifiedDateTime": null,
            "createdBy": null,
        },
    }))
}

fn tag_json(_: &Cast, shelf: &Shelf, number: u32) -> Map<String, Value> {
    object(json!({
        "@odata.type": "#microsoft.graph.teamworkTag",
        "id": shelf.id(number),
        "teamId": shelf.id(0),
        "displayName": words::title(&mut shelf.rng(number), 1),
        "description": "",
        "memberCount": shelf.below(&TAG_MEMBER, number).count(),
        "tagType": "standard",
    }))
}

fn tag_member_json(cast: &Cast, shelf: &Shelf, number: u32) -> Map<String, Value> {
    let user = shelf.thing(number).mark;
    object(json!({
        "id": shelf.id(number),
        "displayName": cast.people.get(user as usize).map(|person| person.name.clone()),
        "tenantId": super::state::tenant_id(cast.seed),
        "userId": user_id(cast.seed, user),
    }))
}

pub(super) fn not_found(what: &str) -> Reply {
    Reply::fail(404, "NotFound", &format!("No {what} was found with that id."))
}

/// The group whose team that is.
pub(super) fn find(world: &World, id: &str) -> Answer<usize> {
    let is_it = |group: &Group| group.present && group.team.is_some() && group.id.eq_ignore_ascii_case(id);
    world.groups.iter().position(is_it).ok_or_else(|| not_found("team"))
}

/// A team by the number of its group.
pub(super) fn team(world: &World, group: usize) -> Answer<&Team> {
    world.groups[group].team.as_ref().ok_or_else(|| not_found("team"))
}

/// A channel of a team that is there.
pub(super) fn channel(team: &Team, id: &str) -> Answer<u32> {
    team.parts.find(&CHANNEL, id).ok_or_else(|| not_found("channel"))
}

/// Whether newer members of enumerations are told by name.
pub(super) fn knows_unknown(request: &Request) -> bool {
    let mut all = request.headers.get_all("prefer").into_iter().filter_map(|value| value.to_str().ok());
    all.any(|value| value.split(',').any(|part| part.trim() == "include-unknown-enum-members"))
}

/// `GET /teams/{id}`
pub(super) fn team_get(app: &App, request: &Request, group: usize) -> Answer {
    request.allow(&["$select"])?;
    let world = app.read();
    let team = team(&world, group)?;
    let row = row_lists::selected(request, TEAM.name, team.parts.json(&app.cast, 0), &["summary", "firstChannelName"])?;
    Ok(row_lists::single(app, "teams/$entity", row))
}

/// Which lists of a team there are.
#[derive(Clone, Copy)]
pub(super) enum Which<'a> {
    Members,
    Channels,
    AllChannels,
    Apps,
    Tags,
    TagMembers(&'a str),
    ChannelMembers(&'a str),
    Tabs(&'a str),
}

/// A list of a team's parts.
pub(super) fn list(app: &App, request: &Request, group: usize, which: Which<'_>) -> Answer {
    request.allow(&["$select", "$top", "$skiptoken", "$expand", "$filter", "$count"])?;
    let world = app.read();
    let team = team(&world, group)?;
    let parts = &team.parts;
    let (kind, numbers, page): (&Kind, Vec<u32>, _) = match which {
        Which::Members => (&MEMBER, parts.below(&MEMBER, 0).collect(), (100, 999)),
        Which::Channels | Which::AllChannels => (&CHANNEL, parts.all(&CHANNEL).collect(), (100, 100)),
        Which::Apps => (&APP, parts.all(&APP).collect(), (100, 100)),
        Which::Tags => (&TAG, parts.all(&TAG).collect(), (100, 100)),
        Which::TagMembers(id) => {
            let tag = parts.find(&TAG, id).ok_or_else(|| not_found("tag"))?;
            (&TAG_MEMBER, parts.below(&TAG_MEMBER, tag).collect(), (100, 100))
        }
        Which::ChannelMembers(id) => {
            let channel = channel(team, id)?;
            let of = if parts.thing(channel).mark == STANDARD { 0 } else { channel };
            (&MEMBER, parts.below(&MEMBER, of).collect(), (100, 999))
        }
        Which::Tabs(id) => (&TAB, parts.below(&TAB, channel(team, id)?).collect(), (100, 100)),
    };
    let mut rows = Vec::new();
    for number in numbers {
        rows.push(told(request, kind, parts.json(&app.cast, number))?);
    }
    if matches!(which, Which::AllChannels) {
        for row in incoming(&world, app, group) {
            rows.push(told(request, &CHANNEL, row)?);
        }
    }
    let context = format!("teams('{}')", parts.id(0));
    row_lists::page(app, request, &List { entity: kind.name, page, context: &context, path: "" }, rows)
}

/// A row as this client gets it.
fn told(request: &Request, kind: &Kind, mut row: Map<String, Value>) -> Answer<Value> {
    let expanded = request.option("$expand").unwrap_or_default();
    for inner in ["teamsApp", "teamsAppDefinition"] {
        if !expanded.split(',').any(|name| name.trim() == inner) {
            row.shift_remove(inner);
        }
    }
    if row.get("membershipType").is_some_and(|kind| kind == "shared") && !knows_unknown(request) {
        row.insert("membershipType".into(), "unknownFutureValue".into());
    }
    row_lists::selected(request, kind.name, row, &["summary"])
}

/// Channels that others share with a team: one of another organisation, and the shared ones of the last team.
fn incoming(world: &World, app: &App, group: usize) -> Vec<Map<String, Value>> {
    let teams: Vec<usize> = (0..world.groups.len()).filter(|n| world.groups[*n].team.is_some()).collect();
    let mut rows = Vec::new();
    if teams.first() == Some(&group) {
        rows.push(object(json!({
            "id": channel_id(77, 7),
            "createdDateTime": times::graph(times::EPOCH - 30 * times::DAY),
            "displayName": "Partner project",
            "description": null,
            "tenantId": FOREIGN_TENANT,
            "membershipType": "shared",
        })));
        let last = teams.last().filter(|last| **last != group);
        let last = last.and_then(|last| Some((world.groups.get(*last)?, world.groups.get(*last)?.team.as_ref()?)));
        if let Some((_, team)) = last {
            let shared = team.parts.all(&CHANNEL).filter(|number| team.parts.thing(*number).mark == SHARED);
            rows.extend(shared.map(|number| team.parts.json(&app.cast, number)));
        }
    }
    rows
}

/// `GET /teams/{id}/channels/{id}/filesFolder`
pub(super) fn files_folder(app: &App, request: &Request, group: usize, id: &str) -> Answer {
    request.allow(&["$select"])?;
    let world = app.read();
    let team = team(&world, group)?;
    let number = channel(team, id)?;
    let Some((drive, item)) = files_of(&world, group, number) else {
        return Err(Reply::fail(
            404,
            "NotFound",
            "Folder location for this channel is not ready yet, please try again later.",
        ));
    };
    let row = json!({
        "id": item,
        "createdDateTime": "0001-01-01T00:00:00Z",
        "lastModifiedDateTime": times::graph(world.now()),
        "name": "Files",
        "size": 2_374_080,
        "parentReference": {"driveId": drive, "driveType": "documentLibrary"},
        "folder": {"childCount": 7},
    });
    let row = row_lists::selected(request, "driveItem", object(row), &[])?;
    Ok(row_lists::single(app, "filesFolder/$entity", row))
}

/// The drive and item of a channel's files; `None`: nobody used them yet. Standard channels share a drive.
pub(super) fn files_of(world: &World, group: usize, channel: u32) -> Option<(String, String)> {
    let team = team(world, group).ok()?;
    let thing = team.parts.thing(channel);
    let used = thing.revision > 0 || team.channels.get(&channel).is_some_and(|said| !said.things.is_empty());
    if let (STANDARD, Some(index)) = (thing.mark, drive_of(world, group)) {
        let drive = drive::shown(world, index).ok()?.drive;
        return used.then(|| (drive.id.clone(), drive.item_id(ROOT)));
    }
    let drive = format!("b!{}", B64.encode(guid(hash(team.parts.seed, &[0xd1, channel.into()]))).replace('=', ""));
    used.then(|| (drive, format!("01{:016X}", hash(team.parts.seed, &[0xf0, channel.into()]))))
}

/// `GET /groups/{id}/drives`
pub(super) fn drives(app: &App, request: &Request, group: usize) -> Answer {
    let world = app.read();
    let all: Vec<usize> = drive_of(&world, group).into_iter().collect();
    drive::drive_list(app, request, &world, &all)
}

/// The library of a group: groups share those of the sites.
pub(super) fn drive_of(world: &World, group: usize) -> Option<usize> {
    let of_sites =
        |(_, (site, _)): &(usize, &(usize, usize))| world.sites.get(*site).is_some_and(|s| s.owner.is_none());
    let all: Vec<usize> = world.libraries.iter().enumerate().filter(of_sites).map(|(number, _)| number).collect();
    (!all.is_empty()).then(|| drive::LIBRARIES + all[group % all.len()])
}
