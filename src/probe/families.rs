//! The two versions of IP of a name: which addresses it has, which one iperf3 tried, and what two failures amount to.
//!
//! Must not know when there is another attempt.

use std::net::IpAddr;
use std::time::Duration;

use crate::iperf3::reason::{self, Reason};
use crate::iperf3::target::Host;
use crate::iperf3::{self, Failure};

/// What finding a name's addresses may take while the lock is held: iperf3 has just found them.
const LOOKUP_LIMIT: Duration = Duration::from_secs(1);

/// A name's addresses in the system's order; none of a host that is an address.
pub(super) struct Addresses(Vec<IpAddr>);

impl Addresses {
    /// As far as they are found in time.
    pub(super) fn of(host: &Host, time_left: Duration) -> Self {
        let found = match host {
            Host::Name(name) => iperf3::addresses(name, time_left.min(LOOKUP_LIMIT)),
            Host::Address { .. } => None,
        };
        Self(found.unwrap_or_default())
    }

    /// The version of IP that iperf3 takes by itself.
    pub(super) fn first_family(&self) -> Option<u8> {
        self.0.first().map(family)
    }

    /// The address of this version that iperf3 takes, which is the first; and how many there are.
    pub(super) fn first_of(&self, version: u8) -> Option<(IpAddr, usize)> {
        let own = || self.0.iter().filter(|address| family(address) == version);
        Some((*own().next()?, own().count()))
    }
}

fn family(address: &IpAddr) -> u8 {
    if address.is_ipv4() { 4 } else { 6 }
}

/// Whether no connection could be made to an address that the other version of IP may lead past. Before 3.11 iperf3 does
/// not say why it could not.
pub(super) fn may_other_family_connect(failure: &Failure) -> bool {
    let is_it = matches!(
        failure.reason,
        Reason::Refused | Reason::Unreachable | Reason::ConnectTimeout | Reason::Other
    );
    is_it && reason::is_connect_error(&failure.message)
}

/// iperf3's message with the address behind what it says of the server.
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

/// Whether the second failure to connect says more than the first: that a host refuses is more than that it is silent,
/// and that more than no route, which a machine without that version of IP has to every host.
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
    fn the_address_stands_behind_the_server() {
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
    fn what_says_more_of_two_failures_counts() {
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
