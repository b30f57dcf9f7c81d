//! Restores: asking, looking at the plan, running, the report, taking back.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{RawForm, State};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;

use super::basket::{field, fields};
use super::look::{Tab, bar, opened};
use super::{Answer, Chrome, Page, Place, Query, encode, go, job, page, part, words};
use crate::error::{Error, ErrorKind, Result};
use crate::ops::restore::Known;
use crate::server::api::restores::action;
use crate::server::auth::{Actor, Right};
use crate::server::db::{Asking, Before, RestoreRow, Tenant};
use crate::server::deeds::restore::{self, OnConflict, RestoreWanted, Stage, Standing, StepTold, Which};
use crate::server::id::Id;
use crate::server::state::Server;
use crate::server::web::{OfAccount, OfRepository, OfRestore};

/// Restores of a page.
const MOST: i64 = 100;
/// Steps of a page.
const PAGE: usize = 200;
/// Letters of a path in the list.
const MOST_LETTERS: usize = 60;
/// Paths that a page puts into the basket again.
const MOST_AGAIN: usize = 100;

/// How a restore stands, as a mark.
fn badge(standing: &Standing) -> Markup {
    let (class, word) = match standing.stage() {
        Stage::Planning => ("calm", "planning"),
        Stage::NotPlanned => ("bad", "planning failed"),
        Stage::Planned => ("warn", "waits to be started"),
        Stage::Gaps if standing.made_nothing => ("bad", "nothing came back"),
        Stage::Running => ("calm", "running"),
        Stage::Done => ("good", "done"),
        Stage::Gaps => ("warn", "done in part"),
        Stage::Halted => ("warn", "stopped on the way"),
        Stage::TakingBack => ("calm", "being taken back"),
        Stage::TakenBack => ("good", "taken back"),
        Stage::TakenBackInPart => ("warn", "taken back in part"),
    };
    html! { span class={ "state " (class) } { (word) } }
}

/// The way back from a page of restores.
fn way_back(account: &Id, may: bool, row: Option<&RestoreRow>) -> Markup {
    html! {
        nav.crumbs aria-label="Path" { ol {
            @if may { li { a href={ "/a/" (account) "/look" } { "Find and restore" } } }
            @match row {
                None => { li { span aria-current="page" { "Restores" } } }
                Some(row) => {
                    li { a href={ "/a/" (account) "/restores" } { "Restores" } }
                    li { span aria-current="page" { (words::time(row.created_us)) } }
                }
            }
        } }
    }
}

/// Which part of the list.
#[derive(Debug, Deserialize)]
pub(super) struct Earlier {
    before: Option<i64>,
    id: Option<Id>,
}

/// The page: restores so far.
pub(super) async fn list(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    OfAccount(account): OfAccount,
    Query(which): Query<Earlier>,
) -> Answer {
    let chrome = Chrome { actor: &actor, account: Some(&account), place: Place::Look };
    let tenants = server.db.tenants(&account.id).await?;
    let may = actor.may(Right::Restore, Some(&account.id));
    let mut all = Vec::new();
    for row in server.db.restores(&account.id, &Before::of(which.before, which.id), MOST).await? {
        // Names are for those who may restore. What does not open is told on the restore's own page.
        let asking = row.asking(&server.vault).ok().filter(|_| may);
        all.push((restore::standing(&server, row).await?, asking));
    }
    let body = html! {
        (way_back(&account.id, may, None))
        h1 { "Restores" }
        @if all.is_empty() && which.before.is_some() { p.empty { "There is no earlier restore." } }
        @else if all.is_empty() {
            p.empty { "Nothing was restored yet. To restore something, find it in the snapshots and put it into the basket." }
            @if may { p { a.button href={ "/a/" (account.id) "/look" } { "Find something" } } }
        } @else {
            div.scroll tabindex="0" { table {
                thead { tr {
                    th scope="col" { "Asked for" } th scope="col" { "State" } @if may { th scope="col" { "What" } }
                    th scope="col" { "To" } th scope="col" { "By" } th.number scope="col" { "Restored" }
                } }
                tbody { @for (one, asking) in &all { tr {
                    th scope="row" { a href={ "/a/" (account.id) "/restores/" (one.row.id) } { (words::time(one.row.created_us)) } }
                    td { (badge(one)) }
                    @if may { td.long { @if let Some(asking) = asking { (what(asking)) } } }
                    td { (name(&tenants, &one.row)) @if let Some(to) = asking.as_ref().map(|asking| &asking.to).filter(|to| *to != "original") { ": " (to) } }
                    td { (one.row.asked_by) }
                    td.number { (items(one)) }
                } } }
            } }
            @if let Some((last, _)) = all.last().filter(|_| all.len() as i64 == MOST) {
                p { a.button.plain href={ "?before=" (last.row.created_us) "&id=" (last.row.id) } { "Earlier" } }
            }
        }
    };
    Ok(Page(page("Restores", chrome, &body)).into_response())
}

