//! Items that no tree takes: their ids are none, or too long, or there is too much of what is said of them. The service's answer is
//! odd, and anybody's message may hold one: it is a gap, and no reason for a run to end. Nobody can ask for such an item, so the gap
//! stays till everything is told anew.

use crate::error::Error;
use crate::format::collection::Gap;
use crate::format::record::Record;

/// Why it is a gap.
const REASON: &str = "unstorable";
/// Letters of such an id that its gap keeps.
const LETTERS: usize = 100;

/// The gap of an item that a tree refused.
pub(super) fn gap(record: &Record, collection: &str, refused: &Error) -> Gap {
    let id: String = record.id.chars().take(LETTERS).collect();
    Gap {
        collection: collection.to_owned(),
        id: if id.is_empty() { "(no id)".to_owned() } else { id },
        name: record.name.clone(),
        kind: Some(record.kind),
        reason: REASON.to_owned(),
        text: refused.to_string().chars().take(2 * LETTERS).collect(),
        since_us: 0,
    }
}

/// Says whether a gap is one of these.
pub(super) fn is(gap: &Gap) -> bool {
    gap.reason == REASON
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use async_trait::async_trait;
    use bytes::Bytes;

    use super::super::exclude::tests::Setting;
    use super::REASON;
    use crate::error::Result;
    use crate::format::collection::Cursors;
    use crate::format::record::ItemKind;
    use crate::m365::testing::record;
    use crate::m365::{
        Change, ChangesEnd, Collection, CollectionKey, ContentSink, Contents, Fetched, Known, Previous, Sink, Wanted,
    };
    use crate::ops::catalog::Catalog;
    use crate::snapshot::store;

    /// A service that tells items with odd ids among good ones, once.
    struct Odd(CollectionKey, AtomicU32);

    #[async_trait]
    impl Collection for Odd {
        fn key(&self) -> &CollectionKey {
            &self.0
        }

        fn path(&self) -> &str {
            "users/u/OneDrive"
        }

        async fn changes(&self, previous: Previous<'_>, _: &dyn Known, sink: &mut dyn Sink) -> Result<ChangesEnd> {
            assert!(previous.retry.is_empty(), "nobody can be asked for {:?}", previous.retry);
            let ids = match self.1.fetch_add(1, Ordering::Relaxed) {
                1 => Vec::new(),
                _ => vec!["first".to_owned(), String::new(), "i".repeat(5000), "last".to_owned(), "nowhere".to_owned()],
            };
            for id in ids {
                let contents = if id == "nowhere" { Contents::Keep } else { Contents::None };
                let record = Box::new(record(&id, "", &id, ItemKind::File));
                sink.change(Change::Put { record, properties: Bytes::from_static(b"{}"), contents }).await?;
            }
            let mut cursors = Cursors::default();
            cursors.set("items", "1");
            Ok(ChangesEnd { cursors, resynced: false })
        }

        async fn fetch(&self, wanted: &Wanted, _: &mut dyn ContentSink) -> Result<Fetched> {
            assert_eq!(wanted.record.id, "nowhere", "its contents were to be kept, and nothing was there");
            Ok(Fetched::Gone)
        }
    }

    #[tokio::test]
    async fn an_item_whose_id_no_tree_takes_is_a_gap_until_all_is_told_anew_and_ends_no_run() {
        let setting = Setting::new(1).await;
        let odd = Arc::new(Odd("users/u/onedrive/d".parse().unwrap(), AtomicU32::default()));
        for now in 1..3 {
            let (complete, _) = setting.backup_of(odd.clone(), now).await;
            assert!(complete);
            let snapshot = store::list(&setting.repo).await.unwrap().snapshots.pop().unwrap();
            let catalog = Catalog::load(&setting.repo, Some(&snapshot.file)).await.unwrap();
            let gaps: Vec<(usize, &str)> = catalog.gaps.iter().map(|gap| (gap.id.len(), gap.reason.as_str())).collect();
            let all_odd = gaps.iter().all(|(id, why)| (1..=400).contains(id) && *why == REASON);
            assert!(gaps.len() == 2 && all_odd, "{gaps:?}");
            assert!(catalog.gaps.iter().all(|gap| gap.since_us == catalog.gaps[0].since_us));
            // What was to be kept and is not there was asked for; it is gone.
            assert_eq!(catalog.states.values().next().unwrap().items.map_or(0, |tree| tree.count), 2);
        }
    }
}
