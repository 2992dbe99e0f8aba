//! The test lock: one holder at a time, strictly first come, first served, with a bounded wait.
//!
//! Must not know what it protects. The queue is the truth and a notification only says "look again": whoever
//! stands first when the lock is free takes it. A waiter that gives up leaves the queue and makes the others
//! look, so no wake-up can be lost with it. (Refused: handing the lock over inside the notification, as a
//! semaphore does. A waiter that times out at that moment would take the hand-over with it.)

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex};
use std::time::Instant;

use crate::cancel::{Cancel, Cause};
use crate::moment::Moment;
use crate::sync;

/// Why a wait was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GiveUpReason {
    /// It lasted as long as a wait may.
    WaitedTooLong,
    /// It was of no use any more.
    TooLate,
    Cancelled(Cause),
}

/// A wait that was given up, and how the lock stood at that moment.
#[derive(Debug)]
pub(super) struct AcquireError {
    pub(super) reason: GiveUpReason,
    pub(super) holder: Option<Place>,
    /// How many others stood in line, before it and behind it.
    pub(super) ahead: usize,
    pub(super) behind: usize,
}

/// When a wait ends that may last until `longest` and is of use until `latest_start`, and why: the limit that comes
/// first, however late a thread gets to look.
pub(super) fn earliest_limit(
    longest: Instant,
    latest_start: Option<Instant>,
) -> (Instant, GiveUpReason) {
    match latest_start {
        Some(latest) if latest < longest => (latest, GiveUpReason::TooLate),
        _ => (longest, GiveUpReason::WaitedTooLong),
    }
}

/// Who holds the lock, or waits for it.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The number of the probe, which no other one has.
    pub(crate) probe: u64,
    pub(crate) name: String,
    pub(crate) since: Moment,
}

/// The lock as `/lock-status` shows it, all of one moment.
#[derive(Debug)]
pub(crate) struct Status {
    pub(crate) holder: Option<Place>,
    /// Who waits, first in line first.
    pub(crate) queue: Vec<Place>,
}

#[derive(Debug, Default)]
pub(super) struct TestLock {
    state: Mutex<State>,
    /// One for all waiters: a few hundred at most look, once a test.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    holder: Option<Place>,
    /// In the order of their numbers, and of coming where these are the same.
    queue: VecDeque<(u64, Place)>,
    /// The highest number that has come so far.
    latest: u64,
}

/// Holds the lock until it is dropped, in a panic too.
#[derive(Debug)]
pub(super) struct Guard<'a>(&'a TestLock);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        sync::lock(&self.0.state).holder = None;
        self.0.changed.notify_all();
    }
}

