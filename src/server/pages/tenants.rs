//! Tenants: what is connected, and how it is tested. How one is connected: `connect`.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;

use super::part::{Part, Which};
use super::{Answer, Chrome, Form, Page, Place, Query, connect, go, job, page, words};
use crate::graph::Caller;
use crate::server::auth::{Actor, Password, Right};
use crate::server::connect::user;
use crate::server::db::{Account, RestoreApp, SignInWay, Tenant, TenantDefinition};
use crate::server::deeds::tenants::{self, TenantToBe};
use crate::server::id::Id;
use crate::server::state::Server;
use crate::server::web::At;

/// Tenants on a page.
const MOST: usize = 100;
/// Permissions that the list names of a tenant.
const MOST_NAMED: usize = 4;
/// Microsoft's codes for a client secret that is wrong, or has ended.
const WRONG_SECRET: [&str; 2] = ["AADSTS7000215", "AADSTS7000222"];

pub(super) fn given(text: &str) -> Option<String> {
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// The page.
pub(super) async fn list(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At(account): At<Id>,
    Query(asked): Query<connect::Given>,
    Query(which): Query<Which>,
) -> Answer {
    let account = server.db.account(&account).await?;
    let all = server.db.tenants(&account.id).await?;
    let part = Part::of(&all, &which, MOST, "tenant", |tenant| &tenant.name);
    let forms = match actor.may(Right::Change, Some(&account.id)) {
        true => connect::forms(&server, &actor, &account, &asked, all.is_empty()).await?,
        false => html! {},
    };
    let may_test = actor.may(Right::Run, Some(&account.id));
    let chrome = Chrome { actor: &actor, account: Some(&account), place: Place::Tenants };
    let body = html! {
        h1 { "Tenants" }
        (super::sets::way_back(&server, &actor, &account.id).await?)
        @if all.is_empty() { p.empty { "No tenant is connected yet. Below is what it takes." } } @else {
            (part.finder())
            div.scroll tabindex="0" { table {
                thead { tr { th scope="col" { "Tenant" } th scope="col" { "Permissions" } th scope="col" { "Secret" } th scope="col" { "Microsoft's limits used" } th scope="col" { "Tested" } th scope="col" { "Directory" } } }
                tbody { @for tenant in &part.shown { (row(&account, tenant, may_test, server.now_us())) } }
            } }
            (part.ways())
        }
        (forms)
    };
    Ok(Page(page("Tenants", chrome, &body)).into_response())
}

fn row(account: &Account, tenant: &Tenant, may_test: bool, now_us: i64) -> Markup {
    let here = format!("/a/{}/tenants/{}", account.id, tenant.id);
    html! { tr {
        th scope="row" { a href=(here) { (tenant.name) }
            @if tenant.is_of_user() { br; span.quiet { (tenant.user.as_ref().map_or("nobody signed in", |user| user.name.as_str())) } }
        }
        td { (granted(tenant, &here, may_test && tenant.has_secret())) }
        td {
            @match tenant.secret_days(now_us) {
                None if tenant.is_of_user() => { span.quiet { "none needed" } }
                None => { span.quiet { "end not known" } }
                days => { (left(days)) }
            }
            @let restoring = tenant.restore_secret_days(now_us);
            @if restoring.is_some() { br; span.quiet { "for restores: " } (left(restoring)) }
        }
        td { (used(tenant, now_us)) }
        td { @if let Some(at) = tenant.checked_us { (words::time(at)) } @else { span.quiet { "never" } } }
        td { code { (tenant.definition.tenant_id) } }
    } }
}

/// For how many days a secret is good, where that is known.
fn left(days: Option<i64>) -> Markup {
    html! { @match days {
        None => {}
        Some(..0) => { span.state.bad { "ended" } }
        Some(days) if days < 30 => { span.state.warn { (days) " days left" } }
        Some(days) => { (days) " days left" }
    } }
}

/// How the permissions stood at the last test, with the way to one where there was none, or consent was given since.
fn granted(tenant: &Tenant, here: &str, may_test: bool) -> Markup {
    let state: Option<Value> = tenant.state.as_deref().and_then(|text| serde_json::from_str(text).ok());
    let found = state.as_ref().and_then(missing);
    let failed = state.as_ref().is_some_and(|state| state.get("error").is_some());
    let all = each(state.as_ref().map_or(&[][..], permissions));
    let names: Vec<&str> = all.iter().filter(|found| found.is_lacking()).map(|found| found.name).collect();
    let since = tenant.checked_us.is_some() && tenant.consented_us > tenant.checked_us;
    html! {
        @match found {
            _ if tenant.refused.is_some() => { span.state.bad { "sign in again" } }
            None if failed => { span.state.bad { "no sign-in" } }
            None => { span.state.calm { "not tested" } }
            Some(0) => { span.state.good { "all granted" } }
            Some(many) => {
                span.state.warn { (many) " missing" }
                @if !names.is_empty() {
                    ": " (names.iter().take(MOST_NAMED).copied().collect::<Vec<_>>().join(", "))
                    @if names.len() > MOST_NAMED { " and " (names.len() - MOST_NAMED) " more" }
                }
            }
        }
        @if since { " " span.quiet { "consented to since" } }
        @if may_test && (since || (found.is_none() && !failed)) { " " a href={ (here) "#test" } aria-label={ "Test " (tenant.name) } { "Test" } }
    }
}

/// What is used of the budgets that the tenant's jobs share, as far as what they told last still holds.
fn used(tenant: &Tenant, now_us: i64) -> Markup {
    const SECOND_US: i64 = 1_000_000;
    let told: Option<Value> = tenant.budget.as_deref().and_then(|text| serde_json::from_str(text).ok());
    let age_us = tenant.budget_us.map_or(i64::MAX, |at| now_us.saturating_sub(at));
    let holds = |what: &str| match what {
        "files_day" => age_us < 86_400 * SECOND_US,
        "files_minute" => age_us < 60 * SECOND_US,
        "mailbox" => age_us < 600 * SECOND_US,
        "teams" | "planner" => age_us < SECOND_US,
        _ => age_us < 10 * SECOND_US,
    };
    let mut all = job::budget(told.as_ref());
    all.retain(|(_, what, ..)| holds(what));
    let waiting = job::mailboxes(told.as_ref()).filter(|(waiting, _)| *waiting > 0 && holds("mailboxes"));
    html! {
        @if all.is_empty() { span.quiet { "nothing lately" } }
        @if let Some((waiting, asked)) = waiting { div { (words::number(waiting)) " of " (words::number(asked)) " mailboxes have to wait" } }
        @for (label, _, used, limit) in &all {
            div { (words::number(*used)) " of " (words::number(*limit)) span.quiet { ": " (label) } }
        }
    }
}

/// The page of one.
pub(super) async fn show(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, tenant)): At<(Id, Id)>,
) -> Answer {
    let account = server.db.account(&account).await?;
    let tenant = server.db.tenant(&account.id, &tenant).await?;
    let chrome = Chrome { actor: &actor, account: Some(&account), place: Place::Tenants };
    let state: Option<Value> = tenant.state.as_deref().and_then(|text| serde_json::from_str(text).ok());
    let here = format!("/a/{}/tenants/{}", account.id, tenant.id);
    let may_change = actor.may(Right::Change, Some(&account.id));
    // Without a secret, or before somebody signed in, it could only fail.
    let may_test = tenant.has_secret() && actor.may(Right::Run, Some(&account.id));
    let told = state.as_ref().and_then(|state| state.get("error")).and_then(Value::as_str).unwrap_or_default();
    let wrong_secret = WRONG_SECRET.iter().any(|code| told.contains(code));
    let body = html! {
        h1 { (tenant.name) }
        (super::sets::way_back(&server, &actor, &account.id).await?)
        p { "Directory " code { (tenant.definition.tenant_id) } ", app " code { (tenant.definition.client_id) }
            @if let Some(app) = &tenant.definition.restore { ", restores by app " code { (app.client_id) } }
        }
        @if let Some(at) = tenant.consented_us { p { "An administrator consented to the app " (words::time(at)) "." } }
        @if tenant.is_of_user() { (connect::of_user(&server, &here, &tenant, may_change)) }
        @else if !tenant.has_secret() {
            p.notice.warn { "Its app and the secret have to be entered: they lie in no repository." }
        }
        dl.facts { div.wide { dt { "Microsoft's limits used" } dd { (used(&tenant, server.now_us())) } } }
        @if may_test { form #test method="post" action={ (here) "/test" } { button type="submit" { "Test now" } } }
        @match &state {
            None => { p.empty { "It has not been tested yet" @if may_test { ": press Test now" } "." } }
            Some(state) => {
                @if let Some(at) = tenant.checked_us { p.quiet { "Tested " (words::time(at)) "." } }
                (tested(state, &tenant, server.now_us()))
            }
        }
        @if may_change && !tenant.is_of_user() { (connect::consent(&server, &here, state.as_ref())) }
        @if may_change && !is_personal(&tenant) { (restore_app(&here, &tenant)) }
        @if may_change && !tenant.is_of_user() {
            details open[!tenant.has_secret() || wrong_secret] {
                summary { "Enter a new secret" }
                form.card method="post" action={ (here) "/secret" } {
                    label for="client_id" { "Application (client) id" }
                    input #client_id name="client_id" required maxlength="200" spellcheck="false" value=(tenant.definition.client_id);
                    label for="secret" { "Client secret, " span.quiet { "or the private key (PEM) of its certificate" } }
                    textarea #secret name="secret" required spellcheck="false" autocomplete="off" {}
                    label for="certificate" { "Certificate (PEM), " span.quiet { "if it signs in by one" } }
                    textarea #certificate name="certificate" spellcheck="false" { (tenant.definition.certificate.as_deref().unwrap_or_default()) }
                    label for="address" { "Address, " span.quiet { "of a simulated tenant alone" } }
                    input #address name="address" type="url" value=[tenant.definition.graph_url.as_deref()];
                    button type="submit" { "Save and test" }
                }
            }
        }
        @if may_change {
            details { summary { "Disconnect this tenant" }
                p { "This server forgets the tenant with its secrets. Snapshots of it stay where they are. Backup sets that read it have to be removed first." }
                form method="post" action={ (here) "/removal" } { button.danger type="submit" { "Disconnect" } }
            }
        }
    };
    Ok(Page(page(&tenant.name, chrome, &body)).into_response())
}

fn is_personal(tenant: &Tenant) -> bool {
    tenant.is_of_user() && user::caller(&tenant.definition) == Caller::Personal
}

/// The permissions that a test looked at.
pub(super) fn permissions(state: &Value) -> &[Value] {
    state.get("permissions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// A permission as a test found it.
pub(super) struct Found<'a> {
    name: &'a str,
    state: &'a str,
    /// What it is for.
    uses: Vec<&'a str>,
}

impl Found<'_> {
    /// Says whether it has to be granted yet.
    fn is_lacking(&self) -> bool {
        matches!(self.state, "missing" | "refused")
    }
}

/// Permissions, each name once: several parts need the same one. Of different states the worse counts.
pub(super) fn each(permissions: &[Value]) -> Vec<Found<'_>> {
    let weight = |state: &str| match state {
        "granted" => 0,
        "unknown" => 1,
        _ => 2,
    };
    let mut all: Vec<Found<'_>> = Vec::new();
    for permission in permissions {
        let text = |name: &str| permission.get(name).and_then(Value::as_str).unwrap_or_default();
        let (name, state, of) = (text("name"), text("state"), text("message"));
        match all.iter_mut().find(|found| found.name == name) {
            Some(found) => {
                if weight(state) > weight(found.state) {
                    found.state = state;
                }
                found.uses.push(of);
            }
            None => all.push(Found { name, state, uses: vec![of] }),
        }
    }
    all
}

