//! No key and nonce encrypt two things, whatever was stored, moved, merged or made anew. A reader would not notice:
//! only counting does.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tenantvault::crypto::{BlobKind, KeyRight, Passphrase};
use tenantvault::format::header::FileKind;
use tenantvault::format::{pack, slot};
use tenantvault::monitor::Silent;
use tenantvault::repo::{DocumentKind, Repository};
use tenantvault::storage::Storage;

use crate::support::*;

/// Key and nonce, with the hash of the ciphertext: a blob that was moved is the same ciphertext twice.
type Used = HashMap<([u8; 32], u64), [u8; 32]>;

fn note(used: &mut Used, key: &[u8; 32], nonce: u64, ciphertext: &[u8], what: &str) {
    let before = used.insert((*key, nonce), hash(ciphertext));
    assert!(before.is_none_or(|b| b == hash(ciphertext)), "{what}: nonce {nonce} was used twice under one key");
}

/// Notes what a file encrypts under which keys.
fn note_file(used: &mut Used, repo: &Arc<Repository>, path: &str, bytes: &[u8]) {
    let (kind, salt): (u8, [u8; 32]) = (bytes[5], bytes[6..38].try_into().unwrap());
    let key = *repo.keys().state_sub_key(kind, &salt).expose();
    if ![FileKind::ContentPack as u8, FileKind::TreePack as u8].contains(&kind) {
        return note(used, &key, 0, &bytes[38..], path);
    }
    let size = bytes.len() as u64;
    let tail = pack::header_bytes(path, size, &bytes[bytes.len() - 4..]).unwrap();
    let tail = &bytes[(size - tail) as usize..];
    let id = path.rsplit('/').next().unwrap().parse().unwrap();
    let kind = pack::pack_kind(path, &bytes[..38]).unwrap();
    let (header, blobs) = pack::read_header(path, repo.keys(), kind, id, size, &bytes[..38], tail).unwrap();
    note(used, &key, u64::MAX, tail, path);
    for blob in blobs {
        let of_blob = match kind {
            BlobKind::Tree => key,
            BlobKind::Content => *repo.keys().open_pack_key(&header.keys[blob.key as usize]).unwrap().expose(),
        };
        let start = blob.offset as usize;
        note(used, &of_blob, blob.nonce, &bytes[start..start + blob.stored_bytes as usize], path);
    }
}

async fn note_all(used: &mut Used, repo: &Arc<Repository>, storage: &Arc<dyn Storage>) {
    for path in files(storage, "").await.iter().filter(|path| !path.starts_with("keys/")) {
        note_file(used, repo, path, &bytes_of(storage, path).await);
    }
}

#[tokio::test]
async fn no_key_and_nonce_encrypt_two_things() {
    let (storage, repo) = init_tiny().await;
    let mut used = Used::new();
    let mut names = Vec::new();
    for n in 0..5u64 {
        let streams = [noise(n, 40_000), noise(50, 9000)];
        names.push(back_up(&repo, &streams, &[noise(n + 70, 6000), noise(n + 80, 50)]).await.unwrap());
        note_all(&mut used, &repo, &storage).await;
    }
    for name in &names[..2] {
        forget(&repo, name).await;
        prune(&repo, &options(T0, 0)).await.unwrap();
        note_all(&mut used, &repo, &storage).await;
    }
    repo.repair_index(true, &Silent).await.unwrap();
    for kind in [DocumentKind::Set, DocumentKind::Run] {
        let set = (kind == DocumentKind::Run).then_some(SET);
        repo.put_document(kind, set, &b"one".to_vec()).await.unwrap();
        repo.put_document(kind, set, &b"two".to_vec()).await.unwrap();
    }
    note_all(&mut used, &repo, &storage).await;
    assert!(used.len() > 50, "{}", used.len());
}

#[tokio::test]
async fn no_two_key_slots_share_a_salt() {
    let (storage, repo) = init_tiny().await;
    for n in 0..3 {
        repo.add_slot(&Passphrase::generate(), KeyRight::WriteOnly, &n.to_string(), T0).await.unwrap();
    }
    let mut salts = HashSet::new();
    let slots = files(&storage, "keys").await;
    for path in &slots {
        salts.insert(slot::read_slot(path, &bytes_of(&storage, path).await).unwrap().salt);
    }
    assert_eq!((slots.len(), salts.len()), (4, 4));
}
