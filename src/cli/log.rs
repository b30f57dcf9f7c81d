//! Messages for those who look for a fault: to stderr, off unless asked for.

use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

/// The library that signs requests to object stores writes their secret keys into its log; those that talk to the system's
/// key store log the messages that carry secrets. They are never heard, whatever the filter says.
const NEVER_HEARD: [&str; 4] = ["reqsign", "zbus", "keyring", "secret_service"];

/// Starts logging: `-v`, `-vv`, `-vvv`, or what `TENANTVAULT_LOG` says (`tenantvault::graph=debug`).
pub(crate) fn start(verbose: u8) {
    let level = match verbose {
        0 => "off",
        1 => "tenantvault=info",
        2 => "tenantvault=debug",
        _ => "debug",
    };
    let asked_for = EnvFilter::try_from_env("TENANTVAULT_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    let lines = lines.with_filter(filter_fn(|about| !NEVER_HEARD.iter().any(|name| about.target().starts_with(name))));
    // A second start within one process (tests) changes nothing.
    let _ = tracing_subscriber::registry().with(asked_for).with(lines).try_init();
}
