//! The first step: a name, and the tenant, with what the last test of it found.

use maud::{Markup, html};
use serde_json::Value;

use super::desk::{Desk, Done};
use crate::error::Result;
use crate::server::db::Tenant;
use crate::server::deeds::tenants;
use crate::server::id::Id;
use crate::server::pages::{part, tenants as pages, words};

/// The tenant that is chosen; of none the one that was connected last.
async fn chosen(desk: &Desk) -> Result<(Vec<Tenant>, Option<Tenant>)> {
    let all = desk.server.db.tenants(&desk.account.id).await?;
    let wanted = desk.fields.get("tenant");
    let found = all.iter().find(|tenant| tenant.id.as_str() == wanted);
    let found = found.or_else(|| all.iter().max_by_key(|tenant| tenant.created_us)).cloned();
    Ok((all, found))
}

/// What is typed.
pub(super) async fn part(desk: &Desk) -> Result<Markup> {
    let (all, found) = chosen(desk).await?;
    let fixed = desk.set.is_some();
    Ok(html! {
        @if fixed { p { "Name: " strong { (desk.fields.get("name")) } } } @else {
            label for="name" { "Name of the backup set, " span.quiet { "letters, digits and . _ - +" } }
            input #name name="name" required maxlength="100" value=(desk.fields.get("name")) spellcheck="false";
        }
        @if fixed { p.quiet { "A backup set keeps its name, its tenant and its repository: its snapshots are found by them." } }
        @if all.is_empty() {
            p.empty { "No tenant is connected yet." }
        } @else if !fixed {
            @let is_chosen = |tenant: &Tenant| found.as_ref().is_some_and(|found| found.id == tenant.id);
            (part::narrower("find_tenant", desk.sent("find_tenant"), all.len()))
            label for="tenant" { "Tenant" }
            select #tenant name="tenant" data-stay { @for tenant in part::offered(&all, desk.sent("find_tenant"), |tenant| &tenant.name, is_chosen) {
                option value=(tenant.id) selected[is_chosen(tenant)] { (tenant.name) }
            } }
        }
        @if let Some(tenant) = &found { (stands(desk, tenant)) }
        @if !fixed {
            h3 { "Another tenant" }
            p.quiet { "Connecting one is a page of its own, and leads back here. What you typed is kept." }
            button.plain type="submit" name="do" value="connect" { "Connect a tenant" }
        }
    })
}

/// How a tenant stands, as its test told.
fn stands(desk: &Desk, tenant: &Tenant) -> Markup {
    let state: Option<Value> = tenant.state.as_deref().and_then(|text| serde_json::from_str(text).ok());
    html! {
        section.found {
            h3 { "Is '" (tenant.name) "' ready?" }
            @match &state {
                None => { p.notice.warn { "It has not been tested yet: test it now to see whether it can be read." } }
                Some(state) => { (verdict(state, tenant, desk.server.now_us())) }
            }
            @if let Some(at) = tenant.checked_us { p.quiet { "Tested " (words::time(at)) ". " a href={ "/a/" (desk.account.id) "/tenants/" (tenant.id) } { "The tenant's page" } } }
            button.plain #test type="submit" name="do" value="test" data-inplace { "Test it now" }
        }
    }
}

/// What the test found; the table of permissions stands behind a summary.
fn verdict(state: &Value, tenant: &Tenant, now_us: i64) -> Markup {
    let granted = pages::each(pages::permissions(state)).len();
    let whole = state.get("error").is_none() && pages::missing(state) == Some(0);
    html! {
        @if whole { p.notice.good { "It signs in, and all " (granted) " permissions that a backup needs are granted." } }
        @else { (pages::tested(state, tenant, now_us)) }
    }
}

/// What the buttons do.
pub(super) async fn press(desk: &mut Desk, button: &str) -> Result<Done> {
    let account = desk.account.id.clone();
    match button {
        "connect" => {
            // Back here, the new one is what is meant.
            desk.fields.set("tenant", "");
            Ok(Done::Go(format!("/a/{account}/tenants")))
        }
        "test" => {
            let (_, found) = chosen(desk).await?;
            let Some(tenant) = found else { return Ok(Done::Stay) };
            test(desk, &account, &tenant.id).await?;
            desk.fields.set("tenant", tenant.id.as_str());
            Ok(Done::Stay)
        }
        _ => Ok(Done::Stay),
    }
}

/// Tests a tenant; that it cannot sign in is what the test found.
async fn test(desk: &Desk, account: &Id, tenant: &Id) -> Result<()> {
    if let Err(e) = tenants::test(&desk.server, &desk.actor, account, tenant).await {
        let state = serde_json::json!({"error": e.chain(), "hint": e.hint()});
        desk.server.db.keep_tenant_state(tenant, &state.to_string(), desk.server.now_us()).await?;
    }
    Ok(())
}
