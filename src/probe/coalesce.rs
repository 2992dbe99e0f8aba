//! Probes with `max_age`: one test for many scrapes, not bound to any of them.
//!
//! Owns which request starts a test, and what each is answered; what is kept is `result_cache`'s. Must not know text
//! formats.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::probe::accounting;
use crate::probe::answer::{Answer, Caller, CompletedTest, Freshness};
use crate::probe::deadline::{DEFAULT_RUN_LIMIT, Limits};
use crate::probe::engine::Engine;
use crate::probe::lock::WaitError;
use crate::probe::metrics;
use crate::probe::params::Params;
use crate::probe::result_cache::{Found, Kept, TestWaiter};
use crate::probe::retry::{self, NotRun, TestRequest};
use crate::threads;

/// A test's stack: that of a worker, as it reads the same reports.
pub(super) const STACK_BYTES: usize = 512 * 1024;

/// Answers with a result that is not older than `max_age`, or else with that of a test which is begun, or joined.
///
/// # Errors
/// When there is no result within the request's time.
pub(super) fn answer(
    engine: &Arc<Engine>,
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
    let (waiter, is_first) = match engine.result_cache.find(&test, max_age, least) {
        Found::Result(kept) => {
            engine.metrics.result_reused();
            return Ok(answer_from(engine, &test, &kept, caller.arrival));
        }
        Found::Running(waiter) => (waiter, false),
        Found::Nothing(waiter) => (waiter, true),
        Found::NoRoom => {
            accounting::not_run(engine, params, caller.client, WaitError::Full, None);
            return Err(WaitError::Full);
        }
    };
    if is_first {
        begin(engine, params, limits, &caller);
    }
    let result = wait(engine, &test, waiter, &limits, &caller);
    // Whoever began the test is counted with it.
    match &result {
        Ok(_) if !is_first => engine.metrics.result_reused(),
        Err(why) if !is_first => accounting::not_run(engine, params, caller.client, *why, None),
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

/// What the test brings, or what there was before when it does not end within the request's time.
fn wait(
    engine: &Engine,
    test: &Params,
    waiter: TestWaiter,
    limits: &Limits,
    caller: &Caller<'_>,
) -> Result<Answer, WaitError> {
    match waiter.wait(limits.scrape(), caller.cancel) {
        Some(Ok(kept)) => Ok(answer_from(engine, test, &kept, caller.arrival)),
        Some(Err(why)) => Err(why),
        None if caller.cancel.is_set() => Err(WaitError::Cancelled),
        None => match engine.result_cache.last(test) {
            Some(kept) => Ok(answer_from(engine, test, &kept, caller.arrival)),
            None => Err(WaitError::Running),
        },
    }
}

fn answer_from(engine: &Engine, test: &Params, kept: &Kept, arrival: Instant) -> Answer {
    let last_success = if kept.completed.outcome.is_ok() {
        Some(kept.ended.clock)
    } else {
        let earlier = engine.result_cache.last_success(test);
        earlier.map(|earlier| earlier.ended.clock)
    };
    Answer {
        completed: Arc::clone(&kept.completed),
        duration: arrival.elapsed(),
        freshness: Some(Freshness {
            age: kept.ended.elapsed(),
            last_success,
        }),
    }
}

/// Runs the test on a thread of its own, so that it outlives the request.
fn begin(engine: &Arc<Engine>, params: &Params, limits: Limits, caller: &Caller<'_>) {
    let (own_engine, own_params) = (Arc::clone(engine), params.clone());
    let (client, number, arrival) = (caller.client, caller.number, caller.arrival);
    let completion = Completion {
        engine: Arc::clone(engine),
        test: params.test(),
        end: Err(WaitError::Broken),
    };
    let open = engine.history.open(params, client, None);
    let body = move || {
        let mut completion = completion;
        let (engine, params) = (own_engine, own_params);
        let wanted = TestRequest {
            params: &params,
            period_seconds: accounting::fitted(&engine, &params, &limits, arrival),
            limits: &limits,
            arrival,
            number,
            // Nobody but the exporter's end stops it.
            cancel: &engine.shutdown,
            open: &open,
        };
        completion.end = match retry::run(&engine, &wanted) {
            Ok(completed) => {
                accounting::ran(&engine, &params, client, &completed, arrival.elapsed());
                Ok(Kept::new(Arc::new(completed)))
            }
            Err(NotRun { why, waited }) => {
                accounting::not_run(&engine, &params, client, why, Some(waited));
                Err(why)
            }
        };
        let kept = completion.end.as_ref().map_err(|why| *why);
        open.end(kept.map(|kept| answer_from(&engine, &params.test(), kept, arrival)));
    };
    if let Err(error) = threads::start("test", STACK_BYTES, Box::new(body)) {
        // The completion was dropped with the closure: who waits is told.
        engine
            .log
            .error("cannot start a thread for a test", &[("error", &error)]);
    }
}

/// Ends a shared test when it is dropped, in a panic and when its thread was never started too.
struct Completion {
    engine: Arc<Engine>,
    test: Params,
    end: Result<Kept, WaitError>,
}

impl Drop for Completion {
    fn drop(&mut self) {
        let end = std::mem::replace(&mut self.end, Err(WaitError::Broken));
        if matches!(end, Err(WaitError::Broken)) {
            self.engine
                .metrics
                .probe_refused(metrics::NotRun::Waiting(WaitError::Broken));
        }
        self.engine.result_cache.complete(&self.test, end);
    }
}

/// Keeps a success that was measured without `max_age`, for requests with it.
pub(super) fn keep(engine: &Engine, params: &Params, completed: &Arc<CompletedTest>) {
    if completed.outcome.is_ok() {
        let kept = Kept::new(Arc::clone(completed));
        engine.result_cache.keep(&params.test(), &kept);
    }
}
