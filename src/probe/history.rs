//! History for the page: the probes in progress, the last finished ones, and a trend of the last probes of each test.
//!
//! Decides what is remembered and how much. Must not know HTML, or how a test is run. Bounded by [`MAX_PROBES`],
//! [`MAX_TESTS`] and `MAX_BYTES`: the oldest is removed first. In memory only. A test that several scrapes share is one
//! probe, with the answer to the request that started it. Refused requests are not recorded.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

use crate::cancel::{Cancel, Cause};
use crate::iperf3::progress::Progress;
use crate::iperf3::report::Report;
use crate::moment::Moment;
use crate::probe::answer::{Answer, Attempt, CutOff};
use crate::probe::params::Params;
use crate::probe::wait_error::WaitError;
use crate::sync;

/// Maximum number of finished probes.
const MAX_PROBES: usize = 100;
/// Maximum number of tests with a trend. The last probe of each is kept, even after [`MAX_PROBES`] others. This is
/// enough for about fifty targets with a few kinds of test each.
pub(crate) const MAX_TESTS: usize = 256;
/// Maximum number of probes in the trend of a test.
pub(crate) const MAX_POINTS: usize = 20;
/// Maximum memory for the last finished probes, and again for the last probe of each test. A typical probe takes about
/// 3 KiB, one of the largest about 100 KiB.
const MAX_BYTES: usize = 1024 * 1024;

/// What a probe in progress is doing.
#[derive(Clone, Debug)]
pub(crate) enum Stage {
    /// Waiting in the queue of the test lock.
    Queued,
    /// iperf3 is running or about to start.
    Running {
        port: u16,
        /// What it has measured so far.
        progress: Progress,
    },
    /// The server was busy. The next attempt starts at this moment.
    Pausing { until: Instant },
}

/// A probe in progress.
#[derive(Clone, Debug)]
pub(crate) struct Current {
    /// Its number, from 1 in order of arrival.
    pub(crate) number: u64,
    pub(crate) params: Arc<Params>,
    /// Address of the client.
    pub(crate) client: SocketAddr,
    /// When the probe started.
    pub(crate) began: SystemTime,
    pub(crate) stage: Stage,
    /// Start of this stage.
    pub(crate) since: Moment,
    /// How many times iperf3 was run before this stage.
    pub(crate) attempts: u32,
    /// Whether a user started it from the page.
    is_manual: bool,
    /// Set when the probe is cancelled.
    cancel: Cancel,
}

impl Current {
    /// Whether a user may stop it: only manual probes, because the others were not started from the page.
    pub(crate) fn can_be_stopped(&self) -> bool {
        self.is_manual
    }

    /// Why it is being stopped, if it is.
    pub(crate) fn stopping(&self) -> Option<Cause> {
        self.cancel.cause()
    }

    /// When the running test should end, if known.
    fn planned_end(&self) -> Option<SystemTime> {
        let Stage::Running { progress, .. } = &self.stage else {
            return None;
        };
        let seen = progress.look();
        let began = seen.started.unwrap_or(self.since);
        began.clock.checked_add(seen.length?)
    }
}

/// A finished probe.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) number: u64,
    pub(crate) params: Arc<Params>,
    pub(crate) client: SocketAddr,
    pub(crate) began: SystemTime,
    pub(crate) ended: SystemTime,
    /// Whether a user started it from the page.
    pub(crate) is_manual: bool,
    /// Its outcome: the answer to its request, or why there is none.
    pub(crate) end: Result<Answer, WaitError>,
    /// What its test had measured when it was cancelled.
    cut_off: Option<CutOff>,
}

/// Trend of a test: the last probes of the same target with the same parameters.
#[derive(Clone, Debug)]
pub(crate) struct TestTrend {
    /// The most recently finished probe.
    pub(crate) last: Arc<Finished>,
    /// When the probe before it finished.
    pub(crate) previous_ended: Option<SystemTime>,
    /// The last probes, in the order in which they finished.
    pub(crate) points: VecDeque<Point>,
}

