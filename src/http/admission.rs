//! Who may be connected: how many at a time, and who makes room.
//!
//! Must not know what a connection carries, beyond whether a request is in progress on it.

use std::collections::HashMap;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::limits::Limits;
use crate::{sync, sys};

/// A client's socket, and three on the way to the server behind the front end: both ends, and a second descriptor that
/// `tiny_http` makes of its own.
const DESCRIPTORS_A_CONNECTION: u64 = 4;
/// Standard streams, a child's pipes and what its end and its cancellation are seen by, signals' sockets, the private
/// socket and its place, `/proc`, files of the configuration, and connections that are just being closed.
const RESERVED_DESCRIPTORS: u64 = 32;

/// The open connections.
#[derive(Debug)]
pub(crate) struct Admission {
    max: usize,
    limits: Limits,
    open: Mutex<Open>,
    /// Told when a request in progress is over, and when a connection has ended.
    over: Condvar,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    connections: HashMap<u64, Entry>,
    /// Somebody waits for a request to be answered: the connection of the next one ends with its answer, or clients
    /// that send one request behind the other would keep their places for ever.
    is_wanted: bool,
    /// When that was last waited for in vain.
    in_vain: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    socket: Arc<TcpStream>,
    /// Since when there is no request in flight; none while there is one.
    idle_since: Option<Instant>,
    /// Its answer is on its way. A socket's buffer takes one at once: whoever makes it wait does not read.
    is_answering: bool,
    /// It has made room, and its thread is on its way out.
    is_evicted: bool,
}

impl Open {
    /// The connection that can make room and has waited longest, with the time since when.
    fn oldest(&self) -> Option<(Instant, u64)> {
        let mut idle: Vec<_> = self
            .connections
            .iter()
            .filter_map(|(number, entry)| Some((entry.idle_since?, *number)))
            .collect();
        idle.sort_unstable();
        // In this order, since looking at a socket is a system call.
        idle.into_iter()
            .find(|(_, number)| self.connections.get(number).is_some_and(Entry::can_go))
    }

    /// Whether one who has come then may wait for a request to be answered; says that it does.
    fn hopes_for_an_answer(&mut self, come: Instant, limits: &Limits) -> bool {
        let was_in_vain = self.in_vain.is_some_and(|at| at.elapsed() < limits.in_vain);
        let is_too_late = come.elapsed() >= limits.answer_on_its_way;
        if is_too_late && !was_in_vain {
            self.in_vain = Some(Instant::now());
        }
        self.is_wanted = !was_in_vain && !is_too_late;
        self.is_wanted
    }
}

impl Entry {
    /// Whether it can make room: it has no request in flight, and none that lies unread in its socket, unless that is
    /// because its client does not read either.
    fn can_go(&self) -> bool {
        self.idle_since.is_some() && !self.is_evicted && (self.is_answering || !self.has_unread())
    }

    fn has_unread(&self) -> bool {
        sys::is_readable(self.socket.as_fd(), Duration::ZERO).unwrap_or(false)
    }

    /// Wakes its thread, which ends then; one that has just read a request can still say no.
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

/// A connection's place, until it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    admission: Arc<Admission>,
    number: u64,
}

impl Admission {
    /// At most `max`, and no more than fit a process that may have so many open descriptors, some of them for its
    /// listeners; none means as many as it likes.
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

    /// How many connections there may be.
    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// How many connections may wait to be accepted (listen(2)): as many as get a place within a second where each is
    /// silent. Of more the kernel drops the first packet, which is sent again after a second; of fewer than the
    /// standard library's 128 it would do so in a small burst.
    pub(super) fn backlog(&self) -> i32 {
        let pause = self.limits.request_on_its_way.as_millis().max(1);
        let turns = usize::try_from(1000 / pause).unwrap_or(usize::MAX);
        i32::try_from(self.max.saturating_mul(turns))
            .unwrap_or(i32::MAX)
            .clamp(128, 4096)
    }

    /// How many connections there are.
    pub(crate) fn count(&self) -> usize {
        sync::lock(&self.open).connections.len()
    }

    /// Blocks until no connection has a request in progress, its answer included, or `until` has come.
    pub(crate) fn wait_for_no_request(&self, until: Instant) {
        let is_busy = |open: &Open| {
            let mut all = open.connections.values();
            // One whose request has come and is not read yet is answered as well.
            all.any(|entry| entry.idle_since.is_none() || entry.is_answering || entry.has_unread())
        };
        let mut open = sync::lock(&self.open);
        while is_busy(&open) && Instant::now() < until {
            open = sync::wait_until(&self.over, open, until);
        }
    }

