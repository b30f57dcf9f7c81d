//! A job: how far it is, and what came of it.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use maud::{Markup, html};
use serde_json::Value;

use super::{Answer, Chrome, Page, Place, go, page, words};
use crate::server::api::jobs;
use crate::server::auth::{Actor, Right};
use crate::server::db::{Job, JobKind, JobState, RepositoryRow, RunRow, SetRow};
use crate::server::id::Id;
use crate::server::state::Server;
use crate::server::web::At;

/// What a job does, in words.
pub(super) fn title(kind: JobKind) -> &'static str {
    match kind {
        JobKind::Backup => "Backup",
        JobKind::Retention => "Retention",
        JobKind::Prune => "Giving back space",
        JobKind::Check => "Check",
        JobKind::Mirror => "Replicas",
        JobKind::Plan => "Plan of a restore",
        JobKind::Restore => "Restore",
        JobKind::Undo => "Taking a restore back",
        JobKind::Export => "Download",
    }
}

/// Where in the navigation a job is.
fn place(kind: JobKind) -> Place {
    match kind {
        JobKind::Backup | JobKind::Retention => Place::Sets,
        JobKind::Prune | JobKind::Check | JobKind::Mirror => Place::Storage,
        JobKind::Plan | JobKind::Restore | JobKind::Undo | JobKind::Export => Place::Look,
    }
}

/// How a job stands, as a mark.
pub(super) fn badge(state: JobState) -> Markup {
    let (class, word) = match state {
        JobState::Queued => ("calm", "waiting"),
        JobState::Running => ("calm", "running"),
        JobState::Done => ("good", "done"),
        JobState::Gaps => ("warn", "done, with gaps"),
        JobState::Failed => ("bad", "failed"),
        JobState::Cancelled => ("warn", "stopped"),
        JobState::Missed => ("warn", "missed"),
    };
    html! { span class={ "state " (class) } { (word) } }
}

/// How a run ended, as a mark.
pub(super) fn outcome(word: &str) -> Markup {
    let (class, word) = match word {
        "complete" => ("good", "whole"),
        "gaps" => ("warn", "with gaps"),
        "failed" => ("bad", "failed"),
        other => ("warn", other),
    };
    html! { span class={ "state " (class) } { (word) } }
}

/// A table of runs; of several sets with their names.
pub(super) fn runs(account: &Id, runs: &[RunRow], sets: &[SetRow]) -> Markup {
    let named = sets.len() > 1;
    html! {
        div.scroll tabindex="0" { table {
            thead { tr {
                th scope="col" { "Began" } th scope="col" { "Ended" } @if named { th scope="col" { "Backup set" } }
                th.number scope="col" { "Items" } th.number scope="col" { "New" } th.number scope="col" { "Changed" } th.number scope="col" { "Gone" }
                th.number scope="col" { "Gaps" } th.number scope="col" { "Read" } th.number scope="col" { "Stored" } th.number scope="col" { "Took" }
            } }
            tbody { @for run in runs { tr {
                td { @if let Some(job) = &run.job { a href={ "/a/" (account) "/jobs/" (job) } { (words::time(run.started_us)) } } @else { (words::time(run.started_us)) } }
                td { (outcome(&run.outcome)) }
                @if named { td { @if let Some(set) = sets.iter().find(|set| set.id == run.set) { a href={ "/a/" (account) "/sets/" (set.id) } { (set.name) } } } }
                td.number { (words::number(run.items)) } td.number { (words::number(run.items_added)) }
                td.number { (words::number(run.items_changed)) } td.number { (words::number(run.items_removed)) }
                td.number { (words::number(run.gaps)) }
                td.number { (words::size(u64::try_from(run.bytes_read).unwrap_or(0))) }
                td.number { (words::size(u64::try_from(run.bytes_stored).unwrap_or(0))) }
                td.number { (words::duration(run.ended_us - run.started_us)) }
            } } }
        } }
    }
}

