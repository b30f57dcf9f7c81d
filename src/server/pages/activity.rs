//! The audit log: an account's, and for administrators the whole of it, with a look whether it was tampered with.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;

use super::{Answer, Chrome, Page, Place, Query, job, page, words};
use crate::server::audit::{Entry, Verified};
use crate::server::auth::{Actor, Right};
use crate::server::db::{Account, Before, Job};
use crate::server::id::Id;
use crate::server::state::Server;
use crate::server::web::At;

const MOST: i64 = 100;

/// The longest detail of an entry that is shown, in characters; the export has all of it.
const LONGEST: usize = 200;

/// Which page.
#[derive(Debug, Deserialize)]
pub(super) struct Which {
    before: Option<i64>,
    /// Of jobs, which share times.
    id: Option<Id>,
    /// `jobs`: what was done in the background, in place of who did what.
    #[serde(default)]
    of: String,
}

/// The page of an account.
pub(super) async fn show(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At(account): At<Id>,
    Query(which): Query<Which>,
) -> Answer {
    let account = server.db.account(&account).await?;
    if which.of == "jobs" {
        return jobs(&server, &actor, &account, &Before::of(which.before, which.id)).await;
    }
    let all = server.db.audit(Some(&account.id), which.before.unwrap_or(i64::MAX), MOST).await?;
    let chrome = Chrome { actor: &actor, account: Some(&account), place: Place::Activity };
    let body = html! {
        h1 { "Activity" }
        (tabs("log"))
        p.quiet { "Who did what. Each entry is chained to the one before it by its hash, so that a change shows. The numbers run over all accounts: those that are left out here are others'." }
        @if actor.may(Right::Server, None) { (verification()) }
        (entries(&all, None))
        (export(&format!("/api/v1/accounts/{}/audit", account.id), which.before))
    };
    Ok(Page(page("Activity", chrome, &body)).into_response())
}

/// The two parts of an account's page.
fn tabs(here: &str) -> Markup {
    html! {
        nav.tabs aria-label="Parts of the activity" { ul {
            @for (of, label) in [("log", "Log"), ("jobs", "Jobs")] {
                li { a href={ "?of=" (of) } aria-current=[(of == here).then_some("page")] { (label) } }
            }
        } }
    }
}

/// What was done in the background, the newest first.
async fn jobs(server: &Server, actor: &Actor, account: &Account, before: &Before) -> Answer {
    let all = server.db.jobs(&account.id, before, MOST).await?;
    let (sets, places) = (server.db.sets(&account.id).await?, server.db.repositories(&account.id).await?);
    let about = |job: &Job| {
        let set = sets.iter().find(|set| Some(&set.id) == job.set.as_ref()).map(|set| set.name.as_str());
        let place = || places.iter().find(|row| Some(&row.id) == job.repository.as_ref()).map(|row| row.name.as_str());
        set.or_else(place).unwrap_or_default().to_owned()
    };
    let chrome = Chrome { actor, account: Some(account), place: Place::Activity };
    let body = html! {
        h1 { "Activity" }
        (tabs("jobs"))
        @if all.is_empty() { p.empty { "No job was asked for yet." } } @else {
            div.scroll tabindex="0" { table {
                thead { tr {
                    th scope="col" { "Asked for" } th scope="col" { "Job" } th scope="col" { "About" } th scope="col" { "By" }
                    th scope="col" { "State" } th.number scope="col" { "Took" }
                } }
                tbody { @for job in &all { tr {
                    td { (words::time(job.created_us)) }
                    th scope="row" { a href={ "/a/" (account.id) "/jobs/" (job.id) } { (job::title(job.kind)) } }
                    td { (about(job)) } td { (job.asked_by) } td { (job::badge(job.state)) }
                    td.number { @if let Some((began, ended)) = job.started_us.zip(job.ended_us) { (words::duration(ended - began)) } }
                } } }
            } }
            @if let Some(last) = all.last().filter(|_| all.len() as i64 == MOST) {
                p { a.button.plain href={ "?of=jobs&before=" (last.created_us) "&id=" (last.id) } { "Earlier" } }
            }
        }
    };
    Ok(Page(page("Activity", chrome, &body)).into_response())
}

/// The page of the whole log.
pub(super) async fn show_all(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    Query(which): Query<Which>,
) -> Answer {
    Ok(Page(whole(&server, &actor, which.before, None).await?).into_response())
}

