//! The term store goes back: groups, sets, terms in their tree.
//!
//! Graph gives new ids to all of them, so what names a term by its id does not find it again; which terms are deprecated, how they
//! are sorted and where they are used again is not told or not made. Source: Microsoft Graph, "Create termStore group", "Create
//! termStore set", "Create term".

use async_trait::async_trait;
use serde_json::{Value, json};

use super::Destination;
use super::door::{Cost, Fit, Found, Made, Order, Present, Since, Source, Target, Undo};
use super::rows;
use crate::error::{Error, Result};
use crate::format::record::{ItemKind, Record};
use crate::graph::links::segment;
use crate::graph::{Client, GraphRequest, Scope};
use crate::m365::door::{Owner, Workload};
use crate::m365::sites::{is_own, localized};
use crate::m365::walk::{Told, id_of};

/// What of groups, sets and terms can be set.
const GROUP: &[&str] = &["description", "displayName"];
const SET: &[&str] = &["description", "localizedNames", "properties"];
const TERM: &[&str] = &["descriptions", "labels", "properties"];

/// The tenant's term store.
pub(super) struct Terms {
    client: Client,
    path: String,
}

impl Terms {
    /// The term store of a destination.
    ///
    /// # Errors
    /// `InvalidInput` if it is not the tenant's: groups of a site's own come with the site.
    pub(super) fn new(client: &Client, to: &Destination) -> Result<Self> {
        if to.owner != Owner::Tenant {
            return Err(Error::invalid(
                "Groups of terms can go into the tenant's term store only, not into a site's own part",
            )
            .with_hint("export writes them to a folder"));
        }
        Ok(Self { client: client.clone(), path: format!("{}/{}", to.owner.word(), Workload::TermStore.title()) })
    }
}

fn url(rest: &str) -> String {
    format!("sites/root/termStore/{rest}")
}

fn get(rest: &str) -> GraphRequest {
    GraphRequest::get(Scope::Files, url(rest)).units(2)
}

/// What is below a set, or below a term, which is named with its set.
fn children(parent: &str) -> String {
    match parent.split_once('/') {
        Some((set, term)) => format!("sets/{}/terms/{}/children", segment(set), segment(term)),
        None => format!("sets/{}/children", segment(parent)),
    }
}

#[async_trait]
impl Target for Terms {
    fn workload(&self) -> Workload {
        Workload::TermStore
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn scope(&self) -> Scope {
        Scope::Files
    }

    fn permission(&self) -> &'static str {
        "TermStore.ReadWrite.All"
    }

    fn takes_folder(&self) -> bool {
        false
    }

    async fn probe(&self) -> Result<()> {
        self.client.get_json(GraphRequest::get(Scope::Files, "sites/root/termStore")).await.map(drop)
    }

    fn fit(&self, record: &Record) -> Fit {
        match record.kind {
            ItemKind::TermGroup | ItemKind::TermSet | ItemKind::Term => {
                Fit::Takes(Cost { requests: 1, units: 2, bytes: 300 })
            }
            _ => Fit::Cannot("the store's languages, and where terms are used again, are not restored".to_owned()),
        }
    }

