//! Why a handshake failed, or a client's certificate was rejected, in plain words.
//!
//! Must not know connections or settings. rustls' own messages are names of its types, some with all of their fields.

use std::sync::Arc;
use std::{fmt, io};

use rustls::{CertificateError, Error, OtherError};

/// Why a handshake failed.
#[derive(Debug)]
pub(super) enum HandshakeError {
    /// The client sent no certificate, and one is required.
    NoCertificate,
    /// The client's certificate was rejected.
    Certificate(Error),
    /// Another error of TLS.
    Tls(Error),
    TimedOut,
    /// The client closed the connection.
    Closed,
    /// Another error of the socket.
    Socket(io::Error),
    /// The handshake's thread has panicked.
    Panicked,
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCertificate => f.write_str("the client sent no certificate"),
            Self::Certificate(error) => write!(f, "client certificate: {}", of(error)),
            Self::Tls(error) => error.fmt(f),
            Self::TimedOut => f.write_str("timed out"),
            Self::Closed => f.write_str("the client closed the connection during the handshake"),
            Self::Socket(error) => error.fmt(f),
            Self::Panicked => f.write_str("the handshake's thread has panicked"),
        }
    }
}

impl std::error::Error for HandshakeError {}

impl From<Error> for HandshakeError {
    fn from(error: Error) -> Self {
        match error {
            Error::NoCertificatesPresented => Self::NoCertificate,
            Error::InvalidCertificate(_) => Self::Certificate(error),
            error => Self::Tls(error),
        }
    }
}

/// rustls' errors arrive inside those of the socket.
impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        match error.downcast::<Error>() {
            Ok(error) => error.into(),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Self::TimedOut,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Self::Closed,
            Err(error) => Self::Socket(error),
        }
    }
}

/// Messages for what an operator can fix, by the first word of the error's debug output: webpki's errors are visible
/// only through rustls. The names of the other errors explain themselves.
const REASONS: &[(&str, &str)] = &[
    ("BadEncoding", "it cannot be read"),
    ("Expired", "it or a certificate in its chain has expired"),
    (
        "NotValidYet",
        "it or a certificate in its chain is not valid yet",
    ),
    (
        "UnknownIssuer",
        "it was not signed by an authority of client_ca, or its chain is too long or incomplete",
    ),
    (
        "UnsupportedSignatureAlgorithm",
        "it or a certificate in its chain has an unsupported key or signature, want RSA of 2048 bits or more, ECDSA \
         on P-256 or P-384, or Ed25519, with SHA-256 or SHA-384 (RSA: also SHA-512)",
    ),
    (
        "InvalidPurpose",
        "it or a certificate in its chain lacks clientAuth in its extended key usage",
    ),
    (
        "UnsupportedCertVersion",
        "it has X.509 version 1: sign it with at least one extension",
    ),
    (
        "CaUsedAsEndEntity",
        "it has CA:TRUE, which is only for authorities",
    ),
    (
        "UnsupportedCriticalExtension",
        "it or a certificate in its chain has an unknown critical extension",
    ),
];

/// Why a certificate was rejected, without its name: one short line that begins with a small letter.
pub(super) fn of(error: &Error) -> String {
    let debug = match error {
        Error::InvalidCertificate(CertificateError::Other(OtherError(other))) => {
            if let Some(refusal) = other.downcast_ref::<Refusal>() {
                return refusal.to_string();
            }
            format!("{other:?}")
        }
        Error::InvalidCertificate(error) => format!("{error:?}"),
        error => return error.to_string(),
    };
    let name = debug.split(|c: char| !c.is_ascii_alphanumeric()).next();
    let name = name.unwrap_or_default();
    let known = REASONS.iter().find(|(known, _)| name.starts_with(known));
    known.map_or_else(
        || format!("refused as {name}"),
        |(_, words)| (*words).to_owned(),
    )
}

/// A rejection of our own, for which rustls has no error.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The chain is longer than this number of bytes.
    LongChain(usize),
    /// None of the certificate's names is allowed.
    Name,
    /// No authority is valid at this time.
    Authorities,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LongChain(limit) => write!(f, "its chain is longer than {limit} bytes"),
            Self::Name => f.write_str("none of its names is in client_allowed_sans"),
            Self::Authorities => {
                f.write_str("every authority of client_ca has expired or is not valid yet")
            }
        }
    }
}

impl std::error::Error for Refusal {}

/// An error whose reason [`of`] returns.
impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        CertificateError::Other(OtherError(Arc::new(refusal))).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_error_is_reported_without_its_fields() {
        assert_eq!(of(&CertificateError::Revoked.into()), "refused as Revoked");
        let strange =
            CertificateError::Other(OtherError(Arc::new(std::io::Error::from_raw_os_error(2))));
        assert_eq!(of(&strange.into()), "refused as Os");
        let own = Error::from(Refusal::LongChain(7));
        assert_eq!(of(&own), "its chain is longer than 7 bytes");
    }
}
