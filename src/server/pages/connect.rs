//! Connecting: a tenant through an administrator, or one user's own account. What leads to Microsoft: `sign_ins`.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;

use super::tenants::{self as tenants_page, given};
use super::{Answer, Form, go, sign_ins, words};
use crate::error::{Error, Result};
use crate::graph::Caller;
use crate::ops::access::{LABELS, PERMISSIONS};
use crate::server::auth::{Actor, Password};
use crate::server::connect::user;
use crate::server::db::{Account, RestoreApp, SignInKind, SignInWay, Tenant, TenantDefinition};
use crate::server::deeds::sign_in::{self, SignInView};
use crate::server::deeds::tenants::{self, TenantToBe};
use crate::server::id::Id;
use crate::server::state::Server;
use crate::server::web::At;
use crate::snapshot::set::Workload;

/// What the page is opened with.
#[derive(Debug, Deserialize)]
pub(super) struct Given {
    /// A consent that was given.
    #[serde(default)]
    consent: String,
}

/// What the form of an app sends.
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
    #[serde(default)]
    consent: String,
}

/// The forms below the list; `first`: nothing is connected yet.
pub(super) async fn forms(
    server: &Server,
    actor: &Actor,
    account: &Account,
    asked: &Given,
    first: bool,
) -> Result<Markup> {
    let consent = match given(&asked.consent) {
        Some(id) => Some(sign_in::look(server, actor, &account.id, &Id::parse(&id)?).await?),
        None => None,
    };
    let base = format!("/a/{}", account.id);
    Ok(html! {
        h2 #connect { "Connect Microsoft 365" }
        p { "A whole tenant, through an administrator; or one user's own account, which that user signs in to." }
        details open[first || consent.is_some()] { summary { "A tenant, through an administrator" } (app(server, &base, consent.as_ref())) }
        details { summary { "One user's own account" } (of_one(server, &base)) }
    })
}

/// The clouds to choose from.
fn clouds(id: &str) -> Markup {
    html! {
        label for=(id) { "Cloud" }
        select id=(id) name="cloud" {
            option value="global" { "Worldwide" } option value="usgov" { "US Government (GCC High)" }
            option value="usgov-dod" { "US Government (DoD)" } option value="china" { "China (21Vianet)" }
        }
    }
}

fn simulated(id: &str) -> Markup {
    html! {
        details { summary { "A simulated tenant" }
            label for=(id) { "Its address" }
            input id=(id) name="address" type="url" placeholder="http://127.0.0.1:8080";
        }
    }
}

/// Which address must stand in the app registration, so that Microsoft leads back here; or why it cannot.
pub(super) fn told_redirect(server: &Server) -> Markup {
    match user::redirect(server) {
        Ok(address) => html! {
            p { "This address must stand in the app registration (Authentication, Add a platform, Mobile and desktop applications): " code { (address) } }
        },
        Err(e) => html! { p.notice.warn { (e) ". " @if let Some(hint) = e.hint() { (words::sentence(hint)) } } },
    }
}

/// The permissions that an app which backs up is given, each name once, with what they are for.
fn needed() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut all: Vec<(&str, Vec<&str>)> = Vec::new();
    for permission in PERMISSIONS.iter().chain([&LABELS]) {
        match all.iter_mut().find(|(name, _)| *name == permission.name) {
            Some((_, uses)) => uses.push(permission.purpose),
            None => all.push((permission.name, vec![permission.purpose])),
        }
    }
    all
}

