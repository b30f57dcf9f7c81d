//! Holds the walls between the rooms: reads the source for `crate::` paths and fails on an arrow that the
//! design (`docs/design.md`, section 3) lacks.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The rooms from the ground up. A room may use the ones before it, unless `FORBIDDEN` says otherwise.
const ORDER: &[&str] =
    &["crypto", "format", "storage", "repo", "tree", "snapshot", "graph", "m365", "ops", "sim", "server", "cli"];

/// What lies beneath all rooms, with what the crate's root re-exports of it.
const GROUND: &[&str] = &["error", "monitor", "reach", "Error", "ErrorKind", "Result"];

/// What a room must not know although it stands above it: the column "must not know".
const FORBIDDEN: &[(&str, &[&str])] = &[
    // Keys, blobs.
    ("storage", &["crypto", "format"]),
    // Repositories.
    ("graph", &["crypto", "format", "storage", "repo", "tree", "snapshot"]),
    // Storage layout.
    ("m365", &["crypto", "storage", "repo"]),
    // Repositories; and it must not share a mistake with the client that it tests.
    ("sim", &["crypto", "format", "storage", "repo", "tree", "snapshot", "graph", "m365", "ops"]),
];

/// Single items that a room must not know.
const FORBIDDEN_PATHS: &[(&str, &str)] =
    &[("repo", "format::record::Record"), ("repo", "format::record::ItemKind"), ("repo", "format::record::StreamRole")];

/// Fewer arrows than this, and the test has read nothing.
const LEAST_ARROWS: usize = 20;

/// The longest a source file may be, in lines.
const MOST_LINES: usize = 600;

/// Something that the source must not have, or an arrow of it.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// A path below `crate::`, and whether it stands in test code.
    Path(String, bool),
    /// What is refused as such.
    Refused(String),
}

