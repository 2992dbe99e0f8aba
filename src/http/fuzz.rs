//! Fuzz tests of the front end's parser with random request heads, against a second parser.
//!
//! The second parser must read each accepted head as the same single request. The first must refuse what the second
//! would read differently.

use super::head::{self, Head, Refusal};
use crate::fuzz::{Random, cases};

const LINES: &[&str] = &[
    "GET / HTTP/1.1",
    "GET /probe?target=a HTTP/1.1",
    "HEAD /health HTTP/1.0",
    "POST / HTTP/1.1",
    "OPTIONS * HTTP/1.1",
    "GET http://a/metrics HTTP/1.1",
    "CONNECT a:1 HTTP/1.1",
    "PRI * HTTP/2.0",
    "GET / HTTP/1.2",
    "get /%00 HTTP/1.1",
    "GET /a b HTTP/1.1",
    "GET /\t HTTP/1.1",
    "GET / HTTP/1.1 ",
    "GET  / HTTP/1.1",
    "GET /",
];

const HEADERS: &[&str] = &[
    "Host: a",
    "Host: a",
    "Host: a",
    "Host: a:9579",
    "host:b",
    "Host : a",
    "Host:",
    "Connection: close",
    "Connection: keep-alive, CLOSE",
    "Connection: x-prometheus-scrape-timeout-seconds",
    "Content-Length: 0",
    "Content-Length: 5",
    "Content-Length: 0, 0",
    "Content-Length: +0",
    "Content-Length: 0x0",
    "Content-Length:",
    "Transfer-Encoding: chunked",
    "transfer-encoding:identity",
    "Transfer-Encoding : chunked",
    "Transfer-Encoding\u{b}: chunked",
    "X-Prometheus-Scrape-Timeout-Seconds: 10",
    "x-prometheus-scrape-timeout-seconds:\t1 ",
    "Authorization: Basic eDp5",
    "AUTHORIZATION: Basic é",
    "x-request-key: 127.0.0.1:1",
    "X-Forwarded-For: 192.0.2.7",
    " folded",
    "\tfolded: too",
    "nocolon",
    ": empty",
    "Expect: 100-continue",
    "Upgrade: h2c",
    "User-Agent: curl/8",
    "X: a\rb",
    "X: a\nHost: b",
    "X: a\0b",
    "X: \u{85}",
    "X: \u{2028}é",
    "TE: trailers",
    "Trailer: Host",
];

/// A valid head, or one that is nearly valid.
fn head_bytes(random: &mut Random) -> Vec<u8> {
    // Mostly correct line ends: otherwise hardly any head would be accepted.
    let end = |random: &mut Random| match random.within(0..60) {
        0 => "\n",
        1 => "\r",
        2 => "\r\r\n",
        _ => "\r\n",
    };
    let mut bytes = random.one_of(LINES).as_bytes().to_vec();
    bytes.extend(end(random).bytes());
    if !random.once_in(3) {
        bytes.extend(b"Host: a\r\n");
    }
    for _ in 0..random.within(0..4) {
        bytes.extend(random.one_of(HEADERS).bytes());
        bytes.extend(end(random).bytes());
    }
    if random.once_in(50) {
        let count = random.within(90..110);
        bytes.extend(b"A: b\r\n".repeat(count));
    }
    if random.once_in(3) {
        random.mutate(&mut bytes);
    }
    bytes.extend(b"\r\n");
    bytes
}

/// A request as the second parser reads it.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    method: Vec<u8>,
    target: Vec<u8>,
    minor: u8,
    headers: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The second parser: byte by byte after the grammar of RFC 9112, without code of the first. It accepts exactly one
/// head with no byte after it.
fn read(bytes: &[u8]) -> Option<Read> {
    let is_tchar = |b: u8| b.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(&b);
    let mut reader = Reader { bytes, at: 0 };
    let method = reader.some(is_tchar)?;
    reader.expect(b" ")?;
    let target = reader.some(|b| (0x21..=0x7e).contains(&b))?;
    reader.expect(b" HTTP/1.")?;
    let minor = reader.some(|b| b == b'0' || b == b'1')?;
    let &[minor] = minor.as_slice() else {
        return None;
    };
    reader.expect(b"\r\n")?;
    let mut headers = Vec::new();
    while reader.expect(b"\r\n").is_none() {
        let name = reader.some(is_tchar)?;
        reader.expect(b":")?;
        let value = reader.any(|b| b == b'\t' || (b >= 0x20 && b != 0x7f));
        reader.expect(b"\r\n")?;
        let is_space = |b: &u8| *b == b' ' || *b == b'\t';
        let from = value.iter().take_while(|b| is_space(b)).count();
        let behind = value[from..]
            .iter()
            .rev()
            .take_while(|b| is_space(b))
            .count();
        headers.push((name, value[from..value.len() - behind].to_vec()));
    }
    (reader.at == bytes.len()).then_some(Read {
        method,
        target,
        minor: minor - b'0',
        headers,
    })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn any(&mut self, is: impl Fn(u8) -> bool) -> Vec<u8> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().take_while(|byte| is(**byte)).count();
        self.at += length;
        rest[..length].to_vec()
    }

    fn some(&mut self, is: impl Fn(u8) -> bool) -> Option<Vec<u8>> {
        Some(self.any(is)).filter(|bytes| !bytes.is_empty())
    }

    fn expect(&mut self, wanted: &[u8]) -> Option<()> {
        self.bytes[self.at..]
            .starts_with(wanted)
            .then(|| self.at += wanted.len())
    }
}

