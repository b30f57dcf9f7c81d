//! Contacts: the folders of a mailbox, what is in them, and the photos.
//!
//! A mailbox that is full answers no delta: its folders and contacts are listed plainly then, and compared.
//!
//! Source: Microsoft Graph, "Get incremental changes to contacts in a folder", "List contactFolders", "List childFolders",
//! "Get profilePhoto".

use std::collections::BTreeSet;

use async_trait::async_trait;
use serde_json::Value;

use super::door::{Owner, Workload};
use super::facts::{Summary, text};
use super::walk::{Row, Rows, Source, Told, Walk, Walked, id_of};
use crate::error::Result;
use crate::format::record::{ItemKind, Record};
use crate::graph::links::segment;
use crate::graph::{Client, GraphRequest, IMMUTABLE_IDS, Scope};

const PAGE: &str = "odata.maxpagesize=250";
/// The cursor of the folders.
const FOLDERS: &str = "folders";
/// Cursors of the contacts of a folder begin with this, and end in the folder's id.
const IN_FOLDER: &str = "folder:";
/// The folder that lists and delta of folders leave out.
pub(super) const DEFAULT_FOLDER: &str = "contacts";

/// Names the contacts of a user.
pub(super) fn contacts(client: Client, user_id: &str, user_name: &str) -> Walked<Contacts> {
    let source = Contacts { client: client.clone(), user: user_id.to_owned() };
    Walked::new(client, Owner::User(user_id.to_owned()), user_name, Workload::Contacts, source)
}

/// The contacts of one mailbox.
pub(super) struct Contacts {
    client: Client,
    user: String,
}

#[async_trait]
impl Source for Contacts {
    async fn walk(&self, walk: &mut Walk<'_>) -> Result<()> {
        let folders = self.folders(walk).await?;
        for folder in &folders {
            if let Err(error) = self.contacts(walk, folder).await {
                let name = walk.known(folder).await?.map(|known| known.name).unwrap_or_default();
                walk.keep_cursor(&format!("{IN_FOLDER}{folder}"));
                walk.gap(folder, &name, ItemKind::ContactFolder, error).await?;
            }
        }
        for id in walk.left_to_list() {
            self.ask(walk, &id, &folders).await?;
        }
        Ok(())
    }

    fn contents(&self, record: &Record) -> Option<GraphRequest> {
        Some(self.get(&format!("contacts/{}/photo/$value", segment(&record.id))))
    }

    fn may_lack_contents(&self, _: &Record) -> bool {
        true
    }
}

impl Contacts {
    fn get(&self, url: &str) -> GraphRequest {
        let url = format!("users/{}/{url}", segment(&self.user));
        GraphRequest::get(Scope::Mailbox(self.user.clone()), url).prefer(IMMUTABLE_IDS)
    }

    /// Tells the folders; gives the ids of all.
    async fn folders(&self, walk: &mut Walk<'_>) -> Result<BTreeSet<String>> {
        let saved: Vec<String> =
            walk.before.links.iter().filter_map(|(name, _)| name.strip_prefix(IN_FOLDER)).map(str::to_owned).collect();
        let mut rows =
            Rows::delta(walk, &self.client, FOLDERS, self.get("contactFolders/delta").prefer(PAGE)).together();
        let (mut told, mut gone, mut plainly) = (Vec::new(), BTreeSet::new(), false);
        loop {
            match rows.next(walk).await {
                Ok(Some(Row::There(folder))) => {
                    gone.remove(id_of(&folder).unwrap_or_default());
                    told.push(folder);
                }
                Ok(Some(Row::Gone(id))) => drop(gone.insert(id)),
                Ok(None) => break,
                Err(error) if Rows::needs_plain_list(&error) && !plainly => {
                    (told, gone, plainly) = (Vec::new(), BTreeSet::new(), true);
                    rows = Rows::list(&self.client, self.get("contactFolders?$top=250"));
                }
                Err(error) => return Err(error),
            }
        }
        if plainly {
            self.list_below(&mut told).await?;
        }
        let mut all = BTreeSet::new();
        if rows.is_incremental() {
            all.extend(saved.into_iter().filter(|id| !gone.contains(id)));
        } else {
            told.push(self.client.get_json(self.get(&format!("contactFolders/{DEFAULT_FOLDER}"))).await?);
        }
        all.extend(told.iter().filter_map(id_of).filter(|id| !gone.contains(*id)).map(str::to_owned));
        for id in &all {
            walk.keep(id).await?;
        }
        for row in told {
            if let Some(folder) = folder(row, &all) {
                walk.put(folder).await?;
            }
        }
        gone.iter().for_each(|id| walk.removed(id));
        rows.close(walk, "");
        Ok(all)
    }

