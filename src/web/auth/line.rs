//! The line of those who wait for a verdict: one is found out at a time, first come, first served.
//!
//! Must not know what a password is, or where users are written down. Finding out means a bcrypt hash, which takes
//! one processor for 50 ms to seconds; so the line decides how much of the machine a flood of wrong passwords can
//! have: one processor, and of others' time [`WAITING_PER_SITE`] + 1 hashes for each site that it comes from, at most
//! [`WAITING`]. Whoever waits does the work when the turn comes: there is no thread for it.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::{Duration, Instant};

use super::Verdict;
use super::verdicts::{Key, Verdicts};
use crate::sync;

/// Most questions of one network that wait: enough for a Prometheus that asks with several users at once, and with
/// the cost of 10 that most tools take, the others wait less than half a second for all of them.
const WAITING_PER_NETWORK: usize = 4;
/// Most questions of one site that wait: two networks at their limit. Who has one IPv6 address mostly has 2^16
/// networks of them, and who has one machine in an IPv4 network can often take all of its addresses.
const WAITING_PER_SITE: usize = 2 * WAITING_PER_NETWORK;
/// Most questions that wait. At a cost of 10 (58 ms on a PC, measured) the last one's turn comes after two seconds,
/// well within a scrape's 10 s.
const WAITING: usize = 32;
/// Of these, as many are for proven networks alone: a flood from many sites, of strangers all, does not keep out a
/// scraper that comes with a new password, or after somebody changed the hashes.
const WAITING_PROVEN: usize = 8;
/// Most networks that are remembered as proven; the oldest goes, and comes back with its next request. An exporter
/// has a handful of scrapers.
const PROVEN: usize = 64;
/// Most requests of one network that wait, whatever they ask: many may ask the same question, at the price of one hash
/// for all of them, and each holds a connection meanwhile. A proven network may have as many as there may be.
const ASKERS_PER_NETWORK: usize = 16;
/// Longest wait: a scrape's usual time limit. Who waits longer has a hash of too high a cost (each step doubles the
/// time: 14 is a second on a PC and many on a router), and finds the verdict known when it asks again.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Whether credentials fit.
pub(super) type Verify = Box<dyn Fn(&Key) -> bool + Send + Sync>;

/// The line, and the verdicts that came out of it.
pub(super) struct Line {
    verify: Verify,
    /// Most requests that wait.
    most_askers: usize,
    longest_wait: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    known: Verdicts,
    /// In the order of their coming.
    queue: VecDeque<Queued>,
    /// Being found out now; not in the queue any more.
    running: Option<Arc<Question>>,
    /// The networks of all requests that wait, one for each.
    askers: Vec<IpAddr>,
    /// Networks from which a right password has come since the start, oldest first.
    proven: VecDeque<IpAddr>,
    has_ended: bool,
}

struct Queued {
    question: Arc<Question>,
    /// How many wait for it; never 0.
    askers: usize,
}

struct Question {
    key: Arc<Key>,
    /// Of the first who asked.
    network: IpAddr,
    /// Set once, with the state locked.
    verdict: OnceLock<Verdict>,
    /// For all who wait for this question; its own, so that the others sleep on.
    look: Condvar,
}

impl State {
    /// Makes somebody who asks the first question in line look whether its turn has come.
    fn wake_first(&self) {
        if let Some(first) = self.queue.front() {
            first.question.look.notify_one();
        }
    }

    /// The question that is being asked already, or a new one at the end; none when there is no room.
    fn stand_in_line(&mut self, key: Key, network: IpAddr) -> Option<Arc<Question>> {
        if let Some(running) = &self.running
            && *running.key == key
        {
            return Some(Arc::clone(running));
        }
        if let Some(same) = self.queue.iter_mut().find(|q| *q.question.key == key) {
            same.askers += 1;
            return Some(Arc::clone(&same.question));
        }
        if !self.has_room(network) {
            return None;
        }
        let question = Arc::new(Question {
            key: Arc::new(key),
            network,
            verdict: OnceLock::new(),
            look: Condvar::new(),
        });
        self.queue.push_back(Queued {
            question: Arc::clone(&question),
            askers: 1,
        });
        Some(question)
    }

