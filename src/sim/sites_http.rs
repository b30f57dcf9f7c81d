//! Sites, their lists, pages and terms over HTTP.

use serde_json::{Map, Value, json};

use super::app::App;
use super::lists::{Fields, ITEM, SiteList};
use super::query::{self, Request};
use super::reply::{Answer, Reply};
use super::shelf::{Kind, Shelf, ShelfLog, TOP};
use super::sites::{self, Site};
use super::state::{User, World};
use super::token::{self, Logged, Stand, Token};
use super::{drive, drive_json, properties, terms};

/// The longest expansion that SharePoint takes.
const EXPANSION: usize = 2_048;

/// The site with that id.
pub(super) fn find(world: &World, id: &str) -> Result<usize, Reply> {
    let found = if id.eq_ignore_ascii_case("root") { Some(0) } else { world.by_site.get(id).copied() };
    // A host alone is its root site.
    let is_host = || world.sites.first().is_some_and(|root| root.url.strip_prefix("https://") == Some(id)).then_some(0);
    found
        .or_else(is_host)
        .filter(|site| world.has_site(&world.sites[*site]))
        .ok_or_else(|| Reply::fail(404, "itemNotFound", "Requested site could not be found"))
}

/// The site at a path of a host: `/sites/{host}:/{path}`.
pub(super) fn find_by_path(world: &World, host: &str, path: &[&str]) -> Result<usize, Reply> {
    let url = format!("https://{host}/{}", path.join("/"));
    let found = world.sites.iter().find(|site| site.url.eq_ignore_ascii_case(&url));
    let id = found.map(|site| site.id.clone()).unwrap_or_default();
    find(world, &id)
}

pub(super) fn opened(world: &World, site: usize) -> Result<&Site, Reply> {
    let site = &world.sites[site];
    sites::open(site)?;
    Ok(site)
}

/// Who is said to have written what is in a site.
pub(super) fn author<'a>(world: &'a World, site: &Site) -> &'a User {
    &world.users[site.owner.unwrap_or(0)]
}

fn list<'a>(site: &'a Site, id: &str) -> Result<&'a SiteList, Reply> {
    site.lists.iter().find(|list| list.id == id).ok_or_else(Reply::item_not_found)
}

/// Rows in pages, with `$select`, `$top` and `$skiptoken`.
fn rows(app: &App, request: &Request, (kind, known): (&str, &[&str]), usual: usize, all: Vec<Value>) -> Answer {
    request.allow(&["$select", "$top", "$skiptoken", "$expand", "$orderby"])?;
    let fields = if known.is_empty() { query::Fields::default() } else { request.select(kind, known)? };
    let n = request.top()?.unwrap_or(usual).clamp(1, 999);
    let start: usize = request.option("$skiptoken").and_then(|t| t.parse().ok()).unwrap_or(0);
    let mut body = Map::new();
    body.insert("@odata.context".into(), format!("{}/v1.0/$metadata#{kind}", app.base_url).into());
    if all.len() > start + n {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let kept = query.split('&').filter(|p| !p.is_empty() && !p.starts_with("$skiptoken="));
        let query: Vec<String> = kept.map(str::to_owned).chain([format!("$skiptoken={}", start + n)]).collect();
        body.insert("@odata.nextLink".into(), format!("{}{path}?{}", app.base_url, query.join("&")).into());
    }
    let wanted = |mut row: Value| {
        if let Some(map) = row.as_object_mut() {
            map.retain(|name, _| name.starts_with('@') || name == "id" || fields.wants(name));
        }
        row
    };
    let rows: Vec<Value> = all.into_iter().skip(start).take(n).map(wanted).collect();
    body.insert("value".into(), rows.into());
    Ok(Reply::json(body.into()))
}

fn one(app: &App, what: &str, body: Value) -> Answer {
    let mut map = Map::new();
    map.insert("@odata.context".into(), format!("{}/v1.0/$metadata#{what}/$entity", app.base_url).into());
    if let Value::Object(rest) = body {
        map.extend(rest);
    }
    Ok(Reply::json(map.into()))
}

