//! Why the program ends before its time: a line for standard error, and the exit status.
//!
//! Must not know what failed.

/// What may pass by itself, such as an address in use: it is worth a restart.
const PASSING: u8 = 1;
/// What no restart mends: a flag or a configuration that is wrong.
const LASTING: u8 = 2;

#[derive(Debug)]
pub(crate) struct ExitError {
    pub(crate) line: String,
    pub(crate) status: u8,
}

impl ExitError {
    /// Of a flag or a configuration.
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
