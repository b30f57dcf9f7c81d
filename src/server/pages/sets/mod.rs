//! Backup sets: what is protected, when, how long. A new one is made in five steps ([`wizard`]), and changed by the same five as
//! tabs ([`tabs`]).

mod choose;
mod connect;
mod desk;
mod fields;
mod key;
mod place;
mod steps;
pub(super) mod tabs;
mod tree;
mod when;
pub(super) mod wizard;

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use maud::{Markup, html};

use super::part::{Part, Which};
use super::{Answer, Chrome, Page, Place, Query, go, job, page, words};
use crate::server::auth::{Actor, Right};
use crate::server::db::{Before, SetRow};
use crate::server::deeds::sets;
use crate::server::id::Id;
use crate::server::schedule;
use crate::server::state::Server;
use crate::server::web::At;

pub(super) use wizard::way_back;

/// Sets on a page.
const MOST: usize = 100;

/// The page.
pub(super) async fn list(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At(account): At<Id>,
    Query(which): Query<Which>,
) -> Answer {
    let account = server.db.account(&account).await?;
    let (all, tenants) = (server.db.sets(&account.id).await?, server.db.tenants(&account.id).await?);
    let (timings, snapshots) = (server.db.timings(&account.id).await?, server.db.last_snapshots(&account.id).await?);
    // Of a run that is no longer kept only the end is known.
    let last_snapshot = |set: &SetRow| snapshots.get(&set.id).copied().or(set.last_good_us);
    let by_schedule = |set: &SetRow| set.enabled && timings.get(&set.id).is_some_and(|all| !all.is_empty());
    let chrome = Chrome { actor: &actor, account: Some(&account), place: Place::Sets };
    let may_change = actor.may(Right::Change, Some(&account.id));
    let part = Part::of(&all, &which, MOST, "backup set", |set| &set.name);
    let body = html! {
        h1 { "Backup sets" }
        @if may_change { (way_back(&server, &actor, &account.id).await?) }
        @if all.is_empty() {
            p.empty { "There is no backup set yet. It says what of a tenant is protected, when it is read, and how long snapshots are kept." }
        } @else {
            (part.finder())
            div.scroll tabindex="0" { table {
                thead { tr { th scope="col" { "Backup set" } th scope="col" { "Last run" } th scope="col" { "Last snapshot" } th scope="col" { "Runs" } th scope="col" { "Tenant" } } }
                tbody { @for set in &part.shown { tr {
                    th scope="row" { a href={ "/a/" (account.id) "/sets/" (set.id) } { (set.name) } }
                    td { (last(set)) }
                    td { @if let Some(at) = last_snapshot(set) { (words::time(at)) } @else { span.quiet { "never" } } }
                    td { @if by_schedule(set) { "on schedule" } @else { span.state.calm { "only when asked" } } }
                    td { @if let Some(tenant) = tenants.iter().find(|tenant| tenant.id == set.tenant) { (tenant.name) } }
                } } }
            } }
            (part.ways())
        }
        @if may_change { p { a.button href={ "/a/" (account.id) "/sets/new" } { "New backup set" } } }
    };
    Ok(Page(page("Backup sets", chrome, &body)).into_response())
}

fn last(set: &SetRow) -> Markup {
    html! {
        @match (&set.last_state, set.last_us) {
            (Some(state), Some(at)) => { (job::outcome(state)) " " (words::time(at)) }
            _ => { span.quiet { "never" } }
        }
    }
}

