//! Lists of a site: columns of all kinds, items as a few numbers each. What an item says follows from its seed, its
//! revision and the column.

use serde_json::{Map, Value, json};

use super::reply::Reply;
use super::rng::{Rng, guid, hash};
use super::shelf::{self, Kind, Shelf, TOP};
use super::state::User;
use super::{times, words};

/// An item of a list. Its mark: the attachments that people put to it.
pub(super) static ITEM: Kind = Kind { name: "listItem", id: item_id, json: bare, content: shelf::nothing };

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    Text,
    Note,
    Number,
    Currency,
    Boolean,
    Date,
    Choice,
    Choices,
    Lookup,
    Person,
    Link,
    Term,
    Calculated,
    /// Several looked-up items.
    Lookups,
    /// Several people.
    People,
    /// Nobody ever put anything there.
    Unused,
    /// Made by SharePoint for every list.
    Standard,
}

/// The kinds of columns that people make.
const KINDS: &[Holds] = &[
    Holds::Text,
    Holds::Note,
    Holds::Number,
    Holds::Boolean,
    Holds::Date,
    Holds::Choice,
    Holds::Choices,
    Holds::Lookup,
    Holds::Person,
    Holds::Link,
    Holds::Term,
    Holds::Calculated,
    Holds::Currency,
    Holds::Lookups,
    Holds::People,
];

/// A column.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) title: String,
    pub(super) holds: Holds,
    seed: u64,
    /// When it was made: what was written before has nothing in it.
    since: i64,
    /// What a client gave of it.
    given: Map<String, Value>,
}

impl Column {
    /// Whether values can be put into it here: it is one that people make, of a kind that Graph writes.
    pub(super) fn is_writable(&self) -> bool {
        match self.holds {
            Holds::Standard => self.name == "Title",
            Holds::Calculated | Holds::Link | Holds::Term => false,
            _ => true,
        }
    }

    /// Says whether it names several things by their ids.
    pub(super) fn names_several(&self) -> bool {
        matches!(self.holds, Holds::Lookups | Holds::People)
    }
}

/// Several things as a field that names them tells them.
pub(super) fn several(named: impl Iterator<Item = (u64, String)>) -> Value {
    named.map(|(id, text)| json!({"LookupId": id, "LookupValue": text})).collect()
}

/// A list.
#[derive(Debug)]
pub(super) struct SiteList {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) title: String,
    pub(super) template: &'static str,
    pub(super) system: bool,
    /// Keeps earlier versions of its items.
    pub(super) versioned: bool,
    pub(super) columns: Vec<Column>,
    /// How many columns were ever made.
    made: u64,
    /// Counts changes of name and columns.
    pub(super) schema: u32,
    pub(super) created: i64,
    pub(super) changed: i64,
    /// How many people may use it beside its owners.
    pub(super) people: u32,
    pub(super) items: Shelf,
}

/// Columns that every list has, and the names under which their values show.
const STANDARD: &[(&str, &str)] = &[
    ("Title", "Title"),
    ("Created", "Created"),
    ("Modified", "Modified"),
    ("Author", "Created By"),
    ("Editor", "Modified By"),
    ("Attachments", "Attachments"),
    ("_UIVersionString", "Version"),
];

/// Titles that are no good as file names.
const HOSTILE: &[&str] =
    &["../../up", "CON", "a/b\\c:d", "", "\u{202e}gpj.exe", "Ünïcödé ☃ 日本語", ".", "nul\u{7}bell"];

/// The id of an item: the number that SharePoint gives.
fn item_id(_: u64, number: u32) -> String {
    (number + 1).to_string()
}

fn bare(_: &super::letter::Cast, shelf: &Shelf, number: u32) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert("id".into(), shelf.id(number).into());
    map
}

impl SiteList {
    /// Makes an empty list as a client gave it.
    pub(super) fn given(seed: u64, title: &str, template: &'static str, now: i64) -> Self {
        let mut list = Self::new(seed, title, template, (0, 0));
        (list.created, list.changed) = (now, now);
        list
    }

