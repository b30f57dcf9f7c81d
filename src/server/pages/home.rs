//! How an account stands: one sentence, what needs attention, runs of the last weeks, what is stored.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use maud::{Markup, html};

use super::{Answer, Chrome, Page, Place, account, charts, go, job, page, words};
use crate::error::Result;
use crate::server::auth::{Actor, Right};
use crate::server::db::{
    Account, Before, Day, Entitlements, Grown, Job, JobKind, Lagging, Newest, Ran, RepositoryRow, RunRow, SetRow,
    Tenant, Trouble, Used,
};
use crate::server::id::Id;
use crate::server::schedule::{self, Timing};
use crate::server::state::Server;
use crate::server::web::At;

const DAY_US: i64 = 86_400_000_000;
const WEEKS: i64 = 26;
/// Things that need attention, as far as they are named.
const MOST_ATTENTION: usize = 50;
/// Runs that are listed and summed.
const LAST_RUNS: i64 = 10;
/// Jobs that are drawn of the last day.
const MOST_LATELY: i64 = 60;
/// A secret that ends within so many days needs attention.
const SECRET_DAYS: i64 = 30;

/// Leads to where whoever signed in begins.
pub(super) async fn start(Extension(actor): Extension<Actor>) -> Answer {
    Ok(match &actor.account {
        Some(account) => go(&format!("/a/{account}")),
        None => go("/accounts"),
    })
}

/// What the page is made of.
struct Facts {
    account: Account,
    sets: Vec<SetRow>,
    timings: HashMap<Id, Vec<Timing>>,
    tenants: Vec<Tenant>,
    repositories: Vec<RepositoryRow>,
    open: Vec<Job>,
    runs: Vec<RunRow>,
    newest: Newest,
    logical: Option<i64>,
    used: Used,
    days: Vec<Day>,
    grown: Vec<Grown>,
    lately: Vec<Job>,
    ran: Ran,
    trouble: Vec<Trouble>,
    lagging: Vec<Lagging>,
    now_us: i64,
}

impl Facts {
    async fn gather(server: &Server, account: &Id) -> Result<Self> {
        let (db, now_us) = (&server.db, server.now_us());
        let logical = db.logical(account).await?;
        Ok(Self {
            account: db.account(account).await?,
            sets: db.sets(account).await?,
            timings: db.timings(account).await?,
            tenants: db.tenants(account).await?,
            repositories: db.repositories(account).await?,
            open: db.open_jobs(account).await?,
            runs: db.runs(account, None, &Before::NOTHING, LAST_RUNS).await?,
            newest: db.newest(account).await?,
            logical,
            used: db.used(Some(account)).await?.remove(account).unwrap_or_default(),
            days: db.days(account, now_us - WEEKS * 7 * DAY_US).await?,
            grown: db.growth_to(account, (now_us - WEEKS * 7 * DAY_US, now_us), logical).await?,
            lately: db.jobs(account, &Before::NOTHING, MOST_LATELY).await?,
            ran: db.ran(account, now_us - DAY_US, now_us).await?,
            trouble: db.trouble(account).await?,
            lagging: db.lagging(account).await?,
            now_us,
        })
    }

