//! The promises, each a function over any storage.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use tenantvault::{Error, ErrorKind};

use super::Place;

/// Runs the whole contract on one storage: a module with a test a promise.
#[macro_export]
macro_rules! contract {
    ($(#[$attribute:meta])* $name:ident, $open:expr) => {
        $crate::contract!(@tests $name, $open, [$($attribute),*],
            what_was_put_can_be_got
            a_second_put_is_refused_and_changes_nothing
            of_puts_at_once_one_wins
            an_empty_file_is_a_file
            a_dropped_put_leaves_all_or_nothing
            a_reader_never_sees_a_part
            a_range_is_exact_and_never_beyond_the_end
            get_refuses_what_is_larger_than_allowed
            listing_shows_every_file_below_a_folder_and_nothing_else
            every_page_of_a_listing_is_read
            deleting_what_is_not_there_is_no_error
            what_is_not_there_is_not_found
            large_files_keep_their_bytes
            names_that_could_escape_are_refused
            a_new_put_after_delete_is_taken
        );
    };
    (@tests $name:ident, $open:expr, $attributes:tt, $($promise:ident)*) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;
            $($crate::contract!(@test $promise, $open, $attributes);)*
        }
    };
    (@test $promise:ident, $open:expr, [$($attribute:meta),*]) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        $(#[$attribute])*
        async fn $promise() {
            let place = $open;
            $crate::contract::$promise(&place).await;
        }
    };
}

fn one(bytes: impl AsRef<[u8]>) -> Vec<Bytes> {
    vec![Bytes::copy_from_slice(bytes.as_ref())]
}

