//! A snapshot as people walk through it: `users/alice@contoso.com/Mail/Inbox/2026-11-01 0914 Subject.eml`.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::codec;
use crate::format::record::{ItemKind, Record};
use crate::format::snapshot::{CollectionState, SnapshotFile, catalog_key, catalog_name};
use crate::ops::nodes::RepoNodes;
use crate::ops::present::names::{self, Naming};
use crate::ops::present::{self, Face, Form, Mode};
use crate::repo::Repository;
use crate::tree::collection::{CollectionReader, CollectionRoots, Page};
use crate::tree::{Tree, children_key};

mod exact;

/// Records read at once from a folder, at first: what is to be seen comes soon.
const PAGE: usize = 500;
/// Records read at once after that. What stands together in a listing lies scattered in the tree of items: the
/// more are looked up at once, the fewer nodes are read again.
const LONG_PAGE: usize = 32_000;

/// A snapshot, open for looking around in.
#[derive(Clone)]
pub struct View {
    repo: Arc<Repository>,
    nodes: RepoNodes,
    file: SnapshotFile,
    mode: Mode,
}

/// A place in a snapshot.
#[derive(Debug, Clone)]
pub enum Place {
    /// Above the collections: the snapshot itself, `users`, `users/alice@contoso.com`. The path ends without a slash.
    Above(String),
    /// The top of a collection.
    Top(Box<CollectionState>),
    /// An item of a collection, with its path.
    Item(Box<CollectionState>, Box<Record>, String),
    /// What hangs below an item that is no folder (attachments, replies), with the path of that folder.
    Parts(Box<CollectionState>, Box<Record>, String),
    /// The file that shows an item with all that is below it ([`Face::Beside`]), with its path.
    Beside(Box<CollectionState>, Box<Record>, String),
}

impl Place {
    /// The path, without a slash at its end.
    pub fn path(&self) -> &str {
        match self {
            Self::Above(path) | Self::Item(_, _, path) | Self::Parts(_, _, path) | Self::Beside(_, _, path) => path,
            Self::Top(state) => &state.name,
        }
    }

    /// The collection, the record and the face of what is an item or something of one.
    pub fn item(&self) -> Option<(&CollectionState, &Record, Face)> {
        match self {
            Self::Above(_) | Self::Top(_) => None,
            Self::Item(state, record, _) => Some((state, record, Face::Item)),
            Self::Parts(state, record, _) => Some((state, record, Face::Parts)),
            Self::Beside(state, record, _) => Some((state, record, Face::Beside)),
        }
    }

    /// Says whether it can be listed.
    pub fn is_container(&self) -> bool {
        self.item().is_none_or(|(_, record, face)| present::form(record, face, Mode::Raw) == Form::Folder)
    }
}

/// One line of a listing.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The last component of the path.
    pub name: String,
    /// The record; none above the collections and for a collection's top.
    pub record: Option<Record>,
    /// The collection that it is in, or is.
    pub state: Option<Arc<CollectionState>>,
    /// What of the record this is.
    pub face: Face,
}

impl Entry {
    /// Says whether it can be listed.
    pub fn is_container(&self) -> bool {
        self.record.as_ref().is_none_or(|record| present::form(record, self.face, Mode::Raw) == Form::Folder)
    }

    /// The place that it is, below the place with this path.
    pub fn place(self, above: &str) -> Place {
        let path = if above.is_empty() { self.name } else { format!("{above}/{}", self.name) };
        match (self.state, self.record) {
            (Some(state), Some(record)) => place_of((*state).clone(), record, self.face, path),
            (Some(state), None) => Place::Top(Box::new((*state).clone())),
            _ => Place::Above(path),
        }
    }
}

/// How far a place was listed, and which names were given out.
#[derive(Debug, Default)]
pub struct Listing {
    state: Option<Arc<CollectionState>>,
    naming: Naming,
    after: Option<Vec<u8>>,
}

fn place_of(state: CollectionState, record: Record, face: Face, path: String) -> Place {
    let (state, record) = (Box::new(state), Box::new(record));
    match face {
        Face::Item => Place::Item(state, record, path),
        Face::Parts => Place::Parts(state, record, path),
        Face::Beside => Place::Beside(state, record, path),
    }
}