/// How many permissions a test missed; none where it could not look.
pub(super) fn missing(state: &Value) -> Option<usize> {
    let told = state.get("missing")?.as_u64()?;
    let all = each(permissions(state));
    match all.is_empty() {
        true => usize::try_from(told).ok(),
        false => Some(all.iter().filter(|found| found.is_lacking()).count()),
    }
}

pub(super) fn tested(state: &Value, tenant: &Tenant, now_us: i64) -> Markup {
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let permissions = permissions(state);
    let missing = missing(state).unwrap_or(0);
    html! {
        @if let Some(error) = state.get("error").and_then(Value::as_str) {
            section.notice.bad role="alert" {
                @if let Some(hint) = state.get("hint").and_then(Value::as_str) { p { strong { (words::sentence(hint)) } } }
                p { (error) }
            }
        } @else if missing > 0 {
            section.notice.warn {
                @if tenant.is_of_user() {
                    p { (lacking(missing)) " missing. Add what is missing to the app registration as delegated permissions, then sign in again and consent." }
                } @else {
                    p { (lacking(missing)) " missing. Add what is missing to the app registration as application permissions, then let a Global Administrator consent:" }
                    p { a.button href=(text(state, "consent")) rel="noreferrer" target="_blank" { "Grant consent at Microsoft" } }
                }
            }
        } @else { p.notice.good { "Signed in; everything that is needed is granted." } }
        @match tenant.secret_days(now_us) {
            None => {}
            Some(..0) => { p.notice.bad { "The secret has ended." } }
            Some(days) => { p { "The secret is good for " (days) " more days." } }
        }
        @match tenant.restore_secret_days(now_us) {
            None => {}
            Some(..0) => { p.notice.warn { "The secret of the app that restores has ended: nothing can be restored until a new one is entered below." } }
            Some(days) => { p { "The secret of the app that restores is good for " (days) " more days." } }
        }
        @if !permissions.is_empty() {
            @let all = each(permissions);
            @if missing > 0 { (table_of(&all, "bad")) }
            @else { details { summary { (words::count(all.len(), "permission")) ", each with what it is for" } (table_of(&all, "bad")) } }
        }
        @let restore = state.get("restore").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        @if !restore.is_empty() {
            h2 { "To restore" }
            p.quiet { "Nothing of this is needed to back up." }
            (table_of(&each(restore), "warn"))
        }
        @if let Some(error) = state.get("restore_error").and_then(Value::as_str) { p.notice.warn { "The app that restores cannot sign in: " (error) } }
    }
}

