//! Requests for probes: `/probe` for Prometheus; `/run` and `/probes/…` for people.
//!
//! Knows status codes; must not know `tiny_http`, HTML, or how a value was measured.

use std::sync::Arc;

use crate::http::response::{RETRY_AFTER_SECONDS, Reply, TEXT};
use crate::metrics::own::NotRun;
use crate::metrics::{compat as probe_metrics, text};
use crate::probe::Caller;
use crate::probe::allow;
use crate::probe::deadline::{self, Limits, SCRAPE_TIMEOUT_HEADER};
use crate::probe::history::Found;
use crate::probe::lock::WaitError;
use crate::probe::manual;
use crate::probe::params::Params;
use crate::state::State;
use crate::web::debug;
use crate::web::pages;
use crate::web::routes::Request;

/// Why a request runs no test: status code, and a line that says it.
struct Refused(u16, String);

/// Runs a probe. A measurement that failed is an answer like any other; only a request that cannot be served is
/// an error.
pub(super) fn probe(state: &Arc<State>, request: &Request<'_>, query: &str) -> Reply {
    if state.shutdown.is_set() {
        return Reply::unavailable("shutting down");
    }
    let Some(_in_work) = state.probes.begin() else {
        state.log.warn_ratelimited(
            "probe refused",
            &[("cause", &"as many probes wait as there may be")],
        );
        return Reply::unavailable("too many probes wait, try again later");
    };
    let (params, limits) = match wanted(state, request, query) {
        Ok(wanted) => wanted,
        Err(Refused(code, line)) => return Reply::line(code, &line),
    };
    // A binary that is not known yet is asked now, and not under the test lock.
    let _ = state.binary.installed();
    match crate::probe::probe(state, &params, &limits, caller(request)) {
        Ok(answer) => {
            let page = probe_metrics::text(&params, &answer);
            if params.options.debug {
                Reply::new(200, TEXT, debug::text(&params, &answer, &page))
            } else {
                Reply::new(200, text::CONTENT_TYPE, page)
            }
        }
        Err(WaitError::Cancelled) if state.shutdown.is_set() => Reply::unavailable("shutting down"),
        Err(why @ (WaitError::Running | WaitError::Broken)) => Reply::unavailable(&why.to_string()),
        Err(why) => Reply::unavailable(&format!("no test was run: {why}")),
    }
}

/// Starts a probe for a person, and leads to its details at once.
pub(super) fn run(state: &Arc<State>, request: &Request<'_>, query: &str) -> Reply {
    let refused = |code, line: &str| Reply::page(code, pages::message(code, line, ""));
    let Some(query) = state.key.taken_from(query) else {
        return refused(403, ELSEWHERE);
    };
    let (params, limits) = match wanted(state, request, &query) {
        Ok(wanted) => wanted,
        Err(Refused(code, line)) => return refused(code, &line),
    };
    // Both are about the answer, and the details tell more than either.
    if params.options.max_age.is_some() || params.options.debug {
        let line = "parameters max_age and debug are for the probe path: a test that is started here is always run, \
                    and its details are shown";
        return refused(400, line);
    }
    match manual::start(state, params, limits, caller(request)) {
        Ok(number) => see_other(format!("probes/{number}")),
        Err(why) => Reply {
            made: Some(("Retry-After", RETRY_AFTER_SECONDS.to_owned())),
            ..refused(503, &format!("no test was run: {why}"))
        },
    }
}

/// A probe's details.
pub(super) fn details(state: &State, number: Option<u64>) -> Reply {
    let found = number.and_then(|number| state.records.find(number));
    let Some(found) = found else {
        return Reply::page(404, pages::message(404, UNKNOWN, "../"));
    };
    let details = pages::details(state, &found);
    let refresh = details.refresh_seconds.map(|seconds| seconds.to_string());
    Reply {
        made: refresh.map(|seconds| ("Refresh", seconds)),
        ..Reply::page(200, details.page)
    }
}

/// Stops a probe that a person started.
pub(super) fn stop(state: &State, number: Option<u64>, query: &str) -> Reply {
    if state.key.taken_from(query).is_none() {
        return Reply::page(403, pages::message(403, ELSEWHERE, "../../"));
    }
    let unknown = || Reply::page(404, pages::message(404, UNKNOWN, "../../"));
    let Some(number) = number else {
        return unknown();
    };
    if state.records.stop(number) {
        state.wake_all();
        return see_other(format!("../{number}"));
    }
    match state.records.find(number) {
        // One that has ended meanwhile needs no stopping, and its details say so.
        Some(Found::Finished(_)) => see_other(format!("../{number}")),
        Some(Found::Current(_)) => {
            let line = "only a probe that was started from the page is stopped from it";
            Reply::page(409, pages::message(409, line, "../../"))
        }
        None => unknown(),
    }
}

const UNKNOWN: &str = "no probe of this number is remembered: the last ones are on the first page";
const ELSEWHERE: &str = "a test is started and stopped by the forms of the exporter's own pages; after a restart of the \
    exporter open them anew";

/// Leads a browser there by GET, relative to where it is: behind a proxy paths may begin with more.
fn see_other(place: String) -> Reply {
    Reply {
        made: Some(("Location", place)),
        ..Reply::line(303, "see there")
    }
}

fn caller<'a>(request: &Request<'a>) -> Caller<'a> {
    Caller {
        client: request.context.peer,
        arrival: request.arrival,
        number: request.context.number,
        cancel: &request.context.cancel,
    }
}

/// What is to be run, and in what time.
fn wanted(state: &State, request: &Request<'_>, query: &str) -> Result<(Params, Limits), Refused> {
    let refused = |code, why: NotRun, line: String| {
        state.own.probe_refused(why);
        state.log.debug("probe refused", &[("cause", &line)]);
        Refused(code, line)
    };
    let params = Params::parse(query)
        .map_err(|refusal| refused(400, NotRun::BadRequest, refusal.to_string()))?;
    if !allow::allows(&state.allow, &params.host) {
        let line = format!(
            "target {:?} is not allowed by --probe.allow-target",
            params.host.as_str()
        );
        return Err(refused(403, NotRun::NotAllowed, line));
    }
    let scrape_timeout = match request
        .scrape_timeout
        .map(|text| (text, deadline::scrape_timeout(text)))
    {
        None => None,
        Some((_, Some(timeout))) => Some(timeout),
        Some((text, None)) => {
            let line = format!(
                "header {SCRAPE_TIMEOUT_HEADER}: {text:?} is not allowed, want a positive number of seconds"
            );
            return Err(refused(400, NotRun::BadRequest, line));
        }
    };
    let limits = Limits::new(
        request.arrival,
        scrape_timeout,
        state.timeout_offset,
        state.iperf3_timeout,
    );
    Ok((params, limits))
}
