//! Turns OpenDAL's errors into ours: a kind, what was being done to which file where, a hint, and a cause from which
//! every secret is taken out.

use std::fmt;
use std::sync::Arc;

use opendal::ErrorKind as Dal;
use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind};
use crate::reach;

const MAX_CAUSE_CHARS: usize = 400;

/// What must be known to word an error: the place's name and the secrets that must not appear.
#[derive(Clone)]
pub(super) struct Wording {
    place: String,
    secrets: Arc<[Zeroizing<String>]>,
}

impl fmt::Debug for Wording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Wording").field(&self.place).finish()
    }
}

/// What was being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    Store,
    Read,
    List,
    LookUp,
    Delete,
}

impl Doing {
    fn verb(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Read => "read",
            Self::List => "list",
            Self::LookUp => "look up",
            Self::Delete => "delete",
        }
    }
}

impl Wording {
    pub(super) fn new<'a>(place: String, secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let secrets = secrets.into_iter().flat_map(forms).filter(|secret| secret.len() >= 4).collect();
        Self { place, secrets }
    }

    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Words an error of OpenDAL.
    pub(super) fn error(&self, doing: Doing, path: &str, error: &opendal::Error) -> Error {
        if lacks_ssh(error) {
            let text = format!("Cannot {} files in {}: the program ssh is not there", doing.verb(), self.place);
            return Error::new(ErrorKind::Unavailable, text)
                .with_hint("Install OpenSSH's client (Debian: openssh-client), so that ssh is found in PATH")
                .with_source(Cause(self.clean(&full_text(error))));
        }
        let kind = kind_of(error, doing);
        let worded = self.of_kind(kind, doing, path).with_source(Cause(self.clean(&full_text(error))));
        match reach::is_refused(error) {
            true => worded.with_hint("This server reaches public addresses only"),
            false => worded,
        }
    }

    /// Words an error of the operating system.
    pub(super) fn io(&self, doing: Doing, path: &str, error: std::io::Error) -> Error {
        let kind = Error::io("", std::io::Error::from(error.kind())).kind();
        self.of_kind(kind, doing, path).with_source(error)
    }

    /// Words an error whose kind is known.
    pub(super) fn of_kind(&self, kind: ErrorKind, doing: Doing, path: &str) -> Error {
        let object = if path.is_empty() { "files" } else { path };
        let place = &self.place;
        let message = match kind {
            ErrorKind::NotFound if doing != Doing::Store => format!("{object} is not in {place}"),
            ErrorKind::AlreadyExists => format!("{object} is in {place} already"),
            ErrorKind::StorageFull => format!("Cannot {} {object} in {place}: no space left", doing.verb()),
            ErrorKind::Permission => format!("Cannot {} {object} in {place}: not allowed", doing.verb()),
            ErrorKind::Unavailable => format!("Cannot {} {object} in {place}: it does not answer", doing.verb()),
            _ => format!("Cannot {} {object} in {place}", doing.verb()),
        };
        let error = Error::new(kind, message);
        match kind {
            ErrorKind::StorageFull => error.with_hint("Free or add space there, then run the command again"),
            ErrorKind::Permission if place.starts_with("fs:") => error.with_hint(
                "Check whom the folder belongs to, its permissions, and whether its disk is mounted read-only",
            ),
            ErrorKind::Permission => error.with_hint("Check the credentials and what they may do at this place"),
            ErrorKind::Unavailable if place.starts_with("fs:") => error.with_hint("Check the disk, then try again"),
            ErrorKind::Unavailable => error.with_hint("Check the network and the address, then try again"),
            ErrorKind::InvalidInput => error.with_hint("Check the URL of the destination and its options"),
            ErrorKind::NotFound if doing == Doing::Store => error.with_hint("Check the path of the destination"),
            ErrorKind::Internal if place.starts_with("fs:") => error.with_hint("Check the path, and the disk"),
            _ => error,
        }
    }

    /// The folder that was in use is not there any more.
    pub(super) fn vanished(&self) -> Error {
        let text = format!("{} was moved, removed or unmounted while it was in use", self.place);
        Error::new(ErrorKind::Unavailable, text)
            .with_hint("Bring it back, then run the command again; what was stored there is safe")
    }

    /// A file that is shorter or longer than what was asked.
    pub(super) fn wrong_size(&self, path: &str, what: &str) -> Error {
        Error::corrupt(format!("{path} in {} {what}", self.place))
    }

    /// Takes secrets, and queries of URLs (which may be signatures), out of a text, and cuts it to a readable length.
    pub(super) fn clean(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in self.secrets.iter() {
            text = text.replace(secret.as_str(), "[secret]");
        }
        let text = without_queries(&text);
        let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if flat.chars().count() <= MAX_CAUSE_CHARS {
            return flat;
        }
        flat.chars().take(MAX_CAUSE_CHARS).chain("…".chars()).collect()
    }
}

/// A secret as it may show up: as given, and its parts where it is itself a query (an Azure SAS token).
fn forms(secret: &str) -> Vec<Zeroizing<String>> {
    let mut forms = vec![Zeroizing::new(secret.to_owned())];
    if secret.contains("sig=") {
        for (key, value) in url::form_urlencoded::parse(secret.trim_start_matches('?').as_bytes()) {
            if key == "sig" {
                forms.push(Zeroizing::new(value.into_owned()));
            }
        }
    } else {
        forms.push(Zeroizing::new(url::form_urlencoded::byte_serialize(secret.as_bytes()).collect()));
    }
    forms
}

