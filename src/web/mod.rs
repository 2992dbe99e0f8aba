//! The pages: the table of paths, probes by HTTP, and what people see.
//!
//! Owns what all pages share. Must not know iperf3's JSON or `tiny_http`. `routes` finds what stands behind a path, once
//! the middleware of the toolkit has let the request pass; `probes` answers what is about probes; `pages` are HTML.

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

/// What the pages share for as long as the exporter runs.
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
    /// Leaves a trace of a request that is answered with this code and line instead of with what it asked for.
    fn note_refusal(&self, request: &Request<'_>, code: u16, line: &str) {
        self.note_refused(request.context.peer, request.url, code, line);
    }

    /// The same for one that came to no page; of a URL that is not known the text is empty.
    pub(crate) fn note_refused(&self, client: SocketAddr, url: &str, code: u16, line: &str) {
        self.refusals.note(client, split_url(url), code, line);
    }
}
