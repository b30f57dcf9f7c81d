//! What a site is made of: itself, its columns and content types, and which apps may do what with it.
//!
//! Graph lists no permissions of people; they show where something is shared. The grants of apps take the permission
//! Sites.FullControl.All: where it lacks, discovery says so once, and nobody asks.
//!
//! Source: Microsoft Graph, "List columns in a site", "List contentTypes in a site", "List permissions".

use async_trait::async_trait;
use serde_json::Value;

use super::list::{CONTENT_TYPES, named, unfolded};
use super::{Discovered, SITE_PROPERTIES, of_site};
use crate::error::Result;
use crate::format::record::ItemKind;
use crate::graph::Client;
use crate::m365::door::{Owner, Workload};
use crate::m365::facts::text;
use crate::m365::walk::{Source, Told, Walk, Walked, id_of};

/// Names what a site is made of; `row` as Graph told the site; `grants`: the apps' permissions can be read.
pub(in crate::m365) fn site(client: Client, name: &str, row: Value, grants: bool) -> Walked<Site> {
    let id = id_of(&row).unwrap_or_default().to_owned();
    let source = Site { client: client.clone(), id: id.clone(), row: Discovered::new(row), grants };
    Walked::new(client, Owner::Site(id), name, Workload::Site, source)
}

/// One site.
pub(in crate::m365) struct Site {
    client: Client,
    id: String,
    row: Discovered,
    grants: bool,
}

#[async_trait]
impl Source for Site {
    async fn walk(&self, walk: &mut Walk<'_>) -> Result<()> {
        let row = self.row.or(&self.client, of_site(&self.id, &format!("?$select={SITE_PROPERTIES}"))).await?;
        let name = text(&row, &["displayName"]).or_else(|| text(&row, &["name"])).unwrap_or_default();
        walk.put(Told::new(ItemKind::Setting, &*self.id, "", name, row.clone()).dated()).await?;
        let mut lists = vec![
            (ItemKind::Column, of_site(&self.id, "columns").units(2)),
            (ItemKind::ContentType, of_site(&self.id, CONTENT_TYPES).units(2)),
        ];
        if self.grants {
            lists.push((ItemKind::Permission, of_site(&self.id, "permissions").units(5)));
        } else {
            walk.keep_all("", ItemKind::Permission).await?;
        }
        let (kinds, requests): (Vec<_>, Vec<_>) = lists.into_iter().unzip();
        for (kind, rows) in kinds.into_iter().zip(self.client.ask_all_of(requests).await) {
            let rows = unfolded(&self.client, &of_site(&self.id, "").units(2), rows).await;
            self.tell(walk, name, kind, rows).await?;
        }
        Ok(())
    }
}

impl Site {
    async fn tell(&self, walk: &mut Walk<'_>, name: &str, kind: ItemKind, rows: Result<Vec<Value>>) -> Result<()> {
        match rows {
            Ok(rows) => {
                for row in rows {
                    let told = if kind == ItemKind::Permission { grant(row) } else { named(kind, row) };
                    if let Some(told) = told {
                        walk.put(told).await?;
                    }
                }
                Ok(())
            }
            Err(error) => {
                walk.keep_all("", kind).await?;
                walk.gap(&self.id, name, kind, error).await
            }
        }
    }
}

fn grant(row: Value) -> Option<Told> {
    let id = id_of(&row)?.to_owned();
    let to = |list: &str| {
        row.get(list).and_then(|list| list.get(0)).and_then(|of| text(of, &["application", "displayName"]))
    };
    let name = to("grantedToIdentitiesV2").or_else(|| to("grantedToIdentities")).unwrap_or("App").to_owned();
    let roles = row.get("roles").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let roles = roles.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
    Some(Told::new(ItemKind::Permission, id, "", &name, row).fact("roles", &roles))
}
