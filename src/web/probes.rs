//! Requests about probes: `/probe` for Prometheus; `/run` and `/probes/…` for people.
//!
//! Owns their status codes. Must not know `tiny_http`, HTML, or how a value was measured.

use super::{Site, answer_text, pages};
use crate::http::request::{Request, split_url};
use crate::http::response::{RETRY_AFTER_SECONDS, Response, TEXT};
use crate::metrics::text;
use crate::number;
use crate::probe::answer::Caller;
use crate::probe::deadline::{Limits, SCRAPE_TIMEOUT_HEADER};
use crate::probe::history::Found;
use crate::probe::params::Params;
use crate::probe::prober::Refused;
use crate::probe::wait_error::{Unanswered, WaitError};

/// Runs a probe. A failed measurement is a normal result. Only a request that cannot be served is an error.
pub(super) fn probe(site: &Site, request: &Request<'_>) -> Response {
    let refused = |response: Response| {
        site.note_refusal(request, response.code, response.body.trim_end());
        response
    };
    if site.prober.is_shutting_down() {
        // The same line as for a queued probe.
        let line = "no test was run: the exporter is shutting down";
        return refused(Response::unavailable(line));
    }
    let Some(_permit) = site.prober.reserve() else {
        let line = "too many probes are queued, try again later";
        return refused(Response::unavailable(line));
    };
    let (_, query) = split_url(request.url);
    let (params, limits) = match check(site, request, query) {
        Ok(checked) => checked,
        Err(why) => return refused(Response::line(code(&why), &why.to_string())),
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
        Err(Unanswered { why, probe }) => {
            let number = probe.map(|number| format!(" (probe {number})"));
            let line = no_result(&why) + &number.unwrap_or_default();
            Response::unavailable(&line)
        }
    }
}

/// The response line that says why there is no result.
fn no_result(why: &WaitError) -> String {
    if why.is_not_run() {
        format!("no test was run: {why}")
    } else {
        why.to_string()
    }
}

/// Starts a probe for a person, and redirects to its details at once.
pub(super) fn run(site: &Site, request: &Request<'_>) -> Response {
    let refused = |code, line: &str| {
        site.note_refusal(request, code, line);
        pages::message(code, line, "./")
    };
    let Some(query) = site.csrf.taken_from(split_url(request.url).1) else {
        return refused(403, ELSEWHERE);
    };
    let (params, limits) = match check(site, request, &query) {
        Ok(checked) => checked,
        Err(why) => return refused(code(&why), &why.to_string()),
    };
    // Both change only the response, and the details page shows more than either.
    if params.options.max_age.is_some() || params.options.debug {
        let line = "parameters max_age and debug are only for the probe path: a test started here always runs and \
                    shows its details";
        return refused(400, line);
    }
    match site.prober.start(params, limits, &caller(request)) {
        Ok(number) => see_other(format!("probes/{number}")),
        Err(why) => pages::message(503, &no_result(&why), "./")
            .with_header("Retry-After", RETRY_AFTER_SECONDS),
    }
}

pub(super) fn details(site: &Site, request: &Request<'_>) -> Response {
    match find(site, request) {
        Some((_, Found::Current(probe))) => pages::in_progress(site, &probe),
        Some((_, Found::Finished(past))) => pages::ended(site, &past),
        None => pages::message(404, UNKNOWN, "../"),
    }
}

/// The content of the frame on the page of a probe in progress.
pub(super) fn now(site: &Site, request: &Request<'_>) -> Response {
    match find(site, request) {
        Some((number, found)) => pages::now(site, number, &found),
        None => pages::nothing_now(404, UNKNOWN),
    }
}

/// The requested probe and its number.
fn find(site: &Site, request: &Request<'_>) -> Option<(u64, Found)> {
    let (path, _) = split_url(request.url);
    let Some(number) = number(path) else {
        // Not the page of a probe, but perhaps meant as the probe path.
        site.note_refusal(request, 404, UNKNOWN);
        return None;
    };
    Some((number, site.prober.find(number)?))
}

/// Stops a probe that a person started from the page.
pub(super) fn stop(site: &Site, request: &Request<'_>) -> Response {
    let refused = |code, line: &str| pages::message(code, line, "../../");
    let (path, query) = split_url(request.url);
    if site.csrf.taken_from(query).is_none() {
        return refused(403, ELSEWHERE);
    }
    let Some(number) = number(path) else {
        return refused(404, UNKNOWN);
    };
    let by = request.context.peer.ip().to_canonical();
    let is_stopped = site.prober.stop(number, by);
    match site.prober.find(number) {
        Some(Found::Current(_)) if !is_stopped => {
            let line = "only a probe that was started from the page can be stopped from it";
            refused(409, line)
        }
        // A probe that has ended in the meantime needs no stop: its details say so.
        Some(_) => see_other(format!("../{number}")),
        None => refused(404, UNKNOWN),
    }
}

const UNKNOWN: &str = "no probe with this number is stored, the first page lists the latest ones";
const ELSEWHERE: &str = "tests can only be started and stopped with the forms of the exporter's own pages, which \
                         must be reloaded after a restart of the exporter";

/// The number in the path of a probe.
fn number(path: &str) -> Option<u64> {
    number::whole(path.split('/').nth(2)?)
}

/// Redirects a browser by GET. The target is relative: a proxy may add a path prefix.
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

/// Parses the request: what to run, and its time limits.
fn check(site: &Site, request: &Request<'_>, query: &str) -> Result<(Params, Limits), Refused> {
    let timeout = request.header(SCRAPE_TIMEOUT_HEADER);
    let (prober, arrival) = (&site.prober, request.arrival);
    prober.check(query, timeout.as_deref(), arrival)
}

/// The status code of a refusal.
fn code(refused: &Refused) -> u16 {
    match refused {
        Refused::Query(_) | Refused::ScrapeTimeout(_) => 400,
        Refused::NotAllowed(_) => 403,
    }
}