impl TestLock {
    /// Takes the lock, when everyone before it in line has had it, or gives up at `until` with `reason`.
    ///
    /// The line is in the order of numbers that are given out where requests come in: the threads that bring them here
    /// may overtake each other. Who had its turn already has no number, and stands behind everyone who has come so far
    /// and before everyone who comes later.
    pub(super) fn acquire(
        &self,
        number: Option<u64>,
        probe: u64,
        name: String,
        (until, reason): (Instant, GiveUpReason),
        cancel: &Cancel,
    ) -> Result<Guard<'_>, AcquireError> {
        let mut state = sync::lock(&self.state);
        let number = number.unwrap_or(state.latest);
        state.latest = state.latest.max(number);
        let since = Moment::now();
        let at = state.queue.partition_point(|(other, _)| *other <= number);
        let place = Place { probe, name, since };
        state.queue.insert(at, (number, place));
        let mut has_waited = false;
        let reason = loop {
            if let Some(cause) = cancel.cause() {
                break GiveUpReason::Cancelled(cause);
            }
            let first = state.queue.front();
            let is_first = first.is_some_and(|(_, place)| place.probe == probe);
            // A thread may get to look long after the lock was free.
            let is_too_late =
                has_waited && reason == GiveUpReason::TooLate && Instant::now() >= until;
            if is_first && state.holder.is_none() && !is_too_late {
                state.holder = state.queue.pop_front().map(|(_, place)| Place {
                    since: Moment::now(),
                    ..place
                });
                return Ok(Guard(self));
            }
            if Instant::now() >= until {
                break reason;
            }
            has_waited = true;
            state = sync::wait_until(&self.changed, state, until);
        };
        let mut waiting = state.queue.iter();
        let ahead = waiting.position(|(_, place)| place.probe == probe);
        let ahead = ahead.unwrap_or_default();
        state.queue.retain(|(_, place)| place.probe != probe);
        self.changed.notify_all();
        Err(AcquireError {
            reason,
            holder: state.holder.clone(),
            ahead,
            behind: state.queue.len() - ahead,
        })
    }

    /// Makes every waiter look whether it is cancelled.
    pub(super) fn wake_all(&self) {
        // Who has looked already waits by now, and is not missed.
        drop(sync::lock(&self.state));
        self.changed.notify_all();
    }

    /// Who holds it and who waits, at this moment.
    pub(super) fn status(&self) -> Status {
        let state = sync::lock(&self.state);
        Status {
            holder: state.holder.clone(),
            queue: state.queue.iter().map(|(_, place)| place.clone()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{AcquireError, GiveUpReason, Guard, TestLock, earliest_limit};
    use crate::cancel::{Cancel, Cause};
    use crate::fuzz::cases;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::thread;
    use std::time::{Duration, Instant};

    /// Longer than anything takes: a test that gets so far has failed.
    const LONG: Duration = Duration::from_secs(60);

    fn patient() -> (Instant, GiveUpReason) {
        within(LONG)
    }

    fn within(limit: Duration) -> (Instant, GiveUpReason) {
        earliest_limit(Instant::now() + limit, None)
    }

    /// The lock, for the probe of this number.
    fn acquire<'a>(
        lock: &'a TestLock,
        number: u64,
        limit: (Instant, GiveUpReason),
        cancel: &Cancel,
    ) -> Result<Guard<'a>, AcquireError> {
        lock.acquire(Some(number), number, number.to_string(), limit, cancel)
    }

    /// Why a wait was given up.
    fn refusal(got: Result<Guard<'_>, AcquireError>) -> GiveUpReason {
        got.map(drop).unwrap_err().reason
    }

    /// The free lock, for one who came before everyone else.
    fn hold(lock: &TestLock) -> Guard<'_> {
        acquire(lock, 0, within(Duration::ZERO), &Cancel::default()).unwrap()
    }

    /// Waits until `count` stand in line.
    fn queue_of(lock: &TestLock, count: usize) {
        let end = Instant::now() + LONG;
        while lock.status().queue.len() != count {
            assert!(Instant::now() < end, "waited in vain for {count} in line");
            thread::yield_now();
        }
    }

    /// Lets waiters come with these numbers, one after the other, while the lock is held: in which order they have it,
    /// each by its place among `numbers`.
    fn served(numbers: &[Option<u64>]) -> Vec<u64> {
        let lock = TestLock::default();
        let order = Mutex::new(Vec::new());
        let held = hold(&lock);
        thread::scope(|scope| {
            for (index, number) in (0..).zip(numbers) {
                let (lock, order) = (&lock, &order);
                scope.spawn(move || {
                    let cancel = Cancel::default();
                    let _held = lock
                        .acquire(*number, index, String::new(), patient(), &cancel)
                        .unwrap();
                    order.lock().unwrap().push(index);
                });
                queue_of(lock, usize::try_from(index).unwrap() + 1);
            }
            let shown = lock.status().queue.into_iter();
            let shown: Vec<u64> = shown.map(|place| place.probe).collect();
            drop(held);
            queue_of(&lock, 0);
            // The last one may still be about to say so.
            let end = Instant::now() + LONG;
            while order.lock().unwrap().len() < numbers.len() {
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
        let numbers: Vec<Option<u64>> = (0..50).map(Some).collect();
        assert_eq!(served(&numbers), (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn a_number_counts_and_not_the_moment_it_is_shown() {
        assert_eq!(served(&[3, 1, 4, 2].map(Some)), [1, 3, 0, 2]);
    }

    #[test]
    fn who_had_its_turn_stands_behind_those_who_came_and_before_those_who_come() {
        let numbers = [Some(1), Some(2), None, Some(3), None];
        assert_eq!(served(&numbers), [0, 1, 2, 3, 4]);
    }

    /// The one that leaves may be the one that the release has just told to look.
    #[test]
    fn a_waiter_that_leaves_passes_its_look_on() {
        for _ in 0..200 {
            let (lock, cancel) = (TestLock::default(), Cancel::default());
            let held = hold(&lock);
            thread::scope(|scope| {
                scope.spawn(|| drop(acquire(&lock, 1, patient(), &cancel)));
                queue_of(&lock, 1);
                let second =
                    scope.spawn(|| acquire(&lock, 2, patient(), &Cancel::default()).is_ok());
                queue_of(&lock, 2);
                // At the same moment: the first is told that the lock is free, and sees that it is cancelled.
                cancel.set(Cause::ClientGone);
                drop(held);
                assert!(second.join().unwrap());
            });
        }
    }

    #[test]
    fn a_waiter_says_why_it_gave_up() {
        let lock = TestLock::default();
        let cancelled = Cancel::default();
        cancelled.set(Cause::ClientGone);
        let held = hold(&lock);
        let refused = |limit, cancel| refusal(acquire(&lock, 1, limit, cancel));
        let now = Instant::now();
        let no_time = earliest_limit(now + LONG, Some(now + Duration::from_millis(20)));
        let wanted = Cancel::default();
        let soon = within(Duration::from_millis(20));
        assert_eq!(refused(soon, &wanted), GiveUpReason::WaitedTooLong);
        assert_eq!(refused(no_time, &wanted), GiveUpReason::TooLate);
        assert_eq!(
            refused(patient(), &cancelled),
            GiveUpReason::Cancelled(Cause::ClientGone)
        );
        assert!(lock.status().queue.is_empty());
        drop(held);
    }

    #[test]
    fn a_wait_that_was_given_up_tells_who_has_the_lock_and_how_many_wait() {
        let (lock, cancel) = (TestLock::default(), Cancel::default());
        let held = hold(&lock);
        thread::scope(|scope| {
            for number in [1, 2, 9] {
                let (lock, cancel) = (&lock, &cancel);
                scope.spawn(move || drop(acquire(lock, number, patient(), cancel)));
            }
            queue_of(&lock, 3);
            let error = acquire(&lock, 5, within(Duration::ZERO), &Cancel::default());
            let error = error.map(drop).unwrap_err();
            assert_eq!((error.ahead, error.behind), (2, 1));
            assert_eq!(error.holder.map(|place| place.probe), Some(0));
            cancel.set(Cause::ShuttingDown);
            drop(held);
        });
    }

    #[test]
    fn the_limit_that_came_first_is_the_reason_however_late_it_is() {
        let now = Instant::now();
        let ago = |seconds| now.checked_sub(Duration::from_secs(seconds)).unwrap();
        let lock = TestLock::default();
        let _held = hold(&lock);
        for (longest, latest_start, reason) in [
            (ago(1), Some(ago(2)), GiveUpReason::TooLate),
            (ago(2), Some(ago(1)), GiveUpReason::WaitedTooLong),
            (ago(1), None, GiveUpReason::WaitedTooLong),
            (ago(1), Some(now + LONG), GiveUpReason::WaitedTooLong),
            (now + LONG, Some(ago(1)), GiveUpReason::TooLate),
        ] {
            let limit = earliest_limit(longest, latest_start);
            let got = acquire(&lock, 1, limit, &Cancel::default());
            assert_eq!(refusal(got), reason, "{limit:?}");
        }
    }

    #[test]
    fn a_free_lock_is_had_even_with_no_time_to_wait() {
        let lock = TestLock::default();
        let none = earliest_limit(Instant::now(), Some(Instant::now()));
        assert!(acquire(&lock, 0, none, &Cancel::default()).is_ok());
    }

    #[test]
    fn a_lock_that_is_free_too_late_is_of_no_use() {
        let lock = TestLock::default();
        let until = Instant::now() + Duration::from_secs(2);
        let held = hold(&lock);
        thread::scope(|scope| {
            let late = scope.spawn(|| {
                refusal(acquire(
                    &lock,
                    1,
                    (until, GiveUpReason::TooLate),
                    &Cancel::default(),
                ))
            });
            queue_of(&lock, 1);
            let mut state = lock.state.lock().unwrap();
            while Instant::now() < until {
                thread::sleep(Duration::from_millis(10));
            }
            state.holder = None;
            drop(state);
            assert_eq!(late.join().unwrap(), GiveUpReason::TooLate);
        });
        drop(held);
    }

    #[test]
    fn a_cancelled_waiter_leaves_at_once_and_the_others_move_up() {
        let (lock, cancel) = (TestLock::default(), Cancel::default());
        let held = hold(&lock);
        thread::scope(|scope| {
            let first = scope.spawn(|| refusal(acquire(&lock, 0, patient(), &cancel)));
            queue_of(&lock, 1);
            let second = scope.spawn(|| acquire(&lock, 2, patient(), &Cancel::default()).is_ok());
            queue_of(&lock, 2);
            cancel.set(Cause::ClientGone);
            lock.wake_all();
            // While the lock is still held.
            assert_eq!(
                first.join().unwrap(),
                GiveUpReason::Cancelled(Cause::ClientGone)
            );
            queue_of(&lock, 1);
            drop(held);
            assert!(second.join().unwrap());
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
        let next = acquire(&lock, 1, within(Duration::ZERO), &Cancel::default());
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
                let limit = within(round.limit.unwrap_or(LONG));
                let number = tickets.fetch_add(1, Ordering::SeqCst);
                match acquire(&lock, number, limit, &Cancel::default()) {
                    Ok(_held) => {
                        let others = holders.fetch_add(1, Ordering::SeqCst);
                        assert_eq!(others, 0, "two holders");
                        thread::sleep(round.hold);
                        holders.fetch_sub(1, Ordering::SeqCst);
                        served.fetch_add(1, Ordering::SeqCst);
                    }
                    Err(error) => {
                        assert_eq!(error.reason, GiveUpReason::WaitedTooLong);
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
