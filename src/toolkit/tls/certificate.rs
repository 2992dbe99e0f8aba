//! What a certificate says of itself (RFC 5280): names, period, purposes, whether it may sign others.
//!
//! Owns the crate `x509-cert`; must not know connections or settings. Judged as Go does, since the exporter-toolkit
//! is the model, where rustls does not judge itself.

use std::net::IpAddr;
use std::time::Duration;

use rustls::CertificateError;
use x509_cert::der::asn1::AnyRef;
use x509_cert::der::oid::AssociatedOid as _;
use x509_cert::der::oid::db::rfc5280::{ANY_EXTENDED_KEY_USAGE, ID_KP_CLIENT_AUTH};
use x509_cert::der::{Decode as _, Encode as _, Tag};
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName};

/// A certificate that could be read.
pub(super) struct Certificate(x509_cert::Certificate);

impl Certificate {
    /// Reads DER; none when it is not a certificate.
    pub(super) fn read(der: &[u8]) -> Option<Self> {
        x509_cert::Certificate::from_der(der).ok().map(Self)
    }

    /// The period in which it is valid, both ends of it, since the Unix epoch.
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

    /// Whether clients' certificates can be signed with it (RFC 5280 §4.2.1.3, §4.2.1.9 and §4.2.1.12): how many
    /// certificates may stand between it and the client's (the largest number is no limit), or none when it may not
    /// sign. Version 1 had no word for that, and such an authority counts, as in Go.
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

    /// Whether its extended key usage, if it has one, allows for clients; none when that cannot be read.
    fn is_for_clients(&self) -> Option<bool> {
        let purposes = self.0.tbs_certificate().get_extension::<ExtendedKeyUsage>();
        let Some((_, purposes)) = purposes.ok()? else {
            return Some(true);
        };
        let for_clients = [ID_KP_CLIENT_AUTH, ANY_EXTENDED_KEY_USAGE];
        Some(purposes.0.iter().any(|one| for_clients.contains(one)))
    }

    /// Whether a client that shows it can be let in at `now`, by what it says of itself: for a certificate that is
    /// trusted by name, of which rustls asks nothing.
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

    /// Its subject's alternative names (RFC 5280 §4.2.1.6) of the kinds DNS, e-mail, URI and address, as text; none
    /// when they cannot be read, of which part may then be meant to mislead.
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
        // Not as `SubjectAltName`, which can read fewer kinds than there are and would fail on the others.
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

/// One way to write each address: IPv4 within IPv6 as IPv4.
fn canonical(address: IpAddr) -> String {
    address.to_canonical().to_string()
}

/// A name to compare with [`Certificate::names`]: when it is an address, as those are written.
pub(super) fn comparable(name: &str) -> String {
    name.parse().map_or_else(|_| name.to_owned(), canonical)
}