impl View {
    /// Opens a snapshot, as programs want to see it.
    pub fn new(repo: Arc<Repository>, file: SnapshotFile) -> Self {
        Self { nodes: RepoNodes(repo.clone()), repo, file, mode: Mode::default() }
    }

    /// Shows it otherwise.
    pub fn shown(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// What is shown.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The repository.
    pub fn repository(&self) -> &Arc<Repository> {
        &self.repo
    }

    /// The snapshot's document.
    pub fn file(&self) -> &SnapshotFile {
        &self.file
    }

    fn reader(&self, state: &CollectionState) -> CollectionReader<'_> {
        CollectionReader::new(&self.nodes, CollectionRoots { items: state.items, children: state.children })
    }

    /// Finds what a path names. The empty path is the snapshot.
    ///
    /// # Errors
    /// `NotFound`, naming the part that is not there.
    pub async fn resolve(&self, path: &str) -> Result<Place> {
        let parts: Vec<&str> = path.split('/').filter(|p| !p.is_empty()).collect();
        let path = parts.join("/");
        for taken in (1..=parts.len()).rev() {
            let (name, rest) =
                (parts.get(..taken).unwrap_or_default().join("/"), parts.get(taken..).unwrap_or_default());
            if let Some(state) = self.collection(&name).await? {
                return self.descend(state, rest).await;
            }
        }
        if path.is_empty() || !self.above(&path).await?.is_empty() {
            return Ok(Place::Above(path));
        }
        Err(Error::not_found(format!("'{path}' is not in this snapshot")).with_hint("ls shows what is there"))
    }

    async fn collection(&self, name: &str) -> Result<Option<CollectionState>> {
        let tree = Tree::new(&self.nodes);
        let Some(key) = tree.get(self.file.catalog, &catalog_name(name)).await? else { return Ok(None) };
        self.state(&String::from_utf8_lossy(&key)).await
    }

    /// The collection with this key.
    pub(crate) async fn state(&self, key: &str) -> Result<Option<CollectionState>> {
        let tree = Tree::new(&self.nodes);
        let Some(value) = tree.get(self.file.catalog, &catalog_key(key)).await? else { return Ok(None) };
        codec::decode("A collection of the catalog", &value).map(Some)
    }

    async fn descend(&self, state: CollectionState, rest: &[&str]) -> Result<Place> {
        let mut place: Option<(Record, Face)> = None;
        for (n, part) in rest.iter().enumerate() {
            let found = match &place {
                // A file beside an item holds nothing.
                Some((_, Face::Beside)) => None,
                Some((record, _)) => self.child(&state, &record.id, part).await?,
                None => self.child(&state, "", part).await?,
            };
            let Some(found) = found else {
                let above = rest.get(..n).unwrap_or_default().join("/");
                let above = format!("{}{}{above}", state.name, if n > 0 { "/" } else { "" });
                return Err(
                    Error::not_found(format!("There is no '{part}' in {above}")).with_hint("ls shows what is there")
                );
            };
            place = Some(found);
        }
        let path = std::iter::once(state.name.as_str()).chain(rest.iter().copied()).collect::<Vec<_>>().join("/");
        Ok(match place {
            Some((record, face)) => place_of(state, record, face, path),
            None => Place::Top(Box::new(state)),
        })
    }

    /// Finds an item by the name that it has in a listing. Looks where the name sorts first, then everywhere.
    async fn child(&self, state: &CollectionState, parent: &str, name: &str) -> Result<Option<(Record, Face)>> {
        for start in starts(parent, name) {
            if let Some(found) = self.search(state, parent, name, Some(start), 1).await? {
                return Ok(Some(found));
            }
        }
        self.search(state, parent, name, None, usize::MAX).await
    }

