//! What a probe leaves: counts, and its lines in the log.
//!
//! Must not know how a test is run.

use std::net::SocketAddr;
use std::time::Duration;

use super::answer::CompletedTest;
use super::params::Params;
use super::prober::Prober;
use super::wait_error::{Progress, WaitError};
use crate::iperf3::reason::Reason;
use crate::iperf3::report::Direction;
use crate::iperf3::target::Host;
use crate::log::Field;

/// Counts a test that was run, and says how it went, in one line; iperf3's own words too when it failed.
pub(super) fn ran(
    prober: &Prober,
    number: u64,
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
        let rate = direction.as_ref()?.arrived().bits_per_second()?;
        Some(format!("{rate:.0}"))
    };
    let mut told = vec![
        ("probe", number.to_string()),
        ("target", params.host.to_string()),
    ];
    told.extend(params.displayed());
    let (mut up, mut down) = (None, None);
    match &completed.outcome {
        Ok(report) => {
            told.push(("outcome", "success".to_owned()));
            (up, down) = (rate(&report.upload), rate(&report.download));
        }
        Err(failure) => {
            told.push(("outcome", "failure".to_owned()));
            told.push(("reason", failure.reason.label().to_owned()));
            told.push(("error", failure.words.clone()));
        }
    }
    let last = completed.last_details();
    let address = last.and_then(|last| last.address);
    let is_name = matches!(params.host, Host::Name(_));
    told.extend(
        address
            .filter(|_| is_name)
            .map(|address| ("address", address.to_string())),
    );
    told.push(("client", client.to_string()));
    told.push(("seconds", seconds(duration)));
    told.push(("lock_wait_seconds", seconds(waited)));
    if params.ports.first != params.ports.last {
        told.push(("used_port", completed.port.to_string()));
    }
    if completed.count > 1 {
        told.push(("attempts", completed.count.to_string()));
    }
    told.extend(up.map(|rate| ("upload_bits_per_second", rate)));
    told.extend(down.map(|rate| ("download_bits_per_second", rate)));
    let fields = told
        .iter()
        .map(|(name, value)| -> Field<'_> { (name, value) });
    let fields = fields.collect::<Vec<_>>();
    match &completed.outcome {
        Ok(_) => prober.log.info("probe", &fields),
        Err(failure) if failure.reason == Reason::Budget => {
            prober.log.warn("test refused", &fields);
        }
        Err(_) => prober.log.warn("iperf3 failed", &fields),
    }
}

/// Counts a probe that was not answered with a result, and says why, in one line; `number` is that of its test, if it got
/// so far, and `waited` how long it stood in line for the lock, if it did.
pub(super) fn not_run(
    prober: &Prober,
    number: Option<u64>,
    params: &Params,
    client: SocketAddr,
    why: &WaitError,
    waited: Option<Duration>,
) {
    prober.metrics.probe_gave_up(why, waited);
    let waited = waited.map(seconds);
    let mut fields: Vec<Field<'_>> = Vec::with_capacity(7);
    if let Some(number) = &number {
        fields.push(("probe", number));
    }
    let outcome = why.label();
    fields.extend::<[Field<'_>; 5]>([
        ("target", &params.host),
        ("port", &params.ports),
        ("outcome", &outcome),
        ("cause", why),
        ("client", &client),
    ]);
    if let Some(waited) = &waited {
        fields.push(("lock_wait_seconds", waited));
    }
    match why {
        WaitError::Running => prober.log.info("probe not answered", &fields),
        WaitError::Cancelled {
            progress: Progress::Shared,
            ..
        }
        | WaitError::Broken => prober.log.warn("probe not answered", &fields),
        WaitError::Cancelled {
            progress: Progress::Ran { .. },
            ..
        } => prober.log.warn("test cut short", &fields),
        WaitError::Cancelled {
            progress: Progress::Attempted(_),
            ..
        } => prober.log.warn("probe cancelled", &fields),
        _ => prober.log.warn("probe not run", &fields),
    }
}

/// To the millisecond.
pub(super) fn seconds(time: Duration) -> String {
    format!("{:.3}", time.as_secs_f64())
}
