//! Drives: all items of a OneDrive or of a document library, as one collection.
//!
//! One delta tells everything, flat and in no order: the tree is built by ids, and renaming a folder changes one record.
//! Contents come from pre-authenticated URLs and are compared with the hash that the source gives.
//!
//! Source: Microsoft Graph, "driveItem: delta".

mod again;
mod api;
mod cost;
mod fetch;
mod list;
mod listing;
mod model;
mod parts;
mod restore;
mod sharing;
mod since;
mod which;

use async_trait::async_trait;

use super::door::{
    ChangesEnd, Collection, CollectionKey, ContentSink, Fetched, Known, Owner, Previous, Sink, Wanted, Workload,
};
use super::walk::{clean, owner_path};
use crate::error::Result;
use crate::graph::Client;
use api::Api;
pub(super) use parts::permission;
pub use parts::{DriveOptions, Versions};
pub(super) use restore::DriveTarget;
pub(super) use sharing::Turns;

/// One drive: of a user, or a library of a site.
pub struct Drive {
    key: CollectionKey,
    path: String,
    api: Api,
    options: DriveOptions,
}

impl Drive {
    /// Names a drive of a user, by the directory's object id, the name to show (the user principal name), the drive's
    /// id, and the drive's own name if it is not the user's default one.
    pub fn new(client: Client, user_id: &str, user_name: &str, drive_id: &str, further: Option<&str>) -> Self {
        let key = CollectionKey {
            owner: Owner::User(user_id.to_owned()),
            workload: Workload::OneDrive,
            id: drive_id.to_owned(),
        };
        let title = Workload::OneDrive.title();
        let path = match further {
            Some(name) => format!("users/{user_name}/{title} - {name}"),
            None => format!("users/{user_name}/{title}"),
        };
        Self { key, path, api: Api::new(client, drive_id), options: DriveOptions::default() }
    }

    /// Says how the drive is read.
    #[must_use]
    pub fn with_options(mut self, options: DriveOptions) -> Self {
        self.options = options;
        self
    }

    /// Names a document library, by its owner, the owner's name, the workload it belongs to, the drive's id and its name.
    pub(super) fn library(
        client: Client,
        (owner, owner_name): (Owner, &str),
        workload: Workload,
        drive_id: &str,
        name: &str,
    ) -> Self {
        let path = format!("{}/{}/{}", owner_path(&owner, owner_name), workload.title(), clean(name));
        let key = CollectionKey { owner, workload, id: drive_id.to_owned() };
        Self { key, path, api: Api::new(client, drive_id), options: DriveOptions::default() }
    }
}

#[async_trait]
impl Collection for Drive {
    fn key(&self) -> &CollectionKey {
        &self.key
    }

    fn path(&self) -> &str {
        &self.path
    }

    async fn changes(&self, previous: Previous<'_>, known: &dyn Known, sink: &mut dyn Sink) -> Result<ChangesEnd> {
        list::changes((&self.api, self.options), &self.key.to_string(), previous, known, sink).await
    }

    async fn fetch(&self, wanted: &Wanted, contents: &mut dyn ContentSink) -> Result<Fetched> {
        fetch::file(&self.api, &self.key.to_string(), wanted, contents).await
    }
}
