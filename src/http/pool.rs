//! Connections from the front end to the `tiny_http` server behind it.
//!
//! Each is handed over alone and acknowledged by a first answered request before the next one is made, and is
//! used again afterwards: `tiny_http` 0.12 counts its waiting threads before they wake, so of several connections
//! that come at one moment some would wait for a thread until another connection ends.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::backend::OnLost;
use super::in_flight::{KEY_HEADER, Origin};
use super::private_socket::Address;
use super::traffic::Traffic;
use crate::sync;

/// So many connections are kept while they have nothing to carry, and as many as there are clients' connections if
/// that is more; each holds a thread of the server's. Making one anew for a request costs more than the request does,
/// and threads that the server ends as fast as it makes them would be many at a time.
const KEPT: usize = 8;
/// What the first request on a connection may take. A worker answers it by itself: only a machine that is busy with a
/// test takes a second.
const WARM_UP_LIMIT: Duration = Duration::from_secs(10);

/// The kept connections.
pub(super) struct Pool {
    pub(super) server: Address,
    traffic: Arc<Traffic>,
    kept: Mutex<Vec<UnixStream>>,
    hand_off: Mutex<()>,
    /// Called when nobody listens there any more: `tiny_http` does not open it again.
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

    /// Passes a request on, `head` being all of it but the blank line; the answer is to be read from the connection.
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

    /// The answer was read to its end: the connection can carry another request, if there are clients for it.
    pub(super) fn release(&self, stream: UnixStream) {
        let mut kept = sync::lock(&self.kept);
        if kept.len() < self.traffic.admission.count().max(KEPT) {
            kept.push(stream);
        }
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

    /// Closes connections that are more than the clients need.
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

/// Reads an answer, its body too unless the request was HEAD, as the client is to get it: without the
/// headers that concern the connection to the server, and with `Connection: close` when `closes` says so.
pub(super) fn read_answer(
    stream: &UnixStream,
    has_body: bool,
    closes: impl FnOnce() -> bool,
) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    // Nothing is read that belongs to another answer: one request is on its way at a time.
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
