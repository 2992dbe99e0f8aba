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
            let now = Instant::now();
            let not_run = if now >= patience.longest {
                Some(WaitError::WaitedTooLong)
            } else if patience.latest_start.is_some_and(|latest| now >= latest) {
                Some(WaitError::NoTimeLeft)
            } else {
                None
            };
            if let Some(reason) = not_run {
                state.leave(ticket);
                return Err(reason);
            }
            let until = patience
                .latest_start
                .map_or(patience.longest, |latest| latest.min(patience.longest));
            state = sync::wait_until(&look, state, until);
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
    use super::{Cancel, Position, TestLock, WaitError, WaitLimits};
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Arc, Mutex};
    use std::thread;
    use std::time::{Duration, Instant};

    fn patient() -> WaitLimits {
        WaitLimits {
            longest: Instant::now() + Duration::from_secs(60),
            latest_start: None,
        }
    }

    fn within(limit: Duration) -> WaitLimits {
        WaitLimits {
            longest: Instant::now() + limit,
            latest_start: None,
        }
    }

    /// Waits until `count` stand in line.
    fn queue_of(lock: &TestLock, count: usize) {
        while lock.status().queue.len() != count {
            thread::yield_now();
        }
    }

    #[test]
    fn waiters_are_served_in_the_order_of_their_coming() {
        let lock = Arc::new(TestLock::default());
        let order = Arc::new(Mutex::new(Vec::new()));
        let held = lock
            .acquire(
                Position::Numbered(0),
                0,
                "first".into(),
                patient(),
                &Cancel::default(),
            )
            .unwrap();
        let waiters: Vec<_> = (0..50_u64)
            .map(|number| {
                let (own_lock, order) = (Arc::clone(&lock), Arc::clone(&order));
                let thread = thread::spawn(move || {
                    let _held = own_lock
                        .acquire(
                            Position::Numbered(number),
                            0,
                            number.to_string(),
                            patient(),
                            &Cancel::default(),
                        )
                        .unwrap();
                    order.lock().unwrap().push(number);
                });
                queue_of(&lock, usize::try_from(number).unwrap() + 1);
                thread
            })
            .collect();
        let names: Vec<String> = lock
            .status()
            .queue
            .into_iter()
            .map(|place| place.name)
            .collect();
        assert_eq!(names, (0..50).map(|n| n.to_string()).collect::<Vec<_>>());
        drop(held);
        for waiter in waiters {
            waiter.join().unwrap();
        }
        assert_eq!(*order.lock().unwrap(), (0..50).collect::<Vec<_>>());
        assert!(lock.status().holder.is_none());
    }

    #[test]
    fn a_ticket_counts_and_not_the_moment_it_is_shown() {
        let lock = Arc::new(TestLock::default());
        let order = Arc::new(Mutex::new(Vec::new()));
        let held = lock
            .acquire(
                Position::Numbered(0),
                0,
                "holder".into(),
                patient(),
                &Cancel::default(),
            )
            .unwrap();
        let waiters: Vec<_> = [3, 1, 4, 2]
            .into_iter()
            .enumerate()
            .map(|(shown, ticket)| {
                let (own_lock, order) = (Arc::clone(&lock), Arc::clone(&order));
                let thread = thread::spawn(move || {
                    let name = ticket.to_string();
                    let _held = own_lock
                        .acquire(
                            Position::Numbered(ticket),
                            0,
                            name,
                            patient(),
                            &Cancel::default(),
                        )
                        .unwrap();
                    order.lock().unwrap().push(ticket);
                });
                queue_of(&lock, shown + 1);
                thread
            })
            .collect();
        drop(held);
        for waiter in waiters {
            waiter.join().unwrap();
        }
        assert_eq!(*order.lock().unwrap(), [1, 2, 3, 4]);
    }

    #[test]
    fn who_had_its_turn_stands_behind_those_who_came_and_before_those_who_come() {
        let lock = Arc::new(TestLock::default());
        let order = Arc::new(Mutex::new(Vec::new()));
        let held = lock
            .acquire(
                Position::Numbered(0),
                0,
                "holder".into(),
                patient(),
                &Cancel::default(),
            )
            .unwrap();
        let turns = [
            Position::Numbered(1),
            Position::Numbered(2),
            Position::Behind,
            Position::Numbered(3),
            Position::Behind,
        ];
        let waiters: Vec<_> = turns
            .into_iter()
            .enumerate()
            .map(|(index, turn)| {
                let (own_lock, order) = (Arc::clone(&lock), Arc::clone(&order));
                let thread = thread::spawn(move || {
                    let name = index.to_string();
                    let _held = own_lock
                        .acquire(turn, 0, name, patient(), &Cancel::default())
                        .unwrap();
                    order.lock().unwrap().push(index);
                });
                queue_of(&lock, index + 1);
                thread
            })
            .collect();
        drop(held);
        for waiter in waiters {
            waiter.join().unwrap();
        }
        assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3, 4]);
    }

    /// The one that leaves may be the one that the release has just told to look.
    #[test]
    fn a_waiter_that_leaves_passes_its_look_on() {
        for _ in 0..200 {
            let lock = Arc::new(TestLock::default());
            let cancel = Cancel::default();
            let held = lock
                .acquire(
                    Position::Numbered(0),
                    0,
                    "holder".into(),
                    patient(),
                    &Cancel::default(),
                )
                .unwrap();
            let (own, first_cancel) = (Arc::clone(&lock), cancel.clone());
            let first = thread::spawn(move || {
                own.acquire(
                    Position::Numbered(1),
                    0,
                    "first".into(),
                    patient(),
                    &first_cancel,
                )
                .map(drop)
            });
            queue_of(&lock, 1);
            let own = Arc::clone(&lock);
            let second = thread::spawn(move || {
                own.acquire(
                    Position::Numbered(2),
                    0,
                    "second".into(),
                    patient(),
                    &Cancel::default(),
                )
                .map(drop)
            });
            queue_of(&lock, 2);
            // At the same moment: the first is told that the lock is free, and sees that it is cancelled.
            cancel.set();
            drop(held);
            let _ = first.join().unwrap();
            assert_eq!(second.join().unwrap(), Ok(()));
        }
    }

    #[test]
    fn a_waiter_says_why_it_gave_up() {
        let lock = TestLock::default();
        let cancelled = Cancel::default();
        cancelled.set();
        let held = lock
            .acquire(
                Position::Numbered(0),
                0,
                "holder".into(),
                patient(),
                &Cancel::default(),
            )
            .unwrap();
        let refused = |patience, cancel: &Cancel| {
            lock.acquire(Position::Numbered(1), 0, "late".into(), patience, cancel)
                .unwrap_err()
        };
        assert_eq!(
            refused(within(Duration::from_millis(20)), &Cancel::default()),
            WaitError::WaitedTooLong
        );
        let no_time = WaitLimits {
            latest_start: Some(Instant::now() + Duration::from_millis(20)),
            ..patient()
        };
        assert_eq!(refused(no_time, &Cancel::default()), WaitError::NoTimeLeft);
        assert_eq!(refused(patient(), &cancelled), WaitError::Cancelled);
        assert!(lock.status().queue.is_empty());
        drop(held);
    }

    #[test]
    fn a_free_lock_is_had_even_with_no_time_to_wait() {
        let lock = TestLock::default();
        let none = WaitLimits {
            longest: Instant::now(),
            latest_start: Some(Instant::now()),
        };
        assert!(
            lock.acquire(
                Position::Numbered(0),
                0,
                "now".into(),
                none,
                &Cancel::default()
            )
            .is_ok()
        );
    }

    #[test]
    fn a_cancelled_waiter_leaves_at_once_and_the_others_move_up() {
        let lock = Arc::new(TestLock::default());
        let cancel = Cancel::default();
        let held = lock
            .acquire(
                Position::Numbered(0),
                0,
                "holder".into(),
                patient(),
                &Cancel::default(),
            )
            .unwrap();
        let (first_lock, first_cancel) = (Arc::clone(&lock), cancel.clone());
        let first = thread::spawn(move || {
            first_lock
                .acquire(
                    Position::Numbered(0),
                    0,
                    "first".into(),
                    patient(),
                    &first_cancel,
                )
                .map(drop)
        });
        queue_of(&lock, 1);
        let second_lock = Arc::clone(&lock);
        let second = thread::spawn(move || {
            second_lock
                .acquire(
                    Position::Numbered(2),
                    0,
                    "second".into(),
                    patient(),
                    &Cancel::default(),
                )
                .map(drop)
        });
        queue_of(&lock, 2);
        cancel.set();
        lock.wake_all();
        assert_eq!(first.join().unwrap(), Err(WaitError::Cancelled));
        queue_of(&lock, 1);
        drop(held);
        assert_eq!(second.join().unwrap(), Ok(()));
    }

    #[test]
    fn a_holder_that_panics_releases_the_lock() {
        let lock = Arc::new(TestLock::default());
        let own = Arc::clone(&lock);
        let panicked = thread::spawn(move || {
            let _held = own
                .acquire(
                    Position::Numbered(0),
                    0,
                    "doomed".into(),
                    patient(),
                    &Cancel::default(),
                )
                .unwrap();
            panic!("on purpose");
        });
        assert!(panicked.join().is_err());
        assert!(
            lock.acquire(
                Position::Numbered(1),
                0,
                "next".into(),
                within(Duration::ZERO),
                &Cancel::default()
            )
            .is_ok()
        );
    }

    /// Random arrivals, holds and give-ups: never two holders, every patient waiter is served in the order of
    /// the queue, and nobody is left standing.
    #[test]
    fn random_arrivals_and_give_ups_lose_no_wake_up() {
        const THREADS: u64 = 24;
        const ROUNDS: u64 = 60;
        let lock = Arc::new(TestLock::default());
        let tickets = Arc::new(AtomicU64::new(0));
        let holders = Arc::new(AtomicU64::new(0));
        let served = Arc::new(AtomicU64::new(0));
        let not_run = Arc::new(AtomicU64::new(0));
        let threads: Vec<_> = (0..THREADS)
            .map(|seed| {
                let (lock, holders) = (Arc::clone(&lock), Arc::clone(&holders));
                let (served, not_run) = (Arc::clone(&served), Arc::clone(&not_run));
                let tickets = Arc::clone(&tickets);
                thread::spawn(move || {
                    // xorshift64: the same numbers at each run, other ones in each thread.
                    let mut random = (seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                    let mut next = |below: u64| {
                        random ^= random << 13;
                        random ^= random >> 7;
                        random ^= random << 17;
                        random % below
                    };
                    for _ in 0..ROUNDS {
                        thread::sleep(Duration::from_micros(next(300)));
                        let is_patient = next(2) == 0;
                        let patience = if is_patient {
                            patient()
                        } else {
                            within(Duration::from_micros(next(3_000)))
                        };
                        let ticket = tickets.fetch_add(1, Ordering::SeqCst);
                        match lock.acquire(
                            Position::Numbered(ticket),
                            0,
                            seed.to_string(),
                            patience,
                            &Cancel::default(),
                        ) {
                            Ok(_held) => {
                                assert_eq!(
                                    holders.fetch_add(1, Ordering::SeqCst),
                                    0,
                                    "two holders"
                                );
                                thread::sleep(Duration::from_micros(next(200)));
                                holders.fetch_sub(1, Ordering::SeqCst);
                                served.fetch_add(1, Ordering::SeqCst);
                            }
                            Err(reason) => {
                                assert_eq!(reason, WaitError::WaitedTooLong);
                                assert!(!is_patient, "a patient waiter was left standing");
                                not_run.fetch_add(1, Ordering::SeqCst);
                            }
                        }
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(
            served.load(Ordering::SeqCst) + not_run.load(Ordering::SeqCst),
            THREADS * ROUNDS
        );
        assert!(
            not_run.load(Ordering::SeqCst) > 0,
            "nobody gave up: the test shows nothing"
        );
        let status = lock.status();
        assert!(status.holder.is_none() && status.queue.is_empty());
    }
}
