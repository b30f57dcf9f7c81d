//! Export: what a tenant calls its things leads nowhere but into the folder.

use std::collections::{BTreeMap, HashSet};
use std::io::Read as _;
use std::path::Path;

use crate::support::{Place, collect, shared};

/// The files below a folder, by their paths in it.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = Vec::new();
    collect(folder, &mut files);
    let name = |path: &Path| path.strip_prefix(folder).expect("it is inside").to_string_lossy().into_owned();
    files.iter().map(|path| (name(path), std::fs::read(path).expect("it reads"))).collect()
}

fn exported(place: &Place, arguments: &[&str]) -> serde_json::Value {
    let (code, lines) = place.json(&[&["export"], arguments].concat());
    let summary = lines.last().expect("a summary").clone();
    assert!(code == 0 || code == 3, "{summary}");
    summary
}

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
    // As long as the message, and of another time.
    let mut other = whole.clone();
    other[0] ^= 1;
    std::fs::write(file, &other).expect("it writes");
    place.run(&["export", &target, "one"]).fails(3, &["--overwrite"]);
    assert_eq!(std::fs::read(file).expect("it reads"), other);
    assert_eq!(place.run(&["export", &target, "one", "--overwrite"]).code, 0);
    assert_eq!(std::fs::read(file).expect("it reads"), whole);
}

#[test]
fn a_file_where_the_folder_should_be_is_named() {
    let place = shared();
    place.write("taken", "x");
    place.run(&["export", "latest:users", "taken"]).fails(1, &["taken"]);
}

#[test]
fn items_are_files_that_programs_know_and_raw_ones_are_what_graph_said() {
    let place = shared();
    let presented = exported(place, &["latest", "presented"]);
    let files = contents(&place.path("presented"));
    assert_eq!(presented["files"].as_u64(), Some(files.len() as u64));
    for (place, ending, begin) in [
        ("/Calendar/", ".ics", "BEGIN:VCALENDAR\r\nVERSION:2.0\r\n"),
        ("/Tasks/", ".ics", "BEGIN:VCALENDAR\r\nVERSION:2.0\r\n"),
        ("/Contacts/", ".vcf", "BEGIN:VCARD\r\nVERSION:4.0\r\n"),
        ("/Lists/", ".csv", "\u{feff}ID,"),
        ("/Pages/", ".html", "<!DOCTYPE html>\n"),
    ] {
        let inside = |name: &str| name.contains(place) && name.ends_with(ending) && !name.contains(".parts/");
        let of_kind: Vec<_> = files.iter().filter(|(name, _)| inside(name)).collect();
        assert!(!of_kind.is_empty(), "no {ending} in {place}: {:?}", files.keys());
        for (name, bytes) in of_kind {
            assert!(bytes.starts_with(begin.as_bytes()), "{name}: {}", String::from_utf8_lossy(bytes));
        }
    }
    exported(place, &["latest", "raw", "--raw"]);
    let raw = contents(&place.path("raw"));
    let of_user = |name: &str| ["/OneDrive/", "/Files/", "/Personal Site/"].iter().any(|place| name.contains(place));
    let made = |name: &&String| [".ics", ".vcf", ".csv"].iter().any(|e| name.ends_with(e)) && !of_user(name);
    assert_eq!(raw.keys().find(made), None);
    let events = raw.iter().filter(|(name, _)| name.contains("/Calendar/") && name.ends_with(".json"));
    let read: Vec<serde_json::Value> = events.map(|(_, json)| serde_json::from_slice(json).expect("JSON")).collect();
    assert!(!read.is_empty());
}

#[test]
fn ls_cat_and_export_know_an_item_by_one_name_and_give_the_same_bytes() {
    let place = shared();
    exported(place, &["latest", "named"]);
    let files = contents(&place.path("named"));
    let (_, items) = place.json(&["ls", "-R", "latest"]);
    let paths: Vec<&str> = items.iter().filter_map(|line| line["path"].as_str()).collect();
    for (inside, ending) in [("/Calendar/", ".ics"), ("/Contacts/", ".vcf"), ("/Lists/", ".csv"), ("/Mail/", ".eml")] {
        let known = |path: &&&str| path.contains(inside) && path.ends_with(ending) && files.contains_key(**path);
        let path = paths.iter().find(known);
        let path = path.unwrap_or_else(|| panic!("no {ending} in {paths:?}"));
        let target = format!("latest:{path}");
        let printed = place.command(&["cat", &target]).output().expect("it runs").stdout;
        assert_eq!(String::from_utf8_lossy(&printed), String::from_utf8_lossy(&files[*path]), "{path}");
        let raw = place.run(&["cat", "--raw", &target]);
        let is_json = serde_json::from_str::<serde_json::Value>(&raw.out).is_ok();
        assert_eq!(
            (raw.code, is_json),
            if ending == ".csv" { (2, false) } else { (0, ending != ".eml") },
            "{path}: {}",
            raw.err
        );
        assert_eq!(place.run(&["export", &target, &format!("one{ending}")]).code, 0);
        assert_eq!(contents(&place.path(&format!("one{ending}"))).into_values().next().as_ref(), Some(&files[*path]));
    }
}

