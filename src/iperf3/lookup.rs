//! Looks up the addresses of a name, because iperf3 does not report them.
//!
//! When the lookup of a name fails, iperf3 prints the system's text for whatever error number an earlier call left
//! behind: "Invalid argument" if Avahi's module is asked first, "Resource temporarily unavailable" with glibc's DNS
//! alone, "Connection timed out" for names below `.local` (seen with 3.1.3 to 3.21). So the exporter looks the name up
//! again, to find the reason and the address that iperf3 tried, which is the first one. Must not know what a reason is.

use std::net::{IpAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use crate::threads;

/// The stack of the lookup thread: the C library's resolver keeps its buffers there.
const STACK_BYTES: usize = 256 * 1024;
/// Maximum duration of a lookup. iperf3 has just made the same one, so its result is either at hand or will not come.
/// On an overloaded machine the thread may take seconds to start.
const LIMIT: Duration = Duration::from_secs(5);

/// Whether `name` has no address. False if that is not known at `until`.
pub(super) fn has_no_address(name: &str, until: Instant) -> bool {
    addresses(name, until).is_some_and(|addresses| addresses.is_empty())
}

/// The addresses of `name` in the system's order; empty if it has none. `None` if that is not known at `until`.
pub(crate) fn addresses(name: &str, until: Instant) -> Option<Vec<IpAddr>> {
    let name = name.to_owned();
    // On a thread, because the C library's lookup has no deadline. A late lookup ends by itself, unused.
    let body = move || {
        let mut addresses = Vec::new();
        for found in (name.as_str(), 0).to_socket_addrs().into_iter().flatten() {
            if !addresses.contains(&found.ip()) {
                addresses.push(found.ip());
            }
        }
        addresses
    };
    let until = until.min(Instant::now() + LIMIT);
    threads::within(until, "lookup", STACK_BYTES, body).ok()?
}

#[cfg(test)]
mod tests {
    use super::{addresses, has_no_address};
    use std::time::{Duration, Instant};

    #[test]
    fn a_name_of_this_machine_has_an_address() {
        let until = Instant::now() + Duration::from_secs(60);
        assert!(!has_no_address("localhost", until));
        let found = addresses("localhost", until).unwrap();
        assert!(found.iter().all(std::net::IpAddr::is_loopback));
        assert!(!found.is_empty());
    }

    #[test]
    fn a_lookup_without_a_result_in_time_proves_nothing() {
        assert!(!has_no_address("localhost", Instant::now()));
    }
}
