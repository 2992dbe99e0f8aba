//! Connections from the gate to the `tiny_http` server behind it.
//!
//! Each is handed over alone and acknowledged by a first answered request before the next one is made, and is
//! used again afterwards: `tiny_http` 0.12 counts its waiting threads before they wake, so of several connections
//! that come at one moment some would wait for a thread until another connection ends.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::visits::{Carried, Visit, Visits};
use crate::sync;

/// Most connections that are kept while they have nothing to carry; each holds a thread of the server's.
const KEPT: usize = 8;
/// What the greeting may take on a machine that is busy with a test: the server loop answers it by itself.
const GREETING_LIMIT: Duration = Duration::from_secs(10);
/// Largest head of an answer; the server's own is some 300 bytes.
const ANSWER_HEAD_LIMIT_BYTES: usize = 16 * 1024;

/// The server behind the gate.
#[derive(Debug)]
pub(super) struct Backend {
    server: SocketAddr,
    visits: Arc<Visits>,
    kept: Mutex<Vec<TcpStream>>,
    handing_over: Mutex<()>,
}

/// One connection, for one request. Dropped before its answer was read to the end, it is closed.
#[derive(Debug)]
pub(super) struct Carrier<'a> {
    backend: &'a Backend,
    end: SocketAddr,
    /// There until [`Carrier::done`] takes it.
    stream: Option<TcpStream>,
}

/// An answer's head.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct AnswerHead {
    /// Status line and headers, without those that concern this connection only, and without the blank line.
    pub(super) text: String,
    /// Bytes of the body.
    pub(super) length: usize,
    /// Bytes of the body that came with the head.
    pub(super) begun: Vec<u8>,
}

impl Backend {
    pub(super) fn new(server: SocketAddr, visits: Arc<Visits>) -> Self {
        Self {
            server,
            visits,
            kept: Mutex::default(),
            handing_over: Mutex::default(),
        }
    }

    /// Passes a request on; the answer is to be read from the carrier.
    pub(super) fn pass_on(&self, head: &[u8], visit: &Visit) -> io::Result<Carrier<'_>> {
        let kept = sync::lock(&self.kept).pop();
        let stream = match kept {
            Some(stream) => stream,
            None => self.connect()?,
        };
        let end = stream.local_addr()?;
        self.visits.set(end, Carried::Visit(visit.clone()));
        let mut carrier = Carrier {
            backend: self,
            end,
            stream: Some(stream),
        };
        carrier.stream()?.write_all(head)?;
        Ok(carrier)
    }

    /// Makes a first connection and keeps it: shows at the start that the server can be reached.
    pub(super) fn try_way(&self) -> io::Result<()> {
        let stream = self.connect()?;
        sync::lock(&self.kept).push(stream);
        Ok(())
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let _alone = sync::lock(&self.handing_over);
        let mut stream = TcpStream::connect(self.server)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(GREETING_LIMIT))?;
        let end = stream.local_addr()?;
        self.visits.set(end, Carried::Greeting);
        let greeted = stream
            .write_all(b"GET / HTTP/1.1\r\nHost: gate\r\n\r\n")
            .and_then(|()| read_answer_head(&mut stream));
        match greeted {
            Ok(answer) if answer.length == 0 => {
                stream.set_read_timeout(None)?;
                Ok(stream)
            }
            other => {
                self.visits.forget(end);
                Err(other
                    .err()
                    .unwrap_or_else(|| io::Error::other("unexpected greeting")))
            }
        }
    }
}

impl Carrier<'_> {
    /// The connection.
    pub(super) fn stream(&mut self) -> io::Result<&mut TcpStream> {
        self.stream
            .as_mut()
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// The answer was read to its end: the connection can carry another request.
    pub(super) fn done(mut self) {
        let mut kept = sync::lock(&self.backend.kept);
        if kept.len() < KEPT
            && let Some(stream) = self.stream.take()
        {
            self.backend.visits.set(self.end, Carried::Greeting);
            kept.push(stream);
        }
    }
}

impl Drop for Carrier<'_> {
    fn drop(&mut self) {
        if self.stream.is_some() {
            self.backend.visits.forget(self.end);
        }
    }
}

/// Reads up to an answer's blank line.
pub(super) fn read_answer_head(stream: &mut TcpStream) -> io::Result<AnswerHead> {
    let malformed = || io::Error::from(io::ErrorKind::InvalidData);
    let mut bytes = Vec::with_capacity(1024);
    let mut chunk = [0; 4096];
    let end = loop {
        let length = stream.read(&mut chunk)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let searched = bytes.len();
        bytes.extend(chunk.iter().take(length));
        match super::head::end(&bytes, searched) {
            Some(end) => break end,
            None if bytes.len() > ANSWER_HEAD_LIMIT_BYTES => return Err(malformed()),
            None => {}
        }
    };
    let begun = bytes.split_off(end);
    let text = String::from_utf8(bytes).map_err(|_| malformed())?;
    let mut kept = String::with_capacity(text.len());
    let mut length = 0;
    for line in text.split("\r\n").filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().map_err(|_| malformed())?,
            "connection" | "server" => continue,
            _ => {}
        }
        kept.push_str(line);
        kept.push_str("\r\n");
    }
    Ok(AnswerHead {
        text: kept,
        length,
        begun,
    })
}
