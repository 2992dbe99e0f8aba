//! A request, as the other rings see it.
//!
//! Must not know `tiny_http`, or how the request came here.

use std::time::Instant;

pub(crate) use super::in_flight::RequestContext;

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
