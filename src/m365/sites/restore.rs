//! Lists go back: the list, its columns, its items with the fields that Graph lets one write.
//!
//! Ids of items are new; who wrote them and when is the restore. Values of hyperlinks, managed metadata and calculated columns
//! cannot be written through Graph, and ids of people and of looked-up items hold in their own site alone: what an item does not get
//! is noted. Earlier versions, attachments, views and permissions do not go back. Source: Microsoft Graph, "Create a list", "Create a
//! columnDefinition in a list", "Create an item in a list".

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use tokio::sync::OnceCell;

use super::fields::merge;
use super::values::{Columns, STANDARD};
use super::{LIST_PROPERTIES, of_site, without_context};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{ItemKind, Record};
use crate::graph::links::segment;
use crate::graph::{Client, GraphRequest, Scope};
use crate::m365::door::{Owner, Workload};
use crate::m365::facts::{at, flag, text};
use crate::m365::restore::{Cost, Destination, Fit, Found, Made, Order, Present, Since, Source, Target, Undo, rows};
use crate::m365::walk::{Told, clean, id_of};

/// What of a column can be set, whatever it holds.
const COLUMN: &[&str] = &[
    "columnGroup",
    "defaultValue",
    "description",
    "displayName",
    "enforceUniqueValues",
    "hidden",
    "indexed",
    "name",
    "required",
    "validation",
];
/// The facets of columns that Graph makes.
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
    "calculated",
];
/// Those that it does not make.
const NOT_MADE: &[&str] = &["term", "geolocation", "thumbnail", "contentApprovalStatus"];
/// The fact of a column's record that names one of these.
pub(super) const NOT_MADE_FACT: &str = "not_made";

/// One list of a site.
pub(in crate::m365) struct ListTarget {
    client: Client,
    site: String,
    title: String,
    path: String,
    /// Ids of people and of other lists' items hold here.
    original: bool,
    list: Mutex<Option<String>>,
    /// The columns of the list, once those that it lacked were made.
    columns: OnceCell<Columns>,
}

impl ListTarget {
    /// The list of a destination, by its title.
    ///
    /// # Errors
    /// `InvalidInput` if the owner is no site.
    pub(in crate::m365) fn new(client: &Client, to: &Destination) -> Result<Self> {
        let Owner::Site(site) = &to.owner else {
            return Err(Error::invalid(format!("A list can go into a site only, not into {}", to.name))
                .with_hint("name a site with --to"));
        };
        Ok(Self {
            client: client.clone(),
            site: site.clone(),
            title: to.title.clone(),
            path: format!("{}/{}/{}/{}", to.owner.word(), to.name, Workload::List.title(), to.title),
            original: to.original,
            list: Mutex::default(),
            columns: OnceCell::new(),
        })
    }
}

#[async_trait]
impl Target for ListTarget {
    fn workload(&self) -> Workload {
        Workload::List
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn scope(&self) -> Scope {
        Scope::Files
    }

    fn permission(&self) -> &'static str {
        "Sites.Manage.All"
    }

    async fn probe(&self) -> Result<()> {
        self.client.get_json(of_site(&self.site, "?$select=id")).await.map(drop)
    }

    fn fit(&self, record: &Record) -> Fit {
        match record.kind {
            ItemKind::List => Fit::Takes(Cost { requests: 2, units: 4, bytes: 2_000 }),
            ItemKind::Column => match not_made(record) {
                Some(why) => Fit::Cannot(why),
                None => Fit::Takes(Cost { requests: 1, units: 2, bytes: 300 }),
            },
            ItemKind::ListItem => Fit::Takes(Cost { requests: 1, units: 2, bytes: 1_000 }),
            ItemKind::ContentType => Fit::Cannot("content types follow from the site".to_owned()),
            kind => Fit::Cannot(format!("a {} of a list cannot be made through Graph", kind.word())),
        }
    }

    fn rank(&self, kind: ItemKind) -> u8 {
        u8::from(kind != ItemKind::List)
    }

    fn melts(&self, kind: ItemKind) -> bool {
        kind == ItemKind::List
    }

