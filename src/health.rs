//! `--health=URL`: asks a running exporter whether it is well, for a container's health check and for scripts.
//!
//! Owns the smallest HTTP/1.1 client that can do that, on the standard library's sockets: a TLS client would make
//! the binary larger by more than all the rest of this, so that an exporter with TLS is asked without, and its
//! refusal is taken as a sign of life. Must not know what a health page stands for.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::http::tls::PLAIN_ON_TLS;
use crate::number;
use crate::threads;

/// How long all of it may take: name, connection and answer. Shorter than the time limits of health checks that are
/// usual (Docker's is 30 s), so that the line says what was wrong.
const LIMIT: Duration = Duration::from_secs(5);
/// The most that is read of an answer: a head, and behind it the first line of a refusal.
const ANSWER_LIMIT_BYTES: u64 = 16 * 1024;
/// The most that is shown of a line of the answer.
const SHOWN_CHARS: usize = 200;
/// A stack for one thread that looks up a name, connects and reads.
const STACK_BYTES: usize = 256 * 1024;
/// The path of a URL without one.
const DEFAULT_PATH: &str = "/health";
/// The port of a URL without one (RFC 9110 section 4.2.1).
const DEFAULT_PORT: u16 = 80;

/// Whom to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    /// Host name or address, without brackets.
    host: String,
    port: u16,
    /// Path and query.
    path: String,
    /// As it was given.
    text: String,
}

impl Url {
    /// Reads `http://HOST[:PORT][/PATH]`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("http://")?;
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at_checked(at)?,
            None => (rest, ""),
        };
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']')?;
                host.parse::<Ipv6Addr>().ok()?;
                let port = match rest {
                    "" => None,
                    rest => Some(rest.strip_prefix(':')?),
                };
                (host, port)
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let in_host = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b) || b == b':';
        // A fragment is nothing that a server is asked for.
        let in_path = |b: u8| b.is_ascii_graphic() && b != b'#';
        if host.is_empty() || !host.bytes().all(in_host) || !path.bytes().all(in_path) {
            return None;
        }
        let port = match port {
            Some(port) => number::within(port, 1..=u16::MAX)?,
            None => DEFAULT_PORT,
        };
        Some(Self {
            host: host.to_owned(),
            port,
            path: if path.is_empty() { DEFAULT_PATH } else { path }.to_owned(),
            text: text.to_owned(),
        })
    }

    /// The request, after which the server closes the connection.
    fn request(&self) -> String {
        let Self {
            host, port, path, ..
        } = self;
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.clone()
        };
        format!(
            "GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUser-Agent: iperf3-exporter/{}\r\nAccept: */*\r\n\
             Connection: close\r\n\r\n",
            env!("CARGO_PKG_VERSION"),
        )
    }
}

/// Asks; the line to print when the exporter is alive, or the one that says why it is not.
pub(crate) fn ask(url: &Url) -> Result<String, String> {
    let (sender, answers) = mpsc::channel();
    let asked = url.clone();
    // On a thread of its own, which ends with the process: nothing else bounds the look-up of a name.
    let body = move || {
        // Nobody listens any more when the time is over.
        let _ = sender.send(exchange(&asked));
    };
    let outcome = threads::start("health", STACK_BYTES, Box::new(body))
        .map_err(|error| format!("cannot start a thread: {error}"))
        .and_then(|()| {
            let late = |_| format!("no whole answer within {}s", LIMIT.as_secs());
            answers.recv_timeout(LIMIT).map_err(late)?
        });
    outcome.map_err(|why| format!("{}: {why}", url.text))
}

/// Name, connection, request, answer.
fn exchange(url: &Url) -> Result<String, String> {
    let mut stream = connect(url)?;
    // A server that refuses the connection itself may have answered and closed before the request is sent.
    let sent = stream.write_all(url.request().as_bytes());
    let mut answer = Vec::new();
    let mut part = [0; 1024];
    let mut reader = stream.take(ANSWER_LIMIT_BYTES);
    loop {
        let read = reader.read(&mut part);
        let length = match &read {
            Ok(length) => *length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => 0,
        };
        answer.extend(part.iter().take(length));
        if let Some(verdict) = verdict(&answer, length == 0) {
            return verdict;
        }
        if length == 0 {
            let why = match (sent, read) {
                _ if reader.limit() == 0 => {
                    format!("the answer's head is longer than {ANSWER_LIMIT_BYTES} bytes")
                }
                (Err(error), _) | (_, Err(error)) => format!("no whole answer: {error}"),
                _ => "the connection ended before the answer's head did".to_owned(),
            };
            return Err(why);
        }
    }
}

/// A connection to the first of the host's addresses that takes one.
fn connect(url: &Url) -> Result<TcpStream, String> {
    let end = Instant::now() + LIMIT;
    let addresses = (url.host.as_str(), url.port).to_socket_addrs();
    let addresses: Vec<SocketAddr> = addresses
        .map_err(|error| format!("cannot look up {}: {error}", url.host))?
        .collect();
    let mut why = format!("{} has no address", url.host);
    for (tried, address) in (0..).zip(&addresses) {
        // An address that never answers leaves the others their share of the time.
        let left = u32::try_from(addresses.len()).unwrap_or(u32::MAX) - tried;
        let share = end.saturating_duration_since(Instant::now()) / left.max(1);
        match TcpStream::connect_timeout(address, share.max(Duration::from_millis(1))) {
            Ok(stream) => return Ok(stream),
            Err(error) => why = format!("cannot connect to {address}: {error}"),
        }
    }
    Err(why)
}

