//! A response: status code, content type, headers, body.
//!
//! Must not know paths, or what serves them.

use std::borrow::Cow;

/// Value of `Retry-After`, in seconds: about the length of a test, after which a slot is free again.
pub(crate) const RETRY_AFTER_SECONDS: &str = "10";

/// The content type of plain text.
pub(crate) const TEXT: &str = "text/plain; charset=utf-8";

/// A header's name or value: a constant, or built at run time.
type Word = Cow<'static, str>;

/// A response to a request.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) code: u16,
    pub(crate) content_type: &'static str,
    /// Further headers; each name occurs once.
    pub(crate) headers: Vec<(Word, Word)>,
    pub(crate) body: String,
}

impl Response {
    /// A response with this body.
    pub(crate) fn new(code: u16, content_type: &'static str, body: String) -> Self {
        Self {
            code,
            content_type,
            headers: Vec::new(),
            body,
        }
    }

    /// A response of one line of plain text.
    pub(crate) fn line(code: u16, line: &str) -> Self {
        Self::new(code, TEXT, format!("{line}\n"))
    }

    /// A 503 with `Retry-After`: the request cannot be served now.
    pub(crate) fn unavailable(line: &str) -> Self {
        Self::line(503, line).with_header("Retry-After", RETRY_AFTER_SECONDS)
    }

    /// Adds a header, or replaces the value of an existing one.
    pub(crate) fn with_header(mut self, name: impl Into<Word>, value: impl Into<Word>) -> Self {
        let name = name.into();
        self.headers
            .retain(|(known, _)| !known.eq_ignore_ascii_case(&name));
        self.headers.push((name, value.into()));
        self
    }
}
