//! Ctrl-C: the first asks the run to come to an orderly end, the second ends it at once.

use std::io::Write as _;

use crate::error::{Error, Result};
use crate::ops::backup::Stop;

/// The exit code after the second Ctrl-C.
const INTERRUPTED: i32 = 130;

/// Throws the switch at the first Ctrl-C (or SIGTERM); ends the process at the second. `text` says what the first does.
pub(crate) fn watch(stop: &Stop, text: &'static str) {
    let stop = stop.clone();
    tokio::spawn(async move {
        if signalled().await.is_err() {
            return;
        }
        stop.stop();
        // There is nobody to tell if stderr is gone.
        let _ = writeln!(std::io::stderr(), "\n{text} Press Ctrl-C again to stop at once.");
        if signalled().await.is_ok() {
            #[expect(clippy::exit, reason = "the user asked twice")]
            std::process::exit(INTERRUPTED);
        }
    });
}

/// Waits for Ctrl-C or SIGTERM.
///
/// # Errors
/// When the system does not let the program listen.
pub(crate) async fn signalled() -> Result<()> {
    let cannot = |e| Error::io("Signals cannot be listened to", e);
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
        tokio::select! {
            result = tokio::signal::ctrl_c() => result.map_err(cannot),
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await.map_err(cannot)
}
