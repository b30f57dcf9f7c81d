//! An administrator's consent to an app: asked for at Microsoft, which leads the browser back with the directory's id.

use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::sign_in::{Begun, SignInView, begun, end, keep, of_microsoft, of_session, over, own, state_of, view};
use super::{note, tenants};
use crate::error::{Error, Result};
use crate::server::auth::Actor;
use crate::server::connect::{self, cloud, user};
use crate::server::db::{SignInKind, SignInRow, SignInState, TenantDefinition};
use crate::server::id::Id;
use crate::server::state::Server;

/// How long somebody may take at Microsoft.
const PATIENCE_US: i64 = 15 * 60_000_000;

/// An app that an administrator is to consent to.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConsentWanted {
    /// The app registration's (client) id.
    #[schema(min_length = 1, max_length = 200)]
    pub(crate) client_id: String,
    /// The directory's id or one of its domains; left out: that of the administrator who consents.
    #[serde(default)]
    #[schema(max_length = 200)]
    pub(crate) tenant_id: Option<String>,
    /// The national cloud.
    #[serde(default = "global")]
    pub(crate) cloud: String,
    /// The sign-in service's and Graph's address, where it is another than the cloud's: for simulated tenants.
    #[serde(default)]
    #[schema(max_length = 2000)]
    pub(crate) address: Option<String>,
}

fn global() -> String {
    "global".to_owned()
}

/// Begins to ask for an administrator's consent to an app.
///
/// # Errors
/// `InvalidInput` for ids that are none, or without a session; `Permission` for addresses that are not reached.
pub(crate) async fn begin(server: &Server, actor: &Actor, account: &Id, wanted: &ConsentWanted) -> Result<SignInView> {
    let given = wanted.tenant_id.as_deref().map(str::trim).filter(|id| !id.is_empty());
    let definition = TenantDefinition {
        tenant_id: given.unwrap_or("organizations").to_owned(),
        client_id: wanted.client_id.trim().to_owned(),
        cloud: wanted.cloud.clone(),
        graph_url: wanted.address.clone(),
        login_url: wanted.address.clone(),
        ..TenantDefinition::default()
    };
    ask_consent(server, actor, account, None, definition).await
}

/// The same, for the app of a tenant that is connected.
///
/// # Errors
/// As [`begin`].
pub(crate) async fn begin_of(server: &Server, actor: &Actor, account: &Id, tenant: &Id) -> Result<SignInView> {
    let tenant = server.db.tenant(account, tenant).await?;
    let definition = TenantDefinition { restore: None, ..tenant.definition };
    ask_consent(server, actor, account, Some(&tenant.id), definition).await
}

async fn ask_consent(
    server: &Server,
    actor: &Actor,
    account: &Id,
    tenant: Option<&Id>,
    definition: TenantDefinition,
) -> Result<SignInView> {
    of_session(actor)?;
    connect::check(server, &definition, None).await?;
    of_microsoft(&definition)?;
    let expires_us = server.now_us() + PATIENCE_US;
    let row = SignInRow::new(Id::random(), account, tenant, (SignInKind::Consent, &actor.way), expires_us, 0);
    let state = state_of(server, &row);
    let back = user::redirect(server)?;
    let address =
        cloud(&definition)?.admin_consent_request(&definition.tenant_id, &definition.client_id, &back, &state)?;
    let client_id = definition.client_id.clone();
    let begun = Begun::Consent { wanted: Box::new(definition), address: address.to_string(), state };
    keep(server, &row, &begun).await?;
    note(server, actor, account, "tenant.consent-asked", &client_id, json!({})).await?;
    view(server, &own(server, actor, account, &row.id).await?)
}

/// Takes what came back from an administrator's consent. Microsoft signs nothing of it: what counts is what the test finds.
pub(super) async fn consented(server: &Server, actor: &Actor, row: &SignInRow, state: &str, query: &str) -> Result<()> {
    let Begun::Consent { wanted, state: own, .. } = begun(server, row)? else { return Err(over()) };
    if *own != *state || !server.db.take_sign_in(&row.id, server.now_us()).await? {
        return Err(over());
    }
    let found = |wanted: &str| {
        let mut pairs = url::form_urlencoded::parse(query.as_bytes());
        pairs.find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned())
    };
    let done = match (found("error"), found("admin_consent"), found("tenant")) {
        (Some(error), ..) => {
            let told = found("error_description");
            let cloud = cloud(&wanted)?;
            Err(crate::graph::consent_refused(&cloud, &wanted.tenant_id, &wanted.client_id, &error, told.as_deref()))
        }
        (None, Some(yes), Some(tenant)) if yes.eq_ignore_ascii_case("true") && is_guid(&tenant) => {
            if is_guid(&wanted.tenant_id) && !tenant.eq_ignore_ascii_case(&wanted.tenant_id) {
                Err(Error::invalid(format!("Consent was given in another directory, {tenant}"))
                    .with_hint("Sign in at Microsoft as an administrator of the directory that is to be backed up"))
            } else {
                Ok(json!({"tenant_id": tenant.to_ascii_lowercase(), "client_id": wanted.client_id}))
            }
        }
        _ => Err(Error::invalid("Microsoft says neither that consent was given nor that it was declined")
            .with_hint("Ask again")),
    };
    let Some(tenant) = row.tenant.as_ref().filter(|_| done.is_ok()) else {
        return end(server, actor, row, &wanted.client_id, done).await;
    };
    let tenant = server.db.tenant(&row.account, tenant).await?;
    if (TenantDefinition { restore: None, ..tenant.definition.clone() }) != *wanted {
        let changed = Error::invalid("The tenant was changed while consent was asked for").with_hint("Ask again");
        return end(server, actor, row, &tenant.name, Err(changed)).await;
    }
    server.db.keep_consent(&tenant.id, &actor.login, server.now_us()).await?;
    end(server, actor, row, &tenant.name, done).await?;
    tenants::test_and_tell(server, actor, &row.account, &tenant.id).await
}

/// Whether this is a directory's id.
fn is_guid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// Says whether an administrator consented to an app in a directory, by a consent that this session asked for.
///
/// # Errors
/// `InvalidInput` when not.
pub(crate) async fn is_to(
    server: &Server,
    actor: &Actor,
    account: &Id,
    consent: &Id,
    definition: &TenantDefinition,
) -> Result<()> {
    let view = view(server, &own(server, actor, account, consent).await?)?;
    let same = |found: Option<&str>, wanted: &str| found.is_some_and(|id| id.eq_ignore_ascii_case(wanted));
    let fits = view.kind == SignInKind::Consent
        && view.state == SignInState::Done
        && same(view.tenant_id.as_deref(), &definition.tenant_id)
        && same(view.client_id.as_deref(), &definition.client_id);
    if fits { Ok(()) } else { Err(Error::invalid("The consent was given to another app, or in another directory")) }
}