    fn stays(&self, record: &Record) -> Option<&'static str> {
        (record.kind != ItemKind::ListItem).then_some("it is there already: columns are left as they are")
    }

    fn identity(&self, record: &Record) -> String {
        match record.kind {
            ItemKind::Column => format!("column\n{}", record.fact("field").unwrap_or_default()),
            ItemKind::List => "list".to_owned(),
            _ => record.name.to_lowercase(),
        }
    }

    fn state(&self, _: &Record) -> String {
        String::new()
    }

    async fn present(&self, parent: &str) -> Result<Vec<Present>> {
        let (list, mut told) = if parent.is_empty() {
            let Some(row) = self.find_list(&self.title).await? else { return Ok(Vec::new()) };
            let id = rows::new_id(&row)?;
            self.remember(&id);
            (id.clone(), vec![Told::new(ItemKind::List, id, "", &self.title, row).dated()])
        } else {
            let items = self.client.get_all(self.of_list(parent, "items?$expand=fields&$top=200").units(2)).await?;
            (parent.to_owned(), items.into_iter().filter_map(|row| super::list::item(row, parent, 0)).collect())
        };
        // A list that a restore made for itself is the container of both.
        let columns = self.client.get_all(self.of_list(&list, "columns").units(2)).await?;
        told.extend(columns.into_iter().filter_map(|row| super::list::named(ItemKind::Column, row)));
        Ok(told.into_iter().map(|told| rows::present(self, told)).collect())
    }

    async fn create_top(&self, name: &str) -> Result<Made> {
        let body = json!({"displayName": format!("{} ({name})", self.title), "list": {"template": "genericList"}});
        let answer = self.client.send(self.post("lists", &body)).await?;
        let id = rows::new_id(&answer)?;
        self.remember(&id);
        Ok(Made::new(ItemKind::List, id, ""))
    }

    async fn find_top(&self, name: &str) -> Result<Option<Made>> {
        let found = self.find_list(&format!("{} ({name})", self.title)).await?;
        Ok(match found {
            Some(row) => {
                let id = rows::new_id(&row)?;
                self.remember(&id);
                Some(Made::new(ItemKind::List, id, ""))
            }
            None => None,
        })
    }

    async fn create(&self, order: Order<'_>, source: &dyn Source) -> Result<Made> {
        match order.record.kind {
            ItemKind::List => self.create_list(order, source).await,
            ItemKind::Column => {
                let list = self.list_id(order.parent).await?;
                let columns = self.columns(&list, source).await?;
                let json = source.properties(order.record).await?;
                let name = text(&json, &["name"]).unwrap_or_default();
                if columns.there.contains(name) {
                    return Ok(Made { id: order.record.id.clone(), ..Made::default() });
                }
                let refused = columns.refused.get(name).map(|said| format!(": {said}")).unwrap_or_default();
                Err(Error::invalid(format!("Graph does not make this column of {}{refused}", self.path))
                    .with_hint("Make it by hand; export writes its values to a file"))
            }
            _ => {
                let columns = self.columns(order.parent, source).await?;
                let json = source.properties(order.record).await?;
                let fields = columns.fields(&json);
                let notes = columns.lost(&json, &fields, &Value::Null);
                let body = json!({"fields": fields});
                let url = format!("lists/{}/items", segment(order.parent));
                let answer = self.client.send(self.post(&url, &body)).await?;
                let made = Made::new(ItemKind::ListItem, rows::new_id(&answer)?, order.parent);
                Ok(Made { state: tag(&answer), notes, ..made })
            }
        }
    }

    async fn overwrite(&self, present: &str, order: Order<'_>, source: &dyn Source) -> Result<Made> {
        if order.record.kind != ItemKind::ListItem {
            return Ok(Made { id: present.to_owned(), ..Made::default() });
        }
        let list = order.parent;
        let columns = self.columns(list, source).await?;
        let url = format!("lists/{}/items/{}", segment(list), segment(present));
        let there = self.item(&url, columns).await?;
        let json = source.properties(order.record).await?;
        let (mut before, mut fields) = (columns.fields(&there), columns.fields(&json));
        let notes = columns.lost(&json, &fields, &there);
        // Graph leaves out what is empty.
        rows::clear(&mut fields, &before);
        rows::clear(&mut before, &fields);
        let before = json!({"list": list, "fields": before});
        let undo = Undo::Values { kind: ItemKind::ListItem, id: present.to_owned(), before };
        let undo = order.log.note(undo).await?;
        let request = GraphRequest::patch(Scope::Files, self.url(&format!("{url}/fields")), &fields.into());
        self.client.send(request.units(2)).await?;
        let now = self.client.get_json(of_site(&self.site, &url)).await?;
        Ok(Made { state: tag(&now), notes, ..Made::over(present, undo) })
    }

    async fn changed_us(&self, present: &str, parent: &str) -> Result<Option<i64>> {
        rows::changed_us(&self.client, self.of_list(parent, &format!("items/{}", segment(present)))).await
    }

    async fn find(&self, order: Order<'_>, source: &dyn Source) -> Result<Found> {
        match order.record.kind {
            ItemKind::List if !order.parent.is_empty() => {
                Ok(Found::Whole(Made { id: order.parent.to_owned(), ..Made::default() }))
            }
            ItemKind::List => Ok(match self.find_list(order.name).await? {
                Some(row) => rows::as_it_should_be(rows::new_id(&row)?),
                None => Found::Nothing,
            }),
            ItemKind::Column => self.find_column(order, source).await,
            _ => {
                // What has no columns of its own yet is not there.
                let columns = self.columns_there(order.parent).await?;
                let wanted = columns.fields(&source.properties(order.record).await?);
                let items = self.items(order.parent, &columns).await?;
                let same = |row: &&Value| {
                    let has = columns.fields(row);
                    !wanted.is_empty() && wanted.iter().all(|(name, value)| has.get(name) == Some(value))
                };
                // Items may hold the same.
                let alike = items.iter().filter(same).filter_map(id_of).collect();
                let found = rows::free(alike, order, source).await?;
                Ok(found.map_or(Found::Nothing, |id| rows::as_it_should_be(id.to_owned())))
            }
        }
    }

    async fn was_changed(&self, undo: &Undo, since: Since<'_>) -> Result<bool> {
        let (list, id) = match undo {
            Undo::Delete { kind: ItemKind::ListItem, id, parent } => (parent.as_str(), id),
            Undo::Values { id, before, .. } => (text(before, &["list"]).unwrap_or_default(), id),
            _ => return Ok(false),
        };
        let request = self.of_list(list, &format!("items/{}", segment(id)));
        rows::differs(&self.client, request, since, tag).await
    }

    async fn undo(&self, undo: &Undo) -> Result<Option<String>> {
        match undo {
            Undo::Delete { kind: ItemKind::ListItem, id, parent } => {
                let url = format!("lists/{}/items/{}", segment(parent), segment(id));
                rows::delete(&self.client, GraphRequest::delete(Scope::Files, self.url(&url)).units(2)).await
            }
            Undo::Delete { id, .. } => {
                match self.client.get_page(self.of_list(id, "items?$top=1").units(2)).await {
                    Ok(page) if page.rows.values().next().is_some() => return Ok(Some(rows::NOT_EMPTY.to_owned())),
                    Err(error) if rows::is_gone(&error) => return Ok(None),
                    other => drop(other?),
                }
                let url = self.url(&format!("lists/{}", segment(id)));
                rows::delete(&self.client, GraphRequest::delete(Scope::Files, url).units(2)).await
            }
            Undo::Values { id, before, .. } => {
                let list = text(before, &["list"]).unwrap_or_default();
                let url = self.url(&format!("lists/{}/items/{}/fields", segment(list), segment(id)));
                let fields = before.get("fields").cloned().unwrap_or_default();
                rows::delete(&self.client, GraphRequest::patch(Scope::Files, url, &fields).units(2)).await
            }
            other => Ok(rows::left(other)),
        }
    }
}

