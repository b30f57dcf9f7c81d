//! Lists of sites as clients write them: lists, columns, items.

use serde_json::{Map, Value, json};

use super::app::App;
use super::doors::{Door, shown};
use super::lists::{Column, FIELDS, Fields, Holds, ITEM, SiteList, several};
use super::query::Request;
use super::reply::{Answer, Reply};
use super::rng::hash;
use super::route::Route;
use super::schema::{self, Entity};
use super::shelf::{TOP, WRITTEN};
use super::sites_http::{author, opened};
use super::state::World;

pub(super) const MANAGE: &[&str] = &["Sites.Manage.All", "Sites.FullControl.All"];
const WRITE: &[&str] = &["Sites.ReadWrite.All", "Sites.Manage.All", "Sites.FullControl.All"];

static LIST_ENTITY: Entity = Entity {
    name: "list",
    read_only: &["createdBy", "createdDateTime", "eTag", "lastModifiedBy", "lastModifiedDateTime", "system", "webUrl"],
    required: &["displayName"],
    beside: &["columns"],
};
pub(super) static COLUMN_ENTITY: Entity = Entity {
    name: "columnDefinition",
    read_only: &[
        "isDeletable",
        "isReorderable",
        "isSealed",
        "propagateChanges",
        "readOnly",
        "sourceContentType",
        "type",
    ],
    required: &["name"],
    beside: &[],
};

/// Templates of which a client may make a list.
const TEMPLATES: &[&str] = &["genericList", "events", "tasks", "links", "announcements", "contacts"];
/// The facets by which a column says what it holds.
const FACETS: &[&str] = &[
    "text",
    "number",
    "currency",
    "boolean",
    "dateTime",
    "choice",
    "lookup",
    "personOrGroup",
    "hyperlinkOrPicture",
    "term",
    "calculated",
    "geolocation",
    "thumbnail",
];

pub(super) const DOORS: &[Door] = &[
    Door { method: "POST", path: "/sites/{id}/lists", roles: MANAGE, run: add_list },
    Door { method: "DELETE", path: "/sites/{id}/lists/{id}", roles: MANAGE, run: remove_list },
    Door { method: "POST", path: "/sites/{id}/lists/{id}/columns", roles: MANAGE, run: add_column },
    Door { method: "DELETE", path: "/sites/{id}/lists/{id}/columns/{id}", roles: MANAGE, run: remove_column },
    Door { method: "POST", path: "/sites/{id}/lists/{id}/items", roles: WRITE, run: add_item },
    Door { method: "PATCH", path: "/sites/{id}/lists/{id}/items/{id}/fields", roles: WRITE, run: change_fields },
    Door { method: "DELETE", path: "/sites/{id}/lists/{id}/items/{id}", roles: WRITE, run: remove_item },
];

fn bad(text: &str) -> Reply {
    Reply::fail(400, "invalidRequest", text)
}

fn list_of<'a>(world: &'a mut World, route: &Route) -> Answer<&'a mut SiteList> {
    opened(world, route.user)?;
    let lists = &mut world.sites[route.user].lists;
    lists.iter_mut().find(|list| list.id == route.id(0)).ok_or_else(Reply::item_not_found)
}

/// What a column holds, by its one facet.
pub(super) fn holds(given: &Map<String, Value>) -> Answer<Holds> {
    let facets: Vec<&str> = FACETS.iter().copied().filter(|facet| given.contains_key(*facet)).collect();
    let [facet] = facets[..] else { return Err(bad("Only one type of column can be specified.")) };
    let says = |key: &str| given[facet].get(key).cloned().unwrap_or_default();
    Ok(match facet {
        "text" if says("allowMultipleLines") == json!(true) => Holds::Note,
        "text" => Holds::Text,
        "number" => Holds::Number,
        "currency" => Holds::Currency,
        "boolean" => Holds::Boolean,
        "dateTime" => Holds::Date,
        "choice" if says("displayAs") == json!("checkBoxes") => Holds::Choices,
        "choice" => Holds::Choice,
        "lookup" if says("allowMultipleValues") == json!(true) => Holds::Lookups,
        "lookup" => Holds::Lookup,
        "personOrGroup" if says("allowMultipleSelection") == json!(true) => Holds::People,
        "personOrGroup" => Holds::Person,
        "hyperlinkOrPicture" => Holds::Link,
        "calculated" => Holds::Calculated,
        _ => return Err(bad("Columns of that type cannot be made.")),
    })
}

