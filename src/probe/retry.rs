//! The attempts of one test: an iperf3 server serves one client at a time, so a busy one is tried again.
//!
//! Owns when there is another attempt, and on which port. The lock is held while iperf3 runs, and given back between
//! attempts. Must not know text formats.

use std::time::{Duration, Instant, SystemTime};

use crate::cancel::Cancel;
use crate::duration;
use crate::iperf3::reason::Reason;
use crate::iperf3::{self, Failure, Outcome, Run, TestSpec};
use crate::probe::answer::Attempt;
use crate::probe::answer::CompletedTest;
use crate::probe::backoff::Backoff;
use crate::probe::deadline::Limits;
use crate::probe::engine::Engine;
use crate::probe::history::{Running, Stage};
use crate::probe::lock::{Guard, Position, WaitError, WaitLimits};
use crate::probe::params::{Params, Selected};

/// What a test needs beyond its own length to be worth another attempt: connecting, and the exchange of results.
const OVERHEAD: Duration = Duration::from_millis(500);
/// How long behind a busy answer a refused or reset connection is taken for a server between two tests: servers that serve one
/// client and are started anew are away for a moment.
const REFUSED_WHILE_BUSY: Duration = Duration::from_secs(5);
/// How many attempts are told; of more the latest ones.
const ATTEMPTS_KEPT: usize = 8;

/// A test that somebody wants.
#[derive(Clone, Copy, Debug)]
pub(super) struct TestRequest<'a> {
    /// What it is.
    pub(super) params: &'a Params,
    /// Seconds to transmit, which may be fewer than `params` has.
    pub(super) period_seconds: u64,
    /// What limits it in time.
    pub(super) limits: &'a Limits,
    /// When it was asked for.
    pub(super) arrival: Instant,
    /// Its place in the order in which requests came.
    pub(super) number: u64,
    /// Set when nobody wants it any more.
    pub(super) cancel: &'a Cancel,
    /// Where it is told what becomes of it.
    pub(super) open: &'a Running,
}

/// Why a test was not run, and how long it had waited for the lock.
#[derive(Clone, Copy, Debug)]
pub(super) struct NotRun {
    pub(super) why: WaitError,
    pub(super) waited: Duration,
}

/// Runs a test, again as long as its server is busy and its time can hold it.
///
/// # Errors
/// When iperf3 was not run at all, or nobody wants the result any more.
pub(super) fn run(engine: &Engine, request: &TestRequest<'_>) -> Result<CompletedTest, NotRun> {
    let mut test = RetryLoop::begin(request);
    // What cannot run need not wait for its turn.
    if let Some(failure) = test.over_budget(engine) {
        return Ok(test.end(Err(failure)));
    }
    loop {
        let failure = match test.try_all_ports(engine) {
            Ok(Ok(report)) => return Ok(test.end(Ok(report))),
            Ok(Err(failure)) => failure,
            Err(why) => {
                let lock_wait = test.waited;
                // What the attempts before it found is the answer, if there were any and somebody waits for it.
                return match test.last_failure.take() {
                    Some(failure) if why != WaitError::Cancelled => {
                        Ok(test.end_failed(failure, Instant::now()))
                    }
                    _ => Err(NotRun {
                        why,
                        waited: lock_wait,
                    }),
                };
            }
        };
        let now = Instant::now();
        let Some(pause) = test.pause_before_the_next(failure.reason, now) else {
            return Ok(test.end_failed(failure, now));
        };
        engine.log.debug(
            "the server is busy, trying again",
            &[
                ("target", &request.params.host),
                ("port", &request.params.ports),
                ("reason", &failure.reason.label()),
                ("attempts", &test.count),
                ("pause_seconds", &format!("{:.3}", pause.as_secs_f64())),
            ],
        );
        test.last_failure = Some(failure);
        let until = now + pause;
        request.open.set_stage(Stage::Pausing { until }, test.count);
        request.cancel.wait_until(until);
    }
}

/// How far a test has come.
struct RetryLoop<'a> {
    request: &'a TestRequest<'a>,
    /// The port of the last attempt.
    port: u16,
    count: u32,
    waited: Duration,
    attempts: Vec<Attempt>,
    first_start: Option<Instant>,
    last_failure: Option<Failure>,
    /// The last busy answer: from which port, and when.
    busy: Option<(Failure, u16, Instant)>,
    /// The last attempt's connection was reset before the test: a server that tidies up behind another one does so.
    was_reset: bool,
    pauses: Backoff,
}

