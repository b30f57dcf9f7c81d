//! A folder's entries, read page by page as they are asked for.
//!
//! An entry's name follows from its record alone, but for those that some file system takes for one that stands before:
//! whoever gives out names must have given out all before. So a folder is *walked* once, as far as it is asked for, and of
//! each entry a hash of its name is kept, with its number in the listing; the few names that do not follow from their
//! records; and at every [`BLOCK`]th record where the tree is entered there. With that, any entry is found again by its
//! number or its name, reading no more than its block.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::error::{Error, Result};
use crate::format::record::Record;
use crate::ops::browse::ahead::Reading;
use crate::ops::browse::node::{AboveNode, FolderNode, Node, What};
use crate::ops::browse::{Browser, is_lost, locked};
use crate::ops::names::{self, FolderNames};
use crate::ops::present::names::{Naming, component};
use crate::ops::present::{Face, Mode};

/// Records that are read and kept together: few, so that what is asked for first comes soon.
const BLOCK: usize = 128;
/// Blocks that the walk reads at once, at most: what stands together in a listing lies scattered in the tree of items.
pub(super) const LONGEST_STRIDE: usize = 16;
/// The same for who looks at a page and may look no further.
pub(super) const PAGE_STRIDE: usize = 4;

/// One line of a listing.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The name, one safe component of a path.
    pub name: Arc<str>,
    /// What has it.
    pub node: Node,
}

/// Entries that stand together.
pub(super) struct Block {
    first: u32,
    entries: Vec<Listed>,
}

/// What is known of a folder.
pub(super) struct Folder {
    node: Node,
    walk: tokio::sync::Mutex<Option<Walk>>,
    seen: RwLock<Seen>,
    pub(super) reading: Mutex<Reading>,
}

/// What giving out further names needs.
#[derive(Default)]
struct Walk {
    naming: Naming,
    names: FolderNames,
    /// Where the tree is entered next; `None`: at the beginning.
    after: Option<Vec<u8>>,
    stride: usize,
}

/// What was walked.
#[derive(Default)]
struct Seen {
    blocks: Vec<Anchor>,
    /// Hashes of names, folded to what file systems may take for one, and the numbers of the entries.
    numbers: HashMap<u64, u32>,
    /// Names that do not follow from their record.
    odd: HashMap<u32, Arc<str>>,
    count: u32,
    is_done: bool,
}

/// Where a block begins.
struct Anchor {
    first: u32,
    after: Option<Vec<u8>>,
}

impl Folder {
    pub(super) fn new(node: Node) -> Self {
        let walk = tokio::sync::Mutex::new(Some(Walk::default()));
        Self { node, walk, seen: RwLock::default(), reading: Mutex::default() }
    }

    /// Lists from a number on, and walks up to `longest` blocks at once to come there.
    pub(super) async fn list(&self, browser: &Browser, from: u64, limit: usize, longest: usize) -> Result<Vec<Listed>> {
        let Ok(from) = u32::try_from(from) else { return Ok(Vec::new()) };
        let Some(block) = self.block_of(browser, from, longest).await? else { return Ok(Vec::new()) };
        let skip = from.saturating_sub(block.first) as usize;
        Ok(block.entries.iter().skip(skip).take(limit).cloned().collect())
    }

    pub(super) async fn find(&self, browser: &Browser, name: &str) -> Result<Option<Node>> {
        let hash = names::folded_hash(name);
        let mut ended = false;
        loop {
            let number = self.seen().numbers.get(&hash).copied();
            if let Some(number) = number {
                let Some(block) = self.block_of(browser, number, LONGEST_STRIDE).await? else { return Ok(None) };
                let entry = block.entries.get(number.saturating_sub(block.first) as usize);
                return Ok(entry.filter(|entry| &*entry.name == name).map(|entry| entry.node.clone()));
            }
            // Where all was walked, somebody else may have walked the last of it.
            if ended {
                return Ok(None);
            }
            ended = !self.walk_on(browser, LONGEST_STRIDE).await?;
        }
    }

