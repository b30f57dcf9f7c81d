//! Signing in to a tenant as its user, by any way. An administrator's consent to an app goes the same way: `consent`.
//!
//! What leads to Microsoft and back is kept as a row, sealed, for the minutes that it takes. The `state` that comes back names
//! the row, and carries a mark (MAC) of the row, the account, the session that began it and its end: one that was made up, of
//! another session, of another account, too old or used already leads nowhere. The code alone opens nothing, for its verifier
//! never left the server (PKCE), and goes to the sign-in server that the row names, and to no other.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::{consent, note, tenants};
use crate::error::{Error, ErrorKind, Result};
use crate::graph::user::{
    CodeRequest, DeviceAnswer, DeviceCode, Keeper as _, Kept, KeptDeviceCode, KeptRequest, SignedIn,
};
use crate::graph::{Account, UserSignIn, cloud::is_safe};
use crate::server::auth::{Actor, Password, Right};
use crate::server::connect::user::{self, DbKeeper};
use crate::server::connect::{self, cloud};
use crate::server::db::{SignInKind, SignInRow, SignInState, Tenant, TenantDefinition};
use crate::server::id::Id;
use crate::server::state::Server;

/// How long somebody may take at Microsoft.
const PATIENCE_US: i64 = 15 * 60_000_000;
/// The longest that a device code is waited for.
const MOST_DEVICE_US: i64 = 30 * 60_000_000;
/// The longest address that a browser comes back with.
const MOST_QUERY: usize = 16 << 10;
/// The longest code to type, and address to type it at.
const MOST_USER_CODE: usize = 40;
const MOST_ADDRESS: usize = 500;

/// What it takes to end a sign-in: sealed in its row.
#[derive(Serialize, Deserialize)]
pub(super) enum Begun {
    Code { definition: String, scopes: Vec<String>, request: KeptRequest },
    Device { definition: String, scopes: Vec<String>, device: KeptDeviceCode },
    Consent { wanted: Box<TenantDefinition>, address: String, state: Zeroizing<String> },
}

/// A sign-in, as who began it sees it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct SignInView {
    /// The sign-in's id.
    pub(crate) id: Id,
    /// The tenant; left out at a consent for one that is yet to be connected.
    pub(crate) tenant: Option<Id>,
    /// Which way.
    pub(crate) kind: SignInKind,
    /// How it stands.
    pub(crate) state: SignInState,
    /// Where at Microsoft it goes on, while it is open.
    pub(crate) address: Option<String>,
    /// What is typed there, if it is a device code.
    pub(crate) user_code: Option<String>,
    /// Seconds to wait before looking again, if it is a device code.
    pub(crate) wait_s: i64,
    /// Until when it is good.
    pub(crate) expires_us: i64,
    /// Who signed in.
    pub(crate) user: Option<String>,
    /// The directory in which an administrator consented.
    pub(crate) tenant_id: Option<String>,
    /// The app that was consented to.
    pub(crate) client_id: Option<String>,
    /// Why it did not work.
    pub(crate) error: Option<String>,
    /// What to do then.
    pub(crate) hint: Option<String>,
}

/// The state that Microsoft is to lead back with.
pub(super) fn state_of(server: &Server, row: &SignInRow) -> Zeroizing<String> {
    let mark = server.vault.mark(&parts(row).iter().map(String::as_str).collect::<Vec<_>>());
    Zeroizing::new(format!("{}.{mark}", row.id))
}

/// What the state is a mark of.
fn parts(row: &SignInRow) -> [String; 5] {
    let tenant = row.tenant.as_ref().map(Id::to_string).unwrap_or_default();
    [row.id.to_string(), row.account.to_string(), tenant, row.way.clone(), row.expires_us.to_string()]
}

pub(super) fn of_session(actor: &Actor) -> Result<()> {
    if actor.session.is_some() {
        return Ok(());
    }
    Err(Error::invalid("A browser that comes back from Microsoft belongs to a session on the pages, not to a token")
        .with_hint("Begin it on the pages; with a token sign in by device code or by pasting"))
}

