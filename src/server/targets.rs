//! Addresses that people of accounts enter: destinations, tenants' addresses, webhooks. A server that strangers use must
//! not reach into the network it stands in on their behalf.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use super::state::Server;
use crate::error::{Error, ErrorKind, Result};

/// The address of the server's own storage.
pub(crate) const OWN: &str = "server:";

/// Looks at the URL of a destination: `administrator` says whether who enters it may name folders of this machine.
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
            // What reads the machine's own rights or files is the operator's business.
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
    if server.options.allow_private_targets {
        return Ok(Vec::new());
    }
    let refused = || {
        Error::new(ErrorKind::Permission, "The address leads into a private network, or to this machine")
            .with_hint("This server reaches public addresses only")
    };
    let port = url.port_or_known_default().unwrap_or(443);
    match url.host() {
        Some(Host::Ipv4(ip)) if is_public(ip.into()) => Ok(Vec::new()),
        Some(Host::Ipv6(ip)) if is_public(ip.into()) => Ok(Vec::new()),
        Some(Host::Domain(name)) => {
            let found = tokio::net::lookup_host((name, port))
                .await
                .map_err(|e| Error::new(ErrorKind::Unavailable, "The address's name is not known").with_source(e))?;
            let all: Vec<_> = found.collect();
            if all.is_empty() || all.iter().any(|found| !is_public(found.ip())) { Err(refused()) } else { Ok(all) }
        }
        _ => Err(refused()),
    }
}

/// Says whether an address is one of the public internet (IANA's special-purpose registries).
pub(crate) fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    !(ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_broadcast()
        || ip.is_documentation()
        || ip.is_multicast()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (18..20).contains(&b)))
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    if let Some(v4) = ip.to_ipv4_mapped() {
        return is_public_v4(v4);
    }
    let [first, second, ..] = ip.segments();
    match first {
        // 6to4 and NAT64 lead to addresses of version 4.
        0x2002 | 0x0064 => false,
        // Teredo, and documentation.
        0x2001 => !matches!(second, 0 | 0x0db8),
        first => (0x2000..0x4000).contains(&first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_internet_are_public() {
        for public in ["93.184.216.34", "8.8.8.8", "2606:2800:220:1::1"] {
            assert!(is_public(public.parse().expect(public)), "{public}");
        }
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "2002:7f00:1::",
            "64:ff9b::7f00:1",
            "2001:db8::1",
            "ff02::1",
        ] {
            assert!(!is_public(private.parse().expect(private)), "{private}");
        }
    }
}