    /// Makes a list with so many items and columns of its own.
    pub(super) fn new(seed: u64, title: &str, template: &'static str, (items, columns): (u32, usize)) -> Self {
        let mut rng = Rng::new(seed, &[1]);
        let created = times::EPOCH - 200 * times::DAY;
        let mut list = Self {
            id: guid(seed),
            name: title.replace(' ', ""),
            title: title.to_owned(),
            template,
            system: false,
            versioned: template != "events",
            columns: Vec::new(),
            made: 0,
            schema: 1,
            created,
            changed: created,
            people: 1,
            items: Shelf::new(seed),
        };
        for (name, title) in STANDARD {
            list.add_column(name, title, Holds::Standard, 0);
        }
        (0..columns).for_each(|_| list.add_own_column(0));
        for _ in 0..items {
            let number = list.items.add(&ITEM, TOP, created + rng.below(190 * times::DAY as u64) as i64, 0);
            list.items.things[number as usize].mark = u32::from(rng.chance(0.2));
            for _ in 0..rng.below(4) / 2 {
                let at = list.items.thing(number).changed + 7_200;
                list.items.edit(number, at);
            }
        }
        list.items.begin();
        list
    }

    fn add_column(&mut self, name: &str, title: &str, holds: Holds, since: i64) {
        let seed = hash(self.items.seed, &[0xc01, self.made]);
        self.made += 1;
        self.columns.push(Column {
            id: guid(seed),
            name: name.to_owned(),
            title: title.to_owned(),
            holds,
            seed,
            since,
            given: Map::new(),
        });
    }

    /// Adds a column as a client gave it.
    pub(super) fn add_given_column(&mut self, holds: Holds, given: Map<String, Value>, now: i64) {
        let text = |key: &str| given.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (name, title) = (text("name"), text("displayName"));
        self.add_column(&name, if title.is_empty() { &name } else { &title }, holds, now);
        if let Some(column) = self.columns.last_mut() {
            column.given = given;
        }
        self.touch(now);
    }

    /// Adds a column of the next kind.
    pub(super) fn add_own_column(&mut self, since: i64) {
        let number = self.made as usize - STANDARD.len();
        let title = words::title(&mut Rng::new(self.items.seed, &[0x0c, self.made]), 2);
        let name = format!("{}_x0020_{number}", title.replace(' ', "_x0020_"));
        self.add_column(&name, &title, KINDS[number % KINDS.len()], since);
    }

    /// Adds a column that stays empty.
    pub(super) fn add_unused_column(&mut self, now: i64) {
        self.add_column(&format!("Unused{}", self.made), "Unused", Holds::Unused, now);
    }

    /// Notes that name or columns changed.
    pub(super) fn touch(&mut self, now: i64) {
        self.schema += 1;
        self.changed = now;
    }

    /// The list itself.
    pub(super) fn json(&self, site_url: &str) -> Value {
        let mut json = json!({
            "@odata.etag": format!("\"{},{}\"", self.id, self.schema),
            "createdDateTime": times::graph(self.created),
            "description": "",
            "eTag": format!("\"{},{}\"", self.id, self.schema),
            "id": self.id,
            "lastModifiedDateTime": times::graph(self.changed),
            "name": self.name,
            "webUrl": format!("{site_url}/Lists/{}", self.name),
            "displayName": self.title,
            "list": {"contentTypesEnabled": false, "hidden": self.system, "template": self.template},
        });
        if self.system {
            json["system"] = json!({});
        }
        json
    }

