//! Requests for probes: `/probe` for Prometheus; `/run` and `/probes/…` for people.
//!
//! Knows status codes; must not know `tiny_http`, HTML, or how a value was measured.

use super::{Site, answer_text, pages, split_url};
use crate::http::request::Request;
use crate::http::response::{RETRY_AFTER_SECONDS, Response, TEXT};
use crate::metrics::text;
use crate::number;
use crate::probe::answer::Caller;
use crate::probe::deadline::{Limits, SCRAPE_TIMEOUT_HEADER};
use crate::probe::history::Found;
use crate::probe::lock::WaitError;
use crate::probe::params::Params;
use crate::probe::prober::Refused;

/// Runs a probe. A measurement that failed is an answer like any other; only a request that cannot be served is
/// an error.
pub(super) fn probe(site: &Site, request: &Request<'_>) -> Response {
    if site.prober.is_shutting_down() {
        return Response::unavailable("shutting down");
    }
    let Some(_permit) = site.prober.reserve() else {
        return Response::unavailable("too many probes wait, try again later");
    };
    let (_, query) = split_url(request.url);
    let (params, limits) = match check(site, request, query) {
        Ok(checked) => checked,
        Err((code, line)) => return Response::line(code, &line),
    };
    match site.prober.probe(&params, &limits, &caller(request)) {
        Ok(answer) => {
            let metrics = answer_text::metrics(&params, &answer);
            if params.options.debug {
                Response::new(200, TEXT, answer_text::debug(&params, &answer, &metrics))
            } else {
                Response::new(200, text::CONTENT_TYPE, metrics)
            }
        }
        Err(WaitError::Cancelled) if site.prober.is_shutting_down() => {
            Response::unavailable("shutting down")
        }
        Err(why @ (WaitError::Running | WaitError::Broken)) => {
            Response::unavailable(&why.to_string())
        }
        Err(why) => Response::unavailable(&format!("no test was run: {why}")),
    }
}

/// Starts a probe for a person, and leads to its details at once.
pub(super) fn run(site: &Site, request: &Request<'_>) -> Response {
    let refused = |code, line: &str| pages::message(code, line, "./");
    let Some(query) = site.csrf.taken_from(split_url(request.url).1) else {
        return refused(403, ELSEWHERE);
    };
    let (params, limits) = match check(site, request, &query) {
        Ok(checked) => checked,
        Err((code, line)) => return refused(code, &line),
    };
    // Both are about the answer, and the details tell more than either.
    if params.options.max_age.is_some() || params.options.debug {
        let line = "parameters max_age and debug are for the probe path: a test that is started here is always run, \
                    and its details are shown";
        return refused(400, line);
    }
    match site.prober.start(params, limits, &caller(request)) {
        Ok(number) => see_other(format!("probes/{number}")),
        Err(why) => refused(503, &format!("no test was run: {why}"))
            .with_header("Retry-After", RETRY_AFTER_SECONDS),
    }
}

pub(super) fn details(site: &Site, request: &Request<'_>) -> Response {
    let (path, _) = split_url(request.url);
    match number(path).and_then(|number| site.prober.find(number)) {
        Some(Found::Current(probe)) => pages::in_progress(site, &probe),
        Some(Found::Finished(past)) => pages::ended(site, &past),
        None => pages::message(404, UNKNOWN, "../"),
    }
}

/// What the frame in the details of a probe in progress shows.
pub(super) fn now(site: &Site, request: &Request<'_>) -> Response {
    let (path, _) = split_url(request.url);
    let found = number(path).and_then(|number| Some((number, site.prober.find(number)?)));
    match found {
        Some((number, found)) => pages::now(site, number, &found),
        None => pages::nothing_now(404, UNKNOWN),
    }
}

/// Stops a probe that a person started.
pub(super) fn stop(site: &Site, request: &Request<'_>) -> Response {
    let refused = |code, line: &str| pages::message(code, line, "../../");
    let (path, query) = split_url(request.url);
    if site.csrf.taken_from(query).is_none() {
        return refused(403, ELSEWHERE);
    }
    let Some(number) = number(path) else {
        return refused(404, UNKNOWN);
    };
    let is_stopped = site.prober.stop(number);
    match site.prober.find(number) {
        Some(Found::Current(_)) if !is_stopped => {
            let line = "only a probe that was started from the page is stopped from it";
            refused(409, line)
        }
        // One that has ended meanwhile needs no stopping, and its details say so.
        Some(_) => see_other(format!("../{number}")),
        None => refused(404, UNKNOWN),
    }
}

const UNKNOWN: &str = "no probe of this number is remembered: the last ones are on the first page";
const ELSEWHERE: &str = "a test is started and stopped by the forms of the exporter's own pages; after a restart of the \
    exporter open them anew";

/// The number in the path of a single probe.
fn number(path: &str) -> Option<u64> {
    number::whole(path.split('/').nth(2)?)
}

/// Leads a browser there by GET, relative to where it is: behind a proxy paths may begin with more.
fn see_other(place: String) -> Response {
    Response::line(303, "see there").with_header("Location", place)
}

fn caller(request: &Request<'_>) -> Caller {
    Caller {
        client: request.context.peer,
        arrival: request.arrival,
        number: request.context.number,
        cancel: request.context.cancel.clone(),
    }
}

/// What is to be run, and in what time; or status code and line of a refusal.
fn check(
    site: &Site,
    request: &Request<'_>,
    query: &str,
) -> Result<(Params, Limits), (u16, String)> {
    let timeout = request.header(SCRAPE_TIMEOUT_HEADER);
    let (prober, arrival) = (&site.prober, request.arrival);
    let checked = prober.check(query, timeout.as_deref(), arrival);
    checked.map_err(|refused| match refused {
        Refused::BadRequest(line) => (400, line),
        Refused::NotAllowed(line) => (403, line),
    })
}
