//! The results that are kept for later scrapes, and the tests that run for several of them.
//!
//! Owns what is kept how long; must not know how a test is run or reported. Bounded by `MAX_RESULTS`: what nobody asked for
//! longest makes room. In memory only.

use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::{Duration, Instant};

use crate::cancel::Cancel;
use crate::probe::answer::CompletedTest;
use crate::probe::params::Params;
use crate::probe::wait_error::WaitError;
use crate::sync;

/// Most results that are kept.
pub(super) const MAX_RESULTS: usize = 256;
/// Most tests that run or wait on their own at a time, each on a thread: the others of [`MAX_RESULTS`] can make room.
const MAX_IN_FLIGHT: usize = 128;
/// How long a failure that nobody waited for is delivered to the next who asks: longer and it says little of the network.
const UNDELIVERED_FOR: Duration = Duration::from_secs(300);

/// A test that runs, or waits for its turn, for whoever asks for it. Who waits shares it from the moment at which it was
/// found, so that a test which ends at once knows that somebody waits.
#[derive(Debug)]
pub(super) struct InFlightTest {
    /// The number of its probe, once that has one.
    pub(super) probe: OnceLock<u64>,
    end: OnceLock<Result<Arc<CompletedTest>, WaitError>>,
    /// Before this it cannot be over.
    earliest_end: Instant,
}

/// What there is for a request.
#[derive(Debug)]
pub(super) enum Found {
    /// A result that will do.
    Result(Arc<CompletedTest>),
    /// A test that runs.
    Running(Arc<InFlightTest>),
    /// Nothing: the caller has to run this test, and end it.
    Nothing(Arc<InFlightTest>),
    /// Nothing, and no room for another test.
    NoRoom,
}

#[derive(Debug, Default)]
pub(super) struct ResultCache {
    /// What was asked for last stands last. A list: a few hundred at most are compared faster than a test runs.
    entries: Mutex<Vec<Entry>>,
    /// A test has ended, or somebody who waits for one was cancelled.
    changed: Condvar,
}

/// What is known of one test.
#[derive(Debug)]
struct Entry {
    test: Params,
    success: Option<Arc<CompletedTest>>,
    /// The failure that came after it.
    failure: Option<Arc<CompletedTest>>,
    /// Nobody waited for that failure, and nobody has asked since.
    is_undelivered: bool,
    in_flight: Option<Arc<InFlightTest>>,
}

impl ResultCache {
    /// Looks for a result of `test` that is not older than `max_age`, or for a test that will bring one; a new test
    /// of at least `length` is begun where there is neither.
    pub(super) fn find(&self, test: &Params, max_age: Duration, length: Duration) -> Found {
        let mut entries = sync::lock(&self.entries);
        let in_flight = entries.iter().filter(|entry| entry.in_flight.is_some());
        let has_room = in_flight.count() < MAX_IN_FLIGHT;
        let known = take(&mut entries, test);
        // Who is refused takes nobody's place.
        if known.is_none() && !has_room {
            return Found::NoRoom;
        }
        let mut entry = known.unwrap_or_else(|| Entry::new(test));
        let found = entry.look(max_age, length, has_room);
        if entries.len() >= MAX_RESULTS {
            let idle = entries.iter().enumerate();
            let idle = idle.filter(|(_, entry)| entry.in_flight.is_none());
            // Without a success there is little to lose.
            if let Some((place, _)) = idle.min_by_key(|(_, entry)| entry.success.is_some()) {
                entries.remove(place);
            }
        }
        entries.push(entry);
        found
    }

    /// Waits for a test's end; none when `until` comes first, or is known to, or `cancel` is set.
    pub(super) fn wait(
        &self,
        test: Arc<InFlightTest>,
        until: Option<Instant>,
        cancel: &Cancel,
    ) -> Option<Result<Arc<CompletedTest>, WaitError>> {
        /// How long one wait may last, where there is no end to it.
        const LONG: Duration = Duration::from_secs(3600);
        let mut entries = sync::lock(&self.entries);
        loop {
            if let Some(end) = test.end.get() {
                return Some(end.clone());
            }
            let now = Instant::now();
            let is_in_vain = until.is_some_and(|until| until <= now || until < test.earliest_end);
            if is_in_vain || cancel.is_set() {
                // While the entries are locked: the test's end has to see who still waits.
                drop(test);
                return None;
            }
            entries = sync::wait_until(&self.changed, entries, until.unwrap_or(now + LONG));
        }
    }