/// One probe in a trend.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Point {
    pub(crate) is_success: bool,
    /// Bytes per second that arrived, for upload and download, if they were measured.
    pub(crate) rates: [Option<f32>; 2],
}

/// Snapshot of the history.
#[derive(Debug)]
pub(crate) struct Overview {
    /// In order of arrival.
    pub(crate) current: Vec<Current>,
    /// Most recently finished first.
    pub(crate) past: Vec<Arc<Finished>>,
    /// Each test once. The one with the most recently finished probe is last.
    pub(crate) tests: Vec<Arc<TestTrend>>,
    /// Number of finished probes that were removed to make room.
    pub(crate) forgotten: u64,
    /// How often a test was removed to make room.
    pub(crate) forgotten_tests: u64,
}

#[derive(Debug)]
pub(crate) enum Found {
    Current(Current),
    Finished(Arc<Finished>),
}

#[derive(Debug, Default)]
pub(super) struct History {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The number of the latest probe.
    latest: u64,
    current: Vec<Current>,
    /// In the order in which they finished.
    past: VecDeque<Arc<Finished>>,
    /// In the order in which their last probes finished.
    tests: VecDeque<Arc<TestTrend>>,
    forgotten: u64,
    forgotten_tests: u64,
}

/// Handle of a probe in progress. Dropping it ends the probe, also when a panic drops it.
#[derive(Debug)]
pub(super) struct Running {
    history: Arc<History>,
    pub(super) number: u64,
    end: Result<Answer, WaitError>,
}

impl Inner {
    fn current(&mut self, number: u64) -> Option<&mut Current> {
        self.current.iter_mut().find(|probe| probe.number == number)
    }

    fn remember(&mut self, probe: &Arc<Finished>) {
        self.past.push_back(Arc::clone(probe));
        let bytes =
            |past: &VecDeque<Arc<Finished>>| past.iter().map(|past| past.bytes()).sum::<usize>();
        while self.past.len() > MAX_PROBES || bytes(&self.past) > MAX_BYTES {
            self.past.pop_front();
            self.forgotten += 1;
        }
        let test = probe.params.test();
        let mut tests = self.tests.iter();
        let place = tests.position(|trend| trend.last.params.test() == test);
        let earlier = place.and_then(|place| self.tests.remove(place));
        let previous_ended = earlier.as_ref().map(|earlier| earlier.last.ended);
        let mut points = earlier.map_or_else(VecDeque::new, |earlier| earlier.points.clone());
        points.push_back(probe.point());
        if points.len() > MAX_POINTS {
            points.pop_front();
        }
        self.tests.push_back(Arc::new(TestTrend {
            last: Arc::clone(probe),
            previous_ended,
            points,
        }));
        let bytes = |tests: &VecDeque<Arc<TestTrend>>| {
            tests.iter().map(|test| test.last.bytes()).sum::<usize>()
        };
        while self.tests.len() > MAX_TESTS || bytes(&self.tests) > MAX_BYTES {
            self.tests.pop_front();
            self.forgotten_tests += 1;
        }
    }
}

impl Overview {
    /// Number of probes that have finished since the exporter started.
    pub(crate) fn ended(&self) -> u64 {
        self.forgotten + self.past.len() as u64
    }
}

impl History {
    /// Records a new probe, which `cancel` stops.
    pub(super) fn open(
        self: &Arc<Self>,
        params: &Params,
        client: SocketAddr,
        cancel: &Cancel,
        is_manual: bool,
    ) -> Running {
        let mut inner = sync::lock(&self.inner);
        inner.latest += 1;
        let number = inner.latest;
        let now = Moment::now();
        inner.current.push(Current {
            number,
            params: Arc::new(params.clone()),
            client,
            began: now.clock,
            stage: Stage::Queued,
            since: now,
            attempts: 0,
            is_manual,
            cancel: cancel.clone(),
        });
        Running {
            history: Arc::clone(self),
            number,
            end: Err(WaitError::Broken),
        }
    }

