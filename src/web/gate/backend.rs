//! Connections from the gate to the `tiny_http` server behind it.
//!
//! Each is handed over alone and acknowledged by a first answered request before the next one is made, and is
//! used again afterwards: `tiny_http` 0.12 counts its waiting threads before they wake, so of several connections
//! that come at one moment some would wait for a thread until another connection ends.

use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::visits::{Carried, KEY_HEADER, Visit, Visits};
use crate::sync;
use crate::web::way::{Address, Stream};

/// So many connections are kept while they have nothing to carry, and as many as there are clients' connections if
/// that is more; each holds a thread of the server's. Making one anew for a request costs more than the request does,
/// and threads that the server ends as fast as it makes them would be many at a time.
const KEPT: usize = 8;
/// Bytes read of an answer at a time; its head, some 300 bytes, has to fit.
const ANSWER_CHUNK_BYTES: usize = 8 * 1024;

/// The server behind the gate.
pub(super) struct Backend {
    server: Address,
    /// What the greeting may take.
    greeting: Duration,
    visits: Arc<Visits>,
    kept: Mutex<Vec<Stream>>,
    handing_over: Mutex<()>,
    /// Called when nobody listens there any more: `tiny_http` does not open it again.
    on_gone: Box<dyn Fn(io::Error) + Send + Sync>,
}

/// One connection, for one request. Dropped before its answer was read to the end, it is closed.
pub(super) struct Carrier<'a> {
    backend: &'a Backend,
    key: u64,
    /// There until [`Carrier::done`] takes it.
    stream: Option<Stream>,
}

impl Backend {
    pub(super) fn new(
        server: Address,
        greeting: Duration,
        visits: Arc<Visits>,
        on_gone: impl Fn(io::Error) + Send + Sync + 'static,
    ) -> Self {
        Self {
            server,
            greeting,
            visits,
            kept: Mutex::default(),
            handing_over: Mutex::default(),
            on_gone: Box::new(on_gone),
        }
    }

    /// Passes a request on, `head` being all of it but the blank line; the answer is to be read from the carrier.
    pub(super) fn pass_on(&self, head: &mut Vec<u8>, visit: &Visit) -> io::Result<Carrier<'_>> {
        let kept = sync::lock(&self.kept).pop();
        let stream = match kept {
            Some(kept) => kept,
            None => self.connect()?,
        };
        let mut carrier = Carrier {
            backend: self,
            key: self.visits.begin(Carried::Visit(visit.clone())),
            stream: Some(stream),
        };
        write!(head, "{KEY_HEADER}: {}\r\n\r\n", carrier.key)?;
        carrier.stream()?.write_all(head)?;
        Ok(carrier)
    }

    /// Makes a connection and keeps it if there is room: shows that the server accepts and answers.
    pub(super) fn try_way(&self) -> io::Result<()> {
        let stream = self.connect()?;
        let mut kept = sync::lock(&self.kept);
        if kept.len() < KEPT {
            kept.push(stream);
        }
        Ok(())
    }

    /// Closes connections that are more than so many clients need.
    pub(super) fn shed(&self, clients: usize) {
        let mut kept = sync::lock(&self.kept);
        let from = kept.len().min(clients.max(KEPT));
        let shed = kept.split_off(from);
        drop(kept);
        // Closed without the lock.
        drop(shed);
    }

    fn connect(&self) -> io::Result<Stream> {
        let _alone = sync::lock(&self.handing_over);
        let mut stream = self.server.connect().inspect_err(|error| {
            if error.kind() == io::ErrorKind::ConnectionRefused {
                (self.on_gone)(io::ErrorKind::ConnectionRefused.into());
            }
        })?;
        stream.set_read_timeout(Some(self.greeting))?;
        let key = self.visits.begin(Carried::Greeting);
        let head = format!("GET / HTTP/1.1\r\nHost: gate\r\n{KEY_HEADER}: {key}\r\n\r\n");
        let greeted = stream
            .write_all(head.as_bytes())
            .and_then(|()| read_answer(&mut stream, &mut Vec::new(), true, || false));
        self.visits.end(key);
        greeted?;
        stream.set_read_timeout(None)?;
        Ok(stream)
    }
}

impl Carrier<'_> {
    /// The connection.
    pub(super) fn stream(&mut self) -> io::Result<&mut Stream> {
        self.stream
            .as_mut()
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// The answer was read to its end: the connection can carry another request of so many clients.
    pub(super) fn done(mut self, clients: impl FnOnce() -> usize) {
        let mut kept = sync::lock(&self.backend.kept);
        if (kept.len() < KEPT || kept.len() < clients())
            && let Some(stream) = self.stream.take()
        {
            kept.push(stream);
        }
    }
}

impl Drop for Carrier<'_> {
    fn drop(&mut self) {
        self.backend.visits.end(self.key);
    }
}

/// Reads an answer into `out`, its body too unless the request was HEAD, as the client is to get it: without the
/// headers that concern the connection to the server, and with `Connection: close` when `closes` says so.
pub(super) fn read_answer(
    stream: &mut Stream,
    out: &mut Vec<u8>,
    has_body: bool,
    closes: impl FnOnce() -> bool,
) -> io::Result<()> {
    out.clear();
    let mut chunk = [0; ANSWER_CHUNK_BYTES];
    let mut filled = 0;
    let end = loop {
        let room = chunk.get_mut(filled..).unwrap_or_default();
        let length = stream.read(room)?;
        if length == 0 {
            // The connection ended, or the head is larger than any of the server's.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let searched = filled;
        filled += length;
        let bytes = chunk.get(..filled).unwrap_or_default();
        if let Some(end) = super::head::end(bytes, searched) {
            break end;
        }
    };
    let (head, begun) = chunk
        .get(..filled)
        .and_then(|bytes| bytes.split_at_checked(end))
        .ok_or(io::ErrorKind::InvalidData)?;
    let length = copy_head(head, out)?;
    if closes() {
        out.extend_from_slice(b"Connection: close\r\n");
    }
    out.extend_from_slice(b"\r\n");
    if has_body {
        out.reserve(length);
        out.extend_from_slice(begun.get(..length).unwrap_or(begun));
        let missing = length.saturating_sub(begun.len());
        if stream.take(missing as u64).read_to_end(out)? < missing {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

/// Appends status line and headers, less those that concern the server's connection and the blank line; the length
/// of the body.
fn copy_head(head: &[u8], out: &mut Vec<u8>) -> io::Result<usize> {
    let malformed = || io::Error::from(io::ErrorKind::InvalidData);
    let head = std::str::from_utf8(head).map_err(|_| malformed())?;
    let mut length = 0;
    for line in head.split("\r\n").filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().map_err(|_| malformed())?;
        }
        let is_of_the_connection =
            name.eq_ignore_ascii_case("connection") || name.eq_ignore_ascii_case("server");
        if !is_of_the_connection {
            out.extend_from_slice(line.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
    Ok(length)
}
