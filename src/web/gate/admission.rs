//! Who may be connected: how many at a time, and who makes room.
//!
//! Must not know what a connection carries, beyond whether a request is in progress on it.

use std::collections::BTreeMap;
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use super::connection::Closed;
use crate::sync;

/// Most connections at a time: Prometheus keeps one or two for each of its jobs. Each has a thread of its own.
const CONNECTIONS_LIMIT: usize = 256;
/// A client's socket, and three on the way to the server behind the gate: both ends, and a second descriptor that
/// `tiny_http` makes of its own.
const DESCRIPTORS_A_CONNECTION: u64 = 4;
/// Listeners, standard streams, a child's pipes, `/proc`, and connections that are just being closed.
const RESERVED_DESCRIPTORS: u64 = 32;

/// The open connections.
#[derive(Debug)]
pub(crate) struct Admission {
    most: usize,
    open: Mutex<Open>,
    /// Told when a request in progress is over.
    over: Condvar,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    connections: BTreeMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    socket: Arc<TcpStream>,
    /// Since when there is no request in progress; none while there is one.
    idle_since: Option<Instant>,
    evicted: Arc<AtomicBool>,
}

/// A connection's place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    admission: Arc<Admission>,
    number: u64,
    evicted: Arc<AtomicBool>,
}

impl Admission {
    /// For a process that may have so many open descriptors; none means as many as it likes.
    pub(crate) fn new(descriptors: Option<u64>) -> Self {
        let enough_for = descriptors.map_or(u64::MAX, |limit| {
            limit.saturating_sub(RESERVED_DESCRIPTORS) / DESCRIPTORS_A_CONNECTION
        });
        let enough_for = usize::try_from(enough_for).unwrap_or(usize::MAX);
        Self {
            most: enough_for.clamp(1, CONNECTIONS_LIMIT),
            open: Mutex::default(),
            over: Condvar::new(),
        }
    }

    /// How many connections there are.
    pub(crate) fn count(&self) -> usize {
        sync::lock(&self.open).connections.len()
    }

    /// Blocks until no connection has a request in progress, its answer included, or `until` has come.
    pub(crate) fn wait_for_no_request(&self, until: Instant) {
        let is_busy = |open: &Open| open.connections.values().any(|c| c.idle_since.is_none());
        let mut open = sync::lock(&self.open);
        while is_busy(&open) && Instant::now() < until {
            open = sync::wait_until(&self.over, open, until);
        }
    }

    /// Gives the connection a place: the one of who has waited longest without a request, when all are taken. None
    /// when every connection has one in progress.
    pub(super) fn enter(self: &Arc<Self>, socket: &Arc<TcpStream>) -> Option<Place> {
        let mut open = sync::lock(&self.open);
        if open.connections.len() >= self.most {
            let (_, number) = open
                .connections
                .iter()
                .filter_map(|(number, entry)| Some((entry.idle_since?, *number)))
                .min()?;
            let entry = open.connections.remove(&number)?;
            entry.evicted.store(true, Ordering::Release);
            // Its thread wakes and ends; its descriptor goes with it.
            let _ = entry.socket.shutdown(Shutdown::Both);
        }
        let number = open.next;
        open.next += 1;
        let evicted = Arc::new(AtomicBool::new(false));
        open.connections.insert(
            number,
            Entry {
                socket: Arc::clone(socket),
                idle_since: Some(Instant::now()),
                evicted: Arc::clone(&evicted),
            },
        );
        drop(open);
        Some(Place {
            admission: Arc::clone(self),
            number,
            evicted,
        })
    }

    fn set_idle(&self, number: u64, idle_since: Option<Instant>) {
        if let Some(entry) = sync::lock(&self.open).connections.get_mut(&number) {
            entry.idle_since = idle_since;
            self.over.notify_all();
        }
    }
}

impl Place {
    /// A request is in progress: this connection does not make room.
    pub(super) fn busy(&self) {
        self.admission.set_idle(self.number, None);
    }

    /// The request is answered.
    pub(super) fn idle(&self) {
        self.admission.set_idle(self.number, Some(Instant::now()));
    }

    /// Why the connection ended, if it was the gate that ended it.
    pub(super) fn reason_or(&self, otherwise: Closed) -> Closed {
        if self.evicted.load(Ordering::Acquire) {
            Closed::MadeRoom
        } else {
            otherwise
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        sync::lock(&self.admission.open)
            .connections
            .remove(&self.number);
        self.admission.over.notify_all();
    }
}