/// A sign-in server that is neither Microsoft's nor on this machine could lead the browser on to Microsoft's, and have the code.
pub(super) fn of_microsoft(definition: &TenantDefinition) -> Result<()> {
    if cloud(definition)?.signs_in_at_microsoft() {
        return Ok(());
    }
    Err(Error::invalid("Browsers are led to Microsoft's own sign-in only, and the tenant names another address")
        .with_hint("Sign in by device code"))
}

fn text_of(definition: &TenantDefinition) -> Result<String> {
    serde_json::to_string(definition).map_err(|e| Error::internal("A definition cannot be kept").with_source(e))
}

pub(super) async fn keep(server: &Server, row: &SignInRow, begun: &Begun) -> Result<()> {
    let text = serde_json::to_string(begun).map(Zeroizing::new);
    let text = text.map_err(|_| Error::internal("A sign-in cannot be kept"))?;
    server.db.begin_sign_in(&server.vault, row, &text, server.now_us()).await
}

pub(super) fn begun(server: &Server, row: &SignInRow) -> Result<Begun> {
    let text = row.secret(&server.vault)?;
    serde_json::from_str(&text).map_err(|_| Error::corrupt("A sign-in in the database cannot be read"))
}

/// Begins to sign in to a tenant as its user.
///
/// # Errors
/// `InvalidInput` for a tenant that an app signs in to, or a way that does not lead there; what Microsoft says, explained.
pub(crate) async fn begin(
    server: &Server,
    actor: &Actor,
    account: &Id,
    tenant: &Id,
    kind: SignInKind,
) -> Result<SignInView> {
    let tenant = server.db.tenant(account, tenant).await?;
    if !tenant.is_of_user() {
        return Err(Error::invalid(format!("An app signs in to tenant '{}': nobody else does", tenant.name)));
    }
    connect::reach(server, &tenant.definition).await?;
    let sign_in = user::sign_in(server, &tenant, user::in_a_hurry())?;
    let (definition, scopes) = (text_of(&tenant.definition)?, sign_in.scopes().to_vec());
    let now = server.now_us();
    let new = |expires_us, wait_us| {
        SignInRow::new(Id::random(), account, Some(&tenant.id), (kind, &actor.way), expires_us, wait_us)
    };
    let (row, begun) = match kind {
        SignInKind::Consent => return Err(Error::invalid("A consent is no sign-in")),
        SignInKind::DeviceCode => {
            let device = checked(sign_in.begin_device_code().await.map_err(connect::foreign)?)?;
            let lifetime = i64::try_from(device.lifetime.as_micros()).unwrap_or(i64::MAX).min(MOST_DEVICE_US);
            let row = new(now + lifetime, i64::try_from(device.wait().as_micros()).unwrap_or(PATIENCE_US));
            (row, Begun::Device { definition, scopes, device: device.into() })
        }
        SignInKind::Redirect | SignInKind::Paste => {
            let row = new(now + PATIENCE_US, 0);
            let claims = claims(server, &tenant).await;
            let known = tenant.user.as_ref().map(|user| user.name.as_str());
            let request = match kind {
                SignInKind::Redirect => {
                    of_session(actor)?;
                    of_microsoft(&tenant.definition)?;
                    let back = user::redirect(server)?;
                    sign_in.begin_code_with(&back, state_of(server, &row), known, claims.as_deref())?
                }
                _ => sign_in.begin_paste(known, claims.as_deref())?,
            };
            (row, Begun::Code { definition, scopes, request: request.into() })
        }
    };
    keep(server, &row, &begun).await?;
    note(server, actor, account, "tenant.sign-in-begun", &tenant.name, json!({"way": kind})).await?;
    view(server, &own(server, actor, account, &row.id).await?)
}

/// What Microsoft asked for when it last refused: it is passed on.
async fn claims(server: &Server, tenant: &Tenant) -> Option<String> {
    tenant.refused.as_ref()?;
    let held = DbKeeper::of(server, tenant).hold().await.ok()?;
    held.load().await.ok().flatten()?.claims
}

