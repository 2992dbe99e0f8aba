//! Retries: an iperf3 server serves one client at a time, so a test is retried while its server is busy.
//!
//! Decides whether another attempt follows, on which port and with which IP version, and how long each attempt waits
//! for the lock. The lock is held for a round over all ports, and released during pauses. Must not know text formats.

mod attempt;

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::accounting;
use super::answer::{Answer, Attempt, Caller, CompletedTest, CutOff};
use super::backoff;
use super::deadline::Limits;
use super::families::{self, Addresses};
use super::history::{Running, Stage};
use super::lock::{AcquireError, GiveUpReason, Guard, earliest_limit};
use super::params::Params;
use super::prober::Prober;
use super::wait_error::{QueueState, Reached, WaitError};
use crate::cancel::Cause;
use crate::iperf3::reason::{self, Reason};
use crate::iperf3::target::Host;
use crate::iperf3::{self, Failure, Outcome};
use crate::log::Decimal;
use crate::moment::Moment;

/// Time that a test needs beyond its length, for connecting and exchanging results. With less time left, waiting or
/// another attempt is pointless.
const OVERHEAD: Duration = Duration::from_millis(500);
/// How long after a busy response a refused or reset connection still counts as busy. A server that serves one client
/// and is then restarted is unreachable for a moment.
const REFUSED_WHILE_BUSY: Duration = Duration::from_secs(5);
/// Minimum connect timeout for a name's first IP version. With a shorter one, a slow path would fail with both
/// versions.
const SHORTEST_CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// Time from the end of the first attempt to the second one: two starts of iperf3 and a name lookup.
const SECOND_START: Duration = Duration::from_millis(500);

/// State of one test across its attempts.
pub(super) struct RetryLoop<'a> {
    prober: &'a Prober,
    params: &'a Params,
    limits: &'a Limits,
    caller: &'a Caller,
    running: &'a Running,
    /// Seconds to transmit; may be fewer than in `params`.
    period_seconds: u64,
    /// The port of the last attempt.
    port: u16,
    /// The IP version to use after the name's first one failed.
    family: Option<u8>,
    count: u32,
    waited: Duration,
    attempts: Vec<Attempt>,
    /// What the last attempt had measured before it failed.
    cut_off: Option<CutOff>,
    first_start: Option<Instant>,
    /// The last busy response, its port and its time.
    busy: Option<(Failure, u16, Instant)>,
    /// The last attempt's connection was reset before the test. A server that is cleaning up after another client does
    /// this.
    was_reset: bool,
    last_pause: Duration,
}

