//! Contacts go back: folders, contacts, photos.
//!
//! A personal distribution list is not in Graph v1.0: it neither came nor goes back. Source: Microsoft Graph, "Create contact",
//! "Create contactFolder", "Update profilePhoto".

use async_trait::async_trait;
use serde_json::{Value, json};

use super::door::{Cost, Fit, Found, Made, Order, Present, Since, Source, Target, Undo};
use super::mailbox::Mailbox;
use super::rows;
use crate::error::Result;
use crate::format::record::{ItemKind, Record};
use crate::graph::links::segment;
use crate::graph::{Payload, Scope};
use crate::m365::contacts::{DEFAULT_FOLDER, contact, folder};
use crate::m365::door::Workload;
use crate::m365::facts::text;

/// What of a contact can be set.
const CONTACT: &[&str] = &[
    "assistantName",
    "birthday",
    "businessAddress",
    "businessHomePage",
    "businessPhones",
    "categories",
    "children",
    "companyName",
    "department",
    "displayName",
    "emailAddresses",
    "fileAs",
    "generation",
    "givenName",
    "homeAddress",
    "homePhones",
    "imAddresses",
    "initials",
    "jobTitle",
    "manager",
    "middleName",
    "mobilePhone",
    "nickName",
    "officeLocation",
    "otherAddress",
    "personalNotes",
    "profession",
    "spouseName",
    "surname",
    "title",
    "yomiCompanyName",
    "yomiGivenName",
    "yomiSurname",
];
/// Longest photo that is sent; Exchange takes 4 MB.
const PHOTO_LIMIT: u64 = 4 << 20;

/// The part of a contact that is its photo, and what it is where there is none.
const PHOTO: &str = "photo";
const NO_PHOTO: &str = "none";

/// The contacts of a mailbox.
pub(super) struct Contacts(pub(super) Mailbox);

#[async_trait]
impl Target for Contacts {
    fn workload(&self) -> Workload {
        Workload::Contacts
    }

    fn path(&self) -> &str {
        self.0.path()
    }

    fn scope(&self) -> Scope {
        self.0.scope()
    }

