//! The demonstration does what it says, and what it leaves behind works.

use crate::support::Place;

const SMALL: &[&str] = &["demo", "demo", "--users", "1", "--messages", "12", "--files", "6"];

#[test]
fn the_demonstration_runs_and_leaves_a_repository_that_works() {
    let place = Place::empty();
    let done = place.run(SMALL);
    assert_eq!(done.code, 0, "{}\n{}", done.err, done.out);
    for step in ["init", "test", "backup", "snapshots", "ls", "cat", "export", "diff", "forget", "prune", "check"] {
        assert!(
            done.out.contains(&format!("   $ tenantvault {step} "))
                || done.out.contains(&format!("   $ tenantvault {step}\n")),
            "{step}"
        );
    }
    assert_eq!(done.out.matches("$ tenantvault backup everyone").count(), 4);
    assert!(done.out.contains("No errors found"), "{}", done.out);
    let folder = place.path("demo").display().to_string();
    for line in done.out.lines().filter(|line| !line.contains(&folder) && !line.contains("target/")) {
        assert!(line.chars().count() <= 80, "{line}");
    }
    let config = place.path("demo/tenantvault.toml");
    let config = config.to_str().expect("text");
    let listed = place.run(&["--config", config, "snapshots"]);
    assert_eq!((listed.code, listed.out.lines().count()), (0, 4), "{}", listed.out);
    // What it suggests at the end.
    for line in done.out.lines().filter(|line| line.starts_with("  ") && line.contains("tenantvault ls")) {
        let target = line.split_whitespace().last().expect("a target");
        assert_eq!(place.run(&["--config", config, "ls", "-l", target]).code, 0, "{line}");
    }
}

#[test]
fn the_demonstration_takes_no_folder_with_something_in_it() {
    let place = Place::empty();
    std::fs::create_dir(place.path("demo")).expect("a folder");
    place.write("demo/precious", "x");
    place.run(SMALL).fails(1, &["is not empty", "Hint: "]);
    assert_eq!(place.read("demo/precious"), "x");
}
