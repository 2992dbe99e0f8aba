//! The result cache: results stored for later scrapes, and in-flight tests that several scrapes share.
//!
//! Decides what is stored and for how long. Must not know how a test is run or reported. Bounded by `MAX_RESULTS`:
//! entries without a success are evicted first, then the least recently requested one. In memory only.

use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::{Duration, Instant};

use crate::cancel::Cancel;
use crate::probe::answer::CompletedTest;
use crate::probe::params::Params;
use crate::probe::wait_error::WaitError;
use crate::sync;

/// Maximum number of stored results.
pub(super) const MAX_RESULTS: usize = 256;
/// Maximum number of in-flight tests, each on its own thread. It is below [`MAX_RESULTS`], so that there are always
/// entries that can be evicted.
const MAX_IN_FLIGHT: usize = 128;
/// How long a failure that no request waited for can be delivered to a later request. An older one says little about
/// the network.
const UNDELIVERED_FOR: Duration = Duration::from_secs(300);

/// A queued or running test, shared by its waiters. A waiter holds a reference from the moment of the lookup, so that
/// even a test that ends at once can see that somebody waits.
#[derive(Debug)]
pub(super) struct InFlightTest {
    /// The number of its probe, once assigned.
    pub(super) probe: OnceLock<u64>,
    end: OnceLock<Result<Arc<CompletedTest>, WaitError>>,
    /// The test cannot end before this.
    earliest_end: Instant,
}

/// The outcome of a lookup.
#[derive(Debug)]
pub(super) enum Found {
    /// A result that is recent enough.
    Result(Arc<CompletedTest>),
    /// A test in flight.
    Running(Arc<InFlightTest>),
    /// No result: the caller must run this test and complete it.
    Nothing(Arc<InFlightTest>),
    /// No result, and too many tests in flight.
    NoRoom,
}

#[derive(Debug, Default)]
pub(super) struct ResultCache {
    /// Most recently requested entry last. A list is fast enough: comparing a few hundred entries takes far less time
    /// than a test.
    entries: Mutex<Vec<Entry>>,
    /// Notified when a test ends or a waiter is cancelled.
    changed: Condvar,
}

/// What is known about one test.
#[derive(Debug)]
struct Entry {
    test: Params,
    success: Option<Arc<CompletedTest>>,
    /// The failure after that success, if there was one.
    failure: Option<Arc<CompletedTest>>,
    /// No request waited for that failure, and no request has asked for this test since.
    is_undelivered: bool,
    in_flight: Option<Arc<InFlightTest>>,
}

impl ResultCache {
    /// Looks for a result of `test` not older than `max_age`, or for this test in flight. If there is neither,
    /// registers a new test that takes at least `length`.
    pub(super) fn find(&self, test: &Params, max_age: Duration, length: Duration) -> Found {
        let mut entries = sync::lock(&self.entries);
        let in_flight = entries.iter().filter(|entry| entry.in_flight.is_some());
        let has_room = in_flight.count() < MAX_IN_FLIGHT;
        let known = take(&mut entries, test);
        // A rejected request must not evict an entry.
        if known.is_none() && !has_room {
            return Found::NoRoom;
        }
        let mut entry = known.unwrap_or_else(|| Entry::new(test));
        let found = entry.look(max_age, length, has_room);
        if entries.len() >= MAX_RESULTS {
            let idle = entries.iter().enumerate();
            let idle = idle.filter(|(_, entry)| entry.in_flight.is_none());
            // Entries without a success go first: little is lost with them.
            if let Some((place, _)) = idle.min_by_key(|(_, entry)| entry.success.is_some()) {
                entries.remove(place);
            }
        }
        entries.push(entry);
        found
    }

