//! Settings of a mailbox: automatic replies, rules, categories, whose mail goes to the focused inbox.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::app::App;
use super::contacts::object;
use super::letter::Cast;
use super::mail::mailbox;
use super::options::SimOptions;
use super::oracle::ExpectedThing;
use super::query::Request;
use super::reply::{Answer, Reply};
use super::rng::{Rng, guid, hash};
use super::shelf::{self, Kind, Shelf, TOP};
use super::state::{User, UserKind};
use super::{properties, shelf_http, times, words};

/// The settings that are no list; always thing 0.
static SETTINGS: Kind = Kind { name: "mailboxSettings", id: guid_id, json: replies, content: shelf::nothing };
pub(super) static RULE: Kind = Kind { name: "messageRule", id: rule_id, json: rule, content: shelf::nothing };
pub(super) static CATEGORY: Kind =
    Kind { name: "outlookCategory", id: guid_id, json: category, content: shelf::nothing };
pub(super) static OVERRIDE: Kind =
    Kind { name: "inferenceClassificationOverride", id: guid_id, json: focus, content: shelf::nothing };

fn guid_id(seed: u64, number: u32) -> String {
    guid(hash(seed, &[number.into()]))
}

fn rule_id(seed: u64, number: u32) -> String {
    STANDARD.encode([&[1u8, 0, 0, 0][..], &hash(seed, &[number.into()]).to_le_bytes()[..5]].concat())
}

/// Fills the settings of a mailbox, whose rules move mail to `folder`.
pub(super) fn populate(seed: u64, folder: String) -> Shelf {
    let mut shelf = Shelf::named(hash(seed, &[0x5e77]), folder);
    let mut rng = Rng::new(shelf.seed, &[1]);
    shelf.add(&SETTINGS, TOP, times::EPOCH, 0);
    for kind in [&RULE, &CATEGORY, &OVERRIDE] {
        for _ in 0..2 + rng.below(3) {
            shelf.add(kind, TOP, times::EPOCH, 0);
        }
    }
    shelf.begin();
    shelf
}

/// What a day brings.
pub(super) fn day(shelf: &mut Shelf, options: &SimOptions, now: i64, rng: &mut Rng) {
    if options.script.others == 0 {
        return;
    }
    shelf.edit(0, now);
    for kind in [&RULE, &CATEGORY, &OVERRIDE] {
        match (rng.below(3), shelf.any(kind, rng)) {
            (0, Some(one)) => shelf.edit(one, now),
            (1, Some(one)) => shelf.delete(one),
            _ => drop(shelf.add(kind, TOP, now, 0)),
        }
    }
}

/// Automatic replies: what of the settings changes from day to day.
fn replies(_: &Cast, shelf: &Shelf, number: u32) -> Map<String, Value> {
    let away = shelf.thing(number).revision % 2 == 1;
    let text = if away { "<html>\n<body>\n<p>I am away.<br>\n</p></body>\n</html>\n" } else { "" };
    object(json!({
        "status": if away { "scheduled" } else { "disabled" }, "externalAudience": "all",
        "internalReplyMessage": text, "externalReplyMessage": text,
        "scheduledStartDateTime": {"dateTime": "2026-11-02T06:00:00.0000000", "timeZone": "UTC"},
        "scheduledEndDateTime": {"dateTime": "2026-11-03T06:00:00.0000000", "timeZone": "UTC"},
    }))
}

fn rule(_: &Cast, shelf: &Shelf, number: u32) -> Map<String, Value> {
    let mut rng = shelf.rng(number);
    object(json!({
        "id": shelf.id(number),
        "displayName": words::title(&mut rng, 2),
        "sequence": number,
        "isEnabled": rng.chance(0.8),
        "hasError": false,
        "isReadOnly": false,
        "conditions": {"subjectContains": [words::title(&mut rng, 1)]},
        "actions": {"moveToFolder": shelf.name, "stopProcessingRules": true},
    }))
}

fn category(_: &Cast, shelf: &Shelf, number: u32) -> Map<String, Value> {
    let mut rng = shelf.rng(number);
    object(json!({
        "id": shelf.id(number),
        "displayName": words::title(&mut rng, 2),
        "color": format!("preset{}", rng.below(25)),
    }))
}