fn name<'a>(tenants: &'a [Tenant], row: &RestoreRow) -> &'a str {
    tenants.iter().find(|tenant| tenant.id == row.tenant).map_or("a tenant that is gone", |tenant| &tenant.name)
}

fn count(counts: Option<&Value>, name: &str) -> i64 {
    counts.and_then(|all| all.get("counts")).and_then(|all| all.get(name)).and_then(Value::as_i64).unwrap_or(0)
}

/// Steps of a plan that make or overwrite something.
fn planned(standing: &Standing) -> i64 {
    ["create", "overwrite"].map(|name| count(standing.row.counts.as_ref(), name)).iter().sum()
}

/// How many items came back and are there; before it ran, how many are to.
fn items(standing: &Standing) -> Markup {
    html! { @match (standing.stage(), standing.made()) {
        (Stage::Planning | Stage::NotPlanned, _) => { "–" }
        (Stage::Planned | Stage::Running, _) => { (words::number(planned(standing))) " planned" }
        (Stage::TakenBack, _) => { "0" }
        (Stage::TakingBack | Stage::TakenBackInPart, Some(made)) => { "up to " (words::number(made)) }
        (_, Some(made)) => { (words::number(made)) }
        (_, None) => { "not known" }
    } }
}

/// What was asked for, in few words: the end of the first path says most.
fn what(asking: &Asking) -> String {
    let first = asking.paths.first().map_or("", String::as_str);
    let text = if first.is_empty() { "All of a snapshot".to_owned() } else { words::end_of_path(first, MOST_LETTERS) };
    match asking.paths.len() {
        0 | 1 => text,
        many => format!("{text} and {} more", many - 1),
    }
}

/// The page that asks how to restore what is in the basket.
pub(super) async fn ask(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    OfRepository { account, row }: OfRepository,
    Query(which): Query<part::Which>,
) -> Answer {
    let chrome = Chrome { actor: &actor, account: Some(&account), place: Place::Look };
    let here = format!("/a/{}/look/{}", account.id, row.id);
    let browser = match opened(&server, chrome, &row, &format!("{here}/restore")).await? {
        Ok(browser) => browser,
        Err(locked) => return Ok(*locked),
    };
    let snapshots = browser.snapshots().await;
    let items = server.baskets.of(&actor, &row.id);
    let tenants = server.db.tenants(&account.id).await?;
    let body = html! {
        (bar(&server, &actor, &account, &row, Tab::Basket))
        h1 { "Restore" }
        @if items.is_empty() {
            p.empty { "The basket is empty: put into it what you want to restore." }
            p { a.button href=(here) { "Find something" } }
        } @else {
            p { (words::count(items.len(), "thing")) " from the " a href={ (here) "/basket" } { "basket" } ". Nothing is written before you have seen the plan." }
            ul.plain {
                @for item in items.iter().take(10) { li {
                    @if item.path.is_empty() { "All of a snapshot" } @else { (item.path) }
                    @if let Some((.., us)) = snapshots.iter().find(|(id, ..)| *id == item.snapshot) { span.quiet { ", as of " (words::time(*us)) } }
                } }
                @if items.len() > 10 { li.quiet { "and " (items.len() - 10) " more" } }
            }
            @let narrower = part::narrower("q", &which.q, tenants.len());
            @if !narrower.0.is_empty() { form.card method="get" { p { "To another tenant:" } (narrower) } }
            @let others = if tenants.len() > 1 { part::offered(&tenants, &which.q, |tenant| &tenant.name, |_| false) } else { Vec::new() };
            (choices(&here, &others))
        }
    };
    Ok(Page(page("Restore", chrome, &body)).into_response())
}

