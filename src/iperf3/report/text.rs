//! Where the document is in iperf3's output, and where it is broken.
//!
//! Owns the text around the JSON and the invalid parts in it; must not know what a document means.

use std::ops::Range;

use serde_json::Value;

/// Maximum number of places tried as the beginning of a document: wrappers print lines of JSON too.
const BEGINS_LIMIT: usize = 64;
/// How much is read of texts that begin as a document but are not one. Each may be read to the end of the output, and
/// one may contain another: 64 of them in 8 MiB took minutes of CPU time.
const BROKEN_LIMIT_BYTES: usize = 16 * 1024 * 1024;
/// How much of the invalid text is shown.
const SHOWN_LIMIT_CHARS: usize = 40;
/// Some tools write it before any text.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Where a text that begins as a document is not valid JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    /// The line number in the whole output, from 1.
    line: usize,
    /// The text at that place; `None` if the output ends there.
    found: Option<String>,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let line = self.line;
        match &self.found {
            Some(found) => write!(f, "not JSON at line {line}: `{found}`"),
            None => write!(f, "not JSON at line {line}: the output ends there"),
        }
    }
}

/// Finds the first document of an output. If there is none, the error is the furthest place where one that began is
/// broken, or `None` if none began.
///
/// Text may come before it (`Increasing socket buffer size …` up to 3.10, a wrapper's output) and after it. A document
/// begins a line: within a line, a brace is part of the text.
pub(super) fn find(output: &[u8]) -> Result<Value, Option<Broken>> {
    let mut other = None;
    let mut broken: Option<Broken> = None;
    let (mut end, mut broken_bytes) = (0, 0);
    for begin in begins(output).take(BEGINS_LIMIT) {
        if begin < end {
            continue;
        }
        if broken_bytes > BROKEN_LIMIT_BYTES {
            break;
        }
        let (before, text) = output.split_at_checked(begin).unwrap_or_default();
        match parse(text) {
            Ok((value, _)) if is_document(&value) => return Ok(value),
            Ok((value, length)) => {
                end = begin + length;
                other.get_or_insert(value);
            }
            Err(mut error) => {
                broken_bytes += text.len();
                error.line += before.split(|byte| *byte == b'\n').count() - 1;
                broken = broken
                    .filter(|broken| broken.line >= error.line)
                    .or(Some(error));
            }
        }
    }
    other.ok_or(broken)
}

/// Where lines begin like a document: with a brace, or with a byte order mark and a brace. White space may come before
/// the very first one only.
fn begins(output: &[u8]) -> impl Iterator<Item = usize> + '_ {
    let text = output.trim_ascii_start();
    let mut next = output.len() - text.len();
    let lines = text.split(|byte| *byte == b'\n');
    lines.filter_map(move |line| {
        let begin = next;
        next += line.len() + 1;
        let is_marked = line.starts_with(BYTE_ORDER_MARK);
        let mark = if is_marked { BYTE_ORDER_MARK.len() } else { 0 };
        (line.get(mark) == Some(&b'{')).then_some(begin + mark)
    })
}

/// The object at the beginning of a text, and its length; 0 if the length is unknown.
fn parse(text: &[u8]) -> Result<(Value, usize), Broken> {
    if let Ok(found) = read(text) {
        return Ok(found);
    }
    // Only now, because nearly every document is valid JSON.
    let finite = finite(text);
    match read(&finite) {
        // This is not the length of the text as it was printed.
        Ok((value, _)) => Ok((value, 0)),
        Err(error) => Err(Broken {
            line: error.line(),
            found: (!error.is_eof()).then(|| word_at(&finite, error.line(), error.column())),
        }),
    }
}

fn read(text: &[u8]) -> serde_json::Result<(Value, usize)> {
    let mut values = serde_json::Deserializer::from_slice(text).into_iter();
    let value = values.next().transpose()?;
    Ok((value.unwrap_or_default(), values.byte_offset()))
}

fn is_document(value: &Value) -> bool {
    let is = |key| {
        value
            .get(key)
            .is_some_and(|part: &Value| part.is_object() || part.is_array())
    };
    value.get("error").is_some() || ["start", "intervals", "end"].into_iter().any(is)
}

/// The text with `null` in place of numbers that are not finite. C prints `nan`, `-nan` and `inf`, which JSON lacks,
/// and a number may exceed the range of the type.
fn finite(text: &[u8]) -> Vec<u8> {
    let words = words(text);
    let is_none = |word: &Range<usize>| {
        let word = text
            .get(word.clone())
            .and_then(|word| std::str::from_utf8(word).ok());
        let number = word.and_then(|word| word.parse::<f64>().ok());
        number.is_some_and(|number| !number.is_finite())
    };
    let mut finite = Vec::new();
    let mut copied = 0;
    for word in words.filter(is_none) {
        finite.extend_from_slice(text.get(copied..word.start).unwrap_or_default());
        finite.extend_from_slice(b"null");
        copied = word.end;
    }
    finite.extend_from_slice(text.get(copied..).unwrap_or_default());
    finite
}

/// Where the words of a JSON text are, except strings: numbers, and whatever is in their place.
fn words(text: &[u8]) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            match text.get(at)? {
                b'"' => at = end_of_string(text, at),
                byte if is_mark(*byte) => at += 1,
                _ => {
                    let begin = at;
                    let rest = text.get(begin..)?;
                    let is_end = |byte: &u8| is_mark(*byte) || *byte == b'"';
                    at += rest.iter().position(is_end).unwrap_or(rest.len());
                    return Some(begin..at);
                }
            }
        }
    })
}

