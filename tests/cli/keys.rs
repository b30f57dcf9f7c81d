//! Making a repository, and its keys.

use crate::support::{Place, collect};

#[test]
fn a_generated_key_is_shown_once_and_opens() {
    let place = Place::empty();
    let done = place.run(&["init", "-r", "repo", "--generate-key", "--yes"]);
    assert_eq!(done.code, 0, "{}", done.err);
    let keys: Vec<&str> = done.out.split_whitespace().filter(|word| word.len() == 44).collect();
    assert_eq!(keys.len(), 1, "{}", done.out);
    let mut command = place.command(&["snapshots", "-r", "repo"]);
    assert!(command.env("TENANTVAULT_PASSWORD", keys[0]).output().expect("it runs").status.success());
    // It is nowhere on the disk.
    let mut files = Vec::new();
    collect(&place.path(""), &mut files);
    for file in files {
        let bytes = std::fs::read(&file).expect("it reads");
        assert!(!bytes.windows(44).any(|window| window == keys[0].as_bytes()), "{}", file.display());
    }
}

#[test]
fn a_generated_key_wants_somebody_who_keeps_it() {
    let place = Place::empty();
    place.run(&["init", "-r", "repo", "--generate-key"]).fails(2, &["type back", "--yes"]);
    assert!(!place.path("repo").exists(), "something was made");
}

#[test]
fn a_key_file_is_new_and_for_its_owner_alone() {
    let place = Place::empty();
    place.write("there", "precious");
    place.run(&["init", "-r", "repo", "--generate-key", "--key-file", "there"]).fails(1, &["there"]);
    assert_eq!(place.read("there"), "precious");
    assert_eq!(place.run(&["init", "-r", "repo", "--generate-key", "--key-file", "key"]).code, 0);
    assert_eq!(place.read("key").trim().len(), 44);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(place.path("key")).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    assert_eq!(place.run(&["snapshots", "-r", "repo", "-p", "key"]).code, 0);
}

#[test]
fn keys_are_added_listed_and_removed() {
    let place = Place::empty();
    let generate = |file: &'static str| ["--generate-key", "--key-file", file];
    assert_eq!(place.run(&[&["init", "-r", "repo"][..], &generate("a")].concat()).code, 0);
    let add = [&["key", "add", "-r", "repo", "-p", "a", "--label", "bob"][..], &generate("b")].concat();
    assert_eq!(place.run(&add).code, 0);
    let list = |key: &str| place.run(&["key", "list", "-r", "repo", "-p", key]).out;
    assert_eq!(list("b").lines().count(), 3, "{}", list("b"));
    let bob =
        list("a").lines().find(|line| line.contains("bob")).expect("bob").split_whitespace().next().map(str::to_owned);
    let bob = bob.expect("an id");
    place.run(&["key", "remove", "-r", "repo", "-p", "b", &bob]).fails(2, &["in use"]);
    assert_eq!(place.run(&["key", "remove", "-r", "repo", "-p", "a", &bob]).code, 0);
    place.run(&["key", "list", "-r", "repo", "-p", "b"]).fails(12, &["Wrong passphrase"]);
}

#[test]
fn a_changed_passphrase_is_the_only_one() {
    let place = Place::empty();
    assert_eq!(place.run(&["init", "-r", "repo", "--generate-key", "--key-file", "a"]).code, 0);
    assert_eq!(place.run(&["key", "passwd", "-r", "repo", "-p", "a", "--generate-key", "--key-file", "b"]).code, 0);
    assert_eq!(place.run(&["snapshots", "-r", "repo", "-p", "b"]).code, 0);
    assert_eq!(place.run(&["snapshots", "-r", "repo", "-p", "a"]).code, 12);
    place.write("c", "chosen by hand\n");
    assert_eq!(place.run(&["key", "passwd", "-r", "repo", "-p", "b", "--new-password-file", "c"]).code, 0);
    assert_eq!(place.run(&["snapshots", "-r", "repo", "-p", "c"]).code, 0);
    place.run(&["key", "passwd", "-r", "repo", "-p", "c"]).fails(2, &["No new passphrase", "--new-password-file"]);
}

#[test]
fn a_write_only_key_backs_up_and_lists_and_reads_no_contents() {
    let place = Place::with_snapshots(1);
    let add = ["key", "add", "--write-only", "--generate-key", "--key-file", "server.key"];
    assert_eq!(place.run(&add).code, 0);
    let server = |arguments: &[&str]| place.run(&[arguments, &["-p", "server.key", "--no-cache"]].concat());
    place.tenant.as_ref().expect("a tenant").advance_day();
    assert_eq!(server(&["backup", "everyone"]).code, 3);
    let listed = server(&["ls", "-R", "latest"]);
    assert_eq!(listed.code, 0, "{}", listed.err);
    let message = listed.out.lines().find(|line| line.ends_with(".eml")).expect("a message").to_owned();
    let done = server(&["cat", &format!("latest:{message}")]);
    done.fails(12, &["may add snapshots but not read contents", "Hint: "]);
    assert_eq!(done.out, "");
    server(&["key", "add", "--generate-key", "--key-file", "owner.key"]).fails(12, &["cannot make an owner's key"]);
    // The owner reads what the server wrote.
    assert_eq!(place.run(&["cat", &format!("latest:{message}")]).code, 0);
}
