//! A connection's first bytes: which protocol the client speaks, and TLS where the web configuration asks for it.
//!
//! Must not know HTTP beyond the look of its first byte.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use super::FrontEnd;
use super::client_stream::{ClientStream, TcpTransport, wait_readable};
use super::connection::{self, Closed};
use crate::toolkit::config::reloader::ActiveConfig;
use crate::toolkit::tls::{Acceptor, HandshakeFailed};

/// The type of a TLS record that begins a handshake (RFC 8446 section 5.1).
const HANDSHAKE_RECORD: u8 = 22;
/// A fatal `internal_error` (RFC 8446 section 6.2), in a record: what the exporter-toolkit's server says when it cannot read its
/// configuration.
const INTERNAL_ERROR_ALERT: &[u8] = &[21, 3, 1, 0, 2, 2, 80];
/// What the exporter-toolkit, that is Go's server, says to plain HTTP on a port with TLS.
pub(crate) const PLAIN_ON_TLS: &str = "Client sent an HTTP request to an HTTPS server.";

/// A connection whose bytes can be read as HTTP.
pub(super) struct Accepted {
    pub(super) wire: Box<dyn ClientStream>,
    /// What was in force when the client was let in by TLS; none without TLS.
    pub(super) tls_config: Option<Arc<ActiveConfig>>,
}

/// Brings the connection to the point where a request head is to come.
pub(super) fn open(
    front_end: &FrontEnd,
    socket: &Arc<TcpStream>,
    peer: SocketAddr,
) -> Result<Accepted, Closed> {
    let plain = || Accepted {
        wire: Box::new(TcpTransport::new(Arc::clone(socket))),
        tls_config: None,
    };
    let front = || front_end.state.front.front(&front_end.state.log);
    if front().is_some_and(|front| front.tls.is_none()) {
        return Ok(plain());
    }
    let until = Instant::now() + front_end.limits.handshake;
    let first = first_byte(front_end, socket, until)?;
    // Once more: the client may have taken its time, and a certificate may be new since.
    let Some(front) = front() else {
        if first != HANDSHAKE_RECORD {
            // Every request gets a 500.
            return Ok(plain());
        }
        let _ = TcpTransport::new(Arc::clone(socket)).write_all(INTERNAL_ERROR_ALERT, until);
        return Err(Closed::Handshake);
    };
    match &front.tls {
        None => Ok(plain()),
        Some(_) if first.is_ascii_alphabetic() => {
            let wire = &mut TcpTransport::new(Arc::clone(socket));
            connection::refuse(front_end, wire, 400, PLAIN_ON_TLS);
            Err(Closed::Refused)
        }
        Some(acceptor) => encrypt(front_end, &front, acceptor, socket, peer, until),
    }
}

/// What the client says first, left in its socket. The watchdog's own question is answered here.
fn first_byte(front_end: &FrontEnd, socket: &Arc<TcpStream>, until: Instant) -> Result<u8, Closed> {
    let mut bytes = [0; super::self_check::LINE_BYTES];
    let length = wait_readable(socket, until).and_then(|()| socket.peek(&mut bytes));
    let seen = match length {
        Ok(length) => bytes.get(..length).unwrap_or_default(),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => return Err(Closed::Handshake),
        Err(_) => return Err(Closed::Done),
    };
    if front_end.self_check.is(seen) {
        return Err(front_end.answer_self_check(socket));
    }
    seen.first().copied().ok_or(Closed::Done)
}

fn encrypt(
    front_end: &FrontEnd,
    front: &Arc<ActiveConfig>,
    acceptor: &Acceptor,
    socket: &Arc<TcpStream>,
    peer: SocketAddr,
    until: Instant,
) -> Result<Accepted, Closed> {
    match acceptor.accept(Arc::clone(socket), until) {
        Ok(wire) => Ok(Accepted {
            wire: Box::new(wire),
            tls_config: Some(Arc::clone(front)),
        }),
        // A port scanner, or a health check that only connects.
        Err(HandshakeFailed::Silent) => Err(Closed::Done),
        Err(error) => {
            front_end.state.own.handshake_failed();
            front_end.state.log.warn_ratelimited(
                "TLS handshake failed",
                &[("client", &peer), ("error", &error)],
            );
            Err(Closed::Handshake)
        }
    }
}
