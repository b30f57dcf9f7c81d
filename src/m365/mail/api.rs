//! The requests of mail. Every one asks for immutable ids, so that a move changes no id.
//!
//! Source: Microsoft Graph, "message: delta", "mailFolder: delta", "Obtain immutable identifiers for Outlook resources".

use serde_json::{Value, json};

use super::compose::MARK_PROPERTY;
use super::model::{MESSAGE_PROPERTIES, SIZE_PROPERTY};
use crate::error::Result;
use crate::format::record::StreamRole;
use crate::graph::links::{query_value, segment};
use crate::graph::{
    Client, DeltaPages, Fate, GraphRequest, IMMUTABLE_IDS, Page, Scope, Upload, UploadKind, UploadSource, Uploaded,
    fate,
};
use crate::m365::contents::fetch_stream;
use crate::m365::door::{ContentSink, Fetched, Wanted};

const FOLDER_PAGE: &str = "odata.maxpagesize=250";
const MESSAGE_PAGE: &str = "odata.maxpagesize=200";

/// One mailbox, as Graph shows it.
#[derive(Clone)]
pub(super) struct Api {
    client: Client,
    user: String,
}

impl Api {
    pub(super) fn new(client: Client, user: &str) -> Self {
        Self { client, user: user.to_owned() }
    }

    fn get(&self, url: &str) -> GraphRequest {
        let url = format!("users/{}/{url}", segment(&self.user));
        GraphRequest::get(Scope::Mailbox(self.user.clone()), url).prefer(IMMUTABLE_IDS)
    }

    fn message_query() -> String {
        let expand = query_value(&format!("singleValueExtendedProperties($filter=id eq '{SIZE_PROPERTY}')"));
        // The equals sign inside the parentheses is part of the option's value.
        format!("$select={MESSAGE_PROPERTIES}&$expand={expand}")
    }

    /// All folders, flat, or what changed of them since `saved`.
    pub(super) fn folders(&self, saved: Option<&str>) -> DeltaPages {
        self.client.delta(self.get("mailFolders/delta").prefer(FOLDER_PAGE), saved).together()
    }

    /// One folder, by its id or well-known name.
    pub(super) async fn folder(&self, id: &str) -> Result<Value> {
        self.client.get_json(self.get(&format!("mailFolders/{}", segment(id)))).await
    }

    /// The folders directly in a folder.
    pub(super) async fn child_folders(&self, id: &str) -> Result<Vec<Value>> {
        let url = format!("mailFolders/{}/childFolders?includeHiddenFolders=true&$top=250", segment(id));
        self.client.get_all(self.get(&url)).await
    }

    /// All messages of a folder, or what changed of them since `saved`; from `again` on if Graph gave a link to restart. The newest
    /// come first: they are safe first, and what is of one time lies together in the repository.
    pub(super) fn messages(&self, folder: &str, saved: Option<&str>, again: Option<&str>) -> DeltaPages {
        let order = query_value("receivedDateTime desc");
        let query = Self::message_query();
        let url = format!("mailFolders/{}/messages/delta?{query}&$orderby={order}", segment(folder));
        let start = self.get(&url).prefer(MESSAGE_PAGE);
        let start = again.map_or_else(|| start.clone(), |link| start.with_url(link));
        self.client.delta(start, saved)
    }

    /// A page of all messages of a folder, without delta: for mailboxes where delta fails as they are full.
    pub(super) async fn list_page(&self, folder: &str, next: Option<&str>) -> Result<Page> {
        let url = format!("mailFolders/{}/messages?{}&$top=500", segment(folder), Self::message_query());
        let start = self.get(&url).prefer(MESSAGE_PAGE);
        self.client.get_page(next.map_or_else(|| start.clone(), |link| start.with_url(link))).await
    }

    /// The ids of all messages that people see, and of their folders, a page of them.
    pub(super) async fn ids_page(&self, next: Option<&str>) -> Result<Page> {
        let start = self.get("messages?$select=id,parentFolderId&$top=1000");
        self.client.get_page(next.map_or_else(|| start.clone(), |link| start.with_url(link))).await
    }

    /// Asks where a message or folder (`of`: the word in the URL) lies, in one round trip with what others ask at the same time.
    pub(super) async fn look(&self, of: &str, id: &str) -> Result<Value> {
        self.client.ask(self.get(&format!("{of}/{}?$select=id,parentFolderId", segment(id)))).await
    }

    /// The properties of one message.
    pub(super) async fn message(&self, id: &str) -> Result<Value> {
        self.client.get_json(self.get(&format!("messages/{}?{}", segment(id), Self::message_query()))).await
    }

