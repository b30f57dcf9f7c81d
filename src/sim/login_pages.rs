//! The pages of the sign-in that people see: choosing an account, typing a device code, consenting as an administrator.

use std::collections::HashMap;

use super::app::App;
use super::login;
use super::options::BACKUP_ROLES;
use super::query::Request;
use super::reply::{Payload, Reply};
use super::state::UserKind;

fn page(status: u16, body: &str) -> Reply {
    let html = format!("<!doctype html><meta charset=utf-8><title>Simulated sign-in</title>\n{body}\n");
    Reply { status, ..Reply::bytes("text/html; charset=utf-8", html.into_bytes()) }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Those who can sign in.
fn people(app: &App) -> Vec<String> {
    let world = app.read();
    let can = |kind| !matches!(kind, UserKind::Shared | UserKind::Room | UserKind::Guest);
    world.users.iter().filter(|user| user.present && can(user.kind)).map(|user| user.upn.clone()).collect()
}

/// An error of the sign-in, as a page shows it.
fn shown(refused: &Reply) -> Reply {
    let text = match &refused.payload {
        Payload::Json(body) => body["error_description"].as_str().unwrap_or_default().to_owned(),
        _ => String::new(),
    };
    page(refused.status, &format!("<p>{}", escaped(&text)))
}

/// Whether the app registration lists an address to lead back to.
fn is_registered(app: &App, redirect: &str) -> bool {
    let Ok(mut asked) = url::Url::parse(redirect) else { return false };
    let is_local = asked.scheme() == "http" && asked.host_str() == Some("localhost") && asked.path() == "/";
    if is_local || redirect == format!("{}/common/oauth2/nativeclient", app.base_url) {
        return true;
    }
    let on_loopback = asked.scheme() == "http" && matches!(asked.host_str(), Some("127.0.0.1" | "localhost"));
    app.options.redirects.iter().any(|listed| {
        let Ok(mut listed) = url::Url::parse(listed) else { return false };
        if on_loopback && asked.set_port(None).and_then(|()| listed.set_port(None)).is_err() {
            return false;
        }
        asked == listed
    })
}

fn unregistered() -> Reply {
    page(
        400,
        "<p>AADSTS50011: The redirect URI specified in the request does not match the redirect URIs configured for the application.",
    )
}

/// `GET /{tenant}/oauth2/v2.0/authorize`. With `login_hint` that user signs in without a click; `sim_user` and `sim_answer=decline` are what the links of the page add.
pub(super) fn authorize(app: &App, tenant: &str, request: &Request) -> Reply {
    let query: HashMap<String, String> = request.query().into_iter().collect();
    let field = |name: &str| query.get(name).map_or("", String::as_str);
    let redirect = field("redirect_uri");
    if !is_registered(app, redirect) {
        return unregistered();
    }
    if field("response_type") != "code"
        || field("code_challenge_method") != "S256"
        || field("code_challenge").len() != 43
    {
        return page(400, "<p>AADSTS900144: The request body must contain response_type=code and an S256 challenge.");
    }
    let user = [field("sim_user"), field("login_hint")].into_iter().find(|name| !name.is_empty());
    if let Some(user) = user {
        let declines = field("sim_answer") == "decline";
        return login::authorize(app, tenant, &query, user, declines).unwrap_or_else(|refused| shown(&refused));
    }
    let link = |user: &str, more: &str, text: &str| {
        let user: String = url::form_urlencoded::byte_serialize(user.as_bytes()).collect();
        format!("<a href=\"{}&amp;sim_user={user}{more}\">{}</a>", escaped(&request.target), escaped(text))
    };
    let rows: Vec<String> = people(app)
        .iter()
        .map(|upn| format!("<li>{} ({})", link(upn, "", upn), link(upn, "&amp;sim_answer=decline", "decline")))
        .collect();
    page(200, &format!("<h1>Choose an account</h1><ul>{}</ul>", rows.join("\n")))
}

/// `GET /devicelogin`, and `POST` with `code`, `user` and `answer`.
pub(super) fn device_login(app: &App, request: &Request) -> Reply {
    if request.method == "POST" {
        let form: HashMap<String, String> = url::form_urlencoded::parse(&request.body).into_owned().collect();
        let field = |name: &str| form.get(name).map_or("", String::as_str);
        return match login::answer_device(app, field("code"), field("user"), field("answer") != "decline") {
            Ok(()) => page(200, "<p>You may close this page."),
            Err(refused) => shown(&refused),
        };
    }
    let users: String = people(app).iter().map(|upn| format!("<option>{}", escaped(upn))).collect();
    page(
        200,
        &format!(
            "<h1>Enter the code</h1><form method=post><input name=code autofocus> as <select name=user>{users}</select> \
             <button name=answer value=approve>Sign in</button> <button name=answer value=decline>Cancel</button></form>"
        ),
    )
}

/// `GET /common/oauth2/nativeclient`: the end of a sign-in whose address is to be copied.
pub(super) fn native_client() -> Reply {
    page(200, "<p>You can copy this page's address now.")
}

/// `GET /{tenant}/adminconsent`: grants what a backup needs.
pub(super) fn admin_consent(app: &App, tenant: &str, request: &Request) -> Reply {
    let client = request.option("client_id").unwrap_or_default();
    if let Err(refused) = app.auth.check_tenant(tenant).and_then(|()| app.auth.check_client(client)) {
        return shown(&refused);
    }
    app.auth.grant_roles(BACKUP_ROLES);
    page(200, "<p>Consent was granted.")
}

/// `GET /{tenant}/v2.0/adminconsent`: as above, and leads back. The tenant may be `organizations`. `sim_user` and
/// `sim_answer=decline` are what the links of the page add; who is no administrator cannot consent (AADSTS90094).
pub(super) fn admin_consent_v2(app: &App, tenant: &str, request: &Request) -> Reply {
    let query: HashMap<String, String> = request.query().into_iter().collect();
    let field = |name: &str| query.get(name).map_or("", String::as_str);
    let known = match tenant.eq_ignore_ascii_case("organizations") {
        true => Ok(()),
        false => app.auth.check_tenant(tenant),
    };
    if let Err(refused) = known.and_then(|()| app.auth.check_client(field("client_id"))) {
        return shown(&refused);
    }
    let redirect = field("redirect_uri");
    if !is_registered(app, redirect) {
        return unregistered();
    }
    let scopes = ["https://graph.microsoft.com/.default".to_owned(), format!("{}/.default", app.base_url)];
    if !scopes.iter().any(|scope| scope == field("scope")) {
        return page(400, "<p>AADSTS70011: The provided value for the input parameter 'scope' isn't valid.");
    }
    let user = field("sim_user");
    if user.is_empty() {
        let link = |user: &str, more: &str, text: &str| {
            let user: String = url::form_urlencoded::byte_serialize(user.as_bytes()).collect();
            format!("<a href=\"{}&amp;sim_user={user}{more}\">{}</a>", escaped(&request.target), escaped(text))
        };
        let row =
            |upn: &String| format!("<li>{} ({})", link(upn, "", upn), link(upn, "&amp;sim_answer=decline", "cancel"));
        let rows: Vec<String> = people(app).iter().map(row).collect();
        return page(200, &format!("<h1>Permissions requested: accept as</h1><ul>{}</ul>", rows.join("\n")));
    }
    let Ok(mut back) = url::Url::parse(redirect) else { return unregistered() };
    let mut pairs = back.query_pairs_mut();
    if field("sim_answer") == "decline" {
        pairs.append_pair("error", "access_denied");
        pairs.append_pair(
            "error_description",
            "AADSTS65004: The resource owner or authorization server denied the request.",
        );
    } else if !app.options.admins.iter().any(|admin| admin.eq_ignore_ascii_case(user)) {
        pairs.append_pair("error", "access_denied");
        pairs.append_pair("error_description", "AADSTS90094: An administrator of Contoso has set a policy that prevents you from granting the permissions.");
    } else {
        app.auth.grant_roles(BACKUP_ROLES);
        pairs.append_pair("admin_consent", "True").append_pair("tenant", &app.auth.tenant_id);
        pairs.append_pair("scope", field("scope"));
    }
    pairs.append_pair("state", field("state"));
    drop(pairs);
    Reply::status(302).header("Location", back.to_string())
}
