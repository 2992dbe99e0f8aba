//! The fields of a certificate (RFC 5280): names, validity, purposes, whether it may sign others.
//!
//! Owns the crate `x509-cert`. Must not know connections or settings. Checks that rustls does not do follow Go, because
//! the exporter-toolkit is the model.

use std::net::IpAddr;
use std::time::Duration;

use rustls::CertificateError;
use x509_cert::der::asn1::AnyRef;
use x509_cert::der::oid::AssociatedOid as _;
use x509_cert::der::oid::db::rfc5280::{ANY_EXTENDED_KEY_USAGE, ID_KP_CLIENT_AUTH};
use x509_cert::der::{Decode as _, Encode as _, Tag};
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName};

/// A parsed certificate.
pub(super) struct Certificate(x509_cert::Certificate);

impl Certificate {
    /// Parses DER; `None` if it is not a certificate.
    pub(super) fn read(der: &[u8]) -> Option<Self> {
        x509_cert::Certificate::from_der(der).ok().map(Self)
    }

    /// Start and end of its validity, since the Unix epoch.
    pub(super) fn period(&self) -> (Duration, Duration) {
        let validity = self.0.tbs_certificate().validity();
        (
            validity.not_before.to_unix_duration(),
            validity.not_after.to_unix_duration(),
        )
    }

    /// Whether it certifies the key with this `SubjectPublicKeyInfo`.
    pub(super) fn has_key(&self, public_key: &[u8]) -> bool {
        let own = self.0.tbs_certificate().subject_public_key_info().to_der();
        own.is_ok_and(|own| own == public_key)
    }

    /// Whether it may sign client certificates (RFC 5280 §4.2.1.3, §4.2.1.9 and §4.2.1.12). Returns how many
    /// certificates may be between it and the client's (the largest number means no limit), or `None` if it may not
    /// sign. Version 1 cannot express this; such an authority may sign, as in Go.
    pub(super) fn may_sign(&self) -> Option<usize> {
        let tbs = self.0.tbs_certificate();
        let length = match tbs.get_extension::<BasicConstraints>() {
            Ok(Some((_, constraints))) if constraints.ca => constraints
                .path_len_constraint
                .map_or(usize::MAX, usize::from),
            Ok(None) if tbs.version() != x509_cert::Version::V3 => usize::MAX,
            Ok(_) | Err(_) => return None,
        };
        let for_signing = match tbs.get_extension::<KeyUsage>() {
            Ok(Some((_, usage))) => usage.key_cert_sign(),
            Ok(None) => true,
            Err(_) => false,
        };
        (for_signing && self.is_for_clients() == Some(true)).then_some(length)
    }

    /// Whether its extended key usage allows clients, or is absent; `None` if it cannot be read.
    fn is_for_clients(&self) -> Option<bool> {
        let purposes = self.0.tbs_certificate().get_extension::<ExtendedKeyUsage>();
        let Some((_, purposes)) = purposes.ok()? else {
            return Some(true);
        };
        let for_clients = [ID_KP_CLIENT_AUTH, ANY_EXTENDED_KEY_USAGE];
        Some(purposes.0.iter().any(|one| for_clients.contains(one)))
    }

    /// Checks a client certificate that is trusted by itself: validity and purpose at `now`. rustls does not check it.
    pub(super) fn check_as_client(&self, now: Duration) -> Result<(), CertificateError> {
        let (begin, end) = self.period();
        if now < begin {
            return Err(CertificateError::NotValidYet);
        }
        if now > end {
            return Err(CertificateError::Expired);
        }
        match self.is_for_clients() {
            Some(true) => Ok(()),
            Some(false) => Err(CertificateError::InvalidPurpose),
            None => Err(CertificateError::BadEncoding),
        }
    }

    /// Its subject alternative names (RFC 5280 §4.2.1.6) of the kinds DNS, e-mail, URI and IP address, as text. `None`
    /// if any of them cannot be read: a partly readable list may be meant to mislead.
    pub(super) fn names(&self) -> Option<Vec<String>> {
        let extensions = self.0.tbs_certificate().extensions();
        let mut named = extensions
            .into_iter()
            .flatten()
            .filter(|extension| extension.extn_id == SubjectAltName::OID);
        let Some(extension) = named.next() else {
            return Some(Vec::new());
        };
        if named.next().is_some() {
            return None;
        }
        // Not as `SubjectAltName`: it supports fewer kinds and would fail on the others.
        let all = Vec::<AnyRef<'_>>::from_der(extension.extn_value.as_bytes()).ok()?;
        let mut texts = Vec::new();
        for one in all {
            let Tag::ContextSpecific { number, .. } = x509_cert::der::Tagged::tag(&one) else {
                return None;
            };
            match number.value() {
                1 | 2 | 6 => texts.push(ascii(one.value())?),
                7 => texts.push(address(one.value())?),
                _ => {}
            }
        }
        Some(texts)
    }
}

/// An `IA5String`.
fn ascii(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    text.is_ascii().then(|| text.to_owned())
}

/// An `iPAddress`: four bytes or sixteen.
fn address(bytes: &[u8]) -> Option<String> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let address = v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
    address.ok().map(canonical)
}

/// The canonical text of an address: IPv4 mapped to IPv6 is written as IPv4.
fn canonical(address: IpAddr) -> String {
    address.to_canonical().to_string()
}

/// A name to compare with [`Certificate::names`]: an address gets the same canonical text.
pub(super) fn comparable(name: &str) -> String {
    name.parse().map_or_else(|_| name.to_owned(), canonical)
}
