//! Lists and pages of sites.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::driver::{Held, json, restore, take_back, told};
use crate::format::record::{ItemKind, StreamRole};
use crate::graph::{GraphRequest, Scope};
use crate::m365::Collection;
use crate::m365::restore::{Destination, Extras, Order, Unlogged, open};
use crate::m365::testing::State;
use crate::m365::tests::{Tenant, steady};

/// The values of fields that Graph writes, of all items: each as text, sorted.
fn values(state: &State) -> Vec<String> {
    let columns: BTreeSet<String> = of(state, ItemKind::Column)
        .iter()
        .filter(|column| {
            let plain = ["text", "number", "currency", "boolean", "dateTime", "choice"];
            plain.iter().any(|facet| column.get(facet).is_some()) && column["readOnly"] == false
        })
        .map(|column| column["name"].as_str().unwrap().to_owned())
        .filter(|name| !name.starts_with('_') && name != "Attachments")
        .collect();
    let row = |item: &Value| {
        let fields = item["fields"].as_object().unwrap();
        let kept: std::collections::BTreeMap<_, _> =
            fields.iter().filter(|(name, _)| columns.contains(*name)).collect();
        format!("{kept:?}")
    };
    let mut rows: Vec<String> = of(state, ItemKind::ListItem).iter().map(row).collect();
    rows.sort();
    rows
}

/// Whom and what items name several of at once, by their ids: each as text, sorted.
fn several(state: &State) -> Vec<String> {
    let ids = |(name, value): (&String, &Value)| -> Option<String> {
        let ids: Option<Vec<&Value>> = value.as_array()?.iter().map(|one| one.get("LookupId")).collect();
        Some(format!("{name} {:?}", ids?))
    };
    let items = of(state, ItemKind::ListItem);
    let mut all: Vec<String> =
        items.iter().flat_map(|item| item["fields"].as_object().unwrap()).filter_map(ids).collect();
    all.sort();
    all
}

/// How many items have a value in a column of these kinds.
fn having(state: &State, facets: &[&str]) -> usize {
    let mut columns = of(state, ItemKind::Column);
    columns.retain(|column| facets.iter().any(|facet| column.get(facet).is_some()));
    let has = |item: &&Value| columns.iter().any(|column| !item["fields"][column["name"].as_str().unwrap()].is_null());
    of(state, ItemKind::ListItem).iter().filter(has).count()
}

fn of(state: &State, kind: ItemKind) -> Vec<Value> {
    state.items.values().filter(|item| item.record.kind == kind).map(json).collect()
}

