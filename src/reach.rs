//! Which machines a process connects to on behalf of others. A server that strangers use must not reach into the network it
//! stands in: what a name stands for is looked at when a connection is made, each time, for it may be something else by
//! then, and so is where an answer leads.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{ClientBuilder, redirect};
use url::{Host, Url};

use crate::error::{Error, ErrorKind, Result};

/// Other addresses that an answer may lead to, one after another.
const MOST_REDIRECTS: usize = 10;

type Found = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;
type LookUp = dyn Fn(String) -> Found + Send + Sync;

/// Which addresses connections may go to: those of the public internet.
#[derive(Clone)]
pub struct Reach {
    may: fn(IpAddr) -> bool,
    look_up: Arc<LookUp>,
}

impl fmt::Debug for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reach")
    }
}

/// Why a connection is not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("The address leads into a private network, or to this machine")]
pub(crate) struct Private;

impl From<Private> for Error {
    fn from(private: Private) -> Self {
        Self::new(ErrorKind::Permission, private.to_string()).with_hint("This server reaches public addresses only")
    }
}

impl Reach {
    /// The public internet, by the names that this machine knows.
    pub fn public() -> Self {
        let look_up = |name: String| -> Found {
            Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.map(|found| found.ip()).collect()) })
        };
        Self { may: is_public, look_up: Arc::new(look_up) }
    }

    /// Addresses and names of a test's own.
    #[cfg(test)]
    pub(crate) fn of_test(may: fn(IpAddr) -> bool, look_up: impl Fn(&str) -> IpAddr + Send + Sync + 'static) -> Self {
        let look_up = move |name: String| -> Found {
            let found = look_up(&name);
            Box::pin(async move { Ok(vec![found]) })
        };
        Self { may, look_up: Arc::new(look_up) }
    }

    /// What a URL's host stands for now.
    ///
    /// # Errors
    /// `Permission` when any of it is no public address; `Unavailable` when the name is not known.
    pub(crate) async fn resolve(&self, url: &Url) -> Result<Vec<SocketAddr>> {
        let port = url.port_or_known_default().unwrap_or(443);
        let all = match url.host() {
            Some(Host::Domain(name)) => (self.look_up)(name.to_owned())
                .await
                .map_err(|e| Error::new(ErrorKind::Unavailable, "The address's name is not known").with_source(e))?,
            Some(Host::Ipv4(ip)) => vec![ip.into()],
            Some(Host::Ipv6(ip)) => vec![ip.into()],
            None => Vec::new(),
        };
        Ok(self.allowed(all)?.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
    }

    /// One that is not public is enough: who connects takes whichever answers.
    fn allowed(&self, all: Vec<IpAddr>) -> std::result::Result<Vec<IpAddr>, Private> {
        if all.is_empty() || !all.iter().all(|ip| (self.may)(*ip)) { Err(Private) } else { Ok(all) }
    }

    /// Looks at a URL whose host is an address; HTTP clients look up names alone.
    ///
    /// # Errors
    /// When it is none of the public internet.
    pub(crate) fn check_literal(&self, url: &Url) -> std::result::Result<(), Private> {
        match url.host() {
            Some(Host::Ipv4(ip)) if !(self.may)(ip.into()) => Err(Private),
            Some(Host::Ipv6(ip)) if !(self.may)(ip.into()) => Err(Private),
            _ => Ok(()),
        }
    }

    /// Guards an HTTP client: by whichever name or redirect, it connects to public addresses only. A request's own URL is for
    /// [`Self::check_literal`].
    pub(crate) fn guard(&self, client: ClientBuilder) -> ClientBuilder {
        let reach = self.clone();
        let follow = move |attempt: redirect::Attempt<'_>| {
            if attempt.previous().len() > MOST_REDIRECTS {
                return attempt.error("It leads on and on");
            }
            match reach.check_literal(attempt.url()) {
                Ok(()) => attempt.follow(),
                Err(private) => attempt.error(private),
            }
        };
        // A proxy would look names up by itself.
        client.no_proxy().redirect(redirect::Policy::custom(follow)).dns_resolver(self.clone())
    }
}

impl Resolve for Reach {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.clone();
        Box::pin(async move {
            let all = reach.allowed((reach.look_up)(name.as_str().to_owned()).await?)?;
            // The port is the request's own.
            let all: Addrs = Box::new(all.into_iter().map(|ip| SocketAddr::new(ip, 0)));
            Ok(all)
        })
    }
}

/// Says whether an error comes of a connection that was refused here.
pub(crate) fn is_refused(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(e) = cause {
        if e.is::<Private>() {
            return true;
        }
        cause = e.source();
    }
    false
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
