//! Why settings cannot be used, and why a handshake failed.
//!
//! Must not know how either is found out: a build without TLS has these words too.

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

/// Why a client is not let in by its handshake.
#[derive(Debug, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "tls"),
    expect(dead_code, reason = "a build without TLS shakes no hands")
)]
pub(crate) enum HandshakeFailed {
    /// The client closed the connection before it sent a byte, as health checks by TCP and port scanners do.
    Silent,
    TimedOut,
    /// What came first is no record of a handshake: its first bytes, as many as a record's header has. Nothing was
    /// answered, so there is still room for an answer in whatever the client does speak.
    NotTls([u8; 5]),
    /// Any other reason, in one line. The client has been told by an alert, if it could be.
    Refused(String),
}

impl fmt::Display for HandshakeFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent => f.write_str("the client closed the connection and had sent nothing"),
            Self::TimedOut => f.write_str("not complete in time"),
            Self::NotTls(first) => write!(
                f,
                "the client does not speak TLS, it began with \"{}\"",
                first.escape_ascii()
            ),
            Self::Refused(reason) => f.write_str(reason),
        }
    }
}
