//! Items go back into a tenant: the targets of all workloads, by what is restored and where to.
//!
//! Each workload has a file `restore.rs` beside the others of its own, or a file here; [`open`] is where they are listed.

pub(super) mod attachments;
mod contacts;
mod cost;
mod door;
pub mod lost;
pub(super) mod mailbox;
mod pages;
mod planner;
mod posts;
mod room;
pub(super) mod rows;
mod settings;
mod site;
mod tasks;
mod team;
mod terms;
mod threads;

pub use door::{
    Cost, Extras, Fit, Found, Log, Made, Opened, Order, Present, Since, Source, Target, UNDO_LEAVES, Undo, Unlogged,
};
pub use posts::Brought;
pub use room::{Held, Room};

use crate::error::{Error, Result};
use crate::graph::links::segment;
use crate::graph::{Client, GraphRequest, Scope};
use crate::m365::calendar::restore::Calendars;
use crate::m365::discover::site_of;
use crate::m365::door::{CollectionKey, Owner, Workload};
use crate::m365::drive::DriveTarget;
use crate::m365::mail::MailTarget;
use crate::m365::sites;
use crate::m365::sites::restore::ListTarget;

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
    let mailbox = || mailbox::Mailbox::new(client, to);
    match (to.from.workload, &to.owner) {
        (Workload::Mail, Owner::User(_)) => return Ok(Box::new(MailTarget::open(client.clone(), owner, name).await?)),
        (Workload::OneDrive | Workload::Files | Workload::PersonalSite, _) if DriveTarget::takes(to) => {
            return Ok(Box::new(DriveTarget::open(client.clone(), to).await?));
        }
        (Workload::PersonalSite, Owner::User(_) | Owner::Site(_)) => return in_personal_site(client, to).await,
        (Workload::Calendar, _) if !matches!(to.from.owner, Owner::Group(_)) => {
            return Ok(Box::new(Calendars(mailbox()?)));
        }
        (Workload::Contacts, _) => return Ok(Box::new(contacts::Contacts(mailbox()?))),
        (Workload::Tasks, _) => return Ok(Box::new(tasks::Tasks(mailbox()?))),
        (Workload::Settings, _) => return Ok(Box::new(settings::Settings::new(mailbox()?, to))),
        (Workload::List, _) => return Ok(Box::new(ListTarget::new(client, to)?)),
        (Workload::Team, _) => return Ok(Box::new(team::Team::open(client, to).await?)),
        (Workload::Site, _) => return Ok(Box::new(site::SiteTarget::new(client, to)?)),
        (Workload::Pages, _) => return Ok(Box::new(pages::Pages::new(client, to)?)),
        (Workload::TermStore, _) => return Ok(Box::new(terms::Terms::new(client, to)?)),
        (Workload::Chats | Workload::Channel | Workload::Conversations, _) => {
            return Ok(Box::new(threads::Threads::open(client, to).await?));
        }
        (Workload::Planner, _) => return Ok(Box::new(planner::Planner::new(client, to)?)),
        _ => {}
    }
    let what = to.from.workload.title();
    Err(Error::invalid(format!("{what} cannot be restored into {}/{}", to.owner.word(), to.name))
        .with_hint("export writes it to a folder"))
}

/// Lists and pages of a personal site go into such a site, or into another one.
async fn in_personal_site(client: &Client, to: &Destination) -> Result<Box<dyn Target>> {
    let site = match &to.owner {
        Owner::User(user) => {
            let url = format!("users/{}/drive?$select=id,webUrl,sharePointIds", segment(user));
            let drive = client.get_json(GraphRequest::get(Scope::Files, url).units(1)).await?;
            site_of(&drive).ok_or_else(|| {
                Error::not_found(format!("Graph does not say which site the OneDrive of {} lies in", to.name))
            })?
        }
        owner => owner.id().to_owned(),
    };
    let to = Destination { owner: Owner::Site(site), ..to.clone() };
    Ok(match to.from.id.as_str() {
        sites::PERSONAL_PAGES => Box::new(pages::Pages::new(client, &to)?),
        _ => Box::new(ListTarget::new(client, &to)?),
    })
}
