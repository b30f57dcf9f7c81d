//! The requests of drives. Units are SharePoint's resource units.
//!
//! Source: Microsoft Graph, "driveItem: delta", "Download driveItem content", "Avoid getting throttled or blocked in
//! SharePoint Online".

use serde_json::Value;

use crate::error::{ErrorKind, Result};
use crate::graph::links::segment;
use crate::graph::{
    Client, DeltaPages, Download, DownloadSource, Fate, GraphRequest, Payload, Scope, Upload, UploadKind, UploadSource,
    Uploaded, fate,
};
use crate::m365::facts::{at, text};

/// The properties of an item that are read with each change.
const ITEM_PROPERTIES: &str = "id,name,size,file,folder,package,bundle,remoteItem,root,deleted,malware,shared,\
parentReference,createdBy,createdDateTime,lastModifiedBy,lastModifiedDateTime,fileSystemInfo,specialFolder,\
description,eTag,cTag,webUrl,pendingOperations,publication,sharepointIds,content.downloadUrl";

/// The first makes delta tell of sharing only where it begins: at items with rights of their own, the root among them. What lies
/// below inherits, and is told without the facet `shared`. The other three together make it tell items of which only the sharing
/// changed. A drive that knows none of this (a personal account's) tells of sharing wherever it holds.
///
/// Source: Microsoft, "Best practices for discovering files and detecting changes at scale", scanning permissions hierarchies.
const SHARING: [&str; 4] =
    ["hierarchicalsharing", "deltashowremovedasdeleted", "deltatraversepermissiongaps", "deltashowsharingchanges"];

/// One drive, as Graph shows it.
#[derive(Clone)]
pub(super) struct Api {
    client: Client,
    drive: String,
}

impl Api {
    pub(super) fn new(client: Client, drive: &str) -> Self {
        Self { client, drive: drive.to_owned() }
    }

    /// The drive's id.
    pub(super) fn drive(&self) -> &str {
        &self.drive
    }

    fn get(&self, url: &str) -> GraphRequest {
        GraphRequest::get(Scope::Files, format!("drives/{}/{url}", segment(&self.drive)))
    }

    /// The id of the drive's root folder.
    pub(super) async fn root(&self) -> Result<Value> {
        self.client.get_json(self.get("root?$select=id")).await
    }

    /// All items, flat, or what changed of them since `saved`; from `again` on if Graph gave a link to restart.
    pub(super) fn items(&self, saved: Option<&str>, again: Option<&str>) -> DeltaPages {
        let start = self.get(&format!("root/delta?$select={ITEM_PROPERTIES}"));
        let start = SHARING.iter().fold(start, |start, wanted| start.prefer(*wanted));
        let start = again.map_or_else(|| start.clone(), |link| start.with_url(link));
        self.client.delta(start, saved)
    }

    /// The properties of one item. Asked for alone, it shows the facet `shared` also where it inherits that.
    pub(super) async fn item(&self, id: &str) -> Result<Value> {
        let mut item =
            self.client.get_json(self.get(&format!("items/{}?$select={ITEM_PROPERTIES}", segment(id)))).await?;
        // Kept as a row of delta has it.
        if let Some(item) = item.as_object_mut() {
            item.shift_remove("@odata.context");
        }
        Ok(item)
    }

