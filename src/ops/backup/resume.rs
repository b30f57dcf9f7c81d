//! Where a first reading that was broken off goes on, kept beside the cursors of its last checkpoint.
//!
//! What this proves. A delta promises to tell, in the pages that follow and from the link at the end, what becomes of
//! everything that its pages told. The promise is about the link, not about the process that follows it, so it holds for
//! a reading with a pause in it as for one that takes as long without. Two things make it fit what is stored:
//!
//! - The trees hold nothing but what this one enumeration told: only a reading that began with nothing known may be
//!   gone on with. Any other is compared with what is known, from the beginning.
//! - What came after the checkpoint the service does not take for told: if it vanishes, no page will say so. The ids of
//!   these, a page or two, are kept, and each that is not told again is asked for by itself, as gaps are.
//!
//! So the end needs no comparison. The link at the end of a resumed enumeration is followed once more in the same
//! reading, so that what vanished between the two runs is not in the snapshot. A link that is no longer honoured: the
//! workload enumerates from the beginning and compares.

use crate::format::collection::Cursors;
use crate::format::record::{ItemKind, Record};

/// The name of the ids among the cursors.
const NAME: &str = "!resume";
/// While more ids than this came since a checkpoint, a reading that is broken off begins from the start.
pub(super) const MOST: usize = 4000;

/// Takes away from cursors what is kept of a checkpoint: the doubtful ids. `None`: they are those of a whole reading.
pub(super) fn take(cursors: &mut Cursors) -> Option<Vec<String>> {
    let place = cursors.links.iter().position(|(name, _)| name == NAME)?;
    let (_, text) = cursors.links.remove(place);
    serde_json::from_str(&text).ok()
}

/// Puts the doubtful ids of a checkpoint beside its cursors.
pub(super) fn put(cursors: &mut Cursors, doubtful: &[String]) {
    // A list of texts always has a form.
    cursors.set(NAME, serde_json::to_string(doubtful).unwrap_or_default());
}

/// Says whether cursors are those of a reading that was broken off.
pub(crate) fn is_part(cursors: &Cursors) -> bool {
    cursors.get(NAME).is_some()
}

/// What a reading that is broken off now would be gone on with.
#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    /// Nothing but this enumeration's items is in the trees.
    pub(super) allowed: bool,
    last: Option<(Cursors, Vec<String>)>,
    /// What was put since.
    since: Vec<String>,
    /// More was put since than is noted: till the next checkpoint there is none.
    overflowed: bool,
    /// The cursors of a reading that told all there was to tell, and asks for more. See [`Sink::settled`](crate::m365::Sink::settled).
    settled: Option<Cursors>,
}

impl Checkpoints {
    /// What is gone on with: until the next checkpoint, from the same place again.
    pub(super) fn going_on(from: Option<&Cursors>) -> Self {
        Self { allowed: true, last: from.map(|cursors| (cursors.clone(), Vec::new())), ..Self::default() }
    }

    /// Notes an item that came after the last checkpoint. Parts are tried again with their items.
    pub(super) fn put(&mut self, record: &Record) {
        let id = part_of(record).unwrap_or(&record.id);
        if !self.allowed || self.overflowed || self.since.last().is_some_and(|last| last == id) {
            return;
        }
        self.since.push(id.to_owned());
        if self.since.len() > MOST {
            self.overflowed = true;
            self.since = Vec::new();
        }
    }

    /// Takes the cursors that stand for all that was told up to here, after that was stored.
    pub(super) fn settle(&mut self, cursors: Cursors) {
        self.settled = Some(cursors);
    }

    /// Takes a checkpoint, after everything before it was stored.
    pub(super) fn take(&mut self, cursors: Cursors, doubtful: Vec<String>) {
        if self.allowed {
            self.last = Some((cursors, doubtful));
            self.since.clear();
            self.overflowed = false;
        }
    }

    /// The cursors to go on from, with what is doubtful; `None` of that: they are good as they are.
    pub(super) fn finish(self) -> Option<(Cursors, Option<Vec<String>>)> {
        if let Some(cursors) = self.settled {
            return Some((cursors, None));
        }
        let (cursors, mut doubtful) = self.last.filter(|_| self.allowed && !self.overflowed)?;
        doubtful.extend(self.since);
        Some((cursors, Some(doubtful)))
    }
}

