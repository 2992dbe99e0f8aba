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
use crate::log::Field;

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
        let rate = direction.as_ref()?.arrived().bits_per_second()?;
        Some(format!("{rate:.0}"))
    };
    let mut told = vec![("target", params.host.to_string())];
    told.extend(params.displayed());
    let (mut up, mut down) = (None, None);
    match &completed.outcome {
        Ok(report) => {
            told.push(("outcome", "success".to_owned()));
            (up, down) = (rate(&report.upload), rate(&report.download));
        }
        Err(failure) => {
            let what = match failure.reason {
                Reason::Budget if completed.cut_off.is_some() => "test ended",
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
            told.push(("outcome", "failure".to_owned()));
            told.push(("reason", failure.reason.label().to_owned()));
        }
    }
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
    let waited = waited.map(seconds);
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

/// To the millisecond.
pub(super) fn seconds(time: Duration) -> String {
    format!("{:.3}", time.as_secs_f64())
}
