//! `login`: a user signs in to a tenant, once, so that everything else can go on by itself.

use std::io::{BufRead as _, Write as _};

use serde_json::json;
use zeroize::Zeroizing;

use crate::cli::app::App;
use crate::cli::config::{Config, SignIn, UserWay};
use crate::cli::environment::now_us;
use crate::cli::exit::Outcome;
use crate::cli::{browser, output, tenant};
use crate::error::{Error, ErrorKind, Result};
use crate::graph::user::{self, Keeper as _, Kept, KeptIn, Loopback, SignedIn};
use crate::graph::{ClientOptions, UserSignIn};

const EXAMPLES: &str = "\
Examples:
  tenantvault login contoso                 as the configuration says
  tenantvault login contoso --device-code   on a machine without a browser
  tenantvault login contoso --paste         where the browser cannot come back here
A sign-in lasts until it is not used for about 90 days, the password changes,
or an administrator revokes it; every backup renews it.";

/// Sign in to a tenant as a user, in a browser or by device code
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The tenant, by its name in the configuration
    #[arg(value_name = "TENANT")]
    tenant: String,
    /// Open a browser on this machine
    #[arg(long, group = "way")]
    browser: bool,
    /// Show a code to type into a browser on any machine
    #[arg(long, group = "way")]
    device_code: bool,
    /// Show an address, and read the address of the last page (or the code in it) from stdin
    #[arg(long, group = "way")]
    paste: bool,
    /// Ask to list the other users too: for those with a directory role
    #[arg(long)]
    admin: bool,
}

enum How {
    Browser,
    DeviceCode,
    Paste,
}

/// Signs in, and keeps what lets everything else go on.
pub(crate) async fn run(args: Args, app: &App) -> Result<Outcome> {
    let config = app.need_config()?;
    let name = args.tenant.as_str();
    let SignIn::User { way, user, keep } = &config.tenant(name)?.sign_in else {
        return Err(Error::invalid(format!(
            "Tenant '{name}' is signed in to by an app: there is nothing to log in to"
        ))
        .with_hint("For a user's sign-in, write sign_in = \"browser\" or \"device-code\" in place of the secret"));
    };
    let how = match way {
        _ if args.browser => How::Browser,
        _ if args.device_code => How::DeviceCode,
        _ if args.paste => How::Paste,
        UserWay::Browser => How::Browser,
        UserWay::DeviceCode => How::DeviceCode,
        UserWay::Password(_) => return by_password(app, config, name).await,
    };
    let keeper = tenant::keeper(config, name, *keep)?;
    let before = keeper.hold().await?.load().await;
    if let Err(e) = &before {
        // A sign-in that cannot be read is replaced, but one that others may have read is told of.
        app.screen.warn(e.chain());
    }
    let before = before.ok().flatten();
    let sign_in = tenant::sign_in(config, name, args.admin)?;
    let claims = before.as_ref().and_then(|kept| kept.claims.as_deref());
    let signed_in = interactive(app, &sign_in, &how, user.as_deref(), claims).await?;
    let SignedIn { access, refresh } = signed_in;
    let tenant = config.tenant(name)?;
    let options = ClientOptions::new(tenant::cloud(tenant)?);
    let account = user::who(options, tenant::caller(tenant), access).await?;
    if let Some(wanted) = user.as_deref().filter(|wanted| !wanted.eq_ignore_ascii_case(&account.name)) {
        let text = format!("{} signed in, but the configuration says that tenant '{name}' is {wanted}'s", account.name);
        return Err(Error::new(ErrorKind::Permission, text)
            .with_hint("Sign in again with that account, or correct 'user'; nothing was kept"));
    }
    if let Some(earlier) = before.filter(|kept| kept.account.id != account.id) {
        app.screen.warn(format!(
            "Before, {} was signed in; sets of this tenant now read another account",
            earlier.account.name
        ));
    }
    let scopes = sign_in.scopes().to_vec();
    let kept = Kept { account: account.clone(), scopes, refresh, claims: None, signed_in_us: now_us() };
    keeper.hold().await?.save(&kept).await?;
    let place = match keeper.kept_in()? {
        Some(KeptIn::System) => "the system's key store".to_owned(),
        _ => keeper.path().display().to_string(),
    };
    app.screen.report(format!("Tenant {name}: signed in as {}, kept in {place}", output::plain(&account.name)))?;
    app.screen.summary(&json!({"tenant": name, "user": account.name, "kept_in": place, "scopes": kept.scopes}))?;
    Ok(Outcome::Done)
}

async fn by_password(app: &App, config: &Config, name: &str) -> Result<Outcome> {
    let monitor = app.progress(false);
    let client = tenant::client(config, name, None, &[], monitor.clone())?;
    let me = client.me().await;
    monitor.finish();
    let user = me?.map(|account| account.name).unwrap_or_default();
    app.screen.report(format!("Tenant {name}: the password of {} works; nothing is kept", output::plain(&user)))?;
    app.screen.summary(&json!({"tenant": name, "user": user, "kept_in": null}))?;
    Ok(Outcome::Done)
}

async fn interactive(
    app: &App,
    sign_in: &UserSignIn,
    how: &How,
    user: Option<&str>,
    claims: Option<&str>,
) -> Result<SignedIn> {
    match how {
        How::Browser => {
            let loopback = Loopback::listen().await?;
            let request = sign_in.begin_code(loopback.redirect(), user, claims)?;
            let opened = browser::open(&request.address);
            let text =
                if opened { "Sign in in your browser. If none opens, open" } else { "Open this page to sign in:" };
            ask(app, &format!("{text} {}", request.address), &json!({"address": request.address.as_str()}))?;
            sign_in.finish_code(&request, &loopback).await
        }
        How::DeviceCode => {
            let device = sign_in.begin_device_code().await?;
            let (address, code) = (output::plain(&device.address), output::plain(&device.user_code));
            let facts = json!({"address": address, "code": code, "seconds": device.lifetime.as_secs()});
            ask(app, &format!("To sign in, open {address} in any browser and enter the code {code}"), &facts)?;
            sign_in.finish_device_code(&device).await
        }
        How::Paste => {
            let request = sign_in.begin_paste(user, claims)?;
            let text = format!(
                "Open this page to sign in: {}\nThen paste the address of the last page, which is empty, and press Enter:",
                request.address
            );
            ask(app, &text, &json!({"address": request.address.as_str()}))?;
            let pasted = tokio::task::spawn_blocking(|| {
                let mut line = Zeroizing::new(String::new());
                std::io::stdin().lock().read_line(&mut line).map(|_| line)
            });
            let pasted = pasted.await.map_err(|e| Error::internal("Reading stdin failed").with_source(e))?;
            let pasted = pasted.map_err(|e| Error::io("What was pasted cannot be read", e))?;
            sign_in.finish_paste(&request, &pasted).await
        }
    }
}

/// Tells the user what to do: also with `--quiet`, as nothing goes on without it.
fn ask(app: &App, text: &str, facts: &serde_json::Value) -> Result<()> {
    if app.screen.json {
        app.screen.record("sign_in", facts)?;
        return app.screen.flush();
    }
    // There is nobody to tell if stderr is gone.
    let _ = writeln!(std::io::stderr(), "{text}");
    Ok(())
}
