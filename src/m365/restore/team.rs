//! The shape of a team goes back: settings, members, tags, channels with their members and tabs.
//!
//! The team itself must be there: a deleted one comes back with its group from the recycle bin of Entra ID, within 30 days. What
//! it lacks is added, and its settings are set where they are to be overwritten; apps are not installed. What was written in a
//! channel comes back with the channel where an app may import posts ([`super::posts`]). Source:
//! Microsoft Graph, "Update team", "Create channel", "Add member to team", "Add tab to channel", "Create teamworkTag".

mod channels;

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::door::{Cost, Extras, Fit, Found, Log, Made, Order, Present, Since, Source, Target, Undo};
use super::posts::{Brought, may_import};
use super::{Destination, rows};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{ItemKind, Record};
use crate::graph::links::segment;
use crate::graph::{Client, GraphRequest, Scope, TeamsCall};
use crate::m365::door::{Owner, Workload};
use crate::m365::facts::text;
use crate::m365::messages::ALL_MEMBERS;
use crate::m365::team::{MEMBER_EMAIL, MEMBER_USER, part};
use crate::m365::walk::{Told, id_of};

/// What of a team can be set.
const TEAM: &[&str] = &[
    "classification",
    "description",
    "discoverySettings",
    "displayName",
    "funSettings",
    "guestSettings",
    "memberSettings",
    "messagingSettings",
    "visibility",
];
/// What of it stays where another team takes the shape: what it is called, and who sees it.
const OF_ITSELF: &[&str] = &["displayName", "visibility"];
/// What of a tab can be set, beside its app.
const TAB: &[&str] = &["configuration", "displayName"];
/// What of a tag is looked at before it is taken back.
const TAG: &[&str] = &["description", "displayName", "memberCount"];
/// The parts of a channel.
const TABS: &str = "tabs";
const MEMBERS: &str = "members";
/// What is said where adding members and tags broke off.
const IN_DOUBT: &str =
    "a member or tag that was just being added is there perhaps, and nothing says who made it: undo leaves it";
/// Where bindings name things; each cloud reads the path alone.
const GRAPH: &str = "https://graph.microsoft.com/v1.0";

/// The shape of one team.
pub(super) struct Team {
    client: Client,
    id: String,
    path: String,
    original: bool,
    /// Posts may be imported into channels that are made.
    imports: bool,
}

impl Team {
    /// The team of a destination.
    ///
    /// # Errors
    /// `InvalidInput` if the owner is no team; the sign-in's.
    pub(super) async fn open(client: &Client, to: &Destination) -> Result<Self> {
        let Owner::Team(id) = &to.owner else {
            return Err(Error::invalid(format!("A team's shape can go into a team only, not into {}", to.name))
                .with_hint("name a team with --to"));
        };
        let path = format!("{}/{}/{}", to.owner.word(), to.name, Workload::Team.title());
        let imports = to.original && may_import(client).await?;
        Ok(Self { client: client.clone(), id: id.clone(), path, original: to.original, imports })
    }

    fn url(&self, rest: &str) -> String {
        format!("teams/{}{rest}", segment(&self.id))
    }

    fn get(&self, rest: &str) -> GraphRequest {
        GraphRequest::get(self.scope(), self.url(rest)).prefer(ALL_MEMBERS)
    }

    async fn post(&self, rest: &str, body: &Value) -> Result<Value> {
        self.client.send(GraphRequest::post(self.scope(), self.url(rest), body)).await
    }

    async fn told(&self, list: &str, kind: ItemKind, parent: &str) -> Result<Vec<Told>> {
        let rows = self.client.get_all(self.get(list)).await?;
        Ok(rows.into_iter().filter_map(|row| part(row, kind, parent)).collect())
    }
}

fn of_channel(channel: &str, rest: &str) -> String {
    format!("/channels/{}{rest}", segment(channel))
}

/// The id that Graph gives to a part, which is named below what it belongs to.
fn bare<'a>(id: &'a str, parent: &str) -> &'a str {
    id.strip_prefix(parent).and_then(|rest| rest.strip_prefix('/')).unwrap_or(id)
}

#[async_trait]
impl Target for Team {
    fn workload(&self) -> Workload {
        Workload::Team
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn scope(&self) -> Scope {
        Scope::teams(TeamsCall::Team, &self.id)
    }

    fn permission(&self) -> &'static str {
        "Group.ReadWrite.All"
    }

    fn at_once(&self) -> usize {
        1
    }

