//! One probe: its stages in order, and its outcome.
//!
//! Must not know text formats or HTTP status codes. Each stage ends the probe or hands its result to the next:
//! fit the test into its time, wait for the lock, run iperf3, count and log.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use self::deadline::Limits;
use self::lock::{Cancel, GaveUp, Patience};
use self::params::Params;
use crate::iperf3::{self, Outcome};
use crate::log::Field;
use crate::state::State;

pub(crate) mod allow;
pub(crate) mod deadline;
pub(crate) mod lock;
pub(crate) mod params;
pub(crate) mod target;
mod values;

#[cfg(test)]
mod fuzz;

/// A probe whose test was run.
#[derive(Debug)]
pub(crate) struct Probed {
    /// What the test measured, or why it failed.
    pub(crate) outcome: Outcome,
    /// From the request to the test's end.
    pub(crate) duration: Duration,
    /// Of that, waiting for the lock.
    pub(crate) lock_wait: Duration,
}

/// Who wants a probe.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller<'a> {
    /// Where the request came from.
    pub(crate) client: SocketAddr,
    /// When it came.
    pub(crate) arrival: Instant,
    /// Its place in the order in which requests came.
    pub(crate) number: u64,
    /// Set when nobody wants the result any more.
    pub(crate) cancel: &'a Cancel,
}

/// Runs one probe.
///
/// # Errors
/// When no test was run: the lock was not had in time, or nobody wants the result any more.
pub(crate) fn probe(
    state: &State,
    params: &Params,
    limits: &Limits,
    caller: Caller<'_>,
) -> Result<Probed, GaveUp> {
    let Caller {
        client,
        arrival,
        number,
        cancel,
    } = caller;
    let period_seconds = limits.fit(params.period_seconds, arrival);
    if period_seconds < params.period_seconds {
        state.log.warn(
            "period cut to fit into its time",
            &[
                ("target", &params.host),
                ("port", &params.port),
                ("wanted_seconds", &params.period_seconds),
                ("period_seconds", &period_seconds),
            ],
        );
    }
    let patience = Patience {
        longest: arrival + state.lock_timeout,
        latest_start: limits.latest_start(period_seconds),
    };
    let held = state
        .lock
        .acquire(number, params.server(), patience, cancel);
    let lock_wait = arrival.elapsed();
    let held = held.inspect_err(|why| report_gave_up(state, params, client, *why, lock_wait))?;
    let lock_wait = held.waited;
    let end = limits.end_of_run(Instant::now());
    let outcome = iperf3::run_test(&state.binary, params, period_seconds, end, cancel);
    drop(held);
    let Some(outcome) = outcome else {
        report_gave_up(state, params, client, GaveUp::Cancelled, lock_wait);
        return Err(GaveUp::Cancelled);
    };
    let outcome = iperf3::put_right(outcome, params, end);
    let duration = arrival.elapsed();
    let probed = Probed {
        outcome,
        duration,
        lock_wait,
    };
    state.own.probe_ran(&probed.outcome, duration, lock_wait);
    report(state, params, client, &probed);
    Ok(probed)
}

/// The one line that a probe has in the log, and iperf3's own words when it failed.
fn report(state: &State, params: &Params, client: SocketAddr, probed: &Probed) {
    let shown = params.shown();
    let seconds = format!("{:.3}", probed.duration.as_secs_f64());
    let waited = format!("{:.3}", probed.lock_wait.as_secs_f64());
    let mut fields: Vec<Field<'_>> = vec![("target", &params.host)];
    fields.extend(
        shown
            .iter()
            .map(|(name, value)| -> Field<'_> { (name, value) }),
    );
    let rate = |way: &Option<iperf3::report::Direction>| {
        let rate = way.as_ref()?.received.bits_per_second()?;
        Some(format!("{rate:.0}"))
    };
    let (up, down) = match &probed.outcome {
        Ok(report) => (rate(&report.upload), rate(&report.download)),
        Err(_) => (None, None),
    };
    match &probed.outcome {
        Ok(_) => fields.push(("outcome", &"success")),
        Err(failure) => {
            state.log.warn(
                "iperf3 failed",
                &[
                    ("target", &params.host),
                    ("port", &params.port),
                    ("reason", &failure.reason.label()),
                    ("error", &failure.words),
                ],
            );
            fields.push(("outcome", &"failure"));
        }
    }
    let reason = probed
        .outcome
        .as_ref()
        .err()
        .map(|failure| failure.reason.label());
    if let Some(reason) = &reason {
        fields.push(("reason", reason));
    }
    fields.push(("client", &client));
    fields.push(("seconds", &seconds));
    fields.push(("lock_wait_seconds", &waited));
    if let Some(up) = &up {
        fields.push(("upload_bits_per_second", up));
    }
    if let Some(down) = &down {
        fields.push(("download_bits_per_second", down));
    }
    state.log.info("probe", &fields);
}

fn report_gave_up(
    state: &State,
    params: &Params,
    client: SocketAddr,
    why: GaveUp,
    waited: Duration,
) {
    state.own.probe_gave_up(why, waited);
    state.log.warn(
        "probe not run",
        &[
            ("target", &params.host),
            ("port", &params.port),
            ("client", &client),
            ("cause", &why),
            ("lock_wait_seconds", &format!("{:.3}", waited.as_secs_f64())),
        ],
    );
}
