//! A damaged repository: the damaged file is named, the rest still reads, and what can be repaired is.

use std::path::Path;

use crate::support::{Place, collect};

fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).expect("it reads");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    replace(path, &bytes);
}

fn replace(path: &Path, bytes: &[u8]) {
    std::fs::remove_file(path).expect("it goes");
    std::fs::write(path, bytes).expect("it writes");
}

fn name(path: &Path) -> String {
    path.file_name().expect("a name").to_string_lossy().into_owned()
}

#[test]
fn a_damaged_pack_is_named_by_check_and_fails_it() {
    let place = Place::with_snapshots(1);
    let packs = place.stored("packs");
    let pack = packs.iter().max_by_key(|path| std::fs::metadata(path).map_or(0, |m| m.len())).expect("a pack");
    flip(pack);
    let done = place.run(&["check", "--read-data"]);
    done.fails(1, &["Check found", "Hint: "]);
    assert!(done.out.contains(&name(pack)), "{}", done.out);
    std::fs::remove_file(pack).expect("it goes");
    let done = place.run(&["check"]);
    assert_eq!(done.code, 1);
    assert!(done.out.contains(&name(pack)) && done.out.contains("is missing"), "{}", done.out);
}

#[test]
fn what_a_damaged_pack_held_is_fetched_again_by_the_next_backup() {
    let place = Place::with_snapshots(1);
    let export = |to: &str| {
        assert!(matches!(place.run(&["export", "latest", to]).code, 0 | 3));
        let mut files = Vec::new();
        collect(&place.path(to), &mut files);
        let bytes =
            |f: &std::path::PathBuf| (f.strip_prefix(place.path(to)).unwrap().to_owned(), std::fs::read(f).unwrap());
        files.iter().map(bytes).collect::<std::collections::BTreeMap<_, _>>()
    };
    let before = export("before");
    let packs = place.stored("packs");
    flip(packs.iter().max_by_key(|path| std::fs::metadata(path).map_or(0, |m| m.len())).expect("a pack"));
    place.run(&["check", "--read-data"]).fails(1, &["repair index --read-data", "repair snapshots"]);
    let done = place.run(&["repair", "index", "--read-data"]);
    done.fails(3, &["repair snapshots"]);
    assert!(done.out.contains("blobs were saved"), "{}", done.out);
    let id = place.snapshots().remove(0);
    let looked = place.run(&["repair", "snapshots", "--dry-run"]);
    assert!(looked.code == 3 && looked.out.contains("would be written anew"), "{}", looked.out);
    assert_eq!(place.snapshots(), [id.as_str()]);
    let done = place.run(&["repair", "snapshots"]);
    assert!(done.code == 3 && done.out.contains("fetches them again"), "{}\n{}", done.out, done.err);
    assert_ne!(place.snapshots(), [id.as_str()]);
    assert_eq!(place.run(&["check", "--read-data"]).code, 0, "what is left is whole");
    assert_eq!(place.run(&["prune", "--grace", "0"]).code, 0);
    assert!(export("after").len() < before.len());
    // The tenant has a user whose mailbox cannot be read.
    assert_eq!(place.run(&["backup", "everyone"]).code, 3);
    assert!(export("again") == before, "what was lost is there again");
    let done = place.run(&["repair", "snapshots", "--json"]);
    assert_eq!((done.code, done.json().last().and_then(|v| v["repaired"].as_u64())), (0, Some(0)));
}

#[test]
fn a_damaged_index_is_named_and_repaired() {
    let place = Place::with_snapshots(2);
    let before = place.run(&["ls", "-R", "latest"]).out;
    let index = place.stored("index").into_iter().next().expect("an index file");
    flip(&index);
    // Everything, for either file may be the damaged one: the newer lists what the day changed, the older the rest.
    let listed = place.run(&["ls", "-R", "latest", "--no-cache"]);
    listed.fails(1, &["Index file", &name(&index), "damaged", "repair index"]);
    let done = place.run(&["repair", "index", "--no-cache"]);
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.out.contains(&name(&index)), "{}", done.out);
    assert_eq!(place.run(&["check", "--read-data", "--no-cache"]).code, 0);
    assert_eq!(place.run(&["ls", "-R", "latest", "--no-cache"]).out, before);
}

