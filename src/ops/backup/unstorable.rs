//! Items that no tree takes: their ids are none, or too long. The service's answer is odd, and anybody's message may hold one:
//! it is a gap, and no reason for a run to end.

use crate::error::Error;
use crate::format::collection::Gap;
use crate::format::record::Record;

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
        reason: "corrupt-at-source".to_owned(),
        text: refused.to_string().chars().take(2 * LETTERS).collect(),
        since_us: 0,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use async_trait::async_trait;
    use bytes::Bytes;

    use super::super::exclude::tests::Setting;
    use crate::error::Result;
    use crate::format::collection::Cursors;
    use crate::format::record::ItemKind;
    use crate::m365::testing::record;
    use crate::m365::{
        Change, ChangesEnd, Collection, CollectionKey, ContentSink, Contents, Fetched, Known, Previous, Sink, Wanted,
    };
    use crate::ops::catalog::Catalog;
    use crate::snapshot::store;

    /// A service that tells items with odd ids among good ones, and takes one away that it tells again.
    struct Odd(CollectionKey);

    #[async_trait]
    impl Collection for Odd {
        fn key(&self) -> &CollectionKey {
            &self.0
        }

        fn path(&self) -> &str {
            "users/u/OneDrive"
        }

        async fn changes(&self, _: Previous<'_>, _: &dyn Known, sink: &mut dyn Sink) -> Result<ChangesEnd> {
            let mut put = async |id: &str, contents| {
                let record = Box::new(record(id, "", id, ItemKind::File));
                sink.change(Change::Put { record, properties: Bytes::from_static(b"{}"), contents }).await
            };
            put("first", Contents::None).await?;
            put("", Contents::None).await?;
            put(&"i".repeat(5000), Contents::None).await?;
            put("last", Contents::None).await?;
            put("nowhere", Contents::Keep).await?;
            Ok(ChangesEnd { cursors: Cursors::default(), resynced: false })
        }

        async fn fetch(&self, wanted: &Wanted, _: &mut dyn ContentSink) -> Result<Fetched> {
            assert_eq!(wanted.record.id, "nowhere", "its contents were to be kept, and nothing was there");
            Ok(Fetched::Gone)
        }
    }

    #[tokio::test]
    async fn an_item_whose_id_no_tree_takes_is_a_gap_and_ends_no_run() {
        let setting = Setting::new(1).await;
        let (complete, _) = setting.backup_of(Arc::new(Odd("users/u/onedrive/d".parse().unwrap())), 1).await;
        assert!(complete);
        let snapshot = store::list(&setting.repo).await.unwrap().snapshots.pop().unwrap();
        let catalog = Catalog::load(&setting.repo, Some(&snapshot.file)).await.unwrap();
        let gaps: Vec<(usize, &str)> = catalog.gaps.iter().map(|gap| (gap.id.len(), gap.reason.as_str())).collect();
        let odd = "corrupt-at-source";
        assert!(
            gaps.len() == 2 && gaps.iter().all(|(id, reason)| (1..=400).contains(id) && *reason == odd),
            "{gaps:?}"
        );
        // What was to be kept and is not there was asked for; it is gone.
        assert_eq!(catalog.states.values().next().unwrap().items.map_or(0, |tree| tree.count), 2);
    }
}
