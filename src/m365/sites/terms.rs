//! The term store: groups, sets, terms in their tree, and how terms are used again.
//!
//! There is no delta. The flat list of a set's terms says whether anything in the set changed; only then is the tree
//! asked for, level by level, till every term of the flat list has its place. A term may be used in several sets, so an
//! item's id is that of the set and that of the term.
//!
//! Source: Microsoft Graph, "Use the Microsoft Graph term store API".

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use serde_json::Value;

use super::of_site;
use crate::error::Result;
use crate::format::record::ItemKind;
use crate::graph::links::segment;
use crate::graph::{Client, GraphRequest};
use crate::m365::door::{Owner, Workload};
use crate::m365::facts::{short_hash, text};
use crate::m365::walk::{Source, Told, Walk, Walked, id_of};

/// The fact of a set that holds a hash of all its terms and relations.
const TERMS: &str = "terms";
/// The name of the pair that says that a reading came to its end: no link, but kept with them.
const SETTLED: &str = "settled";
/// What is asked for of groups.
pub(in crate::m365) const GROUPS: &str =
    "termStore/groups?$select=id,displayName,description,scope,createdDateTime,parentSiteId";

/// Names the tenant's term store, or a site's own part of it.
pub(in crate::m365) fn terms(client: Client, owner: Owner, owner_name: &str) -> Walked<TermStore> {
    let site = match &owner {
        Owner::Site(id) => Some(id.clone()),
        _ => None,
    };
    let source = TermStore { client: client.clone(), site };
    Walked::new(client, owner, owner_name, Workload::TermStore, source)
}

/// A term store.
pub(in crate::m365) struct TermStore {
    client: Client,
    /// The site whose own part is meant.
    site: Option<String>,
}

/// Says whether a group of the term store is a site's own.
pub(in crate::m365) fn is_own(group: &Value) -> bool {
    text(group, &["scope"]) == Some("siteCollection")
}

#[async_trait]
impl Source for TermStore {
    async fn walk(&self, walk: &mut Walk<'_>) -> Result<()> {
        if self.site.is_none() {
            let store = self.client.get_json(self.get("termStore")).await?;
            if let Some(id) = id_of(&store).map(str::to_owned) {
                walk.put(Told::new(ItemKind::Setting, id, "", "Term store", store)).await?;
            }
        }
        let groups = self.client.ask_all(self.get(GROUPS).units(2)).await?;
        for row in groups.into_iter().filter(|row| is_own(row) == self.site.is_some()) {
            let Some(id) = id_of(&row).map(str::to_owned) else { continue };
            let name = text(&row, &["displayName"]).unwrap_or_default().to_owned();
            walk.put(Told::new(ItemKind::TermGroup, &*id, "", &name, row).dated()).await?;
            let sets = self.get(&format!("termStore/groups/{}/sets", segment(&id))).units(2);
            match self.client.ask_all(sets).await {
                Ok(sets) => {
                    for set in sets {
                        self.set(walk, &id, set).await?;
                    }
                }
                Err(error) => walk.gap(&id, &name, ItemKind::TermGroup, error).await?,
            }
        }
        walk.cursors.set(SETTLED, "yes");
        Ok(())
    }
}

impl TermStore {
    fn get(&self, url: &str) -> GraphRequest {
        of_site(self.site.as_deref().unwrap_or("root"), url)
    }

    async fn set(&self, walk: &mut Walk<'_>, group: &str, row: Value) -> Result<()> {
        let Some(id) = id_of(&row).map(str::to_owned) else { return Ok(()) };
        let name = localized(&row, "localizedNames");
        let told = |row: Value| Told::new(ItemKind::TermSet, &*id, group, &name, row).dated();
        let of_set = |what: &str| self.get(&format!("termStore/sets/{}/{what}", segment(&id))).units(2);
        let read = async {
            let flat = self.client.get_all(of_set("terms")).await?;
            let relations = self.client.get_all(of_set("relations?$expand=fromTerm,toTerm,set")).await?;
            let mut all: Vec<&Value> = flat.iter().chain(&relations).collect();
            all.sort_by_key(|row| id_of(row));
            let seen = short_hash(all.into_iter().map(Some));
            let known = walk.known(&id).await?;
            let same = known.is_some_and(|known| known.fact(TERMS) == Some(&*seen));
            if same && walk.is_settled() && !walk.must_look_into(&id) {
                return Ok((seen, None));
            }
            let tree = self.tree(&id, &flat).await?;
            Ok((seen, Some((tree, relations))))
        };
        match read.await {
            Ok((seen, None)) => {
                walk.put(told(row).fact(TERMS, &seen)).await?;
                walk.unchanged_below(&id);
                Ok(())
            }
            Ok((seen, Some((tree, relations)))) => {
                walk.put(told(row).fact(TERMS, &seen)).await?;
                for (parent, term) in tree {
                    let Some(term_id) = id_of(&term).map(|term| format!("{id}/{term}")) else { continue };
                    let name = localized(&term, "labels");
                    walk.put(Told::new(ItemKind::Term, term_id, &parent, &name, term).dated()).await?;
                }
                for relation in relations {
                    let Some(own) = id_of(&relation).map(|own| format!("{id}/{own}")) else { continue };
                    let name = format!("Relation {}", text(&relation, &["relationship"]).unwrap_or_default());
                    walk.put(Told::new(ItemKind::Setting, own, &id, &name, relation)).await?;
                }
                walk.was_read(&id);
                Ok(())
            }
            Err(error) => {
                // Without the fact the terms are read anew next time.
                walk.put(told(row)).await?;
                walk.gap(&id, &name, ItemKind::TermSet, error).await
            }
        }
    }

    /// Finds the place of every term of a set: the id of what it lies below, and the term.
    async fn tree(&self, set: &str, flat: &[Value]) -> Result<Vec<(String, Value)>> {
        let mut missing: BTreeMap<&str, usize> = BTreeMap::new();
        for id in flat.iter().filter_map(id_of) {
            *missing.entry(id).or_default() += 1;
        }
        let (mut tree, mut placed) = (Vec::new(), BTreeSet::new());
        let mut open: Vec<(String, String)> = vec![(set.to_owned(), "children".to_owned())];
        while !open.is_empty() {
            let mut next = Vec::new();
            for (parent, what) in open {
                let request = self.get(&format!("termStore/sets/{}/{what}", segment(set))).units(2);
                for term in self.client.get_all(request).await? {
                    let Some(id) = id_of(&term).map(str::to_owned) else { continue };
                    if !placed.insert(id.clone()) {
                        continue;
                    }
                    missing.remove(id.as_str());
                    next.push((format!("{set}/{id}"), format!("terms/{}/children", segment(&id))));
                    tree.push((parent.clone(), term));
                }
                if missing.is_empty() && !flat.is_empty() {
                    return Ok(tree);
                }
            }
            open = next;
        }
        Ok(tree)
    }
}

/// The name in the store's first language, or in any.
pub(in crate::m365) fn localized(row: &Value, list: &str) -> String {
    let names = row.get(list).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let default = names.iter().find(|name| name.get("isDefault") == Some(&Value::Bool(true)));
    default.or(names.first()).and_then(|name| text(name, &["name"])).unwrap_or_default().to_owned()
}
