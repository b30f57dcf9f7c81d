use super::*;
use crate::crypto::BlobKind;
use crate::format::id::BlobId;
use crate::format::index::{IndexFile, IndexedBlob, IndexedPack};

fn table(seed: u32, count: u32) -> Arc<Table> {
    let pack = IndexedPack {
        id: PackId(crypto::hash_buffers([&seed.to_le_bytes()[..]])),
        kind: BlobKind::Tree,
        size_bytes: 1 << 40,
        salt: [0; 32],
        keys: Vec::new(),
    };
    let id = |n: u32| [n.wrapping_mul(0x9e37_79b1).to_be_bytes(), seed.to_be_bytes()].concat();
    let blob = |n: u32| IndexedBlob {
        id: BlobId(std::array::from_fn(|i| id(n).get(i).copied().unwrap_or_default())),
        pack: 0,
        offset: n,
        stored_bytes: 20,
        plain_bytes: 4,
        key: 0,
        nonce: 0,
    };
    let file = IndexFile::of([(pack, (0..count).map(blob).collect())], Vec::new());
    Arc::new(Table::from_index(IndexId(crypto::hash_buffers([&seed.to_be_bytes()[..]])), file))
}

fn cache(folder: &Path) -> Cache {
    Cache::open(folder, &RepoId([1; 32])).unwrap()
}

/// A large table is left alone by the small ones that come after it; they are merged with each other.
#[test]
fn tables_stay_few_and_large_ones_are_not_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let cache = cache(folder.path());
    let mut tables = cache.keep(vec![table(0, 100_000)]);
    let large = tables[0].meta.covers.clone();
    for n in 1..40 {
        tables.push(table(n, 200));
        tables = cache.keep(tables);
        assert!(tables.len() <= 2, "{tables:?}");
        assert!(tables.iter().any(|t| t.meta.covers == large));
        assert!(tables.iter().all(|t| t.is_kept()));
    }
    // What the next process finds is the same.
    let present = tables.iter().flat_map(|t| t.meta.covers.iter().copied()).collect();
    let found = cache.tables(&present);
    assert_eq!(found.iter().map(|t| t.meta.covers.len()).sum::<usize>(), 40);
    assert_eq!(found.iter().map(|t| t.iter().count()).sum::<usize>(), 100_000 + 39 * 200);
    assert_eq!(cache.entries("index").count(), tables.len());
}

/// However many index files are read, only so much of them is in memory.
#[test]
fn tables_in_memory_go_to_the_cache_when_they_have_become_much() {
    let folder = tempfile::tempdir().unwrap();
    let cache = cache(folder.path());
    let (mut tables, mut most) = (Vec::new(), 0);
    for n in 0..6 {
        tables.push(table(n, 200_000));
        tables = cache.spill(tables);
        most = most.max(tables.iter().filter(|t| !t.is_kept()).map(|t| t.len()).sum());
    }
    assert!((1..=TABLES_IN_MEMORY).contains(&most), "{most}");
    assert!(tables.iter().any(|t| t.is_kept()));
    assert_eq!(tables.iter().map(|t| t.iter().count()).sum::<usize>(), 6 * 200_000);
    assert_eq!(cache.keep(tables).iter().map(|t| t.iter().count()).sum::<usize>(), 6 * 200_000);
}
