//! The test lock: one holder at a time, strictly first come, first served, with a bounded wait.
//!
//! Must not know what it protects. The queue is the truth and a notification only says "look again": whoever
//! stands first when the lock is free takes it. A waiter that gives up leaves the queue and makes the next one
//! look, so no wake-up can be lost with it. (Refused: handing the lock over inside the notification, as a
//! semaphore does. A waiter that times out at that moment would take the hand-over with it.)

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::cancel::Cancel;
use crate::moment::Moment;
use crate::sync;

/// Why a waiter left without the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitError {
    /// It waited as long as a waiter may.
    WaitedTooLong,
    /// What remains of its scrape cannot hold its test any more.
    NoTimeLeft,
    /// Nobody wants the result any more.
    Cancelled,
    /// Its test runs on beyond its scrape, and there is no earlier result.
    Running,
    /// As many tests wait and run on their own as there may be.
    Full,
    /// The thread of its test came to a bad end.
    Broken,
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WaitedTooLong => "the test lock was not free within --lock.timeout",
            Self::NoTimeLeft => "what remains of the scrape timeout cannot hold the test any more",
            Self::Cancelled => {
                "the client has gone, the test was stopped by hand, or the exporter ends"
            }
            Self::Running => {
                "a test is running or waits for its turn, a later scrape has its result"
            }
            Self::Full => "too many tests wait for their turn",
            Self::Broken => "internal error, see the exporter's log",
        })
    }
}

/// Where a waiter stands in line.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Position {
    /// In the order of these numbers, which are given out where requests come in: the threads that bring them here
    /// may overtake each other.
    Numbered(u64),
    /// Behind everyone who has come so far, and before everyone who comes later: for who had its turn already.
    Behind,
}

/// How long a waiter waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WaitLimits {
    /// The longest wait, whatever the scrape allows.
    pub(crate) longest: Instant,
    /// The last moment at which the lock is still of use.
    pub(crate) latest_start: Option<Instant>,
}

impl WaitLimits {
    /// When the wait ends, and why: the limit that comes first, however late a thread gets to look.
    fn end(&self) -> (Instant, WaitError) {
        match self.latest_start {
            Some(latest) if latest < self.longest => (latest, WaitError::NoTimeLeft),
            _ => (self.longest, WaitError::WaitedTooLong),
        }
    }
}

/// Who holds the lock, or waits for it.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The number of the probe.
    pub(crate) probe: u64,
    /// Who it is.
    pub(crate) name: String,
    /// Since when.
    pub(crate) since: Moment,
}

/// The lock as `/lock-status` shows it, all of one moment.
#[derive(Debug)]
pub(crate) struct Status {
    /// Who holds it.
    pub(crate) holder: Option<Place>,
    /// Who waits, first in line first.
    pub(crate) queue: Vec<Place>,
}

/// The lock.
#[derive(Debug, Default)]
pub(crate) struct TestLock {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    holder: Option<Place>,
    /// In the order of their tickets.
    queue: VecDeque<Waiter>,
    /// The highest number that has come so far.
    latest: u64,
    /// How many have come.
    count: u64,
}

#[derive(Debug)]
struct Waiter {
    /// Whose turn it is of several.
    number: u64,
    /// Which one it is: who comes back may have another one's number.
    ticket: u64,
    place: Place,
    /// Its own, so that a release wakes one thread and not all of them.
    look: Arc<Condvar>,
}

impl State {
    /// Makes the first in line look whether the lock is free.
    fn wake_first(&self) {
        if let Some(first) = self.queue.front() {
            first.look.notify_one();
        }
    }

    fn leave(&mut self, ticket: u64) {
        self.queue.retain(|waiter| waiter.ticket != ticket);
        self.wake_first();
    }
}

/// Holds the lock until it is dropped, in a panic too.
#[derive(Debug)]
pub(crate) struct Guard<'a> {
    lock: &'a TestLock,
    /// How long the holder waited for it.
    pub(crate) waited: Duration,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        let mut state = sync::lock(&self.lock.state);
        state.holder = None;
        state.wake_first();
    }
}