    fn permission(&self) -> &'static str {
        "Contacts.ReadWrite"
    }

    async fn probe(&self) -> Result<()> {
        self.0.client.get_json(self.0.get(&format!("contactFolders/{DEFAULT_FOLDER}"))).await.map(drop)
    }

    fn fit(&self, record: &Record) -> Fit {
        let photo = rows::content_bytes(record);
        match record.kind {
            ItemKind::ContactFolder => Fit::Takes(Cost { requests: 1, units: 1, bytes: 200 }),
            ItemKind::Contact => {
                // A photo is read once more, to know it again.
                let requests = 1 + 2 * u64::from(photo > 0);
                Fit::Takes(Cost { requests, units: requests, bytes: 1_000 + photo })
            }
            kind => Fit::Cannot(format!("a {} is no contact", kind.word())),
        }
    }

    fn identity(&self, record: &Record) -> String {
        let mail = record.fact("mail").unwrap_or_default();
        let name = record.name.to_lowercase();
        if record.kind == ItemKind::Contact { format!("{name}\n{}", mail.to_lowercase()) } else { name }
    }

    fn state(&self, _: &Record) -> String {
        String::new()
    }

    async fn present(&self, parent: &str) -> Result<Vec<Present>> {
        let client = &self.0.client;
        let list = match parent {
            "" => "contactFolders?$top=250".to_owned(),
            id => format!("contactFolders/{}/childFolders?$top=250", segment(id)),
        };
        let mut folders = client.get_all(self.0.get(&list)).await?;
        let mut contacts = Vec::new();
        if parent.is_empty() {
            folders.push(client.get_json(self.0.get(&format!("contactFolders/{DEFAULT_FOLDER}"))).await?);
        } else {
            let list = format!("contactFolders/{}/contacts?$top=250", segment(parent));
            contacts = client.get_all(self.0.get(&list)).await?;
        }
        let all = std::collections::BTreeSet::new();
        let told = folders.into_iter().filter_map(|row| folder(row, &all));
        let told = told.chain(contacts.into_iter().filter_map(|row| contact(row, parent)));
        Ok(told.map(|told| rows::present(self, told)).collect())
    }

    async fn create_top(&self, name: &str) -> Result<Made> {
        self.create_folder("", name).await
    }

    async fn find_top(&self, name: &str) -> Result<Option<Made>> {
        self.find_folder("", name).await
    }

    async fn create(&self, order: Order<'_>, source: &dyn Source) -> Result<Made> {
        if order.record.kind == ItemKind::ContactFolder {
            return self.create_folder(order.parent, order.name).await;
        }
        let body = self.body(order, source).await?;
        let url = format!("contactFolders/{}/contacts", segment(order.parent));
        let answer = self.0.client.send(self.0.post(&url, &Mailbox::marked(body, order.mark))).await?;
        let id = rows::new_id(&answer)?;
        let notes = without_photo(order.record);
        let made = Made { notes, ..Made::new(ItemKind::Contact, &id, order.parent) };
        if rows::content_bytes(order.record) > 0 {
            rows::note(&made, order).await?;
        }
        let has_photo = self.photo(&id, order.record, source).await?;
        let mut made = Made { state: rows::state(&answer, CONTACT), ..made };
        rows::tell_folder(&mut made, &answer);
        match has_photo {
            // What a photo has become is compared with nothing if it is not told now.
            true => made.tell(PHOTO, &self.photo_now(&id).await.unwrap_or_default()),
            false => made.tell(PHOTO, NO_PHOTO),
        }
        Ok(made)
    }

    async fn overwrite(&self, present: &str, order: Order<'_>, source: &dyn Source) -> Result<Made> {
        let url = format!("contacts/{}", segment(present));
        let before = self.0.client.get_json(self.0.get(&url)).await?;
        let before = Value::Object(rows::replacing(&before, CONTACT));
        let json = source.properties(order.record).await?;
        let body = Value::Object(rows::replacing(&json, CONTACT));
        let undo = Undo::Values { kind: ItemKind::Contact, id: present.to_owned(), before };
        let undo = order.log.note(undo).await?;
        let answer = self.0.client.send(self.0.patch(&url, &body)).await?;
        let notes = match self.photo(present, order.record, source).await? {
            true => vec!["undo brings back the contact's values, and not the photo before".to_owned()],
            false => without_photo(order.record),
        };
        Ok(Made { notes, state: rows::state(&answer, CONTACT), ..Made::over(present, undo) })
    }

    async fn changed_us(&self, present: &str, _: &str) -> Result<Option<i64>> {
        rows::changed_us(&self.0.client, self.0.get(&format!("contacts/{}", segment(present)))).await
    }

    async fn find(&self, order: Order<'_>, _: &dyn Source) -> Result<Found> {
        if order.record.kind == ItemKind::ContactFolder {
            return Ok(self.find_folder(order.parent, order.name).await?.map_or(Found::Nothing, Found::Whole));
        }
        let list = format!("contactFolders/{}/contacts", segment(order.parent));
        Ok(match self.0.marked_in(&list, order.mark).await? {
            // Nobody knows whether the photo came.
            Some(id) => Found::Part(Made::new(ItemKind::Contact, id, order.parent)),
            None => Found::Nothing,
        })
    }

    async fn was_changed(&self, undo: &Undo, since: Since<'_>) -> Result<bool> {
        let (Undo::Delete { kind: ItemKind::Contact, id, .. } | Undo::Values { id, .. }) = undo else {
            return self.was_moved(undo, since).await;
        };
        let now = match self.0.client.get_json(self.0.get(&format!("contacts/{}", segment(id)))).await {
            Err(error) if rows::is_gone(&error) => return Ok(false),
            other => other?,
        };
        let differs = !since.own().is_empty() && rows::state(&now, CONTACT) != since.own();
        // Undo gives back values wherever it lies, and leaves the photo.
        let Undo::Delete { parent, .. } = undo else { return Ok(differs) };
        if rows::lies_elsewhere(&now, since, parent) {
            return self.is_among_contacts(&now).await;
        }
        if differs {
            return Ok(true);
        }
        rows::part_differs(since.of(PHOTO), self.photo_now(id)).await
    }

    async fn was_moved(&self, undo: &Undo, since: Since<'_>) -> Result<bool> {
        let Undo::Delete { kind: ItemKind::ContactFolder, id, parent } = undo else { return Ok(false) };
        match self.0.client.get_json(self.0.get(&format!("contactFolders/{}", segment(id)))).await {
            Ok(now) => Ok(rows::lies_elsewhere(&now, since, parent)),
            Err(error) if rows::is_gone(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn undo(&self, undo: &Undo) -> Result<Option<String>> {
        match undo {
            Undo::Delete { kind: ItemKind::Contact, id, .. } => {
                rows::delete(&self.0.client, self.0.delete(&format!("contacts/{}", segment(id)))).await
            }
            Undo::Delete { id, .. } => self.remove_folder(id).await,
            Undo::Values { id, before, .. } => {
                let request = self.0.patch(&format!("contacts/{}", segment(id)), before);
                rows::delete(&self.0.client, request).await
            }
            other => Ok(rows::left(other)),
        }
    }
}

impl Contacts {
    async fn body(&self, order: Order<'_>, source: &dyn Source) -> Result<serde_json::Map<String, Value>> {
        let mut body = rows::settable(&source.properties(order.record).await?, CONTACT);
        // A copy beside something of its name has another.
        if order.name != order.record.name {
            body.insert("displayName".into(), order.name.into());
        }
        Ok(body)
    }

    async fn create_folder(&self, parent: &str, name: &str) -> Result<Made> {
        let url = match parent {
            "" => "contactFolders".to_owned(),
            id => format!("contactFolders/{}/childFolders", segment(id)),
        };
        let answer = self.0.client.send(self.0.post(&url, &json!({"displayName": name}))).await?;
        let mut made = Made::new(ItemKind::ContactFolder, rows::new_id(&answer)?, parent);
        rows::tell_folder(&mut made, &answer);
        Ok(made)
    }

    /// Says whether a contact lies in a folder of contacts: else it was deleted, and is still found by its id.
    async fn is_among_contacts(&self, contact: &Value) -> Result<bool> {
        let folder = text(contact, &["parentFolderId"]).unwrap_or_default();
        match self.0.client.get_json(self.0.get(&format!("contactFolders/{}", segment(folder)))).await {
            Ok(_) => Ok(true),
            Err(error) if rows::is_gone(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn find_folder(&self, parent: &str, name: &str) -> Result<Option<Made>> {
        let all = self.present(parent).await?;
        let found = all.into_iter().find(|p| p.kind == ItemKind::ContactFolder && p.identity == name.to_lowercase());
        Ok(found.map(|found| Made::new(ItemKind::ContactFolder, found.id, parent)))
    }

    async fn remove_folder(&self, id: &str) -> Result<Option<String>> {
        let url = format!("contactFolders/{}", segment(id));
        for below in ["contacts", "childFolders"] {
            match self.0.is_empty(&format!("{url}/{below}")).await {
                Ok(true) => {}
                Ok(false) => return Ok(Some(rows::NOT_EMPTY.to_owned())),
                Err(error) if rows::is_gone(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        rows::delete(&self.0.client, self.0.delete(&url)).await
    }

    /// What the photo of a contact is now.
    async fn photo_now(&self, id: &str) -> Result<String> {
        let request = self.0.get(&format!("contacts/{}/photo/$value", segment(id)));
        match self.0.client.get_bytes(request, PHOTO_LIMIT).await {
            Ok(bytes) => Ok(blake3::hash(&bytes).to_hex().chars().take(16).collect()),
            Err(error) if rows::is_gone(&error) => Ok(NO_PHOTO.to_owned()),
            Err(error) => Err(error),
        }
    }

    /// Sends the photo, if there is one; says whether there was.
    async fn photo(&self, id: &str, record: &Record, source: &dyn Source) -> Result<bool> {
        if rows::content_bytes(record) > PHOTO_LIMIT {
            return Ok(false);
        }
        let _held = source.room(rows::content_bytes(record)).await?;
        let Some(bytes) = rows::bytes_of(source, record, PHOTO_LIMIT).await?.filter(|bytes| !bytes.is_empty()) else {
            return Ok(false);
        };
        let body = Payload { content_type: "image/jpeg", bytes };
        self.0.client.send(self.0.put(&format!("contacts/{}/photo/$value", segment(id)), body)).await?;
        Ok(true)
    }
}

/// What is said of a contact whose photo is not sent.
fn without_photo(record: &Record) -> Vec<String> {
    let is_large = rows::content_bytes(record) > PHOTO_LIMIT;
    is_large.then(|| "its photo is left out: Exchange takes 4 MB".to_owned()).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::record::{Stream, StreamRole};

    #[test]
    fn a_photo_that_is_too_large_is_told_and_no_other() {
        for (size_bytes, notes) in [(0, 0), (PHOTO_LIMIT, 0), (PHOTO_LIMIT + 1, 1)] {
            let mut record = Record::new(ItemKind::Contact, "1", "", "Ada");
            let (source_hash, pieces) = (String::new(), Vec::new());
            record.streams.push(Stream { role: StreamRole::Content, size_bytes, source_hash, pieces });
            assert_eq!(without_photo(&record).len(), notes, "{size_bytes}");
        }
    }
}
