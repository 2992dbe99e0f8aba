//! Who may be connected: how many at a time, and who makes room.
//!
//! Must not know what a connection carries, beyond whether a request is in progress on it.

use std::collections::BTreeMap;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::connection::Closed;
use crate::{sync, sys};

/// Most connections at a time: Prometheus keeps one or two for each of its jobs. Each has a thread of its own.
const CONNECTIONS_LIMIT: usize = 256;
/// A client's socket, and three on the way to the server behind the gate: both ends, and a second descriptor that
/// `tiny_http` makes of its own.
const DESCRIPTORS_A_CONNECTION: u64 = 4;
/// Listeners, standard streams, a child's pipes, `/proc`, and connections that are just being closed.
const RESERVED_DESCRIPTORS: u64 = 32;

/// How long a new connection waits for the one that makes room: its thread only has to wake up.
const MAKING_ROOM: Duration = Duration::from_secs(1);

/// A connection without a request is left alone this long: a client that has just connected, or just read an answer,
/// has its next request on its way.
const REQUEST_ON_ITS_WAY: Duration = Duration::from_millis(100);

/// The open connections.
#[derive(Debug)]
pub(crate) struct Admission {
    most: usize,
    open: Mutex<Open>,
    /// Told when a request in progress is over, and when a connection has ended.
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
    /// It has made room, and its thread is on its way out.
    is_evicted: bool,
}

impl Entry {
    /// Whether it can make room: it has no request in progress, and none that lies unread in its socket.
    fn can_go(&self) -> bool {
        let unread = || sys::is_readable(self.socket.as_fd(), Duration::ZERO).unwrap_or(false);
        self.idle_since.is_some() && !self.is_evicted && !unread()
    }
}

/// A connection's place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    admission: Arc<Admission>,
    number: u64,
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

    /// Gives the connection a place: that of the one that has waited longest without a request, when all are taken.
    /// None when every connection has a request. A place is free once its descriptor is, so this waits for the
    /// thread that makes room.
    pub(super) fn enter(self: &Arc<Self>, socket: &Arc<TcpStream>) -> Option<Place> {
        let until = Instant::now() + MAKING_ROOM;
        let mut open = sync::lock(&self.open);
        while open.connections.len() >= self.most {
            let mut look_at = until;
            if !open.connections.values().any(|entry| entry.is_evicted) {
                let (idle_since, goes) = open
                    .connections
                    .values_mut()
                    .filter(|entry| entry.can_go())
                    .filter_map(|entry| Some((entry.idle_since?, entry)))
                    .min_by_key(|(idle_since, _)| *idle_since)?;
                let old_enough = idle_since + REQUEST_ON_ITS_WAY;
                if Instant::now() >= old_enough {
                    goes.is_evicted = true;
                    // Its thread wakes and ends; one that has just read a request can still say no.
                    let _ = goes.socket.shutdown(Shutdown::Read);
                } else {
                    look_at = old_enough.min(until);
                }
            }
            if Instant::now() >= until {
                return None;
            }
            open = sync::wait_until(&self.over, open, look_at);
        }
        let number = open.next;
        open.next += 1;
        open.connections.insert(
            number,
            Entry {
                socket: Arc::clone(socket),
                idle_since: Some(Instant::now()),
                is_evicted: false,
            },
        );
        drop(open);
        Some(Place {
            admission: Arc::clone(self),
            number,
        })
    }

    /// Changes a connection's entry, unless it has made room; whether it has not.
    fn set_idle(&self, number: u64, idle_since: Option<Instant>) -> bool {
        let mut open = sync::lock(&self.open);
        let entry = open.connections.get_mut(&number);
        let Some(entry) = entry.filter(|entry| !entry.is_evicted) else {
            return false;
        };
        entry.idle_since = idle_since;
        drop(open);
        self.over.notify_all();
        true
    }
}

impl Place {
    /// A request is in progress: this connection does not make room. False when it already has.
    pub(super) fn busy(&self) -> bool {
        self.admission.set_idle(self.number, None)
    }

    /// The request is answered.
    pub(super) fn idle(&self) {
        self.admission.set_idle(self.number, Some(Instant::now()));
    }

    /// Why the connection ended, if it was the gate that ended it.
    pub(super) fn reason_or(&self, otherwise: Closed) -> Closed {
        let open = sync::lock(&self.admission.open);
        match open.connections.get(&self.number) {
            Some(entry) if entry.is_evicted => Closed::MadeRoom,
            _ => otherwise,
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
