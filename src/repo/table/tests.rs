use super::*;
use crate::repo::merge::write_merged;

fn index(seed: u8, count: u32) -> IndexFile {
    let pack = IndexedPack {
        id: PackId([seed; 32]),
        kind: BlobKind::Tree,
        size_bytes: 1 << 40,
        salt: [0; 32],
        keys: Vec::new(),
    };
    let mut blobs: Vec<_> = (0..count)
        .map(|n| IndexedBlob {
            id: BlobId(*blake3::hash(&[&[seed], &n.to_le_bytes()[..]].concat()).as_bytes()),
            pack: 0,
            offset: n,
            stored_bytes: 20,
            plain_bytes: 4,
            key: 0,
            nonce: u64::from(n),
        })
        .collect();
    blobs.sort_by_key(|b| b.id);
    let chunk = |n: u8| ChunkPlace {
        id: ChunkId(std::array::from_fn(|i| blake3::hash(&[seed, n, 1]).as_bytes()[i])),
        segment: blobs[n as usize % blobs.len()].id,
        offset: u32::from(n) % 4,
        length: 0,
    };
    let chunks = if blobs.is_empty() { Vec::new() } else { (0..100).map(chunk).collect() };
    IndexFile::of([(pack, blobs.clone())], chunks)
}

#[test]
fn every_blob_is_found_and_no_other() {
    for count in [0, 1, 15, 16, 17, 1000] {
        let file = index(1, count);
        let table = Table::from_index(IndexId([1; 32]), file.clone());
        for blob in &file.blobs {
            assert_eq!(table.find(&blob.id), [*blob]);
        }
        let places: Vec<_> = file.chunk_places().collect();
        for place in &places {
            assert_eq!(table.find_chunk(&place.id), [*place]);
        }
        assert_eq!(table.chunks().collect::<Vec<_>>(), places);
        assert_eq!(table.find_chunk(&ChunkId([0; 16])).len() + table.find_chunk(&ChunkId([255; 16])).len(), 0);
        for n in 0..100u8 {
            assert_eq!(table.find(&BlobId(*blake3::hash(&[n]).as_bytes())).len(), 0);
        }
        assert_eq!(table.find(&BlobId([0; 32])).len() + table.find(&BlobId([255; 32])).len(), 0);
    }
}

#[test]
fn a_merged_table_holds_all_of_its_parts() {
    let folder = tempfile::tempdir().unwrap();
    let parts: Vec<_> = (1..5u8).map(|s| Table::from_index(IndexId([s; 32]), index(s, 500))).collect();
    let path = folder.path().join("merged");
    write_merged(&parts.iter().collect::<Vec<_>>(), &folder.path().join("new"), &path).unwrap();
    let merged = Table::open(&path).unwrap();
    assert_eq!((merged.blobs.count, merged.chunks.count, merged.meta.covers.len()), (2000, 400, 4));
    for (n, part) in parts.iter().enumerate() {
        for blob in part.iter() {
            assert_eq!(merged.find(&blob.id), [IndexedBlob { pack: n as u32, ..blob }]);
        }
        for place in part.chunks() {
            assert_eq!(merged.find_chunk(&place.id), [place]);
        }
    }
    let bytes = std::fs::read(&path).unwrap();
    for cut in [0, 7, 31, 200, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..cut]).unwrap();
        assert!(Table::open(&path).is_err());
    }
}

/// A pack that two index files list, as after a prune that was cut off, is one pack of the merged table, its blobs come once.
#[test]
fn what_two_tables_list_alike_is_merged_to_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = |n: u8| {
        let mut file = index(1, 50);
        file.packs.insert(
            0,
            IndexedPack { id: PackId([n; 32]), keys: vec![SealedKey([n; 80]); n.into()], ..file.packs[0].clone() },
        );
        file.blobs.iter_mut().for_each(|b| b.pack = 1);
        file
    };
    let parts = [2, 3].map(|n| Table::from_index(IndexId([n; 32]), file(n)));
    let path = folder.path().join("merged");
    write_merged(&parts.iter().collect::<Vec<_>>(), &folder.path().join("new"), &path).unwrap();
    let merged = Table::open(&path).unwrap();
    assert_eq!((merged.packs.count, merged.blobs.count, merged.chunks.count), (3, 50, 100));
    for n in [1, 2, 3u8] {
        let number = merged.find_pack(&PackId([n; 32])).unwrap();
        let keys = if n == 1 { 0 } else { n.into() };
        assert_eq!(
            merged.pack(number).unwrap(),
            IndexedPack { id: PackId([n; 32]), keys: vec![SealedKey([n; 80]); keys], ..index(1, 0).packs[0].clone() }
        );
    }
    assert!(merged.iter().all(|b| merged.pack(b.pack).unwrap().id == PackId([1; 32])));
    assert_eq!(merged.find_pack(&PackId([9; 32])), None);
}

/// A table of the cache that is cut short while it is open: look-ups find nothing, and who asks is told.
#[test]
fn a_table_that_cannot_be_read_says_so() {
    let folder = tempfile::tempdir().unwrap();
    // Larger than what is held in memory.
    let part = Table::from_index(IndexId([1; 32]), index(1, 100_000));
    let path = folder.path().join("merged");
    write_merged(&[&part], &folder.path().join("new"), &path).unwrap();
    let table = Table::open(&path).unwrap();
    let known = part.iter().last().unwrap();
    assert_eq!(table.find(&known.id), [known]);
    assert!(table.intact().is_ok());
    File::options().write(true).open(&path).unwrap().set_len(1000).unwrap();
    assert_eq!(table.find(&known.id), []);
    let e = table.intact().unwrap_err();
    assert!(e.to_string().contains("merged") && e.hint().is_some(), "{e}");
    assert!(table.iter().count() < 100_000);
    // Also where the walk alone comes upon it.
    write_merged(&[&part], &folder.path().join("new"), &path).unwrap();
    let table = Table::open(&path).unwrap();
    File::options().write(true).open(&path).unwrap().set_len(part.len() / 2).unwrap();
    assert!(table.iter().count() < 100_000);
    assert!(table.intact().is_err());
}

/// Nothing is built upon what a failing table says, for its marks may not be known.
#[test]
fn an_index_with_a_failing_table_finds_nothing_live_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let part = Table::from_index(IndexId([1; 32]), index(1, 100_000));
    let path = folder.path().join("merged");
    write_merged(&[&part], &folder.path().join("new"), &path).unwrap();
    let blobs: Vec<IndexedBlob> = part.iter().collect();
    let index = crate::repo::Index::new(vec![std::sync::Arc::new(Table::open(&path).unwrap())], Vec::new());
    assert!(blobs.iter().step_by(1000).all(|b| index.has_live(&b.id)));
    File::options().write(true).open(&path).unwrap().set_len(part.len() / 2).unwrap();
    assert!(index.blobs().count() < blobs.len());
    assert!(index.intact().is_err());
    assert!(!blobs.iter().step_by(1000).any(|b| index.has_live(&b.id) || index.find(&b.id).is_some()));
}
