//! From a URL to a place: which service, with which of its options. Secrets do not belong in URLs; what a URL holds of
//! them all the same never reaches a message.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use url::Url;

use super::options::StorageOptions;
use crate::error::{Error, Result};

/// The schemes that [`super::open`] knows.
pub const SCHEMES: &[&str] = &[
    "fs:/path",
    "file:///path",
    "memory:",
    "s3://bucket/prefix",
    "azblob://container/prefix",
    "gcs://bucket/prefix",
    "webdav://host/path",
    "webdav+http://host/path",
    "sftp://user@host:port/path",
];

/// A place, understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Location {
    /// A folder of this machine.
    Folder(PathBuf),
    /// Nowhere but in memory, new at every opening.
    Memory,
    /// A service.
    Remote(Remote),
}

/// A service and all that OpenDAL must know of it. No `Debug` of the options: they hold the secrets.
#[derive(PartialEq, Eq)]
pub(super) struct Remote {
    pub(super) service: &'static Service,
    /// OpenDAL's own option names and values, secrets included.
    pub(super) settings: BTreeMap<String, String>,
    /// The place without secrets.
    pub(super) place: String,
    /// Whether the service can refuse to write over a file.
    pub(super) conditional: bool,
    /// A file is written aside and renamed.
    pub(super) staged: bool,
    /// The service itself lets nobody write over a file, shows no unfinished one, and takes none whose bytes are not what
    /// its name says.
    pub(super) append_only: bool,
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Remote").field(&self.place).finish()
    }
}

/// What one service takes: our names, and OpenDAL's for them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Service {
    /// OpenDAL's name of the service.
    pub(super) name: &'static str,
    /// Options in the URL.
    options: &'static [(&'static str, &'static str)],
    /// Secrets.
    secrets: &'static [(&'static str, &'static str)],
    /// A file is written aside and renamed, because the service shows what has arrived of an unfinished one.
    pub(super) staged: bool,
    /// How many operations it takes at once.
    pub(super) most_at_once: usize,
}

/// Options that are ours alone; OpenDAL has them the other way round, or not at all.
const ANONYMOUS: (&str, &str) = ("anonymous", "skip_signature");
const INSTANCE_METADATA: &str = "instance_metadata";
const CONDITIONAL: &str = "conditional_writes";
const APPEND_ONLY: &str = "append_only";

/// Options that are true or false.
const SWITCHES: &[&str] = &["anonymous", INSTANCE_METADATA, "virtual_host_style", "list_v1", CONDITIONAL, APPEND_ONLY];

static S3: Service = Service {
    name: "s3",
    options: &[
        ("endpoint", "endpoint"),
        ("region", "region"),
        ("virtual_host_style", "enable_virtual_host_style"),
        ("storage_class", "default_storage_class"),
        ("server_side_encryption", "server_side_encryption"),
        ("kms_key_id", "server_side_encryption_aws_kms_key_id"),
        ("checksum", "checksum_algorithm"),
        ("list_v1", "disable_list_objects_v2"),
        ("role_arn", "role_arn"),
        ("external_id", "external_id"),
        ANONYMOUS,
        (INSTANCE_METADATA, ""),
        (CONDITIONAL, ""),
    ],
    secrets: &[
        ("access_key_id", "access_key_id"),
        ("secret_access_key", "secret_access_key"),
        ("session_token", "session_token"),
    ],
    staged: false,
    most_at_once: usize::MAX,
};

static AZBLOB: Service = Service {
    name: "azblob",
    options: &[("endpoint", "endpoint"), ("account", "account_name"), ANONYMOUS, (INSTANCE_METADATA, "")],
    secrets: &[("account_key", "account_key"), ("sas_token", "sas_token")],
    staged: false,
    most_at_once: usize::MAX,
};

static GCS: Service = Service {
    name: "gcs",
    options: &[
        ("endpoint", "endpoint"),
        ("storage_class", "default_storage_class"),
        ("acl", "predefined_acl"),
        ("key_file", "credential_path"),
        ANONYMOUS,
        (INSTANCE_METADATA, ""),
    ],
    secrets: &[("credential", "credential"), ("token", "token")],
    staged: false,
    most_at_once: usize::MAX,
};

