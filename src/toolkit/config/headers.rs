//! `http_server_config.headers`: the headers that may be set, and their allowed values.
//!
//! Must not know how a response is sent.

use super::fault::{Fault, shown};
use super::values::At;

/// Headers that may be set, and their allowed values; an empty list allows any value.
const HEADERS: &[(&str, &[&str])] = &[
    ("Content-Security-Policy", &[]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-XSS-Protection", &[]),
    ("Strict-Transport-Security", &[]),
];

/// The configured headers. Blank ones are skipped, as the exporter-toolkit's documentation says.
pub(super) fn checked(at: &At<'_>) -> Result<Vec<(String, String)>, Fault> {
    let mut headers = Vec::new();
    for (key, at) in at.entries()? {
        let name = &key.text;
        let Some((_, allowed)) = HEADERS.iter().find(|(known, _)| known == name) else {
            let known: Vec<&str> = HEADERS.iter().map(|(known, _)| *known).collect();
            return Err(at.fault(&format!(
                "the HTTP header can not be configured, want one of {}",
                known.join(", ")
            )));
        };
        // White space at the ends is not part of a value (RFC 9110, 5.5), and a block scalar ends with a line break. A
        // line break inside would inject a header: it becomes a space, as in Go, so that a long policy may span several
        // lines.
        let value = at.text()?.unwrap_or_default();
        let value = value
            .trim_matches([' ', '\t', '\r', '\n'])
            .replace(['\r', '\n'], " ");
        if value.is_empty() {
            continue;
        }
        // RFC 9110, 5.5: ASCII.
        let is_printable = value.chars().all(|c| matches!(c, ' '..='~' | '\t'));
        let (what, want) = if !is_printable {
            ("an HTTP header", "printable ASCII".to_owned())
        } else if !allowed.is_empty() && !allowed.contains(&value.as_str()) {
            (name.as_str(), format!("one of {}", allowed.join(", ")))
        } else {
            headers.push((name.clone(), value));
            continue;
        };
        return Err(at.fault(&format!(
            "invalid value for {what}, \"{}\": want {want}",
            shown(&value)
        )));
    }
    Ok(headers)
}
