//! A request, as the other rings see it.
//!
//! Must not know `tiny_http`, or how the request came here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use crate::cancel::Cancel;

/// A request whose head was accepted.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    /// Its method, in capitals.
    pub(crate) method: &'a str,
    /// Path and query as they came.
    pub(crate) url: &'a str,
    /// The value of a header by its name; only those are there that `head` passes on.
    pub(crate) header: &'a dyn Fn(&str) -> Option<String>,
    /// When it came.
    pub(crate) arrival: Instant,
    /// Who sent it, and whether they still wait.
    pub(crate) context: &'a RequestContext,
}

impl Request<'_> {
    /// The value of a header, whose name has no case (RFC 9110 section 5.1).
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        (self.header)(name)
    }
}

/// What is known of a request before it is read.
#[derive(Clone, Debug)]
pub(crate) struct RequestContext {
    /// The client.
    pub(crate) peer: SocketAddr,
    /// The number of the configuration by which TLS let the client in; none when its bytes are not encrypted.
    pub(crate) tls_config: Option<u64>,
    /// Set when the connection has to end with the answer.
    pub(crate) close_after_response: Arc<AtomicBool>,
    /// Its place in the order in which requests came, whatever thread takes it further first.
    pub(crate) number: u64,
    /// Set when the client has gone, or the exporter ends.
    pub(crate) cancel: Cancel,
}

/// Path and query; a proxy's absolute form (RFC 9112 section 3.2.2) is taken for its path.
pub(crate) fn split_url(url: &str) -> (&str, &str) {
    let absolute = url.strip_prefix("http://").or(url.strip_prefix("https://"));
    let local = match absolute {
        Some(rest) => rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/"),
        None => url,
    };
    local.split_once('?').unwrap_or((local, ""))
}