/// "1 permission is", "3 permissions are".
pub(super) fn lacking(many: usize) -> String {
    format!("{} {}", words::count(many, "permission"), if many == 1 { "is" } else { "are" })
}

/// Permissions, each with its state; `lacks` is the mark of one that is missing.
fn table_of(permissions: &[Found<'_>], lacks: &str) -> Markup {
    html! {
        div.scroll tabindex="0" { table {
            thead { tr { th scope="col" { "Permission" } th scope="col" { "State" } th scope="col" { "What for" } } }
            tbody { @for permission in permissions { tr {
                th scope="row" { code { (permission.name) } }
                td { span class={ "state " (match permission.state { "granted" => "good", "unknown" | "optional" => "calm", _ => lacks }) } { (permission.state) } }
                td { (permission.uses.join("; ")) }
            } } }
        } }
    }
}

/// The form of the app that restores.
fn restore_app(here: &str, tenant: &Tenant) -> Markup {
    let app = tenant.definition.restore.as_ref();
    html! {
        details { summary { "Another app for restores" }
            form.card method="post" action={ (here) "/restore-app" } {
                p.quiet { "The app that backs up needs no right to write, and is safer without. A second app registration, which may write, restores. Left empty: the app that backs up does both." }
                label for="restore_client_id" { "Application (client) id" }
                input #restore_client_id name="restore_client_id" maxlength="200" spellcheck="false" value=[app.map(|app| &app.client_id)];
                label for="restore_secret" { "Client secret" @if app.is_some() { ", " span.quiet { "empty: what is kept of this app stays" } } }
                input #restore_secret name="restore_secret" type="password" autocomplete="off";
                @if app.is_some_and(|app| app.sign_in == SignInWay::Certificate) { p.quiet { "It signs in by a certificate, in whose place a secret entered here comes." } }
                button type="submit" { "Save and test" }
            }
        }
    }
}

/// What that form sends.
#[derive(Debug, Deserialize)]
pub(super) struct TypedApp {
    #[serde(default)]
    restore_client_id: String,
    #[serde(default)]
    restore_secret: Option<Password>,
}

/// Takes it.
pub(super) async fn set_restore_app(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, id)): At<(Id, Id)>,
    Form(typed): Form<TypedApp>,
) -> Answer {
    let tenant = server.db.tenant(&account, &id).await?;
    let secret = typed.restore_secret.filter(|secret| !secret.expose().trim().is_empty());
    let before = tenant.definition.restore.as_ref();
    let app = |client_id: String| match before.filter(|app| app.client_id == client_id && secret.is_none()) {
        // It goes on as it signs in, also by a certificate, which this form does not ask for.
        Some(app) => app.clone(),
        None => RestoreApp { client_id, sign_in: SignInWay::Secret, certificate: None },
    };
    let restore = given(&typed.restore_client_id).map(app);
    let secret = secret.filter(|_| restore.is_some());
    let wanted = TenantToBe {
        name: tenant.name.clone(),
        definition: TenantDefinition { restore, ..tenant.definition.clone() },
        secret: None,
        restore_secret: secret,
        consent: None,
    };
    tenants::change(&server, &actor, &account, &id, &wanted).await?;
    tenants::test_and_tell(&server, &actor, &account, &id).await?;
    Ok(go(&format!("/a/{account}/tenants/{id}")))
}

