//! The web configuration file of the exporter-toolkit: TLS, users, headers, a rate limit.
//!
//! Owns what the file may say and when it is read; must not know how TLS or a password is done. The format is
//! <https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md>. A text becomes a tree in
//! `yaml`, the tree a [`WebConfig`] in `schema` (with `values` and `headers` for what a key may hold), and `live`
//! keeps one in force; `files` tells when it has to be read again, `protection` what a change must not take away.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

mod downgrade;
mod files;
mod headers;
mod outcome;
pub(crate) mod reloader;
mod schema;
mod values;
mod yaml;

/// Longest piece of the file's own text that an error repeats, in characters.
const SHOWN_LIMIT_CHARS: usize = 200;

/// What a file says, with the files that it names read in.
#[derive(Default)]
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
#[derive(Debug)]
#[cfg_attr(
    not(feature = "tls"),
    expect(dead_code, reason = "a build without TLS reads them and refuses them")
)]
pub(crate) struct TlsSettings {
    /// The certificate chain.
    pub(crate) cert: Pem,
    /// Its private key.
    pub(crate) key: Pem,
    /// The authorities of client certificates.
    pub(crate) client_ca: Option<Pem>,
    /// Whether a client has to show a certificate.
    pub(crate) client_auth: ClientAuth,
    /// One of these names has to be in the client's certificate; none means any. Never an empty list.
    pub(crate) client_allowed_sans: Option<Vec<String>>,
    /// Oldest version that is spoken.
    pub(crate) min_version: TlsVersion,
    /// Newest version that is spoken.
    pub(crate) max_version: TlsVersion,
    /// Names as the exporter-toolkit has them, each known to the exporter-toolkit; none means all.
    pub(crate) cipher_suites: Option<Vec<&'static str>>,
    /// Names as the exporter-toolkit has them, each known to the exporter-toolkit; none means all.
    pub(crate) curve_preferences: Option<Vec<&'static str>>,
    /// The server's order of ciphers counts, not the client's.
    pub(crate) prefer_server_cipher_suites: bool,
}

/// PEM text and where it came from.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Pem {
    /// The key of the file that it stands under, `cert` or `cert_file` for example.
    pub(crate) field: &'static str,
    /// The file, when it is not inline.
    pub(crate) file: Option<PathBuf>,
    /// Its bytes.
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

/// The versions that can be spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TlsVersion {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// Why a configuration cannot be used.
#[derive(Debug)]
struct Fault {
    /// Where in the configuration file, from 1; none when it is not about a place in it.
    line: Option<usize>,
    /// Names the key and the value.
    text: String,
    /// Only the certificate or its key is to blame, so the pair in use may stay.
    is_pair: bool,
}

impl Fault {
    fn at(line: usize, text: String) -> Self {
        Self {
            line: Some(line),
            text,
            is_pair: false,
        }
    }
}

/// How hashes and keys begin that may have come to a wrong place.
const SECRET_MARKS: &[&str] = &["$2", "-----BEGIN"];

/// A piece of the file for an error: on one line, not too long, and without what looks like a secret.
fn shown(text: &str) -> String {
    let marks = SECRET_MARKS.iter().filter_map(|mark| text.find(mark));
    if let Some(open) = marks.min().and_then(|begin| text.get(..begin)) {
        return format!("{}(not shown)", shown(open));
    }
    let mut shown = String::new();
    for c in text.chars().take(SHOWN_LIMIT_CHARS) {
        // Quotes of policies and of the parser's own sentences read better bare.
        if c == '\'' {
            shown.push(c);
        } else {
            shown.extend(c.escape_debug());
        }
    }
    if text.chars().nth(SHOWN_LIMIT_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

impl std::fmt::Debug for WebConfig {
    /// Without the hashes.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebConfig")
            .field("tls", &self.tls)
            .field("headers", &self.headers)
            .field("users", &self.users.keys())
            .field("rate", &self.rate)
            .finish()
    }
}

impl std::fmt::Debug for Pem {
    /// Without the bytes, which may be a private key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pem")
            .field("field", &self.field)
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}