    /// Whether one more request of `network` may wait, when there may be so many.
    fn may_ask(&self, network: IpAddr, most: usize) -> bool {
        let of_network = self.askers.iter().filter(|asker| **asker == network);
        self.askers.len() < most
            && (of_network.count() < ASKERS_PER_NETWORK || self.proven.contains(&network))
    }

    /// Whether one more question of `network` may wait. A proven network is not held against its site: its own limit
    /// is enough, and a stranger next door takes nothing from it.
    fn has_room(&self, network: IpAddr) -> bool {
        let networks = || self.queue.iter().map(|queued| queued.question.network);
        let of_network = networks().filter(|other| *other == network).count();
        let of_site = networks().filter(|other| site(*other) == site(network));
        of_network < WAITING_PER_NETWORK
            && if self.proven.contains(&network) {
                self.queue.len() < WAITING
            } else {
                self.queue.len() < WAITING - WAITING_PROVEN && of_site.count() < WAITING_PER_SITE
            }
    }

    /// A right password has come from `network`.
    fn prove(&mut self, network: IpAddr) {
        if self.proven.contains(&network) {
            return;
        }
        self.proven.push_back(network);
        if self.proven.len() > PROVEN {
            self.proven.pop_front();
        }
    }

    /// One asker fewer; whoever may have been woken in vain passes it on.
    fn leave(&mut self, question: &Arc<Question>) {
        self.queue.retain_mut(|queued| {
            if Arc::ptr_eq(&queued.question, question) {
                queued.askers -= 1;
            }
            queued.askers > 0
        });
        self.wake_first();
    }

    /// Takes the question out of the line if it is the first and none is being found out.
    fn take_turn(&mut self, question: &Arc<Question>) -> bool {
        let is_first = self
            .queue
            .front()
            .is_some_and(|first| Arc::ptr_eq(&first.question, question));
        let may = is_first && self.running.is_none();
        if may {
            self.queue.pop_front();
            self.running = Some(Arc::clone(question));
        }
        may
    }
}

impl Line {
    pub(super) fn new(verify: Verify, most_askers: usize, longest_wait: Duration) -> Self {
        Self {
            verify,
            most_askers,
            longest_wait,
            state: Mutex::default(),
        }
    }

    /// The verdict on `key`: at once if it is known, else in its turn.
    pub(super) fn ask(&self, key: Key, client: IpAddr) -> Verdict {
        let network = network(client);
        let verdict = self.know_or_wait(key, network);
        if verdict == Verdict::Allowed {
            sync::lock(&self.state).prove(network);
        }
        verdict
    }

    fn know_or_wait(&self, key: Key, network: IpAddr) -> Verdict {
        let mut state = sync::lock(&self.state);
        if let Some(verdict) = state.known.get(&key) {
            return verdict;
        }
        if state.has_ended {
            return Verdict::Overloaded;
        }
        if !state.may_ask(network, self.most_askers) {
            return Verdict::Overloaded;
        }
        let Some(question) = state.stand_in_line(key, network) else {
            return Verdict::Overloaded;
        };
        state.askers.push(network);
        drop(state);
        let _asker = Asker {
            line: self,
            network,
        };
        self.wait_for(question)
    }

    fn wait_for(&self, question: Arc<Question>) -> Verdict {
        let mut state = sync::lock(&self.state);
        let until = Instant::now() + self.longest_wait;
        loop {
            if let Some(verdict) = question.verdict.get() {
                return *verdict;
            }
            if state.has_ended {
                state.leave(&question);
                return Verdict::Overloaded;
            }
            // Before the time is looked at: a wake-up that comes at the last moment is not lost.
            if state.take_turn(&question) {
                drop(state);
                return self.find_out(question);
            }
            if Instant::now() >= until {
                state.leave(&question);
                return Verdict::Overloaded;
            }
            state = sync::wait_until(&question.look, state, until);
        }
    }

