//! Reading what changed in a drive.
//!
//! Children may come before their parents, an item more than once, a deleted folder with or without what was in it: so
//! removals wait for the end, where whatever hangs below a removed folder and was told nowhere else goes too.

mod below;

use std::collections::{BTreeSet, HashMap, HashSet};

use futures::TryStreamExt;
use serde_json::Value;

use super::api::Api;
use super::fetch::hash_gap;
use super::listing::Listing;
use super::model::{Plan, Row, Told, differs, keep_facet, plan, row};
use super::parts::{DriveOptions, Labels, item_of};
use super::sharing::Turns;
use crate::error::{Error, Result};
use crate::format::collection::{Cursors, Gap};
use crate::format::record::{ItemKind, Record};
use crate::graph::DeltaPages;
use crate::m365::contents::{Trouble, gap_of, trouble};
use crate::m365::door::{Change, ChangesEnd, Contents, Known, Previous, Sink, Wanted};
use crate::m365::facts::{same_facts, text};
use crate::m365::rounds::{SeenItems, ToldBelow, print_of};

/// The name of the cursor of the items.
const ITEMS: &str = "items";
/// The name of the pair that holds the root folder's id: no link, but kept with them.
const ROOT: &str = "root";
/// The name of the pair that says with whom the root folder was shared when its permissions were read.
const SHARED: &str = "shared";
/// What stands there if nothing was told of sharing.
const NOBODY: &str = "nobody";
/// The name of the link of the page at which an enumeration was broken off. See [`Sink::checkpoint`].
const PAGE: &str = "page";
/// The name of the pair that says what was asked for of each file: see [`DriveOptions`].
const ASKED: &str = "asked";
/// The name of the pair that says up to which day all permissions had their turn: see [`Turns`].
const LOOKED: &str = "looked";
/// The name of the pair that says on which day all items were listed: see [`Listing`].
const LISTED: &str = "listed";
/// The name of the pair that says whether any item has rights of its own: [`NONE`], or nobody looked.
const RIGHTS: &str = "rights";
/// What stands there if none has; "none" once said that of permissions that were told alone.
const NONE: &str = "no item";
/// The name of the pair that holds a file to ask for its label, where those of all files were refused.
const REFUSED: &str = "labels-refused";
/// The name of the pair that says that labels were read here once: who refuses one then speaks for one file.
const READ: &str = "labels-read";
/// The id of the gap that says so: it stands for no item.
const LABELS: &str = "labels";
/// The one place of a drive's items.
const DRIVE: u32 = 0;

/// Puts what changed in a drive into `sink`.
pub(super) async fn changes(
    (api, options): (&Api, DriveOptions),
    collection: &str,
    previous: Previous<'_>,
    known: &dyn Known,
    sink: &mut dyn Sink,
) -> Result<ChangesEnd> {
    let saved = |name: &str| previous.cursors.and_then(|cursors| cursors.get(name)).filter(|link| !link.is_empty());
    let root = match saved(ROOT) {
        Some(root) => root.to_owned(),
        None => {
            let root = api.root().await.map_err(|error| error.context("Looking up the root of the drive failed"))?;
            text(&root, &["id"]).ok_or_else(|| Error::corrupt("The root of the drive has no id"))?.to_owned()
        }
    };
    let mut round = Round {
        api,
        options,
        enumerating: false,
        settled: previous.cursors.is_some(),
        asks_rights: true,
        doubted: previous.retry.iter().map(|id| item_of(id).unwrap_or(id).to_owned()).collect(),
        collection,
        root,
        shared: saved(SHARED).map(str::to_owned),
        root_taken: false,
        known,
        sink,
        seen: SeenItems::default(),
        removed: BTreeSet::new(),
        placed: HashMap::new(),
        containers: HashSet::new(),
        parents: BTreeSet::new(),
        untold: BTreeSet::new(),
        told_parts: Default::default(),
        gone: HashSet::new(),
        no_rights: saved(RIGHTS) == Some(NONE),
        rights_told: false,
        checkpoints: false,
        labels: Labels::Unknown(Vec::new()),
        labels_read: options.labels && saved(READ).is_some(),
        turns: Turns::of(saved(LOOKED), previous.now_us),
    };
    let mut end = ChangesEnd::default();
    let listing = Listing::of(saved(LISTED), previous.now_us);
    // What was not asked for before is asked of all files: a saved link tells of those alone that changed.
    let asked = options.word();
    let mut asks_more = !asked.is_empty() && previous.cursors.is_some() && saved(ASKED) != Some(&*asked);
    if let Some(file) = saved(REFUSED).filter(|_| options.labels) {
        asks_more |= round.ask_for_label(file).await?;
    }
    let resumed = match saved(PAGE).filter(|_| !asks_more) {
        Some(page) => round.go_on(page).await?,
        None => None,
    };
    let goes_on = resumed.is_some();
    let link = match resumed {
        Some(link) => Some(link),
        None => round.read(saved(ITEMS), previous.cursors.is_none(), &mut end.resynced).await?,
    };
    round.look_at_root().await?;
    round.try_again(previous.retry).await?;
    round.look_again(round.turns).await?;
    round.remove().await?;
    round.report_missing_parents().await?;
    let mut listed = goes_on || round.enumerating;
    let link = match link {
        Some(link) if !listed && (asks_more || listing.is_due(collection)) => {
            let still_asked = if asks_more { String::new() } else { asked.clone() };
            let settled = round.cursors(Some(&link), (listing.word(false), still_asked));
            round.sink.settled(settled).await?;
            let (link, whole) = round.list_anew(link).await?;
            listed = whole;
            link
        }
        link => link,
    };
    round.tell_refused_labels().await?;
    end.cursors = round.cursors(link.as_deref(), (listing.word(listed), asked));
    Ok(end)
}

