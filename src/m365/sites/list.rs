//! A list of a site: its columns, content types, permissions and items with all their fields and earlier versions.
//!
//! Discovery brings the list as Graph tells it; its tag and its last change say whether columns and types are asked for
//! again. Items come by delta. The names of the fields are frozen in the delta's link, so the cursor bears a hash of them:
//! with another column begins another enumeration, in which what stayed as it was is passed over.
//!
//! Who may use the list is asked when the list is new or changed, and once a week: see [`Turns`]. Who may use a single item with
//! rights of its own is not asked: that is a request for each item, at five units. Nor is any list where discovery found that lists
//! do not tell: what is known of it stays then.
//!
//! Graph tells no views, and of attachments only that there are some.
//!
//! Source: Microsoft Graph, "List permissions", "listItem: delta", "Listing versions of a ListItem", "List columns in a list".

use std::collections::HashSet;

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use serde_json::Value;

use super::fields::{Fields, merge};
use super::{Discovered, LIST_PROPERTIES, ListSharing, of_site, restore, without_context};
use crate::error::{Error, Result};
use crate::format::record::{ItemKind, PARTS, Record};
use crate::graph::links::segment;
use crate::graph::{Client, GraphRequest, graph_error};
use crate::m365::door::{Owner, Workload};
use crate::m365::drive::{Turns, permission};
use crate::m365::facts::{Summary, flag, short_hash, text};
use crate::m365::walk::{Row, Rows, Source, Told, Walk, Walked, id_of, unfold};

/// The cursor of the items: this, and a hash of the names of their fields.
const ITEMS: &str = "items:";
/// The name of the pair that holds the names of the fields: no link, but kept with them.
const FIELDS: &str = "fields";
/// The name of the pair that says up to which day the permissions had their turn.
const LOOKED: &str = "looked";
/// What the ids of permissions begin with, before a slash.
pub(super) const PERMISSIONS: &str = "permissions";
/// Items that are completed together, and how many requests of them run at once.
const BATCH: usize = 32;
const AT_ONCE: usize = 8;
/// What says that an item has no earlier version.
const FIRST_VERSION: &str = "1.0";

/// The fact of an item that has attachments, which Graph does not give.
const ATTACHMENTS_NOT_READ: &str = "attachments_not_read";

/// Names a list of a site; `row` as Graph told it.
pub(in crate::m365) fn list(
    client: Client,
    (owner, owner_name): (Owner, &str),
    workload: Workload,
    site: &str,
    (row, title): (Value, &str),
    sharing: &ListSharing,
) -> Walked<SiteList> {
    let id = id_of(&row).unwrap_or_default().to_owned();
    let (row, sharing) = (Discovered::new(row), sharing.clone());
    let source = SiteList { client: client.clone(), site: site.to_owned(), id: id.clone(), row, sharing };
    Walked::new(client, owner, owner_name, workload, source).one_of(&id, title)
}

/// A list.
pub(in crate::m365) struct SiteList {
    client: Client,
    site: String,
    id: String,
    row: Discovered,
    sharing: ListSharing,
}

/// An item, and what of it is told.
struct Item {
    told: Told,
    versions: Versions,
}

/// The earlier versions of an item.
enum Versions {
    /// There are none.
    None,
    /// They are as they were.
    Known,
    /// These.
    Told(Vec<Value>),
    /// They could not be read.
    Unreadable(Error),
    /// Some of the fields could not be read.
    Partial(Error),
}

