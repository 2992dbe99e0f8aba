//! A request, as the other modules see it.
//!
//! Must not know `tiny_http`, or how the request arrived.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use crate::cancel::Cancel;

/// A request with an accepted head.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    /// The method, in capitals.
    pub(crate) method: &'a str,
    /// Path and query, as received.
    pub(crate) url: &'a str,
    /// Looks up a header's value by name. Only the headers that `head` forwards are present.
    pub(crate) header: &'a dyn Fn(&str) -> Option<String>,
    /// When the request arrived.
    pub(crate) arrival: Instant,
    /// The client, and whether it still waits.
    pub(crate) context: &'a RequestContext,
}

impl Request<'_> {
    /// The value of a header. The name is case-insensitive (RFC 9110 section 5.1).
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        (self.header)(name)
    }
}

/// What is known about a request before it is parsed.
#[derive(Clone, Debug)]
pub(crate) struct RequestContext {
    pub(crate) peer: SocketAddr,
    /// Number of the configuration with which TLS accepted the client. `None` without TLS.
    pub(crate) tls_config: Option<u64>,
    /// Set when the connection must close after the response.
    pub(crate) close_after_response: Arc<AtomicBool>,
    /// Position in the order of arrival, whichever thread handles it first.
    pub(crate) number: u64,
    /// Set when the client has disconnected, or when the exporter shuts down.
    pub(crate) cancel: Cancel,
}

/// Path and query. A URL in a proxy's absolute form (RFC 9112 section 3.2.2) is reduced to its path and query.
pub(crate) fn split_url(url: &str) -> (&str, &str) {
    let absolute = url.strip_prefix("http://").or(url.strip_prefix("https://"));
    let local = match absolute {
        Some(rest) => rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/"),
        None => url,
    };
    local.split_once('?').unwrap_or((local, ""))
}
