//! What a site is made of goes back: columns and content types that it lacks.
//!
//! Graph makes a content type by its name and the type that it builds upon; its id is new, and columns that were added to it
//! are named, not added. Apps' grants and the site itself are not made.
//! Source: Microsoft Graph, "Create a columnDefinition in a site", "Create a contentType"; SharePoint, "Content Type IDs".

use async_trait::async_trait;
use serde_json::{Value, json};

use super::Destination;
use super::door::{Cost, Fit, Found, Made, Order, Present, Source, Target, Undo};
use super::rows;
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{ItemKind, Record};
use crate::graph::links::segment;
use crate::graph::{Client, GraphRequest, Scope};
use crate::m365::door::{Owner, Workload};
use crate::m365::facts::text;
use crate::m365::sites::restore::{column, not_made};
use crate::m365::sites::{named, of_site};
use crate::m365::walk::{Told, id_of};

/// What of a content type can be set.
const TYPE: &[&str] = &["description", "group", "name"];
/// Columns that each content type has.
const OF_EVERY_TYPE: &[&str] = &["Title", "ContentType"];

/// One site.
pub(super) struct SiteTarget {
    client: Client,
    site: String,
    path: String,
}

impl SiteTarget {
    /// The site of a destination.
    ///
    /// # Errors
    /// `InvalidInput` if the owner is no site.
    pub(super) fn new(client: &Client, to: &Destination) -> Result<Self> {
        let Owner::Site(site) = &to.owner else {
            return Err(Error::invalid(format!("Site columns can go into a site only, not into {}", to.name))
                .with_hint("name a site with --to"));
        };
        let path = format!("{}/{}/{}", to.owner.word(), to.name, Workload::Site.title());
        Ok(Self { client: client.clone(), site: site.clone(), path })
    }

    fn url(&self, kind: ItemKind) -> Result<String> {
        let list = match kind {
            ItemKind::Column => "columns",
            ItemKind::ContentType => "contentTypes",
            kind => return Err(rows::no_place(kind)),
        };
        Ok(format!("sites/{}/{list}", segment(&self.site)))
    }

    async fn all(&self, kind: ItemKind) -> Result<Vec<Present>> {
        let request = GraphRequest::get(Scope::Files, self.url(kind)?).units(2);
        let rows = self.client.get_all(request).await?;
        Ok(rows.into_iter().filter_map(|row| named(kind, row)).map(|told| rows::present(self, told)).collect())
    }
}

#[async_trait]
impl Target for SiteTarget {
    fn workload(&self) -> Workload {
        Workload::Site
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

    fn takes_folder(&self) -> bool {
        false
    }

    fn tells_changes(&self) -> bool {
        false
    }

    async fn probe(&self) -> Result<()> {
        self.client.get_json(of_site(&self.site, "?$select=id")).await.map(drop)
    }

    fn fit(&self, record: &Record) -> Fit {
        match record.kind {
            ItemKind::Column => match not_made(record) {
                Some(why) => Fit::Cannot(why),
                None => Fit::Takes(Cost { requests: 1, units: 2, bytes: 300 }),
            },
            ItemKind::ContentType => Fit::Takes(Cost { requests: 1, units: 2, bytes: 300 }),
            ItemKind::Setting => Fit::Cannot("a site and its name are not made through Graph".to_owned()),
            ItemKind::Permission => Fit::Cannot("what apps may do with a site is given by hand".to_owned()),
            kind => Fit::Cannot(format!("a {} is no part of a site", kind.word())),
        }
    }

    /// Types may build upon columns.
    fn rank(&self, kind: ItemKind) -> u8 {
        u8::from(kind != ItemKind::Column)
    }

    fn stays(&self, _: &Record) -> Option<&'static str> {
        Some("it is there already: lists and items of the site rest on it")
    }

    fn identity(&self, record: &Record) -> String {
        match record.kind {
            // There is one.
            ItemKind::Setting => "site".to_owned(),
            ItemKind::Column => format!("column\n{}", record.fact("field").unwrap_or_default()),
            kind => format!("{}\n{}", kind.word(), record.name.to_lowercase()),
        }
    }

    fn state(&self, _: &Record) -> String {
        String::new()
    }

    async fn present(&self, _: &str) -> Result<Vec<Present>> {
        let mut all = self.all(ItemKind::Column).await?;
        all.extend(self.all(ItemKind::ContentType).await?);
        let site = Told::new(ItemKind::Setting, &*self.site, "", "", Value::Null);
        all.push(rows::present(self, site));
        Ok(all)
    }

    async fn create_top(&self, _: &str) -> Result<Made> {
        Err(rows::no_place(ItemKind::Setting))
    }

