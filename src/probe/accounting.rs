//! What a probe leaves: counts, and its lines in the log.
//!
//! Must not know how a test is run.

use std::net::SocketAddr;
use std::time::Duration;

use super::answer::CompletedTest;
use super::lock::WaitError;
use super::params::Params;
use super::prober::Prober;
use crate::iperf3::reason::Reason;
use crate::iperf3::report::Direction;
use crate::log::{Decimal, Field, Value};

/// Counts a test that was run, and says how it went; iperf3's own words too when it failed.
pub(super) fn ran(
    prober: &Prober,
    params: &Params,
    client: SocketAddr,
    completed: &CompletedTest,
    duration: Duration,
) {
    let waited = completed.lock_wait;
    prober
        .metrics
        .probe_ran(&completed.outcome, duration, waited);
    let rate = |direction: &Option<Direction>| {
        Some(Decimal(direction.as_ref()?.arrived().bits_per_second()?, 0))
    };
    let mut told: Vec<(&str, Box<dyn Value + '_>)> = vec![("target", Box::new(&params.host))];
    for (name, value) in params.shown() {
        told.push((name, Box::new(value)));
    }
    let (mut up, mut down) = (None, None);
    match &completed.outcome {
        Ok(report) => {
            told.push(("outcome", Box::new("success")));
            (up, down) = (rate(&report.upload), rate(&report.download));
        }
        Err(failure) => {
            let what = match failure.reason {
                Reason::Budget => "test refused",
                _ => "iperf3 failed",
            };
            let fields: &[Field<'_>] = &[
                ("target", &params.host),
                ("port", &completed.port),
                ("reason", &failure.reason.label()),
                // iperf3's own words.
                ("error", &failure.words),
            ];
            prober.log.warn(what, fields);
            told.push(("outcome", Box::new("failure")));
            told.push(("reason", Box::new(failure.reason.label())));
        }
    }
    told.push(("client", Box::new(client)));
    told.push(("seconds", Box::new(Decimal::seconds(duration))));
    told.push(("lock_wait_seconds", Box::new(Decimal::seconds(waited))));
    if params.ports.first != params.ports.last {
        told.push(("used_port", Box::new(completed.port)));
    }
    if completed.count > 1 {
        told.push(("attempts", Box::new(completed.count)));
    }
    for (name, rate) in [
        ("upload_bits_per_second", up),
        ("download_bits_per_second", down),
    ] {
        if let Some(rate) = rate {
            told.push((name, Box::new(rate)));
        }
    }
    let fields = told
        .iter()
        .map(|(name, value)| -> Field<'_> { (name, &**value) });
    prober.log.info("probe", &fields.collect::<Vec<_>>());
}

/// Counts a probe that was not answered with a result, and says why; `waited` is how long it stood in line for the
/// lock, if it did.
pub(super) fn not_run(
    prober: &Prober,
    params: &Params,
    client: SocketAddr,
    why: WaitError,
    waited: Option<Duration>,
) {
    prober.metrics.probe_gave_up(why, waited);
    let waited = waited.map(Decimal::seconds);
    let mut fields: Vec<Field<'_>> = vec![
        ("target", &params.host),
        ("port", &params.ports),
        ("client", &client),
        ("cause", &why),
    ];
    if let Some(waited) = &waited {
        fields.push(("lock_wait_seconds", waited));
    }
    if why == WaitError::Running {
        prober.log.info("probe not answered", &fields);
    } else {
        prober.log.warn("probe not run", &fields);
    }
}
