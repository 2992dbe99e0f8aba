//! The table of paths, and what each answers.
//!
//! Knows status codes and content types; must not know `tiny_http`, or how a value was measured.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::gate::visits::Visit;
use super::{debug, pages};
use crate::duration;
use crate::json;
use crate::metrics::own::{NotRun, Now};
use crate::metrics::{probe as probe_metrics, text};
use crate::probe::deadline::{self, Limits, SCRAPE_TIMEOUT_HEADER};
use crate::probe::lock::{GaveUp, Place};
use crate::probe::params::Params;
use crate::probe::{Caller, allow};
use crate::state::State;
use crate::time_text;

/// What `Retry-After` says, in seconds: about the length of a test, after which there is a place again.
const RETRY_AFTER_SECONDS: &str = "10";

/// The content type of plain text.
const TEXT: &str = "text/plain; charset=utf-8";

/// A request, as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    /// Its method, in capitals.
    pub(crate) method: &'a str,
    /// Path and query as they came.
    pub(crate) url: &'a str,
    /// The header with Prometheus' timeout.
    pub(crate) scrape_timeout: Option<&'a str>,
    /// The header with user and password.
    pub(crate) authorization: Option<&'a str>,
    /// When it came.
    pub(crate) arrival: Instant,
    /// Who sent it, and whether they still wait.
    pub(crate) visit: &'a Visit,
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    /// Status code.
    pub(crate) code: u16,
    /// Its content type.
    pub(crate) content_type: &'static str,
    /// Further headers.
    pub(crate) headers: &'static [(&'static str, &'static str)],
    /// The whole body.
    pub(crate) body: String,
}

impl Reply {
    fn new(code: u16, content_type: &'static str, body: String) -> Self {
        Self {
            code,
            content_type,
            headers: &[],
            body,
        }
    }

    fn line(code: u16, line: &str) -> Self {
        Self::new(code, TEXT, format!("{line}\n"))
    }

    /// A refusal in upstream's words.
    pub(crate) fn status(code: u16, words: &str) -> Self {
        Self::line(code, words)
    }

    /// User and password are asked for, as upstream does: without a realm.
    pub(crate) fn unauthorized() -> Self {
        Self {
            headers: &[("WWW-Authenticate", "Basic")],
            ..Self::line(401, "Unauthorized")
        }
    }

    /// It cannot be done now.
    pub(crate) fn unavailable(line: &str) -> Self {
        Self {
            headers: &[("Retry-After", RETRY_AFTER_SECONDS)],
            ..Self::line(503, line)
        }
    }

    /// There is no room for a request.
    pub(crate) fn overloaded() -> Self {
        Self::unavailable("too many requests in work, try again later")
    }

    /// The answer to the gate's greeting.
    pub(crate) fn greeting() -> Self {
        Self::new(204, TEXT, String::new())
    }

    /// A worker panicked.
    pub(crate) fn broken() -> Self {
        Self::line(500, "internal error, see the exporter's log")
    }
}

/// What stands behind a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Page {
    Home,
    Probe,
    Metrics,
    Health,
    Ready,
    LockStatus,
}

/// The paths that no flag changes.
const FIXED: &[(&str, Page)] = &[
    ("/", Page::Home),
    ("/health", Page::Health),
    ("/-/healthy", Page::Health),
    ("/ready", Page::Ready),
    ("/-/ready", Page::Ready),
    ("/lock-status", Page::LockStatus),
];

/// The paths that no flag may take.
pub(crate) fn fixed_paths() -> impl Iterator<Item = &'static str> {
    FIXED.iter().map(|(path, _)| *path)
}

/// Answers one request, in the time that it takes: a probe's test included.
pub(crate) fn answer(state: &Arc<State>, request: &Request<'_>) -> Reply {
    let (path, query) = split_url(request.url);
    let Some(page) = find(state, path) else {
        return Reply::line(404, "no such page, see /");
    };
    let reply = match (page, request.method) {
        (Page::Probe, "GET") => probe(state, request, query),
        // HEAD too: nobody may start a test by accident.
        (Page::Probe, _) => not_allowed("GET"),
        (page, "GET" | "HEAD") => look_up(state, page),
        (_, _) => not_allowed("GET, HEAD"),
    };
    state.own.request(path, reply.code);
    reply
}

/// Counts a request that was answered before it came to its page.
pub(crate) fn count(state: &State, request: &Request<'_>, code: u16) {
    let (path, _) = split_url(request.url);
    if find(state, path).is_some() {
        state.own.request(path, code);
    }
}

fn find(state: &State, path: &str) -> Option<Page> {
    if path == state.probe_path {
        return Some(Page::Probe);
    }
    if path == state.telemetry_path {
        return Some(Page::Metrics);
    }
    let fixed = FIXED.iter().find(|(fixed, _)| *fixed == path);
    fixed.map(|(_, page)| *page)
}

/// Path and query; a proxy's absolute form (RFC 9112 section 3.2.2) is taken for its path.
fn split_url(url: &str) -> (&str, &str) {
    let absolute = url
        .strip_prefix("http://")
        .or_else(|| url.strip_prefix("https://"));
    let local = match absolute {
        Some(rest) => rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/"),
        None => url,
    };
    local.split_once('?').unwrap_or((local, ""))
}