/// One reading of a drive.
struct Round<'a> {
    api: &'a Api,
    options: DriveOptions,
    /// All items are told, and not what changed.
    enumerating: bool,
    /// The last reading came to its end, with the same rules of what is left out.
    settled: bool,
    /// Whatever is told is asked who may use it: that somebody may no longer is not always said.
    asks_rights: bool,
    /// Items of which something is a gap, or told after a checkpoint: all that hangs below them is asked for. Of others it is
    /// there if the item is, for parts are told first.
    doubted: HashSet<String>,
    collection: &'a str,
    root: String,
    /// With whom the root was shared when its permissions were read; `None`: they never were.
    shared: Option<String>,
    /// The root was told in this reading, or walk.
    root_taken: bool,
    known: &'a dyn Known,
    sink: &'a mut dyn Sink,
    seen: SeenItems,
    /// Items that were told as deleted last.
    removed: BTreeSet<String>,
    /// Items told in an incremental reading, with their last parents. An enumeration does not note them: too many.
    placed: HashMap<String, String>,
    /// Folders that were told.
    containers: HashSet<String>,
    /// The permissions, and the versions, that were told below items in this reading.
    told_parts: [ToldBelow; 2],
    /// The parts that this reading told to be gone, and before a listing anew the items.
    gone: HashSet<String>,
    /// No item but the root is known to have rights of its own.
    no_rights: bool,
    /// One was told that has.
    rights_told: bool,
    /// Folders that were named as parents.
    parents: BTreeSet<String>,
    /// Those of them that are neither told nor known, while checkpoints are made.
    untold: BTreeSet<String>,
    /// Pages tell where to go on if the reading is broken off.
    checkpoints: bool,
    labels: Labels,
    /// Labels were read, in this reading or before.
    labels_read: bool,
    turns: Turns,
}