impl ListTarget {
    fn url(&self, rest: &str) -> String {
        format!("sites/{}/{rest}", segment(&self.site))
    }

    fn post(&self, rest: &str, body: &Value) -> GraphRequest {
        GraphRequest::post(Scope::Files, self.url(rest), body).units(2)
    }

    fn of_list(&self, list: &str, rest: &str) -> GraphRequest {
        of_site(&self.site, &format!("lists/{}/{rest}", segment(list)))
    }

    fn remember(&self, id: &str) {
        *self.list.lock().unwrap_or_else(PoisonError::into_inner) = Some(id.to_owned());
    }

    /// The list that columns go into: the container, or the one of the title.
    async fn list_id(&self, parent: &str) -> Result<String> {
        if !parent.is_empty() {
            return Ok(parent.to_owned());
        }
        let known = self.list.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match known {
            Some(id) => Ok(id),
            None => {
                let found = self.find_list(&self.title).await?;
                let row = found.ok_or_else(|| Error::not_found(format!("{} is not there", self.path)))?;
                rows::new_id(&row)
            }
        }
    }

    async fn find_list(&self, title: &str) -> Result<Option<Value>> {
        let url = format!("lists?$select={LIST_PROPERTIES}&$top=200");
        let all = self.client.get_all(of_site(&self.site, &url).units(2)).await?;
        // The title comes from a path, which holds no slash.
        let same = |row: &Value| {
            text(row, &["displayName"]).is_some_and(|name| clean(name).eq_ignore_ascii_case(&clean(title)))
        };
        Ok(all.into_iter().find(same).map(without_context))
    }

