//! Mail: the server's settings for it, and sending by SMTP.

use std::fmt;
use std::time::{Duration, SystemTime};

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::notice::Notice;
use crate::error::{Error, ErrorKind, Result};
use crate::server::auth::Password;
use crate::server::id::Id;
use crate::server::state::Server;

/// How long the mail server may take for one step.
const PATIENCE: Duration = Duration::from_secs(20);
/// The names of the settings.
const SETTING: &str = "mail";
const SECRET: &str = "mail password";

/// How the way to the mail server is kept secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum MailSecurity {
    /// TLS from the first byte (port 465).
    Tls,
    /// TLS after `STARTTLS`, and no mail without it (port 587).
    Starttls,
    /// None: for a mail server on this machine, or in the same room.
    None,
}

/// The server that mails go out by. No secret is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MailSettings {
    /// Its name.
    #[schema(min_length = 1, max_length = 253, example = "smtp.example.com")]
    pub(crate) host: String,
    /// Its port.
    #[schema(minimum = 1)]
    pub(crate) port: u16,
    /// How the way there is kept secret.
    pub(crate) security: MailSecurity,
    /// The login there; left out: none is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) login: Option<String>,
    /// Whom mails come from.
    #[schema(max_length = 320, example = "backup@example.com")]
    pub(crate) from: String,
}

/// The settings with the password.
struct Known {
    settings: MailSettings,
    password: Option<zeroize::Zeroizing<String>>,
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.settings)
    }
}

fn place() -> &'static str {
    "settings/mail/password"
}

/// Reads a mail address: `name@host`, or `Name <name@host>`.
///
/// # Errors
/// `InvalidInput`.
pub(crate) fn address(text: &str) -> Result<Mailbox> {
    let bad = || {
        Error::invalid(format!("'{}' is not a mail address", text.escape_debug()))
            .with_hint("Write it like it@example.com")
    };
    if text.len() > 320 || text.chars().any(char::is_control) {
        return Err(bad());
    }
    text.trim().parse().map_err(|_| bad())
}

/// The mail settings, without the password.
///
/// # Errors
/// As any query.
pub(crate) async fn settings(server: &Server) -> Result<Option<MailSettings>> {
    let text = server.db.setting(SETTING).await?;
    text.map(|text| serde_json::from_str(&text))
        .transpose()
        .map_err(|e| Error::corrupt("The mail settings in the database cannot be read").with_source(e))
}

/// Keeps mail settings, or lets go of them. A password that is not given stays as long as server and login do.
///
/// # Errors
/// `InvalidInput`.
pub(crate) async fn keep_settings(
    server: &Server,
    wanted: Option<&MailSettings>,
    password: Option<&Password>,
) -> Result<()> {
    let Some(wanted) = wanted else {
        server.db.set(SETTING, None).await?;
        return server.db.set(SECRET, None).await;
    };
    check(wanted)?;
    let before = settings(server).await?;
    // A password is not sent to a server that it was not entered for.
    let same =
        before.is_some_and(|b| b.host == wanted.host && b.login == wanted.login && b.security == wanted.security);
    if password.is_none() && !same {
        server.db.set(SECRET, None).await?;
    }
    if let Some(password) = password {
        if password.expose().len() > 2_000 {
            return Err(Error::invalid("The password is too long"));
        }
        server.db.set(SECRET, Some(&server.vault.seal(place(), password.expose()))).await?;
    }
    let text = serde_json::to_string(wanted).map_err(|e| Error::internal("Settings cannot be kept").with_source(e))?;
    server.db.set(SETTING, Some(&text)).await
}

fn check(wanted: &MailSettings) -> Result<()> {
    let good = !wanted.host.is_empty()
        && wanted.host.len() <= 253
        && wanted.host.chars().all(|c| c.is_ascii_alphanumeric() || ".-:[]".contains(c));
    if !good || wanted.port == 0 {
        return Err(Error::invalid("This cannot be a mail server")
            .with_hint("Write its name, such as smtp.example.com, and its port"));
    }
    address(&wanted.from)?;
    let own = matches!(wanted.host.as_str(), "localhost" | "127.0.0.1" | "::1" | "[::1]");
    if wanted.login.is_some() && wanted.security == MailSecurity::None && !own {
        return Err(Error::invalid("The password would be sent where everybody on the way can read it")
            .with_hint("Choose TLS or STARTTLS, or leave out the login"));
    }
    if wanted.login.as_ref().is_some_and(|login| login.len() > 320 || login.chars().any(char::is_control)) {
        return Err(Error::invalid("This cannot be a login"));
    }
    Ok(())
}