fn app(server: &Server, base: &str, consent: Option<&SignInView>) -> Markup {
    let tenant_id = consent.and_then(|consent| consent.tenant_id.as_deref());
    let client_id = consent.and_then(|consent| consent.client_id.as_deref());
    html! {
        p { "In the Entra admin center make an app registration for the backup, and add these application permissions of Microsoft Graph. What no backup set reads can go without; the test says what is missing." }
        details { summary { "Permissions, each with what it is for" }
            ul { @for (name, uses) in needed() { li { code { (name) } ": " (uses.join("; ")) } } }
        }
        @if let Some(tenant_id) = tenant_id {
            p.notice.good role="status" { "An administrator of directory " code { (tenant_id) } " consented to the app. What is missing is its secret or certificate." }
        } @else {
            form.card method="post" action={ (base) "/consents" } {
                h3 { "1. Let an administrator consent" }
                p.quiet { "Microsoft asks a Global Administrator, and leads back here with the directory's id filled in. Who consents in the Entra admin center goes on at 2." }
                (told_redirect(server))
                label for="c_client_id" { "Application (client) id" }
                input #c_client_id name="client_id" required maxlength="200" spellcheck="false";
                label for="c_tenant_id" { "Directory (tenant) id or a domain, " span.quiet { "if it is to be that one and no other" } }
                input #c_tenant_id name="tenant_id" maxlength="200" spellcheck="false";
                (clouds("c_cloud"))
                (simulated("c_address"))
                button type="submit" { "Ask for consent" }
            }
        }
        form.card method="post" action={ (base) "/tenants" } {
            h3 { "2. How the app signs in" }
            @if let Some(consent) = consent { input type="hidden" name="consent" value=(consent.id); }
            label for="name" { "Name" }
            input #name name="name" required maxlength="100" placeholder="Contoso";
            label for="tenant_id" { "Directory (tenant) id, or a domain" }
            input #tenant_id name="tenant_id" required maxlength="200" spellcheck="false" value=[tenant_id];
            label for="client_id" { "Application (client) id" }
            input #client_id name="client_id" required maxlength="200" spellcheck="false" value=[client_id];
            fieldset {
                legend { "The app signs in by" }
                label { input type="radio" name="sign_in" value="secret" checked; " a client secret" }
                label { input type="radio" name="sign_in" value="certificate"; " a certificate" }
            }
            label for="secret" { "Client secret, or the private key (PEM)" }
            textarea #secret name="secret" required spellcheck="false" autocomplete="off" {}
            label for="certificate" { "Certificate (PEM), " span.quiet { "if it signs in by one" } }
            textarea #certificate name="certificate" spellcheck="false" {}
            (clouds("cloud"))
            details { summary { "Another app for restores" }
                p.quiet { "The app that backs up needs no right to write, and is safer without. With a second app registration, which may write, people can restore from here." }
                label for="restore_client_id" { "Application (client) id" }
                input #restore_client_id name="restore_client_id" maxlength="200" spellcheck="false";
                label for="restore_secret" { "Client secret" }
                input #restore_secret name="restore_secret" type="password" autocomplete="off";
            }
            (simulated("address"))
            button type="submit" { "Connect and test" }
        }
    }
}

fn of_one(server: &Server, base: &str) -> Markup {
    html! {
        form.card method="post" action={ (base) "/tenants/of-user" } {
            p { "A backup set of it protects what that user may see of their own, and nothing else. The user signs in at Microsoft; this server learns no password, and keeps what it gets sealed." }
            p.quiet { "It takes an app registration with delegated permissions of Microsoft Graph. Under Authentication, 'Allow public client flows' must be on for device codes." }
            label for="u_name" { "Name" }
            input #u_name name="name" required maxlength="100" placeholder="Alice's account";
            label for="u_client_id" { "Application (client) id" }
            input #u_client_id name="client_id" required maxlength="200" spellcheck="false";
            fieldset {
                legend { "Which kind of account" }
                label { input type="radio" name="kind" value="work" checked; " of a company or school" }
                label { input type="radio" name="kind" value="personal"; " a personal one (Outlook.com, OneDrive)" }
            }
            label for="u_tenant_id" { "Directory (tenant) id or a domain, " span.quiet { "of a company or school" } }
            input #u_tenant_id name="tenant_id" maxlength="200" spellcheck="false";
            (asks_for(&TenantDefinition::default()))
            (ways(server))
            (clouds("u_cloud"))
            (simulated("u_address"))
            button type="submit" { "Go on to the sign-in" }
        }
    }
}

