//! Pages of a site go back, and are published if they were.
//!
//! Graph makes a page of text and fourteen kinds of web parts, and refuses one with any other kind as a whole: such parts are left
//! out, and said so. Source: Microsoft Graph, "Create sitePage", "sitePage: publish".

use async_trait::async_trait;
use serde_json::Value;

use super::Destination;
use super::door::{Cost, Fit, Found, Made, Order, Present, Since, Source, Target, Undo};
use super::rows;
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{ItemKind, Record};
use crate::graph::links::segment;
use crate::graph::{Client, GraphRequest, Scope};
use crate::m365::door::{Owner, Workload};
use crate::m365::facts::text;
use crate::m365::walk::{Told, id_of};

/// What of a page can be set.
const PAGE: &[&str] = &[
    "canvasLayout",
    "description",
    "name",
    "pageLayout",
    "promotionKind",
    "showComments",
    "showRecommendedPages",
    "thumbnailWebUrl",
    "title",
    "titleArea",
];
/// The web parts that Graph makes: maps, button, call to action, divider, document, image, gallery, link, organisation chart,
/// people, quick links, spacer, YouTube, title area.
const PARTS: [&str; 14] = [
    "e377ea37-9047-43b9-8cdb-a761be2f8e09",
    "0f087d7f-520e-42b7-89c0-496aaf979d58",
    "df8e44e7-edd5-46d5-90da-aca1539313b8",
    "2161a1c6-db61-4731-b97c-3cdb303f7cbb",
    "b7dd04e1-19ce-4b24-9132-b60a1c2b910d",
    "d1d91016-032f-456d-98a4-721247c305e8",
    "af8be689-990e-492a-81f7-ba3e4cd3ed9c",
    "6410b3b6-d440-4663-8744-378976dc041e",
    "e84a8ca2-f63c-4fb9-bc0b-d8eef5ccb22b",
    "7f718435-ee4d-431c-bdbf-9c4ff326f46e",
    "c70391ea-0b10-4ee9-b2b4-006d3fcad0cd",
    "8654b779-4886-46d4-8ffb-b5ed960ee986",
    "544dd15b-cf3c-441b-96da-004d5a8cea1d",
    "cbe7b0a9-3504-44dd-a3a3-0e5cacd07788",
];

/// The pages of a site.
pub(super) struct Pages {
    client: Client,
    site: String,
    path: String,
}

impl Pages {
    /// The pages of a destination.
    ///
    /// # Errors
    /// `InvalidInput` if the owner is no site.
    pub(super) fn new(client: &Client, to: &Destination) -> Result<Self> {
        let Owner::Site(site) = &to.owner else {
            return Err(Error::invalid(format!("Pages can go into a site only, not into {}", to.name))
                .with_hint("name a site with --to"));
        };
        let path = format!("{}/{}/{}", to.owner.word(), to.name, Workload::Pages.title());
        Ok(Self { client: client.clone(), site: site.clone(), path })
    }

    fn url(&self, rest: &str) -> String {
        format!("sites/{}/pages{rest}", segment(&self.site))
    }

    fn one(&self, page: &str) -> GraphRequest {
        let url = self.url(&format!("/{}/microsoft.graph.sitePage?$select=id,eTag", segment(page)));
        GraphRequest::get(Scope::Files, url)
    }
}

/// What tells a version of a page from every other one.
fn tag(page: &Value) -> String {
    text(page, &["eTag"]).unwrap_or_default().to_owned()
}

#[async_trait]
impl Target for Pages {
    fn workload(&self) -> Workload {
        Workload::Pages
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn scope(&self) -> Scope {
        Scope::Files
    }

    fn permission(&self) -> &'static str {
        "Sites.ReadWrite.All"
    }

    fn takes_folder(&self) -> bool {
        false
    }

    async fn probe(&self) -> Result<()> {
        let url = format!("sites/{}?$select=id", segment(&self.site));
        self.client.get_json(GraphRequest::get(Scope::Files, url)).await.map(drop)
    }

    fn fit(&self, record: &Record) -> Fit {
        match record.kind {
            ItemKind::Page if record.name.ends_with(".aspx") => {
                Fit::Takes(Cost { requests: 3, units: 5, bytes: 10_000 })
            }
            ItemKind::Page => Fit::Cannot("a link or video among the pages is not made through Graph".to_owned()),
            kind => Fit::Cannot(format!("a {} is no page", kind.word())),
        }
    }

