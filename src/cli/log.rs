//! Messages for those who look for a fault: to stderr, off unless asked for; those of a server tell of trouble always, as its pages
//! name the number under which the log says more.

use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

/// The library that signs requests to object stores writes their secret keys into its log; those that talk to the system's
/// key store log the messages that carry secrets. They are never heard, whatever the filter says.
const NEVER_HEARD: [&str; 4] = ["reqsign", "zbus", "keyring", "secret_service"];

/// What is heard without a filter of the environment.
fn level(verbose: u8, is_server: bool) -> &'static str {
    match verbose {
        0 if is_server => "tenantvault=warn",
        0 => "off",
        1 => "tenantvault=info",
        2 => "tenantvault=debug",
        _ => "debug",
    }
}

/// Starts logging: `-v`, `-vv`, `-vvv`, or what `TENANTVAULT_LOG` says (`tenantvault::graph=debug`).
pub(crate) fn start(verbose: u8, is_server: bool) {
    let level = level(verbose, is_server);
    let asked_for = EnvFilter::try_from_env("TENANTVAULT_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    let lines = lines.with_filter(filter_fn(|about| !NEVER_HEARD.iter().any(|name| about.target().starts_with(name))));
    // A second start within one process (tests) changes nothing.
    let _ = tracing_subscriber::registry().with(asked_for).with(lines).try_init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_tells_of_trouble_without_being_asked_and_other_commands_do_not() {
        let levels =
            [level(0, true), level(0, false), level(1, true), level(1, false), level(2, true), level(3, false)];
        let known = ["tenantvault=warn", "off", "tenantvault=info", "tenantvault=info", "tenantvault=debug", "debug"];
        assert_eq!(levels, known);
    }
}