fn focus(_: &Cast, shelf: &Shelf, number: u32) -> Map<String, Value> {
    let mut rng = shelf.rng(number);
    let given = *rng.pick(words::GIVEN);
    object(json!({
        "id": shelf.id(number),
        "classifyAs": if rng.chance(0.5) { "focused" } else { "other" },
        "senderEmailAddress": {"name": given, "address": format!("{}@example.org", given.to_lowercase())},
    }))
}

/// All properties of `mailboxSettings`.
pub(super) fn all(cast: &Cast, user: &User) -> Map<String, Value> {
    let mut json = Value::Object(made(cast, user));
    if let Some(given) = user.settings.thing(0).given.get("~settings") {
        merge(&mut json, given.clone());
    }
    object(json)
}

/// Puts what is given over what there is, object by object.
pub(super) fn merge(there: &mut Value, given: Value) {
    match (there, given) {
        (Value::Object(there), Value::Object(given)) => {
            for (name, value) in given {
                merge(there.entry(name).or_insert(Value::Null), value);
            }
        }
        (there, given) => *there = given,
    }
}

fn made(cast: &Cast, user: &User) -> Map<String, Value> {
    let purpose = match user.kind {
        UserKind::Shared => "shared",
        UserKind::Room => "room",
        _ => "user",
    };
    let (locale, language) =
        if user.german { ("de-DE", "German (Germany)") } else { ("en-GB", "English (United Kingdom)") };
    object(json!({
        "archiveFolder": user.mailbox.as_ref().and_then(|m| Some(m.folder_id(m.find_folder("archive")?))),
        "timeZone": "W. Europe Standard Time",
        "delegateMeetingMessageDeliveryOptions": "sendToDelegateOnly",
        "dateFormat": "dd/MM/yyyy",
        "timeFormat": "HH:mm",
        "userPurpose": purpose,
        "automaticRepliesSetting": user.settings.json(cast, 0),
        "language": {"locale": locale, "displayName": language},
        "workingHours": {
            "daysOfWeek": ["monday", "tuesday", "wednesday", "thursday", "friday"],
            "startTime": "08:00:00.0000000", "endTime": "17:00:00.0000000",
            "timeZone": {"name": "W. Europe Standard Time"},
        },
    }))
}

/// `GET /users/{id}/mailboxSettings`
pub(super) fn get(app: &App, request: &Request, index: usize) -> Answer {
    request.allow(&["$select"])?;
    let fields = request.select("mailboxSettings", properties::MAILBOX_SETTINGS)?;
    let world = app.read();
    mailbox(&world, index)?;
    let user = &world.users[index];
    let mut body = Map::new();
    body.insert(
        "@odata.context".into(),
        format!("{}/v1.0/$metadata#users('{}')/mailboxSettings", app.base_url, user.id).into(),
    );
    body.extend(all(&app.cast, user).into_iter().filter(|(name, _)| fields.wants(name)));
    Ok(Reply::json(body.into()))
}

/// `GET …/messageRules`, `…/masterCategories`, `…/overrides`
pub(super) fn list(app: &App, request: &Request, template: &str, index: usize) -> Answer {
    let world = app.read();
    mailbox(&world, index)?;
    let shelf = &world.users[index].settings;
    let kind = match template.rsplit('/').next() {
        Some("messageRules") => &RULE,
        Some("masterCategories") => &CATEGORY,
        _ => &OVERRIDE,
    };
    let numbers: Vec<u32> = shelf.all(kind).collect();
    let context = format!("users('{}')/{}", world.users[index].id, template.trim_start_matches("/users/{id}/"));
    shelf_http::list(app, request, shelf, kind, (&numbers, 10), &context)
}

/// What a backup of the settings of a mailbox must hold.
pub(super) fn expected(cast: &Cast, user: &User) -> Vec<ExpectedThing> {
    let shelf = &user.settings;
    let thing = |id: String, kind: &'static str, json: Map<String, Value>| ExpectedThing {
        id,
        parent: String::new(),
        kind,
        json: json.into(),
        content: None,
    };
    let mut things = vec![thing("mailboxSettings".to_owned(), SETTINGS.name, all(cast, user))];
    for (kind, prefix) in [(&RULE, "rules"), (&CATEGORY, "categories"), (&OVERRIDE, "overrides")] {
        things.extend(
            shelf.all(kind).map(|n| thing(format!("{prefix}/{}", shelf.id(n)), kind.name, shelf.json(cast, n))),
        );
    }
    things
}