    async fn search(
        &self,
        state: &CollectionState,
        parent: &str,
        name: &str,
        mut after: Option<Vec<u8>>,
        pages: usize,
    ) -> Result<Option<(Record, Face)>> {
        let reader = self.reader(state);
        let mut limit = if pages == 1 { 64 } else { PAGE };
        for _ in 0..pages {
            let page = reader.children(parent, after, limit).await?;
            limit = LONG_PAGE;
            for record in page.records() {
                let record = record?;
                if let Some(face) = names::matches(name, &record, self.mode) {
                    return Ok(Some((record, face)));
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        Ok(None)
    }

    /// Lists what is directly in a place, calling `visit` page by page.
    ///
    /// # Errors
    /// `Corrupt`; the storage's; what `visit` returns.
    pub async fn list(&self, place: &Place, visit: &mut (dyn FnMut(Entry) -> Result<()> + Send)) -> Result<()> {
        let (mut listing, mut limit) = (Listing::default(), PAGE);
        while self.list_on(place, &mut listing, limit, visit).await? {
            limit = LONG_PAGE;
        }
        Ok(())
    }

    /// Lists on: up to `limit` records of a place, after those that were listed. Says whether there are more.
    ///
    /// # Errors
    /// As [`Self::list`].
    pub async fn list_on(
        &self,
        place: &Place,
        listing: &mut Listing,
        limit: usize,
        visit: &mut (dyn FnMut(Entry) -> Result<()> + Send),
    ) -> Result<bool> {
        let (state, parent) = match place {
            Place::Above(path) => {
                for (name, state) in self.above(path).await? {
                    visit(Entry { name, record: None, state: state.map(Arc::new), face: Face::Item })?;
                }
                return Ok(false);
            }
            Place::Top(state) => (state, ""),
            Place::Item(state, record, _) | Place::Parts(state, record, _) => (state, record.id.as_str()),
            Place::Beside(..) => return Ok(false),
        };
        let shared = listing.state.get_or_insert_with(|| Arc::new((**state).clone())).clone();
        let page = self.reader(state).children(parent, listing.after.take(), limit).await?;
        for record in page.records() {
            let record = record?;
            for face in Face::of(&record, self.mode).filter(|face| *face != Face::Item) {
                let name = listing.naming.name(&record, face, self.mode);
                visit(Entry { name, record: Some(record.clone()), state: Some(shared.clone()), face })?;
            }
            let name = listing.naming.name(&record, Face::Item, self.mode);
            visit(Entry { name, record: Some(record), state: Some(shared.clone()), face: Face::Item })?;
        }
        listing.after = page.next;
        Ok(listing.after.is_some())
    }

    /// Reads a page of what is directly below an item (empty: the top of the collection), in listing order.
    ///
    /// # Errors
    /// `Corrupt`; the storage's.
    pub async fn children(
        &self,
        state: &CollectionState,
        parent: &str,
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<Page> {
        self.reader(state).children(parent, after, limit).await
    }

    /// Finds the record of an item.
    ///
    /// # Errors
    /// `Corrupt`; the storage's.
    pub async fn record(&self, state: &CollectionState, id: &str) -> Result<Option<Record>> {
        self.reader(state).get(id).await
    }

    /// The next components below a path above the collections; with the collection where one begins there.
    pub(crate) async fn above(&self, path: &str) -> Result<Vec<(String, Option<CollectionState>)>> {
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        let tree = Tree::new(&self.nodes);
        let mut cursor = tree.range(self.file.catalog, catalog_name(&prefix)..);
        let mut names: BTreeSet<String> = BTreeSet::new();
        while let Some(item) = cursor.next().await? {
            let Some(rest) = item.key.strip_prefix(&catalog_name(&prefix)[..]) else { break };
            let rest = String::from_utf8_lossy(rest);
            names.insert(rest.split('/').next().unwrap_or_default().to_owned());
        }
        let mut out = Vec::with_capacity(names.len());
        for name in names {
            let state = self.collection(&format!("{prefix}{name}")).await?;
            out.push((name, state));
        }
        Ok(out)
    }
}

/// Keys of the `children` tree just before the places where a name can stand.
fn starts(parent: &str, name: &str) -> Vec<Vec<u8>> {
    let key = |kind, sort_us, name: &str| children_key(&Record { sort_us, ..Record::new(kind, "", parent, name) });
    let mut keys = Vec::new();
    for name in std::iter::once(name.to_owned()).chain(names::names_of(name)) {
        keys.extend([key(ItemKind::Folder, None, &name), key(ItemKind::File, None, &name)]);
    }
    keys.extend(names::minute_of(name).map(|(from, _)| key(ItemKind::Message, Some(from), "")));
    keys
}
