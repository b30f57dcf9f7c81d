//! Bytes from outside never end the process, whatever they are.

use proptest::prelude::*;
use tenantvault::crypto::{BlobKind, MasterKeys, Secret, SlotSecrets};
use tenantvault::format::codec;
use tenantvault::format::config::RepoConfig;
use tenantvault::format::header::{FileKind, open_document, seal_document};
use tenantvault::format::id::{BlobId, PackId, RepoId};
use tenantvault::format::index::{IndexFile, IndexedBlob, IndexedPack};
use tenantvault::format::pack::{self, PackBuilder, PackHeader, PreparedBlob};
use tenantvault::format::slot;

use crate::support::{T0, noise, pass};

fn keys() -> MasterKeys {
    MasterKeys::new(SlotSecrets::generate())
}

/// Sealed with a key at hand, so that the decoder behind the seal is reached.
fn reseal(keys: &MasterKeys, plain: &[u8]) -> Vec<u8> {
    // A document whose payload is any bytes: encoded as a tuple of bytes it has no length in front.
    let mut out = tenantvault::format::header::prefix(FileKind::Index).to_vec();
    out.extend_from_slice(&[3; 32]);
    let head = out.clone();
    out.push(0);
    out.extend_from_slice(plain);
    let key = keys.state_sub_key(FileKind::Index as u8, &[3; 32]);
    tenantvault::crypto::seal_in_place(&key, 0, &head, &mut out, 38);
    out
}

fn index() -> IndexFile {
    let pack =
        IndexedPack { id: PackId([1; 32]), kind: BlobKind::Tree, size_bytes: 1000, salt: [2; 32], keys: Vec::new() };
    let blob = |n: u8| IndexedBlob {
        id: BlobId([n; 32]),
        pack: 0,
        offset: 38 + u32::from(n) * 20,
        stored_bytes: 20,
        plain_bytes: 4,
        key: 0,
        nonce: n.into(),
    };
    IndexFile { packs: vec![pack], blobs: (0..9).map(blob).collect(), ..Default::default() }
}

fn read_pack(keys: &MasterKeys, bytes: &[u8]) -> tenantvault::Result<(IndexedPack, Vec<IndexedBlob>)> {
    let size = bytes.len() as u64;
    let tail = pack::header_bytes("x", size, &bytes[bytes.len().saturating_sub(4)..])?;
    let head = bytes.get(..38).unwrap_or_default();
    let kind = pack::pack_kind("x", head)?;
    pack::read_header("x", keys, kind, PackId([0; 32]), size, head, &bytes[bytes.len() - tail as usize..])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let keys = keys();
        for kind in [FileKind::Config, FileKind::Index, FileKind::Snapshot] {
            prop_assert!(open_document::<IndexFile>("x", &keys, kind, &bytes).is_err());
        }
        let mut ours = b"TVLT\x01\x02".to_vec();
        ours.extend_from_slice(&bytes);
        let _ = slot::read_slot("x", &ours);
        let _ = codec::decode::<PackHeader>("x", &bytes);
        let _ = codec::decode::<IndexFile>("x", &bytes).and_then(|f| f.check("x"));
        let _ = codec::decode::<RepoConfig>("x", &bytes).and_then(RepoConfig::check);
        prop_assert!(read_pack(&keys, &bytes).is_err());
        prop_assert!(pack::open_blob("x", &Secret::random(), &index().blobs[0], bytes).is_err());
    }

    #[test]
    fn random_bytes_behind_the_seal(bytes in prop::collection::vec(any::<u8>(), 0..400), way in 0u8..4) {
        let keys = keys();
        let sealed = reseal(&keys, &bytes);
        let _ = open_document::<IndexFile>("x", &keys, FileKind::Index, &sealed).and_then(|f| f.check("x"));
        let mut packed = vec![way];
        packed.extend_from_slice(&bytes);
        let mut out = sealed[..38].to_vec();
        let head = out.clone();
        out.extend_from_slice(&packed);
        tenantvault::crypto::seal_in_place(&keys.state_sub_key(5, &[3; 32]), 0, &head, &mut out, 38);
        let _ = open_document::<IndexFile>("x", &keys, FileKind::Index, &out);
    }

    #[test]
    fn a_flipped_bit_behind_the_seal(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let keys = keys();
        let mut plain = codec::encode(&index());
        let at = at.index(plain.len());
        plain[at] ^= 1 << bit;
        let _ = open_document::<IndexFile>("x", &keys, FileKind::Index, &reseal(&keys, &plain)).and_then(|f| f.check("x"));
    }

    #[test]
    fn a_flipped_bit_before_the_seal(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let keys = keys();
        let document = seal_document(&keys, FileKind::Index, &index());
        let mut builder = PackBuilder::new(&keys, BlobKind::Content, 0).unwrap();
        let blob = PreparedBlob { id: BlobId([4; 32]), plain_bytes: 50, body: noise(1, 50) };
        builder.append(&blob).unwrap();
        let pack = builder.finish().unwrap().bytes;
        for (n, file) in [document, pack].into_iter().enumerate() {
            let mut bad = file.clone();
            let at = at.index(file.len());
            bad[at] ^= 1 << bit;
            if n == 0 {
                prop_assert!(open_document::<IndexFile>("x", &keys, FileKind::Index, &bad).is_err());
            } else {
                // The blobs themselves lie between head and header: those are the reader's affair.
                prop_assert_eq!(read_pack(&keys, &bad).is_ok(), (38..38 + 66).contains(&at));
            }
            for cut in [at, file.len() - 1] {
                prop_assert!(read_pack(&keys, &file[..cut]).is_err());
                prop_assert!(open_document::<IndexFile>("x", &keys, FileKind::Index, &file[..cut]).is_err());
            }
        }
    }
}

#[test]
fn a_huge_length_is_refused_before_memory_is_taken() {
    // 255 and eight bytes: a 64-bit length in Bincode.
    let mut bytes = vec![253];
    bytes.extend_from_slice(&u64::MAX.to_le_bytes());
    assert!(codec::decode::<IndexFile>("x", &bytes).is_err());
    bytes[1..].copy_from_slice(&(1u64 << 40).to_le_bytes());
    assert!(codec::decode::<PackHeader>("x", &bytes).is_err());
}

#[test]
fn a_hostile_slot_cannot_ask_for_all_memory() {
    let secrets = SlotSecrets::generate();
    let file = slot::seal_slot(RepoId([1; 32]), &secrets, "x", T0, &pass()).unwrap();
    let facts = slot::read_slot("x", &file).unwrap();
    for (memory_kib, passes, lanes) in
        [(u32::MAX, 1, 1), (8, u32::MAX, 1), (8, 1, u32::MAX), (4 << 20, 64, 1), (0, 0, 0)]
    {
        let kdf = tenantvault::crypto::KdfParams { memory_kib, passes, lanes };
        assert!(tenantvault::crypto::derive_kek(&pass(), &facts.salt, kdf).is_err());
    }
}
