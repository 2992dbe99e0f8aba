//! The requests in flight at the backend, and which client sent each.
//!
//! The front end gives each request a key before it forwards it, and a worker looks the key up. So the worker knows the
//! real client, a client that disconnects cancels only its own request, and a request that did not come from the front
//! end is recognized. Must not know what a request asks for.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Mutex;

use super::request::RequestContext;
use crate::cancel::Cause;
use crate::sync;

/// The header with the key. A client cannot send it: the front end rebuilds every head without it.
pub(super) const KEY_HEADER: &str = "X-Request-Key";

/// The requests that are not answered yet, by key.
#[derive(Debug, Default)]
pub(super) struct InFlightRequests {
    open: Mutex<OpenRequests>,
    /// Makes the keys: hashes with a random seed of their own, so that a process that reaches the backend cannot guess
    /// one.
    keys: RandomState,
}

#[derive(Debug, Default)]
struct OpenRequests {
    latest_number: u64,
    requests: HashMap<u64, Origin>,
}

/// Who sent a request.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    /// The front end itself: the warm-up request of a backend connection.
    FrontEnd,
    /// A client.
    Client(RequestContext),
}

/// A forwarded request. Drop it when it is answered or its connection is closed.
pub(super) struct InFlight<'a> {
    requests: &'a InFlightRequests,
    pub(super) key: u64,
}

impl InFlightRequests {
    /// The number for the next request whose head is complete.
    pub(super) fn next_number(&self) -> u64 {
        let mut open = sync::lock(&self.open);
        open.latest_number += 1;
        open.latest_number
    }

    /// Registers a request that is about to be forwarded.
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

    /// Looks up a value of [`KEY_HEADER`]. `None` if the request did not come from the front end.
    pub(super) fn of(&self, key: &str) -> Option<Origin> {
        let key = key.parse().ok()?;
        sync::lock(&self.open).requests.get(&key).cloned()
    }

    /// Cancels every request, for the shutdown.
    pub(super) fn cancel_all(&self) {
        for origin in sync::lock(&self.open).requests.values() {
            if let Origin::Client(context) = origin {
                context.cancel.set(Cause::ShuttingDown);
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
