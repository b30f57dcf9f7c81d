//! Browser: the user signs in on a page of the sign-in server, which leads back with a code.
//!
//! The code alone opens nothing: it is redeemed with a verifier that never left this program (PKCE, RFC 7636). The state ties the
//! way back to the way there (RFC 6749, section 10.12). A code that is pasted without its address brings no state; the
//! verifier still makes a code of somebody else's sign-in worthless.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use url::Url;
use zeroize::Zeroizing;

use super::{SignedIn, UserSignIn};
use crate::error::{Error, ErrorKind, Result};
use crate::graph::endpoint::Failed;
use crate::graph::signin::SignInError;

/// The page that shows the address to paste, for those who cannot be led back to this machine.
const PASTE_PATH: &str = "oauth2/nativeclient";

/// A sign-in in a browser that has begun. Verifier and state do not print.
pub struct CodeRequest {
    /// Where the user signs in.
    pub address: Url,
    redirect: String,
    state: Zeroizing<String>,
    verifier: Zeroizing<String>,
}

/// What a sign-in in a browser leads back with. Does not print.
pub struct AuthorizationCode(pub(super) Zeroizing<String>);

impl fmt::Debug for AuthorizationCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthorizationCode(…)")
    }
}

/// A sign-in in a browser that another process is to end: to be kept sealed. Does not print.
#[derive(Serialize, Deserialize)]
pub struct KeptRequest {
    /// Where the user signs in.
    pub address: String,
    redirect: String,
    state: Zeroizing<String>,
    verifier: Zeroizing<String>,
}

impl fmt::Debug for KeptRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeptRequest(…)")
    }
}

impl From<CodeRequest> for KeptRequest {
    fn from(request: CodeRequest) -> Self {
        let CodeRequest { address, redirect, state, verifier } = request;
        Self { address: address.into(), redirect, state, verifier }
    }
}

impl TryFrom<KeptRequest> for CodeRequest {
    type Error = Error;

    fn try_from(kept: KeptRequest) -> Result<Self> {
        let KeptRequest { address, redirect, state, verifier } = kept;
        let address = Url::parse(&address).map_err(|_| Error::corrupt("A sign-in that was kept cannot be read"))?;
        Ok(Self { address, redirect, state, verifier })
    }
}

/// What came back from the browser.
pub(super) enum Back {
    Code(Zeroizing<String>),
    /// It does not belong to this sign-in.
    Foreign,
    Refused(Box<SignInError>),
}

/// 32 random bytes as 43 characters.
fn random() -> Zeroizing<String> {
    Zeroizing::new(URL_SAFE_NO_PAD.encode(Zeroizing::new(rand::random::<[u8; 32]>()).as_slice()))
}

impl UserSignIn {
    /// Begins a sign-in that comes back to an address of this machine (see [`super::Loopback`]). `claims`: what the server
    /// asked for when it last refused.
    ///
    /// # Errors
    /// If tenant or client id make no address.
    pub fn begin_code(&self, redirect: &str, user: Option<&str>, claims: Option<&str>) -> Result<CodeRequest> {
        self.begin_code_with(redirect, random(), user, claims)
    }

    /// As [`Self::begin_code`], with a state of the caller's: it must be one that nobody can guess, and of this sign-in alone.
    ///
    /// # Errors
    /// As [`Self::begin_code`].
    pub fn begin_code_with(
        &self,
        redirect: &str,
        state: Zeroizing<String>,
        user: Option<&str>,
        claims: Option<&str>,
    ) -> Result<CodeRequest> {
        let verifier = random();
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
        let mut address = self.cloud.sign_in_url(&self.tenant, "oauth2/v2.0/authorize")?;
        let mut query = address.query_pairs_mut();
        query.append_pair("client_id", &self.endpoint.client_id).append_pair("response_type", "code");
        query.append_pair("redirect_uri", redirect).append_pair("response_mode", "query");
        query.append_pair("scope", &self.scope(&self.scopes)).append_pair("state", &state);
        query.append_pair("code_challenge", &challenge).append_pair("code_challenge_method", "S256");
        match user {
            Some(user) => query.append_pair("login_hint", user),
            None => query.append_pair("prompt", "select_account"),
        };
        if let Some(claims) = claims {
            query.append_pair("claims", claims);
        }
        drop(query);
        Ok(CodeRequest { address, redirect: redirect.to_owned(), state, verifier })
    }

    /// Begins a sign-in that ends on a page whose address the user pastes.
    ///
    /// # Errors
    /// As [`Self::begin_code`].
    pub fn begin_paste(&self, user: Option<&str>, claims: Option<&str>) -> Result<CodeRequest> {
        let page = self.cloud.sign_in_url("common", PASTE_PATH)?;
        self.begin_code(page.as_str(), user, claims)
    }