    fn writing(&self, request: impl FnOnce(Scope, String) -> GraphRequest, url: &str) -> GraphRequest {
        let url = format!("users/{}/{url}", segment(&self.user));
        request(Scope::Mailbox(self.user.clone()), url).prefer(IMMUTABLE_IDS)
    }

    /// Makes a folder in a folder.
    pub(super) async fn create_folder(&self, parent: &str, body: &Value) -> Result<Value> {
        let url = format!("mailFolders/{}/childFolders", segment(parent));
        self.client.send(self.writing(|scope, url| GraphRequest::post(scope, url, body), &url)).await
    }

    /// Deletes a folder.
    pub(super) async fn delete_folder(&self, id: &str) -> Result<()> {
        let url = format!("mailFolders/{}", segment(id));
        self.client.send(self.writing(GraphRequest::delete, &url)).await.map(drop)
    }

    /// Makes a message in a folder.
    pub(super) async fn create_message(&self, folder: &str, body: &Value) -> Result<Value> {
        let url = format!("mailFolders/{}/messages", segment(folder));
        self.client.send(self.writing(|scope, url| GraphRequest::post(scope, url, body), &url)).await
    }

    /// Deletes a message; one that is gone already counts as deleted.
    pub(super) async fn delete_message(&self, id: &str) -> Result<()> {
        let url = format!("messages/{}", segment(id));
        match self.client.send(self.writing(GraphRequest::delete, &url)).await {
            Err(e) if fate(&e) == Fate::Gone => Ok(()),
            other => other.map(drop),
        }
    }

    /// Sets properties of a message, and gives the message.
    pub(super) async fn patch_message(&self, id: &str, body: &Value) -> Result<Value> {
        let url = format!("messages/{}", segment(id));
        self.client.send(self.writing(|scope, url| GraphRequest::patch(scope, url, body), &url)).await
    }

    /// Moves a message into a folder. With immutable ids it keeps its id, so doing it twice does no harm.
    pub(super) async fn move_message(&self, id: &str, folder: &str) -> Result<()> {
        let (url, body) = (format!("messages/{}/move", segment(id)), json!({"destinationId": folder}));
        let request = self.writing(|scope, url| GraphRequest::post(scope, url, &body), &url);
        self.client.send(request.repeatable()).await.map(drop)
    }

    /// The attachments of a message, without their bytes.
    pub(super) async fn attachments(&self, message: &str) -> Result<Vec<Value>> {
        let chosen = "?$select=id,name,size,lastModifiedDateTime";
        self.client.get_all(self.get(&format!("messages/{}/attachments{chosen}", segment(message)))).await
    }

    /// Adds a small attachment to a message.
    pub(super) async fn attach(&self, message: &str, body: &Value) -> Result<()> {
        let url = format!("messages/{}/attachments", segment(message));
        self.client.send(self.writing(|scope, url| GraphRequest::post(scope, url, body), &url)).await.map(drop)
    }

    /// Adds an attachment of any size to a message; `false`: nobody knows whether its end arrived.
    pub(super) async fn upload_attachment(
        &self,
        message: &str,
        item: &Value,
        source: &dyn UploadSource,
    ) -> Result<bool> {
        let url = format!("messages/{}/attachments/createUploadSession", segment(message));
        let session = self.writing(|scope, url| GraphRequest::post(scope, url, item), &url);
        let size_bytes = item.pointer("/AttachmentItem/size").and_then(Value::as_u64).unwrap_or_default();
        let upload = Upload { session, kind: UploadKind::Attachment, size_bytes, source };
        Ok(matches!(self.client.upload(upload).await?, Uploaded::Done(..)))
    }

    /// The ids of the messages in a folder that carry a restore's mark.
    pub(super) async fn marked(&self, folder: &str, mark: &str) -> Result<Vec<String>> {
        let filter = format!(
            "singleValueExtendedProperties/Any(ep: ep/id eq '{MARK_PROPERTY}' and ep/value eq '{}')",
            mark.replace('\'', "''")
        );
        let url = format!("mailFolders/{}/messages?$select=id&$filter={}", segment(folder), query_value(&filter));
        let rows = self.client.get_all(self.get(&url)).await?;
        Ok(rows.iter().filter_map(|row| row.get("id").and_then(Value::as_str)).map(str::to_owned).collect())
    }

    /// Reads a message in MIME form into `contents`.
    pub(super) async fn fetch(
        &self,
        collection: &str,
        wanted: &Wanted,
        contents: &mut dyn ContentSink,
    ) -> Result<Fetched> {
        let request = self.get(&format!("messages/{}/$value", segment(&wanted.record.id)));
        fetch_stream(&self.client, request, StreamRole::Mime, collection, wanted, contents).await
    }
}