fn source_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("the source is there") {
        let path = entry.expect("the folder can be listed").path();
        if path.is_dir() {
            source_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Takes out comments, and the insides of strings and characters. Line ends stay.
fn code_only(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let mut out = String::new();
    let mut i = 0;
    while i < chars.len() {
        let start = i;
        let raw_hashes = (at(i) == 'r').then(|| (i + 1..).take_while(|&j| at(j) == '#').count());
        let in_word = i > 0 && (at(i - 1).is_alphanumeric() || at(i - 1) == '_') && at(i - 1) != 'b';
        if at(i) == '/' && at(i + 1) == '/' {
            while i < chars.len() && at(i) != '\n' {
                i += 1;
            }
        } else if at(i) == '/' && at(i + 1) == '*' {
            let mut depth = 0;
            loop {
                match (at(i), at(i + 1)) {
                    ('/', '*') => (depth, i) = (depth + 1, i + 2),
                    ('*', '/') => (depth, i) = (depth - 1, i + 2),
                    _ => i += 1,
                }
                if depth == 0 || i >= chars.len() {
                    break;
                }
            }
        } else if let Some(hashes) = raw_hashes.filter(|hashes| !in_word && at(i + 1 + hashes) == '"') {
            i += 2 + hashes;
            let closes = |i: usize| at(i) == '"' && (1..=hashes).all(|k| at(i + k) == '#');
            while i < chars.len() && !closes(i) {
                i += 1;
            }
            i += 1 + hashes;
        } else if at(i) == '"' {
            i += 1;
            while i < chars.len() && at(i) != '"' {
                i += if at(i) == '\\' { 2 } else { 1 };
            }
            i += 1;
        } else if at(i) == '\'' && (at(i + 1) == '\\' || at(i + 2) == '\'') {
            i += if at(i + 1) == '\\' { 3 } else { 2 };
            while i < chars.len() && at(i) != '\'' {
                i += 1;
            }
            i += 1;
        } else {
            out.push(at(i));
            i += 1;
            continue;
        }
        out.extend(chars[start..i.min(chars.len())].iter().filter(|&&c| c == '\n'));
        out.push(' ');
    }
    out
}

/// Names, `::`, and single signs.
fn tokens(code: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut chars = code.chars().peekable();
    while let Some(c) = chars.next() {
        if c.is_whitespace() {
            continue;
        }
        let mut token = String::from(c);
        if c.is_alphanumeric() || c == '_' {
            while let Some(&next) = chars.peek().filter(|c| c.is_alphanumeric() || **c == '_') {
                token.push(next);
                chars.next();
            }
        } else if c == ':' && chars.peek() == Some(&':') {
            token.push(':');
            chars.next();
        }
        tokens.push(token);
    }
    tokens
}

/// Reads the paths that follow `prefix ::` at `at`, groups in braces included. Returns where they end.
fn read_paths(tokens: &[String], mut at: usize, prefix: &str, paths: &mut Vec<String>) -> usize {
    let token = |i: usize| tokens.get(i).map_or("", String::as_str);
    if token(at) == "{" {
        at += 1;
        while at < tokens.len() && token(at) != "}" {
            at = read_paths(tokens, at, prefix, paths);
            while !matches!(token(at), "," | "}" | "") {
                at += 1;
            }
            if token(at) == "," {
                at += 1;
            }
        }
        return at + 1;
    }
    let path = if prefix.is_empty() { token(at).to_owned() } else { format!("{prefix}::{}", token(at)) };
    if token(at + 1) == "::" && (token(at + 2) == "{" || token(at + 2) == "*" || is_name(token(at + 2))) {
        return read_paths(tokens, at + 2, &path, paths);
    }
    paths.push(path);
    at + 1
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Finds every path below `crate::` in a source file whose module lies `depth` below the crate's root.
fn find(source: &str, depth: usize, is_test_file: bool) -> Vec<Found> {
    let code = code_only(source);
    let tokens = tokens(&code);
    let token = |i: usize| tokens.get(i).map_or("", String::as_str);
    let mut found = Vec::new();
    let mut in_tests = is_test_file;
    let mut i = 0;
    while i < tokens.len() {
        if token(i) == "mod" && token(i + 1) == "tests" && token(i + 2) == "{" {
            in_tests = true;
        }
        if token(i) == "crate" && token(i + 1) == "as" || token(i) == "extern" && token(i + 1) == "crate" {
            found.push(Found::Refused("another name for the crate".into()));
        }
        if token(i) == "super" && token(i - i.min(1)) != "::" {
            let supers = (0..).take_while(|k| token(i + 2 * k) == "super" && token(i + 2 * k + 1) == "::").count();
            if supers >= depth + usize::from(in_tests && !is_test_file) {
                found.push(Found::Refused("a way to another room through `super`".into()));
            }
        }
        if token(i) == "crate" && token(i + 1) == "::" {
            let mut paths = Vec::new();
            i = read_paths(&tokens, i + 2, "", &mut paths);
            for path in paths {
                match path.as_str() {
                    "*" => found.push(Found::Refused("`use crate::*`".into())),
                    "self" => found.push(Found::Refused("another name for the crate".into())),
                    _ => found.push(Found::Path(path, in_tests)),
                }
            }
        } else {
            i += 1;
        }
    }
    found
}

/// Says what is wrong with a path in a room.
fn objection(room: &str, path: &str, in_tests: bool) -> Option<String> {
    let target = path.split("::").next().unwrap_or(path);
    if GROUND.contains(&target) || target == room || in_tests && target == "sim" {
        return None;
    }
    let place = |name: &str| ORDER.iter().position(|known| *known == name);
    let Some(to) = place(target) else { return Some(format!("'{target}' is no room of the design")) };
    if GROUND.contains(&room) {
        return Some(format!("'{room}' lies beneath all rooms and may use none of them"));
    }
    let Some(from) = place(room) else { return Some(format!("'{room}' is no room of the design")) };
    let forbidden = FORBIDDEN.iter().any(|(name, targets)| *name == room && targets.contains(&target));
    let forbidden_path = FORBIDDEN_PATHS.iter().any(|(name, item)| {
        *name == room && path.strip_prefix(item).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    });
    if to > from {
        Some(format!("'{target}' lies above '{room}'"))
    } else if forbidden || forbidden_path {
        Some(format!("'{room}' must not know '{path}'"))
    } else {
        None
    }
}

/// The room of a file below `src`, and how many modules lie between it and the crate's root.
fn place_of(path: &Path) -> (String, usize) {
    let mut parts: Vec<String> =
        path.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if parts.last().is_some_and(|last| last == "mod") {
        parts.pop();
    }
    (parts.first().cloned().unwrap_or_default(), parts.len())
}

#[test]
fn every_arrow_between_rooms_is_one_of_the_design() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    source_files(&root, &mut files);
    let mut problems = Vec::new();
    let mut arrows = BTreeSet::new();
    for file in &files {
        let source = std::fs::read_to_string(file).expect("the source can be read");
        let name = file.strip_prefix(&root).expect("it is below src").to_owned();
        let (room, depth) = place_of(&name);
        if room == "lib" || room == "main" {
            continue;
        }
        let is_test_file = name.iter().any(|part| part == "tests" || part == "tests.rs")
            || name.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("_tests"));
        for found in find(&source, depth, is_test_file) {
            match found {
                Found::Refused(what) => problems.push(format!("src/{}: {what}", name.display())),
                Found::Path(path, in_tests) => {
                    if let Some(objection) = objection(&room, &path, in_tests) {
                        problems.push(format!("src/{}: crate::{path}: {objection}", name.display()));
                    }
                    arrows.insert((name.clone(), path.split("::").next().unwrap_or_default().to_owned()));
                }
            }
        }
    }
    assert!(problems.is_empty(), "Walls are broken:\n{}", problems.join("\n"));
    assert!(arrows.len() >= LEAST_ARROWS, "only {} arrows in {} files were found", arrows.len(), files.len());
}

#[test]
fn no_source_file_is_too_long_to_read() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    source_files(&root, &mut files);
    let lines = |file: &PathBuf| std::fs::read_to_string(file).expect("the source can be read").lines().count();
    let long: Vec<String> = files
        .iter()
        .map(|file| (file, lines(file)))
        .filter(|&(_, lines)| lines > MOST_LINES)
        .map(|(file, lines)| format!("{}: {lines} lines; split it by phase", file.display()))
        .collect();
    assert!(long.is_empty(), "More than {MOST_LINES} lines:\n{}", long.join("\n"));
    assert!(files.len() >= 10);
}

