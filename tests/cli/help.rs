//! Help, completions, manual pages: they are there, and fit a terminal.

use crate::support::{Place, collect};

const COMMANDS: &[&str] = &[
    "init",
    "key",
    "test",
    "backup",
    "snapshots",
    "ls",
    "cat",
    "export",
    "restore",
    "diff",
    "find",
    "history",
    "forget",
    "prune",
    "check",
    "repair",
    "stats",
    "config",
    "server",
    "audit",
    "demo",
    "sim",
    "completions",
    "man",
];

#[test]
fn every_command_has_help_that_fits_a_terminal() {
    let place = Place::empty();
    let all = place.run(&["--help"]);
    assert_eq!(all.code, 0);
    for command in COMMANDS {
        assert!(all.out.lines().any(|line| line.trim_start().starts_with(command)), "{command}");
        for flag in ["-h", "--help"] {
            let help = place.run(&[command, flag]);
            assert_eq!((help.code, help.err.as_str()), (0, ""), "{command}");
            assert!(help.out.contains("Usage: tenantvault"), "{command}");
            if let Some(line) = help.out.lines().find(|line| line.chars().count() > 100) {
                panic!("{command}: {line}");
            }
        }
    }
}

#[test]
fn nothing_typed_shows_help() {
    let done = Place::empty().run(&[]);
    assert_eq!(done.code, 2);
    assert!(done.err.contains("Usage: tenantvault"), "{}", done.err);
}

#[test]
fn completions_know_every_command() {
    let place = Place::empty();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let done = place.run(&["completions", shell]);
        assert_eq!(done.code, 0, "{shell}");
        for command in COMMANDS {
            assert!(done.out.contains(command), "{shell}: {command}");
        }
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let place = Place::empty();
    let page = place.run(&["man"]);
    assert!(page.out.contains(".TH tenantvault 1"), "{}", page.out);
    assert_eq!(place.run(&["man", "pages"]).code, 0);
    let mut files = Vec::new();
    collect(&place.path("pages"), &mut files);
    for command in COMMANDS {
        let name = format!("tenantvault-{command}.1");
        assert!(files.iter().any(|file| file.ends_with(&name)), "{name}");
    }
}

#[test]
fn the_version_is_the_package_s() {
    assert_eq!(Place::empty().run(&["--version"]).out, concat!("tenantvault ", env!("CARGO_PKG_VERSION"), "\n"));
}