/// What an answer says as far as it has come; none while it may still say something else.
fn verdict(answer: &[u8], is_all: bool) -> Option<Result<String, String>> {
    const VERSION: &[u8] = b"HTTP/1.";
    if !answer.iter().zip(VERSION).all(|(a, b)| a == b) {
        let text = String::from_utf8_lossy(answer);
        return Some(Err(format!(
            "the answer is not HTTP/1.1: {:?}",
            shown(&text)
        )));
    }
    let at = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let (head, body) = answer.split_at_checked(at + 4)?;
    let head = String::from_utf8_lossy(head);
    let status = head.split_once(' ').unwrap_or_default().1;
    let status = shown(status);
    let alive = |line: &str| Some(Ok(format!("{line}\n")));
    match status.split(' ').next().unwrap_or_default() {
        "200" => return alive("OK"),
        "401" => return alive("OK: it answers, and asks for a password"),
        "429" => return alive("OK: it answers, and limits the rate of requests"),
        _ => {}
    }
    let is_whole = is_all || body.contains(&b'\n');
    let body = String::from_utf8_lossy(body);
    let line = shown(&body);
    if status.starts_with("400 ") && line == PLAIN_ON_TLS {
        return alive("OK: it answers, and asks for TLS");
    }
    let colon = if line.is_empty() { "" } else { ": " };
    is_whole.then(|| Err(format!("it answered {status}{colon}{line}")))
}

/// The first line of a text from elsewhere, so that a terminal can show it: bounded, and without control characters.
fn shown(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default().trim_end();
    let plain = |c: char| {
        if c == ' ' || c.is_ascii_graphic() {
            c
        } else {
            '?'
        }
    };
    line.chars().take(SHOWN_CHARS).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::{Url, verdict};

    #[test]
    fn a_url_has_a_host_and_defaults_for_the_rest() {
        for (text, host, port, path) in [
            ("http://localhost", "localhost", 80, "/health"),
            ("http://127.0.0.1:9579", "127.0.0.1", 9579, "/health"),
            ("http://127.0.0.1:9579/", "127.0.0.1", 9579, "/"),
            ("http://[::1]:9579/-/healthy", "::1", 9579, "/-/healthy"),
            ("http://[fe80::1]", "fe80::1", 80, "/health"),
            (
                "http://a-b.example/ready?x=1",
                "a-b.example",
                80,
                "/ready?x=1",
            ),
        ] {
            let url = Url::parse(text).expect(text);
            assert_eq!(
                (url.host.as_str(), url.port, url.path.as_str()),
                (host, port, path)
            );
            assert!(
                url.request()
                    .starts_with(&format!("GET {path} HTTP/1.1\r\n"))
            );
        }
        assert!(
            Url::parse("http://[::1]:9579")
                .is_some_and(|url| url.request().contains("\r\nHost: [::1]:9579\r\n"))
        );
    }

    #[test]
    fn what_is_no_plain_url_is_refused() {
        for text in [
            "",
            "localhost:9579",
            "https://localhost:9579/health",
            "HTTP//localhost",
            "http://",
            "http:///health",
            "http://:9579",
            "http://localhost:",
            "http://localhost:0",
            "http://localhost:65536",
            "http://localhost:+1",
            "http://::1/health",
            "http://[::1",
            "http://[::1]9579",
            "http://[localhost]",
            "http://user:secret@localhost",
            "http://local host",
            "http://localhost/a b",
            "http://localhost/a\r\nX: y",
            "http://localhost/#top",
        ] {
            assert_eq!(Url::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_answer_is_judged_as_soon_as_it_can_be() {
        let whole = "HTTP/1.1 503 Service Unavailable\r\nA: b\r\n\r\nno iperf3\nmore";
        for end in 0..whole.len() {
            let verdict = verdict(&whole.as_bytes()[..end], false);
            assert_eq!(
                verdict.is_some(),
                end > whole.find("\nmore").unwrap(),
                "{end}"
            );
        }
        let said = "it answered 503 Service Unavailable: no iperf3".to_owned();
        assert_eq!(verdict(whole.as_bytes(), false), Some(Err(said)));
        assert_eq!(
            verdict(b"HTTP/1.0 404 Not Found\r\n\r\n", true),
            Some(Err("it answered 404 Not Found".to_owned()))
        );
        assert_eq!(
            verdict(b"HTTP/1.1 400 Bad Request\r\n\r\nno", true),
            Some(Err("it answered 400 Bad Request: no".to_owned()))
        );
        assert_eq!(verdict(b"HTTP/1.1 200", true), None);
        assert_eq!(
            verdict(b"SSH-2.0-\x1b[2J\r\n", false),
            Some(Err(
                "the answer is not HTTP/1.1: \"SSH-2.0-?[2J\"".to_owned()
            ))
        );
    }
}
