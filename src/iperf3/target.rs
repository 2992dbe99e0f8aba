//! Hosts: what may be passed to iperf3 as one, and how a target's text splits into host and port.
//!
//! Knows nothing of HTTP, of iperf3's options or of the allowed targets. A text that this grammar accepts cannot be
//! taken for an option (no leading `-`) and has no character with a meaning for a shell or a log.

use std::fmt;
use std::net::IpAddr;

use crate::log::Value;
use crate::number;

/// Longest host name, RFC 1035 section 2.3.4.
const NAME_LIMIT_BYTES: usize = 253;
/// Longest label of a host name, RFC 1035 section 2.3.4.
const LABEL_LIMIT_BYTES: usize = 63;
/// Longest name of a network interface: Linux's IFNAMSIZ without the final zero.
const ZONE_LIMIT_BYTES: usize = 15;

/// A host as given: a name, an IPv4 address or an IPv6 address with or without a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    Name(String),
    /// An address. The text is kept, because labels and logs show what was given.
    Address {
        text: String,
        ip: IpAddr,
    },
}

impl Host {
    /// Reads a host without brackets and without a port.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, zone) = match text.split_once('%') {
            Some((address, zone)) => (address, Some(zone)),
            None => (text, None),
        };
        let text = text.to_owned();
        let Ok(ip) = address.parse::<IpAddr>() else {
            return is_name(&text).then_some(Self::Name(text));
        };
        let fits = zone.is_none_or(|zone| ip.is_ipv6() && is_interface(zone));
        fits.then_some(Self::Address { text, ip })
    }

    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Name(text) | Self::Address { text, .. } => text,
        }
    }
}

impl Value for Host {}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Splits `host`, `host:port`, `v4`, `v4:port`, `v6`, `[v6]` or `[v6]:port`.
///
/// An IPv6 address without brackets has no port, because its last group could be one.
pub(crate) fn parse_target(text: &str) -> Option<(Host, Option<u16>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (inner, after) = rest.split_once(']')?;
        let host = Host::parse(inner).filter(|_| inner.contains(':'))?;
        return match after.strip_prefix(':') {
            Some(port) => Some((host, Some(parse_port(port)?))),
            None => after.is_empty().then_some((host, None)),
        };
    }
    match text.split_once(':') {
        Some((host, port)) if !port.contains(':') => {
            Some((Host::parse(host)?, Some(parse_port(port)?)))
        }
        _ => Some((Host::parse(text)?, None)),
    }
}

/// A port from 1 to 65535, digits only.
pub(crate) fn parse_port(text: &str) -> Option<u16> {
    number::within(text, 1..=u16::MAX)
}

/// The name of a network interface, or its number.
pub(crate) fn is_interface(text: &str) -> bool {
    is_word(text, ZONE_LIMIT_BYTES, b"._-")
}

/// A host name: labels of letters, digits, `-` and `_` (real hosts use `_`, although RFC 952 forbids it). One dot at
/// the end is allowed: it makes the name absolute.
fn is_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    name.len() <= NAME_LIMIT_BYTES && name.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    is_word(label, LABEL_LIMIT_BYTES, b"-_")
}

/// Letters, digits and `marks`, without a leading dash.
fn is_word(text: &str, limit_bytes: usize, marks: &[u8]) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || marks.contains(&b);
    (1..=limit_bytes).contains(&text.len()) && !text.starts_with('-') && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::parse_target;

    #[test]
    fn all_forms_of_a_target_are_read() {
        for (text, host, port) in [
            ("foo.server", "foo.server", None),
            ("foo.server:5202", "foo.server", Some(5202)),
            ("foo.server.", "foo.server.", None),
            ("under_score", "under_score", None),
            ("192.168.86.41:5201", "192.168.86.41", Some(5201)),
            ("192.168.86.41", "192.168.86.41", None),
            ("::1", "::1", None),
            ("[::1]", "::1", None),
            ("[::1]:5201", "::1", Some(5201)),
            ("::1:5201", "::1:5201", None),
            ("2001:db8::7", "2001:db8::7", None),
            ("fe80::1%eth0", "fe80::1%eth0", None),
            ("[fe80::1%eth0.100]:65535", "fe80::1%eth0.100", Some(65535)),
        ] {
            let (parsed, parsed_port) = parse_target(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((parsed.as_str(), parsed_port), (host, port), "{text}");
        }
    }

    #[test]
    fn texts_that_are_not_targets_are_rejected() {
        let long_label = "a".repeat(64);
        let long_name = "a.".repeat(127) + "a";
        for text in [
            "",
            "-c",
            "--help",
            "-h.example",
            "a.-b",
            ":5201",
            "host:",
            "host:0",
            "host:65536",
            "host:+1",
            "host:1:2",
            "[::1",
            "::1]",
            "[::1]5201",
            "[::1]:",
            "[host]:1",
            "fe80::1%eth0:5201",
            "[127.0.0.1]:1",
            "a b",
            "a;b",
            "a|b",
            "$(id)",
            "a/b",
            "a\nb",
            "a\0b",
            "a..b",
            ".a",
            ".",
            "host%eth0",
            "fe80::1%",
            "fe80::1%a b",
            "fe80::1%-x",
            "fe80::1%sixteencharacter",
            "::g",
            "1::2::3",
            "é.example",
            &long_label,
            &long_name,
        ] {
            assert!(parse_target(text).is_none(), "{text:?}");
        }
    }
}
