//! Which request to the server behind the front end is whose.
//!
//! The front end gives each request a key before it passes it on, and a worker looks it up: so it knows the true
//! client, a client that goes away cancels its own request and no other, and a request that is not the front end's
//! is told apart, whichever way it came.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Mutex;

use super::request::RequestContext;
use crate::sync;

/// The header with the key. A client cannot send it: the front end writes every head anew, and passes no such header on.
pub(super) const KEY_HEADER: &str = "X-Request-Key";

/// The front end's requests that are not answered yet, by their keys.
#[derive(Debug, Default)]
pub(super) struct InFlightRequests {
    open: Mutex<Open>,
    /// Makes the keys: hashes under a key of their own, which the system's randomness gives, so that nobody who
    /// reaches the server guesses one.
    keys: RandomState,
}

#[derive(Debug, Default)]
struct Open {
    latest_number: u64,
    requests: HashMap<u64, Origin>,
}

/// Whose request a key stands for.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    /// The front end's own first request, by which a connection is acknowledged.
    FrontEnd,
    /// A client's request.
    Client(RequestContext),
}

/// A request that is passed on. When this is dropped it is answered, or its connection closed.
pub(super) struct InFlight<'a> {
    requests: &'a InFlightRequests,
    pub(super) key: u64,
}

impl InFlightRequests {
    /// The number of a request whose head is complete.
    pub(super) fn next_number(&self) -> u64 {
        let mut open = sync::lock(&self.open);
        open.latest_number += 1;
        open.latest_number
    }

    /// A request of a client, or one of the front end's own, is about to be passed on.
    pub(super) fn begin(&self, origin: Origin) -> InFlight<'_> {
        let number = match &origin {
            Origin::FrontEnd => self.next_number(),
            Origin::Client(context) => context.number,
        };
        let key = self.keys.hash_one(number);
        sync::lock(&self.open).requests.insert(key, origin);
        InFlight {
            requests: self,
            key,
        }
    }

    /// What was passed on with this value of [`KEY_HEADER`]; none when it is not the front end's.
    pub(super) fn of(&self, key: &str) -> Option<Origin> {
        let key = key.parse().ok()?;
        sync::lock(&self.open).requests.get(&key).cloned()
    }

    /// Cancels every request.
    pub(super) fn cancel_all(&self) {
        for origin in sync::lock(&self.open).requests.values() {
            if let Origin::Client(context) = origin {
                context.cancel.set();
            }
        }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        sync::lock(&self.requests.open).requests.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::{InFlightRequests, Origin};

    #[test]
    fn a_key_is_known_until_its_request_ends_and_cannot_be_guessed() {
        let requests = InFlightRequests::default();
        let is_known = |key: u64| requests.of(&key.to_string()).is_some();
        let begun: Vec<_> = (0..100).map(|_| requests.begin(Origin::FrontEnd)).collect();
        assert!(begun.iter().all(|one| is_known(one.key)));
        assert!(!is_known(
            InFlightRequests::default().begin(Origin::FrontEnd).key
        ));
        for guess in 0..1000 {
            assert!(!is_known(guess), "{guess}");
        }
        for one in begun {
            let key = one.key;
            drop(one);
            assert!(!is_known(key));
        }
    }
}