#[async_trait]
impl Source for SiteList {
    async fn walk(&self, walk: &mut Walk<'_>) -> Result<()> {
        let row = self.row.or(&self.client, self.get(&format!("?$select={LIST_PROPERTIES}"))).await?;
        let name = text(&row, &["displayName"]).or_else(|| text(&row, &["name"])).unwrap_or_default();
        let template = text(&row, &["list", "template"]).unwrap_or_default();
        let told = Told::new(ItemKind::List, &*self.id, "", name, row.clone()).dated();
        if self.sharing.refused().await.is_none() {
            walk.cursors.set(LOOKED, Turns::of(None, walk.now_us).word());
        }
        let list_changed_us = walk.known(&self.id).await?.and_then(|known| known.modified_us);
        let changed = walk.put(told.fact("template", template)).await? || walk.must_list("");
        let fields = match walk.before.get(FIELDS).filter(|_| !changed).map(Fields::from_text) {
            Some(fields) => {
                walk.unchanged_below("");
                let turns = Turns::of(walk.before.get(LOOKED), walk.now_us);
                if turns.has(&self.id) || walk.before.get(LOOKED).is_none() || walk.must_list(&whole_sharing()) {
                    self.permissions(walk, name).await?;
                }
                walk.keep_cursor(FIELDS);
                fields
            }
            None => {
                let fields = self.schema(walk, name).await?;
                self.permissions(walk, name).await?;
                fields.after(walk.before.get(FIELDS), list_changed_us)
            }
        };
        let cursor = format!("{ITEMS}{}", short_hash([Some(&Value::from(fields.text()))]));
        if let Err(error) = self.items(walk, &fields, &cursor).await {
            walk.keep_cursor(&cursor);
            let refused = graph_error(&error).is_some_and(|answer| answer.status == 400);
            if refused && fields != Fields::default() {
                // Where the service refuses a name, what it gives unasked is better than nothing; the gap stays.
                self.items(walk, &Fields::default(), ITEMS).await?;
                walk.cursors.set(ITEMS, "");
                walk.gap_beside(&self.id, name, ItemKind::List, error).await?;
            } else {
                walk.gap(&self.id, name, ItemKind::List, error).await?;
            }
        }
        for id in walk.left_to_list() {
            self.ask(walk, &id, &fields).await?;
        }
        Ok(())
    }

    fn mark_of_unread(&self) -> Option<&'static str> {
        Some(ATTACHMENTS_NOT_READ)
    }
}

impl SiteList {
    fn get(&self, url: &str) -> GraphRequest {
        let slash = if url.starts_with('?') { "" } else { "/" };
        of_site(&self.site, &format!("lists/{}{slash}{url}", segment(&self.id)))
    }

    /// Tells columns and content types; gives the fields that items have.
    async fn schema(&self, walk: &mut Walk<'_>, name: &str) -> Result<Fields> {
        let types = content_types(&self.client, self.get(CONTENT_TYPES).units(2));
        let columns = self.client.ask_all(self.get("columns").units(2));
        let (types, columns) = futures::join!(types, columns);
        match types {
            Ok(rows) => {
                for row in rows {
                    if let Some(told) = named(ItemKind::ContentType, row) {
                        walk.put(told).await?;
                    }
                }
            }
            Err(error) => {
                walk.keep_all("", ItemKind::ContentType).await?;
                walk.gap_beside(&self.id, name, ItemKind::ContentType, error).await?;
            }
        }
        match columns {
            Ok(rows) => {
                let fields = Fields::of(&rows);
                for row in rows {
                    if let Some(told) = named(ItemKind::Column, row) {
                        walk.put(told).await?;
                    }
                }
                walk.cursors.set(FIELDS, fields.text());
                Ok(fields)
            }
            Err(error) => {
                walk.keep_all("", ItemKind::Column).await?;
                walk.keep_cursor(FIELDS);
                walk.gap_beside(&self.id, name, ItemKind::Column, error).await?;
                Ok(Fields::from_text(walk.before.get(FIELDS).unwrap_or_default()))
            }
        }
    }

    /// Tells who may use the list.
    async fn permissions(&self, walk: &mut Walk<'_>, name: &str) -> Result<()> {
        if self.sharing.refused().await.is_some() {
            // Asked as soon as lists tell: no day is noted.
            return walk.keep_all("", ItemKind::Permission).await;
        }
        let rows = match self.client.ask_all(self.get(PERMISSIONS).units(5)).await {
            Ok(rows) => rows,
            Err(error) => {
                let name = format!("Permissions of {name}");
                return walk.gap_of_list("", &whole_sharing(), &name, ItemKind::Permission, error).await;
            }
        };
        let mut told = HashSet::new();
        for permission in rows.into_iter().filter_map(|row| permission(row, PERMISSIONS, "")) {
            told.insert(permission.record.id.clone());
            walk.put(permission).await?;
        }
        walk.was_read(&whole_sharing());
        let known = walk.known_below("").await?;
        known
            .iter()
            .filter(|id| id.starts_with(&whole_sharing()) && !told.contains(*id))
            .for_each(|id| walk.removed(id));
        Ok(())
    }

