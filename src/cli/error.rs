//! Why a command line is refused.
//!
//! Owns the texts of the refusals. Must not know how a command line is split.

use std::ffi::OsString;
use std::fmt;

use super::flags::Flag;
use crate::iperf3::credentials::CredentialsError;

/// One line each, with the flag and its value.
#[derive(Debug)]
pub(crate) enum FlagError {
    /// A word that is no flag, or no argument that is expected.
    Unknown(String),
    /// A flag's name after one dash instead of two.
    OneDash(String),
    NotAllowed {
        flag: &'static Flag,
        value: String,
    },
    GivenTwice(&'static Flag),
    NeedsValue(String),
    TakesNoValue(String),
    NotUtf8(OsString),
    /// Both pages would have this path.
    SamePath(String),
    /// The flags of iperf3's authentication are incomplete.
    Credentials(CredentialsError),
}

impl fmt::Display for FlagError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(word) => write!(f, "unknown flag or argument {word:?}"),
            Self::OneDash(name) => write!(
                f,
                "unknown flag or argument {:?}, want --{name}",
                format!("-{name}")
            ),
            Self::NotAllowed { flag, value } => write!(
                f,
                "flag --{}: {value:?} is not allowed, want {}",
                flag.id(),
                flag.allowed
            ),
            Self::GivenTwice(flag) => write!(f, "flag --{} is given more than once", flag.id()),
            Self::NeedsValue(name) => write!(f, "flag --{name} needs a value"),
            Self::TakesNoValue(name) => write!(f, "flag --{name} takes no value"),
            Self::NotUtf8(value) => {
                write!(
                    f,
                    "argument {:?} is not UTF-8 text",
                    value.to_string_lossy()
                )
            }
            Self::SamePath(path) => write!(
                f,
                "flags --web.telemetry-path and --web.probe-path: both are {path:?}, want two different paths"
            ),
            Self::Credentials(error) => write!(f, "{error}"),
        }
    }
}
