//! SharePoint: what a site is made of, its lists, its pages, the term store. Libraries are read as drives.
//!
//! Units are SharePoint's resource units: 1 for a single thing and for a delta with a token, 2 for a list, 5 for
//! permissions.
//!
//! Source: Microsoft Graph, "Working with SharePoint sites in Microsoft Graph", "Avoid getting throttled or blocked in
//! SharePoint Online".

mod fields;
mod list;
mod pages;
pub(super) mod restore;
mod sharing;
mod site;
mod terms;
mod values;

use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use crate::error::Result;
use crate::graph::links::segment;
use crate::graph::{Client, GraphRequest, Scope};

pub(super) use list::{list, named};
pub(super) use pages::{PERSONAL_PAGES, pages};
pub(super) use sharing::ListSharing;
pub(super) use site::site;
pub(super) use terms::{GROUPS, is_own, localized, terms};

/// What is asked for of a site.
pub(super) const SITE_PROPERTIES: &str = "id,name,displayName,description,webUrl,createdDateTime,lastModifiedDateTime,\
eTag,isPersonalSite,root,siteCollection,sharepointIds";
/// What is asked for of a list.
pub(super) const LIST_PROPERTIES: &str = "id,name,displayName,description,webUrl,createdDateTime,createdBy,\
lastModifiedDateTime,lastModifiedBy,eTag,list,system,parentReference,sharepointIds";

/// A request to something of a site.
pub(super) fn of_site(site: &str, url: &str) -> GraphRequest {
    let slash = if url.starts_with('?') { "" } else { "/" };
    GraphRequest::get(Scope::Files, format!("sites/{}{slash}{url}", segment(site)))
}

/// What discovery told of something. It is good for one reading; a later one asks again.
struct Discovered(Mutex<Option<Value>>);

impl Discovered {
    fn new(row: Value) -> Self {
        Self(Mutex::new(Some(row)))
    }

    /// Gives what discovery told, or asks.
    async fn or(&self, client: &Client, request: GraphRequest) -> Result<Value> {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        match told {
            Some(row) => Ok(row),
            None => client.get_json(request).await.map(without_context),
        }
    }
}

/// An answer for one thing as a row of a list has it.
fn without_context(mut row: Value) -> Value {
    if let Some(row) = row.as_object_mut() {
        row.shift_remove("@odata.context");
    }
    row
}
