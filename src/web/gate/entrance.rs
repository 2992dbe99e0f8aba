//! A connection's first bytes: which protocol the client speaks, and TLS where the web configuration asks for it.
//!
//! Must not know HTTP beyond the look of its first byte.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use super::Gate;
use super::connection::{self, Closed};
use super::wire::{Plain, Wire, wait_readable};
use crate::web::config::live::Front;
use crate::web::tls::{Acceptor, HandshakeFailed};

/// The type of a TLS record that begins a handshake (RFC 8446 section 5.1).
const HANDSHAKE_RECORD: u8 = 22;
/// A fatal `internal_error` (RFC 8446 section 6.2), in a record: what upstream's server says when it cannot read its
/// configuration.
const INTERNAL_ERROR_ALERT: &[u8] = &[21, 3, 1, 0, 2, 2, 80];
/// What upstream, that is Go's server, says to plain HTTP on a port with TLS.
pub(crate) const PLAIN_ON_TLS: &str = "Client sent an HTTP request to an HTTPS server.";

/// A connection whose bytes can be read as HTTP.
pub(super) struct Opened {
    pub(super) wire: Box<dyn Wire>,
    /// What was in force when the client was let in by TLS; none without TLS.
    pub(super) let_in: Option<Arc<Front>>,
}

/// Brings the connection to the point where a request head is to come.
pub(super) fn open(
    gate: &Gate,
    socket: &Arc<TcpStream>,
    peer: SocketAddr,
) -> Result<Opened, Closed> {
    let plain = || Opened {
        wire: Box::new(Plain::new(Arc::clone(socket))),
        let_in: None,
    };
    let front = || gate.state.front.front(&gate.state.log);
    if front().is_some_and(|front| front.tls.is_none()) {
        return Ok(plain());
    }
    let until = Instant::now() + gate.limits.handshake;
    let first = first_byte(gate, socket, until)?;
    // Once more: the client may have taken its time, and a certificate may be new since.
    let Some(front) = front() else {
        if first != HANDSHAKE_RECORD {
            // Every request gets a 500.
            return Ok(plain());
        }
        let _ = Plain::new(Arc::clone(socket)).write_all(INTERNAL_ERROR_ALERT, until);
        return Err(Closed::Handshake);
    };
    match &front.tls {
        None => Ok(plain()),
        Some(_) if first.is_ascii_alphabetic() => {
            let wire = &mut Plain::new(Arc::clone(socket));
            connection::refuse(gate, wire, 400, PLAIN_ON_TLS);
            Err(Closed::Refused)
        }
        Some(acceptor) => encrypt(gate, &front, acceptor, socket, peer, until),
    }
}

/// What the client says first, left in its socket. The watchdog's own question is answered here.
fn first_byte(gate: &Gate, socket: &Arc<TcpStream>, until: Instant) -> Result<u8, Closed> {
    let mut bytes = [0; super::pulse::LINE_BYTES];
    let length = wait_readable(socket, until).and_then(|()| socket.peek(&mut bytes));
    let seen = match length {
        Ok(length) => bytes.get(..length).unwrap_or_default(),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => return Err(Closed::Handshake),
        Err(_) => return Err(Closed::Done),
    };
    if gate.pulse.is(seen) {
        return Err(gate.answer_pulse(socket));
    }
    seen.first().copied().ok_or(Closed::Done)
}

fn encrypt(
    gate: &Gate,
    front: &Arc<Front>,
    acceptor: &Acceptor,
    socket: &Arc<TcpStream>,
    peer: SocketAddr,
    until: Instant,
) -> Result<Opened, Closed> {
    match acceptor.accept(Arc::clone(socket), until) {
        Ok(wire) => Ok(Opened {
            wire: Box::new(wire),
            let_in: Some(Arc::clone(front)),
        }),
        // A port scanner, or a health check that only connects.
        Err(HandshakeFailed::Silent) => Err(Closed::Done),
        Err(error) => {
            gate.state.own.handshake_failed();
            gate.state.log.warn_seldom(
                "TLS handshake failed",
                &[("client", &peer), ("error", &error)],
            );
            Err(Closed::Handshake)
        }
    }
}
