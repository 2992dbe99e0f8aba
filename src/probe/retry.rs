//! The attempts of one test: an iperf3 server serves one client at a time, so a busy one is tried again.
//!
//! Owns when there is another attempt and on which port, and how long each waits for the lock. The lock is held while
//! iperf3 runs, and given back between attempts. Must not know text formats.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::accounting;
use super::answer::{Answer, Attempt, Caller, CompletedTest};
use super::deadline::Limits;
use super::history::{Running, Stage};
use super::lock::{Guard, WaitError, first_limit};
use super::params::{Params, Selected};
use super::prober::Prober;
use crate::duration;
use crate::iperf3::reason::Reason;
use crate::iperf3::{self, Failure, Outcome, Run, TestSpec};
use crate::moment::Moment;

/// What a test needs beyond its own length to be worth another attempt: connecting, and the exchange of results.
const OVERHEAD: Duration = Duration::from_millis(500);
/// How long behind a busy answer a refused or reset connection is taken for a server between two tests: servers that serve one
/// client and are started anew are away for a moment.
const REFUSED_WHILE_BUSY: Duration = Duration::from_secs(5);
/// How many attempts are told; of more the latest ones.
const ATTEMPTS_KEPT: usize = 8;
/// The shortest pause: a server is free a moment after its test, and an attempt costs both ends a connection.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause: much longer and a free server stands idle while probes run out of time.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How far a test has come.
pub(super) struct RetryLoop<'a> {
    prober: &'a Prober,
    params: &'a Params,
    limits: &'a Limits,
    caller: &'a Caller,
    running: &'a Running,
    /// Seconds to transmit, which may be fewer than `params` has.
    period_seconds: u64,
    /// The port of the last attempt.
    port: u16,
    count: u32,
    waited: Duration,
    attempts: Vec<Attempt>,
    first_start: Option<Instant>,
    /// The last busy answer: from which port, and when.
    busy: Option<(Failure, u16, Instant)>,
    /// The last attempt's connection was reset before the test: a server that tidies up behind another one does so.
    was_reset: bool,
    last_pause: Duration,
}

impl<'a> RetryLoop<'a> {
    /// No attempt yet.
    pub(super) fn begin(
        prober: &'a Prober,
        params: &'a Params,
        limits: &'a Limits,
        caller: &'a Caller,
        running: &'a Running,
    ) -> Self {
        let omit_seconds = params.options.omit_seconds;
        Self {
            prober,
            params,
            limits,
            caller,
            running,
            period_seconds: limits.fit(params.period_seconds, omit_seconds, caller.arrival),
            port: params.ports.first,
            count: 0,
            waited: Duration::ZERO,
            attempts: Vec::new(),
            first_start: None,
            busy: None,
            was_reset: false,
            last_pause: SHORTEST_PAUSE,
        }
    }

    /// Runs a test, again as long as its server is busy and its time can hold it; counts and logs what comes of it.
    ///
    /// # Errors
    /// When iperf3 was not run at all, or nobody wants the result any more.
    pub(super) fn run(mut self) -> Result<Answer, WaitError> {
        let (prober, params, caller) = (self.prober, self.params, self.caller);
        let is_cut = self.period_seconds < params.period_seconds;
        if is_cut {
            prober.log.warn(
                "period cut to fit into its time",
                &[
                    ("target", &params.host),
                    ("port", &params.ports),
                    ("wanted_seconds", &params.period_seconds),
                    ("period_seconds", &self.period_seconds),
                ],
            );
        }
        let outcome = self.try_until_free().inspect_err(|why| {
            accounting::not_run(prober, params, caller.client, *why, Some(self.waited));
        })?;
        let completed = CompletedTest {
            outcome,
            port: self.port,
            count: self.count,
            attempts: self.attempts,
            lock_wait: self.waited,
            ended: Moment::now(),
        };
        let duration = caller.arrival.elapsed();
        accounting::ran(prober, params, caller.client, &completed, duration);
        // A test that its scrape cut is not the one that was asked for; one that a flag cuts is cut for everyone.
        if completed.outcome.is_ok() && (!is_cut || self.limits.is_detached) {
            prober.result_cache.keep(&params.test(), &completed);
        }
        Ok(Answer {
            completed: Arc::new(completed),
            duration,
            age: None,
            last_success: None,
        })
    }