/// `GET /sites/getAllSites`: all collections, personal ones too, locked ones as well.
pub(super) fn all_sites(app: &App, request: &Request) -> Answer {
    let world = app.read();
    let all = world.sites.iter().filter(|site| site.above.is_none() && world.has_site(site));
    let all = all.map(sites::json).collect();
    rows(app, request, ("site", properties::SITE), app.options.pages.users, all)
}

/// `GET /sites?search=*`: all collections that are no person's.
pub(super) fn found_sites(app: &App, request: &Request) -> Answer {
    if request.option("$search") != Some("*") {
        return Err(Reply::fail(400, "invalidRequest", "A site search query is required."));
    }
    let world = app.read();
    let all = world.sites.iter().filter(|site| site.above.is_none() && site.owner.is_none() && world.has_site(site));
    let all = all.map(sites::json).collect();
    rows(app, request, ("site", properties::SITE), app.options.pages.users, all)
}

/// `GET /sites/{id}`
pub(super) fn site(app: &App, request: &Request, site: usize) -> Answer {
    request.allow(&["$select", "$expand"])?;
    let fields = request.select("site", properties::SITE)?;
    let world = app.read();
    let mut json = sites::json(opened(&world, site)?);
    if let Some(map) = json.as_object_mut() {
        map.retain(|name, _| name == "id" || fields.wants(name));
    }
    one(app, "sites", json)
}

/// `GET /sites/{id}/sites`: those right below.
pub(super) fn subsites(app: &App, request: &Request, site: usize) -> Answer {
    let world = app.read();
    opened(&world, site)?;
    let all = world.sites.iter().filter(|other| other.above == Some(site));
    let all = all.map(sites::json).collect();
    rows(app, request, ("site", properties::SITE), app.options.pages.users, all)
}

/// `GET /sites/{id}/drives`
pub(super) fn drives(app: &App, request: &Request, site: usize) -> Answer {
    let world = app.read();
    let site_of = opened(&world, site)?;
    let own = site_of.owner.into_iter();
    let all: Vec<usize> = own.chain(drive::libraries(&world, site)).collect();
    drive::drive_list(app, request, &world, &all)
}

/// `GET /sites/{id}/lists`: those of the system only for who asks for their facet.
pub(super) fn lists(app: &App, request: &Request, site: usize) -> Answer {
    let fields = request.select("list", properties::LIST)?;
    let world = app.read();
    let shown = opened(&world, site)?;
    let libraries = drive::libraries(&world, site).chain(shown.owner);
    let mut all: Vec<Value> = libraries.map(|index| library(&world, index)).collect::<Result<_, Reply>>()?;
    let lists = shown.lists.iter().filter(|list| !list.system || fields.asks("system"));
    all.extend(lists.map(|list| list.json(&shown.url)));
    rows(app, request, ("list", properties::LIST), app.options.pages.folders, all)
}

/// A library among the lists.
fn library(world: &World, index: usize) -> Result<Value, Reply> {
    let shown = drive::shown(world, index)?;
    let drive = drive_json::drive(shown);
    Ok(json!({
        "id": drive_json::list_id(shown.drive),
        "createdDateTime": drive["createdDateTime"],
        "lastModifiedDateTime": drive["lastModifiedDateTime"],
        "name": shown.name,
        "displayName": shown.name,
        "webUrl": drive["webUrl"],
        "list": {"contentTypesEnabled": false, "hidden": false, "template": "documentLibrary"},
    }))
}

/// `GET /sites/{id}/lists/{id}` and its columns, content types and permissions.
pub(super) fn of_list(app: &App, request: &Request, site: usize, id: &str, what: &str) -> Answer {
    let world = app.read();
    let site = opened(&world, site)?;
    let list = list(site, id)?;
    let usual = app.options.pages.drive * 5;
    match what {
        "columns" => rows(app, request, ("columnDefinition", &[]), usual, list.columns_json()),
        "permissions" => rows(app, request, ("permission", &[]), usual, list.permissions_json()),
        "contentTypes" => {
            let expanded = request.option("$expand").unwrap_or_default().to_owned();
            rows(app, request, ("contentType", &[]), usual, unexpanded(list.types_json(), &expanded))
        }
        _ => {
            request.allow(&["$select", "$expand"])?;
            let fields = request.select("list", properties::LIST)?;
            let mut json = list.json(&site.url);
            if let Some(map) = json.as_object_mut() {
                map.retain(|name, _| name.starts_with('@') || fields.wants(name));
            }
            one(app, "lists", json)
        }
    }
}

