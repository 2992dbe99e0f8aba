//! The test lock: one holder at a time, strictly first come, first served, with a bounded wait.
//!
//! Must not know what it protects. The queue decides who is next. A notification only means "check again": the first
//! waiter in the queue takes the lock when it is free. A waiter that gives up leaves the queue and wakes the others, so
//! no wake-up is lost. (Refused: passing the lock on inside the notification, as a semaphore does. A waiter that
//! times out at that moment would take the lock with it.)

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex};
use std::time::Instant;

use crate::cancel::{Cancel, Cause};
use crate::moment::Moment;
use crate::sync;

/// Why a waiter gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GiveUpReason {
    /// The wait reached its maximum duration.
    WaitedTooLong,
    /// The latest useful start has passed.
    TooLate,
    Cancelled(Cause),
}

/// A waiter that gave up, and the state of the lock at that moment.
#[derive(Debug)]
pub(super) struct AcquireError {
    pub(super) reason: GiveUpReason,
    pub(super) holder: Option<Place>,
    /// Number of other waiters ahead of it and behind it.
    pub(super) ahead: usize,
    pub(super) behind: usize,
}

/// The earlier of two limits, and why it ends the wait. `longest` ends any wait, and after `latest_start` the lock is
/// of no use. The reason does not depend on how late a thread checks.
pub(super) fn earliest_limit(
    longest: Instant,
    latest_start: Option<Instant>,
) -> (Instant, GiveUpReason) {
    match latest_start {
        Some(latest) if latest < longest => (latest, GiveUpReason::TooLate),
        _ => (longest, GiveUpReason::WaitedTooLong),
    }
}

/// The holder of the lock, or a waiter.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The unique number of the probe.
    pub(crate) probe: u64,
    pub(crate) name: String,
    pub(crate) since: Moment,
}

/// Snapshot of the lock, as `/lock-status` shows it.
#[derive(Debug)]
pub(crate) struct Status {
    pub(crate) holder: Option<Place>,
    /// The waiters, next one first.
    pub(crate) queue: Vec<Place>,
}

#[derive(Debug, Default)]
pub(super) struct TestLock {
    state: Mutex<State>,
    /// Shared by all waiters: at most a few hundred wake up, once per test.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    holder: Option<Place>,
    /// Ordered by request number, and by arrival where numbers are equal.
    queue: VecDeque<(u64, Place)>,
    /// The highest request number so far.
    latest: u64,
}

/// Holds the lock until it is dropped, also when a panic drops it.
#[derive(Debug)]
pub(super) struct Guard<'a>(&'a TestLock);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        sync::lock(&self.0.state).holder = None;
        self.0.changed.notify_all();
    }
}

impl TestLock {
    /// Takes the lock when all waiters ahead have had it, or gives up at `until` with `reason`.
    ///
    /// The queue is ordered by numbers that are assigned when requests arrive, because the threads that bring them here
    /// may overtake each other. A probe that already had the lock passes no number. It is queued after everything that
    /// has arrived so far and before everything that arrives later.
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
            // A thread may check long after the lock became free.
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

    /// Wakes all waiters so that they re-check for cancellation.
    pub(super) fn wake_all(&self) {
        // Locking first ensures that a waiter that has already checked is waiting, so the notification reaches it.
        drop(sync::lock(&self.state));
        self.changed.notify_all();
    }

    /// The current holder and waiters.
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

    /// Longer than any step takes: a test that reaches it has failed.
    const LONG: Duration = Duration::from_secs(60);

    fn patient() -> (Instant, GiveUpReason) {
        within(LONG)
    }

    fn within(limit: Duration) -> (Instant, GiveUpReason) {
        earliest_limit(Instant::now() + limit, None)
    }

