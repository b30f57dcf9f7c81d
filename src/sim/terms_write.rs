//! The term store as clients write it: groups, sets, terms. Ids are the service's own.

use serde_json::Value;

use super::app::App;
use super::doors::{Door, New, create, gone, shown};
use super::query::Request;
use super::reply::{Answer, Reply};
use super::route::Route;
use super::schema::Entity;
use super::shelf::{Kind, Shelf, TOP};
use super::sites_http::opened;
use super::terms::{GROUP, SET, TERM, find_term};

const WRITE: &[&str] = &["TermStore.ReadWrite.All"];

static GROUP_ENTITY: Entity = Entity {
    name: "termStore.group",
    read_only: &["createdDateTime", "parentSiteId", "scope"],
    required: &["displayName"],
    beside: &[],
};
static SET_ENTITY: Entity = Entity {
    name: "termStore.set",
    read_only: &["createdDateTime"],
    required: &["localizedNames", "parentGroup"],
    beside: &["parentGroup"],
};
static TERM_ENTITY: Entity = Entity {
    name: "termStore.term",
    read_only: &["createdDateTime", "lastModifiedDateTime"],
    required: &["labels"],
    beside: &[],
};

const BELOW_TERM: &str = "/sites/{id}/termStore/sets/{id}/terms/{id}/children";

pub(super) const DOORS: &[Door] = &[
    Door { method: "POST", path: "/sites/{id}/termStore/groups", roles: WRITE, run: add_group },
    Door { method: "DELETE", path: "/sites/{id}/termStore/groups/{id}", roles: WRITE, run: remove_group },
    Door { method: "POST", path: "/sites/{id}/termStore/sets", roles: WRITE, run: add_set },
    Door { method: "DELETE", path: "/sites/{id}/termStore/sets/{id}", roles: WRITE, run: remove_set },
    Door { method: "POST", path: "/sites/{id}/termStore/sets/{id}/children", roles: WRITE, run: add_term },
    Door { method: "POST", path: BELOW_TERM, roles: WRITE, run: add_term },
    Door { method: "PATCH", path: "/sites/{id}/termStore/sets/{id}/terms/{id}", roles: WRITE, run: change_term },
    Door { method: "DELETE", path: "/sites/{id}/termStore/sets/{id}/terms/{id}", roles: WRITE, run: remove_term },
];

/// Does something in the part of the term store that holds a thing: the tenant's, or the site's own.
fn in_store(
    app: &App,
    route: &Route,
    (kind, id): (&Kind, &str),
    act: impl FnOnce(&mut Shelf, u32, i64) -> Answer,
) -> Answer {
    let mut world = app.write();
    opened(&world, route.user)?;
    let now = world.now();
    if let Some(number) = world.terms.find(kind, id) {
        return act(&mut world.terms, number, now);
    }
    let own = &mut world.sites[route.user].terms;
    let number = own.find(kind, id).ok_or_else(Reply::item_not_found)?;
    act(own, number, now)
}

fn made(app: &App, shelf: &mut Shelf, new: New<'_>, body: serde_json::Map<String, Value>, now: i64) -> Answer {
    let name = new.entity.name;
    let number = create(&app.cast, shelf, new, body, now);
    Ok(shown(app, 201, name, shelf.json(&app.cast, number)))
}

fn add_group(app: &App, request: &Request, route: &Route) -> Answer {
    let body = GROUP_ENTITY.new_body(request)?;
    let mut world = app.write();
    opened(&world, route.user)?;
    let now = world.now();
    let new = New { entity: &GROUP_ENTITY, kind: &GROUP, parent: TOP, mark: 0, usual: Value::Null };
    made(app, &mut world.terms, new, body, now)
}

fn add_set(app: &App, request: &Request, route: &Route) -> Answer {
    let mut body = SET_ENTITY.new_body(request)?;
    let group = body.shift_remove("parentGroup").unwrap_or_default();
    let id = group["id"].as_str().unwrap_or_default().to_owned();
    in_store(app, route, (&GROUP, &id), |shelf, group, now| {
        let new = New { entity: &SET_ENTITY, kind: &SET, parent: group, mark: 0, usual: Value::Null };
        made(app, shelf, new, body, now)
    })
}

fn add_term(app: &App, request: &Request, route: &Route) -> Answer {
    let body = TERM_ENTITY.new_body(request)?;
    in_store(app, route, (&SET, route.id(0)), |shelf, set, now| {
        let parent = match route.template == BELOW_TERM {
            true => find_term(shelf, set, route.id(1)).ok_or_else(Reply::item_not_found)?,
            false => set,
        };
        let new = New { entity: &TERM_ENTITY, kind: &TERM, parent, mark: 0, usual: Value::Null };
        made(app, shelf, new, body, now)
    })
}

fn change_term(app: &App, request: &Request, route: &Route) -> Answer {
    let body = TERM_ENTITY.body(request)?;
    in_store(app, route, (&SET, route.id(0)), |shelf, set, now| {
        let term = find_term(shelf, set, route.id(1)).ok_or_else(Reply::item_not_found)?;
        shelf.write(term, body, now);
        Ok(shown(app, 200, TERM_ENTITY.name, shelf.json(&app.cast, term)))
    })
}

fn remove_group(app: &App, _: &Request, route: &Route) -> Answer {
    in_store(app, route, (&GROUP, route.id(0)), |shelf, group, _| {
        if shelf.below(&SET, group).next().is_some() {
            return Err(Reply::fail(400, "invalidRequest", "A group that holds sets cannot be deleted."));
        }
        Ok(gone(shelf, group))
    })
}

fn remove_set(app: &App, _: &Request, route: &Route) -> Answer {
    in_store(app, route, (&SET, route.id(0)), |shelf, set, _| Ok(gone(shelf, set)))
}

fn remove_term(app: &App, _: &Request, route: &Route) -> Answer {
    in_store(app, route, (&SET, route.id(0)), |shelf, set, _| {
        let term = find_term(shelf, set, route.id(1)).ok_or_else(Reply::item_not_found)?;
        Ok(gone(shelf, term))
    })
}
