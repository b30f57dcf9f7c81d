//! The folders of a mailbox: which there are, what changed of them, where each one's messages are read on.

use std::collections::{BTreeMap, BTreeSet};

use futures::TryStreamExt;
use serde_json::Value;

use super::MailOptions;
use super::api::Api;
use super::model::{Told, folder};
use crate::error::Result;
use crate::format::collection::Cursors;
use crate::format::record::ItemKind;
use crate::graph::DeltaPages;
use crate::m365::contents::{Trouble, is_over_quota, trouble};
use crate::m365::door::Known;
use crate::m365::facts::{at, number, text};

/// The name of the cursor of the folders themselves.
const FOLDERS: &str = "folders";

/// The names of links of pages at which an enumeration was broken off begin with this. See [`crate::m365::Sink::checkpoint`].
const PAGE: &str = "p:";

/// Which list a folder belongs to; begins the name of its cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shelf {
    /// An ordinary folder.
    Messages,
    /// A search folder: nothing is read from it.
    Search,
    /// A folder of the Recoverable Items.
    Recoverable,
}

impl Shelf {
    fn prefix(self) -> &'static str {
        match self {
            Self::Messages => "m:",
            Self::Search => "s:",
            Self::Recoverable => "r:",
        }
    }

    fn of_cursor(name: &str) -> Option<(Self, &str)> {
        [Self::Messages, Self::Search, Self::Recoverable]
            .into_iter()
            .find_map(|shelf| name.strip_prefix(shelf.prefix()).map(|id| (shelf, id)))
    }
}

/// A folder that is there now.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    pub(super) id: String,
    shelf: Shelf,
    /// Where its messages are read on.
    pub(super) link: Option<String>,
    /// The page at which its enumeration was broken off.
    pub(super) page: Option<String>,
}

impl Folder {
    /// Says whether it holds messages of its own.
    pub(super) fn has_messages(&self) -> bool {
        self.shelf != Shelf::Search
    }

    /// Notes in `cursors` the page at which the enumeration goes on if it is broken off.
    pub(super) fn note_page(&self, cursors: &mut Cursors, page: &str) {
        self.note(cursors, None);
        cursors.set(format!("{PAGE}{}", self.id), page);
    }

    /// Notes in `cursors` that the folder is there, and where to read on.
    pub(super) fn note(&self, cursors: &mut Cursors, link: Option<&str>) {
        cursors.links.retain(|(name, _)| name.strip_prefix(PAGE) != Some(self.id.as_str()));
        cursors.set(format!("{}{}", self.shelf.prefix(), self.id), link.unwrap_or_default());
    }
}

/// The folders of a mailbox after asking what changed.
pub(super) struct Folders {
    /// All that are there now.
    pub(super) all: Vec<Folder>,
    /// New and changed ones; parents that are no folders of the mailbox are the top.
    pub(super) told: Vec<Told>,
    /// Those that the previous snapshot had and that are no longer there.
    pub(super) gone: BTreeSet<String>,
    /// Where to read on.
    pub(super) link: Option<String>,
    /// The saved link was no longer honoured.
    pub(super) resynced: bool,
}

/// Asks which folders there are and what changed of them.
pub(super) async fn read(
    api: &Api,
    options: MailOptions,
    previous: Option<&Cursors>,
    known: &dyn Known,
) -> Result<Folders> {
    let mut round = match previous {
        Some(cursors) => Round::after(cursors),
        None => Round::without_cursors(known).await?,
    };
    round.ask_mailbox(api, previous.and_then(|cursors| cursors.get(FOLDERS))).await?;
    round.ask_recoverable(api, options).await?;
    round.settle_orphans(api, known).await?;
    Ok(round.finish())
}

impl Folders {
    /// Notes in `cursors` where to read the folders on.
    pub(super) fn note(&self, cursors: &mut Cursors) {
        cursors.set(FOLDERS, self.link.as_deref().unwrap_or_default());
    }
}

struct Round {
    /// The folders of the previous snapshot, in order.
    before: Vec<Folder>,
    told: BTreeMap<String, (Shelf, Told)>,
    gone: BTreeSet<String>,
    link: Option<String>,
    resynced: bool,
}

impl Round {
    fn from(before: Vec<Folder>) -> Self {
        Self { before, told: BTreeMap::new(), gone: BTreeSet::new(), link: None, resynced: false }
    }

    fn after(cursors: &Cursors) -> Self {
        let before = cursors.links.iter().filter_map(|(name, link)| {
            let (shelf, id) = Shelf::of_cursor(name)?;
            let link = (!link.is_empty()).then(|| link.clone());
            let page = cursors.get(&format!("{PAGE}{id}")).map(str::to_owned);
            Some(Folder { id: id.to_owned(), shelf, link, page })
        });
        Self::from(before.collect())
    }

    /// Where an earlier reading broke off, folders may be known although there are no cursors.
    async fn without_cursors(known: &dyn Known) -> Result<Self> {
        let mut before = Vec::new();
        let mut ids = known.ids().await?;
        while let Some(id) = ids.try_next().await? {
            if known.record(&id).await?.is_some_and(|record| record.kind.is_container()) {
                before.push(Folder { id, shelf: Shelf::Messages, link: None, page: None });
            }
        }
        Ok(Self::from(before))
    }

