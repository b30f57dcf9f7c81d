//! Users' sign-ins: device codes, authorization codes, passwords, refresh tokens; and what their tokens may do.
//!
//! Stricter than the real service in one thing: a refresh token is good once, so that whoever keeps the old one is found out.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::app::App;
use super::auth::{Access, refuse};
use super::query::Request;
use super::reply::{Answer, Payload, Reply};
use super::rng::hash_text;
use super::route::Route;
use super::route_groups::EVENTS;
use super::state::UserKind;

/// Delegated permissions that personal accounts can give (REFERENCE section 2.5).
const PERSONAL: &[&str] =
    &["Mail.", "Calendars.", "Contacts.", "MailboxSettings.", "Files.", "Tasks.", "User.Read", "MailboxConfigItem."];
/// Names that only applications can be granted (REFERENCE, permission-ids).
const APPLICATION_ONLY: &[&str] = &[
    "Tasks.Read.All",
    "Chat.Read.All",
    "ChatMember.Read.All",
    "Mail.ReadBasic.All",
    "TeamsAppInstallation.ReadForTeam.All",
    "TeamworkTag.Read.All",
];
const CODE_LIFE: Duration = Duration::from_secs(600);
const DEVICE_LIFE: Duration = Duration::from_secs(900);
const IDLE_LIFE: Duration = Duration::from_secs(90 * 24 * 3600);

/// Sign-ins under way, and those that can go on.
#[derive(Debug, Default)]
pub(super) struct Logins(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    devices: HashMap<String, Device>,
    codes: HashMap<String, Code>,
    refreshes: HashMap<String, Refresh>,
    /// Users whom the sign-in refuses, and with which code.
    refused: HashMap<String, u32>,
    made: u64,
}

#[derive(Debug)]
struct Device {
    user_code: String,
    holder: Option<Holder>,
    scope: String,
    personal: bool,
    declined: bool,
    until: Duration,
    asked: Option<Duration>,
}

#[derive(Debug)]
struct Code {
    holder: Holder,
    redirect: String,
    challenge: String,
    until: Duration,
    used: bool,
}

#[derive(Debug)]
struct Refresh {
    holder: Holder,
    used_at: Duration,
    replaced: bool,
    revoked: bool,
}

/// Who signed in, to what.
#[derive(Debug, Clone)]
pub(super) struct Holder {
    pub(super) upn: String,
    pub(super) id: String,
    pub(super) scope: String,
    pub(super) personal: bool,
}

impl Logins {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on the sign-in refuses a user with this code; `None`: no longer.
    pub(super) fn refuse(&self, upn: &str, code: Option<u32>) {
        match code {
            Some(code) => self.state().refused.insert(upn.to_lowercase(), code),
            None => self.state().refused.remove(&upn.to_lowercase()),
        };
    }

    /// From now on no refresh token given so far is honoured.
    pub(super) fn revoke(&self) {
        self.state().refreshes.values_mut().for_each(|refresh| refresh.revoked = true);
    }

    /// The codes that wait to be typed.
    pub(super) fn waiting(&self) -> Vec<String> {
        let state = self.state();
        let open = state.devices.values().filter(|device| device.holder.is_none() && !device.declined);
        open.map(|device| device.user_code.clone()).collect()
    }
}

/// The password of a user of the simulation. It opens nothing else.
pub(super) fn password(app: &App, upn: &str) -> String {
    format!("Sim-{:016x}!", hash_text(app.options.seed, &upn.to_lowercase()))
}

fn secret(app: &App, state: &mut State, kind: &str) -> String {
    state.made += 1;
    let mut bytes = [0; 48];
    let text = format!("{kind} {}", state.made);
    blake3::Hasher::new_keyed(&app.auth.key).update(text.as_bytes()).finalize_xof().fill(&mut bytes);
    B64.encode(bytes)
}

fn fields(body: &[u8]) -> HashMap<String, String> {
    url::form_urlencoded::parse(body).into_owned().collect()
}

fn invalid_grant(code: u32, text: &str) -> Reply {
    refuse(400, "invalid_grant", code, text)
}