/// Looks at what a sign-in server wants to be shown: nobody is led anywhere by an address that is none of the web.
fn checked(device: DeviceCode) -> Result<DeviceCode> {
    let good = device.address.len() <= MOST_ADDRESS
        && url::Url::parse(&device.address).is_ok_and(|url| is_safe(&url))
        && (1..=MOST_USER_CODE).contains(&device.user_code.len())
        && device.user_code.bytes().all(|byte| byte.is_ascii_graphic());
    if good {
        return Ok(device);
    }
    Err(Error::new(ErrorKind::Unavailable, "The sign-in server gives a code or an address that cannot be used")
        .with_hint("Check the cloud; or sign in by another way"))
}

/// How a sign-in stands; asks Microsoft, if it is time to, whether the device code was typed.
///
/// # Errors
/// `NotFound` for one that another session or token began, or of another account.
pub(crate) async fn look(server: &Server, actor: &Actor, account: &Id, id: &Id) -> Result<SignInView> {
    let row = own(server, actor, account, id).await?;
    if row.state == SignInState::Open
        && row.kind == SignInKind::DeviceCode
        && server.db.may_ask(id, server.now_us()).await?
    {
        ask_device(server, actor, &row).await?;
        return view(server, &own(server, actor, account, id).await?);
    }
    view(server, &row)
}

pub(super) async fn own(server: &Server, actor: &Actor, account: &Id, id: &Id) -> Result<SignInRow> {
    let row = server.db.sign_in_of(id, &actor.way).await?;
    if row.account == *account { Ok(row) } else { Err(Error::not_found("There is no such sign-in")) }
}

async fn ask_device(server: &Server, actor: &Actor, row: &SignInRow) -> Result<()> {
    let Begun::Device { definition, scopes, device } = begun(server, row)? else {
        return Err(Error::internal("A device code that is none"));
    };
    let (tenant, sign_in) = ready(server, row, &definition).await?;
    let wait = Duration::from_micros(u64::try_from(row.wait_us).unwrap_or_default());
    match sign_in.ask_device_code(&device.into(), wait).await {
        Ok(DeviceAnswer::Pending(longer)) if longer > wait => {
            let longer = i64::try_from(longer.as_micros()).unwrap_or(PATIENCE_US);
            server.db.ask_more_slowly(&row.id, longer, server.now_us()).await
        }
        Ok(DeviceAnswer::Pending(_)) => Ok(()),
        Ok(DeviceAnswer::SignedIn(signed_in)) => {
            if !server.db.take_sign_in(&row.id, server.now_us()).await? {
                return Ok(());
            }
            let done = complete(server, actor, row, &tenant, (definition, scopes), *signed_in).await;
            end(server, actor, row, &tenant.name, done).await
        }
        // The network's: the next question may come through.
        Err(e) if e.is_retryable() => {
            tracing::warn!(sign_in = row.id.as_str(), "It cannot be asked after a sign-in: {}", e.chain());
            Ok(())
        }
        Err(e) => end(server, actor, row, &tenant.name, Err(e)).await,
    }
}

/// The tenant of a sign-in and the way to it, if it is reached as it was when the sign-in began.
async fn ready(server: &Server, row: &SignInRow, definition: &str) -> Result<(Tenant, UserSignIn)> {
    let tenant = row.tenant.as_ref().ok_or_else(|| Error::internal("A sign-in without a tenant"))?;
    let tenant = server.db.tenant(&row.account, tenant).await?;
    if text_of(&tenant.definition)? != *definition {
        return Err(Error::invalid("The tenant was changed since the sign-in began").with_hint("Sign in again"));
    }
    connect::reach(server, &tenant.definition).await?;
    let sign_in = user::sign_in(server, &tenant, user::in_a_hurry())?;
    Ok((tenant, sign_in))
}

