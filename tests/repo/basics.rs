//! Making and opening a repository; key slots.

use std::sync::Arc;

use tenantvault::crypto::{BlobKind, GENERATED_LEN, KeyRight, Passphrase};
use tenantvault::error::ErrorKind;
use tenantvault::repo::Repository;

use crate::between::Between;
use crate::support::*;

fn other() -> Passphrase {
    Passphrase::generate()
}

#[tokio::test]
async fn a_repository_opens_with_its_passphrase_only() {
    let (storage, repo) = init_tiny().await;
    let again = reopen(&storage).await;
    assert_eq!(again.config().id, repo.config().id);
    assert_eq!(again.keys().fingerprint(), repo.keys().fingerprint());
    let e = Repository::open(storage.clone(), &other(), None).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::WrongKey);
    assert!(e.hint().is_some());
    assert!(files(&storage, "").await.iter().any(|f| f == "config"));
}

#[tokio::test]
async fn a_chosen_passphrase_opens_too_and_spaces_count() {
    let storage = memory();
    let chosen = Passphrase::new("correct horse battery staple").unwrap();
    Repository::init(storage.clone(), &chosen, "me", T0, None).await.unwrap();
    Repository::open(storage.clone(), &chosen, None).await.unwrap();
    let near = Passphrase::new("correct horse battery staple ").unwrap();
    assert_eq!(kind_of(Repository::open(storage, &near, None).await), ErrorKind::WrongKey);
}

#[tokio::test]
async fn an_empty_place_is_no_repository() {
    let e = Repository::open(memory(), &pass(), None).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::NoRepository);
    assert!(e.to_string().contains("memory:"), "{e}");
}

#[tokio::test]
async fn a_second_init_is_refused_and_harms_nothing() {
    let (storage, _) = init_tiny().await;
    let before = files(&storage, "").await;
    let e = Repository::init(storage.clone(), &other(), "x", T0, None).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::AlreadyExists);
    assert_eq!(files(&storage, "").await, before);
    reopen(&storage).await;
}

#[tokio::test]
async fn init_is_refused_where_packs_lie_without_a_config() {
    let (storage, repo) = init_tiny().await;
    back_up(&repo, &[noise(1, 9000)], &[]).await.unwrap();
    storage.delete("config").await.unwrap();
    assert_eq!(kind_of(Repository::init(storage.clone(), &pass(), "x", T0, None).await), ErrorKind::AlreadyExists);
    assert_eq!(kind_of(Repository::open(storage, &pass(), None).await), ErrorKind::NoRepository);
}

#[tokio::test]
async fn a_slot_left_by_an_init_that_was_cut_off_does_not_hide_the_repository() {
    let (cut_off, _) = init_tiny().await;
    let (storage, repo) = init_tiny().await;
    // The same passphrase opens both slots; only one fits the config.
    for _ in 0..4 {
        for path in files(&cut_off, "keys").await {
            storage.put(&path, vec![bytes_of(&cut_off, &path).await.into()]).await.ok();
        }
        assert_eq!(reopen(&storage).await.config().id, repo.config().id);
    }
    assert_eq!(repo.slots().await.unwrap().len(), 1, "a foreign slot is no slot of this repository");
    assert_eq!(repo.broken_slots().await.unwrap().len(), 1);
    let foreign = repo.broken_slots().await.unwrap().remove(0).0;
    repo.remove_slot(&foreign).await.unwrap();
    assert_eq!(files(&storage, "keys").await.len(), 1);
}

#[tokio::test]
async fn a_newer_version_is_refused_by_name() {
    let (storage, _) = init_tiny().await;
    let mut config = bytes_of(&storage, "config").await;
    config[4] = 2;
    replace(&storage, "config", config).await;
    let e = Repository::open(storage, &pass(), None).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::UnsupportedVersion);
    assert!(e.to_string().contains("config") && e.to_string().contains("version 2"), "{e}");
}

#[tokio::test]
async fn impossible_settings_are_refused() {
    let mut config = tiny();
    config.chunk_max_bytes = 512 << 20;
    assert!(Repository::init_with(memory(), &pass(), "x", config, None).await.is_err());
}

#[tokio::test]
async fn key_slots_are_added_listed_and_removed() {
    let (storage, repo) = init_tiny().await;
    let (a, b) = (other(), other());
    let first = repo.add_slot(&a, KeyRight::Owner, "alice", T0 + 1).await.unwrap();
    let second = repo.add_slot(&b, KeyRight::WriteOnly, "server", T0 + 2).await.unwrap();
    let slots = repo.slots().await.unwrap();
    let shown: Vec<_> = slots.iter().map(|s| (s.facts.label.as_str(), s.facts.right)).collect();
    assert_eq!(shown, [("test", KeyRight::Owner), ("alice", KeyRight::Owner), ("server", KeyRight::WriteOnly)]);
    for p in [&a, &b] {
        Repository::open(storage.clone(), p, None).await.unwrap();
    }
    repo.remove_slot(&first).await.unwrap();
    assert_eq!(kind_of(Repository::open(storage.clone(), &a, None).await), ErrorKind::WrongKey);
    assert_eq!(kind_of(repo.remove_slot(&first).await), ErrorKind::NotFound);
    assert_eq!(kind_of(repo.remove_slot(&repo.slot()).await), ErrorKind::InvalidInput);
    let server = Repository::open(storage.clone(), &b, None).await.unwrap();
    assert_eq!(kind_of(server.remove_slot(&slots[0].id).await), ErrorKind::InvalidInput, "the last owner's slot stays");
    repo.remove_slot(&second).await.unwrap();
    assert_eq!(repo.slots().await.unwrap().len(), 1);
}