static WEBDAV: Service = Service {
    name: "webdav",
    options: &[(APPEND_ONLY, "disable_create_dir")],
    secrets: &[("username", "username"), ("password", "password"), ("token", "token")],
    staged: true,
    most_at_once: usize::MAX,
};

static SFTP: Service = Service {
    name: "sftp",
    options: &[("key", "key"), ("known_hosts", "known_hosts_strategy")],
    secrets: &[("user", "user")],
    staged: true,
    // Each operation has a connection of its own, and an OpenSSH server left as it comes (MaxStartups 10:30:100)
    // throws dice on refusing a connection while ten others are still signing in.
    most_at_once: 8,
};

/// Understands a URL or a plain path.
pub(super) fn parse(url: &str, options: &StorageOptions) -> Result<Location> {
    let Some((scheme, rest)) = scheme_of(url) else { return folder(url, url) };
    match scheme {
        "fs" => folder(rest.strip_prefix("//").filter(|path| path.starts_with('/')).unwrap_or(rest), url),
        "file" => {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            folder(&percent_decode(path.strip_prefix("localhost").unwrap_or(path)), url)
        }
        "memory" if rest.trim_matches('/').is_empty() => Ok(Location::Memory),
        "memory" => Err(Error::invalid("\"memory:\" takes no name: every opening is a new, empty storage")),
        "s3" => remote(url, &S3, options),
        "azblob" => remote(url, &AZBLOB, options),
        "gcs" | "gs" => remote(url, &GCS, options),
        "webdav" | "webdav+http" | "webdav+https" => remote(url, &WEBDAV, options),
        "sftp" => remote(url, &SFTP, options),
        _ => Err(Error::invalid(format!("\"{scheme}:\" is not a kind of storage")).with_hint(format!(
            "Known are {}, and plain paths (a path with a colon: write ./{scheme}:…)",
            SCHEMES.join(", ")
        ))),
    }
}

/// A scheme is at least two letters long: `C:\backup` is a path.
fn scheme_of(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_once(':')?;
    let letters = scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    (scheme.len() >= 2 && letters && scheme.as_bytes()[0].is_ascii_alphabetic()).then_some((scheme, rest))
}

fn folder(path: &str, url: &str) -> Result<Location> {
    if path.is_empty() || path.contains('\0') {
        return Err(
            Error::invalid(format!("\"{}\" names no folder", redact(url))).with_hint("Write a path, or fs:/path")
        );
    }
    if path.starts_with("//") && !cfg!(windows) {
        return Err(Error::invalid(format!("\"{}\" names a folder of another machine", redact(url)))
            .with_hint("Mount it and give its path, or use sftp: or webdav:"));
    }
    Ok(Location::Folder(PathBuf::from(path)))
}

fn remote(url: &str, service: &'static Service, options: &StorageOptions) -> Result<Location> {
    let shown = redact(url);
    let parsed = Url::parse(url).map_err(|e| Error::invalid(format!("\"{shown}\" is not a URL: {e}")))?;
    let host = parsed.host_str().filter(|host| !host.is_empty()).ok_or_else(|| {
        Error::invalid(format!("\"{shown}\" names no {}", if service.staged { "host" } else { "bucket or container" }))
    })?;
    let mut remote = Remote {
        service,
        settings: BTreeMap::new(),
        place: shown.clone(),
        conditional: !service.staged,
        staged: service.staged,
        append_only: false,
    };
    read_query(&mut remote, &parsed, &shown)?;
    read_credentials(&mut remote, options)?;
    read_userinfo(&mut remote, &parsed)?;
    let root = percent_decode(parsed.path());
    if root.split('/').any(|part| part == "..") {
        return Err(Error::invalid(format!("\"{shown}\" has \"..\" in its path")));
    }
    remote.set("root", format!("/{}", root.trim_matches('/')));
    match service.name {
        "s3" => finish_s3(&mut remote, host)?,
        "azblob" => finish_azblob(&mut remote, host)?,
        "gcs" => finish_gcs(&mut remote, host)?,
        "webdav" => {
            let scheme = if parsed.scheme() == "webdav+http" { "http" } else { "https" };
            remote.set("endpoint", format!("{scheme}://{}", authority(&parsed, host)));
        }
        _ => remote.set("endpoint", format!("ssh://{}", authority(&parsed, host))),
    }
    Ok(Location::Remote(remote))
}

