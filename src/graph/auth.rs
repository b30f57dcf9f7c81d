//! Signing in as an app: client credentials, with a secret or a certificate.
use super::cloud::Cloud;
use super::token::{AccessToken, TokenSource};
use crate::error::Result;
use async_trait::async_trait;
use std::fmt;
use zeroize::Zeroizing;

/// How an app proves that it is the app.
#[derive(Clone)]
pub enum Credential {
    /// A client secret: its value, not its id.
    Secret(Zeroizing<String>),
    /// A certificate and its private key, both PEM.
    Certificate {
        /// The certificate that is registered with the app.
        certificate_pem: String,
        /// Its RSA private key.
        private_key_pem: Zeroizing<String>,
    },
}
impl Credential {
    /// Takes a client secret.
    pub fn secret(value: impl Into<String>) -> Self {
        Self::Secret(Zeroizing::new(value.into()))
    }
    /// Takes a certificate and its private key, both PEM.
    pub fn certificate(certificate_pem: impl Into<String>, private_key_pem: impl Into<String>) -> Self {
        Self::Certificate {
            certificate_pem: certificate_pem.into(),
            private_key_pem: Zeroizing::new(private_key_pem.into()),
        }
    }
}
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(…)")
    }
}
/// Signs in with client credentials.
pub struct ClientCredentials {
    _cloud: Cloud,
}
#[async_trait]
impl TokenSource for ClientCredentials {
    async fn fetch(&self, _claims: Option<&str>) -> Result<AccessToken> {
        todo!()
    }
}