fn radio(name: &str, value: &str, text: &str, checked: bool) -> Markup {
    html! { label { input type="radio" name=(name) value=(value) checked[checked]; " " (text) } }
}

fn choices(here: &str, tenants: &[&Tenant]) -> Markup {
    html! {
        form.card.wide method="post" action={ (here) "/restore" } {
            fieldset { legend { "To whom" }
                @if !tenants.is_empty() {
                    label for="tenant" { "Tenant" }
                    select #tenant name="tenant" {
                        option value="" { "The one that it came from" }
                        @for tenant in tenants { option value=(tenant.id) { (tenant.name) } }
                    }
                }
                (radio("to", "original", "The original owner", true))
                (radio("to", "other", "Somebody else:", false))
                label for="who" { "A user's address, a site's https:// address, or a team's name" }
                input #who name="who" maxlength="4096" placeholder="bob@contoso.com" spellcheck="false";
            }
            fieldset { legend { "Where" }
                (radio("place", "folder", "Into a folder of its own, so that nothing is mixed", true))
                label for="folder" { "Name of the folder " span.quiet { "(left empty: Restored, and the time)" } }
                input #folder name="folder" maxlength="200";
                (radio("place", "in-place", "Where it was", false))
            }
            fieldset { legend { "If something is there already" }
                (radio("conflict", "skip", "Keep it, and leave out the backup's copy", true))
                (radio("conflict", "copy", "Keep both", false))
                (radio("conflict", "newer", "Overwrite it if the backup's copy is newer", false))
                (radio("conflict", "replace", "Overwrite it", false))
            }
            fieldset { legend { "Which items" }
                (radio("only", "all", "All that was picked", true))
                (radio("only", "deleted", "Only what is gone from the tenant", false))
                (radio("only", "changed", "Only what is different there now", false))
            }
            details { summary { "For files, restore also" }
                label { input type="checkbox" name="permissions" value="1"; " who may see them" }
                label { input type="checkbox" name="links" value="1"; " new sharing links in place of the old ones" }
                label { input type="checkbox" name="versions" value="1"; " earlier versions" }
            }
            button type="submit" { "Make the plan" }
        }
    }
}

/// What the form says.
fn wanted(fields: &[(String, String)], snapshot: String, paths: Vec<String>) -> Result<RestoreWanted> {
    let has = |name: &str| !field(fields, name).is_empty();
    let to = match (field(fields, "to"), field(fields, "who").trim()) {
        ("other", "") => {
            return Err(
                Error::invalid("You chose 'Somebody else', and named nobody").with_hint("Enter an address or a name")
            );
        }
        ("other", who) => who.to_owned(),
        _ => "original".to_owned(),
    };
    let tenant = field(fields, "tenant");
    Ok(RestoreWanted {
        snapshot,
        paths,
        tenant: if tenant.is_empty() { None } else { Some(Id::parse(tenant)?) },
        to,
        in_place: field(fields, "place") == "in-place",
        folder: Some(field(fields, "folder").to_owned()),
        conflict: match field(fields, "conflict") {
            "copy" => OnConflict::Copy,
            "newer" => OnConflict::Newer,
            "replace" => OnConflict::Replace,
            _ => OnConflict::Skip,
        },
        only: match field(fields, "only") {
            "deleted" => Which::Deleted,
            "changed" => Which::Changed,
            _ => Which::All,
        },
        permissions: has("permissions"),
        links: has("links"),
        versions: has("versions"),
    })
}

/// Asks for the plans: one for each snapshot of which something is in the basket.
pub(super) async fn make(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    OfRepository { account, row }: OfRepository,
    form: RawForm,
) -> Answer {
    let fields = fields(&form);
    let mut snapshots: Vec<(String, Vec<String>)> = Vec::new();
    for item in server.baskets.of(&actor, &row.id) {
        let snapshot = item.snapshot.to_string();
        match snapshots.iter_mut().find(|(known, _)| *known == snapshot) {
            Some((_, paths)) => paths.push(item.path),
            None => snapshots.push((snapshot, vec![item.path])),
        }
    }
    if snapshots.is_empty() {
        return Err(Error::invalid("The basket is empty").with_hint("Put into it what you want to restore").into());
    }
    let mut made = Vec::new();
    for (snapshot, paths) in snapshots {
        made.push(restore::ask(&server, &actor, &row, &wanted(&fields, snapshot, paths)?).await?.row.id);
    }
    server.baskets.empty(&actor, &row.id);
    Ok(match made.as_slice() {
        [only] => go(&format!("/a/{}/restores/{only}", account.id)),
        _ => go(&format!("/a/{}/restores", account.id)),
    })
}

