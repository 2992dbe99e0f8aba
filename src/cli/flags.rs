//! The table of flags, and the settings that they fill.
//!
//! Owns flags and their texts. Must not know how a value is used, or how a command line is split. To add a flag, add a
//! row here and a field in the configuration of the ring that needs it.

use std::path::PathBuf;
use std::time::Duration;

use crate::health::Url;
use crate::http::HttpConfig;
use crate::http::listen::Address;
use crate::iperf3::credentials::Credentials;
use crate::log::{Format, Level, LogConfig};
use crate::probe::allow::Rule;
use crate::probe::prober::ProbeConfig;
use crate::{duration, number};

/// Every setting, typed and within its limits, grouped by ring. The values of `Default` are replaced by the defaults in
/// the rows.
#[derive(Debug, Default)]
pub(crate) struct Config {
    pub(crate) http: HttpConfig,
    /// The web configuration file (exporter-toolkit format).
    pub(crate) web_file: Option<PathBuf>,
    /// Path of the exporter's own metrics.
    pub(crate) telemetry_path: String,
    pub(crate) probe_path: String,
    pub(crate) probe: ProbeConfig,
    /// The values of the flags for iperf3's authentication.
    pub(super) credentials: Credentials,
    pub(crate) log: LogConfig,
    /// Print this text to standard output and exit.
    pub(crate) print: Option<String>,
    /// Check everything that a start needs, and exit.
    pub(crate) check: bool,
    /// Ask this exporter whether it is healthy, and exit.
    pub(crate) health: Option<Url>,
}

#[derive(Debug)]
pub(crate) struct Flag {
    /// Its name and its aliases, without dashes.
    pub(crate) names: &'static [&'static str],
    /// The placeholder of the value in `--help` (`PATH` for a page's path, `FILE` for a file). `None` for a switch: its
    /// row gets `true`, or `false` for `--no-…`.
    pub(crate) value: Option<&'static str>,
    /// The value if the flag is not given; parsed like any other.
    pub(crate) default: Option<&'static str>,
    pub(crate) repeatable: bool,
    /// What it does, in short sentences.
    pub(crate) help: &'static str,
    /// Which values are allowed, as the end of "want …". Shells complete a plain list of words.
    pub(crate) allowed: &'static str,
    /// Stores a value in the configuration; `None` if it is not allowed.
    pub(super) set: fn(&mut Config, &str) -> Option<()>,
}

