//! What the newest snapshot of each backup set covers.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use maud::{Markup, html};
use serde::Deserialize;

use super::{Answer, Chrome, Page, Place, Query, encode, page, words};
use crate::error::Result;
use crate::format::snapshot::{CoverageEntry, Protection};
use crate::ops::coverage;
use crate::server::auth::Actor;
use crate::server::db::SetRow;
use crate::server::id::Id;
use crate::server::state::Server;
use crate::server::store::soon;
use crate::server::web::At;
use crate::snapshot::store;

/// Owners of a set on a page.
const MOST: usize = 100;
/// With more sets than this one is chosen: each is read from its snapshot.
const MOST_SETS: usize = 3;
/// Sets that are offered to choose from; others are typed.
const MOST_OFFERED: usize = 300;

/// Which set, whose names, and from which owner on.
#[derive(Debug, Deserialize)]
pub(super) struct Which {
    #[serde(default)]
    set: String,
    #[serde(default)]
    q: String,
    #[serde(default)]
    from: usize,
}

/// The page.
pub(super) async fn show(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At(account): At<Id>,
    Query(which): Query<Which>,
) -> Answer {
    let account = server.db.account(&account).await?;
    let sets = server.db.sets(&account.id).await?;
    let chosen = |set: &&SetRow| sets.len() <= MOST_SETS || set.name == which.set.trim();
    let asked = sets.iter().filter(chosen).map(|set| {
        let server = &server;
        async move { (set, soon(&set.name, of(server, set)).await) }
    });
    let parts = futures::future::join_all(asked).await;
    let chrome = Chrome { actor: &actor, account: Some(&account), place: Place::Coverage };
    let body = html! {
        h1 { "Coverage" }
        p.quiet { "How every user, group, site and team stands in the newest snapshot of each backup set." }
        @if sets.is_empty() { p.empty { "There is no " a href={ "/a/" (account.id) "/sets" } { "backup set" } " yet, so nothing is covered." } }
        @if !sets.is_empty() {
            form.line method="get" {
                @if sets.len() > MOST_SETS {
                    label for="set" { "Backup set, by its name" }
                    input #set name="set" list="sets" required maxlength="100" spellcheck="false" value=(which.set);
                    datalist #sets { @for set in sets.iter().take(MOST_OFFERED) { option value=(set.name) {} } }
                }
                label for="q" { "Whose, " span.quiet { "part of the name; empty: all" } }
                div.actions {
                    input #q name="q" maxlength="200" spellcheck="false" value=(which.q);
                    button.plain type="submit" { "Show" }
                }
            }
        }
        @for (set, found) in &parts {
            h2 { (set.name) }
            @match found {
                Ok(Some((time, entries))) => { p.quiet { "Snapshot of " (words::time(*time)) } (grid(entries, &set.name, &which)) }
                Ok(None) => { p.empty { "No snapshot yet." } }
                Err(e) => { p.notice.bad role="alert" { "It cannot be looked at now: " (e.to_string()) "." @if let Some(hint) = e.hint() { " " (words::sentence(hint)) } } }
            }
        }
    };
    Ok(Page(page("Coverage", chrome, &body)).into_response())
}

async fn of(server: &Server, set: &SetRow) -> Result<Option<(i64, Vec<CoverageEntry>)>> {
    let row = server.db.repository(&set.account, &set.repository).await?;
    let repo = server.stores.open(server, &row).await?;
    let listing = store::list(&repo).await?;
    let newest = listing.snapshots.iter().filter(|s| s.file.set_name == set.name).max_by_key(|s| s.file.time_us);
    let Some(newest) = newest else { return Ok(None) };
    Ok(Some((newest.file.time_us, coverage::of(&repo, newest).await?)))
}

fn mark(state: Protection) -> &'static str {
    match state {
        Protection::Protected => "good",
        Protection::Partly | Protection::Left => "warn",
        Protection::Unreadable => "bad",
        Protection::Impossible | Protection::Nothing | Protection::NotSelected => "calm",
    }
}

/// How a part stands, in words.
fn said(state: Protection) -> &'static str {
    match state {
        Protection::Left => "kept, its owner left",
        Protection::Nothing => "nothing to protect",
        Protection::NotSelected => "not selected",
        state => state.word(),
    }
}

/// Reasons, each with the parts that it holds for: why one is not protected whole, or what is in no backup of it.
fn reasons<'a>(parts: &[&'a CoverageEntry]) -> Vec<(String, &'a str)> {
    let mut all: Vec<(String, &str)> = Vec::new();
    for part in parts.iter().filter(|part| !part.reason.is_empty()) {
        match all.iter_mut().find(|(_, reason)| *reason == part.reason) {
            Some((of, _)) => of.push_str(&format!(", {}", part.workload)),
            None => all.push((part.workload.clone(), part.reason.as_str())),
        }
    }
    all
}

