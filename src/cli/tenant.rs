//! From a tenant of the configuration to a Graph client.

use std::path::Path;
use std::sync::Arc;

use crate::cli::config::{Account, Config, SignIn, Tenant, UserWay};
use crate::error::{Error, Result};
use crate::graph::user::{FileKeeper, KeptSignIn, PasswordSignIn, Place};
use crate::graph::{
    Budget, Caller, Client, ClientOptions, Cloud, Credential, RetryOptions, SpeedLimit, TokenSource, UserOptions,
    UserSignIn,
};
use crate::monitor::Monitor;
use crate::ops::access;

/// Makes the client of a tenant. Nothing is sent yet. Clients of one tenant share a budget.
///
/// # Errors
/// When a secret cannot be had, or an address or certificate cannot be used.
pub(crate) fn client(
    config: &Config,
    name: &str,
    budget: Option<Arc<Budget>>,
    speed: &[Arc<SpeedLimit>],
    monitor: Arc<dyn Monitor>,
) -> Result<Client> {
    let tenant = config.tenant(name)?;
    let mut options = ClientOptions::new(cloud(tenant)?);
    options.budget = budget;
    options.monitor = monitor;
    options.speed = speed.to_vec();
    let credential = match &tenant.sign_in {
        SignIn::User { way, user, keep } => {
            let tokens = tokens(config, name, way, user.as_deref(), *keep)?;
            return Client::for_user(options, tokens, caller(tenant));
        }
        app => credential(name, app)?,
    };
    Client::new(options, &tenant.tenant_id, &tenant.client_id, credential)
}

/// Makes the client that restores into a tenant: that of its own app, if the configuration names one.
///
/// # Errors
/// As [`client`].
pub(crate) fn restore_client(config: &Config, name: &str, monitor: Arc<dyn Monitor>) -> Result<Client> {
    let tenant = config.tenant(name)?;
    let Some(app) = &tenant.restore else { return client(config, name, None, &[], monitor) };
    let mut options = ClientOptions::new(cloud(tenant)?);
    options.monitor = monitor;
    Client::new(options, &tenant.tenant_id, &app.client_id, credential(name, &app.sign_in)?)
}

/// What proves an app.
fn credential(name: &str, sign_in: &SignIn) -> Result<Credential> {
    Ok(match sign_in {
        SignIn::Secret(source) => {
            Credential::secret(source.resolve(&format!("client secret of tenant '{name}'"))?.as_str())
        }
        SignIn::Certificate { certificate_file, private_key_file } => Credential::certificate(
            read(name, "certificate", certificate_file)?,
            read(name, "private key", private_key_file)?,
        ),
        SignIn::User { .. } => return Err(Error::internal("A user is no app")),
    })
}

fn tokens(config: &Config, name: &str, way: &UserWay, user: Option<&str>, keep: Place) -> Result<Arc<dyn TokenSource>> {
    let sign_in = sign_in(config, name, false)?;
    Ok(match way {
        UserWay::Password(source) => {
            let password = source.resolve(&format!("password of tenant '{name}'"))?;
            Arc::new(PasswordSignIn::new(sign_in, user.unwrap_or_default(), password))
        }
        UserWay::Browser | UserWay::DeviceCode => {
            Arc::new(KeptSignIn::new(sign_in, Arc::new(keeper(config, name, keep)?)))
        }
    })
}

/// The cloud of a tenant, with the addresses that the configuration gives.
///
/// # Errors
/// When an address cannot be used.
pub(crate) fn cloud(tenant: &Tenant) -> Result<Cloud> {
    let named = Cloud::named(tenant.cloud.as_str())?;
    match (&tenant.graph_url, &tenant.login_url) {
        (None, None) => Ok(named),
        (graph, login) => Cloud::custom(
            graph.as_deref().unwrap_or(named.graph_root().as_str()),
            login.as_deref().unwrap_or(named.login_root().as_str()),
        ),
    }
}

/// Who calls by a tenant's sign-in.
pub(crate) fn caller(tenant: &Tenant) -> Caller {
    match (&tenant.sign_in, tenant.account) {
        (_, Account::Personal) => Caller::Personal,
        (SignIn::User { .. }, Account::Work) => Caller::Work,
        _ => Caller::App,
    }
}

/// Reads a file of a tenant's certificate.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn read(name: &str, what: &str, path: &Path) -> Result<String> {
    std::fs::read_to_string(path)
        .map_err(|e| Error::io(format!("The {what} {} of tenant '{name}' cannot be read", path.display()), e))
}

/// A user's ways to sign in to a tenant, asking for what its sets need; `admin`: and for listing the other users.
///
/// # Errors
/// When an address cannot be used.
pub(crate) fn sign_in(config: &Config, name: &str, admin: bool) -> Result<UserSignIn> {
    let tenant = config.tenant(name)?;
    let login = format!("tenantvault login {name}");
    let again = match &tenant.sign_in {
        SignIn::User { way: UserWay::Password(_), .. } => {
            format!("set sign_in = \"browser\" or \"device-code\" for the tenant, then {login}")
        }
        _ => login,
    };
    let mut scopes = access::scopes(&config.workloads(name), caller(tenant));
    if admin {
        scopes.push(access::DIRECTORY.to_owned());
    }
    UserSignIn::new(UserOptions {
        cloud: cloud(tenant)?,
        tenant: tenant.tenant_id.clone(),
        client_id: tenant.client_id.clone(),
        scopes,
        again,
        retry: RetryOptions::default(),
        reach: None,
    })
}

/// Where the sign-in of a tenant's user is kept. Its name follows from all that it is good for: another configuration
/// may call another tenant the same.
///
/// # Errors
/// When there is no folder for it.
pub(crate) fn keeper(config: &Config, name: &str, place: Place) -> Result<FileKeeper> {
    let tenant = config.tenant(name)?;
    let folder = config.data_folder.as_ref().ok_or_else(|| {
        Error::invalid("There is no folder to keep sign-ins in").with_hint("Name one with TENANTVAULT_DATA_DIR")
    })?;
    let facts = [cloud(tenant)?.login_root().as_str(), &tenant.tenant_id, &tenant.client_id].join(" ");
    let mark = blake3::hash(facts.as_bytes()).to_hex();
    let mark = mark.get(..12).unwrap_or_default();
    Ok(FileKeeper::new(folder.join("sign-ins"), format!("{name}-{mark}"), place))
}
