//! Backup sets: what is protected, when, how long.

use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use axum::{Extension, Form};
use maud::{Markup, html};
use serde::Deserialize;

use super::{Answer, Chrome, Page, Place, encode, go, job, page, words};
use crate::error::{Error, Result};
use crate::server::auth::{Actor, Right};
use crate::server::choices::Choices;
use crate::server::db::{Account, ClientRow, RepositoryRow, ScheduleRow, SetRow, Tenant};
use crate::server::deeds::sets::{self, SetWanted};
use crate::server::id::Id;
use crate::server::schedule::{self, Timing};
use crate::server::state::Server;
use crate::server::web::{Asked, At};
use crate::snapshot::policy::Count;
use crate::snapshot::set::Workload;

/// What the form sends. Checkboxes of one name come as one text each, which `form-urlencoded` cannot give as a list.
#[derive(Debug, Deserialize)]
pub(super) struct Typed {
    name: String,
    tenant: Id,
    repository: Id,
    #[serde(default)]
    client: String,
    include: String,
    #[serde(default)]
    exclude: String,
    #[serde(default)]
    workloads: String,
    #[serde(default)]
    skip_folders: String,
    #[serde(default)]
    skip_files: String,
    versions: String,
    leavers: String,
    #[serde(default)]
    schedules: String,
    zone: String,
    #[serde(default)]
    jitter_minutes: u32,
    #[serde(default)]
    catch_up: Option<String>,
    #[serde(default)]
    enabled: Option<String>,
    keep_last: String,
    keep_daily: String,
    keep_weekly: String,
    keep_monthly: String,
    keep_yearly: String,
}