#[test]
fn a_damaged_snapshot_is_named_and_the_others_read() {
    let place = Place::with_snapshots(2);
    let ids = place.snapshots();
    let damaged = place.stored("snapshots").into_iter().find(|path| name(path) == ids[0]).expect("its file");
    flip(&damaged);
    let done = place.run(&["snapshots", "--no-cache"]);
    done.fails(3, &[&ids[0], "is damaged"]);
    assert!(done.out.contains(&ids[1][..8]), "{}", done.out);
    assert_eq!(place.run(&["ls", "-R", "latest", "--no-cache"]).code, 0);
    place.run(&["prune", "--no-cache"]).fails(1, &[&ids[0], "nothing is pruned"]);
    let done = place.run(&["check", "--no-cache"]);
    assert_eq!(done.code, 1);
    assert!(done.out.contains(&ids[0]), "{}", done.out);
    assert_eq!(done.out.matches(&ids[0]).count(), 1, "named once: {}", done.out);
    // It can be given up by name.
    let done = place.run(&["forget", &ids[0], "--no-cache"]);
    assert_eq!(done.code, 0, "{}", done.err);
    assert_eq!(place.run(&["check", "--no-cache"]).code, 0);
    assert_eq!(place.snapshots(), [ids[1].clone()]);
}

#[test]
fn of_a_damaged_pack_of_contents_the_rest_is_exported() {
    let place = Place::with_snapshots(1);
    // Those of contents come first, and are larger than the pack of trees in this tenant.
    let packs = place.stored("packs");
    let pack = packs.iter().max_by_key(|path| std::fs::metadata(path).map_or(0, |m| m.len())).expect("a pack");
    let bytes = std::fs::read(pack).expect("it reads");
    replace(pack, &bytes[..bytes.len() / 2]);
    let done = place.run(&["check"]);
    done.fails(1, &["Check found 1 error;", "Hint: bring the files named back"]);
    assert!(done.out.contains(&name(pack)), "{}", done.out);
    let done = place.run(&["export", "latest", "out"]);
    done.fails(3, &[&name(pack), "not written", "Hint: contents are lost or damaged"]);
    let mut files = Vec::new();
    collect(&place.path("out"), &mut files);
    assert!(files.len() > 5, "{files:?}");
    assert!(files.iter().all(|file| file.extension().is_none_or(|e| e != "part")), "{files:?}");
    // And the next run goes on.
    place.tenant.as_ref().expect("a tenant").advance_day();
    assert_eq!(place.run(&["backup", "everyone"]).code, 3);
}

#[test]
fn what_cannot_be_read_does_not_take_the_place_of_a_file_that_is_there() {
    let place = Place::with_snapshots(1);
    assert!(matches!(place.run(&["export", "latest", "out"]).code, 0 | 3));
    let mut files = Vec::new();
    collect(&place.path("out"), &mut files);
    let whole: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).expect("it reads")).collect();
    files.iter().for_each(|file| replace(file, b"mine"));
    let packs = place.stored("packs");
    let pack = packs.iter().max_by_key(|path| std::fs::metadata(path).map_or(0, |m| m.len())).expect("a pack");
    let bytes = std::fs::read(pack).expect("it reads");
    replace(pack, &bytes[..bytes.len() / 2]);
    place.run(&["export", "latest", "out", "--overwrite"]).fails(3, &[&name(pack)]);
    let mut kept = 0;
    for (file, whole) in files.iter().zip(&whole) {
        let now = std::fs::read(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        assert!(now == b"mine" || now == *whole, "{} holds a part", file.display());
        kept += usize::from(now == b"mine");
    }
    assert!(kept > 0 && kept < files.len(), "{kept} of {}", files.len());
}

#[test]
fn files_that_changed_places_are_both_named() {
    let place = Place::with_snapshots(2);
    for folder in ["index", "snapshots", "packs"] {
        let files = place.stored(folder);
        let [first, second] = [&files[0], &files[1]];
        let (one, two) = (std::fs::read(first).expect("it reads"), std::fs::read(second).expect("it reads"));
        replace(first, &two);
        replace(second, &one);
        let done = place.run(&["check", "--read-data", "--no-cache"]);
        done.fails(1, &["Hint: "]);
        assert!(done.out.contains(&name(first)) && done.out.contains(&name(second)), "{folder}: {}", done.out);
        replace(first, &one);
        replace(second, &two);
    }
    assert_eq!(place.run(&["check", "--read-data", "--no-cache"]).code, 0);
}

#[test]
fn a_repository_of_a_newer_version_is_refused_by_name() {
    let place = Place::with_snapshots(1);
    let config = place.path("repository/config");
    let mut bytes = std::fs::read(&config).expect("it reads");
    // The magic is followed by the version.
    bytes[4] = bytes[4].wrapping_add(1);
    replace(&config, &bytes);
    place.run(&["snapshots"]).fails(1, &["version"]);
}