    /// Waits for a test to end; `None` when `until` comes first or is certain to, or when `cancel` is set.
    pub(super) fn wait(
        &self,
        test: Arc<InFlightTest>,
        until: Option<Instant>,
        cancel: &Cancel,
    ) -> Option<Result<Arc<CompletedTest>, WaitError>> {
        /// Duration of one wait when `until` sets no limit.
        const LONG: Duration = Duration::from_secs(3600);
        let mut entries = sync::lock(&self.entries);
        loop {
            if let Some(end) = test.end.get() {
                return Some(end.clone());
            }
            let now = Instant::now();
            let is_too_late = until.is_some_and(|until| until <= now || until < test.earliest_end);
            if is_too_late || cancel.is_set() {
                // Dropped while the entries are locked: `complete` counts the references to see whether somebody waits.
                drop(test);
                return None;
            }
            entries = sync::wait_until(&self.changed, entries, until.unwrap_or(now + LONG));
        }
    }

    /// Ends this test, if it is in flight. Delivers the result to all waiters, and stores a failure. A failure without
    /// waiters is marked as undelivered.
    pub(super) fn complete(&self, test: &Params, end: Result<Arc<CompletedTest>, WaitError>) {
        let mut entries = sync::lock(&self.entries);
        let Some(entry) = entries.iter_mut().find(|entry| entry.test == *test) else {
            return;
        };
        let Some(in_flight) = entry.in_flight.take() else {
            return;
        };
        if let Ok(completed) = &end
            && completed.outcome.is_err()
        {
            entry.failure = Some(trimmed(completed));
            entry.is_undelivered = Arc::strong_count(&in_flight) == 1;
        }
        // Set only here, once per test.
        let _ = in_flight.end.set(end);
        self.changed.notify_all();
    }

    /// Stores a success if the test already has an entry or the cache is not full.
    pub(super) fn keep(&self, test: &Params, completed: &CompletedTest) {
        let mut entries = sync::lock(&self.entries);
        let known = take(&mut entries, test);
        if known.is_some() || entries.len() < MAX_RESULTS {
            entries.push(Entry {
                success: Some(trimmed(completed)),
                in_flight: known.and_then(|entry| entry.in_flight),
                ..Entry::new(test)
            });
        }
    }

    /// The last result of `test`, of any age, also a failure: for requests that cannot wait for the next one.
    pub(super) fn last(&self, test: &Params) -> Option<Arc<CompletedTest>> {
        let mut entries = sync::lock(&self.entries);
        let entry = entries.iter_mut().find(|entry| entry.test == *test)?;
        // This delivers the failure.
        entry.is_undelivered = false;
        entry.failure.as_ref().or(entry.success.as_ref()).cloned()
    }

    /// The last success of `test`, of any age.
    pub(super) fn last_success(&self, test: &Params) -> Option<Arc<CompletedTest>> {
        let entries = sync::lock(&self.entries);
        let entry = entries.iter().find(|entry| entry.test == *test)?;
        entry.success.clone()
    }

    /// Number of stored results.
    pub(super) fn count(&self) -> usize {
        let entries = sync::lock(&self.entries);
        entries
            .iter()
            .filter(|entry| entry.success.is_some())
            .count()
    }

    /// Wakes all waiters so that they re-check for cancellation.
    pub(super) fn wake_all(&self) {
        // Locking first ensures that a waiter that has already checked is waiting, so the notification reaches it.
        drop(sync::lock(&self.entries));
        self.changed.notify_all();
    }

    /// Blocks until no test is in flight, or until `until`. For shutdown, which cancels the tests.
    pub(super) fn wait_until_idle(&self, until: Instant) {
        let mut entries = sync::lock(&self.entries);
        while entries.iter().any(|entry| entry.in_flight.is_some()) && Instant::now() < until {
            entries = sync::wait_until(&self.changed, entries, until);
        }
    }
}

fn take(entries: &mut Vec<Entry>, test: &Params) -> Option<Entry> {
    let place = entries.iter().position(|entry| entry.test == *test)?;
    Some(entries.remove(place))
}

impl Entry {
    fn new(test: &Params) -> Self {
        Self {
            test: test.clone(),
            success: None,
            failure: None,
            is_undelivered: false,
            in_flight: None,
        }
    }

