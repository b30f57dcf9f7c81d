//! Files are flipped, cut or gone: the error says which one, and the rest still reads.

use std::sync::Arc;

use tenantvault::crypto::{KeyRight, Passphrase};
use tenantvault::error::{Error, ErrorKind};
use tenantvault::monitor::Silent;
use tenantvault::repo::{DocumentKind, ReadData, Repository};
use tenantvault::storage::Storage;

use crate::support::*;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Harm {
    Flip(usize),
    Cut(usize),
    Grow,
    Empty,
    Gone,
}

const HARMS: [Harm; 9] = [
    Harm::Flip(0),
    Harm::Flip(5),
    Harm::Flip(20),
    Harm::Flip(70),
    Harm::Flip(usize::MAX),
    Harm::Cut(1),
    Harm::Grow,
    Harm::Empty,
    Harm::Gone,
];

async fn harm(storage: &Arc<dyn Storage>, path: &str, harm: Harm) {
    let mut bytes = bytes_of(storage, path).await;
    match harm {
        Harm::Flip(at) => {
            let last = bytes.len() - 1;
            bytes[at.min(last)] ^= 0x41;
        }
        Harm::Cut(by) => bytes.truncate(bytes.len() - by),
        Harm::Grow => bytes.push(0),
        Harm::Empty => bytes.clear(),
        Harm::Gone => return storage.delete(path).await.unwrap(),
    }
    replace(storage, path, bytes).await;
}

/// Two runs, each with packs, an index file and a document of its own.
async fn two_runs() -> Arc<dyn Storage> {
    let (storage, repo) = init_tiny().await;
    for n in 0..2u64 {
        back_up(&repo, &[noise(n, 9000)], &[noise(n + 10, 600)]).await.unwrap();
    }
    storage
}

fn names(e: &Error, path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap();
    e.chain().contains(name) || e.chain().contains(&name[..8.min(name.len())])
}

/// How many documents read wholly; errors of the others are looked at.
async fn readable(repo: &Arc<Repository>, path: &str) -> usize {
    let mut fine = 0;
    for name in repo.list_documents(DocumentKind::Snapshot).await.unwrap() {
        let read = async {
            let doc: Doc = repo.get_document(DocumentKind::Snapshot, &name).await?;
            verify_doc(repo, &doc).await
        };
        match read.await {
            Ok(()) => fine += 1,
            Err(e) => {
                assert!(matches!(e.kind(), ErrorKind::Corrupt | ErrorKind::NotFound), "{e:?}");
                if !path.starts_with("index") {
                    assert!(names(&e, path), "{path}: {e:?}");
                }
            }
        }
    }
    fine
}

#[tokio::test]
async fn a_damaged_config() {
    let base = two_runs().await;
    for h in HARMS {
        let storage = copy(&base).await;
        harm(&storage, "config", h).await;
        let e = Repository::open(storage.clone(), &pass(), None).await.unwrap_err();
        let wanted = if h == Harm::Gone { ErrorKind::NoRepository } else { ErrorKind::Corrupt };
        assert_eq!(e.kind(), wanted, "{h:?}");
        assert!(h == Harm::Gone || e.to_string().contains("config"), "{e}");
    }
}

#[tokio::test]
async fn a_damaged_key_slot() {
    let base = two_runs().await;
    let path = files(&base, "keys").await.remove(0);
    for h in HARMS {
        let storage = copy(&base).await;
        harm(&storage, &path, h).await;
        let e = Repository::open(storage.clone(), &pass(), None).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Corrupt, "{h:?}");
        assert!(h == Harm::Gone || names(&e, &path), "{h:?}: {e}");
        assert!(e.to_string().contains("key slot") || e.to_string().contains("Key slot"), "{e}");
    }
}

