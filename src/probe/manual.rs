//! Probes that a person starts from the page: each on a thread of its own, bound to no request.
//!
//! Owns how many there may be at a time; must not know HTML or status codes.

use std::sync::Arc;

use crate::cancel::Cancel;
use crate::probe::accounting;
use crate::probe::answer::Caller;
use crate::probe::coalesce;
use crate::probe::deadline::Limits;
use crate::probe::engine::Engine;
use crate::probe::lock::WaitError;
use crate::probe::params::Params;
use crate::probe::single::run_once;
use crate::threads;

/// Starts a probe, whose number is the answer: `engine.history` tells what becomes of it.
///
/// # Errors
/// When there are as many as there may be, or no thread is to be had.
pub(super) fn start(
    engine: &Arc<Engine>,
    params: Params,
    limits: Limits,
    caller: Caller<'_>,
) -> Result<u64, WaitError> {
    let Some(place) = engine.manual.try_acquire() else {
        accounting::not_run(engine, &params, caller.client, WaitError::Full, None);
        return Err(WaitError::Full);
    };
    // Not the request's: that is answered in a moment.
    let stop = Cancel::default();
    let open = engine
        .history
        .open(&params, caller.client, Some(stop.clone()));
    let number = open.number;
    let (client, arrival, turn) = (caller.client, caller.arrival, caller.number);
    let own_engine = Arc::clone(engine);
    let body = move || {
        let engine = own_engine;
        let limits = limits.detached(coalesce::length(&params));
        let caller = Caller {
            client,
            arrival,
            number: turn,
            cancel: &stop,
        };
        let end = run_once(&engine, &params, &limits, caller, &open);
        open.end(end);
        // Last of all: the end of the exporter waits for it.
        drop(place);
    };
    // The exporter may have begun to end after the request came in.
    if engine.shutdown.is_set() {
        return Err(WaitError::Cancelled);
    }
    threads::start("test", coalesce::STACK_BYTES, Box::new(body)).map_err(|error| {
        engine
            .log
            .error("cannot start a thread for a test", &[("error", &error)]);
        WaitError::Broken
    })?;
    Ok(number)
}
