//! What a probe leaves: counts, and its lines in the log.
//!
//! Must not know how a test is run.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::iperf3::reason::Reason;
use crate::iperf3::{self, Failure};
use crate::log::Field;
use crate::probe::answer::CompletedTest;
use crate::probe::deadline::Limits;
use crate::probe::engine::Engine;
use crate::probe::lock::WaitError;
use crate::probe::params::Params;

/// The seconds that a test may transmit; says when they are fewer than were asked for.
pub(super) fn fitted(engine: &Engine, params: &Params, limits: &Limits, arrival: Instant) -> u64 {
    let period_seconds = limits.fit(params.period_seconds, params.options.omit_seconds, arrival);
    if period_seconds < params.period_seconds {
        engine.log.warn(
            "period cut to fit into its time",
            &[
                ("target", &params.host),
                ("port", &params.ports),
                ("wanted_seconds", &params.period_seconds),
                ("period_seconds", &period_seconds),
            ],
        );
    }
    period_seconds
}

/// Counts a test that was run, and says how it went; iperf3's own words too when it failed.
pub(super) fn ran(
    engine: &Engine,
    params: &Params,
    client: SocketAddr,
    completed: &CompletedTest,
    duration: Duration,
) {
    engine
        .metrics
        .probe_ran(&completed.outcome, duration, completed.lock_wait);
    let shown = params.displayed();
    let seconds = format!("{:.3}", duration.as_secs_f64());
    let waited = format!("{:.3}", completed.lock_wait.as_secs_f64());
    let mut fields: Vec<Field<'_>> = vec![("target", &params.host)];
    fields.extend(
        shown
            .iter()
            .map(|(name, value)| -> Field<'_> { (name, value) }),
    );
    let rate = |way: &Option<iperf3::report::Direction>| {
        let rate = way.as_ref()?.arrived().bits_per_second()?;
        Some(format!("{rate:.0}"))
    };
    let (up, down) = match &completed.outcome {
        Ok(report) => (rate(&report.upload), rate(&report.download)),
        Err(_) => (None, None),
    };
    let reason = match &completed.outcome {
        Ok(_) => None,
        Err(failure) => {
            failed(engine, params, completed, failure);
            Some(failure.reason.label())
        }
    };
    let outcome = if reason.is_some() {
        "failure"
    } else {
        "success"
    };
    fields.push(("outcome", &outcome));
    if let Some(reason) = &reason {
        fields.push(("reason", reason));
    }
    fields.push(("client", &client));
    fields.push(("seconds", &seconds));
    fields.push(("lock_wait_seconds", &waited));
    if params.ports.first != params.ports.last {
        fields.push(("used_port", &completed.port));
    }
    if completed.count > 1 {
        fields.push(("attempts", &completed.count));
    }
    if let Some(up) = &up {
        fields.push(("upload_bits_per_second", up));
    }
    if let Some(down) = &down {
        fields.push(("download_bits_per_second", down));
    }
    engine.log.info("probe", &fields);
}

/// iperf3's own words.
fn failed(engine: &Engine, params: &Params, completed: &CompletedTest, failure: &Failure) {
    let what = if failure.reason == Reason::Budget {
        "test refused"
    } else {
        "iperf3 failed"
    };
    engine.log.warn(
        what,
        &[
            ("target", &params.host),
            ("port", &completed.port),
            ("reason", &failure.reason.label()),
            ("error", &failure.words),
        ],
    );
}

/// Counts a probe that was not answered with a result, and says why; `waited` is how long it stood in line for the
/// lock, if it did.
pub(super) fn not_run(
    engine: &Engine,
    params: &Params,
    client: SocketAddr,
    why: WaitError,
    waited: Option<Duration>,
) {
    engine.metrics.probe_gave_up(why, waited);
    let seconds = waited.map(|waited| format!("{:.3}", waited.as_secs_f64()));
    let mut fields: Vec<Field<'_>> = vec![
        ("target", &params.host),
        ("port", &params.ports),
        ("client", &client),
        ("cause", &why),
    ];
    fields.extend(
        seconds
            .iter()
            .map(|seconds| -> Field<'_> { ("lock_wait_seconds", seconds) }),
    );
    if why == WaitError::Running {
        engine.log.info("probe not answered", &fields);
    } else {
        engine.log.warn("probe not run", &fields);
    }
}