    pub(super) fn overview(&self) -> Overview {
        let inner = sync::lock(&self.inner);
        Overview {
            current: inner.current.clone(),
            past: inner.past.iter().rev().cloned().collect(),
            tests: inner.tests.iter().cloned().collect(),
            forgotten: inner.forgotten,
            forgotten_tests: inner.forgotten_tests,
        }
    }

    /// The probe with this number, unless it was removed or does not exist yet.
    pub(super) fn find(&self, number: u64) -> Option<Found> {
        let mut inner = sync::lock(&self.inner);
        if let Some(probe) = inner.current(number) {
            return Some(Found::Current(probe.clone()));
        }
        let lasts = inner.tests.iter().map(|test| &test.last);
        let mut past = inner.past.iter().chain(lasts);
        let past = past.find(|probe| probe.number == number)?;
        Some(Found::Finished(Arc::clone(past)))
    }

    /// When the running test of this probe should end, if known.
    pub(super) fn planned_end(&self, number: u64) -> Option<SystemTime> {
        sync::lock(&self.inner).current(number)?.planned_end()
    }

    /// Stops a manual probe, and returns whether there was one. Waiters notice it after
    /// [`crate::probe::lock::TestLock::wake_all`].
    pub(super) fn stop(&self, number: u64, by: IpAddr) -> bool {
        let mut inner = sync::lock(&self.inner);
        let manual = inner.current(number).filter(|probe| probe.is_manual);
        manual
            .inspect(|probe| probe.cancel.set(Cause::StoppedBy(by)))
            .is_some()
    }

    /// Stops all manual probes, for shutdown.
    pub(super) fn stop_all(&self) {
        let inner = sync::lock(&self.inner);
        let manual = inner.current.iter().filter(|probe| probe.is_manual);
        manual.for_each(|probe| probe.cancel.set(Cause::ShuttingDown));
    }
}

impl Running {
    /// Sets the current stage, and the number of attempts so far.
    pub(super) fn set_stage(&self, stage: Stage, attempts: u32) {
        if let Some(probe) = sync::lock(&self.history.inner).current(self.number) {
            probe.stage = stage;
            probe.since = Moment::now();
            probe.attempts = attempts;
        }
    }

    pub(super) fn end(mut self, end: &Result<Answer, WaitError>) {
        self.end.clone_from(end);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut inner = sync::lock(&self.history.inner);
        let mut current = inner.current.iter();
        let Some(place) = current.position(|own| own.number == self.number) else {
            return;
        };
        let probe = inner.current.remove(place);
        let cut_off = match (&self.end, &probe.stage) {
            (Err(_), Stage::Running { progress, .. }) => CutOff::of(progress),
            _ => None,
        };
        inner.remember(&Arc::new(Finished {
            number: probe.number,
            params: probe.params,
            client: probe.client,
            began: probe.began,
            ended: SystemTime::now(),
            is_manual: probe.is_manual,
            end: self.end.clone(),
            cut_off,
        }));
    }
}

impl Finished {
    /// What its test had measured when it was cut off.
    pub(crate) fn cut_off(&self) -> Option<&CutOff> {
        match &self.end {
            Ok(answer) => answer.completed.cut_off.as_ref(),
            Err(_) => self.cut_off.as_ref(),
        }
    }

    /// The report of a successful test.
    pub(crate) fn report(&self) -> Option<&Report> {
        self.end.as_ref().ok()?.completed.outcome.as_ref().ok()
    }

    fn point(&self) -> Point {
        let report = self.report();
        let directions = report.map_or([None, None], Report::directions);
        Point {
            is_success: report.is_some(),
            #[allow(clippy::cast_possible_truncation, reason = "it is drawn small")]
            rates: directions
                .map(|direction| Some(direction?.arrived().bytes_per_second()? as f32)),
        }
    }