/// The page.
pub(super) async fn show(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, job)): At<(Id, Id)>,
) -> Answer {
    let account = server.db.account(&account).await?;
    let job = server.db.job(&account.id, &job).await?;
    let set = match &job.set {
        Some(set) => server.db.backup_set(&account.id, set).await.ok(),
        None => None,
    };
    let repository = match &job.repository {
        Some(id) if job.kind.is_upkeep() => server.db.repository(&account.id, id).await.ok(),
        _ => None,
    };
    let chrome = Chrome { actor: &actor, account: Some(&account), place: place(job.kind) };
    let events = (!job.state.has_ended()).then(|| format!("/api/v1/accounts/{}/jobs/{}/events", account.id, job.id));
    let body = html! {
        h1 {
            (title(job.kind))
            @if let Some(set) = &set { " of " a href={ "/a/" (account.id) "/sets/" (set.id) } { (set.name) } }
            @if let Some(row) = &repository { " of " a href={ "/a/" (account.id) "/storage/" (row.id) } { (row.name) } }
        }
        div #job data-events=[events] {
            p #state { (badge(job.state)) }
            dl.facts {
                div { dt { "Asked for by" } dd { (job.asked_by) } } div { dt { "Asked for" } dd { (words::time(job.created_us)) } }
                // The script fills it in when the job begins.
                @if let Some(started) = job.started_us { div #began { dt { "Began" } dd { (words::time(started)) } } }
                @else if !job.state.has_ended() { div #began hidden { dt { "Began" } dd {} } }
                @if let Some(ended) = job.ended_us { div { dt { "Ended" } dd { (words::time(ended)) } } }
            }
            @if let Some(error) = &job.error { p.notice.bad role="alert" { (error) @if !error.ends_with('.') { "." } } }
            (progress(&job))
        }
        @if !job.state.has_ended() && actor.may(Right::Run, Some(&account.id)) {
            form method="post" action={ "/a/" (account.id) "/jobs/" (job.id) "/stop" } {
                button.danger type="submit" { "Stop" } " " span.quiet {
                    @if job.kind == JobKind::Export { "The download breaks off." } @else { "What it has is kept; the next run goes on from there." }
                }
            }
        }
        @if is_of_restore(job.kind) && let Ok(restore) = server.db.restore_of_job(&job.id).await {
            p { a.button.plain href={ "/a/" (account.id) "/restores/" (restore.id) } { "The whole restore" } }
        }
        @if let Some(outcome) = job.outcome.as_ref().filter(|_| !is_of_restore(job.kind)) {
            @match outcome.get("progress") {
                // It failed: how far it was.
                Some(progress) => { (reached(progress)) }
                None => { h2 { "What came of it" } (facts(outcome)) }
            }
        }
        @let may_run = job.state.has_ended() && actor.may(Right::Run, Some(&account.id));
        @if job.kind == JobKind::Backup {
            @let found = match &job.set {
                Some(set) => server.db.run_of_job(&account.id, set, &job.id).await?,
                None => None,
            };
            @let run = found.as_ref();
            @if let Some(run) = run { (waits(run)) (gaps(run)) }
            @if let Some(set) = set.as_ref().filter(|_| may_run && (job.state == JobState::Failed || run.is_some_and(|run| run.gaps > 0))) {
                form method="post" action={ "/a/" (account.id) "/sets/" (set.id) "/runs" } {
                    button type="submit" { "Try again now" }
                    @if run.is_some_and(|run| run.gaps > 0) { " " span.quiet { "That starts a run: it reads what is missing once more, and what changed meanwhile." } }
                }
            }
        }
        @if let Some(row) = repository.as_ref().filter(|_| may_run && job.state == JobState::Failed) { (again(&job, row)) }
    };
    Ok(Page(page(title(job.kind), chrome, &body)).into_response())
}

/// Asks for upkeep of a repository once more.
fn again(job: &Job, row: &RepositoryRow) -> Markup {
    let every_byte = job.arguments.get("read_data").and_then(Value::as_bool).unwrap_or(false);
    html! {
        form method="post" action={ "/a/" (row.account) "/storage/" (row.id) "/upkeep" } {
            input type="hidden" name="kind" value=(job.kind.word());
            @if every_byte { input type="hidden" name="read_data" value="on"; }
            button type="submit" { "Try again now" }
        }
    }
}

/// How far it is; the script keeps it up to date.
pub(super) fn progress(job: &Job) -> Markup {
    let count = |name: &str| {
        job.progress
            .as_ref()
            .and_then(|p| p.get("counts"))
            .and_then(|c| c.get(name))
            .and_then(Value::as_i64)
            .unwrap_or(0)
    };
    let seconds = job.progress.as_ref().and_then(|p| p.get("seconds")).and_then(Value::as_i64).unwrap_or(0);
    let word = |name: &str| job.progress.as_ref().and_then(|p| p.get(name)).and_then(Value::as_str).unwrap_or_default();
    html! {
        @if !job.state.has_ended() {
            p #phase aria-live="polite" { (word("phase")) }
            @let (done, all) = if count("collections_total") > 0 { (count("collections"), count("collections_total")) } else { (count("items"), count("items_total")) };
            progress #bar aria-label="How far it is" max=(all.max(1)) value=(done) {}
            p #waiting.hint { @if !word("waiting").is_empty() { "Waits: " (word("waiting")) } }
            dl.facts {
                @for (name, label) in counters(job.kind) {
                    div { dt { (label) } dd data-count=(name) { (words::number(count(name))) } }
                }
                @if count("items") > 0 && seconds > 0 {
                    div { dt { "Items a second" } dd #rate { (words::number(count("items") / seconds)) } }
                }
                @let told = job.progress.as_ref().and_then(|p| p.get("budget"));
                @for (label, what, used, limit) in budget(told) {
                    div { dt { "Requests left, " (label) } dd data-left=(what) { (words::number((limit - used).max(0))) " of " (words::number(limit)) } }
                }
                @if let Some((waiting, asked)) = mailboxes(told) {
                    div { dt { "Mailboxes that have to wait, of those asked lately" } dd data-spent="mailboxes" { (words::number(waiting)) " of " (words::number(asked)) } }
                }
                @for (name, label) in bytes(job.kind) {
                    div { dt { (label) } dd data-bytes=(name) { (words::size(u64::try_from(count(name)).unwrap_or(0))) } }
                }
            }
        }
    }
}

/// The budgets of a tenant: in words, by name, units used, and how many there are. Clients tell of them too: what is none is left
/// out.
pub(super) fn budget(told: Option<&Value>) -> Vec<(&'static str, &'static str, i64, i64)> {
    const KNOWN: [(&str, &str); 6] = [
        ("SharePoint and OneDrive, a minute", "files_minute"),
        ("SharePoint and OneDrive, a day", "files_day"),
        ("directory, ten seconds", "directory"),
        ("the busiest mailbox, ten minutes", "mailbox"),
        ("Teams, the busiest kind of call, a second", "teams"),
        ("Planner, a second", "planner"),
    ];
    let spent = |(label, what)| spent(told, what).map(|(used, limit)| (label, what, used, limit));
    KNOWN.into_iter().filter_map(spent).collect()
}

/// How many mailboxes have to wait for their budgets, of how many that were asked lately.
pub(super) fn mailboxes(told: Option<&Value>) -> Option<(i64, i64)> {
    spent(told, "mailboxes").filter(|(_, asked)| *asked > 0)
}

/// What is used of one budget, and how much there is.
fn spent(told: Option<&Value>, what: &str) -> Option<(i64, i64)> {
    let one = told?.as_array()?.iter().find(|one| one.get("what").and_then(Value::as_str) == Some(what))?;
    let number = |name: &str| one.get(name).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
    Some((i64::from(number("used")?), i64::from(number("limit")?)))
}

/// Says whether a job is about a restore.
fn is_of_restore(kind: JobKind) -> bool {
    matches!(kind, JobKind::Plan | JobKind::Restore | JobKind::Undo)
}

/// What is counted of a job.
fn counters(kind: JobKind) -> &'static [(&'static str, &'static str)] {
    if is_of_restore(kind) {
        &[
            ("items", "Done"),
            ("items_total", "In all"),
            ("requests", "Requests"),
            ("throttled", "Requests told to wait"),
        ]
    } else if kind == JobKind::Export {
        &[("items", "Done"), ("items_total", "In all")]
    } else {
        &[
            ("items", "Items"),
            ("collections", "Collections read"),
            ("collections_total", "Collections in all"),
            ("requests", "Requests"),
            ("throttled", "Requests told to wait"),
            ("gaps", "Gaps"),
        ]
    }
}

fn bytes(kind: JobKind) -> &'static [(&'static str, &'static str)] {
    if is_of_restore(kind) || kind == JobKind::Export {
        &[("bytes_read", "Sent")]
    } else {
        &[("bytes_read", "Read"), ("bytes_stored", "Stored")]
    }
}