/// Ends a sign-in with what was pasted: the whole address of the last page, or the code in it.
///
/// # Errors
/// `InvalidInput` for what is neither: the sign-in stays open. What comes of it otherwise stands in the sign-in.
pub(crate) async fn paste(
    server: &Server,
    actor: &Actor,
    account: &Id,
    id: &Id,
    pasted: &Password,
) -> Result<SignInView> {
    let row = own(server, actor, account, id).await?;
    if row.kind != SignInKind::Paste || !is_good(server, &row) {
        return Err(over());
    }
    if pasted.expose().len() > MOST_QUERY {
        return Err(Error::invalid("What was pasted is too long"));
    }
    let pasted = Zeroizing::new(pasted.expose().to_owned());
    by_code(server, actor, &row, |sign_in, request| sign_in.read_paste(request, &pasted)).await?;
    view(server, &own(server, actor, account, id).await?)
}

fn is_good(server: &Server, row: &SignInRow) -> bool {
    row.state == SignInState::Open && row.expires_us > server.now_us()
}

pub(super) fn over() -> Error {
    Error::new(ErrorKind::Permission, "This does not belong to a sign-in that you began here, or its time is over")
        .with_hint("Begin it again on the tenant's page")
}

/// Redeems a code that was read from what came back.
async fn by_code(
    server: &Server,
    actor: &Actor,
    row: &SignInRow,
    read: impl FnOnce(&UserSignIn, &CodeRequest) -> Result<crate::graph::user::AuthorizationCode>,
) -> Result<()> {
    let Begun::Code { definition, scopes, request } = begun(server, row)? else { return Err(over()) };
    let request = CodeRequest::try_from(request)?;
    let (tenant, sign_in) = ready(server, row, &definition).await?;
    let code = match read(&sign_in, &request) {
        // It is not what was waited for: that may still come.
        Err(e) if e.kind() == ErrorKind::InvalidInput => return Err(e),
        other => other,
    };
    if !server.db.take_sign_in(&row.id, server.now_us()).await? {
        return Err(over());
    }
    let done = async {
        let signed_in = sign_in.redeem(&request, &code?).await?;
        complete(server, actor, row, &tenant, (definition, scopes), signed_in).await
    };
    let done = done.await;
    end(server, actor, row, &tenant.name, done).await
}

/// A browser that comes back from Microsoft. Gives the sign-in that it belongs to.
///
/// # Errors
/// `Permission` for what belongs to none that this session began, and that is still good.
pub(crate) async fn come_back(server: &Server, actor: &Actor, query: &str) -> Result<SignInRow> {
    let refused = |why: &str| {
        tracing::warn!(login = actor.login, "A browser came back from Microsoft and was refused: {why}");
        over()
    };
    if query.len() > MOST_QUERY {
        return Err(refused("too long"));
    }
    let found = |wanted: &str| -> Vec<Zeroizing<String>> {
        let pairs = url::form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == wanted);
        pairs.map(|(_, value)| Zeroizing::new(value.into_owned())).collect()
    };
    if ["state", "code", "error", "tenant", "admin_consent"].iter().any(|name| found(name).len() > 1) {
        return Err(refused("a name twice"));
    }
    let state = found("state").pop().ok_or_else(|| refused("no state"))?;
    let (id, mark) = state.split_once('.').ok_or_else(|| refused("no state of ours"))?;
    let id = Id::parse(id).map_err(|_| refused("no state of ours"))?;
    let row = match server.db.sign_in_of(&id, &actor.way).await {
        Err(e) if e.kind() == ErrorKind::NotFound => return Err(refused("not begun by this session")),
        other => other?,
    };
    let of_row = parts(&row);
    if !server.vault.is_mark(mark, &of_row.iter().map(String::as_str).collect::<Vec<_>>()) {
        return Err(refused("a mark that is not ours"));
    }
    if !row.kind.comes_back() || !is_good(server, &row) {
        return Err(refused("used, or too late"));
    }
    if !actor.may(Right::Change, Some(&row.account)) {
        return Err(refused("without the right"));
    }
    match row.kind {
        SignInKind::Consent => consent::consented(server, actor, &row, &state, query).await?,
        _ => {
            by_code(server, actor, &row, |sign_in, request| sign_in.read_back(request, query)).await?;
        }
    }
    Ok(row)
}

