//! Stopping a run from outside: the user's Ctrl-C, or a server that shuts down.

use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind, Result};

/// A switch that asks a run to come to an orderly end. Clones are one switch.
#[derive(Debug, Clone, Default)]
pub struct Stop(CancellationToken);

impl Stop {
    /// Makes a switch that is not thrown.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a switch that is thrown with this one, and can be thrown alone.
    #[must_use]
    pub fn part(&self) -> Self {
        Self(self.0.child_token())
    }

    /// Throws it.
    pub fn stop(&self) {
        self.0.cancel();
    }

    /// Says whether it was thrown.
    pub fn is_stopped(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Fails once it was thrown.
    ///
    /// # Errors
    /// `Interrupted`.
    pub fn check(&self) -> Result<()> {
        if self.is_stopped() { Err(Self::error()) } else { Ok(()) }
    }

    /// Waits till it is thrown.
    pub(crate) async fn stopped(&self) {
        self.0.cancelled().await;
    }

    /// What fails because it was thrown.
    pub(super) fn error() -> Error {
        Error::new(ErrorKind::Interrupted, "The run was stopped")
    }
}
