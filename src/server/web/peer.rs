//! Where a request comes from.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::HeaderMap;
use axum::http::request::Parts;

use crate::server::network::Network;

/// Proxies that are believed; those on this machine always are.
#[derive(Debug, Clone)]
pub(super) struct Proxies(pub(super) Arc<[Network]>);

impl Proxies {
    fn believes(&self, ip: IpAddr) -> bool {
        ip.to_canonical().is_loopback() || self.0.iter().any(|network| network.contains(ip))
    }

    /// Where a request comes from that a connection brought: anybody can send the headers, so that each proxy is believed as to who
    /// spoke to it, from the last one on, until one speaks for somebody who is no proxy of ours.
    fn origin(&self, direct: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut origin = direct;
        let mut hops = hops(headers).into_iter().rev();
        while self.believes(origin) {
            // What is no address is no proxy's word.
            let Some(Some(ip)) = hops.next() else { break };
            origin = ip;
        }
        origin.to_canonical()
    }
}

/// What proxies say of where a request came from, the last one's word last: `X-Forwarded-For`, and where there is none,
/// `Forwarded` (RFC 7239).
fn hops(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let words = |name: &str| -> Vec<String> {
        let all = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        all.flat_map(|value| value.split(',').map(str::to_owned).collect::<Vec<_>>()).collect()
    };
    let usual = words("x-forwarded-for");
    if !usual.is_empty() {
        return usual.iter().map(|word| address(word)).collect();
    }
    let standing_for = |word: &String| {
        let mut pairs = word.split(';').filter_map(|pair| pair.split_once('='));
        pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for")).and_then(|(_, value)| address(value))
    };
    words("forwarded").iter().map(standing_for).collect()
}

/// An address as proxies write it: also with a port, in brackets, in quotes.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

/// Where a request comes from: the address of the connection; behind a proxy that is believed, what that says.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// The address, without a port.
    pub(crate) address: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Peer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let direct = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip());
        let origin = direct.map(|direct| match parts.extensions.get::<Proxies>() {
            Some(proxies) => proxies.origin(direct, &parts.headers),
            None => direct,
        });
        Ok(Self { address: origin.map_or_else(|| "unknown".to_owned(), |ip| ip.to_string()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(direct: &str, headers: &[(&'static str, &str)]) -> String {
        let networks = ["172.16.0.0/12", "fd00::/8"].map(|text| text.parse().expect(text));
        let mut all = HeaderMap::new();
        for (name, value) in headers {
            all.append(*name, value.parse().expect("a header"));
        }
        Proxies(Arc::new(networks)).origin(direct.parse().expect(direct), &all).to_string()
    }

    const USUAL: &str = "x-forwarded-for";

    #[test]
    fn who_is_no_proxy_of_ours_is_not_believed() {
        assert_eq!(origin("198.51.100.7", &[(USUAL, "203.0.113.9")]), "198.51.100.7");
        assert_eq!(origin("198.51.100.7", &[("forwarded", "for=203.0.113.9")]), "198.51.100.7");
        assert_eq!(origin("172.32.0.1", &[(USUAL, "203.0.113.9")]), "172.32.0.1");
    }

    #[test]
    fn proxies_are_believed_up_to_who_is_none() {
        for direct in ["127.0.0.1", "::1", "172.18.0.1", "::ffff:172.18.0.1", "fd00::2"] {
            assert_eq!(origin(direct, &[(USUAL, "203.0.113.9")]), "203.0.113.9", "{direct}");
            // The client's own header stands before what the proxy adds.
            assert_eq!(origin(direct, &[(USUAL, "10.9.9.9, 203.0.113.9")]), "203.0.113.9", "{direct}");
            assert_eq!(origin(direct, &[(USUAL, "10.9.9.9"), (USUAL, "203.0.113.9")]), "203.0.113.9", "{direct}");
        }
        // Two proxies of ours, one behind the other.
        assert_eq!(origin("127.0.0.1", &[(USUAL, "9.9.9.9, 203.0.113.9, 172.18.0.5")]), "203.0.113.9");
        // All of them are ours: the first is who asks.
        assert_eq!(origin("127.0.0.1", &[(USUAL, "172.18.0.9, 172.18.0.5")]), "172.18.0.9");
        assert_eq!(origin("172.18.0.1", &[]), "172.18.0.1");
        assert_eq!(origin("172.18.0.1", &[(USUAL, "203.0.113.9, unknown")]), "172.18.0.1");
    }

    #[test]
    fn both_headers_and_all_ways_to_write_an_address_are_read() {
        for (name, value, address) in [
            (USUAL, "203.0.113.9:4711", "203.0.113.9"),
            (USUAL, "2001:db8::9", "2001:db8::9"),
            (USUAL, "[2001:db8::9]:4711", "2001:db8::9"),
            ("forwarded", "for=203.0.113.9;proto=https;by=10.0.0.1", "203.0.113.9"),
            ("forwarded", "For=\"[2001:db8::9]:4711\"", "2001:db8::9"),
            ("forwarded", "for=10.9.9.9, proto=https; for=203.0.113.9", "203.0.113.9"),
            ("forwarded", "for=_hidden", "172.18.0.1"),
        ] {
            assert_eq!(origin("172.18.0.1", &[(name, value)]), address, "{name}: {value}");
        }
        // Where both are there, the usual one counts.
        assert_eq!(origin("172.18.0.1", &[("forwarded", "for=9.9.9.9"), (USUAL, "203.0.113.9")]), "203.0.113.9");
    }
}