fn lines(text: &str) -> Vec<String> {
    text.split(['\n', ',']).map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

fn count(text: &str) -> Result<Count> {
    match text.trim() {
        "" => Ok(Count(0)),
        "unlimited" => Ok(Count::UNLIMITED),
        number => number.parse().map(Count).map_err(|_| {
            Error::invalid(format!("'{}' is not a number of snapshots", number.escape_debug()))
                .with_hint("Write a number, or unlimited")
        }),
    }
}

impl Typed {
    fn wanted(self, before: &Choices) -> Result<SetWanted> {
        let mut choices = before.clone();
        choices.include = lines(&self.include);
        choices.exclude = lines(&self.exclude);
        choices.workloads = lines(&self.workloads);
        choices.skip_folders = lines(&self.skip_folders);
        choices.skip_files = lines(&self.skip_files);
        choices.versions = self.versions.trim().to_owned();
        choices.leavers = self.leavers.trim().to_owned();
        choices.time_zone = self.zone.trim().to_owned();
        choices.retention.keep_last = count(&self.keep_last)?;
        choices.retention.keep_daily = count(&self.keep_daily)?;
        choices.retention.keep_weekly = count(&self.keep_weekly)?;
        choices.retention.keep_monthly = count(&self.keep_monthly)?;
        choices.retention.keep_yearly = count(&self.keep_yearly)?;
        let timing = |cron: &str| Timing {
            cron: cron.trim().to_owned(),
            zone: self.zone.trim().to_owned(),
            jitter_s: self.jitter_minutes.saturating_mul(60),
            catch_up: self.catch_up.is_some(),
        };
        let schedules = self.schedules.lines().filter(|line| !line.trim().is_empty()).map(timing).collect();
        Ok(SetWanted {
            name: self.name.trim().to_owned(),
            tenant: self.tenant,
            repository: self.repository,
            choices,
            schedules,
            enabled: self.enabled.is_some(),
            client: Some(self.client.trim()).filter(|id| !id.is_empty()).map(Id::parse).transpose()?,
        })
    }
}

/// Sets on a page.
const MOST: usize = 100;

/// Which part of the list, and which names.
#[derive(Debug, Deserialize)]
pub(super) struct Part {
    #[serde(default)]
    from: usize,
    #[serde(default)]
    q: String,
}

/// The page.
pub(super) async fn list(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At(account): At<Id>,
    Asked(part): Asked<Part>,
) -> Answer {
    let account = server.db.account(&account).await?;
    let (all, tenants) = (server.db.sets(&account.id).await?, server.db.tenants(&account.id).await?);
    let chrome = Chrome { actor: &actor, account: Some(&account), place: Place::Sets };
    let may_change = actor.may(Right::Change, Some(&account.id));
    let wanted = part.q.trim().to_lowercase();
    let found: Vec<&SetRow> = all.iter().filter(|set| set.name.to_lowercase().contains(&wanted)).collect();
    let body = html! {
        h1 { "Backup sets" }
        @if all.is_empty() {
            p.empty { "There is no backup set yet. It says what of a tenant is protected, when it is read, and how long snapshots are kept." }
        } @else {
            @if all.len() > MOST {
                form method="get" { label for="q" { "Part of the name" } input #q name="q" value=(part.q); button.plain type="submit" { "Find" } }
                p.quiet { (words::count(found.len(), "backup set")) }
            }
            div.scroll tabindex="0" { table {
                thead { tr { th scope="col" { "Backup set" } th scope="col" { "Tenant" } th scope="col" { "Last run" } th scope="col" { "Last good run" } th scope="col" { "Runs by" } } }
                tbody { @for set in found.iter().skip(part.from).take(MOST) { tr {
                    th scope="row" { a href={ "/a/" (account.id) "/sets/" (set.id) } { (set.name) } }
                    td { @if let Some(tenant) = tenants.iter().find(|tenant| tenant.id == set.tenant) { (tenant.name) } }
                    td { (last(set)) }
                    td { @if let Some(at) = set.last_good_us { (words::time(at)) } @else { span.quiet { "never" } } }
                    td { @if set.enabled { "schedule" } @else { span.state.calm { "hand only" } } }
                } } }
            } }
            @if found.is_empty() { p.empty { "No backup set has such a name." } }
            div.actions {
                @if part.from > 0 { a.button.plain href={ "?q=" (encode(&part.q)) "&from=" (part.from.saturating_sub(MOST)) } { "Before" } }
                @if found.len() > part.from.saturating_add(MOST) { a.button.plain href={ "?q=" (encode(&part.q)) "&from=" (part.from + MOST) } { "More" } }
            }
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

/// What the form is filled with.
struct Filled<'a> {
    set: Option<&'a SetRow>,
    choices: &'a Choices,
    schedules: &'a [ScheduleRow],
    tenants: &'a [Tenant],
    repositories: &'a [RepositoryRow],
    clients: &'a [ClientRow],
}

/// The page of a new one.
pub(super) async fn new(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At(account): At<Id>,
) -> Answer {
    let account = server.db.account(&account).await?;
    let (tenants, repositories) = (server.db.tenants(&account.id).await?, server.db.repositories(&account.id).await?);
    let clients = server.db.clients(&account.id).await?;
    let chrome = Chrome { actor: &actor, account: Some(&account), place: Place::Sets };
    let filled = Filled {
        set: None,
        choices: &Choices::default(),
        schedules: &[],
        tenants: &tenants,
        repositories: &repositories,
        clients: &clients,
    };
    let body = html! {
        h1 { "New backup set" }
        @if tenants.is_empty() { p.empty { "First " a href={ "/a/" (account.id) "/tenants" } { "connect a tenant" } "." } }
        @else if repositories.is_empty() { p.empty { "First " a href={ "/a/" (account.id) "/storage" } { "make a repository" } "." } }
        @else { (form(&account, &filled)) }
    };
    Ok(Page(page("New backup set", chrome, &body)).into_response())
}

fn form(account: &Account, filled: &Filled<'_>) -> Markup {
    let (choices, set) = (filled.choices, filled.set);
    let action = match set {
        None => format!("/a/{}/sets", account.id),
        Some(set) => format!("/a/{}/sets/{}", account.id, set.id),
    };
    let all: Vec<&str> = Workload::ALL.iter().map(|workload| workload.word()).collect();
    html! {
        form.card.wide method="post" action=(action) {
            fieldset { legend { "1. Connect" }
                label for="name" { "Name, " span.quiet { "letters, digits and . _ - +" } }
                input #name name="name" required maxlength="100" value=(set.map_or("everyone", |set| &set.name)) readonly[set.is_some()] spellcheck="false";
                label for="tenant" { "Tenant" }
                select #tenant name="tenant" { @for tenant in filled.tenants { option value=(tenant.id) selected[set.is_some_and(|set| set.tenant == tenant.id)] { (tenant.name) } } }
            }
            fieldset { legend { "2. Choose" }
                label for="include" { "Included, " span.quiet { "one a line: * for everything and what is yet to come; alice@contoso.com, *@contoso.com, group:Sales*, site:https://…, team:Marketing, licence:SPE_E3" } }
                textarea #include name="include" required spellcheck="false" { (choices.include.join("\n")) }
                label for="exclude" { "Left out, whatever is included" }
                textarea #exclude name="exclude" spellcheck="false" { (choices.exclude.join("\n")) }
                label for="workloads" { "Parts, " span.quiet { "empty for all: " (all.join(", ")) } }
                input #workloads name="workloads" spellcheck="false" value=(choices.workloads.join(", "));
                details { summary { "Folders, files, versions, leavers" }
                    label for="skip_folders" { "Folders left out, " span.quiet { "one a line: Inbox/Newsletters" } }
                    textarea #skip_folders name="skip_folders" spellcheck="false" { (choices.skip_folders.join("\n")) }
                    label for="skip_files" { "Files left out, " span.quiet { "one a line: *.iso" } }
                    textarea #skip_files name="skip_files" spellcheck="false" { (choices.skip_files.join("\n")) }
                    label for="versions" { "Versions of files beside the current one, " span.quiet { "current, all, or how many" } }
                    input #versions name="versions" required value=(choices.versions);
                    label for="leavers" { "Who leaves, " span.quiet { "keep, freeze, or drop after 90 days" } }
                    input #leavers name="leavers" required value=(choices.leavers);
                }
            }
            fieldset { legend { "3. When, and how long" }
                label for="schedules" { "Schedules, " span.quiet { "one a line: minute hour day month weekday" } }
                textarea #schedules name="schedules" spellcheck="false" {
                    @if set.is_none() { "0 22 * * *" } @else { (filled.schedules.iter().map(|row| row.timing.cron.as_str()).collect::<Vec<_>>().join("\n")) }
                }
                label for="zone" { "Time zone" }
                input #zone name="zone" required value=(choices.time_zone) placeholder="Europe/Berlin" spellcheck="false";
                label for="jitter_minutes" { "Begin up to so many minutes later, by chance" }
                input #jitter_minutes name="jitter_minutes" type="number" min="0" max="1380" value=(filled.schedules.first().map_or(0, |row| row.timing.jitter_s / 60));
                label { input type="checkbox" name="catch_up" checked[filled.schedules.first().is_none_or(|row| row.timing.catch_up)]; " Catch up a run that was missed while the server stood still" }
                label { input type="checkbox" name="enabled" checked[set.is_none_or(|set| set.enabled)]; " Run on schedule" }
                p { "After each run these snapshots are kept:" }
                div.row {
                    @for (name, label, value) in [
                        ("keep_last", "last", choices.retention.keep_last), ("keep_daily", "days", choices.retention.keep_daily),
                        ("keep_weekly", "weeks", choices.retention.keep_weekly), ("keep_monthly", "months", choices.retention.keep_monthly),
                        ("keep_yearly", "years", choices.retention.keep_yearly),
                    ] {
                        div { label for=(name) { (label) } input id=(name) name=(name) value=(shown(value)) inputmode="numeric"; }
                    }
                }
            }
            fieldset { legend { "4. Where, with which key" }
                label for="repository" { "Repository" }
                select #repository name="repository" { @for row in filled.repositories { option value=(row.id) selected[set.is_some_and(|set| set.repository == row.id)] { (row.name) @if !row.confirmed { " (key not confirmed)" } } } }
            }
            fieldset { legend { "5. Who runs it" }
                label for="client" { "It runs on" }
                select #client name="client" {
                    option value="" { "the server" }
                    @for client in filled.clients { option value=(client.id) selected[set.is_some_and(|set| set.client.as_ref() == Some(&client.id))] { "client " (client.name) @if !client.enrolled { " (not enrolled yet)" } } }
                }
                p.quiet { "This may change at any time: the next run goes on from the last one, whoever made it. A client signs in to the tenant itself, so it is handed the tenant's secret for each run." }
            }
            button type="submit" { @if set.is_some() { "Save" } @else { "Make it" } }
        }
    }
}

fn shown(count: Count) -> String {
    if count == Count::UNLIMITED { "unlimited".to_owned() } else { count.0.to_string() }
}

/// Takes the form of a new one.
pub(super) async fn add(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At(account): At<Id>,
    Form(typed): Form<Typed>,
) -> Answer {
    let set = sets::add(&server, &actor, &account, &typed.wanted(&Choices::default())?).await?;
    Ok(go(&format!("/a/{account}/sets/{}", set.id)))
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
    let runs = server.db.runs(&account.id, Some(&set.id), i64::MAX, 30).await?;
    let tenant = server.db.tenant(&account.id, &set.tenant).await?;
    let repository = server.db.repository(&account.id, &set.repository).await?;
    let open = server.db.open_jobs(&account.id).await?;
    let runner = match &set.client {
        Some(client) => Some(server.db.client(&account.id, client).await?),
        None => None,
    };
    let chrome = Chrome { actor: &actor, account: Some(&account), place: Place::Sets };
    let here = format!("/a/{}/sets/{}", account.id, set.id);
    let body = html! {
        h1 { (set.name) }
        p { "Tenant " a href={ "/a/" (account.id) "/tenants/" (tenant.id) } { (tenant.name) } ", into "
            a href={ "/a/" (account.id) "/storage/" (repository.id) } { (repository.name) } ". Last run: " (last(&set)) }
        @for job in open.iter().filter(|job| job.set.as_ref() == Some(&set.id)) {
            p.notice { a href={ "/a/" (account.id) "/jobs/" (job.id) } { (job::title(job.kind)) } " " (job::badge(job.state)) }
        }
        div.actions {
            @if actor.may(Right::Run, Some(&account.id)) { form method="post" action={ (here) "/runs" } { button type="submit" { "Back up now" } } }
            @if actor.may(Right::Change, Some(&account.id)) { a.button.plain href={ (here) "/change" } { "Change" } }
        }
        h2 { "What and when" }
        dl.facts {
            div { dt { "Included" } dd { (set.choices.include.join(", ")) } }
            div { dt { "Left out" } dd { @if set.choices.exclude.is_empty() { "nothing" } @else { (set.choices.exclude.join(", ")) } } }
            div { dt { "Parts" } dd { @if set.choices.workloads.is_empty() { "all" } @else { (set.choices.workloads.join(", ")) } } }
            div { dt { "Who leaves" } dd { (set.choices.leavers) } }
            div { dt { "Runs on" } dd { @match &runner {
                None => "the server",
                Some(client) => { "client " a href={ "/a/" (account.id) "/clients" } { (client.name) }
                    @match client.seen_us { Some(at) => { ", heard of " (words::time(at)) }, None => ", which is not enrolled yet" } }
            } } }
            @for row in &schedules {
                div { dt { "Runs" } dd { (schedule::sentence(&row.timing)) " (" (row.timing.zone) ")"
                    @if let Some(next) = row.next_us { ", next " (words::time(next)) } } }
            }
            @if schedules.is_empty() || !set.enabled { div { dt { "Runs" } dd { "only when somebody asks" } } }
        }
        h2 { "Runs" }
        @if runs.is_empty() { p.empty { "It has not run yet." } } @else { (job::runs(&account.id, &runs, std::slice::from_ref(&set))) }
        @if actor.may(Right::Change, Some(&account.id)) {
            details { summary { "Remove this backup set" }
                p { "Its snapshots stay in the repository." }
                form method="post" action={ (here) "/removal" } { button.danger type="submit" { "Remove" } }
            }
        }
    };
    Ok(Page(page(&set.name, chrome, &body)).into_response())
}

/// The page that changes one.
pub(super) async fn edit(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, set)): At<(Id, Id)>,
) -> Answer {
    let account = server.db.account(&account).await?;
    let set = server.db.backup_set(&account.id, &set).await?;
    let schedules = server.db.schedules(&set.id).await?;
    let tenants = [server.db.tenant(&account.id, &set.tenant).await?];
    let repositories = [server.db.repository(&account.id, &set.repository).await?];
    let clients = server.db.clients(&account.id).await?;
    let chrome = Chrome { actor: &actor, account: Some(&account), place: Place::Sets };
    let filled = Filled {
        set: Some(&set),
        choices: &set.choices,
        schedules: &schedules,
        tenants: &tenants,
        repositories: &repositories,
        clients: &clients,
    };
    let body = html! { h1 { "Change '" (set.name) "'" } (form(&account, &filled)) };
    Ok(Page(page(&set.name, chrome, &body)).into_response())
}

/// Takes the form that changes one.
pub(super) async fn change(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, id)): At<(Id, Id)>,
    Form(typed): Form<Typed>,
) -> Answer {
    let before = server.db.backup_set(&account, &id).await?;
    sets::change(&server, &actor, &account, &id, &typed.wanted(&before.choices)?).await?;
    Ok(go(&format!("/a/{account}/sets/{id}")))
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
