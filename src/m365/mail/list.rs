//! Reading what changed in a mailbox.
//!
//! Folders first, then the messages of each. A message that leaves a folder is told as removed there, whether it was
//! deleted or moved: removals are held back until every folder was read, and an id seen elsewhere stays.

use std::collections::{BTreeSet, HashMap, HashSet};

use futures::{StreamExt, TryStreamExt};

use super::MailOptions;
use super::api::Api;
use super::folders::{Folder, Folders, read};
use super::model::{Plan, Told, message, plan};
use crate::error::{Error, Result};
use crate::format::collection::{Cursors, Gap};
use crate::format::record::ItemKind;
use crate::graph::{DeltaPages, Page};
use crate::m365::contents::{Trouble, is_over_quota, trouble};
use crate::m365::door::{Change, ChangesEnd, Contents, Known, Previous, Sink, Wanted};
use crate::m365::facts::{IdKey, at, same_facts, text};
use crate::m365::rounds::{SeenItems, print_of};

/// How many folders' first pages are asked for at once: as many as Exchange lets one app do in one mailbox.
const AHEAD: usize = 4;

/// Puts what changed in a mailbox into `sink`.
pub(super) async fn changes(
    api: &Api,
    options: MailOptions,
    collection: &str,
    previous: Previous<'_>,
    known: &dyn Known,
    sink: &mut dyn Sink,
) -> Result<ChangesEnd> {
    let folders = read(api, options, previous.cursors, known).await?;
    let mut round = Round {
        api,
        collection,
        known,
        sink,
        folders: folders.all.iter().map(|folder| folder.id.clone()).collect(),
        numbers: folders.all.iter().map(|folder| folder.id.clone()).zip(0..).collect(),
        seen: SeenItems::default(),
        removed: BTreeSet::new(),
        disputed: BTreeSet::new(),
        taken: 0,
        unread: HashSet::new(),
        resynced: folders.resynced,
        so_far: Cursors::default(),
        retry: previous.retry,
        checkpoints: false,
    };
    round.put_folders(&folders).await?;
    let mut end = ChangesEnd::default();
    folders.note(&mut end.cursors);
    folders.note(&mut round.so_far);
    for folder in &folders.all {
        match &folder.page {
            Some(page) => folder.note_page(&mut round.so_far, page),
            None => folder.note(&mut round.so_far, folder.link.as_deref()),
        }
    }
    round.read_folders(&folders.all, &mut end.cursors).await?;
    if previous.cursors.is_none() {
        round.compare_all().await?;
    }
    round.settle_disputes().await?;
    round.try_again(previous.retry).await?;
    round.remove().await?;
    end.resynced = round.resynced;
    Ok(end)
}

/// One reading of a mailbox.
struct Round<'a> {
    api: &'a Api,
    collection: &'a str,
    known: &'a dyn Known,
    sink: &'a mut dyn Sink,
    /// The ids of all folders.
    folders: Vec<String>,
    /// Where each is in `folders`: a folder's number, its place.
    numbers: HashMap<String, u32>,
    seen: SeenItems,
    /// Messages that left a folder and were seen in no other one so far.
    removed: BTreeSet<String>,
    /// Messages that two folders claim.
    disputed: BTreeSet<String>,
    /// Messages that were passed on from the folder that is being read.
    taken: u64,
    /// Folders that could not be read: what left another one may be there.
    unread: HashSet<String>,
    resynced: bool,
    /// Where to go on if the reading is broken off.
    so_far: Cursors,
    /// What is tried again.
    retry: &'a [String],
    /// Pages tell where to go on if the reading is broken off.
    checkpoints: bool,
}

/// How reading the messages of a folder ended.
enum FolderEnd {
    /// Read; where to read on.
    Read(Option<String>),
    /// The folder is no longer there.
    Gone,
}

