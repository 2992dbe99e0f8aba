//! Which request to the server behind the gate is whose.
//!
//! The gate gives each request a key before it passes it on, and the server loop looks it up: so the server knows the
//! true client, a client that goes away cancels its own request and no other, and a request that is not the gate's
//! is told apart, whichever way it came.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher as _, RandomState};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use crate::cancel::Cancel;
use crate::sync;
use crate::toolkit::config::reloader::Front;

/// The header with the key. A client cannot send it: the gate writes every head anew, and passes no such header on.
pub(crate) const KEY_HEADER: &str = "X-Visit";

/// A request that the gate passed on.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    /// The client.
    pub(crate) peer: SocketAddr,
    /// What was in force when the client was let in by TLS; none when its bytes are not encrypted.
    pub(crate) let_in: Option<Arc<Front>>,
    /// Set when the connection has to end with the answer.
    pub(crate) is_last: Cancel,
    /// Its place in the order in which requests came, whatever thread takes it further first.
    pub(crate) number: u64,
    /// Set when the client has gone, or the exporter ends.
    pub(crate) cancel: Cancel,
}

/// What a key stands for.
#[derive(Clone, Debug)]
pub(crate) enum Carried {
    /// The gate's own first request, by which a connection is acknowledged.
    Greeting,
    /// A client's request.
    Visit(Visit),
}

/// The gate's requests that are not answered yet, by their keys.
#[derive(Debug, Default)]
pub(crate) struct Visits {
    open: Mutex<Open>,
    /// Makes the keys: hashes under a key of their own, which the system's randomness gives, so that nobody who
    /// reaches the server guesses one.
    keys: RandomState,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    requests: HashMap<u64, Carried>,
}

impl Visits {
    /// A request is about to be passed on; its key.
    pub(super) fn begin(&self, carried: Carried) -> u64 {
        let mut open = sync::lock(&self.open);
        loop {
            open.next += 1;
            let key = self.keys.hash_one(open.next);
            // Two numbers may have one hash.
            if let Entry::Vacant(free) = open.requests.entry(key) {
                free.insert(carried);
                return key;
            }
        }
    }

    /// The request is answered, or its connection closed.
    pub(super) fn end(&self, key: u64) {
        sync::lock(&self.open).requests.remove(&key);
    }

    /// What was passed on with this value of [`KEY_HEADER`]; none when it is not the gate's.
    pub(crate) fn of(&self, key: &str) -> Option<Carried> {
        let key = key.parse().ok()?;
        sync::lock(&self.open).requests.get(&key).cloned()
    }

    /// Cancels every request.
    pub(crate) fn cancel_all(&self) {
        for carried in sync::lock(&self.open).requests.values() {
            if let Carried::Visit(visit) = carried {
                visit.cancel.set();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Carried, Visits};

    #[test]
    fn a_key_is_known_until_its_request_ends_and_cannot_be_guessed() {
        let visits = Visits::default();
        let keys: Vec<u64> = (0..100).map(|_| visits.begin(Carried::Greeting)).collect();
        assert!(keys.iter().all(|key| visits.of(&key.to_string()).is_some()));
        let elsewhere = Visits::default().begin(Carried::Greeting);
        assert!(visits.of(&elsewhere.to_string()).is_none());
        for guess in 0..1000 {
            assert!(visits.of(&guess.to_string()).is_none(), "{guess}");
        }
        for key in keys {
            visits.end(key);
            assert!(visits.of(&key.to_string()).is_none());
        }
    }
}
