//! Probes with `max_age`: one test for many scrapes, not bound to any of them.
//!
//! Owns which request starts a test, and what each is answered; what is kept is `result_cache`'s. Must not know text
//! formats.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::accounting;
use super::answer::{Answer, Caller, CompletedTest};
use super::deadline::Limits;
use super::params::Params;
use super::prober::Prober;
use super::result_cache::{Found, InFlightTest};
use super::retry::RetryLoop;
use super::wait_error::{Reached, Unanswered, WaitError};

/// Answers with a result that is not older than `max_age`, or else with that of a test which is begun, or joined.
///
/// # Errors
/// When there is no result within the request's time.
pub(super) fn answer(
    prober: &Arc<Prober>,
    params: &Params,
    limits: &Limits,
    caller: &Caller,
    max_age: Duration,
) -> Result<Answer, Unanswered> {
    let test = params.test();
    let limits = limits.detached(params.length_seconds(params.period_seconds));
    let omit_seconds = params.options.omit_seconds;
    let fitted = limits.fit(params.period_seconds, omit_seconds, caller.arrival);
    let least = Duration::from_secs(params.least_seconds(fitted));
    let (in_flight, is_first) = match prober.result_cache.find(&test, max_age, least) {
        Found::Result(kept) => {
            prober.metrics.result_reused();
            return Ok(answer_from(prober, &test, kept, caller.arrival));
        }
        Found::Running(in_flight) => (in_flight, false),
        Found::Nothing(in_flight) => (in_flight, true),
        Found::NoRoom => {
            let why = WaitError::Full;
            accounting::not_run(prober, None, params, caller, &why, None);
            return Err(Unanswered { why, probe: None });
        }
    };
    if is_first {
        begin(prober, params, limits, caller, &in_flight);
    }
    let cache = &prober.result_cache;
    let number = in_flight.probe.get().copied();
    let result = match cache.wait(in_flight, limits.scrape, &caller.cancel) {
        Some(end) => end,
        None => match caller.cancel.cause() {
            Some(cause) => Err(WaitError::Cancelled {
                cause,
                reached: Reached::Shared,
            }),
            // What there was before, when the test does not end within the request's time.
            None => cache.last(&test).ok_or(WaitError::Running),
        },
    };
    // Whoever began the test is counted with it.
    if !is_first {
        match &result {
            Ok(_) => prober.metrics.result_reused(),
            Err(why) => accounting::not_run(prober, number, params, caller, why, None),
        }
    }
    result
        .map(|completed| answer_from(prober, &test, completed, caller.arrival))
        .map_err(|why| Unanswered { why, probe: number })
}

fn answer_from(
    prober: &Prober,
    test: &Params,
    completed: Arc<CompletedTest>,
    arrival: Instant,
) -> Answer {
    let last_success = if completed.outcome.is_ok() {
        Some(completed.ended.clock)
    } else {
        let earlier = prober.result_cache.last_success(test);
        earlier.map(|earlier| earlier.ended.clock)
    };
    Answer {
        age: Some(completed.ended.elapsed()),
        completed,
        duration: arrival.elapsed(),
        last_success,
    }
}

/// Runs the test on a thread of its own, so that it outlives the request.
fn begin(
    prober: &Arc<Prober>,
    params: &Params,
    limits: Limits,
    caller: &Caller,
    in_flight: &InFlightTest,
) {
    let own_prober = Arc::clone(prober);
    let params = params.clone();
    let caller = Caller {
        // Nobody but the exporter's end stops it.
        cancel: prober.shutdown.clone(),
        ..caller.clone()
    };
    let running = prober
        .history
        .open(&params, caller.client, &caller.cancel, false);
    // Nobody else begins it.
    let _ = in_flight.probe.set(running.number);
    let completion = Completion {
        prober: Arc::clone(prober),
        test: params.test(),
        end: Err(WaitError::Broken),
    };
    let body = move || {
        let mut completion = completion;
        let (prober, test) = (own_prober, params.test());
        let end = RetryLoop::begin(&prober, &params, &limits, &caller, &running).run();
        let end = end.map(|answer| answer_from(&prober, &test, answer.completed, caller.arrival));
        running.end(&end);
        completion.end = end.map(|answer| answer.completed);
    };
    // Where there is no thread the completion is dropped with the closure: who waits is told.
    let _ = prober.start_thread(Box::new(body));
}

/// Ends a shared test when it is dropped, in a panic and when its thread was never started too.
struct Completion {
    prober: Arc<Prober>,
    test: Params,
    end: Result<Arc<CompletedTest>, WaitError>,
}

impl Drop for Completion {
    fn drop(&mut self) {
        if let Err(why @ WaitError::Broken) = &self.end {
            self.prober.metrics.probe_refused(why.label());
        }
        let cache = &self.prober.result_cache;
        cache.complete(&self.test, self.end.clone());
    }
}