impl<'a> RetryLoop<'a> {
    fn begin(request: &'a TestRequest<'a>) -> Self {
        Self {
            request,
            port: request.params.ports.first,
            count: 0,
            waited: Duration::ZERO,
            attempts: Vec::new(),
            first_start: None,
            last_failure: None,
            busy: None,
            was_reset: false,
            pauses: Backoff::new(),
        }
    }

    /// Waits for the lock, and tries each port until one is neither busy nor closed.
    fn try_all_ports(&mut self, engine: &Engine) -> Result<Outcome, WaitError> {
        let (_held, waited) = self.wait_for_turn(engine)?;
        let mut waited = Some(waited);
        let ports = self.request.params.ports;
        self.port = ports.first;
        loop {
            let outcome = self.attempt(engine, waited)?;
            waited = None;
            let Err(failure) = &outcome else {
                return Ok(outcome);
            };
            if failure.reason == Reason::Busy {
                self.busy = Some((failure.clone(), self.port, Instant::now()));
            }
            let next = ports.after(self.port);
            // Held on to: the next port is tried within moments, and behind others it would be after their tests.
            let is_worth_it = self.was_reset
                || matches!(
                    failure.reason,
                    Reason::Busy | Reason::Refused | Reason::ConnectTimeout
                );
            if !is_worth_it || next == ports.first || self.time_left(Instant::now()).is_none() {
                return Ok(outcome);
            }
            engine.log.debug(
                "trying the next port",
                &[
                    ("target", &self.request.params.host),
                    ("port", &self.port),
                    ("reason", &failure.reason.label()),
                    ("next", &next),
                ],
            );
            self.port = next;
        }
    }

