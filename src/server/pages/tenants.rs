//! Tenants: connecting, testing.

use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use axum::{Extension, Form};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;

use super::{Answer, Chrome, Page, Place, go, page, words};
use crate::server::auth::{Actor, Password, Right};
use crate::server::db::{Account, RestoreApp, SignInWay, Tenant, TenantDefinition};
use crate::server::deeds::tenants::{self, TenantToBe};
use crate::server::id::Id;
use crate::server::state::Server;
use crate::server::web::At;

/// What the form sends.
#[derive(Debug, Deserialize)]
pub(super) struct Typed {
    name: String,
    tenant_id: String,
    client_id: String,
    sign_in: SignInWay,
    secret: Password,
    #[serde(default)]
    certificate: String,
    #[serde(default)]
    cloud: String,
    #[serde(default)]
    address: String,
    #[serde(default)]
    restore_client_id: String,
    #[serde(default)]
    restore_secret: String,
}

fn given(text: &str) -> Option<String> {
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// The page.
pub(super) async fn list(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At(account): At<Id>,
) -> Answer {
    let account = server.db.account(&account).await?;
    let all = server.db.tenants(&account.id).await?;
    let chrome = Chrome { actor: &actor, account: Some(&account), place: Place::Tenants };
    let body = html! {
        h1 { "Tenants" }
        (super::sets::way_back(&server, &actor, &account.id).await?)
        @if all.is_empty() { p.empty { "No tenant is connected yet. Below is what it takes." } } @else {
            div.scroll tabindex="0" { table {
                thead { tr { th scope="col" { "Tenant" } th scope="col" { "Directory" } th scope="col" { "Permissions" } th scope="col" { "Secret" } th scope="col" { "Tested" } } }
                tbody { @for tenant in &all { (row(&account, tenant)) } }
            } }
        }
        @if actor.may(Right::Change, Some(&account.id)) { (form(&account)) }
    };
    Ok(Page(page("Tenants", chrome, &body)).into_response())
}

fn row(account: &Account, tenant: &Tenant) -> Markup {
    let state: Option<Value> = tenant.state.as_deref().and_then(|text| serde_json::from_str(text).ok());
    let missing = state.as_ref().and_then(|state| state.get("missing")).and_then(Value::as_u64);
    let days = state.as_ref().and_then(|state| state.get("secret_days")).and_then(Value::as_i64);
    html! { tr {
        th scope="row" { a href={ "/a/" (account.id) "/tenants/" (tenant.id) } { (tenant.name) } }
        td { code { (tenant.definition.tenant_id) } }
        td { @match missing {
            None => { span.state.calm { "not tested" } }
            Some(0) => { span.state.good { "all granted" } }
            Some(many) => { span.state.warn { (many) " missing" } }
        } }
        td { @match days {
            None => { span.quiet { "unknown" } }
            Some(days) if days < 30 => { span.state.warn { (days) " days left" } }
            Some(days) => { (days) " days left" }
        } }
        td { @if let Some(at) = tenant.checked_us { (words::time(at)) } @else { span.quiet { "never" } } }
    } }
}

fn form(account: &Account) -> Markup {
    html! {
        h2 { "Connect a tenant" }
        form.card method="post" action={ "/a/" (account.id) "/tenants" } {
            p.quiet { "In the Entra admin center make an app registration for the backup, add the application permissions of Microsoft Graph that the test names, grant admin consent, and make a client secret." }
            label for="name" { "Name" }
            input #name name="name" required maxlength="100" placeholder="Contoso";
            label for="tenant_id" { "Directory (tenant) id, or a domain" }
            input #tenant_id name="tenant_id" required maxlength="200" spellcheck="false";
            label for="client_id" { "Application (client) id" }
            input #client_id name="client_id" required maxlength="200" spellcheck="false";
            fieldset {
                legend { "The app signs in by" }
                label { input type="radio" name="sign_in" value="secret" checked; " a client secret" }
                label { input type="radio" name="sign_in" value="certificate"; " a certificate" }
            }
            label for="secret" { "Client secret, or the private key (PEM)" }
            input #secret name="secret" type="password" autocomplete="off" required;
            label for="certificate" { "Certificate (PEM), " span.quiet { "if it signs in by one" } }
            textarea #certificate name="certificate" spellcheck="false" {}
            label for="cloud" { "Cloud" }
            select #cloud name="cloud" {
                option value="global" { "Worldwide" } option value="usgov" { "US Government (GCC High)" }
                option value="usgov-dod" { "US Government (DoD)" } option value="china" { "China (21Vianet)" }
            }
            details { summary { "Another app for restores" }
                p.quiet { "The app that backs up needs no right to write, and is safer without. With a second app registration, which may write, people can restore from here." }
                label for="restore_client_id" { "Application (client) id" }
                input #restore_client_id name="restore_client_id" maxlength="200" spellcheck="false";
                label for="restore_secret" { "Client secret" }
                input #restore_secret name="restore_secret" type="password" autocomplete="off";
            }
            details { summary { "A simulated tenant" }
                label for="address" { "Its address" }
                input #address name="address" type="url" placeholder="http://127.0.0.1:8080";
            }
            button type="submit" { "Connect and test" }
        }
    }
}

