//! The term store: groups, sets, terms in their tree, and how terms are used again.

use serde_json::{Map, Value, json};

use super::contacts::object;
use super::letter::Cast;
use super::rng::{Rng, hash};
use super::shelf::{self, Kind, Shelf, TOP};
use super::sites::guid_id;
use super::{times, words};

/// A group of sets; its mark says whether it is a site's own.
pub(super) static GROUP: Kind = Kind { name: "group", id: guid_id, json: group_json, content: shelf::nothing };
/// A set of terms.
pub(super) static SET: Kind = Kind { name: "set", id: guid_id, json: set_json, content: shelf::nothing };
/// A term. A mark other than 0: it is the term with that number less one, used again.
pub(super) static TERM: Kind = Kind { name: "term", id: guid_id, json: term_json, content: shelf::nothing };

/// Makes so many groups.
pub(super) fn populate(seed: u64, groups: u32, scope: &str) -> Shelf {
    let mut shelf = Shelf::new(seed);
    let mut rng = Rng::new(seed, &[1]);
    let born = times::EPOCH - 500 * times::DAY;
    for _ in 0..groups {
        let group = shelf.add(&GROUP, TOP, born, u32::from(scope == "siteCollection"));
        for number in 0..2 {
            let set = shelf.add(&SET, group, born, 0);
            let mut above = vec![set];
            for _ in 0..6 {
                // The second set of a group is flat.
                let parent = if number == 0 { above[rng.index(above.len())] } else { set };
                above.push(shelf.add(&TERM, parent, born, 0));
            }
            if number == 1 {
                let source = shelf.all(&TERM).next().map_or(0, |first| first + 1);
                shelf.add(&TERM, set, born, source);
            }
        }
    }
    shelf.begin();
    shelf
}

/// What a day brings.
pub(super) fn day(shelf: &mut Shelf, now: i64, rng: &mut Rng) {
    if let Some(set) = shelf.any(&SET, rng) {
        shelf.add(&TERM, set, now, 0);
    }
    if let Some(parent) = shelf.any(&TERM, rng).filter(|term| shelf.thing(*term).mark == 0) {
        shelf.add(&TERM, parent, now, 0);
    }
    if let Some(term) = shelf.any(&TERM, rng) {
        shelf.edit(term, now);
    }
    let is_source = |shelf: &Shelf, term: u32| shelf.all(&TERM).any(|other| shelf.thing(other).mark == term + 1);
    let leaf = |shelf: &Shelf, term: u32| shelf.below(&TERM, term).next().is_none() && !is_source(shelf, term);
    if let Some(term) = shelf.any(&TERM, rng).filter(|term| leaf(shelf, *term)) {
        shelf.delete(term);
    }
    if let Some(set) = shelf.any(&SET, rng) {
        shelf.edit(set, now);
    }
}

/// The id under which Graph tells a term: one that is used again has the id of the first.
pub(super) fn term_id(shelf: &Shelf, number: u32) -> String {
    match shelf.thing(number).mark {
        0 => shelf.id(number),
        source => shelf.id(source - 1),
    }
}

/// The set that a term lies in.
pub(super) fn set_of(shelf: &Shelf, mut number: u32) -> u32 {
    while shelf.thing(number).kind.name != SET.name && shelf.thing(number).parent != TOP {
        number = shelf.thing(number).parent;
    }
    number
}

/// The terms of a set, at any depth.
pub(super) fn all_terms(shelf: &Shelf, set: u32) -> Vec<u32> {
    shelf.all(&TERM).filter(|term| set_of(shelf, *term) == set).collect()
}

/// The term of a set with that id.
pub(super) fn find_term(shelf: &Shelf, set: u32, id: &str) -> Option<u32> {
    all_terms(shelf, set).into_iter().find(|term| term_id(shelf, *term) == id)
}

/// How the terms of a set are used again.
pub(super) fn relations(cast: &Cast, shelf: &Shelf, set: u32) -> Vec<Value> {
    let again = all_terms(shelf, set).into_iter().filter(|term| shelf.thing(*term).mark > 0);
    let row = |term: u32| {
        let json = |number| Value::from(shelf.json(cast, number));
        json!({
            "id": guid_id(hash(shelf.seed, &[5]), term),
            "relationship": "pin",
            "fromTerm": json(shelf.thing(term).mark - 1),
            "toTerm": json(term),
            "set": json(set),
        })
    };
    again.map(row).collect()
}

/// The store itself.
pub(super) fn store(shelf: &Shelf) -> Value {
    json!({"id": guid_id(shelf.seed, 0x57), "defaultLanguageTag": "en-US", "languageTags": ["en-US", "de-DE"]})
}

fn group_json(_: &Cast, shelf: &Shelf, number: u32) -> Map<String, Value> {
    let thing = shelf.thing(number);
    object(json!({
        "id": shelf.id(number),
        "createdDateTime": times::graph(thing.created),
        "description": "",
        "displayName": words::title(&mut shelf.rng(number), 2),
        "scope": if thing.mark == 1 { "siteCollection" } else { "global" },
        "parentSiteId": if thing.mark == 1 { json!("contoso.sharepoint.com") } else { json!(null) },
    }))
}

fn set_json(_: &Cast, shelf: &Shelf, number: u32) -> Map<String, Value> {
    let mut rng = shelf.rng(number);
    object(json!({
        "id": shelf.id(number),
        "createdDateTime": times::graph(shelf.thing(number).created),
        "description": words::title(&mut rng, 4),
        "localizedNames": [
            {"languageTag": "en-US", "name": words::title(&mut rng, 2)}, {"languageTag": "de-DE", "name": "Größe / Maß"},
        ],
        "properties": [{"key": "owner", "value": "Kim"}],
    }))
}

fn term_json(_: &Cast, shelf: &Shelf, number: u32) -> Map<String, Value> {
    let source = match shelf.thing(number).mark {
        0 => number,
        source => source - 1,
    };
    let mut rng = shelf.rng(source);
    object(json!({
        "id": term_id(shelf, number),
        "createdDateTime": times::graph(shelf.thing(source).created),
        "lastModifiedDateTime": times::graph(shelf.thing(source).changed),
        "labels": [{"name": words::title(&mut rng, 1), "languageTag": "en-US", "isDefault": true}],
        "descriptions": [{"description": words::title(&mut rng, 5), "languageTag": "en-US"}],
        "properties": [],
    }))
}