/// Finds who signs in, unless the sign-in refuses that user.
fn holder(app: &App, upn: &str, scope: &str, personal: bool, error: &str) -> Result<Holder, Reply> {
    if let Some(code) = app.logins.state().refused.get(&upn.to_lowercase()) {
        return Err(refuse(400, error, *code, refusal(*code)));
    }
    let world = app.read();
    let Some(user) = world.user(upn).and_then(|index| world.users.get(index)) else {
        let text = format!("The user account {upn} does not exist in the Contoso directory.");
        return Err(refuse(400, error, 50_034, &text));
    };
    if matches!(user.kind, UserKind::Shared | UserKind::Room) {
        return Err(refuse(400, error, 50_057, "The user account is disabled."));
    }
    Ok(Holder { upn: user.upn.clone(), id: user.id.clone(), scope: scope.into(), personal })
}

fn refusal(code: u32) -> &'static str {
    match code {
        50_076 => {
            "Due to a configuration change made by your administrator, or because you moved to a new location, you must \
             use multi-factor authentication to access '00000003-0000-0000-c000-000000000000'."
        }
        65_004 => "User declined to consent to access the app.",
        53_003 => "Access has been blocked by Conditional Access policies.",
        _ => "The sign-in was refused.",
    }
}

/// Checks tenant, application and permissions; says whether the account is a personal one.
fn check(app: &App, tenant: &str, fields: &HashMap<String, String>, scope: &str) -> Result<bool, Reply> {
    let personal = tenant.eq_ignore_ascii_case("consumers");
    if !personal {
        app.auth.check_tenant(tenant)?;
    }
    app.auth.check_client(fields.get("client_id").map_or("", String::as_str))?;
    if !app.options.public_client {
        let text = "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.";
        return Err(refuse(401, "invalid_client", 7_000_218, text));
    }
    if fields.contains_key("client_secret") {
        let text = "Client is public so neither 'client_assertion' nor 'client_secret' should be presented.";
        return Err(refuse(401, "invalid_client", 700_025, text));
    }
    for asked in scope.split_whitespace() {
        let name = ["https://graph.microsoft.com/", &format!("{}/", app.base_url)]
            .iter()
            .find_map(|resource| asked.strip_prefix(resource))
            .unwrap_or(asked);
        let usual = ["openid", "profile", "email", "offline_access"].contains(&name);
        let known = name.contains('.') && !name.contains('/') && !APPLICATION_ONLY.contains(&name);
        let fits = !personal || PERSONAL.iter().any(|good| name.starts_with(good));
        if !(usual || known && fits) {
            let text = format!(
                "The provided value for the input parameter 'scope' isn't valid. The scope {asked} isn't valid."
            );
            return Err(refuse(400, "invalid_scope", 70_011, &text));
        }
        if !usual && app.options.scopes.as_ref().is_some_and(|consented| !consented.iter().any(|have| have == name)) {
            let text = "The user or administrator has not consented to use the application. Send an interactive \
                        authorization request for this user and resource.";
            return Err(invalid_grant(65_001, text));
        }
    }
    Ok(personal)
}

/// `POST /{tenant}/oauth2/v2.0/devicecode`
pub(super) fn device_code(app: &App, tenant: &str, body: &[u8]) -> Answer {
    let fields = fields(body);
    let scope = fields.get("scope").cloned().unwrap_or_default();
    let personal = check(app, tenant, &fields, &scope)?;
    let mut state = app.logins.state();
    let code = secret(app, &mut state, "device");
    let user_code: String = format!("{:09X}", hash_text(app.options.seed, &code)).chars().take(9).collect();
    let until = app.auth.now() + DEVICE_LIFE;
    let device =
        Device { user_code: user_code.clone(), holder: None, scope, personal, declined: false, until, asked: None };
    state.devices.insert(code.clone(), device);
    drop(state);
    gives_out(app, &code);
    let address = format!("{}/devicelogin", app.base_url);
    Ok(Reply::json(json!({
        "user_code": user_code,
        "device_code": code,
        "verification_uri": address,
        "expires_in": DEVICE_LIFE.as_secs(),
        "interval": app.options.device_interval,
        "message": format!("To sign in, use a web browser to open the page {address} and enter the code {user_code} to authenticate."),
    })))
}

