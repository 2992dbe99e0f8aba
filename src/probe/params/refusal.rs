//! Why a query is refused, as one line that names the parameter, the value and what is allowed.
//!
//! Must not know HTTP status codes.

use std::fmt;

use super::table::PARAMETERS;

/// Longest query string that is looked at; all parameters together need a tenth of it.
pub(super) const QUERY_LIMIT_BYTES: usize = 8 * 1024;
/// How much of a refused value is shown.
const SHOWN_LIMIT_CHARS: usize = 60;

/// Why a query was refused; prints as one line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No such parameter.
    Unknown(String),
    /// Given more than once.
    Twice(String),
    /// Two names of one parameter, or two that exclude each other.
    Together(&'static str, &'static str),
    /// Two that iperf3 refuses together, or of which it ignores one; and why.
    Conflict(&'static str, &'static str, &'static str),
    /// A required one is not there; and what it may be.
    Missing(&'static str, &'static str),
    /// A value out of its range; and what it may be.
    Value(&'static str, String, &'static str),
    /// Not percent-encoded UTF-8.
    Encoding(String),
    /// Longer than any real one.
    TooLong(usize),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => {
                let known: Vec<&str> = PARAMETERS.iter().flat_map(|p| p.names).copied().collect();
                let (name, known) = (quoted(name), known.join(", "));
                write!(f, "unknown parameter {name}, want one of {known}")
            }
            Self::Twice(name) => {
                let name = quoted(name);
                write!(f, "parameter {name} is given more than once, want it once")
            }
            Self::Together(one, other) => write!(
                f,
                "parameters {one:?} and {other:?} are given together, want one of them"
            ),
            Self::Conflict(one, other, why) => write!(
                f,
                "parameters {one:?} and {other:?} do not go together: {why}"
            ),
            Self::Missing(name, allowed) => {
                write!(f, "parameter {name:?} is missing, want {allowed}")
            }
            Self::Value(name, value, allowed) => {
                let value = quoted(value);
                write!(
                    f,
                    "parameter {name:?}: {value} is not allowed, want {allowed}"
                )
            }
            Self::Encoding(part) => {
                let part = quoted(part);
                write!(f, "query part {part} is not percent-encoded UTF-8")
            }
            Self::TooLong(length) => write!(
                f,
                "query of {length} bytes is not allowed, want at most {QUERY_LIMIT_BYTES}"
            ),
        }
    }
}

/// A refused value as it may be shown: quoted, escaped, and not endless.
fn quoted(value: &str) -> String {
    match value.char_indices().nth(SHOWN_LIMIT_CHARS) {
        None => format!("{value:?}"),
        Some((end, _)) => format!("{:?}…", value.get(..end).unwrap_or_default()),
    }
}