    /// The lock, and how long it was waited for.
    fn wait_for_turn<'s>(
        &mut self,
        engine: &'s Engine,
    ) -> Result<(Guard<'s>, Duration), WaitError> {
        let TestRequest {
            params,
            period_seconds,
            limits,
            cancel,
            ..
        } = *self.request;
        let queued = Instant::now();
        let (position, wait_limits) = match self.first_start {
            None => (
                Position::Numbered(self.request.number),
                WaitLimits {
                    longest: self.request.arrival + engine.config.lock_timeout,
                    latest_start: limits.latest_start(params.least_seconds(period_seconds)),
                },
            ),
            Some(first) => (
                Position::Behind,
                WaitLimits {
                    longest: queued + engine.config.lock_timeout,
                    latest_start: limits
                        .end_of_attempts(first)
                        .checked_sub(self.length() + OVERHEAD),
                },
            ),
        };
        self.request.open.set_stage(Stage::Queued, self.count);
        let (probe, name) = (self.request.open.number, params.server());
        let held = engine
            .lock
            .acquire(position, probe, name, wait_limits, cancel);
        let waited = match &held {
            Ok(held) => held.waited,
            // A wait that was given up is told from the request on, which is what its limit counts from.
            Err(_) if self.first_start.is_none() => self.request.arrival.elapsed(),
            Err(_) => queued.elapsed(),
        };
        self.waited += waited;
        let held = held?;
        // The lock goes to whoever is first, however late.
        if self.first_start.is_some() && self.time_left(Instant::now()).is_none() {
            return Err(WaitError::NoTimeLeft);
        }
        self.first_start.get_or_insert_with(Instant::now);
        Ok((held, waited))
    }

    /// Runs iperf3 once; the lock is held, and was waited for, or held on to.
    fn attempt(&mut self, engine: &Engine, waited: Option<Duration>) -> Result<Outcome, WaitError> {
        let TestRequest {
            params,
            period_seconds,
            limits,
            cancel,
            ..
        } = *self.request;
        let run = match self.over_budget(engine) {
            None => {
                let running = Stage::Running {
                    port: self.port,
                    length: self.length(),
                };
                self.request.open.set_stage(running, self.count);
                let now = Instant::now();
                let deadline = limits.end_of_run(now);
                let selected = Selected {
                    params,
                    port: self.port,
                    period_seconds,
                    limit_seconds: duration::ceil_seconds(deadline.saturating_duration_since(now)),
                };
                let spec = TestSpec {
                    args: &|args| selected.add_to(args),
                    port: self.port,
                    mode: params.mode,
                    udp: params.options.udp,
                    keep_end_part: params.options.debug,
                    deadline,
                    credentials: engine.config.credentials.as_ref(),
                };
                iperf3::run_test(&engine.binary, &spec, cancel)
            }
            Some(failure) => Run::refused(self.port, failure),
        };
        engine.budget.spend(run.cost, SystemTime::now());
        engine.metrics.test_ran(run.cost);
        if run.was_started() {
            if self.count > 0 {
                engine.metrics.retried();
            }
            self.count += 1;
        }
        if self.attempts.len() == ATTEMPTS_KEPT {
            self.attempts.remove(0);
        }
        self.attempts.push(Attempt {
            waited,
            details: run.details,
        });
        let outcome = run.outcome.ok_or(WaitError::Cancelled)?;
        self.was_reset = !run.was_connected && outcome.as_ref().is_err_and(is_reset);
        Ok(outcome)
    }

    /// The refusal of a test that the day's budget does not allow.
    fn over_budget(&self, engine: &Engine) -> Option<Failure> {
        let now = SystemTime::now();
        let checked = engine.budget.check(self.request.params, self.length(), now);
        checked.err().map(|words| Failure {
            reason: Reason::Budget,
            words,
        })
    }

    /// The pause before the next round, if there is to be one after this failure.
    fn pause_before_the_next(&mut self, reason: Reason, now: Instant) -> Option<Duration> {
        let left = self.time_left(now)?;
        let may_be_free_soon = match reason {
            Reason::Busy => true,
            Reason::Refused => self.is_between_tests(now),
            _ => self.was_reset && (self.is_between_tests(now) || self.has_just_begun(now)),
        };
        // The last attempt is at the last moment, and not given up for a pause that is a little too long.
        may_be_free_soon.then(|| self.pauses.next().min(left))
    }

    /// Whether the server was busy a moment ago.
    fn is_between_tests(&self, now: Instant) -> bool {
        let busy = self.busy.as_ref();
        busy.is_some_and(|(_, _, when)| now.duration_since(*when) < REFUSED_WHILE_BUSY)
    }

    /// Whether the first attempt was a moment ago.
    fn has_just_begun(&self, now: Instant) -> bool {
        let first = self.first_start;
        first.is_some_and(|start| now.duration_since(start) < REFUSED_WHILE_BUSY)
    }

    /// What the attempts' time has beyond another test; none when it cannot hold one.
    fn time_left(&self, now: Instant) -> Option<Duration> {
        let end = self.request.limits.end_of_attempts(self.first_start?);
        let left = end.saturating_duration_since(now);
        left.checked_sub(self.length() + OVERHEAD)
    }

    /// What a test takes at least.
    fn length(&self) -> Duration {
        let TestRequest {
            params,
            period_seconds,
            ..
        } = self.request;
        Duration::from_secs(params.least_seconds(*period_seconds))
    }

    /// The end with the failure that says most.
    fn end_failed(mut self, failure: Failure, now: Instant) -> CompletedTest {
        let is_away =
            self.was_reset || matches!(failure.reason, Reason::Refused | Reason::ConnectTimeout);
        if is_away && self.is_between_tests(now) {
            // One of its ports is closed, or the server is away between two tests: what it is, is busy.
            if let Some((busy, port, _)) = self.busy.take() {
                self.port = port;
                return self.end(Err(busy));
            }
        }
        let end = self.request.limits.end_of_run(now);
        let failure = iperf3::refine_reason(failure, &self.request.params.host, end);
        self.end(Err(failure))
    }

    fn end(self, outcome: Outcome) -> CompletedTest {
        CompletedTest {
            outcome,
            port: self.port,
            count: self.count,
            attempts: self.attempts,
            lock_wait: self.waited,
        }
    }
}

/// Whether the connection was reset, in iperf3's words.
fn is_reset(failure: &Failure) -> bool {
    failure.reason == Reason::Interrupted && failure.words.contains("onnection reset by peer")
}

#[cfg(test)]
mod tests {
    use super::{REFUSED_WHILE_BUSY, RetryLoop, TestRequest};
    use crate::cancel::Cancel;
    use crate::iperf3::Failure;
    use crate::iperf3::reason::Reason;
    use crate::probe::deadline::Limits;
    use crate::probe::history::History;
    use crate::probe::params::Params;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    const MOMENT: Duration = Duration::from_millis(1);

