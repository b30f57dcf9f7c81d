//! What a tenant has, as a tree: kinds, of which one is open, a page of it at a time. Each row has a box that stands as the rules
//! say, and beside it how it is shown goes along, so that what was changed is known whatever else is pressed.

use maud::{Markup, html};

use super::desk::View;
use crate::m365::kinds::NO_PUBLIC_FOLDERS;
use crate::server::contents::{Contents, Counts, Item, Kind, Named, Read, State, Trouble};
use crate::server::pages::words;

/// Rows of a page.
pub(super) const PAGE: usize = 100;
/// Characters of a name that are shown.
const LONGEST: usize = 120;

/// Microsoft is being asked.
pub(super) fn asking() -> Markup {
    html! {
        p.notice role="status" data-asking { "Microsoft is being asked what the tenant has. In a large tenant that takes a minute; the rules can be written meanwhile." }
        button.plain #again type="submit" name="do" value="stay" data-inplace { "Look again" }
    }
}

/// It cannot be told.
pub(super) fn failed(trouble: &Trouble) -> Markup {
    html! {
        div.notice.warn role="status" {
            p { "What the tenant has cannot be shown now: " (trouble.message) "." }
            @if let Some(hint) = &trouble.hint { p.hint { (hint) "." } }
            p { "The rules can be written all the same: a run looks anew." }
        }
        button.plain #again type="submit" name="do" value="again" data-inplace { "Ask again" }
    }
}

/// The tree.
pub(super) fn show(view: &View, contents: &Contents, read: &Read, named: &Named, counts: &Counts) -> Markup {
    let open = view.kind();
    html! {
        p.counts role="status" { strong { (counts.sentence) } }
        @if !counts.notes.is_empty() { ul.notes { @for note in counts.notes.iter().take(5) { li { (note) } } } }
        @for (what, why) in &contents.unlisted { p.notice.warn { "Not listed: " (what) ". " (why) } }
        input type="hidden" name="open" value=(open.map_or("", Kind::word));
        input type="hidden" name="from" value=(view.from);
        div.find {
            label for="q" { "Part of a name" }
            input #q name="q" type="search" maxlength="200" value=(view.q) autocomplete="off" spellcheck="false" data-typed;
            button.plain #find type="submit" name="do" value="find" data-inplace { "Find" }
        }
        ul.tree {
            @for kind in Kind::ALL { li { (root(view, contents, counts, kind, open == Some(kind)))
                @if open == Some(kind) { (children(view, contents, read, named, counts, kind)) }
            } }
            li.cannot {
                span.root { "Public folders" } " " span.state.calm { "cannot be chosen" }
                p.quiet { (NO_PUBLIC_FOLDERS) "." }
            }
        }
        p.quiet { "As Microsoft listed it on " (words::time(contents.read_us)) ". " button.link #again type="submit" name="do" value="again" data-inplace { "Ask again" } }
    }
}

/// The line of a kind.
fn root(view: &View, contents: &Contents, counts: &Counts, kind: Kind, is_open: bool) -> Markup {
    let all = contents.many(kind);
    let found = if view.q.trim().is_empty() { None } else { Some(contents.find(kind, &view.q).count()) };
    html! {
        div.branch {
            button.root id={ "open-" (kind.word()) } type="submit" name="do" value={ @if is_open { "close" } @else { "open:" (kind.word()) } } aria-expanded=(if is_open { "true" } else { "false" }) data-inplace {
                (kind.label())
            }
            span.quiet {
                @match counts.of(kind) {
                    Some(tally) if tally.all == all => { (tally.chosen) " of " (tally.all) " chosen" @if tally.new_ones { ", new ones too" } }
                    Some(tally) => { (tally.chosen) " of " (tally.all) " with data chosen" @if tally.new_ones { ", new ones too" } " (" (all) " in all)" }
                    None => { (all) " in all" }
                }
                @if let Some(found) = found { "; " (words::count(found, "name")) " found" }
            }
            @if is_open && all > 0 {
                span.actions {
                    button.plain id={ "all-" (kind.word()) } type="submit" name="do" value={ "all:" (kind.word()) } data-inplace { "Take all in" }
                    @if kind != Kind::Groups { button.plain id={ "none-" (kind.word()) } type="submit" name="do" value={ "none:" (kind.word()) } data-inplace { "Leave all out" } }
                }
            }
        }
    }
}

/// A page of one.
fn children(view: &View, contents: &Contents, read: &Read, named: &Named, counts: &Counts, kind: Kind) -> Markup {
    let found: Vec<Item<'_>> = contents.find(kind, &view.q).collect();
    // The last page, where the list grew shorter.
    let from = if view.from < found.len() { view.from } else { 0 };
    html! {
        @if kind == Kind::Groups { p.quiet { "A group is taken in, or left out, with the users who are in it." } }
        @if kind == Kind::Licences { p.quiet { "A licence takes in, or leaves out, the users who have it." } }
        @if found.is_empty() { p.empty { @if contents.many(kind) == 0 { "There are none." } @else { "None has such a name." } } }
        ul.rows { @for (n, item) in found.iter().enumerate().skip(from).take(PAGE) { (row(n, item, contents, read, named, counts)) } }
        @if from > 0 || found.len() > from + PAGE {
            p.quiet { (from + 1) " to " (found.len().min(from + PAGE)) " of " (found.len()) }
            div.actions {
                @if from > 0 { button.plain #before type="submit" name="do" value={ "page:" (from.saturating_sub(PAGE)) } data-inplace { "Before" } }
                @if found.len() > from + PAGE { button.plain #more type="submit" name="do" value={ "page:" (from + PAGE) } data-inplace { "More" } }
            }
        }
        noscript { button.plain type="submit" name="do" value="stay" { "Take over what is ticked" } }
    }
}

fn row(n: usize, item: &Item<'_>, contents: &Contents, read: &Read, named: &Named, counts: &Counts) -> Markup {
    let state = read.state(item, named);
    let rule = item.rule(contents);
    let short = |text: &str| text.chars().take(LONGEST).collect::<String>();
    let mark = match &state {
        State::Own | State::By(_) => "good",
        State::OwnOut | State::OutBy(_) => "warn",
        State::Unnamed | State::NoPart => "calm",
    };
    let remark = match counts.licences.get(item.name()).filter(|_| item.kind == Kind::Licences) {
        Some((all, chosen)) => format!("{chosen} of {all} users who have it are chosen"),
        None => item.remark(),
    };
    html! { li {
        label {
            input id={ "row-" (n) } type="checkbox" name="tick" value=(rule) checked[state.is_in()] data-stay; " " (short(item.name()))
            @if !item.title().is_empty() && item.title() != item.name() { " " span.quiet { (short(item.title())) } }
            @if !remark.is_empty() { " " span.quiet { "(" (remark) ")" } }
        }
        " " span class={ "state " (mark) } { (short(&state.words())) }
        input type="hidden" name="shown" value={ (u8::from(state.is_in())) (rule) };
    } }
}
