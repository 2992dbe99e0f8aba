//! What is answered: status code, content type, headers, body.
//!
//! Must not know paths, or what is behind them.

use crate::web::pages;

/// What `Retry-After` says, in seconds: about the length of a test, after which there is a place again.
pub(crate) const RETRY_AFTER_SECONDS: &str = "10";

/// The content type of plain text.
pub(crate) const TEXT: &str = "text/plain; charset=utf-8";

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    /// Status code.
    pub(crate) code: u16,
    /// Its content type.
    pub(crate) content_type: &'static str,
    /// Further headers.
    pub(crate) headers: &'static [(&'static str, &'static str)],
    /// One whose value is made for this answer.
    pub(crate) made: Option<(&'static str, String)>,
    /// The whole body.
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn new(code: u16, content_type: &'static str, body: String) -> Self {
        Self {
            code,
            content_type,
            headers: &[],
            made: None,
            body,
        }
    }

    pub(crate) fn line(code: u16, line: &str) -> Self {
        Self::new(code, TEXT, format!("{line}\n"))
    }

    /// A page for people.
    pub(crate) fn page(code: u16, page: String) -> Self {
        Self {
            headers: pages::HEADERS,
            ..Self::new(code, "text/html; charset=utf-8", page)
        }
    }

    /// A refusal in the exporter-toolkit's words.
    pub(crate) fn status(code: u16, words: &str) -> Self {
        Self::line(code, words)
    }

    /// User and password are asked for, as the exporter-toolkit does: without a realm.
    pub(crate) fn unauthorized() -> Self {
        Self {
            headers: &[("WWW-Authenticate", "Basic")],
            ..Self::line(401, "Unauthorized")
        }
    }

    /// It cannot be done now.
    pub(crate) fn unavailable(line: &str) -> Self {
        Self {
            headers: &[("Retry-After", RETRY_AFTER_SECONDS)],
            ..Self::line(503, line)
        }
    }

    /// There is no room for a request.
    pub(crate) fn overloaded() -> Self {
        Self::unavailable("too many requests in work, try again later")
    }

    /// The answer to the front end's greeting.
    pub(crate) fn warm_up() -> Self {
        Self::new(204, TEXT, String::new())
    }

    /// A worker panicked.
    pub(crate) fn broken() -> Self {
        Self::line(500, "internal error, see the exporter's log")
    }
}