/// The id of the item that a record is a part of: an earlier version of it, or who may use it.
pub(super) fn part_of(record: &Record) -> Option<&str> {
    let is_part = matches!(record.kind, ItemKind::Version | ItemKind::Permission);
    record.id.split_once('/').map(|(item, _)| item).filter(|item| is_part && *item == record.parent)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use async_trait::async_trait;
    use bytes::Bytes;

    use super::super::exclude::tests::Setting;
    use super::super::logical;
    use super::{Checkpoints, MOST};
    use crate::error::{Error, ErrorKind, Result};
    use crate::format::collection::Cursors;
    use crate::format::record::ItemKind;
    use crate::m365::testing::record;
    use crate::m365::{
        Change, ChangesEnd, Collection, CollectionKey, ContentSink, Contents, Fetched, Known, Previous, Sink, Wanted,
    };
    use crate::ops::catalog::Catalog;
    use crate::snapshot::store;

    /// A service that remembers what it told up to each link, and says nothing of what vanished untold.
    struct Pages {
        key: CollectionKey,
        run: AtomicU32,
    }

    /// A page of files with many versions each, and a page of more items than are noted.
    #[test]
    fn a_page_of_many_records_ends_no_checkpoints() {
        let mut checkpoints = Checkpoints { allowed: true, ..Checkpoints::default() };
        checkpoints.take(cursors("1"), Vec::new());
        for file in 0..200 {
            let file = format!("f{file}");
            for version in 0..30 {
                checkpoints.put(&record(&format!("{file}/{version}.0"), &file, "v", ItemKind::Version));
            }
            checkpoints.put(&record(&file, "", &file, ItemKind::File));
        }
        assert!(checkpoints.since.len() == 200 && !checkpoints.overflowed);
        for item in 0..=MOST {
            checkpoints.put(&record(&format!("i{item}"), "", "i", ItemKind::File));
        }
        assert!(checkpoints.overflowed && checkpoints.since.is_empty());
        // Ids of mails hold slashes as well.
        checkpoints.take(cursors("2"), vec!["doubted".to_owned()]);
        checkpoints.put(&record("a/b", "", "m", ItemKind::Message));
        let (at, doubtful) = checkpoints.finish().expect("the next one holds");
        assert_eq!((at, doubtful), (cursors("2"), Some(vec!["doubted".to_owned(), "a/b".to_owned()])));
    }

    #[test]
    fn nothing_is_gone_on_with_while_more_came_than_is_noted() {
        let mut checkpoints = Checkpoints { allowed: true, ..Checkpoints::default() };
        checkpoints.take(cursors("1"), Vec::new());
        (0..=MOST).for_each(|item| checkpoints.put(&record(&format!("i{item}"), "", "i", ItemKind::File)));
        assert_eq!(checkpoints.finish(), None);
    }

    fn cursors(name: &str) -> Cursors {
        let mut cursors = Cursors::default();
        cursors.set(name, "1");
        cursors
    }

    #[async_trait]
    impl Collection for Pages {
        fn key(&self) -> &CollectionKey {
            &self.key
        }

        fn path(&self) -> &str {
            "users/u/OneDrive"
        }

        async fn changes(&self, previous: Previous<'_>, _: &dyn Known, sink: &mut dyn Sink) -> Result<ChangesEnd> {
            let put = |id: &str| Change::Put {
                record: Box::new(record(id, "", id, ItemKind::Folder)),
                properties: Bytes::from_static(b"{}"),
                contents: Contents::None,
            };
            match self.run.fetch_add(1, Ordering::Relaxed) {
                0 => {
                    assert!(previous.cursors.is_none());
                    sink.change(put("told")).await?;
                    sink.change(put("doubted")).await?;
                    sink.checkpoint(cursors("page"), vec!["doubted".into()]).await?;
                    sink.change(put("after")).await?;
                    Err(Error::new(ErrorKind::Unavailable, "The service went away"))
                }
                1 => {
                    assert_eq!(previous.cursors, Some(&cursors("page")));
                    // Some that came before come once more.
                    sink.change(put("after")).await?;
                    sink.change(put("more")).await?;
                    Err(Error::new(ErrorKind::Unavailable, "The service is still away"))
                }
                _ => {
                    assert_eq!(previous.cursors, Some(&cursors("page")));
                    let mut retry = previous.retry.to_vec();
                    retry.sort();
                    assert_eq!(retry, ["after", "doubted", "more"]);
                    for id in retry {
                        sink.change(Change::Remove { id }).await?;
                    }
                    sink.change(put("last")).await?;
                    Ok(ChangesEnd { cursors: cursors("end"), resynced: false })
                }
            }
        }

        async fn fetch(&self, _: &Wanted, _: &mut dyn ContentSink) -> Result<Fetched> {
            Ok(Fetched::Gone)
        }
    }

    #[tokio::test]
    async fn what_came_after_a_checkpoint_is_tried_again_until_it_is_told_or_gone() {
        let setting = Setting::new(1).await;
        let pages = Arc::new(Pages { key: "users/u/onedrive/d".parse().unwrap(), run: AtomicU32::new(0) });
        let mut items = Vec::new();
        for now in 1..4 {
            let (complete, _) = setting.backup_of(pages.clone(), now).await;
            assert_eq!(complete, now == 3);
            let snapshot = store::list(&setting.repo).await.unwrap().snapshots.pop().unwrap();
            let catalog = Catalog::load(&setting.repo, Some(&snapshot.file)).await.unwrap();
            let state = catalog.states.values().next().unwrap();
            items.push(state.items.map_or(0, |tree| tree.count));
            let mut at = state.cursors.clone();
            at.iter_mut().for_each(logical::take);
            assert_eq!(at.as_ref().is_some_and(super::is_part), now < 3);
            assert!(now < 3 || at == Some(cursors("end")), "{at:?}");
        }
        assert_eq!(items, [3, 4, 2]);
    }
}