/// Takes the form.
pub(super) async fn add(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At(account): At<Id>,
    Form(typed): Form<Typed>,
) -> Answer {
    let address = given(&typed.address);
    let wanted = TenantToBe {
        name: typed.name,
        definition: TenantDefinition {
            tenant_id: typed.tenant_id.trim().to_owned(),
            client_id: typed.client_id.trim().to_owned(),
            sign_in: typed.sign_in,
            certificate: given(&typed.certificate).filter(|_| typed.sign_in == SignInWay::Certificate),
            cloud: given(&typed.cloud).unwrap_or_else(|| "global".to_owned()),
            graph_url: address.clone(),
            login_url: address,
            restore: given(&typed.restore_client_id).map(|client_id| RestoreApp {
                client_id,
                sign_in: SignInWay::Secret,
                certificate: None,
            }),
        },
        secret: Some(typed.secret),
        restore_secret: given(&typed.restore_secret).map(Password::new),
    };
    let tenant = tenants::add(&server, &actor, &account, &wanted).await?;
    // What the test finds stands on the tenant's page; that it cannot sign in, too.
    if let Err(e) = tenants::test(&server, &actor, &account, &tenant.id).await {
        let state = serde_json::json!({"error": e.chain(), "hint": e.hint()});
        server.db.keep_tenant_state(&tenant.id, &state.to_string(), server.now_us()).await?;
    }
    Ok(go(&format!("/a/{account}/tenants/{}", tenant.id)))
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
    let body = html! {
        h1 { (tenant.name) }
        (super::sets::way_back(&server, &actor, &account.id).await?)
        p { "Directory " code { (tenant.definition.tenant_id) } ", app " code { (tenant.definition.client_id) }
            @if let Some(app) = &tenant.definition.restore { ", restores by app " code { (app.client_id) } }
        }
        @if !tenant.has_secret() {
            p.notice.warn { "Its app and the secret have to be entered: they lie in no repository." }
        }
        @match &state {
            None => { p.empty { "It was not tested yet." } }
            Some(state) => { (tested(state)) }
        }
        @if actor.may(Right::Change, Some(&account.id)) { (restore_app(&here, &tenant)) }
        @if actor.may(Right::Change, Some(&account.id)) {
            details open[!tenant.has_secret()] {
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
        div.actions {
            @if actor.may(Right::Run, Some(&account.id)) {
                form method="post" action={ (here) "/test" } { button type="submit" { "Test now" } }
            }
            @if actor.may(Right::Change, Some(&account.id)) {
                form method="post" action={ (here) "/removal" } { button.danger type="submit" { "Disconnect" } }
            }
        }
    };
    Ok(Page(page(&tenant.name, chrome, &body)).into_response())
}

pub(super) fn tested(state: &Value) -> Markup {
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let permissions = state.get("permissions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let missing = state.get("missing").and_then(Value::as_u64).unwrap_or(0);
    html! {
        @if let Some(error) = state.get("error").and_then(Value::as_str) {
            section.notice.bad role="alert" { p { (error) } @if let Some(hint) = state.get("hint").and_then(Value::as_str) { p.hint { (hint) } } }
        } @else if missing > 0 {
            section.notice.warn {
                p { (missing) " permissions are missing. Add them to the app registration as application permissions, then let a Global Administrator consent:" }
                p { a.button href=(text(state, "consent")) rel="noreferrer" target="_blank" { "Grant consent at Microsoft" } }
            }
        } @else { p.notice.good { "Signed in; everything that is needed is granted." } }
        @if let Some(days) = state.get("secret_days").and_then(Value::as_i64) {
            p { "The secret is good for " (days) " more days." }
        }
        @if !permissions.is_empty() { (table_of(permissions, "bad")) }
        @let restore = state.get("restore").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        @if !restore.is_empty() {
            h2 { "To restore" }
            p.quiet { "Nothing of this is needed to back up." }
            (table_of(restore, "warn"))
        }
        @if let Some(error) = state.get("restore_error").and_then(Value::as_str) { p.notice.warn { "The app that restores cannot sign in: " (error) } }
    }
}

/// Permissions, each with its state; `lacks` is the mark of one that is missing.
fn table_of(permissions: &[Value], lacks: &str) -> Markup {
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    html! {
        div.scroll tabindex="0" { table {
            thead { tr { th scope="col" { "Permission" } th scope="col" { "State" } th scope="col" { "What for" } } }
            tbody { @for permission in permissions {
                @let word = text(permission, "state");
                tr {
                    th scope="row" { code { (text(permission, "name")) } }
                    td { span class={ "state " (match word.as_str() { "granted" => "good", "unknown" => "calm", _ => lacks }) } { (word) } }
                    td { (text(permission, "message")) }
                }
            } }
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
                label for="restore_secret" { "Client secret" }
                input #restore_secret name="restore_secret" type="password" autocomplete="off";
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
    let app = |client_id| RestoreApp { client_id, sign_in: SignInWay::Secret, certificate: None };
    let restore = given(&typed.restore_client_id).map(app);
    let secret = typed.restore_secret.filter(|secret| restore.is_some() && !secret.expose().trim().is_empty());
    let wanted = TenantToBe {
        name: tenant.name.clone(),
        definition: TenantDefinition { restore, ..tenant.definition.clone() },
        secret: None,
        restore_secret: secret,
    };
    tenants::change(&server, &actor, &account, &id, &wanted).await?;
    if let Err(e) = tenants::test(&server, &actor, &account, &id).await {
        let state = serde_json::json!({"error": e.chain(), "hint": e.hint()});
        server.db.keep_tenant_state(&id, &state.to_string(), server.now_us()).await?;
    }
    Ok(go(&format!("/a/{account}/tenants/{id}")))
}

/// Tests it.
pub(super) async fn test(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, tenant)): At<(Id, Id)>,
) -> Answer {
    if let Err(e) = tenants::test(&server, &actor, &account, &tenant).await {
        let state = serde_json::json!({"error": e.chain(), "hint": e.hint()});
        server.db.tenant(&account, &tenant).await?;
        server.db.keep_tenant_state(&tenant, &state.to_string(), server.now_us()).await?;
    }
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