    fn takes_folder(&self) -> bool {
        false
    }

    fn tells_changes(&self) -> bool {
        false
    }

    async fn probe(&self) -> Result<()> {
        self.client.get_json(self.get("")).await.map(drop)
    }

    fn fit(&self, record: &Record) -> Fit {
        match record.kind {
            ItemKind::Setting => Fit::Takes(Cost { requests: 5, units: 5, bytes: 2_000 }),
            ItemKind::Channel | ItemKind::Tab | ItemKind::Member => {
                Fit::Takes(Cost { requests: 1, units: 1, bytes: 500 })
            }
            kind => Fit::Cannot(format!("a {} of a team is not restored", kind.word())),
        }
    }

    async fn further(&self, record: &Record, _: Extras, source: &dyn Source) -> Result<Cost> {
        self.cost_of_posts(record, source).await
    }

    async fn brings(&self, record: &Record, source: &dyn Source) -> Result<Option<Brought>> {
        self.brought(record, source).await
    }

    /// The members of the team come first, as those of private channels must be among them.
    fn rank(&self, kind: ItemKind) -> u8 {
        u8::from(kind != ItemKind::Setting && kind != ItemKind::Member)
    }

    fn adds(&self, kind: ItemKind) -> bool {
        kind == ItemKind::Setting
    }

