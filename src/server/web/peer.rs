//! Where a request comes from.

use std::convert::Infallible;
use std::net::SocketAddr;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;

/// Where a request comes from: the address of the connection; behind a proxy on this machine, what that says.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// The address, without a port.
    pub(crate) address: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Peer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let direct = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip());
        // Only a proxy on this machine is believed: anybody can send the header.
        let forwarded = direct.filter(std::net::IpAddr::is_loopback).and_then(|_| {
            let last = parts.headers.get("x-forwarded-for")?.to_str().ok()?.rsplit(',').next()?.trim();
            last.parse::<std::net::IpAddr>().ok()
        });
        let address = forwarded.or(direct).map_or_else(|| "unknown".to_owned(), |ip| ip.to_string());
        Ok(Self { address })
    }
}