/// Which steps.
#[derive(Debug, Deserialize)]
pub(super) struct Steps {
    #[serde(default)]
    from: usize,
}

/// The page of one.
pub(super) async fn show(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    OfRestore { account, restore: row }: OfRestore,
    Query(at): Query<Steps>,
) -> Answer {
    let chrome = Chrome { actor: &actor, account: Some(&account), place: Place::Look };
    let standing = restore::standing(&server, row).await?;
    let (row, stage, now) = (&standing.row, standing.stage(), standing.job());
    let may = actor.may(Right::Restore, Some(&account.id));
    let here = format!("/a/{}/restores/{}", account.id, row.id);
    let tenants = server.db.tenants(&account.id).await?;
    let asking = row.asking(&server.vault)?;
    let under_way = !now.state.has_ended();
    let events = under_way.then(|| format!("/api/v1/accounts/{}/jobs/{}/events", account.id, now.id));
    let steps = if may && row.run.is_some() { restore::steps(&server, row, at.from, PAGE).await? } else { Vec::new() };
    let head = if may { row.head(&server.vault)? } else { None };
    // It may be gone since.
    let from = server.db.repository(&account.id, &row.repository).await.ok();
    let body = html! {
        (way_back(&account.id, may, Some(row)))
        h1 { "Restore to " (name(&tenants, row)) }
        p { (badge(&standing)) }
        dl.facts {
            div { dt { "Asked for" } dd { (words::time(row.created_us)) ", by " (row.asked_by) } }
            @if let Some(from) = &from {
                div { dt { "From the snapshots in" } dd { @if may { a href={ "/a/" (account.id) "/look/" (from.id) } { (from.name) } } @else { (from.name) } } }
            }
            // Names are for those who may restore.
            div { dt { "To" } dd { @if asking.to == "original" { "the original owner" } @else if may { (asking.to) } @else { "somebody else" } } }
            @if may { div { dt { "How" } dd { (words::sentence(&asking.sentence())) } } }
        }
        div #job data-events=[events] {
            @if under_way {
                (job::progress(now))
                p.quiet { "The job keeps a sealed copy of the key until it ends." }
            }
            @if let Some(error) = &now.error { p.notice.bad role="alert" { (error) } }
        }
        @if under_way && may { form method="post" action={ (here) "/stop" } { button.danger type="submit" { "Stop" } " " span.quiet { "What is done stays, and can be taken back." } } }
        @if matches!(stage, Stage::Planned | Stage::Running) { (plan(&standing, head.as_ref())) }
        @if stage != Stage::Planned && !under_way { (report(&standing, may)) }
        @if may { (deeds(&here, &standing)) }
        @if may && from.is_some() { (again(&standing, &asking)) }
        @if !steps.is_empty() { (table(&here, at.from, &steps, &standing)) }
    };
    Ok(Page(page("Restore", chrome, &body)).into_response())
}

fn count_of_steps(row: &RestoreRow) -> usize {
    let many = row.counts.as_ref().and_then(|counts| counts.get("steps")).and_then(Value::as_u64);
    usize::try_from(many.unwrap_or(0)).unwrap_or(usize::MAX)
}

fn deeds(here: &str, standing: &Standing) -> Markup {
    let (stage, can_undo) = (standing.stage(), standing.can_undo());
    let run = match stage {
        Stage::Planned => "Restore now",
        Stage::Gaps => "Try again what is missing",
        _ => "Go on with it",
    };
    html! {
        @if can_undo { p.quiet { "What is taken back is deleted from the tenant, and what was overwritten gets its old contents. What somebody changed since stays." } }
        @if can_undo || standing.can_run() { div.actions {
            @if standing.can_run() { form method="post" action={ (here) "/run" } { button type="submit" { (run) } } }
            @if can_undo { form method="post" action={ (here) "/undo" } {
                button.danger type="submit" { @if stage == Stage::TakenBackInPart { "Take back what is left" } @else { "Take it back" } }
            } }
        } }
    }
}