fn without_queries(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, url) = rest.split_at(at);
        let end = url.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ')' | ',' | '}' | '<'));
        let (url, after) = url.split_at(end.unwrap_or(url.len()));
        out.push_str(before);
        match url.split_once('?') {
            Some((url, _)) => out.extend([url, "?…"]),
            None => out.push_str(url),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

fn full_text(error: &opendal::Error) -> String {
    let mut text = error.message().to_owned();
    let mut cause = std::error::Error::source(error);
    while let Some(e) = cause {
        let words = e.to_string();
        if !text.contains(&words) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&words);
        }
        cause = e.source();
    }
    if text.is_empty() { error.kind().to_string() } else { text }
}

/// OpenDAL's words for an SSH connection that does not come about.
pub(super) const NO_CONNECTION: &str = "ssh error";

/// Says whether no SSH connection came about because the program for it is missing.
pub(super) fn lacks_ssh(error: &opendal::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(e) = cause {
        if let Some(io) = e.downcast_ref::<std::io::Error>() {
            return error.message() == NO_CONNECTION && io.kind() == std::io::ErrorKind::NotFound;
        }
        cause = e.source();
    }
    false
}

fn kind_of(error: &opendal::Error, doing: Doing) -> ErrorKind {
    if reach::is_refused(error) {
        return ErrorKind::Permission;
    }
    let mut cause = std::error::Error::source(error);
    while let Some(e) = cause {
        if let Some(io) = e.downcast_ref::<std::io::Error>() {
            match Error::io("", std::io::Error::from(io.kind())).kind() {
                ErrorKind::Internal => {}
                kind => return kind,
            }
        }
        cause = e.source();
    }
    match error.kind() {
        // To store into a bucket that is not there is a wrong URL, not a missing file.
        Dal::NotFound if doing == Doing::Store => ErrorKind::InvalidInput,
        Dal::NotFound | Dal::IsADirectory | Dal::NotADirectory => ErrorKind::NotFound,
        Dal::AlreadyExists | Dal::ConditionNotMatch => ErrorKind::AlreadyExists,
        Dal::PermissionDenied => ErrorKind::Permission,
        Dal::ConfigInvalid => ErrorKind::InvalidInput,
        Dal::RateLimited | Dal::Conflict => ErrorKind::Unavailable,
        Dal::RangeNotSatisfied => ErrorKind::Corrupt,
        Dal::Unexpected => match http_status(error) {
            Some(507) => ErrorKind::StorageFull,
            Some(401 | 403 | 405) => ErrorKind::Permission,
            Some(408 | 429 | 500..=599) => ErrorKind::Unavailable,
            Some(400..=499) => ErrorKind::InvalidInput,
            _ => ErrorKind::Unavailable,
        },
        _ => ErrorKind::Internal,
    }
}

/// Finds the answer's status, which OpenDAL keeps only as text ("response: Parts { status: 507, …").
fn http_status(error: &opendal::Error) -> Option<u16> {
    let text = error.to_string();
    let (_, rest) = text.split_once("response: Parts { status: ")?;
    rest.get(..3)?.parse().ok()
}

/// The words of a cause, without secrets.
#[derive(Debug)]
struct Cause(String);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Cause {}

#[cfg(test)]
mod tests {
    use super::*;

    fn wording() -> Wording {
        Wording::new("s3://bucket/x".into(), ["hunter/2+x", "sv=2024&sig=abc%2Fdef%3D"])
    }

    #[test]
    fn a_full_disk_a_refusal_and_a_silence_have_their_kinds() {
        let io = |kind| {
            let error = opendal::Error::new(Dal::Unexpected, "write").set_source(std::io::Error::from(kind));
            wording().error(Doing::Store, "packs/a", &error)
        };
        assert_eq!(io(std::io::ErrorKind::StorageFull).kind(), ErrorKind::StorageFull);
        assert_eq!(io(std::io::ErrorKind::QuotaExceeded).kind(), ErrorKind::StorageFull);
        assert_eq!(io(std::io::ErrorKind::ReadOnlyFilesystem).kind(), ErrorKind::Permission);
        assert_eq!(io(std::io::ErrorKind::ConnectionRefused).kind(), ErrorKind::Unavailable);
        for (status, kind) in
            [(507, ErrorKind::StorageFull), (401, ErrorKind::Permission), (503, ErrorKind::Unavailable)]
        {
            let error = opendal::Error::new(Dal::Unexpected, "no")
                .with_context("response", format!("Parts {{ status: {status}, version: HTTP/1.1 }}"));
            assert_eq!(wording().error(Doing::Store, "a", &error).kind(), kind, "{status}");
        }
    }

    #[test]
    fn an_error_names_path_and_place_and_hints() {
        let error =
            wording().error(Doing::Read, "packs/3f/3f9a", &opendal::Error::new(Dal::PermissionDenied, "AccessDenied"));
        assert_eq!(error.to_string(), "Cannot read packs/3f/3f9a in s3://bucket/x: not allowed");
        assert!(error.hint().is_some());
        assert!(format!("{error:?}").contains("AccessDenied"));
    }

    #[test]
    fn no_secret_reaches_a_message() {
        let inner = std::io::Error::other(
            "GET https://a.blob/c/x?sv=2024&sig=abc%2Fdef%3D failed, token hunter/2+x hunter%2F2%2Bx sig abc/def=",
        );
        let error = opendal::Error::new(Dal::Unexpected, "send http request")
            .with_context("url", "https://a.blob/c/x?sig=abc%2Fdef%3D")
            .set_source(inner);
        let error = wording().error(Doing::Read, "x", &error);
        let shown = format!("{error} {error:?}");
        for secret in ["hunter", "abc%2F", "abc/def", "sig=a"] {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
        assert!(shown.contains("https://a.blob/c/x?…"), "{shown}");
    }
}
