//! Why the program exits early: a line for standard error, and the exit status.
//!
//! Must not know what failed.

/// Exit status of an error that may pass by itself, such as an address in use: a restart may help.
const PASSING: u8 = 1;
/// Exit status of an error that no restart fixes: an invalid flag or configuration.
const LASTING: u8 = 2;

#[derive(Debug)]
pub(crate) struct ExitError {
    pub(crate) line: String,
    pub(crate) status: u8,
}

impl ExitError {
    /// For an invalid flag or configuration.
    pub(crate) fn lasting(line: String) -> Self {
        Self {
            line,
            status: LASTING,
        }
    }
}

impl From<String> for ExitError {
    fn from(line: String) -> Self {
        Self {
            line,
            status: PASSING,
        }
    }
}
