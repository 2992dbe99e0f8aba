//! Why the program exits early: a line for standard error, and the exit status.
//!
//! Must not know what failed.

use std::fmt::Display;

/// Exit status of an error that may pass by itself, such as an address in use: a restart may help.
const PASSING: u8 = 1;
/// Exit status of an error that no restart fixes: an invalid flag or configuration.
const LASTING: u8 = 2;

/// No other error turns into it by `?` alone: whether an error may pass is decided where the program gives up.
#[derive(Debug)]
pub(crate) struct ExitError {
    pub(crate) line: String,
    pub(crate) status: u8,
}

impl ExitError {
    /// For an error that may pass by itself.
    pub(crate) fn passing(error: impl Display) -> Self {
        Self {
            line: error.to_string(),
            status: PASSING,
        }
    }

    /// For an invalid flag or configuration.
    pub(crate) fn lasting(error: impl Display) -> Self {
        Self {
            line: error.to_string(),
            status: LASTING,
        }
    }
}