/// Before anything ran: puts what was asked for into the basket again, from where the choices are made.
fn again(standing: &Standing, asking: &Asking) -> Markup {
    let row = &standing.row;
    let text = match standing.stage() {
        Stage::NotPlanned => "Plan it again",
        Stage::Planned => "Change the choices",
        _ => return html! {},
    };
    html! { @if asking.paths.len() <= MOST_AGAIN {
        form method="post" action={ "/a/" (row.account) "/look/" (row.repository) "/basket" } {
            input type="hidden" name="then" value="restore";
            @for path in &asking.paths { input type="hidden" name="item" value={ (row.snapshot) ":" (path) }; }
            button.plain type="submit" { (text) }
        }
    } }
}

/// The plan in numbers.
fn plan(standing: &Standing, head: Option<&Value>) -> Markup {
    let counts = standing.row.counts.as_ref();
    let seconds = counts.and_then(|all| all.get("seconds")).and_then(Value::as_i64).unwrap_or(0);
    let list = |name: &str| head.and_then(|head| head.get(name)).and_then(Value::as_array).cloned().unwrap_or_default();
    let text = |value: &Value, at: usize| value.get(at).and_then(Value::as_str).unwrap_or_default().to_owned();
    html! {
        h2 { "The plan" }
        dl.facts {
            @for (name, label) in [("create", "To be made"), ("overwrite", "To be overwritten"), ("skip", "To be left as it is"), ("cannot", "Cannot come back"), ("requests", "Requests")] {
                div { dt { (label) } dd data-plan=(name) { (words::number(count(counts, name))) } }
            }
            div { dt { "To be sent" } dd { (words::size(u64::try_from(count(counts, "bytes")).unwrap_or(0))) } }
            div { dt { "Takes at least" } dd { @if seconds < 1 { "less than a second" } @else { (words::duration(seconds * 1_000_000)) } " under Microsoft's limits" } }
        }
        @let targets = list("targets");
        @if !targets.is_empty() {
            h3 { "It goes to" }
            ul { @for target in &targets { li { (target.get("path").and_then(Value::as_str).unwrap_or_default()) } } }
        }
        @for (name, label) in [("refused", "Would come back, if the tenant took it"), ("left_out", "Has no way back here")] {
            @let all = list(name);
            @if !all.is_empty() {
                section.notice.warn { h3 { (label) } ul { @for one in all.iter().take(100) { li { strong { (text(one, 0)) } ": " (text(one, 1)) } } } }
            }
        }
        @if standing.stage() == Stage::Planned {
            p.quiet {
                @if let Some(us) = standing.plan.ended_us { "The plan was made " (words::time(us)) ". What changed in the tenant since is not in it. " }
                "The restore keeps a sealed copy of the key until it ends."
            }
        }
    }
}

/// What came back, what not, and why.
fn report(standing: &Standing, may: bool) -> Markup {
    // What failed as a whole did not come to tell.
    let outcome = standing.run.as_ref().and_then(|run| run.outcome.as_ref()).filter(|_| standing.made().is_some());
    let undone = standing.undo.as_ref().and_then(|undo| undo.outcome.as_ref());
    let number = |of: Option<&Value>, name: &str| of.and_then(|of| of.get(name)).and_then(Value::as_i64).unwrap_or(0);
    // What cannot come back is told as not restored when its turn comes.
    let planned = planned(standing) + count(standing.row.counts.as_ref(), "cannot");
    let tried = ["created", "overwritten", "not_restored"].map(|name| number(outcome, name)).iter().sum::<i64>();
    html! {
        @if let Some(of) = outcome {
            h2 { "What came back" }
            dl.facts {
                @for (name, label) in [("created", "Made"), ("overwritten", "Overwritten"), ("skipped", "Left as it is"), ("not_restored", "Not restored"), ("came_back_otherwise", "Of these in another form")] {
                    div { dt { (label) } dd { (words::number(number(outcome, name))) } }
                }
                @if planned > tried { div { dt { "Still to come" } dd { (words::number(planned - tried)) } } }
                div { dt { "Sent" } dd { (words::size(u64::try_from(number(outcome, "bytes")).unwrap_or(0))) } }
            }
            @if may {
                (told(of, "stopped", "Stopped here, as nothing more is taken now"))
                (told(of, "problems", "Not restored, and why"))
                (told(of, "notes", "Came back in another form"))
            }
        }
        @if let Some(of) = undone {
            h2 { "What was taken back" }
            p { (words::number(number(undone, "undone"))) " taken back, " (words::number(number(undone, "not_taken_back"))) " left as it is." }
            @if may { (told(of, "left", "Left as it is, and why")) }
        }
    }
}

