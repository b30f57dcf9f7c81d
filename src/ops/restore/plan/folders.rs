//! What the containers are called that a restore makes for itself: each collection has its own, and no two bear one name.

use std::collections::{HashMap, HashSet};

/// What no folder's name may have, wherever it lies.
const FORBIDDEN: &str = r#"/\:*?"<>|"#;

/// The containers of a plan, by the place that they lie in.
#[derive(Default)]
pub(super) struct Folders {
    /// Whose things go to a place first.
    owners: HashMap<String, String>,
    /// Places that something goes to which is no page.
    filled: HashSet<String>,
    /// Names that are given, by place, as those compare who take `a` for `A`.
    given: HashSet<(String, String)>,
}

impl Folders {
    /// Takes note that a collection goes to a place, and says whether another one goes there too.
    pub(super) fn fill(&mut self, place: &str) -> bool {
        !self.filled.insert(place.to_owned())
    }

    /// The name of the container that a collection (its owner's name, its title) gets in a place, where `wanted` was asked for: the first
    /// gets that, others say what is in them; pages always do.
    pub(super) fn name(&mut self, place: &str, wanted: &str, (owner, title): (&str, &str), as_page: bool) -> String {
        let first = self.owners.entry(place.to_owned()).or_insert_with(|| owner.to_owned());
        let base = match (as_page || self.filled.contains(place), first == owner) {
            (false, _) => wanted.to_owned(),
            (true, true) => format!("{wanted} - {}", allowed(title)),
            (true, false) => format!("{wanted} - {} - {}", allowed(owner), allowed(title)),
        };
        let mut name = base.clone();
        let mut number = 1;
        while !self.given.insert((place.to_owned(), name.to_lowercase())) {
            number += 1;
            name = format!("{base} ({number})");
        }
        if !as_page {
            self.fill(place);
        }
        name
    }
}

/// A part of a name, without what no folder's may have.
fn allowed(part: &str) -> String {
    let part: String = part.chars().map(|c| if FORBIDDEN.contains(c) || c.is_control() { '_' } else { c }).collect();
    part.trim().trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_collections_get_one_folder() {
        let mut folders = Folders::default();
        let mut mail = |owner: &str| folders.name("bob/mail", "Restored", (owner, "Mail"), false);
        assert_eq!(mail("alice"), "Restored");
        assert_eq!(mail("carol"), "Restored - carol - Mail");
        assert_eq!(mail("dave"), "Restored - dave - Mail");
        // Two of one name, which differ by their ids alone.
        assert_eq!(mail("dave"), "Restored - dave - Mail (2)");
        assert_eq!(mail("DAVE"), "Restored - DAVE - Mail (3)");
        assert_eq!(mail("alice"), "Restored - Mail");
        assert_eq!(folders.name("bob/drive", "Restored", ("carol", "OneDrive"), false), "Restored");
    }

    #[test]
    fn pages_say_always_what_is_in_them_and_leave_the_plain_name_to_files() {
        let mut folders = Folders::default();
        let mut of = |owner: &str, title: &str, as_page| folders.name("site", "R", (owner, title), as_page);
        assert_eq!(of("Sales", "General", true), "R - General");
        assert_eq!(of("Sales", "Documents", false), "R");
        assert_eq!(of("Works", "General", true), "R - Works - General");
        assert_eq!(of("Works", "Documents", false), "R - Works - Documents");
        assert_eq!(of("A: b/c.", " \"x\" ", true), "R - A_ b_c - _x_");
    }
}
