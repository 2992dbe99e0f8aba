//! What the web configuration file says, with every value of the right type and the files that it names read in.
//!
//! Must not know how a text becomes settings, or what is done with them. What holds a hash or a key has no `Debug`, so
//! that no log can have it.

use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) struct WebConfig {
    /// `tls_server_config`; none means plain HTTP.
    pub(crate) tls: Option<TlsSettings>,
    /// `http_server_config.headers`, to put on answers; blank ones are left out.
    pub(crate) headers: Vec<(String, String)>,
    /// `basic_auth_users`: bcrypt hashes by user; empty means that nobody is asked.
    pub(crate) users: BTreeMap<String, String>,
    /// `rate_limit`; none means no limit.
    pub(crate) rate: Option<RateLimit>,
}

/// `rate_limit`: one request in `interval` on average, `burst` at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RateLimit {
    /// Never zero.
    pub(crate) interval: Duration,
    /// May be 0: then no request is let through, as the exporter-toolkit has it.
    pub(crate) burst: u64,
}

/// `tls_server_config`.
#[cfg_attr(
    not(feature = "tls"),
    expect(dead_code, reason = "a build without TLS reads them and refuses them")
)]
pub(crate) struct TlsSettings {
    pub(crate) cert: Pem,
    pub(crate) key: Pem,
    pub(crate) client_ca: Option<Pem>,
    pub(crate) client_auth: ClientAuth,
    /// One of these names has to be in the client's certificate; none means any. Never an empty list.
    pub(crate) client_allowed_sans: Option<Vec<String>>,
    pub(crate) min_version: TlsVersion,
    pub(crate) max_version: TlsVersion,
    /// Names as the exporter-toolkit has them; none means all.
    pub(crate) cipher_suites: Option<Vec<&'static str>>,
    /// Names as the exporter-toolkit has them; none means all.
    pub(crate) curve_preferences: Option<Vec<&'static str>>,
    /// The server's order of ciphers counts, not the client's.
    pub(crate) prefer_server_cipher_suites: bool,
}

/// PEM text and where it came from.
#[cfg_attr(
    not(feature = "tls"),
    expect(dead_code, reason = "a build without TLS reads it and refuses it")
)]
pub(crate) struct Pem {
    /// The key that it stands under, and the file when it is not inline: as every error about it begins.
    pub(crate) place: String,
    pub(crate) bytes: Vec<u8>,
}

/// `client_auth_type`, which are Go's `tls.ClientAuthType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientAuth {
    /// No certificate is asked for.
    None,
    /// One is asked for, and neither needed nor verified.
    Request,
    /// One is needed, and not verified.
    RequireAny,
    /// One that is shown is verified.
    VerifyIfGiven,
    /// One is needed and verified.
    RequireAndVerify,
}

impl ClientAuth {
    /// Whether a client has to show a certificate.
    pub(crate) fn is_required(self) -> bool {
        matches!(self, Self::RequireAny | Self::RequireAndVerify)
    }

    /// Whether one that is shown has to be trusted.
    pub(crate) fn is_verified(self) -> bool {
        matches!(self, Self::VerifyIfGiven | Self::RequireAndVerify)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TlsVersion {
    /// It and the next one are a `min_version` only: nobody speaks them here.
    Tls10,
    Tls11,
    Tls12,
    Tls13,
}
