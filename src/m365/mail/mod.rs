//! Mail: all folders and messages of a mailbox, as one collection.
//!
//! Folders come by one delta, messages by one delta a folder, so an idle mailbox costs one request a folder and one
//! more. Contents are the MIME form; properties come with the delta pages and cost nothing. With immutable ids a moved
//! message keeps its id: its removal in one folder and its appearance in another are one change of its record.
//!
//! Source: Microsoft Graph, "Get incremental changes to messages in a folder".

mod api;
mod compose;
mod folders;
mod list;
mod model;
mod restore;

use async_trait::async_trait;

use super::door::{
    ChangesEnd, Collection, CollectionKey, ContentSink, Fetched, Known, Owner, Previous, Sink, Wanted, Workload,
};
use crate::error::Result;
use crate::graph::Client;
use api::Api;
pub(super) use restore::{MailTarget, WELL_KNOWN};

/// How the mail of a mailbox is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MailOptions {
    /// Reads the Recoverable Items too: what users deleted for good and Exchange still keeps.
    pub recoverable_items: bool,
}

/// The mail of one mailbox.
pub struct Mail {
    key: CollectionKey,
    path: String,
    api: Api,
    options: MailOptions,
}

impl Mail {
    /// Names the mail of a user, by the directory's object id and the name to show (the user principal name).
    pub fn new(client: Client, user_id: &str, user_name: &str, options: MailOptions) -> Self {
        let key = CollectionKey { owner: Owner::User(user_id.to_owned()), workload: Workload::Mail, id: String::new() };
        let path = format!("users/{user_name}/{}", Workload::Mail.title());
        Self { key, path, api: Api::new(client, user_id), options }
    }
}

#[async_trait]
impl Collection for Mail {
    fn key(&self) -> &CollectionKey {
        &self.key
    }

    fn path(&self) -> &str {
        &self.path
    }

    async fn changes(&self, previous: Previous<'_>, known: &dyn Known, sink: &mut dyn Sink) -> Result<ChangesEnd> {
        list::changes(&self.api, self.options, &self.key.to_string(), previous, known, sink).await
    }

    async fn fetch(&self, wanted: &Wanted, contents: &mut dyn ContentSink) -> Result<Fetched> {
        self.api.fetch(&self.key.to_string(), wanted, contents).await
    }
}