impl<'a> RetryLoop<'a> {
    /// The state before the first attempt.
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
            family: None,
            count: 0,
            waited: Duration::ZERO,
            attempts: Vec::new(),
            cut_off: None,
            first_start: None,
            busy: None,
            was_reset: false,
            last_pause: backoff::SHORTEST,
        }
    }

    /// Runs a test, and retries while the server is busy and enough time is left. Counts and logs the outcome.
    ///
    /// # Errors
    /// When iperf3 was not run at all, or the probe was cancelled.
    pub(super) fn run(mut self) -> Result<Answer, WaitError> {
        let (prober, params, caller) = (self.prober, self.params, self.caller);
        let number = self.running.number;
        let is_cut = self.period_seconds < params.period_seconds;
        if is_cut {
            prober.log.warn(
                "period shortened to fit into the available time",
                &[
                    ("probe", &number),
                    ("target", &params.host),
                    ("port", &params.ports),
                    ("wanted_seconds", &params.period_seconds),
                    ("period_seconds", &self.period_seconds),
                ],
            );
        }
        let outcome = self.try_until_free().inspect_err(|why| {
            let waited = Some(self.waited);
            accounting::not_run(prober, Some(number), params, caller, why, waited);
        })?;
        let answer = Answer {
            completed: Arc::new(CompletedTest {
                outcome,
                port: self.port,
                count: self.count,
                attempts: self.attempts,
                cut_off: self.cut_off,
                lock_wait: self.waited,
                ended: Moment::now(),
            }),
            duration: caller.arrival.elapsed(),
            age: None,
            last_success: None,
        };
        let cut_to = is_cut.then_some(self.period_seconds);
        accounting::ran(prober, number, params, caller, &answer, cut_to);
        let completed = &*answer.completed;
        // The result of a test that was shortened to fit its scrape is not stored, because it is not the requested
        // test. A detached test is shortened only by a flag, which applies to every request.
        if completed.outcome.is_ok() && (!is_cut || self.limits.is_detached) {
            prober.result_cache.keep(&params.test(), completed);
        }
        Ok(answer)
    }

    fn try_until_free(&mut self) -> Result<Outcome, WaitError> {
        // A test that cannot run does not need to wait for the lock.
        if let Some(failure) = self.over_budget() {
            return Ok(Err(failure));
        }
        let mut last_failure = None;
        loop {
            let failure = match self.try_all_ports() {
                Ok(Err(failure)) => failure,
                Ok(success) => return Ok(success),
                Err(why) => {
                    return match last_failure {
                        // The previous round's failure says more than that the lock was not free.
                        Some(failure) if !matches!(why, WaitError::Cancelled { .. }) => {
                            Ok(self.refined(failure, Instant::now()))
                        }
                        _ => Err(why),
                    };
                }
            };
            let now = Instant::now();
            let Some(pause) = self.pause_before_the_next(failure.reason, now) else {
                return Ok(self.refined(failure, now));
            };
            self.prober.log.debug(
                "the server is busy, retrying",
                &[
                    ("probe", &self.running.number),
                    ("target", &self.params.host),
                    ("port", &self.params.ports),
                    ("reason", &failure.reason.label()),
                    ("attempts", &self.count),
                    ("pause_seconds", &Decimal::seconds(pause)),
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
            let outcome = self.try_both_families(waited.take())?;
            let Err(failure) = &outcome else {
                return Ok(outcome);
            };
            if failure.reason == Reason::Busy {
                self.busy = Some((failure.clone(), self.port, Instant::now()));
            }
            let next = ports.after(self.port);
            // Keep the lock: the next port is tried at once, and not after the tests of other waiters.
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
                    ("probe", &self.running.number),
                    ("target", &self.params.host),
                    ("port", &self.port),
                    ("reason", &failure.reason.label()),
                    ("next", &next),
                ],
            );
            self.port = next;
        }
    }

    /// Waits for the lock, and returns it with the time waited. Waits at most `--lock.timeout`, and only while the test
    /// still fits into the remaining time.
    fn wait_for_lock(&mut self) -> Result<(Guard<'a>, Duration), WaitError> {
        let queued = Instant::now();
        let (number, since, latest_start) = match self.first_start {
            None => {
                let latest_start = self.limits.latest_start(self.needed());
                // The limit of the first wait counts from the arrival of the request.
                (Some(self.caller.number), self.caller.arrival, latest_start)
            }
            Some(first) => {
                let end = self.limits.end_of_attempts(first);
                (None, queued, end.checked_sub(self.needed()))
            }
        };
        self.running.set_stage(Stage::Queued, self.count);
        let held = self.prober.lock.acquire(
            number,
            self.running.number,
            self.params.server(),
            earliest_limit(since + self.prober.config.lock_timeout, latest_start),
            &self.caller.cancel,
        );
        // After giving up, the reported wait starts where its limit starts.
        let waited = if held.is_ok() { queued } else { since }.elapsed();
        self.waited += waited;
        let held = held.map_err(|error| self.wait_error(&error))?;
        // At shutdown, requests are cancelled one by one. A request that was cancelled earlier may have passed the lock
        // to this one.
        if let Some(cause) = self.prober.shutdown.cause() {
            return Err(self.cancelled(cause));
        }
        // The lock can be granted late: when it is free at once, or when `--lock.timeout` is the earlier limit. So
        // check the remaining time again.
        if self.first_start.is_some() && self.time_left(Instant::now()).is_none() {
            return Err(self.no_time_left(QueueState::empty()));
        }
        self.first_start.get_or_insert_with(Instant::now);
        Ok((held, waited))
    }

    /// The error for a waiter that gave up.
    fn wait_error(&self, error: &AcquireError) -> WaitError {
        let holder = error.holder.as_ref();
        let planned_end = holder.and_then(|place| self.prober.history.planned_end(place.probe));
        let queue = QueueState::of(error, planned_end);
        match error.reason {
            GiveUpReason::WaitedTooLong => WaitError::WaitedTooLong {
                limit: self.prober.config.lock_timeout,
                queue: Box::new(queue),
            },
            GiveUpReason::TooLate => self.no_time_left(queue),
            GiveUpReason::Cancelled(cause) => self.cancelled(cause),
        }
    }

    /// The error for a probe that was cancelled while iperf3 was not running.
    fn cancelled(&self, cause: Cause) -> WaitError {
        let reached = match self.count {
            0 => Reached::NotRun,
            count => Reached::Attempted(count),
        };
        WaitError::Cancelled { cause, reached }
    }

    fn no_time_left(&self, queue: QueueState) -> WaitError {
        let end = self.limits.scrape;
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        WaitError::NoTimeLeft {
            left: left.unwrap_or_default(),
            needed: self.needed(),
            queue: Box::new(queue),
        }
    }

    /// Runs iperf3 once. If connecting to the first address of a name fails and the name has addresses of both IP
    /// versions, runs it again with the other version.
    fn try_both_families(&mut self, waited: Option<Duration>) -> Result<Outcome, WaitError> {
        let mut first = match self.attempt(waited)? {
            Err(failure) if families::may_other_family_connect(&failure) => failure,
            outcome => return Ok(outcome),
        };
        let end = self.limits.end_of_run(Instant::now());
        let addresses = Addresses::of(&self.params.host, end);
        let given = self.params.options.family.or(self.family);
        let Some(tried) = given.or_else(|| addresses.first_family()) else {
            return Ok(Err(first));
        };
        self.name_address(&mut first, &addresses, tried);
        let other = if tried == 6 { 4 } else { 6 };
        let has_other = addresses.first_of(other).is_some();
        let is_open = self.is_family_open() && self.family.is_none();
        if !is_open || !has_other {
            return Ok(Err(first));
        }
        if self.time_left(Instant::now()).is_none() {
            let message = format!("{}, and no time was left to try IPv{other}", first.message);
            return Ok(Err(Failure { message, ..first }));
        }
        self.prober.log.debug(
            "trying the other IP version",
            &[
                ("target", &self.params.host),
                ("port", &self.port),
                ("error", &first.message),
                ("family", &u16::from(other)),
            ],
        );
        self.family = Some(other);
        let mut second = match self.attempt(None)? {
            Err(failure) if reason::is_connect_error(&failure.message) => failure,
            // Connected: this IP version works, whatever the outcome of the test.
            outcome => return Ok(outcome),
        };
        self.name_address(&mut second, &addresses, other);
        let message = format!("{}; {}", first.message, second.message);
        let reason = if families::says_more(&second, &first) {
            second.reason
        } else {
            // Neither version is known to work: the next port is tried with both again.
            self.family = None;
            first.reason
        };
        Ok(Err(Failure { reason, message }))
    }

    /// Whether the IP version is open: the target is a name, and neither `family` nor a local address determines the
    /// version.
    fn is_family_open(&self) -> bool {
        let Params { host, options, .. } = self.params;
        matches!(host, Host::Name(_)) && options.family.is_none() && options.bind.is_none()
    }

    /// Adds the address to the failure message of the last attempt.
    fn name_address(&mut self, failure: &mut Failure, addresses: &Addresses, family: u8) {
        let Some(tried) = addresses.first_of(family) else {
            return;
        };
        failure.message = families::with_address(&failure.message, tried);
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.details.address = Some(tried.0);
        }
    }

    /// Connect timeout for the name's first IP version that leaves time for a test with the other version.
    fn connect_limit(&self, now: Instant) -> Option<Duration> {
        let is_first = self.is_family_open() && self.family.is_none();
        let left = self.time_left(now).filter(|_| is_first)?;
        let limit = left.checked_sub(SECOND_START)?;
        (limit >= SHORTEST_CONNECT_LIMIT).then_some(limit)
    }

    /// The pause before the next round; `None` when the test ends with this failure.
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
        self.last_pause = backoff::next(self.last_pause);
        // A pause that is too long is shortened, so that the last attempt starts at the last possible moment.
        Some(self.last_pause.min(left))
    }

    /// Whether the server reported a moment ago that it was busy.
    fn is_between_tests(&self, now: Instant) -> bool {
        is_recent(self.busy.as_ref().map(|(_, _, when)| *when), now)
    }

    /// Time left beyond what another test needs; `None` when another test does not fit.
    fn time_left(&self, now: Instant) -> Option<Duration> {
        let end = self.limits.end_of_attempts(self.first_start?);
        let left = end.saturating_duration_since(now);
        left.checked_sub(self.needed())
    }

    /// Time that a test needs to be worth starting, including [`OVERHEAD`].
    fn needed(&self) -> Duration {
        self.length() + OVERHEAD
    }

    /// Minimum duration of the test.
    fn length(&self) -> Duration {
        Duration::from_secs(self.params.least_seconds(self.period_seconds))
    }

    /// The most informative failure. Sets `port` to the port that it refers to.
    fn refined(&mut self, failure: Failure, now: Instant) -> Outcome {
        let is_away =
            self.was_reset || matches!(failure.reason, Reason::Refused | Reason::ConnectTimeout);
        // A port is closed, or the server is unreachable between two tests: the actual reason is that it is busy.
        if is_away
            && self.is_between_tests(now)
            && let Some((busy, port, _)) = self.busy.take()
        {
            self.port = port;
            return Err(busy);
        }
        let end = self.limits.end_of_run(now);
        let bind = self.params.options.bind.as_deref();
        Err(iperf3::refine_reason(failure, &self.params.host, bind, end))
    }
}

