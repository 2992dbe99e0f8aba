//! A kept-alive HTTP connection, plain or over TLS.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustls::{ClientConnection, StreamOwned};

use crate::tls::Tls;

/// The limit of a wait for a response: longer than the longest test here.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// The transport.
enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// One connection.
pub(crate) struct Client {
    wire: Wire,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Client {
    /// Connects to a port of this machine, with a TLS handshake if wanted.
    pub(crate) fn connect(port: u16, tls: Option<&Tls>) -> Result<Self, String> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .map_err(|error| format!("cannot connect to port {port}: {error}"))?;
        let Some(tls) = tls else {
            return Self::plain(stream);
        };
        prepare(&stream)?;
        let wire = tls
            .shake_hands(stream)
            .map_err(|error| format!("the TLS handshake failed: {error}"))?;
        Ok(Self::over(Wire::Tls(Box::new(wire))))
    }

    /// Plain HTTP over an existing connection.
    pub(crate) fn plain(stream: TcpStream) -> Result<Self, String> {
        prepare(&stream)?;
        Ok(Self::over(Wire::Plain(stream)))
    }

    fn over(wire: Wire) -> Self {
        Self {
            wire,
            request: Vec::new(),
            answer: Vec::new(),
        }
    }

    /// GET; the body of the response, which must be a `200`.
    pub(crate) fn get(&mut self, path: &str) -> Result<&str, String> {
        self.send(path)?;
        self.receive()
    }

    /// GET as Prometheus scrapes; the whole response with its head, whatever its status.
    pub(crate) fn scrape(&mut self, path: &str, timeout_seconds: usize) -> Result<&str, String> {
        self.send_with(
            path,
            &format!("X-Prometheus-Scrape-Timeout-Seconds: {timeout_seconds}\r\n"),
        )?;
        self.receive_any().map(|(answer, _)| answer)
    }

    /// Sends a request without waiting for the response.
    pub(crate) fn send(&mut self, path: &str) -> Result<(), String> {
        self.send_with(path, "")
    }

    fn send_with(&mut self, path: &str, header_lines: &str) -> Result<(), String> {
        self.request.clear();
        let _ = write!(
            self.request,
            "GET {path} HTTP/1.1\r\nHost: localhost\r\n{header_lines}\r\n"
        );
        let sent = match &mut self.wire {
            Wire::Plain(stream) => stream.write_all(&self.request),
            Wire::Tls(stream) => stream.write_all(&self.request),
        };
        sent.map_err(|error| format!("cannot ask for {path}: {error}"))
    }

    /// Waits for the response to what was sent.
    pub(crate) fn receive(&mut self) -> Result<&str, String> {
        let (answer, body) = self.receive_any()?;
        if !answer.starts_with("HTTP/1.1 200 ") {
            return Err(format!("no 200 but\n{answer}"));
        }
        Ok(answer.get(body..).unwrap_or_default())
    }

    /// A response of any status, and the offset of its body.
    fn receive_any(&mut self) -> Result<(&str, usize), String> {
        let body = self
            .read_answer()
            .map_err(|error| format!("no answer: {error}"))?;
        let answer = std::str::from_utf8(&self.answer).map_err(|error| error.to_string())?;
        Ok((answer, body))
    }

    /// Reads one response; the offset of its body.
    fn read_answer(&mut self) -> io::Result<usize> {
        /// More than any page here, so that one call usually reads the whole response.
        const CHUNK_BYTES: usize = 32 * 1024;
        let mut filled = 0;
        loop {
            self.answer.resize(filled + CHUNK_BYTES, 0);
            let free = self.answer.get_mut(filled..).unwrap_or_default();
            let length = match &mut self.wire {
                Wire::Plain(stream) => stream.read(free)?,
                Wire::Tls(stream) => stream.read(free)?,
            };
            filled += length;
            self.answer.truncate(filled);
            if let Some((body, body_bytes)) = parse_head(&self.answer)
                && filled >= body + body_bytes
            {
                return Ok(body);
            }
            if length == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.wire {
            Wire::Plain(stream) => stream.as_fd(),
            Wire::Tls(stream) => stream.sock.as_fd(),
        }
    }
}

fn prepare(stream: &TcpStream) -> Result<(), String> {
    stream
        .set_nodelay(true)
        .and_then(|()| stream.set_read_timeout(Some(ANSWER_LIMIT)))
        .map_err(|error| format!("cannot set up a connection: {error}"))
}

/// The offset and length of the body, once the head is complete.
fn parse_head(answer: &[u8]) -> Option<(usize, usize)> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(answer.get(..end)?).ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse().ok())?
    });
    Some((end + 4, length?))
}