    /// Approximate size in memory, accurate enough for a limit. Lists and texts that can be long are counted. `REST`
    /// covers everything else.
    fn bytes(&self) -> usize {
        /// The probe itself, its parameters, its report, and texts with their own limits.
        const REST: usize = 2048;
        let seen = self.cut_off().map(|cut_off| cut_off.seen.directions());
        let seen = seen.into_iter().flatten().flatten();
        let seen: usize = seen
            .map(|direction| size_of_val(direction.intervals.as_slice()))
            .sum();
        let Ok(answer) = &self.end else {
            return REST + seen;
        };
        let completed = &*answer.completed;
        let attempts = completed.attempts.iter().map(|attempt| {
            let details = &attempt.details;
            let args = details.command_line.iter().map(|arg| arg.len() + 24);
            let end_part = details.end_part.as_ref().map_or(0, String::len);
            size_of::<Attempt>() + args.sum::<usize>() + details.stderr.len() + end_part
        });
        let report = completed.outcome.as_ref().ok();
        let directions = report.map_or([None, None], Report::directions);
        let intervals = directions
            .iter()
            .flatten()
            .map(|direction| size_of_val(direction.intervals.as_slice()));
        REST + seen + attempts.sum::<usize>() + intervals.sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Found, History, MAX_BYTES, MAX_POINTS, MAX_PROBES, MAX_TESTS, Running, Stage, TestTrend,
    };
    use crate::cancel::{Cancel, Cause};
    use crate::iperf3::progress::Progress;
    use crate::iperf3::report::Report;
    use crate::iperf3::{Failure, Run, reason::Reason};
    use crate::moment::Moment;
    use crate::probe::answer::{Answer, Attempt, CompletedTest};
    use crate::probe::params::Params;
    use crate::probe::wait_error::WaitError;
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::time::Duration;

    fn client() -> SocketAddr {
        "192.0.2.1:1".parse().unwrap()
    }

    fn open(history: &Arc<History>) -> Running {
        let params = Params::parse("target=a").unwrap();
        history.open(&params, client(), &Cancel::default(), false)
    }

    /// An answer with this much standard error.
    fn answer(stderr_bytes: usize) -> Answer {
        let failure = Failure {
            reason: Reason::Busy,
            message: String::new(),
        };
        let mut details = Run::refused(5201, failure).details;
        details.stderr = "e".repeat(stderr_bytes);
        let attempts = vec![
            Attempt {
                waited: None,
                details,
                failure: None,
            };
            8
        ];
        Answer {
            completed: Arc::new(CompletedTest {
                outcome: Ok(Report::default()),
                port: 5201,
                count: 8,
                attempts,
                cut_off: None,
                lock_wait: Duration::ZERO,
                ended: Moment::now(),
            }),
            duration: Duration::ZERO,
            age: None,
            last_success: None,
        }
    }

    fn numbers(history: &History) -> Vec<u64> {
        let past = history.overview().past;
        past.iter().map(|past| past.number).collect()
    }

    #[test]
    fn the_last_hundred_are_remembered_most_recently_finished_first() {
        let history = Arc::new(History::default());
        let slow = open(&history);
        for _ in 0..MAX_PROBES + 5 {
            open(&history).end(&Ok(answer(0)));
        }
        assert_eq!(numbers(&history), (7..=106).rev().collect::<Vec<_>>());
        assert_eq!(history.overview().forgotten, 5);
        slow.end(&Err(WaitError::Full));
        assert_eq!(numbers(&history).first(), Some(&1));
        assert!(history.find(7).is_none() && history.find(107).is_none());
        let Some(Found::Finished(past)) = history.find(1) else {
            panic!("forgotten")
        };
        assert!(matches!(past.end, Err(WaitError::Full)));
    }

    fn open_other(history: &Arc<History>, query: &str) -> Running {
        let params = Params::parse(query).unwrap();
        history.open(&params, client(), &Cancel::default(), false)
    }

