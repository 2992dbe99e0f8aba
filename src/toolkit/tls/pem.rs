//! PEM texts: certificates and private keys.
//!
//! Must not know what they are used for.

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::toolkit::config::settings::Pem;
use crate::toolkit::tls::settings_error::SettingsError;

/// All certificates in a PEM text, at least one. Other sections are skipped.
pub(super) fn certificates(pem: &Pem) -> Result<Vec<CertificateDer<'static>>, SettingsError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem.bytes).collect();
    match all {
        Ok(all) if all.is_empty() => Err(SettingsError::NoCertificate(pem.place.clone())),
        Ok(all) => Ok(all),
        Err(_) => Err(SettingsError::DamagedPem(pem.place.clone())),
    }
}

/// The first private key in a PEM text: unencrypted PKCS#8, PKCS#1 (RSA) or SEC 1 (ECDSA).
pub(super) fn private_key(pem: &Pem) -> Result<PrivateKeyDer<'static>, SettingsError> {
    PrivateKeyDer::from_pem_slice(&pem.bytes).map_err(|_| {
        let has = |text: &[u8]| pem.bytes.windows(text.len()).any(|window| window == text);
        let error = if has(b"ENCRYPTED") {
            SettingsError::EncryptedKey
        } else if has(b"PRIVATE KEY-----") {
            SettingsError::DamagedPem
        } else {
            SettingsError::NoPrivateKey
        };
        error(pem.place.clone())
    })
}
