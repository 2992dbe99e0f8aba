//! Which targets may be probed (`--probe.allow-target`).
//!
//! Rules for names match only names, and rules for addresses match only addresses. Names are resolved later and
//! elsewhere, so a rule that resolved them here could not guarantee which address is probed.

use std::net::IpAddr;

use crate::iperf3::target::Host;
use crate::number;

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// This name, ignoring case.
    Name(String),
    /// Every name below this domain. Stored with its leading dot.
    Suffix(String),
    /// The addresses that share the first `bits` bits.
    Block { network: IpAddr, bits: u8 },
}

impl Rule {
    /// Parses a host name, `*.suffix`, an address or a CIDR block.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if let Some(suffix) = text.strip_prefix("*.") {
            return match Host::parse(suffix)? {
                Host::Name(name) => Some(Self::Suffix(format!(".{}", folded(&name)))),
                Host::Address { .. } => None,
            };
        }
        if let Some((network, bits)) = text.split_once('/') {
            let network: IpAddr = network.parse().ok()?;
            let bits = number::within(bits, 0..=width(network))?;
            // A block of IPv4-mapped addresses is an IPv4 block.
            let canonical = network.to_canonical();
            let mapped_bits = width(network) - width(canonical);
            return Some(Self::Block {
                network: canonical,
                bits: bits.checked_sub(mapped_bits)?,
            });
        }
        match Host::parse(text)? {
            Host::Name(name) => Some(Self::Name(folded(&name))),
            // A zone is a property of this machine, not of the address.
            Host::Address { text, .. } if text.contains('%') => None,
            Host::Address { ip, .. } => Some(Self::Block {
                network: ip.to_canonical(),
                bits: width(ip.to_canonical()),
            }),
        }
    }

    fn matches(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::Name(name), Host::Name(given)) => *name == folded(given),
            (Self::Suffix(suffix), Host::Name(given)) => folded(given).ends_with(suffix),
            (Self::Block { network, bits }, Host::Address { ip, .. }) => {
                // A connection to ::ffff:192.0.2.1 goes to 192.0.2.1, so only IPv4 rules apply to it.
                shares(*network, ip.to_canonical(), *bits)
            }
            _ => false,
        }
    }
}

/// Whether `host` may be probed. Without rules, every host may.
pub(super) fn allows(rules: &[Rule], host: &Host) -> bool {
    rules.is_empty() || rules.iter().any(|rule| rule.matches(host))
}

/// Normalizes a name: case (RFC 4343) and a final dot do not matter.
fn folded(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

fn width(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

fn shares(network: IpAddr, ip: IpAddr, bits: u8) -> bool {
    let differing = match (network, ip) {
        // Shifted left, so that leading zeros count the same for both families.
        (IpAddr::V4(a), IpAddr::V4(b)) => u128::from(a.to_bits() ^ b.to_bits()) << 96,
        (IpAddr::V6(a), IpAddr::V6(b)) => a.to_bits() ^ b.to_bits(),
        _ => return false,
    };
    differing.leading_zeros() >= u32::from(bits)
}

#[cfg(test)]
mod tests {
    use super::{Rule, allows};
    use crate::iperf3::target::Host;

    #[test]
    fn a_rule_allows_what_it_names_and_nothing_else() {
        for (rule, host, allowed) in [
            ("foo.server", "FOO.server.", true),
            ("foo.server", "xfoo.server", false),
            ("foo.server", "foo.server.evil", false),
            ("*.example.net", "a.b.example.net", true),
            ("*.example.net", "example.net", false),
            ("*.example.net", "badexample.net", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
            ("192.0.2.0/24", "192.0.2.255", true),
            ("192.0.2.0/24", "192.0.3.0", false),
            ("192.0.2.9/24", "192.0.2.1", true),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("fe80::/10", "fe80::1%eth0", true),
            ("192.0.2.0/24", "::ffff:192.0.2.1", true),
            ("10.0.0.0/8", "::ffff:192.0.2.1", false),
            ("::/0", "::ffff:192.0.2.1", false),
            ("::ffff:192.0.2.0/120", "192.0.2.9", true),
            ("::ffff:192.0.2.0/120", "192.0.3.9", false),
            // Names are not resolved, and other spellings of an address are not recognized.
            ("127.0.0.0/8", "localhost", false),
            ("127.0.0.0/8", "127.1", false),
            ("127.0.0.0/8", "0x7f000001", false),
            ("localhost", "127.0.0.1", false),
        ] {
            let rules = [Rule::parse(rule).unwrap_or_else(|| panic!("{rule}"))];
            let host = Host::parse(host).unwrap();
            assert_eq!(allows(&rules, &host), allowed, "{rule} {host}");
        }
    }

    #[test]
    fn invalid_rules_are_rejected() {
        for text in [
            "",
            "*",
            "*.",
            "*.*.a",
            "*.192.0.2.1",
            "a b",
            "1.2.3.4/33",
            "::/129",
            "1.2.3.4/",
            "a/8",
            "fe80::1%eth0",
            "1.2.3.4/+8",
            "::ffff:192.0.2.0/80",
        ] {
            assert_eq!(Rule::parse(text), None, "{text}");
        }
    }

    #[test]
    fn without_rules_every_host_is_allowed() {
        assert!(allows(&[], &Host::parse("anything").unwrap()));
    }
}
