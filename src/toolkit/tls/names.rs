//! The configuration's names of versions, cipher suites and curves, which are Go's, and their counterparts in rustls.
//!
//! Must not know certificates. Go uses IANA's names for cipher suites. rustls leaves out those with CBC on purpose, and
//! ring lacks the curve P-521.

use rustls::crypto::{CryptoProvider, SupportedKxGroup, ring};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion};

use crate::toolkit::config::settings::{TlsSettings, TlsVersion};
use crate::toolkit::tls::settings_error::SettingsError;

/// The TLS versions that the settings allow and rustls supports. An older `min_version` is met by TLS 1.2, but gives a
/// warning: the operator may have clients that support nothing newer.
pub(super) fn versions(
    settings: &TlsSettings,
    warnings: &mut Vec<String>,
) -> Vec<&'static SupportedProtocolVersion> {
    if settings.min_version < TlsVersion::Tls12 {
        warnings.push(
            "tls_server_config.min_version: TLS 1.0 and 1.1 are not supported, TLS 1.2 is the oldest version"
                .to_owned(),
        );
    }
    let allowed = settings.min_version..=settings.max_version;
    let all = [
        (TlsVersion::Tls12, &rustls::version::TLS12),
        (TlsVersion::Tls13, &rustls::version::TLS13),
    ];
    let spoken = all.iter().filter(|(version, _)| allowed.contains(version));
    spoken.map(|(_, version)| *version).collect()
}

/// ring's cryptography, restricted by the settings. Names that rustls does not support are ignored with a warning, as
/// long as something remains.
///
/// The process-wide default provider is neither used nor set: it would be a static.
pub(super) fn provider(
    settings: &TlsSettings,
    warnings: &mut Vec<String>,
) -> Result<CryptoProvider, SettingsError> {
    let mut provider = ring::default_provider();
    if let Some(names) = &settings.cipher_suites {
        let all = &provider.cipher_suites;
        let key = "cipher_suites";
        let named = known(key, names, |name| suite(all, name), warnings)?;
        // As in Go, the cipher suites of TLS 1.3 cannot be chosen; the list applies to TLS 1.2.
        let fixed = all.iter().copied().filter(is_tls13);
        let chosen = named.into_iter().filter(|suite| !is_tls13(suite));
        provider.cipher_suites = fixed.chain(chosen).collect();
    }
    if let Some(names) = &settings.curve_preferences {
        provider.kx_groups = known("curve_preferences", names, curve, warnings)?;
    }
    Ok(provider)
}