    /// Ends a sign-in with what the user pasted: the whole address of the last page, or its code alone.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if it is neither, or belongs to another sign-in; a refusal, explained.
    pub async fn finish_paste(&self, request: &CodeRequest, pasted: &str) -> Result<SignedIn> {
        self.redeem(request, &self.read_paste(request, pasted)?).await
    }

    /// Finds the code in what the user pasted: the whole address of the last page, or the code alone. Nothing is sent.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if it is neither, or belongs to another sign-in; what the address says of a refusal, explained.
    pub fn read_paste(&self, request: &CodeRequest, pasted: &str) -> Result<AuthorizationCode> {
        let pasted = pasted.trim().trim_matches(['"', '\'', '<', '>']);
        let hint = || self.endpoint.asker.begin_anew();
        let back = match pasted.split_once('?') {
            Some((_, query)) => request.read(query.split('#').next().unwrap_or_default()),
            None if is_code(pasted) => Some(Back::Code(Zeroizing::new(pasted.to_owned()))),
            None => None,
        };
        match back {
            Some(Back::Code(code)) => Ok(AuthorizationCode(code)),
            Some(Back::Refused(refused)) => Err(self.declined(*refused)),
            Some(Back::Foreign) => {
                Err(Error::invalid("The address that was pasted belongs to another sign-in").with_hint(hint()))
            }
            None => Err(Error::invalid("What was pasted is neither the last page's address nor a code")
                .with_hint(format!("Paste the whole address, which has '?code=' in it. To begin anew: {}", hint()))),
        }
    }

    /// Finds the code in the query with which the browser came back. Nothing is sent.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if it belongs to another sign-in, or has no code; a refusal, explained.
    pub fn read_back(&self, request: &CodeRequest, query: &str) -> Result<AuthorizationCode> {
        match request.read(query) {
            Some(Back::Code(code)) => Ok(AuthorizationCode(code)),
            Some(Back::Refused(refused)) => Err(self.declined(*refused)),
            Some(Back::Foreign) => Err(Error::invalid("The browser came back from another sign-in")
                .with_hint(self.endpoint.asker.begin_anew())),
            None => {
                Err(Error::invalid("The browser came back without a code").with_hint(self.endpoint.asker.begin_anew()))
            }
        }
    }

    /// Redeems a code, which is good once.
    ///
    /// # Errors
    /// A refusal, explained.
    pub async fn redeem(&self, request: &CodeRequest, code: &AuthorizationCode) -> Result<SignedIn> {
        let fields = || {
            let mut fields = self.fields("authorization_code", &self.scopes, None);
            fields.push(("code", code.0.clone()));
            fields.push(("redirect_uri", Zeroizing::new(request.redirect.clone())));
            fields.push(("code_verifier", request.verifier.clone()));
            Ok(fields)
        };
        self.signed_in(self.endpoint.grant(fields).await?)
    }

    /// What a refusal on the way back means.
    pub(super) fn declined(&self, refused: SignInError) -> Error {
        if refused.error_codes.is_empty() && refused.error == "access_denied" {
            let error = Error::new(ErrorKind::Permission, "The sign-in was declined in the browser");
            return error.with_hint(self.endpoint.asker.begin_anew());
        }
        self.endpoint.explain(Failed::Refused(Box::new(refused)))
    }
}

impl CodeRequest {
    /// Reads the query of the way back; `None`: there is neither a code nor an error in it.
    pub(super) fn read(&self, query: &str) -> Option<Back> {
        let find = |name: &str| {
            let mut pairs = url::form_urlencoded::parse(query.as_bytes());
            pairs.find(|(key, _)| key == name).map(|(_, value)| Zeroizing::new(value.into_owned()))
        };
        let (code, error) = (find("code"), find("error"));
        if code.is_none() && error.is_none() {
            return None;
        }
        if find("state").as_deref() != Some(&*self.state) {
            return Some(Back::Foreign);
        }
        if let Some(error) = error {
            let text = find("error_description").map(|text| text.to_string());
            let refused = SignInError::of_address(error.to_string(), text);
            return Some(Back::Refused(Box::new(refused)));
        }
        code.filter(|code| is_code(code)).map(Back::Code)
    }
}

/// Says whether a text could be a code: one word, not absurdly long.
fn is_code(text: &str) -> bool {
    (8..=8192).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) && !text.contains("://")
}

impl fmt::Debug for CodeRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CodeRequest").field("redirect", &self.redirect).finish_non_exhaustive()
    }
}