    async fn items(&self, walk: &mut Walk<'_>, fields: &Fields, cursor: &str) -> Result<()> {
        let start = self.get(&format!("items/delta?$expand={}", fields.first())).units(2);
        let mut rows =
            Rows::delta(walk, &self.client, cursor, start).starting_anew_itself().resumable(walk, &self.id).await?;
        let (mut batch, mut rounds) = (Vec::new(), 0);
        loop {
            let row = rows.next(walk).await?;
            if rows.restarts() != rounds {
                rounds = rows.restarts();
                batch.clear();
            }
            match row {
                Some(Row::There(row)) => batch.push(row),
                Some(Row::Gone(id)) => {
                    self.tell(walk, std::mem::take(&mut batch), fields).await?;
                    walk.removed_from(&self.id, &id).await?;
                }
                None => break,
            }
            if batch.len() >= BATCH || rows.is_page_end() {
                self.tell(walk, std::mem::take(&mut batch), fields).await?;
            }
        }
        self.tell(walk, batch, fields).await?;
        rows.close(walk, &self.id);
        Ok(())
    }

    /// Tells items, in order, with what has to be asked for each.
    async fn tell(&self, walk: &mut Walk<'_>, rows: Vec<Value>, fields: &Fields) -> Result<()> {
        let shared: &Walk<'_> = walk;
        let complete = |row| self.complete(shared, row, fields);
        let items: Vec<Option<Item>> =
            futures::stream::iter(rows.into_iter().map(complete)).buffered(AT_ONCE).try_collect().await?;
        for item in items.into_iter().flatten() {
            self.put(walk, item).await?;
        }
        Ok(())
    }

    async fn put(&self, walk: &mut Walk<'_>, Item { told, versions }: Item) -> Result<()> {
        let (id, name) = (told.record.id.clone(), told.record.name.clone());
        match versions {
            Versions::None => walk.put(told).await.map(drop),
            Versions::Known => {
                walk.put(told).await?;
                walk.unchanged_below(&id);
                Ok(())
            }
            Versions::Told(rows) => {
                walk.put(told).await?;
                for told in rows.into_iter().filter_map(|row| version(row, &id)) {
                    walk.put(told).await?;
                }
                walk.was_read(&id);
                Ok(())
            }
            Versions::Unreadable(error) => {
                walk.put(told).await?;
                walk.gap(&id, &name, ItemKind::ListItem, error).await
            }
            Versions::Partial(error) => {
                // What is known is more than what came.
                match walk.known(&id).await? {
                    Some(_) => walk.keep(&id).await?,
                    None => drop(walk.put(told).await?),
                }
                walk.gap(&id, &name, ItemKind::ListItem, error).await
            }
        }
    }

    /// Asks for the fields that the row lacks and for the versions, where it changed.
    async fn complete(&self, walk: &Walk<'_>, mut row: Value, fields: &Fields) -> Result<Option<Item>> {
        let Some(id) = id_of(&row).map(str::to_owned) else { return Ok(None) };
        for expansion in fields.further() {
            let more = self.get(&format!("items/{}?$expand={expansion}", segment(&id)));
            match self.client.get_json(more).await {
                Ok(more) => merge(&mut row, more),
                Err(error) => {
                    return Ok(item(row, &self.id, 0).map(|told| Item { told, versions: Versions::Partial(error) }));
                }
            }
        }
        let present = text(&row, &["fields", "_UIVersionString"]).map(str::to_owned);
        let Some(told) = item(row, &self.id, 0) else { return Ok(None) };
        if present.as_deref() == Some(FIRST_VERSION) {
            return Ok(Some(Item { told, versions: Versions::None }));
        }
        let known = walk.known(&id).await?;
        let doubted = walk.must_list(&id) || fields.doubts(told.record.modified_us);
        if walk.is_settled() && !doubted && told.is_as_known(known.as_ref()) {
            let versions = if known.as_ref().is_some_and(Record::has_parts) { Versions::Known } else { Versions::None };
            return Ok(Some(Item { told: with_parts_of(told, known.as_ref()), versions }));
        }
        Ok(Some(match self.versions(&id, present.as_deref(), fields).await {
            Ok(rows) => Item { told: told.with_parts(rows.len()), versions: Versions::Told(rows) },
            Err(error) => Item { told: with_parts_of(told, known.as_ref()), versions: Versions::Unreadable(error) },
        }))
    }

