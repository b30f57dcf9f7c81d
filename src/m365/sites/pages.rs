//! The pages of a site, with what is on them.
//!
//! The list of pages knows no delta and leaves out what is on a page: a page is asked for whenever its row differs from
//! the one that it was read with. Classic pages are files of their library.
//!
//! Source: Microsoft Graph, "List baseSitePage", "Get sitePage".

use async_trait::async_trait;
use serde_json::Value;

use super::{of_site, without_context};
use crate::error::Result;
use crate::format::record::ItemKind;
use crate::graph::links::segment;
use crate::graph::{Client, Fate, fate};
use crate::m365::door::{Owner, Workload};
use crate::m365::facts::{short_hash, text};
use crate::m365::walk::{Row, Rows, Source, Told, Walk, Walked, id_of};

/// The fact that holds a hash of the row that a page was read with.
const ROW: &str = "row";

/// The id of the collection of a personal site's pages.
pub(in crate::m365) const PERSONAL_PAGES: &str = "pages";

/// Names the pages of a site.
pub(in crate::m365) fn pages(client: Client, owner: Owner, owner_name: &str, site: &str) -> Walked<Pages> {
    let source = Pages { client: client.clone(), site: site.to_owned() };
    match owner {
        Owner::User(_) => {
            Walked::new(client, owner, owner_name, Workload::PersonalSite, source).one_of(PERSONAL_PAGES, "Pages")
        }
        _ => Walked::new(client, owner, owner_name, Workload::Pages, source),
    }
}

/// The pages of one site.
pub(in crate::m365) struct Pages {
    client: Client,
    site: String,
}

#[async_trait]
impl Source for Pages {
    async fn walk(&self, walk: &mut Walk<'_>) -> Result<()> {
        let mut rows = Rows::list(&self.client, of_site(&self.site, "pages?$top=200").units(2)).together();
        loop {
            match rows.next(walk).await {
                Ok(Some(Row::There(row))) => self.page(walk, row).await?,
                Ok(Some(Row::Gone(id))) => walk.removed_from("", &id).await?,
                Ok(None) => break,
                // A site without pages may have no place for them.
                Err(error) if fate(&error) == Fate::Gone && walk.known_below("").await?.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        rows.close(walk, "");
        Ok(())
    }
}

impl Pages {
    async fn page(&self, walk: &mut Walk<'_>, row: Value) -> Result<()> {
        let Some(id) = id_of(&row).map(str::to_owned) else { return Ok(()) };
        let seen = short_hash([Some(&row)]);
        let known = walk.known(&id).await?;
        if known.as_ref().is_some_and(|known| known.fact(ROW) == Some(&*seen)) && !walk.must_list(&id) {
            return walk.keep(&id).await;
        }
        if text(&row, &["@odata.type"]).is_some_and(|kind| !kind.ends_with(".sitePage")) {
            // A link or a video: there is no more to it.
            return walk.put(told(id, row).fact(ROW, &seen)).await.map(drop);
        }
        let url = format!("pages/{}/microsoft.graph.sitePage?$expand=canvasLayout", segment(&id));
        match self.client.get_json(of_site(&self.site, &url)).await {
            Ok(page) => walk.put(told(id, without_context(page)).fact(ROW, &seen)).await.map(drop),
            Err(error) => {
                let name = text(&row, &["title"]).unwrap_or_default().to_owned();
                if known.is_none() {
                    walk.put(told(id.clone(), row)).await?;
                }
                walk.gap_of_listed(&id, &name, ItemKind::Page, error).await
            }
        }
    }
}

fn told(id: String, page: Value) -> Told {
    let name = text(&page, &["name"]).or_else(|| text(&page, &["title"])).unwrap_or_default().to_owned();
    let title = text(&page, &["title"]).unwrap_or_default().to_owned();
    let state = text(&page, &["publishingState", "level"]).unwrap_or_default().to_owned();
    Told::new(ItemKind::Page, id, "", &name, page).dated().fact("title", &title).fact("state", &state)
}
