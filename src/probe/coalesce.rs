//! Probes with `max_age`: one test for many scrapes, not bound to any of them.
//!
//! Owns which request starts a test, and what each is answered; what is kept is `results`'. Must not know text formats.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::metrics::own;
use crate::probe::Answer;
use crate::probe::Caller;
use crate::probe::Freshness;
use crate::probe::accounting;
use crate::probe::deadline::{DEFAULT_RUN_LIMIT, Limits};
use crate::probe::lock::WaitError;
use crate::probe::params::Params;
use crate::probe::result_cache::{Found, Kept, TestWaiter};
use crate::probe::retry::{self, NotRun, TestRequest};
use crate::state::State;
use crate::threads;

/// A test's stack: that of a worker, as it reads the same reports.
pub(super) const STACK_BYTES: usize = 512 * 1024;

/// Answers with a result that is not older than `max_age`, or else with that of a test which is begun, or joined.
///
/// # Errors
/// When there is no result within the request's time.
pub(super) fn answer(
    state: &Arc<State>,
    params: &Params,
    limits: &Limits,
    caller: Caller<'_>,
    max_age: Duration,
) -> Result<Answer, WaitError> {
    let test = params.test();
    let limits = limits.detached(length(params));
    let fitted = limits.fit(
        params.period_seconds,
        params.options.omit_seconds,
        caller.arrival,
    );
    let least = Duration::from_secs(params.least_seconds(fitted));
    let (waiter, is_ours) = match state.results.find(&test, max_age, least) {
        Found::Result(kept) => {
            state.own.result_reused();
            return Ok(told_from(state, &test, &kept, caller.arrival));
        }
        Found::Running(waiter) => (waiter, false),
        Found::Nothing(waiter) => (waiter, true),
        Found::NoRoom => {
            accounting::gave_up(state, params, caller.client, WaitError::Full, None);
            return Err(WaitError::Full);
        }
    };
    if is_ours {
        begin(state, params, limits, &caller);
    }
    let result = wait(state, &test, waiter, &limits, &caller);
    // Whoever began the test is counted with it.
    match &result {
        Ok(_) if !is_ours => state.own.result_reused(),
        Err(why) if !is_ours => accounting::gave_up(state, params, caller.client, *why, None),
        Ok(_) | Err(_) => {}
    }
    result
}

/// How long a test takes that no scrape limits.
pub(super) fn length(params: &Params) -> Duration {
    // Bytes may take any time: as long as a test that nothing limits.
    params
        .length_seconds(params.period_seconds)
        .map_or(DEFAULT_RUN_LIMIT, Duration::from_secs)
}

/// What the flight brings, or what there was before when it does not end within the request's time.
fn wait(
    state: &State,
    test: &Params,
    waiter: TestWaiter,
    limits: &Limits,
    caller: &Caller<'_>,
) -> Result<Answer, WaitError> {
    match waiter.wait(limits.scrape(), caller.cancel) {
        Some(Ok(kept)) => Ok(told_from(state, test, &kept, caller.arrival)),
        Some(Err(why)) => Err(why),
        None if caller.cancel.is_set() => Err(WaitError::Cancelled),
        None => match state.results.last(test) {
            Some(kept) => Ok(told_from(state, test, &kept, caller.arrival)),
            None => Err(WaitError::Running),
        },
    }
}

fn told_from(state: &State, test: &Params, kept: &Kept, arrival: Instant) -> Answer {
    let last_success = if kept.probed.outcome.is_ok() {
        Some(kept.ended_clock)
    } else {
        let earlier = state.results.last_success(test);
        earlier.map(|earlier| earlier.ended_clock)
    };
    Answer {
        probed: Arc::clone(&kept.probed),
        duration: arrival.elapsed(),
        freshness: Some(Freshness {
            age: kept.ended.elapsed(),
            last_success,
        }),
    }
}

/// Runs the test on a thread of its own, so that it outlives the request.
fn begin(state: &Arc<State>, params: &Params, limits: Limits, caller: &Caller<'_>) {
    let (own_state, own_params) = (Arc::clone(state), params.clone());
    let (client, number, arrival) = (caller.client, caller.number, caller.arrival);
    let completion = Completion {
        state: Arc::clone(state),
        test: params.test(),
        end: Err(WaitError::Broken),
    };
    let open = state.records.open(params, client, None);
    let body = move || {
        let mut completion = completion;
        let (state, params) = (own_state, own_params);
        let wanted = TestRequest {
            params: &params,
            period_seconds: accounting::fitted(&state, &params, &limits, arrival),
            limits: &limits,
            arrival,
            number,
            // Nobody but the exporter's end stops it.
            cancel: &state.shutdown,
            open: &open,
        };
        completion.end = match retry::run(&state, &wanted) {
            Ok(probed) => {
                accounting::ran(&state, &params, client, &probed, arrival.elapsed());
                Ok(Kept::new(Arc::new(probed)))
            }
            Err(NotRun { why, waited }) => {
                accounting::gave_up(&state, &params, client, why, Some(waited));
                Err(why)
            }
        };
        let kept = completion.end.as_ref().map_err(|why| *why);
        open.end(kept.map(|kept| told_from(&state, &params.test(), kept, arrival)));
    };
    if let Err(error) = threads::start("test", STACK_BYTES, Box::new(body)) {
        // The landing went with the closure: who waits is told.
        state
            .log
            .error("cannot start a thread for a test", &[("error", &error)]);
    }
}

/// Ends a flight when it is dropped, in a panic and when its thread was never started too.
struct Completion {
    state: Arc<State>,
    test: Params,
    end: Result<Kept, WaitError>,
}

impl Drop for Completion {
    fn drop(&mut self) {
        let end = std::mem::replace(&mut self.end, Err(WaitError::Broken));
        if matches!(end, Err(WaitError::Broken)) {
            self.state
                .own
                .probe_refused(own::NotRun::Waiting(WaitError::Broken));
            if thread::panicking() {
                self.state.own.panicked();
            }
        }
        self.state.results.land(&self.test, end);
    }
}

/// Keeps a success that was measured without `max_age`, for requests with it.
pub(super) fn keep(state: &State, params: &Params, probed: &Arc<crate::probe::Probed>) {
    if probed.outcome.is_ok() {
        let kept = Kept::new(Arc::clone(probed));
        state.results.keep(&params.test(), &kept);
    }
}
