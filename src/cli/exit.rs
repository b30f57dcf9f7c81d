//! Exit codes, decided here and nowhere else; the same as restic's where it has them.

use std::io::Write as _;
use std::process::ExitCode;

use serde_json::json;

use crate::cli::output;
use crate::error::{Error, ErrorKind};
use crate::graph;

/// How a command that did not fail ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All is done.
    Done,
    /// It is done, and something is missing that should be there.
    Gaps,
    /// The user stopped it; what was done is kept.
    Interrupted,
}

impl Outcome {
    /// The exit code.
    pub(crate) fn code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Done => 0,
            Self::Gaps => 3,
            Self::Interrupted => 130,
        })
    }

    /// The worse of two.
    #[must_use]
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Interrupted, _) | (_, Self::Interrupted) => Self::Interrupted,
            (Self::Gaps, _) | (_, Self::Gaps) => Self::Gaps,
            _ => Self::Done,
        }
    }
}

/// The exit code of an error.
fn code_of(error: &Error) -> u8 {
    match error.kind() {
        // What the other side calls a bad request is not the user's.
        ErrorKind::InvalidInput if graph::graph_error(error).is_none() => 2,
        ErrorKind::NoRepository => 10,
        ErrorKind::WrongKey => 12,
        ErrorKind::Interrupted => 130,
        _ => 1,
    }
}

/// Prints an error and gives its exit code. A reader of our output that went away (`| head`) is no error.
pub(crate) fn failure(error: &Error, json: bool) -> ExitCode {
    if is_broken_pipe(error) {
        return ExitCode::SUCCESS;
    }
    let code = code_of(error);
    print(error, code, json);
    ExitCode::from(code)
}

/// Prints an error, for a run that goes on after it.
pub(crate) fn report(error: &Error, json: bool) {
    print(error, code_of(error), json);
}

fn print(error: &Error, code: u8, json: bool) {
    let mut stderr = std::io::stderr().lock();
    // There is nobody to tell if stderr is gone.
    if json {
        let mut value = output::error_json(error);
        if let Some(fields) = value.as_object_mut() {
            fields.insert("code".into(), code.into());
        }
        let _ = output::write_json(&mut stderr, "error", &value);
    } else {
        let _ = stderr.write_all(output::error_text(error).as_bytes());
    }
}

/// Prints what clap has to say: help and version to stdout, complaints to stderr.
pub(crate) fn usage(refused: &clap::Error) -> ExitCode {
    let json = std::env::args_os().any(|argument| argument == "--json");
    if json && refused.use_stderr() {
        let text = refused.render().to_string();
        let message = text.trim().strip_prefix("error: ").unwrap_or(text.trim());
        let value =
            json!({"kind": "usage", "message": message, "causes": [], "hint": null, "retryable": false, "code": 2});
        let _ = output::write_json(&mut std::io::stderr().lock(), "error", &value);
    } else {
        let _ = refused.print();
    }
    ExitCode::from(if refused.use_stderr() { 2 } else { 0 })
}

fn is_broken_pipe(error: &Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(e) = cause {
        if e.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe) {
            return error.to_string() == output::CANNOT_WRITE;
        }
        cause = e.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_the_code_that_scripts_expect() {
        for (kind, code) in [
            (ErrorKind::NotFound, 1),
            (ErrorKind::Corrupt, 1),
            (ErrorKind::InvalidInput, 2),
            (ErrorKind::NoRepository, 10),
            (ErrorKind::WrongKey, 12),
            (ErrorKind::Interrupted, 130),
        ] {
            assert_eq!(code_of(&Error::new(kind, "x")), code, "{kind:?}");
        }
    }

    #[test]
    fn a_bad_request_of_our_own_making_is_no_usage_error() {
        let error = graph::GraphError::parse(400, b"{}").into_error("GET users");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(code_of(&error), 1);
    }

    #[test]
    fn only_our_own_output_may_break_off_quietly() {
        let broken = || std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert!(is_broken_pipe(&Error::io(output::CANNOT_WRITE, broken())));
        assert!(!is_broken_pipe(&Error::io("Pack x", broken())));
    }

    #[test]
    fn the_worst_outcome_counts() {
        assert_eq!(Outcome::Done.and(Outcome::Gaps), Outcome::Gaps);
        assert_eq!(Outcome::Gaps.and(Outcome::Interrupted), Outcome::Interrupted);
        assert_eq!(Outcome::Done.and(Outcome::Done), Outcome::Done);
    }
}