    /// What needs attention: in words, and where to go. With a next step for who may start runs.
    fn attention(&self, may_run: bool) -> Vec<(String, String)> {
        let base = format!("/a/{}", self.account.id);
        let mut all = Vec::new();
        for set in self.sets.iter().filter(|set| set.enabled) {
            let href = format!("{base}/sets/{}", set.id);
            let since = set.good_since();
            let timings = self.timings.get(&set.id).map_or(&[][..], Vec::as_slice);
            match set.last_state.as_deref() {
                _ if set.last_good_us.is_none() => {}
                Some("failed") => all.push((format!("The last run of '{}' failed", set.name), href)),
                _ if schedule::is_overdue(timings, since, self.now_us) => {
                    let text =
                        format!("'{}' has had no good run for {}", set.name, words::duration(self.now_us - since));
                    all.push((text, href));
                }
                _ => {}
            }
        }
        // Also those that only somebody's hand starts: they protect nothing yet.
        for set in self.sets.iter().filter(|set| set.last_good_us.is_none()) {
            let runs = self.open.iter().any(|job| job.kind == JobKind::Backup && job.set.as_ref() == Some(&set.id));
            let (name, href) = (&set.name, format!("{base}/sets/{}", set.id));
            let text = match set.last_state.as_deref() {
                _ if runs => format!("'{name}' has no snapshot yet: its first run goes on"),
                None if !may_run => format!("'{name}' has never run"),
                None if set.enabled => format!("'{name}' has never run: start its first run, or see when it is due"),
                None => format!("'{name}' has never run: start its first run"),
                Some("failed") => format!("'{name}' has never had a good run, the last one failed: see why"),
                Some(_) if !may_run => format!("'{name}' has never had a good run"),
                Some(_) => format!("'{name}' has never had a good run: start it again"),
            };
            all.push((text, href));
        }
        all.extend(self.jobs_that_failed());
        for what in self.used.full(self.account.limits) {
            let (text, path) = match what {
                "bytes" => ("The account stores as much as it may: no repository can be added".to_owned(), "/storage"),
                what => {
                    (format!("The account protects as many {what} as it may: no backup set can be added"), "/coverage")
                }
            };
            all.push((text, format!("{base}{path}")));
        }
        for repository in self.repositories.iter().filter(|repository| !repository.confirmed) {
            let text = format!("Nobody has typed back the key of '{}' yet", repository.name);
            all.push((text, format!("{base}/storage/{}", repository.id)));
        }
        for tenant in &self.tenants {
            let href = format!("{base}/tenants/{}", tenant.id);
            if tenant.refused.is_some() {
                all.push((format!("Tenant '{}' asks for a new sign-in", tenant.name), href.clone()));
            } else if tenant.is_of_user() && !tenant.has_secret() {
                all.push((format!("Nobody has signed in to tenant '{}' yet", tenant.name), href.clone()));
            }
            let proofs = [
                ("secret", tenant.secret_days(self.now_us)),
                ("secret for restores", tenant.restore_secret_days(self.now_us)),
            ];
            for (what, days) in proofs {
                let ends = match days {
                    Some(..0) => "has ended".to_owned(),
                    Some(days) if days < SECRET_DAYS => format!("ends in {days} days"),
                    _ => continue,
                };
                all.push((format!("The {what} of tenant '{}' {ends}", tenant.name), href.clone()));
            }
            let state: Option<serde_json::Value> =
                tenant.state.as_deref().and_then(|text| serde_json::from_str(text).ok());
            let Some(state) = state else { continue };
            if state.get("missing").and_then(serde_json::Value::as_u64).unwrap_or(0) > 0 {
                all.push((format!("Tenant '{}' lacks permissions", tenant.name), href));
            }
        }
        all
    }

    /// What went wrong last and is told of by no set that stands as failed: also runs that nobody was left to note.
    fn jobs_that_failed(&self) -> Vec<(String, String)> {
        let base = format!("/a/{}", self.account.id);
        let of_set = |id: &Option<Id>| self.sets.iter().find(|set| Some(&set.id) == id.as_ref());
        let of_place = |id: &Option<Id>| self.repositories.iter().find(|row| Some(&row.id) == id.as_ref());
        let mut all = Vec::new();
        for one in &self.trouble {
            let set = of_set(&one.set);
            // Told already, with the set.
            let told = set.is_some_and(|set| {
                set.last_state.as_deref() == Some("failed") && (set.enabled || set.last_good_us.is_none())
            });
            let place = of_place(&one.repository).map_or("", |row| row.name.as_str());
            let name = set.map_or("", |set| set.name.as_str());
            let text = match one.kind {
                JobKind::Backup if told => continue,
                JobKind::Backup => format!("The last run of '{name}' failed: see why"),
                JobKind::Retention => format!("The last retention of '{name}' failed: see why"),
                JobKind::Prune => format!("Space of '{place}' could not be given back: see why"),
                JobKind::Check if one.failed => format!("The last check of '{place}' failed: see why"),
                JobKind::Check => format!("The last check of '{place}' found damage: see what"),
                JobKind::Mirror => format!("The replicas of '{place}' could not be brought up to date: see why"),
                JobKind::Plan | JobKind::Restore | JobKind::Undo | JobKind::Export => continue,
            };
            all.push((text, format!("{base}/jobs/{}", one.job)));
        }
        for one in &self.lagging {
            let text = format!("The replica '{}' is not up to date", one.name);
            all.push((text, format!("{base}/storage/{}", one.repository)));
        }
        all
    }

