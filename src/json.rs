//! Writes JSON strings (RFC 8259 section 7), for log lines and `/lock-status`.
//!
//! Knows nothing of their content. `iperf3/report` reads JSON.

use std::fmt::Write as _;

/// `text` as a JSON string.
pub(crate) fn string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    push_string(&mut out, text);
    out
}

/// Whether a character must be escaped in a line. The C1 controls are legal in JSON, but some terminals obey them. The
/// two separators end a line for readers that follow Unicode (UAX 14). Characters that change the display order (UAX 9)
/// make a line read as another one.
pub(crate) fn is_unprintable(c: char) -> bool {
    let turns = '\u{202a}'..='\u{202e}';
    let isolates = '\u{2066}'..='\u{2069}';
    c.is_control()
        || matches!(
            c,
            '\u{2028}' | '\u{2029}' | '\u{61c}' | '\u{200e}' | '\u{200f}'
        )
        || turns.contains(&c)
        || isolates.contains(&c)
}

/// Appends `text` as a JSON string, quotes included.
pub(crate) fn push_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_unprintable(c) => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::string;

    #[test]
    fn characters_that_change_how_a_line_looks_are_escaped() {
        for (text, written) in [
            ("a\u{202e}b", "\"a\\u202eb\""),
            ("\u{2066}\u{2069}", "\"\\u2066\\u2069\""),
            ("\u{61c}\u{200f}", "\"\\u061c\\u200f\""),
            ("\u{2028}\u{9b}\u{1b}\n", "\"\\u2028\\u009b\\u001b\\n\""),
            // Right-to-left letters need no escape.
            ("שלום é", "\"שלום é\""),
        ] {
            assert_eq!(string(text), written);
        }
    }
}