/// Takes away what nobody asked to expand.
fn unexpanded(mut all: Vec<Value>, expanded: &str) -> Vec<Value> {
    for map in all.iter_mut().filter_map(Value::as_object_mut) {
        for name in ["columns", "columnLinks"] {
            if !expanded.split(',').any(|asked| asked.trim() == name) {
                map.shift_remove(name);
            }
        }
    }
    all
}

/// Reads `$expand=fields` and `$expand=fields($select=A,B)`.
fn expansion(text: &str) -> Result<(bool, Vec<&str>), Reply> {
    if text.len() > EXPANSION {
        let message =
            "The length of the query string for this request exceeds the configured maxQueryStringLength value.";
        return Err(Reply::fail(400, "invalidRequest", message));
    }
    let inner = match text.trim() {
        "" => return Ok((false, Vec::new())),
        "fields" => return Ok((true, Vec::new())),
        text => text.strip_prefix("fields(").and_then(|rest| rest.strip_suffix(')')),
    };
    let names = inner.and_then(|inner| inner.trim_start_matches('$').strip_prefix("select="));
    let bad = || Reply::fail(400, "invalidRequest", "Parsing OData Select and Expand failed.");
    Ok((true, names.ok_or_else(bad)?.split(',').map(str::trim).collect()))
}

fn named<'a>((asked, names): (bool, &'a [&'a str])) -> Fields<'a> {
    match (asked, names) {
        (false, _) => Fields::None,
        (true, []) => Fields::Usual,
        (true, names) => Fields::Named(names),
    }
}

/// `GET /sites/{id}/lists/{id}/items`
pub(super) fn items(app: &App, request: &Request, site: usize, id: &str) -> Answer {
    let text = request.option("$expand").unwrap_or_default().to_owned();
    let (asked, names) = expansion(&text)?;
    let world = app.read();
    let site = opened(&world, site)?;
    let list = list(site, id)?;
    let fields = named((asked, &names));
    let all = list.items.all(&ITEM).map(|number| list.item(author(&world, site), number, &site.url, fields));
    let all = all.collect::<Result<Vec<Value>, Reply>>()?;
    rows(app, request, ("listItem", &[]), app.options.pages.drive, all)
}

/// `GET /sites/{id}/lists/{id}/items/{id}` and its versions.
pub(super) fn of_item(app: &App, request: &Request, site: usize, (id, item): (&str, &str), versions: bool) -> Answer {
    request.allow(&["$select", "$expand", "$top", "$skiptoken"])?;
    let text = request.option("$expand").unwrap_or_default().to_owned();
    let (asked, names) = expansion(&text)?;
    let world = app.read();
    let site = opened(&world, site)?;
    let list = list(site, id)?;
    let number = list.items.find(&ITEM, item).ok_or_else(Reply::item_not_found)?;
    let (by, fields) = (author(&world, site), named((asked, &names)));
    if versions {
        let all = list.versions(by, number, fields)?;
        return rows(app, request, ("listItemVersion", &[]), app.options.pages.drive, all);
    }
    one(app, "listItem", list.item(by, number, &site.url, fields)?)
}

fn log(list: &SiteList) -> ShelfLog<'_> {
    ShelfLog { shelf: &list.items, kind: &ITEM, parent: TOP, flat: false, hidden: None }
}

fn delta_path(site: &Site, list: &SiteList) -> String {
    format!("sites/{}/lists/{}/items/delta", site.id, list.id)
}

fn resync(app: &App, site: &Site, list: &SiteList) -> Reply {
    let location = format!("{}/v1.0/{}?token=", app.base_url, delta_path(site, list));
    Reply::fail(410, "resyncChangesApplyDifferences", "Resync required.").header("Location", location)
}