/// In the order of `--help`.
pub(crate) const FLAGS: &[Flag] = &[
    Flag {
        names: &["web.listen-address"],
        value: Some("ADDRESS"),
        default: Some(":9579"),
        repeatable: true,
        help: "Address to listen on: :PORT (IPv6 and IPv4), HOST:PORT or [IPV6]:PORT.",
        allowed: ":PORT, HOST:PORT or [IPV6]:PORT with a port from 0 (any free one) to 65535",
        set: |config, text| Some(config.http.listen.push(Address::parse(text)?)),
    },
    Flag {
        names: &["web.telemetry-path"],
        value: Some("PATH"),
        default: Some("/metrics"),
        repeatable: false,
        help: "Path of the exporter's own metrics.",
        allowed: PATH_ALLOWED,
        set: |config, text| Some(config.telemetry_path = path(text)?),
    },
    Flag {
        names: &["web.probe-path"],
        value: Some("PATH"),
        default: Some("/probe"),
        repeatable: false,
        help: "Path of the probe endpoint.",
        allowed: PATH_ALLOWED,
        set: |config, text| Some(config.probe_path = path(text)?),
    },
    Flag {
        names: &["web.config.file"],
        value: Some("FILE"),
        default: None,
        repeatable: false,
        help: "Web configuration file of the exporter-toolkit: TLS, users, headers, rate limit. Reloaded when it \
               changes. Only HTTP/1.1 is served; http2 is ignored.",
        allowed: "a file path",
        set: |config, text| {
            // Empty is the exporter-toolkit's default, and means no file.
            Some(config.web_file = (!text.is_empty()).then(|| PathBuf::from(text)))
        },
    },
    Flag {
        names: &["web.systemd-socket"],
        value: None,
        default: Some("false"),
        repeatable: false,
        help: "Use the sockets that systemd passes instead of --web.listen-address.",
        allowed: "no value",
        set: |config, text| Some(config.http.systemd_socket = text.parse().ok()?),
    },
    Flag {
        names: &["web.max-connections"],
        value: Some("COUNT"),
        default: Some("256"),
        repeatable: false,
        help: "Maximum simultaneous connections. Above it the longest-idle connection is closed.",
        allowed: "a whole number from 1 to 10000",
        set: |config, text| Some(config.http.max_connections = number::within(text, 1..=10_000)?),
    },
    Flag {
        names: &["iperf3.path", "iperf3-path"],
        value: Some("FILE"),
        default: Some("iperf3"),
        repeatable: false,
        help: "The iperf3 binary. A name without a slash is looked up on PATH.",
        allowed: "a file name or path",
        set: |config, text| {
            let fits = !text.is_empty() && !text.contains('\0');
            fits.then(|| text.clone_into(&mut config.probe.iperf3_path))
        },
    },
    Flag {
        names: &["iperf3.timeout"],
        value: Some("DURATION"),
        default: None,
        repeatable: false,
        help: "Maximum duration of one run of iperf3. By default, or with 0, it is the scrape timeout, or 30s \
               without one. With max_age it is the test's length plus 15s.",
        allowed: "a duration up to 25h, such as 30s or 1m30s, or 0 for the default",
        set: |config, text| {
            let limit = bounded(text, 25)?;
            // Zero is the default of edgard's exporter.
            Some(config.probe.iperf3_timeout = (!limit.is_zero()).then_some(limit))
        },
    },
    Flag {
        names: &["iperf3.username"],
        value: Some("NAME"),
        default: None,
        repeatable: false,
        help: "User name for servers that require authentication. It also needs a public key and a password.",
        allowed: "1 to 128 characters, no control characters, no leading dash",
        set: |config, text| {
            let is_text = !text.starts_with('-') && !text.contains(char::is_control);
            let fits = is_text && (1..=128).contains(&text.len());
            fits.then(|| text.clone_into(&mut config.credentials.username))
        },
    },
    Flag {
        names: &["iperf3.rsa-public-key-path"],
        value: Some("FILE"),
        default: None,
        repeatable: false,
        help: "The server's public key in PEM form. iperf3 encrypts user name and password with it.",
        allowed: FILE_ALLOWED,
        set: |config, text| Some(config.credentials.key = file(text)?),
    },
    Flag {
        names: &["iperf3.password-file"],
        value: Some("FILE"),
        default: None,
        repeatable: false,
        help: "File with the password in its first line, read for each test. Without the flag, the systemd \
               credential iperf3-password is used.",
        allowed: FILE_ALLOWED,
        set: |config, text| Some(config.credentials.password_file = file(text)?),
    },
    Flag {
        names: &["iperf3.use-pkcs1-padding"],
        value: None,
        default: Some("false"),
        repeatable: false,
        help: "Encrypt with the old padding, which servers before iperf3 3.17 need.",
        allowed: "no value",
        set: |config, text| Some(config.credentials.use_pkcs1 = text.parse().ok()?),
    },
    Flag {
        names: &["lock.timeout"],
        value: Some("DURATION"),
        default: Some("80s"),
        repeatable: false,
        help: "Maximum wait for the test lock. One test runs at a time, the others queue.",
        allowed: "a duration from 0 to 24h, such as 80s or 1m30s",
        set: |config, text| Some(config.probe.lock_timeout = bounded(text, 24)?),
    },
    Flag {
        names: &["probe.timeout-offset"],
        value: Some("DURATION"),
        default: Some("500ms"),
        repeatable: false,
        help: "Subtracted from the scrape timeout, so that the response arrives before Prometheus gives up.",
        allowed: "a duration from 0 to 1h, such as 500ms",
        set: |config, text| Some(config.probe.timeout_offset = bounded(text, 1)?),
    },
    Flag {
        names: &["probe.allow-target"],
        value: Some("RULE"),
        default: None,
        repeatable: true,
        help: "Allow only this target: a host name, *.SUFFIX, an IP address or a CIDR block. Without the flag every \
               target is allowed.",
        allowed: "a host name, *.SUFFIX, an IP address or a CIDR block such as 192.0.2.0/24",
        set: |config, text| Some(config.probe.allow.push(Rule::parse(text)?)),
    },
    Flag {
        names: &["probe.max-bytes-per-day"],
        value: Some("BYTES"),
        default: None,
        repeatable: false,
        help: "Daily budget of payload bytes, both directions together. When it is spent, tests are refused until \
               00:00 UTC. With iperf3 3.18 or later, the test that exceeds it is stopped. K, M, G and T are powers \
               of 1024.",
        allowed: "a whole number of bytes from 1, such as 500M or 10G",
        set: |config, text| Some(config.probe.max_bytes_per_day = Some(bytes(text)?)),
    },
    Flag {
        names: &["port"],
        value: Some("PORT"),
        default: None,
        repeatable: true,
        help: "Short form of --web.listen-address=:PORT.",
        allowed: "a port from 0 (any free one) to 65535",
        set: |config, text| Some(config.http.listen.push(Address::any(number::whole(text)?))),
    },
    Flag {
        names: &["log.level"],
        value: Some("LEVEL"),
        default: Some("info"),
        repeatable: false,
        help: "Minimum level of log lines: debug, info, warn or error.",
        allowed: "debug, info, warn or error",
        set: |config, text| Some(config.log.level = choice(Level::ALL, text)?),
    },
    Flag {
        names: &["log.format"],
        value: Some("FORMAT"),
        default: Some("logfmt"),
        repeatable: false,
        help: "Format of log lines: logfmt or json.",
        allowed: "logfmt or json",
        set: |config, text| Some(config.log.format = choice(Format::ALL, text)?),
    },
    Flag {
        names: &["config.check"],
        value: None,
        default: Some("false"),
        repeatable: false,
        help: "Check everything that a start needs, and exit. Each check prints a line that begins with ok or \
               failed. The exit status is 0, or that of the first failure. An address that a running exporter \
               already uses is ok.",
        allowed: "no value",
        set: |config, text| Some(config.check = text.parse().ok()?),
    },
    Flag {
        names: &["health"],
        value: Some("URL"),
        default: None,
        repeatable: false,
        help: "Ask the exporter at URL, such as http://127.0.0.1:9579/health, whether it is healthy, and exit. The \
               exit status is 0 when it is. Otherwise, or after 5s, the reason is printed and the status is 1. The \
               request is always plain HTTP: a response that demands TLS or credentials counts as healthy.",
        allowed: "http://HOST[:PORT][/PATH], with port 80 and path /health as defaults, also for an exporter with \
                  TLS",
        set: |config, text| Some(config.health = Some(Url::parse(text)?)),
    },
];