async fn known(server: &Server) -> Result<Known> {
    let settings = settings(server).await?.ok_or_else(|| {
        Error::new(ErrorKind::Unavailable, "The server has no mail settings")
            .with_hint("Its administrator enters them under Settings")
    })?;
    let sealed = server.db.setting(SECRET).await?;
    let password = sealed.map(|sealed| server.vault.open_sealed(place(), &sealed)).transpose()?;
    Ok(Known { settings, password })
}

fn transport(known: &Known) -> Result<AsyncSmtpTransport<Tokio1Executor>> {
    let settings = &known.settings;
    let parameters = || {
        TlsParameters::new(settings.host.trim_matches(['[', ']']).to_owned())
            .map_err(|e| Error::invalid("The mail server's name cannot be used for TLS").with_source(e))
    };
    let tls = match settings.security {
        MailSecurity::Tls => Tls::Wrapper(parameters()?),
        MailSecurity::Starttls => Tls::Required(parameters()?),
        MailSecurity::None => Tls::None,
    };
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(settings.host.trim_matches(['[', ']']))
        .port(settings.port)
        .tls(tls)
        .timeout(Some(PATIENCE));
    if let (Some(login), Some(password)) = (&settings.login, &known.password) {
        builder = builder.credentials(Credentials::new(login.clone(), password.as_str().to_owned()));
    }
    Ok(builder.build())
}

/// Makes the mail of a notice.
pub(super) fn message(
    from: &str,
    to: &[String],
    notice: &Notice,
    link: &str,
    delivery: &Id,
    now_us: i64,
) -> Result<Message> {
    let from = address(from)?;
    let host = from.email.domain().to_owned();
    let mut builder = Message::builder()
        .from(from)
        .subject(notice.subject())
        // A mail that is sent twice, for a process that died in between, is one mail.
        .message_id(Some(format!("<{delivery}@{host}>")))
        .date(SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(now_us).unwrap_or(0)))
        // Nobody's absence notice answers to it (RFC 3834).
        .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned()));
    for to in to {
        builder = builder.to(address(to)?);
    }
    let part = |kind: ContentType, text: String| SinglePart::builder().header(kind).body(text);
    builder
        .multipart(
            MultiPart::alternative()
                .singlepart(part(ContentType::TEXT_PLAIN, notice.text(link)))
                .singlepart(part(ContentType::TEXT_HTML, notice.html(link))),
        )
        .map_err(|e| Error::invalid("The mail cannot be made").with_source(e))
}

/// Sends a notice by mail.
///
/// # Errors
/// When the mail server cannot be reached or does not take it.
pub(super) async fn send(server: &Server, to: &[String], notice: &Notice, delivery: &Id) -> Result<()> {
    let known = known(server).await?;
    let link = if notice.path.is_empty() { String::new() } else { server.link(&notice.path) };
    let message = message(&known.settings.from, to, notice, &link, delivery, server.now_us())?;
    let sent = transport(&known)?.send(message).await;
    sent.map(drop).map_err(|e| {
        let text = match e.status() {
            Some(code) => format!("The mail server refuses it ({code})"),
            None => "The mail server cannot be reached".to_owned(),
        };
        Error::new(ErrorKind::Unavailable, text).with_source(e)
    })
}

/// Sends a mail to see whether the settings are right.
///
/// # Errors
/// `InvalidInput` for what is no address, or without settings; as [`send`].
pub(crate) async fn test(server: &Server, to: &str) -> Result<()> {
    address(to)?;
    if settings(server).await?.is_none() {
        return Err(Error::invalid("The server has no mail settings").with_hint("Enter them first"));
    }
    let notice = Notice::new(
        "test",
        server.now_us(),
        "Server",
        "This is a test: mails from the backup server arrive".to_owned(),
    );
    send(server, &[to.to_owned()], &notice, &Id::random()).await
}
