//! Ctrl-C: the first asks the run to come to an orderly end, the second ends it at once.

use std::io::Write as _;

use crate::error::{Error, Result};
use crate::ops::backup::Stop;

/// The exit code after the second Ctrl-C.
const INTERRUPTED: i32 = 130;

/// Throws the switch at the first Ctrl-C (or SIGTERM); ends the process at the second. `text` says what the first does.
pub(crate) fn watch(stop: &Stop, text: &'static str) {
    let stop = stop.clone();
    // Listening begins here and never pauses: a second Ctrl-C right after the first counts too.
    let Ok(mut signals) = Signals::listen() else { return };
    tokio::spawn(async move {
        signals.next().await;
        stop.stop();
        // There is nobody to tell if stderr is gone.
        let _ = writeln!(std::io::stderr(), "\n{text} Press Ctrl-C again to stop at once.");
        signals.next().await;
        #[expect(clippy::exit, reason = "the user asked twice")]
        std::process::exit(INTERRUPTED);
    });
}

/// Waits for Ctrl-C or SIGTERM.
///
/// # Errors
/// When the system does not let the program listen.
pub(crate) async fn signalled() -> Result<()> {
    listen()?.await;
    Ok(())
}

/// Listens for Ctrl-C and SIGTERM from now on; what it gives waits for one.
///
/// # Errors
/// When the system does not let the program listen.
pub(crate) fn listen() -> Result<impl Future<Output = ()>> {
    let mut signals = Signals::listen()?;
    Ok(async move { signals.next().await })
}

/// Ctrl-C and SIGTERM, none of which is missed.
struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(windows)]
    interrupt: tokio::signal::windows::CtrlC,
}

impl Signals {
    #[cfg(unix)]
    fn listen() -> Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let to = |kind| signal(kind).map_err(|e| Error::io("Signals cannot be listened to", e));
        Ok(Self { interrupt: to(SignalKind::interrupt())?, terminate: to(SignalKind::terminate())? })
    }

    #[cfg(windows)]
    fn listen() -> Result<Self> {
        let interrupt = tokio::signal::windows::ctrl_c();
        Ok(Self { interrupt: interrupt.map_err(|e| Error::io("Signals cannot be listened to", e))? })
    }

    async fn next(&mut self) {
        #[cfg(unix)]
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
        #[cfg(windows)]
        self.interrupt.recv().await;
    }
}
