//! Where commands print: results to stdout, as text or as lines of JSON; notes to stderr.

use std::io::{BufWriter, IsTerminal as _, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::json;

use crate::cli::output::{self, Column};
use crate::error::{Error, Result};

/// A place to print to.
pub(crate) struct Screen {
    out: Mutex<Box<dyn Write + Send>>,
    /// Results are JSON.
    pub(crate) json: bool,
    /// Nothing but results and errors.
    pub(crate) quiet: bool,
    /// The terminal's width in columns, if stdout is one.
    pub(crate) width: Option<u16>,
    /// The zone that times are shown in.
    pub(crate) zone: TimeZone,
    /// Results are read by this program itself: the demonstration.
    pub(crate) captured: bool,
}

/// What a captured screen has printed.
#[derive(Clone, Default)]
pub(crate) struct Paper(Arc<Mutex<Vec<u8>>>);

impl Paper {
    /// What was printed; what is no text becomes marks.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Screen {
    /// The process's stdout.
    pub(crate) fn stdout(json: bool, quiet: bool) -> Self {
        let terminal = std::io::stdout().is_terminal();
        Self {
            out: Mutex::new(Box::new(BufWriter::with_capacity(64 << 10, std::io::stdout()))),
            json,
            quiet,
            width: if terminal { terminal_width() } else { None },
            zone: TimeZone::system(),
            captured: false,
        }
    }

    /// A screen 80 columns wide, of which this program reads itself.
    pub(crate) fn captured(width: u16) -> (Self, Paper) {
        let paper = Paper::default();
        let screen = Self {
            out: Mutex::new(Box::new(paper.clone())),
            json: false,
            quiet: false,
            width: Some(width),
            zone: TimeZone::system(),
            captured: true,
        };
        (screen, paper)
    }

    /// Says whether a person reads the results directly.
    pub(crate) fn is_terminal(&self) -> bool {
        self.width.is_some() && !self.captured
    }

    fn lock(&self) -> MutexGuard<'_, Box<dyn Write + Send>> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Prints bytes as they are.
    ///
    /// # Errors
    /// When stdout does not take them.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Result<()> {
        self.lock().write_all(bytes).map_err(cannot_write)
    }

    /// Prints a line of a result for people; with JSON nothing.
    ///
    /// # Errors
    /// When stdout does not take it.
    pub(crate) fn line(&self, text: impl AsRef<str>) -> Result<()> {
        if self.json {
            return Ok(());
        }
        let mut out = self.lock();
        out.write_all(text.as_ref().as_bytes()).and_then(|()| out.write_all(b"\n")).map_err(cannot_write)
    }

    /// A line about what cannot be chosen: grey on a terminal, unless NO_COLOR is set.
    ///
    /// # Errors
    /// When stdout does not take it.
    pub(crate) fn grey(&self, text: impl AsRef<str>) -> Result<()> {
        let is_grey = self.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let text = text.as_ref();
        if is_grey { self.line(format!("\u{1b}[2m{text}\u{1b}[0m")) } else { self.line(text) }
    }

    /// As [`Self::line`], but not with `--quiet`: what a command did, where nobody asked for a result.
    ///
    /// # Errors
    /// When stdout does not take it.
    pub(crate) fn report(&self, text: impl AsRef<str>) -> Result<()> {
        if self.quiet { Ok(()) } else { self.line(text) }
    }

    /// Prints a table for people; with JSON nothing.
    ///
    /// # Errors
    /// When stdout does not take it.
    pub(crate) fn table(&self, columns: &[Column], rows: &[Vec<String>]) -> Result<()> {
        if self.json {
            return Ok(());
        }
        self.bytes(output::table(columns, rows, self.width).as_bytes())
    }

    /// Prints a line of JSON; without JSON nothing.
    ///
    /// # Errors
    /// When stdout does not take it.
    pub(crate) fn record(&self, message_type: &str, value: &impl Serialize) -> Result<()> {
        if !self.json {
            return Ok(());
        }
        output::write_json(&mut **self.lock(), message_type, value)
    }

    /// Prints the last line of JSON; without JSON nothing.
    ///
    /// # Errors
    /// When stdout does not take it.
    pub(crate) fn summary(&self, value: &impl Serialize) -> Result<()> {
        self.record("summary", value)
    }

    /// Tells people something beside the result, on stderr; not with `--quiet` or `--json`.
    pub(crate) fn note(&self, text: impl AsRef<str>) {
        if self.quiet || self.json {
            return;
        }
        if self.captured {
            // A reader of the demonstration sees what a user would.
            let _ = self.line(text);
        } else {
            // There is nobody to tell if stderr is gone.
            let _ = writeln!(std::io::stderr(), "{}", text.as_ref());
        }
    }

    /// Warns on stderr, whatever the options: of what is wrong and does not end the command.
    pub(crate) fn warn(&self, text: impl AsRef<str>) {
        let text = text.as_ref();
        if self.captured && !self.json {
            let _ = self.line(format!("Warning: {text}"));
        } else {
            warn(self.json, text);
        }
    }

    /// Hands out what was printed so far.
    ///
    /// # Errors
    /// When stdout does not take it.
    pub(crate) fn flush(&self) -> Result<()> {
        self.lock().flush().map_err(cannot_write)
    }

    /// A moment as people read it.
    pub(crate) fn time(&self, time_us: i64) -> String {
        output::time(time_us, &self.zone)
    }
}

/// Warns on stderr, from wherever.
pub(crate) fn warn(json: bool, text: &str) {
    // There is nobody to tell if stderr is gone.
    let _ = if json {
        output::write_json(&mut std::io::stderr(), "warning", &json!({ "message": text }))
    } else {
        writeln!(std::io::stderr(), "Warning: {text}").map_err(cannot_write)
    };
}

fn cannot_write(e: std::io::Error) -> Error {
    Error::io(output::CANNOT_WRITE, e)
}

fn terminal_width() -> Option<u16> {
    comfy_table::Table::new().width()
}
