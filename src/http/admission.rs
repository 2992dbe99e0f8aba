//! Admission of connections: how many are open, and which one is evicted for a new one.
//!
//! Must not know what a connection carries, beyond whether a request is in progress on it.

use std::collections::HashMap;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::limits::Limits;
use crate::{sync, sys};

/// Descriptors that one connection needs: the client's socket, and three for its backend connection (both ends, and a
/// duplicate that `tiny_http` makes).
const DESCRIPTORS_A_CONNECTION: u64 = 4;
/// Descriptors for everything else: standard streams, a child's pipes and the descriptors that report its exit and its
/// cancellation, signal sockets, the private socket and its `O_PATH` descriptor, `/proc`, configuration files, and
/// connections that are about to close.
const RESERVED_DESCRIPTORS: u64 = 32;

/// The open connections.
#[derive(Debug)]
pub(crate) struct Admission {
    max: usize,
    limits: Limits,
    open: Mutex<OpenConnections>,
    /// Notified when a request in progress is answered, and when a connection has ended.
    over: Condvar,
}

#[derive(Debug, Default)]
struct OpenConnections {
    next: u64,
    connections: HashMap<u64, Entry>,
    /// A new connection waits for a request to be answered. The connection that sends the next response then closes
    /// after it. Otherwise clients that send one request after the other would keep their slots forever.
    is_wanted: bool,
    /// When such a wait last timed out.
    in_vain: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    socket: Arc<TcpStream>,
    /// Since when no request is in progress; `None` while one is. A response that is being sent no longer counts.
    idle_since: Option<Instant>,
    /// Its response is being sent. A socket buffer takes a response at once, so a client that delays this does not
    /// read.
    is_answering: bool,
    /// It was evicted, and its thread is about to end.
    is_evicted: bool,
}

impl OpenConnections {
    /// Makes room for a connection that arrived at `arrival`: evicts the longest-idle one. Returns when to check again,
    /// at the latest; `None` if the new one gets no slot.
    fn make_room(&mut self, arrival: Instant, limits: &Limits) -> Option<Instant> {
        let (now, until) = (Instant::now(), arrival + limits.making_room);
        if now >= until {
            return None;
        }
        // Its thread is about to end, which notifies `over`.
        if self.connections.values().any(|entry| entry.is_evicted) {
            return Some(until);
        }
        let Some((idle_since, number)) = self.oldest() else {
            // A response notifies `over`. Reading a part of a head does not, although it makes a connection evictable.
            let look_at = until.min(now + limits.request_on_its_way);
            return self
                .may_wait_for_response(arrival, limits)
                .then_some(look_at);
        };
        let old_enough = idle_since + limits.request_on_its_way;
        if now < old_enough {
            return Some(until.min(old_enough));
        }
        if let Some(oldest) = self.connections.get_mut(&number) {
            oldest.evict();
        }
        Some(until)
    }

    /// The longest-idle connection that can be evicted: since when it is idle, and its number.
    fn oldest(&self) -> Option<(Instant, u64)> {
        let mut idle: Vec<_> = self
            .connections
            .iter()
            .filter_map(|(number, entry)| Some((entry.idle_since?, *number)))
            .collect();
        idle.sort_unstable();
        // Sort before the check: checking a socket is a system call.
        idle.into_iter()
            .find(|(_, number)| self.connections.get(number).is_some_and(Entry::can_go))
    }

    /// Whether a connection that arrived at `arrival` may wait for a request to be answered. Records that it waits, or
    /// that its wait has timed out.
    fn may_wait_for_response(&mut self, arrival: Instant, limits: &Limits) -> bool {
        let was_in_vain = self.in_vain.is_some_and(|at| at.elapsed() < limits.in_vain);
        let is_too_late = arrival.elapsed() >= limits.answer_on_its_way;
        if is_too_late && !was_in_vain {
            self.in_vain = Some(Instant::now());
        }
        self.is_wanted = !was_in_vain && !is_too_late;
        self.is_wanted
    }
}

impl Entry {
    /// Whether it can be evicted: it has no request in progress, and no unread request in its socket. While its
    /// response is being sent, unread data does not protect it: its client does not read either.
    fn can_go(&self) -> bool {
        self.idle_since.is_some() && !self.is_evicted && (self.is_answering || !self.has_unread())
    }

    fn has_unread(&self) -> bool {
        sys::is_readable(self.socket.as_fd(), Duration::ZERO).unwrap_or(false)
    }

    /// Wakes its thread, which then ends. A thread that has just read a request can still send a rejection.
    fn evict(&mut self) {
        self.is_evicted = true;
        let how = if self.is_answering {
            Shutdown::Both
        } else {
            Shutdown::Read
        };
        let _ = self.socket.shutdown(how);
    }
}

/// The slot of a connection. Dropping it frees the slot.
#[derive(Debug)]
pub(super) struct Slot {
    admission: Arc<Admission>,
    number: u64,
}

