//! Where a request head ends, and which parts of it are forwarded.
//!
//! A strict parser: it rebuilds every accepted head from its parsed parts. So the backend never sees a head that two
//! parsers could read differently (request smuggling). Owns the grammar of a head (RFC 9112). Must not know paths or
//! parameters. Refuses a request with a body: no page takes one.

use std::fmt::Write as _;

use crate::number;

/// Maximum size of a head, request line and headers together. Prometheus sends about 500 bytes, a browser 2 KiB.
pub(super) const LIMIT_BYTES: usize = 16 * 1024;
/// Maximum number of header lines. Apache has the same limit.
const HEADERS_LIMIT: usize = 100;
/// Maximum length of a method. The longest registered method has 17 characters.
const METHOD_LIMIT_BYTES: usize = 32;

/// Headers that the backend reads. All others are dropped.
const FORWARDED_HEADERS: &[&str] = &["authorization", "x-prometheus-scrape-timeout-seconds"];

/// Status code and text line of the response to a refused head.
pub(super) type Refusal = (u16, &'static str);

/// Not HTTP, or HTTP that two parsers could read differently.
const MALFORMED: Refusal = (400, "malformed request");
/// More than `LIMIT_BYTES`, or more than `HEADERS_LIMIT` lines.
const TOO_LARGE: Refusal = (431, "request head larger than 16 KiB or 100 lines");
/// The head announces a body.
const HAS_BODY: Refusal = (413, "request bodies are not accepted");
/// The version is HTTP, but neither 1.0 nor 1.1.
const VERSION: Refusal = (505, "HTTP version not supported, want 1.1 or 1.0");

/// An accepted head.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// The head for the backend, without the blank line at its end: the caller adds a header of its own.
    pub(super) rewritten: Vec<u8>,
    /// Whether the connection closes after the response: the client asks for it, or its HTTP version implies it.
    pub(super) closes: bool,
    /// Whether the method is HEAD: the response then has no body, whatever its `Content-Length` is.
    pub(super) has_no_answer_body: bool,
}

/// Takes the first head out of `bytes`; `None` while it is incomplete. A refused head stays there. The first `searched`
/// bytes were searched before, so a head that arrives byte by byte is not scanned over and over.
pub(super) fn take(bytes: &mut Vec<u8>, searched: usize) -> Result<Option<Head>, Refusal> {
    // A method starts with a letter, a TLS record with 0x16: no need to wait for the end.
    if bytes.first().is_some_and(|b| !b.is_ascii_alphabetic()) {
        return Err(MALFORMED);
    }
    let end = end(bytes, searched);
    if end.unwrap_or(bytes.len()) > LIMIT_BYTES {
        return Err(TOO_LARGE);
    }
    let Some(end) = end else {
        return Ok(None);
    };
    let head = parse(bytes.get(..end).unwrap_or_default())?;
    bytes.drain(..end);
    Ok(Some(head))
}

/// The URL in a head that may be incomplete or malformed. Empty if there is none.
pub(super) fn url(bytes: &[u8]) -> &str {
    let line = bytes.split(|byte| *byte == b'\r').next();
    let line = line.and_then(|line| str::from_utf8(line).ok());
    let parts = line.and_then(|line| request_line(line).ok());
    parts.map_or("", |(_, url, _)| url)
}

/// The length of the first head in `bytes`, including its blank line.
fn end(bytes: &[u8], searched: usize) -> Option<usize> {
    let from = searched.saturating_sub(3);
    let tail = bytes.get(from..)?;
    let at = tail.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some(from + at + 4)
}

/// Parses one complete head.
fn parse(bytes: &[u8]) -> Result<Head, Refusal> {
    let text = std::str::from_utf8(bytes).map_err(|_| MALFORMED)?;
    let lines = text.strip_suffix("\r\n\r\n").ok_or(MALFORMED)?;
    let mut lines = lines.split("\r\n");
    // Some parsers treat a bare CR or LF as a line end, others do not. Neither grammar below allows one.
    let (method, target, minor) = request_line(lines.next().unwrap_or_default())?;
    let mut rewritten = format!("{method} {target} HTTP/1.1\r\nHost: front-end\r\n");
    let mut closes = minor == 0;
    let (mut hosts, mut count) = (0, 0);
    for line in lines {
        count += 1;
        if count > HEADERS_LIMIT {
            return Err(TOO_LARGE);
        }
        let (name, value) = header(line)?;
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("host") {
            hosts += 1;
        } else if is("connection") {
            closes |= has_token(value, "close");
        } else if is("transfer-encoding") {
            return Err(HAS_BODY);
        } else if is("content-length") {
            if !number::is_digits(value) {
                return Err(MALFORMED);
            }
            if value.bytes().any(|b| b != b'0') {
                return Err(HAS_BODY);
            }
        } else if FORWARDED_HEADERS.iter().any(|known| is(known)) {
            // `tiny_http` closes a connection without a response when a header is not ASCII.
            if !value.is_ascii() {
                return Err(MALFORMED);
            }
            let _ = write!(rewritten, "{name}: {value}\r\n");
        }
    }
    // HTTP/1.1 requires exactly one Host header (RFC 9112 section 3.2).
    if hosts > 1 || (minor == 1 && hosts == 0) {
        return Err(MALFORMED);
    }
    Ok(Head {
        rewritten: rewritten.into_bytes(),
        closes,
        has_no_answer_body: method == "HEAD",
    })
}

