//! The one error type of the crate: what failed, on which object, and what to do next.

use std::fmt;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The object is not there.
    NotFound,
    /// There is no repository at the place named.
    NoRepository,
    /// An object of that name is there already.
    AlreadyExists,
    /// The other side refuses; asking again does not help.
    Permission,
    /// The other side does not answer now; asking again later may help.
    Unavailable,
    /// Stored or received bytes are not what they must be.
    Corrupt,
    /// No key slot opens with this passphrase, or the key held may not do this.
    WrongKey,
    /// What the user gave cannot be used.
    InvalidInput,
    /// Written by a newer version of this program.
    UnsupportedVersion,
    /// The storage has no space left.
    StorageFull,
    /// The user stopped the run.
    Interrupted,
    /// A delta token is no longer honoured: the collection must be walked and compared.
    ResyncRequired,
    /// A broken promise inside this program.
    Internal,
}

/// An error: kind, message (what failed, on which object), hint (what to do next), cause.
///
/// Messages never contain keys, passwords, tokens or mail contents.
pub struct Error {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync + 'static>>,
}

impl Error {
    /// Makes an error from its kind and a message without a full stop.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, source: None }
    }

    /// Adds what the user can do next.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync + 'static>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Wraps this error in one that says what was being done; kind and hint stay.
    #[must_use]
    pub fn context(self, message: impl Into<String>) -> Self {
        Self { kind: self.kind, message: message.into(), hint: self.hint.clone(), source: Some(Box::new(self)) }
    }

    /// Says what a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Says whether something in the repository is lost or damaged, rather than out of reach now: another copy may help.
    pub fn is_loss(&self) -> bool {
        matches!(self.kind, ErrorKind::Corrupt | ErrorKind::NotFound)
    }

    /// Says what the user can do next, if that is known.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The message and its causes in one line; a cause that the one above tells too stands there once.
    pub fn chain(&self) -> String {
        let mut text = self.message.clone();
        let mut cause = std::error::Error::source(self);
        while let Some(e) = cause {
            let told = e.to_string();
            if !text.ends_with(&told) {
                text.push_str(": ");
                text.push_str(&told);
            }
            cause = e.source();
        }
        text
    }

    /// Says whether asking again later may help.
    pub fn is_retryable(&self) -> bool {
        self.kind == ErrorKind::Unavailable
    }

    /// An [`ErrorKind::Corrupt`] error.
    pub fn corrupt(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, message)
    }

    /// An [`ErrorKind::InvalidInput`] error.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidInput, message)
    }

    /// An [`ErrorKind::NotFound`] error.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// An [`ErrorKind::Internal`] error.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// An I/O error on the object named; the kind follows from the I/O error's.
    pub fn io(what: impl fmt::Display, source: std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        let kind = match source.kind() {
            Io::NotFound => ErrorKind::NotFound,
            Io::AlreadyExists => ErrorKind::AlreadyExists,
            Io::PermissionDenied | Io::ReadOnlyFilesystem => ErrorKind::Permission,
            Io::StorageFull | Io::QuotaExceeded => ErrorKind::StorageFull,
            Io::TimedOut | Io::ConnectionReset | Io::ConnectionRefused | Io::Interrupted => ErrorKind::Unavailable,
            _ => ErrorKind::Internal,
        };
        Self::new(kind, what.to_string()).with_source(source)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.message)?;
        let mut cause = std::error::Error::source(self);
        while let Some(e) = cause {
            write!(f, ": {e}")?;
            cause = e.source();
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|s| &**s as &(dyn std::error::Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_tells_each_cause_once() {
        #[derive(Debug)]
        struct Outer(std::io::Error);
        impl std::fmt::Display for Outer {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "connecting failed: {}", self.0)
            }
        }
        impl std::error::Error for Outer {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                Some(&self.0)
            }
        }
        let refused = || std::io::Error::other("refused");
        let error = Error::invalid("No mail").with_source(Outer(refused()));
        assert_eq!(error.chain(), "No mail: connecting failed: refused");
        assert_eq!(Error::invalid("No mail").with_source(refused()).chain(), "No mail: refused");
    }
}
