//! Networks, as settings name them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::error::{Error, Result};

/// An address, or all addresses that begin alike: `10.0.0.1`, `172.16.0.0/12`, `fd00::/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// The addresses of this machine that only it has.
    pub(crate) const LOOPBACK: [Self; 2] = [
        Self { address: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), bits: 8 },
        Self { address: IpAddr::V6(Ipv6Addr::LOCALHOST), bits: 128 },
    ];

    /// Says whether an address lies in it.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, ip.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(ip)) => {
                let rest = 32 - u32::from(self.bits);
                (u32::from(own) ^ u32::from(ip)).checked_shr(rest).unwrap_or_default() == 0
            }
            (IpAddr::V6(own), IpAddr::V6(ip)) => {
                let rest = 128 - u32::from(self.bits);
                (u128::from(own) ^ u128::from(ip)).checked_shr(rest).unwrap_or_default() == 0
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || {
            Error::invalid(format!("'{}' is no address and no network", text.escape_debug()))
                .with_hint("Write it like 10.0.0.1 or 172.16.0.0/12")
        };
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address = address.parse::<IpAddr>().map_err(|_| bad())?.to_canonical();
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) => bits.parse::<u8>().ok().filter(|bits| *bits <= most).ok_or_else(bad)?,
            None => most,
        };
        Ok(Self { address, bits })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_the_addresses_that_begin_alike() {
        for (network, inside, outside) in [
            ("10.0.0.1", "10.0.0.1", "10.0.0.2"),
            ("172.16.0.0/12", "172.31.255.255", "172.32.0.0"),
            ("172.16.0.0/12", "::ffff:172.16.0.9", "::ffff:10.0.0.1"),
            ("fd00::/8", "fdff::1", "fc00::1"),
            ("192.168.1.77/24", "192.168.1.1", "192.168.2.1"),
            ("0.0.0.0/0", "1.2.3.4", "::1"),
            ("::1/128", "::1", "::2"),
        ] {
            let read: Network = network.parse().expect(network);
            assert!(read.contains(inside.parse().expect(inside)), "{network} {inside}");
            assert!(!read.contains(outside.parse().expect(outside)), "{network} {outside}");
        }
        for (inside, outside) in [("127.0.0.9", "128.0.0.1"), ("::1", "::2"), ("::ffff:127.0.0.1", "::ffff:10.0.0.1")] {
            let is_own = |text: &str| {
                let ip = text.parse().expect(text);
                Network::LOOPBACK.iter().any(|network| network.contains(ip))
            };
            assert!(is_own(inside) && !is_own(outside), "{inside} {outside}");
        }
        for bad in ["", "x", "10.0.0.1/33", "10.0.0.1/", "10.0.0/8", "::1/129", "10.0.0.1/-1", "example.com"] {
            bad.parse::<Network>().expect_err(bad);
        }
    }
}
