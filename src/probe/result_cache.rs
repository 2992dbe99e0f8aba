//! The results that are kept for later scrapes, and the tests that run for several of them.
//!
//! Owns what is kept how long; must not know how a test is run or told. Bounded by `MAX_RESULTS`: what nobody asked for
//! longest makes room. In memory only.

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::cancel::Cancel;
use crate::moment::Moment;
use crate::permits::{Permit, Permits};
use crate::probe::answer::CompletedTest;
use crate::probe::lock::WaitError;
use crate::probe::params::Params;
use crate::sync;

/// Most results that are kept.
pub(crate) const MAX_RESULTS: usize = 256;
/// Most tests that run or wait on their own at a time, each on a thread: the others of [`MAX_RESULTS`] can make room.
const MAX_IN_FLIGHT: usize = 128;
/// How long a failure that nobody waited for is told to the next who asks: longer and it says little of the network.
const UNDELIVERED_FOR: Duration = Duration::from_secs(300);

/// A result and when it came to be.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    /// The test.
    pub(super) completed: Arc<CompletedTest>,
    /// When it ended.
    pub(super) ended: Moment,
}

/// A place among those who wait for a test: counted from the moment at which it was found, so that a test which
/// ends at once knows that somebody will be told.
#[derive(Debug)]
pub(super) struct TestWaiter(Arc<InFlightTest>);

/// A test that runs, or waits for its turn, for whoever asks for it.
#[derive(Debug)]
struct InFlightTest {
    state: Mutex<InFlightState>,
    changed: Condvar,
}

#[derive(Debug)]
struct InFlightState {
    end: Option<Result<Kept, WaitError>>,
    waiters: usize,
    /// Before this it cannot be over.
    earliest_end: Instant,
}

/// What there is for a request.
#[derive(Debug)]
pub(super) enum Found {
    /// A result that will do.
    Result(Kept),
    /// A test that runs.
    Running(TestWaiter),
    /// Nothing: the caller has to run this test, and end it.
    Nothing(TestWaiter),
    /// Nothing, and no room for another test.
    NoRoom,
}

/// All results.
#[derive(Debug)]
pub(crate) struct ResultCache {
    inner: Mutex<Inner>,
    /// The tests that run on their own.
    in_flight: Arc<Permits>,
}

impl Default for ResultCache {
    fn default() -> Self {
        Self {
            inner: Mutex::default(),
            in_flight: Arc::new(Permits::new(MAX_IN_FLIGHT)),
        }
    }
}

#[derive(Debug, Default)]
struct Inner {
    /// A list: a few hundred at most are compared faster than a test runs.
    entries: Vec<(Params, Entry)>,
    /// Counts the requests, to know which entry was asked for longest ago.
    requests: u64,
}

/// What is known of one test.
#[derive(Debug, Default)]
struct Entry {
    success: Option<Kept>,
    /// The failure that came after it.
    failure: Option<Kept>,
    /// Nobody waited for that failure, and nobody has asked since.
    is_undelivered: bool,
    in_flight_test: Option<(Arc<InFlightTest>, Permit)>,
    /// The number of the request that asked last.
    asked: u64,
}

impl ResultCache {
    /// Looks for a result of `test` that is not older than `max_age`, or for a test that will bring one; a new test
    /// of at least `length` is begun where there is neither.
    pub(super) fn find(&self, test: &Params, max_age: Duration, length: Duration) -> Found {
        let mut inner = sync::lock(&self.inner);
        let permit = self.in_flight.try_acquire();
        // Who is refused takes nobody's place.
        if permit.is_none() && inner.get(test).is_none() {
            return Found::NoRoom;
        }
        let Some(entry) = inner.entry(test) else {
            return Found::NoRoom;
        };
        let is_young = |kept: &&Kept, most: Duration| kept.ended.elapsed() <= most;
        let success = entry.success.as_ref();
        if let Some(kept) = success.filter(|kept| is_young(kept, max_age)) {
            return Found::Result(kept.clone());
        }
        if std::mem::take(&mut entry.is_undelivered) {
            let failure = entry.failure.as_ref();
            if let Some(kept) = failure.filter(|kept| is_young(kept, max_age.min(UNDELIVERED_FOR)))
            {
                return Found::Result(kept.clone());
            }
        }
        if let Some((in_flight_test, _)) = &entry.in_flight_test {
            return Found::Running(TestWaiter::take(in_flight_test));
        }
        let Some(permit) = permit else {
            return Found::NoRoom;
        };
        let in_flight_test = Arc::new(InFlightTest::new(Instant::now() + length));
        let waiter = TestWaiter::take(&in_flight_test);
        entry.in_flight_test = Some((in_flight_test, permit));
        Found::Nothing(waiter)
    }

