//! Why a client's certificate is refused, in words.
//!
//! Must not know connections or settings. rustls' own words are names of its types, some with all of their fields.

use std::fmt;
use std::sync::Arc;

use rustls::{CertificateError, Error, OtherError};

/// Words for what can be mended, by how the errors of rustls and of webpki begin to print: webpki's are rustls' alone.
/// The names of the others say as much.
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

/// Why a certificate is refused, without its name: one short line, which begins with a small letter.
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

/// What is refused here and has no word in rustls.
#[derive(Debug)]
struct Refusal(String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

/// An error for [`of`] to say.
pub(super) fn refusal(reason: impl Into<String>) -> Error {
    CertificateError::Other(OtherError(Arc::new(Refusal(reason.into())))).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_told_without_its_fields() {
        assert_eq!(of(&CertificateError::Revoked.into()), "refused as Revoked");
        let strange =
            CertificateError::Other(OtherError(Arc::new(std::io::Error::from_raw_os_error(2))));
        assert_eq!(of(&strange.into()), "refused as Os");
        assert_eq!(of(&refusal("its name: \"x\"")), "its name: \"x\"");
    }
}
