//! The pool of connections from the front end to the `tiny_http` backend.
//!
//! Owns when such a connection is opened, reused and closed. Opens one at a time, and each answers a warm-up request
//! before the next is opened: `tiny_http` 0.12 counts its waiting threads before they wake. Of several connections that
//! arrive together, some would get no thread until another connection closes.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::backend::OnLost;
use super::in_flight::{KEY_HEADER, Origin};
use super::private_socket::Address;
use super::traffic::Traffic;
use crate::sync;

/// The pool keeps this many idle connections, or as many as there are client connections if that is more. Each holds a
/// thread of `tiny_http`. Opening a connection costs more than the request itself. Opening one for each request would
/// also keep many threads that are just starting or ending.
const KEPT: usize = 8;
/// Timeout of the warm-up request. A worker answers it without a handler, so it takes a second only on a machine that
/// is busy with a test.
const WARM_UP_LIMIT: Duration = Duration::from_secs(10);

/// The pool.
pub(super) struct Pool {
    pub(super) server: Address,
    traffic: Arc<Traffic>,
    kept: Mutex<Vec<UnixStream>>,
    hand_off: Mutex<()>,
    /// Called when the backend no longer listens: `tiny_http` does not open its socket again.
    on_lost: OnLost,
}

impl Pool {
    pub(super) fn new(server: Address, traffic: Arc<Traffic>, on_lost: OnLost) -> Self {
        Self {
            server,
            traffic,
            kept: Mutex::default(),
            hand_off: Mutex::default(),
            on_lost,
        }
    }

    /// Forwards a request. `head` is the whole of it except the blank line; this adds the key and the blank line. The
    /// response is to be read from the returned connection.
    pub(super) fn forward(&self, head: &mut Vec<u8>, key: u64) -> io::Result<UnixStream> {
        let kept = sync::lock(&self.kept).pop();
        let mut stream = match kept {
            Some(kept) => kept,
            None => self.connect()?,
        };
        write!(head, "{KEY_HEADER}: {key}\r\n\r\n")?;
        stream.write_all(head)?;
        Ok(stream)
    }

    /// Takes back a connection whose response was read to its end. Closes it if the pool has enough for the clients.
    pub(super) fn release(&self, stream: UnixStream) {
        let mut kept = sync::lock(&self.kept);
        if kept.len() < self.traffic.admission.count().max(KEPT) {
            kept.push(stream);
        }
    }

    /// Opens a connection, which shows that the backend accepts and answers. Keeps it if the pool is empty.
    pub(super) fn ping(&self) -> io::Result<()> {
        let stream = self.connect()?;
        let mut kept = sync::lock(&self.kept);
        if kept.is_empty() {
            kept.push(stream);
        }
        Ok(())
    }

    /// Closes connections beyond what the clients need.
    pub(super) fn trim_idle(&self) {
        let clients = self.traffic.admission.count();
        sync::lock(&self.kept).truncate(clients.max(KEPT));
    }

    fn connect(&self) -> io::Result<UnixStream> {
        let _alone = sync::lock(&self.hand_off);
        let mut stream = self.server.connect().inspect_err(|error| {
            use io::ErrorKind::{ConnectionRefused, NotFound};
            if matches!(error.kind(), ConnectionRefused | NotFound) {
                (self.on_lost)(error.kind().into());
            }
        })?;
        stream.set_read_timeout(Some(WARM_UP_LIMIT))?;
        let in_flight = self.traffic.in_flight.begin(Origin::FrontEnd);
        let key = in_flight.key;
        let head = format!("GET / HTTP/1.1\r\nHost: front-end\r\n{KEY_HEADER}: {key}\r\n\r\n");
        stream.write_all(head.as_bytes())?;
        read_answer(&stream, true, || false)?;
        stream.set_read_timeout(None)?;
        Ok(stream)
    }
}

/// Reads a response, with its body unless the request was HEAD. Returns it as the client gets it: without the headers
/// that concern the backend connection, and with `Connection: close` if `closes` returns true.
pub(super) fn read_answer(
    stream: &UnixStream,
    has_body: bool,
    closes: impl FnOnce() -> bool,
) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    // Buffering reads nothing of another response: the connection has one request in flight at a time.
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if line == "\r\n" {
            break;
        }
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("content-length") {
            let parsed = value.trim().parse();
            length = parsed.map_err(|_| io::ErrorKind::InvalidData)?;
        }
        if !is("connection") && !is("server") {
            out.extend_from_slice(line.as_bytes());
        }
    }
    if closes() {
        out.extend_from_slice(b"Connection: close\r\n");
    }
    out.extend_from_slice(b"\r\n");
    if has_body && reader.take(length).read_to_end(&mut out)? as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(out)
}
