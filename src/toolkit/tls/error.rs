//! Why a setting cannot be used.
//!
//! Must not know how that is found out: a build without TLS has these words too.

use std::borrow::Cow;
use std::fmt;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UnusableSetting {
    /// Where it stands: its key, with its value or file if it has one.
    place: String,
    /// Never quotes a PEM text, which may be a key that stands in the wrong place.
    reason: Cow<'static, str>,
}

impl UnusableSetting {
    pub(crate) fn new(place: impl Into<String>, reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            place: place.into(),
            reason: reason.into(),
        }
    }
}

impl fmt::Display for UnusableSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.reason)
    }
}