    fn try_until_free(&mut self) -> Result<Outcome, WaitError> {
        // What cannot run need not wait for its turn.
        if let Some(failure) = self.over_budget() {
            return Ok(Err(failure));
        }
        let mut last_failure = None;
        loop {
            let failure = match self.try_all_ports() {
                Ok(Err(failure)) => failure,
                Ok(success) => return Ok(success),
                // What the attempts before it found is the answer, if there were any and somebody waits for it.
                Err(why) => {
                    let found = last_failure.filter(|_| why != WaitError::Cancelled);
                    let failure = found.ok_or(why)?;
                    return Ok(self.refined(failure, Instant::now()));
                }
            };
            let now = Instant::now();
            let Some(pause) = self.pause_before_the_next(failure.reason, now) else {
                return Ok(self.refined(failure, now));
            };
            self.prober.log.debug(
                "the server is busy, trying again",
                &[
                    ("target", &self.params.host),
                    ("port", &self.params.ports),
                    ("reason", &failure.reason.label()),
                    ("attempts", &self.count),
                    ("pause_seconds", &accounting::seconds(pause)),
                ],
            );
            last_failure = Some(failure);
            let until = now + pause;
            self.running.set_stage(Stage::Pausing { until }, self.count);
            self.caller.cancel.wait_until(until);
        }
    }

    /// Waits for the lock, and tries each port until one is neither busy nor closed.
    fn try_all_ports(&mut self) -> Result<Outcome, WaitError> {
        let (_held, waited) = self.wait_for_lock()?;
        let mut waited = Some(waited);
        let ports = self.params.ports;
        self.port = ports.first;
        loop {
            let outcome = self.attempt(waited.take())?;
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
            self.prober.log.debug(
                "trying the next port",
                &[
                    ("target", &self.params.host),
                    ("port", &self.port),
                    ("reason", &failure.reason.label()),
                    ("next", &next),
                ],
            );
            self.port = next;
        }
    }

