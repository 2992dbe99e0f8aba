//! Probes with `max_age`: several scrapes share one test, which is independent of each of them.
//!
//! Decides which request starts a test and what each request gets. `result_cache` stores the results. Must not know
//! text formats.

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

/// Answers with a result not older than `max_age`. If there is none, starts a test or joins the one in flight, and
/// answers with its result.
///
/// # Errors
/// When the request is cancelled, its time is up, or the test could not be run.
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
        Found::Nothing(in_flight) => {
            begin(prober, params, limits, caller, &in_flight);
            (in_flight, true)
        }
        Found::NoRoom => {
            let why = WaitError::Full;
            accounting::not_run(prober, None, params, caller, &why, None);
            return Err(Unanswered { why, probe: None });
        }
    };
    let cache = &prober.result_cache;
    let number = in_flight.probe.get().copied();
    let result = match cache.wait(in_flight, limits.scrape, &caller.cancel) {
        Some(end) => end,
        None => match caller.cancel.cause() {
            Some(cause) => Err(WaitError::Cancelled {
                cause,
                reached: Reached::Shared,
            }),
            // The test does not end within the request's time: answer with the previous result, if there is one.
            None => cache.last(&test).ok_or(WaitError::Running),
        },
    };
    // The request that started the test is counted with the test.
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

/// Runs the test on its own thread, so that it can outlive the request.
fn begin(
    prober: &Arc<Prober>,
    params: &Params,
    limits: Limits,
    caller: &Caller,
    in_flight: &InFlightTest,
) {
    let params = params.clone();
    let caller = Caller {
        // Only shutdown cancels the test.
        cancel: prober.shutdown.clone(),
        ..caller.clone()
    };
    let running = prober
        .history
        .open(&params, caller.client, &caller.cancel, false);
    // Set only here, once per test.
    let _ = in_flight.probe.set(running.number);
    let completion = Completion {
        prober: Arc::clone(prober),
        test: params.test(),
        end: Err(WaitError::Broken),
    };
    let body = move || {
        let mut completion = completion;
        let (prober, test) = (Arc::clone(&completion.prober), params.test());
        let end = RetryLoop::begin(&prober, &params, &limits, &caller, &running).run();
        let end = end.map(|answer| answer_from(&prober, &test, answer.completed, caller.arrival));
        running.end(&end);
        completion.end = end.map(|answer| answer.completed);
    };
    // If no thread can be started, the completion is dropped with the closure, and the waiters get an error.
    let _ = prober.start_thread(Box::new(body));
}

/// Ends a shared test when dropped: also after a panic, and when its thread could not be started.
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