    /// Ends the test in flight of `test`: delivers to everyone who waits, and keeps a failure that was not delivered.
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
        // It ends once.
        let _ = in_flight.end.set(end);
        self.changed.notify_all();
    }

    /// Keeps the success of a test, if there is a place that nobody else has.
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

    /// The last result of `test`, however old, a failure too: for who cannot wait for the next one.
    pub(super) fn last(&self, test: &Params) -> Option<Arc<CompletedTest>> {
        let mut entries = sync::lock(&self.entries);
        let entry = entries.iter_mut().find(|entry| entry.test == *test)?;
        // Delivered with this.
        entry.is_undelivered = false;
        entry.failure.as_ref().or(entry.success.as_ref()).cloned()
    }

    /// The last success of `test`, however old.
    pub(super) fn last_success(&self, test: &Params) -> Option<Arc<CompletedTest>> {
        let entries = sync::lock(&self.entries);
        let entry = entries.iter().find(|entry| entry.test == *test)?;
        entry.success.clone()
    }

    /// How many results are kept.
    pub(super) fn count(&self) -> usize {
        let entries = sync::lock(&self.entries);
        entries
            .iter()
            .filter(|entry| entry.success.is_some())
            .count()
    }

    /// Makes everyone who waits for a test look whether the own client is still there.
    pub(super) fn wake_all(&self) {
        // Who has looked already waits by now, and is not missed.
        drop(sync::lock(&self.entries));
        self.changed.notify_all();
    }

    /// Blocks until no test runs on its own, or `until` has come: for the end, which cancels them.
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

/// Without what only the request that asked for it gets, so that the store stays small.
fn trimmed(completed: &CompletedTest) -> Arc<CompletedTest> {
    let mut completed = completed.clone();
    // People look at those that `history` has.
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

    /// A success, and a failure.
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

    /// The same, as if it had ended so long ago.
    fn aged(mut completed: CompletedTest, age: Duration) -> CompletedTest {
        let ended = &mut completed.ended.instant;
        *ended = ended.checked_sub(age).unwrap();
        completed
    }

    fn find(results: &ResultCache, test: &Params) -> Found {
        results.find(test, MINUTE, Duration::ZERO)
    }

    /// Gives its place up, as one who has no time.
    fn leave(results: &ResultCache, found: Found) {
        let (Found::Nothing(waiter) | Found::Running(waiter)) = found else {
            panic!("no test in flight")
        };
        let now = Some(Instant::now());
        assert!(results.wait(waiter, now, &Cancel::default()).is_none());
    }

    #[test]
    fn a_success_is_kept_as_long_as_it_is_young_enough() {
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
    fn all_who_ask_meanwhile_share_one_test() {
        let (results, test) = (Arc::new(ResultCache::default()), test_of("a"));
        let Found::Nothing(own_waiter) = find(&results, &test) else {
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
        // These, and the cache's own.
        assert_eq!(Arc::strong_count(&own_waiter), 12);
        complete(&results, &test, completed(failure()));
        for waiter in waiters {
            let end = waiter.join().unwrap().unwrap().unwrap();
            assert_eq!(end.outcome, failure());
        }
        // It was delivered, and is not kept.
        assert!(matches!(find(&results, &test), Found::Nothing(_)));
    }

    #[test]
    fn a_failure_that_nobody_waited_for_is_delivered_once() {
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
    fn what_is_kept_is_the_last_attempt_without_what_only_people_read() {
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
        // Whoever asked for it gets all of it.
        let all = delivered.outcome.as_ref().unwrap().upload.as_ref();
        assert_eq!(all.unwrap().intervals.len(), 3);
    }

    #[test]
    fn who_has_no_time_does_not_wait() {
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
    fn a_failure_that_comes_before_the_wait_is_delivered_by_it() {
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
            // Delivered, if it was not yet.
            let _delivered = results.find(&test, MINUTE, Duration::ZERO);
        }
        assert!(results.last_success(&test).is_some());
    }

    #[test]
    fn a_client_that_goes_leaves_at_once() {
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
    fn the_store_is_bounded_and_what_runs_stays() {
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
        // What was measured for one request takes nobody's place.
        results.keep(&of(0), &completed(success()));
        assert!(results.last_success(&of(0)).is_none());
    }

    #[test]
    fn tests_on_their_own_are_bounded() {
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
