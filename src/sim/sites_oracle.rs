//! The truth about sites: what a backup must hold of each.

use std::collections::BTreeMap;

use serde_json::Value;

use super::lists::{Fields, ITEM, SiteList};
use super::oracle::{self, ExpectedCollection, ExpectedLibrary, ExpectedThing};
use super::shelf::{Shelf, TOP};
use super::sites::{self, Lock, Site};
use super::state::{User, World};
use super::{drive, terms};

/// What people call a site: its address.
fn address(site: &Site) -> String {
    site.url.trim_start_matches("https://").replace('/', "_")
}

fn escaped(part: &str) -> String {
    part.replace('%', "%25").replace('/', "%2F")
}

fn thing(id: String, parent: &str, kind: &'static str, json: Value) -> ExpectedThing {
    ExpectedThing { id, parent: parent.to_owned(), kind, json, content: None }
}

/// The sites that are read as sites.
fn plain(world: &World) -> impl Iterator<Item = &Site> {
    world.sites.iter().filter(|site| site.owner.is_none() && site.lock == Lock::Open)
}

/// The personal sites that are read with their users.
fn personal(world: &World) -> impl Iterator<Item = (&User, &Site)> {
    let users = world.users.iter().enumerate();
    users.filter_map(|(number, user)| Some((user, sites::of_user(world, number)?)))
}

/// The libraries beside the OneDrives.
pub(super) fn libraries(world: &World) -> Vec<ExpectedLibrary> {
    let library = |key: String, name: String, site: &Site| -> Vec<ExpectedLibrary> {
        let number = world.by_site[&site.id];
        let libraries = drive::libraries(world, number).filter_map(|index| drive::shown(world, index).ok());
        let one = libraries.map(|shown| ExpectedLibrary {
            key: format!("{key}/{}", shown.drive.id),
            name: format!("{name}/{}", clean(shown.name)),
            drive: oracle::drive(shown),
        });
        one.collect()
    };
    let mut all = Vec::new();
    for site in plain(world) {
        all.extend(library(format!("sites/{}/files", site.id), format!("sites/{}/Files", address(site)), site));
    }
    for (user, site) in personal(world) {
        let key = format!("users/{}/personal-site", user.id);
        all.extend(library(key, format!("users/{}/Personal Site", user.upn), site));
    }
    all
}

fn clean(name: &str) -> String {
    name.chars().map(|c| if c.is_control() || c == '/' { '_' } else { c }).collect()
}

/// Everything of sites but files.
pub(super) fn collections(world: &World, all: &mut BTreeMap<String, ExpectedCollection>) {
    for site in plain(world) {
        let (key, name) = (format!("sites/{}", site.id), format!("sites/{}", address(site)));
        lists(world, site, (format!("{key}/list"), format!("{name}/Lists")), all);
        let things = pages(world, site);
        all.insert(format!("{key}/pages"), ExpectedCollection { name: format!("{name}/Pages"), things });
        let things = facts(world, site);
        all.insert(format!("{key}/site"), ExpectedCollection { name: format!("{name}/Site"), things });
        if !site.terms.things.is_empty() {
            let things = term_store(world, &site.terms);
            all.insert(format!("{key}/terms"), ExpectedCollection { name: format!("{name}/Term Store"), things });
        }
    }
    for (user, site) in personal(world) {
        let key = format!("users/{}/personal-site", user.id);
        let name = format!("users/{}/Personal Site", user.upn);
        lists(world, site, (key.clone(), name.clone()), all);
        let things = pages(world, site);
        all.insert(format!("{key}/pages"), ExpectedCollection { name: format!("{name}/Pages"), things });
    }
    let mut things = term_store(world, &world.terms);
    let store = terms::store(&world.terms);
    things.push(thing(text(&store, "id"), "", "store", store));
    all.insert("tenant/terms".into(), ExpectedCollection { name: "tenant/Term Store".into(), things });
}

fn text(json: &Value, name: &str) -> String {
    json[name].as_str().unwrap_or_default().to_owned()
}

fn lists(world: &World, site: &Site, (key, name): (String, String), all: &mut BTreeMap<String, ExpectedCollection>) {
    let by = &world.users[site.owner.unwrap_or(0)];
    // Of what SharePoint makes for itself only the list of people counts.
    for list in site.lists.iter().filter(|list| !list.system || list.name == "users") {
        let things = list_things(by, list, site);
        let name = format!("{name}/{}", clean(&list.title));
        all.insert(format!("{key}/{}", escaped(&list.id)), ExpectedCollection { name, things });
    }
}

fn list_things(by: &User, list: &SiteList, site: &Site) -> Vec<ExpectedThing> {
    let mut things = vec![thing(list.id.clone(), "", "list", list.json(&site.url))];
    for json in list.columns_json() {
        things.push(thing(text(&json, "id"), "", "columnDefinition", json));
    }
    for json in list.types_json() {
        things.push(thing(text(&json, "id"), "", "contentType", json));
    }
    for json in list.permissions_json() {
        things.push(thing(format!("permissions/{}", text(&json, "id")), "", "permission", json));
    }
    let names = list.field_names();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for number in list.items.all(&ITEM) {
        let id = list.items.id(number);
        let Ok(json) = list.item(by, number, &site.url, Fields::Named(&names)) else { continue };
        things.push(thing(id.clone(), &list.id, "listItem", json));
        let versions = list.versions(by, number, Fields::Named(&names)).unwrap_or_default();
        for json in versions.into_iter().skip(1) {
            things.push(thing(format!("{id}/{}", text(&json, "id")), &id, "listItemVersion", json));
        }
    }
    things
}

fn flat<'a>(world: &'a World, shelf: &'a Shelf) -> impl Iterator<Item = ExpectedThing> + 'a {
    let alive = (0u32..).zip(&shelf.things).filter(|(_, thing)| thing.alive);
    alive.map(|(number, of)| thing(shelf.id(number), "", of.kind.name, shelf.json(&world.cast, number).into()))
}

fn pages(world: &World, site: &Site) -> Vec<ExpectedThing> {
    flat(world, &site.pages).collect()
}

fn facts(world: &World, site: &Site) -> Vec<ExpectedThing> {
    let own = thing(site.id.clone(), "", "site", sites::json(site));
    flat(world, &site.facts).chain([own]).collect()
}

/// Groups, sets, terms and relations. A term that is used in two sets is told in both.
fn term_store(world: &World, shelf: &Shelf) -> Vec<ExpectedThing> {
    let id = |number: u32| match shelf.thing(number).kind.name {
        name if name == terms::TERM.name => {
            format!("{}/{}", shelf.id(terms::set_of(shelf, number)), terms::term_id(shelf, number))
        }
        _ => shelf.id(number),
    };
    let mut things = Vec::new();
    for (number, of) in (0u32..).zip(&shelf.things).filter(|(_, thing)| thing.alive) {
        let parent = if of.parent == TOP { String::new() } else { id(of.parent) };
        things.push(thing(id(number), &parent, of.kind.name, shelf.json(&world.cast, number).into()));
    }
    for set in shelf.all(&terms::SET) {
        let own = shelf.id(set);
        for json in terms::relations(&world.cast, shelf, set) {
            things.push(thing(format!("{own}/{}", text(&json, "id")), &own, "relation", json));
        }
    }
    things
}
