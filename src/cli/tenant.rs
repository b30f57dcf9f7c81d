//! From a tenant of the configuration to a Graph client.

use std::path::Path;
use std::sync::Arc;

use crate::cli::config::{Config, SignIn};
use crate::error::{Error, Result};
use crate::graph::{Budget, Client, ClientOptions, Cloud, Credential, SpeedLimit};
use crate::monitor::Monitor;

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
    let named = Cloud::named(tenant.cloud.as_str())?;
    let cloud = match (&tenant.graph_url, &tenant.login_url) {
        (None, None) => named,
        (graph, login) => Cloud::custom(
            graph.as_deref().unwrap_or(named.graph_root().as_str()),
            login.as_deref().unwrap_or(named.login_root().as_str()),
        )?,
    };
    let credential = match &tenant.sign_in {
        SignIn::Secret(source) => {
            Credential::secret(source.resolve(&format!("client secret of tenant '{name}'"))?.as_str())
        }
        SignIn::Certificate { certificate_file, private_key_file } => {
            let read = |what: &str, path: &Path| {
                std::fs::read_to_string(path).map_err(|e| {
                    Error::io(format!("The {what} {} of tenant '{name}' cannot be read", path.display()), e)
                })
            };
            Credential::certificate(read("certificate", certificate_file)?, read("private key", private_key_file)?)
        }
    };
    let mut options = ClientOptions::new(cloud);
    options.budget = budget;
    options.monitor = monitor;
    options.speed = speed.to_vec();
    Client::new(options, &tenant.tenant_id, &tenant.client_id, credential)
}
