//! Whether a name has an address: iperf3 does not say it.
//!
//! When the lookup of a name fails, iperf3 prints the system's text for whatever error number an earlier call left
//! behind: "Invalid argument" where Avahi's module is asked first, "Resource temporarily unavailable" with glibc's
//! DNS alone, "Connection timed out" for names below `.local` (seen with 3.1.3 to 3.21). So the name is looked up
//! once more, for the reason only; must not know what a reason is.

use std::net::ToSocketAddrs;
use std::sync::mpsc;
use std::time::Duration;

use crate::threads;

/// The lookup's stack: the C library's resolver keeps its buffers there.
const STACK_BYTES: usize = 256 * 1024;
/// What the lookup may take: iperf3 has just made the same one, so its answer is at hand or does not come. On a machine
/// that is overloaded the thread may take seconds to begin.
const LIMIT: Duration = Duration::from_secs(5);

/// Whether `name` has no address, as far as can be told within `time_left`; false when it cannot.
pub(super) fn has_no_address(name: &str, time_left: Duration) -> bool {
    let (sender, receiver) = mpsc::channel();
    let name = name.to_owned();
    // On a thread, since the C library's lookup has no deadline; one that is late ends by itself, unheard. One that
    // finds an address only closes the channel.
    let body = move || {
        let found = (name.as_str(), 0).to_socket_addrs();
        if found.map_or(true, |mut addresses| addresses.next().is_none()) {
            let _ = sender.send(());
        }
    };
    let started = threads::start("lookup", STACK_BYTES, Box::new(body));
    started.is_ok() && receiver.recv_timeout(LIMIT.min(time_left)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::has_no_address;
    use std::time::Duration;

    #[test]
    fn a_name_of_this_machine_has_an_address() {
        assert!(!has_no_address("localhost", Duration::from_secs(60)));
    }

    #[test]
    fn what_cannot_be_told_in_time_is_not_said() {
        assert!(!has_no_address("localhost", Duration::ZERO));
    }
}
