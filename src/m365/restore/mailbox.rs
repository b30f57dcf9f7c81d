//! A mailbox that takes items: its requests, and the mark by which what was made is found again.

use serde_json::{Map, Value, json};

use super::Destination;
use crate::error::{Error, Result};
use crate::graph::links::segment;
use crate::graph::{Client, GraphRequest, IMMUTABLE_IDS, Payload, Scope};
use crate::m365::door::Owner;
use crate::m365::walk::id_of;

/// The property of an item that holds the mark of its making (a named MAPI property of our own).
const MARK: &str = "String {6f1d6c3a-8c6e-4f0b-9a55-0c2f7f0e9b41} Name TenantvaultMark";

/// One mailbox that is written to.
pub(in crate::m365) struct Mailbox {
    pub(in crate::m365) client: Client,
    user: String,
    path: String,
}

impl Mailbox {
    /// The mailbox of a destination.
    ///
    /// # Errors
    /// `InvalidInput` if the owner is no user.
    pub(in crate::m365) fn new(client: &Client, to: &Destination) -> Result<Self> {
        let Owner::User(user) = &to.owner else {
            let what = to.from.workload.title();
            return Err(Error::invalid(format!("{what} can go into the mailbox of a user only, not into {}", to.name))
                .with_hint("name a user with --to"));
        };
        let path = format!("{}/{}/{}", to.owner.word(), to.name, to.from.workload.title());
        Ok(Self { client: client.clone(), user: user.clone(), path })
    }

    /// The place as people read it.
    pub(in crate::m365) fn path(&self) -> &str {
        &self.path
    }

    /// Which budget pays.
    pub(in crate::m365) fn scope(&self) -> Scope {
        Scope::Mailbox(self.user.clone())
    }

    fn url(&self, rest: &str) -> String {
        format!("users/{}/{rest}", segment(&self.user))
    }

    pub(in crate::m365) fn get(&self, rest: &str) -> GraphRequest {
        GraphRequest::get(self.scope(), self.url(rest)).prefer(IMMUTABLE_IDS)
    }

    pub(in crate::m365) fn post(&self, rest: &str, body: &Value) -> GraphRequest {
        GraphRequest::post(self.scope(), self.url(rest), body).prefer(IMMUTABLE_IDS)
    }

    pub(in crate::m365) fn patch(&self, rest: &str, body: &Value) -> GraphRequest {
        GraphRequest::patch(self.scope(), self.url(rest), body).prefer(IMMUTABLE_IDS)
    }

    pub(in crate::m365) fn put(&self, rest: &str, body: Payload) -> GraphRequest {
        GraphRequest::put(self.scope(), self.url(rest), body).prefer(IMMUTABLE_IDS)
    }

    pub(in crate::m365) fn delete(&self, rest: &str) -> GraphRequest {
        GraphRequest::delete(self.scope(), self.url(rest)).prefer(IMMUTABLE_IDS)
    }

    /// Puts the mark of a making into what is sent.
    pub(in crate::m365) fn marked(mut body: Map<String, Value>, mark: &str) -> Value {
        body.insert("singleValueExtendedProperties".into(), json!([{"id": MARK, "value": mark}]));
        body.into()
    }

    /// Finds among the items of a list the one that was made with a mark.
    ///
    /// # Errors
    /// Graph's.
    pub(in crate::m365) async fn marked_in(&self, list: &str, mark: &str) -> Result<Option<String>> {
        // Marks are letters, digits and dashes.
        let filter = format!("singleValueExtendedProperties/any(ep:ep/id eq '{MARK}' and ep/value eq '{mark}')");
        let rows = self.client.get_all(self.get(&format!("{list}?$select=id&$filter={}", segment(&filter)))).await?;
        Ok(rows.first().and_then(id_of).map(str::to_owned))
    }

    /// Says whether a list has nothing in it.
    ///
    /// # Errors
    /// Graph's.
    pub(in crate::m365) async fn is_empty(&self, list: &str) -> Result<bool> {
        let page = self.client.get_page(self.get(&format!("{list}?$top=1&$select=id"))).await?;
        Ok(page.rows.values().next().is_none())
    }
}