/// Whether iperf3's message reports a reset connection.
fn is_reset(failure: &Failure) -> bool {
    failure.reason == Reason::Interrupted && failure.message.contains("onnection reset by peer")
}

/// Whether `when` is less than [`REFUSED_WHILE_BUSY`] ago.
fn is_recent(when: Option<Instant>, now: Instant) -> bool {
    when.is_some_and(|when| now.duration_since(when) < REFUSED_WHILE_BUSY)
}

#[cfg(test)]
mod tests {
    use super::{OVERHEAD, REFUSED_WHILE_BUSY, RetryLoop, SHORTEST_CONNECT_LIMIT};
    use crate::cancel::Cancel;
    use crate::iperf3::Failure;
    use crate::iperf3::reason::Reason;
    use crate::log::{Log, LogConfig};
    use crate::probe::answer::Caller;
    use crate::probe::deadline::Limits;
    use crate::probe::params::Params;
    use crate::probe::prober::{ProbeConfig, Prober};
    use crate::probe::wait_error::WaitError;
    use std::time::{Duration, Instant};

    const MOMENT: Duration = Duration::from_millis(1);

    fn millis(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    /// Just below the limit.
    fn just_within(limit: Duration) -> Duration {
        limit.saturating_sub(MOMENT)
    }

    fn failure(reason: Reason) -> Failure {
        Failure {
            reason,
            message: String::new(),
        }
    }

    /// Calls `test` with a retry loop that has just started, and with the moment of its start. `scrape` is its scrape
    /// timeout.
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
        let running = prober
            .history
            .open(&params, caller.client, &caller.cancel, false);
        let mut retry_loop = RetryLoop::begin(&prober, &params, &limits, &caller, &running);
        retry_loop.first_start = Some(begin);
        test(retry_loop, begin)
    }