#[test]
fn the_rooms_of_the_source_are_those_of_the_design() {
    let design = include_str!("../docs/design.md");
    let library = include_str!("../src/lib.rs");
    for room in library.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')) {
        assert!(ORDER.contains(&room) || GROUND.contains(&room), "'{room}' is no room of the design");
    }
    let mut from = 0;
    for room in ORDER {
        let row = format!("| `{room}` |");
        let at = design.get(from..).and_then(|rest| rest.find(&row));
        from += at.unwrap_or_else(|| panic!("the design lists '{room}' elsewhere, or not at all"));
    }
}

#[test]
fn the_reader_sees_every_way_to_write_a_path() {
    let paths = |source: &str| {
        let mut seen: Vec<String> = find(source, 2, false)
            .into_iter()
            .map(|found| match found {
                Found::Path(path, in_tests) => format!("{path}{}", if in_tests { " (test)" } else { "" }),
                Found::Refused(what) => format!("refused: {what}"),
            })
            .collect();
        seen.sort();
        seen.join(", ")
    };
    for (source, expected) in [
        ("use crate::graph::Client;", "graph::Client"),
        (
            "pub(crate) use crate :: graph\n::{Client, page::{Page, Link as L}, self};",
            "graph::Client, graph::page::Link, graph::page::Page, graph::self",
        ),
        (
            "use crate::{error::Result, graph, repo::{self, pack::*}};",
            "error::Result, graph, repo::pack::*, repo::self",
        ),
        (
            "fn f() -> crate::graph::Client<crate::tree::Tree> { crate::repo::open() }",
            "graph::Client, repo::open, tree::Tree",
        ),
        ("macro_rules! m { () => { $crate::repo::x() } }", "repo::x"),
        ("pub(in crate::graph) fn f() {}", "graph"),
        ("// crate::graph\n/* crate::graph /* crate::graph */ crate::graph */ /// [`crate::graph`]\n", ""),
        (
            "let s = \"crate::graph \\\" crate::graph\"; let r = r#\"crate::graph \" crate::graph\"#; crate::repo::x",
            "repo::x",
        ),
        (
            "let q = '\"'; crate::repo::x(); let q = '\\''; let l: &'a str = crate::tree::y; b'\"'; crate::graph::z",
            "graph::z, repo::x, tree::y",
        ),
        ("use crate::*;", "refused: `use crate::*`"),
        ("use crate::{error::Error, *};", "error::Error, refused: `use crate::*`"),
        ("use crate as me;", "refused: another name for the crate"),
        ("use crate::{self as me};", "refused: another name for the crate"),
        ("use super::sibling; use super::super::graph;", "refused: a way to another room through `super`"),
        ("#[cfg(test)] mod tests { use super::super::sibling; use crate::sim::Sim; }", "sim::Sim (test)"),
    ] {
        assert_eq!(paths(source), expected, "{source}");
    }
}

