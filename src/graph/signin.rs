//! What the sign-in server's refusals mean, in words, and what to do about them.
//!
//! Decided by `error_codes` (the numbers of AADSTS…), never by the description.
//! Source: Microsoft, "Microsoft Entra authentication and authorization error codes".

use std::fmt;

use serde::Deserialize;
use url::Url;

use super::cloud::Cloud;
use super::error::tidy;
use crate::error::{Error, ErrorKind};

/// An error body of the token endpoint.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct SignInError {
    #[serde(default)]
    pub(crate) error: String,
    #[serde(default)]
    pub(crate) error_description: Option<String>,
    #[serde(default)]
    pub(crate) error_codes: Vec<u64>,
}

impl SignInError {
    /// Reads what stands in an address that a sign-in page led back to. It is the one place where there is nothing but the
    /// description.
    pub(crate) fn of_address(error: String, error_description: Option<String>) -> Self {
        let number = error_description.as_deref().and_then(|text| text.strip_prefix("AADSTS")).map(|rest| {
            rest.bytes().take_while(u8::is_ascii_digit).take(9).fold(0, |n, digit| n * 10 + u64::from(digit - b'0'))
        });
        Self { error, error_description, error_codes: number.into_iter().collect() }
    }
}

/// What it means that an administrator's consent led back with an error.
pub fn consent_refused(cloud: &Cloud, tenant: &str, client_id: &str, error: &str, description: Option<&str>) -> Error {
    let refused = SignInError::of_address(error.to_owned(), description.map(str::to_owned));
    let declined = ["access_denied", "permission_denied", "consent_required"].contains(&error)
        && refused.error_codes.iter().all(|code| *code == 65004);
    if declined {
        return Error::new(ErrorKind::Permission, "The administrator declined to consent at Microsoft")
            .with_hint("Ask again, or let another administrator consent")
            .with_source(refused);
    }
    match cloud.admin_consent_url(tenant, client_id) {
        Ok(consent) => refusal(refused, &Asker { tenant: tenant.to_owned(), again: None, consent }),
        Err(e) => e,
    }
}

impl fmt::Display for SignInError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The first line of the description; trace ids and times follow in the others.
        let line = self.error_description.as_deref().unwrap_or_default().lines().next().unwrap_or_default();
        write!(f, "{}", tidy(&format!("{} {line}", self.error)))
    }
}

impl std::error::Error for SignInError {}

struct Advice {
    codes: &'static [u64],
    meaning: &'static str,
    hint: &'static str,
}

const fn advice(codes: &'static [u64], meaning: &'static str, hint: &'static str) -> Advice {
    Advice { codes, meaning, hint }
}

const SIGN_IN_AGAIN: &str = "Sign in again";
const INTERACTIVE: &str = "Sign in through the browser or with a device code; a password alone cannot work";
const ADMIN_POLICY: &str =
    "An administrator must change the conditional access policy for this app or sign in from an allowed place";
const ASK_CONSENT: &str = "An administrator must grant consent: Entra admin center, App registrations, this app, API permissions, Grant admin consent";