/// Answers a delta request of a list as if its token had expired.
pub(super) fn delta_gone(app: &App, site: usize, id: &str) -> Reply {
    let world = app.read();
    let site = &world.sites[site];
    list(site, id).map_or_else(|refusal| refusal, |list| resync(app, site, list))
}

/// `GET /sites/{id}/lists/{id}/items/delta`
pub(super) fn delta(app: &App, request: &Request, site: usize, id: &str) -> Answer {
    request.allow(&["$select", "$expand", "$top"])?;
    let world = app.read();
    let site = opened(&world, site)?;
    let list = list(site, id)?;
    let (log, scope) = (log(list), token::scope(list.items.seed, "items"));
    let asked = request.option("$expand").unwrap_or_default().to_owned();
    let (stand, options) = match request.option("token").filter(|token| !token.is_empty()) {
        None => (Stand::Walk { since: log.log_len(), next: 0, paused: false }, asked),
        Some(sealed) => {
            let bad = || Reply::fail(400, "invalidRequest", "The provided token is not valid.");
            let token = Token::open(&app.auth.key, sealed).filter(|t| t.scope == scope).ok_or_else(bad)?;
            if token.generation != world.drive_generation {
                return Err(resync(app, site, list));
            }
            (token.stand, token.options)
        }
    };
    let (expanded, names) = expansion(&options)?;
    // A column that is gone since is no longer told.
    let known = list.field_names();
    let names: Vec<&str> = match request.option("token") {
        Some(_) => names.into_iter().filter(|name| known.iter().any(|k| k == name)).collect(),
        None => names,
    };
    let fields = if expanded && names.is_empty() { Fields::Usual } else { named((expanded, &names)) };
    let n = request.top()?.unwrap_or(app.options.pages.drive).clamp(1, 999);
    let (numbers, stand) = token::page(&log, &stand, n, app.options.quirks);
    let by = author(&world, site);
    let row = |number: u32| match log.has(number) {
        true => list.item(by, number, &site.url, fields),
        false => Ok(list.deleted(number)),
    };
    let rows = numbers.into_iter().map(row).collect::<Result<Vec<Value>, Reply>>()?;
    let name = if matches!(stand, Stand::Synced { .. }) { "@odata.deltaLink" } else { "@odata.nextLink" };
    let sealed = Token { scope, generation: world.drive_generation, stand, options }.seal(&app.auth.key);
    let link = format!("{}/v1.0/{}?token={sealed}", app.base_url, delta_path(site, list));
    Ok(Reply::json(
        json!({"@odata.context": format!("{}/v1.0/$metadata#Collection(listItem)", app.base_url), name: link, "value": rows}),
    ))
}

fn shelf_rows(app: &App, shelf: &Shelf, kind: &Kind) -> Vec<Value> {
    shelf.all(kind).map(|number| shelf.json(&app.cast, number).into()).collect()
}

/// `GET /sites/{id}/columns`, `/contentTypes`, `/permissions`
pub(super) fn facts(app: &App, request: &Request, site: usize, kind: &'static Kind) -> Answer {
    let world = app.read();
    let all = shelf_rows(app, &opened(&world, site)?.facts, kind);
    let expanded = request.option("$expand").unwrap_or_default().to_owned();
    let all = if kind.name == sites::TYPE.name { unexpanded(all, &expanded) } else { all };
    rows(app, request, (kind.name, &[]), app.options.pages.drive, all)
}

/// `GET /sites/{id}/pages`: without what is on them.
pub(super) fn pages(app: &App, request: &Request, site: usize) -> Answer {
    let world = app.read();
    let mut all = shelf_rows(app, &opened(&world, site)?.pages, &sites::PAGE);
    for map in all.iter_mut().filter_map(Value::as_object_mut) {
        map.retain(|name, _| name.starts_with('@') || properties::SITE_PAGE.contains(&name.as_str()));
    }
    rows(app, request, ("sitePage", properties::SITE_PAGE), app.options.pages.drive, all)
}

