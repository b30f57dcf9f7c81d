//! Export: what a tenant calls its things leads nowhere but into the folder.

use std::collections::HashSet;

use crate::support::{collect, shared};

#[test]
fn hostile_names_stay_in_the_folder_and_apart() {
    let place = shared();
    let (_, items) = place.json(&["ls", "-R", "latest"]);
    let contents = items.iter().filter(|line| line["kind"] == "message" || line["kind"] == "file").count() as u64;
    let (code, lines) = place.json(&["export", "latest", "deep/inside/all"]);
    let summary = lines.last().expect("a summary");
    assert!(code == 0 || code == 3, "{summary}");
    let (files, problems) =
        (summary["files"].as_u64().expect("files"), summary["problems"].as_u64().expect("problems"));
    assert!(files > 20 && files + problems >= contents, "{summary}, {contents} in the snapshot");
    let mut all = Vec::new();
    collect(&place.path("deep"), &mut all);
    assert_eq!(all.len() as u64, files, "a file lies outside, or two became one");
    let root = place.path("deep/inside/all");
    let mut seen = HashSet::new();
    for path in &all {
        let inside = path.strip_prefix(&root).unwrap_or_else(|_| panic!("{} lies outside", path.display()));
        assert!(seen.insert(inside.to_string_lossy().to_lowercase()), "{} differs by case alone", inside.display());
        for part in inside.components().map(|c| c.as_os_str().to_string_lossy().into_owned()) {
            assert!(part.len() <= 255 && !part.chars().any(|c| c.is_control() || "<>:\"\\|?*".contains(c)), "{part}");
            let stem = part.split('.').next().unwrap_or_default().to_ascii_uppercase();
            assert!(!matches!(stem.as_str(), "CON" | "NUL" | "AUX" | "PRN" | "COM1" | "LPT1"), "{part}");
        }
    }
}

#[test]
fn a_second_export_writes_nothing_again() {
    let place = shared();
    let (_, first) = place.json(&["export", "latest:users", "twice"]);
    let (_, second) = place.json(&["export", "latest:users", "twice"]);
    let (first, second) = (first.last().expect("a summary"), second.last().expect("a summary"));
    assert!(first["files"].as_u64().is_some_and(|n| n > 0), "{first}");
    assert_eq!((second["files"].as_u64(), &second["skipped"]), (Some(0), &first["files"]));
}

#[test]
fn a_file_in_the_way_is_kept_unless_overwriting_is_asked_for() {
    let place = shared();
    let (_, items) = place.json(&["ls", "-R", "latest"]);
    let path = items
        .iter()
        .filter(|line| line["kind"] == "message")
        .find_map(|line| line["path"].as_str())
        .expect("a message");
    let target = format!("latest:{path}");
    assert_eq!(place.run(&["export", &target, "one"]).code, 0);
    let mut files = Vec::new();
    collect(&place.path("one"), &mut files);
    let [file] = files.as_slice() else { panic!("{files:?}") };
    let whole = std::fs::read(file).expect("it reads");
    std::fs::write(file, "mine").expect("it writes");
    place.run(&["export", &target, "one"]).fails(3, &["--overwrite"]);
    assert_eq!(std::fs::read(file).expect("it reads"), b"mine");
    assert_eq!(place.run(&["export", &target, "one", "--overwrite"]).code, 0);
    assert_eq!(std::fs::read(file).expect("it reads"), whole);
}

#[test]
fn a_file_where_the_folder_should_be_is_named() {
    let place = shared();
    place.write("taken", "x");
    place.run(&["export", "latest:users", "taken"]).fails(1, &["taken"]);
}