    /// The next step of who has just begun.
    fn next_step(&self) -> Option<(&'static str, &'static str)> {
        if self.tenants.is_empty() {
            Some(("Connect the tenant that is to be protected", "/tenants"))
        } else if self.repositories.is_empty() {
            Some(("Make a repository: where the snapshots are to lie", "/storage"))
        } else if self.sets.is_empty() {
            Some(("Make a backup set: what is protected, and when", "/sets/new"))
        } else {
            None
        }
    }
}

/// The page.
pub(super) async fn show(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At(account): At<Id>,
) -> Answer {
    let facts = Facts::gather(&server, &account).await?;
    let chrome = Chrome { actor: &actor, account: Some(&facts.account), place: Place::Home };
    let body = html! {
        h1 { (facts.account.name) }
        (sentence(&facts, actor.may(Right::Run, Some(&facts.account.id))))
        @if let Some((text, path)) = facts.next_step().filter(|_| actor.may(Right::Change, Some(&facts.account.id))) {
            p { a.button href={ "/a/" (facts.account.id) (path) } { (text) } }
        }
        @if !facts.open.is_empty() { (open(&facts)) }
        (figures(&facts))
        (history(&facts))
    };
    Ok(Page(page("Home", chrome, &body)).into_response())
}

/// That nothing needs attention.
fn well(facts: &Facts) -> String {
    // One without a snapshot needs attention. One that was stopped has no gaps, and is not whole.
    let whole = facts.sets.iter().all(|set| set.last_state.as_deref() == Some("complete"));
    let (each, they) = match facts.sets.len() {
        1 => ("the backup set has a snapshot".to_owned(), "it"),
        all => (format!("each of {} has a snapshot", words::count(all, "backup set")), "them"),
    };
    if whole {
        format!("All is well: {each}, and nothing is missing from {they}.")
    } else {
        format!("All is well: {each}.")
    }
}

/// What the newest snapshots lack, with the way to what it is.
fn missing(facts: &Facts) -> Markup {
    let gaps = facts.newest.gaps;
    let is_newest =
        |n: usize, of: &RunRow| !facts.runs.iter().take(n).any(|run| run.set == of.set && run.outcome != "failed");
    let told = facts.runs.iter().enumerate().find(|(n, run)| run.gaps > 0 && is_newest(*n, run));
    let told = told.and_then(|(_, run)| run.job.as_ref());
    html! {
        section.notice.warn aria-labelledby="missing" {
            h2 #missing { "Not all could be read" }
            p {
                (words::count(usize::try_from(gaps).unwrap_or(usize::MAX), "thing")) @if gaps == 1 { " is" } @else { " are" }
                " missing from the newest snapshots: a thing is an item, or all of somebody's mail, a drive, a site or a chat. Each run tries again what the one before could not read."
            }
            @if let Some(job) = told { p { a href={ "/a/" (facts.account.id) "/jobs/" (job) } { "See what is missing" } } }
        }
    }
}

fn sentence(facts: &Facts, may_run: bool) -> Markup {
    let (attention, lacks) = (facts.attention(may_run), facts.newest.gaps > 0);
    html! {
        @if !attention.is_empty() {
            section.notice.warn aria-labelledby="attention" {
                h2 #attention { (attention.len()) @if attention.len() == 1 { " thing needs" } @else { " things need" } " attention" }
                ul { @for (text, href) in attention.iter().take(MOST_ATTENTION) { li { a href=(href) { (text) } } } }
                @if attention.len() > MOST_ATTENTION { p { "and " (attention.len() - MOST_ATTENTION) " more" } }
            }
        }
        @if lacks { (missing(facts)) }
        @if attention.is_empty() && !lacks {
            @if facts.sets.is_empty() { p.empty { "Nothing is protected yet." } } @else { p.notice.good { (well(facts)) } }
        }
    }
}