    /// Who may use it.
    pub(super) fn permissions_json(&self) -> Vec<Value> {
        let row = |id: String, role: &str, who: Value| json!({"id": id, "roles": [role], "grantedToV2": who});
        let owners = row("owners".into(), "owner", json!({"siteGroup": {"id": "3", "displayName": "Site Owners"}}));
        let person = |n: u32| {
            let name = format!("Reader {n} (§{})", self.schema);
            row(format!("p{n}"), "read", json!({"user": {"id": n.to_string(), "displayName": name}}))
        };
        [owners].into_iter().chain((0..self.people).map(person)).collect()
    }

    /// The columns, as Graph tells them.
    pub(super) fn columns_json(&self) -> Vec<Value> {
        self.columns.iter().map(column_json).collect()
    }

    /// The content types.
    pub(super) fn types_json(&self) -> Vec<Value> {
        let row = |prefix: &str, name: &str, base: &str| {
            json!({
                "id": format!("{prefix}00{}", self.id.replace('-', "").to_uppercase()),
                "description": "",
                "group": "List Content Types",
                "hidden": false,
                "name": name,
                "base": {"name": name, "id": base},
                "columns": self.columns.iter().map(column_json).collect::<Vec<Value>>(),
                "columnLinks": self.columns.iter().map(|c| json!({"id": c.id, "name": c.name})).collect::<Vec<Value>>(),
            })
        };
        vec![row("0x01", "Item", "0x01"), row("0x0120", "Folder", "0x0120")]
    }

    /// How many versions an item has, the present one included.
    pub(super) fn version_count(&self, number: u32) -> u32 {
        if self.versioned { self.items.thing(number).revision + 1 } else { 1 }
    }

    /// An item; `named`: the fields that were asked for, all usual ones otherwise, none at all without an expansion.
    pub(super) fn item(&self, by: &User, number: u32, site_url: &str, named: Fields<'_>) -> Result<Value, Reply> {
        let thing = self.items.thing(number);
        let tag = guid(hash(thing.seed, &[0xe7]));
        let person = json!({"user": {"email": by.person.address, "id": by.id, "displayName": by.person.name}});
        let mut json = json!({
            "@odata.etag": format!("\"{tag},{}\"", thing.revision + 1),
            "createdDateTime": times::graph(thing.created),
            "eTag": format!("\"{tag},{}\"", thing.revision + 1),
            "id": self.items.id(number),
            "lastModifiedDateTime": times::graph(thing.changed),
            "webUrl": format!("{site_url}/Lists/{}/{}_.000", self.name, number + 1),
            "createdBy": person,
            "lastModifiedBy": person,
            "parentReference": {"id": guid(hash(self.items.seed, &[3])), "siteId": guid(hash(self.items.seed, &[4]))},
            "contentType": {"id": "0x0100", "name": "Item"},
        });
        if named != Fields::None {
            json["fields"] = self.fields(by, number, (thing.revision, thing.changed), named)?;
        }
        Ok(json)
    }

    /// What remains of a deleted item in a delta.
    pub(super) fn deleted(&self, number: u32) -> Value {
        json!({
            "id": self.items.id(number),
            "parentReference": {"siteId": guid(hash(self.items.seed, &[4]))},
            "contentType": {"id": "0x0100", "name": "Item"},
            "deleted": {"state": "deleted"},
        })
    }

    /// The versions of an item, newest first.
    pub(super) fn versions(&self, by: &User, number: u32, named: Fields<'_>) -> Result<Vec<Value>, Reply> {
        let thing = self.items.thing(number);
        let count = self.version_count(number);
        let rows = (0..count).rev().map(|version| {
            let last = version + 1 == count;
            let at = if last { thing.changed } else { thing.created + i64::from(version) * 3_600 };
            let mut json = json!({
                "id": format!("{}.0", version + 1),
                "lastModifiedDateTime": times::graph(at),
                "lastModifiedBy": {"user": {"id": by.id, "displayName": by.person.name}},
            });
            if named != Fields::None {
                let revision = if last { thing.revision } else { version };
                json["fields"] = self.fields(by, number, (revision, at), named)?;
            }
            Ok(json)
        });
        rows.collect()
    }