/// What a user does with a code at `/devicelogin`.
pub(super) fn answer_device(app: &App, user_code: &str, upn: &str, approve: bool) -> Result<(), Reply> {
    let find = |state: &State| {
        let found = state.devices.iter().find(|(_, device)| device.user_code.eq_ignore_ascii_case(user_code.trim()));
        found.map(|(code, device)| (code.clone(), device.scope.clone(), device.personal))
    };
    let found = find(&app.logins.state());
    let Some((code, scope, personal)) = found else {
        return Err(refuse(400, "invalid_request", 70_018, "The code you entered is incorrect."));
    };
    let holder = approve.then(|| holder(app, upn, &scope, personal, "access_denied")).transpose()?;
    if let Some(device) = app.logins.state().devices.get_mut(&code) {
        device.declined = holder.is_none();
        device.holder = holder;
    }
    Ok(())
}

/// Where `/authorize` leads when somebody signs in, or declines.
pub(super) fn authorize(app: &App, tenant: &str, query: &HashMap<String, String>, upn: &str, declines: bool) -> Answer {
    let field = |name: &str| query.get(name).map_or("", String::as_str);
    let scope = field("scope");
    let redirect = field("redirect_uri");
    let (error, code) = match check(app, tenant, query, scope) {
        Err(refused) => (Some(refused), None),
        Ok(_) if declines => (Some(refuse(400, "access_denied", 65_004, refusal(65_004))), None),
        Ok(personal) => match holder(app, upn, scope, personal, "access_denied") {
            Err(refused) => (Some(refused), None),
            Ok(holder) => {
                let mut state = app.logins.state();
                let code = format!("0.{}", secret(app, &mut state, "code"));
                let (redirect, challenge) = (redirect.to_owned(), field("code_challenge").to_owned());
                let until = app.auth.now() + CODE_LIFE;
                state.codes.insert(code.clone(), Code { holder, redirect, challenge, until, used: false });
                (None, Some(code))
            }
        },
    };
    let mut back = url::Url::parse(redirect).map_err(|_| Reply::status(400))?;
    let mut pairs = back.query_pairs_mut();
    if let Some(code) = &code {
        gives_out(app, code);
        pairs.append_pair("code", code);
    }
    if let Some(Payload::Json(body)) = error.map(|reply| reply.payload) {
        for name in ["error", "error_description"] {
            pairs.append_pair(name, body[name].as_str().unwrap_or_default());
        }
    }
    pairs.append_pair("state", field("state")).append_pair("session_state", "simulated");
    drop(pairs);
    Ok(Reply::status(302).header("Location", back.to_string()))
}

/// `POST /{tenant}/oauth2/v2.0/token`, for users.
pub(super) fn token(app: &App, tenant: &str, body: &[u8]) -> Answer {
    let fields = fields(body);
    let scope = fields.get("scope").map_or("", String::as_str);
    let personal = check(app, tenant, &fields, scope)?;
    let field = |name: &str| fields.get(name).map_or("", String::as_str);
    let holder = match field("grant_type") {
        "urn:ietf:params:oauth:grant-type:device_code" => by_device(app, field("device_code"))?,
        "authorization_code" => by_code(app, field("code"), field("redirect_uri"), field("code_verifier"))?,
        "refresh_token" => by_refresh(app, field("refresh_token"), scope)?,
        "password" if personal => {
            let text = "The grant type is not supported over the /common or /consumers endpoints.";
            return Err(refuse(400, "invalid_grant", 9_001_023, text));
        }
        "password" => {
            if field("password") != password(app, field("username")) && app.read().user(field("username")).is_some() {
                return Err(invalid_grant(50_126, "Error validating credentials due to invalid username or password."));
            }
            holder(app, field("username"), scope, false, "invalid_grant")?
        }
        grant => {
            let text = format!("The app requested an unsupported grant type '{grant}'.");
            return Err(refuse(400, "unsupported_grant_type", 70_003, &text));
        }
    };
    if holder.personal != personal {
        return Err(invalid_grant(70_000, "The grant was issued for another kind of account."));
    }
    let (access, lifetime) = app.auth.issue_to(&holder, fields.get("claims").map(String::as_str));
    let mut answer = json!({
        "token_type": "Bearer",
        "scope": holder.scope.split_whitespace().filter(|s| *s != "offline_access").collect::<Vec<_>>().join(" "),
        "expires_in": lifetime,
        "ext_expires_in": lifetime,
        "access_token": access,
    });
    if holder.scope.contains("offline_access") {
        let mut state = app.logins.state();
        let token = secret(app, &mut state, "refresh");
        let used_at = app.auth.now();
        state.refreshes.insert(token.clone(), Refresh { holder, used_at, replaced: false, revoked: false });
        drop(state);
        gives_out(app, &token);
        answer["refresh_token"] = token.into();
    }
    Ok(Reply::json(answer).header("Cache-Control", "no-store, no-cache"))
}

