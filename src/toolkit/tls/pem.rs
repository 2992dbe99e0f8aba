//! PEM texts: certificates and private keys.
//!
//! Must not know what they are for.

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::toolkit::config::settings::Pem;
use crate::toolkit::tls::error::UnusableSetting;

/// Said without rustls' reason, which may quote the text.
const DAMAGED: &str = "damaged PEM";

/// Where a PEM text comes from, as every error about it begins.
pub(super) fn at(pem: &Pem) -> String {
    match &pem.file {
        Some(file) => format!("tls_server_config.{} \"{}\"", pem.field, file.display()),
        None => format!("tls_server_config.{}", pem.field),
    }
}

/// The certificates in a PEM text; never none. Other sections are passed over.
pub(super) fn certificates(pem: &Pem) -> Result<Vec<CertificateDer<'static>>, UnusableSetting> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem.bytes).collect();
    match all {
        Ok(all) if all.is_empty() => Err(UnusableSetting::new(at(pem), "no certificate in it")),
        Ok(all) => Ok(all),
        Err(_) => Err(UnusableSetting::new(at(pem), DAMAGED)),
    }
}

/// The first private key in a PEM text: PKCS#8, PKCS#1 (RSA) or SEC 1 (ECDSA), not encrypted.
pub(super) fn private_key(pem: &Pem) -> Result<PrivateKeyDer<'static>, UnusableSetting> {
    PrivateKeyDer::from_pem_slice(&pem.bytes).map_err(|_| {
        let has = |text: &[u8]| pem.bytes.windows(text.len()).any(|window| window == text);
        let why = if has(b"ENCRYPTED") {
            "the private key is encrypted, and there is no place for its password"
        } else if has(b"PRIVATE KEY-----") {
            DAMAGED
        } else {
            "no private key in it"
        };
        UnusableSetting::new(at(pem), why)
    })
}
