//! Messages for those who look for a fault: to stderr, off unless asked for.

use tracing_subscriber::EnvFilter;

/// Starts logging: `-v`, `-vv`, `-vvv`, or what `TENANTVAULT_LOG` says (`tenantvault::graph=debug`).
pub(crate) fn start(verbose: u8) {
    let level = match verbose {
        0 => "off",
        1 => "tenantvault=info",
        2 => "tenantvault=debug",
        _ => "debug",
    };
    let filter = EnvFilter::try_from_env("TENANTVAULT_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    // A second start within one process (tests) changes nothing.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).try_init();
}
