//! The table of paths, and which room answers each.
//!
//! Knows methods and status codes; must not know `tiny_http`, or how a value was measured.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::http::in_flight::RequestContext;
use crate::http::response::Reply;
use crate::metrics::own::Now;
use crate::metrics::text;
use crate::number;
use crate::state::State;
use crate::web::lock_status;
use crate::web::pages;
use crate::web::probes;

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
    pub(crate) context: &'a RequestContext,
}

/// What stands behind a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Page {
    Home,
    Style,
    Icon,
    Probe,
    Run,
    /// A probe's details, by its number where that is one.
    Details(Option<u64>),
    /// The same, to stop it.
    Stop(Option<u64>),
    Metrics,
    Health,
    Ready,
    LockStatus,
}

/// The paths that no flag changes.
const FIXED: &[(&str, Page)] = &[
    ("/", Page::Home),
    ("/style.css", Page::Style),
    ("/icon.svg", Page::Icon),
    ("/run", Page::Run),
    ("/health", Page::Health),
    ("/-/healthy", Page::Health),
    ("/ready", Page::Ready),
    ("/-/ready", Page::Ready),
    ("/lock-status", Page::LockStatus),
];

/// What the paths of single probes begin with; `NUMBER` and `NUMBER/stop` follow.
const PROBES: &str = "/probes/";

/// Whether a flag may not take this path, as it leads somewhere already.
pub(crate) fn is_taken(path: &str) -> bool {
    path.starts_with(PROBES) || FIXED.iter().any(|(fixed, _)| *fixed == path)
}

/// Answers one request, in the time that it takes: a probe's test included.
pub(crate) fn answer(state: &Arc<State>, request: &Request<'_>) -> Reply {
    let (path, query) = split_url(request.url);
    let Some((label, page)) = find(state, path) else {
        return Reply::line(404, "no such page, see /");
    };
    let reply = match (page, request.method) {
        (Page::Probe, "GET") => probes::probe(state, request, query),
        (Page::Run, "GET") => probes::run(state, request, query),
        (Page::Stop(number), "POST") => probes::stop(state, number, query),
        // HEAD too: nobody may start a test by accident.
        (Page::Probe | Page::Run, _) => not_allowed("GET"),
        (Page::Stop(_), _) => not_allowed("POST"),
        (page, "GET" | "HEAD") => look_up(state, page, query),
        (_, _) => not_allowed("GET, HEAD"),
    };
    state.own.request(label, reply.code);
    reply
}

/// Counts a request that was answered before it came to its page.
pub(crate) fn count(state: &State, request: &Request<'_>, code: u16) {
    let (path, _) = split_url(request.url);
    if let Some((label, _)) = find(state, path) {
        state.own.request(label, code);
    }
}

/// What stands behind a path, and the path under which its requests are counted: there is one for all single probes.
fn find<'a>(state: &State, path: &'a str) -> Option<(&'a str, Page)> {
    if path == state.probe_path {
        return Some((path, Page::Probe));
    }
    if path == state.telemetry_path {
        return Some((path, Page::Metrics));
    }
    if let Some(rest) = path.strip_prefix(PROBES) {
        let (number, is_stop) = match rest.strip_suffix("/stop") {
            Some(number) => (number, true),
            None => (rest, false),
        };
        // Further down there is no page, and the links of one would lead astray.
        let page = if is_stop { Page::Stop } else { Page::Details };
        return (!number.contains('/')).then(|| (PROBES, page(number::whole(number))));
    }
    let fixed = FIXED.iter().find(|(fixed, _)| *fixed == path);
    fixed.map(|(_, page)| (path, *page))
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
    Reply {
        made: Some(("Allow", methods.to_owned())),
        ..Reply::line(405, &format!("method not allowed, want {methods}"))
    }
}

/// The pages that only look something up.
fn look_up(state: &State, page: Page, query: &str) -> Reply {
    match page {
        Page::Home => Reply::page(200, pages::home(state, query)),
        Page::Style => Reply::new(200, "text/css; charset=utf-8", pages::STYLE.to_owned()),
        Page::Icon => Reply::new(200, "image/svg+xml", pages::ICON.to_owned()),
        Page::Details(number) => probes::details(state, number),
        Page::Metrics => metrics(state),
        Page::Health => match state.binary.check() {
            Ok(()) => Reply::line(200, "OK"),
            Err(unusable) => Reply::line(503, &unusable.to_string()),
        },
        Page::Ready if state.shutdown.is_set() => Reply::unavailable("shutting down"),
        Page::Ready => Reply::line(200, "OK"),
        Page::LockStatus => Reply::new(
            200,
            "application/json; charset=utf-8",
            lock_status::json(state),
        ),
        Page::Probe | Page::Run => not_allowed("GET"),
        Page::Stop(_) => not_allowed("POST"),
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