#[tokio::test]
async fn of_two_who_remove_each_others_key_at_once_one_keeps_theirs() {
    let (storage, repo) = init_tiny().await;
    let (a, first) = (other(), repo.slot());
    let second = repo.add_slot(&a, KeyRight::Owner, "alice", T0 + 1).await.unwrap();
    let alice = Repository::open(storage.clone(), &a, None).await.unwrap();
    // Both have counted two; Alice is quicker.
    let between = Between::before_delete(&storage, "keys", move || async move {
        alice.remove_slot(&first).await.unwrap();
    });
    let repo = Repository::open(between.clone(), &pass(), None).await.unwrap();
    assert_eq!(kind_of(repo.remove_slot(&second).await), ErrorKind::InvalidInput);
    assert!(between.is_done());
    let repo = Repository::open(storage, &a, None).await.unwrap();
    let left: Vec<_> = repo.slots().await.unwrap().iter().map(|slot| slot.id).collect();
    assert_eq!(left, [second]);
}

#[tokio::test]
async fn a_new_passphrase_takes_the_place_of_the_old_one_every_time() {
    let (storage, repo) = init_tiny().await;
    let (a, b) = (other(), other());
    repo.change_passphrase(&a, T0 + 1).await.unwrap();
    repo.change_passphrase(&b, T0 + 2).await.unwrap();
    for old in [&pass(), &a] {
        assert_eq!(kind_of(Repository::open(storage.clone(), old, None).await), ErrorKind::WrongKey);
    }
    let opened = Repository::open(storage.clone(), &b, None).await.unwrap();
    let slots = opened.slots().await.unwrap();
    assert_eq!(slots.len(), 1);
    assert_eq!((slots[0].facts.label.as_str(), slots[0].id), ("test", repo.slot()));
}

#[tokio::test]
async fn a_write_only_key_writes_and_prunes_but_does_not_read_contents() {
    let (storage, repo) = init_tiny().await;
    let p = other();
    repo.add_slot(&p, KeyRight::WriteOnly, "server", T0).await.unwrap();
    let server = Repository::open(storage.clone(), &p, None).await.unwrap();
    assert_eq!(server.right(), KeyRight::WriteOnly);
    assert_eq!(kind_of(server.add_slot(&other(), KeyRight::Owner, "x", T0).await), ErrorKind::WrongKey);
    back_up(&server, &[noise(1, 30_000), noise(2, 10)], &[noise(3, 500)]).await.unwrap();
    let old = back_up(&server, &[noise(4, 30_000)], &[]).await.unwrap();
    let (_, doc) = documents(&server).await.unwrap().into_iter().find(|(n, _)| *n != old).unwrap();
    let e = read_all(&server, &doc.0[0].1).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::WrongKey);
    assert!(server.read_blob(BlobKind::Tree, &doc.1[0].1).await.is_ok(), "trees are read");
    assert_eq!(errors(&server).await, []);
    forget(&server, &old).await;
    let plan = prune(&server, &options(T0, 0)).await.unwrap();
    assert!(!plan.delete.is_empty());
    assert_eq!(is_sound(&storage).await, 1);
}

#[test]
fn a_generated_key_is_44_characters_and_cheap_to_open() {
    let (a, b) = (Passphrase::generate(), Passphrase::generate());
    assert_eq!(a.expose_text().len(), GENERATED_LEN);
    assert_eq!(GENERATED_LEN, 44);
    assert_ne!(a.expose(), b.expose());
    let chosen = Passphrase::new("a passphrase that a person chose").unwrap();
    assert!(a.kdf_params().memory_kib < chosen.kdf_params().memory_kib);
    assert!(Passphrase::new("").is_err() && Passphrase::new("\n").is_err());
    assert_eq!(Passphrase::new("x\r\n").unwrap().expose(), b"x");
}

#[tokio::test]
async fn a_damaged_slot_hides_no_other() {
    let (storage, repo) = init_tiny().await;
    let bad = repo.add_slot(&other(), KeyRight::Owner, "bad", T0).await.unwrap();
    let path = format!("keys/{bad}");
    let mut bytes = bytes_of(&storage, &path).await;
    bytes[40] ^= 1;
    replace(&storage, &path, bytes).await;
    storage.put("keys/readme", vec![b"x"[..].into()]).await.unwrap();
    let repo: Arc<Repository> = reopen(&storage).await;
    assert_eq!(repo.slots().await.unwrap().len(), 1);
    let broken = repo.broken_slots().await.unwrap();
    assert_eq!(broken[0].0, bad);
    assert!(broken[0].1.to_string().contains(&bad.short()), "{}", broken[0].1);
    repo.change_passphrase(&pass(), T0).await.unwrap();
    repo.remove_slot(&bad).await.unwrap();
    assert_eq!(reopen(&storage).await.slots().await.unwrap().len(), 1);
}