    /// Lists what is below these folders, level by level, and puts it to them: a plain list tells one level.
    async fn list_below(&self, folders: &mut Vec<Value>) -> Result<()> {
        let (mut next, mut listed) = (0, BTreeSet::new());
        while let Some(folder) = folders.get(next) {
            next += 1;
            let Some(id) = id_of(folder).map(str::to_owned) else { continue };
            let below = self.get(&format!("contactFolders/{}/childFolders?$top=250", segment(&id)));
            if listed.insert(id) {
                folders.extend(self.client.get_all(below).await?);
            }
        }
        Ok(())
    }

    /// Tells what is in a folder.
    async fn contacts(&self, walk: &mut Walk<'_>, folder: &str) -> Result<()> {
        let of_folder = format!("contactFolders/{}/contacts", segment(folder));
        let cursor = format!("{IN_FOLDER}{folder}");
        let start = self.get(&format!("{of_folder}/delta")).prefer(PAGE);
        let mut rows = Rows::delta(walk, &self.client, &cursor, start).resumable(walk, folder).await?;
        let mut plainly = false;
        loop {
            match rows.next(walk).await {
                Ok(Some(Row::There(row))) => {
                    if let Some(contact) = contact(row, folder) {
                        walk.put(contact).await?;
                    }
                }
                Ok(Some(Row::Gone(id))) => walk.removed_from(folder, &id).await?,
                Ok(None) => break,
                Err(error) if Rows::needs_plain_list(&error) && !plainly => {
                    plainly = true;
                    rows = Rows::list(&self.client, self.get(&format!("{of_folder}?$top=250")));
                    // By its name the next reading knows that the folder is there.
                    walk.cursors.set(cursor.as_str(), "");
                }
                Err(error) => return Err(error),
            }
        }
        rows.close(walk, folder);
        Ok(())
    }

    /// Asks for one item of which something is a gap.
    async fn ask(&self, walk: &mut Walk<'_>, id: &str, folders: &BTreeSet<String>) -> Result<()> {
        let Some(known) = walk.known(id).await? else { return Ok(()) };
        let is_folder = known.kind == ItemKind::ContactFolder;
        let url = format!("{}/{}", if is_folder { "contactFolders" } else { "contacts" }, segment(id));
        let told = match self.client.get_json(self.get(&url)).await {
            Ok(row) if is_folder => folder(row, folders),
            Ok(row) => contact(row, &known.parent),
            Err(error) => return walk.gap(id, &known.name, known.kind, error).await,
        };
        match told {
            Some(told) => walk.put(told).await.map(drop),
            None => Ok(()),
        }
    }
}

pub(super) fn folder(row: Value, all: &BTreeSet<String>) -> Option<Told> {
    let id = id_of(&row)?.to_owned();
    // The folder above all is listed nowhere.
    let parent = text(&row, &["parentFolderId"]).filter(|parent| all.contains(*parent) && *parent != id);
    let (parent, name) =
        (parent.unwrap_or_default().to_owned(), text(&row, &["displayName"]).unwrap_or_default().to_owned());
    Some(Told::new(ItemKind::ContactFolder, id, &parent, &name, row))
}

pub(super) fn contact(row: Value, folder: &str) -> Option<Told> {
    let id = id_of(&row)?.to_owned();
    let addresses = row.get("emailAddresses").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let addresses: Vec<&str> = addresses.iter().filter_map(|address| text(address, &["address"])).collect();
    let name = ["displayName", "fileAs", "companyName"].iter().find_map(|key| text(&row, &[key]));
    let name = name.filter(|name| !name.is_empty()).or(addresses.first().copied()).unwrap_or_default().to_owned();
    let version =
        text(&row, &["changeKey"]).or_else(|| text(&row, &["lastModifiedDateTime"])).unwrap_or_default().to_owned();
    let mut facts = Summary::default();
    facts.add("mail", addresses.join("; "));
    facts.add("company", text(&row, &["companyName"]).unwrap_or_default());
    let mut told = Told::new(ItemKind::Contact, id, folder, &name, row).dated().with_contents_if_any(version);
    told.record.summary = facts.finish();
    Some(told)
}