impl Admission {
    /// Allows at most `max` connections, and no more than the process's limit of open `descriptors` allows. `listeners`
    /// of them are in use already. Without a limit of descriptors, only `max` counts.
    pub(crate) fn new(
        max: usize,
        descriptors: Option<u64>,
        listeners: usize,
        limits: Limits,
    ) -> Self {
        let reserved = RESERVED_DESCRIPTORS + u64::try_from(listeners).unwrap_or(u64::MAX);
        let enough_for = descriptors.map_or(u64::MAX, |limit| {
            limit.saturating_sub(reserved) / DESCRIPTORS_A_CONNECTION
        });
        let enough_for = usize::try_from(enough_for).unwrap_or(usize::MAX);
        Self {
            max: max.min(enough_for).max(1),
            limits,
            open: Mutex::default(),
            over: Condvar::new(),
        }
    }

    /// Maximum number of connections.
    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// How many connections may wait to be accepted (listen(2)): as many as get a slot within a second if every open
    /// connection is idle. When the queue is full, the kernel drops the first packet, and the client sends it again
    /// after a second. A queue shorter than the standard library's 128 would be full after a small burst.
    pub(super) fn backlog(&self) -> i32 {
        let pause = self.limits.request_on_its_way.as_millis().max(1);
        let turns = usize::try_from(1000 / pause).unwrap_or(usize::MAX);
        i32::try_from(self.max.saturating_mul(turns))
            .unwrap_or(i32::MAX)
            .clamp(128, 4096)
    }

    /// Number of open connections.
    pub(crate) fn count(&self) -> usize {
        sync::lock(&self.open).connections.len()
    }

    /// Blocks until no connection has a request in progress or a response being sent, or until `until`.
    pub(crate) fn wait_for_no_request(&self, until: Instant) {
        let is_busy = |open: &OpenConnections| {
            let mut all = open.connections.values();
            // A request that has arrived but is still unread is answered too.
            all.any(|entry| entry.idle_since.is_none() || entry.is_answering || entry.has_unread())
        };
        let mut open = sync::lock(&self.open);
        while is_busy(&open) && Instant::now() < until {
            open = sync::wait_until(&self.over, open, until);
        }
    }

    /// Gives the connection a slot. If all slots are taken, evicts the connection that has been idle longest. `None` if
    /// no slot becomes free in time, for example because every connection has a request in progress. A slot is free
    /// only after its descriptor is closed, so this waits for the evicted connection's thread.
    pub(super) fn enter(self: &Arc<Self>, socket: &Arc<TcpStream>) -> Option<Slot> {
        let arrival = Instant::now();
        let mut open = sync::lock(&self.open);
        while open.connections.len() >= self.max {
            let look_at = open.make_room(arrival, &self.limits)?;
            open = sync::wait_until(&self.over, open, look_at);
        }
        open.is_wanted = false;
        let number = open.next;
        open.next += 1;
        open.connections.insert(
            number,
            Entry {
                socket: Arc::clone(socket),
                idle_since: Some(Instant::now()),
                is_answering: false,
                is_evicted: false,
            },
        );
        drop(open);
        Some(Slot {
            admission: Arc::clone(self),
            number,
        })
    }

    /// Changes a connection's entry unless it was evicted. Returns whether it changed.
    fn set_idle(&self, number: u64, idle_since: Option<Instant>, is_answering: bool) -> bool {
        let mut open = sync::lock(&self.open);
        let entry = open.connections.get_mut(&number);
        let Some(entry) = entry.filter(|entry| !entry.is_evicted) else {
            return false;
        };
        entry.idle_since = idle_since;
        entry.is_answering = is_answering;
        if idle_since.is_some() {
            self.over.notify_all();
        }
        true
    }
}

impl Slot {
    /// A request is in progress: this connection cannot be evicted. Returns false if it already was.
    pub(super) fn busy(&self) -> bool {
        self.admission.set_idle(self.number, None, false)
    }

    /// The response is being sent: a connection whose client does not read it can be evicted. Returns true if the
    /// connection must close after this response, because a new connection waits for a slot.
    pub(super) fn answering(&self) -> bool {
        self.admission
            .set_idle(self.number, Some(Instant::now()), true);
        std::mem::take(&mut sync::lock(&self.admission.open).is_wanted)
    }

    /// The response was sent.
    pub(super) fn idle(&self) {
        self.admission
            .set_idle(self.number, Some(Instant::now()), false);
    }

