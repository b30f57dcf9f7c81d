//! How a tenant is signed in to, from its keys.

use std::ops::Range;

use toml::Spanned;

use crate::cli::config::raw::{RawRestore, RawTenant};
use crate::cli::config::reader::Reader;
use crate::cli::config::{Account, RestoreApp, SecretSource, SignIn, UserWay, Way};
use crate::error::{Error, Result};
use crate::graph::user::PERSONAL;

const WAYS: &str = "As an app: client_secret_file, client_secret_command or client_secret_env, or certificate_file and \
                    private_key_file. As a user: sign_in = \"browser\" or \"device-code\"";

/// The keys that prove an app.
struct AppKeys {
    secret: [Option<Spanned<String>>; 4],
    certificate: Option<Spanned<String>>,
    private_key: Option<Spanned<String>>,
}

impl Reader<'_> {
    /// The tenant's id; personal accounts have one of their own.
    pub(super) fn tenant_id(
        &self,
        table: Range<usize>,
        account: Account,
        given: Option<Spanned<String>>,
    ) -> Result<String> {
        match (account, given) {
            (Account::Work, Some(given)) => self.filled("tenant_id", given),
            (Account::Work, None) => Err(self.complaints.at(
                table,
                "the key 'tenant_id' is missing",
                "Add it; docs/config.toml explains every key",
            )),
            (Account::Personal, Some(given)) if given.get_ref() != PERSONAL => Err(self.complaints.at(
                given.span(),
                "a personal account has no tenant of its own",
                "Remove tenant_id, or type = \"personal\"",
            )),
            (Account::Personal, _) => Ok(PERSONAL.to_owned()),
        }
    }

    /// One way to sign in, and what belongs to it.
    pub(super) fn sign_in(&mut self, table: Range<usize>, raw: &mut RawTenant) -> Result<SignIn> {
        let app = self.app(AppKeys {
            secret: [
                raw.client_secret.take(),
                raw.client_secret_file.take(),
                raw.client_secret_command.take(),
                raw.client_secret_env.take(),
            ],
            certificate: raw.certificate_file.take(),
            private_key: raw.private_key_file.take(),
        })?;
        let password =
            [raw.password.take(), raw.password_file.take(), raw.password_command.take(), raw.password_env.take()];
        let first = password.iter().flatten().map(Spanned::span).min_by_key(|span| span.start);
        let password = self.secret("password", password)?.zip(first);
        match (app, raw.sign_in.take()) {
            (Some((_, span)), Some(_)) => Err(self.complaints.at(
                span,
                "the tenant has both 'sign_in' and a client secret or certificate",
                "Keep one of them: a user signs in without the app's secret",
            )),
            (Some((_, span)), None) if raw.account == Account::Personal => Err(self.complaints.at(
                span,
                "an app cannot sign in to a personal account",
                "Write sign_in = \"browser\" or \"device-code\" instead",
            )),
            (Some((app, _)), None) => self.without_user(app, raw, password),
            (None, Some(way)) => self.by_user(way.span(), *way.get_ref(), raw, password),
            (None, None) if raw.account == Account::Personal => self.by_user(table, Way::Browser, raw, password),
            (None, None) => Err(self.complaints.at(table, "the tenant has no way to sign in", WAYS)),
        }
    }

    /// The app's own proof, and where in the file it begins.
    fn app(&mut self, keys: AppKeys) -> Result<Option<(SignIn, Range<usize>)>> {
        let forms = keys.secret;
        let first = forms.iter().flatten().map(Spanned::span).min_by_key(|span| span.start);
        let secret = self.secret("client_secret", forms)?.zip(first);
        let alone = |reader: &Self, given: Spanned<String>, has: &str, lacks: &str| {
            let text = format!("{has} stands without {lacks}");
            Err(reader.complaints.at(given.span(), &text, &format!("Add {lacks}")))
        };
        match (secret, keys.certificate, keys.private_key) {
            (None, None, None) => Ok(None),
            (Some((secret, span)), None, None) => Ok(Some((SignIn::Secret(secret), span))),
            (None, Some(certificate), Some(key)) => {
                let span = certificate.span();
                let certificate_file = self.folder.join(certificate.into_inner());
                let private_key_file = self.folder.join(key.into_inner());
                Ok(Some((SignIn::Certificate { certificate_file, private_key_file }, span)))
            }
            (Some(_), Some(other), _) | (Some(_), None, Some(other)) => Err(self.complaints.at(
                other.span(),
                "the tenant has both a client secret and a certificate",
                "Keep one of them",
            )),
            (None, Some(given), None) => alone(self, given, "certificate_file", "private_key_file"),
            (None, None, Some(given)) => alone(self, given, "private_key_file", "certificate_file"),
        }
    }

    /// The app that restores, if it is another one.
    pub(super) fn restore_app(&mut self, raw: Option<Spanned<RawRestore>>) -> Result<Option<RestoreApp>> {
        let Some(raw) = raw else { return Ok(None) };
        let span = raw.span();
        let raw = raw.into_inner();
        let keys = AppKeys {
            secret: [raw.client_secret, raw.client_secret_file, raw.client_secret_command, raw.client_secret_env],
            certificate: raw.certificate_file,
            private_key: raw.private_key_file,
        };
        let (sign_in, _) = self
            .app(keys)?
            .ok_or_else(|| self.complaints.at(span, "the app that restores has no way to sign in", WAYS))?;
        Ok(Some(RestoreApp { client_id: self.filled("client_id", raw.client_id)?, sign_in }))
    }

    /// Refuses the keys of users beside an app's.
    fn without_user(
        &self,
        app: SignIn,
        raw: &RawTenant,
        password: Option<(SecretSource, Range<usize>)>,
    ) -> Result<SignIn> {
        let user = raw.user.as_ref().map(Spanned::span);
        let spans = [user, password.map(|(_, span)| span), raw.keep_tokens.as_ref().map(Spanned::span)];
        match spans.into_iter().flatten().next() {
            None => Ok(app),
            Some(span) => Err(self.no_use(span, "an app signs in by itself")),
        }
    }

    fn no_use(&self, span: Range<usize>, why: &str) -> Error {
        self.complaints.at(span, &format!("this key has no use here: {why}"), "Remove it, or choose another sign_in")
    }

    fn by_user(
        &self,
        span: Range<usize>,
        way: Way,
        raw: &mut RawTenant,
        password: Option<(SecretSource, Range<usize>)>,
    ) -> Result<SignIn> {
        let user = raw.user.take().map(|user| self.filled("user", user)).transpose()?;
        let place = raw.keep_tokens.take();
        let way = match (way, password, &user) {
            (Way::Browser, None, _) => UserWay::Browser,
            (Way::DeviceCode, None, _) => UserWay::DeviceCode,
            (Way::Browser | Way::DeviceCode, Some((_, span)), _) => {
                return Err(self.no_use(span, "the password is typed into the browser"));
            }
            (Way::Password, ..) if raw.account == Account::Personal => {
                return Err(self.complaints.at(
                    span,
                    "a personal account cannot sign in by password",
                    "Write sign_in = \"browser\" or \"device-code\"",
                ));
            }
            (Way::Password, Some((source, _)), Some(_)) => {
                if let Some(place) = place {
                    return Err(self.no_use(place.span(), "nothing is kept of a sign-in by password"));
                }
                UserWay::Password(source)
            }
            (Way::Password, ..) => {
                return Err(self.complaints.at(
                    span,
                    "sign_in = \"password\" stands without user and password",
                    "Add user and password_file, password_command or password_env",
                ));
            }
        };
        Ok(SignIn::User { way, user, keep: place.map(Spanned::into_inner).unwrap_or_default() })
    }
}
