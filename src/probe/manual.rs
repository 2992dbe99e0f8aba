//! Probes that a person starts from the page: each on a thread of its own, bound to no request.
//!
//! Owns how many there may be at a time; must not know HTML or status codes.

use std::sync::Arc;
use std::thread;

use crate::cancel::Cancel;
use crate::probe::Caller;
use crate::probe::accounting;
use crate::probe::coalesce;
use crate::probe::deadline::Limits;
use crate::probe::history::Running;
use crate::probe::lock::WaitError;
use crate::probe::params::Params;
use crate::probe::run_once;
use crate::state::State;
use crate::threads;

/// Most of them at a time: they run one after the other, and nobody watches more.
pub(crate) const MOST: usize = 16;

/// Starts a probe, whose number is the answer: `state.records` tells what becomes of it.
///
/// # Errors
/// When there are as many as there may be, or no thread is to be had.
pub(crate) fn start(
    state: &Arc<State>,
    params: Params,
    limits: Limits,
    caller: Caller<'_>,
) -> Result<u64, WaitError> {
    let Some(place) = state.by_hand.begin() else {
        accounting::gave_up(state, &params, caller.client, WaitError::Full, None);
        return Err(WaitError::Full);
    };
    // Not the request's: that is answered in a moment.
    let stop = Cancel::default();
    let open = state
        .records
        .open(&params, caller.client, Some(stop.clone()));
    let number = open.number;
    let (client, arrival, turn) = (caller.client, caller.arrival, caller.number);
    let own_state = Arc::clone(state);
    let body = move || {
        let watch = Watch(own_state);
        let state = &watch.0;
        let limits = limits.detached(coalesce::length(&params));
        let caller = Caller {
            client,
            arrival,
            number: turn,
            cancel: &stop,
        };
        run(state, &params, &limits, caller, open);
        // Last of all: the end of the exporter waits for it.
        drop(place);
    };
    // The exporter may have begun to end after the request came in.
    if state.shutdown.is_set() {
        return Err(WaitError::Cancelled);
    }
    threads::start("test", coalesce::STACK_BYTES, Box::new(body)).map_err(|error| {
        state
            .log
            .error("cannot start a thread for a test", &[("error", &error)]);
        WaitError::Broken
    })?;
    Ok(number)
}

fn run(state: &Arc<State>, params: &Params, limits: &Limits, caller: Caller<'_>, open: Running) {
    let end = run_once(state, params, limits, caller, &open);
    open.end(end);
}

/// Counts a panic, which ends this test and nothing else.
struct Watch(Arc<State>);

impl Drop for Watch {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.own.panicked();
        }
    }
}