    /// Whether the connection was evicted for a new one.
    pub(super) fn is_evicted(&self) -> bool {
        let open = sync::lock(&self.admission.open);
        let entry = open.connections.get(&self.number);
        entry.is_some_and(|entry| entry.is_evicted)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut open = sync::lock(&self.admission.open);
        open.connections.remove(&self.number);
        self.admission.over.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;
    use std::sync::mpsc;
    use std::thread;
    use std::time::{Duration, Instant};

    use super::{Admission, Limits};
    use crate::sync;

    /// Longer than any step takes unless it hangs.
    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(20);

    /// Admission of one connection.
    fn one(making_room: Duration, request_on_its_way: Duration) -> Arc<Admission> {
        let limits = Limits {
            making_room,
            answer_on_its_way: making_room,
            request_on_its_way,
            in_vain: Duration::ZERO,
            ..Limits::default()
        };
        Arc::new(Admission::new(1, None, 1, limits))
    }

    /// A client's socket, and the accepted one.
    fn sockets() -> (TcpStream, Arc<TcpStream>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, Arc::new(listener.accept().unwrap().0))
    }

    #[test]
    fn a_new_connection_is_not_evicted() {
        let admission = one(SHORT, LONG);
        let ((_one, first), (_other, second)) = (sockets(), sockets());
        let slot = admission.enter(&first).unwrap();
        assert!(admission.enter(&second).is_none());
        assert!(!slot.is_evicted());
        assert!(slot.busy());
    }

    #[test]
    fn an_idle_connection_is_evicted_and_its_thread_is_awaited() {
        let admission = one(SHORT, Duration::ZERO);
        let ((_one, first), (_other, second)) = (sockets(), sockets());
        let slot = admission.enter(&first).unwrap();
        // The evicted thread does not end.
        assert!(admission.enter(&second).is_none());
        assert!(slot.is_evicted());
        assert!(!slot.busy());
        drop(slot);
        assert!(admission.enter(&second).is_some());
    }

    #[test]
    fn only_one_connection_is_evicted_for_a_new_one() {
        let limits = Limits {
            making_room: LONG,
            request_on_its_way: Duration::ZERO,
            ..Limits::default()
        };
        let admission = Arc::new(Admission::new(2, None, 1, limits));
        let ((_one, first), (_other, second)) = (sockets(), sockets());
        let slots = [&first, &second].map(|socket| admission.enter(socket).unwrap());
        let arrival = Instant::now();
        // Something else may wake the new connection before the evicted one has ended.
        for _ in 0..2 {
            let look_at = sync::lock(&admission.open).make_room(arrival, &limits);
            assert_eq!(look_at, Some(arrival + LONG));
        }
        assert_eq!(slots.map(|slot| slot.is_evicted()), [true, false]);
    }

    #[test]
    fn a_connection_whose_client_does_not_read_the_response_is_evicted() {
        let admission = one(SHORT, Duration::ZERO);
        let ((_one, first), (_other, second)) = (sockets(), sockets());
        let slot = admission.enter(&first).unwrap();
        assert!(slot.busy());
        assert!(admission.enter(&second).is_none());
        assert!(!slot.is_evicted());
        slot.answering();
        assert!(admission.enter(&second).is_none());
        assert!(slot.is_evicted());
    }

    #[test]
    fn the_next_answered_connection_closes_for_one_that_waits() {
        let admission = one(LONG, LONG);
        let ((_one, first), (_other, second)) = (sockets(), sockets());
        let slot = admission.enter(&first).unwrap();
        assert!(slot.busy() && !slot.answering() && slot.busy());
        let own = Arc::clone(&admission);
        let entering = thread::spawn(move || own.enter(&second).is_some());
        // Wait until the second connection waits for a slot.
        let end = Instant::now() + LONG;
        while !slot.answering() {
            assert!(Instant::now() < end, "no connection waits for the response");
            assert!(slot.busy());
            thread::sleep(Duration::from_millis(1));
        }
        drop(slot);
        assert!(entering.join().unwrap());
    }

    #[test]
    fn after_a_wait_timed_out_the_next_connection_is_rejected_at_once() {
        let limits = Limits {
            answer_on_its_way: SHORT,
            in_vain: LONG,
            ..Limits::default()
        };
        let admission = Arc::new(Admission::new(1, None, 1, limits));
        let ((_one, first), (_other, second)) = (sockets(), sockets());
        let slot = admission.enter(&first).unwrap();
        assert!(slot.busy());
        assert!(admission.enter(&second).is_none());
        // The second attempt does not wait for a response.
        assert!(admission.enter(&second).is_none());
        assert!(!slot.answering());
    }

    #[test]
    fn shutdown_waits_for_a_response_but_not_forever() {
        let admission = one(LONG, LONG);
        let (_client, socket) = sockets();
        let slot = admission.enter(&socket).unwrap();
        assert!(slot.busy());
        slot.answering();
        let wait = |limit| {
            let (sender, ended) = mpsc::channel();
            let own = Arc::clone(&admission);
            thread::spawn(move || {
                own.wait_for_no_request(Instant::now() + limit);
                let _ = sender.send(());
            });
            ended
        };
        // The client does not read the response.
        assert!(wait(SHORT).recv_timeout(LONG).is_ok());
        let ended = wait(LONG * 60);
        assert!(ended.try_recv().is_err());
        slot.idle();
        assert!(ended.recv_timeout(LONG).is_ok());
    }
}
