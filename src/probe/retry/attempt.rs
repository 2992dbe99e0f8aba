//! One attempt at a test: runs iperf3 with the port and IP version chosen so far, and records the attempt.
//!
//! Must not know whether another attempt follows.

use std::time::{Duration, Instant, SystemTime};

use super::{RetryLoop, is_reset};
use crate::duration;
use crate::iperf3::progress::Progress;
use crate::iperf3::reason::Reason;
use crate::iperf3::{self, Failure, Outcome, Run, TestSpec};
use crate::probe::answer::{Attempt, CutOff};
use crate::probe::history::Stage;
use crate::probe::params::Selected;
use crate::probe::wait_error::{Reached, WaitError};

/// Maximum number of remembered attempts. Older ones are dropped.
const ATTEMPTS_KEPT: usize = 8;
/// A test that exceeds the daily budget with less time left than this may finish: stopping it would take as long, and
/// its bytes are already spent.
const LAST_MOMENT: Duration = Duration::from_millis(500);

impl RetryLoop<'_> {
    /// Makes one attempt while the lock is held. `waited` is `None` when the lock was kept from the attempt before.
    pub(super) fn attempt(&mut self, waited: Option<Duration>) -> Result<Outcome, WaitError> {
        let Self { prober, params, .. } = *self;
        self.cut_off = None;
        let run = match self.over_budget() {
            None => self.run_iperf3(),
            Some(failure) => Run::refused(self.port, failure),
        };
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
        let time = run.details.took;
        self.attempts.push(Attempt {
            waited,
            details: run.details,
            failure: run.outcome.clone().ok().and_then(Result::err),
        });
        let outcome = run.outcome.map_err(|cause| {
            let length = params.length_seconds(self.period_seconds);
            WaitError::Cancelled {
                cause,
                reached: Reached::Ran {
                    time,
                    length: length.map(Duration::from_secs),
                },
            }
        })?;
        self.was_reset = !run.was_connected && outcome.as_ref().is_err_and(is_reset);
        Ok(outcome)
    }

    /// Runs iperf3 once. Its cost is charged during the run if iperf3 streams intervals, and otherwise at its end.
    fn run_iperf3(&mut self) -> Run {
        let Self { prober, params, .. } = *self;
        let length = params.length_seconds(self.period_seconds);
        let progress = Progress::new(length.map(Duration::from_secs));
        let running = Stage::Running {
            port: self.port,
            progress: progress.clone(),
        };
        self.running.set_stage(running, self.count);
        let now = Instant::now();
        let deadline = self.limits.end_of_run(now);
        let selected = Selected {
            params,
            port: self.port,
            period_seconds: self.period_seconds,
            limit_seconds: duration::ceil_seconds(deadline.saturating_duration_since(now)),
            family: self.family,
            connect_limit_ms: self
                .connect_limit(now)
                .and_then(|limit| limit.as_millis().try_into().ok()),
        };
        let account = prober.budget.open();
        // A test without a known length ends after a number of bytes, which fit into the budget at its start. It
        // exceeds the budget by at most one block per stream.
        let ends_soon = || progress.look().left().is_none_or(|left| left < LAST_MOMENT);
        let spec = TestSpec {
            args: &|args| selected.add_to(args),
            port: self.port,
            mode: params.mode,
            udp: params.options.udp,
            keep_end_part: params.options.debug,
            deadline,
            credentials: prober.config.credentials.as_ref(),
            temp: (&prober.temp, params.temp_files()),
            progress: &progress,
            may_go_on: &|cost| account.spend(cost, SystemTime::now()) || ends_soon(),
        };
        let mut run = iperf3::run_test(&prober.binary, &spec, &self.caller.cancel);
        account.spend(run.cost, SystemTime::now());
        prober.report_folder_change();
        if let Ok(Err(failure)) = &mut run.outcome {
            self.cut_off = CutOff::of(&progress);
            if failure.reason == Reason::Budget {
                failure.message = account.exceeded().to_string();
            }
        }
        run
    }

    /// The failure of a test that the daily budget does not allow.
    pub(super) fn over_budget(&self) -> Option<Failure> {
        let budget = &self.prober.budget;
        let checked = budget.check(self.params, self.length(), SystemTime::now());
        checked.err().map(|error| Failure {
            reason: Reason::Budget,
            message: error.to_string(),
        })
    }
}
