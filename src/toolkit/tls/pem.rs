//! PEM texts: certificates and private keys.
//!
//! Must not know what they are used for.

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::toolkit::config::settings::Pem;

/// Without rustls' message, which may quote the text: it may be a key in the wrong place.
const DAMAGED: &str = "damaged PEM";

/// All certificates in a PEM text, at least one. Other sections are skipped.
pub(super) fn certificates(pem: &Pem) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem.bytes).collect();
    match all {
        Ok(all) if all.is_empty() => Err(format!("{}: it contains no certificate", pem.place)),
        Ok(all) => Ok(all),
        Err(_) => Err(format!("{}: {DAMAGED}", pem.place)),
    }
}

/// The first private key in a PEM text: unencrypted PKCS#8, PKCS#1 (RSA) or SEC 1 (ECDSA).
pub(super) fn private_key(pem: &Pem) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(&pem.bytes).map_err(|_| {
        let has = |text: &[u8]| pem.bytes.windows(text.len()).any(|window| window == text);
        let why = if has(b"ENCRYPTED") {
            "encrypted private keys are not supported"
        } else if has(b"PRIVATE KEY-----") {
            DAMAGED
        } else {
            "it contains no private key"
        };
        format!("{}: {why}", pem.place)
    })
}