    fn stays(&self, _: &Record) -> Option<&'static str> {
        Some("it is there already: what is there of the term store is left as it is")
    }

    fn identity(&self, record: &Record) -> String {
        record.name.to_lowercase()
    }

    fn state(&self, _: &Record) -> String {
        String::new()
    }

    async fn present(&self, parent: &str) -> Result<Vec<Present>> {
        let told = |kind: ItemKind, id: String, name: String, row: Value| {
            rows::present(self, Told::new(kind, id, parent, &name, row).dated())
        };
        if parent.is_empty() {
            let rows = self.client.get_all(get("groups")).await?;
            let groups = rows.into_iter().filter(|row| !is_own(row)).filter_map(|row| {
                let name = row.get("displayName")?.as_str()?.to_owned();
                Some(told(ItemKind::TermGroup, id_of(&row)?.to_owned(), name, row))
            });
            return Ok(groups.collect());
        }
        // A group's id looks like a set's: a group lists its sets.
        let sets = match parent.contains('/') {
            true => None,
            false => match self.client.get_all(get(&format!("groups/{}/sets", segment(parent)))).await {
                Err(error) if rows::is_gone(&error) => None,
                other => Some(other?),
            },
        };
        if let Some(sets) = sets {
            let sets = sets.into_iter().filter_map(|row| {
                let name = localized(&row, "localizedNames");
                Some(told(ItemKind::TermSet, id_of(&row)?.to_owned(), name, row))
            });
            return Ok(sets.collect());
        }
        let set = parent.split_once('/').map_or(parent, |(set, _)| set);
        let terms = self.client.get_all(get(&children(parent))).await?.into_iter().filter_map(|row| {
            let name = localized(&row, "labels");
            Some(told(ItemKind::Term, format!("{set}/{}", id_of(&row)?), name, row))
        });
        Ok(terms.collect())
    }

    async fn create_top(&self, _: &str) -> Result<Made> {
        Err(rows::no_place(ItemKind::TermGroup))
    }

    async fn find_top(&self, _: &str) -> Result<Option<Made>> {
        Ok(None)
    }

    async fn create(&self, order: Order<'_>, source: &dyn Source) -> Result<Made> {
        let json = source.properties(order.record).await?;
        let (place, body) = match order.record.kind {
            ItemKind::TermGroup => {
                let mut body = rows::settable(&json, &["description"]);
                body.insert("displayName".into(), order.name.into());
                ("groups".to_owned(), body)
            }
            ItemKind::TermSet => {
                let mut body = rows::settable(&json, SET);
                body.insert("parentGroup".into(), json!({"id": order.parent}));
                ("sets".to_owned(), body)
            }
            _ => (children(order.parent), rows::settable(&json, TERM)),
        };
        let request = GraphRequest::post(Scope::Files, url(&place), &body.into()).units(2);
        let answer = self.client.send(request).await?;
        let id = rows::new_id(&answer)?;
        let id = match order.record.kind {
            ItemKind::Term => format!("{}/{id}", order.parent.split('/').next().unwrap_or_default()),
            _ => id,
        };
        let kind = order.record.kind;
        Ok(Made { state: held(kind, &answer), ..Made::new(kind, id, order.parent) })
    }

    async fn overwrite(&self, present: &str, _: Order<'_>, _: &dyn Source) -> Result<Made> {
        let notes = vec!["what is there of the term store is left as it is".to_owned()];
        Ok(Made { id: present.to_owned(), notes, ..Made::default() })
    }

    async fn find(&self, order: Order<'_>, _: &dyn Source) -> Result<Found> {
        let wanted = self.identity(order.record);
        let found = self.present(order.parent).await?.into_iter().find(|one| one.identity == wanted);
        Ok(found.map_or(Found::Nothing, |one| rows::as_it_should_be(one.id)))
    }

    async fn was_changed(&self, undo: &Undo, since: Since<'_>) -> Result<bool> {
        let Undo::Delete { kind, id, .. } = undo else { return Ok(false) };
        rows::differs(&self.client, get(&place(*kind, id)), since, |now| held(*kind, now)).await
    }

    async fn undo(&self, undo: &Undo) -> Result<Option<String>> {
        let Undo::Delete { kind, id, .. } = undo else { return Ok(rows::left(undo)) };
        match self.present(id).await {
            Ok(below) if !below.is_empty() => return Ok(Some(rows::NOT_EMPTY.to_owned())),
            Err(error) if rows::is_gone(&error) => return Ok(None),
            other => drop(other?),
        }
        let request = GraphRequest::delete(Scope::Files, url(&place(*kind, id))).units(2);
        rows::delete(&self.client, request).await
    }
}

/// What a group, set or term holds.
fn held(kind: ItemKind, json: &Value) -> String {
    let names = match kind {
        ItemKind::TermGroup => GROUP,
        ItemKind::TermSet => SET,
        _ => TERM,
    };
    rows::state(json, names)
}

/// Where something is, by its id.
fn place(kind: ItemKind, id: &str) -> String {
    match (kind, id.split_once('/')) {
        (ItemKind::TermGroup, _) => format!("groups/{}", segment(id)),
        (_, Some((set, term))) => format!("sets/{}/terms/{}", segment(set), segment(term)),
        _ => format!("sets/{}", segment(id)),
    }
}