/// What a part is called.
fn label(part: Workload) -> &'static str {
    match part {
        Workload::Mail => "Mail",
        Workload::OneDrive => "OneDrive",
        Workload::Contacts => "Contacts",
        Workload::Calendar => "Calendars",
        Workload::Tasks => "To Do",
        Workload::Settings => "Settings, rules and categories",
        Workload::PersonalSite => "Personal site (an administrator may have to consent)",
        Workload::Groups => "Groups (an administrator has to consent)",
        Workload::Sites => "Sites (an administrator may have to consent)",
        Workload::Teams => "Teams (an administrator has to consent)",
        Workload::Chats => "Chats",
    }
}

/// What the sign-in asks for.
fn asks_for(definition: &TenantDefinition) -> Markup {
    let chosen = user::parts(definition).unwrap_or_default();
    html! {
        fieldset {
            legend { "What the user is asked to let it read" }
            @for part in Workload::ALL {
                label { input type="checkbox" name="part" value=(part.word()) checked[chosen.contains(part)]; " " (label(*part)) }
            }
        }
        label { input type="checkbox" name="may_restore" value="yes" checked[definition.may_restore]; " and to write it, so that it can be restored from here" }
    }
}

/// The ways to sign in.
fn ways(server: &Server) -> Markup {
    let led_back = user::redirect(server).is_ok();
    html! {
        fieldset {
            legend { "How" }
            label { input type="radio" name="way" value="redirect" checked[led_back] disabled[!led_back]; " in this browser: Microsoft leads back here" }
            label { input type="radio" name="way" value="device-code" checked[!led_back]; " with a code that is typed at Microsoft, in any browser" }
            label { input type="radio" name="way" value="paste"; " in this browser, and paste the address of the last page here" }
        }
        (told_redirect(server))
        p.quiet { "For the third way, " code { "https://login.microsoftonline.com/common/oauth2/nativeclient" } " must be listed there too (in national clouds with their sign-in address)." }
    }
}

/// What stands on the page of a user's own account.
pub(super) fn of_user(server: &Server, here: &str, tenant: &Tenant, may_change: bool) -> Markup {
    let personal = user::caller(&tenant.definition) == Caller::Personal;
    let signed_in = tenant.has_secret() && tenant.refused.is_none();
    html! {
        @match (&tenant.user, &tenant.refused) {
            (_, Some(refused)) => {
                section.notice.bad role="alert" {
                    p { strong { "Sign in again: " } (refused.error) "." }
                    p { "Nothing can be backed up until somebody does. It has been so since " (words::time(refused.since_us)) "." }
                    @if let Some(hint) = &refused.hint { p.hint { (words::sentence(hint)) } }
                }
            }
            (Some(user), None) => {
                p { (if personal { "The personal account of " } else { "The account of " }) strong { (user.name) } ", who signed in " (words::time(user.signed_in_us)) "." }
            }
            (None, None) => { p.notice.warn { "Nobody has signed in yet." } }
        }
        @if may_change {
            details open[!signed_in] {
                summary { (if tenant.user.is_some() { "Sign in again" } else { "Sign in" }) }
                form.card method="post" action={ (here) "/sign-ins" } {
                    (ways(server))
                    button type="submit" { "Go on to the sign-in" }
                }
            }
            details { summary { "What is asked for" }
                form.card method="post" action={ (here) "/parts" } {
                    p.quiet { "It holds from the next sign-in on." }
                    (asks_for(&tenant.definition))
                    button type="submit" { "Save" }
                }
            }
        }
    }
}

/// Asking for an administrator's consent to the app of a tenant.
pub(super) fn consent(server: &Server, here: &str, state: Option<&Value>) -> Markup {
    let missing = state.and_then(tenants_page::missing).unwrap_or(0);
    html! {
        details { summary { "Ask an administrator for consent" @if missing > 0 { " (" (tenants_page::lacking(missing)) " missing)" } }
            form.card method="post" action={ (here) "/consent" } {
                p.quiet { "Microsoft asks a Global Administrator for all permissions that the app registration lists, and leads back here." }
                (told_redirect(server))
                button type="submit" { "Ask for consent" }
            }
        }
    }
}