    fn look(&mut self, max_age: Duration, length: Duration, has_room: bool) -> Found {
        let is_young = |kept: &&Arc<CompletedTest>, max: Duration| kept.ended.elapsed() <= max;
        let success = self.success.as_ref();
        if let Some(kept) = success.filter(|kept| is_young(kept, max_age)) {
            return Found::Result(Arc::clone(kept));
        }
        let failure = self.failure.as_ref();
        if std::mem::take(&mut self.is_undelivered)
            && let Some(kept) = failure.filter(|kept| is_young(kept, max_age.min(UNDELIVERED_FOR)))
        {
            return Found::Result(Arc::clone(kept));
        }
        if let Some(test) = &self.in_flight {
            return Found::Running(Arc::clone(test));
        }
        if !has_room {
            return Found::NoRoom;
        }
        let test = Arc::new(InFlightTest {
            probe: OnceLock::new(),
            end: OnceLock::new(),
            earliest_end: Instant::now() + length,
        });
        self.in_flight = Some(Arc::clone(&test));
        Found::Nothing(test)
    }
}

/// A copy without the parts that only the requesting client gets, so that the cache stays small.
fn trimmed(completed: &CompletedTest) -> Arc<CompletedTest> {
    let mut completed = completed.clone();
    // The page shows the intervals from `history`.
    if let Ok(report) = &mut completed.outcome {
        for direction in report.upload.iter_mut().chain(&mut report.download) {
            direction.intervals = Vec::new();
        }
    }
    let earlier = completed.attempts.len().saturating_sub(1);
    completed.attempts.drain(..earlier);
    for attempt in &mut completed.attempts {
        attempt.details.end_part = None;
    }
    Arc::new(completed)
}

#[cfg(test)]
mod tests {
    use super::{Found, MAX_IN_FLIGHT, MAX_RESULTS, ResultCache};
    use crate::cancel::{Cancel, Cause};
    use crate::iperf3::reason::Reason;
    use crate::iperf3::report::intervals::Interval;
    use crate::iperf3::report::metadata::Congestion;
    use crate::iperf3::report::{Direction, Report, Transfer};
    use crate::iperf3::{Failure, Outcome, Run};
    use crate::moment::Moment;
    use crate::probe::answer::{Attempt, CompletedTest};
    use crate::probe::params::Params;
    use crate::probe::wait_error::WaitError;
    use std::sync::Arc;
    use std::thread;
    use std::time::{Duration, Instant};

    const MINUTE: Duration = Duration::from_secs(60);

    fn test_of(target: &str) -> Params {
        Params::parse(&format!("target={target}")).unwrap().test()
    }

    /// One success and one failure.
    fn outcomes() -> [Outcome; 2] {
        let message = "x".to_owned();
        let reason = Reason::Refused;
        [Ok(Report::default()), Err(Failure { reason, message })]
    }

    fn success() -> Outcome {
        let [success, _] = outcomes();
        success
    }

    fn failure() -> Outcome {
        let [_, failure] = outcomes();
        failure
    }

    fn completed(outcome: Outcome) -> CompletedTest {
        CompletedTest {
            outcome,
            port: 5201,
            count: 1,
            attempts: Vec::new(),
            cut_off: None,
            lock_wait: Duration::ZERO,
            ended: Moment::now(),
        }
    }

    /// Ends the test in flight as a probe does.
    fn complete(results: &ResultCache, test: &Params, completed: CompletedTest) {
        if completed.outcome.is_ok() {
            results.keep(test, &completed);
        }
        results.complete(test, Ok(Arc::new(completed)));
    }

    /// The same test, as if it had ended `age` ago.
    fn aged(mut completed: CompletedTest, age: Duration) -> CompletedTest {
        let ended = &mut completed.ended.instant;
        *ended = ended.checked_sub(age).unwrap();
        completed
    }

    fn find(results: &ResultCache, test: &Params) -> Found {
        results.find(test, MINUTE, Duration::ZERO)
    }

    /// Stops waiting at once, like a request without time left.
    fn leave(results: &ResultCache, found: Found) {
        let (Found::Nothing(waiter) | Found::Running(waiter)) = found else {
            panic!("no test in flight")
        };
        let now = Some(Instant::now());
        assert!(results.wait(waiter, now, &Cancel::default()).is_none());
    }

