//! Random bytes and randomly damaged requests over real connections: every response is HTTP, no unrequested test
//! starts, and `/health` is fine at the end.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use crate::harness::{Exporter, Fake, good_report, machine_alone};
use crate::random::{Random, cases};

const REQUESTS: &[&str] = &[
    "GET /health HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /metrics HTTP/1.1\r\nHost: a\r\nAccept: */*\r\nUser-Agent: x\r\n\r\n",
    "HEAD / HTTP/1.0\r\n\r\n",
    "GET /probe?target=127.0.0.1&period=1s HTTP/1.1\r\nHost: a\r\nX-Prometheus-Scrape-Timeout-Seconds: 10\r\n\r\n",
    "GET /probe?target=[::1]:5202&udp_mode=1&bitrate=1M%2F8&parallel=2&bind=127.0.0.1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "POST /probe HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
    "GET http://a/lock-status HTTP/1.1\r\nHost: a\r\nAuthorization: Basic eDp5\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "!0123456789abcdef0123456789abcdef\n",
    "\u{16}\u{3}\u{1}\u{0}\u{5}\u{1}\u{0}\u{0}\u{1}\u{3}",
];

/// Some requests in sequence, most of them damaged, or random bytes.
fn bytes(random: &mut Random) -> Vec<u8> {
    if random.once_in(8) {
        return (0..random.within(0..600)).map(|_| random.byte()).collect();
    }
    let mut bytes = Vec::new();
    for _ in 0..random.within(1..5) {
        let mut request = random.one_of(REQUESTS).as_bytes().to_vec();
        if random.once_in(2) {
            random.mutate(&mut request);
        }
        bytes.extend(request);
    }
    bytes
}

/// A request that ends its connection; after an incomplete head it makes that head invalid, so that it is refused.
const LAST: &[u8] = b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// Sends the bytes in random pieces, announces the end, and reads all responses. Closing the sending half cancels the
/// client's probes, so half of the clients announce the end with a last request instead.
fn exchange(random: &mut Random, port: u16, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let is_last_asked = random.once_in(2);
    let bytes = [bytes, if is_last_asked { LAST } else { &[] }].concat();
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(random.within(1..200).min(rest.len()));
        // The exporter may already have closed the connection.
        if stream.write_all(piece).is_err() {
            break;
        }
        rest = behind;
    }
    if !is_last_asked {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let mut answers = Vec::new();
    // A reset after the responses does not invalidate them; a connection that is never closed is a failure.
    if let Err(error) = stream.read_to_end(&mut answers) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
    }
    answers
}

/// A strict client must be able to separate the responses, down to the last byte.
fn assert_are_http(mut answers: &[u8]) {
    while !answers.is_empty() {
        let end = answers
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .expect("a head has an end");
        let (head, rest) = (
            std::str::from_utf8(&answers[..end]).unwrap(),
            &answers[end + 4..],
        );
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap();
        let (code, reason) = status
            .strip_prefix("HTTP/1.1 ")
            .unwrap()
            .split_once(' ')
            .unwrap();
        assert!(
            code.len() == 3 && (200..600).contains(&code.parse::<u16>().unwrap()),
            "{status}"
        );
        assert!(!reason.is_empty(), "{status}");
        let mut length = None;
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("{line:?}"));
            let is_name = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
            assert!(!name.is_empty() && name.bytes().all(is_name), "{line:?}");
            assert!(!value.contains(char::is_control), "{line:?}");
            assert!(!name.eq_ignore_ascii_case("transfer-encoding"), "{line:?}");
            if name.eq_ignore_ascii_case("content-length") {
                assert_eq!(
                    length.replace(value.parse::<usize>().unwrap()),
                    None,
                    "{head}"
                );
            }
        }
        let length = length.expect("a Content-Length");
        // The response to HEAD has a length and no body: the next response follows at once, or nothing does.
        let has_no_body = rest.is_empty() || rest.starts_with(b"HTTP/1.1 ");
        answers = if has_no_body { rest } else { &rest[length..] };
    }
}

#[test]
fn every_response_to_random_input_is_http_and_the_exporter_survives() {
    send_random_requests(300);
}

#[test]
#[ignore = "make test-all: many more requests"]
fn every_response_to_much_random_input_is_http_and_the_exporter_survives() {
    send_random_requests(5000);
}

/// Sends `count` inputs from each of four clients, one connection each.
fn send_random_requests(count: u64) {
    let _alone = machine_alone();
    let fake = Fake::new(&format!(
        "{{ printf '%s\\n' \"$@\"; echo; }} >>\"$DIR/argv\"\nexec cat '{}'",
        good_report().display()
    ));
    let exporter = Exporter::start(&[fake.flag()]);
    let port = exporter.port();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                cases(count, |random| {
                    let sent = bytes(random);
                    let answers = exchange(random, port, &sent);
                    let shown = Shown(&sent, &answers);
                    assert_are_http(&answers);
                    drop(shown);
                });
            });
        }
    });
    assert_eq!(exporter.get("/health").code, 200);
    assert_eq!(exporter.get("/probe?target=127.0.0.1").code, 200);
    assert_eq!(exporter.metric("iperf3_exporter_panics_total"), 0.0);
    // Of all damaged requests, only valid targets reached iperf3.
    let lines = std::fs::read_to_string(fake.dir().join("argv")).unwrap();
    for line in lines.lines() {
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"._-:%/".contains(&b);
        assert!(line.bytes().all(is_plain), "{line:?}");
    }
}

/// Prints the bytes sent and received when its case fails.
struct Shown<'a>(&'a [u8], &'a [u8]);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
            eprintln!("sent {:?}\nanswered {:?}", text(self.0), text(self.1));
        }
    }
}
