//! What every page has around its contents.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::labels;
use crate::server::auth::{Actor, Right};
use crate::server::db::Account;

/// The places that the navigation leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// How things are.
    Home,
    /// Tenants.
    Tenants,
    /// Backup sets and their runs.
    Sets,
    /// What is covered.
    Coverage,
    /// What is in the snapshots.
    Look,
    /// Repositories.
    Storage,
    /// Who can open them.
    Keys,
    /// Machines that run backup sets.
    Clients,
    /// People.
    People,
    /// The audit log.
    Activity,
    /// Who is told of what.
    Notices,
    /// All accounts.
    Accounts,
    /// People who look after the server.
    Administrators,
    /// The whole audit log.
    AllActivity,
    /// Settings of the server.
    Settings,
    /// The person who looks.
    Me,
    /// Nowhere: what was asked for could not be shown.
    Nowhere,
}

impl Place {
    fn label(self) -> &'static str {
        match self {
            Self::Home => "Home",
            Self::Tenants => "Tenants",
            Self::Sets => "Backup sets",
            Self::Coverage => "Coverage",
            Self::Look => "Find and restore",
            Self::Storage => "Storage",
            Self::Keys => "Keys",
            Self::Clients => "Clients",
            Self::People => "People",
            Self::Activity => "Activity",
            Self::AllActivity => "All activity",
            Self::Notices => "Reports and notices",
            Self::Accounts => "Accounts",
            Self::Administrators => "Administrators",
            Self::Settings => "Settings",
            Self::Me => "Your sign-in",
            Self::Nowhere => "",
        }
    }

    /// Those of an account: where they are, and the right that they need.
    const OF_ACCOUNT: &[(Self, &'static str, Right)] = &[
        (Self::Home, "", Right::See),
        (Self::Sets, "/sets", Right::See),
        (Self::Coverage, "/coverage", Right::See),
        (Self::Look, "/look", Right::Restore),
        (Self::Tenants, "/tenants", Right::See),
        (Self::Storage, "/storage", Right::See),
        (Self::Keys, "/keys", Right::See),
        (Self::Clients, "/clients", Right::See),
        (Self::People, "/people", Right::See),
        (Self::Notices, "/notices", Right::See),
        (Self::Activity, "/activity", Right::Audit),
    ];
}

/// What stands around a page: who looks, and at which account.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chrome<'a> {
    /// Who looks.
    pub(crate) actor: &'a Actor,
    /// The account that the page is about; none: the server.
    pub(crate) account: Option<&'a Account>,
    /// Where in the navigation it is.
    pub(crate) place: Place,
}

fn head(title: &str) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            title { (title) " · Tenantvault" }
            link rel="icon" href="/assets/icon.svg" type="image/svg+xml";
            link rel="stylesheet" href="/assets/style.css";
            script src="/assets/script.js" defer {}
        }
    }
}

/// A page without navigation: signing in, and errors where nobody knows who looks.
pub(crate) fn bare(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(title))
            body.bare {
                header { a.brand href="/" { "Tenantvault" } }
                main #main { (PreEscaped(labels::named(&body.0))) }
            }
        }
    }
}

/// A page with its navigation.
pub(crate) fn page(title: &str, chrome: Chrome<'_>, body: &Markup) -> Markup {
    let Chrome { actor, account, place } = chrome;
    let link = |to: Place, href: String| {
        html! {
            li { a href=(href) aria-current=[(to == place).then_some("page")] { (to.label()) } }
        }
    };
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(title))
            body {
                a.skip href="#main" { "To the contents" }
                header.top {
                    a.brand href="/" { "Tenantvault" }
                    @if let Some(account) = account { span.account { (account.name) } }
                    details.who {
                        summary { (actor.login) }
                        div {
                            p.quiet { "Role: " (actor.role.word()) ". " (actor.role.sentence()) "." }
                            form method="post" action="/sign-out" { button.plain type="submit" { "Sign out" } }
                        }
                    }
                }
                nav aria-label="Main" {
                    ul {
                        @if let Some(account) = account {
                            @for &(to, path, right) in Place::OF_ACCOUNT {
                                @if actor.may(right, Some(&account.id)) { (link(to, format!("/a/{}{path}", account.id))) }
                            }
                        }
                        @if actor.may(Right::Server, None) { (link(Place::Accounts, "/accounts".into())) (link(Place::Administrators, "/administrators".into())) (link(Place::AllActivity, "/activity".into())) (link(Place::Settings, "/settings".into())) }
                        (link(Place::Me, "/me".into()))
                    }
                }
                main #main { (PreEscaped(labels::named(&body.0))) }
            }
        }
    }
}