    fn find_out(&self, question: Arc<Question>) -> Verdict {
        let mut turn = Turn {
            line: self,
            question,
            verdict: Verdict::Overloaded,
        };
        let fits = (self.verify)(&turn.question.key);
        turn.verdict = if fits && turn.question.key.is_user {
            Verdict::Allowed
        } else {
            Verdict::Refused
        };
        turn.verdict
    }

    /// From now on nothing more is found out: whoever waits leaves, and a hash that is being made is the last one.
    pub(super) fn end(&self) {
        let mut state = sync::lock(&self.state);
        state.has_ended = true;
        for queued in &state.queue {
            queued.question.look.notify_all();
        }
        if let Some(running) = &state.running {
            running.look.notify_all();
        }
    }
}

/// A request that waits, until this is dropped.
struct Asker<'a> {
    line: &'a Line,
    network: IpAddr,
}

impl Drop for Asker<'_> {
    fn drop(&mut self) {
        let askers = &mut sync::lock(&self.line.state).askers;
        if let Some(at) = askers.iter().position(|asker| *asker == self.network) {
            askers.swap_remove(at);
        }
    }
}

/// The turn of a question. When it is dropped, in a panic too, all who ask are told and the next one's turn comes;
/// a verdict that was not found is an overload: nobody is let in by it, and it is not kept.
struct Turn<'a> {
    line: &'a Line,
    question: Arc<Question>,
    verdict: Verdict,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = sync::lock(&self.line.state);
        state.known.keep(&self.question.key, self.verdict);
        self.question.verdict.get_or_init(|| self.verdict);
        self.question.look.notify_all();
        state.running = None;
        state.wake_first();
    }
}

/// What one client can be expected to have: an IPv4 address, or the /64 of an IPv6 address (RFC 6177, section 2), of
/// which it may use any.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => {
            let upper = address.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from_bits(upper))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// What one place can be expected to have: the /24 of an IPv4 address, the least that is routed by itself, or the /48
