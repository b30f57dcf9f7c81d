//! The permissions as a table: the README's is made of this.

use std::collections::BTreeSet;

use super::{LABELS, PERMISSIONS};

/// What helps and is not needed: name, what for, what its lack costs.
const OPTIONAL: &[(&str, &str, &str)] = &[
    ("LicenseAssignment.Read.All", "find the users with a licence", "`licence:` in a set fits nobody"),
    ("Application.Read.All", "see how long the secret is good", "`test` cannot warn of its end"),
    (
        "Sites.FullControl.All",
        "read which apps may use a site; be told of every change of sharing",
        "these grants are not backed up, and a change of who may use a file may be seen only when the file itself changes, or within a week. It lets the app write: leave it out unless you need this",
    ),
];

/// The permissions of an app, each once, in Markdown: its name, the workloads, what for, what its lack costs.
pub fn table() -> String {
    let mut out = String::from("| permission (application) | workload | to | without it |\n|---|---|---|---|\n");
    let mut told = BTreeSet::new();
    for name in PERMISSIONS.iter().map(|permission| permission.name) {
        if !told.insert(name) {
            continue;
        }
        let same = || PERMISSIONS.iter().filter(|permission| permission.name == name);
        let workloads =
            joined(", ", same().map(|p| p.workload.map_or("all".to_owned(), |w| format!("`{}`", w.word()))));
        let purposes = joined("; ", same().map(|permission| permission.purpose.to_owned()));
        let costs = joined("; ", same().map(|permission| permission.cost.to_owned()));
        out.push_str(&format!("| `{name}` | {workloads} | {purposes} | {costs} |\n"));
    }
    out.push_str(&format!(
        "| `{}` | sets with `retention_labels` | {} | {} |\n",
        LABELS.name, LABELS.purpose, LABELS.cost
    ));
    for (name, purpose, cost) in OPTIONAL {
        out.push_str(&format!("| `{name}` | not needed | {purpose} | {cost} |\n"));
    }
    out
}

/// The texts that differ, in order.
fn joined(between: &str, texts: impl Iterator<Item = String>) -> String {
    let mut all: Vec<String> = Vec::new();
    for text in texts {
        if !all.contains(&text) {
            all.push(text);
        }
    }
    all.join(between)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::set::Workload;

    #[test]
    fn the_readme_has_the_table_of_permissions() {
        let readme = include_str!("../../../README.md");
        // All of it, to the blank line after it.
        assert!(readme.contains(&(table() + "\n")), "Put this into README.md:\n{}", table());
    }

    #[test]
    fn every_workload_has_a_permission() {
        for workload in Workload::ALL {
            assert!(PERMISSIONS.iter().any(|permission| permission.workload == Some(*workload)), "{workload:?}");
        }
    }
}