/// Takes the form of an app.
pub(super) async fn add(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At(account): At<Id>,
    Form(typed): Form<Typed>,
) -> Answer {
    let address = given(&typed.address);
    let restore = |client_id| RestoreApp { client_id, sign_in: SignInWay::Secret, certificate: None };
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
            restore: given(&typed.restore_client_id).map(restore),
            ..TenantDefinition::default()
        },
        secret: Some(typed.secret),
        restore_secret: given(&typed.restore_secret).map(Password::new),
        consent: given(&typed.consent).map(|id| Id::parse(&id)).transpose()?,
    };
    let tenant = tenants::add(&server, &actor, &account, &wanted).await?;
    // What the test finds stands on the tenant's page; that it cannot sign in, too.
    tenants::test_and_tell(&server, &actor, &account, &tenant.id).await?;
    Ok(go(&format!("/a/{account}/tenants/{}", tenant.id)))
}

/// A form with boxes to tick: names may come several times.
pub(super) type Fields = Vec<(String, String)>;

fn field<'a>(fields: &'a [(String, String)], name: &str) -> &'a str {
    fields.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.trim())
}

/// The parts that were ticked.
fn ticked(fields: &[(String, String)]) -> Vec<String> {
    fields.iter().filter(|(name, _)| name == "part").map(|(_, value)| value.clone()).collect()
}

/// The way that was chosen.
///
/// # Errors
/// `InvalidInput` for none that there is.
pub(super) fn way(fields: &[(String, String)]) -> Result<SignInKind> {
    let way = serde_json::from_value(Value::String(field(fields, "way").to_owned())).ok();
    way.filter(|way| *way != SignInKind::Consent).ok_or_else(|| Error::invalid("Choose a way to sign in"))
}

/// Takes the form of a user's own account, and goes on to the sign-in.
pub(super) async fn add_of_user(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At(account): At<Id>,
    Form(fields): Form<Fields>,
) -> Answer {
    let way = way(&fields)?;
    let personal = field(&fields, "kind") == "personal";
    let address = given(field(&fields, "address"));
    let parts = ticked(&fields);
    if parts.is_empty() {
        return Err(Error::invalid("Nothing is ticked of what may be read").with_hint("Tick at least one").into());
    }
    let wanted = TenantToBe {
        name: field(&fields, "name").to_owned(),
        definition: TenantDefinition {
            tenant_id: match personal {
                true => crate::graph::user::PERSONAL.to_owned(),
                false => field(&fields, "tenant_id").to_owned(),
            },
            client_id: field(&fields, "client_id").to_owned(),
            sign_in: SignInWay::User,
            cloud: given(field(&fields, "cloud")).unwrap_or_else(|| "global".to_owned()),
            graph_url: address.clone(),
            login_url: address,
            parts,
            may_restore: !field(&fields, "may_restore").is_empty(),
            ..TenantDefinition::default()
        },
        secret: None,
        restore_secret: None,
        consent: None,
    };
    let tenant = tenants::add(&server, &actor, &account, &wanted).await?;
    sign_ins::begun(&server, &actor, &account, &tenant.id, way).await
}

/// Changes what is asked for at the next sign-in.
pub(super) async fn set_parts(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, id)): At<(Id, Id)>,
    Form(fields): Form<Fields>,
) -> Answer {
    let tenant = server.db.tenant(&account, &id).await?;
    let parts = ticked(&fields);
    if parts.is_empty() {
        return Err(Error::invalid("Nothing is ticked of what may be read").with_hint("Tick at least one").into());
    }
    let may_restore = !field(&fields, "may_restore").is_empty();
    let wanted = TenantToBe {
        name: tenant.name.clone(),
        definition: TenantDefinition { parts, may_restore, ..tenant.definition },
        secret: None,
        restore_secret: None,
        consent: None,
    };
    tenants::change(&server, &actor, &account, &id, &wanted).await?;
    Ok(go(&format!("/a/{account}/tenants/{id}")))
}
