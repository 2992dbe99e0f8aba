//! Which connection to the server behind the gate carries whose request.
//!
//! The gate writes it before it passes a request on, the server loop reads it: so the server knows the true
//! client, a client that goes away cancels its own request and no other, and a connection to the server's port
//! that is not the gate's is told apart.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Mutex;

use crate::probe::lock::Cancel;
use crate::sync;

/// A request that the gate passed on.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    /// The client.
    pub(crate) peer: SocketAddr,
    /// Its place in the order in which requests came, whatever thread takes it further first.
    pub(crate) number: u64,
    /// Set when the client has gone, or the exporter ends.
    pub(crate) cancel: Cancel,
}

/// What the gate sends over one of its connections.
#[derive(Clone, Debug)]
pub(crate) enum Carried {
    /// The gate's own first request, by which a connection is acknowledged.
    Greeting,
    /// A client's request.
    Visit(Visit),
}

/// The gate's connections, by their address at the gate's end.
#[derive(Debug, Default)]
pub(crate) struct Visits(Mutex<HashMap<SocketAddr, Carried>>);

impl Visits {
    /// Says what goes over a connection from now on.
    pub(super) fn set(&self, end: SocketAddr, carried: Carried) {
        sync::lock(&self.0).insert(end, carried);
    }

    /// Forgets a connection that is closed.
    pub(super) fn forget(&self, end: SocketAddr) {
        sync::lock(&self.0).remove(&end);
    }

    /// What a connection carries; none when it is not the gate's.
    pub(crate) fn of(&self, end: SocketAddr) -> Option<Carried> {
        sync::lock(&self.0).get(&end).cloned()
    }

    /// Cancels every request.
    pub(crate) fn cancel_all(&self) {
        for carried in sync::lock(&self.0).values() {
            if let Carried::Visit(visit) = carried {
                visit.cancel.set();
            }
        }
    }
}