/// The page of one.
pub(super) async fn show(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, set)): At<(Id, Id)>,
) -> Answer {
    let account = server.db.account(&account).await?;
    let set = server.db.backup_set(&account.id, &set).await?;
    let schedules = server.db.schedules(&set.id).await?;
    let runs = server.db.runs(&account.id, Some(&set.id), &Before::NOTHING, 30).await?;
    let tenant = server.db.tenant(&account.id, &set.tenant).await?;
    let repository = server.db.repository(&account.id, &set.repository).await?;
    let open = server.db.open_jobs(&account.id).await?;
    let runner = match &set.client {
        Some(client) => Some(server.db.client(&account.id, client).await?),
        None => None,
    };
    let failed = runs.first().filter(|run| run.outcome == "failed");
    let failure = failed.and_then(|run| run.error.as_ref().map(|error| (run, error)));
    let chrome = Chrome { actor: &actor, account: Some(&account), place: Place::Sets };
    let here = format!("/a/{}/sets/{}", account.id, set.id);
    let body = html! {
        h1 { (set.name) }
        p { "Tenant " a href={ "/a/" (account.id) "/tenants/" (tenant.id) } { (tenant.name) } ", into "
            a href={ "/a/" (account.id) "/storage/" (repository.id) } { (repository.name) } ". Last run: " (last(&set)) }
        @if let Some((run, error)) = failure {
            section.notice.bad { p { "The last run failed: " (error) @if !error.ends_with('.') { "." } }
                @if let Some(job) = &run.job { p { a href={ "/a/" (account.id) "/jobs/" (job) } { "See the run" } } }
            }
        }
        @for job in open.iter().filter(|job| job.set.as_ref() == Some(&set.id)) {
            p.notice { a href={ "/a/" (account.id) "/jobs/" (job.id) } { (job::title(job.kind)) } " " (job::badge(job.state)) }
        }
        div.actions {
            @if actor.may(Right::Run, Some(&account.id)) { form method="post" action={ (here) "/runs" } { button type="submit" { "Back up now" } } }
            @if actor.may(Right::Change, Some(&account.id)) { a.button.plain href={ (here) "/change" } { "Change" } }
        }
        h2 { "What and when" }
        dl.facts {
            div { dt { "Included" } dd { (set.choices.include.join(", ")) @if set.choices.include == ["*"] { " (everything, and what is yet to come)" } } }
            div { dt { "Left out" } dd { @if set.choices.exclude.is_empty() { "nothing" } @else { (set.choices.exclude.join(", ")) } } }
            div { dt { "Parts" } dd { @if set.choices.workloads.is_empty() { "all" } @else { (set.choices.workloads.join(", ")) } } }
            div { dt { "Of people who leave" } dd { (leavers(&set.choices.leavers)) } }
            div { dt { "Runs on" } dd { @match &runner {
                None => "the server",
                Some(client) => { "client " a href={ "/a/" (account.id) "/clients" } { (client.name) }
                    @match client.seen_us { Some(at) => { ", last seen " (words::time(at)) }, None => ", which is not enrolled yet" } }
            } } }
            @for row in &schedules {
                div { dt { "Runs" } dd { (schedule::sentence(&row.timing)) " (" (row.timing.zone) ")"
                    @if !set.enabled { ", switched off" } @else if let Some(next) = row.next_us { ", next " (words::time(next)) } } }
            }
            @if schedules.is_empty() || !set.enabled { div { dt { "Runs" } dd { "only when somebody asks" } } }
            div.wide { dt { "Kept" } dd { (when::kept(&set.choices.retention)) } }
        }
        h2 { "Runs" }
        @if runs.is_empty() { p.empty { "It has not run yet." } } @else { (job::runs(&account.id, &runs, std::slice::from_ref(&set))) }
        @if actor.may(Right::Change, Some(&account.id)) {
            details { summary { "Remove this backup set" }
                p { "Its snapshots stay in the repository. This server deletes the set with its schedules and all that it keeps of its runs: what each did, and what it could not read." }
                form method="post" action={ (here) "/removal" } { button.danger type="submit" { "Remove" } }
            }
        }
    };
    Ok(Page(page(&set.name, chrome, &body)).into_response())
}

/// What becomes of the data of people who leave, in words.
fn leavers(rule: &str) -> String {
    match rule {
        "keep" => "what they had is kept as last read".to_owned(),
        "freeze" => "what they had is kept as last read, also if they come back".to_owned(),
        other => match other.strip_prefix("drop ") {
            Some(after) => format!("what they had is dropped {after}"),
            None => other.to_owned(),
        },
    }
}

/// Backs up now.
pub(super) async fn run(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, set)): At<(Id, Id)>,
) -> Answer {
    let job = sets::run(&server, &actor, &account, &set).await?;
    Ok(go(&format!("/a/{account}/jobs/{job}")))
}

/// Removes one.
pub(super) async fn remove(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, set)): At<(Id, Id)>,
) -> Answer {
    sets::remove(&server, &actor, &account, &set).await?;
    Ok(go(&format!("/a/{account}/sets")))
}
