//! `--health=URL`: checks the health of a running exporter, for container health checks and scripts.
//!
//! Owns a minimal HTTP/1.1 client on the standard library's sockets. A TLS client would add more to the binary than all
//! the rest of this. So an exporter with TLS gets a plain request, and its refusal counts as healthy. Must not know
//! what a health page checks.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use crate::http::tls::PLAIN_ON_TLS;
use crate::number;
use crate::threads;

/// Time limit for the whole check: name lookup, connection and response. Shorter than the usual timeouts of health
/// checks (Docker's is 30 s), so that the error line is printed before these expire.
const LIMIT: Duration = Duration::from_secs(5);
/// Maximum number of bytes read of a response: its head, and the first line of a refusal after it.
const ANSWER_LIMIT_BYTES: u64 = 16 * 1024;
/// Maximum length of a response line that is shown.
const SHOWN_CHARS: usize = 200;
/// Stack of the thread that looks up the name, connects and reads.
const STACK_BYTES: usize = 256 * 1024;
/// The path if the URL has none.
const DEFAULT_PATH: &str = "/health";
/// The port if the URL has none (RFC 9110 section 4.2.1).
const DEFAULT_PORT: u16 = 80;

/// The exporter to check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    /// Host name or address, without brackets.
    host: String,
    port: u16,
    /// Host and port, as given.
    authority: String,
    /// Path and query.
    path: String,
}