impl Remote {
    fn set(&mut self, name: &str, value: impl Into<String>) {
        self.settings.insert(name.to_owned(), value.into());
    }

    fn has(&self, name: &str) -> bool {
        self.settings.contains_key(name)
    }

    fn is_true(&self, name: &str) -> bool {
        self.settings.get(name).is_some_and(|value| value == "true")
    }

    fn needs(&self, what: &str) -> Error {
        Error::invalid(format!("{} needs {what}", self.place))
            .with_hint("Give it among the destination's credentials, or anonymous=true in the URL for a public place")
    }
}

fn authority(url: &Url, host: &str) -> String {
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn read_query(remote: &mut Remote, url: &Url, shown: &str) -> Result<()> {
    let service = remote.service;
    let mut seen = BTreeSet::new();
    for (key, value) in url.query_pairs() {
        if service.secrets.iter().any(|(name, _)| *name == key) {
            return Err(Error::invalid(format!("{key} is a secret and does not belong in the URL \"{shown}\""))
                .with_hint("Give it among the destination's credentials"));
        }
        let Some((_, theirs)) = service.options.iter().find(|(name, _)| *name == key) else {
            return Err(unknown(&format!("\"{shown}\" has an unknown option"), &key, service.options));
        };
        // Who looked at one of them has not looked at the other.
        if !seen.insert(key.clone()) {
            return Err(Error::invalid(format!("\"{shown}\" says {key} twice")).with_hint("Say it once"));
        }
        let is_switch = SWITCHES.contains(&key.as_ref());
        if is_switch && !matches!(value.as_ref(), "true" | "false") {
            return Err(Error::invalid(format!("Option {key} of \"{shown}\" must be true or false")));
        }
        match key.as_ref() {
            CONDITIONAL => remote.conditional = value == "true",
            INSTANCE_METADATA => remote.set(INSTANCE_METADATA, value),
            APPEND_ONLY => {
                remote.append_only = value == "true";
                remote.staged = !remote.append_only;
                // Such a service makes its folders itself.
                remote.set(theirs, value);
            }
            _ => remote.set(theirs, value),
        }
    }
    Ok(())
}

fn read_credentials(remote: &mut Remote, options: &StorageOptions) -> Result<()> {
    let service = remote.service;
    for (name, secret) in options.credentials.iter() {
        let Some((_, theirs)) = service.secrets.iter().find(|(known, _)| *known == name) else {
            return Err(unknown(&format!("{} has an unknown credential", remote.place), name, service.secrets));
        };
        remote.set(theirs, secret);
    }
    Ok(())
}

/// A user name (and for WebDAV a password) before the host is taken, though never shown.
fn read_userinfo(remote: &mut Remote, url: &Url) -> Result<()> {
    let (user, password) = (percent_decode(url.username()), url.password().map(percent_decode));
    match (remote.service.name, user.is_empty(), password) {
        (_, true, None) => Ok(()),
        ("webdav", _, password) => {
            if !remote.has("username") {
                remote.set("username", user);
            }
            if let (Some(password), false) = (password, remote.has("password")) {
                remote.set("password", password);
            }
            Ok(())
        }
        ("sftp", _, None) => {
            if !remote.has("user") {
                remote.set("user", user);
            }
            Ok(())
        }
        ("sftp", ..) => Err(Error::invalid(format!("{} cannot use a password", remote.place))
            .with_hint("Sign in with a key: ?key=/path/to/private/key")),
        _ => Err(Error::invalid(format!("A user or password does not belong in the URL {}", remote.place))
            .with_hint("Give the keys among the destination's credentials")),
    }
}

fn finish_s3(remote: &mut Remote, bucket: &str) -> Result<()> {
    remote.set("bucket", bucket);
    // Else OpenDAL asks the environment.
    if !remote.has("region") {
        remote.set("region", "us-east-1");
    }
    // It becomes a part of the host's name.
    let region = remote.settings.get("region").map(String::as_str).unwrap_or_default();
    if region.is_empty() || !region.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')) {
        return Err(Error::invalid(format!("The region of {} is none", remote.place))
            .with_hint("It is a word like eu-central-1"));
    }
    remote.set("disable_config_load", "true");
    let instance = remote.is_true(INSTANCE_METADATA);
    remote.set("disable_ec2_metadata", if instance { "false" } else { "true" });
    remote.settings.remove(INSTANCE_METADATA);
    let keys = remote.has("access_key_id") && remote.has("secret_access_key");
    if keys || instance || remote.is_true("skip_signature") {
        return Ok(());
    }
    Err(remote.needs("access_key_id and secret_access_key (or instance_metadata=true)"))
}

