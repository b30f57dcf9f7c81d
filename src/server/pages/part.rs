//! A long list, page by page: what of it is found by a part of the name, which part of that is shown, and the ways to the rest;
//! and what is offered of a long choice.

use maud::{Markup, html};
use serde::Deserialize;

use super::{encode, words};

/// Things that are offered of a choice; of more a part of the name finds the rest.
const MOST_OFFERED: usize = 200;

/// Which part of a list, and which names.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Which {
    #[serde(default)]
    from: usize,
    #[serde(default)]
    pub(super) q: String,
}

/// The part of a list that a page shows.
#[derive(Debug)]
pub(super) struct Part<'a, T> {
    /// What is shown.
    pub(super) shown: Vec<&'a T>,
    /// What one of them is called.
    what: &'static str,
    found: usize,
    all: usize,
    most: usize,
    which: &'a Which,
}

impl<'a, T> Part<'a, T> {
    /// At most so many of those whose names have the part that is looked for.
    pub(super) fn of(
        all: &'a [T],
        which: &'a Which,
        most: usize,
        what: &'static str,
        name: impl Fn(&T) -> &str,
    ) -> Self {
        let found: Vec<&T> = all.iter().filter(|one| has(name(one), &which.q)).collect();
        let shown = found.iter().copied().skip(which.from).take(most).collect();
        Self { shown, what, found: found.len(), all: all.len(), most, which }
    }

    /// The form that finds by a part of the name; nothing where all are on one page.
    pub(super) fn finder(&self) -> Markup {
        html! { @if self.all > self.most {
            form method="get" { label for="q" { "Part of the name" } input #q name="q" maxlength="100" value=(self.which.q); button.plain type="submit" { "Find" } }
            p.quiet { (words::count(self.found, self.what)) }
        } }
    }

    /// The ways to what stands before and after.
    pub(super) fn ways(&self) -> Markup {
        let Which { from, q } = self.which;
        html! {
            @if self.found == 0 { p.empty { "No " (self.what) " has such a name." } }
            @if self.all > self.most {
                div.actions {
                    @if *from > 0 { a.button.plain href={ "?q=" (encode(q)) "&from=" (from.saturating_sub(self.most)) } { "Before" } }
                    @if self.found > from.saturating_add(self.most) { a.button.plain href={ "?q=" (encode(q)) "&from=" (from + self.most) } { "More" } }
                }
            }
        }
    }
}

fn has(name: &str, part: &str) -> bool {
    name.to_lowercase().contains(&part.trim().to_lowercase())
}

/// What is offered of a choice: all, or, of many, what is chosen and the first whose names have a part.
pub(super) fn offered<'a, T>(
    all: &'a [T],
    part: &str,
    name: impl Fn(&T) -> &str,
    is_chosen: impl Fn(&T) -> bool,
) -> Vec<&'a T> {
    if all.len() <= MOST_OFFERED {
        return all.iter().collect();
    }
    let others = all.iter().filter(|one| !is_chosen(one) && has(name(one), part));
    all.iter().filter(|one| is_chosen(one)).chain(others.take(MOST_OFFERED)).collect()
}

/// The field of a part of the name, before a choice of so many; nothing where all are offered.
pub(super) fn narrower(name: &str, part: &str, all: usize) -> Markup {
    html! { @if all > MOST_OFFERED {
        label for=(name) { "Part of the name, " span.quiet { "of the " (words::number(all as i64)) " that there are the first " (MOST_OFFERED) " are offered below" } }
        input id=(name) name=(name) maxlength="100" spellcheck="false" autocomplete="off" value=(part) data-typed;
        button.plain id={ (name) "-find" } type="submit" name="do" value="find" data-inplace { "Find" }
    } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_is_shown_in_parts_and_found_by_names() {
        let all: Vec<String> = (0..250).map(|number| format!("Name {number:03}")).collect();
        let shown = |from, q: &str, most| {
            let which = Which { from, q: q.to_owned() };
            let part = Part::of(&all, &which, most, "name", |name| name);
            (part.shown.len(), part.finder().into_string(), part.ways().into_string())
        };
        let (many, finder, ways) = shown(0, "", 100);
        assert!(many == 100 && finder.contains("250 names") && ways.contains("from=100") && !ways.contains("Before"));
        let (many, _, ways) = shown(200, "", 100);
        assert!(many == 50 && ways.contains("from=100") && !ways.contains("More"), "{ways}");
        assert_eq!(shown(0, " nAME 24 ", 100).0, 10);
        let (many, finder, _) = shown(6, "Name 24", 5);
        assert!(many == 4 && finder.contains("10 names"), "{many} {finder}");
        assert!(shown(0, "nobody", 100).2.contains("No name has such a name"));
        assert_eq!(shown(0, "", 300).1, "", "all are on one page");
        let offer = |part: &str| offered(&all, part, |name| name, |name| name == "Name 249");
        assert_eq!((offer("").len(), offer("")[0].as_str(), offer("Name 01").len()), (201, "Name 249", 11));
        assert_eq!(offered(&all[..7], "x", |name| name, |_| false).len(), 7);
    }
}