#[rustfmt::skip]
const ADVICE: &[Advice] = &[
    advice(&[50034], "the user is not in this directory", "Check the tenant and the spelling of the user name"),
    advice(&[50126], "the user name or password is wrong", "Type them again"),
    advice(&[50053], "the account is locked, or this address is blocked", "Wait, and do not try again and again; an administrator can unblock it"),
    advice(&[50055, 50144], "the password has expired", "The user must change the password"),
    advice(&[50056], "no password is stored for this account", INTERACTIVE),
    advice(&[50057], "the account is disabled", "An administrator must enable the account"),
    advice(&[50072, 50079], "the user must set up multi-factor authentication first", INTERACTIVE),
    advice(&[50074, 50076, 50078], "multi-factor authentication is required", INTERACTIVE),
    advice(&[50105], "the user is not assigned to this app", "Assign the user in the Entra admin center, Enterprise applications, this app"),
    advice(&[90002, 50128, 50059], "there is no such tenant", "Check the tenant: its GUID or one of its domains, and the cloud it lives in"),
    advice(&[50158], "another sign-in provider or policy wants a further step", INTERACTIVE),
    advice(&[50173, 50132, 50133], "the sign-in was revoked or the password changed", SIGN_IN_AGAIN),
    advice(&[50194], "the app belongs to one tenant only", "Give that tenant's id, not 'common' or 'organizations'"),
    advice(&[50196], "the server sees a loop of requests", "Wait some minutes; if it comes back, report it as a fault of this program"),
    advice(&[53000], "conditional access wants a compliant device", ADMIN_POLICY),
    advice(&[53001], "conditional access wants a device joined to the directory", ADMIN_POLICY),
    advice(&[53003, 530_035], "conditional access or the security defaults block this sign-in", ADMIN_POLICY),
    advice(&[53004], "setting up multi-factor authentication is blocked because of risk", "An administrator must look at the user's risk"),
    advice(&[54005], "the authorization code was used already", "Start the sign-in again"),
    advice(&[65001, 90094], "nobody has consented to the permissions of this app", ASK_CONSENT),
    advice(&[65004], "the user declined the consent", ASK_CONSENT),
    advice(&[650_052, 650_056, 650_057, 500_011], "Microsoft Graph is not enabled for this app, or this is the wrong cloud", "Check the cloud, and that the app registration lists Microsoft Graph permissions"),
    advice(&[70008, 700_082, 70043, 70000], "the earlier sign-in has expired", SIGN_IN_AGAIN),
    advice(&[700_016], "the app is not known in this tenant", "Check the client id and the tenant; if the app lives elsewhere, consent to it in this tenant first"),
    advice(&[7_000_215], "the client secret is wrong", "Use the secret's Value, not its Secret ID; make a new one if the value was not kept"),
    advice(&[7_000_222], "the client secret has expired", "Make a new one: Entra admin center, App registrations, this app, Certificates & secrets"),
    advice(&[7_000_218], "a secret or certificate is missing", "Give one, or allow public client flows in the app registration's Authentication page"),
    advice(&[700_025], "a public client must not send a secret", "Leave the secret out, or register the app as a confidential client"),
    advice(&[700_024], "the certificate's assertion is outside its time", "Set this computer's clock"),
    advice(&[700_027, 50012], "the certificate is not the one registered with the app, or its key does not fit", "Upload this certificate to the app registration, and check that the private key belongs to it"),
    advice(&[70011, 28002], "the scope is not valid", "Check the cloud and the Graph address"),
    advice(&[70016], "the sign-in is not finished yet", "Finish it in the browser"),
    advice(&[70018, 70019], "the device code is wrong or has expired", "Start the sign-in again"),
    advice(&[50011], "the address to return to is not registered with the app", "App registration, Authentication, Add a platform, Mobile and desktop applications: http://localhost"),
    advice(&[9_002_313], "the request is malformed", "Start the sign-in again, and paste the whole address"),
    advice(&[16000, 50020], "the account belongs to another directory", "Choose an account of this tenant"),
];

/// Who asked for a token, as far as a hint needs it.
#[derive(Debug, Clone)]
pub(crate) struct Asker {
    /// The tenant's id or domain.
    pub(crate) tenant: String,
    /// What a user does to sign in again (`tenantvault login contoso`); `None` for an app.
    pub(crate) again: Option<String>,
    /// Where an administrator consents.
    pub(crate) consent: Url,
}

impl Asker {
    /// What to do when a sign-in has to begin anew.
    pub(crate) fn begin_anew(&self) -> String {
        self.again.clone().unwrap_or_else(|| SIGN_IN_AGAIN.to_owned())
    }

    fn hint(&self, hint: &'static str) -> String {
        match (hint, &self.again) {
            (SIGN_IN_AGAIN, Some(again)) => format!("Sign in again: {again}"),
            (INTERACTIVE, Some(again)) => format!("{INTERACTIVE}: {again}"),
            (ASK_CONSENT, _) => format!("{ASK_CONSENT}; or open {} as a Global Administrator", self.consent),
            _ => hint.to_owned(),
        }
    }
}