    /// What stands at a number, if the folder was walked so far.
    pub(super) async fn walked(&self, browser: &Browser, number: u32) -> Result<Option<Node>> {
        if number >= self.seen().count {
            return Ok(None);
        }
        let Some(block) = self.block_of(browser, number, 1).await? else { return Ok(None) };
        let entry = block.entries.get(number.saturating_sub(block.first) as usize);
        Ok(entry.map(|entry| entry.node.clone()))
    }

    /// The block that holds an entry; walks there if need be. `None`: there is no such entry.
    async fn block_of(&self, browser: &Browser, number: u32, longest: usize) -> Result<Option<Arc<Block>>> {
        let mut ended = false;
        while number >= self.seen().count {
            if ended {
                return Ok(None);
            }
            ended = !self.walk_on(browser, longest).await?;
        }
        let (at, first, after) = {
            let seen = self.seen();
            let at = seen.blocks.partition_point(|block| block.first <= number).saturating_sub(1);
            let Some(anchor) = seen.blocks.get(at) else { return Ok(None) };
            (at as u32, anchor.first, anchor.after.clone())
        };
        let key = (self.node.number(), at);
        if let Some(block) = locked(&browser.kept.blocks).get(&key) {
            return Ok(Some(block));
        }
        let entries = match self.node.what() {
            What::Above(above) => self.above(above).await?,
            What::Inside(folder) => self.reread(folder, first, after).await?,
            _ => Vec::new(),
        };
        let block = Arc::new(Block { first, entries });
        keep(browser, key, &block);
        Ok(Some(block))
    }

    /// Reads a block again that was walked before.
    async fn reread(&self, folder: &FolderNode, first: u32, after: Option<Vec<u8>>) -> Result<Vec<Listed>> {
        let page = folder.shot.view.children(&folder.state, &folder.id, after, BLOCK).await?;
        let mode = folder.shot.view.mode();
        let (mut entries, mut number) = (Vec::new(), first);
        for record in page.records() {
            let record = record?;
            for face in Face::of(&record, mode).filter(|face| !is_lost(&record, *face, mode)) {
                let odd = self.seen().odd.get(&number).cloned();
                let name = odd.unwrap_or_else(|| plain_name(&record, face, mode).into());
                entries.push(Listed { name, node: self.node.item(folder, number, &record, face) });
                number = number.saturating_add(1);
            }
        }
        Ok(entries)
    }

    /// Walks a stretch further; says whether there was one.
    async fn walk_on(&self, browser: &Browser, longest: usize) -> Result<bool> {
        let before = self.seen().count;
        let mut walk = self.walk.lock().await;
        // Somebody else went on meanwhile.
        if self.seen().count > before {
            return Ok(true);
        }
        let Some(walk_now) = walk.as_mut() else { return Ok(false) };
        let went_on = match self.node.what() {
            What::Above(above) => {
                let entries = self.above(above).await?;
                self.learn(browser, None, entries, &mut Vec::new());
                self.seen_mut().is_done = true;
                true
            }
            What::Inside(folder) => self.walk_items(browser, folder, walk_now, longest).await?,
            _ => false,
        };
        if self.seen().is_done {
            // Names are given out no more.
            *walk = None;
        }
        Ok(went_on)
    }

