//! Which addresses a name has: iperf3 does not say it.
//!
//! When the lookup of a name fails, iperf3 prints the system's text for whatever error number an earlier call left
//! behind: "Invalid argument" where Avahi's module is asked first, "Resource temporarily unavailable" with glibc's
//! DNS alone, "Connection timed out" for names below `.local` (seen with 3.1.3 to 3.21). So the name is looked up
//! once more, for the reason, and for which address iperf3 tried: it takes the first. Must not know what a reason is.

use std::net::{IpAddr, ToSocketAddrs};
use std::time::Duration;

use crate::threads;

/// The lookup's stack: the C library's resolver keeps its buffers there.
const STACK_BYTES: usize = 256 * 1024;
/// What the lookup may take: iperf3 has just made the same one, so its answer is at hand or does not come. On a machine
/// that is overloaded the thread may take seconds to begin.
const LIMIT: Duration = Duration::from_secs(5);

/// Whether `name` has no address, as far as can be told within `time_left`; false when it cannot.
pub(super) fn has_no_address(name: &str, time_left: Duration) -> bool {
    addresses(name, time_left).is_some_and(|addresses| addresses.is_empty())
}

/// The addresses of `name` in the system's order, without any when there is none; `None` when that cannot be told within
/// `time_left`.
pub(crate) fn addresses(name: &str, time_left: Duration) -> Option<Vec<IpAddr>> {
    let name = name.to_owned();
    // On a thread, since the C library's lookup has no deadline; one that is late ends by itself, unheard.
    let body = move || {
        let mut addresses = Vec::new();
        for found in (name.as_str(), 0).to_socket_addrs().into_iter().flatten() {
            if !addresses.contains(&found.ip()) {
                addresses.push(found.ip());
            }
        }
        addresses
    };
    threads::within(LIMIT.min(time_left), "lookup", STACK_BYTES, body).ok()?
}

#[cfg(test)]
mod tests {
    use super::{addresses, has_no_address};
    use std::time::Duration;

    #[test]
    fn a_name_of_this_machine_has_an_address() {
        assert!(!has_no_address("localhost", Duration::from_secs(60)));
        let found = addresses("localhost", Duration::from_secs(60)).unwrap();
        assert!(found.iter().all(std::net::IpAddr::is_loopback));
        assert!(!found.is_empty());
    }

    #[test]
    fn what_cannot_be_told_in_time_is_not_said() {
        assert!(!has_no_address("localhost", Duration::ZERO));
    }
}
