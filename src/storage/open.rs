//! Opens the storage that a URL names.

use std::sync::Arc;

use opendal::{HttpTransporter, OperationContext, Operator};
use opendal_http_transport_reqwest::ReqwestTransport;
use url::Url;

use super::failure::Wording;
use super::local::LocalStorage;
use super::location::{self, Location, Remote};
use super::object::OpendalStorage;
use super::options::StorageOptions;
use super::{Storage, layers};
use crate::error::{Error, ErrorKind, Result};
use crate::reach::Reach;

pub use super::location::SCHEMES;

/// Opens the storage at a URL. Nothing is read or written yet, so that it cannot say whether anything is there.
///
/// | URL | options | credentials |
/// |---|---|---|
/// | a path, `fs:/path`, `file:///path` | | |
/// | `memory:` (new and empty every time) | | |
/// | `s3://bucket/prefix` | `endpoint`, `region`, `virtual_host_style`, `storage_class`, `server_side_encryption`, `kms_key_id`, `checksum`, `list_v1`, `role_arn`, `external_id`, `anonymous`, `instance_metadata`, `conditional_writes` | `access_key_id`, `secret_access_key`, `session_token` |
/// | `azblob://container/prefix` | `endpoint` or `account`, `anonymous`, `instance_metadata` | `account_key` or `sas_token` |
/// | `gcs://bucket/prefix` | `endpoint`, `storage_class`, `acl`, `key_file`, `anonymous`, `instance_metadata` | `credential` (the JSON of a service account's key, or its Base64) or `token` |
/// | `webdav://host/path` (HTTPS), `webdav+http://…` | `append_only` | `username`, `password`, `token` |
/// | `sftp://user@host:port/path` | `key` (a private key's path), `known_hosts` (`strict`, `accept`, `add`) | |
///
/// `instance_metadata=true` lets the service's own library look for the rights of the machine it runs on, which may
/// read the environment; without it nothing does. `conditional_writes=false` is for S3 look-alikes that do not know
/// `If-None-Match`. `append_only=true` is for a backup server's storage endpoint, which lets nobody write over a file and holds
/// bytes against names itself: a file is sent at once under its name then, with nothing asked before.
///
/// # Errors
///
/// `InvalidInput` for a URL, option or credential that cannot be used. No message holds a secret of the URL or of
/// the options.
pub fn open(url: &str, options: &StorageOptions) -> Result<Arc<dyn Storage>> {
    match location::parse(url, options)? {
        Location::Folder(path) => Ok(Arc::new(LocalStorage::new(&path, options)?)),
        Location::Memory => Ok(Arc::new(memory(options)?)),
        Location::Remote(remote) => Ok(Arc::new(service(remote, options)?)),
    }
}

fn memory(options: &StorageOptions) -> Result<OpendalStorage> {
    let operator = Operator::new(opendal::services::Memory::default())
        .map_err(|e| Error::internal("Cannot set up a storage in memory").with_source(e))?;
    let operator = layers::on(operator, options);
    Ok(OpendalStorage::new(operator, Wording::new("memory:".into(), []), options, true, false))
}

fn service(remote: Remote, options: &StorageOptions) -> Result<OpendalStorage> {
    let secrets = options
        .credentials
        .iter()
        .map(|(_, secret)| secret)
        .chain(["password", "token"].iter().filter_map(|name| remote.settings.get(*name)).map(String::as_str));
    let wording = Wording::new(remote.place.clone(), secrets);
    let (conditional, staged, append_only) = (remote.conditional, remote.staged, remote.append_only);
    let concurrency = options.concurrency.min(remote.service.most_at_once);
    let options = &StorageOptions { concurrency, ..options.clone() };
    let host = host_of(&remote)?;
    let service = remote.service.name;
    let operator = Operator::via_iter(remote.service.name, remote.settings).map_err(|e| {
        let kind = match e.kind() {
            opendal::ErrorKind::ConfigInvalid => ErrorKind::InvalidInput,
            _ => ErrorKind::Internal,
        };
        Error::new(kind, format!("Cannot use {}: {}", wording.place(), wording.clean(e.message())))
            .with_hint("Check the URL's options and the credentials")
    })?;
    let operator = match &options.reach {
        Some(reach) => bounded(operator, reach, host.as_ref())?,
        None => operator,
    };
    let operator = layers::on(operator, options);
    let mut storage = OpendalStorage::new(operator, wording, options, conditional, staged);
    if let (Some(reach), Some(host), "sftp") = (&options.reach, host, service) {
        storage = storage.within(reach.clone(), host);
    }
    Ok(if append_only { storage.append_only() } else { storage })
}

/// The URL whose host is connected to, where it is not the service's own.
fn host_of(remote: &Remote) -> Result<Option<Url>> {
    let Some(endpoint) = remote.settings.get("endpoint") else { return Ok(None) };
    // Without a scheme OpenDAL takes HTTPS; and ssh is no web address, whose hosts are understood in all their ways to write them.
    let host = endpoint.strip_prefix("ssh://").unwrap_or(endpoint);
    let url = if host.contains("://") { Url::parse(host) } else { Url::parse(&format!("https://{host}")) };
    url.map(Some).map_err(|_| Error::invalid(format!("The address of {} cannot be read", remote.place)))
}

/// Lets a service that is reached by HTTP connect to what may be reached, and be led nowhere else.
fn bounded(operator: Operator, reach: &Reach, host: Option<&Url>) -> Result<Operator> {
    host.map_or(Ok(()), |host| reach.check_literal(host))?;
    let client = reach.guard(reqwest::Client::builder()).build();
    let client = client.map_err(|e| Error::internal("The HTTP client cannot be made").with_source(e))?;
    let transport = HttpTransporter::new(ReqwestTransport::new(client));
    Ok(operator.with_context(OperationContext::new().with_http_transport(transport)))
}

#[cfg(test)]
#[path = "open_tests.rs"]
mod tests;