/// Looks through the whole log; says what it found.
pub(super) async fn verify(State(server): State<Arc<Server>>, Extension(actor): Extension<Actor>) -> Answer {
    let found = server.db.verify_audit().await?;
    Ok(Page(whole(&server, &actor, None, Some(&found)).await?).into_response())
}

async fn whole(server: &Server, actor: &Actor, before: Option<i64>, found: Option<&Verified>) -> crate::Result<Markup> {
    let all = server.db.audit(None, before.unwrap_or(i64::MAX), MOST).await?;
    let accounts = server.db.accounts().await?;
    let body = html! {
        h1 { "All activity" }
        p.quiet { "Who did what, in all accounts and at the server itself. Each entry is chained to the one before it by its hash." }
        @match found {
            Some(Verified::Whole { entries, last }) => {
                section.notice.good role="status" {
                    p { "The log is whole: " (words::count(usize::try_from(*entries).unwrap_or(usize::MAX), "entry")) ", each chained to the one before. The hash of the last, to be kept elsewhere:" }
                    p { code.key { (last) } }
                }
            }
            Some(Verified::Broken { number }) => {
                p.notice.bad role="alert" { "Entry " (number) " is not as it was written, or the one before it is missing: somebody changed the log in the database." }
            }
            None => {}
        }
        (verification())
        (entries(&all, Some(&accounts)))
        (export("/api/v1/audit", before))
    };
    Ok(page("All activity", Chrome { actor, account: None, place: Place::AllActivity }, &body))
}

/// Looks through the whole log: that of all accounts is one chain.
fn verification() -> Markup {
    html! { form.actions method="post" action="/activity/verification" { button.plain type="submit" { "Verify the log" } } }
}

/// What the page shows and what came before it, with the hashes, as a file.
fn export(path: &str, before: Option<i64>) -> Markup {
    let (from, name) = match before {
        Some(before) => (format!("&before={before}"), format!("audit-before-{before}.json")),
        None => (String::new(), "audit.json".to_owned()),
    };
    html! {
        p { a href={ (path) "?most=1000" (from) } download=(name) { "Download 1,000 entries from here back (JSON)" } }
    }
}

/// What else an entry says, cut where it is long.
fn detail(entry: &Entry) -> Markup {
    let cut = entry.detail.char_indices().nth(LONGEST).map(|(at, _)| at);
    let shown = cut.and_then(|at| entry.detail.get(..at)).unwrap_or(&entry.detail);
    html! { @if !matches!(shown, "{}" | "null" | "") { code { (shown) @if cut.is_some() { "…" } } } }
}

/// The ways to the job and the restore that an entry names.
fn ways(entry: &Entry) -> Markup {
    let detail: Value = serde_json::from_str(&entry.detail).unwrap_or_default();
    let named = |name: &str| detail.get(name).and_then(Value::as_str).and_then(|id| Id::parse(id).ok());
    html! { @if let Some(account) = &entry.account {
        @for (name, path, label) in [("job", "jobs", "To the job"), ("restore", "restores", "To the restore")] {
            @if let Some(id) = named(name) {
                " " a href={ "/a/" (account) "/" (path) "/" (id) } aria-label={ (label) " of entry " (entry.number) } { (label) }
            }
        }
    } }
}

/// With the accounts where entries are of several.
fn entries(all: &[Entry], accounts: Option<&[Account]>) -> Markup {
    let name = |id: &Option<String>| {
        let account = accounts?.iter().find(|account| Some(account.id.as_str()) == id.as_deref());
        account.map(|account| account.name.clone()).or_else(|| id.clone())
    };
    html! {
        @if all.is_empty() { p.empty { "Nothing has been done yet." } } @else {
            div.scroll tabindex="0" { table {
                thead { tr {
                    th.number scope="col" { "No." } th scope="col" { "When" }
                    @if accounts.is_some() { th scope="col" { "Account" } }
                    th scope="col" { "Who" } th scope="col" { "From" } th scope="col" { "What" } th scope="col" { "To what" } th scope="col" { "In detail" }
                } }
                tbody { @for entry in all { tr {
                    td.number { (entry.number) } td { (words::time(entry.at_us)) }
                    @if accounts.is_some() { td { @match name(&entry.account) { Some(name) => (name), None => span.quiet { "the server" } } } }
                    td { (entry.actor) } td { (entry.address) }
                    td.word { code { (entry.action) } } td { (entry.object) (ways(entry)) } td.detail { (detail(entry)) }
                } } }
            } }
            @if let Some(last) = all.last().filter(|_| all.len() as i64 == MOST) {
                p { a.button.plain href={ "?before=" (last.number) } { "Earlier" } }
            }
        }
    }
}
