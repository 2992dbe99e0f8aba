//! The table of routes: the methods that each path allows, and the page that serves it.
//!
//! Must not know `tiny_http`, or how a value was measured.

use super::{Site, lock_status, pages, probes};
use crate::http::request::{Request, split_url};
use crate::http::response::Response;
use crate::metrics::text::{self, Text};

type Page = fn(&Site, &Request<'_>) -> Response;

/// The methods of a page that only reads.
const LOOK: &str = "GET, HEAD";
/// Not HEAD: a request must not start a test by accident.
const RUN: &str = "GET";

/// The paths that do not depend on a flag.
const FIXED: &[(&str, &str, Page)] = &[
    ("/", LOOK, pages::home),
    ("/style.css", LOOK, pages::style),
    ("/icon.svg", LOOK, pages::icon),
    ("/run", RUN, probes::run),
    ("/probes/now", LOOK, pages::status),
    ("/health", LOOK, health),
    ("/-/healthy", LOOK, health),
    ("/ready", LOOK, ready),
    ("/-/ready", LOOK, ready),
    ("/lock-status", LOOK, lock_status::page),
];

/// What the paths of single probes begin with; `NUMBER`, `NUMBER/now` and `NUMBER/stop` follow.
const PROBES: &str = "/probes/";

/// Whether a path is in use already, so that a flag cannot set it.
pub(crate) fn is_taken(path: &str) -> bool {
    path.starts_with(PROBES) || FIXED.iter().any(|(fixed, ..)| *fixed == path)
}

/// Answers one request; blocks until it is answered, for a probe until its test has ended. A request that the
/// middleware refuses is counted under its path too.
pub(crate) fn handle(site: &Site, request: &Request<'_>) -> Response {
    let (path, query) = split_url(request.url);
    let found = find(site, path);
    let mut has_access = false;
    let is_for_probe = site.refusals.is_for_probe(path, query);
    // For requests that reach no page. A page records its own refusals.
    let refused = |code, line: &str| {
        if is_for_probe {
            site.note_refusal(request, code, line);
        }
        Response::line(code, line)
    };
    let response = site.access.answer(request, |request| {
        has_access = true;
        let Some((_, methods, page)) = found else {
            let line = if is_for_probe {
                format!("no such page, probes are at {}", site.probe_path)
            } else {
                "no such page, see /".to_owned()
            };
            return refused(404, &line);
        };
        if !methods.split(", ").any(|method| method == request.method) {
            return refused(405, &format!("method not allowed, want {methods}"))
                .with_header("Allow", methods);
        }
        page(site, request)
    });
    // 401 and 500 are not recorded here: a wrong password and an invalid configuration have log lines of their own.
    if !has_access && matches!(response.code, 400 | 429 | 503) {
        site.note_refusal(request, response.code, response.body.trim_end());
    }
    if let Some((label, ..)) = found {
        site.metrics.request(label, response.code);
    }
    pages::asks_again(path, response)
}

/// Finds the page for a path: the path under which its requests are counted, its methods, and its function. All pages
/// of single probes are counted under one path.
fn find<'a>(site: &Site, path: &'a str) -> Option<(&'a str, &'static str, Page)> {
    if path == site.probe_path {
        return Some((path, RUN, probes::probe));
    }
    if path == site.telemetry_path {
        return Some((path, LOOK, metrics));
    }
    if let Some(fixed) = FIXED.iter().find(|(fixed, ..)| *fixed == path) {
        return Some(*fixed);
    }
    if let Some(rest) = path.strip_prefix(PROBES) {
        // There is no page at a deeper path: its relative links would lead to wrong pages.
        return match rest.split_once('/') {
            None => Some((PROBES, LOOK, probes::details)),
            Some((_, "now")) => Some((PROBES, LOOK, probes::now)),
            Some((_, "stop")) => Some((PROBES, "POST", probes::stop)),
            Some(_) => None,
        };
    }
    None
}

fn health(site: &Site, _: &Request<'_>) -> Response {
    match site.prober.health() {
        Ok(()) => Response::line(200, "OK"),
        Err(why) => Response::line(503, &why.to_string()),
    }
}

fn ready(site: &Site, _: &Request<'_>) -> Response {
    if site.prober.is_shutting_down() {
        return Response::unavailable("shutting down");
    }
    Response::line(200, "OK")
}

fn metrics(site: &Site, _: &Request<'_>) -> Response {
    let mut text = Text::new();
    site.prober.write_metrics(&mut text);
    site.metrics.write(&mut text);
    site.traffic.write_metrics(&mut text);
    site.access.write_metrics(&mut text);
    site.process.write_metrics(&mut text);
    Response::new(200, text::CONTENT_TYPE, text.into_string())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::handle;
    use crate::cancel::Cancel;
    use crate::http::request::{Request, RequestContext};
    use crate::http::{Admission, Limits, Traffic};
    use crate::log::{Log, LogConfig};
    use crate::metrics::process::Process;
    use crate::probe::prober::{ProbeConfig, Prober};
    use crate::toolkit::access::Access;
    use crate::toolkit::config::reloader::Reloader;
    use crate::web::Site;
    use crate::web::csrf::CsrfToken;
    use crate::web::metrics::Metrics;
    use crate::web::refusals::Refusals;

    /// The status code and body of the response.
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
    fn it_is_ready_until_the_shutdown_begins() {
        let log = Log::new(LogConfig::default());
        let prober = Arc::new(Prober::new(ProbeConfig::default(), log.clone(), 8));
        let reloader = Reloader::open(None, &log).unwrap();
        let site = Site {
            telemetry_path: "/metrics".to_owned(),
            probe_path: "/probe".to_owned(),
            prober: Arc::clone(&prober),
            access: Arc::new(Access::new(reloader, log.clone(), 8)),
            traffic: Traffic::new(Admission::new(8, None, 1, Limits::default())),
            process: Arc::new(Process::new()),
            csrf: CsrfToken::new(),
            metrics: Metrics::default(),
            refusals: Refusals::new(log.clone(), "/probe".to_owned()),
        };
        assert_eq!(get(&site, "/ready"), (200, "OK\n".to_owned()));
        prober.shut_down();
        let ending = (503, "shutting down\n".to_owned());
        assert_eq!(get(&site, "/ready"), ending);
        let ending = "no test was run: the exporter is shutting down\n";
        let probe = get(&site, "/probe?target=192.0.2.7");
        assert_eq!(probe, (503, ending.to_owned()));
    }
}