    #[test]
    fn the_last_probe_of_each_test_outlives_a_hundred_others() {
        let history = Arc::new(History::default());
        open_other(&history, "target=rare&max_age=1m").end(&Ok(answer(0)));
        open_other(&history, "target=rare&udp_mode=true").end(&Ok(answer(0)));
        for _ in 0..=MAX_PROBES {
            open(&history).end(&Ok(answer(0)));
        }
        let overview = history.overview();
        assert_eq!((overview.tests.len(), overview.ended()), (3, 103));
        assert!(history.find(1).is_some() && history.find(2).is_some());
        // `max_age` does not make it another test.
        open_other(&history, "target=rare").end(&Err(WaitError::Broken));
        let tests = history.overview().tests;
        let rare = tests.last().unwrap();
        let successes: Vec<bool> = rare.points.iter().map(|point| point.is_success).collect();
        assert_eq!((tests.len(), rare.last.number), (3, 104));
        assert_eq!(successes, [true, false]);
        assert!(history.find(1).is_none());
        let busy = tests.iter().find(|test| test.last.number == 103).unwrap();
        assert_eq!(busy.points.len(), MAX_POINTS);
    }

    #[test]
    fn the_tests_are_bounded_by_their_number_and_their_size() {
        let history = Arc::new(History::default());
        for number in 0..=MAX_TESTS {
            open_other(&history, &format!("target=a{number}")).end(&Err(WaitError::Full));
        }
        let tests = history.overview().tests;
        let bytes =
            |tests: &[Arc<TestTrend>]| tests.iter().map(|test| test.last.bytes()).sum::<usize>();
        assert_eq!(tests.len(), MAX_TESTS);
        assert_eq!(tests.last().unwrap().last.number, MAX_TESTS as u64 + 1);
        assert_eq!(history.overview().forgotten_tests, 1);
        for number in 0..MAX_TESTS {
            open_other(&history, &format!("target=b{number}")).end(&Ok(answer(8192)));
        }
        let tests = history.overview().tests;
        assert!((5..MAX_TESTS).contains(&tests.len()), "{}", tests.len());
        assert!(bytes(&tests) <= MAX_BYTES);
    }

    #[test]
    fn large_probes_are_removed_to_limit_the_total_size() {
        let history = Arc::new(History::default());
        for _ in 0..MAX_PROBES {
            open(&history).end(&Ok(answer(2048)));
        }
        let past = history.overview().past;
        let bytes: usize = past.iter().map(|past| past.bytes()).sum();
        let count = past.len();
        assert!(bytes <= MAX_BYTES);
        assert!(
            (30..MAX_PROBES).contains(&count),
            "{count} of {bytes} bytes"
        );
    }

    #[test]
    fn a_probe_is_in_progress_until_its_end_and_a_panic_ends_it_too() {
        let history = Arc::new(History::default());
        let stop = Cancel::default();
        let params = Params::parse("target=a").unwrap();
        let manual = history.open(&params, client(), &stop, true);
        let scrape = open(&history);
        let running = Stage::Running {
            port: 1,
            progress: Progress::new(None),
        };
        scrape.set_stage(running, 3);
        let current = history.overview().current;
        assert_eq!((current.len(), current[1].attempts), (2, 3));
        assert!(matches!(current[1].stage, Stage::Running { port: 1, .. }));
        assert!(current[0].can_be_stopped() && !current[1].can_be_stopped());
        let by = client().ip();
        assert!(!history.stop(scrape.number, by) && !history.stop(99, by) && !stop.is_set());
        assert!(history.stop(manual.number, by));
        assert_eq!(stop.cause(), Some(Cause::StoppedBy(by)));
        drop(manual);
        assert!(!history.stop(1, by));
        let Some(Found::Finished(past)) = history.find(1) else {
            panic!("forgotten")
        };
        assert!(past.is_manual && matches!(past.end, Err(WaitError::Broken)));
        assert_eq!(numbers(&history), [1]);
        assert!(matches!(history.find(2), Some(Found::Current(_))));
    }
}
