//! The verification queue: credentials without a cached decision are verified one at a time, first come, first served.
//!
//! Must not know what a password is, or where users are configured. A bcrypt hash takes one processor for 50 ms to
//! seconds. Each waiter computes it in its turn, so no extra thread is needed; equal credentials share one decision.
//! During a flood of wrong passwords: cached credentials never wait; the flood uses one processor at most; a flood from
//! one network leaves places for others; waiters are bounded in number and time. Not guaranteed: a place for new
//! credentials while many networks flood.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::sync;
use crate::toolkit::auth::credential_cache::{CredentialCache, Credentials, Decision};

/// Maximum number of credentials in the queue. At a cost of 10 (58 ms on a PC, measured) the last one waits two
/// seconds, well within a scrape's 10 s.
const LIMIT: usize = 32;
/// One network may take 1/`SHARE` of the places: 8 of 32 suffice for scrapers with different passwords, and others then
/// wait half a second for its hashes. Of all waiters, including those with equal credentials, it must leave 1/`SHARE`
/// to other networks.
const SHARE: usize = 4;
/// Longest wait: a scrape's usual timeout. A longer wait means a hash of too high a cost (each step doubles the time:
/// 14 is a second on a PC and many on a router). The client then finds the decision in the cache when it retries.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Whether a password fits its hash.
pub(super) type Verify = Box<dyn Fn(&Credentials) -> bool + Send + Sync>;

/// The queue, and the cache of its decisions. (Refused: one type with the test lock of the probes. There each waiter is
/// a probe of its own that can be cancelled. Here waiters with equal credentials leave together with one decision. Only
/// the wait with a deadline is the same, and `sync` has it.)
pub(super) struct VerificationQueue {
    verify: Verify,
    /// Maximum number of waiting requests. Each holds a connection and its thread.
    max_waiting: usize,
    longest_wait: Duration,
    state: Mutex<State>,
    /// Notified when credentials leave the queue, and at shutdown.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    cache: CredentialCache,
    /// Distinct credentials and their networks, in the order of arrival. The first entry is being verified, and stays
    /// until that is done.
    pending: VecDeque<(Credentials, IpAddr)>,
    /// The networks of requests that wait for the decision on equal pending credentials.
    joined: Vec<IpAddr>,
    has_ended: bool,
}