/// What a job was at, and had counted, when it failed.
fn reached(progress: &Value) -> Markup {
    let phase = progress.get("phase").and_then(Value::as_str).unwrap_or_default();
    let counts = progress.get("counts").and_then(Value::as_object);
    let counted: Vec<_> = counts.into_iter().flatten().filter(|(_, value)| value.as_i64().unwrap_or(0) > 0).collect();
    html! { @if !phase.is_empty() || !counted.is_empty() {
        h2 { "How far it was" }
        @if !phase.is_empty() { p { (phase) } }
        dl.facts { @for (name, value) in counted { div { dt { (label(name)) } dd { (plain(name, value)) } } } }
    } }
}

/// Facts as a list.
fn facts(outcome: &Value) -> Markup {
    html! {
        @if let Value::Object(fields) = outcome {
            // The mark above says already how it ended.
            dl.facts { @for (name, value) in fields.iter().filter(|(name, _)| *name != "outcome") {
                @match value {
                    Value::Object(inner) => { @for (name, value) in inner { div { dt { (label(name)) } dd { (plain(name, value)) } } } },
                    Value::Array(all) => { div { dt { (label(name)) } dd { @if all.is_empty() { "none" } @else { ul { @for value in all.iter().take(50) { li { code { (value) } } } } } } } },
                    value => { div { dt { (label(name)) } dd { (plain(name, value)) } } },
                }
            } }
        }
    }
}

