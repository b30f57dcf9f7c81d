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

/// `GET /{tenant}/oauth2/v2.0/authorize`. With `login_hint` that user signs in without a click; `sim_user` and `sim_answer=decline` are what the links of the page add.
pub(super) fn authorize(app: &App, tenant: &str, request: &Request) -> Reply {
    let query: HashMap<String, String> = request.query().into_iter().collect();
    let field = |name: &str| query.get(name).map_or("", String::as_str);
    let redirect = field("redirect_uri");
    let is_local = url::Url::parse(redirect)
        .is_ok_and(|url| url.scheme() == "http" && url.host_str() == Some("localhost") && url.path() == "/");
    if !is_local && redirect != format!("{}/common/oauth2/nativeclient", app.base_url) {
        return page(
            400,
            "<p>AADSTS50011: The redirect URI specified in the request does not match the redirect URIs configured for the application.",
        );
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