fn gives_out(app: &App, secret: &str) {
    if app.options.remembers {
        app.counts.gives_out(secret);
    }
}

fn by_device(app: &App, code: &str) -> Result<Holder, Reply> {
    let now = app.auth.now();
    let interval = Duration::from_secs(app.options.device_interval);
    let mut state = app.logins.state();
    let Some(device) = state.devices.get_mut(code) else {
        return Err(refuse(400, "bad_verification_code", 70_018, "The device code is not recognised."));
    };
    let early = device.asked.is_some_and(|before| now + Duration::from_millis(200) < before + interval);
    device.asked = Some(now);
    if device.declined {
        return Err(refuse(400, "authorization_declined", 70_020, "The end user denied the authorization request."));
    }
    if now >= device.until {
        return Err(refuse(400, "expired_token", 70_019, "The device code has expired."));
    }
    if early {
        return Err(refuse(400, "slow_down", 70_016, "The client is polling too often."));
    }
    if device.holder.is_none() {
        let text = "OAuth 2.0 device flow error. Authorization is pending. Continue polling.";
        return Err(refuse(400, "authorization_pending", 70_016, text));
    }
    let device = state.devices.remove(code);
    device.and_then(|device| device.holder).ok_or_else(|| Reply::status(500))
}

fn by_code(app: &App, code: &str, redirect: &str, verifier: &str) -> Result<Holder, Reply> {
    let now = app.auth.now();
    let mut state = app.logins.state();
    let Some(known) = state.codes.get_mut(code) else {
        return Err(invalid_grant(70_000, "The provided value for the 'code' parameter is not valid."));
    };
    if known.used {
        return Err(invalid_grant(54_005, "OAuth2 Authorization code was already redeemed."));
    }
    if now >= known.until {
        return Err(invalid_grant(70_008, "The provided authorization code has expired due to inactivity."));
    }
    if known.redirect != redirect {
        return Err(invalid_grant(500_112, "The reply address does not match the one of the authorization request."));
    }
    if B64.encode(Sha256::digest(verifier.as_bytes())) != known.challenge {
        return Err(invalid_grant(501_481, "The Code_Verifier does not match the code_challenge of the request."));
    }
    known.used = true;
    Ok(known.holder.clone())
}

fn by_refresh(app: &App, token: &str, scope: &str) -> Result<Holder, Reply> {
    let now = app.auth.now();
    let holder = {
        let mut state = app.logins.state();
        let Some(known) = state.refreshes.get_mut(token) else {
            return Err(invalid_grant(9_002_313, "Invalid request. Request is malformed or invalid."));
        };
        if known.revoked {
            return Err(invalid_grant(50_173, "The provided grant has expired due to it being revoked."));
        }
        if now >= known.used_at + IDLE_LIFE {
            return Err(invalid_grant(700_082, "The refresh token has expired due to inactivity."));
        }
        if known.replaced {
            return Err(invalid_grant(70_000, "The refresh token was replaced by a newer one."));
        }
        let consented: Vec<&str> = known.holder.scope.split_whitespace().collect();
        if scope.split_whitespace().any(|asked| !consented.contains(&asked)) {
            return Err(invalid_grant(65_001, "The user or administrator has not consented to use the application."));
        }
        known.holder.clone()
    };
    if let Some(code) = app.logins.state().refused.get(&holder.upn.to_lowercase()) {
        return Err(refuse(400, "interaction_required", *code, refusal(*code)));
    }
    if app.auth.wants_the_user() {
        return Err(refuse(400, "interaction_required", 50_076, refusal(50_076)));
    }
    if let Some(known) = app.logins.state().refreshes.get_mut(token) {
        known.replaced = true;
    }
    Ok(holder)
}