    fn stays(&self, record: &Record) -> Option<&'static str> {
        (record.kind != ItemKind::Setting)
            .then_some("it is there already: channels, tabs and members are left as they are")
    }

    fn identity(&self, record: &Record) -> String {
        match record.kind {
            // There is one of it.
            ItemKind::Setting => String::new(),
            ItemKind::Member => who(record, self.original),
            _ => record.name.to_lowercase(),
        }
    }

    fn state(&self, _: &Record) -> String {
        String::new()
    }

    async fn present(&self, parent: &str) -> Result<Vec<Present>> {
        let told = if parent.is_empty() {
            let rows = self.client.get_all(self.get("/channels")).await?;
            let channel = |row: Value| {
                let (id, name) = (id_of(&row)?.to_owned(), text(&row, &["displayName"])?.to_owned());
                Some(Told::new(ItemKind::Channel, id, "", &name, row))
            };
            let mut told: Vec<Told> = rows.into_iter().filter_map(channel).collect();
            told.push(Told::new(ItemKind::Setting, &*self.id, "", "", Value::Null));
            told
        } else {
            let mut told = self.told(&of_channel(parent, "/tabs?$expand=teamsApp"), ItemKind::Tab, parent).await?;
            told.extend(self.told(&of_channel(parent, "/members"), ItemKind::Member, parent).await?);
            told
        };
        Ok(told.into_iter().map(|told| rows::present(self, told)).collect())
    }

    async fn create_top(&self, _: &str) -> Result<Made> {
        Err(rows::no_place(ItemKind::Channel))
    }

    async fn find_top(&self, _: &str) -> Result<Option<Made>> {
        Ok(None)
    }

    async fn create(&self, order: Order<'_>, source: &dyn Source) -> Result<Made> {
        let json = source.properties(order.record).await?;
        let below = order.parent;
        match order.record.kind {
            ItemKind::Setting => self.complete(order, (&json, false), source).await,
            ItemKind::Channel => self.make_channel(order, &json, source).await,
            ItemKind::Member => {
                let Some(body) = self.member(&json) else { return Err(rows::no_place(ItemKind::Member)) };
                self.add(&of_channel(below, "/members"), body, (ItemKind::Member, &order.record.id, below)).await
            }
            ItemKind::Tab => {
                let mut body = rows::settable(&json, TAB);
                let app = text(&json, &["teamsApp", "id"]).unwrap_or_default();
                body.insert("displayName".into(), order.name.into());
                body.insert("teamsApp@odata.bind".into(), format!("{GRAPH}/appCatalogs/teamsApps/{app}").into());
                let answer = self.post(&of_channel(below, "/tabs"), &body.into()).await?;
                let id = format!("{below}/{}", rows::new_id(&answer)?);
                Ok(Made { state: held(ItemKind::Tab, &answer), ..Made::new(ItemKind::Tab, id, below) })
            }
            kind => Err(rows::no_place(kind)),
        }
    }

    async fn overwrite(&self, present: &str, order: Order<'_>, source: &dyn Source) -> Result<Made> {
        if order.record.kind == ItemKind::Setting {
            return self.complete(order, (&source.properties(order.record).await?, true), source).await;
        }
        let notes = vec!["what is there of a team's channels and tabs is left as it is".to_owned()];
        Ok(Made { id: present.to_owned(), notes, ..Made::default() })
    }

    async fn find(&self, order: Order<'_>, source: &dyn Source) -> Result<Found> {
        if order.record.kind == ItemKind::Setting && order.only_looks {
            return Ok(Found::Whole(Made { id: self.id.clone(), ..Made::default() }));
        }
        if order.record.kind == ItemKind::Setting {
            let mut made = self.create(order, source).await?;
            made.notes.push(IN_DOUBT.to_owned());
            return Ok(Found::Whole(made));
        }
        if order.record.kind == ItemKind::Channel
            && let Some(made) = self.half_made(order, source).await?
        {
            return Ok(Found::Whole(made));
        }
        let wanted = match order.record.kind {
            ItemKind::Member => self.identity(order.record),
            _ => order.name.to_lowercase(),
        };
        let there = self.present(order.parent).await?;
        let found = there.into_iter().find(|one| one.identity == wanted && one.kind == order.record.kind);
        Ok(found.map_or(Found::Nothing, |one| rows::as_it_should_be(one.id)))
    }

    async fn goes_on(&self, undo: &Undo) -> Result<bool> {
        match undo {
            Undo::Delete { kind: ItemKind::Channel, id, .. } => self.is_half_made(id).await,
            _ => Ok(false),
        }
    }

    async fn was_changed(&self, undo: &Undo, since: Since<'_>) -> Result<bool> {
        if let Undo::Delete { kind: ItemKind::Channel, id, .. } = undo
            && self.was_written_in(id, since).await?
        {
            return Ok(true);
        }
        let (kind, id, parent) = match undo {
            Undo::Values { before, .. } => {
                let now = |now: &Value| held_as(before, now);
                return rows::differs(&self.client, self.get(""), since, now).await;
            }
            Undo::Delete { kind, id, parent } if !since.state.is_empty() => (*kind, id.as_str(), parent.as_str()),
            _ => return Ok(false),
        };
        let list = match kind {
            ItemKind::Channel => "/channels".to_owned(),
            ItemKind::Tab => of_channel(parent, "/tabs"),
            ItemKind::Member if parent.is_empty() => "/members?$top=999".to_owned(),
            ItemKind::Member => of_channel(parent, "/members"),
            _ => "/tags".to_owned(),
        };
        let all = match self.client.get_all(self.get(&list)).await {
            Err(error) if rows::is_gone(&error) => return Ok(false),
            other => other?,
        };
        let Some(now) = all.iter().find(|row| id_of(row) == Some(bare(id, parent))) else { return Ok(false) };
        if held(kind, now) != since.own() {
            return Ok(true);
        }
        // What the restore itself put into a channel was taken back before.
        for part in [TABS, MEMBERS].into_iter().filter(|_| kind == ItemKind::Channel) {
            if rows::part_differs(since.of(part), self.in_channel(id, part)).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn undo(&self, undo: &Undo) -> Result<Option<String>> {
        let url = match undo {
            Undo::Delete { kind: ItemKind::Channel, id, .. } => of_channel(id, ""),
            Undo::Delete { kind: ItemKind::Tab, id, parent } => {
                of_channel(parent, &format!("/tabs/{}", segment(bare(id, parent))))
            }
            Undo::Delete { kind: ItemKind::Member, id, parent } if parent.is_empty() => {
                format!("/members/{}", segment(id))
            }
            Undo::Delete { kind: ItemKind::Member, id, parent } => {
                of_channel(parent, &format!("/members/{}", segment(bare(id, parent))))
            }
            Undo::Delete { id, .. } => format!("/tags/{}", segment(id)),
            Undo::Values { before, .. } => {
                let request = GraphRequest::patch(self.scope(), self.url(""), before);
                return rows::delete(&self.client, request).await;
            }
            other => return Ok(rows::left(other)),
        };
        rows::delete(&self.client, GraphRequest::delete(self.scope(), self.url(&url))).await
    }
}

impl Team {
    /// Adds the members and tags that the team lacks, and sets its settings if they are to be overwritten.
    async fn complete(
        &self,
        order: Order<'_>,
        (json, overwrites): (&Value, bool),
        source: &dyn Source,
    ) -> Result<Made> {
        let mut made = Made { id: self.id.clone(), ..Made::default() };
        let there = self.client.get_json(self.get("")).await?;
        let (before, wanted) = (rows::settable(&there, TEAM), rows::settable(json, TEAM));
        let stays = |name: &str| !self.original && OF_ITSELF.contains(&name);
        let differs = |(name, value): &(String, Value)| before.get(name) != Some(value) && !stays(name);
        let changed: Map<String, Value> = wanted.into_iter().filter(differs).collect();
        if !overwrites && !changed.is_empty() {
            made.notes.push("its settings are left as they are: --conflict replace sets them".to_owned());
        } else if !changed.is_empty() {
            let before: Map<String, Value> =
                before.into_iter().filter(|(name, _)| changed.contains_key(name)).collect();
            let undo = Undo::Values { kind: ItemKind::Setting, id: self.id.clone(), before: before.into() };
            let undo = order.log.note(undo).await?;
            self.client.send(GraphRequest::patch(self.scope(), self.url(""), &changed.into())).await?;
            if let (Undo::Values { before, .. }, Ok(now)) = (&undo, self.client.get_json(self.get("")).await) {
                made.state = held_as(before, &now);
            }
            made.undo.push(undo);
        }
        let below = source.below(order.record).await?;
        self.members(&below, source, order.log, &mut made).await?;
        self.tags(&below, source, order.log, &mut made).await?;
        if below.iter().any(|part| part.kind == ItemKind::App) {
            made.notes.push("apps are not installed: a team's owner does that".to_owned());
        }
        Ok(made)
    }

    async fn members(&self, below: &[Record], source: &dyn Source, log: &dyn Log, made: &mut Made) -> Result<()> {
        let there = self.in_team().await?;
        for part in below.iter().filter(|part| part.kind == ItemKind::Member) {
            let json = source.properties(part).await?;
            if is_among(&there, &json) {
                continue;
            }
            let Some(body) = self.member(&json) else { continue };
            match self.add("/members", body, (ItemKind::Member, &part.id, "")).await {
                Ok(member) => {
                    for undo in member.undo {
                        made.tell(undo.id(), &member.state);
                        made.undo.push(log.note(undo).await?);
                    }
                }
                Err(error) if rows::is_gone(&error) => {
                    made.notes.push(format!("{} is no longer in the directory, and no member", part.name));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Who is in the team now.
    async fn in_team(&self) -> Result<Vec<Value>> {
        self.client.get_all(self.get("/members?$top=999")).await
    }

    async fn tags(&self, below: &[Record], source: &dyn Source, log: &dyn Log, made: &mut Made) -> Result<()> {
        let people = self.in_team().await?;
        let mut known = Vec::new();
        for member in below.iter().filter(|part| part.kind == ItemKind::Member) {
            known.push(source.properties(member).await?);
        }
        let there = self.client.get_all(self.get("/tags")).await?;
        for part in below.iter().filter(|part| part.kind == ItemKind::Tag) {
            if there.iter().any(|row| text(row, &["displayName"]) == Some(part.name.as_str())) {
                continue;
            }
            let mut users = Vec::new();
            for member in source.below(part).await? {
                let json = source.properties(&member).await?;
                // One who left would keep the tag from the others.
                let id = if self.original { id_among(&people, &json) } else { id_elsewhere(&people, &known, &json) };
                users.extend(id.map(|id| json!({"userId": id})));
            }
            if users.is_empty() {
                made.notes.push(format!("the tag '{}' was not made: nobody who had it is in the team", part.name));
                continue;
            }
            let mut body = rows::settable(&source.properties(part).await?, &["description", "displayName"]);
            body.insert("members".into(), users.into());
            match self.post("/tags", &body.into()).await {
                Ok(answer) => {
                    let (kind, id) = (ItemKind::Tag, rows::new_id(&answer)?);
                    made.tell(&id, &held(kind, &answer));
                    made.undo.push(log.note(Undo::Delete { kind, id, parent: String::new() }).await?);
                }
                Err(error) if matches!(error.kind(), ErrorKind::Permission | ErrorKind::InvalidInput) => {
                    made.notes.push(format!("the tag '{}' was not made: {error}", part.name));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What is sent of a member; `None`: nothing says who it is.
    fn member(&self, json: &Value) -> Option<Value> {
        let keys: [&str; 1] = if self.original { ["userId"] } else { ["email"] };
        let user = keys.iter().find_map(|key| text(json, &[key]))?.replace('\'', "''");
        let roles = json.get("roles").cloned().unwrap_or_else(|| json!([]));
        Some(json!({
            "@odata.type": "#microsoft.graph.aadUserConversationMember",
            "roles": roles,
            "user@odata.bind": format!("{GRAPH}/users('{user}')"),
        }))
    }

    /// Adds a member; one who is there already stays.
    async fn add(&self, url: &str, body: Value, (kind, id, parent): (ItemKind, &str, &str)) -> Result<Made> {
        match self.post(url, &body).await {
            Ok(answer) => {
                let made = Made::new(kind, rows::new_id(&answer)?, parent);
                Ok(Made { state: held(kind, &answer), ..made })
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(Made { id: id.to_owned(), ..Made::default() }),
            Err(error) => Err(error),
        }
    }
}

/// Who a member is: by their id, elsewhere by their address. Snapshots of before either was a fact of its record tell the name alone.
fn who(record: &Record, original: bool) -> String {
    let known = record.fact(if original { MEMBER_USER } else { MEMBER_EMAIL });
    known.map_or_else(|| record.name.to_lowercase(), |known| format!("member\n{}", known.to_lowercase()))
}

/// What a part of a team holds.
fn held(kind: ItemKind, json: &Value) -> String {
    match kind {
        ItemKind::Channel => rows::state(json, &["description", "displayName"]),
        ItemKind::Tab => rows::state(json, TAB),
        // Who has no role is a member as well.
        ItemKind::Member => rows::state_of_all(std::slice::from_ref(json), &["roles"]),
        _ => rows::state(json, TAG),
    }
}

/// What a team holds of these values, as a hash.
fn held_as(values: &Value, team: &Value) -> String {
    let names: Vec<&str> = values.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    rows::state(team, &names)
}

/// Says whether a member is one of these.
fn is_among(people: &[Value], member: &Value) -> bool {
    among(people, member, &["userId", "email"]).is_some()
}

/// The one of these who has the id or address of a member.
fn among<'a>(people: &'a [Value], member: &Value, keys: &[&str]) -> Option<&'a Value> {
    let same = |row: &&Value, key: &str| {
        text(row, &[key]).is_some_and(|one| text(member, &[key]).is_some_and(|other| one.eq_ignore_ascii_case(other)))
    };
    people.iter().find(|row| keys.iter().any(|key| same(row, key)))
}

/// The id of a member who is one of these.
fn id_among<'a>(people: &'a [Value], member: &Value) -> Option<&'a str> {
    text(among(people, member, &["userId", "email"])?, &["userId"])
}

/// The id that a member has here: who bears a tag is told by an id of there, of which the members there (`known`) tell the address.
fn id_elsewhere<'a>(people: &'a [Value], known: &[Value], member: &Value) -> Option<&'a str> {
    text(among(people, among(known, member, &["userId"])?, &["email"])?, &["userId"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_of_one_name_are_told_apart_by_who_they_are() {
        let member = |user: &str, email: &str| {
            let row = json!({"id": user, "displayName": "Ada", "roles": [], "userId": user, "email": email});
            part(row, ItemKind::Member, "channel").expect("a member").record
        };
        let (one, other) = (member("u1", "Ada@contoso.com"), member("u2", "ada2@contoso.com"));
        let elsewhere = member("u9", "ada@contoso.com");
        assert_ne!(who(&one, true), who(&other, true));
        assert_ne!(who(&one, false), who(&other, false));
        assert!(who(&one, true) != who(&elsewhere, true) && who(&one, false) == who(&elsewhere, false));
        // Who bears a tag is told by an id alone.
        let person = |user: &str, email: &str| json!({"userId": user, "email": email});
        let (people, known) =
            ([person("u9", "ADA@contoso.com")], [person("u1", "ada@contoso.com"), person("u2", "x@y")]);
        let bears = |user: &str| json!({"userId": user, "displayName": "Ada"});
        assert_eq!(id_elsewhere(&people, &known, &bears("u1")), Some("u9"));
        assert_eq!([bears("u2"), bears("u3")].map(|one| id_elsewhere(&people, &known, &one)), [None, None]);
        assert_eq!((id_among(&people, &bears("u9")), id_among(&people, &bears("u1"))), (Some("u9"), None));
        // Of a tag or channel nothing of that is kept.
        let channel = part(json!({"id": "c", "displayName": "Ada", "email": "c@contoso.com"}), ItemKind::Tab, "t");
        assert_eq!(channel.expect("a part").record.fact(MEMBER_EMAIL), None);
    }
}