fn open(facts: &Facts) -> Markup {
    html! {
        h2 { "Now" }
        ul.plain {
            @for job in facts.open.iter().take(20) {
                @let set = job.set.as_ref().and_then(|id| facts.sets.iter().find(|set| set.id == *id));
                li {
                    a href={ "/a/" (facts.account.id) "/jobs/" (job.id) } {
                        (job::title(job.kind)) @if let Some(set) = set { " of " (set.name) }
                    }
                    " " (job::badge(job.state))
                }
            }
        }
    }
}

fn figures(facts: &Facts) -> Markup {
    let items = facts.newest.items;
    let stored: i64 = facts.repositories.iter().map(|repository| repository.stored_bytes).sum();
    let sum = |bytes: fn(&RunRow) -> i64| facts.runs.iter().map(bytes).fold(0_i64, i64::saturating_add);
    let (read, new, written) = (sum(|run| run.bytes_read), sum(|run| run.bytes_new), sum(|run| run.bytes_stored));
    let runs = words::count(facts.runs.len(), "run");
    html! {
        h2 { "Figures" }
        div.cards {
            div.card { h3 { "Items protected" } p.figure { (words::number(items)) } p.quiet { "in the newest snapshots" } }
            div.card { h3 { "Contents" } p.figure { @match facts.logical { Some(bytes) => (words::size(u64::try_from(bytes).unwrap_or(0))), None => "not counted yet" } } p.quiet { "of these items, before deduplication and compression" } }
            div.card { h3 { "Stored" } p.figure { (words::size(u64::try_from(stored).unwrap_or(0))) } p.quiet { "in " (words::count(facts.repositories.len(), "repository")) ", encrypted" } }
            div.card {
                h3 { "Read and written" }
                p.figure { (words::size(u64::try_from(read).unwrap_or(0))) }
                p.quiet { "in the last " (runs) "; stored of it, after deduplication and compression: " (words::size(u64::try_from(written).unwrap_or(0))) }
            }
            div.card { h3 { "Deduplication" } p.figure { (words::times(read, new)) } p.quiet { "read to new, in the last " (runs) } }
            div.card { h3 { "Compression" } p.figure { (words::times(new, written)) } p.quiet { "new to stored, in the last " (runs) } }
            div.card { h3 { "Backup sets" } p.figure { (facts.sets.len()) } p.quiet { (words::count(facts.tenants.len(), "tenant")) } }
        }
        @if facts.account.limits != Entitlements::default() {
            h3 { "Limits of the account" }
            (account::limits(facts.account.limits, facts.used))
            p.quiet { "Over a limit nothing is added; runs and restores go on. Whoever runs the server sets the limits." }
        }
    }
}

fn history(facts: &Facts) -> Markup {
    let today = facts.now_us / DAY_US;
    html! {
        @if facts.days.is_empty() && facts.lately.is_empty() {
            h2 { "History" }
            p.empty { "What ran, and what it read and stored, is drawn here once something has run." }
        } @else {
            h2 { "Runs of the last " (WEEKS) " weeks" }
            div.scroll tabindex="0" { (charts::calendar(&facts.days, today, WEEKS)) }
            p.quiet { span.state.good { "whole" } " " span.state.warn { "with gaps" } " " span.state.bad { "failed" } " " span.state.calm { "no run" } }
            h2 { "The last 24 hours" }
            div.scroll tabindex="0" { (charts::timeline(&facts.lately, facts.ran, facts.now_us)) }
            p.quiet { span.state.good { "done" } " " span.state.warn { "with gaps, stopped or missed" } " " span.state.bad { "failed" } " " span.state.calm { "running" } }
            @if !facts.grown.is_empty() {
                h2 { "Growth" }
                div.scroll tabindex="0" { (charts::growth(&facts.grown, facts.now_us, WEEKS * 7 * DAY_US)) }
                (charts::growth_key())
            }
            h2 { "Stored each day" }
            div.scroll tabindex="0" { (charts::stored(&facts.days, today, 60)) }
        }
        h2 { "Last runs" }
        @if facts.runs.is_empty() { p.empty { "No run has ended yet." } } @else {
            (job::runs(&facts.account.id, &facts.runs, &facts.sets))
        }
    }
}
