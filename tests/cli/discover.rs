//! What a tenant has, what a set selects of it, and what a backup would read.

use std::collections::BTreeSet;

use tenantvault::sim::SimOptions;

use crate::support::Place;

#[test]
fn a_set_is_read_in_its_hours_only_unless_now_is_said() {
    let place = Place::with_tenant(SimOptions::tiny());
    place.init();
    let now = jiff::Timestamp::now().to_zoned_datetime(jiff::tz::TimeZone::UTC);
    let at =
        |hours: i64| now.checked_add(jiff::Span::new().hours(hours)).expect("a time").strftime("%H:%M").to_string();
    let config = place.read("tenantvault.toml");
    let with = |hours: &str| {
        place.write("tenantvault.toml", &format!("{config}hours = \"{hours}\"\ndownload_limit = \"100MiB\"\n"));
    };
    with(&format!("{}-{}", at(2), at(3)));
    let refused = place.run(&["backup", "everyone"]);
    assert!(refused.code == 1 && refused.err.contains("--now") && refused.err.contains("UTC"), "{}", refused.err);
    assert_eq!(place.run(&["backup", "everyone", "--dry-run"]).code, 0);
    assert_eq!(place.run(&["backup", "everyone", "--now"]).code, 3);
    with(&format!("{}-{}", at(-2), at(2)));
    assert_eq!(place.run(&["backup", "everyone"]).code, 3);
    with("22-6");
    let wrong = place.run(&["backup", "everyone"]);
    assert!(wrong.code == 2 && wrong.err.contains("22:00-06:00") && wrong.err.contains("line"), "{}", wrong.err);
}

#[test]
fn discover_lists_the_tenant_and_what_a_set_selects() {
    let place = Place::with_tenant(SimOptions::tiny());
    let (code, lines) = place.json(&["discover"]);
    assert_eq!(code, 0);
    let owners: Vec<_> = lines.iter().filter(|line| line["message_type"] == "owner").collect();
    let kinds: BTreeSet<&str> = owners.iter().filter_map(|owner| owner["kind"].as_str()).collect();
    assert!(kinds.contains("user") && kinds.contains("shared"), "{kinds:?}");
    assert!(owners.iter().any(|owner| owner["licences"][0].as_str().is_some_and(|name| name.starts_with("SPE"))));
    let told = place.run(&["discover", "sim"]);
    let name = owners[0]["name"].as_str().expect("a name");
    assert!(told.code == 0 && told.out.contains(name) && told.out.contains("Licences"), "{}", told.out);
    let (code, lines) = place.json(&["discover", "everyone"]);
    let selected = lines.iter().filter(|line| line["message_type"] == "selected" && line["state"] == "selected");
    assert!(code == 0 && selected.count() > 2);
    let wrong = place.run(&["discover", "everyon"]);
    assert!(wrong.code == 1 && wrong.err.contains("everyone"), "{}", wrong.err);
}

#[test]
fn a_dry_run_tells_what_would_be_read_and_writes_no_snapshot() {
    let place = Place::with_tenant(SimOptions::tiny());
    place.init();
    let told = place.run(&["backup", "everyone", "--dry-run"]);
    assert_eq!(told.code, 0, "{}", told.err);
    assert!(told.out.contains("would read about") && told.out.contains("new"), "{}", told.out);
    assert!(place.snapshots().is_empty());
    let (_, lines) = place.json(&["backup", "everyone", "--dry-run"]);
    let summary = lines.last().expect("a summary");
    assert!(summary["items"].as_u64().is_some_and(|n| n > 0) && summary["dry_run"] == true, "{summary}");
    assert_eq!(place.run(&["backup", "everyone"]).code, 3);
    let told = place.run(&["backup", "everyone", "--dry-run"]);
    assert!(told.out.contains("changes"), "{}", told.out);
    assert_eq!(place.snapshots().len(), 1);
}
