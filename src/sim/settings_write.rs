//! Settings of a mailbox that clients write.

use serde_json::{Map, Value, json};

use super::app::App;
use super::doors::{Door, New, create, gone, in_mailbox, shown};
use super::query::Request;
use super::reply::{Answer, Reply};
use super::route::Route;
use super::schema::Entity;
use super::settings::{CATEGORY, OVERRIDE, RULE, all, merge};
use super::shelf::{Kind, TOP};
use super::state::User;

const ROLES: &[&str] = &["MailboxSettings.ReadWrite"];
const MAIL: &[&str] = &["Mail.ReadWrite"];

static SETTINGS_ENTITY: Entity =
    Entity { name: "mailboxSettings", read_only: &["archiveFolder", "userPurpose"], required: &[], beside: &[] };
static RULE_ENTITY: Entity = Entity {
    name: "messageRule",
    read_only: &["hasError", "isReadOnly"],
    required: &["displayName", "sequence"],
    beside: &[],
};
static CATEGORY_ENTITY: Entity =
    Entity { name: "outlookCategory", read_only: &[], required: &["displayName"], beside: &[] };
/// Its properties are not among the types: the handler checks them.
static OVERRIDE_ENTITY: Entity = Entity {
    name: "inferenceClassificationOverride",
    read_only: &[],
    required: &["classifyAs", "senderEmailAddress"],
    beside: &[],
};

const RULES: &str = "/users/{id}/mailFolders/inbox/messageRules";
const ONE_RULE: &str = "/users/{id}/mailFolders/inbox/messageRules/{id}";
const CATEGORIES: &str = "/users/{id}/outlook/masterCategories";
const ONE_CATEGORY: &str = "/users/{id}/outlook/masterCategories/{id}";
const OVERRIDES: &str = "/users/{id}/inferenceClassification/overrides";
const ONE_OVERRIDE: &str = "/users/{id}/inferenceClassification/overrides/{id}";

pub(super) const DOORS: &[Door] = &[
    Door { method: "PATCH", path: "/users/{id}/mailboxSettings", roles: ROLES, run: change_settings },
    Door { method: "POST", path: RULES, roles: ROLES, run: add },
    Door { method: "PATCH", path: ONE_RULE, roles: ROLES, run: change },
    Door { method: "DELETE", path: ONE_RULE, roles: ROLES, run: remove },
    Door { method: "POST", path: CATEGORIES, roles: ROLES, run: add },
    Door { method: "PATCH", path: ONE_CATEGORY, roles: ROLES, run: change },
    Door { method: "DELETE", path: ONE_CATEGORY, roles: ROLES, run: remove },
    Door { method: "POST", path: OVERRIDES, roles: MAIL, run: add },
    Door { method: "PATCH", path: ONE_OVERRIDE, roles: MAIL, run: change },
    Door { method: "DELETE", path: ONE_OVERRIDE, roles: MAIL, run: remove },
];

fn change_settings(app: &App, request: &Request, route: &Route) -> Answer {
    let body = SETTINGS_ENTITY.body(request)?;
    in_mailbox(app, route, |user, now| {
        let number = 0;
        let mut given = user.settings.thing(number).given.get("~settings").cloned().unwrap_or_else(|| json!({}));
        merge(&mut given, Value::Object(body));
        user.settings.write(number, [("~settings".to_owned(), given)].into_iter().collect(), now);
        Ok(shown(app, 200, &format!("users('{}')/mailboxSettings", user.id), all(&app.cast, user)))
    })
}

/// What a path is about.
fn of(template: &str) -> (&'static Entity, &'static Kind) {
    match template {
        RULES | ONE_RULE => (&RULE_ENTITY, &RULE),
        CATEGORIES | ONE_CATEGORY => (&CATEGORY_ENTITY, &CATEGORY),
        _ => (&OVERRIDE_ENTITY, &OVERRIDE),
    }
}

fn answer(app: &App, status: u16, user: &User, route: &Route, number: u32) -> Reply {
    let context = format!("users('{}')/{}", user.id, route.template.trim_start_matches("/users/{id}/"));
    shown(app, status, &context, user.settings.json(&app.cast, number))
}

/// Refuses what a mailbox cannot hold.
fn fits(app: &App, user: &User, entity: &Entity, body: &Map<String, Value>, itself: Option<u32>) -> Answer<()> {
    let taken = |kind: &'static Kind, key: &str| {
        let mut all = user.settings.all(kind).filter(|number| Some(*number) != itself);
        body.contains_key(key) && all.any(|number| user.settings.json(&app.cast, number).get(key) == body.get(key))
    };
    match entity.name {
        "messageRule" => {
            let folders = ["moveToFolder", "copyToFolder"].iter();
            let named = folders.filter_map(|action| body.get("actions")?.get(*action)?.as_str());
            let mailbox = user.mailbox.as_ref();
            for folder in named {
                if mailbox.is_none_or(|mailbox| mailbox.find_folder(folder).is_none()) {
                    return Err(Reply::fail(400, "ErrorInvalidIdMalformed", "The folder of the rule is not there."));
                }
            }
            Ok(())
        }
        "outlookCategory" if taken(&CATEGORY, "displayName") => {
            Err(Reply::fail(409, "ErrorItemExists", "A category with that name already exists."))
        }
        "inferenceClassificationOverride" => {
            let mut unknown = body.keys().filter(|name| !["classifyAs", "senderEmailAddress"].contains(&name.as_str()));
            match unknown.next() {
                Some(name) => Err(Reply::fail(400, "RequestBodyRead", &format!("The property '{name}' is not known."))),
                None => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

fn add(app: &App, request: &Request, route: &Route) -> Answer {
    let (entity, kind) = of(route.template);
    let body = entity.new_body(request)?;
    in_mailbox(app, route, |user, now| {
        fits(app, user, entity, &body, None)?;
        let usual = if entity.name == RULE_ENTITY.name { json!({"isEnabled": true}) } else { Value::Null };
        let new = New { entity, kind, parent: TOP, mark: 0, usual };
        let number = create(&app.cast, &mut user.settings, new, body, now);
        Ok(answer(app, 201, user, route, number))
    })
}

fn change(app: &App, request: &Request, route: &Route) -> Answer {
    let (entity, kind) = of(route.template);
    let body = entity.body(request)?;
    in_mailbox(app, route, |user, now| {
        let number = user.settings.find(kind, route.id(0)).ok_or_else(Reply::mail_not_found)?;
        fits(app, user, entity, &body, Some(number))?;
        if entity.name == CATEGORY_ENTITY.name && body.contains_key("displayName") {
            return Err(Reply::fail(400, "ErrorInvalidPropertySet", "The name of a category cannot be changed."));
        }
        user.settings.write(number, body, now);
        Ok(answer(app, 200, user, route, number))
    })
}

fn remove(app: &App, _: &Request, route: &Route) -> Answer {
    let (_, kind) = of(route.template);
    in_mailbox(app, route, |user, _| {
        let number = user.settings.find(kind, route.id(0)).ok_or_else(Reply::mail_not_found)?;
        Ok(gone(&mut user.settings, number))
    })
}