#[test]
fn the_judge_knows_good_arrows_from_bad_ones() {
    for (room, path) in [
        ("repo", "storage::Storage"),
        ("repo", "format::record::Extent"),
        ("ops", "m365::mail"),
        ("cli", "sim"),
        ("graph", "error::Error"),
        ("sim", "monitor::Monitor"),
        ("sim", "sim::world"),
        ("m365", "format::record::Record"),
        ("crypto", "Error"),
    ] {
        assert_eq!(objection(room, path, false), None, "{room} -> {path}");
    }
    for (room, path) in [
        ("format", "storage::Storage"),
        ("storage", "crypto::Key"),
        ("repo", "tree::NodeStore"),
        ("repo", "format::record::Record"),
        ("graph", "repo::Repo"),
        ("graph", "format::record::Record"),
        ("m365", "storage::Storage"),
        ("m365", "repo::Repo"),
        ("ops", "cli::output"),
        ("ops", "sim::Sim"),
        ("sim", "graph::Client"),
        ("error", "format::id"),
        ("attic", "error2::x"),
        ("ops", "attic::x"),
    ] {
        assert!(objection(room, path, false).is_some(), "{room} -> {path}");
    }
    assert_eq!(objection("ops", "sim::Sim", true), None);
    assert!(objection("ops", "cli::output", true).is_some());
}

/// Adds the text of every Rust file below a folder.
fn add_sources(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            add_sources(&path, text);
        } else if path.extension().is_some_and(|e| e == "rs") {
            text.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn the_tests_that_the_table_of_bad_input_names_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = std::fs::read_to_string(root.join("docs/bad-input.md")).unwrap();
    let mut sources = String::new();
    for folder in ["src", "tests"] {
        add_sources(&root.join(folder), &mut sources);
    }
    let words = table.lines().filter(|line| line.starts_with('|')).flat_map(|line| {
        let cell = line.trim_end_matches('|').rsplit('|').next().unwrap_or_default();
        cell.split(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'))
    });
    // Names of tests are sentences.
    let names: Vec<&str> = words.filter(|word| word.matches('_').count() >= 3).collect();
    assert!(names.len() > 40, "{names:?}");
    for name in names {
        assert!(sources.contains(&format!("fn {name}(")), "no test is called {name}");
    }
}

#[test]
fn every_page_of_the_server_has_its_pictures() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let router = std::fs::read_to_string(root.join("src/server/pages/mod.rs")).unwrap();
    let index = std::fs::read_to_string(root.join("docs/screenshots/README.md")).unwrap();
    let routes: Vec<&str> = router.split(".page(\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(routes.len() > 30, "{routes:?}");
    let lacks: Vec<_> = routes.iter().filter(|route| !index.contains(&format!("\n## `{route}`\n"))).collect();
    assert!(lacks.is_empty(), "no pictures of {lacks:?}: run tests/browser/pictures.mjs, and look at them");
    let named: BTreeSet<&str> = index.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let there = std::fs::read_dir(root.join("docs/screenshots")).unwrap();
    let there: BTreeSet<String> = there.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let pictures: BTreeSet<&str> = there.iter().map(String::as_str).filter(|name| *name != "README.md").collect();
    assert_eq!(named, pictures, "the index names other pictures than there are");
}

/// The tests that a cell names and that are not there. It reads `` `repo/faults` a_run, init; `src/x.rs` other ``: files
/// below `tests`, or with their whole path, and functions in them.
fn not_there(root: &Path, cell: &str) -> Vec<String> {
    let mut problems = Vec::new();
    for entry in cell.split(';').map(str::trim) {
        let Some((file, names)) = entry.strip_prefix('`').and_then(|rest| rest.split_once('`')) else {
            problems.push(format!("'{entry}' names no file"));
            continue;
        };
        let path = if file.ends_with(".rs") { root.join(file) } else { root.join(format!("tests/{file}.rs")) };
        let source = std::fs::read_to_string(&path).unwrap_or_default();
        let lacks = |name: &&str| !source.contains(&format!("fn {name}("));
        problems.extend(names.split(',').map(str::trim).filter(lacks).map(|name| format!("`{file}` has no '{name}'")));
    }
    problems
}

#[test]
fn the_tests_that_prove_the_guarantees_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("docs/guarantees.md")).unwrap();
    let (mut promises, mut broken, mut problems) = (0, 0, Vec::new());
    for line in text.lines().filter(|line| line.starts_with('|') && !line.starts_with("|---")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [promise, tests, what, caught] = cells[..] else { panic!("not four cells: {line}") };
        if promise == "promise" {
            continue;
        }
        promises += 1;
        problems.extend(not_there(root, tests));
        assert_eq!(what == "—", caught == "—", "{promise}");
        if what != "—" {
            broken += 1;
            // What caught it, marked if it is new, then its words in brackets.
            let names = caught.trim_start_matches("★ ").split(" (").next().unwrap_or_default();
            problems.extend(not_there(root, names));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(promises >= 30 && broken >= 20, "{promises} promises, {broken} of them broken once");
    assert_eq!(not_there(root, "`architecture` a_test_that_nobody_wrote").len(), 1);
}