impl Url {
    /// Parses `http://HOST[:PORT][/PATH]`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("http://")?;
        let (authority, path) = rest.split_at_checked(rest.find('/').unwrap_or(rest.len()))?;
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, number::within(port, 1..=u16::MAX)?)
            }
            _ => (authority, DEFAULT_PORT),
        };
        let host = match host.strip_prefix('[') {
            Some(rest) => rest
                .strip_suffix(']')
                .filter(|v6| v6.parse::<Ipv6Addr>().is_ok())?,
            None if host.contains(':') => return None,
            None => host,
        };
        let in_host = |b: u8| b.is_ascii_alphanumeric() || b"-._:".contains(&b);
        // A fragment is never sent to a server.
        let in_path = |b: u8| b.is_ascii_graphic() && b != b'#';
        if host.is_empty() || !host.bytes().all(in_host) || !path.bytes().all(in_path) {
            return None;
        }
        Some(Self {
            host: host.to_owned(),
            port,
            authority: authority.to_owned(),
            path: path.to_owned(),
        })
    }

    /// The HTTP request. It asks the server to close the connection.
    fn request(&self) -> String {
        let path = match self.path.as_str() {
            "" => DEFAULT_PATH,
            path => path,
        };
        format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: iperf3-exporter/{}\r\nAccept: */*\r\n\
             Connection: close\r\n\r\n",
            self.authority,
            env!("CARGO_PKG_VERSION"),
        )
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.path)
    }
}

/// Why an exporter does not count as healthy.
#[derive(Debug)]
pub(crate) enum HealthError {
    Thread(io::Error),
    /// The host of the URL.
    Lookup(String, io::Error),
    NoAddress(String),
    Connect(SocketAddr, io::Error),
    /// The whole check took too long.
    TimedOut,
    /// The connection failed before the response's head was complete.
    Interrupted(io::Error),
    HeadTooLong,
    HeadCutShort,
    /// The first line of what came instead.
    NotHttp(String),
    /// The response's status, which is not that of a healthy exporter, and the first line of its body.
    Status {
        status: String,
        line: String,
    },
}

impl fmt::Display for HealthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Thread(error) => write!(f, "cannot start a thread: {error}"),
            Self::Lookup(host, error) => write!(f, "cannot look up {host}: {error}"),
            Self::NoAddress(host) => write!(f, "{host} has no address"),
            Self::Connect(address, error) => write!(f, "cannot connect to {address}: {error}"),
            Self::TimedOut => write!(f, "no complete response within {}s", LIMIT.as_secs()),
            Self::Interrupted(error) => write!(f, "no complete response: {error}"),
            Self::HeadTooLong => write!(
                f,
                "the response head is longer than {ANSWER_LIMIT_BYTES} bytes"
            ),
            Self::HeadCutShort => {
                f.write_str("the connection ended before the response head was complete")
            }
            Self::NotHttp(line) => write!(f, "the response is not HTTP/1.1: {line:?}"),
            Self::Status { status, line } => {
                let colon = if line.is_empty() { "" } else { ": " };
                write!(f, "the response was {status}{colon}{line}")
            }
        }
    }
}

/// Checks the exporter. Returns the line to print if it is healthy.
pub(crate) fn ask(url: &Url) -> Result<String, HealthError> {
    let asked = url.clone();
    // On its own thread, which ends with the process: nothing else limits the time of a name lookup.
    let until = Instant::now() + LIMIT;
    threads::within(until, "health", STACK_BYTES, move || exchange(&asked))
        .map_err(HealthError::Thread)?
        .unwrap_or(Err(HealthError::TimedOut))
}

/// Looks the name up, connects, sends the request, and reads the response.
fn exchange(url: &Url) -> Result<String, HealthError> {
    let mut stream = connect(url)?;
    // A server that rejects the connection may send its response and close before it gets the request: read even if the
    // send fails.
    let sent = stream.write_all(url.request().as_bytes());
    let mut answer = Vec::new();
    let read = stream.take(ANSWER_LIMIT_BYTES).read_to_end(&mut answer);
    match (check_answer(&answer), sent.and(read)) {
        (Some(outcome), _) => outcome,
        (None, Err(error)) => Err(HealthError::Interrupted(error)),
        (None, Ok(length)) if length as u64 == ANSWER_LIMIT_BYTES => Err(HealthError::HeadTooLong),
        (None, Ok(_)) => Err(HealthError::HeadCutShort),
    }
}

/// Connects to the first of the host's addresses that accepts.
fn connect(url: &Url) -> Result<TcpStream, HealthError> {
    let addresses = (url.host.as_str(), url.port).to_socket_addrs();
    let addresses: Vec<SocketAddr> = addresses
        .map_err(|error| HealthError::Lookup(url.host.clone(), error))?
        .collect();
    let mut why = HealthError::NoAddress(url.host.clone());
    // Each address gets a share of the time, so that one that never answers leaves time for the others.
    let share = LIMIT.div_f64(addresses.len().max(1) as f64);
    for address in addresses {
        match TcpStream::connect_timeout(&address, share) {
            Ok(stream) => return Ok(stream),
            Err(error) => why = HealthError::Connect(address, error),
        }
    }
    Err(why)
}

/// Judges a response. `None` if its head is incomplete.
fn check_answer(answer: &[u8]) -> Option<Result<String, HealthError>> {
    let text = String::from_utf8_lossy(answer);
    if !answer.iter().zip(b"HTTP/1.").all(|(a, b)| a == b) {
        return Some(Err(HealthError::NotHttp(shown(&text))));
    }
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = shown(head.split_once(' ').unwrap_or_default().1);
    let line = shown(body);
    let said = match status.split(' ').next().unwrap_or_default() {
        "200" => "OK",
        "401" => "OK: the exporter demands credentials",
        "429" => "OK: the exporter limits the request rate",
        "400" if line == PLAIN_ON_TLS => "OK: the exporter demands TLS",
        _ => return Some(Err(HealthError::Status { status, line })),
    };
    Some(Ok(format!("{said}\n")))
}

/// The first line of an untrusted text, made safe for a terminal: limited in length, without control characters.
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
    use super::{Url, check_answer};

    #[test]
    fn a_url_has_a_host_and_defaults_for_the_rest() {
        for (text, host, port, path) in [
            ("http://localhost", "localhost", 80, ""),
            ("http://127.0.0.1:9579", "127.0.0.1", 9579, ""),
            ("http://127.0.0.1:9579/", "127.0.0.1", 9579, "/"),
            ("http://[::1]:9579/-/healthy", "::1", 9579, "/-/healthy"),
            ("http://[fe80::1]", "fe80::1", 80, ""),
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
            let asked = if path.is_empty() { "/health" } else { path };
            assert!(
                url.request()
                    .starts_with(&format!("GET {asked} HTTP/1.1\r\n"))
            );
        }
        assert!(
            Url::parse("http://[::1]:9579")
                .is_some_and(|url| url.request().contains("\r\nHost: [::1]:9579\r\n"))
        );
    }

    #[test]
    fn anything_but_a_plain_http_url_is_refused() {
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
    fn a_response_is_judged_once_its_head_is_complete() {
        let bad = |why: &str| Some(Err(why.to_owned()));
        for (answer, expected) in [
            ("", None),
            ("HTTP/1.1 200", None),
            (
                "HTTP/1.1 200 OK\r\n\r\nwhatever",
                Some(Ok("OK\n".to_owned())),
            ),
            (
                "HTTP/1.1 503 Service Unavailable\r\nA: b\r\n\r\nno iperf3\nmore",
                bad("the response was 503 Service Unavailable: no iperf3"),
            ),
            (
                "HTTP/1.0 404 Not Found\r\n\r\n",
                bad("the response was 404 Not Found"),
            ),
            (
                "HTTP/1.1 400 Bad Request\r\n\r\nno",
                bad("the response was 400 Bad Request: no"),
            ),
            (
                "SSH-2.0-\x1b[2J\r\n",
                bad("the response is not HTTP/1.1: \"SSH-2.0-?[2J\""),
            ),
        ] {
            let judged = check_answer(answer.as_bytes());
            let judged = judged.map(|judged| judged.map_err(|why| why.to_string()));
            assert_eq!(judged, expected, "{answer}");
        }
    }
}
