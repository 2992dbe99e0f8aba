//! Why a certificate is refused, in words.
//!
//! Must not know connections or settings. rustls' own words are names of its types, some with all of their fields.

use std::fmt;
use std::sync::Arc;

use rustls::{CertificateError, Error, OtherError};

/// What is taken of keys and signatures, by rustls with ring.
const ALGORITHM: &str = "a key or a signature, its own or one in its chain, is of another kind than RSA of 2048 bits \
                         or more, ECDSA on P-256 or P-384, Ed25519, with SHA-256 or SHA-384 (RSA: also SHA-512)";
const UNREADABLE: &str = "it cannot be read";
const UNREADABLE_EXTENSION: &str = "an extension of it, or of one in its chain, cannot be read";
const CRITICAL: &str = "it, or one in its chain, has a critical extension that is not known here";
const PURPOSE: &str = "its extended key usage, or that of one in its chain, lacks clientAuth";
const LABORIOUS: &str = "its chain takes too much work to verify";

/// Errors of webpki for which rustls has no name. The crate that has them is rustls' alone, so they are known by
/// how they print.
const WEBPKI: &[(&str, &str)] = &[
    (
        "UnsupportedCertVersion",
        "it is of X.509 version 1: sign it with an extension",
    ),
    (
        "CaUsedAsEndEntity",
        "it says CA:TRUE, as only an authority should",
    ),
    (
        "EndEntityUsedAsCa",
        "one in its chain may not sign others: it lacks CA:TRUE",
    ),
    (
        "PathLenConstraintViolated",
        "its chain is longer than the path length of one in it",
    ),
    (
        "NameConstraintViolation",
        "an authority in its chain may not sign for its names",
    ),
    ("UnsupportedCriticalExtension", CRITICAL),
    ("EmptyEkuExtension", PURPOSE),
    ("ExtensionValueInvalid", UNREADABLE_EXTENSION),
    ("MalformedExtensions", UNREADABLE_EXTENSION),
    ("MalformedNameConstraint", UNREADABLE_EXTENSION),
    ("InvalidNetworkMaskConstraint", UNREADABLE_EXTENSION),
    ("InvalidSerialNumber", UNREADABLE),
    ("SignatureAlgorithmMismatch", UNREADABLE),
    ("MaximumNameConstraintComparisonsExceeded", LABORIOUS),
    ("MaximumPathBuildCallsExceeded", LABORIOUS),
    ("MaximumPathDepthExceeded", LABORIOUS),
    ("MaximumSignatureChecksExceeded", LABORIOUS),
];

/// Why a certificate is refused, without its name: one short line, which begins with a small letter.
pub(super) fn of(error: &Error) -> String {
    let Error::InvalidCertificate(error) = error else {
        return error.to_string();
    };
    #[expect(deprecated, reason = "older verifiers within rustls still say so")]
    let reason = match error {
        CertificateError::BadEncoding => UNREADABLE,
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "it, or one in its chain, has expired"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it, or one in its chain, is not valid yet"
        }
        CertificateError::UnhandledCriticalExtension => CRITICAL,
        CertificateError::UnknownIssuer => {
            "no authority of client_ca has signed it, or its chain is too long for one or has gaps"
        }
        CertificateError::BadSignature => {
            "a signature, its own or one in its chain, is wrong, or the key that made it too short"
        }
        CertificateError::UnsupportedSignatureAlgorithm
        | CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => ALGORITHM,
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            PURPOSE
        }
        CertificateError::Other(other) => {
            return match other.0.downcast_ref::<Refusal>() {
                Some(refusal) => refusal.to_string(),
                None => named(&format!("{:?}", other.0)),
            };
        }
        other => return named(&format!("{other:?}")),
    };
    reason.to_owned()
}

/// The words for an error that prints so.
fn named(debug: &str) -> String {
    let end = debug.find(|c: char| !c.is_ascii_alphanumeric());
    let name = debug.get(..end.unwrap_or(debug.len())).unwrap_or(debug);
    let known = WEBPKI.iter().find(|(known, _)| *known == name);
    known.map_or_else(
        || format!("refused as {name}"),
        |(_, words)| (*words).to_owned(),
    )
}

/// What is refused here and has no word in rustls.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Longer than so many bytes.
    ChainTooLong(usize),
    NoAllowedName,
    NoValidAuthority,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ChainTooLong(limit_bytes) => {
                write!(f, "its chain is longer than {limit_bytes} bytes")
            }
            Self::NoAllowedName => f.write_str("none of its names is one of client_allowed_sans"),
            Self::NoValidAuthority => {
                f.write_str("every authority of client_ca has expired or is not valid yet")
            }
        }
    }
}

impl std::error::Error for Refusal {}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        CertificateError::Other(OtherError(Arc::new(refusal))).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_told_without_its_fields() {
        assert_eq!(
            named("Strange { id: [1, 2], more: \"\n\" }"),
            "refused as Strange"
        );
        assert_eq!(named("Odd(Some(7))"), "refused as Odd");
        assert_eq!(named("EmptyEkuExtension"), PURPOSE);
        let revoked = Error::from(CertificateError::Revoked);
        assert_eq!(of(&revoked), "refused as Revoked");
    }
}
