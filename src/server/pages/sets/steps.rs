//! The five steps of a backup set, and what stands around each: as pages of one that is being made, as tabs of one that is there.

use maud::{Markup, html};

use crate::error::{Error, Result};
use crate::server::pages::words;

/// A step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// Which tenant, under which name.
    Connect,
    /// What of it.
    Choose,
    /// When it runs, and how long snapshots are kept.
    When,
    /// Where they lie, and who runs it.
    Where,
    /// The key, and the end.
    Key,
}

impl Step {
    pub(super) const ALL: [Self; 5] = [Self::Connect, Self::Choose, Self::When, Self::Where, Self::Key];

    /// The word for it in addresses.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Choose => "choose",
            Self::When => "when",
            Self::Where => "where",
            Self::Key => "key",
        }
    }

    /// What it is about.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Connect => "Connect",
            Self::Choose => "Choose",
            Self::When => "When, how long",
            Self::Where => "Where",
            Self::Key => "Key",
        }
    }

    /// One by its word.
    ///
    /// # Errors
    /// `NotFound`.
    pub(super) fn named(word: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|step| step.word() == word);
        found.ok_or_else(|| Error::not_found("There is nothing at this address"))
    }

    /// Counted from 1.
    pub(super) fn number(self) -> usize {
        self as usize + 1
    }

    /// The one after.
    pub(super) fn next(self) -> Option<Self> {
        Self::ALL.get(self as usize + 1).copied()
    }

    /// The one before.
    pub(super) fn before(self) -> Option<Self> {
        (self as usize).checked_sub(1).and_then(|place| Self::ALL.get(place).copied())
    }

    /// The fields that are typed in it and kept. No secret is among them.
    pub(super) fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Connect => &["name", "tenant"],
            Self::Choose => {
                &["include", "exclude", "parts", "part", "skip_folders", "skip_files", "versions", "leavers"]
            }
            Self::When => &[
                "when_kind",
                "when_time",
                "when_cron",
                "zone",
                "jitter",
                "catch_up",
                "enabled",
                "keep_last",
                "keep_hourly",
                "keep_daily",
                "keep_weekly",
                "keep_monthly",
                "keep_yearly",
            ],
            Self::Where => &["repository", "client", "new_name", "new_kind", "new_url", "copy_name", "copy_url"],
            Self::Key => &[],
        }
    }
}

/// The steps, each a link once it was come to.
pub(super) fn progress(base: &str, here: Step, reached: Step) -> Markup {
    html! {
        nav.steps aria-label="Steps" { ol {
            @for step in Step::ALL {
                @let mark = if step == here { Some("step") } else { None };
                li {
                    @if step <= reached && step != here { a href={ (base) "/" (step.word()) } { (step.number()) ". " (step.label()) } }
                    @else { span aria-current=[mark] { (step.number()) ". " (step.label()) } }
                }
            }
        } }
        p.unseen { "Step " (here.number()) " of " (Step::ALL.len()) }
    }
}

/// The same as tabs.
pub(super) fn tabs(base: &str, here: Step) -> Markup {
    html! {
        nav.tabs aria-label="Parts of the backup set" { ul {
            @for step in Step::ALL { li { a href={ (base) "/" (step.word()) } aria-current=[(step == here).then_some("page")] { (step.label()) } } }
        } }
    }
}

/// An error, where something was typed.
pub(super) fn wrong(error: &Error) -> Markup {
    let (_, problem) = crate::server::error::problem(error);
    html! {
        div.notice.bad role="alert" {
            p { (problem.message) "." }
            @if let Some(hint) = &problem.hint { p.hint { (words::sentence(hint)) } }
        }
    }
}

/// The form of a step: what is typed, and the buttons. Enter presses the first button, which changes nothing; beside the key it
/// is the one that confirms it.
pub(super) fn form(step: Step, base: &str, inner: &Markup, buttons: &Markup) -> Markup {
    html! {
        form.card.wide.step method="post" action={ (base) "/" (step.word()) } novalidate data-again data-step {
            @if step != Step::Key { button.unseen #stay type="submit" name="do" value="stay" tabindex="-1" aria-hidden="true" data-inplace { "Look again" } }
            (inner)
            div.actions { (buttons) }
        }
    }
}
