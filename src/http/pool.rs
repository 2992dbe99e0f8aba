//! Connections from the front end to the `tiny_http` server behind it.
//!
//! Each is handed over alone and acknowledged by a first answered request before the next one is made, and is
//! used again afterwards: `tiny_http` 0.12 counts its waiting threads before they wake, so of several connections
//! that come at one moment some would wait for a thread until another connection ends.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::backend::OnLost;
use super::in_flight::{InFlight, KEY_HEADER, RequestContext};
use super::private_socket::Address;
use super::traffic::Traffic;
use crate::sync;

/// So many connections are kept while they have nothing to carry, and as many as there are clients' connections if
/// that is more; each holds a thread of the server's. Making one anew for a request costs more than the request does,
/// and threads that the server ends as fast as it makes them would be many at a time.
const KEPT: usize = 8;
/// Bytes read of an answer at a time; its head, some 300 bytes, has to fit.
const ANSWER_CHUNK_BYTES: usize = 8 * 1024;

/// The kept connections.
pub(super) struct Pool {
    server: Address,
    /// What a warm-up request may take.
    warm_up: Duration,
    traffic: Arc<Traffic>,
    kept: Mutex<Vec<UnixStream>>,
    hand_off: Mutex<()>,
    /// Called when nobody listens there any more: `tiny_http` does not open it again.
    on_lost: OnLost,
}

/// One connection, for one request. Dropped before its answer was read to the end, it is closed.
pub(super) struct BackendConnection<'a> {
    pool: &'a Pool,
    key: u64,
    /// There until [`BackendConnection::release`] takes it.
    stream: Option<UnixStream>,
}

impl Pool {
    pub(super) fn new(
        server: Address,
        warm_up: Duration,
        traffic: Arc<Traffic>,
        on_lost: OnLost,
    ) -> Self {
        Self {
            server,
            warm_up,
            traffic,
            kept: Mutex::default(),
            hand_off: Mutex::default(),
            on_lost,
        }
    }

    /// Passes a request on, `head` being all of it but the blank line; the answer is to be read from the connection.
    pub(super) fn forward(
        &self,
        head: &mut Vec<u8>,
        context: &RequestContext,
    ) -> io::Result<BackendConnection<'_>> {
        let kept = sync::lock(&self.kept).pop();
        let stream = match kept {
            Some(kept) => kept,
            None => self.connect()?,
        };
        let mut connection = BackendConnection {
            pool: self,
            key: self
                .traffic
                .in_flight
                .begin(InFlight::Request(context.clone())),
            stream: Some(stream),
        };
        write!(head, "{KEY_HEADER}: {}\r\n\r\n", connection.key)?;
        connection.stream()?.write_all(head)?;
        Ok(connection)
    }

    /// Makes a connection, and keeps it if there is none: shows that the server accepts and answers.
    pub(super) fn ping(&self) -> io::Result<()> {
        let stream = self.connect()?;
        let mut kept = sync::lock(&self.kept);
        if kept.is_empty() {
            kept.push(stream);
        }
        Ok(())
    }

    /// Takes the name of the private socket away, if it has one.
    pub(super) fn remove_socket(&self) {
        self.server.remove();
    }

    /// Closes connections that are more than the clients need.
    pub(super) fn trim_idle(&self) {
        let clients = self.traffic.admission.count();
        let mut kept = sync::lock(&self.kept);
        let from = kept.len().min(clients.max(KEPT));
        let idle = kept.split_off(from);
        drop(kept);
        // Closed without the lock.
        drop(idle);
    }

    fn connect(&self) -> io::Result<UnixStream> {
        let _alone = sync::lock(&self.hand_off);
        let mut stream = self.server.connect().inspect_err(|error| {
            use io::ErrorKind::{ConnectionRefused, NotFound};
            if matches!(error.kind(), ConnectionRefused | NotFound) {
                (self.on_lost)(error.kind().into());
            }
        })?;
        stream.set_read_timeout(Some(self.warm_up))?;
        let key = self.traffic.in_flight.begin(InFlight::WarmUp);
        let head = format!("GET / HTTP/1.1\r\nHost: gate\r\n{KEY_HEADER}: {key}\r\n\r\n");
        let warmed_up = stream
            .write_all(head.as_bytes())
            .and_then(|()| read_answer(&mut stream, &mut Vec::new(), true, || false));
        self.traffic.in_flight.end(key);
        warmed_up?;
        stream.set_read_timeout(None)?;
        Ok(stream)
    }
}

impl BackendConnection<'_> {
    /// The connection.
    pub(super) fn stream(&mut self) -> io::Result<&mut UnixStream> {
        self.stream
            .as_mut()
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// The answer was read to its end: the connection can carry another request, if there are clients for it.
    pub(super) fn release(mut self) {
        let mut kept = sync::lock(&self.pool.kept);
        if (kept.len() < KEPT || kept.len() < self.pool.traffic.admission.count())
            && let Some(stream) = self.stream.take()
        {
            kept.push(stream);
        }
    }
}

impl Drop for BackendConnection<'_> {
    fn drop(&mut self) {
        self.pool.traffic.in_flight.end(self.key);
    }
}

/// Reads an answer into `out`, its body too unless the request was HEAD, as the client is to get it: without the
/// headers that concern the connection to the server, and with `Connection: close` when `closes` says so.
pub(super) fn read_answer(
    stream: &mut UnixStream,
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