/// Owners as rows; what is not protected whole says why.
fn grid(entries: &[CoverageEntry], set: &str, which: &Which) -> Markup {
    let wanted = which.q.trim().to_lowercase();
    // Of several sets on the page the others begin at the beginning.
    let from = if which.set.is_empty() || which.set.trim() == set { which.from } else { 0 };
    let link = |from: usize| format!("?set={}&q={}&from={from}", encode(set), encode(&which.q));
    let mut owners: BTreeMap<(String, &str), Vec<&CoverageEntry>> = BTreeMap::new();
    for entry in entries {
        let name = entry.name.to_lowercase();
        if name.contains(&wanted) {
            owners.entry((name, &entry.owner)).or_default().push(entry);
        }
    }
    html! {
        @if owners.is_empty() { p.empty { "Nobody there has such a name." } }
        div.scroll tabindex="0" { table {
            thead { tr { th scope="col" { "Whose" } th scope="col" { "Parts, and what is not in them" } } }
            tbody { @for parts in owners.values().skip(from).take(MOST) { tr {
                th scope="row" { (parts.first().map_or("", |part| part.name.as_str())) }
                td.states {
                    @for part in parts {
                        span class={ "state " (mark(part.state)) } title={ (said(part.state)) ", " (part.items) " items" } {
                            (if part.workload.is_empty() { "all" } else { &part.workload }) @if part.state != Protection::Protected { ": " (said(part.state)) }
                        } " "
                    }
                    @for (of, reason) in reasons(parts) { div { @if !of.is_empty() { strong { (of) } ": " } (reason) } }
                }
            } } }
        } }
        @if owners.len() > MOST { p.quiet { (words::number(i64::try_from(owners.len()).unwrap_or(i64::MAX))) " in all" } }
        div.actions {
            @if from > 0 { a.button.plain href=(link(from.saturating_sub(MOST))) aria-label={ "Before, of " (set) } { "Before" } }
            @if owners.len() > from.saturating_add(MOST) { a.button.plain href=(link(from + MOST)) aria-label={ "More of " (set) } { "More" } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_shown_page_by_page_and_found_by_name() {
        let entry = |i: usize| CoverageEntry {
            owner: format!("users/{i}"),
            name: format!("Person {i:03}"),
            workload: "mail".to_owned(),
            state: Protection::Protected,
            reason: String::new(),
            items: 1,
            gaps: 0,
            since_us: 0,
        };
        let all: Vec<_> = (0..250).map(entry).collect();
        let shown = |set: &str, q: &str, from| {
            let which = Which { set: set.to_owned(), q: q.to_owned(), from };
            grid(&all, "everyone", &which).into_string()
        };
        let first = shown("", "", 0);
        assert!(
            first.contains("Person 099") && !first.contains("Person 100") && first.contains("250 in all"),
            "{first}"
        );
        assert!(first.contains("from=100") && !first.contains("Before"), "{first}");
        let last = shown("everyone", "", 200);
        assert!(last.contains("Person 249") && last.contains("from=100") && !last.contains("More"), "{last}");
        assert!(shown("another", "", 200).contains("Person 000"), "of another set was asked");
        assert!(shown("", "PERSON 24", 0).matches("<tr>").count() == 11, "ten, below the head");
        assert!(shown("", "nobody", 0).contains("Nobody there has such a name"));
        assert!(shown("", "", usize::MAX).contains("Before"));
    }

    #[test]
    fn a_reason_is_told_once_with_the_parts_that_it_holds_for() {
        let entry = |name: &str, workload: &str, state, reason: &str| CoverageEntry {
            owner: format!("users/{name}"),
            name: name.to_owned(),
            workload: workload.to_owned(),
            state,
            reason: reason.to_owned(),
            items: 1,
            gaps: 0,
            since_us: 0,
        };
        let all = [
            entry("bea", "mail", Protection::Unreadable, "refused"),
            entry("bea", "calendar", Protection::Unreadable, "refused"),
            entry("bea", "chats", Protection::Left, ""),
            entry("Alice", "mail", Protection::Protected, "no archive"),
            entry("carl", "", Protection::Nothing, "a guest"),
        ];
        let which = Which { set: String::new(), q: String::new(), from: 0 };
        let page = grid(&all, "everyone", &which).into_string();
        for words in [
            "<strong>mail, calendar</strong>: refused",
            "chats: kept, its owner left",
            "all: nothing to protect",
            "<div>a guest</div>",
            "<strong>mail</strong>: no archive",
        ] {
            assert!(page.contains(words), "{words}: {page}");
        }
        let place = |name: &str| page.find(&format!(">{name}</th>")).expect(name);
        assert!(place("Alice") < place("bea") && place("bea") < place("carl"), "{page}");
    }
}