#[test]
fn an_archive_holds_what_a_folder_would_and_appears_when_it_is_whole() {
    let place = shared();
    let summary = exported(place, &["latest", "as-folder"]);
    let wanted = contents(&place.path("as-folder"));
    for (option, name) in [("--zip", "all.zip"), ("--tar", "all.tar")] {
        let archived = exported(place, &["latest", option, name]);
        for key in ["files", "folders", "bytes", "problems"] {
            assert_eq!(archived[key], summary[key], "{option} {key}");
        }
        let read = |bytes: Vec<u8>| if option == "--zip" { unzipped(bytes) } else { untarred(&bytes) };
        let found = read(std::fs::read(place.path(name)).expect("it is there"));
        assert!(found == wanted, "{:?}\n{:?}", found.keys(), wanted.keys());
        let piped = place.command(&["export", "latest", option, "-"]).output().expect("it runs");
        assert!(read(piped.stdout) == wanted, "{}", String::from_utf8_lossy(&piped.stderr));
        place.run(&["export", "latest:users", option, name]).fails(1, &[name, "is there already", "--overwrite"]);
        assert!(read(std::fs::read(place.path(name)).expect("it is there")) == wanted, "it was touched");
        assert!([0, 3].contains(&place.run(&["export", "latest:users", option, name, "--overwrite"]).code));
        assert!(read(std::fs::read(place.path(name)).expect("it is there")).len() < wanted.len());
        assert!(!place.path(&format!("{name}.part")).exists());
        place.run(&["export", "latest", option, "-", "--json"]).fails(2, &["JSON"]);
    }
    place.run(&["export", "latest"]).fails(2, &["DIR"]);
    place.run(&["export", "latest", "somewhere", "--zip", "x.zip"]).fails(2, &["--zip"]);
}

fn unzipped(bytes: Vec<u8>) -> BTreeMap<String, Vec<u8>> {
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(bytes)).expect("an archive");
    let mut files = BTreeMap::new();
    for n in 0..archive.len() {
        let mut file = archive.by_index(n).expect("an entry");
        if file.is_file() {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).expect("its checksum holds");
            files.insert(file.name().expect("a name").to_string(), bytes);
        }
    }
    files
}

fn untarred(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(bytes).entries().expect("an archive") {
        let mut entry = entry.expect("an entry");
        if entry.header().entry_type().is_file() {
            let name = entry.path().expect("a name").to_string_lossy().into_owned();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).expect("it reads");
            files.insert(name, bytes);
        }
    }
    files
}

#[test]
fn mail_is_one_file_a_folder_or_a_maildir_if_that_is_asked_for() {
    let place = shared();
    let mail = "latest:users";
    exported(place, &[mail, "eml"]);
    exported(place, &[mail, "mbox", "--format", "mbox"]);
    exported(place, &[mail, "maildir", "--format", "maildir"]);
    let mut folders: BTreeMap<String, usize> = BTreeMap::new();
    for name in
        contents(&place.path("eml")).into_keys().filter(|name| name.ends_with(".eml") && name.contains("/Mail/"))
    {
        *folders.entry(name.rsplit_once('/').expect("a folder").0.to_owned()).or_default() += 1;
    }
    assert!(folders.len() > 2, "{folders:?}");
    let (mbox, maildir) = (contents(&place.path("mbox")), contents(&place.path("maildir")));
    assert!(!mbox.keys().chain(maildir.keys()).any(|name| name.ends_with(".eml") && name.contains("/Mail/")));
    for (folder, count) in folders {
        let inside =
            |name: &str| name.rsplit_once('/').is_some_and(|(above, _)| above == folder) && name.ends_with(".mbox");
        let boxes: Vec<_> = mbox.iter().filter(|(name, _)| inside(name)).collect();
        let [(_, bytes)] = boxes.as_slice() else { panic!("{folder}: {:?}", mbox.keys()) };
        let text = String::from_utf8_lossy(bytes);
        assert!(text.starts_with("From ") && text.ends_with("\n\n") && !text.contains('\r'), "{folder}");
        assert_eq!(text.lines().filter(|line| line.starts_with("From ")).count(), count, "{folder}");
        let cur = format!("{folder}/cur/");
        assert_eq!(maildir.keys().filter(|name| name.starts_with(&cur)).count(), count, "{folder}");
        assert!(place.path("maildir").join(&folder).join("new").is_dir(), "{folder}");
    }
    // What is in a ZIP can be had on Windows, too, where no name has a colon.
    for (option, name) in [("--zip", "maildir.zip"), ("--tar", "maildir.tar")] {
        exported(place, &[mail, option, name, "--format", "maildir"]);
        let bytes = std::fs::read(place.path(name)).expect("it is there");
        let found = if option == "--zip" { unzipped(bytes) } else { untarred(&bytes) };
        let named = |name: &String| if option == "--zip" { name.replace(':', ";") } else { name.clone() };
        let wanted: Vec<String> = maildir.keys().map(named).collect();
        assert_eq!(found.into_keys().collect::<Vec<_>>(), wanted, "{option}");
        assert!(wanted.iter().any(|name| name.ends_with(if option == "--zip" { ";2,S" } else { ":2,S" })), "{option}");
    }
}