fn put_column(list: &mut SiteList, given: Map<String, Value>, now: i64) -> Answer<()> {
    COLUMN_ENTITY.check(&given)?;
    let name = given.get("name").and_then(Value::as_str).unwrap_or_default();
    if name.is_empty() || list.columns.iter().any(|column| column.name == name) {
        return Err(Reply::fail(409, "nameAlreadyExists", "A column with that name exists already."));
    }
    let holds = holds(&given)?;
    list.add_given_column(holds, given, now);
    Ok(())
}

fn add_list(app: &App, request: &Request, route: &Route) -> Answer {
    let mut body = LIST_ENTITY.new_body(request)?;
    let columns = body.shift_remove("columns").unwrap_or_default();
    let template = body.get("list").and_then(|list| list["template"].as_str()).unwrap_or("genericList");
    let template = TEMPLATES.iter().find(|known| **known == template).ok_or_else(|| bad("The template is unknown."))?;
    let title = body["displayName"].as_str().unwrap_or_default().to_owned();
    let mut world = app.write();
    opened(&world, route.user)?;
    let now = world.now();
    let site = &mut world.sites[route.user];
    if site.lists.iter().any(|list| list.title.eq_ignore_ascii_case(&title)) {
        return Err(Reply::fail(409, "nameAlreadyExists", "The specified name is already in use."));
    }
    let seed = hash(site.seed, &[0x7157, site.lists.len() as u64, now as u64]);
    let mut list = SiteList::given(seed, &title, template, now);
    for column in columns.as_array().into_iter().flatten() {
        put_column(&mut list, column.as_object().cloned().unwrap_or_default(), now)?;
    }
    let json = list.json(&site.url);
    site.lists.push(list);
    Ok(shown(app, 201, "lists", super::contacts::object(json)))
}

fn remove_list(app: &App, _: &Request, route: &Route) -> Answer {
    let mut world = app.write();
    let id = list_of(&mut world, route)?.id.clone();
    world.sites[route.user].lists.retain(|list| list.id != id);
    Ok(Reply::status(204))
}

fn add_column(app: &App, request: &Request, route: &Route) -> Answer {
    let body = COLUMN_ENTITY.new_body(request)?;
    let mut world = app.write();
    let now = world.now();
    let list = list_of(&mut world, route)?;
    put_column(list, body, now)?;
    let json = list.columns_json().pop().unwrap_or_default();
    Ok(shown(app, 201, "columns", super::contacts::object(json)))
}

fn remove_column(app: &App, _: &Request, route: &Route) -> Answer {
    let mut world = app.write();
    let now = world.now();
    let list = list_of(&mut world, route)?;
    let place = list.columns.iter().position(|column| column.id == route.id(1)).ok_or_else(Reply::item_not_found)?;
    if list.columns[place].holds == Holds::Standard {
        return Err(bad("The column cannot be deleted."));
    }
    list.columns.remove(place);
    list.touch(now);
    Ok(Reply::status(204))
}

/// Says whether a value is one that a column takes.
fn fits(column: &Column, lookup: bool, value: &Value) -> bool {
    match column.holds {
        _ if value.is_null() => true,
        Holds::Lookup | Holds::Person => lookup && value.as_str().is_some_and(|id| id.parse::<u32>().is_ok()),
        Holds::Lookups | Holds::People => lookup && ids(value).is_some(),
        _ if lookup => false,
        Holds::Number | Holds::Currency => value.is_number(),
        Holds::Boolean => value.is_boolean(),
        Holds::Date => value.as_str().is_some_and(|text| text.parse::<jiff::Timestamp>().is_ok()),
        Holds::Choices => value.is_array(),
        _ => value.is_string(),
    }
}

/// Several ids: numbers that 32 bits hold.
fn ids(value: &Value) -> Option<Vec<u64>> {
    let id = |id: &Value| id.as_u64().filter(|id| i32::try_from(*id).is_ok());
    value.as_array()?.iter().map(id).collect()
}

/// The type that a value of several parts needs beside it.
fn type_of(column: &Column) -> Option<&'static str> {
    match column.holds {
        Holds::Choices => Some("Collection(Edm.String)"),
        _ if column.names_several() => Some("Collection(Edm.Int32)"),
        _ => None,
    }
}

