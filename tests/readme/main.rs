//! The README is true: every command in its `console` blocks runs as it stands, in order, against a simulated
//! tenant; only the folder and the environment are the test's own.
//!
//! The README's configuration is used as it stands too, but for the tenant's ids, its secret and the addresses of the
//! simulated tenant, which are those that `tenantvault sim --config-out` writes.

mod sim;

use std::fs;
use std::path::Path;
use std::process::Output;

use assert_cmd::Command;
use sim::Sim;

/// The commands that build the program. `cargo test` cannot run itself: CI does, and runs `demo` of the program that came of it.
const FRESH_MACHINE: [&str; 2] = ["cargo run -- demo", "cargo test"];

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The lines of all fenced blocks of a language.
fn blocks(text: &str, language: &str) -> Vec<Vec<String>> {
    let mut blocks = Vec::new();
    let mut open: Option<Vec<String>> = None;
    for line in text.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(found)) => open = Some(if found == language { vec![String::new()] } else { Vec::new() }),
            (Some(_), Some(_)) => blocks.extend(open.take().filter(|lines| !lines.is_empty())),
            (Some(lines), None) if !lines.is_empty() => lines.push(line.to_owned()),
            _ => {}
        }
    }
    blocks.iter_mut().for_each(|lines| drop(lines.remove(0)));
    blocks
}

fn commands(readme: &str) -> Vec<String> {
    let lines = blocks(readme, "console").into_iter().flatten();
    lines.filter_map(|line| line.strip_prefix("$ ").map(str::to_owned)).collect()
}

/// Runs one command as a shell would, with nothing of the user's own environment but what a shell needs.
fn run(command: &str, folder: &Path) -> Output {
    let program = assert_cmd::cargo::cargo_bin("tenantvault");
    let system = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{system}", program.parent().expect("it is in a folder").display());
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).current_dir(folder).env_clear();
    shell.env("PATH", path).env("HOME", folder).env("LANG", "C.UTF-8");
    shell.output().expect("the shell runs")
}

/// What a command of the README ends with: the simulated tenant's alice has a file with malware, which is a gap in
/// every backup and every export of all she has.
fn expected_code(command: &str) -> i32 {
    let backs_up = command.starts_with("tenantvault backup everyone") && !command.contains("--dry-run");
    if backs_up || command.ends_with("restored/alice") { 3 } else { 0 }
}

#[test]
fn the_commands_of_the_readme_run_as_they_stand() {
    let readme = read("README.md");
    let all = commands(&readme);
    let (building, using): (Vec<_>, Vec<_>) = all.iter().partition(|command| command.starts_with("cargo "));
    assert_eq!(building, FRESH_MACHINE);
    assert!(using.len() > 20, "only {} commands were found", using.len());

    let folder = tempfile::tempdir().expect("a temporary folder");
    let sim = Sim::start(folder.path());
    let configuration = blocks(&readme, "toml").concat().join("\n");
    sim.write_configuration(folder.path(), &configuration);
    for command in using {
        assert!(command.starts_with("tenantvault "), "{command}");
        let output = run(command, folder.path());
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(expected_code(command)), "$ {command}\n{out}\n{err}");
        assert!(!err.contains("Warning"), "$ {command}\n{err}");
        if command.contains("--json") {
            assert_json(command, &out);
        }
    }
    assert_results(folder.path());
}

fn assert_json(command: &str, out: &str) {
    let lines: Vec<serde_json::Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("$ {command}: {e}: {line}")))
        .collect();
    assert_eq!(lines.last().map(|line| &line["message_type"]), Some(&"summary".into()), "$ {command}");
}

/// What the commands must have left behind.
fn assert_results(folder: &Path) {
    // The simulated tenant's file has 700 bytes, in both ways of reading it.
    let plan = fs::read(folder.join("Plan.docx")).expect("cat gave the file");
    assert_eq!(plan.len(), 700);
    let exported = files_below(&folder.join("restored"));
    assert!(exported.iter().any(|path| fs::read(path).is_ok_and(|bytes| bytes == plan)), "export gave another file");
    let letters = exported.iter().filter(|path| path.extension().is_some_and(|e| e == "eml")).count();
    assert!(letters > 30, "{letters} messages were exported");
    assert!(fs::metadata(folder.join("repository/config")).is_ok_and(|m| m.len() > 0));
    assert_eq!(fs::read_to_string(folder.join("server.key")).map(|key| key.trim().len()).ok(), Some(44));
}

fn files_below(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let entry = entry.expect("the folder can be listed");
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            files.extend(files_below(&entry.path()));
        } else {
            files.push(entry.path());
        }
    }
    files
}

#[test]
fn ci_does_what_the_two_commands_for_a_fresh_machine_do() {
    let ci = read(".ci/run");
    for command in [FRESH_MACHINE[1], "\"$program\" demo"] {
        assert!(ci.lines().any(|line| line.trim_start().starts_with(command)), ".ci/run lacks '{command}'");
    }
}

#[test]
fn what_the_readme_links_to_is_there() {
    let readme = read("README.md");
    let mut links = 0;
    for part in readme.split("](").skip(1) {
        let link = part.split(')').next().unwrap_or_default();
        if !link.contains("://") {
            links += 1;
            assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(link).exists(), "README.md links to {link}");
        }
    }
    assert!(links > 5, "only {links} links were found");
}

/// Cargo refuses an older toolchain; CI reads the version from `Cargo.toml` and builds with it.
#[test]
fn the_minimum_rust_version_is_the_same_everywhere() {
    let manifest = read("Cargo.toml");
    let line = manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).expect("Cargo.toml states one");
    let minimum = line.trim_matches('"');
    assert!(read("README.md").contains(&format!("A Rust toolchain ({minimum} or later")), "the README says another");
    let ci = read(".ci/run");
    assert!(
        ci.contains("s/^rust-version = ") && ci.contains("cargo \"+$minimum\" check --locked"),
        "CI does not build with it"
    );
}