    async fn ask_mailbox(&mut self, api: &Api, saved: Option<&str>) -> Result<()> {
        let saved = saved.filter(|link| !link.is_empty());
        let mut asked = match saved {
            Some(_) => self.take_pages(api.folders(saved)).await.map(|()| false),
            None => self.take_pages(api.folders(None)).await.map(|()| true),
        };
        if let Some(Trouble::Resync { .. }) = asked.as_ref().err().map(trouble) {
            self.resynced = saved.is_some();
            self.told.clear();
            self.gone.clear();
            asked = self.take_pages(api.folders(None)).await.map(|()| true);
        }
        if asked.as_ref().err().is_some_and(is_over_quota) {
            self.told.clear();
            self.gone.clear();
            asked = self.list_below(api, "msgfolderroot", None).await.map(|()| true);
            // The saved link is still good once the mailbox has room again.
            self.link = saved.map(str::to_owned);
        }
        if asked.map_err(|error| error.context("Listing the folders of the mailbox failed"))? {
            self.drop_untold(|shelf| shelf != Shelf::Recoverable);
        }
        Ok(())
    }

    async fn take_pages(&mut self, mut pages: DeltaPages) -> Result<()> {
        while let Some(page) = pages.next().await? {
            for value in page.rows.values() {
                self.take(&value?, None);
            }
        }
        self.link = pages.delta_link().map(str::to_owned);
        Ok(())
    }

    fn take(&mut self, value: &Value, shelf: Option<Shelf>) {
        let Some(id) = text(value, &["id"]) else { return };
        if at(value, &["@removed"]).is_some() {
            self.told.remove(id);
            self.gone.insert(id.to_owned());
        } else if let Some(told) = folder(value) {
            let shelf = shelf.unwrap_or(match told.record.kind {
                ItemKind::MailSearchFolder => Shelf::Search,
                _ => Shelf::Messages,
            });
            self.gone.remove(id);
            self.told.insert(id.to_owned(), (shelf, told));
        }
    }

    /// Counts as gone what the previous snapshot had on these shelves and was not told.
    fn drop_untold(&mut self, on_shelf: impl Fn(Shelf) -> bool) {
        let untold = self.before.iter().filter(|folder| on_shelf(folder.shelf) && !self.told.contains_key(&folder.id));
        self.gone.extend(untold.map(|folder| folder.id.clone()));
    }

    /// The Recoverable Items have no delta of folders: they are listed each time, and compared.
    async fn ask_recoverable(&mut self, api: &Api, options: MailOptions) -> Result<()> {
        if options.recoverable_items {
            match self.list_recoverable(api).await {
                Ok(()) => (),
                Err(error) if trouble(&error) == Trouble::Gone => (),
                Err(error) => return Err(error.context("Listing the Recoverable Items failed")),
            }
        }
        self.drop_untold(|shelf| shelf == Shelf::Recoverable);
        Ok(())
    }

    async fn list_recoverable(&mut self, api: &Api) -> Result<()> {
        let root = api.folder("recoverableitemsroot").await?;
        self.take(&root, Some(Shelf::Recoverable));
        match text(&root, &["id"]) {
            Some(id) => self.list_below(api, id, Some(Shelf::Recoverable)).await,
            None => Ok(()),
        }
    }

    /// Lists all folders below one, level by level.
    async fn list_below(&mut self, api: &Api, top: &str, shelf: Option<Shelf>) -> Result<()> {
        let mut open = vec![top.to_owned()];
        let mut listed = BTreeSet::new();
        while let Some(parent) = open.pop() {
            for child in api.child_folders(&parent).await? {
                self.take(&child, shelf);
                let empty = number(&child, &["childFolderCount"]) == Some(0);
                let new = text(&child, &["id"]).filter(|id| !empty && listed.insert((*id).to_owned()));
                open.extend(new.map(str::to_owned));
            }
        }
        Ok(())
    }

    /// Asks again about folders whose parent went away and which were not told themselves.
    async fn settle_orphans(&mut self, api: &Api, known: &dyn Known) -> Result<()> {
        let mut settled = BTreeSet::new();
        loop {
            let mut again = false;
            for place in 0..self.before.len() {
                let Some(id) = self.before.get(place).map(|folder| folder.id.clone()) else { break };
                if self.gone.is_empty()
                    || self.gone.contains(&id)
                    || self.told.contains_key(&id)
                    || settled.contains(&id)
                {
                    continue;
                }
                let orphan = known.record(&id).await?.is_some_and(|record| self.gone.contains(&record.parent));
                if !orphan {
                    continue;
                }
                match api.folder(&id).await {
                    Ok(value) => self.take(&value, None),
                    Err(error) => match trouble(&error) {
                        Trouble::Gone => drop(self.gone.insert(id.clone())),
                        Trouble::Fatal => return Err(error),
                        Trouble::Gap { .. } | Trouble::Resync { .. } => (),
                    },
                }
                settled.insert(id);
                again = true;
            }
            if !again {
                return Ok(());
            }
        }
    }

    fn finish(self) -> Folders {
        let known: BTreeSet<String> = self.before.iter().map(|folder| folder.id.clone()).collect();
        let mut all: Vec<Folder> = self.before.into_iter().filter(|folder| !self.gone.contains(&folder.id)).collect();
        for folder in &mut all {
            if let Some((shelf, _)) = self.told.get(&folder.id) {
                folder.shelf = *shelf;
            }
        }
        let new = self.told.iter().filter(|(id, _)| !known.contains(*id));
        all.extend(new.map(|(id, (shelf, _))| Folder { id: id.clone(), shelf: *shelf, link: None, page: None }));
        let there: BTreeSet<&str> = all.iter().map(|folder| folder.id.as_str()).collect();
        let mut told: Vec<Told> = self.told.into_values().map(|(_, told)| told).collect();
        for told in &mut told {
            if !there.contains(told.record.parent.as_str()) {
                told.record.parent.clear();
            }
        }
        let gone = self.gone.into_iter().filter(|id| known.contains(id)).collect();
        Folders { all, told, gone, link: self.link, resynced: self.resynced }
    }
}
