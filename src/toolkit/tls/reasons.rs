//! Why a client's certificate was rejected, in plain words.
//!
//! Must not know connections or settings. rustls' own messages are names of its types, some with all of their fields.

use std::fmt;
use std::sync::Arc;

use rustls::{CertificateError, Error, OtherError};

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
            if let Some(Refusal(reason)) = other.downcast_ref() {
                return reason.clone();
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
struct Refusal(String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

/// A rejection error whose reason [`of`] returns.
pub(super) fn refusal(reason: impl Into<String>) -> Error {
    CertificateError::Other(OtherError(Arc::new(Refusal(reason.into())))).into()
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
        assert_eq!(of(&refusal("its name: \"x\"")), "its name: \"x\"");
    }
}