/// What `find` returns for the names, in their order; never empty.
fn known<T>(
    key: &'static str,
    names: &[&'static str],
    find: impl Fn(&str) -> Option<T>,
    warnings: &mut Vec<String>,
) -> Result<Vec<T>, SettingsError> {
    let (mut found, mut lacking) = (Vec::new(), Vec::new());
    for name in names {
        match find(name) {
            Some(one) => found.push(one),
            None => lacking.push(*name),
        }
    }
    if found.is_empty() {
        let names = lacking;
        return Err(SettingsError::UnsupportedNames { key, names });
    }
    if !lacking.is_empty() {
        let names = lacking.join(", ");
        warnings.push(format!(
            "tls_server_config.{key} `{names}`: not supported, ignored"
        ));
    }
    Ok(found)
}

fn is_tls13(suite: &SupportedCipherSuite) -> bool {
    suite.tls13().is_some()
}

/// The cipher suite of this name. rustls writes `TLS13_` for those of TLS 1.3.
fn suite(all: &[SupportedCipherSuite], name: &str) -> Option<SupportedCipherSuite> {
    all.iter().copied().find(|suite| {
        let own = suite.suite().as_str().unwrap_or_default();
        match own.strip_prefix("TLS13_") {
            Some(rest) => name.strip_prefix("TLS_") == Some(rest),
            None => name == own,
        }
    })
}

fn curve(name: &str) -> Option<&'static dyn SupportedKxGroup> {
    match name {
        "X25519" => Some(ring::kx_group::X25519),
        "CurveP256" => Some(ring::kx_group::SECP256R1),
        "CurveP384" => Some(ring::kx_group::SECP384R1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::acceptor;
    use super::super::tests::{client, meet, settings};
    use super::*;

    /// What a client that supports everything agrees on, or the reason of the rejection.
    fn agreed(settings: &TlsSettings, versions: &[&'static SupportedProtocolVersion]) -> String {
        let (acceptor, warnings) = acceptor(settings).unwrap();
        assert_eq!(warnings, Vec::<String>::new());
        let met = meet(acceptor, client("", versions, ring::default_provider()));
        met.refusal.map_or_else(
            || met.agreed.replace("Some(", "").replace(')', ""),
            |error| error.to_string(),
        )
    }

    const ONLY_12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
    const ONLY_13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

    #[test]
    fn a_version_out_of_bounds_is_refused() {
        let bounds = |min_version, max_version| TlsSettings {
            min_version,
            max_version,
            ..settings()
        };
        let (old, new) = (TlsVersion::Tls12, TlsVersion::Tls13);
        assert!(agreed(&bounds(old, new), ONLY_12).starts_with("TLSv1_2 "));
        assert!(agreed(&bounds(old, new), ONLY_13).starts_with("TLSv1_3 "));
        assert!(agreed(&bounds(old, new), rustls::ALL_VERSIONS).starts_with("TLSv1_3 "));
        assert!(agreed(&bounds(old, old), rustls::ALL_VERSIONS).starts_with("TLSv1_2 "));
        assert_eq!(
            agreed(&bounds(old, old), ONLY_13),
            "peer is incompatible: Tls12NotOfferedOrEnabled"
        );
        assert_eq!(
            agreed(&bounds(new, new), ONLY_12),
            "peer is incompatible: Tls12NotOfferedOrEnabled"
        );
    }

    #[test]
    fn the_list_of_suites_applies_to_tls_1_2_in_its_order() {
        let with = |names: &[&'static str]| TlsSettings {
            cipher_suites: Some(names.to_vec()),
            ..settings()
        };
        let chacha = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256";
        let aes = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256";
        for names in [[chacha, aes], [aes, chacha]] {
            let first = format!("TLSv1_2 {} ", names[0]);
            assert!(agreed(&with(&names), ONLY_12).starts_with(&first));
        }
        // The client's order counts if the server's does not: rustls' clients begin with AES 256.
        let clients = TlsSettings {
            prefer_server_cipher_suites: false,
            ..with(&[chacha, aes])
        };
        assert!(agreed(&clients, ONLY_12).contains(aes));
        assert!(agreed(&with(&[aes]), ONLY_13).starts_with("TLSv1_3 TLS13_"));
        let only_13 = with(&["TLS_AES_128_GCM_SHA256"]);
        assert!(agreed(&only_13, ONLY_13).starts_with("TLSv1_3 TLS13_"));
        assert_eq!(
            agreed(&only_13, ONLY_12),
            "peer is incompatible: Tls12NotOfferedOrEnabled"
        );
        let none = TlsSettings {
            max_version: TlsVersion::Tls12,
            ..only_13
        };
        assert_eq!(
            acceptor(&none).unwrap_err().text,
            "tls_server_config.cipher_suites: the list has no cipher suite of TLS 1.2, and max_version allows no newer \
             version"
        );
    }

    #[test]
    fn every_suite_of_go_that_is_not_cbc_is_known() {
        let all = ring::default_provider().cipher_suites;
        for name in [
            "TLS_AES_128_GCM_SHA256",
            "TLS_AES_256_GCM_SHA384",
            "TLS_CHACHA20_POLY1305_SHA256",
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
            "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
            "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        ] {
            assert!(suite(&all, name).is_some(), "{name}");
        }
        assert!(suite(&all, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA").is_none());
        assert!(suite(&all, "").is_none());
    }

    #[test]
    fn unsupported_names_are_ignored_as_long_as_something_remains() {
        let cbc = "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA";
        let with = |suites: Option<&[&'static str]>, curves: Option<&[&'static str]>| {
            let settings = TlsSettings {
                cipher_suites: suites.map(<[_]>::to_vec),
                curve_preferences: curves.map(<[_]>::to_vec),
                ..settings()
            };
            acceptor(&settings).map(|(_, warnings)| warnings)
        };
        let suites = [cbc, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"];
        let curves = ["CurveP521", "CurveP384"];
        assert_eq!(
            with(Some(&suites), Some(&curves)).unwrap(),
            [
                format!("tls_server_config.cipher_suites `{cbc}`: not supported, ignored"),
                "tls_server_config.curve_preferences `CurveP521`: not supported, ignored"
                    .to_owned(),
            ]
        );
        let nothing = "not supported, and the list has no other entry";
        assert_eq!(
            with(Some(&[cbc]), None).unwrap_err().text,
            format!("tls_server_config.cipher_suites `{cbc}`: {nothing}")
        );
        assert_eq!(
            with(None, Some(&["CurveP521"])).unwrap_err().text,
            format!("tls_server_config.curve_preferences `CurveP521`: {nothing}")
        );
    }

    #[test]
    fn only_curves_of_the_list_are_used() {
        for (name, group) in [
            ("X25519", "X25519"),
            ("CurveP256", "secp256r1"),
            ("CurveP384", "secp384r1"),
        ] {
            let settings = TlsSettings {
                curve_preferences: Some(vec![name]),
                ..settings()
            };
            for versions in [ONLY_12, ONLY_13] {
                let got = agreed(&settings, versions);
                assert!(got.ends_with(group), "{name}: {got}");
            }
        }
    }
}