/// Bytes that follow from a name, different at every place.
pub fn noise(name: &str, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(name.as_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn kind<T: std::fmt::Debug>(result: Result<T, Error>) -> ErrorKind {
    result.unwrap_err().kind()
}

pub async fn what_was_put_can_be_got(place: &Place) {
    let storage = &place.storage;
    let parts = ["", "every", "", " file", " is whole", ""].map(|s| Bytes::from_static(s.as_bytes()));
    storage.put("config", parts.to_vec()).await.unwrap();
    storage.put("packs/3f/3f9a", one("deep")).await.unwrap();
    assert_eq!(&storage.get("config", 100).await.unwrap()[..], b"every file is whole");
    assert_eq!(&storage.get("packs/3f/3f9a", 4).await.unwrap()[..], b"deep");
    assert_eq!(storage.stat("config").await.unwrap().size_bytes, 19);
    assert_eq!(storage.stat("packs/3f/3f9a").await.unwrap().path, "packs/3f/3f9a");
}

pub async fn a_second_put_is_refused_and_changes_nothing(place: &Place) {
    let storage = &place.storage;
    storage.put("keys/a", one("first")).await.unwrap();
    for second in ["first", "second, longer", ""] {
        let error = storage.put("keys/a", one(second)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert!(error.to_string().contains("keys/a"), "{error}");
    }
    assert_eq!(&storage.get("keys/a", 100).await.unwrap()[..], b"first");
}

pub async fn of_puts_at_once_one_wins(place: &Place) {
    for round in 0..20 {
        let path = format!("index/{round}");
        let puts = (0..8).map(|n| place.storage.put(&path, one(noise(&n.to_string(), 1000 + n))));
        let results = futures::future::join_all(puts).await;
        let winners: Vec<usize> = (0..8).filter(|n| results[*n].is_ok()).collect();
        let stored = place.storage.get(&path, 2000).await.unwrap();
        let whole = |n: &usize| stored == noise(&n.to_string(), 1000 + n);
        // Elsewhere the last one may win; what is there is whole all the same, and was reported stored.
        assert!(winners.iter().any(whole), "round {round}: {} bytes, {results:?}", stored.len());
        if place.refuses_races {
            assert_eq!(winners.len(), 1, "round {round}: {results:?}");
            let losers = results.into_iter().filter_map(Result::err);
            assert!(losers.into_iter().all(|e| e.kind() == ErrorKind::AlreadyExists));
        }
    }
}

pub async fn an_empty_file_is_a_file(place: &Place) {
    let storage = &place.storage;
    storage.put("runs/a", vec![]).await.unwrap();
    storage.put("runs/b", vec![Bytes::new(), Bytes::new()]).await.unwrap();
    assert!(storage.get("runs/a", 0).await.unwrap().is_empty());
    assert!(storage.get_range("runs/b", 0, 0).await.unwrap().is_empty());
    assert_eq!(storage.stat("runs/a").await.unwrap().size_bytes, 0);
    assert_eq!(storage.list("runs").await.unwrap().len(), 2);
}

/// Puts are dropped after a few steps, and later and later: servers are cut off in the middle of a file.
pub async fn a_dropped_put_leaves_all_or_nothing(place: &Place) {
    let whole = noise("dropped", 8 << 20);
    for round in 0..20 {
        let path = format!("packs/{round}");
        {
            let mut put = std::pin::pin!(place.storage.put(&path, one(&whole)));
            if round < 12 {
                for _ in 0..round {
                    if futures::poll!(put.as_mut()).is_ready() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
            } else {
                let _ = tokio::time::timeout(Duration::from_millis(1 << (round - 12)), put).await;
            }
        }
        for _ in 0..5 {
            match place.storage.get(&path, 16 << 20).await {
                Ok(bytes) => assert!(bytes == whole, "{} bytes of {} are visible", bytes.len(), whole.len()),
                Err(e) => assert_eq!(e.kind(), ErrorKind::NotFound, "{e:?}"),
            }
            for entry in place.storage.list("").await.unwrap() {
                assert_eq!((entry.path.starts_with("packs/"), entry.size_bytes), (true, 8 << 20), "{entry:?}");
            }
        }
    }
    place.storage.put("packs/after", one("still works")).await.unwrap();
}

pub async fn a_reader_never_sees_a_part(place: &Place) {
    let size = 2 << 20;
    let done = AtomicBool::new(false);
    let writing = async {
        for n in 0..16 {
            place.storage.put(&format!("packs/{n}"), one(noise(&n.to_string(), size))).await.unwrap();
        }
        done.store(true, Ordering::Relaxed);
    };
    let reading = async {
        loop {
            let last = done.load(Ordering::Relaxed);
            let seen = place.storage.list("packs").await.unwrap();
            for entry in &seen {
                assert_eq!(entry.size_bytes, size as u64, "{entry:?}");
                let name = entry.path.strip_prefix("packs/").unwrap();
                assert_eq!(place.storage.get(&entry.path, size as u64).await.unwrap(), noise(name, size));
            }
            if last {
                break seen.len();
            }
        }
    };
    let ((), seen) = tokio::join!(writing, reading);
    assert_eq!(seen, 16);
}

pub async fn a_range_is_exact_and_never_beyond_the_end(place: &Place) {
    let storage = &place.storage;
    let whole = noise("ranges", 5_000_000);
    storage.put("packs/a", one(&whole)).await.unwrap();
    for (offset, length) in
        [(0, 5_000_000), (0, 1), (4_999_999, 1), (1_234_567, 3_000_000), (0, 0), (2_500_000, 0), (5_000_000, 0)]
    {
        let got = storage.get_range("packs/a", offset as u64, length as u64).await.unwrap();
        assert!(got == whole[offset..offset + length], "{offset}+{length}");
    }
    for (offset, length) in [
        (0, 5_000_001),
        (4_999_999, 2),
        (5_000_000, 1),
        (5_000_001, 0),
        (9_000_000, 5),
        (0, u64::MAX),
        (1, u64::MAX),
        (u64::MAX, u64::MAX),
        (u64::MAX, 0),
    ] {
        let error = storage.get_range("packs/a", offset, length).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{offset}+{length}: {error:?}");
        assert!(error.to_string().contains("packs/a"), "{error}");
    }
    assert_eq!(kind(storage.get_range("packs/b", 0, 1).await), ErrorKind::NotFound);
    assert_eq!(kind(storage.get_range("packs/b", 0, 0).await), ErrorKind::NotFound);
}

pub async fn get_refuses_what_is_larger_than_allowed(place: &Place) {
    let storage = &place.storage;
    storage.put("config", one(noise("limit", 100_000))).await.unwrap();
    assert_eq!(storage.get("config", 100_000).await.unwrap().len(), 100_000);
    assert_eq!(storage.get("config", u64::MAX).await.unwrap().len(), 100_000);
    for limit in [0, 1, 99_999] {
        let error = storage.get("config", limit).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains("config"), "{error}");
    }
}

pub async fn listing_shows_every_file_below_a_folder_and_nothing_else(place: &Place) {
    let storage = &place.storage;
    assert!(storage.list("").await.unwrap().is_empty());
    assert!(storage.list("packs").await.unwrap().is_empty());
    let files = ["config", "packs/00/a", "packs/00/b", "packs/ff/c", "packs2/x", "snapshots/set/one", "packs/d"];
    for (n, path) in files.iter().enumerate() {
        storage.put(path, one("x".repeat(n))).await.unwrap();
    }
    let shown = async |folder| {
        let mut entries = storage.list(folder).await.unwrap();
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        entries.into_iter().map(|entry| (entry.path, entry.size_bytes)).collect::<Vec<_>>()
    };
    let expected = |paths: &[&str]| {
        let size = |path: &&str| files.iter().position(|file| file == path).unwrap() as u64;
        paths.iter().map(|path| ((*path).to_owned(), size(path))).collect::<Vec<_>>()
    };
    assert_eq!(shown("packs").await, expected(&["packs/00/a", "packs/00/b", "packs/d", "packs/ff/c"]));
    assert_eq!(shown("packs/00").await, expected(&["packs/00/a", "packs/00/b"]));
    assert_eq!(shown("snapshots").await, expected(&["snapshots/set/one"]));
    assert_eq!(shown("pack").await, []);
    assert_eq!(shown("config").await, [], "a file is not a folder");
    assert_eq!(shown("").await.len(), files.len());
}

pub async fn every_page_of_a_listing_is_read(place: &Place) {
    let put = |n: u32| {
        let path = format!("packs/{:02x}/{n}", n % 256);
        async move { place.storage.put(&path, one(n.to_string())).await }
    };
    stream::iter(0..place.listed).map(put).buffer_unordered(32).try_collect::<Vec<_>>().await.unwrap();
    let mut found: Vec<_> = place.storage.list("packs").await.unwrap().into_iter().map(|entry| entry.path).collect();
    found.sort();
    found.dedup();
    assert_eq!(found.len(), place.listed as usize);
}

pub async fn deleting_what_is_not_there_is_no_error(place: &Place) {
    let storage = &place.storage;
    storage.delete("packs/none").await.unwrap();
    storage.put("packs/a", one("x")).await.unwrap();
    storage.put("packs/b", one("y")).await.unwrap();
    storage.delete("packs/a").await.unwrap();
    storage.delete("packs/a").await.unwrap();
    storage.delete("packs/a/below").await.unwrap();
    assert_eq!(kind(storage.get("packs/a", 10).await), ErrorKind::NotFound);
    assert_eq!(&storage.get("packs/b", 10).await.unwrap()[..], b"y");
}

pub async fn what_is_not_there_is_not_found(place: &Place) {
    let storage = &place.storage;
    for path in ["config", "packs/00/a"] {
        for error in [storage.stat(path).await.unwrap_err(), storage.get(path, 10).await.unwrap_err()] {
            assert_eq!(error.kind(), ErrorKind::NotFound);
            assert!(error.to_string().contains(path), "{error}");
        }
    }
    storage.put("packs/00/a", one("x")).await.unwrap();
    assert_eq!(kind(storage.stat("packs/00").await), ErrorKind::NotFound, "a folder is not a file");
    assert_eq!(kind(storage.get("packs/00", 10).await), ErrorKind::NotFound, "a folder is not a file");
}

pub async fn large_files_keep_their_bytes(place: &Place) {
    let storage = &place.storage;
    let whole = Bytes::from(noise("large", 64 << 20));
    // Buffers that fit neither each other nor the pieces they are sent in.
    let mut data = Vec::new();
    let mut rest = whole.clone();
    for n in 0.. {
        if rest.is_empty() {
            break;
        }
        data.push(rest.split_to(rest.len().min(1 + n * 777_777)));
    }
    storage.put("packs/large", data).await.unwrap();
    assert_eq!(storage.stat("packs/large").await.unwrap().size_bytes, 64 << 20);
    assert!(storage.get("packs/large", 64 << 20).await.unwrap() == whole);
    for offset in [0, 8 << 20, 33_333_333, (64 << 20) - 5_000_001] {
        let range = storage.get_range("packs/large", offset as u64, 5_000_001).await.unwrap();
        assert!(range == whole[offset..offset + 5_000_001], "{offset}");
    }
}

pub async fn names_that_could_escape_are_refused(place: &Place) {
    let storage = &place.storage;
    let mut bad: Vec<String> = ["", "/etc/passwd", "../x", "a/../../x", "./x", "a//b", "a/", "A", "ä", "a b", "a\\b"]
        .map(str::to_owned)
        .to_vec();
    bad.extend(["a\0", "a\n", "tmp/x", "c:x", "a?b", "a#b", "a%2e"].map(str::to_owned));
    bad.push("x".repeat(300));
    for path in &bad {
        assert_eq!(kind(storage.put(path, one("x")).await), ErrorKind::InvalidInput, "put {path:?}");
        assert_eq!(kind(storage.get(path, 10).await), ErrorKind::InvalidInput, "get {path:?}");
        assert_eq!(kind(storage.get_range(path, 0, 1).await), ErrorKind::InvalidInput, "get_range {path:?}");
        assert_eq!(kind(storage.stat(path).await), ErrorKind::InvalidInput, "stat {path:?}");
        assert_eq!(kind(storage.delete(path).await), ErrorKind::InvalidInput, "delete {path:?}");
        if !path.is_empty() {
            assert_eq!(kind(storage.list(path).await), ErrorKind::InvalidInput, "list {path:?}");
        }
    }
    assert!(storage.list("").await.unwrap().is_empty());
}

pub async fn a_new_put_after_delete_is_taken(place: &Place) {
    let storage = &place.storage;
    storage.put("packs/a", one("old")).await.unwrap();
    storage.delete("packs/a").await.unwrap();
    storage.put("packs/a", one("new")).await.unwrap();
    assert_eq!(&storage.get("packs/a", 10).await.unwrap()[..], b"new");
}