#[tokio::test]
async fn a_damaged_pack() {
    let base = two_runs().await;
    let packs = files(&base, "packs").await;
    assert_eq!(packs.len(), 4);
    for path in packs {
        let size = bytes_of(&base, &path).await.len();
        for h in HARMS.into_iter().chain([Harm::Flip(size / 2), Harm::Cut(size / 2), Harm::Flip(size - 30)]) {
            let storage = copy(&base).await;
            harm(&storage, &path, h).await;
            let repo = reopen(&storage).await;
            let findings = errors(&repo).await;
            assert_eq!(findings.len(), 1, "{h:?}: {findings:?}");
            let id = path.rsplit('/').next().unwrap();
            assert_eq!(findings[0].object, format!("Pack {id}"));
            assert_eq!(findings[0].pack.map(|p| p.to_string()).as_deref(), Some(id));
            assert!(readable(&repo, &path).await >= 1, "the other run reads");
            let quick = repo.check_packs(ReadData::No, &Silent).await.unwrap();
            assert_eq!(quick.is_empty(), matches!(h, Harm::Flip(_)), "sizes show without reading: {h:?}");
            // After a repair the pack is out of the index, and the same contents are stored anew.
            if h != Harm::Grow {
                let (_, found) = repo.repair_index(false, &Silent).await.unwrap();
                assert!(found.iter().all(|f| f.object == format!("Pack {id}")), "{found:?}");
            }
        }
    }
}

/// Under a key that cannot open contents, a pack's name is all that shows whether it is whole.
#[tokio::test]
async fn a_write_only_key_finds_flipped_contents_that_it_cannot_read() {
    let (storage, repo) = init_tiny().await;
    let pass = Passphrase::generate();
    repo.add_slot(&pass, KeyRight::WriteOnly, "server", T0).await.unwrap();
    back_up(&repo, &[noise(1, 9000)], &[]).await.unwrap();
    let path = files(&storage, "packs").await.remove(0);
    let server = Repository::open(storage.clone(), &pass, None).await.unwrap();
    assert_eq!(errors(&server).await, []);
    harm(&storage, &path, Harm::Flip(70)).await;
    let findings = errors(&server).await;
    assert!(matches!(&findings[..], [f] if path.ends_with(f.object.trim_start_matches("Pack "))), "{findings:?}");
}

#[tokio::test]
async fn a_repair_with_a_write_only_key_leaves_to_the_owner_what_he_alone_can_save() {
    let (storage, repo) = init_tiny().await;
    let pass = Passphrase::generate();
    repo.add_slot(&pass, KeyRight::WriteOnly, "server", T0).await.unwrap();
    back_up(&repo, &[noise(1, 9000)], &[]).await.unwrap();
    let path = files(&storage, "packs").await.remove(0);
    // The header at its end goes: the index alone knows what is in the pack.
    harm(&storage, &path, Harm::Cut(3)).await;
    let server = Repository::open(storage.clone(), &pass, None).await.unwrap();
    let (count, findings) = server.repair_index(true, &Silent).await.unwrap();
    assert!(count == 1 && findings.len() == 1 && findings[0].text.contains("owner"), "{findings:?}");
    let owner = reopen(&storage).await;
    let (_, findings) = owner.repair_index(true, &Silent).await.unwrap();
    assert!(findings.len() == 1 && findings[0].text.contains("all of its"), "{findings:?}");
    assert_eq!(verify(&storage).await, 1);
}

#[tokio::test]
async fn contents_lost_with_a_pack_are_stored_again_after_a_repair() {
    let storage = two_runs().await;
    for pack in files(&storage, "packs").await {
        harm(&storage, &pack, Harm::Gone).await;
    }
    let repo = reopen(&storage).await;
    repo.repair_index(false, &Silent).await.unwrap();
    assert_eq!(repo.index().packs().count(), 0);
    for n in 0..2u64 {
        back_up(&repo, &[noise(n, 9000)], &[noise(n + 10, 600)]).await.unwrap();
    }
    assert_eq!(is_sound(&storage).await, 4, "the old snapshots read again, too");
}