    fn millis(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    /// A moment less.
    fn just_within(limit: Duration) -> Duration {
        limit.saturating_sub(MOMENT)
    }

    fn failure(reason: Reason) -> Failure {
        Failure {
            reason,
            words: String::new(),
        }
    }

    /// A test that came and began at the given moment, with so much time for its scrape.
    fn begun<T>(
        query: &str,
        scrape: Duration,
        test: impl FnOnce(RetryLoop<'_>, Instant) -> T,
    ) -> T {
        let begin = Instant::now();
        let params = Params::parse(query).unwrap();
        let limits = Limits::new(begin, Some(scrape), Duration::ZERO, None);
        let records = Arc::new(History::default());
        let request = TestRequest {
            params: &params,
            period_seconds: params.period_seconds,
            limits: &limits,
            arrival: begin,
            number: 1,
            cancel: &Cancel::default(),
            open: &records.open(&params, ([192, 0, 2, 1], 1).into(), None),
        };
        let mut retry_loop = RetryLoop::begin(&request);
        retry_loop.first_start = Some(begin);
        test(retry_loop, begin)
    }

    #[test]
    fn a_busy_server_is_tried_again_as_long_as_the_scrape_holds_the_test() {
        begun(
            "target=192.0.2.7&period=3s",
            millis(10_000),
            |mut retry_loop, begin| {
                // 10 s less the test and half a second for all else.
                let time = millis(6_500);
                assert_eq!(retry_loop.time_left(begin), Some(time));
                assert!(
                    retry_loop
                        .pause_before_the_next(Reason::Busy, begin)
                        .is_some()
                );
                // The last attempt comes at the last moment, however long the pause would be.
                let mut pause = |at| retry_loop.pause_before_the_next(Reason::Busy, begin + at);
                assert_eq!(pause(just_within(time)), Some(MOMENT));
                assert_eq!(pause(time + MOMENT), None);
            },
        );
    }

    #[test]
    fn a_test_that_fills_its_scrape_is_not_tried_again() {
        begun(
            "target=192.0.2.7&period=4s",
            millis(4_400),
            |mut retry_loop, begin| {
                assert_eq!(retry_loop.pause_before_the_next(Reason::Busy, begin), None);
            },
        );
    }

    #[test]
    fn a_refused_connection_is_tried_again_behind_a_busy_answer_but_not_for_ever() {
        begun(
            "target=192.0.2.7&period=1s",
            millis(60_000),
            |mut retry_loop, begin| {
                let is_tried = |retry_loop: &mut RetryLoop<'_>, at| {
                    retry_loop.pause_before_the_next(Reason::Refused, at)
                };
                assert_eq!(is_tried(&mut retry_loop, begin), None);
                let busy = begin + millis(20_000);
                retry_loop.busy = Some((failure(Reason::Busy), 5201, busy));
                assert!(is_tried(&mut retry_loop, busy).is_some());
                let within = busy + just_within(REFUSED_WHILE_BUSY);
                assert!(is_tried(&mut retry_loop, within).is_some());
                assert_eq!(is_tried(&mut retry_loop, busy + REFUSED_WHILE_BUSY), None);
                for reason in [
                    Reason::Interrupted,
                    Reason::UnknownHost,
                    Reason::ConnectTimeout,
                ] {
                    assert_eq!(retry_loop.pause_before_the_next(reason, busy), None);
                }
            },
        );
    }

    #[test]
    fn a_reset_is_tried_again_at_the_begin_and_behind_a_busy_answer() {
        begun(
            "target=192.0.2.7&period=1s",
            millis(60_000),
            |mut retry_loop, begin| {
                retry_loop.was_reset = true;
                let is_tried = |retry_loop: &mut RetryLoop<'_>, at| {
                    let pause = retry_loop.pause_before_the_next(Reason::Interrupted, at);
                    pause.is_some()
                };
                let within = begin + just_within(REFUSED_WHILE_BUSY);
                assert!(is_tried(&mut retry_loop, begin) && is_tried(&mut retry_loop, within));
                let end = begin + REFUSED_WHILE_BUSY;
                // A server that resets every connection is none that tidies up.
                assert!(!is_tried(&mut retry_loop, end));
                retry_loop.busy = Some((failure(Reason::Busy), 5201, end));
                assert!(is_tried(&mut retry_loop, end));
                retry_loop.was_reset = false;
                assert!(!is_tried(&mut retry_loop, end));
            },
        );
    }

    #[test]
    fn a_range_with_a_port_that_was_busy_a_moment_ago_is_busy() {
        for (ago, failed, reason, port) in [
            (Duration::ZERO, Reason::Refused, Reason::Busy, 5202),
            (Duration::ZERO, Reason::ConnectTimeout, Reason::Busy, 5202),
            (REFUSED_WHILE_BUSY, Reason::Refused, Reason::Refused, 5203),
            // What is not away says something else.
            (Duration::ZERO, Reason::Auth, Reason::Auth, 5203),
        ] {
            let query = "target=192.0.2.7&port=5201-5203";
            begun(query, millis(60_000), |mut retry_loop, begin| {
                retry_loop.port = 5203;
                retry_loop.busy = Some((failure(Reason::Busy), 5202, begin));
                let completed = retry_loop.end_failed(failure(failed), begin + ago);
                assert_eq!(
                    completed.outcome,
                    Err(failure(reason)),
                    "{failed:?} {ago:?}"
                );
                assert_eq!(completed.port, port);
            });
        }
    }
}