#[tokio::test]
async fn a_list_that_was_deleted_comes_back_with_columns_and_items() {
    let mut options = steady(1);
    options.roles.extend(["Sites.Manage.All", "Sites.ReadWrite.All"].map(str::to_owned));
    let tenant = Tenant::start(options).await;
    let all = tenant.collections("/list/").await;
    let mut found = None;
    for collection in all {
        let mut state = State::default();
        state.run(&*collection).await.unwrap();
        let list = of(&state, ItemKind::List).remove(0);
        let is_own = list["list"]["template"] == "genericList" && list.get("system").is_none();
        if is_own && values(&state).len() > 3 && !several(&state).is_empty() {
            found = Some((collection, state, list));
            break;
        }
    }
    let (collection, before, list) = found.expect("a list with items");
    let key = collection.key().clone();
    let site = key.owner.id().to_owned();
    let title = list["displayName"].as_str().unwrap().to_owned();
    let name = collection.path().split('/').nth(1).unwrap_or_default().to_owned();
    let to = Destination { owner: key.owner.clone(), name, from: key.clone(), title: title.clone(), original: true };
    let gone = GraphRequest::delete(Scope::Files, format!("sites/{site}/lists/{}", key.id));
    tenant.client.send(gone).await.unwrap();

    let target = open(&tenant.client, &to).await.unwrap();
    let done = restore(&*target, &Held::new(&before), None).await;
    let again: Vec<Arc<dyn Collection>> = tenant.collections(&format!("{site}/list/")).await;
    let mut after = None;
    for collection in again {
        let mut state = State::default();
        state.run(&*collection).await.unwrap();
        if of(&state, ItemKind::List)[0]["displayName"] == *title {
            after = Some(state);
        }
    }
    let after = after.expect("the list is there again");
    assert_eq!(values(&after), values(&before));
    assert_eq!(several(&after), several(&before));
    // What Graph does not write is noted, once an item.
    let noted = done.notes.iter().filter(|note| note.ends_with(": not written")).count();
    assert_eq!(noted, having(&before, &["hyperlinkOrPicture", "term"]), "{:?}", done.notes);
    let names = |state: &State| -> BTreeSet<String> {
        let all = of(state, ItemKind::Column).into_iter().filter(|column| column.get("term").is_none());
        all.map(|column| column["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&after), names(&before));
    assert_eq!(take_back(&*target, &done).await, Vec::<String>::new());
    assert!(target.present("").await.unwrap().is_empty(), "undo took the list away");
}

/// The texts on pages, by the name of the page.
fn texts(state: &State) -> BTreeSet<(String, String)> {
    let mut all = BTreeSet::new();
    for page in of(state, ItemKind::Page) {
        let columns = page.pointer("/canvasLayout/horizontalSections/0/columns/0/webparts");
        for part in columns.and_then(Value::as_array).into_iter().flatten() {
            let text = part["innerHtml"].as_str().unwrap_or_default();
            all.insert((page["name"].as_str().unwrap().to_owned(), text.to_owned()));
        }
    }
    all.retain(|(_, text)| !text.is_empty());
    all
}

#[tokio::test]
async fn pages_that_were_deleted_come_back_published() {
    let mut options = steady(1);
    options.roles.push("Sites.ReadWrite.All".to_owned());
    let tenant = Tenant::start(options).await;
    for collection in tenant.collections("/pages").await {
        let mut before = State::default();
        before.run(&*collection).await.unwrap();
        let key = collection.key().clone();
        if !key.to_string().starts_with("sites/") || before.items.len() < 2 {
            continue;
        }
        let site = key.owner.id().to_owned();
        for page in before.items.keys() {
            let gone = GraphRequest::delete(Scope::Files, format!("sites/{site}/pages/{page}"));
            tenant.client.send(gone).await.unwrap();
        }
        let name = collection.path().split('/').nth(1).unwrap_or_default().to_owned();
        let to = Destination { owner: key.owner.clone(), name, from: key, title: String::new(), original: true };
        let target = open(&tenant.client, &to).await.unwrap();
        let done = restore(&*target, &Held::new(&before), None).await;
        let mut after = State::default();
        after.run(&*collection).await.unwrap();
        assert_eq!(told(&after), told(&before));
        assert_eq!(texts(&after), texts(&before));
        assert_eq!(take_back(&*target, &done).await, Vec::<String>::new());
        assert!(target.present("").await.unwrap().is_empty());
        return;
    }
    panic!("no site with pages");
}

#[tokio::test]
async fn an_item_that_is_overwritten_has_no_value_that_it_lacked() {
    overwritten(|column| column.get("text").is_some()).await;
    overwritten(|column| column["personOrGroup"]["allowMultipleSelection"] == true).await;
}

/// In one state of it an item lacks its value of a column that is meant.
async fn overwritten(is_meant: impl Fn(&Value) -> bool) {
    let mut options = steady(1);
    options.roles.extend(["Sites.Manage.All", "Sites.ReadWrite.All"].map(str::to_owned));
    let tenant = Tenant::start(options).await;
    for collection in tenant.collections("/list/").await {
        let mut whole = State::default();
        whole.run(&*collection).await.unwrap();
        let columns = of(&whole, ItemKind::Column);
        let is_one = |column: &&Value| is_meant(column) && column["readOnly"] == false;
        let names: Vec<&str> = columns.iter().filter(is_one).map(|column| column["name"].as_str().unwrap()).collect();
        let value =
            |item: &Value| names.iter().copied().find(|name| *name != "Title" && !item["fields"][*name].is_null());
        let mut items = whole.items.values().filter(|item| item.record.kind == ItemKind::ListItem);
        let Some((record, name)) = items.find_map(|item| Some((item.record.clone(), value(&json(item))?))) else {
            continue;
        };
        let mut bare = whole.clone();
        let item = bare.items.get_mut(&record.id).unwrap();
        let mut values = json(item);
        values["fields"].as_object_mut().unwrap().remove(name);
        item.streams.insert(StreamRole::Properties, values.to_string().into());

        let key = collection.key().clone();
        let (site, list) = (key.owner.id().to_owned(), key.id.clone());
        let parts: Vec<&str> = collection.path().split('/').collect();
        let (title, owner_name) = ((*parts.last().unwrap()).to_owned(), parts[1].to_owned());
        let to = Destination { owner: key.owner.clone(), name: owner_name, from: key, title, original: true };
        let target = open(&tenant.client, &to).await.unwrap();
        let url = format!("sites/{site}/lists/{list}/items/{}?$expand=fields($select={name})", record.id);
        let there = async || {
            let item = tenant.client.get_json(GraphRequest::get(Scope::Files, url.as_str())).await.unwrap();
            let value = &item["fields"][name];
            // What is shown of several follows from their ids.
            match value.as_array() {
                Some(all) => all.iter().map(|one| one["LookupId"].clone()).collect::<Value>(),
                None => value.clone(),
            }
        };
        let (item_name, extras) = (record.name.as_str(), Extras::default());
        let order = Order {
            record: &record,
            parent: &list,
            name: item_name,
            mark: "run-1",
            extras,
            log: &Unlogged,
            only_looks: false,
        };
        let before = there().await;
        let emptied = target.overwrite(&record.id, order, &Held::new(&bare)).await.unwrap();
        assert!(there().await.is_null(), "{name}: {}", there().await);
        // And the other way round: what came back is taken back.
        let filled = target.overwrite(&record.id, order, &Held::new(&whole)).await.unwrap();
        assert_eq!(there().await, before);
        target.undo(&filled.undo[0]).await.unwrap();
        assert!(there().await.is_null(), "{name}: {}", there().await);
        target.undo(&emptied.undo[0]).await.unwrap();
        assert_eq!(there().await, before);
        return;
    }
    panic!("no list has an item with such a value");
}
