//! Why a configuration cannot be used, and how error messages quote the file.
//!
//! Must not know which keys exist.

/// One text for a person, and its place. It has no variant for each way to write a file wrong: only the line and
/// `is_pair` make a difference to the program.
#[derive(Debug)]
pub(crate) struct Fault {
    /// The line in the configuration file, from 1; `None` if the error has no place in it.
    pub(super) line: Option<usize>,
    /// The message, with the key and the value.
    pub(crate) text: String,
    /// Whether only the certificate or its key is at fault, so that the previous pair may stay in use. Such a fault may
    /// pass by itself: a renewal writes one file after the other.
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
    pub(crate) fn in_pair(self) -> Self {
        Self {
            is_pair: true,
            ..self
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

/// Longest quotation of the file's text in an error, in characters.
const SHOWN_LIMIT_CHARS: usize = 200;

/// How hashes and private keys begin. They may have been written in the wrong place.
const SECRET_MARKS: &[&str] = &["$2", "-----BEGIN"];

/// A quotation for an error message: on one line, not too long, and without anything that looks like a secret.
pub(super) fn shown(text: &str) -> String {
    let marks = SECRET_MARKS.iter().filter_map(|mark| text.find(mark));
    if let Some(open) = marks.min().and_then(|begin| text.get(..begin)) {
        return format!("{}(not shown)", shown(open));
    }
    let mut shown = String::new();
    for c in text.chars().take(SHOWN_LIMIT_CHARS) {
        // Quotes in policies and in the parser's messages are easier to read unescaped.
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