/// of an IPv6 one, the most that a site gets (RFC 6177, section 2).
fn site(network: IpAddr) -> IpAddr {
    match network {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() & (!0 << 8)).into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (!0 << 80)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        ASKERS_PER_NETWORK, Key, LONGEST_WAIT, Line, PROVEN, Verdict, WAITING, WAITING_PER_NETWORK,
        WAITING_PER_SITE, WAITING_PROVEN, network, site,
    };
    use crate::sync;
    use std::net::IpAddr;
    use std::sync::mpsc::{self, Receiver, Sender};
    use std::sync::{Arc, Mutex};
    use std::thread::{self, JoinHandle};
    use std::time::{Duration, Instant};

    /// More than any test has.
    const MOST_ASKERS: usize = 1000;
    /// Only a fault lasts as long.
    const HANGS: Duration = Duration::from_secs(60);

    fn key(password: &str) -> Key {
        Key {
            user: b"user".to_vec(),
            hash: "hash".to_owned(),
            password: password.into(),
            is_user: true,
        }
    }

    /// A client at a site of its own.
    fn client(number: u8) -> IpAddr {
        IpAddr::from([10, 0, number, 1])
    }

    /// As many questions of strangers as may wait.
    const STRANGERS: usize = WAITING - WAITING_PROVEN;

    /// A line whose hashes take until the test lets them go; "right" fits and "panic" panics.
    struct Slow {
        line: Arc<Line>,
        /// The passwords, each at the beginning of its hash.
        begun: Receiver<String>,
        /// One hash may end.
        go: Sender<()>,
    }

    impl Slow {
        fn new(longest_wait: Duration) -> Self {
            let (tell, begun) = mpsc::channel();
            let (go, wait) = mpsc::channel();
            let shared = Mutex::new((tell, wait));
            let verify = move |key: &Key| {
                let password = String::from_utf8(key.password.clone()).unwrap();
                // A second hash at the same time would have to wait here, and `begun` would miss it: try_lock.
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
                line: Arc::new(Line::new(Box::new(verify), MOST_ASKERS, longest_wait)),
                begun,
                go,
            }
        }

        fn patient() -> Self {
            Self::new(Duration::from_secs(600))
        }

        fn ask(&self, password: &str, client: IpAddr) -> JoinHandle<Verdict> {
            let (line, key) = (Arc::clone(&self.line), key(password));
            thread::spawn(move || line.ask(key, client))
        }

        /// Asks, and waits until the question is being found out.
        fn occupy(&self, password: &str) -> JoinHandle<Verdict> {
            let thread = self.ask(password, client(250));
            assert_eq!(self.begun.recv_timeout(HANGS).unwrap(), password);
            thread
        }

        /// Waits until `count` askers stand in line, and `sharing` more wait for what is being found out.
        fn wait_for(&self, count: usize, sharing: usize) {
            let since = Instant::now();
            loop {
                let state = sync::lock(&self.line.state);
                let askers: usize = state.queue.iter().map(|queued| queued.askers).sum();
                // The state and the turn hold one each.
                let shared = state
                    .running
                    .as_ref()
                    .map_or(0, |q| Arc::strong_count(q) - 2);
                if (askers, shared) == (count, sharing) {
                    return;
                }
                drop(state);
                assert!(
                    since.elapsed() < HANGS,
                    "{askers} in line, {shared} sharing; not {count}, {sharing}"
                );
                thread::yield_now();
            }
        }

        /// Asks, and makes sure that it is sent away instead of standing in line.
        fn sent_away(&self, password: &str, client: IpAddr) {
            let thread = self.ask(password, client);
            while !thread.is_finished() {
                let state = sync::lock(&self.line.state);
                let mut waiting = state.queue.iter().map(|queued| &queued.question.key);
                assert!(
                    !waiting.any(|waiting| **waiting == key(password)),
                    "{password} stands in line"
                );
                drop(state);
                thread::yield_now();
            }
            assert_eq!(thread.join().unwrap(), Verdict::Overloaded);
        }

        /// Lets the running hash end and waits for the next one's password.
        fn next(&self) -> String {
            self.go.send(()).unwrap();
            self.begun.recv_timeout(HANGS).unwrap()
        }

        fn is_empty(&self) -> bool {
            let state = sync::lock(&self.line.state);
            state.queue.is_empty() && state.running.is_none()
        }
    }

    #[test]
    fn many_who_ask_the_same_from_one_network_do_not_take_all_places() {
        let slow = Slow::patient();
        let first = slow.occupy("other");
        let mut waiting: Vec<_> = (0..ASKERS_PER_NETWORK)
            .map(|_| slow.ask("right", client(7)))
            .collect();
        slow.wait_for(ASKERS_PER_NETWORK, 0);
        assert_eq!(slow.line.ask(key("right"), client(7)), Verdict::Overloaded);
        waiting.push(slow.ask("right", client(8)));
        slow.wait_for(ASKERS_PER_NETWORK + 1, 0);
        assert_eq!(slow.next(), "right");
        slow.go.send(()).unwrap();
        for thread in waiting {
            assert_eq!(thread.join().unwrap(), Verdict::Allowed);
        }
        assert_eq!(first.join().unwrap(), Verdict::Refused);
        // Their places are free again.
        assert_eq!(sync::lock(&slow.line.state).askers.len(), 0);
    }

    #[test]
    fn the_same_question_of_many_is_found_out_once() {
        for password in ["right", "wrong"] {
            let slow = Slow::patient();
            let expected = if password == "right" {
                Verdict::Allowed
            } else {
                Verdict::Refused
            };
            let first = slow.occupy("other");
            let waiting: Vec<_> = (0..20).map(|n| slow.ask(password, client(n))).collect();
            slow.wait_for(20, 0);
            assert_eq!(slow.next(), password);
            let late: Vec<_> = (0..20).map(|n| slow.ask(password, client(n))).collect();
            slow.wait_for(0, 39);
            slow.go.send(()).unwrap();
            for thread in waiting.into_iter().chain(late) {
                assert_eq!(thread.join().unwrap(), expected);
            }
            assert_eq!(first.join().unwrap(), Verdict::Refused);
            // Known: with `go` closed a hash would panic.
            let Slow { line, begun, go } = slow;
            drop(go);
            assert_eq!(line.ask(key(password), client(1)), expected);
            assert!(begun.try_recv().is_err());
        }
    }

    #[test]
    fn questions_are_found_out_in_the_order_of_their_coming() {
        let slow = Slow::patient();
        let mut threads = vec![slow.occupy("first")];
        for number in 0..STRANGERS {
            let client = client(u8::try_from(number / WAITING_PER_NETWORK).unwrap());
            threads.push(slow.ask(&number.to_string(), client));
            slow.wait_for(number + 1, 0);
        }
        for number in 0..STRANGERS {
            assert_eq!(slow.next(), number.to_string());
        }
        slow.go.send(()).unwrap();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), Verdict::Refused);
        }
        assert!(slow.is_empty());
    }

    #[test]
    fn the_line_is_bounded_for_each_network_and_over_all() {
        let slow = Slow::patient();
        let mut threads = vec![slow.occupy("first")];
        let mut waiting = 0;
        for network in 0..u8::try_from(STRANGERS / WAITING_PER_NETWORK).unwrap() {
            for number in 0..WAITING_PER_NETWORK {
                threads.push(slow.ask(&format!("{network} {number}"), client(network)));
                waiting += 1;
                slow.wait_for(waiting, 0);
            }
            slow.sent_away("one too many", client(network));
        }
        // Every network below its limit, the line at its own.
        slow.sent_away("one too many", client(200));
        // What is asked already costs no place.
        threads.push(slow.ask("0 0", client(200)));
        threads.push(slow.ask("first", client(0)));
        slow.wait_for(STRANGERS + 1, 1);
        for _ in 0..STRANGERS {
            slow.next();
        }
        slow.go.send(()).unwrap();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), Verdict::Refused);
        }
        // "One too many" was not kept as refused: it is asked again, and found out.
        slow.go.send(()).unwrap();
        slow.line.ask(key("one too many"), client(0));
        assert_eq!(slow.begun.recv_timeout(HANGS).unwrap(), "one too many");
        assert!(slow.is_empty());
    }

    #[test]
    fn the_line_is_bounded_for_each_site() {
        let v4 = |number: u8| IpAddr::from([192, 0, 2, number]);
        let v6 = |number: u8| format!("2001:db8:0:{number}::1").parse().unwrap();
        let addresses: [&dyn Fn(u8) -> IpAddr; 2] = [&v4, &v6];
        let slow = Slow::patient();
        let mut threads = vec![slow.occupy("first")];
        for (kind, address) in addresses.iter().enumerate() {
            for number in 0..u8::try_from(WAITING_PER_SITE).unwrap() {
                threads.push(slow.ask(&format!("{kind} {number}"), address(number)));
                slow.wait_for(threads.len() - 1, 0);
            }
            slow.sent_away("one too many", address(200));
        }
        // Another site has its places.
        threads.push(slow.ask("elsewhere", client(1)));
        slow.wait_for(2 * WAITING_PER_SITE + 1, 0);
        (1..threads.len()).for_each(|_| drop(slow.next()));
        slow.go.send(()).unwrap();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), Verdict::Refused);
        }
    }

    #[test]
    fn a_network_with_a_right_password_has_places_that_strangers_cannot_take() {
        let slow = Slow::patient();
        slow.go.send(()).unwrap();
        assert_eq!(slow.line.ask(key("right"), client(1)), Verdict::Allowed);
        assert_eq!(slow.begun.recv_timeout(HANGS).unwrap(), "right");
        // Known: another network is proven by it all the same.
        assert_eq!(slow.line.ask(key("right"), client(2)), Verdict::Allowed);
        let neighbour = |number: u8| IpAddr::from([10, 0, 1, number]);
        let mut threads = vec![slow.occupy("first")];
        for number in 0..WAITING_PER_SITE {
            let stranger = neighbour(u8::try_from(100 + number).unwrap());
            threads.push(slow.ask(&format!("next door {number}"), stranger));
            slow.wait_for(threads.len() - 1, 0);
        }
        for number in WAITING_PER_SITE..STRANGERS {
            let stranger = client(u8::try_from(100 + number).unwrap());
            threads.push(slow.ask(&number.to_string(), stranger));
            slow.wait_for(threads.len() - 1, 0);
        }
        slow.sent_away("one too many", client(200));
        for proven in [1, 2] {
            for number in 0..WAITING_PER_NETWORK {
                threads.push(slow.ask(&format!("proven {proven} {number}"), client(proven)));
                slow.wait_for(threads.len() - 1, 0);
            }
            slow.sent_away("one too many", client(proven));
        }
        assert_eq!(threads.len() - 1, WAITING);
        (1..threads.len()).for_each(|_| drop(slow.next()));
        slow.go.send(()).unwrap();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), Verdict::Refused);
        }
    }

    #[test]
    fn proven_networks_are_bounded_and_a_wrong_password_proves_nothing() {
        let line = Line::new(
            Box::new(|key| key.password == b"right"),
            MOST_ASKERS,
            LONGEST_WAIT,
        );
        let proven = || sync::lock(&line.state).proven.clone();
        line.ask(key("wrong"), client(0));
        assert!(proven().is_empty());
        for number in 0..=u8::try_from(PROVEN).unwrap() {
            for _ in 0..2 {
                line.ask(key("right"), client(number));
            }
        }
        assert_eq!(proven().len(), PROVEN);
        assert!(!proven().contains(&client(0)), "the oldest went");
        assert!(proven().contains(&client(1)), "none counts twice");
        line.ask(key("right"), client(0));
        assert!(proven().contains(&client(0)), "and is back");
        assert_eq!(proven().len(), PROVEN);
    }

    #[test]
    fn a_known_verdict_waits_for_nobody() {
        let slow = Slow::patient();
        slow.go.send(()).unwrap();
        assert_eq!(slow.line.ask(key("right"), client(1)), Verdict::Allowed);
        assert_eq!(slow.begun.recv_timeout(HANGS).unwrap(), "right");
        let flood = slow.occupy("wrong");
        assert_eq!(slow.line.ask(key("right"), client(1)), Verdict::Allowed);
        slow.go.send(()).unwrap();
        assert_eq!(flood.join().unwrap(), Verdict::Refused);
    }

    #[test]
    fn a_panic_costs_its_own_question_only() {
        let slow = Slow::patient();
        let doomed = slow.occupy("panic");
        let sharer = slow.ask("panic", client(1));
        slow.wait_for(0, 1);
        let next = slow.ask("right", client(2));
        slow.wait_for(1, 1);
        assert_eq!(slow.next(), "right");
        assert!(doomed.join().is_err());
        assert_eq!(sharer.join().unwrap(), Verdict::Overloaded);
        slow.go.send(()).unwrap();
        assert_eq!(next.join().unwrap(), Verdict::Allowed);
        assert!(slow.is_empty());
        let again = slow.occupy("panic");
        slow.go.send(()).unwrap();
        assert!(again.join().is_err(), "it was not kept");
    }

    #[test]
    fn who_waits_too_long_leaves_and_the_next_one_moves_up() {
        let slow = Slow::new(Duration::from_millis(20));
        let first = slow.occupy("first");
        // One waits in line, one for what is being found out.
        assert_eq!(slow.line.ask(key("second"), client(1)), Verdict::Overloaded);
        assert_eq!(slow.line.ask(key("first"), client(1)), Verdict::Overloaded);
        slow.wait_for(0, 0);
        slow.go.send(()).unwrap();
        assert_eq!(first.join().unwrap(), Verdict::Refused);
        assert!(slow.is_empty());
        assert_eq!(slow.line.ask(key("first"), client(1)), Verdict::Refused);
    }

    #[test]
    fn the_end_sends_all_who_wait_away() {
        let slow = Slow::patient();
        slow.go.send(()).unwrap();
        assert_eq!(slow.line.ask(key("right"), client(1)), Verdict::Allowed);
        assert_eq!(slow.begun.recv_timeout(HANGS).unwrap(), "right");
        let running = slow.occupy("first");
        let sharing = slow.ask("first", client(1));
        let waiting: Vec<_> = (0..8).map(|n| slow.ask("second", client(n))).collect();
        slow.wait_for(8, 1);
        slow.line.end();
        for thread in waiting.into_iter().chain([sharing]) {
            assert_eq!(thread.join().unwrap(), Verdict::Overloaded);
        }
        assert_eq!(slow.line.ask(key("new"), client(1)), Verdict::Overloaded);
        assert_eq!(slow.line.ask(key("right"), client(1)), Verdict::Allowed);
        slow.go.send(()).unwrap();
        assert_eq!(running.join().unwrap(), Verdict::Refused);
        assert!(slow.is_empty());
    }

    /// Random askers, some of whom give up: never two hashes at a time, and nobody is left standing.
    #[test]
    fn random_askers_and_give_ups_lose_no_wake_up() {
        let busy = Mutex::new(());
        let verify = move |key: &Key| {
            let _one = busy.try_lock().expect("two hashes at a time");
            thread::yield_now();
            key.password.starts_with(b"1")
        };
        let line = Arc::new(Line::new(
            Box::new(verify),
            MOST_ASKERS,
            Duration::from_micros(200),
        ));
        let threads: Vec<_> = (1..=16_u8)
            .map(|seed| {
                let line = Arc::clone(&line);
                thread::spawn(move || {
                    let mut random = u64::from(seed).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                    let mut judged = 0;
                    for _ in 0..500 {
                        random ^= random << 13;
                        random ^= random >> 7;
                        random ^= random << 17;
                        let password = (random % 400).to_string();
                        let expected = if password.starts_with('1') {
                            Verdict::Allowed
                        } else {
                            Verdict::Refused
                        };
                        let verdict = line.ask(key(&password), client(seed));
                        if verdict != Verdict::Overloaded {
                            assert_eq!(verdict, expected);
                            judged += 1;
                        }
                    }
                    judged
                })
            })
            .collect();
        let judged: u32 = threads.into_iter().map(|t| t.join().unwrap()).sum();
        assert!(judged > 0);
        let state = sync::lock(&line.state);
        assert!(state.queue.is_empty() && state.running.is_none());
    }

    #[test]
    fn a_client_counts_by_its_address_or_64_and_a_site_by_its_24_or_48() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), of("2001:db8:1:2::1"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("::ffff:192.0.2.1"), of("::ffff:192.0.2.2"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        let of = |text: &str| site(network(text.parse().unwrap()));
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), of("2001:db8:1:ffff::1"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:2:2::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.255"));
        assert_ne!(of("192.0.2.1"), of("192.0.3.1"));
        assert!(LONGEST_WAIT > Duration::ZERO);
    }
}