    /// The lock, and how long it was waited for: at most `--lock.timeout`, and as long as a test still fits behind it.
    fn wait_for_lock(&mut self) -> Result<(Guard<'a>, Duration), WaitError> {
        let queued = Instant::now();
        let (number, since, latest_start) = match self.first_start {
            None => {
                let latest_start = self.limits.latest_start(self.length());
                // The limit of the first wait counts from the request on.
                (Some(self.caller.number), self.caller.arrival, latest_start)
            }
            Some(first) => {
                let end = self.limits.end_of_attempts(first);
                (None, queued, end.checked_sub(self.length() + OVERHEAD))
            }
        };
        self.running.set_stage(Stage::Queued, self.count);
        let held = self.prober.lock.acquire(
            number,
            self.running.number,
            self.params.server(),
            first_limit(since + self.prober.config.lock_timeout, latest_start),
            &self.caller.cancel,
        );
        // A wait that was given up is told from where its limit counts.
        let waited = if held.is_ok() { queued } else { since }.elapsed();
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
    fn attempt(&mut self, waited: Option<Duration>) -> Result<Outcome, WaitError> {
        let Self { prober, params, .. } = *self;
        let run = match self.over_budget() {
            None => {
                let running = Stage::Running {
                    port: self.port,
                    length: self.length(),
                };
                self.running.set_stage(running, self.count);
                let now = Instant::now();
                let deadline = self.limits.end_of_run(now);
                let selected = Selected {
                    params,
                    port: self.port,
                    period_seconds: self.period_seconds,
                    limit_seconds: duration::ceil_seconds(deadline.saturating_duration_since(now)),
                };
                let spec = TestSpec {
                    args: &|args| selected.add_to(args),
                    port: self.port,
                    mode: params.mode,
                    udp: params.options.udp,
                    keep_end_part: params.options.debug,
                    deadline,
                    credentials: prober.config.credentials.as_ref(),
                };
                iperf3::run_test(&prober.binary, &spec, &self.caller.cancel)
            }
            Some(failure) => Run::refused(self.port, failure),
        };
        prober.budget.spend(run.cost, SystemTime::now());
        prober.metrics.test_ran(run.cost);
        if run.was_started() {
            if self.count > 0 {
                prober.metrics.retried();
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
    fn over_budget(&self) -> Option<Failure> {
        let budget = &self.prober.budget;
        let checked = budget.check(self.params, self.length(), SystemTime::now());
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
            _ => self.was_reset && (self.is_between_tests(now) || is_recent(self.first_start, now)),
        };
        if !may_be_free_soon {
            return None;
        }
        self.last_pause = next_pause(self.last_pause);
        // The last attempt is at the last moment, and not given up for a pause that is a little too long.
        Some(self.last_pause.min(left))
    }

    /// Whether the server was busy a moment ago.
    fn is_between_tests(&self, now: Instant) -> bool {
        is_recent(self.busy.as_ref().map(|(_, _, when)| *when), now)
    }

    /// What the attempts' time has beyond another test; none when it cannot hold one.
    fn time_left(&self, now: Instant) -> Option<Duration> {
        let end = self.limits.end_of_attempts(self.first_start?);
        let left = end.saturating_duration_since(now);
        left.checked_sub(self.length() + OVERHEAD)
    }

    /// What a test takes at least.
    fn length(&self) -> Duration {
        Duration::from_secs(self.params.least_seconds(self.period_seconds))
    }

    /// The failure that says most, and its port.
    fn refined(&mut self, failure: Failure, now: Instant) -> Outcome {
        let is_away =
            self.was_reset || matches!(failure.reason, Reason::Refused | Reason::ConnectTimeout);
        // One of its ports is closed, or the server is away between two tests: what it is, is busy.
        if is_away
            && self.is_between_tests(now)
            && let Some((busy, port, _)) = self.busy.take()
        {
            self.port = port;
            return Err(busy);
        }
        let end = self.limits.end_of_run(now);
        Err(iperf3::refine_reason(failure, &self.params.host, end))
    }
}

/// Whether the connection was reset, in iperf3's words.
fn is_reset(failure: &Failure) -> bool {
    failure.reason == Reason::Interrupted && failure.words.contains("onnection reset by peer")
}

/// Whether something was a moment ago.
fn is_recent(when: Option<Instant>, now: Instant) -> bool {
    when.is_some_and(|when| now.duration_since(when) < REFUSED_WHILE_BUSY)
}

/// The pause behind one of `last`: random between the shortest and three times the last one, so that exporters which
/// collided once do not collide again (Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
fn next_pause(last: Duration) -> Duration {
    // Randomness of the system's, which the standard library gives to its hash tables.
    let part = RandomState::new().hash_one(()) as f64 / u64::MAX as f64;
    let longest = (last * 3).min(LONGEST_PAUSE);
    SHORTEST_PAUSE + longest.saturating_sub(SHORTEST_PAUSE).mul_f64(part)
}

#[cfg(test)]
mod tests {
    use super::{LONGEST_PAUSE, REFUSED_WHILE_BUSY, RetryLoop, SHORTEST_PAUSE, next_pause};
    use crate::cancel::Cancel;
    use crate::iperf3::Failure;
    use crate::iperf3::reason::Reason;
    use crate::log::{Log, LogConfig};
    use crate::probe::answer::Caller;
    use crate::probe::deadline::Limits;
    use crate::probe::params::Params;
    use crate::probe::prober::{ProbeConfig, Prober};
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
        let prober = Prober::new(ProbeConfig::default(), Log::new(LogConfig::default()), 8);
        let caller = Caller {
            client: ([192, 0, 2, 1], 1).into(),
            arrival: begin,
            number: 1,
            cancel: Cancel::default(),
        };
        let running = prober.history.open(&params, caller.client, None);
        let mut retry_loop = RetryLoop::begin(&prober, &params, &limits, &caller, &running);
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
                let told = retry_loop.refined(failure(failed), begin + ago);
                assert_eq!(told, Err(failure(reason)), "{failed:?} {ago:?}");
                assert_eq!(retry_loop.port, port);
            });
        }
    }

    #[test]
    fn pauses_are_within_their_bounds_and_grow() {
        let mut longest = Duration::ZERO;
        for _ in 0..100 {
            let mut pause = next_pause(SHORTEST_PAUSE);
            assert!(SHORTEST_PAUSE <= pause && pause <= SHORTEST_PAUSE * 3);
            for _ in 0..20 {
                pause = next_pause(pause);
                assert!(SHORTEST_PAUSE <= pause && pause <= LONGEST_PAUSE);
                longest = longest.max(pause);
            }
        }
        assert!(longest > LONGEST_PAUSE / 2, "{longest:?}");
    }

    #[test]
    fn two_that_collided_wait_differently() {
        let last = Duration::from_secs(1);
        let same = (0..10).filter(|_| next_pause(last) == next_pause(last));
        assert!(same.count() < 10);
    }
}