impl Round<'_> {
    /// Reads all pages; gives the link to read on from, if there is a good one.
    async fn read(&mut self, saved: Option<&str>, first: bool, resynced: &mut bool) -> Result<Option<String>> {
        let mut again = None;
        if let Some(saved) = saved {
            match self.take_pages(self.api.items(Some(saved), None), true).await {
                Err(Stop::Source(error)) => match trouble(&error) {
                    Trouble::Resync { location } => {
                        *resynced = true;
                        again = location;
                    }
                    _ => return Err(error),
                },
                other => return other.map_err(Stop::into_error),
            }
        }
        let mut attempts = 0;
        let link = loop {
            attempts += 1;
            self.begin_walk();
            self.checkpoints = first && attempts == 1;
            match self.take_pages(self.api.items(None, again.as_deref()), false).await {
                Ok(link) => break link,
                Err(Stop::Source(error)) => match trouble(&error) {
                    Trouble::Resync { location } if attempts == 1 => again = location,
                    _ => return Err(error),
                },
                Err(stop) => return Err(stop.into_error()),
            }
        };
        self.compare().await?;
        // What only an aborted walk saw may be gone by now; its id is not kept. Then the next reading compares again.
        Ok(link.filter(|_| !self.seen.has_phantoms(DRIVE, 0)))
    }

    /// Goes on with an enumeration that was broken off, then asks what changed meanwhile. `None`: the service does not
    /// know the page any more, and all is to be read from the beginning.
    async fn go_on(&mut self, page: &str) -> Result<Option<String>> {
        (self.checkpoints, self.enumerating) = (true, true);
        let link = match self.take_pages(self.api.items(Some(page), None), false).await {
            Ok(Some(link)) => link,
            Err(Stop::Sink(error)) => return Err(error),
            Err(Stop::Source(error)) if trouble(&error) == Trouble::Fatal => return Err(error),
            Ok(None) | Err(Stop::Source(_)) => return Ok(None),
        };
        (self.checkpoints, self.enumerating) = (false, false);
        match self.take_pages(self.api.items(Some(&link), None), true).await {
            Ok(link) => Ok(link),
            Err(Stop::Source(error)) if matches!(trouble(&error), Trouble::Resync { .. }) => Ok(None),
            Err(stop) => Err(stop.into_error()),
        }
    }

    async fn checkpoint(&mut self, next: Option<&str>) -> Result<()> {
        let Some(next) = next.filter(|_| self.checkpoints) else { return Ok(()) };
        let mut cursors = Cursors::default();
        cursors.set(PAGE, next);
        cursors.set(ROOT, self.root.as_str());
        cursors.set(SHARED, self.shared.as_deref().unwrap_or_default());
        cursors.set(ASKED, self.options.word());
        cursors.set(LOOKED, self.turns.word_before());
        if let Labels::Refused(file, _) = &self.labels {
            cursors.set(REFUSED, file.as_str());
        }
        cursors.set(READ, if self.labels_read { "true" } else { "" });
        // Whether they are gaps of their own shows later.
        let refused = self.labels.gaps().iter().map(|gap| &gap.id);
        self.sink.checkpoint(cursors, self.removed.iter().chain(&self.untold).chain(refused).cloned().collect()).await
    }

    /// The cursors of a reading that told everything. `listed`, `asked`: what is to be said of these.
    fn cursors(&self, link: Option<&str>, (listed, asked): (String, String)) -> Cursors {
        let mut cursors = Cursors::default();
        cursors.set(ITEMS, link.unwrap_or_default());
        cursors.set(SHARED, self.shared.as_deref().unwrap_or_default());
        cursors.set(ROOT, self.root.as_str());
        cursors.set(LOOKED, self.turns.word());
        cursors.set(LISTED, listed);
        cursors.set(RIGHTS, if self.no_rights && !self.rights_told { NONE } else { "" });
        if let Labels::Refused(file, _) = &self.labels {
            cursors.set(REFUSED, file.as_str());
        }
        cursors.set(READ, if self.labels_read { "true" } else { "" });
        cursors.set(ASKED, asked);
        cursors
    }

    /// Lists all items after what changed was told: what delta never told is seen then, and what was not asked for before is
    /// asked of each file. The records say what was asked already, so a listing that is broken off loses nothing. `changed` is
    /// the link after those changes. Gives the link to read on from, and whether what was told is what is there.
    async fn list_anew(&mut self, changed: String) -> Result<(Option<String>, bool)> {
        self.asks_rights = false;
        self.doubted.clear();
        // What is back meanwhile is told whole: it is not there any more for who takes the changes.
        self.gone.extend(std::mem::take(&mut self.removed));
        let first_walk = self.seen.walk() + 1;
        let link = self.read(None, false, &mut false).await?;
        self.look_at_root().await?;
        self.remove().await?;
        self.report_missing_parents().await?;
        Ok(match link {
            Some(link) => (Some(link), true),
            // Of what only a walk saw that was given up, no link tells what became of it: the next reading compares.
            None if self.seen.has_phantoms(DRIVE, first_walk) => (None, false),
            // What was told as changed and is not listed is told again, as gone.
            None => (Some(changed), false),
        })
    }

    fn begin_walk(&mut self) {
        self.enumerating = true;
        self.seen.begin_walk();
        self.removed.clear();
        self.placed.clear();
        self.containers.clear();
        self.parents.clear();
        self.root_taken = false;
    }

    /// After an enumeration: what the previous snapshot had and was not told is no longer there.
    async fn compare(&mut self) -> Result<()> {
        let mut ids = self.known.ids().await?;
        while let Some(id) = ids.try_next().await? {
            // Parts are told with their items, and the root is told always.
            let item = item_of(&id).unwrap_or(&id);
            if item != self.root && !self.seen.in_walk(item) {
                self.seen.forget(&id);
                self.removed.insert(id);
            }
        }
        Ok(())
    }

    async fn take_pages(&mut self, mut pages: DeltaPages, incremental: bool) -> Result<Option<String>, Stop> {
        while let Some(page) = pages.next().await.map_err(Stop::Source)? {
            for value in page.rows.values() {
                let value = value.map_err(Stop::Source)?;
                self.take(value, incremental).await.map_err(Stop::Sink)?;
            }
            self.checkpoint(pages.next_link()).await.map_err(Stop::Sink)?;
        }
        Ok(pages.delta_link().map(str::to_owned))
    }

    async fn take(&mut self, value: Value, incremental: bool) -> Result<()> {
        match row(value, &self.root) {
            None => Ok(()),
            Some(Row::Root(scope, changed)) => self.take_root(&scope, changed).await,
            Some(Row::Deleted(id)) => {
                self.seen.forget(&id);
                self.placed.remove(&id);
                self.containers.remove(&id);
                self.removed.insert(id);
                Ok(())
            }
            Some(Row::There(told)) => {
                let sharing_changed = told.sharing_changed;
                let told = with_version(self.api, &self.root, *told).await?;
                let told = Told { sharing_changed, ..told };
                if incremental {
                    self.placed.insert(told.record.id.clone(), told.record.parent.clone());
                }
                self.take_item(told, false).await
            }
        }
    }

    async fn take_item(&mut self, told: Told, forced: bool) -> Result<()> {
        let Told { mut record, properties, download_url, source_hash, malware, sharing_changed } = told;
        let print = print_of(&record);
        let before = self.seen.get(&record.id);
        self.removed.remove(&record.id);
        // A walk does not tell that only the sharing changed since an item was told.
        let again =
            forced || sharing_changed || (self.enumerating && self.asks_rights && record.fact("shared").is_some());
        if let Some(seen) = before.filter(|seen| seen.print == print && !again) {
            self.seen.put(&record.id, seen.place, print, false);
            return Ok(());
        }
        if !record.parent.is_empty() {
            self.parents.insert(record.parent.clone());
            let told = !self.checkpoints || self.containers.contains(&record.parent);
            if !told && self.known.record(&record.parent).await?.is_none() {
                self.untold.insert(record.parent.clone());
            }
        }
        let known = self.known.record(&record.id).await?.filter(|known| !self.gone.contains(&known.id));
        let unsure =
            forced || self.doubted.contains(&record.id) || (!self.settled && self.lacks_parts(known.as_ref()).await?);
        let rights = self.asks_rights || unsure || sharing_changed;
        self.take_parts(&mut record, known.as_ref(), (unsure, rights)).await?;
        let first_telling = !self.seen.was_told(&record.id) && !forced;
        let contents = if record.kind != ItemKind::File {
            self.containers.insert(record.id.clone());
            self.untold.remove(&record.id);
            if first_telling && known.as_ref().is_some_and(|known| same_facts(known, &record)) {
                self.seen.put(&record.id, DRIVE, print, false);
                return Ok(());
            }
            Contents::None
        } else if let Some(description) = malware {
            Contents::Unreadable(malware_gap(&record, self.collection, &description))
        } else {
            let plan = plan(known.as_ref(), &mut record);
            let refetch = self.seen.was_fetched(&record.id);
            match plan {
                Plan::Fetch => fetch(&record, download_url, source_hash),
                _ if refetch => fetch(&record, download_url, source_hash),
                _ if differs(&record) => {
                    self.sink.change(Change::Gap(hash_gap(&record, self.collection))).await?;
                    Contents::Keep
                }
                Plan::Nothing if first_telling => {
                    self.seen.put(&record.id, DRIVE, print, false);
                    return Ok(());
                }
                Plan::Nothing | Plan::Keep => Contents::Keep,
            }
        };
        let fetched = matches!(contents, Contents::Fetch(_) | Contents::Unreadable(_));
        self.seen.put(&record.id, DRIVE, print, fetched);
        self.sink.change(Change::Put { record: Box::new(record), properties, contents }).await
    }

    /// Tries the gaps of the previous snapshot again, as far as this reading did not.
    async fn try_again(&mut self, retry: &[String]) -> Result<()> {
        // A part is tried again with its item.
        let retry: Vec<&str> = retry.iter().map(|id| item_of(id).unwrap_or(id)).collect();
        if retry.contains(&self.root.as_str()) {
            self.look_at_root_again().await?;
        }
        for id in retry {
            if id.is_empty() || id == LABELS || *id == self.root || self.seen.was_told(id) || self.removed.contains(id)
            {
                continue;
            }
            self.take_again(id).await?;
        }
        Ok(())
    }

    /// Asks for an item alone, and takes what is told.
    async fn take_again(&mut self, id: &str) -> Result<()> {
        let known = self.known.record(id).await?;
        match self.api.item(id).await {
            Ok(mut value) => {
                known.iter().for_each(|known| keep_facet(&mut value, known));
                match row(value, &self.root) {
                    Some(Row::There(told)) => {
                        self.placed.insert(told.record.id.clone(), told.record.parent.clone());
                        self.take_item(*told, true).await?;
                    }
                    Some(Row::Deleted(id)) => drop(self.removed.insert(id)),
                    Some(Row::Root(..)) | None => (),
                }
            }
            Err(error) => match trouble(&error) {
                Trouble::Gone | Trouble::Resync { .. } => drop(self.removed.insert(id.to_owned())),
                Trouble::Gap { reason, text } => self.known_gap(id, reason, text).await?,
                Trouble::Fatal => return Err(error),
            },
        }
        Ok(())
    }

    async fn known_gap(&mut self, id: &str, reason: &str, text: String) -> Result<()> {
        let known = self.known.record(id).await?;
        let gap = Gap {
            collection: self.collection.to_owned(),
            id: id.to_owned(),
            name: known.as_ref().map(|record| record.name.clone()).unwrap_or_default(),
            kind: known.map(|record| record.kind),
            reason: reason.to_owned(),
            text,
            since_us: 0,
        };
        self.sink.change(Change::Gap(gap)).await
    }

    /// Removes what was told as deleted, and what hung below it and was told nowhere else.
    async fn remove(&mut self) -> Result<()> {
        let mut told_below: HashMap<String, Vec<String>> = HashMap::new();
        for (id, parent) in std::mem::take(&mut self.placed) {
            told_below.entry(parent).or_default().push(id);
        }
        let mut open: Vec<String> = self.removed.iter().cloned().collect();
        while let Some(folder) = open.pop() {
            // Told in this reading as below a folder that went away: it went with it.
            let mut below = told_below.remove(&folder).unwrap_or_default();
            below.extend(self.told_parts_of(&folder).into_iter().map(|(id, _)| id));
            // Parts have none. Of all else something may be left below, whatever is known of it.
            if item_of(&folder).is_none() {
                let mut ids = self.known.children(&folder).await?;
                while let Some(id) = ids.try_next().await? {
                    if self.seen.get(&id).is_none() {
                        below.push(id);
                    }
                }
            }
            for id in below {
                if self.removed.insert(id.clone()) {
                    open.push(id);
                }
            }
        }
        for id in &self.removed {
            self.containers.remove(id);
            self.sink.change(Change::Remove { id: id.clone() }).await?;
        }
        Ok(())
    }

    /// Lists as gaps the folders that items named as their parents and that nobody knows.
    async fn report_missing_parents(&mut self) -> Result<()> {
        for id in std::mem::take(&mut self.parents) {
            let there = self.containers.contains(&id)
                || (!self.removed.contains(&id) && self.known.record(&id).await?.is_some());
            if there || id == self.root {
                continue;
            }
            self.known_gap(&id, "not-listed", "The folder holds items but is not in the list of the drive".to_owned())
                .await?;
        }
        Ok(())
    }
}

