//! The table of paths, and which room answers each.
//!
//! Knows methods and status codes; must not know `tiny_http`, or how a value was measured.

use super::site::Site;
use super::{lock_status, pages, probes};
use crate::http::request::Request;
use crate::http::response::Response;
use crate::metrics::text::{self, Text};
use crate::number;

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

/// Answers one request, in the time that it takes: a probe's test included. What the middleware refuses is counted with
/// its path as well.
pub(crate) fn handle(site: &Site, request: &Request<'_>) -> Response {
    let (path, query) = split_url(request.url);
    let found = find(site, path);
    let response = site.access.answer(request, |request| match found {
        Some((_, page)) => answer(site, page, request, query),
        None => Response::line(404, "no such page, see /"),
    });
    if let Some((label, _)) = found {
        site.metrics.request(label, response.code);
    }
    response
}

fn answer(site: &Site, page: Page, request: &Request<'_>, query: &str) -> Response {
    match (page, request.method) {
        (Page::Probe, "GET") => probes::probe(site, request, query),
        (Page::Run, "GET") => probes::run(site, request, query),
        (Page::Stop(number), "POST") => probes::stop(site, request, number, query),
        // HEAD too: nobody may start a test by accident.
        (Page::Probe | Page::Run, _) => not_allowed("GET"),
        (Page::Stop(_), _) => not_allowed("POST"),
        (page, "GET" | "HEAD") => look_up(site, page, query),
        (_, _) => not_allowed("GET, HEAD"),
    }
}

/// What stands behind a path, and the path under which its requests are counted: there is one for all single probes.
fn find<'a>(site: &Site, path: &'a str) -> Option<(&'a str, Page)> {
    if path == site.paths.probe {
        return Some((path, Page::Probe));
    }
    if path == site.paths.telemetry {
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

fn not_allowed(methods: &'static str) -> Response {
    Response::line(405, &format!("method not allowed, want {methods}"))
        .with_header("Allow", methods)
}

/// The pages that only look something up.
fn look_up(site: &Site, page: Page, query: &str) -> Response {
    let prober = &site.prober;
    match page {
        Page::Home => pages::response(200, pages::home(site, query)),
        Page::Style => Response::new(200, "text/css; charset=utf-8", pages::STYLE.to_owned()),
        Page::Icon => Response::new(200, "image/svg+xml", pages::ICON.to_owned()),
        Page::Details(number) => probes::details(site, number),
        Page::Metrics => metrics(site),
        Page::Health => match prober.health() {
            Ok(()) => Response::line(200, "OK"),
            Err(unusable) => Response::line(503, &unusable.to_string()),
        },
        Page::Ready if prober.is_shutting_down() => Response::unavailable("shutting down"),
        Page::Ready => Response::line(200, "OK"),
        Page::LockStatus => Response::new(
            200,
            "application/json; charset=utf-8",
            lock_status::json(prober),
        ),
        Page::Probe | Page::Run => not_allowed("GET"),
        Page::Stop(_) => not_allowed("POST"),
    }
}

/// Each ring's families, one after the other.
fn metrics(site: &Site) -> Response {
    let mut text = Text::new();
    site.prober.write_metrics(&mut text);
    site.metrics.write(&mut text);
    for collector in &site.collectors {
        collector(&mut text);
    }
    Response::new(200, text::CONTENT_TYPE, text.into_string())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::handle;
    use crate::cancel::Cancel;
    use crate::http::request::{Request, RequestContext};
    use crate::log::{Log, LogConfig};
    use crate::probe::prober::{ProbeConfig, Prober};
    use crate::toolkit::access::Access;
    use crate::toolkit::config::reloader::Reloader;
    use crate::web::site::{Paths, Site};

    /// The response's code and body.
    fn get(site: &Site, url: &str) -> (u16, String) {
        let context = RequestContext {
            peer: ([192, 0, 2, 1], 1).into(),
            tls_config: None,
            close_after_response: Arc::default(),
            number: 1,
            cancel: Cancel::default(),
        };
        let request = Request {
            method: "GET",
            url,
            header: &|_| None,
            arrival: Instant::now(),
            context: &context,
        };
        let response = handle(site, &request);
        (response.code, response.body)
    }

    #[test]
    fn it_is_ready_until_its_end_begins() {
        let log = Log::new(LogConfig::default());
        let prober = Arc::new(Prober::new(ProbeConfig::default(), log.clone(), 8));
        let reloader = Reloader::open(None, &log).unwrap();
        let paths = Paths {
            telemetry: "/metrics".to_owned(),
            probe: "/probe".to_owned(),
        };
        let access = Arc::new(Access::new(reloader, log, 8));
        let site = Site::new(paths, Arc::clone(&prober), access, Vec::new());
        assert_eq!(get(&site, "/ready"), (200, "OK\n".to_owned()));
        prober.shut_down();
        let ending = (503, "shutting down\n".to_owned());
        assert_eq!(get(&site, "/ready"), ending);
        assert_eq!(get(&site, "/probe?target=192.0.2.7"), ending);
    }
}