    #[test]
    fn a_success_is_reused_while_it_is_recent_enough() {
        let (results, test) = (ResultCache::default(), test_of("a"));
        let Found::Nothing(_) = find(&results, &test) else {
            panic!("something was found")
        };
        complete(&results, &test, aged(completed(success()), MINUTE / 2));
        assert!(matches!(find(&results, &test), Found::Result(_)));
        let young = results.find(&test, MINUTE / 4, Duration::ZERO);
        assert!(matches!(young, Found::Nothing(_)));
        assert!(results.last_success(&test).is_some());
        assert!(results.last_success(&test_of("b")).is_none());
    }

    #[test]
    fn concurrent_requests_share_one_test() {
        let (results, test) = (Arc::new(ResultCache::default()), test_of("a"));
        let Found::Nothing(first_waiter) = find(&results, &test) else {
            panic!("something was found")
        };
        let waiters: Vec<_> = (0..10)
            .map(|_| {
                let Found::Running(waiter) = find(&results, &test) else {
                    panic!("no test in flight to join")
                };
                let results = Arc::clone(&results);
                thread::spawn(move || results.wait(waiter, None, &Cancel::default()))
            })
            .collect();
        // The ten waiters, this test's own reference, and the cache's.
        assert_eq!(Arc::strong_count(&first_waiter), 12);
        complete(&results, &test, completed(failure()));
        for waiter in waiters {
            let end = waiter.join().unwrap().unwrap().unwrap();
            assert_eq!(end.outcome, failure());
        }
        // It was delivered, so it is not delivered again.
        assert!(matches!(find(&results, &test), Found::Nothing(_)));
    }

    #[test]
    fn a_failure_without_waiters_is_delivered_once() {
        let (results, test) = (ResultCache::default(), test_of("a"));
        leave(&results, find(&results, &test));
        complete(&results, &test, completed(failure()));
        let Found::Result(delivered) = find(&results, &test) else {
            panic!("it was lost")
        };
        assert_eq!(delivered.outcome, failure());
        leave(&results, find(&results, &test));
        complete(&results, &test, aged(completed(failure()), MINUTE * 2));
        assert!(matches!(find(&results, &test), Found::Nothing(_)));
    }

    #[test]
    fn a_stored_result_has_the_last_attempt_without_intervals_and_end_part() {
        let (results, test) = (ResultCache::default(), test_of("a"));
        let mut delivered = completed(success());
        let second = Interval {
            start_seconds: 0.0,
            end_seconds: 1.0,
            bytes_per_second: 1.0,
        };
        let nothing = Transfer {
            seconds: None,
            bytes: None,
        };
        let direction = Direction {
            sent: nothing,
            received: nothing,
            retransmits: None,
            udp: None,
            tcp: None,
            streams: 1.0,
            rates: None,
            intervals: vec![second; 3],
            congestion: Congestion::default(),
        };
        let report = delivered.outcome.as_mut().unwrap();
        (report.upload, report.download) = (Some(direction.clone()), Some(direction));
        let mut details = Run::refused(5201, failure().unwrap_err()).details;
        details.stderr = "e".repeat(4096);
        details.end_part = Some("{}".to_owned());
        let attempt = Attempt {
            waited: None,
            details,
            failure: None,
        };
        delivered.attempts = vec![attempt; 3];
        results.keep(&test, &delivered);
        let kept = results.last(&test).unwrap();
        let report = kept.outcome.as_ref().unwrap();
        for direction in [&report.upload, &report.download] {
            assert!(direction.as_ref().unwrap().intervals.is_empty());
        }
        let [Attempt { details, .. }] = kept.attempts.as_slice() else {
            panic!("{} attempts", kept.attempts.len())
        };
        assert_eq!((details.stderr.len(), &details.end_part), (4096, &None));
        // The requesting client gets everything.
        let all = delivered.outcome.as_ref().unwrap().upload.as_ref();
        assert_eq!(all.unwrap().intervals.len(), 3);
    }

