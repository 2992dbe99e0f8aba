//! The settings of the web configuration file: typed values, with the referenced files read in.
//!
//! Must not know how they are parsed, or what is done with them. Types that hold a hash or a key have no `Debug`, so
//! that they cannot be logged.

use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) struct WebConfig {
    /// `tls_server_config`; `None` means plain HTTP.
    pub(crate) tls: Option<TlsSettings>,
    /// `http_server_config.headers`, added to responses; blank ones are left out.
    pub(crate) headers: Vec<(String, String)>,
    /// `basic_auth_users`: bcrypt hashes by user. If empty, no authentication is required.
    pub(crate) users: BTreeMap<String, String>,
    /// `rate_limit`; `None` means no limit.
    pub(crate) rate: Option<RateLimit>,
}

/// `rate_limit`: one request per `interval` on average, `burst` at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RateLimit {
    /// Never zero.
    pub(crate) interval: Duration,
    /// May be 0: then every request is rejected, as in the exporter-toolkit.
    pub(crate) burst: u64,
}

/// `tls_server_config`.
#[cfg_attr(
    all(not(feature = "tls"), not(test)),
    expect(dead_code, reason = "a build without TLS reads them and refuses them")
)]
pub(crate) struct TlsSettings {
    pub(crate) cert: Pem,
    pub(crate) key: Pem,
    pub(crate) client_ca: Option<Pem>,
    pub(crate) client_auth: ClientAuth,
    /// The client's certificate must have one of these names; `None` allows any. Never an empty list.
    pub(crate) client_allowed_sans: Option<Vec<String>>,
    pub(crate) min_version: TlsVersion,
    pub(crate) max_version: TlsVersion,
    /// The exporter-toolkit's names; `None` means all.
    pub(crate) cipher_suites: Option<Vec<&'static str>>,
    /// The exporter-toolkit's names; `None` means all.
    pub(crate) curve_preferences: Option<Vec<&'static str>>,
    /// Whether the server's order of cipher suites wins over the client's.
    pub(crate) prefer_server_cipher_suites: bool,
}

/// PEM text and its source.
#[cfg_attr(
    all(not(feature = "tls"), not(test)),
    expect(dead_code, reason = "a build without TLS reads it and refuses it")
)]
pub(crate) struct Pem {
    /// The key in the configuration, plus the file if it is not inline. Errors about it begin with this.
    pub(crate) place: String,
    pub(crate) bytes: Vec<u8>,
}

/// `client_auth_type`: the values of Go's `tls.ClientAuthType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientAuth {
    /// No certificate is requested.
    None,
    /// A certificate is requested, but neither required nor verified.
    Request,
    /// A certificate is required, but not verified.
    RequireAny,
    /// A certificate is verified if the client sends one.
    VerifyIfGiven,
    /// A certificate is required and verified.
    RequireAndVerify,
}

impl ClientAuth {
    /// Whether the client must send a certificate.
    pub(crate) fn is_required(self) -> bool {
        matches!(self, Self::RequireAny | Self::RequireAndVerify)
    }

    /// Whether a certificate must be trusted if the client sends one.
    pub(crate) fn is_verified(self) -> bool {
        matches!(self, Self::VerifyIfGiven | Self::RequireAndVerify)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TlsVersion {
    /// This and the next one are accepted only as `min_version`; they are never used.
    Tls10,
    Tls11,
    Tls12,
    Tls13,
}