impl TestLock {
    /// Takes the lock, when everyone before it in line has had it.
    pub(crate) fn acquire(
        &self,
        turn: Position,
        probe: u64,
        name: String,
        patience: WaitLimits,
        cancel: &Cancel,
    ) -> Result<Guard<'_>, WaitError> {
        let since = Moment::now();
        let look = Arc::new(Condvar::new());
        let mut state = sync::lock(&self.state);
        if let Position::Numbered(number) = turn {
            state.latest = state.latest.max(number);
        }
        let number = match turn {
            Position::Numbered(number) => number,
            Position::Behind => state.latest,
        };
        state.count += 1;
        let ticket = state.count;
        let waiter = Waiter {
            number,
            ticket,
            place: Place { probe, name, since },
            look: Arc::clone(&look),
        };
        let place = state.queue.partition_point(|other| other.number <= number);
        state.queue.insert(place, waiter);
        let (end, why) = patience.end();
        loop {
            let is_first = state.queue.front().is_some_and(|w| w.ticket == ticket);
            if cancel.is_set() {
                state.leave(ticket);
                return Err(WaitError::Cancelled);
            }
            if is_first && state.holder.is_none() {
                let now = Moment::now();
                state.holder = state.queue.pop_front().map(|waiter| Place {
                    since: now,
                    ..waiter.place
                });
                return Ok(Guard {
                    lock: self,
                    waited: now.instant - since.instant,
                });
            }
            if Instant::now() >= end {
                state.leave(ticket);
                return Err(why);
            }
            state = sync::wait_until(&look, state, end);
        }
    }

    /// Makes every waiter look whether it is cancelled.
    pub(crate) fn wake_all(&self) {
        for waiter in &sync::lock(&self.state).queue {
            waiter.look.notify_one();
        }
    }

    /// Who holds it and who waits, at this moment.
    pub(crate) fn status(&self) -> Status {
        let state = sync::lock(&self.state);
        Status {
            holder: state.holder.clone(),
            queue: state.queue.iter().map(|w| w.place.clone()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Guard, Position, TestLock, WaitError, WaitLimits};
    use crate::cancel::Cancel;
    use crate::fuzz::cases;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::thread;
    use std::time::{Duration, Instant};

    /// Longer than anything takes: a test that gets so far has failed.
    const LONG: Duration = Duration::from_secs(60);

    fn patient() -> WaitLimits {
        within(LONG)
    }

    fn within(limit: Duration) -> WaitLimits {
        WaitLimits {
            longest: Instant::now() + limit,
            latest_start: None,
        }
    }

    /// The lock, for one whose name is its turn.
    fn acquire<'a>(
        lock: &'a TestLock,
        turn: Position,
        patience: WaitLimits,
        cancel: &Cancel,
    ) -> Result<Guard<'a>, WaitError> {
        lock.acquire(turn, 0, format!("{turn:?}"), patience, cancel)
    }

    /// The free lock, for one who came before everyone else.
    fn hold(lock: &TestLock) -> Guard<'_> {
        acquire(
            lock,
            Position::Numbered(0),
            within(Duration::ZERO),
            &Cancel::default(),
        )
        .unwrap()
    }

    /// Waits until `count` stand in line.
    fn queue_of(lock: &TestLock, count: usize) {
        let end = Instant::now() + LONG;
        while lock.status().queue.len() != count {
            assert!(Instant::now() < end, "waited in vain for {count} in line");
            thread::yield_now();
        }
    }

    /// Lets waiters come with these turns, one after the other, while the lock is held: in which order they have it,
    /// each by its place among `turns`.
    fn served(turns: &[Position]) -> Vec<usize> {
        let lock = TestLock::default();
        let order = Mutex::new(Vec::new());
        let held = hold(&lock);
        thread::scope(|scope| {
            for (index, turn) in turns.iter().enumerate() {
                let (lock, order) = (&lock, &order);
                scope.spawn(move || {
                    let name = index.to_string();
                    let cancel = Cancel::default();
                    let _held = lock.acquire(*turn, 0, name, patient(), &cancel).unwrap();
                    order.lock().unwrap().push(index);
                });
                queue_of(lock, index + 1);
            }
            let shown = lock.status().queue.into_iter();
            let shown: Vec<usize> = shown.map(|place| place.name.parse().unwrap()).collect();
            drop(held);
            queue_of(&lock, 0);
            // The last one may still be about to say so.
            let end = Instant::now() + LONG;
            while order.lock().unwrap().len() < turns.len() {
                assert!(Instant::now() < end, "a waiter was left standing");
                thread::yield_now();
            }
            assert_eq!(shown, *order.lock().unwrap(), "the queue shows another one");
        });
        assert!(lock.status().holder.is_none());
        order.into_inner().unwrap()
    }

    #[test]
    fn waiters_are_served_in_the_order_of_their_coming() {
        let turns: Vec<Position> = (0..50).map(Position::Numbered).collect();
        assert_eq!(served(&turns), (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn a_ticket_counts_and_not_the_moment_it_is_shown() {
        assert_eq!(served(&[3, 1, 4, 2].map(Position::Numbered)), [1, 3, 0, 2]);
    }

    #[test]
    fn who_had_its_turn_stands_behind_those_who_came_and_before_those_who_come() {
        let turns = [
            Position::Numbered(1),
            Position::Numbered(2),
            Position::Behind,
            Position::Numbered(3),
            Position::Behind,
        ];
        assert_eq!(served(&turns), [0, 1, 2, 3, 4]);
    }

    /// The one that leaves may be the one that the release has just told to look.
    #[test]
    fn a_waiter_that_leaves_passes_its_look_on() {
        for _ in 0..200 {
            let (lock, cancel) = (TestLock::default(), Cancel::default());
            let held = hold(&lock);
            thread::scope(|scope| {
                scope.spawn(|| drop(acquire(&lock, Position::Numbered(1), patient(), &cancel)));
                queue_of(&lock, 1);
                let second = scope.spawn(|| {
                    acquire(&lock, Position::Numbered(2), patient(), &Cancel::default()).map(drop)
                });
                queue_of(&lock, 2);
                // At the same moment: the first is told that the lock is free, and sees that it is cancelled.
                cancel.set();
                drop(held);
                assert_eq!(second.join().unwrap(), Ok(()));
            });
        }
    }

    #[test]
    fn a_waiter_says_why_it_gave_up() {
        let lock = TestLock::default();
        let cancelled = Cancel::default();
        cancelled.set();
        let held = hold(&lock);
        let refused = |patience, cancel| {
            let got = acquire(&lock, Position::Numbered(1), patience, cancel);
            got.map(drop).unwrap_err()
        };
        let no_time = WaitLimits {
            latest_start: Some(Instant::now() + Duration::from_millis(20)),
            ..patient()
        };
        let wanted = Cancel::default();
        let soon = within(Duration::from_millis(20));
        assert_eq!(refused(soon, &wanted), WaitError::WaitedTooLong);
        assert_eq!(refused(no_time, &wanted), WaitError::NoTimeLeft);
        assert_eq!(refused(patient(), &cancelled), WaitError::Cancelled);
        assert!(lock.status().queue.is_empty());
        drop(held);
    }

    #[test]
    fn the_limit_that_came_first_is_the_reason_however_late_it_is() {
        let now = Instant::now();
        let ago = |seconds| now.checked_sub(Duration::from_secs(seconds)).unwrap();
        let lock = TestLock::default();
        let _held = hold(&lock);
        for (longest, latest_start, why) in [
            (ago(1), Some(ago(2)), WaitError::NoTimeLeft),
            (ago(2), Some(ago(1)), WaitError::WaitedTooLong),
            (ago(1), None, WaitError::WaitedTooLong),
            (ago(1), Some(now + LONG), WaitError::WaitedTooLong),
            (now + LONG, Some(ago(1)), WaitError::NoTimeLeft),
        ] {
            let patience = WaitLimits {
                longest,
                latest_start,
            };
            let got = acquire(&lock, Position::Numbered(1), patience, &Cancel::default());
            assert_eq!(got.map(drop), Err(why), "{patience:?}");
        }
    }

    #[test]
    fn a_free_lock_is_had_even_with_no_time_to_wait() {
        let lock = TestLock::default();
        let none = WaitLimits {
            longest: Instant::now(),
            latest_start: Some(Instant::now()),
        };
        assert!(acquire(&lock, Position::Numbered(0), none, &Cancel::default()).is_ok());
    }

    #[test]
    fn a_cancelled_waiter_leaves_at_once_and_the_others_move_up() {
        let (lock, cancel) = (TestLock::default(), Cancel::default());
        let held = hold(&lock);
        thread::scope(|scope| {
            let first =
                scope.spawn(|| acquire(&lock, Position::Numbered(0), patient(), &cancel).map(drop));
            queue_of(&lock, 1);
            let second = scope.spawn(|| {
                acquire(&lock, Position::Numbered(2), patient(), &Cancel::default()).map(drop)
            });
            queue_of(&lock, 2);
            cancel.set();
            lock.wake_all();
            // While the lock is still held.
            assert_eq!(first.join().unwrap(), Err(WaitError::Cancelled));
            queue_of(&lock, 1);
            drop(held);
            assert_eq!(second.join().unwrap(), Ok(()));
        });
    }

    #[test]
    fn a_holder_that_panics_releases_the_lock() {
        let lock = TestLock::default();
        thread::scope(|scope| {
            let doomed = scope.spawn(|| {
                let _held = hold(&lock);
                panic!("on purpose");
            });
            assert!(doomed.join().is_err());
        });
        let next = acquire(
            &lock,
            Position::Numbered(1),
            within(Duration::ZERO),
            &Cancel::default(),
        );
        assert!(next.is_ok());
    }

    /// What one thread does once: it comes, waits, holds.
    struct Round {
        before: Duration,
        /// None waits as long as it takes.
        limit: Option<Duration>,
        hold: Duration,
    }

    /// Random arrivals, holds and give-ups: never two holders, every patient waiter is served in the order of
    /// the queue, and nobody is left standing.
    #[test]
    fn random_arrivals_and_give_ups_lose_no_wake_up() {
        const THREADS: u64 = 24;
        const ROUNDS: u64 = 60;
        cases(1, |random| {
            let mut below = |micros: usize| {
                let micros = random.within(0..micros);
                Duration::from_micros(u64::try_from(micros).unwrap())
            };
            let mut round = || Round {
                before: below(300),
                limit: (below(2) == Duration::ZERO).then(|| below(3_000)),
                hold: below(200),
            };
            let plans: Vec<Vec<Round>> = (0..THREADS)
                .map(|_| (0..ROUNDS).map(|_| round()).collect())
                .collect();
            let lock = TestLock::default();
            let [tickets, holders, served, gave_up] = [const { AtomicU64::new(0) }; 4];
            let run = |round: Round| {
                thread::sleep(round.before);
                let patience = within(round.limit.unwrap_or(LONG));
                let turn = Position::Numbered(tickets.fetch_add(1, Ordering::SeqCst));
                match acquire(&lock, turn, patience, &Cancel::default()) {
                    Ok(_held) => {
                        let others = holders.fetch_add(1, Ordering::SeqCst);
                        assert_eq!(others, 0, "two holders");
                        thread::sleep(round.hold);
                        holders.fetch_sub(1, Ordering::SeqCst);
                        served.fetch_add(1, Ordering::SeqCst);
                    }
                    Err(reason) => {
                        assert_eq!(reason, WaitError::WaitedTooLong);
                        let is_patient = round.limit.is_none();
                        assert!(!is_patient, "a patient waiter was left standing");
                        gave_up.fetch_add(1, Ordering::SeqCst);
                    }
                }
            };
            thread::scope(|scope| {
                for plan in plans {
                    let run = &run;
                    scope.spawn(move || plan.into_iter().for_each(run));
                }
            });
            let [served, gave_up] = [served, gave_up].map(AtomicU64::into_inner);
            assert_eq!(served + gave_up, THREADS * ROUNDS);
            assert!(gave_up > 0, "nobody gave up: the test shows nothing");
            let status = lock.status();
            assert!(status.holder.is_none() && status.queue.is_empty());
        });
    }
}
