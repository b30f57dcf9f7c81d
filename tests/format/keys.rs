//! Keys: ids, sub-keys, the cipher, slots, sealed pack keys.

use hpke::kem::X25519HkdfSha256;
use hpke::{Kem as _, Serializable as _};
use serde_json::{Value, json};
use tenantvault::crypto::{
    BlobKind, KdfParams, KeyRight, Passphrase, SealedKey, Secret, derive_kek, open_in_place, seal_append,
};
use tenantvault::format::id::RepoId;
use tenantvault::format::slot::{open_slot, seal_slot};

use super::{array, hex, list, master_keys, secrets, unhex, vectors};

/// The content key pair of the vectors: derived from fixed bytes.
pub fn content_pair() -> (Secret, [u8; 32]) {
    let (private, public) = X25519HkdfSha256::derive_keypair(b"the content key pair of vectors.");
    (Secret::new(private.to_bytes().into()), public.to_bytes().into())
}

const PLAINS: [&[u8]; 3] = [b"", b"x", b"Tenantvault keeps snapshots"];

fn kind_word(kind: BlobKind) -> &'static str {
    match kind {
        BlobKind::Content => "content",
        BlobKind::Tree => "tree",
    }
}

fn blob_ids() -> Value {
    let keys = master_keys();
    let ids = [BlobKind::Content, BlobKind::Tree].into_iter().flat_map(|kind| {
        let keys = &keys;
        PLAINS.map(
            move |plain| json!({"kind": kind_word(kind), "plain": hex(plain), "id": hex(&keys.blob_id(kind, plain))}),
        )
    });
    ids.collect()
}

fn chunk_ids() -> Value {
    let keys = master_keys();
    PLAINS.iter().map(|plain| json!({"bytes": hex(plain), "id": hex(&keys.chunk_id(plain))})).collect()
}

fn sub_keys() -> Value {
    let keys = master_keys();
    let salts = [[0u8; 32], std::array::from_fn(|i| i as u8 + 1)];
    let made = (1..=8u8).flat_map(|kind| salts.map(|salt| (kind, salt)));
    made.map(
        |(kind, salt)| json!({"kind": kind, "salt": hex(&salt), "key": hex(keys.state_sub_key(kind, &salt).expose())}),
    )
    .collect()
}

fn aead() -> Value {
    let key = Secret::new(std::array::from_fn(|i| 0x80 + i as u8));
    let cases = [
        (0, &b""[..], &b""[..]),
        (1, b"associated", b"plain"),
        (0x4746_4544_4342_4140, b"", b"counter"),
        (u64::MAX, b"a", b"z"),
    ];
    let made = cases.map(|(counter, aad, plain)| {
        let mut sealed = Vec::new();
        seal_append(&key, counter, aad, plain, &mut sealed);
        // Counters go beyond what numbers of JSON can hold.
        json!({"key": hex(key.expose()), "counter": counter.to_string(), "aad": hex(aad), "plain": hex(plain), "sealed": hex(&sealed)})
    });
    Value::from(made.to_vec())
}

fn slot_keys() -> Value {
    let cases = [("correct horse battery staple", 64, 1, 1), ("ä€😀", 1024, 3, 2)];
    let salt: [u8; 16] = std::array::from_fn(|i| 0xf0 + i as u8);
    let made = cases.map(|(text, memory_kib, passes, lanes)| {
        let passphrase = Passphrase::new(text).expect("it is not empty");
        let key = derive_kek(&passphrase, &salt, KdfParams { memory_kib, passes, lanes }).expect("within bounds");
        json!({"passphrase": text, "salt": hex(&salt), "memory_kib": memory_kib, "passes": passes, "lanes": lanes, "key": hex(key.expose())})
    });
    Value::from(made.to_vec())
}

fn new_slots() -> Value {
    let made = [KeyRight::Owner, KeyRight::WriteOnly].map(|right| {
        let passphrase = Passphrase::generate();
        let secrets = if right == KeyRight::Owner { secrets() } else { secrets().write_only() };
        let file = seal_slot(RepoId([0xab; 32]), &secrets, "alice@laptop", 1_793_599_200_000_000, &passphrase)
            .expect("it seals");
        json!({"passphrase": passphrase.expose_text(), "right": right_word(right), "label": "alice@laptop",
            "made_us": 1_793_599_200_000_000i64, "repository": hex(&[0xab; 32]), "file": hex(&file)})
    });
    Value::from(made.to_vec())
}

fn right_word(right: KeyRight) -> &'static str {
    match right {
        KeyRight::Owner => "owner",
        KeyRight::WriteOnly => "write-only",
    }
}

