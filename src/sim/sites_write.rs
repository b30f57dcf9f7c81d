//! Columns and content types of sites as clients write them.

use serde_json::{Value, json};

use super::app::App;
use super::doors::{Door, New, create, gone, shown};
use super::lists_write::{COLUMN_ENTITY, MANAGE, holds};
use super::query::Request;
use super::reply::{Answer, Reply};
use super::route::Route;
use super::schema::Entity;
use super::shelf::{Kind, TOP};
use super::sites::{COLUMN, TYPE};
use super::sites_http::opened;

static TYPE_ENTITY: Entity = Entity {
    name: "contentType",
    read_only: &["inheritedFrom", "isBuiltIn", "order", "parentId"],
    required: &["name"],
    beside: &["base"],
};

pub(super) const DOORS: &[Door] = &[
    Door { method: "POST", path: "/sites/{id}/columns", roles: MANAGE, run: add_column },
    Door { method: "DELETE", path: "/sites/{id}/columns/{id}", roles: MANAGE, run: remove_column },
    Door { method: "POST", path: "/sites/{id}/contentTypes", roles: MANAGE, run: add_type },
    Door { method: "DELETE", path: "/sites/{id}/contentTypes/{id}", roles: MANAGE, run: remove_type },
];

fn bad(text: &str) -> Reply {
    Reply::fail(400, "invalidRequest", text)
}

fn add_column(app: &App, request: &Request, route: &Route) -> Answer {
    let body = COLUMN_ENTITY.new_body(request)?;
    holds(&body)?;
    let usual = json!({
        "columnGroup": "Custom Columns", "description": "", "hidden": false, "indexed": false, "readOnly": false,
        "required": false,
    });
    add(app, route, New { entity: &COLUMN_ENTITY, kind: &COLUMN, parent: TOP, mark: 0, usual }, body)
}

fn add_type(app: &App, request: &Request, route: &Route) -> Answer {
    let body = TYPE_ENTITY.new_body(request)?;
    if !body.get("base").and_then(|base| base["id"].as_str()).is_some_and(|id| id.starts_with("0x01")) {
        return Err(bad("The base content type is not valid."));
    }
    let usual = json!({"description": "", "group": "Custom Content Types", "hidden": false});
    add(app, route, New { entity: &TYPE_ENTITY, kind: &TYPE, parent: TOP, mark: 0, usual }, body)
}

fn add(app: &App, route: &Route, new: New<'_>, body: serde_json::Map<String, Value>) -> Answer {
    let mut world = app.write();
    opened(&world, route.user)?;
    let now = world.now();
    let (facts, kind) = (&mut world.sites[route.user].facts, new.kind);
    let same = |number: u32| facts.json(&app.cast, number)["name"] == body["name"];
    if facts.all(kind).any(same) {
        return Err(Reply::fail(409, "nameAlreadyExists", "Something with that name exists already."));
    }
    let number = create(&app.cast, facts, new, body, now);
    Ok(shown(app, 201, kind.name, facts.json(&app.cast, number)))
}

fn remove_column(app: &App, _: &Request, route: &Route) -> Answer {
    remove(app, route, &COLUMN)
}

fn remove_type(app: &App, _: &Request, route: &Route) -> Answer {
    remove(app, route, &TYPE)
}

fn remove(app: &App, route: &Route, kind: &'static Kind) -> Answer {
    let mut world = app.write();
    let facts = &mut world.sites[route.user].facts;
    let number = facts.find(kind, route.id(0)).ok_or_else(Reply::item_not_found)?;
    Ok(gone(facts, number))
}
