//! Tells on stderr what could not be shown, for commands that serve others: whoever asked there hears only "I/O error".

use std::io::Write as _;
use std::sync::Mutex;

use serde_json::json;

use crate::cli::output;
use crate::monitor::Monitor;

/// Tells problems as they happen; one that is told again and again, once.
#[derive(Debug)]
pub(crate) struct Teller {
    json: bool,
    last: Mutex<String>,
}

impl Teller {
    /// Starts with nothing told.
    pub(crate) fn new(json: bool) -> Self {
        Self { json, last: Mutex::default() }
    }
}

impl Monitor for Teller {
    fn problem(&self, object: &str, text: &str) {
        let line = output::plain(&format!("{object}: {text}"));
        let Ok(mut last) = self.last.lock() else { return };
        if *last == line {
            return;
        }
        // There is nobody to tell if stderr is gone.
        let mut stderr = std::io::stderr().lock();
        let _ = if self.json {
            output::write_json(&mut stderr, "problem", &json!({"object": object, "message": text}))
        } else {
            writeln!(stderr, "{line}").map_err(|e| crate::error::Error::io("stderr", e))
        };
        *last = line;
    }
}
