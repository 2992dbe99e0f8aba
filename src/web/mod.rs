//! The web pages: the table of paths, probes over HTTP, and the pages for people.
//!
//! Owns what all pages share. Must not know iperf3's JSON or `tiny_http`. `routes` looks a path up and calls its page
//! if the toolkit's middleware allows the request. `probes` serves requests about probes, and `pages` has the HTML.

mod answer_text;
pub(crate) mod csrf;
mod lock_status;
pub(crate) mod metrics;
mod pages;
mod probes;
pub(crate) mod refusals;
pub(crate) mod routes;

use std::net::SocketAddr;
use std::sync::Arc;

use self::csrf::CsrfToken;
use self::metrics::Metrics;
use self::refusals::Refusals;
use crate::http::Traffic;
use crate::http::request::{Request, split_url};
use crate::metrics::process::Process;
use crate::probe::prober::Prober;
use crate::toolkit::access::Access;

/// State that the pages share while the exporter runs.
pub(crate) struct Site {
    pub(crate) telemetry_path: String,
    pub(crate) probe_path: String,
    pub(crate) prober: Arc<Prober>,
    pub(crate) access: Arc<Access>,
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) process: Arc<Process>,
    pub(crate) csrf: CsrfToken,
    pub(crate) metrics: Metrics,
    pub(crate) refusals: Refusals,
}

impl Site {
    /// Logs a refused request, with the status code and line of its response, and lists it on the first page if it was
    /// about a probe.
    fn note_refusal(&self, request: &Request<'_>, code: u16, line: &str) {
        self.note_refused(request.context.peer, request.url, code, line);
    }

    /// The same for a request that reached no page. `url` is empty if it is not known.
    pub(crate) fn note_refused(&self, client: SocketAddr, url: &str, code: u16, line: &str) {
        self.refusals.note(client, split_url(url), code, line);
    }
}
