//! Counts probes and logs their outcomes.
//!
//! Must not know how a test is run.

use std::time::Duration;

use super::answer::{Answer, Caller, CompletedTest};
use super::params::Params;
use super::prober::Prober;
use super::wait_error::{Reached, WaitError};
use crate::iperf3::reason::Reason;
use crate::iperf3::report::{Direction, Report};
use crate::iperf3::target::Host;
use crate::log::{Decimal, Field, Value};

/// Counts a completed test and logs it in one line, with iperf3's own message if it failed. `cut_to` is its period in
/// seconds, if that was shortened.
pub(super) fn ran(
    prober: &Prober,
    number: u64,
    params: &Params,
    caller: &Caller,
    answer: &Answer,
    cut_to: Option<u64>,
) {
    let completed = &*answer.completed;
    let waited = completed.lock_wait;
    prober
        .metrics
        .probe_ran(&completed.outcome, answer.duration, waited);
    let mut line = Line::default();
    line.add("probe", number);
    line.add_test(params);
    line.add_some("period_seconds", cut_to);
    match &completed.outcome {
        Ok(_) => line.add("outcome", "success"),
        Err(failure) => {
            line.add("outcome", "failure");
            line.add("reason", failure.reason.label());
            line.add("error", &failure.message);
        }
    }
    if let Host::Name(_) = params.host {
        let address = completed.last_details().and_then(|last| last.address);
        line.add_some("address", address);
    }
    line.add("client", caller.client);
    line.add("seconds", Decimal::seconds(answer.duration));
    line.add("lock_wait_seconds", Decimal::seconds(waited));
    if params.ports.first != params.ports.last {
        line.add("used_port", completed.port);
    }
    if completed.count > 1 {
        line.add("attempts", completed.count);
    }
    let report = completed.outcome.as_ref().ok();
    let [upload, download] = report.map_or([None, None], Report::directions);
    line.add_some("upload_bits_per_second", upload.and_then(rate));
    line.add_some("download_bits_per_second", download.and_then(rate));
    let fields = line.fields();
    match &completed.outcome {
        Ok(_) => prober.log.info("probe", &fields),
        Err(failure) => prober
            .log
            .warn(what_failed(failure.reason, completed), &fields),
    }
}

/// The rate at which data arrived, in bits per second.
fn rate(direction: &Direction) -> Option<Decimal> {
    Some(Decimal(direction.arrived().bits_per_second()?, 0))
}

/// The log message for a test without a result.
fn what_failed(reason: Reason, completed: &CompletedTest) -> &'static str {
    match reason {
        Reason::Budget if completed.cut_off.is_some() => "test stopped",
        Reason::Budget => "test refused",
        _ => "iperf3 failed",
    }
}

/// Counts a probe without a result and logs the cause in one line. `number` is the number of the probe that runs its
/// test, if there is one. `waited` is how long it waited for the lock, if it did.
pub(super) fn not_run(
    prober: &Prober,
    number: Option<u64>,
    params: &Params,
    caller: &Caller,
    why: &WaitError,
    waited: Option<Duration>,
) {
    prober.metrics.probe_gave_up(why, waited);
    let mut line = Line::default();
    line.add_some("probe", number);
    line.add_test(params);
    line.add("outcome", why.label());
    line.add("cause", why);
    line.add("client", caller.client);
    line.add("seconds", Decimal::seconds(caller.arrival.elapsed()));
    line.add_some("lock_wait_seconds", waited.map(Decimal::seconds));
    let fields = line.fields();
    match why {
        WaitError::Running => prober.log.info("probe not answered", &fields),
        WaitError::Cancelled {
            reached: Reached::Shared,
            ..
        }
        | WaitError::Broken => prober.log.warn("probe not answered", &fields),
        WaitError::Cancelled {
            reached: Reached::Ran { .. },
            ..
        } => prober.log.warn("test cancelled", &fields),
        WaitError::Cancelled {
            reached: Reached::Attempted(_),
            ..
        } => prober.log.warn("probe cancelled", &fields),
        _ => prober.log.warn("probe not run", &fields),
    }
}

/// The fields of a log line, in order.
#[derive(Default)]
struct Line<'a>(Vec<(&'static str, Box<dyn Value + 'a>)>);

impl<'a> Line<'a> {
    fn add(&mut self, name: &'static str, value: impl Value + 'a) {
        self.0.push((name, Box::new(value)));
    }

    fn add_some(&mut self, name: &'static str, value: Option<impl Value + 'a>) {
        if let Some(value) = value {
            self.add(name, value);
        }
    }

    /// Adds the target with its port, and the other parameters that differ from their defaults.
    fn add_test(&mut self, params: &'a Params) {
        self.add("target", &params.host);
        self.add("port", params.ports);
        for (name, value) in params.shown().filter(|(name, _)| *name != "port") {
            self.add(name, value);
        }
    }

    fn fields(&self) -> Vec<Field<'_>> {
        let fields = self.0.iter();
        fields
            .map(|(name, value)| -> Field<'_> { (name, &**value) })
            .collect()
    }
}