    /// Asks whether an item is there, in one round trip with what others ask at the same time.
    pub(super) async fn is_there(&self, id: &str) -> Result<bool> {
        match self.client.ask(self.get(&format!("items/{}?$select=id", segment(id)))).await {
            Ok(_) => Ok(true),
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Tells the ids of all items that are there; `false`: they take more pages than these.
    pub(super) async fn each_id(&self, pages: usize, each: &mut (dyn FnMut(&str) + Send)) -> Result<bool> {
        let mut all = self.client.delta(self.get("root/delta?$select=id,deleted"), None);
        for _ in 0..pages {
            let Some(page) = all.next().await? else { return Ok(true) };
            for item in page.rows.values() {
                let item = item?;
                if let Some(id) = text(&item, &["id"]).filter(|_| at(&item, &["deleted"]).is_none()) {
                    each(id);
                }
            }
        }
        Ok(all.delta_link().is_some())
    }

    /// Who may do what with an item.
    pub(super) async fn permissions(&self, id: &str) -> Result<Vec<Value>> {
        self.client.get_all(self.get(&format!("items/{}/permissions", segment(id))).units(5)).await
    }

    /// The versions of a file, the newest first.
    pub(super) async fn versions(&self, id: &str) -> Result<Vec<Value>> {
        self.client.get_all(self.get(&format!("items/{}/versions", segment(id))).units(2)).await
    }

    /// The retention label of an item; null if it has none.
    pub(super) async fn retention_label(&self, id: &str) -> Result<Value> {
        match self.client.get_json(self.get(&format!("items/{}/retentionLabel", segment(id)))).await {
            Err(error) if fate(&error) == Fate::Gone => Ok(Value::Null),
            other => other,
        }
    }

    fn url(&self, url: &str) -> String {
        format!("drives/{}/{url}", segment(&self.drive))
    }

    /// All that is directly in a folder.
    pub(super) async fn children(&self, folder: &str) -> Result<Vec<Value>> {
        let url = format!("items/{}/children?$top=200&$select={ITEM_PROPERTIES}", segment(folder));
        self.client.get_all(self.get(&url).units(2)).await
    }

    /// Makes a folder in a folder.
    pub(super) async fn create_folder(&self, parent: &str, body: &Value) -> Result<Value> {
        let url = self.url(&format!("items/{}/children", segment(parent)));
        self.client.send(GraphRequest::post(Scope::Files, url, body).units(2)).await
    }

    /// Puts a file without bytes at a place.
    pub(super) async fn put_empty(&self, place: &str, conflict: &str) -> Result<Value> {
        let url = self.url(&format!("{place}/content?@microsoft.graph.conflictBehavior={conflict}"));
        self.client.send(GraphRequest::put(Scope::Files, url, Payload::bytes(Vec::new())).units(2)).await
    }

    /// Puts the bytes of a file at a place, in as many requests as they need.
    pub(super) async fn upload(
        &self,
        place: &str,
        body: &Value,
        size_bytes: u64,
        source: &dyn UploadSource,
    ) -> Result<Uploaded> {
        let session =
            GraphRequest::post(Scope::Files, self.url(&format!("{place}/createUploadSession")), body).units(2);
        self.client.upload(Upload { session, kind: UploadKind::Drive, size_bytes, source }).await
    }

    /// Sets properties of an item, and gives the item.
    pub(super) async fn patch_item(&self, id: &str, body: &Value) -> Result<Value> {
        let url = self.url(&format!("items/{}", segment(id)));
        self.client.send(GraphRequest::patch(Scope::Files, url, body).units(2)).await
    }

    /// Moves an item into the recycle bin.
    pub(super) async fn delete_item(&self, id: &str) -> Result<()> {
        let url = self.url(&format!("items/{}", segment(id)));
        self.client.send(GraphRequest::delete(Scope::Files, url).units(2)).await.map(drop)
    }

    /// Makes an earlier version of a file the newest again.
    pub(super) async fn restore_version(&self, id: &str, version: &str) -> Result<()> {
        let url = self.url(&format!("items/{}/versions/{}/restoreVersion", segment(id), segment(version)));
        self.client.send(GraphRequest::post_empty(Scope::Files, url).units(2).repeatable()).await.map(drop)
    }

    /// Gives somebody a right to an item. Doing it twice does no harm.
    pub(super) async fn invite(&self, id: &str, body: &Value) -> Result<()> {
        let url = self.url(&format!("items/{}/invite", segment(id)));
        self.client.send(GraphRequest::post(Scope::Files, url, body).units(5).repeatable()).await.map(drop)
    }

    /// Makes a sharing link. The same one again is the one that is there.
    pub(super) async fn create_link(&self, id: &str, body: &Value) -> Result<()> {
        let url = self.url(&format!("items/{}/createLink", segment(id)));
        self.client.send(GraphRequest::post(Scope::Files, url, body).units(5).repeatable()).await.map(drop)
    }

    /// Opens the contents of an earlier version of a file.
    pub(super) async fn version_content(&self, id: &str, version: &str) -> Result<Download> {
        let url = format!("items/{}/versions/{}/content", segment(id), segment(version));
        self.client.download(DownloadSource::content(self.get(&url))).await
    }

    /// Opens the contents of a file, at `url` if that is known and still good.
    pub(super) async fn content(&self, id: &str, url: Option<&str>) -> Result<Download> {
        let source = DownloadSource::content(self.get(&format!("items/{}/content", segment(id))));
        let source = match url {
            Some(url) => source.with_url(url),
            None => source,
        };
        self.client.download(source).await
    }
}