    /// Ends the test in flight of `test`: tells who waits, and keeps what is to be kept.
    pub(super) fn complete(&self, test: &Params, end: Result<Kept, WaitError>) {
        let mut inner = sync::lock(&self.inner);
        let Some(entry) = inner.get_mut(test) else {
            return;
        };
        // Its permit comes back when those who wait were told.
        let Some((in_flight_test, _permit)) = entry.in_flight_test.take() else {
            return;
        };
        let mut state = sync::lock(&in_flight_test.state);
        match &end {
            Ok(kept) if kept.completed.outcome.is_ok() => entry.succeed(kept),
            Ok(kept) => {
                entry.failure = Some(kept.trimmed());
                entry.is_undelivered = state.waiters == 0;
            }
            Err(_) => {}
        }
        state.end = Some(end);
        drop(state);
        in_flight_test.changed.notify_all();
    }

    /// Keeps the success of a test that was run for one request, if there is a place that nobody else has.
    pub(super) fn keep(&self, test: &Params, kept: &Kept) {
        let mut inner = sync::lock(&self.inner);
        let has_place = inner.entries.len() < MAX_RESULTS || inner.get(test).is_some();
        if let Some(entry) = has_place.then(|| inner.entry(test)).flatten() {
            entry.succeed(kept);
        }
    }

    /// The last result of `test`, however old, a failure too: for who cannot wait for the next one.
    pub(super) fn last(&self, test: &Params) -> Option<Kept> {
        let mut inner = sync::lock(&self.inner);
        let entry = inner.get_mut(test)?;
        // Told with this.
        entry.is_undelivered = false;
        entry.failure.as_ref().or(entry.success.as_ref()).cloned()
    }

    /// The last success of `test`, however old.
    pub(super) fn last_success(&self, test: &Params) -> Option<Kept> {
        let inner = sync::lock(&self.inner);
        inner.get(test)?.success.clone()
    }

    /// How many results are kept.
    pub(crate) fn count(&self) -> usize {
        let inner = sync::lock(&self.inner);
        let entries = inner.entries.iter();
        entries.filter(|(_, entry)| entry.success.is_some()).count()
    }

    /// Makes everyone who waits for a test look whether the own client is still there.
    pub(crate) fn wake_all(&self) {
        for (_, entry) in &sync::lock(&self.inner).entries {
            if let Some((in_flight_test, _)) = &entry.in_flight_test {
                // Who has looked already waits by now, and is not missed.
                drop(sync::lock(&in_flight_test.state));
                in_flight_test.changed.notify_all();
            }
        }
    }

    /// Blocks until no test runs on its own, or `until` has come: for the end, which cancels them.
    pub(crate) fn wait_until_idle(&self, until: Instant) {
        self.in_flight.wait_until_idle(until);
    }
}

impl Inner {
    fn get(&self, test: &Params) -> Option<&Entry> {
        let mut entries = self.entries.iter();
        entries.find_map(|(own, entry)| (own == test).then_some(entry))
    }

    fn get_mut(&mut self, test: &Params) -> Option<&mut Entry> {
        let mut entries = self.entries.iter_mut();
        entries.find_map(|(own, entry)| (own == test).then_some(entry))
    }