fn new_sealed_keys() -> Value {
    let made = [1u8, 2].map(|n| {
        let key = Secret::new([n; 32]);
        let sealed = master_keys().seal_pack_key(&key).expect("it seals");
        json!({"key": hex(key.expose()), "sealed": hex(&sealed.0)})
    });
    Value::from(made.to_vec())
}

/// Makes the file; random parts are those of `old`.
pub fn make(old: Option<Value>) -> Value {
    let s = secrets();
    let kept = |name: &str, make: fn() -> Value| old.as_ref().map_or_else(make, |old| old[name].clone());
    json!({
        "about": "Vectors of format-spec/files.md, sections 3, 4 and 6. Byte strings are hexadecimal, counters decimal. blob_ids, chunk_ids and sub_keys follow from the secrets; sealed_keys open with content_private and psk; the slots hold the secrets (the write-only one all but content_private).",
        "secrets": {
            "content_private": hex(s.content_private.as_ref().expect("an owner's").expose()),
            "content_public": hex(&s.content_public),
            "psk": hex(s.psk.expose()),
            "state": hex(s.state.expose()),
            "id": hex(s.id.expose()),
        },
        "blob_ids": blob_ids(),
        "chunk_ids": chunk_ids(),
        "sub_keys": sub_keys(),
        "aead": aead(),
        "slot_keys": slot_keys(),
        "slots": kept("slots", new_slots),
        "sealed_keys": kept("sealed_keys", new_sealed_keys),
    })
}

#[test]
fn ids_keys_and_ciphertexts_are_those_of_the_vectors() {
    let stored = vectors("crypto.json");
    let made = make(Some(stored.clone()));
    for part in ["secrets", "blob_ids", "chunk_ids", "sub_keys", "aead", "slot_keys"] {
        assert_eq!(made[part], stored[part], "{part}");
    }
    for vector in list(&stored["aead"]) {
        let counter = vector["counter"].as_str().and_then(|n| n.parse().ok()).expect("a number");
        let mut sealed = unhex(&vector["sealed"]);
        open_in_place("vector", &Secret::new(array(&vector["key"])), counter, &unhex(&vector["aad"]), &mut sealed)
            .expect("it opens");
        assert_eq!(sealed, unhex(&vector["plain"]));
    }
}

#[test]
fn slots_of_the_vectors_open() {
    for vector in list(&vectors("crypto.json")["slots"]) {
        let passphrase = Passphrase::new(vector["passphrase"].as_str().expect("text")).expect("it is not empty");
        let (facts, opened) = open_slot("Slot", &unhex(&vector["file"]), &passphrase).expect("it opens");
        assert_eq!(
            (right_word(facts.right), facts.label.as_str()),
            (vector["right"].as_str().expect("text"), "alice@laptop")
        );
        assert_eq!(facts.repo, RepoId(array(&vector["repository"])));
        assert_eq!(Some(facts.created_us), vector["made_us"].as_i64());
        let known = secrets();
        let private = (facts.right == KeyRight::Owner).then_some(known.content_private).flatten();
        assert!(opened.content_private == private && opened.content_public == known.content_public);
        assert!(opened.psk == known.psk && opened.state == known.state && opened.id == known.id);
    }
}

#[test]
fn sealed_keys_of_the_vectors_open() {
    for vector in list(&vectors("crypto.json")["sealed_keys"]) {
        let key = master_keys().open_pack_key(&SealedKey(array(&vector["sealed"]))).expect("it opens");
        assert_eq!(key.expose()[..], unhex(&vector["key"]));
    }
}

/// What holds keys wipes itself, when told and when dropped, and shows nothing of them.
#[test]
fn key_material_is_wiped_and_does_not_print() {
    use zeroize::{Zeroize, ZeroizeOnDrop};
    fn is_wiped_on_drop<T: ZeroizeOnDrop>(_: &T) {}
    let mut secret = Secret::new([0xab; 32]);
    let mut passphrase = Passphrase::new("correct horse").unwrap();
    is_wiped_on_drop(&secret);
    is_wiped_on_drop(&passphrase);
    for shown in [format!("{secret:?} {secret:#?}"), format!("{passphrase:?} {passphrase:#?}")] {
        assert!(!["ab", "171", "correct", "99, 111"].iter().any(|part| shown.contains(part)), "{shown}");
    }
    secret.zeroize();
    passphrase.zeroize();
    assert_eq!((secret.expose(), passphrase.expose()), (&[0; 32], &[][..]));
}
