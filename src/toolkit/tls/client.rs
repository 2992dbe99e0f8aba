//! Client certificates: which clients are admitted.
//!
//! Must not know connections. webpki verifies chains for rustls. The rest is here: checks that Go's TLS does in
//! addition, because the exporter-toolkit's configuration relies on them.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoClientAuth, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};

use crate::toolkit::config::settings::{ClientAuth, Pem, TlsSettings};
use crate::toolkit::tls::certificate::{Certificate, comparable};
use crate::toolkit::tls::pem::certificates;
use crate::toolkit::tls::reasons::Refusal;
use crate::toolkit::tls::settings_error::SettingsError;

/// Longest client chain: some ten certificates. rustls accepts 64 KiB, and keeps them as long as the connection lives.
/// Without this limit any client could fill memory if certificates are not verified.
const CHAIN_LIMIT_BYTES: usize = 16 * 1024;

/// The verifier for these settings.
pub(super) fn verifier(
    settings: &TlsSettings,
    provider: &Arc<CryptoProvider>,
    warnings: &mut Vec<String>,
) -> Result<Arc<dyn ClientCertVerifier>, SettingsError> {
    if settings.client_auth == ClientAuth::None {
        return Ok(Arc::new(NoClientAuth));
    }
    let trusted = Trusted::new(settings.client_ca.as_ref(), provider)?;
    let verifies = settings.client_auth.is_verified();
    if verifies && settings.client_ca.is_none() {
        warnings.push(
            "tls_server_config.client_auth_type: without client_ca every client certificate will be rejected, as \
             the system's authorities are not used"
                .to_owned(),
        );
    }
    if !verifies && settings.client_allowed_sans.is_some() {
        warnings.push(
            "tls_server_config.client_allowed_sans: client_auth_type does not verify certificates, so anyone can \
             make one with an allowed name"
                .to_owned(),
        );
    }
    let allowed = settings.client_allowed_sans.as_ref();
    Ok(Arc::new(Verifier {
        needs: allowed.is_some() || settings.client_auth.is_required(),
        verifies,
        trusted,
        allowed: allowed.map(|names| names.iter().map(|name| comparable(name)).collect()),
    }))
}

