//! Which request to the server behind the front end is whose.
//!
//! The front end gives each request a key before it passes it on, and a worker looks it up: so it knows the true
//! client, a client that goes away cancels its own request and no other, and a request that is not the front end's
//! is told apart, whichever way it came.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher as _, RandomState};
use std::net::SocketAddr;
use std::sync::Mutex;

use crate::cancel::Cancel;
use crate::sync;

/// The header with the key. A client cannot send it: the front end writes every head anew, and passes no such header on.
pub(crate) const KEY_HEADER: &str = "X-Request-Key";

/// A request that the front end passed on.
#[derive(Clone, Debug)]
pub(crate) struct RequestContext {
    /// The client.
    pub(crate) peer: SocketAddr,
    /// The number of the configuration by which TLS let the client in; none when its bytes are not encrypted.
    pub(crate) tls_config: Option<u64>,
    /// Set when the connection has to end with the answer.
    pub(crate) close_after_response: Cancel,
    /// Its place in the order in which requests came, whatever thread takes it further first.
    pub(crate) number: u64,
    /// Set when the client has gone, or the exporter ends.
    pub(crate) cancel: Cancel,
}

/// What a key stands for.
#[derive(Clone, Debug)]
pub(crate) enum InFlight {
    /// The front end's own first request, by which a connection is acknowledged.
    WarmUp,
    /// A client's request.
    Request(RequestContext),
}

/// The front end's requests that are not answered yet, by their keys.
#[derive(Debug, Default)]
pub(crate) struct InFlightRequests {
    open: Mutex<Open>,
    /// Makes the keys: hashes under a key of their own, which the system's randomness gives, so that nobody who
    /// reaches the server guesses one.
    keys: RandomState,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    requests: HashMap<u64, InFlight>,
}

impl InFlightRequests {
    /// A request is about to be passed on; its key.
    pub(super) fn begin(&self, in_flight: InFlight) -> u64 {
        let mut open = sync::lock(&self.open);
        loop {
            open.next += 1;
            let key = self.keys.hash_one(open.next);
            // Two numbers may have one hash.
            if let Entry::Vacant(free) = open.requests.entry(key) {
                free.insert(in_flight);
                return key;
            }
        }
    }

    /// The request is answered, or its connection closed.
    pub(super) fn end(&self, key: u64) {
        sync::lock(&self.open).requests.remove(&key);
    }

    /// What was passed on with this value of [`KEY_HEADER`]; none when it is not the front end's.
    pub(crate) fn of(&self, key: &str) -> Option<InFlight> {
        let key = key.parse().ok()?;
        sync::lock(&self.open).requests.get(&key).cloned()
    }

    /// Cancels every request.
    pub(crate) fn cancel_all(&self) {
        for in_flight in sync::lock(&self.open).requests.values() {
            if let InFlight::Request(context) = in_flight {
                context.cancel.set();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{InFlight, InFlightRequests};

    #[test]
    fn a_key_is_known_until_its_request_ends_and_cannot_be_guessed() {
        let in_flight = InFlightRequests::default();
        let keys: Vec<u64> = (0..100)
            .map(|_| in_flight.begin(InFlight::WarmUp))
            .collect();
        assert!(
            keys.iter()
                .all(|key| in_flight.of(&key.to_string()).is_some())
        );
        let elsewhere = InFlightRequests::default().begin(InFlight::WarmUp);
        assert!(in_flight.of(&elsewhere.to_string()).is_none());
        for guess in 0..1000 {
            assert!(in_flight.of(&guess.to_string()).is_none(), "{guess}");
        }
        for key in keys {
            in_flight.end(key);
            assert!(in_flight.of(&key.to_string()).is_none());
        }
    }
}