    /// Gives the connection a place: that of the one that has waited longest without a request, when all are taken.
    /// None when every connection has a request. A place is free once its descriptor is, so this waits for the
    /// thread that makes room.
    pub(super) fn enter(self: &Arc<Self>, socket: &Arc<TcpStream>) -> Option<Slot> {
        let come = Instant::now();
        let until = come + self.limits.making_room;
        let mut open = sync::lock(&self.open);
        while open.connections.len() >= self.max {
            if Instant::now() >= until {
                return None;
            }
            let mut look_at = until;
            if !open.connections.values().any(|entry| entry.is_evicted) {
                if let Some((idle_since, number)) = open.oldest() {
                    let old_enough = idle_since + self.limits.request_on_its_way;
                    if Instant::now() < old_enough {
                        look_at = old_enough.min(until);
                    } else if let Some(goes) = open.connections.get_mut(&number) {
                        goes.evict();
                    }
                } else {
                    if !open.hopes_for_an_answer(come, &self.limits) {
                        return None;
                    }
                    // An answer is told; a part of a head that has been read is not.
                    look_at = until.min(Instant::now() + self.limits.request_on_its_way);
                }
            }
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

    /// Changes a connection's entry, unless it has made room; whether it has not.
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
    /// A request is in progress: this connection does not make room. False when it already has.
    pub(super) fn busy(&self) -> bool {
        self.admission.set_idle(self.number, None, false)
    }

    /// The answer is there, and goes out: who does not read it makes room. True when the connection is to end with it,
    /// as somebody waits for a place.
    pub(super) fn answering(&self) -> bool {
        self.admission
            .set_idle(self.number, Some(Instant::now()), true);
        std::mem::take(&mut sync::lock(&self.admission.open).is_wanted)
    }

    /// The request is answered.
    pub(super) fn idle(&self) {
        self.admission
            .set_idle(self.number, Some(Instant::now()), false);
    }

    /// Whether the connection has made room for another one.
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

    /// Longer than anything takes that is not meant to take for ever.
    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(20);

    /// Room for one connection.
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

    /// A client, and its accepted socket.
    fn sockets() -> (TcpStream, Arc<TcpStream>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, Arc::new(listener.accept().unwrap().0))
    }

    #[test]
    fn a_connection_that_just_came_is_left_alone() {
        let admission = one(SHORT, LONG);
        let ((_one, first), (_other, second)) = (sockets(), sockets());
        let place = admission.enter(&first).unwrap();
        assert!(admission.enter(&second).is_none());
        assert!(!place.is_evicted());
        assert!(place.busy());
    }

    #[test]
    fn one_that_is_idle_for_longer_makes_room_and_its_thread_is_waited_for() {
        let admission = one(SHORT, Duration::ZERO);
        let ((_one, first), (_other, second)) = (sockets(), sockets());
        let place = admission.enter(&first).unwrap();
        // Its thread does not end.
        assert!(admission.enter(&second).is_none());
        assert!(place.is_evicted());
        assert!(!place.busy());
        drop(place);
        assert!(admission.enter(&second).is_some());
    }

    #[test]
    fn one_whose_client_does_not_read_its_answer_makes_room() {
        let admission = one(SHORT, Duration::ZERO);
        let ((_one, first), (_other, second)) = (sockets(), sockets());
        let place = admission.enter(&first).unwrap();
        assert!(place.busy());
        assert!(admission.enter(&second).is_none());
        assert!(!place.is_evicted());
        place.answering();
        assert!(admission.enter(&second).is_none());
        assert!(place.is_evicted());
    }

    #[test]
    fn the_connection_of_the_next_answer_ends_for_one_that_waits() {
        let admission = one(LONG, LONG);
        let ((_one, first), (_other, second)) = (sockets(), sockets());
        let place = admission.enter(&first).unwrap();
        assert!(place.busy() && !place.answering() && place.busy());
        let own = Arc::clone(&admission);
        let entering = thread::spawn(move || own.enter(&second).is_some());
        // Until it waits.
        let end = Instant::now() + LONG;
        while !place.answering() {
            assert!(Instant::now() < end, "nobody waits for the answer");
            assert!(place.busy());
            thread::sleep(Duration::from_millis(1));
        }
        drop(place);
        assert!(entering.join().unwrap());
    }

    #[test]
    fn who_waited_in_vain_speaks_for_those_who_come_next() {
        let limits = Limits {
            answer_on_its_way: SHORT,
            in_vain: LONG,
            ..Limits::default()
        };
        let admission = Arc::new(Admission::new(1, None, 1, limits));
        let ((_one, first), (_other, second)) = (sockets(), sockets());
        let place = admission.enter(&first).unwrap();
        assert!(place.busy());
        assert!(admission.enter(&second).is_none());
        // Nobody waits for this answer.
        assert!(admission.enter(&second).is_none());
        assert!(!place.answering());
    }

    #[test]
    fn the_end_waits_for_an_answer_and_not_for_ever() {
        let admission = one(LONG, LONG);
        let (_client, socket) = sockets();
        let place = admission.enter(&socket).unwrap();
        assert!(place.busy());
        place.answering();
        let wait = |limit| {
            let (sender, ended) = mpsc::channel();
            let own = Arc::clone(&admission);
            thread::spawn(move || {
                own.wait_for_no_request(Instant::now() + limit);
                let _ = sender.send(());
            });
            ended
        };
        // Its client does not read.
        assert!(wait(SHORT).recv_timeout(LONG).is_ok());
        let ended = wait(LONG * 60);
        assert!(ended.try_recv().is_err());
        place.idle();
        assert!(ended.recv_timeout(LONG).is_ok());
    }
}