    fn fields(&self, by: &User, number: u32, (revision, at): (u32, i64), named: Fields<'_>) -> Result<Value, Reply> {
        let mut all: Map<String, Value> = Map::new();
        let thing = self.items.thing(number);
        for column in self.columns.iter().filter(|column| column.since <= at) {
            let mut rng = Rng::new(thing.seed, &[revision.into(), column.seed]);
            if thing.is_written() && (column.holds != Holds::Standard || column.name == "Title") {
                continue;
            }
            for (name, value) in values(self, column, by, number, revision, &mut rng) {
                all.insert(name, value);
            }
        }
        if let Some(Value::Object(given)) = thing.given.get(FIELDS) {
            all.extend(given.clone());
        }
        let mut out = Map::new();
        out.insert("@odata.etag".into(), format!("\"{},{}\"", guid(hash(thing.seed, &[0xe7])), revision + 1).into());
        out.insert("id".into(), self.items.id(number).into());
        match named {
            Fields::Named(names) => {
                for name in names {
                    let base = name.strip_suffix("LookupId").unwrap_or(name);
                    if !self.columns.iter().any(|c| c.name == *name || c.name == base) {
                        let message = format!("Field '{name}' is not recognized.");
                        return Err(Reply::fail(400, "invalidRequest", &message));
                    }
                    if let Some(value) = all.get(*name).filter(|value| !value.is_null()) {
                        out.insert((*name).into(), value.clone());
                    }
                }
            }
            _ => {
                // Neither hidden fields nor what a lookup shows come by themselves.
                let shown = |name: &str| {
                    let looks_up = format!("{name}LookupId");
                    let names_several = self.columns.iter().any(|c| c.name == name && c.names_several());
                    !name.starts_with('_') && !all.contains_key(&looks_up) && !names_several
                };
                let usual = all.iter().filter(|(name, value)| shown(name) && !value.is_null());
                out.extend(usual.map(|(name, value)| (name.clone(), value.clone())));
            }
        }
        Ok(out.into())
    }

    /// All names that can be asked for.
    pub(super) fn field_names(&self) -> Vec<String> {
        let looks_up =
            |c: &&Column| matches!(c.holds, Holds::Lookup | Holds::Person) || c.name == "Author" || c.name == "Editor";
        let plain = self.columns.iter().map(|c| c.name.clone());
        plain.chain(self.columns.iter().filter(looks_up).map(|c| format!("{}LookupId", c.name))).collect()
    }
}

/// The fields that a client gave an item.
pub(super) const FIELDS: &str = "~fields";

/// Which fields an answer carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fields<'a> {
    None,
    Usual,
    Named(&'a [&'a str]),
}

fn column_json(column: &Column) -> Value {
    let facet = match column.holds {
        Holds::Text => ("text", json!({"allowMultipleLines": false, "maxLength": 255})),
        Holds::Note => ("text", json!({"allowMultipleLines": true, "textType": "richText"})),
        Holds::Number => ("number", json!({"decimalPlaces": "automatic"})),
        Holds::Currency => ("currency", json!({"locale": "de-DE"})),
        Holds::Boolean => ("boolean", json!({})),
        Holds::Date => ("dateTime", json!({"format": "dateOnly"})),
        Holds::Choice => ("choice", json!({"allowTextEntry": false, "choices": ["Red", "Grün", "青"]})),
        Holds::Choices => ("choice", json!({"allowTextEntry": true, "choices": ["A", "B"], "displayAs": "checkBoxes"})),
        Holds::Lookup => ("lookup", json!({"columnName": "Title", "allowMultipleValues": false})),
        Holds::Lookups => ("lookup", json!({"columnName": "Title", "allowMultipleValues": true})),
        Holds::Person => ("personOrGroup", json!({"chooseFromType": "peopleOnly"})),
        Holds::People => ("personOrGroup", json!({"allowMultipleSelection": true, "chooseFromType": "peopleOnly"})),
        Holds::Link => ("hyperlinkOrPicture", json!({"isPicture": false})),
        Holds::Term => ("term", json!({"allowMultipleValues": false})),
        Holds::Unused => ("text", json!({})),
        Holds::Calculated => ("calculated", json!({"formula": "=1+1", "outputType": "number"})),
        Holds::Standard => match column.name.as_str() {
            "Created" | "Modified" => ("dateTime", json!({"format": "dateTime"})),
            "Author" | "Editor" => ("personOrGroup", json!({"chooseFromType": "peopleOnly"})),
            _ => ("text", json!({"allowMultipleLines": false, "maxLength": 255})),
        },
    };
    let mut json = json!({
        "columnGroup": "Custom Columns",
        "description": "",
        "displayName": column.title,
        "enforceUniqueValues": false,
        "hidden": false,
        "id": column.id,
        "indexed": false,
        "name": column.name,
        "readOnly": column.holds == Holds::Standard && column.name != "Title",
        "required": false,
        facet.0: facet.1,
    });
    if let Some(json) = json.as_object_mut() {
        json.extend(column.given.clone());
    }
    json
}

