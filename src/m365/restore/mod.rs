//! Items go back into a tenant: the targets of all workloads, by what is restored and where to.
//!
//! Each workload has a file `restore.rs` beside the others of its own, or a file here; [`open`] is where they are listed.

mod door;

pub use door::{Cost, Fit, Found, Made, Opened, Order, Present, Source, Target, Undo};

use crate::error::{Error, Result};
use crate::graph::Client;
use crate::m365::door::{CollectionKey, Owner, Workload};
use crate::m365::drive::DriveTarget;
use crate::m365::mail::MailTarget;

/// Where the items of one collection go.
#[derive(Debug, Clone)]
pub struct Destination {
    /// Who takes them.
    pub owner: Owner,
    /// The owner's name, for people.
    pub name: String,
    /// The collection that they come from.
    pub from: CollectionKey,
    /// The last part of the path of the collection that they come from: a library's, list's or channel's name.
    pub title: String,
    /// The owner is the one that they come from.
    pub original: bool,
}

/// Opens what takes the items of a collection.
///
/// # Errors
/// `InvalidInput` if the owner cannot take items of that workload; Graph's, where a place has to be looked up.
pub async fn open(client: &Client, to: &Destination) -> Result<Box<dyn Target>> {
    let (owner, name) = (to.owner.id(), to.name.as_str());
    match (to.from.workload, &to.owner) {
        (Workload::Mail, Owner::User(_)) => return Ok(Box::new(MailTarget::open(client.clone(), owner, name).await?)),
        (Workload::OneDrive | Workload::Files | Workload::PersonalSite, _) if DriveTarget::takes(to) => {
            return Ok(Box::new(DriveTarget::open(client.clone(), to).await?));
        }
        _ => {}
    }
    let what = to.from.workload.title();
    Err(Error::invalid(format!("{what} cannot be restored into {}/{}", to.owner.word(), to.name))
        .with_hint("export writes it to a folder"))
}
