//! The two IP versions of a name: its addresses, the one that iperf3 tried, and which of two failures counts.
//!
//! Must not know when another attempt follows.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::iperf3::reason::{self, Reason};
use crate::iperf3::target::Host;
use crate::iperf3::{self, Failure};

/// Maximum time to resolve a name while the lock is held. It is short because iperf3 has just resolved the same name.
const LOOKUP_LIMIT: Duration = Duration::from_secs(1);

/// The addresses of a name in the system's order; empty when the host is an address.
pub(super) struct Addresses(Vec<IpAddr>);

impl Addresses {
    /// Resolves the host; empty when that fails or is not done at `until`.
    pub(super) fn of(host: &Host, until: Instant) -> Self {
        let found = match host {
            Host::Name(name) => iperf3::addresses(name, until.min(Instant::now() + LOOKUP_LIMIT)),
            Host::Address { .. } => None,
        };
        Self(found.unwrap_or_default())
    }

    /// The IP version that iperf3 uses by default.
    pub(super) fn first_family(&self) -> Option<u8> {
        self.0.first().map(family)
    }

    /// The first address of this version, which iperf3 uses, and how many there are.
    pub(super) fn first_of(&self, version: u8) -> Option<(IpAddr, usize)> {
        let own = || self.0.iter().filter(|address| family(address) == version);
        Some((*own().next()?, own().count()))
    }
}

fn family(address: &IpAddr) -> u8 {
    if address.is_ipv4() { 4 } else { 6 }
}

/// Whether connecting failed in a way that the other IP version may avoid. iperf3 before 3.11 does not report why
/// connecting failed, so [`Reason::Other`] counts too.
pub(super) fn may_other_family_connect(failure: &Failure) -> bool {
    let may_differ = matches!(
        failure.reason,
        Reason::Refused | Reason::Unreachable | Reason::ConnectTimeout | Reason::Other
    );
    may_differ && reason::is_connect_error(&failure.message)
}

/// Adds the address to iperf3's message, after the mention of the server.
pub(super) fn with_address(message: &str, (address, count): (IpAddr, usize)) -> String {
    const SERVER: &str = "unable to connect to server";
    let shown = match count {
        0 | 1 => format!("({address})"),
        count => format!("({address}, the first of {count})"),
    };
    if message.contains(SERVER) {
        message.replacen(SERVER, &format!("{SERVER} {shown}"), 1)
    } else {
        format!("{message} {shown}")
    }
}

/// Whether the second connect failure is more informative than the first. A refused connection is more informative than
/// a timeout, and a timeout more than a missing route: a machine without that IP version has no route to any host.
pub(super) fn says_more(second: &Failure, first: &Failure) -> bool {
    let weight = |failure: &Failure| match failure.reason {
        Reason::Refused => 3,
        Reason::ConnectTimeout => 2,
        Reason::Unreachable => 1,
        _ => 0,
    };
    weight(second) > weight(first)
}

#[cfg(test)]
mod tests {
    use super::{Addresses, says_more, with_address};
    use crate::iperf3::Failure;
    use crate::iperf3::reason::Reason;

    #[test]
    fn iperf3_takes_the_first_address_of_a_version() {
        let [four, other_four, six] =
            ["192.0.2.1", "192.0.2.2", "::1"].map(|text| text.parse().unwrap());
        let addresses = Addresses(vec![six, four, other_four]);
        assert_eq!(addresses.first_family(), Some(6));
        assert_eq!(addresses.first_of(6), Some((six, 1)));
        assert_eq!(addresses.first_of(4), Some((four, 2)));
        assert_eq!(Addresses(vec![four]).first_of(6), None);
        assert_eq!(Addresses(Vec::new()).first_family(), None);
    }

    #[test]
    fn the_address_follows_the_server() {
        let address = "::1".parse().unwrap();
        for (message, count, expected) in [
            (
                "unable to connect to server - a hint: Connection refused",
                1,
                "unable to connect to server (::1) - a hint: Connection refused",
            ),
            (
                "Bad file descriptor",
                2,
                "Bad file descriptor (::1, the first of 2)",
            ),
        ] {
            assert_eq!(with_address(message, (address, count)), expected);
        }
    }

    #[test]
    fn the_more_informative_failure_counts() {
        let failure = |reason| Failure {
            reason,
            message: String::new(),
        };
        for (first, second, is_second) in [
            (Reason::ConnectTimeout, Reason::Refused, true),
            (Reason::Unreachable, Reason::ConnectTimeout, true),
            (Reason::Refused, Reason::ConnectTimeout, false),
            (Reason::ConnectTimeout, Reason::Unreachable, false),
            (Reason::Unreachable, Reason::Local, false),
            (Reason::Refused, Reason::Refused, false),
        ] {
            let says_more = says_more(&failure(second), &failure(first));
            assert_eq!(says_more, is_second, "{first:?} {second:?}");
        }
    }
}