#[tokio::test]
async fn a_damaged_index_file() {
    let base = two_runs().await;
    for path in files(&base, "index").await {
        for h in HARMS {
            let storage = copy(&base).await;
            harm(&storage, &path, h).await;
            let repo = reopen(&storage).await;
            assert_eq!(readable(&repo, &path).await, 1, "{h:?}: the other run reads");
            if h != Harm::Gone {
                let findings = errors(&repo).await;
                assert!(
                    findings.iter().any(|f| path.ends_with(f.object.trim_start_matches("Index file "))),
                    "{findings:?}"
                );
            }
            repo.repair_index(false, &Silent).await.unwrap();
            assert_eq!(is_sound(&storage).await, 2);
        }
    }
}

#[tokio::test]
async fn all_index_files_lost_come_back_from_the_packs() {
    let storage = two_runs().await;
    let old = reopen(&storage).await;
    let listed = old.index().blobs().count();
    for path in files(&storage, "index").await {
        harm(&storage, &path, Harm::Gone).await;
    }
    let repo = reopen(&storage).await;
    assert_eq!(readable(&repo, "index/").await, 0);
    let (packs, findings) = repo.repair_index(false, &Silent).await.unwrap();
    assert_eq!((packs, findings), (4, Vec::new()));
    assert_eq!(repo.index().blobs().count(), listed);
    assert_eq!(is_sound(&storage).await, 2);
}

#[tokio::test]
async fn a_repair_keeps_the_marks_for_deletion() {
    let (storage, repo) = init_tiny().await;
    let name = back_up(&repo, &[noise(1, 9000)], &[]).await.unwrap();
    forget(&repo, &name).await;
    prune(&repo, &options(T0, DAY)).await.unwrap();
    let marks = repo.index().marks().count();
    assert!(marks > 0);
    repo.repair_index(false, &Silent).await.unwrap();
    assert_eq!(repo.index().marks().count(), marks);
    prune(&repo, &options(T0 + DAY, DAY)).await.unwrap();
    assert_eq!(files(&storage, "packs").await.len(), 0);
}

#[tokio::test]
async fn a_damaged_document() {
    let base = two_runs().await;
    let cache = tempfile::tempdir().unwrap();
    for path in files(&base, "snapshots").await {
        for h in HARMS {
            let storage = copy(&base).await;
            harm(&storage, &path, h).await;
            let repo = reopen(&storage).await;
            assert_eq!(readable(&repo, &path).await, 1, "{h:?}");
            let repo = reopen_with(&storage, cache.path()).await;
            assert!(readable(&repo, &path).await >= 1);
        }
    }
}

#[tokio::test]
async fn foreign_files_are_no_part_of_the_repository() {
    let storage = two_runs().await;
    for path in ["index/notes.txt", "packs/readme", "packs/zz/x", "snapshots/x/y", "snapshots/z", "keys/old", "junk"] {
        storage.put(path, vec![b"x"[..].into()]).await.unwrap();
    }
    let repo = reopen(&storage).await;
    repo.repair_index(false, &Silent).await.unwrap();
    prune(&repo, &options(T0, 0)).await.unwrap();
    assert_eq!(is_sound(&storage).await, 2);
}

#[tokio::test]
async fn no_flipped_byte_goes_unnoticed_or_ends_the_process() {
    let (base, repo) = init_tiny().await;
    back_up(&repo, &[noise(1, 300)], &[noise(2, 80)]).await.unwrap();
    let mut tried = 0;
    for path in files(&base, "").await {
        if path == "config" || path.starts_with("keys") {
            continue;
        }
        let bytes = bytes_of(&base, &path).await;
        for at in (0..bytes.len()).step_by(3) {
            let mut bad = bytes.clone();
            bad[at] ^= 1 << (at % 8);
            replace(&base, &path, bad).await;
            let repo = reopen(&base).await;
            let noticed = !errors(&repo).await.is_empty() || readable(&repo, &path).await == 0;
            assert!(noticed, "{path} byte {at}");
            tried += 1;
        }
        replace(&base, &path, bytes).await;
    }
    assert!(tried > 300, "{tried}");
    assert_eq!(is_sound(&base).await, 1);
}