    /// Lists the versions of an item but the present one.
    async fn versions(&self, id: &str, present: Option<&str>, fields: &Fields) -> Result<Vec<Value>> {
        let url = |expansion: &str| format!("items/{}/versions?$expand={expansion}", segment(id));
        let mut rows = self.client.get_all(self.get(&url(&fields.first())).units(2)).await?;
        for expansion in fields.further() {
            for more in self.client.get_all(self.get(&url(&expansion)).units(2)).await? {
                if let Some(row) = rows.iter_mut().find(|row| id_of(row) == id_of(&more)) {
                    merge(row, more);
                }
            }
        }
        match rows.iter().position(|row| id_of(row) == present) {
            Some(place) => drop(rows.remove(place)),
            // The newest comes first.
            None => drop(rows.drain(..rows.len().min(1))),
        }
        Ok(rows)
    }

    /// Asks for one item of which something is a gap.
    async fn ask(&self, walk: &mut Walk<'_>, id: &str, fields: &Fields) -> Result<()> {
        let Some(known) = walk.known(id).await?.filter(|known| known.kind == ItemKind::ListItem) else { return Ok(()) };
        match self.client.get_json(self.get(&format!("items/{}?$expand={}", segment(id), fields.first()))).await {
            Ok(row) => self.tell(walk, vec![without_context(row)], fields).await,
            Err(error) => walk.gap(id, &known.name, known.kind, error).await,
        }
    }
}

/// What stands for all permissions of the list, and begins the id of each.
fn whole_sharing() -> String {
    format!("{PERMISSIONS}/")
}

/// What is asked for of content types.
pub(super) const CONTENT_TYPES: &str = "contentTypes?$expand=columns,columnLinks";

/// Lists content types with all their columns.
///
/// # Errors
/// Graph's.
async fn content_types(client: &Client, request: GraphRequest) -> Result<Vec<Value>> {
    let rows = client.ask_all(request.clone()).await;
    unfolded(client, &request, rows).await
}

/// The same of what was listed already.
pub(super) async fn unfolded(client: &Client, request: &GraphRequest, rows: Result<Vec<Value>>) -> Result<Vec<Value>> {
    let mut rows = rows?;
    for row in &mut rows {
        unfold(client, request, row).await?;
    }
    Ok(rows)
}

/// A column or content type.
pub(in crate::m365) fn named(kind: ItemKind, row: Value) -> Option<Told> {
    let id = id_of(&row)?.to_owned();
    let name = text(&row, &["displayName"]).or_else(|| text(&row, &["name"])).unwrap_or_default().to_owned();
    let field = text(&row, &["name"]).unwrap_or_default().to_owned();
    let (field, not_made) = match kind {
        ItemKind::Column => (field, restore::facet_not_made(&row)),
        _ => (String::new(), ""),
    };
    Some(Told::new(kind, id, "", &name, row).fact("field", &field).fact(restore::NOT_MADE_FACT, not_made))
}

fn with_parts_of(told: Told, known: Option<&Record>) -> Told {
    match known.and_then(|known| known.fact(PARTS)) {
        Some(parts) => told.fact(PARTS, parts),
        None => told,
    }
}

pub(super) fn item(row: Value, list: &str, parts: usize) -> Option<Told> {
    let id = id_of(&row)?.to_owned();
    let titles = ["Title", "LinkTitle", "FileLeafRef"];
    let title = titles.iter().find_map(|field| text(&row, &["fields", field]).filter(|title| !title.trim().is_empty()));
    let name = title.map_or_else(|| format!("Item {id}"), str::to_owned);
    let mut facts = Summary::default();
    facts.add("created_by", text(&row, &["createdBy", "user", "displayName"]).unwrap_or_default());
    facts.add("modified_by", text(&row, &["lastModifiedBy", "user", "displayName"]).unwrap_or_default());
    facts.add("type", text(&row, &["contentType", "name"]).unwrap_or_default());
    facts.mark(ATTACHMENTS_NOT_READ, flag(&row, &["fields", "Attachments"]) == Some(true));
    let mut told = Told::new(ItemKind::ListItem, id, list, &name, row).dated();
    told.record.summary = facts.finish();
    Some(told.with_parts(parts))
}

fn version(row: Value, item: &str) -> Option<Told> {
    let name = id_of(&row)?.to_owned();
    Some(Told::new(ItemKind::Version, format!("{item}/{name}"), item, &name, row).dated().json_only())
}
