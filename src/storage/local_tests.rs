//! What a folder does beyond the contract suite in `tests/storage/`.

use std::time::SystemTime;

use super::*;

fn storage(root: &Path) -> LocalStorage {
    LocalStorage::new(root, &StorageOptions::default()).unwrap()
}

fn bytes(text: &'static str) -> Vec<Bytes> {
    vec![Bytes::from_static(text.as_bytes())]
}

fn journal(storage: &LocalStorage) -> Vec<String> {
    std::mem::take(&mut *storage.folder.journal.lock().unwrap())
}

#[tokio::test]
async fn file_name_and_new_folders_are_synced_before_a_put_returns() {
    let dir = tempfile::tempdir().unwrap();
    let storage = storage(&dir.path().join("new"));
    let above = dir.path().display().to_string();
    storage.put("packs/3f/a", bytes("one")).await.unwrap();
    assert_eq!(
        journal(&storage),
        [
            format!("sync {above}").as_str(),
            "sync ",
            "write and sync tmp",
            "sync ",
            "sync packs",
            "rename to packs/3f/a",
            "sync packs/3f",
        ]
    );
    storage.put("packs/3f/b", bytes("two")).await.unwrap();
    assert_eq!(
        journal(&storage),
        ["write and sync tmp", "rename to packs/3f/b", "sync packs/3f"],
        "known folders are not synced again"
    );
}

#[tokio::test]
async fn a_delete_is_synced_before_it_returns_and_a_discard_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let storage = storage(dir.path());
    for path in ["keys/a", "keys/b"] {
        storage.put(path, bytes("one")).await.unwrap();
    }
    journal(&storage);
    storage.delete("keys/a").await.unwrap();
    assert_eq!(journal(&storage), ["sync keys"]);
    storage.discard("keys/b").await.unwrap();
    storage.discard("keys/b").await.unwrap();
    storage.delete("keys/b").await.unwrap();
    assert_eq!(journal(&storage), Vec::<String>::new());
    assert_eq!(storage.list("").await.unwrap(), []);
}

#[tokio::test]
async fn folders_made_by_another_process_are_synced_too() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("packs/3f")).unwrap();
    let storage = storage(dir.path());
    storage.put("packs/3f/a", bytes("one")).await.unwrap();
    let journal = journal(&storage);
    assert!(journal.contains(&"sync packs".to_owned()) && journal.contains(&"sync ".to_owned()), "{journal:?}");
}

#[tokio::test]
async fn looking_does_not_create_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("typo");
    let storage = storage(&root);
    assert_eq!(storage.list("").await.unwrap(), []);
    assert_eq!(storage.stat("config").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(storage.get("config", 10).await.unwrap_err().kind(), ErrorKind::NotFound);
    storage.delete("config").await.unwrap();
    assert!(!root.exists());
}

#[tokio::test]
async fn a_folder_taken_away_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let storage = storage(dir.path());
    storage.put("packs/3f/a", bytes("one")).await.unwrap();
    fs::remove_dir_all(dir.path().join("packs/3f")).unwrap();
    storage.put("packs/3f/b", bytes("two")).await.unwrap();
    assert_eq!(&storage.get("packs/3f/b", 10).await.unwrap()[..], b"two");
}

#[cfg(unix)]
#[tokio::test]
async fn a_storage_moved_away_is_neither_made_again_nor_taken_for_empty() {
    let dir = tempfile::tempdir().unwrap();
    let (root, away) = (dir.path().join("repository"), dir.path().join("away"));
    let storage = storage(&root);
    storage.put("packs/3f/a", bytes("one")).await.unwrap();
    fs::rename(&root, &away).unwrap();
    let vanished = |e: Error| {
        assert_eq!(e.kind(), ErrorKind::Unavailable, "{e}");
        assert!(e.to_string().contains("unmounted"), "{e}");
    };
    // Gone, and then another in its place, as after an unmount.
    for round in 0..2 {
        vanished(storage.put("packs/3f/b", bytes("two")).await.unwrap_err());
        vanished(storage.get("packs/3f/a", 10).await.unwrap_err());
        vanished(storage.stat("packs/3f/a").await.unwrap_err());
        vanished(storage.list("packs").await.unwrap_err());
        if round == 0 {
            assert!(!root.exists());
            fs::create_dir(&root).unwrap();
        }
    }
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
    fs::remove_dir(&root).unwrap();
    fs::rename(&away, &root).unwrap();
    storage.put("packs/3f/b", bytes("two")).await.unwrap();
}

#[tokio::test]
async fn a_file_where_the_folder_should_be_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "x").unwrap();
    let e = storage(&file).put("config", bytes("one")).await.unwrap_err();
    assert_ne!(e.kind(), ErrorKind::AlreadyExists);
    assert!(e.chain().contains("is not a folder") && e.hint().is_some(), "{e:?}");
}

#[tokio::test]
async fn leftovers_of_killed_writers_are_swept_when_a_day_old_and_never_listed() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("tmp")).unwrap();
    for (name, hours) in [("old", 25), ("young", 23)] {
        let path = dir.path().join("tmp").join(name);
        fs::write(&path, "half a fi").unwrap();
        let then = SystemTime::now() - Duration::from_secs(hours * 3600);
        File::options().write(true).open(&path).unwrap().set_modified(then).unwrap();
    }
    let storage = storage(dir.path());
    assert_eq!(storage.list("").await.unwrap(), []);
    storage.put("config", bytes("x")).await.unwrap();
    assert_eq!(storage.list("").await.unwrap().len(), 1);
    let left: Vec<_> = fs::read_dir(dir.path().join("tmp")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["young"]);
}

#[tokio::test]
async fn a_failed_put_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let storage = storage(dir.path());
    storage.put("a", bytes("one")).await.unwrap();
    // "a" is a file: no folder can be made there.
    let error = storage.put("a/b", bytes("two")).await.unwrap_err();
    assert!(error.to_string().contains("a/b") && error.to_string().contains("fs:"), "{error}");
    storage.put("a", bytes("three")).await.unwrap_err();
    assert_eq!(fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
}

#[cfg(unix)]
#[tokio::test]
async fn a_place_that_cannot_be_written_to_says_so() {
    // /proc refuses new files to everyone, root too.
    let error = storage(Path::new("/proc/tenantvault")).put("config", bytes("x")).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Permission | ErrorKind::NotFound), "{error:?}");
    let dir = Path::new("/dev/full");
    if dir.exists() {
        let full = io::Error::from_raw_os_error(28);
        let error = storage(dir).folder.wording.io(Doing::Store, "packs/a", full);
        assert_eq!(error.kind(), ErrorKind::StorageFull);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn links_in_circles_do_not_trap_a_listing() {
    let dir = tempfile::tempdir().unwrap();
    let storage = storage(dir.path());
    storage.put("packs/a", bytes("one")).await.unwrap();
    std::os::unix::fs::symlink(dir.path(), dir.path().join("packs/loop")).unwrap();
    std::os::unix::fs::symlink("a", dir.path().join("packs/link")).unwrap();
    std::os::unix::fs::symlink("nowhere", dir.path().join("packs/dead")).unwrap();
    let mut found: Vec<_> = storage.list("").await.unwrap().into_iter().map(|entry| entry.path).collect();
    found.sort();
    assert_eq!(found, ["packs/a", "packs/link"]);
}
