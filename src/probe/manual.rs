//! Probes that a person starts from the page: each on a thread of its own, bound to no request.
//!
//! Owns how many there may be at a time; must not know HTML or status codes.

use std::sync::Arc;

use crate::cancel::Cancel;
use crate::probe::Caller;
use crate::probe::accounting;
use crate::probe::coalesce;
use crate::probe::deadline::Limits;
use crate::probe::lock::WaitError;
use crate::probe::params::Params;
use crate::probe::prober::Prober;
use crate::probe::run_once;
use crate::threads;

/// Most of them at a time: they run one after the other, and nobody watches more.
pub(crate) const MOST: usize = 16;

/// Starts a probe, whose number is the answer: `prober.history` tells what becomes of it.
///
/// # Errors
/// When there are as many as there may be, or no thread is to be had.
pub(crate) fn start(
    prober: &Arc<Prober>,
    params: Params,
    limits: Limits,
    caller: Caller<'_>,
) -> Result<u64, WaitError> {
    let Some(place) = prober.manual.try_acquire() else {
        accounting::gave_up(prober, &params, caller.client, WaitError::Full, None);
        return Err(WaitError::Full);
    };
    // Not the request's: that is answered in a moment.
    let stop = Cancel::default();
    let open = prober
        .history
        .open(&params, caller.client, Some(stop.clone()));
    let number = open.number;
    let (client, arrival, turn) = (caller.client, caller.arrival, caller.number);
    let own_prober = Arc::clone(prober);
    let body = move || {
        let prober = own_prober;
        let limits = limits.detached(coalesce::length(&params));
        let caller = Caller {
            client,
            arrival,
            number: turn,
            cancel: &stop,
        };
        let end = run_once(&prober, &params, &limits, caller, &open);
        open.end(end);
        // Last of all: the end of the exporter waits for it.
        drop(place);
    };
    // The exporter may have begun to end after the request came in.
    if prober.shutdown.is_set() {
        return Err(WaitError::Cancelled);
    }
    threads::start("test", coalesce::STACK_BYTES, Box::new(body)).map_err(|error| {
        prober
            .log
            .error("cannot start a thread for a test", &[("error", &error)]);
        WaitError::Broken
    })?;
    Ok(number)
}