fn not_allowed(methods: &'static str) -> Reply {
    let headers: &'static [(&str, &str)] = if methods == "GET" {
        &[("Allow", "GET")]
    } else {
        &[("Allow", "GET, HEAD")]
    };
    Reply {
        headers,
        ..Reply::line(405, &format!("method not allowed, want {methods}"))
    }
}

/// The pages that only look something up.
fn look_up(state: &State, page: Page) -> Reply {
    match page {
        Page::Home => Reply {
            headers: pages::HEADERS,
            ..Reply::new(200, "text/html; charset=utf-8", pages::home(state))
        },
        Page::Metrics => metrics(state),
        Page::Health => match state.binary.check() {
            Ok(()) => Reply::line(200, "OK"),
            Err(unusable) => Reply::line(503, &unusable.to_string()),
        },
        Page::Ready if state.shutdown.is_set() => Reply::unavailable("shutting down"),
        Page::Ready => Reply::line(200, "OK"),
        Page::LockStatus => Reply::new(200, "application/json; charset=utf-8", lock_status(state)),
        Page::Probe => not_allowed("GET"),
    }
}

fn metrics(state: &State) -> Reply {
    let lock = state.lock.status();
    let now = Now {
        iperf3_version: state.binary.version().ok(),
        iperf3_features: state.binary.features_listed(),
        lock_held: lock.holder.is_some(),
        lock_waiters: lock.queue.len(),
        connections: state.admission.count(),
        connections_limit: state.admission.most(),
        requests_in_work: state.work.count(),
        bytes_today: state.budget.today(SystemTime::now()),
        bytes_per_day: state.budget.limit(),
        stored_results: state.results.count(),
    };
    Reply::new(200, text::CONTENT_TYPE, state.own.text(&now))
}

/// Runs a probe. A measurement that failed is an answer like any other; only a request that cannot be served is
/// an error.
fn probe(state: &Arc<State>, request: &Request<'_>, query: &str) -> Reply {
    let refused = |code: u16, why: NotRun, line: String| {
        state.own.probe_refused(why);
        state.log.debug("probe refused", &[("cause", &line)]);
        Reply::line(code, &line)
    };
    if state.shutdown.is_set() {
        return Reply::unavailable("shutting down");
    }
    let Some(_in_work) = state.probes.begin() else {
        state.log.warn_seldom(
            "probe refused",
            &[("cause", &"as many probes wait as there may be")],
        );
        return Reply::unavailable("too many probes wait, try again later");
    };
    let params = match Params::parse(query) {
        Ok(params) => params,
        Err(refusal) => return refused(400, NotRun::BadRequest, refusal.to_string()),
    };
    if !allow::allows(&state.allow, &params.host) {
        let line = format!(
            "target {:?} is not allowed by --probe.allow-target",
            params.host.as_str()
        );
        return refused(403, NotRun::NotAllowed, line);
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
            return refused(400, NotRun::BadRequest, line);
        }
    };
    let limits = Limits::new(
        request.arrival,
        scrape_timeout,
        state.timeout_offset,
        state.iperf3_timeout,
    );
    let caller = Caller {
        client: request.visit.peer,
        arrival: request.arrival,
        number: request.visit.number,
        cancel: &request.visit.cancel,
    };
    // A binary that is not known yet is asked now, and not under the test lock.
    let _ = state.binary.installed();
    match crate::probe::probe(state, &params, &limits, caller) {
        Ok(answer) => {
            let page = probe_metrics::text(&params, &answer);
            if params.debug {
                Reply::new(200, TEXT, debug::text(&params, &answer, &page))
            } else {
                Reply::new(200, text::CONTENT_TYPE, page)
            }
        }
        Err(GaveUp::Cancelled) if state.shutdown.is_set() => Reply::unavailable("shutting down"),
        Err(why @ (GaveUp::Running | GaveUp::Broken)) => Reply::unavailable(&why.to_string()),
        Err(why) => Reply::unavailable(&format!("no test was run: {why}")),
    }
}

/// The names and forms are the mutex fork's; `queue` is ours.
fn lock_status(state: &State) -> String {
    let status = state.lock.status();
    let now = Instant::now();
    let age = |place: &Place| duration::format(now.saturating_duration_since(place.since));
    let text = |value: Option<String>| value.map_or("null".to_owned(), |v| json::string(&v));
    let holder = status.holder.as_ref();
    let queue: Vec<String> = status
        .queue
        .iter()
        .map(|place| {
            let (name, waiting) = (json::string(&place.name), json::string(&age(place)));
            format!("{{\"requester\":{name},\"waiting\":{waiting}}}")
        })
        .collect();
    format!(
        "{{\"is_locked\":{},\"locked_by\":{},\"locked_at\":{},\"lock_duration\":{},\"queue_size\":{},\"queue\":[{}]}}\n",
        holder.is_some(),
        text(holder.map(|place| place.name.clone())),
        text(holder.map(|place| time_text::rfc3339_millis(place.since_clock))),
        text(holder.map(age)),
        queue.len(),
        queue.join(","),
    )
}
