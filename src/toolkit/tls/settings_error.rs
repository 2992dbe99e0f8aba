//! Why TLS settings cannot be used.
//!
//! Must not know which of them may be at fault only for a while.

use std::fmt;

use rustls::Error;

use crate::toolkit::config::fault::Fault;
use crate::toolkit::tls::reasons;

/// Why TLS settings cannot be used. A `String` is the place of a PEM text: its key in the configuration, and its file.
#[derive(Debug)]
pub(super) enum SettingsError {
    /// The text cannot be decoded. Without rustls' message, which may quote it: it may be a key in the wrong place.
    DamagedPem(String),
    NoCertificate(String),
    NoPrivateKey(String),
    EncryptedKey(String),
    /// rustls does not support this kind of private key with ring.
    UnsupportedKey(String),
    /// The server's certificate, the first in its text, cannot be read.
    UnreadableCertificate(String),
    /// The private key belongs to another certificate.
    OtherKey {
        key: String,
        cert: String,
    },
    /// The certificate with this number in `client_ca`, and rustls' reason; `None` if only [`Certificate`] cannot read
    /// it.
    ///
    /// [`Certificate`]: crate::toolkit::tls::certificate::Certificate
    UnusableAuthority {
        place: String,
        number: usize,
        error: Option<Error>,
    },
    /// None of the names under this key is supported.
    UnsupportedNames {
        key: &'static str,
        names: Vec<&'static str>,
    },
    /// The settings leave TLS 1.2 without a cipher suite, and allow no newer version.
    NoCipherSuite,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DamagedPem(place) => write!(f, "{place}: damaged PEM"),
            Self::NoCertificate(place) => write!(f, "{place}: it contains no certificate"),
            Self::NoPrivateKey(place) => write!(f, "{place}: it contains no private key"),
            Self::EncryptedKey(place) => {
                write!(f, "{place}: encrypted private keys are not supported")
            }
            Self::UnsupportedKey(place) => write!(
                f,
                "{place}: unsupported private key, want RSA of 2048 to 4096 bits, ECDSA on P-256 or P-384, or Ed25519"
            ),
            Self::UnreadableCertificate(place) => {
                write!(f, "{place}: the first certificate cannot be read")
            }
            Self::OtherKey { key, cert } => write!(
                f,
                "{key}: this private key does not match the first certificate of {cert}"
            ),
            Self::UnusableAuthority {
                place,
                number,
                error,
            } => {
                let unreadable = || "cannot be read".to_owned();
                let why = error.as_ref().map_or_else(unreadable, reasons::of);
                write!(f, "{place}: certificate {number}: {why}")
            }
            Self::UnsupportedNames { key, names } => write!(
                f,
                "tls_server_config.{key} `{}`: not supported, and the list has no other entry",
                names.join(", ")
            ),
            Self::NoCipherSuite => f.write_str(
                "tls_server_config.cipher_suites: the list has no cipher suite of TLS 1.2, and max_version allows \
                 no newer version",
            ),
        }
    }
}

impl From<SettingsError> for Fault {
    fn from(error: SettingsError) -> Self {
        Self::new(error.to_string())
    }
}