/// Reads a user's request: `me` is who signed in, and personal accounts have nothing else.
pub(super) fn read_as(request: &mut Request, access: &Access) -> Result<(), Reply> {
    let Some(user) = &access.user else { return Ok(()) };
    let first = request.segments.first().map(|segment| segment.to_ascii_lowercase()).unwrap_or_default();
    let follows = ["$skiptoken", "$deltatoken", "$skip"].iter().any(|name| request.option(name).is_some());
    match first.as_str() {
        "me" => {
            request.segments.splice(..1, ["users".to_owned(), user.clone()]);
            Ok(())
        }
        "drives" | "$batch" => Ok(()),
        "users" if follows => Ok(()),
        _ if access.personal => Err(Reply::fail(400, "BadRequest", "This API is not supported for MSA accounts")),
        _ => Ok(()),
    }
}

/// What a user may ask for: the user's own, and of the directory what was consented to.
pub(super) fn may(app: &App, route: &Route, access: &mut Access) -> Result<(), Reply> {
    let Some(id) = &access.user else {
        return if route.template == EVENTS { Err(route.forbidden()) } else { Ok(()) };
    };
    match route.template {
        EVENTS => {
            let world = app.read();
            let member = world.user(id).filter(|user| world.groups[route.user].members.contains(user));
            return member.map(|_| ()).ok_or_else(|| route.forbidden());
        }
        "/users/{id}/chats/getAllMessages" => {
            let text = "Requested API is not supported in delegated context";
            return Err(Reply::fail(412, "PreconditionFailed", text));
        }
        "/sites/getAllSites" => return Err(route.forbidden()),
        _ => {}
    }
    let world = app.read();
    let mine = world.user(id) == Some(route.user);
    let of_user = route.template.starts_with("/users/{id}") || route.template.starts_with("/drives/");
    if of_user && !mine && route.template != "/users/{id}" {
        return Err(route.forbidden());
    }
    let further: &[(&str, &str)] = &[
        ("Files.Read", "Files.Read.All"),
        ("Files.ReadWrite", "Files.ReadWrite.All"),
        ("Tasks.Read", "Tasks.Read.All"),
        ("Tasks.ReadWrite", "Tasks.ReadWrite.All"),
        ("Chat.Read", "Chat.Read.All"),
    ];
    let own = further.iter().filter(|(scope, _)| mine && access.roles.iter().any(|have| have == scope));
    let mut roles: Vec<String> = own.map(|(_, role)| (*role).to_owned()).collect();
    if mine && matches!(route.template, "/users/{id}" | "/users/{id}/transitiveMemberOf/directoryRole") {
        roles.push("User.Read.All".to_owned());
    }
    access.roles.extend(roles);
    Ok(())
}

/// `GET /me/transitiveMemberOf/microsoft.graph.directoryRole`
pub(super) fn directory_roles(app: &App, index: usize) -> Reply {
    let world = app.read();
    let is_admin = world.users.get(index).is_some_and(|user| app.options.admins.contains(&user.upn));
    let role = json!({
        "@odata.type": "#microsoft.graph.directoryRole",
        "id": "9ed3a0c4-53e1-498c-ab4d-2473476fde14",
        "deletedDateTime": null,
        "description": "Can manage all aspects of Azure AD and Microsoft services that use Azure AD identities.",
        "displayName": "Global Administrator",
        "roleTemplateId": "62e90394-69f5-4237-9190-012177145e10",
    });
    let rows: Vec<Value> = is_admin.then_some(role).into_iter().collect();
    Reply::json(json!({"@odata.context": format!("{}/v1.0/$metadata#directoryObjects", app.base_url), "value": rows}))
}