impl Read {
    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let is =
            move |(other, _): &&(Vec<u8>, Vec<u8>)| other.eq_ignore_ascii_case(name.as_bytes());
        self.headers
            .iter()
            .filter(is)
            .map(|(_, value)| value.as_slice())
    }
}

/// Whether the front end must serve the head, according to the second parser.
fn is_served(bytes: &[u8], read: &Read) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    let hosts = read.values("host").count();
    let forwarded = FORWARDED_HEADERS.iter().flat_map(|name| read.values(name));
    // No registered method starts with anything else. The front end refuses such a head without waiting for its end.
    read.method.first().is_some_and(u8::is_ascii_alphabetic)
        && read.method.len() <= 32
        && read.headers.len() <= 100
        && (hosts == 1 || (hosts == 0 && read.minor == 0))
        && read.values("transfer-encoding").next().is_none()
        && read
            .values("content-length")
            .all(|value| !value.is_empty() && value.iter().all(|b| *b == b'0'))
        && forwarded.into_iter().all(<[u8]>::is_ascii)
        // Control characters beyond ASCII are refused.
        && !text.contains(|c| ('\u{80}'..'\u{a0}').contains(&c))
}

/// Parses a complete head as the connection's loop does.
fn whole(bytes: &[u8]) -> Result<Head, Refusal> {
    let mut bytes = bytes.to_vec();
    let head = head::take(&mut bytes, 0)?.expect("a head");
    assert!(bytes.is_empty());
    Ok(head)
}

/// The length of the first head.
fn end_of(bytes: &[u8]) -> Option<usize> {
    let at = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some(at + 4)
}

const FORWARDED_HEADERS: &[&str] = &["authorization", "x-prometheus-scrape-timeout-seconds"];

#[test]
fn a_second_parser_agrees_on_every_head() {
    second_parser_agrees(10_000);
}

#[test]
#[ignore = "make test-all: many more heads"]
fn a_second_parser_agrees_on_very_many_heads() {
    second_parser_agrees(500_000);
}

fn second_parser_agrees(count: u64) {
    let (mut accepted, mut refused) = (0_u32, 0_u32);
    cases(count, |random| {
        let bytes = head_bytes(random);
        let Some(end) = end_of(&bytes) else {
            return;
        };
        let bytes = &bytes[..end];
        let shown = String::from_utf8_lossy(bytes);
        let read_first = read(bytes).filter(|read| is_served(bytes, read));
        let (head, original) = match (whole(bytes), read_first) {
            (Err(_), None) => return refused += 1,
            (Ok(head), Some(original)) => (head, original),
            (parsed, read) => {
                panic!("{shown:?}: {parsed:?}, and the second parser returns {read:?}")
            }
        };
        accepted += 1;
        // The forwarded head is one head with the same method and target, and only the headers that are forwarded.
        let expected = Read {
            method: original.method.clone(),
            target: original.target.clone(),
            minor: 1,
            headers: std::iter::once((b"Host".to_vec(), b"front-end".to_vec()))
                .chain(
                    original
                        .headers
                        .iter()
                        .filter(|(name, _)| {
                            FORWARDED_HEADERS
                                .iter()
                                .any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
                        })
                        .cloned(),
                )
                .collect(),
        };
        // The front end adds its own header before the blank line.
        let rewritten = [&head.rewritten[..], b"\r\n"].concat();
        assert_eq!(read(&rewritten), Some(expected), "{shown:?}");
        assert_eq!(end_of(&rewritten), Some(rewritten.len()), "{shown:?}");
        let asks_to_close = original.values("connection").any(|value| {
            String::from_utf8_lossy(value)
                .split(',')
                .any(|word| word.trim_matches([' ', '\t']).eq_ignore_ascii_case("close"))
        });
        assert_eq!(
            head.closes,
            original.minor == 0 || asks_to_close,
            "{shown:?}"
        );
        assert_eq!(
            head.has_no_answer_body,
            original.method == b"HEAD",
            "{shown:?}"
        );
    });
    assert!(
        accepted > 1000 && refused > 1000 || std::env::var_os("FUZZ_CASES").is_some(),
        "{accepted} {refused}"
    );
}

#[test]
fn a_head_ends_at_the_same_byte_whatever_pieces_it_arrives_in() {
    pieces_make_no_difference(5000);
}

#[test]
#[ignore = "make test-all: many more heads"]
fn very_many_heads_end_at_the_same_byte_whatever_pieces_they_arrive_in() {
    pieces_make_no_difference(200_000);
}

fn pieces_make_no_difference(count: u64) {
    cases(count, |random| {
        let mut bytes = head_bytes(random);
        for _ in 0..random.within(0..3) {
            bytes.extend(head_bytes(random));
        }
        // Read it piece by piece, as the connection's loop does.
        let (mut ahead, mut come, mut searched) = (Vec::new(), 0, 0);
        let found = loop {
            let taken = head::take(&mut ahead, searched);
            searched = ahead.len();
            if come == bytes.len() || !matches!(taken, Ok(None)) {
                break taken;
            }
            let next = (come + random.within(1..40)).min(bytes.len());
            ahead.extend_from_slice(&bytes[come..next]);
            come = next;
        };
        let shown = String::from_utf8_lossy(&bytes);
        assert_eq!(found, head::take(&mut bytes.clone(), 0), "{shown:?}");
        if matches!(found, Ok(Some(_))) {
            assert_eq!(Some(come - ahead.len()), end_of(&bytes), "{shown:?}");
        }
    });
}