    #[test]
    fn a_busy_server_is_retried_while_the_scrape_has_time_for_the_test() {
        begun(
            "target=192.0.2.7&period=3s",
            millis(10_000),
            |mut retry_loop, begin| {
                // 10 s minus the test and half a second of overhead.
                let time = millis(6_500);
                assert_eq!(retry_loop.time_left(begin), Some(time));
                assert!(
                    retry_loop
                        .pause_before_the_next(Reason::Busy, begin)
                        .is_some()
                );
                // The last attempt starts at the last possible moment, however long the pause would be.
                let mut pause = |at| retry_loop.pause_before_the_next(Reason::Busy, begin + at);
                assert_eq!(pause(just_within(time)), Some(MOMENT));
                assert_eq!(pause(time + MOMENT), None);
            },
        );
    }

    #[test]
    fn a_test_that_fills_its_scrape_is_not_retried() {
        begun(
            "target=192.0.2.7&period=4s",
            millis(4_400),
            |mut retry_loop, begin| {
                assert_eq!(retry_loop.pause_before_the_next(Reason::Busy, begin), None);
            },
        );
    }

    #[test]
    fn a_refused_connection_is_retried_for_a_while_after_a_busy_response() {
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
    fn a_reset_is_retried_at_the_start_and_after_a_busy_response() {
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
                // A server that resets every connection is not just cleaning up.
                assert!(!is_tried(&mut retry_loop, end));
                retry_loop.busy = Some((failure(Reason::Busy), 5201, end));
                assert!(is_tried(&mut retry_loop, end));
                retry_loop.was_reset = false;
                assert!(!is_tried(&mut retry_loop, end));
            },
        );
    }

    #[test]
    fn a_test_that_has_to_wait_needs_more_than_its_length() {
        let needed = Duration::from_secs(1) + OVERHEAD;
        let scrape = just_within(needed);
        begun("target=192.0.2.7&period=1s", scrape, |mut retry_loop, _| {
            retry_loop.first_start = None;
            let held = retry_loop.wait_for_lock().unwrap();
            retry_loop.first_start = None;
            let refused = retry_loop.wait_for_lock().map(drop).unwrap_err();
            let WaitError::NoTimeLeft { needed: stated, .. } = refused else {
                panic!("{refused}");
            };
            assert_eq!(stated, needed);
            drop(held);
        });
    }

    #[test]
    fn a_range_with_a_port_that_was_busy_a_moment_ago_is_busy() {
        for (ago, failed, reason, port) in [
            (Duration::ZERO, Reason::Refused, Reason::Busy, 5202),
            (Duration::ZERO, Reason::ConnectTimeout, Reason::Busy, 5202),
            (REFUSED_WHILE_BUSY, Reason::Refused, Reason::Refused, 5203),
            // A server that reports another error is not between two tests.
            (Duration::ZERO, Reason::Auth, Reason::Auth, 5203),
        ] {
            let query = "target=192.0.2.7&port=5201-5203";
            begun(query, millis(60_000), |mut retry_loop, begin| {
                retry_loop.port = 5203;
                retry_loop.busy = Some((failure(Reason::Busy), 5202, begin));
                let refined = retry_loop.refined(failure(failed), begin + ago);
                assert_eq!(refined, Err(failure(reason)), "{failed:?} {ago:?}");
                assert_eq!(retry_loop.port, port);
            });
        }
    }

    #[test]
    fn connecting_with_the_first_family_leaves_time_for_the_test() {
        let limit = |query: &str, family| {
            begun(query, millis(10_000), |mut retry_loop, begin| {
                retry_loop.family = family;
                retry_loop.connect_limit(begin)
            })
        };
        // 10 s minus the test, half a second of overhead, and the start of the second attempt.
        let own = Some(millis(4_000));
        assert_eq!(limit("target=a.example&period=5s", None), own);
        assert_eq!(limit("target=a.example&period=5s", Some(4)), None);
        for query in [
            "target=192.0.2.7",
            "target=a.example&family=6",
            "target=a.example&bind=192.0.2.1",
        ] {
            assert_eq!(limit(query, None), None, "{query}");
        }
        let query = "target=a.example&period=5s";
        begun(query, millis(7_000), |retry_loop, begin| {
            let limit = retry_loop.connect_limit(begin);
            assert_eq!(limit, Some(SHORTEST_CONNECT_LIMIT));
            assert_eq!(retry_loop.connect_limit(begin + MOMENT), None);
        });
    }
}
