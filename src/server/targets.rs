//! Addresses that people of accounts enter: destinations, tenants' addresses, webhooks. A server that strangers use must
//! not reach into the network it stands in on their behalf.

use url::Url;

use super::id::Id;
use super::state::Server;
use crate::error::{Error, ErrorKind, Result};

/// The address of the server's own storage.
pub(crate) const OWN: &str = "server:";

/// The repository in the server's own storage that `server:ID` names.
pub(crate) fn of_own(url: &str) -> Option<Id> {
    Id::parse(url.strip_prefix(OWN)?).ok()
}

/// Looks at the URL of a destination: `administrator` says whether who enters it may name folders of this machine, and use what
/// rights the machine has elsewhere.
///
/// # Errors
/// `InvalidInput` for what is no destination; `Permission` for what this server does not reach out to.
pub(crate) async fn destination(server: &Server, url: &str, administrator: bool) -> Result<()> {
    if url == OWN {
        return Ok(());
    }
    if url.len() > 2_000 {
        return Err(Error::invalid("The destination's address is too long"));
    }
    let Some((scheme, path)) = url.split_once(':').filter(|(scheme, _)| is_scheme(scheme)) else {
        return folder(server, administrator, url);
    };
    match scheme {
        "fs" | "file" => folder(server, administrator, path.trim_start_matches("//")),
        "s3" | "azblob" | "gcs" | "webdav" | "webdav+http" | "sftp" => {
            let parsed = Url::parse(url).map_err(|_| {
                Error::invalid("The destination's address cannot be read")
                    .with_hint("Write it like s3://bucket/prefix?endpoint=…")
            })?;
            // What reads the machine's own rights or files is the operator's business. So does ssh at every address: it takes the
            // keys and settings of the user that the server runs as.
            if scheme == "sftp" && !administrator {
                return Err(Error::new(ErrorKind::Permission, "Only an administrator of the server may use sftp:")
                    .with_hint("It signs in with the server's own keys; take s3:, azblob:, gcs: or webdav:"));
            }
            let own = ["instance_metadata", "key_file", "key", "known_hosts", "role_arn"];
            if !administrator && parsed.query_pairs().any(|(name, _)| own.contains(&name.as_ref())) {
                return Err(Error::new(
                    ErrorKind::Permission,
                    "Only an administrator of the server may use this option",
                )
                .with_hint("Leave out instance_metadata, key_file, key, known_hosts and role_arn"));
            }
            if let Some((_, endpoint)) = parsed.query_pairs().find(|(name, _)| name == "endpoint") {
                reach(server, &endpoint).await?;
            }
            if matches!(scheme, "webdav" | "webdav+http" | "sftp") {
                let host = parsed.host_str().unwrap_or_default();
                reach(server, &format!("https://{host}")).await?;
            }
            Ok(())
        }
        _ => Err(Error::invalid(format!("'{}:' is no kind of destination", scheme.escape_debug()))
            .with_hint("There are server:, s3:, azblob:, gcs:, webdav:, sftp:, and folders")),
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

fn folder(server: &Server, administrator: bool, path: &str) -> Result<()> {
    if administrator && server.options.allow_private_targets {
        // Another path would begin wherever the server was started.
        if std::path::Path::new(path).is_absolute() {
            return Ok(());
        }
        return Err(Error::invalid("A folder of the server's machine needs its whole path")
            .with_hint("Write it like /srv/backup"));
    }
    Err(Error::new(ErrorKind::Permission, "Only an administrator may name a folder of the server's machine")
        .with_hint("Take server: for the server's own storage"))
}

/// Looks at a web address that the server is to call.
///
/// # Errors
/// `InvalidInput` when it is none; `Permission` when it leads into a private network and that is not allowed;
/// `Unavailable` when its name is not known.
pub(crate) async fn reach(server: &Server, address: &str) -> Result<()> {
    resolve(server, address).await.map(drop)
}

/// As [`reach`]; gives what the name stands for, where that was looked at: who connects to these, and to nothing else, is
/// not led elsewhere by a name that changes in between.
///
/// # Errors
/// As [`reach`].
pub(crate) async fn resolve(server: &Server, address: &str) -> Result<Vec<std::net::SocketAddr>> {
    let url = Url::parse(address)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some())
        .ok_or_else(|| {
        Error::invalid("This is not a web address").with_hint("Write it like https://example.com/path")
    })?;
    match &server.reach {
        None => Ok(Vec::new()),
        Some(reach) => reach.resolve(&url).await,
    }
}