    /// Acquires the lock for the probe with this number.
    fn acquire<'a>(
        lock: &'a TestLock,
        number: u64,
        limit: (Instant, GiveUpReason),
        cancel: &Cancel,
    ) -> Result<Guard<'a>, AcquireError> {
        lock.acquire(Some(number), number, number.to_string(), limit, cancel)
    }

    /// Why the waiter gave up.
    fn refusal(got: Result<Guard<'_>, AcquireError>) -> GiveUpReason {
        got.map(drop).unwrap_err().reason
    }

    /// Takes the free lock, with a number before all others.
    fn hold(lock: &TestLock) -> Guard<'_> {
        acquire(lock, 0, within(Duration::ZERO), &Cancel::default()).unwrap()
    }

    /// Waits until the queue has `count` entries.
    fn queue_of(lock: &TestLock, count: usize) {
        let end = Instant::now() + LONG;
        while lock.status().queue.len() != count {
            assert!(Instant::now() < end, "the queue never had {count} entries");
            thread::yield_now();
        }
    }

    /// Queues waiters with these numbers one by one while the lock is held. Returns the order in which they get it, as
    /// indexes into `numbers`.
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
            // The last waiter may not have recorded its turn yet.
            let end = Instant::now() + LONG;
            while order.lock().unwrap().len() < numbers.len() {
                assert!(Instant::now() < end, "a waiter never got the lock");
                thread::yield_now();
            }
            assert_eq!(shown, *order.lock().unwrap(), "wrong order in the queue");
        });
        assert!(lock.status().holder.is_none());
        order.into_inner().unwrap()
    }

    #[test]
    fn waiters_are_served_in_order_of_arrival() {
        let numbers: Vec<Option<u64>> = (0..50).map(Some).collect();
        assert_eq!(served(&numbers), (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn the_request_number_decides_and_not_the_time_of_queueing() {
        assert_eq!(served(&[3, 1, 4, 2].map(Some)), [1, 3, 0, 2]);
    }

    #[test]
    fn a_returning_waiter_is_queued_after_earlier_and_before_later_arrivals() {
        let numbers = [Some(1), Some(2), None, Some(3), None];
        assert_eq!(served(&numbers), [0, 1, 2, 3, 4]);
    }

    /// The waiter that leaves may be the one that the release has just woken.
    #[test]
    fn a_waiter_that_leaves_does_not_lose_the_wake_up() {
        for _ in 0..200 {
            let (lock, cancel) = (TestLock::default(), Cancel::default());
            let held = hold(&lock);
            thread::scope(|scope| {
                scope.spawn(|| drop(acquire(&lock, 1, patient(), &cancel)));
                queue_of(&lock, 1);
                let second =
                    scope.spawn(|| acquire(&lock, 2, patient(), &Cancel::default()).is_ok());
                queue_of(&lock, 2);
                // The first waiter is woken by the release and finds that it is cancelled.
                cancel.set(Cause::ClientGone);
                drop(held);
                assert!(second.join().unwrap());
            });
        }
    }

    #[test]
    fn a_waiter_reports_why_it_gave_up() {
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
    fn giving_up_reports_the_holder_and_the_number_of_waiters() {
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
    fn the_earlier_limit_is_the_reason_however_late_the_check_is() {
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
    fn a_free_lock_is_taken_even_with_no_time_to_wait() {
        let lock = TestLock::default();
        let none = earliest_limit(Instant::now(), Some(Instant::now()));
        assert!(acquire(&lock, 0, none, &Cancel::default()).is_ok());
    }

    #[test]
    fn a_lock_that_becomes_free_too_late_is_not_taken() {
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

    /// One round of a thread: it arrives, waits, and holds the lock.
    struct Round {
        before: Duration,
        /// `None` waits without a limit.
        limit: Option<Duration>,
        hold: Duration,
    }

    /// Random arrivals, holds and give-ups: there are never two holders, and every patient waiter gets the lock.
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
                        assert!(!is_patient, "a patient waiter never got the lock");
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
            assert!(gave_up > 0, "no waiter gave up: the test shows nothing");
            let status = lock.status();
            assert!(status.holder.is_none() && status.queue.is_empty());
        });
    }
}
