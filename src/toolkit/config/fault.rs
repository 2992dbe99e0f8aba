//! Why a configuration cannot be used, and how a piece of its text is shown.
//!
//! Must not know which keys there are.

#[derive(Debug)]
pub(crate) struct Fault {
    /// Where in the configuration file, from 1; none when it is not about a place in it.
    pub(super) line: Option<usize>,
    /// Names the key and the value.
    pub(crate) text: String,
    /// Only the certificate or its key is to blame, so the pair in use may stay. It may pass by itself: renewals write
    /// one after the other.
    pub(super) is_pair: bool,
}

impl Fault {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self {
            line: None,
            text: text.into(),
            is_pair: false,
        }
    }

    #[cfg_attr(
        not(feature = "tls"),
        expect(dead_code, reason = "a build without TLS reads no certificate")
    )]
    pub(crate) fn in_pair(text: String) -> Self {
        Self {
            is_pair: true,
            ..Self::new(text)
        }
    }

    pub(super) fn at(line: usize, text: impl Into<String>) -> Self {
        let line = Some(line);
        Self {
            line,
            ..Self::new(text)
        }
    }
}

/// Longest piece of the file's own text that an error repeats, in characters.
const SHOWN_LIMIT_CHARS: usize = 200;

/// How hashes and keys begin that may have come to a wrong place.
const SECRET_MARKS: &[&str] = &["$2", "-----BEGIN"];

/// A piece of the file for an error: on one line, not too long, and without what looks like a secret.
pub(super) fn shown(text: &str) -> String {
    let marks = SECRET_MARKS.iter().filter_map(|mark| text.find(mark));
    if let Some(open) = marks.min().and_then(|begin| text.get(..begin)) {
        return format!("{}(not shown)", shown(open));
    }
    let mut shown = String::new();
    for c in text.chars().take(SHOWN_LIMIT_CHARS) {
        // Quotes of policies and of the parser's own sentences read better bare.
        if c == '\'' {
            shown.push(c);
        } else {
            shown.extend(c.escape_debug());
        }
    }
    if text.chars().nth(SHOWN_LIMIT_CHARS).is_some() {
        shown.push('…');
    }
    shown
}
