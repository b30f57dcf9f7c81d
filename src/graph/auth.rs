//! Signing in as an app: OAuth 2.0 client credentials, with a secret or a certificate.
//!
//! The certificate's assertion is a JWT signed with PS256, which names the certificate by `x5t#S256`.
//! Source: Microsoft, "OAuth 2.0 client credentials flow" and "Certificate credentials"; RFC 6749, RFC 7523.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::cloud::Cloud;
use super::endpoint::{Fields, TokenEndpoint};
use super::retry::random_id;
use super::token::{AccessToken, TokenSource};
use crate::error::{Error, Result};

const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How an app proves that it is the app. Does not print; secrets are zeroised on drop.
#[derive(Clone)]
pub enum Credential {
    /// A client secret: its value, not its id.
    Secret(Zeroizing<String>),
    /// A certificate and its private key, both PEM.
    Certificate {
        /// The certificate that is registered with the app.
        certificate_pem: String,
        /// Its RSA private key, PKCS #8 or PKCS #1, not encrypted.
        private_key_pem: Zeroizing<String>,
    },
}

impl Credential {
    /// Takes a client secret.
    pub fn secret(value: impl Into<String>) -> Self {
        Self::Secret(Zeroizing::new(value.into()))
    }

    /// Takes a certificate and its private key, both PEM; one text that holds both may be given twice.
    pub fn certificate(certificate_pem: impl Into<String>, private_key_pem: impl Into<String>) -> Self {
        Self::Certificate {
            certificate_pem: certificate_pem.into(),
            private_key_pem: Zeroizing::new(private_key_pem.into()),
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secret(_) => "Credential::Secret(…)",
            Self::Certificate { .. } => "Credential::Certificate(…)",
        })
    }
}

/// The sign-in with client credentials.
pub struct ClientCredentials {
    endpoint: TokenEndpoint,
    scope: String,
    proof: Proof,
}

enum Proof {
    Secret(Zeroizing<String>),
    Certificate { thumbprint: String, key: EncodingKey },
}

impl ClientCredentials {
    pub(crate) fn new(endpoint: TokenEndpoint, cloud: &Cloud, credential: Credential) -> Result<Self> {
        let proof = match credential {
            Credential::Secret(secret) if secret.is_empty() => {
                return Err(Error::invalid("The client secret is empty"));
            }
            Credential::Secret(secret) => Proof::Secret(secret),
            Credential::Certificate { certificate_pem, private_key_pem } => {
                Proof::Certificate { thumbprint: thumbprint(&certificate_pem)?, key: signing_key(&private_key_pem)? }
            }
        };
        Ok(Self { endpoint, scope: cloud.default_scope(), proof })
    }

    fn fields(&self, claims: Option<&str>) -> Result<Fields> {
        let text = |text: &str| Zeroizing::new(text.to_owned());
        let mut fields = vec![("grant_type", text("client_credentials")), ("scope", text(&self.scope))];
        match &self.proof {
            Proof::Secret(secret) => fields.push(("client_secret", secret.clone())),
            Proof::Certificate { thumbprint, key } => {
                fields.push(("client_assertion_type", text(ASSERTION)));
                fields.push(("client_assertion", self.assertion(thumbprint, key)?));
            }
        }
        fields.extend(claims.map(|claims| ("claims", text(claims))));
        Ok(fields)
    }

    /// Signs an assertion for the token endpoint, good for ten minutes.
    fn assertion(&self, thumbprint: &str, key: &EncodingKey) -> Result<Zeroizing<String>> {
        #[derive(Serialize)]
        struct Claims<'a> {
            aud: &'a str,
            iss: &'a str,
            sub: &'a str,
            jti: String,
            nbf: u64,
            iat: u64,
            exp: u64,
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let claims = Claims {
            aud: self.endpoint.url.as_str(),
            iss: &self.endpoint.client_id,
            sub: &self.endpoint.client_id,
            jti: random_id(),
            nbf: now,
            iat: now,
            exp: now + 600,
        };
        let mut header = Header::new(Algorithm::PS256);
        header.x5t_s256 = Some(thumbprint.to_owned());
        jsonwebtoken::encode(&header, &claims, key).map(Zeroizing::new).map_err(|_| {
            Error::invalid("The certificate's private key cannot sign")
                .with_hint("Use an RSA key of at least 2048 bits")
        })
    }
}

#[async_trait]
impl TokenSource for ClientCredentials {
    async fn fetch(&self, claims: Option<&str>) -> Result<AccessToken> {
        Ok(self.endpoint.grant(|| self.fields(claims)).await?.access)
    }
}

impl fmt::Debug for ClientCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientCredentials({}, {})", self.endpoint.url, self.endpoint.client_id)
    }
}

/// The `x5t#S256` of the first certificate in a PEM text.
fn thumbprint(pem: &str) -> Result<String> {
    Ok(URL_SAFE_NO_PAD.encode(Sha256::digest(certificate_der(pem)?)))
}

/// The bytes of the first certificate in a PEM text.
pub(super) fn certificate_der(pem: &str) -> Result<Vec<u8>> {
    let body = pem
        .split_once("-----BEGIN CERTIFICATE-----")
        .and_then(|(_, rest)| rest.split_once("-----END CERTIFICATE-----"))
        .map(|(body, _)| body.split_whitespace().collect::<String>());
    body.and_then(|text| STANDARD.decode(text).ok()).filter(|der| !der.is_empty()).ok_or_else(|| {
        Error::invalid("The certificate is not PEM")
            .with_hint("It begins with -----BEGIN CERTIFICATE-----; convert others with 'openssl x509 -inform der'")
    })
}

/// Picks the private key out of a PEM text that may hold certificates too.
fn signing_key(pem: &str) -> Result<EncodingKey> {
    let bad = |hint: &str| Error::invalid("The certificate's private key cannot be read").with_hint(hint);
    if pem.contains("BEGIN ENCRYPTED PRIVATE KEY") || pem.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(bad("It is encrypted; take the passphrase off with 'openssl pkey'"));
    }
    for label in ["PRIVATE KEY", "RSA PRIVATE KEY"] {
        let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
        let Some(from) = pem.find(&begin) else { continue };
        let Some(length) = pem.get(from..).and_then(|rest| rest.find(&end)) else { continue };
        let block = pem.get(from..from + length + end.len()).unwrap_or_default();
        return EncodingKey::from_rsa_pem(block.as_bytes()).map_err(|_| bad("It must be an RSA key in PEM form"));
    }
    Err(bad("It begins with -----BEGIN PRIVATE KEY-----"))
}