/// Where a page tells neither hash nor content tag of a file, the item itself may.
async fn with_version(api: &Api, root: &str, told: Told) -> Result<Told> {
    if told.record.kind != ItemKind::File || !told.record.version.is_empty() || told.malware.is_some() {
        return Ok(told);
    }
    match api.item(&told.record.id).await {
        Ok(mut value) => {
            keep_facet(&mut value, &told.record);
            match row(value, root) {
                Some(Row::There(now)) => Ok(*now),
                // Deleted meanwhile: the next reading says so.
                _ => Ok(told),
            }
        }
        // Without a version the contents are fetched, and that will fail or not by itself.
        Err(error) if trouble(&error) == Trouble::Fatal => Err(error),
        Err(_) => Ok(told),
    }
}

fn fetch(record: &Record, download_url: Option<String>, source_hash: String) -> Contents {
    Contents::Fetch(Box::new(Wanted { record: record.clone(), download_url, source_hash }))
}

fn malware_gap(record: &Record, collection: &str, description: &str) -> Gap {
    let named = if description.is_empty() { String::new() } else { format!(" ({description})") };
    gap_of(record, collection, "malware", format!("Microsoft found malware in it{named} and does not hand it out"))
}

/// What stops the reading of pages.
enum Stop {
    /// The sink, or the look-up of what is known, failed.
    Sink(Error),
    /// The source failed.
    Source(Error),
}

impl Stop {
    fn into_error(self) -> Error {
        match self {
            Self::Sink(error) | Self::Source(error) => error,
        }
    }
}
