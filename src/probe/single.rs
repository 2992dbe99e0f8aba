//! A probe of one request: a test of its own, which ends with it.
//!
//! Must not know text formats.

use std::sync::Arc;

use super::answer::{Answer, Caller};
use super::deadline::Limits;
use super::engine::Engine;
use super::history::Running;
use super::lock::WaitError;
use super::params::Params;
use super::retry::{self, NotRun, TestRequest};
use super::{accounting, coalesce};

/// Runs a test for one request, and remembers it.
pub(super) fn run(
    engine: &Engine,
    params: &Params,
    limits: &Limits,
    caller: Caller<'_>,
) -> Result<Answer, WaitError> {
    let open = engine.history.open(params, caller.client, None);
    let end = run_once(engine, params, limits, caller, &open);
    open.end(end.clone());
    end
}

/// Runs a test for one request.
pub(super) fn run_once(
    engine: &Engine,
    params: &Params,
    limits: &Limits,
    caller: Caller<'_>,
    open: &Running,
) -> Result<Answer, WaitError> {
    let Caller {
        client, arrival, ..
    } = caller;
    let period_seconds = accounting::fitted(engine, params, limits, arrival);
    let wanted = TestRequest {
        params,
        period_seconds,
        limits,
        arrival,
        number: caller.number,
        cancel: caller.cancel,
        open,
    };
    match retry::run(engine, &wanted) {
        Ok(completed) => {
            let duration = arrival.elapsed();
            accounting::ran(engine, params, client, &completed, duration);
            let completed = Arc::new(completed);
            // A test that was cut is not the one that was asked for.
            if period_seconds == params.period_seconds {
                coalesce::keep(engine, params, &completed);
            }
            Ok(Answer {
                completed,
                duration,
                freshness: None,
            })
        }
        Err(NotRun { why, waited }) => {
            accounting::not_run(engine, params, client, why, Some(waited));
            Err(why)
        }
    }
}