impl VerificationQueue {
    pub(super) fn new(verify: Verify, max_waiting: usize, longest_wait: Duration) -> Self {
        Self {
            verify,
            max_waiting,
            longest_wait,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// The decision on `credentials`: at once if it is cached, otherwise after waiting in the queue.
    pub(super) fn check(&self, credentials: &Credentials, client: IpAddr) -> Decision {
        let until = Instant::now() + self.longest_wait;
        if let Some(decision) = self.enqueue(credentials, network(client), until) {
            return decision;
        }
        let place = Place {
            queue: self,
            credentials,
        };
        if !place.wait_for_turn(until) {
            return Decision::Overloaded;
        }
        let decision = if (self.verify)(credentials) && credentials.is_user {
            Decision::Allowed
        } else {
            Decision::Refused
        };
        sync::lock(&self.state).cache.insert(credentials, decision);
        decision
    }

    /// Stops verification: all waiters leave, and a hash in progress is the last one.
    pub(super) fn end(&self) {
        sync::lock(&self.state).has_ended = true;
        self.changed.notify_all();
    }

    /// Joins the end of the queue and returns `None`. Returns a decision if one is cached, possibly after waiting for
    /// another request's verification, or an overload if there is no room, the wait was too long or the exporter shuts
    /// down.
    fn enqueue(
        &self,
        credentials: &Credentials,
        network: IpAddr,
        until: Instant,
    ) -> Option<Decision> {
        let limit = self.max_waiting.min(LIMIT);
        let mut state = sync::lock(&self.state);
        loop {
            if let Some(decision) = state.cache.get(credentials) {
                return Some(decision);
            }
            let all = state.pending.iter().map(|(_, other)| other);
            let all = all.chain(&state.joined);
            let same_network = all.clone().filter(|other| **other == network).count();
            // Equal credentials cost one hash, but each request that waits holds a connection.
            let is_full = all.count() >= self.max_waiting
                || same_network >= self.max_waiting - self.max_waiting / SHARE;
            if is_full || state.has_ended || Instant::now() >= until {
                return Some(Decision::Overloaded);
            }
            if state.pending.iter().all(|(other, _)| other != credentials) {
                break;
            }
            state.joined.push(network);
            state = sync::wait_until(&self.changed, state, until);
            let own = state.joined.iter().position(|other| *other == network);
            own.map(|own| state.joined.swap_remove(own));
        }
        let same = state.pending.iter().filter(|(_, other)| *other == network);
        if state.pending.len() >= limit || same.count() >= limit.div_ceil(SHARE) {
            return Some(Decision::Overloaded);
        }
        state.pending.push_back((credentials.clone(), network));
        None
    }
}

/// A place in the queue. Dropping it frees the place, even in a panic.
struct Place<'a> {
    queue: &'a VerificationQueue,
    credentials: &'a Credentials,
}

impl Place<'_> {
    /// Waits until this place is the first; false if the wait was too long or the exporter shuts down.
    fn wait_for_turn(&self, until: Instant) -> bool {
        let mut state = sync::lock(&self.queue.state);
        loop {
            let first = state.pending.front();
            let is_first = first.is_some_and(|(first, _)| first == self.credentials);
            if state.has_ended || is_first || Instant::now() >= until {
                return is_first && !state.has_ended;
            }
            state = sync::wait_until(&self.queue.changed, state, until);
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = sync::lock(&self.queue.state);
        state.pending.retain(|(other, _)| other != self.credentials);
        self.queue.changed.notify_all();
    }
}

/// The addresses that one client may use: an IPv4 address, or the /48 of an IPv6 address, because a site gets no more
/// (RFC 6177, section 2).
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 80 << 80).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::{Credentials, Decision, LIMIT, SHARE, VerificationQueue, network};
    use crate::fuzz::cases;
    use crate::sync;
    use std::net::IpAddr;
    use std::sync::mpsc::{self, Receiver, Sender};
    use std::sync::{Arc, Mutex};
    use std::thread::{self, JoinHandle};
    use std::time::{Duration, Instant};

    /// The places of one network.
    const OF_NETWORK: usize = LIMIT / SHARE;
    /// Only a hang takes this long.
    const HANGS: Duration = Duration::from_secs(60);

    fn credentials(password: &str) -> Credentials {
        Credentials {
            user: b"user".to_vec(),
            hash: "hash".to_owned(),
            password: password.into(),
            is_user: true,
        }
    }

    /// A client in its own network.
    fn client(number: usize) -> IpAddr {
        IpAddr::from([10, 0, 0, u8::try_from(number).unwrap()])
    }

    /// The decision on a request. Fails if the request hangs.
    fn decision(thread: JoinHandle<Decision>) -> Decision {
        let since = Instant::now();
        while !thread.is_finished() {
            assert!(since.elapsed() < HANGS, "a request hangs");
            thread::yield_now();
        }
        thread.join().unwrap()
    }

    /// A queue whose hashes block until the test releases them; "right" fits and "panic" panics.
    struct Slow {
        queue: Arc<VerificationQueue>,
        /// The passwords, each sent when its hash begins.
        begun: Receiver<String>,
        /// Releases one hash.
        go: Sender<()>,
    }

    impl Slow {
        fn new(longest_wait: Duration) -> Self {
            Self::of(1000, longest_wait)
        }

        fn of(max_waiting: usize, longest_wait: Duration) -> Self {
            let (tell, begun) = mpsc::channel();
            let (go, wait) = mpsc::channel();
            let shared = Mutex::new((tell, wait));
            let verify = move |of: &Credentials| {
                let password = String::from_utf8(of.password.clone()).unwrap();
                // Not `lock`: a second hash at the same time would block here, and `begun` would not show it.
                let shared = match shared.try_lock() {
                    Ok(shared) => shared,
                    Err(std::sync::TryLockError::Poisoned(shared)) => shared.into_inner(),
                    Err(std::sync::TryLockError::WouldBlock) => panic!("two hashes at a time"),
                };
                shared.0.send(password.clone()).unwrap();
                shared.1.recv().unwrap();
                assert_ne!(password, "panic", "on purpose");
                password == "right"
            };
            Self {
                queue: Arc::new(VerificationQueue::new(
                    Box::new(verify),
                    max_waiting,
                    longest_wait,
                )),
                begun,
                go,
            }
        }

        fn patient() -> Self {
            Self::new(Duration::from_secs(600))
        }

        fn ask(&self, password: &str, client: IpAddr) -> JoinHandle<Decision> {
            let (queue, credentials) = (Arc::clone(&self.queue), credentials(password));
            thread::spawn(move || queue.check(&credentials, client))
        }

        fn check(&self, password: &str, number: usize) -> Decision {
            self.queue.check(&credentials(password), client(number))
        }

        /// Sends a request, and waits until its password is being verified.
        fn occupy(&self, password: &str, number: usize) -> JoinHandle<Decision> {
            let thread = self.ask(password, client(number));
            assert_eq!(self.begun.recv_timeout(HANGS).unwrap(), password);
            thread
        }

        /// Sends a request, and waits until it is in the queue.
        fn enqueue(&self, password: &str, number: usize) -> JoinHandle<Decision> {
            let before = self.waiting();
            let thread = self.ask(password, client(number));
            self.wait_for(before + 1);
            thread
        }

        fn waiting(&self) -> usize {
            let state = sync::lock(&self.queue.state);
            state.pending.len() + state.joined.len()
        }

        /// Waits until `count` requests are in the queue, including the one being verified.
        fn wait_for(&self, count: usize) {
            let since = Instant::now();
            while self.waiting() != count {
                assert!(since.elapsed() < HANGS, "{} wait", self.waiting());
                thread::yield_now();
            }
        }

        /// Sends a request, and checks that it is rejected instead of queued.
        fn assert_rejected(&self, password: &str, number: usize) {
            let before = self.waiting();
            let thread = self.ask(password, client(number));
            let since = Instant::now();
            while !thread.is_finished() {
                assert!(since.elapsed() < HANGS, "{password} hangs");
                assert_eq!(self.waiting(), before, "{password} is in the queue");
                thread::yield_now();
            }
            assert_eq!(decision(thread), Decision::Overloaded);
        }

        /// Releases the running hash and returns the password of the next one.
        fn next(&self) -> String {
            self.go.send(()).unwrap();
            self.begun.recv_timeout(HANGS).unwrap()
        }

        /// Releases the running hash and all others; each request must be refused.
        fn refuse_all(&self, threads: Vec<JoinHandle<Decision>>) {
            let hashes = sync::lock(&self.queue.state).pending.len();
            (0..hashes).for_each(|_| self.go.send(()).unwrap());
            for thread in threads {
                assert_eq!(decision(thread), Decision::Refused);
            }
            while self.begun.try_recv().is_ok() {}
            assert_eq!(self.waiting(), 0);
        }
    }

    #[test]
    fn a_new_user_from_another_network_waits_for_one_share_of_a_flood() {
        let slow = Slow::patient();
        let mut flood = vec![slow.occupy("flood", 1)];
        for number in 1..OF_NETWORK {
            flood.push(slow.enqueue(&number.to_string(), 1));
        }
        let user = slow.enqueue("right", 2);
        for number in 1..OF_NETWORK {
            assert_eq!(slow.next(), number.to_string());
            slow.wait_for(OF_NETWORK);
            // The flood takes every place that it may have.
            flood.push(slow.enqueue(&format!("again {number}"), 1));
            slow.assert_rejected("one too many", 1);
        }
        assert_eq!(slow.next(), "right");
        slow.go.send(()).unwrap();
        assert_eq!(decision(user), Decision::Allowed);
        slow.refuse_all(flood);
    }

    #[test]
    fn the_queue_is_bounded_for_each_network_and_over_all() {
        let slow = Slow::patient();
        let mut threads = vec![slow.occupy("first", 0)];
        for network in 0..SHARE {
            while threads.len() < (network + 1) * OF_NETWORK {
                threads.push(slow.enqueue(&threads.len().to_string(), network));
            }
            slow.assert_rejected("one too many", network);
        }
        assert_eq!(threads.len(), LIMIT);
        slow.assert_rejected("one too many", 200);
        // Equal credentials take no further place.
        threads.push(slow.enqueue("first", 200));
        slow.refuse_all(threads);
        // "One too many" was not cached as refused: it is verified.
        let late = slow.occupy("one too many", 0);
        slow.refuse_all(vec![late]);
    }

    #[test]
    fn few_connections_mean_few_places_but_at_least_one_per_network() {
        for (max_waiting, same_network, all) in [(1, 1, 1), (4, 1, 4), (9, 3, 9), (1000, 8, 32)] {
            let queue = VerificationQueue::new(Box::new(|_| true), max_waiting, HANGS);
            let until = Instant::now() + HANGS;
            let enqueue = |password: usize, network| {
                let credentials = credentials(&password.to_string());
                queue
                    .enqueue(&credentials, client(network), until)
                    .is_none()
            };
            let same = (0..100).filter(|password| enqueue(*password, 0));
            assert_eq!(same.count(), same_network);
            let others = (1..100)
                .filter(|number| enqueue(100 + number, *number))
                .count();
            assert_eq!(same_network + others, all);
        }
    }

    #[test]
    fn equal_credentials_of_many_waiters_are_verified_once() {
        for (password, expected) in [("right", Decision::Allowed), ("wrong", Decision::Refused)] {
            let slow = Slow::patient();
            let first = slow.occupy("other", 250);
            let waiting: Vec<_> = (0..20).map(|n| slow.ask(password, client(n))).collect();
            slow.wait_for(21);
            assert_eq!(slow.next(), password);
            let late = slow.enqueue(password, 30);
            slow.go.send(()).unwrap();
            for thread in waiting.into_iter().chain([late]) {
                assert_eq!(decision(thread), expected);
            }
            assert_eq!(decision(first), Decision::Refused);
            assert_eq!(slow.check(password, 1), expected);
            assert!(
                slow.begun.try_recv().is_err(),
                "a cached decision was verified again"
            );
        }
    }

    #[test]
    fn credentials_are_verified_in_order_of_arrival() {
        let slow = Slow::patient();
        let mut threads = vec![slow.occupy("0", 0)];
        for number in 1..LIMIT {
            threads.push(slow.enqueue(&number.to_string(), number / OF_NETWORK));
        }
        for number in 1..LIMIT {
            assert_eq!(slow.next(), number.to_string());
        }
        slow.refuse_all(threads);
    }

    #[test]
    fn a_cached_decision_never_waits() {
        let slow = Slow::patient();
        slow.go.send(()).unwrap();
        assert_eq!(decision(slow.occupy("right", 1)), Decision::Allowed);
        let mut flood = vec![slow.occupy("wrong", 0)];
        while flood.len() < LIMIT {
            flood.push(slow.enqueue(&flood.len().to_string(), flood.len() / OF_NETWORK));
        }
        assert_eq!(slow.check("right", 1), Decision::Allowed);
        assert_eq!(slow.check("right", 200), Decision::Allowed);
        slow.refuse_all(flood);
    }

    #[test]
    fn a_panic_fails_only_its_own_request() {
        let slow = Slow::patient();
        let doomed = slow.occupy("panic", 0);
        let next = slow.enqueue("right", 1);
        assert_eq!(slow.next(), "right");
        assert!(doomed.join().is_err());
        slow.go.send(()).unwrap();
        assert_eq!(decision(next), Decision::Allowed);
        slow.wait_for(0);
        let again = slow.occupy("panic", 0);
        slow.go.send(()).unwrap();
        assert!(again.join().is_err(), "the decision was cached");
    }

    #[test]
    fn a_waiter_that_times_out_leaves_and_the_next_one_moves_up() {
        let slow = Slow::new(Duration::from_millis(20));
        let first = slow.occupy("first", 0);
        assert_eq!(slow.check("second", 1), Decision::Overloaded);
        assert_eq!(slow.check("first", 1), Decision::Overloaded);
        slow.wait_for(1);
        slow.refuse_all(vec![first]);
        assert_eq!(slow.check("first", 1), Decision::Refused);
        slow.go.send(()).unwrap();
        assert_eq!(slow.check("second", 1), Decision::Refused);
    }

    #[test]
    fn shutdown_rejects_all_waiters() {
        let slow = Slow::patient();
        slow.go.send(()).unwrap();
        assert_eq!(decision(slow.occupy("right", 1)), Decision::Allowed);
        let running = slow.occupy("first", 0);
        let mut waiting = vec![slow.enqueue("first", 1)];
        waiting.extend((0..8).map(|n| slow.enqueue("second", n)));
        slow.queue.end();
        for thread in waiting {
            assert_eq!(decision(thread), Decision::Overloaded);
        }
        assert_eq!(slow.check("new", 1), Decision::Overloaded);
        assert_eq!(slow.check("right", 1), Decision::Allowed);
        slow.refuse_all(vec![running]);
    }

    /// Random requests, some of which give up: never two hashes at a time, and no request hangs.
    #[test]
    fn random_requests_and_give_ups_lose_no_wake_up() {
        let busy = Mutex::new(());
        let verify = move |of: &Credentials| {
            let _one = busy.try_lock().expect("two hashes at a time");
            thread::yield_now();
            of.password.starts_with(b"1")
        };
        let queue = Arc::new(VerificationQueue::new(
            Box::new(verify),
            1000,
            Duration::from_micros(200),
        ));
        let threads: Vec<_> = (1..=16_usize)
            .map(|number| {
                let queue = Arc::clone(&queue);
                thread::spawn(move || {
                    let mut decided = 0;
                    cases(500, |random| {
                        let password = random.within(0..400).to_string();
                        let expected = if password.starts_with('1') {
                            Decision::Allowed
                        } else {
                            Decision::Refused
                        };
                        let decision = queue.check(&credentials(&password), client(number));
                        if decision != Decision::Overloaded {
                            assert_eq!(decision, expected);
                            decided += 1;
                        }
                    });
                    decided
                })
            })
            .collect();
        let decided: u32 = threads.into_iter().map(|t| t.join().unwrap()).sum();
        assert!(decided > 0);
        let state = sync::lock(&queue.state);
        assert!(state.pending.is_empty() && state.joined.is_empty());
    }

    #[test]
    fn requests_with_equal_credentials_hold_only_their_share_of_the_connections() {
        let queue = VerificationQueue::new(Box::new(|_| true), 2, HANGS);
        let until = Instant::now() + HANGS;
        let same = credentials("same");
        assert_eq!(queue.enqueue(&same, client(0), until), None);
        sync::lock(&queue.state).joined.push(client(2));
        assert_eq!(queue.check(&same, client(1)), Decision::Overloaded);
    }

    #[test]
    fn equal_credentials_from_one_network_leave_places_for_others() {
        let slow = Slow::of(8, HANGS);
        let mut flood = vec![slow.occupy("flood", 1)];
        // All but one of four places.
        while flood.len() < 6 {
            flood.push(slow.enqueue("flood", 1));
        }
        slow.assert_rejected("flood", 1);
        slow.assert_rejected("another", 1);
        let user = slow.enqueue("right", 2);
        flood.push(slow.enqueue("flood", 3));
        slow.assert_rejected("flood", 4);
        assert_eq!(slow.next(), "right");
        slow.go.send(()).unwrap();
        assert_eq!(decision(user), Decision::Allowed);
        slow.refuse_all(flood);
    }

    #[test]
    fn a_client_is_identified_by_its_ipv4_address_or_ipv6_48() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), of("2001:db8:1:7::1"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:2:2::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("::ffff:192.0.2.1"), of("::ffff:192.0.2.2"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