    async fn create_list(&self, order: Order<'_>, source: &dyn Source) -> Result<Made> {
        if !order.parent.is_empty() {
            // The container of its own is a list already.
            self.columns(order.parent, source).await?;
            return Ok(Made { id: order.parent.to_owned(), ..Made::default() });
        }
        let json = source.properties(order.record).await?;
        let template = text(&json, &["list", "template"]).unwrap_or("genericList");
        let mut body = rows::settable(&json, &["description"]);
        body.insert("displayName".into(), order.name.into());
        body.insert("list".into(), json!({"template": template}));
        let answer = self.client.send(self.post("lists", &body.into())).await?;
        let id = rows::new_id(&answer)?;
        self.remember(&id);
        let mut made = Made::new(ItemKind::List, id.clone(), "");
        rows::note(&made, order).await?;
        self.columns(&id, source).await?;
        if template != "genericList" {
            made.notes.push("views and forms of the list are those of its template".to_owned());
        }
        Ok(made)
    }

    /// Looks whether a column is there: making the next one makes all that the list lacks.
    async fn find_column(&self, order: Order<'_>, source: &dyn Source) -> Result<Found> {
        let looked = async {
            let list = self.list_id(order.parent).await?;
            self.columns_there(&list).await
        };
        let columns = match looked.await {
            Err(error) if rows::is_gone(&error) || error.kind() == ErrorKind::NotFound => return Ok(Found::Nothing),
            other => other?,
        };
        let json = source.properties(order.record).await?;
        let is_there = columns.there.contains(text(&json, &["name"]).unwrap_or_default());
        let made = Made { id: order.record.id.clone(), ..Made::default() };
        Ok(if is_there { Found::Whole(made) } else { Found::Nothing })
    }

    /// The columns that the list has now.
    async fn columns_there(&self, list: &str) -> Result<Columns> {
        let now = self.client.get_all(self.of_list(list, "columns").units(2)).await?;
        Ok(Columns::of(&now, self.original))
    }

    /// The items of the list, with all values that are written.
    async fn items(&self, list: &str, columns: &Columns) -> Result<Vec<Value>> {
        let mut items = Vec::new();
        for expansion in columns.expansions() {
            let request = self.of_list(list, &format!("items?$expand={expansion}&$top=200")).units(2);
            let rows = self.client.get_all(request).await?;
            if items.is_empty() {
                items = rows;
                continue;
            }
            let by_id = |row: Value| Some((id_of(&row)?.to_owned(), row));
            let mut more: HashMap<String, Value> = rows.into_iter().filter_map(by_id).collect();
            for item in &mut items {
                let named = id_of(item).and_then(|id| more.remove(id));
                if let Some(named) = named {
                    merge(item, named);
                }
            }
        }
        Ok(items)
    }