/// The values that an item has in a column, by the names of fields.
fn values(
    list: &SiteList,
    column: &Column,
    by: &User,
    number: u32,
    revision: u32,
    rng: &mut Rng,
) -> Vec<(String, Value)> {
    let thing = list.items.thing(number);
    let looked_up = |id: u64, text: &str| {
        let name = format!("{}LookupId", column.name);
        vec![(column.name.clone(), json!(text)), (name, json!(id.to_string()))]
    };
    // One in six has nothing there.
    let empty = rng.chance(0.16) && column.holds != Holds::Standard;
    let value = match column.holds {
        _ if empty => Value::Null,
        Holds::Text => words::title(rng, 3).into(),
        Holds::Note => {
            format!("<div>{} {}</div>", rng.pick(words::FOREIGN), words::paragraphs(rng, 30).join("\n")).into()
        }
        Holds::Number => json!(rng.below(1_000_000) as f64 / 8.0),
        Holds::Currency => json!(rng.below(10_000)),
        Holds::Boolean => rng.chance(0.5).into(),
        Holds::Date => times::graph(times::EPOCH - rng.below(9_000) as i64 * times::DAY).into(),
        Holds::Choice => json!(rng.pick(&["Red", "Grün", "青"])),
        Holds::Choices => json!(["A", "B"]),
        Holds::Lookup => return looked_up(1 + rng.below(9), &words::title(rng, 1)),
        Holds::Person => return looked_up(6 + rng.below(3), &by.person.name),
        // Whom they are shown as follows from the ids.
        Holds::Lookups => several((0..1 + rng.below(3)).map(|n| (1 + n, format!("Entry {}", 1 + n)))),
        Holds::People => several((0..1 + rng.below(3)).map(|n| (6 + n, by.person.name.clone()))),
        Holds::Link => json!({"Description": words::title(rng, 1), "Url": "https://example.org/?a=b&c=d"}),
        Holds::Term => json!({"Label": "3", "TermGuid": guid(rng.next()), "WssId": 3}),
        Holds::Unused => Value::Null,
        Holds::Calculated => json!("2.00000000000000"),
        Holds::Standard => match column.name.as_str() {
            "Title" if thing.seed.is_multiple_of(4) => json!(HOSTILE[(thing.seed / 4) as usize % HOSTILE.len()]),
            "Title" => words::title(rng, 3).into(),
            "Created" => times::graph(thing.created).into(),
            "Modified" => times::graph(thing.changed).into(),
            "Author" | "Editor" => return looked_up(6, &by.person.name),
            "Attachments" => (thing.mark > 0).into(),
            _ => format!("{}.0", if list.versioned { revision + 1 } else { 1 }).into(),
        },
    };
    vec![(column.name.clone(), value)]
}