    async fn walk_items(
        &self,
        browser: &Browser,
        folder: &FolderNode,
        walk: &mut Walk,
        longest: usize,
    ) -> Result<bool> {
        walk.stride = (walk.stride * 2).clamp(1, longest);
        let page =
            folder.shot.view.children(&folder.state, &folder.id, walk.after.clone(), walk.stride * BLOCK).await?;
        let mode = folder.shot.view.mode();
        // Names are given out only when all was read: a walk that failed begins again where it began.
        let records = page.records().collect::<Result<Vec<Record>>>()?;
        let (mut blocks, mut odd, mut after) = (Vec::new(), Vec::new(), walk.after.clone());
        let mut count = self.seen().count;
        for (n, records) in records.chunks(BLOCK).enumerate() {
            let mut entries = Vec::with_capacity(records.len());
            for record in records {
                for face in Face::of(record, mode) {
                    let name: Arc<str> = walk.names.allocate(&walk.naming.name(record, face, mode)).into();
                    // It keeps its name, which others of its folder have in no view.
                    if is_lost(record, face, mode) {
                        continue;
                    }
                    if *name != *plain_name(record, face, mode) {
                        odd.push((count, name.clone()));
                    }
                    let node = self.node.item(folder, count, record, face);
                    // Whoever lists files may read them next.
                    if !node.is_folder() {
                        keep_record(browser, &node, &Arc::new(record.clone()));
                    }
                    entries.push(Listed { name, node });
                    count = count.checked_add(1).ok_or_else(|| Error::invalid("A folder has too many entries"))?;
                }
            }
            let last = page.key(n * BLOCK + records.len() - 1).map(<[u8]>::to_vec);
            blocks.push((std::mem::replace(&mut after, last), entries));
        }
        let went_on = !blocks.is_empty();
        for (after, entries) in blocks {
            self.learn(browser, after, entries, &mut odd);
        }
        walk.after = after;
        if page.next.is_none() {
            self.seen_mut().is_done = true;
        }
        Ok(went_on)
    }

    /// Notes a block that was walked, and keeps it.
    fn learn(&self, browser: &Browser, after: Option<Vec<u8>>, entries: Vec<Listed>, odd: &mut Vec<(u32, Arc<str>)>) {
        let (key, block, names) = {
            let mut seen = self.seen_mut();
            let first = seen.count;
            for (number, entry) in (first..).zip(&entries) {
                seen.numbers.insert(names::folded_hash(&entry.name), number);
            }
            seen.odd.extend(odd.drain(..));
            seen.count = first.saturating_add(u32::try_from(entries.len()).unwrap_or(u32::MAX));
            seen.blocks.push(Anchor { first, after });
            let key = (self.node.number(), (seen.blocks.len() - 1) as u32);
            (key, Arc::new(Block { first, entries }), seen.count as usize)
        };
        keep(browser, key, &block);
        let mut folders = locked(&browser.kept.folders);
        if let Some(folder) = folders.get(&self.node.number()) {
            folders.insert(self.node.number(), folder, names.max(1));
        }
    }

    /// What is below a place above the collections: not much, and read at once.
    async fn above(&self, above: &AboveNode) -> Result<Vec<Listed>> {
        let mut names = FolderNames::new();
        let mut entries = Vec::new();
        for (name, state) in above.shot.view.above(&above.path).await? {
            let path = if above.path.is_empty() { name.clone() } else { format!("{}/{name}", above.path) };
            let node = self.node.component(&above.shot, path, state);
            entries.push(Listed { name: names.allocate(&name).into(), node });
        }
        Ok(entries)
    }

    fn seen(&self) -> RwLockReadGuard<'_, Seen> {
        self.seen.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn seen_mut(&self) -> RwLockWriteGuard<'_, Seen> {
        self.seen.write().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The name that an entry has where no other of its folder has it.
fn plain_name(record: &Record, face: Face, mode: Mode) -> String {
    names::safe_name(&component(record, face, mode))
}

fn keep(browser: &Browser, key: (u64, u32), block: &Arc<Block>) {
    // A name, an id, and what holds them.
    let weight = block.entries.iter().map(|entry| 400 + entry.name.len()).sum::<usize>() + 100;
    locked(&browser.kept.blocks).insert(key, block.clone(), weight);
}

/// Keeps the record of a file for who reads it next.
pub(super) fn keep_record(browser: &Browser, node: &Node, record: &Arc<Record>) {
    let text = record.summary.iter().map(|(key, value)| key.len() + value.len() + 64).sum::<usize>();
    let extents = record.streams.iter().flat_map(|s| &s.pieces).map(|piece| 64 + piece.extents.list.len() * 40);
    let weight = 500 + text + extents.sum::<usize>();
    locked(&browser.kept.records).insert(node.number(), record.clone(), weight);
}
