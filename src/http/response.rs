//! What is answered: status code, content type, headers, body.
//!
//! Must not know paths, or what is behind them.

use std::borrow::Cow;

/// What `Retry-After` says, in seconds: about the length of a test, after which there is a place again.
pub(crate) const RETRY_AFTER_SECONDS: &str = "10";

/// The content type of plain text.
pub(crate) const TEXT: &str = "text/plain; charset=utf-8";

/// A text that is known or made.
type Word = Cow<'static, str>;

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) code: u16,
    pub(crate) content_type: &'static str,
    /// Further headers, no name twice.
    pub(crate) headers: Vec<(Word, Word)>,
    pub(crate) body: String,
}

impl Response {
    /// An answer with this body.
    pub(crate) fn new(code: u16, content_type: &'static str, body: String) -> Self {
        Self {
            code,
            content_type,
            headers: Vec::new(),
            body,
        }
    }

    /// One line of plain text.
    pub(crate) fn line(code: u16, line: &str) -> Self {
        Self::new(code, TEXT, format!("{line}\n"))
    }

    /// It cannot be done now.
    pub(crate) fn unavailable(line: &str) -> Self {
        Self::line(503, line).with_header("Retry-After", RETRY_AFTER_SECONDS)
    }

    /// With one more header, or another value of one.
    pub(crate) fn with_header(mut self, name: impl Into<Word>, value: impl Into<Word>) -> Self {
        let name = name.into();
        self.headers
            .retain(|(known, _)| !known.eq_ignore_ascii_case(&name));
        self.headers.push((name, value.into()));
        self
    }
}
