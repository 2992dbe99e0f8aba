//! Why a query is refused. The text of the error is the line that the client gets.
//!
//! Owns how a refused text is shown. Must not know which parameters exclude each other.

use std::fmt;

use super::secrets::{HIDDEN, carries_secret};
use super::table::{PARAMETERS, TARGET_ALLOWED};

/// How much of a refused text is shown.
const SHOWN_LIMIT_CHARS: usize = 60;

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum QueryError {
    TooLong {
        bytes: usize,
        limit: usize,
    },
    /// This part is not percent-encoded UTF-8.
    NotEncoded(Quoted),
    /// `hint` says what to use instead, if that is known.
    Unknown {
        name: Quoted,
        hint: Option<String>,
    },
    /// This name is given more than once.
    Repeated(&'static str),
    /// The value is not what the parameter allows.
    NotAllowed {
        name: &'static str,
        value: Quoted,
        allowed: &'static str,
    },
    NoTarget,
    /// Two names of one parameter, or two parameters that exclude each other.
    Exclusive(&'static str, &'static str),
    /// Two parameters that iperf3 rejects together, or one of which it ignores.
    Incompatible {
        one: &'static str,
        other: &'static str,
        why: &'static str,
    },
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { bytes, limit } => write!(
                f,
                "query of {bytes} bytes is not allowed, want at most {limit}"
            ),
            Self::NotEncoded(part) => {
                write!(f, "query part {part} is not percent-encoded UTF-8")
            }
            Self::Unknown { name, hint } => {
                write!(f, "unknown parameter {name}")?;
                if let Some(hint) = hint {
                    return write!(f, ": {hint}");
                }
                let known = PARAMETERS.iter().flat_map(|row| row.names);
                let known: Vec<&str> = known.copied().collect();
                write!(f, ", want one of {}", known.join(", "))
            }
            Self::Repeated(name) => {
                write!(
                    f,
                    "parameter {name:?} is given more than once, want it once"
                )
            }
            Self::NotAllowed {
                name,
                value,
                allowed,
            } => {
                write!(
                    f,
                    "parameter {name:?}: {value} is not allowed, want {allowed}"
                )
            }
            Self::NoTarget => {
                write!(f, "parameter \"target\" is missing, want {TARGET_ALLOWED}")
            }
            Self::Exclusive(one, other) => write!(
                f,
                "parameters {one:?} and {other:?} conflict, want only one of them"
            ),
            Self::Incompatible { one, other, why } => {
                write!(
                    f,
                    "parameters {one:?} and {other:?} cannot be combined: {why}"
                )
            }
        }
    }
}

/// A refused text as it may be shown: quoted, escaped, shortened, and without secrets. The text itself is not kept, so
/// that not even debug output reveals a secret.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Quoted(String);

impl Quoted {
    pub(super) fn new(text: &str) -> Self {
        if carries_secret(text) {
            return Self(HIDDEN.to_owned());
        }
        Self(match text.char_indices().nth(SHOWN_LIMIT_CHARS) {
            None => format!("{text:?}"),
            Some((end, _)) => format!("{:?}…", text.get(..end).unwrap_or_default()),
        })
    }
}

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use crate::probe::params::Params;

    #[test]
    fn neither_text_nor_debug_output_of_an_error_reveals_a_secret() {
        for query in [
            "target=user:hunter2@host",
            "target=a&bind=user:hunter2%40h%zz",
            "target=a&port=1;password=hunter2",
            "target=a&a;password%3Dhunter2=x",
        ] {
            let error = Params::parse(query).unwrap_err();
            for shown in [error.to_string(), format!("{error:?}")] {
                assert!(shown.contains("<hidden>"), "{query}: {shown}");
                assert!(!shown.contains("hunter2"), "{query}: {shown}");
            }
        }
    }
}
