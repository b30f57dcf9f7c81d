//! Records that lie in one place of a snapshot, read page by page as often as they are wanted: a folder may hold a million.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use super::source::RepoSource;
use crate::error::Result;
use crate::format::record::Record;

/// Records read at once.
const PAGE: usize = 2000;

/// Records of one parent.
pub(super) struct Siblings {
    source: Arc<RepoSource>,
    /// Their parent's id in the snapshot; empty: they lie at the top.
    pub(super) parent: String,
    /// They were picked one by one, whatever lies beside them.
    pub(super) alone: bool,
    /// The first ones, which are all of most folders.
    first: Vec<Record>,
    /// Where the next page begins, if there are more.
    next: Option<Vec<u8>>,
}

impl Siblings {
    /// All that lie in a place.
    pub(super) async fn of(source: Arc<RepoSource>, parent: &str) -> Result<Self> {
        let (first, next) = page(&source, parent, None).await?;
        Ok(Self { source, parent: parent.to_owned(), alone: false, first, next })
    }

    /// Some that were picked, whatever lies beside them.
    pub(super) fn some(source: Arc<RepoSource>, parent: &str, picked: Vec<Record>) -> Self {
        Self { source, parent: parent.to_owned(), alone: true, first: picked, next: None }
    }

    /// The ids of all that lie there, also beside those that were picked.
    pub(super) async fn ids_around(&self) -> Result<HashSet<String>> {
        let mut ids = HashSet::new();
        let reader = self.source.reader();
        let mut all = reader.child_ids(&self.parent);
        while let Some(id) = all.next().await? {
            ids.insert(id);
        }
        Ok(ids)
    }

    /// Begins at the first page.
    pub(super) fn pages(&self) -> Pages<'_> {
        Pages { all: self, at: At::First }
    }
}

/// The pages, one after another.
pub(super) struct Pages<'a> {
    all: &'a Siblings,
    at: At,
}

enum At {
    First,
    After(Option<Vec<u8>>),
}

impl<'a> Pages<'a> {
    /// The next page; none: that was all.
    pub(super) async fn next(&mut self) -> Result<Option<Cow<'a, [Record]>>> {
        match std::mem::replace(&mut self.at, At::After(None)) {
            At::First => {
                self.at = At::After(self.all.next.clone());
                Ok(Some(Cow::Borrowed(&self.all.first)))
            }
            At::After(None) => Ok(None),
            At::After(next) => {
                let (records, next) = page(&self.all.source, &self.all.parent, next).await?;
                self.at = At::After(next);
                Ok(Some(Cow::Owned(records)))
            }
        }
    }
}

async fn page(source: &RepoSource, parent: &str, after: Option<Vec<u8>>) -> Result<(Vec<Record>, Option<Vec<u8>>)> {
    let page = source.reader().children(parent, after, PAGE).await?;
    Ok((page.records().collect::<Result<_>>()?, page.next))
}