/// The position after the string that begins here.
fn end_of_string(text: &[u8], begin: usize) -> usize {
    let mut at = begin + 1;
    loop {
        match text.get(at) {
            Some(b'\\') => at += 2,
            Some(b'"') | None => return at + 1,
            Some(_) => at += 1,
        }
    }
}

/// Whether the byte separates words.
fn is_mark(byte: u8) -> bool {
    byte.is_ascii_whitespace() || b"{}[],:".contains(&byte)
}

/// The word at a place, both counted from 1: up to the separators around it, or the separator itself.
fn word_at(text: &[u8], line: usize, column: usize) -> String {
    let line = text
        .split(|byte| *byte == b'\n')
        .nth(line.saturating_sub(1));
    let line = line.unwrap_or_default();
    let at = column.saturating_sub(1).min(line.len().saturating_sub(1));
    let (before, behind) = line.split_at_checked(at).unwrap_or_default();
    let is_mark = |byte: &u8| is_mark(*byte);
    let begin = before.iter().rposition(is_mark).map_or(0, |mark| mark + 1);
    let length = behind.iter().position(is_mark).unwrap_or(behind.len());
    let word = match length {
        0 => behind.get(..1),
        length => line.get(begin..at + length),
    };
    let word = String::from_utf8_lossy(word.unwrap_or_default());
    word.chars().take(SHOWN_LIMIT_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::{Broken, find};
    use serde_json::{Value, json};

    fn found(text: &str) -> Result<Value, Option<Broken>> {
        find(text.as_bytes())
    }

    #[test]
    fn text_around_a_document_is_skipped() {
        let document = "{\n\t\"start\":\t{},\n\t\"end\":\t{}\n}\n";
        let expected = json!({ "start": {}, "end": {} });
        for before in [
            "",
            " \n\t",
            "\u{feff}",
            "Increasing socket buffer size to 66531\n",
            "Increasing socket buffer size to 66531\r\n\u{feff}",
            "warning: {\n",
            "{ not yet\n",
            "{\n",
            "{\"a\",\n",
            "a \" in a text {\"\n",
            "{\"level\":\"info\",\"msg\":\"begins\"}\n",
            "{\"level\":\"info\",\n\"msg\":{\n\"a\":1}}\n",
            "null\n",
        ] {
            for behind in ["", "iperf Done.", "\n}\n{\"end\":{}}", "\0"] {
                let text = format!("{before}{document}{behind}");
                assert_eq!(found(&text), Ok(expected.clone()), "{text:?}");
            }
        }
        // A run that failed early.
        assert_eq!(
            found("wait\n{\"error\":\"x\"}"),
            Ok(json!({ "error": "x" }))
        );
        // An object that is not a document is returned only if there is no other.
        assert_eq!(found("{}\n{\"a\":1}"), Ok(json!({})));
    }

    #[test]
    fn broken_texts_are_read_within_a_limit() {
        let text = |count: usize, length: usize| {
            let begins = "{\"a\":\n".repeat(count);
            format!("{begins}\"{}\n{{\"start\":{{}}}}", "x".repeat(length))
        };
        let expected = Ok(json!({ "start": {} }));
        assert_eq!(found(&text(20, 1000)), expected);
        assert_eq!(found(&text(2, 1 << 20)), expected);
        // Above the limit: each could be read to the end of an output of 8 MiB.
        assert!(found(&text(20, 1 << 20)).is_err());
    }

    #[test]
    fn numbers_that_are_not_finite_become_null_except_in_strings() {
        for number in [
            "nan", "-nan", "NaN", "inf", "-inf", "Infinity", "1e999", "-1e999",
        ] {
            let text = format!(
                "text \"\n{{\"end\":{{\"a\":{number},\"b\":[{number},\t{number} ],\"nan\":\"{number}, \\\" {number}\",\"c\":1e3}}}}"
            );
            let expected = json!({ "end": { "a": null, "b": [null, null],
                "nan": format!("{number}, \" {number}"), "c": 1e3 } });
            assert_eq!(found(&text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn an_error_names_the_place() {
        let place = |text: &str| {
            let broken = found(text).unwrap_err();
            broken.map_or_else(String::new, |broken| broken.to_string())
        };
        for (text, at) in [
            (
                "{\"end\":{\n\"a\":-nano,\n\"b\":1}}",
                "not JSON at line 2: `-nano`",
            ),
            // The first number is replaced, but the second is still invalid.
            (
                "{\"end\":{\n\"a\":nan,\n\"b\":+-1}}",
                "not JSON at line 3: `+-1`",
            ),
            (
                "text\n\n{\"end\":{\n\"a\": 1 \"b\":1}}",
                "not JSON at line 4: `\"b\"`",
            ),
            ("{\"end\":{\n\"a\":}}", "not JSON at line 2: `}`"),
            (
                "{\"end\":{\n\"a\":1,\n",
                "not JSON at line 3: the output ends there",
            ),
            ("{", "not JSON at line 1: the output ends there"),
            // The furthest broken place counts.
            ("{ hello\n{\"end\":{\n\"a\":x}}", "not JSON at line 3: `x`"),
            ("{\"end\":{},\n{\"a\"\n]", "not JSON at line 3: `]`"),
            // No document began.
            ("", ""),
            ("hello {", ""),
            ("[{}]", ""),
            ("\"{}\"", ""),
        ] {
            assert_eq!(place(text), at, "{text:?}");
        }
        let long = format!("{{\"a\":{}}}", "é".repeat(99));
        let expected = format!("not JSON at line 1: `{}`", "é".repeat(40));
        assert_eq!(place(&long), expected);
    }
}