/// A verifier that requests a certificate.
#[derive(Debug)]
struct Verifier {
    /// A client without a certificate is rejected.
    needs: bool,
    /// A certificate must be trusted if the client sends one.
    verifies: bool,
    trusted: Trusted,
    /// The allowed names; the certificate must have one of them.
    allowed: Option<Vec<String>>,
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.needs
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.trusted.subjects
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let size: usize = intermediates.iter().map(|one| one.len()).sum();
        if size + end_entity.len() > CHAIN_LIMIT_BYTES {
            return Err(Refusal::LongChain(CHAIN_LIMIT_BYTES).into());
        }
        if self.verifies {
            self.trusted.verify(end_entity, intermediates, now)?;
        }
        if let Some(allowed) = &self.allowed {
            let names = Certificate::read(end_entity)
                .and_then(|certificate| certificate.names())
                .ok_or(CertificateError::BadEncoding)?;
            if !names.iter().any(|name| allowed.contains(name)) {
                return Err(Refusal::Name.into());
            }
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.trusted.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.trusted.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.trusted.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

/// `client_ca`: authorities, and certificates that are trusted themselves.
#[derive(Debug)]
struct Trusted {
    /// All certificates, compared by their bytes.
    listed: Vec<CertificateDer<'static>>,
    /// The subjects of all certificates: a client uses them to choose its own.
    subjects: Vec<DistinguishedName>,
    /// The certificates that may sign others, ordered by path length. Without this filter, the holder of a listed
    /// client certificate could sign further ones: webpki does not check the authorities that it is given.
    authorities: Vec<Authority>,
    provider: Arc<CryptoProvider>,
}

/// A certificate that may sign others. webpki checks only the anchor, so the other limits are kept here.
#[derive(Debug)]
struct Authority {
    anchor: TrustAnchor<'static>,
    /// How many certificates may be between it and the client's.
    length: usize,
    /// Start and end of its validity, since the Unix epoch.
    period: (Duration, Duration),
}

impl Trusted {
    fn new(pem: Option<&Pem>, provider: &Arc<CryptoProvider>) -> Result<Self, SettingsError> {
        let listed = pem.map_or(Ok(Vec::new()), certificates)?;
        let mut all = RootCertStore::empty();
        let mut authorities = Vec::new();
        for (der, number) in listed.iter().zip(1..) {
            let unusable = |error| SettingsError::UnusableAuthority {
                place: pem.map_or_else(String::new, |pem| pem.place.clone()),
                number,
                error,
            };
            all.add(der.clone())
                .map_err(|error| unusable(Some(error)))?;
            let certificate = Certificate::read(der).ok_or_else(|| unusable(None))?;
            if let Some(anchor) = all.roots.last()
                && let Some(length) = certificate.may_sign()
            {
                // Ordered by path length.
                let at = authorities.partition_point(|other: &Authority| other.length <= length);
                let authority = Authority {
                    anchor: anchor.clone(),
                    length,
                    period: certificate.period(),
                };
                authorities.insert(at, authority);
            }
        }
        Ok(Self {
            subjects: all.subjects(),
            listed,
            authorities,
            provider: Arc::clone(provider),
        })
    }

    /// Verifies that the certificate is trusted at `now`.
    fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let since_epoch = Duration::from_secs(now.as_secs());
        // First, because webpki rejects an authority as a client certificate, which self-signed ones often are.
        if self.listed.iter().any(|one| one == end_entity) {
            let certificate = Certificate::read(end_entity).ok_or(CertificateError::BadEncoding)?;
            return Ok(certificate.check_as_client(since_epoch)?);
        }
        let is_valid = |one: &&Authority| (one.period.0..=one.period.1).contains(&since_epoch);
        let valid: Vec<&Authority> = self.authorities.iter().filter(is_valid).collect();
        if valid.is_empty() && !self.authorities.is_empty() {
            return Err(Refusal::Authorities.into());
        }
        let unknown = Error::from(CertificateError::UnknownIssuer);
        let mut reason = unknown.clone();
        for same in valid.chunk_by(|one, next| one.length == next.length) {
            // In an ordered chain (RFC 5246 §7.4.2) these are the usable certificates. In an unordered chain, or one
            // with extra certificates, they may be the wrong ones: the client is then rejected, never admitted by
            // mistake.
            let length = same.first().map_or(0, |one| one.length);
            let nearest = intermediates.get(..length).unwrap_or(intermediates);
            let chains = chains(same, &self.provider)?;
            match chains.verify_client_cert(end_entity, nearest, now) {
                Ok(_) => return Ok(()),
                // If these authorities did not sign it, another group may have.
                Err(error) if error == unknown => {}
                Err(error) => reason = error,
            }
        }
        Err(reason)
    }
}

/// A chain verifier for these authorities, for client authentication. It has no revocation lists, for which the
/// configuration has no setting. (Refused: a cached verifier. Making one takes 2 µs with five authorities and 0.2 ms
/// with 150, and a cached one must be remade when an authority expires.)
fn chains(
    authorities: &[&Authority],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, Error> {
    let anchors = authorities.iter().map(|one| one.anchor.clone());
    let roots = Arc::new(anchors.collect::<RootCertStore>());
    WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider))
        .build()
        .map_err(|error| Error::General(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::pki_types::UnixTime;
    use rustls::time_provider::TimeProvider;

    use super::*;
    use crate::toolkit::tls::acceptor;
    use crate::toolkit::tls::tests::{client, file, meet, outcome, pem, settings};

    const KINDS: [ClientAuth; 5] = [
        ClientAuth::None,
        ClientAuth::Request,
        ClientAuth::RequireAny,
        ClientAuth::VerifyIfGiven,
        ClientAuth::RequireAndVerify,
    ];

    /// Settings with the files `NAME.pem` of `ca` as authorities.
    fn asking(kind: ClientAuth, ca: &str) -> TlsSettings {
        let bytes: Vec<u8> = ca
            .split_whitespace()
            .flat_map(|name| file(&format!("{name}.pem")))
            .collect();
        TlsSettings {
            client_auth: kind,
            client_ca: (kind != ClientAuth::None && !ca.is_empty())
                .then(|| pem("client_ca", bytes)),
            ..settings()
        }
    }

    fn outcomes(shown: &str) -> [String; 5] {
        KINDS.map(|kind| outcome(&asking(kind, "ca self"), shown))
    }

    const NONE_SHOWN: &str = "the client sent no certificate";
    const UNKNOWN: &str = "client certificate: it was not signed by an authority of client_ca, or its chain is too \
                           long or incomplete";

    #[test]
    fn a_client_without_a_certificate_is_admitted_unless_one_is_required() {
        assert_eq!(outcomes(""), ["in", "in", NONE_SHOWN, "in", NONE_SHOWN]);
    }

    #[test]
    fn a_client_with_a_good_certificate_is_admitted() {
        assert_eq!(outcomes("client"), ["in"; 5]);
        assert_eq!(outcomes("below middle"), ["in"; 5]);
    }

    #[test]
    fn a_client_of_an_unknown_authority_is_admitted_without_verification() {
        let refused = ["in", "in", "in", UNKNOWN, UNKNOWN];
        assert_eq!(outcomes("unknown"), refused);
        assert_eq!(outcomes("below"), refused);
    }

    #[test]
    fn a_certificate_for_servers_is_not_one_for_clients() {
        let got = outcomes("for-servers");
        assert_eq!(got[..3], ["in", "in", "in"]);
        for refusal in &got[3..] {
            assert!(refusal.contains("lacks clientAuth"), "{refusal}");
        }
    }

    #[test]
    fn a_listed_certificate_is_trusted_itself_even_if_it_is_an_authority() {
        assert_eq!(outcomes("self"), ["in"; 5]);
        assert_eq!(
            outcome(&asking(ClientAuth::RequireAndVerify, "ca"), "self"),
            "client certificate: it has CA:TRUE, which is only for authorities"
        );
        let require = |shown| outcome(&asking(ClientAuth::RequireAndVerify, shown), shown);
        assert_eq!(require("self-any"), "in");
        assert_eq!(
            require("self-for-servers"),
            "client certificate: it or a certificate in its chain lacks clientAuth in its extended key usage"
        );
        // An unknown critical extension may forbid anything: webpki rejects it when it verifies the signature of the
        // handshake.
        let refusal = require("self-critical");
        assert!(refusal.contains("critical extension"), "{refusal}");
    }

    #[test]
    fn a_listed_certificate_that_may_not_sign_makes_no_others_trusted() {
        let settings = asking(ClientAuth::RequireAndVerify, "self-any");
        assert_eq!(outcome(&settings, "self-any"), "in");
        assert_eq!(outcome(&settings, "forged"), UNKNOWN);
        assert_eq!(outcome(&settings, "forged self-any"), UNKNOWN);
    }

    #[test]
    fn an_authority_reaches_as_far_as_its_path_length() {
        let with = |ca, shown| outcome(&asking(ClientAuth::RequireAndVerify, ca), shown);
        for (ca, shown, outcome) in [
            ("ca-0", "leaf-0-0", "in"),
            ("ca-0", "leaf-0-0 ca-0", "in"),
            ("ca-0", "leaf-0-1 middle-0-1", UNKNOWN),
            ("ca-0", "leaf-0-1 middle-0-1 ca-0", UNKNOWN),
            ("ca-0", "leaf-0-1 ca-0 middle-0-1", UNKNOWN),
            ("ca-1", "leaf-1-0", "in"),
            ("ca-1", "leaf-1-1 middle-1-1", "in"),
            ("ca-1", "leaf-1-1 middle-1-1 ca-1", "in"),
            ("ca-1", "leaf-1-2 middle-1-2 middle-1-1", UNKNOWN),
            ("ca-1", "leaf-1-2 middle-1-1 middle-1-2", UNKNOWN),
            // The middle certificate is an authority itself if it is listed, and has no limit.
            ("ca-0 middle-0-1", "leaf-0-1", "in"),
            // Several limits together, and none.
            ("ca-0 ca-1 ca", "leaf-1-1 middle-1-1", "in"),
            ("ca-0 ca-1 ca", "leaf-0-0", "in"),
            ("ca-0 ca-1 ca", "below middle", "in"),
            ("ca-0 ca-1 ca", "leaf-0-1 middle-0-1", UNKNOWN),
            ("ca-0 ca-1 ca", "unknown", UNKNOWN),
        ] {
            assert_eq!(with(ca, shown), outcome, "{ca}: {shown}");
        }
    }

    #[test]
    fn an_authority_for_servers_makes_no_client_trusted() {
        let with = |ca, shown| outcome(&asking(ClientAuth::RequireAndVerify, ca), shown);
        assert_eq!(with("ca-for-clients", "below-for-clients"), "in");
        assert_eq!(with("ca-for-servers", "below-for-servers"), UNKNOWN);
        assert_eq!(with("ca-for-servers ca", "below-for-servers"), UNKNOWN);
        let refusal = with("ca-for-servers ca", "for-servers");
        assert!(refusal.contains("lacks clientAuth"), "{refusal}");
    }

    #[test]
    fn what_webpki_cannot_read_is_refused_with_its_reason() {
        for kind in &KINDS[1..] {
            assert_eq!(
                outcome(&asking(*kind, "ca"), "v1"),
                "client certificate: it has X.509 version 1: sign it with at least one extension",
                "{kind:?}"
            );
        }
        let refusal = outcome(
            &asking(ClientAuth::RequireAndVerify, "ca-p521"),
            "below-p521",
        );
        assert!(refusal.contains("ECDSA on P-256 or P-384"), "{refusal}");
        assert!(refusal.len() < 300, "{refusal}");
    }

    /// A clock that is off by this many years.
    #[derive(Debug)]
    struct Years(i64);

    impl TimeProvider for Years {
        fn current_time(&self) -> Option<UnixTime> {
            let shifted = UnixTime::now()
                .as_secs()
                .checked_add_signed(self.0 * 365 * 86_400);
            Some(UnixTime::since_unix_epoch(Duration::from_secs(shifted?)))
        }
    }

    #[test]
    fn a_certificate_is_valid_in_its_period_only() {
        let at = |years, ca: &str, shown: &str| {
            let (config, _) = acceptor(&asking(ClientAuth::RequireAndVerify, ca)).unwrap();
            let mut config = (*config).clone();
            config.time_provider = Arc::new(Years(years));
            let provider = rustls::crypto::ring::default_provider();
            let client = client(shown, rustls::ALL_VERSIONS, provider);
            meet(Arc::new(config), client)
                .refusal
                .map_or_else(|| "in".to_owned(), |error| error.to_string())
        };
        for ca in ["ca", "self ca"] {
            assert_eq!(at(0, ca, "client"), "in");
            assert_eq!(
                at(1, ca, "client"),
                "client certificate: every authority of client_ca has expired or is not valid yet"
            );
        }
        assert_eq!(at(0, "self", "self"), "in");
        assert_eq!(
            at(1, "self", "self"),
            "client certificate: it or a certificate in its chain has expired"
        );
        assert_eq!(
            at(-1, "self", "self"),
            "client certificate: it or a certificate in its chain is not valid yet"
        );
    }

    #[test]
    fn an_expired_authority_does_not_affect_the_others() {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let pem = pem("client_ca", [file("ca.pem"), file("other.pem")].concat());
        let mut trusted = Trusted::new(Some(&pem), &provider).unwrap();
        let der = |name: &str| {
            let pem = crate::toolkit::tls::tests::pem("", file(&format!("{name}.pem")));
            certificates(&pem).unwrap().remove(0)
        };
        let mut verify = |expired: Option<usize>, name| {
            for (index, authority) in trusted.authorities.iter_mut().enumerate() {
                let last = if expired == Some(index) {
                    Duration::ZERO
                } else {
                    Duration::MAX
                };
                authority.period = (Duration::ZERO, last);
            }
            trusted.verify(&der(name), &[], UnixTime::now())
        };
        assert_eq!(verify(None, "client"), Ok(()));
        assert_eq!(verify(Some(1), "client"), Ok(()));
        assert_eq!(
            verify(Some(0), "client"),
            Err(CertificateError::UnknownIssuer.into())
        );
        assert_eq!(verify(Some(0), "unknown"), Ok(()));
    }

    #[test]
    fn one_of_the_names_has_to_be_allowed() {
        const NOT: &str = "client certificate: none of its names is in client_allowed_sans";
        let with = |kind, names: &[&str], shown| {
            let settings = TlsSettings {
                client_allowed_sans: Some(names.iter().map(ToString::to_string).collect()),
                ..asking(kind, "ca self")
            };
            outcome(&settings, shown)
        };
        let verify = |names: &[&str], shown| with(ClientAuth::RequireAndVerify, names, shown);
        for name in [
            "client.example",
            "192.0.2.7",
            "2001:db8::7",
            "2001:DB8:0::7",
            "a@example.org",
            "spiffe://example/one",
        ] {
            assert_eq!(verify(&["nobody", name], "client"), "in", "{name}");
        }
        for name in [
            "",
            "CLIENT.example",
            "*.example",
            "client",
            "192.0.2.70",
            "name",
            "1.2.3.4",
            "x",
        ] {
            assert_eq!(verify(&[name], "client"), NOT, "{name}");
        }
        assert_eq!(verify(&["one", "test3", "two"], "self"), "in");
        assert_eq!(verify(&["bad"], "self"), NOT);
        assert_eq!(verify(&["nameless", ""], "nameless"), NOT);
        // The name alone is not enough if certificates are verified.
        assert_eq!(verify(&["client.example"], "unknown"), UNKNOWN);
        for kind in &KINDS[1..] {
            assert_eq!(with(*kind, &["client.example"], ""), NONE_SHOWN, "{kind:?}");
            assert_eq!(with(*kind, &["client.example"], "client"), "in", "{kind:?}");
            assert_eq!(with(*kind, &["bad"], "client"), NOT, "{kind:?}");
        }
    }

    #[test]
    fn without_authorities_no_client_is_verified() {
        for (kind, nobody) in [
            (ClientAuth::VerifyIfGiven, "in"),
            (ClientAuth::RequireAndVerify, NONE_SHOWN),
        ] {
            let settings = asking(kind, "");
            let (_, warnings) = acceptor(&settings).unwrap();
            assert!(
                warnings
                    .concat()
                    .contains("every client certificate will be rejected")
            );
            assert_eq!(outcome(&settings, "client"), UNKNOWN);
            assert_eq!(outcome(&settings, ""), nobody);
        }
        let (_, warnings) = acceptor(&asking(ClientAuth::RequireAny, "")).unwrap();
        assert_eq!(warnings, Vec::<String>::new());
    }

    #[test]
    fn settings_that_verify_no_client_by_mistake_give_an_error_or_a_warning() {
        let refusal = |settings: &TlsSettings| acceptor(settings).unwrap_err().text;
        let base = || asking(ClientAuth::RequireAndVerify, "");
        for (bytes, end) in [
            (Vec::new(), "it contains no certificate"),
            (file("ca.key"), "it contains no certificate"),
            (
                b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec(),
                "certificate 1: it cannot be read",
            ),
            (
                b"-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n".to_vec(),
                "damaged PEM",
            ),
        ] {
            let settings = TlsSettings {
                client_ca: Some(pem("client_ca_file", bytes)),
                ..base()
            };
            assert_eq!(
                refusal(&settings),
                format!("tls_server_config.client_ca_file: {end}")
            );
        }
        let unverified = TlsSettings {
            client_allowed_sans: Some(vec!["a".into()]),
            client_auth: ClientAuth::RequireAny,
            ..settings()
        };
        let (_, warnings) = acceptor(&unverified).unwrap();
        assert!(
            warnings.concat().contains("anyone can make one"),
            "{warnings:?}"
        );
    }

    #[test]
    fn a_chain_that_is_too_long_is_refused_before_it_is_parsed() {
        let shown = ["client"; 60].join(" ");
        let refusal = "client certificate: its chain is longer than 16384 bytes";
        assert_eq!(outcome(&asking(ClientAuth::Request, ""), &shown), refusal);
    }
}