    #[test]
    fn a_request_without_time_does_not_wait() {
        let (results, test) = (ResultCache::default(), test_of("a"));
        let Found::Nothing(waiter) = results.find(&test, MINUTE, MINUTE) else {
            panic!("something was found")
        };
        let soon = Instant::now() + MINUTE / 2;
        assert!(
            results
                .wait(waiter, Some(soon), &Cancel::default())
                .is_none()
        );
        let cancel = Cancel::default();
        cancel.set(Cause::ClientGone);
        let Found::Running(waiter) = find(&results, &test) else {
            panic!("no test in flight to join")
        };
        assert!(results.wait(waiter, None, &cancel).is_none());
        // Neither counts as delivered.
        complete(&results, &test, completed(failure()));
        assert!(matches!(find(&results, &test), Found::Result(_)));
    }

    #[test]
    fn a_failure_before_the_wait_is_delivered_by_the_wait() {
        let (results, test) = (ResultCache::default(), test_of("a"));
        let Found::Nothing(waiter) = find(&results, &test) else {
            panic!("something was found")
        };
        complete(&results, &test, completed(failure()));
        assert!(results.wait(waiter, None, &Cancel::default()).is_some());
        assert!(matches!(find(&results, &test), Found::Nothing(_)));
    }

    #[test]
    fn the_last_result_is_a_failure_until_there_is_a_success() {
        let (results, test) = (ResultCache::default(), test_of("a"));
        let last = || results.last(&test).map(|kept| kept.outcome.is_ok());
        assert_eq!(last(), None);
        for outcome in [success(), failure(), success()] {
            let is_ok = outcome.is_ok();
            let found = results.find(&test, Duration::ZERO, Duration::ZERO);
            leave(&results, found);
            complete(&results, &test, completed(outcome));
            assert_eq!(last(), Some(is_ok));
            // Delivers the failure, if it was undelivered.
            let _delivered = results.find(&test, MINUTE, Duration::ZERO);
        }
        assert!(results.last_success(&test).is_some());
    }

    #[test]
    fn a_disconnected_client_stops_waiting_at_once() {
        let (results, test) = (Arc::new(ResultCache::default()), test_of("a"));
        let _waiter = find(&results, &test);
        for _ in 0..200 {
            let Found::Running(waiter) = find(&results, &test) else {
                panic!("no test in flight to join")
            };
            let cancel = Cancel::default();
            let own = cancel.clone();
            let cache = Arc::clone(&results);
            let waiter = thread::spawn(move || cache.wait(waiter, None, &own).is_none());
            cancel.set(Cause::ClientGone);
            results.wake_all();
            assert!(waiter.join().unwrap());
        }
    }

    #[test]
    fn the_cache_is_bounded_and_tests_in_flight_stay() {
        let results = ResultCache::default();
        let running = test_of("running");
        let _in_flight = find(&results, &running);
        let of = |number: usize| test_of(&format!("host{number}"));
        for number in 0..2 * MAX_RESULTS {
            let _in_flight = find(&results, &of(number));
            complete(&results, &of(number), completed(success()));
        }
        assert_eq!(results.count(), MAX_RESULTS - 1);
        assert!(results.last_success(&of(0)).is_none());
        assert!(results.last_success(&of(2 * MAX_RESULTS - 1)).is_some());
        assert!(matches!(find(&results, &running), Found::Running(_)));
        // A result that was measured for a single request evicts no entry.
        results.keep(&of(0), &completed(success()));
        assert!(results.last_success(&of(0)).is_none());
    }

    #[test]
    fn tests_in_flight_are_bounded() {
        let results = ResultCache::default();
        let of = |number: usize| test_of(&format!("host{number}"));
        for number in 0..MAX_IN_FLIGHT {
            assert!(matches!(find(&results, &of(number)), Found::Nothing(_)));
        }
        assert!(matches!(
            find(&results, &test_of("one-more")),
            Found::NoRoom
        ));
        results.complete(&of(7), Err(WaitError::Full));
        assert!(matches!(find(&results, &of(7)), Found::Nothing(_)));
        results.complete(&of(8), Err(WaitError::Broken));
        assert!(matches!(
            find(&results, &test_of("one-more")),
            Found::Nothing(_)
        ));
    }
}