fn label(name: &str) -> String {
    match name {
        "throttled" => return "Requests told to wait".to_owned(),
        "bytes_read" => return "Read".to_owned(),
        "bytes_new" => return "New, with the records of items".to_owned(),
        "bytes_stored" => return "Stored".to_owned(),
        "bytes_logical" => return "Contents of the snapshot".to_owned(),
        _ => {}
    }
    let mut words = name.replace('_', " ");
    if let Some(first) = words.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    words
}

fn plain(name: &str, value: &Value) -> String {
    match value {
        Value::Number(number) if name.contains("bytes") => words::size(number.as_u64().unwrap_or(0)),
        Value::Number(number) => number.as_i64().map_or_else(|| number.to_string(), words::number),
        // The beginning of an id is enough to find it by.
        Value::String(text) if name == "snapshot" => text.chars().take(8).collect(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn waits(run: &RunRow) -> Markup {
    let all: Vec<(&String, i64)> =
        run.waits.as_object().into_iter().flatten().map(|(what, us)| (what, us.as_i64().unwrap_or(0))).collect();
    html! { @if !all.is_empty() {
        h2 { "Waited" }
        dl.facts { @for (what, us) in &all { div { dt { "For " (what) } dd { (words::duration(*us)) } } } }
    } }
}

fn gaps(run: &RunRow) -> Markup {
    let all = run.gap_list.as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |gap: &Value, name: &str| gap.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    html! {
        @if run.gaps > 0 {
            h2 { "Missing from the snapshot" }
            p { (missing(run.gaps, all)) " could not be read; each run tries again what the one before could not read." }
            ul { @for gap in all {
                @let (of, name) = (text(gap, "of"), text(gap, "name"));
                li {
                    strong { (of) @if !of.is_empty() && !name.is_empty() { ": " } (name) @if of.is_empty() && name.is_empty() { "something" } }
                    ": " (text(gap, "message"))
                }
            } }
            @if run.gaps > all.len() as i64 && !all.is_empty() { p.quiet { "and " (words::number(run.gaps - all.len() as i64)) " more" } }
        }
    }
}

/// How much is missing: whole collections, which are told first, apart from single items. Not every client says which is which.
fn missing(gaps: i64, told: &[Value]) -> String {
    let whole = |gap: &Value| gap.get("whole").and_then(Value::as_bool);
    let many = |many: i64, one: &str| words::count(usize::try_from(many).unwrap_or(usize::MAX), one);
    if told.is_empty() || told.iter().any(|gap| whole(gap).is_none()) {
        return format!("{} (items, or all of a mailbox, drive, site or chat)", many(gaps, "thing"));
    }
    let wholes = told.iter().filter(|gap| whole(gap) == Some(true)).count() as i64;
    let items = gaps.saturating_sub(wholes);
    let parts = format!("{} (all of a mailbox, drive, site, chat or the like)", many(wholes, "part"));
    match (wholes, items) {
        (0, _) => many(items, "item"),
        // There may be more of them than are told.
        (_, 1..) if wholes == told.len() as i64 => format!("{}, at least {parts},", many(gaps, "thing")),
        (_, 1..) => format!("{parts} and {}", many(items, "item")),
        _ => parts,
    }
}

/// Stops it.
pub(super) async fn stop(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, job)): At<(Id, Id)>,
) -> Answer {
    jobs::stop(&server, &actor, &account, &job).await?;
    Ok(go(&format!("/a/{account}/jobs/{job}")))
}