    async fn find_top(&self, _: &str) -> Result<Option<Made>> {
        Ok(None)
    }

    async fn create(&self, order: Order<'_>, source: &dyn Source) -> Result<Made> {
        let kind = order.record.kind;
        let json = source.properties(order.record).await?;
        let (body, notes) = match kind {
            ItemKind::Column => {
                let own = || Error::invalid("SharePoint makes this column itself, and has not made it here");
                (column(&json).ok_or_else(own)?, Vec::new())
            }
            _ => {
                let base = base_of(&json).ok_or_else(|| Error::invalid("It does not say which type it builds upon"))?;
                let mut body = rows::settable(&json, TYPE);
                body.insert("base".into(), base);
                (body, columns_left_out(&json).into_iter().collect())
            }
        };
        let request = GraphRequest::post(Scope::Files, self.url(kind)?, &body.into()).units(2);
        let id = rows::new_id(&self.client.send(request).await?)?;
        Ok(Made { notes, ..Made::new(kind, id, "") })
    }

    async fn overwrite(&self, _: &str, order: Order<'_>, _: &dyn Source) -> Result<Made> {
        let text = format!("'{}' is not overwritten: lists and items of the site rest on it", order.record.name);
        Err(Error::new(ErrorKind::InvalidInput, text).with_hint("Change it by hand"))
    }

    async fn find(&self, order: Order<'_>, _: &dyn Source) -> Result<Found> {
        let identity = self.identity(order.record);
        let there = self.all(order.record.kind).await?.into_iter().find(|there| there.identity == identity);
        Ok(there.map_or(Found::Nothing, |there| rows::as_it_should_be(there.id)))
    }

    async fn undo(&self, undo: &Undo) -> Result<Option<String>> {
        match undo {
            Undo::Delete { kind, id, .. } => {
                let url = format!("{}/{}", self.url(*kind)?, segment(id));
                rows::delete(&self.client, GraphRequest::delete(Scope::Files, url).units(2)).await
            }
            other => Ok(rows::left(other)),
        }
    }
}

/// The type that a content type builds upon, as Graph tells it or as the type's own id does: that begins with its parent's.
fn base_of(json: &Value) -> Option<Value> {
    let base = json.get("base");
    let name = base.and_then(|base| text(base, &["name"]));
    let told = base.and_then(id_of).or_else(|| text(json, &["parentId"]));
    let id = told.or_else(|| parent_of(id_of(json)?))?;
    Some(match name {
        Some(name) => json!({"id": id, "name": name}),
        None => json!({"id": id}),
    })
}

/// The id of a content type's parent: without the two digits, or the 00 and the 32 digits, that were added for the child.
fn parent_of(id: &str) -> Option<&str> {
    let digits = id.strip_prefix("0x")?;
    let long = digits.len().checked_sub(34).filter(|at| *at > 0 && digits.get(*at..*at + 2) == Some("00"));
    let at = long.or_else(|| digits.len().checked_sub(2).filter(|at| *at > 0))?;
    id.get(..at + 2)
}

fn columns_left_out(json: &Value) -> Option<String> {
    let columns = json.get("columns").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let names = columns.iter().filter(|column| !OF_EVERY_TYPE.contains(&text(column, &["name"]).unwrap_or_default()));
    let names: Vec<&str> = names.filter_map(|column| text(column, &["displayName"])).collect();
    (!names.is_empty()).then(|| format!("it has the columns of the type it builds upon; it had {}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_builds_upon_the_one_that_its_id_begins_with() {
        let long = format!("0x010100{}", "A".repeat(32));
        for (id, parent) in [
            ("0x0101", Some("0x01")),
            ("0x010102", Some("0x0101")),
            (&*long, Some("0x0101")),
            (&*format!("{long}03"), Some(&*long)),
            ("0x01", None),
            ("0x", None),
            ("", None),
            ("none", None),
        ] {
            assert_eq!(parent_of(id), parent, "{id}");
        }
        assert_eq!(base_of(&json!({"id": long, "parentId": "0x01"})), Some(json!({"id": "0x01"})));
        let told = json!({"id": long, "base": {"id": "0x01", "name": "Item", "x": 1}});
        assert_eq!(base_of(&told), Some(json!({"id": "0x01", "name": "Item"})));
    }

    #[test]
    fn columns_of_its_own_are_named() {
        let columns = |names: &[&str]| {
            let all: Vec<Value> = names.iter().map(|name| json!({"name": name, "displayName": name})).collect();
            columns_left_out(&json!({ "columns": all }))
        };
        assert_eq!(columns(&["Title", "ContentType"]), None);
        assert!(columns(&["Title", "Colour"]).is_some_and(|note| note.ends_with("it had Colour")));
    }
}
