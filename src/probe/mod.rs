//! One probe: its stages in order, and its outcome.
//!
//! Must not know text formats or HTTP status codes. Each stage ends the probe or hands its result to the next: is there
//! a result that will do (`shared`), fit the test into its time, wait for the lock and run iperf3, as often as the
//! server is busy (`attempts`), count and log (`told`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use self::deadline::Limits;
use self::history::Running;
use self::lock::WaitError;
use self::params::Params;
use self::retry::{NotRun, TestRequest};
use crate::cancel::Cancel;
use crate::iperf3::{Outcome, RunDetails};
use crate::state::State;

mod accounting;
pub(crate) mod allow;
mod backoff;
pub(crate) mod budget;
mod coalesce;
pub(crate) mod deadline;
pub(crate) mod history;
pub(crate) mod lock;
pub(crate) mod manual;
pub(crate) mod params;
pub(crate) mod result_cache;
mod retry;
mod values;

#[cfg(test)]
mod fuzz;

/// A test that was run, in as many attempts as it took.
#[derive(Clone, Debug)]
pub(crate) struct Probed {
    /// What it measured, or why its last attempt failed.
    pub(crate) outcome: Outcome,
    /// The port of the last attempt.
    pub(crate) port: u16,
    /// How often iperf3 was run.
    pub(crate) count: u32,
    /// How the last attempts went, the latest last.
    pub(crate) attempts: Vec<Attempt>,
    /// How long all of them waited for the lock.
    pub(crate) lock_wait: Duration,
}

/// One attempt.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    /// How long it waited for the lock; none when the lock was held already, for a port before this one.
    pub(crate) waited: Option<Duration>,
    /// How it went.
    pub(crate) story: RunDetails,
}

/// What a request is answered with.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// The test.
    pub(crate) probed: Arc<Probed>,
    /// From the request to its answer.
    pub(crate) duration: Duration,
    /// How old the result is, for requests with `max_age`.
    pub(crate) freshness: Option<Freshness>,
}

/// How old a result is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Freshness {
    /// Since the test ended.
    pub(crate) age: Duration,
    /// When a test of this kind last succeeded, as far as is known.
    pub(crate) last_success: Option<SystemTime>,
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

/// Answers one probe, with a new test or with a result that will do.
///
/// # Errors
/// When there is no result: the lock was not had in time, nobody wants it any more, or it comes too late.
pub(crate) fn probe(
    state: &Arc<State>,
    params: &Params,
    limits: &Limits,
    caller: Caller<'_>,
) -> Result<Answer, WaitError> {
    if let Some(max_age) = params.options.max_age {
        return coalesce::answer(state, params, limits, caller, max_age);
    }
    let open = state.records.open(params, caller.client, None);
    let end = run_once(state, params, limits, caller, &open);
    open.end(end.clone());
    end
}

/// Runs a test for one request.
fn run_once(
    state: &Arc<State>,
    params: &Params,
    limits: &Limits,
    caller: Caller<'_>,
    open: &Running,
) -> Result<Answer, WaitError> {
    let Caller {
        client, arrival, ..
    } = caller;
    let period_seconds = accounting::fitted(state, params, limits, arrival);
    let wanted = TestRequest {
        params,
        period_seconds,
        limits,
        arrival,
        number: caller.number,
        cancel: caller.cancel,
        open,
    };
    match retry::run(state, &wanted) {
        Ok(probed) => {
            let duration = arrival.elapsed();
            accounting::ran(state, params, client, &probed, duration);
            let probed = Arc::new(probed);
            // A test that was cut is not the one that was asked for.
            if period_seconds == params.period_seconds {
                coalesce::keep(state, params, &probed);
            }
            Ok(Answer {
                probed,
                duration,
                freshness: None,
            })
        }
        Err(NotRun { why, waited }) => {
            accounting::gave_up(state, params, client, why, Some(waited));
            Err(why)
        }
    }
}