/// Makes the crate's error of a refusal: the code in words, with what to do.
pub(crate) fn refusal(refused: SignInError, asker: &Asker) -> Error {
    let tenant = &asker.tenant;
    let found =
        refused.error_codes.iter().find_map(|code| ADVICE.iter().find(|a| a.codes.contains(code)).map(|a| (*code, a)));
    let error = match (found, refused.error_codes.first()) {
        (Some((code, advice)), _) => {
            let text = format!("Tenant {tenant} refuses the sign-in: {} (AADSTS{code})", advice.meaning);
            Error::new(ErrorKind::Permission, text).with_hint(asker.hint(advice.hint))
        }
        // What no code explains, a word of the protocol may (RFC 6749, section 5.2).
        (None, _)
            if matches!(refused.error.as_str(), "invalid_grant" | "interaction_required") && asker.again.is_some() =>
        {
            let code = refused.error_codes.first().map(|code| format!(" (AADSTS{code})")).unwrap_or_default();
            let text = format!("Tenant {tenant} no longer honours the earlier sign-in{code}");
            Error::new(ErrorKind::Permission, text).with_hint(asker.hint(SIGN_IN_AGAIN))
        }
        (None, Some(code)) => {
            Error::new(ErrorKind::Permission, format!("Tenant {tenant} refuses the sign-in (AADSTS{code})"))
                .with_hint(format!("Look it up at https://login.microsoftonline.com/error?code={code}"))
        }
        (None, None) => Error::new(ErrorKind::Permission, format!("Tenant {tenant} refuses the sign-in"))
            .with_hint("Check tenant, client id and secret"),
    };
    error.with_source(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(codes: &[u64]) -> Error {
        let error_description = Some("AADSTS7000215: Invalid client secret provided.\r\nTrace ID: 1".to_owned());
        let refused = SignInError { error: "invalid_client".into(), error_description, error_codes: codes.to_vec() };
        refusal(refused, &asker(None))
    }

    fn asker(again: Option<&str>) -> Asker {
        let consent = Url::parse("https://login.example.com/contoso/adminconsent?client_id=app").unwrap();
        Asker { tenant: "contoso".into(), again: again.map(str::to_owned), consent }
    }

    #[test]
    fn a_user_is_told_the_command_and_an_administrator_the_address() {
        let asker = asker(Some("tenantvault login contoso"));
        let hint = |codes: &[u64], error: &str| {
            let refused = SignInError { error: error.into(), error_description: None, error_codes: codes.to_vec() };
            refusal(refused, &asker).hint().unwrap().to_owned()
        };
        for code in [50173, 50132, 50133, 70000, 70008, 700_082, 70043] {
            assert_eq!(hint(&[code], "invalid_grant"), "Sign in again: tenantvault login contoso", "{code}");
        }
        for code in [50072, 50074, 50076, 50078, 50079, 50158] {
            assert!(hint(&[code], "interaction_required").ends_with("tenantvault login contoso"), "{code}");
        }
        for code in [65001, 90094] {
            assert!(hint(&[code], "invalid_grant").contains("adminconsent?client_id=app as a Global"), "{code}");
        }
        assert_eq!(hint(&[424_242], "invalid_grant"), "Sign in again: tenantvault login contoso");
        assert_eq!(hint(&[], "interaction_required"), "Sign in again: tenantvault login contoso");
    }

    #[test]
    fn a_known_code_is_explained_with_what_to_do() {
        let error = refused(&[7_000_215]);
        assert_eq!(error.kind(), ErrorKind::Permission);
        assert!(error.to_string().contains("client secret is wrong (AADSTS7000215)"), "{error}");
        assert!(error.hint().unwrap().contains("not its Secret ID"));
        assert!(!format!("{error:?}").contains("Trace ID"));
    }

    #[test]
    fn the_known_one_of_several_codes_decides() {
        assert!(refused(&[1, 90002]).to_string().contains("no such tenant (AADSTS90002)"));
    }

    #[test]
    fn an_unknown_code_is_named_with_where_to_look() {
        let error = refused(&[123_456]);
        assert!(error.to_string().contains("AADSTS123456"));
        assert!(error.hint().unwrap().contains("code=123456"));
        assert_eq!(refused(&[]).kind(), ErrorKind::Permission);
    }

    #[test]
    fn no_code_is_explained_twice() {
        let mut seen = std::collections::HashSet::new();
        for code in ADVICE.iter().flat_map(|a| a.codes) {
            assert!(seen.insert(code), "{code}");
        }
    }
}