    fn stays(&self, _: &Record) -> Option<&'static str> {
        Some("it is there already: the versions of a page cannot be put back")
    }

    fn identity(&self, record: &Record) -> String {
        record.name.to_lowercase()
    }

    fn state(&self, _: &Record) -> String {
        String::new()
    }

    async fn present(&self, _: &str) -> Result<Vec<Present>> {
        let request = GraphRequest::get(Scope::Files, self.url("?$select=id,name,lastModifiedDateTime&$top=200"));
        let rows = match self.client.get_all(request.units(2)).await {
            // A site without pages may have no place for them.
            Err(error) if rows::is_gone(&error) => Vec::new(),
            other => other?,
        };
        let told = rows.into_iter().filter_map(|row| {
            let (id, name) = (id_of(&row)?.to_owned(), text(&row, &["name"])?.to_owned());
            Some(Told::new(ItemKind::Page, id, "", &name, row).dated())
        });
        Ok(told.map(|told| rows::present(self, told)).collect())
    }

    async fn create_top(&self, _: &str) -> Result<Made> {
        Err(rows::no_place(ItemKind::Page))
    }

    async fn find_top(&self, _: &str) -> Result<Option<Made>> {
        Ok(None)
    }

    async fn create(&self, order: Order<'_>, source: &dyn Source) -> Result<Made> {
        let json = source.properties(order.record).await?;
        let mut body = rows::settable(&json, PAGE);
        body.insert("@odata.type".into(), "#microsoft.graph.sitePage".into());
        body.insert("name".into(), order.name.into());
        let left_out = body.get_mut("canvasLayout").map_or(0, keep_makable);
        let request = GraphRequest::post(Scope::Files, self.url(""), &body.into()).units(2);
        let answer = self.client.send(request).await?;
        let id = rows::new_id(&answer)?;
        let mut made = Made { state: tag(&answer), ..Made::new(ItemKind::Page, id.clone(), "") };
        if left_out > 0 {
            made.notes.push(format!("{left_out} web parts of kinds that Graph does not make are left out"));
        }
        if text(&json, &["publishingState", "level"]) == Some("published") {
            rows::note(&made, order).await?;
            let url = self.url(&format!("/{}/microsoft.graph.sitePage/publish", segment(&id)));
            self.client.send(GraphRequest::post_empty(Scope::Files, url).units(2).repeatable()).await?;
            // Publishing makes a version. Where that is not told, nothing is compared with it.
            made.state = self.client.get_json(self.one(&id)).await.map(|page| tag(&page)).unwrap_or_default();
        }
        Ok(made)
    }

    async fn overwrite(&self, _: &str, order: Order<'_>, _: &dyn Source) -> Result<Made> {
        let text = format!("The page '{}' is not overwritten: its versions cannot be put back", order.record.name);
        Err(Error::new(ErrorKind::InvalidInput, text).with_hint("Restore it as a copy"))
    }

    async fn find(&self, order: Order<'_>, _: &dyn Source) -> Result<Found> {
        let there = self.present("").await?;
        let found = there.into_iter().find(|page| page.identity == order.name.to_lowercase());
        Ok(found.map_or(Found::Nothing, |page| rows::as_it_should_be(page.id)))
    }

    async fn was_changed(&self, undo: &Undo, since: Since<'_>) -> Result<bool> {
        rows::differs(&self.client, self.one(undo.id()), since, tag).await
    }

    async fn undo(&self, undo: &Undo) -> Result<Option<String>> {
        match undo {
            Undo::Delete { id, .. } => {
                let url = self.url(&format!("/{}", segment(id)));
                rows::delete(&self.client, GraphRequest::delete(Scope::Files, url).units(2)).await
            }
            other => Ok(rows::left(other)),
        }
    }
}

/// Takes out of a canvas the web parts that Graph does not make; says how many.
fn keep_makable(canvas: &mut Value) -> usize {
    let makable = |part: &Value| {
        let kind = text(part, &["webPartType"]);
        part.get("innerHtml").is_some() || kind.is_some_and(|kind| PARTS.contains(&kind.to_ascii_lowercase().as_str()))
    };
    let mut left_out = 0;
    match canvas {
        Value::Object(map) => {
            for (name, value) in map.iter_mut() {
                match value {
                    Value::Array(parts) if name == "webparts" => {
                        let before = parts.len();
                        parts.retain(makable);
                        left_out += before - parts.len();
                    }
                    _ => left_out += keep_makable(value),
                }
            }
        }
        Value::Array(all) => left_out += all.iter_mut().map(keep_makable).sum::<usize>(),
        _ => {}
    }
    left_out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn web_parts_that_cannot_be_made_are_left_out_and_counted() {
        let mut canvas = json!({"horizontalSections": [{"columns": [{"webparts": [
            {"innerHtml": "<p>a</p>"}, {"webPartType": PARTS[3]}, {"webPartType": "other"}, {"webPartType": "another"},
        ]}]}], "verticalSection": {"webparts": [{"webPartType": "third"}]}});
        assert_eq!(keep_makable(&mut canvas), 3);
        let left = canvas["horizontalSections"][0]["columns"][0]["webparts"].as_array().map(Vec::len);
        assert_eq!(left, Some(2));
    }
}
