//! Signing in as an app: OAuth 2.0 client credentials, with a secret or a certificate.
//!
//! The certificate's assertion is a JWT signed with PS256, which names the certificate by `x5t#S256`.
//! Source: Microsoft, "OAuth 2.0 client credentials flow" and "Certificate credentials"; RFC 6749, RFC 7523.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use oauth2::basic::{BasicRevocationErrorResponse, BasicTokenIntrospectionResponse, BasicTokenResponse};
use oauth2::{
    AuthType, ClientId, ClientSecret, EndpointNotSet, EndpointSet, RequestTokenError, StandardRevocableToken,
    TokenResponse as _, TokenUrl,
};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use url::Url;
use zeroize::Zeroizing;

use super::cloud::Cloud;
use super::http::{CallError, Http};
use super::retry::{RetryOptions, random_id};
use super::signin::{SignInError, refusal};
use super::token::{AccessToken, TokenSource};

use crate::error::{Error, ErrorKind, Result};

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
    http: Http,
    retry: RetryOptions,
    tenant: String,
    token_url: Url,
    scope: String,
    client_id: String,
    proof: Proof,
}

enum Proof {
    Secret(Zeroizing<String>),
    Certificate { thumbprint: String, key: EncodingKey },
}

/// The oauth2 crate's client with our error body, so that Microsoft's `error_codes` come through.
type OAuthClient = oauth2::Client<
    SignInError,
    BasicTokenResponse,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

impl ClientCredentials {
    pub(crate) fn new(
        http: Http,
        retry: RetryOptions,
        cloud: &Cloud,
        tenant: &str,
        client_id: &str,
        credential: Credential,
    ) -> Result<Self> {
        if client_id.trim().is_empty() {
            return Err(Error::invalid("The client id is empty")
                .with_hint("Give the Application (client) ID of the app registration"));
        }
        let proof = match credential {
            Credential::Secret(secret) if secret.is_empty() => {
                return Err(Error::invalid("The client secret is empty"));
            }
            Credential::Secret(secret) => Proof::Secret(secret),
            Credential::Certificate { certificate_pem, private_key_pem } => {
                Proof::Certificate { thumbprint: thumbprint(&certificate_pem)?, key: signing_key(&private_key_pem)? }
            }
        };
        Ok(Self {
            http,
            retry,
            tenant: tenant.to_owned(),
            token_url: cloud.token_url(tenant)?,
            scope: cloud.default_scope(),
            client_id: client_id.trim().to_owned(),
            proof,
        })
    }

    async fn attempt(&self, claims: Option<&str>) -> Result<AccessToken, SignInFailure> {
        let assertion = match &self.proof {
            Proof::Secret(_) => None,
            Proof::Certificate { thumbprint, key } => {
                Some(self.assertion(thumbprint, key).map_err(SignInFailure::Final)?)
            }
        };
        let client: OAuthClient = oauth2::Client::new(ClientId::new(self.client_id.clone()))
            .set_auth_type(AuthType::RequestBody)
            .set_token_uri(TokenUrl::from_url(self.token_url.clone()));
        let client = match &self.proof {
            Proof::Secret(secret) => client.set_client_secret(ClientSecret::new(secret.as_str().to_owned())),
            Proof::Certificate { .. } => client,
        };
        let mut request = client.exchange_client_credentials().add_scope(oauth2::Scope::new(self.scope.clone()));
        if let Some(assertion) = &assertion {
            request = request
                .add_extra_param("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
                .add_extra_param("client_assertion", assertion.as_str());
        }
        if let Some(claims) = claims {
            request = request.add_extra_param("claims", claims);
        }
        let http = self.http.clone();
        let timeout = self.retry.timeout;
        let call = move |request| {
            let http = http.clone();
            async move { http.sign_in(request, timeout).await }
        };
        let token = request.request_async(&call).await.map_err(|e| self.failure(e))?;
        let lifetime = token.expires_in().unwrap_or(Duration::from_secs(3600));
        Ok(AccessToken::new(token.access_token().secret().as_str(), lifetime))
    }

    fn failure(&self, error: RequestTokenError<CallError, SignInError>) -> SignInFailure {
        let host = self.token_url.host_str().unwrap_or_default();
        match error {
            RequestTokenError::ServerResponse(refused) => SignInFailure::Final(refusal(refused, &self.tenant)),
            RequestTokenError::Request(CallError::Transport(cause)) => {
                SignInFailure::Again(None, cause.into_error(&format!("the sign-in at {host}")))
            }
            RequestTokenError::Request(CallError::Busy { status, retry_after }) => {
                let text = format!("The sign-in server {host} answers {status}");
                SignInFailure::Again(retry_after, Error::new(ErrorKind::Unavailable, text).with_hint("Run again later"))
            }
            // The body is not told: it may hold a token.
            RequestTokenError::Parse(..) | RequestTokenError::Other(_) => SignInFailure::Final(
                Error::new(ErrorKind::Corrupt, format!("The answer of the sign-in server {host} cannot be read"))
                    .with_hint("Check the sign-in address and whether a proxy stands in between"),
            ),
        }
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
            aud: self.token_url.as_str(),
            iss: &self.client_id,
            sub: &self.client_id,
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

enum SignInFailure {
    Final(Error),
    Again(Option<Duration>, Error),
}

#[async_trait]
impl TokenSource for ClientCredentials {
    async fn fetch(&self, claims: Option<&str>) -> Result<AccessToken> {
        let mut attempt = 1;
        loop {
            match self.attempt(claims).await {
                Ok(token) => return Ok(token),
                Err(SignInFailure::Final(e)) => return Err(e),
                Err(SignInFailure::Again(_, e)) if attempt >= self.retry.attempts => return Err(e),
                Err(SignInFailure::Again(asked, _)) => {
                    tokio::time::sleep(self.retry.wait(attempt, asked)).await;
                    attempt += 1;
                }
            }
        }
    }
}

impl fmt::Debug for ClientCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientCredentials({}, {})", self.token_url, self.client_id)
    }
}

/// The `x5t#S256` of the first certificate in a PEM text.
fn thumbprint(pem: &str) -> Result<String> {
    let body = pem
        .split_once("-----BEGIN CERTIFICATE-----")
        .and_then(|(_, rest)| rest.split_once("-----END CERTIFICATE-----"))
        .map(|(body, _)| body.split_whitespace().collect::<String>());
    let der = body.and_then(|text| STANDARD.decode(text).ok()).filter(|der| !der.is_empty()).ok_or_else(|| {
        Error::invalid("The certificate is not PEM")
            .with_hint("It begins with -----BEGIN CERTIFICATE-----; convert others with 'openssl x509 -inform der'")
    })?;
    Ok(URL_SAFE_NO_PAD.encode(Sha256::digest(&der)))
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