    /// The same of one of them.
    async fn item(&self, url: &str, columns: &Columns) -> Result<Value> {
        let mut item = Value::Null;
        for expansion in columns.expansions() {
            let told = self.client.get_json(of_site(&self.site, &format!("{url}?$expand={expansion}"))).await?;
            if item.is_null() {
                item = told;
            } else {
                merge(&mut item, told);
            }
        }
        Ok(item)
    }

    /// Makes the columns that the list lacks, and says what it has then.
    async fn columns(&self, list: &str, source: &dyn Source) -> Result<&Columns> {
        self.columns
            .get_or_try_init(|| async {
                let top = Record::new(ItemKind::List, "", "", "");
                let wanted = source.below(&top).await?;
                let there = self.client.get_all(self.of_list(list, "columns").units(2)).await?;
                let (mut refused, mut titles) = (BTreeMap::new(), BTreeMap::new());
                for record in wanted.iter().filter(|record| record.kind == ItemKind::Column) {
                    let json = source.properties(record).await?;
                    let name = text(&json, &["name"]).unwrap_or_default();
                    if !is_own(&json) {
                        titles.insert(name.to_owned(), record.name.clone());
                    }
                    if there.iter().any(|row| text(row, &["name"]) == Some(name)) {
                        continue;
                    }
                    let Some(body) = column(&json) else { continue };
                    let url = format!("lists/{}/columns", segment(list));
                    match self.client.send(self.post(&url, &body.into())).await {
                        // One column that Graph does not take keeps nothing else from coming back.
                        Err(e) if matches!(e.kind(), ErrorKind::InvalidInput | ErrorKind::NotFound) => {
                            refused.insert(name.to_owned(), e.to_string());
                        }
                        Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(e),
                        _ => {}
                    }
                }
                let mut columns = self.columns_there(list).await?;
                (columns.refused, columns.titles) = (refused, titles);
                Ok(columns)
            })
            .await
    }
}

/// What tells a state of an item from every other one; SharePoint counts it on with each change.
fn tag(item: &Value) -> String {
    text(item, &["eTag"]).unwrap_or_default().to_owned()
}

/// What Graph makes a column by.
fn makable(json: &Value) -> Option<&'static str> {
    FACETS.iter().copied().find(|facet| at(json, &[facet]).is_some())
}

/// Says whether SharePoint makes a column itself.
fn is_own(json: &Value) -> bool {
    let name = text(json, &["name"]).unwrap_or_default();
    let is_fixed = ["readOnly", "isSealed", "hidden"].iter().any(|key| flag(json, &[key]) == Some(true));
    is_fixed || name == "Title" || name.starts_with('_') || STANDARD.contains(&name)
}

/// What holds the values of a column that people made and Graph does not make: a fact of its record, so that a plan can say
/// so. Empty for all others.
pub(super) fn facet_not_made(json: &Value) -> &'static str {
    if is_own(json) || makable(json).is_some() {
        return "";
    }
    NOT_MADE.iter().copied().find(|facet| at(json, &[facet]).is_some()).unwrap_or("other")
}

/// Why Graph does not make a column, as far as its record tells.
pub(in crate::m365) fn not_made(record: &Record) -> Option<String> {
    let facet = record.fact(NOT_MADE_FACT)?;
    Some(format!("Graph makes no columns of its kind ({facet}): it and its values are left out"))
}

/// What is sent to make a column; `None`: SharePoint makes it, or Graph cannot.
pub(in crate::m365) fn column(json: &Value) -> Option<Map<String, Value>> {
    if is_own(json) {
        return None;
    }
    let facet = makable(json)?;
    let mut body = rows::settable(json, COLUMN);
    body.extend(rows::settable(json, &[facet]));
    Some(body)
}