    /// The entry of `test`, made where there is none; none when every place has a test that runs.
    fn entry(&mut self, test: &Params) -> Option<&mut Entry> {
        self.requests += 1;
        let asked = self.requests;
        if self.get(test).is_none() {
            if self.entries.len() >= MAX_RESULTS {
                let entries = self.entries.iter().enumerate();
                let idle = entries.filter(|(_, (_, entry))| entry.in_flight_test.is_none());
                // Without a success there is little to lose.
                let goes = idle.min_by_key(|(_, (_, e))| (e.success.is_some(), e.asked));
                let (place, _) = goes?;
                self.entries.swap_remove(place);
            }
            self.entries.push((test.clone(), Entry::default()));
        }
        let entry = self.get_mut(test)?;
        entry.asked = asked;
        Some(entry)
    }
}

impl Entry {
    fn succeed(&mut self, kept: &Kept) {
        self.success = Some(kept.trimmed());
        self.failure = None;
        self.is_undelivered = false;
    }
}

impl TestWaiter {
    fn take(in_flight_test: &Arc<InFlightTest>) -> Self {
        sync::lock(&in_flight_test.state).waiters += 1;
        Self(Arc::clone(in_flight_test))
    }

    /// Waits for the test's end; none when `until` comes first, or is known to, or `cancel` is set.
    pub(super) fn wait(
        self,
        until: Option<Instant>,
        cancel: &Cancel,
    ) -> Option<Result<Kept, WaitError>> {
        self.0.wait(until, cancel)
    }
}

impl Kept {
    /// A result of this moment.
    pub(super) fn new(completed: Arc<CompletedTest>) -> Self {
        Self {
            completed,
            ended: Moment::now(),
        }
    }

    /// Without what only the request that asked for it is told, and so small that the store stays small.
    fn trimmed(&self) -> Self {
        /// How much of iperf3's standard error is kept.
        const STDERR_LIMIT_CHARS: usize = 512;
        let mut completed = CompletedTest::clone(&self.completed);
        if let Ok(report) = &mut completed.outcome {
            // For people to look at, who look at what `history` has.
            for way in [&mut report.upload, &mut report.download]
                .into_iter()
                .flatten()
            {
                way.intervals = Vec::new();
            }
        }
        let last = completed.attempts.pop();
        completed.attempts.clear();
        completed.attempts.extend(last.map(|mut attempt| {
            let details = &mut attempt.details;
            details.end_part = None;
            details.stderr = details.stderr.chars().take(STDERR_LIMIT_CHARS).collect();
            attempt
        }));
        Self {
            completed: Arc::new(completed),
            ..self.clone()
        }
    }
}

impl InFlightTest {
    fn new(earliest_end: Instant) -> Self {
        Self {
            state: Mutex::new(InFlightState {
                end: None,
                waiters: 0,
                earliest_end,
            }),
            changed: Condvar::new(),
        }
    }