/// `GET /sites/{id}/pages/{id}/microsoft.graph.sitePage`
pub(super) fn page(app: &App, request: &Request, site: usize, id: &str) -> Answer {
    request.allow(&["$select", "$expand"])?;
    let world = app.read();
    let site = opened(&world, site)?;
    let number = site.pages.find(&sites::PAGE, id).ok_or_else(Reply::item_not_found)?;
    let mut json = site.pages.json(&app.cast, number);
    if request.option("$expand").is_none_or(|expanded| !expanded.split(',').any(|name| name == "canvasLayout")) {
        json.shift_remove("canvasLayout");
    }
    one(app, "sitePage", json.into())
}

/// What a site shows of the term store: the tenant's part, and its own.
fn stores<'a>(world: &'a World, site: &'a Site) -> [&'a Shelf; 2] {
    [&world.terms, &site.terms]
}

fn find_term<'a>(world: &'a World, site: &'a Site, kind: &Kind, id: &str) -> Result<(&'a Shelf, u32), Reply> {
    let found = stores(world, site).into_iter().find_map(|shelf| Some((shelf, shelf.find(kind, id)?)));
    found.ok_or_else(Reply::item_not_found)
}

/// `GET /sites/{id}/termStore` and what is in it. `ids`: of group or set, of a term.
pub(super) fn term_store(app: &App, request: &Request, site: usize, what: &str, ids: (&str, &str)) -> Answer {
    let world = app.read();
    let site = opened(&world, site)?;
    let terms_of = |shelf: &Shelf, all: Vec<u32>| -> Vec<Value> {
        all.into_iter().map(|number| shelf.json(&app.cast, number).into()).collect()
    };
    let (kind, all) = match what {
        "store" => return one(app, "termStore", terms::store(&world.terms)),
        "groups" => {
            let all = stores(&world, site).into_iter().flat_map(|shelf| shelf_rows(app, shelf, &terms::GROUP));
            let mut all: Vec<Value> = all.collect();
            let asked = request.select("group", properties::TERM_GROUP)?.asks("parentSiteId");
            for map in all.iter_mut().filter_map(Value::as_object_mut).filter(|_| !asked) {
                map.shift_remove("parentSiteId");
            }
            return rows(app, request, ("group", properties::TERM_GROUP), app.options.pages.drive, all);
        }
        "group" => {
            let (shelf, group) = find_term(&world, site, &terms::GROUP, ids.0)?;
            let mut json = shelf.json(&app.cast, group);
            json.shift_remove("parentSiteId");
            return one(app, "group", json.into());
        }
        "set" => {
            let (shelf, set) = find_term(&world, site, &terms::SET, ids.0)?;
            return one(app, "set", shelf.json(&app.cast, set).into());
        }
        "sets" => {
            let (shelf, group) = find_term(&world, site, &terms::GROUP, ids.0)?;
            ("set", terms_of(shelf, shelf.below(&terms::SET, group).collect()))
        }
        _ => {
            let (shelf, set) = find_term(&world, site, &terms::SET, ids.0)?;
            match what {
                "term" => {
                    let term = terms::find_term(shelf, set, ids.1).ok_or_else(Reply::item_not_found)?;
                    return one(app, "term", shelf.json(&app.cast, term).into());
                }
                "terms" => ("term", terms_of(shelf, terms::all_terms(shelf, set))),
                "relations" => ("relation", terms::relations(&app.cast, shelf, set)),
                "children" => ("term", terms_of(shelf, shelf.below(&terms::TERM, set).collect())),
                _ => {
                    let term = terms::find_term(shelf, set, ids.1).ok_or_else(Reply::item_not_found)?;
                    ("term", terms_of(shelf, shelf.below(&terms::TERM, term).collect()))
                }
            }
        }
    };
    let all = if kind == "relation" { unrelated(all, request.option("$expand").unwrap_or_default()) } else { all };
    rows(app, request, (kind, &[]), app.options.pages.drive, all)
}

/// Takes away of relations what nobody asked to expand.
fn unrelated(mut all: Vec<Value>, expanded: &str) -> Vec<Value> {
    for map in all.iter_mut().filter_map(Value::as_object_mut) {
        map.retain(|name, _| matches!(name.as_str(), "id" | "relationship") || expanded.split(',').any(|e| e == name));
    }
    all
}