fn told(outcome: &Value, name: &str, label: &str) -> Markup {
    let all = outcome.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let text = |one: &Value, name: &str| one.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    html! { @if !all.is_empty() {
        h3 { (label) }
        ul { @for one in all { li { strong { (text(one, "path")) } ": " (text(one, "message")) } } }
    } }
}

fn table(here: &str, from: usize, steps: &[StepTold], standing: &Standing) -> Markup {
    let (many, has_run) = (count_of_steps(&standing.row), standing.run.is_some());
    html! {
        h2 { "Step by step" }
        p.quiet { (from + 1) " to " (from + steps.len()) " of " (many) }
        div.scroll tabindex="0" { table {
            thead { tr { th scope="col" { "What" } th scope="col" { "Plan" } @if has_run { th scope="col" { "What came of it" } } } }
            tbody { @for told in steps { (step(told, has_run)) } }
        } }
        div.actions {
            @if from > 0 { a.button.plain href={ (here) "?from=" (from.saturating_sub(PAGE)) } { "Before" } }
            @if from + steps.len() < many { a.button.plain href={ (here) "?from=" (from + steps.len()) } { "More" } }
        }
    }
}

fn step(told: &StepTold, has_run: bool) -> Markup {
    let (word, why) = action(&told.step.action);
    let means = match word {
        "create" => "make",
        "copy" => "make a copy",
        "use" => "use what is there",
        "skip" => "leave out",
        "cannot" => "cannot come back",
        other => other,
    };
    html! { tr {
        th scope="row" { (told.step.path) }
        td { (means) @if let Some(why) = why { ": " (why) } }
        @if has_run { td.long { @match &told.known {
            None => {}
            Some(Known::Begun { .. }) => { span.state.calm { "begun" } }
            Some(Known::Done { notes, .. }) => { span.state.good { "done" } @for note in notes { " " (note) } }
            Some(Known::Failed { why, .. }) => { span.state.bad { "failed" } " " (why) }
            Some(Known::Undone) => { span.state.calm { "taken back" } }
        } } }
    } }
}

/// Runs it.
pub(super) async fn run(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    OfRestore { restore: row, .. }: OfRestore,
) -> Answer {
    let (account, id, repository) = (row.account.clone(), row.id.clone(), row.repository.clone());
    let done = restore::run(&server, &actor, row).await;
    after(&account, &id, &repository, done.map(drop))
}

/// Takes it back.
pub(super) async fn undo(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    OfRestore { restore: row, .. }: OfRestore,
) -> Answer {
    let (account, id, repository) = (row.account.clone(), row.id.clone(), row.repository.clone());
    let done = restore::undo(&server, &actor, row).await;
    after(&account, &id, &repository, done.map(drop))
}

/// Leads back to the page; by way of the key, where it is asked for.
fn after(account: &Id, id: &Id, repository: &Id, done: Result<()>) -> std::result::Result<Response, super::PageError> {
    let here = format!("/a/{account}/restores/{id}");
    match done {
        Err(e) if e.kind() == ErrorKind::WrongKey => {
            Ok(go(&format!("/a/{account}/look/{repository}/unlock?back={}", encode(&here))))
        }
        Err(e) => Err(e.into()),
        Ok(()) => Ok(go(&here)),
    }
}

/// Stops what is under way.
pub(super) async fn stop(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    OfRestore { restore: row, .. }: OfRestore,
) -> Answer {
    let here = format!("/a/{}/restores/{}", row.account, row.id);
    restore::stop(&server, &actor, row).await?;
    Ok(go(&here))
}