    /// Waits for its end, as one of its waiters.
    fn wait(&self, until: Option<Instant>, cancel: &Cancel) -> Option<Result<Kept, WaitError>> {
        /// How long one wait may last, where there is no end to it.
        const LONG: Duration = Duration::from_secs(3600);
        let mut state = sync::lock(&self.state);
        loop {
            if let Some(end) = &state.end {
                return Some(end.clone());
            }
            let now = Instant::now();
            let is_in_vain = until.is_some_and(|until| until <= now || until < state.earliest_end);
            if is_in_vain || cancel.is_set() {
                state.waiters -= 1;
                return None;
            }
            let until = until.unwrap_or_else(|| now + LONG);
            state = sync::wait_until(&self.changed, state, until);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Found, Kept, MAX_IN_FLIGHT, MAX_RESULTS, ResultCache};
    use crate::cancel::Cancel;
    use crate::iperf3::reason::Reason;
    use crate::iperf3::report::intervals::Interval;
    use crate::iperf3::report::metadata::Congestion;
    use crate::iperf3::report::{Direction, Report, Transfer};
    use crate::iperf3::{Failure, Outcome, Run};
    use crate::probe::answer::{Attempt, CompletedTest};
    use crate::probe::lock::WaitError;
    use crate::probe::params::Params;
    use std::sync::Arc;
    use std::thread;
    use std::time::{Duration, Instant};

    const MINUTE: Duration = Duration::from_secs(60);

    fn test_of(target: &str) -> Params {
        Params::parse(&format!("target={target}")).unwrap().test()
    }

    /// A success, and a failure.
    fn outcomes() -> [Outcome; 2] {
        let words = "x".to_owned();
        let reason = Reason::Refused;
        [Ok(Report::default()), Err(Failure { reason, words })]
    }

    fn success() -> Outcome {
        let [success, _] = outcomes();
        success
    }

    fn failure() -> Outcome {
        let [_, failure] = outcomes();
        failure
    }

    fn kept(outcome: Outcome) -> Kept {
        Kept::new(Arc::new(CompletedTest {
            outcome,
            port: 5201,
            count: 1,
            attempts: Vec::new(),
            lock_wait: Duration::ZERO,
        }))
    }

    /// The same, as if it had ended so long ago.
    fn aged(mut kept: Kept, age: Duration) -> Kept {
        kept.ended.instant = kept.ended.instant.checked_sub(age).unwrap();
        kept
    }

    fn find(results: &ResultCache, test: &Params) -> Found {
        results.find(test, MINUTE, Duration::ZERO)
    }

    /// Gives its place up, as one who has no time.
    fn leave(found: Found) {
        let (Found::Nothing(waiter) | Found::Running(waiter)) = found else {
            panic!("no flight")
        };
        let now = Some(Instant::now());
        assert!(waiter.wait(now, &Cancel::default()).is_none());
    }

    #[test]
    fn a_success_is_kept_as_long_as_it_is_young_enough() {
        let (results, test) = (ResultCache::default(), test_of("a"));
        let Found::Nothing(_) = find(&results, &test) else {
            panic!("something was found")
        };
        results.complete(&test, Ok(aged(kept(success()), MINUTE / 2)));
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
        let in_flight_test = Arc::clone(&own_waiter.0);
        let waiters: Vec<_> = (0..10)
            .map(|_| {
                let Found::Running(waiter) = find(&results, &test) else {
                    panic!("no flight to join")
                };
                thread::spawn(move || waiter.wait(None, &Cancel::default()))
            })
            .collect();
        assert_eq!(super::sync::lock(&in_flight_test.state).waiters, 11);
        results.complete(&test, Ok(kept(failure())));
        for waiter in waiters {
            let end = waiter.join().unwrap().unwrap().unwrap();
            assert_eq!(end.completed.outcome, failure());
        }
        // It was told, and is not kept.
        assert!(matches!(find(&results, &test), Found::Nothing(_)));
    }

    #[test]
    fn a_failure_that_nobody_waited_for_is_told_once() {
        let (results, test) = (ResultCache::default(), test_of("a"));
        leave(find(&results, &test));
        results.complete(&test, Ok(kept(failure())));
        let Found::Result(told) = find(&results, &test) else {
            panic!("it was lost")
        };
        assert_eq!(told.completed.outcome, failure());
        leave(find(&results, &test));
        results.complete(&test, Ok(aged(kept(failure()), MINUTE * 2)));
        assert!(matches!(find(&results, &test), Found::Nothing(_)));
    }

    #[test]
    fn what_is_kept_is_the_last_attempt_without_what_only_people_read() {
        let (results, test) = (ResultCache::default(), test_of("a"));
        let mut told = kept(success());
        let completed = Arc::make_mut(&mut told.completed);
        let second = Interval {
            start_seconds: 0.0,
            end_seconds: 1.0,
            bytes_per_second: 1.0,
        };
        let nothing = Transfer {
            seconds: None,
            bytes: None,
        };
        let way = Direction {
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
        let report = completed.outcome.as_mut().unwrap();
        (report.upload, report.download) = (Some(way.clone()), Some(way));
        let mut details = Run::refused(5201, failure().unwrap_err()).details;
        details.stderr = "e".repeat(10_000);
        details.end_part = Some("{}".to_owned());
        let waited = None;
        completed.attempts = vec![Attempt { waited, details }; 3];
        results.keep(&test, &told);
        let kept = results.last(&test).unwrap();
        let report = kept.completed.outcome.as_ref().unwrap();
        for way in [&report.upload, &report.download] {
            assert!(way.as_ref().unwrap().intervals.is_empty());
        }
        let [Attempt { details, .. }] = kept.completed.attempts.as_slice() else {
            panic!("{} attempts", kept.completed.attempts.len())
        };
        assert_eq!((details.stderr.len(), &details.end_part), (512, &None));
        // Whoever asked for it is told all of it.
        let all = told.completed.outcome.as_ref().unwrap().upload.as_ref();
        assert_eq!(all.unwrap().intervals.len(), 3);
    }

    #[test]
    fn who_has_no_time_does_not_wait() {
        let (results, test) = (ResultCache::default(), test_of("a"));
        let Found::Nothing(waiter) = results.find(&test, MINUTE, MINUTE) else {
            panic!("something was found")
        };
        let soon = Instant::now() + MINUTE / 2;
        assert!(waiter.wait(Some(soon), &Cancel::default()).is_none());
        let cancel = Cancel::default();
        cancel.set();
        let Found::Running(waiter) = find(&results, &test) else {
            panic!("no flight to join")
        };
        assert!(waiter.wait(None, &cancel).is_none());
        // Neither counts as one who was told.
        results.complete(&test, Ok(kept(failure())));
        assert!(matches!(find(&results, &test), Found::Result(_)));
    }

    #[test]
    fn a_failure_that_comes_before_the_wait_is_told_by_it() {
        let (results, test) = (ResultCache::default(), test_of("a"));
        let Found::Nothing(waiter) = find(&results, &test) else {
            panic!("something was found")
        };
        results.complete(&test, Ok(kept(failure())));
        assert!(waiter.wait(None, &Cancel::default()).is_some());
        assert!(matches!(find(&results, &test), Found::Nothing(_)));
    }

    #[test]
    fn the_last_result_is_a_failure_until_there_is_a_success() {
        let (results, test) = (ResultCache::default(), test_of("a"));
        let last = || {
            results
                .last(&test)
                .map(|kept| kept.completed.outcome.is_ok())
        };
        assert_eq!(last(), None);
        for outcome in [success(), failure(), success()] {
            let is_ok = outcome.is_ok();
            leave(results.find(&test, Duration::ZERO, Duration::ZERO));
            results.complete(&test, Ok(kept(outcome)));
            assert_eq!(last(), Some(is_ok));
            // Told, if it was untold.
            let _told = results.find(&test, MINUTE, Duration::ZERO);
        }
        assert!(results.last_success(&test).is_some());
    }

    #[test]
    fn a_client_that_goes_leaves_at_once() {
        let (results, test) = (Arc::new(ResultCache::default()), test_of("a"));
        let _waiter = find(&results, &test);
        for _ in 0..200 {
            let Found::Running(waiter) = find(&results, &test) else {
                panic!("no flight to join")
            };
            let cancel = Cancel::default();
            let own = cancel.clone();
            let waiter = thread::spawn(move || waiter.wait(None, &own).is_none());
            cancel.set();
            results.wake_all();
            assert!(waiter.join().unwrap());
        }
    }

    #[test]
    fn the_store_is_bounded_and_what_runs_stays() {
        let results = ResultCache::default();
        let flying = test_of("flying");
        let _flight = find(&results, &flying);
        let of = |number: usize| test_of(&format!("host{number}"));
        for number in 0..2 * MAX_RESULTS {
            let _flight = find(&results, &of(number));
            results.complete(&of(number), Ok(kept(success())));
        }
        assert_eq!(results.count(), MAX_RESULTS - 1);
        assert!(results.last_success(&of(0)).is_none());
        assert!(results.last_success(&of(2 * MAX_RESULTS - 1)).is_some());
        assert!(matches!(find(&results, &flying), Found::Running(_)));
        // What was measured for one request takes nobody's place.
        results.keep(&of(0), &kept(success()));
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
        results.complete(&of(7), Err(WaitError::WaitedTooLong));
        assert!(matches!(find(&results, &of(7)), Found::Nothing(_)));
        results.complete(&of(8), Err(WaitError::Broken));
        assert!(matches!(
            find(&results, &test_of("one-more")),
            Found::Nothing(_)
        ));
    }
}