/// The method, the target, and the minor version number.
fn request_line(line: &str) -> Result<(&str, &str, u8), Refusal> {
    let mut words = line.split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(MALFORMED);
    };
    let is_method = method.len() <= METHOD_LIMIT_BYTES && is_token(method);
    let is_target = !target.is_empty() && target.bytes().all(|b| b.is_ascii_graphic());
    let minor = match version {
        "HTTP/1.1" => 1,
        "HTTP/1.0" => 0,
        other if other.starts_with("HTTP/") => return Err(VERSION),
        _ => return Err(MALFORMED),
    };
    if is_method && is_target {
        Ok((method, target, minor))
    } else {
        Err(MALFORMED)
    }
}

/// The name and the value of a header line. No white space before the colon, no folded lines (RFC 9112 section 5).
fn header(line: &str) -> Result<(&str, &str), Refusal> {
    let (name, value) = line.split_once(':').ok_or(MALFORMED)?;
    let value = value.trim_matches([' ', '\t']);
    let is_value = value.chars().all(|c| c == '\t' || !c.is_control());
    if is_token(name) && is_value {
        Ok((name, value))
    } else {
        Err(MALFORMED)
    }
}

/// Whether `text` is a token (RFC 9110 section 5.6.2).
fn is_token(text: &str) -> bool {
    let is_mark = |b: u8| b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || is_mark(b))
}

fn has_token(value: &str, token: &str) -> bool {
    value
        .split(',')
        .any(|word| word.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::{HAS_BODY, MALFORMED, Refusal, TOO_LARGE, VERSION, end, parse};

    fn rewritten(text: &str) -> Result<String, Refusal> {
        parse(text.as_bytes()).map(|head| String::from_utf8(head.rewritten).unwrap())
    }

    #[test]
    fn a_head_ends_at_its_blank_line() {
        let text = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET";
        for searched in 0..27 {
            assert_eq!(end(text, searched), Some(27), "{searched}");
        }
        assert_eq!(end(b"GET / HTTP/1.1\r\nHost: a\r\n\r", 0), None);
    }

    #[test]
    fn only_headers_that_the_backend_reads_are_forwarded() {
        assert_eq!(
            rewritten(
                "GET /probe?target=a HTTP/1.1\r\nHost: x:9579\r\nX-Prometheus-Scrape-Timeout-Seconds:\t10 \r\n\
                 Accept: */*\r\nCookie: c\r\nX-RequestContext: 1\r\nAUTHORIZATION: Basic eDp5\r\nContent-Length: 0\r\n\r\n"
            )
            .unwrap(),
            "GET /probe?target=a HTTP/1.1\r\nHost: front-end\r\nX-Prometheus-Scrape-Timeout-Seconds: 10\r\n\
             AUTHORIZATION: Basic eDp5\r\n"
        );
    }

    #[test]
    fn the_connection_closes_when_the_client_asks_for_it() {
        for (text, closes) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", false),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Close\r\n\r\n",
                true,
            ),
            ("GET / HTTP/1.0\r\n\r\n", true),
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap().closes, closes, "{text}");
        }
    }

    #[test]
    fn ambiguous_heads_are_refused() {
        for (text, refusal) in [
            ("GET / HTTP/1.1\r\n\r\n", MALFORMED),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", MALFORMED),
            ("GET / HTTP/1.1\nHost: a\r\n\r\n", MALFORMED),
            ("GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", MALFORMED),
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", MALFORMED),
            ("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", MALFORMED),
            ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", MALFORMED),
            ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", MALFORMED),
            ("GET / HTTP/1.1\r\nHost: a\r\nnocolon\r\n\r\n", MALFORMED),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
                MALFORMED,
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n",
                MALFORMED,
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n",
                MALFORMED,
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n",
                HAS_BODY,
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n",
                HAS_BODY,
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
                HAS_BODY,
            ),
            ("PRI * HTTP/2.0\r\n\r\n", VERSION),
            ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", VERSION),
            ("GET / FTP/1.1\r\nHost: a\r\n\r\n", MALFORMED),
            ("GET é HTTP/1.1\r\nHost: a\r\n\r\n", MALFORMED),
            ("\r\n\r\n", MALFORMED),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic é\r\n\r\n",
                MALFORMED,
            ),
        ] {
            assert_eq!(rewritten(text), Err(refusal), "{text:?}");
        }
        let many = format!(
            "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
            "A: b\r\n".repeat(100)
        );
        assert_eq!(rewritten(&many), Err(TOO_LARGE));
    }
}