/// The fields of a body, as they are kept: what a lookup shows comes with its id, or with all of them.
fn fields(list: &SiteList, given: &Value) -> Answer<Map<String, Value>> {
    let given = given.as_object().ok_or_else(|| bad("fields"))?;
    let mut kept = Map::new();
    for (name, value) in given {
        let plain = name.strip_suffix("@odata.type");
        if let Some(name) = plain {
            if given.contains_key(name) {
                continue;
            }
            return Err(bad(&format!("Field '{name}' is not recognized.")));
        }
        let exact = list.columns.iter().find(|column| column.name == *name).map(|column| (column, false));
        let by_id = || {
            let base = name.strip_suffix("LookupId")?;
            Some((list.columns.iter().find(|column| column.name == base)?, true))
        };
        let (column, lookup) =
            exact.or_else(by_id).ok_or_else(|| bad(&format!("Field '{name}' is not recognized.")))?;
        if !column.is_writable() {
            return Err(bad(&format!("Field '{name}' is read-only.")));
        }
        if !fits(column, lookup, value) {
            return Err(bad(&format!("The value of field '{name}' has the wrong type.")));
        }
        let named = given.get(&format!("{name}@odata.type")).and_then(Value::as_str);
        if type_of(column).is_some_and(|of| named != Some(of)) {
            return Err(bad(&format!("Field '{name}' holds several values: name their type.")));
        }
        if let Some(ids) = ids(value).filter(|_| column.names_several()) {
            // What names nothing is not told.
            let named = several(ids.iter().map(|id| (*id, format!("Entry {id}"))));
            kept.insert(column.name.clone(), if ids.is_empty() { Value::Null } else { named });
            continue;
        }
        kept.insert(name.clone(), value.clone());
        if lookup {
            let shown = value.as_str().map_or(Value::Null, |id| format!("Entry {id}").into());
            kept.insert(column.name.clone(), shown);
        }
    }
    Ok(kept)
}

fn add_item(app: &App, request: &Request, route: &Route) -> Answer {
    let body = schema::object(request)?;
    if body.len() != 1 || !body.contains_key("fields") {
        return Err(bad("An item is made of its fields."));
    }
    let mut world = app.write();
    let now = world.now();
    let list = list_of(&mut world, route)?;
    let kept = fields(list, &body["fields"])?;
    let number = list.items.add(&ITEM, TOP, now, 0);
    let given = &mut list.items.things[number as usize].given;
    given.insert(WRITTEN.into(), true.into());
    given.insert(FIELDS.into(), kept.into());
    told(app, &world, route, 201, number)
}

fn told(app: &App, world: &World, route: &Route, status: u16, number: u32) -> Answer {
    let site = &world.sites[route.user];
    let list = site.lists.iter().find(|list| list.id == route.id(0)).ok_or_else(Reply::item_not_found)?;
    let json = list.item(author(world, site), number, &site.url, Fields::Usual)?;
    Ok(shown(app, status, "listItem", super::contacts::object(json)))
}

fn change_fields(app: &App, request: &Request, route: &Route) -> Answer {
    let body = schema::object(request)?;
    let mut world = app.write();
    let now = world.now();
    let list = list_of(&mut world, route)?;
    let kept = fields(list, &Value::Object(body))?;
    let number = list.items.find(&ITEM, route.id(1)).ok_or_else(Reply::item_not_found)?;
    let mut all = list.items.thing(number).given.get(FIELDS).cloned().unwrap_or_else(|| json!({}));
    if let Some(all) = all.as_object_mut() {
        all.extend(kept);
    }
    list.items.write(number, [(FIELDS.to_owned(), all)].into_iter().collect(), now);
    told(app, &world, route, 200, number)
}

fn remove_item(app: &App, _: &Request, route: &Route) -> Answer {
    let mut world = app.write();
    let list = list_of(&mut world, route)?;
    let number = list.items.find(&ITEM, route.id(1)).ok_or_else(Reply::item_not_found)?;
    list.items.delete(number);
    Ok(Reply::status(204))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(json: Value) -> Map<String, Value> {
        json.as_object().cloned().unwrap()
    }

    #[test]
    fn several_ids_need_their_type_and_are_told_as_what_they_name() {
        let mut list = SiteList::given(7, "Alike", "genericList", 0);
        let column = json!({"name": "Who", "personOrGroup": {"allowMultipleSelection": true}});
        assert!(put_column(&mut list, object(column), 0).is_ok());
        let kept = |given: &Value| fields(&list, given).ok();
        let typed = |ids: Value| json!({"WhoLookupId@odata.type": "Collection(Edm.Int32)", "WhoLookupId": ids});
        let told = json!([{"LookupId": 6, "LookupValue": "Entry 6"}, {"LookupId": 7, "LookupValue": "Entry 7"}]);
        assert_eq!(kept(&typed(json!([6, 7]))), Some(object(json!({"Who": told}))));
        assert_eq!(kept(&typed(json!([]))), Some(object(json!({"Who": null}))));
        for bad in [
            json!({"WhoLookupId": [6]}),
            json!({"WhoLookupId@odata.type": "Collection(Edm.String)", "WhoLookupId": [6]}),
            json!({"Who": told}),
            typed(json!("6")),
            typed(json!(["6"])),
            typed(json!([1_u64 << 40])),
        ] {
            assert_eq!(kept(&bad), None, "{bad}");
        }
    }
}