const FILE_ALLOWED: &str = "a file path without a leading dash";

const PATH_ALLOWED: &str = "a path that begins with /, has only letters, digits and -._~/, has at most 200 \
                            characters and is not used by another page";

/// A path that cannot be mistaken for an option.
fn file(text: &str) -> Option<PathBuf> {
    let fits = !text.is_empty() && !text.starts_with('-') && !text.contains('\0');
    fits.then(|| PathBuf::from(text))
}

fn bounded(text: &str, hours: u64) -> Option<Duration> {
    duration::parse(text).filter(|value| *value <= Duration::from_secs(hours * 3600))
}

/// A number of bytes with an optional iperf3 suffix. At most 2^53, which a sample represents exactly.
fn bytes(text: &str) -> Option<u64> {
    let (count, factor) = number::split_suffix(text, "KMGT", 1024);
    let bytes = number::whole::<u64>(count)?.checked_mul(factor)?;
    (1..=1 << 53).contains(&bytes).then_some(bytes)
}

fn choice<T: Copy>(choices: &[(&str, T)], text: &str) -> Option<T> {
    let (_, value) = choices.iter().find(|(name, _)| *name == text)?;
    Some(*value)
}

/// A path that needs no escaping in a URL, so that request paths can be compared byte for byte.
fn path(text: &str) -> Option<String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
    let fits = text.len() <= 200 && text.starts_with('/') && text.bytes().all(plain);
    fits.then(|| text.to_owned())
}