impl Round<'_> {
    async fn put_folders(&mut self, folders: &Folders) -> Result<()> {
        for id in &folders.gone {
            self.drop_folder(id).await?;
        }
        for Told { record, properties } in &folders.told {
            if self.known.record(&record.id).await?.is_some_and(|known| same_facts(&known, record)) {
                continue;
            }
            let put = Change::Put {
                record: Box::new(record.clone()),
                properties: properties.clone(),
                contents: Contents::None,
            };
            self.sink.change(put).await?;
        }
        Ok(())
    }

    /// Removes a folder, and holds its messages as removed: some may have moved.
    async fn drop_folder(&mut self, id: &str) -> Result<()> {
        self.hold_untold_messages(id).await?;
        self.sink.change(Change::Remove { id: id.to_owned() }).await
    }

    /// Holds as removed what the previous snapshot had in a folder, and was seen neither by the current walk nor in
    /// another folder.
    async fn hold_untold_messages(&mut self, folder: &str) -> Result<()> {
        let number = self.numbers.get(folder).copied();
        let mut ids = self.known.children(folder).await?;
        while let Some(id) = ids.try_next().await? {
            let seen = self.seen.get(&id);
            let elsewhere = seen.is_some_and(|seen| Some(seen.place) != number);
            if !self.numbers.contains_key(&id) && !elsewhere && !self.seen.in_walk(&id) {
                self.seen.forget(&id);
                self.removed.insert(id);
            }
        }
        Ok(())
    }

    async fn read_folders(&mut self, folders: &[Folder], cursors: &mut Cursors) -> Result<()> {
        let with_messages: Vec<(u32, Folder)> =
            (0..).zip(folders).filter(|(_, folder)| folder.has_messages()).map(|(n, f)| (n, f.clone())).collect();
        let api = self.api.clone();
        // Only saved links are asked ahead: their answers are short, and a first reading may take hours.
        let mut firsts = futures::stream::iter(with_messages)
            .map(move |(number, folder)| first_page(api.clone(), number, folder))
            .buffered(AHEAD);
        while let Some((number, folder, first)) = firsts.next().await {
            let folder = &folder;
            let end = self.read_folder(number, folder, first).await;
            self.checkpoints = false;
            match end {
                Ok(FolderEnd::Read(link)) => {
                    folder.note(&mut self.so_far, link.as_deref());
                    folder.note(cursors, link.as_deref());
                    if folder.link.is_none() {
                        let doubtful = self.removed.iter().chain(&self.disputed).cloned().collect();
                        self.sink.checkpoint(self.so_far.clone(), doubtful).await?;
                    }
                }
                // Dropped, no list of folders would tell of it again.
                Ok(FolderEnd::Gone) if self.is_there(folder).await? => {
                    folder.note(cursors, folder.link.as_deref());
                    let text = "It is there, but the service does not find its messages".to_owned();
                    self.tell_folder_gap(folder, "refused", text).await?;
                }
                // Went away in the middle: what was read of it stays, and the next reading removes all of it.
                Ok(FolderEnd::Gone) if self.taken > 0 => folder.note(cursors, folder.link.as_deref()),
                Ok(FolderEnd::Gone) => {
                    self.numbers.remove(&folder.id);
                    self.drop_folder(&folder.id).await?;
                }
                Err(Stop::Sink(error)) => return Err(error),
                Err(Stop::Source(error)) => {
                    // The old link stays: nothing that it stands for is missed.
                    folder.note(cursors, folder.link.as_deref());
                    self.folder_gap(folder, error).await?;
                }
            }
        }
        for folder in folders.iter().filter(|folder| !folder.has_messages()) {
            folder.note(cursors, None);
        }
        Ok(())
    }

    async fn folder_gap(&mut self, folder: &Folder, error: Error) -> Result<()> {
        let (reason, text) = match trouble(&error) {
            Trouble::Gap { reason, text } => (reason, text),
            Trouble::Resync { .. } => ("resync", "The service gave up its list of the folder twice".to_owned()),
            Trouble::Gone | Trouble::Fatal => return Err(error),
        };
        self.tell_folder_gap(folder, reason, text).await
    }

    /// Says whether a folder is there of which the messages are not found; where that is not told, it may be.
    async fn is_there(&self, folder: &Folder) -> Result<bool> {
        match self.api.folder(&folder.id).await {
            Ok(_) => Ok(true),
            Err(error) => match trouble(&error) {
                Trouble::Fatal => Err(error),
                Trouble::Gone => Ok(false),
                Trouble::Gap { .. } | Trouble::Resync { .. } => Ok(true),
            },
        }
    }

    async fn tell_folder_gap(&mut self, folder: &Folder, reason: &str, text: String) -> Result<()> {
        let name = self.known.record(&folder.id).await?.map(|record| record.name).unwrap_or_default();
        let gap = Gap {
            collection: self.collection.to_owned(),
            id: folder.id.clone(),
            name,
            kind: Some(ItemKind::MailFolder),
            reason: reason.to_owned(),
            text,
            since_us: 0,
        };
        self.unread.insert(folder.id.clone());
        self.sink.change(Change::Gap(gap)).await
    }

    async fn read_folder(&mut self, number: u32, folder: &Folder, first: FirstPage) -> Result<FolderEnd, Stop> {
        let mut again = None;
        self.taken = 0;
        self.seen.begin_walk();
        let first_walk = self.seen.walk();
        if let Some((mut pages, first)) = first {
            match self.take_pages(number, folder, &mut pages, Some(first)).await {
                Err(Stop::Source(error)) => match trouble(&error) {
                    Trouble::Resync { location } => {
                        self.resynced = true;
                        again = location;
                    }
                    Trouble::Gone => return Ok(FolderEnd::Gone),
                    _ if is_over_quota(&error) => return self.list_plainly(number, folder, first_walk).await,
                    _ => return Err(Stop::Source(error)),
                },
                other => return other.map(FolderEnd::Read),
            }
        }
        if let Some(page) = &folder.page
            && let Some(link) = self.go_on(number, folder, page).await?
        {
            return Ok(FolderEnd::Read(Some(link)));
        }
        self.checkpoints =
            folder.link.is_none() && folder.page.is_none() && self.is_new(folder).await.map_err(Stop::Sink)?;
        self.walk(number, folder, first_walk, again).await
    }

    /// Goes on with an enumeration that was broken off, then asks what changed meanwhile. `None`: the service does not
    /// know the page any more, and the folder is to be read from the beginning.
    async fn go_on(&mut self, number: u32, folder: &Folder, page: &str) -> Result<Option<String>, Stop> {
        self.checkpoints = true;
        let mut pages = self.api.messages(&folder.id, Some(page), None);
        let link = match self.take_pages(number, folder, &mut pages, None).await {
            Ok(Some(link)) => link,
            Err(Stop::Source(error)) if trouble(&error) != Trouble::Fatal => return Ok(None),
            other => return other,
        };
        self.checkpoints = false;
        let mut pages = self.api.messages(&folder.id, Some(&link), None);
        match self.take_pages(number, folder, &mut pages, None).await {
            Err(Stop::Source(error)) if trouble(&error) != Trouble::Fatal => Ok(None),
            other => other,
        }
    }

    /// Says whether nothing is known of what is in a folder, but what is tried again anyway.
    async fn is_new(&self, folder: &Folder) -> Result<bool> {
        let mut ids = self.known.children(&folder.id).await?;
        while let Some(id) = ids.try_next().await? {
            if !self.numbers.contains_key(&id) && !self.retry.contains(&id) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn checkpoint(&mut self, folder: &Folder, next: Option<&str>) -> Result<()> {
        let Some(next) = next.filter(|_| self.checkpoints) else { return Ok(()) };
        folder.note_page(&mut self.so_far, next);
        let doubtful = self.removed.iter().chain(&self.disputed).cloned().collect();
        self.sink.checkpoint(self.so_far.clone(), doubtful).await
    }

    /// Reads a folder from the beginning, and compares.
    async fn walk(
        &mut self,
        number: u32,
        folder: &Folder,
        first_walk: u32,
        mut again: Option<String>,
    ) -> Result<FolderEnd, Stop> {
        let mut attempts = 0;
        let link = loop {
            attempts += 1;
            self.begin_walk(first_walk);
            self.checkpoints &= attempts == 1;
            let mut pages = self.api.messages(&folder.id, None, again.as_deref());
            match self.take_pages(number, folder, &mut pages, None).await {
                Ok(link) => break link,
                Err(Stop::Source(error)) => match trouble(&error) {
                    // Once more from the start; a second time it is a gap.
                    Trouble::Resync { location } if attempts == 1 => again = location,
                    Trouble::Gone => return Ok(FolderEnd::Gone),
                    _ if is_over_quota(&error) => return self.list_plainly(number, folder, first_walk).await,
                    _ => return Err(Stop::Source(error)),
                },
                Err(stop) => return Err(stop),
            }
        };
        self.hold_untold_messages(&folder.id).await.map_err(Stop::Sink)?;
        // What only an aborted walk saw may be gone by now; its id is not kept. Then the next reading compares again.
        let phantoms = self.seen.has_phantoms(number, first_walk);
        Ok(FolderEnd::Read(link.filter(|_| !phantoms)))
    }

    /// Reads a folder from the beginning without delta, and compares.
    async fn list_plainly(&mut self, number: u32, folder: &Folder, first_walk: u32) -> Result<FolderEnd, Stop> {
        self.begin_walk(first_walk);
        let mut next: Option<String> = None;
        let mut followed = HashSet::new();
        loop {
            let page = match self.api.list_page(&folder.id, next.as_deref()).await {
                Ok(page) => page,
                Err(error) if trouble(&error) == Trouble::Gone => return Ok(FolderEnd::Gone),
                Err(error) => return Err(Stop::Source(error)),
            };
            self.take_page(number, folder, &page).await.map_err(Stop::Sink)?;
            match page.next_link {
                Some(link) if !followed.insert(IdKey::of(&link)) => {
                    return Err(Stop::Source(Error::corrupt("Graph's list of messages leads back to itself")));
                }
                Some(link) => next = Some(link),
                None => break,
            }
        }
        self.hold_untold_messages(&folder.id).await.map_err(Stop::Sink)?;
        // The saved link, if any, is still good once the mailbox has room again.
        let phantoms = self.seen.has_phantoms(number, first_walk);
        Ok(FolderEnd::Read(folder.link.clone().filter(|_| !phantoms)))
    }

    /// Begins to enumerate a folder; what was seen since `first_walk` began counts as seen by an aborted walk.
    fn begin_walk(&mut self, first_walk: u32) {
        if self.taken > 0 || self.seen.walk() > first_walk {
            self.seen.begin_walk();
        }
    }

    async fn take_pages(
        &mut self,
        number: u32,
        folder: &Folder,
        pages: &mut DeltaPages,
        mut first: Option<Result<Option<Page>>>,
    ) -> Result<Option<String>, Stop> {
        loop {
            let page = match first.take() {
                Some(page) => page,
                None => pages.next().await,
            };
            let Some(page) = page.map_err(Stop::Source)? else { break };
            self.take_page(number, folder, &page).await.map_err(Stop::Sink)?;
            self.checkpoint(folder, pages.next_link()).await.map_err(Stop::Sink)?;
        }
        Ok(pages.delta_link().map(str::to_owned))
    }

    async fn take_page(&mut self, number: u32, folder: &Folder, page: &Page) -> Result<()> {
        for value in page.rows.values() {
            let value = &value?;
            let Some(id) = text(value, &["id"]) else { continue };
            if at(value, &["@removed"]).is_some() {
                self.take_removed(number, folder, id).await?;
            } else if let Some(told) = message(value, &folder.id) {
                self.take_message(number, told, false).await?;
            }
        }
        Ok(())
    }

    async fn take_removed(&mut self, number: u32, folder: &Folder, id: &str) -> Result<()> {
        match self.seen.get(id) {
            Some(seen) if seen.place == number => {
                self.seen.forget(id);
                self.removed.insert(id.to_owned());
            }
            // Seen in another folder in this reading: it moved there.
            Some(_) => (),
            None => {
                // Known to be in another folder already: an old story.
                if self.known.record(id).await?.is_some_and(|known| known.parent == folder.id) {
                    self.removed.insert(id.to_owned());
                }
            }
        }
        Ok(())
    }

    async fn take_message(&mut self, number: u32, told: Told, forced: bool) -> Result<()> {
        let Told { record, properties } = told;
        self.taken += 1;
        let print = print_of(&record);
        let before = self.seen.get(&record.id);
        if before.is_some_and(|seen| seen.place == number && seen.print == print) && !forced {
            self.seen.put(&record.id, number, print, false);
            return Ok(());
        }
        if before.is_some_and(|seen| seen.place != number) && !forced {
            self.disputed.insert(record.id.clone());
        }
        let known = self.known.record(&record.id).await?;
        let mut plan = plan(known.as_ref(), &record);
        if self.seen.was_fetched(&record.id) {
            // An earlier telling in this reading had contents that the previous snapshot lacks.
            plan = Plan::Fetch;
        }
        self.removed.remove(&record.id);
        let first_telling = !self.seen.was_told(&record.id) && !forced;
        self.seen.put(&record.id, number, print, plan == Plan::Fetch);
        let contents = match plan {
            Plan::Nothing if first_telling => return Ok(()),
            Plan::Nothing | Plan::Keep => Contents::Keep,
            Plan::Fetch => Contents::Fetch(Box::new(Wanted::of(record.clone()))),
        };
        self.sink.change(Change::Put { record: Box::new(record), properties, contents }).await
    }

    /// Where an earlier reading broke off, messages may be known whose folder is not: all that were not seen are gone.
    async fn compare_all(&mut self) -> Result<()> {
        let mut ids = self.known.ids().await?;
        while let Some(id) = ids.try_next().await? {
            if self.numbers.contains_key(&id) || self.seen.get(&id).is_some() {
                continue;
            }
            let parent = self.known.record(&id).await?.map(|record| record.parent).unwrap_or_default();
            if !self.unread.contains(&parent) {
                self.removed.insert(id);
            }
        }
        Ok(())
    }

    /// Asks each message that two folders claim where it is.
    async fn settle_disputes(&mut self) -> Result<()> {
        for id in std::mem::take(&mut self.disputed) {
            self.ask(&id, false).await?;
        }
        Ok(())
    }

    /// Tries the gaps of the previous snapshot again, as far as this reading did not.
    async fn try_again(&mut self, retry: &[String]) -> Result<()> {
        for id in retry {
            let is_folder = self.numbers.contains_key(id);
            if !id.is_empty() && !is_folder && !self.seen.was_told(id) && !self.removed.contains(id) {
                self.ask(id, false).await?;
            }
        }
        Ok(())
    }

    /// Asks for one message by its id; `left`: the folder where it was known has told that it left.
    async fn ask(&mut self, id: &str, left: bool) -> Result<()> {
        let value = match self.api.message(id).await {
            Ok(value) => value,
            Err(error) => {
                return match trouble(&error) {
                    Trouble::Gone | Trouble::Resync { .. } => {
                        self.seen.forget(id);
                        self.removed.insert(id.to_owned());
                        Ok(())
                    }
                    Trouble::Gap { reason, text } => self.message_gap(id, reason, text).await,
                    Trouble::Fatal => Err(error),
                };
            }
        };
        let known = self.known.record(id).await?;
        let number_of = |folder: &str| self.numbers.get(folder).copied();
        let claimed = text(&value, &["parentFolderId"]).and_then(number_of);
        let seen = self.seen.get(id).map(|seen| seen.place);
        let last = known.as_ref().filter(|_| !left).and_then(|record| number_of(&record.parent));
        let place = claimed.or(seen).or(last);
        let folder = place.and_then(|number| Some((number, self.folders.get(number as usize)?)));
        match folder.and_then(|(number, folder)| Some((number, message(&value, folder)?))) {
            Some((number, told)) => self.take_message(number, told, true).await,
            None => {
                // It is in no folder that is read.
                self.removed.insert(id.to_owned());
                Ok(())
            }
        }
    }

    async fn message_gap(&mut self, id: &str, reason: &str, text: String) -> Result<()> {
        let name = self.known.record(id).await?.map(|record| record.name).unwrap_or_default();
        let gap = Gap {
            collection: self.collection.to_owned(),
            id: id.to_owned(),
            name,
            kind: Some(ItemKind::Message),
            reason: reason.to_owned(),
            text,
            since_us: 0,
        };
        self.sink.change(Change::Gap(gap)).await
    }

    /// Lets go of what was held as removed.
    async fn remove(&mut self) -> Result<()> {
        if !self.unread.is_empty() {
            for id in std::mem::take(&mut self.removed) {
                self.ask(&id, true).await?;
            }
        }
        for id in std::mem::take(&mut self.removed) {
            self.sink.change(Change::Remove { id }).await?;
        }
        Ok(())
    }
}

type FirstPage = Option<(DeltaPages, Result<Option<Page>>)>;

async fn first_page(api: Api, number: u32, folder: Folder) -> (u32, Folder, FirstPage) {
    let Some(link) = folder.link.clone() else { return (number, folder, None) };
    let mut pages = api.messages(&folder.id, Some(&link), None);
    let first = pages.next().await;
    (number, folder, Some((pages, first)))
}

/// What stops the reading of a folder.
enum Stop {
    /// The sink, or the look-up of what is known, failed: everything ends.
    Sink(Error),
    /// The source failed: this folder ends.
    Source(Error),
}
