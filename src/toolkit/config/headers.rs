//! `http_server_config.headers`: which headers may be set, and to what.
//!
//! Must not know how an answer is sent.

use super::fault::{Fault, shown};

/// Headers that may be set, and their values; none means any.
const HEADERS: &[(&str, &[&str])] = &[
    ("Content-Security-Policy", &[]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-XSS-Protection", &[]),
    ("Strict-Transport-Security", &[]),
];

/// A header as the file has it.
pub(super) struct Header {
    /// From 1.
    pub(super) line: usize,
    pub(super) name: String,
    pub(super) value: String,
}

/// The headers that are set; blank ones are not, as the exporter-toolkit's document says.
pub(super) fn checked(written: Vec<Header>) -> Result<Vec<(String, String)>, Fault> {
    let mut headers = Vec::new();
    for Header { line, name, value } in written {
        let path = format!("http_server_config.headers.{}", shown(&name));
        let Some((_, allowed)) = HEADERS.iter().find(|(known, _)| *known == name) else {
            let known: Vec<&str> = HEADERS.iter().map(|(known, _)| *known).collect();
            let text = format!(
                "{path}: the HTTP header can not be configured, want one of {}",
                known.join(", ")
            );
            return Err(Fault::at(line, text));
        };
        // White space at the ends is no part of a value (RFC 9110, 5.5), and a block scalar ends with a line break.
        // One within would let the value write headers of its own: it becomes a space, as in Go, so that a long
        // policy may stand in several lines.
        let value = value
            .trim_matches([' ', '\t', '\r', '\n'])
            .replace(['\r', '\n'], " ");
        if value.is_empty() {
            continue;
        }
        // RFC 9110, 5.5: ASCII.
        if !value.chars().all(|c| matches!(c, ' '..='~' | '\t')) {
            let text = format!(
                "{path}: invalid value for an HTTP header, \"{}\": want printable ASCII",
                shown(&value)
            );
            return Err(Fault::at(line, text));
        }
        if !allowed.is_empty() && !allowed.contains(&value.as_str()) {
            let text = format!(
                "{path}: invalid value for {name}, \"{}\": want one of {}",
                shown(&value),
                allowed.join(", ")
            );
            return Err(Fault::at(line, text));
        }
        headers.push((name, value));
    }
    Ok(headers)
}
