//! Counts probes and logs their outcomes.
//!
//! Must not know how a test is run.

use std::net::SocketAddr;
use std::time::Duration;

use super::answer::{Caller, CompletedTest};
use super::params::{Params, Shown};
use super::prober::Prober;
use super::wait_error::{Reached, WaitError};
use crate::iperf3::reason::Reason;
use crate::iperf3::report::Direction;
use crate::iperf3::target::Host;
use crate::log::{Decimal, Field, Value};

/// Counts a completed test and logs it in one line, with iperf3's own message if it failed. `cut_to` is its period in
/// seconds, if that was shortened.
pub(super) fn ran(
    prober: &Prober,
    number: u64,
    params: &Params,
    client: SocketAddr,
    completed: &CompletedTest,
    cut_to: Option<u64>,
    duration: Duration,
) {
    let waited = completed.lock_wait;
    prober
        .metrics
        .probe_ran(&completed.outcome, duration, waited);
    let rate = |direction: &Option<Direction>| {
        Some(Decimal(direction.as_ref()?.arrived().bits_per_second()?, 0))
    };
    let mut fields: Vec<(&str, Box<dyn Value + '_>)> = vec![
        ("probe", Box::new(number)),
        ("target", Box::new(&params.host)),
        ("port", Box::new(&params.ports)),
    ];
    for (name, value) in others(params) {
        fields.push((name, Box::new(value)));
    }
    if let Some(seconds) = cut_to {
        fields.push(("period_seconds", Box::new(seconds)));
    }
    let (mut up, mut down) = (None, None);
    match &completed.outcome {
        Ok(report) => {
            fields.push(("outcome", Box::new("success")));
            (up, down) = (rate(&report.upload), rate(&report.download));
        }
        Err(failure) => {
            fields.push(("outcome", Box::new("failure")));
            fields.push(("reason", Box::new(failure.reason.label())));
            fields.push(("error", Box::new(&failure.message)));
        }
    }
    let address = completed.last_details().and_then(|last| last.address);
    if let (Some(address), Host::Name(_)) = (address, &params.host) {
        fields.push(("address", Box::new(address)));
    }
    fields.push(("client", Box::new(client)));
    fields.push(("seconds", Box::new(Decimal::seconds(duration))));
    fields.push(("lock_wait_seconds", Box::new(Decimal::seconds(waited))));
    if params.ports.first != params.ports.last {
        fields.push(("used_port", Box::new(completed.port)));
    }
    if completed.count > 1 {
        fields.push(("attempts", Box::new(completed.count)));
    }
    if let Some(rate) = up {
        fields.push(("upload_bits_per_second", Box::new(rate)));
    }
    if let Some(rate) = down {
        fields.push(("download_bits_per_second", Box::new(rate)));
    }
    let fields = fields
        .iter()
        .map(|(name, value)| -> Field<'_> { (name, &**value) });
    let fields = fields.collect::<Vec<_>>();
    match &completed.outcome {
        Ok(_) => prober.log.info("probe", &fields),
        Err(failure) => prober
            .log
            .warn(what_failed(failure.reason, completed), &fields),
    }
}

/// The log message for a test without a result.
fn what_failed(reason: Reason, completed: &CompletedTest) -> &'static str {
    match reason {
        Reason::Budget if completed.cut_off.is_some() => "test stopped",
        Reason::Budget => "test refused",
        _ => "iperf3 failed",
    }
}

/// The parameters that differ from their defaults, except the port, which every line has.
fn others(params: &Params) -> impl Iterator<Item = (&'static str, Shown)> {
    params.shown().filter(|(name, _)| *name != "port")
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
    let (outcome, seconds) = (why.label(), Decimal::seconds(caller.arrival.elapsed()));
    let waited = waited.map(Decimal::seconds);
    let others = others(params).collect::<Vec<_>>();
    let mut fields: Vec<Field<'_>> = Vec::with_capacity(8 + others.len());
    if let Some(number) = &number {
        fields.push(("probe", number));
    }
    fields.extend::<[Field<'_>; 2]>([("target", &params.host), ("port", &params.ports)]);
    fields.extend(
        others
            .iter()
            .map(|(name, value)| -> Field<'_> { (name, value) }),
    );
    fields.extend::<[Field<'_>; 4]>([
        ("outcome", &outcome),
        ("cause", why),
        ("client", &caller.client),
        ("seconds", &seconds),
    ]);
    if let Some(waited) = &waited {
        fields.push(("lock_wait_seconds", waited));
    }
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