/// Keeps a sign-in that was done, if it is that of the same account as before.
async fn complete(
    server: &Server,
    actor: &Actor,
    row: &SignInRow,
    tenant: &Tenant,
    (definition, scopes): (String, Vec<String>),
    signed_in: SignedIn,
) -> Result<Value> {
    let SignedIn { access, refresh } = signed_in;
    let account: Account = user::who(server, &tenant.definition, access).await?;
    if let Some(known) = tenant.user.as_ref().filter(|known| known.id != account.id) {
        let text = format!("{} signed in, but tenant '{}' is the account of {}", account.name, tenant.name, known.name);
        return Err(Error::new(ErrorKind::Permission, text).with_hint(
            "Sign in again with that account, or connect the other one as a tenant of its own; nothing was kept",
        ));
    }
    let now = server.now_us();
    let kept = Kept { account: account.clone(), scopes, refresh, claims: None, signed_in_us: now };
    let sealed = user::seal(&server.vault, &tenant.id, &kept)?;
    server.db.keep_sign_in(&tenant.id, &definition, &account, &sealed, now).await?;
    server.forget_budget(&tenant.id);
    let detail = json!({"user": account.name, "way": row.kind, "tenant_id": tenant.definition.tenant_id});
    note(server, actor, &row.account, "tenant.sign-in", &tenant.name, detail).await?;
    tenants::test_and_tell(server, actor, &row.account, &tenant.id).await?;
    Ok(json!({"user": account.name}))
}

/// Notes how it ended.
pub(super) async fn end(
    server: &Server,
    actor: &Actor,
    row: &SignInRow,
    object: &str,
    done: Result<Value>,
) -> Result<()> {
    match done {
        Ok(outcome) => {
            if row.kind == SignInKind::Consent {
                note(server, actor, &row.account, "tenant.consent", object, outcome.clone()).await?;
            }
            server.db.end_sign_in(&row.id, true, &outcome).await
        }
        Err(e) => {
            let action =
                if row.kind == SignInKind::Consent { "tenant.consent-refused" } else { "tenant.sign-in-refused" };
            note(server, actor, &row.account, action, object, json!({"why": e.to_string()})).await?;
            let outcome = json!({"error": e.chain(), "hint": e.hint()});
            server.db.end_sign_in(&row.id, false, &outcome).await
        }
    }
}

pub(super) fn view(server: &Server, row: &SignInRow) -> Result<SignInView> {
    let text = |name: &str| row.outcome.as_ref()?.get(name)?.as_str().map(str::to_owned);
    let late = matches!(row.state, SignInState::Open | SignInState::Taken) && row.expires_us <= server.now_us();
    let (mut address, mut user_code) = (None, None);
    // What it takes to end it went with its end.
    if is_good(server, row) {
        match begun(server, row)? {
            Begun::Code { request, .. } => address = Some(request.address),
            Begun::Device { device, .. } => {
                let device = DeviceCode::from(device);
                (address, user_code) = (Some(device.address), Some(device.user_code));
            }
            Begun::Consent { address: at, .. } => address = Some(at),
        }
    }
    let (error, hint) = match late {
        true => (Some("Nobody came back in time".to_owned()), Some("Begin it again".to_owned())),
        false => (text("error"), text("hint")),
    };
    Ok(SignInView {
        id: row.id.clone(),
        tenant: row.tenant.clone(),
        kind: row.kind,
        state: if late { SignInState::Failed } else { row.state },
        address,
        user_code,
        wait_s: row.wait_us / 1_000_000 + 1,
        expires_us: row.expires_us,
        user: text("user"),
        tenant_id: text("tenant_id"),
        client_id: text("client_id"),
        error,
        hint,
    })
}