/// Tests it.
pub(super) async fn test(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, tenant)): At<(Id, Id)>,
) -> Answer {
    tenants::test_and_tell(&server, &actor, &account, &tenant).await?;
    Ok(go(&format!("/a/{account}/tenants/{tenant}")))
}

/// What the form of a new secret sends.
#[derive(Debug, Deserialize)]
pub(super) struct NewSecret {
    client_id: String,
    secret: Password,
    #[serde(default)]
    certificate: String,
    #[serde(default)]
    address: String,
}

/// Takes a new secret, and tests it.
pub(super) async fn secret(
    state: State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, tenant)): At<(Id, Id)>,
    Form(typed): Form<NewSecret>,
) -> Answer {
    let before = state.db.tenant(&account, &tenant).await?;
    let (certificate, address) = (given(&typed.certificate), given(&typed.address));
    let wanted = TenantToBe {
        name: before.name,
        definition: TenantDefinition {
            client_id: typed.client_id.trim().to_owned(),
            sign_in: if certificate.is_some() { SignInWay::Certificate } else { SignInWay::Secret },
            certificate,
            graph_url: address.clone(),
            login_url: if before.definition.graph_url == address { before.definition.login_url } else { address },
            ..before.definition
        },
        secret: Some(typed.secret),
        restore_secret: None,
        consent: None,
    };
    tenants::change(&state, &actor, &account, &tenant, &wanted).await?;
    test(state, Extension(actor), At((account, tenant))).await
}

/// Removes it.
pub(super) async fn remove(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, tenant)): At<(Id, Id)>,
) -> Answer {
    tenants::remove(&server, &actor, &account, &tenant).await?;
    Ok(go(&format!("/a/{account}/tenants")))
}