fn finish_azblob(remote: &mut Remote, container: &str) -> Result<()> {
    remote.set("container", container);
    if !remote.has("endpoint") {
        let Some(account) = remote.settings.get("account_name") else {
            return Err(Error::invalid(format!("{} needs ?account= or ?endpoint=", remote.place)));
        };
        // It becomes a part of the host's name.
        if account.is_empty() || !account.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
            return Err(Error::invalid(format!("The account of {} is none of Azure's", remote.place))
                .with_hint("Its name has small letters and digits only"));
        }
        let endpoint = format!("https://{account}.blob.core.windows.net");
        remote.set("endpoint", endpoint);
    }
    let instance = remote.is_true(INSTANCE_METADATA);
    remote.settings.remove(INSTANCE_METADATA);
    if remote.has("account_key") || remote.has("sas_token") || instance || remote.is_true("skip_signature") {
        return Ok(());
    }
    Err(remote.needs("account_key or sas_token (or instance_metadata=true)"))
}

fn finish_gcs(remote: &mut Remote, bucket: &str) -> Result<()> {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    remote.set("bucket", bucket);
    remote.set("disable_config_load", "true");
    let instance = remote.is_true(INSTANCE_METADATA);
    remote.set("disable_vm_metadata", if instance { "false" } else { "true" });
    remote.settings.remove(INSTANCE_METADATA);
    // OpenDAL wants the key file's text in Base64, and passes over anything else in silence.
    if let Some(credential) = remote.settings.get("credential").cloned() {
        let json = if credential.trim_start().starts_with('{') {
            Some(credential.into_bytes())
        } else {
            STANDARD.decode(credential.trim()).ok()
        };
        let json = json
            .ok_or_else(|| Error::invalid(format!("The credential of {} is neither JSON nor Base64", remote.place)))?;
        // Others name files, programs and addresses of this machine, which whoever gives a secret has no business with.
        let kind = serde_json::from_slice::<serde_json::Value>(&json).ok();
        let kind = kind.as_ref().and_then(|json| json.get("type")).and_then(serde_json::Value::as_str);
        if !matches!(kind, Some("service_account" | "authorized_user")) {
            return Err(Error::invalid(format!("The credential of {} is no key of a service account", remote.place))
                .with_hint("Take a key of a service account; of other kinds give the file's path as key_file="));
        }
        remote.set("credential", STANDARD.encode(json));
    }
    let given = ["credential", "token", "credential_path"].iter().any(|name| remote.has(name));
    if given || instance || remote.is_true("skip_signature") {
        return Ok(());
    }
    Err(remote.needs("credential or token (or key_file= or instance_metadata=true)"))
}

/// The URL without what could be secret: user, password and query.
pub(super) fn redact(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    // A password may hold a "/" by mistake: what stands before the last "@" is hidden in any case.
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    format!("{scheme}://{rest}")
}

fn unknown(what: &str, key: &str, known: &[(&str, &str)]) -> Error {
    let error = Error::invalid(format!("{what}: {key}"));
    match known.iter().map(|(name, _)| *name).min_by_key(|name| distance(name, key)) {
        Some(near) => {
            let all: Vec<_> = known.iter().map(|(name, _)| *name).collect();
            error.with_hint(format!("Did you mean {near}? Known are {}", all.join(", ")))
        }
        None => error.with_hint("This storage has none"),
    }
}

/// The edit distance of Levenshtein.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = i;
        let mut left = i + 1;
        for (y, above) in b.iter().zip(row.iter_mut().skip(1)) {
            let best = (corner + usize::from(x != *y)).min(left + 1).min(*above + 1);
            corner = std::mem::replace(above, best);
            left = best;
        }
        row[0] = i + 1;
    }
    row.last().copied().unwrap_or_default()
}

/// Undoes percent-encoding; what is not UTF-8 then stays as it was.
fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match hex.filter(|_| byte == b'%').and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(decoded) => {
                bytes.push(decoded);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
#[path = "location_tests.rs"]
mod tests;
